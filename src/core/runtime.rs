//! The runtime of an OS thread: its run queue, windows, slices, control blocks
//! and settings. It is made on first use, and shut down with the thread.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, OnceCell, RefCell, UnsafeCell};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::{mem, ptr};

use crate::core::above::{above, Above};
use crate::core::budgets::Runs;
use crate::core::deadlines::Deadlines;
use crate::core::extra::ErrorHandler;
use crate::core::hooks::{after, HOOK_ENDED, HOOK_INBOX, HOOK_LOCKED, HOOK_TRAPPED};
use crate::core::references::Tasklet;
use crate::core::run_queue::RunQueue;
use crate::core::settings::Settings;
use crate::core::slab::Slab;
use crate::core::table::{self, Link};
use crate::core::task::{flag, Task, Window};
use crate::core::value::Slot;
use crate::error::{Error, Result, StateError};
use crate::machine::arch::{
    exchange_in_memory, use_processor, Copying, EhGlobals, Exchange, FpEnv, STACK_ALIGN,
};
use crate::machine::fiber::Fibers;
use crate::machine::os;
use crate::machine::stack::own::StackPool;
use crate::machine::stack::slice::SliceStore;
use crate::machine::stack::Budget;

/// Called before each switch with the leaving (still current) and the next
/// tasklet. It may look, but what would switch fails with
/// [`StateError::RecursiveSchedule`]; a panic is logged and ignored.
pub type ScheduleCallback = Rc<dyn Fn(Option<&Tasklet>, &Tasklet)>;

/// Called before each channel operation with the channel's
/// [id](crate::Channel::id), the calling tasklet (the value to send is in its
/// transfer slot), whether it sends, and whether no tasklet waits at the other end.
/// It may look, but what would switch fails with
/// [`StateError::RecursiveSchedule`], and channel calls fail with
/// [`StateError::RecursiveChannel`]; a panic is logged and ignored.
pub type ChannelCallback = Rc<dyn Fn(usize, &Tasklet, bool, bool)>;

/// Everything that belongs to one OS thread. The fields of the hot paths come
/// first. `repr(C)`: debugger scripts read it.
#[repr(C)]
pub struct Runtime {
    /// The running tasklet.
    current: Cell<*mut Task>,
    pub queue: RunQueue,
    /// See [`after`].
    pub after: Cell<u32>,
    /// The callbacks that are set, the other work of switches, and the reasons that forbid
    /// them: `HOOK_*`. Other threads write two bits of it, [`HOOK_INBOX`] and
    /// [`HOOK_LOCK`](crate::core::hooks::HOOK_LOCK).
    pub hooks: AtomicU32,
    /// The C++ exception globals of this thread, or a stand-in: see
    /// [`exceptions`](crate::core::exceptions).
    pub eh: Cell<*mut EhGlobals>,
    // Not beside the queue's length: compilers would then change both as one double word, and the
    // load of it would wait for earlier stores that were not of a double word.
    pub switches: Cell<u64>,

    /// Not 0: every switch fails with `SwitchTrap`; see [`HOOK_TRAPPED`].
    trap: Cell<i32>,
    /// How many callbacks are running in which switching fails; see [`HOOK_LOCKED`].
    locked: Cell<u32>,
    /// The tasklet that is being switched to, while a schedule callback runs.
    pub next: Cell<*mut Task>,
    /// A tasklet that was left for good; released by the next arrival ([`after::LEFT`]).
    pub left: Cell<*mut Task>,
    /// Values that no tasklet will get; dropped by the next arrival ([`after::LOST`]).
    pub lost: RefCell<Vec<Slot>>,
    pub error: RefCell<Option<Error>>,
    /// What the port's routines are to copy, see [`Runtime::exchange`].
    exchange: Cell<Exchange>,

    main: Cell<*mut Task>,
    /// The tasklets inside `run`, outermost first; each holds a reference.
    pub watchdogs: RefCell<Vec<*mut Task>>,
    reap: RefCell<Vec<*mut Task>>,
    pub zombies: Cell<usize>,

    pub slices: SliceStore,
    pub stacks: StackPool,
    pub budget: Budget,
    windows: OnceCell<Box<[Window]>>,
    /// The address of the memory that the host lent for the windows.
    lent: Option<usize>,
    next_window: Cell<usize>,
    /// Bytes that eviction and restoring have copied.
    pub copied: Cell<u64>,

    pub slab: Slab,
    /// For debuggers, which can only look at memory.
    pub link: Link,
    pub fibers: Fibers,
    channels: Cell<usize>,
    /// How many of the channels are the library's own.
    private_channels: Cell<usize>,
    /// The thread has ended; the last object frees the runtime.
    ended: Cell<bool>,
    end: Cell<End>,

    pub thread_fp: Cell<FpEnv>,
    pub on_schedule: RefCell<Option<ScheduleCallback>>,
    pub on_channel: RefCell<Option<ChannelCallback>>,
    pub in_channel_callback: Cell<bool>,
    pub on_error: RefCell<Option<ErrorHandler>>,
    pub settings: Settings,
    /// The functions that the core calls on the floors above.
    pub above: &'static Above,
    thread_bottom: OnceCell<usize>,
    pub thread_id: u64,
    pub runs: Runs,
    pub deadlines: Deadlines,
    /// How many errors have been [thrown](crate::core::thrown) and not been told yet.
    pub thrown: Cell<usize>,
    /// When the running tasklet was switched to; with
    /// [`HOOK_STATS`](crate::core::hooks::HOOK_STATS).
    pub since: Cell<u64>,
    /// What selects throw dice with; never 0.
    pub dice: Cell<u64>,
    /// The first stand-ins of the tasklets that pump and let others run just now.
    pub pumping: RefCell<Vec<*mut Task>>,
    /// The running tasklet after the thread has ended: it only looks like one.
    nobody: UnsafeCell<Task>,
    /// Stands in for the C++ runtime's globals where there is none, or several.
    no_eh: UnsafeCell<EhGlobals>,
    /// The exception globals of all C++ runtimes that are known.
    pub words: RefCell<Vec<*mut EhGlobals>>,
}

/// How far the end of a thread has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Not,
    /// Its tasklets are killed, and what it keeps is dropped: user code runs.
    Under,
    /// No code of the thread runs any more.
    Over,
}

/// Numbers of threads; 0 is none.
static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

pub fn new_thread_id() -> u64 {
    NEXT_THREAD.fetch_add(1, Ordering::Relaxed)
}

impl Runtime {
    /// For debuggers: where `current` lies.
    pub const CURRENT: usize = mem::offset_of!(Runtime, current);

    /// The runtime of the calling thread.
    #[inline(always)]
    pub fn get<'a>() -> &'a Runtime {
        let runtime = os::runtime().cast::<Runtime>();
        if runtime.is_null() {
            return Runtime::made();
        }
        // SAFETY: the pointer is set when the runtime is made; the end of the thread takes it away
        // before the runtime is freed.
        unsafe { &*runtime }
    }

    /// The runtime of the calling thread, if it has one.
    pub fn existing<'a>() -> Option<&'a Runtime> {
        // SAFETY: the pointer is null, or that of a runtime which is not freed yet (see `get`).
        unsafe { os::runtime().cast::<Runtime>().as_ref() }
    }

    /// Out of line: the settings must not take room in the frames of callers, which become parts
    /// of slices.
    #[cold]
    #[inline(never)]
    fn made<'a>() -> &'a Runtime {
        (above().create)()
    }

    /// The runtime of a task.
    ///
    /// # Safety
    /// A live task.
    #[inline(always)]
    pub unsafe fn of<'a>(task: *mut Task) -> &'a Runtime {
        // SAFETY: the caller says that the task is live, and a runtime outlives its tasks.
        unsafe { &*(*task).runtime.cast::<Runtime>() }
    }

    /// A runtime that is not yet that of a thread, without tasklets.
    pub fn new(settings: Settings, memory: Option<usize>, end: End) -> Runtime {
        use_processor();
        Runtime {
            current: Cell::new(ptr::null_mut()),
            queue: RunQueue::new(),
            after: Cell::new(0),
            hooks: AtomicU32::new(0),
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
            slab: Slab::new(),
            link: Link::new(),
            fibers: Fibers::new(),
            channels: Cell::new(0),
            private_channels: Cell::new(0),
            ended: Cell::new(false),
            end: Cell::new(end),
            thread_fp: Cell::new(FpEnv::DEFAULT),
            on_schedule: RefCell::new(None),
            on_channel: RefCell::new(None),
            in_channel_callback: Cell::new(false),
            on_error: RefCell::new(None),
            settings,
            above: above(),
            thread_bottom: OnceCell::new(),
            thread_id: os::thread_id(new_thread_id),
            runs: Runs::new(),
            deadlines: Deadlines::new(),
            thrown: Cell::new(0),
            since: Cell::new(0),
            dice: Cell::new(0x9E37_79B9_7F4A_7C15),
            pumping: RefCell::new(Vec::new()),
            nobody: UnsafeCell::new(Task::new(ptr::null(), flag::MAIN)),
            no_eh: UnsafeCell::new(EhGlobals::NONE),
            words: RefCell::new(Vec::new()),
        }
    }

    /// The thread has ended: no other hook matters any more.
    pub fn end_hooks(&self) {
        self.hooks.store(HOOK_ENDED, Ordering::Relaxed);
    }

    /// Which hooks are set: one plain load.
    #[inline(always)]
    pub fn hooks(&self) -> u32 {
        self.hooks.load(Ordering::Relaxed)
    }

    /// Sets or clears one of them; says whether it was set.
    pub fn set_hook(&self, hook: u32, on: bool) -> bool {
        let before = if on {
            self.hooks.fetch_or(hook, Ordering::Relaxed)
        } else {
            self.hooks.fetch_and(!hook, Ordering::Relaxed)
        };
        before & hook != 0
    }

    /// Writes the stand-in for a C++ runtime's globals, and returns its address.
    pub fn stand_in(&self, globals: EhGlobals) -> *mut EhGlobals {
        // SAFETY: a cell of our own.
        unsafe { *self.no_eh.get() = globals };
        self.no_eh.get()
    }

    /// Sets the level of the switch trap; returns the old one.
    pub fn set_trap(&self, level: i32) -> i32 {
        self.set_hook(HOOK_TRAPPED, level != 0);
        self.trap.replace(level)
    }

    pub fn trap(&self) -> i32 {
        self.trap.get()
    }

    /// Calls `callback`, in which switching fails.
    pub fn locked<R>(&self, callback: impl FnOnce() -> R) -> R {
        self.locked.set(self.locked.get() + 1);
        self.set_hook(HOOK_LOCKED, true);
        // What is left to do is for the tasklet that arrives, not for operations in the callback.
        let after = self.after.replace(0);
        let result = callback();
        self.later(after);
        self.locked.set(self.locked.get() - 1);
        self.set_hook(HOOK_LOCKED, self.locked.get() != 0);
        result
    }

    /// Leaves something to do for the tasklet that arrives next: a bit of [`after`].
    #[inline(always)]
    pub fn later(&self, what: u32) {
        // SAFETY: a cell of our own. All of the word is stored, as in `Task::set`.
        unsafe { ptr::write_volatile(self.after.as_ptr(), self.after.get() | what) };
    }

    /// Keeps a value that no tasklet will get until one can drop it.
    pub fn lose(&self, value: Slot) {
        if !value.is_empty() {
            self.lost.borrow_mut().push(value);
            self.later(after::LOST);
        }
    }

    /// Has another thread sent something?
    #[inline(always)]
    pub fn has_messages(&self) -> bool {
        self.hooks() & HOOK_INBOX != 0
    }

    #[inline(always)]
    pub fn current(&self) -> *mut Task {
        self.current.get()
    }

    pub fn main(&self) -> *mut Task {
        self.main.get()
    }

    /// The tasklet that a running schedule callback announces.
    pub fn is_next(&self, task: *mut Task) -> bool {
        self.hooks() & HOOK_LOCKED != 0 && self.next.get() == task
    }

    /// Makes `task` the running tasklet and the head of the queue: a switch.
    #[inline(always)]
    pub fn set_running(&self, task: *mut Task) {
        self.switches.set(self.switches.get() + 1);
        self.current.set(task);
        self.queue.turn_to(task);
    }

    /// The tasklet to wake when none can run: that of the innermost `run`, else main.
    pub fn wakeup(&self) -> *mut Task {
        match self.watchdogs.borrow().last() {
            Some(&task) => task,
            None => self.main.get(),
        }
    }

    /// A window for a new sliced tasklet: the one with the fewest members, in
    /// turn among equals, so that partners that are made one after the other
    /// come to lie in different windows.
    pub fn assign_window(&self) -> Result<*const Window> {
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
                // SAFETY: the caller of `Settings::apply_in` lends this memory for as long as the
                // runtime lives; `apply_in` has checked that all windows fit.
                unsafe { Window::lent(bottom, bottom + settings.window_size, flag::of_member) }
            });
            return Ok(self.windows.get_or_init(|| windows.collect()));
        }
        let bytes = settings.windows * settings.window_size;
        self.budget.take(bytes)?;
        let made = (0..settings.windows)
            .map(|_| Window::mapped(settings.window_size, settings.guard_size, flag::of_member))
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
    pub fn thread_bottom(&self) -> usize {
        *self.thread_bottom.get_or_init(os::thread_stack_bottom)
    }

    /// Why the operation that just returned failed, if it did.
    pub fn take_failure(&self) -> Option<Error> {
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
    pub fn exchange(&self, save: usize, out: Copying, into: Copying, sp: usize) -> usize {
        self.count_copied(&out, &into);
        // SAFETY: a later exchange is noted only when this one has been done.
        unsafe { exchange_in_memory(save, out, into, sp, self.exchange_memory()) }
    }

    /// Where [`Exchange::tagged`] may point to.
    #[inline(always)]
    pub fn exchange_memory(&self) -> *mut Exchange {
        self.exchange.as_ptr()
    }

    #[inline(always)]
    pub fn count_copied(&self, out: &Copying, into: &Copying) {
        let copied = self.copied.get() + (out.len + into.len) as u64;
        self.copied.set(copied);
    }

    pub fn windows(&self) -> &[Window] {
        self.windows.get().map_or(&[], |made| made)
    }

    /// A control block with one reference, the caller's.
    ///
    /// # Errors
    /// [`Error::MemoryCeiling`], [`Error::OutOfMemory`]; [`StateError::ThreadEnding`].
    #[inline]
    pub fn new_task(&self, flags: u32) -> Result<*mut Task> {
        if self.slab.is_full() {
            self.grow_slab()?;
        }
        // SAFETY: the slab is not full: it has grown if it was.
        Ok(unsafe { self.slab.take(flags) })
    }

    #[cold]
    #[inline(never)]
    fn grow_slab(&self) -> Result<()> {
        if self.hooks() & HOOK_ENDED != 0 {
            return Err(StateError::ThreadEnding.into());
        }
        self.slab
            .grow(&self.budget, || Task::new(ptr::from_ref(self).cast(), 0))?;
        self.link.show(self.slab.chunks());
        Ok(())
    }

    /// Gives a control block back. What it owned has been moved out.
    ///
    /// # Safety
    /// `task` is of this runtime, and there is no reference to it any more.
    #[inline]
    pub unsafe fn free_task(&self, task: *mut Task) {
        // SAFETY: `task` is a cell of this slab, and there is no other reference to it.
        unsafe { self.slab.give(task) };
        self.free_if_unused();
    }

    pub fn channel_made(&self) {
        self.channels.set(self.channels.get() + 1);
    }

    pub fn channel_gone(&self) {
        self.channels.set(self.channels.get() - 1);
        self.free_if_unused();
    }

    /// Channels that exist and are not the library's own.
    pub fn public_channels(&self) -> usize {
        self.channels.get() - self.private_channels.get()
    }

    /// Counts a channel of the library's own, or (-1) its end.
    pub fn private_channels(&self, delta: isize) {
        let count = self.private_channels.get().wrapping_add_signed(delta);
        self.private_channels.set(count);
    }

    /// Keeps a forgotten tasklet, with its reference, until it can be killed.
    pub fn reap_later(&self, task: *mut Task) {
        self.reap.borrow_mut().push(task);
        self.later(after::REAP);
    }

    /// The tasklets that wait to be killed.
    pub fn take_reaped(&self) -> Vec<*mut Task> {
        mem::take(&mut self.reap.borrow_mut())
    }

    /// Handles of all tasklets, main first.
    pub fn all_tasklets(&self) -> Vec<Tasklet> {
        let mut all = Vec::with_capacity(self.slab.live());
        // SAFETY: a cell in use is a live task.
        self.slab
            .each(|task| all.push(unsafe { Tasklet::from_ref(task) }));
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
        self.slab.forget_free();
        if self.ended.get() && self.slab.live() == 0 && self.channels.get() == 0 {
            // SAFETY: nothing refers to the runtime: the thread let go of it
            // (`ended`), and tasks and channels are gone.
            unsafe { Runtime::free(self as *const Runtime as *mut Runtime) };
        }
    }

    unsafe fn free(runtime: *mut Runtime) {
        // SAFETY: it was allocated as a box when it was made; the caller says that nothing refers
        // to it any more.
        unsafe {
            table::remove_runtime(runtime);
            let runtime = Box::from_raw(runtime);
            runtime.slices.flush(&runtime.budget);
        }
    }

    /// Is the thread ending, or past its end?
    pub fn is_ending(&self) -> bool {
        self.end.get() != End::Not
    }

    /// Is the running tasklet one that its ending thread kills, until it ends or has used
    /// up its kills?
    pub fn is_dying(&self) -> bool {
        self.end.get() == End::Under && self.current() != self.main()
    }

    pub fn end(&self) -> End {
        self.end.get()
    }

    /// Notes how far the end of the thread has come; returns the step before.
    pub fn set_end(&self, end: End) -> End {
        self.end.replace(end)
    }

    /// The thread lets go of the runtime: the last of its objects frees it, or this call.
    pub fn let_go(&self) {
        self.ended.set(true);
        self.channel_gone();
    }

    /// The first tasklet of the thread, which runs.
    pub fn set_main(&self, main: *mut Task) {
        self.main.set(main);
        self.current.set(main);
    }

    /// The task that stands for the thread when it is past its end.
    pub fn nobody(&self) -> *mut Task {
        self.nobody.get()
    }
}
