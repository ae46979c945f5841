//! Deep recursion in small windows.

use core::ffi::c_void;

use super::{entry, hsw_status, out, thread_state, Failure};

/// A function that is called once. It must not unwind.
pub type hsw_function = Option<unsafe extern "C" fn(argument: *mut c_void)>;

/// Calls `function(argument)`. If the calling tasklet has used more of its window than the
/// watermark of the settings, the caller's frames are moved to the heap for the time of the call. A
/// recursion that calls itself through this is limited by the heap, not by the window.
///
/// *The caller's frames may be away meanwhile*: `argument` must not point into them, and `function`
/// must not touch anything there. On failure (no memory for the frames) the function was not
/// called.
#[no_mangle]
pub unsafe extern "C" fn hsw_spill(function: hsw_function, argument: *mut c_void) -> hsw_status {
    entry(|| {
        let function = function.ok_or(Failure::Null("function"))?;
        // SAFETY: `function` has this type and accepts `argument` (contract of the interface); if
        // it is unwound, the process ends (`thread_state::returning`).
        let called = crate::core::spill::call(move || {
            thread_state::inside(|| unsafe { thread_state::unwindable(function)(argument) })
        });
        called.map_err(Failure::own)
    })
}

/// Calls `function(argument)`; if little of the caller's stack is left, on a fresh segment. The
/// caller's frames stay where they are: `argument` may point into them. Works on the main tasklet,
/// too. On failure (no memory for a segment) the function was not called.
#[no_mangle]
pub unsafe extern "C" fn hsw_grow(function: hsw_function, argument: *mut c_void) -> hsw_status {
    entry(|| {
        let function = function.ok_or(Failure::Null("function"))?;
        // SAFETY: `function` has this type and accepts `argument` (contract of the interface); if
        // it is unwound, the process ends (`thread_state::returning`).
        let called = crate::core::spill::grow(|| {
            thread_state::inside(|| unsafe { thread_state::unwindable(function)(argument) })
        });
        called.map_err(Failure::own)
    })
}

/// Bytes of its window or stack that the calling tasklet has in use; 0 for the main tasklet and on
/// a segment.
#[no_mangle]
pub unsafe extern "C" fn hsw_stack_used(bytes: *mut usize) -> hsw_status {
    entry(|| {
        out(bytes, "bytes")?.set(crate::core::spill::used().unwrap_or(0));
        Ok(())
    })
}
