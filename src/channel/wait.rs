//! Waiting for one of several operations, or for one with a time limit.

use core::time::Duration;

use super::case::{Case, Chosen, Patience, Target};
use super::core::{Core, RECEIVE, SEND};
use super::operate::Missed;
use super::stand_in::{self, StandIns};
use crate::core::contain::{drop_used, returned};
use crate::core::hooks::{after, HOOK_CHANNEL};
use crate::core::idle;
use crate::core::runtime::Runtime;
use crate::core::scheduler::{self, may_switch, refused};
use crate::core::task::{flag, Task};
use crate::core::thrown;
use crate::core::transfer::{arrive, enter, opened};
use crate::core::value::Slot;
use crate::error::{Error, Result, StateError, WaitError};

/// A number below `count`, each as likely as the others; the same ones in each run
/// of a program.
fn roll(runtime: &Runtime, count: usize) -> usize {
    // Marsaglia's xorshift, multiplied; the upper half is the one that is random enough.
    let mut x = runtime.dice.get();
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    runtime.dice.set(x);
    let upper = x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
    ((upper * count as u64) >> 32) as usize
}

/// One of `count` cases that is `good`: the first (`ordered`), or any with equal chances.
pub fn pick(count: usize, ordered: bool, mut good: impl FnMut(usize) -> bool) -> Option<usize> {
    if ordered {
        return (0..count).find(|&i| good(i));
    }
    loop {
        let which = match (0..count).filter(|&i| good(i)).count() {
            0 => return None,
            1 => 0,
            found => roll(Runtime::get(), found),
        };
        if let Some(i) = (0..count).filter(|&i| good(i)).nth(which) {
            return Some(i);
        }
        // Another thread has met one of them in between.
    }
}

/// An error if a channel has no thread any more, or is to be sent to and received from.
pub fn check_cases(cases: &[Case]) -> Result<(), WaitError> {
    for (i, case) in cases.iter().enumerate() {
        if case.near().is_some_and(Core::has_no_thread) {
            return Err(WaitError::own(StateError::NoThread));
        }
        let other = |c: &Case| c.place() == case.place() && c.direction != case.direction;
        if cases[..i].iter().any(other) {
            return Err(WaitError::own(StateError::SelectBothWays));
        }
    }
    Ok(())
}

/// Does one of `cases`: if several can be done, the first (`ordered`) or any. When
/// it fails, the values that were not sent are in the cases again.
///
/// It looks at the cases again after each call of foreign code, and waits only after a look that
/// nothing followed: a callback or a clock may have put a value into a queue.
pub fn perform(cases: &mut [Case], ordered: bool, patience: Patience) -> Result<Chosen, WaitError> {
    check_cases(cases)?;
    let runtime = Runtime::get();
    let me = runtime.current();
    thrown::raise(me).map_err(WaitError::Thrown)?;
    let mut told = matches!(patience, Patience::None);
    // Without a limit no clock is asked, so no look follows.
    let mut until = match patience {
        Patience::Endless if !cases.is_empty() => Some(None),
        _ => None,
    };
    let deadline = loop {
        while let Some(ready) = pick(cases.len(), ordered, |i| cases[i].is_ready()) {
            if !cases[ready].secure() {
                continue;
            }
            if let Some(outcome) = do_secured(&mut cases[ready])? {
                return Ok((ready, outcome));
            }
        }
        if !told {
            told = true;
            if announce(runtime, me, cases)? {
                continue;
            }
        }
        if let Some(closed) = pick(cases.len(), ordered, |i| cases[i].core().closing()) {
            return Ok((closed, Err(WaitError::own(Error::Closed))));
        }
        match until {
            Some(until) => break until,
            None => until = Some(deadline(runtime, patience, cases)?),
        }
    };
    let kept = may_wait(me)?;
    let mut stand_ins = StandIns::new(runtime, me, cases);
    let done = wait_for_case(runtime, me, &mut stand_ins, cases, deadline);
    let outcome = stand_ins.close(cases);
    let result = conclude(done, outcome, stand_ins.expired());
    put_back(me, kept, result.is_err());
    result
}

/// Calls the channel callback for each of the cases. False if there is none.
fn announce(runtime: &Runtime, me: *mut Task, cases: &[Case]) -> Result<bool, WaitError> {
    if runtime.hooks() & HOOK_CHANNEL == 0 {
        return Ok(false);
    }
    for case in cases {
        let told = case.core().announce(runtime, me, case.direction);
        told.map_err(WaitError::Hindered)?;
    }
    Ok(true)
}

/// The deadline of the wait, if it may wait.
pub fn deadline(
    runtime: &Runtime,
    patience: Patience,
    cases: &[Case],
) -> Result<Option<u64>, WaitError> {
    let until = match patience {
        Patience::None => Err(Error::WouldBlock),
        Patience::For(Duration::ZERO) => Err(Error::Timeout),
        Patience::For(time) => runtime.deadlines.after(time),
        Patience::Endless if cases.is_empty() => Err(StateError::SelectNothing.into()),
        Patience::Endless => Ok(None),
    };
    until.map_err(WaitError::Hindered)
}

/// May the running tasklet wait? Takes a value that was put into its slot by hand.
pub fn may_wait(me: *mut Task) -> Result<Slot, WaitError> {
    // SAFETY: `me` is the running tasklet.
    unsafe {
        if (*me).is(flag::BLOCK_TRAP) {
            return Err(WaitError::own(Error::BlockTrap));
        }
        thrown::raise(me).map_err(WaitError::Thrown)?;
        Ok((*me).slot.take())
    }
}

/// As with the other channel operations: a value that was put into the slot by hand
/// comes back when the operation fails.
pub fn put_back(me: *mut Task, kept: Slot, failed: bool) {
    // SAFETY: `me` is the running tasklet.
    unsafe {
        if failed && (*me).slot.is_empty() {
            (*me).slot.fill(kept);
        } else {
            drop_used(kept);
        }
    }
}

/// Waits until the select is over.
pub fn wait_for_case(
    runtime: &Runtime,
    me: *mut Task,
    stand_ins: &mut StandIns<'_>,
    cases: &[Case],
    deadline: Option<u64>,
) -> Result<(), WaitError> {
    let pumped = match deadline {
        Some(deadline) if idle::must_pump(runtime, me) => {
            pump_until_over(runtime, stand_ins, cases, deadline)
        }
        _ => Ok(false),
    };
    pumped.and_then(|over| match over {
        true => Ok(()),
        false => block_on_cases(runtime, me, stand_ins, cases, deadline),
    })
}

/// The result of a wait, from how it ended and from the case that was met.
pub fn conclude(
    done: Result<(), WaitError>,
    outcome: Option<(usize, Slot)>,
    expired: bool,
) -> Result<Chosen, WaitError> {
    let done = match done {
        Err(WaitError::Thrown(error)) if outcome.is_some() => thrown::put_off(error),
        done => done,
    };
    match (done, outcome) {
        (Err(thrown @ WaitError::Thrown(_)), came) => returned(came, Err(thrown)),
        // The partner came, perhaps after the wait had failed: the partner has been told that its
        // operation is done.
        (_, Some((case, slot))) if slot.is_bomb() => {
            Ok((case, slot.into_unit().map(|()| Slot::EMPTY)))
        }
        (_, Some((case, slot))) => Ok((case, Ok(slot))),
        (Err(hindered), None) => Err(hindered),
        (Ok(()), None) if expired => Err(WaitError::own(Error::Timeout)),
        // Something else has woken it, for example its channel was dropped.
        (Ok(()), None) => Err(WaitError::own(Error::ValueLost)),
    }
}

/// Does `case`, which is ready and [secured](Case::secure). `None`: it is not ready any more, since
/// the channel callback has taken the partner away.
pub fn do_secured(case: &mut Case) -> Result<Option<Result<Slot, WaitError>>, WaitError> {
    if let Some(queue) = case.ready_queue().cloned() {
        let passed = queue.pass(&mut case.slot, case.direction);
        return passed.inspect_err(|_| case.core().unsecure()).map(Some);
    }
    let slot = case.slot.take();
    let head = case.core().head();
    // SAFETY: a partner has been secured, so the queue has a first member, which is live.
    let bomb = case.direction == RECEIVE && unsafe { (*head).slot.is_bomb() };
    match case.core().meet_partner(slot, case.direction) {
        Ok(slot) => Ok(Some(Ok(slot))),
        Err(Missed::Gone(slot)) => {
            case.slot = slot;
            Ok(None)
        }
        Err(Missed::Ended(error)) if bomb && case.core().head() != head => Ok(Some(Err(error))),
        Err(Missed::Ended(error)) => {
            case.core().unsecure();
            Err(error)
        }
    }
}

/// Arguments of `op_select`. They lie on the caller's stack, and only this op reads them.
struct Args<'a> {
    stand_ins: &'a StandIns<'a>,
    cases: &'a [Case],
}

unsafe extern "C" fn op_select(args: *mut (), sp: usize) -> usize {
    // SAFETY: `block_on_cases` passes its arguments; no user code runs between `prepare`
    // and `go`.
    unsafe {
        let args = &*args.cast::<Args<'_>>();
        let runtime = args.stand_ins.runtime;
        let me = runtime.current();
        scheduler::block(runtime, me, sp, after::FAILED, || {
            (*me).set(flag::SELECTING);
            (*me).next = args.stand_ins.first();
            args.stand_ins.enter(args.cases);
        })
    }
}

/// Blocks until a case is done, the time is up, or something is thrown.
fn block_on_cases(
    runtime: &Runtime,
    me: *mut Task,
    stand_ins: &mut StandIns<'_>,
    cases: &[Case],
    deadline: Option<u64>,
) -> Result<(), WaitError> {
    if let Some(deadline) = deadline {
        stand_ins.limit(deadline);
    }
    if idle::is_last(runtime) && may_switch(runtime) {
        stand_ins.enter(cases);
        idle::until_company(runtime, || stand_ins.is_over())?;
        if stand_ins.is_over() {
            return Ok(());
        }
        // SAFETY: the stand-ins are ours. No other tasklet runs until they are in the queues again.
        unsafe { stand_in::leave_channels(stand_ins.first()) };
    }
    let mut args = Args { stand_ins, cases };
    // SAFETY: `op_select` gets the arguments that it expects, and reads them at once; `me` is
    // running.
    unsafe {
        enter(op_select, (&raw mut args).cast());
        // Before any destructor runs: the timeout must not end the wait of a destructor.
        stand_ins.leave();
        arrive(runtime, me).map(drop)
    }
}

/// Waits in the run queue: pumps and lets the others run. True when a case is done,
/// the time is up, or something is thrown. False when there is another tasklet to pump:
/// the caller must block, and has left the channels.
fn pump_until_over(
    runtime: &Runtime,
    stand_ins: &mut StandIns<'_>,
    cases: &[Case],
    deadline: u64,
) -> Result<bool, WaitError> {
    if !may_switch(runtime) {
        return Err(WaitError::Hindered(refused(runtime)));
    }
    let me = runtime.current();
    stand_ins.enter(cases);
    // The pump ends this wait like others, so an event that came before the time was up counts.
    stand_ins.limit(deadline);
    loop {
        if stand_ins.is_over() {
            return Ok(true);
        }
        thrown::raise(me).map_err(WaitError::Thrown)?;
        let hope =
            (runtime.above.pump)(runtime, &|| stand_ins.is_over()).map_err(WaitError::Hindered)?;
        if stand_ins.is_over() {
            continue;
        }
        if runtime.queue.len() > 1 {
            let interrupted = let_run(runtime, stand_ins.first())?;
            if interrupted {
                return Ok(true);
            }
            // Two tasklets that pump would let each other run all the time.
            if !stand_ins.is_over() && !idle::must_pump(runtime, me) {
                stand_ins.leave();
                return Ok(false);
            }
        } else if !hope {
            return Err(WaitError::Hindered(Error::Deadlock));
        }
    }
}

/// Something is thrown at `task`, which is not the running one. If it pumps
/// and lets the others run, its wait is over now, not only when its turn
/// comes: no partner shall meet it any more.
pub fn interrupt(runtime: &Runtime, task: *mut Task) {
    let mut pumping = runtime.pumping.borrow_mut();
    // The last of the tasklet's entries: an earlier one waits for a later one to return.
    // SAFETY: an entry is the first stand-in of a select that is not over, so it is live.
    let at = pumping
        .iter()
        .rposition(|&first| unsafe { stand_in::whose(first) } == task);
    if let Some(at) = at {
        let first = pumping.remove(at);
        // SAFETY: the first stand-in of a select that is not over.
        unsafe {
            stand_in::close_claim(first);
            stand_in::leave_channels(first);
        }
    }
}

/// Lets the others run, for a tasklet that pumps. True when it was
/// [interrupted](interrupt), and the error was taken back before its turn came.
fn let_run(runtime: &Runtime, first: *mut Task) -> Result<bool, WaitError> {
    runtime.pumping.borrow_mut().push(first);
    let entry = PumpingEntry { runtime, first };
    let back = scheduler::give_way();
    let interrupted = !entry.remove();
    back.map(|()| interrupted)
}

/// The entry of a select in `Runtime::pumping`. It is removed when dropped, since code that runs
/// when the tasklet comes back may panic.
struct PumpingEntry<'a> {
    runtime: &'a Runtime,
    first: *mut Task,
}

impl PumpingEntry<'_> {
    /// True when the entry was still there.
    fn remove(&self) -> bool {
        let mut pumping = self.runtime.pumping.borrow_mut();
        // Not always the last one: another tasklet may have begun to pump meanwhile.
        let at = pumping.iter().rposition(|&other| other == self.first);
        at.map(|at| pumping.remove(at)).is_some()
    }
}

impl Drop for PumpingEntry<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Waits in the queue of `core`, with `slot` for a partner, for a caller that is
/// [the last one](idle). Returns the slot and how the wait ended: true when a partner has
/// come and filled the slot; false when the caller can or must block now; an error that was
/// thrown, or the reason why it cannot wait.
pub fn until_met(core: &Core, direction: i8, slot: Slot) -> (Slot, Result<bool, WaitError>) {
    let runtime = Runtime::get();
    let mut stand_ins = StandIns::new(runtime, runtime.current(), &mut []);
    let first = stand_ins.first();
    // SAFETY: the stand-in is ours and in no queue.
    unsafe {
        (*first).slot.fill(slot);
        core.push_stand_in(first, direction);
    }
    let waited = idle::until_company(runtime, || stand_ins.met().is_some());
    stand_ins.leave();
    // SAFETY: the stand-in is ours, and in no queue any more.
    let slot = unsafe { (*first).slot.take() };
    match stand_ins.met() {
        Some(_) => (slot, Ok(true)),
        None => (slot, waited.map(|_| false)),
    }
}

/// Sends what is in the slot, with a timeout.
pub fn send_within<T: 'static>(
    target: Target,
    mut slot: Slot,
    time: Duration,
) -> Result<(), (WaitError, Option<T>)> {
    one(target, SEND, &mut slot, time)
        .map(drop)
        .map_err(|error| (error, slot.value()))
}

/// Receives with a timeout.
pub fn receive_within<T: 'static>(target: Target, time: Duration) -> Result<T, WaitError> {
    let mut nothing = Slot::EMPTY;
    opened(one(target, RECEIVE, &mut nothing, time)?)
}

/// One operation with a timeout. When it fails, the value that was not sent is in `slot`.
#[cold]
#[inline(never)]
fn one(target: Target, direction: i8, slot: &mut Slot, time: Duration) -> Result<Slot, WaitError> {
    let mut cases = [Case {
        target,
        direction,
        slot: slot.take(),
    }];
    let result = perform(&mut cases, true, Patience::For(time)).and_then(|(_, outcome)| outcome);
    let [case] = cases;
    *slot = case.slot;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case that another thread meets between two looks does not hide the other cases.
    #[test]
    fn one_that_is_met_while_it_is_counted_hides_no_other() {
        for _ in 0..100 {
            let mut looks = 0;
            let picked = pick(3, false, |i| {
                looks += 1;
                i == 2 || i == 0 && looks <= 3
            });
            assert_eq!(picked, Some(2));
        }
    }
}
