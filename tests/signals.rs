//! Signals may come at any instant, in the middle of an exchange of slices too: the handler runs on
//! the stack that the stack pointer names, and must find room there that is nobody's.

#![cfg(feature = "std")]

use hardswitch::{Result, Settings, Tasklet};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// Writes over what a handler may use of the stack.
extern "C" fn scribble(_: libc::c_int) {
    let mut stack = [0x5au8; 2048];
    black_box(&mut stack);
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Sends the calling thread a signal every few microseconds until it is dropped.
struct Storm {
    over: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
}

impl Storm {
    fn new() -> Storm {
        // SAFETY: a handler that touches its own frame and an atomic.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = scribble as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            let set = libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
            assert_eq!(set, 0);
        }
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        // SAFETY: no argument. The thread outlives the storm, which ends in it.
        let target = unsafe { libc::pthread_self() };
        let sender = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                // SAFETY: the thread lives: it joins this one.
                assert_eq!(unsafe { libc::pthread_kill(target, libc::SIGUSR1) }, 0);
                thread::sleep(Duration::from_micros(20));
            }
        });
        Storm {
            over,
            sender: Some(sender),
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            sender.join().expect("the sender only sends");
        }
    }
}

/// Switches to `partner` until the time is up, above `KIB` of stack that must stay as it was.
fn keep<const KIB: usize>(partner: &Tasklet, seed: usize, end: Instant) -> Result<u64> {
    let mut kept = [[0usize; 1024 / size_of::<usize>()]; KIB];
    let word = |page: usize, at: usize| seed ^ (page << 16) ^ at.wrapping_mul(0x9e37_79b9);
    for (page, words) in kept.iter_mut().enumerate() {
        for (at, slot) in words.iter_mut().enumerate() {
            *slot = word(page, at);
        }
    }
    let (mut switches, late) = (0, end + Duration::from_secs(30));
    // On a slow machine longer, until there has been a storm.
    let calm = || SIGNALS.load(Ordering::Relaxed) <= 100;
    while switches == 0 || Instant::now() < end || calm() && Instant::now() < late {
        for _ in 0..20 {
            partner.switch()?;
            switches += 1;
        }
        for (page, words) in black_box(&mut kept).iter().enumerate() {
            for (at, &found) in words.iter().enumerate() {
                assert_eq!(found, word(page, at), "KiB {page}, word {at}");
            }
        }
    }
    Ok(switches)
}

#[test]
fn a_signal_in_the_middle_of_an_exchange_harms_nobody() {
    Settings {
        windows: 1,
        ..Settings::desktop()
    }
    .apply()
    .unwrap();
    // SAFETY: nothing of their stacks is lent to anybody.
    let tasklet = || unsafe { Tasklet::builder().sliced().build() }.unwrap();
    let (shallow, deep) = (tasklet(), tasklet());
    let (to_deep, to_shallow) = (deep.clone(), shallow.clone());
    let end = Instant::now() + Duration::from_millis(500);
    shallow
        .bind(move || {
            let switches = keep::<1>(&to_deep, 1, end)?;
            assert!(switches > 0);
            Ok(())
        })
        .unwrap();
    deep.bind_paused(move || keep::<40>(&to_shallow, 2, end + Duration::from_secs(60)).map(drop))
        .unwrap();
    let storm = Storm::new();
    shallow.setup().unwrap();
    hardswitch::run().unwrap();
    drop(storm);
    deep.kill().unwrap();
    assert!(SIGNALS.load(Ordering::Relaxed) > 100, "there was no storm");
}
