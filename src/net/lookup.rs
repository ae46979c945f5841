//! Looks names up, on threads of its own.
//!
//! The system's call for it blocks for as long as it likes: a name server that does not answer
//! costs half a minute. So workers make that call, and only the tasklet waits. They are not the
//! workers of the [pool](crate::offload): there jobs would wait for dead names, and names for
//! jobs.
//!
//! ```text
//!   tasklet ─┐                  ┌─► worker: resolver(name)
//!   tasklet ─┼─► one look-up ───┤        │
//!   thread  ─┘   a name         └────────┴─► answers all that wait for that name
//! ```
//!
//! * **Equal look-ups are one** until it has been answered.
//! * **Answers may be kept** for a time ([`Settings::keep`]), by default not at all: how long
//!   an answer stays valid is the resolver's business. An answer that led to no connection is
//!   dropped.
//! * **Addresses are not looked up**: `"127.0.0.1"` and `"::1"` need no worker.
//! * **There is room for all.** A look-up waits while no worker is free. The queue is bounded
//!   because each entry has somebody who waits for it, and is taken out when nobody does any
//!   more.
//! * **A caller that gives up delays nobody.** A system call cannot be stopped. But once nobody
//!   waits for it, its worker does not count any more, and others get another one, up to
//!   [`Settings::spare`].
//!
//! Workers are started when there is work for them, and end after some seconds without work.

pub use super::resolve::{configure, forget, resolve, set_resolver, Resolver, Settings};
