//! The options of sockets.

use core::time::Duration;
use std::io;

use alloc::format;
use alloc::string::String;

use super::failure::Failure;
use super::net::{hsw_socket, refused, with_any, Any};
use super::object::get;
use super::run::{nanoseconds, HSW_NO_LIMIT};
use super::{entry, hsw_status, out, time_limit};
use crate::net::{Keepalive, UdpSocket};

/// An option of a socket whose value is a number. `hsw_keepalive` is the one that has several.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum hsw_socket_option {
    /// How long a single wait of a read, of a receive, of an accept may last, in nanoseconds;
    /// `HSW_NO_LIMIT`, the default: no limit. Not 0.
    HSW_SOCKET_READ_TIMEOUT = 1,
    /// The same of a write or a send. Listeners have none.
    HSW_SOCKET_WRITE_TIMEOUT = 2,
    /// The room for what has come and was not read yet, in bytes. The system may round it, Linux
    /// doubles it.
    HSW_SOCKET_RECEIVE_BUFFER = 3,
    /// The room for what was written and has not left yet, in bytes; rounded as the other.
    HSW_SOCKET_SEND_BUFFER = 4,
    /// 1: small writes are sent at once; 0, the default: they are collected (Nagle). TCP
    /// connections.
    HSW_SOCKET_NODELAY = 5,
    /// How long the last close may take to send what was not sent yet, in nanoseconds, rounded up
    /// to whole seconds. The system may block the *thread* that long. 0: what was not sent is lost,
    /// and the connection reset. `HSW_NO_LIMIT`, the default: it is sent in the background. TCP
    /// connections.
    HSW_SOCKET_LINGER = 6,
    /// How many routers a packet may pass, 1 to 255. TCP connections, UDP. A socket of IPv6 has
    /// this and the next options for the addresses of IPv4 that it reaches as well.
    HSW_SOCKET_TTL = 7,
    /// 1: it may send to broadcast addresses; 0, the default: it may not. UDP.
    HSW_SOCKET_BROADCAST = 8,
    /// 1, the default: this machine gets what the socket sends to a group; 0: it does not. UDP.
    HSW_SOCKET_MULTICAST_LOOP = 9,
    /// How many routers a datagram to a group may pass, 0 to 255; 1, the default: none. UDP.
    HSW_SOCKET_MULTICAST_TTL = 10,
}

use hsw_socket_option::*;

/// Every option with its name.
const ALL: &[(hsw_socket_option, &str)] = &[
    (HSW_SOCKET_READ_TIMEOUT, "HSW_SOCKET_READ_TIMEOUT"),
    (HSW_SOCKET_WRITE_TIMEOUT, "HSW_SOCKET_WRITE_TIMEOUT"),
    (HSW_SOCKET_RECEIVE_BUFFER, "HSW_SOCKET_RECEIVE_BUFFER"),
    (HSW_SOCKET_SEND_BUFFER, "HSW_SOCKET_SEND_BUFFER"),
    (HSW_SOCKET_NODELAY, "HSW_SOCKET_NODELAY"),
    (HSW_SOCKET_LINGER, "HSW_SOCKET_LINGER"),
    (HSW_SOCKET_TTL, "HSW_SOCKET_TTL"),
    (HSW_SOCKET_BROADCAST, "HSW_SOCKET_BROADCAST"),
    (HSW_SOCKET_MULTICAST_LOOP, "HSW_SOCKET_MULTICAST_LOOP"),
    (HSW_SOCKET_MULTICAST_TTL, "HSW_SOCKET_MULTICAST_TTL"),
];

/// The option with this number, and its name.
fn known(option: i32) -> Result<(hsw_socket_option, &'static str), Failure> {
    let known = ALL.iter().find(|(known, _)| *known as i32 == option);
    known
        .copied()
        .ok_or_else(|| Failure::Argument(format!("{option} is no option of sockets")))
}

/// A value that an option does not take.
fn bad(name: &str, value: u64) -> Failure {
    Failure::Argument(format!("{name} cannot be {value}"))
}

/// A kind of socket that does not have the option.
fn has_no(name: &str, socket: &Any) -> Failure {
    Failure::Argument(format!("the socket {}: it has no {name}", socket.what()))
}

fn yes_or_no(name: &str, value: u64) -> Result<bool, Failure> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(bad(name, value)),
    }
}

/// Linux has an `int` for it.
fn small(name: &str, value: u64) -> Result<u32, Failure> {
    match i32::try_from(value) {
        Ok(small) => Ok(small.unsigned_abs()),
        Err(_) => Err(bad(name, value)),
    }
}

/// A timeout of a socket's; `None` for no limit.
fn timeout(name: &str, value: u64) -> Result<Option<Duration>, Failure> {
    match value {
        0 => Err(Failure::Argument(format!(
            "{name} cannot be 0: nothing would succeed"
        ))),
        _ => time_limit(value),
    }
}

/// Sets an option of a socket, one of `hsw_socket_option`.
///
/// `HSW_ERR_ARGUMENT`: sockets of that kind do not have it, or it cannot be that. `HSW_ERR_IO`: the
/// system has refused it (`EINVAL`: out of its range).
#[no_mangle]
pub extern "C" fn hsw_socket_set_option(socket: hsw_socket, option: i32, value: u64) -> hsw_status {
    entry(|| {
        let (option, name) = known(option)?;
        let socket = &*get(socket)?;
        set(socket, option, name, value)?.map_err(|error| refused(error, || asked(name, value)))
    })
}

/// What `over_v6` says of a socket of IPv6, and `of_v4` of others.
fn if_v6<R>(
    socket: &UdpSocket,
    of_v4: R,
    over_v6: impl FnOnce(&UdpSocket) -> io::Result<R>,
) -> io::Result<R> {
    match socket.is_v6()? {
        true => over_v6(socket),
        false => Ok(of_v4),
    }
}

fn asked(name: &str, value: u64) -> String {
    format!("{name} = {value}")
}

fn set(
    socket: &Any,
    option: hsw_socket_option,
    name: &str,
    value: u64,
) -> Result<io::Result<()>, Failure> {
    Ok(match (option, socket) {
        (HSW_SOCKET_READ_TIMEOUT, any) => any.set_read_timeout(timeout(name, value)?),
        (HSW_SOCKET_WRITE_TIMEOUT, any) => any
            .set_write_timeout(timeout(name, value)?)
            .ok_or_else(|| has_no(name, any))?,
        (HSW_SOCKET_RECEIVE_BUFFER, any) => {
            let bytes = small(name, value)? as usize;
            with_any!(any, socket => socket.set_recv_buffer_size(bytes))
        }
        (HSW_SOCKET_SEND_BUFFER, any) => {
            let bytes = small(name, value)? as usize;
            with_any!(any, socket => socket.set_send_buffer_size(bytes))
        }
        (HSW_SOCKET_NODELAY, Any::TcpStream(s)) => s.set_nodelay(yes_or_no(name, value)?),
        (HSW_SOCKET_LINGER, Any::TcpStream(s)) => s.set_linger(time_limit(value)?),
        (HSW_SOCKET_TTL, Any::TcpStream(s)) => s.set_ttl(small(name, value)?),
        (HSW_SOCKET_TTL, Any::Udp(s)) => s.set_ttl(small(name, value)?),
        (HSW_SOCKET_BROADCAST, Any::Udp(s)) => s.set_broadcast(yes_or_no(name, value)?),
        (HSW_SOCKET_MULTICAST_LOOP, Any::Udp(s)) => {
            let gets = yes_or_no(name, value)?;
            let v4 = s.set_multicast_loop_v4(gets);
            v4.and_then(|()| if_v6(s, (), |s| s.set_multicast_loop_v6(gets)))
        }
        (HSW_SOCKET_MULTICAST_TTL, Any::Udp(s)) => {
            let hops = small(name, value)?;
            let v4 = s.set_multicast_ttl_v4(hops);
            v4.and_then(|()| if_v6(s, (), |s| s.set_multicast_hops_v6(hops)))
        }
        (_, other) => return Err(has_no(name, other)),
    })
}

/// The value of an option of a socket, as `hsw_socket_set_option` takes it.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_get_option(
    socket: hsw_socket,
    option: i32,
    value: *mut u64,
) -> hsw_status {
    entry(|| {
        let value = out(value, "value")?;
        let (option, name) = known(option)?;
        let socket = &*get(socket)?;
        let found = ask(socket, option, name)?;
        value.set(found.map_err(|error| refused(error, || name.into()))?);
        Ok(())
    })
}

fn ask(socket: &Any, option: hsw_socket_option, name: &str) -> Result<io::Result<u64>, Failure> {
    let time = |time: Option<Duration>| time.map_or(HSW_NO_LIMIT, nanoseconds);
    let size = |size: io::Result<usize>| size.map(|size| size as u64);
    Ok(match (option, socket) {
        (HSW_SOCKET_READ_TIMEOUT, any) => Ok(time(any.read_timeout())),
        (HSW_SOCKET_WRITE_TIMEOUT, any) => {
            Ok(time(any.write_timeout().ok_or_else(|| has_no(name, any))?))
        }
        (HSW_SOCKET_RECEIVE_BUFFER, any) => {
            size(with_any!(any, socket => socket.recv_buffer_size()))
        }
        (HSW_SOCKET_SEND_BUFFER, any) => size(with_any!(any, socket => socket.send_buffer_size())),
        (HSW_SOCKET_NODELAY, Any::TcpStream(s)) => s.nodelay().map(u64::from),
        (HSW_SOCKET_LINGER, Any::TcpStream(s)) => s.linger().map(time),
        (HSW_SOCKET_TTL, Any::TcpStream(s)) => s.ttl().map(u64::from),
        (HSW_SOCKET_TTL, Any::Udp(s)) => s.ttl().map(u64::from),
        (HSW_SOCKET_BROADCAST, Any::Udp(s)) => s.broadcast().map(u64::from),
        (HSW_SOCKET_MULTICAST_LOOP, Any::Udp(s)) => {
            let v4 = s.multicast_loop_v4();
            let gets = v4.and_then(|v4| if_v6(s, v4, UdpSocket::multicast_loop_v6));
            gets.map(u64::from)
        }
        (HSW_SOCKET_MULTICAST_TTL, Any::Udp(s)) => {
            let v4 = s.multicast_ttl_v4();
            let hops = v4.and_then(|v4| if_v6(s, v4, UdpSocket::multicast_hops_v6));
            hops.map(u64::from)
        }
        (_, other) => return Err(has_no(name, other)),
    })
}

/// How the system finds out whether a silent peer of a TCP connection is still there.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_keepalive {
    /// The silence after which it asks first, in nanoseconds, rounded up to whole seconds.
    pub idle_ns: u64,
    /// The time between questions, in nanoseconds, rounded up to whole seconds.
    pub interval_ns: u64,
    /// How many of them may stay without an answer.
    pub probes: u32,
}

/// The words for a refusal of the system's.
const KEEPALIVE: &str = "keep-alive";

/// Has the system find out whether the peer of a TCP connection is still there when it is silent:
/// if not, the connection is given up, and who uses it gets `HSW_ERR_IO` with `ETIMEDOUT`. Null,
/// the default: it does not ask.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_set_keepalive(
    socket: hsw_socket,
    keepalive: *const hsw_keepalive,
) -> hsw_status {
    entry(|| {
        let wanted = if keepalive.is_null() {
            None
        } else {
            // SAFETY: not null, so it points to one (contract of the interface).
            let asked = unsafe { *keepalive };
            Some(Keepalive {
                idle: a_while("idle_ns", asked.idle_ns)?,
                interval: a_while("interval_ns", asked.interval_ns)?,
                probes: small("probes", asked.probes.into())?,
            })
        };
        match &*get(socket)? {
            Any::TcpStream(stream) => stream
                .set_keepalive(wanted)
                .map_err(|error| refused(error, || KEEPALIVE.into())),
            other => Err(has_no(KEEPALIVE, other)),
        }
    })
}

/// A time that has an end, and is not 0.
fn a_while(name: &str, value: u64) -> Result<Duration, Failure> {
    timeout(name, value)?.ok_or_else(|| bad(name, value))
}

/// Does the system ask a silent peer of a TCP connection whether it is still there? If so,
/// `*keepalive` says how; if not, it is not written.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_keepalive(
    socket: hsw_socket,
    on: *mut bool,
    keepalive: *mut hsw_keepalive,
) -> hsw_status {
    entry(|| {
        let (on, keepalive) = (out(on, "on")?, out(keepalive, "keepalive")?);
        let found = match &*get(socket)? {
            Any::TcpStream(stream) => stream
                .keepalive()
                .map_err(|error| refused(error, || KEEPALIVE.into()))?,
            other => return Err(has_no(KEEPALIVE, other)),
        };
        on.set(found.is_some());
        if let Some(found) = found {
            keepalive.set(hsw_keepalive {
                idle_ns: nanoseconds(found.idle),
                interval_ns: nanoseconds(found.interval),
                probes: found.probes,
            });
        }
        Ok(())
    })
}
