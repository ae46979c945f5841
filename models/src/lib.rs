//! Models of how threads wake each other, and of the slots that handles of C's name. The protocol is the library's own source, included here;
//! only its primitives (`prim`) are those of loom, which runs each model in all orders that threads and memory allow. A lost wake-up is a deadlock there, and fails the test.
//!
//! `cargo test --release -p models`. With `HSW_BUG=hsw_bug_early_look` (look for letters before the lock that lying down takes),
//! `hsw_bug_late_sit` (find out about a call, then sit down), `hsw_bug_deaf` (lie down without regard to a ring), `hsw_bug_late_crowd` (find that nobody
//! looks, then say that one is in the queue), `hsw_bug_double_claim` (find that a select's claim is open, then take it) or `hsw_bug_late_pin` (look at a slot,
//! then pin it) they must fail.
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
#[path = "../../src/thread/sitter.rs"]
mod sitter;
#[path = "../../src/ffi/slot.rs"]
mod slot;

mod tests;
