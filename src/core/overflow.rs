//! Stack overflows: where they are noticed, and the message with the name of the tasklet.

use core::fmt;

use crate::core::runtime::Runtime;
use crate::core::task::{flag, Task};
use crate::machine::arch;
use crate::machine::os;

/// The message for a stack overflow of a tasklet, and a text to add to it.
struct Overflow<'a>(&'a Task, &'a str);

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

impl Task {
    /// Ends the process if `sp`, the address of a save area or of a frame, is no more on the
    /// stack that the tasklet runs on: a frame has stepped over the guard, or there is no guard.
    #[inline(always)]
    pub fn check_room(&self, sp: usize) {
        if sp < self.limit {
            self.check_exactly(sp);
        }
    }

    #[cold]
    #[inline(never)]
    fn check_exactly(&self, sp: usize) {
        // The limit is higher, by one save area.
        if sp < self.limit - arch::SAVE_AREA {
            self.overflowed();
        }
    }

    /// Ends the process: memory is damaged.
    #[cold]
    pub fn overflowed(&self) -> ! {
        os::fatal(format_args!("{}", Overflow(self, "")))
    }
}

/// Called out of a signal handler: has this thread's running tasklet overflowed its stack,
/// when `address` faulted and the stack pointer was `sp`? If so, `write` gets a line that says
/// so. `sp` is 0 where it is not known.
pub fn report_overflow(address: usize, sp: usize, write: &dyn Fn(&[u8])) -> bool {
    /// A stack pointer that is farther below a stack was not moved there by a frame.
    const FAR: usize = 64 * 1024 * 1024;
    /// A frame touches memory above its stack pointer, and below it only a red zone and what a
    /// call pushes.
    const NEAR: usize = 4 * 1024;
    let Some(runtime) = Runtime::existing() else {
        return false;
    };
    // SAFETY: this thread's runtime, interrupted at any point: plain reads of
    // fields that are always initialised.
    unsafe {
        let task = &*runtime.current();
        let Some((stack, _)) = task.stack() else {
            return false;
        };
        // A text that does not fit is cut off.
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
