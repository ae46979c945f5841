//! The host lock: the tasklets of one thread at a time.

mod common;

use common::eventually;
use hardswitch::thread::host_lock::{Event, Happening, HostLock, Settings};
use hardswitch::thread::{allow_threads, Channel};
use hardswitch::{spawn, sync, Error, MainLoop, StateError};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Given up at every switch.
const EACH_SWITCH: Settings = Settings {
    switches: 1,
    time: Duration::MAX,
};
/// Given up by who waits, and by nobody else.
const NEVER: Settings = Settings {
    switches: u64::MAX,
    time: Duration::MAX,
};

/// Runs `f` on a thread that has joined.
fn member<R: Send + 'static>(
    lock: &HostLock,
    f: impl FnOnce() -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let lock = lock.clone();
    thread::spawn(move || {
        lock.join().unwrap();
        f()
    })
}

#[test]
fn a_counter_that_is_not_atomic_counts_right() {
    const THREADS: u64 = 8;
    const EACH: u64 = if cfg!(target_arch = "x86_64") {
        300
    } else {
        40
    };
    let lock = HostLock::new(EACH_SWITCH);
    let counter = Arc::new(AtomicU64::new(0));
    let inside = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (counter, inside) = (counter.clone(), inside.clone());
            member(&lock, move || {
                for _ in 0..3 {
                    let (counter, inside) = (counter.clone(), inside.clone());
                    spawn(move || {
                        for _ in 0..EACH {
                            assert!(!inside.swap(true, SeqCst), "two at a time");
                            let value = counter.load(SeqCst);
                            thread::yield_now();
                            counter.store(value + 1, SeqCst);
                            inside.store(false, SeqCst);
                            hardswitch::schedule()?;
                        }
                        Ok(())
                    })
                    .unwrap();
                }
                hardswitch::run().unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(counter.load(SeqCst), THREADS * 3 * EACH);
    assert!(lock.stats().contended > 0);
}

#[test]
fn who_has_waited_longest_is_next() {
    const THREADS: usize = 5;
    const ROUNDS: usize = 50;
    let lock = HostLock::new(EACH_SWITCH);
    lock.join().unwrap();
    let log = Arc::new(Mutex::new(vec![]));
    let mut threads = vec![];
    for i in 0..THREADS {
        let log = log.clone();
        threads.push(member(&lock, move || {
            for _ in 0..ROUNDS {
                log.lock().unwrap().push(i);
                hardswitch::schedule().unwrap();
            }
        }));
        // One after the other, so that the order is known.
        eventually("it waits", || lock.stats().waiting == i + 1);
    }
    lock.leave();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let expected: Vec<_> = (0..THREADS * ROUNDS).map(|i| i % THREADS).collect();
    assert_eq!(*log.lock().unwrap(), expected);
}

#[test]
fn time_ends_a_turn_too_and_a_lone_owner_is_not_asked() {
    let lock = HostLock::new(Settings {
        switches: u64::MAX,
        time: MS(20),
    });
    lock.join().unwrap();
    let start = Instant::now();
    while start.elapsed() < MS(60) {
        hardswitch::schedule().unwrap();
    }
    assert_eq!(lock.stats().acquired, 1, "nobody wanted it");
    let other = member(&lock, || ());
    eventually("it waits", || lock.stats().waiting == 1);
    // Its time is long up: the next switch is the last.
    hardswitch::schedule().unwrap();
    assert_eq!(lock.stats().turns_up, 1);
    allow_threads(|| other.join()).unwrap();
    // And within its time it keeps it, however often it switches.
    lock.leave();
    let lock = HostLock::new(Settings {
        switches: u64::MAX,
        time: Duration::from_secs(3600),
    });
    lock.join().unwrap();
    let other = member(&lock, || ());
    eventually("it waits", || lock.stats().waiting == 1);
    for _ in 0..1000 {
        hardswitch::schedule().unwrap();
    }
    assert_eq!((lock.stats().waiting, lock.stats().turns_up), (1, 0));
    allow_threads(|| other.join()).unwrap();
}

#[test]
fn switches_are_counted_while_somebody_waits() {
    let lock = HostLock::new(Settings {
        switches: 10,
        time: Duration::MAX,
    });
    lock.join().unwrap();
    for _ in 0..100 {
        hardswitch::schedule().unwrap();
    }
    let other = member(&lock, || ());
    eventually("it waits", || lock.stats().waiting == 1);
    for _ in 0..9 {
        hardswitch::schedule().unwrap();
        assert_eq!(lock.stats().waiting, 1);
    }
    hardswitch::schedule().unwrap();
    assert_eq!(lock.stats().turns_up, 1);
    allow_threads(|| other.join()).unwrap();
}

/// A thread whose main flow only drives its loop, with nobody to run.
#[test]
fn pumps_and_runs_end_a_turn_as_switches_do() {
    for drive in [
        || hardswitch::run().unwrap(),
        || {
            hardswitch::run_with(hardswitch::Budget::switches(5)).unwrap();
        },
        || MainLoop::current().unwrap().tick().unwrap(),
        || {
            MainLoop::current()
                .unwrap()
                .pump(Some(Duration::ZERO))
                .unwrap();
        },
    ] {
        let lock = HostLock::new(EACH_SWITCH);
        lock.join().unwrap();
        let other = member(&lock, || ());
        eventually("it waits", || lock.stats().waiting == 1);
        drive();
        assert_eq!(lock.stats().turns_up, 1);
        allow_threads(|| other.join()).unwrap();
        lock.leave();
    }
}

/// Another member gets the lock while this one waits, and ends the wait.
#[test]
fn every_wait_gives_it_up() {
    type Wait = Box<dyn FnOnce() + Send>;
    type End = Box<dyn FnOnce() + Send>;
    fn waits() -> Vec<(&'static str, Wait, End)> {
        let (a, event, permit) = (
            Channel::<u32>::new(),
            Arc::new(sync::Event::new()),
            Arc::new(sync::Semaphore::new(0)),
        );
        let (b, set) = (a.clone(), event.clone());
        let (c, d) = (Channel::<u32>::new(), Channel::<u32>::new());
        let (c2, d2) = (c.clone(), d.clone());
        let go = Arc::new(AtomicBool::new(false));
        let goes = go.clone();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let (tx, rx) = std::sync::mpsc::channel();
        let theirs = permit.clone();
        let drop_it = |_| {};
        vec![
            (
                "a channel between threads, in main",
                Box::new(move || assert_eq!(a.receive().unwrap(), 1)),
                Box::new(move || b.send(1).unwrap()),
            ),
            (
                "a channel between threads, in a tasklet",
                Box::new(move || {
                    spawn(move || c.receive().map(drop_it)).unwrap();
                    MainLoop::current().unwrap().run_until_idle().unwrap();
                }),
                Box::new(move || c2.send(1).unwrap()),
            ),
            (
                "the same with a timeout",
                Box::new(move || {
                    d.receive_timeout(Duration::from_secs(20)).unwrap();
                }),
                Box::new(move || d2.send(1).unwrap()),
            ),
            (
                "an event",
                Box::new(move || {
                    event.wait().unwrap();
                }),
                Box::new(move || set.set()),
            ),
            (
                "a semaphore",
                Box::new(move || theirs.acquire().unwrap()),
                Box::new(move || permit.release().unwrap()),
            ),
            (
                "an offload call",
                Box::new(move || {
                    hardswitch::offload::call(move || {
                        while !goes.load(SeqCst) {
                            thread::sleep(MS(1));
                        }
                    })
                    .unwrap();
                }),
                Box::new(move || go.store(true, SeqCst)),
            ),
            (
                "a sleep",
                Box::new(|| hardswitch::sleep(MS(300)).unwrap()),
                Box::new(|| ()),
            ),
            (
                "poll",
                Box::new(move || {
                    let mut fds = [hardswitch::net::shim::PollFd::new(
                        listener.as_raw_fd(),
                        hardswitch::net::shim::Events::IN,
                    )];
                    assert_eq!(hardswitch::net::poll(&mut fds, None).unwrap(), 1);
                }),
                Box::new(move || drop(std::net::TcpStream::connect(at).unwrap())),
            ),
            (
                "a socket",
                Box::new(move || {
                    let any = "127.0.0.1:0".parse().unwrap();
                    let listener = hardswitch::net::TcpListener::bind(any).unwrap();
                    tx.send(listener.local_addr().unwrap()).unwrap();
                    drop(listener.accept().unwrap());
                }),
                Box::new(move || drop(std::net::TcpStream::connect(rx.recv().unwrap()).unwrap())),
            ),
        ]
    }
    for (what, wait, end) in waits() {
        let lock = HostLock::new(NEVER);
        lock.join().unwrap();
        let waiter = member(&lock, wait);
        eventually("it wants the lock", || lock.stats().waiting == 1);
        lock.leave();
        eventually(what, || lock.owner().is_none());
        lock.join().unwrap();
        assert!(!waiter.is_finished(), "{what}");
        end();
        lock.leave();
        waiter.join().unwrap();
        assert_eq!(lock.owner(), None, "{what}");
    }
}

#[test]
fn an_atomic_tasklet_keeps_it() {
    let lock = HostLock::new(Settings {
        switches: 0,
        time: Duration::ZERO,
    });
    lock.join().unwrap();
    let got = Arc::new(AtomicBool::new(false));
    let gets = got.clone();
    let other = member(&lock, move || gets.store(true, SeqCst));
    eventually("it waits", || lock.stats().waiting == 1);
    let (seen, stats) = (got.clone(), lock.clone());
    let tasklet = spawn(move || {
        let me = hardswitch::current();
        for _ in 0..100 {
            hardswitch::schedule()?;
            // Nested guards end without ending it.
            drop(hardswitch::atomic());
        }
        thread::sleep(MS(20));
        assert!(!seen.load(SeqCst));
        assert!(me.set_atomic(false));
        // Main, to which this switches, is atomic; this one is not any more when it comes back.
        hardswitch::schedule()?;
        assert!(seen.load(SeqCst));
        assert_eq!(stats.stats().turns_up, 1);
        Ok(())
    })
    .unwrap();
    tasklet.set_atomic(true);
    let atomic = hardswitch::atomic();
    while tasklet.is_alive() {
        hardswitch::schedule().unwrap();
    }
    drop(atomic);
    hardswitch::run().unwrap();
    other.join().unwrap();
}

#[test]
fn an_atomic_tasklet_that_waits_gives_it_up() {
    let lock = HostLock::new(NEVER);
    lock.join().unwrap();
    let channel = Channel::new();
    let there = channel.clone();
    let other = member(&lock, move || there.send(5).unwrap());
    let _atomic = hardswitch::atomic();
    assert_eq!(channel.receive().unwrap(), 5);
    allow_threads(|| other.join()).unwrap();
}

#[test]
fn the_figures_and_the_hook_say_what_happened() {
    let lock = HostLock::new(NEVER);
    let events = Arc::new(Mutex::new(Vec::<Event>::new()));
    let log = events.clone();
    assert!(lock
        .set_hook(Some(Arc::new(move |event| log
            .lock()
            .unwrap()
            .push(*event))))
        .is_none());
    assert_eq!((lock.stats(), lock.owner()), (Default::default(), None));
    lock.join().unwrap();
    let me = lock.owner().unwrap();
    assert_eq!(
        (me.thread, me.tasklet),
        (hardswitch::thread_id(), hardswitch::current().id())
    );
    let other = member(&lock, hardswitch::thread_id);
    eventually("it waits", || lock.stats().waiting == 1);
    let stats = lock.stats();
    assert_eq!(
        (stats.acquired, stats.contended, stats.waiting, stats.owner),
        (1, 1, 1, Some(me))
    );
    assert_eq!(stats.waited, Duration::ZERO);
    thread::sleep(MS(30));
    let there = allow_threads(|| other.join()).unwrap();
    let stats = lock.stats();
    assert_eq!((stats.acquired, stats.contended, stats.waiting), (3, 1, 0));
    assert!(stats.waited >= MS(30) && stats.waited < Duration::from_secs(20));
    assert_eq!(stats.longest_wait, stats.waited);
    assert!(stats.held >= MS(30));
    assert_eq!(stats.turns_up, 0);
    lock.leave();
    assert!(lock.set_hook(None).is_some());

    let events = events.lock().unwrap();
    let mut told: Vec<_> = events
        .iter()
        .map(|event| match event.what {
            Happening::Contended { owner } => (event.who.thread, "contended", owner.thread),
            Happening::Acquired { waited } if waited.is_zero() => (event.who.thread, "got", 0),
            Happening::Acquired { waited } => {
                assert!(waited >= MS(30));
                (event.who.thread, "waited and got", 0)
            }
            Happening::Released { .. } => (event.who.thread, "released", 0),
            _ => unreachable!(),
        })
        .collect();
    let me = me.thread;
    // The two threads tell what they do side by side: by thread, in its order.
    told.sort_by_key(|(thread, ..)| *thread != me);
    assert_eq!(
        told,
        [
            (me, "got", 0),
            (me, "released", 0),
            (me, "got", 0),
            (me, "released", 0),
            (there, "contended", me),
            (there, "waited and got", 0),
            (there, "released", 0),
        ]
    );
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[test]
fn a_hook_may_look_but_not_wait_and_its_panic_harms_nobody() {
    let lock = HostLock::new(NEVER);
    let refused = Arc::new(AtomicUsize::new(0));
    let (count, looked) = (refused.clone(), lock.clone());
    let channel = Channel::<u32>::new();
    spawn(|| ()).unwrap();
    lock.set_hook(Some(Arc::new(move |_| {
        looked.stats();
        let owner = looked.owner();
        looked.leave();
        assert_eq!(allow_threads(|| looked.owner()), owner);
        looked.join().unwrap();
        assert!(matches!(hardswitch::schedule(), Err(Error::SwitchTrap)));
        assert!(matches!(channel.receive(), Err(Error::BlockTrap)));
        count.fetch_add(1, SeqCst);
        panic!("a hook's panic");
    })));
    lock.join().unwrap();
    lock.leave();
    assert_eq!(refused.load(SeqCst), 2);
    lock.set_hook(None);
    hardswitch::run().unwrap();
}

/// Whose turn is up is told so, and pumps and runs in there: not another turn that is up.
#[test]
fn a_hook_that_pumps_does_not_give_the_lock_up() {
    let lock = HostLock::new(EACH_SWITCH);
    lock.join().unwrap();
    let (told, looked) = (Arc::new(AtomicUsize::new(0)), lock.clone());
    let count = told.clone();
    let me = hardswitch::thread_id();
    lock.set_hook(Some(Arc::new(move |event| {
        if event.who.thread != me || matches!(event.what, Happening::Contended { .. }) {
            return;
        }
        count.fetch_add(1, SeqCst);
        let pumped = MainLoop::current().unwrap().pump(Some(Duration::ZERO));
        assert!(matches!(pumped, Err(Error::SwitchTrap)), "{pumped:?}");
        hardswitch::run().unwrap();
        assert_eq!(looked.owner().unwrap().thread, me);
    })));
    let other = member(&lock, || ());
    eventually("it waits", || lock.stats().waiting == 1);
    hardswitch::schedule().unwrap();
    assert_eq!((told.load(SeqCst), lock.stats().turns_up), (2, 1));
    lock.set_hook(None);
    allow_threads(|| other.join()).unwrap();
}

#[test]
fn a_thread_that_ends_gives_it_back() {
    let lock = HostLock::new(NEVER);
    for how in 0..4 {
        let waiting = lock.clone();
        let owner = member(&lock, move || {
            eventually("the other waits", || waiting.stats().waiting == 1);
            match how {
                0 => {}
                1 => drop(spawn(|| -> hardswitch::Result<()> {
                    let channel = hardswitch::Channel::<u32>::new();
                    channel.receive().map(drop)
                })),
                2 => {
                    // Caught at the root of its tasklet: the thread goes on, and has the lock.
                    spawn::<_, ()>(|| panic!("a tasklet's panic")).unwrap();
                    assert!(matches!(hardswitch::run(), Err(Error::Panicked(_))));
                    assert_eq!(waiting.stats().waiting, 1);
                }
                _ => panic!("the thread's panic"),
            }
        });
        eventually("it has the lock", || lock.owner().is_some());
        lock.join().unwrap();
        assert_eq!(owner.join().is_err(), how == 3);
        lock.leave();
        assert_eq!(lock.owner(), None);
    }
}

/// The destructors of a dying thread's tasklets are tasklet code as well.
#[test]
fn dying_tasklets_run_under_it() {
    struct Owned(HostLock, Arc<AtomicUsize>);
    impl Drop for Owned {
        fn drop(&mut self) {
            let owner = self.0.owner().map(|owner| owner.thread);
            assert_eq!(owner, Some(hardswitch::thread_id()));
            self.1.fetch_add(1, SeqCst);
        }
    }
    let (lock, dropped) = (HostLock::new(EACH_SWITCH), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (theirs, dropped) = (lock.clone(), dropped.clone());
            member(&lock, move || {
                for _ in 0..10 {
                    let owned = Owned(theirs.clone(), dropped.clone());
                    spawn(move || {
                        let _owned = owned;
                        hardswitch::Channel::<u32>::new().receive().map(drop)
                    })
                    .unwrap();
                }
                hardswitch::run().unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(dropped.load(SeqCst), 40);
    assert_eq!(lock.owner(), None);
}

#[test]
fn allow_threads_gives_it_up_and_takes_it_again_also_after_a_panic() {
    let lock = HostLock::new(NEVER);
    let is_mine = || lock.owner().map(|owner| owner.thread) == Some(hardswitch::thread_id());
    assert_eq!(allow_threads(|| 7), 7, "without a lock it just calls");
    lock.join().unwrap();
    assert!(is_mine());
    let answer = allow_threads(|| {
        assert_eq!(lock.owner(), None);
        // Nested: the inner one has nothing to give up, and takes nothing.
        allow_threads(|| assert_eq!(lock.owner(), None));
        assert_eq!(lock.owner(), None);
        lock.leave();
        member(&lock, || 8).join().unwrap()
    });
    assert_eq!(answer, 8);
    assert!(is_mine());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        allow_threads(|| panic!("while it was away"))
    }));
    assert!(panicked.is_err() && is_mine());
    assert_eq!(hardswitch::switch_trap(0), 0);
    assert!(!hardswitch::current().block_trap());
}

#[test]
fn no_tasklet_runs_while_the_lock_is_away() {
    let lock = HostLock::new(NEVER);
    lock.join().unwrap();
    let ran = std::rc::Rc::new(std::cell::Cell::new(false));
    let runs = ran.clone();
    let tasklet = spawn(move || runs.set(true)).unwrap();
    let channel = Channel::<u32>::new();
    allow_threads(|| {
        let trapped = |r: hardswitch::Result<()>| matches!(r, Err(Error::SwitchTrap));
        assert!(trapped(hardswitch::schedule()));
        assert!(trapped(hardswitch::run()));
        assert!(trapped(tasklet.run()));
        assert!(trapped(tasklet.kill()));
        let main_loop = MainLoop::current().unwrap();
        assert!(trapped(main_loop.pump(Some(Duration::ZERO)).map(drop)));
        assert!(trapped(main_loop.tick()));
        assert!(matches!(channel.receive(), Err(Error::BlockTrap)));
        assert!(matches!(hardswitch::sleep(MS(1)), Err(Error::BlockTrap)));
    });
    assert!(!ran.get());
    hardswitch::run().unwrap();
    assert!(ran.get());
}

#[test]
fn a_thread_has_one_lock_and_can_change_it() {
    let (first, second) = (HostLock::new(NEVER), HostLock::new(NEVER));
    assert_eq!(HostLock::current(), None);
    first.leave();
    first.join().unwrap();
    first.join().unwrap();
    assert_eq!(first.stats().acquired, 1);
    assert!(matches!(
        second.join(),
        Err(Error::State(StateError::OtherHostLock))
    ));
    second.leave();
    assert_eq!(HostLock::current(), Some(first.clone()));
    first.leave();
    second.join().unwrap();
    assert_eq!((first.owner(), HostLock::current()), (None, Some(second)));
}

/// Everything at once: hand-overs by all causes, channels between the members, members that come
/// and go.
#[test]
fn members_that_come_and_go_and_talk_hang_nobody_and_run_one_at_a_time() {
    const THREADS: usize = 8;
    const ROUNDS: usize = if cfg!(target_arch = "x86_64") { 40 } else { 6 };
    let lock = HostLock::new(Settings {
        switches: 3,
        time: MS(1),
    });
    let inside = Arc::new(AtomicBool::new(false));
    let (channel, got) = (Channel::<usize>::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..ROUNDS {
        let threads: Vec<_> = (0..THREADS)
            .map(|i| {
                let (channel, inside, got) = (channel.clone(), inside.clone(), got.clone());
                member(&lock, move || {
                    let alone = move || {
                        assert!(!inside.swap(true, SeqCst), "two at a time");
                        thread::yield_now();
                        inside.store(false, SeqCst);
                    };
                    for j in 0..4 {
                        let (channel, alone, got) = (channel.clone(), alone.clone(), got.clone());
                        spawn(move || {
                            for k in 0..5 {
                                alone();
                                // Half of them send, and as many receive.
                                if (i + j) % 2 == 0 {
                                    channel.send(k)?;
                                } else {
                                    got.fetch_add(1 + channel.receive()?, SeqCst);
                                }
                                alone();
                                if k == 2 {
                                    allow_threads(thread::yield_now);
                                }
                                hardswitch::schedule()?;
                            }
                            Ok(())
                        })
                        .unwrap();
                    }
                    MainLoop::current().unwrap().run_until_idle().unwrap();
                    alone();
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
    }
    assert_eq!(channel.balance(), 0);
    // Each of 80 sends of a round: the value and one.
    assert_eq!(got.load(SeqCst), ROUNDS * 16 * (1 + 2 + 3 + 4 + 5));
    let stats = lock.stats();
    assert_eq!((stats.owner, stats.waiting), (None, 0));
    assert!(stats.turns_up > 0 && stats.contended > 0);
}

/// Its end comes where it ran: in the middle of a wait, when the thread counts as asleep already.
#[test]
fn a_hook_that_replaces_itself_ends_where_nobody_may_pump() {
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    struct Pumps;
    impl Drop for Pumps {
        fn drop(&mut self) {
            let pumped = MainLoop::current().unwrap().pump(Some(Duration::ZERO));
            assert!(matches!(pumped, Err(Error::SwitchTrap)), "{pumped:?}");
            REFUSED.fetch_add(1, SeqCst);
        }
    }
    let lock = HostLock::new(NEVER);
    let theirs = lock.clone();
    member(&lock, move || {
        let (last, hooked) = (Pumps, theirs.clone());
        theirs.set_hook(Some(Arc::new(move |event: &Event| {
            let _ = &last;
            if matches!(event.what, Happening::Released { .. }) {
                drop(hooked.set_hook(None));
            }
        })));
        MainLoop::current().unwrap().pump(Some(MS(5))).unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(REFUSED.load(SeqCst), 1);
}

/// A hook's panic can carry a value whose destructor panics, too.
#[test]
fn a_hook_whose_panic_panics_when_it_is_dropped_does_not_keep_the_lock() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a destructor's panic"));
        }
    }
    let lock = HostLock::new(NEVER);
    lock.set_hook(Some(Arc::new(|_| {
        std::panic::resume_unwind(Box::new(Bad));
    })));
    lock.join().unwrap();
    lock.leave();
    assert_eq!(lock.owner(), None);
    // Nor does one that cannot be told at all, since no trap can be set for it.
    lock.set_hook(Some(Arc::new(|_| ())));
    hardswitch::switch_trap(i32::MAX);
    assert!(std::panic::catch_unwind(|| lock.join()).is_err());
    hardswitch::switch_trap(-i32::MAX);
    lock.leave();
    assert_eq!(lock.owner(), None);
}
