//! Locks, conditions and their kin: for tasklets of all threads, and for plain threads.
//!
//! Objects and handles belong to no thread. A call that waits keeps its object, so its handle may
//! be released meanwhile.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};

use alloc::format;
use alloc::sync::Arc;

use super::object::{self, ask, get, handle_of_process, tell};
use super::value::{hsw_destroy, Owned, Sent};
use super::{entry, hsw_status, out, set_if_wanted, time_limit, Failure};
use crate::error::{StateError, WaitError};
use crate::sync::{
    this_tasklet, Barrier, BoundedSemaphore, Condition, Event, Lock, Queue, RLock, Semaphore,
};
use crate::Error;

/// A handle of a lock. It follows the rules of all handles of this part: any thread may use it, and
/// it has one owner, who gives it back with `hsw_lock_release`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_lock {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// A handle of a lock that its holder may take again; see `hsw_lock`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_rlock {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// A handle of a semaphore; see `hsw_lock`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_semaphore {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// A handle of a condition; see `hsw_lock`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_condition {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// A handle of an event; see `hsw_lock`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_event {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// A handle of a barrier; see `hsw_lock`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_barrier {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// A handle of a queue between threads; see `hsw_lock`. (`hsw_queue` is one within a thread.)
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_sync_queue {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// A lock that knows its holder, so that a wait without the lock is detected: C has no guards.
pub(super) struct CLock {
    lock: Lock<()>,
    /// The number of the tasklet that took the lock; 0 if none has. It is written by the holder,
    /// and by whoever gives the lock back.
    holder: AtomicU64,
}

impl CLock {
    fn is_mine(&self) -> bool {
        self.holder.load(Ordering::Relaxed) == this_tasklet()
    }
}

/// The two kinds of semaphores; C chooses when it makes one.
pub(super) enum CSemaphore {
    Free(Semaphore),
    Bounded(BoundedSemaphore),
}

/// A queue, and how its values are freed.
pub(super) struct CSyncQueue {
    queue: Queue<Sent>,
    destroy: hsw_destroy,
}

handle_of_process!(hsw_lock, Arc<CLock>, Lock);
handle_of_process!(hsw_rlock, Arc<RLock<()>>, RLock);
handle_of_process!(hsw_semaphore, Arc<CSemaphore>, Semaphore);
handle_of_process!(hsw_condition, Arc<Condition>, Condition);
handle_of_process!(hsw_event, Arc<Event>, Event);
handle_of_process!(hsw_barrier, Arc<Barrier>, Barrier);
handle_of_process!(hsw_sync_queue, Arc<CSyncQueue>, SyncQueue);

// --- Lock

/// Makes a lock that nobody holds.
#[no_mangle]
pub unsafe extern "C" fn hsw_lock_new(lock: *mut hsw_lock) -> hsw_status {
    object::make(lock, "lock", || {
        let lock = CLock {
            lock: Lock::new(()),
            holder: AtomicU64::new(0),
        };
        Ok(Arc::new(lock))
    })
}

/// Makes another handle of the same lock, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_lock_retain(lock: hsw_lock, other: *mut hsw_lock) -> hsw_status {
    object::retain(lock, other)
}

/// Gives a handle back; it is stale from now on. Tasklets that hold the lock or wait for it go on.
#[no_mangle]
pub extern "C" fn hsw_lock_release(lock: hsw_lock) -> hsw_status {
    object::release(lock)
}

/// Takes the lock when it is the caller's turn: first come, first served. Blocks only the calling
/// tasklet. A main tasklet, and so a plain thread, drives its thread's main loop meanwhile.
///
/// Waits for at most `timeout_ns` nanoseconds: 0 tries once and lets nobody else run;
/// `HSW_NO_LIMIT` waits as long as it takes. Any other number above `INT64_MAX`, which negative
/// numbers become, is `HSW_ERR_ARGUMENT` (-1 is `HSW_NO_LIMIT`). The same holds for all waits of
/// this part.
///
/// `HSW_ERR_TIMEOUT`: the time is over. `HSW_ERR_EXIT`, `HSW_ERR_THROWN`: the tasklet was killed or
/// thrown at while it waited. `HSW_ERR_BLOCK_TRAP`, `HSW_ERR_SWITCH_TRAP`: it may not wait. The
/// lock is not held then. The lock is not reentrant: a holder that takes it again waits for itself.
///
/// If a tasklet ends without giving the lock back, the lock stays taken until somebody else gives
/// it back.
#[no_mangle]
pub extern "C" fn hsw_lock_lock(lock: hsw_lock, timeout_ns: u64) -> hsw_status {
    entry(|| {
        let found = get(lock)?;
        let me = this_tasklet();
        found.lock.acquire_or(time_limit(timeout_ns)?)?;
        found.holder.store(me, Ordering::Relaxed);
        Ok(())
    })
}

/// Gives the lock back, whoever took it. The waiter that has waited longest gets it. Does not
/// switch. `HSW_ERR_STATE`: nobody held it.
#[no_mangle]
pub extern "C" fn hsw_lock_unlock(lock: hsw_lock) -> hsw_status {
    entry(|| {
        let found = get(lock)?;
        // This is done before the lock can be somebody else's.
        found.holder.store(0, Ordering::Relaxed);
        found.lock.release().map_err(Failure::own)
    })
}

/// Whether it is held, whether by the calling tasklet, and how many wait for it. Each may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_lock_state(
    lock: hsw_lock,
    locked: *mut bool,
    mine: *mut bool,
    waiting: *mut usize,
) -> hsw_status {
    tell(lock, |found| {
        set_if_wanted(locked, found.lock.is_locked());
        set_if_wanted(mine, found.is_mine());
        set_if_wanted(waiting, found.lock.waiting());
    })
}

// --- RLock

/// Makes a reentrant lock that nobody holds.
#[no_mangle]
pub unsafe extern "C" fn hsw_rlock_new(lock: *mut hsw_rlock) -> hsw_status {
    object::make(lock, "lock", || Ok(Arc::new(RLock::new(()))))
}

/// Makes another handle of the same lock, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_rlock_retain(lock: hsw_rlock, other: *mut hsw_rlock) -> hsw_status {
    object::retain(lock, other)
}

/// Gives a handle back; it is stale from now on. Tasklets that hold the lock or wait for it go on.
#[no_mangle]
pub extern "C" fn hsw_rlock_release(lock: hsw_rlock) -> hsw_status {
    object::release(lock)
}

/// As `hsw_lock_lock`; but a tasklet that holds the lock already gets it at once, once more.
///
/// The lock belongs to the tasklet that took it: if that ends without giving it back, it stays
/// taken for good.
#[no_mangle]
pub extern "C" fn hsw_rlock_lock(lock: hsw_rlock, timeout_ns: u64) -> hsw_status {
    entry(|| Ok(get(lock)?.acquire_or(time_limit(timeout_ns)?)?))
}

/// Undoes one `hsw_rlock_lock` of the calling tasklet; the last one gives the lock back.
/// `HSW_ERR_STATE`: the calling tasklet does not hold it.
#[no_mangle]
pub extern "C" fn hsw_rlock_unlock(lock: hsw_rlock) -> hsw_status {
    entry(|| get(lock)?.release().map_err(Failure::own))
}

/// Whether it is held, whether by the calling tasklet, and how many wait for it. Each may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_rlock_state(
    lock: hsw_rlock,
    locked: *mut bool,
    mine: *mut bool,
    waiting: *mut usize,
) -> hsw_status {
    tell(lock, |found| {
        set_if_wanted(locked, found.is_locked());
        set_if_wanted(mine, found.is_mine());
        set_if_wanted(waiting, found.waiting());
    })
}

// --- Semaphore

/// Makes a semaphore with `permits` free permits. If it is `bounded`, it never has more than those.
/// `HSW_ERR_ARGUMENT`: `permits` is more than half of `SIZE_MAX`.
#[no_mangle]
pub unsafe extern "C" fn hsw_semaphore_new(
    permits: usize,
    bounded: bool,
    semaphore: *mut hsw_semaphore,
) -> hsw_status {
    object::make(semaphore, "semaphore", || {
        if permits > Semaphore::MOST {
            return Err(Failure::Argument(format!(
                "permits: {permits} is more than {}",
                Semaphore::MOST
            )));
        }
        let semaphore = match bounded {
            true => CSemaphore::Bounded(BoundedSemaphore::new(permits)),
            false => CSemaphore::Free(Semaphore::new(permits)),
        };
        Ok(Arc::new(semaphore))
    })
}

/// Makes another handle of the same semaphore, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_semaphore_retain(
    semaphore: hsw_semaphore,
    other: *mut hsw_semaphore,
) -> hsw_status {
    object::retain(semaphore, other)
}

/// Gives a handle (not a permit) back; it is stale from now on. Tasklets that wait go on.
#[no_mangle]
pub extern "C" fn hsw_semaphore_release(semaphore: hsw_semaphore) -> hsw_status {
    object::release(semaphore)
}

/// Takes a permit when it is the caller's turn. Waits and fails as `hsw_lock_lock` does.
#[no_mangle]
pub extern "C" fn hsw_semaphore_acquire(semaphore: hsw_semaphore, timeout_ns: u64) -> hsw_status {
    entry(|| {
        let found = get(semaphore)?;
        let time = time_limit(timeout_ns)?;
        match &**found {
            CSemaphore::Free(s) => s.acquire_or(time)?,
            CSemaphore::Bounded(s) => s.acquire_or(time)?,
        }
        Ok(())
    })
}

/// Gives `count` permits back, all or none. Those that have waited longest get them first. Any
/// thread may give back a permit that another one took. Does not switch. `HSW_ERR_STATE`: there
/// would be more permits than there may be.
#[no_mangle]
pub extern "C" fn hsw_semaphore_give_back(semaphore: hsw_semaphore, count: usize) -> hsw_status {
    entry(|| {
        match &**get(semaphore)? {
            CSemaphore::Free(s) => s.release_many(count),
            CSemaphore::Bounded(s) => s.release_many(count),
        }
        .map_err(Failure::own)
    })
}

/// How many permits are free, and how many wait for one. Each may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_semaphore_state(
    semaphore: hsw_semaphore,
    available: *mut usize,
    waiting: *mut usize,
) -> hsw_status {
    tell(semaphore, |found| {
        let (free, wait) = match &**found {
            CSemaphore::Free(s) => (s.available(), s.waiting()),
            CSemaphore::Bounded(s) => (s.available(), s.waiting()),
        };
        set_if_wanted(available, free);
        set_if_wanted(waiting, wait);
    })
}

// --- Condition

/// Makes a condition that nobody waits for.
#[no_mangle]
pub unsafe extern "C" fn hsw_condition_new(condition: *mut hsw_condition) -> hsw_status {
    object::make(condition, "condition", || Ok(Arc::new(Condition::new())))
}

/// Makes another handle of the same condition, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_condition_retain(
    condition: hsw_condition,
    other: *mut hsw_condition,
) -> hsw_status {
    object::retain(condition, other)
}

/// Gives a handle back; it is stale from now on. Tasklets that wait go on.
#[no_mangle]
pub extern "C" fn hsw_condition_release(condition: hsw_condition) -> hsw_status {
    object::release(condition)
}

/// Gives the lock up, waits to be notified, and takes the lock again. It returns only after a
/// notification or with one of the errors below: there are no spurious wake-ups. But another
/// tasklet may have had the lock in between, so the condition that was waited for may be false
/// again.
///
/// * `HSW_ERR_TIMEOUT`: it was not notified within `timeout_ns` nanoseconds (see `hsw_lock_lock`;
///   with 0 the lock is given up and taken again). **The lock is held**, however long it took to
///   get it.
/// * `HSW_ERR_STATE`: the calling tasklet did not hold the lock. As with all mistakes, nothing has
///   changed.
/// * Any other error (killed, thrown at, a trap): **the lock is not held.**
#[no_mangle]
pub extern "C" fn hsw_condition_wait(
    condition: hsw_condition,
    lock: hsw_lock,
    timeout_ns: u64,
) -> hsw_status {
    entry(|| {
        let condition = get(condition)?;
        let lock = get(lock)?;
        let time = time_limit(timeout_ns)?;
        if !lock.is_mine() {
            return Err(Failure::own(StateError::NotOwner));
        }
        lock.holder.store(0, Ordering::Relaxed);
        let notified = condition.wait_without_guard(&lock.lock, time)?;
        lock.holder.store(this_tasklet(), Ordering::Relaxed);
        match notified {
            true => Ok(()),
            false => Err(Failure::own(Error::Timeout)),
        }
    })
}

/// Notifies the `count` tasklets that have waited longest; `SIZE_MAX`: all. The caller may hold the
/// lock or not; if it does, nothing can happen between a waiter's test of the condition and its
/// wait. Does not switch, and wakes nobody who would have to wait for the lock first.
#[no_mangle]
pub extern "C" fn hsw_condition_notify(condition: hsw_condition, count: usize) -> hsw_status {
    tell(condition, |condition| condition.notify(count))
}

/// How many wait to be notified.
#[no_mangle]
pub unsafe extern "C" fn hsw_condition_waiting(
    condition: hsw_condition,
    waiting: *mut usize,
) -> hsw_status {
    ask(condition, waiting, "waiting", |condition| {
        condition.waiting()
    })
}

// --- Event

/// Makes an event that is not set.
#[no_mangle]
pub unsafe extern "C" fn hsw_event_new(event: *mut hsw_event) -> hsw_status {
    object::make(event, "event", || Ok(Arc::new(Event::new())))
}

/// Makes another handle of the same event, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_event_retain(event: hsw_event, other: *mut hsw_event) -> hsw_status {
    object::retain(event, other)
}

/// Gives a handle back; it is stale from now on. Tasklets that wait go on.
#[no_mangle]
pub extern "C" fn hsw_event_release(event: hsw_event) -> hsw_status {
    object::release(event)
}

/// Sets the event: all that wait for it go on, even if it is cleared again before their turn comes.
/// Does not switch.
#[no_mangle]
pub extern "C" fn hsw_event_set(event: hsw_event) -> hsw_status {
    tell(event, |event| event.set())
}

/// Clears the event: new callers wait.
#[no_mangle]
pub extern "C" fn hsw_event_clear(event: hsw_event) -> hsw_status {
    tell(event, |event| event.clear())
}

/// Waits until the event is set. Waits and fails as `hsw_lock_lock` does.
#[no_mangle]
pub extern "C" fn hsw_event_wait(event: hsw_event, timeout_ns: u64) -> hsw_status {
    entry(|| Ok(get(event)?.wait_or(time_limit(timeout_ns)?)?))
}

/// Whether it is set, and how many wait for it. Each may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_event_state(
    event: hsw_event,
    set: *mut bool,
    waiting: *mut usize,
) -> hsw_status {
    tell(event, |found| {
        set_if_wanted(set, found.is_set());
        set_if_wanted(waiting, found.waiting());
    })
}

// --- Barrier

/// Makes a barrier where `parties` tasklets wait for each other; with 0 or 1, nobody waits.
#[no_mangle]
pub unsafe extern "C" fn hsw_barrier_new(parties: usize, barrier: *mut hsw_barrier) -> hsw_status {
    object::make(barrier, "barrier", || Ok(Arc::new(Barrier::new(parties))))
}

/// Makes another handle of the same barrier, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_barrier_retain(
    barrier: hsw_barrier,
    other: *mut hsw_barrier,
) -> hsw_status {
    object::retain(barrier, other)
}

/// Gives a handle back; it is stale from now on. Tasklets that wait go on.
#[no_mangle]
pub extern "C" fn hsw_barrier_release(barrier: hsw_barrier) -> hsw_status {
    object::release(barrier)
}

/// Waits until all parties have come; `last` (may be null) is true for the one that came last.
/// Waits and fails as `hsw_lock_lock` does; with a time of 0, only the last party passes.
///
/// A party that gives up (`HSW_ERR_TIMEOUT`, killed, thrown at, a trap) breaks the barrier: all
/// others, also later ones, get `HSW_ERR_BROKEN` until `hsw_barrier_reset`. Mistakes of the caller
/// do not break it.
#[no_mangle]
pub unsafe extern "C" fn hsw_barrier_wait(
    barrier: hsw_barrier,
    timeout_ns: u64,
    last: *mut bool,
) -> hsw_status {
    entry(|| {
        let came_last = get(barrier)?.wait_or(time_limit(timeout_ns)?)?;
        set_if_wanted(last, came_last);
        Ok(())
    })
}

/// Breaks the barrier: present and later parties get `HSW_ERR_BROKEN`.
#[no_mangle]
pub extern "C" fn hsw_barrier_abort(barrier: hsw_barrier) -> hsw_status {
    tell(barrier, |barrier| barrier.abort())
}

/// Makes the barrier as new. Present parties get `HSW_ERR_BROKEN`.
#[no_mangle]
pub extern "C" fn hsw_barrier_reset(barrier: hsw_barrier) -> hsw_status {
    tell(barrier, |barrier| barrier.reset())
}

/// How many parties it has, how many of them wait, and whether it is broken. Each may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_barrier_state(
    barrier: hsw_barrier,
    parties: *mut usize,
    waiting: *mut usize,
    broken: *mut bool,
) -> hsw_status {
    tell(barrier, |found| {
        set_if_wanted(parties, found.parties());
        set_if_wanted(waiting, found.waiting());
        set_if_wanted(broken, found.is_broken());
    })
}

// --- Queue

/// Makes a queue for up to `capacity` values, at least one; `SIZE_MAX`: no bound. `destroy` (may be
/// null) frees values that nobody gets, on any thread.
#[no_mangle]
pub unsafe extern "C" fn hsw_sync_queue_new(
    capacity: usize,
    destroy: hsw_destroy,
    queue: *mut hsw_sync_queue,
) -> hsw_status {
    object::make(queue, "queue", || {
        let queue = Queue::bounded(capacity);
        Ok(Arc::new(CSyncQueue { queue, destroy }))
    })
}

/// Makes another handle of the same queue, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_sync_queue_retain(
    queue: hsw_sync_queue,
    other: *mut hsw_sync_queue,
) -> hsw_status {
    object::retain(queue, other)
}

/// Gives a handle back; it is stale from now on. Tasklets that wait go on. Values that are in the
/// queue are freed with its last handle.
#[no_mangle]
pub extern "C" fn hsw_sync_queue_release(queue: hsw_sync_queue) -> hsw_status {
    object::release(queue)
}

/// Appends a value when there is room. Waits and fails as `hsw_lock_lock` does. `HSW_ERR_CLOSED`:
/// the queue is closed.
///
/// After `HSW_ERR_TIMEOUT` and after mistakes the value is still the caller's; after any other
/// failure it has been freed.
#[no_mangle]
pub extern "C" fn hsw_sync_queue_put(
    queue: hsw_sync_queue,
    value: *mut c_void,
    timeout_ns: u64,
) -> hsw_status {
    entry(|| {
        let found = get(queue)?;
        let time = time_limit(timeout_ns)?;
        let value = Sent::from(Owned::new(value, found.destroy));
        found
            .queue
            .put_within(value, time)
            .map_err(|(ended, value)| {
                match ended {
                    WaitError::Hindered(Error::Timeout) => drop(Owned::from(value).take()),
                    _ => drop(value),
                }
                ended.into()
            })
    })
}

/// Takes the first value, which is the caller's; waits while there is none. Waits and fails as
/// `hsw_lock_lock` does. `HSW_ERR_CLOSED`: the queue is closed and empty.
#[no_mangle]
pub unsafe extern "C" fn hsw_sync_queue_get(
    queue: hsw_sync_queue,
    timeout_ns: u64,
    value: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let value = out(value, "value")?;
        let found = get(queue)?;
        let got = found.queue.get_within(time_limit(timeout_ns)?)?;
        value.set(Owned::from(got).take().0);
        Ok(())
    })
}

/// Closes the queue: no more values come in, and tasklets that wait to put one in get
/// `HSW_ERR_CLOSED`. Values that are in it can still be taken; then that fails with
/// `HSW_ERR_CLOSED` as well. To call it twice is fine.
#[no_mangle]
pub extern "C" fn hsw_sync_queue_close(queue: hsw_sync_queue) -> hsw_status {
    tell(queue, |queue| queue.queue.close())
}

/// How many values are in it, and whether it is closed. Each may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_sync_queue_state(
    queue: hsw_sync_queue,
    length: *mut usize,
    closed: *mut bool,
) -> hsw_status {
    tell(queue, |found| {
        set_if_wanted(length, found.queue.len());
        set_if_wanted(closed, found.queue.is_closed());
    })
}
