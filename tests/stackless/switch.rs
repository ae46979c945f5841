//! `switch`: the caller leaves the queue.

use super::*;

#[test]
fn switching_pauses_the_caller_until_it_is_queued_again() {
    fresh(|s| {
        let log = Log::default();
        let (seen, main) = (log.clone(), hardswitch::main_tasklet());
        let t = s.paused(move || {
            seen.add(format!("main paused {}", main.is_paused()));
            main.insert()?;
            hardswitch::schedule()?;
            seen.add("after main");
            Ok::<_, Error>(())
        });
        t.switch().unwrap();
        log.add("main");
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "main paused true main after main");
    });
}

#[test]
fn a_switch_to_a_queued_tasklet_leaves_the_others_in_their_order() {
    fresh(|s| {
        let log = Log::default();
        let t: Vec<_> = (0..3)
            .map(|i| {
                let log = log.clone();
                s.spawn(move || log.add(i))
            })
            .collect();
        t[1].switch().unwrap();
        assert_eq!(
            log.take(),
            "1 2 0",
            "main is only woken when nobody is left"
        );
    });
}

#[test]
fn a_switch_to_oneself_does_nothing_also_with_others_queued_and_also_under_a_trap() {
    fresh(|s| {
        let me = hardswitch::current();
        me.switch().unwrap();
        let t = s.spawn(|| ());
        let before = observe(&[&t], &[]);
        me.switch().unwrap();
        me.switch().unwrap();
        me.run().unwrap();
        assert_eq!(
            observe(&[&t], &[]),
            before,
            "nothing changes, nobody is lost"
        );
        hardswitch::switch_trap(1);
        assert_eq!(told(me.switch()), "ok");
        assert_eq!(told(me.run()), "ok");
        hardswitch::switch_trap(-1);
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn a_tasklet_can_switch_to_itself() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            seen.add(told(hardswitch::current().switch()));
            seen.add(told(hardswitch::current().run()));
            seen.add(hardswitch::current().is_current());
        });
        s.spawn(|| ());
        t.run().unwrap();
        assert_eq!(log.take(), "ok ok true");
        hardswitch::run().unwrap();
    });
}

#[test]
fn two_tasklets_switch_back_and_forth() {
    fresh(|s| {
        let log = Log::default();
        let (seen, main) = (log.clone(), hardswitch::main_tasklet());
        let t = s.paused(move || {
            for i in 0..3 {
                seen.add(format!("t{i}"));
                main.switch()?;
            }
            Ok::<_, Error>(())
        });
        for i in 0..3 {
            t.switch().unwrap();
            log.add(format!("m{i}"));
        }
        assert_eq!(log.take(), "t0 m0 t1 m1 t2 m2");
        assert!(t.is_paused());
        t.switch().unwrap();
        assert!(!t.is_alive());
    });
}
