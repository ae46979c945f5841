//! The garbage collector and tasklets.
//!
//! **Cycles through a parked tasklet are found**: the variables of its frames are visited
//! ([`crate::state`]), and a channel visits the tasklets that wait at it. A parked tasklet that
//! turns out to be garbage is killed, so that its `finally` blocks run.
//!
//! **Not during the collection.** The collector links the objects that it looks at into lists whose
//! heads lie in its own frames. So on a sliced stack the tasklet that collects must not be left:
//! another one would overwrite the heads. Switching is refused then (as under a switch trap), and
//! the kill of garbage waits until the collection is over.

use crate::object::Obj;
use crate::sched::{self, Gil};
use crate::tasklet::{self, PyTasklet};
use pyo3_ffi::*;
use std::cell::{Cell, UnsafeCell};
use std::ffi::CStr;

/// Garbage that is to be killed, by whichever thread collects: only one does at a time.
static CONDEMNED: Gil<Vec<Obj>> = Gil(UnsafeCell::new(Vec::new()));

thread_local! {
    /// Threads without a part collect too.
    static COLLECTING: Cell<bool> = const { Cell::new(false) };
}

/// Is a collection under way on the calling thread?
pub fn is_under_way() -> bool {
    COLLECTING.get()
}

/// Has `tasklet` killed after the collection that is under way.
///
/// # Safety
/// The GIL is held.
pub unsafe fn condemn(tasklet: *mut PyTasklet) {
    unsafe {
        (*tasklet).condemned = true;
        (*CONDEMNED.0.get()).push(Obj::new(tasklet.cast()));
    }
}

/// A member of `gc.callbacks`.
///
/// # Safety
/// Called by Python.
pub unsafe extern "C" fn phase(_: *mut PyObject, args: *mut PyObject) -> *mut PyObject {
    unsafe {
        if PyTuple_Size(args) > 0 {
            let name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(args, 0));
            if name.is_null() {
                return name.cast_mut().cast();
            }
            match CStr::from_ptr(name).to_bytes() {
                b"start" => begin(),
                _ => end(),
            }
        }
        crate::object::none()
    }
}

unsafe fn begin() {
    COLLECTING.set(true);
    let here = sched::existing();
    if here.is_null() {
        return;
    }
    // SAFETY: a thread's part stays allocated.
    let s = unsafe { &*here };
    if s.ready.get() && !s.trapped.get() && hardswitch::current().is_sliced() {
        s.trapped.set(true);
        hardswitch::switch_trap(1);
    }
}

unsafe fn end() {
    COLLECTING.set(false);
    let here = sched::existing();
    unsafe {
        if !here.is_null() && (*here).trapped.replace(false) {
            hardswitch::switch_trap(-1);
        }
        while let Some(condemned) = (*CONDEMNED.0.get()).pop() {
            let tasklet = condemned.into_ptr();
            (*tasklet.cast::<PyTasklet>()).condemned = false;
            tasklet::kill_lost(tasklet.cast());
            Py_DECREF(tasklet);
        }
    }
}
