//! `run` with a time limit, which also ends the turn of a tasklet that never gives way.
//!
//! CPython looks up from its work between two instructions only for signals. So a thread sends the
//! runner SIGVTALRM from the moment on when the time is up; the signal's handler, on the tasklet
//! that runs, gives way. Python runs signal handlers in its main thread alone: in other threads a
//! tasklet is interrupted only where it gives way by itself.

use crate::errors::{raise, runtime_error};
use crate::object::{new_ref, none};
use crate::sched::{self, switching, Sched};
use crate::tasklet;
use crate::Static;
use hardswitch::{Budget, Error};
use pyo3_ffi::*;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

type Object = *mut PyObject;

/// What one of Stackless' instructions counts as.
const INSTRUCTION: u64 = 20;

/// How long the runner may take to look up before it is told again.
const AGAIN: Duration = Duration::from_millis(1);

/// The handler of SIGVTALRM.
pub unsafe extern "C" fn preempt(_: Object, _: Object) -> Object {
    unsafe {
        let s = sched::existing();
        if s.is_null() {
            return none();
        }
        let s = &*s;
        let me = s.current.get();
        let busy = (*me)
            .handle()
            .is_some_and(|h| !h.is_main() && !h.is_atomic());
        if s.loaded.get() != me || !busy || hardswitch::switch_trap(0) != 0 {
            return none();
        }
        match switching(s, me, ptr::null(), hardswitch::schedule) {
            Err(error @ (Error::Exit | Error::Thrown(_))) => raise(error),
            _ => none(),
        }
    }
}

/// How many runs have the handler installed, and the program's own, which comes back after the
/// last of them; null: it had none that Python knows.
static INSTALLED: Static<(usize, Object)> = Static::holding((0, ptr::null_mut()));

/// Sets a handler; the one before, or null with an exception set.
unsafe fn set_handler(handler: Object) -> Object {
    unsafe {
        let signal = PyImport_ImportModule(c"signal".as_ptr());
        if signal.is_null() {
            return signal;
        }
        let (name, format) = (c"signal".as_ptr(), c"iO".as_ptr());
        let before = PyObject_CallMethod(signal, name, format, libc::SIGVTALRM, handler);
        Py_DECREF(signal);
        before
    }
}

/// Sets the handler for a run. False where another thread than Python's main one asks. Err: an
/// exception is set.
unsafe fn install() -> Result<bool, ()> {
    unsafe {
        let module = PyImport_ImportModule(c"stackless._stackless".as_ptr());
        if module.is_null() {
            return Err(());
        }
        let handler = PyObject_GetAttrString(module, c"_preempt".as_ptr());
        Py_DECREF(module);
        if handler.is_null() {
            return Err(());
        }
        let before = set_handler(handler);
        Py_DECREF(handler);
        if before.is_null() {
            if PyErr_ExceptionMatches(PyExc_ValueError) == 0 {
                return Err(());
            }
            PyErr_Clear();
            return Ok(false);
        }
        let (runs, programs) = &mut *INSTALLED.get();
        *runs += 1;
        match *runs {
            1 => *programs = before,
            _ => Py_DECREF(before),
        }
        Ok(true)
    }
}

/// The opposite of [`install`], after the last signal was sent. False: a signal's handler has
/// raised an exception.
unsafe fn uninstall() -> bool {
    unsafe {
        // A signal that has come is for our handler.
        let mut quiet = PyErr_CheckSignals() == 0;
        let (runs, programs) = &mut *INSTALLED.get();
        *runs -= 1;
        if *runs == 0 {
            let before = std::mem::replace(programs, ptr::null_mut());
            if before != Py_None() && quiet {
                let ours = set_handler(before);
                quiet = !ours.is_null();
                Py_XDECREF(ours);
            }
            Py_DECREF(before);
        }
        quiet
    }
}

/// The thread that sends the signals.
struct Dog {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: std::thread::JoinHandle<()>,
}

impl Dog {
    fn start(time: Duration) -> Option<Dog> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = stop.clone();
        // SAFETY: the thread that calls waits for the other one before it ends.
        let runner = unsafe { libc::pthread_self() };
        let thread = std::thread::Builder::new().spawn(move || {
            let (stopped, changed) = &*shared;
            let mut time = time;
            let mut guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
            while !*guard {
                let waited = changed.wait_timeout(guard, time);
                let (again, late) = waited.unwrap_or_else(PoisonError::into_inner);
                guard = again;
                if late.timed_out() && !*guard {
                    // SAFETY: `stop` joins this thread, so the runner is alive.
                    unsafe { libc::pthread_kill(runner, libc::SIGVTALRM) };
                    time = AGAIN;
                }
            }
        });
        thread.ok().map(|thread| Dog { stop, thread })
    }

    fn stop(self) {
        let (stopped, changed) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        let _ = self.thread.join();
    }
}

/// `stackless.run(timeout)`.
pub unsafe fn run(s: &Sched, timeout: u64, soft: bool, end: *const Object) -> Object {
    unsafe {
        let time = Duration::from_nanos(timeout.saturating_mul(INSTRUCTION));
        let installed = match !soft {
            true => install(),
            false => Ok(false),
        };
        let dog = match installed {
            Ok(true) => match Dog::start(time) {
                Some(dog) => Some(dog),
                None => {
                    return match uninstall() {
                        true => runtime_error("can't start the watchdog's thread"),
                        false => ptr::null_mut(),
                    }
                }
            },
            Ok(false) => None,
            Err(()) => return ptr::null_mut(),
        };
        let report = switching(s, s.current.get(), end, || {
            hardswitch::run_with(Budget::time(time))
        });
        if let Some(dog) = dog {
            dog.stop();
            if !uninstall() {
                return ptr::null_mut();
            }
        }
        let report = match report {
            Ok(report) => report,
            Err(error) => return raise(error),
        };
        match report.interrupted {
            Some(interrupted) if !soft => {
                let object = s.object(&interrupted);
                if object.is_null() {
                    return none();
                }
                let object = new_ref(object.cast());
                if interrupted.remove().is_ok() {
                    tasklet::settle(object.cast());
                }
                sched::drain_here();
                object
            }
            _ => none(),
        }
    }
}
