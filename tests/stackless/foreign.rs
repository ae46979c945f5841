//! Code of a user's that the library runs: clocks, destructors, callbacks. Whatever it does,
//! memory, values and queues stay whole.

use super::*;
use hardswitch::{main_loop, set_channel_callback, set_error_handler, set_schedule_callback};
use hardswitch::{time, MainLoop, Preference, Select, StateError, Value};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

#[path = "../common/mod.rs"]
mod common;

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Panics when dropped, without a message on standard error.
fn bad() -> OnDrop<impl FnMut()> {
    OnDrop(|| {
        if !std::thread::panicking() {
            resume_unwind(Box::new("a destructor's panic"));
        }
    })
}

thread_local! {
    static ARMED: Cell<u32> = const { Cell::new(0) };
    static NOW: Cell<u64> = const { Cell::new(0) };
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A clock that gives way at the `ARMED`th look.
fn clock_that_switches() -> u64 {
    NOW.set(NOW.get() + 1);
    ARMED.set(ARMED.get().wrapping_sub(1));
    if ARMED.get() == 0 {
        let result = told(hardswitch::schedule());
        TOLD.with(|told| told.borrow_mut().push(result));
    }
    NOW.get()
}

#[test]
fn a_clock_that_gives_way_in_the_middle_of_a_switch_is_refused() {
    for look in 1..12 {
        fresh_with(move |s| {
            time::set_clock(Some(clock_that_switches));
            hardswitch::set_statistics(true);
            let log = Log::default();
            let (first, second, third) = (log.clone(), log.clone(), log.clone());
            s.spawn(move || {
                ARMED.set(look);
                hardswitch::schedule()?;
                first.add("first");
                Ok(())
            });
            drop(s.spawn(move || second.add("second")));
            s.spawn(move || {
                hardswitch::schedule()?;
                third.add("third");
                Ok(())
            });
            hardswitch::run().unwrap();
            hardswitch::run_with(hardswitch::Budget::time(Duration::from_secs(1))).unwrap();
            assert_eq!(log.take(), "second first third");
            s.spawn(|| ());
            ARMED.set(1);
            time::now();
            let said = TOLD.with(|told| told.borrow().last().cloned());
            let refused = told::<()>(Err(StateError::RecursiveSchedule.into()));
            assert_eq!(said.expect("it was asked"), refused);
            time::set_clock(None);
            hardswitch::run().unwrap();
        });
    }
}

fn clock_that_panics() -> u64 {
    resume_unwind(Box::new("no time"));
}

#[test]
fn a_clock_that_panics_stands_still_and_harms_no_switch() {
    fresh(|s| {
        time::set_clock(Some(clock_that_panics));
        hardswitch::set_statistics(true);
        let c = Channel::new();
        s.receiver(&c);
        hardswitch::run().unwrap();
        c.send(1).unwrap();
        assert_eq!(time::now(), Some(Duration::ZERO));
        hardswitch::run_with(hardswitch::Budget::time(Duration::from_secs(1))).unwrap();
        time::set_clock(None);
    });
}

#[test]
fn a_value_by_hand_whose_end_kills_the_waiter_that_is_woken_is_dropped_after_that() {
    fresh(|s| {
        let ended = Rc::new(RefCell::new(String::new()));
        let seen = ended.clone();
        let sleeper = s.spawn(move || {
            // So long that it sleeps when its slot is filled, however slow the machine.
            let slept = main_loop::sleep(Duration::from_secs(2));
            *seen.borrow_mut() = told(slept);
        });
        hardswitch::run().unwrap();
        let (victim, kept) = (sleeper.clone(), Rc::new(()));
        let inside = kept.clone();
        let old = sleeper.set_tempval(Value::new(OnDrop(move || {
            // What it puts there itself is freed as well.
            drop(victim.set_tempval(Value::new(inside.clone())));
            let _ = victim.kill();
        })));
        drop(old);
        assert!(sleeper.is_blocked());
        let pumped = MainLoop::current().unwrap().pump(None);
        assert_eq!(pumped.unwrap(), 1);
        hardswitch::run().unwrap();
        assert!(!sleeper.is_alive());
        drop(sleeper);
        assert_eq!(Rc::strong_count(&kept), 1, "what the destructor put there");
        assert!(!ended.borrow().is_empty(), "the sleeper was told something");
    });
}

#[test]
fn what_panics_in_the_slot_of_who_is_woken_takes_nothing_from_who_wakes() {
    fresh(|s| {
        // A value for a queue's receiver has been handed over.
        let (queue, log) = (hardswitch::QueueChannel::unbounded(), Log::default());
        let (q, seen) = (queue.clone(), log.clone());
        let receiver = s.spawn(move || seen.add(q.receive().expect("a value")));
        hardswitch::run().unwrap();
        drop(receiver.set_tempval(Value::new(bad())));
        queue.send(5).unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "5");
        // All waits have ended, and are counted.
        let c = Channel::<i64>::new();
        let waits = [s.receiver(&c), s.receiver(&c)];
        hardswitch::run().unwrap();
        for waits in &waits {
            drop(waits.set_tempval(Value::new(bad())));
        }
        assert_eq!(c.close_and_wake(), 2);
        let _ = hardswitch::run();
        let _ = hardswitch::run();
        assert!(waits.iter().all(|waits| !waits.is_alive()));
    });
}

#[test]
fn what_destructors_put_into_the_slot_of_a_tasklet_that_ends_is_freed() {
    fresh(|s| {
        for fails in [false, true] {
            let kept = Rc::new(());
            let inside = kept.clone();
            s.spawn(move || {
                let me = hardswitch::current();
                drop(me.set_tempval(Value::new(OnDrop(move || {
                    let me = hardswitch::current();
                    drop(me.set_tempval(Value::new(inside.clone())));
                }))));
                match fails {
                    true => Err(Error::thrown("its own")),
                    false => Ok(()),
                }
            });
            assert_eq!(hardswitch::run().is_err(), fails);
            assert_eq!(Rc::strong_count(&kept), 1);
        }
    });
}

#[test]
fn a_destructor_that_panics_keeps_nothing_from_who_arrives() {
    fresh(|s| {
        let log = Log::default();
        let (newborn, receiver, queued) = (log.clone(), log.clone(), log.clone());
        let dies = || {
            let dies = s.spawn(|| ());
            drop(dies.set_user_data(Some(Rc::new(bad()))));
        };
        let c = Channel::<i64>::new();
        let from = c.clone();
        s.spawn(move || {
            receiver.add(from.receive()?);
            Ok(())
        });
        hardswitch::run().unwrap();
        dies();
        s.spawn(move || newborn.add("newborn"));
        dies();
        let give = c.clone();
        s.spawn(move || give.send(5));
        s.spawn(move || {
            hardswitch::schedule()?;
            queued.add("queued");
            Ok(())
        });
        dies();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "newborn 5 queued");
    });
}

#[test]
fn a_destructor_that_panics_as_its_tasklet_ends_is_contained() {
    fresh(|s| {
        s.spawn(|| {
            let me = hardswitch::current();
            drop(me.set_tempval(Value::new(bad())));
            Err::<(), _>(Error::thrown("its own"))
        });
        assert_eq!(
            told(hardswitch::run()),
            told::<()>(Err(Error::thrown("its own")))
        );
        s.spawn(|| {
            let me = hardswitch::current();
            drop(me.set_tempval(Value::new(bad())));
        });
        // Nothing but the destructor has failed.
        assert!(matches!(hardswitch::run(), Err(Error::Panicked(_))));
        hardswitch::run().unwrap();
    });
}

/// What main has in its slot makes room for an error, and its destructor binds the tasklet that
/// has just ended with that error, and to which only the list leads any more.
#[test]
fn a_destructor_that_binds_who_has_just_ended_takes_no_stack_from_anybody() {
    fresh_with(|s| {
        let bound = Rc::new(Cell::new(0));
        let count = bound.clone();
        let binds = OnDrop(move || {
            let ended = |tasklet: &Tasklet| !tasklet.is_alive() && !tasklet.is_main();
            for tasklet in hardswitch::tasklets().into_iter().filter(ended) {
                tasklet.bind(|| ()).unwrap();
                count.set(count.get() + 1);
            }
        });
        s.spawn(move || {
            hardswitch::main_tasklet().set_tempval(Value::new(binds));
            Err::<(), _>(Error::Timeout)
        });
        assert!(matches!(hardswitch::run(), Err(Error::Timeout)));
        assert_eq!(bound.get(), 1);
        let stats = hardswitch::stats();
        assert_eq!((stats.tasklets, stats.stacks, stats.slice_bytes), (1, 0, 0));
    });
}

#[test]
fn a_schedule_callback_cannot_bring_an_ended_tasklet_back() {
    fresh(|s| {
        set_schedule_callback(Some(Rc::new(|prev: Option<&Tasklet>, _: &Tasklet| {
            let prev = prev.expect("somebody leaves");
            if !prev.is_alive() {
                assert!(prev.insert().is_err());
                assert!(prev.run().is_err());
            }
        })));
        s.spawn(|| ());
        s.spawn(|| ());
        hardswitch::run().unwrap();
        set_schedule_callback(None);
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn a_schedule_callback_that_uses_channels_takes_nothing_from_who_leaves() {
    fresh(|s| {
        let (c, other) = (Channel::<i64>::new(), Channel::<i64>::new());
        other.set_preference(Preference::Neither);
        c.set_preference(Preference::Neither);
        let log = Log::default();
        for channel in [&c, &other] {
            let (channel, log) = (channel.clone(), log.clone());
            s.spawn(move || {
                log.add(channel.receive()?);
                Ok(())
            });
        }
        let from = (c.clone(), other.clone());
        set_schedule_callback(Some(Rc::new(move |_: Option<&Tasklet>, _: &Tasklet| {
            let _ = from.0.try_send(8);
            let _ = from.1.try_send(9);
            let _ = from.0.try_receive();
        })));
        let give = c.clone();
        s.spawn(move || give.send(1));
        hardswitch::run().unwrap();
        set_schedule_callback(None);
        while c.balance() > 0 {
            log.add(c.receive().unwrap());
        }
        hardswitch::run().unwrap();
        let got = log.take();
        assert_eq!(got.matches('1').count(), 1, "the sender's value: {got}");
    });
}

#[test]
fn too_many_handles_end_the_process_before_their_count_goes_round() {
    let (said, signal) = common::child(|| {
        let tasklet = hardswitch::spawn(|| ()).unwrap();
        hardswitch::testing::forget_handles(&tasklet, u32::MAX / 2 - 4);
        for _ in 0..8 {
            std::mem::forget(tasklet.clone());
        }
    });
    assert_eq!(signal, libc::SIGABRT, "{said}");
    assert!(said.contains("references to one tasklet"), "{said}");
}

#[test]
fn an_initialiser_under_a_guard_cannot_switch() {
    thread_local! {
        static TABLE: String = {
            let _guard = hardswitch::switch_trapped();
            told(hardswitch::schedule())
        };
    }
    fresh(|s| {
        let (a, b) = (s.spawn(|| TABLE.with(|_| ())), s.spawn(|| ()));
        drop((a, b));
        hardswitch::run().unwrap();
        let expected = told::<()>(Err(Error::SwitchTrap));
        assert_eq!(TABLE.with(String::clone), expected);
    });
}

#[test]
fn the_levels_of_the_switch_trap_do_not_go_round() {
    fresh(|s| {
        hardswitch::switch_trap(i32::MAX);
        let more = catch_unwind(|| std::mem::forget(hardswitch::switch_trapped()));
        assert!(more.is_err());
        s.spawn(|| Ok(())); // somebody to switch to: else `schedule` has nothing to refuse
        assert!(matches!(hardswitch::schedule(), Err(Error::SwitchTrap)));
        assert_eq!(hardswitch::switch_trap(-i32::MAX), i32::MAX);
        hardswitch::schedule().unwrap();
    });
}

#[test]
fn what_is_in_the_slot_by_hand_takes_nothing_from_who_waits_when_it_panics() {
    fresh(|s| {
        let c = Channel::<Rc<()>>::new();
        let kept = Rc::new(());
        let put = || drop(hardswitch::current().set_tempval(Value::new(bad())));
        let send = || {
            let (c, kept) = (c.clone(), kept.clone());
            s.spawn(move || c.send(kept));
        };
        send();
        put();
        drop(c.receive().expect("a sender has come"));
        send();
        put();
        drop(c.receive_timeout(Duration::from_secs(60)).unwrap());
        put();
        let back = hardswitch::schedule_with(Value::new(kept.clone())).unwrap();
        assert!(back.downcast::<Rc<()>>().is_ok());
        // What is thrown at who has such a thing is thrown, and the error that comes back comes.
        let told = Arc::new(());
        let inside = told.clone();
        let waits = s.spawn(move || match hardswitch::schedule() {
            Err(Error::Thrown(_)) => Err(Error::thrown(inside.clone())),
            other => other,
        });
        hardswitch::schedule().unwrap();
        drop(waits.set_tempval(Value::new(bad())));
        let answer = waits.throw(Error::thrown("in place"));
        assert!(matches!(&answer, Err(Error::Thrown(t)) if t.is::<Arc<()>>()));
        drop((answer, waits));
        hardswitch::run().unwrap();
        assert_eq!((Rc::strong_count(&kept), Arc::strong_count(&told)), (1, 1));
    });
}

#[test]
fn what_an_error_handler_answers_is_not_lost_when_the_handled_error_panics() {
    fresh(|s| {
        let answer = Arc::new(());
        let inside = answer.clone();
        set_error_handler(Some(Rc::new(move |_: &Error| {
            Err(Error::thrown(inside.clone()))
        })));
        s.spawn(|| Err::<(), _>(Error::thrown(bad())));
        assert!(matches!(hardswitch::run(), Err(Error::Panicked(_))));
        drop(set_error_handler(None));
        assert_eq!(Arc::strong_count(&answer), 1);
    });
}

#[test]
fn what_is_thrown_at_a_tasklet_that_has_ended_is_not_told_to_its_next_function() {
    fresh(|s| {
        let thrown = Arc::new(());
        let inside = thrown.clone();
        set_error_handler(Some(Rc::new(move |_: &Error| {
            let inside = inside.clone();
            let main_loop = MainLoop::current()?;
            let event = move || {
                for _ in 0..2 {
                    let thrown = Error::thrown(inside.clone());
                    hardswitch::current().throw(thrown).unwrap();
                }
            };
            main_loop.remote().post(event).expect("there is room");
            let first = main_loop.pump(Some(Duration::ZERO));
            assert!(first.is_err(), "the other one waits");
            Ok(())
        })));
        let tasklet = s.spawn(|| Err::<(), _>(Error::thrown("its own")));
        hardswitch::run().unwrap();
        drop(set_error_handler(None));
        assert_eq!(Arc::strong_count(&thrown), 1);
        tasklet.bind(hardswitch::schedule).unwrap();
        tasklet.setup().unwrap();
        hardswitch::run().unwrap();
    });
}

thread_local! {
    static AGAIN: RefCell<Option<Tasklet>> = const { RefCell::new(None) };
}

#[test]
fn what_is_bound_anew_to_a_tasklet_that_nobody_refers_to_is_dropped() {
    fresh(|s| {
        let kept = Arc::new(());
        let inside = kept.clone();
        let paused = s.spawn(move || {
            let _pumps = OnDrop(move || {
                let kept = inside.clone();
                let main_loop = MainLoop::current().unwrap();
                let event = move || {
                    let me = hardswitch::current();
                    let binds = OnDrop(move || {
                        let kept = kept.clone();
                        if let Some(tasklet) = AGAIN.take() {
                            tasklet.bind(move || drop(kept)).unwrap();
                        }
                    });
                    me.throw(Error::thrown("told at once")).unwrap();
                    // It waits no more: that is dropped when it has been left.
                    me.throw(Error::thrown(binds)).unwrap();
                    AGAIN.set(Some(me));
                };
                main_loop.remote().post(event).unwrap();
                assert!(main_loop.pump(Some(Duration::ZERO)).is_err());
            });
            hardswitch::schedule_remove()
        });
        hardswitch::run().unwrap();
        drop(paused);
        assert!(AGAIN.take().is_none(), "it was bound anew");
        assert_eq!(Arc::strong_count(&kept), 1);
    });
}

#[test]
fn what_a_thread_channel_has_handed_over_is_there_whatever_is_thrown_at_who_came_second() {
    use hardswitch::thread;
    fresh(|s| {
        for (sends, selects) in [(true, false), (false, false), (true, true), (false, true)] {
            let c = thread::Channel::<Arc<()>>::new();
            c.set_preference(match sends {
                true => Preference::Receiver,
                false => Preference::Sender,
            });
            let (log, kept) = (Log::default(), Arc::new(()));
            let second: Rc<RefCell<Option<Tasklet>>> = Rc::default();
            let (there, victim, value) = (c.clone(), second.clone(), kept.clone());
            s.spawn(move || {
                match sends {
                    true => drop(there.receive()?),
                    false => there.send(value)?,
                }
                let victim = victim.borrow().clone().expect("it came second");
                victim.throw_pending(Error::thrown("late"))
            });
            hardswitch::run().unwrap();
            let (told, value) = (log.clone(), kept.clone());
            *second.borrow_mut() = Some(s.spawn(move || {
                let mut select = Select::new();
                told.add(match (sends, selects) {
                    (true, false) => c.send(value).is_ok(),
                    (false, false) => c.receive().is_ok(),
                    (true, true) => {
                        let case = select.send(&c, value);
                        matches!(select.wait()?.sent(case), Some(Ok(())))
                    }
                    (false, true) => {
                        let case = select.receive(&c);
                        matches!(select.wait()?.received(case), Some(Ok(_)))
                    }
                });
                told.add(hardswitch::schedule().is_err());
                Ok(())
            }));
            hardswitch::run().unwrap();
            assert_eq!(log.take(), "true true", "sends {sends}, selects {selects}");
            assert_eq!(Arc::strong_count(&kept), 1);
        }
    });
}

/// A clock that ends what is due at the `ARMED`th look: an hour has passed.
fn clock_that_fires() -> u64 {
    NOW.set(NOW.get() + 1_000_000);
    ARMED.set(ARMED.get().wrapping_sub(1));
    if ARMED.get() == 0 {
        NOW.set(NOW.get() + 3_600_000_000_000);
        time::fire_due();
    }
    NOW.get()
}

#[test]
fn a_clock_that_ends_the_wait_it_is_asked_for_lets_nobody_sleep_on() {
    fresh(|_| {
        for look in 1..10 {
            ARMED.set(look);
            time::set_clock(Some(clock_that_fires));
            let told = Channel::<()>::new().receive_timeout(Duration::from_millis(10));
            assert!(matches!(told, Err(Error::Timeout)), "look {look}: {told:?}");
            time::set_clock(None);
        }
    });
}

/// What `operation` tells a tasklet at which it throws, or has thrown, a counted error; and whether
/// the error is gone then.
fn thrown_at(s: Stacks, operation: fn(Error) -> Result<(), Error>) -> (String, usize) {
    let counted = Arc::new(());
    let error = Error::thrown(counted.clone());
    let told = Rc::new(RefCell::new(String::from("nothing")));
    let seen = told.clone();
    let tasklet = s.spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| operation(error)));
        *seen.borrow_mut() = match result {
            Ok(Err(Error::Thrown(thrown))) if thrown.downcast_ref::<Arc<()>>().is_some() => {
                "what was thrown".into()
            }
            Ok(result) => common::told(result),
            Err(_) => "a panic".into(),
        };
    });
    while tasklet.is_alive() {
        hardswitch::run().unwrap();
        let _ = MainLoop::current().unwrap().pump(Some(Duration::ZERO));
    }
    (told.take(), Arc::strong_count(&counted) - 1)
}

/// `error` is thrown at the running tasklet, and told by its next wait.
fn be_thrown_at(error: Error) -> Result<(), Error> {
    let (channel, me) = (hardswitch::thread::Channel::new(), hardswitch::current());
    let from = channel.clone();
    hardswitch::spawn(move || {
        from.receive()?;
        me.throw_pending(error)
    })?;
    hardswitch::schedule()?;
    // Its receiver goes on first, and throws when there is nothing left to fail.
    channel.send(())
}

#[test]
fn what_is_thrown_is_told_whatever_panics_as_the_operation_ends() {
    const HOUR: Duration = Duration::from_secs(3600);
    type Operation = fn(Error) -> Result<(), Error>;
    let operations: [(&str, Operation); 12] = [
        ("send", |error| {
            be_thrown_at(error)?;
            Channel::new().send(bad())
        }),
        ("send with a value by hand", |error| {
            be_thrown_at(error)?;
            drop(hardswitch::current().set_tempval(Value::new(())));
            Channel::new().send(bad())
        }),
        ("send_sequence", |error| {
            be_thrown_at(error)?;
            Channel::new().send_sequence([bad(), bad()]).map(drop)
        }),
        ("send to a queue", |error| {
            be_thrown_at(error)?;
            hardswitch::QueueChannel::bounded(0).send(bad())
        }),
        ("send to another thread", |error| {
            be_thrown_at(error)?;
            hardswitch::thread::Channel::new().send(bad())
        }),
        ("schedule_with", |error| {
            be_thrown_at(error)?;
            hardswitch::schedule_with(Value::new(bad())).map(drop)
        }),
        ("select", |error| {
            be_thrown_at(error)?;
            let mut select = Select::new();
            select.send(&Channel::new(), bad());
            select.wait().map(drop)
        }),
        ("join", |error| {
            let joined = hardswitch::join::spawn(|| Ok(()))?;
            drop(joined.tasklet().set_user_data(Some(Rc::new(bad()))));
            joined.tasklet().remove()?;
            be_thrown_at(error)?;
            joined.join()
        }),
        ("join::all", |error| {
            let first = hardswitch::join::spawn(|| Ok(Some(bad())))?;
            hardswitch::schedule()?;
            let second = hardswitch::join::spawn(|| Ok(None))?;
            second.tasklet().remove()?;
            be_thrown_at(error)?;
            hardswitch::join::all([first, second]).map(drop)
        }),
        ("receive with a time limit", |error| {
            let (channel, me) = (Channel::new(), hardswitch::current());
            let to = channel.clone();
            channel.set_preference(Preference::Sender);
            hardswitch::spawn(move || {
                to.send(bad())?;
                me.throw_pending(error)
            })?;
            channel.receive_timeout(HOUR).map(drop)
        }),
        ("receive from another thread", |error| {
            let (channel, me) = (hardswitch::thread::Channel::new(), hardswitch::current());
            let to = channel.clone();
            channel.set_preference(Preference::Sender);
            hardswitch::spawn(move || {
                to.send(bad())?;
                me.throw_pending(error)
            })?;
            channel.receive().map(drop)
        }),
        ("offload", |error| {
            let (waits, done) = (Arc::new(()), Arc::new(()));
            let (waited_for, job, me) = (waits.clone(), done.clone(), hardswitch::current());
            // It runs when the caller waits.
            hardswitch::spawn(move || {
                drop(waits);
                common::eventually("the job", || Arc::strong_count(&done) == 1);
                // The job's result is put down an instant after that.
                std::thread::sleep(Duration::from_millis(20));
                me.throw_pending(error)
            })?;
            hardswitch::offload::call(move || {
                common::eventually("the wait", || Arc::strong_count(&waited_for) == 1);
                drop(job);
                bad()
            })
            .map(drop)
        }),
    ];
    fresh_with(move |s| {
        for (what, operation) in operations {
            let told = thrown_at(s, operation);
            assert_eq!(told, ("what was thrown".into(), 0), "{what}");
        }
    });
}

// ---- anything, anywhere, any time

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::default());
    static LIVE: RefCell<BTreeMap<u32, isize>> = const { RefCell::new(BTreeMap::new()) };
    static FUEL: Cell<u32> = const { Cell::new(0) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static DICE: Cell<u64> = const { Cell::new(1) };
}

#[derive(Default)]
struct World {
    stacks: Option<Stacks>,
    tasklets: Vec<Tasklet>,
    channels: Vec<Channel<Token>>,
}

fn dice(n: u64) -> u64 {
    let mut random = common::Random(DICE.get());
    let result = random.below(n);
    DICE.set(random.0);
    result
}

/// A value that is counted by the line that makes it, and whose end does anything.
struct Token(u32);

impl Token {
    #[track_caller]
    fn new() -> Token {
        let line = std::panic::Location::caller().line();
        LIVE.with(|live| *live.borrow_mut().entry(line).or_default() += 1);
        Token(line)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // Whatever is left when a world has failed goes with the thread.
        let counted = LIVE.try_with(|live| *live.borrow_mut().entry(self.0).or_default() -= 1);
        if counted.is_err() {
            return;
        }
        if dice(3) == 0 {
            let _ = mischief();
            if FUEL.get() > 0 && dice(20) == 0 && !std::thread::panicking() {
                resume_unwind(Box::new(Token::new()));
            }
        }
    }
}

fn some_tasklet() -> Tasklet {
    let pick = WORLD.with(|w| {
        let w = w.borrow();
        let n = w.tasklets.len() as u64 + 1;
        w.tasklets.get(dice(n) as usize).cloned()
    });
    pick.unwrap_or_else(hardswitch::main_tasklet)
}

fn some_channel() -> Channel<Token> {
    WORLD.with(|w| {
        let w = w.borrow();
        w.channels[dice(w.channels.len() as u64) as usize].clone()
    })
}

/// What `f` answers, when `held` is gone. (Left to the end of a scope, a destructor that panics
/// leaks what is returned: so Rust does it.)
fn with<T, R>(held: T, f: impl FnOnce(&T) -> R) -> R {
    let result = f(&held);
    drop(held);
    result
}

fn body() -> Result<(), Error> {
    with(Token::new(), |_| (0..dice(8)).try_for_each(|_| mischief()))
}

/// Does any one thing. The fuel bounds how many of them there are.
fn mischief() -> Result<(), Error> {
    if FUEL.get() == 0 || DEPTH.get() > 5 {
        return Ok(());
    }
    FUEL.set(FUEL.get() - 1);
    DEPTH.set(DEPTH.get() + 1);
    let _back = OnDrop(|| DEPTH.set(DEPTH.get().saturating_sub(1)));
    let brief = Duration::from_micros(dice(40));
    match dice(26) {
        0..=2 => hardswitch::schedule()?,
        3 => with(some_tasklet(), Tasklet::kill)?,
        4 => with(some_tasklet(), |t| t.throw(Error::thrown(Token::new())))?,
        5 => with(some_tasklet(), |t| {
            t.throw_pending(Error::thrown(Token::new()))
        })?,
        6 => some_channel().send(Token::new())?,
        7 => drop(some_channel().receive()?),
        8 => drop(some_channel().try_send(Token::new())),
        9 => drop(some_channel().try_receive()),
        10 => drop(some_channel().send_timeout(Token::new(), brief)),
        11 => drop(some_channel().receive_timeout(brief)?),
        12 => drop(some_tasklet().set_tempval(Value::new(Token::new()))),
        13 => drop(some_tasklet().take_tempval()),
        14 | 15 => {
            let stacks = WORLD.with(|w| w.borrow().stacks).expect("a world");
            let tasklet = stacks.builder().spawn(body)?;
            drop(tasklet.set_user_data(Some(Rc::new(Token::new()))));
            WORLD.with(|w| w.borrow_mut().tasklets.push(tasklet));
        }
        16 => {
            let (a, b) = (some_channel(), some_channel());
            let mut select = Select::new();
            let _ = select.receive(&a);
            if a != b {
                let _ = select.send(&b, Token::new());
            }
            drop(select.wait_timeout(brief)?);
        }
        17 => time::timeout(brief, || some_channel().receive()).map(drop)?,
        18 => with(some_tasklet(), Tasklet::insert)?,
        19 => with(some_tasklet(), Tasklet::remove)?,
        20 => hardswitch::run()?,
        21 => {
            let channel = some_channel();
            channel.close_and_wake();
            channel.open();
        }
        22 => drop(hardswitch::set_statistics(dice(2) == 0)),
        23 => {
            let gone = WORLD.with(|w| {
                let mut w = w.borrow_mut();
                let n = w.tasklets.len() as u64;
                (n > 0).then(|| w.tasklets.swap_remove(dice(n) as usize))
            });
            drop(gone);
        }
        24 => {
            let main_loop = MainLoop::current()?;
            let _ = main_loop.remote().post(|| drop(mischief()));
            main_loop.pump(Some(Duration::ZERO))?;
        }
        _ => main_loop::sleep(brief)?,
    }
    Ok(())
}

fn clock_of_mischief() -> u64 {
    NOW.set(NOW.get() + 1000 + dice(5000));
    if dice(40) == 0 {
        let _ = mischief();
        if dice(10) == 0 && !std::thread::panicking() {
            resume_unwind(Box::new("no time"));
        }
    }
    NOW.get()
}

fn random_world(s: Stacks, seed: u64) {
    DICE.set(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    WORLD.with(|w| {
        let mut w = w.borrow_mut();
        w.stacks = Some(s);
        w.channels = (0..4).map(|_| Channel::new()).collect();
        for channel in &w.channels {
            channel.set_preference(Preference::from_sign(dice(3) as i32 - 1));
            channel.set_schedule_all(dice(4) == 0);
        }
    });
    time::set_clock((!seed.is_multiple_of(3)).then_some(clock_of_mischief as time::Clock));
    if seed.is_multiple_of(2) {
        set_schedule_callback(Some(Rc::new(|_: Option<&Tasklet>, _: &Tasklet| {
            if dice(30) == 0 {
                let _ = mischief();
            }
        })));
        set_channel_callback(Some(Rc::new(|_, _: &Tasklet, _, _| {
            if dice(30) == 0 {
                let _ = mischief();
            }
        })));
    }
    set_error_handler(Some(Rc::new(|_: &Error| {
        let _ = mischief();
        match dice(2) {
            0 => Ok(()),
            _ => Err(Error::thrown(Token::new())),
        }
    })));
    FUEL.set(if cfg!(target_arch = "x86_64") {
        600
    } else {
        200
    });
    while FUEL.get() > 0 {
        DEPTH.set(0);
        let mut result = catch_unwind(AssertUnwindSafe(|| {
            let _ = mischief();
            let _ = hardswitch::run_with(hardswitch::Budget::switches(20));
        }));
        // The payload's end may panic as well.
        while result.is_err() {
            result = catch_unwind(AssertUnwindSafe(|| drop(result)));
        }
    }
    time::set_clock(None);
    drop((set_schedule_callback(None), set_channel_callback(None)));
    drop(set_error_handler(None));
    hardswitch::set_statistics(false);
    // All end: what they hold is gone then.
    for _ in 0..20 {
        // Events that wait on somebody's stack are not killed with it.
        for channel in WORLD.with(|w| w.borrow().channels.clone()) {
            channel.close_and_wake();
        }
        for tasklet in hardswitch::tasklets() {
            if !tasklet.is_main() {
                let _ = tasklet.kill();
                // Nor are those that were removed from the queue.
                let _ = tasklet.insert();
            }
        }
        let _ = hardswitch::run();
        // Nor do events that sleep wake up before their time.
        let sleep = if hardswitch::tasklets().len() > 1 {
            1
        } else {
            0
        };
        let _ = MainLoop::current()
            .unwrap()
            .pump(Some(Duration::from_millis(sleep)));
    }
    drop(hardswitch::current().take_tempval());
    let world = WORLD.with(|w| std::mem::take(&mut *w.borrow_mut()));
    drop(world);
    let left: Vec<_> = hardswitch::tasklets();
    assert!(left.len() == 1, "seed {seed}: {left:?}");
    drop(left);
    let mut live = LIVE.with(|live| live.borrow().clone());
    live.retain(|_, count| *count != 0);
    assert!(live.is_empty(), "seed {seed}: values of {live:?} are left");
    assert_eq!(hardswitch::run_count(), 1);
}

/// `HSW_WORLDS` sets how many worlds are tried, and `HSW_WORLD` the number of the first.
#[test]
fn foreign_code_that_does_anything_at_any_time_loses_no_value() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let few = if cfg!(target_arch = "x86_64") { 100 } else { 8 };
    let count: u64 = number("HSW_WORLDS").unwrap_or(few);
    let first: u64 = number("HSW_WORLD").unwrap_or(1);
    for seed in first..first + count {
        fresh_with(move |s| random_world(s, seed));
    }
}

/// As [`fresh`], for tests with a parameter.
fn fresh_with(test: impl Fn(Stacks) + Send + Copy + 'static) {
    for stacks in [Stacks::Own, Stacks::Window] {
        let thread = std::thread::spawn(move || {
            let settings = Settings {
                windows: 1,
                stack_size: 128 * 1024,
                ..Settings::default()
            };
            settings.apply().expect("settings of a new thread");
            test(stacks);
        });
        if let Err(panic) = thread.join() {
            eprintln!("with {stacks:?}");
            resume_unwind(panic);
        }
    }
}
