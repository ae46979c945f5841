//! The type `channel`.
//!
//! A channel belongs to the thread that has made it until another thread touches it, or from the
//! beginning if several threads use the module: then it is the library's channel between threads.
//! A tasklet that waits while that changes goes on waiting at the new one.

use crate::arguments::{end_of, exception_of, take_arguments, truth};
use crate::errors::{self, exception, is_moved, raise, runtime_error, thrown, type_error, Moved};
use crate::object::{boolean, clear, new_ref, none, Obj};
use crate::sched::{self, switching, Sched};
use crate::tasklet_methods::REDUCE;
use crate::{attribute, fast, fast_keywords, here, plain, Static, Type};
use crate::{DICT, NO_ATTRIBUTE, NO_METHOD};
use hardswitch::thread::Channel as ThreadChannel;
use hardswitch::{Channel, Error, Preference};
use pyo3_ffi::*;
use std::ffi::{c_int, c_void};
use std::mem::{offset_of, ManuallyDrop};
use std::ptr;
use std::time::Duration;

type Object = *mut PyObject;

/// The object.
#[repr(C)]
pub struct PyChannel {
    ob_base: PyObject,
    sched: *const Sched,
    /// The channel of the library. Once there is one between threads, that one is used; the other
    /// stays for who waits there.
    local: Option<Channel<Obj>>,
    shared: Option<ThreadChannel<Obj>>,
    weakrefs: Object,
    dict: Object,
}

pub static TYPE: Type = Type::empty();

/// The same call for both kinds of channel.
macro_rules! on_channel {
    ($c:expr, $channel:ident => $call:expr) => {
        match (&(*$c).shared, &(*$c).local) {
            (Some($channel), _) => $call,
            (None, Some($channel)) => $call,
            (None, None) => unreachable!("a channel is made as one of the two"),
        }
    };
}

pub unsafe fn prepare() -> c_int {
    unsafe {
        let t = &mut *TYPE.get();
        t.tp_name = c"stackless.channel".as_ptr();
        t.tp_doc = c"channel()\n--\n\n\
            A place where a sender and a receiver meet; it stores no values. Iterating receives\n\
            until the channel is closed."
            .as_ptr();
        t.tp_basicsize = size_of::<PyChannel>() as Py_ssize_t;
        t.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
        t.tp_new = Some(new);
        t.tp_dealloc = Some(dealloc);
        t.tp_traverse = Some(traverse);
        t.tp_clear = Some(clear_fields);
        t.tp_iter = Some(PyObject_SelfIter);
        t.tp_iternext = Some(next);
        t.tp_methods = METHODS.get().cast();
        t.tp_getset = GETSET.get().cast();
        t.tp_weaklistoffset = offset_of!(PyChannel, weakrefs) as Py_ssize_t;
        t.tp_dictoffset = offset_of!(PyChannel, dict) as Py_ssize_t;
        PyType_Ready(t)
    }
}

unsafe extern "C" fn new(kind: *mut PyTypeObject, _: Object, _: Object) -> Object {
    unsafe {
        let s = here!();
        let c = match (*kind).tp_alloc {
            Some(alloc) => alloc(kind, 0).cast::<PyChannel>(),
            None => ptr::null_mut(),
        };
        if c.is_null() {
            return c.cast();
        }
        (*c).sched = s;
        let threads = sched::all().len() > 1;
        ptr::write(&mut (*c).local, (!threads).then(Channel::new));
        ptr::write(&mut (*c).shared, threads.then(ThreadChannel::new));
        c.cast()
    }
}

/// Makes the channel one between threads, since another thread than its own uses it.
#[cold]
unsafe fn share(c: *mut PyChannel) {
    unsafe {
        let (Some(local), None) = (&(*c).local, &(*c).shared) else {
            return;
        };
        let shared = ThreadChannel::new();
        shared.set_preference(local.preference());
        shared.set_schedule_all(local.schedule_all());
        if local.is_closing() {
            shared.close();
        }
        (*c).shared = Some(shared);
        // The old one belongs to its thread, which sends on who waits there, in the same order.
        let object = Obj::new(c.cast());
        let _ = (*(*c).sched).post(move |_| {
            let c = object.as_ptr().cast::<PyChannel>();
            for waiting in (*c).local.iter().flat_map(Channel::waiting) {
                let _ = waiting.throw_pending(Error::thrown(Moved));
            }
        });
    }
}

#[inline(always)]
unsafe fn reach(c: *mut PyChannel, s: &Sched) {
    unsafe {
        if !ptr::eq((*c).sched, s) {
            share(c);
        }
    }
}

/// Makes an operation, on the other kind of channel again if it has changed meanwhile.
#[inline(always)]
unsafe fn operate<R>(
    s: &Sched,
    c: *mut PyChannel,
    end: *const Object,
    local: impl Fn(&Channel<Obj>) -> hardswitch::Result<R>,
    shared: impl Fn(&ThreadChannel<Obj>) -> hardswitch::Result<R>,
) -> hardswitch::Result<R> {
    unsafe {
        reach(c, s);
        let me = s.current.get();
        if let (Some(channel), None) = (&(*c).local, &(*c).shared) {
            s.callbacks.at.set(c);
            // Whoever calls a method keeps the object meanwhile, and that keeps its channel.
            let result = switching(s, me, end, || local(channel));
            s.callbacks.at.set(ptr::null_mut());
            match result {
                Err(error) if is_moved(&error) => {}
                result => return result,
            }
        }
        operate_shared(s, c, end, &shared)
    }
}

#[cold]
#[inline(never)]
unsafe fn operate_shared<R>(
    s: &Sched,
    c: *mut PyChannel,
    end: *const Object,
    shared: &dyn Fn(&ThreadChannel<Obj>) -> hardswitch::Result<R>,
) -> hardswitch::Result<R> {
    unsafe {
        let Some(channel) = &(*c).shared else {
            unreachable!("who was sent on finds the new one");
        };
        s.callbacks.at.set(c);
        let result = switching(s, s.current.get(), end, || shared(channel));
        s.callbacks.at.set(ptr::null_mut());
        result
    }
}

/// A time in seconds; None without a limit. Err: an exception is set.
pub unsafe fn seconds(o: Object) -> Result<Option<Duration>, ()> {
    unsafe {
        if o.is_null() || o == Py_None() {
            return Ok(None);
        }
        let seconds = PyFloat_AsDouble(o);
        if seconds == -1.0 && !PyErr_Occurred().is_null() {
            return Err(());
        }
        if seconds.is_nan() {
            errors::fail(PyExc_ValueError, "the time is not a number");
            return Err(());
        }
        Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok())
    }
}

unsafe fn send_value(
    s: &Sched,
    c: *mut PyChannel,
    value: Object,
    time: Option<Duration>,
    end: *const Object,
) -> Object {
    unsafe {
        let result = match time {
            None => operate(
                s,
                c,
                end,
                |channel| channel.send(Obj::new(value)),
                |channel| channel.send(Obj::new(value)),
            ),
            Some(time) => operate(
                s,
                c,
                end,
                |channel| channel.send_timeout(Obj::new(value), time).map_err(|e| e.0),
                |channel| channel.send_timeout(Obj::new(value), time).map_err(|e| e.0),
            ),
        };
        match result {
            Ok(()) => none(),
            Err(error) => raise(error),
        }
    }
}

unsafe extern "C" fn send(
    o: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        if count == 1 && names.is_null() {
            return send_value(s, o.cast(), *args, None, args.add(1));
        }
        let Some([value, time]) = take_arguments([c"value", c"timeout"], args, count, names) else {
            return ptr::null_mut();
        };
        if value.is_null() {
            return type_error("send() missing required argument 'value' (pos 1)");
        }
        let Ok(time) = seconds(time) else {
            return ptr::null_mut();
        };
        send_value(s, o.cast(), value, time, end_of(args, count, names))
    }
}

unsafe fn received(result: hardswitch::Result<Obj>) -> Object {
    unsafe {
        match result {
            Ok(value) => value.into_ptr(),
            // The sender's value was lost while it waited: Stackless' receiver gets None.
            Err(Error::ValueLost) => none(),
            Err(error) => raise(error),
        }
    }
}

unsafe extern "C" fn receive(
    o: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        let c = o.cast::<PyChannel>();
        let mut time = None;
        let mut end = args;
        if count != 0 || !names.is_null() {
            let Some([given]) = take_arguments([c"timeout"], args, count, names) else {
                return ptr::null_mut();
            };
            let Ok(given) = seconds(given) else {
                return ptr::null_mut();
            };
            time = given;
            end = end_of(args, count, names);
        }
        received(match time {
            None => operate(s, c, end, |c| c.receive(), |c| c.receive()),
            Some(time) => operate(
                s,
                c,
                end,
                |c| c.receive_timeout(time),
                |c| c.receive_timeout(time),
            ),
        })
    }
}

unsafe extern "C" fn next(o: Object) -> Object {
    unsafe {
        let s = here!();
        let result = operate(
            s,
            o.cast(),
            ptr::null(),
            |c| c.next().transpose(),
            |c| c.next().transpose(),
        );
        match result {
            Ok(None) => ptr::null_mut(), // StopIteration
            Ok(Some(value)) => value.into_ptr(),
            Err(error) => received(Err(error)),
        }
    }
}

/// Sends an exception, whose reference is taken over.
unsafe fn send_made(s: &Sched, o: Object, made: Object, end: *const Object) -> Object {
    unsafe {
        if made.is_null() {
            return made;
        }
        let error = thrown(made);
        let result = operate(
            s,
            o.cast(),
            end,
            |c| c.send_throw(error.clone()),
            |c| c.send_throw(error.clone()),
        );
        drop(error);
        sched::drain_here();
        match result {
            Ok(()) => none(),
            Err(error) => raise(error),
        }
    }
}

unsafe extern "C" fn send_exception(o: Object, args: *mut Object, count: Py_ssize_t) -> Object {
    unsafe {
        let s = here!();
        let made = exception_of(args, count, "send_exception");
        send_made(s, o, made, args.offset(count))
    }
}

unsafe extern "C" fn send_throw(
    o: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    unsafe {
        let s = here!();
        let Some([kind, value, trace]) =
            take_arguments([c"exc", c"val", c"tb"], args, count, names)
        else {
            return ptr::null_mut();
        };
        if kind.is_null() {
            return type_error("send_throw() missing required argument 'exc' (pos 1)");
        }
        let made = exception(kind, value, trace);
        send_made(s, o, made, end_of(args, count, names))
    }
}

unsafe extern "C" fn send_sequence(o: Object, values: Object) -> Object {
    unsafe {
        let s = here!();
        let values = PyObject_GetIter(values);
        if values.is_null() {
            return values;
        }
        let mut sent = 0;
        loop {
            let value = PyIter_Next(values);
            if value.is_null() {
                break;
            }
            let done = send_value(s, o.cast(), value, None, ptr::null());
            Py_DECREF(value);
            if done.is_null() {
                Py_DECREF(values);
                return done;
            }
            Py_DECREF(done);
            sent += 1;
        }
        Py_DECREF(values);
        match PyErr_Occurred().is_null() {
            true => PyLong_FromLongLong(sent),
            false => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn close(o: Object, _: Object) -> Object {
    unsafe {
        let c = o.cast::<PyChannel>();
        let s = here!();
        reach(c, s);
        on_channel!(c, channel => channel.close());
        none()
    }
}

unsafe extern "C" fn close_and_wake(o: Object, _: Object) -> Object {
    unsafe {
        let c = o.cast::<PyChannel>();
        let s = here!();
        reach(c, s);
        let woken = on_channel!(c, channel => channel.close_and_wake());
        sched::drain_here();
        PyLong_FromSize_t(woken)
    }
}

unsafe extern "C" fn open(o: Object, _: Object) -> Object {
    unsafe {
        let c = o.cast::<PyChannel>();
        let s = here!();
        reach(c, s);
        on_channel!(c, channel => channel.open());
        none()
    }
}

pub static METHODS: Static<[PyMethodDef; 10]> = Static::holding([
    fast_keywords(c"send", send, c"send(value, timeout=None)\n--\n\nHands value to a receiver; waits until there is one. TimeoutError after so many seconds."),
    fast_keywords(c"receive", receive, c"receive(timeout=None)\n--\n\nTakes a value from a sender; waits until there is one. TimeoutError after so many seconds."),
    fast(c"send_exception", send_exception, c"send_exception(exc_class, *args)\n--\n\nSends exc_class(*args): the receiver's receive() raises it."),
    fast_keywords(c"send_throw", send_throw, c"send_throw(exc, val=None, tb=None)\n--\n\nSends an exception with its traceback."),
    plain(c"send_sequence", send_sequence, METH_O, c"send_sequence(values)\n--\n\nSends one value after the other; returns how many."),
    plain(c"close", close, METH_NOARGS, c"close()\n--\n\nWho would wait at the channel from now on gets ValueError; iterations end."),
    plain(c"close_and_wake", close_and_wake, METH_NOARGS, c"close_and_wake()\n--\n\nAs close; who waits already gets ValueError too. Returns how many did."),
    plain(c"open", open, METH_NOARGS, c"open()\n--\n\nThe opposite of close."),
    REDUCE,
    NO_METHOD,
]);

unsafe extern "C" fn get_balance(o: Object, _: *mut c_void) -> Object {
    unsafe { PyLong_FromSsize_t(on_channel!(o.cast::<PyChannel>(), channel => channel.balance())) }
}

unsafe extern "C" fn get_preference(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let preference = on_channel!(o.cast::<PyChannel>(), channel => channel.preference());
        PyLong_FromLong(preference as _)
    }
}

unsafe extern "C" fn set_preference(o: Object, value: Object, _: *mut c_void) -> c_int {
    unsafe {
        if value.is_null() || PyLong_Check(value) == 0 {
            type_error("preference must be set to an integer");
            return -1;
        }
        let mut overflow = 0;
        let number = PyLong_AsLongAndOverflow(value, &mut overflow);
        let sign = number.signum() as i32 + overflow;
        let preference = Preference::from_sign(sign);
        on_channel!(o.cast::<PyChannel>(), channel => channel.set_preference(preference));
        0
    }
}

unsafe extern "C" fn get_schedule_all(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let on = on_channel!(o.cast::<PyChannel>(), channel => channel.schedule_all());
        PyLong_FromLong(on.into())
    }
}

unsafe extern "C" fn set_schedule_all(o: Object, value: Object, _: *mut c_void) -> c_int {
    unsafe {
        if value.is_null() || PyLong_Check(value) == 0 {
            type_error("schedule_all must be set to a bool or integer");
            return -1;
        }
        let on = truth(value) == 1;
        on_channel!(o.cast::<PyChannel>(), channel => channel.set_schedule_all(on));
        0
    }
}

unsafe extern "C" fn get_closing(o: Object, _: *mut c_void) -> Object {
    unsafe { boolean(on_channel!(o.cast::<PyChannel>(), channel => channel.is_closing())) }
}

unsafe extern "C" fn get_closed(o: Object, _: *mut c_void) -> Object {
    unsafe { boolean(on_channel!(o.cast::<PyChannel>(), channel => channel.is_closed())) }
}

unsafe extern "C" fn get_queue(o: Object, _: *mut c_void) -> Object {
    unsafe {
        let c = o.cast::<PyChannel>();
        match (&(*c).local, &(*c).shared) {
            (Some(channel), None) if (*(*c).sched).is_here() => {
                let object = channel.queue().map(|t| (*(*c).sched).object(&t));
                match object {
                    Some(t) if !t.is_null() => new_ref(t.cast()),
                    _ => none(),
                }
            }
            (_, Some(channel)) if channel.balance() == 0 => none(),
            _ => runtime_error("the queue of a channel between threads cannot be seen"),
        }
    }
}

static GETSET: Static<[PyGetSetDef; 8]> = Static::holding([
    attribute(
        c"balance",
        get_balance,
        None,
        c"How many wait: senders, or minus the receivers.",
    ),
    attribute(
        c"preference",
        get_preference,
        Some(set_preference),
        c"Who runs on when two meet: the receiver (-1), the sender (1), who came second (0).",
    ),
    attribute(
        c"schedule_all",
        get_schedule_all,
        Some(set_schedule_all),
        c"Give way at each operation?",
    ),
    attribute(c"closing", get_closing, None, c"Was close() called?"),
    attribute(
        c"closed",
        get_closed,
        None,
        c"Is it closing, and does nobody wait?",
    ),
    attribute(
        c"queue",
        get_queue,
        None,
        c"The tasklet that has waited longest, or None.",
    ),
    DICT,
    NO_ATTRIBUTE,
]);

unsafe extern "C" fn traverse(o: Object, visit: visitproc, arg: *mut c_void) -> c_int {
    unsafe {
        let c = o.cast::<PyChannel>();
        if !(*c).dict.is_null() {
            let stop = visit((*c).dict, arg);
            if stop != 0 {
                return stop;
            }
        }
        // The scheduler's reference to a tasklet that waits here is the channel's to visit.
        let s = (*c).sched;
        if let (Some(channel), true) = (&(*c).local, !s.is_null() && (*s).is_here()) {
            if channel.balance() != 0 {
                for handle in channel.waiting() {
                    // Who also waits for something else, as a time, may go on without the channel.
                    if handle.blocked_direction() == 0 {
                        continue;
                    }
                    let t = (*s).object(&handle);
                    if !t.is_null() && (*t).owned {
                        let stop = visit(t.cast(), arg);
                        if stop != 0 {
                            return stop;
                        }
                    }
                }
            }
        }
        0
    }
}

unsafe extern "C" fn clear_fields(o: Object) -> c_int {
    unsafe {
        clear(&raw mut (*o.cast::<PyChannel>()).dict);
        0
    }
}

unsafe extern "C" fn dealloc(o: Object) {
    unsafe {
        let c = o.cast::<PyChannel>();
        PyObject_GC_UnTrack(o.cast());
        if !(*c).weakrefs.is_null() {
            PyObject_ClearWeakRefs(o);
        }
        drop((*c).shared.take());
        match (*c).local.take() {
            Some(local) if !(*(*c).sched).is_here() => {
                // It belongs to its thread; where that has ended, the little that is left stays.
                let local = ManuallyDrop::new(local);
                let _ = (*(*c).sched).post(move |_| drop(ManuallyDrop::into_inner(local)));
            }
            local => drop(local),
        }
        clear_fields(o);
        if let Some(free) = (*Py_TYPE(o)).tp_free {
            free(o.cast());
        }
    }
}
