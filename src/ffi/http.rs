//! The HTTP client of C's, and what its requests may take.

use core::ffi::c_char;
use core::time::Duration;

use super::object::{self, ask, handle_of_process};
use super::run::{nanoseconds, HSW_NO_LIMIT};
use super::{entry, hsw_status, out, time_limit, Failure};
use crate::net::http::{Client, ClientSettings, Limits, Speed, Timeouts};

/// A length that is not known.
pub const HSW_HTTP_UNKNOWN: u64 = 0xffff_ffff_ffff_ffff;

/// Sends requests of HTTP/1.1, and keeps connections for the next ones. Any thread may use it, and
/// give it back. All handles of a client share its connections.
///
/// All functions `hsw_http_` are in the library only if it was built with the feature `http`, as
/// `ci/install` builds it. Without it a program that calls one cannot be linked: the linker names
/// the function. The same call waits in both ways: in a tasklet, or in main, only that waits; in a
/// job of `hsw_offload` the thread waits.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_http_client {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

handle_of_process!(hsw_http_client, Client, HttpClient);

/// How much of an answer is kept, and how long it may take. Times are in nanoseconds;
/// `HSW_NO_LIMIT` is no limit.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_http_limits {
    /// Bytes of status lines and header fields, those of interim answers included. The same holds
    /// separately for the fields after a body in chunks.
    pub head: usize,
    /// How many interim answers (1xx) there may be.
    pub interim: usize,
    /// How many redirects are followed. 0: an answer that is one is returned.
    pub redirects: u32,
    /// The time from the beginning of the request to the end of the body, whatever it is spent on.
    pub total_ns: u64,
    /// The time to look the name up and to connect to one of its addresses, all together.
    pub connect_ns: u64,
    /// The time for each read and write.
    pub io_ns: u64,
    /// The least speed: so many bytes of the answer, head included, ...
    pub least_bytes: u64,
    /// ... may take this time of waiting. What the caller does between its reads does not count.
    /// `HSW_NO_LIMIT`: there is no least speed.
    pub least_time_ns: u64,
}

impl hsw_http_limits {
    fn of(limits: Limits, timeouts: Timeouts, redirects: u32) -> Self {
        let time = |time: Option<Duration>| time.map_or(HSW_NO_LIMIT, nanoseconds);
        hsw_http_limits {
            head: limits.head,
            interim: limits.interim,
            redirects,
            total_ns: time(limits.total),
            connect_ns: time(timeouts.connect),
            io_ns: time(timeouts.io),
            least_bytes: limits.least.map_or(0, |least| least.bytes),
            least_time_ns: time(limits.least.map(|least| least.time)),
        }
    }

    pub(super) fn limits(&self) -> Result<Limits, Failure> {
        let bytes = self.least_bytes;
        Ok(Limits {
            head: self.head,
            interim: self.interim,
            total: time_limit(self.total_ns)?,
            least: time_limit(self.least_time_ns)?.map(|time| Speed { bytes, time }),
        })
    }

    pub(super) fn timeouts(&self) -> Result<Timeouts, Failure> {
        Ok(Timeouts {
            connect: time_limit(self.connect_ns)?,
            io: time_limit(self.io_ns)?,
        })
    }
}

/// What a client is to be. Fill it with `hsw_http_settings_default`, change what you like, and pass
/// it to `hsw_http_client_new`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_http_settings {
    /// The limits of its requests, if they do not say otherwise.
    pub limits: hsw_http_limits,
    /// How many connections are kept for later requests.
    pub idle: usize,
    /// How long a connection is kept without a request, in nanoseconds.
    pub idle_time_ns: u64,
    /// The `User-Agent` field; it is copied. Null: the library and its version.
    pub user_agent: *const c_char,
}

/// Fills in 16 KiB of heads, 10 interim answers, 10 redirects, 10 s to connect, 30 s without a
/// byte, no other limits of time, and 16 connections that are kept for 15 s.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_settings_default(settings: *mut hsw_http_settings) -> hsw_status {
    entry(|| {
        let settings = out(settings, "settings")?;
        let ours = ClientSettings::default();
        settings.set(hsw_http_settings {
            limits: hsw_http_limits::of(ours.limits, ours.timeouts, ours.redirects),
            idle: ours.idle,
            idle_time_ns: nanoseconds(ours.idle_time),
            user_agent: core::ptr::null(),
        });
        Ok(())
    })
}

/// Makes a client; nothing is connected yet. Null: the default settings. `HSW_ERR_ARGUMENT`: a time
/// beyond 292 years.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_client_new(
    settings: *const hsw_http_settings,
    client: *mut hsw_http_client,
) -> hsw_status {
    object::make(client, "client", || {
        // SAFETY: null, or it points to settings (contract of the interface).
        let Some(wanted) = (unsafe { settings.as_ref() }) else {
            return Ok(Client::new());
        };
        let user_agent = match wanted.user_agent.is_null() {
            true => ClientSettings::default().user_agent,
            // SAFETY: it ends in a zero byte (contract of the interface).
            false => unsafe { super::string(wanted.user_agent, "user_agent") }?,
        };
        Ok(Client::with_settings(ClientSettings {
            limits: wanted.limits.limits()?,
            timeouts: wanted.limits.timeouts()?,
            redirects: wanted.limits.redirects,
            idle: wanted.idle,
            idle_time: time_limit(wanted.idle_time_ns)?.unwrap_or(Duration::MAX),
            user_agent,
        }))
    })
}

/// Makes another handle of the same client, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_client_retain(
    client: hsw_http_client,
    other: *mut hsw_http_client,
) -> hsw_status {
    object::retain(client, other)
}

/// Gives a handle back; it is stale from now on, for all threads. Kept connections are closed with
/// the last handle and the last answer of the client.
#[no_mangle]
pub extern "C" fn hsw_http_client_release(client: hsw_http_client) -> hsw_status {
    object::release(client)
}

/// How many connections are kept for later requests. Those that their servers have ended do not
/// count.
#[no_mangle]
pub unsafe extern "C" fn hsw_http_client_idle(
    client: hsw_http_client,
    count: *mut usize,
) -> hsw_status {
    ask(client, count, "count", Client::idle)
}
