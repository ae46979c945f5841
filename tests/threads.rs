//! Channels between threads: the promises of a rendezvous, whoever is at its ends.

mod common;

use common::eventually;
use hardswitch::thread::Channel;
use hardswitch::{spawn, Error, MainLoop, Preference, StateError};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;
/// Fewer under the emulator.
const MANY: usize = if cfg!(target_arch = "x86_64") {
    50_000
} else {
    1_000
};

/// CPU time that the calling thread has used.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a plain call on a local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn values_go_from_thread_to_thread_in_order() {
    let numbers = Channel::new();
    let there = numbers.clone();
    let sender = thread::spawn(move || there.send_sequence(0..MANY).unwrap());
    for i in 0..MANY {
        assert_eq!(numbers.receive().unwrap(), i);
    }
    assert_eq!(sender.join().unwrap(), MANY);
    assert_eq!(numbers.balance(), 0);
}

#[test]
fn tasklets_of_two_threads_play_ping_pong() {
    let (ping, pong) = (Channel::new(), Channel::new());
    let (ping2, pong2) = (ping.clone(), pong.clone());
    let other = thread::spawn(move || {
        spawn(move || {
            for _ in 0..MANY {
                let n: usize = ping2.receive()?;
                pong2.send(n + 1)?;
            }
            Ok(())
        })
        .unwrap();
        MainLoop::current().unwrap().run_until_idle().unwrap();
    });
    let end = Rc::new(Cell::new(0));
    let result = end.clone();
    let start = Instant::now();
    spawn(move || {
        let mut n = 0;
        for _ in 0..MANY {
            ping.send(n)?;
            n = pong.receive()?;
        }
        end.set(n);
        Ok(())
    })
    .unwrap();
    MainLoop::current().unwrap().run_until_idle().unwrap();
    other.join().unwrap();
    assert_eq!(result.get(), MANY);
    println!(
        "{} ns per round trip",
        start.elapsed().as_nanos() / MANY as u128
    );
}

/// As Stackless' testInterthreadCommunication: each side runs its scheduler until its tasklet has
/// ended.
#[test]
fn plain_runs_on_both_sides_are_enough() {
    let channel = Channel::new();
    let there = channel.clone();
    let run_until = |done: Rc<Cell<bool>>| {
        while !done.get() {
            hardswitch::run().unwrap();
            thread::yield_now();
        }
    };
    let other = thread::spawn(move || {
        let done = Rc::new(Cell::new(false));
        let end = done.clone();
        spawn(move || {
            for i in 0..4 {
                there.send(i)?;
            }
            end.set(true);
            Ok(())
        })
        .unwrap();
        run_until(done);
    });
    let got = Rc::new(RefCell::new(vec![]));
    let done = Rc::new(Cell::new(false));
    let (end, seen) = (done.clone(), got.clone());
    spawn(move || {
        for _ in 0..4 {
            let value = channel.receive()?;
            seen.borrow_mut().push(value);
        }
        end.set(true);
        Ok(())
    })
    .unwrap();
    run_until(done);
    other.join().unwrap();
    assert_eq!(*got.borrow(), [0, 1, 2, 3]);
}

#[test]
fn the_balance_counts_waiters_of_all_threads() {
    let channel = Channel::<u32>::new();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let channel = channel.clone();
            thread::spawn(move || channel.receive().unwrap())
        })
        .collect();
    eventually("three receivers wait", || channel.balance() == -3);
    for i in 0..3 {
        channel.send(i).unwrap();
        assert_eq!(channel.balance(), i as isize - 2);
    }
    let mut got: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    got.sort();
    assert_eq!(got, [0, 1, 2]);
}

#[test]
fn a_sender_goes_on_when_its_partner_is_on_another_thread() {
    let (channel, order) = (Channel::new(), Rc::new(RefCell::new(vec![])));
    let there = channel.clone();
    let other = thread::spawn(move || there.receive().unwrap());
    eventually("the other waits", || channel.balance() == -1);
    let log = order.clone();
    spawn(move || log.borrow_mut().push("tasklet")).unwrap();
    channel.send(5).unwrap();
    order.borrow_mut().push("main");
    hardswitch::run().unwrap();
    assert_eq!(*order.borrow(), ["main", "tasklet"]);
    assert_eq!(other.join().unwrap(), 5);
}

/// The orders that the local channel has, with the same program.
#[test]
fn on_one_thread_the_preference_counts() {
    fn trace(
        preference: Preference,
        all: bool,
        send: impl Fn(u32) + Clone + 'static,
        receive: impl Fn() -> u32 + Clone + 'static,
        set: impl Fn(Preference, bool),
    ) -> Vec<String> {
        set(preference, all);
        let log = Rc::new(RefCell::new(vec![]));
        for i in 0..3 {
            let (send, log) = (send.clone(), log.clone());
            spawn(move || {
                send(i);
                log.borrow_mut().push(format!("s{i}"));
            })
            .unwrap();
        }
        for i in 0..3 {
            let (receive, log) = (receive.clone(), log.clone());
            spawn(move || {
                assert_eq!(receive(), i);
                log.borrow_mut().push(format!("r{i}"));
            })
            .unwrap();
        }
        hardswitch::run().unwrap();
        log.take()
    }
    for preference in [
        Preference::Sender,
        Preference::Neither,
        Preference::Receiver,
    ] {
        for all in [false, true] {
            let local = hardswitch::Channel::new();
            let (tx, rx) = (local.clone(), local.clone());
            let expected = trace(
                preference,
                all,
                move |v| tx.send(v).unwrap(),
                move || rx.receive().unwrap(),
                |p, a| {
                    local.set_preference(p);
                    local.set_schedule_all(a);
                },
            );
            let between = Channel::new();
            let (tx, rx) = (between.clone(), between.clone());
            let got = trace(
                preference,
                all,
                move |v| tx.send(v).unwrap(),
                move || rx.receive().unwrap(),
                |p, a| {
                    between.set_preference(p);
                    between.set_schedule_all(a);
                },
            );
            assert_eq!(got, expected, "{preference:?}, schedule_all {all}");
        }
    }
}

#[test]
fn an_error_can_be_sent() {
    let channel = Channel::<u32>::new();
    let there = channel.clone();
    let other = thread::spawn(move || there.send_throw(Error::thrown("boo")).unwrap());
    match channel.receive() {
        Err(Error::Thrown(thrown)) => assert_eq!(thrown.downcast_ref::<&str>(), Some(&"boo")),
        other => panic!("{other:?}"),
    }
    other.join().unwrap();
}

#[test]
fn a_closed_channel_serves_who_waits_and_nobody_else() {
    let channel = Channel::new();
    let there = channel.clone();
    let other = thread::spawn(move || {
        there.send(1).unwrap();
        there.send(2)
    });
    eventually("the sender waits", || channel.balance() == 1);
    channel.close();
    assert!(channel.is_closing() && !channel.is_closed());
    assert_eq!(channel.next().unwrap().unwrap(), 1);
    assert!(matches!(other.join().unwrap(), Err(Error::Closed)));
    assert!(channel.next().is_none());
    assert!(channel.is_closed());
    assert!(matches!(channel.receive(), Err(Error::Closed)));
    assert!(matches!(channel.try_receive(), Err(Error::Closed)));
    channel.open();
    assert!(!channel.is_closing());
    assert!(matches!(channel.try_receive(), Err(Error::WouldBlock)));
}

/// How those who wait may spend their time: asleep, looking, looking for ever so long.
fn each_way_to_wait(test: impl Fn(hardswitch::Settings)) {
    for spin in [MS(0), Duration::from_micros(20), MS(60_000)] {
        test(hardswitch::Settings {
            spin,
            ..hardswitch::Settings::desktop()
        });
    }
}

#[test]
fn close_and_wake_ends_all_waits_of_all_threads() {
    each_way_to_wait(|settings| {
        let channel = Channel::<u32>::new();
        let receivers = [1, 2].map(|tasklets| {
            let (there, settings) = (channel.clone(), settings.clone());
            thread::spawn(move || {
                settings.apply().unwrap();
                let closed = Rc::new(Cell::new(0));
                for _ in 0..tasklets {
                    let (there, closed) = (there.clone(), closed.clone());
                    hardswitch::spawn(move || {
                        assert!(matches!(there.receive(), Err(Error::Closed)));
                        closed.set(closed.get() + 1);
                        Ok(())
                    })
                    .unwrap();
                }
                MainLoop::current().unwrap().run_until_idle().unwrap();
                closed.get()
            })
        });
        eventually("all wait", || channel.balance() == -3);
        assert_eq!(channel.close_and_wake(), 3);
        assert_eq!(receivers.map(|r| r.join().unwrap()), [1, 2]);
        assert!(channel.is_closed());
        assert_eq!(channel.close_and_wake(), 0);
        assert!(matches!(channel.receive(), Err(Error::Closed)));
    });
}

#[test]
fn close_and_wake_gives_senders_their_values_back() {
    each_way_to_wait(|settings| {
        let channel = Channel::<Box<u32>>::new();
        let there = channel.clone();
        let sender = thread::spawn(move || {
            settings.apply().unwrap();
            there.send_timeout(Box::new(7), MS(60_000))
        });
        eventually("the sender waits", || channel.balance() == 1);
        assert_eq!(channel.close_and_wake(), 1);
        match sender.join().unwrap() {
            Err((Error::Closed, Some(value))) => assert_eq!(*value, 7),
            other => panic!("{other:?}"),
        }
        assert_eq!(channel.balance(), 0);
        channel.open();
        let there = channel.clone();
        let receiver = thread::spawn(move || there.receive());
        channel.send(Box::new(8)).unwrap();
        assert_eq!(*receiver.join().unwrap().unwrap(), 8);
    });
}

#[test]
fn who_looks_for_its_partner_is_one_who_waits() {
    each_way_to_wait(|settings| {
        let channel = Channel::<u32>::new();
        let (there, looks) = (channel.clone(), settings.clone());
        let receiver = thread::spawn(move || {
            looks.apply().unwrap();
            (there.receive().unwrap(), there.receive().unwrap())
        });
        eventually("it counts", || channel.balance() == -1);
        channel.try_send(1).unwrap();
        eventually("it waits again", || channel.balance() == -1);
        channel.close();
        channel.send(2).unwrap();
        assert_eq!(receiver.join().unwrap(), (1, 2));
        channel.open();
        let there = channel.clone();
        let sender = thread::spawn(move || {
            settings.apply().unwrap();
            there.send(3)
        });
        eventually("it counts", || channel.balance() == 1);
        assert_eq!(channel.try_receive().unwrap(), 3);
        sender.join().unwrap().unwrap();
        assert_eq!(channel.balance(), 0);
    });
}

/// A long look does not keep a thread from what others want of it.
#[test]
fn who_looks_can_be_killed_and_interrupted() {
    let channel = Channel::<u32>::new();
    let there = channel.clone();
    let (tell, told) = mpsc::channel();
    let other = thread::spawn(move || {
        hardswitch::Settings {
            spin: MS(60_000),
            ..hardswitch::Settings::desktop()
        }
        .apply()
        .unwrap();
        let victim = hardswitch::spawn(move || there.receive().map(drop)).unwrap();
        tell.send(victim.remote().unwrap()).unwrap();
        MainLoop::current().unwrap().run_until_idle()
    });
    let victim = told.recv().unwrap();
    eventually("it looks", || channel.balance() == -1);
    let start = Instant::now();
    victim.kill().unwrap();
    other.join().unwrap().unwrap();
    assert!(start.elapsed() < MS(20_000), "{:?}", start.elapsed());
    assert_eq!(channel.balance(), 0);
}

#[test]
fn an_iteration_ends_with_the_channel() {
    let channel = Channel::new();
    let there = channel.clone();
    let other = thread::spawn(move || {
        there.send_sequence(0..10).unwrap();
        there.close();
        // Whoever was waiting already stays: it must be told.
        there.try_send(10)
    });
    let mut got = vec![];
    for value in channel.iter() {
        match value {
            Ok(value) => got.push(value),
            Err(error) => panic!("{error}"),
        }
        if got.len() > 9 {
            break;
        }
    }
    assert_eq!(got, (0..10).collect::<Vec<_>>());
    assert!(other.join().unwrap().is_err());
    assert!(channel.next().is_none());
}

#[test]
fn a_block_trap_forbids_to_wait_and_nothing_else() {
    let channel = Channel::new();
    hardswitch::current().set_block_trap(true);
    assert!(matches!(channel.receive(), Err(Error::BlockTrap)));
    assert!(matches!(channel.send(1), Err(Error::BlockTrap)));
    assert_eq!(channel.balance(), 0);
    let there = channel.clone();
    let other = thread::spawn(move || there.receive().unwrap());
    eventually("the other waits", || channel.balance() == -1);
    channel.send(3).unwrap();
    assert_eq!(other.join().unwrap(), 3);
}

#[test]
fn try_operations_do_not_wait_and_give_the_value_back() {
    let channel = Channel::new();
    assert!(matches!(
        channel.try_send(7),
        Err((Error::WouldBlock, Some(7)))
    ));
    assert!(matches!(channel.try_receive(), Err(Error::WouldBlock)));
    let there = channel.clone();
    let other = thread::spawn(move || there.receive().unwrap());
    eventually("the other waits", || channel.balance() == -1);
    channel.try_send(8).unwrap();
    assert_eq!(other.join().unwrap(), 8);
}

#[test]
fn a_timeout_leaves_the_channel() {
    let channel = Channel::new();
    for time in [Duration::ZERO, MS(30)] {
        let start = Instant::now();
        assert!(matches!(channel.receive_timeout(time), Err(Error::Timeout)));
        assert!(start.elapsed() >= time);
        assert!(matches!(
            channel.send_timeout(4, time),
            Err((Error::Timeout, Some(4)))
        ));
        assert_eq!(channel.balance(), 0);
    }
    // In time, and with a time that no clock can tell.
    let there = channel.clone();
    let other = thread::spawn(move || {
        there.send(5).unwrap();
        there.send(6).unwrap();
    });
    assert_eq!(channel.receive_timeout(Duration::from_secs(20)).unwrap(), 5);
    assert_eq!(channel.receive_timeout(Duration::MAX).unwrap(), 6);
    other.join().unwrap();
}

/// A partner that comes in the moment in which a wait ends: the operation was one or the other, not
/// half of each.
#[test]
fn a_value_comes_or_the_time_is_up() {
    const MICRO: fn(usize) -> Duration = |n| Duration::from_micros(n as u64);
    let channel = Channel::new();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            let send = move |value| match channel.send_timeout(value, MICRO(value % 50)) {
                Ok(()) => value,
                Err((Error::Timeout, Some(back))) if back == value => 0,
                other => panic!("{other:?}"),
            };
            thread::spawn(move || (1..MANY).map(send).sum::<usize>())
        })
        .collect();
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            let receive = move |n| match channel.receive_timeout(MICRO(n % 50)) {
                Ok(value) => value,
                Err(Error::Timeout) => 0,
                Err(other) => panic!("{other}"),
            };
            thread::spawn(move || (1..MANY).map(receive).sum::<usize>())
        })
        .collect();
    let sum = |threads: Vec<thread::JoinHandle<usize>>| -> usize {
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    };
    assert_eq!(sum(senders), sum(receivers));
    assert_eq!(channel.balance(), 0);
}

#[test]
fn who_is_killed_while_it_waits_leaves_and_its_value_with_it() {
    let (channel, token) = (Channel::new(), Arc::new(()));
    let (tx, value) = (channel.clone(), token.clone());
    let sender = spawn(move || tx.send(value)).unwrap();
    hardswitch::run().unwrap();
    assert_eq!(channel.balance(), 1);
    assert!(sender.is_blocked() && sender.blocked_direction() == 1);
    sender.kill().unwrap();
    assert_eq!((channel.balance(), Arc::strong_count(&token)), (0, 1));
    assert!(!sender.is_alive());
    let rx = channel.clone();
    let receiver = spawn(move || rx.receive().map(drop)).unwrap();
    hardswitch::run().unwrap();
    assert_eq!((channel.balance(), receiver.blocked_direction()), (-1, -1));
    receiver.throw(Error::thrown("out")).unwrap_err();
    assert_eq!(channel.balance(), 0);
}

#[test]
fn a_thread_that_ends_takes_its_waiters_along() {
    let channel = Channel::<Arc<()>>::new();
    let token = Arc::new(());
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    for round in 1..=20 {
        let (there, given, dropped2) = (channel.clone(), token.clone(), dropped.clone());
        thread::spawn(move || {
            for _ in 0..10 {
                let (there, token) = (there.clone(), given.clone());
                let count = Count(dropped2.clone());
                spawn(move || {
                    let _count = count;
                    there.send(token)
                })
                .unwrap();
            }
            // And one that never starts.
            let (never, count) = (there.clone(), Count(dropped2.clone()));
            let unstarted = hardswitch::Tasklet::new().unwrap();
            unstarted
                .bind(move || {
                    let _count = count;
                    never.receive().map(drop)
                })
                .unwrap();
            hardswitch::run().unwrap();
            assert_eq!(there.balance(), 10);
        })
        .join()
        .unwrap();
        assert_eq!(channel.balance(), 0, "round {round}");
        assert_eq!(Arc::strong_count(&token), 1);
        assert_eq!(dropped.load(Ordering::SeqCst), 11 * round);
    }
}

#[test]
#[cfg_attr(feature = "asan", ignore = "what it refuses to give back is a leak")]
fn a_tasklet_that_refuses_to_end_is_out_of_the_channel_when_its_thread_is_gone() {
    let channel = Channel::<u32>::new();
    let there = channel.clone();
    thread::spawn(move || {
        spawn::<_, ()>(move || loop {
            let _ = there.receive();
        })
        .unwrap();
        hardswitch::run().unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(channel.balance(), 0);
}

#[test]
fn a_thread_that_waits_uses_no_cpu() {
    let channel = Channel::<u32>::new();
    let there = channel.clone();
    let used = thread::spawn(move || {
        // Main waits, a tasklet waits, and the last one waits on behalf of all.
        for _ in 0..3 {
            let there = there.clone();
            spawn(move || there.receive().map(drop)).unwrap();
        }
        let before = cpu_time();
        there.receive().unwrap();
        let used = cpu_time() - before;
        MainLoop::current().unwrap().run_until_idle().unwrap();
        used
    });
    eventually("all wait", || channel.balance() == -4);
    thread::sleep(MS(300));
    for i in 0..4 {
        channel.send(i).unwrap();
    }
    let used = used.join().unwrap();
    assert!(used < MS(150), "{used:?} of CPU in 300 ms of waiting");
}

#[test]
fn a_busy_thread_notices_its_messages_at_its_next_switch() {
    let channel = Channel::<u32>::new();
    let there = channel.clone();
    let other = thread::spawn(move || {
        let got = Rc::new(Cell::new(false));
        let end = got.clone();
        spawn(move || {
            there.receive()?;
            end.set(true);
            Ok(())
        })
        .unwrap();
        // Two that play with each other, and main, which is in run(), is not asked.
        let ball = hardswitch::Channel::new();
        let (a, b, end) = (ball.clone(), ball, got.clone());
        spawn(move || {
            while !end.get() {
                a.send(())?;
            }
            a.send_throw(Error::Exit)
        })
        .unwrap();
        spawn(move || -> hardswitch::Result<()> {
            loop {
                b.receive()?
            }
        })
        .unwrap();
        hardswitch::run().unwrap();
        assert!(got.get());
    });
    eventually("the tasklet waits", || channel.balance() == -1);
    thread::sleep(MS(20));
    channel.send(1).unwrap();
    other.join().unwrap();
}

#[test]
fn what_waits_in_the_heap_survives_what_happens_on_the_stack() {
    // The receiver is sliced, in one small window with many others.
    let channel = Channel::new();
    let there = channel.clone();
    let (tx, rx) = mpsc::channel();
    let other = thread::spawn(move || {
        hardswitch::Settings::console().apply().unwrap();
        for _ in 0..50 {
            let (there, tx) = (there.clone(), tx.clone());
            // SAFETY: nothing on its stack is lent to anybody.
            let sliced = unsafe { hardswitch::Tasklet::builder().sliced() };
            sliced
                .spawn(move || {
                    for _ in 0..20 {
                        let text: String = there.receive()?;
                        tx.send(text).unwrap();
                    }
                    Ok(())
                })
                .unwrap();
        }
        MainLoop::current().unwrap().run_until_idle().unwrap();
    });
    for i in 0..1000 {
        channel.send(format!("chunk {i}")).unwrap();
    }
    drop(channel);
    let mut got: Vec<_> = rx.iter().take(1000).collect();
    got.sort_by_key(|text| text[6..].parse::<u32>().unwrap());
    let expected: Vec<_> = (0..1000).map(|i| format!("chunk {i}")).collect();
    assert_eq!(got, expected);
    other.join().unwrap();
}

/// What a channel callback was told: which channel, by whom, sending, will block, what was in the
/// slot.
type Told = Rc<RefCell<Vec<(usize, usize, bool, bool, Option<u32>)>>>;

/// Has the calling thread note what its callback is told.
fn listen() -> Told {
    let told = Told::default();
    let log = told.clone();
    hardswitch::set_channel_callback(Some(Rc::new(move |channel, tasklet, sends, blocks| {
        let value = tasklet.take_tempval().downcast::<u32>();
        let seen = value.as_ref().ok().copied();
        // Put back: it is on its way.
        let value = match value {
            Ok(value) => hardswitch::Value::new(value),
            Err(other) => other,
        };
        drop(tasklet.set_tempval(value));
        log.borrow_mut()
            .push((channel, tasklet.id(), sends, blocks, seen));
    })));
    told
}

#[test]
fn the_channel_callback_is_told_once_of_each_operation() {
    let channel = Channel::<u32>::new();
    let id = channel.id();
    let told = listen();
    let me = hardswitch::current().id();
    assert!(channel.try_send(1).is_err());
    assert!(channel.try_receive().is_err());
    assert!(channel.receive_timeout(MS(1)).is_err());
    let expected = [
        (id, me, true, true, Some(1)),
        (id, me, false, true, None),
        (id, me, false, true, None),
    ];
    assert_eq!(*told.take(), expected);
    let there = channel.clone();
    let tasklet = spawn(move || there.send(2)).unwrap();
    hardswitch::run().unwrap();
    let sender = tasklet.id();
    assert_eq!(*told.take(), [(id, sender, true, true, Some(2))]);
    assert_eq!(channel.receive().unwrap(), 2);
    assert_eq!(*told.take(), [(id, me, false, false, None)]);
    hardswitch::run().unwrap();
    // Before every check.
    channel.close();
    assert!(matches!(channel.send(3), Err(Error::Closed)));
    assert_eq!(*told.take(), [(id, me, true, true, Some(3))]);
    hardswitch::set_channel_callback(None);
    assert!(channel.send(4).is_err());
    assert!(told.take().is_empty());
}

/// Callbacks are per thread: each sees what is done by its own.
#[test]
fn the_callbacks_of_two_threads_see_the_two_ends() {
    let channel = Channel::<u32>::new();
    let (there, id) = (channel.clone(), channel.id());
    let other = thread::spawn(move || {
        let told = listen();
        let me = hardswitch::current().id();
        for i in 0..3 {
            there.send(i).unwrap();
        }
        let told = told.take();
        let seen = |&(c, t, sends, _, value): &_| (c == id, t == me, sends, value);
        told.iter().map(seen).collect::<Vec<_>>()
    });
    let told = listen();
    for i in 0..3 {
        assert_eq!(channel.receive().unwrap(), i);
    }
    let me = hardswitch::current().id();
    let ours: Vec<_> = told.take().iter().map(|t| (t.0, t.1, t.2, t.4)).collect();
    assert_eq!(ours, [(id, me, false, None); 3]);
    let theirs = other.join().unwrap();
    let expected: Vec<_> = (0..3).map(|i| (true, true, true, Some(i))).collect();
    assert_eq!(theirs, expected);
    hardswitch::set_channel_callback(None);
}

#[test]
fn out_of_the_channel_callback_operations_are_refused() {
    let channel = Channel::<Arc<u32>>::new();
    let (inner, value) = (channel.clone(), Arc::new(5));
    let (refused, sent) = (Rc::new(RefCell::new(vec![])), value.clone());
    let log = refused.clone();
    hardswitch::set_channel_callback(Some(Rc::new(move |_, _, _, _| {
        let (error, back) = inner.try_send(sent.clone()).unwrap_err();
        assert_eq!(back.as_deref(), Some(&5));
        log.borrow_mut().push(error.to_string());
        log.borrow_mut()
            .push(inner.receive().unwrap_err().to_string());
        panic!("a callback's panic");
    })));
    let (_, back) = channel.try_send(value.clone()).unwrap_err();
    assert_eq!(back.as_deref(), Some(&5), "the panic harms nobody");
    hardswitch::set_channel_callback(None);
    let message = "Recursive channel call due to callbacks!";
    assert_eq!(*refused.borrow(), [message, message]);
    drop(back);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn the_channel_callback_may_change_what_is_sent() {
    let channel = Channel::<u32>::new();
    let there = channel.clone();
    let receiver = thread::spawn(move || [there.receive(), there.receive(), there.receive()]);
    let count = Cell::new(0);
    hardswitch::set_channel_callback(Some(Rc::new(move |_, tasklet, _, _| {
        count.set(count.get() + 1);
        drop(match count.get() {
            1 => tasklet.set_tempval(hardswitch::Value::new(11_u32)),
            2 => tasklet.set_tempval(hardswitch::Value::new("of another type")),
            _ => tasklet.take_tempval(),
        });
    })));
    for _ in 0..3 {
        channel.send(1).unwrap();
    }
    hardswitch::set_channel_callback(None);
    let [changed, other, taken] = receiver.join().unwrap();
    assert_eq!(changed.unwrap(), 11);
    assert!(matches!(other, Err(Error::WrongType)));
    assert!(matches!(taken, Err(Error::ValueLost)));
}

/// Main gets a value, and before its turn comes the failure of a tasklet. A time that was up is no
/// other failure than all the rest: it is told.
#[test]
fn a_failure_is_not_swallowed_because_a_value_came_too() {
    for failure in [Error::thrown(1), Error::Timeout, Error::Closed] {
        let channel = Channel::new();
        let (sender, fails) = (channel.clone(), failure.clone());
        spawn(move || sender.send(7)).unwrap();
        spawn(move || Err(fails)).unwrap();
        let got: hardswitch::Result<u32> = channel.receive();
        assert_eq!(got.unwrap_err().to_string(), failure.to_string());
    }
}

// --- What a wait is told is not what it fails with by itself

/// Errors that a wait may have reasons of its own for.
fn ambiguous() -> [Error; 6] {
    [
        Error::Deadlock,
        Error::SwitchTrap,
        Error::BlockTrap,
        Error::ValueLost,
        Error::OutOfMemory,
        Error::Timeout,
    ]
}

fn same(error: &Error, expected: &Error) -> bool {
    std::mem::discriminant(error) == std::mem::discriminant(expected)
}

/// Main waits; a tasklet brings what it waits for and ends with an error, of which main is told.
#[test]
fn an_uncaught_error_is_told_though_the_partner_has_come() {
    for error in ambiguous() {
        for timed in [false, true] {
            let channel = Channel::new();
            let (there, ends_with) = (channel.clone(), error.clone());
            spawn(move || {
                there.send(1)?;
                Err(ends_with)
            })
            .unwrap();
            let received = match timed {
                false => channel.receive(),
                true => channel.receive_timeout(MS(10_000)),
            };
            let told = received.expect_err("an error").clone();
            assert!(same(&told, &error), "{told:?}, not {error:?}");
            assert_eq!(channel.balance(), 0);
        }
    }
}

/// A tasklet waits; main gives way to it, and it ends with an error. Main has handed over, so that
/// is told by its next wait.
#[test]
fn an_uncaught_error_of_the_partner_is_told() {
    for error in ambiguous() {
        let channel = Channel::new();
        let (there, ends_with) = (channel.clone(), error.clone());
        spawn(move || {
            there.receive()?;
            Err(ends_with)
        })
        .unwrap();
        hardswitch::run().unwrap();
        channel.send(1).unwrap();
        // The wait could be answered, so it ends with an error only because it is told one.
        let (answers, answer) = (channel.clone(), 2);
        spawn(move || answers.send(answer)).unwrap();
        let told = channel.receive().expect_err("an error");
        assert!(same(&told, &error), "{told:?}, not {error:?}");
        assert_eq!(channel.receive().unwrap(), answer);
    }
}

#[test]
fn what_is_thrown_at_a_waiting_tasklet_comes_out_whatever_it_is() {
    for error in ambiguous() {
        for sends in [false, true] {
            let channel = Channel::new();
            let (there, got) = (channel.clone(), Rc::new(RefCell::new(None)));
            let tell = got.clone();
            let waits = spawn(move || {
                let result = match sends {
                    true => there.send(1),
                    false => there.receive().map(drop),
                };
                *tell.borrow_mut() = result.err();
            })
            .unwrap();
            hardswitch::run().unwrap();
            waits.throw(error.clone()).unwrap();
            let told = got.take().expect("it has left");
            assert!(same(&told, &error), "{told:?}, not {error:?}");
            assert_eq!(channel.balance(), 0);
        }
    }
}

/// The same for what waits in `sync`.
#[test]
fn an_uncaught_error_is_told_though_the_event_is_set() {
    for error in ambiguous() {
        let event = Arc::new(hardswitch::sync::Event::new());
        let (there, ends_with) = (event.clone(), error.clone());
        spawn(move || {
            there.set();
            Err(ends_with)
        })
        .unwrap();
        let told = event.wait().expect_err("an error");
        assert!(same(&told, &error), "{told:?}, not {error:?}");
        assert_eq!(event.waiting(), 0);
    }
}

/// Unwinds a wait of the main tasklet by an event's panic.
fn unwind(wait: &dyn Fn()) {
    let here = MainLoop::current().unwrap().remote();
    here.post(|| panic!("an event's panic")).unwrap();
    let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait));
    assert!(left.is_err(), "it came back");
}

#[test]
fn a_wait_that_a_panic_leaves_is_in_no_queue() {
    const LONG: Duration = Duration::from_secs(1000);
    let channel = Channel::<u32>::new();
    let second = Channel::<u32>::new();
    let waits: [&dyn Fn(); 6] = [
        &|| drop(channel.receive()),
        &|| drop(channel.receive_timeout(LONG)),
        &|| drop(channel.send(1)),
        &|| drop(channel.send_timeout(1, LONG)),
        &|| {
            let mut select = hardswitch::Select::new();
            select.receive(&channel);
            select.receive(&second);
            drop(select.wait());
        },
        &|| {
            let mut select = hardswitch::Select::new();
            select.send(&channel, 1);
            select.receive(&second);
            drop(select.wait());
        },
    ];
    for (i, wait) in waits.iter().enumerate() {
        unwind(wait);
        assert_eq!((channel.balance(), second.balance()), (0, 0), "case {i}");
    }
    // The next value goes to who waits, and who sends is told so.
    let there = channel.clone();
    let thread = thread::spawn(move || there.send(2).unwrap());
    assert_eq!(channel.receive().unwrap(), 2);
    thread.join().unwrap();
    assert!(MainLoop::current().unwrap().is_idle());
}

/// The main tasklet waits while another tasklet fails with the very error that ends an iteration,
/// or says that a thread is gone.
#[test]
fn the_error_of_another_tasklet_is_not_taken_for_the_channels_or_the_references() {
    let channel = Channel::<u32>::new();
    let sender = channel.clone();
    let (told, goes_on) = mpsc::channel();
    let thread = thread::spawn(move || {
        goes_on.recv().unwrap();
        sender.send(7).unwrap();
        sender.close_and_wake();
    });
    spawn(|| Err::<(), _>(Error::Closed)).unwrap();
    let mut items = channel.iter();
    assert!(matches!(items.next(), Some(Err(Error::Closed))));
    told.send(()).unwrap();
    assert!(matches!(items.next(), Some(Ok(7))));
    assert!(items.next().is_none());
    thread.join().unwrap();

    // A tasklet of a thread that lives, and does not answer before it is told to.
    let (lends, lent) = mpsc::channel();
    let (told, goes_on) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let tasklet = hardswitch::Tasklet::new().unwrap();
        lends.send(tasklet.remote().unwrap()).unwrap();
        goes_on.recv().unwrap();
        MainLoop::current().unwrap().run_until_idle().unwrap();
    });
    let remote = lent.recv().unwrap();
    spawn(|| Err::<(), _>(Error::from(StateError::NoThread))).unwrap();
    let asked = remote.is_alive();
    assert!(
        matches!(asked, Err(Error::State(StateError::NoThread))),
        "{asked:?}"
    );
    told.send(()).unwrap();
    thread.join().unwrap();
}
