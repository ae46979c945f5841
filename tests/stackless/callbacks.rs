//! The schedule callback, the channel callback and the error handler.

use super::*;
use hardswitch::{set_channel_callback, set_error_handler, set_schedule_callback};

/// Gives tasklets short names in a log.
#[derive(Clone, Default)]
struct Names(Rc<RefCell<Vec<(Tasklet, &'static str)>>>);

impl Names {
    fn give(&self, t: &Tasklet, name: &'static str) {
        self.0.borrow_mut().push((t.clone(), name));
    }

    fn of(&self, t: &Tasklet) -> &'static str {
        if t.is_main() {
            return "m";
        }
        self.0
            .borrow()
            .iter()
            .find(|(known, _)| known == t)
            .map_or("?", |&(_, name)| name)
    }
}

fn log_switches(log: &Log, names: &Names) {
    let (log, names) = (log.clone(), names.clone());
    set_schedule_callback(Some(Rc::new(
        move |prev: Option<&Tasklet>, next: &Tasklet| {
            log.add(format!(
                "{}>{}",
                prev.map_or("-", |t| names.of(t)),
                names.of(next)
            ));
        },
    )));
}

fn log_channels(log: &Log, names: &Names) {
    let (log, names) = (log.clone(), names.clone());
    set_channel_callback(Some(Rc::new(
        move |_: usize, t: &Tasklet, sending: bool, blocks: bool| {
            log.add(format!(
                "{}{}{}",
                names.of(t),
                if sending { '!' } else { '?' },
                if blocks { "..." } else { "" }
            ));
        },
    )));
}

#[test]
fn the_schedule_callback_sees_every_switch_and_none_that_is_not_one() {
    fresh(|s| {
        let (log, names) = (Log::default(), Names::default());
        let t = s.spawn(hardswitch::schedule);
        names.give(&t, "t");
        log_switches(&log, &names);
        assert_eq!(log.take(), "", "nothing has happened");
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "m>t t>m", "schedule alone is no switch");
        hardswitch::schedule().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "");
        let t = s.spawn(|| ());
        names.give(&t, "u");
        hardswitch::switch_trap(1);
        assert_eq!(told(hardswitch::schedule()), SWITCH_TRAP);
        hardswitch::switch_trap(-1);
        assert_eq!(log.take(), "", "nor is a refused one");
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "m>u u>m");
        set_schedule_callback(None);
    });
}

#[test]
fn inside_the_schedule_callback_the_leaving_tasklet_is_still_current() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        set_schedule_callback(Some(Rc::new(
            move |prev: Option<&Tasklet>, next: &Tasklet| {
                let current = hardswitch::current();
                seen.add(prev.is_none_or(|prev| *prev == current) && current != *next);
            },
        )));
        s.spawn(hardswitch::schedule);
        s.spawn(|| ());
        hardswitch::run().unwrap();
        set_schedule_callback(None);
        let calls = log.take();
        assert!(
            !calls.is_empty() && calls.split(' ').all(|word| word == "true"),
            "{calls}"
        );
    });
}

#[test]
fn setting_a_callback_returns_the_old_one_and_none_removes_it() {
    fresh(|s| {
        let (log, names) = (Log::default(), Names::default());
        assert!(set_schedule_callback(None).is_none());
        log_switches(&log, &names);
        let old = set_schedule_callback(None);
        assert!(old.is_some());
        s.spawn(|| ());
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "", "a removed callback sees nothing");
        assert!(set_schedule_callback(old).is_none());
        s.spawn(|| ());
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "m>? ?>m");
        set_schedule_callback(None);

        assert!(set_channel_callback(None).is_none());
        log_channels(&log, &names);
        let old = set_channel_callback(None);
        assert!(old.is_some());
        assert!(set_channel_callback(old).is_none());
        assert!(set_channel_callback(None).is_some());

        assert!(set_error_handler(None).is_none());
        set_error_handler(Some(Rc::new(|_: &Error| Ok(()))));
        assert!(set_error_handler(None).is_some());
    });
}

#[test]
fn a_replaced_callback_sees_nothing_more() {
    fresh(|s| {
        let (first, second, names) = (Log::default(), Log::default(), Names::default());
        log_switches(&first, &names);
        s.spawn(|| ());
        hardswitch::run().unwrap();
        assert_eq!(first.take(), "m>? ?>m");
        log_switches(&second, &names);
        s.spawn(|| ());
        hardswitch::run().unwrap();
        set_schedule_callback(None);
        assert_eq!(
            (first.take(), second.take()),
            (String::new(), "m>? ?>m".into())
        );
    });
}

#[test]
fn the_channel_callback_is_told_who_does_what_and_whether_it_will_block() {
    fresh(|s| {
        let (log, names) = (Log::default(), Names::default());
        log_channels(&log, &names);
        let c = Channel::new();
        let chan = c.clone();
        let t = s.spawn(move || chan.receive().map(drop));
        names.give(&t, "t");
        t.run().unwrap();
        assert_eq!(log.take(), "t?...");
        c.send(1).unwrap();
        assert_eq!(log.take(), "m!");
        let chan = c.clone();
        let t = s.spawn(move || chan.send_throw(oops(1)));
        names.give(&t, "u");
        t.run().unwrap();
        assert_eq!(log.take(), "u!...");
        assert_eq!(told(c.receive()), "oops 1");
        assert_eq!(log.take(), "m?");
        hardswitch::run().unwrap();
        set_channel_callback(None);
    });
}

#[test]
fn the_channel_callback_comes_before_every_check() {
    fresh(|_| {
        let (log, names) = (Log::default(), Names::default());
        log_channels(&log, &names);
        let c: Channel<i64> = Channel::new();
        assert_eq!(told(c.send(1)), DEADLOCK);
        c.close();
        assert_eq!(told(c.receive()), CLOSED);
        hardswitch::current().set_block_trap(true);
        assert_eq!(told(c.send(1)), BLOCK_TRAP);
        assert_eq!(log.take(), "m!... m?... m!...");
        assert!(c.next().is_none());
        assert_eq!(log.take(), "", "an iteration that has ended makes no call");
        set_channel_callback(None);
    });
}

#[test]
fn the_channel_callback_is_told_which_channel() {
    fresh(|_| {
        let log = Log::default();
        let seen = log.clone();
        set_channel_callback(Some(Rc::new(
            move |c: usize, _: &Tasklet, _: bool, _: bool| {
                seen.0.borrow_mut().push(format!("{c:?}"));
            },
        )));
        let (a, b): (Channel<i64>, Channel<i64>) = (Channel::new(), Channel::new());
        let _ = (a.send(1), b.send(1), a.receive());
        set_channel_callback(None);
        let ids = log.take();
        let ids: Vec<_> = ids.split(' ').collect();
        assert_eq!(ids.len(), 3);
        assert!(ids[0] == ids[2] && ids[0] != ids[1]);
    });
}

#[test]
fn channel_calls_out_of_the_channel_callback_are_refused() {
    fresh(|s| {
        let log = Log::default();
        let inner: Channel<i64> = Channel::new();
        let (seen, chan) = (log.clone(), inner.clone());
        set_channel_callback(Some(Rc::new(
            move |_: usize, _: &Tasklet, _: bool, _: bool| {
                seen.add(told(chan.send(1)));
                seen.add(told(chan.receive()));
            },
        )));
        let c = Channel::new();
        let t = s.receiver(&c);
        const RECURSIVE: &str = "Recursive channel call due to callbacks!";
        assert_eq!(log.take(), format!("{RECURSIVE} {RECURSIVE}"));
        c.send(1).unwrap();
        set_channel_callback(None);
        assert!(!t.is_alive(), "the outer call is not disturbed");
        assert_eq!(inner.balance(), 0);
    });
}

#[test]
fn switching_out_of_the_schedule_callback_is_refused() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let bystander = s.paused(|| ());
        let target = bystander.clone();
        set_schedule_callback(Some(Rc::new(move |_: Option<&Tasklet>, _: &Tasklet| {
            seen.add(told(hardswitch::schedule()));
            seen.add(told(target.run()));
        })));
        let t = s.spawn(|| ());
        hardswitch::run().unwrap();
        set_schedule_callback(None);
        let calls = log.take();
        assert!(
            calls.starts_with("Recursive scheduler call due to callbacks!"),
            "{calls}"
        );
        assert!(!calls.contains("ok"), "{calls}");
        assert!(!t.is_alive() && bystander.is_paused());
    });
}

#[test]
fn a_callback_that_panics_is_reported_and_harms_nobody() {
    fresh(|s| {
        set_schedule_callback(Some(Rc::new(|_: Option<&Tasklet>, _: &Tasklet| {
            panic_with("schedule")
        })));
        let t = s.spawn(hardswitch::schedule);
        let _ = std::panic::catch_unwind(hardswitch::run);
        set_schedule_callback(None);
        let _ = hardswitch::run();
        assert!(!t.is_alive());

        set_channel_callback(Some(Rc::new(|_: usize, _: &Tasklet, _: bool, _: bool| {
            panic_with("channel")
        })));
        let c = Channel::new();
        let chan = c.clone();
        let t = s.spawn(move || chan.receive().map(|_: i64| ()));
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| t.run()));
        set_channel_callback(None);
        let _ = hardswitch::run();
        if t.is_blocked() {
            c.send(1).unwrap();
        }
        assert!(!t.is_alive());
        assert_eq!((hardswitch::run_count(), c.balance()), (1, 0));
    });
}

#[test]
fn a_handled_error_goes_nowhere_else() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        set_error_handler(Some(Rc::new(move |e: &Error| {
            seen.add(told(Err::<(), _>(e.clone())));
            Ok(())
        })));
        let raising = s.spawn(|| Err::<(), _>(oops(1)));
        let rest = s.spawn(|| ());
        hardswitch::run().unwrap();
        set_error_handler(None);
        assert_eq!(log.take(), "oops 1");
        assert!(!raising.is_alive() && !rest.is_alive(), "the others ran on");
    });
}

#[test]
fn the_error_of_a_failing_handler_comes_out_of_run() {
    fresh(|s| {
        set_error_handler(Some(Rc::new(|_: &Error| Err(oops(99)))));
        s.spawn(|| Err::<(), _>(oops(1)));
        assert_eq!(told(hardswitch::run()), "oops 99");
        set_error_handler(None);
        hardswitch::run().unwrap();
    });
}

#[test]
fn the_handler_runs_in_the_dying_tasklet() {
    fresh(|s| {
        let log = Log::default();
        let dying: Rc<RefCell<Option<Tasklet>>> = Rc::default();
        let (seen, expected) = (log.clone(), dying.clone());
        set_error_handler(Some(Rc::new(move |_: &Error| {
            seen.add(expected.borrow().as_ref() == Some(&hardswitch::current()));
            Ok(())
        })));
        *dying.borrow_mut() = Some(s.spawn(|| Err::<(), _>(oops(1))));
        hardswitch::run().unwrap();
        set_error_handler(None);
        assert_eq!(log.take(), "true");
        dying.take();
    });
}

#[test]
fn the_handler_gets_errors_thrown_at_tasklets_that_never_ran() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        set_error_handler(Some(Rc::new(move |e: &Error| {
            seen.add(told(Err::<(), _>(e.clone())));
            Ok(())
        })));
        let t = s.spawn(|| ());
        assert_eq!(
            told(t.throw(oops(1))),
            "ok",
            "handled, so the thrower is not told"
        );
        assert_eq!(log.take(), "oops 1");
        let t = s.spawn(|| ());
        t.throw_pending(oops(2)).unwrap();
        assert_eq!(log.take(), "", "a pending one comes later");
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "oops 2");
        assert!(!t.is_alive());
        set_error_handler(None);
    });
}

#[test]
fn the_handler_is_not_asked_about_exits() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        set_error_handler(Some(Rc::new(move |_: &Error| {
            seen.add("asked");
            Ok(())
        })));
        let t = s.started();
        t.kill().unwrap();
        s.spawn(|| Err::<(), _>(Error::Exit));
        hardswitch::run().unwrap();
        set_error_handler(None);
        assert_eq!(log.take(), "");
    });
}

#[test]
fn the_handler_is_told_about_panics() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        set_error_handler(Some(Rc::new(move |e: &Error| {
            seen.add(matches!(e, Error::Panicked(p) if p.downcast_ref::<Oops>() == Some(&Oops(5))));
            Ok(())
        })));
        s.spawn(|| panic_with(Oops(5)));
        hardswitch::run().unwrap();
        set_error_handler(None);
        assert_eq!(log.take(), "true");
    });
}
