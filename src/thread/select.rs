//! Selects that have channels between threads among their cases.
//!
//! ```text
//!   channel a, its lock:   (a receiver) ─► wait 0 ─┐
//!   channel b, its lock:   wait 1 ─────────────────┼─► joint: the claim, the spot
//!   local channel c:       stand-in 2 ─────────────┘      ▲
//!                                                         stand-ins 0, 1, 2 of tasklet T
//! ```
//!
//! **Start.** The select locks all its channels between threads, in the order of their addresses,
//! and looks at all cases. If one can be done it does that one, and nobody has known of the select.
//! If none can, it joins all queues and releases the locks. So no partner can come to one queue
//! after the select has looked there and before it has joined the others; and of two selects that
//! want each other one finds the other. A select does not spin for a partner, as the operations of
//! one channel do.
//!
//! **End.** A partner that meets one of the waits, or of the stand-ins, must have the
//! [claim](crate::channel::claim). A partner on another thread moves the value under its channel's
//! lock and sends a message to the spot. When the message is read, it meets the stand-in of the
//! case, which is in no queue, as a local partner would. So the select waits like any other. When
//! it goes on it leaves all queues; under each lock that it takes for this it learns what was
//! handed over there.
//!
//! No code of a user runs under the locks.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::any::Any;

use super::{Leave, Local, Parking, Waker};
use crate::channel::case::{self, Case, Chosen, Patience};
use crate::channel::claim::Claim;
use crate::channel::stand_in::{self, StandIns};
use crate::channel::wait::{
    check_cases, conclude, deadline, do_secured, may_wait, pick, put_back, wait_for_case,
};
use crate::channel::SEND;
use crate::core::hooks::HOOK_CHANNEL;
use crate::core::runtime::Runtime;
use crate::core::task::Task;
use crate::core::value::Slot;
use crate::error::{Error, Result, WaitError};

/// A channel between threads.
pub trait Far {
    /// A number that no other channel has.
    fn place(&self) -> usize;

    fn lock(&self) -> Box<dyn Held + '_>;

    /// Calls the thread's channel callback, with `slot` as the tasklet's slot; returns what the
    /// slot holds afterwards. A value that the callback has replaced is dropped: nothing is locked
    /// here.
    fn call_back(&self, slot: Slot, sends: bool) -> (Result<()>, Slot);
}

/// A channel between threads, as the target of a case.
pub(super) struct Between(pub(super) Rc<dyn Far>);

impl case::Far for Between {
    fn place(&self) -> usize {
        self.0.place()
    }

    fn perform(
        &self,
        cases: &mut [Case],
        ordered: bool,
        patience: Patience,
    ) -> Result<Chosen, WaitError> {
        perform(cases, ordered, patience)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The channel of a case, if it is one between threads.
fn far(case: &Case) -> Option<Rc<dyn Far>> {
    let between = case.far()?.as_any().downcast_ref::<Between>()?;
    Some(between.0.clone())
}

/// A channel between threads, locked.
pub trait Held {
    /// Is there a partner for one that sends, or receives?
    fn is_ready(&mut self, sends: bool) -> bool;

    fn is_closing(&self) -> bool;

    /// Sends the content of the slot, or receives; returns the same as with a local channel. The
    /// slot comes back if there is no partner (any more).
    fn exchange(&mut self, slot: Slot, sends: bool) -> Result<Result<Slot, WaitError>, Slot>;

    /// Releases the lock, and makes the partner that was met runnable.
    fn conclude(self: Box<Self>, local: &Local);

    /// May the caller join the queue? If true it must, or [scatter](Held::scatter).
    fn gather(&mut self, sends: bool) -> bool;

    fn scatter(&mut self);

    /// Joins the queue, with the content of the slot if it sends.
    fn join(&mut self, slot: Slot, sends: bool, case: u32, joint: &Arc<Joint>) -> Arc<dyn Joined>;
}

/// A wait in a queue.
pub trait Joined: Leave {
    /// Takes its content when it has left the queue: a value that was not sent, or that was
    /// received.
    fn take(&self) -> Slot;
}

/// The state that all waits of a select share.
pub struct Joint {
    pub claim: Claim,
    pub waker: Waker,
}

/// The waits of a select, by case.
struct Waits {
    joint: Arc<Joint>,
    waits: Vec<Option<Arc<dyn Joined>>>,
}

impl Leave for Waits {
    fn leave(&self) {
        self.joint.claim.take();
        for wait in self.waits.iter().flatten() {
            wait.leave();
        }
    }
}

/// The select's channels between threads, all locked.
struct Holds<'a> {
    held: Vec<Box<dyn Held + 'a>>,
    /// For each case, the index of its channel in `held`.
    of: Vec<Option<usize>>,
}

impl<'a> Holds<'a> {
    /// Locks each channel once, in the order of their addresses, so that two selects do not wait
    /// for each other.
    fn lock_all(channels: &'a [Option<Rc<dyn Far>>]) -> Holds<'a> {
        let far = channels.iter().enumerate().filter_map(|(i, channel)| {
            let channel = channel.as_ref()?;
            Some((channel.place(), i, channel))
        });
        let mut order: Vec<_> = far.collect();
        order.sort_unstable_by_key(|&(place, i, _)| (place, i));
        let mut holds = Holds {
            held: Vec::with_capacity(order.len()),
            of: channels.iter().map(|_| None).collect(),
        };
        let mut last = None;
        for (place, i, channel) in order {
            if last.replace(place) != Some(place) {
                holds.held.push(channel.lock());
            }
            holds.of[i] = Some(holds.held.len() - 1);
        }
        holds
    }

    /// The channel of a case; `None` if it is a local one.
    fn get(&mut self, case: usize) -> Option<&mut (dyn Held + 'a)> {
        self.of[case].map(|at| &mut *self.held[at])
    }

    /// Releases all locks but that of one case.
    fn only(mut self, case: usize) -> Option<Box<dyn Held + 'a>> {
        self.of[case].map(|at| self.held.swap_remove(at))
    }

    /// May the caller join all the queues? If true it must, or scatter.
    fn gather(&mut self, cases: &[Case]) -> bool {
        let all = cases.iter().enumerate().all(|(i, case)| {
            self.get(i)
                .is_none_or(|held| held.gather(case.direction == SEND))
        });
        if !all {
            self.scatter();
        }
        all
    }

    fn scatter(&mut self) {
        self.held.iter_mut().for_each(|held| held.scatter());
    }
}

/// The outcome of an attempt.
enum Step<'a> {
    Done(Chosen),
    /// The select waits from now on.
    Waits(Wait<'a>),
    /// A callback interrupted it, or others were faster.
    Again,
}

/// As [`perform`](crate::channel::wait::perform), for cases with channels between threads.
fn perform(cases: &mut [Case], ordered: bool, patience: Patience) -> Result<Chosen, WaitError> {
    let local = super::local().map_err(WaitError::own)?;
    check_cases(cases)?;
    super::raise().map_err(WaitError::Thrown)?;
    let channels: Vec<_> = cases.iter().map(far).collect();
    let runtime = Runtime::get();
    let mut select = Attempt {
        local: &local,
        runtime,
        me: runtime.current(),
        channels: &channels,
        ordered,
        patience,
        deadline: match patience {
            Patience::Endless if !cases.is_empty() => Some(None),
            _ => None,
        },
        told: cases.iter().map(|_| false).collect(),
    };
    loop {
        match select.step(cases)? {
            Step::Done(chosen) => return Ok(chosen),
            Step::Waits(wait) => {
                if let Some(result) = wait.finish(cases) {
                    return result;
                }
            }
            Step::Again => {}
        }
    }
}

struct Attempt<'a> {
    local: &'a Rc<Local>,
    runtime: &'a Runtime,
    me: *mut Task,
    channels: &'a [Option<Rc<dyn Far>>],
    ordered: bool,
    patience: Patience,
    /// `Some` once it is known.
    deadline: Option<Option<u64>>,
    /// Which cases the channel callback has been told of.
    told: Vec<bool>,
}

impl<'a> Attempt<'a> {
    fn step(&mut self, cases: &mut [Case]) -> Result<Step<'a>, WaitError> {
        let mut holds = Holds::lock_all(self.channels);
        loop {
            while let Some(i) = self.ready(cases, &mut holds) {
                let case = &mut cases[i];
                let Some(held) = holds.get(i) else {
                    drop(holds);
                    return self.meet_here(case, i);
                };
                if self.is_to_tell(i) {
                    drop(holds);
                    self.tell(case, i)?;
                    return Ok(Step::Again);
                }
                match held.exchange(case.slot.take(), case.direction == SEND) {
                    Ok(outcome) => {
                        if let Some(held) = holds.only(i) {
                            held.conclude(self.local);
                        }
                        return Ok(Step::Done((i, outcome)));
                    }
                    Err(back) => case.slot = back,
                }
            }
            if !matches!(self.patience, Patience::None) && self.is_any_to_tell() {
                drop(holds);
                for (i, case) in cases.iter_mut().enumerate() {
                    if self.is_to_tell(i) {
                        self.tell(case, i)?;
                    }
                }
                return Ok(Step::Again);
            }
            let closing = |i| match holds.get(i) {
                Some(held) => held.is_closing(),
                None => cases[i].core().closing(),
            };
            if let Some(closed) = pick(cases.len(), self.ordered, closing) {
                return Ok(Step::Done((closed, Err(WaitError::own(Error::Closed)))));
            }
            let Some(until) = self.deadline else {
                // The lock is released, since the clock may be the host's.
                drop(holds);
                self.deadline = Some(deadline(self.runtime, self.patience, cases)?);
                return Ok(Step::Again);
            };
            // If this fails, a partner has begun to spin for one of the cases.
            if holds.gather(cases) {
                let kept = may_wait(self.me).inspect_err(|_| holds.scatter())?;
                return Ok(Step::Waits(self.join(cases, holds, until, kept)));
            }
        }
    }

    /// A case that can be done.
    fn ready(&self, cases: &[Case], holds: &mut Holds<'_>) -> Option<usize> {
        pick(cases.len(), self.ordered, |i| match holds.get(i) {
            Some(held) => held.is_ready(cases[i].direction == SEND),
            None => cases[i].is_ready(),
        })
    }

    /// Does a case on a channel of this thread, if it still can be done.
    fn meet_here(&self, case: &mut Case, i: usize) -> Result<Step<'a>, WaitError> {
        match case.secure() {
            true => Ok(match do_secured(case)? {
                Some(outcome) => Step::Done((i, outcome)),
                None => Step::Again,
            }),
            false => Ok(Step::Again),
        }
    }

    /// Must the channel callback be told of the case before it is done? Local channels do that
    /// themselves.
    fn is_to_tell(&self, i: usize) -> bool {
        self.runtime.hooks() & HOOK_CHANNEL != 0 && !self.told[i]
    }

    fn is_any_to_tell(&self) -> bool {
        (0..self.told.len()).any(|i| self.is_to_tell(i))
    }

    /// Tells the channel callback, which runs code of a user: nothing is locked.
    fn tell(&mut self, case: &mut Case, i: usize) -> Result<(), WaitError> {
        self.told[i] = true;
        let Some(channel) = &self.channels[i] else {
            let told = case.core().announce(self.runtime, self.me, case.direction);
            return told.map_err(WaitError::Hindered);
        };
        let (told, slot) = channel.call_back(case.slot.take(), case.direction == SEND);
        case.slot = slot;
        told.map_err(WaitError::Hindered)
    }

    /// Joins all queues of channels between threads, and releases the locks.
    fn join(
        &self,
        cases: &mut [Case],
        mut holds: Holds<'_>,
        until: Option<u64>,
        kept: Slot,
    ) -> Wait<'a> {
        let parking = self.local.take_spot();
        let joint = Arc::new(Joint {
            claim: Claim::new(),
            waker: parking.waker_by_message(),
        });
        let mut stand_ins = StandIns::new(self.runtime, self.me, cases);
        // SAFETY: `joint` is handed over along with the pointer to its claim, so the claim lives as
        // long as the stand-ins use it.
        unsafe { stand_ins.share(&raw const joint.claim, joint.clone()) };
        let waits = cases.iter().enumerate().map(|(i, case)| {
            let held = holds.get(i)?;
            let slot = stand_ins.slot(i).take();
            Some(held.join(slot, case.direction == SEND, i as u32, &joint))
        });
        let waits = waits.collect();
        let waits = Arc::new(Waits { joint, waits });
        parking.stand_for(stand_ins.first(), called, waits.clone());
        drop(holds);
        Wait {
            waits,
            parking,
            stand_ins,
            me: self.me,
            until,
            kept,
            left: false,
        }
    }
}

/// A select in the queues of its channels between threads.
struct Wait<'a> {
    waits: Arc<Waits>,
    parking: Parking,
    stand_ins: StandIns<'a>,
    me: *mut Task,
    until: Option<u64>,
    kept: Slot,
    /// Whether it has left all queues.
    left: bool,
}

impl Wait<'_> {
    /// Waits. `None`: the select must begin anew.
    fn finish(mut self, cases: &mut [Case]) -> Option<Result<Chosen, WaitError>> {
        let runtime = self.stand_ins.runtime;
        let done = wait_for_case(runtime, self.me, &mut self.stand_ins, cases, self.until);
        let far = self.leave();
        let anew = done.is_ok() && self.stand_ins.met().is_none() && self.stand_ins.anew();
        let expired = self.stand_ins.expired();
        let mut outcome = self.stand_ins.close(cases);
        let kept = self.kept.take();
        if anew {
            put_back(self.me, kept, true);
            return None;
        }
        let mut refused = false;
        if let Some((i, slot)) = &mut outcome {
            // Whoever ended the wait has not taken the value: the channel was closed.
            refused = Some(*i) == far && cases[*i].direction == SEND && !slot.is_empty();
            if refused {
                cases[*i].slot = slot.take();
            }
        }
        let result = match conclude(done, outcome, expired) {
            Ok((i, _)) if refused => Ok((i, Err(WaitError::own(Error::Closed)))),
            result => result,
        };
        put_back(self.me, kept, result.is_err());
        Some(result)
    }

    /// Leaves the queues between threads, after the local ones; the content of the waits goes into
    /// the stand-ins. Returns the case for which a partner on another thread has taken the claim.
    fn leave(&mut self) -> Option<usize> {
        self.waits.leave();
        self.left = true;
        for (i, wait) in self.waits.waits.iter().enumerate() {
            if let Some(wait) = wait {
                // The slot of the stand-in is empty: its content was in the wait.
                drop(self.stand_ins.slot(i).put(wait.take()));
            }
        }
        let far = self.waits.joint.claim.case();
        if let Some(i) = far {
            self.stand_ins.set_met(i);
        }
        far
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // From here on nobody finds the stand-ins, which are about to go.
        self.parking.stand_for_nothing();
        if !self.left {
            self.waits.leave();
        }
    }
}

/// Called when another thread's partner has met the select, if that is not over: lets it meet the
/// stand-in of that case. True when its tasklet was blocked: then it is floating, and its reference
/// is the caller's.
///
/// # Safety
/// `first` is the first stand-in of a select that still waits.
unsafe fn called(first: *mut Task) -> bool {
    // SAFETY: `first` is the first stand-in of a select, as the caller has promised, and the claim
    // has the number of one of its cases, so `first.add(case)` is the stand-in of that case.
    unsafe {
        let case = stand_in::claim_of(first).and_then(Claim::case);
        case.is_some_and(|case| stand_in::meet_case(first, case))
    }
}
