//! Waiting for several channels, with a time limit.

use core::ffi::c_void;
use core::time::Duration;

use alloc::format;
use alloc::vec::Vec;

use super::channel::{hsw_channel, hsw_thread_channel};
use super::failure::Failure;
use super::join::hsw_join;
use super::object::get;
use super::queue::hsw_queue;
use super::value::Sent;
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, out, time_limit};
use crate::channel::case::{Case, Receivable, Sendable};
use crate::channel::{RECEIVE, SEND};
use crate::core::transfer::opened;
use crate::core::value::Slot;
use crate::error::WaitError;
use crate::Select;

/// What a case of `hsw_select` does.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum hsw_direction {
    /// Receives.
    HSW_RECEIVE = -1,
    /// Sends.
    HSW_SEND = 1,
}

/// One of the operations of `hsw_select`. Exactly one of `channel`, `queue`, `join` and
/// `thread_channel` is set; the others are null handles.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_case {
    /// A channel.
    pub channel: hsw_channel,
    /// A queue. It can be sent to when it has room, and received from when it has a value.
    pub queue: hsw_queue,
    /// One of `hsw_direction`.
    pub direction: i32,
    /// The value to send; or where the received value is written.
    pub value: *mut c_void,
    /// A tasklet's result, which can only be received, as with `hsw_join_wait`.
    pub join: hsw_join,
    /// A channel between threads: a partner on another thread is made runnable there, and nobody
    /// switches because of it. The library needs an operating system for that.
    pub thread_channel: hsw_thread_channel,
}

/// Does one of the operations that can be done. Waits until there is one, for at most `timeout_ns`
/// nanoseconds (`HSW_ERR_TIMEOUT`; 0 does not wait; `HSW_NO_LIMIT` is no limit). If several can be
/// done, the choice is fair; with `in_order`, it is the first one of the array.
///
/// `chosen` gets the index of the case that was done: its value was sent, or received into its
/// `value`. If a case found its channel closed (`HSW_ERR_CLOSED`) or was sent an exception
/// (`HSW_ERR_THROWN`), the call fails and `chosen` is the index of that case; `chosen` is
/// `SIZE_MAX` when the failure belongs to no case.
///
/// After a failure the values to send are still the caller's, except for one at most, whose `value`
/// is null then. Either the channel's `destroy` frees it, because `hsw_channel_close_and_wake`
/// ended the wait or the switch to a receiver failed; that may be later, if the `destroy` of
/// another value of that channel switches. (With a channel between threads and
/// `hsw_thread_channel_close_and_wake` the value is still the caller's.) Or a receiver has it, and
/// the caller was killed or thrown at (`HSW_ERR_EXIT`, `HSW_ERR_THROWN`, `HSW_ERR_PANICKED`) before
/// its turn came.
///
/// While it waits the tasklet is in the queue of each channel and counts in its balance. `cases`
/// must not lie on a sliced stack other than the caller's own. A select cannot both send and
/// receive on the same channel.
#[no_mangle]
pub unsafe extern "C" fn hsw_select(
    cases: *mut hsw_case,
    count: usize,
    timeout_ns: u64,
    in_order: bool,
    chosen: *mut usize,
) -> hsw_status {
    entry(|| {
        let chosen = out(chosen, "chosen")?;
        if cases.is_null() && count != 0 {
            return Err(Failure::Null("cases"));
        }
        let mut select = Select::new();
        let mut carried = Vec::with_capacity(count);
        for i in 0..count {
            // SAFETY: `i` is less than `count`, and `cases` has `count` elements (contract of the
            // interface).
            let case = unsafe { cases.add(i).read() };
            carried.push(add(&mut select, i, &case)?);
        }
        if in_order {
            select = select.in_order();
        }
        let (chosen_case, outcome) = run(&mut select, &carried, time_limit(timeout_ns)?);
        for (i, case) in select.cases().iter_mut().enumerate() {
            let unsent = carried[i].take(case).map(|owned| owned.take().0);
            if case.direction() == SEND && Some(i) != chosen_case.filter(|_| outcome.is_ok()) {
                // SAFETY: `i` is the index of a case, so less than `count`, and `cases` is writable
                // (contract of the interface).
                unsafe { (*cases.add(i)).value = unsent.unwrap_or(core::ptr::null_mut()) };
            }
        }
        chosen.set(chosen_case.unwrap_or(usize::MAX));
        let received = outcome?;
        if let (Some(i), Some(value)) = (chosen_case, received) {
            // SAFETY: `i` is the index of a case, so less than `count`, and `cases` is writable
            // (contract of the interface).
            unsafe { (*cases.add(i)).value = value };
        }
        Ok(())
    })
}

/// What is known about the values of a case.
struct Carried {
    destroy: hsw_destroy,
    /// The values go to other threads, so they are `Sent`s.
    crosses: bool,
}

impl Carried {
    fn here(destroy: hsw_destroy) -> Carried {
        Carried {
            destroy,
            crosses: false,
        }
    }

    /// The value to send, while it is there.
    fn take(&self, case: &mut Case) -> Option<Owned> {
        if self.crosses {
            return case.take::<Sent>().map(Owned::from);
        }
        case.take()
    }

    fn put(&self, case: &mut Case, value: Owned) {
        if self.crosses {
            return case.put(Sent::from(value));
        }
        case.put(value);
    }

    /// The value that was received.
    fn received(&self, slot: Slot) -> Result<Owned, WaitError> {
        if self.crosses {
            return opened::<Sent>(slot).map(Owned::from);
        }
        opened(slot)
    }
}

/// Adds a case to the select.
fn add(select: &mut Select, index: usize, case: &hsw_case) -> Result<Carried, Failure> {
    let named = [
        case.channel.handle,
        case.queue.handle,
        case.join.handle,
        case.thread_channel.handle,
    ];
    if named.iter().filter(|&&handle| handle != 0).count() > 1 {
        let what = format!("cases[{index}] is about several things: a channel, a queue, a join or a channel between threads");
        return Err(Failure::Argument(what));
    }
    let direction = direction_of(index, case)?;
    if case.join.handle != 0 {
        if direction == hsw_direction::HSW_SEND {
            let what = format!("cases[{index}].direction: a join has nothing to send to");
            return Err(Failure::Argument(what));
        }
        select.receive(&*get(case.join)?);
        return Ok(Carried::here(None));
    }
    if case.thread_channel.handle != 0 {
        return add_thread_channel(select, index, direction, case);
    }
    if case.queue.handle != 0 {
        let on = get(case.queue)?;
        add_channel(select, direction, case.value, &on.channel);
        return Ok(Carried::here(on.destroy));
    }
    let on = get(case.channel)?;
    add_channel(select, direction, case.value, &on.channel);
    Ok(Carried::here(on.destroy))
}

#[cfg(feature = "std")]
fn add_thread_channel(
    select: &mut Select,
    _index: usize,
    direction: hsw_direction,
    case: &hsw_case,
) -> Result<Carried, Failure> {
    let on = get(case.thread_channel)?;
    let on: &super::carry::Carrying<_> = core::borrow::Borrow::<alloc::sync::Arc<_>>::borrow(&on);
    match direction {
        hsw_direction::HSW_RECEIVE => {
            let _ = select.receive::<Sent>(&on.channel);
        }
        hsw_direction::HSW_SEND => {
            let _ = select.send(&on.channel, Sent::from(Owned::new(case.value, None)));
        }
    }
    Ok(Carried {
        destroy: on.destroy,
        crosses: true,
    })
}

#[cfg(not(feature = "std"))]
fn add_thread_channel(
    _select: &mut Select,
    index: usize,
    _direction: hsw_direction,
    _case: &hsw_case,
) -> Result<Carried, Failure> {
    let what = format!("cases[{index}].thread_channel: there are no threads here");
    Err(Failure::Argument(what))
}

fn direction_of(index: usize, case: &hsw_case) -> Result<hsw_direction, Failure> {
    match case.direction {
        d if d == hsw_direction::HSW_RECEIVE as i32 => Ok(hsw_direction::HSW_RECEIVE),
        d if d == hsw_direction::HSW_SEND as i32 => Ok(hsw_direction::HSW_SEND),
        other => Err(Failure::Argument(format!(
            "cases[{index}].direction: there is none called {other}"
        ))),
    }
}

fn add_channel<C>(select: &mut Select, direction: hsw_direction, value: *mut c_void, on: &C)
where
    C: Receivable<Owned> + Sendable<Owned>,
{
    match direction {
        hsw_direction::HSW_RECEIVE => drop(select.receive::<Owned>(on)),
        // The value is not freed from here on until all cases are known to be good.
        hsw_direction::HSW_SEND => drop(select.send(on, Owned::new(value, None))),
    }
}

/// The case that was done, and the received value if it was a receive.
type Outcome = (Option<usize>, Result<Option<*mut c_void>, WaitError>);

#[inline(never)] // keeps the frames of blocking calls small
fn run(select: &mut Select, carried: &[Carried], time: Option<Duration>) -> Outcome {
    for (case, carried) in select.cases().iter_mut().zip(carried) {
        if case.direction() == SEND {
            if let Some(owned) = carried.take(case) {
                carried.put(case, Owned::new(owned.take().0, carried.destroy));
            }
        }
    }
    match select.choose(time) {
        Err(error) => (None, Err(error)),
        Ok((i, Err(error))) => (Some(i), Err(error)),
        Ok((i, Ok(slot))) if select.cases()[i].direction() == RECEIVE => {
            match carried[i].received(slot) {
                Ok(owned) => (Some(i), Ok(Some(owned.take().0))),
                Err(error) => (Some(i), Err(error)),
            }
        }
        Ok((i, Ok(_))) => (Some(i), Ok(None)),
    }
}
