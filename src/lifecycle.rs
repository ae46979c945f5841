//! The life of a thread's runtime: how it is made, and the one way in which it ends.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr;

use crate::core::above::Ending;
use crate::core::contain::contain;
use crate::core::exceptions;
use crate::core::hooks::{HOOK_CHANNEL, HOOK_ENDED, HOOK_SCHEDULE};
use crate::core::overflow;
use crate::core::references::Tasklet;
use crate::core::release::{give_up, release_left, KILLS};
use crate::core::runtime::{End, Runtime};
use crate::core::settings::Settings;
use crate::core::table;
use crate::core::task::flag;
use crate::core::throw;
use crate::debug;
use crate::error::{Error, Result, SettingsError, StateError};
use crate::machine::arch::STACK_ALIGN;
use crate::machine::os;

impl Settings {
    /// Makes these the settings of the calling thread.
    ///
    /// # Errors
    /// [`Error::Settings`] when a value is out of its limits or the thread has a runtime already;
    /// [`StateError::ThreadEnding`]. Nothing has changed then.
    pub fn apply(self) -> Result<()> {
        self.may_apply()?;
        notice_the_end()?;
        create(self, None);
        Ok(())
    }

    /// As [`Settings::apply`], with the windows in memory that the host hands in:
    /// `windows * window_size` bytes and 32 for alignment. There are no guard pages then. Every
    /// switch checks the stack pointer, every eviction checks a canary at the lower end of the
    /// window, and an overflow ends the process with a message that names the tasklet.
    ///
    /// # Errors
    /// As [`Settings::apply`]; [`SettingsError::Memory`] when the memory is too small, null, or
    /// would end beyond the address space.
    ///
    /// # Safety
    /// `[memory, memory + bytes)` is writable, and nothing else uses it, until the
    /// thread has ended and its last tasklet and channel are gone.
    pub unsafe fn apply_in(self, memory: *mut u8, bytes: usize) -> Result<()> {
        self.may_apply()?;
        let needed = self.windows * self.window_size + 2 * STACK_ALIGN;
        let end = (memory as usize).checked_add(bytes);
        if memory.is_null() || bytes < needed || end.is_none() {
            return Err(SettingsError::Memory.into());
        }
        notice_the_end()?;
        create(self, Some(memory as usize));
        Ok(())
    }

    /// May these be the settings of a runtime that the calling thread makes now?
    fn may_apply(&self) -> Result<()> {
        match Runtime::existing() {
            Some(_) => Err(SettingsError::TooLate.into()),
            None => Ok(self.check()?),
        }
    }
}

/// From now on the end of the calling thread is noticed. Error: it is ending.
fn notice_the_end() -> Result<()> {
    match os::at_thread_exit(thread_ends) {
        true => Ok(()),
        false => Err(StateError::ThreadEnding.into()),
    }
}

/// Makes the runtime of a thread that has none and has asked for no settings.
pub fn create_default() -> &'static Runtime {
    create(Settings::default(), None)
}

/// Makes the runtime of a thread that has none. A thread that is past its end gets one in which
/// nothing can be made and no tasklet can run.
#[cold]
fn create(settings: Settings, memory: Option<usize>) -> &'static Runtime {
    let lives = os::at_thread_exit(thread_ends);
    let end = if lives { End::Not } else { End::Over };
    let runtime = Box::into_raw(Box::new(Runtime::new(settings, memory, end)));
    // SAFETY: the runtime was just allocated, and only this thread knows it.
    let runtime = unsafe {
        table::add_runtime(runtime);
        &*runtime
    };
    // After `add_runtime`: a thread that makes another C++ runtime known meanwhile finds this
    // runtime in the table.
    exceptions::look(runtime);
    os::set_runtime(ptr::from_ref(runtime).cast());
    if !lives {
        stand_down(runtime);
        // It is kept until the last object and the thread itself are gone.
        runtime.channel_made();
        os::at_the_very_end(ptr::from_ref(runtime).cast(), free_stand_in);
        return runtime;
    }
    if runtime.settings.overflow_report {
        os::watch_overflow(overflow::report_overflow);
    }
    // Without a main tasklet nothing works, so a ceiling that is too low for it is fatal.
    let Ok(main) = runtime.new_task(flag::MAIN | flag::ALIVE | flag::STARTED) else {
        os::fatal(format_args!("no memory for the main tasklet"));
    };
    // SAFETY: `main` was just made. One reference is the queue's, one the thread's.
    unsafe {
        (*main).refs += 1;
        runtime.queue.append(main);
    }
    runtime.set_main(main);
    (runtime.above.attached)(runtime);
    runtime
}

/// Ends every tasklet, from main: started ones get `Error::Exit` where they wait.
fn shut_down(runtime: &Runtime) {
    // Tasklets may make new ones while they end: so there are ten rounds, as for a tasklet
    // that refuses to end.
    for _ in 0..KILLS {
        let alive: Vec<Tasklet> = runtime
            .all_tasklets()
            .into_iter()
            .filter(|t| t.is_alive() && !t.is_main() && !t.is_zombie())
            .collect();
        if alive.is_empty() {
            break;
        }
        // None gets a turn because another one ends.
        for tasklet in &alive {
            if !tasklet.is_blocked() {
                let _ = tasklet.remove();
            }
        }
        for tasklet in alive {
            // What it throws has a payload, and what it keeps goes with the last handle: their
            // destructors are user code.
            contain(AT_END, || {
                if tasklet.is_alive() {
                    let ended = throw::throw_in_place(&tasklet, Error::Exit);
                    contain(AT_END, || drop(ended));
                }
                drop(tasklet);
            });
        }
    }
}

fn is_anybody_left(runtime: &Runtime) -> bool {
    let ends = |t: &Tasklet| t.is_alive() && !t.is_main() && !t.is_zombie();
    runtime.all_tasklets().iter().any(ends)
}

/// Takes the tasklets that refused to end out of all queues. Their references stay: they are
/// kept for ever, and no code that comes later can have them run.
fn give_up_rest(runtime: &Runtime) {
    for tasklet in runtime.all_tasklets() {
        if tasklet.is_main() {
            continue;
        }
        let task = tasklet.as_ptr();
        // SAFETY: live tasks of this thread; the queue's reference is never given back, which keeps
        // them.
        unsafe {
            (runtime.above.interrupt)(runtime, task);
            if (*task).is(flag::BLOCKED) {
                (runtime.above.unlink)(task);
            } else if (*task).is(flag::QUEUED) {
                runtime.queue.remove(task);
            }
            if (*task).is(flag::ALIVE) {
                give_up(runtime, task);
            }
        }
    }
}

/// The thread ends: `nobody` takes the place of main, which has left the queue, as the
/// only one there. Code that runs later still (destructors of thread-locals that were made
/// earlier) may have handles: operations that would run or block a tasklet are refused.
fn stand_down(runtime: &Runtime) {
    debug_assert!(runtime.queue.head().is_null());
    runtime.set_end(End::Over);
    runtime.slab.forget_free();
    let nobody = runtime.nobody();
    // SAFETY: `nobody` is a task in the runtime itself, in no queue.
    unsafe {
        (*nobody).runtime = ptr::from_ref(runtime).cast();
        runtime.queue.append(nobody);
    }
    runtime.watchdogs.borrow_mut().clear();
    runtime.set_main(nobody);
    runtime.end_hooks();
}

/// Ends the calling thread's runtime: started tasklets get [`Error::Exit`]. Without
/// std this does not happen by itself at the end of a thread. To be called from main; inside
/// another tasklet it does nothing.
///
/// # Safety
/// Handles of the thread's tasklets and channels that are left are dropped on this thread, and
/// not used in any other way.
#[cfg(not(feature = "std"))]
pub unsafe fn end_thread() {
    thread_exit(|| false);
}

/// Where destructors run at the end of a thread: for the log, when one of them panics.
const AT_END: &str = "a destructor at the end of a thread";

/// Asked at the end of a thread: are its tasklets left as they are?
///
/// Yes if another tasklet than main is running: nothing can be run in order any more. Yes also at
/// the end of the process, where the tasklets of all other threads are left as well. (If they were
/// unwound then, it would hit code in the middle of its work: a C++ destructor that waits would let
/// the kill out as an exception, and the process would end with `std::terminate`.)
pub fn abandons() -> bool {
    inside_tasklet() || process_ends()
}

/// As [`thread_exit`], called while thread-locals are destroyed: the thread ends by itself, or the
/// process ends.
fn thread_ends() {
    if !abandons() {
        end_part();
    } else if let Some(runtime) = Runtime::existing() {
        abandon(runtime);
    }
}

/// [`thread_exit`] with the function that was given to [`ends_with_thread`].
pub fn end_part() {
    thread_exit(os::outer_end());
}

/// Has `above` called at the end of the calling thread, as [`thread_exit`] does. False when the
/// thread is past that.
pub fn ends_with_thread(above: fn() -> bool) -> bool {
    os::set_outer_end(above);
    os::at_thread_exit(thread_ends)
}

/// Does what happens at the end of a thread while thread-locals are destroyed. For a thread-local
/// that is destroyed before or after the library's own.
pub fn ends_now(above: fn() -> bool) {
    os::set_outer_end(above);
    thread_ends();
}

/// Does the process end, and not this thread alone? Asked while thread-locals are destroyed: this
/// is the first thing that `exit` does, on the thread that calls it. The thread-locals of the first
/// thread are destroyed at no other time.
fn process_ends() -> bool {
    os::is_first_thread() || debug::is_called_by(os::exit_address())
}

/// Is another tasklet than main running? Then its thread cannot end in order.
pub fn inside_tasklet() -> bool {
    Runtime::existing().is_some_and(|runtime| runtime.current() != runtime.main())
}

/// Frees the runtime that stands for a thread which has ended. No code of the thread runs any more
/// that could use it.
extern "C" fn free_stand_in(runtime: *mut core::ffi::c_void) {
    os::set_runtime(ptr::null());
    // SAFETY: `create` has registered a runtime of this thread, which is not freed before.
    unsafe {
        let runtime = &*runtime.cast::<Runtime>();
        // A handle of the running tasklet refers to a task in the runtime itself, which must then
        // stay.
        if (*runtime.nobody()).refs == 1 {
            runtime.let_go();
        }
    }
}

/// Ends all that the library keeps for the calling thread, in the order that
/// `docs/threads.md` gives: this is the one way in which a part of a thread ends. It is called at
/// the end of a thread, and when a host asks for it.
///
/// `above` drops what a higher floor keeps for the thread; it returns whether there was
/// anything.
pub fn thread_exit(above: fn() -> bool) {
    if inside_tasklet() {
        return abandon(Runtime::get());
    }
    // Destructors may make things again, and with them a runtime.
    for _ in 0..KILLS {
        match Runtime::existing() {
            Some(runtime) if !runtime.is_ending() => end_runtime(runtime, above),
            // A destructor that runs at the end asks for it.
            Some(runtime) if runtime.end() == End::Under => return,
            _ => {
                let mut any = true;
                contain(AT_END, || any = above());
                if !any {
                    return;
                }
            }
        }
    }
}

fn end_runtime(runtime: &Runtime, above: fn() -> bool) {
    let ending = runtime.above.ending;
    runtime.set_end(End::Under);
    runtime.set_trap(0);
    // User code runs in each round, and may make things that the next round ends.
    for _ in 0..KILLS {
        // A part whose destructor panics was something to drop, too.
        let mut dropped = false;
        let mut part = |drop_it: &mut dyn FnMut() -> bool| {
            let mut was_there = true;
            contain(AT_END, || was_there = drop_it());
            dropped |= was_there;
        };
        part(&mut || ending(Ending::SetFree));
        part(&mut || {
            shut_down(runtime);
            false
        });
        give_up_rest(runtime);
        part(&mut || drop_what_main_has(runtime));
        part(&mut || ending(Ending::LetGo));
        part(&mut || above());
        if !(dropped | is_anybody_left(runtime)) {
            break;
        }
    }
    give_up_rest(runtime);
    let main = runtime.main();
    // SAFETY: main is queued, and live: the thread's reference is released below.
    unsafe { runtime.queue.remove(main) };
    stand_down(runtime);
    // User code still runs, but every operation that makes, runs or waits for something is refused.
    contain(AT_END, || {
        ending(Ending::Close);
    });
    contain(AT_END, || {
        above();
    });
    // SAFETY: both are live tasks; what they own is moved out before it is dropped.
    unsafe {
        (*main).clear(flag::ALIVE | flag::STARTED);
        for task in [main, runtime.nobody()] {
            let (slot, extra) = ((*task).slot.take(), (*task).extra.take());
            contain(AT_END, || drop(slot));
            contain(AT_END, || drop(extra));
        }
    }
    contain(AT_END, || {
        ending(Ending::Leave);
    });
    os::set_runtime(ptr::null());
    // SAFETY: the two references are that of the queue and that of the thread. The runtime is kept
    // until the last line.
    unsafe {
        runtime.channel_made();
        release_left(main);
        release_left(main);
    }
    runtime.let_go();
}

/// Drops the values that the host has put into main, and the callbacks. Returns whether there were
/// any.
fn drop_what_main_has(runtime: &Runtime) -> bool {
    // SAFETY: main is the running tasklet.
    let values = unsafe { crate::core::locals::drop_values(runtime.main()) };
    let (schedule, channel) = (runtime.on_schedule.take(), runtime.on_channel.take());
    let error = runtime.on_error.take();
    let any = values || schedule.is_some() || channel.is_some() || error.is_some();
    runtime.set_hook(HOOK_SCHEDULE | HOOK_CHANNEL, false);
    contain(AT_END, || drop(schedule));
    contain(AT_END, || drop(channel));
    contain(AT_END, || drop(error));
    any
}

/// The thread ends inside a tasklet, whose stack is about to go, so no tasklet can run
/// safely any more; or it ends with the process. Code that comes later with a handle can run none.
fn abandon(runtime: &Runtime) {
    if runtime.set_end(End::Over) == End::Over {
        return;
    }
    runtime.slab.forget_free();
    // Destructors and the logger run from here on: what would switch is refused.
    runtime.set_hook(HOOK_ENDED, true);
    let inside = inside_tasklet() && !process_ends();
    contain(AT_END, || {
        (runtime.above.ending)(Ending::Abandon);
    });
    if inside {
        contain("the logger", || {
            log::warn!("a thread ended inside a tasklet: its other tasklets are abandoned");
        });
    }
}
