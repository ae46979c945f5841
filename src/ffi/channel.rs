//! Channels.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ffi::{c_char, c_void};

use super::carry::{self, carrier, Carrier, Carrying};
use super::failure::Failure;
use super::object::{self, ask, get, hand_out, hand_out_or_none, handle_of_thread, tell};
use super::tasklet::hsw_tasklet;
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, out};
use crate::{Channel, Preference};

/// A handle of a channel; for its owner and thread the same holds as for `hsw_tasklet`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_channel {
    /// Opaque; zero is nothing. Two handles of one channel differ: compare `hsw_channel_id`.
    pub handle: u64,
}

/// A handle of a channel between tasklets of any threads. Any thread may use it, and give it back.
///
/// It differs from a channel of one thread (`hsw_channel`) as follows. A partner on another thread
/// is made runnable there, whatever the preference, and the caller goes on without a switch. Nobody
/// can see which tasklets wait. The values, and the function that frees them, cross threads. A
/// thread with nothing else to do sleeps in the system until it is woken. `HSW_ERR_DEADLOCK` counts
/// all threads that use the library: the last one that can run is not allowed to wait.
///
/// A thread that does not use the library yet is counted by means of the handle that is on its way
/// to it: *give each thread a handle of its own* (`hsw_thread_channel_retain`) when it is started.
/// As long as some handle has never been used and some thread has not used the library yet, no
/// deadlock is reported. If the new thread shares a handle that others use already, a deadlock may
/// be reported too early.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_thread_channel {
    /// Opaque; zero is nothing. Two handles of one channel differ: compare `hsw_thread_channel_id`.
    pub handle: u64,
}

/// Which side runs first when a sender and a receiver have met.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum hsw_preference {
    /// The receiver: a send switches to it at once. The default.
    HSW_PREFER_RECEIVER = -1,
    /// The side that came second goes on.
    HSW_PREFER_NEITHER = 0,
    /// The sender.
    HSW_PREFER_SENDER = 1,
}

impl hsw_preference {
    pub(super) fn of(preference: Preference) -> i32 {
        let named = match preference {
            Preference::Receiver => hsw_preference::HSW_PREFER_RECEIVER,
            Preference::Neither => hsw_preference::HSW_PREFER_NEITHER,
            Preference::Sender => hsw_preference::HSW_PREFER_SENDER,
        };
        named as i32
    }
}

pub(super) type CChannel = Rc<Carrying<Channel<Owned>>>;

carrier!(Channel<Owned>, Owned);
handle_of_thread!(hsw_channel, CChannel, Channel, channels);

/// Makes a channel. Its values are pointers. `destroy` (may be null) frees those that nobody will
/// receive.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_new(
    destroy: hsw_destroy,
    channel: *mut hsw_channel,
) -> hsw_status {
    object::make(channel, "channel", || {
        Ok(Rc::new(Carrying {
            channel: Channel::new(),
            destroy,
        }))
    })
}

/// Makes another handle of the same channel, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_retain(
    channel: hsw_channel,
    other: *mut hsw_channel,
) -> hsw_status {
    object::retain(channel, other)
}

/// Gives a handle back; it is stale from now on. The channel lives on while there are other handles
/// or a tasklet is in a call of it.
#[no_mangle]
pub extern "C" fn hsw_channel_release(channel: hsw_channel) -> hsw_status {
    object::release(channel)
}

/// Sends a value; blocks while nobody receives.
///
/// The value is the channel's from now on, *also when this call fails*: then the channel's
/// `destroy` frees it, unless a receiver has it already. Only after a mistake of the caller's (a
/// status from `HSW_ERR_NULL` on) nothing has changed. (A sender that is killed after its value was
/// taken gets `HSW_ERR_EXIT`, too. So a sender cannot know whether the value is its own again, and
/// does not need to.)
#[no_mangle]
pub extern "C" fn hsw_channel_send(channel: hsw_channel, value: *mut c_void) -> hsw_status {
    carry::send(channel, value, carry::send_patiently)
}

/// Receives a value; blocks while nobody sends. The value is the caller's.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_receive(
    channel: hsw_channel,
    value: *mut *mut c_void,
) -> hsw_status {
    carry::receive(channel, value, Carrier::receive)
}

/// Sends an exception: the receiver's call returns `HSW_ERR_THROWN`. The rules for the payload are
/// those of `hsw_tasklet_throw`.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_send_throw(
    channel: hsw_channel,
    payload: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
) -> hsw_status {
    // SAFETY: `message` is null or ends in a zero byte (contract of the interface).
    unsafe { carry::send_throw(channel, payload, destroy, message) }
}

/// Sends `count` values one after the other. The rules for each value are those of
/// `hsw_channel_send`. `sent` (may be null) gets how many were sent, also on failure; the others
/// have been freed then.
///
/// `values` must not lie on a sliced stack other than the caller's own.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_send_sequence(
    channel: hsw_channel,
    values: *const *mut c_void,
    count: usize,
    sent: *mut usize,
) -> hsw_status {
    // SAFETY: `values` is null or has `count` elements (contract of the interface).
    unsafe { carry::send_sequence(channel, values, count, sent) }
}

/// The next value of an iteration over the channel: as `hsw_channel_receive`, but
/// `HSW_ERR_STOP_ITERATION` when the channel is closing and nobody is sending.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_next(
    channel: hsw_channel,
    value: *mut *mut c_void,
) -> hsw_status {
    carry::next(channel, value)
}

/// Sends a value if somebody is receiving. `HSW_ERR_WOULD_BLOCK`: nobody is, and the value is still
/// the caller's. On any other failure it is freed.
#[no_mangle]
pub extern "C" fn hsw_channel_try_send(channel: hsw_channel, value: *mut c_void) -> hsw_status {
    carry::send(channel, value, Carrier::try_send)
}

/// Receives a value if somebody is sending, else `HSW_ERR_WOULD_BLOCK`.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_try_receive(
    channel: hsw_channel,
    value: *mut *mut c_void,
) -> hsw_status {
    carry::receive(channel, value, Carrier::try_receive)
}

/// As `hsw_channel_send`, but waits for at most `timeout_ns` nanoseconds (0: not at all;
/// `HSW_NO_LIMIT`: as long as it takes). `HSW_ERR_TIMEOUT`: nobody received, and the value is still
/// the caller's. On any other failure it is freed.
///
/// The clock is looked at by `hsw_pump`, `hsw_tick` and the other calls that drive the main loop,
/// and by `hsw_fire_due`: nobody else ends the wait in time. The main tasklet drives the loop
/// itself while it waits here.
#[no_mangle]
pub extern "C" fn hsw_channel_send_timeout(
    channel: hsw_channel,
    value: *mut c_void,
    timeout_ns: u64,
) -> hsw_status {
    carry::send_within(channel, value, timeout_ns)
}

/// As `hsw_channel_receive`, but waits for at most `timeout_ns` nanoseconds, by the rules of
/// `hsw_channel_send_timeout`.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_receive_timeout(
    channel: hsw_channel,
    timeout_ns: u64,
    value: *mut *mut c_void,
) -> hsw_status {
    carry::receive_within(channel, value, timeout_ns)
}

/// The preference, as one of `hsw_preference`.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_preference(
    channel: hsw_channel,
    preference: *mut i32,
) -> hsw_status {
    ask(channel, preference, "preference", |c| {
        hsw_preference::of(c.channel.preference())
    })
}

/// Sets the preference. Only the sign of the number counts.
#[no_mangle]
pub extern "C" fn hsw_channel_set_preference(channel: hsw_channel, preference: i32) -> hsw_status {
    tell(channel, |c| {
        c.channel.set_preference(Preference::from_sign(preference));
    })
}

/// Whether every rendezvous also lets all others run.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_schedule_all(
    channel: hsw_channel,
    on: *mut bool,
) -> hsw_status {
    ask(channel, on, "on", |c| c.channel.schedule_all())
}

/// Sets whether every rendezvous also lets all others run.
#[no_mangle]
pub extern "C" fn hsw_channel_set_schedule_all(channel: hsw_channel, on: bool) -> hsw_status {
    tell(channel, |c| c.channel.set_schedule_all(on))
}

/// Closes the channel: operations that would block fail with `HSW_ERR_CLOSED`. Tasklets that wait
/// are still served; none is woken.
#[no_mangle]
pub extern "C" fn hsw_channel_close(channel: hsw_channel) -> hsw_status {
    tell(channel, |c| c.channel.close())
}

/// Closes the channel and ends with `HSW_ERR_CLOSED` all waits on it; `woken` (may be null) gets
/// how many. The tasklets are queued, but none has run yet. The values that senders had to hand
/// over are freed.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_close_and_wake(
    channel: hsw_channel,
    woken: *mut usize,
) -> hsw_status {
    object::exchange(channel, woken, |c| c.channel.close_and_wake())
}

/// Opens a closed channel again.
#[no_mangle]
pub extern "C" fn hsw_channel_open(channel: hsw_channel) -> hsw_status {
    tell(channel, |c| c.channel.open())
}

/// Whether `hsw_channel_close` was called.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_is_closing(
    channel: hsw_channel,
    closing: *mut bool,
) -> hsw_status {
    ask(channel, closing, "closing", |c| c.channel.is_closing())
}

/// Whether it is closing and nobody waits on it any more.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_is_closed(
    channel: hsw_channel,
    closed: *mut bool,
) -> hsw_status {
    ask(channel, closed, "closed", |c| c.channel.is_closed())
}

/// How many tasklets wait: a positive number of senders, or a negative number of receivers.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_balance(
    channel: hsw_channel,
    balance: *mut isize,
) -> hsw_status {
    ask(channel, balance, "balance", |c| c.channel.balance())
}

/// The first tasklet that waits on the channel; the null handle when none does. The caller owns the
/// handle. `hsw_channel_waiting` tells the others, too.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_queue(
    channel: hsw_channel,
    first: *mut hsw_tasklet,
) -> hsw_status {
    object::ask_or_fail(channel, first, "first", |c| {
        hand_out_or_none(c.channel.queue())
    })
}

/// All tasklets that wait on the channel, in the order in which they came; also those that wait
/// with a time limit or in a select, and those that drive the main loop meanwhile. A tasklet is
/// named once for each of its waits. At most `capacity` handles are written to `tasklets`, which
/// may be null when `capacity` is 0; the caller owns each. `count` gets how many tasklets wait.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_waiting(
    channel: hsw_channel,
    tasklets: *mut hsw_tasklet,
    capacity: usize,
    count: *mut usize,
) -> hsw_status {
    entry(|| {
        if tasklets.is_null() && capacity != 0 {
            return Err(Failure::Null("tasklets"));
        }
        let count = out(count, "count")?;
        let waiting = get(channel)?.channel.waiting();
        let mut made = Vec::new();
        for tasklet in waiting.iter().take(capacity) {
            made.push(hand_out(tasklet.clone()).inspect_err(|_| {
                // A call that fails has done nothing.
                made.iter()
                    .for_each(|&handle: &hsw_tasklet| drop(object::take_back(handle)));
            })?);
        }
        for (i, handle) in made.into_iter().enumerate() {
            // SAFETY: `tasklets` has `capacity` writable elements (contract of the interface), more
            // than `i`.
            unsafe { tasklets.add(i).write(handle) };
        }
        count.set(waiting.len());
        Ok(())
    })
}

/// Keeps a pointer of the host's with the channel, for all of its handles. The previous pointer is
/// freed with the function that came with it. This one is freed with `destroy` (may be null) when
/// it is replaced, when the channel goes, or when this call fails.
#[no_mangle]
pub extern "C" fn hsw_channel_set_user_data(
    channel: hsw_channel,
    data: *mut c_void,
    destroy: hsw_destroy,
) -> hsw_status {
    let data = Rc::new(Owned::new(data, destroy));
    tell(channel, |c| drop(c.channel.set_user_data(Some(data))))
}

/// The pointer that was set; null when there is none. It stays the channel's.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_user_data(
    channel: hsw_channel,
    data: *mut *mut c_void,
) -> hsw_status {
    ask(channel, data, "data", |c| {
        let kept = c.channel.user_data_as::<Owned>();
        kept.map_or(core::ptr::null_mut(), |owned| owned.peek().0)
    })
}

/// A number that is the channel's alone while it lives: equal ids name the same channel. Never 0.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_id(channel: hsw_channel, id: *mut usize) -> hsw_status {
    ask(channel, id, "id", |c| c.channel.id())
}
