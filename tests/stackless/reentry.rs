//! Callbacks, handlers and destructors that call back into the scheduler at the worst moment.

use super::*;
use hardswitch::{set_channel_callback, set_error_handler, set_schedule_callback, Value};
use std::cell::Cell;

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn the_channel_callback_can_see_the_value_in_the_senders_slot() {
    fresh(|s| {
        let log = Log::default();
        let c = Channel::new();
        let t = s.receiver(&c);
        let seen = log.clone();
        set_channel_callback(Some(Rc::new(
            move |_: usize, t: &Tasklet, sending: bool, _: bool| {
                assert!(sending);
                let value = t.take_tempval().downcast::<i64>().expect("an i64");
                seen.add(value);
                t.set_tempval(Value::new(value));
            },
        )));
        c.send(42).unwrap();
        set_channel_callback(None);
        assert_eq!(log.take(), "42");
        assert!(!t.is_alive());
    });
}

#[test]
fn a_value_on_its_way_survives_a_channel_callback_that_gives_way() {
    fresh(|s| {
        let log = Log::default();
        let c = Channel::new();
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || match chan.receive() {
            Ok(v) => seen.add(v),
            Err(e) => seen.add(e),
        });
        t.run().unwrap();
        s.spawn(|| ());
        set_channel_callback(Some(Rc::new(|_: usize, _: &Tasklet, _: bool, _: bool| {
            hardswitch::schedule().unwrap();
        })));
        let sent = told(c.send(42));
        set_channel_callback(None);
        hardswitch::run().unwrap();
        assert_eq!((sent.as_str(), log.take().as_str()), ("ok", "42"));
    });
}

#[test]
fn a_channel_callback_that_gives_way_disturbs_no_other_exchange() {
    fresh(|s| {
        let (used, other) = (Channel::new(), Channel::new());
        let log = Log::default();
        let (chan, seen) = (other.clone(), log.clone());
        s.spawn(move || seen.add(told(chan.send(2))));
        let once = Cell::new(true);
        set_channel_callback(Some(Rc::new(
            move |_: usize, _: &Tasklet, _: bool, _: bool| {
                if once.replace(false) {
                    let _ = hardswitch::schedule();
                }
            },
        )));
        let r = s.spawn({
            let (chan, seen) = (used.clone(), log.clone());
            move || {
                let r: Result<i64, Error> = chan.receive();
                seen.add(told(r));
            }
        });
        let sent = told(used.send(1));
        set_channel_callback(None);
        while hardswitch::run_count() > 1 {
            hardswitch::run().unwrap();
        }
        for t in [used.queue(), other.queue()].into_iter().flatten() {
            t.kill().unwrap();
        }
        assert_eq!(
            (used.balance(), other.balance()),
            (0, 0),
            "{sent}: {}",
            log.take()
        );
        assert!(!r.is_alive());
    });
}

#[test]
fn a_schedule_callback_may_queue_remove_spawn_and_kill_later() {
    fresh(|s| {
        let log = Log::default();
        let (paused, queued, doomed) = (s.started(), s.spawn(|| ()), s.started());
        let spawned: Rc<RefCell<Vec<Tasklet>>> = Rc::default();
        let (p, q, d, list, seen) = (
            paused.clone(),
            queued.clone(),
            doomed.clone(),
            spawned.clone(),
            log.clone(),
        );
        let calls = Cell::new(0);
        let driver = s.spawn(|| (0..3).try_for_each(|_| hardswitch::schedule()));
        set_schedule_callback(Some(Rc::new(move |_: Option<&Tasklet>, _: &Tasklet| {
            calls.set(calls.get() + 1);
            match calls.get() {
                1 => seen.add(format!("insert {}", told(p.insert()))),
                2 => seen.add(format!(
                    "remove {}",
                    told(if q.is_scheduled() && !q.is_current() {
                        q.remove()
                    } else {
                        Ok(())
                    })
                )),
                3 => seen.add(format!("kill {}", told(d.kill_pending()))),
                4 => {
                    let seen = seen.clone();
                    list.borrow_mut()
                        .push(s.spawn(move || seen.add("spawned ran")));
                }
                _ => {}
            }
        })));
        hardswitch::run().unwrap();
        set_schedule_callback(None);
        hardswitch::run().unwrap();
        let words = log.take();
        for word in ["insert ok", "remove ok", "kill ok", "spawned ran"] {
            assert!(words.contains(word), "{words}");
        }
        assert!(!paused.is_alive() && !doomed.is_alive() && !driver.is_alive());
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn a_schedule_callback_may_remove_or_put_back_the_very_tasklet_that_is_about_to_run() {
    fresh(|s| {
        // Whatever the answer is, the scheduler stays whole.
        for what in 0..3 {
            let answer = Log::default();
            let seen = answer.clone();
            set_schedule_callback(Some(Rc::new(move |_: Option<&Tasklet>, next: &Tasklet| {
                if !next.is_main() {
                    seen.add(match what {
                        0 => told(next.remove()),
                        1 => told(next.insert()),
                        _ => told(next.kill_pending()),
                    });
                }
            })));
            let log = Log::default();
            let seen = log.clone();
            let t = s.spawn(move || seen.add("ran"));
            let u = s.spawn(|| ());
            let _ = hardswitch::run();
            set_schedule_callback(None);
            let _ = t.insert();
            let _ = u.insert();
            hardswitch::run().unwrap();
            assert!(!t.is_alive() && !u.is_alive(), "{what}: {}", answer.take());
            assert_eq!(hardswitch::run_count(), 1);
        }
    });
}

#[test]
fn a_callback_may_replace_itself() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        set_schedule_callback(Some(Rc::new(move |_: Option<&Tasklet>, _: &Tasklet| {
            seen.add("first");
            let seen = seen.clone();
            set_schedule_callback(Some(Rc::new(move |_: Option<&Tasklet>, _: &Tasklet| {
                seen.add("second");
                set_schedule_callback(None);
            })));
        })));
        s.spawn(|| ());
        hardswitch::run().unwrap();
        s.spawn(|| ());
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "first second");
    });
}

#[test]
fn a_handle_dropped_in_a_callback_is_cleaned_up_when_switching_is_possible() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let abandoned = s.spawn(move || {
            let r = hardswitch::schedule_remove();
            seen.add(told(r.clone()));
            r
        });
        abandoned.run().unwrap();
        let held = RefCell::new(Some(abandoned));
        set_schedule_callback(Some(Rc::new(move |_: Option<&Tasklet>, _: &Tasklet| {
            drop(held.take())
        })));
        s.spawn(|| ());
        hardswitch::run().unwrap();
        set_schedule_callback(None);
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "TaskletExit");
        assert_eq!(hardswitch::stats().tasklets, 1);
    });
}

#[test]
fn a_handle_dropped_under_the_switch_trap_is_cleaned_up_when_the_trap_is_gone() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let abandoned = s.spawn(move || {
            let r = hardswitch::schedule_remove();
            seen.add(told(r.clone()));
            r
        });
        abandoned.run().unwrap();
        hardswitch::switch_trap(1);
        drop(abandoned);
        assert_eq!(log.take(), "");
        hardswitch::switch_trap(-1);
        s.spawn(|| ());
        hardswitch::run().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "TaskletExit");
        assert_eq!(
            (hardswitch::stats().tasklets, hardswitch::stats().zombies),
            (1, 0)
        );
    });
}

#[test]
fn an_error_handler_may_switch_and_use_channels() {
    fresh(|s| {
        let log = Log::default();
        let c: Channel<i64> = Channel::new();
        let (chan, seen) = (c.clone(), log.clone());
        set_error_handler(Some(Rc::new(move |e: &Error| {
            seen.add(told(Err::<(), _>(e.clone())));
            hardswitch::schedule()?;
            seen.add("handler goes on");
            chan.send(i64::from(code(e).unwrap_or(-1)))
        })));
        s.spawn(|| Err::<(), _>(oops(3)));
        let seen = log.clone();
        s.spawn(move || seen.add("other"));
        assert_eq!(c.receive().unwrap(), 3);
        hardswitch::run().unwrap();
        set_error_handler(None);
        assert_eq!(log.take(), "oops 3 other handler goes on");
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn an_error_handler_that_panics_fails_like_one_that_returns_an_error() {
    fresh(|s| {
        set_error_handler(Some(Rc::new(|_: &Error| {
            panic_with(Oops(8));
            Ok(())
        })));
        s.spawn(|| Err::<(), _>(oops(1)));
        match hardswitch::run() {
            Err(Error::Panicked(p)) => assert_eq!(p.downcast_ref::<Oops>(), Some(&Oops(8))),
            other => panic!("expected the handler's panic, got {other:?}"),
        }
        set_error_handler(None);
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_handler_that_raises_errors_itself_ends() {
    fresh(|s| {
        let calls = Rc::new(Cell::new(0));
        let count = calls.clone();
        set_error_handler(Some(Rc::new(move |_: &Error| {
            count.set(count.get() + 1);
            if count.get() < 5 {
                // Each of these dies of its own error and comes back here.
                s.spawn(|| Err::<(), _>(oops(2))).run()?;
            }
            Ok(())
        })));
        s.spawn(|| Err::<(), _>(oops(1)));
        hardswitch::run().unwrap();
        set_error_handler(None);
        assert_eq!(calls.get(), 5);
        assert_eq!(hardswitch::run_count(), 1);
    });
}

/// A payload whose destructor gives way.
struct Slow(std::sync::Arc<std::sync::atomic::AtomicU32>);

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = hardswitch::schedule();
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn the_payload_of_an_error_that_nobody_takes_may_switch_when_it_is_dropped() {
    fresh(|s| {
        let drops = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let error = || Error::thrown(Slow(drops.clone()));
        // Overwritten while pending; thrown at nobody; sent to nobody; uncaught; refused.
        let t = s.started();
        t.throw_pending(error()).unwrap();
        t.throw_pending(error()).unwrap();
        t.kill_pending().unwrap();
        hardswitch::run().unwrap();
        assert!(s.ended().throw(error()).is_err());
        let c: Channel<i64> = Channel::new();
        let (chan, e) = (c.clone(), error());
        let sender = s.spawn(move || chan.send_throw(e));
        let _ = hardswitch::run();
        sender.kill().unwrap();
        let e = error();
        s.spawn(move || Err::<(), _>(e));
        assert!(hardswitch::run().is_err());
        assert!(c.send_throw(error()).is_err());
        hardswitch::run().unwrap();
        assert_eq!(
            drops.load(std::sync::atomic::Ordering::Relaxed),
            6,
            "each once"
        );
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn a_value_lost_to_a_deadlock_may_use_channels_when_it_is_dropped() {
    fresh(|s| {
        let log = Log::default();
        let c = Channel::new();
        let (inner, noted) = (s, log.clone());
        let value = OnDrop(move || {
            let own = Channel::new();
            let chan = own.clone();
            inner.spawn(move || chan.send(5i64));
            noted.add(format!("dropped {:?}", own.receive().ok()));
        });
        let (chan, seen) = (c.clone(), log.clone());
        s.spawn(move || {
            seen.add(told(Channel::<i64>::new().receive()));
            let r = chan.receive();
            seen.add(match r {
                Err(Error::ValueLost) => "lost",
                Ok(_) => "value",
                Err(_) => "error",
            });
        });
        assert_eq!(told(c.send(value)), "ok");
        hardswitch::run().unwrap();
        let words = log.take();
        assert!(
            words.contains("dropped Some(5)")
                && words.contains(DEADLOCK)
                && words.ends_with("lost"),
            "{words}"
        );
        assert_eq!(words.matches("dropped").count(), 1);
        assert_eq!((hardswitch::run_count(), c.balance()), (1, 0));
    });
}

#[test]
fn a_destructor_may_kill_the_tasklet_that_waits_for_it() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let waiting = s.spawn(move || seen.add(told(hardswitch::schedule_remove())));
        waiting.run().unwrap();
        let target = waiting.clone();
        let t = s.spawn(move || {
            let _guard = OnDrop(move || assert_eq!(told(target.kill()), "ok"));
            hardswitch::schedule_remove()
        });
        t.run().unwrap();
        drop(t);
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "TaskletExit");
        assert!(!waiting.is_alive());
    });
}

#[test]
fn dropping_the_last_handles_of_many_tasklets_that_hold_each_other_ends_them_all() {
    fresh(|s| {
        let ended = Rc::new(Cell::new(0));
        let mut next: Option<Tasklet> = None;
        for _ in 0..200 {
            let (held, count) = (next.take(), ended.clone());
            let t = s.spawn(move || {
                let _held = held;
                let r = hardswitch::schedule_remove();
                count.set(count.get() + 1);
                r
            });
            t.run().unwrap();
            next = Some(t);
        }
        assert_eq!(hardswitch::stats().tasklets, 201);
        drop(next);
        hardswitch::run().unwrap();
        assert_eq!(
            ended.get(),
            200,
            "a chain of 200, each the last owner of the next"
        );
        assert_eq!(hardswitch::stats().tasklets, 1);
    });
}

#[test]
fn blocked_tasklets_whose_channel_nobody_else_holds_stay_and_can_be_found() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        for _ in 0..3 {
            drop(s.receiver(&c));
        }
        drop(c);
        let blocked: Vec<_> = hardswitch::tasklets()
            .into_iter()
            .filter(Tasklet::is_blocked)
            .collect();
        assert_eq!(blocked.len(), 3);
        blocked.iter().for_each(|t| t.kill().unwrap());
        drop(blocked);
        assert_eq!(
            (hardswitch::stats().tasklets, hardswitch::stats().channels),
            (1, 0)
        );
    });
}

/// A function that does nothing, and owns something whose destructor calls `last`.
fn owning(last: impl FnMut() + 'static) -> impl FnOnce() {
    let owned = OnDrop(last);
    move || drop(owned)
}

#[test]
fn what_is_unbound_may_be_bound_again_by_what_it_owned() {
    fresh(|s| {
        let log = Log::default();
        let t = Tasklet::new().unwrap();
        let (again, seen) = (t.clone(), log.clone());
        t.bind(owning(move || {
            let seen = seen.clone();
            again.bind(move || seen.add("bound again")).unwrap();
        }))
        .unwrap();
        t.unbind().unwrap();
        // Takes a stack: that of the first function is free, that of the second is not.
        s.spawn(hardswitch::schedule_remove).run().unwrap();
        t.setup().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "bound again");
    });
}

#[test]
fn a_value_in_the_slot_may_queue_the_tasklet_that_is_unbound() {
    fresh(|s| {
        let log = Log::default();
        let t = Tasklet::new().unwrap();
        let (again, seen) = (t.clone(), log.clone());
        drop(t.set_tempval(Value::new(OnDrop(move || {
            let seen = seen.clone();
            again.bind(move || seen.add("queued")).unwrap();
            again.setup().unwrap();
        }))));
        t.unbind().unwrap();
        assert!(t.is_alive() && t.is_scheduled());
        s.spawn(hardswitch::schedule_remove).run().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "queued");
    });
}

#[test]
fn a_function_that_is_replaced_may_run_the_new_one() {
    fresh(|_| {
        let log = Log::default();
        let t = Tasklet::new().unwrap();
        let (it, seen) = (t.clone(), log.clone());
        t.bind(owning(move || {
            seen.add(format!("{it:?}").ends_with("paused)"));
            it.run().unwrap();
        }))
        .unwrap();
        let seen = log.clone();
        t.bind_paused(move || seen.add("ran")).unwrap();
        assert_eq!(log.take(), "true ran");
        assert!(!t.is_alive() && !t.is_scheduled(), "{t:?}");
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_forgotten_function_finds_no_handle_of_its_tasklet() {
    fresh(|_| {
        let found = Rc::new(RefCell::new(vec![]));
        let t = Tasklet::new().unwrap();
        let kept = found.clone();
        t.bind(owning(move || {
            kept.borrow_mut().extend(hardswitch::tasklets())
        }))
        .unwrap();
        drop(t);
        // In the place of the forgotten one.
        let other = Tasklet::new().unwrap();
        assert_eq!(found.borrow().len(), 1, "main alone");
        found.borrow_mut().clear();
        other.bind(|| ()).unwrap();
        assert_eq!(hardswitch::stats().tasklets, 2);
    });
}
