//! Datagrams that come: their sender, and their whole length also where the buffer was too small.

use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use std::io;
use std::os::fd::AsRawFd;

/// A datagram that has come.
pub struct Received {
    /// How many of its bytes are in the buffer.
    pub bytes: usize,
    /// How many it has.
    pub length: usize,
    /// Who has sent it; `None`, a socket without an address.
    pub from: Option<SockaddrStorage>,
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
    // SAFETY: the address has `room` bytes that the system has written, and not more than there are.
    let from = unsafe { SockaddrStorage::from_raw(from_pointer, Some(room)) };
    Ok(Received {
        bytes: length.min(buf.len()),
        length,
        from: from.filter(|from| from.family().is_some()),
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
        let from = got.from.expect("an address").to_string();
        assert_eq!(from, there.local_addr().unwrap().to_string());
    }
}
