//! `select` over several channels: which case, what counts, and how it ends.
#![cfg(feature = "std")]

mod common;

use common::{fresh, told, Log, Stacks};
use hardswitch::{
    current, run, run_count, schedule, Channel, Error, MainLoop, Preference, QueueChannel, Result,
    Select, Selected, StateError, Tasklet,
};
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::time::Duration;

fn channels<const N: usize>() -> [Channel<i64>; N] {
    std::array::from_fn(|_| Channel::new())
}

/// Waits to receive from all of them; logs the case and the value.
fn receiver(s: Stacks, log: &Log, from: &[Channel<i64>]) -> Tasklet {
    let (log, from) = (log.clone(), from.to_vec());
    let t = s.spawn(move || {
        let mut select = Select::new();
        let cases: Vec<_> = from.iter().map(|c| select.receive(c)).collect();
        let mut done = select.wait()?;
        let i = done.index();
        match done.received(cases[i]).expect("the case that was chosen") {
            Ok(value) => log.add(format!("{i}:{value}")),
            Err(error) => log.add(format!("{i}:{error}")),
        }
        Ok(())
    });
    t.run().expect("it waits");
    t
}

fn balances(channels: &[Channel<i64>]) -> Vec<isize> {
    channels.iter().map(Channel::balance).collect()
}

/// Rust ends a process in which a second destructor panics while the first panic goes on.
#[test]
fn two_values_that_a_select_did_not_send_may_both_panic() {
    struct Bad(Rc<Cell<u32>>);
    impl Drop for Bad {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            std::panic::resume_unwind(Box::new("a destructor's panic"));
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let channel = Channel::new();
    let mut select = Select::new();
    for _ in 0..2 {
        select.send(&channel, Bad(dropped.clone()));
    }
    let failed = select.wait_timeout(Duration::from_millis(1));
    assert!(matches!(failed, Err(Error::Timeout)));
    assert_eq!(dropped.get(), 2);
}

#[test]
fn a_waiting_select_counts_in_each_balance_and_is_in_each_queue() {
    fresh(|s| {
        let c = channels::<3>();
        let log = Log::default();
        let t = receiver(s, &log, &c);
        assert_eq!(balances(&c), [-1, -1, -1]);
        assert!(c.iter().all(|c| c.queue().as_ref() == Some(&t)));
        assert!(t.is_blocked() && t.is_scheduled() && t.is_alive() && !t.is_paused());
        assert_eq!(t.blocked_direction(), 0);
        assert_eq!((t.next(), t.prev()), (None, None));
        let handles = hardswitch::tasklets().len();
        assert_eq!(handles, 2, "stand-ins are no tasklets");
        assert_eq!(hardswitch::stats().tasklets, 2);
        c[1].send(5).unwrap();
        assert_eq!(balances(&c), [0, 0, 0]);
        assert!(c.iter().all(|c| c.queue().is_none()));
        run().unwrap();
        assert_eq!(log.take(), "1:5");
        assert!(!t.is_alive());
    });
}

#[test]
fn the_queue_of_a_channel_keeps_its_order_around_a_select() {
    fresh(|s| {
        let [a, b] = channels();
        let log = Log::default();
        let plain = |name: &'static str| {
            let (log, a) = (log.clone(), a.clone());
            let t = s.spawn(move || {
                log.add(format!("{name}:{}", a.receive()?));
                Ok(())
            });
            t.run().unwrap();
            t
        };
        let first = plain("first");
        let t = receiver(s, &log, &[a.clone(), b.clone()]);
        let last = plain("last");
        assert_eq!(a.balance(), -3);
        assert_eq!(a.queue(), Some(first.clone()));
        assert_eq!(first.next(), Some(t.clone()));
        assert_eq!(last.prev(), Some(t));
        a.send_sequence(1..4).unwrap();
        run().unwrap();
        assert_eq!(log.take(), "first:1 0:2 last:3");
        assert_eq!((a.balance(), b.balance()), (0, 0));
    });
}

#[test]
fn a_case_that_can_be_done_is_done_without_waiting() {
    fresh(|s| {
        let [a, b] = channels();
        let sender = b.clone();
        let t = s.spawn(move || sender.send(7));
        t.run().unwrap();
        let mut select = Select::new();
        let from_a = select.receive(&a);
        let from_b = select.receive(&b);
        let _trap = hardswitch::block_trap();
        let mut done = select.wait().unwrap();
        assert_eq!(done.index(), 1);
        assert!(done.received(from_a).is_none());
        assert_eq!(done.received(from_b).unwrap().unwrap(), 7);
        assert!(done.received(from_b).is_none(), "once");
        assert_eq!((a.balance(), b.balance()), (0, 0));
    });
}

#[test]
fn a_send_case_hands_its_value_over_and_others_give_theirs_back() {
    fresh(|s| {
        let [a, b] = channels();
        let log = Log::default();
        let (ca, cb, logs) = (a.clone(), b.clone(), log.clone());
        let t = s.spawn(move || {
            let mut select = Select::new();
            let to_a = select.send(&ca, 10);
            let to_b = select.send(&cb, 20);
            let mut done = select.wait()?;
            assert!(done.sent(to_a).is_none());
            done.sent(to_b).expect("this one")?;
            assert_eq!(done.unsent(to_a), Some(10));
            assert_eq!((done.unsent(to_a), done.unsent(to_b)), (None, None));
            logs.add("sent");
            Ok(())
        });
        t.run().unwrap();
        assert_eq!((a.balance(), b.balance()), (1, 1));
        assert_eq!(b.receive().unwrap(), 20);
        assert_eq!((a.balance(), b.balance()), (0, 0));
        run().unwrap();
        assert_eq!(log.take(), "sent");
    });
}

#[test]
fn two_selects_can_meet() {
    fresh(|s| {
        let [a, b, c] = channels();
        let log = Log::default();
        let t = receiver(s, &log, &[a.clone(), b.clone()]);
        let (cb, cc) = (b.clone(), c.clone());
        let u = s.spawn(move || {
            let mut select = Select::new();
            let never = select.receive(&cc);
            let to_b = select.send(&cb, 3);
            let mut done = select.wait()?;
            assert!(done.received(never).is_none());
            done.sent(to_b).unwrap()
        });
        run().unwrap();
        assert_eq!(log.take(), "1:3");
        assert!(!t.is_alive() && !u.is_alive());
        assert_eq!(balances(&[a, b, c]), [0, 0, 0]);
    });
}

/// How often, in `draws` tries that have `p` as their chance of success: within six standard
/// deviations. (A fair choice is outside once in 500 million.)
fn is_likely(successes: usize, draws: usize, p: f64) -> bool {
    let (n, got) = (draws as f64, successes as f64);
    (got - n * p).abs() < 6.0 * (n * p * (1.0 - p)).sqrt()
}

#[test]
fn each_case_that_can_be_done_has_the_same_chance() {
    fresh(|_| {
        const DRAWS: usize = 30_000;
        let queues: Vec<_> = (0..4).map(|_| QueueChannel::unbounded()).collect();
        let put = |i: usize| queues[i].send(()).unwrap();
        (0..4).filter(|&i| i != 1).for_each(put);
        // Number 1 is never ready: its share goes to all others alike.
        let choose = |cases: &[usize]| {
            let mut select = Select::new();
            for &i in cases {
                select.receive(&queues[i]);
            }
            let chosen = cases[select.wait().unwrap().index()];
            put(chosen);
            chosen
        };
        let (mut of_three, mut of_two) = ([0; 4], [0; 4]);
        let (mut again, mut last) = (0, 0);
        for _ in 0..DRAWS {
            // Two selects in turn: neither depends on what the other does.
            let chosen = choose(&[0, 1, 2, 3]);
            of_three[chosen] += 1;
            again += usize::from(chosen == last);
            last = chosen;
            of_two[choose(&[0, 2])] += 1;
        }
        assert_eq!(of_three[1], 0);
        for i in [0, 2, 3] {
            assert!(is_likely(of_three[i], DRAWS, 1.0 / 3.0), "{of_three:?}");
        }
        // Nor does one that comes next depend on the one before.
        assert!(is_likely(again, DRAWS, 1.0 / 3.0), "{again}");
        assert!(is_likely(of_two[0], DRAWS, 0.5), "{of_two:?}");
        assert_eq!(of_two[0] + of_two[2], DRAWS);
    });
}

#[test]
fn each_closed_case_has_the_same_chance_too() {
    fresh(|_| {
        const DRAWS: usize = 10_000;
        let c = channels::<3>();
        c[0].close();
        c[2].close();
        let mut counts = [0; 3];
        for _ in 0..DRAWS {
            let mut select = Select::new();
            for c in &c {
                select.receive(c);
            }
            counts[select.wait().unwrap().index()] += 1;
        }
        assert!(is_likely(counts[0], DRAWS, 0.5), "{counts:?}");
        assert_eq!(counts[1], 0);
    });
}

#[test]
fn a_select_in_order_takes_the_first_that_can_be_done() {
    fresh(|s| {
        let c = channels::<3>();
        for channel in &c[1..] {
            let channel = channel.clone();
            s.spawn(move || loop {
                if let Err(error) = channel.send(0) {
                    break Err::<(), _>(error);
                }
            });
        }
        schedule().unwrap();
        for _ in 0..20 {
            let mut select = Select::new();
            for c in &c {
                select.receive(c);
            }
            assert_eq!(select.in_order().wait().unwrap().index(), 1);
            schedule().unwrap();
        }
    });
}

#[test]
fn a_select_is_met_in_the_same_order_as_a_tasklet_that_waits_there_alone() {
    fresh(|s| {
        // Stackless: the preferred receiver runs at once and the sender becomes the last; else the
        // sender goes on.
        let expected = [
            (Preference::Receiver, false, "got other went-on"),
            (Preference::Neither, false, "went-on other got"),
            (Preference::Sender, false, "went-on other got"),
            (Preference::Receiver, true, "other got went-on"),
        ];
        for (preference, all, order) in expected {
            for plain in [true, false] {
                let [a, b] = channels();
                a.set_preference(preference);
                a.set_schedule_all(all);
                let log = Log::default();
                let (ca, logs) = (a.clone(), log.clone());
                let t = s.spawn(move || {
                    if plain {
                        ca.receive()?;
                    } else {
                        let mut select = Select::new();
                        select.receive(&ca);
                        select.receive(&b);
                        drop(select.wait()?);
                    }
                    logs.add("got");
                    Ok(())
                });
                t.run().unwrap();
                let logs = log.clone();
                s.spawn(move || {
                    a.send(1)?;
                    logs.add("went-on");
                    schedule()
                });
                let logs = log.clone();
                s.spawn(move || logs.add("other"));
                run().unwrap();
                assert_eq!(
                    log.take(),
                    order,
                    "{preference:?}, all {all}, plain {plain}"
                );
            }
        }
    });
}

#[test]
fn schedule_all_holds_for_selects_too() {
    fresh(|s| {
        let [a, b] = channels();
        a.set_schedule_all(true);
        let log = Log::default();
        receiver(s, &log, &[a.clone(), b.clone()]);
        let (logs, sender) = (log.clone(), a.clone());
        s.spawn(move || {
            sender.send(1)?;
            logs.add("sent");
            Ok(())
        });
        let logs = log.clone();
        s.spawn(move || logs.add("other"));
        run().unwrap();
        assert_eq!(log.take(), "other 0:1 sent");
        assert!(a.schedule_all());
        a.set_schedule_all(false);
        assert!(!a.schedule_all());
    });
}

#[test]
fn a_killed_select_leaves_all_channels() {
    fresh(|s| {
        for pending in [false, true] {
            let c = channels::<3>();
            let t = receiver(s, &Log::default(), &c);
            assert_eq!(balances(&c), [-1; 3]);
            if pending {
                t.kill_pending().unwrap();
                assert_eq!(balances(&c), [0; 3], "at once, though it dies later");
                assert!(t.is_alive() && !t.is_blocked());
                assert!(matches!(
                    c[0].try_send(1),
                    Err((Error::WouldBlock, Some(1)))
                ));
                run().unwrap();
            } else {
                t.kill().unwrap();
            }
            assert!(!t.is_alive());
            assert_eq!(balances(&c), [0; 3]);
        }
    });
}

#[test]
fn a_forgotten_select_is_killed_with_its_thread() {
    let dropped = Rc::new(());
    // Not sent anywhere: made over there.
    drop(dropped);
    std::thread::spawn(|| {
        let c = channels::<2>();
        receiver(Stacks::Own, &Log::default(), &c);
        // The channels' handles go after the tasklet: with main.
        hardswitch::current().set_user_data(Some(Rc::new(c)));
    })
    .join()
    .unwrap();
}

#[test]
fn an_error_thrown_at_a_select_comes_out_of_it_and_values_are_dropped_once() {
    fresh(|s| {
        let value = Rc::new(());
        let channel: Channel<Rc<()>> = Channel::new();
        let (sends, c) = (value.clone(), channel.clone());
        let t = s.spawn(move || {
            let mut select = Select::new();
            select.send(&c, sends);
            select.wait().map(drop)
        });
        t.run().unwrap();
        assert_eq!(Rc::strong_count(&value), 2);
        let result = t.throw(Error::thrown("oops"));
        assert!(
            matches!(result, Err(Error::Thrown(_))),
            "uncaught, it comes to main"
        );
        assert!(!t.is_alive());
        assert_eq!(Rc::strong_count(&value), 1);
        assert_eq!(channel.balance(), 0);
    });
}

#[test]
fn an_error_that_is_sent_belongs_to_its_case() {
    fresh(|s| {
        let [a, b] = channels();
        let log = Log::default();
        // The select comes first ...
        receiver(s, &log, &[a.clone(), b.clone()]);
        b.send_throw(Error::exception(std::fmt::Error)).unwrap();
        run().unwrap();
        // ... and second.
        let sender = b.clone();
        s.spawn(move || sender.send_throw(Error::exception(std::fmt::Error)))
            .run()
            .unwrap();
        receiver(s, &log, &[a, b]);
        run().unwrap();
        let oops = std::fmt::Error.to_string();
        assert_eq!(log.take(), format!("1:{oops} 1:{oops}"));
    });
}

#[test]
fn a_closed_channel_is_a_case_of_its_own() {
    fresh(|s| {
        let [a, b] = channels();
        b.close();
        let log = Log::default();
        receiver(s, &log, &[a.clone(), b.clone()]);
        assert_eq!(log.take(), format!("1:{}", Error::Closed));
        // One that can be done wins.
        let sender = a.clone();
        s.spawn(move || sender.send(4)).run().unwrap();
        receiver(s, &log, &[b, a]);
        assert_eq!(log.take(), "1:4");
    });
}

#[test]
fn close_and_wake_ends_a_select_with_that_case() {
    fresh(|s| {
        let c = channels::<2>();
        let log = Log::default();
        receiver(s, &log, &c);
        assert_eq!(c[1].close_and_wake(), 1);
        assert_eq!(balances(&c), [0, 0]);
        run().unwrap();
        assert_eq!(log.take(), format!("1:{}", Error::Closed));
    });
}

#[test]
fn a_select_that_must_not_or_cannot_wait_says_so_and_changes_nothing() {
    fresh(|s| {
        let [a, b] = channels();
        let both = || {
            let mut select = Select::new();
            select.receive(&a);
            select.receive(&b);
            select
        };
        assert_eq!(told(both().try_wait()), Error::WouldBlock.to_string());
        assert_eq!(told(both().wait()), Error::Deadlock.to_string());
        {
            let _trap = hardswitch::block_trap();
            assert_eq!(told(both().wait()), Error::BlockTrap.to_string());
        }
        let t = s.spawn(|| ());
        {
            let _trap = hardswitch::switch_trapped();
            assert_eq!(told(both().wait()), "switch_trap");
        }
        assert_eq!(
            told(Select::new().wait()),
            StateError::SelectNothing.message()
        );
        let mut select = Select::new();
        select.receive(&a);
        select.send(&a, 1);
        assert_eq!(told(select.wait()), StateError::SelectBothWays.message());
        assert_eq!((a.balance(), b.balance(), run_count()), (0, 0, 2));
        assert!(current().is_current() && t.is_scheduled());
        run().unwrap();
    });
}

#[test]
fn several_cases_on_one_channel_count_each() {
    fresh(|s| {
        let [a] = channels();
        let log = Log::default();
        receiver(s, &log, &[a.clone(), a.clone()]);
        assert_eq!(a.balance(), -2);
        a.send(1).unwrap();
        assert_eq!(a.balance(), 0);
        run().unwrap();
        assert_eq!(log.take(), "0:1");
    });
}

#[test]
fn main_in_a_select_is_served_and_told_when_nobody_is_left() {
    fresh(|s| {
        let [a, b] = channels();
        let both = || {
            let mut select = Select::new();
            let cases = (select.receive(&a), select.receive(&b));
            (select, cases)
        };
        let sender = b.clone();
        s.spawn(move || sender.send(9));
        let (select, (_, from_b)) = both();
        let mut done: Selected = select.wait().unwrap();
        assert_eq!(done.received(from_b).unwrap().unwrap(), 9);
        // The last one ends while main waits.
        s.spawn(|| ());
        assert_eq!(told(both().0.wait()), Error::Deadlock.to_string());
        s.spawn(|| Err::<(), _>(Error::exception(std::fmt::Error)));
        assert_eq!(told(both().0.wait()), std::fmt::Error.to_string());
        assert_eq!((a.balance(), b.balance(), run_count()), (0, 0, 1));
    });
}

#[test]
fn the_channel_callback_is_told_about_each_case_that_waits() {
    fresh(|s| {
        let [a, b] = channels();
        let log = Log::default();
        let (logs, id) = (log.clone(), a.id());
        hardswitch::set_channel_callback(Some(Rc::new(move |channel, _, sending, blocks| {
            let name = if channel == id { "a" } else { "b" };
            logs.add(format!("{name} {sending} {blocks};"));
        })));
        let t = receiver(s, &Log::default(), &[a, b.clone()]);
        assert_eq!(log.take(), "a false true; b false true;");
        b.send(1).unwrap();
        assert_eq!(log.take(), "b true false;");
        hardswitch::set_channel_callback(None);
        drop(t);
    });
}

#[test]
fn a_channel_that_goes_away_under_a_select_leaves_it_paused() {
    // As with a plain receive whose channel goes: only possible when its frames hold no handle. A
    // select holds one.
    fresh(|s| {
        let t = {
            let c = channels::<2>();
            receiver(s, &Log::default(), &c)
        };
        assert!(t.is_blocked(), "the select keeps its channels");
        t.kill().unwrap();
    });
}

#[test]
fn fast_paths_are_back_when_the_select_is_gone() {
    fresh(|s| {
        let [a, b] = channels();
        let log = Log::default();
        for round in 0..3 {
            receiver(s, &log, &[a.clone(), b.clone()]);
            b.send(round).unwrap();
            run().unwrap();
            let (logs, c) = (log.clone(), a.clone());
            s.spawn(move || {
                logs.add(c.receive()?);
                Ok(())
            });
            a.send(100 + round).unwrap();
            run().unwrap();
        }
        assert_eq!(log.take(), "1:0 100 1:1 101 1:2 102");
    });
}

#[test]
fn many_selects_share_many_channels_and_lose_nothing() {
    fresh(|s| {
        const CHANNELS: usize = 7;
        const EACH: i64 = 200;
        let all: Vec<Channel<i64>> = (0..CHANNELS).map(|_| Channel::new()).collect();
        let sum = Rc::new(Cell::new(0i64));
        let count = Rc::new(Cell::new(0usize));
        for i in 0..5 {
            let (all, sum, count) = (all.clone(), sum.clone(), count.clone());
            s.spawn(move || -> Result<()> {
                loop {
                    let mut select = Select::new();
                    let cases: Vec<_> = (0..3)
                        .map(|k| select.receive(&all[(i + 2 * k) % CHANNELS]))
                        .collect();
                    let mut done = select.wait()?;
                    match done.received(cases[done.index()]).unwrap() {
                        Ok(value) => {
                            sum.set(sum.get() + value);
                            count.set(count.get() + 1);
                        }
                        Err(Error::Closed) => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
            });
        }
        for i in 0..4 {
            let all = all.clone();
            s.spawn(move || {
                for value in 0..EACH {
                    let mut select = Select::new();
                    let to = select.send(&all[(value as usize + i) % CHANNELS], value);
                    let or = select.send(&all[(value as usize + i + 3) % CHANNELS], value);
                    let mut done = select.wait()?;
                    if let Some(sent) = done.sent(to) {
                        sent?;
                    } else {
                        done.sent(or).unwrap()?;
                    }
                    if value % 7 == 0 {
                        schedule()?;
                    }
                }
                Ok(())
            });
        }
        run().unwrap();
        assert_eq!(count.get(), 4 * EACH as usize);
        assert_eq!(sum.get(), 4 * (EACH * (EACH - 1) / 2));
        for channel in &all {
            channel.close_and_wake();
        }
        run().unwrap();
        assert!(all.iter().all(|c| c.balance() == 0));
        assert_eq!(hardswitch::stats().tasklets, 1, "all have ended");
    });
}

/// A small generator: the same numbers every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

#[test]
fn whatever_ends_them_selects_leave_nothing_behind_and_lose_no_value() {
    use hardswitch::{run_with, time, Budget};
    use std::time::Duration;
    const CHANNELS: usize = 4;
    const TASKLETS: usize = 12;
    thread_local!(static NOW: Cell<u64> = const { Cell::new(0) });
    fresh(|s| {
        for seed in 1..=40u64 {
            time::set_clock(Some(|| NOW.get()));
            let channels: Vec<Channel<Rc<()>>> = (0..CHANNELS).map(|_| Channel::new()).collect();
            let value = Rc::new(());
            let preferences = [
                Preference::Receiver,
                Preference::Neither,
                Preference::Sender,
            ];
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for channel in &channels {
                channel.set_preference(preferences[dice.roll(3)]);
                channel.set_schedule_all(dice.roll(4) == 0);
            }
            let tasklets: Vec<Tasklet> = (0..TASKLETS)
                .map(|i| {
                    let (channels, value) = (channels.clone(), value.clone());
                    let mut dice = Dice(seed << 8 | i as u64 | 1);
                    s.spawn(move || -> Result<()> {
                        for _ in 0..30 {
                            let mut select = Select::new();
                            // Each channel at most once: sending or receiving.
                            for channel in &channels {
                                match dice.roll(3) {
                                    0 => drop(select.receive(channel)),
                                    1 => drop(select.send(channel, value.clone())),
                                    _ => {}
                                }
                            }
                            let time = Duration::from_nanos(1 + dice.roll(50) as u64);
                            let done = match dice.roll(4) {
                                0 => select.try_wait(),
                                _ => select.wait_timeout(time),
                            };
                            match done {
                                Ok(_) | Err(Error::Timeout | Error::WouldBlock) => {}
                                Err(error) => return Err(error),
                            }
                            match dice.roll(6) {
                                0 => drop(channels[dice.roll(CHANNELS)].try_receive()),
                                1 => drop(channels[dice.roll(CHANNELS)].try_send(value.clone())),
                                2 => schedule()?,
                                _ => {}
                            }
                        }
                        Ok(())
                    })
                })
                .collect();
            while tasklets.iter().any(Tasklet::is_alive) {
                let _ = run_with(Budget::switches(1 + dice.roll(9) as u64));
                NOW.set(NOW.get() + dice.roll(20) as u64);
                time::fire_due();
                let victim = &tasklets[dice.roll(TASKLETS)];
                let channel = &channels[dice.roll(CHANNELS)];
                match dice.roll(40) {
                    0 => victim.kill().unwrap(),
                    1 => victim.kill_pending().unwrap(),
                    2 => {
                        channel.close_and_wake();
                    }
                    3 | 4 => channel.open(),
                    _ => {}
                }
            }
            for (i, channel) in channels.iter().enumerate() {
                assert_eq!(channel.balance(), 0, "seed {seed}, channel {i}");
                assert!(channel.queue().is_none());
            }
            drop(tasklets);
            assert_eq!((time::timeouts(), run_count()), (0, 1), "seed {seed}");
            assert_eq!(Rc::strong_count(&value), 1, "seed {seed}");
            assert_eq!(hardswitch::stats().tasklets, 1, "seed {seed}");
        }
    });
}

// --- Channels with a queue

/// A select that receives from the queue, or else from the channel.
fn either(queue: &QueueChannel<i64>, channel: &Channel<i64>) -> hardswitch::Result<(usize, i64)> {
    let mut select = Select::new();
    let (first, second) = (select.receive(queue), select.receive(channel));
    let mut done = select.in_order().wait()?;
    let value = match done.received(first) {
        Some(value) => value?,
        None => done.received(second).expect("one of the two")?,
    };
    Ok((done.index(), value))
}

#[test]
fn a_queue_with_a_value_is_ready_to_receive_from() {
    fresh(|s| {
        let (queue, channel) = (QueueChannel::bounded(2), Channel::new());
        queue.send_sequence([1, 2]).unwrap();
        let q = queue.clone();
        let waiting = s.spawn(move || q.send(3));
        schedule().unwrap();
        assert!(waiting.is_blocked());
        assert_eq!(either(&queue, &channel).unwrap(), (0, 1));
        assert!(
            waiting.is_scheduled() && !waiting.is_blocked(),
            "there is room"
        );
        assert_eq!(queue.len(), 2);
        queue.close();
        assert_eq!(
            either(&queue, &channel).unwrap(),
            (0, 2),
            "what is queued can be had"
        );
        assert_eq!(either(&queue, &channel).unwrap(), (0, 3));
        assert_eq!(told(either(&queue, &channel)), Error::Closed.to_string());
        let sender = channel.clone();
        s.spawn(move || sender.send(4));
        schedule().unwrap();
        assert_eq!(either(&queue, &channel).unwrap(), (1, 4));
        run().unwrap();
    });
}

#[test]
fn an_empty_queue_is_waited_for() {
    fresh(|s| {
        for bound in [0, 1, usize::MAX] {
            let log = Log::default();
            let (queue, channel) = (QueueChannel::bounded(bound), Channel::new());
            let (q, c, logs) = (queue.clone(), channel.clone(), log.clone());
            let t = s.spawn(move || {
                for _ in 0..3 {
                    let (case, value) = either(&q, &c)?;
                    logs.add(format_args!("{case}:{value}"));
                }
                Ok(())
            });
            run().unwrap();
            assert_eq!((queue.balance(), channel.balance()), (-1, -1));
            assert_eq!(queue.queue(), Some(t.clone()));
            queue.send(5).unwrap();
            assert_eq!((queue.balance(), channel.balance()), (0, 0));
            assert!(t.is_scheduled(), "woken, and not switched to");
            run().unwrap();
            channel.send(6).unwrap();
            run().unwrap();
            assert_eq!(log.take(), "0:5 1:6");
            queue.send_throw(Error::WrongType).unwrap();
            assert!(matches!(run(), Err(Error::WrongType)));
            assert_eq!((queue.balance(), channel.balance()), (0, 0));
        }
    });
}

#[test]
fn a_send_to_a_queue_waits_while_it_is_full() {
    fresh(|s| {
        for bound in [0, 1, 3] {
            let log = Log::default();
            let (queue, stop) = (QueueChannel::bounded(bound), Channel::<i64>::new());
            let (q, c, logs) = (queue.clone(), stop.clone(), log.clone());
            let t = s.spawn(move || {
                for value in 0.. {
                    let mut select = Select::new();
                    let send = select.send(&q, Box::new([value; 3]));
                    let stopped = select.receive(&c);
                    let mut done = select.wait()?;
                    if let Some(sent) = done.sent(send) {
                        sent?;
                        logs.add(value);
                    } else if let Some(stop) = done.received(stopped) {
                        assert_eq!(done.unsent(send).as_deref(), Some(&[value; 3]));
                        assert_eq!(stop?, -1);
                        break;
                    }
                }
                Ok(())
            });
            run().unwrap();
            let full: Vec<_> = (0..bound).map(|i| i.to_string()).collect();
            assert_eq!(log.take(), full.join(" "));
            assert_eq!((queue.len(), queue.balance()), (bound, bound as isize + 1));
            // Behind it, another one.
            let q = queue.clone();
            s.spawn(move || q.send(Box::new([100; 3])));
            run().unwrap();
            for value in 0..bound {
                assert_eq!(*queue.receive().unwrap(), [value; 3]);
                assert!(t.is_scheduled() || value > 0);
            }
            assert_eq!(*queue.receive().unwrap(), [bound; 3]);
            assert_eq!(
                *queue.receive().unwrap(),
                [100; 3],
                "in the order they came"
            );
            run().unwrap();
            stop.send(-1).unwrap();
            run().unwrap();
            assert!(!t.is_alive());
            assert_eq!((stop.balance(), queue.balance()), (0, queue.len() as isize));
        }
    });
}

#[test]
fn queues_in_a_select_end_as_channels_do() {
    fresh(|s| {
        let (queue, channel) = (QueueChannel::<i64>::bounded(1), Channel::<i64>::new());
        // Killed.
        let (q, c) = (queue.clone(), channel.clone());
        let t = s.spawn(move || either(&q, &c).map(drop));
        run().unwrap();
        t.kill().unwrap();
        assert_eq!((queue.balance(), channel.balance()), (0, 0));
        // Not waiting.
        let mut select = Select::new();
        select.receive(&queue);
        assert!(matches!(select.try_wait(), Err(Error::WouldBlock)));
        queue.send(1).unwrap();
        let mut select = Select::new();
        let send = select.send(&queue, 2);
        let waited = select.wait_timeout(Duration::from_millis(1));
        assert!(matches!(waited, Err(Error::Timeout)));
        assert_eq!((queue.balance(), send.index()), (1, 0));
        // Both ways.
        let mut select = Select::new();
        select.receive(&queue);
        select.send(&queue, 3);
        assert!(matches!(
            select.try_wait(),
            Err(Error::State(StateError::SelectBothWays))
        ));
        // Closed: it takes nothing any more, though there is room.
        queue.receive().unwrap();
        queue.close();
        let mut select = Select::new();
        let send = select.send(&queue, 4);
        let mut done = select.wait().unwrap();
        assert!(matches!(done.sent(send), Some(Err(Error::Closed))));
        assert_eq!((done.unsent(send), queue.len()), (Some(4), 0));
        // Closed while one waits.
        queue.open();
        let (q, c) = (queue.clone(), channel.clone());
        s.spawn(move || either(&q, &c).map(drop));
        run().unwrap();
        assert_eq!(queue.close_and_wake(), 1);
        assert!(matches!(run(), Err(Error::Closed)));
        assert_eq!(channel.balance(), 0);
        // Gone while one waits: the select keeps it.
        let (q, c) = (QueueChannel::<i64>::bounded(1), channel.clone());
        let t = s.spawn(move || either(&q, &c).map(drop));
        run().unwrap();
        channel.send(5).unwrap();
        run().unwrap();
        assert!(!t.is_alive());
    });
}

/// Main drives the loop, and an event that it runs panics.
#[test]
fn who_panics_while_it_drives_does_so_no_more() {
    fresh(|s| {
        let [c] = channels::<1>();
        let main_loop = MainLoop::current().unwrap();
        main_loop.remote().post(|| panic!("an event")).unwrap();
        let waits = AssertUnwindSafe(|| c.receive_timeout(Duration::from_secs(60)));
        catch_unwind(waits).unwrap_err();
        assert_eq!(c.balance(), 0);
        let other = s.spawn(schedule);
        other.run().unwrap();
        other.kill_pending().unwrap();
        run().unwrap();
        assert!(!other.is_alive());
    });
}

#[test]
fn what_somebody_put_into_the_slot_comes_back_from_a_select_that_fails() {
    fresh(|_| {
        let [channel] = channels();
        let me = hardswitch::current();
        let fails: [fn(Select) -> hardswitch::Result<hardswitch::Selected>; 2] = [
            |select| select.wait(),
            |select| select.wait_timeout(Duration::from_millis(1)),
        ];
        for fail in fails {
            drop(me.set_tempval(hardswitch::Value::new(5)));
            let mut select = Select::new();
            select.receive(&channel);
            let failed = fail(select);
            assert!(
                matches!(failed, Err(Error::Deadlock | Error::Timeout)),
                "{failed:?}"
            );
            assert_eq!(me.take_tempval().downcast::<i32>().unwrap(), 5);
        }
    });
}
