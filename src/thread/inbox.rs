//! The inbox of a thread: the messages for it, and whether it is awake.
//!
//! ```text
//!   another thread                             the thread itself
//!   post(message): under the lock, appends     at its next switch or pump: take()
//!      awake?  raises the flag ──────────────►
//!      asleep? notifies its parker ──────────► wakes up: end_sleep()
//! ```
//!
//! A message to a thread that is awake costs no system call. A thread goes to sleep under the lock,
//! and only if there is no message; so none is missed.
//!
//! **Deadlock.** A [`Census`] counts the threads that can run. A thread that goes to sleep *stuck*
//! (it waits for messages of other threads and for nothing else) leaves the count. Whoever posts to
//! it counts it in again, before the poster itself may sleep. A thread that would make the count 0
//! does not go to sleep: it has found the deadlock.

use super::parker::Parker;
use super::prim::{Arc, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};

/// How many threads can run.
pub struct Census {
    /// Attached threads that are not stuck.
    pub awake: AtomicUsize,
}

impl Census {
    /// Returns whether the caller is the only one.
    fn join(&self) -> bool {
        self.awake.fetch_add(1, Ordering::SeqCst) == 0
    }

    /// Returns whether nobody is left.
    pub fn leave(&self) -> bool {
        self.awake.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// Tells a thread that is awake of its messages.
pub trait Flag {
    fn raise(&self);
    fn lower(&self);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    Awake,
    /// Asleep: a socket, a timer or an event may wake it as well.
    Asleep,
    /// Asleep: only another attached thread can wake it.
    Stuck,
}

/// The reason why a thread does not go to sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StayAwake {
    /// There are messages.
    Messages,
    /// No thread would be left that can run.
    Deadlock,
}

pub struct Inbox<L, F> {
    state: Mutex<State<L, F>>,
}

/// See [`Inbox::hold`].
pub struct Hold<'a, L, F>(#[allow(dead_code)] MutexGuard<'a, State<L, F>>);

struct State<L, F> {
    /// The first message, which is usually the only one: a thread that is woken finds it next to
    /// the lock.
    first: Option<L>,
    /// The messages behind it.
    messages: Vec<L>,
    activity: Activity,
    /// Set when the thread goes to sleep for the first time.
    parker: Option<Arc<Parker>>,
    /// `None`: the thread has ended.
    flag: Option<F>,
}

impl<L, F: Flag> Inbox<L, F> {
    /// The inbox of a thread that is awake, and counted as such.
    pub fn new(flag: F, census: &Census) -> Inbox<L, F> {
        census.join();
        Inbox {
            state: Mutex::new(State {
                first: None,
                messages: Vec::new(),
                activity: Activity::Awake,
                parker: None,
                flag: Some(flag),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<L, F>> {
        // Under the lock only the growth of the vector can panic, which leaves the vector whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Posts a message; gives it back when the thread has ended.
    pub fn post(&self, message: L, census: &Census) -> Result<(), L> {
        let parker = {
            let mut state = self.state();
            match &state.flag {
                // A thread that wakes up takes its messages without being told.
                Some(flag) if state.activity == Activity::Awake => flag.raise(),
                Some(_) => {}
                None => return Err(message),
            }
            state.push(message);
            state.wake(census)
        };
        // The lock is not held here, since the owner wakes up and takes it.
        if let Some(parker) = parker {
            parker.notify();
        }
        Ok(())
    }

    /// Wakes the thread with nothing to do, if it is stuck. Returns whether it was.
    pub fn nudge(&self, census: &Census) -> bool {
        let parker = {
            let mut state = self.state();
            if state.activity != Activity::Stuck {
                return false;
            }
            state.wake(census)
        };
        if let Some(parker) = parker {
            parker.notify();
        }
        true
    }

    /// Nobody else changes anything here until the returned value is dropped.
    pub fn hold(&self) -> Hold<'_, L, F> {
        Hold(self.state())
    }

    /// Moves the messages out.
    pub fn take(&self, into: &mut impl Extend<L>) {
        self.state().take(into);
    }

    /// The thread is about to sleep on `parker`, which posters notify. `stuck`: only another
    /// attached thread will do so. `hope` says whether a thread may come that is not counted.
    /// Returns whether that is the only hope: then nobody may notify it, and the thread has to look
    /// again.
    pub fn begin_sleep(
        &self,
        stuck: bool,
        census: &Census,
        parker: &Arc<Parker>,
        hope: impl Fn() -> bool,
    ) -> Result<bool, StayAwake> {
        // A switch of the tests that breaks this: it looks before it takes the lock, so a message
        // in between is overlooked.
        let early = cfg!(hsw_bug_early_look).then(|| self.state().first.is_none());
        let mut state = self.state();
        if !early.unwrap_or(state.first.is_none()) {
            return Err(StayAwake::Messages);
        }
        let mut hopes = false;
        while stuck && census.leave() {
            hopes = hope();
            if hopes {
                break;
            }
            if census.join() {
                return Err(StayAwake::Deadlock);
            }
            // A thread that was not counted has attached while we asked: it is counted now, and can
            // run.
        }
        state.parker.get_or_insert_with(|| parker.clone());
        state.activity = if stuck {
            Activity::Stuck
        } else {
            Activity::Asleep
        };
        Ok(hopes)
    }

    /// The thread has woken up, for whatever reason; moves the messages out.
    pub fn end_sleep(&self, census: &Census, into: &mut impl Extend<L>) {
        let mut state = self.state();
        state.mark_awake(census);
        state.take(into);
    }

    /// The thread ends, and [leaves](Census::leave) the count after this. Returns the messages that
    /// nobody will read.
    pub fn close(&self) -> Vec<L> {
        let mut state = self.state();
        debug_assert!(state.activity == Activity::Awake);
        state.parker = None;
        let mut left = Vec::new();
        state.take(&mut left);
        state.flag = None;
        left
    }
}

impl<L, F: Flag> State<L, F> {
    /// The thread is awake, and counts as such. Returns whether it was not.
    fn mark_awake(&mut self, census: &Census) -> bool {
        let before = std::mem::replace(&mut self.activity, Activity::Awake);
        if before == Activity::Stuck {
            census.join();
        }
        before != Activity::Awake
    }

    /// As [`mark_awake`](State::mark_awake); returns the parker to notify if the thread was asleep.
    fn wake(&mut self, census: &Census) -> Option<Arc<Parker>> {
        if self.mark_awake(census) {
            self.parker.clone()
        } else {
            None
        }
    }

    fn push(&mut self, message: L) {
        if self.first.is_none() {
            self.first = Some(message);
        } else {
            self.messages.push(message);
        }
    }

    fn take(&mut self, into: &mut impl Extend<L>) {
        if let Some(flag) = &self.flag {
            flag.lower();
        }
        into.extend(self.first.take());
        into.extend(self.messages.drain(..));
    }
}
