//! The end of a thread: what it keeps besides its runtime ends here, in one order; see
//! `docs/threads.md`. Both ways to end the thread's part, the thread's end and a call by the host,
//! come through here ([`thread_exit`](crate::lifecycle::thread_exit)). So per-thread state has no
//! destructor of its own.

use crate::wait::reactor::Reactor;
use crate::{offload, timer};

/// The thread is ending; its tasklets have been killed, and may be killed once more. Drops the
/// functions that would have run later: posted events, timers, callbacks of abandoned calls.
/// Returns whether there were any.
pub fn let_go() -> bool {
    let events_and_timers = Reactor::existing().is_some_and(|reactor| reactor.let_go());
    offload::let_go() | events_and_timers
}

/// The thread's part is over, and no code of it runs any more: closes its loop, even if there are
/// references to the loop.
pub fn close() {
    offload::let_go();
    timer::end();
    Reactor::end();
}

/// The thread ends inside a tasklet, so no code of it can run: only tells the other threads.
pub fn abandon() {
    Reactor::abandon();
}
