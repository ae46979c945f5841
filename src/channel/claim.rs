//! Who ends the wait of a select that partners of several threads may meet.
//!
//! ```text
//!   OPEN ─┬─ take_for(n) ─► case n      a partner found the wait in the queue of a channel between threads, whose lock it holds
//!         └─ take() ──────► HERE        its own thread: a partner on a local channel, the time is up, something was thrown
//! ```
//!
//! The waits of a select lie in several queues, under several locks. Who takes one out does not have it before it has the claim: one compare-and-swap decides
//! among all of them. Who comes too late drops the wait, and looks for the next one. It is never the last to have it, so nothing is dropped with it under the
//! lock: the select keeps its waits until it has left each queue, under that lock. A claim stays taken; a select that begins anew has another.

use super::prim::{AtomicU32, Ordering};

const OPEN: u32 = 0;
const HERE: u32 = 1;
/// Of case 0; those of the others follow.
const FIRST: u32 = 2;

pub struct Claim(AtomicU32);

impl Claim {
    pub fn new() -> Claim {
        Claim(AtomicU32::new(OPEN))
    }

    /// For the select's own thread. False: it is somebody else's.
    pub fn take(&self) -> bool {
        self.turn_to(HERE)
    }

    /// For who meets the wait of this case, and holds the lock of its channel.
    pub fn take_for(&self, case: u32) -> bool {
        self.turn_to(FIRST + case)
    }

    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPEN
    }

    /// Which case was taken from another queue than the thread's own.
    pub fn case(&self) -> Option<usize> {
        let word = self.0.load(Ordering::Acquire);
        (word >= FIRST).then(|| (word - FIRST) as usize)
    }

    fn turn_to(&self, whose: u32) -> bool {
        // A test's switch: finds that it is open, then takes it; who does so in between has it as well.
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
