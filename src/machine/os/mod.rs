//! The port to an operating system: everything the runtime asks of one. Each
//! port is one file of the same shape.
//!
//! | asked | meaning |
//! |---|---|
//! | `runtime()`, `set_runtime(p)` | a pointer per OS thread |
//! | `StackMemory` | memory for a stack, guarded where there is virtual memory |
//! | `guard(bytes)` | how large a guard of so many bytes is |
//! | `unwinding()` | is the calling thread unwinding a panic? |
//! | `catch(f)` | run `f`, turn a panic into an error |
//! | `catch_into(c, keep, f)` | the same for the first frame of a tasklet |
//! | `catch_panic(f)`, `resume_panic(p)` | the same, to go on elsewhere |
//! | `thread_stack_bottom()` | lowest address of the thread's stack, 0 if unknown |
//! | `at_thread_exit()` | have the runtime of this thread shut down with it |
//! | `thread_id(fresh)` | the number that the calling thread has for life, made by `fresh` where it has none |
//! | `ends_with_thread(above)` | with std: as `at_thread_exit()`, with something more to end then |
//! | `at_the_very_end(p, f)` | with std: call `f(p)` when the thread's destructors have run |
//! | `end_part()` | with std: have the runtime of this thread shut down now |
//! | `is_first_thread()`, `exit_address()` | with std: to tell the end of the process from that of a thread |
//! | `thread_number()` | the number by which debuggers know the thread, 0 if none |
//! | `fatal(message)` | print one line and end the process |
//! | `watch_overflow()` | report overflows into guard pages by name |

#[cfg(feature = "std")]
mod linux;
#[cfg(feature = "std")]
use linux as sys;

#[cfg(feature = "std")]
pub(crate) use sys::{exit_address, is_first_thread};

#[cfg(not(feature = "std"))]
mod bare;
#[cfg(not(feature = "std"))]
use bare as sys;

#[cfg(feature = "std")]
pub(crate) use sys::{at_the_very_end, end_part, ends_with_thread, guard, mappings};
pub(crate) use sys::{
    at_thread_exit, catch, catch_into, catch_panic, fatal, resume_panic, runtime, set_runtime,
    thread_id, thread_number, thread_stack_bottom, unwinding, watch_overflow, Panic, StackMemory,
    NO_PANIC,
};
