//! What Python code asks to be told: of switches, of channel operations, of uncaught exceptions.
//! Each thread has callbacks of its own.

use crate::channel::PyChannel;
use crate::errors;
use crate::object::{boolean, clear, new_ref, Exc, Obj};
use crate::sched::{self, Sched};
use hardswitch::{Error, ErrorHandler, Tasklet};
use pyo3_ffi::*;
use std::cell::Cell;
use std::ptr;
use std::rc::Rc;

/// The callbacks of a thread; null: none.
pub struct Callbacks {
    pub schedule: Cell<*mut PyObject>,
    pub channel: Cell<*mut PyObject>,
    pub error: Cell<*mut PyObject>,
    /// The channel whose operation is about to begin, for the channel callback.
    pub at: Cell<*mut PyChannel>,
}

impl Callbacks {
    pub fn new() -> Callbacks {
        Callbacks {
            schedule: Cell::new(ptr::null_mut()),
            channel: Cell::new(ptr::null_mut()),
            error: Cell::new(ptr::null_mut()),
            at: Cell::new(ptr::null_mut()),
        }
    }

    /// Asks the error handler about the exception that is set. True if it has dealt with it;
    /// otherwise an exception is set: the same one if there is no handler, or the handler's own.
    ///
    /// # Safety
    /// The GIL is held, an exception is set, the state of a tasklet is loaded.
    pub unsafe fn handle_error(&self) -> bool {
        unsafe {
            let handler = self.error.get();
            if handler.is_null() {
                return false;
            }
            Py_INCREF(handler);
            let value = errors::take().into_ptr();
            let mut trace = PyException_GetTraceback(value);
            if trace.is_null() {
                trace = new_ref(Py_None());
            }
            let mut given = [Py_TYPE(value).cast(), value, trace];
            let done = PyObject_Vectorcall(handler, given.as_mut_ptr(), 3, ptr::null_mut());
            Py_DECREF(handler);
            Py_DECREF(value);
            Py_DECREF(trace);
            Py_XDECREF(done);
            !done.is_null()
        }
    }
}

/// Replaces a callback; returns the old one or None.
///
/// # Safety
/// The GIL is held.
pub unsafe fn exchange(field: &Cell<*mut PyObject>, new: *mut PyObject) -> *mut PyObject {
    unsafe {
        let new = match new == Py_None() {
            true => ptr::null_mut(),
            false if PyCallable_Check(new) != 0 => new_ref(new),
            false => return errors::type_error("parameter must be callable"),
        };
        or_none(field.replace(new))
    }
}

/// The reference itself, or None for null.
unsafe fn or_none(o: *mut PyObject) -> *mut PyObject {
    unsafe {
        match o.is_null() {
            true => new_ref(Py_None()),
            false => o,
        }
    }
}

/// A callback or None; a new reference.
///
/// # Safety
/// The GIL is held.
pub unsafe fn get(field: &Cell<*mut PyObject>) -> *mut PyObject {
    unsafe { or_none(new_ref(field.get())) }
}

/// # Safety
/// The GIL is held.
pub unsafe fn clear_all(s: &Sched) {
    unsafe {
        for field in [
            &s.callbacks.schedule,
            &s.callbacks.channel,
            &s.callbacks.error,
        ] {
            clear(field.as_ptr());
        }
        hardswitch::set_schedule_callback(None);
        hardswitch::set_channel_callback(None);
    }
}

/// Calls Python from a callback of the library. What it raises is printed.
unsafe fn call(s: &Sched, callback: *mut PyObject, given: &mut [*mut PyObject]) {
    let run = || unsafe {
        Py_INCREF(callback);
        let done = PyObject_Vectorcall(callback, given.as_mut_ptr(), given.len(), ptr::null_mut());
        if done.is_null() {
            PyErr_WriteUnraisable(callback);
        }
        Py_XDECREF(done);
        Py_DECREF(callback);
    };
    // SAFETY: the library calls this on the part's thread, with the GIL held, and refuses to
    // switch until the callback is over.
    unsafe { sched::told(s, run) }
}

/// Tells the schedule callback from now on, or no longer.
///
/// # Safety
/// The part is this thread's.
pub unsafe fn update_schedule(s: *const Sched) {
    unsafe {
        if (*s).callbacks.schedule.get().is_null() {
            hardswitch::set_schedule_callback(None);
            return;
        }
        let none = Py_None();
        hardswitch::set_schedule_callback(Some(Rc::new(
            move |previous: Option<&Tasklet>, next: &Tasklet| {
                let s = &*s;
                let callback = s.callbacks.schedule.get();
                if callback.is_null() || !s.ready.get() {
                    return;
                }
                let object = |t: &Tasklet| match s.object(t) {
                    o if o.is_null() => none,
                    o => o.cast(),
                };
                call(
                    s,
                    callback,
                    &mut [previous.map_or(none, object), object(next)],
                );
            },
        )));
    }
}

/// As [`update_schedule`], for the channel callback.
///
/// # Safety
/// The part is this thread's.
pub unsafe fn update_channel(s: *const Sched) {
    unsafe {
        if (*s).callbacks.channel.get().is_null() {
            hardswitch::set_channel_callback(None);
            return;
        }
        hardswitch::set_channel_callback(Some(Rc::new(
            move |_, tasklet: &Tasklet, sends, blocks| {
                let s = &*s;
                let at = s.callbacks.at.get();
                if !at.is_null() && s.ready.get() {
                    tell_channel(s, at, s.object(tasklet).cast(), sends, blocks);
                }
            },
        )));
    }
}

/// Tells the channel callback of an operation.
unsafe fn tell_channel(
    s: &Sched,
    channel: *mut PyChannel,
    tasklet: *mut PyObject,
    sends: bool,
    blocks: bool,
) {
    unsafe {
        let callback = s.callbacks.channel.get();
        if callback.is_null() || tasklet.is_null() {
            return;
        }
        let (sends, blocks) = (PyLong_FromLong(sends.into()), boolean(blocks));
        if !sends.is_null() {
            call(s, callback, &mut [channel.cast(), tasklet, sends, blocks]);
        }
        Py_XDECREF(sends);
        Py_DECREF(blocks);
    }
}

/// The library's error handler: for tasklets that an exception has ended before they started. The
/// others have asked Python's handler themselves ([`sched::body`]).
pub fn never_started(s: *const Sched) -> ErrorHandler {
    Rc::new(move |error: &Error| {
        // SAFETY: the library calls this on the part's thread, with the GIL held; parts stay
        // allocated. `apart` gives the handler a state of its own.
        unsafe {
            let s = &*s;
            let Error::Thrown(thrown) = error else {
                return Err(error.clone());
            };
            let Some(Exc(exception)) = thrown.downcast_ref::<Exc>() else {
                return Err(error.clone());
            };
            let me = s.object(&hardswitch::current());
            if me.is_null() || (*me).asked || s.callbacks.error.get().is_null() {
                return Err(error.clone());
            }
            (*me).asked = true;
            let exception = Obj::new(exception.as_ptr());
            let (current, trap) = (s.current.replace(me), hardswitch::switch_trap(1));
            let mut failed = None;
            sched::apart(s, || {
                PyErr_SetObject(
                    Py_TYPE(exception.as_ptr()).cast::<PyObject>(),
                    exception.as_ptr(),
                );
                if !s.callbacks.handle_error() {
                    failed = Some(errors::take());
                }
            });
            hardswitch::switch_trap(trap - hardswitch::switch_trap(0));
            s.current.set(current);
            match failed {
                None => Ok(()),
                Some(exception) => Err(Error::thrown(Exc(exception))),
            }
        }
    })
}
