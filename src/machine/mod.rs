//! The ground floor: bytes, addresses and registers. It knows no tasklet.

pub mod arch;
pub mod exceptions;
pub mod fiber;
pub mod os;
pub mod stack;
pub mod valgrind;
