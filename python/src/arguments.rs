//! The arguments of calls.

use crate::errors::type_error;
use pyo3_ffi::*;
use std::ffi::{c_int, CStr};
use std::ptr;

type Object = *mut PyObject;

/// `func, args, kwargs`, each null where it is missing or None; borrowed. None: an exception is
/// set.
pub unsafe fn function_arguments(
    args: Object,
    kwargs: Object,
    with_stack: bool,
) -> Option<[Object; 3]> {
    unsafe {
        let count = PyTuple_Size(args);
        if count > 3 {
            type_error("at most 3 arguments: func, args, kwargs");
            return None;
        }
        let mut given = [ptr::null_mut(); 3];
        for (i, o) in given.iter_mut().enumerate().take(count as usize) {
            *o = PyTuple_GET_ITEM(args, i as Py_ssize_t);
        }
        if !kwargs.is_null() && PyArg_ValidateKeywordArguments(kwargs) == 0 {
            return None;
        }
        let (mut at, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        while !kwargs.is_null() && PyDict_Next(kwargs, &mut at, &mut key, &mut value) != 0 {
            let named = |name: &CStr| PyUnicode_CompareWithASCIIString(key, name.as_ptr()) == 0;
            let place = [c"func", c"args", c"kwargs"].into_iter().position(named);
            match place {
                Some(i) if given[i].is_null() => given[i] = value,
                None if with_stack && named(c"stack") => {}
                _ => {
                    type_error("an unexpected or repeated keyword: func, args, kwargs are known");
                    return None;
                }
            }
        }
        for o in &mut given {
            if *o == Py_None() {
                *o = ptr::null_mut();
            }
        }
        if !given[0].is_null() && PyCallable_Check(given[0]) == 0 {
            type_error("tasklet function must be a callable or None");
            return None;
        }
        if !given[2].is_null() && PyDict_Check(given[2]) == 0 {
            type_error("kwargs must be a dict or None");
            return None;
        }
        Some(given)
    }
}

/// The keywords of a call by `METH_FASTCALL | METH_KEYWORDS`, put where they belong: borrowed
/// references, null where nothing is given. None: an exception is set.
pub unsafe fn take_arguments<const N: usize>(
    names: [&CStr; N],
    args: *const Object,
    count: Py_ssize_t,
    keywords: Object,
) -> Option<[Object; N]> {
    unsafe {
        let mut given = [ptr::null_mut(); N];
        let count = count as usize;
        if count > N {
            type_error(&format!("at most {N} arguments are taken"));
            return None;
        }
        for (i, o) in given.iter_mut().enumerate().take(count) {
            *o = *args.add(i);
        }
        let more = match keywords.is_null() {
            true => 0,
            false => PyTuple_Size(keywords) as usize,
        };
        for i in 0..more {
            let key = PyTuple_GET_ITEM(keywords, i as Py_ssize_t);
            let named = |name: &CStr| PyUnicode_CompareWithASCIIString(key, name.as_ptr()) == 0;
            match names.iter().position(|name| named(name)) {
                Some(place) if given[place].is_null() => given[place] = *args.add(count + i),
                _ => {
                    type_error("an unexpected or repeated keyword");
                    return None;
                }
            }
        }
        Some(given)
    }
}

/// One past the arguments of a call with keywords.
pub unsafe fn end_of(args: *const Object, count: Py_ssize_t, keywords: Object) -> *const Object {
    unsafe {
        let more = match keywords.is_null() {
            true => 0,
            false => PyTuple_Size(keywords),
        };
        args.offset(count + more)
    }
}

/// Truth of an argument that may be missing; -1 with an exception set.
pub unsafe fn truth(o: Object) -> c_int {
    match o.is_null() {
        true => 0,
        false => unsafe { PyObject_IsTrue(o) },
    }
}

/// The exception that `name(cls, *args)` means; null with an exception set.
pub unsafe fn exception_of(args: *mut Object, count: Py_ssize_t, name: &str) -> Object {
    unsafe {
        if count < 1 {
            return type_error(&format!("{name}() missing required argument 'exc' (pos 1)"));
        }
        if PyExceptionClass_Check(*args) == 0 {
            return type_error("exc must be an exception class");
        }
        let made = PyObject_Vectorcall(*args, args.add(1), count as usize - 1, ptr::null_mut());
        if !made.is_null() && PyExceptionInstance_Check(made) == 0 {
            Py_DECREF(made);
            return type_error("calling the class gave no exception");
        }
        made
    }
}
