//! `select`: waiting for several channels at once, and for a time.
//!
//! A tasklet can be in one channel's queue only, so a select that has to wait puts
//! a *stand-in* into the queue of each of its channels: a control block, in the
//! heap, that says whose it is. When a partner meets one, the value goes into (or
//! comes out of) the stand-in's slot, all stand-ins of the select leave their
//! channels, and the tasklet is woken. Nothing of it lies on a stack.
//!
//! ```text
//!   channel a:  head ─► [stand-in 0 ─ of T] ─► (another receiver)
//!   channel b:  head ─► (a sender) ─► [stand-in 1 ─ of T]
//!   T: in no queue, SELECTING; T.next = stand-in 0
//! ```
//!
//! Channels with a stand-in in their queue have a bit set that takes operations
//! off the fast path: a channel that nobody selects on does not notice.
//!
//! Sends and receives with a timeout are selects with one case.
//!
//! **Claims.** A select that has a channel between threads among its cases ([`far`]) can be met by another thread at any moment. Then whoever meets one
//! of its stand-ins must have the select's [claim](crate::thread::claim) first, and so must the select itself, to end because the time is up or something was
//! thrown. Stand-ins whose claim is gone are as good as not there. A select of local channels has no claim.

use alloc::boxed::Box;
use alloc::rc::Rc;
#[cfg(feature = "std")]
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use crate::channel::{Channel, Core, RECEIVE, SEND};
use crate::core::contain::drop_used;
use crate::core::deadlines::Key;
use crate::core::hooks::after;
use crate::core::idle;
use crate::core::runtime::Runtime;
use crate::core::scheduler::{self, fail, go, may_switch, prepare, refused, revive, when_empty};
use crate::core::task::{flag, Task};
use crate::core::thrown;
use crate::core::transfer::{arrive, enter, opened};
use crate::core::value::Slot;
#[cfg(feature = "std")]
use crate::core::value::TaskSlot;
use crate::error::WaitError;
use crate::error::{Error, Result, StateError};
#[cfg(feature = "std")]
use crate::time;

#[cfg(feature = "std")]
pub(crate) mod far;

/// Whose place in a queue it is: of the task itself, or of the one for which it
/// stands in.
///
/// # Safety
/// A live task or stand-in.
#[inline]
pub(crate) unsafe fn whose(task: *mut Task) -> *mut Task {
    // SAFETY: the caller's promise; a stand-in keeps its tasklet in `sp`.
    unsafe {
        if (*task).is(flag::STAND_IN) {
            (*task).sp as *mut Task
        } else {
            task
        }
    }
}

/// The first stand-in of the same select.
unsafe fn first_of(stand_in: *mut Task) -> *mut Task {
    // SAFETY: they are elements of one slice; `switches` is the index.
    unsafe { stand_in.sub((*stand_in).switches as usize) }
}

/// Is the tasklet blocked in this select? (Else it drives the loop.)
///
/// # Safety
/// A stand-in in a queue.
pub(crate) unsafe fn waits(stand_in: *mut Task) -> bool {
    // SAFETY: the caller's promise; the tasklet is live while its stand-ins are.
    unsafe {
        let task = whose(stand_in);
        (*task).is(flag::SELECTING) && (*task).next == first_of(stand_in)
    }
}

/// The claim of a stand-in's select, if it has one.
#[cfg(feature = "std")]
unsafe fn claim_of<'a>(stand_in: *mut Task) -> Option<&'a crate::thread::claim::Claim> {
    // SAFETY: what a first stand-in has for a window is its select's claim, which `StandIns` keeps until they are gone.
    unsafe {
        (*first_of(stand_in))
            .window
            .cast::<crate::thread::claim::Claim>()
            .as_ref()
    }
}

/// Nobody but the thread itself could meet it.
#[cfg(not(feature = "std"))]
struct NoClaim;

#[cfg(not(feature = "std"))]
impl NoClaim {
    fn take(&self) -> bool {
        true
    }
    fn is_open(&self) -> bool {
        true
    }
}

#[cfg(not(feature = "std"))]
unsafe fn claim_of<'a>(_stand_in: *mut Task) -> Option<&'a NoClaim> {
    None
}

/// Could another thread meet it first?
///
/// # Safety
/// A stand-in.
pub(crate) unsafe fn has_claim(stand_in: *mut Task) -> bool {
    // SAFETY: the caller's promise.
    unsafe { claim_of(stand_in).is_some() }
}

/// Does nobody but the caller meet it from now on? True: [`met`] or [`begin_anew`] follows, before anything else runs but the channel callback.
///
/// # Safety
/// A task in a channel's queue.
pub(crate) unsafe fn claim(task: *mut Task) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*task).is(flag::STAND_IN) || (*task).is(flag::HELD) {
            return true;
        }
        let Some(claim) = claim_of(task) else {
            return true;
        };
        let won = claim.take();
        if won {
            let inside = Runtime::of(task).in_channel_callback.get();
            (*task).set(if inside {
                flag::HELD | flag::HELD_INSIDE
            } else {
                flag::HELD
            });
        }
        won
    }
}

/// Has no other thread met it?
///
/// # Safety
/// A task in a channel's queue.
pub(crate) unsafe fn can_be_met(task: *mut Task) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        !(*task).is(flag::STAND_IN)
            || (*task).is(flag::HELD)
            || claim_of(task).is_none_or(|claim| claim.is_open())
    }
}

/// The select is over, if no other thread has met it. Nobody shall, from now on. False: one has.
unsafe fn close_claim(first: *mut Task) -> bool {
    // SAFETY: the first stand-in of a select.
    unsafe { claim_of(first).is_none_or(|claim| claim.take()) }
}

/// Its partner, who has its claim, cannot meet it after all: the select leaves its channels, and does everything again.
///
/// # Safety
/// A stand-in in a queue.
pub(crate) unsafe fn begin_anew(runtime: &Runtime, stand_in: *mut Task) {
    // SAFETY: the caller's promise; the reference moves to the run queue.
    unsafe {
        (*first_of(stand_in)).set(flag::ANEW);
        if end(stand_in) {
            runtime.queue.append(whose(stand_in));
        }
    }
}

unsafe fn leave_channels(first: *mut Task) {
    // SAFETY: `refs` elements; whatever is in a queue has its channel set.
    unsafe {
        for i in 0..(*first).refs as usize {
            let stand_in = first.add(i);
            if let Some(channel) = (*stand_in).channel.cast::<Core>().as_ref() {
                channel.take_stand_in(stand_in);
            }
        }
    }
}

/// Ends the select of a tasklet that is blocked in one. Its reference is the
/// caller's.
///
/// # Safety
/// `SELECTING`.
pub(crate) unsafe fn withdraw(task: *mut Task) {
    // SAFETY: the caller's promise: `next` is the first stand-in.
    unsafe {
        let first = core::mem::replace(&mut (*task).next, core::ptr::null_mut());
        (*task).clear(flag::SELECTING);
        close_claim(first);
        leave_channels(first);
    }
}

/// The stand-in has met a partner; the values have been exchanged. True when its
/// tasklet was blocked: it is floating now, and its reference is the caller's.
///
/// # Safety
/// A stand-in in a queue.
pub(crate) unsafe fn met(stand_in: *mut Task) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        (*stand_in).set(flag::MET);
        end(stand_in)
    }
}

unsafe fn end(stand_in: *mut Task) -> bool {
    // SAFETY: as `met`.
    unsafe {
        if waits(stand_in) {
            withdraw(whose(stand_in));
            return true;
        }
        leave_channels(first_of(stand_in));
        false
    }
}

/// The time of a select is up. Its tasklet is queued, unless another thread has just met it: then that thread's letter will do so.
///
/// # Safety
/// The first stand-in of a select that is not over.
unsafe fn expire(runtime: &Runtime, first: *mut ()) {
    let first = first.cast::<Task>();
    // SAFETY: the caller's promise; the reference moves to the run queue.
    unsafe {
        if !close_claim(first) {
            return;
        }
        (*first).set(flag::EXPIRED);
        if end(first) {
            runtime.queue.append(whose(first));
        }
    }
}

/// The queue of a channel that has one, as a select sees it.
pub(crate) trait Queue {
    /// Can something be put in (`SEND`) or taken out (`RECEIVE`) at once?
    fn is_ready(&self, direction: i8) -> bool;

    /// Does it: with what to put in, or for what is taken out, which may be an error that
    /// was sent. It is ready, and a partner that waits has been secured. After an error of
    /// its own what was to be put in is in the slot still.
    fn pass(&self, slot: &mut Slot, direction: i8) -> Result<Result<Slot, WaitError>, WaitError>;
}

/// What a case operates on.
#[doc(hidden)]
pub struct Target(On);

enum On {
    /// A channel of this thread: where partners wait, and the queue of values, if any.
    Near(Rc<Core>, Option<Rc<dyn Queue>>),
    #[cfg(feature = "std")]
    Far(Rc<dyn far::Far>),
}

impl Target {
    pub(crate) fn near(core: &Rc<Core>, queue: Option<Rc<dyn Queue>>) -> Target {
        Target(On::Near(Rc::clone(core), queue))
    }

    /// A channel between threads.
    #[cfg(feature = "std")]
    pub(crate) fn far(channel: Rc<dyn far::Far>) -> Target {
        Target(On::Far(channel))
    }
}

mod sealed {
    pub trait Select {
        #[doc(hidden)]
        fn target(&self) -> super::Target;
    }
}
pub(crate) use sealed::Select as Targeted;

/// What a [`Select`] can receive a `T` from: a [`Channel`], a
/// [`QueueChannel`](crate::QueueChannel), a `thread::Channel`, the end of a
/// [joined](crate::join) tasklet.
pub trait Receivable<T>: sealed::Select {}

/// What a [`Select`] can send a `T` to: a [`Channel`], a
/// [`QueueChannel`](crate::QueueChannel), a `thread::Channel`.
pub trait Sendable<T>: sealed::Select {}

impl<T: 'static> sealed::Select for Channel<T> {
    fn target(&self) -> Target {
        Target::near(self.core(), None)
    }
}

impl<T: 'static> Receivable<T> for Channel<T> {}
impl<T: 'static> Sendable<T> for Channel<T> {}

/// One operation of a select.
pub(crate) struct Case {
    target: Target,
    direction: i8,
    /// What to send.
    slot: Slot,
}

impl Case {
    /// The channel, if it is one of this thread.
    fn near(&self) -> Option<&Core> {
        match &self.target.0 {
            On::Near(core, _) => Some(core),
            #[cfg(feature = "std")]
            On::Far(_) => None,
        }
    }

    /// Of a case on a channel of this thread.
    fn core(&self) -> &Core {
        self.near().expect("a channel of this thread")
    }

    /// The queue, if the operation can be done on it at once.
    fn ready_queue(&self) -> Option<&Rc<dyn Queue>> {
        match &self.target.0 {
            On::Near(_, Some(queue)) if queue.is_ready(self.direction) => Some(queue),
            _ => None,
        }
    }

    fn is_ready(&self) -> bool {
        self.partner_waits() || self.ready_queue().is_some()
    }

    fn partner_waits(&self) -> bool {
        let core = self.core();
        core.partner_waits(self.direction) && {
            core.settle();
            core.partner_waits(self.direction)
        }
    }

    /// It was ready: is it still, and nobody else's now?
    fn secure(&self) -> bool {
        self.core().secure(self.direction) || self.ready_queue().is_some()
    }

    /// The channel, if it is one between threads.
    #[cfg(feature = "std")]
    fn far(&self) -> Option<&Rc<dyn far::Far>> {
        match &self.target.0 {
            On::Near(..) => None,
            On::Far(channel) => Some(channel),
        }
    }

    /// Where it takes place: no other channel has the number.
    fn place(&self) -> usize {
        match &self.target.0 {
            On::Near(core, _) => Rc::as_ptr(core) as usize,
            #[cfg(feature = "std")]
            On::Far(channel) => channel.place(),
        }
    }

    pub(crate) fn direction(&self) -> i8 {
        self.direction
    }

    /// The value to send, while it is here.
    pub(crate) fn take<T: 'static>(&mut self) -> Option<T> {
        self.slot.take().into().ok()?.ok()
    }

    pub(crate) fn put<T: 'static>(&mut self, value: T) {
        self.slot = Slot::new(value);
    }
}

/// The stand-ins of a select, and the entry of its timeout. They leave their
/// queues when this is dropped.
struct StandIns<'a> {
    runtime: &'a Runtime,
    tasks: *mut [Task],
    timeout: Option<Key>,
    /// What other threads know of the select.
    #[cfg(feature = "std")]
    joint: Option<Arc<far::Joint>>,
}

impl<'a> StandIns<'a> {
    /// Takes over the values to send.
    fn new(runtime: &'a Runtime, me: *mut Task, cases: &mut [Case]) -> StandIns<'a> {
        // At least one: the first knows the select.
        let count = cases.len().max(1);
        let tasks: Box<[Task]> = (0..count)
            .map(|index| {
                let mut task = Task::new(core::ptr::from_ref(runtime).cast(), flag::STAND_IN);
                task.sp = me as usize;
                task.switches = index as u64;
                task.refs = if index == 0 { count as u32 } else { 0 };
                if let Some(case) = cases.get_mut(index) {
                    task.slot.fill(case.slot.take());
                }
                task
            })
            .collect();
        StandIns {
            runtime,
            tasks: Box::into_raw(tasks),
            timeout: None,
            #[cfg(feature = "std")]
            joint: None,
        }
    }

    fn first(&self) -> *mut Task {
        self.tasks.cast()
    }

    /// From now on other threads may know of the select.
    #[cfg(feature = "std")]
    fn share(&mut self, joint: &Arc<far::Joint>) {
        // SAFETY: ours, in no queue. `joint` stays until they are gone.
        unsafe { (*self.first()).window = (&raw const joint.claim).cast() };
        self.joint = Some(joint.clone());
    }

    /// What the stand-in of a case holds.
    #[cfg(feature = "std")]
    fn slot(&mut self, case: usize) -> &mut TaskSlot {
        // SAFETY: ours; one for each case.
        unsafe { &mut (*self.tasks)[case].slot }
    }

    #[cfg(feature = "std")]
    fn flag(&mut self, case: usize, flag: u32) {
        // SAFETY: as `slot`.
        unsafe { (*self.tasks)[case].set(flag) };
    }

    /// Which one has met a partner.
    fn met(&self) -> Option<usize> {
        // SAFETY: ours; only flags are read.
        unsafe { (0..self.tasks.len()).find(|&i| (*self.first().add(i)).is(flag::MET)) }
    }

    fn expired(&self) -> bool {
        // SAFETY: as `met`.
        unsafe { (*self.first()).is(flag::EXPIRED) }
    }

    /// Must the select begin anew?
    #[cfg(feature = "std")]
    fn anew(&self) -> bool {
        // SAFETY: as `met`.
        unsafe { (*self.first()).is(flag::ANEW) }
    }

    /// Is there no more to wait for?
    fn is_over(&self) -> bool {
        // SAFETY: as `met`.
        let first = unsafe { (*self.first()).flags };
        first & (flag::EXPIRED | flag::ANEW) != 0 || self.met().is_some()
    }

    /// Puts the stand-ins into the queues of the channels.
    fn enter(&self, cases: &[Case]) {
        for (i, case) in cases.iter().enumerate() {
            if let Some(core) = case.near() {
                // SAFETY: ours, in no queue.
                unsafe { core.push_stand_in(self.first().add(i), case.direction) };
            }
        }
    }

    /// The select is over: out of all queues, and the values that were not sent
    /// go back. Returns what the case that was met holds.
    fn close(&mut self, cases: &mut [Case]) -> Option<(usize, Slot)> {
        self.leave();
        let met = self.met();
        let mut outcome = None;
        for (i, case) in cases.iter_mut().enumerate() {
            // SAFETY: ours, in no queue any more.
            let slot = unsafe { (*self.first().add(i)).slot.take() };
            if met == Some(i) {
                outcome = Some((i, slot));
            } else {
                case.slot = slot;
            }
        }
        outcome
    }

    /// From now on the select ends at the deadline.
    fn limit(&mut self, deadline: u64) {
        // SAFETY: the entry is cancelled before the stand-ins go.
        self.timeout = Some(unsafe {
            let first = self.first().cast();
            self.runtime.deadlines.call(deadline, expire, first)
        });
    }

    fn leave(&mut self) {
        if let Some(key) = self.timeout.take() {
            self.runtime.deadlines.cancel(key);
        }
        // SAFETY: ours.
        unsafe { leave_channels(self.first()) };
    }
}

impl Drop for StandIns<'_> {
    fn drop(&mut self) {
        self.leave();
        // SAFETY: made from a box, and in no queue any more.
        drop(unsafe { Box::from_raw(self.tasks) });
    }
}

/// How long to wait.
#[derive(Clone, Copy)]
enum Patience {
    None,
    For(Duration),
    Endless,
}

/// Which case it was, and what came of it: what was received, nothing (sent), or
/// the error that was sent or `Closed`.
pub(crate) type Chosen = (usize, Result<Slot, WaitError>);

/// A number below `count`, each as likely as the others; the same ones in each run
/// of a program.
fn roll(runtime: &Runtime, count: usize) -> usize {
    // Marsaglia's xorshift, multiplied; the upper half is the good one.
    let mut x = runtime.dice.get();
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    runtime.dice.set(x);
    let upper = x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
    ((upper * count as u64) >> 32) as usize
}

/// Of so many cases one that is `good`: the first, or any, with equal chances.
fn pick(count: usize, ordered: bool, mut good: impl FnMut(usize) -> bool) -> Option<usize> {
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

/// Errors: a channel has no thread any more, or is to be sent to and received from.
fn check(cases: &[Case]) -> Result<(), WaitError> {
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

/// Does one of `cases`: of several that can be done the first (`ordered`) or any. When
/// it fails, the values that were not sent are in the cases again.
fn perform(cases: &mut [Case], ordered: bool, patience: Patience) -> Result<Chosen, WaitError> {
    check(cases)?;
    thrown::raise(Runtime::get().current()).map_err(WaitError::Thrown)?;
    while let Some(ready) = pick(cases.len(), ordered, |i| cases[i].is_ready()) {
        if cases[ready].secure() {
            return exchange(&mut cases[ready]).map(|outcome| (ready, outcome));
        }
    }
    let runtime = Runtime::get();
    let me = runtime.current();
    if !matches!(patience, Patience::None) {
        for case in cases.iter() {
            let told = case.core().announce(runtime, me, case.direction);
            told.map_err(WaitError::Hindered)?;
        }
    }
    if let Some(closed) = pick(cases.len(), ordered, |i| cases[i].core().closing()) {
        return Ok((closed, Err(WaitError::own(Error::Closed))));
    }
    let deadline = deadline(runtime, patience, cases)?;
    let kept = may_wait(me)?;
    let mut stand_ins = StandIns::new(runtime, me, cases);
    let done = wait(runtime, me, &mut stand_ins, cases, deadline);
    let outcome = stand_ins.close(cases);
    let result = conclude(done, outcome, stand_ins.expired());
    put_back(me, kept, result.is_err());
    result
}

/// Until when it waits, if it may wait.
fn deadline(
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

/// May the running tasklet wait? Takes what somebody has put into its slot by hand.
fn may_wait(me: *mut Task) -> Result<Slot, WaitError> {
    // SAFETY: the running tasklet.
    unsafe {
        if (*me).is(flag::BLOCK_TRAP) {
            return Err(WaitError::own(Error::BlockTrap));
        }
        thrown::raise(me).map_err(WaitError::Thrown)?;
        Ok((*me).slot.take())
    }
}

/// As with the other channel operations: what somebody had put into the slot by hand
/// comes back when the operation fails.
fn put_back(me: *mut Task, kept: Slot, failed: bool) {
    // SAFETY: the running tasklet.
    unsafe {
        if failed && (*me).slot.is_empty() {
            (*me).slot.fill(kept);
        } else {
            drop_used(kept);
        }
    }
}

/// Waits until the select is over.
fn wait(
    runtime: &Runtime,
    me: *mut Task,
    stand_ins: &mut StandIns<'_>,
    cases: &[Case],
    deadline: Option<u64>,
) -> Result<(), WaitError> {
    let driven = match deadline {
        Some(deadline) if idle::must_drive(runtime, me) => {
            drive(runtime, stand_ins, cases, deadline)
        }
        _ => Ok(false),
    };
    driven.and_then(|over| match over {
        true => Ok(()),
        false => block(runtime, me, stand_ins, cases, deadline),
    })
}

/// What came of a wait, and of the case that was met.
fn conclude(
    done: Result<(), WaitError>,
    outcome: Option<(usize, Slot)>,
    expired: bool,
) -> Result<Chosen, WaitError> {
    #[cfg(feature = "std")]
    let done = match done {
        Err(WaitError::Thrown(error)) if outcome.is_some() => time::put_off(error),
        done => done,
    };
    match (done, outcome) {
        (Err(thrown @ WaitError::Thrown(_)), _) => Err(thrown),
        // Also where it could not go on waiting, and then the partner came: that was told so.
        (_, Some((case, slot))) if slot.is_bomb() => {
            Ok((case, slot.into_unit().map(|()| Slot::EMPTY)))
        }
        (_, Some((case, slot))) => Ok((case, Ok(slot))),
        (Err(hindered), None) => Err(hindered),
        (Ok(()), None) if expired => Err(WaitError::own(Error::Timeout)),
        // Somebody else has woken it, as when its channel was dropped.
        (Ok(()), None) => Err(WaitError::own(Error::ValueLost)),
    }
}

/// `case` is ready, and [secured](Case::secure).
fn exchange(case: &mut Case) -> Result<Result<Slot, WaitError>, WaitError> {
    if let Some(queue) = case.ready_queue().cloned() {
        return queue.pass(&mut case.slot, case.direction);
    }
    let slot = case.slot.take();
    let head = case.core().head();
    // SAFETY: the first of a queue that is not empty.
    let bomb = case.direction == RECEIVE && unsafe { (*head).slot.is_bomb() };
    match case.core().exchange(slot, case.direction) {
        Ok(slot) => Ok(Ok(slot)),
        Err(error) if bomb && case.core().head() != head => Ok(Err(error)),
        Err(error) => {
            case.core().let_go();
            Err(error)
        }
    }
}

/// What `op_select` is told; on the stack of the caller, which nobody else reads.
struct Args<'a> {
    stand_ins: &'a StandIns<'a>,
    cases: &'a [Case],
}

unsafe extern "C" fn op_select(args: *mut (), sp: usize) -> usize {
    // SAFETY: `args` is what `block` passes; no user code runs between `prepare`
    // and `go`.
    unsafe {
        let args = &*args.cast::<Args<'_>>();
        let runtime = args.stand_ins.runtime;
        let me = runtime.current();
        let mut next = (*me).next;
        let mut woken = false;
        if next == me {
            match when_empty(runtime, me, true) {
                Ok(wakeup) => next = wakeup,
                Err(error) => {
                    fail(runtime, error, after::FAILED);
                    return sp;
                }
            }
            woken = true;
        }
        if let Err(error) = prepare(runtime, me, sp, next) {
            fail(runtime, error, after::FAILED);
            return sp;
        }
        // The queue's reference moves to the select.
        runtime.queue.remove(me);
        (*me).set(flag::SELECTING);
        (*me).next = args.stand_ins.first();
        args.stand_ins.enter(args.cases);
        if woken {
            revive(runtime, me, next);
        }
        go(runtime, me, sp, next)
    }
}

/// Blocks until a case is done, the time is up, or something is thrown.
fn block(
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
        // SAFETY: ours. Nobody runs until they are there again.
        unsafe { leave_channels(stand_ins.first()) };
    }
    let mut args = Args { stand_ins, cases };
    // SAFETY: our own op, which reads `args` at once; `me` is running.
    unsafe {
        enter(op_select, (&raw mut args).cast());
        // Before any destructor runs: the timeout must not hit what those wait for.
        stand_ins.leave();
        arrive(runtime, me).map(drop)
    }
}

/// Waits in the run queue: lets the loop and the others run until a case is done,
/// the time is up, or something is thrown: true. False when another is there to drive
/// the loop: the caller must block, and has left the channels.
fn drive(
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
    // The pump ends it, as it does others: so what came before the time was up comes first.
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
            // Two who drive would let each other run all the time.
            if !stand_ins.is_over() && !idle::must_drive(runtime, me) {
                stand_ins.leave();
                return Ok(false);
            }
        } else if !hope {
            return Err(WaitError::Hindered(Error::Deadlock));
        }
    }
}

/// Something is thrown at `task`, which is another than the running one. If it drives
/// the loop and lets the others run, its wait is over now, not only when its turn
/// comes: nobody shall meet it any more.
pub(crate) fn interrupt(runtime: &Runtime, task: *mut Task) {
    let mut drives = runtime.drives.borrow_mut();
    // The last of them: an earlier one waits for a later one to return.
    // SAFETY: those in there are of selects that are not over.
    let at = drives
        .iter()
        .rposition(|&first| unsafe { whose(first) } == task);
    if let Some(at) = at {
        let first = drives.remove(at);
        // SAFETY: as above.
        unsafe {
            close_claim(first);
            leave_channels(first);
        }
    }
}

/// Lets the others run, for one who drives the loop. True when it was
/// [interrupted](interrupt), and then somebody took back what was thrown.
fn let_run(runtime: &Runtime, first: *mut Task) -> Result<bool, WaitError> {
    runtime.drives.borrow_mut().push(first);
    let driving = Driving { runtime, first };
    let back = scheduler::give_way();
    let interrupted = !driving.end();
    back.map(|()| interrupted)
}

/// A select that is among those that drive. Ended when dropped: what its tasklet comes back to may panic.
struct Driving<'a> {
    runtime: &'a Runtime,
    first: *mut Task,
}

impl Driving<'_> {
    /// True when it was still among them.
    fn end(&self) -> bool {
        let mut drives = self.runtime.drives.borrow_mut();
        // Not always the last one: another may have begun to drive meanwhile.
        let at = drives.iter().rposition(|&other| other == self.first);
        at.map(|at| drives.remove(at)).is_some()
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits in the queue of `core`, with `slot` for a partner, for a caller that is
/// [the last one](drive). Returns the slot, and what to do with it: true, a partner has
/// come, and brought it; false, the caller can or must block now. An error: what was
/// thrown, or why it cannot wait.
pub(crate) fn alone(core: &Core, direction: i8, slot: Slot) -> (Slot, Result<bool, WaitError>) {
    let runtime = Runtime::get();
    let mut stand_ins = StandIns::new(runtime, runtime.current(), &mut []);
    let first = stand_ins.first();
    // SAFETY: ours, in no queue.
    unsafe {
        (*first).slot.fill(slot);
        core.push_stand_in(first, direction);
    }
    let waited = idle::until_company(runtime, || stand_ins.met().is_some());
    stand_ins.leave();
    // SAFETY: ours, in no queue any more.
    let slot = unsafe { (*first).slot.take() };
    match stand_ins.met() {
        Some(_) => (slot, Ok(true)),
        None => (slot, waited.map(|_| false)),
    }
}

/// One operation with a timeout. When it fails, what was not sent is in `slot`.
#[cold]
#[inline(never)]
pub(crate) fn one(
    core: &Rc<Core>,
    direction: i8,
    slot: &mut Slot,
    time: Duration,
) -> Result<Slot, WaitError> {
    let mut cases = [Case {
        target: Target::near(core, None),
        direction,
        slot: slot.take(),
    }];
    let result = perform(&mut cases, true, Patience::For(time)).and_then(|(_, outcome)| outcome);
    let [case] = cases;
    *slot = case.slot;
    result
}

/// Waits for the first of several channel operations that can be done, and does
/// that one.
///
/// ```
/// use hardswitch::{spawn, Channel, Select};
///
/// # fn main() -> hardswitch::Result<()> {
/// let (words, numbers) = (Channel::new(), Channel::<u32>::new());
/// let sender = words.clone();
/// spawn(move || sender.send("hello"))?;
///
/// let mut select = Select::new();
/// let word = select.receive(&words);
/// let number = select.send(&numbers, 5);
/// let mut done = select.wait()?;
/// if let Some(word) = done.received(word) {
///     assert_eq!(word?, "hello");
/// } else if let Some(sent) = done.sent(number) {
///     sent?;
/// }
/// assert_eq!(done.unsent(number), Some(5));
/// # Ok(())
/// # }
/// ```
///
/// **Which one.** If several can be done at once, each has the same chance; the dice
/// of a thread fall the same way in each run of a program. With
/// [`Select::in_order`] the case added first wins. If none can be done but a
/// channel is [closed](Channel::close), that case is chosen, with
/// [`Error::Closed`].
///
/// A case may be about a [`QueueChannel`](crate::QueueChannel): it can be done when the
/// queue has a value, or room for one. And about a `thread::Channel`: a partner on
/// another thread is made runnable there, nobody switches because of it, and whether
/// one waits can change until the case is done; of several threads one meets the
/// select.
///
/// **Waiting.** Otherwise the tasklet blocks on all channels. In each it has a
/// place in the queue and counts in the balance, once per case, as sender or
/// receiver. Whoever meets it does so as with a tasklet that waits there alone:
/// preference and `schedule_all` of that channel decide who goes on. When one case
/// is done, or the tasklet is killed, it leaves all channels at once.
/// [`Channel::close_and_wake`] ends it with that case.
///
/// While it waits it [is blocked](crate::Tasklet::is_blocked), and
/// [`Channel::queue`] names it, but it has no direction and no neighbours.
///
/// A select cannot send and receive on the same channel. The channel callback is
/// called for the case that can be done, or for each case when it has to wait.
///
/// Costs O(cases): an allocation for the cases, and a second one (128 bytes a case)
/// when it has to wait. With channels between threads O(cases log cases), their locks
/// all at once, and three allocations more for each of them.
pub struct Select {
    cases: Vec<Case>,
    ordered: bool,
    /// Has it channels between threads?
    #[cfg(feature = "std")]
    far: bool,
}

/// A receive of a [`Select`].
pub struct ReceiveCase<T> {
    index: usize,
    _value: PhantomData<fn() -> T>,
}

/// A send of a [`Select`].
pub struct SendCase<T> {
    index: usize,
    _value: PhantomData<fn() -> T>,
}

impl<T> ReceiveCase<T> {
    /// Which case it is: 0 for the first that was added.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl<T> SendCase<T> {
    /// Which case it is: 0 for the first that was added.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl<T> Clone for ReceiveCase<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for ReceiveCase<T> {}
impl<T> Clone for SendCase<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SendCase<T> {}

impl Select {
    /// Without cases.
    pub fn new() -> Select {
        Select {
            cases: Vec::new(),
            ordered: false,
            #[cfg(feature = "std")]
            far: false,
        }
    }

    /// Adds: receive from `channel`.
    pub fn receive<T: 'static>(&mut self, channel: &impl Receivable<T>) -> ReceiveCase<T> {
        ReceiveCase {
            index: self.add(channel, RECEIVE, Slot::EMPTY),
            _value: PhantomData,
        }
    }

    /// Adds: send `value` on `channel`. If another case is chosen,
    /// [`Selected::unsent`] has the value; it is dropped when the select fails.
    pub fn send<T: 'static>(&mut self, channel: &impl Sendable<T>, value: T) -> SendCase<T> {
        SendCase {
            index: self.add(channel, SEND, Slot::new(value)),
            _value: PhantomData,
        }
    }

    #[inline]
    fn add(&mut self, channel: &impl sealed::Select, direction: i8, slot: Slot) -> usize {
        let target = channel.target();
        #[cfg(feature = "std")]
        {
            self.far |= matches!(target.0, On::Far(_));
        }
        self.cases.push(Case {
            target,
            direction,
            slot,
        });
        self.cases.len() - 1
    }

    /// Of several cases that can be done at once, the one that was added first
    /// wins.
    #[must_use]
    pub fn in_order(mut self) -> Select {
        self.ordered = true;
        self
    }

    /// Waits until a case can be done.
    ///
    /// # Errors
    /// When it would wait: [`Error::BlockTrap`], [`Error::Deadlock`],
    /// [`StateError::SelectNothing`]. When it would switch: [`Error::SwitchTrap`],
    /// no memory for a slice. [`StateError::SelectBothWays`]. What was thrown into
    /// the caller meanwhile.
    pub fn wait(self) -> Result<Selected> {
        self.perform(Patience::Endless)
    }

    /// As [`Select::wait`], but no longer than `time`; what
    /// [`Channel::send_timeout`] says about time holds here. Without cases it just
    /// lets the time pass.
    ///
    /// # Errors
    /// [`Error::Timeout`]; as [`Select::wait`]; [`StateError::NoClock`].
    pub fn wait_timeout(self, time: Duration) -> Result<Selected> {
        self.perform(Patience::For(time))
    }

    /// Does a case that can be done at once (or finds a channel closed).
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; as [`Select::wait`].
    pub fn try_wait(self) -> Result<Selected> {
        self.perform(Patience::None)
    }

    fn perform(mut self, patience: Patience) -> Result<Selected> {
        let (index, outcome) = match self.decide(patience) {
            Ok(chosen) => chosen,
            // Before the error is returned: see `scheduler::contain`.
            Err(ended) => {
                drop(self.cases);
                return Err(ended.into());
            }
        };
        Ok(Selected {
            index,
            outcome: Some(outcome.map_err(Error::from)),
            cases: self.cases,
        })
    }

    fn decide(&mut self, patience: Patience) -> Result<Chosen, WaitError> {
        #[cfg(feature = "std")]
        if self.far {
            return far::perform(&mut self.cases, self.ordered, patience);
        }
        perform(&mut self.cases, self.ordered, patience)
    }

    /// For the C interface: as `wait_timeout` (`None`: as `wait`), and the cases
    /// stay here, with the values that were not sent, also when it fails.
    pub(crate) fn choose(&mut self, time: Option<Duration>) -> Result<Chosen, WaitError> {
        self.decide(time.map_or(Patience::Endless, Patience::For))
    }

    pub(crate) fn cases(&mut self) -> &mut [Case] {
        &mut self.cases
    }
}

impl Default for Select {
    fn default() -> Select {
        Select::new()
    }
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Select({} cases)", self.cases.len())
    }
}

/// What a [`Select`] has done. A received value that nobody asks for is dropped
/// with it.
#[must_use = "it may hold a received value"]
pub struct Selected {
    index: usize,
    outcome: Option<Result<Slot>>,
    cases: Vec<Case>,
}

impl Selected {
    /// Which case it was: 0 for the first that was added.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What was received, if it was this case; the error that was sent, or
    /// [`Error::Closed`]. Asked once: `None` afterwards.
    pub fn received<T: 'static>(&mut self, case: ReceiveCase<T>) -> Option<Result<T>> {
        if case.index != self.index {
            return None;
        }
        Some(self.outcome.take()?.and_then(|slot| Ok(opened(slot)?)))
    }

    /// Whether the value was sent, if it was this case; or [`Error::Closed`].
    /// Asked once: `None` afterwards.
    pub fn sent<T: 'static>(&mut self, case: SendCase<T>) -> Option<Result<()>> {
        if case.index != self.index {
            return None;
        }
        Some(self.outcome.take()?.map(drop))
    }

    /// The value of a send that was not done, once.
    pub fn unsent<T: 'static>(&mut self, case: SendCase<T>) -> Option<T> {
        self.cases.get_mut(case.index)?.take()
    }
}

impl fmt::Debug for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match &self.outcome {
            None => "taken",
            Some(Ok(_)) => "done",
            Some(Err(_)) => "failed",
        };
        write!(f, "Selected(case {}, {outcome})", self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What other threads do between two looks takes no case away from who waits for all of them.
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
