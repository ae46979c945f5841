//! Errors thrown at tasklets, and killing them.

use super::*;
use hardswitch::Preference;

#[test]
fn an_error_thrown_at_a_blocked_tasklet_arrives_at_once() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || seen.add(told(chan.receive())));
        t.run().unwrap();
        t.throw(oops(3)).unwrap();
        assert_eq!(log.take(), "oops 3");
        assert!(!t.is_alive());
        assert_eq!((c.balance(), c.queue()), (0, None));
    });
}

#[test]
fn a_pending_error_arrives_when_the_tasklet_is_run() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || seen.add(told(chan.receive())));
        t.run().unwrap();
        t.throw_pending(oops(3)).unwrap();
        assert_eq!(log.take(), "");
        assert!(t.is_alive() && t.is_scheduled() && !t.is_blocked());
        assert_eq!(c.balance(), 0);
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "oops 3");
        assert!(!t.is_alive());
    });
}

#[test]
fn a_thrown_error_keeps_its_payload() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || match hardswitch::schedule_remove() {
            Err(Error::Thrown(thrown)) => seen.add(
                thrown
                    .downcast_ref::<(u8, String)>()
                    .expect("its type")
                    .1
                    .clone(),
            ),
            other => seen.add(format!("{other:?}")),
        });
        t.run().unwrap();
        t.throw(Error::thrown((1u8, "payload".to_string())))
            .unwrap();
        assert_eq!(log.take(), "payload");
    });
}

#[test]
fn an_error_the_tasklet_lets_pass_comes_back_to_the_thrower() {
    fresh(|s| {
        let t = s.started();
        assert_eq!(
            told(t.throw(oops(5))),
            "oops 5",
            "main is the one to be told"
        );
        assert!(!t.is_alive());
        let t = s.started();
        assert_eq!(told(t.throw_pending(oops(6))), "ok");
        assert_eq!(told(hardswitch::run()), "oops 6");
        assert!(!t.is_alive());
    });
}

#[test]
fn an_error_thrown_at_a_tasklet_that_never_ran_is_uncaught() {
    fresh(|s| {
        let log = Log::default();
        for paused in [false, true] {
            let make = || {
                let seen = log.clone();
                let f = move || seen.add("ran");
                if paused {
                    s.paused(f)
                } else {
                    s.spawn(f)
                }
            };
            let t = make();
            assert_eq!(told(t.throw(oops(1))), "oops 1");
            assert!(!t.is_alive());
            let t = make();
            assert_eq!(told(t.throw_pending(oops(2))), "ok");
            assert!(t.is_alive() && t.is_scheduled());
            assert_eq!(told(hardswitch::run()), "oops 2");
            assert!(!t.is_alive());
        }
        assert_eq!(log.take(), "", "none of them ran");
    });
}

#[test]
fn a_tasklet_killed_before_it_ran_never_runs() {
    fresh(|s| {
        let log = Log::default();
        for pending in [false, true] {
            for paused in [false, true] {
                let seen = log.clone();
                let f = move || seen.add("ran");
                let t = if paused { s.paused(f) } else { s.spawn(f) };
                if pending { t.kill_pending() } else { t.kill() }.unwrap();
                assert_eq!(t.is_alive(), pending);
                hardswitch::run().unwrap();
                assert!(!t.is_alive());
                assert_eq!(told(t.run()), "You cannot run an unbound(dead) tasklet");
            }
        }
        assert_eq!(log.take(), "");
    });
}

#[test]
fn throwing_at_the_dead_is_an_error_and_killing_them_is_not() {
    fresh(|s| {
        let t = s.ended();
        assert_eq!(told(t.throw(oops(1))), "You cannot throw to a dead tasklet");
        assert_eq!(
            told(t.throw_pending(oops(1))),
            "You cannot throw to a dead tasklet"
        );
        assert_eq!(told(t.throw(Error::Exit)), "ok", "an exit is a kill");
        assert_eq!(told(t.kill()), "ok");
        assert_eq!(told(t.kill_pending()), "ok");
    });
}

#[test]
fn raising_at_the_dead_raises_in_the_caller() {
    fresh(|s| {
        let t = s.ended();
        assert_eq!(told(t.raise(oops(1))), "oops 1");
        let c: Channel<i64> = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || seen.add(told(chan.receive())));
        t.run().unwrap();
        t.raise(oops(2)).unwrap();
        assert_eq!(log.take(), "oops 2", "and at the living as throw does");
    });
}

#[test]
fn what_one_throws_at_oneself_is_raised_right_there() {
    fresh(|s| {
        let me = hardswitch::current();
        let t = s.spawn(|| ());
        let before = observe(&[&t], &[]);
        assert_eq!(told(me.throw(oops(1))), "oops 1");
        assert_eq!(
            told(me.throw_pending(oops(2))),
            "oops 2",
            "a delay would make no sense"
        );
        assert_eq!(told(me.raise(oops(3))), "oops 3");
        assert!(matches!(me.kill(), Err(Error::Exit)));
        assert!(matches!(me.kill_pending(), Err(Error::Exit)));
        assert_eq!(observe(&[&t], &[]), before);
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_tasklet_can_kill_itself() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            seen.add("before");
            hardswitch::current().kill()?;
            seen.add("after");
            Ok::<_, Error>(())
        });
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
        assert_eq!(log.take(), "before");
    });
}

#[test]
fn killing_gives_the_tasklet_a_chance_to_clean_up() {
    struct Cleanup(Log);
    impl Drop for Cleanup {
        fn drop(&mut self) {
            self.0.add("cleanup");
        }
    }
    fresh(|s| {
        let log = Log::default();
        for pending in [false, true] {
            let seen = log.clone();
            let t = s.spawn(move || {
                let _cleanup = Cleanup(seen.clone());
                let r = hardswitch::schedule_remove();
                seen.add(told(r.clone()));
                r
            });
            t.run().unwrap();
            if pending {
                t.kill_pending().unwrap();
                assert_eq!(log.take(), "", "pending acts when it is run");
                assert!(t.is_alive());
                hardswitch::run().unwrap();
            } else {
                t.kill().unwrap();
            }
            assert_eq!(log.take(), "TaskletExit cleanup");
            assert!(!t.is_alive());
        }
    });
}

#[test]
fn killing_a_blocked_tasklet_restores_the_balance() {
    fresh(|s| {
        for pending in [false, true] {
            let c = Channel::new();
            let (a, b, x) = (s.sender(&c, 1), s.sender(&c, 2), s.sender(&c, 3));
            assert_eq!(c.balance(), 3);
            if pending { b.kill_pending() } else { b.kill() }.unwrap();
            assert_eq!(c.balance(), 2);
            assert_eq!(
                (a.next(), x.prev()),
                (Some(x.clone()), Some(a.clone())),
                "the queue closes up"
            );
            assert_eq!((c.receive().unwrap(), c.receive().unwrap()), (1, 3));
            hardswitch::run().unwrap();
            assert!(!b.is_alive());
            let t = s.receiver(&c);
            if pending { t.kill_pending() } else { t.kill() }.unwrap();
            assert_eq!(c.balance(), 0);
            hardswitch::run().unwrap();
            assert!(b.next().is_none() && t.next().is_none() && t.prev().is_none());
            assert_eq!(told(t.kill()), "ok", "a second time, too");
        }
    });
}

#[test]
fn a_pending_kill_replaces_a_value_that_was_not_yet_taken() {
    fresh(|s| {
        // Preferring the sender leaves the receiver queued with its value.
        for kill in [true, false] {
            let c = Channel::new();
            c.set_preference(Preference::Sender);
            let log = Log::default();
            let (chan, seen) = (c.clone(), log.clone());
            let t = s.spawn(move || seen.add(told(chan.receive())));
            t.run().unwrap();
            let value = Rc::new(());
            c.send(value.clone()).unwrap();
            if kill {
                t.kill_pending()
            } else {
                t.throw_pending(oops(1))
            }
            .unwrap();
            hardswitch::run().unwrap();
            assert_eq!(log.take(), if kill { "TaskletExit" } else { "oops 1" });
            assert_eq!(Rc::strong_count(&value), 1, "the value is lost, not leaked");
        }
    });
}

#[test]
fn a_pending_kill_of_a_sender_whose_value_was_taken_kills_only_the_sender() {
    fresh(|s| {
        let c = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || seen.add(told(chan.send(4))));
        t.run().unwrap();
        assert_eq!(c.receive().unwrap(), 4);
        t.kill_pending().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "TaskletExit");
    });
}

#[test]
fn the_last_pending_error_counts() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || seen.add(told(hardswitch::schedule_remove())));
        t.run().unwrap();
        t.throw_pending(oops(1)).unwrap();
        t.throw_pending(oops(2)).unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "oops 2");
    });
}

#[test]
fn a_tasklet_may_survive_what_was_thrown_at_it() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            seen.add(told(hardswitch::schedule_remove()));
            seen.add(told(hardswitch::schedule_remove()));
        });
        t.run().unwrap();
        t.throw(oops(1)).unwrap();
        assert!(t.is_paused());
        t.run().unwrap();
        assert_eq!(log.take(), "oops 1 ok");
        assert!(!t.is_alive());
    });
}

#[test]
fn an_exit_is_not_mistaken_for_an_ordinary_error() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || match hardswitch::schedule_remove() {
            Err(Error::Thrown(_)) => {
                seen.add("swallowed");
                Ok(())
            }
            Err(e) if e.is_exit() => {
                seen.add("exit");
                Err(e)
            }
            other => other,
        });
        t.run().unwrap();
        t.kill().unwrap();
        assert_eq!(log.take(), "exit");
    });
}

#[test]
fn an_error_thrown_at_main_comes_out_of_what_main_waits_in() {
    fresh(|s| {
        for pending in [false, true] {
            let throw = move || {
                let main = hardswitch::main_tasklet();
                if pending {
                    main.throw_pending(oops(1))
                } else {
                    main.throw(oops(1))
                }
            };
            s.spawn(throw);
            assert_eq!(told(hardswitch::run()), "oops 1");
            hardswitch::run().unwrap();
            s.spawn(throw);
            assert_eq!(told(hardswitch::schedule()), "oops 1");
            hardswitch::run().unwrap();
            let c: Channel<i64> = Channel::new();
            s.spawn(throw);
            assert_eq!(told(c.receive()), "oops 1");
            assert_eq!(c.balance(), 0);
            hardswitch::run().unwrap();
        }
        s.spawn(|| hardswitch::main_tasklet().kill());
        assert!(
            matches!(hardswitch::run(), Err(Error::Exit)),
            "main is told to exit and decides for itself"
        );
        assert!(hardswitch::main_tasklet().is_alive());
        hardswitch::run().unwrap();
    });
}
