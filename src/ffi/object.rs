//! What all kinds of handles have in common: the bodies of the entries that differ only in the
//! kind.

use core::any::Any;
use core::borrow::Borrow;
use core::sync::atomic::{AtomicUsize, Ordering};

use alloc::rc::Rc;

use super::failure::Failure;
use super::handle::{Fault, Kind};
use super::{entry, hsw_status, out, set_if_wanted, Done};

/// A type of handles of C's.
pub(super) trait Handle: Copy {
    /// The object that a handle names.
    type Object;
    /// What keeps the object while a call works on it, since the handle may be given back
    /// meanwhile.
    type Kept: Borrow<Self::Object>;
    const KIND: Kind;
    /// Do the objects belong to the process, and not to a thread?
    const OF_PROCESS: bool = false;

    fn of(number: u64) -> Self;

    /// The three operations of the table that holds the objects. None of them calls functions of
    /// C's, except that `insert` drops an object that it refuses, with nothing borrowed.
    fn insert(object: Self::Object) -> Found<u64>;
    fn look_up(self) -> Found<Self::Kept>;
    /// The handle is stale from now on. The object is dropped when the caller drops the returned
    /// value, which may call functions of C's.
    fn remove(self) -> Found<Self::Kept>;
}

/// A type of handles whose table can be asked for room first: for objects that hold what is the
/// caller's when a call fails.
pub(super) trait Roomy: Handle {
    /// Fails where `insert` would. As long as no code of C's runs, the next `insert` succeeds.
    fn room() -> Found<()>;
}

/// The answer of a table, if there is a table for the calling thread.
pub(super) type Found<T> = Result<Result<T, Fault>, Failure>;

fn found<H: Handle, T>(found: Found<T>) -> Result<T, Failure> {
    found?.map_err(|fault| Failure::Handle(H::KIND, fault))
}

/// `$handle` names an object of the calling thread, in the table `$table` of its part of the
/// interface.
macro_rules! handle_of_thread {
    ($handle:ident, $object:ty, $kind:ident, $table:ident) => {
        impl $crate::ffi::object::Handle for $handle {
            type Object = $object;
            type Kept = $object;
            const KIND: $crate::ffi::handle::Kind = $crate::ffi::handle::Kind::$kind;

            fn of(handle: u64) -> Self {
                $handle { handle }
            }
            fn insert(object: $object) -> $crate::ffi::object::Found<u64> {
                let inserted = $crate::ffi::thread_state::with(|part| {
                    Ok(part.$table.borrow_mut().insert(object))
                })?;
                // Nothing is borrowed here, where an object that was refused is dropped.
                Ok(inserted.map_err(|(fault, _)| fault))
            }
            fn look_up(self) -> $crate::ffi::object::Found<$object> {
                $crate::ffi::thread_state::with(|part| {
                    Ok(part.$table.borrow().get(self.handle).cloned())
                })
            }
            fn remove(self) -> $crate::ffi::object::Found<$object> {
                $crate::ffi::thread_state::with(|part| {
                    Ok(part.$table.borrow_mut().remove(self.handle))
                })
            }
        }
    };
}
pub(super) use handle_of_thread;

/// As `handle_of_thread`, for objects that the thread's part keeps without knowing their type: the
/// table `$table` has them as `Rc<dyn Any>`.
macro_rules! handle_of_kept {
    ($handle:ident, $object:ty, $kind:ident, $table:ident) => {
        impl $crate::ffi::object::Handle for $handle {
            type Object = alloc::rc::Rc<$object>;
            type Kept = alloc::rc::Rc<$object>;
            const KIND: $crate::ffi::handle::Kind = $crate::ffi::handle::Kind::$kind;

            fn of(handle: u64) -> Self {
                $handle { handle }
            }
            fn insert(object: Self::Object) -> $crate::ffi::object::Found<u64> {
                let inserted = $crate::ffi::thread_state::with(|part| {
                    Ok(part.$table.borrow_mut().insert(object))
                })?;
                // Nothing is borrowed here, where an object that was refused is dropped.
                Ok(inserted.map_err(|(fault, _)| fault))
            }
            fn look_up(self) -> $crate::ffi::object::Found<Self::Kept> {
                $crate::ffi::thread_state::with(|part| {
                    let kept = part.$table.borrow().get(self.handle).cloned();
                    Ok(kept.and_then($crate::ffi::object::typed))
                })
            }
            fn remove(self) -> $crate::ffi::object::Found<Self::Kept> {
                $crate::ffi::thread_state::with(|part| {
                    let kept = part.$table.borrow_mut().remove(self.handle);
                    Ok(kept.and_then($crate::ffi::object::typed))
                })
            }
        }

        impl $crate::ffi::object::Roomy for $handle {
            fn room() -> $crate::ffi::object::Found<()> {
                $crate::ffi::thread_state::with(|part| Ok(part.$table.borrow().room()))
            }
        }
    };
}
pub(super) use handle_of_kept;

/// An object of which only the table was known.
pub(super) fn typed<T: 'static>(kept: Rc<dyn Any>) -> Result<Rc<T>, Fault> {
    kept.downcast().map_err(|_| Fault::WrongKind)
}

/// `$handle` names an object of the process, which any thread may use.
macro_rules! handle_of_process {
    ($handle:ident, $object:ty, $kind:ident) => {
        const _: () = {
            static TABLE: $crate::ffi::shared::Shared<$object> =
                $crate::ffi::shared::Shared::new($crate::ffi::handle::Kind::$kind);

            impl $crate::ffi::object::Handle for $handle {
                type Object = $object;
                type Kept = $crate::ffi::shared::Pinned<$object>;
                const KIND: $crate::ffi::handle::Kind = $crate::ffi::handle::Kind::$kind;
                const OF_PROCESS: bool = true;

                fn of(handle: u64) -> Self {
                    $handle { handle }
                }
                fn insert(object: $object) -> $crate::ffi::object::Found<u64> {
                    TABLE.insert(object)
                }
                #[inline]
                fn look_up(self) -> $crate::ffi::object::Found<Self::Kept> {
                    TABLE.get(self.handle)
                }
                fn remove(self) -> $crate::ffi::object::Found<Self::Kept> {
                    TABLE.remove(self.handle)
                }
            }
        };
    };
}
pub(super) use handle_of_process;

/// Live handles of the process.
static SHARED: AtomicUsize = AtomicUsize::new(0);

/// How many handles of objects that any thread may use are live: of channels between threads, locks
/// and their kin, remotes, loops, pools and keys of tasklet-local values. For finding leaks.
#[no_mangle]
pub extern "C" fn hsw_live_shared_handles() -> usize {
    SHARED.load(Ordering::Relaxed)
}

/// The object that `handle` names.
#[inline(never)] // keeps the frames of blocking calls small
pub(super) fn get<H: Handle>(handle: H) -> Result<H::Kept, Failure> {
    found::<H, _>(handle.look_up())
}

/// Fails where [`hand_out`] would, before anything is taken that is the caller's if a call fails.
pub(super) fn room<H: Roomy>() -> Result<(), Failure> {
    found::<H, _>(H::room())
}

/// A new handle, owned by the caller.
pub(super) fn hand_out<H: Handle>(object: H::Object) -> Result<H, Failure> {
    let number = found::<H, _>(H::insert(object))?;
    if H::OF_PROCESS {
        SHARED.fetch_add(1, Ordering::Relaxed);
    }
    Ok(H::of(number))
}

/// As [`hand_out`]; the null handle if there is no object.
pub(super) fn hand_out_or_none<H: Handle>(object: Option<H::Object>) -> Result<H, Failure> {
    object.map_or(Ok(H::of(0)), hand_out)
}

/// Ends a handle.
pub(super) fn take_back<H: Handle>(handle: H) -> Done {
    let object = found::<H, _>(handle.remove())?;
    if H::OF_PROCESS {
        SHARED.fetch_sub(1, Ordering::Relaxed);
    }
    // No table is borrowed here: the drop may run destructors and tasklets, which may come back
    // here.
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
pub(super) fn retain<H: Handle<Object: Clone>>(handle: H, other: *mut H) -> hsw_status {
    make(other, "other", || Ok(get(handle)?.borrow().clone()))
}

/// As [`retain`], for objects of which each handle has a clone of its own: it tells the runtime
/// which handles nobody has used yet.
pub(super) fn retain_own<H, O>(handle: H, other: *mut H) -> hsw_status
where
    H: Handle<Object = alloc::sync::Arc<O>>,
    O: Clone,
{
    make(other, "other", || {
        Ok(alloc::sync::Arc::new(O::clone(get(handle)?.borrow())))
    })
}

/// The body of `hsw_..._release`.
pub(super) fn release<H: Handle>(handle: H) -> hsw_status {
    entry(|| take_back(handle))
}

/// The body of an entry that does something which cannot fail.
pub(super) fn tell<H: Handle>(handle: H, action: impl FnOnce(&H::Object)) -> hsw_status {
    entry(|| {
        action(get(handle)?.borrow());
        Ok(())
    })
}

/// The body of an entry that asks a question, and writes the answer to `*answer`.
pub(super) fn ask<H: Handle, A>(
    handle: H,
    answer: *mut A,
    name: &'static str,
    question: impl FnOnce(&H::Object) -> A,
) -> hsw_status {
    ask_or_fail(handle, answer, name, |object| Ok(question(object)))
}

/// As [`ask`], for a question that can fail.
pub(super) fn ask_or_fail<H: Handle, A>(
    handle: H,
    answer: *mut A,
    name: &'static str,
    question: impl FnOnce(&H::Object) -> Result<A, Failure>,
) -> hsw_status {
    entry(|| {
        let answer = out(answer, name)?;
        answer.set(question(get(handle)?.borrow())?);
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
        set_if_wanted(old, set(get(handle)?.borrow()));
        Ok(())
    })
}
