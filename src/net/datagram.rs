//! Datagrams that come: their sender, and their whole length also where the buffer was too small.

use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use std::io;
use std::mem::offset_of;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// A datagram that has come.
pub struct Received {
    /// How many of its bytes are in the buffer.
    pub bytes: usize,
    /// How many it has.
    pub length: usize,
    /// Who has sent it; `None`, a socket without an address.
    pub from: Option<Sender>,
}

/// Who has sent a datagram.
pub enum Sender {
    Ip(SocketAddr),
    Unix(UnixName),
}

/// The name of a Unix socket. Linux knows paths of 108 bytes, which leave no room for a zero byte
/// at their end; nix has no address for what Linux tells of such a sender.
pub struct UnixName {
    bytes: [u8; UnixName::LONGEST],
    length: usize,
}

impl UnixName {
    const LONGEST: usize = 108;

    /// Of the bytes that the system has told, which end in a zero byte if they are a path.
    fn new(told: &[u8]) -> Option<UnixName> {
        let length = match told {
            [] => return None,
            [0, ..] => told.len(),
            path => path.iter().position(|b| *b == 0).unwrap_or(path.len()),
        };
        let length = length.min(Self::LONGEST);
        let mut bytes = [0; Self::LONGEST];
        bytes[..length].copy_from_slice(&told[..length]);
        Some(UnixName { bytes, length })
    }

    /// A path, or a zero byte and an abstract name.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The address that the system has told; `None`, it is none.
fn sender(from: &libc::sockaddr_storage, length: usize) -> Option<Sender> {
    let length = length.min(size_of_val(from));
    let start = offset_of!(libc::sockaddr_un, sun_path);
    if length >= start && i32::from(from.ss_family) == libc::AF_UNIX {
        // SAFETY: an address is bytes, all of them initialised; it lives as long as the slice.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const *from).cast::<u8>(), length) };
        return UnixName::new(&bytes[start..]).map(Sender::Unix);
    }
    // SAFETY: the system has written so many bytes, and not more than there are.
    let from = unsafe { SockaddrStorage::from_raw((&raw const *from).cast(), Some(length as u32)) };
    let from = from?;
    let v4 = || Some(SocketAddr::V4((*from.as_sockaddr_in()?).into()));
    let v6 = || Some(SocketAddr::V6((*from.as_sockaddr_in6()?).into()));
    v4().or_else(v6).map(Sender::Ip)
}

/// Takes the next datagram, or (`peek`) looks at it, and does not wait.
pub fn receive(socket: &impl AsRawFd, buf: &mut [u8], peek: bool) -> io::Result<Received> {
    // With the first flag the system tells the whole length.
    let flags = libc::MSG_TRUNC | if peek { libc::MSG_PEEK } else { 0 };
    // SAFETY: zeroes are an address of no family.
    let mut from: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut room = size_of_val(&from) as libc::socklen_t;
    let from_pointer = (&raw mut from).cast::<libc::sockaddr>();
    // SAFETY: the buffer has so many writable bytes, and the address as many as `room` says. The
    // number is that of an open descriptor, which the socket keeps open meanwhile.
    let length = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buf.as_mut_ptr().cast(),
            buf.len(),
            flags,
            from_pointer,
            &mut room,
        )
    };
    // It is negative if the call has failed.
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    Ok(Received {
        bytes: length.min(buf.len()),
        length,
        from: sender(&from, room as usize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_datagram_that_was_cut_says_how_long_it_was() {
        let (here, there) = UnixDatagram::pair().unwrap();
        there.send(b"four").unwrap();
        let mut buf = [0; 2];
        for peek in [true, false] {
            let got = receive(&here, &mut buf, peek).unwrap();
            assert_eq!((got.bytes, got.length), (2, 4));
            assert!(got.from.is_none(), "it has no address");
            assert_eq!(&buf, b"fo");
        }
        here.set_nonblocking(true).unwrap();
        let none = receive(&here, &mut buf, false);
        assert_eq!(
            none.err().map(|error| error.kind()),
            Some(io::ErrorKind::WouldBlock)
        );
    }

    #[test]
    fn the_sender_of_a_datagram_is_told() {
        let (here, there) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        there.send_to(b"", here.local_addr().unwrap()).unwrap();
        let got = receive(&here, &mut [], false).unwrap();
        assert_eq!((got.bytes, got.length), (0, 0));
        assert!(matches!(got.from, Some(Sender::Ip(from)) if from == there.local_addr().unwrap()));
    }

    #[test]
    fn a_path_that_fills_all_of_an_address_is_told_whole() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::SocketAddr;
        let place = std::env::temp_dir().join(format!("hardswitch-{}-", std::process::id()));
        let mut path = place.into_os_string().into_string().unwrap();
        path += &"p".repeat(108 - path.len());
        let there = UnixDatagram::unbound().unwrap();
        /// Valgrind looks for a zero byte, also behind the address.
        #[repr(C)]
        struct Padded {
            addr: libc::sockaddr_un,
            _end: u8,
        }
        let padded = Padded {
            addr: libc::sockaddr_un {
                sun_family: libc::AF_UNIX as libc::sa_family_t,
                sun_path: std::array::from_fn(|at| path.as_bytes()[at] as libc::c_char),
            },
            _end: 0,
        };
        let size = size_of_val(&padded.addr) as libc::socklen_t;
        // SAFETY: an address with its size, and an open socket.
        let bound = unsafe { libc::bind(there.as_raw_fd(), (&raw const padded).cast(), size) };
        assert_eq!(bound, 0, "{}", io::Error::last_os_error());
        // An abstract name, also as long as there may be one.
        let name = "n".repeat(107);
        let name = SocketAddr::from_abstract_name(&name).unwrap();
        let here = UnixDatagram::bind_addr(&name).unwrap();
        there.send_to_addr(b"x", &name).unwrap();
        here.send_to_addr(b"x", &name).unwrap();
        for whole in [path.clone(), format!("\0{}", "n".repeat(107))] {
            let got = receive(&here, &mut [0], false).unwrap();
            let Some(Sender::Unix(name)) = got.from else {
                panic!("no Unix address");
            };
            assert_eq!(name.bytes(), whole.as_bytes());
        }
        std::fs::remove_file(path).unwrap();
    }
}
