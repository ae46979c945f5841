//! Who finds a deadlock has looked everywhere, in an order in which nothing slips by: stopped by a
//! signal between two steps of its looking, it still finds what was brought meanwhile.

#![cfg(feature = "std")]

use hardswitch::{Channel, MainLoop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 30_000;
const OVER: usize = usize::MAX;

thread_local! {
    static NUMBERS: Channel<u32> = Channel::new();
}

/// The rounds in which the thread that looks was stopped, and in which the other had posted.
static STOPPED: AtomicUsize = AtomicUsize::new(0);
static POSTED: AtomicUsize = AtomicUsize::new(0);

/// Looks without a pause at first, so that both threads are at work at the same time.
fn look(limit: usize, met: impl Fn() -> bool) {
    for looks in 0..limit {
        if met() {
            return;
        }
        if looks < 1000 {
            std::hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

/// Stops its thread, wherever it is just now, until the other has posted; not for ever, since that
/// may want a lock of this one.
extern "C" fn stop_here(_: libc::c_int) {
    let round = STOPPED.fetch_add(1, Ordering::AcqRel) + 1;
    look(3000, || POSTED.load(Ordering::Acquire) >= round);
}

/// Posted and let go between any two steps of who is about to block for ever: the event is run, and
/// no deadlock is found.
#[test]
fn what_was_posted_comes_before_the_deadlock() {
    // SAFETY: a handler that touches atomics only.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = stop_here as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        let set = libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
        assert_eq!(set, 0);
    }
    // SAFETY: no argument. The thread outlives the other, which it joins.
    let target = unsafe { libc::pthread_self() };
    let (remote, promised) = (
        MainLoop::current().unwrap().remote(),
        Arc::new(AtomicUsize::new(0)),
    );
    let promises = promised.clone();
    let poster = thread::spawn(move || {
        for round in 1.. {
            let work = remote.work();
            promises.store(round, Ordering::Release);
            // SAFETY: the thread lives: it joins this one.
            assert_eq!(unsafe { libc::pthread_kill(target, libc::SIGUSR1) }, 0);
            look(usize::MAX, || STOPPED.load(Ordering::Acquire) == round);
            work.remote()
                .post(|| NUMBERS.with(Channel::clone).send(7).unwrap())
                .unwrap();
            drop(work);
            POSTED.store(round, Ordering::Release);
            look(usize::MAX, || promises.load(Ordering::Acquire) != round);
            if promises.load(Ordering::Acquire) == OVER {
                return;
            }
        }
    });
    let numbers = NUMBERS.with(Channel::clone);
    let end = Instant::now() + Duration::from_secs(2);
    for round in 1.. {
        look(usize::MAX, || promised.load(Ordering::Acquire) == round);
        // The signal comes earlier and later in what follows.
        for _ in 0..round % 300 {
            std::hint::spin_loop();
        }
        assert_eq!(numbers.receive().unwrap(), 7, "in round {round}");
        if round == ROUNDS || Instant::now() > end {
            break;
        }
        promised.store(0, Ordering::Release);
    }
    promised.store(OVER, Ordering::Release);
    poster.join().unwrap();
}
