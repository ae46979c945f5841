//! The core: who runs, and how one tasklet goes on after the other.

pub(crate) mod drive;
pub(crate) mod exceptions;
pub(crate) mod measure;
pub(crate) mod run;
pub(crate) mod runtime;
pub(crate) mod scheduler;
pub mod spill;
pub(crate) mod thrown;
pub(crate) mod transfer;
pub(crate) mod value;
