//! Sockets that send and receive datagrams, and UDP.

use core::ffi::{c_char, c_void};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use alloc::format;
use alloc::string::{String, ToString};

use super::failure::Failure;
use super::net::{failed, hsw_socket, readable, refused, with_datagrams, writable, Any};
use super::object::{self, get};
use super::socket_address::{hsw_address, parse, read, text_of};
use super::{entry, hsw_status, out, set_if_wanted};
use crate::net::UdpSocket;

/// The body of `hsw_udp_bind` and its kin.
///
/// SAFETY: `ip` is null or ends in a zero byte.
unsafe fn bind(
    ip: *const c_char,
    port: u16,
    socket: *mut hsw_socket,
    how: impl FnOnce(std::net::SocketAddr) -> io::Result<UdpSocket>,
) -> hsw_status {
    object::make(socket, "socket", || {
        // SAFETY: passed on.
        let at = parse(&unsafe { super::string(ip, "ip") }?, port)?;
        let bound = how(at).map_err(|error| refused(error, || at.to_string()))?;
        Ok(Rc::new(Any::Udp(bound)))
    })
}

/// Makes a UDP socket with this IP address ("127.0.0.1", "::") and port. Port 0 stands for any free
/// one: `hsw_socket_port` tells which it is.
#[no_mangle]
pub unsafe extern "C" fn hsw_udp_bind(
    ip: *const c_char,
    port: u16,
    socket: *mut hsw_socket,
) -> hsw_status {
    // SAFETY: `ip` is null or ends in a zero byte (contract of the interface).
    unsafe { bind(ip, port, socket, UdpSocket::bind) }
}

/// As `hsw_udp_bind`, of an address that others may have as well if they ask for it in this way
/// (`SO_REUSEADDR`): each of them gets what is sent to a group, and one of them what is sent to the
/// address alone.
#[no_mangle]
pub unsafe extern "C" fn hsw_udp_bind_shared(
    ip: *const c_char,
    port: u16,
    socket: *mut hsw_socket,
) -> hsw_status {
    // SAFETY: `ip` is null or ends in a zero byte (contract of the interface).
    unsafe { bind(ip, port, socket, UdpSocket::bind_shared) }
}

/// The words for an address in a message.
fn name_of(address: &hsw_address) -> String {
    text_of(address).unwrap_or_default()
}

/// From now on the datagram socket sends to `address`, and receives only from there. It does not
/// wait.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_connect(
    socket: hsw_socket,
    address: *const hsw_address,
) -> hsw_status {
    entry(|| {
        // SAFETY: null, or it points to one (contract of the interface).
        let address = unsafe { read(address, "address") }?;
        let done = match &*get(socket)? {
            Any::Udp(socket) => socket.connect(address.to_ip()?),
            Any::UnixDatagram(socket) => socket.connect_addr(&address.to_unix()?),
            other => return Err(other.is_not("sends and receives datagrams")),
        };
        done.map_err(|error| refused(error, || name_of(&address)))
    })
}

/// Sends a datagram of `size` bytes to `to`, or, if that is null, to the peer that the socket is
/// connected to. Waits while the system has no room for it. It is sent whole, or not at all. The
/// rules for the data are those for the buffer of `hsw_socket_read`.
///
/// `HSW_ERR_IO`: `EMSGSIZE`, it is too large; `EDESTADDRREQ` or `ENOTCONN`, the socket is not
/// connected; `ECONNREFUSED`, nobody is there, or was there when an earlier one came; `EACCES`, it
/// is a broadcast, and `HSW_SOCKET_BROADCAST` is not set.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_send(
    socket: hsw_socket,
    data: *const c_void,
    size: usize,
    to: *const hsw_address,
) -> hsw_status {
    entry(|| {
        // SAFETY: null, or readable bytes (contract of the interface).
        let data = unsafe { readable(data, size) }?;
        if to.is_null() {
            let sent = with_datagrams!(&*get(socket)?, socket => socket.send(data))?;
            return sent.map(drop).map_err(failed);
        }
        // SAFETY: not null, so it points to one (contract of the interface).
        let to = unsafe { read(to, "to") }?;
        let sent = match &*get(socket)? {
            Any::Udp(socket) => socket.send_to(data, to.to_ip()?),
            Any::UnixDatagram(socket) => socket.send_to_addr(data, &to.to_unix()?),
            other => return Err(other.is_not("sends and receives datagrams")),
        };
        sent.map(drop)
            .map_err(|error| refused(error, || name_of(&to)))
    })
}

/// The body of `hsw_socket_receive` and of `hsw_socket_peek_from`.
///
/// SAFETY: as they have it.
unsafe fn receive(
    socket: hsw_socket,
    buffer: *mut c_void,
    size: usize,
    received: *mut usize,
    length: *mut usize,
    from: *mut hsw_address,
    peek: bool,
) -> hsw_status {
    entry(|| {
        let received = out(received, "received")?;
        // SAFETY: null, or writable bytes that nobody else uses during the call (contract of the
        // interface).
        let bytes = unsafe { writable(buffer, size) }?;
        let got = with_datagrams!(&*get(socket)?, socket => socket.receive(bytes, peek))?;
        let got = got.map_err(failed)?;
        received.set(got.bytes);
        set_if_wanted(length, got.length);
        set_if_wanted(from, hsw_address::of_sender(got.from.as_ref()));
        Ok(())
    })
}

/// Receives a datagram; waits while there is none. `*received` gets how many bytes of it are in the
/// buffer, and `length` (may be null) how many it has: if that is more, the rest is lost. Both are
/// 0 for an empty one. `from` (may be null) gets the sender's address. Several tasklets may wait;
/// each gets the next datagram, in the order in which they began.
///
/// The rules for the buffer are those of `hsw_socket_read`.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_receive(
    socket: hsw_socket,
    buffer: *mut c_void,
    size: usize,
    received: *mut usize,
    length: *mut usize,
    from: *mut hsw_address,
) -> hsw_status {
    // SAFETY: the contract of the interface.
    unsafe { receive(socket, buffer, size, received, length, from, false) }
}

/// As `hsw_socket_receive`, but the datagram stays to be received again, all of it.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_peek_from(
    socket: hsw_socket,
    buffer: *mut c_void,
    size: usize,
    received: *mut usize,
    length: *mut usize,
    from: *mut hsw_address,
) -> hsw_status {
    // SAFETY: the contract of the interface.
    unsafe { receive(socket, buffer, size, received, length, from, true) }
}

/// The body of the entries for groups.
fn with_udp(
    socket: hsw_socket,
    group: &str,
    change: impl FnOnce(&UdpSocket) -> io::Result<()>,
) -> Result<(), Failure> {
    match &*get(socket)? {
        Any::Udp(socket) => {
            change(socket).map_err(|error| refused(error, || format!("group {group}")))
        }
        other => Err(other.is_not("is in groups")),
    }
}

/// An address of the family that `T` is.
///
/// SAFETY: `text` is null or ends in a zero byte.
unsafe fn ip<T: core::str::FromStr>(
    text: *const c_char,
    name: &'static str,
    family: &str,
) -> Result<T, Failure> {
    // SAFETY: passed on.
    let text = unsafe { super::string(text, name) }?;
    text.parse()
        .map_err(|_| Failure::Argument(format!("'{text}' is no {family} address")))
}

/// The body of the entries for groups of IPv4.
///
/// SAFETY: both are null or end in a zero byte.
unsafe fn change_v4(
    socket: hsw_socket,
    group: *const c_char,
    interface: *const c_char,
    change: impl FnOnce(&UdpSocket, &Ipv4Addr, &Ipv4Addr) -> io::Result<()>,
) -> hsw_status {
    entry(|| {
        // SAFETY: passed on.
        let group: Ipv4Addr = unsafe { ip(group, "group", "IPv4") }?;
        let interface = if interface.is_null() {
            Ipv4Addr::UNSPECIFIED
        } else {
            // SAFETY: passed on.
            unsafe { ip(interface, "interface", "IPv4") }?
        };
        with_udp(socket, &group.to_string(), |socket| {
            change(socket, &group, &interface)
        })
    })
}

/// The UDP socket receives from now on what is sent to the group ("239.1.2.3"), by the interface
/// with this address; null: the system chooses.
#[no_mangle]
pub unsafe extern "C" fn hsw_udp_join_multicast_v4(
    socket: hsw_socket,
    group: *const c_char,
    interface: *const c_char,
) -> hsw_status {
    // SAFETY: the contract of the interface.
    unsafe { change_v4(socket, group, interface, UdpSocket::join_multicast_v4) }
}

/// The UDP socket leaves a group that it has joined with these arguments.
#[no_mangle]
pub unsafe extern "C" fn hsw_udp_leave_multicast_v4(
    socket: hsw_socket,
    group: *const c_char,
    interface: *const c_char,
) -> hsw_status {
    // SAFETY: the contract of the interface.
    unsafe { change_v4(socket, group, interface, UdpSocket::leave_multicast_v4) }
}

/// The body of the entries for groups of IPv6.
///
/// SAFETY: `group` is null or ends in a zero byte.
unsafe fn change_v6(
    socket: hsw_socket,
    group: *const c_char,
    interface: u32,
    change: impl FnOnce(&UdpSocket, &Ipv6Addr, u32) -> io::Result<()>,
) -> hsw_status {
    entry(|| {
        // SAFETY: passed on.
        let group: Ipv6Addr = unsafe { ip(group, "group", "IPv6") }?;
        with_udp(socket, &group.to_string(), |socket| {
            change(socket, &group, interface)
        })
    })
}

/// The UDP socket receives from now on what is sent to the group ("ff12::1234"), by the interface
/// of this number; 0: the system chooses.
#[no_mangle]
pub unsafe extern "C" fn hsw_udp_join_multicast_v6(
    socket: hsw_socket,
    group: *const c_char,
    interface: u32,
) -> hsw_status {
    // SAFETY: the contract of the interface.
    unsafe { change_v6(socket, group, interface, UdpSocket::join_multicast_v6) }
}

/// The UDP socket leaves a group that it has joined with these arguments.
#[no_mangle]
pub unsafe extern "C" fn hsw_udp_leave_multicast_v6(
    socket: hsw_socket,
    group: *const c_char,
    interface: u32,
) -> hsw_status {
    // SAFETY: the contract of the interface.
    unsafe { change_v6(socket, group, interface, UdpSocket::leave_multicast_v6) }
}
