//! What is measured about tasklets, what hosts keep with them, and flags for a scope.
#![cfg(feature = "std")]

mod common;

use common::{fresh, told, Log};
use hardswitch::time::{now, set_clock};
use hardswitch::{
    atomic, block_trap, current, run, schedule, set_statistics, statistics, switch_trap,
    switch_trapped, thread, thread_id, Channel, Error, StateError, Tasklet,
};
use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

fn pass(nanoseconds: u64) {
    NOW.set(NOW.get() + nanoseconds);
}

const fn ns(nanoseconds: u64) -> Duration {
    Duration::from_nanos(nanoseconds)
}

#[test]
fn run_time_is_that_of_all_turns_and_of_nobody_else() {
    fresh(|s| {
        set_clock(Some(|| NOW.get()));
        pass(1000);
        assert!(!set_statistics(true) && statistics());
        let t = s.spawn(|| {
            pass(5);
            schedule()?;
            pass(7);
            assert_eq!(current().stats().run_time, ns(12), "also while it runs");
            Ok(())
        });
        let u = s.spawn(|| {
            pass(100);
            schedule()?;
            pass(100);
            Ok(())
        });
        assert_eq!((t.stats().started, t.stats().ended), (None, None));
        run().unwrap();
        let (t, u) = (t.stats(), u.stats());
        assert_eq!((t.run_time, u.run_time), (ns(12), ns(200)));
        assert_eq!((t.started, t.ended), (Some(ns(1000)), Some(ns(1112))));
        assert_eq!((u.started, u.ended), (Some(ns(1005)), Some(ns(1212))));
        assert_eq!(t.switches, 2);
        assert!(set_statistics(false) && !statistics());
    });
}

#[test]
fn nothing_is_measured_while_it_is_off() {
    fresh(|s| {
        let t = s.spawn(schedule);
        run().unwrap();
        let stats = t.stats();
        assert_eq!((stats.run_time, stats.started), (Duration::ZERO, None));
        assert!(stats.spawned_at.is_none());
    });
}

#[test]
fn the_spawn_site_is_the_line_of_the_host() {
    fresh(|_| {
        set_statistics(true);
        let sites = [
            (hardswitch::spawn(|| ()).unwrap(), line!()),
            (Tasklet::builder().spawn(|| ()).unwrap(), line!()),
            (Tasklet::builder().bind(|| ()).unwrap(), line!()),
            (Tasklet::new().unwrap(), line!()),
        ];
        for (t, line) in &sites {
            let site = t.stats().spawned_at.expect("measured");
            assert_eq!((site.file(), site.line()), (file!(), *line));
        }
        let unbound = &sites[3].0;
        unbound.bind_paused(|| ()).unwrap();
        assert_eq!(unbound.stats().spawned_at.unwrap().line(), line!() - 1);
        run().unwrap();
    });
}

#[test]
fn the_clock_is_monotonic_and_can_be_exchanged() {
    fresh(|_| {
        let (a, b) = (now().unwrap(), now().unwrap());
        assert!(a <= b);
        assert!(set_clock(Some(|| 42)).is_none());
        assert_eq!(now(), Some(ns(42)));
        assert!(set_clock(None).is_some());
        assert!(now().unwrap() >= b);
    });
}

#[test]
fn user_data_stays_with_the_tasklet_and_goes_with_its_last_handle() {
    fresh(|s| {
        let data = Rc::new(7);
        let t = s.spawn(|| {
            assert_eq!(*current().user_data_as::<i32>().unwrap(), 7);
        });
        assert!(t.user_data().is_none() && t.set_user_data(None).is_none());
        t.set_user_data(Some(data.clone()));
        assert!(t.user_data_as::<String>().is_none());
        run().unwrap();
        assert_eq!(Rc::strong_count(&data), 2);
        let old = t.set_user_data(Some(Rc::new("other") as Rc<dyn Any>));
        assert_eq!(old.unwrap().downcast_ref::<i32>(), Some(&7));
        t.set_user_data(Some(data.clone()));
        drop(t);
        assert_eq!(Rc::strong_count(&data), 1);
    });
}

#[test]
fn user_data_stays_with_the_channel_and_is_that_of_all_its_handles() {
    fresh(|_| {
        let data = Rc::new(7);
        let channel = Channel::<()>::new();
        let other = channel.clone();
        assert!(channel.user_data().is_none());
        assert!(channel.set_user_data(Some(data.clone())).is_none());
        assert_eq!(*other.user_data_as::<i32>().unwrap(), 7);
        drop((channel, other));
        assert_eq!(Rc::strong_count(&data), 1);
    });
}

#[test]
fn a_tasklets_own_error_handler_is_asked_first() {
    fresh(|s| {
        let log = Log::default();
        let logs = log.clone();
        hardswitch::set_error_handler(Some(Rc::new(move |error: &Error| {
            logs.add(format!("thread:{error}"));
            Ok(())
        })));
        let fails = || Err::<(), _>(Error::exception(std::fmt::Error));
        let oops = std::fmt::Error.to_string();

        let t = s.spawn(fails);
        let (logs, me) = (log.clone(), t.clone());
        let old = t.set_error_handler(Some(Rc::new(move |error: &Error| {
            assert!(me.is_current(), "in the dying tasklet");
            logs.add(format!("own:{error}"));
            Ok(())
        })));
        assert!(old.is_none());
        run().unwrap();
        assert_eq!(log.take(), format!("own:{oops}"));
        assert!(t.set_error_handler(None).is_some());

        // What it lets pass, or raises, goes on to the thread's.
        let t = s.spawn(fails);
        t.set_error_handler(Some(Rc::new(|_: &Error| Err(Error::Closed))));
        run().unwrap();
        assert_eq!(log.take(), format!("thread:{}", Error::Closed));

        // Exits ask nobody.
        let t = s.spawn(|| Err::<(), _>(Error::Exit));
        let logs = log.clone();
        t.set_error_handler(Some(Rc::new(move |_: &Error| {
            logs.add("asked");
            Ok(())
        })));
        run().unwrap();
        assert_eq!(log.take(), "");

        // Without the thread's handler it comes out of run.
        hardswitch::set_error_handler(None);
        let t = s.spawn(fails);
        t.set_error_handler(Some(Rc::new(|_: &Error| Err(Error::Closed))));
        assert_eq!(told(run()), Error::Closed.to_string());
    });
}

// test_miscell.TestAtomic
#[test]
fn the_atomic_guard_sets_and_restores_and_nests() {
    fresh(|s| {
        let me = current();
        {
            let _a = atomic();
            assert!(me.is_atomic());
            {
                let _b = atomic();
                assert!(me.is_atomic());
            }
            assert!(me.is_atomic(), "no-op when already set");
        }
        assert!(!me.is_atomic());
        let t = s.spawn(move || {
            assert!(!current().is_atomic(), "not inherited");
            let _a = atomic();
            schedule()
        });
        t.run().unwrap();
        assert!(t.is_atomic() && !me.is_atomic());
        run().unwrap();
    });
}

// Stackless restores the flag on the tasklet that is current at the end of the scope.
#[test]
fn an_atomic_guard_that_is_dropped_elsewhere_ends_there() {
    fresh(|s| {
        let guard = atomic();
        let t = s.spawn(move || {
            current().set_atomic(true);
            drop(guard);
            assert!(!current().is_atomic());
        });
        run().unwrap();
        assert!(!t.is_alive());
        assert!(current().is_atomic(), "main's flag is still set");
        current().set_atomic(false);
    });
}

#[test]
fn the_trap_guards_restore_what_was_there() {
    fresh(|s| {
        let channel = Channel::<i32>::new();
        {
            let _outer = block_trap();
            {
                let _inner = block_trap();
            }
            assert!(current().block_trap());
            assert_eq!(told(channel.receive()), Error::BlockTrap.to_string());
        }
        assert!(!current().block_trap());
        s.spawn(|| ());
        {
            let _one = switch_trapped();
            let _two = switch_trapped();
            assert_eq!(switch_trap(0), 2);
            assert_eq!(told(schedule()), "switch_trap");
        }
        assert_eq!(switch_trap(0), 0);
        schedule().unwrap();
    });
}

#[test]
fn a_thread_has_a_number_of_its_own_and_tells_about_itself() {
    fresh(|s| {
        let t = s.spawn(|| ());
        assert_eq!(t.thread_id(), thread_id());
        let info = thread::info(thread_id()).unwrap();
        assert!(info.main.tasklet().unwrap().is_main());
        assert!(info.current.tasklet().unwrap().is_current());
        assert_eq!((info.id, info.run_count), (thread_id(), 2));
        let here = thread_id();
        let there = std::thread::spawn(thread_id).join().unwrap();
        assert_ne!(here, there);
        assert_eq!(told(thread::info(there)), "Thread id not found");
        assert_eq!(StateError::ThreadNotFound.message(), "Thread id not found");
        assert_eq!(told(thread::info(0)), "Thread id not found");
        run().unwrap();
    });
}

#[test]
fn try_iter_takes_what_waits_and_never_blocks() {
    fresh(|s| {
        let channel = Channel::new();
        for i in 0..3 {
            let c = channel.clone();
            s.spawn(move || c.send(i));
        }
        run().unwrap();
        let _trap = block_trap();
        let got: Vec<i32> = channel.try_iter().map(Result::unwrap).collect();
        assert_eq!(got, [0, 1, 2]);
        assert_eq!(channel.try_iter().count(), 0);
    });
}
