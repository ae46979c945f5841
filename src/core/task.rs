//! The control block of a tasklet: the data that its runtime, its queue and its switches use.
//!
//! A [`Task`] is 128 bytes in a slab of its runtime: queue links, the transfer slot, the place of
//! its stack. Handles, the run queue, a channel's queue and the stack of nested `run`s count
//! references to it.

use alloc::boxed::Box;
use core::mem;
use core::ops::Range;
use core::ptr;

use crate::core::extra::Extra;
use crate::core::value::TaskSlot;
use crate::machine::arch;
use crate::machine::stack::own::OwnStack;
use crate::machine::stack::slice::Buffer;
use crate::machine::stack::window;

/// Flags of a [`Task`].
pub mod flag {
    /// It has a function to run: bound or more.
    pub const BOUND: u32 = 1 << 0;
    /// Prepared to run, or running: what Stackless calls "has a frame".
    pub const ALIVE: u32 = 1 << 1;
    /// It has run: its stack holds live frames.
    pub const STARTED: u32 = 1 << 2;
    /// Linked in the run queue.
    pub const QUEUED: u32 = 1 << 3;
    /// Linked in a channel's queue, as sender or as receiver.
    pub const SENDING: u32 = 1 << 4;
    pub const RECEIVING: u32 = 1 << 5;
    /// In a select, which has stand-ins on channels: `next` is the first of them.
    pub const SELECTING: u32 = 1 << 17;
    pub const BLOCKED: u32 = SENDING | RECEIVING | SELECTING;
    pub const MAIN: u32 = 1 << 6;
    /// It lives in a window (else on a stack of its own, or it is main).
    pub const SLICED: u32 = 1 << 7;
    /// Its stack bytes are in the slice, not in the window. In one byte with [`SPECIAL`]: every
    /// switch tests them together.
    pub const AWAY: u32 = 1 << 8;
    pub const BLOCK_TRAP: u32 = 1 << 9;
    pub const ATOMIC: u32 = 1 << 10;
    pub const IGNORE_NESTING: u32 = 1 << 11;
    /// It refused to die; kept forever.
    pub const ZOMBIE: u32 = 1 << 12;
    /// Its C++ exception globals are saved in `Extra`.
    pub const EH_SAVED: u32 = 1 << 13;
    /// It has floating-point control words of its own.
    pub const FP_ENV: u32 = 1 << 14;
    /// A slab cell that is free.
    pub const FREE: u32 = 1 << 15;
    /// It runs, or was parked, on a segment (see `spill::grow`).
    pub const SEGMENT: u32 = 1 << 16;
    /// Not a tasklet, but a stand-in in a channel's queue. Stand-ins use the bits 19, 20 and 22
    /// to 24 for their own flags.
    pub const STAND_IN: u32 = 1 << 18;
    /// While `BOUND`: its function is a [`Body`](crate::core::body::Body), which may leave the
    /// thread.
    pub const SENDABLE: u32 = 1 << 21;
    /// Code that is not its own runs on its stack: see [`thrown`](crate::core::thrown).
    pub const HOST: u32 = 1 << 25;
    /// It lives in a window that has a canary instead of a guard.
    pub const LENT: u32 = 1 << 28;

    /// The flags of a newborn member of a window that is `guarded` or not: the window's tag.
    pub fn of_member(guarded: bool) -> u32 {
        match guarded {
            true => AWAY,
            false => AWAY | LENT,
        }
    }

    /// A switch from or to it has more to do than to change stacks.
    pub const SPECIAL: u32 = EH_SAVED | FP_ENV;
}

/// A window of tasklets.
pub type Window = window::Window<Task>;

/// The control block. `repr(C)`: debugger scripts read it.
#[repr(C, align(128))]
pub struct Task {
    /// Address of the save area while parked.
    pub sp: usize,
    pub flags: u32,
    pub refs: u32,
    /// Neighbours in the run queue (a ring) or in a channel's queue (a list).
    pub next: *mut Task,
    pub prev: *mut Task,
    pub slot: TaskSlot,
    /// The channel it is blocked on.
    pub channel: *const (),
    /// The window it belongs to (sliced, bound).
    pub window: *const Window,
    pub buffer: Buffer,
    pub own: Option<Box<OwnStack>>,
    /// The lowest stack pointer with which it may switch; see
    /// [`stack::limit`](crate::machine::stack::limit). 0 for main, whose stack is the thread's.
    pub limit: usize,
    /// See `Runtime::of`.
    pub runtime: *const (),
    pub extra: Option<Box<Extra>>,
    /// How often it was switched to.
    pub switches: u64,
}

const _: () = assert!(
    mem::size_of::<Task>() == 128,
    "a control block is one or two cache lines"
);

impl Task {
    pub fn new(runtime: *const (), flags: u32) -> Task {
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

    /// Asked of a control block that is given back: is all that it owned gone?
    pub fn is_blank(&self) -> bool {
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
    pub fn is(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    pub fn has_all(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    #[inline(always)]
    pub fn set(&mut self, flags: u32) {
        self.write_flags(self.flags | flags);
    }

    #[inline(always)]
    pub fn clear(&mut self, flags: u32) {
        self.write_flags(self.flags & !flags);
    }

    /// Clears the flags `old` and sets `new` with one store.
    #[inline(always)]
    pub fn exchange(&mut self, old: u32, new: u32) {
        self.write_flags(self.flags & !old | new);
    }

    /// Stores the whole word. Without this the compiler stores only the byte that
    /// changes, and the next test of the word, an instant later, has to wait until
    /// that byte is in the cache: the store buffer cannot serve it.
    #[inline(always)]
    pub fn write_flags(&mut self, flags: u32) {
        // SAFETY: a field of `self`, which is borrowed exclusively.
        unsafe { ptr::write_volatile(&mut self.flags, flags) };
    }

    /// Neither queued nor blocked.
    pub fn floating(&self) -> bool {
        !self.is(flag::QUEUED | flag::BLOCKED)
    }

    pub fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_with(|| Box::new(Extra::new()))
    }

    pub fn name(&self) -> Option<&str> {
        self.extra.as_ref()?.name.as_deref()
    }

    /// Top of the stack it runs on; 0 for main and for a tasklet without a stack.
    pub fn stack_top(&self) -> usize {
        if let Some(own) = &self.own {
            own.memory.top()
        } else if !self.window.is_null() {
            // SAFETY: windows live as long as their runtime.
            unsafe { (*self.window).top }
        } else {
            0
        }
    }

    /// The stack that it runs on, and what to call it; `None` for main and for a tasklet without a
    /// stack.
    pub fn stack(&self) -> Option<(Range<usize>, &'static str)> {
        match (&self.extra, &self.own) {
            (Some(extra), _) if self.is(flag::SEGMENT) => Some((extra.segment.clone(), "segment")),
            (_, Some(own)) => Some((own.memory.bottom()..own.memory.top(), "own stack")),
            _ if self.window.is_null() => None,
            // SAFETY: windows live as long as their runtime.
            _ => unsafe { Some(((*self.window).bottom..(*self.window).top, "window")) },
        }
    }

    /// Is the stack pointer so low that no save area fits? Tests the exact stack pointer of the
    /// caller's frame.
    #[inline(always)]
    pub unsafe fn is_low(this: *const Task) -> bool {
        // SAFETY: the caller says that it is a live task.
        unsafe { arch::below::<{ mem::offset_of!(Task, limit) }>(this.cast()) }
    }

    /// Bytes of live stack while it is parked; 0 for main.
    pub fn live_stack(&self) -> usize {
        match self.stack_top() {
            0 => 0,
            top => top - self.low(self.sp),
        }
    }
}
