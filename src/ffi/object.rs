//! What all kinds of handles have in common: the bodies of the entries that differ in the kind alone.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::handle::{Fault, Kind, Table};
use super::status::Failure;
use super::{entry, hsw_status, out, set_if_wanted, Done};

/// A type of handles of C's.
pub(super) trait Handle: Copy {
    /// What one names. Cloning it makes another reference to the same.
    type Object: Clone;
    const KIND: Kind;
    /// Is it the process's, not a thread's?
    const OF_PROCESS: bool = false;

    fn number(self) -> u64;
    fn of(number: u64) -> Self;

    /// Calls `f` with the table that has the objects; it must not run code of C's.
    fn with_table<R>(f: impl FnOnce(&mut Table<Self::Object>) -> R) -> Result<R, Failure>;
}

/// `$handle` names an object of the calling thread, in the table `$table` of its part of the interface.
macro_rules! handle_of_thread {
    ($handle:ident, $object:ty, $kind:ident, $table:ident) => {
        impl $crate::ffi::object::Handle for $handle {
            type Object = $object;
            const KIND: $crate::ffi::handle::Kind = $crate::ffi::handle::Kind::$kind;

            fn number(self) -> u64 {
                self.handle
            }
            fn of(handle: u64) -> Self {
                $handle { handle }
            }
            fn with_table<R>(
                f: impl FnOnce(&mut $crate::ffi::handle::Table<$object>) -> R,
            ) -> Result<R, $crate::ffi::status::Failure> {
                $crate::ffi::local::with(|local| Ok(f(&mut local.$table.borrow_mut())))
            }
        }
    };
}
pub(super) use handle_of_thread;

fn with_table<H: Handle, R>(
    f: impl FnOnce(&mut Table<H::Object>) -> Result<R, Fault>,
) -> Result<R, Failure> {
    H::with_table(f)?.map_err(|fault| Failure::Handle(H::KIND, fault))
}

/// `$handle` names an object of the process, which any thread may use.
macro_rules! handle_of_process {
    ($handle:ident, $object:ty, $kind:ident) => {
        impl $crate::ffi::object::Handle for $handle {
            type Object = $object;
            const KIND: $crate::ffi::handle::Kind = $crate::ffi::handle::Kind::$kind;
            const OF_PROCESS: bool = true;

            fn number(self) -> u64 {
                self.handle
            }
            fn of(handle: u64) -> Self {
                $handle { handle }
            }
            fn with_table<R>(
                f: impl FnOnce(&mut $crate::ffi::handle::Table<$object>) -> R,
            ) -> Result<R, $crate::ffi::status::Failure> {
                static TABLE: $crate::ffi::shared::Shared<$object> =
                    $crate::ffi::shared::Shared::new($crate::ffi::handle::Kind::$kind);
                TABLE.with(f)
            }
        }
    };
}
pub(super) use handle_of_process;

/// Live handles of the process.
static SHARED: AtomicUsize = AtomicUsize::new(0);

/// How many handles of objects that any thread may use are live: of channels between threads, locks and their kin, remotes, loops,
/// pools and keys of tasklet-local values. For finding leaks.
#[no_mangle]
pub extern "C" fn hsw_live_shared_handles() -> usize {
    SHARED.load(Ordering::Relaxed)
}

/// The object that `handle` names.
#[inline(never)] // keeps the frames of blocking calls small
pub(super) fn get<H: Handle>(handle: H) -> Result<H::Object, Failure> {
    with_table::<H, _>(|table| table.get(handle.number()).cloned())
}

/// A new handle, owned by the caller.
pub(super) fn hand_out<H: Handle>(object: H::Object) -> Result<H, Failure> {
    let number = with_table::<H, _>(|table| table.insert(object))?;
    if H::OF_PROCESS {
        SHARED.fetch_add(1, Ordering::Relaxed);
    }
    Ok(H::of(number))
}

/// As [`hand_out`]; the handle of nothing for nothing.
pub(super) fn hand_out_or_none<H: Handle>(object: Option<H::Object>) -> Result<H, Failure> {
    object.map_or(Ok(H::of(0)), hand_out)
}

/// Ends a handle.
pub(super) fn take_back<H: Handle>(handle: H) -> Done {
    let object = with_table::<H, _>(|table| table.remove(handle.number()))?;
    if H::OF_PROCESS {
        SHARED.fetch_sub(1, Ordering::Relaxed);
    }
    // With no table borrowed: this may run destructors and tasklets, which may come back here.
    drop(object);
    Ok(())
}

/// The body of an entry that makes an object.
pub(super) fn make<H: Handle>(
    handle: *mut H,
    name: &'static str,
    object: impl FnOnce() -> Result<H::Object, Failure>,
) -> hsw_status {
    entry(|| {
        let handle = out(handle, name)?;
        handle.set(hand_out(object()?)?);
        Ok(())
    })
}

/// The body of `hsw_..._retain`.
pub(super) fn retain<H: Handle>(handle: H, other: *mut H) -> hsw_status {
    make(other, "other", || get(handle))
}

/// As [`retain`], for objects of which each handle has one of its own: by it the runtime knows a handle that nobody has used
/// yet.
#[cfg(feature = "std")]
pub(super) fn retain_own<H, O>(handle: H, other: *mut H) -> hsw_status
where
    H: Handle<Object = std::sync::Arc<O>>,
    O: Clone,
{
    make(other, "other", || {
        Ok(std::sync::Arc::new(O::clone(&*get(handle)?)))
    })
}

/// The body of `hsw_..._release`.
pub(super) fn release<H: Handle>(handle: H) -> hsw_status {
    entry(|| take_back(handle))
}

/// The body of an entry that does something which cannot fail.
pub(super) fn tell<H: Handle>(handle: H, action: impl FnOnce(&H::Object)) -> hsw_status {
    entry(|| {
        action(&get(handle)?);
        Ok(())
    })
}

/// The body of an entry that asks for something, and writes the answer to `*answer`.
pub(super) fn ask<H: Handle, A>(
    handle: H,
    answer: *mut A,
    name: &'static str,
    question: impl FnOnce(&H::Object) -> A,
) -> hsw_status {
    ask_or_fail(handle, answer, name, |object| Ok(question(object)))
}

/// As [`ask`], where the asking can fail.
pub(super) fn ask_or_fail<H: Handle, A>(
    handle: H,
    answer: *mut A,
    name: &'static str,
    question: impl FnOnce(&H::Object) -> Result<A, Failure>,
) -> hsw_status {
    entry(|| {
        let answer = out(answer, name)?;
        answer.set(question(&get(handle)?)?);
        Ok(())
    })
}

/// The body of an entry that sets something; the old value goes to `*old`, which may be null.
pub(super) fn exchange<H: Handle, A>(
    handle: H,
    old: *mut A,
    set: impl FnOnce(&H::Object) -> A,
) -> hsw_status {
    entry(|| {
        set_if_wanted(old, set(&get(handle)?));
        Ok(())
    })
}
