//! Locks, conditions, semaphores, events, barriers and queues, for tasklets of any thread.
//!
//! | to | take |
//! |---|---|
//! | keep others out | [`Lock`]; [`RLock`], which its holder may take again |
//! | wait until something under a lock has changed | [`Condition`] |
//! | let a limited number in | [`Semaphore`], [`BoundedSemaphore`] |
//! | wait for a flag | [`Event`] |
//! | wait for each other | [`Barrier`] |
//! | hand values over | [`Queue`]; within a thread, [`Channel`](crate::Channel) |
//!
//! All of them can be used from any thread and be statics or in an `Arc`. **A wait** blocks only
//! its tasklet: the others of the thread run on. The main tasklet drives the thread's [main
//! loop](crate::main_loop) while it waits, so a plain thread without other tasklets sleeps in the
//! operating system. Nobody polls.
//!
//! **Order**: first come, first served, and nobody overtakes: a permit that is given back goes
//! straight to the waiter that has waited longest.
//!
//! **Time**: each wait has a form with a timeout. Zero tries once without letting anybody run; a
//! time beyond the range of the clock is no limit. If a waiter gets what it waits for just as its
//! time is up, it has it.
//!
//! **Killed or thrown at while waiting**: the tasklet leaves the list with that error; if it had
//! been given something already, that goes to the next waiter.
//!
//! A tasklet that waits here keeps [`MainLoop::run_until_idle`](crate::MainLoop::run_until_idle)
//! running: another thread may wake it.
//!
//! `docs/sync.md` has the guarantees in full, and measurements.

mod barrier;
mod condition;
mod event;
mod lock;
mod permits;
mod queue;
mod semaphore;
mod wait;

#[cfg(test)]
mod tests;

pub(crate) use lock::this_tasklet;

pub use barrier::Barrier;
pub use condition::Condition;
pub use event::Event;
pub use lock::{Lock, LockGuard, RLock, RLockGuard};
pub use queue::{Queue, Refused};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
