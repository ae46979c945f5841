//! What Stackless Python promises its users, as promises of this runtime.
//!
//! The test suites of Stackless and of its successors are grouped here by the behaviour they
//! promise; `docs/conformance.md` says which row of those suites is covered where. Every test runs
//! on a fresh scheduler, once with own stacks and once with all tasklets in one window.

mod bind;
mod callbacks;
mod channel;
mod close;
mod deadlock;
mod drops;
mod errors;
mod foreign;
mod inspect;
mod order;
mod reentry;
mod run;
mod schedule;
mod states;
mod switch;
mod throw;
mod trap;
mod unchanged;

use hardswitch::{Builder, Channel, Error, Outcome, Settings, Tasklet};
use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

/// How a test makes its tasklets.
#[derive(Clone, Copy, Debug)]
pub enum Stacks {
    Own,
    Window,
}

impl Stacks {
    pub fn builder(self) -> Builder {
        match self {
            Stacks::Own => Tasklet::builder(),
            // SAFETY: tasklets of these tests own what they use or share it through Rc; none lends
            // its stack.
            Stacks::Window => unsafe { Tasklet::builder().sliced() },
        }
    }

    /// Neither bound nor alive.
    pub fn unbound(self) -> Tasklet {
        self.builder().build().expect("a tasklet")
    }

    /// Bound, not alive.
    pub fn bound<R: Outcome>(self, f: impl FnOnce() -> R + 'static) -> Tasklet {
        self.builder().bind(f).expect("a bound tasklet")
    }

    /// Alive, never run, in no queue.
    pub fn paused<R: Outcome>(self, f: impl FnOnce() -> R + 'static) -> Tasklet {
        let t = self.unbound();
        t.bind_paused(f).expect("a paused tasklet");
        t
    }

    /// Alive, never run, queued.
    pub fn spawn<R: Outcome>(self, f: impl FnOnce() -> R + 'static) -> Tasklet {
        self.builder().spawn(f).expect("a queued tasklet")
    }

    /// Paused in the middle of its work: it has run once and removed itself.
    pub fn started(self) -> Tasklet {
        let t = self.spawn(hardswitch::schedule_remove);
        t.run().expect("it removes itself");
        assert!(t.is_paused());
        t
    }

    /// Blocked receiving on `chan`.
    pub fn receiver(self, chan: &Channel<i64>) -> Tasklet {
        let chan = chan.clone();
        let t = self.spawn(move || chan.receive().map(drop));
        t.run().expect("it blocks");
        assert!(t.is_blocked());
        t
    }

    /// Blocked sending `value` on `chan`.
    pub fn sender(self, chan: &Channel<i64>, value: i64) -> Tasklet {
        let chan = chan.clone();
        let t = self.spawn(move || chan.send(value));
        t.run().expect("it blocks");
        assert!(t.is_blocked());
        t
    }

    /// Run to its end.
    pub fn ended(self) -> Tasklet {
        let t = self.spawn(|| ());
        t.run().expect("it ends");
        assert!(!t.is_alive());
        t
    }
}

/// Runs a test on fresh schedulers, with both kinds of stack.
pub fn fresh(test: fn(Stacks)) {
    for stacks in [Stacks::Own, Stacks::Window] {
        let thread = std::thread::Builder::new().name(format!("{stacks:?}"));
        let thread = thread.spawn(move || {
            let settings = Settings {
                windows: 1,
                ..Settings::default()
            };
            settings.apply().expect("settings of a new thread");
            test(stacks);
        });
        if let Err(panic) = thread.expect("a thread").join() {
            eprintln!("with {stacks:?}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub fn add(&self, what: impl Display) {
        self.0.borrow_mut().push(what.to_string());
    }

    /// The entries so far, separated by blanks; the log is empty afterwards.
    pub fn take(&self) -> String {
        self.0.take().join(" ")
    }
}

/// The exception of these tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Oops(pub i32);

pub fn oops(code: i32) -> Error {
    Error::thrown(Oops(code))
}

/// The code of an [`Oops`] that arrived.
pub fn code(e: &Error) -> Option<i32> {
    match e {
        Error::Thrown(thrown) => thrown.downcast_ref::<Oops>().map(|o| o.0),
        _ => None,
    }
}

/// Panics with a payload, without a message on standard error.
pub fn panic_with(payload: impl std::any::Any + Send) {
    std::panic::resume_unwind(Box::new(payload))
}

/// "ok", or the message of the error.
pub fn told<T>(r: Result<T, Error>) -> String {
    match r {
        Ok(_) => "ok".into(),
        Err(e) => match code(&e) {
            Some(code) => format!("oops {code}"),
            None => e.to_string(),
        },
    }
}

pub const DEADLOCK: &str = "Deadlock: the last runnable tasklet cannot be blocked.";
pub const RECEIVING: &str = "the main tasklet is receiving without a sender available.";
pub const SENDING: &str = "the main tasklet is sending without a receiver available.";
pub const CLOSED: &str = "Send/receive operation on a closed channel";
pub const BLOCK_TRAP: &str = "this tasklet does not like to be blocked.";
pub const SWITCH_TRAP: &str = "switch_trap";

/// Everything that can be observed about the scheduler and the given tasklets and channels, as
/// text.
pub fn observe(tasklets: &[&Tasklet], channels: &[&Channel<i64>]) -> String {
    use std::fmt::Write;
    let id = |t: Option<Tasklet>| t.map(|t| t.id());
    let mut out = String::new();
    let main = hardswitch::main_tasklet();
    let current = hardswitch::current();
    let _ = writeln!(
        out,
        "current {} count {} trap {}",
        current.id(),
        hardswitch::run_count(),
        hardswitch::switch_trap(0)
    );
    let mut ring = vec![current.id()];
    let mut at = current.next();
    while let Some(t) = at.filter(|t| *t != current) {
        ring.push(t.id());
        at = t.next();
    }
    let _ = writeln!(out, "ring {ring:?}");
    for t in tasklets.iter().copied().chain([&main]) {
        let _ = writeln!(
            out,
            "tasklet {} alive {} paused {} blocked {} scheduled {} main {} current {} block_trap {} next {:?} prev {:?}",
            t.id(),
            t.is_alive(),
            t.is_paused(),
            t.is_blocked(),
            t.is_scheduled(),
            t.is_main(),
            t.is_current(),
            t.block_trap(),
            id(t.next()),
            id(t.prev()),
        );
    }
    for c in channels {
        let mut queue = vec![];
        let mut at = c.queue();
        while let Some(t) = at {
            queue.push(t.id());
            at = t.next();
        }
        let _ = writeln!(
            out,
            "channel {} balance {} closing {} closed {} preference {:?} schedule_all {} queue {queue:?}",
            c.id(),
            c.balance(),
            c.is_closing(),
            c.is_closed(),
            c.preference(),
            c.schedule_all(),
        );
    }
    out
}

/// Asserts that a call fails with a message and changes nothing that can be observed.
#[track_caller]
pub fn refused<T>(
    what: &str,
    message: &str,
    tasklets: &[&Tasklet],
    channels: &[&Channel<i64>],
    call: impl FnOnce() -> Result<T, Error>,
) {
    let before = observe(tasklets, channels);
    assert_eq!(told(call()), message, "{what}");
    assert_eq!(
        observe(tasklets, channels),
        before,
        "{what}: refused, yet something changed"
    );
}
