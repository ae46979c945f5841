//! What C is told of a request that has failed.

use super::failure::Failure;
use super::http_problem::hsw_http_error;
use super::last_error;
use super::net::failed;
use super::out;
use super::status::hsw_status::{self, *};
use crate::net::http::RequestError;
use crate::Error;

/// The failure of a request. What was thrown at the tasklet stays that.
pub(super) fn of_request(error: RequestError) -> Failure {
    failed(error.into())
}

/// What went wrong with the request of the calling tasklet's last error, and when. It does not
/// change the last error. An error that was thrown at the tasklet, or that comes from a callback,
/// has nothing of the request.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_last_error(error: *mut hsw_http_error) -> hsw_status {
    // Not `entry`: a failure must not overwrite the error that is asked about.
    super::quietly(HSW_ERR_INTERNAL, || {
        let told = || {
            let wanted = out(error, "error")?;
            let last = last_error::last()?;
            let its = match last.as_ref().and_then(|last| last.cause()) {
                Some(Error::Io(error)) => Some(&**error),
                _ => None,
            };
            wanted.set(hsw_http_error::of(its));
            Ok(HSW_OK)
        };
        told().unwrap_or_else(|failure: Failure| failure.status())
    })
}
