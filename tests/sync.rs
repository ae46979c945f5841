//! Locks, conditions and their kin: whoever waits gets its turn, once, in order, and nothing is
//! lost when somebody leaves.
#![cfg(feature = "std")]

use hardswitch::sync::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, LockGuard, Queue, RLock, Semaphore,
};
use hardswitch::{
    run, schedule, sleep, spawn, switch_trapped, Error, MainLoop, StateError, Tasklet,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;
const LONG: Duration = Duration::from_secs(30);
const ABSURD: Duration = Duration::MAX;

#[derive(Clone, Default)]
struct Notes(Rc<RefCell<Vec<usize>>>);

impl Notes {
    fn add(&self, note: usize) {
        self.0.borrow_mut().push(note);
    }
    fn all(&self) -> Vec<usize> {
        self.0.borrow().clone()
    }
}

/// Lets the others run until all of them wait or are done.
fn settle() {
    run().unwrap();
}

fn finish() {
    MainLoop::current().unwrap().run_until_idle().unwrap();
}

/// A tasklet whose result does not matter to the others.
fn start(f: impl FnOnce() -> hardswitch::Result<()> + 'static) -> Tasklet {
    spawn(f).unwrap()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "still not: {what}");
        sleep(MS(1)).unwrap();
    }
}

fn is<T: std::fmt::Debug>(result: hardswitch::Result<T>, state: StateError) -> bool {
    matches!(&result, Err(Error::State(s)) if *s == state)
}

// --- Lock

#[test]
fn a_lock_keeps_the_others_out_and_serves_them_in_order() {
    let lock = Rc::new(Lock::new(Vec::new()));
    for i in 0..5 {
        let lock = lock.clone();
        start(move || {
            let mut list = lock.lock()?;
            list.push(i);
            schedule()?;
            list.push(i);
            Ok(())
        });
    }
    finish();
    assert_eq!(*lock.lock().unwrap(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
    assert!(!lock.is_locked());
}

#[test]
fn nobody_overtakes_who_waits_for_a_lock() {
    let (lock, notes) = (Rc::new(Lock::new(())), Notes::default());
    let guard = lock.lock().unwrap();
    let (l, n) = (lock.clone(), notes.clone());
    start(move || {
        let _guard = l.lock()?;
        n.add(1);
        Ok(())
    });
    settle();
    assert_eq!(lock.waiting(), 1);
    drop(guard);
    // It is the waiter's already, though the waiter has not run.
    assert!(lock.try_lock().is_none());
    drop(lock.lock().unwrap());
    notes.add(2);
    assert_eq!(notes.all(), [1, 2]);
}

#[test]
fn try_lock_does_not_wait() {
    let lock = Lock::new(7);
    let guard = lock.try_lock().unwrap();
    assert!(lock.try_lock().is_none() && lock.is_locked());
    drop(guard);
    assert_eq!(lock.into_inner(), 7);
}

#[test]
fn a_lock_wait_ends_at_its_timeout_and_not_before() {
    let lock = Rc::new(Lock::new(()));
    let guard = lock.lock().unwrap();
    let (l, ended) = (lock.clone(), Rc::new(Cell::new(false)));
    let e = ended.clone();
    start(move || {
        let start = Instant::now();
        assert!(matches!(l.lock_timeout(MS(30)), Err(Error::Timeout)));
        assert!(start.elapsed() >= MS(30));
        assert_eq!(l.waiting(), 0, "who gave up is on no list");
        e.set(true);
        Ok(())
    });
    until("timed out", || ended.get());
    drop(guard);
    assert!(lock.try_lock().is_some());
}

#[test]
fn a_timeout_of_zero_tries_once_and_runs_nobody() {
    let lock = Rc::new(Lock::new(()));
    let guard = lock.lock().unwrap();
    let ran = Rc::new(Cell::new(false));
    let r = ran.clone();
    start(move || {
        r.set(true);
        Ok(())
    });
    assert!(matches!(
        lock.lock_timeout(Duration::ZERO),
        Err(Error::Timeout)
    ));
    assert!(!ran.get());
    drop(guard);
    assert!(lock.lock_timeout(Duration::ZERO).is_ok());
    let event = Event::new();
    assert!(matches!(
        event.wait_timeout(Duration::ZERO),
        Err(Error::Timeout)
    ));
    assert!(!ran.get());
    finish();
}

#[test]
fn an_absurdly_large_timeout_is_for_ever() {
    let (lock, event) = (Arc::new(Lock::new(())), Arc::new(Event::new()));
    let guard = lock.lock().unwrap();
    let (l, e) = (lock.clone(), event.clone());
    let thread = thread::spawn(move || {
        drop(l.lock_timeout(ABSURD).unwrap());
        e.wait_timeout(ABSURD).unwrap();
    });
    until("the thread waits", || lock.waiting() == 1);
    drop(guard);
    until("the thread waits", || event.waiting() == 1);
    event.set();
    thread.join().unwrap();
}

#[test]
fn a_killed_waiter_leaves_the_lock_to_the_next() {
    let (lock, notes) = (Rc::new(Lock::new(())), Notes::default());
    let guard = lock.lock().unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|i| {
            let (lock, notes) = (lock.clone(), notes.clone());
            start(move || {
                let guard = lock.lock()?;
                notes.add(i);
                drop(guard);
                Ok(())
            })
        })
        .collect();
    settle();
    waiters[0].kill().unwrap();
    assert_eq!((lock.waiting(), waiters[0].is_alive()), (2, false));
    drop(guard);
    // The second has been given the lock, and is killed before it runs.
    waiters[1].kill().unwrap();
    finish();
    assert_eq!(notes.all(), [2]);
    assert!(lock.try_lock().is_some());
}

#[test]
fn what_is_thrown_at_a_waiter_comes_out_of_its_wait() {
    let (lock, seen) = (Rc::new(Lock::new(())), Rc::new(Cell::new(0)));
    let guard = lock.lock().unwrap();
    let (l, s) = (lock.clone(), seen.clone());
    let waiter = start(move || {
        let error = l.lock().map(drop).unwrap_err();
        if let Error::Thrown(thrown) = error {
            s.set(*thrown.downcast_ref::<i32>().unwrap());
        }
        Ok(())
    });
    settle();
    waiter.throw(Error::thrown(42)).unwrap();
    assert_eq!((seen.get(), lock.waiting()), (42, 0));
    drop(guard);
}

#[test]
fn block_trap_forbids_to_wait_and_changes_nothing() {
    let lock = Rc::new(Lock::new(()));
    let (cond, l) = (Condition::new(), lock.clone());
    let guard = lock.lock().unwrap();
    start(move || {
        hardswitch::current().set_block_trap(true);
        assert!(matches!(l.lock(), Err(Error::BlockTrap)));
        assert!(matches!(Event::new().wait(), Err(Error::BlockTrap)));
        let own = Lock::new(());
        assert!(matches!(
            cond.wait(own.lock().unwrap()),
            Err(Error::BlockTrap)
        ));
        assert!(own.try_lock().is_some());
        Ok(())
    });
    settle();
    assert_eq!(lock.waiting(), 0);
    drop(guard);
}

#[test]
fn switch_trap_forbids_to_wait_and_changes_nothing() {
    let lock = Rc::new(Lock::new(()));
    let guard = lock.lock().unwrap();
    let l = lock.clone();
    start(move || {
        hardswitch::switch_trap(1);
        let refused = l.lock().map(drop);
        hardswitch::switch_trap(-1);
        assert!(matches!(refused, Err(Error::SwitchTrap)), "{refused:?}");
        Ok(())
    });
    settle();
    assert_eq!(lock.waiting(), 0);
    drop(guard);
    assert!(lock.try_lock().is_some());
}

#[test]
fn releasing_a_lock_not_held_is_an_error() {
    let lock = Lock::new(());
    assert!(is(lock.release(), StateError::NotHeld));
    lock.acquire().unwrap();
    assert!(matches!(lock.acquire_timeout(MS(1)), Err(Error::Timeout)));
    lock.release().unwrap();
    assert!(is(lock.release(), StateError::NotHeld));
    lock.acquire_timeout(Duration::ZERO).unwrap();
    lock.release().unwrap();
}

#[test]
fn a_panic_gives_the_lock_back() {
    let lock = Rc::new(Lock::new(1));
    let (l, woken) = (lock.clone(), Rc::new(Cell::new(false)));
    start(move || {
        let _guard = l.lock()?;
        schedule()?;
        panic!("with the lock held");
    });
    let (l, w) = (lock.clone(), woken.clone());
    start(move || {
        *l.lock()? += 1;
        w.set(true);
        Ok(())
    });
    assert!(matches!(run(), Err(Error::Panicked(_))));
    finish();
    assert!(woken.get());
    assert_eq!(*lock.lock().unwrap(), 2);
}

/// Has a tasklet wait for a lock; `give_back` gets the guard; the waiter must come to its turn.
fn gives_back(give_back: impl FnOnce(LockGuard<'_, ()>)) {
    let (lock, got) = (Rc::new(Lock::new(())), Rc::new(Cell::new(false)));
    let guard = lock.lock().unwrap();
    let (l, g) = (lock.clone(), got.clone());
    start(move || {
        let _guard = l.lock()?;
        g.set(true);
        Ok(())
    });
    settle();
    assert_eq!(lock.waiting(), 1);
    give_back(guard);
    finish();
    assert!(got.get());
}

#[test]
fn a_lock_may_be_given_back_where_no_switch_is_allowed() {
    gives_back(|guard| {
        let _trap = switch_trapped();
        drop(guard);
    });
    gives_back(|guard| {
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _guard = guard;
            panic!("with a lock in hand");
        }));
        assert!(unwound.is_err());
    });
}

#[test]
fn a_lock_may_be_given_back_from_a_schedule_callback() {
    let sem = Arc::new(Semaphore::new(0));
    let (s, got) = (sem.clone(), Rc::new(Cell::new(false)));
    let g = got.clone();
    start(move || {
        s.acquire()?;
        g.set(true);
        Ok(())
    });
    settle();
    let s = sem.clone();
    let once = Cell::new(true);
    let old = hardswitch::set_schedule_callback(Some(Rc::new(move |_, _| {
        if once.take() {
            s.release().unwrap();
        }
    })));
    start(|| Ok(()));
    settle();
    hardswitch::set_schedule_callback(old);
    finish();
    assert!(got.get());
}

#[test]
fn threads_and_tasklets_share_a_lock() {
    const EACH: usize = 300;
    static TOTAL: Lock<usize> = Lock::new(0);
    fn work() -> hardswitch::Result<()> {
        for _ in 0..EACH {
            let mut total = TOTAL.lock()?;
            let before = *total;
            if before % 7 == 0 {
                schedule()?;
            }
            *total = before + 1;
        }
        Ok(())
    }
    let threads: Vec<_> = (0..3)
        .map(|i| {
            thread::spawn(move || {
                // Main alone, or with tasklets beside it.
                for _ in 0..i {
                    spawn(work).unwrap();
                }
                work().unwrap();
                MainLoop::current().unwrap().run_until_idle().unwrap();
            })
        })
        .collect();
    spawn(work).unwrap();
    finish();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(*TOTAL.lock().unwrap(), 7 * EACH);
}

#[test]
fn a_waiting_tasklet_does_not_hold_up_its_thread() {
    let lock = Arc::new(Lock::new(()));
    let (l, go) = (lock.clone(), Arc::new(AtomicBool::new(false)));
    let (g, held) = (go.clone(), Arc::new(AtomicBool::new(false)));
    let h = held.clone();
    let thread = thread::spawn(move || {
        let _guard = l.lock().unwrap();
        h.store(true, Ordering::Release);
        while !g.load(Ordering::Acquire) {
            thread::yield_now();
        }
    });
    until("the other thread has it", || held.load(Ordering::Acquire));
    let l = lock.clone();
    start(move || l.lock().map(drop));
    let count = Rc::new(Cell::new(0));
    let c = count.clone();
    start(move || {
        for _ in 0..100 {
            c.set(c.get() + 1);
            schedule()?;
        }
        go.store(true, Ordering::Release);
        Ok(())
    });
    finish();
    assert_eq!((count.get(), lock.is_locked()), (100, false));
    thread.join().unwrap();
}

#[test]
fn a_sliced_waiter_may_be_elsewhere_when_it_is_woken() {
    let lock = Arc::new(Lock::new(0u64));
    for i in 0..40u64 {
        let lock = lock.clone();
        // SAFETY: nobody else touches the stacks: what is shared is in an Arc.
        unsafe { Tasklet::builder().sliced() }
            .spawn(move || -> hardswitch::Result<()> {
                let marks = [i; 16];
                let mut sum = lock.lock()?;
                schedule()?;
                assert!(marks.iter().all(|m| *m == i));
                *sum += i;
                Ok(())
            })
            .unwrap();
    }
    let guard = lock.lock().unwrap();
    settle();
    assert_eq!(lock.waiting(), 40);
    drop(guard);
    finish();
    assert_eq!(*lock.lock().unwrap(), 780);
}

// --- RLock

#[test]
fn a_reentrant_lock_belongs_to_its_tasklet_until_the_last_release() {
    let lock = Rc::new(RLock::new(Cell::new(0)));
    let outer = lock.lock().unwrap();
    let inner = lock.lock_timeout(Duration::ZERO).unwrap();
    let (l, other) = (lock.clone(), Rc::new(Cell::new(false)));
    let o = other.clone();
    start(move || {
        assert!(!l.is_mine() && l.try_lock().is_none());
        l.lock()?.set(5);
        o.set(true);
        Ok(())
    });
    settle();
    drop(outer);
    settle();
    assert!(!other.get() && lock.is_mine());
    inner.set(1);
    drop(inner);
    assert!(!lock.is_mine());
    finish();
    assert_eq!(lock.lock().unwrap().get(), 5);
}

#[test]
fn a_reentrant_lock_that_was_never_given_back_is_nobody_elses() {
    let lock = Rc::new(RLock::new(()));
    let l = lock.clone();
    start(move || {
        std::mem::forget(l.lock()?);
        Ok(())
    });
    settle();
    // The next tasklets come to be where that one was.
    for _ in 0..3 {
        let l = lock.clone();
        start(move || {
            assert!(l.try_lock().is_none() && !l.is_mine());
            Ok(())
        });
        settle();
    }
    assert!(lock.is_locked());
}

#[test]
fn releasing_somebody_elses_reentrant_lock_is_an_error() {
    let lock = Arc::new(RLock::new(()));
    assert!(is(lock.release(), StateError::NotOwner));
    lock.acquire().unwrap();
    lock.acquire_timeout(Duration::ZERO).unwrap();
    let l = lock.clone();
    thread::spawn(move || {
        assert!(is(l.release(), StateError::NotOwner));
        assert!(l.try_lock().is_none());
    })
    .join()
    .unwrap();
    lock.release().unwrap();
    lock.release().unwrap();
    assert!(is(lock.release(), StateError::NotOwner));
    assert!(!lock.is_locked());
}

// --- Semaphores

#[test]
fn a_semaphore_lets_in_as_many_as_it_has_permits() {
    let sem = Rc::new(Semaphore::new(3));
    let (inside, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for _ in 0..10 {
        let (sem, inside, most) = (sem.clone(), inside.clone(), most.clone());
        start(move || {
            let _permit = sem.permit()?;
            inside.set(inside.get() + 1);
            most.set(most.get().max(inside.get()));
            schedule()?;
            inside.set(inside.get() - 1);
            Ok(())
        });
    }
    finish();
    assert_eq!((most.get(), inside.get(), sem.available()), (3, 0, 3));
}

#[test]
fn a_bounded_semaphore_refuses_more_than_it_began_with() {
    let sem = BoundedSemaphore::new(2);
    assert!(is(sem.release(), StateError::ReleasedTooOften));
    sem.acquire().unwrap();
    assert!(is(sem.release_many(2), StateError::ReleasedTooOften));
    assert_eq!(sem.available(), 1, "all or none");
    sem.release().unwrap();
    let sem = Semaphore::new(0);
    sem.release_many(4).unwrap();
    assert_eq!(sem.available(), 4);
    assert!(is(
        sem.release_many(usize::MAX),
        StateError::ReleasedTooOften
    ));
    assert!(!BoundedSemaphore::new(0).try_acquire());
}

#[test]
fn a_bounded_semaphore_refuses_too_many_also_while_somebody_waits() {
    let sem = Rc::new(BoundedSemaphore::new(2));
    assert!(sem.try_acquire() && sem.try_acquire());
    let (s, got) = (sem.clone(), Rc::new(Cell::new(false)));
    let g = got.clone();
    start(move || {
        s.acquire()?;
        g.set(true);
        Ok(())
    });
    settle();
    assert!(is(sem.release_many(3), StateError::ReleasedTooOften));
    settle();
    assert!(!got.get(), "all or none");
    sem.release_many(2).unwrap();
    settle();
    assert!(got.get());
    assert_eq!(sem.available(), 1, "one is the waiter's");
}

#[test]
fn permits_given_back_go_to_who_has_waited_longest() {
    let (sem, notes) = (Rc::new(Semaphore::new(0)), Notes::default());
    for i in 0..4 {
        let (sem, notes) = (sem.clone(), notes.clone());
        start(move || {
            sem.acquire()?;
            notes.add(i);
            Ok(())
        });
    }
    settle();
    sem.release_many(2).unwrap();
    assert_eq!((sem.waiting(), sem.available()), (2, 0));
    settle();
    sem.release_many(3).unwrap();
    finish();
    assert_eq!((notes.all(), sem.available()), (vec![0, 1, 2, 3], 1));
}

#[test]
fn a_permit_is_not_lost_between_timeout_and_release() {
    // Releases arrive around the moment in which the waits end: every permit is either taken or
    // still there.
    let sem = Arc::new(Semaphore::new(0));
    let (rounds, got) = (200, Rc::new(Cell::new(0)));
    let s = sem.clone();
    let thread = thread::spawn(move || {
        for i in 0..rounds {
            thread::sleep(Duration::from_micros(200 + i % 7 * 20));
            s.release().unwrap();
        }
    });
    for _ in 0..2 {
        let (sem, got) = (sem.clone(), got.clone());
        start(move || {
            for _ in 0..rounds {
                match sem.acquire_timeout(Duration::from_micros(300)) {
                    Ok(()) => got.set(got.get() + 1),
                    Err(Error::Timeout) => {}
                    Err(other) => return Err(other),
                }
            }
            Ok(())
        });
    }
    finish();
    thread.join().unwrap();
    assert_eq!(got.get() + sem.available(), rounds as usize);
    assert_eq!(sem.waiting(), 0);
}

// --- Condition

type Shared = Rc<(Lock<usize>, Condition)>;

fn shared() -> Shared {
    Rc::new((Lock::new(0), Condition::new()))
}

/// `count` tasklets that wait once and note that they were notified.
fn waiters(shared: &Shared, notes: &Notes, count: usize) -> Vec<Tasklet> {
    let all = (0..count)
        .map(|i| {
            let (shared, notes) = (shared.clone(), notes.clone());
            start(move || {
                let guard = shared.1.wait(shared.0.lock()?)?;
                notes.add(i);
                drop(guard);
                Ok(())
            })
        })
        .collect();
    settle();
    assert_eq!(shared.1.waiting(), count);
    all
}

#[test]
fn one_notification_wakes_one_waiter_the_first() {
    let (shared, notes) = (shared(), Notes::default());
    waiters(&shared, &notes, 3);
    for done in 1..=3 {
        shared.1.notify_one();
        for _ in 0..3 {
            settle();
        }
        assert_eq!(notes.all().len(), done);
    }
    shared.1.notify_one();
    assert_eq!((notes.all(), shared.1.waiting()), (vec![0, 1, 2], 0));
}

#[test]
fn a_notification_that_nobody_waits_for_is_not_kept() {
    let shared = shared();
    shared.1.notify_one();
    shared.1.notify_all();
    let (guard, notified) = shared
        .1
        .wait_timeout(shared.0.lock().unwrap(), MS(10))
        .unwrap();
    assert!(!notified && shared.0.is_locked());
    drop(guard);
}

#[test]
fn notify_all_wakes_one_at_a_time_as_the_lock_becomes_theirs() {
    let (shared, notes) = (shared(), Notes::default());
    let all = waiters(&shared, &notes, 4);
    let guard = shared.0.lock().unwrap();
    let before: Vec<_> = all.iter().map(|t| t.stats().switches).collect();
    shared.1.notify_all();
    settle();
    let after: Vec<_> = all.iter().map(|t| t.stats().switches).collect();
    assert_eq!(before, after, "nobody runs while the lock is held");
    assert_eq!((shared.0.waiting(), shared.1.waiting()), (4, 0));
    drop(guard);
    finish();
    assert_eq!(notes.all(), [0, 1, 2, 3]);
    for (tasklet, before) in all.iter().zip(before) {
        assert_eq!(tasklet.stats().switches, before + 1, "one wake-up each");
    }
}

#[test]
fn notify_wakes_as_many_as_it_says() {
    let (shared, notes) = (shared(), Notes::default());
    waiters(&shared, &notes, 5);
    shared.1.notify(3);
    while hardswitch::run_count() > 1 {
        settle();
    }
    assert_eq!((notes.all(), shared.1.waiting()), (vec![0, 1, 2], 2));
    shared.1.notify(usize::MAX);
    finish();
    assert_eq!(notes.all().len(), 5);
}

#[test]
fn a_notified_waiter_that_is_killed_passes_the_wake_up_on() {
    let (shared, notes) = (shared(), Notes::default());
    let all = waiters(&shared, &notes, 3);
    // Notified, with the lock already its own.
    shared.1.notify_one();
    all[0].kill().unwrap();
    settle();
    assert_eq!((notes.all(), shared.1.waiting()), (vec![1], 1));
    // Notified, waiting for the lock.
    let again = waiters_more(&shared, &notes);
    let guard = shared.0.lock().unwrap();
    shared.1.notify_one();
    all[2].kill().unwrap();
    assert_eq!((shared.0.waiting(), shared.1.waiting()), (1, 0));
    drop(guard);
    finish();
    assert_eq!(notes.all(), [1, 9]);
    assert!(!again.is_alive() && shared.0.try_lock().is_some());
}

fn waiters_more(shared: &Shared, notes: &Notes) -> Tasklet {
    let (s, notes) = (shared.clone(), notes.clone());
    let tasklet = start(move || {
        let guard = s.1.wait(s.0.lock()?)?;
        notes.add(9);
        drop(guard);
        Ok(())
    });
    settle();
    tasklet
}

#[test]
fn a_wake_up_is_not_passed_on_to_who_came_after_the_notification() {
    let (shared, notes) = (shared(), Notes::default());
    let all = waiters(&shared, &notes, 1);
    let guard = shared.0.lock().unwrap();
    shared.1.notify_one();
    // With another lock, since the first one's is taken: it comes after the notification.
    let (s, n) = (shared.clone(), notes.clone());
    start(move || {
        let other = Lock::new(());
        let guard = s.1.wait(other.lock()?)?;
        n.add(9);
        drop(guard);
        Ok(())
    });
    settle();
    all[0].kill().unwrap();
    drop(guard);
    settle();
    assert_eq!((notes.all(), shared.1.waiting()), (vec![], 1));
    shared.1.notify_one();
    finish();
    assert_eq!(notes.all(), [9]);
}

#[test]
fn a_killed_waiter_that_was_not_notified_just_leaves() {
    let (shared, notes) = (shared(), Notes::default());
    let all = waiters(&shared, &notes, 2);
    all[0].kill().unwrap();
    assert_eq!(shared.1.waiting(), 1);
    settle();
    assert_eq!(notes.all(), []);
    shared.1.notify_one();
    finish();
    assert_eq!(notes.all(), [1]);
}

#[test]
fn a_timed_out_waiter_comes_back_with_the_lock() {
    let shared = shared();
    let (s, done) = (shared.clone(), Rc::new(Cell::new(false)));
    let d = done.clone();
    start(move || {
        let start = Instant::now();
        let (guard, notified) = s.1.wait_timeout(s.0.lock()?, MS(20))?;
        assert!(!notified && s.0.is_locked() && start.elapsed() >= MS(20));
        drop(guard);
        let (_guard, notified) = s.1.wait_timeout(s.0.lock()?, Duration::ZERO)?;
        assert!(!notified && s.0.is_locked());
        d.set(true);
        Ok(())
    });
    finish();
    assert!(done.get() && shared.0.try_lock().is_some());
    assert_eq!(shared.1.waiting(), 0);
}

#[test]
fn notified_in_time_counts_even_if_the_lock_comes_late() {
    let (shared, answer) = (shared(), Rc::new(Cell::new(None)));
    let (s, a) = (shared.clone(), answer.clone());
    start(move || {
        // So long that it is notified before.
        let (_guard, notified) = s.1.wait_timeout(s.0.lock()?, MS(1000))?;
        a.set(Some(notified));
        Ok(())
    });
    settle();
    let guard = shared.0.lock().unwrap();
    shared.1.notify_one();
    sleep(MS(1500)).unwrap();
    assert_eq!(answer.get(), None);
    drop(guard);
    finish();
    assert_eq!(answer.get(), Some(true));
}

/// The time of a waiter is up, and it waits for the lock all the same: it sleeps, however long that
/// takes.
#[test]
fn a_late_lock_is_waited_for_without_looking_again_and_again() {
    let (shared, done) = (shared(), Rc::new(Cell::new(false)));
    let (s, told) = (shared.clone(), done.clone());
    start(move || {
        // So long that it is notified before.
        assert!(s.1.wait_timeout(s.0.lock()?, MS(1000))?.1);
        told.set(true);
        Ok(())
    });
    settle();
    let guard = shared.0.lock().unwrap();
    shared.1.notify_one();
    let (pump, begun) = (MainLoop::current().unwrap(), Instant::now());
    let mut woken = 0;
    while begun.elapsed() < MS(1500) {
        woken += pump
            .pump(Some(MS(1500).saturating_sub(begun.elapsed())))
            .unwrap();
        run().unwrap();
    }
    assert!(woken <= 1, "woken {woken} times, once by its time");
    drop(guard);
    finish();
    assert!(done.get());
}

#[test]
fn wait_while_looks_again() {
    let shared = shared();
    let (s, seen) = (shared.clone(), Notes::default());
    let n = seen.clone();
    start(move || {
        let guard = s.1.wait_while(s.0.lock()?, |value| {
            n.add(*value);
            *value < 2
        })?;
        assert_eq!(*guard, 2);
        let (guard, done) = s.1.wait_while_timeout(guard, MS(10), |value| *value < 9)?;
        assert!(!done);
        let (_, done) = s.1.wait_while_timeout(guard, ABSURD, |value| *value < 3)?;
        assert!(done);
        Ok(())
    });
    for value in 1..=2 {
        settle();
        *shared.0.lock().unwrap() = value;
        shared.1.notify_one();
    }
    settle();
    *shared.0.lock().unwrap() = 3;
    finish();
    assert_eq!(seen.all(), [0, 1, 2]);
}

#[test]
fn threads_hand_a_ball_to_each_other_through_a_condition() {
    const ROUNDS: usize = 200;
    let game = Arc::new((Lock::new(0usize), Condition::new()));
    fn play(game: &(Lock<usize>, Condition), me: usize) -> hardswitch::Result<()> {
        let mut guard: LockGuard<'_, usize> = game.0.lock()?;
        while *guard < ROUNDS {
            guard = game
                .1
                .wait_while(guard, |ball| *ball % 3 != me && *ball < ROUNDS)?;
            if *guard < ROUNDS {
                *guard += 1;
            }
            game.1.notify_all();
        }
        Ok(())
    }
    let threads: Vec<_> = (0..2)
        .map(|me| {
            let game = game.clone();
            thread::spawn(move || play(&game, me).unwrap())
        })
        .collect();
    let g = game.clone();
    start(move || play(&g, 2));
    finish();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(*game.0.lock().unwrap(), ROUNDS);
}

#[test]
fn killing_waiters_at_random_loses_no_notification() {
    // As many notifications as jobs; waiters are killed and replaced all the time. Every job is
    // taken.
    const JOBS: usize = 300;
    let (shared, taken) = (shared(), Rc::new(Cell::new(0)));
    let worker = |shared: &Shared, taken: &Rc<Cell<usize>>| {
        let (s, t) = (shared.clone(), taken.clone());
        start(move || loop {
            let mut jobs = s.1.wait_while(s.0.lock()?, |jobs| *jobs == 0)?;
            *jobs -= 1;
            t.set(t.get() + 1);
        })
    };
    let mut workers: Vec<_> = (0..8).map(|_| worker(&shared, &taken)).collect();
    settle();
    let mut seed = 0x2545_f491u32;
    for _ in 0..JOBS {
        *shared.0.lock().unwrap() += 1;
        shared.1.notify_one();
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        let victim = seed as usize % workers.len();
        if seed & 0x100 != 0 {
            workers[victim].kill().unwrap();
            let new = worker(&shared, &taken);
            // It must be waiting before the next notification.
            workers[victim] = new;
        }
        if seed & 0x200 != 0 {
            settle();
        }
    }
    until("all jobs are taken", || {
        settle();
        taken.get() == JOBS
    });
    workers.iter().for_each(|w| w.kill().unwrap());
    assert_eq!((shared.1.waiting(), shared.0.waiting()), (0, 0));
}

// --- Event

#[test]
fn an_event_lets_all_go_even_if_it_is_cleared_at_once() {
    let (event, notes) = (Rc::new(Event::new()), Notes::default());
    for i in 0..3 {
        let (event, notes) = (event.clone(), notes.clone());
        start(move || {
            event.wait()?;
            notes.add(i);
            Ok(())
        });
    }
    settle();
    assert_eq!(event.waiting(), 3);
    event.set();
    event.clear();
    finish();
    assert_eq!((notes.all(), event.is_set()), (vec![0, 1, 2], false));
    event.set();
    event.wait().unwrap();
    event.wait_timeout(Duration::ZERO).unwrap();
}

#[test]
fn an_event_wait_times_out_and_leaves() {
    let event = Event::new();
    let start = Instant::now();
    assert!(matches!(event.wait_timeout(MS(20)), Err(Error::Timeout)));
    assert!(start.elapsed() >= MS(20));
    assert_eq!(event.waiting(), 0);
}

#[test]
fn a_plain_thread_wakes_a_tasklet_and_back() {
    let (there, back) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (t, b) = (there.clone(), back.clone());
    let thread = thread::spawn(move || {
        t.wait().unwrap();
        b.set();
    });
    start(move || {
        there.set();
        back.wait()
    });
    finish();
    thread.join().unwrap();
}

// --- Barrier

#[test]
fn a_barrier_lets_all_go_when_the_last_has_come_and_again() {
    let barrier = Arc::new(Barrier::new(3));
    let last = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (barrier, last) = (barrier.clone(), last.clone());
            thread::spawn(move || {
                for _ in 0..20 {
                    last.fetch_add(barrier.wait().unwrap().into(), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..20 {
        last.fetch_add(barrier.wait().unwrap().into(), Ordering::Relaxed);
    }
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!((last.load(Ordering::Relaxed), barrier.waiting()), (20, 0));
    assert!(Barrier::new(0).wait().unwrap() && Barrier::new(1).wait().unwrap());
}

#[test]
fn who_gives_up_breaks_the_barrier_for_all() {
    for kill in [false, true] {
        let (barrier, broken) = (Rc::new(Barrier::new(4)), Rc::new(Cell::new(0)));
        for _ in 0..2 {
            let (barrier, broken) = (barrier.clone(), broken.clone());
            start(move || {
                assert!(is(barrier.wait(), StateError::Broken));
                broken.set(broken.get() + 1);
                Ok(())
            });
        }
        let b = barrier.clone();
        let quitter = start(move || {
            // So long that all three are seen to wait.
            assert!(matches!(b.wait_timeout(MS(1000))?, true | false));
            Ok(())
        });
        settle();
        assert_eq!(barrier.waiting(), 3);
        if kill {
            quitter.kill().unwrap();
        } else {
            let ended = MainLoop::current().unwrap().run_until_idle();
            assert!(matches!(ended, Err(Error::Timeout)), "{ended:?}");
        }
        finish();
        assert_eq!((broken.get(), barrier.is_broken()), (2, true));
        assert!(is(barrier.wait(), StateError::Broken));
        barrier.reset();
        assert!(!barrier.is_broken());
        assert!(matches!(
            barrier.wait_timeout(Duration::ZERO),
            Err(Error::Timeout)
        ));
    }
}

// --- Queue

#[test]
fn a_queue_gives_values_in_order_to_getters_in_order() {
    let (queue, notes) = (Rc::new(Queue::new()), Notes::default());
    for i in 0..3 {
        let (queue, notes) = (queue.clone(), notes.clone());
        start(move || {
            let value: usize = queue.get()?;
            notes.add(10 * i + value);
            Ok(())
        });
    }
    settle();
    (0..5).for_each(|i| queue.put(i).unwrap());
    finish();
    assert_eq!((notes.all(), queue.len()), (vec![0, 11, 22], 2));
    assert_eq!(
        (queue.try_get().unwrap(), queue.get().unwrap()),
        (3, 4),
        "the rest is there"
    );
    assert!(matches!(queue.try_get(), Err(Error::WouldBlock)));
    assert!(matches!(queue.get_timeout(MS(5)), Err(Error::Timeout)));
}

#[test]
fn a_full_queue_makes_putters_wait_and_gives_refused_values_back() {
    let queue = Rc::new(Queue::bounded(1));
    queue.put(1).unwrap();
    let refused = queue.try_put(2).unwrap_err();
    assert!(matches!(refused.error, Error::WouldBlock));
    let refused = queue.put_timeout(refused.value, MS(5)).unwrap_err();
    assert!(matches!(refused.error, Error::Timeout) && refused.value == 2);
    let q = queue.clone();
    start(move || {
        q.put(2)?;
        Ok(())
    });
    settle();
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (1, 2));
}

#[test]
fn a_killed_getter_takes_no_value_with_it() {
    let queue = Rc::new(Queue::new());
    let q = queue.clone();
    let getter = start(move || q.get().map(drop));
    settle();
    queue.put(7).unwrap();
    getter.kill().unwrap();
    assert_eq!(queue.get().unwrap(), 7);
}

#[test]
fn a_closed_queue_gives_what_it_has_and_ends_the_waits() {
    let queue = Arc::new(Queue::bounded(2));
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    let q = queue.clone();
    let putter = thread::spawn(move || q.put(3).unwrap_err());
    until("the putter waits", || {
        format!("{queue:?}").contains("len: 2") && queue.len() == 2
    });
    queue.close();
    queue.close();
    let refused = putter.join().unwrap();
    assert!(matches!(refused.error, Error::Closed) && refused.value == 3);
    assert!(matches!(
        queue.try_put(4).unwrap_err().error,
        Error::Closed | Error::WouldBlock
    ));
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (1, 2));
    assert!(matches!(queue.get(), Err(Error::Closed)) && queue.is_closed());
    let empty = Arc::new(Queue::<u8>::new());
    let e = empty.clone();
    let getter = thread::spawn(move || e.get().unwrap_err());
    sleep(MS(5)).unwrap();
    empty.close();
    assert!(matches!(getter.join().unwrap(), Error::Closed));
}

#[test]
fn who_gets_until_the_queue_is_closed_leaves_nothing_behind() {
    for _ in 0..100 {
        let queue = Arc::new(Queue::new());
        let put = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (queue, put) = (queue.clone(), put.clone());
                thread::spawn(move || {
                    while queue.put(()).is_ok() {
                        put.fetch_add(1, Ordering::SeqCst);
                        // There one thread runs at a time, and who waits for a mutex may do so for
                        // minutes.
                        if cfg!(feature = "valgrind") {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let q = queue.clone();
        let closer = thread::spawn(move || {
            while q.is_empty() {
                std::hint::spin_loop();
            }
            q.close();
        });
        let mut got = 0;
        while queue.get().is_ok() {
            got += 1;
        }
        closer.join().unwrap();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(got, put.load(Ordering::SeqCst), "put in, and not got");
        assert!(queue.is_empty());
    }
}

#[test]
fn every_value_arrives_once_between_threads_and_tasklets() {
    const EACH: usize = 500;
    let queue = Arc::new(Queue::bounded(8));
    let seen = Arc::new(
        (0..4 * EACH)
            .map(|_| AtomicUsize::new(0))
            .collect::<Vec<_>>(),
    );
    let count = Arc::new(AtomicUsize::new(0));
    let mut threads = vec![];
    for part in 0..2 {
        let queue = queue.clone();
        threads.push(thread::spawn(move || {
            for side in 0..2 {
                let queue = queue.clone();
                spawn(move || -> hardswitch::Result<()> {
                    let first = (2 * part + side) * EACH;
                    (first..first + EACH).try_for_each(|i| Ok(queue.put(i)?))
                })
                .unwrap();
            }
            MainLoop::current().unwrap().run_until_idle().unwrap();
        }));
        // A thread and a tasklet of this one get.
    }
    let get = |queue: Arc<Queue<usize>>, seen: Arc<Vec<AtomicUsize>>, count: Arc<AtomicUsize>| {
        move || -> hardswitch::Result<()> {
            while let Ok(i) = queue.get() {
                seen[i].fetch_add(1, Ordering::Relaxed);
                if count.fetch_add(1, Ordering::Relaxed) + 1 == 4 * EACH {
                    queue.close();
                }
            }
            Ok(())
        }
    };
    let getter = get(queue.clone(), seen.clone(), count.clone());
    threads.push(thread::spawn(move || getter().unwrap()));
    start(get(queue.clone(), seen.clone(), count.clone()));
    finish();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1));
}

// --- Ends

#[test]
fn a_thread_that_ends_takes_its_waiters_off_the_lists() {
    let (lock, event) = (Arc::new(Lock::new(())), Arc::new(Event::new()));
    let guard = lock.lock().unwrap();
    let (l, e) = (lock.clone(), event.clone());
    thread::spawn(move || {
        spawn(move || l.lock().map(drop)).unwrap();
        spawn(move || e.wait()).unwrap();
        run().unwrap();
    })
    .join()
    .unwrap();
    assert_eq!((lock.waiting(), event.waiting()), (0, 0));
    drop(guard);
    assert!(lock.try_lock().is_some());
}

#[test]
fn a_lock_may_be_released_from_a_channel_callback() {
    static LOCK: Lock<()> = Lock::new(());
    let held = Rc::new(RefCell::new(Some(LOCK.lock().unwrap())));
    let done = Rc::new(Cell::new(false));
    let d = done.clone();
    start(move || {
        let _guard = LOCK.lock()?;
        d.set(true);
        Ok(())
    });
    settle();
    let h = held.clone();
    hardswitch::set_channel_callback(Some(Rc::new(move |_, _, _, _| {
        h.borrow_mut().take();
    })));
    let _ = hardswitch::Channel::<()>::new().try_receive();
    let channel = hardswitch::Channel::new();
    let c = channel.clone();
    start(move || c.send(1));
    channel.receive().unwrap();
    hardswitch::set_channel_callback(None);
    finish();
    assert!(done.get());
}

/// What an ending tasklet keeps goes in its own context, whatever it has used before or after: it
/// is the owner still.
#[test]
fn a_reentrant_lock_that_a_tasklet_keeps_is_given_back_at_its_end() {
    type Held = RefCell<Option<hardswitch::sync::RLockGuard<'static, ()>>>;
    static LOCK: RLock<()> = RLock::new(());
    static OTHER: RLock<()> = RLock::new(());
    hardswitch::local! {
        static HELD: Held = RefCell::new(None);
    }
    for known_before in [false, true] {
        start(move || {
            if known_before {
                drop(OTHER.lock()?);
            }
            HELD.with(|held| {
                *held.borrow_mut() = Some(LOCK.lock()?);
                Ok(())
            })
        });
        finish();
        assert!(!LOCK.is_locked(), "{known_before}");
    }
}

// --- At the last moment

/// So long that who waits is seen to wait, however slow the machine.
const SOON: Duration = Duration::from_secs(1);

/// Has a tasklet wait by `wait` for [`SOON`], lets the time be up, which queues it, and then
/// grants what it waits for by `grant`, before its turn comes. Answers what the wait was told.
fn granted_as_the_time_is_up<R: 'static>(
    wait: impl FnOnce() -> R + 'static,
    grant: impl FnOnce(),
) -> R {
    let told = Rc::new(Cell::new(None));
    let tells = told.clone();
    let waiter = start(move || {
        tells.set(Some(wait()));
        Ok(())
    });
    settle();
    assert!(waiter.is_blocked());
    let main_loop = MainLoop::current().unwrap();
    let begun = Instant::now();
    while waiter.is_blocked() {
        assert!(begun.elapsed() < LONG, "the time is never up");
        main_loop.pump(Some(MS(5))).unwrap();
    }
    grant();
    finish();
    told.take().expect("the wait is over")
}

#[test]
fn who_is_granted_a_lock_as_its_time_is_up_has_it() {
    let lock = Rc::new(Lock::new(0));
    let held = lock.lock().unwrap();
    let waits = lock.clone();
    let took = granted_as_the_time_is_up(
        move || waits.lock_timeout(SOON).map(|mut guard| *guard += 1),
        || drop(held),
    );
    assert!(took.is_ok(), "{took:?}");
    assert_eq!(lock.try_lock().map(|guard| *guard), Some(1));
}

#[test]
fn who_gets_a_value_as_its_time_is_up_has_it() {
    let queue = Rc::new(Queue::new());
    let waits = queue.clone();
    let got = granted_as_the_time_is_up(
        move || waits.get_timeout(SOON),
        || queue.put("in time").unwrap(),
    );
    assert_eq!(got.unwrap(), "in time");
    assert!(queue.is_empty());
}

#[test]
fn an_event_that_is_set_as_the_time_is_up_was_set_in_time() {
    let event = Rc::new(Event::new());
    let waits = event.clone();
    let told = granted_as_the_time_is_up(move || waits.wait_timeout(SOON), || event.set());
    assert!(told.is_ok(), "{told:?}");
    assert_eq!(event.waiting(), 0);
}

#[test]
fn a_barrier_that_is_full_as_the_time_is_up_is_not_broken() {
    let barrier = Rc::new(Barrier::new(2));
    let waits = barrier.clone();
    let told = granted_as_the_time_is_up(
        move || waits.wait_timeout(SOON),
        || assert!(barrier.wait().unwrap()),
    );
    assert!(matches!(told, Ok(false)), "{told:?}");
    assert!(!barrier.is_broken());
}

/// However often it is notified in between.
#[test]
fn the_time_of_wait_while_is_that_of_all_its_waits_together() {
    let shared = Rc::new((Lock::new(()), Condition::new()));
    let (waits, over) = (shared.clone(), Rc::new(Cell::new(None)));
    let tells = over.clone();
    let begun = Instant::now();
    start(move || {
        let guard = waits.0.lock()?;
        let (_, done) = waits.1.wait_while_timeout(guard, MS(50), |()| true)?;
        tells.set(Some((done, begun.elapsed())));
        Ok(())
    });
    until("its time is up", || {
        shared.1.notify_all();
        over.get().is_some()
    });
    let (done, after) = over.get().unwrap();
    assert!(!done && after >= MS(50), "{done} after {after:?}");
}

#[test]
fn who_may_not_wait_breaks_the_barrier_unless_it_comes_last() {
    for trapped in [false, true] {
        let barrier = Rc::new(Barrier::new(2));
        let come = |barrier: &Barrier| match trapped {
            false => barrier.wait_timeout(Duration::ZERO),
            true => {
                let _trap = hardswitch::block_trap();
                barrier.wait()
            }
        };
        let refused = come(&barrier).unwrap_err();
        assert!(matches!(refused, Error::Timeout | Error::BlockTrap));
        assert_eq!(matches!(refused, Error::BlockTrap), trapped);
        assert!(barrier.is_broken());
        assert!(is(barrier.wait(), StateError::Broken));
        barrier.reset();
        // Who waits is told.
        let (waits, told) = (Rc::new(Barrier::new(3)), Rc::new(Cell::new(false)));
        let (b, tell) = (waits.clone(), told.clone());
        spawn(move || tell.set(is(b.wait(), StateError::Broken))).unwrap();
        settle();
        come(&waits).unwrap_err();
        settle();
        assert!(told.get());
        // The last one need not wait.
        let b = barrier.clone();
        spawn(move || assert!(!b.wait().unwrap())).unwrap();
        settle();
        assert!(come(&barrier).unwrap());
        settle();
        assert!(!barrier.is_broken());
    }
}
