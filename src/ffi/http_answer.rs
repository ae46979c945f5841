//! Answers to requests of C's.

use core::cell::{Cell, RefCell};
use core::ffi::{c_char, c_void};
use core::ptr;
use std::io::Read;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::failure::Failure;
use super::http::HSW_HTTP_UNKNOWN;
use super::http_callback::{hsw_http_sink, Failed, Sink};
use super::http_error::of_request;
use super::net::{failed, writable};
use super::object::{self, ask, get, handle_of_kept};
use super::{entry, hsw_status, out, set_if_wanted, string, write_text};
use crate::net::http::{Answer, Resumed, Validator};

/// A handle of an answer; the rules for its owner and thread are those of `hsw_tasklet`. In a job
/// of `hsw_offload` it belongs to the worker's thread, and is to be given back there. Its head can
/// be asked about at any time; its body is read by one tasklet at a time: `HSW_ERR_STATE` for
/// another one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_http_answer {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

// So nothing of the client is in a program that uses none.
handle_of_kept!(hsw_http_answer, CAnswer, HttpAnswer, http_answers);

/// An answer: its head, and its body, which is borrowed as long as a call reads it.
pub(super) struct CAnswer {
    url: String,
    status: u16,
    reason: String,
    headers: Vec<(String, String)>,
    validator: Option<Validator>,
    length: Option<u64>,
    /// Of a download: the first byte of the file, and how many it has in all.
    start: u64,
    file_length: Option<u64>,
    /// Bytes that the caller has.
    received: Cell<u64>,
    body: RefCell<Body>,
    failed: Failed,
}

/// An answer, or a file that comes with it.
pub(super) enum Body {
    Answer(Box<Answer>),
    File(Box<Resumed>),
}

impl Body {
    fn answer(&mut self) -> &mut Answer {
        match self {
            Body::Answer(answer) => answer,
            Body::File(file) => file.answer(),
        }
    }

    /// After the end of what comes: has all of the file come?
    fn end(&self) -> Result<(), Failure> {
        match self {
            Body::Answer(_) => Ok(()),
            Body::File(file) => file.check_length().map(|_| ()).map_err(of_request),
        }
    }
}

impl CAnswer {
    pub(super) fn new(mut body: Body, failed: Failed) -> CAnswer {
        let (start, file_length, validator) = match &body {
            Body::Answer(answer) => (0, answer.content_length(), Validator::of(answer)),
            Body::File(file) => (file.start(), file.length(), file.validator()),
        };
        let answer = body.answer();
        let headers = answer.headers();
        CAnswer {
            url: answer.url().to_string(),
            status: answer.status(),
            reason: answer.reason().to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            validator,
            length: answer.content_length(),
            start,
            file_length,
            received: Cell::new(0),
            body: RefCell::new(body),
            failed,
        }
    }

    /// Does something with the body, which may wait. Nobody else can meanwhile.
    fn with<R>(&self, f: impl FnOnce(&mut Body) -> Result<R, Failure>) -> Result<R, Failure> {
        let Ok(mut body) = self.body.try_borrow_mut() else {
            let words = "the answer is being read already".to_owned();
            return Err(Failure::Told(hsw_status::HSW_ERR_STATE, words));
        };
        // What a callback has failed with is the failure of the call that it was for.
        f(&mut body).map_err(|failure| self.failed.take().unwrap_or(failure))
    }

    fn count(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    fn header(&self, index: usize) -> Result<&(String, String), Failure> {
        self.headers.get(index).ok_or_else(|| {
            let count = self.headers.len();
            Failure::Argument(format!("header field {index} of {count}"))
        })
    }
}

/// Makes another handle of the same answer, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_retain(
    answer: hsw_http_answer,
    other: *mut hsw_http_answer,
) -> hsw_status {
    object::retain(answer, other)
}

/// Gives a handle back; it is stale from now on. With the last one, the connection of an answer
/// that was not read to its end is closed.
#[no_mangle]
pub extern "C" fn hsw_http_answer_release(answer: hsw_http_answer) -> hsw_status {
    object::release(answer)
}

/// The figures of an answer. Lengths are `HSW_HTTP_UNKNOWN` where they are not known.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_http_answer_info {
    /// The status code, 200 for a success.
    pub status: u16,
    /// How many header fields it has.
    pub headers: usize,
    /// The length of the body. After a HEAD, what a GET would have.
    pub length: u64,
    /// How many bytes of the body were read so far.
    pub received: u64,
    /// Of a download: which byte of the file comes first, 0 or where the earlier one has ended.
    pub start: u64,
    /// Of a download: the length of the whole file.
    pub file_length: u64,
}

/// The figures of an answer, also while it is read.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_get_info(
    answer: hsw_http_answer,
    info: *mut hsw_http_answer_info,
) -> hsw_status {
    ask(answer, info, "info", |answer| hsw_http_answer_info {
        status: answer.status,
        headers: answer.headers.len(),
        length: answer.length.unwrap_or(HSW_HTTP_UNKNOWN),
        received: answer.received.get(),
        start: answer.start,
        file_length: answer.file_length.unwrap_or(HSW_HTTP_UNKNOWN),
    })
}

/// The body of an entry that copies a text of an answer.
///
/// SAFETY: `buffer` is null or has `capacity` writable bytes.
unsafe fn copy(
    text: Result<&str, Failure>,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: as the caller has promised.
    unsafe { write_text(text?, buffer, capacity, length) }
}

/// Copies the URL that has answered: after a redirect, the last one. At most `capacity` bytes with
/// the final zero are written; `length` (may be null) gets the whole length. So do the other
/// functions that copy a text of an answer.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_url(
    answer: hsw_http_answer,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> hsw_status {
    // SAFETY: here and below: null, or `capacity` bytes (contract of the interface).
    entry(|| unsafe { copy(Ok(&get(answer)?.url), buffer, capacity, length) })
}

/// Copies the server's word for the status; may be empty.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_reason(
    answer: hsw_http_answer,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> hsw_status {
    // SAFETY: as above.
    entry(|| unsafe { copy(Ok(&get(answer)?.reason), buffer, capacity, length) })
}

/// Copies what tells this version of the file from another, to be kept for `hsw_http_resume`. It is
/// empty if the server sends nothing that is good for that.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_validator(
    answer: hsw_http_answer,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> hsw_status {
    entry(|| {
        let answer = get(answer)?;
        let text = answer.validator.as_ref().map_or("", Validator::field);
        // SAFETY: as above.
        unsafe { copy(Ok(text), buffer, capacity, length) }
    })
}

/// Copies the value of the first header field of that name (upper and lower case are the same).
/// `found` (may be null) tells whether there is one; if not, the text is empty.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_header(
    answer: hsw_http_answer,
    name: *const c_char,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
    found: *mut bool,
) -> hsw_status {
    entry(|| {
        let answer = get(answer)?;
        // SAFETY: null, or it ends in a zero byte (contract of the interface).
        let name = unsafe { string(name, "name") }?;
        let mut headers = answer.headers.iter();
        let field = headers.find(|header| header.0.eq_ignore_ascii_case(&name));
        set_if_wanted(found, field.is_some());
        let text = field.map_or("", |field| &field.1);
        // SAFETY: as above.
        unsafe { copy(Ok(text), buffer, capacity, length) }
    })
}

/// Copies the name, in lower case, of a header field, counted from 0 in the order they came (those
/// of one name stand together). `HSW_ERR_ARGUMENT`: there are not so many.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_header_name(
    answer: hsw_http_answer,
    index: usize,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> hsw_status {
    entry(|| {
        let answer = get(answer)?;
        let name = answer.header(index).map(|header| &*header.0);
        // SAFETY: as above.
        unsafe { copy(name, buffer, capacity, length) }
    })
}

/// Copies the value of a header field, counted as for `hsw_http_answer_header_name`.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_header_value(
    answer: hsw_http_answer,
    index: usize,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> hsw_status {
    entry(|| {
        let answer = get(answer)?;
        let value = answer.header(index).map(|header| &*header.1);
        // SAFETY: as above.
        unsafe { copy(value, buffer, capacity, length) }
    })
}

/// Succeeds if the status of the answer is one of success (2xx). Otherwise it fails with
/// `HSW_ERR_HTTP` (`HSW_HTTP_PROBLEM_STATUS`); the body can be read all the same.
#[no_mangle]
pub extern "C" fn hsw_http_answer_check_status(answer: hsw_http_answer) -> hsw_status {
    entry(|| get(answer)?.with(|body| body.answer().check_status().map_err(of_request)))
}

/// Reads up to `size` bytes of the body; waits while there are none. `*received` is 0 at the end:
/// then everything has come that was announced.
///
/// After `HSW_ERR_TIMEOUT` for a single wait (`HSW_HTTP_PROBLEM_CONNECTION`), and after what was
/// thrown at the tasklet, nothing is lost: the next read goes on where this one was. Every other
/// failure is final, and each later read fails in the same way.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_read(
    answer: hsw_http_answer,
    buffer: *mut c_void,
    size: usize,
    received: *mut usize,
) -> hsw_status {
    entry(|| {
        let received = out(received, "received")?;
        // SAFETY: null, or `size` bytes (contract of the interface).
        let buffer = unsafe { writable(buffer, size) }?;
        let answer = get(answer)?;
        let n = answer.with(|body| match body.answer().read(buffer).map_err(failed)? {
            0 if size > 0 => body.end().map(|()| 0),
            n => Ok(n),
        })?;
        answer.count(n);
        received.set(n);
        Ok(())
    })
}

/// Reads the rest of the body, `limit` bytes at most, into memory that is the caller's: to be given
/// back by `free`. `*size` gets how many bytes it has; a zero byte follows them.
///
/// `HSW_ERR_HTTP` (`HSW_HTTP_PROBLEM_BODY_TOO_LONG`): the body is longer than `limit`. Bytes that
/// were read before a failure are kept, and the next call, of whatever function that reads, has
/// them first. `HSW_ERR_OUT_OF_MEMORY`: they are lost.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_read_all(
    answer: hsw_http_answer,
    limit: usize,
    data: *mut *mut c_void,
    size: *mut usize,
) -> hsw_status {
    entry(|| {
        let data = out(data, "data")?;
        let size = out(size, "size")?;
        let answer = get(answer)?;
        let bytes = answer.with(|body| {
            let bytes = body.answer().read_all(limit).map_err(of_request)?;
            body.end()?;
            Ok(bytes)
        })?;
        answer.count(bytes.len());
        // SAFETY: a plain call; a vector has `isize::MAX` bytes at most.
        let memory = unsafe { libc::malloc(bytes.len() + 1) }.cast::<u8>();
        if memory.is_null() {
            return Err(Failure::own(crate::Error::OutOfMemory));
        }
        // SAFETY: `malloc` has given one byte more than there are.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), memory, bytes.len());
            memory.add(bytes.len()).write(0);
        }
        data.set(memory.cast());
        size.set(bytes.len());
        Ok(())
    })
}

/// Gives the rest of the body to `sink`, piece by piece. `user` is its argument, and stays the
/// caller's. `copied` (may be null) gets how many bytes the sink has taken, also if the call fails.
///
/// What the sink has failed with is the failure of the call, as it is. The piece that it has failed
/// with has not been taken: the next call gives it again.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_answer_copy_to(
    answer: hsw_http_answer,
    sink: hsw_http_sink,
    user: *mut c_void,
    copied: *mut u64,
) -> hsw_status {
    entry(|| {
        set_if_wanted(copied, 0);
        let function = sink.ok_or(Failure::Null("sink"))?;
        let answer = get(answer)?;
        let before = answer.received.get();
        let done = answer.with(|body| {
            let length = match body {
                Body::Answer(_) => answer.length,
                Body::File(_) => answer.file_length,
            };
            let mut sink = Sink {
                function,
                user,
                failed: &answer.failed,
                received: &answer.received,
                start: answer.start,
                length: length.unwrap_or(HSW_HTTP_UNKNOWN),
            };
            let done = match body {
                Body::Answer(answer) => answer.copy_to(&mut sink, |_, _| {}),
                Body::File(file) => file.copy_to(&mut sink, |_, _| {}),
            };
            done.map(|_| ()).map_err(of_request)
        });
        set_if_wanted(copied, answer.received.get() - before);
        done
    })
}
