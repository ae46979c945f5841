//! Channels with a queue.

use core::ffi::{c_char, c_void};
use core::time::Duration;

use super::handle::Kind;
use super::run::HSW_NO_LIMIT;
use super::status::{self, Failure};
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, local, out, set_if_wanted, Done};
use crate::{Error, QueueChannel};

/// A handle of a channel with a queue; for its owner and thread the same holds as for `hsw_tasklet`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_queue {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// A queue, and how its values are freed.
pub(super) struct CQueue {
    queue: QueueChannel<Owned>,
    destroy: hsw_destroy,
}

#[inline(never)] // keeps the frames of blocking calls small
fn get(queue: hsw_queue) -> Result<(QueueChannel<Owned>, hsw_destroy), Failure> {
    local::with(|local| {
        let table = local.queues.borrow();
        let found = table
            .get(queue.handle)
            .map_err(|fault| Failure::Handle(Kind::Queue, fault))?;
        Ok((found.queue.clone(), found.destroy))
    })
}

fn hand_out(queue: QueueChannel<Owned>, destroy: hsw_destroy) -> Result<hsw_queue, Failure> {
    local::with(|local| {
        let inserted = local.queues.borrow_mut().insert(CQueue { queue, destroy });
        inserted
            .map(|handle| hsw_queue { handle })
            .map_err(|fault| Failure::Handle(Kind::Queue, fault))
    })
}

fn patience(timeout_ns: u64) -> Option<Duration> {
    (timeout_ns != HSW_NO_LIMIT).then(|| Duration::from_nanos(timeout_ns))
}

/// Makes a channel that keeps up to `bound` values which nobody has received yet: a sender waits only when it is full, and nobody is
/// switched to. `SIZE_MAX`: no bound. `destroy` (may be null) frees values that nobody will receive.
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_new(
    bound: usize,
    destroy: hsw_destroy,
    queue: *mut hsw_queue,
) -> hsw_status {
    entry(|| {
        let queue = out(queue, "queue")?;
        queue.set(hand_out(QueueChannel::bounded(bound), destroy)?);
        Ok(())
    })
}

/// Makes another handle of the same queue, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_retain(queue: hsw_queue, other: *mut hsw_queue) -> hsw_status {
    entry(|| {
        let other = out(other, "other")?;
        let (found, destroy) = get(queue)?;
        other.set(hand_out(found, destroy)?);
        Ok(())
    })
}

/// Gives a handle back. It is stale from now on.
#[no_mangle]
pub extern "C" fn hsw_queue_release(queue: hsw_queue) -> hsw_status {
    entry(|| -> Done {
        let released = local::with(|local| {
            let mut table = local.queues.borrow_mut();
            table
                .remove(queue.handle)
                .map_err(|fault| Failure::Handle(Kind::Queue, fault))
        })?;
        drop(released); // outside of the borrow: may free values, whose destructors may come back here
        Ok(())
    })
}

/// Hands a value to a tasklet that receives, or queues it; waits while the queue is full, for at most `timeout_ns` nanoseconds (0: not
/// at all; `HSW_NO_LIMIT`: as long as it takes). `HSW_ERR_TIMEOUT`: it was full all the time, and the value is still the caller's.
/// On any other failure it is freed.
#[no_mangle]
pub extern "C" fn hsw_queue_send(
    queue: hsw_queue,
    value: *mut c_void,
    timeout_ns: u64,
) -> hsw_status {
    entry(|| {
        let (queue, destroy) = get(queue)?;
        let value = Owned::new(value, destroy);
        let Some(time) = patience(timeout_ns) else {
            return Ok(queue.send(value)?);
        };
        queue.send_timeout(value, time).map_err(|(error, back)| {
            match back {
                Some(value) if matches!(error, Error::Timeout) => {
                    value.take();
                }
                other => drop(other),
            }
            error
        })?;
        Ok(())
    })
}

/// Takes the first value, which is the caller's; waits while there is none, for at most `timeout_ns` nanoseconds (as
/// `hsw_queue_send`).
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_receive(
    queue: hsw_queue,
    timeout_ns: u64,
    value: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let value = out(value, "value")?;
        let (queue, _) = get(queue)?;
        let received = match patience(timeout_ns) {
            Some(time) => queue.receive_timeout(time)?,
            None => queue.receive()?,
        };
        value.set(received.take().0);
        Ok(())
    })
}

/// Queues an exception: the call that receives it returns `HSW_ERR_THROWN`. For the payload the same holds as in
/// `hsw_tasklet_throw`.
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_send_throw(
    queue: hsw_queue,
    payload: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
) -> hsw_status {
    entry(|| {
        // SAFETY: the contract of the interface.
        let error = unsafe { status::thrown(payload, destroy, message) };
        Ok(get(queue)?.0.send_throw(error)?)
    })
}

/// The next value of an iteration: `HSW_ERR_STOP_ITERATION` when the queue is closing and empty.
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_next(queue: hsw_queue, value: *mut *mut c_void) -> hsw_status {
    entry(|| {
        let value = out(value, "value")?;
        let (queue, _) = get(queue)?;
        let received = queue.next().ok_or(Failure::StopIteration)??;
        value.set(received.take().0);
        Ok(())
    })
}

/// Closes the queue: nothing more is queued, and nobody may start to wait; what is queued can still be received. With `wake`, the waits
/// of all who wait end with `HSW_ERR_CLOSED`.
#[no_mangle]
pub extern "C" fn hsw_queue_close(queue: hsw_queue, wake: bool) -> hsw_status {
    entry(|| {
        let (queue, _) = get(queue)?;
        if wake {
            queue.close_and_wake();
        } else {
            queue.close();
        }
        Ok(())
    })
}

/// Opens a closed queue again.
#[no_mangle]
pub extern "C" fn hsw_queue_open(queue: hsw_queue) -> hsw_status {
    entry(|| {
        get(queue)?.0.open();
        Ok(())
    })
}

/// How many values are queued; and in `balance` that number plus the senders that wait, or minus how many receivers wait. Either may be
/// null.
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_length(
    queue: hsw_queue,
    length: *mut usize,
    balance: *mut isize,
) -> hsw_status {
    entry(|| {
        let (queue, _) = get(queue)?;
        set_if_wanted(length, queue.len());
        set_if_wanted(balance, queue.balance());
        Ok(())
    })
}
