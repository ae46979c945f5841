//! Addresses of sockets.

use core::ffi::{c_char, CStr};
use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net;

use alloc::format;
use alloc::string::String;

use super::failure::Failure;
use super::net::{failed, hsw_socket, Any};
use super::object::ask_or_fail;
use super::{entry, hsw_status, out, write_text};
use crate::net::Sender;

/// What kind of address it is.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum hsw_family {
    /// A name within this machine: a path, an abstract name, or none.
    HSW_FAMILY_UNIX = 1,
    /// Four bytes and a port.
    HSW_FAMILY_IPV4 = 4,
    /// Sixteen bytes and a port.
    HSW_FAMILY_IPV6 = 6,
}

use hsw_family::*;

/// The most bytes that a path or an abstract name may have that is given to us. (The system knows
/// paths of one more.)
const LONGEST: usize = 107;
/// The most bytes of a name with the zero byte in front of an abstract one: a path of the system's.
const MOST: usize = 108;

/// The address of a socket. `hsw_address_parse` and `hsw_address_unix` make one of a text,
/// `hsw_address_text` a text of one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_address {
    /// One of `hsw_family`.
    pub family: i32,
    /// IPv6: the number of the interface, for an address of its network alone (`fe80::`); else 0.
    pub scope: u32,
    /// IP: the port, in the order of bytes of the machine.
    pub port: u16,
    /// Unix: how many bytes the name has; 0, as of most connected sockets: it has none.
    pub name_length: u16,
    /// IP: the address, as it is sent, the first byte first. IPv4: the first four bytes.
    pub ip: [u8; 16],
    /// Unix: a path, which ends in a zero byte that does not count; or a zero byte and an abstract
    /// name, at most 107 bytes, of any values. This library takes paths of at most 107 bytes; the
    /// address of another program's socket may have one of 108.
    pub name: [c_char; 109],
}

impl hsw_address {
    fn nothing(family: hsw_family) -> hsw_address {
        hsw_address {
            family: family as i32,
            scope: 0,
            port: 0,
            name_length: 0,
            ip: [0; 16],
            name: [0; MOST + 1],
        }
    }

    pub(super) fn of_ip(addr: SocketAddr) -> hsw_address {
        match addr {
            SocketAddr::V4(v4) => {
                let mut address = hsw_address::nothing(HSW_FAMILY_IPV4);
                address.ip[..4].copy_from_slice(&v4.ip().octets());
                address.port = v4.port();
                address
            }
            SocketAddr::V6(v6) => hsw_address {
                scope: v6.scope_id(),
                port: v6.port(),
                ip: v6.ip().octets(),
                ..hsw_address::nothing(HSW_FAMILY_IPV6)
            },
        }
    }

    /// `parts` are those of the name, one after the other, and not longer than it may be.
    fn of_name(parts: [&[u8]; 2]) -> hsw_address {
        let mut address = hsw_address::nothing(HSW_FAMILY_UNIX);
        let bytes = parts.into_iter().flatten();
        let mut length = 0;
        for (to, from) in address.name[..MOST].iter_mut().zip(bytes) {
            *to = *from as c_char;
            length += 1;
        }
        address.name_length = length;
        address
    }

    pub(super) fn of_unix(addr: &net::SocketAddr) -> hsw_address {
        match (addr.as_pathname(), addr.as_abstract_name()) {
            (Some(path), _) => hsw_address::of_name([path.as_os_str().as_bytes(), &[]]),
            (None, Some(name)) => hsw_address::of_name([&[0], name]),
            (None, None) => hsw_address::nothing(HSW_FAMILY_UNIX),
        }
    }

    /// The address of a sender, as the system has told it; of none, if it has none.
    pub(super) fn of_sender(from: Option<&Sender>) -> hsw_address {
        match from {
            Some(Sender::Ip(ip)) => hsw_address::of_ip(*ip),
            Some(Sender::Unix(name)) => hsw_address::of_name([name.bytes(), &[]]),
            None => hsw_address::nothing(HSW_FAMILY_UNIX),
        }
    }

    /// The name, with the zero byte in front of an abstract one. Failure: it is longer than there
    /// is room for.
    fn name(&self) -> Result<&[u8], Failure> {
        let length = usize::from(self.name_length);
        let Some(name) = self.name[..MOST].get(..length) else {
            return Err(Failure::Argument(format!(
                "a name of {length} bytes: there is room for {MOST}"
            )));
        };
        // SAFETY: `c_char` is a byte, signed or not.
        Ok(unsafe { core::slice::from_raw_parts(name.as_ptr().cast(), length) })
    }

    /// A name within the machine, if it is that.
    pub(super) fn to_unix(self) -> Result<net::SocketAddr, Failure> {
        if self.family != HSW_FAMILY_UNIX as i32 {
            return Err(Failure::Argument(format!(
                "an address of family {}: it is no Unix address",
                self.family
            )));
        }
        match self.name()? {
            [] => Err(Failure::Argument("an empty name".into())),
            [0, name @ ..] => named(net::SocketAddr::from_abstract_name(name)),
            path => named(net::SocketAddr::from_pathname(OsStr::from_bytes(path))),
        }
    }

    /// An IP address and a port, if it is that.
    pub(super) fn to_ip(self) -> Result<SocketAddr, Failure> {
        match self.family {
            f if f == HSW_FAMILY_IPV4 as i32 => {
                let [a, b, c, d, ..] = self.ip;
                let ip = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
                Ok(SocketAddr::new(ip, self.port))
            }
            f if f == HSW_FAMILY_IPV6 as i32 => {
                let ip = Ipv6Addr::from(self.ip);
                Ok(SocketAddrV6::new(ip, self.port, 0, self.scope).into())
            }
            other => Err(Failure::Argument(format!(
                "an address of family {other}: it is no IP address"
            ))),
        }
    }
}

/// An IP address: "127.0.0.1", "::1", "fe80::1%2" (2 is the number of the interface).
pub(super) fn parse(text: &str, port: u16) -> Result<SocketAddr, Failure> {
    let found = if text.contains(':') {
        let v6: Option<SocketAddrV6> = format!("[{text}]:{port}").parse().ok();
        v6.map(SocketAddr::V6)
    } else {
        let v4: Option<Ipv4Addr> = text.parse().ok();
        v4.map(|ip| SocketAddr::new(ip.into(), port))
    };
    found.ok_or_else(|| Failure::Argument(format!("'{text}' is no IP address")))
}

/// Says what is wrong with a name.
fn named(made: io::Result<net::SocketAddr>) -> Result<net::SocketAddr, Failure> {
    made.map_err(|error| Failure::Argument(format!("{error}")))
}

/// A Unix address: a path, or '@' and an abstract name.
///
/// SAFETY: `text` is null or ends in a zero byte.
pub(super) unsafe fn unix(text: *const c_char) -> Result<net::SocketAddr, Failure> {
    if text.is_null() {
        return Err(Failure::Null("name"));
    }
    // SAFETY: not null, so it ends in a zero byte, as the caller has promised.
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    let (abstract_name, name) = match text {
        [b'@', name @ ..] => (true, name),
        path => (false, path),
    };
    match name.len() {
        0 => Err(Failure::Argument("an empty name".into())),
        1..=LONGEST if abstract_name => named(net::SocketAddr::from_abstract_name(name)),
        1..=LONGEST => named(net::SocketAddr::from_pathname(OsStr::from_bytes(name))),
        length => Err(Failure::Argument(format!(
            "a name of {length} bytes: the system takes {LONGEST}"
        ))),
    }
}

/// Makes an address of a path, or of '@' and an abstract name ("./@x" is a path).
/// `HSW_ERR_ARGUMENT`: it is empty, or longer than 107 bytes.
#[no_mangle]
pub unsafe extern "C" fn hsw_address_unix(
    name: *const c_char,
    address: *mut hsw_address,
) -> hsw_status {
    entry(|| {
        let address = out(address, "address")?;
        // SAFETY: `name` is null or ends in a zero byte (contract of the interface).
        let name = unsafe { unix(name) }?;
        address.set(hsw_address::of_unix(&name));
        Ok(())
    })
}

/// Makes an address of a text ("127.0.0.1", "::1", "fe80::1%2", where 2 is the number of the
/// interface) and a port. It looks no names up. `HSW_ERR_ARGUMENT`: the text is no IP address.
#[no_mangle]
pub unsafe extern "C" fn hsw_address_parse(
    text: *const c_char,
    port: u16,
    address: *mut hsw_address,
) -> hsw_status {
    entry(|| {
        let address = out(address, "address")?;
        // SAFETY: `text` is null or ends in a zero byte (contract of the interface).
        let text = unsafe { super::string(text, "text") }?;
        address.set(hsw_address::of_ip(parse(&text, port)?));
        Ok(())
    })
}

/// The address as a text: "127.0.0.1:80", "[::1]:80", a path, '@' and an abstract name, or nothing
/// for a socket without a name. At most `capacity` bytes are written, with
/// the final zero; `length` (may be null) gets the length of the whole text.
#[no_mangle]
pub unsafe extern "C" fn hsw_address_text(
    address: *const hsw_address,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> hsw_status {
    entry(|| {
        // SAFETY: null, or it points to one (contract of the interface).
        let address = unsafe { read(address, "address") }?;
        // SAFETY: null, or so many bytes (contract of the interface).
        unsafe { write_text(&text_of(&address)?, buffer, capacity, length) }
    })
}

pub(super) fn text_of(address: &hsw_address) -> Result<String, Failure> {
    if address.family != HSW_FAMILY_UNIX as i32 {
        return Ok(format!("{}", address.to_ip()?));
    }
    let text = |bytes| String::from_utf8_lossy(bytes);
    Ok(match address.name()? {
        [0, name @ ..] => format!("@{}", text(name)),
        path => text(path).into_owned(),
    })
}

/// An address of the caller's.
///
/// SAFETY: `address` is null or points to one.
pub(super) unsafe fn read(
    address: *const hsw_address,
    name: &'static str,
) -> Result<hsw_address, Failure> {
    if address.is_null() {
        return Err(Failure::Null(name));
    }
    // SAFETY: not null, so it points to one, as the caller has promised.
    Ok(unsafe { *address })
}

fn ip(found: io::Result<SocketAddr>) -> Result<hsw_address, Failure> {
    found.map(hsw_address::of_ip).map_err(failed)
}

fn of_unix(found: io::Result<net::SocketAddr>) -> Result<hsw_address, Failure> {
    let address = found.map_err(failed)?;
    Ok(hsw_address::of_unix(&address))
}

/// The address of this end of the socket, with the port that the system has chosen.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_local_address(
    socket: hsw_socket,
    address: *mut hsw_address,
) -> hsw_status {
    ask_or_fail(socket, address, "address", |socket| match &**socket {
        Any::TcpStream(socket) => ip(socket.local_addr()),
        Any::TcpListener(socket) => ip(socket.local_addr()),
        Any::Udp(socket) => ip(socket.local_addr()),
        Any::UnixStream(socket) => of_unix(socket.local_addr()),
        Any::UnixListener(socket) => of_unix(socket.local_addr()),
        Any::UnixDatagram(socket) => of_unix(socket.local_addr()),
    })
}

/// The address of the other end. `HSW_ERR_IO` with `ENOTCONN`: there is none, or it has gone.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_peer_address(
    socket: hsw_socket,
    address: *mut hsw_address,
) -> hsw_status {
    ask_or_fail(socket, address, "address", |socket| match &**socket {
        Any::TcpStream(socket) => ip(socket.peer_addr()),
        Any::Udp(socket) => ip(socket.peer_addr()),
        Any::UnixStream(socket) => of_unix(socket.peer_addr()),
        Any::UnixDatagram(socket) => of_unix(socket.peer_addr()),
        other => Err(other.is_not("has a peer")),
    })
}
