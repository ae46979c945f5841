//! Exceptions of C's, with a payload, as errors of the runtime.

use core::ffi::{c_char, c_void};

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};

use super::failure::Failure;
use super::status::hsw_status;
use super::value::{hsw_destroy, Common, Owned};
use crate::error::{Error, Thrown};

/// Makes an exception the last error of the calling tasklet and returns `HSW_ERR_THROWN`: an entry
/// function that ends with `return hsw_fail(...)` ends its tasklet with that exception, which is
/// then treated as any uncaught one. `message` may be null. The payload is freed with `destroy`
/// when the last copy of the exception has gone.
#[no_mangle]
pub unsafe extern "C" fn hsw_fail(
    data: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
) -> hsw_status {
    super::entry(|| {
        // SAFETY: `message` is null or ends in a zero byte (contract of the interface).
        Err(Failure::Thrown(unsafe { thrown(data, destroy, message) }))
    })
}

/// An exception of C's as an error of the runtime.
///
/// SAFETY: `message` is null or a string that ends in a zero byte.
pub unsafe fn thrown(data: *mut c_void, destroy: hsw_destroy, message: *const c_char) -> Error {
    let payload = Common(Owned::new(data, destroy));
    // SAFETY: `message` is null or ends in a zero byte, as the caller has promised.
    let message = unsafe { super::string(message, "message") }
        .unwrap_or_else(|_| "an exception of the host".to_string());
    Error::Thrown(Thrown::with_message(Box::new(payload), Cow::Owned(message)))
}

/// The payload of an exception of C's, lent.
pub fn payload_of(error: &Error) -> Option<(*mut c_void, hsw_destroy)> {
    match error {
        Error::Thrown(thrown) => thrown
            .downcast_ref::<Common>()
            .map(|payload| payload.0.peek()),
        _ => None,
    }
}

/// An exception without a payload.
pub fn words(message: String) -> Error {
    Error::Thrown(Thrown::with_message(Box::new(()), Cow::Owned(message)))
}
