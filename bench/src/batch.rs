//! A batch of operations, and who took the processor away from it meanwhile.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// Runs so many operations and says how long they took.
pub type Batch = Box<dyn FnMut(u64) -> Duration>;

/// Preemptions that batches on other threads and in other processes have reported.
pub static ELSEWHERE: AtomicI64 = AtomicI64::new(0);

/// How long this thread has run so far. What takes the processor away from it does not count.
pub fn processor_time() -> Duration {
    // SAFETY: clock_gettime fills the structure it is given.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
        time
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs a batch on a thread that is not the bench's own.
pub fn elsewhere(batch: impl FnOnce() -> Duration) -> Duration {
    let before = preemptions_here();
    let took = batch();
    ELSEWHERE.fetch_add(preemptions_here() - before, Ordering::Relaxed);
    took
}

/// Runs a batch with so many threads beside it that do nothing but keep processors busy.
pub fn beside(busy: usize, batch: impl FnOnce() -> Duration) -> Duration {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::black_box((0..1000_u64).fold(0, u64::wrapping_add));
                }
            });
        }
        let took = batch();
        over.store(true, Ordering::Relaxed);
        took
    })
}

/// Preemptions of this thread, and those that were reported.
pub fn preemptions() -> i64 {
    preemptions_here() + ELSEWHERE.load(Ordering::Relaxed)
}

/// How often the kernel has taken the processor away from this thread against its will.
fn preemptions_here() -> i64 {
    // SAFETY: getrusage fills the structure it is given; all zeroes is a valid one to
    // begin with.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage.ru_nivcsw
    }
}
