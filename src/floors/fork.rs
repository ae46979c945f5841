//! A process that forks: the child has only the thread that forked, and the library must know.
//!
//! ```text
//!   before the fork     takes the locks that all threads share: no other thread changes anything
//!   in the parent       releases them
//!   in the child        counts the other threads as ended, forgets the workers of pools and of
//!                       look-ups; then releases the locks. Work that needs more than memory is
//!                       done when the thread next reads its inbox
//! ```
//!
//! Descriptors are made anew when they are next used (`prim::Signal`): notifications in the parent
//! must not reach the child.

use std::cell::RefCell;
use std::sync::Once;

use crate::core::table;
use crate::machine::exceptions;
use crate::thread::{self, home, host_lock};
use crate::wait::event;
use crate::wait::reactor::Reactor;
use crate::{net, offload, wait};

/// The locks that are held over a fork.
struct Held {
    homes: home::Held,
    pools: offload::Held,
    lookups: net::Held,
    host_lock: host_lock::Held,
    /// The connections that clients keep.
    #[cfg(feature = "http")]
    _idle: net::http::Held,
    /// The events of the thread's loop.
    _events: Option<event::Held>,
    _exceptions: exceptions::Locked,
    _table: table::Locked,
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// From now on the library notices forks.
pub fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        // SAFETY: the three functions live as long as the process. An error means that there is no
        // memory: then forks are not noticed.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

extern "C" fn before() {
    let held = Held {
        pools: offload::hold(),
        lookups: net::hold(),
        host_lock: host_lock::hold(),
        #[cfg(feature = "http")]
        _idle: net::http::hold(),
        homes: home::hold(),
        // Who has the queue or the signal waits for none of the locks above.
        _events: Reactor::existing().map(|reactor| reactor.events().hold()),
        // Nobody who has one of these two waits for a lock above: so they come last. Under the
        // first one the C++ runtimes of the process are asked for their words, which may take a
        // while.
        _exceptions: exceptions::hold(),
        _table: table::hold(),
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
    let local = thread::existing();
    held.homes.forked();
    held.pools.forked();
    held.lookups.forked(local.as_deref());
    held.host_lock.forked();
    drop(held);
    if let Some(local) = local {
        let next_call = offload::next_call();
        local.forked(move || {
            offload::forget_calls_before(next_call);
            net::serve_again();
        });
    }
}
