//! The port to a system without std: a console. The host supplies a few
//! functions; memory comes from the global allocator, which the host supplies
//! as well.

use core::fmt;

use alloc::alloc::{alloc, dealloc, Layout};

use crate::error::{Error, Result};

extern "C" {
    /// The address of a pointer-sized cell of the calling thread, null at first.
    fn hsw_host_thread_cell() -> *mut *const core::ffi::c_void;
    /// Prints `length` bytes of text and ends the process.
    fn hsw_host_fatal(text: *const u8, length: usize) -> !;
}

#[inline(always)]
pub fn runtime() -> *const () {
    // SAFETY: the host's function returns the address of a live cell of the calling thread.
    unsafe { (*hsw_host_thread_cell()).cast() }
}

pub fn set_runtime(runtime: *const ()) {
    // SAFETY: the host's function returns the address of a live cell of the calling thread.
    unsafe { *hsw_host_thread_cell() = runtime.cast() };
}

/// Threads of a console end through `hsw_thread_exit` or [`end_thread`](crate::end_thread).
pub fn at_thread_exit(_: fn()) -> bool {
    true
}

/// Nothing: the code that ends a thread of a console ends the higher floors' part as well.
pub fn outer_end() -> fn() -> bool {
    || false
}

/// The number of the calling thread: one for each runtime that it makes.
pub fn thread_id(fresh: impl FnOnce() -> u64) -> u64 {
    fresh()
}

/// A stack from the allocator. There is no guard: the runtime checks the stack pointer on every
/// switch, and puts a canary at the end of windows.
pub struct StackMemory {
    bottom: *mut u8,
    size: usize,
}

const ALIGN: usize = 128;

impl StackMemory {
    /// `size` is rounded up to whole cache lines.
    pub fn new(size: usize, _guard: usize) -> Result<StackMemory> {
        if size == 0 || size > isize::MAX as usize / 2 {
            return Err(Error::StackSize(size));
        }
        let size = size.next_multiple_of(ALIGN);
        let layout = Layout::from_size_align(size, ALIGN).map_err(|_| Error::StackSize(size))?;
        // SAFETY: the layout is not empty.
        let bottom = unsafe { alloc(layout) };
        if bottom.is_null() {
            return Err(Error::OutOfMemory);
        }
        Ok(StackMemory { bottom, size })
    }

    pub fn top(&self) -> usize {
        self.bottom as usize + self.size
    }

    pub fn bottom(&self) -> usize {
        self.bottom as usize
    }

    /// True when running off the end faults.
    pub const GUARDED: bool = false;
}

impl Drop for StackMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe {
            dealloc(
                self.bottom,
                Layout::from_size_align_unchecked(self.size, ALIGN),
            )
        };
    }
}

pub fn set_outer_end(_: fn() -> bool) {}

/// Nothing runs here at the end of a thread or of the process.
pub fn at_the_very_end(_: *const (), _: extern "C" fn(*mut core::ffi::c_void)) {}

pub fn is_first_thread() -> bool {
    false
}

pub fn exit_address() -> usize {
    0
}

/// There is no clock.
pub fn clock() -> Option<u64> {
    None
}

/// There are no mappings, and so no limit.
pub fn mappings() -> usize {
    usize::MAX
}

/// There are no guards.
pub fn guard(_: usize) -> usize {
    0
}

/// Without std a panic does not unwind.
#[inline(always)]
pub fn unwinding() -> bool {
    false
}

#[inline(always)]
pub fn catch(f: impl FnOnce() -> Result<()>) -> Result<()> {
    f()
}

#[inline(always)]
pub fn catch_into<C: Copy>(_: C, _: fn(C, Error), f: impl FnOnce()) {
    f();
}

/// Without std a panic ends the program.
pub struct Panic;
pub const NO_PANIC: Panic = Panic;

pub fn catch_panic(f: impl FnOnce()) -> Panic {
    f();
    Panic
}

pub fn resume_panic(_: Panic) {}

pub fn thread_stack_bottom() -> usize {
    0
}

pub fn thread_number() -> usize {
    0
}

pub fn fatal(message: fmt::Arguments<'_>) -> ! {
    use core::fmt::Write;
    let mut line = heapless::String::<256>::new();
    // A text that does not fit is cut off.
    let _ = write!(line, "hardswitch: {message}");
    // SAFETY: `line` holds so many bytes; the host's function ends the process.
    unsafe { hsw_host_fatal(line.as_ptr(), line.len()) }
}

/// As on Linux.
pub type Report = fn(usize, usize, &dyn Fn(&[u8])) -> bool;

pub fn watch_overflow(_: Report) {}
