//! Sending and receiving: the part that is done on the caller's stack, and the part below it when a
//! switch follows.

use core::ptr;

use super::core::{Core, CLAIMS, RECEIVE, SCHEDULE_ALL, SEND};
use super::{stand_in, wait};
use crate::core::bugs;
use crate::core::contain::{drop_used, returned};
use crate::core::hooks::{after, HOOK_CHANNEL, HOOK_LOCKED, HOOK_THROWN};
use crate::core::idle;
use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::scheduler::{
    block as block_here, call_locked, fail, go, may_switch, prepare, refused,
};
use crate::core::task::{flag, Task};
use crate::core::thrown;
use crate::core::transfer::{
    arrive, arrive_unit, arrive_with, enter_late, enter_unwatched, go_away, next_fits,
    next_is_away, plan_away, swap, way_is_clear,
};
use crate::core::value::{Slot, TaskSlot};
use crate::error::{Error, Result, StateError, WaitError};

impl Core {
    /// Calls the channel callback for an operation that is about to [serve](Core::serve). The
    /// callback sees `slot` as that of the running tasklet; returns what is in it then.
    pub fn show(&self, mut slot: Slot) -> (Result<()>, Slot) {
        let runtime = self.runtime();
        if runtime.hooks() & HOOK_CHANNEL == 0 {
            return (Ok(()), slot);
        }
        let me = runtime.current();
        // SAFETY: the running tasklet is live, and nothing switches in the callback.
        unsafe {
            slot = (*me).slot.put(slot);
            let told = call_channel_callback::<SEND>(self, runtime, me);
            slot = (*me).slot.put(slot);
            (told, slot)
        }
    }

    /// Calls the channel callback for a select that is about to block.
    pub fn announce(&self, runtime: &Runtime, me: *mut Task, dir: i8) -> Result<()> {
        if runtime.hooks() & HOOK_CHANNEL == 0 {
            return Ok(());
        }
        if dir == SEND {
            call_channel_callback::<SEND>(self, runtime, me)
        } else {
            call_channel_callback::<RECEIVE>(self, runtime, me)
        }
    }

    /// An operation whose partner has been [secured](Core::secure): `slot` is what to send (or
    /// empty, to receive); returns what was received (or nothing). It does not wait.
    pub fn meet_partner(&self, slot: Slot, dir: i8) -> Result<Slot, Missed<WaitError, Slot>> {
        let runtime = self.runtime();
        let me = runtime.current();
        // SAFETY: `me` is running and its slot is empty when it is written.
        unsafe {
            if !(*me).slot.is_empty() {
                return aside(runtime, me, || self.meet_partner(slot, dir));
            }
            (*me).slot.fill(slot);
            let met = if dir == SEND {
                self.action_if::<SEND>(runtime, me, || self.secure(SEND))
            } else {
                self.action_if::<RECEIVE>(runtime, me, || self.secure(RECEIVE))
            };
            if met {
                return Ok(arrive(runtime, me)?);
            }
            let left = (*me).slot.take();
            if dir == SEND {
                return Err(Missed::Gone(left));
            }
            // The callback has put something there.
            drop_used(left);
            Err(Missed::Gone(Slot::EMPTY))
        }
    }

    /// As [`meet_partner`](Core::meet_partner).
    #[inline(always)]
    pub fn meet_receiver<T: 'static>(&self, value: T) -> Result<(), Missed<WaitError, Slot>> {
        let runtime = self.runtime();
        let me = runtime.current();
        // SAFETY: `me` is running and its slot is empty when it is written.
        unsafe {
            if !(*me).slot.is_empty() {
                return aside(runtime, me, || self.meet_receiver(value));
            }
            Slot::put(TaskSlot::raw(&raw mut (*me).slot), value);
            if !self.action_if::<SEND>(runtime, me, || self.secure(SEND)) {
                return Err(Missed::Gone((*me).slot.take()));
            }
            arrive_unit(runtime, me)
        }
    }

    /// As [`receive`](Core::receive), if `still` holds when the channel callback has been called.
    #[inline(always)]
    pub fn receive_if<T: 'static, E: From<WaitError>>(
        &self,
        still: impl Fn() -> bool,
    ) -> Result<T, Missed<E, ()>> {
        let runtime = self.runtime();
        let me = runtime.current();
        // SAFETY: `me` is running and its slot is empty when it is written.
        unsafe {
            if !(*me).slot.is_empty() {
                return aside(runtime, me, || self.receive_if(still));
            }
            if !self.action_if::<RECEIVE>(runtime, me, still) {
                // The callback may have put something there.
                drop_used((*me).slot.take());
                return Err(Missed::Gone(()));
            }
            arrive_with(runtime, me)
        }
    }

    /// Does the operation for which the caller's slot has been filled. The result
    /// is in the slot: one of the `arrive` functions follows.
    #[inline(always)]
    unsafe fn action<const DIR: i8>(&self, runtime: &Runtime, me: *mut Task) {
        // SAFETY: `action_if` asks of its caller what this does.
        unsafe { self.action_if::<DIR>(runtime, me, || true) };
    }

    /// As [`action`](Core::action). False when the channel callback has been called and `still`
    /// does not hold any more: the callback may kill the partner that was found, or bring what the
    /// caller was about to wait for. Nothing has been done then, and the slot is as the callback
    /// has left it.
    #[inline(always)]
    unsafe fn action_if<const DIR: i8>(
        &self,
        runtime: &Runtime,
        me: *mut Task,
        still: impl Fn() -> bool,
    ) -> bool {
        // SAFETY: `me` is running; the ops get the channel that they expect, which outlives the
        // call. They neither read nor write the save area, and what they call that could unwind
        // runs only if something watches switches (Saved late); where the next one is away nothing
        // does.
        unsafe {
            if runtime.hooks() & (HOOK_CHANNEL | HOOK_LOCKED | HOOK_THROWN) != 0 {
                if !admitted::<DIR>(self, runtime, me) {
                    return true;
                }
                if !still() {
                    return false;
                }
            }
            let next = on_callers_stack::<DIR>(self, runtime, me);
            let core = self as *const Core as *mut ();
            if next.addr() > AWAY.addr() {
                swap(runtime, me, next);
            } else if next == DECIDE {
                enter_late(runtime, op::<DIR>, core);
            } else if next == AWAY {
                enter_unwatched(op_away::<DIR>, core);
            }
        }
        true
    }

    #[inline(always)]
    pub fn send<T: 'static, E: From<WaitError>>(&self, value: T) -> Result<(), E> {
        let runtime = self.runtime();
        let me = runtime.current();
        // SAFETY: `me` is running and its slot is empty when it is written.
        unsafe {
            if !(*me).slot.is_empty() {
                return aside(runtime, me, || self.send(value));
            }
            Slot::put(TaskSlot::raw(&raw mut (*me).slot), value);
            self.action::<SEND>(runtime, me);
            arrive_unit(runtime, me)
        }
    }

    pub fn send_bomb<E: From<WaitError>>(&self, error: Error) -> Result<(), E> {
        let runtime = self.runtime();
        let me = runtime.current();
        // SAFETY: `me` is running and its slot is empty when it is written.
        unsafe {
            if !(*me).slot.is_empty() {
                return aside(runtime, me, || self.send_bomb(error));
            }
            (*me).slot.fill(Slot::bomb(error));
            self.action::<SEND>(runtime, me);
            arrive_unit(runtime, me)
        }
    }

    #[inline(always)]
    pub fn receive<T: 'static, E: From<WaitError>>(&self) -> Result<T, E> {
        let runtime = self.runtime();
        let me = runtime.current();
        // SAFETY: `me` is running and its slot is empty when it is written.
        unsafe {
            if !(*me).slot.is_empty() {
                return aside(runtime, me, || self.receive());
            }
            self.action::<RECEIVE>(runtime, me);
            arrive_with(runtime, me)
        }
    }
}

impl Core {
    /// Blocks the running tasklet, as a sender or as a receiver, until it is woken.
    /// A value that comes with that is dropped.
    #[inline(always)]
    pub fn park<const DIR: i8>(&self) -> Result<(), WaitError> {
        let runtime = self.runtime();
        let me = runtime.current();
        // SAFETY: `me` is running and its slot is empty when it is written.
        unsafe {
            if !(*me).slot.is_empty() {
                return aside(runtime, me, || self.park::<DIR>());
            }
            if DIR == SEND {
                Slot::put(TaskSlot::raw(&raw mut (*me).slot), ());
            }
            self.action::<DIR>(runtime, me);
            arrive(runtime, me).map(drop)
        }
    }
}

/// Why an operation has not been done that depends on what was found before it.
pub enum Missed<E, V> {
    /// As other operations fail.
    Ended(E),
    /// The channel callback has changed what was found. The value that was not sent comes back.
    Gone(V),
}

impl<E: From<WaitError>, V> From<WaitError> for Missed<E, V> {
    fn from(ended: WaitError) -> Missed<E, V> {
        Missed::Ended(ended.into())
    }
}

/// An operation of a caller whose slot is not empty. A value that was put there by hand is dropped
/// when the operation succeeds and put back when it fails. An error that was thrown at the caller
/// while it was running is raised now.
#[cold]
#[inline(never)]
fn aside<T, E: From<WaitError>>(
    runtime: &Runtime,
    me: *mut Task,
    operation: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    if let Err(ended) = may_begin(runtime, me) {
        return returned(operation, Err(ended.into()));
    }
    // SAFETY: `me` is the running tasklet, before and after.
    unsafe {
        debug_assert_eq!(runtime.current(), me);
        let value = (*me).slot.take();
        let result = operation();
        // In a callback the value in the slot is on its way, and does not belong to the callback.
        let in_callback = runtime.hooks() & HOOK_LOCKED != 0;
        let keep = result.is_err() || in_callback || bugs::always_puts_back();
        if keep && (*me).slot.is_empty() {
            (*me).slot.fill(value);
        } else {
            drop_used(value);
        }
        result
    }
}

/// May the operation begin, of a caller whose slot is not empty?
fn may_begin(runtime: &Runtime, me: *mut Task) -> Result<(), WaitError> {
    if is_leaving(runtime, me) {
        return Err(WaitError::Hindered(refused(runtime)));
    }
    thrown::raise(me).map_err(WaitError::Thrown)?;
    // SAFETY: `me` is the running tasklet.
    unsafe {
        match (*me).slot.is_bomb() {
            true => (*me).slot.take().into_unit().map_err(WaitError::Thrown),
            false => Ok(()),
        }
    }
}

/// May the operation begin? Asks the channel callback, and looks for an error that was thrown at
/// the caller. An error is kept for the arrival.
#[cold]
#[inline(never)]
fn admitted<const DIR: i8>(core: &Core, runtime: &Runtime, me: *mut Task) -> bool {
    let ended = match ask_callback::<DIR>(core, runtime, me) {
        Err(error) => Err((error, 0)),
        Ok(()) => thrown::raise(me).map_err(|error| (error, after::RAISED)),
    };
    let Err((error, raised)) = ended else {
        return true;
    };
    fail(runtime, error, after::FAILED | after::UNSENT | raised);
    false
}

/// The operation is over, and the caller goes on.
const OVER: *mut Task = ptr::null_mut();
/// The op decides.
const DECIDE: *mut Task = ptr::without_provenance_mut(1);
/// The way is clear, and the next tasklet only has to be brought in: the head of the channel's
/// queue, if a partner waits, else the next one of the run queue.
const AWAY: *mut Task = ptr::without_provenance_mut(2);

/// The part of an operation that can be done on the caller's stack. Returns the next tasklet, when
/// only a [plain](crate::core::transfer::plain) switch is left to do; otherwise [`OVER`],
/// [`DECIDE`] or [`AWAY`].
///
/// Not inlined: its frame must not become part of a parked stack. It has no frame, as long as all
/// its calls are in tail position.
#[inline(never)]
unsafe fn on_callers_stack<const DIR: i8>(
    core: &Core,
    runtime: &Runtime,
    me: *mut Task,
) -> *mut Task {
    // SAFETY: the tasks of the channel and `me` are live.
    unsafe {
        if !core.partner_waits(DIR) {
            return join_queue::<DIR>(core, runtime, me);
        }
        if core.mode.get() != 0 {
            return special_mode::<DIR>(core, runtime, me);
        }
        if core.preference.get() == -DIR {
            return to_partner::<DIR>(core, runtime, me);
        }
        let partner = core.exchange_with_first::<DIR>(me);
        runtime.queue.append_of(partner, flag::BLOCKED);
        OVER
    }
}

/// [`on_callers_stack`] when a partner waits that goes on first.
#[inline(never)]
unsafe fn to_partner<const DIR: i8>(core: &Core, runtime: &Runtime, me: *mut Task) -> *mut Task {
    // SAFETY: the tasks of the channel and `me` are live.
    unsafe {
        if !way_is_clear(runtime) {
            return DECIDE;
        }
        let partner = core.head.get();
        if !next_fits(me, partner) {
            return if next_is_away(partner) { AWAY } else { DECIDE };
        }
        let partner = core.exchange_with_first::<DIR>(me);
        runtime.queue.insert_after_of(me, partner, flag::BLOCKED);
        partner
    }
}

/// [`on_callers_stack`] when no partner waits.
#[inline(never)]
unsafe fn join_queue<const DIR: i8>(core: &Core, runtime: &Runtime, me: *mut Task) -> *mut Task {
    // SAFETY: the tasks of the run queue and `me` are live.
    unsafe {
        if (*me).is(flag::BLOCK_TRAP) || core.closing.get() {
            return must_not_block(runtime, me);
        }
        let is_clear = way_is_clear(runtime);
        let next = (*me).next;
        if next == me {
            return wait_as_last::<DIR>(core, runtime, me);
        }
        if !is_clear {
            return DECIDE;
        }
        if !next_fits(me, next) {
            return if next_is_away(next) { AWAY } else { DECIDE };
        }
        runtime.queue.unlink(me);
        core.push(me, DIR);
        next
    }
}

/// [`on_callers_stack`] when a partner waits on a channel with a special mode.
#[cold]
#[inline(never)]
unsafe fn special_mode<const DIR: i8>(core: &Core, runtime: &Runtime, me: *mut Task) -> *mut Task {
    if core.mode.get() & CLAIMS == 0 || core.claim_first(DIR) {
        return DECIDE;
    }
    // Another thread has met the last of the partners.
    // SAFETY: the tasks of the channel and `me` are live.
    unsafe { on_callers_stack::<DIR>(core, runtime, me) }
}

/// [`on_callers_stack`] for a tasklet that would block and must not.
#[cold]
#[inline(never)]
unsafe fn must_not_block(runtime: &Runtime, me: *mut Task) -> *mut Task {
    // SAFETY: `me` is the running tasklet.
    let error = match unsafe { (*me).is(flag::BLOCK_TRAP) } {
        true => Error::BlockTrap,
        false => Error::Closed,
    };
    fail(runtime, error, after::FAILED | after::UNSENT);
    OVER
}

/// [`on_callers_stack`] for a tasklet that would block and is alone in the run queue. If no other
/// one could be woken it waits here, in the channel's queue, for as long as it is
/// [the last one](idle): a partner may come meanwhile.
#[inline(never)]
unsafe fn wait_as_last<const DIR: i8>(core: &Core, runtime: &Runtime, me: *mut Task) -> *mut Task {
    if !idle::is_last(runtime) || !may_switch(runtime) {
        return DECIDE;
    }
    // SAFETY: `me` is running, and its frames hold the channel.
    unsafe {
        let (slot, outcome) = wait::until_met(core, DIR, (*me).slot.take());
        // A value that was put there by hand, and one that was not sent, is dropped on arrival.
        runtime.lose((*me).slot.take());
        match outcome {
            Ok(over) => {
                (*me).slot.fill(slot);
                if over {
                    OVER
                } else {
                    DECIDE
                }
            }
            Err(ended) => {
                runtime.lose(slot);
                match ended {
                    WaitError::Hindered(error) => fail(runtime, error, after::FAILED),
                    WaitError::Thrown(error) => {
                        fail(runtime, error, after::FAILED | after::RAISED);
                    }
                }
                OVER
            }
        }
    }
}

/// Exchanges or blocks, and switches.
unsafe extern "C" fn op<const DIR: i8>(core: *mut (), sp: usize) -> usize {
    // SAFETY: `core` is the argument that `action` passes; all tasks are live;
    // no user code runs between `prepare` and `go`.
    unsafe {
        let core = &*(core as *const Core);
        let runtime = core.runtime();
        let me = runtime.current();
        if core.partner_waits(DIR) {
            if core.mode.get() != 0 {
                return op_special::<DIR>(core, runtime, me, sp);
            }
            let partner = core.head.get();
            if let Err(error) = prepare(runtime, me, sp, partner) {
                fail(runtime, error, after::FAILED | after::UNSENT);
                return sp;
            }
            core.take(partner);
            Slot::swap(
                TaskSlot::raw(&raw mut (*me).slot),
                TaskSlot::raw(&raw mut (*partner).slot),
            );
            runtime.queue.insert_after(me, partner);
            return go(runtime, me, sp, partner);
        }
        let failed = after::FAILED | after::UNSENT;
        block_here(runtime, me, sp, failed, || core.push(me, DIR))
    }
}

/// [`op`] when the next tasklet is [`AWAY`].
unsafe extern "C" fn op_away<const DIR: i8>(core: *mut (), sp: usize) -> usize {
    // SAFETY: `core` is the argument that `action` passes; all tasks are live; the way is clear,
    // and no user code runs here.
    unsafe {
        let channel = &*(core as *const Core);
        let runtime = channel.runtime();
        let me = runtime.current();
        let meets = channel.partner_waits(DIR);
        let next = if meets {
            channel.head.get()
        } else {
            (*me).next
        };
        let Some(away) = plan_away(me, sp, next) else {
            return op::<DIR>(core, sp);
        };
        if meets {
            channel.exchange_with_first::<DIR>(me);
            runtime.queue.insert_after_of(me, next, flag::BLOCKED);
        } else {
            runtime.queue.unlink(me);
            channel.push(me, DIR);
        }
        go_away(runtime, away, sp, next)
    }
}

/// [`op`] when a partner waits on a channel with a special mode.
#[cold]
#[inline(never)]
unsafe fn op_special<const DIR: i8>(
    core: &Core,
    runtime: &Runtime,
    me: *mut Task,
    sp: usize,
) -> usize {
    // SAFETY: all tasks are live, `me` is running with its registers saved at `sp`, and no user
    // code runs between `prepare` and `go`.
    unsafe {
        let head = core.head.get();
        let partner = stand_in::whose(head);
        let all = core.mode.get() & SCHEDULE_ALL != 0;
        // A partner that pumps while it waits is queued, or runs a guest that waits for something
        // else; it may even be the caller.
        let can_run = partner == head
            || stand_in::is_waiting(head)
            || (partner != me && (*partner).is(flag::QUEUED));
        let next = if all && (*me).next != me {
            (*me).next
        } else if can_run && (all || core.preference.get() == -DIR) {
            partner
        } else {
            me
        };
        if next != me {
            if let Err(error) = prepare(runtime, me, sp, next) {
                fail(runtime, error, after::FAILED | after::UNSENT);
                core.unsecure();
                return sp;
            }
        }
        Slot::swap(
            TaskSlot::raw(&raw mut (*me).slot),
            TaskSlot::raw(&raw mut (*head).slot),
        );
        let woken = if partner == head {
            core.take(partner);
            true
        } else {
            stand_in::meet_stand_in(head)
        };
        let at_once = !all && next == partner && partner != me;
        if !woken && at_once {
            runtime.queue.remove(partner);
        }
        if at_once {
            runtime.queue.insert_after(me, partner);
        } else if woken {
            runtime.queue.append(partner);
        }
        if next == me {
            return sp;
        }
        go(runtime, me, sp, next)
    }
}

/// Is `me` in the middle of a switch? A callback or a clock of the host then runs on the tasklet
/// that is about to leave, whose slot is in use and which may be in a queue: so it may not begin an
/// operation.
fn is_leaving(runtime: &Runtime, me: *mut Task) -> bool {
    // SAFETY: `me` is the running tasklet.
    runtime.hooks() & HOOK_LOCKED != 0 && unsafe { !(*me).is(flag::QUEUED) }
}

#[cold]
#[inline(never)]
fn ask_callback<const DIR: i8>(core: &Core, runtime: &Runtime, me: *mut Task) -> Result<()> {
    if is_leaving(runtime, me) {
        return Err(refused(runtime));
    }
    if runtime.hooks() & HOOK_CHANNEL == 0 {
        return Ok(());
    }
    call_channel_callback::<DIR>(core, runtime, me)
}

#[cold]
#[inline(never)]
fn call_channel_callback<const DIR: i8>(
    core: &Core,
    runtime: &Runtime,
    me: *mut Task,
) -> Result<()> {
    if core.private.get() {
        return Ok(());
    }
    core.settle();
    let (id, will_block) = (core as *const Core as usize, !core.partner_waits(DIR));
    // SAFETY: the running tasklet is live.
    unsafe { call_back(runtime, me, id, DIR == SEND, will_block) }
}

/// Calls the channel callback; the value to send is in the slot of `me`. Errors: it
/// is being called.
///
/// # Safety
/// `me` is the running tasklet.
pub unsafe fn call_back(
    runtime: &Runtime,
    me: *mut Task,
    id: usize,
    sends: bool,
    will_block: bool,
) -> Result<()> {
    if runtime.in_channel_callback.get() {
        return Err(StateError::RecursiveChannel.into());
    }
    let Some(callback) = runtime.on_channel.borrow().clone() else {
        return Ok(());
    };
    runtime.in_channel_callback.set(true);
    // SAFETY: `me` is the running tasklet, so it is live.
    let tasklet = unsafe { Tasklet::from_ref(me) };
    // The value is on its way: nothing may switch meanwhile.
    call_locked(runtime, "channel", || {
        let callback = callback;
        callback(id, &tasklet, sends, will_block);
    });
    runtime.in_channel_callback.set(false);
    Ok(())
}
