//! The condition variable: it does not poll, wakes no crowd, and wakes nobody in vain.

use super::lock::{Lock, LockGuard};
use super::permits::Permits;
use super::wait::{self, Answer, Wait, Waiter};
use crate::error::WaitError;
use crate::wait::until::Until;
use crate::Result;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where tasklets wait until the data under a [`Lock`] has changed as they need it.
///
/// * A notification moves a waiter from the condition's list to the lock's. The waiter is woken
///   once, when it has the lock. So [`notify_all`](Self::notify_all) wakes one tasklet at once, and
///   each further one when the one before it gives the lock up.
/// * No waiter returns unless it was notified, its time is up, or something was thrown at it. But
///   another tasklet may have had the lock in between, so the condition may be false again:
///   [`wait_while`](Self::wait_while) tests it again.
/// * Waiters are notified in the order they came. If a notified tasklet is killed before it has the
///   lock, the notification goes to the next of the tasklets that were waiting when it was given.
/// * Waits with a timeout sleep until then; nothing polls.
///
/// Cost: one load to notify when nobody waits. A wait takes one allocation; with a time limit,
/// three. A notification between tasklets of one thread is a few list operations; to another thread
/// it is a message, and a system call if that thread is asleep.
///
/// ```
/// use hardswitch::sync::{Condition, Lock};
/// use std::sync::Arc;
///
/// let door = Arc::new((Lock::new(false), Condition::new()));
/// let opener = door.clone();
/// let thread = std::thread::spawn(move || -> hardswitch::Result<()> {
///     *opener.0.lock()? = true;
///     opener.1.notify_one();
///     Ok(())
/// });
/// let guard = door.1.wait_while(door.0.lock()?, |open| !*open)?;
/// assert!(*guard);
/// # thread.join().unwrap()?;
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct Condition {
    /// The length of the list. It makes a notification cheap when nobody waits.
    count: AtomicUsize,
    queue: Mutex<Queue>,
}

struct Queue {
    list: VecDeque<Entry>,
    next_ticket: u64,
}

struct Entry {
    waiter: Arc<Waiter>,
    lock: Arc<Permits>,
    ticket: u64,
}

impl Condition {
    /// A condition that nobody waits for.
    pub const fn new() -> Condition {
        Condition {
            count: AtomicUsize::new(0),
            queue: Mutex::new(Queue {
                list: VecDeque::new(),
                next_ticket: 0,
            }),
        }
    }

    /// Gives the lock up, waits to be notified, and takes the lock again.
    ///
    /// An error that was thrown at the tasklet meanwhile;
    /// [`Error::BlockTrap`](crate::Error::BlockTrap). The lock is *not* held then.
    pub fn wait<'a, T: ?Sized>(&self, guard: LockGuard<'a, T>) -> Result<LockGuard<'a, T>> {
        Ok(self.wait_until(guard, Until::Ever)?.0)
    }

    /// As [`wait`](Self::wait), for at most `time`; the answer says whether it was notified. The
    /// wait for the lock afterwards is not limited.
    ///
    /// With a time of zero the lock is given up and taken again, behind those that wait for it. A
    /// time beyond the range of the clock is no limit.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: LockGuard<'a, T>,
        time: Duration,
    ) -> Result<(LockGuard<'a, T>, bool)> {
        Ok(self.wait_until(guard, Until::within(time))?)
    }

    /// Waits until `waits` returns false. `waits` is called with the lock held, also before the
    /// first wait.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: LockGuard<'a, T>,
        mut waits: impl FnMut(&mut T) -> bool,
    ) -> Result<LockGuard<'a, T>> {
        while waits(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_while`](Self::wait_while), for at most `time` in all; the answer says whether
    /// `waits` has returned false.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_while_timeout<'a, T: ?Sized>(
        &self,
        mut guard: LockGuard<'a, T>,
        time: Duration,
        mut waits: impl FnMut(&mut T) -> bool,
    ) -> Result<(LockGuard<'a, T>, bool)> {
        let until = Until::within(time);
        while waits(&mut guard) {
            let notified;
            (guard, notified) = self.wait_until(guard, until)?;
            if !notified {
                let done = !waits(&mut guard);
                return Ok((guard, done));
            }
        }
        Ok((guard, true))
    }

    /// For callers without guards: waits with a lock that was taken by [`Lock::acquire`], for at
    /// most `time`; returns whether it was notified. After an error the lock is not held.
    pub(crate) fn wait_without_guard(
        &self,
        lock: &Lock<()>,
        time: Option<Duration>,
    ) -> Result<bool, WaitError> {
        let until = time.map_or(Until::Ever, Until::within);
        let (guard, notified) = self.wait_until(lock.guard(), until)?;
        std::mem::forget(guard);
        Ok(notified)
    }

    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: LockGuard<'a, T>,
        until: Until,
    ) -> Result<(LockGuard<'a, T>, bool), WaitError> {
        let lock: &'a Lock<T> = LockGuard::lock(&guard);
        let permits = lock.raw().permits();
        if let Until::Now = until {
            drop(guard);
            permits.acquire(Until::Ever)?;
            return Ok((lock.guard(), false));
        }
        let wait = Wait::begin(until)?;
        self.enlist(wait.waiter(), permits);
        let leaving = Leaving {
            condition: self,
            lock: permits,
            waiter: wait.waiter(),
        };
        drop(guard);
        let mut in_time = true;
        loop {
            let woken = if in_time {
                wait.block()?
            } else {
                wait.block_for_ever()?
            };
            if woken && wait.waiter().answer() == Answer::Granted {
                std::mem::forget(leaving);
                return Ok((lock.guard(), true));
            }
            // The time is up. If the waiter is not on the condition's list any more, it was
            // notified in time: it waits for the lock, or has it.
            if !woken {
                if self.delist(wait.waiter()) {
                    std::mem::forget(leaving);
                    permits.acquire(Until::Ever)?;
                    return Ok((lock.guard(), false));
                }
                if wait.waiter().answer() == Answer::Granted {
                    std::mem::forget(leaving);
                    return Ok((lock.guard(), true));
                }
                in_time = false;
            }
        }
    }

    fn enlist(&self, waiter: &Arc<Waiter>, lock: &Arc<Permits>) {
        let mut queue = wait::lock(&self.queue);
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.list.push_back(Entry {
            waiter: waiter.clone(),
            lock: lock.clone(),
            ticket,
        });
        self.count.store(queue.list.len(), Ordering::Relaxed);
    }

    /// True when it was still on the list.
    fn delist(&self, waiter: &Arc<Waiter>) -> bool {
        let mut queue = wait::lock(&self.queue);
        let at = queue
            .list
            .iter()
            .position(|e| Arc::ptr_eq(&e.waiter, waiter));
        let entry = at.and_then(|at| queue.list.remove(at));
        self.count.store(queue.list.len(), Ordering::Relaxed);
        drop(queue);
        entry.is_some()
    }

    /// Notifies the tasklet that has waited longest. The caller may hold the lock or not; if it
    /// does, no notification can come between a waiter's test of the condition and its wait.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Notifies the `count` tasklets that have waited longest.
    pub fn notify(&self, count: usize) {
        // A waiter enlists with the lock held, so a later holder of the lock sees its count.
        if self.count.load(Ordering::Relaxed) != 0 {
            self.requeue(count, u64::MAX);
        }
    }

    /// Notifies all that wait now.
    pub fn notify_all(&self) {
        self.notify(usize::MAX);
    }

    /// How many wait to be notified now.
    pub fn waiting(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Moves up to `count` waiters with tickets below `bound` to their locks.
    #[cold]
    #[inline(never)]
    fn requeue(&self, mut count: usize, mut bound: u64) {
        while count > 0 {
            let mut queue = wait::lock(&self.queue);
            // Waiters that come after the first round are not meant, however often this loops.
            bound = bound.min(queue.next_ticket);
            if queue.list.front().is_none_or(|e| e.ticket >= bound) {
                return;
            }
            let Some(entry) = queue.list.pop_front() else {
                return;
            };
            self.count.store(queue.list.len(), Ordering::Relaxed);
            entry.waiter.bound.store(bound, Ordering::Relaxed);
            // The condition's mutex is held here. A waiter that leaves looks at the condition's
            // list first, then at the lock's, so it does not miss the move.
            let has_lock = entry.lock.come_for(&entry.waiter);
            drop(queue);
            if has_lock && !entry.waiter.wake() {
                // The waiter's thread is gone, but it was still on the list: notify the next one
                // instead.
                let _ = entry.lock.release();
            } else {
                count -= 1;
            }
        }
    }
}

impl Default for Condition {
    fn default() -> Condition {
        Condition::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// Leaves condition and lock when dropped, and passes on the lock and the notification if the
/// waiter has got them meanwhile.
struct Leaving<'a> {
    condition: &'a Condition,
    lock: &'a Permits,
    waiter: &'a Arc<Waiter>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.condition.delist(self.waiter) {
            return;
        }
        let has_lock = self.lock.leave(self.waiter) == Answer::Granted;
        // The next waiter gets behind the lock first, so that it is the next to have it.
        self.condition
            .requeue(1, self.waiter.bound.load(Ordering::Relaxed));
        if has_lock {
            let _ = self.lock.release(); // held, by us
        }
    }
}
