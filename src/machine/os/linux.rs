//! The port to Linux (any system with std and POSIX signals).

use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::boxed::Box;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;

use context::stack::FixedSizeStack;
use nix::libc;

use crate::error::{Error, Result, Thrown};
use crate::machine::valgrind;

thread_local! {
    static RUNTIME: Cell<*const ()> = const { Cell::new(core::ptr::null()) };
    static AT_EXIT: AtExit = const { AtExit };
    static END: Cell<fn()> = const { Cell::new(|| ()) };
    static OUTER_END: Cell<fn() -> bool> = const { Cell::new(|| false) };
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

struct AtExit;

impl Drop for AtExit {
    fn drop(&mut self) {
        END.get()();
    }
}

/// Is this the thread that the process began with?
pub fn is_first_thread() -> bool {
    use nix::libc;
    // SAFETY: system calls without arguments.
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}

/// The address of the code that ends the process.
pub fn exit_address() -> usize {
    crate::machine::arch::code_address(nix::libc::exit as *const ())
}

#[inline(always)]
pub fn runtime() -> *const () {
    RUNTIME.with(|cell| cell.get())
}

pub fn set_runtime(runtime: *const ()) {
    RUNTIME.with(|cell| cell.set(runtime));
}

/// Has `end` called when the thread ends, while its thread-locals are destroyed. False when the
/// thread is past that point.
pub fn at_thread_exit(end: fn()) -> bool {
    END.set(end);
    AT_EXIT.try_with(|_| ()).is_ok()
}

/// The function that ends what the higher floors keep for the thread; it returns whether there was
/// anything to drop.
pub fn outer_end() -> fn() -> bool {
    OUTER_END.get()
}

pub fn set_outer_end(end: fn() -> bool) {
    OUTER_END.set(end);
}

/// Has `end` called with `runtime` once the thread's destructors have run.
pub fn at_the_very_end(runtime: *const (), end: extern "C" fn(*mut libc::c_void)) {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `end` is always the same function; it takes what is set below.
        (unsafe { libc::pthread_key_create(&mut key, Some(end)) } == 0).then_some(key)
    });
    if let Some(key) = *key {
        // SAFETY: a key of ours. If it cannot be set for lack of memory, the runtime is not freed.
        unsafe { libc::pthread_setspecific(key, runtime.cast()) };
    }
}

/// Nanoseconds of the system's monotonic clock since the library first asked; `None` without one.
pub fn clock() -> Option<u64> {
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    // It overflows after 584 years.
    Some(Instant::now().saturating_duration_since(start).as_nanos() as u64)
}

/// A timeout that does not fit becomes the longest that does, which is practically no limit.
pub fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos() as libc::c_long,
    }
}

/// The number of the calling thread, which it keeps for life; `fresh` makes one.
pub fn thread_id(fresh: impl FnOnce() -> u64) -> u64 {
    if NUMBER.get() == 0 {
        NUMBER.set(fresh());
    }
    NUMBER.get()
}

/// A stack with a guard below it, from mmap.
pub struct StackMemory {
    /// The guard is its lowest part.
    mapped: FixedSizeStack,
    bottom: usize,
    _known: valgrind::Stack,
}

/// How many stacks the process has mapped.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

impl StackMemory {
    /// `size` is rounded up to whole pages; the guard comes on top.
    pub fn new(size: usize, guard: usize) -> Result<StackMemory> {
        // The limit keeps the arithmetic from overflowing; what the machine cannot give, mmap
        // refuses.
        if size == 0 || size > isize::MAX as usize / 2 {
            return Err(Error::StackSize(size));
        }
        let counted = Counted::new()?;
        let guard = self::guard(guard);
        let mapped = FixedSizeStack::new(guard + pages(size));
        let mapped = mapped.map_err(|_| Error::StackSize(size))?;
        // SAFETY: the lowest pages of a mapping that is not in use yet.
        if unsafe { libc::mprotect(mapped.bottom(), guard, libc::PROT_NONE) } != 0 {
            return Err(Error::StackSize(size));
        }
        core::mem::forget(counted);
        let (bottom, top) = (mapped.bottom() as usize + guard, mapped.top() as usize);
        Ok(StackMemory {
            mapped,
            bottom,
            _known: valgrind::Stack::register(bottom, top),
        })
    }

    pub fn top(&self) -> usize {
        self.mapped.top() as usize
    }

    pub fn bottom(&self) -> usize {
        self.bottom
    }

    /// True when running off the end faults.
    pub const GUARDED: bool = true;
}

impl Drop for StackMemory {
    fn drop(&mut self) {
        drop(Counted);
    }
}

/// How many memory mappings a process may have: `vm.max_map_count`, read once.
pub fn mappings() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        text.map_or(usize::MAX, |text| text.trim().parse().unwrap_or(usize::MAX))
    })
}

/// One of the stacks that [`MAPPED`] counts.
struct Counted;

impl Counted {
    /// A stack takes two of the memory mappings that a process may have. Stacks must leave
    /// some: without mappings no thread can be made, no library loaded, and the allocator fails.
    fn new() -> Result<Counted> {
        let limit = mappings();
        let others = limit / 16;
        if MAPPED.fetch_add(1, Ordering::Relaxed) >= (limit - others) / 2 {
            drop(Counted);
            return Err(Error::Mappings(limit));
        }
        Ok(Counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        MAPPED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `bytes`, rounded up to whole pages.
fn pages(bytes: usize) -> usize {
    // SAFETY: asks for a constant of the system's.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    bytes.next_multiple_of(usize::try_from(page).unwrap_or(4096))
}

/// The size of a guard when so many bytes are asked for: at least a page.
pub fn guard(bytes: usize) -> usize {
    pages(bytes.max(1))
}

#[inline(always)]
pub fn unwinding() -> bool {
    std::thread::panicking()
}

/// Runs `f`; a panic becomes `Error::Panicked`.
#[inline(always)]
pub fn catch(f: impl FnOnce() -> Result<()>) -> Result<()> {
    match std::panic::catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(payload) => Err(panicked(payload)),
    }
}

/// Runs `f`; the error that a panic becomes goes to `keep`.
#[inline(always)]
pub fn catch_into<C: Copy>(context: C, keep: fn(C, Error), f: impl FnOnce()) {
    if let Err(payload) = std::panic::catch_unwind(AssertUnwindSafe(f)) {
        keep(context, panicked(payload));
    }
}

/// A panic that was caught to go on elsewhere.
pub type Panic = Option<Box<dyn core::any::Any + Send>>;
pub const NO_PANIC: Panic = None;

pub fn catch_panic(f: impl FnOnce()) -> Panic {
    std::panic::catch_unwind(AssertUnwindSafe(f)).err()
}

#[inline]
pub fn resume_panic(panic: Panic) {
    if let Some(payload) = panic {
        std::panic::resume_unwind(payload);
    }
}

pub fn thread_stack_bottom() -> usize {
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

pub fn thread_number() -> usize {
    // SAFETY: a system call without arguments.
    unsafe { libc::syscall(libc::SYS_gettid) as usize }
}

#[cold]
#[inline(never)]
fn panicked(payload: Box<dyn core::any::Any + Send>) -> Error {
    Error::Panicked(Thrown::panic(payload))
}

pub fn fatal(message: fmt::Arguments<'_>) -> ! {
    use std::io::Write;
    // One write, so that lines of several threads do not mix.
    let line = std::format!("hardswitch: {message}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    std::process::abort()
}

pub use overflow::watch as watch_overflow;

/// Names the tasklet whose stack overflowed into a guard page.
mod overflow {
    use core::cell::UnsafeCell;
    use core::mem::MaybeUninit;
    use std::sync::{Once, OnceLock};

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
    static REPORT: OnceLock<Report> = OnceLock::new();

    /// Called in the signal handler, with the address that faulted and the stack pointer (0:
    /// unknown): has a tasklet's stack overflowed? If so, the third argument has been called with
    /// a line that says so.
    pub type Report = fn(usize, usize, &dyn Fn(&[u8])) -> bool;

    /// Installs the handler (once per process) and a signal stack (for this
    /// thread). The handler that was there before is called as well: after the report of an
    /// overflow, and for all other faults.
    pub fn watch(report: Report) {
        let _ = STACK.try_with(|_| ());
        let _ = REPORT.set(report);
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
            let sent = (*info).si_code <= 0;
            let overflow = !sent
                && REPORT.get().is_some_and(|report| {
                    let sp = stack_pointer(context);
                    report((*info).si_addr() as usize, sp, &|bytes| {
                        libc::write(2, bytes.as_ptr().cast(), bytes.len());
                    })
                });
            let old = (*PREVIOUS.0.get()).as_ptr().cast::<libc::sigaction>();
            let old = &*old.add(usize::from(signal == libc::SIGBUS));
            match old.sa_sigaction {
                libc::SIG_IGN if sent => {}
                libc::SIG_DFL | libc::SIG_IGN => {
                    give_up(signal);
                    if sent {
                        // The signal was sent: no instruction will fault again. The default action
                        // comes when this handler returns.
                        libc::raise(signal);
                    }
                }
                _ => {
                    call(old, signal, info, context);
                    // The earlier handler has been called. If it has not set another action,
                    // the same fault would come here for ever.
                    let mut now: libc::sigaction = core::mem::zeroed();
                    libc::sigaction(signal, core::ptr::null(), &mut now);
                    if overflow && now.sa_sigaction == handler as *const () as usize {
                        give_up(signal);
                    }
                }
            }
        }
    }

    /// Lets the default action (a core dump) follow when the instruction faults again.
    unsafe fn give_up(signal: libc::c_int) {
        // SAFETY: a system call that signal handlers may make.
        unsafe {
            let mut default: libc::sigaction = core::mem::zeroed();
            default.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(signal, &default, core::ptr::null_mut());
        }
    }

    /// Calls another handler as the kernel would, with the same signals blocked.
    unsafe fn call(
        action: &libc::sigaction,
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the handler was installed with these flags, so it is of the type that they
        // say; the rest are system calls that signal handlers may make.
        unsafe {
            let mut mine: libc::sigset_t = core::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, &action.sa_mask, &mut mine);
            if action.sa_flags & libc::SA_NODEFER != 0 {
                let mut this: libc::sigset_t = core::mem::zeroed();
                libc::sigemptyset(&mut this);
                libc::sigaddset(&mut this, signal);
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &this, core::ptr::null_mut());
            }
            if action.sa_flags & libc::SA_RESETHAND != 0 {
                give_up(signal);
            }
            if action.sa_flags & libc::SA_SIGINFO != 0 {
                let f: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    core::mem::transmute(action.sa_sigaction);
                f(signal, info, context);
            } else {
                let f: extern "C" fn(libc::c_int) = core::mem::transmute(action.sa_sigaction);
                f(signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &mine, core::ptr::null_mut());
        }
    }

    /// The stack pointer of the interrupted code; 0 when that ran on the signal stack, which
    /// belongs to no tasklet.
    unsafe fn stack_pointer(context: *mut libc::c_void) -> usize {
        // SAFETY: the kernel passes a valid context as a handler's third argument.
        unsafe {
            let context = context.cast::<libc::ucontext_t>();
            #[cfg(target_arch = "x86_64")]
            let sp = (*context).uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
            // `libc` has no field for it: r1 is the second word of `gp_regs`, which lies 64 bytes
            // behind the start of the `struct sigcontext`.
            #[cfg(target_arch = "powerpc64")]
            let sp = context.byte_add(SIGCONTEXT + 64 + 8).cast::<usize>().read();
            let signal_stack = (*context).uc_stack;
            let start = signal_stack.ss_sp as usize;
            if (start..start.saturating_add(signal_stack.ss_size)).contains(&sp) {
                return 0;
            }
            sp
        }
    }

    /// Where the `struct sigcontext` lies in a `ucontext_t`: behind flags, link, the signal stack
    /// and 128 bytes of signal mask.
    #[cfg(target_arch = "powerpc64")]
    const SIGCONTEXT: usize = 8 + 8 + size_of::<libc::stack_t>() + 128;
}
