//! A callback that panics in the middle of a switch: the logger that is told of it, and what the
//! panic carries, find switching refused. A process of its own: there is one logger.
#![cfg(feature = "std")]

use hardswitch::{
    set_channel_callback, set_schedule_callback, Channel, Error, StateError, Tasklet,
};
use log::{LevelFilter, Log, Metadata, Record};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Once;

thread_local! {
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static PANICS: Cell<bool> = const { Cell::new(false) };
    static OTHER: Channel<u32> = Channel::new();
}

/// Tries what must not be, and notes what it is told.
fn intrude(who: &str) {
    let schedule = match hardswitch::schedule() {
        Err(Error::State(StateError::RecursiveSchedule)) => "refused",
        _ => "?",
    };
    let send = match OTHER.with(Channel::clone).send(1) {
        Err(Error::State(StateError::RecursiveSchedule | StateError::RecursiveChannel)) => {
            "refused"
        }
        _ => "?",
    };
    SAID.with_borrow_mut(|said| said.push(format!("{who}: {schedule} {send}")));
}

struct Intruder;

impl Log for Intruder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        intrude(&record.args().to_string());
        if PANICS.get() {
            panic!("a logger's panic");
        }
    }
    fn flush(&self) {}
}

/// What the callbacks panic with.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        intrude("payload");
    }
}

/// A receiver waits on `channel`, and others are there for an intruder to switch to.
fn others(channel: &Channel<u32>, got: &Rc<Cell<u32>>) {
    let (channel, got, other) = (channel.clone(), got.clone(), OTHER.with(Channel::clone));
    hardswitch::spawn(move || other.receive().map(drop)).unwrap();
    hardswitch::spawn(move || {
        got.set(channel.receive()?);
        Ok(())
    })
    .unwrap();
    hardswitch::run().unwrap();
    hardswitch::spawn(|| ()).unwrap();
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&Intruder).unwrap();
        log::set_max_level(LevelFilter::Error);
    });
}

#[test]
fn nobody_switches_because_a_callback_has_panicked() {
    install();
    let fails = Rc::new(Cell::new(false));
    for logger_panics in [false, true] {
        PANICS.set(logger_panics);
        for of_channels in [false, true] {
            let (channel, got) = (Channel::new(), Rc::default());
            others(&channel, &got);
            let once = fails.clone();
            let fail = move || {
                if once.take() {
                    std::panic::resume_unwind(Box::new(Payload));
                }
            };
            if of_channels {
                set_channel_callback(Some(Rc::new(move |_, _, _, _| fail())));
            } else {
                set_schedule_callback(Some(Rc::new(move |_, _| fail())));
            }
            fails.set(true);
            channel.send(5).unwrap();
            set_channel_callback(None);
            set_schedule_callback(None);
            hardswitch::run().unwrap();
            assert_eq!(got.get(), 5, "the value that was on its way");
            OTHER.with(Channel::clone).send(2).unwrap();
            let said = SAID.take();
            assert_eq!(said.len(), 2, "{said:?}");
            assert!(said[0].starts_with("error in the "), "{said:?}");
            assert!(said[0].ends_with(": refused refused"), "{said:?}");
            assert_eq!(said[1], "payload: refused refused");
        }
    }
}

/// A callback that was replaced while it runs goes when it is done, which is in the middle of a
/// switch still.
#[test]
fn a_callback_that_replaces_itself_ends_where_nobody_may_switch() {
    let last = Payload;
    set_schedule_callback(Some(Rc::new(move |_, _| {
        let _ = &last;
        drop(set_schedule_callback(None));
    })));
    let (channel, got) = (Channel::new(), Rc::default());
    others(&channel, &got);
    hardswitch::run().unwrap();
    assert_eq!(SAID.take(), ["payload: refused refused"]);
    channel.send(5).unwrap();
    assert_eq!(got.get(), 5);
    OTHER.with(Channel::clone).send(2).unwrap();
}

/// Who drops the last handle of a tasklet that refuses to end is not to blame for what the logger
/// does.
#[test]
fn a_logger_that_panics_when_a_tasklet_is_given_up_is_nobodys_error() {
    install();
    let refuses = || {
        for _ in 0..15 {
            let _ = hardswitch::schedule_remove();
        }
    };
    for logger_panics in [false, true] {
        let stubborn = Tasklet::builder().name("stubborn").spawn(refuses).unwrap();
        hardswitch::run().unwrap();
        PANICS.set(logger_panics);
        drop(stubborn);
        let said = SAID.take();
        let told = "tasklet \"stubborn\" refused to end 10 times";
        assert!(said[0].starts_with(told), "{said:?}");
    }
    assert_eq!(hardswitch::stats().zombies, 2);
}
