//! The callbacks of requests: where the body of a request comes from, and where that of an answer
//! goes.

use core::cell::Cell;
use core::ffi::c_void;
use std::io::{self, Read, Write};

use alloc::format;
use alloc::rc::Rc;

use super::failure::Failure;
use super::last_error;
use super::status::RawStatus;
use super::thread_state;
use super::value::Owned;

/// Gives the next bytes of a request's body: writes up to `size` bytes into `buffer`, and to
/// `*given` how many. 0 is the end. It may wait. Any status but `HSW_OK` ends the request, and the
/// call that it was for fails with it, and with the last error that belongs to it. It must not
/// unwind.
pub type hsw_http_source = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        buffer: *mut c_void,
        size: usize,
        given: *mut usize,
    ) -> RawStatus,
>;

/// Takes the next bytes of a body, all of them. `received` is how many have come, these included;
/// `length` is how many there are in all, `HSW_HTTP_UNKNOWN` if that is not known; of a download,
/// bytes of the whole file. It may wait. Any status but `HSW_OK` ends the copying, and the call
/// fails with it, and with the last error that belongs to it. It must not unwind.
pub type hsw_http_sink = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        data: *const c_void,
        size: usize,
        received: u64,
        length: u64,
    ) -> RawStatus,
>;

/// The failure of a callback, until the call that it was for takes it.
pub type Failed = Rc<Cell<Option<Failure>>>;

/// Calls a callback. Its failure is kept, and the client told that there was one.
fn call(failed: &Cell<Option<Failure>>, callback: impl FnOnce() -> RawStatus) -> io::Result<()> {
    let done = last_error::aside(|| last_error::passed_on(thread_state::inside(callback)));
    done.map_err(|(_, failure)| refused(failed, failure))
}

fn refused(failed: &Cell<Option<Failure>>, failure: Failure) -> io::Error {
    failed.set(Some(failure));
    io::Error::other("a callback has failed")
}

/// A source as the client reads it. It goes with the request, or with the answer that the server
/// has sent before it had read everything.
pub struct Source {
    pub function: unsafe extern "C" fn(*mut c_void, *mut c_void, usize, *mut usize) -> RawStatus,
    pub user: Owned,
    pub failed: Failed,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (pointer, size) = (buffer.as_mut_ptr().cast(), buffer.len());
        let mut given = 0;
        // SAFETY: an `hsw_http_source` that accepts this `user` and does not unwind (contract of
        // the interface); the buffer has so many bytes.
        call(&self.failed, || unsafe {
            let function = thread_state::unwindable(self.function);
            function(self.user.peek().0, pointer, size, &mut given)
        })?;
        if given > size {
            let words = format!("the source says that it has given {given} of {size} bytes");
            return Err(refused(&self.failed, Failure::Argument(words)));
        }
        Ok(given)
    }
}

/// A sink as the client writes to it.
pub struct Sink<'a> {
    pub function: unsafe extern "C" fn(*mut c_void, *const c_void, usize, u64, u64) -> RawStatus,
    pub user: *mut c_void,
    pub failed: &'a Cell<Option<Failure>>,
    /// Bytes that have come before, and how many there are in all.
    pub received: &'a Cell<u64>,
    pub start: u64,
    pub length: u64,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (pointer, size) = (bytes.as_ptr().cast(), bytes.len());
        let received = self.received.get() + size as u64;
        let so_far = self.start.saturating_add(received);
        // SAFETY: an `hsw_http_sink` that accepts this `user` and does not unwind (contract of the
        // interface).
        call(self.failed, || unsafe {
            let function = thread_state::unwindable(self.function);
            function(self.user, pointer, size, so_far, self.length)
        })?;
        self.received.set(received);
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
