//! The C ABI: what `include/hardswitch.h` declares.
//!
//! It owns the tables of handles and the last errors, one set per thread (`thread_state`);
//! everything else is the runtime's. It never unwinds into C, never lends C a pointer into the
//! runtime, and never holds one of its own borrows while it calls the runtime: that call may switch
//! to a tasklet which calls the C ABI again.
//!
//! # Safety, for the whole interface
//! Every function may be called with any handle: a handle that is not good is an error code. Of a
//! pointer the functions can only tell whether it is null. So each pointer that is not null must be
//! what the header says it is (the *contract of the interface*): an out-parameter points to
//! writable memory of its type, a string ends in a zero byte, a buffer has the bytes that its size
//! promises, and a function pointer is a function of that type which does not unwind (the C++
//! header sees to that).

#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)] // said once, above
#![allow(clippy::manual_c_str_literals)] // Debian's cbindgen cannot read c"..." literals

mod carry;
mod channel;
mod debug;
mod dict;
mod entry_function;
mod error;
mod exceptions;
mod handle;
mod join;
mod object;
mod poll;
mod queue;
mod record;
mod run;
mod scheduler;
mod select;
mod settings;
mod shared;
mod slot;
mod spill;
mod stats;

// The header has the functions in the order of the modules here.
mod exit;
mod failure;
mod status;

mod last_error;
mod payload;
mod tasklet;
mod tasklet_local;
mod tasklet_options;
mod thread_state;
mod value;

#[cfg(feature = "std")]
mod datagram;
#[cfg(feature = "std")]
mod descriptor;
#[cfg(feature = "std")]
mod host_lock;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_answer;
#[cfg(feature = "http")]
mod http_callback;
#[cfg(feature = "http")]
mod http_error;
#[cfg(feature = "http")]
mod http_problem;
#[cfg(feature = "http")]
mod http_request;
#[cfg(feature = "std")]
mod lookup;
#[cfg(feature = "std")]
mod main_loop;
#[cfg(feature = "std")]
mod net;
#[cfg(feature = "std")]
mod offload;
#[cfg(feature = "std")]
mod remote;
#[cfg(feature = "std")]
mod socket_address;
#[cfg(feature = "std")]
mod socket_options;
#[cfg(feature = "std")]
mod sync;
#[cfg(feature = "std")]
mod thread;
#[cfg(feature = "std")]
mod timer;
#[cfg(feature = "std")]
mod unix;

/// The primitives of `slot`; `models/` has others.
mod prim {
    pub(super) use core::sync::atomic::{AtomicU64, Ordering};
}

use core::ffi::{c_char, CStr};
use core::time::Duration;

use alloc::format;
use alloc::string::String;

use crate::core::contain::contain;
use failure::Failure;
pub use status::{hsw_status, RawStatus};

/// The result of the body of an entry.
type Done = core::result::Result<(), Failure>;

/// Runs the body of an entry: no panic of it gets out, its failure becomes the last error of the
/// calling tasklet, and its status the entry's.
///
/// It is fine to switch inside of `catch_unwind`: while nobody panics it consists of two labels in
/// the unwind table and has no state.
#[inline(always)] // a frame of its own would lie in every parked tasklet
fn entry(body: impl FnOnce() -> Done) -> hsw_status {
    #[cfg(feature = "std")]
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body))
        .unwrap_or_else(|payload| Err(Failure::panic(payload)));
    #[cfg(not(feature = "std"))]
    let done = body();
    match done {
        Ok(()) => hsw_status::HSW_OK,
        Err(failure) => last_error::record(failure),
    }
}

/// Runs code whose failure cannot be told to C: questions that have no status. A panic goes to the
/// log, and the answer is `otherwise`.
fn quietly<R>(otherwise: R, body: impl FnOnce() -> R) -> R {
    let mut answer = otherwise;
    contain("a call of the C interface", || answer = body());
    answer
}

/// An out-parameter that has been found not to be null.
struct Out<T>(*mut T);

impl<T> Out<T> {
    fn set(self, value: T) {
        // SAFETY: not null (checked when this `Out` was made), so by the contract of the interface
        // it points to writable memory for a `T`. It is a `write` and not an assignment because the
        // memory need not be initialised.
        unsafe { self.0.write(value) }
    }
}

/// Checks an out-parameter before anything is done: a call that cannot report must not act.
fn out<T>(pointer: *mut T, name: &'static str) -> core::result::Result<Out<T>, Failure> {
    if pointer.is_null() {
        Err(Failure::Null(name))
    } else {
        Ok(Out(pointer))
    }
}

/// Sets an out-parameter that the caller may leave null.
fn set_if_wanted<T>(pointer: *mut T, value: T) {
    if !pointer.is_null() {
        Out(pointer).set(value);
    }
}

/// A time of C's, in nanoseconds; `None` for `HSW_NO_LIMIT`. C converts a negative number to a
/// large one, which is an error here.
fn time_limit(nanoseconds: u64) -> Result<Option<Duration>, Failure> {
    match nanoseconds {
        run::HSW_NO_LIMIT => Ok(None),
        n if n > i64::MAX as u64 => Err(Failure::Argument(format!(
            "a time of {} ns ({n} as it came): negative, or beyond 292 years",
            n as i64
        ))),
        n => Ok(Some(Duration::from_nanos(n))),
    }
}

/// A string of the caller's, copied.
///
/// SAFETY: `pointer` is null or points to a string that ends in a zero byte.
unsafe fn string(
    pointer: *const c_char,
    name: &'static str,
) -> core::result::Result<String, Failure> {
    if pointer.is_null() {
        return Err(Failure::Null(name));
    }
    // SAFETY: not null, so a string that ends in a zero byte, as the caller has promised.
    let bytes = unsafe { CStr::from_ptr(pointer) };
    Ok(String::from_utf8_lossy(bytes.to_bytes()).into_owned())
}

/// Copies a text to the caller: at most `capacity` bytes with the final zero; `length` (may be
/// null) gets the whole length.
///
/// SAFETY: `buffer` is null or has `capacity` writable bytes.
unsafe fn write_text(text: &str, buffer: *mut c_char, capacity: usize, length: *mut usize) -> Done {
    if buffer.is_null() && capacity != 0 {
        return Err(Failure::Null("buffer"));
    }
    set_if_wanted(length, text.len());
    if capacity != 0 {
        let fits = text.len().min(capacity - 1);
        // SAFETY: `capacity` writable bytes, more than `fits`.
        unsafe {
            core::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), fits);
            buffer.add(fits).write(0);
        }
    }
    Ok(())
}

/// The version of the library, as "MAJOR.MINOR.PATCH". Never null, never freed.
#[no_mangle]
pub extern "C" fn hsw_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The version of the interface in this header. A host that was compiled against another
/// `HSW_ABI_VERSION` than the library it is linked to must not go on: compare the two once at
/// start.
pub const HSW_ABI_VERSION: u32 = 1;

/// `HSW_ABI_VERSION` of the library that is linked.
#[no_mangle]
pub extern "C" fn hsw_abi_version() -> u32 {
    HSW_ABI_VERSION
}
