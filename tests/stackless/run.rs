//! `run`: from main, from any tasklet, nested.

use super::*;

#[test]
fn run_ends_when_everybody_has_ended() {
    fresh(|s| {
        let t: Vec<_> = (0..4)
            .map(|i| s.spawn(move || (0..i).try_for_each(|_| hardswitch::schedule())))
            .collect();
        hardswitch::run().unwrap();
        assert!(t.iter().all(|t| !t.is_alive()));
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn an_uncaught_error_comes_out_of_run_and_the_rest_stays_queued() {
    fresh(|s| {
        s.spawn(|| ());
        let raising = s.spawn(|| Err::<(), _>(oops(1)));
        let rest = s.spawn(|| ());
        assert_eq!(told(hardswitch::run()), "oops 1");
        assert!(!raising.is_alive());
        assert!(rest.is_scheduled());
        assert_eq!(hardswitch::run_count(), 2);
        hardswitch::run().unwrap();
        assert!(!rest.is_alive());
    });
}

#[test]
fn an_uncaught_error_comes_out_of_whatever_main_waits_in() {
    fresh(|s| {
        s.spawn(|| Err::<(), _>(oops(1)));
        assert_eq!(told(hardswitch::schedule()), "oops 1");
        let t = s.spawn(|| Err::<(), _>(oops(2)));
        assert_eq!(told(t.run()), "oops 2");
        let t = s.spawn(|| Err::<(), _>(oops(3)));
        assert_eq!(told(t.switch()), "oops 3");
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn an_uncaught_panic_comes_out_of_run_too() {
    fresh(|s| {
        let t = s.spawn(|| {
            if hardswitch::run_count() > 0 {
                panic_with("out of tea");
            }
        });
        match hardswitch::run() {
            Err(Error::Panicked(payload)) => {
                assert_eq!(payload.downcast_ref::<&str>(), Some(&"out of tea"))
            }
            other => panic!("expected the panic, got {other:?}"),
        }
        assert!(!t.is_alive());
        s.spawn(|| ());
        hardswitch::run().unwrap();
    });
}

#[test]
fn an_exit_is_silent() {
    fresh(|s| {
        let t = s.spawn(|| Err::<(), _>(Error::Exit));
        let u = s.spawn(|| ());
        hardswitch::run().unwrap();
        assert!(!t.is_alive() && !u.is_alive());
    });
}

#[test]
fn a_worker_can_run_the_others() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        s.spawn(move || {
            let inner = seen.clone();
            s.spawn(move || inner.add("inner"));
            hardswitch::run()?;
            seen.add("worker");
            Ok::<_, Error>(())
        });
        hardswitch::run().unwrap();
        log.add("main");
        assert_eq!(log.take(), "inner worker main");
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn a_worker_can_run_the_others_while_main_is_blocked() {
    fresh(|s| {
        let log = Log::default();
        let c: Channel<i64> = Channel::new();
        let (chan, seen) = (c.clone(), log.clone());
        s.spawn(move || {
            let inner = seen.clone();
            s.spawn(move || inner.add("inner"));
            hardswitch::run()?;
            seen.add("worker");
            chan.send(1)
        });
        assert_eq!(c.receive().unwrap(), 1);
        assert_eq!(log.take(), "inner worker");
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_worker_runs_everybody_queued_main_included() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let worker = s.spawn(move || {
            seen.add("worker");
            hardswitch::run()?;
            seen.add("worker again");
            Ok::<_, Error>(())
        });
        worker.run().unwrap();
        log.add("main");
        assert!(worker.is_paused(), "its run waits for the queue to empty");
        let seen = log.clone();
        s.spawn(move || seen.add("other"));
        hardswitch::schedule().unwrap();
        assert!(worker.is_paused(), "main is still queued");
        hardswitch::schedule_remove().unwrap();
        assert_eq!(log.take(), "worker main other worker again");
        assert!(!worker.is_alive());
    });
}

#[test]
fn the_inner_run_completes_before_the_outer_one() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        s.spawn(move || {
            let inner = seen.clone();
            s.spawn(move || {
                inner.add(hardswitch::main_tasklet().is_paused());
                hardswitch::schedule()?;
                inner.add("task");
                Ok::<_, Error>(())
            });
            hardswitch::run()?;
            seen.add("inner");
            hardswitch::schedule()?;
            seen.add("after");
            Ok::<_, Error>(())
        });
        hardswitch::run().unwrap();
        log.add("outer");
        assert_eq!(log.take(), "true task inner after outer");
    });
}

#[test]
fn the_inner_run_gets_the_error() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        s.spawn(move || {
            s.spawn(|| Err::<(), _>(oops(1)));
            seen.add(told(hardswitch::run()));
        });
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "oops 1");
    });
}

#[test]
fn waking_the_outer_run_makes_the_inner_one_runnable() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let worker = s.spawn(move || {
            let inner = seen.clone();
            let c: Channel<i64> = Channel::new();
            let kept = c.clone();
            s.spawn(move || {
                inner.add("wakes main");
                let r = hardswitch::main_tasklet().run();
                inner.add("back");
                r?;
                kept.receive().map(drop)
            });
            let r = hardswitch::run();
            seen.add("inner run is over");
            c.send(0)?;
            r
        });
        hardswitch::run().unwrap();
        log.add("outer run is over");
        assert!(
            worker.is_scheduled(),
            "the deeper one lost its place and is runnable"
        );
        hardswitch::run().unwrap();
        assert_eq!(
            log.take(),
            "wakes main outer run is over back inner run is over"
        );
        assert!(!worker.is_alive());
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn several_deeper_runs_become_runnable_when_the_outer_one_is_woken() {
    fresh(|s| {
        let log = Log::default();
        fn nest(s: Stacks, log: &Log, depth: u32) {
            let log = log.clone();
            s.spawn(move || {
                if depth == 3 {
                    let r = hardswitch::main_tasklet().run();
                    log.add("innermost");
                    return r;
                }
                nest(s, &log, depth + 1);
                let r = hardswitch::run();
                log.add(depth);
                r
            });
        }
        nest(s, &log, 0);
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "");
        assert_eq!(
            hardswitch::run_count(),
            5,
            "main, the one that woke it and the three that ran"
        );
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "innermost 2 1 0", "the deepest run first");
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn a_run_can_be_thrown_at() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let worker = s.spawn(move || seen.add(told(hardswitch::run())));
        worker.run().unwrap();
        assert!(worker.is_paused());
        worker.throw(oops(4)).unwrap();
        assert_eq!(log.take(), "oops 4");
        assert!(!worker.is_alive());
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_run_can_be_killed_and_the_next_run_is_whole() {
    fresh(|s| {
        let worker = s.spawn(hardswitch::run);
        worker.run().unwrap();
        worker.kill().unwrap();
        assert!(!worker.is_alive());
        let t = s.spawn(|| ());
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn run_works_from_a_deep_stack_and_from_a_shallow_one() {
    #[inline(never)]
    fn deep(depth: u32, f: &dyn Fn()) -> u32 {
        let here = std::hint::black_box([depth; 64]);
        if depth == 0 {
            f();
            return 0;
        }
        deep(depth - 1, f) + here[depth as usize % 64].min(1)
    }
    fresh(|s| {
        let c = Channel::new();
        let t = s.sender(&c, 1);
        assert_eq!(deep(300, &|| assert_eq!(c.receive().unwrap(), 1)), 300);
        assert_eq!(deep(0, &|| hardswitch::run().unwrap()), 0);
        assert!(!t.is_alive());
        let t = s.spawn(hardswitch::schedule);
        deep(100, &|| hardswitch::schedule().unwrap());
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn runs_nest_as_deep_as_there_are_tasklets() {
    fresh(|s| {
        for depth in [1, 10, 100, 500] {
            fn nest(s: Stacks, left: u32, log: Log) -> Result<(), Error> {
                if left == 0 {
                    log.add("bottom");
                    return Ok(());
                }
                let child = log.clone();
                s.spawn(move || nest(s, left - 1, child));
                hardswitch::run()
            }
            let log = Log::default();
            nest(s, depth, log.clone()).unwrap();
            assert_eq!(log.take(), "bottom");
            assert_eq!(hardswitch::run_count(), 1);
        }
    });
}
