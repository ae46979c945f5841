//! The C++ exceptions that a tasklet is handling, and the number of those that are on their way.
//! The C++ runtimes keep both for a thread; each tasklet has its own, so a switch exchanges them.
//!
//! A thread with one C++ runtime, or none, has its words at [`Runtime::eh`], and that is all that a
//! switch looks at. With [several](crate::machine::exceptions) that pointer names
//! [`EhGlobals::SEVERAL`], which looks like an exception that is handled and one that is on its
//! way: so the tests that each switch makes anyway lead here.

use crate::core::hooks::HOOK_RUNTIMES;
use crate::core::runtime::Runtime;
use crate::core::table;
use crate::core::task::{flag, Task};
use crate::machine::arch::EhGlobals;
use crate::machine::exceptions::{self, Globals, Saved};

/// Makes a C++ runtime known, or counts it once more. False when there is no room for it.
pub fn add(globals: Globals) -> bool {
    let new = exceptions::add(globals);
    if new == Some(true) {
        table::set_hook_of_all(HOOK_RUNTIMES);
    }
    new.is_some()
}

/// Takes back what [`add`] has done. False if it has not.
pub fn remove(globals: Globals) -> bool {
    let last = exceptions::remove(globals);
    if last == Some(true) {
        table::set_hook_of_all(HOOK_RUNTIMES);
    }
    last.is_some()
}

/// Asks all C++ runtimes for their words of the calling thread, whose runtime this is.
pub fn look(runtime: &Runtime) {
    // Before the list is read: a later change of the list sets the hook again.
    runtime.set_hook(HOOK_RUNTIMES, false);
    exceptions::of_this_thread(|found| {
        let eh = match *found {
            [] => runtime.stand_in(EhGlobals::NONE),
            [one] => one,
            _ => runtime.stand_in(EhGlobals::SEVERAL),
        };
        runtime.eh.set(eh);
        *runtime.words.borrow_mut() = found.to_vec();
    });
}

/// Asked when the words at [`Runtime::eh`] say yes: is an exception of a C++ runtime on its way?
#[cold]
#[inline(never)]
pub fn on_the_way(runtime: &Runtime) -> bool {
    // SAFETY: words of this thread.
    runtime
        .words
        .borrow()
        .iter()
        .any(|words| unsafe { (**words).uncaught != 0 })
}

/// Puts away what `prev` has in the C++ runtimes, and gives `next` what it has.
///
/// # Safety
/// Live tasks of the runtime; `prev` gives way to `next`.
pub unsafe fn exchange_words(runtime: &Runtime, prev: *mut Task, next: *mut Task) {
    // SAFETY: both are live tasks of the runtime; the words are those of this thread.
    unsafe {
        let all = runtime.words.borrow();
        for &of in all.iter() {
            let words = *of;
            if !words.caught.is_null() || words.uncaught != 0 {
                if !(*prev).is(flag::EH_SAVED) {
                    (*prev).extra().exceptions.clear();
                    (*prev).set(flag::EH_SAVED);
                }
                (*prev).extra().exceptions.put(Saved { of, words });
                *of = EhGlobals::NONE;
            }
        }
        if (*next).is(flag::EH_SAVED) {
            for &of in all.iter() {
                *of = (*next).extra().exceptions.take(of);
            }
            (*next).clear(flag::EH_SAVED);
        }
    }
}
