//! References to tasklets of other threads, and the list of threads.

use crate::core::body::{body, Body, Outcome};
use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::scheduler;
use crate::core::scheduler::run_tasklet;
use crate::core::task::flag;
use crate::error::{Error, Result, StateError, Thrown, WaitError};
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attachment::{local, Local};
use super::channel::Channel;
use super::home::{self, Home, Letter, Mark};
use super::unstarted::Unstarted;

/// The threads that use the library, in the order they came: their [ids](crate::thread_id).
pub fn threads() -> Vec<u64> {
    home::all().iter().map(|home| home.id).collect()
}

/// What is known of a thread.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// Its number.
    pub id: u64,
    /// The name that the thread has, if it has one.
    pub name: Option<String>,
    /// Its main tasklet.
    pub main: Remote,
    /// The tasklet that ran when it answered.
    pub current: Remote,
    /// Tasklets in its run queue, the running one included.
    pub run_count: usize,
    /// Tasklets that exist there, main included.
    pub tasklets: usize,
}

/// Asks a thread about itself. The calling tasklet waits for the answer: until that thread switches or pumps.
///
/// # Errors
/// [`StateError::ThreadNotFound`]; [`StateError::NoThread`] when it ends before it answers; as [`Remote::with`].
pub fn info(id: u64) -> Result<Info> {
    Ok(info_or(id)?)
}

/// As [`info`]; the error can tell what was thrown.
pub(crate) fn info_or(id: u64) -> Result<Info, WaitError> {
    let home = home::find(id).map_err(WaitError::own)?;
    ask(&home, |local| {
        let runtime = Runtime::get();
        // SAFETY: main and the running tasklet are live tasks of this thread.
        let (main, current) = unsafe {
            (
                Tasklet::from_ref(runtime.main()),
                Tasklet::from_ref(runtime.current()),
            )
        };
        Info {
            id: local.home.id,
            name: local.home.name.clone(),
            main: Remote::new(local, main),
            current: Remote::new(local, current),
            run_count: crate::run_count(),
            tasklets: crate::stats().tasklets,
        }
    })
}

/// Has `home`'s thread call `f`, and waits for the answer.
fn ask<R: Send + 'static>(
    home: &Arc<Home>,
    f: impl FnOnce(&Local) -> R + Send + 'static,
) -> Result<R, WaitError> {
    let here = local().map_err(WaitError::own)?;
    if Arc::ptr_eq(home, &here.home) {
        return Ok(f(&here));
    }
    // Answers without waiting for us: we may have been killed meanwhile. When the letter is dropped unread, so is `Answer`, which says so.
    struct Answer<R: Send + 'static>(Channel<Result<R>>, Option<Result<R>>);
    impl<R: Send + 'static> Drop for Answer<R> {
        fn drop(&mut self) {
            let answer = self.1.take();
            self.0
                .answer(answer.unwrap_or_else(|| Err(StateError::NoThread.into())));
        }
    }
    let channel = Channel::new();
    let mut answer = Answer(channel.clone(), None);
    let call = move |local: &Local| {
        // The whole of it moves in here, with its destructor.
        let answer = &mut answer;
        answer.1 = Some(
            catch_unwind(AssertUnwindSafe(|| f(local)))
                .map_err(|panic| Error::Panicked(Thrown::panic(panic))),
        );
    };
    let answer = channel.receive_after(|| match home.post(Letter::Do(Box::new(call))) {
        Ok(()) => Ok(()),
        Err(_unread) => Err(StateError::NoThread.into()),
    })?;
    answer.map_err(WaitError::Hindered)
}

/// A reference to a tasklet that any thread may hold: [`Tasklet::remote`].
///
/// What is asked of it is done on the tasklet's own thread, in the order of asking, at its next switch or pump at the latest: nothing ever switches
/// because of it.
///
/// | | |
/// |---|---|
/// | [`insert`](Remote::insert), [`run`](Remote::run), [`setup`](Remote::setup), [`throw`](Remote::throw), [`kill`](Remote::kill), [`remove`](Remote::remove) | go on at once. What its thread refuses (`insert` of a tasklet that has ended meanwhile) is not an error here; who wants to know asks through `with` |
/// | [`with`](Remote::with), [`bind`](Remote::bind), [`bind_thread`](Remote::bind_thread), [`is_alive`](Remote::is_alive) | wait for the answer |
///
/// The tasklet lives as long as there is such a reference, as with a handle. Clones are cheap, and equal.
///
/// **When its thread ends**, a tasklet that has started ends too. One that has not started stays, without a thread, with its function if that
/// can leave its thread ([`Tasklet::bind_send`], [`Remote::bind`]): [`bind_thread`](Remote::bind_thread) gives it a new one.
/// It is paused then if it was paused or queued, bound if it was bound.
///
/// ```
/// let tasklet = hardswitch::Tasklet::new()?;
/// tasklet.bind(|| println!("started by another thread"))?;
/// let remote = tasklet.remote()?;
/// std::thread::spawn(move || remote.setup().unwrap()).join().unwrap();
/// hardswitch::run()?;
/// assert!(!tasklet.is_alive());
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct Remote {
    lent: Arc<Lent>,
    mark: Mark,
}

/// What all references to a tasklet share: where it is.
pub(crate) struct Lent(Mutex<State>);

enum State {
    At(There),
    /// Its thread has ended, or it is on its way to another one. `None`: nothing is left that another one could have.
    Nowhere(Option<Unstarted>, usize),
}

/// A tasklet of a thread, and the number by which that knows it.
#[derive(Clone)]
pub(crate) struct There {
    pub(crate) home: Arc<Home>,
    pub(crate) key: u64,
    pub(crate) id: usize,
}

impl Lent {
    pub(crate) fn new(there: There) -> Lent {
        Lent(Mutex::new(State::At(there)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics; no destructor of a user runs there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is.
    fn there(&self) -> Option<There> {
        match &*self.state() {
            State::At(there) => Some(there.clone()),
            State::Nowhere(..) => None,
        }
    }

    fn id(&self) -> usize {
        match &*self.state() {
            State::At(there) => there.id,
            State::Nowhere(_, id) => *id,
        }
    }

    /// It has no thread any more; this is what is left of it.
    pub(super) fn thread_ended(&self, left: Option<Unstarted>) {
        let mut state = self.state();
        if let State::At(There { id, .. }) = *state {
            *state = State::Nowhere(left, id);
        }
    }

    /// On its thread: takes it from there.
    fn leave(&self, local: &Local, key: u64) -> Result<()> {
        let tasklet = local.lent(key).ok_or(StateError::NoThread)?;
        let unstarted = Unstarted::take(&tasklet)?;
        self.thread_ended(Some(unstarted));
        local.take_back(key);
        // User code: what the host keeps with it, if there is no other handle.
        drop(tasklet);
        Ok(())
    }

    /// On a thread that it is to belong to, if it has none. It still has none after an error.
    fn arrive(self: &Arc<Lent>, local: &Local) -> Result<()> {
        let mut state = self.state();
        let State::Nowhere(left, _) = &mut *state else {
            return Ok(());
        };
        let unstarted = left.take().ok_or(StateError::StackInUse)?;
        match unstarted.make() {
            Ok(tasklet) => {
                *state = State::At(local.keep(tasklet, Arc::downgrade(self)));
                Ok(())
            }
            Err((error, unstarted)) => {
                *left = Some(unstarted);
                Err(error)
            }
        }
    }

    /// What it is to run, while it has no thread; what it will not run any more comes back, to be dropped. `None`: it has one.
    fn rebind(&self, body: &mut Option<Body>) -> Option<Result<Option<Body>>> {
        match &mut *self.state() {
            State::At(_) => None,
            State::Nowhere(None, _) => Some(Err(StateError::StackInUse.into())),
            State::Nowhere(Some(unstarted), _) => Some(Ok(unstarted.rebind(body.take()))),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::At(There { home, key, .. }) = state {
            let key = *key;
            // A thread that is gone has taken it back.
            let _ = home.post(Letter::Do(Box::new(move |local| local.take_back(key))));
        }
    }
}

impl Tasklet {
    /// A reference to it for other threads. Cost: an allocation or two, the first time.
    ///
    /// # Errors
    /// [`StateError::NoThread`] when the thread is ending.
    pub fn remote(&self) -> Result<Remote> {
        Ok(Remote::new(&*local()?, self.clone()))
    }

    /// Moves it to another thread before it starts (Stackless' `bind_thread`), and returns a reference to it there: what it is
    /// [bound to](Tasklet::bind_send), its name, stack size and flags. Handles that its old thread has are those of an empty tasklet then, with
    /// what else the host kept there (user data, an error handler, a value in its slot).
    ///
    /// # Errors
    /// As [`Remote::bind_thread`].
    pub fn bind_thread(&self, thread: u64) -> Result<Remote> {
        let remote = self.remote()?;
        remote.bind_thread(thread)?;
        Ok(remote)
    }
}

impl Remote {
    fn new(local: &Local, tasklet: Tasklet) -> Remote {
        Remote {
            lent: local.lend(tasklet),
            mark: Mark::new(),
        }
    }

    /// Its handle, on its own thread; `None` elsewhere.
    pub fn tasklet(&self) -> Option<Tasklet> {
        let (local, there) = (local().ok()?, self.lent.there()?);
        if !Arc::ptr_eq(&there.home, &local.home) {
            return None;
        }
        local.lent(there.key)
    }

    /// Sets the function; the tasklet becomes *bound* (not alive, not queued), on its own thread; one without a thread, at once.
    ///
    /// # Errors
    /// As [`Tasklet::bind`], and as [`with`](Remote::with); `f` is dropped then, on either thread.
    pub fn bind<F, R>(&self, f: F) -> Result<()>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Outcome,
    {
        Ok(self.bind_or(f)?)
    }

    /// As [`bind`](Remote::bind); the error can tell what was thrown.
    pub(crate) fn bind_or<F, R>(&self, f: F) -> Result<(), WaitError>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Outcome,
    {
        let mut body = Some(body(f));
        if let Some(done) = self.lent.rebind(&mut body) {
            return done.map(drop).map_err(WaitError::Hindered);
        }
        self.with_or(move |tasklet| body.map_or(Ok(()), |body| tasklet.bind_body(body)))?
            .map_err(WaitError::Hindered)
    }

    /// As [`bind`](Remote::bind), and the tasklet is *paused* then: alive, not queued.
    ///
    /// # Errors
    /// As [`bind`](Remote::bind); [`StateError::NoThread`] for one without a thread.
    pub fn bind_paused<F, R>(&self, f: F) -> Result<()>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Outcome,
    {
        Ok(self.bind_paused_or(f)?)
    }

    pub(crate) fn bind_paused_or<F, R>(&self, f: F) -> Result<(), WaitError>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Outcome,
    {
        let body = body(f);
        self.with_or(move |tasklet| tasklet.bind_body_paused(body))?
            .map_err(WaitError::Hindered)
    }

    /// Takes the function away again; it is dropped without having run.
    ///
    /// # Errors
    /// As [`bind`](Remote::bind).
    pub fn unbind(&self) -> Result<()> {
        Ok(self.unbind_or()?)
    }

    pub(crate) fn unbind_or(&self) -> Result<(), WaitError> {
        if let Some(done) = self.lent.rebind(&mut None) {
            return done.map(drop).map_err(WaitError::Hindered);
        }
        self.with_or(|tasklet| tasklet.unbind())?
            .map_err(WaitError::Hindered)
    }

    /// Gives it to `thread` (the [id](crate::thread_id) of one that uses the library): one that has not started, and is not queued. So also one whose
    /// thread has ended. All references to it refer to it there, and what is asked of them next is asked there. Nothing happens when
    /// it is there already.
    ///
    /// Waits until both threads have switched or pumped; the calling one need not.
    ///
    /// # Errors
    /// | | |
    /// |---|---|
    /// | [`StateError::ThreadNotFound`] | there is no such thread |
    /// | [`StateError::BindRunnable`] | it is queued, or runs |
    /// | [`StateError::StackInUse`] | it has started |
    /// | [`StateError::NotSend`] | it was bound by [`Tasklet::bind`], not by [`Tasklet::bind_send`] or [`Remote::bind`] |
    /// | [`StateError::NoThread`] | one of the threads ended before it answered |
    /// | [`Error::MemoryCeiling`], [`Error::OutOfMemory`], [`Error::StackSize`] | `thread` has no room for it |
    /// | [`Error::Deadlock`], what was thrown into the caller, ... | as [`with`](Remote::with): it may move all the same |
    ///
    /// After those of the last three rows it may be without a thread, whole: it can be given to another.
    pub fn bind_thread(&self, thread: u64) -> Result<()> {
        Ok(self.bind_thread_or(thread)?)
    }

    pub(crate) fn bind_thread_or(&self, thread: u64) -> Result<(), WaitError> {
        self.mark_used();
        let to = home::find(thread).map_err(WaitError::own)?;
        if let Some(There { home, key, .. }) = self.lent.there() {
            if Arc::ptr_eq(&home, &to) {
                return Ok(());
            }
            let lent = self.lent.clone();
            ask(&home, move |local| lent.leave(local, key))?.map_err(WaitError::Hindered)?;
        }
        let lent = self.lent.clone();
        ask(&to, move |local| lent.arrive(local))?.map_err(WaitError::Hindered)
    }

    /// On its own thread, as [`Tasklet::switch`].
    ///
    /// # Errors
    /// [`StateError::OtherThread`] elsewhere; [`StateError::NoThread`]; as [`Tasklet::switch`].
    pub fn switch(&self) -> Result<()> {
        Ok(self.switch_or()?)
    }

    pub(crate) fn switch_or(&self) -> Result<(), WaitError> {
        if self.lent.there().is_none() {
            return Err(WaitError::own(StateError::NoThread));
        }
        let here = self.tasklet();
        let here = here.ok_or_else(|| WaitError::own(StateError::OtherThread))?;
        run_tasklet::<true, _>(&here)
    }

    /// Has its thread call `f` with the tasklet, and waits for the answer, until that thread switches or pumps; on its own thread, at once.
    ///
    /// `f` runs on whatever tasklet is running there, and should not block.
    ///
    /// # Errors
    /// [`StateError::NoThread`] when the thread is gone or ends before it answers; [`Error::Panicked`] when `f` panics on another thread; what a
    /// wait on a [`Channel`] can fail with ([`Error::Deadlock`], [`Error::BlockTrap`], ..., what was thrown into the caller): `f` may be called all the same then.
    pub fn with<R: Send + 'static>(
        &self,
        f: impl FnOnce(&Tasklet) -> R + Send + 'static,
    ) -> Result<R> {
        Ok(self.with_or(f)?)
    }

    /// As [`with`](Remote::with); the error can tell what was thrown.
    pub(crate) fn with_or<R: Send + 'static>(
        &self,
        f: impl FnOnce(&Tasklet) -> R + Send + 'static,
    ) -> Result<R, WaitError> {
        self.mark_used();
        let no_thread = || WaitError::own(StateError::NoThread);
        let There { home, key, .. } = self.lent.there().ok_or_else(no_thread)?;
        ask(&home, move |local| {
            local.lent(key).map(|tasklet| f(&tasklet))
        })?
        .ok_or_else(no_thread)
    }

    /// As [`with`](Remote::with), with `gone` for an answer when its thread is gone.
    pub(crate) fn with_unless_gone<R: Send + 'static>(
        &self,
        gone: R,
        f: impl FnOnce(&Tasklet) -> R + Send + 'static,
    ) -> Result<R, WaitError> {
        match self.with_or(f) {
            Err(WaitError::Hindered(Error::State(StateError::NoThread))) => Ok(gone),
            other => other,
        }
    }

    /// Is it alive? Waits as [`with`](Remote::with) does, and fails as that does; a tasklet whose thread is gone is not alive.
    pub fn is_alive(&self) -> Result<bool> {
        Ok(self.with_unless_gone(false, |tasklet| tasklet.is_alive())?)
    }

    /// Appends it to the run queue of its thread.
    ///
    /// # Errors
    /// [`StateError::ThreadNotInitialized`] when its thread is gone.
    pub fn insert(&self) -> Result<()> {
        self.post("insert", Tasklet::insert)
            .map_err(|_| StateError::ThreadNotInitialized.into())
    }

    /// Makes it the next one to run on its thread.
    ///
    /// # Errors
    /// [`StateError::NoThread`].
    pub fn run(&self) -> Result<()> {
        self.post("run", |tasklet| {
            tasklet.insert()?;
            make_next(tasklet);
            Ok(())
        })
    }

    /// Makes a bound tasklet alive and appends it to the run queue of its thread.
    ///
    /// # Errors
    /// [`StateError::NoThread`].
    pub fn setup(&self) -> Result<()> {
        self.post("setup", Tasklet::setup)
    }

    /// Throws `error` into it, and makes it the next one to run on its thread. What it has been handed already it keeps: then its next wait tells it.
    ///
    /// # Errors
    /// [`StateError::NoThread`].
    pub fn throw(&self, error: impl Into<Error>) -> Result<()> {
        self.throw_when(error.into(), true)
    }

    /// As [`throw`](Remote::throw), but when its turn comes.
    ///
    /// # Errors
    /// [`StateError::NoThread`].
    pub fn throw_pending(&self, error: impl Into<Error>) -> Result<()> {
        self.throw_when(error.into(), false)
    }

    /// Throws [`Error::Exit`] into it, and makes it the next one to run. Nothing to do when its thread is gone: so is the tasklet.
    ///
    /// # Errors
    /// None.
    pub fn kill(&self) -> Result<()> {
        let _ = self.throw_when(Error::Exit, true);
        Ok(())
    }

    /// As [`kill`](Remote::kill), but when its turn comes.
    ///
    /// # Errors
    /// None.
    pub fn kill_pending(&self) -> Result<()> {
        let _ = self.throw_when(Error::Exit, false);
        Ok(())
    }

    /// Takes it out of the run queue of its thread. Nothing to do when that is gone.
    ///
    /// # Errors
    /// None.
    pub fn remove(&self) -> Result<()> {
        let _ = self.post("remove", Tasklet::remove);
        Ok(())
    }

    /// A number that no other tasklet alive at the same time has: as [`Tasklet::id`]. Another one when it has moved to another thread.
    pub fn tasklet_id(&self) -> usize {
        self.lent.id()
    }

    /// Its thread; `None` when that is gone.
    pub fn thread(&self) -> Option<u64> {
        let home = self.lent.there()?.home;
        (!home.is_gone()).then_some(home.id)
    }

    fn throw_when(&self, error: Error, next: bool) -> Result<()> {
        self.post("throw", move |tasklet| {
            scheduler::throw_at(tasklet, 0, error)?;
            if next {
                make_next(tasklet);
            }
            Ok(())
        })
    }

    fn mark_used(&self) {
        // Attached before it counts as used.
        if local().is_ok() {
            self.mark.used();
        }
    }

    fn post(
        &self,
        what: &'static str,
        operation: impl FnOnce(&Tasklet) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.mark_used();
        let There { home, key, .. } = self.lent.there().ok_or(StateError::NoThread)?;
        let letter = Letter::Do(Box::new(move |local| {
            if let Some(Err(error)) = local.lent(key).map(|tasklet| operation(&tasklet)) {
                log::debug!("a {what} that another thread asked for: {error}");
            }
        }));
        home.post(letter)
            .map_err(|_unread| StateError::NoThread.into())
    }
}

/// Moves a queued tasklet right behind the running one.
fn make_next(tasklet: &Tasklet) {
    let (runtime, task) = (Runtime::get(), tasklet.as_ptr());
    // SAFETY: a live task of this thread; the queue's reference stays the queue's.
    unsafe {
        if task != runtime.current() && (*task).is(flag::QUEUED) {
            runtime.queue.remove(task);
            runtime.queue.insert_after(runtime.current(), task);
        }
    }
}

impl Clone for Remote {
    fn clone(&self) -> Remote {
        Remote {
            lent: self.lent.clone(),
            mark: Mark::new(),
        }
    }
}

impl PartialEq for Remote {
    /// Refer both to the same tasklet?
    fn eq(&self, other: &Remote) -> bool {
        Arc::ptr_eq(&self.lent, &other.lent)
    }
}

impl Eq for Remote {}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.thread() {
            Some(thread) => write!(f, "Remote({:#x}, thread {thread})", self.tasklet_id()),
            None => write!(f, "Remote({:#x}, no thread)", self.tasklet_id()),
        }
    }
}

const _: () = {
    const fn across_threads<T: Send + Sync>() {}
    across_threads::<Remote>();
};
