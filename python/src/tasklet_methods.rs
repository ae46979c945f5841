//! The methods of `tasklet`.

use crate::arguments::{end_of, exception_of, function_arguments, take_arguments, truth};
use crate::errors::{self, exception, raise, runtime_error, thrown, type_error};
use crate::object::{boolean, new_ref, none, set, Obj};
use crate::sched::{self, switching, Sched};
use crate::state;
use crate::tasklet::{
    bind, disown, forget_function, give_arguments, own, settle, PyTasklet, Where,
};
use crate::NO_METHOD;
use crate::{fast, fast_keywords, here, keywords, plain, Static};
use hardswitch::{Error, StateError, Tasklet, Value};
use pyo3_ffi::*;
use std::ffi::CStr;
use std::ptr;

type Object = *mut PyObject;

/// The tasklet of the library, or a return of null with "tasklet has no thread".
macro_rules! handle {
    ($t:expr) => {
        match (*$t).handle() {
            Some(handle) => handle,
            None => return runtime_error("tasklet has no thread"),
        }
    };
}

/// Null after an error, with the exception set; otherwise what is given.
unsafe fn done<R>(result: hardswitch::Result<R>, value: impl FnOnce() -> Object) -> Object {
    match result {
        Ok(_) => value(),
        Err(error) => unsafe { raise(error) },
    }
}

/// Asks another thread to do something to a tasklet of its own. What fails there is not heard of.
unsafe fn ask(t: *mut PyTasklet, f: impl FnOnce(*mut PyTasklet) + 'static) -> bool {
    unsafe {
        let object = Obj::new(t.cast());
        match (*(*t).sched).post(move |_| f(object.as_ptr().cast())) {
            Ok(()) => true,
            Err(words) => {
                runtime_error(words);
                false
            }
        }
    }
}

unsafe extern "C" fn method_bind(o: Object, args: Object, kwargs: Object) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        let Some([func, a, k]) = function_arguments(args, kwargs, false) else {
            return ptr::null_mut();
        };
        let unbound = func.is_null() && a.is_null() && k.is_null();
        match (*t).place() {
            Where::Here => {}
            Where::Elsewhere => return runtime_error("can't bind a tasklet of another thread"),
            Where::Gone if a.is_null() && k.is_null() => {
                // It may be given to another thread, and start there.
                forget_function(t);
                // What a destructor there has bound goes.
                set(&raw mut (*t).func, new_ref(func));
                return new_ref(o);
            }
            Where::Gone => return runtime_error("tasklet has no thread"),
        }
        if unbound {
            if let Err(error) = handle!(t).unbind() {
                return raise(error);
            }
            forget_function(t);
            sched::drain_here();
            return new_ref(o);
        }
        let func = match func.is_null() {
            true => new_ref((*t).func),
            false => new_ref(func),
        };
        if func.is_null() {
            return type_error("the tasklet was not bound to a function");
        }
        let bound = bind(t, func, a, k);
        Py_DECREF(func);
        match bound {
            0 => new_ref(o),
            _ => ptr::null_mut(),
        }
    }
}

pub unsafe extern "C" fn setup(o: Object, args: Object, kwargs: Object) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        let handle = handle!(t);
        if handle.is_alive() {
            return raise(StateError::Alive.into());
        }
        if (*t).func.is_null() {
            return raise(StateError::NotBound.into());
        }
        match (*t).place() {
            Where::Here => {
                if give_arguments(t, new_ref(args), new_ref(kwargs)) < 0 {
                    return ptr::null_mut();
                }
                if let Err(error) = handle.setup() {
                    return raise(error);
                }
                own(t);
            }
            Where::Elsewhere => {
                let context = PyContext_CopyCurrent();
                if context.is_null() {
                    return context;
                }
                let args = Obj::new(args);
                let kwargs = (!kwargs.is_null()).then(|| Obj::new(kwargs));
                let context = Obj::owned(context);
                let asked = ask(t, move |t| {
                    // Of several requests one counts, with its arguments.
                    if (*t).handle().is_some_and(|handle| handle.setup().is_ok()) {
                        own(t);
                        let kwargs = kwargs.map_or(ptr::null_mut(), Obj::into_ptr);
                        let old = [
                            std::mem::replace(&mut (*t).args, args.into_ptr()),
                            std::mem::replace(&mut (*t).kwargs, kwargs),
                            std::mem::replace(&mut (*t).context, context.into_ptr()),
                        ];
                        // Destructors may switch, also to it.
                        old.into_iter().for_each(|o| Py_XDECREF(o));
                    }
                });
                if !asked {
                    return ptr::null_mut();
                }
            }
            Where::Gone => return raise(StateError::NoThread.into()),
        }
        new_ref(o)
    }
}

/// Why the tasklet of another thread cannot be queued, if it cannot.
fn not_runnable(handle: &Tasklet) -> Option<StateError> {
    match () {
        () if handle.is_blocked() => Some(StateError::RunBlocked),
        () if !handle.is_alive() => Some(StateError::RunDead),
        () => None,
    }
}

unsafe fn insert_elsewhere(t: *mut PyTasklet, handle: &Tasklet) -> bool {
    unsafe {
        if let Some(error) = not_runnable(handle) {
            raise(error.into());
            return false;
        }
        ask(t, |t| {
            if (*t).handle().is_some_and(|handle| handle.insert().is_ok()) {
                settle(t);
            }
        })
    }
}

unsafe extern "C" fn insert(o: Object, _: Object) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        let Some(handle) = (*t).handle() else {
            return raise(StateError::ThreadNotInitialized.into());
        };
        match (*t).place() {
            Where::Here => {
                if let Err(error) = handle.insert() {
                    return raise(error);
                }
                settle(t);
            }
            Where::Elsewhere if !insert_elsewhere(t, handle) => return ptr::null_mut(),
            Where::Elsewhere => {}
            Where::Gone => return raise(StateError::ThreadNotInitialized.into()),
        }
        new_ref(o)
    }
}

unsafe extern "C" fn remove(o: Object, _: Object) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        match ((*t).place(), (*t).handle()) {
            (Where::Here, Some(handle)) => {
                if let Err(error) = handle.remove() {
                    return raise(error);
                }
                Py_INCREF(o);
                settle(t);
                sched::drain_here();
                return o;
            }
            (Where::Elsewhere, Some(handle)) => {
                if handle.is_blocked() {
                    return raise(StateError::RemoveBlocked.into());
                }
                let asked = ask(t, |t| {
                    if (*t).handle().is_some_and(|handle| handle.remove().is_ok()) {
                        settle(t);
                    }
                });
                if !asked {
                    return ptr::null_mut();
                }
            }
            _ => {}
        }
        new_ref(o)
    }
}

/// The value in the running tasklet's transfer slot, or null.
pub unsafe fn take_value(me: *mut PyTasklet) -> Object {
    unsafe {
        let value = (*me).handle().map(Tasklet::take_tempval);
        match value.map(Value::downcast::<Obj>) {
            Some(Ok(o)) => o.into_ptr(),
            _ => ptr::null_mut(),
        }
    }
}

/// What `run` and `switch` return: the value that was put into the caller's slot meanwhile
/// (`now`), or what was there before, or None.
unsafe fn value_of_run(now: Object, kept: Object) -> Object {
    unsafe {
        match (now.is_null(), kept.is_null()) {
            (true, true) => none(),
            (true, false) => kept,
            (false, _) => {
                Py_XDECREF(kept);
                now
            }
        }
    }
}

/// The end of `run` and `switch`.
unsafe fn after_run(t: *mut PyTasklet, now: hardswitch::Result<Object>, kept: Object) -> Object {
    unsafe {
        match now {
            Ok(now) => value_of_run(now, kept),
            Err(error) => {
                Py_XDECREF(kept);
                settle(t);
                raise(error)
            }
        }
    }
}

unsafe extern "C" fn run(o: Object, args: *mut Object, count: Py_ssize_t) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        let s = here!();
        // Its own: another thread may take the object's while others run.
        let handle = handle!(t).clone();
        match (*t).place() {
            Where::Elsewhere => {
                return match insert_elsewhere(t, &handle) {
                    true => none(),
                    false => ptr::null_mut(),
                }
            }
            Where::Gone => return raise(StateError::NoThread.into()),
            Where::Here => {}
        }
        let me = s.current.get();
        let kept = take_value(me);
        if handle.is_alive() {
            own(t);
        }
        let end = args.offset(count);
        let result = switching(s, me, end, || handle.run().map(|()| take_value(me)));
        after_run(t, result, kept)
    }
}

unsafe extern "C" fn switch(o: Object, args: *mut Object, count: Py_ssize_t) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        let s = here!();
        // As in `run`.
        let handle = handle!(t).clone();
        match (*t).place() {
            Where::Elsewhere => return raise(StateError::OtherThread.into()),
            Where::Gone => return raise(StateError::NoThread.into()),
            Where::Here => {}
        }
        let me = s.current.get();
        let kept = take_value(me);
        if handle.is_alive() {
            own(t);
        }
        let end = args.offset(count);
        let call = || handle.switch().map(|()| take_value(me));
        let result = match t == me {
            true => switching(s, me, end, call),
            false => leaving(s, me, end, call),
        };
        after_run(t, result, kept)
    }
}

/// [`switching`] by a call that pauses the running tasklet: the scheduler gives its reference up,
/// and has one again as soon as the tasklet runs, also where the library has refused.
///
/// # Safety
/// As [`switching`].
pub unsafe fn leaving<R>(
    s: &Sched,
    me: *mut PyTasklet,
    end: *const Object,
    call: impl FnOnce() -> R,
) -> R {
    unsafe {
        disown(me);
        switching(s, me, end, || {
            let result = call();
            // Before anything is given up: that may be the last reference.
            if (*me).handle().is_some_and(|handle| !handle.is_main()) {
                own(me);
            }
            result
        })
    }
}

/// How an exception is thrown.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Now,
    Pending,
    /// As `raise_exception` does.
    Raise,
}

unsafe fn throw_at(
    s: &Sched,
    t: *mut PyTasklet,
    error: Error,
    how: How,
    end: *const Object,
) -> Object {
    unsafe {
        let exit = error.is_exit();
        // As in `run`.
        let Some(handle) = (*t).handle().cloned() else {
            return match exit && how == How::Pending {
                true => none(),
                false => raise(StateError::NoThread.into()),
            };
        };
        match (*t).place() {
            Where::Here => {}
            Where::Elsewhere if !handle.is_alive() => {
                return match exit {
                    true => none(),
                    false => raise(StateError::ThrowDead.into()),
                }
            }
            Where::Elsewhere => {
                let asked = ask(t, move |t| {
                    if let Some(handle) = (*t).handle() {
                        let _ = handle.throw_pending(error);
                        settle(t);
                    }
                });
                return match asked {
                    true => none(),
                    false => ptr::null_mut(),
                };
            }
            Where::Gone => return raise(StateError::NoThread.into()),
        }
        let me = s.current.get();
        Py_INCREF(t.cast());
        if t != me && handle.is_alive() {
            own(t); // It runs now or soon.
        }
        let result = switching(s, me, end, || match how {
            How::Now => handle.throw(error),
            How::Pending => handle.throw_pending(error),
            How::Raise => handle.raise(error),
        });
        if t != me {
            settle(t);
        }
        Py_DECREF(t.cast());
        sched::drain_here();
        done(result, || none())
    }
}

unsafe extern "C" fn throw(
    o: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        let end = end_of(args, count, names);
        let Some([kind, value, trace, pending]) =
            take_arguments([c"exc", c"val", c"tb", c"pending"], args, count, names)
        else {
            return ptr::null_mut();
        };
        if kind.is_null() {
            return type_error("throw() missing required argument 'exc' (pos 1)");
        }
        let pending = truth(pending);
        if pending < 0 {
            return ptr::null_mut();
        }
        let made = exception(kind, value, trace);
        if made.is_null() {
            return made;
        }
        let how = if pending != 0 { How::Pending } else { How::Now };
        throw_at(s, o.cast(), thrown(made), how, end)
    }
}

unsafe extern "C" fn raise_exception(o: Object, args: *mut Object, count: Py_ssize_t) -> Object {
    unsafe {
        let s = here!();
        let made = exception_of(args, count, "raise_exception");
        if made.is_null() {
            return made;
        }
        throw_at(s, o.cast(), thrown(made), How::Raise, args.offset(count))
    }
}

unsafe extern "C" fn kill(
    o: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        let Some([pending]) = take_arguments([c"pending"], args, count, names) else {
            return ptr::null_mut();
        };
        let how = match truth(pending) {
            0 => How::Now,
            1 => How::Pending,
            _ => return ptr::null_mut(),
        };
        let t = o.cast::<PyTasklet>();
        if matches!((*t).place(), Where::Gone) {
            return none();
        }
        throw_at(s, t, Error::Exit, how, end_of(args, count, names))
    }
}

unsafe extern "C" fn bind_thread(
    o: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        let s = here!();
        let Some([id]) = take_arguments([c"thread_id"], args, count, names) else {
            return ptr::null_mut();
        };
        let id = match id.is_null() {
            true => -1,
            false => PyLong_AsLongLong(id),
        };
        if id == -1 && !PyErr_Occurred().is_null() {
            return ptr::null_mut();
        }
        if id < -1 {
            return errors::fail(
                PyExc_OverflowError,
                "can't convert negative value to a thread",
            );
        }
        let target = match id {
            -1 => ptr::from_ref(s).cast_mut(),
            id => match sched::all().iter().find(|s| (***s).thread == id as u64) {
                Some(target) => *target,
                None => return errors::fail(PyExc_ValueError, "bad thread"),
            },
        };
        if (*t).sched == target && !matches!((*t).place(), Where::Gone) {
            return none();
        }
        if !ptr::eq(target, s) {
            return errors::fail(
                PyExc_NotImplementedError,
                "a tasklet is moved by the thread that it is moved to: bind_thread() there",
            );
        }
        if let Some(handle) = (*t).handle() {
            if handle.is_scheduled() && !handle.is_blocked() || handle.is_current() {
                return raise(StateError::BindRunnable.into());
            }
        }
        if (*t).state.is_saved() {
            return raise(StateError::StackInUse.into());
        }
        let paused = (*t).is_alive();
        let func = (*t).func;
        let old = (*t).take_handle();
        let before = (*t).sched;
        if let Some(old) = old {
            // Its thread gives it up: here it may only be asked.
            (*before).leave(&old);
            let old = std::mem::ManuallyDrop::new(old);
            (*t).owned = false;
            let _ = (*before).post(move |_| {
                let old = std::mem::ManuallyDrop::into_inner(old);
                let _ = old.unbind();
            });
        }
        if let Err(error) = (*t).adopt(s) {
            return raise(error);
        }
        if !func.is_null() {
            let (args, kwargs) = (new_ref((*t).args), new_ref((*t).kwargs));
            let args_given = if paused && args.is_null() {
                PyTuple_New(0)
            } else {
                args
            };
            let given = if paused { args_given } else { ptr::null_mut() };
            let bound = bind(
                t,
                func,
                given,
                if paused { kwargs } else { ptr::null_mut() },
            );
            Py_XDECREF(args_given);
            Py_XDECREF(kwargs);
            if bound < 0 {
                return ptr::null_mut();
            }
        }
        none()
    }
}

unsafe extern "C" fn set_atomic(o: Object, on: Object) -> Object {
    unsafe {
        match (truth(on), (*o.cast::<PyTasklet>()).handle()) {
            (..0, _) => ptr::null_mut(),
            (on, Some(handle)) => boolean(handle.set_atomic(on != 0)),
            _ => boolean(false),
        }
    }
}

unsafe extern "C" fn set_ignore_nesting(o: Object, on: Object) -> Object {
    unsafe {
        match (truth(on), (*o.cast::<PyTasklet>()).handle()) {
            (..0, _) => ptr::null_mut(),
            (on, Some(handle)) => boolean(handle.set_ignore_nesting(on != 0)),
            _ => boolean(false),
        }
    }
}

unsafe extern "C" fn reduce(_: Object, _: Object) -> Object {
    unsafe {
        errors::fail(
            PyExc_NotImplementedError,
            "frames of CPython cannot be pickled, and so tasklets and channels cannot",
        )
    }
}

unsafe extern "C" fn stats(o: Object, _: Object) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        let handle = handle!(t);
        let stats = handle.stats();
        Py_BuildValue(
            c"{s:K,s:n,s:n,s:n}".as_ptr(),
            c"switches".as_ptr(),
            stats.switches,
            c"stack_bytes".as_ptr(),
            stats.stack_bytes as Py_ssize_t,
            c"slice_bytes".as_ptr(),
            stats.slice_bytes as Py_ssize_t,
            c"frame_bytes".as_ptr(),
            state::stackless_state_frame_bytes(&raw mut (*t).state) as Py_ssize_t,
        )
    }
}

pub unsafe extern "C" fn repr(o: Object) -> Object {
    unsafe {
        let t = o.cast::<PyTasklet>();
        let state = match (*t).handle() {
            None => "no thread",
            Some(h) if h.is_main() => "main",
            Some(h) if h.is_current() => "current",
            Some(h) if h.is_blocked() => "blocked",
            Some(h) if h.is_scheduled() => "scheduled",
            Some(h) if h.is_alive() => "paused",
            Some(_) if !(*t).func.is_null() => "bound",
            Some(_) => "not alive",
        };
        let name = CStr::from_ptr((*Py_TYPE(o)).tp_name).to_string_lossy();
        let text = format!("<{name} at {o:p}, {state}>");
        PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as Py_ssize_t)
    }
}

pub static METHODS: Static<[PyMethodDef; 15]> = Static::holding([
    REDUCE,
    keywords(c"bind", method_bind, c"bind(func=None, args=None, kwargs=None)\n--\n\nBinds the tasklet to a function; with arguments it is paused. Returns the tasklet."),
    keywords(c"setup", setup, c"setup(*args, **kwargs)\n--\n\nQueues a bound tasklet with these arguments. Returns the tasklet."),
    plain(c"insert", insert, METH_NOARGS, c"insert()\n--\n\nPuts the tasklet at the end of the queue. Returns the tasklet."),
    plain(c"remove", remove, METH_NOARGS, c"remove()\n--\n\nTakes the tasklet out of the queue: it is paused. Returns the tasklet."),
    fast(c"run", run, c"run()\n--\n\nSwitches to the tasklet; the caller stays queued."),
    fast(c"switch", switch, c"switch()\n--\n\nSwitches to the tasklet; the caller is paused."),
    fast_keywords(c"throw", throw, c"throw(exc, val=None, tb=None, pending=False)\n--\n\nRaises an exception in the tasklet, now or (pending) when its turn comes."),
    fast(c"raise_exception", raise_exception, c"raise_exception(exc_class, *args)\n--\n\nRaises exc_class(*args) in the tasklet, now."),
    fast_keywords(c"kill", kill, c"kill(pending=False)\n--\n\nRaises TaskletExit in the tasklet."),
    fast_keywords(c"bind_thread", bind_thread, c"bind_thread(thread_id=-1)\n--\n\nMoves a tasklet that has not started to the calling thread."),
    plain(c"set_atomic", set_atomic, METH_O, c"set_atomic(flag)\n--\n\nAn atomic tasklet is not interrupted by a watchdog. Returns the old flag."),
    plain(c"set_ignore_nesting", set_ignore_nesting, METH_O, c"set_ignore_nesting(flag)\n--\n\nKept for programs that set it. Returns the old flag."),
    plain(c"stats", stats, METH_NOARGS, c"stats()\n--\n\nA dict: switches, and bytes of stack, of its slice, and of its frames while it is parked."),
    NO_METHOD,
]);

/// The pickling of both types is refused with the same words.
pub const REDUCE: PyMethodDef = plain(c"__reduce__", reduce, METH_NOARGS, c"Refused with words.");
