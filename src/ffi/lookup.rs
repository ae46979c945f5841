//! Names into addresses.

use core::ffi::c_char;
use core::time::Duration;
use std::time::Instant;

use alloc::string::ToString;

use super::failure::Failure;
use super::net::failed;
use super::run::nanoseconds;
use super::socket_address::hsw_address;
use super::{entry, hsw_status, out, time_limit};
use crate::net::lookup::{self, Settings};
use crate::net::lookup_until;

/// Turns a host, given by name or address, into addresses with this port, in the order in which
/// they are to be tried. Only the tasklet waits while a worker looks up the name, for at most
/// `timeout_ns` nanoseconds (`HSW_NO_LIMIT`: no limit). An address needs no worker.
///
/// The first `room` addresses go into `addresses`, which may be null if `room` is 0; `*count` gets
/// how many there are. If that is more than there was room for, call it again with more.
///
/// `HSW_ERR_IO`: the name is unknown or has no address, or there is no thread for the look-up.
/// `HSW_ERR_TIMEOUT`: the time is up.
#[no_mangle]
pub unsafe extern "C" fn hsw_lookup(
    host: *const c_char,
    port: u16,
    timeout_ns: u64,
    addresses: *mut hsw_address,
    room: usize,
    count: *mut usize,
) -> hsw_status {
    entry(|| {
        let count = out(count, "count")?;
        if addresses.is_null() && room > 0 {
            return Err(Failure::Null("addresses"));
        }
        // SAFETY: null, or it ends in a zero byte (contract of the interface).
        let host = unsafe { super::string(host, "host") }?;
        let until = time_limit(timeout_ns)?.and_then(|time| Instant::now().checked_add(time));
        let found = lookup_until(&host, port, until).map_err(|failure| failed(failure.into()))?;
        for (at, &address) in found.iter().take(room).enumerate() {
            // SAFETY: `room` addresses can be written (contract of the interface).
            unsafe { addresses.add(at).write(hsw_address::of_ip(address)) };
        }
        count.set(found.len());
        Ok(())
    })
}

/// What the look-ups of the process may use. Fill it with `hsw_lookup_settings_default` or
/// `hsw_lookup_settings_console`, change what you like, and pass it to `hsw_lookup_configure`.
#[repr(C)]
pub struct hsw_lookup_settings {
    /// Look-ups that are made at a time, each on a thread. 1 or more.
    pub threads: usize,
    /// Further threads, for when look-ups that nobody waits for any more keep others busy.
    pub spare: usize,
    /// Stack of each thread, in bytes. The system's resolver needs 16 KiB.
    pub stack_size: usize,
    /// How long an answer is kept for later look-ups of the same name, in nanoseconds; 0: not at
    /// all, `HSW_NO_LIMIT`: until it is forgotten. The system's resolver does not tell how long its
    /// answers stay valid. An answer that leads to no connection is forgotten.
    pub keep_ns: u64,
    /// Names whose answers are kept at a time. One more takes the place of the oldest answer.
    pub names: usize,
}

impl From<Settings> for hsw_lookup_settings {
    fn from(settings: Settings) -> Self {
        hsw_lookup_settings {
            threads: settings.threads,
            spare: settings.spare,
            stack_size: settings.stack_size,
            keep_ns: nanoseconds(settings.keep),
            names: settings.names,
        }
    }
}

/// Fills in 4 threads, 60 to spare, 256 KiB each; nothing is kept. They hold where nothing else was
/// set.
#[no_mangle]
pub unsafe extern "C" fn hsw_lookup_settings_default(
    settings: *mut hsw_lookup_settings,
) -> hsw_status {
    entry(|| {
        out(settings, "settings")?.set(Settings::default().into());
        Ok(())
    })
}

/// Fills in the limits of a console: 1 thread, 6 to spare, 64 KiB each; the answers for 16 names
/// are kept for 10 seconds.
#[no_mangle]
pub unsafe extern "C" fn hsw_lookup_settings_console(
    settings: *mut hsw_lookup_settings,
) -> hsw_status {
    entry(|| {
        out(settings, "settings")?.set(Settings::console().into());
        Ok(())
    })
}

/// Sets what the process's look-ups may use; null stands for the default settings. Any thread may
/// call it at any time: running threads stay as they are, and kept answers are forgotten.
/// `HSW_ERR_ARGUMENT`: no threads, or a time beyond 292 years. Nothing has changed then.
#[no_mangle]
pub unsafe extern "C" fn hsw_lookup_configure(settings: *const hsw_lookup_settings) -> hsw_status {
    entry(|| {
        // SAFETY: null, or it points to settings (contract of the interface).
        let Some(wanted) = (unsafe { settings.as_ref() }) else {
            return lookup::configure(Settings::default()).map_err(Failure::own);
        };
        if wanted.threads == 0 {
            return Err(Failure::Argument("threads = 0: 1 or more".to_string()));
        }
        let keep = time_limit(wanted.keep_ns)?;
        let settings = Settings {
            threads: wanted.threads,
            spare: wanted.spare,
            stack_size: wanted.stack_size,
            keep: keep.unwrap_or(Duration::MAX),
            names: wanted.names,
        };
        lookup::configure(settings).map_err(Failure::own)
    })
}

/// Forgets the kept answer for a host's name; null: all of them. A look-up that is under way is not
/// affected.
#[no_mangle]
pub unsafe extern "C" fn hsw_lookup_forget(host: *const c_char) -> hsw_status {
    entry(|| {
        if host.is_null() {
            lookup::forget(None);
            return Ok(());
        }
        // SAFETY: it ends in a zero byte (contract of the interface).
        let host = unsafe { super::string(host, "host") }?;
        lookup::forget(Some(&host));
        Ok(())
    })
}
