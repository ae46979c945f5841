//! asyncio's running loop. CPython keeps it with the thread; here each tasklet has its own, so that
//! `asyncio.run` in several tasklets of a thread interleave.
//!
//! It lies in the thread's dictionary, whose version changes when a loop is set. So a switch costs
//! one comparison unless something has changed there.

use crate::object::clear;
use crate::sched::Sched;
use crate::state;
use crate::tasklet::PyTasklet;
use pyo3_ffi::*;
use std::ptr;

/// `_asyncio` has been imported: its function of this name; a borrowed reference to the module.
unsafe fn function(name: &std::ffi::CStr) -> *mut PyObject {
    unsafe {
        let modules = PyImport_GetModuleDict();
        let module = PyDict_GetItemString(modules, c"_asyncio".as_ptr());
        if module.is_null() {
            PyErr_Clear();
            return ptr::null_mut();
        }
        let found = PyObject_GetAttrString(module, name.as_ptr());
        if found.is_null() {
            PyErr_Clear();
        }
        found
    }
}

/// The running tasklet may be left: takes its loop from the thread.
///
/// # Safety
/// The GIL is held, the tasklet's state is loaded.
#[cold]
#[inline(never)]
pub unsafe fn leave(s: &Sched, me: *mut PyTasklet) {
    unsafe {
        let get = function(c"_get_running_loop");
        if !get.is_null() {
            let running = PyObject_CallNoArgs(get);
            Py_DECREF(get);
            if running.is_null() {
                PyErr_Clear();
            } else if running == Py_None() {
                Py_DECREF(running);
            } else {
                clear(&raw mut (*me).running_loop);
                (*me).running_loop = running;
                set(Py_None());
            }
        }
        s.loop_version
            .set(state::stackless_thread_dict_version(s.ts));
    }
}

/// The tasklet runs again: gives its loop back to the thread.
///
/// # Safety
/// As [`leave`].
#[cold]
#[inline(never)]
pub unsafe fn enter(me: *mut PyTasklet) {
    unsafe {
        let running = std::mem::replace(&mut (*me).running_loop, ptr::null_mut());
        set(running);
        Py_DECREF(running);
    }
}

unsafe fn set(running: *mut PyObject) {
    unsafe {
        let (mut kind, mut value, mut trace) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        PyErr_Fetch(&mut kind, &mut value, &mut trace);
        let function = function(c"_set_running_loop");
        if !function.is_null() {
            let done = PyObject_CallOneArg(function, running);
            Py_DECREF(function);
            if done.is_null() {
                PyErr_Clear();
            }
            Py_XDECREF(done);
        }
        PyErr_Restore(kind, value, trace);
    }
}
