//! Runs with a budget: `RunNTasklets`, `RunWithTimeout`, and the orders that CCP's successor of
//! Stackless promises, nested and flat.
#![cfg(feature = "std")]

mod common;

use common::{fresh, told, Log, Stacks};
use hardswitch::time::set_clock;
use hardswitch::{
    atomic, current, main_tasklet, run, run_count, run_with, schedule, set_use_nested_tasklets,
    Budget, Channel, Error, Preference, Result, RunReport, Tasklet,
};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static LOOKS: Cell<u32> = const { Cell::new(0) };
    static OTHER: Cell<Option<Tasklet>> = const { Cell::new(None) };
}

/// A clock that moves when the test says.
fn simulated() {
    set_clock(Some(|| NOW.get()));
}

fn pass(nanoseconds: u64) {
    NOW.set(NOW.get() + nanoseconds);
}

fn turns(n: u64) -> RunReport {
    run_with(Budget::switches(n)).expect("a run")
}

fn forever() -> Result<()> {
    loop {
        schedule()?;
    }
}

/// A tasklet that logs its name.
fn says(s: Stacks, log: &Log, what: &'static str) -> Tasklet {
    let log = log.clone();
    s.spawn(move || log.add(what))
}

#[test]
fn one_turn_at_a_time_runs_one_tasklet_at_a_time() {
    fresh(|s| {
        let log = Log::default();
        for name in ["1", "2", "3"] {
            says(s, &log, name);
        }
        for (left, so_far) in [(3, "1"), (2, "2"), (1, "3")] {
            assert_eq!(run_count(), left + 1);
            let report = turns(1);
            assert_eq!(log.take(), so_far);
            assert_eq!((report.switches, report.completed), (1, 1));
            assert_eq!(report.runnable, left - 1);
        }
        assert_eq!(run_count(), 1);
    });
}

#[test]
fn a_budget_that_suffices_runs_all_and_says_what_is_left() {
    fresh(|s| {
        let log = Log::default();
        for name in ["1", "2", "3"] {
            says(s, &log, name);
        }
        let report = turns(10);
        assert_eq!(log.take(), "1 2 3");
        assert!(!report.used_up && report.runnable == 0);
        assert_eq!(report.left, Budget::switches(7));
        assert_eq!(report.interrupted, None);
    });
}

#[test]
fn a_budget_of_no_turns_runs_nobody_and_one_of_no_time_runs_one() {
    fresh(|s| {
        let log = Log::default();
        for name in ["1", "2"] {
            says(s, &log, name);
        }
        let report = turns(0);
        assert_eq!((log.take().as_str(), report.runnable), ("", 2));
        assert!(report.used_up);
        let report = run_with(Budget::time(Duration::ZERO)).unwrap();
        assert_eq!((log.take().as_str(), report.runnable), ("1", 1));
        assert!(report.used_up);
    });
}

#[test]
fn an_empty_queue_uses_up_nothing() {
    fresh(|_| {
        let report = turns(5);
        assert_eq!(
            (report.runnable, report.switches, report.used_up),
            (0, 0, false)
        );
        assert_eq!(report.left, Budget::switches(5));
    });
}

#[test]
fn absurdly_large_budgets_are_no_limit() {
    fresh(|s| {
        for budget in [
            Budget::switches(u64::MAX),
            Budget::time(Duration::MAX),
            Budget::UNLIMITED,
            Budget::time(Duration::MAX).and_switches(u64::MAX),
        ] {
            let t = s.spawn(schedule);
            let report = run_with(budget).unwrap();
            assert!(!t.is_alive() && !report.used_up);
        }
    });
}

#[test]
fn a_run_with_a_limit_goes_on_where_it_stopped() {
    fresh(|s| {
        let log = Log::default();
        for name in ["a", "b", "c"] {
            let log = log.clone();
            s.spawn(move || {
                for i in 0..3 {
                    log.add(format!("{name}{i}"));
                    schedule()?;
                }
                Ok(())
            });
        }
        let mut steps = 0;
        while turns(1).runnable > 0 {
            steps += 1;
        }
        assert_eq!(log.take(), "a0 b0 c0 a1 b1 c1 a2 b2 c2");
        assert_eq!(
            steps, 11,
            "twelve turns: three to give way and one to end, for each"
        );
    });
}

#[test]
fn who_was_interrupted_is_named_and_stays_queued_last() {
    fresh(|s| {
        let t = s.spawn(|| (0..3).try_for_each(|_| schedule()));
        let u = s.spawn(|| ());
        let report = turns(1);
        assert_eq!(report.interrupted.as_ref(), Some(&t));
        assert_eq!(current().next(), Some(u), "the next in turn comes first");
        assert_eq!(current().prev(), Some(t.clone()));
        assert!(t.is_scheduled() && t.is_alive());
        run().unwrap();
        assert!(!t.is_alive());
    });
}

// test_watchdog.TestWatchdog.test_aliveness1
#[test]
fn an_interrupted_tasklet_can_be_removed_and_inserted_again() {
    fresh(|s| {
        let t = s.spawn(forever);
        let report = run_with(Budget::switches(10)).unwrap();
        assert_eq!(report.interrupted.as_ref(), Some(&t));
        t.remove().unwrap();
        assert!(t.is_alive() && t.is_paused() && !t.is_scheduled());
        assert_eq!(turns(10).switches, 0);
        t.insert().unwrap();
        assert_eq!(turns(10).switches, 10);
        t.kill().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn a_tasklet_alone_that_polls_does_not_keep_the_caller_away() {
    fresh(|s| {
        let count = Rc::new(Cell::new(0));
        let counts = count.clone();
        let t = s.spawn(move || -> Result<()> {
            loop {
                counts.set(counts.get() + 1);
                schedule()?;
            }
        });
        let report = turns(5);
        assert_eq!(count.get(), 5);
        assert_eq!((report.switches, report.runnable), (5, 1));
        assert_eq!(report.interrupted.as_ref(), Some(&t));
        let report = run_with(Budget::time(Duration::from_millis(2))).unwrap();
        assert!(report.used_up);
        t.kill().unwrap();
    });
}

#[test]
fn a_budget_of_time_is_checked_at_each_switch() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        for name in ["1", "2", "3", "4"] {
            let log = log.clone();
            s.spawn(move || {
                log.add(name);
                pass(40);
            });
        }
        let report = run_with(Budget::time(Duration::from_nanos(100))).unwrap();
        assert_eq!(log.take(), "1 2 3");
        assert_eq!(report.runnable, 1);
        assert_eq!(report.left, Budget::time(Duration::ZERO));
        let report = run_with(Budget::time(Duration::from_nanos(100))).unwrap();
        assert_eq!(log.take(), "4");
        assert!(!report.used_up);
        assert_eq!(report.left, Budget::time(Duration::from_nanos(60)));
    });
}

#[test]
fn of_two_limits_the_first_to_be_used_up_counts() {
    fresh(|s| {
        simulated();
        let work = || {
            for _ in 0..5 {
                s.spawn(|| pass(10));
            }
        };
        let both = |ns, n| Budget::time(Duration::from_nanos(ns)).and_switches(n);
        work();
        assert_eq!(run_with(both(1000, 2)).unwrap().switches, 2);
        assert_eq!(run_with(both(20, 100)).unwrap().switches, 2);
        assert_eq!(run_with(both(1000, 100)).unwrap().switches, 1);
    });
}

/// A clock that takes the other tasklet out of the queue at the `LOOKS`th look.
fn clock_that_removes() -> u64 {
    LOOKS.set(LOOKS.get().wrapping_sub(1));
    if LOOKS.get() == 0 {
        let other = OTHER.take().expect("it is asked once");
        other.remove().expect("it is not running");
    }
    NOW.get()
}

#[test]
fn a_clock_that_empties_the_queue_leaves_the_figures_of_the_run_right() {
    fresh(|s| {
        set_clock(Some(clock_that_removes));
        for look in 1..8 {
            let ran = Rc::new(Cell::new(0));
            let turn = ran.clone();
            OTHER.set(Some(s.spawn(move || turn.set(1))));
            LOOKS.set(look);
            let limits = Budget::time(Duration::from_secs(1)).and_switches(5);
            let report = run_with(limits).expect("a run");
            LOOKS.set(0);
            drop(OTHER.take());
            let seen = (report.switches, report.completed, report.runnable);
            assert_eq!(seen, (ran.get(), ran.get(), 0), "at look {look}");
            assert_eq!(report.left, limits.and_switches(5 - ran.get()));
            assert!(!report.used_up && report.interrupted.is_none());
        }
    });
}

#[test]
fn the_counters_are_those_of_the_last_run_with_a_budget() {
    fresh(|s| {
        let made = hardswitch::stats().tasklets_made;
        let ended = hardswitch::stats().tasklets_completed;
        for _ in 0..3 {
            s.spawn(schedule);
        }
        assert_eq!(hardswitch::stats().tasklets_made, made + 3);
        turns(4);
        let stats = hardswitch::stats();
        assert_eq!((stats.last_run_switches, stats.last_run_completed), (4, 1));
        run().unwrap();
        let stats = hardswitch::stats();
        assert_eq!((stats.last_run_switches, stats.last_run_completed), (4, 1));
        assert_eq!(stats.tasklets_completed, ended + 3);
        assert_eq!(stats.tasklets_made, made + 3, "also when they are gone");
    });
}

#[test]
fn an_uncaught_error_comes_out_and_leaves_nothing_behind() {
    fresh(|s| {
        s.spawn(|| Err::<(), _>(Error::thrown(1)));
        let t = s.spawn(|| ());
        assert!(matches!(
            run_with(Budget::switches(5)),
            Err(Error::Thrown(_))
        ));
        assert!(t.is_scheduled());
        assert_eq!(turns(5).completed, 1);
        // The budget is gone: a run without one is not interrupted.
        s.spawn(|| (0..20).try_for_each(|_| schedule()));
        run().unwrap();
        assert_eq!(run_count(), 1);
    });
}

#[test]
fn a_run_under_the_switch_trap_changes_nothing() {
    fresh(|s| {
        let t = s.spawn(|| ());
        {
            let _trap = hardswitch::switch_trapped();
            assert_eq!(told(run_with(Budget::switches(1))), "switch_trap");
            assert!(t.is_scheduled());
            assert_eq!(run_count(), 2);
        }
        assert_eq!(turns(1).completed, 1);
    });
}

#[test]
fn a_killed_caller_leaves_no_budget_behind() {
    fresh(|s| {
        let inner = s.spawn(|| {
            let result = run_with(Budget::switches(1_000_000));
            assert!(matches!(result, Err(Error::Exit)));
            result.map(drop)
        });
        let (victim, log) = (inner.clone(), Log::default());
        let logs = log.clone();
        let killer = s.spawn(move || {
            schedule()?;
            assert!(victim.is_paused(), "it waits in its run");
            victim.kill()?;
            logs.add("killed");
            forever()
        });
        assert_eq!(turns(6).switches, 6);
        assert_eq!(log.take(), "killed");
        assert!(!inner.is_alive());
        assert_eq!(turns(4).switches, 4);
        killer.kill().unwrap();
    });
}

#[test]
fn a_rendezvous_that_is_interrupted_loses_nothing() {
    fresh(|s| {
        let log = Log::default();
        let channel = Channel::new();
        for _ in 0..2 {
            let (log, channel) = (log.clone(), channel.clone());
            s.spawn(move || {
                for _ in 0..3 {
                    log.add(channel.receive()?);
                }
                Ok(())
            });
        }
        s.spawn(move || channel.send_sequence(0..6).map(drop));
        let mut runs = 0;
        while turns(1).runnable > 0 {
            runs += 1;
            assert!(runs < 100);
        }
        assert_eq!(log.take(), "0 1 2 3 4 5");
    });
}

#[test]
fn an_atomic_tasklet_is_not_interrupted_until_the_flag_is_cleared() {
    fresh(|s| {
        let log = Log::default();
        let logs = log.clone();
        let t = s.spawn(move || {
            let guard = atomic();
            for i in 0..5 {
                logs.add(i);
                schedule()?;
            }
            drop(guard);
            logs.add("free");
            schedule()?;
            logs.add("end");
            Ok(())
        });
        let report = turns(2);
        assert_eq!(log.take(), "0 1 2 3 4 free");
        assert_eq!(report.interrupted, Some(t));
        assert!(report.used_up);
        run().unwrap();
        assert_eq!(log.take(), "end");
    });
}

#[test]
fn when_an_atomic_tasklet_gives_way_another_one_can_be_interrupted() {
    fresh(|s| {
        let t = s.spawn(|| {
            let _atomic = atomic();
            (0..9).try_for_each(|_| schedule())
        });
        let u = s.spawn(|| (0..9).try_for_each(|_| schedule()));
        // t, u, t would be the third; t gives way to u unharmed, u does not.
        let report = turns(3);
        assert_eq!(report.interrupted, Some(u));
        assert_eq!(report.switches, 4);
        assert!(t.is_atomic());
        run().unwrap();
    });
}

#[test]
fn an_atomic_tasklet_that_ends_lets_the_caller_come_back() {
    fresh(|s| {
        s.spawn(|| {
            current().set_atomic(true);
        });
        s.spawn(|| ());
        assert_eq!(turns(1).runnable, 1);
    });
}

#[test]
fn an_inner_budget_holds_inside_an_outer_run() {
    fresh(|s| {
        let log = Log::default();
        for name in ["a", "b", "c"] {
            says(s, &log, name);
        }
        let logs = log.clone();
        let inner = s.spawn(move || {
            logs.add("inner");
            for name in ["d", "e"] {
                says(s, &logs, name);
            }
            let report = run_with(Budget::switches(1))?;
            logs.add(format!("ran {}", report.switches));
            Ok(())
        });
        run().unwrap();
        assert!(!inner.is_alive());
        assert_eq!(log.take(), "a b c inner d ran 1 e");
    });
}

// test_watchdog.TestNewWatchdog.test_watchdog_priority_*
#[test]
fn the_outermost_of_several_used_up_budgets_comes_back_first() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        let logs = log.clone();
        s.spawn(move || {
            let deeper = logs.clone();
            s.spawn(move || {
                s.spawn(|| {
                    schedule()?;
                    pass(1000);
                    schedule()
                });
                let report = run_with(Budget::time(Duration::from_nanos(500)))?;
                deeper.add(format!("innermost {}", report.used_up));
                Ok(())
            });
            let report = run_with(Budget::time(Duration::from_nanos(500)))?;
            logs.add(format!("middle {}", report.used_up));
            Ok(())
        });
        let report = run_with(Budget::time(Duration::from_nanos(500))).unwrap();
        log.add(format!("outermost {}", report.used_up));
        // The inner callers are runnable now, and their budgets are no more.
        assert_eq!(report.runnable, 3);
        run().unwrap();
        let log = log.take();
        assert!(log.starts_with("outermost true"), "{log}");
        assert!(
            log.contains("middle false") && log.contains("innermost false"),
            "{log}"
        );
        assert_eq!(run_count(), 1);
    });
}

// test_watchdog.TestNewWatchdog.test_schedule_deeper_*
#[test]
fn an_outer_budget_ends_runs_without_one_below_it() {
    fresh(|s| {
        let log = Log::default();
        let logs = log.clone();
        let looping = s.spawn(forever);
        s.spawn(move || {
            run()?;
            logs.add("inner is back");
            Ok(())
        });
        let report = turns(10);
        assert!(report.used_up);
        assert_eq!(log.take(), "");
        assert_eq!(
            report.runnable, 2,
            "the looping one and the caller of the inner run"
        );
        turns(3);
        assert_eq!(log.take(), "inner is back");
        looping.kill().unwrap();
    });
}

#[test]
fn a_caller_woken_by_hand_reports_what_was_run() {
    fresh(|s| {
        s.spawn(|| (0..5).try_for_each(|_| schedule()));
        s.spawn(|| main_tasklet().run());
        let report = turns(100);
        assert!(!report.used_up);
        assert_eq!(report.switches, 2);
        assert_eq!(report.runnable, 2);
        run().unwrap();
    });
}

#[test]
fn a_schedule_callback_sees_the_return_to_the_caller() {
    fresh(|s| {
        let log = Log::default();
        let (t, logs) = (s.spawn(|| ()), log.clone());
        s.spawn(|| ());
        let name = move |who: &Tasklet| match who {
            _ if who.is_main() => "main",
            _ if *who == t => "t",
            _ => "u",
        };
        hardswitch::set_schedule_callback(Some(Rc::new(move |from, to| {
            logs.add(format!("{}>{}", from.map_or("nobody", &name), name(to)));
        })));
        turns(1);
        hardswitch::set_schedule_callback(None);
        assert_eq!(log.take(), "main>t t>main");
    });
}

/// The way in which a test runs all that is queued.
type Runner = fn();

fn all_at_once() {
    run().unwrap();
}

fn one_by_one() {
    while run_count() > 1 {
        turns(1);
    }
}

/// The carbon scheduler's tests of order: nested and flat, each with and without a limit.
fn orders(test: fn(Stacks, &Log, Runner), nested: &str, flat: &str) {
    for (nests, expected) in [(true, nested), (false, flat)] {
        for runner in [all_at_once as Runner, one_by_one] {
            for stacks in [Stacks::Own, Stacks::Window] {
                let expected = expected.to_string();
                std::thread::spawn(move || {
                    assert!(set_use_nested_tasklets(nests), "nested is the default");
                    assert_eq!(hardswitch::use_nested_tasklets(), nests);
                    let log = Log::default();
                    test(stacks, &log, runner);
                    assert_eq!(log.take(), expected, "nested: {nests}");
                    assert_eq!(run_count(), 1);
                })
                .join()
                .unwrap();
            }
        }
    }
}

#[test]
fn run_order() {
    orders(
        |s, log, _| {
            let t1 = says(s, log, "t1");
            says(s, log, "t2");
            says(s, log, "t3");
            t1.run().unwrap();
        },
        "t1 t2 t3",
        "t1 t2 t3",
    );
}

#[test]
fn run_order_of_the_second() {
    orders(
        |s, log, _| {
            let t1 = says(s, log, "t1");
            let t2 = says(s, log, "t2");
            says(s, log, "t3");
            t2.run().unwrap();
            if hardswitch::use_nested_tasklets() {
                assert_eq!(run_count(), 2);
                t1.run().unwrap();
            }
        },
        "t2 t3 t1",
        "t2 t1 t3",
    );
}

#[test]
fn run_order_of_nested_tasklets() {
    orders(
        |s, log, go| {
            says(s, log, "t1");
            let logs = log.clone();
            s.spawn(move || {
                let t2 = says(s, &logs, "t2");
                says(s, &logs, "t3");
                says(s, &logs, "t4");
                t2.run()
            });
            says(s, log, "t5");
            go();
        },
        "t1 t2 t3 t4 t5",
        "t1 t2 t5 t3 t4",
    );
}

#[test]
fn run_order_of_nested_tasklets_with_a_schedule() {
    orders(
        |s, log, go| {
            says(s, log, "t1");
            let logs = log.clone();
            s.spawn(move || {
                let t2 = says(s, &logs, "t2");
                s.spawn(schedule);
                says(s, &logs, "t3");
                t2.run()
            });
            says(s, log, "t4");
            go();
        },
        "t1 t2 t3 t4",
        "t1 t2 t4 t3",
    );
}

#[test]
fn run_order_of_several_levels() {
    orders(
        |s, log, go| {
            says(s, log, "t1");
            let logs = log.clone();
            s.spawn(move || {
                let t2 = says(s, &logs, "t2");
                s.spawn(schedule);
                let logs = logs.clone();
                let deeper = logs.clone();
                s.spawn(move || {
                    let t3 = says(s, &deeper, "t3");
                    s.spawn(schedule);
                    says(s, &deeper, "t4");
                    t3.run()
                });
                says(s, &logs, "t5");
                t2.run()
            });
            says(s, log, "t6");
            go();
        },
        "t1 t2 t3 t4 t5 t6",
        "t1 t2 t6 t3 t5 t4",
    );
}

#[test]
fn in_flat_order_the_caller_comes_right_behind_its_target() {
    orders(
        |s, log, go| {
            let logs = log.clone();
            s.spawn(move || {
                says(s, &logs, "a");
                let b = says(s, &logs, "b");
                says(s, &logs, "c");
                b.run()?;
                logs.add("caller");
                Ok(())
            });
            says(s, log, "d");
            go();
        },
        "b c caller d a",
        "b caller d a c",
    );
}

#[test]
fn flat_order_holds_for_kill_and_switch_too() {
    orders(
        |s, log, go| {
            let logs = log.clone();
            s.spawn(move || {
                let x = says(s, &logs, "x");
                let y = says(s, &logs, "y");
                let killed = logs.clone();
                let z = s.spawn(move || {
                    let r = schedule();
                    killed.add("killed");
                    r
                });
                says(s, &logs, "w");
                z.run()?; // starts it
                drop((x, y));
                z.kill()?;
                logs.add("back");
                Ok(())
            });
            go();
        },
        // Started: z gives way, w runs, the caller. Killed: z, the caller, then who was before z.
        "w killed back x y",
        "killed back x y w",
    );
}

#[test]
fn preference_still_decides_at_a_rendezvous_in_flat_order() {
    orders(
        |s, log, go| {
            let channel = Channel::new();
            channel.set_preference(Preference::Receiver);
            let (logs, c) = (log.clone(), channel.clone());
            s.spawn(move || {
                logs.add(format!("got {}", c.receive()?));
                Ok(())
            });
            let logs = log.clone();
            s.spawn(move || {
                logs.add("send");
                channel.send(1)?;
                logs.add("sent");
                Ok(())
            });
            says(s, log, "other");
            go();
        },
        "send got 1 other sent",
        "send got 1 other sent",
    );
}
