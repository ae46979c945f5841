//! Selects that have channels between threads among their cases: with each kind of partner, with
//! local cases beside, and how they end.

mod common;

use common::{eventually, Random};
use hardswitch::thread::Channel as Far;
use hardswitch::{
    join, run, spawn, Channel, Error, MainLoop, Preference, QueueChannel, Select, Settings,
    StateError, Tasklet,
};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;
/// Fewer under the emulator, and where a tool looks on.
const MANY: u64 = if cfg!(target_arch = "x86_64")
    && !cfg!(any(
        feature = "valgrind",
        feature = "asan",
        feature = "tsan"
    )) {
    20_000
} else {
    500
};

fn pump() {
    MainLoop::current().unwrap().run_until_idle().unwrap();
}

/// On a thread of its own, by main; and by a tasklet, while main pumps; and by a tasklet while main
/// waits for it.
fn by_main_and_by_tasklets(test: fn()) {
    thread::spawn(test).join().unwrap();
    for main_pumps in [true, false] {
        thread::spawn(move || {
            let done = join::spawn(move || {
                test();
                Ok(())
            });
            let done = done.unwrap();
            if main_pumps {
                pump();
            }
            done.join().unwrap();
        })
        .join()
        .unwrap();
    }
}

/// Counts those that live.
struct Live<'a>(&'a AtomicIsize);

impl<'a> Live<'a> {
    fn new(count: &'a AtomicIsize) -> Live<'a> {
        count.fetch_add(1, Ordering::SeqCst);
        Live(count)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_sender_on_another_thread_ends_it_whether_it_comes_before_or_after() {
    by_main_and_by_tasklets(|| {
        for select_first in [true, false] {
            let (numbers, words) = (Far::<u32>::new(), Far::<String>::new());
            let there = words.clone();
            let other = thread::spawn(move || {
                if select_first {
                    eventually("the select waits", || there.balance() == -1);
                }
                there.send("a word".to_string())
            });
            if !select_first {
                eventually("the sender waits", || words.balance() == 1);
            }
            let mut select = Select::new();
            let (number, word) = (select.receive(&numbers), select.receive(&words));
            let mut done = select.wait().unwrap();
            assert_eq!(done.index(), 1);
            assert!(done.received(number).is_none());
            assert_eq!(done.received(word).unwrap().unwrap(), "a word");
            assert!(done.received(word).is_none(), "once");
            assert_eq!((numbers.balance(), words.balance()), (0, 0));
            other.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_receiver_on_another_thread_gets_one_value_and_the_others_come_back() {
    by_main_and_by_tasklets(|| {
        for select_first in [true, false] {
            let (a, b) = (Far::<Box<u32>>::new(), Far::<String>::new());
            let there = b.clone();
            let other = thread::spawn(move || {
                if select_first {
                    eventually("the select waits", || there.balance() == 1);
                }
                there.receive()
            });
            if !select_first {
                eventually("the receiver waits", || b.balance() == -1);
            }
            let mut select = Select::new();
            let to_a = select.send(&a, Box::new(5));
            let to_b = select.send(&b, "gone".to_string());
            let mut done = select.wait().unwrap();
            assert!(done.sent(to_a).is_none());
            done.sent(to_b).unwrap().unwrap();
            assert_eq!(done.unsent(to_b), None);
            assert_eq!(done.unsent(to_a), Some(Box::new(5)));
            assert_eq!((a.balance(), b.balance()), (0, 0));
            assert_eq!(other.join().unwrap().unwrap(), "gone");
        }
    });
}

/// A partner that looks for it, and is in no queue.
#[test]
fn one_that_looks_is_met() {
    let looks = |f: Box<dyn FnOnce() -> u32 + Send>| {
        thread::spawn(move || {
            let settings = Settings {
                spin: MS(60_000),
                ..Settings::desktop()
            };
            settings.apply().unwrap();
            f()
        })
    };
    let (a, b) = (Far::<u32>::new(), Far::<u32>::new());
    let there = b.clone();
    let receiver = looks(Box::new(move || there.receive().unwrap()));
    eventually("it looks", || b.balance() == -1);
    let mut select = Select::new();
    let (_from_a, to_b) = (select.receive(&a), select.send(&b, 7));
    let mut done = select.try_wait().unwrap();
    done.sent(to_b).unwrap().unwrap();
    assert_eq!(receiver.join().unwrap(), 7);

    let there = a.clone();
    let sender = looks(Box::new(move || there.send(8).map(|()| 1).unwrap()));
    eventually("it looks", || a.balance() == 1);
    let mut select = Select::new();
    let (from_a, _to_b) = (select.receive(&a), select.send(&b, 7));
    let mut done = select.try_wait().unwrap();
    assert_eq!(done.received(from_a).unwrap().unwrap(), 8);
    assert_eq!(sender.join().unwrap(), 1);
    assert_eq!((a.balance(), b.balance()), (0, 0));
}

#[test]
fn a_local_partner_ends_it_and_the_other_threads_find_nobody() {
    thread::spawn(|| {
        let (far, near) = (Far::<u32>::new(), Channel::<u32>::new());
        let (f, n) = (far.clone(), near.clone());
        let got = Rc::new(Cell::new(0));
        let result = got.clone();
        let t = spawn(move || {
            let mut select = Select::new();
            let (_, from_near) = (select.send(&f, 1), select.receive(&n));
            result.set(select.wait()?.received(from_near).unwrap()?);
            Ok(())
        })
        .unwrap();
        t.run().unwrap();
        assert!(t.is_blocked());
        assert_eq!((far.balance(), near.balance()), (1, -1));
        assert_eq!(near.queue(), Some(t.clone()));
        near.send(6).unwrap();
        assert_eq!((far.balance(), near.balance()), (0, 0));
        let there = far.clone();
        let late = thread::spawn(move || there.try_receive().unwrap_err().to_string());
        assert_eq!(late.join().unwrap(), Error::WouldBlock.to_string());
        run().unwrap();
        assert!(!t.is_alive());
        assert_eq!(got.get(), 6);
    })
    .join()
    .unwrap();
}

/// Two of one thread on a channel between threads: its preference counts, whichever of them
/// selects.
#[test]
fn a_partner_of_the_same_thread_is_switched_to_as_the_channel_prefers() {
    for (preference, order) in [
        (Preference::Receiver, "got sent"),
        (Preference::Sender, "sent got"),
    ] {
        for receiver_selects in [true, false] {
            thread::spawn(move || {
                let (a, b) = (Far::<u32>::new(), Far::<u32>::new());
                b.set_preference(preference);
                let log = Rc::new(RefCell::new(Vec::new()));
                let (a2, b2, l) = (a.clone(), b.clone(), log.clone());
                let receiver = spawn(move || {
                    let value = if receiver_selects {
                        let mut select = Select::new();
                        let (_, from_b) = (select.receive(&a2), select.receive(&b2));
                        select.wait()?.received(from_b).unwrap()?
                    } else {
                        b2.receive()?
                    };
                    assert_eq!(value, 3);
                    l.borrow_mut().push("got");
                    Ok(())
                })
                .unwrap();
                receiver.run().unwrap();
                assert!(receiver.is_blocked());
                let l = log.clone();
                let sender = spawn(move || {
                    if receiver_selects {
                        b.send(3)?;
                    } else {
                        let mut select = Select::new();
                        let (_, to_b) = (select.receive(&a), select.send(&b, 3));
                        select.wait()?.sent(to_b).unwrap()?;
                    }
                    l.borrow_mut().push("sent");
                    Ok(())
                })
                .unwrap();
                run().unwrap();
                assert!(!sender.is_alive() && !receiver.is_alive());
                assert_eq!(log.borrow().join(" "), order, "{receiver_selects}");
            })
            .join()
            .unwrap();
        }
    }
}

#[test]
fn it_waits_for_things_of_all_kinds_together() {
    by_main_and_by_tasklets(|| {
        for which in 0..4 {
            let far = Far::<u32>::new();
            let (near, queue) = (Channel::<u32>::new(), QueueChannel::<u32>::bounded(1));
            let (n, gate) = (near.clone(), Channel::<u32>::new());
            let open = gate.clone();
            let tasklet = join::spawn(move || open.receive()).unwrap();
            let there = far.clone();
            let other = (which == 0).then(|| {
                thread::spawn(move || {
                    eventually("the select waits", || there.balance() == -1);
                    there.send(0)
                })
            });
            let (q, g) = (queue.clone(), gate.clone());
            let helper = spawn(move || match which {
                1 => n.send(1),
                2 => q.send(2),
                3 => g.send(3),
                _ => Ok(()),
            })
            .unwrap();
            let mut select = Select::new();
            let cases = (
                select.receive(&far),
                select.receive(&near),
                select.receive(&queue),
                select.receive(&tasklet),
            );
            let mut done = select.wait().unwrap();
            assert_eq!(done.index(), which);
            let got = match which {
                0 => done.received(cases.0),
                1 => done.received(cases.1),
                2 => done.received(cases.2),
                _ => done.received(cases.3),
            };
            assert_eq!(got.unwrap().unwrap(), which as u32);
            assert_eq!((far.balance(), near.balance(), queue.balance()), (0, 0, 0));
            if let Some(other) = other {
                other.join().unwrap().unwrap();
            }
            if which != 3 {
                gate.send(9).unwrap();
            }
            if helper.is_alive() {
                run().unwrap();
            }
        }
    });
}

#[test]
fn time_is_up_and_all_queues_are_left() {
    static LIVE: AtomicIsize = AtomicIsize::new(0);
    by_main_and_by_tasklets(|| {
        let (a, b, near) = (Far::<u32>::new(), Far::new(), Channel::<u32>::new());
        for time in [Duration::ZERO, MS(20)] {
            let mut select = Select::new();
            select.receive(&a);
            select.send(&b, Live::new(&LIVE));
            select.receive(&near);
            let start = Instant::now();
            assert!(matches!(select.wait_timeout(time), Err(Error::Timeout)));
            assert!(start.elapsed() >= time);
            assert_eq!((a.balance(), b.balance(), near.balance()), (0, 0, 0));
            assert_eq!(
                LIVE.load(Ordering::SeqCst),
                0,
                "what was not sent is dropped"
            );
        }
        let mut select = Select::new();
        select.receive(&a);
        select.send(&b, Live::new(&LIVE));
        assert!(matches!(select.try_wait(), Err(Error::WouldBlock)));
        assert_eq!((a.balance(), b.balance()), (0, 0));
        assert_eq!(LIVE.load(Ordering::SeqCst), 0);
        // In time.
        let there = a.clone();
        let other = thread::spawn(move || {
            eventually("the select waits", || there.balance() == -1);
            there.send(4)
        });
        let mut select = Select::new();
        let from_a = select.receive(&a);
        let mut done = select.wait_timeout(MS(60_000)).unwrap();
        assert_eq!(done.received(from_a).unwrap().unwrap(), 4);
        other.join().unwrap().unwrap();
    });
}

#[test]
fn who_is_killed_or_thrown_at_leaves_all_channels_at_once() {
    static LIVE: AtomicIsize = AtomicIsize::new(0);
    thread::spawn(|| {
        let (a, b, near) = (Far::<u32>::new(), Far::new(), Channel::<u32>::new());
        for timeout in [None, Some(MS(60_000))] {
            for thrown in [false, true] {
                let (a2, b2, n) = (a.clone(), b.clone(), near.clone());
                let t = spawn(move || {
                    let mut select = Select::new();
                    select.receive(&a2);
                    select.send(&b2, Live::new(&LIVE));
                    select.receive(&n);
                    match timeout {
                        None => select.wait().map(drop),
                        Some(time) => select.wait_timeout(time).map(drop),
                    }
                })
                .unwrap();
                t.run().unwrap();
                assert!(t.is_blocked());
                assert_eq!((a.balance(), b.balance(), near.balance()), (-1, 1, -1));
                if thrown {
                    assert!(t.throw(Error::thrown("out")).is_err());
                } else {
                    t.kill().unwrap();
                }
                assert!(!t.is_alive());
                assert_eq!((a.balance(), b.balance(), near.balance()), (0, 0, 0));
                assert_eq!(LIVE.load(Ordering::SeqCst), 0);
            }
        }
        assert_eq!(hardswitch::time::timeouts(), 0);
    })
    .join()
    .unwrap();
}

#[test]
fn a_closed_channel_is_chosen_and_one_that_is_closed_ends_the_wait() {
    by_main_and_by_tasklets(|| {
        let (a, b) = (Far::<u32>::new(), Far::<Box<u32>>::new());
        a.close();
        let mut select = Select::new();
        let (from_a, to_b) = (select.receive(&a), select.send(&b, Box::new(1)));
        let mut done = select.try_wait().unwrap();
        assert!(matches!(done.received(from_a), Some(Err(Error::Closed))));
        assert_eq!(done.unsent(to_b), Some(Box::new(1)));
        a.open();
        for closed in 0..2 {
            let (a2, b2) = (a.clone(), b.clone());
            let other = thread::spawn(move || {
                eventually("the select waits", || b2.balance() == 1);
                match closed {
                    0 => (a2.close_and_wake(), b2.close_and_wake()),
                    _ => (b2.close_and_wake(), a2.close_and_wake()),
                }
            });
            let mut select = Select::new();
            let (from_a, to_b) = (select.receive(&a), select.send(&b, Box::new(2)));
            let mut done = select.wait().unwrap();
            assert_eq!(done.index(), closed);
            if closed == 0 {
                assert!(matches!(done.received(from_a), Some(Err(Error::Closed))));
            } else {
                assert!(matches!(done.sent(to_b), Some(Err(Error::Closed))));
            }
            assert_eq!(done.unsent(to_b), Some(Box::new(2)), "it was not sent");
            assert_eq!(other.join().unwrap(), (1, 0), "it waits once");
            assert_eq!((a.balance(), b.balance()), (0, 0));
            a.open();
            b.open();
        }
    });
}

#[test]
fn an_error_that_is_sent_is_what_the_case_comes_to() {
    by_main_and_by_tasklets(|| {
        let (a, b) = (Far::<u32>::new(), Far::<u32>::new());
        let there = b.clone();
        let other = thread::spawn(move || there.send_throw(Error::thrown("no number")));
        let mut select = Select::new();
        let (_, from_b) = (select.receive(&a), select.receive(&b));
        let mut done = select.wait().unwrap();
        match done.received(from_b).unwrap() {
            Err(Error::Thrown(thrown)) => {
                assert_eq!(thrown.downcast_ref::<&str>(), Some(&"no number"));
            }
            other => panic!("{other:?}"),
        }
        other.join().unwrap().unwrap();
    });
}

#[test]
fn a_thread_that_ends_takes_its_selects_along() {
    static LIVE: AtomicIsize = AtomicIsize::new(0);
    let (a, b) = (Far::<u32>::new(), Far::new());
    let (a2, b2) = (a.clone(), b.clone());
    thread::spawn(move || {
        for _ in 0..3 {
            let (a, b) = (a2.clone(), b2.clone());
            spawn(move || {
                let mut select = Select::new();
                select.receive(&a);
                select.send(&b, Live::new(&LIVE));
                select.wait().map(drop)
            })
            .unwrap();
        }
        run().unwrap();
        assert_eq!((a2.balance(), b2.balance()), (-3, 3));
    })
    .join()
    .unwrap();
    assert_eq!((a.balance(), b.balance()), (0, 0));
    assert_eq!(LIVE.load(Ordering::SeqCst), 0);
}

#[test]
#[cfg_attr(feature = "asan", ignore = "what it refuses to give back is a leak")]
fn a_select_that_refuses_to_end_is_out_of_its_channels_when_its_thread_is_gone() {
    let (a, b) = (Far::<u32>::new(), Far::<u32>::new());
    let (a2, b2) = (a.clone(), b.clone());
    thread::spawn(move || {
        spawn::<_, ()>(move || loop {
            let mut select = Select::new();
            select.receive(&a2);
            select.send(&b2, 1);
            let _ = select.wait();
        })
        .unwrap();
        run().unwrap();
    })
    .join()
    .unwrap();
    assert_eq!((a.balance(), b.balance()), (0, 0));
}

#[test]
fn a_channel_may_be_in_several_cases_but_one_way() {
    thread::spawn(|| {
        let (a, b) = (Far::<u32>::new(), Far::<u32>::new());
        let mut select = Select::new();
        select.receive(&a);
        select.receive(&b);
        select.send(&a, 1);
        let refused = select.wait().unwrap_err();
        assert_eq!(
            refused.to_string(),
            Error::from(StateError::SelectBothWays).to_string()
        );

        let there = a.clone();
        let other = thread::spawn(move || {
            eventually("the select waits twice", || there.balance() == -2);
            there.send(1)?;
            let balance = there.balance();
            there.try_send(2).map_err(|(error, _)| error).unwrap_err();
            Ok::<_, Error>(balance)
        });
        let mut select = Select::new();
        let cases = [select.receive(&a), select.receive(&a)];
        let mut done = select.wait().unwrap();
        let which = done.index();
        assert_eq!(done.received(cases[which]).unwrap().unwrap(), 1);
        assert_eq!(other.join().unwrap().unwrap(), 0);
    })
    .join()
    .unwrap();
}

#[test]
fn the_choice_is_fair_or_in_order() {
    for ordered in [false, true] {
        thread::spawn(move || {
            const EACH: usize = 200;
            let channels = [Far::<usize>::new(), Far::new()];
            for (i, channel) in channels.iter().enumerate() {
                for _ in 0..EACH {
                    let channel = channel.clone();
                    spawn(move || channel.send(i)).unwrap();
                }
            }
            run().unwrap();
            let mut count = [0; 2];
            for _ in 0..EACH {
                let mut select = Select::new();
                if ordered {
                    select = select.in_order();
                }
                let cases = channels.each_ref().map(|c| select.receive(c));
                let mut done = select.try_wait().unwrap();
                let which = done.index();
                assert_eq!(done.received(cases[which]).unwrap().unwrap(), which);
                count[which] += 1;
            }
            if ordered {
                assert_eq!(count, [EACH, 0]);
            } else {
                assert!(count[0] > EACH / 4 && count[1] > EACH / 4, "{count:?}");
            }
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_block_trap_refuses_to_wait_and_nothing_is_left() {
    thread::spawn(|| {
        let (a, b) = (Far::<u32>::new(), Far::<u32>::new());
        let trap = hardswitch::block_trap();
        let mut select = Select::new();
        select.receive(&a);
        select.send(&b, 1);
        assert!(matches!(select.wait(), Err(Error::BlockTrap)));
        drop(trap);
        assert_eq!((a.balance(), b.balance()), (0, 0));
        // And nobody is kept from looking there.
        let there = a.clone();
        let other = thread::spawn(move || there.send(1));
        assert_eq!(a.receive().unwrap(), 1);
        other.join().unwrap().unwrap();
    })
    .join()
    .unwrap();
}

/// A tasklet in a select that waits on `far` and to receive from `near` and `queue`; what it got,
/// of whatever case.
fn waiter(
    far: &Far<Live<'static>>,
    near: &Channel<u32>,
    queue: &QueueChannel<u32>,
    time: Option<Duration>,
) -> (Tasklet, Rc<RefCell<String>>) {
    let (far, near, queue) = (far.clone(), near.clone(), queue.clone());
    let outcome = Rc::new(RefCell::new(String::new()));
    let told = outcome.clone();
    let t = spawn(move || {
        let mut select = Select::new();
        select.receive(&far);
        select.receive(&near);
        select.receive(&queue);
        let done = match time {
            None => select.wait(),
            Some(time) => select.wait_timeout(time),
        };
        *told.borrow_mut() = match &done {
            Ok(done) => done.index().to_string(),
            Err(error) => error.to_string(),
        };
        done.map(drop)
    })
    .unwrap();
    t.run().unwrap();
    assert!(t.is_blocked());
    (t, outcome)
}

/// Has another thread send, and waits for that without giving this one's tasklets a turn: the
/// select has been met, and does not know.
fn met_by_another_thread(far: &Far<Live<'static>>, live: &'static AtomicIsize) {
    let there = far.clone();
    let sent = thread::spawn(move || there.send(Live::new(live)));
    sent.join().unwrap().unwrap();
}

#[test]
fn whom_another_thread_has_met_is_there_for_nobody_else() {
    static LIVE: AtomicIsize = AtomicIsize::new(0);
    thread::spawn(|| {
        let far = Far::new();
        let (near, queue) = (Channel::<u32>::new(), QueueChannel::<u32>::bounded(2));
        let (t, outcome) = waiter(&far, &near, &queue, None);
        assert_eq!((near.balance(), queue.balance()), (-1, -1));
        met_by_another_thread(&far, &LIVE);
        // Each of these finds the stand-in first.
        assert!(matches!(
            near.try_send(1),
            Err((Error::WouldBlock, Some(1)))
        ));
        queue.send(5).unwrap();
        assert_eq!(queue.len(), 1, "queued, since nobody waits");
        assert!(matches!(far.try_receive(), Err(Error::WouldBlock)));
        assert_eq!(near.queue(), None);
        assert_eq!(near.close_and_wake(), 0);
        near.open();
        assert_eq!((near.balance(), far.balance()), (0, 0));
        assert!(t.is_blocked(), "it has had no message yet");
        run().unwrap();
        assert_eq!(*outcome.borrow(), "0");
        assert_eq!(LIVE.load(Ordering::SeqCst), 0);
        assert_eq!(queue.receive().unwrap(), 5);

        // Those who may wait join the queue themselves, and are met there.
        let (t, outcome) = waiter(&far, &near, &queue, None);
        met_by_another_thread(&far, &LIVE);
        let n = near.clone();
        let sender = spawn(move || n.send(6)).unwrap();
        sender.run().unwrap();
        assert_eq!(near.balance(), 1);
        assert_eq!(near.receive().unwrap(), 6);
        run().unwrap();
        assert!(!sender.is_alive() && !t.is_alive());
        assert_eq!(*outcome.borrow(), "0");

        // A select of local channels is one of them.
        let (t, outcome) = waiter(&far, &near, &queue, None);
        met_by_another_thread(&far, &LIVE);
        let mut select = Select::new();
        select.send(&near, 1);
        assert!(matches!(select.try_wait(), Err(Error::WouldBlock)));
        run().unwrap();
        assert!(!t.is_alive());
        assert_eq!(*outcome.borrow(), "0");
    })
    .join()
    .unwrap();
}

#[test]
fn what_another_thread_handed_over_in_time_is_not_late() {
    static LIVE: AtomicIsize = AtomicIsize::new(0);
    thread::spawn(|| {
        let far = Far::new();
        let (near, queue) = (Channel::<u32>::new(), QueueChannel::<u32>::bounded(2));
        // Time passes when the test says: it is met before its time is over.
        hardswitch::time::set_clock(Some(|| NOW.get()));
        let (t, outcome) = waiter(&far, &near, &queue, Some(MS(10)));
        met_by_another_thread(&far, &LIVE);
        NOW.set(NOW.get() + 20_000_000);
        // Its time is over before it has had the message.
        let there = far.clone();
        pump();
        assert!(!t.is_alive());
        assert_eq!(*outcome.borrow(), "0");
        drop(there);

        // Who is killed then has got the value, and drops it.
        let (t, outcome) = waiter(&far, &near, &queue, None);
        met_by_another_thread(&far, &LIVE);
        t.kill().unwrap();
        assert!(!t.is_alive());
        assert_eq!(*outcome.borrow(), Error::Exit.to_string());
        assert_eq!(LIVE.load(Ordering::SeqCst), 0);
        assert_eq!((far.balance(), near.balance(), queue.balance()), (0, 0, 0));
        pump();
    })
    .join()
    .unwrap();
}

/// The partner has it, and cannot switch: the select goes on waiting.
#[test]
fn a_local_partner_that_fails_leaves_the_select_where_it_was() {
    thread::spawn(|| {
        let (far, near) = (Far::<u32>::new(), Channel::<u32>::new());
        let (f, n) = (far.clone(), near.clone());
        let got = Rc::new(Cell::new((9, 0)));
        let result = got.clone();
        let t = spawn(move || {
            let mut select = Select::new();
            let cases = [select.receive(&f), select.receive(&n)];
            let mut done = select.wait()?;
            let which = done.index();
            result.set((which, done.received(cases[which]).unwrap()?));
            Ok(())
        })
        .unwrap();
        t.run().unwrap();
        for waits_on in [true, false] {
            hardswitch::switch_trap(1);
            let failed = match waits_on {
                true => near.send(1),
                false => near.try_send(1).map_err(|(error, _)| error),
            };
            assert!(matches!(failed, Err(Error::SwitchTrap)));
            hardswitch::switch_trap(-1);
            run().unwrap();
            assert!(t.is_alive() && t.is_blocked());
            assert_eq!((far.balance(), near.balance()), (-1, -1));
            if waits_on {
                continue;
            }
            let there = far.clone();
            thread::spawn(move || there.send(5))
                .join()
                .unwrap()
                .unwrap();
            run().unwrap();
            assert!(!t.is_alive());
            assert_eq!(got.get(), (0, 5));
        }
    })
    .join()
    .unwrap();
}

#[test]
fn the_channel_callback_is_told_once_of_each_case_it_concerns() {
    thread::spawn(|| {
        let (a, b) = (Far::<u32>::new(), Far::<u32>::new());
        let told = Rc::new(RefCell::new(Vec::new()));
        let log = told.clone();
        let ids = [a.id(), b.id()];
        hardswitch::set_channel_callback(Some(Rc::new(move |id, _, sends, blocks| {
            let which = ids.iter().position(|&i| i == id);
            log.borrow_mut().push((which, sends, blocks));
        })));
        let mut select = Select::new();
        select.receive(&a);
        select.send(&b, 1);
        assert!(matches!(select.try_wait(), Err(Error::WouldBlock)));
        assert_eq!(told.take(), []);
        let mut select = Select::new();
        select.receive(&a);
        select.send(&b, 1);
        assert!(matches!(select.wait_timeout(MS(1)), Err(Error::Timeout)));
        assert_eq!(told.take(), [(Some(0), false, true), (Some(1), true, true)]);
        let there = a.clone();
        let sender = thread::spawn(move || there.send(3));
        eventually("the sender waits", || a.balance() == 1);
        let mut select = Select::new();
        let from_a = select.receive(&a);
        select.send(&b, 1);
        let mut done = select.wait().unwrap();
        assert_eq!(done.received(from_a).unwrap().unwrap(), 3);
        assert_eq!(told.take(), [(Some(0), false, false)]);
        hardswitch::set_channel_callback(None);
        sender.join().unwrap().unwrap();
    })
    .join()
    .unwrap();
}

/// What it puts into the slot, or leaves there in a value's place, is dropped where the channels
/// may be used.
#[test]
fn what_the_channel_callback_leaves_is_dropped_with_nothing_locked() {
    struct Asks(Far<u32>, Rc<Cell<u32>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.balance();
            self.1.set(self.1.get() + 1);
        }
    }
    thread::spawn(|| {
        let (a, b) = (Far::<u32>::new(), Far::<u32>::new());
        let dropped = Rc::new(Cell::new(0));
        let (asks, count) = (a.clone(), dropped.clone());
        hardswitch::set_channel_callback(Some(Rc::new(move |_, tasklet, _, _| {
            let odd = hardswitch::Value::new(Asks(asks.clone(), count.clone()));
            drop(tasklet.set_tempval(odd));
        })));
        let mut select = Select::new();
        let (from_b, to_a) = (select.receive(&b), select.send(&a, 1));
        let late = select.wait_timeout(MS(1));
        assert!(matches!(late, Err(Error::Timeout)));
        assert_eq!(dropped.get(), 2);

        let there = a.clone();
        let receiver = thread::spawn(move || there.receive());
        eventually("the receiver waits", || a.balance() == -1);
        let mut select = Select::new();
        select.receive(&b);
        select.send(&a, 1);
        let mut done = select.wait().unwrap();
        assert!(done.received(from_b).is_none());
        done.sent(to_a).unwrap().unwrap();
        assert!(matches!(receiver.join().unwrap(), Err(Error::WrongType)));
        assert_eq!(dropped.get(), 3);
        hardswitch::set_channel_callback(None);
    })
    .join()
    .unwrap();
}

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static LOOKED_AT: RefCell<Option<Far<u32>>> = const { RefCell::new(None) };
    static BEGAN: Instant = Instant::now();
}

/// A host's clock may wait for who waits for the channel, so it is read while that is free.
#[test]
fn the_clock_is_read_with_nothing_locked() {
    thread::spawn(|| {
        let far = Far::<u32>::new();
        LOOKED_AT.set(Some(far.clone()));
        hardswitch::time::set_clock(Some(|| {
            LOOKED_AT.with_borrow(|far| far.as_ref().map(Far::balance));
            BEGAN.with(|began| began.elapsed().as_nanos() as u64)
        }));
        let mut select = Select::new();
        select.receive(&far);
        assert!(matches!(select.wait_timeout(MS(2)), Err(Error::Timeout)));
        LOOKED_AT.set(None);
    })
    .join()
    .unwrap();
}

/// What is refused inside takes nothing from the operation outside.
#[test]
fn an_operation_that_is_refused_in_a_callback_changes_nothing() {
    static LIVE: AtomicIsize = AtomicIsize::new(0);
    thread::spawn(|| {
        let far = Far::<Live<'static>>::new();
        let (near, queue) = (Channel::<u32>::new(), QueueChannel::<u32>::bounded(2));
        let (t, outcome) = waiter(&far, &near, &queue, None);
        let inside = near.clone();
        hardswitch::set_channel_callback(Some(Rc::new(move |_, _, _, _| {
            let (error, _) = inside.try_send(2).unwrap_err();
            assert!(matches!(error, Error::State(StateError::RecursiveChannel)));
        })));
        // It does not wait for a partner that has been taken away.
        let trap = hardswitch::block_trap();
        near.try_send(1).unwrap();
        drop(trap);
        hardswitch::set_channel_callback(None);
        run().unwrap();
        assert!(!t.is_alive());
        assert_eq!(*outcome.borrow(), "1");

        // On another channel it takes a select, and gives it back.
        let (t, outcome) = waiter(&far, &near, &queue, None);
        let (inside, other) = (near.clone(), Channel::<u32>::new());
        hardswitch::set_channel_callback(Some(Rc::new(move |_, _, _, _| {
            assert!(inside.try_send(2).is_err());
        })));
        assert!(other.try_receive().is_err());
        assert!(matches!(other.receive_timeout(MS(1)), Err(Error::Timeout)));
        hardswitch::set_channel_callback(None);
        run().unwrap();
        assert!(t.is_blocked());
        met_by_another_thread(&far, &LIVE);
        pump();
        assert_eq!((t.is_alive(), &**outcome.borrow()), (false, "0"));
    })
    .join()
    .unwrap();
}

/// Each would send where the other one receives: they meet one way, every time.
#[test]
fn two_selects_that_cross_always_find_each_other() {
    let (x, y) = (Far::<u64>::new(), Far::<u64>::new());
    let side = |name: u64, to: Far<u64>, from: Far<u64>| {
        move || {
            let (mut sent, mut got) = (Vec::new(), Vec::new());
            for i in 0..MANY {
                let mut select = Select::new();
                let sending = select.send(&to, 2 * i + name);
                let receiving = select.receive(&from);
                let mut done = select.wait().unwrap();
                if let Some(value) = done.received(receiving) {
                    got.push(value.unwrap());
                    assert_eq!(done.unsent(sending), Some(2 * i + name));
                } else {
                    done.sent(sending).unwrap().unwrap();
                    sent.push(2 * i + name);
                }
            }
            (sent, got)
        }
    };
    let other = thread::spawn(side(1, y.clone(), x.clone()));
    let mine = side(0, x.clone(), y.clone());
    let (sent, got) = mine();
    let (their_sent, their_got) = other.join().unwrap();
    assert_eq!(sent, their_got);
    assert_eq!(their_sent, got);
    assert_eq!((sent.len() + got.len()) as u64, MANY);
    assert_eq!((x.balance(), y.balance()), (0, 0));
}

/// What the threads of the storm have done.
#[derive(Default)]
struct Books {
    next: AtomicU64,
    live: AtomicIsize,
    sent: Mutex<HashSet<u64>>,
    received: Mutex<HashSet<u64>>,
    timeouts: AtomicUsize,
}

struct Value {
    number: u64,
    books: Arc<Books>,
}

impl Value {
    fn new(books: &Arc<Books>) -> Value {
        books.live.fetch_add(1, Ordering::Relaxed);
        Value {
            number: books.next.fetch_add(1, Ordering::Relaxed),
            books: books.clone(),
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.books.live.fetch_sub(1, Ordering::Relaxed);
    }
}

fn received(books: &Books, value: Value) {
    let new = books.received.lock().unwrap().insert(value.number);
    assert!(new, "{} came twice", value.number);
}

fn sent(books: &Books, number: u64) {
    assert!(books.sent.lock().unwrap().insert(number));
}

/// One select over some of the channels, all of the process or one of the thread among them, each
/// in a direction of its own.
fn one_select(books: &Arc<Books>, all: &[Far<Value>], near: &Channel<Value>, dice: &mut Random) {
    let mut select = Select::new();
    let (mut receives, mut sends) = (Vec::new(), Vec::new());
    let first = dice.below(all.len() as u64) as usize;
    let count = 1 + dice.below(3) as usize;
    for i in 0..count.min(all.len()) {
        let channel = &all[(first + i) % all.len()];
        if dice.below(2) == 0 {
            receives.push(select.receive(channel));
        } else {
            let value = Value::new(books);
            let number = value.number;
            sends.push((select.send(channel, value), number));
        }
    }
    if dice.below(3) == 0 {
        if dice.below(2) == 0 {
            receives.push(select.receive(near));
        } else {
            let value = Value::new(books);
            let number = value.number;
            sends.push((select.send(near, value), number));
        }
    }
    let done = match dice.below(4) {
        0 => select.try_wait(),
        1 => select.wait_timeout(Duration::from_micros(dice.below(200))),
        _ => select.wait_timeout(Duration::from_micros(500 + dice.below(3000))),
    };
    let mut done = match done {
        Ok(done) => done,
        Err(Error::Timeout | Error::WouldBlock) => {
            books.timeouts.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let chosen = done.index();
    for case in receives {
        assert_eq!(case.index() == chosen, {
            match done.received(case) {
                Some(value) => {
                    received(books, value.unwrap());
                    true
                }
                None => false,
            }
        });
    }
    for (case, number) in sends {
        if case.index() == chosen {
            done.sent(case).unwrap().unwrap();
            sent(books, number);
            assert!(done.unsent(case).is_none());
        } else {
            assert_eq!(done.unsent(case).unwrap().number, number);
        }
    }
}

/// Threads with tasklets that all select, or send and receive plainly, over the same channels: each
/// value that was sent arrives once, and none is left.
#[test]
fn a_storm_of_selects_loses_nothing() {
    const THREADS: u64 = 4;
    let (tasklets, rounds) = if MANY > 1_000 { (8, 400) } else { (4, 25) };
    let books = Arc::new(Books::default());
    let channels: Vec<Far<Value>> = (0..5).map(|_| Far::new()).collect();
    let start = Arc::new(Barrier::new(THREADS as usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let (books, channels, start) = (books.clone(), channels.clone(), start.clone());
            thread::spawn(move || {
                let near = Channel::new();
                start.wait();
                let all: Vec<_> = (0..tasklets)
                    .map(|i| {
                        let (books, near) = (books.clone(), near.clone());
                        let channels = channels.clone();
                        let mut dice = Random(0x9E37_79B9_7F4A_7C15 ^ (number * 1000 + i + 1));
                        join::spawn(move || {
                            for _ in 0..rounds {
                                if dice.below(5) > 0 {
                                    one_select(&books, &channels, &near, &mut dice);
                                    continue;
                                }
                                let on = &channels[dice.below(5) as usize];
                                let time = Duration::from_micros(dice.below(2000));
                                if dice.below(2) == 0 {
                                    if let Ok(value) = on.receive_timeout(time) {
                                        received(&books, value);
                                    }
                                } else {
                                    let value = Value::new(&books);
                                    let number = value.number;
                                    if on.send_timeout(value, time).is_ok() {
                                        sent(&books, number);
                                    }
                                }
                            }
                            Ok(())
                        })
                        .unwrap()
                    })
                    .collect();
                join::all(all).unwrap();
                assert_eq!(near.balance(), 0);
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert!(channels.iter().all(|channel| channel.balance() == 0));
    let (sent, received) = (books.sent.lock().unwrap(), books.received.lock().unwrap());
    assert!(
        sent.len() as u64 > THREADS * tasklets * rounds / 50,
        "{} sent",
        sent.len()
    );
    assert_eq!(*sent, *received);
    assert_eq!(
        books.live.load(Ordering::SeqCst),
        0,
        "each was dropped once"
    );
}

/// A thread that waits in a select sleeps, and is woken: the round trip of a value through two
/// selects.
#[test]
fn selects_of_two_threads_play_ping_pong() {
    let (ping, pong, stop) = (Far::<u64>::new(), Far::<u64>::new(), Far::<()>::new());
    let (to, from, end) = (pong.clone(), ping.clone(), stop.clone());
    let (ready, is_ready) = mpsc::channel();
    let other = thread::spawn(move || {
        ready.send(()).unwrap();
        loop {
            let mut select = Select::new();
            let (number, stopped) = (select.receive(&from), select.receive(&end));
            let mut done = select.wait().unwrap();
            if done.received(stopped).is_some() {
                return;
            }
            to.send(done.received(number).unwrap().unwrap() + 1)
                .unwrap();
        }
    });
    is_ready.recv().unwrap();
    for i in 0..MANY {
        ping.send(i).unwrap();
        let mut select = Select::new();
        let (answer, stopped) = (select.receive(&pong), select.receive(&stop));
        let mut done = select.wait_timeout(MS(60_000)).unwrap();
        assert!(done.received(stopped).is_none());
        assert_eq!(done.received(answer).unwrap().unwrap(), i + 1);
    }
    stop.send(()).unwrap();
    other.join().unwrap();
}

/// A select that waits is met by at most one at a time. Who could not meet it, since a channel
/// callback is running, leaves it to the others.
#[test]
fn a_select_is_free_for_others_when_a_callback_was_refused() {
    thread::spawn(|| {
        let (full, far) = (QueueChannel::bounded(1), Far::new());
        full.send(1).unwrap();
        let (queue, theirs) = (full.clone(), far.clone());
        let waits = spawn(move || {
            let mut select = Select::new();
            let sends = select.send(&queue, 2);
            let receives = select.receive(&theirs);
            let mut done = select.wait_timeout(Duration::from_secs(60))?;
            assert_ne!(done.index(), sends.index());
            assert_eq!(done.received(receives).expect("this case")?, 7);
            Ok(())
        });
        let waits = waits.unwrap();
        run().unwrap();
        let queue = full.clone();
        hardswitch::set_channel_callback(Some(Rc::new(move |_, _, _, _| {
            let mut select = Select::new();
            select.receive(&queue);
            let refused = select.try_wait().err();
            assert!(matches!(
                refused,
                Some(Error::State(StateError::RecursiveChannel))
            ));
        })));
        let other = Channel::<u32>::new();
        assert!(matches!(
            other.try_send(1),
            Err((Error::WouldBlock, Some(1)))
        ));
        let from = other.clone();
        let asks = spawn(move || from.receive().map(drop)).unwrap();
        run().unwrap();
        hardswitch::set_channel_callback(None);
        let sender = thread::spawn(move || far.send_timeout(7, Duration::from_secs(30)).is_ok());
        eventually("it is met", || {
            MainLoop::current().unwrap().tick().unwrap();
            !waits.is_alive()
        });
        assert!(sender.join().unwrap());
        asks.kill().unwrap();
    })
    .join()
    .unwrap();
}
