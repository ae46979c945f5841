//! What `claim` is made of; `models/` has others.

pub use core::sync::atomic::{AtomicU32, Ordering};
