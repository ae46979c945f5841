//! Time limits for whatever a function waits for.

use crate::common::{fresh, Log};
use hardswitch::sync::{Condition, Event, Lock, Queue};
use hardswitch::time::{self, timeout, Deadline};
use hardswitch::{
    main_tasklet, offload, run, run_count, schedule, schedule_remove, sleep, thread, Channel,
    Error, MainLoop, QueueChannel, Result, Select,
};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
/// Never waited for: a test that does has failed.
const LONG: Duration = Duration::from_secs(100);

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// A clock that moves when the test says.
fn simulated() {
    time::set_clock(Some(|| NOW.get()));
}

/// Lets time pass, and what is due happen.
fn pass(milliseconds: u64) -> usize {
    NOW.set(NOW.get() + milliseconds * 1_000_000);
    time::fire_due()
}

/// Whatever waits on a tasklet of its own, and on main.
fn everywhere(wait: fn() -> Result<()>) {
    for on_main in [true, false] {
        std::thread::spawn(move || {
            let limited = move || {
                let start = Instant::now();
                let result = timeout(10 * MS, wait);
                assert!(matches!(result, Err(Error::Timeout)), "{result:?}");
                assert!(start.elapsed() >= 10 * MS, "not early");
                assert_eq!(time::timeouts(), 0);
            };
            match on_main {
                true => limited(),
                false => drop(hardswitch::spawn(limited).unwrap()),
            }
            MainLoop::current().unwrap().run_until_idle().unwrap();
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_send_is_limited() {
    everywhere(|| {
        let channel = Channel::new();
        let result = channel.send(());
        assert_eq!(channel.balance(), 0);
        result
    });
}

#[test]
fn a_receive_is_limited() {
    everywhere(|| {
        let channel: Channel<()> = Channel::new();
        let result = channel.receive();
        assert_eq!(channel.balance(), 0);
        result
    });
    everywhere(|| QueueChannel::unbounded().receive());
    everywhere(|| Channel::new().receive_timeout(LONG));
}

#[test]
fn a_select_is_limited() {
    everywhere(|| {
        let (a, b) = (Channel::<()>::new(), Channel::<()>::new());
        let mut select = Select::new();
        select.receive(&a);
        select.receive(&b);
        let result = select.wait().map(drop);
        assert_eq!((a.balance(), b.balance()), (0, 0));
        result
    });
}

#[test]
fn a_sleep_is_limited() {
    everywhere(|| sleep(LONG));
}

#[test]
fn waits_in_sync_are_limited() {
    everywhere(|| Event::new().wait());
    everywhere(|| Queue::<()>::new().get());
    everywhere(|| {
        let lock = Lock::new(());
        let _held = lock.lock()?;
        lock.lock().map(drop)
    });
    everywhere(|| {
        let (lock, condition) = (Lock::new(()), Condition::new());
        let held = lock.lock()?;
        condition.wait(held).map(drop)
    });
}

#[test]
fn calls_and_waits_for_other_threads_are_limited() {
    everywhere(|| offload::call(|| std::thread::sleep(5000 * MS)));
    everywhere(|| {
        let channel = thread::Channel::<()>::new();
        let (go, gone) = std::sync::mpsc::channel();
        let there = channel.clone();
        let peer = std::thread::spawn(move || {
            gone.recv().unwrap();
            drop(there.try_send(()));
        });
        let result = channel.receive();
        go.send(()).unwrap();
        peer.join().unwrap();
        result
    });
}

#[test]
fn who_has_left_the_queue_is_limited() {
    fresh(|s| {
        let log = Log::default();
        let logs = log.clone();
        let t = s.spawn(move || {
            // So long that it is seen to have left.
            let result = timeout(500 * MS, schedule_remove);
            logs.add(matches!(result, Err(Error::Timeout)));
        });
        run().unwrap();
        assert!(t.is_paused());
        MainLoop::current().unwrap().run_until_idle().unwrap();
        assert_eq!(log.take(), "true");
    });
}

#[test]
fn in_time_changes_nothing() {
    fresh(|s| {
        simulated();
        let channel = Channel::new();
        let sender = channel.clone();
        s.spawn(move || sender.send("hullo"));
        assert_eq!(timeout(10 * MS, || channel.receive()).unwrap(), "hullo");
        assert_eq!((time::timeouts(), pass(20)), (0, 0));
        run().unwrap();
    });
}

#[test]
fn what_does_not_wait_is_not_interrupted() {
    fresh(|_| {
        assert_eq!(
            timeout(MS, || {
                std::thread::sleep(5 * MS);
                Ok("hullo")
            })
            .unwrap(),
            "hullo"
        );
        // Though somebody fires it, from inside.
        let channel: Channel<()> = Channel::new();
        let done = timeout(MS, || {
            std::thread::sleep(5 * MS);
            assert_eq!(time::fire_due(), 1);
            Ok(1)
        });
        assert_eq!(done.unwrap(), 1);
        assert!(matches!(channel.receive(), Err(Error::Deadlock)), "gone");
        // And whatever comes next in there fails of it.
        let calls: [fn() -> Result<()>; 6] = [
            || Channel::new().send(()),
            || Channel::new().receive(),
            || Channel::new().receive_timeout(LONG),
            schedule,
            schedule_remove,
            || sleep(LONG),
        ];
        for call in calls {
            let result = timeout(MS, || {
                std::thread::sleep(2 * MS);
                time::fire_due();
                call()
            });
            assert!(matches!(result, Err(Error::Timeout)), "{result:?}");
            schedule().unwrap();
        }
    });
}

#[test]
fn a_tasklet_that_polls_is_limited() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        let logs = log.clone();
        s.spawn(move || {
            let mut turns = 0;
            let result: Result<()> = timeout(10 * MS, || loop {
                turns += 1;
                schedule()?;
            });
            logs.add(matches!(result, Err(Error::Timeout)));
            logs.add(turns);
        });
        schedule().unwrap();
        assert_eq!(pass(9), 0);
        schedule().unwrap();
        assert_eq!((pass(1), pass(1)), (1, 0));
        // The turn that it waits for is its own still; it gives way no more.
        run().unwrap();
        assert_eq!(log.take(), "true 3");
    });
}

#[test]
fn who_got_it_in_time_has_it_and_the_next_wait_fails() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        let channel = Channel::new();
        channel.set_preference(hardswitch::Preference::Neither);
        let (receiver, logs) = (channel.clone(), log.clone());
        s.spawn(move || {
            let result = timeout(10 * MS, || {
                logs.add(receiver.receive()?);
                logs.add(receiver.receive()?);
                Ok(())
            });
            logs.add(matches!(result, Err(Error::Timeout)));
        });
        run().unwrap();
        channel.send(1).unwrap();
        // It has not run yet.
        assert_eq!(pass(20), 1);
        run().unwrap();
        assert_eq!((log.take(), channel.balance()), ("1 true".into(), 0));
        // The same for who sends, and waits no more.
        let (sender, logs) = (channel.clone(), log.clone());
        s.spawn(move || {
            timeout(10 * MS, || {
                sender.send(2)?;
                logs.add("sent");
                Ok(())
            })
        });
        run().unwrap();
        assert_eq!(channel.receive().unwrap(), 2);
        assert_eq!(pass(20), 1);
        run().unwrap();
        assert_eq!((log.take(), time::timeouts()), ("sent".into(), 0));
    });
}

#[test]
fn a_wait_that_could_be_answered_at_once_fails_when_the_time_is_up() {
    fresh(|s| {
        simulated();
        let (near, queue, far) = (
            Channel::new(),
            QueueChannel::unbounded(),
            thread::Channel::new(),
        );
        for channel in [near.clone(), near.clone()] {
            s.spawn(move || channel.send(1));
        }
        let sender = far.clone();
        s.spawn(move || sender.send(2));
        queue.send(3).unwrap();
        run().unwrap();
        near.set_preference(hardswitch::Preference::Neither);
        type Wait = Box<dyn Fn() -> Result<()>>;
        let ready: [(&str, Wait); 3] = [
            (
                "a channel",
                Box::new({
                    let c = near.clone();
                    move || c.receive().map(drop)
                }),
            ),
            (
                "between threads",
                Box::new({
                    let c = far.clone();
                    move || c.receive().map(drop)
                }),
            ),
            (
                "a select",
                Box::new({
                    let (c, q) = (near.clone(), queue.clone());
                    move || {
                        let mut select = Select::new();
                        select.receive(&q);
                        select.receive(&c);
                        select.wait().map(drop)
                    }
                }),
            ),
        ];
        for (what, wait) in ready {
            let result = timeout(10 * MS, || {
                pass(20);
                wait()
            });
            assert!(matches!(result, Err(Error::Timeout)), "{what}: {result:?}");
        }
        // Nothing is lost.
        assert_eq!((near.balance(), queue.len(), far.balance()), (2, 1, 1));
        for _ in 0..2 {
            assert_eq!(near.receive().unwrap(), 1);
        }
        assert_eq!((queue.receive().unwrap(), far.receive().unwrap()), (3, 2));
        run().unwrap();
    });
}

/// In a scope of 10 ms, `wait` again and again. Each frame of 3 ms, `feed` says how many waits end
/// in it; the time is looked at afterwards, as a frame does.
fn fed(s: crate::common::Stacks, wait: impl Fn() -> Result<()> + 'static, feed: impl Fn() -> u32) {
    simulated();
    let (got, told) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let (counts, tells) = (got.clone(), told.clone());
    s.spawn(move || {
        let result: Result<()> = timeout(10 * MS, || loop {
            wait()?;
            counts.set(counts.get() + 1);
        });
        tells.set(Some(matches!(result, Err(Error::Timeout))));
    });
    run().unwrap();
    let (mut fed, mut frames) = (0, 0);
    while told.get().is_none() {
        assert!(frames < 100, "after {frames} frames of 3 ms");
        fed += feed();
        pass(3);
        run().unwrap();
        frames += 1;
    }
    assert_eq!((told.get(), frames), (Some(true), 4));
    assert_eq!(got.get(), fed, "nothing that came is lost");
    assert_eq!((time::timeouts(), run_count()), (0, 1));
}

#[test]
fn who_gets_something_in_each_frame_is_limited_all_the_same() {
    fresh(|s| {
        let channel = Channel::new();
        channel.set_preference(hardswitch::Preference::Neither);
        let receiver = channel.clone();
        fed(
            s,
            move || receiver.receive(),
            || {
                channel.send(()).unwrap();
                1
            },
        );
        assert_eq!(channel.balance(), 0);
        // Who sends.
        let sender = channel.clone();
        fed(
            s,
            move || sender.send(()),
            || {
                channel.receive().unwrap();
                1
            },
        );
        // A select.
        let receiver = channel.clone();
        fed(
            s,
            move || {
                let mut select = Select::new();
                select.receive(&receiver);
                select.wait().map(drop)
            },
            || {
                channel.send(()).unwrap();
                1
            },
        );
        // A wait with a time of its own.
        let receiver = channel.clone();
        fed(
            s,
            move || receiver.receive_timeout(LONG),
            || {
                channel.send(()).unwrap();
                1
            },
        );
        assert_eq!(channel.balance(), 0);
        // A queue, a flag, and a turn.
        let queue = Rc::new(Queue::new());
        let gets = queue.clone();
        fed(
            s,
            move || gets.get(),
            || {
                queue.put(()).unwrap();
                1
            },
        );
        let events = Rc::new((Event::new(), Event::new()));
        let waits = events.clone();
        fed(
            s,
            move || waits.0.wait().inspect(|()| waits.0.clear()),
            || {
                events.0.set();
                1
            },
        );
        // Between threads.
        let far = thread::Channel::new();
        let receiver = far.clone();
        fed(
            s,
            move || receiver.receive(),
            || {
                far.try_send(()).unwrap();
                1
            },
        );
    });
}

#[test]
fn who_need_not_wait_is_limited_all_the_same() {
    fresh(|s| {
        let log = Log::default();
        // A sender always waits, and its receiver goes on at once.
        let channel = Channel::new();
        channel.set_preference(hardswitch::Preference::Receiver);
        let (sender, receiver) = (channel.clone(), channel.clone());
        let sends = s.spawn(move || -> Result<()> {
            loop {
                sender.send(())?;
            }
        });
        let (logs, start) = (log.clone(), Instant::now());
        s.spawn(move || {
            let result: Result<()> = timeout(10 * MS, || loop {
                receiver.receive()?;
                assert!(start.elapsed() < LONG, "never told");
            });
            logs.add(matches!(result, Err(Error::Timeout)));
            sends.kill()
        });
        MainLoop::current().unwrap().run_until_idle().unwrap();
        assert_eq!(log.take(), "true");
    });
}

#[test]
fn a_peer_that_sends_a_byte_a_frame_ends_no_limit() {
    fresh(|s| {
        use hardswitch::net::{TcpListener, TcpStream};
        use std::io::{Read, Write};
        let main_loop = MainLoop::current().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        peer.set_nodelay(true).unwrap();
        let (got, told) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
        let (counts, tells) = (got.clone(), told.clone());
        s.spawn(move || {
            let result: Result<()> = timeout(30 * MS, || loop {
                counts.set(counts.get() + (&ours).read(&mut [0])?);
            });
            tells.set(Some(matches!(result, Err(Error::Timeout))));
        });
        let (start, mut sent) = (Instant::now(), 0);
        while told.get().is_none() {
            assert!(start.elapsed() < LONG, "never told");
            peer.write_all(b"x").unwrap();
            sent += 1;
            // So that it is there when the loop looks.
            std::thread::sleep(3 * MS);
            main_loop.tick().unwrap();
        }
        assert_eq!(told.get(), Some(true));
        assert!(start.elapsed() >= 30 * MS && got.get() <= sent);
    });
}

#[test]
fn main_is_limited_though_something_comes_all_the_time() {
    fresh(|s| {
        let channel = Channel::new();
        let sender = channel.clone();
        let sends = s.spawn(move || {
            for i in 0.. {
                sleep(MS)?;
                sender.send(i)?;
            }
            Ok(())
        });
        let (start, mut next) = (Instant::now(), 0);
        let result: Result<()> = timeout(20 * MS, || loop {
            assert_eq!(channel.receive()?, next, "none is lost");
            next += 1;
            assert!(start.elapsed() < LONG, "never told");
        });
        assert!(matches!(result, Err(Error::Timeout)), "{result:?}");
        assert_eq!(channel.balance().max(0), channel.balance());
        sends.kill().unwrap();
    });
}

// --- What another thread brings in time

/// A wait for another thread, and what ends it there.
type Brought = (Box<dyn Fn() -> Result<()>>, Box<dyn FnOnce() + Send>);

fn brought() -> Vec<(&'static str, Brought)> {
    fn brought(
        wait: impl Fn() -> Result<()> + 'static,
        bring: impl FnOnce() + Send + 'static,
    ) -> Brought {
        (Box::new(wait), Box::new(bring))
    }
    let channels: [thread::Channel<i32>; 4] = Default::default();
    let there = channels.clone();
    let [receives, sends, selects, puts] = channels;
    let [one, two, three, four] = there;
    let queue = Arc::new(Queue::new());
    let gets = queue.clone();
    let event = Arc::new(Event::new());
    let waits = event.clone();
    vec![
        (
            "a receive",
            brought(
                move || receives.receive().map(drop),
                move || one.send_timeout(1, LONG).unwrap(),
            ),
        ),
        (
            "a send",
            brought(
                move || sends.send(2),
                move || assert_eq!(two.receive_timeout(LONG).unwrap(), 2),
            ),
        ),
        (
            "a select that receives",
            brought(
                move || {
                    let mut select = Select::new();
                    let case = select.receive(&selects);
                    let mut done = select.wait()?;
                    done.received(case).unwrap().map(drop)
                },
                move || three.send_timeout(3, LONG).unwrap(),
            ),
        ),
        (
            "a select that sends",
            brought(
                move || {
                    let mut select = Select::new();
                    let case = select.send(&puts, 4);
                    let mut done = select.wait()?;
                    done.sent(case).unwrap()
                },
                move || assert_eq!(four.receive_timeout(LONG).unwrap(), 4),
            ),
        ),
        (
            "a queue",
            brought(
                move || gets.get().map(|value: i32| assert_eq!(value, 5)),
                move || queue.put(5).unwrap(),
            ),
        ),
        (
            "an event",
            brought(move || waits.wait(), move || event.set()),
        ),
    ]
}

thread_local! {
    /// What another thread does while the clock is looked at.
    static MEANWHILE: Cell<Option<Box<dyn FnOnce() + Send>>> = const { Cell::new(None) };
}

/// On a thread of its own, to the end.
fn elsewhere(f: Box<dyn FnOnce() + Send>) {
    std::thread::spawn(f).join().unwrap();
}

#[test]
fn what_another_thread_brought_in_time_is_had_and_the_next_wait_fails() {
    fresh(|s| {
        simulated();
        for meanwhile in [false, true] {
            for (what, (wait, bring)) in brought() {
                let log = Log::default();
                let logs = log.clone();
                s.spawn(move || {
                    let result = timeout(10 * MS, || {
                        wait()?;
                        logs.add("had");
                        schedule()
                    });
                    logs.add(matches!(result, Err(Error::Timeout)));
                });
                run().unwrap();
                match meanwhile {
                    // The message is there when the time is up, and has not been read.
                    false => elsewhere(bring),
                    // It comes while the time is looked at.
                    true => {
                        MEANWHILE.set(Some(bring));
                        time::set_clock(Some(|| {
                            if let Some(bring) = MEANWHILE.take() {
                                elsewhere(bring);
                            }
                            NOW.get()
                        }));
                    }
                }
                pass(20);
                simulated();
                run().unwrap();
                // What came when nobody looked any more.
                MainLoop::current().unwrap().tick().unwrap();
                assert_eq!(log.take(), "had true", "{what}, {meanwhile}");
                assert_eq!(time::timeouts(), 0);
            }
        }
    });
}

#[test]
fn main_gets_what_comes_in_the_same_pump_as_its_time() {
    fresh(|_| {
        let channel = Channel::new();
        let sender = channel.clone();
        // So long that main waits before either is due.
        hardswitch::timer::call_later(400 * MS, move || {
            // So that both are due.
            std::thread::sleep(200 * MS);
            sender.send(1).unwrap();
        })
        .unwrap();
        assert_eq!(timeout(500 * MS, || channel.receive()).unwrap(), 1);
        schedule().unwrap();
    });
}

#[test]
fn a_kill_wins_over_the_time() {
    fresh(|s| {
        simulated();
        let channel: Channel<()> = Channel::new();
        let receiver = channel.clone();
        let t = s.spawn(move || {
            let result = timeout(10 * MS, || receiver.receive());
            assert!(matches!(result, Err(Error::Exit)), "{result:?}");
            result
        });
        run().unwrap();
        t.kill_pending().unwrap();
        pass(20);
        run().unwrap();
        assert!(!t.is_alive());
        assert_eq!((time::timeouts(), channel.balance()), (0, 0));
    });
}

#[test]
fn a_killed_tasklet_leaves_no_limit_behind() {
    fresh(|s| {
        simulated();
        let t = s.spawn(|| timeout(10 * MS, || Channel::<()>::new().receive()));
        run().unwrap();
        assert_eq!(time::timeouts(), 1);
        t.kill().unwrap();
        assert_eq!((time::timeouts(), pass(20)), (0, 0));
        // Nor one that panics.
        s.spawn(|| timeout(10 * MS, || -> Result<()> { panic!("in a scope") }));
        assert!(matches!(run(), Err(Error::Panicked(_))));
        assert_eq!(time::timeouts(), 0);
    });
}

// --- Nested

#[test]
fn an_inner_limit_does_not_catch_the_outer_one() {
    fresh(|_| {
        let result = timeout(10 * MS, || {
            timeout(LONG, || match sleep(LONG) {
                Err(Error::Timeout) => panic!("taken for its own"),
                other => other,
            })
        });
        assert!(matches!(result, Err(Error::Timeout)));
        // Nor does a wait with a timeout in between.
        let result = timeout(10 * MS, || {
            match Channel::<()>::new().receive_timeout(LONG) {
                Err(Error::Timeout) => panic!("taken for its own"),
                other => other,
            }
        });
        assert!(matches!(result, Err(Error::Timeout)));
    });
}

#[test]
fn an_inner_limit_is_caught_by_its_own_scope_only() {
    fresh(|_| {
        let inner = || timeout(10 * MS, || sleep(LONG));
        let result = timeout(LONG, || {
            assert!(matches!(inner(), Err(Error::Timeout)));
            sleep(MS)?;
            Ok("foo")
        });
        assert_eq!(result.unwrap(), "foo");
        // Let pass, it goes through the outer one.
        let start = Instant::now();
        assert!(matches!(timeout(LONG, inner), Err(Error::Timeout)));
        assert!(start.elapsed() < LONG);
    });
}

#[test]
fn of_two_with_the_same_time_the_outer_one_is_told() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        let logs = log.clone();
        s.spawn(move || {
            timeout(10 * MS, || {
                let inner = timeout(10 * MS, || Channel::<()>::new().receive());
                logs.add(matches!(inner, Err(Error::Thrown(_))));
                inner
            })
        });
        run().unwrap();
        pass(10);
        assert!(matches!(run(), Err(Error::Timeout)));
        assert_eq!((log.take(), time::timeouts()), ("true".into(), 0));
    });
}

#[test]
fn three_limits_end_from_the_shortest() {
    fresh(|_| {
        let slept = Cell::new(0);
        let forever = || {
            slept.set(slept.get() + 1);
            sleep(LONG)
        };
        let one = || timeout(60 * MS, forever);
        let two = || {
            timeout(80 * MS, || {
                assert!(matches!(one(), Err(Error::Timeout | Error::Thrown(_))));
                forever()
            })
        };
        let start = Instant::now();
        let result = timeout(LONG, || {
            assert!(matches!(two(), Err(Error::Timeout)));
            Ok(7)
        });
        assert_eq!((result.unwrap(), slept.get()), (7, 2));
        assert!(start.elapsed() >= 80 * MS);
        // The outermost is the shortest: nobody inside waits any more, but of their own will.
        let result = timeout(10 * MS, || {
            let inner = two();
            assert!(matches!(inner, Err(Error::Timeout)), "it went on to wait");
            inner
        });
        assert!(matches!(result, Err(Error::Timeout)));
        // None of them.
        let result = timeout(LONG, || timeout(LONG, || timeout(LONG, || Ok("foo"))));
        assert_eq!(result.unwrap(), "foo");
        assert_eq!(time::timeouts(), 0);
    });
}

#[test]
fn a_shared_deadline_limits_all_together() {
    fresh(|_| {
        let deadline = Deadline::after(2000 * MS).unwrap();
        let left = deadline.left().unwrap();
        assert!(left <= 2000 * MS);
        deadline.limit(|| sleep(MS)).unwrap();
        for _ in 0..2 {
            let result = deadline.limit(|| sleep(LONG));
            assert!(matches!(result, Err(Error::Timeout)));
        }
        assert_eq!(deadline.left(), Some(Duration::ZERO));
    });
}

#[test]
fn any_error_may_stand_for_the_time() {
    fresh(|_| {
        let own = Error::thrown(17);
        let result = timeout(5 * MS, || sleep(LONG)).map_err(|_| own);
        match result {
            Err(Error::Thrown(thrown)) => assert_eq!(thrown.downcast_ref(), Some(&17)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn no_time_at_all_and_absurdly_much() {
    fresh(|s| {
        // Zero: it need not wait for what is there.
        let channel = Channel::new();
        let sender = channel.clone();
        s.spawn(move || sender.send(1));
        schedule().unwrap();
        assert_eq!(timeout(Duration::ZERO, || channel.receive()).unwrap(), 1);
        run().unwrap();
        let result = timeout(Duration::ZERO, || channel.receive());
        assert!(matches!(result, Err(Error::Timeout)));
        // For ever: no limit at all.
        let result = timeout(Duration::MAX, || channel.receive());
        assert!(matches!(result, Err(Error::Deadlock)));
        assert_eq!(Deadline::after(Duration::MAX).unwrap().left(), None);
    });
}

#[test]
fn the_frame_of_a_game_may_be_limited() {
    fresh(|_| {
        let main_loop = MainLoop::current().unwrap();
        let result: Result<()> = timeout(10 * MS, || loop {
            main_loop.tick()?;
            std::thread::sleep(MS);
        });
        assert!(matches!(result, Err(Error::Timeout)));
        main_loop.tick().unwrap();
    });
}

#[test]
fn limits_hold_while_main_is_blocked() {
    fresh(|s| {
        let channel = Channel::new();
        let sender = channel.clone();
        s.spawn(move || {
            let result = timeout(10 * MS, || Channel::<()>::new().receive());
            sender.send(matches!(result, Err(Error::Timeout)))
        });
        assert!(channel.receive().unwrap());
        assert!(main_tasklet().is_current());
        let value = Rc::new(());
        let kept = value.clone();
        let result = timeout(5 * MS, || {
            let _kept = kept;
            sleep(LONG)
        });
        assert!(result.is_err());
        assert_eq!(Rc::strong_count(&value), 1);
    });
}

#[test]
fn a_limit_that_must_wait_may_end_while_others_are_told() {
    fresh(|s| {
        simulated();
        /// Kills when dropped.
        struct Killer(hardswitch::Tasklet);
        impl Drop for Killer {
            fn drop(&mut self) {
                self.0.kill().unwrap();
            }
        }
        let log = Log::default();
        let channel = Channel::new();
        channel.set_preference(hardswitch::Preference::Neither);
        let (receiver, logs) = (channel.clone(), log.clone());
        let queued = s.spawn(move || {
            let result = timeout(10 * MS, || receiver.receive());
            logs.add(matches!(result, Err(Error::Exit)));
            // No limit of its own any more.
            logs.add(matches!(Channel::<()>::new().receive(), Err(Error::Exit)));
        });
        let killer = Killer(queued.clone());
        let sends = Channel::new();
        let sender = sends.clone();
        let noted = Log::default();
        let notes = noted.clone();
        s.spawn(move || {
            let sent = timeout(11 * MS, || sender.send(killer));
            notes.add(matches!(sent, Err(Error::Timeout)));
        });
        run().unwrap();
        // The one has what it waits for; the other is told, and what it would send is dropped.
        channel.send(()).unwrap();
        assert!(queued.is_scheduled());
        pass(20);
        run().unwrap();
        assert!(queued.is_blocked());
        assert_eq!((log.take(), noted.take()), ("true".into(), "true".into()));
        assert_eq!((time::timeouts(), pass(20)), (0, 0));
        queued.kill().unwrap();
        assert_eq!(log.take(), "true");
    });
}
