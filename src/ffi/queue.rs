//! Channels with a queue.

use core::ffi::{c_char, c_void};

use alloc::rc::Rc;

use super::carry::{self, carrier, Carrying};
use super::object::{self, handle_of_thread, tell};
use super::value::{hsw_destroy, Owned};
use super::{hsw_status, set_if_wanted};
use crate::QueueChannel;

/// A handle of a channel with a queue; the rules for its owner and thread are those of
/// `hsw_tasklet`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_queue {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

pub(super) type CQueue = Rc<Carrying<QueueChannel<Owned>>>;

carrier!(QueueChannel<Owned>, Owned);
handle_of_thread!(hsw_queue, CQueue, Queue, queues);

/// Makes a channel that keeps up to `bound` values which nobody has received yet. A sender waits
/// only while it is full, and a send does not switch to the receiver. `SIZE_MAX`: no bound.
/// `destroy` (may be null) frees values that nobody will receive.
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_new(
    bound: usize,
    destroy: hsw_destroy,
    queue: *mut hsw_queue,
) -> hsw_status {
    object::make(queue, "queue", || {
        Ok(Rc::new(Carrying {
            channel: QueueChannel::bounded(bound),
            destroy,
        }))
    })
}

/// Makes another handle of the same queue, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_retain(queue: hsw_queue, other: *mut hsw_queue) -> hsw_status {
    object::retain(queue, other)
}

/// Gives a handle back. It is stale from now on.
#[no_mangle]
pub extern "C" fn hsw_queue_release(queue: hsw_queue) -> hsw_status {
    object::release(queue)
}

/// Hands a value to a tasklet that receives, or queues it; waits while the queue is full, for at
/// most `timeout_ns` nanoseconds (0: not at all; `HSW_NO_LIMIT`: as long as it takes).
/// `HSW_ERR_TIMEOUT`: it was full all the time, and the value is still the caller's. On any other
/// failure it is freed.
#[no_mangle]
pub extern "C" fn hsw_queue_send(
    queue: hsw_queue,
    value: *mut c_void,
    timeout_ns: u64,
) -> hsw_status {
    carry::send_within(queue, value, timeout_ns)
}

/// Takes the first value, which is the caller's; waits while there is none, for at most
/// `timeout_ns` nanoseconds (as `hsw_queue_send`).
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_receive(
    queue: hsw_queue,
    timeout_ns: u64,
    value: *mut *mut c_void,
) -> hsw_status {
    carry::receive_within(queue, value, timeout_ns)
}

/// Queues an exception: the call that receives it returns `HSW_ERR_THROWN`. The rules for the
/// payload are those of `hsw_tasklet_throw`.
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_send_throw(
    queue: hsw_queue,
    payload: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
) -> hsw_status {
    // SAFETY: `message` is null or ends in a zero byte (contract of the interface).
    unsafe { carry::send_throw(queue, payload, destroy, message) }
}

/// The next value of an iteration: `HSW_ERR_STOP_ITERATION` when the queue is closing and empty.
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_next(queue: hsw_queue, value: *mut *mut c_void) -> hsw_status {
    carry::next(queue, value)
}

/// Closes the queue: no more values are queued, and nobody may start to wait. Values that are
/// queued can still be received. With `wake`, all present waits end with `HSW_ERR_CLOSED`.
#[no_mangle]
pub extern "C" fn hsw_queue_close(queue: hsw_queue, wake: bool) -> hsw_status {
    tell(queue, |q| {
        if wake {
            q.channel.close_and_wake();
        } else {
            q.channel.close();
        }
    })
}

/// Opens a closed queue again.
#[no_mangle]
pub extern "C" fn hsw_queue_open(queue: hsw_queue) -> hsw_status {
    tell(queue, |q| q.channel.open())
}

/// `length` gets how many values are queued; `balance` that number plus the senders that wait, or
/// minus the receivers that wait. Either may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_queue_length(
    queue: hsw_queue,
    length: *mut usize,
    balance: *mut isize,
) -> hsw_status {
    tell(queue, |q| {
        set_if_wanted(length, q.channel.len());
        set_if_wanted(balance, q.channel.balance());
    })
}
