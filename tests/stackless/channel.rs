//! Sending and receiving.

use super::*;
use hardswitch::Preference;

#[test]
fn a_sender_without_a_partner_is_blocked_and_counts_as_plus_one() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.sender(&c, 1);
        assert!(t.is_blocked());
        assert_eq!(c.balance(), 1);
        assert_eq!(c.queue(), Some(t.clone()));
        assert_eq!(c.receive().unwrap(), 1);
        assert_eq!((c.balance(), c.queue()), (0, None));
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn a_receiver_without_a_partner_is_blocked_and_counts_as_minus_one() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.receiver(&c);
        assert!(t.is_blocked());
        assert_eq!(c.balance(), -1);
        assert_eq!(c.queue(), Some(t.clone()));
        c.send(1).unwrap();
        assert_eq!((c.balance(), c.queue()), (0, None));
        assert!(!t.is_alive(), "the receiver is preferred and ran at once");
    });
}

#[test]
fn a_send_to_a_waiting_partner_does_not_block_and_may_be_made_under_a_block_trap() {
    fresh(|s| {
        let c = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || chan.receive().map(|v| seen.add(v)));
        t.run().unwrap();
        hardswitch::current().set_block_trap(true);
        c.send(5).unwrap();
        assert_eq!(log.take(), "5");
    });
}

#[test]
fn a_receive_from_a_waiting_partner_does_not_block_and_may_be_made_under_a_block_trap() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.sender(&c, 5);
        hardswitch::current().set_block_trap(true);
        assert_eq!(c.receive().unwrap(), 5);
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn a_block_trapped_tasklet_survives_its_error_and_goes_on() {
    fresh(|s| {
        for sending in [true, false] {
            let c: Channel<i64> = Channel::new();
            let log = Log::default();
            let (chan, seen) = (c.clone(), log.clone());
            let t = s.spawn(move || {
                let me = hardswitch::current();
                me.set_block_trap(true);
                seen.add(if sending {
                    told(chan.send(1))
                } else {
                    told(chan.receive())
                });
                me.set_block_trap(false);
                if sending {
                    chan.send(2)
                } else {
                    chan.receive().map(|v| seen.add(v))
                }
            });
            t.run().unwrap();
            assert_eq!(log.take(), BLOCK_TRAP);
            assert!(t.is_blocked(), "without the trap it blocks");
            assert_eq!(c.balance(), if sending { 1 } else { -1 });
            t.kill().unwrap();
            assert_eq!(c.balance(), 0);
        }
    });
}

#[test]
fn an_error_can_be_sent_instead_of_a_value() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || seen.add(told(chan.receive())));
        t.run().unwrap();
        c.send_throw(oops(3)).unwrap();
        assert_eq!(log.take(), "oops 3");
        let chan = c.clone();
        s.spawn(move || chan.send_throw(oops(4)));
        hardswitch::schedule().unwrap();
        assert_eq!(c.balance(), 1, "it blocks like any send");
        assert_eq!(told(c.receive()), "oops 4");
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_sent_error_keeps_its_payload() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let chan = c.clone();
        s.spawn(move || chan.send_throw(Error::thrown((1, "two".to_string(), [3u8; 40]))));
        match c.receive() {
            Err(Error::Thrown(thrown)) => {
                assert_eq!(
                    thrown.downcast_ref::<(i32, String, [u8; 40])>(),
                    Some(&(1, "two".to_string(), [3u8; 40]))
                );
                assert!(thrown.downcast_ref::<String>().is_none(), "and its type");
            }
            other => panic!("expected the error that was sent, got {other:?}"),
        }
        hardswitch::run().unwrap();
    });
}

#[test]
fn values_of_any_size_arrive_moved_and_are_dropped_once() {
    struct Counted(Rc<std::cell::Cell<u32>>, #[allow(dead_code)] [u64; 30]);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    fresh(|s| {
        let drops = Rc::new(std::cell::Cell::new(0));
        let c = Channel::new();
        let (chan, count) = (c.clone(), drops.clone());
        let t = s.spawn(move || {
            for _ in 0..3 {
                chan.send(Counted(count.clone(), [7; 30]))?;
            }
            Ok::<_, Error>(())
        });
        let received = c.receive().unwrap();
        assert_eq!((drops.get(), received.1), (0, [7; 30]));
        drop(received);
        assert_eq!(drops.get(), 1);
        drop(c.receive().unwrap());
        assert_eq!(drops.get(), 2);
        hardswitch::run().unwrap();
        assert!(t.is_blocked());
        t.kill().unwrap();
        assert_eq!(
            drops.get(),
            3,
            "the value of a killed sender is dropped with it"
        );
        assert_eq!(Rc::strong_count(&drops), 1);
    });
}

#[test]
fn a_refused_value_is_dropped() {
    fresh(|_| {
        let value = Rc::new(());
        let c = Channel::new();
        assert_eq!(told(c.send(value.clone())), DEADLOCK);
        c.close();
        assert_eq!(told(c.send(value.clone())), CLOSED);
        hardswitch::current().set_block_trap(true);
        assert_eq!(told(c.send(value.clone())), BLOCK_TRAP);
        assert_eq!(Rc::strong_count(&value), 1);
    });
}

#[test]
fn blocked_tasklets_are_served_in_the_order_they_came() {
    fresh(|s| {
        let c = Channel::new();
        let log = Log::default();
        let senders: Vec<_> = (0..4).map(|i| s.sender(&c, i)).collect();
        assert_eq!(c.balance(), 4);
        for i in 0..4 {
            assert_eq!(c.queue().as_ref(), Some(&senders[i as usize]));
            assert_eq!(c.receive().unwrap(), i);
        }
        for i in 0..4 {
            let (chan, seen) = (c.clone(), log.clone());
            s.spawn(move || chan.receive().map(|v| seen.add(format!("{i}:{v}"))));
        }
        hardswitch::run().unwrap();
        assert_eq!(c.balance(), -4);
        for v in 10..14 {
            c.send(v).unwrap();
        }
        assert_eq!(log.take(), "0:10 1:11 2:12 3:13");
    });
}

#[test]
fn whoever_was_rescheduled_by_a_channel_is_run() {
    fresh(|s| {
        for sign in [-1, 0, 1] {
            let c = Channel::new();
            c.set_preference(Preference::from_sign(sign));
            let log = Log::default();
            let (chan, seen) = (c.clone(), log.clone());
            s.spawn(move || chan.receive().map(|v| seen.add(format!("received {v}"))));
            let (chan, seen) = (c.clone(), log.clone());
            s.spawn(move || chan.send(1).map(|()| seen.add("sent")));
            hardswitch::run().unwrap();
            let mut words: Vec<_> = log.take().split(' ').map(String::from).collect();
            words.sort();
            assert_eq!(words, ["1", "received", "sent"], "preference {sign}");
            assert_eq!(c.balance(), 0);
        }
    });
}

#[test]
fn a_channel_prefers_receivers_until_it_is_told_otherwise() {
    fresh(|_| {
        let c: Channel<i64> = Channel::new();
        assert_eq!(c.preference(), Preference::Receiver);
        assert!(!c.schedule_all());
        assert_eq!(c.balance(), 0);
        assert!(!c.is_closing() && !c.is_closed() && c.queue().is_none());
        for (sign, preference) in [
            (-7, Preference::Receiver),
            (-1, Preference::Receiver),
            (0, Preference::Neither),
            (1, Preference::Sender),
            (9, Preference::Sender),
        ] {
            c.set_preference(Preference::from_sign(sign));
            assert_eq!(c.preference(), preference);
        }
        c.set_schedule_all(true);
        assert!(c.schedule_all());
    });
}

#[test]
fn handles_of_one_channel_are_the_same_channel() {
    fresh(|s| {
        let c = Channel::new();
        let other = c.clone();
        assert_eq!(c.id(), other.id());
        assert_ne!(c.id(), Channel::<i64>::new().id());
        let t = s.sender(&c, 1);
        assert_eq!(other.balance(), 1);
        assert_eq!(other.receive().unwrap(), 1);
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn a_sequence_is_sent_one_by_one_and_counted() {
    fresh(|s| {
        let c = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        s.spawn(move || {
            chan.send_sequence(0..10)
                .map(|n| seen.add(format!("sent {n}")))
        });
        for i in 0..10 {
            assert_eq!(c.receive().unwrap(), i);
        }
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "sent 10");
        assert_eq!(c.send_sequence(std::iter::empty()).unwrap(), 0);
    });
}

#[test]
fn a_sequence_stops_at_the_first_error() {
    fresh(|s| {
        let c = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        let t = s.spawn(move || seen.add(told(chan.send_sequence(0..10))));
        assert_eq!(c.receive().unwrap(), 0);
        t.throw(oops(1)).unwrap();
        assert_eq!(log.take(), "oops 1");
        assert_eq!(c.balance(), 0);
    });
}

#[test]
fn a_channel_that_raised_an_error_can_be_used_again() {
    fresh(|s| {
        let c = Channel::new();
        let log = Log::default();
        for sending in [true, false] {
            let (chan, seen) = (c.clone(), log.clone());
            let t = s.spawn(move || {
                seen.add(if sending {
                    told(chan.send(1))
                } else {
                    told(chan.receive())
                });
                seen.add(if sending {
                    told(chan.send(2))
                } else {
                    told(chan.receive())
                });
            });
            t.run().unwrap();
            t.throw(oops(1)).unwrap();
            assert_eq!(log.take(), "oops 1");
            assert!(t.is_blocked(), "it blocks a second time");
            if sending {
                assert_eq!(c.receive().unwrap(), 2);
            } else {
                c.send(3).unwrap();
            }
            hardswitch::run().unwrap();
            assert_eq!(log.take(), "ok");
            assert_eq!(c.balance(), 0);
        }
    });
}

#[test]
fn a_hundred_switches_between_two_tasklets_lose_nothing() {
    fresh(|s| {
        let (there, back) = (Channel::new(), Channel::new());
        let (a, b) = (there.clone(), back.clone());
        let t = s.spawn(move || {
            for i in 0..100i64 {
                let v: i64 = a.receive()?;
                assert_eq!(v, i);
                b.send(v * 2)?;
            }
            Ok::<_, Error>(())
        });
        for i in 0..100 {
            there.send(i).unwrap();
            assert_eq!(back.receive().unwrap(), i * 2);
        }
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn many_clients_exchange_many_messages() {
    fresh(|s| {
        let c = Channel::new();
        for client in 0..3 {
            let c = c.clone();
            s.spawn(move || (0..20).try_for_each(|i| c.send(client * 100 + i)));
        }
        let mut next = [0, 0, 0];
        for _ in 0..60 {
            let v = c.receive().unwrap();
            let client = (v / 100) as usize;
            assert_eq!(
                v % 100,
                next[client],
                "each client's messages stay in order"
            );
            next[client] += 1;
        }
        hardswitch::run().unwrap();
        assert_eq!(next, [20; 3]);
        assert_eq!((c.balance(), hardswitch::run_count()), (0, 1));
    });
}

#[test]
fn a_mutex_can_be_built_from_a_channel() {
    fresh(|s| {
        // The token lies in a tasklet that sends it; whoever receives it holds the mutex.
        let free = Channel::new();
        let (chan, log) = (free.clone(), Log::default());
        let keeper = s.spawn(move || chan.send(0i64));
        keeper.run().unwrap();
        let inside = Rc::new(std::cell::Cell::new(0));
        for i in 0..4 {
            let (free, inside, log) = (free.clone(), inside.clone(), log.clone());
            s.spawn(move || {
                let token = free.receive()?;
                assert_eq!(inside.replace(1), 0, "nobody else is inside");
                hardswitch::schedule()?;
                inside.set(0);
                log.add(i);
                free.send(token + 1)
            });
        }
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "0 1 2 3");
        assert_eq!(free.receive().unwrap(), 4);
        hardswitch::run().unwrap();
        assert_eq!(free.balance(), 0);
    });
}
