//! A channel between threads as a case of a select.

use super::{lock, Brought, Channel, Core, Locked, Wait, Whose};
use crate::channel::case::{Receivable, Sendable, Target, Targeted};
use crate::core::transfer::opened;
use crate::core::value::Slot;
use crate::error::{Result, WaitError};
use crate::thread::select::{Between, Far, Held, Joined, Joint};
use crate::thread::Local;
use crate::Preference;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

impl<T: Send + 'static> Targeted for Channel<T> {
    fn target(&self) -> Target {
        // An error says that the thread is ending; the select will report it.
        let _ = self.enter();
        Target::far(Rc::new(Between(Rc::new(self.core.clone()))))
    }
}

impl<T: Send + 'static> Receivable<T> for Channel<T> {}
impl<T: Send + 'static> Sendable<T> for Channel<T> {}

impl<T: Send + 'static> Far for Arc<Core<T>> {
    fn place(&self) -> usize {
        Core::id(self)
    }

    fn lock(&self) -> Box<dyn Held + '_> {
        Box::new(Hold {
            locked: self.meeting.lock(),
            core: self,
            met: None,
        })
    }

    fn call_back(&self, slot: Slot, sends: bool) -> (Result<()>, Slot) {
        let (told, left) = Core::call_back(self, slot, sends);
        let left = match sends {
            true => Slot::of(opened::<T>(left)),
            false => Slot::EMPTY,
        };
        (told, left)
    }
}

struct Hold<'a, T> {
    locked: Locked<'a, T>,
    core: &'a Arc<Core<T>>,
    /// The wait that was met in the queue, and the preference that the channel has if it is of this
    /// thread.
    met: Option<(Arc<Wait<T>>, Preference)>,
}

impl<T: Send + 'static> Hold<'_, T> {
    fn send(&mut self, value: Brought<T>) -> Result<(), Brought<T>> {
        let value = match self.core.meeting.bring(value) {
            Ok(()) => return Ok(()),
            Err(value) => value,
        };
        let Some(partner) = self.locked.pop(false) else {
            return Err(value);
        };
        *lock(&partner.value) = Some(value);
        self.met = Some((partner, Preference::Receiver));
        Ok(())
    }

    fn receive(&mut self) -> Option<Brought<T>> {
        if let Some(value) = self.core.meeting.fetch() {
            return Some(value);
        }
        let partner = self.locked.pop(true)?;
        let value = lock(&partner.value).take();
        self.met = Some((partner, Preference::Sender));
        value
    }
}

impl<T: Send + 'static> Held for Hold<'_, T> {
    fn is_ready(&mut self, sends: bool) -> bool {
        self.locked.waits(!sends)
    }

    fn is_closing(&self) -> bool {
        self.locked.is_closing()
    }

    fn exchange(&mut self, slot: Slot, sends: bool) -> Result<Result<Slot, WaitError>, Slot> {
        if !sends {
            return match self.receive() {
                Some(value) => Ok(value.map(Slot::new)),
                None => Err(slot),
            };
        }
        self.send(opened(slot))
            .map(|()| Ok(Slot::EMPTY))
            .map_err(Slot::of)
    }

    fn conclude(self: Box<Self>, local: &Local) {
        let Hold { locked, core, met } = *self;
        drop(locked);
        if let Some((partner, prefers)) = met {
            core.meet(local, partner, prefers);
        }
    }

    fn gather(&mut self, sends: bool) -> bool {
        self.locked.gather(sends)
    }

    fn scatter(&mut self) {
        self.locked.scatter();
    }

    fn join(&mut self, slot: Slot, sends: bool, case: u32, joint: &Arc<Joint>) -> Arc<dyn Joined> {
        let value = sends.then(|| opened(slot));
        let wait = Arc::new(Wait {
            whose: Whose::Select(joint.clone(), case),
            value: Mutex::new(value),
            core: Arc::downgrade(self.core),
        });
        self.locked.push(wait.clone(), sends, false);
        wait
    }
}

impl<T: Send + 'static> Joined for Wait<T> {
    fn take(&self) -> Slot {
        let value = lock(&self.value).take();
        value.map_or(Slot::EMPTY, Slot::of)
    }
}
