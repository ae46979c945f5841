//! Blocking calls on worker threads, waited for by tasklets: Stackless' `call_async`.
//!
//! ```text
//!   tasklet ─ call(f) ─►  job queue (bounded) ─►  worker thread: f()
//!      │ blocks                                         │ puts the result, or the panic,
//!      ▼                                                ▼ into the job
//!   other tasklets run                    if the tasklet still waits and has not seen the
//!      ▲                                     result yet: a message to its thread
//!      │                                  if it has abandoned the call: an event for its
//!      │                                     thread, which calls the callback
//!      └──────────── woken by the main loop's pump ◄────┘
//! ```
//!
//! The tasklet that made the call claims the result, or the panic, of the closure, on its thread. A
//! tasklet that does not wait any more (killed, timed out) abandons its call. The closure still
//! runs to its end on the worker, since nothing can stop a blocked thread; its result goes to the
//! [abandonment callback](Call::on_abandoned), through the [event queue](crate::event) of the
//! thread that made the call.
//!
//! Threads are started when there is work for them, up to the pool's number, and stay. A program
//! that never calls starts none.
//!
//! Most calls that are worth a thread take long; but those that do not should not cost two wake-ups
//! of threads. So a worker that has done its job spins for the next one before it sleeps, and a
//! tasklet spins for the result if no other tasklet of its thread can run. Both spin no longer than
//! the `spin` of the caller's [settings](crate::Settings), and both do it less when it was in vain.

mod abandoned;
mod call;
mod job;
mod pool;
mod refusal;

pub(crate) use abandoned::{forget_calls_before, let_go, next_call};
pub use call::{call, Call};
#[cfg(feature = "http")]
pub(crate) use pool::makes_a_job;
pub use pool::{configure, pool, Pool, Settings};
pub(crate) use pool::{hold, Held};
pub(crate) use refusal::Refusal;
