//! The switch trap: nobody leaves the running tasklet while it is set, and a refused call changes
//! nothing.

use super::*;
use hardswitch::{switch_trap, Preference};

/// A call refused under the trap works as soon as the trap is gone.
#[track_caller]
fn trapped<T>(
    what: &str,
    tasklets: &[&Tasklet],
    channels: &[&Channel<i64>],
    call: impl Fn() -> Result<T, Error>,
) {
    assert_eq!(switch_trap(1), 0, "the old level is returned");
    refused(what, SWITCH_TRAP, tasklets, channels, &call);
    assert_eq!(switch_trap(-1), 1);
    assert_eq!(told(call()), "ok", "{what} without the trap");
}

#[test]
fn schedule_is_refused() {
    fresh(|s| {
        let t = s.spawn(|| ());
        trapped("schedule", &[&t], &[], hardswitch::schedule);
        assert!(!t.is_alive());
    });
}

#[test]
fn schedule_remove_is_refused() {
    fresh(|s| {
        let t = s.spawn(|| ());
        trapped("schedule_remove", &[&t], &[], hardswitch::schedule_remove);
        assert!(!t.is_alive());
    });
}

#[test]
fn run_is_refused() {
    fresh(|s| {
        let t = s.spawn(|| ());
        trapped("run", &[&t], &[], hardswitch::run);
        assert!(!t.is_alive());
    });
}

#[test]
fn run_and_switch_of_a_queued_tasklet_are_refused() {
    fresh(|s| {
        let (t, u) = (s.spawn(|| ()), s.spawn(|| ()));
        trapped("run", &[&t, &u], &[], || u.run());
        assert!(!u.is_alive());
        trapped("switch", &[&t, &u], &[], || t.switch());
        assert!(!t.is_alive());
    });
}

#[test]
fn run_and_switch_of_a_paused_tasklet_are_refused_and_it_stays_paused() {
    fresh(|s| {
        let (t, u) = (s.paused(|| ()), s.started());
        trapped("run", &[&t, &u], &[], || t.run());
        assert!(!t.is_alive());
        trapped("switch", &[&t, &u], &[], || u.switch());
        assert!(!u.is_alive());
    });
}

#[test]
fn a_blocking_send_or_receive_is_refused() {
    fresh(|s| {
        let c = Channel::new();
        let chan = c.clone();
        let t = s.spawn(move || chan.receive().map(drop));
        trapped("send", &[&t], &[&c], || c.send(1));
        let chan = c.clone();
        let t = s.spawn(move || {
            chan.receive()
                .map_or_else(|e| assert_eq!(code(&e), Some(2)), drop)
        });
        trapped("send_throw", &[&t], &[&c], || c.send_throw(oops(2)));
        let chan = c.clone();
        let t = s.spawn(move || chan.send(3));
        trapped("receive", &[&t], &[&c], || c.receive());
        hardswitch::run().unwrap();
        assert_eq!(c.balance(), 0);
    });
}

#[test]
fn a_rendezvous_that_would_switch_is_refused_and_the_partner_keeps_its_place_and_value() {
    fresh(|s| {
        let c = Channel::new();
        let (r1, r2) = (s.receiver(&c), s.receiver(&c));
        trapped("send to the preferred receiver", &[&r1, &r2], &[&c], || {
            c.send(1)
        });
        assert!(!r1.is_alive() && r2.is_blocked());
        r2.kill().unwrap();

        c.set_preference(Preference::Sender);
        let (s1, s2) = (s.sender(&c, 10), s.sender(&c, 20));
        switch_trap(1);
        refused(
            "receive from the preferred sender",
            SWITCH_TRAP,
            &[&s1, &s2],
            &[&c],
            || c.receive(),
        );
        switch_trap(-1);
        assert_eq!(c.receive().unwrap(), 10);
        assert_eq!(c.receive().unwrap(), 20);

        c.set_schedule_all(true);
        let s1 = s.sender(&c, 30);
        switch_trap(1);
        refused(
            "receive where all are scheduled",
            SWITCH_TRAP,
            &[&s1],
            &[&c],
            || c.receive(),
        );
        switch_trap(-1);
        assert_eq!(c.receive().unwrap(), 30);
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_rendezvous_that_goes_on_with_the_caller_is_allowed() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.sender(&c, 1);
        switch_trap(1);
        assert_eq!(c.receive().unwrap(), 1);
        assert!(t.is_scheduled());
        c.set_preference(Preference::Neither);
        switch_trap(-1);
        hardswitch::run().unwrap();
        let t = s.receiver(&c);
        switch_trap(1);
        c.send(2).unwrap();
        assert!(t.is_scheduled());
        switch_trap(-1);
        hardswitch::run().unwrap();
    });
}

#[test]
fn an_error_thrown_at_another_is_refused_and_a_blocked_target_keeps_its_place() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let body = |c: &Channel<i64>| {
            let c = c.clone();
            move || assert!(c.receive().is_err())
        };
        let (a, b, z) = (s.spawn(body(&c)), s.spawn(body(&c)), s.spawn(body(&c)));
        hardswitch::run().unwrap();
        trapped("throw", &[&a, &b, &z], &[&c], || b.throw(oops(1)));
        assert!(!b.is_alive());
        trapped("kill", &[&a, &b, &z], &[&c], || a.kill());
        assert!(!a.is_alive());
        assert_eq!(c.queue(), Some(z.clone()));
        z.kill().unwrap();
        let paused = s.started();
        trapped("kill", &[&paused], &[], || paused.kill());
    });
}

#[test]
fn what_needs_no_switch_is_allowed() {
    fresh(|s| {
        switch_trap(1);
        let t = s.spawn(|| ());
        assert_eq!(told(t.remove()), "ok");
        assert_eq!(told(t.insert()), "ok");
        assert_eq!(told(t.kill_pending()), "ok");
        let c: Channel<i64> = Channel::new();
        c.close();
        assert_eq!(
            told(c.send(1)),
            CLOSED,
            "the channel's own refusal comes first"
        );
        hardswitch::current().set_block_trap(true);
        assert_eq!(told(c.send(1)), BLOCK_TRAP);
        hardswitch::current().set_block_trap(false);
        switch_trap(-1);
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
        switch_trap(1);
        hardswitch::schedule().unwrap();
        hardswitch::schedule_remove().unwrap();
        hardswitch::run().unwrap();
        switch_trap(-1);
    });
}

#[test]
fn the_targets_own_refusal_wins_over_the_trap() {
    fresh(|s| {
        let c = Channel::new();
        let (blocked, dead) = (s.receiver(&c), s.ended());
        switch_trap(1);
        for call in [
            Tasklet::run as fn(&Tasklet) -> Result<(), Error>,
            Tasklet::switch,
        ] {
            refused(
                "blocked",
                "You cannot run a blocked tasklet",
                &[&blocked],
                &[&c],
                || call(&blocked),
            );
            refused(
                "dead",
                "You cannot run an unbound(dead) tasklet",
                &[&dead],
                &[&c],
                || call(&dead),
            );
        }
        assert_eq!(
            told(dead.throw(oops(1))),
            "You cannot throw to a dead tasklet"
        );
        switch_trap(-1);
        blocked.kill().unwrap();
    });
}

#[test]
fn a_deadlock_is_told_before_the_trap() {
    fresh(|_| {
        let c: Channel<i64> = Channel::new();
        switch_trap(1);
        assert_eq!(told(c.receive()), DEADLOCK);
        switch_trap(-1);
    });
}

#[test]
fn levels_add_up_and_any_level_but_zero_is_a_trap() {
    fresh(|s| {
        let t = s.spawn(|| ());
        assert_eq!(switch_trap(2), 0);
        assert_eq!(switch_trap(-1), 2);
        assert_eq!(told(hardswitch::schedule()), SWITCH_TRAP);
        assert_eq!(switch_trap(-2), 1);
        assert_eq!(
            told(hardswitch::schedule()),
            SWITCH_TRAP,
            "a negative level, too"
        );
        assert_eq!(switch_trap(1), -1);
        assert_eq!(switch_trap(0), 0);
        assert_eq!(told(hardswitch::schedule()), "ok");
        assert!(!t.is_alive());
    });
}

#[test]
fn a_tasklet_that_ends_under_the_trap_takes_nobody_down() {
    fresh(|s| {
        let t = s.spawn(|| {
            switch_trap(1);
        });
        let u = s.spawn(|| ());
        let _ = hardswitch::run();
        assert!(!t.is_alive(), "it has ended");
        switch_trap(-switch_trap(0));
        hardswitch::run().unwrap();
        assert!(!u.is_alive(), "and the others run");
    });
}

#[test]
fn an_error_that_was_refused_does_not_arrive_later() {
    fresh(|s| {
        let log = Log::default();
        let c = Channel::new();
        let (chan, seen) = (c.clone(), log.clone());
        let blocked = s.spawn(move || seen.add(told(chan.receive())));
        let seen = log.clone();
        let paused = s.spawn(move || seen.add(told(hardswitch::schedule_remove())));
        hardswitch::run().unwrap();
        let seen = log.clone();
        let unstarted = s.paused(move || seen.add("ran"));
        switch_trap(1);
        for t in [&blocked, &paused, &unstarted] {
            refused("throw", SWITCH_TRAP, &[t], &[&c], || t.throw(oops(1)));
            refused("raise", SWITCH_TRAP, &[t], &[&c], || t.raise(oops(2)));
            refused("kill", SWITCH_TRAP, &[t], &[&c], || t.kill());
        }
        switch_trap(-1);
        c.send(1).unwrap();
        paused.run().unwrap();
        unstarted.run().unwrap();
        assert_eq!(log.take(), "ok ok ran");
    });
}

#[test]
fn a_value_that_was_refused_does_not_arrive_later() {
    fresh(|s| {
        let log = Log::default();
        let c = Channel::new();
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || chan.receive().map(|v| seen.add(v)));
        t.run().unwrap();
        let other = s.spawn(|| ());
        switch_trap(1);
        refused("send", SWITCH_TRAP, &[&t, &other], &[&c], || c.send(1));
        refused("send_throw", SWITCH_TRAP, &[&t, &other], &[&c], || {
            c.send_throw(oops(1))
        });
        let empty = Channel::new();
        refused(
            "blocking send",
            SWITCH_TRAP,
            &[&t, &other],
            &[&empty],
            || empty.send(3),
        );
        switch_trap(-1);
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "");
        c.send(2).unwrap();
        assert_eq!(log.take(), "2");
        assert_eq!(empty.balance(), 0);
    });
}
