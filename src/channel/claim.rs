//! Decides which thread ends the wait of a select that partners of several threads may meet.
//!
//! ```text
//!   OPEN ─┬─ take_for(n) ─► case n     a partner that found the wait in the queue of a channel
//!         │                               between threads, whose lock it holds
//!         └─ take() ──────► HERE       the select's own thread: a partner on a local channel,
//!                                         the time is up, something was thrown
//! ```
//!
//! The waits of a select are in several queues, under several locks. A partner that takes one out
//! of a queue must get the claim, too: one compare-and-swap decides among all of them. A partner
//! that comes too late drops the wait, and takes the next one. It never holds the last reference,
//! so nothing is destroyed under the lock: the select keeps its waits until it has left each queue,
//! under that queue's lock. A claim stays taken; a select that begins anew has another one.

use super::prim::{AtomicU32, Ordering};

const OPEN: u32 = 0;
const HERE: u32 = 1;
/// The value for case 0; those for the other cases follow.
const FIRST: u32 = 2;

pub struct Claim(AtomicU32);

impl Claim {
    pub fn new() -> Claim {
        Claim(AtomicU32::new(OPEN))
    }

    /// For the select's own thread. False: another thread has it.
    pub fn take(&self) -> bool {
        self.turn_to(HERE)
    }

    /// For a partner that meets the wait of this case, and holds the lock of its channel.
    pub fn take_for(&self, case: u32) -> bool {
        self.turn_to(FIRST + case)
    }

    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPEN
    }

    /// The case for which a partner on another queue took the claim.
    pub fn case(&self) -> Option<usize> {
        let word = self.0.load(Ordering::Acquire);
        (word >= FIRST).then(|| (word - FIRST) as usize)
    }

    fn turn_to(&self, whose: u32) -> bool {
        // A test can break this: with the flag, the claim is first found open and then taken, so
        // that a thread which does the same in between has the claim as well.
        if cfg!(hsw_bug_double_claim) {
            let open = self.is_open();
            if open {
                self.0.store(whose, Ordering::Release);
            }
            return open;
        }
        self.0
            .compare_exchange(OPEN, whose, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
