//! Errors that C keeps beyond its next failing call.

use alloc::sync::Arc;

use super::failure::Failure;
use super::last_error::{self, LastError};
use super::object::{self, get, handle_of_process};
use super::{entry, hsw_status, out};

/// A handle of an error that a call failed with, payload included. Any thread may use it. It has
/// one owner, who gives it back with `hsw_error_release`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_error {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

handle_of_process!(hsw_error, Arc<LastError>, Error);

/// Keeps the calling tasklet's last error, which would be forgotten at its next failing call. So
/// code that cleans up may fail, and still pass the first error on with `hsw_error_fail`. The last
/// error stays what it is.
///
/// `HSW_ERR_STATE`: there is none.
#[no_mangle]
pub unsafe extern "C" fn hsw_error_last(error: *mut hsw_error) -> hsw_status {
    // Not `entry`: a failure must not overwrite the error it asks about.
    super::quietly(hsw_status::HSW_ERR_INTERNAL, || {
        let kept = || {
            let wanted = out(error, "error")?;
            let Some(last) = last_error::last()? else {
                return Ok(hsw_status::HSW_ERR_STATE);
            };
            wanted.set(object::hand_out(Arc::new(last))?);
            Ok(hsw_status::HSW_OK)
        };
        kept().unwrap_or_else(|failure: Failure| failure.status())
    })
}

/// Makes another handle of the same error, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_error_retain(error: hsw_error, other: *mut hsw_error) -> hsw_status {
    object::retain(error, other)
}

/// Gives a handle back. A payload is freed with the last handle of it and the last copy elsewhere.
#[no_mangle]
pub extern "C" fn hsw_error_release(error: hsw_error) -> hsw_status {
    object::release(error)
}

/// Makes the error the calling tasklet's last one, and returns its status: a function that ends
/// with `return hsw_error_fail(error)` fails with the very error that was kept. The handle stays
/// the caller's. (If the handle names no error, that is a failure like any other.)
#[no_mangle]
pub extern "C" fn hsw_error_fail(error: hsw_error) -> hsw_status {
    entry(|| {
        let kept = get(error)?;
        Err(Failure::Passed(LastError::clone(&kept)))
    })
}
