//! Channels with a queue: what stacklesslib and CCP's successor of Stackless promise of theirs, and
//! the bound.
#![cfg(feature = "std")]

mod common;

use common::{fresh, told, Log};
use hardswitch::{run, run_count, schedule, Error, QueueChannel, Select};
use std::rc::Rc;

#[test]
fn a_send_does_not_block() {
    fresh(|s| {
        let queue = QueueChannel::unbounded();
        let q = queue.clone();
        let t = s.spawn(move || q.send((1, 2, 3)));
        assert_eq!(run_count(), 2);
        t.run().unwrap();
        assert_eq!(run_count(), 1);
        assert!(!t.is_blocked() && !t.is_alive());
        assert_eq!(queue.receive().unwrap(), (1, 2, 3));
    });
}

#[test]
fn the_balance_is_the_length_of_the_queue() {
    fresh(|s| {
        let queue = QueueChannel::unbounded();
        assert_eq!((queue.balance(), queue.len()), (0, 0));
        for i in 1..3 {
            let q = queue.clone();
            s.spawn(move || q.send(i)).run().unwrap();
            assert_eq!((queue.balance(), queue.len()), (i, i as usize));
        }
        assert!(!queue.is_empty());
    });
}

#[test]
fn values_come_in_the_order_in_which_they_were_sent() {
    fresh(|_| {
        let queue = QueueChannel::unbounded();
        assert_eq!(queue.send_sequence(0..100).unwrap(), 100);
        let back: Vec<i32> = (0..100).map(|_| queue.receive().unwrap()).collect();
        assert_eq!(back, (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn a_receive_blocks_and_is_woken_without_a_switch() {
    fresh(|s| {
        let queue = QueueChannel::unbounded();
        let q = queue.clone();
        let receiver = s.spawn(move || q.receive().map(drop));
        receiver.run().unwrap();
        assert_eq!(run_count(), 1);
        assert!(receiver.is_blocked());
        assert_eq!(queue.balance(), -1);
        let q = queue.clone();
        s.spawn(move || q.send(1)).run().unwrap();
        assert_eq!(run_count(), 2);
        assert!(!receiver.is_blocked() && receiver.is_alive());
        run().unwrap();
        assert!(!receiver.is_alive());
    });
}

#[test]
fn errors_are_queued_like_values() {
    fresh(|s| {
        let queue = QueueChannel::unbounded();
        let q = queue.clone();
        s.spawn(move || {
            q.send(1)?;
            q.send_throw(Error::exception(std::fmt::Error))?;
            q.send(2)
        })
        .run()
        .unwrap();
        assert_eq!(queue.receive().unwrap(), 1);
        assert_eq!(told(queue.receive()), std::fmt::Error.to_string());
        assert_eq!(queue.receive().unwrap(), 2);
        // To one who waits, directly.
        let log = Log::default();
        let (logs, q) = (log.clone(), queue.clone());
        s.spawn(move || logs.add(told(q.receive()))).run().unwrap();
        queue.send_throw(Error::exception(std::fmt::Error)).unwrap();
        run().unwrap();
        assert_eq!(log.take(), std::fmt::Error.to_string());
    });
}

#[test]
fn main_alone_cannot_wait_for_a_value() {
    fresh(|_| {
        let queue = QueueChannel::<i32>::unbounded();
        assert_eq!(told(queue.receive()), Error::Deadlock.to_string());
        assert_eq!(queue.balance(), 0);
    });
}

// test_blocked_tasklets_greenlet_is_not_parent
#[test]
fn who_is_woken_comes_last() {
    fresh(|s| {
        let log = Log::default();
        let queue = QueueChannel::unbounded();
        let (logs, q) = (log.clone(), queue.clone());
        let says = move |what: &'static str| {
            let logs = logs.clone();
            s.spawn(move || logs.add(what));
        };
        let logs = log.clone();
        let receiver = s.spawn(move || {
            says("a");
            logs.add(q.receive()?);
            says("b");
            logs.add(q.receive()?);
            says("c");
            Ok(())
        });
        receiver.run().unwrap();
        assert_eq!(run_count(), 2, "main and a");
        for i in 1..3 {
            let q = queue.clone();
            s.spawn(move || q.send(i));
        }
        run().unwrap();
        assert_eq!(log.take(), "a 1 2 b c");
    });
}

#[test]
fn the_block_trap_holds_for_receivers_and_for_senders_of_a_full_queue() {
    fresh(|s| {
        let test = || {
            let queue = QueueChannel::bounded(1);
            let _trap = hardswitch::block_trap();
            assert_eq!(told(queue.receive()), Error::BlockTrap.to_string());
            queue.send(1).unwrap();
            assert_eq!(told(queue.send(2)), Error::BlockTrap.to_string());
            assert_eq!((queue.receive().unwrap(), queue.balance()), (1, 0));
        };
        test();
        let t = s.spawn(test);
        run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn main_receives_what_a_tasklet_sends() {
    fresh(|s| {
        let queue = QueueChannel::unbounded();
        let q = queue.clone();
        s.spawn(move || q.send_sequence(0..10).map(drop));
        let got: Vec<i32> = (0..10).map(|_| queue.receive().unwrap()).collect();
        assert_eq!(got, (0..10).collect::<Vec<_>>());
        assert_eq!(queue.balance(), 0);
    });
}

#[test]
fn a_full_queue_makes_senders_wait_and_keeps_their_order() {
    fresh(|s| {
        let log = Log::default();
        let queue = QueueChannel::bounded(2);
        assert_eq!(queue.bound(), 2);
        for i in 0..3 {
            let (log, q) = (log.clone(), queue.clone());
            s.spawn(move || {
                for j in 0..2 {
                    q.send(10 * i + j)?;
                    log.add(format!("sent{}", 10 * i + j));
                }
                Ok(())
            });
        }
        run().unwrap();
        assert_eq!(log.take(), "sent0 sent1");
        assert_eq!((queue.len(), queue.balance()), (2, 4));
        let mut got = Vec::new();
        while queue.balance() > 0 {
            got.push(queue.receive().unwrap());
            schedule().unwrap();
        }
        assert_eq!(got, [0, 1, 10, 20, 11, 21]);
        assert_eq!(run_count(), 1);
    });
}

#[test]
fn a_late_sender_does_not_overtake_those_who_wait() {
    fresh(|s| {
        let queue = QueueChannel::bounded(1);
        queue.send(0).unwrap();
        let q = queue.clone();
        s.spawn(move || q.send(1)).run().unwrap();
        assert!(matches!(
            queue.try_send(2),
            Err((Error::WouldBlock, Some(2)))
        ));
        assert_eq!(queue.receive().unwrap(), 0);
        assert_eq!((queue.len(), queue.balance()), (1, 1));
        assert_eq!(queue.receive().unwrap(), 1);
        run().unwrap();
        queue.send(3).unwrap();
        assert_eq!(queue.try_receive().unwrap(), 3);
        assert!(matches!(queue.try_receive(), Err(Error::WouldBlock)));
    });
}

#[test]
fn a_bound_of_zero_is_a_channel() {
    fresh(|s| {
        let queue = QueueChannel::bounded(0);
        let q = queue.clone();
        let t = s.spawn(move || q.send(1));
        t.run().unwrap();
        assert!(t.is_blocked());
        assert_eq!((queue.len(), queue.balance()), (0, 1));
        assert_eq!(queue.receive().unwrap(), 1);
        run().unwrap();
    });
}

#[test]
fn a_closed_queue_is_emptied_and_then_ends() {
    fresh(|s| {
        let queue = QueueChannel::unbounded();
        queue.send_sequence(0..3).unwrap();
        queue.close();
        assert_eq!(told(queue.send(9)), Error::Closed.to_string());
        assert!(queue.is_closing() && !queue.is_closed());
        let rest: Vec<i32> = queue.iter().map(Result::unwrap).collect();
        assert_eq!(rest, [0, 1, 2]);
        assert!(queue.is_closed());
        assert_eq!(told(queue.receive()), Error::Closed.to_string());
        queue.open();
        queue.send(4).unwrap();
        // Those who wait are woken, what is queued stays.
        let full = QueueChannel::bounded(1);
        full.send(1).unwrap();
        let q = full.clone();
        let t = s.spawn(move || match q.send(2) {
            Err(Error::Closed) => Ok(()),
            other => other,
        });
        t.run().unwrap();
        assert_eq!(full.close_and_wake(), 1);
        run().unwrap();
        assert!(!t.is_alive());
        assert_eq!(full.receive().unwrap(), 1);
    });
}

#[test]
fn a_killed_sender_of_a_full_queue_takes_its_value_along() {
    fresh(|s| {
        let value = Rc::new(());
        let queue = QueueChannel::bounded(1);
        queue.send(value.clone()).unwrap();
        let (q, v) = (queue.clone(), value.clone());
        let t = s.spawn(move || q.send(v));
        t.run().unwrap();
        assert_eq!((queue.balance(), Rc::strong_count(&value)), (2, 3));
        t.kill().unwrap();
        assert_eq!((queue.balance(), Rc::strong_count(&value)), (1, 2));
        drop(queue);
        assert_eq!(
            Rc::strong_count(&value),
            1,
            "what is queued goes with the queue"
        );
    });
}

/// Who is woken for a value and killed before its turn: the value is not lost.
fn receivers(s: common::Stacks, others_wait: bool) {
    let (queue, log) = (QueueChannel::unbounded(), Log::default());
    let receiver = || {
        let (q, l) = (queue.clone(), log.clone());
        move || {
            let got: hardswitch::Result<Rc<&str>> = q.receive();
            l.add(got.map_or_else(|error| error.to_string(), |value| value.to_string()));
        }
    };
    let first = s.spawn(receiver());
    if others_wait {
        s.spawn(receiver());
    }
    run().unwrap();
    let value = Rc::new("the value");
    queue.send(value.clone()).unwrap();
    assert!(!first.is_blocked(), "it has been woken for the value");
    first.kill().unwrap();
    assert_eq!(Rc::strong_count(&value), 2, "nobody has dropped it");
    run().unwrap();
    let killed = Error::Exit.to_string();
    if others_wait {
        assert_eq!(log.take(), format!("{killed} the value"));
    } else {
        assert_eq!(log.take(), killed);
        assert!(Rc::ptr_eq(&queue.receive().unwrap(), &value));
    }
    assert_eq!((queue.len(), queue.balance()), (0, 0));
}

#[test]
fn a_receiver_that_is_killed_before_its_turn_leaves_its_value_to_the_next() {
    fresh(|s| receivers(s, true));
}

#[test]
fn a_receiver_that_is_killed_before_its_turn_leaves_its_value_in_the_queue() {
    fresh(|s| receivers(s, false));
}

#[test]
fn a_select_that_is_killed_before_its_turn_leaves_the_value_in_the_queue() {
    fresh(|s| {
        let (queue, other) = (QueueChannel::bounded(1), QueueChannel::<()>::bounded(1));
        let (q, o) = (queue.clone(), other.clone());
        let selects = s.spawn(move || {
            let mut select = Select::new();
            select.receive(&q);
            select.receive(&o);
            select.wait().map(drop)
        });
        run().unwrap();
        queue.send("kept").unwrap();
        selects.kill().unwrap();
        assert_eq!((queue.len(), queue.balance()), (1, 1));
        assert_eq!(queue.receive().unwrap(), "kept");
    });
}

/// What another tasklet has failed with is no word of the queue's.
#[test]
fn the_error_of_another_tasklet_does_not_end_an_iteration() {
    fresh(|s| {
        let queue = QueueChannel::<u8>::bounded(1);
        s.spawn(|| Err(Error::Closed));
        let mut items = queue.iter();
        assert!(matches!(items.next(), Some(Err(Error::Closed))));
        queue.send(7).unwrap();
        assert!(matches!(items.next(), Some(Ok(7))));
    });
}

/// Whether a receiver finds a value that comes while the host's code runs.
mod foreign {
    use super::*;
    use hardswitch::{set_channel_callback, time, Channel, StateError, Tasklet};
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    const SOON: Duration = Duration::from_millis(1);

    thread_local! {
        static QUEUE: RefCell<Option<QueueChannel<u32>>> = const { RefCell::new(None) };
        static NOW: Cell<u64> = const { Cell::new(0) };
    }

    /// A clock that sends a value when it is first looked at.
    fn clock_that_sends() -> u64 {
        if let Some(queue) = QUEUE.take() {
            queue.send(7).unwrap();
        }
        NOW.set(NOW.get() + 1_000_000);
        NOW.get()
    }

    #[test]
    fn what_a_clock_sends_is_received_by_the_wait_that_looked_at_it() {
        fresh(|_| {
            time::set_clock(Some(clock_that_sends));
            let queue = QueueChannel::unbounded();
            QUEUE.set(Some(queue.clone()));
            assert_eq!(queue.receive_timeout(SOON).unwrap(), 7);

            QUEUE.set(Some(queue.clone()));
            let mut select = Select::new();
            let case = select.receive(&queue);
            let mut done = select.wait_timeout(SOON).unwrap();
            assert_eq!(done.received(case).expect("this case").unwrap(), 7);
            time::set_clock(None);
        });
    }

    #[test]
    fn queues_refuse_what_a_channel_callback_calls() {
        fresh(|s| {
            let (queue, log) = (QueueChannel::unbounded(), Log::default());
            let (q, seen) = (queue.clone(), log.clone());
            set_channel_callback(Some(Rc::new(move |_, _, _, _| {
                for refused in [
                    q.send(1),
                    q.send_throw(Error::Exit),
                    q.try_send(1).map_err(|(error, _)| error),
                    q.receive().map(drop),
                ] {
                    let error = refused.unwrap_err();
                    assert!(matches!(error, Error::State(StateError::RecursiveChannel)));
                }
                seen.add(q.len());
            })));
            let (q, seen) = (queue.clone(), log.clone());
            let receiver = s.spawn(move || seen.add(q.receive().unwrap()));
            run().unwrap();
            set_channel_callback(None);
            assert!(receiver.is_blocked());
            queue.send(2).unwrap();
            queue.send(3).unwrap();
            run().unwrap();
            // A queue that has values keeps them.
            let (q, seen) = (queue.clone(), log.clone());
            set_channel_callback(Some(Rc::new(move |_, _, _, _| {
                for refused in [q.receive(), q.try_receive(), q.receive_timeout(SOON)] {
                    let error = refused.unwrap_err();
                    assert!(matches!(error, Error::State(StateError::RecursiveChannel)));
                }
                seen.add(q.len());
            })));
            let other = Channel::<u32>::new();
            let from = other.clone();
            s.spawn(move || from.receive().map(drop));
            run().unwrap();
            set_channel_callback(None);
            assert_eq!(queue.receive().unwrap(), 3);
            other.send(1).unwrap();
            assert_eq!(log.take(), "0 2 1");
        });
    }

    /// A receiver has been woken for a value; the next one asks, and the callback that is told of
    /// that kills the first.
    fn gives_back(s: common::Stacks, receive: fn(&QueueChannel<u32>) -> hardswitch::Result<u32>) {
        let queue = QueueChannel::unbounded();
        let q = queue.clone();
        let first = s.spawn(move || q.receive().map(drop));
        run().unwrap();
        queue.send(5).unwrap();
        assert_eq!((queue.len(), first.is_blocked()), (0, false));
        let victim = Cell::new(Some(first));
        set_channel_callback(Some(Rc::new(move |_, _: &Tasklet, _, _| {
            if let Some(victim) = victim.take() {
                victim.kill_pending().unwrap();
            }
        })));
        let got = receive(&queue);
        set_channel_callback(None);
        assert_eq!(got.unwrap(), 5);
    }

    #[test]
    fn a_value_that_comes_back_while_the_callback_runs_is_received() {
        fresh(|s| {
            gives_back(s, QueueChannel::receive);
            gives_back(s, |queue| queue.next().expect("it is open"));
            gives_back(s, |queue| queue.receive_timeout(SOON));
            gives_back(s, |queue| {
                let mut select = Select::new();
                let case = select.receive(queue);
                let mut done = select.wait()?;
                done.received(case).expect("this case")
            });
        });
    }
}
