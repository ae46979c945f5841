//! Between threads: channels, references to tasklets of other threads, the list of threads.
//!
//! Each thread that uses the library has tasklets of its own, which never leave it. What crosses is in this module, and `Send`:
//!
//! | | |
//! |---|---|
//! | [`Channel`] | values between tasklets of any threads |
//! | [`Remote`] | a tasklet of another thread: insert, run, throw, kill |
//! | [`threads`], [`info`] | who is there |
//!
//! Nothing here ever switches the calling thread because of another one: a tasklet is made runnable *there*, and runs when its thread comes to it,
//! at its next switch at the latest, or when its main loop pumps. A thread with nothing to do sleeps in the system.
//! `docs/threads.md` explains how.

pub(crate) mod bell;
mod channel;
mod home;
mod local;
mod look;
mod mail;
pub(crate) mod prim;
mod remote;
mod sitter;

pub use channel::Channel;
pub(crate) use local::{
    attach, detach, existing, local, raise, read_mail, read_mail_and_raise, Local, Seated, Sitting,
};
pub(crate) use mail::StayUp;
pub use remote::{info, threads, Info, Remote};

/// Does a tasklet of the calling thread wait for another thread?
pub(crate) fn is_waiting() -> bool {
    existing().is_some_and(|local| local.waiting() > 0)
}
