//! Listings of tasklets for people to read.

use core::ffi::{c_char, c_void};
use core::fmt;

use super::{entry, hsw_status, thread_state, Failure};

/// Gets a piece of text: `length` bytes. They do not end in a zero, and may end in the middle of a
/// line. It must neither use this library nor unwind.
pub type hsw_write =
    Option<unsafe extern "C" fn(text: *const c_char, length: usize, user: *mut c_void)>;

struct Writer {
    write: unsafe extern "C" fn(*const c_char, usize, *mut c_void),
    user: *mut c_void,
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: `write` is a function of this type that does not unwind, and `user` was given for
        // it (contract of the interface).
        thread_state::inside(|| unsafe {
            thread_state::unwindable(self.write)(text.as_ptr().cast(), text.len(), self.user)
        });
        Ok(())
    }
}

/// Writes a line for each tasklet of the calling thread, main first. It tells the name, the state,
/// for a blocked tasklet the channel's id and the direction, and where the stack is. With
/// `backtraces`, the backtrace of each started tasklet follows (only with std; slow). `user` is
/// passed on to `write`.
#[no_mangle]
pub unsafe extern "C" fn hsw_dump_tasklets(
    write: hsw_write,
    user: *mut c_void,
    backtraces: bool,
) -> hsw_status {
    entry(|| {
        let write = write.ok_or(Failure::Null("write"))?;
        // This writer never fails.
        let _ = crate::dump_tasklets(&mut Writer { write, user }, backtraces);
        Ok(())
    })
}
