//! Waits that end at a time: what is handed over, what comes back, who looks at the clock.
#![cfg(feature = "std")]

mod common;

use common::{fresh, told, Log};
use hardswitch::time::{self, set_clock};
use hardswitch::{
    run, run_count, schedule, timer, Channel, Error, MainLoop, QueueChannel, Result, Select,
};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// A clock that moves when the test says, in milliseconds.
fn simulated() {
    set_clock(Some(|| NOW.get()));
}

/// Lets time pass, and what is due happen.
fn pass(milliseconds: u64) -> usize {
    NOW.set(NOW.get() + milliseconds * 1_000_000);
    time::fire_due()
}

#[test]
fn a_receive_that_nobody_serves_ends_in_time_and_not_earlier() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        let channel: Channel<i32> = Channel::new();
        let (logs, c) = (log.clone(), channel.clone());
        let t = s.spawn(move || {
            logs.add(told(c.receive_timeout(100 * MS)));
            Ok(())
        });
        run().unwrap();
        assert_eq!(channel.balance(), -1);
        assert!(t.is_blocked());
        assert_eq!(time::until_next(), Some(100 * MS));
        assert_eq!((pass(99), time::timeouts()), (0, 1));
        assert!(t.is_blocked());
        assert_eq!((pass(1), time::timeouts()), (1, 0));
        assert_eq!(channel.balance(), 0);
        assert!(!t.is_blocked() && t.is_scheduled(), "queued, not run");
        run().unwrap();
        assert_eq!(log.take(), Error::Timeout.to_string());
        assert_eq!(time::until_next(), None);
    });
}

#[test]
fn a_value_in_time_arrives_and_its_timeout_is_forgotten() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        let channel = Channel::new();
        let (logs, c) = (log.clone(), channel.clone());
        s.spawn(move || {
            logs.add(c.receive_timeout(100 * MS)?);
            // The old timeout must not end another wait.
            logs.add(c.receive()?);
            Ok(())
        });
        run().unwrap();
        pass(99);
        channel.send(1).unwrap();
        assert_eq!(time::timeouts(), 0);
        assert_eq!(pass(1000), 0);
        run().unwrap();
        channel.send(2).unwrap();
        run().unwrap();
        assert_eq!(log.take(), "1 2");
    });
}

#[test]
fn a_value_that_came_first_wins_though_the_time_is_up_before_the_tasklet_runs() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        let channel = Channel::new();
        channel.set_preference(hardswitch::Preference::Neither);
        let (logs, c) = (log.clone(), channel.clone());
        let t = s.spawn(move || {
            logs.add(c.receive_timeout(10 * MS)?);
            Ok(())
        });
        run().unwrap();
        channel.send(1).unwrap();
        assert!(t.is_scheduled() && !t.is_blocked());
        pass(20);
        run().unwrap();
        assert_eq!(log.take(), "1");
    });
}

#[test]
fn a_value_that_nobody_took_comes_back() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        let channel = Channel::new();
        let (logs, c) = (log.clone(), channel.clone());
        s.spawn(move || {
            match c.send_timeout(String::from("a value of three words"), 5 * MS) {
                Err((Error::Timeout, Some(value))) => logs.add(value),
                other => panic!("{other:?}"),
            }
            c.send_timeout(String::from("taken"), 5 * MS)
                .map_err(|(error, _)| error)
        });
        run().unwrap();
        assert_eq!(channel.balance(), 1);
        assert_eq!(pass(5), 1);
        run().unwrap();
        assert_eq!(log.take(), "a value of three words");
        assert_eq!(channel.receive().unwrap(), "taken");
        run().unwrap();
        assert_eq!(channel.balance(), 0);
    });
}

#[test]
fn zero_does_not_wait_and_lets_nobody_run() {
    fresh(|s| {
        let channel = Channel::new();
        let t = s.spawn(|| ());
        let _trap = hardswitch::block_trap();
        assert!(matches!(
            channel.receive_timeout(Duration::ZERO),
            Err(Error::Timeout)
        ));
        let sent = channel.send_timeout(3, Duration::ZERO);
        assert!(matches!(sent, Err((Error::Timeout, Some(3)))));
        assert!(t.is_scheduled() && t.is_alive());
        assert_eq!(channel.balance(), 0);
        let sender = channel.clone();
        s.spawn(move || sender.send(4));
        schedule().unwrap();
        assert_eq!(channel.receive_timeout(Duration::ZERO).unwrap(), 4);
    });
}

#[test]
fn an_absurdly_long_time_is_for_ever() {
    fresh(|s| {
        let channel: Channel<i32> = Channel::new();
        let c = channel.clone();
        let t = s.spawn(move || c.receive_timeout(Duration::MAX).map(drop));
        run().unwrap();
        assert_eq!(time::timeouts(), 0);
        channel.send(1).unwrap();
        run().unwrap();
        assert!(!t.is_alive());
        let waited = channel.receive_timeout(Duration::MAX);
        assert!(matches!(waited, Err(Error::Deadlock)), "as without a time");
    });
}

#[test]
fn closed_trapped_and_killed_waits_say_what_they_are() {
    fresh(|s| {
        let channel: Channel<i32> = Channel::new();
        {
            let _trap = hardswitch::block_trap();
            assert_eq!(
                told(channel.receive_timeout(MS)),
                Error::BlockTrap.to_string()
            );
        }
        {
            let _trap = hardswitch::switch_trapped();
            assert_eq!(told(channel.receive_timeout(MS)), "switch_trap");
        }
        channel.close();
        assert_eq!(told(channel.receive_timeout(MS)), Error::Closed.to_string());
        let sent = channel.send_timeout(1, MS);
        assert!(matches!(sent, Err((Error::Closed, Some(1)))));
        channel.open();
        let value = Rc::new(());
        let (sends, typed) = (value.clone(), Channel::new());
        let c = typed.clone();
        let t = s.spawn(move || match c.send_timeout(sends, 1000 * MS) {
            Err((Error::Exit, Some(_value))) => Err(Error::Exit),
            other => panic!("{other:?}"),
        });
        t.run().unwrap();
        t.kill().unwrap();
        assert_eq!((typed.balance(), time::timeouts()), (0, 0));
        assert_eq!(Rc::strong_count(&value), 1);
    });
}

#[test]
fn close_and_wake_ends_all_waits_in_their_order() {
    fresh(|s| {
        let log = Log::default();
        let channel: Channel<Rc<()>> = Channel::new();
        for i in 0..3 {
            let (log, c) = (log.clone(), channel.clone());
            s.spawn(move || {
                let result = match i {
                    1 => c.receive_timeout(1000 * MS),
                    _ => c.receive(),
                };
                log.add(format!("{i}:{}", told(result)));
                Ok(())
            });
        }
        run().unwrap();
        assert_eq!(channel.balance(), -3);
        assert_eq!(channel.close_and_wake(), 3);
        assert_eq!(log.take(), "", "nobody has run yet");
        assert_eq!((channel.balance(), run_count()), (0, 4));
        assert!(channel.is_closed());
        run().unwrap();
        let closed = Error::Closed.to_string();
        assert_eq!(log.take(), format!("0:{closed} 1:{closed} 2:{closed}"));
        assert_eq!(time::timeouts(), 0);
        // Senders: what they were about to send is dropped once.
        channel.open();
        let value = Rc::new(());
        for _ in 0..2 {
            let (c, value) = (channel.clone(), value.clone());
            s.spawn(move || match c.send(value) {
                Err(Error::Closed) => Ok(()),
                other => other,
            });
        }
        run().unwrap();
        assert_eq!((channel.balance(), Rc::strong_count(&value)), (2, 3));
        assert_eq!(channel.close_and_wake(), 2);
        assert_eq!(Rc::strong_count(&value), 1);
        run().unwrap();
        assert_eq!(channel.close_and_wake(), 0);
    });
}

#[test]
fn close_and_wake_from_a_destructor_of_what_it_drops_is_harmless() {
    struct Closes(Channel<Closes>);
    impl Drop for Closes {
        fn drop(&mut self) {
            self.0.close_and_wake();
        }
    }
    fresh(|s| {
        let channel = Channel::new();
        for _ in 0..3 {
            let c = channel.clone();
            s.spawn(move || drop(c.send(Closes(c.clone()))));
        }
        run().unwrap();
        assert_eq!(channel.close_and_wake(), 3);
        run().unwrap();
        assert_eq!(run_count(), 1);
    });
}

#[test]
fn the_main_loop_fires_timeouts_and_sleeps_until_then() {
    fresh(|s| {
        let log = Log::default();
        let (logs, channel) = (log.clone(), Channel::<i32>::new());
        s.spawn(move || {
            logs.add(told(channel.receive_timeout(30 * MS)));
            Ok(())
        });
        let start = Instant::now();
        let main_loop = MainLoop::current().unwrap();
        main_loop.run_until_idle().unwrap();
        assert_eq!(log.take(), Error::Timeout.to_string());
        let took = start.elapsed();
        assert!(took >= 30 * MS && took < 60_000 * MS, "{took:?}");
        assert!(main_loop.is_idle());
    });
}

#[test]
fn main_drives_the_loop_while_it_waits_with_a_timeout() {
    fresh(|s| {
        let channel = Channel::new();
        let start = Instant::now();
        assert!(matches!(
            channel.receive_timeout(20 * MS),
            Err(Error::Timeout)
        ));
        assert!(start.elapsed() >= 20 * MS);
        // A sleeper wakes up, and sends in time.
        let sender = channel.clone();
        s.spawn(move || {
            hardswitch::sleep(10 * MS)?;
            assert_eq!(sender.balance(), -1, "main is in the queue of the channel");
            assert!(sender.queue().unwrap().is_main());
            sender.send(5)
        });
        assert_eq!(channel.receive_timeout(Duration::from_secs(20)).unwrap(), 5);
        assert_eq!((channel.balance(), run_count()), (0, 2));
        run().unwrap();
        // And main sends.
        let receiver = channel.clone();
        s.spawn(move || {
            hardswitch::sleep(5 * MS)?;
            assert_eq!(receiver.receive()?, 6);
            Ok(())
        });
        channel.send_timeout(6, Duration::from_secs(20)).unwrap();
        run().unwrap();
    });
}

#[test]
fn an_event_may_serve_the_one_who_pumps_it() {
    fresh(|_| {
        thread_local!(static CHANNEL: Channel<i32> = Channel::new());
        let remote = MainLoop::current().unwrap().remote();
        remote
            .post(|| CHANNEL.with(|c| c.send(8)).expect("main receives"))
            .unwrap();
        let channel = CHANNEL.with(Channel::clone);
        assert_eq!(channel.receive_timeout(Duration::from_secs(20)).unwrap(), 8);
        assert_eq!(channel.balance(), 0);
    });
}

#[test]
fn the_last_runnable_tasklet_drives_the_loop_while_main_is_blocked() {
    fresh(|s| {
        let (to_main, never) = (Channel::new(), Channel::<i32>::new());
        let sender = to_main.clone();
        s.spawn(move || {
            assert!(matches!(
                never.receive_timeout(10 * MS),
                Err(Error::Timeout)
            ));
            sender.send(1)
        });
        assert_eq!(to_main.receive().unwrap(), 1);
        run().unwrap();
    });
}

#[test]
fn a_select_with_a_timeout_leaves_all_its_channels() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        let (a, b) = (Channel::<i32>::new(), Channel::<i32>::new());
        let (ca, cb, logs) = (a.clone(), b.clone(), log.clone());
        s.spawn(move || {
            let mut select = Select::new();
            select.receive(&ca);
            select.send(&cb, 1);
            logs.add(told(select.wait_timeout(10 * MS)));
            Ok(())
        });
        run().unwrap();
        assert_eq!((a.balance(), b.balance()), (-1, 1));
        pass(10);
        assert_eq!((a.balance(), b.balance()), (0, 0));
        run().unwrap();
        assert_eq!(log.take(), Error::Timeout.to_string());
    });
}

#[test]
fn a_select_without_cases_lets_the_time_pass() {
    fresh(|s| {
        simulated();
        let t = s.spawn(|| match Select::new().wait_timeout(10 * MS) {
            Err(Error::Timeout) => Ok(()),
            other => panic!("{other:?}"),
        });
        run().unwrap();
        assert!(t.is_blocked());
        pass(10);
        run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn timeouts_fire_in_the_order_of_their_deadlines() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        for ms in [30, 10, 20, 10] {
            let log = log.clone();
            s.spawn(move || {
                let result = Channel::<()>::new().receive_timeout(ms * MS);
                assert!(matches!(result, Err(Error::Timeout)));
                log.add(ms);
                Ok(())
            });
        }
        run().unwrap();
        assert_eq!(pass(100), 4);
        run().unwrap();
        assert_eq!(log.take(), "10 10 20 30");
    });
}

#[test]
fn a_queue_channel_has_timeouts_too() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        let queue = QueueChannel::bounded(1);
        let (logs, q) = (log.clone(), queue.clone());
        s.spawn(move || {
            logs.add(told(q.receive_timeout(5 * MS)));
            q.send_timeout(1, 5 * MS).map_err(|(error, _)| error)?;
            match q.send_timeout(2, 5 * MS) {
                Err((Error::Timeout, Some(2))) => logs.add("full"),
                other => panic!("{other:?}"),
            }
            Ok(())
        });
        run().unwrap();
        pass(5);
        run().unwrap();
        pass(5);
        run().unwrap();
        assert_eq!(log.take(), format!("{} full", Error::Timeout));
        assert_eq!((queue.len(), queue.balance()), (1, 1));
    });
}

#[test]
fn destructors_that_wait_while_a_timed_wait_ends_have_their_own_time() {
    // The value dropped on the way back to the waiting tasklet blocks itself, with a timeout of its
    // own.
    struct Waits(Log);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0
                .add(told(Channel::<()>::new().receive_timeout(50 * MS)));
        }
    }
    fresh(|s| {
        simulated();
        let log = Log::default();
        let channel: Channel<i32> = Channel::new();
        let (logs, c) = (log.clone(), channel.clone());
        let t = s.spawn(move || {
            logs.add(c.receive_timeout(10 * MS)?);
            Ok(())
        });
        run().unwrap();
        // Ends while `t` is next: its body's captures are dropped over there.
        let (waits, c) = (Waits(log.clone()), channel.clone());
        s.spawn(move || -> Result<()> {
            let _waits = waits;
            c.send(1)
        });
        run().unwrap();
        pass(20);
        run().unwrap();
        pass(50);
        run().unwrap();
        assert_eq!(log.take(), format!("1 {}", Error::Timeout));
        assert!(!t.is_alive());
        assert_eq!(
            (channel.balance(), time::timeouts(), run_count()),
            (0, 0, 1)
        );
    });
}

#[test]
fn ten_thousand_timeouts_end_and_leave_nothing() {
    fresh(|s| {
        simulated();
        let ended = Rc::new(Cell::new(0));
        for i in 0..10_000u32 {
            let ended = ended.clone();
            s.spawn(move || {
                let _ = Channel::<()>::new().receive_timeout((1 + i % 100) * MS);
                ended.set(ended.get() + 1);
            });
            if s == common::Stacks::Own && i == 500 {
                break;
            }
        }
        run().unwrap();
        let waiting = time::timeouts();
        assert_eq!(pass(50) + pass(50), waiting);
        run().unwrap();
        assert_eq!(ended.get(), waiting);
        assert_eq!(hardswitch::stats().tasklets, 1);
    });
}

/// A clock of the host's that stands still, and counts how often it is looked at.
fn standing() -> u64 {
    LOOKS.set(LOOKS.get() + 1);
    NOW.get()
}

thread_local! {
    static LOOKS: Cell<u32> = const { Cell::new(0) };
}

#[test]
fn a_hosts_clock_that_stands_still_keeps_nobody_running_and_is_no_hope() {
    const SOON: Duration = Duration::from_nanos(1);
    fresh(|s| {
        set_clock(Some(standing));
        let main_loop = MainLoop::current().unwrap();
        let log = Log::default();
        let logs = log.clone();
        s.spawn(move || logs.add(told(Channel::<()>::new().receive_timeout(SOON))));
        main_loop.run_until_idle().unwrap();
        assert!(main_loop.is_idle());
        // Main blocked, and main with a time of its own.
        let channel = Channel::<()>::new();
        assert!(matches!(channel.receive(), Err(Error::Deadlock)));
        let timed = channel.receive_timeout(SOON);
        assert!(matches!(timed, Err(Error::Deadlock)), "{timed:?}");
        // Main blocked first, and a tasklet with a time of its own then.
        let sender = channel.clone();
        s.spawn(move || {
            let timed = Channel::<()>::new().receive_timeout(SOON);
            assert!(matches!(timed, Err(Error::Deadlock)), "{timed:?}");
            sender.send(())
        });
        channel.receive().unwrap();
        assert!(LOOKS.get() < 1000, "{} looks", LOOKS.get());
        // It moves on.
        NOW.set(NOW.get() + 1);
        main_loop.run_until_idle().unwrap();
        assert_eq!(log.take(), Error::Timeout.to_string());
    });
}

#[test]
fn a_hosts_clock_that_is_moved_now_and_then_is_waited_for() {
    static CLOCK: AtomicU64 = AtomicU64::new(0);
    fresh(|s| {
        set_clock(Some(|| CLOCK.load(Ordering::Relaxed)));
        let log = Log::default();
        let logs = log.clone();
        s.spawn(move || {
            for _ in 0..3 {
                logs.add(told(
                    Channel::<()>::new().receive_timeout(Duration::from_nanos(1)),
                ));
            }
        });
        // Far more than it shows by itself until somebody looks again.
        let mover = timer::repeat(20 * MS, || {
            CLOCK.fetch_add(1, Ordering::Relaxed);
        });
        let main_loop = MainLoop::current().unwrap();
        while time::timeouts() > 0 || run_count() > 1 {
            main_loop.pump(None).unwrap();
            run().unwrap();
        }
        mover.unwrap().cancel();
        let timeout = Error::Timeout;
        assert_eq!(log.take(), format!("{timeout} {timeout} {timeout}"));
    });
}

/// Lets `f` run while a partner waits on the channel, which the channel callback kills as it is
/// told of the operation that has found it.
fn who_is_killed_on_the_way(sends: bool, f: impl FnOnce(&Channel<u32>)) {
    let channel = Channel::<u32>::new();
    let there = channel.clone();
    let partner = hardswitch::spawn(move || match sends {
        true => there.send(1),
        false => there.receive().map(drop),
    });
    let partner = partner.unwrap();
    run().unwrap();
    let victim = partner.clone();
    hardswitch::set_channel_callback(Some(Rc::new(move |_, _, _, _| {
        if victim.is_blocked() {
            victim.kill_pending().unwrap();
        }
    })));
    f(&channel);
    hardswitch::set_channel_callback(None);
    assert_eq!(channel.balance(), 0);
    run().unwrap();
    assert!(!partner.is_alive());
}

#[test]
fn what_must_not_wait_does_not_when_the_callback_takes_the_partner_away() {
    fresh(|_| {
        // Nobody else could end a wait: it would be told of a deadlock.
        who_is_killed_on_the_way(false, |channel| {
            assert!(matches!(
                channel.try_send(3),
                Err((Error::WouldBlock, Some(3)))
            ));
        });
        who_is_killed_on_the_way(true, |channel| {
            assert!(matches!(channel.try_receive(), Err(Error::WouldBlock)));
        });
        who_is_killed_on_the_way(true, |channel| assert!(channel.try_iter().next().is_none()));
        who_is_killed_on_the_way(true, |channel| {
            channel.close();
            assert!(channel.next().is_none());
        });
        for sends in [false, true] {
            who_is_killed_on_the_way(sends, |channel| {
                let mut select = Select::new();
                if sends {
                    let _ = select.receive(channel);
                } else {
                    let _ = select.send(channel, 4);
                }
                assert!(matches!(select.try_wait(), Err(Error::WouldBlock)));
            });
        }
    });
}

#[test]
fn who_may_wait_for_a_time_waits_for_it_when_the_callback_takes_the_partner_away() {
    fresh(|s| {
        simulated();
        let log = Log::default();
        type Wait = fn(&Channel<u32>) -> String;
        let waits: [(bool, Wait); 4] = [
            (false, |c| {
                told(c.send_timeout(3, 10 * MS).map_err(|(e, _)| e))
            }),
            (true, |c| told(c.receive_timeout(10 * MS))),
            (false, |c| {
                let mut select = Select::new();
                let _ = select.send(c, 4);
                told(select.wait_timeout(10 * MS).map(drop))
            }),
            (true, |c| {
                let mut select = Select::new();
                let _ = select.receive(c);
                told(select.wait_timeout(10 * MS).map(drop))
            }),
        ];
        for (sends, wait) in waits {
            let channel = Channel::<u32>::new();
            let there = channel.clone();
            let partner = s.spawn(move || match sends {
                true => there.send(1),
                false => there.receive().map(drop),
            });
            run().unwrap();
            let victim = partner.clone();
            hardswitch::set_channel_callback(Some(Rc::new(move |_, _, _, _| {
                if victim.is_blocked() {
                    victim.kill_pending().unwrap();
                }
            })));
            let (logs, c) = (log.clone(), channel.clone());
            let waiter = s.spawn(move || logs.add(wait(&c)));
            run().unwrap();
            hardswitch::set_channel_callback(None);
            assert!(waiter.is_blocked() && !partner.is_alive());
            assert_eq!(channel.balance(), if sends { -1 } else { 1 });
            assert_eq!((pass(9), pass(1)), (0, 1));
            run().unwrap();
            assert!(!waiter.is_alive());
            assert_eq!(log.take(), Error::Timeout.to_string());
        }
    });
}

thread_local! {
    /// What the clock of `arms` does when it is asked next.
    static ARMS: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// A clock of the host's that stands still, and does something when it is asked.
fn arms() -> u64 {
    if let Some(arm) = ARMS.take() {
        arm();
    }
    NOW.get()
}

#[test]
fn what_a_clock_arms_as_it_is_asked_for_the_time_is_waited_for() {
    fn arm() {
        drop(timer::call_later(MS, || ()).unwrap());
    }
    fresh(|s| {
        set_clock(Some(arms));
        let main_loop = MainLoop::current().unwrap();
        s.spawn(|| Channel::<()>::new().receive_timeout(60_000 * MS));
        run().unwrap();
        // How long it may sleep.
        let start = Instant::now();
        ARMS.set(Some(arm));
        while main_loop.pump(None).unwrap() == 0 {}
        assert!(ARMS.get().is_none() && start.elapsed() < 30_000 * MS);
        // Whether there is anything to wait for: a clock that stands still is nothing.
        let still = Instant::now();
        while !main_loop.is_idle() {
            assert!(still.elapsed() < 30_000 * MS);
            std::thread::sleep(20 * MS);
        }
        ARMS.set(Some(arm));
        assert!(!main_loop.is_idle());
        assert!(ARMS.get().is_none());
    });
}
