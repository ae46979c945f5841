//! The core: who runs, and how one tasklet goes on after the other.

pub(crate) mod body;
pub(crate) mod drive;
pub(crate) mod exceptions;
pub(crate) mod extra;
pub(crate) mod measure;
pub(crate) mod references;
pub(crate) mod run;
pub(crate) mod runtime;
pub(crate) mod scheduler;
pub mod spill;
pub(crate) mod task;
pub(crate) mod thrown;
pub(crate) mod transfer;
pub(crate) mod value;
