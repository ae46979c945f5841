//! The functions that the core calls above it. This is the one place that knows all floors, with
//! std and without.

use crate::channel::{self, wait};
use crate::core::above::Above;
use crate::core::release;
use crate::{debug, lifecycle};

cfg_if::cfg_if! {
    if #[cfg(feature = "std")] {
        mod thread_end;
        mod fork;
        mod threads;
        use threads as build;
    } else {
        mod bare;
        use bare as build;
    }
}

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
    unlink: channel::unlink_blocked,
    interrupt: wait::interrupt,
    last_reference: release::last_reference,
    report_deadlock: debug::report_deadlock,
};

#[no_mangle]
extern "Rust" fn hsw_above() -> &'static Above {
    &ABOVE
}
