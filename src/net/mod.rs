//! The network, for tasklets: what blocks is the tasklet, never the thread.
//!
//! | module | what | needs |
//! |---|---|---|
//! | [`shim`] | `poll` and `select` that fail only when the call failed, over any system's quirky calls | core |
//! | [`errno`] | error numbers by name, Linux and PS3 | core |
//! | [`lv2`] | the PS3's network structures as values | core |
pub mod errno;
pub mod lv2;
pub mod shim;
#[cfg(feature = "std")]
mod sys;
#[cfg(feature = "std")]
pub use sys::{poll, select, Os};
