//! Sockets between the processes of a machine.

use core::ffi::c_char;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::net::{failed, hsw_socket, refused, Any};
use super::object::{get, hand_out, make, take_back};
use super::socket_address::{hsw_address, text_of, unix};
use super::{entry, hsw_status, out, time_limit};
use crate::net::{UnixDatagram, UnixListener, UnixStream};

/// The failure of a call about an address.
fn about(addr: &std::os::unix::net::SocketAddr, error: io::Error) -> super::Failure {
    refused(error, || {
        text_of(&hsw_address::of_unix(addr)).unwrap_or_default()
    })
}

/// Connects to the Unix listener with this name: a path, or '@' and an abstract name ("./@x" is a
/// path). Waits while its queue is full, at most `timeout_ns` nanoseconds (0: does not wait;
/// `HSW_NO_LIMIT`: no limit).
///
/// `HSW_ERR_ARGUMENT`: the name is empty, or longer than 107 bytes. `HSW_ERR_IO` with `ENOENT` or
/// `ECONNREFUSED`: nobody listens there.
#[no_mangle]
pub unsafe extern "C" fn hsw_unix_connect(
    name: *const c_char,
    timeout_ns: u64,
    socket: *mut hsw_socket,
) -> hsw_status {
    make(socket, "socket", || {
        // SAFETY: `name` is null or ends in a zero byte (contract of the interface).
        let addr = unsafe { unix(name) }?;
        let until = time_limit(timeout_ns)?.and_then(|time| Instant::now().checked_add(time));
        let stream = UnixStream::connect_until(&addr, until)
            .map_err(|failure| about(&addr, failure.into()))?;
        Ok(Rc::new(Any::UnixStream(stream)))
    })
}

/// Listens for connections of this machine at a name, as that of `hsw_unix_connect`. The file of a
/// path stays when the socket is closed, and must be removed before somebody can listen there
/// again: till then, `HSW_ERR_IO` with `EADDRINUSE`.
#[no_mangle]
pub unsafe extern "C" fn hsw_unix_listen(
    name: *const c_char,
    socket: *mut hsw_socket,
) -> hsw_status {
    make(socket, "socket", || {
        // SAFETY: `name` is null or ends in a zero byte (contract of the interface).
        let addr = unsafe { unix(name) }?;
        let listener = UnixListener::bind_addr(&addr).map_err(|error| about(&addr, error))?;
        Ok(Rc::new(Any::UnixListener(listener)))
    })
}

/// Waits for a connection to a Unix listener.
#[no_mangle]
pub unsafe extern "C" fn hsw_unix_accept(
    listener: hsw_socket,
    socket: *mut hsw_socket,
) -> hsw_status {
    make(socket, "socket", || match &*get(listener)? {
        Any::UnixListener(listener) => {
            let (stream, _) = listener.accept().map_err(failed)?;
            Ok(Rc::new(Any::UnixStream(stream)))
        }
        other => Err(other.is_not("listens for Unix connections")),
    })
}

/// The body of the entries that make two connected sockets.
fn pair(
    one: *mut hsw_socket,
    other: *mut hsw_socket,
    make: impl FnOnce() -> io::Result<(Any, Any)>,
) -> hsw_status {
    entry(|| {
        let (one, other) = (out(one, "one")?, out(other, "other")?);
        let (first, second) = make().map_err(|error| refused(error, || "a pair".into()))?;
        let first: hsw_socket = hand_out(Rc::new(first))?;
        // Both or none.
        match hand_out(Rc::new(second)) {
            Ok(second) => other.set(second),
            Err(failure) => {
                take_back(first)?;
                return Err(failure);
            }
        }
        one.set(first);
        Ok(())
    })
}

/// Makes two connected sockets without names, which are read and written.
#[no_mangle]
pub unsafe extern "C" fn hsw_unix_pair(one: *mut hsw_socket, other: *mut hsw_socket) -> hsw_status {
    pair(one, other, || {
        let (first, second) = UnixStream::pair()?;
        Ok((Any::UnixStream(first), Any::UnixStream(second)))
    })
}

/// Makes a socket for datagrams within this machine, with a name as that of `hsw_unix_listen`; with
/// null, one without a name, which can send. Datagrams arrive whole, in order, and none is lost: a
/// sender waits while the receiver's queue is full.
#[no_mangle]
pub unsafe extern "C" fn hsw_unix_datagram(
    name: *const c_char,
    socket: *mut hsw_socket,
) -> hsw_status {
    make(socket, "socket", || {
        let made = if name.is_null() {
            UnixDatagram::unbound().map_err(failed)?
        } else {
            // SAFETY: it ends in a zero byte (contract of the interface).
            let addr = unsafe { unix(name) }?;
            UnixDatagram::bind_addr(&addr).map_err(|error| about(&addr, error))?
        };
        Ok(Rc::new(Any::UnixDatagram(made)))
    })
}

/// Makes two connected sockets without names, which send and receive datagrams.
#[no_mangle]
pub unsafe extern "C" fn hsw_unix_datagram_pair(
    one: *mut hsw_socket,
    other: *mut hsw_socket,
) -> hsw_status {
    pair(one, other, || {
        let (first, second) = UnixDatagram::pair()?;
        Ok((Any::UnixDatagram(first), Any::UnixDatagram(second)))
    })
}
