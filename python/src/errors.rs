//! Errors of the library as Python's exceptions, and the other way round.

use crate::object::{new_ref, Exc, Obj};
use crate::sched;
use hardswitch::Error;
use pyo3_ffi::*;
use std::ffi::CStr;
use std::ptr;

/// Stackless' exception that ends a tasklet. Made with the module.
pub static mut TASKLET_EXIT: *mut PyObject = ptr::null_mut();

/// What sends a tasklet that waits at a channel of one thread on to the channel between threads
/// that has taken its place.
pub struct Moved;

pub fn is_moved(error: &Error) -> bool {
    matches!(error, Error::Thrown(thrown) if thrown.is::<Moved>())
}

/// Raises an exception with a message; returns null.
///
/// # Safety
/// The GIL is held.
pub unsafe fn fail(kind: *mut PyObject, words: &str) -> *mut PyObject {
    unsafe {
        let text = PyUnicode_FromStringAndSize(words.as_ptr().cast(), words.len() as Py_ssize_t);
        if !text.is_null() {
            PyErr_SetObject(kind, text);
            Py_DECREF(text);
        }
        ptr::null_mut()
    }
}

/// # Safety
/// The GIL is held.
pub unsafe fn runtime_error(words: &str) -> *mut PyObject {
    unsafe { fail(PyExc_RuntimeError, words) }
}

/// # Safety
/// The GIL is held.
pub unsafe fn type_error(words: &str) -> *mut PyObject {
    unsafe { fail(PyExc_TypeError, words) }
}

/// Raises what the library has returned; returns null.
///
/// # Safety
/// The GIL is held, and the state of the running tasklet is the interpreter's.
#[cold]
pub unsafe fn raise(error: Error) -> *mut PyObject {
    unsafe {
        let kind = match &error {
            Error::Exit => {
                PyErr_SetNone(TASKLET_EXIT);
                return ptr::null_mut();
            }
            Error::Thrown(thrown) => match thrown.downcast_ref::<Exc>() {
                Some(Exc(exception)) => {
                    let exception = Obj::new(exception.as_ptr()).into_ptr();
                    // The error's own reference goes first: the exception's count is that of a
                    // program without the library.
                    drop(error);
                    sched::drain_here();
                    // This chains `__context__`, which PyErr_Restore would not.
                    PyErr_SetObject(Py_TYPE(exception).cast(), exception);
                    Py_DECREF(exception);
                    return ptr::null_mut();
                }
                None => PyExc_RuntimeError,
            },
            Error::Closed => PyExc_ValueError,
            Error::Timeout => PyExc_TimeoutError,
            Error::WouldBlock => PyExc_BlockingIOError,
            Error::OutOfMemory
            | Error::StackSize(_)
            | Error::MemoryCeiling(_)
            | Error::Mappings(_) => PyExc_MemoryError,
            Error::Settings(_) => PyExc_ValueError,
            Error::Io(io) => {
                return match io.raw_os_error() {
                    Some(code) => {
                        *libc::__errno_location() = code;
                        PyErr_SetFromErrno(PyExc_OSError)
                    }
                    None => fail(PyExc_OSError, &io.to_string()),
                }
            }
            _ => PyExc_RuntimeError,
        };
        fail(kind, &error.to_string())
    }
}

/// The exception that is set, normalized, as an error to throw.
///
/// # Safety
/// The GIL is held, and an exception is set.
pub unsafe fn take() -> Obj {
    unsafe {
        let (mut kind, mut value, mut trace) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        PyErr_Fetch(&mut kind, &mut value, &mut trace);
        PyErr_NormalizeException(&mut kind, &mut value, &mut trace);
        if !trace.is_null() {
            PyException_SetTraceback(value, trace);
        }
        Py_XDECREF(kind);
        Py_XDECREF(trace);
        Obj::owned(value)
    }
}

/// The exception that `raise kind, value, trace` of Python 2 would raise; null with an error set.
///
/// # Safety
/// The GIL is held. Null and None are allowed for `value` and `trace`.
pub unsafe fn exception(
    kind: *mut PyObject,
    value: *mut PyObject,
    trace: *mut PyObject,
) -> *mut PyObject {
    unsafe {
        let given = |o: *mut PyObject| !o.is_null() && o != Py_None();
        if given(trace) && PyObject_TypeCheck(trace, &raw mut PyTraceBack_Type) == 0 {
            return type_error("third argument must be a traceback object");
        }
        let made = if PyExceptionInstance_Check(kind) != 0 {
            if given(value) {
                return type_error("instance exception may not have a separate value");
            }
            Py_INCREF(kind);
            kind
        } else if PyExceptionClass_Check(kind) != 0 {
            match given(value).then(|| PyObject_IsInstance(value, kind)) {
                None => PyObject_CallNoArgs(kind),
                Some(..0) => return ptr::null_mut(),
                Some(0) if PyTuple_Check(value) != 0 => PyObject_Call(kind, value, ptr::null_mut()),
                Some(0) => PyObject_CallOneArg(kind, value),
                Some(_) => new_ref(value),
            }
        } else {
            let name = CStr::from_ptr((*Py_TYPE(kind)).tp_name).to_string_lossy();
            return type_error(&format!(
                "exceptions must be classes, or instances, not {name}"
            ));
        };
        if made.is_null() {
            return made;
        }
        if PyExceptionInstance_Check(made) == 0 {
            Py_DECREF(made);
            return type_error("calling the class gave no exception");
        }
        if given(trace) && PyException_SetTraceback(made, trace) < 0 {
            Py_DECREF(made);
            return ptr::null_mut();
        }
        made
    }
}

/// Is this exactly what `kill` throws?
///
/// # Safety
/// The GIL is held; `exception` is one.
pub unsafe fn is_plain_exit(exception: *mut PyObject) -> bool {
    unsafe { Py_TYPE(exception).cast::<PyObject>() == TASKLET_EXIT }
}

/// The error that throws `exception`, whose reference it takes over.
///
/// # Safety
/// The GIL is held; `exception` is one.
pub unsafe fn thrown(exception: *mut PyObject) -> Error {
    unsafe {
        let exception = Obj::owned(exception);
        match is_plain_exit(exception.as_ptr()) {
            true => Error::Exit,
            false => Error::thrown(Exc(exception)),
        }
    }
}
