//! References to tasklets of other threads, and the list of threads.

use crate::core::body::{body, Body, Outcome};
use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::scheduler::run_tasklet;
use crate::core::task::flag;
use crate::core::throw;
use crate::error::{Error, Result, StateError, Thrown, WaitError};
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attachment::{local, Local};
use super::channel::Channel;
use super::home::{self, Home, Mark, Message};
use super::unstarted::Unstarted;

/// The threads that use the library, in the order they came, by their [ids](crate::thread_id).
pub fn threads() -> Vec<u64> {
    home::all().iter().map(|home| home.id).collect()
}

/// Figures of a thread.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// Its number.
    pub id: u64,
    /// The name that the thread has, if it has one.
    pub name: Option<String>,
    /// Its main tasklet.
    pub main: Remote,
    /// The tasklet that was running when the thread answered.
    pub current: Remote,
    /// Tasklets in its run queue, the running one included.
    pub run_count: usize,
    /// Tasklets that exist there, main included.
    pub tasklets: usize,
}

/// Asks a thread about itself. The calling tasklet waits for the answer, which the thread gives
/// when it switches or pumps next.
///
/// # Errors
/// [`StateError::ThreadNotFound`]; [`StateError::NoThread`] when the thread ends before it answers;
/// as [`Remote::with`].
pub fn info(id: u64) -> Result<Info> {
    Ok(info_or(id)?)
}

/// As [`info`]; the error says whether it was thrown.
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
    // Sends the answer without waiting for a receiver: the caller may have been killed meanwhile.
    // If the message is dropped unread, its `Answer` is dropped with it and tells the caller.
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
        // This moves all of `answer` into the closure, with its destructor, and not only a field.
        let answer = &mut answer;
        answer.1 = Some(
            catch_unwind(AssertUnwindSafe(|| f(local)))
                .map_err(|panic| Error::Panicked(Thrown::panic(panic))),
        );
    };
    let answer = channel.receive_after(|| match home.post(Message::Do(Box::new(call))) {
        Ok(()) => Ok(()),
        Err(_unread) => Err(StateError::NoThread.into()),
    })?;
    answer.map_err(WaitError::Hindered)
}

/// A reference to a tasklet that any thread may hold: [`Tasklet::remote`].
///
/// Requests are carried out on the tasklet's own thread, in the order in which they were made, at
/// its next switch or pump at the latest: nothing ever switches because of them.
///
/// * [`insert`](Remote::insert), [`run`](Remote::run), [`setup`](Remote::setup),
///   [`throw`](Remote::throw), [`kill`](Remote::kill) and [`remove`](Remote::remove) do not wait. A
///   request that its thread refuses (`insert` of a tasklet that has ended meanwhile) is not an
///   error here; `with` can tell the outcome.
/// * [`with`](Remote::with), [`bind`](Remote::bind), [`bind_thread`](Remote::bind_thread) and
///   [`is_alive`](Remote::is_alive) wait for the answer.
///
/// The tasklet lives as long as there is such a reference, as with a handle. Clones are cheap, and
/// equal.
///
/// **When its thread ends**, a tasklet that has started ends too. One that has not started stays,
/// without a thread; it keeps its function if that can leave its thread ([`Tasklet::bind_send`],
/// [`Remote::bind`]). [`bind_thread`](Remote::bind_thread) gives it a new thread. It is paused then
/// if it was paused or queued, and bound if it was bound.
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

/// The state that all references to a tasklet share: where the tasklet is.
pub(crate) struct Lent(Mutex<State>);

enum State {
    At(There),
    /// Its thread has ended, or it is on its way to another one. `None`: nothing is left that
    /// another thread could have.
    Nowhere(Option<Unstarted>, usize),
}

/// A tasklet of a thread, and the number under which that thread knows it.
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
        // Nothing under the lock panics, and no destructor of a user runs there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread and number of the tasklet, if it has a thread.
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

    /// The tasklet has no thread any more; `left` is what is left of it.
    pub(super) fn thread_ended(&self, left: Option<Unstarted>) {
        let mut state = self.state();
        if let State::At(There { id, .. }) = *state {
            *state = State::Nowhere(left, id);
        }
    }

    /// Takes the tasklet from its thread. To be called there.
    fn leave(&self, local: &Local, key: u64) -> Result<()> {
        let tasklet = local.lent(key).ok_or(StateError::NoThread)?;
        let unstarted = Unstarted::take(&tasklet)?;
        self.thread_ended(Some(unstarted));
        local.take_back(key);
        // This may run user code: destructors of what the host keeps with the tasklet, if there is
        // no other handle.
        drop(tasklet);
        Ok(())
    }

    /// Gives the tasklet to the calling thread, if it has none. After an error it still has none.
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

    /// Sets the function of a tasklet without a thread; the old function comes back, to be dropped.
    /// `None`: the tasklet has a thread.
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
            // If the thread is gone, it has taken the tasklet back already.
            let _ = home.post(Message::Do(Box::new(move |local| local.take_back(key))));
        }
    }
}

impl Tasklet {
    /// A reference to the tasklet for other threads. Cost: an allocation or two, the first time.
    ///
    /// # Errors
    /// [`StateError::NoThread`] when the thread is ending.
    pub fn remote(&self) -> Result<Remote> {
        Ok(Remote::new(&*local()?, self.clone()))
    }

    /// Moves the tasklet to another thread before it starts (Stackless' `bind_thread`), and returns
    /// a reference to it there. What it is [bound to](Tasklet::bind_send), its name, stack size and
    /// flags move along. Handles on its old thread refer to an empty tasklet then, which keeps what
    /// else the host had stored there (user data, an error handler, a value in its slot).
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

    /// Sets the function; the tasklet becomes *bound* (not alive, not queued). That happens on its
    /// own thread; if it has none, at once.
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

    /// As [`bind`](Remote::bind); the error says whether it was thrown.
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
    /// As [`bind`](Remote::bind); [`StateError::NoThread`] for a tasklet without a thread.
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

    /// Gives the tasklet to `thread` (the [id](crate::thread_id) of a thread that uses the
    /// library). It must not have started and must not be queued; its own thread may have ended.
    /// All references to it refer to it on the new thread then, and later requests are carried out
    /// there. Nothing happens when it is there already.
    ///
    /// Waits until both threads have switched or pumped; for the calling thread the wait is enough.
    ///
    /// # Errors
    /// * [`StateError::ThreadNotFound`]: there is no such thread.
    /// * [`StateError::BindRunnable`]: it is queued, or runs.
    /// * [`StateError::StackInUse`]: it has started.
    /// * [`StateError::NotSend`]: it was bound by [`Tasklet::bind`], not by [`Tasklet::bind_send`]
    ///   or [`Remote::bind`].
    /// * [`StateError::NoThread`]: one of the threads ended before it answered.
    /// * [`Error::MemoryCeiling`], [`Error::OutOfMemory`], [`Error::StackSize`]: `thread` has no
    ///   room for it.
    /// * [`Error::Deadlock`], an error that was thrown at the caller, ...: as
    ///   [`with`](Remote::with); the tasklet may move all the same.
    ///
    /// After an error of the last three lines it may be without a thread, but is whole: it can be
    /// given to another one.
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

    /// Switches to it on its own thread, as [`Tasklet::switch`].
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

    /// Has its thread call `f` with the tasklet, and waits for the result: that thread makes the
    /// call when it switches or pumps next. On the tasklet's own thread, `f` is called at once.
    ///
    /// `f` runs on whatever tasklet is running there, and should not block.
    ///
    /// # Errors
    /// [`StateError::NoThread`] when the thread is gone or ends before it answers;
    /// [`Error::Panicked`] when `f` panics on another thread; the errors of a wait on a [`Channel`]
    /// ([`Error::Deadlock`], [`Error::BlockTrap`], ..., an error that was thrown at the caller):
    /// `f` may be called all the same then.
    pub fn with<R: Send + 'static>(
        &self,
        f: impl FnOnce(&Tasklet) -> R + Send + 'static,
    ) -> Result<R> {
        Ok(self.with_or(f)?)
    }

    /// As [`with`](Remote::with); the error says whether it was thrown.
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

    /// As [`with`](Remote::with), but returns `gone` when its thread is gone.
    pub(crate) fn with_unless_gone<R: Send + 'static>(
        &self,
        gone: R,
        f: impl FnOnce(&Tasklet) -> R + Send + 'static,
    ) -> Result<R, WaitError> {
        // The same error would say that the calling thread has ended.
        local().map_err(WaitError::own)?;
        match self.with_or(f) {
            Err(WaitError::Hindered(Error::State(StateError::NoThread))) => Ok(gone),
            other => other,
        }
    }

    /// Is it alive? Waits as [`with`](Remote::with) does, and fails as that does. A tasklet whose
    /// thread is gone is not alive.
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

    /// Throws `error` at it, and makes it the next one to run on its thread. If it has just been
    /// handed a value it keeps that, and its next wait reports the error.
    ///
    /// # Errors
    /// [`StateError::NoThread`].
    pub fn throw(&self, error: impl Into<Error>) -> Result<()> {
        self.throw_when(error.into(), true)
    }

    /// As [`throw`](Remote::throw), but it runs when its turn comes.
    ///
    /// # Errors
    /// [`StateError::NoThread`].
    pub fn throw_pending(&self, error: impl Into<Error>) -> Result<()> {
        self.throw_when(error.into(), false)
    }

    /// Throws [`Error::Exit`] at it, and makes it the next one to run. Nothing happens when its
    /// thread is gone, since the tasklet is gone with it.
    ///
    /// # Errors
    /// None.
    pub fn kill(&self) -> Result<()> {
        let _ = self.throw_when(Error::Exit, true);
        Ok(())
    }

    /// As [`kill`](Remote::kill), but it runs when its turn comes.
    ///
    /// # Errors
    /// None.
    pub fn kill_pending(&self) -> Result<()> {
        let _ = self.throw_when(Error::Exit, false);
        Ok(())
    }

    /// Takes it out of the run queue of its thread. Nothing happens when that thread is gone.
    ///
    /// # Errors
    /// None.
    pub fn remove(&self) -> Result<()> {
        let _ = self.post("remove", Tasklet::remove);
        Ok(())
    }

    /// A number that no other living tasklet has, as [`Tasklet::id`]. It changes when the tasklet
    /// moves to another thread.
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
            throw::throw_at(tasklet, 0, error)?;
            if next {
                make_next(tasklet);
            }
            Ok(())
        })
    }

    fn mark_used(&self) {
        // The thread is attached before the handle counts as used.
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
        let message = Message::Do(Box::new(move |local| {
            if let Some(Err(error)) = local.lent(key).map(|tasklet| operation(&tasklet)) {
                log::debug!("a {what} that another thread asked for: {error}");
            }
        }));
        home.post(message)
            .map_err(|_unread| StateError::NoThread.into())
    }
}

/// Moves a queued tasklet right behind the running one.
fn make_next(tasklet: &Tasklet) {
    let (runtime, task) = (Runtime::get(), tasklet.as_ptr());
    // SAFETY: the handle keeps the task alive, and it is of this thread; the reference that the
    // queue holds stays the queue's.
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
    /// Do both refer to the same tasklet?
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
