//! Addresses of sockets.

use core::ffi::c_char;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use alloc::format;
use alloc::string::String;

use super::failure::Failure;
use super::net::{failed, hsw_socket, Any};
use super::object::get;
use super::{entry, hsw_status, out, write_text};

/// What kind of address it is.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum hsw_family {
    /// Four bytes and a port.
    HSW_FAMILY_IPV4 = 4,
    /// Sixteen bytes and a port.
    HSW_FAMILY_IPV6 = 6,
}

use hsw_family::*;

/// The address of a socket. `hsw_address_parse` makes one of a text, `hsw_address_text` a text of
/// one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_address {
    /// One of `hsw_family`.
    pub family: i32,
    /// IPv6: the number of the interface, for an address of its network alone (`fe80::`); else 0.
    pub scope: u32,
    /// The port, in the order of bytes of the machine.
    pub port: u16,
    /// The address, as it is sent: the first byte first. IPv4: the first four bytes.
    pub ip: [u8; 16],
}

impl hsw_address {
    pub(super) fn of_ip(addr: SocketAddr) -> hsw_address {
        let mut ip = [0; 16];
        let (family, scope) = match addr {
            SocketAddr::V4(v4) => {
                ip[..4].copy_from_slice(&v4.ip().octets());
                (HSW_FAMILY_IPV4, 0)
            }
            SocketAddr::V6(v6) => {
                ip = v6.ip().octets();
                (HSW_FAMILY_IPV6, v6.scope_id())
            }
        };
        hsw_address {
            family: family as i32,
            scope,
            port: addr.port(),
            ip,
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

/// The address as a text: "127.0.0.1:80", "[::1]:80". At most `capacity` bytes are written, with
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

fn text_of(address: &hsw_address) -> Result<String, Failure> {
    Ok(format!("{}", address.to_ip()?))
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

/// The address of this end of the socket, with the port that the system has chosen.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_local_address(
    socket: hsw_socket,
    address: *mut hsw_address,
) -> hsw_status {
    entry(|| {
        let address = out(address, "address")?;
        address.set(match &*get(socket)? {
            Any::TcpStream(socket) => hsw_address::of_ip(socket.local_addr().map_err(failed)?),
            Any::TcpListener(socket) => hsw_address::of_ip(socket.local_addr().map_err(failed)?),
        });
        Ok(())
    })
}

/// The address of the other end. `HSW_ERR_IO` with `ENOTCONN`: there is none, or it has gone.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_peer_address(
    socket: hsw_socket,
    address: *mut hsw_address,
) -> hsw_status {
    entry(|| {
        let address = out(address, "address")?;
        address.set(match &*get(socket)? {
            Any::TcpStream(socket) => hsw_address::of_ip(socket.peer_addr().map_err(failed)?),
            other => return Err(other.is_not("has a peer")),
        });
        Ok(())
    })
}
