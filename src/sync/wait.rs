//! One wait of one tasklet, and how any thread ends it.
//!
//! ```text
//!   the waiting tasklet                    the tasklet that wakes it (any thread)
//!   Wait::begin ── Waiter (heap) ──► a list of the object
//!   Wait::block: parks at a          takes it off, writes the answer
//!      parking spot of its thread              │
//!      ◄── same thread: made runnable ─────────┤ Waiter::wake
//!      ◄── other thread: by a message ─────────┘
//! ```
//!
//! The answer is written under the mutex of the list that the waiter is on. A waiter that leaves a
//! list early looks at its answer under the same mutex: so it was either answered or has left,
//! never both and never neither. The lists hold heap objects only, since the frames of a waiting
//! tasklet may be elsewhere.

use crate::core::thrown;
use crate::error::WaitError;
use crate::machine::arch::fetch;
use crate::thread::{self, Parking, Waker};
use crate::wait::parker::Parker;
use crate::wait::reactor::Reactor;
use crate::wait::until::Until;
use crate::Error;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The answer that a waiter has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Answer {
    /// No answer yet.
    None = 0,
    /// The waiter has what it waited for.
    Granted = 1,
    /// The waiter will never get it: the object was closed, or is broken.
    Refused = 2,
}

/// A waiting tasklet, for the lists and for those who wake it.
pub(super) struct Waiter {
    answer: AtomicU8,
    /// Set when a condition has notified the waiter: the waiters with lower tickets were waiting
    /// then.
    pub bound: AtomicU64,
    waker: Waker,
    /// The parker of the waiter's thread, to be fetched into the cache early.
    parker: Arc<Parker>,
}

impl Waiter {
    pub fn answer(&self) -> Answer {
        match self.answer.load(Ordering::Acquire) {
            0 => Answer::None,
            1 => Answer::Granted,
            _ => Answer::Refused,
        }
    }

    /// Called under the mutex of the list that the waiter was on.
    pub fn set_answer(&self, answer: Answer) {
        // The caller wakes the waiter next. Another processor wrote last to the memory that this
        // needs, so all of it is fetched at once, while there is something else to do.
        self.waker.fetch();
        fetch(&*self.parker);
        self.answer.store(answer as u8, Ordering::Release);
    }

    /// Makes an answered waiter runnable. To be called without any mutex. False: its thread is
    /// gone, and the waiter with it.
    pub fn wake(&self) -> bool {
        self.waker.wake(self.waker.end())
    }
}

/// A list of waiters, first come first served.
pub(super) type List = VecDeque<Arc<Waiter>>;

/// Takes `waiter` off the list; true when it was there.
pub(super) fn remove(list: &mut List, waiter: &Arc<Waiter>) -> bool {
    match list.iter().position(|w| Arc::ptr_eq(w, waiter)) {
        Some(at) => list.remove(at).is_some(),
        None => false,
    }
}

/// Takes all waiters off the list and answers them. The caller must wake them next, without the
/// mutex.
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

/// Locks a mutex also after a panic: no code of a user runs under these mutexes, so a panic cannot
/// leave anything half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The waiting tasklet's side of a wait.
pub(super) struct Wait {
    waiter: Arc<Waiter>,
    parking: Parking,
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
        let parking = local.take_spot();
        // Another thread may end the wait: a loop with such a wait is not idle.
        reactor.count_outstanding(1);
        let waiter = Arc::new(Waiter {
            answer: AtomicU8::new(Answer::None as u8),
            bound: AtomicU64::new(0),
            waker: parking.waker(),
            parker: reactor.events().parker().clone(),
        });
        Ok(Wait {
            waiter,
            parking,
            deadline: until.moment(),
            reactor,
        })
    }

    pub fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }

    /// Blocks until somebody answers and wakes the waiter (true) or the time is up (false). Errors:
    /// an error that was thrown at the tasklet meanwhile, or one that makes a pump fail.
    pub fn block(&self) -> Result<bool, WaitError> {
        self.parking.spin(&self.waiter.waker);
        self.block_until(self.deadline)
    }

    /// As [`block`](Self::block), without a limit: for a wait that goes on after the time is up.
    pub fn block_for_ever(&self) -> Result<bool, WaitError> {
        self.block_until(None)
    }

    fn block_until(&self, deadline: Option<Instant>) -> Result<bool, WaitError> {
        let waker = &self.waiter.waker;
        match self.parking.wait(waker, false, deadline, || None) {
            // The waiter has what it waited for, or knows that it never will: it takes that first.
            Err(WaitError::Thrown(error)) if self.waiter.answer() != Answer::None => {
                thrown::put_off(error).map(|()| true)
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
