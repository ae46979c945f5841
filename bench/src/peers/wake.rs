//! Locks and condition variables: what a free lock costs, and how long a notified waiter
//! takes to go on. The waiters are a tasklet, a thread of hardswitch (its main tasklet),
//! and threads with the locks of std and parking_lot.

use crate::cases::Case;
use crate::offer::{Able, Timed};
use hardswitch::{sync, MainLoop};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub fn timed_tasklet(case: Case) -> Timed {
    match case {
        Case::Wake(percent) => Some(Ok(Able::new(move |n| {
            latency::<Ours>(n, percent, |waiter| {
                hardswitch::spawn(waiter).expect("a tasklet can be made");
                let idle = MainLoop::current().and_then(|main| main.run_until_idle());
                idle.expect("the loop runs");
            })
        })
        .noting("a tasklet waits"))),
        Case::Lock => Some(Ok(Able::new(|n| {
            let lock = sync::Lock::new(0u64);
            time(n, || *lock.lock().expect("it is free") += 1)
        }))),
        _ => None,
    }
}

pub fn timed_thread(case: Case) -> Timed {
    waiting_thread::<Ours>(case)
}

pub fn timed_std(case: Case) -> Timed {
    if let Case::Lock = case {
        return Some(Ok(Able::new(|n| {
            let lock = Mutex::new(0u64);
            time(n, || {
                *lock.lock().unwrap_or_else(PoisonError::into_inner) += 1
            })
        })));
    }
    waiting_thread::<Std>(case)
}

#[cfg(target_arch = "x86_64")]
pub fn timed_parking_lot(case: Case) -> Timed {
    if let Case::Lock = case {
        return Some(Ok(Able::new(|n| {
            let lock = parking_lot::Mutex::new(0u64);
            time(n, || *lock.lock() += 1)
        })));
    }
    waiting_thread::<ParkingLot>(case)
}

fn waiting_thread<D: Door>(case: Case) -> Timed {
    let Case::Wake(percent) = case else {
        return None;
    };
    Some(Ok(Able::new(move |n| {
        latency::<D>(n, percent, |waiter| waiter())
    })))
}

fn time(operations: u64, mut f: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..operations {
        black_box(&mut f)();
    }
    start.elapsed()
}

/// A number under a lock, and a condition that tells of its change.
trait Door: Default + Send + Sync + 'static {
    /// Waits until the number is `turn`; tells `ready` so with the lock held.
    fn wait(&self, turn: u64, ready: &AtomicU64);
    /// Sets the number to `turn`, gives the lock up, calls `before`, notifies.
    fn open(&self, turn: u64, before: impl FnOnce());
}

#[derive(Default)]
struct Ours(sync::Lock<u64>, sync::Condition);

impl Door for Ours {
    fn wait(&self, turn: u64, ready: &AtomicU64) {
        let guard = self.0.lock().expect("nobody is killed");
        ready.store(turn, Ordering::Release);
        let guard = self.1.wait_while(guard, |now| *now < turn);
        drop(guard.expect("nobody is killed"));
    }
    fn open(&self, turn: u64, before: impl FnOnce()) {
        *self.0.lock().expect("nobody is killed") = turn;
        before();
        self.1.notify_one();
    }
}

#[derive(Default)]
struct Std(Mutex<u64>, Condvar);

impl Door for Std {
    fn wait(&self, turn: u64, ready: &AtomicU64) {
        let guard = self.0.lock().expect("nobody panics");
        ready.store(turn, Ordering::Release);
        let guard = self.1.wait_while(guard, |now| *now < turn);
        drop(guard.expect("nobody panics"));
    }
    fn open(&self, turn: u64, before: impl FnOnce()) {
        *self.0.lock().expect("nobody panics") = turn;
        before();
        self.1.notify_one();
    }
}

#[cfg(target_arch = "x86_64")]
#[derive(Default)]
struct ParkingLot(parking_lot::Mutex<u64>, parking_lot::Condvar);

#[cfg(target_arch = "x86_64")]
impl Door for ParkingLot {
    fn wait(&self, turn: u64, ready: &AtomicU64) {
        let mut guard = self.0.lock();
        ready.store(turn, Ordering::Release);
        self.1.wait_while(&mut guard, |now| *now < turn);
    }
    fn open(&self, turn: u64, before: impl FnOnce()) {
        *self.0.lock() = turn;
        before();
        self.1.notify_one();
    }
}

/// So long the waiter has been waiting when it is notified: its thread sleeps by then.
const ASLEEP: Duration = Duration::from_micros(50);

/// Wakes a waiter on another thread `operations` times. The answer is the time of which
/// `percent` of the wake-ups stayed below, times their number: the report divides by it.
fn latency<D: Door>(
    operations: u64,
    percent: u32,
    run: impl FnOnce(Box<dyn FnOnce()>) + Send,
) -> Duration {
    let door = Arc::new(D::default());
    let (ready, notified) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let base = Instant::now();
    let now = move || base.elapsed().as_nanos() as u64;
    let late = Arc::new(Mutex::new(Vec::with_capacity(operations as usize)));
    thread::scope(|scope| {
        let (d, r, n, l) = (door.clone(), ready.clone(), notified.clone(), late.clone());
        scope.spawn(move || {
            run(Box::new(move || {
                for turn in 1..=operations {
                    d.wait(turn, &r);
                    let took = now().saturating_sub(n.load(Ordering::Acquire));
                    l.lock().expect("nobody panics").push(took);
                }
            }))
        });
        for turn in 1..=operations {
            while ready.load(Ordering::Acquire) != turn {
                thread::yield_now();
            }
            thread::sleep(ASLEEP);
            door.open(turn, || notified.store(now(), Ordering::Release));
        }
    });
    let mut late = late.lock().expect("nobody panics");
    late.sort_unstable();
    let at = late.len() * percent as usize / 100;
    Duration::from_nanos(late[at.min(late.len() - 1)] * operations)
}
