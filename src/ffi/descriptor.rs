//! Waiting for any descriptor.

use alloc::format;

use super::net::refused;
use super::{entry, hsw_status, out, time_limit};
use crate::net;
use crate::poll::shim::Events;

/// Blocks the tasklet until one of the events of `interest` (the bits of `<poll.h>`) has come for
/// the descriptor `fd`, or an error or hang-up, which are always waited for. `*ready` gets what has
/// come. Waits at most `timeout_ns` nanoseconds (0: does not wait; `HSW_NO_LIMIT`: no limit).
///
/// The descriptor stays the caller's, and may be of any kind that `poll` takes: a pipe, an eventfd,
/// a socket of another library. It need not be non-blocking. A regular file is always ready. If
/// several tasklets wait for the same event, it ends the oldest wait. Costs one system call to
/// begin, besides those of the loop.
///
/// `HSW_ERR_TIMEOUT`: the time is up. `HSW_ERR_IO` with `EBADF`: it is no open descriptor. Close it
/// only when no tasklet waits for it: a wait for a descriptor that was closed meanwhile fails in
/// that way, but as late as two seconds afterwards.
#[no_mangle]
pub unsafe extern "C" fn hsw_fd_wait(
    fd: i32,
    interest: i16,
    timeout_ns: u64,
    ready: *mut i16,
) -> hsw_status {
    entry(|| {
        let ready = out(ready, "ready")?;
        let timeout = time_limit(timeout_ns)?;
        let found = net::wait(fd, Events::from_bits(interest), timeout)
            .map_err(|error| refused(error, || format!("descriptor {fd}")))?;
        ready.set(found.bits());
        Ok(())
    })
}
