//! The type `tasklet`: the object, its life and its end. Its methods are in
//! [`crate::tasklet_methods`].
//!
//! **Who keeps a tasklet.** The scheduler owns a reference to a tasklet that is queued, blocked or
//! running (`owned`). A paused one lives by the references of others alone; when the last one goes,
//! it is killed first, so that its `finally` blocks run.

use crate::collect;
use crate::object::{clear, new_ref, set, Obj};
use crate::sched::{self, drop_later, switching, Sched};
use crate::state::{self, State};
use crate::tasklet_attributes::GETSET;
use crate::tasklet_methods::METHODS;
use crate::{errors, Type};
use hardswitch::{Error, Tasklet};
use pyo3_ffi::*;
use std::ffi::{c_int, c_void};
use std::mem::{offset_of, ManuallyDrop};
use std::ptr;

/// The object.
#[repr(C)]
pub struct PyTasklet {
    ob_base: PyObject,
    pub sched: *mut Sched,
    /// None: the thread has ended.
    handle: Option<Tasklet>,
    pub state: State,
    pub func: *mut PyObject,
    pub args: *mut PyObject,
    pub kwargs: *mut PyObject,
    /// The context in which the function will start.
    pub context: *mut PyObject,
    /// Its running loop of asyncio, while it does not run.
    pub running_loop: *mut PyObject,
    weakrefs: *mut PyObject,
    dict: *mut PyObject,
    /// Has the library's tasklet a function that has not started?
    pub bound: bool,
    /// Has the scheduler a reference to the object?
    pub owned: bool,
    /// Has the error handler been asked about its exception?
    pub asked: bool,
    /// Will it be killed when the garbage collector is done?
    pub condemned: bool,
    /// Has it a stack of its own?
    own_stack: bool,
}

pub static TYPE: Type = Type::empty();

/// Fills in the type, and makes it ready.
///
/// # Safety
/// Called once, with the GIL held.
pub unsafe fn prepare() -> c_int {
    unsafe {
        let t = &mut *TYPE.get();
        t.tp_name = c"stackless.tasklet".as_ptr();
        t.tp_doc = c"tasklet(func=None, args=None, kwargs=None, *, stack=None)\n--\n\n\
            A thread of control within a thread; it switches only where it calls this module.\n\n\
            With a function alone it is bound: call it with the arguments to queue it. With\n\
            arguments it is paused until it is inserted. stack='own' gives it a stack of its own,\n\
            for C extensions that hand out pointers into their stack."
            .as_ptr();
        t.tp_basicsize = size_of::<PyTasklet>() as Py_ssize_t;
        t.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
        t.tp_new = Some(new);
        t.tp_init = Some(init);
        t.tp_dealloc = Some(dealloc);
        t.tp_finalize = Some(finalize);
        t.tp_traverse = Some(traverse);
        t.tp_clear = Some(clear_fields);
        t.tp_call = Some(crate::tasklet_methods::setup);
        t.tp_repr = Some(crate::tasklet_methods::repr);
        t.tp_methods = METHODS.get().cast();
        t.tp_getset = GETSET.get().cast();
        t.tp_weaklistoffset = offset_of!(PyTasklet, weakrefs) as Py_ssize_t;
        t.tp_dictoffset = offset_of!(PyTasklet, dict) as Py_ssize_t;
        PyType_Ready(t)
    }
}

/// Where a tasklet is, seen from the calling thread.
pub enum Where {
    Here,
    Elsewhere,
    Gone,
}

impl PyTasklet {
    pub fn place(&self) -> Where {
        // SAFETY: parts stay allocated.
        let s = unsafe { &*self.sched };
        match &self.handle {
            Some(_) if s.is_here() => Where::Here,
            Some(_) if s.is_alive() => Where::Elsewhere,
            _ => Where::Gone,
        }
    }

    /// The library's handle: on other threads than its own it may only be asked.
    pub fn handle(&self) -> Option<&Tasklet> {
        self.handle.as_ref()
    }

    pub fn take_handle(&mut self) -> Option<Tasklet> {
        self.handle.take()
    }

    pub fn is_alive(&self) -> bool {
        self.handle.as_ref().is_some_and(Tasklet::is_alive)
    }

    /// Gives the object a tasklet of the calling thread, in place of that of another.
    ///
    /// # Safety
    /// The tasklet has not started, `s` is the calling thread's part.
    pub unsafe fn adopt(&mut self, s: &Sched) -> hardswitch::Result<()> {
        let handle = self.make(s)?;
        self.sched = ptr::from_ref(s).cast_mut();
        s.enter(&handle, self);
        self.handle = Some(handle);
        Ok(())
    }

    fn make(&self, _here: &Sched) -> hardswitch::Result<Tasklet> {
        let builder = Tasklet::builder();
        match self.own_stack {
            true => builder.stack_size(own_stack_size()).build(),
            // SAFETY: what lies on the stack of a parked tasklet is CPython's and that of
            // extensions: neither hands out pointers to it that are used while another tasklet
            // runs. docs/python.md says so to authors of extensions, and what to do for those that
            // do; the collector's lists are looked after in `collect`.
            false => unsafe { builder.sliced() }.build(),
        }
    }
}

/// Bytes of a stack of its own: as much as a window has.
fn own_stack_size() -> usize {
    // SAFETY: the GIL is held by whoever makes tasklets.
    let settings = unsafe { &*sched::SETTINGS.0.get() };
    settings.as_ref().map_or(1 << 20, |(s, _)| s.window_size)
}

/// The object of a thread's main tasklet.
///
/// # Safety
/// The GIL is held; `s` is the calling thread's part.
pub unsafe fn make_main(s: *mut Sched, handle: Tasklet) -> *mut PyTasklet {
    unsafe {
        let main = PyType_GenericAlloc(TYPE.get(), 0).cast::<PyTasklet>();
        if !main.is_null() {
            (*main).sched = s;
            (*s).enter(&handle, main);
            ptr::write(&mut (*main).handle, Some(handle));
        }
        main
    }
}

unsafe extern "C" fn new(
    kind: *mut PyTypeObject,
    _args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    unsafe {
        let s = crate::here!();
        let mut own_stack = false;
        if !kwargs.is_null() {
            let stack = PyDict_GetItemString(kwargs, c"stack".as_ptr());
            if !stack.is_null() && stack != Py_None() && PyUnicode_Check(stack) != 0 {
                own_stack = PyUnicode_CompareWithASCIIString(stack, c"own".as_ptr()) == 0;
                if !own_stack && PyUnicode_CompareWithASCIIString(stack, c"sliced".as_ptr()) != 0 {
                    return errors::fail(PyExc_ValueError, "stack must be 'own' or 'sliced'");
                }
            }
        }
        // The allocator leaves all fields zero; so the handle is None.
        let t = match (*kind).tp_alloc {
            Some(alloc) => alloc(kind, 0).cast::<PyTasklet>(),
            None => ptr::null_mut(),
        };
        if t.is_null() {
            return t.cast();
        }
        (*t).sched = ptr::from_ref(s).cast_mut();
        ptr::write(&mut (*t).handle, None);
        (*t).own_stack = own_stack;
        if let Err(error) = (*t).adopt(s) {
            errors::raise(error);
            Py_DECREF(t.cast());
            return ptr::null_mut();
        }
        t.cast()
    }
}

unsafe extern "C" fn init(o: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> c_int {
    unsafe {
        let Some([func, a, k]) = crate::arguments::function_arguments(args, kwargs, true) else {
            return -1;
        };
        if func.is_null() {
            return match a.is_null() && k.is_null() {
                true => 0,
                false => {
                    errors::type_error("the tasklet was not bound to a function");
                    -1
                }
            };
        }
        bind(o.cast(), func, a, k)
    }
}

/// The function of a tasklet on its way: it runs once, or is dropped without having run. With the
/// number of the tasklet of the library that has it, since the object may get another.
struct Start(*mut PyTasklet, usize);

impl Start {
    fn run(self) -> hardswitch::Result<()> {
        let tasklet = self.0;
        std::mem::forget(self);
        // SAFETY: as below.
        unsafe { (*tasklet).bound = false };
        // SAFETY: the scheduler has a reference to the object of a queued tasklet, and runs this
        // on its stack.
        unsafe { sched::body(tasklet) }
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        // SAFETY: parts stay allocated. The object is there while its thread knows it by the
        // tasklet that had the function: when it goes, or gets one of another thread, its entry
        // goes first.
        unsafe {
            let s = sched::existing();
            if s.is_null() || !(*s).knows(self.1, self.0) {
                return;
            }
            (*self.0).bound = false;
            disown(self.0);
        }
    }
}

/// Binds the tasklet: it is paused then, or only bound if there are no arguments.
///
/// # Safety
/// The GIL is held; `func` is callable; null is allowed for `args` and `kwargs`.
pub unsafe fn bind(
    t: *mut PyTasklet,
    func: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> c_int {
    unsafe {
        let paused = !args.is_null() || !kwargs.is_null();
        let args = match args.is_null() {
            true => ptr::null_mut(),
            false => PySequence_Tuple(args),
        };
        if args.is_null() && !PyErr_Occurred().is_null() {
            return -1;
        }
        let Some(handle) = &(*t).handle else {
            Py_XDECREF(args);
            errors::runtime_error("tasklet has no thread");
            return -1;
        };
        // What the library does not take it drops: then the tasklet is queued, blocked or running,
        // and the scheduler keeps its reference. No code of Python's runs in between.
        let (was_bound, was_owned) = ((*t).bound, (*t).owned);
        (*t).owned = false;
        let start = Start(t, handle.id());
        let bound = match paused {
            true => handle.bind_paused(move || start.run()),
            false => handle.bind(move || start.run()),
        };
        (*t).owned = was_owned;
        if let Err(error) = bound {
            // Without memory it has lost its function.
            (*t).bound = was_bound && matches!(error, Error::State(_));
            Py_XDECREF(args);
            errors::raise(error);
            return -1;
        }
        disown(t);
        (*t).asked = false;
        (*t).bound = true;
        set(&raw mut (*t).func, new_ref(func));
        match paused {
            true => give_arguments(t, args, new_ref(kwargs)),
            false => 0,
        }
    }
}

/// Sets what the function will be called with, and the context; takes over the references.
///
/// # Safety
/// The GIL is held; null is allowed.
pub unsafe fn give_arguments(
    t: *mut PyTasklet,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> c_int {
    unsafe {
        let args = match args.is_null() {
            true => PyTuple_New(0),
            false => args,
        };
        if args.is_null() {
            Py_XDECREF(kwargs);
            return -1;
        }
        set(&raw mut (*t).args, args);
        set(&raw mut (*t).kwargs, kwargs);
        let context = PyContext_CopyCurrent();
        if context.is_null() {
            return -1;
        }
        set(&raw mut (*t).context, context);
        0
    }
}

/// Lets go of the function and its arguments.
///
/// # Safety
/// The GIL is held, a tasklet's state is loaded.
pub unsafe fn forget_function(t: *mut PyTasklet) {
    unsafe {
        clear(&raw mut (*t).kwargs);
        clear(&raw mut (*t).args);
        clear(&raw mut (*t).func);
    }
}

/// The scheduler has a reference from now on.
///
/// # Safety
/// The GIL is held.
#[inline(always)]
pub unsafe fn own(t: *mut PyTasklet) {
    unsafe {
        if !(*t).owned {
            (*t).owned = true;
            Py_INCREF(t.cast());
        }
    }
}

/// The scheduler's reference is given up soon: the tasklet may be running.
///
/// # Safety
/// The GIL is held.
#[inline(always)]
pub unsafe fn disown(t: *mut PyTasklet) {
    unsafe {
        if (*t).owned {
            (*t).owned = false;
            drop_later(t.cast());
        }
    }
}

/// Makes `owned` agree with the tasklet's state after an operation on it.
///
/// # Safety
/// The GIL is held; the tasklet is one of the calling thread.
pub unsafe fn settle(t: *mut PyTasklet) {
    unsafe {
        let Some(handle) = &(*t).handle else { return };
        let scheduled = handle.is_scheduled();
        let alive = handle.is_alive();
        match scheduled && alive && !handle.is_main() {
            true => own(t),
            false => disown(t),
        }
        if !alive && !(*t).bound && !(*t).state.is_saved() && !handle.is_current() {
            forget_function(t);
        }
    }
}

/// Kills a tasklet to which nobody refers any more; on its own thread.
///
/// # Safety
/// The GIL is held, and the caller has a reference.
pub unsafe fn kill_lost(t: *mut PyTasklet) {
    unsafe {
        match (*t).place() {
            Where::Here => {
                let s = &*(*t).sched;
                let Some(handle) = (*t).handle.clone() else {
                    return;
                };
                if !s.may_kill() {
                    // Whoever arrives next gives the reference up, which comes here again if it
                    // is the last one.
                    return drop_later(new_ref(t.cast()));
                }
                let (mut kind, mut value, mut trace) =
                    (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
                PyErr_Fetch(&mut kind, &mut value, &mut trace);
                own(t);
                let killed = switching(s, s.current.get(), ptr::null(), || handle.kill());
                drop(handle);
                settle(t);
                if let Err(error) = killed {
                    errors::raise(error);
                    PyErr_WriteUnraisable(ptr::null_mut());
                }
                PyErr_Restore(kind, value, trace);
            }
            Where::Elsewhere => {
                let object = Obj::new(t.cast());
                let _ = (*(*t).sched).post(move |_| kill_lost(object.as_ptr().cast()));
            }
            Where::Gone => {}
        }
    }
}

/// A subclass's `__del__` replaces this; then `clear_fields` or `dealloc` come first.
unsafe extern "C" fn finalize(o: *mut PyObject) {
    unsafe {
        let t = o.cast::<PyTasklet>();
        if collect::is_under_way() && (*t).is_alive() && !(*t).condemned {
            collect::condemn(t);
        }
    }
}

unsafe extern "C" fn traverse(o: *mut PyObject, visit: visitproc, arg: *mut c_void) -> c_int {
    unsafe {
        let t = o.cast::<PyTasklet>();
        for field in [
            (*t).func,
            (*t).args,
            (*t).kwargs,
            (*t).context,
            (*t).running_loop,
            (*t).dict,
        ] {
            if !field.is_null() {
                let stop = visit(field, arg);
                if stop != 0 {
                    return stop;
                }
            }
        }
        state::stackless_state_traverse(&raw mut (*t).state, visit, arg)
    }
}

unsafe extern "C" fn clear_fields(o: *mut PyObject) -> c_int {
    unsafe {
        let t = o.cast::<PyTasklet>();
        if (*t).is_alive() {
            // Its `finally` blocks need what it has.
            if collect::is_under_way() && !(*t).condemned {
                collect::condemn(t);
            }
            return 0;
        }
        forget_function(t);
        clear(&raw mut (*t).context);
        clear(&raw mut (*t).running_loop);
        clear(&raw mut (*t).dict);
        0
    }
}

/// The object has a reference again: that of the caller.
unsafe fn resurrect(o: *mut PyObject) {
    unsafe {
        state::stackless_set_refcount(o, 1);
        // The interpreter gives up the reference to a class of Python's once it has called us.
        if (*Py_TYPE(o)).tp_flags & Py_TPFLAGS_HEAPTYPE != 0 {
            Py_INCREF(Py_TYPE(o).cast());
        }
        if PyObject_GC_IsTracked(o) == 0 {
            PyObject_GC_Track(o.cast());
        }
    }
}

unsafe extern "C" fn dealloc(o: *mut PyObject) {
    unsafe {
        let t = o.cast::<PyTasklet>();
        match (*t).place() {
            Where::Here if (*t).is_alive() && (*(*t).sched).current.get() == t => {
                // It runs: the scheduler has a reference again.
                resurrect(o);
                (*t).owned = true;
                return;
            }
            Where::Here if (*t).is_alive() && !(*(*t).sched).may_kill() => {
                resurrect(o);
                return drop_later(o);
            }
            Where::Here if (*t).is_alive() => {
                resurrect(o);
                match collect::is_under_way() {
                    true => collect::condemn(t),
                    false => kill_lost(t),
                }
                if Py_REFCNT(o) > 1 || (*t).is_alive() && !(*t).condemned {
                    // Somebody has it again; or it refuses to end, and stays for ever.
                    if Py_REFCNT(o) > 1 {
                        Py_DECREF(o);
                    }
                    return;
                }
                // This comes back here, with a tasklet that has ended.
                Py_DECREF(o);
                return;
            }
            Where::Elsewhere => {
                // The tasklet belongs to its own thread, which ends it there.
                resurrect(o);
                // Where it cannot be told, the object stays for ever.
                let object = ManuallyDrop::new(Obj::owned(o));
                let _ = (*(*t).sched).post(move |_| drop(ManuallyDrop::into_inner(object)));
                return;
            }
            _ => {}
        }
        PyObject_GC_UnTrack(o.cast());
        if !(*t).weakrefs.is_null() {
            PyObject_ClearWeakRefs(o);
        }
        if let Some(handle) = (*t).take_handle() {
            (*(*t).sched).leave(&handle);
            // A value that is left in its slot, and a function that never ran.
            drop(handle.take_tempval());
            drop(handle);
        }
        clear_fields(o);
        if let Some(free) = (*Py_TYPE(o)).tp_free {
            free(o.cast());
        }
    }
}
