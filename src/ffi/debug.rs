//! Listings for people.

use core::ffi::{c_char, c_void};
use core::fmt;

use super::{entry, hsw_status, thread_state, Failure};

/// Gets a piece of text: `length` bytes, which do not end in a zero and may end in the middle of a
/// line. It must neither use this library nor unwind.
pub type hsw_write =
    Option<unsafe extern "C" fn(text: *const c_char, length: usize, user: *mut c_void)>;

struct Writer {
    write: unsafe extern "C" fn(*const c_char, usize, *mut c_void),
    user: *mut c_void,
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the contract of the interface: a function of this type with what was given for
        // it.
        thread_state::inside(|| unsafe {
            (self.write)(text.as_ptr().cast(), text.len(), self.user)
        });
        Ok(())
    }
}

/// Writes a line for each tasklet of the calling thread, main first: name, state, for a blocked one
/// its channel's id and direction, and where its stack is. With `backtraces`, each started one's
/// backtrace follows (not without std; slow). `user` is passed on to `write`.
#[no_mangle]
pub unsafe extern "C" fn hsw_dump_tasklets(
    write: hsw_write,
    user: *mut c_void,
    backtraces: bool,
) -> hsw_status {
    entry(|| {
        let write = write.ok_or(Failure::Null("write"))?;
        // This writer fails for nothing.
        let _ = crate::dump_tasklets(&mut Writer { write, user }, backtraces);
        Ok(())
    })
}
