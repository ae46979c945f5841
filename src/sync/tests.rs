//! Waiters that are still on a list although their thread is gone: it has ended in the middle of a
//! tasklet.

use super::*;
use crate::{Result, Tasklet};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{mpsc, Arc};
use std::thread::{self, JoinHandle};

/// As many recursive frames would use up a stack of 16 KiB.
const MANY: usize = 2000;

/// A thread that has abandoned its tasklets. It ends when this is dropped.
struct Gone {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Gone {
    /// A thread on which `count` tasklets call `wait`.
    fn with(count: usize, wait: impl Fn() -> Result<()> + Clone + Send + 'static) -> Gone {
        let (end, ends) = mpsc::channel();
        let (gone, is_gone) = mpsc::channel();
        let thread = thread::spawn(move || {
            for _ in 0..count {
                // SAFETY: the tasklet owns what it uses, and the object that it waits for lies in
                // the heap: nobody points to its stack.
                let sliced = unsafe { Tasklet::builder().sliced() };
                sliced.spawn(wait.clone()).unwrap();
            }
            crate::run().unwrap();
            // The same as when a thread ends in the middle of a tasklet.
            let forgotten = crate::thread::existing().unwrap();
            crate::thread::detach(false);
            gone.send(()).unwrap();
            let _ = ends.recv();
            // This thread ends in order after all.
            // SAFETY: `detach` has forgotten one reference, which is given back here.
            drop(unsafe { Rc::from_raw(Rc::as_ptr(&forgotten)) });
        });
        is_gone.recv().unwrap();
        Gone {
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        drop(self.end.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Calls `f` in a tasklet with a small stack.
fn on_a_small_stack<R: 'static>(f: impl FnOnce() -> R + 'static) -> R {
    let result = Rc::new(RefCell::new(None));
    let there = result.clone();
    Tasklet::builder()
        .stack_size(16 * 1024)
        .spawn(move || *there.borrow_mut() = Some(f()))
        .unwrap();
    crate::run().unwrap();
    let result = result.take();
    result.expect("it has ended")
}

#[test]
#[cfg_attr(feature = "asan", ignore = "what a thread abandons is a leak")]
fn a_notification_passes_many_that_are_gone() {
    let shared = Arc::new((Lock::new(()), Condition::new()));
    let waits = shared.clone();
    let _gone = Gone::with(MANY, move || {
        let guard = waits.1.wait(waits.0.lock()?)?;
        drop(guard);
        Ok(())
    });
    assert_eq!(shared.1.waiting(), MANY);
    let (lives, woken) = (shared.clone(), Rc::new(RefCell::new(None)));
    let tell = woken.clone();
    crate::spawn(move || {
        let guard = lives.1.wait(lives.0.lock()?)?;
        *tell.borrow_mut() = Some(lives.1.waiting());
        drop(guard);
        Ok::<(), crate::Error>(())
    })
    .unwrap();
    crate::run().unwrap();
    let notifies = shared.clone();
    on_a_small_stack(move || notifies.1.notify_one());
    crate::run().unwrap();
    assert_eq!(woken.take(), Some(0), "it goes to the one who is there");
    assert!(!shared.0.is_locked());
}

#[test]
#[cfg_attr(feature = "asan", ignore = "what a thread abandons is a leak")]
fn a_lock_passes_many_that_are_gone() {
    let lock = Arc::new(Lock::new(()));
    lock.acquire().unwrap();
    let waits = lock.clone();
    let _gone = Gone::with(MANY, move || waits.acquire());
    assert_eq!(lock.waiting(), MANY);
    let releases = lock.clone();
    on_a_small_stack(move || releases.release()).unwrap();
    assert_eq!((lock.waiting(), lock.is_locked()), (0, false));
}

#[test]
#[cfg_attr(feature = "asan", ignore = "what a thread abandons is a leak")]
fn permits_pass_many_that_are_gone() {
    for given in [1, 3] {
        let semaphore = Arc::new(Semaphore::new(0));
        let waits = semaphore.clone();
        let _gone = Gone::with(MANY, move || waits.acquire());
        assert_eq!(semaphore.waiting(), MANY);
        let releases = semaphore.clone();
        on_a_small_stack(move || releases.release_many(given)).unwrap();
        assert_eq!((semaphore.waiting(), semaphore.available()), (0, given));
    }
}

#[test]
#[cfg_attr(feature = "asan", ignore = "what a thread abandons is a leak")]
fn a_value_passes_getters_that_are_gone() {
    let queue = Arc::new(Queue::new());
    let waits = queue.clone();
    let _gone = Gone::with(3, move || waits.get().map(drop));
    let (lives, got) = (queue.clone(), Rc::new(RefCell::new(None)));
    let tell = got.clone();
    crate::spawn(move || {
        *tell.borrow_mut() = Some(lives.get()?);
        Ok::<(), crate::Error>(())
    })
    .unwrap();
    crate::run().unwrap();
    queue.put(7).unwrap();
    crate::run().unwrap();
    assert_eq!(got.take(), Some(7), "it goes to the one who is there");
}

#[test]
fn a_permit_that_was_given_before_the_time_was_up_is_had_though_nobody_has_been_woken() {
    let permits = Rc::new(super::permits::Permits::new(0, 1));
    let (waits, told) = (permits.clone(), Rc::new(RefCell::new(None)));
    let tell = told.clone();
    crate::spawn(move || {
        let until = crate::wait::until::Until::within(std::time::Duration::from_millis(5));
        *tell.borrow_mut() = Some(waits.acquire(until));
    })
    .unwrap();
    crate::run().unwrap();
    let given = permits.grant().expect("it waits");
    crate::MainLoop::current()
        .unwrap()
        .run_until_idle()
        .unwrap();
    assert!(matches!(told.take(), Some(Ok(()))));
    assert_eq!((permits.free(), permits.waiting()), (0, 0));
    permits.wake(&given);
    assert_eq!(permits.free(), 0, "it has come");
}
