//! Waiting for several channels, and for a time.

use core::ffi::c_void;
use core::time::Duration;

use alloc::format;
use alloc::vec::Vec;

use super::channel::hsw_channel;
use super::join::hsw_join;
use super::object::get;
use super::queue::hsw_queue;
use super::status::Failure;
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, out, time_limit};
use crate::channel::{RECEIVE, SEND};
use crate::select::{Receivable, Sendable};
use crate::{Error, Select};

/// What a case of `hsw_select` does.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum hsw_direction {
    /// Receives.
    HSW_RECEIVE = -1,
    /// Sends.
    HSW_SEND = 1,
}

/// One of the operations of `hsw_select`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_case {
    /// The channel; or the handle of nothing, and
    pub channel: hsw_channel,
    /// the queue, which can be sent to when it has room, and received from when it has a value; or `join`.
    pub queue: hsw_queue,
    /// One of `hsw_direction`.
    pub direction: i32,
    /// The value to send; or where the received value is written.
    pub value: *mut c_void,
    /// Or, with both of the others the handles of nothing, a tasklet's result, to be received: as `hsw_join_wait`.
    pub join: hsw_join,
}

/// Does the first of the operations that can be done; waits until there is one, for at most `timeout_ns` nanoseconds
/// (`HSW_ERR_TIMEOUT`; 0 does not wait; `HSW_NO_LIMIT` is no limit). If several can be done, the choice is fair, or, `in_order`, the
/// first of the array.
///
/// `chosen` gets which one it was: its value was sent, or received into its `value`. If it found its channel closed
/// (`HSW_ERR_CLOSED`) or was sent an exception (`HSW_ERR_THROWN`), the call fails and `chosen` says whose failure it is; it is
/// `SIZE_MAX` when the failure belongs to no case. Values to send that were not handed over are still the caller's. One exception: when
/// `hsw_channel_close_and_wake` ended the wait, or the switch to a receiver failed, the channel's `destroy` has freed the value of that
/// case, and its `value` is null.
///
/// While it waits the tasklet is in the queue of each channel and counts in its balance. `cases` must not lie on a sliced stack other
/// than the caller's own. A select cannot send and receive on the same channel.
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
        let mut destroyers = Vec::with_capacity(count);
        for i in 0..count {
            // SAFETY: `cases` has `count` elements (contract of the interface).
            let case = unsafe { cases.add(i).read() };
            destroyers.push(add(&mut select, i, &case)?);
        }
        if in_order {
            select = select.in_order();
        }
        let (chosen_case, outcome) = run(&mut select, &destroyers, time_limit(timeout_ns)?);
        for (i, case) in select.cases().iter_mut().enumerate() {
            let unsent = case.take::<Owned>().map(|owned| owned.take().0);
            if case.direction() == SEND && Some(i) != chosen_case.filter(|_| outcome.is_ok()) {
                // SAFETY: as above.
                unsafe { (*cases.add(i)).value = unsent.unwrap_or(core::ptr::null_mut()) };
            }
        }
        chosen.set(chosen_case.unwrap_or(usize::MAX));
        let received = outcome?;
        if let (Some(i), Some(value)) = (chosen_case, received) {
            // SAFETY: as above.
            unsafe { (*cases.add(i)).value = value };
        }
        Ok(())
    })
}

/// Adds a case to the select. Returns what frees its value.
fn add(select: &mut Select, index: usize, case: &hsw_case) -> Result<hsw_destroy, Failure> {
    let named = [case.channel.handle, case.queue.handle, case.join.handle];
    if named.iter().filter(|&&handle| handle != 0).count() > 1 {
        let what = format!("cases[{index}] is about several things: a channel, a queue or a join");
        return Err(Failure::Argument(what));
    }
    let direction = direction_of(index, case)?;
    if case.join.handle != 0 {
        if direction == hsw_direction::HSW_SEND {
            let what = format!("cases[{index}].direction: a join has nothing to send to");
            return Err(Failure::Argument(what));
        }
        select.receive(&*get(case.join)?);
        return Ok(None);
    }
    if case.queue.handle != 0 {
        let on = get(case.queue)?;
        add_channel(select, direction, case.value, &on.channel);
        return Ok(on.destroy);
    }
    let on = get(case.channel)?;
    add_channel(select, direction, case.value, &on.channel);
    Ok(on.destroy)
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
        // Not freed from here on until all cases are known to be good.
        hsw_direction::HSW_SEND => drop(select.send(on, Owned::new(value, None))),
    }
}

/// Which case it was, and what was received, if it was a receive.
type Outcome = (Option<usize>, Result<Option<*mut c_void>, Error>);

#[inline(never)] // keeps the frames of blocking calls small
fn run(select: &mut Select, destroyers: &[hsw_destroy], time: Option<Duration>) -> Outcome {
    for (case, destroy) in select.cases().iter_mut().zip(destroyers) {
        if case.direction() == SEND {
            if let Some(owned) = case.take::<Owned>() {
                case.put(Owned::new(owned.take().0, *destroy));
            }
        }
    }
    match select.choose(time) {
        Err(error) => (None, Err(error)),
        Ok((i, Err(error))) => (Some(i), Err(error)),
        Ok((i, Ok(slot))) if select.cases()[i].direction() == RECEIVE => {
            match crate::select::value::<Owned>(slot) {
                Ok(owned) => (Some(i), Ok(Some(owned.take().0))),
                Err(error) => (Some(i), Err(error)),
            }
        }
        Ok((i, Ok(_))) => (Some(i), Ok(None)),
    }
}
