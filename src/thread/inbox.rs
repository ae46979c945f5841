//! Where the letters for a thread lie, and whether it is up.
//!
//! ```text
//!   another thread                          mailbox                        the thread itself
//!   post(letter) ──► under the lock: append, raise the flag ──► at its next switch or pump: take()
//!                    lies down? it is up ──► ring its bell ───► wakes up: get_up()
//! ```
//!
//! A letter to a thread that is up costs no system call. Who lies down does so under the lock, with no letter there; so none is missed.
//!
//! **Deadlock.** A [`Census`] counts the threads that can run. A thread that lies down *stuck* (it waits for other threads' letters and for
//! nothing else) leaves the count; who posts to it counts it in again, before it may itself lie down. Who would leave a count of nought behind
//! does not lie down: it has found the deadlock.

use super::parker::Bell;
use super::prim::{Arc, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};

/// How many threads can run.
pub struct Census {
    /// Attached threads that are not stuck.
    pub awake: AtomicUsize,
}

impl Census {
    /// Answers whether the caller is the only one.
    fn join(&self) -> bool {
        self.awake.fetch_add(1, Ordering::SeqCst) == 0
    }

    /// Answers whether nobody is left.
    pub fn leave(&self) -> bool {
        self.awake.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// What tells a thread that is up of its mail.
pub trait Flag {
    fn raise(&self);
    fn lower(&self);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Up,
    /// A socket, a timer or an event may wake it as well.
    Down,
    /// Only another attached thread can wake it.
    Stuck,
}

/// Why a thread does not lie down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StayUp {
    /// There is mail.
    Mail,
    /// Nobody would be left who can run.
    Deadlock,
}

pub struct Mailbox<L, F> {
    state: Mutex<State<L, F>>,
}

/// See [`Mailbox::hold`].
pub struct Hold<'a, L, F>(#[allow(dead_code)] MutexGuard<'a, State<L, F>>);

struct State<L, F> {
    /// The first letter, which is the only one as a rule: who sleeps and is woken finds it next to the lock.
    first: Option<L>,
    /// Those behind it.
    letters: Vec<L>,
    rest: Rest,
    /// Known from the first time on that the thread lies down.
    bell: Option<Arc<Bell>>,
    /// None: the thread has ended.
    flag: Option<F>,
}

impl<L, F: Flag> Mailbox<L, F> {
    /// Of a thread that is up, and counted as such.
    pub fn new(flag: F, census: &Census) -> Mailbox<L, F> {
        census.join();
        Mailbox {
            state: Mutex::new(State {
                first: None,
                letters: Vec::new(),
                rest: Rest::Up,
                bell: None,
                flag: Some(flag),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<L, F>> {
        // Nothing under the lock panics but the growth of the vector, which leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a letter; gives it back when the thread has ended.
    pub fn post(&self, letter: L, census: &Census) -> Result<(), L> {
        let bell = {
            let mut state = self.state();
            match &state.flag {
                // Who gets up takes its letters without being told.
                Some(flag) if state.rest == Rest::Up => flag.raise(),
                Some(_) => {}
                None => return Err(letter),
            }
            state.push(letter);
            state.rouse(census)
        };
        // Not under the lock: the owner wakes up and wants it.
        if let Some(bell) = bell {
            bell.ring();
        }
        Ok(())
    }

    /// Has the thread get up with nothing to do, if it is stuck. Answers whether it was.
    pub fn nudge(&self, census: &Census) -> bool {
        let bell = {
            let mut state = self.state();
            if state.rest != Rest::Stuck {
                return false;
            }
            state.rouse(census)
        };
        if let Some(bell) = bell {
            bell.ring();
        }
        true
    }

    /// Nobody is in the middle of anything here until this is dropped.
    pub fn hold(&self) -> Hold<'_, L, F> {
        Hold(self.state())
    }

    /// Moves the letters out.
    pub fn take(&self, into: &mut impl Extend<L>) {
        self.state().take(into);
    }

    /// The thread is about to sleep on `bell`, which the posters ring. `stuck`: nobody but another attached thread will. `hope`: may
    /// somebody come who is not counted? Answers whether that is the one hope: then nobody may
    /// ring, and the thread has to look again.
    pub fn lie_down(
        &self,
        stuck: bool,
        census: &Census,
        bell: &Arc<Bell>,
        hope: impl Fn() -> bool,
    ) -> Result<bool, StayUp> {
        // A test's switch: the look before the lock; a letter in between is overlooked.
        let early = cfg!(hsw_bug_early_look).then(|| self.state().first.is_none());
        let mut state = self.state();
        if !early.unwrap_or(state.first.is_none()) {
            return Err(StayUp::Mail);
        }
        let mut hopes = false;
        while stuck && census.leave() {
            hopes = hope();
            if hopes {
                break;
            }
            if census.join() {
                return Err(StayUp::Deadlock);
            }
            // A stranger has come while we looked for one: it was none any more, and can run.
        }
        state.bell.get_or_insert_with(|| bell.clone());
        state.rest = if stuck { Rest::Stuck } else { Rest::Down };
        Ok(hopes)
    }

    /// The thread has woken up, from whatever cause; moves the letters out.
    pub fn get_up(&self, census: &Census, into: &mut impl Extend<L>) {
        let mut state = self.state();
        state.stand(census);
        state.take(into);
    }

    /// The thread ends; then it [leaves](Census::leave) the count. Gives out the letters that nobody will read.
    pub fn close(&self) -> Vec<L> {
        let mut state = self.state();
        debug_assert!(state.rest == Rest::Up);
        state.bell = None;
        let mut left = Vec::new();
        state.take(&mut left);
        state.flag = None;
        left
    }
}

impl<L, F: Flag> State<L, F> {
    /// The thread is up, and counts as such. Answers whether it was not.
    fn stand(&mut self, census: &Census) -> bool {
        let before = std::mem::replace(&mut self.rest, Rest::Up);
        if before == Rest::Stuck {
            census.join();
        }
        before != Rest::Up
    }

    /// As [`stand`](State::stand); the bell to ring if it was not.
    fn rouse(&mut self, census: &Census) -> Option<Arc<Bell>> {
        if self.stand(census) {
            self.bell.clone()
        } else {
            None
        }
    }

    fn push(&mut self, letter: L) {
        if self.first.is_none() {
            self.first = Some(letter);
        } else {
            self.letters.push(letter);
        }
    }

    fn take(&mut self, into: &mut impl Extend<L>) {
        if let Some(flag) = &self.flag {
            flag.lower();
        }
        into.extend(self.first.take());
        into.extend(self.letters.drain(..));
    }
}
