//! The atomics that `claim` uses; `models/` has its own.

pub use core::sync::atomic::{AtomicU32, Ordering};
