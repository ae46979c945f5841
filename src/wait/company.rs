//! What the reactor asks about other threads: a table of functions. The floor that knows other
//! threads hands it over before the first runtime is used.

use super::parker::Parker;
use crate::core::runtime::Runtime;
use crate::error::Result;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a thread may sleep, if there is a limit, and whether it has given its host lock up.
type Sleep = (Option<Duration>, bool);

pub struct Company {
    /// Gives the host lock to another thread if that waits for it. Errors: the calling thread may
    /// not pump, since it has given the host lock up.
    pub may_pump: fn(&Runtime) -> Result<()>,
    /// Reads the messages of other threads, which runs code of theirs; returns how many there were.
    pub read_messages: fn() -> usize,
    /// From now on the calling thread counts as asleep, on this parker. The flag: can only other
    /// threads of the library wake it?
    pub fall_asleep: fn(bool, &Arc<Parker>) -> Result<Sleep, Stay>,
    /// The thread counts as awake again. The flag is that of the [`Sleep`].
    pub wake_up: fn(bool),
    /// May other threads wake a tasklet of the calling one?
    pub is_known: fn() -> bool,
    /// Has the process other threads?
    pub is_there: fn() -> bool,
}

/// The reason why a thread stays awake.
pub enum Stay {
    /// Other threads know nothing of it: it may sleep, and nothing has to be told to them.
    Alone,
    /// There are messages.
    Messages,
    /// Only other threads could wake somebody, and none of them can run.
    Deadlock,
}

static COMPANY: OnceLock<&'static Company> = OnceLock::new();

/// Hands the table over. The first one stays.
pub fn set_company(company: &'static Company) {
    let _ = COMPANY.set(company);
}

pub(super) fn company() -> &'static Company {
    COMPANY
        .get()
        .expect("a thread's runtime is made before its reactor")
}
