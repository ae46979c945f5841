//! What stacklesslib's tests promise, as far as it has a meaning here and is not promised
//! elsewhere: time limits, results of tasklets, waiting for several things, the main loop.
//! `docs/conformance.md` lists row by row where what is tested.

#[path = "../common/mod.rs"]
mod common;

mod locks;
mod main_loop;
mod threadpool;
mod timeout;
mod wait;
