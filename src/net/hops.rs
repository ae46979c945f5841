//! How many routers the packets of a socket may pass.
//!
//! Linux keeps a number for each version of IP. A socket of IPv6 has both of them, since it reaches
//! addresses of IPv4 as well. So it takes the option of IPv4 without a word, and its packets over
//! IPv6 stay as they were.

use nix::sys::socket::{getsockname, getsockopt, setsockopt, sockopt};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Is it a socket of IPv6?
pub fn is_v6(io: &impl AsFd) -> io::Result<bool> {
    let addr: SockaddrStorage = getsockname(io.as_fd().as_raw_fd())?;
    Ok(addr.family() == Some(AddressFamily::Inet6))
}

/// Sets it for each version of IP that the socket has. Errors: it is not one of 1 to 255, and
/// nothing has changed.
pub fn set(io: &impl AsFd, hops: u32) -> io::Result<()> {
    let hops = hops as libc::c_int;
    // This comes first, since IPv6 would take 0 as well.
    setsockopt(io, sockopt::Ipv4Ttl, &hops)?;
    if is_v6(io)? {
        setsockopt(io, sockopt::Ipv6Ttl, &hops)?;
    }
    Ok(())
}

/// The number for the version of IP that the socket is of.
pub fn get(io: &impl AsFd) -> io::Result<u32> {
    let hops = match is_v6(io)? {
        true => getsockopt(io, sockopt::Ipv6Ttl)?,
        false => getsockopt(io, sockopt::Ipv4Ttl)?,
    };
    Ok(hops as u32)
}
