//! The parker: how a thread sleeps and is woken. Both happen only here.
//!
//! ```text
//!   a thread that brings something           the owner, which wants to sleep
//!   1. puts it where the owner looks         1. sets the parker to quiet
//!   2. notify(): word ─swap─► NOTIFIED       2. looks: is there something?
//!      it was ASLEEP? wakes the word         3. QUIET ─compare and swap─► ASLEEP, or POLLS
//!      it was POLLS?  raises the signal         it was NOTIFIED? stays awake, and looks again
//! ```
//!
//! All of it happens on one word, so there is an order: a notification comes before step 3 and is
//! seen there, or after it and finds a sleeper. To notify an owner that is awake costs no system
//! call.
//!
//! The owner sleeps on the word itself, or, if it waits for descriptors as well, in `poll`.

use super::prim::{sleep_on, wake_on, AtomicU32, Ordering, Signal};
use std::time::Duration;

/// The owner is awake, and nobody has notified it.
const QUIET: u32 = 0;
const NOTIFIED: u32 = 1;
/// The owner sleeps on the word.
const ASLEEP: u32 = 2;
/// The owner sleeps in `poll`, on the signal.
const POLLS: u32 = 3;

pub struct Parker {
    word: AtomicU32,
    /// The value of the word without a notification.
    quiet: u32,
    signal: Signal,
}

impl Parker {
    /// A parker whose owner sleeps by [`sleep`](Parker::sleep), and in `poll` between
    /// [`begin_poll`](Parker::begin_poll) and [`end_poll`](Parker::end_poll).
    pub fn new(signal: Signal) -> Parker {
        Parker {
            word: AtomicU32::new(QUIET),
            quiet: QUIET,
            signal,
        }
    }

    /// A parker whose owner polls the signal at any time: the first notification after each
    /// [`set_quiet`](Parker::set_quiet) raises it.
    pub fn polled(signal: Signal) -> Parker {
        Parker {
            word: AtomicU32::new(POLLS),
            quiet: POLLS,
            signal,
        }
    }

    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Ends the owner's sleep, or the next one. Costs a system call if the owner sleeps.
    pub fn notify(&self) {
        // Release: the owner sees all that was put down before. Acquire: the notifier does not need
        // it, but a later notifier replaces this value, and the owner must see both.
        match self.word.swap(NOTIFIED, Ordering::AcqRel) {
            ASLEEP => wake_on(&self.word),
            POLLS => self.signal.raise(),
            _ => {}
        }
    }

    /// Has it been notified since it was set to quiet?
    pub fn is_notified(&self) -> bool {
        self.word.load(Ordering::Relaxed) == NOTIFIED
    }

    /// Takes back the notifications so far; the caller looks next for what they were about. To be
    /// called by the owner, awake.
    pub fn set_quiet(&self) {
        if self.quiet == POLLS {
            // The signal comes first: a notification in between raises nothing, and the owner is
            // about to see what it was about.
            self.signal.lower();
        }
        self.word.swap(self.quiet, Ordering::AcqRel);
    }

    /// Sleeps until it is notified, or for `timeout`; not at all if it was notified since it was
    /// set to quiet. Afterwards it is quiet. May return early.
    pub fn sleep(&self, timeout: Option<Duration>) {
        if self.fall_asleep(ASLEEP) {
            sleep_on(&self.word, ASLEEP, timeout);
        }
        self.word.swap(QUIET, Ordering::AcqRel);
    }

    /// From now on a notification raises the signal. False: it has been notified already, and the
    /// owner must not wait. In either case [`end_poll`](Parker::end_poll) must follow.
    pub fn begin_poll(&self) -> bool {
        self.fall_asleep(POLLS)
    }

    /// The end of what [`begin_poll`](Parker::begin_poll) began. `signalled`: the signal is raised.
    /// A late notification may raise it once in vain.
    pub fn end_poll(&self, signalled: bool) {
        if signalled {
            self.signal.lower();
        }
        self.word.swap(QUIET, Ordering::AcqRel);
    }

    fn fall_asleep(&self, how: u32) -> bool {
        debug_assert_eq!(self.quiet, QUIET);
        // A switch of the tests that breaks this: it falls asleep whatever the word says, so a
        // notification that came after the look is lost.
        if cfg!(hsw_bug_deaf) {
            return self.word.swap(how, Ordering::AcqRel) != how;
        }
        self.word
            .compare_exchange(QUIET, how, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
