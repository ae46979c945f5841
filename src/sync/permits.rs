//! Permits: the counter that locks, semaphores and queues are made of, with the list of its
//! waiters.
//!
//! ```text
//!   word:  [ free permits | QUEUED ]
//!          QUEUED says that the list is not empty; there are no free permits then
//! ```
//!
//! Without contention, taking and giving back are one compare-and-swap each. With contention, a
//! permit that is given back goes straight to the waiter that has waited longest: it never becomes
//! free, so nobody can overtake, and nobody wakes up in vain.

use super::wait::{self, Answer, List, Wait, Waiter};
use crate::error::WaitError;
use crate::wait::until::Until;
use crate::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const QUEUED: usize = 1;
const PERMIT: usize = 2;

pub(super) struct Permits {
    word: AtomicUsize,
    max: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    list: List,
    closed: bool,
}

/// More permits were given back than there can be.
#[derive(Debug)]
pub(super) struct TooMany;

/// What happened to a waiter that came for a permit.
enum Came {
    Took,
    Waits,
    Closed,
}

impl Permits {
    pub const MOST: usize = usize::MAX / PERMIT;

    /// `permits` of them are free; there can be `max`, which is at most [`Permits::MOST`].
    pub fn new(permits: usize, max: usize) -> Permits {
        let max = max.min(Permits::MOST);
        Permits {
            word: AtomicUsize::new(permits.min(max) * PERMIT),
            max,
            queue: Mutex::default(),
        }
    }

    pub fn free(&self) -> usize {
        self.word.load(Ordering::Relaxed) / PERMIT
    }

    pub fn waiting(&self) -> usize {
        wait::lock(&self.queue).list.len()
    }

    #[inline]
    pub fn try_acquire(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word >= PERMIT {
            match self.word.compare_exchange_weak(
                word,
                word - PERMIT,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Errors: `Timeout`, `Closed`, `BlockTrap`; an error that was thrown at the tasklet while it
    /// waited.
    #[inline]
    pub fn acquire(&self, until: Until) -> Result<(), WaitError> {
        if self.try_acquire() {
            return Ok(());
        }
        self.acquire_waiting(until)
    }

    #[cold]
    #[inline(never)]
    fn acquire_waiting(&self, until: Until) -> Result<(), WaitError> {
        if let Until::Now = until {
            return Err(WaitError::own(match wait::lock(&self.queue).closed {
                true => Error::Closed,
                false => Error::Timeout,
            }));
        }
        let wait = Wait::begin(until)?;
        match self.come(wait.waiter()) {
            Came::Took => return Ok(()),
            Came::Closed => return Err(WaitError::own(Error::Closed)),
            Came::Waits => {}
        }
        let leaving = Leaving {
            permits: self,
            waiter: wait.waiter(),
        };
        loop {
            let woken = wait.block()?;
            let answer = if woken {
                wait.waiter().answer()
            } else {
                self.leave(wait.waiter())
            };
            let result = match answer {
                // The permit came just as the time was up: that counts as in time.
                Answer::Granted => Ok(()),
                Answer::Refused => Err(WaitError::own(Error::Closed)),
                Answer::None if woken => continue,
                Answer::None => Err(WaitError::own(Error::Timeout)),
            };
            std::mem::forget(leaving);
            return result;
        }
    }

    /// Takes a permit, or puts `waiter` on the list.
    fn come(&self, waiter: &Arc<Waiter>) -> Came {
        let mut queue = wait::lock(&self.queue);
        loop {
            // Only a holder of the mutex changes the word from QUEUED.
            if self.try_acquire() {
                return Came::Took;
            }
            if queue.closed {
                return Came::Closed;
            }
            let word = self
                .word
                .compare_exchange(0, QUEUED, Ordering::Relaxed, Ordering::Relaxed);
            if matches!(word, Ok(_) | Err(QUEUED)) {
                queue.list.push_back(waiter.clone());
                return Came::Waits;
            }
        }
    }

    /// As `come`, for a waiter that a condition moves here and that cannot get a return value. True
    /// when it has the permit and is to be woken.
    pub fn come_for(&self, waiter: &Arc<Waiter>) -> bool {
        // A free permit means that nobody is on the list, which need not be looked at then.
        let took = self.try_acquire()
            || match self.come(waiter) {
                Came::Took => true,
                Came::Waits => false,
                Came::Closed => unreachable!("locks are never closed"),
            };
        if took {
            // Nobody else reads the answer now: the caller holds the condition's mutex.
            waiter.set_answer(Answer::Granted);
        }
        took
    }

    /// Takes `waiter` off the list, unless it was answered before.
    pub fn leave(&self, waiter: &Arc<Waiter>) -> Answer {
        let mut queue = wait::lock(&self.queue);
        let answer = waiter.answer();
        if answer == Answer::None {
            wait::remove(&mut queue.list, waiter);
            self.unqueue(&queue.list);
        }
        answer
    }

    /// Called under the mutex when the list has become shorter.
    fn unqueue(&self, list: &List) {
        if list.is_empty() {
            // Without QUEUED the list was empty before, and there may be free permits.
            self.word.fetch_and(!QUEUED, Ordering::Relaxed);
        }
    }

    /// Gives back one permit.
    #[inline]
    pub fn release(&self) -> Result<(), TooMany> {
        self.release_many(1)
    }

    /// Gives back `count` permits, all or none.
    #[inline]
    pub fn release_many(&self, count: usize) -> Result<(), TooMany> {
        match self.put_back(count)? {
            true => Ok(()),
            false => self.hand_over(count),
        }
    }

    /// Makes `count` permits free. False: there are waiters, which must get them.
    #[inline]
    fn put_back(&self, count: usize) -> Result<bool, TooMany> {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & QUEUED == 0 {
            if count > self.max - word / PERMIT {
                return Err(TooMany);
            }
            match self.word.compare_exchange_weak(
                word,
                word + count * PERMIT,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(true),
                Err(now) => word = now,
            }
        }
        Ok(false)
    }

    #[cold]
    #[inline(never)]
    fn hand_over(&self, mut count: usize) -> Result<(), TooMany> {
        // While there are waiters all permits are taken, so no more than `max` can come back.
        if count > self.max {
            return Err(TooMany);
        }
        // It is a loop because there may be many waiters whose threads are gone.
        loop {
            count = match count {
                1 => self.hand_over_one(),
                _ => self.hand_over_some(count),
            };
            if count == 0 || self.put_back(count)? {
                return Ok(());
            }
        }
    }

    /// The usual case, which needs no list of its own. Returns how many permits nobody took: 1 or
    /// 0.
    fn hand_over_one(&self) -> usize {
        match self.pop() {
            Some(waiter) => usize::from(!waiter.wake()),
            None => 1,
        }
    }

    /// Gives `count` permits to waiters. Returns how many permits nobody took, because there were
    /// no more waiters or their threads were gone.
    fn hand_over_some(&self, count: usize) -> usize {
        let mut woken = List::new();
        let mut queue = wait::lock(&self.queue);
        let rest = count.saturating_sub(queue.list.len());
        for _ in rest..count {
            if let Some(waiter) = queue.list.pop_front() {
                waiter.set_answer(Answer::Granted);
                woken.push_back(waiter);
            }
        }
        self.unqueue(&queue.list);
        drop(queue);
        let gone = woken.iter().filter(|waiter| !waiter.wake()).count();
        rest + gone
    }

    /// Gives a permit to the waiter that has waited longest, if there is one.
    fn pop(&self) -> Option<Arc<Waiter>> {
        let mut queue = wait::lock(&self.queue);
        let waiter = queue.list.pop_front()?;
        waiter.set_answer(Answer::Granted);
        self.unqueue(&queue.list);
        Some(waiter)
    }

    /// Wakes a waiter that has been given a permit.
    pub fn wake(&self, waiter: &Waiter) {
        if !waiter.wake() {
            // The waiter's thread is gone, but it was still on the list: its permit goes to the
            // next one. It cannot be one too many.
            let _ = self.release();
        }
    }

    /// Gives back one permit, for a caller that holds a mutex. The answered waiter is to be woken
    /// after that is released, with [`wake`](Self::wake).
    pub fn grant(&self) -> Option<Arc<Waiter>> {
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if word & QUEUED != 0 {
                match self.pop() {
                    Some(waiter) => return Some(waiter),
                    None => continue, // the last one has just left
                }
            }
            debug_assert!(word / PERMIT < self.max);
            let more = word + PERMIT;
            let given =
                self.word
                    .compare_exchange_weak(word, more, Ordering::Release, Ordering::Relaxed);
            if given.is_ok() {
                return None;
            }
        }
    }

    /// From now on nobody waits: present waiters, and callers that would have to wait, get
    /// `Closed`. Free permits can still be taken.
    pub fn close(&self) {
        let refused = {
            let mut queue = wait::lock(&self.queue);
            queue.closed = true;
            let refused = wait::answer_all(&mut queue.list, Answer::Refused);
            self.unqueue(&queue.list);
            refused
        };
        wait::wake_all(refused);
    }
}

/// Takes its waiter off the list when dropped, for whatever reason the wait ends. If a permit was
/// handed over meanwhile, it goes to the next waiter.
struct Leaving<'a> {
    permits: &'a Permits,
    waiter: &'a Arc<Waiter>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.permits.leave(self.waiter) == Answer::Granted {
            let given = self.permits.release();
            debug_assert!(given.is_ok());
        }
    }
}
