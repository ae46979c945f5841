//! With std: other threads, forks, and a loop to sleep in.

use super::{fork, thread_end};
use crate::core::above::Ending;
use crate::core::runtime::Runtime;
use crate::thread::{self, host_lock};
use crate::wait::company::set_company;

pub(super) use super::fork::watch as watch_forks;
pub(super) use crate::thread::attend;
pub(super) use crate::thread::host_lock::{turn_is_up, turn_over};
pub(super) use crate::wait::reactor::turn as pump;

pub(super) fn attached(runtime: &Runtime) {
    fork::watch();
    set_company(&thread::COMPANY);
    thread::attach(runtime);
    host_lock::attached();
}

pub(super) fn ending(ending: Ending) -> bool {
    match ending {
        Ending::SetFree => drop(thread::set_free()),
        Ending::LetGo => return thread_end::let_go(),
        Ending::Close => {
            thread_end::close();
            thread::detach(true);
        }
        Ending::Leave => host_lock::leave(),
        Ending::Abandon => {
            std::mem::forget(thread::set_free());
            thread_end::abandon();
            thread::detach(false);
            host_lock::leave();
        }
    }
    false
}

pub(super) fn read_inbox() {
    thread::read_inbox();
}
