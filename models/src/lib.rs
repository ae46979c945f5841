//! Models of how threads wake each other, and of the slots that handles of C's name. The protocol
//! is the library's own source, included here. Only its primitives (`prim`) are those of loom,
//! which runs each model in all orders that threads and memory allow. A lost wake-up is a deadlock
//! there, and fails the test.
//!
//! `cargo test --release -p models`. With `HSW_BUG=` one of these they must fail:
//!
//! * `hsw_bug_early_look`: looks for messages before it takes the lock under which it goes to
//!   sleep;
//! * `hsw_bug_late_park`: finds out whether the wait has ended, then parks;
//! * `hsw_bug_deaf`: falls asleep in spite of a notification;
//! * `hsw_bug_late_queue`: finds that nobody spins, then says that there is a queue;
//! * `hsw_bug_double_claim`: finds that a select's claim is open, then takes it;
//! * `hsw_bug_late_pin`: looks at a slot, then pins it.
#![cfg(test)]
// What is not modelled is used by the library alone.
#![allow(dead_code)]

#[path = "../../src/channel/claim.rs"]
mod claim;
#[path = "../../src/thread/inbox.rs"]
mod inbox;
#[path = "../../src/thread/meeting.rs"]
mod meeting;
#[path = "../../src/wait/parker.rs"]
mod parker;
mod prim;
#[path = "../../src/ffi/slot.rs"]
mod slot;
#[path = "../../src/thread/wait_state.rs"]
mod wait_state;

mod tests;
