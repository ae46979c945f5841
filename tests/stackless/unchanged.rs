//! A call in the wrong state gives its documented error and changes nothing that can be observed.

use super::*;

/// One tasklet in each state a call can find it in.
struct Cast {
    chan: Channel<i64>,
    unbound: Tasklet,
    bound: Tasklet,
    paused: Tasklet,
    started: Tasklet,
    queued: Tasklet,
    receiving: Tasklet,
    ended: Tasklet,
}

impl Cast {
    fn new(s: Stacks) -> Cast {
        let chan = Channel::new();
        Cast {
            unbound: s.unbound(),
            bound: s.bound(|| ()),
            paused: s.paused(|| ()),
            started: s.started(),
            receiving: s.receiver(&chan),
            ended: s.ended(),
            queued: s.spawn(|| ()),
            chan,
        }
    }

    fn all(&self) -> [&Tasklet; 7] {
        [
            &self.unbound,
            &self.bound,
            &self.paused,
            &self.started,
            &self.queued,
            &self.receiving,
            &self.ended,
        ]
    }

    #[track_caller]
    fn refused<T>(&self, what: &str, message: &str, call: impl FnOnce() -> Result<T, Error>) {
        refused(what, message, &self.all(), &[&self.chan], call);
    }

    fn finish(self) {
        for t in self.all() {
            t.kill().expect("kill of anything works");
        }
        assert_eq!(hardswitch::run_count(), 1);
    }
}

#[test]
fn setup_needs_a_bound_tasklet_that_is_not_alive() {
    fresh(|s| {
        let cast = Cast::new(s);
        for (state, t) in [
            ("paused", &cast.paused),
            ("started", &cast.started),
            ("queued", &cast.queued),
            ("blocked", &cast.receiving),
        ] {
            cast.refused(state, "tasklet is alive", || t.setup());
        }
        cast.refused("main", "tasklet is alive", || {
            hardswitch::main_tasklet().setup()
        });
        for (state, t) in [("unbound", &cast.unbound), ("ended", &cast.ended)] {
            cast.refused(state, "the tasklet was not bound to a function", || {
                t.setup()
            });
        }
        cast.finish();
    });
}

#[test]
fn insert_run_and_switch_refuse_who_cannot_run() {
    fresh(|s| {
        let cast = Cast::new(s);
        for (name, call) in [
            (
                "insert",
                Tasklet::insert as fn(&Tasklet) -> Result<(), Error>,
            ),
            ("run", Tasklet::run),
            ("switch", Tasklet::switch),
        ] {
            cast.refused(name, "You cannot run a blocked tasklet", || {
                call(&cast.receiving)
            });
            for t in [&cast.unbound, &cast.bound, &cast.ended] {
                cast.refused(name, "You cannot run an unbound(dead) tasklet", || call(t));
            }
        }
        cast.finish();
    });
}

#[test]
fn remove_refuses_the_blocked_and_the_running() {
    fresh(|s| {
        let cast = Cast::new(s);
        cast.refused("blocked", "You cannot remove a blocked tasklet.", || {
            cast.receiving.remove()
        });
        cast.refused("current", "The current tasklet cannot be removed.", || {
            hardswitch::current().remove()
        });
        cast.finish();
    });
}

#[test]
fn bind_and_unbind_refuse_whoever_is_in_use() {
    fresh(|s| {
        let cast = Cast::new(s);
        for (name, call) in [
            (
                "bind",
                (|t| t.bind(|| ())) as fn(&Tasklet) -> Result<(), Error>,
            ),
            ("bind_paused", |t| t.bind_paused(|| ())),
            ("unbind", |t| t.unbind()),
        ] {
            cast.refused(name, "can't (re)bind the current tasklet", || {
                call(&hardswitch::current())
            });
            cast.refused(name, "tasklet is scheduled", || call(&cast.queued));
            cast.refused(name, "tasklet is scheduled", || call(&cast.receiving));
            cast.refused(name, "tasklet has C state on its stack", || {
                call(&cast.started)
            });
        }
        cast.finish();
    });
}

#[test]
fn throw_refuses_whoever_is_not_alive() {
    fresh(|s| {
        let cast = Cast::new(s);
        for t in [&cast.unbound, &cast.bound, &cast.ended] {
            cast.refused("immediate", "You cannot throw to a dead tasklet", || {
                t.throw(oops(1))
            });
            cast.refused("pending", "You cannot throw to a dead tasklet", || {
                t.throw_pending(oops(1))
            });
        }
        cast.finish();
    });
}

#[test]
fn kill_of_whoever_is_not_alive_is_silent_and_changes_nothing() {
    fresh(|s| {
        let cast = Cast::new(s);
        for t in [&cast.unbound, &cast.bound, &cast.ended] {
            cast.refused("immediate", "ok", || t.kill());
            cast.refused("pending", "ok", || t.kill_pending());
        }
        cast.bound.setup().expect("still bound");
        hardswitch::run().unwrap();
        cast.finish();
    });
}

#[test]
fn a_closed_channel_refuses_and_stays_as_it_is() {
    fresh(|s| {
        let cast = Cast::new(s);
        let c: Channel<i64> = Channel::new();
        c.close();
        let all = cast.all();
        refused("send", CLOSED, &all, &[&c], || c.send(1));
        refused("receive", CLOSED, &all, &[&c], || c.receive());
        refused("send_throw", CLOSED, &all, &[&c], || c.send_throw(oops(1)));
        refused("send_sequence", CLOSED, &all, &[&c], || {
            c.send_sequence(0..3)
        });
        let before = observe(&all, &[&c]);
        assert!(c.next().is_none());
        assert_eq!(
            observe(&all, &[&c]),
            before,
            "iteration over a closed channel"
        );
        cast.finish();
    });
}

#[test]
fn a_block_trapped_tasklet_is_refused_and_the_balance_stays() {
    fresh(|s| {
        let cast = Cast::new(s);
        let c: Channel<i64> = Channel::new();
        let all = cast.all();
        hardswitch::current().set_block_trap(true);
        refused("send", BLOCK_TRAP, &all, &[&c], || c.send(1));
        refused("receive", BLOCK_TRAP, &all, &[&c], || c.receive());
        refused("send_throw", BLOCK_TRAP, &all, &[&c], || {
            c.send_throw(oops(1))
        });
        refused("send_sequence", BLOCK_TRAP, &all, &[&c], || {
            c.send_sequence(0..3)
        });
        refused("next", BLOCK_TRAP, &all, &[&c], || {
            c.next().expect("the channel is open")
        });
        c.close();
        refused("send", BLOCK_TRAP, &all, &[&c], || c.send(1));
        hardswitch::current().set_block_trap(false);
        cast.finish();
    });
}

#[test]
fn whoever_cannot_be_blocked_is_refused_and_nothing_changes() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let t = s.unbound();
        refused("receive", DEADLOCK, &[&t], &[&c], || c.receive());
        refused("send", DEADLOCK, &[&t], &[&c], || c.send(1));
        refused("send_throw", DEADLOCK, &[&t], &[&c], || {
            c.send_throw(oops(1))
        });
        refused("send_sequence", DEADLOCK, &[&t], &[&c], || {
            c.send_sequence(0..3)
        });
        refused("next", DEADLOCK, &[&t], &[&c], || {
            c.next().expect("the channel is open")
        });
    });
}

#[test]
fn the_last_runnable_tasklet_is_refused_while_main_is_blocked() {
    fresh(|s| {
        let held: Channel<i64> = Channel::new();
        let chan = held.clone();
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            let c: Channel<i64> = Channel::new();
            let me = hardswitch::current();
            refused("receive", DEADLOCK, &[&me], &[&c, &chan], || c.receive());
            refused("send", DEADLOCK, &[&me], &[&c, &chan], || c.send(1));
            refused(
                "schedule_remove",
                DEADLOCK,
                &[&me],
                &[&c, &chan],
                hardswitch::schedule_remove,
            );
            seen.add("refused");
            chan.send(7)
        });
        assert_eq!(held.receive().unwrap(), 7);
        assert_eq!(log.take(), "refused");
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}
