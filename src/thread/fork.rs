//! A process that forks: the child has one thread, the one that forked, and must know it.
//!
//! ```text
//!   before the fork     the locks are taken that all threads share: nobody is in the middle of anything there
//!   in the parent       they are let go
//!   in the child        the other threads count as ended, the workers of pools are forgotten; then the locks are let go.
//!                       What needs more than memory waits for the thread's next look at its mail
//! ```
//!
//! Descriptors are made anew when they are next used (`prim::Signal`): the child must not hear the
//! parent's rings.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::Once;

use super::home;
use super::host_lock;
use crate::offload;

/// Forks that led to this process since the library was loaded.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// The number of the thread that the last one left.
static SURVIVOR: AtomicU64 = AtomicU64::new(0);

pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// When a thread made something, and which.
pub(crate) struct Origin {
    forks: u32,
    thread: u64,
}

impl Origin {
    pub(crate) fn here() -> Origin {
        Origin {
            forks: forks(),
            thread: crate::machine::os::thread_id(crate::core::runtime::new_thread_id),
        }
    }

    /// Was its thread lost in a fork?
    pub(crate) fn is_lost(&self) -> bool {
        self.forks != forks() && self.thread != SURVIVOR.load(Ordering::Relaxed)
    }
}

/// What is held over a fork.
struct Held {
    homes: home::Held,
    pools: offload::Held,
    host_lock: host_lock::Held,
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// From now on the library hears of forks.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        // SAFETY: functions that stay. An error says that there is no memory: forks go unnoticed
        // then.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

extern "C" fn before() {
    let held = Held {
        pools: offload::hold(),
        host_lock: host_lock::hold(),
        homes: home::hold(),
    };
    let _ = HELD.try_with(|slot| *slot.borrow_mut() = Some(held));
}

fn take() -> Option<Held> {
    HELD.try_with(|slot| slot.borrow_mut().take())
        .ok()
        .flatten()
}

extern "C" fn in_parent() {
    drop(take());
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    SURVIVOR.store(
        crate::machine::os::thread_id(crate::core::runtime::new_thread_id),
        Ordering::Relaxed,
    );
    let Some(mut held) = take() else { return };
    held.homes.forked();
    held.pools.forked();
    held.host_lock.forked();
    drop(held);
    if let Some(local) = super::existing() {
        local.forked();
    }
}
