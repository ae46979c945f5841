//! The states of a tasklet, and every legal way from one to the next.

use super::*;

/// alive, paused, blocked, scheduled
fn states(t: &Tasklet) -> [bool; 4] {
    [
        t.is_alive(),
        t.is_paused(),
        t.is_blocked(),
        t.is_scheduled(),
    ]
}

const NOT_ALIVE: [bool; 4] = [false, false, false, false];
const PAUSED: [bool; 4] = [true, true, false, false];
const SCHEDULED: [bool; 4] = [true, false, false, true];
const BLOCKED: [bool; 4] = [true, false, true, true];

#[track_caller]
fn unlinked(t: &Tasklet) {
    assert!(t.next().is_none() && t.prev().is_none(), "it is in no list");
}

#[test]
fn a_new_tasklet_is_not_alive() {
    fresh(|s| {
        let t = s.unbound();
        assert_eq!(states(&t), NOT_ALIVE);
        assert!(!t.is_main() && !t.is_current());
        unlinked(&t);
    });
}

#[test]
fn a_tasklet_with_its_default_stack_starts_out_like_any_other() {
    fresh(|_| {
        assert_eq!(states(&Tasklet::new().unwrap()), NOT_ALIVE);
        let t = hardswitch::spawn(|| ()).unwrap();
        assert_eq!(states(&t), SCHEDULED);
        hardswitch::run().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
    });
}

#[test]
fn binding_a_function_alone_does_not_make_it_alive() {
    fresh(|s| {
        let t = s.unbound();
        t.bind(|| ()).unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
        unlinked(&t);
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn setup_queues_a_bound_tasklet() {
    fresh(|s| {
        let t = s.bound(|| ());
        t.setup().unwrap();
        assert_eq!(states(&t), SCHEDULED);
        assert_eq!(hardswitch::run_count(), 2);
        assert_eq!(
            t.next(),
            Some(hardswitch::main_tasklet()),
            "the ring is main and it"
        );
        assert_eq!(t.prev(), Some(hardswitch::main_tasklet()));
    });
}

#[test]
fn binding_with_arguments_pauses_and_insert_queues() {
    fresh(|s| {
        let t = s.paused(|| ());
        assert_eq!(states(&t), PAUSED);
        unlinked(&t);
        t.insert().unwrap();
        assert_eq!(states(&t), SCHEDULED);
        hardswitch::run().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
        unlinked(&t);
    });
}

#[test]
fn a_bound_tasklet_can_become_paused_and_back() {
    fresh(|s| {
        let t = s.bound(|| ());
        t.bind_paused(|| ()).unwrap();
        assert_eq!(states(&t), PAUSED);
        t.unbind().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
        t.bind(|| ()).unwrap();
        assert_eq!(told(t.setup()), "ok", "bound again");
        hardswitch::run().unwrap();
    });
}

#[test]
fn remove_pauses_a_queued_tasklet_that_has_not_run() {
    fresh(|s| {
        let t = s.spawn(|| ());
        t.remove().unwrap();
        assert_eq!(states(&t), PAUSED);
        unlinked(&t);
        assert_eq!(hardswitch::run_count(), 1);
        t.insert().unwrap();
        assert_eq!(states(&t), SCHEDULED);
        hardswitch::run().unwrap();
    });
}

#[test]
fn remove_pauses_a_queued_tasklet_that_has_run() {
    fresh(|s| {
        let t = s.spawn(hardswitch::schedule);
        t.run().unwrap();
        assert_eq!(states(&t), SCHEDULED);
        t.remove().unwrap();
        assert_eq!(states(&t), PAUSED);
        t.insert().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
    });
}

#[test]
fn insert_and_remove_do_nothing_when_there_is_nothing_to_do() {
    fresh(|s| {
        let t = s.spawn(|| ());
        let u = s.spawn(|| ());
        let before = observe(&[&t, &u], &[]);
        t.insert().unwrap();
        assert_eq!(
            observe(&[&t, &u], &[]),
            before,
            "insert of a queued tasklet"
        );
        t.remove().unwrap();
        let before = observe(&[&t, &u], &[]);
        t.remove().unwrap();
        assert_eq!(
            observe(&[&t, &u], &[]),
            before,
            "remove of a paused tasklet"
        );
    });
}

#[test]
fn the_running_tasklet_is_alive_and_scheduled() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            let me = hardswitch::current();
            seen.add(format!(
                "{:?} {} {}",
                states(&me),
                me.is_current(),
                me.is_main()
            ));
        });
        assert!(!t.is_current());
        t.run().unwrap();
        assert_eq!(log.take(), format!("{SCHEDULED:?} true false"));
        let main = hardswitch::main_tasklet();
        assert_eq!(states(&main), SCHEDULED);
        assert!(main.is_main() && main.is_current());
        assert_eq!(main, hardswitch::current());
    });
}

#[test]
fn schedule_keeps_a_tasklet_queued_and_schedule_remove_pauses_it() {
    fresh(|s| {
        let t = s.spawn(|| {
            hardswitch::schedule()?;
            hardswitch::schedule_remove()
        });
        t.run().unwrap();
        assert_eq!(states(&t), SCHEDULED);
        t.run().unwrap();
        assert_eq!(states(&t), PAUSED);
        unlinked(&t);
        t.run().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
    });
}

#[test]
fn run_and_switch_start_a_paused_tasklet() {
    fresh(|s| {
        let t = s.paused(hardswitch::schedule_remove);
        t.run().unwrap();
        assert_eq!(states(&t), PAUSED);
        t.switch().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
    });
}

#[test]
fn a_tasklet_that_switches_away_is_paused() {
    fresh(|s| {
        let main = hardswitch::main_tasklet();
        let t = s.spawn(move || main.switch());
        hardswitch::schedule().unwrap();
        assert_eq!(states(&t), PAUSED);
        t.run().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
    });
}

#[test]
fn a_blocked_tasklet_is_alive_and_scheduled_and_first_of_its_channel() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.receiver(&c);
        assert_eq!(states(&t), BLOCKED);
        unlinked(&t);
        assert_eq!(c.queue(), Some(t.clone()));
        assert_eq!(hardswitch::run_count(), 1, "it is not in the ring");
        let u = s.receiver(&c);
        assert_eq!((t.next(), u.prev()), (Some(u.clone()), Some(t.clone())));
        assert!(t.prev().is_none() && u.next().is_none());
        t.kill().unwrap();
        u.kill().unwrap();
    });
}

#[test]
fn a_blocked_tasklet_becomes_scheduled_when_its_partner_comes() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.receiver(&c);
        c.set_preference(hardswitch::Preference::Sender);
        c.send(1).unwrap();
        assert_eq!(states(&t), SCHEDULED);
        assert_eq!(c.balance(), 0);
        hardswitch::run().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
    });
}

#[test]
fn a_blocked_tasklet_ends_when_it_is_killed() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.sender(&c, 1);
        assert_eq!(c.balance(), 1);
        t.kill().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
        unlinked(&t);
        assert_eq!((c.balance(), c.queue()), (0, None));
    });
}

#[test]
fn a_blocked_tasklet_becomes_scheduled_by_a_pending_error() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.receiver(&c);
        t.kill_pending().unwrap();
        assert_eq!(states(&t), SCHEDULED);
        assert_eq!(c.balance(), 0);
        hardswitch::run().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
    });
}

#[test]
fn a_tasklet_that_ended_can_be_bound_again() {
    fresh(|s| {
        let log = Log::default();
        let (first, second) = (log.clone(), log.clone());
        let t = s.spawn(move || first.add("first"));
        hardswitch::run().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
        t.bind(move || second.add("second")).unwrap();
        t.setup().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "first second");
    });
}

#[test]
fn a_paused_tasklet_ends_when_it_is_killed() {
    fresh(|s| {
        let t = s.started();
        t.kill().unwrap();
        assert_eq!(states(&t), NOT_ALIVE);
    });
}

#[test]
fn main_is_paused_while_it_runs_the_others() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let main = hardswitch::main_tasklet();
        s.spawn(move || seen.add(format!("{:?} {}", states(&main), hardswitch::run_count())));
        hardswitch::run().unwrap();
        assert_eq!(log.take(), format!("{PAUSED:?} 1"));
        assert_eq!(states(&hardswitch::main_tasklet()), SCHEDULED);
    });
}

#[test]
fn next_and_prev_walk_the_ring_in_running_order() {
    fresh(|s| {
        let main = hardswitch::main_tasklet();
        let t: Vec<_> = (0..3).map(|_| s.spawn(|| ())).collect();
        assert_eq!(main.next().as_ref(), Some(&t[0]));
        assert_eq!(t[0].next().as_ref(), Some(&t[1]));
        assert_eq!(t[1].next().as_ref(), Some(&t[2]));
        assert_eq!(t[2].next().as_ref(), Some(&main));
        assert_eq!(main.prev().as_ref(), Some(&t[2]));
        assert_eq!(t[0].prev().as_ref(), Some(&main));
        hardswitch::run().unwrap();
    });
}

#[test]
fn the_run_count_counts_the_ring_with_main_and_the_running_tasklet() {
    fresh(|s| {
        assert_eq!(hardswitch::run_count(), 1);
        let log = Log::default();
        for _ in 0..3 {
            let log = log.clone();
            s.spawn(move || log.add(hardswitch::run_count()));
        }
        assert_eq!(hardswitch::run_count(), 4);
        hardswitch::run().unwrap();
        assert_eq!(
            log.take(),
            "3 2 1",
            "main is not in the ring while it waits in run"
        );
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn flags_of_a_new_tasklet_are_off_whoever_makes_it() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            let me = hardswitch::current();
            me.set_atomic(true);
            me.set_block_trap(true);
            let child = s.unbound();
            seen.add(child.block_trap());
            seen.add(child.set_atomic(false));
        });
        t.run().unwrap();
        assert_eq!(log.take(), "false false");
    });
}

#[test]
fn setting_a_flag_returns_the_old_value() {
    fresh(|s| {
        let t = s.unbound();
        assert_eq!(
            (t.set_atomic(true), t.set_atomic(false), t.set_atomic(false)),
            (false, true, false)
        );
        assert_eq!(
            (t.set_ignore_nesting(true), t.set_ignore_nesting(false)),
            (false, true)
        );
        assert_eq!((t.set_block_trap(true), t.block_trap()), (false, true));
        assert_eq!((t.set_block_trap(false), t.block_trap()), (true, false));
    });
}

#[test]
fn a_removed_tasklet_can_still_be_run_or_switched_to() {
    fresh(|s| {
        for call in [
            Tasklet::run as fn(&Tasklet) -> Result<(), Error>,
            Tasklet::switch,
        ] {
            let log = Log::default();
            let seen = log.clone();
            let t = s.spawn(move || seen.add("ran"));
            t.remove().unwrap();
            hardswitch::run().unwrap();
            assert_eq!(log.take(), "");
            call(&t).unwrap();
            assert_eq!(log.take(), "ran");
            assert!(!t.is_alive());
        }
    });
}

#[test]
fn every_thread_has_its_own_main_and_its_own_ring() {
    fresh(|s| {
        let t = s.spawn(|| ());
        assert_eq!(hardswitch::run_count(), 2);
        std::thread::spawn(|| {
            let main = hardswitch::main_tasklet();
            assert!(main.is_main() && main.is_current());
            assert_eq!(
                (hardswitch::run_count(), hardswitch::switch_trap(0)),
                (1, 0)
            );
            hardswitch::spawn(|| ()).unwrap();
            assert_eq!(hardswitch::run_count(), 2);
            hardswitch::run().unwrap();
        })
        .join()
        .unwrap();
        assert_eq!(hardswitch::run_count(), 2);
        assert!(t.is_scheduled());
        hardswitch::run().unwrap();
    });
}
