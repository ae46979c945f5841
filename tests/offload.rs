//! Blocking calls on worker threads: every call has exactly one outcome, and it comes home.

use hardswitch::offload::{self, Call, Pool, Settings};
use hardswitch::{spawn, Error, MainLoop};
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn main_loop() -> MainLoop {
    MainLoop::current().unwrap()
}

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::new(Settings {
        threads,
        queue,
        ..Settings::default()
    })
    .unwrap()
}

fn io_kind(error: &Error) -> Option<ErrorKind> {
    match error {
        Error::Io(error) => Some(error.kind()),
        _ => None,
    }
}

/// Runs a call on a tasklet; its result, once there.
fn on_a_tasklet<R: 'static>(
    f: impl FnOnce() -> R + 'static,
) -> (hardswitch::Tasklet, Rc<RefCell<Option<R>>>) {
    let slot = Rc::new(RefCell::new(None));
    let result = slot.clone();
    let tasklet = spawn(move || {
        let value = f();
        *slot.borrow_mut() = Some(value);
    });
    (tasklet.unwrap(), result)
}

#[test]
fn the_result_comes_back_to_the_thread_that_asked() {
    let home = thread::current().id();
    let there = offload::call(|| (thread::current().id(), "text".to_owned())).unwrap();
    assert_ne!(there.0, home);
    assert_eq!(there.1, "text");
    let (_, result) = on_a_tasklet(move || {
        let result = offload::call(|| 6 * 7).unwrap();
        assert_eq!(thread::current().id(), home);
        result
    });
    main_loop().run_until_idle().unwrap();
    assert_eq!(result.take(), Some(42));
    assert!(main_loop().is_idle());
}

#[test]
fn other_tasklets_run_while_one_waits() {
    let pool = pool(1, 10);
    let (release, gate) = mpsc::channel();
    // The call ends only because another tasklet has had ten turns.
    spawn(move || -> hardswitch::Result<()> {
        for _ in 0..10 {
            hardswitch::sleep(MS(2))?;
        }
        release.send("ten turns").unwrap();
        Ok(())
    })
    .unwrap();
    let waited = pool.call(move || gate.recv_timeout(Duration::from_secs(20)));
    assert_eq!(waited.unwrap(), Ok("ten turns"));
}

#[test]
fn a_panic_comes_home_as_an_error_and_the_worker_lives_on() {
    let pool = pool(1, 10);
    for _ in 0..3 {
        match pool.call(|| panic!("on the worker")) {
            Err(Error::Panicked(thrown)) => assert_eq!(thrown.message(), "on the worker"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pool.call(|| 1).unwrap(), 1);
    assert_eq!(pool.load(), (1, 0), "one thread did it all");
}

#[test]
fn a_panic_whose_payload_is_no_text_comes_home_too() {
    #[derive(PartialEq, Debug)]
    struct Code(u8);
    match offload::call(|| std::panic::panic_any(Code(9))) {
        Err(Error::Panicked(thrown)) => assert_eq!(thrown.downcast_ref::<Code>(), Some(&Code(9))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn five_hundred_calls_on_three_threads_each_get_their_own_answer() {
    let pool = pool(3, 1000);
    let sum = Rc::new(Cell::new(0));
    for i in 0..500u64 {
        let (pool, sum) = (pool.clone(), sum.clone());
        spawn(move || -> hardswitch::Result<()> {
            let answer = pool.call(move || i.to_string())?;
            assert_eq!(answer, i.to_string());
            sum.set(sum.get() + i);
            Ok(())
        })
        .unwrap();
    }
    main_loop().run_until_idle().unwrap();
    assert_eq!(sum.get(), 500 * 499 / 2);
    assert!(pool.load().0 <= 3);
}

#[test]
fn calls_one_after_the_other_need_one_worker() {
    let pool = pool(4, 10);
    for i in 0..2000u32 {
        assert_eq!(pool.call(move || i).unwrap(), i);
    }
    assert_eq!(
        pool.load(),
        (1, 0),
        "who has told its outcome comes for the next"
    );
    // One that is busy does not come: another worker does.
    let (release, gate) = mpsc::channel::<()>();
    let busy = on_a_tasklet({
        let p = pool.clone();
        move || p.call(move || gate.recv().unwrap())
    });
    main_loop().tick().unwrap();
    assert_eq!(pool.call(|| 7).unwrap(), 7);
    assert_eq!(pool.load(), (2, 0));
    release.send(()).unwrap();
    main_loop().run_until_idle().unwrap();
    busy.1.take().unwrap().unwrap();
}

#[test]
fn a_full_queue_is_refused_and_nothing_else_is_harmed() {
    let pool = pool(1, 2);
    let (release, gate) = mpsc::channel::<()>();
    let first = on_a_tasklet({
        let p = pool.clone();
        move || p.call(move || gate.recv().unwrap())
    });
    main_loop().tick().unwrap();
    while pool.load() != (1, 0) {
        thread::sleep(MS(1)); // until the worker has taken it
    }
    let more: Vec<_> = (0..3)
        .map(|i| {
            on_a_tasklet({
                let p = pool.clone();
                move || p.call(move || i)
            })
        })
        .collect();
    main_loop().tick().unwrap();
    let refused = more[2].1.take().unwrap().unwrap_err();
    assert_eq!(io_kind(&refused), Some(ErrorKind::WouldBlock));
    assert!(
        refused.to_string().contains("queue of 2 calls is full"),
        "{refused}"
    );
    release.send(()).unwrap();
    main_loop().run_until_idle().unwrap();
    first.1.take().unwrap().unwrap();
    assert_eq!(
        more[..2]
            .iter()
            .map(|m| m.1.take().unwrap().unwrap())
            .collect::<Vec<_>>(),
        [0, 1]
    );
}

/// The system's EAGAIN for that has the kind of a full queue's error.
#[test]
fn a_thread_that_cannot_be_made_is_not_taken_for_a_full_queue() {
    let settings = Settings {
        threads: 1,
        stack_size: 1 << 50, // more than there are addresses
        queue: 1,
    };
    let pool = Pool::new(settings).unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let counts = ran.clone();
        let error = pool
            .call(move || counts.fetch_add(1, Ordering::Relaxed))
            .unwrap_err();
        assert_eq!(io_kind(&error), Some(ErrorKind::Other), "{error}");
        let words = error.to_string();
        assert!(words.contains("no worker thread can be made: "), "{words}");
    }
    // Not run, and not kept for later.
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    assert_eq!(Arc::strong_count(&ran), 1);
}

#[test]
fn a_timeout_abandons_the_call_and_its_result_goes_to_the_callback() {
    let pool = pool(1, 10);
    let late = Rc::new(RefCell::new(vec![]));
    let results = late.clone();
    let start = Instant::now();
    let (release, gate) = mpsc::channel::<()>();
    let answer = Call::new(move || {
        gate.recv().unwrap();
        "late".to_owned()
    })
    .pool(&pool)
    .timeout(MS(20))
    .on_abandoned(move |result| results.borrow_mut().push(result.unwrap()))
    .wait();
    assert!(matches!(answer, Err(Error::Timeout)));
    assert!(start.elapsed() >= MS(20));
    assert_eq!(main_loop().waiting(), (0, 0));
    assert!(!main_loop().is_idle(), "somebody wants the result still");
    release.send(()).unwrap();
    main_loop().run_until_idle().unwrap();
    assert_eq!(*late.borrow(), ["late"]);
}

#[test]
fn a_timeout_of_zero_lasts_until_the_next_pump() {
    let pool = pool(1, 10);
    for on_main in [true, false] {
        let late = Rc::new(Cell::new(0));
        let (flag, p) = (late.clone(), pool.clone());
        let (release, gate) = mpsc::channel::<()>();
        let call = move || {
            Call::new(move || gate.recv().map(|()| 3).unwrap())
                .pool(&p)
                .timeout(Duration::ZERO)
                .on_abandoned(move |result| flag.set(result.unwrap()))
                .wait()
        };
        let answer = if on_main {
            call()
        } else {
            let (_, result) = on_a_tasklet(call);
            main_loop().tick().unwrap();
            assert!(result.borrow().is_none(), "it has not pumped since");
            main_loop().tick().unwrap();
            result.take().unwrap()
        };
        assert!(matches!(answer, Err(Error::Timeout)), "{answer:?}");
        assert_eq!((late.get(), main_loop().waiting()), (0, (0, 0)));
        release.send(()).unwrap();
        main_loop().run_until_idle().unwrap();
        assert_eq!(late.get(), 3);
    }
}

#[test]
fn a_call_in_time_is_not_abandoned() {
    let called = Rc::new(Cell::new(false));
    let flag = called.clone();
    let call = Call::new(|| 5)
        .timeout(Duration::MAX)
        .on_abandoned(move |_| flag.set(true));
    assert_eq!(call.wait().unwrap(), 5);
    main_loop().run_until_idle().unwrap();
    assert!(!called.get());
    assert_eq!(main_loop().waiting(), (0, 0));
}

#[test]
fn a_killed_tasklet_abandons_its_call() {
    let pool = pool(1, 10);
    for pending in [false, true] {
        let seen = Rc::new(Cell::new(0));
        let flag = seen.clone();
        let p = pool.clone();
        let (tasklet, result) = on_a_tasklet(move || {
            let call = Call::new(|| thread::sleep(MS(30)))
                .pool(&p)
                .timeout(Duration::from_secs(60));
            call.on_abandoned(move |outcome| flag.set(if outcome.is_ok() { 1 } else { 2 }))
                .wait()
        });
        main_loop().tick().unwrap();
        if pending {
            tasklet.kill_pending().unwrap();
            main_loop().tick().unwrap();
        } else {
            tasklet.kill().unwrap();
        }
        assert!(matches!(result.take(), Some(Err(Error::Exit))));
        assert_eq!(
            main_loop().waiting(),
            (0, 0),
            "its deadline is gone with it"
        );
        main_loop().run_until_idle().unwrap();
        assert_eq!(seen.get(), 1, "pending: {pending}");
    }
}

#[test]
fn a_result_that_came_before_the_kill_goes_to_the_callback_too() {
    let late = Rc::new(Cell::new(0));
    let flag = late.clone();
    let (release, gate) = mpsc::channel::<()>();
    let (tasklet, result) = on_a_tasklet(move || {
        let call = Call::new(move || {
            gate.recv().unwrap();
            7
        });
        call.on_abandoned(move |r| flag.set(r.unwrap())).wait()
    });
    main_loop().tick().unwrap();
    // Not before: a result that comes at once is seen by the tasklet while it looks.
    release.send(()).unwrap();
    while main_loop().pump(Some(MS(100))).unwrap() == 0 {}
    // It is queued, its result waits for it; now it is killed.
    tasklet.kill_pending().unwrap();
    main_loop().run_until_idle().unwrap();
    assert!(matches!(result.take(), Some(Err(Error::Exit))));
    assert_eq!(late.get(), 7);
}

#[test]
fn an_abandoned_call_without_a_callback_keeps_no_loop_busy() {
    let pool = pool(1, 10);
    let (release, gate) = mpsc::channel::<()>();
    let answer = Call::new(move || gate.recv())
        .pool(&pool)
        .timeout(MS(5))
        .wait();
    assert!(matches!(answer, Err(Error::Timeout)));
    main_loop().run_until_idle().unwrap();
    release.send(()).unwrap();
}

#[test]
fn shutdown_finishes_what_was_asked_and_takes_no_more() {
    let pool = pool(1, 10);
    let ran = Arc::new(AtomicUsize::new(0));
    let results: Vec<_> = (0..5)
        .map(|_| {
            let (pool, ran) = (pool.clone(), ran.clone());
            on_a_tasklet(move || {
                pool.call(move || {
                    thread::sleep(MS(5));
                    ran.fetch_add(1, Ordering::Relaxed)
                })
            })
        })
        .collect();
    main_loop().tick().unwrap();
    pool.shutdown();
    assert_eq!(
        ran.load(Ordering::Relaxed),
        5,
        "all have run when it returns"
    );
    assert_eq!(pool.load(), (0, 0));
    main_loop().run_until_idle().unwrap();
    assert_eq!(
        results
            .iter()
            .map(|r| r.1.take().unwrap().unwrap())
            .collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    assert_eq!(
        io_kind(&pool.call(|| ()).unwrap_err()),
        Some(ErrorKind::NotConnected)
    );
    pool.shutdown();
    pool.shutdown_now();
}

#[test]
fn shutdown_now_gives_back_what_has_not_begun() {
    let pool = pool(1, 10);
    let (release, gate) = mpsc::channel::<()>();
    let first = on_a_tasklet({
        let p = pool.clone();
        move || p.call(move || gate.recv().unwrap())
    });
    main_loop().tick().unwrap();
    while pool.load() != (1, 0) {
        thread::sleep(MS(1));
    }
    let ran = Arc::new(AtomicUsize::new(0));
    let never: Vec<_> = (0..3)
        .map(|_| {
            on_a_tasklet({
                let (p, ran) = (pool.clone(), ran.clone());
                move || {
                    p.call(move || {
                        ran.fetch_add(1, Ordering::Relaxed);
                    })
                }
            })
        })
        .collect();
    main_loop().tick().unwrap();
    release.send(()).unwrap();
    pool.shutdown_now();
    main_loop().run_until_idle().unwrap();
    first.1.take().unwrap().unwrap();
    // The worker may have been quick; but each call has run or says that it has not.
    let outcomes: Vec<_> = never.iter().map(|n| n.1.take().unwrap()).collect();
    let given_back = outcomes
        .iter()
        .filter(|o| {
            o.as_ref()
                .is_err_and(|e| e.to_string().contains("shut down before"))
        })
        .count();
    assert_eq!(
        outcomes.iter().filter(|o| o.is_ok()).count() + given_back,
        3
    );
    assert_eq!(ran.load(Ordering::Relaxed), 3 - given_back);
}

#[test]
fn bad_settings_are_refused() {
    for settings in [
        Settings {
            threads: 0,
            ..Settings::default()
        },
        Settings {
            queue: 0,
            ..Settings::console()
        },
    ] {
        assert_eq!(
            io_kind(&Pool::new(settings).unwrap_err()),
            Some(ErrorKind::InvalidInput)
        );
    }
    offload::call(|| ()).unwrap();
    assert_eq!(
        io_kind(&offload::configure(Settings::console()).unwrap_err()),
        Some(ErrorKind::AlreadyExists)
    );
}

#[test]
fn a_tasklet_that_must_not_block_calls_nobody() {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    hardswitch::current().set_block_trap(true);
    let answer = offload::call(move || count.fetch_add(1, Ordering::Relaxed));
    hardswitch::current().set_block_trap(false);
    assert!(matches!(answer, Err(Error::BlockTrap)));
    thread::sleep(MS(10));
    assert_eq!(
        (ran.load(Ordering::Relaxed), Arc::strong_count(&ran)),
        (0, 1)
    );
}

#[test]
fn a_thread_that_ends_leaves_its_calls_to_nobody_and_hangs_nobody() {
    let pool = pool(1, 10);
    let token = Arc::new(());
    let (p, t) = (pool.clone(), token.clone());
    let (release, gate) = mpsc::channel::<()>();
    thread::spawn(move || {
        spawn(move || p.call(move || gate.recv().map(|_| t)).map(drop)).unwrap();
        main_loop().tick().unwrap();
    })
    .join()
    .unwrap();
    release.send(()).unwrap();
    pool.shutdown();
    assert_eq!(Arc::strong_count(&token), 1, "the outcome is dropped");
}

#[test]
fn several_threads_share_a_pool() {
    let pool = pool(2, 100);
    let threads: Vec<_> = (0..4)
        .map(|i| {
            let pool = pool.clone();
            thread::spawn(move || {
                (0..50)
                    .map(|k| pool.call(move || i * 100 + k).unwrap())
                    .sum::<usize>()
            })
        })
        .collect();
    for (i, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), (0..50).map(|k| i * 100 + k).sum());
    }
}

#[test]
fn results_are_dropped_once_whatever_becomes_of_them() {
    let token = Arc::new(());
    let pool = pool(2, 100);
    let t = token.clone();
    drop(pool.call(move || t).unwrap());
    let t = token.clone();
    let _ = Call::new(move || {
        thread::sleep(MS(20));
        t
    })
    .pool(&pool)
    .timeout(MS(1))
    .wait();
    let t = token.clone();
    let _ = pool.call(move || {
        let _t = t;
        panic!("with a token")
    });
    pool.shutdown();
    main_loop().pump(Some(Duration::ZERO)).unwrap();
    assert_eq!(Arc::strong_count(&token), 1);
}

#[test]
fn the_small_stacks_of_a_console_suffice_for_name_look_ups_and_panics() {
    let pool = Pool::new(Settings::console()).unwrap();
    let looked_up = pool
        .call(|| std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 80)).map(Iterator::count));
    // Whether the machine knows the name is not the question.
    let _ = looked_up.unwrap();
    let unknown = pool.call(|| {
        std::net::ToSocketAddrs::to_socket_addrs(&("no-such-host.invalid", 80)).map(Iterator::count)
    });
    unknown.unwrap().unwrap_err();
    let panicked = pool.call(|| panic!("with a backtrace if one is wanted"));
    assert!(matches!(panicked, Err(Error::Panicked(_))));
}

/// What has not begun is dropped by who shuts the pool down; whatever its destructor does, the
/// tasklet is told.
#[test]
fn a_call_whose_destructor_panics_is_given_back_all_the_same() {
    struct Fails;
    impl Drop for Fails {
        fn drop(&mut self) {
            panic!("a destructor's panic");
        }
    }
    let pool = pool(1, 10);
    let (release, gate) = mpsc::channel::<()>();
    let first = on_a_tasklet({
        let pool = pool.clone();
        move || pool.call(move || gate.recv().unwrap())
    });
    main_loop().tick().unwrap();
    while pool.load() != (1, 0) {
        thread::sleep(MS(1));
    }
    let (never, held) = on_a_tasklet({
        let (pool, fails) = (pool.clone(), Fails);
        move || {
            pool.call(move || {
                let _fails = fails;
            })
        }
    });
    main_loop().tick().unwrap();
    let shuts = pool.clone();
    let thread = thread::spawn(move || shuts.shutdown_now());
    while pool.load().1 > 0 {
        thread::sleep(MS(1));
    }
    release.send(()).unwrap();
    thread.join().unwrap();
    let told = hardswitch::time::timeout(MS(60_000), || {
        while never.is_alive() {
            hardswitch::sleep(MS(1))?;
        }
        Ok(())
    });
    told.expect("it is told");
    let error = held.take().unwrap().unwrap_err();
    assert_eq!(io_kind(&error), Some(ErrorKind::NotConnected));
    main_loop().run_until_idle().unwrap();
    first.1.take().unwrap().unwrap();
}

#[test]
fn jobs_that_wait_for_the_pool_that_makes_them_are_made() {
    // Each job asks for another one, deeper than there are workers; then by way of a second pool.
    fn deeper(pools: Vec<Pool>, levels: usize) -> usize {
        if levels == 0 {
            return 0;
        }
        let pool = pools[levels % pools.len()].clone();
        pool.call(move || deeper(pools, levels - 1))
            .expect("an answer")
            + 1
    }
    for pools in [
        vec![pool(1, 1)],
        vec![pool(2, 8)],
        vec![pool(1, 8), pool(1, 8)],
    ] {
        for round in 0..6 {
            let (tx, rx) = mpsc::channel();
            let asks = 1 + round % 3;
            for ask in 0..asks.min(pools[0].settings().queue) {
                let (pools, tx) = (pools.clone(), tx.clone());
                // They begin at either pool.
                thread::spawn(move || tx.send(deeper(pools, 6 + ask % 2)));
            }
            drop(tx);
            let mut answers = vec![];
            while let Ok(answer) = rx.recv_timeout(Duration::from_secs(60)) {
                answers.push(answer / 6);
            }
            let expected = vec![1; asks.min(pools[0].settings().queue)];
            assert_eq!(answers, expected, "round {round} of {}", pools.len());
        }
    }
}

#[test]
fn what_a_job_begins_ends_with_it() {
    struct Ends(Arc<AtomicUsize>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let pool = pool(1, 8);
    let (ran, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for round in 1..=3 {
        let (counted, ends) = (ran.clone(), ended.clone());
        let begin = move || {
            for waits in [false, true] {
                let (counted, ends) = (counted.clone(), Ends(ends.clone()));
                hardswitch::spawn(move || {
                    let _ends = ends;
                    hardswitch::schedule()?;
                    counted.fetch_add(1, Ordering::SeqCst);
                    match waits {
                        true => hardswitch::sleep(Duration::from_secs(1000)),
                        false => Ok(()),
                    }
                })
                .unwrap();
            }
            let (later, posted) = (Ends(ends.clone()), Ends(ends.clone()));
            hardswitch::timer::call_later(Duration::from_secs(1000), move || drop(later)).unwrap();
            let here = MainLoop::current().unwrap().remote();
            here.post(move || drop(posted)).unwrap();
            here
        };
        let there = pool.call(begin).unwrap();
        let counts = (ran.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
        assert_eq!(counts, (2 * round, 4 * round));
        assert!(there.post(|| ()).is_err());
    }
}

#[test]
fn a_job_that_leaves_a_tasklet_which_cannot_run_has_its_outcome() {
    let pool = pool(1, 8);
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        let (ended, ends) = mpsc::channel::<()>();
        let leaves = move || {
            let trap = hardswitch::switch_trapped();
            // The tasklet that would end the trap cannot have its turn.
            spawn(move || drop((trap, ended))).map(drop)
        };
        let left = pool.call(leaves).map(|left| left.is_ok());
        // It was killed, and what comes later on that worker may switch.
        let killed = ends.try_recv() == Err(mpsc::TryRecvError::Disconnected);
        let next = pool.call(|| {
            spawn(|| ()).unwrap();
            hardswitch::run().is_ok()
        });
        pool.shutdown();
        tx.send((left.ok(), killed, next.ok())).unwrap();
    });
    let told = rx.recv_timeout(Duration::from_secs(60));
    assert_eq!(told, Ok((Some(true), true, Some(true))));
}

/// Panics when it is dropped.
struct Fails;

impl Drop for Fails {
    fn drop(&mut self) {
        panic!("a destructor of what a job has left");
    }
}

#[test]
fn a_worker_works_on_whatever_panics_of_what_a_job_has_left() {
    let pool = pool(1, 8);
    let leaves = || {
        let here = MainLoop::current().unwrap().remote();
        for _ in 0..2 {
            let fails = Fails;
            here.post(move || drop(fails)).unwrap();
            let fails = Fails;
            hardswitch::timer::call_later(Duration::from_secs(1000), move || drop(fails)).unwrap();
        }
        // Its error is dropped by the worker, and another one waits for ever.
        let waits = hardswitch::Channel::<u32>::new();
        std::mem::forget(spawn(move || waits.receive().map(drop)).unwrap());
        spawn(|| Err::<(), _>(hardswitch::Error::thrown(Fails))).unwrap();
    };
    let spawns = || {
        let spawned = spawn(|| ()).map(drop);
        spawned.and_then(|()| hardswitch::run())
    };
    for _ in 0..3 {
        pool.call(leaves).unwrap();
        let tasklets = pool.call(|| hardswitch::stats().tasklets).unwrap();
        assert_eq!(tasklets, 1, "what a job has left is gone");
        pool.call(spawns).unwrap().unwrap();
    }
}
