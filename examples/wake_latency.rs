//! How long a notified tasklet takes to go on: a histogram, beside that of a waiter that
//! polls as CPython 2.7's `threading.Condition.wait(timeout)` did.
//!
//! `cargo run --release --example wake_latency [WAKE-UPS]`

use hardswitch::sync::{Condition, Lock};
use hardswitch::{sleep, MainLoop, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Door {
    turn: Lock<u64>,
    changed: Condition,
    ready: AtomicU64,
    notified: AtomicU64,
}

/// Waits with a timeout until the number is `turn`.
fn wait(door: &Door, turn: u64) -> Result<()> {
    let guard = door.turn.lock()?;
    door.ready.store(turn, Ordering::Release);
    let (_guard, done) = door
        .changed
        .wait_while_timeout(guard, LONG, |now| *now < turn)?;
    assert!(done);
    Ok(())
}

/// The same by looking again and again, each time twice as long after the last look: half a
/// millisecond doubled to begin with, 50 ms at most.
fn poll(door: &Door, turn: u64) -> Result<()> {
    door.ready.store(turn, Ordering::Release);
    let mut delay = Duration::from_micros(500);
    while *door.turn.lock()? < turn {
        delay = (2 * delay).min(Duration::from_millis(50));
        sleep(delay)?;
    }
    Ok(())
}

/// Nanoseconds from each notification to its waiter's going on.
fn measure(wake_ups: u64, waits: fn(&Door, u64) -> Result<()>) -> Vec<u64> {
    let door = Arc::new(Door::default());
    let base = Instant::now();
    let now = move || base.elapsed().as_nanos() as u64;
    let waiting = door.clone();
    let waiter = thread::spawn(move || -> Result<Vec<u64>> {
        let (late, seen) = std::sync::mpsc::channel();
        hardswitch::spawn(move || -> Result<()> {
            for turn in 1..=wake_ups {
                waits(&waiting, turn)?;
                let took = now().saturating_sub(waiting.notified.load(Ordering::Acquire));
                let _ = late.send(took);
            }
            Ok(())
        })?;
        MainLoop::current()?.run_until_idle()?;
        Ok(seen.iter().collect())
    });
    for turn in 1..=wake_ups {
        while door.ready.load(Ordering::Acquire) != turn {
            thread::yield_now();
        }
        // Not always the same part of a poller's delay.
        thread::sleep(Duration::from_micros(100 + turn * 7919 % 20_000));
        let guard = door.turn.lock().map(|mut now| *now = turn);
        guard.expect("nobody kills the main tasklet");
        door.notified.store(now(), Ordering::Release);
        door.changed.notify_one();
    }
    let late = waiter.join().expect("the waiter does not panic");
    late.expect("the waiter is not killed")
}

fn show(name: &str, mut late: Vec<u64>) {
    late.sort_unstable();
    let at = |percent: usize| Duration::from_nanos(late[(late.len() - 1) * percent / 100]);
    println!(
        "{name}: p50 {:?}, p99 {:?}, most {:?}",
        at(50),
        at(99),
        at(100)
    );
    let mut from = 0;
    for power in 9..=27 {
        let below = 1u64 << power;
        let count = late.iter().filter(|ns| (from..below).contains(*ns)).count();
        if count > 0 {
            let bar = "#".repeat((count * 60).div_ceil(late.len()));
            println!("{:>12?} {count:>6} {bar}", Duration::from_nanos(below));
        }
        from = below;
    }
}

fn main() {
    let wake_ups = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let wake_ups = wake_ups.unwrap_or(1000).max(1);
    println!("below           wake-ups");
    show("condition", measure(wake_ups, wait));
    show("polling", measure(wake_ups, poll));
}
