//! Who runs when. The expected orders are those of Stackless with nested runs.

use super::*;
use hardswitch::Preference;

#[test]
fn tasklets_run_in_the_order_they_were_made() {
    fresh(|s| {
        let log = Log::default();
        for i in 1..=3 {
            let log = log.clone();
            s.spawn(move || log.add(i));
        }
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "1 2 3");
    });
}

#[test]
fn running_one_runs_whoever_stands_between_it_and_the_caller() {
    fresh(|s| {
        let log = Log::default();
        let t: Vec<_> = (1..=3)
            .map(|i| {
                let log = log.clone();
                s.spawn(move || log.add(i))
            })
            .collect();
        t[1].run().unwrap();
        assert_eq!(log.take(), "2 3");
        assert_eq!(hardswitch::run_count(), 2);
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "1");
    });
}

#[test]
fn a_nested_run_of_one_tasklet_comes_back_after_those_behind_it() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        s.spawn(move || seen.add(1));
        let seen = log.clone();
        s.spawn(move || {
            seen.add(2);
            let (a, b) = (seen.clone(), seen.clone());
            let third = s.spawn(move || a.add(3));
            s.spawn(move || b.add(4));
            third.run()?;
            seen.add(5);
            Ok::<_, Error>(())
        });
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "1 2 3 4 5");
    });
}

#[test]
fn nested_runs_of_several_levels_unwind_in_ring_order() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        s.spawn(move || {
            seen.add(1);
            let inner = seen.clone();
            let second = s.spawn(move || {
                inner.add(2);
                let innermost = inner.clone();
                let third = s.spawn(move || innermost.add(3));
                third.run()?;
                inner.add(4);
                Ok::<_, Error>(())
            });
            second.run()?;
            seen.add(5);
            Ok::<_, Error>(())
        });
        let seen = log.clone();
        s.spawn(move || seen.add(6));
        hardswitch::run().unwrap();
        // Each level is switched to from the end of the ring, so the caller follows right behind
        // it, and 6 comes last.
        assert_eq!(log.take(), "1 2 3 4 5 6");
    });
}

/// Three senders and three receivers on one channel, in the order in which they finish.
fn finishing_order(s: Stacks, senders_first: bool, sign: i32, schedule_all: bool) -> String {
    let c = Channel::new();
    c.set_preference(Preference::from_sign(sign));
    c.set_schedule_all(schedule_all);
    let log = Log::default();
    let senders = || {
        for i in 0..3 {
            let (c, log) = (c.clone(), log.clone());
            s.spawn(move || c.send(i).map(|()| log.add(format!("s{i}"))));
        }
    };
    let receivers = || {
        for i in 0..3 {
            let (c, log) = (c.clone(), log.clone());
            s.spawn(move || c.receive().map(|_: i64| log.add(format!("r{i}"))));
        }
    };
    if senders_first {
        senders();
        receivers();
    } else {
        receivers();
        senders();
    }
    hardswitch::run().unwrap();
    log.take()
}

#[test]
fn a_channel_that_prefers_receivers_lets_them_finish_first() {
    fresh(|s| {
        for senders_first in [true, false] {
            assert_eq!(
                finishing_order(s, senders_first, -1, false),
                "r0 r1 r2 s0 s1 s2"
            );
        }
    });
}

#[test]
fn a_channel_that_prefers_senders_lets_them_finish_first() {
    fresh(|s| {
        for senders_first in [true, false] {
            assert_eq!(
                finishing_order(s, senders_first, 1, false),
                "s0 s1 s2 r0 r1 r2"
            );
        }
    });
}

#[test]
fn a_channel_that_prefers_neither_lets_whoever_comes_second_go_on() {
    fresh(|s| {
        assert_eq!(finishing_order(s, true, 0, false), "r0 r1 r2 s0 s1 s2");
        assert_eq!(finishing_order(s, false, 0, false), "s0 s1 s2 r0 r1 r2");
    });
}

#[test]
fn a_channel_that_schedules_all_lets_both_wait_their_turn() {
    fresh(|s| {
        assert_eq!(finishing_order(s, true, -1, true), "s0 r0 s1 r1 s2 r2");
    });
}

#[test]
fn a_preferred_partner_runs_at_once_and_the_caller_becomes_last() {
    fresh(|s| {
        let c = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let receiver = s.spawn(move || {
            chan.receive()
                .map(|v: i64| seen.add(format!("received {v}")))
        });
        receiver.run().unwrap();
        let seen = log.clone();
        s.spawn(move || seen.add("between"));
        c.send(1).unwrap();
        assert_eq!(
            log.take(),
            "received 1 between",
            "between stood before the caller's new place"
        );
    });
}

#[test]
fn an_unpreferred_partner_is_put_at_the_end() {
    fresh(|s| {
        let c = Channel::new();
        c.set_preference(Preference::Sender);
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let receiver = s.spawn(move || {
            chan.receive()
                .map(|v: i64| seen.add(format!("received {v}")))
        });
        receiver.run().unwrap();
        let seen = log.clone();
        s.spawn(move || seen.add("between"));
        c.send(1).unwrap();
        assert_eq!(log.take(), "", "the caller goes on");
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "between received 1");
    });
}

#[test]
fn insert_puts_at_the_end_and_run_brings_forward() {
    fresh(|s| {
        let log = Log::default();
        let make = |i: i32| {
            let log = log.clone();
            s.paused(move || log.add(i))
        };
        let (a, b, c) = (make(1), make(2), make(3));
        b.insert().unwrap();
        a.insert().unwrap();
        c.run().unwrap();
        assert_eq!(
            log.take(),
            "3",
            "a paused one is appended, then switched to: nobody stands behind it"
        );
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "2 1");
    });
}

#[test]
fn counting_tasklets_take_turns() {
    fresh(|s| {
        let log = Log::default();
        for count in [3, 1, 2] {
            let log = log.clone();
            s.spawn(move || {
                for _ in 0..count {
                    hardswitch::schedule()?;
                }
                log.add(count);
                Ok::<_, Error>(())
            });
        }
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "1 2 3", "who schedules less often ends earlier");
    });
}

#[test]
fn a_channel_that_schedules_all_gives_way_to_whoever_is_next_and_not_to_the_partner() {
    fresh(|s| {
        let c = Channel::new();
        c.set_schedule_all(true);
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let receiver = s.spawn(move || {
            chan.receive()
                .map(|v: i64| seen.add(format!("received {v}")))
        });
        receiver.run().unwrap();
        for i in 0..2 {
            let seen = log.clone();
            s.spawn(move || seen.add(i));
        }
        c.send(1).unwrap();
        log.add("sent");
        assert_eq!(
            log.take(),
            "0 1 received 1 sent",
            "everybody has their turn, the partner last"
        );
    });
}
