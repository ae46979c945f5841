//! Results of tasklets, and waiting for several things.

use crate::common::{fresh, told, Log, Stacks};
use hardswitch::join::{self, JoinHandle};
use hardswitch::time::{timeout, Deadline};
use hardswitch::{
    offload, run, schedule, sleep, Channel, Error, MainLoop, QueueChannel, Result, Select,
    StateError, Tasklet,
};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
/// Never waited for: a test that does has failed.
const LONG: Duration = Duration::from_secs(100);

fn start<T: 'static>(s: Stacks, f: impl FnOnce() -> Result<T> + 'static) -> JoinHandle<T> {
    join::spawn_with(s.builder(), f).unwrap()
}

/// Sleeps so many milliseconds (not at all: for none), and returns the number.
fn sleepers<const N: usize>(s: Stacks, times: [u64; N]) -> [JoinHandle<u64>; N] {
    let handles = times.map(|n| {
        start(s, move || {
            if n > 0 {
                sleep(Duration::from_millis(n))?;
            }
            Ok(n)
        })
    });
    schedule().unwrap();
    handles
}

// --- One

#[test]
fn the_result_of_a_tasklet_comes_to_who_joins_it() {
    fresh(|s| {
        let waits = start(s, || {
            sleep(MS)?;
            Ok(String::from("foo"))
        });
        assert!(!waits.is_done());
        assert_eq!(waits.join().unwrap(), "foo");
        // One that has ended before.
        let done = start(s, || Ok([1u64; 5]));
        run().unwrap();
        assert!(done.is_done() && !done.tasklet().is_alive());
        assert_eq!(done.join().unwrap(), [1; 5]);
        // On a tasklet.
        let inner = start(s, move || {
            let deeper = start(s, || Ok(3));
            Ok(deeper.join()? + 1)
        });
        assert_eq!(inner.join().unwrap(), 4);
    });
}

#[test]
fn an_error_or_a_panic_comes_to_who_joins_and_to_nobody_else() {
    fresh(|s| {
        hardswitch::set_error_handler(Some(Rc::new(|_| panic!("asked"))));
        let failed: JoinHandle<()> = start(s, || Err(Error::thrown(5)));
        let panicked: JoinHandle<()> = start(s, || panic!("a panic of its own"));
        run().unwrap();
        match failed.join() {
            Err(Error::Thrown(thrown)) => assert_eq!(thrown.downcast_ref(), Some(&5)),
            other => panic!("{other:?}"),
        }
        assert!(told(panicked.join()).contains("a panic of its own"));
    });
}

#[test]
fn a_killed_tasklet_has_no_result() {
    fresh(|s| {
        for before_it_ran in [true, false] {
            let handle: JoinHandle<()> = start(s, || sleep(LONG));
            if !before_it_ran {
                run().unwrap();
            }
            handle.tasklet().kill().unwrap();
            assert!(handle.is_done());
            assert!(matches!(
                handle.join(),
                Err(Error::State(StateError::Killed))
            ));
        }
        // While somebody waits for it.
        let handle: JoinHandle<()> = start(s, || sleep(LONG));
        let (tasklet, log) = (handle.tasklet().clone(), Log::default());
        let logs = log.clone();
        s.spawn(move || logs.add(told(handle.join())));
        run().unwrap();
        tasklet.kill().unwrap();
        run().unwrap();
        assert_eq!(log.take(), StateError::Killed.message());
    });
}

#[test]
fn of_several_who_join_one_has_the_result_and_none_waits_for_ever() {
    fresh(|s| {
        for ends in [Ok(5), Err(Error::WrongType)] {
            let go = Channel::new();
            let waits = go.clone();
            let said = ends.clone();
            let handle = Rc::new(start(s, move || waits.receive().and(said)));
            let log = Log::default();
            for _ in 0..3 {
                let (handle, log) = (handle.clone(), log.clone());
                s.spawn(move || {
                    log.add(told(handle.join_timeout(LONG)));
                    Ok(())
                });
            }
            run().unwrap();
            go.send(()).unwrap();
            run().unwrap();
            let closed = Error::Closed.to_string();
            assert_eq!(log.take(), [told(ends), closed.clone(), closed].join(" "));
        }
    });
}

#[test]
fn who_is_killed_while_it_joins_is_told_exit_and_the_result_stays() {
    fresh(|s| {
        // So long that it is killed before.
        let handle = Rc::new(start(s, || sleep(500 * MS).map(|()| 7)));
        let (theirs, log) = (handle.clone(), Log::default());
        let logs = log.clone();
        let joins = s.spawn(move || {
            logs.add(told(theirs.join_timeout(LONG)));
            Ok(())
        });
        run().unwrap();
        joins.kill().unwrap();
        assert_eq!(log.take(), Error::Exit.to_string());
        assert_eq!(handle.join_timeout(LONG).unwrap(), 7);
    });
}

#[test]
fn a_join_with_a_timeout_leaves_the_tasklet_alone() {
    fresh(|s| {
        let go = Channel::new();
        let waits = go.clone();
        let handle = start(s, move || {
            waits.receive()?;
            Ok(20)
        });
        assert!(matches!(handle.join_timeout(MS), Err(Error::Timeout)));
        assert!(handle.tasklet().is_blocked());
        s.spawn(move || go.send(()));
        assert_eq!(handle.join_timeout(LONG).unwrap(), 20);
        let again = handle.join_timeout(LONG);
        assert!(matches!(again, Err(Error::Closed)), "it was taken");
    });
}

#[test]
fn a_result_that_nobody_wants_is_dropped_and_the_tasklet_runs_on() {
    fresh(|s| {
        let (value, ran) = (Rc::new(()), Rc::new(Cell::new(false)));
        let (kept, noted) = (value.clone(), ran.clone());
        drop(start(s, move || {
            noted.set(true);
            Ok(kept)
        }));
        run().unwrap();
        assert_eq!((Rc::strong_count(&value), ran.get()), (1, true));
        let kept = value.clone();
        let handle = start(s, move || Ok(kept));
        run().unwrap();
        drop(handle);
        assert_eq!(Rc::strong_count(&value), 1);
    });
}

#[test]
fn a_call_on_a_worker_thread_is_joined_like_any_other() {
    fresh(|s| {
        let here = std::thread::current().id();
        let there = start(s, || offload::call(|| std::thread::current().id()));
        let (go, gone) = std::sync::mpsc::channel();
        let slow: JoinHandle<()> = start(s, || offload::call(move || gone.recv().unwrap()));
        assert!(matches!(slow.join_timeout(MS), Err(Error::Timeout)));
        go.send(()).unwrap();
        assert_ne!(there.join().unwrap(), here);
        slow.join().unwrap();
    });
}

// --- Several

#[test]
fn all_come_in_the_order_of_the_handles() {
    fresh(|s| {
        assert_eq!(join::all(Vec::<JoinHandle<()>>::new()).unwrap(), []);
        assert_eq!(join::all(sleepers(s, [5, 1, 0, 3])).unwrap(), [5, 1, 0, 3]);
        let failing = [
            start(s, || Ok(1)),
            start(s, || Err(Error::Closed)),
            start(s, || Err(Error::WouldBlock)),
        ];
        assert!(matches!(join::all(failing), Err(Error::Closed)));
        run().unwrap();
    });
}

#[test]
fn each_comes_as_it_ends() {
    fresh(|s| {
        assert!(join::each(Vec::<JoinHandle<()>>::new()).next().is_none());
        let channels: [Channel<()>; 5] = Default::default();
        let handles = channels.iter().enumerate().map(|(number, go)| {
            let go = go.clone();
            start(s, move || match number {
                1 | 4 => Ok(number),
                _ => go.receive().map(|()| number),
            })
        });
        let mut each = join::each(handles);
        run().unwrap();
        for number in [1, 4, 3, 0, 2] {
            if ![1, 4].contains(&number) {
                let go = channels[number].clone();
                s.spawn(move || go.send(()));
            }
            let (ended, result) = each.next().unwrap().unwrap();
            assert_eq!((ended, result.unwrap()), (number, number));
        }
        assert!(each.next().is_none());
    });
}

#[test]
fn some_of_several_can_be_waited_for() {
    fresh(|s| {
        // The first three, and then no more.
        let mut each = join::each(sleepers(s, [0, 60_000, 1, 0]));
        assert_eq!(each.by_ref().take(3).filter_map(Result::ok).count(), 3);
        let rest: Vec<_> = each.into_rest().collect();
        assert_eq!(rest.len(), 1);
        assert!(!rest[0].is_done());
        rest[0].tasklet().kill().unwrap();
        // As many as come in a time: the limit is for all of them together.
        let mut each = join::each(sleepers(s, [0, 60_000, 0, 60_000]));
        let deadline = Deadline::after(500 * MS).unwrap();
        let mut got = 0;
        let ended = deadline.limit(|| {
            for item in each.by_ref() {
                item?.1?;
                got += 1;
            }
            Ok(())
        });
        assert!(matches!(ended, Err(Error::Timeout)));
        assert_eq!(got, 2);
        // No time at all: those that are there.
        let mut each = join::each(sleepers(s, [0, 60_000, 0]));
        let ended = timeout(Duration::ZERO, || {
            each.by_ref().try_for_each(|item| item.map(drop))
        });
        assert!(matches!(ended, Err(Error::Timeout)));
        assert_eq!(each.into_rest().count(), 1);
        // The first that fails.
        let failing = [
            start(s, || sleep(LONG)),
            start(s, || Ok(())),
            start(s, || {
                sleep(MS)?;
                Err(Error::WrongType)
            }),
        ];
        let failed = join::each(failing)
            .filter_map(Result::ok)
            .find(|(_, result)| result.is_err());
        assert_eq!(failed.unwrap().0, 2);
        for tasklet in hardswitch::tasklets() {
            if !tasklet.is_main() {
                tasklet.kill().unwrap();
            }
        }
    });
}

#[test]
fn a_wait_for_several_that_fails_changes_nothing() {
    fresh(|s| {
        let handles = [start(s, || sleep(LONG)), start(s, || sleep(LONG))];
        let tasklets: Vec<Tasklet> = handles.iter().map(|h| h.tasklet().clone()).collect();
        let mut each = join::each(handles);
        {
            let _trap = hardswitch::block_trap();
            let item = each.next().unwrap();
            assert!(matches!(item, Err(Error::BlockTrap)), "{item:?}");
        }
        tasklets[1].kill().unwrap();
        let (number, result) = each.next().unwrap().unwrap();
        assert!(number == 1 && matches!(result, Err(Error::State(StateError::Killed))));
        tasklets[0].kill().unwrap();
        assert_eq!(each.next().unwrap().unwrap().0, 0);
        assert!(each.next().is_none());
    });
}

// --- Of any kind

#[test]
fn a_tasklet_a_channel_and_a_queue_are_waited_for_together() {
    fresh(|s| {
        for first in 0..3 {
            let (channel, queue) = (Channel::new(), QueueChannel::bounded(1));
            let mut times = [60_000; 3];
            times[first] = 1;
            let handle = start(s, move || {
                sleep(Duration::from_millis(times[0]))?;
                Ok(0)
            });
            let (sender, puts) = (channel.clone(), queue.clone());
            let a = s.spawn(move || {
                sleep(Duration::from_millis(times[1]))?;
                sender.send("one")
            });
            let b = s.spawn(move || {
                sleep(Duration::from_millis(times[2]))?;
                puts.send(2.0)
            });
            let mut select = Select::new();
            let ended = select.receive(&handle);
            let word = select.receive(&channel);
            let number = select.receive(&queue);
            let mut done = select.wait_timeout(LONG).unwrap();
            assert_eq!(done.index(), first);
            match first {
                0 => assert_eq!(done.received(ended).unwrap().unwrap(), 0),
                1 => assert_eq!(done.received(word).unwrap().unwrap(), "one"),
                _ => assert_eq!(done.received(number).unwrap().unwrap(), 2.0),
            }
            for tasklet in [&a, &b, handle.tasklet()] {
                tasklet.kill().unwrap();
            }
        }
        let nothing = Select::new().wait();
        assert!(matches!(
            nothing,
            Err(Error::State(StateError::SelectNothing))
        ));
        MainLoop::current().unwrap().run_until_idle().unwrap();
    });
}
