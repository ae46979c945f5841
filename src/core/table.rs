//! A table for debuggers: with it `gdb/hardswitch.py` finds the tasklets of a stopped process
//! or of a core dump. It needs no debug information, and no help from the process.
//!
//! The table is the symbol `hsw_debug`. It names the runtimes (one per thread) and the offsets of
//! the fields that the script reads.

use core::cell::Cell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::core::extra::Extra;
use crate::core::runtime::Runtime;
use crate::core::slab::Chunk;
use crate::core::task::{Task, Window};
use crate::machine::stack::slice::Buffer;

/// First field of the table; also tells the byte order.
const MAGIC: u64 = u64::from_be_bytes(*b"hswdebug");

/// Keep in step with `FIELDS` in `gdb/hardswitch.py`.
#[repr(C)]
pub struct Table {
    magic: u64,
    /// Changes whenever the meaning of a field changes.
    version: usize,
    /// The latest runtime; [`Link::next`] leads to the others.
    runtimes: AtomicPtr<Runtime>,
    /// Not 0 while a thread changes the list.
    lock: AtomicUsize,
    save_area: usize,
    runtime_current: usize,
    runtime_link: usize,
    task_size: usize,
    task_sp: usize,
    task_flags: usize,
    task_refs: usize,
    task_channel: usize,
    task_window: usize,
    task_buffer: usize,
    task_extra: usize,
    task_switches: usize,
    window_top: usize,
    window_resident: usize,
    buffer_ptr: usize,
    extra_name: usize,
    extra_low: usize,
    extra_spilled: usize,
    spilled_before: usize,
    spilled_buffer: usize,
    spilled_sp: usize,
}

/// The table; see the module's comment.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static hsw_debug: Table = Table {
    magic: MAGIC,
    version: 2,
    runtimes: AtomicPtr::new(core::ptr::null_mut()),
    lock: AtomicUsize::new(0),
    save_area: crate::machine::arch::SAVE_AREA,
    runtime_current: Runtime::CURRENT,
    runtime_link: offset_of!(Runtime, link),
    task_size: size_of::<Task>(),
    task_sp: offset_of!(Task, sp),
    task_flags: offset_of!(Task, flags),
    task_refs: offset_of!(Task, refs),
    task_channel: offset_of!(Task, channel),
    task_window: offset_of!(Task, window),
    task_buffer: offset_of!(Task, buffer),
    task_extra: offset_of!(Task, extra),
    task_switches: offset_of!(Task, switches),
    window_top: offset_of!(Window, top),
    window_resident: offset_of!(Window, resident),
    buffer_ptr: Buffer::PTR,
    extra_name: offset_of!(Extra, name),
    extra_low: offset_of!(Extra, low),
    extra_spilled: offset_of!(Extra, spilled),
    spilled_before: crate::core::extra::Spilled::BEFORE,
    spilled_buffer: crate::core::extra::Spilled::BUFFER,
    spilled_sp: crate::core::extra::Spilled::SP,
};

/// A runtime's place in the list, and other data of it that the script needs.
#[repr(C)]
pub struct Link {
    next: Cell<*mut Runtime>,
    /// The system's number of the thread; 0 if there is none.
    thread: usize,
    chunks: Cell<*const Chunk>,
    chunk_count: Cell<usize>,
}

impl Link {
    pub fn new() -> Link {
        Link {
            next: Cell::new(core::ptr::null_mut()),
            thread: crate::machine::os::thread_number(),
            chunks: Cell::new(core::ptr::null()),
            chunk_count: Cell::new(0),
        }
    }

    /// Shows debuggers where the control blocks are.
    pub fn show(&self, (chunks, count): (*const Chunk, usize)) {
        self.chunks.set(chunks);
        self.chunk_count.set(count);
    }
}

/// Holds the table's lock, for a few instructions at the beginning and end of threads.
pub struct Locked(());

/// Takes the lock, over a fork: no other thread has it then, so it is free in the child process.
pub fn hold() -> Locked {
    Locked::take()
}

impl Locked {
    fn take() -> Locked {
        while hsw_debug.lock.swap(1, Ordering::Acquire) != 0 {
            core::hint::spin_loop();
        }
        Locked(())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        hsw_debug.lock.store(0, Ordering::Release);
    }
}

/// Makes a runtime known to debuggers.
///
/// # Safety
/// `runtime` stays where it is until [`remove_runtime`].
pub unsafe fn add_runtime(runtime: *mut Runtime) {
    let _locked = Locked::take();
    // SAFETY: `runtime` is live and stays where it is, as the caller has promised; links are
    // touched under the lock only.
    unsafe {
        let first = hsw_debug.runtimes.load(Ordering::Relaxed);
        (*runtime).link.next.set(first);
    }
    hsw_debug.runtimes.store(runtime, Ordering::Release);
}

/// Sets a hook of all runtimes of the process, so that they notice something new. Any thread may
/// call this.
pub fn set_hook_of_all(hook: u32) {
    let _locked = Locked::take();
    let mut at = hsw_debug.runtimes.load(Ordering::Relaxed);
    // SAFETY: a member of the list is alive until it is removed, which needs the lock that is held
    // here.
    while let Some(runtime) = unsafe { at.as_ref() } {
        runtime.hooks.fetch_or(hook, Ordering::Relaxed);
        at = runtime.link.next.get();
    }
}

/// Takes a runtime out of the list.
///
/// # Safety
/// It was [added](add_runtime).
pub unsafe fn remove_runtime(runtime: *mut Runtime) {
    let _locked = Locked::take();
    // SAFETY: `runtime` and the other members of the list are alive until they are removed, under
    // the lock.
    unsafe {
        let next = (*runtime).link.next.get();
        let mut at = hsw_debug.runtimes.load(Ordering::Relaxed);
        if at == runtime {
            hsw_debug.runtimes.store(next, Ordering::Release);
            return;
        }
        while !at.is_null() {
            let link = &(*at).link;
            if link.next.get() == runtime {
                link.next.set(next);
                return;
            }
            at = link.next.get();
        }
    }
}
