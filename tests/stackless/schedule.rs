//! Giving way.

use super::*;
use hardswitch::Value;

#[test]
fn schedule_runs_everybody_else_once() {
    fresh(|s| {
        let log = Log::default();
        for i in 0..3 {
            let log = log.clone();
            s.spawn(move || {
                for round in 0..2 {
                    log.add(format!("{i}{}", if round == 0 { 'a' } else { 'b' }));
                    hardswitch::schedule()?;
                }
                Ok::<_, Error>(())
            });
        }
        hardswitch::schedule().unwrap();
        assert_eq!(log.take(), "0a 1a 2a");
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "0b 1b 2b");
    });
}

#[test]
fn schedule_alone_returns_at_once() {
    fresh(|_| {
        hardswitch::schedule().unwrap();
        hardswitch::schedule_remove().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn schedule_returns_the_value_it_was_given() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            let v = hardswitch::schedule_with(Value::new(7i64))?;
            seen.add(v.downcast::<i64>().expect("an i64"));
            let v = hardswitch::schedule_remove_with(Value::new("rv".to_string()))?;
            seen.add(v.downcast::<String>().expect("a String"));
            Ok::<_, Error>(())
        });
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "7");
        assert!(t.is_paused());
        t.insert().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "rv");
    });
}

#[test]
fn schedule_leaves_a_tasklet_queued_and_schedule_remove_does_not() {
    fresh(|s| {
        let t = s.spawn(hardswitch::schedule);
        let u = s.spawn(hardswitch::schedule_remove);
        hardswitch::schedule().unwrap();
        assert!(t.is_scheduled() && !u.is_scheduled() && u.is_paused());
        hardswitch::run().unwrap();
        assert!(!t.is_alive() && u.is_alive());
        u.insert().unwrap();
        assert!(u.is_scheduled());
        hardswitch::run().unwrap();
        assert!(!u.is_alive());
    });
}

#[test]
fn a_tasklet_that_removes_itself_last_ends_the_run() {
    fresh(|s| {
        let t = s.spawn(hardswitch::schedule_remove);
        hardswitch::run().unwrap();
        assert!(t.is_paused());
        t.kill().unwrap();
    });
}

#[test]
fn a_tasklet_cannot_remove_itself_last_while_main_is_blocked() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || {
            seen.add(told(hardswitch::schedule_remove()));
            chan.send(1)
        });
        assert_eq!(c.receive().unwrap(), 1);
        assert_eq!(log.take(), DEADLOCK);
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn an_error_thrown_at_a_waiting_tasklet_comes_out_of_its_schedule() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            seen.add(told(hardswitch::schedule()));
            seen.add(told(hardswitch::schedule_remove()));
            seen.add(told(hardswitch::schedule_with(Value::new(1i64))));
        });
        t.run().unwrap();
        for code in 1..4 {
            t.throw(oops(code)).unwrap();
        }
        assert_eq!(log.take(), "oops 1 oops 2 oops 3");
        assert!(!t.is_alive());
    });
}
