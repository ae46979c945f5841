//! Channels.

use alloc::rc::Rc;
use core::ffi::{c_char, c_void};

use super::handle::Kind;
use super::status::{self, Failure};
use super::tasklet::{hand_out_or_none, hsw_tasklet};
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, local, out, set_if_wanted, Done};
use crate::{Channel, Error, Preference};

/// A handle of a channel; for its owner and thread the same holds as for `hsw_tasklet`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_channel {
    /// Opaque; zero is nothing. Two handles of one channel differ: compare `hsw_channel_id`.
    pub handle: u64,
}

/// Who runs first when sender and receiver have met.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum hsw_preference {
    /// The receiver: a send switches to it at once. The default.
    HSW_PREFER_RECEIVER = -1,
    /// Whoever came second goes on.
    HSW_PREFER_NEITHER = 0,
    /// The sender.
    HSW_PREFER_SENDER = 1,
}

/// A channel, and how its values are freed.
pub(super) struct CChannel {
    channel: Channel<Owned>,
    destroy: hsw_destroy,
}

#[inline(never)] // keeps the frames of blocking calls small
pub(super) fn get(channel: hsw_channel) -> Result<(Channel<Owned>, hsw_destroy), Failure> {
    local::with(|local| {
        let table = local.channels.borrow();
        let found = table
            .get(channel.handle)
            .map_err(|fault| Failure::Handle(Kind::Channel, fault))?;
        Ok((found.channel.clone(), found.destroy))
    })
}

fn hand_out(channel: Channel<Owned>, destroy: hsw_destroy) -> Result<hsw_channel, Failure> {
    local::with(|local| {
        let inserted = local
            .channels
            .borrow_mut()
            .insert(CChannel { channel, destroy });
        inserted
            .map(|handle| hsw_channel { handle })
            .map_err(|fault| Failure::Handle(Kind::Channel, fault))
    })
}

/// Makes a channel. Its values are pointers. `destroy` (may be null) frees those that nobody will receive.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_new(
    destroy: hsw_destroy,
    channel: *mut hsw_channel,
) -> hsw_status {
    entry(|| {
        let channel = out(channel, "channel")?;
        channel.set(hand_out(Channel::new(), destroy)?);
        Ok(())
    })
}

/// Makes another handle of the same channel, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_retain(
    channel: hsw_channel,
    other: *mut hsw_channel,
) -> hsw_status {
    entry(|| {
        let other = out(other, "other")?;
        let (found, destroy) = get(channel)?;
        other.set(hand_out(found, destroy)?);
        Ok(())
    })
}

/// Gives a handle back. It is stale from now on. The channel lives on while others have handles or a tasklet is in a call of it.
#[no_mangle]
pub extern "C" fn hsw_channel_release(channel: hsw_channel) -> hsw_status {
    entry(|| -> Done {
        let released = local::with(|local| {
            let mut table = local.channels.borrow_mut();
            table
                .remove(channel.handle)
                .map_err(|fault| Failure::Handle(Kind::Channel, fault))
        })?;
        drop(released); // outside of the borrow: may free values, whose destructors may come back here
        Ok(())
    })
}

/// Sends a value; blocks while nobody receives.
///
/// The value is the channel's from now on, *also when this call fails*: then the channel's `destroy` frees it, unless a receiver
/// has it already. (A sender that is killed after its value was taken gets `HSW_ERR_EXIT`, too; so a sender cannot know whether
/// a value is its own again, and must not have to.)
#[no_mangle]
pub extern "C" fn hsw_channel_send(channel: hsw_channel, value: *mut c_void) -> hsw_status {
    entry(|| {
        let (channel, destroy) = get(channel)?;
        Ok(channel.send(Owned::new(value, destroy))?)
    })
}

/// Receives a value; blocks while nobody sends. The value is the caller's.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_receive(
    channel: hsw_channel,
    value: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let value = out(value, "value")?;
        let (channel, _) = get(channel)?;
        value.set(channel.receive()?.take().0);
        Ok(())
    })
}

/// Sends an exception: the receiver's call returns `HSW_ERR_THROWN`. For the payload the same holds as in `hsw_tasklet_throw`.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_send_throw(
    channel: hsw_channel,
    payload: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
) -> hsw_status {
    entry(|| {
        // SAFETY: the contract of the interface.
        let error = unsafe { status::thrown(payload, destroy, message) };
        Ok(get(channel)?.0.send_throw(error)?)
    })
}

/// Sends `count` values one after the other. All are the channel's from now on, also when this call fails. `sent` (may be null)
/// gets how many were sent; it is not written on failure.
///
/// `values` must not lie on a sliced stack other than the caller's own.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_send_sequence(
    channel: hsw_channel,
    values: *const *mut c_void,
    count: usize,
    sent: *mut usize,
) -> hsw_status {
    entry(|| {
        if values.is_null() && count != 0 {
            return Err(Failure::Null("values"));
        }
        let (channel, destroy) = get(channel)?;
        // Made owners at once, so that a failure in the middle frees the rest.
        let owned: alloc::vec::Vec<Owned> = (0..count)
            // SAFETY: `values` has `count` elements (contract of the interface).
            .map(|i| Owned::new(unsafe { values.add(i).read() }, destroy))
            .collect();
        set_if_wanted(sent, channel.send_sequence(owned)?);
        Ok(())
    })
}

/// The next value of an iteration over the channel: as `hsw_channel_receive`, but `HSW_ERR_STOP_ITERATION` when the channel is
/// closing and nobody is sending.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_next(
    channel: hsw_channel,
    value: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let value = out(value, "value")?;
        let (channel, _) = get(channel)?;
        let received = channel.next().ok_or(Failure::StopIteration)??;
        value.set(received.take().0);
        Ok(())
    })
}

/// Sends a value if somebody is receiving. `HSW_ERR_WOULD_BLOCK`: nobody is, and the value is still the caller's. On any other
/// failure it is freed.
#[no_mangle]
pub extern "C" fn hsw_channel_try_send(channel: hsw_channel, value: *mut c_void) -> hsw_status {
    entry(|| {
        let (channel, destroy) = get(channel)?;
        channel
            .try_send(Owned::new(value, destroy))
            .map_err(|(error, back)| {
                match back {
                    Some(value) if matches!(error, Error::WouldBlock) => drop(value.take()),
                    other => drop(other),
                }
                error
            })?;
        Ok(())
    })
}

/// Receives a value if somebody is sending, else `HSW_ERR_WOULD_BLOCK`.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_try_receive(
    channel: hsw_channel,
    value: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let value = out(value, "value")?;
        let (channel, _) = get(channel)?;
        value.set(channel.try_receive()?.take().0);
        Ok(())
    })
}

/// The preference, as one of `hsw_preference`.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_preference(
    channel: hsw_channel,
    preference: *mut i32,
) -> hsw_status {
    entry(|| {
        let preference = out(preference, "preference")?;
        let named = match get(channel)?.0.preference() {
            Preference::Receiver => hsw_preference::HSW_PREFER_RECEIVER,
            Preference::Neither => hsw_preference::HSW_PREFER_NEITHER,
            Preference::Sender => hsw_preference::HSW_PREFER_SENDER,
        };
        preference.set(named as i32);
        Ok(())
    })
}

/// Sets the preference. Only the sign of the number counts.
#[no_mangle]
pub extern "C" fn hsw_channel_set_preference(channel: hsw_channel, preference: i32) -> hsw_status {
    entry(|| {
        get(channel)?
            .0
            .set_preference(Preference::from_sign(preference));
        Ok(())
    })
}

/// Whether every rendezvous also lets all others run.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_schedule_all(
    channel: hsw_channel,
    on: *mut bool,
) -> hsw_status {
    entry(|| {
        let on = out(on, "on")?;
        on.set(get(channel)?.0.schedule_all());
        Ok(())
    })
}

/// Sets whether every rendezvous also lets all others run.
#[no_mangle]
pub extern "C" fn hsw_channel_set_schedule_all(channel: hsw_channel, on: bool) -> hsw_status {
    entry(|| {
        get(channel)?.0.set_schedule_all(on);
        Ok(())
    })
}

/// Closes the channel: operations that would block fail with `HSW_ERR_CLOSED`. Tasklets that wait are still served; none is
/// woken.
#[no_mangle]
pub extern "C" fn hsw_channel_close(channel: hsw_channel) -> hsw_status {
    entry(|| {
        get(channel)?.0.close();
        Ok(())
    })
}

/// Opens a closed channel again.
#[no_mangle]
pub extern "C" fn hsw_channel_open(channel: hsw_channel) -> hsw_status {
    entry(|| {
        get(channel)?.0.open();
        Ok(())
    })
}

/// Whether `hsw_channel_close` was called.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_is_closing(
    channel: hsw_channel,
    closing: *mut bool,
) -> hsw_status {
    entry(|| {
        let closing = out(closing, "closing")?;
        closing.set(get(channel)?.0.is_closing());
        Ok(())
    })
}

/// Whether it is closing and nobody waits on it any more.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_is_closed(
    channel: hsw_channel,
    closed: *mut bool,
) -> hsw_status {
    entry(|| {
        let closed = out(closed, "closed")?;
        closed.set(get(channel)?.0.is_closed());
        Ok(())
    })
}

/// How many tasklets wait: senders count up, receivers down.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_balance(
    channel: hsw_channel,
    balance: *mut isize,
) -> hsw_status {
    entry(|| {
        let balance = out(balance, "balance")?;
        balance.set(get(channel)?.0.balance());
        Ok(())
    })
}

/// The first tasklet that waits on the channel; the handle of nothing when none does. The caller owns the handle.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_queue(
    channel: hsw_channel,
    first: *mut hsw_tasklet,
) -> hsw_status {
    entry(|| {
        let first = out(first, "first")?;
        first.set(hand_out_or_none(get(channel)?.0.queue())?);
        Ok(())
    })
}

/// Keeps a pointer of the host's with the channel, for all of its handles. What was there is freed with the function that came
/// with it; so is this one, with `destroy` (may be null), when the channel goes, or when this call fails.
#[no_mangle]
pub extern "C" fn hsw_channel_set_user_data(
    channel: hsw_channel,
    data: *mut c_void,
    destroy: hsw_destroy,
) -> hsw_status {
    entry(|| {
        let data = Rc::new(Owned::new(data, destroy));
        drop(get(channel)?.0.set_user_data(Some(data)));
        Ok(())
    })
}

/// The pointer that was set; null when there is none. It stays the channel's.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_user_data(
    channel: hsw_channel,
    data: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let data = out(data, "data")?;
        let kept = get(channel)?.0.user_data_as::<Owned>();
        data.set(kept.map_or(core::ptr::null_mut(), |owned| owned.peek().0));
        Ok(())
    })
}

/// A number that is the channel's alone while it lives: equal ids are the same channel. Never 0.
#[no_mangle]
pub unsafe extern "C" fn hsw_channel_id(channel: hsw_channel, id: *mut usize) -> hsw_status {
    entry(|| {
        let id = out(id, "id")?;
        id.set(get(channel)?.0.id());
        Ok(())
    })
}
