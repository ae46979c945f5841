//! Tasklets of other threads: what is asked for happens over there, and the asker goes on.

use hardswitch::thread::{self as hsw, Channel, Remote};
use hardswitch::{spawn, Error, MainLoop, StateError, Tasklet};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

/// A thread with a main loop that runs until it is stopped, and what `f` makes there.
fn server<R: Send + 'static>(
    f: impl FnOnce() -> R + Send + 'static,
) -> (R, hardswitch::main_loop::Remote, thread::JoinHandle<()>) {
    let (tx, rx) = mpsc::channel();
    let thread = thread::spawn(move || {
        let main_loop = MainLoop::current().unwrap();
        tx.send((f(), main_loop.remote())).unwrap();
        main_loop.run().unwrap();
    });
    let (result, remote) = rx.recv().unwrap();
    (result, remote, thread)
}

/// A reference to what remains of a thread.
fn of_a_dead_thread() -> Remote {
    thread::spawn(|| {
        let tasklet = Tasklet::new().unwrap();
        tasklet.bind::<_, ()>(|| panic!("must not run")).unwrap();
        tasklet.remote().unwrap()
    })
    .join()
    .unwrap()
}

#[test]
fn a_tasklet_is_set_up_by_another_thread_and_runs_on_its_own() {
    let ran = Arc::new(AtomicUsize::new(0));
    let there = ran.clone();
    let (tasklets, main_loop, thread) = server(move || {
        let home = thread::current().id();
        let make = |_| {
            let there = there.clone();
            let tasklet = Tasklet::new().unwrap();
            tasklet
                .bind(move || {
                    assert_eq!(thread::current().id(), home);
                    there.fetch_add(1, Ordering::SeqCst);
                })
                .unwrap();
            tasklet.remote().unwrap()
        };
        (0..10).map(make).collect::<Vec<_>>()
    });
    for tasklet in &tasklets {
        assert!(!tasklet.is_alive().unwrap());
        tasklet.setup().unwrap();
    }
    while ran.load(Ordering::SeqCst) < 10 {
        thread::yield_now();
    }
    // Refused there; here it goes on.
    tasklets[0].insert().unwrap();
    let refused = tasklets[0].with(|t| t.insert()).unwrap();
    assert!(matches!(refused, Err(Error::State(StateError::RunDead))));
    main_loop.stop();
    thread.join().unwrap();
}

#[test]
fn run_beats_an_earlier_insert() {
    let (tx, rx) = mpsc::channel();
    let (tasklets, main_loop, thread) = server(move || {
        (0..3)
            .map(|i| {
                let tx = tx.clone();
                let tasklet = Tasklet::new().unwrap();
                tasklet.bind_paused(move || tx.send(i).unwrap()).unwrap();
                tasklet.remote().unwrap()
            })
            .collect::<Vec<_>>()
    });
    // In one go, so that the thread does not run them in between.
    let (a, b, c) = (&tasklets[0], &tasklets[1], &tasklets[2]);
    let (first, second) = (b.clone(), c.clone());
    a.with(move |a| {
        a.insert().unwrap();
        first.insert().unwrap();
        second.run().unwrap();
    })
    .unwrap();
    let order: Vec<_> = rx.iter().take(3).collect();
    assert_eq!(order, [2, 0, 1]);
    main_loop.stop();
    thread.join().unwrap();
}

#[test]
fn who_waits_can_be_killed_and_thrown_at_from_elsewhere() {
    let (tx, rx) = mpsc::channel();
    let channel = Channel::<u32>::new();
    let there = channel.clone();
    let (tasklets, main_loop, thread) = server(move || {
        let make = |local: bool| {
            let (there, tx) = (there.clone(), tx.clone());
            let own = hardswitch::Channel::<u32>::new();
            let tasklet = spawn(move || {
                let result = if local {
                    own.receive()
                } else {
                    there.receive()
                };
                tx.send(result.unwrap_err()).unwrap();
            });
            tasklet.unwrap().remote().unwrap()
        };
        [make(true), make(false), make(true), make(false)]
    });
    while channel.balance() != -2 {
        thread::yield_now();
    }
    for (tasklet, pending) in tasklets[..2].iter().zip([false, true]) {
        match pending {
            false => tasklet.kill().unwrap(),
            true => tasklet.kill_pending().unwrap(),
        }
        assert!(rx.recv().unwrap().is_exit());
    }
    for tasklet in &tasklets[2..] {
        tasklet.throw(Error::thrown(7)).unwrap();
        match rx.recv().unwrap() {
            Error::Thrown(thrown) => assert_eq!(thrown.downcast_ref::<i32>(), Some(&7)),
            other => panic!("{other}"),
        }
    }
    for tasklet in &tasklets {
        assert!(!tasklet.is_alive().unwrap());
        tasklet.kill().unwrap();
        // It keeps its thread.
        let there = tasklet.with(|tasklet| tasklet.thread_id()).unwrap();
        assert_eq!(tasklet.thread(), Some(there));
        assert_ne!(there, hardswitch::thread_id());
    }
    assert_eq!(channel.balance(), 0);
    main_loop.stop();
    thread.join().unwrap();
}

#[test]
fn who_is_killed_comes_next_and_who_is_killed_pending_in_its_turn() {
    for pending in [false, true] {
        let (tx, rx) = mpsc::channel();
        let ((victim, other), main_loop, thread) = server(move || {
            let waits = |name: &'static str| {
                let tx = tx.clone();
                let tasklet = spawn(move || {
                    let result = hardswitch::schedule_remove();
                    tx.send((name, result.is_err())).unwrap();
                });
                tasklet.unwrap().remote().unwrap()
            };
            let both = (waits("victim"), waits("other"));
            hardswitch::schedule().unwrap();
            both
        });
        let first = victim.clone();
        // In one go, so that the thread does not run them in between.
        other
            .with(move |other| {
                other.insert().unwrap();
                match pending {
                    false => first.kill().unwrap(),
                    true => first.kill_pending().unwrap(),
                }
            })
            .unwrap();
        let order: Vec<_> = rx.iter().take(2).collect();
        match pending {
            false => assert_eq!(order, [("victim", true), ("other", false)]),
            true => assert_eq!(order, [("other", false), ("victim", true)]),
        }
        main_loop.stop();
        thread.join().unwrap();
    }
}

#[test]
fn a_main_tasklet_that_sleeps_in_the_system_can_be_thrown_at() {
    let (tx, rx) = mpsc::channel();
    let channel = Channel::<u32>::new();
    let there = channel.clone();
    let thread = thread::spawn(move || {
        tx.send(hardswitch::current().remote().unwrap()).unwrap();
        there.receive()
    });
    let main = rx.recv().unwrap();
    while channel.balance() != -1 {
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(20));
    main.throw(Error::thrown("wake up")).unwrap();
    assert!(matches!(thread.join().unwrap(), Err(Error::Thrown(_))));
    assert_eq!(channel.balance(), 0);
}

#[test]
fn the_methods_of_a_dead_threads_tasklet_say_so() {
    let dead = of_a_dead_thread();
    let no_thread =
        |r: hardswitch::Result<()>| matches!(r, Err(Error::State(StateError::NoThread)));
    assert!(matches!(
        dead.insert(),
        Err(Error::State(StateError::ThreadNotInitialized))
    ));
    assert!(no_thread(dead.run()));
    assert!(no_thread(dead.setup()));
    assert!(no_thread(dead.throw(Error::thrown(1))));
    assert!(no_thread(dead.throw_pending(Error::thrown(1))));
    assert!(no_thread(dead.with(|_| ())));
    dead.kill().unwrap();
    dead.remove().unwrap();
    assert!(!dead.is_alive().unwrap());
    assert_eq!(dead.thread(), None);
}

#[test]
fn who_asks_a_thread_that_ends_is_told() {
    let (tx, rx) = mpsc::channel();
    let end = Arc::new(AtomicBool::new(false));
    let ended = end.clone();
    let thread = thread::spawn(move || {
        tx.send(hardswitch::current().remote().unwrap()).unwrap();
        // Never reads its messages.
        while !ended.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    });
    let main = rx.recv().unwrap();
    let asker = thread::spawn(move || main.with(|_| ()));
    thread::sleep(Duration::from_millis(30));
    end.store(true, Ordering::SeqCst);
    thread.join().unwrap();
    assert!(matches!(
        asker.join().unwrap(),
        Err(Error::State(StateError::NoThread))
    ));
}

#[test]
fn threads_are_listed_and_tell_about_themselves() {
    let me = hardswitch::thread_id();
    let (there, main_loop, thread) = server(|| {
        let channel = hardswitch::Channel::<u32>::new();
        spawn(move || channel.receive().map(drop)).unwrap();
        hardswitch::thread_id()
    });
    let all = hsw::threads();
    assert!(all.contains(&me) && all.contains(&there));
    // Once its tasklet has run until it waits.
    let mut info = hsw::info(there).unwrap();
    while info.run_count > 1 || info.current != info.main {
        info = hsw::info(there).unwrap();
    }
    assert_eq!(info.tasklets, 2);
    assert_eq!(info.main.thread(), Some(there));
    assert_eq!(info.main, info.current);
    assert_eq!(
        hsw::info(me).unwrap().main.tasklet_id(),
        hardswitch::current().id()
    );
    main_loop.stop();
    thread.join().unwrap();
    assert!(!hsw::threads().contains(&there));
    assert!(hsw::info(there).is_err());
}

#[test]
fn a_reference_keeps_its_tasklet_until_it_is_dropped() {
    let token = Arc::new(());
    let theirs = token.clone();
    let (tasklet, main_loop, thread) = server(move || {
        let tasklet = Tasklet::new().unwrap();
        tasklet.bind(move || drop(theirs)).unwrap();
        tasklet.remote().unwrap()
    });
    let copy = tasklet.clone();
    drop(tasklet);
    assert!(!copy.is_alive().unwrap());
    assert_eq!(Arc::strong_count(&token), 2);
    drop(copy);
    while Arc::strong_count(&token) > 1 {
        thread::yield_now();
    }
    main_loop.stop();
    thread.join().unwrap();
}

#[test]
fn on_its_own_thread_it_works_too() {
    let log = Rc::new(RefCell::new(vec![]));
    let seen = log.clone();
    let tasklet = Tasklet::new().unwrap();
    tasklet.bind(move || seen.borrow_mut().push(1)).unwrap();
    let remote = tasklet.remote().unwrap();
    remote.setup().unwrap();
    hardswitch::run().unwrap();
    assert_eq!(*log.borrow(), [1]);
    assert!(!remote.is_alive().unwrap());
    hardswitch::current()
        .remote()
        .unwrap()
        .throw(Error::thrown(1))
        .unwrap();
    assert!(matches!(hardswitch::schedule(), Err(Error::Thrown(_))));
}

/// A panic in what is asked for is not the fault of who reads it, and told to who asked.
#[test]
fn a_panic_in_a_question_harms_nobody() {
    let (main, main_loop, thread) = server(|| hardswitch::current().remote().unwrap());
    match main.with(|_| -> () { panic!("a question's panic") }) {
        Err(Error::Panicked(panic)) => assert_eq!(panic.message(), "a question's panic"),
        other => panic!("{other:?}"),
    }
    assert!(main.is_alive().unwrap());
    main_loop.stop();
    thread.join().unwrap();
}

#[test]
fn a_loop_is_not_idle_while_there_is_a_message() {
    std::thread::spawn(|| {
        let tasklet = Tasklet::new().unwrap();
        let ran = Rc::new(Cell::new(false));
        let set = ran.clone();
        tasklet.bind(move || set.set(true)).unwrap();
        let remote = tasklet.remote().unwrap();
        // Nobody runs it at once: it is asked as any thread would ask.
        std::thread::spawn(move || remote.setup().unwrap())
            .join()
            .unwrap();
        hardswitch::MainLoop::current()
            .unwrap()
            .run_until_idle()
            .unwrap();
        assert!(ran.get());
    })
    .join()
    .unwrap();
}

/// What is asked of a thread may block there, though it should not. What is asked next does not
/// wait for it.
#[test]
fn a_question_that_blocks_does_not_hold_up_the_next() {
    let (tell, told) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let thread = thread::spawn(move || {
        let never = hardswitch::Channel::<u32>::new();
        let (answer, asked) = (Rc::new(Cell::new(false)), Tasklet::new().unwrap());
        let set = answer.clone();
        asked.bind(move || set.set(true)).unwrap();
        thread_local! {
            static NEVER: RefCell<Option<hardswitch::Channel<u32>>> = const { RefCell::new(None) };
        }
        NEVER.with(|slot| *slot.borrow_mut() = Some(never.clone()));
        let blocks = |_: &Tasklet| {
            let never = NEVER.with(|slot| slot.borrow().clone()).unwrap();
            assert!(matches!(never.receive(), Err(Error::Exit)));
        };
        let remote = asked.remote().unwrap();
        // Both are asked while a tasklet runs; another one comes to them.
        let busy = move || {
            tell.send((remote, blocks)).unwrap();
            goes.recv().unwrap();
        };
        spawn(busy).unwrap();
        let reader = spawn(|| ()).unwrap();
        hardswitch::run().unwrap();
        assert!(reader.is_blocked(), "in the question");
        hardswitch::run().unwrap();
        assert!(answer.get(), "the next one was not asked");
        reader.kill().unwrap();
    });
    let (remote, blocks) = told.recv().unwrap();
    let (first, second) = (remote.clone(), remote);
    let asks = thread::spawn(move || first.with(blocks));
    // It has asked when its thread sleeps; there is nothing else to see of that.
    thread::sleep(Duration::from_millis(100));
    second.setup().unwrap();
    go.send(()).unwrap();
    thread.join().unwrap();
    asks.join().unwrap().unwrap();
}

/// The message that throws is read by an operation that has failed already: what was thrown is for
/// the next one.
#[test]
fn a_kill_is_not_lost_when_the_operation_that_reads_it_fails() {
    let main = hardswitch::main_tasklet().remote().unwrap();
    let (posted, is_posted) = mpsc::channel();
    let thread = thread::spawn(move || {
        let first = main.clone();
        let asks = spawn(move || {
            let failed = first.with(|_| {
                let _trap = hardswitch::switch_trapped();
                hardswitch::schedule()
            })?;
            assert!(matches!(failed, Err(Error::SwitchTrap)));
            Ok(())
        });
        hardswitch::run().unwrap();
        main.kill().unwrap();
        posted.send(()).unwrap();
        MainLoop::current().unwrap().run_until_idle().unwrap();
        assert!(!asks.unwrap().is_alive());
    });
    is_posted.recv().unwrap();
    let other = spawn(|| ()).unwrap();
    let pumped = MainLoop::current().unwrap().pump(Some(Duration::ZERO));
    assert!(matches!(pumped, Err(Error::Exit)), "{pumped:?}");
    hardswitch::run().unwrap();
    assert!(!other.is_alive());
    thread.join().unwrap();
}

#[test]
fn what_is_thrown_at_an_idle_loop_that_waits_for_other_threads_ends_it() {
    let main = hardswitch::main_tasklet().remote().unwrap();
    let channel = Channel::<u32>::new();
    let waits = channel.clone();
    let waiting = spawn(move || waits.receive().map(drop)).unwrap();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        hardswitch::thread_id();
        thread::sleep(Duration::from_millis(50));
        main.throw(Error::Timeout).unwrap();
        // It can run, so there is hope for a while.
        let _ = may_go_on.recv_timeout(Duration::from_secs(60));
    });
    let result = MainLoop::current().unwrap().run_until_idle();
    assert!(matches!(result, Err(Error::Timeout)), "{result:?}");
    drop(go_on);
    thread.join().unwrap();
    waiting.kill().unwrap();
}

/// A thread whose main tasklet does `f`; a test that hangs says so.
fn alone<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (tx, rx) = mpsc::channel();
    let thread = thread::spawn(move || tx.send(f()));
    let result = rx.recv_timeout(Duration::from_secs(60));
    let result = result.unwrap_or_else(|_| panic!("it has not come back"));
    thread.join().unwrap().unwrap();
    result
}

/// Has another thread do `f`, and waits until it has.
fn elsewhere<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    thread::spawn(f).join().unwrap()
}

thread_local! {
    static NUMBERS: hardswitch::Channel<u32> = hardswitch::Channel::new();
}

fn numbers() -> hardswitch::Channel<u32> {
    NUMBERS.with(Clone::clone)
}

#[test]
fn what_is_thrown_at_who_drives_the_loop_is_told_after_the_value_that_came_first() {
    for throw_first in [false, true] {
        alone(move || {
            let me = hardswitch::current().remote().unwrap();
            let (thrower, giver) = (me.clone(), me);
            let poster = MainLoop::current().unwrap().remote();
            let give = move || {
                elsewhere(move || {
                    let given = || numbers().try_send(7).expect("main receives");
                    poster.post(given).unwrap();
                    drop(giver);
                });
            };
            let throw = move || elsewhere(move || thrower.throw(Error::thrown("stop it")).unwrap());
            if throw_first {
                throw();
                give();
            } else {
                give();
                throw();
            }
            let patience = Duration::from_secs(20);
            assert_eq!(numbers().receive_timeout(patience).unwrap(), 7);
            let told = numbers().receive_timeout(patience);
            assert!(matches!(told, Err(Error::Thrown(_))), "{told:?}");
            let once = numbers().receive_timeout(Duration::from_millis(1));
            assert!(matches!(once, Err(Error::Timeout)), "{once:?}");
        });
    }
}

#[test]
fn messages_of_one_batch_lose_neither_a_value_nor_what_is_thrown() {
    alone(|| {
        let me = hardswitch::current().remote().unwrap();
        let (giver, thrower) = (me.clone(), me);
        let (tx, rx) = mpsc::channel();
        let giver = thread::spawn(move || giver.with(|_| numbers().try_send(7).is_ok()));
        let thrower = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            tx.send(thrower.throw(Error::thrown("stop it"))).unwrap();
        });
        rx.recv().unwrap().unwrap();
        assert_eq!(numbers().receive().unwrap(), 7);
        let told = numbers().receive_timeout(Duration::from_secs(20));
        assert!(matches!(told, Err(Error::Thrown(_))), "{told:?}");
        assert!(giver.join().unwrap().unwrap());
        thrower.join().unwrap();
    });
}

#[test]
fn an_event_never_meets_what_is_thrown_at_the_tasklet_that_runs_it() {
    alone(|| {
        let got = Rc::new(Cell::new(0));
        let there = got.clone();
        let receiver = spawn(move || {
            there.set(numbers().receive()?);
            Ok(())
        });
        hardswitch::run().unwrap();
        let me = hardswitch::current().remote().unwrap();
        let poster = MainLoop::current().unwrap().remote();
        elsewhere(move || {
            me.kill().unwrap();
            poster.post(|| numbers().send(42).unwrap()).unwrap();
        });
        let slept = hardswitch::sleep(Duration::from_secs(20));
        assert!(matches!(slept, Err(Error::Exit)), "{slept:?}");
        hardswitch::run().unwrap();
        assert_eq!(got.get(), 42);
        assert!(!receiver.unwrap().is_alive());
    });
}

#[test]
fn an_event_that_blocks_goes_on_when_the_tasklet_that_runs_it_is_killed() {
    alone(|| {
        let got = Rc::new(Cell::new(0));
        let there = got.clone();
        let poster = MainLoop::current().unwrap().remote();
        let main = hardswitch::main_tasklet();
        spawn(move || {
            // Main waits in its event by now.
            assert!(main.is_blocked());
            main.kill().unwrap();
            assert!(main.is_blocked(), "not its own wait");
            there.set(numbers().receive()?);
            Ok(())
        })
        .unwrap();
        poster.post(|| numbers().send(42).unwrap()).unwrap();
        let slept = hardswitch::sleep(Duration::from_secs(20));
        assert!(matches!(slept, Err(Error::Exit)), "{slept:?}");
        assert_eq!(got.get(), 42);
        hardswitch::sleep(Duration::from_millis(1)).unwrap();
    });
}

#[test]
fn an_event_can_kill_the_tasklet_that_runs_it() {
    alone(|| {
        let poster = MainLoop::current().unwrap().remote();
        poster
            .post(|| hardswitch::main_tasklet().kill().unwrap())
            .unwrap();
        let slept = hardswitch::sleep(Duration::from_secs(20));
        assert!(matches!(slept, Err(Error::Exit)), "{slept:?}");
    });
}

#[test]
fn a_time_limit_inside_an_event_ends_the_wait_of_the_event_alone() {
    alone(|| {
        let poster = MainLoop::current().unwrap().remote();
        let event = || {
            let limited =
                hardswitch::time::timeout(Duration::from_millis(5), || numbers().receive());
            assert!(matches!(limited, Err(Error::Timeout)), "{limited:?}");
            NUMBERS.with(|numbers| numbers.close());
        };
        poster.post(event).unwrap();
        hardswitch::sleep(Duration::from_millis(500)).unwrap();
        assert!(numbers().is_closing());
    });
}

#[test]
fn what_somebody_put_into_a_slot_by_hand_outlives_the_events_of_its_tasklet() {
    alone(|| {
        let me = hardswitch::current();
        spawn(|| numbers().receive().map(drop)).unwrap();
        hardswitch::run().unwrap();
        drop(me.set_tempval(hardswitch::Value::new("mine")));
        let main_loop = MainLoop::current().unwrap();
        let event = || numbers().send(1).unwrap();
        main_loop.remote().post(event).unwrap();
        main_loop.pump(Some(Duration::ZERO)).unwrap();
        assert_eq!(me.take_tempval().downcast::<&str>().unwrap(), "mine");
    });
}

#[test]
fn what_a_tasklet_was_never_told_ends_it() {
    alone(|| {
        numbers().set_preference(hardswitch::Preference::Sender);
        spawn(|| numbers().send(1)).unwrap();
        let tasklet = spawn(|| {
            let me = hardswitch::current().remote().unwrap();
            elsewhere(move || me.throw(Error::thrown("too late")).unwrap());
            // The sender comes first: the message is read when that has ended.
            assert_eq!(numbers().receive().unwrap(), 1);
        });
        let told = hardswitch::run();
        assert!(matches!(told, Err(Error::Thrown(_))), "{told:?}");
        assert!(!tasklet.unwrap().is_alive());
    });
}
