//! Promises about worker threads that `offload` does not list by itself.

use hardswitch::offload::{Pool, Settings};
use hardswitch::{spawn, MainLoop};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Calls that run now, and the most that ever did.
static BUSY: Mutex<(usize, usize)> = Mutex::new((0, 0));
static CHANGED: Condvar = Condvar::new();

fn work() {
    let mut busy = BUSY.lock().unwrap();
    busy.0 += 1;
    busy.1 = busy.1.max(busy.0);
    CHANGED.notify_all();
    // Until as many have met as may.
    let long = Duration::from_secs(60);
    let (mut busy, late) = CHANGED
        .wait_timeout_while(busy, long, |busy| busy.1 < 3)
        .unwrap();
    assert!(!late.timed_out(), "three threads never worked at once");
    busy.0 -= 1;
}

#[test]
fn as_many_threads_work_at_once_as_the_pool_has_and_no_more() {
    let pool = Pool::new(Settings {
        threads: 3,
        ..Settings::default()
    })
    .unwrap();
    let done = Rc::new(Cell::new(0));
    for _ in 0..10 {
        let (pool, done) = (pool.clone(), done.clone());
        spawn(move || {
            pool.call(work)?;
            done.set(done.get() + 1);
            Ok(())
        })
        .unwrap();
    }
    MainLoop::current().unwrap().run_until_idle().unwrap();
    // Nor is there a fourth that happened to be slow.
    assert_eq!(pool.load().0, 3);
    pool.shutdown();
    assert_eq!((done.get(), *BUSY.lock().unwrap()), (10, (0, 3)));
}
