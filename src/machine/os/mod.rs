//! The port to an operating system: everything that the runtime needs of one. Each
//! port is one file of the same shape.
//!
//! | asked | meaning |
//! |---|---|
//! | `runtime()`, `set_runtime(p)` | a pointer per OS thread |
//! | `StackMemory` | memory for a stack, guarded where there is virtual memory |
//! | `guard(bytes)` | size of a guard for which `bytes` are asked |
//! | `unwinding()` | is the calling thread unwinding a panic? |
//! | `catch(f)` | run `f`, turn a panic into an error |
//! | `catch_into(c, keep, f)` | the same for the first frame of a tasklet |
//! | `catch_panic(f)`, `resume_panic(p)` | the same, to go on elsewhere |
//! | `thread_stack_bottom()` | lowest address of the thread's stack, 0 if unknown |
//! | `at_thread_exit(end)` | call `end` when the thread ends |
//! | `outer_end()`, `set_outer_end(f)` | with std: the higher floor's end of a thread |
//! | `thread_id(fresh)` | the calling thread's number for life; `fresh` makes one |
//! | `at_the_very_end(p, f)` | with std: call `f(p)` when the thread's destructors have run |
//! | `is_first_thread()`, `exit_address()` | with std: does the process end, or a thread? |
//! | `clock()` | nanoseconds of the system's clock, if there is one |
//! | `thread_number()` | the number by which debuggers know the thread, 0 if none |
//! | `fatal(message)` | print one line and end the process |
//! | `watch_overflow(report)` | ask `report` about faults: it names the tasklet |

cfg_if::cfg_if! {
    if #[cfg(feature = "std")] {
        mod linux;
        use linux as sys;
        pub use sys::timespec;
    } else {
        mod bare;
        use bare as sys;
    }
}

pub use sys::{
    at_the_very_end, at_thread_exit, catch, catch_into, catch_panic, clock, exit_address, fatal,
    guard, is_first_thread, mappings, outer_end, resume_panic, runtime, set_outer_end, set_runtime,
    thread_id, thread_number, thread_stack_bottom, unwinding, watch_overflow, Panic, StackMemory,
    NO_PANIC,
};
