//! Requests of C's.

use core::ffi::{c_char, c_void, CStr};
use core::slice;
use core::time::Duration;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::http::{hsw_http_client, hsw_http_limits};
use super::http_answer::{hsw_http_answer, Body, CAnswer};
use super::http_callback::{hsw_http_source, Failed, Source};
use super::http_error::of_request;
use super::net::readable;
use super::object::{get, hand_out};
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, out, string, time_limit, Failure};
use crate::net::http::{Changed, Client, Limits, RequestError, Timeouts, Validator};

/// A header field.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_http_header {
    /// Its name.
    pub name: *const c_char,
    /// Its value, in UTF-8.
    pub value: *const c_char,
}

/// A request. Zero is a good default for everything but `url`. All but `user` is read when the call
/// is made, and not used later.
#[repr(C)]
pub struct hsw_http_request {
    /// `http://host[:port][/path][?query]`.
    pub url: *const c_char,
    /// The method, an upper-case word as a rule. Null: GET.
    pub method: *const c_char,
    /// Header fields. They replace the client's own `Accept`, `Host` or `User-Agent`. Those that
    /// frame messages, such as `Content-Length`, are refused.
    pub headers: *const hsw_http_header,
    /// How many there are.
    pub header_count: usize,
    /// The body from memory; it is copied. Null: there is none.
    pub body: *const c_void,
    /// Bytes of it.
    pub body_size: usize,
    /// Gives the body, if it does not come from memory. Such a request cannot be redirected with
    /// its body. Null: it has no source.
    pub source: hsw_http_source,
    /// Does the source give `source_length` bytes? If not, it gives bytes up to its end, which are
    /// sent in chunks; not every server takes those.
    pub source_has_length: bool,
    /// How many bytes the source gives.
    pub source_length: u64,
    /// An argument for the source. Once the call is made it is the runtime's, whatever the status,
    /// mistakes included.
    pub user: *mut c_void,
    /// Frees `user` when the source will not be called any more: when the call fails, or with the
    /// answer at the latest. May be null.
    pub destroy_user: hsw_destroy,
    /// The limits of this request; null: the client's.
    pub limits: *const hsw_http_limits,
    /// The time for all of it, in nanoseconds, in place of the limits' `total_ns`. 0: that holds.
    pub timeout_ns: u64,
}

/// What is there already of a file that is loaded.
#[repr(C)]
pub struct hsw_http_resume {
    /// Its first bytes that are there. 0: none, the whole file is asked for.
    pub from: u64,
    /// The version that they are of: what `hsw_http_answer_validator` has told. May be null if
    /// `from` is 0.
    pub validator: *const c_char,
    /// If the file is another one now, or shorter, or the server sends no parts: whether the whole
    /// file is to be loaded. Otherwise the call fails (`HSW_HTTP_PROBLEM_CHANGED`,
    /// `HSW_HTTP_PROBLEM_NO_RANGE`).
    pub start_anew: bool,
}

/// A request, checked and copied.
struct Wanted {
    url: String,
    method: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    source: Option<(Source, Option<u64>)>,
    limits: Option<hsw_http_limits>,
    /// In place of the total time of the limits; its own `None` is no limit.
    timeout: Option<Option<Duration>>,
    failed: Failed,
}

impl Wanted {
    /// SAFETY: what the pointers of the request point to is what the header says.
    unsafe fn read(request: &hsw_http_request, user: Owned) -> Result<Wanted, Failure> {
        let failed = Failed::default();
        if request.headers.is_null() && request.header_count > 0 {
            return Err(Failure::Null("headers"));
        }
        let headers = match request.header_count {
            0 => &[],
            // SAFETY: not null, so it has so many fields, as the caller has promised.
            count => unsafe { slice::from_raw_parts(request.headers, count) },
        };
        if !request.body.is_null() && request.source.is_some() {
            return Err(Failure::Argument("a body and a source of it".into()));
        }
        let body = match request.body.is_null() && request.body_size == 0 {
            true => None,
            // SAFETY: it has so many bytes, as the caller has promised.
            false => Some(unsafe { readable(request.body, request.body_size) }?.to_vec()),
        };
        let length = request.source_has_length.then_some(request.source_length);
        let source = request.source.map(|function| {
            let failed = failed.clone();
            let source = Source {
                function,
                user,
                failed,
            };
            (source, length)
        });
        Ok(Wanted {
            // SAFETY: here and below, null or a string that ends in a zero byte, as the caller has
            // promised.
            url: unsafe { string(request.url, "url") }?,
            method: match request.method.is_null() {
                true => "GET".to_owned(),
                // SAFETY: as above.
                false => unsafe { string(request.method, "method") }?,
            },
            headers: headers
                .iter()
                // SAFETY: as above.
                .map(|header| unsafe { field(header) })
                .collect::<Result<_, _>>()?,
            body,
            source,
            // SAFETY: null, or it points to limits, as the caller has promised.
            limits: unsafe { request.limits.as_ref() }.copied(),
            timeout: match request.timeout_ns {
                0 => None,
                time => Some(time_limit(time)?),
            },
            failed,
        })
    }

    /// The limits and timeouts of the request, and how many redirects are followed.
    fn limits(&self, client: &Client) -> Result<(Limits, Timeouts, u32), Failure> {
        let (mut limits, timeouts, redirects) = match &self.limits {
            Some(wanted) => (wanted.limits()?, wanted.timeouts()?, wanted.redirects),
            None => {
                let ours = client.settings();
                (ours.limits, ours.timeouts, ours.redirects)
            }
        };
        if let Some(total) = self.timeout {
            limits.total = total;
        }
        Ok((limits, timeouts, redirects))
    }

    fn send(self, client: &Client) -> Result<Result<Body, RequestError>, Failure> {
        let (limits, timeouts, redirects) = self.limits(client)?;
        let request = client.request(&self.method, &self.url);
        let mut request = request.limits(limits).timeouts(timeouts);
        request = request.redirects(redirects);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = self.body {
            request = request.body(body);
        }
        if let Some((source, length)) = self.source {
            request = request.body_reader(source, length);
        }
        Ok(request.send().map(|answer| Body::Answer(Box::new(answer))))
    }

    fn download(
        self,
        client: &Client,
        resume: Option<&hsw_http_resume>,
    ) -> Result<Result<Body, RequestError>, Failure> {
        if self.method != "GET" || self.body.is_some() || self.source.is_some() {
            let why = "a download is a GET without a body";
            return Err(Failure::Argument(why.into()));
        }
        let (limits, timeouts, redirects) = self.limits(client)?;
        let download = client.download(&self.url);
        let mut download = download.limits(limits).timeouts(timeouts);
        download = download.redirects(redirects);
        for (name, value) in &self.headers {
            download = download.header(name, value);
        }
        if let Some(resume) = resume {
            download = download.if_changed(match resume.start_anew {
                true => Changed::StartAnew,
                false => Changed::Fail,
            });
            if resume.from > 0 {
                // SAFETY: it is null or ends in a zero byte (contract of the interface).
                let field = unsafe { string(resume.validator, "validator") }?;
                let validator = Validator::from_field(&field).ok_or_else(|| {
                    let shown: String = field.chars().take(80).collect();
                    Failure::Argument(format!("{shown:?} is no validator"))
                })?;
                download = download.resume_from(resume.from, validator);
            }
        }
        Ok(download.send().map(|file| Body::File(Box::new(file))))
    }
}

/// SAFETY: both pointers are null or strings that end in a zero byte.
unsafe fn field(header: &hsw_http_header) -> Result<(String, String), Failure> {
    // SAFETY: as the caller has promised.
    let name = unsafe { string(header.name, "a header's name") }?;
    if header.value.is_null() {
        return Err(Failure::Null("a header's value"));
    }
    // SAFETY: not null, so it ends in a zero byte, as the caller has promised.
    match unsafe { CStr::from_ptr(header.value) }.to_str() {
        Ok(value) => Ok((name, value.to_owned())),
        Err(_) => Err(Failure::Argument(format!(
            "the value of the header {name:?} is not UTF-8"
        ))),
    }
}

/// SAFETY: as for the two entries.
unsafe fn make(
    client: hsw_http_client,
    request: *const hsw_http_request,
    answer: *mut hsw_http_answer,
    send: impl FnOnce(Wanted, &Client) -> Result<Result<Body, RequestError>, Failure>,
) -> hsw_status {
    entry(|| {
        // SAFETY: `request` is null or points to a request (contract of the interface).
        let request = unsafe { request.as_ref() }.ok_or(Failure::Null("request"))?;
        // It is ours from here on, and is freed if the call fails.
        let user = Owned::new(request.user, request.destroy_user);
        let answer = out(answer, "answer")?;
        let client = Client::clone(&*get(client)?);
        // SAFETY: what it points to is what the header says (contract of the interface).
        let wanted = unsafe { Wanted::read(request, user) }?;
        let failed = wanted.failed.clone();
        let body = send(wanted, &client)?;
        let body = body.map_err(|error| failed.take().unwrap_or_else(|| of_request(error)))?;
        answer.set(hand_out(Rc::new(CAnswer::new(body, failed)))?);
        Ok(())
    })
}

/// Sends a request, and returns when the head of its answer has come. The status of the answer is
/// not judged: see `hsw_http_answer_check_status`. The answer is the caller's, and belongs to the
/// calling thread, which is a worker's in a job.
///
/// A GET or HEAD without a body whose kept connection ends before a byte of an answer has come is
/// sent once more over a new one; nothing else is ever sent twice. Redirects are followed: 303 by a
/// GET, a POST with 301 or 302 as well, all others by the same method and body. To another server,
/// `Authorization` and `Cookie` are not sent on.
///
/// `HSW_ERR_ARGUMENT`: a wrong URL, a header field with a line's end in it, and all else that
/// cannot be sent. `HSW_ERR_IO`: there is no connection, or it has failed; `hsw_last_error_errno`
/// has the system's number. `HSW_ERR_TIMEOUT`: a time of the limits is over. `HSW_ERR_HTTP`: the
/// rest. The message names the method, the URL and the phase; `hsw_http_last_error` tells problem
/// and phase. What the source has failed with is the call's failure, as it is.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_send(
    client: hsw_http_client,
    request: *const hsw_http_request,
    answer: *mut hsw_http_answer,
) -> hsw_status {
    // SAFETY: the contract of the interface.
    unsafe { make(client, request, answer, Wanted::send) }
}

/// As `hsw_http_send`, for a file, which may go on where an earlier download has ended; null: it
/// does not. The request is a GET without a body. `hsw_http_answer_info` tells which byte of the
/// file comes first; what was there from there on is to be replaced. An answer that is no file is
/// `HSW_HTTP_PROBLEM_STATUS`.
///
/// The server is asked for the rest if the file is still the same (`If-Range`), and what it sends
/// is compared with what was asked for. An answer of 416 never means that the file is complete: for
/// one that may be, compare with the length that a HEAD tells.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_download(
    client: hsw_http_client,
    request: *const hsw_http_request,
    resume: *const hsw_http_resume,
    answer: *mut hsw_http_answer,
) -> hsw_status {
    // SAFETY: null, or it points to one (contract of the interface).
    let resume = unsafe { resume.as_ref() };
    // SAFETY: the contract of the interface.
    unsafe {
        make(client, request, answer, |wanted, client| {
            wanted.download(client, resume)
        })
    }
}
