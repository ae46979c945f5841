//! Between threads: channels, references to tasklets of other threads, the list of threads, and a
//! lock that lets one thread run at a time.
//!
//! Each thread that uses the library has tasklets of its own, which never leave it once they have
//! started. The types in this module cross threads, and are `Send`:
//!
//! | | |
//! |---|---|
//! | [`Channel`] | values between tasklets of any threads |
//! | [`Remote`] | a tasklet of another thread: insert, run, throw, kill, bind, move |
//! | [`threads`], [`info`] | the threads that use the library |
//! | [`HostLock`], [`allow_threads`] | tasklets of one thread at a time, for code that needs that |
//!
//! Nothing here ever switches the calling thread because of another one. A tasklet is made runnable
//! on *its* thread, and runs at that thread's next switch at the latest, or when its main loop
//! pumps. A thread with nothing to do sleeps in the system. `docs/threads.md` explains how.

use crate::core::runtime::Runtime;
use crate::error::Result;
use crate::wait::company::{Company, Stay};
use crate::wait::parker::{self, Parker};
use crate::wait::prim;
use std::sync::Arc;
use std::time::Duration;

mod attachment;
mod channel;
pub(crate) mod home;
pub mod host_lock;
mod inbox;
mod meeting;
mod remote;
mod select;
mod spin;
mod unstarted;
mod wait_state;

pub(crate) use attachment::{
    attach, detach, existing, local, raise, read_inbox, set_free, Leave, Local, Parking, Waker,
};
pub use channel::Channel;
pub use host_lock::{allow_threads, HostLock};
use inbox::StayAwake;
pub(crate) use remote::info_or;
pub use remote::{info, threads, Info, Remote};
pub(crate) use spin::Pace;

/// To be called before the calling tasklet runs others: serves requests of other threads. Errors:
/// an error that one of them threw at it.
pub(crate) fn attend(runtime: &Runtime) -> Result<()> {
    host_lock::offer(runtime);
    if runtime.has_messages() {
        read_inbox();
    }
    raise()
}

/// May other threads that use the library wake a tasklet of the calling thread, because it waits
/// for them or because they refer to it?
pub(crate) fn is_known() -> bool {
    existing().is_some_and(|local| local.waiting() > 0 || local.lent_out() > 0)
}

/// Does a tasklet of the calling thread wait for another thread?
pub(crate) fn is_waiting() -> bool {
    existing().is_some_and(|local| local.waiting() > 0)
}

/// What the reactor asks about other threads.
pub(crate) static COMPANY: Company = Company {
    may_pump,
    read_messages: read_inbox,
    fall_asleep,
    wake_up,
    is_known,
    is_there: home::has_company,
};

fn may_pump(runtime: &Runtime) -> Result<()> {
    host_lock::may_pump()?;
    host_lock::offer(runtime);
    Ok(())
}

fn fall_asleep(stuck: bool, parker: &Arc<Parker>) -> Result<(Option<Duration>, bool), Stay> {
    let local = existing().ok_or(Stay::Alone)?;
    let limit = local.begin_sleep(stuck, parker).map_err(|up| match up {
        StayAwake::Messages => Stay::Messages,
        StayAwake::Deadlock => Stay::Deadlock,
    })?;
    Ok((limit, host_lock::give_up()))
}

fn wake_up(away: bool) {
    if let Some(local) = existing() {
        local.end_sleep();
        // The pump unwinds, and will not read the messages.
        if std::thread::panicking() {
            local.remind();
        }
    }
    host_lock::come_back(away);
}
