//! The clock of a thread, and the queue of what is to happen at a time by that clock.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::time::Duration;

use crate::core::contain::contain;
use crate::core::runtime::Runtime;
use crate::error::{Result, StateError};
use crate::machine::os;

/// A monotonic clock: nanoseconds since any fixed moment.
pub type Clock = fn() -> u64;

/// The clock and the queue of a thread.
pub struct Deadlines {
    clock: Cell<Option<Clock>>,
    /// What the host's clock said last.
    last: Cell<u64>,
    /// What is to happen, by deadline (nanoseconds) and, among equals, by age.
    queue: RefCell<BTreeMap<Key, Entry>>,
    made: Cell<u64>,
    still: Cell<Option<Still>>,
}

/// The time that the host's clock has shown, and since when.
#[derive(Clone, Copy)]
struct Still {
    shows: u64,
    /// By the system's clock, in nanoseconds.
    since: u64,
}

/// A host's clock that has shown the same time for so long counts as standing still.
pub const STANDS: Duration = Duration::from_secs(1);

/// What is to happen when a deadline has come. No tasklet runs in it.
enum Entry {
    /// Calls the function with the address.
    Call(unsafe fn(&Runtime, *mut ()), *mut ()),
    Tell(Rc<dyn Due>),
}

/// An object that is told when a deadline has come.
pub trait Due {
    fn is_due(&self);
}

/// Where an entry is in the queue.
pub type Key = (u64, u64);

impl Deadlines {
    pub fn new() -> Deadlines {
        Deadlines {
            clock: Cell::new(None),
            last: Cell::new(0),
            queue: RefCell::new(BTreeMap::new()),
            made: Cell::new(0),
            still: Cell::new(None),
        }
    }

    /// Nanoseconds; an error when there is no clock.
    pub fn now(&self) -> Result<u64> {
        match self.clock.get() {
            Some(clock) => Ok(self.ask(clock)),
            None => os::clock().ok_or(StateError::NoClock.into()),
        }
    }

    /// A host's clock is user code, and is asked in the middle of switches: nothing in it may
    /// switch, and when it panics the time stays what it was.
    #[cold]
    fn ask(&self, clock: Clock) -> u64 {
        let mut now = self.last.get();
        let mut ask = || contain("the clock", || now = clock());
        match Runtime::existing() {
            Some(runtime) => runtime.locked(&mut ask),
            None => ask(),
        }
        self.last.set(now);
        now
    }

    /// The clock's time when `time` from now has passed; `None`, which means never, when that is
    /// beyond the clock's range.
    pub fn after(&self, time: Duration) -> Result<Option<u64>> {
        Ok(Deadlines::later(self.now()?, time))
    }

    /// The clock's time when `time` has passed since it showed `begun`; `None` as for
    /// [`after`](Deadlines::after).
    pub fn later(begun: u64, time: Duration) -> Option<u64> {
        begun.checked_add(u64::try_from(time.as_nanos()).ok()?)
    }

    /// Has `f` called with `what` at the deadline.
    ///
    /// # Safety
    /// `f` may be called with `what` until the entry is cancelled.
    pub unsafe fn call(
        &self,
        deadline: u64,
        f: unsafe fn(&Runtime, *mut ()),
        what: *mut (),
    ) -> Key {
        let key = self.key(deadline);
        self.queue.borrow_mut().insert(key, Entry::Call(f, what));
        key
    }

    /// Has `whom` told at the deadline, under a [key](Deadlines::key) that is not in use.
    pub fn tell(&self, key: Key, whom: Rc<dyn Due>) {
        self.queue.borrow_mut().insert(key, Entry::Tell(whom));
    }

    /// Gives the thread another clock; returns the old one.
    pub fn set_clock(&self, clock: Option<Clock>) -> Option<Clock> {
        self.clock.replace(clock)
    }

    /// A key for `deadline` that is not in use.
    pub fn key(&self, deadline: u64) -> Key {
        (deadline, self.made.replace(self.made.get() + 1))
    }

    pub fn cancel(&self, key: Key) {
        let entry = self.queue.borrow_mut().remove(&key);
        // The entry may hold a tasklet's last handle: it is dropped when the queue is free again.
        drop(entry);
    }

    pub fn waiting(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Until the next deadline.
    pub fn next(&self) -> Option<Duration> {
        let at = self.queue.borrow().first_key_value()?.0 .0;
        let now = self.now().ok()?;
        Some(Duration::from_nanos(at.saturating_sub(now)))
    }

    /// How long the main loop may sleep before a deadline comes; `None`: none will come while the
    /// clock stands still.
    pub fn rest(&self) -> Option<Duration> {
        let left = self.next()?;
        if left.is_zero() || self.clock.get().is_none() {
            return Some(left);
        }
        let shows = self.now().ok()?;
        let Some(now) = os::clock() else {
            return Some(left);
        };
        match self.still.get() {
            Some(still) if still.shows == shows => {
                let stood = Duration::from_nanos(now.saturating_sub(still.since));
                (stood < STANDS).then_some(left.max(stood))
            }
            _ => {
                self.still.set(Some(Still { shows, since: now }));
                Some(left)
            }
        }
    }

    /// Ends the waits whose time has come; none of their tasklets runs yet.
    pub fn fire(&self, runtime: &Runtime) -> usize {
        if self.queue.borrow().is_empty() {
            return 0;
        }
        let Ok(now) = self.now() else {
            return 0;
        };
        let mut fired = 0;
        loop {
            let mut queue = self.queue.borrow_mut();
            let Some(first) = queue.first_entry().filter(|first| first.key().0 <= now) else {
                return fired;
            };
            let entry = first.remove();
            // User code runs from here on: it may change the queue.
            drop(queue);
            match entry {
                // SAFETY: the caller of `Deadlines::call` promised that `f` may be called with
                // `what` until the entry is cancelled, and it was not.
                Entry::Call(f, what) => unsafe { f(runtime, what) },
                Entry::Tell(whom) => whom.is_due(),
            }
            fired += 1;
        }
    }
}
