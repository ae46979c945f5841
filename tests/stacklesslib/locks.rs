//! Promises about locks that `sync` does not list by itself.

use crate::common::fresh;
use hardswitch::sync::{BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore};
use hardswitch::{run, schedule, sleep, Error, MainLoop, StateError};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_lock_may_be_released_by_another_than_who_took_it() {
    fresh(|s| {
        let lock = Arc::new(Lock::new(()));
        lock.acquire().unwrap();
        let there = lock.clone();
        std::thread::spawn(move || {
            assert!(there.is_locked());
            there.release().unwrap();
        })
        .join()
        .unwrap();
        lock.acquire_timeout(Duration::ZERO).unwrap();
        let there = lock.clone();
        s.spawn(move || there.release());
        run().unwrap();
        assert!(!lock.is_locked());
    });
}

#[test]
fn who_takes_a_lock_twice_waits_until_another_releases_it() {
    fresh(|s| {
        let (lock, done) = (Rc::new(Lock::new(())), Rc::new(Cell::new(false)));
        let (twice, noted) = (lock.clone(), done.clone());
        let t = s.spawn(move || {
            twice.acquire()?;
            twice.acquire()?;
            noted.set(true);
            twice.release()
        });
        run().unwrap();
        assert!(t.is_blocked() && lock.waiting() == 1);
        lock.release().unwrap();
        run().unwrap();
        assert!(done.get() && !lock.is_locked());
    });
}

#[test]
fn a_reentrant_lock_keeps_other_threads_out() {
    let lock = Arc::new(RLock::new(0));
    let (outer, inner) = (lock.lock().unwrap(), lock.lock().unwrap());
    let there = lock.clone();
    let (refused, was_refused) = std::sync::mpsc::channel();
    let peer = std::thread::spawn(move || {
        assert!(!there.is_mine() && there.try_lock().is_none());
        refused.send(()).unwrap();
        let taken = there.lock().unwrap();
        assert!(there.is_mine());
        drop(taken);
    });
    was_refused.recv().unwrap();
    drop(inner);
    sleep(5 * MS).unwrap();
    assert!(lock.is_mine() && !peer.is_finished());
    drop(outer);
    peer.join().unwrap();
}

#[test]
fn an_event_is_set_until_it_is_cleared() {
    fresh(|s| {
        let event = Rc::new(Event::new());
        assert!(!event.is_set());
        event.set();
        event.set();
        assert!(event.is_set());
        event.wait().unwrap();
        event.wait_timeout(Duration::ZERO).unwrap();
        event.clear();
        assert!(!event.is_set());
        let result = event.wait_timeout(Duration::ZERO);
        assert!(matches!(result, Err(Error::Timeout)));
        let waits = event.clone();
        let t = s.spawn(move || waits.wait());
        run().unwrap();
        assert!(t.is_blocked());
        event.set();
        run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn a_condition_may_be_notified_without_its_lock() {
    fresh(|s| {
        let pair = Rc::new((Lock::new(false), Condition::new()));
        let waits = pair.clone();
        let t = s.spawn(move || {
            let (lock, condition) = &*waits;
            let held = condition.wait_while(lock.lock()?, |done| !*done)?;
            assert!(*held);
            Ok(())
        });
        run().unwrap();
        let (lock, condition) = &*pair;
        condition.notify_all();
        run().unwrap();
        assert!(t.is_blocked(), "what it waits for has not come");
        *lock.lock().unwrap() = true;
        condition.notify_one();
        MainLoop::current().unwrap().run_until_idle().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn a_semaphore_may_begin_with_nothing_and_get_more_than_that() {
    fresh(|s| {
        let semaphore = Rc::new(Semaphore::new(0));
        assert!(!semaphore.try_acquire());
        let waits = semaphore.clone();
        let t = s.spawn(move || waits.acquire());
        run().unwrap();
        assert!(t.is_blocked());
        semaphore.release_many(2).unwrap();
        schedule().unwrap();
        assert!(!t.is_alive());
        assert_eq!(semaphore.available(), 1);
        let bounded = BoundedSemaphore::new(0);
        let refused = bounded.release();
        assert!(matches!(
            refused,
            Err(Error::State(StateError::ReleasedTooOften))
        ));
        assert_eq!(bounded.available(), 0);
        // A permit gives itself back.
        drop(semaphore.permit().unwrap());
        assert_eq!(semaphore.available(), 1);
    });
}
