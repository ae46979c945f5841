//! Tasklets: the control block and the handle.
//!
//! A [`Task`] is 128 bytes in a slab of its runtime: queue links, the transfer
//! slot, where its stack is. Handles, the run queue, a channel's queue and the
//! stack of nested `run`s count references to it.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use core::any::Any;
use core::fmt;
use core::marker::PhantomData;
use core::mem;
use core::ops::Range;
use core::panic::Location;
use core::ptr;

use crate::channel::Core;
use crate::core::exceptions::Exceptions;
use crate::core::measure::{self, Measured, Site, TaskletStats};
use crate::core::runtime::{Runtime, HOOK_ENDED, HOOK_STATS};
use crate::core::scheduler::ErrorHandler;
use crate::core::spill::{self, Spilled};
use crate::core::thrown::{self, Pending};
use crate::core::value::{Slot, TaskSlot, Value};
use crate::core::{scheduler, transfer};
use crate::error::{Error, Result, StateError};
use crate::machine::arch::{self, FpEnv};
use crate::machine::os;
use crate::machine::sanitizer;
use crate::machine::stack::own::OwnStack;
use crate::machine::stack::slice::Buffer;
use crate::machine::stack::window::Window;
use crate::select;

/// Flags of a [`Task`].
pub(crate) mod flag {
    /// It has a function to run: bound or more.
    pub(crate) const BOUND: u32 = 1 << 0;
    /// Prepared to run or running: Stackless' "has a frame".
    pub(crate) const ALIVE: u32 = 1 << 1;
    /// It has run: its stack holds live frames.
    pub(crate) const STARTED: u32 = 1 << 2;
    /// Linked in the run queue.
    pub(crate) const QUEUED: u32 = 1 << 3;
    /// Linked in a channel's queue, as sender or as receiver.
    pub(crate) const SENDING: u32 = 1 << 4;
    pub(crate) const RECEIVING: u32 = 1 << 5;
    /// In a select, which has stand-ins on channels: `next` is the first of them.
    pub(crate) const SELECTING: u32 = 1 << 17;
    pub(crate) const BLOCKED: u32 = SENDING | RECEIVING | SELECTING;
    pub(crate) const MAIN: u32 = 1 << 6;
    /// It lives in a window (else on a stack of its own, or it is main).
    pub(crate) const SLICED: u32 = 1 << 7;
    /// Its stack bytes are in the slice, not in the window. In one byte with [`SPECIAL`]: every
    /// switch tests them together.
    pub(crate) const AWAY: u32 = 1 << 8;
    pub(crate) const BLOCK_TRAP: u32 = 1 << 9;
    pub(crate) const ATOMIC: u32 = 1 << 10;
    pub(crate) const IGNORE_NESTING: u32 = 1 << 11;
    /// It refused to die; kept forever.
    pub(crate) const ZOMBIE: u32 = 1 << 12;
    /// Its C++ exception globals are saved in `Extra`.
    pub(crate) const EH_SAVED: u32 = 1 << 13;
    /// It has floating-point control words of its own.
    pub(crate) const FP_ENV: u32 = 1 << 14;
    /// A slab cell that is free.
    pub(crate) const FREE: u32 = 1 << 15;
    /// It runs, or was parked, on a segment (see `spill::grow`).
    pub(crate) const SEGMENT: u32 = 1 << 16;
    /// No tasklet, but the stand-in of one in a channel's queue (see `select`).
    pub(crate) const STAND_IN: u32 = 1 << 18;
    /// A stand-in that has met a partner.
    pub(crate) const MET: u32 = 1 << 19;
    /// The first stand-in of a select whose time is up.
    pub(crate) const EXPIRED: u32 = 1 << 20;

    /// While `BOUND`: its function is a [`Body`](super::Body), which may leave the thread.
    #[cfg(feature = "std")]
    pub(crate) const SENDABLE: u32 = 1 << 21;
    /// A stand-in that is as good as met: its partner has the [claim](crate::select::claim).
    pub(crate) const HELD: u32 = 1 << 22;
    /// The first stand-in of a select that must begin anew.
    pub(crate) const ANEW: u32 = 1 << 23;
    /// Of a held one: by an operation in the channel callback of another one, which may hold what is held already.
    pub(crate) const HELD_INSIDE: u32 = 1 << 24;

    /// Code that is not its own runs on its stack: see [`thrown`](crate::core::thrown).
    pub(crate) const HOST: u32 = 1 << 25;
    /// It lives in a window that has a canary instead of a guard.
    pub(crate) const LENT: u32 = 1 << 28;

    /// A switch from or to it has more to do than to change stacks.
    pub(crate) const SPECIAL: u32 = EH_SAVED | FP_ENV;
}

/// What few tasklets need.
pub(crate) struct Extra {
    pub(crate) name: Option<Box<str>>,
    pub(crate) exceptions: Exceptions,
    pub(crate) fp: FpEnv,
    /// Size of the own stack in bytes; 0 is the default of the settings.
    pub(crate) stack_size: usize,
    /// Frames that spills moved to the heap, and how many bytes they are.
    pub(crate) spilled: *mut Spilled,
    pub(crate) spilled_bytes: usize,
    /// With `SEGMENT`: the lowest address that is needed of the window, and the
    /// bounds of the segment.
    pub(crate) low: usize,
    pub(crate) segment: Range<usize>,
    /// Its values of [`Local`](crate::Local) keys.
    pub(crate) locals: crate::tasklet_local::Values,
    /// Its number in `sync`; 0: it has none yet. Not a value like those: their destructors
    /// need it, in whatever order.
    #[cfg(feature = "std")]
    pub(crate) number: u64,
    #[cfg_attr(not(any(feature = "asan", feature = "tsan")), allow(dead_code))]
    pub(crate) fiber: sanitizer::Fiber,
    pub(crate) user_data: Option<Rc<dyn Any>>,
    pub(crate) on_error: Option<ErrorHandler>,
    pub(crate) measured: Option<Box<Measured>>,
    pub(crate) pending: Pending,
}

/// The control block. `repr(C)`: debugger scripts read it.
#[repr(C, align(128))]
pub(crate) struct Task {
    /// Address of the save area while parked.
    pub(crate) sp: usize,
    pub(crate) flags: u32,
    pub(crate) refs: u32,
    /// Neighbours in the run queue (a ring) or in a channel's queue (a list).
    pub(crate) next: *mut Task,
    pub(crate) prev: *mut Task,
    pub(crate) slot: TaskSlot,
    /// The channel it is blocked on.
    pub(crate) channel: *const Core,
    /// The window it belongs to (sliced, bound).
    pub(crate) window: *const Window,
    pub(crate) buffer: Buffer,
    pub(crate) own: Option<Box<OwnStack>>,
    /// Below this its stack pointer must not be when it switches; see
    /// [`stack::limit`](crate::machine::stack::limit). 0 for main, whose stack is the thread's.
    pub(crate) limit: usize,
    pub(crate) runtime: *const Runtime,
    pub(crate) extra: Option<Box<Extra>>,
    /// How often it was switched to.
    pub(crate) switches: u64,
}

const _: () = assert!(
    mem::size_of::<Task>() == 128,
    "a control block is one or two cache lines"
);

/// What is known of a body without its type. `repr(C)`: what to run comes first, for the port.
#[repr(C)]
struct Newborn {
    run: arch::First<Task>,
    drop: unsafe fn(*const u8),
    /// Bytes from the body to the top of the stack.
    reach: usize,
}

/// A function that may be sent to another thread before it has started.
#[cfg(feature = "std")]
pub(crate) type Body = Box<dyn FnOnce() -> Result<()> + Send>;

/// The body of `f`.
#[cfg(feature = "std")]
pub(crate) fn body<F, R>(f: F) -> Body
where
    F: FnOnce() -> R + Send + 'static,
    R: Outcome,
{
    Box::new(move || f().into_result())
}

struct EntryOf<F, R>(PhantomData<(F, R)>);

impl<F: FnOnce() -> R + 'static, R: Outcome> EntryOf<F, R> {
    const REACH: usize = mem::size_of::<F>().next_multiple_of(arch::STACK_ALIGN);

    /// Bytes of the image of a newborn.
    const NEEDED: usize = Self::REACH + arch::NEWBORN;

    const ENTRY: &'static Newborn = &Newborn {
        run: run_body::<F, R>,
        drop: drop_body::<F>,
        reach: Self::REACH,
    };
}

/// Bodies up to this size lie on the stack itself, larger ones in a box.
const INLINE_BODY: usize = 256;

unsafe fn drop_body<F>(body: *const u8) {
    // SAFETY: a body that never ran, moved out once; a slice need not be
    // aligned for it.
    drop(unsafe { body.cast::<F>().read_unaligned() });
}

/// The first frame of every tasklet.
unsafe extern "C" fn run_body<F, R>(task: *mut Task, body: *mut u8) -> usize
where
    F: FnOnce() -> R + 'static,
    R: Outcome,
{
    // SAFETY: `task` runs for the first time, on its stack; `body` is an F
    // that nobody else moves out (BOUND is cleared by `started`).
    unsafe {
        let runtime = &*(*task).runtime;
        sanitizer::arrived(runtime);
        (*task).started();
        // What ends the tasklet goes into its slot, not into this frame, which
        // is part of every slice.
        os::catch_into(task, keep_error, || {
            if let Err(error) = transfer::arrive_unit(runtime, task) {
                drop_body::<F>(body);
                keep_error(task, error);
            } else if let Err(error) = body.cast::<F>().read()().into_result() {
                keep_error(task, error);
            }
        });
        if (*task).extra.is_some() {
            end_locals(task);
        }
        sanitizer::left_for_good(runtime, scheduler::end(task))
    }
}

/// Drops what the ending tasklet keeps in [`Local`](crate::Local)s. A panic there
/// ends it as one of its body would, unless an error did already.
#[cold]
#[inline(never)]
unsafe fn end_locals(task: *mut Task) {
    // SAFETY: the running tasklet. Its error is put aside: destructors may switch.
    unsafe {
        let error = (*task).slot.take();
        os::catch_into(task, keep_error, || {
            crate::tasklet_local::drop_values(task);
        });
        #[cfg(feature = "std")]
        {
            // The next function is somebody else.
            (*task).extra().number = 0;
        }
        if !error.is_empty() {
            fill_last(task, error);
        }
        // What it was never told ends it, unless something else has.
        if let Some(error) = thrown::at_end(&*(*task).runtime, task) {
            match (*task).slot.is_bomb() {
                true => scheduler::lose(&*(*task).runtime, Slot::bomb(error)),
                false => keep_error(task, error),
            }
        }
    }
}

/// Keeps the error that ended the running tasklet for [`scheduler::end`].
#[cold]
#[inline(never)]
fn keep_error(task: *mut Task, error: Error) {
    // SAFETY: the running tasklet; its slot was claimed on arrival.
    unsafe { fill_last(task, Slot::bomb(error)) };
}

/// Puts the error that ends the running tasklet into its slot. What somebody put there by hand
/// since is dropped before, in its context; and what those destructors put there. They go round
/// ten times; what is left then is dropped by who arrives next.
unsafe fn fill_last(task: *mut Task, error: Slot) {
    // SAFETY: the caller's promise.
    unsafe {
        for _ in 0..KILLS {
            let left = (*task).slot.take();
            if left.is_empty() {
                break;
            }
            scheduler::contain("a destructor in a tasklet that ended", || drop(left));
        }
        scheduler::lose(&*(*task).runtime, (*task).slot.put(error));
    }
}

/// What the function of a tasklet may return.
pub trait Outcome {
    /// An error goes the way of an uncaught exception; `Error::Exit` is silent.
    fn into_result(self) -> Result<()>;
}

impl Outcome for () {
    fn into_result(self) -> Result<()> {
        Ok(())
    }
}

// For this one error type only: so `Ok(())` at the end of a closure needs no
// annotation.
impl Outcome for Result<()> {
    fn into_result(self) -> Result<()> {
        self
    }
}

impl Task {
    pub(crate) fn new(runtime: *const Runtime, flags: u32) -> Task {
        Task {
            sp: 0,
            flags,
            refs: 1,
            next: ptr::null_mut(),
            prev: ptr::null_mut(),
            slot: TaskSlot::EMPTY,
            channel: ptr::null(),
            window: ptr::null(),
            buffer: Buffer::NONE,
            own: None,
            limit: 0,
            runtime,
            extra: None,
            switches: 0,
        }
    }

    /// Of a control block that is given back: is all that it owned gone?
    pub(crate) fn is_blank(&self) -> bool {
        self.slot.is_empty()
            && self.channel.is_null()
            && self.window.is_null()
            && self.buffer.ptr().is_null()
            && self.own.is_none()
            && self.extra.is_none()
            && self.next.is_null()
            && self.prev.is_null()
    }

    #[inline(always)]
    pub(crate) fn is(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    pub(crate) fn has_all(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, flags: u32) {
        self.write_flags(self.flags | flags);
    }

    #[inline(always)]
    pub(crate) fn clear(&mut self, flags: u32) {
        self.write_flags(self.flags & !flags);
    }

    /// The flags `old` go, `new` come: one store.
    #[inline(always)]
    pub(crate) fn exchange(&mut self, old: u32, new: u32) {
        self.write_flags(self.flags & !old | new);
    }

    /// Stores all of the word. Left alone the compiler stores the one byte that
    /// changes, and the next test of the word, an instant later, has to wait until
    /// that byte is in the cache: the store buffer cannot serve it.
    #[inline(always)]
    fn write_flags(&mut self, flags: u32) {
        // SAFETY: a field of our own.
        unsafe { ptr::write_volatile(&mut self.flags, flags) };
    }

    /// Neither queued nor blocked.
    pub(crate) fn floating(&self) -> bool {
        !self.is(flag::QUEUED | flag::BLOCKED)
    }

    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_with(|| {
            Box::new(Extra {
                name: None,
                exceptions: Exceptions::NONE,
                fp: FpEnv::DEFAULT,
                stack_size: 0,
                spilled: spill::NOTHING,
                spilled_bytes: 0,
                low: 0,
                segment: 0..0,
                locals: crate::tasklet_local::Values::new(),
                #[cfg(feature = "std")]
                number: 0,
                fiber: sanitizer::Fiber::NEW,
                user_data: None,
                on_error: None,
                measured: None,
                pending: Pending::NONE,
            })
        })
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.extra.as_ref()?.name.as_deref()
    }

    /// Top of the stack it runs on; 0 for main and for what has none.
    pub(crate) fn stack_top(&self) -> usize {
        if let Some(own) = &self.own {
            own.memory.top()
        } else if !self.window.is_null() {
            // SAFETY: windows live as long as their runtime.
            unsafe { (*self.window).top }
        } else {
            0
        }
    }

    /// The stack that it runs on, and what to call it; `None` for main and for what has none.
    pub(crate) fn stack(&self) -> Option<(Range<usize>, &'static str)> {
        match (&self.extra, &self.own) {
            (Some(extra), _) if self.is(flag::SEGMENT) => Some((extra.segment.clone(), "segment")),
            (_, Some(own)) => Some((own.memory.bottom()..own.memory.top(), "own stack")),
            _ if self.window.is_null() => None,
            // SAFETY: windows live as long as their runtime.
            _ => unsafe { Some(((*self.window).bottom..(*self.window).top, "window")) },
        }
    }

    /// Is its stack pointer so low that no save area fits? Exactly, for the caller's frame.
    #[inline(always)]
    pub(crate) unsafe fn is_low(this: *const Task) -> bool {
        // SAFETY: the caller says that it is a live task.
        unsafe { arch::below::<{ mem::offset_of!(Task, limit) }>(this.cast()) }
    }

    /// Ends the process if the save area at `sp`, or whatever lies there, is no more on the
    /// stack that the tasklet runs on: a frame has stepped over the guard, or there is none.
    #[inline(always)]
    pub(crate) fn check_room(&self, sp: usize) {
        if sp < self.limit {
            self.check_exactly(sp);
        }
    }

    #[cold]
    #[inline(never)]
    fn check_exactly(&self, sp: usize) {
        // The limit is a save area higher.
        if sp < self.limit - arch::SAVE_AREA {
            self.overflowed();
        }
    }

    /// Memory is damaged: stop.
    #[cold]
    pub(crate) fn overflowed(&self) -> ! {
        os::fatal(format_args!("{}", Overflow(self, "")))
    }

    /// Bytes of live stack while it is parked; 0 for main.
    pub(crate) fn live_stack(&self) -> usize {
        match self.stack_top() {
            0 => 0,
            top => top - self.low(self.sp),
        }
    }

    /// Gives stack or slice and window back. The tasklet is not on them.
    ///
    /// # Safety
    /// `task` is not alive and not the running tasklet.
    pub(crate) unsafe fn reclaim(task: *mut Task) {
        // SAFETY: the caller's promise; nothing refers to the memory given back.
        unsafe {
            let runtime = &*(*task).runtime;
            sanitizer::gone(task);
            if let Some(own) = (*task).own.take() {
                // So it has no window.
                return runtime.stacks.give(own, &runtime.budget);
            }
            runtime.slices.give(&mut (*task).buffer, &runtime.budget);
            let window = mem::replace(&mut (*task).window, ptr::null());
            if !window.is_null() {
                (*window).members.set((*window).members.get() - 1);
            }
            (*task).clear(flag::AWAY | flag::LENT);
        }
    }

    /// What a bound tasklet that has not started will run, and where its body lies now.
    unsafe fn newborn(&self) -> (&'static Newborn, *const u8) {
        // SAFETY: BOUND: the image was written; entries are constants.
        unsafe {
            let image = if self.is(flag::AWAY) {
                self.buffer.ptr().cast_const()
            } else {
                self.sp as *const u8
            };
            let entry = &*arch::newborn_entry(image).cast::<Newborn>();
            (entry, image.add(self.stack_top() - entry.reach - self.sp))
        }
    }

    /// Takes its function away from a tasklet that has not started, and what that lies
    /// on: it is neither bound nor alive then.
    ///
    /// # Safety
    /// `task` has not started, and is in no queue.
    unsafe fn unbind(task: *mut Task) -> Option<Unbound> {
        // SAFETY: the flag says that the body is there; it is moved out once.
        unsafe {
            if !(*task).is(flag::BOUND) {
                return None;
            }
            let (entry, body) = (*task).newborn();
            sanitizer::gone(task);
            (*task).clear(flag::BOUND | flag::ALIVE | flag::AWAY | flag::LENT);
            let ground = Ground {
                own: (*task).own.take(),
                buffer: mem::replace(&mut (*task).buffer, Buffer::NONE),
                window: mem::replace(&mut (*task).window, ptr::null()),
                runtime: (*task).runtime,
            };
            Some(Unbound {
                drop: entry.drop,
                body,
                _ground: ground,
            })
        }
    }

    /// Writes the image of a newborn that will run `f`.
    ///
    /// # Safety
    /// `task` is neither bound nor alive.
    unsafe fn bind<F, R>(task: *mut Task, f: F) -> Result<()>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        if (mem::size_of::<F>() > INLINE_BODY || mem::align_of::<F>() > arch::STACK_ALIGN)
            && !is_boxed::<F>()
        {
            let boxed: Box<dyn FnOnce() -> Result<()>> = Box::new(move || f().into_result());
            // SAFETY: handed on.
            return unsafe { Task::bind(task, boxed) };
        }
        // SAFETY: handed on.
        unsafe {
            let place = Task::take_stack(task, EntryOf::<F, R>::NEEDED)?;
            Task::write_image::<F, R>(task, place, f);
        }
        Ok(())
    }

    /// Takes a stack, or a slice of a window, for an image of `needed` bytes. Returns
    /// the top of the stack, and what to add to an address on it to get to the image.
    ///
    /// # Safety
    /// `task` is neither bound nor alive.
    #[inline(always)]
    unsafe fn take_stack(task: *mut Task, needed: usize) -> Result<(usize, isize)> {
        // SAFETY: the task is ours to change.
        unsafe {
            let runtime = &*(*task).runtime;
            if (*task).is(flag::SLICED) {
                let window = runtime.assign_window()?;
                if needed > (*window).size() / 2 {
                    return Err(Error::StackSize((*window).size()));
                }
                runtime
                    .slices
                    .fit(&mut (*task).buffer, needed, &runtime.budget)?;
                (*window).members.set((*window).members.get() + 1);
                (*task).window = window;
                (*task).limit = (*window).limit;
                (*task).set((*window).newborn);
                let top = (*window).top;
                let image = (*task).buffer.ptr() as usize;
                Ok((top, image.wrapping_sub(top - needed) as isize))
            } else {
                let size = match &(*task).extra {
                    Some(extra) if extra.stack_size != 0 => extra.stack_size,
                    _ => runtime.stacks.size,
                };
                let own = runtime.stacks.take(size, &runtime.budget)?;
                let top = own.memory.top() & !(arch::STACK_ALIGN - 1);
                (*task).limit = own.limit;
                (*task).own = Some(own);
                Ok((top, 0))
            }
        }
    }

    /// Writes the image of a newborn that will run `f`.
    ///
    /// # Safety
    /// `(top, delta)` is what [`take_stack`](Task::take_stack) has just answered for
    /// the image of this function.
    #[inline(always)]
    unsafe fn write_image<F, R>(task: *mut Task, (top, delta): (usize, isize), f: F)
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        // SAFETY: the image lies in memory that was just taken for it, `NEEDED`
        // bytes below the top.
        unsafe {
            let body = top - EntryOf::<F, R>::REACH;
            (body.wrapping_add_signed(delta) as *mut F).write_unaligned(f);
            let entry = ptr::from_ref(EntryOf::<F, R>::ENTRY).cast();
            (*task).sp = arch::write_newborn(body, delta, entry, task as usize);
            (*task).set(flag::BOUND);
        }
    }

    /// Moves the function out of a bound tasklet, and gives its stack back: it is
    /// neither bound nor alive then.
    ///
    /// # Safety
    /// `BOUND` and `SENDABLE`; in no queue.
    #[cfg(feature = "std")]
    pub(crate) unsafe fn take_body(task: *mut Task) -> Body {
        // SAFETY: the flags say that a `Body` is there that never ran; it is moved
        // out once.
        unsafe {
            let body = (*task).newborn().1.cast::<Body>().read_unaligned();
            (*task).clear(flag::BOUND | flag::ALIVE | flag::SENDABLE);
            Task::reclaim(task);
            body
        }
    }

    /// Binds `body`, if there is a stack to be had; else it stays where it is.
    ///
    /// # Safety
    /// `task` is neither bound nor alive.
    #[cfg(feature = "std")]
    pub(crate) unsafe fn put_body(task: *mut Task, body: &mut Option<Body>) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe {
            if body.is_some() {
                let place = Task::take_stack(task, EntryOf::<Body, Result<()>>::NEEDED)?;
                if let Some(body) = body.take() {
                    Task::write_image::<Body, Result<()>>(task, place, body);
                }
                (*task).set(flag::SENDABLE);
            }
        }
        Ok(())
    }

    /// The tasklet is about to run for the first time: the body is its own
    /// to drop from now on.
    #[inline(always)]
    pub(crate) fn started(&mut self) {
        self.write_flags(self.flags & !flag::BOUND | flag::STARTED);
    }
}

/// The words for a stack overflow of a tasklet, and more of them.
pub(crate) struct Overflow<'a>(pub(crate) &'a Task, pub(crate) &'a str);

impl fmt::Display for Overflow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overflow(task, more) = self;
        let unnamed = if task.is(flag::MAIN) {
            "main"
        } else {
            "(unnamed)"
        };
        let (stack, kind) = task.stack().unwrap_or((0..0, "stack"));
        write!(
            f,
            "stack overflow in tasklet '{}': it used up its {kind} of {} KiB{more}",
            task.name().unwrap_or(unnamed),
            stack.len() / 1024
        )
    }
}

/// A function that will not run, and what it lies on. To drop it is to run user code: what
/// the function owns may use the tasklet again, so by then that is in order.
struct Unbound {
    drop: unsafe fn(*const u8),
    body: *const u8,
    /// Goes after the body, also when that panics.
    _ground: Ground,
}

impl Drop for Unbound {
    fn drop(&mut self) {
        // SAFETY: it never ran, and is moved out once.
        unsafe { (self.drop)(self.body) };
    }
}

/// A stack, or a slice and a place in a window, given back when dropped.
struct Ground {
    own: Option<Box<OwnStack>>,
    buffer: Buffer,
    window: *const Window,
    runtime: *const Runtime,
}

impl Drop for Ground {
    fn drop(&mut self) {
        // SAFETY: nothing refers to it any more; the tasklet that it was of, or its
        // handle, keeps the runtime.
        unsafe {
            let runtime = &*self.runtime;
            if let Some(own) = self.own.take() {
                return runtime.stacks.give(own, &runtime.budget);
            }
            runtime.slices.give(&mut self.buffer, &runtime.budget);
            if !self.window.is_null() {
                let members = &(*self.window).members;
                members.set(members.get() - 1);
            }
        }
    }
}

fn is_boxed<F: 'static>() -> bool {
    core::any::TypeId::of::<F>() == core::any::TypeId::of::<Box<dyn FnOnce() -> Result<()>>>()
}

/// One reference less.
///
/// # Safety
/// The caller owns the reference, and user code may run now: with the last
/// reference the transfer slot is dropped, and a tasklet that is alive is killed.
#[inline]
pub(crate) unsafe fn release(task: *mut Task) {
    // SAFETY: a counted reference keeps the task's cell.
    unsafe {
        (*task).refs -= 1;
        if (*task).refs == 0 {
            release_last::<false>(task);
        }
    }
}

/// How often a forgotten tasklet is killed before it is given up.
pub(crate) const KILLS: u32 = 10;

/// `CONTAIN`: no panic of a user's code comes out.
#[inline(never)]
unsafe fn release_last<const CONTAIN: bool>(task: *mut Task) {
    // SAFETY: nobody else refers to the task; while it is killed the count is
    // one, ours.
    unsafe {
        if CONTAIN && (*task).is(flag::STARTED | flag::BOUND) {
            return scheduler::contain(LAST, || release_last::<false>(task));
        }
        // Again, if code that ran as it ended has bound it anew, and let go of it.
        while (*task).is(flag::STARTED | flag::BOUND) {
            if !(*task).is(flag::STARTED) {
                drop_unrun(task);
                break;
            }
            (*task).refs = 1;
            if !kill_forgotten(task) {
                return;
            }
            (*task).refs -= 1;
            if (*task).refs > 0 {
                return;
            }
        }
        Task::reclaim(task);
        let runtime = (*task).runtime;
        if !(*task).slot.is_empty() || (*task).extra.is_some() {
            let (slot, extra) = ((*task).slot.take(), (*task).extra.take());
            (*runtime).free_task(task);
            // User code: last, when the task is no more.
            let rest = (slot, extra);
            if CONTAIN {
                scheduler::contain(LAST, || drop(rest));
            } else {
                drop(rest);
            }
        } else {
            (*runtime).free_task(task);
        }
    }
}

const LAST: &str = "a destructor of what a tasklet had";

/// Drops the function of a tasklet that nobody refers to any more. User code, which cannot
/// come by a handle: without references it is listed nowhere.
#[cold]
#[inline(never)]
unsafe fn drop_unrun(task: *mut Task) {
    // SAFETY: it has not started, and is in no queue.
    let unbound = unsafe { Task::unbind(task) };
    // Its panic must not keep the rest from going.
    scheduler::contain(LAST, || drop(unbound));
}

/// The end of a tasklet that was left for good: gives back what it lived on, and the
/// reference of the queue. No panic of a user's code comes out: it is not the business of
/// who arrives.
///
/// # Safety
/// As [`release`]; `task` is not the running tasklet.
#[inline]
pub(crate) unsafe fn bury(task: *mut Task) {
    // SAFETY: the caller's promise.
    unsafe {
        vacate(task);
        let_go(task);
    }
}

/// One reference less, of a tasklet that was left: as [`release`], and no panic comes out.
///
/// # Safety
/// As [`release`].
#[inline]
pub(crate) unsafe fn let_go(task: *mut Task) {
    // SAFETY: the caller's promise.
    unsafe {
        (*task).refs -= 1;
        if (*task).refs == 0 {
            release_last::<true>(task);
        }
    }
}

/// Gives back what a tasklet that was left for good lived on, if it has ended and somebody may bind it
/// again. No user code has run since it was left, so it is not bound to anything new.
///
/// # Safety
/// A live task that is not running, and is on no stack of its own if it is not alive.
#[inline]
pub(crate) unsafe fn vacate(task: *mut Task) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*task).refs > 1 && !(*task).is(flag::ALIVE) {
            Task::reclaim(task);
        }
    }
}

/// Kills a tasklet that nobody refers to any more. False when it lives on: as a
/// zombie, or until switching is possible again.
unsafe fn kill_forgotten(task: *mut Task) -> bool {
    // SAFETY: the caller holds a reference; `kill` is the ordinary operation.
    unsafe {
        let runtime = &*(*task).runtime;
        for _ in 0..KILLS {
            if !(*task).is(flag::ALIVE) {
                return true;
            }
            if !scheduler::may_switch(runtime) {
                runtime.reap_later(task);
                return false;
            }
            // What the dying tasklet throws goes the uncaught way, not here.
            let handle = Tasklet::from_ref(task);
            let ended = scheduler::throw_in_place(&handle, Error::Exit);
            scheduler::contain(LAST, || drop(ended));
        }
        if !(*task).is(flag::ALIVE) {
            return true;
        }
        (*task).set(flag::ZOMBIE);
        runtime.zombies.set(runtime.zombies.get() + 1);
        log::error!(
            "tasklet {:?} refused to end {KILLS} times: its stack is kept forever",
            (*task).name().unwrap_or("(unnamed)")
        );
        false
    }
}

/// A counted reference to a tasklet of the calling thread.
///
/// Cloning is cheap and makes another reference to the same tasklet. When the
/// last reference to a tasklet that is alive goes away, the tasklet is killed
/// (it gets [`Error::Exit`]); one that never ran is dropped with its function.
/// The run queue and the channels hold references of their own, so a queued or
/// blocked tasklet needs no handle to live.
pub struct Tasklet {
    task: ptr::NonNull<Task>,
    _not_send: PhantomData<*mut ()>,
}

/// Handles can be forgotten, so any program can raise the count: it ends before the count goes
/// round, as with `Rc`. What queues add is bounded, and far less than the other half.
const MOST_HANDLES: u32 = u32::MAX / 2;

#[cold]
#[inline(never)]
fn too_many() -> ! {
    os::fatal(format_args!("more than 2^31 references to one tasklet"))
}

impl Tasklet {
    /// A tasklet with a stack of its own and without a function.
    ///
    /// # Errors
    /// [`Error::MemoryCeiling`], [`Error::OutOfMemory`].
    #[track_caller]
    pub fn new() -> Result<Tasklet> {
        Tasklet::builder().build()
    }

    /// Starts a builder: a name, a stack size, a sliced stack.
    #[inline]
    pub fn builder() -> Builder {
        Builder {
            name: None,
            stack_size: 0,
            sliced: false,
            fp_env: false,
            site: None,
        }
    }

    /// Another counted reference to `task`.
    ///
    /// # Safety
    /// `task` is a live control block of this thread.
    pub(crate) unsafe fn from_ref(task: *mut Task) -> Tasklet {
        // SAFETY: the caller's promise.
        unsafe {
            if (*task).refs >= MOST_HANDLES {
                too_many();
            }
            (*task).refs += 1;
        }
        // SAFETY: the reference just counted.
        unsafe { Tasklet::from_owned(task) }
    }

    /// For tests.
    pub(crate) fn count_forgotten(&self, more: u32) {
        // SAFETY: a live task; a count that is too high keeps it.
        unsafe { (*self.as_ptr()).refs = (*self.as_ptr()).refs.saturating_add(more) };
    }

    /// Takes over a counted reference.
    ///
    /// # Safety
    /// The caller owns a reference to `task`.
    pub(crate) unsafe fn from_owned(task: *mut Task) -> Tasklet {
        Tasklet {
            // SAFETY: a counted reference is not null.
            task: unsafe { ptr::NonNull::new_unchecked(task) },
            _not_send: PhantomData,
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut Task {
        self.task.as_ptr()
    }

    fn task(&self) -> &Task {
        // SAFETY: the handle keeps the cell; no `&mut Task` is held across
        // code of others.
        unsafe { self.task.as_ref() }
    }

    fn runtime(&self) -> &Runtime {
        // SAFETY: a runtime outlives its tasks.
        unsafe { &*self.task().runtime }
    }

    /// Has its thread ended? Who asks is a destructor that runs later still.
    pub(crate) fn has_no_thread(&self) -> bool {
        self.runtime().hooks() & HOOK_ENDED != 0
    }

    /// Sets the function; the tasklet becomes *bound* (not alive, not queued).
    ///
    /// # Errors
    /// [`StateError::BindCurrent`], [`StateError::Scheduled`],
    /// [`StateError::StackInUse`] (it has started); no stack can be had.
    #[track_caller]
    pub fn bind<F, R>(&self, f: F) -> Result<()>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        self.rebind(f, 0).map(drop)
    }

    /// Binds `f` and sets `flags` as well. What the tasklet held before is the caller's to
    /// drop: that is user code, which may use the tasklet.
    #[track_caller]
    fn rebind<F, R>(&self, f: F, flags: u32) -> Result<(Value, Option<Unbound>)>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        self.may_bind()?;
        if self.runtime().hooks() & HOOK_STATS != 0 {
            // SAFETY: the handle keeps the task.
            unsafe { measure::bound_at(self.as_ptr(), Location::caller().into()) };
        }
        // A new function starts with an empty slot.
        let value = self.take_tempval();
        // SAFETY: it has not started, and is in no queue (`may_bind`); no user code runs.
        unsafe {
            let before = (value, Task::unbind(self.as_ptr()));
            #[cfg(feature = "std")]
            (*self.as_ptr()).clear(flag::SENDABLE);
            Task::bind(self.as_ptr(), f)?;
            (*self.as_ptr()).set(flags);
            Ok(before)
        }
    }

    /// As [`bind`](Self::bind), with a function that another thread can be given
    /// too: until it has started, the tasklet can [move](Self::bind_thread), and be
    /// taken over when its thread ends. Costs an allocation.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    #[cfg(feature = "std")]
    #[track_caller]
    pub fn bind_send<F, R>(&self, f: F) -> Result<()>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Outcome,
    {
        self.bind_body(body(f))
    }

    #[cfg(feature = "std")]
    #[track_caller]
    pub(crate) fn bind_body(&self, body: Body) -> Result<()> {
        // A `Body` is below `INLINE_BODY`, so it is not boxed once more.
        self.rebind(body, flag::SENDABLE).map(drop)
    }

    /// As [`bind_body`](Self::bind_body); it is *paused* then.
    #[cfg(feature = "std")]
    #[track_caller]
    pub(crate) fn bind_body_paused(&self, body: Body) -> Result<()> {
        self.rebind(body, flag::SENDABLE | flag::ALIVE).map(drop)
    }

    /// Sets the function and makes the tasklet *paused*: alive, not queued.
    ///
    /// # Errors
    /// As [`Tasklet::bind`].
    #[track_caller]
    pub fn bind_paused<F, R>(&self, f: F) -> Result<()>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        self.rebind(f, flag::ALIVE).map(drop)
    }

    /// Takes the function away again; it is dropped without having run.
    ///
    /// # Errors
    /// As [`Tasklet::bind`].
    pub fn unbind(&self) -> Result<()> {
        self.may_bind()?;
        let value = self.take_tempval();
        // SAFETY: it has not started, and is in no queue.
        let before = unsafe { Task::unbind(self.as_ptr()) };
        // User code, which may bind it again.
        drop((value, before));
        Ok(())
    }

    fn may_bind(&self) -> Result<()> {
        if self.is_current() {
            return Err(StateError::BindCurrent.into());
        }
        if !self.task().floating() {
            return Err(StateError::Scheduled.into());
        }
        if self.task().is(flag::STARTED) {
            return Err(StateError::StackInUse.into());
        }
        Ok(())
    }

    /// Makes a bound tasklet alive and appends it to the run queue.
    ///
    /// # Errors
    /// [`StateError::Alive`], [`StateError::NotBound`].
    pub fn setup(&self) -> Result<()> {
        if self.is_alive() {
            return Err(StateError::Alive.into());
        }
        if !self.task().is(flag::BOUND) {
            return Err(StateError::NotBound.into());
        }
        if self.has_no_thread() {
            return Err(StateError::NoThread.into());
        }
        // SAFETY: bound and not queued; the queue gets a reference of its own.
        unsafe {
            let task = self.as_ptr();
            (*task).set(flag::ALIVE);
            (*task).refs += 1;
            self.runtime().ring_append(task);
        }
        Ok(())
    }

    /// Appends the tasklet to the run queue, unless it is queued already.
    ///
    /// # Errors
    /// [`StateError::RunBlocked`], [`StateError::RunDead`].
    pub fn insert(&self) -> Result<()> {
        scheduler::may_insert(self.task())?;
        if self.has_no_thread() {
            return Err(StateError::ThreadNotInitialized.into());
        }
        if !self.task().is(flag::QUEUED) {
            // SAFETY: alive and floating; the queue gets a reference.
            unsafe {
                (*self.as_ptr()).refs += 1;
                self.runtime().ring_append(self.as_ptr());
            }
        }
        Ok(())
    }

    /// Takes the tasklet out of the run queue: it is *paused*. Nothing happens
    /// when it is not queued.
    ///
    /// # Errors
    /// [`StateError::RemoveBlocked`], [`StateError::RemoveCurrent`].
    pub fn remove(&self) -> Result<()> {
        if self.task().is(flag::BLOCKED) {
            return Err(StateError::RemoveBlocked.into());
        }
        if self.is_current() || self.runtime().is_next(self.as_ptr()) {
            return Err(StateError::RemoveCurrent.into());
        }
        if self.task().is(flag::QUEUED) {
            // SAFETY: queued; the queue's reference is given up, ours remains.
            unsafe {
                self.runtime().ring_remove(self.as_ptr());
                release(self.as_ptr());
            }
        }
        Ok(())
    }

    /// Switches to the tasklet at once; the caller stays in the run queue at
    /// its place, so what is queued between the two runs before it comes back.
    ///
    /// # Errors
    /// [`StateError::RunBlocked`], [`StateError::RunDead`],
    /// [`Error::SwitchTrap`], no memory for a slice; or what was thrown into
    /// the caller meanwhile.
    pub fn run(&self) -> Result<()> {
        scheduler::run_tasklet::<false, _>(self)
    }

    /// As [`Tasklet::run`], but the caller leaves the run queue: it is paused
    /// until somebody inserts or runs it. Switching to oneself does nothing.
    ///
    /// # Errors
    /// As [`Tasklet::run`].
    #[inline]
    pub fn switch(&self) -> Result<()> {
        scheduler::run_tasklet::<true, _>(self)
    }

    /// Throws `error` into the tasklet and switches to it at once. At oneself
    /// it is simply the error returned. A tasklet that has not started ends
    /// without running; [`Error::Exit`] at one that is not alive does nothing. One that runs an
    /// event, a timer or a question of another thread for the main loop, or waits inside of one,
    /// is told by its own next wait, and nobody switches.
    ///
    /// # Errors
    /// [`StateError::ThrowDead`], [`Error::SwitchTrap`]; or what was thrown
    /// into the caller meanwhile.
    pub fn throw(&self, error: impl Into<Error>) -> Result<()> {
        Ok(scheduler::throw(self, error.into(), false)?)
    }

    /// As [`Tasklet::throw`], but only makes the tasklet runnable: it gets the
    /// error when its turn comes. A value that was on its way is lost.
    ///
    /// # Errors
    /// [`StateError::ThrowDead`].
    pub fn throw_pending(&self, error: impl Into<Error>) -> Result<()> {
        Ok(scheduler::throw(self, error.into(), true)?)
    }

    /// As [`Tasklet::throw`], except that an error at a tasklet which is not
    /// alive comes back to the caller.
    ///
    /// # Errors
    /// As [`Tasklet::throw`]; `error` itself when the tasklet is not alive.
    pub fn raise(&self, error: impl Into<Error>) -> Result<()> {
        let error = error.into();
        if !self.is_alive() && !error.is_exit() {
            return Err(error);
        }
        Ok(scheduler::throw(self, error, false)?)
    }

    /// Throws [`Error::Exit`].
    ///
    /// # Errors
    /// As [`Tasklet::throw`].
    pub fn kill(&self) -> Result<()> {
        Ok(scheduler::throw(self, Error::Exit, false)?)
    }

    /// Throws [`Error::Exit`] when the tasklet's turn comes.
    ///
    /// # Errors
    /// None on the tasklet's own thread.
    pub fn kill_pending(&self) -> Result<()> {
        Ok(scheduler::throw(self, Error::Exit, true)?)
    }

    /// Can it run, or go on?
    pub fn is_alive(&self) -> bool {
        self.task().is(flag::ALIVE)
    }

    /// Alive, but neither queued nor blocked.
    pub fn is_paused(&self) -> bool {
        self.is_alive() && self.task().floating()
    }

    /// Waiting in a channel's queue?
    pub fn is_blocked(&self) -> bool {
        self.task().is(flag::BLOCKED)
    }

    /// +1 blocked sending, -1 blocked receiving, 0 not blocked or in a select
    /// (also in a send or receive with a timeout).
    pub fn blocked_direction(&self) -> i32 {
        let task = self.task();
        i32::from(task.is(flag::SENDING)) - i32::from(task.is(flag::RECEIVING))
    }

    /// In the run queue or in a channel's queue (as in Stackless: true while
    /// blocked).
    pub fn is_scheduled(&self) -> bool {
        !self.task().floating()
    }

    /// The tasklet that stands for the thread's original flow of control.
    pub fn is_main(&self) -> bool {
        self.task().is(flag::MAIN)
    }

    /// The one that runs now.
    pub fn is_current(&self) -> bool {
        ptr::eq(self.runtime().current(), self.as_ptr())
    }

    /// Does its stack share a window with others?
    pub fn is_sliced(&self) -> bool {
        self.task().is(flag::SLICED)
    }

    /// True once it refused to end [ten times](Error::Exit) and was given up.
    pub fn is_zombie(&self) -> bool {
        self.task().is(flag::ZOMBIE)
    }

    fn flag(&self, flag: u32) -> bool {
        self.task().is(flag)
    }

    fn set_flag(&self, flag: u32, on: bool) -> bool {
        let old = self.flag(flag);
        // SAFETY: a plain field of a live task of this thread.
        unsafe {
            let task = self.as_ptr();
            if on {
                (*task).set(flag);
            } else {
                (*task).clear(flag);
            }
        }
        old
    }

    /// Is blocking forbidden to it?
    pub fn block_trap(&self) -> bool {
        self.flag(flag::BLOCK_TRAP)
    }

    /// Forbids it to block ([`Error::BlockTrap`]); returns the old setting.
    pub fn set_block_trap(&self, on: bool) -> bool {
        self.set_flag(flag::BLOCK_TRAP, on)
    }

    /// Is it protected from interrupts? See [`Tasklet::set_atomic`].
    pub fn is_atomic(&self) -> bool {
        self.flag(flag::ATOMIC)
    }

    /// Protects the tasklet from involuntary scheduling; returns the old setting.
    /// Not inherited.
    ///
    /// The involuntary scheduling there is: a [`run_with`](crate::run_with) whose
    /// budget is used up takes the turn when a tasklet gives way. While an atomic
    /// one gives way it does not; it stays pending, and the first switch by a
    /// tasklet that is not atomic (this one with the flag cleared, or another) does.
    /// See also [`atomic`](crate::atomic).
    pub fn set_atomic(&self, on: bool) -> bool {
        self.set_flag(flag::ATOMIC, on)
    }

    /// See [`Tasklet::set_ignore_nesting`].
    pub fn ignore_nesting(&self) -> bool {
        self.flag(flag::IGNORE_NESTING)
    }

    /// Stackless' flag that allows an interrupt in nested interpreter calls;
    /// returns the old setting. Native code knows no such nesting, and interrupts
    /// happen on switches only: the flag is kept for the host, and changes nothing.
    pub fn set_ignore_nesting(&self, on: bool) -> bool {
        self.set_flag(flag::IGNORE_NESTING, on)
    }

    /// Takes the content of the transfer slot: what a paused tasklet's pending
    /// `schedule_with` would return.
    pub fn take_tempval(&self) -> Value {
        // SAFETY: moved out of a live task; nothing runs meanwhile.
        Value(unsafe { (*self.as_ptr()).slot.take() })
    }

    /// Puts a value into the transfer slot; returns what was there.
    pub fn set_tempval(&self, value: Value) -> Value {
        // SAFETY: as `take_tempval`.
        Value(unsafe { (*self.as_ptr()).slot.put(value.0) })
    }

    /// The next tasklet in the run queue; or, of one that is blocked on a channel alone, in
    /// that channel's queue. `None` in a select. (Who [drives the loop](crate::main_loop) while
    /// it waits is in the run queue.)
    pub fn next(&self) -> Option<Tasklet> {
        self.neighbour(self.task().next)
    }

    /// The tasklet before it in the run queue or in the channel's queue; `None` in
    /// a select.
    pub fn prev(&self) -> Option<Tasklet> {
        self.neighbour(self.task().prev)
    }

    fn neighbour(&self, task: *mut Task) -> Option<Tasklet> {
        if task.is_null() || self.task().floating() || self.task().is(flag::SELECTING) {
            return None;
        }
        // SAFETY: a neighbour in a queue is a live task of this thread, or the
        // stand-in of one.
        Some(unsafe { Tasklet::from_ref(select::whose(task)) })
    }

    /// The name given to the builder.
    pub fn name(&self) -> Option<String> {
        self.task().name().map(Into::into)
    }

    /// A number that no other tasklet alive at the same time has.
    pub fn id(&self) -> usize {
        self.as_ptr() as usize
    }

    /// What is measured about it.
    pub fn stats(&self) -> TaskletStats {
        measure::of(self.task(), self.runtime(), self.is_current())
    }

    /// The thread it belongs to, as [`thread_id`](crate::thread_id) says there.
    pub fn thread_id(&self) -> u64 {
        self.runtime().thread_id
    }

    /// What the host keeps with it; see [`Tasklet::set_user_data`].
    pub fn user_data(&self) -> Option<Rc<dyn Any>> {
        self.task().extra.as_ref()?.user_data.clone()
    }

    /// The user data, if it is a `D`.
    pub fn user_data_as<D: Any>(&self) -> Option<Rc<D>> {
        self.user_data()?.downcast().ok()
    }

    /// Keeps any value of the host's with the tasklet; returns the old one. It
    /// goes with the last handle, not with the end of the tasklet. Costs an
    /// allocation of some hundred bytes the first time.
    ///
    /// A value that holds a handle of the same tasklet keeps both alive for ever.
    pub fn set_user_data(&self, data: Option<Rc<dyn Any>>) -> Option<Rc<dyn Any>> {
        // SAFETY: a plain exchange in a live task of this thread; what was there
        // is dropped by the caller.
        unsafe {
            if data.is_none() && (*self.as_ptr()).extra.is_none() {
                return None;
            }
            mem::replace(&mut (*self.as_ptr()).extra().user_data, data)
        }
    }

    /// Sets the tasklet's own error handler; returns the old one. It is asked
    /// before the [thread's](crate::set_error_handler), in the tasklet, when the
    /// tasklet ends with an error: `Ok` swallows the error, an error goes on to the
    /// thread's handler. [`Error::Exit`] is silent and asks nobody.
    pub fn set_error_handler(&self, handler: Option<ErrorHandler>) -> Option<ErrorHandler> {
        // SAFETY: as `set_user_data`.
        unsafe {
            if handler.is_none() && (*self.as_ptr()).extra.is_none() {
                return None;
            }
            mem::replace(&mut (*self.as_ptr()).extra().on_error, handler)
        }
    }
}

impl Clone for Tasklet {
    fn clone(&self) -> Tasklet {
        // SAFETY: the handle keeps the cell.
        unsafe { Tasklet::from_ref(self.as_ptr()) }
    }
}

impl Drop for Tasklet {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the handle's own reference.
        unsafe { release(self.as_ptr()) };
    }
}

impl PartialEq for Tasklet {
    fn eq(&self, other: &Tasklet) -> bool {
        self.task == other.task
    }
}

impl Eq for Tasklet {}

impl core::hash::Hash for Tasklet {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.task.hash(state);
    }
}

impl fmt::Debug for Tasklet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_current() {
            "current"
        } else if self.is_blocked() {
            "blocked"
        } else if self.is_scheduled() {
            "scheduled"
        } else if self.is_alive() {
            "paused"
        } else if self.flag(flag::BOUND) {
            "bound"
        } else {
            "not alive"
        };
        match self.task().name() {
            Some(name) => write!(f, "Tasklet({name:?}, {state})"),
            None => write!(f, "Tasklet({:#x}, {state})", self.id()),
        }
    }
}

/// How a tasklet shall be made.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    name: Option<String>,
    stack_size: usize,
    sliced: bool,
    fp_env: bool,
    site: Option<Site>,
}

impl Builder {
    /// A name for messages, listings and debuggers.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// The spawn site for [statistics](crate::set_statistics), instead of the
    /// caller's: for hosts in other languages.
    pub fn site(mut self, site: Site) -> Builder {
        self.site = Some(site);
        self
    }

    /// Bytes of the tasklet's own stack, rounded up to pages; the guard
    /// comes on top. Without it, the size of the settings. Sliced tasklets
    /// ignore it: they live in a window.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        // Zero means "the default" inside; a zero from outside must fail.
        self.stack_size = bytes.max(1);
        self
    }

    /// Floating-point control words of its own (rounding mode, exception
    /// masks): it starts with the defaults, and what it sets stays with it.
    /// Without this they belong to the thread. Costs a few nanoseconds on
    /// each switch from or to this tasklet, nothing on others.
    pub fn fp_env(mut self) -> Builder {
        self.fp_env = true;
        self
    }

    /// Lets the tasklet live in a window that it shares with others: parked, it
    /// costs its live bytes of stack, not a stack.
    ///
    /// # Safety
    /// While the tasklet is not running, the addresses of its stack hold
    /// somebody else's bytes. So **nothing outside the tasklet may touch its
    /// stack while it is not running**: no reference to one of its locals may
    /// be lent to another tasklet, to another thread (`std::thread::scope`), to
    /// the kernel (asynchronous I/O), or be left in a list, a static or a
    /// thread-local across anything that may switch (sending, receiving,
    /// scheduling, dropping the last handle of a tasklet). What crosses must
    /// be moved or live in the heap.
    pub unsafe fn sliced(mut self) -> Builder {
        self.sliced = true;
        self
    }

    /// A tasklet without a function: for [`Tasklet::bind`].
    ///
    /// # Errors
    /// [`Error::StackSize`] for a size that cannot be, [`Error::MemoryCeiling`],
    /// [`Error::OutOfMemory`].
    #[inline]
    #[track_caller]
    pub fn build(self) -> Result<Tasklet> {
        let runtime = Runtime::get();
        let flags = if self.sliced && !sanitizer::OWN_STACKS {
            flag::SLICED
        } else {
            0
        };
        let special = self.name.is_some() || self.stack_size != 0 || self.fp_env;
        // SAFETY: a fresh task whose only reference becomes the handle.
        let tasklet = unsafe { Tasklet::from_owned(runtime.new_task(flags)?) };
        if special || runtime.hooks() & HOOK_STATS != 0 {
            let site = match self.site {
                Some(site) => site,
                None => Location::caller().into(), // not in a closure: that has no caller
            };
            self.equip(&tasklet, site)?;
        }
        Ok(tasklet)
    }

    /// What few tasklets have.
    #[cold]
    #[inline(never)]
    fn equip(self, tasklet: &Tasklet, site: Site) -> Result<()> {
        let (task, runtime) = (tasklet.as_ptr(), tasklet.runtime());
        if self.stack_size != 0 && !self.sliced {
            runtime.stacks.check_size(self.stack_size)?;
        }
        // SAFETY: a fresh task, ours alone.
        unsafe {
            if self.fp_env {
                (*task).set(flag::FP_ENV);
            }
            let extra = (*task).extra();
            extra.name = self.name.map(String::into_boxed_str);
            extra.stack_size = self.stack_size;
            if runtime.hooks() & HOOK_STATS != 0 {
                measure::bound_at(task, site);
            }
        }
        Ok(())
    }

    /// A bound tasklet: it runs after [`Tasklet::setup`].
    ///
    /// # Errors
    /// As [`Builder::build`].
    #[inline]
    #[track_caller]
    pub fn bind<F, R>(self, f: F) -> Result<Tasklet>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        let tasklet = self.build()?;
        // SAFETY: fresh.
        unsafe { Task::bind(tasklet.as_ptr(), f)? };
        Ok(tasklet)
    }

    /// A tasklet that is queued to run `f`.
    ///
    /// # Errors
    /// As [`Builder::build`].
    #[inline]
    #[track_caller]
    pub fn spawn<F, R>(self, f: F) -> Result<Tasklet>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        let tasklet = self.bind(f)?;
        // SAFETY: bound, not queued; the queue gets a reference of its own.
        unsafe {
            let task = tasklet.as_ptr();
            (*task).set(flag::ALIVE);
            (*task).refs += 1;
            (*(*task).runtime).ring_append(task);
        }
        Ok(tasklet)
    }
}

/// Queues a tasklet with a stack of its own to run `f` on this thread.
///
/// The closure may return `()` or a `Result<(), E>`; an error goes the way of
/// an uncaught exception, except [`Error::Exit`], which is silent.
///
/// ```
/// # fn main() -> hardswitch::Result<()> {
/// let channel = hardswitch::Channel::new();
/// let tx = channel.clone();
/// hardswitch::spawn(move || tx.send("hello"))?;
/// hardswitch::spawn(move || {
///     assert_eq!(channel.receive()?, "hello");
///     Ok(())
/// })?;
/// hardswitch::run()
/// # }
/// ```
///
/// # Errors
/// [`Error::MemoryCeiling`], [`Error::OutOfMemory`], [`Error::StackSize`].
#[inline]
#[track_caller]
pub fn spawn<F, R>(f: F) -> Result<Tasklet>
where
    F: FnOnce() -> R + 'static,
    R: Outcome,
{
    Tasklet::builder().spawn(f)
}
