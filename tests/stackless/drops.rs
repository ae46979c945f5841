//! What happens when handles, functions and values go away: destructors run once, at a time when
//! they may do anything.

use super::*;
use std::cell::Cell;

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_dropped_tasklet_that_never_ran_drops_its_function_once() {
    fresh(|s| {
        let drops = Rc::new(Cell::new(0));
        for make in [Stacks::paused as fn(Stacks, _) -> Tasklet, Stacks::bound] {
            let count = drops.clone();
            let guard = OnDrop(move || count.set(count.get() + 1));
            let t = make(s, Box::new(move || drop(guard)) as Box<dyn FnOnce()>);
            assert_eq!(drops.get(), 0);
            drop(t);
            assert_eq!(drops.replace(0), 1);
        }
    });
}

#[test]
fn a_dropped_paused_tasklet_cleans_up_once() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            let inner = seen.clone();
            let _cleanup = OnDrop(move || inner.add("cleanup"));
            let r = hardswitch::schedule_remove();
            seen.add(told(r.clone()));
            r
        });
        t.run().unwrap();
        drop(t);
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "TaskletExit cleanup");
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn a_dropped_handle_of_a_queued_or_blocked_tasklet_changes_nothing() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        drop(s.spawn(move || seen.add("ran")));
        assert_eq!(hardswitch::run_count(), 2);
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "ran");
        let c = Channel::new();
        drop(s.sender(&c, 3));
        assert_eq!(c.balance(), 1);
        assert_eq!(c.receive().unwrap(), 3);
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_function_is_dropped_when_its_tasklet_ends() {
    fresh(|s| {
        let held = Rc::new(());
        let watch = Rc::downgrade(&held);
        let t = s.spawn(move || {
            let _held = held;
            hardswitch::schedule()
        });
        hardswitch::schedule().unwrap();
        assert!(watch.upgrade().is_some());
        hardswitch::run().unwrap();
        assert!(watch.upgrade().is_none(), "though the handle lives on");
        assert!(!t.is_alive());
    });
}

#[test]
fn the_destructor_of_a_captured_value_may_use_the_scheduler() {
    fresh(|s| {
        let log = Log::default();
        let (seen, inner) = (log.clone(), log.clone());
        let guard = OnDrop(move || {
            inner.add(told(hardswitch::schedule()));
            inner.add("destroyed");
        });
        let t = s.spawn(move || {
            let _guard = guard;
            seen.add("body");
        });
        let other = log.clone();
        s.spawn(move || other.add("other"));
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "body other ok destroyed");
        assert!(!t.is_alive());
    });
}

#[test]
fn a_value_returned_through_a_switching_destructor_arrives() {
    fresh(|s| {
        let result = Rc::new(Cell::new(0));
        let to = result.clone();
        let t = s.spawn(move || {
            fn inner() -> i32 {
                let _guard = OnDrop(|| assert_eq!(told(hardswitch::schedule()), "ok"));
                4711
            }
            to.set(inner());
        });
        t.run().unwrap();
        assert_eq!(result.get(), 0, "it has given way on its way out");
        hardswitch::run().unwrap();
        assert_eq!(result.get(), 4711);
        assert!(!t.is_alive());
    });
}

#[test]
fn a_destructor_that_switches_while_a_value_is_in_flight_does_not_lose_it() {
    fresh(|s| {
        let c = Channel::new();
        let received = Rc::new(Cell::new(0));
        let (chan, to) = (c.clone(), received.clone());
        s.spawn(move || {
            to.set(chan.receive()?);
            Ok::<_, Error>(())
        });
        hardswitch::schedule().unwrap();
        assert_eq!(c.balance(), -1);
        // The last reference to this one goes away with the switch that leaves it; its destructor
        // sends, receives and schedules.
        let chan = c.clone();
        s.spawn(move || {
            let _guard = OnDrop(|| {
                let own = Channel::new();
                let other = own.clone();
                s.spawn(move || other.send(1));
                assert_eq!(own.receive().unwrap(), 1);
                assert_eq!(told(hardswitch::schedule()), "ok");
            });
            chan.send(4711)
        });
        hardswitch::run().unwrap();
        assert_eq!(received.get(), 4711);
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn a_received_value_is_claimed_before_whoever_was_left_for_good_is_destroyed() {
    // The receiver becomes current because the sender removes itself, and nobody else refers to the
    // sender: the receiver's first act is to destroy it, with a value in its own slot. What the
    // destructors do must not touch that value.
    fresh(|s| {
        for round in 0..3 {
            let c = Channel::new();
            c.set_preference(hardswitch::Preference::Neither);
            let log = Log::default();
            let (chan, seen) = (c.clone(), log.clone());
            s.spawn(move || match chan.receive() {
                Ok(v) => seen.add(v),
                Err(e) => seen.add(e),
            });
            hardswitch::schedule().unwrap();
            assert_eq!(c.balance(), -1);
            let (chan, seen) = (c.clone(), log.clone());
            drop(s.spawn(move || {
                let _guard = OnDrop(move || {
                    match round {
                        // Who gives way while it is killed is told once more.
                        0 => seen.add(told(hardswitch::schedule())),
                        1 => seen.add(told(s.spawn(|| ()).run())),
                        _ => {}
                    }
                    seen.add("destroyed");
                });
                chan.send(4711)?;
                hardswitch::schedule_remove()
            }));
            hardswitch::run().unwrap();
            let expected = [
                "TaskletExit destroyed 4711",
                "ok destroyed 4711",
                "destroyed 4711",
            ];
            assert_eq!(log.take(), expected[round], "round {round}");
            assert_eq!(
                (hardswitch::run_count(), hardswitch::stats().tasklets),
                (1, 1)
            );
        }
    });
}

#[test]
fn a_dropped_value_may_switch_while_another_is_received() {
    struct Noisy(Log, i32);
    impl Drop for Noisy {
        fn drop(&mut self) {
            self.0
                .add(format!("drop {} {}", self.1, told(hardswitch::schedule())));
        }
    }
    fresh(|s| {
        let log = Log::default();
        let c = Channel::new();
        c.set_preference(hardswitch::Preference::Sender);
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || {
            let r: Result<Noisy, Error> = chan.receive();
            seen.add(told(r.map(std::mem::forget)));
        });
        t.run().unwrap();
        // The value is on its way when an error replaces it: its destructor gives way before the
        // receiver has run.
        c.send(Noisy(log.clone(), 1)).unwrap();
        t.throw_pending(oops(2)).unwrap();
        hardswitch::run().unwrap();
        let words = log.take();
        assert!(
            words.contains("drop 1 ok") && words.contains("oops 2"),
            "{words}"
        );
        assert!(!t.is_alive());
    });
}

#[test]
fn a_tasklet_that_removes_itself_and_has_no_handles_left_is_cleaned_up() {
    fresh(|s| {
        let held = Rc::new(());
        let watch = Rc::downgrade(&held);
        drop(s.spawn(move || {
            let _held = held;
            hardswitch::schedule_remove()
        }));
        hardswitch::run().unwrap();
        hardswitch::run().unwrap();
        assert!(watch.upgrade().is_none());
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn a_tasklet_without_handles_that_removes_itself_does_not_disturb_a_blocked_main() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let log = Log::default();
        let seen = log.clone();
        drop(s.spawn(move || {
            let r = hardswitch::schedule_remove();
            seen.add(told(r.clone()));
            r
        }));
        assert_eq!(
            told(c.receive()),
            DEADLOCK,
            "the deadlock its owner let pass"
        );
        assert_eq!(log.take(), DEADLOCK);
    });
}

#[test]
fn a_channel_lives_as_long_as_somebody_is_blocked_on_it() {
    fresh(|s| {
        assert_eq!(
            told(Channel::<i64>::new().receive()),
            DEADLOCK,
            "a temporary channel loses no error"
        );
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || seen.add(told(Channel::<i64>::new().receive())));
        hardswitch::run().unwrap();
        assert!(t.is_blocked());
        assert_eq!(log.take(), "");
        t.kill().unwrap();
        assert_eq!(log.take(), "TaskletExit");
    });
}

#[test]
fn a_blocked_tasklet_keeps_its_channel_usable_through_others_handles() {
    fresh(|s| {
        let c = Channel::new();
        let other = c.clone();
        let t = s.sender(&c, 2);
        drop(c);
        assert_eq!(other.receive().unwrap(), 2);
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn switching_out_of_a_destructor_during_a_panic_is_refused() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            let c: Channel<i64> = Channel::new();
            let _guard = OnDrop(move || {
                seen.add(told(hardswitch::schedule()));
                seen.add(told(c.receive()));
                seen.add("unwound");
            });
            panic_with(Oops(1))
        });
        let bystander = s.spawn(|| ());
        assert!(matches!(hardswitch::run(), Err(Error::Panicked(_))));
        assert_eq!(log.take(), format!("{SWITCH_TRAP} {SWITCH_TRAP} unwound"));
        assert!(!t.is_alive() && bystander.is_scheduled());
        hardswitch::run().unwrap();
    });
}

#[test]
fn handles_and_functions_may_refer_to_each_other() {
    fresh(|s| {
        let slot: Rc<RefCell<Option<Tasklet>>> = Rc::default();
        let own = slot.clone();
        let t = s.spawn(move || {
            assert_eq!(own.borrow().as_ref(), Some(&hardswitch::current()));
            hardswitch::schedule()
        });
        *slot.borrow_mut() = Some(t);
        hardswitch::run().unwrap();
        assert!(slot.borrow().as_ref().is_some_and(|t| !t.is_alive()));
        assert_eq!(Rc::strong_count(&slot), 1, "the function is gone");
    });
}

#[test]
fn the_end_of_a_thread_ends_its_tasklets() {
    let log = std::sync::Arc::new(std::sync::Mutex::new(vec![]));
    struct Note(
        std::sync::Arc<std::sync::Mutex<Vec<&'static str>>>,
        &'static str,
    );
    impl Drop for Note {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(self.1);
        }
    }
    for stacks in [Stacks::Own, Stacks::Window] {
        let notes = log.clone();
        std::thread::spawn(move || {
            let (a, b, c) = (
                Note(notes.clone(), "blocked"),
                Note(notes.clone(), "queued"),
                Note(notes, "never ran"),
            );
            let chan: Channel<i64> = Channel::new();
            let inner = chan.clone();
            stacks.spawn(move || {
                let _note = a;
                inner.receive().map(drop)
            });
            stacks.spawn(move || {
                let _note = b;
                loop {
                    hardswitch::schedule()?;
                }
                #[allow(unreachable_code)]
                Ok::<_, Error>(())
            });
            hardswitch::schedule().unwrap();
            stacks.spawn(move || drop(c));
        })
        .join()
        .unwrap();
        let mut notes = std::mem::take(&mut *log.lock().unwrap());
        notes.sort();
        assert_eq!(
            notes,
            ["blocked", "never ran", "queued"],
            "each is cleaned up once"
        );
    }
}

#[test]
fn a_value_that_is_lost_at_an_end_may_bind_the_tasklet_that_ended() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let ended = s.spawn(|| ());
        let again = ended.clone();
        let value = OnDrop(move || {
            let seen = seen.clone();
            again.bind(move || seen.add("ran")).unwrap();
        });
        // Main is left behind by the tasklet's end, which costs it its value.
        let lost = Channel::new().send(value);
        assert!(matches!(lost, Err(Error::MainSending)), "{lost:?}");
        ended.setup().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "ran");
        assert!(!ended.is_alive());
    });
}
