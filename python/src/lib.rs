//! The module `stackless` for unmodified CPython, on hardswitch. docs/python.md describes it.
//!
//! | file | what |
//! |---|---|
//! | `state`, `csrc/` | the interpreter's state of a tasklet, a C file for each version of CPython |
//! | `sched` | what the module keeps for a thread; how a call that may switch is wrapped |
//! | `tasklet`, `tasklet_methods`, `tasklet_attributes` | the type `tasklet` |
//! | `channel` | the type `channel` |
//! | `functions`, `waits` | the functions of the module |
//! | `callbacks` | what Python code asks to be told |
//! | `watchdog` | `run` with a time limit |
//! | `collect` | the garbage collector |
//! | `asyncio` | asyncio's running loop |
//! | `errors`, `object`, `arguments` | exceptions, references, arguments of calls |
//!
//! **Safety.** Everything here is called by Python, or by the library while Python calls it. So one
//! rule stands behind every `unsafe` block that says nothing else: the calling thread holds the
//! GIL, arguments are live objects of the type that the method's type says, and fields of objects
//! own what they point to.
#![allow(clippy::missing_safety_doc)]

mod arguments;
mod asyncio;
mod callbacks;
mod channel;
mod collect;
mod errors;
mod functions;
mod object;
mod sched;
mod state;
mod tasklet;
mod tasklet_attributes;
mod tasklet_methods;
mod waits;
mod watchdog;

use pyo3_ffi::*;
use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int, CStr};
use std::ptr;

/// Something that Python fills in or reads, and that has an address.
pub struct Static<T>(UnsafeCell<T>);

// SAFETY: the GIL serialises all uses.
unsafe impl<T> Sync for Static<T> {}

impl<T> Static<T> {
    pub const fn holding(value: T) -> Static<T> {
        Static(UnsafeCell::new(value))
    }

    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// A type of the module.
pub type Type = Static<PyTypeObject>;

impl Type {
    pub const fn empty() -> Type {
        // SAFETY: a type without anything; `PyType_Ready` fills it in.
        let mut empty: PyTypeObject = unsafe { std::mem::zeroed() };
        empty.ob_base.ob_base = PyObject_HEAD_INIT;
        Static::holding(empty)
    }
}

/// A method that is called with its arguments on the caller's evaluation stack.
pub const fn fast(name: &'static CStr, f: PyCFunctionFast, doc: &'static CStr) -> PyMethodDef {
    method(
        name,
        PyMethodDefPointer { PyCFunctionFast: f },
        METH_FASTCALL,
        doc,
    )
}

/// As [`fast`], with keywords.
pub const fn fast_keywords(
    name: &'static CStr,
    f: PyCFunctionFastWithKeywords,
    doc: &'static CStr,
) -> PyMethodDef {
    let f = PyMethodDefPointer {
        PyCFunctionFastWithKeywords: f,
    };
    method(name, f, METH_FASTCALL | METH_KEYWORDS, doc)
}

/// A method without arguments (`METH_NOARGS`), or with one (`METH_O`) or a tuple (`METH_VARARGS`).
pub const fn plain(
    name: &'static CStr,
    f: PyCFunction,
    flags: c_int,
    doc: &'static CStr,
) -> PyMethodDef {
    method(name, PyMethodDefPointer { PyCFunction: f }, flags, doc)
}

/// A method with a tuple and keywords.
pub const fn keywords(
    name: &'static CStr,
    f: PyCFunctionWithKeywords,
    doc: &'static CStr,
) -> PyMethodDef {
    let f = PyMethodDefPointer {
        PyCFunctionWithKeywords: f,
    };
    method(name, f, METH_VARARGS | METH_KEYWORDS, doc)
}

const fn method(
    name: &'static CStr,
    f: PyMethodDefPointer,
    flags: c_int,
    doc: &'static CStr,
) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: f,
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    }
}

/// The last line of a table of methods.
pub const NO_METHOD: PyMethodDef = PyMethodDef::zeroed();

/// An attribute.
pub const fn attribute(
    name: &'static CStr,
    get: getter,
    set: Option<setter>,
    doc: &'static CStr,
) -> PyGetSetDef {
    PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set,
        doc: doc.as_ptr(),
        closure: ptr::null_mut(),
    }
}

/// The attribute `__dict__`.
pub const DICT: PyGetSetDef = PyGetSetDef {
    name: c"__dict__".as_ptr(),
    get: Some(PyObject_GenericGetDict),
    set: Some(PyObject_GenericSetDict),
    doc: ptr::null(),
    closure: ptr::null_mut(),
};

/// The last line of a table of attributes.
pub const NO_ATTRIBUTE: PyGetSetDef = PyGetSetDef {
    name: ptr::null(),
    get: None,
    set: None,
    doc: ptr::null(),
    closure: ptr::null_mut(),
};

static MODULE: Static<PyModuleDef> = Static::holding(PyModuleDef {
    m_base: PyModuleDef_HEAD_INIT,
    m_name: c"stackless._stackless".as_ptr(),
    m_doc: c"The native part of the package stackless.".as_ptr(),
    m_size: -1,
    m_methods: functions::FUNCTIONS.get().cast(),
    m_slots: ptr::null_mut(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
});

/// Called by `import stackless`, in the main interpreter only: what the module keeps for a thread
/// belongs to one interpreter.
#[no_mangle]
pub unsafe extern "C" fn PyInit__stackless() -> *mut PyObject {
    // SAFETY: Python calls this with the GIL held.
    unsafe {
        if PyInterpreterState_Get() != PyInterpreterState_Main() {
            return errors::fail(
                PyExc_ImportError,
                "stackless works in the main interpreter only",
            );
        }
        functions::read_environment();
        if tasklet::prepare() < 0 || channel::prepare() < 0 {
            return ptr::null_mut();
        }
        let module = PyModule_Create(MODULE.get());
        if module.is_null() {
            return module;
        }
        let exit = PyErr_NewExceptionWithDoc(
            c"stackless.TaskletExit".as_ptr(),
            c"Ends a tasklet without a word. It passes `except Exception`.".as_ptr(),
            PyExc_SystemExit,
            ptr::null_mut(),
        );
        if exit.is_null() {
            return exit;
        }
        errors::TASKLET_EXIT = exit;
        let add = |name: *const c_char, o: *mut PyObject| {
            Py_INCREF(o);
            PyModule_AddObject(module, name, o) == 0
        };
        if !add(c"TaskletExit".as_ptr(), exit)
            || !add(c"tasklet".as_ptr(), tasklet::TYPE.get().cast())
            || !add(c"channel".as_ptr(), channel::TYPE.get().cast())
        {
            return ptr::null_mut();
        }
        module
    }
}
