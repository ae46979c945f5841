//! Channels between tasklets of different threads.
//!
//! A value never passes through a tasklet's transfer slot here. It waits in the heap, in the *wait*
//! of the sender or the receiver, and is moved from one to the other under the channel's lock. No
//! destructor runs under the lock. `case` makes the channel a case of a select.

use crate::channel::send_all;
use crate::core::contain::returned;
use crate::core::hooks::HOOK_CHANNEL;
use crate::core::runtime::Runtime;
use crate::core::scheduler::{give_way, may_switch};
use crate::core::task::flag;
use crate::core::thrown;
use crate::core::transfer::opened;
use crate::core::value::Slot;
use crate::error::WaitError;
use crate::error::{Error, Result};
use crate::Preference;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::attachment::{be_attached, local, Leave, Local, Parking, Waker};
use super::home::Mark;
use super::meeting::{self, Meeting, Sent, Waiting};
use super::select::Joint;

mod case;

/// A channel between tasklets of any threads: `send` waits for a receiver, `receive` for a sender,
/// and a value moves from one to the other.
///
/// It is a handle that any thread may use; clones refer to the same channel. Plain threads can use
/// it too: their flow of control is their main tasklet.
///
/// It differs from [`Channel`](crate::Channel) as follows:
///
/// * A partner on another thread is made runnable there, whatever the preference; the caller goes
///   on without a switch. Partners on one thread behave as with the local channel (preference,
///   `schedule_all`).
/// * One cannot see which tasklets wait. The operation calls the [channel
///   callback](crate::set_channel_callback) of its thread. Other threads may change whether it will
///   block between the callback and the operation.
/// * A thread that has nothing else to do sleeps in the system until it is woken.
///   [`Error::Deadlock`] counts all threads that use the library: the last one that can run is not
///   allowed to wait. But as long as some handle has never been used and some thread has not used
///   the library yet, no deadlock is reported: the handle may be on its way to that thread.
/// * `hardswitch::run()` returns when only tasklets are left that wait;
///   [`MainLoop::run_until_idle`](crate::MainLoop::run_until_idle) waits with them, until no other
///   thread could wake them.
///
/// A tasklet that is killed while it waits leaves the channel, and so does one that ends with its
/// thread. A [`Select`](crate::Select) can wait for several such channels and for local ones at the
/// same time.
///
/// Cost: a lock; for the first wait through a handle an allocation. A system call on either side
/// when a thread has to be woken from its sleep. A thread that has no other tasklet to run first
/// spins for its partner ([`Settings::spin`](crate::Settings::spin)).
///
/// ```
/// let numbers = hardswitch::thread::Channel::new();
/// let there = numbers.clone();
/// let thread = std::thread::spawn(move || there.send_sequence(1..=3).unwrap());
/// assert_eq!([numbers.receive()?, numbers.receive()?, numbers.receive()?], [1, 2, 3]);
/// thread.join().unwrap();
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct Channel<T: Send + 'static> {
    core: Arc<Core<T>>,
    mark: Mark,
    /// The last wait through this handle, kept for the next one. It saves an allocation, and keeps
    /// away from counts that other threads touch.
    spare: Mutex<Option<Arc<Wait<T>>>>,
}

/// Two threads pass it to and fro all the time, so it has a cache line to itself (128 bytes on a
/// Cell).
#[repr(C, align(128))]
struct Core<T> {
    meeting: Meeting<Brought<T>, Wait<T>>,
    preference: AtomicI8,
    schedule_all: AtomicBool,
}

type Locked<'a, T> = meeting::Locked<'a, Brought<T>, Wait<T>>;

/// What a receiver gets: a value; an error that was sent; or the news that the channel was closed.
type Brought<T> = Result<T, WaitError>;

/// The reason why something was not sent, and the thing itself, if nobody got it.
type Unsent<T> = (WaitError, Option<Brought<T>>);

/// Why it was not sent. What was not is dropped.
fn why<T>((error, unsent): Unsent<T>) -> WaitError {
    returned(unsent, error)
}

/// A wait of one tasklet.
struct Wait<T> {
    whose: Whose,
    /// The value that a sender brings, or that a receiver got.
    value: Mutex<Option<Brought<T>>>,
    core: Weak<Core<T>>,
}

enum Whose {
    Tasklet(Waker),
    /// It is a select's, for this case of it.
    Select(Arc<Joint>, u32),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Under these locks only the growth of a queue can panic, which leaves the queue whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Wait<T> {
    /// For a caller that takes the wait out of the queue. It ends the wait when the value has been
    /// handed over and the lock is free again, because the waiting tasklet may need both at once.
    fn waker(&self) -> &Waker {
        match &self.whose {
            Whose::Tasklet(waker) => waker,
            Whose::Select(joint, _) => &joint.waker,
        }
    }

    /// Leaves the queue. False: a partner has come, and the value has been handed over.
    fn withdraw(&self, core: &Core<T>) -> bool {
        core.meeting.lock().remove(self)
    }
}

impl<T> Core<T> {
    /// A number that no other living channel of this kind has.
    fn id(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn preference(&self) -> Preference {
        Preference::from_sign(self.preference.load(Ordering::Relaxed).into())
    }

    /// Calls the calling thread's channel callback with `slot` as the slot of the running tasklet;
    /// returns what is in the slot afterwards.
    #[cold]
    fn call_back(&self, mut slot: Slot, sends: bool) -> (Result<()>, Slot) {
        let runtime = Runtime::get();
        let balance = self.meeting.lock().balance();
        let will_block = if sends { balance >= 0 } else { balance <= 0 };
        let me = runtime.current();
        // SAFETY: `me` is the running tasklet of this thread, so it is live; nobody switches in the
        // callback.
        unsafe {
            slot = (*me).slot.put(slot);
            let told =
                crate::channel::operate::call_back(runtime, me, self.id(), sends, will_block);
            slot = (*me).slot.put(slot);
            (told, slot)
        }
    }

    /// The caller and `partner` have met, and the value has been handed over: wakes the partner.
    fn meet(&self, local: &Local, partner: Arc<Wait<T>>, prefers_partner: Preference) {
        let all = self.schedule_all.load(Ordering::Relaxed);
        let next = self.preference() == prefers_partner;
        let ended = partner.waker().end();
        if !partner.waker().is_of(local) {
            // The partner's thread may have ended just now; then the partner has left without
            // noticing that it was served.
            partner.waker().tell(ended);
            return;
        }
        let next = next && !all && may_switch(Runtime::get());
        let woken = partner.waker().tell_here(ended, local, next);
        drop(partner);
        if (next && woken) || (all && may_switch(Runtime::get())) {
            // The value has been handed over, so this operation must not fail. If something was
            // thrown at the caller meanwhile, its next wait reports that.
            if let Err(WaitError::Thrown(error)) = give_way() {
                let runtime = Runtime::get();
                let me = runtime.current();
                // SAFETY: `me` is the running tasklet of this thread, so it is live.
                unsafe { thrown::keep(runtime, me, thrown::level_of(me), error) };
            }
        }
    }
}

impl<T> Waiting for Wait<T> {
    fn is_one_of_several(&self) -> bool {
        matches!(self.whose, Whose::Select(..))
    }

    fn claim(&self) -> bool {
        match &self.whose {
            Whose::Tasklet(_) => true,
            Whose::Select(joint, case) => joint.claim.take_for(*case),
        }
    }

    fn is_open(&self) -> bool {
        match &self.whose {
            Whose::Tasklet(_) => true,
            Whose::Select(joint, _) => joint.claim.is_open(),
        }
    }
}

impl<T: Send> Leave for Wait<T> {
    fn leave(&self) {
        if let Some(core) = self.core.upgrade() {
            self.withdraw(&core);
        }
    }
}

/// How long an operation may wait.
enum Patience {
    Forever,
    Until(Option<Instant>),
    None,
}

impl Patience {
    fn of(time: Duration) -> Patience {
        // A time beyond the range of the clock is no limit.
        match Instant::now().checked_add(time) {
            Some(until) => Patience::Until(Some(until)),
            None => Patience::Forever,
        }
    }

    /// Is the running tasklet to spin for its partner before it joins the queue?
    fn may_spin(&self, local: &Local) -> bool {
        !matches!(self, Patience::None) && !must_not_block() && local.may_spin()
    }
}

impl<T: Send + 'static> Channel<T> {
    /// Makes a channel; it prefers the receiver.
    pub fn new() -> Channel<T> {
        Channel {
            core: Arc::new(Core {
                meeting: Meeting::new(),
                preference: AtomicI8::new(Preference::default() as i8),
                schedule_all: AtomicBool::new(false),
            }),
            mark: Mark::new(),
            spare: Mutex::new(None),
        }
    }

    /// Hands `value` to a receiver; waits until there is one.
    ///
    /// # Errors
    /// When it would have to wait: [`Error::Closed`], [`Error::BlockTrap`], [`Error::Deadlock`];
    /// [`Error::SwitchTrap`], no memory for a slice. An error that was thrown at the caller
    /// meanwhile. The value is dropped then, unless a receiver has got it already.
    pub fn send(&self, value: T) -> Result<()> {
        Ok(self.send_or(value)?)
    }

    /// As [`Channel::send`]; the error says whether it was thrown.
    #[inline]
    pub(crate) fn send_or(&self, value: T) -> Result<(), WaitError> {
        self.bring(Ok(value), Patience::Forever).map_err(why)
    }

    /// Sends an error: the receiver's `receive` returns it.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_throw(&self, error: impl Into<Error>) -> Result<()> {
        Ok(self.send_throw_or(error.into())?)
    }

    pub(crate) fn send_throw_or(&self, error: Error) -> Result<(), WaitError> {
        self.bring(Err(WaitError::Thrown(error)), Patience::Forever)
            .map_err(why)
    }

    /// Sends one value after the other; returns how many were sent.
    ///
    /// # Errors
    /// That of the first `send` that fails; the remaining values are not sent.
    pub fn send_sequence(&self, values: impl IntoIterator<Item = T>) -> Result<usize> {
        send_all(values, |value| self.send(value))
    }

    /// Sends if a receiver waits; else gives the value back.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] or [`Error::Closed`], with the value; without it, an error that was
    /// thrown at the caller after the value was handed over.
    pub fn try_send(&self, value: T) -> Result<(), (Error, Option<T>)> {
        self.try_send_or(value)
            .map_err(|(ended, back)| (ended.into(), back))
    }

    pub(crate) fn try_send_or(&self, value: T) -> Result<(), (WaitError, Option<T>)> {
        self.bring(Ok(value), Patience::None)
            .map_err(|(error, value)| (error, value.and_then(Result::ok)))
    }

    /// As [`Channel::send`], but waits no longer than `time`.
    ///
    /// # Errors
    /// [`Error::Timeout`], with the value; as `send`.
    pub fn send_timeout(&self, value: T, time: Duration) -> Result<(), (Error, Option<T>)> {
        self.send_timeout_or(value, time)
            .map_err(|(ended, back)| (ended.into(), back))
    }

    pub(crate) fn send_timeout_or(
        &self,
        value: T,
        time: Duration,
    ) -> Result<(), (WaitError, Option<T>)> {
        self.bring(Ok(value), Patience::of(time))
            .map_err(|(error, value)| (error, value.and_then(Result::ok)))
    }

    /// Takes a value from a sender; waits until there is one.
    ///
    /// # Errors
    /// As [`Channel::send`]; the error that a sender [threw](Channel::send_throw). If something is
    /// thrown at the caller after a value has come, the value is dropped, as with the local
    /// channel.
    pub fn receive(&self) -> Result<T> {
        Ok(self.receive_or()?)
    }

    /// As [`Channel::receive`]; the error says whether it was thrown.
    #[inline]
    pub(crate) fn receive_or(&self) -> Result<T, WaitError> {
        self.fetch(Patience::Forever)
    }

    /// Receives if a sender waits.
    ///
    /// # Errors
    /// [`Error::WouldBlock`], [`Error::Closed`]; as `receive`.
    pub fn try_receive(&self) -> Result<T> {
        Ok(self.try_receive_or()?)
    }

    pub(crate) fn try_receive_or(&self) -> Result<T, WaitError> {
        self.fetch(Patience::None)
    }

    /// As [`Channel::receive`], but waits no longer than `time`.
    ///
    /// # Errors
    /// [`Error::Timeout`]; as `receive`.
    pub fn receive_timeout(&self, time: Duration) -> Result<T> {
        Ok(self.receive_timeout_or(time)?)
    }

    pub(crate) fn receive_timeout_or(&self, time: Duration) -> Result<T, WaitError> {
        self.fetch(Patience::of(time))
    }

    /// The next value of an iteration: `None` once the channel is closing and no sender waits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&self) -> Option<Result<T>> {
        self.next_or().map(|received| received.map_err(Error::from))
    }

    pub(crate) fn next_or(&self) -> Option<Result<T, WaitError>> {
        {
            let mut locked = self.lock();
            if locked.is_closing() && locked.balance() <= 0 {
                return None;
            }
        }
        match self.receive_or() {
            // Another thread has closed it in between.
            Err(WaitError::Hindered(Error::Closed)) => None,
            other => Some(other),
        }
    }

    /// Receives until the channel is closed.
    pub fn iter(&self) -> impl Iterator<Item = Result<T>> + '_ {
        std::iter::from_fn(|| self.next())
    }

    /// Which side goes on first when two tasklets of the same thread meet.
    pub fn preference(&self) -> Preference {
        self.core.preference()
    }

    /// Sets which side goes on first when two tasklets of the same thread meet.
    pub fn set_preference(&self, preference: Preference) {
        self.core
            .preference
            .store(preference as i8, Ordering::Relaxed);
    }

    /// Does every operation between two tasklets of the same thread let all others run?
    pub fn schedule_all(&self) -> bool {
        self.core.schedule_all.load(Ordering::Relaxed)
    }

    /// With `true`, the side that comes second lets all others of its thread run, if its partner is
    /// one of them.
    pub fn set_schedule_all(&self, on: bool) {
        self.core.schedule_all.store(on, Ordering::Relaxed);
    }

    /// From now on nobody may start to wait; present waits are still served.
    pub fn close(&self) {
        self.lock().close();
    }

    /// [Closes](Channel::close) the channel and ends with [`Error::Closed`] all waits on it, of
    /// senders or receivers on whatever thread; returns how many. The tasklets are queued on their
    /// threads in the order in which they had waited; the caller goes on. Senders get their value
    /// back, if their operation gives values back.
    ///
    /// Stackless has no such operation: its `close` wakes nobody. Cost: O(waiting).
    pub fn close_and_wake(&self) -> usize {
        let mut locked = self.lock();
        let (spun, queued) = locked.dissolve(Err(WaitError::own(Error::Closed)));
        for wait in &queued {
            // A sender's value is left where it is: that tells the sender that it was not received.
            lock(&wait.value).get_or_insert_with(|| Err(WaitError::own(Error::Closed)));
        }
        drop(locked);
        let woken = usize::from(spun) + queued.len();
        for wait in queued {
            wait.waker().wake(wait.waker().end());
        }
        woken
    }

    /// Undoes [`Channel::close`].
    pub fn open(&self) {
        self.lock().open();
    }

    /// Has it been closed?
    pub fn is_closing(&self) -> bool {
        self.lock().is_closing()
    }

    /// Is it closed, and nobody waits any more?
    pub fn is_closed(&self) -> bool {
        let mut locked = self.lock();
        locked.is_closing() && locked.balance() == 0
    }

    /// How many tasklets wait: a positive number of senders, or a negative number of receivers.
    /// Other threads may change it at any time.
    pub fn balance(&self) -> isize {
        self.lock().balance()
    }

    /// A number that no other living channel of this kind has.
    pub fn id(&self) -> usize {
        self.core.id()
    }

    fn lock(&self) -> Locked<'_, T> {
        self.core.meeting.lock()
    }

    /// Sends. The value comes back with the error, if nobody got it.
    #[inline]
    fn bring(&self, value: Brought<T>, patience: Patience) -> Result<(), Unsent<T>> {
        if let Err(error) = self.enter() {
            return Err((error, Some(value)));
        }
        let value = if has_callback() {
            let (told, value) = self.show(value);
            if let Err(error) = told {
                return Err((WaitError::Hindered(error), Some(value)));
            }
            value
        } else {
            value
        };
        // A receiver that spins has waited longest.
        match self.core.meeting.bring(value) {
            Ok(()) => Ok(()),
            Err(value) => self.wait_to_send(value, patience),
        }
    }

    /// Receives.
    #[inline]
    fn fetch(&self, patience: Patience) -> Result<T, WaitError> {
        self.enter()?;
        if has_callback() {
            let (told, _) = self.core.call_back(Slot::EMPTY, false);
            told.map_err(WaitError::Hindered)?;
        }
        match self.core.meeting.fetch() {
            Some(value) => value,
            None => self.wait_to_receive(patience),
        }
    }

    /// No receiver spins: spins itself, or goes by way of the queue.
    #[inline(never)]
    fn wait_to_send(&self, value: Brought<T>, patience: Patience) -> Result<(), Unsent<T>> {
        let local = match local() {
            Ok(local) => local,
            Err(error) => return Err((WaitError::Hindered(error), Some(value))),
        };
        let meeting = &self.core.meeting;
        if !patience.may_spin(&local) {
            return self.queue_to_send(&local, self.lock(), value, patience, false);
        }
        match meeting.spin_for_receiver(value) {
            Ok(()) => local.spin(|| meeting.is_over()),
            Err(value) => {
                return self.queue_to_send(&local, self.lock(), value, patience, false);
            }
        }
        match meeting.sent() {
            Sent::Done => Ok(()),
            Sent::Refused(value) => Err((WaitError::own(Error::Closed), Some(value))),
            Sent::InVain(value, locked) => {
                self.queue_to_send(&local, locked, value, patience, true)
            }
        }
    }

    #[inline(never)]
    fn wait_to_receive(&self, patience: Patience) -> Result<T, WaitError> {
        let local = local().map_err(WaitError::own)?;
        let meeting = &self.core.meeting;
        if !patience.may_spin(&local) || !meeting.spin_for_sender() {
            return self.queue_to_receive(&local, self.lock(), patience, false);
        }
        local.spin(|| meeting.is_over());
        match meeting.received() {
            Ok(value) => value,
            Err(locked) => self.queue_to_receive(&local, locked, patience, true),
        }
    }

    /// Sends to a receiver that waits in the queue, or waits there itself. `spun`: it has spun in
    /// vain, and so comes first in the queue.
    #[cold]
    fn queue_to_send(
        &self,
        local: &Rc<Local>,
        mut locked: Locked<'_, T>,
        mut value: Brought<T>,
        patience: Patience,
        spun: bool,
    ) -> Result<(), Unsent<T>> {
        let mut joins = spun;
        while !joins {
            match self.core.meeting.bring(value) {
                Ok(()) => return Ok(()),
                Err(back) => value = back,
            }
            if let Some(partner) = locked.pop(false) {
                *lock(&partner.value) = Some(value);
                drop(locked);
                self.core.meet(local, partner, Preference::Receiver);
                return Ok(());
            }
            if let Err(error) = may_wait(&locked, &patience) {
                drop(locked);
                return Err((error, Some(value)));
            }
            joins = locked.gather(true);
        }
        let parking = local.take_spot();
        let queued = self.join(locked, self.make(&parking, Some(value)), true, spun);
        let (waited, wait) = queued.wait(&parking, true, patience, spun);
        let left = lock(&wait.value).take();
        self.keep(wait);
        match waited {
            // Whoever ended the wait has not taken the value: the channel was closed.
            Ok(()) if left.is_some() => Err((WaitError::own(Error::Closed), left)),
            waited => waited.map_err(|error| (error, left)),
        }
    }

    /// Receives from a sender that waits in the queue, or waits there itself. `spun`: it has spun
    /// in vain, and so comes first in the queue.
    #[cold]
    fn queue_to_receive(
        &self,
        local: &Rc<Local>,
        mut locked: Locked<'_, T>,
        patience: Patience,
        spun: bool,
    ) -> Result<T, WaitError> {
        let mut joins = spun;
        while !joins {
            if let Some(value) = self.core.meeting.fetch() {
                return value;
            }
            if let Some(partner) = locked.pop(true) {
                let value = lock(&partner.value).take();
                drop(locked);
                self.core.meet(local, partner, Preference::Sender);
                return value.expect("a sender that waits has brought something");
            }
            if let Err(error) = may_wait(&locked, &patience) {
                drop(locked);
                return Err(error);
            }
            joins = locked.gather(false);
        }
        let parking = local.take_spot();
        let queued = self.join(locked, self.make(&parking, None), false, spun);
        let (waited, wait) = queued.wait(&parking, false, patience, spun);
        let value = lock(&wait.value).take();
        self.keep(wait);
        match waited {
            Ok(()) => value.expect("a partner that came has brought something"),
            Err(ended) => returned(value, Err(ended)),
        }
    }

    /// Receives; `begin` is called when the wait has begun already. An error of `begin` is
    /// returned.
    pub(super) fn receive_after(&self, begin: impl FnOnce() -> Result<()>) -> Result<T, WaitError> {
        self.enter()?;
        let local = local().map_err(WaitError::own)?;
        let mut locked = self.lock();
        if let Err(error) = may_wait(&locked, &Patience::Forever) {
            drop(locked);
            return Err(error);
        }
        let alone = locked.gather(false);
        debug_assert!(
            alone,
            "an answer is brought by `answer`, which does not look"
        );
        let parking = local.take_spot();
        let queued = self.join(locked, self.make(&parking, None), false, false);
        begin().map_err(WaitError::Hindered)?;
        let (waited, wait) = queued.wait(&parking, false, Patience::Forever, false);
        let value = lock(&wait.value).take();
        match waited {
            Ok(()) => value.expect("a partner that came has brought something"),
            Err(ended) => returned(value, Err(ended)),
        }
    }

    /// Gives `value` to a receiver on another thread, if one waits. It works on a thread that is
    /// ending, too.
    pub(super) fn answer(&self, value: T) {
        let mut locked = self.lock();
        let Some(partner) = locked.pop(false) else {
            drop(locked);
            return drop(value);
        };
        *lock(&partner.value) = Some(Ok(value));
        drop(locked);
        partner.waker().tell(partner.waker().end());
    }

    /// Calls the callback, which sees the value that is sent, and may change it.
    #[cold]
    fn show(&self, value: Brought<T>) -> (Result<()>, Brought<T>) {
        let (told, slot) = self.core.call_back(Slot::of(value), true);
        (told, opened(slot))
    }

    /// To be called before each use of the channel. Errors: the thread is ending; an error that was
    /// thrown at the running tasklet before.
    #[inline]
    fn enter(&self) -> Result<(), WaitError> {
        be_attached().map_err(WaitError::Hindered)?;
        self.mark.used();
        super::raise().map_err(WaitError::Thrown)
    }

    /// Makes a wait of the running tasklet.
    fn make(&self, parking: &Parking, value: Option<Brought<T>>) -> Arc<Wait<T>> {
        let spare = self.spare.try_lock().ok().and_then(|mut s| s.take());
        if let Some(mut wait) = spare {
            // Nobody else has the spare wait any more: its last partner has let go of it.
            if let Some(again) = Arc::get_mut(&mut wait) {
                match &mut again.whose {
                    Whose::Tasklet(waker) => parking.renew(waker),
                    Whose::Select(..) => unreachable!("those of selects are not kept"),
                }
                *again
                    .value
                    .get_mut()
                    .unwrap_or_else(PoisonError::into_inner) = value;
                return wait;
            }
        }
        Arc::new(Wait {
            whose: Whose::Tasklet(parking.waker()),
            value: Mutex::new(value),
            core: Arc::downgrade(&self.core),
        })
    }

    /// Keeps a wait that is over for the next one.
    fn keep(&self, wait: Arc<Wait<T>>) {
        let before = match self.spare.try_lock() {
            Ok(mut spare) => spare.replace(wait),
            Err(_) => None,
        };
        drop(before);
    }

    /// Lets `wait` join the queue, and releases the lock.
    fn join<'a>(
        &'a self,
        mut locked: Locked<'_, T>,
        wait: Arc<Wait<T>>,
        sends: bool,
        first: bool,
    ) -> Queued<'a, T> {
        locked.push(wait.clone(), sends, first);
        drop(locked);
        Queued {
            core: &self.core,
            wait,
            alone: None,
        }
    }
}

/// A wait that has joined the queue. When this is dropped it leaves the queue, however it ended.
/// Foreign code runs meanwhile, and may panic.
struct Queued<'a, T> {
    core: &'a Core<T>,
    wait: Arc<Wait<T>>,
    /// `Some` when the wait has left the queue: whether it left without a partner.
    alone: Option<bool>,
}

impl<T: Send + 'static> Queued<'_, T> {
    /// Waits for the partner. Afterwards the wait is in no queue.
    fn wait(
        mut self,
        parking: &Parking,
        sends: bool,
        patience: Patience,
        spun: bool,
    ) -> (Result<(), WaitError>, Arc<Wait<T>>) {
        let deadline = match patience {
            Patience::Until(deadline) => deadline,
            _ => None,
        };
        let wait = self.wait.clone();
        if !spun {
            parking.spin(wait.waker());
        }
        let waited = parking.wait(wait.waker(), sends, deadline, || Some(wait.clone()));
        let ended = match waited {
            Ok(true) => {
                // Whoever ended the wait has taken it out of the queue.
                self.alone = Some(false);
                return (Ok(()), wait);
            }
            Ok(false) => WaitError::own(Error::Timeout),
            Err(ended) => ended,
        };
        if self.leave() {
            return (Err(ended), wait);
        }
        // The partner came, so an error that hindered the wait does not matter. An error that was
        // thrown does.
        let told = match ended {
            WaitError::Thrown(error) => thrown::put_off(error),
            _ => Ok(()),
        };
        (told, wait)
    }
}

impl<T> Queued<'_, T> {
    /// Leaves the queue. False: a partner has come, and the value has been handed over.
    fn leave(&mut self) -> bool {
        let (wait, core) = (&self.wait, self.core);
        *self.alone.get_or_insert_with(|| wait.withdraw(core))
    }
}

impl<T> Drop for Queued<'_, T> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Has the calling thread a channel callback?
#[inline]
fn has_callback() -> bool {
    Runtime::get().hooks() & HOOK_CHANNEL != 0
}

/// There is no partner: may the running tasklet wait?
fn may_wait<T>(locked: &Locked<'_, T>, patience: &Patience) -> Result<(), WaitError> {
    let may = match patience {
        Patience::None if locked.is_closing() => Err(Error::Closed),
        Patience::None => Err(Error::WouldBlock),
        _ if must_not_block() => Err(Error::BlockTrap),
        _ if locked.is_closing() => Err(Error::Closed),
        _ => Ok(()),
    };
    may.map_err(WaitError::Hindered)
}

fn must_not_block() -> bool {
    // SAFETY: the running tasklet of this thread is live.
    unsafe { (*Runtime::get().current()).is(flag::BLOCK_TRAP) }
}

impl<T: Send + 'static> Default for Channel<T> {
    fn default() -> Channel<T> {
        Channel::new()
    }
}

impl<T: Send + 'static> Clone for Channel<T> {
    fn clone(&self) -> Channel<T> {
        Channel {
            core: self.core.clone(),
            mark: Mark::new(),
            spare: Mutex::new(None),
        }
    }
}

impl<T: Send + 'static> PartialEq for Channel<T> {
    fn eq(&self, other: &Channel<T>) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

impl<T: Send + 'static> Eq for Channel<T> {}

impl<T: Send + 'static> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({:#x}, balance {})", self.id(), self.balance())
    }
}

const _: () = {
    const fn across_threads<T: Send + Sync>() {}
    across_threads::<Channel<std::cell::Cell<u8>>>();
};
