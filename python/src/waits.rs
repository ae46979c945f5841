//! Waits that are not for a channel: for a time, for a function on a worker, for anything at all.

use crate::arguments::{end_of, take_arguments, truth};
use crate::channel::seconds;
use crate::errors::{self, raise, type_error};
use crate::here;
use crate::object::{boolean, none, Obj};
use crate::sched::switching;
use hardswitch::net::shim::Events;
use hardswitch::offload::Call;
use hardswitch::MainLoop;
use pyo3_ffi::*;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

type Object = *mut PyObject;

pub unsafe extern "C" fn sleep(
    _: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        let Some([time]) = take_arguments([c"seconds"], args, count, names) else {
            return ptr::null_mut();
        };
        if time.is_null() {
            return type_error("sleep() missing required argument 'seconds' (pos 1)");
        }
        let Ok(time) = seconds(time) else {
            return ptr::null_mut();
        };
        let end = end_of(args, count, names);
        let time = time.unwrap_or(Duration::MAX);
        let slept = switching(s, s.current.get(), end, || hardswitch::sleep(time));
        match slept {
            Ok(()) => none(),
            Err(error) => raise(error),
        }
    }
}

pub unsafe extern "C" fn pump(_: Object, time: Object) -> Object {
    unsafe {
        let s = here!();
        let Ok(time) = seconds(time) else {
            return ptr::null_mut();
        };
        let done = switching(s, s.current.get(), ptr::null(), || {
            MainLoop::current()?.pump(time)
        });
        match done {
            Ok(done) => PyLong_FromSize_t(done),
            Err(error) => raise(error),
        }
    }
}

/// How many threads are inside the interpreter by [`with_gil`], and whether it still takes any.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Takes the GIL on a thread of the library's. None: the interpreter is ending; what it would have
/// done stays undone, since such a thread must not wait for the GIL any more.
pub fn with_gil<R>(f: impl FnOnce() -> R) -> Option<R> {
    INSIDE.fetch_add(1, Ordering::SeqCst);
    // SAFETY: `close` waits for the threads that are inside, so the interpreter is there.
    let result = (!CLOSED.load(Ordering::SeqCst)).then(|| unsafe {
        let held = PyGILState_Ensure();
        let result = f();
        PyGILState_Release(held);
        result
    });
    INSIDE.fetch_sub(1, Ordering::SeqCst);
    result
}

/// The interpreter is about to end: waits for the functions that workers run, and lets no other
/// begin. `atexit` calls it.
pub unsafe extern "C" fn close(_: Object, _: Object) -> Object {
    unsafe {
        CLOSED.store(true, Ordering::SeqCst);
        let ts = PyEval_SaveThread();
        while INSIDE.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        PyEval_RestoreThread(ts);
        none()
    }
}

/// Calls a Python function on a worker thread: its result, or the exception; None if the
/// interpreter is ending.
fn call(function: Obj, args: Obj, kwargs: Option<Obj>) -> Option<Result<Obj, Obj>> {
    let given = ManuallyDrop::new((function, args, kwargs));
    // SAFETY: the references are given up with the GIL held, or never.
    with_gil(|| unsafe {
        let (function, args, kwargs) = &*given;
        let named = kwargs.as_ref().map_or(ptr::null_mut(), Obj::as_ptr);
        let result = PyObject_Call(function.as_ptr(), args.as_ptr(), named);
        let outcome = match result.is_null() {
            true => Err(errors::take()),
            false => Ok(Obj::owned(result)),
        };
        Py_DECREF(function.as_ptr());
        Py_DECREF(args.as_ptr());
        Py_XDECREF(named);
        outcome
    })
}

pub unsafe extern "C" fn offload(
    _: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        let Some([function, given, kwargs, time]) = take_arguments(
            [c"function", c"args", c"kwargs", c"timeout"],
            args,
            count,
            names,
        ) else {
            return ptr::null_mut();
        };
        if function.is_null() || PyCallable_Check(function) == 0 {
            return type_error("offload() needs a function");
        }
        let has_kwargs = !kwargs.is_null() && kwargs != Py_None();
        if has_kwargs && PyDict_Check(kwargs) == 0 {
            return type_error("kwargs must be a dict or None");
        }
        let Ok(time) = seconds(time) else {
            return ptr::null_mut();
        };
        let given = match given.is_null() || given == Py_None() {
            true => PyTuple_New(0),
            false => PySequence_Tuple(given),
        };
        if given.is_null() {
            return given;
        }
        let (function, given) = (Obj::new(function), Obj::owned(given));
        let kwargs = has_kwargs.then(|| Obj::new(kwargs));
        let mut asked = Call::new(move || call(function, given, kwargs));
        if let Some(time) = time {
            asked = asked.timeout(time);
        }
        let end = end_of(args, count, names);
        match switching(s, s.current.get(), end, || asked.wait()) {
            Ok(Some(Ok(result))) => result.into_ptr(),
            Ok(None) => errors::runtime_error("the interpreter is ending"),
            Ok(Some(Err(exception))) => {
                let exception = exception.into_ptr();
                PyErr_SetObject(Py_TYPE(exception).cast(), exception);
                Py_DECREF(exception);
                ptr::null_mut()
            }
            Err(error) => raise(error),
        }
    }
}

/// `wait_fd(fd, write=False, timeout=None)`.
pub unsafe extern "C" fn wait_fd(
    _: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        let Some([fd, write, time]) =
            take_arguments([c"fd", c"write", c"timeout"], args, count, names)
        else {
            return ptr::null_mut();
        };
        if fd.is_null() {
            return type_error("wait_fd() missing required argument 'fd' (pos 1)");
        }
        let fd = PyObject_AsFileDescriptor(fd);
        if fd < 0 {
            return ptr::null_mut();
        }
        let write = truth(write);
        if write < 0 {
            return ptr::null_mut();
        }
        let Ok(time) = seconds(time) else {
            return ptr::null_mut();
        };
        let interest = if write != 0 { Events::OUT } else { Events::IN };
        let end = end_of(args, count, names);
        let came = switching(s, s.current.get(), end, || {
            hardswitch::net::wait(fd, interest, time)
        });
        match came {
            Ok(_) => none(),
            Err(error) => raise(error.into()),
        }
    }
}

/// `is_idle()`: does nobody wait for a time, a descriptor or a worker?
pub unsafe extern "C" fn is_idle(_: Object, _: Object) -> Object {
    unsafe {
        here!();
        match MainLoop::current() {
            Ok(main_loop) => boolean(main_loop.is_idle()),
            Err(error) => raise(error),
        }
    }
}
