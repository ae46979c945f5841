//! The attributes of `tasklet`.

use crate::arguments::truth;
use crate::errors::runtime_error;
use crate::object::{boolean, new_ref, none, Obj};
use crate::sched;
use crate::state;
use crate::tasklet::{PyTasklet, Where};
use crate::tasklet_methods::take_value;
use crate::{attribute, Static, DICT, NO_ATTRIBUTE};
use hardswitch::{Tasklet, Value};
use pyo3_ffi::*;
use std::ffi::{c_int, c_void};
use std::ptr;

type Object = *mut PyObject;

/// A getter of a flag.
macro_rules! flag {
    ($name:ident, $call:ident) => {
        unsafe extern "C" fn $name(o: Object, _: *mut c_void) -> Object {
            unsafe {
                let handle = (*o.cast::<PyTasklet>()).handle();
                boolean(handle.is_some_and(|handle| handle.$call()))
            }
        }
    };
}

flag!(get_alive, is_alive);
flag!(get_paused, is_paused);
flag!(get_blocked, is_blocked);
flag!(get_scheduled, is_scheduled);
flag!(get_main, is_main);
flag!(get_current, is_current);
flag!(get_atomic, is_atomic);
flag!(get_ignore_nesting, ignore_nesting);
flag!(get_block_trap, block_trap);

unsafe extern "C" fn set_block_trap(o: Object, value: Object, _: *mut c_void) -> c_int {
    unsafe {
        let on = truth(value);
        if let (0.., Some(handle)) = (on, (*o.cast::<PyTasklet>()).handle()) {
            handle.set_block_trap(on != 0);
        }
        on.min(0)
    }
}

unsafe fn object_of(t: *mut PyTasklet, handle: Option<Tasklet>) -> Object {
    unsafe {
        match handle.map(|handle| (*(*t).sched).object(&handle)) {
            Some(o) if !o.is_null() => new_ref(o.cast()),
            _ => none(),
        }
    }
}

unsafe extern "C" fn get_next(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        object_of(t, (*t).handle().and_then(Tasklet::next))
    }
}

unsafe extern "C" fn get_prev(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        object_of(t, (*t).handle().and_then(Tasklet::prev))
    }
}

/// Is it the tasklet that runs on the calling thread?
unsafe fn runs_here(t: *mut PyTasklet) -> bool {
    unsafe { (*(*t).sched).is_here() && (*(*t).sched).loaded.get() == t }
}

unsafe extern "C" fn get_frame(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        let st = match runs_here(t) {
            true => ptr::null_mut(),
            false => &raw mut (*t).state,
        };
        let frame = state::stackless_state_frame(PyThreadState_Get(), st);
        match frame.is_null() && PyErr_Occurred().is_null() {
            true => none(),
            false => frame,
        }
    }
}

unsafe extern "C" fn get_depth(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        let depth = match runs_here(t) {
            true => state::stackless_state_depth(PyThreadState_Get(), ptr::null_mut()),
            false => state::stackless_state_depth((*(*t).sched).ts, &raw mut (*t).state),
        };
        PyLong_FromLong(depth.into())
    }
}

unsafe extern "C" fn get_nesting(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        PyLong_FromLong((runs_here(t) || (*t).state.is_saved()).into())
    }
}

/// No tasklet that has started can be restored from a pickle.
unsafe extern "C" fn get_restorable(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        boolean(!runs_here(t) && !(*t).state.is_saved())
    }
}

unsafe extern "C" fn get_thread_id(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        match (*t).place() {
            Where::Gone => PyLong_FromLong(-1),
            _ => PyLong_FromUnsignedLongLong((*(*t).sched).thread),
        }
    }
}

unsafe extern "C" fn get_tempval(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        if !(*t).is_alive() && !(*t).func.is_null() {
            return new_ref((*t).func);
        }
        if !(*(*t).sched).is_here() {
            return none();
        }
        let value = take_value(t);
        if value.is_null() {
            return none();
        }
        if let Some(handle) = (*t).handle() {
            handle.set_tempval(Value::new(Obj::new(value)));
        }
        value
    }
}

unsafe extern "C" fn set_tempval(o: Object, value: Object, _: *mut c_void) -> c_int {
    unsafe {
        let t = o.cast::<PyTasklet>();
        match (*t).place() {
            Where::Here => {
                if let Some(handle) = (*t).handle() {
                    drop(handle.set_tempval(match value.is_null() {
                        true => Value::none(),
                        false => Value::new(Obj::new(value)),
                    }));
                }
                sched::drain_here();
                0
            }
            _ => {
                runtime_error("the tasklet belongs to another thread");
                -1
            }
        }
    }
}

pub static GETSET: Static<[PyGetSetDef; 19]> = Static::holding([
    attribute(c"alive", get_alive, None, c"Has it something to run?"),
    attribute(
        c"paused",
        get_paused,
        None,
        c"Is it alive, and neither queued nor blocked?",
    ),
    attribute(
        c"blocked",
        get_blocked,
        None,
        c"Does it wait at a channel, or for something else?",
    ),
    attribute(
        c"scheduled",
        get_scheduled,
        None,
        c"Is it queued or blocked?",
    ),
    attribute(
        c"is_main",
        get_main,
        None,
        c"Is it the thread's original flow of control?",
    ),
    attribute(c"is_current", get_current, None, c"Does its thread run it?"),
    attribute(c"atomic", get_atomic, None, c"See set_atomic."),
    attribute(
        c"ignore_nesting",
        get_ignore_nesting,
        None,
        c"See set_ignore_nesting.",
    ),
    attribute(
        c"block_trap",
        get_block_trap,
        Some(set_block_trap),
        c"While set, what would block it raises RuntimeError.",
    ),
    attribute(
        c"tempval",
        get_tempval,
        Some(set_tempval),
        c"What its next schedule() or the like will return.",
    ),
    attribute(
        c"next",
        get_next,
        None,
        c"The next tasklet of the queue or channel that it is in.",
    ),
    attribute(c"prev", get_prev, None, c"The tasklet before it."),
    attribute(c"frame", get_frame, None, c"Its innermost frame, or None."),
    attribute(
        c"recursion_depth",
        get_depth,
        None,
        c"How deep its calls are.",
    ),
    attribute(
        c"nesting_level",
        get_nesting,
        None,
        c"1 while it has frames in C, 0 otherwise.",
    ),
    attribute(
        c"restorable",
        get_restorable,
        None,
        c"True while it has not started.",
    ),
    attribute(
        c"thread_id",
        get_thread_id,
        None,
        c"The number of its thread; -1 when that has ended.",
    ),
    DICT,
    NO_ATTRIBUTE,
]);
