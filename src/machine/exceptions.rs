//! The C++ runtimes of the process: which are known, and what each keeps for a thread.
//!
//! A process may have more than one C++ runtime: a plugin that is linked with a static one and
//! hides its symbols has that runtime to itself, and a program in C has no C++ runtime that its
//! plugins would share. The weak reference of the ports (`hsw_asm_cxa_globals`) finds one at most:
//! that of the file which the library is in. The others are [added](add): each C++ module that
//! includes `hardswitch.h` adds its own when it is loaded.

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::machine::arch::EhGlobals;

/// `__cxa_get_globals` of a C++ runtime.
pub type Globals = unsafe extern "C" fn() -> *mut EhGlobals;

/// C++ runtimes that can be known at a time, beside the one that the library finds itself.
pub const MOST: usize = 32;

/// A runtime that was added, and how often.
#[derive(Clone, Copy)]
struct Added {
    globals: Globals,
    times: usize,
}

/// The runtimes of the process.
struct Known {
    /// It is held for a few loads and stores, and while the runtimes are asked for
    /// their words, so that none is unloaded meanwhile. They are asked once for each thread and
    /// change of the list.
    lock: AtomicBool,
    added: UnsafeCell<[Option<Added>; MOST]>,
}

// SAFETY: `added` is used only by the thread that holds `lock`.
unsafe impl Sync for Known {}

static KNOWN: Known = Known {
    lock: AtomicBool::new(false),
    added: UnsafeCell::new([None; MOST]),
};

/// Holds the lock of the list.
pub struct Locked(());

impl Locked {
    fn take() -> Locked {
        while KNOWN.lock.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        Locked(())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        KNOWN.lock.store(false, Ordering::Release);
    }
}

/// Takes the lock, over a fork: no other thread has it then, so it is free in the child process.
pub fn hold() -> Locked {
    Locked::take()
}

/// Calls `f` with the list. `f` must not call this function again.
fn with_known<R>(f: impl FnOnce(&mut [Option<Added>; MOST]) -> R) -> R {
    let _locked = Locked::take();
    // SAFETY: the lock is held, so no other reference to the list exists.
    f(unsafe { &mut *KNOWN.added.get() })
}

/// Makes a C++ runtime known, or counts it once more. Returns whether it is new; `None` when there
/// is no room for it.
pub fn add(globals: Globals) -> Option<bool> {
    with_known(|known| {
        if let Some(same) = known.iter_mut().flatten().find(|a| same(a, globals)) {
            same.times += 1;
            return Some(false);
        }
        let free = known.iter_mut().find(|place| place.is_none())?;
        *free = Some(Added { globals, times: 1 });
        Some(true)
    })
}

/// Takes back what [`add`] has done. Returns whether the runtime is now unknown; `None` if it was
/// not known before.
pub fn remove(globals: Globals) -> Option<bool> {
    let left = with_known(|known| {
        let place = known
            .iter_mut()
            .find(|place| place.as_ref().is_some_and(|a| same(a, globals)))?;
        let times = place.as_ref().map_or(0, |added| added.times - 1);
        *place = (times > 0).then_some(Added { globals, times });
        Some(times)
    });
    left.map(|times| times == 0)
}

/// Functions with the same address are the same. One function with two addresses is noticed later,
/// by the words that it returns.
fn same(added: &Added, globals: Globals) -> bool {
    ptr::fn_addr_eq(added.globals, globals)
}

/// The words of one runtime, as they were put away.
#[derive(Clone, Copy)]
pub struct Saved {
    pub of: *mut EhGlobals,
    pub words: EhGlobals,
}

/// The words that belong to code which does not run now, of all C++ runtimes.
pub struct Exceptions {
    first: Saved,
    /// The words of further runtimes, for code that handles exceptions of several at a time.
    rest: Vec<Saved>,
}

impl Exceptions {
    pub const NONE: Exceptions = Exceptions {
        first: Saved {
            of: ptr::null_mut(),
            words: EhGlobals::NONE,
        },
        rest: Vec::new(),
    };

    pub fn put(&mut self, saved: Saved) {
        if self.first.of.is_null() {
            self.first = saved;
        } else {
            self.rest.push(saved);
        }
    }

    /// The words of one runtime, which are taken out.
    pub fn take(&mut self, of: *mut EhGlobals) -> EhGlobals {
        let all = core::iter::once(&mut self.first).chain(&mut self.rest);
        let saved = all.into_iter().find(|saved| saved.of == of);
        saved.map_or(EhGlobals::NONE, |saved| {
            core::mem::replace(&mut saved.words, EhGlobals::NONE)
        })
    }

    pub fn clear(&mut self) {
        self.first.of = ptr::null_mut();
        self.rest.clear();
    }
}

/// Asks all runtimes for their words of the calling thread, and calls `f` with them.
pub fn of_this_thread<R>(f: impl FnOnce(&[*mut EhGlobals]) -> R) -> R {
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
            // SAFETY: the function takes no argument. Its module is loaded: a module takes its
            // function out of the list before it is unloaded, and needs the lock for that.
            note(unsafe { (added.globals)() });
        }
    });
    f(&found[..count])
}
