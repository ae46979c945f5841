//! References to tasklets of other threads, and the list of threads.

use crate::error::{Error, Result, StateError};
use crate::runtime::Runtime;
use crate::tasklet::{flag, Tasklet};
use std::fmt;
use std::sync::Arc;

use super::channel::Channel;
use super::home::{self, Home, Letter, Mark};
use super::local::{local, Local};

/// The threads that use the library, in the order they came: their [ids](crate::thread_id).
pub fn threads() -> Vec<u64> {
    home::all().iter().map(|home| home.id).collect()
}

/// What is known of a thread.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
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
    let home = home::all().into_iter().find(|home| home.id == id);
    let home = home.ok_or(StateError::ThreadNotFound)?;
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
) -> Result<R> {
    let here = local()?;
    if Arc::ptr_eq(home, &here.home) {
        return Ok(f(&here));
    }
    // Answers without waiting for us: we may have been killed meanwhile. When the letter is dropped unread, so is `Answer`, which says so.
    struct Answer<R: Send + 'static>(Channel<Option<R>>, Option<R>);
    impl<R: Send + 'static> Drop for Answer<R> {
        fn drop(&mut self) {
            self.0.answer(self.1.take());
        }
    }
    let channel = Channel::new();
    let mut answer = Answer(channel.clone(), None);
    let call = move |local: &Local| {
        // The whole of it moves in here, with its destructor.
        let answer = &mut answer;
        answer.1 = Some(f(local));
    };
    channel
        .receive_after(|| match home.post(Letter::Do(Box::new(call))) {
            Ok(()) => Ok(()),
            Err(_unread) => Err(StateError::NoThread.into()),
        })?
        .ok_or_else(|| StateError::NoThread.into())
}

/// A reference to a tasklet that any thread may hold: [`Tasklet::remote`].
///
/// What is asked of it is done on the tasklet's own thread, in the order of asking, at its next switch or pump at the latest: nothing here
/// waits for it except [`with`](Remote::with), and nothing ever switches because of it. So an operation that its thread refuses (`insert` of a
/// tasklet that has ended meanwhile) is not an error here; who wants to know asks through `with`.
///
/// The tasklet lives as long as there is such a reference, as with a handle. Clones are cheap.
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

struct Lent {
    home: Arc<Home>,
    key: u64,
    id: usize,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let key = self.key;
        // A thread that is gone has taken it back.
        let _ = self
            .home
            .post(Letter::Do(Box::new(move |local| local.take_back(key))));
    }
}

impl Tasklet {
    /// A reference to it for other threads. Cost: an allocation or two.
    ///
    /// # Errors
    /// [`StateError::NoThread`] when the thread is ending.
    pub fn remote(&self) -> Result<Remote> {
        Ok(Remote::new(&*local()?, self.clone()))
    }
}

impl Remote {
    fn new(local: &Local, tasklet: Tasklet) -> Remote {
        Remote {
            lent: Arc::new(Lent {
                home: local.home.clone(),
                id: tasklet.id(),
                key: local.lend(tasklet),
            }),
            mark: Mark::new(),
        }
    }

    /// Has its thread call `f` with the tasklet, and waits for the answer, until that thread switches or pumps; on its own thread, at once.
    ///
    /// `f` runs on whatever tasklet is running there, and should not block.
    ///
    /// # Errors
    /// [`StateError::NoThread`] when the thread is gone or ends before it answers; what a wait on a [`Channel`] can fail with
    /// ([`Error::Deadlock`], [`Error::BlockTrap`], ..., what was thrown into the caller): `f` may be called all the same then.
    pub fn with<R: Send + 'static>(
        &self,
        f: impl FnOnce(&Tasklet) -> R + Send + 'static,
    ) -> Result<R> {
        self.mark_used();
        let key = self.lent.key;
        ask(&self.lent.home, move |local| {
            local.lent(key).map(|tasklet| f(&tasklet))
        })?
        .ok_or_else(|| StateError::NoThread.into())
    }

    /// Is it alive? Waits as [`with`](Remote::with) does, and fails as that does; a tasklet whose thread is gone is not alive.
    pub fn is_alive(&self) -> Result<bool> {
        match self.with(|tasklet| tasklet.is_alive()) {
            Err(Error::State(StateError::NoThread)) => Ok(false),
            other => other,
        }
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

    /// Throws `error` into it, and makes it the next one to run on its thread. A value that was on its way to it is lost.
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

    /// Takes it out of the run queue of its thread. Nothing to do when that is gone.
    ///
    /// # Errors
    /// None.
    pub fn remove(&self) -> Result<()> {
        let _ = self.post("remove", Tasklet::remove);
        Ok(())
    }

    /// A number that no other tasklet alive at the same time has: as [`Tasklet::id`].
    pub fn tasklet_id(&self) -> usize {
        self.lent.id
    }

    /// Its thread; `None` when that is gone.
    pub fn thread(&self) -> Option<u64> {
        let home = &self.lent.home;
        (!home.is_gone()).then_some(home.id)
    }

    fn throw_when(&self, error: Error, next: bool) -> Result<()> {
        self.post("throw", move |tasklet| {
            if tasklet.is_current() {
                // It reads its own mail: what it does just now fails when it has read it.
                let lost =
                    tasklet.set_tempval(crate::value::Value(crate::value::Slot::bomb(error)));
                drop(lost);
                return Ok(());
            }
            tasklet.throw_pending(error)?;
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
        let key = self.lent.key;
        let letter = Letter::Do(Box::new(move |local| {
            if let Some(Err(error)) = local.lent(key).map(|tasklet| operation(&tasklet)) {
                log::debug!("a {what} that another thread asked for: {error}");
            }
        }));
        self.lent
            .home
            .post(letter)
            .map_err(|_unread| StateError::NoThread.into())
    }
}

/// Moves a queued tasklet right behind the running one.
fn make_next(tasklet: &Tasklet) {
    let (runtime, task) = (Runtime::get(), tasklet.as_ptr());
    // SAFETY: a live task of this thread; the queue's reference stays the queue's.
    unsafe {
        if task != runtime.current() && (*task).is(flag::QUEUED) {
            runtime.ring_remove(task);
            runtime.ring_insert_after(runtime.current(), task);
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
        Arc::ptr_eq(&self.lent.home, &other.lent.home) && self.lent.id == other.lent.id
    }
}

impl Eq for Remote {}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Remote({:#x}, thread {})",
            self.lent.id, self.lent.home.id
        )
    }
}

const _: () = {
    const fn across_threads<T: Send + Sync>() {}
    across_threads::<Remote>();
};
