//! The port to Linux (any system with std and POSIX signals).

use core::cell::Cell;
use core::fmt;
use std::boxed::Box;
use std::panic::AssertUnwindSafe;

use context::stack::ProtectedFixedSizeStack;

use crate::error::{Error, Result, Thrown};
use crate::runtime::Runtime;
use crate::valgrind;

thread_local! {
    static RUNTIME: Cell<*const Runtime> = const { Cell::new(core::ptr::null()) };
    static AT_EXIT: AtExit = const { AtExit };
    static ABOVE: Cell<fn() -> bool> = const { Cell::new(|| false) };
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

struct AtExit;

impl Drop for AtExit {
    fn drop(&mut self) {
        crate::runtime::thread_exit(ABOVE.get());
    }
}

#[inline(always)]
pub(crate) fn runtime() -> *const Runtime {
    RUNTIME.with(|cell| cell.get())
}

pub(crate) fn set_runtime(runtime: *const Runtime) {
    RUNTIME.with(|cell| cell.set(runtime));
}

/// Returns false when the thread is already past the point where its end can
/// be noticed.
pub(crate) fn at_thread_exit() -> bool {
    AT_EXIT.try_with(|_| ()).is_ok()
}

/// As [`at_thread_exit`]; the end of the thread calls `above` for what a higher floor
/// keeps for it: see [`thread_exit`](crate::runtime::thread_exit).
pub(crate) fn ends_with_thread(above: fn() -> bool) -> bool {
    ABOVE.set(above);
    at_thread_exit()
}

/// Has `end` called with `runtime` once the thread's destructors have run.
pub(crate) fn at_the_very_end(runtime: *const Runtime, end: extern "C" fn(*mut nix::libc::c_void)) {
    static KEY: std::sync::OnceLock<Option<nix::libc::pthread_key_t>> = std::sync::OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `end` is always the same function; it takes what is set below.
        (unsafe { nix::libc::pthread_key_create(&mut key, Some(end)) } == 0).then_some(key)
    });
    if let Some(key) = *key {
        // SAFETY: a key of ours. If there is no room the runtime stays.
        unsafe { nix::libc::pthread_setspecific(key, runtime.cast()) };
    }
}

/// Ends the calling thread's part, as its end does; it may begin another one.
pub(crate) fn end_part() {
    crate::runtime::thread_exit(ABOVE.get());
}

/// The number of the calling thread, which it keeps for life; `fresh` makes one.
pub(crate) fn thread_id(fresh: impl FnOnce() -> u64) -> u64 {
    if NUMBER.get() == 0 {
        NUMBER.set(fresh());
    }
    NUMBER.get()
}

/// A stack with a guard page below it, from mmap.
pub(crate) struct StackMemory(ProtectedFixedSizeStack, #[allow(dead_code)] valgrind::Stack);

impl StackMemory {
    /// `size` is rounded up to whole pages; the guard page comes on top.
    pub(crate) fn new(size: usize) -> Result<StackMemory> {
        // The limit keeps the arithmetic of the mapping from overflowing; what
        // the machine cannot give, mmap refuses.
        if size == 0 || size > isize::MAX as usize / 2 {
            return Err(Error::StackSize(size));
        }
        ProtectedFixedSizeStack::new(size)
            .map(|stack| {
                let (bottom, top) = (stack.bottom() as usize, stack.top() as usize);
                StackMemory(stack, valgrind::Stack::register(bottom, top))
            })
            .map_err(|_| Error::StackSize(size))
    }

    pub(crate) fn top(&self) -> usize {
        self.0.top() as usize
    }

    pub(crate) fn bottom(&self) -> usize {
        self.0.bottom() as usize
    }

    /// True when running off the end faults.
    pub(crate) const GUARDED: bool = true;
}

#[inline(always)]
pub(crate) fn unwinding() -> bool {
    std::thread::panicking()
}

/// Runs `f`; a panic becomes `Error::Panicked`.
#[inline(always)]
pub(crate) fn catch(f: impl FnOnce() -> Result<()>) -> Result<()> {
    match std::panic::catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(payload) => Err(panicked(payload)),
    }
}

/// Runs `f`; the error that a panic becomes goes to `keep`.
#[inline(always)]
pub(crate) fn catch_into<C: Copy>(context: C, keep: fn(C, Error), f: impl FnOnce()) {
    if let Err(payload) = std::panic::catch_unwind(AssertUnwindSafe(f)) {
        keep(context, panicked(payload));
    }
}

/// A panic that was caught to go on elsewhere.
pub(crate) type Panic = Option<Box<dyn core::any::Any + Send>>;
pub(crate) const NO_PANIC: Panic = None;

pub(crate) fn catch_panic(f: impl FnOnce()) -> Panic {
    std::panic::catch_unwind(AssertUnwindSafe(f)).err()
}

#[inline]
pub(crate) fn resume_panic(panic: Panic) {
    if let Some(payload) = panic {
        std::panic::resume_unwind(payload);
    }
}

pub(crate) fn thread_stack_bottom() -> usize {
    use nix::libc;
    // SAFETY: plain calls on a local attribute object, destroyed afterwards.
    unsafe {
        let mut attributes: libc::pthread_attr_t = core::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return 0;
        }
        let mut bottom = core::ptr::null_mut();
        let mut size = 0;
        let found = libc::pthread_attr_getstack(&attributes, &mut bottom, &mut size) == 0;
        libc::pthread_attr_destroy(&mut attributes);
        if found {
            bottom as usize
        } else {
            0
        }
    }
}

pub(crate) fn thread_number() -> usize {
    // SAFETY: a system call without arguments.
    unsafe { nix::libc::syscall(nix::libc::SYS_gettid) as usize }
}

#[cold]
#[inline(never)]
fn panicked(payload: Box<dyn core::any::Any + Send>) -> Error {
    Error::Panicked(Thrown::panic(payload))
}

pub(crate) fn fatal(message: fmt::Arguments<'_>) -> ! {
    use std::io::Write;
    // One write, so that lines of several threads do not mix.
    let line = std::format!("hardswitch: {message}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    std::process::abort()
}

pub(crate) use overflow::watch as watch_overflow;

/// Names the tasklet whose stack overflowed into a guard page.
mod overflow {
    use core::cell::UnsafeCell;
    use core::mem::MaybeUninit;
    use std::sync::Once;

    use nix::libc;

    /// A signal stack of its own, for threads that have none: the handler
    /// cannot run on the stack that is exhausted.
    struct SignalStack(*mut libc::c_void);

    const SIGNAL_STACK: usize = 64 * 1024;

    impl SignalStack {
        fn install() -> SignalStack {
            // SAFETY: plain system calls on memory that this value owns.
            unsafe {
                let mut old: libc::stack_t = core::mem::zeroed();
                if libc::sigaltstack(core::ptr::null(), &mut old) == 0
                    && old.ss_flags & libc::SS_DISABLE == 0
                {
                    return SignalStack(core::ptr::null_mut());
                }
                let memory = libc::mmap(
                    core::ptr::null_mut(),
                    SIGNAL_STACK,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                );
                if memory == libc::MAP_FAILED {
                    return SignalStack(core::ptr::null_mut());
                }
                let mut stack: libc::stack_t = core::mem::zeroed();
                stack.ss_sp = memory;
                stack.ss_size = SIGNAL_STACK;
                libc::sigaltstack(&stack, core::ptr::null_mut());
                SignalStack(memory)
            }
        }
    }

    impl Drop for SignalStack {
        fn drop(&mut self) {
            if self.0.is_null() {
                return;
            }
            // SAFETY: takes the signal stack away before its memory.
            unsafe {
                let mut none: libc::stack_t = core::mem::zeroed();
                none.ss_flags = libc::SS_DISABLE;
                none.ss_size = SIGNAL_STACK;
                libc::sigaltstack(&none, core::ptr::null_mut());
                libc::munmap(self.0, SIGNAL_STACK);
            }
        }
    }

    std::thread_local! {
        static STACK: SignalStack = SignalStack::install();
    }

    struct Previous(UnsafeCell<MaybeUninit<[libc::sigaction; 2]>>);
    // SAFETY: written once, under `INSTALLED`, before the handler is in place.
    unsafe impl Sync for Previous {}
    static PREVIOUS: Previous = Previous(UnsafeCell::new(MaybeUninit::uninit()));
    static INSTALLED: Once = Once::new();

    /// Installs the handler (once per process) and a signal stack (for this
    /// thread). What handled the signals before is called for all other faults.
    pub(crate) fn watch() {
        let _ = STACK.try_with(|_| ());
        INSTALLED.call_once(|| {
            // SAFETY: the old actions are stored before the new ones are set.
            unsafe {
                let old = (*PREVIOUS.0.get()).as_mut_ptr().cast::<libc::sigaction>();
                libc::sigaction(libc::SIGSEGV, core::ptr::null(), old);
                libc::sigaction(libc::SIGBUS, core::ptr::null(), old.add(1));
                let mut action: libc::sigaction = core::mem::zeroed();
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigaction(libc::SIGSEGV, &action, core::ptr::null_mut());
                libc::sigaction(libc::SIGBUS, &action, core::ptr::null_mut());
            }
        });
    }

    unsafe extern "C" fn handler(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the kernel passes valid pointers; the report reads the
        // structures of this thread only and writes with write(2).
        unsafe {
            let address = (*info).si_addr() as usize;
            if crate::runtime::report_overflow(address, |bytes| {
                libc::write(2, bytes.as_ptr().cast(), bytes.len());
            }) {
                // Let the default action (a core dump) follow when the
                // instruction faults again.
                let mut default: libc::sigaction = core::mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &default, core::ptr::null_mut());
                return;
            }
            let old = (*PREVIOUS.0.get()).as_ptr().cast::<libc::sigaction>();
            let old = &*old.add(usize::from(signal == libc::SIGBUS));
            match old.sa_sigaction {
                libc::SIG_DFL | libc::SIG_IGN => {
                    libc::sigaction(signal, old, core::ptr::null_mut());
                }
                address if old.sa_flags & libc::SA_SIGINFO != 0 => {
                    let f: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                        core::mem::transmute(address);
                    f(signal, info, context);
                }
                address => {
                    let f: extern "C" fn(libc::c_int) = core::mem::transmute(address);
                    f(signal);
                }
            }
        }
    }
}
