//! References to Python objects that travel through the library, and what is often needed with
//! objects.

use crate::sched;
use pyo3_ffi::*;
use std::ptr::NonNull;

/// A counted reference that the library may drop at any moment: the object is given up later, when
/// the state of the interpreter is that of a running tasklet ([`sched::drop_later`]).
pub struct Obj(NonNull<PyObject>);

// SAFETY: a reference is used by whoever holds the GIL, on any thread; its destructor needs none.
unsafe impl Send for Obj {}
// SAFETY: as above.
unsafe impl Sync for Obj {}

impl Obj {
    /// # Safety
    /// The GIL is held, `o` is an object.
    #[inline(always)]
    pub unsafe fn new(o: *mut PyObject) -> Obj {
        unsafe {
            Py_INCREF(o);
            Obj::owned(o)
        }
    }

    /// Takes over the caller's reference.
    ///
    /// # Safety
    /// `o` is an object, and the caller owns a reference to it.
    #[inline(always)]
    pub unsafe fn owned(o: *mut PyObject) -> Obj {
        Obj(unsafe { NonNull::new_unchecked(o) })
    }

    /// The reference itself, which the caller owns from now on.
    #[inline(always)]
    pub fn into_ptr(self) -> *mut PyObject {
        let o = self.0.as_ptr();
        std::mem::forget(self);
        o
    }

    pub fn as_ptr(&self) -> *mut PyObject {
        self.0.as_ptr()
    }
}

impl Drop for Obj {
    fn drop(&mut self) {
        // SAFETY: the reference is given up once.
        unsafe { sched::drop_later(self.0.as_ptr()) };
    }
}

/// A Python exception as the payload of a thrown error.
pub struct Exc(pub Obj);

/// # Safety
/// The GIL is held; null is allowed.
#[inline(always)]
pub unsafe fn new_ref(o: *mut PyObject) -> *mut PyObject {
    unsafe {
        Py_XINCREF(o);
        o
    }
}

/// # Safety
/// The GIL is held.
#[inline(always)]
pub unsafe fn none() -> *mut PyObject {
    unsafe { new_ref(Py_None()) }
}

/// # Safety
/// The GIL is held.
pub unsafe fn boolean(on: bool) -> *mut PyObject {
    unsafe { new_ref(if on { Py_True() } else { Py_False() }) }
}

/// Clears a field of an object: destructors find it empty.
///
/// # Safety
/// The GIL is held, and the field owns what it points to.
pub unsafe fn clear(field: *mut *mut PyObject) {
    unsafe {
        let old = std::mem::replace(&mut *field, std::ptr::null_mut());
        Py_XDECREF(old);
    }
}

/// Replaces what a field owns; takes over the reference `new`.
///
/// # Safety
/// As [`clear`].
pub unsafe fn set(field: *mut *mut PyObject, new: *mut PyObject) {
    unsafe {
        let old = std::mem::replace(&mut *field, new);
        Py_XDECREF(old);
    }
}
