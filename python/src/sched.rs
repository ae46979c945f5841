//! What the module keeps for a thread, and how a call of the library that may switch is wrapped.
//!
//! **The state of the interpreter.** A thread has one `PyThreadState`, and each tasklet has its own
//! values for a part of it ([`crate::state`]). [`switching`] saves those of the running tasklet
//! before a call that may switch, and loads them afterwards if another tasklet's have been loaded
//! meanwhile. Between the end of one tasklet and the next nobody's are there: then `loaded` is null.
//!
//! **Destructors.** The library drops values, errors and functions while the wrong state is loaded.
//! So [`drop_later`] only remembers the reference; [`switching`] gives it up when the state is
//! right.
//!
//! **The GIL.** A thread holds it while it runs anything of the library. While the library sleeps
//! the thread gives it up: each thread has a host lock of its own, whose hook the library calls
//! before it sleeps and after it has woken up.
//!
//! **Other threads.** Everything here belongs to one thread and is touched by others only while
//! they hold the GIL; then the owner is not in the middle of anything. What another thread wants
//! to have done to a tasklet it [posts](Sched::post): the owner does it at its next pump.

use crate::asyncio;
use crate::callbacks;
use crate::errors;
use crate::object::Exc;
use crate::state::{self, Anchor};
use crate::tasklet::{self, PyTasklet};
use crate::waits;
use hardswitch::thread::host_lock::{Happening, HostLock, Settings as LockSettings};
use hardswitch::{main_loop, Error, MainLoop, Settings, Tasklet};
use pyo3_ffi::*;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ptr;
use std::sync::Arc;

/// Addresses need no more than this to be spread.
#[derive(Default)]
pub struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only addresses are looked up");
    }
    fn write_usize(&mut self, n: usize) {
        self.0 = (n as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type ById = HashMap<usize, *mut PyTasklet, BuildHasherDefault<Spread>>;

/// The part of a thread.
pub struct Sched {
    pub ts: *mut PyThreadState,
    /// The thread's number as `threading` knows it.
    pub thread: u64,
    pub main: Cell<*mut PyTasklet>,
    /// The running tasklet.
    pub current: Cell<*mut PyTasklet>,
    /// The tasklet whose state the interpreter has; null: nobody's.
    pub loaded: Cell<*mut PyTasklet>,
    /// Will the part's own functions still work? False while and after the thread's part ends.
    pub ready: Cell<bool>,
    /// Is the GIL given up while the library sleeps? No longer when the part ends.
    sleeps: Cell<bool>,
    /// The thread state, while the library sleeps.
    released: Cell<*mut PyThreadState>,
    dead: UnsafeCell<Vec<*mut PyObject>>,
    by_id: RefCell<ById>,
    remote: RefCell<Option<main_loop::Remote>>,
    lock: HostLock,
    /// The thread's dictionary was like this when no loop of asyncio ran.
    pub loop_version: Cell<u64>,
    pub callbacks: callbacks::Callbacks,
    pub trapped: Cell<bool>,
    /// Does Python code run that cannot switch, inside a call of the library ([`told`])?
    pub telling: Cell<bool>,
}

/// A value that is touched by whoever holds the GIL.
pub struct Gil<T>(pub UnsafeCell<T>);

// SAFETY: the GIL serialises all uses.
unsafe impl<T> Sync for Gil<T> {}

/// All parts, in the order they came. They stay allocated when their thread ends: tasklets refer
/// to them.
static ALL: Gil<Vec<*mut Sched>> = Gil(UnsafeCell::new(Vec::new()));

/// The settings for new parts, and the size of a tasklet's first chunk of frames.
pub static SETTINGS: Gil<Option<(Settings, usize)>> = Gil(UnsafeCell::new(None));

thread_local! {
    static HERE: Cell<*mut Sched> = const { Cell::new(ptr::null_mut()) };
    /// The last references that the thread's part had are being given up.
    static ENDING: Cell<bool> = const { Cell::new(false) };
}

unsafe extern "C" {
    fn hsw_thread_exit() -> i32;
}

/// The calling thread's part, or null.
#[inline(always)]
pub fn existing() -> *mut Sched {
    HERE.get()
}

/// The calling thread's part, made if need be; null with an exception set.
///
/// # Safety
/// The GIL is held.
#[inline(always)]
pub unsafe fn get() -> *mut Sched {
    let here = HERE.get();
    if !here.is_null() {
        return here;
    }
    unsafe { make() }
}

/// Evaluates to a reference to the calling thread's part, or returns null.
#[macro_export]
macro_rules! here {
    () => {
        match $crate::sched::get() {
            s if s.is_null() => return std::ptr::null_mut(),
            s => &*s,
        }
    };
}

/// Living parts.
///
/// # Safety
/// The GIL is held; the slice is not kept while it is given up.
pub unsafe fn all() -> &'static [*mut Sched] {
    unsafe { &*ALL.0.get() }
}

/// A pointer for another thread.
pub struct Sent<T>(pub T);
// SAFETY: what is sent is used under the GIL, on the thread that it belongs to.
unsafe impl<T> Send for Sent<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Sent<T> {}

impl<T> Sent<T> {
    pub fn take(self) -> T {
        self.0
    }
}

#[cold]
unsafe fn make() -> *mut Sched {
    unsafe {
        if ENDING.get() {
            return errors::runtime_error("the thread is ending").cast();
        }
        let (settings, _) = (*SETTINGS.0.get()).clone().unwrap_or_default();
        let made = settings
            .apply()
            .or_else(|error| match error {
                // A host has made the thread's runtime already.
                Error::Settings(hardswitch::SettingsError::TooLate) => Ok(()),
                other => Err(other),
            })
            .and_then(|()| MainLoop::current());
        let main_loop = match made {
            Ok(main_loop) => main_loop,
            Err(error) => {
                errors::raise(error);
                return ptr::null_mut();
            }
        };
        let ts = PyThreadState_Get();
        let lock = HostLock::new(LockSettings {
            switches: u64::MAX,
            time: std::time::Duration::MAX,
        });
        let s = Box::into_raw(Box::new(Sched {
            ts,
            thread: state::stackless_thread_id(ts),
            main: Cell::new(ptr::null_mut()),
            current: Cell::new(ptr::null_mut()),
            loaded: Cell::new(ptr::null_mut()),
            ready: Cell::new(false),
            sleeps: Cell::new(false),
            released: Cell::new(ptr::null_mut()),
            dead: UnsafeCell::new(Vec::new()),
            by_id: RefCell::new(ById::default()),
            remote: RefCell::new(Some(main_loop.remote())),
            lock,
            loop_version: Cell::new(u64::MAX),
            callbacks: callbacks::Callbacks::new(),
            trapped: Cell::new(false),
            telling: Cell::new(false),
        }));
        let main = tasklet::make_main(s, hardswitch::main_tasklet());
        if main.is_null() {
            return ptr::null_mut();
        }
        (*s).main.set(main);
        (*s).current.set(main);
        (*s).loaded.set(main);
        let hook = Sent(s);
        (*s).lock.set_hook(Some(Arc::new(move |event| {
            let hook = &hook;
            sleeps(&*hook.0, event.what);
        })));
        if let Err(error) = (*s).lock.join() {
            errors::raise(error);
            return ptr::null_mut();
        }
        hardswitch::set_error_handler(Some(callbacks::never_started(s)));
        let dict = PyThreadState_GetDict();
        let end = PyCapsule_New(s.cast(), c"stackless.thread".as_ptr(), Some(thread_ends));
        if dict.is_null()
            || end.is_null()
            || PyDict_SetItemString(dict, c"stackless.thread".as_ptr(), end) < 0
        {
            Py_XDECREF(end);
            return ptr::null_mut();
        }
        Py_DECREF(end);
        (*s).sleeps.set(true);
        (*s).ready.set(true);
        (*ALL.0.get()).push(s);
        HERE.set(s);
        s
    }
}

/// The library is about to sleep, or has woken up: the GIL is given up meanwhile. After each sleep
/// Python's signal handlers are called, in the tasklet that slept; what they raise is thrown at
/// main, which is where Python promises to raise it.
fn sleeps(s: &Sched, what: Happening) {
    if !s.sleeps.get() {
        return;
    }
    // SAFETY: the hook runs on the part's thread; the GIL is held, but for the sleep in between.
    unsafe {
        match what {
            Happening::Released { .. } if s.released.get().is_null() => {
                s.released.set(PyEval_SaveThread());
            }
            Happening::Acquired { .. } if !s.released.get().is_null() => {
                PyEval_RestoreThread(s.released.replace(ptr::null_mut()));
                let raised = told(s, || (PyErr_CheckSignals() < 0).then(|| errors::take()));
                if let Some(raised) = raised {
                    let exception = Error::thrown(Exc(raised));
                    let _ = s.post(move |s| {
                        let main = (*s.main.get()).handle();
                        let _ = main.map(|main| main.throw_pending(exception));
                    });
                }
            }
            _ => {}
        }
    }
}

/// The end of the thread's part: called when the thread's dictionary is cleared, which is at the
/// end of the thread while it can still run Python code, or by `atexit`.
unsafe extern "C" fn thread_ends(capsule: *mut PyObject) {
    unsafe {
        let s = PyCapsule_GetPointer(capsule, c"stackless.thread".as_ptr()).cast::<Sched>();
        if s.is_null() || !(*s).ready.get() {
            return;
        }
        if s != HERE.get() {
            // Its thread is no more: it was not taken along by a fork, or the process is ending.
            // What it had is not used, nor given back: that would be on another thread.
            let gone = &*s;
            gone.ready.set(false);
            (*ALL.0.get()).retain(|other| *other != s);
            std::mem::forget(gone.remote.take());
            // The frames of the one that ran, or slept, go with the thread state.
            let loaded = gone.loaded.replace(ptr::null_mut());
            if !loaded.is_null() {
                state::stackless_state_keep(&raw mut (*loaded).state);
            }
            for tasklet in gone.by_id.take().into_values() {
                std::mem::forget((*tasklet).take_handle());
            }
            return;
        }
        let part = &*s;
        let main = part.main.get();
        if part.current.get() != main {
            return; // A tasklet ends the process: its thread goes without an order.
        }
        let (mut kind, mut value, mut trace) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        PyErr_Fetch(&mut kind, &mut value, &mut trace);
        callbacks::clear_all(part);
        part.sleeps.set(false);
        part.lock.leave();
        switching(part, main, ptr::null(), || hsw_thread_exit());
        part.ready.set(false);
        drop(part.remote.take());
        // Handles belong to this thread: the objects that stay have none from now on.
        let left: Vec<_> = part.by_id.borrow().values().copied().collect();
        for tasklet in left {
            drop((*tasklet).take_handle());
        }
        drop(part.by_id.take());
        (*ALL.0.get()).retain(|other| *other != s);
        HERE.set(ptr::null_mut());
        // Nobody would end a part that destructors make now.
        ENDING.set(true);
        drain(part);
        Py_DECREF(main.cast());
        ENDING.set(false);
        PyErr_Restore(kind, value, trace);
    }
}

/// Ends the calling thread's part, if there is one.
///
/// # Safety
/// The GIL is held.
pub unsafe fn end_here() {
    unsafe {
        let dict = PyThreadState_GetDict();
        if HERE.get().is_null() || dict.is_null() {
            return;
        }
        if PyDict_DelItemString(dict, c"stackless.thread".as_ptr()) < 0 {
            PyErr_Clear();
        }
    }
}

/// Remembers a reference that is to be given up when the state of the interpreter is right.
///
/// # Safety
/// The caller owns the reference, and gives it up.
pub unsafe fn drop_later(o: *mut PyObject) {
    let here = HERE.get();
    unsafe {
        if !here.is_null() {
            return (*(*here).dead.get()).push(o);
        }
        // A thread without a part: a worker, or one that has ended its part.
        match PyGILState_Check() != 0 {
            true => Py_DECREF(o),
            false => drop(waits::with_gil(|| Py_DECREF(o))),
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn drain(s: &Sched) {
    unsafe {
        if s.telling.get() {
            return; // A destructor may want to switch: the next one that arrives gives them up.
        }
        let (mut kind, mut value, mut trace) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        PyErr_Fetch(&mut kind, &mut value, &mut trace);
        // A destructor may switch, and what runs then adds to the list and drains it.
        while let Some(o) = (*s.dead.get()).pop() {
            Py_DECREF(o);
        }
        PyErr_Restore(kind, value, trace);
    }
}

/// Gives up what [`drop_later`] has remembered, if a tasklet's state is loaded.
///
/// # Safety
/// The GIL is held.
pub unsafe fn drain_here() {
    unsafe {
        let here = HERE.get();
        if !here.is_null() && !(*here).loaded.get().is_null() && !(*(*here).dead.get()).is_empty() {
            drain(&*here);
        }
    }
}

/// Makes a call of the library that may switch.
///
/// `end`: one past the last argument of the function that Python has called, if they lie on the
/// caller's evaluation stack; it tells the garbage collector how far that stack reaches.
///
/// # Safety
/// The GIL is held; `me` is the running tasklet of this thread, and its state is loaded.
#[inline(always)]
pub unsafe fn switching<R>(
    s: &Sched,
    me: *mut PyTasklet,
    end: *const *mut PyObject,
    call: impl FnOnce() -> R,
) -> R {
    unsafe {
        if state::stackless_thread_dict_version(s.ts) != s.loop_version.get() {
            asyncio::leave(s, me);
        }
        state::stackless_state_save(s.ts, &raw mut (*me).state, end);
        let result = call();
        arrive(s, me);
        result
    }
}

/// The tasklet runs again.
#[inline(always)]
unsafe fn arrive(s: &Sched, me: *mut PyTasklet) {
    unsafe {
        if s.loaded.get() == me {
            state::stackless_state_keep(&raw mut (*me).state);
        } else {
            state::stackless_state_load(s.ts, &raw mut (*me).state);
            s.loaded.set(me);
            s.current.set(me);
        }
        if !(*me).running_loop.is_null() {
            asyncio::enter(me);
        }
        if !(*s.dead.get()).is_empty() {
            drain(s);
        }
    }
}

/// Runs Python code in the middle of a call that [`switching`] has wrapped: as the code of a
/// tasklet that runs, which may make such calls itself. What it changes is saved again afterwards.
///
/// # Safety
/// The GIL is held, and a tasklet's state is loaded. That tasklet runs again when `call` is over.
unsafe fn within<R>(s: &Sched, call: impl FnOnce() -> R) -> R {
    unsafe {
        let me = s.loaded.get();
        let saved = (*me).state.is_saved();
        state::stackless_state_keep(&raw mut (*me).state);
        let result = call();
        if saved {
            state::stackless_state_again(s.ts, &raw mut (*me).state);
        }
        result
    }
}

/// Runs Python code that the library tells of something, and that cannot switch. What it would
/// have to switch for, as the kill of a tasklet to which it has given up the last reference, waits
/// until the next tasklet arrives.
///
/// # Safety
/// The GIL is held, and the library refuses to switch while `call` runs.
pub unsafe fn told<R>(s: &Sched, call: impl FnOnce() -> R) -> R {
    unsafe {
        // Between the end of a tasklet and the next one the interpreter has nobody's state.
        if s.loaded.get().is_null() {
            return apart(s, call);
        }
        let before = s.telling.replace(true);
        let result = within(s, call);
        s.telling.set(before);
        result
    }
}

/// As [`told`], in a state of its own, where nobody's is loaded or that of a tasklet that must not
/// notice.
///
/// # Safety
/// As [`told`].
pub unsafe fn apart<R>(s: &Sched, call: impl FnOnce() -> R) -> R {
    unsafe {
        let before = s.loaded.get();
        let telling = s.telling.replace(true);
        let mut kept: state::State = std::mem::zeroed();
        if !before.is_null() {
            state::stackless_state_save(s.ts, &mut kept, ptr::null());
        }
        let mut anchor = Anchor::new();
        state::stackless_state_begin(s.ts, &mut anchor, ptr::null_mut(), 0);
        // Calls that are refused find the running tasklet's state, which is left as it is. The
        // object is there: nothing is given up meanwhile.
        s.loaded.set(s.current.get());
        let result = call();
        state::stackless_state_end(s.ts);
        s.loaded.set(before);
        s.telling.set(telling);
        if !before.is_null() {
            state::stackless_state_load(s.ts, &mut kept);
        }
        result
    }
}

/// The function of every tasklet.
///
/// # Safety
/// The library calls it on the tasklet's own stack. The part is ready, and `me` is bound.
pub unsafe fn body(me: *mut PyTasklet) -> hardswitch::Result<()> {
    unsafe {
        let s = &*(*me).sched;
        let mut anchor = Anchor::new();
        let context = std::mem::replace(&mut (*me).context, ptr::null_mut());
        let first_chunk = (*SETTINGS.0.get()).as_ref().map_or(0, |(_, chunk)| *chunk);
        if state::stackless_state_begin(s.ts, &mut anchor, context, first_chunk) < 0 {
            return Err(Error::OutOfMemory);
        }
        s.loaded.set(me);
        s.current.set(me);
        if !(*s.dead.get()).is_empty() {
            drain(s);
        }
        // The object keeps function and arguments while they run, so that the garbage collector
        // finds them there.
        let result = PyObject_Call((*me).func, (*me).args, (*me).kwargs);
        let outcome = match result.is_null() {
            false => {
                Py_DECREF(result);
                Ok(())
            }
            true => failed(s, me),
        };
        tasklet::forget_function(me);
        state::stackless_state_end(s.ts);
        tasklet::disown(me);
        s.loaded.set(ptr::null_mut());
        outcome
    }
}

/// An exception has ended the tasklet.
#[cold]
#[inline(never)]
unsafe fn failed(s: &Sched, me: *mut PyTasklet) -> hardswitch::Result<()> {
    unsafe {
        (*me).asked = true;
        if PyErr_ExceptionMatches(errors::TASKLET_EXIT) != 0 {
            PyErr_Clear();
            return Ok(());
        }
        if s.callbacks.handle_error() {
            return Ok(());
        }
        Err(Error::thrown(Exc(errors::take())))
    }
}

impl Sched {
    /// Has the part's thread do something at its next pump.
    ///
    /// # Errors
    /// Its thread is ending, or has far too much to do.
    pub fn post(&self, f: impl FnOnce(&Sched) + 'static) -> Result<(), &'static str> {
        let f = Sent((f, self as *const Sched));
        let remote = self.remote.borrow();
        let Some(remote) = &*remote else {
            return Err("tasklet has no thread");
        };
        remote
            .post(move || {
                let (f, s) = f.take();
                // SAFETY: parts stay allocated; the owner's pump calls this with the GIL held, in
                // the tasklet that pumps, which goes on afterwards.
                unsafe {
                    let s = &*s;
                    match s.loaded.get().is_null() {
                        true => f(s),
                        false => within(s, || {
                            f(s);
                            drain_here();
                        }),
                    }
                }
            })
            .map_err(|_| "the tasklet's thread takes no more requests")
    }

    pub fn is_here(&self) -> bool {
        ptr::eq(self, HERE.get())
    }

    pub fn is_alive(&self) -> bool {
        self.ready.get()
    }

    /// The object of a tasklet of the library; null if it has none.
    pub fn object(&self, handle: &Tasklet) -> *mut PyTasklet {
        let by_id = self.by_id.borrow();
        by_id.get(&handle.id()).copied().unwrap_or(ptr::null_mut())
    }

    /// Is `object` that of the thread's tasklet with this number?
    pub fn knows(&self, id: usize, object: *mut PyTasklet) -> bool {
        self.by_id.borrow().get(&id) == Some(&object)
    }

    /// May a tasklet to which nobody refers be killed now, or when the next one arrives?
    pub fn may_kill(&self) -> bool {
        !self.loaded.get().is_null() && !self.telling.get()
    }

    pub fn enter(&self, handle: &Tasklet, object: *mut PyTasklet) {
        self.by_id.borrow_mut().insert(handle.id(), object);
    }

    pub fn leave(&self, handle: &Tasklet) {
        self.by_id.borrow_mut().remove(&handle.id());
    }
}
