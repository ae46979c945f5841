//! The function that a tasklet is to run: the image of a newborn that waits on its stack, the
//! first frame, and the end of a function that never runs.

use alloc::boxed::Box;
use core::marker::PhantomData;
use core::mem;
use core::ptr;

use crate::core::contain::contain;
use crate::core::release::KILLS;
use crate::core::runtime::Runtime;
use crate::core::sanitizer;
use crate::core::task::{flag, Task, Window};
use crate::core::value::Slot;
use crate::core::{locals, tasklet_end, thrown, transfer};
use crate::error::{Error, Result};
use crate::machine::arch;
use crate::machine::os;
use crate::machine::stack::own::OwnStack;
use crate::machine::stack::slice::Buffer;

/// What is known of a body without its type. `repr(C)`: the port reads `run`, so it comes first.
#[repr(C)]
struct Newborn {
    run: arch::First<Task>,
    drop: unsafe fn(*const u8),
    /// Bytes from the body to the top of the stack.
    reach: usize,
}

/// A function that may be sent to another thread before it has started.
pub type Body = Box<dyn FnOnce() -> Result<()> + Send>;

/// The body of `f`.
pub fn body<F, R>(f: F) -> Body
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
    // SAFETY: the body of type F never ran, and is moved out only here; a slice need not be
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
    // that is moved out only here (`started` clears BOUND).
    unsafe {
        let runtime = Runtime::of(task);
        sanitizer::arrived(runtime);
        (*task).started();
        // The error that ends the tasklet goes into its slot, not into this frame, which
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
        sanitizer::left_for_good(runtime, tasklet_end::end_running(task))
    }
}

/// Drops what the ending tasklet keeps in [`Local`](crate::Local)s. A panic there
/// ends it as one of its body would, unless an error did already.
#[cold]
#[inline(never)]
unsafe fn end_locals(task: *mut Task) {
    // SAFETY: `task` is the running tasklet. Its error is put aside: destructors may switch.
    unsafe {
        let error = (*task).slot.take();
        os::catch_into(task, keep_error, || {
            locals::drop_values(task);
        });
        // After a panic: what destructors have made before it.
        contain("a destructor of a tasklet's local", || {
            locals::drop_values(task);
        });
        {
            // The next function of this handle counts as another tasklet.
            (*task).extra().number = 0;
        }
        if !error.is_empty() {
            fill_last(task, error);
        }
        // An error that it was never told ends it, unless something else has.
        if let Some(error) = thrown::at_end(Runtime::of(task), task) {
            match (*task).slot.is_bomb() {
                true => Runtime::of(task).lose(Slot::bomb(error)),
                false => keep_error(task, error),
            }
        }
    }
}

/// Keeps the error that ended the running tasklet for [`tasklet_end::end_running`].
#[cold]
#[inline(never)]
fn keep_error(task: *mut Task, error: Error) {
    // SAFETY: the running tasklet; its slot was claimed on arrival.
    unsafe { fill_last(task, Slot::bomb(error)) };
}

/// Puts the error that ends the running tasklet into its slot. A value that was put there by hand
/// since is dropped before, in its context; and so are values that those destructors put there,
/// ten times in all. A value that is left then is dropped by the tasklet that arrives next.
unsafe fn fill_last(task: *mut Task, error: Slot) {
    // SAFETY: `task` is the running tasklet, and no reference to its slot is held.
    unsafe {
        for _ in 0..KILLS {
            let left = (*task).slot.take();
            if left.is_empty() {
                break;
            }
            contain("a destructor in a tasklet that ended", || drop(left));
        }
        Runtime::of(task).lose((*task).slot.put(error));
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
    /// Gives stack or slice and window back. The tasklet is not on them.
    ///
    /// # Safety
    /// `task` is not alive and not the running tasklet.
    pub unsafe fn reclaim(task: *mut Task) {
        // SAFETY: `task` is a live task that is neither alive nor running, so nothing refers to
        // the memory that is given back.
        unsafe {
            let runtime = Runtime::of(task);
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
        // SAFETY: BOUND says that the image was written; entries are constants.
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

    /// Takes from a tasklet that has not started its function and the stack on which the function
    /// lies: it is neither bound nor alive then.
    ///
    /// # Safety
    /// `task` has not started, and is in no queue.
    pub unsafe fn unbind(task: *mut Task) -> Option<Unbound> {
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
                runtime: Runtime::of(task),
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
    pub unsafe fn bind<F, R>(task: *mut Task, f: F) -> Result<()>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        if (mem::size_of::<F>() > INLINE_BODY || mem::align_of::<F>() > arch::STACK_ALIGN)
            && !is_boxed::<F>()
        {
            let boxed: Box<dyn FnOnce() -> Result<()>> = Box::new(move || f().into_result());
            // SAFETY: `task` is neither bound nor alive.
            return unsafe { Task::bind(task, boxed) };
        }
        // SAFETY: `task` is neither bound nor alive; `place` is for the image of this function.
        unsafe {
            let place = Task::take_stack(task, EntryOf::<F, R>::NEEDED)?;
            Task::write_image::<F, R>(task, place, f);
        }
        Ok(())
    }

    /// Takes a stack, or a slice of a window, for an image of `needed` bytes. Returns
    /// the top of the stack, and the distance from an address on it to its place in the image.
    ///
    /// # Safety
    /// `task` is neither bound nor alive.
    #[inline(always)]
    unsafe fn take_stack(task: *mut Task, needed: usize) -> Result<(usize, isize)> {
        // SAFETY: a live task without a stack; windows live as long as the runtime.
        unsafe {
            let runtime = Runtime::of(task);
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
                (*task).set((*window).tag);
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
    pub unsafe fn take_body(task: *mut Task) -> Body {
        // SAFETY: the flags say that the image holds a `Body` that never ran; it is moved
        // out once.
        unsafe {
            let body = (*task).newborn().1.cast::<Body>().read_unaligned();
            (*task).clear(flag::BOUND | flag::ALIVE | flag::SENDABLE);
            Task::reclaim(task);
            body
        }
    }

    /// Binds `body`; when no stack can be had it stays where it is.
    ///
    /// # Safety
    /// `task` is neither bound nor alive.
    pub unsafe fn put_body(task: *mut Task, body: &mut Option<Body>) -> Result<()> {
        // SAFETY: `task` is neither bound nor alive; `place` is for the image of a `Body`.
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
    pub fn started(&mut self) {
        self.write_flags(self.flags & !flag::BOUND | flag::STARTED);
    }
}

/// A function that will not run, and the stack on which it lies. To drop it runs user code: the
/// destructors of what the function owns may use the tasklet again, which is in order by then.
pub struct Unbound {
    drop: unsafe fn(*const u8),
    body: *const u8,
    /// Is dropped after the body, also when the body's destructor panics.
    _ground: Ground,
}

impl Drop for Unbound {
    fn drop(&mut self) {
        // SAFETY: the body never ran, lies in memory that `_ground` keeps, and is moved out only
        // here.
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
        // SAFETY: nothing refers to the stack or slice any more; the tasklet that it was of, or
        // its handle, keeps the runtime.
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
