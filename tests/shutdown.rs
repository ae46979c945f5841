//! The end of the process while tasklets are deep in their frames: it comes at once, with its
//! status, from wherever it is asked for.

mod common;

use common::{child, deep, descend, Stacks, DEPTHS, LEVELS};
use hardswitch::{Channel, Error, MainLoop, Preference, Result, StateError};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const DEEP: usize = 20;
const STATUS: i32 = 42;

/// What a child ends with when it was not asked to.
const NOT_YET: i32 = 1;

static LEFT: AtomicUsize = AtomicUsize::new(0);

/// A frame; nobody shall leave it.
struct Frame;

impl Drop for Frame {
    fn drop(&mut self) {
        LEFT.fetch_add(1, SeqCst);
    }
}

/// Called last: nobody has left a frame.
extern "C" fn look() {
    if LEFT.load(SeqCst) != 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(NOT_YET) };
    }
}

type Case = (Stacks, bool);

/// Tasklets that go deep and wait there, each in another way; the last one does what it is told.
fn go_deep(case: Case, last: impl FnOnce() -> Result<()> + 'static) {
    deep(case.1).apply().unwrap();
    go_down(case, last);
}

/// As `go_deep`, with settings that have been applied.
fn go_down((stacks, spills): Case, last: impl FnOnce() -> Result<()> + 'static) {
    let mut last = Some(last);
    for number in (0..DEEP).rev() {
        let bottom: Box<dyn FnOnce() -> Result<()>> = match (number, number % 3) {
            (0, _) => Box::new(last.take().unwrap()),
            (_, 1) => Box::new(|| Channel::<u32>::new().receive().map(drop)),
            (_, 2) => Box::new(|| hardswitch::sleep(Duration::from_secs(1000))),
            _ => Box::new(hardswitch::schedule_remove),
        };
        let tasklet = stacks.spawn(move || descend(LEVELS, spills, || Frame, bottom));
        // Who is paused and forgotten would end at once.
        std::mem::forget(tasklet);
    }
    MainLoop::current().unwrap().tick().unwrap();
}

fn exit() -> Result<()> {
    std::process::exit(STATUS)
}

/// The child must end with the status, and say nothing.
fn ends_with_its_status(case: Case, what: impl FnOnce()) {
    let said = child(|| {
        // SAFETY: a function that may be called at the end.
        unsafe { libc::atexit(look) };
        what();
    });
    assert_eq!(said, (String::new(), -STATUS), "{case:?}");
}

fn a_deep_tasklet_may_exit_the_process() {
    for case in DEPTHS {
        ends_with_its_status(case, || {
            go_deep(case, exit);
        });
    }
}

fn a_deep_tasklet_of_another_thread_may_exit_the_process() {
    for case in DEPTHS {
        ends_with_its_status(case, || {
            let there = thread::spawn(move || go_deep(case, exit));
            let _ = there.join();
        });
    }
}

fn the_process_may_end_while_deep_tasklets_of_another_thread_wait() {
    for case in DEPTHS {
        for by_a_tasklet in [false, true] {
            ends_with_its_status(case, || {
                let (tx, rx) = mpsc::channel();
                thread::spawn(move || {
                    go_deep(case, move || {
                        tx.send(()).unwrap();
                        Channel::<u32>::new().receive().map(drop)
                    });
                    MainLoop::current().unwrap().run().unwrap();
                });
                rx.recv().unwrap();
                if by_a_tasklet {
                    go_deep(case, exit);
                }
                std::process::exit(STATUS);
            });
        }
    }
}

fn a_thread_may_exit_the_process_while_its_own_deep_tasklets_wait() {
    for case in DEPTHS {
        for by_the_first_thread in [false, true] {
            ends_with_its_status(case, || {
                let waits = move || {
                    go_deep(case, hardswitch::schedule_remove);
                    std::process::exit(STATUS);
                };
                if by_the_first_thread {
                    waits();
                }
                let _ = thread::spawn(waits).join();
            });
        }
    }
}

/// Where main waits while the process ends; null before that.
static WAITS: AtomicPtr<Channel<u32>> = AtomicPtr::new(ptr::null_mut());

/// Code that runs as the process ends: what would switch is refused.
fn try_to_switch() {
    // SAFETY: it was leaked, and this is its thread.
    let Some(waits) = (unsafe { WAITS.load(SeqCst).as_ref() }) else {
        return;
    };
    if !matches!(waits.send(1), Err(Error::State(StateError::NoThread))) {
        // SAFETY: ends the process.
        unsafe { libc::_exit(NOT_YET) };
    }
}

/// An event that nobody runs.
struct Event;

impl Drop for Event {
    fn drop(&mut self) {
        try_to_switch();
    }
}

/// A logger.
struct Logger {
    panics: bool,
}

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, _: &log::Record<'_>) {
        try_to_switch();
        if self.panics && !WAITS.load(SeqCst).is_null() {
            std::panic::resume_unwind(Box::new("a logger's panic"));
        }
    }
    fn flush(&self) {}
}

fn code_that_runs_as_the_process_ends_in_a_tasklet_switches_to_nobody() {
    for case in DEPTHS {
        for (logger, with_event) in [
            (None, true),
            (Some(&Logger { panics: false }), false),
            (Some(&Logger { panics: true }), false),
            (Some(&Logger { panics: true }), true),
        ] {
            ends_with_its_status(case, || {
                if let Some(logger) = logger {
                    log::set_logger(logger).unwrap();
                    log::set_max_level(log::LevelFilter::Trace);
                }
                deep(case.1).apply().unwrap();
                let waits: &Channel<u32> = Box::leak(Box::new(Channel::new()));
                let go = Channel::new();
                go.set_preference(Preference::Sender);
                let gone = go.clone();
                go_down(case, move || {
                    gone.receive()?;
                    if with_event {
                        let event = Event;
                        let remote = MainLoop::current()?.remote();
                        remote.post(move || drop(event)).unwrap();
                    }
                    WAITS.store(ptr::from_ref(waits).cast_mut(), SeqCst);
                    exit()
                });
                go.send(()).unwrap();
                let _ = waits.receive();
                // It has gone on in the middle of `exit`.
                // SAFETY: ends the process.
                unsafe { libc::_exit(NOT_YET) };
            });
        }
    }
}

/// One test, so that the harness starts no other while one forks: the child would find the locks
/// taken that std has for that.
#[test]
fn the_process_ends_at_once_from_wherever_it_is_asked() {
    a_deep_tasklet_may_exit_the_process();
    a_deep_tasklet_of_another_thread_may_exit_the_process();
    a_thread_may_exit_the_process_while_its_own_deep_tasklets_wait();
    the_process_may_end_while_deep_tasklets_of_another_thread_wait();
    code_that_runs_as_the_process_ends_in_a_tasklet_switches_to_nobody();
}
