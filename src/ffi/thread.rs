//! The threads that use the library, and channels between them.

use alloc::sync::Arc;
use core::ffi::{c_char, c_void};

use super::carry::{self, carrier, Carrier, Carrying};
use super::channel::{hsw_preference, hsw_thread_channel};
use super::object::{self, ask, hand_out, handle_of_process, tell};
use super::remote::hsw_remote;
use super::value::{hsw_destroy, Owned, Sent};
use super::{entry, hsw_status, out, thread_state, write_text, Failure};
use crate::thread::{self, Channel};
use crate::Preference;

/// Counts the calling thread among those that use the library, and gives it a runtime with the
/// default settings if it has none (call `hsw_init` first for other settings). It is optional: the
/// first call that needs a runtime does the same. The opposite is `hsw_thread_exit`, or the
/// thread's end. A thread that has ended its part attaches again with this or any other call.
#[no_mangle]
pub extern "C" fn hsw_thread_attach() -> hsw_status {
    entry(|| {
        thread_state::with(|_| Ok(()))?;
        crate::current();
        Ok(())
    })
}

/// The numbers of the threads that use the library, in the order they came: at most `capacity` of
/// them are written to `ids`, which may be null when `capacity` is 0. `count` gets how many threads
/// there are.
#[no_mangle]
pub unsafe extern "C" fn hsw_threads(
    ids: *mut u64,
    capacity: usize,
    count: *mut usize,
) -> hsw_status {
    entry(|| {
        if ids.is_null() && capacity != 0 {
            return Err(Failure::Null("ids"));
        }
        let count = out(count, "count")?;
        let all = thread::threads();
        for (i, id) in all.iter().take(capacity).enumerate() {
            // SAFETY: `ids` has `capacity` writable elements (contract of the interface), more than
            // `i`.
            unsafe { ids.add(i).write(*id) };
        }
        count.set(all.len());
        Ok(())
    })
}

/// Figures of a thread.
#[repr(C)]
pub struct hsw_thread_info {
    /// Its name, cut to the size of this array; "" when it has none, as threads that were not made
    /// in Rust.
    pub name: [c_char; 64],
    /// Its main tasklet. The caller owns the handle.
    pub main_tasklet: hsw_remote,
    /// The tasklet that was running when the thread answered. The caller owns the handle.
    pub current: hsw_remote,
    /// Tasklets in its run queue, the running one included.
    pub run_count: usize,
    /// Tasklets that exist there, main included.
    pub tasklets: usize,
}

/// Asks a thread about itself. The calling tasklet waits for the answer, which the thread gives
/// when it switches or pumps next. `HSW_ERR_STATE`: there is no such thread, or it ended before it
/// answered. Otherwise fails as `hsw_remote_with` does.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_get_info(id: u64, info: *mut hsw_thread_info) -> hsw_status {
    entry(|| {
        let wanted = out(info, "info")?;
        let info = thread::info_or(id)?;
        let mut name = [0; 64];
        let text = info.name.unwrap_or_default();
        // SAFETY: `name` is an array of our own, and `name.len()` is its length.
        unsafe { write_text(&text, name.as_mut_ptr(), name.len(), core::ptr::null_mut()) }?;
        let main_tasklet: hsw_remote = hand_out(Arc::new(info.main))?;
        let current = hand_out(Arc::new(info.current)).inspect_err(|_| {
            // A call that fails has done nothing.
            drop(object::take_back(main_tasklet));
        })?;
        wanted.set(hsw_thread_info {
            name,
            main_tasklet,
            current,
            run_count: info.run_count,
            tasklets: info.tasklets,
        });
        Ok(())
    })
}

carrier!(Channel<Sent>, Sent);
handle_of_process!(
    hsw_thread_channel,
    Arc<Carrying<Channel<Sent>>>,
    ThreadChannel
);

/// Makes a channel between threads. Its values are pointers. `destroy` (may be null) frees values
/// that nobody will receive, on any thread.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_new(
    destroy: hsw_destroy,
    channel: *mut hsw_thread_channel,
) -> hsw_status {
    object::make(channel, "channel", || {
        let channel = Channel::new();
        Ok(Arc::new(Carrying { channel, destroy }))
    })
}

/// Makes another handle of the same channel, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_retain(
    channel: hsw_thread_channel,
    other: *mut hsw_thread_channel,
) -> hsw_status {
    object::retain_own(channel, other)
}

/// Gives a handle back; it is stale from now on, for all threads. The channel lives on while there
/// are other handles or a tasklet is in a call of it.
#[no_mangle]
pub extern "C" fn hsw_thread_channel_release(channel: hsw_thread_channel) -> hsw_status {
    object::release(channel)
}

/// Sends a value; blocks the tasklet while nobody receives. The value is the channel's from now on,
/// *also when this call fails*, as in `hsw_channel_send`.
#[no_mangle]
pub extern "C" fn hsw_thread_channel_send(
    channel: hsw_thread_channel,
    value: *mut c_void,
) -> hsw_status {
    carry::send(channel, value, carry::send_patiently)
}

/// Receives a value; blocks the tasklet while nobody sends. The value is the caller's.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_receive(
    channel: hsw_thread_channel,
    value: *mut *mut c_void,
) -> hsw_status {
    carry::receive(channel, value, Carrier::receive)
}

/// As `hsw_thread_channel_send`, but waits for at most `timeout_ns` nanoseconds (0: not at all;
/// `HSW_NO_LIMIT`: as long as it takes). `HSW_ERR_TIMEOUT`: nobody received, and the value is still
/// the caller's. On any other failure it is freed.
#[no_mangle]
pub extern "C" fn hsw_thread_channel_send_timeout(
    channel: hsw_thread_channel,
    value: *mut c_void,
    timeout_ns: u64,
) -> hsw_status {
    carry::send_within(channel, value, timeout_ns)
}

/// As `hsw_thread_channel_receive`, but waits for at most `timeout_ns` nanoseconds, by the rules of
/// `hsw_thread_channel_send_timeout`.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_receive_timeout(
    channel: hsw_thread_channel,
    timeout_ns: u64,
    value: *mut *mut c_void,
) -> hsw_status {
    carry::receive_within(channel, value, timeout_ns)
}

/// Sends a value if somebody is receiving. `HSW_ERR_WOULD_BLOCK`: nobody is, and the value is still
/// the caller's. On any other failure it is freed.
#[no_mangle]
pub extern "C" fn hsw_thread_channel_try_send(
    channel: hsw_thread_channel,
    value: *mut c_void,
) -> hsw_status {
    carry::send(channel, value, Carrier::try_send)
}

/// Receives a value if somebody is sending, else `HSW_ERR_WOULD_BLOCK`.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_try_receive(
    channel: hsw_thread_channel,
    value: *mut *mut c_void,
) -> hsw_status {
    carry::receive(channel, value, Carrier::try_receive)
}

/// Sends an exception: the receiver's call returns `HSW_ERR_THROWN`. The rules for the payload are
/// those of `hsw_tasklet_throw`.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_send_throw(
    channel: hsw_thread_channel,
    payload: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
) -> hsw_status {
    // SAFETY: `message` is null or ends in a zero byte (contract of the interface).
    unsafe { carry::send_throw(channel, payload, destroy, message) }
}

/// Sends `count` values one after the other. The rules for each value are those of
/// `hsw_thread_channel_send`. `sent` (may be null) gets how many were sent, also on failure; the
/// others have been freed then.
///
/// `values` must not lie on a sliced stack other than the caller's own.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_send_sequence(
    channel: hsw_thread_channel,
    values: *const *mut c_void,
    count: usize,
    sent: *mut usize,
) -> hsw_status {
    // SAFETY: `values` is null or has `count` elements (contract of the interface).
    unsafe { carry::send_sequence(channel, values, count, sent) }
}

/// The next value of an iteration over the channel: as `hsw_thread_channel_receive`, but
/// `HSW_ERR_STOP_ITERATION` when the channel is closing and nobody is sending.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_next(
    channel: hsw_thread_channel,
    value: *mut *mut c_void,
) -> hsw_status {
    carry::next(channel, value)
}

/// Which side goes on first when two tasklets of the same thread meet, as one of `hsw_preference`.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_preference(
    channel: hsw_thread_channel,
    preference: *mut i32,
) -> hsw_status {
    ask(channel, preference, "preference", |c| {
        hsw_preference::of(c.channel.preference())
    })
}

/// Sets which side goes on first when two tasklets of the same thread meet. Only the sign of the
/// number counts.
#[no_mangle]
pub extern "C" fn hsw_thread_channel_set_preference(
    channel: hsw_thread_channel,
    preference: i32,
) -> hsw_status {
    tell(channel, |c| {
        c.channel.set_preference(Preference::from_sign(preference));
    })
}

/// Whether every rendezvous of two tasklets of the same thread also lets all others of it run.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_schedule_all(
    channel: hsw_thread_channel,
    on: *mut bool,
) -> hsw_status {
    ask(channel, on, "on", |c| c.channel.schedule_all())
}

/// Sets whether every rendezvous of two tasklets of the same thread also lets all others of it run.
#[no_mangle]
pub extern "C" fn hsw_thread_channel_set_schedule_all(
    channel: hsw_thread_channel,
    on: bool,
) -> hsw_status {
    tell(channel, |c| c.channel.set_schedule_all(on))
}

/// Closes the channel: operations that would block fail with `HSW_ERR_CLOSED`. Tasklets that wait
/// are still served; none is woken.
#[no_mangle]
pub extern "C" fn hsw_thread_channel_close(channel: hsw_thread_channel) -> hsw_status {
    tell(channel, |c| c.channel.close())
}

/// Closes the channel and ends with `HSW_ERR_CLOSED` all waits on it, on whatever thread; `woken`
/// (may be null) gets how many. A value that a sender had to hand over is treated as by any send
/// that fails.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_close_and_wake(
    channel: hsw_thread_channel,
    woken: *mut usize,
) -> hsw_status {
    object::exchange(channel, woken, |c| c.channel.close_and_wake())
}

/// Opens a closed channel again.
#[no_mangle]
pub extern "C" fn hsw_thread_channel_open(channel: hsw_thread_channel) -> hsw_status {
    tell(channel, |c| c.channel.open())
}

/// Whether `hsw_thread_channel_close` was called.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_is_closing(
    channel: hsw_thread_channel,
    closing: *mut bool,
) -> hsw_status {
    ask(channel, closing, "closing", |c| c.channel.is_closing())
}

/// Whether it is closing and nobody waits on it any more.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_is_closed(
    channel: hsw_thread_channel,
    closed: *mut bool,
) -> hsw_status {
    ask(channel, closed, "closed", |c| c.channel.is_closed())
}

/// How many tasklets wait: a positive number of senders, or a negative number of receivers. Other
/// threads may change it at any time.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_balance(
    channel: hsw_thread_channel,
    balance: *mut isize,
) -> hsw_status {
    ask(channel, balance, "balance", |c| c.channel.balance())
}

/// A number that is the channel's alone while it lives: equal ids name the same channel. Never 0.
#[no_mangle]
pub unsafe extern "C" fn hsw_thread_channel_id(
    channel: hsw_thread_channel,
    id: *mut usize,
) -> hsw_status {
    ask(channel, id, "id", |c| c.channel.id())
}
