//! The runtime of an OS thread: its run queue, windows, slices, control blocks
//! and settings. Made on first use, shut down with the thread.

use alloc::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, OnceCell, RefCell};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(feature = "std")]
use core::time::Duration;
use core::{mem, ptr};

use crate::channel;
use crate::core::exceptions;
use crate::core::run::Runs;
use crate::core::scheduler;
use crate::core::value::Slot;
#[cfg(feature = "std")]
use crate::debug;
use crate::debug::table::{self, Chunk, Link};
use crate::error::{Error, Result, SettingsError, StateError};
use crate::machine::arch::{Copying, EhGlobals, Exchange, FpEnv, STACK_ALIGN};
use crate::machine::os;
use crate::machine::stack::own::StackPool;
use crate::machine::stack::slice::SliceStore;
use crate::machine::stack::window::Window;
use crate::machine::stack::Budget;
use crate::select;
#[cfg(feature = "std")]
use crate::tasklet::Overflow;
use crate::tasklet::{flag, release, Task, Tasklet};
use crate::time::Timers;

/// Limits and sizes of a thread's runtime. Apply them before the thread's
/// first use of the library.
///
/// ```
/// let settings = hardswitch::Settings { windows: 2, ..hardswitch::Settings::console() };
/// std::thread::spawn(move || settings.apply().unwrap()).join().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Windows that sliced tasklets share; at least 1. They are made when the
    /// first sliced tasklet is. A hot set of as many tasklets never copies.
    pub windows: usize,
    /// Bytes of a window. A sliced tasklet cannot use more stack, except by
    /// spilling.
    pub window_size: usize,
    /// Bytes of stack in use above which [`spill`](crate::spill) puts frames
    /// away; 0: always.
    pub watermark: usize,
    /// Bytes of the stack of a tasklet that owns one, unless it asks for more.
    pub stack_size: usize,
    /// Used stacks that are kept for new tasklets.
    pub stack_pool: usize,
    /// Bytes below each window and stack that fault when they are touched; a page at least. It
    /// is address space alone, no memory. A frame that is larger than this and was compiled
    /// without stack probes can step over them; then the next switch tells, or nobody. Means
    /// nothing without an operating system.
    pub guard_size: usize,
    /// Bytes of free slices that are kept.
    pub slice_cache: usize,
    /// Bytes that control blocks, slices and stacks may take together; beyond
    /// it `spawn` and switches that would need more fail with
    /// [`Error::MemoryCeiling`].
    pub memory_ceiling: usize,
    /// Report an overflow with the name of the tasklet. Installs a handler for SIGSEGV and
    /// SIGBUS; the one that was there is called as well, after the report and for all other faults.
    pub overflow_report: bool,
    /// How long the last tasklet of the thread that can run looks for its partner on another
    /// thread (a [`thread::Channel`](crate::thread::Channel), [`sync`](crate::sync)) before
    /// the thread goes to sleep: most answers of a thread that is at work come sooner than
    /// a sleeper can be woken. It is processor time, so after looks in vain there are fewer of
    /// them. Zero, or one processor: never.
    #[cfg(feature = "std")]
    pub spin: Duration,
}

impl Settings {
    /// For machines with virtual memory.
    pub const fn desktop() -> Settings {
        Settings {
            windows: 4,
            window_size: 128 * 1024,
            watermark: 64 * 1024,
            stack_size: 64 * 1024,
            stack_pool: 256,
            guard_size: 1024 * 1024,
            slice_cache: 1024 * 1024,
            memory_ceiling: usize::MAX,
            overflow_report: true,
            #[cfg(feature = "std")]
            spin: Duration::from_micros(20),
        }
    }

    /// The limits of a console: one window of 16 KiB and a low watermark. What
    /// is left above it is what an exception needs to unwind on PowerPC: 12 KiB.
    pub const fn console() -> Settings {
        Settings {
            windows: 1,
            window_size: 16 * 1024,
            watermark: 4 * 1024,
            stack_size: 16 * 1024,
            stack_pool: 4,
            guard_size: 64 * 1024,
            slice_cache: 64 * 1024,
            memory_ceiling: usize::MAX,
            overflow_report: true,
            #[cfg(feature = "std")]
            spin: Duration::ZERO,
        }
    }

    /// Makes them those of the calling thread.
    ///
    /// # Errors
    /// [`Error::Settings`] when a value cannot be or the thread has a runtime
    /// already; nothing has changed then.
    pub fn apply(self) -> Result<()> {
        if !os::runtime().is_null() {
            return Err(SettingsError::TooLate.into());
        }
        if !os::at_thread_exit() {
            return Err(StateError::ThreadEnding.into());
        }
        self.check()?;
        Runtime::create(self, None);
        Ok(())
    }

    /// As [`Settings::apply`], with the windows in memory that the host hands in:
    /// `windows * window_size` bytes and 32 for alignment. There are no guard pages then; every switch checks
    /// the stack pointer, every eviction a canary at the lower end of the window, and an
    /// overflow ends the process with a message that names the tasklet.
    ///
    /// # Errors
    /// As [`Settings::apply`]; [`SettingsError::Memory`] when it is too small, or no memory that can be:
    /// it would end beyond the address space.
    ///
    /// # Safety
    /// `[memory, memory + bytes)` is writable and nobody else's until the
    /// thread has ended and its last tasklet and channel are gone.
    pub unsafe fn apply_in(self, memory: *mut u8, bytes: usize) -> Result<()> {
        if !os::runtime().is_null() {
            return Err(SettingsError::TooLate.into());
        }
        if !os::at_thread_exit() {
            return Err(StateError::ThreadEnding.into());
        }
        self.check()?;
        let needed = self.windows * self.window_size + 2 * STACK_ALIGN;
        let end = (memory as usize).checked_add(bytes);
        if memory.is_null() || bytes < needed || end.is_none() {
            return Err(SettingsError::Memory.into());
        }
        Runtime::create(self, Some(memory as usize));
        Ok(())
    }

    fn check(&self) -> Result<(), SettingsError> {
        const LEAST: usize = 4 * 1024;
        const MOST: usize = isize::MAX as usize / 4096;
        let sane = |size| (LEAST..=MOST).contains(&size);
        if !(1..=1024).contains(&self.windows) {
            return Err(SettingsError::Windows);
        }
        if !sane(self.window_size) {
            return Err(SettingsError::WindowSize);
        }
        if self.watermark > self.window_size {
            return Err(SettingsError::Watermark);
        }
        if !sane(self.stack_size) {
            return Err(SettingsError::StackSize);
        }
        if self.guard_size > MOST {
            return Err(SettingsError::GuardSize);
        }
        if self.memory_ceiling < 16 * 1024 {
            return Err(SettingsError::MemoryCeiling);
        }
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::desktop()
    }
}

/// What a resumed tasklet has to do before it goes on.
pub(crate) mod after {
    /// Release the tasklet that was left for good.
    pub(crate) const LEFT: u32 = 1;
    /// The operation failed before it switched: `error` says why.
    pub(crate) const FAILED: u32 = 2;
    /// ... and the value to send is still in the caller's slot.
    pub(crate) const UNSENT: u32 = 4;
    /// Forgotten tasklets wait to be killed.
    pub(crate) const REAP: u32 = 8;
    /// Other threads have sent something.
    pub(crate) const MAIL: u32 = 16;
    /// Drop the value that nobody will get.
    pub(crate) const LOST: u32 = 32;
    /// ... and `error` is what was [thrown](crate::core::thrown) at the caller.
    pub(crate) const RAISED: u32 = 128;
    /// The thread's turn with the host lock is up.
    #[cfg(feature = "std")]
    pub(crate) const TURN: u32 = 64;
}

type ScheduleCallback = Rc<dyn Fn(Option<&Tasklet>, &Tasklet)>;
type ChannelCallback = Rc<dyn Fn(usize, &Tasklet, bool, bool)>;
type ErrorHandler = Rc<dyn Fn(&Error) -> Result<()>>;

/// Everything that belongs to one OS thread. The fields of the hot paths come
/// first. `repr(C)`: debugger scripts read it.
#[repr(C)]
pub(crate) struct Runtime {
    /// The running tasklet.
    current: Cell<*mut Task>,
    /// Head of the run queue, a ring; null when it is empty. The running
    /// tasklet, except inside an operation.
    ring: Cell<*mut Task>,
    /// See [`after`].
    pub(crate) after: Cell<u32>,
    /// Which callbacks are set, what else switches have to do, and what forbids
    /// them: `HOOK_*`. Other threads write two bits of it, [`HOOK_MAIL`] and
    /// [`HOOK_LOCK`].
    pub(crate) hooks: AtomicU32,
    pub(crate) run_count: Cell<usize>,
    /// The C++ exception globals of this thread, or a stand-in: see `exceptions`.
    pub(crate) eh: Cell<*mut EhGlobals>,
    // Not beside `run_count`: compilers then change both as one double word, and that
    // load waits for the stores that were no such thing.
    pub(crate) switches: Cell<u64>,

    /// Not 0: every switch fails with `SwitchTrap`; see [`HOOK_TRAPPED`].
    trap: Cell<i32>,
    /// Callbacks that are running, in which nobody may switch; see [`HOOK_LOCKED`].
    locked: Cell<u32>,
    /// Who is being switched to, while a schedule callback runs.
    pub(crate) next: Cell<*mut Task>,
    /// A tasklet that was left for good; released by the next arrival ([`after::LEFT`]).
    pub(crate) left: Cell<*mut Task>,
    /// Values that nobody will get; dropped by the next arrival ([`after::LOST`]).
    pub(crate) lost: RefCell<Vec<Slot>>,
    pub(crate) error: RefCell<Option<Error>>,
    /// What the routines are to copy, see [`Runtime::exchange`].
    exchange: Cell<Exchange>,

    main: Cell<*mut Task>,
    /// The tasklets inside `run`, outermost first; each holds a reference.
    pub(crate) watchdogs: RefCell<Vec<*mut Task>>,
    reap: RefCell<Vec<*mut Task>>,
    pub(crate) zombies: Cell<usize>,

    pub(crate) slices: SliceStore,
    pub(crate) stacks: StackPool,
    pub(crate) budget: Budget,
    windows: OnceCell<Box<[Window]>>,
    /// The address of what the host handed in for them.
    lent: Option<usize>,
    next_window: Cell<usize>,
    /// Bytes that eviction and restoring have copied.
    pub(crate) copied: Cell<u64>,

    chunks: RefCell<Vec<Chunk>>,
    /// For debuggers, which have nothing but memory to look at.
    pub(crate) link: Link,
    pub(crate) fibers: crate::machine::sanitizer::Fibers,
    free: Cell<*mut Task>,
    tasks: Cell<usize>,
    channels: Cell<usize>,
    /// Of those, the library's own.
    private_channels: Cell<usize>,
    /// The thread has ended; the last object frees the runtime.
    ended: Cell<bool>,
    end: Cell<End>,

    pub(crate) thread_fp: Cell<FpEnv>,
    pub(crate) on_schedule: RefCell<Option<ScheduleCallback>>,
    pub(crate) on_channel: RefCell<Option<ChannelCallback>>,
    pub(crate) in_channel_callback: Cell<bool>,
    pub(crate) on_error: RefCell<Option<ErrorHandler>>,
    pub(crate) settings: Settings,
    thread_bottom: OnceCell<usize>,
    pub(crate) thread_id: u64,
    pub(crate) runs: Runs,
    pub(crate) timers: Timers,
    /// How much has been [thrown](crate::core::thrown) and not been told yet.
    pub(crate) thrown: Cell<usize>,
    /// When the running tasklet was switched to; with [`HOOK_STATS`].
    pub(crate) since: Cell<u64>,
    /// What selects throw dice with; never 0.
    pub(crate) dice: Cell<u64>,
    /// The first stand-ins of those who drive the loop and let others run just now.
    pub(crate) drives: RefCell<Vec<*mut Task>>,
    /// Control blocks that were given back.
    freed: Cell<u64>,
    /// Runs, as far as anybody can see, when the thread has ended.
    nobody: core::cell::UnsafeCell<Task>,
    /// Stands in for the C++ runtime's globals where there is none, or several.
    no_eh: core::cell::UnsafeCell<EhGlobals>,
    /// The exception globals of all C++ runtimes that are known.
    pub(crate) words: RefCell<exceptions::Words>,
}

pub(crate) const HOOK_SCHEDULE: u32 = 1;
pub(crate) const HOOK_CHANNEL: u32 = 2;
/// A run with a budget is under way.
pub(crate) const HOOK_BUDGET: u32 = 4;
/// Run times are measured.
pub(crate) const HOOK_STATS: u32 = 8;
/// Other threads have sent something.
pub(crate) const HOOK_MAIL: u32 = 16;
/// Other threads wait for the host lock that this one has.
pub(crate) const HOOK_LOCK: u32 = 256;
/// Whatever a switch may have to do beside switching.
pub(crate) const HOOK_SWITCH: u32 =
    HOOK_SCHEDULE | HOOK_BUDGET | HOOK_STATS | HOOK_MAIL | HOOK_LOCK;
/// The switch trap is set.
pub(crate) const HOOK_TRAPPED: u32 = 32;
/// A callback is running.
pub(crate) const HOOK_LOCKED: u32 = 64;
/// The thread has ended; what is left of its tasklets has no thread.
pub(crate) const HOOK_ENDED: u32 = 512;
/// Another C++ runtime is known to the process, or one less: see `exceptions`.
pub(crate) const HOOK_RUNTIMES: u32 = 1024;
/// The running tasklet has floating-point control words of its own: to leave it is
/// [special](crate::tasklet::flag::SPECIAL).
pub(crate) const HOOK_FP: u32 = 1 << 12;
/// Nobody may switch; but with [`HOOK_RUNTIMES`] alone, after a look.
pub(crate) const HOOK_REFUSE: u32 = HOOK_TRAPPED | HOOK_LOCKED | HOOK_ENDED | HOOK_RUNTIMES;
/// Somebody has not been told yet what was [thrown](crate::core::thrown) at it.
pub(crate) const HOOK_THROWN: u32 = 2048;
/// See [`set_use_nested_tasklets`](crate::set_use_nested_tasklets).
pub(crate) const HOOK_FLAT: u32 = 128;
/// Whatever makes a switch more than a [plain](crate::core::transfer::plain) one.
pub(crate) const HOOK_ANY: u32 = HOOK_SWITCH | HOOK_REFUSE | HOOK_FLAT | HOOK_THROWN | HOOK_FP;

/// Numbers of threads; 0 is none.
static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

pub(crate) fn new_thread_id() -> u64 {
    NEXT_THREAD.fetch_add(1, Ordering::Relaxed)
}

/// Control blocks of the first chunk; each further one is twice as large, up to
/// `MAX_CHUNK`.
const FIRST_CHUNK: usize = 32;
const MAX_CHUNK: usize = 1024;

impl Runtime {
    /// For debuggers: where `current` lies.
    pub(crate) const CURRENT: usize = mem::offset_of!(Runtime, current);

    /// The runtime of the calling thread.
    #[inline(always)]
    pub(crate) fn get<'a>() -> &'a Runtime {
        let runtime = os::runtime();
        if runtime.is_null() {
            return Runtime::create_default();
        }
        // SAFETY: set by `create`, taken away by `thread_exit` before it is freed.
        unsafe { &*runtime }
    }

    /// The runtime of the calling thread, if it has one.
    pub(crate) fn existing<'a>() -> Option<&'a Runtime> {
        // SAFETY: as in `get`.
        unsafe { os::runtime().as_ref() }
    }

    /// Out of line: the settings must not take room in the frames of callers,
    /// which become parts of slices.
    #[cold]
    #[inline(never)]
    fn create_default<'a>() -> &'a Runtime {
        Runtime::create(Settings::default(), None)
    }

    /// The runtime of a thread that has none. One that is past its end gets one where
    /// nothing can be made and nobody runs.
    #[cold]
    fn create<'a>(settings: Settings, memory: Option<usize>) -> &'a Runtime {
        let lives = os::at_thread_exit();
        let runtime = Box::into_raw(Box::new(Runtime {
            current: Cell::new(ptr::null_mut()),
            ring: Cell::new(ptr::null_mut()),
            after: Cell::new(0),
            hooks: AtomicU32::new(0),
            run_count: Cell::new(0),
            switches: Cell::new(0),
            eh: Cell::new(ptr::null_mut()),
            trap: Cell::new(0),
            locked: Cell::new(0),
            next: Cell::new(ptr::null_mut()),
            left: Cell::new(ptr::null_mut()),
            lost: RefCell::new(Vec::new()),
            error: RefCell::new(None),
            exchange: Cell::new(Exchange::NOTHING),
            main: Cell::new(ptr::null_mut()),
            watchdogs: RefCell::new(Vec::new()),
            reap: RefCell::new(Vec::new()),
            zombies: Cell::new(0),
            slices: SliceStore::new(settings.slice_cache),
            stacks: StackPool::new(
                settings.stack_size,
                settings.stack_pool,
                settings.guard_size,
            ),
            budget: Budget::new(settings.memory_ceiling),
            windows: OnceCell::new(),
            lent: memory,
            next_window: Cell::new(0),
            copied: Cell::new(0),
            chunks: RefCell::new(Vec::new()),
            link: Link::new(),
            fibers: crate::machine::sanitizer::Fibers::new(),
            free: Cell::new(ptr::null_mut()),
            tasks: Cell::new(0),
            channels: Cell::new(0),
            private_channels: Cell::new(0),
            ended: Cell::new(false),
            end: Cell::new(if lives { End::Not } else { End::Over }),
            thread_fp: Cell::new(FpEnv::DEFAULT),
            on_schedule: RefCell::new(None),
            on_channel: RefCell::new(None),
            in_channel_callback: Cell::new(false),
            on_error: RefCell::new(None),
            settings,
            thread_bottom: OnceCell::new(),
            thread_id: os::thread_id(new_thread_id),
            runs: Runs::new(),
            timers: Timers::new(),
            thrown: Cell::new(0),
            since: Cell::new(0),
            dice: Cell::new(0x9E37_79B9_7F4A_7C15),
            drives: RefCell::new(Vec::new()),
            freed: Cell::new(0),
            nobody: core::cell::UnsafeCell::new(Task::new(ptr::null(), flag::MAIN)),
            no_eh: core::cell::UnsafeCell::new(EhGlobals::NONE),
            words: RefCell::new(exceptions::Words::new()),
        }));
        // SAFETY: just allocated, this thread's alone.
        unsafe {
            table::add(runtime);
            // After that: who makes another C++ runtime known meanwhile finds this one.
            exceptions::look(&*runtime);
            os::set_runtime(runtime);
            if !lives {
                let runtime = &*runtime;
                runtime.stand_down();
                // Until the last object and the thread itself are gone.
                runtime.channel_made();
                #[cfg(feature = "std")]
                os::at_the_very_end(runtime, let_go);
                return runtime;
            }
            if (*runtime).settings.overflow_report {
                os::watch_overflow();
            }
            let runtime = &*runtime;
            // Main is needed whatever the ceiling says.
            let Ok(main) = runtime.new_task(flag::MAIN | flag::ALIVE | flag::STARTED) else {
                os::fatal(format_args!("no memory for the main tasklet"));
            };
            // One reference is the queue's, one the thread's.
            (*main).refs += 1;
            runtime.main.set(main);
            runtime.ring_append(main);
            runtime.current.set(main);
            #[cfg(feature = "std")]
            {
                crate::thread::attach(runtime);
                crate::thread::host_lock::attached();
            }
            runtime
        }
    }

    /// Which hooks are set: one plain load.
    #[inline(always)]
    pub(crate) fn hooks(&self) -> u32 {
        self.hooks.load(Ordering::Relaxed)
    }

    /// Sets or clears one of them; says whether it was set.
    pub(crate) fn set_hook(&self, hook: u32, on: bool) -> bool {
        let before = if on {
            self.hooks.fetch_or(hook, Ordering::Relaxed)
        } else {
            self.hooks.fetch_and(!hook, Ordering::Relaxed)
        };
        before & hook != 0
    }

    /// Where the stand-in for a C++ runtime's globals lies, which says this.
    pub(crate) fn stand_in(&self, globals: EhGlobals) -> *mut EhGlobals {
        // SAFETY: a cell of our own.
        unsafe { *self.no_eh.get() = globals };
        self.no_eh.get()
    }

    /// Sets the level of the switch trap; returns the old one.
    pub(crate) fn set_trap(&self, level: i32) -> i32 {
        self.set_hook(HOOK_TRAPPED, level != 0);
        self.trap.replace(level)
    }

    pub(crate) fn trap(&self) -> i32 {
        self.trap.get()
    }

    /// Calls `callback`, in which nobody may switch.
    pub(crate) fn locked<R>(&self, callback: impl FnOnce() -> R) -> R {
        self.locked.set(self.locked.get() + 1);
        self.set_hook(HOOK_LOCKED, true);
        // What is left to do is the matter of who arrives, not of operations in there.
        let after = self.after.replace(0);
        let result = callback();
        self.later(after);
        self.locked.set(self.locked.get() - 1);
        self.set_hook(HOOK_LOCKED, self.locked.get() != 0);
        result
    }

    /// Leaves something to do for whoever arrives next: a bit of [`after`].
    #[inline(always)]
    pub(crate) fn later(&self, what: u32) {
        // SAFETY: a cell of our own. All of the word is stored, as in `Task::set`.
        unsafe { ptr::write_volatile(self.after.as_ptr(), self.after.get() | what) };
    }

    /// Has another thread sent something?
    #[cfg(feature = "std")]
    #[inline(always)]
    pub(crate) fn has_mail(&self) -> bool {
        self.hooks() & HOOK_MAIL != 0
    }

    #[inline(always)]
    pub(crate) fn current(&self) -> *mut Task {
        self.current.get()
    }

    pub(crate) fn main(&self) -> *mut Task {
        self.main.get()
    }

    /// The tasklet that a running schedule callback announces.
    pub(crate) fn is_next(&self, task: *mut Task) -> bool {
        self.hooks() & HOOK_LOCKED != 0 && self.next.get() == task
    }

    /// Makes `task` the running tasklet and the head of the queue: a switch.
    #[inline(always)]
    pub(crate) fn set_running(&self, task: *mut Task) {
        self.switches.set(self.switches.get() + 1);
        self.current.set(task);
        self.ring.set(task);
    }

    /// Head of the run queue.
    #[inline(always)]
    pub(crate) fn ring(&self) -> *mut Task {
        self.ring.get()
    }

    /// Appends `task` to the run queue. The queue takes over a reference.
    ///
    /// # Safety
    /// `task` is a live task of this thread and in no queue.
    #[inline]
    pub(crate) unsafe fn ring_append(&self, task: *mut Task) {
        // SAFETY: the caller's promise.
        unsafe {
            debug_assert!((*task).floating());
            self.ring_append_of(task, 0);
        }
    }

    /// [`ring_append`](Self::ring_append), and the flags `old` go.
    ///
    /// # Safety
    /// As `ring_append`; but it may have a channel's flags if `old` are those.
    #[inline(always)]
    pub(crate) unsafe fn ring_append_of(&self, task: *mut Task, old: u32) {
        let head = self.ring.get();
        // SAFETY: ring members are live tasks with both links set.
        unsafe {
            (*task).exchange(old, flag::QUEUED);
            if head.is_null() {
                (*task).next = task;
                (*task).prev = task;
                self.ring.set(task);
            } else {
                self.link_before(head, task);
            }
        }
        self.run_count.set(self.run_count.get() + 1);
    }

    /// Puts `task` right behind `place` in the run queue.
    ///
    /// # Safety
    /// As [`Runtime::ring_append`]; `place` is queued.
    #[inline]
    pub(crate) unsafe fn ring_insert_after(&self, place: *mut Task, task: *mut Task) {
        // SAFETY: the caller's promise.
        unsafe {
            debug_assert!((*task).floating());
            self.ring_insert_after_of(place, task, 0);
        }
    }

    /// [`ring_insert_after`](Self::ring_insert_after), and the flags `old` go.
    ///
    /// # Safety
    /// As `ring_insert_after` and [`ring_append_of`](Self::ring_append_of).
    #[inline(always)]
    pub(crate) unsafe fn ring_insert_after_of(&self, place: *mut Task, task: *mut Task, old: u32) {
        // SAFETY: as above.
        unsafe {
            (*task).exchange(old, flag::QUEUED);
            self.link_before((*place).next, task);
        }
        self.run_count.set(self.run_count.get() + 1);
    }

    /// Puts `task` into the place that `head` has at the head of the run queue. The
    /// queue takes over a reference to it; that to `head` is the caller's now.
    ///
    /// # Safety
    /// As [`Runtime::ring_append`]; `head` is the running tasklet and queued.
    #[inline(always)]
    pub(crate) unsafe fn ring_replace(&self, head: *mut Task, task: *mut Task) {
        // SAFETY: ring members are live tasks with both links set.
        unsafe {
            debug_assert!((*task).floating() && (*head).is(flag::QUEUED));
            debug_assert!(self.ring.get() == head);
            let (next, prev) = ((*head).next, (*head).prev);
            if next == head {
                (*task).next = task;
                (*task).prev = task;
            } else {
                (*task).next = next;
                (*task).prev = prev;
                (*prev).next = task;
                (*next).prev = task;
            }
            (*head).next = ptr::null_mut();
            (*head).prev = ptr::null_mut();
            (*head).clear(flag::QUEUED);
            (*task).set(flag::QUEUED);
        }
        self.ring.set(task);
    }

    #[inline(always)]
    unsafe fn link_before(&self, place: *mut Task, task: *mut Task) {
        // SAFETY: the callers'.
        unsafe {
            let prev = (*place).prev;
            (*task).next = place;
            (*task).prev = prev;
            (*prev).next = task;
            (*place).prev = task;
        }
    }

    /// Takes `task` out of the run queue; the reference is the caller's now.
    /// If it was the head, the next one is.
    ///
    /// # Safety
    /// `task` is queued on this thread.
    #[inline]
    pub(crate) unsafe fn ring_remove(&self, task: *mut Task) {
        // SAFETY: the caller's promise.
        unsafe { self.ring_unlink(task) };
    }

    /// [`ring_remove`](Self::ring_remove) for where a call would cost more than the code.
    ///
    /// # Safety
    /// As `ring_remove`.
    #[inline(always)]
    pub(crate) unsafe fn ring_unlink(&self, task: *mut Task) {
        // SAFETY: ring members are live tasks with both links set.
        unsafe {
            debug_assert!((*task).is(flag::QUEUED));
            let (next, prev) = ((*task).next, (*task).prev);
            (*prev).next = next;
            (*next).prev = prev;
            if self.ring.get() == task {
                self.ring
                    .set(if next == task { ptr::null_mut() } else { next });
            }
            (*task).next = ptr::null_mut();
            (*task).prev = ptr::null_mut();
            (*task).clear(flag::QUEUED);
        }
        self.run_count.set(self.run_count.get() - 1);
    }

    /// Whom to wake when nobody can run: the innermost `run`, else main.
    pub(crate) fn wakeup(&self) -> *mut Task {
        match self.watchdogs.borrow().last() {
            Some(&task) => task,
            None => self.main.get(),
        }
    }

    /// A window for a new sliced tasklet: the one with the fewest members, in
    /// turn among equals, so that partners that are made one after the other
    /// come to lie in different windows.
    pub(crate) fn assign_window(&self) -> Result<*const Window> {
        let windows = match self.windows.get() {
            Some(windows) => windows,
            None => self.make_windows()?,
        };
        let count = windows.len();
        let start = self.next_window.get();
        let mut best = start % count;
        for i in 1..count {
            let other = (start + i) % count;
            if windows[other].members.get() < windows[best].members.get() {
                best = other;
            }
        }
        self.next_window.set((best + 1) % count);
        Ok(&windows[best])
    }

    #[cold]
    fn make_windows(&self) -> Result<&[Window]> {
        let settings = &self.settings;
        if let Some(memory) = self.lent {
            let low = memory.next_multiple_of(STACK_ALIGN);
            let windows = (0..settings.windows).map(|i| {
                let bottom = low + i * settings.window_size;
                // SAFETY: the host's promise (`apply_in`), which checked that
                // all of them fit.
                unsafe { Window::lent(bottom, bottom + settings.window_size) }
            });
            return Ok(self.windows.get_or_init(|| windows.collect()));
        }
        let bytes = settings.windows * settings.window_size;
        self.budget.take(bytes)?;
        let made = (0..settings.windows)
            .map(|_| Window::mapped(settings.window_size, settings.guard_size))
            .collect::<Result<_>>();
        match made {
            Ok(made) => Ok(self.windows.get_or_init(|| made)),
            Err(error) => {
                self.budget.give(bytes);
                Err(error)
            }
        }
    }

    /// Lowest address of the thread's own stack; 0 when it is not known.
    pub(crate) fn thread_bottom(&self) -> usize {
        *self.thread_bottom.get_or_init(os::thread_stack_bottom)
    }

    /// Why the operation that just returned failed, if it did.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        if self.after.get() & after::FAILED == 0 {
            return None;
        }
        self.after
            .set(self.after.get() & !(after::FAILED | after::RAISED));
        self.error.borrow_mut().take()
    }

    /// Has slices copied before the save area at `sp` is gone on with: the answer of
    /// an op.
    #[inline(always)]
    pub(crate) fn exchange(&self, out: Copying, into: Copying, sp: usize) -> usize {
        self.count_copied(&out, &into);
        self.exchange.set(Exchange { out, into, sp });
        Exchange::tagged(self.exchange.as_ptr())
    }

    /// Where [`Exchange::tagged`] may point to.
    #[inline(always)]
    pub(crate) fn exchange_memory(&self) -> *mut Exchange {
        self.exchange.as_ptr()
    }

    #[inline(always)]
    pub(crate) fn count_copied(&self, out: &Copying, into: &Copying) {
        let copied = self.copied.get() + (out.len + into.len) as u64;
        self.copied.set(copied);
    }

    fn windows(&self) -> &[Window] {
        self.windows.get().map_or(&[], |made| made)
    }

    /// A control block with one reference, the caller's.
    #[inline]
    pub(crate) fn new_task(&self, flags: u32) -> Result<*mut Task> {
        if self.free.get().is_null() {
            self.grow()?;
        }
        let task = self.free.get();
        // SAFETY: a free cell of a chunk; its `next` links the free list, all else is
        // as `Task::new` made it or as `free_task` found it.
        unsafe {
            self.free.set((*task).next);
            (*task).next = ptr::null_mut();
            (*task).flags = flags;
            (*task).refs = 1;
            (*task).switches = 0;
        }
        self.tasks.set(self.tasks.get() + 1);
        Ok(task)
    }

    #[cold]
    fn grow(&self) -> Result<()> {
        if self.hooks() & HOOK_ENDED != 0 {
            return Err(StateError::ThreadEnding.into());
        }
        let mut chunks = self.chunks.borrow_mut();
        let count = chunks
            .last()
            .map_or(FIRST_CHUNK, |chunk| (2 * chunk.count).min(MAX_CHUNK));
        let Ok(layout) = Layout::array::<Task>(count) else {
            return Err(Error::OutOfMemory);
        };
        self.budget.take(layout.size())?;
        // SAFETY: the layout is not empty; each cell is written before it is
        // linked.
        unsafe {
            let chunk = alloc(layout).cast::<Task>();
            if chunk.is_null() {
                self.budget.give(layout.size());
                return Err(Error::OutOfMemory);
            }
            for i in (0..count).rev() {
                let cell = chunk.add(i);
                ptr::write(cell, Task::new(self, flag::FREE));
                (*cell).next = self.free.get();
                self.free.set(cell);
            }
            chunks.push(Chunk {
                cells: chunk,
                count,
            });
            self.link.chunks.set(chunks.as_ptr());
            self.link.chunk_count.set(chunks.len());
        }
        Ok(())
    }

    /// Gives a control block back. What it owned has been moved out.
    ///
    /// # Safety
    /// Nobody refers to `task`.
    #[inline]
    pub(crate) unsafe fn free_task(&self, task: *mut Task) {
        // SAFETY: the caller's promise.
        unsafe {
            debug_assert!((*task).floating() && (*task).refs == 0 && (*task).is_blank());
            (*task).flags = flag::FREE;
            (*task).next = self.free.get();
        }
        self.free.set(task);
        self.tasks.set(self.tasks.get() - 1);
        self.freed.set(self.freed.get() + 1);
        self.free_if_unused();
    }

    pub(crate) fn channel_made(&self) {
        self.channels.set(self.channels.get() + 1);
    }

    pub(crate) fn channel_gone(&self) {
        self.channels.set(self.channels.get() - 1);
        self.free_if_unused();
    }

    /// Counts a channel of the library's own, or (-1) its end.
    pub(crate) fn private_channels(&self, delta: isize) {
        let count = self.private_channels.get().wrapping_add_signed(delta);
        self.private_channels.set(count);
    }

    /// Keeps a forgotten tasklet, with its reference, until it can be killed.
    pub(crate) fn reap_later(&self, task: *mut Task) {
        self.reap.borrow_mut().push(task);
        self.later(after::REAP);
    }

    /// The tasklets that wait to be killed.
    pub(crate) fn take_reaped(&self) -> Vec<*mut Task> {
        mem::take(&mut self.reap.borrow_mut())
    }

    /// Handles of all tasklets, main first.
    pub(crate) fn all_tasklets(&self) -> Vec<Tasklet> {
        let mut all = Vec::with_capacity(self.tasks.get());
        for chunk in self.chunks.borrow().iter() {
            for i in 0..chunk.count {
                // SAFETY: cells of a chunk are always initialised.
                unsafe {
                    let task = chunk.cells.add(i);
                    if !(*task).is(flag::FREE) && (*task).refs > 0 {
                        all.push(Tasklet::from_ref(task));
                    }
                }
            }
        }
        all
    }

    #[inline(always)]
    fn free_if_unused(&self) {
        if self.end.get() == End::Over {
            self.free_if_last();
        }
    }

    #[cold]
    fn free_if_last(&self) {
        // A control block that comes back is not used again.
        self.free.set(ptr::null_mut());
        if self.ended.get() && self.tasks.get() == 0 && self.channels.get() == 0 {
            // SAFETY: nothing refers to the runtime: the thread let go of it
            // (`ended`), and tasks and channels are gone.
            unsafe { Runtime::free(self as *const Runtime as *mut Runtime) };
        }
    }

    unsafe fn free(runtime: *mut Runtime) {
        // SAFETY: allocated in `create`; the caller's promise.
        unsafe {
            table::remove(runtime);
            let runtime = Box::from_raw(runtime);
            runtime.slices.flush(&runtime.budget);
            for chunk in runtime.chunks.borrow_mut().drain(..) {
                match Layout::array::<Task>(chunk.count) {
                    Ok(layout) => dealloc(chunk.cells.cast(), layout),
                    Err(_) => handle_alloc_error(Layout::new::<Task>()),
                }
            }
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            switches: self.switches.get(),
            tasklets: self.tasks.get(),
            tasklets_made: self.freed.get() + self.tasks.get() as u64,
            tasklets_completed: self.runs.completed.get(),
            last_run_switches: self.runs.last.get().0,
            last_run_completed: self.runs.last.get().1,
            timeouts: self.timers.waiting(),
            channels: self.channels.get() - self.private_channels.get(),
            run_count: self.run_count.get(),
            zombies: self.zombies.get(),
            slice_bytes: self.slices.in_use(),
            slice_peak: self.slices.peak(),
            slice_cache_bytes: self.slices.cached(),
            slice_allocations: self.slices.allocations(),
            copied_bytes: self.copied.get(),
            window_bytes: self.windows().iter().map(Window::size).sum(),
            stacks: self.stacks.in_use(),
            stacks_pooled: self.stacks.pooled(),
            control_bytes: self.chunks.borrow().iter().map(|c| c.count).sum::<usize>()
                * mem::size_of::<Task>(),
            memory_bytes: self.budget.used.get(),
        }
    }

    /// Ends every tasklet: started ones get `Error::Exit`, where they are, under main.
    fn shut_down(&self) {
        // Tasklets may make new ones while they die; ten rounds, as with one
        // that refuses.
        for _ in 0..crate::tasklet::KILLS {
            let alive: Vec<Tasklet> = self
                .all_tasklets()
                .into_iter()
                .filter(|t| t.is_alive() && !t.is_main() && !t.is_zombie())
                .collect();
            if alive.is_empty() {
                break;
            }
            // Nobody gets a turn because another one ends.
            for tasklet in &alive {
                if !tasklet.is_blocked() {
                    let _ = tasklet.remove();
                }
            }
            for tasklet in alive {
                if tasklet.is_alive() {
                    let _ = scheduler::throw_in_place(&tasklet, Error::Exit);
                }
            }
        }
    }

    /// Is the thread ending, or past its end?
    pub(crate) fn is_ending(&self) -> bool {
        self.end.get() != End::Not
    }

    /// Is the running tasklet one that its ending thread kills, until it ends or has used
    /// up its kills?
    #[cfg(feature = "std")]
    pub(crate) fn is_dying(&self) -> bool {
        self.end.get() == End::Under && self.current() != self.main()
    }

    fn is_anybody_left(&self) -> bool {
        let ends = |t: &Tasklet| t.is_alive() && !t.is_main() && !t.is_zombie();
        self.all_tasklets().iter().any(ends)
    }

    /// Takes those who would not end out of all queues. Their references stay: they are
    /// kept for ever, and no code that comes later can have them run.
    fn give_up(&self) {
        for tasklet in self.all_tasklets() {
            if tasklet.is_main() {
                continue;
            }
            let task = tasklet.as_ptr();
            // SAFETY: live tasks of this thread; the queue's reference is nobody's now.
            unsafe {
                select::interrupt(self, task);
                if (*task).is(flag::BLOCKED) {
                    channel::unlink(task);
                } else if (*task).is(flag::QUEUED) {
                    self.ring_remove(task);
                }
                if (*task).is(flag::ALIVE) && !(*task).is(flag::ZOMBIE) {
                    (*task).set(flag::ZOMBIE);
                    self.zombies.set(self.zombies.get() + 1);
                }
            }
        }
    }

    /// The thread ends: `nobody` takes the place of main, which has left the queue, as the
    /// only one there. Code that runs later still, of thread-locals that were made earlier, may
    /// have handles: what would run a tasklet, or block in the name of one, is refused.
    fn stand_down(&self) {
        debug_assert!(self.ring.get().is_null());
        self.end.set(End::Over);
        self.free.set(ptr::null_mut());
        let nobody = self.nobody.get();
        // SAFETY: a task of our own, in no queue.
        unsafe {
            (*nobody).runtime = self;
            self.ring_append(nobody);
        }
        self.watchdogs.borrow_mut().clear();
        self.main.set(nobody);
        self.current.set(nobody);
        self.hooks.store(HOOK_ENDED, Ordering::Relaxed);
    }
}

/// Figures of a thread's runtime. Bytes unless the name says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Switches so far.
    pub switches: u64,
    /// Tasklets that exist, main included.
    pub tasklets: usize,
    /// Tasklets that were ever made, main included.
    pub tasklets_made: u64,
    /// Tasklets that have run to their end.
    pub tasklets_completed: u64,
    /// Turns that tasklets had in the last run with a budget.
    pub last_run_switches: u64,
    /// Tasklets that ended in the last run with a budget.
    pub last_run_completed: u64,
    /// Timeouts that run.
    pub timeouts: usize,
    /// Channels that exist.
    pub channels: usize,
    /// Tasklets in the run queue, the running one included.
    pub run_count: usize,
    /// Tasklets that refused to end.
    pub zombies: usize,
    /// Bytes in the slices that tasklets hold.
    pub slice_bytes: usize,
    /// The most that `slice_bytes` has been.
    pub slice_peak: usize,
    /// Bytes in free slices that are kept.
    pub slice_cache_bytes: usize,
    /// How often a slice had to come from the allocator.
    pub slice_allocations: u64,
    /// Bytes copied out of and into windows so far.
    pub copied_bytes: u64,
    /// Bytes of all windows.
    pub window_bytes: usize,
    /// Stacks that tasklets own.
    pub stacks: usize,
    /// Stacks that wait in the pool.
    pub stacks_pooled: usize,
    /// Bytes of control blocks, free ones included.
    pub control_bytes: usize,
    /// All bytes that count against the ceiling.
    pub memory_bytes: usize,
}

/// Figures of the calling thread's runtime.
pub fn stats() -> Stats {
    Runtime::get().stats()
}

/// How far the end of a thread has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Not,
    /// Its tasklets are killed, and what it keeps is dropped: user code runs.
    Under,
    /// Nothing of it runs any more.
    Over,
}

/// Ends the calling thread's runtime: started tasklets get [`Error::Exit`]. Without
/// std nobody else does it at the end of a thread. From main; inside another tasklet
/// it does nothing.
///
/// # Safety
/// What is left of the thread's tasklets and channels is dropped on this thread, and
/// not used in any other way.
#[cfg(not(feature = "std"))]
pub unsafe fn end_thread() {
    thread_exit(|| false);
}

/// Asked at the end of a thread: are its tasklets left as they are?
///
/// They are where another one than main is running: nothing can be run in order any more. And they
/// are at the end of the process, as those of all other threads: nobody has killed them. (If they
/// were unwound then, code that was in the middle of its work would have to bear it: a destructor in
/// C++ that waits lets the kill out, and the process would end with `std::terminate`.)
#[cfg(feature = "std")]
pub(crate) fn abandons() -> bool {
    inside_tasklet() || process_ends()
}

/// As [`thread_exit`], where thread-locals are destroyed: the thread ends by itself, or the process does.
#[cfg(feature = "std")]
pub(crate) fn thread_ends(above: fn() -> bool) {
    if !abandons() {
        thread_exit(above);
    } else if let Some(runtime) = Runtime::existing() {
        runtime.abandon();
    }
}

/// Is it the process that ends, and not this thread alone? Asked where thread-locals are destroyed:
/// that is the first thing that `exit` does, on the thread that calls it. Those of the first thread
/// are destroyed at no other time.
#[cfg(feature = "std")]
fn process_ends() -> bool {
    os::is_first_thread() || debug::is_called_by(os::exit_address())
}

/// Is another tasklet than main running? Then its thread cannot end in order.
pub(crate) fn inside_tasklet() -> bool {
    Runtime::existing().is_some_and(|runtime| runtime.current() != runtime.main())
}

/// The last of a thread: no code of its own runs any more that could use its runtime.
#[cfg(feature = "std")]
extern "C" fn let_go(runtime: *mut core::ffi::c_void) {
    os::set_runtime(ptr::null());
    // SAFETY: a runtime of this thread that stands for one that has ended: see `create`.
    unsafe {
        let runtime = &*runtime.cast::<Runtime>();
        // Whoever has a handle of the running tasklet refers to the runtime itself.
        if (*runtime.nobody.get()).refs == 1 {
            runtime.ended.set(true);
            runtime.channel_gone();
        }
    }
}

/// Ends all that the library keeps for the calling thread, in the order that
/// `docs/threads.md` gives: the one way in which a part of a thread ends. Runs by itself
/// at the end of a thread, and when a host asks for it.
///
/// `above` drops what a higher floor keeps for the thread; it answers whether there was
/// anything.
pub(crate) fn thread_exit(above: fn() -> bool) {
    if inside_tasklet() {
        return Runtime::get().abandon();
    }
    // What goes may make things again, and so a runtime.
    for _ in 0..crate::tasklet::KILLS {
        match Runtime::existing() {
            Some(runtime) if !runtime.is_ending() => runtime.end(above),
            // Asked for by what is dropped in the end.
            Some(runtime) if runtime.end.get() == End::Under => return,
            _ if above() => {}
            _ => return,
        }
    }
}

impl Runtime {
    fn end(&self, above: fn() -> bool) {
        self.end.set(End::Under);
        self.set_trap(0);
        // User code runs in each round, and may make what the next one ends.
        for _ in 0..crate::tasklet::KILLS {
            #[cfg(feature = "std")]
            drop(crate::thread::set_free());
            self.shut_down();
            self.give_up();
            let dropped = self.drop_what_main_has();
            #[cfg(feature = "std")]
            let dropped = crate::thread::end::let_go() | dropped;
            if !(above() | dropped | self.is_anybody_left()) {
                break;
            }
        }
        self.give_up();
        let main = self.main();
        // SAFETY: main is live: the thread's reference is released below.
        unsafe { self.ring_remove(main) };
        self.stand_down();
        // User code runs still, but whatever would make, run or wait for something is refused.
        #[cfg(feature = "std")]
        {
            crate::thread::end::close();
            crate::thread::detach(true);
        }
        above();
        // SAFETY: live tasks; what they have is moved out first.
        unsafe {
            (*main).clear(flag::ALIVE | flag::STARTED);
            for task in [main, self.nobody.get()] {
                let left = ((*task).slot.take(), (*task).extra.take());
                drop(left);
            }
        }
        #[cfg(feature = "std")]
        crate::thread::host_lock::leave();
        os::set_runtime(ptr::null());
        // SAFETY: the queue's reference to main and the thread's. The runtime is kept until
        // the last line.
        unsafe {
            self.channel_made();
            release(main);
            release(main);
        }
        self.ended.set(true);
        self.channel_gone();
    }

    /// What the host has put into main, and the callbacks. Answers whether there was anything.
    fn drop_what_main_has(&self) -> bool {
        // SAFETY: main is the running tasklet.
        let values = unsafe { crate::tasklet_local::drop_values(self.main()) };
        let (schedule, channel) = (self.on_schedule.take(), self.on_channel.take());
        let error = self.on_error.take();
        let any = values || schedule.is_some() || channel.is_some() || error.is_some();
        self.set_hook(HOOK_SCHEDULE | HOOK_CHANNEL, false);
        drop((schedule, channel, error));
        any
    }

    /// The thread ends inside a tasklet: its stack is about to go, and nobody can run
    /// safely any more. Or it ends with the process. Who comes later, with a handle, runs nobody.
    fn abandon(&self) {
        if self.end.replace(End::Over) == End::Over {
            return;
        }
        self.free.set(ptr::null_mut());
        if inside_tasklet() {
            log::warn!("a thread ended inside a tasklet: its other tasklets are abandoned");
        }
        #[cfg(feature = "std")]
        {
            mem::forget(crate::thread::set_free());
            crate::thread::end::abandon();
            crate::thread::detach(false);
            crate::thread::host_lock::leave();
        }
        self.set_hook(HOOK_ENDED, true);
    }
}

/// Called out of a signal handler: has this thread's running tasklet overflowed its stack,
/// when `address` faulted and the stack pointer was `sp`? If so, `write` gets a line that says
/// so. `sp` is 0 where it is not known.
#[cfg(feature = "std")]
pub(crate) fn report_overflow(address: usize, sp: usize, write: impl Fn(&[u8])) -> bool {
    /// A stack pointer that is farther below a stack has come there in another way.
    const FAR: usize = 64 * 1024 * 1024;
    /// What a frame touches is above its stack pointer, but for a red zone and what a call
    /// pushes.
    const NEAR: usize = 4 * 1024;
    let runtime = os::runtime();
    if runtime.is_null() {
        return false;
    }
    // SAFETY: this thread's runtime, interrupted at any point: plain reads of
    // fields that are always initialised.
    unsafe {
        let runtime = &*runtime;
        let task = &*runtime.current();
        let Some((stack, _)) = task.stack() else {
            return false;
        };
        // What does not fit is cut off.
        let mut more = heapless::String::<64>::new();
        if address >= stack.start {
            return false;
        }
        if stack.start - address > os::guard(runtime.settings.guard_size) {
            let stepped_over = (1..FAR).contains(&stack.start.wrapping_sub(sp));
            if !stepped_over || address < sp - NEAR {
                return false;
            }
            let _ = core::fmt::Write::write_fmt(
                &mut more,
                format_args!("; a frame went {} KiB beyond it", (stack.start - sp) / 1024),
            );
        }
        // One write, so that lines of several threads do not mix.
        let mut line = heapless::String::<320>::new();
        let _ = core::fmt::Write::write_fmt(
            &mut line,
            format_args!("hardswitch: {}\n", Overflow(task, &more)),
        );
        write(line.as_bytes());
        true
    }
}
