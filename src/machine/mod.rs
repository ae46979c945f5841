//! The ground floor: bytes, addresses and registers. Nothing here knows of tasklets.

pub mod arch;
pub mod exceptions;
pub mod fiber;
pub mod os;
pub mod stack;
pub mod valgrind;
