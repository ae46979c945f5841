//! What the C++ runtimes of the process keep for a thread: the exceptions that it is handling, and
//! how many are on their way. Each tasklet has its own, so a switch exchanges them.
//!
//! A process may have more than one C++ runtime: a plugin that was linked with a static one and
//! shows nothing of it has that one to itself, and a program in C has none that its plugins would
//! share. The weak reference of the ports (`hsw_asm_cxa_globals`) finds one at most: that of the
//! file which the library is in. The others [add] themselves: `hardswitch.h` has each module in C++
//! that includes it do so when it is loaded.
//!
//! A thread with one runtime, or none, has its words at [`Runtime::eh`], and that is all that a
//! switch looks at. With several that pointer names [`EhGlobals::SEVERAL`], which looks like an
//! exception that is handled and one on its way: so each test that a switch makes anyway leads here.

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::core::runtime::{Runtime, HOOK_RUNTIMES};
use crate::core::task::{flag, Task};
use crate::debug::table;
use crate::machine::arch::EhGlobals;

/// `__cxa_get_globals` of a C++ runtime.
pub(crate) type Globals = unsafe extern "C" fn() -> *mut EhGlobals;

/// C++ runtimes that can be known at a time, beside the one that the library finds itself.
pub(crate) const MOST: usize = 32;

/// A runtime that was added, and how often.
#[derive(Clone, Copy)]
struct Added {
    globals: Globals,
    times: usize,
}

/// The runtimes of the process.
struct Known {
    /// Held for the time of a few loads and stores; and for as long as the runtimes are asked for
    /// their words, so that none is unloaded meanwhile. That happens once for each thread and
    /// change of the list.
    lock: AtomicBool,
    added: UnsafeCell<[Option<Added>; MOST]>,
}

// SAFETY: `added` is touched by who holds `lock`.
unsafe impl Sync for Known {}

static KNOWN: Known = Known {
    lock: AtomicBool::new(false),
    added: UnsafeCell::new([None; MOST]),
};

/// Calls `f` with the list. It may call nothing that comes back here.
fn with_known<R>(f: impl FnOnce(&mut [Option<Added>; MOST]) -> R) -> R {
    while KNOWN.lock.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    // SAFETY: the lock is held.
    let result = f(unsafe { &mut *KNOWN.added.get() });
    KNOWN.lock.store(false, Ordering::Release);
    result
}

/// Makes a C++ runtime known, or counts once more. False when there is no room for it.
pub(crate) fn add(globals: Globals) -> bool {
    let added = with_known(|known| {
        if let Some(same) = known.iter_mut().flatten().find(|a| same(a, globals)) {
            same.times += 1;
            return Some(false);
        }
        let free = known.iter_mut().find(|place| place.is_none())?;
        *free = Some(Added { globals, times: 1 });
        Some(true)
    });
    if added == Some(true) {
        table::set_hook_of_all(HOOK_RUNTIMES);
    }
    added.is_some()
}

/// Takes back what [`add`] has done. False if it has not.
pub(crate) fn remove(globals: Globals) -> bool {
    let left = with_known(|known| {
        let place = known
            .iter_mut()
            .find(|place| place.as_ref().is_some_and(|a| same(a, globals)))?;
        let times = place.as_ref().map_or(0, |added| added.times - 1);
        *place = (times > 0).then_some(Added { globals, times });
        Some(times)
    });
    if left == Some(0) {
        table::set_hook_of_all(HOOK_RUNTIMES);
    }
    left.is_some()
}

/// Two functions with one address are one; one function with two addresses is found by what it
/// returns.
fn same(added: &Added, globals: Globals) -> bool {
    ptr::fn_addr_eq(added.globals, globals)
}

/// The words of a thread, for [`Runtime::words`].
pub(crate) type Words = Vec<*mut EhGlobals>;

/// The words of one runtime, as a tasklet that does not run has them.
#[derive(Clone, Copy)]
struct Saved {
    of: *mut EhGlobals,
    words: EhGlobals,
}

/// What a tasklet that does not run has in the C++ runtimes.
pub(crate) struct Exceptions {
    first: Saved,
    /// Those of further runtimes: of who handles exceptions of several at a time.
    rest: Vec<Saved>,
}

impl Exceptions {
    pub(crate) const NONE: Exceptions = Exceptions {
        first: Saved {
            of: ptr::null_mut(),
            words: EhGlobals::NONE,
        },
        rest: Vec::new(),
    };

    fn put(&mut self, saved: Saved) {
        if self.first.of.is_null() {
            self.first = saved;
        } else {
            self.rest.push(saved);
        }
    }

    /// The words of one runtime, which are taken out.
    fn take(&mut self, of: *mut EhGlobals) -> EhGlobals {
        let all = core::iter::once(&mut self.first).chain(&mut self.rest);
        let saved = all.into_iter().find(|saved| saved.of == of);
        saved.map_or(EhGlobals::NONE, |saved| {
            core::mem::replace(&mut saved.words, EhGlobals::NONE)
        })
    }

    fn clear(&mut self) {
        self.first.of = ptr::null_mut();
        self.rest.clear();
    }
}

/// Asks all runtimes for their words of the calling thread, whose runtime this is.
pub(crate) fn look(runtime: &Runtime) {
    // Before the list is read: who changes it later sets the hook again.
    runtime.set_hook(HOOK_RUNTIMES, false);
    let mut found = [ptr::null_mut(); MOST + 1];
    let mut count = 0;
    let mut note = |words: *mut EhGlobals| {
        if !words.is_null() && !found[..count].contains(&words) {
            found[count] = words;
            count += 1;
        }
    };
    if let Some(words) = EhGlobals::of_this_thread() {
        note(words.as_ptr());
    }
    with_known(|known| {
        for added in known.iter().flatten() {
            // SAFETY: takes no argument; its module is loaded, since it takes the function out of
            // the list before it is not, for which it needs the lock.
            note(unsafe { (added.globals)() });
        }
    });
    let eh = match found[..count] {
        [] => runtime.stand_in(EhGlobals::NONE),
        [one] => one,
        _ => runtime.stand_in(EhGlobals::SEVERAL),
    };
    runtime.eh.set(eh);
    *runtime.words.borrow_mut() = found[..count].to_vec();
}

/// When a word at [`Runtime::eh`] says so: is an exception of a C++ runtime on its way?
#[cold]
#[inline(never)]
pub(crate) fn on_the_way(runtime: &Runtime) -> bool {
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
pub(crate) unsafe fn exchange(runtime: &Runtime, prev: *mut Task, next: *mut Task) {
    // SAFETY: the caller's promise; words of this thread.
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
