//! The ground floor: bytes, addresses and registers. It knows no tasklet.

pub(crate) mod arch;
pub(crate) mod exceptions;
pub(crate) mod fiber;
pub(crate) mod os;
pub(crate) mod stack;
pub(crate) mod valgrind;
