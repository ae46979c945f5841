//! When nobody else can run: whoever would block sleeps instead of being told of a deadlock, as
//! long as something could wake somebody.
#![cfg(feature = "std")]

mod common;

use common::{fresh, told, Log};
use hardswitch::net::TcpListener;
use hardswitch::sync::Event;
use hardswitch::timer::{self, SimClock};
use hardswitch::{
    main_tasklet, offload, run, run_count, schedule, schedule_remove, sleep, thread, Channel,
    Error, MainLoop, Preference, Select,
};
use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// What a tasklet waits for before it sends to main.
type Wait = fn() -> hardswitch::Result<()>;

fn in_time() -> hardswitch::Result<()> {
    sleep(20 * MS)
}

fn at_a_socket() -> hardswitch::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    let address = listener.local_addr()?;
    let peer = std::thread::spawn(move || {
        std::thread::sleep(20 * MS);
        std::net::TcpStream::connect(address)
            .unwrap()
            .write_all(b"x")
            .unwrap();
    });
    let (mut stream, _) = listener.accept()?;
    let mut byte = [0];
    assert_eq!((stream.read(&mut byte)?, byte), (1, *b"x"));
    peer.join().unwrap();
    Ok(())
}

fn in_a_call() -> hardswitch::Result<()> {
    offload::call(|| std::thread::sleep(20 * MS))
}

fn for_another_thread() -> hardswitch::Result<()> {
    let here = thread::Channel::new();
    let there = here.clone();
    let peer = std::thread::spawn(move || {
        std::thread::sleep(20 * MS);
        there.send(5).unwrap();
    });
    assert_eq!(here.receive()?, 5);
    peer.join().unwrap();
    Ok(())
}

fn in_sync() -> hardswitch::Result<()> {
    let event = std::sync::Arc::new(Event::new());
    let there = event.clone();
    let peer = std::thread::spawn(move || {
        std::thread::sleep(20 * MS);
        there.set();
    });
    event.wait()?;
    peer.join().unwrap();
    Ok(())
}

fn with_a_timeout() -> hardswitch::Result<()> {
    let nobody: Channel<()> = Channel::new();
    assert!(matches!(
        nobody.receive_timeout(20 * MS),
        Err(Error::Timeout)
    ));
    Ok(())
}

const WAITS: [Wait; 6] = [
    in_time,
    at_a_socket,
    in_a_call,
    for_another_thread,
    in_sync,
    with_a_timeout,
];

#[test]
fn main_blocks_while_another_waits_for_something_outside() {
    fresh(|s| {
        for wait in WAITS {
            let channel = Channel::new();
            let sender = channel.clone();
            s.spawn(move || {
                wait()?;
                sender.send(7)
            });
            // It waits already when main blocks, and nobody can run.
            run().unwrap();
            assert_eq!(run_count(), 1);
            assert_eq!(channel.receive().unwrap(), 7);
            run().unwrap();
        }
        assert_eq!(
            told(Channel::<()>::new().receive()),
            Error::Deadlock.to_string()
        );
    });
}

#[test]
fn a_tasklet_that_ends_last_leaves_nobody_behind() {
    fresh(|s| {
        for wait in WAITS {
            let channel = Channel::new();
            let sender = channel.clone();
            s.spawn(move || {
                wait()?;
                sender.send(7)
            });
            s.spawn(|| ());
            // Main blocks first, then the one waits, then the other ends.
            assert_eq!(channel.receive().unwrap(), 7);
            run().unwrap();
        }
    });
}

#[test]
fn the_last_one_blocks_while_main_is_blocked_and_another_waits() {
    fresh(|s| {
        for wait in WAITS {
            let (to_main, between) = (Channel::new(), Channel::new());
            let (sender, receiver) = (between.clone(), between.clone());
            s.spawn(move || {
                wait()?;
                sender.send(6)
            });
            let done = to_main.clone();
            s.spawn(move || {
                let value = receiver.receive()?;
                done.send(value + 1)
            });
            assert_eq!(to_main.receive().unwrap(), 7);
            run().unwrap();
            assert_eq!((to_main.balance(), between.balance()), (0, 0));
        }
    });
}

#[test]
fn the_last_one_may_leave_the_queue_while_another_waits() {
    fresh(|s| {
        let channel = Channel::new();
        let sender = channel.clone();
        let leaver = s.builder().build().unwrap();
        leaver
            .bind(move || {
                schedule_remove()?;
                sender.send(1)
            })
            .unwrap();
        let again = leaver.clone();
        s.spawn(move || {
            sleep(10 * MS)?;
            assert!(again.is_paused(), "it has left");
            again.insert()
        });
        leaver.setup().unwrap();
        assert_eq!(channel.receive().unwrap(), 1);
    });
}

#[test]
fn a_select_waits_as_well() {
    fresh(|s| {
        let (first, second) = (Channel::<i32>::new(), Channel::<i32>::new());
        let sender = second.clone();
        s.spawn(move || {
            sleep(10 * MS)?;
            sender.send(3)
        });
        run().unwrap();
        let mut select = Select::new();
        select.receive(&first);
        let case = select.receive(&second);
        assert_eq!(select.wait().unwrap().received(case).unwrap().unwrap(), 3);
        assert_eq!((first.balance(), second.balance()), (0, 0));
        let mut select = Select::new();
        select.receive(&first);
        assert!(matches!(select.wait(), Err(Error::Deadlock)));
        assert_eq!(first.balance(), 0);
    });
}

#[test]
fn a_timer_may_serve_the_one_who_drives() {
    fresh(|_| {
        let channel = Channel::new();
        let sender = channel.clone();
        timer::call_later(10 * MS, move || {
            assert_eq!(sender.balance(), -1, "who drives is in the queue");
            assert_eq!(sender.queue(), Some(main_tasklet()));
            sender.send(String::from("a value of three words")).unwrap();
        })
        .unwrap();
        assert_eq!(channel.receive().unwrap(), "a value of three words");

        let (receiver, got) = (channel.clone(), Rc::new(Cell::new(false)));
        let noted = got.clone();
        timer::call_later(10 * MS, move || {
            assert_eq!(receiver.balance(), 1);
            assert_eq!(receiver.receive().unwrap(), "sent");
            noted.set(true);
        })
        .unwrap();
        channel.send("sent".into()).unwrap();
        assert!(got.get());
        assert_eq!(channel.balance(), 0);
    });
}

#[test]
fn what_is_on_its_way_survives_whatever_a_timer_does() {
    fresh(|s| {
        let log = Log::default();
        let channel: Channel<String> = Channel::new();
        let (receiver, logs) = (channel.clone(), log.clone());
        timer::call_later(10 * MS, move || {
            // On main, which is about to send.
            logs.add("timer");
            let other = logs.clone();
            s.spawn(move || other.add("other"));
            schedule().unwrap();
            main_tasklet().set_tempval(hardswitch::Value::new(5));
            let other = logs.clone();
            let receiver = receiver.clone();
            s.spawn(move || {
                other.add(receiver.receive()?);
                Ok(())
            });
        })
        .unwrap();
        channel.send("the value".into()).unwrap();
        run().unwrap();
        assert_eq!(log.take(), "timer other the value");
    });
}

#[test]
fn who_blocks_for_good_is_told_so_once_nothing_can_come_any_more() {
    fresh(|s| {
        let channel: Channel<i32> = Channel::new();
        s.spawn(|| sleep(10 * MS));
        let start = Instant::now();
        let result = channel.receive();
        assert!(matches!(result, Err(Error::MainReceiving)), "{result:?}");
        assert!(start.elapsed() >= 10 * MS);

        // A tasklet that sleeps, then blocks: the last one is told, not main.
        let (log, never) = (Log::default(), Channel::<()>::new());
        let (logs, done) = (log.clone(), channel.clone());
        s.spawn(move || {
            sleep(10 * MS)?;
            logs.add(told(never.receive()));
            done.send(1)
        });
        assert_eq!(channel.receive().unwrap(), 1);
        assert_eq!(log.take(), Error::Deadlock.to_string());
    });
}

#[test]
fn a_clock_that_stands_still_is_no_hope() {
    fresh(|s| {
        let clock = SimClock::new();
        clock.pause();
        let (sleeper, channel) = (clock.clone(), Channel::<()>::new());
        let t = s.spawn(move || sleeper.sleep(MS));
        run().unwrap();
        assert!(matches!(channel.receive(), Err(Error::Deadlock)));
        assert_eq!(channel.balance(), 0);
        t.kill().unwrap();
    });
}

#[test]
fn main_is_killed_while_it_drives() {
    fresh(|s| {
        let channel: Channel<i32> = Channel::new();
        s.spawn(|| {
            // So long that it does not wake before main receives.
            sleep(500 * MS)?;
            main_tasklet().throw_pending(Error::thrown(17))
        });
        run().unwrap();
        match channel.receive() {
            Err(Error::Thrown(thrown)) => assert_eq!(thrown.downcast_ref(), Some(&17)),
            other => panic!("{other:?}"),
        }
        assert_eq!(channel.balance(), 0);

        // By another thread, with nobody else here.
        let main = main_tasklet().remote().unwrap();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(20 * MS);
            main.kill().unwrap();
        });
        let sent = channel.send(1);
        assert!(matches!(sent, Err(Error::Exit)), "{sent:?}");
        assert_eq!(channel.balance(), 0);
        killer.join().unwrap();
    });
}

#[test]
fn another_thread_inserts_who_can_serve_the_last_one() {
    fresh(|s| {
        let channel = Channel::new();
        let sender = channel.clone();
        let t = s.builder().build().unwrap();
        t.bind(move || sender.send(4)).unwrap();
        let remote = t.remote().unwrap();
        let peer = std::thread::spawn(move || {
            std::thread::sleep(20 * MS);
            remote.setup().unwrap();
        });
        assert_eq!(channel.receive().unwrap(), 4);
        peer.join().unwrap();
    });
}

#[test]
fn an_error_of_a_timer_that_a_dying_tasklet_runs_goes_to_main() {
    fresh(|s| {
        let channel: Channel<i32> = Channel::new();
        timer::call_later(10 * MS, || panic!("a timer's panic")).unwrap();
        s.spawn(|| ());
        let result = told(channel.receive());
        assert!(result.contains("a timer's panic"), "{result}");
        assert_eq!(channel.balance(), 0);
    });
}

#[test]
fn an_inner_run_comes_back_when_its_tasklets_sleep() {
    fresh(|s| {
        let log = Log::default();
        let channel = Channel::new();
        let (logs, done) = (log.clone(), channel.clone());
        s.spawn(move || {
            let inner = logs.clone();
            s.spawn(move || {
                sleep(10 * MS)?;
                inner.add("slept");
                Ok(())
            });
            run()?;
            logs.add("back");
            done.send(())
        });
        // Main is blocked: still it is the run that is woken first.
        channel.receive().unwrap();
        MainLoop::current().unwrap().run_until_idle().unwrap();
        assert_eq!(log.take(), "back slept");
    });
}

#[test]
fn traps_are_told_of_the_deadlock_as_before() {
    fresh(|s| {
        s.spawn(|| sleep(10 * MS));
        run().unwrap();
        let channel: Channel<i32> = Channel::new();
        {
            let _trap = hardswitch::switch_trapped();
            assert!(matches!(channel.receive(), Err(Error::Deadlock)));
        }
        {
            let _trap = hardswitch::block_trap();
            assert!(matches!(channel.receive(), Err(Error::BlockTrap)));
        }
        channel.close();
        assert!(matches!(channel.receive(), Err(Error::Closed)));
        MainLoop::current().unwrap().run_until_idle().unwrap();
    });
}

#[test]
fn nobody_meets_a_timed_wait_of_main_that_was_killed() {
    fresh(|s| {
        for preference in [
            Preference::Receiver,
            Preference::Neither,
            Preference::Sender,
        ] {
            let channel = Channel::new();
            channel.set_preference(preference);
            let c = channel.clone();
            s.spawn(move || {
                // Main lets us run while it drives the loop.
                assert_eq!(c.balance(), -1);
                main_tasklet().kill_pending()?;
                assert_eq!(c.balance(), 0, "as with one that is blocked");
                assert!(matches!(c.try_send(1), Err((Error::WouldBlock, Some(1)))));
                c.send(2)
            });
            let waited = channel.receive_timeout(10_000 * MS);
            assert!(matches!(waited, Err(Error::Exit)), "{waited:?}");
            assert_eq!(channel.receive().unwrap(), 2, "nothing is lost");
            run().unwrap();
        }
        // The killer thinks better of it.
        let channel: Channel<i32> = Channel::new();
        s.spawn(|| {
            main_tasklet().kill_pending()?;
            main_tasklet().set_tempval(hardswitch::Value::none());
            Ok(())
        });
        let waited = channel.receive_timeout(10_000 * MS);
        assert!(matches!(waited, Err(Error::ValueLost)), "{waited:?}");
        assert_eq!(channel.balance(), 0);
    });
}

#[test]
fn who_drove_before_main_did_gets_what_it_waits_for() {
    fresh(|s| {
        let log = Log::default();
        let (to_main, never, late) = (Channel::new(), Channel::<()>::new(), Channel::new());
        let (logs, wakes, gets) = (log.clone(), to_main.clone(), late.clone());
        let not = never.clone();
        s.spawn(move || {
            // Main is blocked and nobody else is there: this one drives ...
            timer::call_later(10 * MS, move || {
                let wakes = wakes.clone();
                s.spawn(move || wakes.send(()));
            })?;
            logs.add(gets.receive_timeout(10_000 * MS)?);
            assert_eq!(not.balance(), -1);
            main_tasklet().kill_pending()?;
            assert_eq!(not.balance(), 0);
            Ok(())
        });
        to_main.receive().unwrap();
        // ... and goes on to when main drives as well.
        s.spawn(move || {
            sleep(10 * MS)?;
            late.send("served")
        });
        let waited = never.receive_timeout(10_000 * MS);
        assert!(matches!(waited, Err(Error::Exit)), "{waited:?}");
        assert_eq!(log.take(), "served");
        run().unwrap();
    });
}

#[test]
fn who_is_not_the_last_one_any_more_blocks_so_that_the_thread_can_sleep() {
    fresh(|s| {
        let waits: [Wait; 4] = [
            || sleep(120_000 * MS),
            || Channel::<()>::new().receive_timeout(120_000 * MS),
            || Event::new().wait(),
            || thread::Channel::<()>::new().receive(),
        ];
        for wait in waits {
            let (to_main, blocked) = (Channel::new(), Channel::new());
            let (wakes, tells) = (to_main.clone(), blocked.clone());
            timer::call_later(10 * MS, move || {
                let wakes = wakes.clone();
                s.spawn(move || wakes.send(()));
            })
            .unwrap();
            let t = s.spawn(wait);
            // Main is blocked: `t` drives, until main does.
            to_main.receive().unwrap();
            let waiting = t.clone();
            let look = timer::repeat(5 * MS, move || {
                if waiting.is_blocked() && tells.balance() < 0 {
                    tells.send(()).unwrap();
                }
            });
            let told = blocked.receive_timeout(60_000 * MS);
            assert!(told.is_ok(), "{told:?}");
            look.unwrap().cancel();
            t.kill().unwrap();
        }
    });
}
