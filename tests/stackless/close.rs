//! Closing channels and iterating over them.

use super::*;
use hardswitch::Preference;

#[test]
fn closing_is_closed_once_nobody_waits() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.sender(&c, 1);
        c.close();
        assert!(c.is_closing() && !c.is_closed());
        assert_eq!(c.receive().unwrap(), 1, "a queued partner is still served");
        assert!(c.is_closing() && c.is_closed());
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
        c.open();
        assert!(!c.is_closing() && !c.is_closed());
    });
}

#[test]
fn a_closed_channel_refuses_to_block_anybody() {
    fresh(|_| {
        let c: Channel<i64> = Channel::new();
        c.close();
        assert_eq!(told(c.send(1)), CLOSED);
        assert_eq!(told(c.receive()), CLOSED);
        assert!(c.next().is_none());
        assert!(matches!(c.send(1), Err(Error::Closed)));
        c.open();
        assert_eq!(told(c.receive()), DEADLOCK, "open again");
    });
}

#[test]
fn a_sender_finds_its_channel_closed_after_the_queue_is_served() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.receiver(&c);
        c.close();
        c.send(1).unwrap();
        assert!(!t.is_alive());
        assert_eq!(told(c.send(2)), CLOSED);
    });
}

#[test]
fn closing_wakes_nobody() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.receiver(&c);
        c.close();
        hardswitch::run().unwrap();
        assert!(t.is_blocked());
        assert_eq!(c.balance(), -1);
        t.kill().unwrap();
        assert!(c.is_closed());
    });
}

#[test]
fn an_iteration_drains_a_sequence_and_ends_at_the_close() {
    fresh(|s| {
        let c = Channel::new();
        c.set_preference(Preference::Sender);
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        s.spawn(move || {
            seen.add(told(chan.send_sequence(0..10)));
            chan.close();
        });
        let mut data = vec![];
        for v in c.iter() {
            data.push(v.unwrap());
        }
        assert_eq!(data, (0..10).collect::<Vec<i64>>());
        assert_eq!(log.take(), "ok");
        assert!(c.is_closed());
    });
}

#[test]
fn several_iterations_share_what_is_sent() {
    fresh(|s| {
        let c = Channel::new();
        c.set_preference(Preference::Sender);
        let log = Log::default();
        for _ in 0..2 {
            let (chan, seen) = (c.clone(), log.clone());
            s.spawn(move || {
                for v in chan.iter() {
                    seen.add(v?);
                }
                Ok::<_, Error>(())
            });
        }
        hardswitch::run().unwrap();
        assert_eq!(c.balance(), -2);
        c.send_sequence(0..6).unwrap();
        hardswitch::run().unwrap();
        let mut got: Vec<i64> = log.take().split(' ').map(|v| v.parse().unwrap()).collect();
        got.sort();
        assert_eq!(got, [0, 1, 2, 3, 4, 5]);
        c.close();
        assert_eq!(c.balance(), -2, "who waits goes on waiting");
        for _ in 0..2 {
            c.send_throw(oops(0)).unwrap_err_or_ok();
        }
    });
}

/// The receivers let the error that ends them pass, so it comes back to whoever sent it: main.
trait EndOfReceiver {
    fn unwrap_err_or_ok(self);
}

impl EndOfReceiver for Result<(), Error> {
    fn unwrap_err_or_ok(self) {
        let passed = self.and_then(|()| hardswitch::run());
        assert_eq!(told(passed), "oops 0");
    }
}

#[test]
fn an_error_sent_to_an_iteration_ends_it() {
    fresh(|s| {
        let c = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        s.spawn(move || {
            seen.add(told(chan.send_sequence(0..3)));
            chan.close();
            seen.add(told(chan.send_throw(oops(9))));
        });
        let mut data = vec![];
        let end = loop {
            match c.next() {
                Some(Ok(v)) => data.push(v),
                end => break end,
            }
        };
        assert_eq!(data, [0, 1, 2]);
        assert_eq!(
            end.map(told).as_deref(),
            Some("oops 9"),
            "main was waiting, so the send was served in spite of the close"
        );
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "ok ok");
        assert!(c.is_closed());
    });
}

#[test]
fn main_iterating_past_the_last_sender_is_told_so() {
    fresh(|s| {
        let c = Channel::new();
        let chan = c.clone();
        s.spawn(move || {
            let sent = chan.send_sequence(0..2);
            chan.close();
            sent.map(drop)
        });
        let got: Vec<_> = c.iter().map(told).take(4).collect();
        assert_eq!(
            got,
            ["ok", "ok", RECEIVING],
            "main blocked before the close; then the iteration is over"
        );
    });
}

#[test]
fn a_blocked_tasklet_of_a_closed_channel_can_be_killed_or_thrown_at() {
    fresh(|s| {
        for sending in [true, false] {
            let c = Channel::new();
            let log = Log::default();
            let start = || {
                let (chan, seen) = (c.clone(), log.clone());
                let t = s.spawn(move || {
                    let r = if sending {
                        chan.send(1)
                    } else {
                        chan.receive().map(drop)
                    };
                    seen.add(told(r));
                });
                t.run().unwrap();
                t
            };
            let (killed, pending, thrown) = (start(), start(), start());
            c.close();
            killed.kill().unwrap();
            pending.kill_pending().unwrap();
            thrown.throw(oops(1)).unwrap();
            hardswitch::run().unwrap();
            assert_eq!(
                log.take(),
                "TaskletExit oops 1 TaskletExit",
                "the pending one acts when it is run"
            );
            assert_eq!(c.balance(), 0);
            assert!(c.is_closed());
        }
    });
}
