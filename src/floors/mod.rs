//! What the core calls above it: the one file that knows all floors, with std and without.

use crate::channel::{self, wait};
#[cfg(feature = "std")]
mod end;
#[cfg(feature = "std")]
mod fork;

use crate::core::above::{Above, Ending};
use crate::core::ends;
use crate::core::runtime::Runtime;
use crate::{debug, lifecycle};

static ABOVE: Above = Above {
    create: lifecycle::create_default,
    attached: build::attached,
    ending: build::ending,
    watch_forks: build::watch_forks,
    attend: build::attend,
    read_inbox: build::read_inbox,
    turn_is_up: build::turn_is_up,
    turn_over: build::turn_over,
    pump: build::pump,
    unlink: channel::unlink,
    interrupt: wait::interrupt,
    last_reference: ends::last_reference,
    report_deadlock: debug::report_deadlock,
};

#[no_mangle]
extern "Rust" fn hsw_above() -> &'static Above {
    &ABOVE
}

#[cfg(feature = "std")]
mod build {
    use super::*;
    use super::{end, fork};
    use crate::thread::{self, host_lock};
    use crate::wait::company::set_company;

    pub(super) fn attached(runtime: &Runtime) {
        fork::watch();
        set_company(&thread::COMPANY);
        thread::attach(runtime);
        host_lock::attached();
    }

    pub(super) fn ending(ending: Ending) -> bool {
        match ending {
            Ending::SetFree => drop(thread::set_free()),
            Ending::LetGo => return end::let_go(),
            Ending::Close => {
                end::close();
                thread::detach(true);
            }
            Ending::Leave => host_lock::leave(),
            Ending::Abandon => {
                core::mem::forget(thread::set_free());
                end::abandon();
                thread::detach(false);
                host_lock::leave();
            }
        }
        false
    }

    pub(super) use super::fork::watch as watch_forks;
    pub(super) use crate::thread::attend;
    pub(super) use crate::thread::host_lock::{turn_is_up, turn_over};
    pub(super) use crate::wait::reactor::turn as pump;

    pub(super) fn read_inbox() {
        thread::read_inbox();
    }
}

/// There are no other threads to speak of, and nothing to sleep in.
#[cfg(not(feature = "std"))]
mod build {
    use super::*;
    use crate::error::Result;

    pub(super) fn attached(_: &Runtime) {}

    pub(super) fn ending(_: Ending) -> bool {
        false
    }

    pub(super) fn watch_forks() {}

    pub(super) fn attend(_: &Runtime) -> Result<()> {
        Ok(())
    }

    pub(super) fn read_inbox() {}

    pub(super) fn turn_is_up() -> bool {
        false
    }

    pub(super) fn turn_over() {}

    /// There are timeouts only, and nobody sleeps.
    pub(super) fn pump(runtime: &Runtime, _over: &dyn Fn() -> bool) -> Result<bool> {
        if runtime.deadlines.waiting() == 0 {
            return Ok(false);
        }
        crate::wait::time::fire_due();
        core::hint::spin_loop();
        Ok(true)
    }
}
