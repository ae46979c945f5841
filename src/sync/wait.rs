//! One wait of one tasklet, and how any thread ends it.
//!
//! ```text
//!   who waits                              who wakes (any thread)
//!   Wait::begin ── Waiter (heap) ──► a list of the object
//!   Wait::block: a seat of its       takes it off, writes the answer
//!      thread (thread::local)                  │
//!      ◄── same thread: made runnable ─────────┤ Waiter::wake
//!      ◄── other thread: by mail there ────────┘
//! ```
//!
//! The answer is written under the mutex of the list that the waiter is on, and whoever leaves a
//! list early looks at it under the same mutex: so a waiter was either answered or has left, never
//! both and never neither. The lists hold heap objects only; the frames of a waiting tasklet may be
//! elsewhere.

use crate::error::WaitError;
use crate::machine::arch::fetch;
use crate::net::reactor::Reactor;
use crate::thread::bell::Bell;
use crate::thread::{self, Seated, Sitting};
use crate::{time, Error};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// Not at all.
    Now,
    Moment(Instant),
    Ever,
}

impl Until {
    /// A time too far to be told is as good as for ever.
    pub fn after(time: Duration) -> Until {
        if time.is_zero() {
            return Until::Now;
        }
        Instant::now()
            .checked_add(time)
            .map_or(Until::Ever, Until::Moment)
    }
}

/// What a waiter was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Answer {
    /// Nothing yet.
    None = 0,
    /// It has what it waited for.
    Granted = 1,
    /// It will never get it: the object was closed, or is broken.
    Refused = 2,
}

/// Who waits, as the lists and the wakers see it.
pub(super) struct Waiter {
    answer: AtomicU8,
    /// Of a waiter that a condition notified: those with a lower ticket were waiting then.
    pub bound: AtomicU64,
    seated: Seated,
    /// What the waiter's thread sleeps on, to be fetched early.
    bell: Arc<Bell>,
}

impl Waiter {
    pub fn answer(&self) -> Answer {
        match self.answer.load(Ordering::Acquire) {
            0 => Answer::None,
            1 => Answer::Granted,
            _ => Answer::Refused,
        }
    }

    /// Under the mutex of the list that it was on.
    pub fn set_answer(&self, answer: Answer) {
        // Who answers wakes next. What that takes was written by another processor last: all of it
        // comes at once, while there is something else to do.
        self.seated.fetch();
        fetch(&*self.bell);
        self.answer.store(answer as u8, Ordering::Release);
    }

    /// Has it run on, which has been answered. Outside of all mutexes. False: its thread is gone,
    /// and it with the thread.
    pub fn wake(&self) -> bool {
        self.seated.wake(self.seated.call())
    }
}

/// A list of waiters, first come first served.
pub(super) type List = VecDeque<Arc<Waiter>>;

/// Takes `waiter` off; true when it was there.
pub(super) fn remove(list: &mut List, waiter: &Arc<Waiter>) -> bool {
    match list.iter().position(|w| Arc::ptr_eq(w, waiter)) {
        Some(at) => list.remove(at).is_some(),
        None => false,
    }
}

/// Answers all of the list; they must be woken next, outside of the mutex.
#[must_use]
pub(super) fn answer_all(list: &mut List, answer: Answer) -> List {
    let all = std::mem::take(list);
    for waiter in &all {
        waiter.set_answer(answer);
    }
    all
}

pub(super) fn wake_all(list: List) {
    for waiter in list {
        waiter.wake();
    }
}

/// No code of a user runs under these mutexes, so there is nothing that a panic could leave half
/// done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The waiting tasklet's end of a wait.
pub(super) struct Wait {
    waiter: Arc<Waiter>,
    sitting: Sitting,
    deadline: Option<Instant>,
    reactor: Rc<Reactor>,
}

impl Wait {
    /// Errors: the tasklet may not block; the operating system has no descriptor left; the thread
    /// is ending.
    pub fn begin(until: Until) -> Result<Wait, WaitError> {
        if crate::current().block_trap() {
            return Err(WaitError::own(Error::BlockTrap));
        }
        let reactor = Reactor::current().map_err(WaitError::own)?;
        let local = thread::local().map_err(WaitError::own)?;
        let sitting = local.sit_down();
        // Another thread may end it: a loop that waits for such is not idle.
        reactor.count_outstanding(1);
        let waiter = Arc::new(Waiter {
            answer: AtomicU8::new(Answer::None as u8),
            bound: AtomicU64::new(0),
            seated: sitting.seated(),
            bell: reactor.events().bell().clone(),
        });
        Ok(Wait {
            waiter,
            sitting,
            deadline: match until {
                Until::Moment(at) => Some(at),
                _ => None,
            },
            reactor,
        })
    }

    pub fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }

    /// Blocks until somebody answers and wakes the waiter (true) or the time is up. Errors: what
    /// was thrown at the tasklet meanwhile, what makes a pump fail.
    pub fn block(&self) -> Result<bool, WaitError> {
        self.sitting.look(&self.waiter.seated);
        self.block_until(self.deadline)
    }

    /// As [`block`](Self::block), once the time is up and the wait goes on all the same.
    pub fn block_for_ever(&self) -> Result<bool, WaitError> {
        self.block_until(None)
    }

    fn block_until(&self, deadline: Option<Instant>) -> Result<bool, WaitError> {
        let seated = &self.waiter.seated;
        match self.sitting.wait(seated, false, deadline, || None) {
            // It has what it waited for, or is told that it never will.
            Err(WaitError::Thrown(error)) if self.waiter.answer() != Answer::None => {
                time::put_off(error).map(|()| true)
            }
            waited => waited,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.reactor.count_outstanding(-1);
    }
}
