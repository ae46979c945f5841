//! Between threads: channels, references to tasklets of other threads, the list of threads, a lock for one at a time.
//!
//! Each thread that uses the library has tasklets of its own, which never leave it once they have started. What crosses is in this module, and `Send`:
//!
//! | | |
//! |---|---|
//! | [`Channel`] | values between tasklets of any threads |
//! | [`Remote`] | a tasklet of another thread: insert, run, throw, kill, bind, give it another thread |
//! | [`threads`], [`info`] | who is there |
//! | [`HostLock`], [`allow_threads`] | tasklets of one thread at a time, for code that needs that |
//!
//! Nothing here ever switches the calling thread because of another one: a tasklet is made runnable *there*, and runs when its thread comes to it,
//! at its next switch at the latest, or when its main loop pumps. A thread with nothing to do sleeps in the system.
//! `docs/threads.md` explains how.

use crate::core::runtime::Runtime;
use crate::error::Result;

mod attachment;
pub(crate) mod bell;
mod channel;
pub(crate) mod end;
pub(crate) mod fork;
mod home;
pub mod host_lock;
mod look;
mod mail;
mod meeting;
pub(crate) mod prim;
mod remote;
mod select;
mod sitter;
mod unstarted;

pub(crate) use attachment::{
    attach, detach, existing, local, raise, read_mail, set_free, Leave, Local, Seated, Sitting,
};
pub use channel::Channel;
pub(crate) use home::has_company;
pub use host_lock::{allow_threads, HostLock};
pub(crate) use look::Pace;
pub(crate) use mail::StayUp;
pub(crate) use remote::info_or;
pub use remote::{info, threads, Info, Remote};

/// Before the calling tasklet runs others: what other threads want. Errors: what one of them threw at it.
pub(crate) fn attend(runtime: &Runtime) -> Result<()> {
    host_lock::offer(runtime);
    if runtime.has_mail() {
        read_mail();
    }
    raise()
}

/// Has anybody asked something of a tasklet of the calling thread, or woken one, that the thread has not come to yet?
pub(crate) fn has_mail() -> bool {
    Runtime::existing().is_some_and(Runtime::has_mail)
}

/// May other threads that use the library wake a tasklet of the calling thread: one that waits for them, or one that they refer to?
pub(crate) fn is_known() -> bool {
    existing().is_some_and(|local| local.waiting() > 0 || local.lent_out() > 0)
}

/// Does a tasklet of the calling thread wait for another thread?
pub(crate) fn is_waiting() -> bool {
    existing().is_some_and(|local| local.waiting() > 0)
}
