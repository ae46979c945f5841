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
use std::sync::Once;

use crate::thread::{self, home, host_lock};
use crate::{offload, wait};

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
pub fn watch() {
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
    wait::fork::forked();
    let Some(mut held) = take() else { return };
    held.homes.forked();
    held.pools.forked();
    held.host_lock.forked();
    drop(held);
    if let Some(local) = thread::existing() {
        let next_call = offload::next_call();
        local.forked(move || offload::forget_calls_before(next_call));
    }
}
