//! How a thread sleeps and is woken. The one place where either happens.
//!
//! ```text
//!   who brings something                     who sleeps (the bell's owner)
//!   1. puts it where the owner looks         1. silences the bell
//!   2. ring():  word ─swap─► RUNG            2. looks: is there something?
//!      it was ASLEEP?  wakes the word        3. QUIET ─compare and swap─► ASLEEP, or POLLS
//!      it was POLLS?   raises the signal        it was RUNG? stays up; something came after the look
//! ```
//!
//! All of it happens on one word, so there is an order: a ring comes before step 3 and is seen there, or after it and finds a sleeper. A ring
//! for an owner who is awake costs no system call.
//!
//! The owner sleeps on the word itself, or, if it waits for descriptors as well, in `poll`.

use super::prim::{sleep_on, wake_on, AtomicU32, Ordering, Signal};
use std::time::Duration;

/// The owner is awake, nobody has rung.
const QUIET: u32 = 0;
const RUNG: u32 = 1;
/// The owner sleeps on the word.
const ASLEEP: u32 = 2;
/// The owner sleeps in `poll`, on the signal.
const POLLS: u32 = 3;

pub struct Bell {
    word: AtomicU32,
    /// What the word is between rings.
    silent: u32,
    signal: Signal,
}

impl Bell {
    /// For an owner who sleeps by [`sleep`](Bell::sleep) and between [`listen`](Bell::listen) and [`heard`](Bell::heard).
    pub fn new(signal: Signal) -> Bell {
        Bell {
            word: AtomicU32::new(QUIET),
            silent: QUIET,
            signal,
        }
    }

    /// For an owner who polls the signal whenever he likes: the first ring after each silence raises it.
    pub fn polled(signal: Signal) -> Bell {
        Bell {
            word: AtomicU32::new(POLLS),
            silent: POLLS,
            signal,
        }
    }

    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Ends the owner's sleep, or the next one.
    pub fn ring(&self) {
        // Release: what was put down before is seen by who is woken. Acquire: not needed by the ringer, but by whoever rings after it: the chain stays whole.
        match self.word.swap(RUNG, Ordering::AcqRel) {
            ASLEEP => wake_on(&self.word),
            POLLS => self.signal.raise(),
            _ => {}
        }
    }

    /// Has it been rung since it was silenced?
    pub fn is_rung(&self) -> bool {
        self.word.load(Ordering::Relaxed) == RUNG
    }

    /// Takes back what was rung so far; whoever calls this looks next. The owner's, awake.
    pub fn silence(&self) {
        if self.silent == POLLS {
            // First: a ring in between raises nothing, and is for what the owner is about to see.
            self.signal.lower();
        }
        self.word.swap(self.silent, Ordering::AcqRel);
    }

    /// Sleeps until it is rung, or `timeout`; not at all if it was rung after the last silence. It is silent then. May come back early.
    pub fn sleep(&self, timeout: Option<Duration>) {
        if self.lie_down(ASLEEP) {
            sleep_on(&self.word, ASLEEP, timeout);
        }
        self.word.swap(QUIET, Ordering::AcqRel);
    }

    /// From now on a ring raises the signal. False: it was rung after the last silence, and the owner must not wait. Either way, then
    /// [`heard`](Bell::heard).
    pub fn listen(&self) -> bool {
        self.lie_down(POLLS)
    }

    /// The end of what [`listen`](Bell::listen) began. `signalled`: the signal is raised. It may be so once in vain, by a ring that was late.
    pub fn heard(&self, signalled: bool) {
        if signalled {
            self.signal.lower();
        }
        self.word.swap(QUIET, Ordering::AcqRel);
    }

    fn lie_down(&self, how: u32) -> bool {
        debug_assert_eq!(self.silent, QUIET);
        // A test's switch: lies down whatever the word says; a ring that came after the look is overlooked.
        if cfg!(hsw_bug_deaf) {
            return self.word.swap(how, Ordering::AcqRel) != how;
        }
        self.word
            .compare_exchange(QUIET, how, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
