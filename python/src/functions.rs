//! The functions of the module.

use crate::arguments::{end_of, take_arguments, truth};
use crate::callbacks;
use crate::collect;
use crate::errors::{self, raise, runtime_error, type_error};
use crate::object::{new_ref, none, Obj};
use crate::sched::{self, switching};
use crate::tasklet_methods::{leaving, take_value};
use crate::{fast, fast_keywords, here, plain, waits, watchdog, Static, NO_METHOD};
use hardswitch::{Settings, Value};
use pyo3_ffi::*;
use std::ptr;

type Object = *mut PyObject;

/// Bytes of the first chunk of a tasklet's frames. Most tasklets need no second one; CPython's own
/// have 16 KiB.
const FRAME_CHUNK: usize = 1024;

/// CPython promises 1,000 levels of recursion; through C each takes up to this much of a window.
const WINDOW_SIZE: usize = match cfg!(target_arch = "powerpc64") {
    true => 2 * 1024 * 1024,
    false => 1024 * 1024,
};

/// The settings of new threads, from the environment where that names them.
pub unsafe fn read_environment() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let window_size = number("STACKLESS_WINDOW_SIZE").unwrap_or(WINDOW_SIZE);
    let settings = Settings {
        windows: number("STACKLESS_WINDOWS").unwrap_or(4),
        window_size,
        watermark: window_size / 2,
        ..Settings::desktop()
    };
    unsafe { *sched::SETTINGS.0.get() = Some((settings, FRAME_CHUNK)) };
}

unsafe extern "C" fn getcurrent(_: Object, _: Object) -> Object {
    unsafe { new_ref(here!().current.get().cast()) }
}

unsafe extern "C" fn getmain(_: Object, _: Object) -> Object {
    unsafe { new_ref(here!().main.get().cast()) }
}

unsafe extern "C" fn getruncount(_: Object, _: Object) -> Object {
    unsafe {
        here!();
        PyLong_FromSize_t(hardswitch::run_count())
    }
}

unsafe extern "C" fn getcurrentid(_: Object, _: Object) -> Object {
    unsafe {
        let s = here!();
        match s.current.get() == s.main.get() {
            true => PyLong_FromUnsignedLongLong(s.thread),
            false => PyLong_FromVoidPtr(s.current.get().cast()),
        }
    }
}

/// The value that came back, or None.
unsafe fn value(came: hardswitch::Result<Value>) -> Object {
    unsafe {
        match came.map(Value::downcast::<Obj>) {
            Ok(Ok(o)) => o.into_ptr(),
            Ok(Err(_)) => none(),
            Err(error) => raise(error),
        }
    }
}

unsafe extern "C" fn schedule(
    _: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        let me = s.current.get();
        if count == 0 && names.is_null() {
            return match switching(s, me, args, hardswitch::schedule) {
                Ok(()) => new_ref(me.cast()),
                Err(error) => raise(error),
            };
        }
        let Some([retval]) = take_arguments([c"retval"], args, count, names) else {
            return ptr::null_mut();
        };
        let given = Value::new(Obj::new(retval));
        let end = end_of(args, count, names);
        value(switching(s, me, end, || hardswitch::schedule_with(given)))
    }
}

unsafe extern "C" fn schedule_remove(
    _: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        let me = s.current.get();
        let Some([retval]) = take_arguments([c"retval"], args, count, names) else {
            return ptr::null_mut();
        };
        let end = end_of(args, count, names);
        if !retval.is_null() {
            let given = Value::new(Obj::new(retval));
            return value(leaving(s, me, end, || {
                hardswitch::schedule_remove_with(given)
            }));
        }
        // A paused tasklet must not keep itself, so nothing is put into its slot: an empty one
        // means the tasklet.
        let came = leaving(s, me, end, || {
            hardswitch::schedule_remove().map(|()| take_value(me))
        });
        match came {
            Ok(nothing) if nothing.is_null() => new_ref(me.cast()),
            Ok(value) => value,
            Err(error) => raise(error),
        }
    }
}

unsafe extern "C" fn run(
    _: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        let end = end_of(args, count, names);
        let Some([timeout, threadblock, soft, ignore_nesting, total]) = take_arguments(
            [
                c"timeout",
                c"threadblock",
                c"soft",
                c"ignore_nesting",
                c"totaltimeout",
            ],
            args,
            count,
            names,
        ) else {
            return ptr::null_mut();
        };
        let timeout = match timeout.is_null() {
            true => 0,
            false => PyLong_AsLongLong(timeout),
        };
        let flags = [threadblock, soft, ignore_nesting, total].map(|o| truth(o));
        if !PyErr_Occurred().is_null() || flags.contains(&-1) {
            return ptr::null_mut();
        }
        let me = s.current.get();
        if timeout > 0 {
            return watchdog::run(s, timeout as u64, flags[1] != 0, end);
        }
        let done = switching(s, me, end, || match flags[0] != 0 {
            true => {
                hardswitch::MainLoop::current().and_then(|main_loop| main_loop.run_until_idle())
            }
            false => hardswitch::run(),
        });
        match done {
            Ok(()) => none(),
            Err(error) => raise(error),
        }
    }
}

unsafe extern "C" fn switch_trap(_: Object, args: *mut Object, count: Py_ssize_t) -> Object {
    unsafe {
        here!();
        let delta = match count {
            0 => 0,
            _ => PyLong_AsLong(*args),
        };
        if delta == -1 && !PyErr_Occurred().is_null() {
            return ptr::null_mut();
        }
        let old = hardswitch::switch_trap(0);
        let new = i64::from(old) + delta;
        match i32::try_from(new) {
            Ok(_) => PyLong_FromLong(hardswitch::switch_trap(delta as i32).into()),
            Err(_) => errors::fail(PyExc_OverflowError, "the switch trap has no such level"),
        }
    }
}

unsafe extern "C" fn set_schedule_callback(_: Object, callback: Object) -> Object {
    unsafe {
        let s = here!();
        let old = callbacks::exchange(&s.callbacks.schedule, callback);
        callbacks::update_schedule(s);
        old
    }
}

unsafe extern "C" fn get_schedule_callback(_: Object, _: Object) -> Object {
    unsafe { callbacks::get(&here!().callbacks.schedule) }
}

unsafe extern "C" fn set_channel_callback(_: Object, callback: Object) -> Object {
    unsafe {
        let s = here!();
        let old = callbacks::exchange(&s.callbacks.channel, callback);
        callbacks::update_channel(s);
        old
    }
}

unsafe extern "C" fn get_channel_callback(_: Object, _: Object) -> Object {
    unsafe { callbacks::get(&here!().callbacks.channel) }
}

unsafe extern "C" fn set_error_handler(_: Object, handler: Object) -> Object {
    unsafe { callbacks::exchange(&here!().callbacks.error, handler) }
}

unsafe extern "C" fn get_error_handler(_: Object, _: Object) -> Object {
    unsafe { callbacks::get(&here!().callbacks.error) }
}

unsafe extern "C" fn get_thread_info(_: Object, args: *mut Object, count: Py_ssize_t) -> Object {
    unsafe {
        let s = here!();
        let id = match count {
            0 => -1,
            _ => PyLong_AsLongLong(*args),
        };
        if id == -1 && !PyErr_Occurred().is_null() {
            return ptr::null_mut();
        }
        let found = match id {
            -1 => Some(s),
            id => (sched::all().iter().map(|s| &**s)).find(|s| s.thread == id as u64),
        };
        let Some(found) = found else {
            return runtime_error("Thread id not found");
        };
        // The ring of the queue, from the running tasklet on.
        let mut run_count = 0;
        if let Some(first) = (*found.current.get()).handle() {
            let mut at = Some(first.clone());
            while let Some(tasklet) = at {
                run_count += 1;
                at = tasklet.next().filter(|next| next != first);
            }
        }
        Py_BuildValue(
            c"(OOn)".as_ptr(),
            found.main.get(),
            found.current.get(),
            run_count as Py_ssize_t,
        )
    }
}

unsafe extern "C" fn threads(_: Object, _: Object) -> Object {
    unsafe {
        here!();
        let list = PyList_New(0);
        for s in sched::all() {
            let id = PyLong_FromUnsignedLongLong((**s).thread);
            if list.is_null() || id.is_null() || PyList_Append(list, id) < 0 {
                Py_XDECREF(id);
                Py_XDECREF(list);
                return ptr::null_mut();
            }
            Py_DECREF(id);
        }
        list
    }
}

unsafe extern "C" fn stats(_: Object, _: Object) -> Object {
    unsafe {
        here!();
        let stats = hardswitch::stats();
        Py_BuildValue(
            c"{s:K,s:n,s:n,s:n,s:n}".as_ptr(),
            c"switches".as_ptr(),
            stats.switches,
            c"tasklets".as_ptr(),
            stats.tasklets as Py_ssize_t,
            c"slice_bytes".as_ptr(),
            stats.slice_bytes as Py_ssize_t,
            c"control_bytes".as_ptr(),
            stats.control_bytes as Py_ssize_t,
            c"window_bytes".as_ptr(),
            stats.window_bytes as Py_ssize_t,
        )
    }
}

unsafe extern "C" fn configure(
    _: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let Some(given) = take_arguments(
            [c"windows", c"window_size", c"frame_chunk"],
            args,
            count,
            names,
        ) else {
            return ptr::null_mut();
        };
        if !sched::all().is_empty() {
            return runtime_error("a thread uses stackless already: configure it before");
        }
        let mut numbers = [None; 3];
        for (number, o) in numbers.iter_mut().zip(given) {
            if !o.is_null() && o != Py_None() {
                let size = PyLong_AsSize_t(o);
                if size == usize::MAX {
                    return ptr::null_mut();
                }
                *number = Some(size);
            }
        }
        let Some((settings, chunk)) = &mut *sched::SETTINGS.0.get() else {
            return none();
        };
        if numbers[2].is_some_and(|bytes| !(256..16 * 1024).contains(&bytes)) {
            return errors::fail(PyExc_ValueError, "frame_chunk is not in 256..16384");
        }
        settings.windows = numbers[0].unwrap_or(settings.windows);
        settings.window_size = numbers[1].unwrap_or(settings.window_size);
        settings.watermark = settings.window_size / 2;
        *chunk = numbers[2].unwrap_or(*chunk);
        none()
    }
}

unsafe extern "C" fn set_nested(_: Object, on: Object) -> Object {
    unsafe {
        here!();
        match truth(on) {
            -1 => ptr::null_mut(),
            on => crate::object::boolean(hardswitch::set_use_nested_tasklets(on != 0)),
        }
    }
}

unsafe extern "C" fn enable_softswitch(_: Object, on: Object) -> Object {
    unsafe {
        match truth(on) {
            -1 => ptr::null_mut(),
            0 => crate::object::boolean(false),
            _ => errors::fail(
                PyExc_NotImplementedError,
                "CPython's frames can only be switched with their C stack",
            ),
        }
    }
}

unsafe extern "C" fn end_thread(_: Object, _: Object) -> Object {
    unsafe {
        let here = sched::existing();
        if !here.is_null() && (*here).current.get() != (*here).main.get() {
            return type_error("only the main tasklet ends the thread's part");
        }
        sched::end_here();
        none()
    }
}

pub static FUNCTIONS: Static<[PyMethodDef; 30]> = Static::holding([
    fast_keywords(c"schedule", schedule, c"schedule(retval=None)\n--\n\nGives way to the other tasklets. Returns retval; without one, the tasklet."),
    fast_keywords(c"schedule_remove", schedule_remove, c"schedule_remove(retval=None)\n--\n\nAs schedule, and the tasklet is paused until somebody inserts it."),
    fast_keywords(c"run", run, c"run(timeout=0, threadblock=False, soft=False, ignore_nesting=False, totaltimeout=False)\n--\n\nRuns the others until all have ended or are blocked. With threadblock it also waits for sleepers, sockets and other threads. A timeout is in instructions, each taken as 20 ns; then the tasklet that was interrupted is returned."),
    plain(c"getcurrent", getcurrent, METH_NOARGS, c"getcurrent()\n--\n\nThe running tasklet."),
    plain(c"getmain", getmain, METH_NOARGS, c"getmain()\n--\n\nThe thread's main tasklet."),
    plain(c"getruncount", getruncount, METH_NOARGS, c"getruncount()\n--\n\nTasklets in the queue, the running one included."),
    plain(c"getcurrentid", getcurrentid, METH_NOARGS, c"getcurrentid()\n--\n\nA number of the running tasklet; main has the thread's."),
    fast(c"switch_trap", switch_trap, c"switch_trap(delta=0)\n--\n\nChanges the level of the switch trap; returns the old one. While it is not 0, what would switch raises RuntimeError."),
    plain(c"set_schedule_callback", set_schedule_callback, METH_O, c"set_schedule_callback(callback)\n--\n\nCalled before each switch with (previous, next). Returns the old one."),
    plain(c"get_schedule_callback", get_schedule_callback, METH_NOARGS, c"get_schedule_callback()\n--\n\nThe schedule callback, or None."),
    plain(c"set_channel_callback", set_channel_callback, METH_O, c"set_channel_callback(callback)\n--\n\nCalled before each channel operation with (channel, tasklet, sending, willblock). Returns the old one."),
    plain(c"get_channel_callback", get_channel_callback, METH_NOARGS, c"get_channel_callback()\n--\n\nThe channel callback, or None."),
    plain(c"set_error_handler", set_error_handler, METH_O, c"set_error_handler(handler)\n--\n\nCalled with (type, value, traceback) of an uncaught exception, in its tasklet. Returns the old one."),
    plain(c"get_error_handler", get_error_handler, METH_NOARGS, c"get_error_handler()\n--\n\nThe error handler, or None."),
    fast(c"get_thread_info", get_thread_info, c"get_thread_info(thread_id=-1)\n--\n\n(main, current, runcount) of a thread."),
    plain(c"getthreads", threads, METH_NOARGS, c"getthreads()\n--\n\nThe numbers of the threads that use the module; first that which came first."),
    plain(c"stats", stats, METH_NOARGS, c"stats()\n--\n\nFigures of the thread: switches, tasklets, and bytes."),
    fast_keywords(c"configure", configure, c"configure(windows=None, window_size=None, frame_chunk=None)\n--\n\nSizes for threads that use the module for the first time from now on; before the first one does."),
    plain(c"set_use_nested_tasklets", set_nested, METH_O, c"set_use_nested_tasklets(flag)\n--\n\nDoes tasklet.run() keep the caller's place in the queue? Returns the old flag."),
    plain(c"enable_softswitch", enable_softswitch, METH_O, c"enable_softswitch(flag)\n--\n\nThere is no soft switching: True raises NotImplementedError."),
    fast_keywords(c"sleep", waits::sleep, c"sleep(seconds)\n--\n\nBlocks the tasklet; the others run."),
    plain(c"is_idle", waits::is_idle, METH_NOARGS, c"is_idle()\n--\n\nDoes no tasklet of the thread wait for a time, a descriptor or a worker?"),
    fast_keywords(c"wait_fd", waits::wait_fd, c"wait_fd(fd, write=False, timeout=None)\n--\n\nBlocks the tasklet until the descriptor can be read, or written. TimeoutError after so many seconds."),
    fast_keywords(c"offload", waits::offload, c"offload(function, args=(), kwargs=None, timeout=None)\n--\n\nCalls the function on a worker thread and returns its result; the other tasklets run meanwhile."),
    plain(c"pump", waits::pump, METH_O, c"pump(seconds)\n--\n\nServes events, sockets and sleepers once, and waits for at most so many seconds if there are none and no tasklet can run. Returns how much was done."),
    plain(c"_gc_phase", collect::phase, METH_VARARGS, c"For gc.callbacks."),
    plain(c"_preempt", watchdog::preempt, METH_VARARGS, c"The watchdog's signal handler."),
    plain(c"_end_thread", end_thread, METH_NOARGS, c"Ends what the module keeps for the thread: its tasklets are killed."),
    plain(c"_close", waits::close, METH_NOARGS, c"Waits for the functions on workers; the interpreter ends."),
    NO_METHOD,
]);
