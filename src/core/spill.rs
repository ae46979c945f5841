//! Spilling: deep recursion in small windows.
//!
//! A recursion calls itself through [`call`] or [`grow`]. As long as there is
//! room, that is an ordinary call and a comparison. When the running tasklet has
//! used more of its window than the watermark, [`call`] moves its frames to the
//! heap and runs the closure at the top of the window; they come back when it
//! returns. So the depth of a recursion is limited by the heap, not by the
//! window, and a window may be as small as 16 KiB.
//!
//! The caller's frames are *away* while the closure of [`call`] runs, so the closure must
//! own what it needs (`'static`). [`grow`] is for closures that borrow: it leaves
//! the frames where they are and runs the closure on a fresh segment.
//!
//! ```text
//!   window, before            while f runs            after
//!   +--------------+ top      +--------------+        +--------------+
//!   | frames       |          | f's frames   |        | frames       |
//!   | of the       |   copy   |      |       |  copy  | (same bytes, |
//!   | caller       | ------>  |      v       | -----> | same place)  |
//!   +--------------+ sp  heap |              |  heap  +--------------+
//! ```

use alloc::boxed::Box;
use core::mem::ManuallyDrop;

use crate::core::bugs;
use crate::core::extra::Spilled;
use crate::core::runtime::Runtime;
use crate::core::sanitizer;
use crate::core::scheduler::fail;
use crate::core::task::{flag, Task};
use crate::core::transfer::enter;
use crate::error::Result;
use crate::machine::arch::{self, hsw_asm_call_on, Copying};
use crate::machine::os;
use crate::machine::stack::slice::{self, Buffer};
use crate::machine::valgrind;

/// Bytes of its stack or window that the running tasklet has used, spilled
/// frames not counted; `None` for main, whose stack is the thread's, and on a
/// segment.
///
/// A few instructions.
pub fn used() -> Option<usize> {
    let runtime = Runtime::get();
    // SAFETY: the running tasklet is live.
    let me = unsafe { &*runtime.current() };
    let top = me.stack_top();
    (top != 0 && !me.is(flag::SEGMENT)).then(|| top - arch::stack_pointer())
}

/// Runs `f`, with the caller's frames in the heap if the running tasklet has
/// used more than the watermark of its window.
///
/// Tasklets with a stack of their own, and code that runs on a segment, go on as
/// with [`grow`]. `f` may switch, send, receive, and spill again, to any depth.
/// A panic of `f` goes on in the caller. Costs a comparison below the watermark;
/// above it two copies of the frames and an allocation for the closure.
///
/// ```
/// fn depth(n: u32) -> hardswitch::Result<u32> {
///     if n == 0 {
///         return Ok(0);
///     }
///     Ok(hardswitch::spill::call(move || depth(n - 1))?? + 1)
/// }
/// hardswitch::spawn(|| {
///     assert_eq!(depth(10_000)?, 10_000);
///     Ok(())
/// }).unwrap();
/// hardswitch::run().unwrap();
/// ```
///
/// # Errors
/// No memory for the frames; `f` has not run then.
#[inline]
pub fn call<F, R>(f: F) -> Result<R>
where
    F: FnOnce() -> R + 'static,
    R: 'static,
{
    match room() {
        Room::Enough => Ok(f()),
        Room::Spill => spill(f),
        Room::Segment => on_segment(f, 0),
    }
}

/// Runs `f` on a fresh segment if the running tasklet has little stack left.
///
/// The segment is of the size of the settings' stacks and comes from the same
/// pool. `f` may borrow from the caller, and may do everything else as well. Works on
/// main, too, where the system tells the bounds of the thread's stack.
///
/// # Errors
/// No memory for a segment; `f` has not run then.
#[inline]
pub fn grow<F, R>(f: F) -> Result<R>
where
    F: FnOnce() -> R,
{
    match room() {
        Room::Enough => Ok(f()),
        Room::Spill | Room::Segment => on_segment(f, 0),
    }
}

enum Room {
    Enough,
    /// Too little, and the frames lie in a window.
    Spill,
    /// Too little, on a stack of its own.
    Segment,
}

/// The bytes of a stack that must be left: a panic at that place needs the room to unwind. On
/// PowerPC the unwinder alone takes 12 KiB, since it has many registers to preserve.
const RESERVE: usize = if cfg!(target_arch = "powerpc64") {
    14 * 1024
} else {
    8 * 1024
};

#[inline]
fn room() -> Room {
    let runtime = Runtime::get();
    let sp = arch::stack_pointer();
    // SAFETY: the running tasklet is live.
    unsafe {
        let me = &*runtime.current();
        if !me.window.is_null() && !me.is(flag::SEGMENT) {
            if (*me.window).top - sp <= runtime.settings.watermark {
                return Room::Enough;
            }
            return Room::Spill;
        }
    }
    if sp >= runtime.limit() {
        Room::Enough
    } else {
        Room::Segment
    }
}

/// What the two ends of a spilled call share. It lies in the heap, since the frames of each end
/// are away in turn.
struct Job<F, R> {
    f: Option<F>,
    result: Option<R>,
    panic: os::Panic,
}

unsafe fn run_job<F: FnOnce() -> R, R>(job: *mut ()) {
    // SAFETY: `job` is the Job that `spill` made; it outlives the call.
    let job = unsafe { &mut *job.cast::<Job<F, R>>() };
    if let Some(f) = job.f.take() {
        let result = &mut job.result;
        job.panic = os::catch_panic(|| *result = Some(f()));
    }
}

/// Arguments of `op_spill`. They lie on the caller's stack, and are read before it goes away.
#[derive(Clone, Copy)]
struct SpillArgs {
    run: unsafe fn(*mut ()),
    job: *mut (),
}

#[inline(never)]
fn spill<F, R>(f: F) -> Result<R>
where
    F: FnOnce() -> R + 'static,
    R: 'static,
{
    let job = Box::into_raw(Box::new(Job {
        f: Some(f),
        result: None,
        panic: os::NO_PANIC,
    }));
    let mut args = SpillArgs {
        run: run_job::<F, R>,
        job: job.cast(),
    };
    let runtime = Runtime::get();
    // SAFETY: `op_spill` gets the arguments that it expects; `job` is taken back here and nowhere
    // else.
    let job = unsafe {
        enter(op_spill, (&raw mut args).cast());
        Box::from_raw(job)
    };
    if let Some(error) = runtime.take_failure() {
        return Err(error);
    }
    // SAFETY: the op did not fail, so it spilled, and now its frames are back.
    unsafe { came_back(runtime) };
    os::resume_panic(job.panic);
    Ok(job.result.expect("the closure ran"))
}

/// Moves the frames above `sp` to the heap and starts anew at the window's top.
unsafe extern "C" fn op_spill(args: *mut (), sp: usize) -> usize {
    // SAFETY: `spill` passes its arguments. The image is written at the top of
    // the window, above the frame of this function also when the watermark is 0:
    // in between lie the save area, as large as an image, and the
    // caller's frame, which holds the arguments.
    unsafe {
        let args = *args.cast::<SpillArgs>();
        let runtime = Runtime::get();
        let me = runtime.current();
        (*me).check_room(sp);
        let window = &*(*me).window;
        let len = window.top - sp;
        let mut buffer = Buffer::NONE;
        if let Err(error) = runtime.slices.fit(&mut buffer, len, &runtime.budget) {
            fail(runtime, error, crate::core::hooks::after::FAILED);
            return sp;
        }
        slice::copy(sp as *const u8, buffer.ptr(), len);
        runtime.copied.set(runtime.copied.get() + len as u64);
        bugs::clobber(me);
        let extra = (*me).extra();
        extra.spilled = Box::into_raw(Box::new(Spilled {
            before: extra.spilled,
            buffer,
            sp,
        }));
        extra.spilled_bytes += len;
        let body = window.top - SPILL_BODY;
        (body as *mut SpillArgs).write(args);
        arch::write_newborn(body, 0, (&raw const SPILL_ENTRY).cast(), me as usize)
    }
}

const SPILL_BODY: usize = size_of::<SpillArgs>().next_multiple_of(arch::STACK_ALIGN);

static SPILL_ENTRY: arch::First<Task> = spill_entry;

/// The first frame at the window's top.
unsafe extern "C" fn spill_entry(me: *mut Task, body: *mut u8) -> usize {
    // SAFETY: `body` points to the arguments that `op_spill` wrote. The frames that come back may
    // lie where this frame does: the port's routine copies them without a stack. `spill` releases
    // the buffer.
    unsafe {
        let args = *body.cast::<SpillArgs>();
        (args.run)(args.job);
        let runtime = Runtime::of(me);
        let spilled = &*(*me).extra().spilled;
        let len = (*(*me).window).top - spilled.sp;
        let into = Copying::new(spilled.buffer.ptr() as usize, spilled.sp, len);
        valgrind::slices(&Copying::NOTHING, &into);
        runtime.exchange(arch::NO_SAVE_AREA, Copying::NOTHING, into, spilled.sp)
    }
}

/// Releases the buffer of the frames that have just come back.
unsafe fn came_back(runtime: &Runtime) {
    // SAFETY: the running tasklet has spilled, and its latest frames are in place again.
    unsafe {
        let me = runtime.current();
        let extra = (*me).extra();
        let mut spilled = Box::from_raw(extra.spilled);
        extra.spilled = spilled.before;
        extra.spilled_bytes -= (*(*me).window).top - spilled.sp;
        runtime.slices.give(&mut spilled.buffer, &runtime.budget);
    }
}

/// Runs `f` on a segment of `size` bytes; 0 stands for the size in the settings.
#[inline(never)]
pub(crate) fn on_segment<F, R>(f: F, size: usize) -> Result<R>
where
    F: FnOnce() -> R,
{
    struct Call<F, R> {
        f: ManuallyDrop<F>,
        result: Option<R>,
        panic: os::Panic,
        tool: sanitizer::Segment,
    }
    unsafe extern "C" fn first_on_segment<F: FnOnce() -> R, R>(call: *mut ()) {
        // SAFETY: `call` is the local of `on_segment`, which waits for this function.
        let call = unsafe { &mut *call.cast::<Call<F, R>>() };
        // SAFETY: this is the first call on the segment.
        unsafe { call.tool.entered() };
        // SAFETY: `f` is taken only here, once.
        let f = unsafe { ManuallyDrop::take(&mut call.f) };
        let result = &mut call.result;
        call.panic = os::catch_panic(|| *result = Some(f()));
        // SAFETY: this is the last call on the segment.
        unsafe { call.tool.leave() };
    }

    let runtime = Runtime::get();
    let me = runtime.current();
    let size = if size == 0 { runtime.stacks.size } else { size };
    let segment = runtime.stacks.take(size, &runtime.budget)?;
    let top = segment.memory.top() & !(arch::STACK_ALIGN - 1);
    // SAFETY: the segment is free; `call` outlives the call. While the tasklet
    // is on the segment its frames in the window end at `low`, below this
    // frame and that of the routine, which are all a slice must hold.
    let (result, panic) = unsafe {
        let mut call = Call {
            f: ManuallyDrop::new(f),
            result: None,
            panic: os::NO_PANIC,
            tool: sanitizer::Segment::enter(me, segment.memory.bottom(), top),
        };
        let here = arch::exact_stack_pointer();
        (*me).check_room(here);
        let outer_limit = (*me).limit;
        let extra = (*me).extra();
        let outer = (extra.low, extra.segment.clone());
        let first = !(*me).is(flag::SEGMENT);
        let low = arch::slice_below(here - SEGMENT_MARGIN);
        if first {
            extra.low = low;
        }
        extra.segment = segment.memory.bottom()..segment.memory.top();
        (*me).set(flag::SEGMENT);
        (*me).limit = segment.limit;
        // The last call before the routine: the memory that a call pops is out of bounds again.
        valgrind::accessible(low, here - low);
        hsw_asm_call_on(top, first_on_segment::<F, R>, (&raw mut call).cast());
        let extra = (*me).extra();
        (extra.low, extra.segment) = outer;
        (*me).limit = outer_limit;
        if first {
            (*me).clear(flag::SEGMENT);
        }
        call.tool.left(me);
        (call.result, call.panic)
    };
    runtime.stacks.give(segment, &runtime.budget);
    os::resume_panic(panic);
    Ok(result.expect("the closure ran"))
}

/// More than `hsw_asm_call_on` keeps below its caller's stack pointer.
const SEGMENT_MARGIN: usize = 256;

impl Task {
    /// The lowest address of its window that it needs, when its save area is
    /// at `sp`.
    #[inline(always)]
    pub(crate) fn low(&self, sp: usize) -> usize {
        if self.is(flag::SEGMENT) {
            return self.low_on_segment(sp);
        }
        sp
    }

    #[cold]
    fn low_on_segment(&self, sp: usize) -> usize {
        self.extra.as_ref().map_or(sp, |extra| extra.low)
    }

    /// Its spilled frames, the latest first: the address of their save area,
    /// and where the bytes from there to the window's top are now.
    pub(crate) fn spilled_parts(&self) -> impl Iterator<Item = (usize, *const u8)> + '_ {
        let first = self
            .extra
            .as_ref()
            .map_or(core::ptr::null_mut(), |extra| extra.spilled);
        // SAFETY: the list is the tasklet's own and ends in null.
        let parts = core::iter::successors(unsafe { first.as_ref() }, |spilled| unsafe {
            spilled.before.as_ref()
        });
        parts.map(|spilled| (spilled.sp, spilled.buffer.ptr().cast_const()))
    }

    /// Bytes of its frames that are spilled.
    pub(crate) fn spilled_bytes(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.spilled_bytes)
    }
}

impl Runtime {
    /// The lowest stack address at which there is still room on the current
    /// stack, when that is not a window.
    fn limit(&self) -> usize {
        // SAFETY: the running tasklet is live.
        let me = unsafe { &*self.current() };
        let bottom = if me.is(flag::SEGMENT) {
            me.extra.as_ref().map_or(0, |extra| extra.segment.start)
        } else if let Some(own) = &me.own {
            own.memory.bottom()
        } else {
            self.thread_bottom()
        };
        if bottom == 0 {
            return 0;
        }
        bottom + RESERVE
    }
}
