//! Sending and receiving between threads: to meet a partner that spins or waits, to spin, and to
//! wait in the queue.

use super::{lock, Brought, Channel, Core, Locked, Unsent, Wait, Whose};
use crate::core::contain::returned;
use crate::core::hooks::HOOK_CHANNEL;
use crate::core::runtime::Runtime;
use crate::core::task::flag;
use crate::core::thrown;
use crate::core::transfer::opened;
use crate::core::value::Slot;
use crate::error::WaitError;
use crate::error::{Error, Result};
use crate::thread::attachment::{be_attached, local, Local, Parking};
use crate::thread::meeting::Sent;
use crate::wait::until::Until;
use crate::Preference;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

impl<T: Send + 'static> Channel<T> {
    /// Sends. The value comes back with the error, if nobody got it.
    #[inline]
    pub(super) fn bring(&self, value: Brought<T>, until: Until) -> Result<(), Unsent<T>> {
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
            Err(value) => self.wait_to_send(value, until),
        }
    }

    /// Receives.
    #[inline]
    pub(super) fn fetch(&self, until: Until) -> Result<T, WaitError> {
        self.enter()?;
        if has_callback() {
            let (told, _) = self.core.call_back(Slot::EMPTY, false);
            told.map_err(WaitError::Hindered)?;
        }
        match self.core.meeting.fetch() {
            Some(value) => value,
            None => self.wait_to_receive(until),
        }
    }

    /// No receiver spins: spins itself, or goes by way of the queue.
    #[inline(never)]
    fn wait_to_send(&self, value: Brought<T>, until: Until) -> Result<(), Unsent<T>> {
        let local = match local() {
            Ok(local) => local,
            Err(error) => return Err((WaitError::Hindered(error), Some(value))),
        };
        let meeting = &self.core.meeting;
        if !may_spin(until, &local) {
            return self.queue_to_send(&local, self.lock(), value, until, false);
        }
        match meeting.spin_for_receiver(value) {
            Ok(()) => local.spin(|| meeting.is_over()),
            Err(value) => {
                return self.queue_to_send(&local, self.lock(), value, until, false);
            }
        }
        match meeting.sent() {
            Sent::Done => Ok(()),
            Sent::Refused(value) => Err((WaitError::own(Error::Closed), Some(value))),
            Sent::InVain(value, locked) => self.queue_to_send(&local, locked, value, until, true),
        }
    }

    #[inline(never)]
    fn wait_to_receive(&self, until: Until) -> Result<T, WaitError> {
        let local = local().map_err(WaitError::own)?;
        let meeting = &self.core.meeting;
        if !may_spin(until, &local) || !meeting.spin_for_sender() {
            return self.queue_to_receive(&local, self.lock(), until, false);
        }
        local.spin(|| meeting.is_over());
        match meeting.received() {
            Ok(value) => value,
            Err(locked) => self.queue_to_receive(&local, locked, until, true),
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
        until: Until,
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
            if let Err(error) = may_wait(&locked, until) {
                drop(locked);
                return Err((error, Some(value)));
            }
            joins = locked.gather(true);
        }
        let parking = local.take_spot();
        let queued = self.join(locked, self.make(&parking, Some(value)), true, spun);
        let (waited, wait) = queued.wait(&parking, true, until, spun);
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
        until: Until,
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
            if let Err(error) = may_wait(&locked, until) {
                drop(locked);
                return Err(error);
            }
            joins = locked.gather(false);
        }
        let parking = local.take_spot();
        let queued = self.join(locked, self.make(&parking, None), false, spun);
        let (waited, wait) = queued.wait(&parking, false, until, spun);
        let value = lock(&wait.value).take();
        self.keep(wait);
        match waited {
            Ok(()) => value.expect("a partner that came has brought something"),
            Err(ended) => returned(value, Err(ended)),
        }
    }

    /// Receives; `begin` is called when the wait has begun already. An error of `begin` is
    /// returned.
    pub(in crate::thread) fn receive_after(
        &self,
        begin: impl FnOnce() -> Result<()>,
    ) -> Result<T, WaitError> {
        self.enter()?;
        let local = local().map_err(WaitError::own)?;
        let mut locked = self.lock();
        if let Err(error) = may_wait(&locked, Until::Ever) {
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
        let (waited, wait) = queued.wait(&parking, false, Until::Ever, false);
        let value = lock(&wait.value).take();
        match waited {
            Ok(()) => value.expect("a partner that came has brought something"),
            Err(ended) => returned(value, Err(ended)),
        }
    }

    /// Gives `value` to a receiver on another thread, if one waits. It works on a thread that is
    /// ending, too.
    pub(in crate::thread) fn answer(&self, value: T) {
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
    pub(super) fn enter(&self) -> Result<(), WaitError> {
        be_attached().map_err(WaitError::Hindered)?;
        self.mark.used();
        crate::thread::raise().map_err(WaitError::Thrown)
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
        until: Until,
        spun: bool,
    ) -> (Result<(), WaitError>, Arc<Wait<T>>) {
        let deadline = until.moment();
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
fn may_wait<T>(locked: &Locked<'_, T>, until: Until) -> Result<(), WaitError> {
    let may = match until {
        Until::Now if locked.is_closing() => Err(Error::Closed),
        Until::Now => Err(Error::WouldBlock),
        _ if must_not_block() => Err(Error::BlockTrap),
        _ if locked.is_closing() => Err(Error::Closed),
        _ => Ok(()),
    };
    may.map_err(WaitError::Hindered)
}

/// Is the running tasklet to spin for its partner before it joins the queue?
fn may_spin(until: Until, local: &Local) -> bool {
    !matches!(until, Until::Now) && !must_not_block() && local.may_spin()
}

fn must_not_block() -> bool {
    // SAFETY: the running tasklet of this thread is live.
    unsafe { (*Runtime::get().current()).is(flag::BLOCK_TRAP) }
}
