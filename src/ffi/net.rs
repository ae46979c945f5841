//! Sockets that block the tasklet, not the thread: what all kinds of them share, and TCP.

use core::ffi::{c_char, c_void};
use core::slice;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::failure::{Failure, Subject};
use super::handle::Kind;
use super::object::{self, get, handle_of_thread};
use super::socket_address::parse;
use super::{entry, hsw_status, out, set_if_wanted, time_limit};
use crate::error::WaitError;
use crate::net::{TcpListener, TcpStream, UdpSocket};
use crate::net::{UnixDatagram, UnixListener, UnixStream};
use crate::poll::errno::Errno;

/// A handle of a socket; the rules for its owner and thread are those of `hsw_tasklet`. Several
/// tasklets may use one handle at a time: a reader and a writer do not disturb each other.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_socket {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// What a socket handle names.
pub(super) type Socket = Rc<Any>;

/// A socket of any kind.
pub(super) enum Any {
    TcpStream(TcpStream),
    TcpListener(TcpListener),
    Udp(UdpSocket),
    UnixStream(UnixStream),
    UnixListener(UnixListener),
    UnixDatagram(UnixDatagram),
}

handle_of_thread!(hsw_socket, Socket, Socket, sockets);

/// Evaluates an expression with the socket, whatever its kind is.
macro_rules! with_any {
    ($any:expr, $socket:ident => $do:expr) => {
        match $any {
            $crate::ffi::net::Any::TcpStream($socket) => $do,
            $crate::ffi::net::Any::TcpListener($socket) => $do,
            $crate::ffi::net::Any::Udp($socket) => $do,
            $crate::ffi::net::Any::UnixStream($socket) => $do,
            $crate::ffi::net::Any::UnixListener($socket) => $do,
            $crate::ffi::net::Any::UnixDatagram($socket) => $do,
        }
    };
}
pub(super) use with_any;

/// Evaluates an expression with a connection. Failure: it is a socket of another kind.
macro_rules! with_stream {
    ($any:expr, $stream:ident => $do:expr) => {
        match $any {
            Any::TcpStream($stream) => Ok($do),
            Any::UnixStream($stream) => Ok($do),
            other => Err(other.is_not("is read or written")),
        }
    };
}

/// Evaluates an expression with a socket that sends and receives datagrams. Failure: it is one of
/// another kind.
macro_rules! with_datagrams {
    ($any:expr, $socket:ident => $do:expr) => {
        match $any {
            $crate::ffi::net::Any::Udp($socket) => Ok($do),
            $crate::ffi::net::Any::UnixDatagram($socket) => Ok($do),
            other => Err(other.is_not("sends and receives datagrams")),
        }
    };
}
pub(super) use with_datagrams;

impl Any {
    /// What it is, in words.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Any::TcpStream(_) => "is a TCP connection",
            Any::TcpListener(_) => "listens for TCP connections",
            Any::Udp(_) => "is a UDP socket",
            Any::UnixStream(_) => "is a Unix connection",
            Any::UnixListener(_) => "listens for Unix connections",
            Any::UnixDatagram(_) => "is a Unix datagram socket",
        }
    }

    /// How long a read, a receive or an accept may wait.
    pub(super) fn read_timeout(&self) -> Option<Duration> {
        match self {
            Any::TcpStream(socket) => socket.read_timeout(),
            Any::Udp(socket) => socket.read_timeout(),
            Any::UnixStream(socket) => socket.read_timeout(),
            Any::UnixDatagram(socket) => socket.read_timeout(),
            Any::TcpListener(socket) => socket.timeout(),
            Any::UnixListener(socket) => socket.timeout(),
        }
    }

    pub(super) fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        match self {
            Any::TcpStream(socket) => socket.set_read_timeout(time),
            Any::Udp(socket) => socket.set_read_timeout(time),
            Any::UnixStream(socket) => socket.set_read_timeout(time),
            Any::UnixDatagram(socket) => socket.set_read_timeout(time),
            Any::TcpListener(socket) => socket.set_timeout(time),
            Any::UnixListener(socket) => socket.set_timeout(time),
        }
    }

    /// How long a write or a send may wait; `None` if it makes neither.
    pub(super) fn write_timeout(&self) -> Option<Option<Duration>> {
        match self {
            Any::TcpStream(socket) => Some(socket.write_timeout()),
            Any::Udp(socket) => Some(socket.write_timeout()),
            Any::UnixStream(socket) => Some(socket.write_timeout()),
            Any::UnixDatagram(socket) => Some(socket.write_timeout()),
            Any::TcpListener(_) | Any::UnixListener(_) => None,
        }
    }

    /// `None` if it neither writes nor sends.
    pub(super) fn set_write_timeout(&self, time: Option<Duration>) -> Option<io::Result<()>> {
        match self {
            Any::TcpStream(socket) => Some(socket.set_write_timeout(time)),
            Any::Udp(socket) => Some(socket.set_write_timeout(time)),
            Any::UnixStream(socket) => Some(socket.set_write_timeout(time)),
            Any::UnixDatagram(socket) => Some(socket.set_write_timeout(time)),
            Any::TcpListener(_) | Any::UnixListener(_) => None,
        }
    }

    /// The failure of a call for sockets of other kinds.
    pub(super) fn is_not(&self, wanted: &str) -> Failure {
        let what = self.what();
        Failure::Argument(format!("the socket {what}: it is not one that {wanted}"))
    }
}

/// The failure of a socket's operation. What was thrown at the tasklet stays that, and the end of
/// the time does.
pub(super) fn failed(error: io::Error) -> Failure {
    WaitError::from(error).into()
}

/// As [`failed`]. If the system has refused, the message says first what it was asked for.
pub(super) fn refused(error: io::Error, asked: impl FnOnce() -> String) -> Failure {
    match error.raw_os_error() {
        Some(number) => Failure::System(Errno::from_linux(number), format!("{}: {error}", asked())),
        None => failed(error),
    }
}

/// The caller's buffer for what comes.
///
/// SAFETY: `buffer` is null or has `size` writable bytes, which nobody else uses as long as the
/// result lives.
pub(super) unsafe fn writable<'a>(
    buffer: *mut c_void,
    size: usize,
) -> Result<&'a mut [u8], Failure> {
    if size == 0 {
        return Ok(&mut []);
    }
    if buffer.is_null() {
        return Err(Failure::Null("buffer"));
    }
    // SAFETY: not null, so it has `size` bytes, as the caller has promised.
    Ok(unsafe { slice::from_raw_parts_mut(buffer.cast(), size) })
}

/// The caller's data.
///
/// SAFETY: `data` is null or has `size` readable bytes, which nobody changes as long as the result
/// lives.
pub(super) unsafe fn readable<'a>(data: *const c_void, size: usize) -> Result<&'a [u8], Failure> {
    if size == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Failure::Null("data"));
    }
    // SAFETY: not null, so it has `size` bytes, as the caller has promised.
    Ok(unsafe { slice::from_raw_parts(data.cast(), size) })
}

/// Connects to a host, given by name or address, and a port. Blocks the tasklet meanwhile, also
/// while a worker looks up the name. The first address of the host that answers is connected to:
/// when one has not answered after 250 ms, the next one is tried beside it. All of it together
/// takes at most `timeout_ns` nanoseconds (`HSW_NO_LIMIT`: as long as the system tries).
#[no_mangle]
pub unsafe extern "C" fn hsw_tcp_connect(
    host: *const c_char,
    port: u16,
    timeout_ns: u64,
    socket: *mut hsw_socket,
) -> hsw_status {
    object::make(socket, "socket", || {
        // SAFETY: `host` is null or ends in a zero byte (contract of the interface).
        let host = unsafe { super::string(host, "host") }?;
        let until = time_limit(timeout_ns)?.and_then(|time| Instant::now().checked_add(time));
        let stream = TcpStream::connect_host_until(&host, port, until).map_err(|failure| {
            let subject = || Subject::Named(Kind::Socket, format!("{host}:{port}"));
            Failure::from(WaitError::from(std::io::Error::from(failure))).about(subject)
        })?;
        Ok(Rc::new(Any::TcpStream(stream)))
    })
}

/// Listens at an address ("127.0.0.1", "::") and a port. Port 0 stands for any free one:
/// `hsw_socket_port` tells which it is.
#[no_mangle]
pub unsafe extern "C" fn hsw_tcp_listen(
    address: *const c_char,
    port: u16,
    socket: *mut hsw_socket,
) -> hsw_status {
    object::make(socket, "socket", || {
        // SAFETY: `address` is null or ends in a zero byte (contract of the interface).
        let address = unsafe { super::string(address, "address") }?;
        let at = parse(&address, port)?;
        let listener = TcpListener::bind(at).map_err(|error| refused(error, || at.to_string()))?;
        Ok(Rc::new(Any::TcpListener(listener)))
    })
}

/// Waits for a connection.
#[no_mangle]
pub unsafe extern "C" fn hsw_tcp_accept(
    listener: hsw_socket,
    socket: *mut hsw_socket,
) -> hsw_status {
    object::make(socket, "socket", || match &*get(listener)? {
        Any::TcpListener(listener) => {
            let (stream, _) = listener.accept().map_err(failed)?;
            Ok(Rc::new(Any::TcpStream(stream)))
        }
        other => Err(other.is_not("listens for TCP connections")),
    })
}

/// Receives up to `size` bytes; waits while there are none. 0 in `*received` means that the peer
/// has ended the stream.
///
/// The buffer may lie on the calling tasklet's stack, also a sliced one: it is written only while
/// the tasklet runs.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_read(
    socket: hsw_socket,
    buffer: *mut c_void,
    size: usize,
    received: *mut usize,
) -> hsw_status {
    entry(|| {
        let received = out(received, "received")?;
        // SAFETY: null, or writable bytes that nobody else uses during the call (contract of the
        // interface).
        let bytes = unsafe { writable(buffer, size) }?;
        let read = with_stream!(&*get(socket)?, stream => (&mut &*stream).read(bytes))?;
        received.set(read.map_err(failed)?);
        Ok(())
    })
}

/// Sends all `size` bytes; waits while the system takes no more. The rules for the data are those
/// for the buffer of `hsw_socket_read`.
///
/// `sent` (may be null) gets how many bytes the system has taken, *also on failure*: a caller whose
/// write has timed out goes on with the rest. With null, the only thing left after a failure is to
/// give the connection up.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_write(
    socket: hsw_socket,
    data: *const c_void,
    size: usize,
    sent: *mut usize,
) -> hsw_status {
    entry(|| {
        set_if_wanted(sent, 0);
        // SAFETY: null, or readable bytes (contract of the interface).
        let bytes = unsafe { readable(data, size) }?;
        let mut count = 0;
        let done = with_stream!(&*get(socket)?, stream => {
            stream.write_all_counted(bytes, &mut count)
        })?;
        set_if_wanted(sent, count);
        done.map_err(failed)
    })
}

/// A piece of memory. It is laid out as `struct iovec`, so a pointer to those may be cast.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_buffer {
    /// Where it begins; may be null if the size is 0.
    pub data: *mut c_void,
    /// How many bytes it has.
    pub size: usize,
}

/// The pieces of memory that are not empty.
///
/// SAFETY: `buffers` is null or has `count` entries.
unsafe fn pieces<'a>(
    buffers: *const hsw_buffer,
    count: usize,
) -> Result<impl Iterator<Item = &'a hsw_buffer>, Failure> {
    let buffers: &[hsw_buffer] = match count {
        0 => &[],
        _ if buffers.is_null() => return Err(Failure::Null("buffers")),
        // SAFETY: not null, so it has so many entries, as the caller has promised.
        _ => unsafe { slice::from_raw_parts(buffers, count) },
    };
    Ok(buffers.iter().filter(|buffer| buffer.size != 0))
}

/// As `hsw_socket_read`, into several buffers: each is filled before the next one gets anything.
/// They must not overlap.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_read_vectored(
    socket: hsw_socket,
    buffers: *const hsw_buffer,
    count: usize,
    received: *mut usize,
) -> hsw_status {
    entry(|| {
        let received = out(received, "received")?;
        // SAFETY: so many entries, each with so many writable bytes that nobody else uses during
        // the call (contract of the interface).
        let mut buffers: Vec<IoSliceMut> = unsafe {
            pieces(buffers, count)?
                .map(|buffer| Ok(IoSliceMut::new(writable(buffer.data, buffer.size)?)))
                .collect::<Result<_, Failure>>()?
        };
        let read = with_stream!(&*get(socket)?, stream => {
            (&mut &*stream).read_vectored(&mut buffers)
        })?;
        received.set(read.map_err(failed)?);
        Ok(())
    })
}

/// Sends all of several pieces of memory, one after the other, as if they were one; else as
/// `hsw_socket_write`. Nothing is written to them.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_write_vectored(
    socket: hsw_socket,
    buffers: *const hsw_buffer,
    count: usize,
    sent: *mut usize,
) -> hsw_status {
    entry(|| {
        set_if_wanted(sent, 0);
        // SAFETY: so many entries, each with so many readable bytes (contract of the interface).
        let mut pieces: Vec<IoSlice> = unsafe {
            pieces(buffers, count)?
                .map(|piece| Ok(IoSlice::new(readable(piece.data, piece.size)?)))
                .collect::<Result<_, Failure>>()?
        };
        let mut taken = 0;
        let done = with_stream!(&*get(socket)?, stream => {
            write_all_vectored(&mut &*stream, &mut pieces, &mut taken)
        })?;
        set_if_wanted(sent, taken);
        done.map_err(failed)
    })
}

/// Writes all pieces, none of which is empty, and counts the bytes that were taken.
fn write_all_vectored(
    stream: &mut impl Write,
    mut pieces: &mut [IoSlice],
    taken: &mut usize,
) -> io::Result<()> {
    while !pieces.is_empty() {
        match stream.write_vectored(pieces)? {
            0 => return Err(ErrorKind::WriteZero.into()),
            n => {
                *taken += n;
                IoSlice::advance_slices(&mut pieces, n);
            }
        }
    }
    Ok(())
}

/// As `hsw_socket_read`, but the data stays to be read again. Only of TCP connections.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_peek(
    socket: hsw_socket,
    buffer: *mut c_void,
    size: usize,
    received: *mut usize,
) -> hsw_status {
    entry(|| {
        let received = out(received, "received")?;
        // SAFETY: null, or writable bytes that nobody else uses during the call (contract of the
        // interface).
        let bytes = unsafe { writable(buffer, size) }?;
        match &*get(socket)? {
            Any::TcpStream(stream) => received.set(stream.peek(bytes).map_err(failed)?),
            other => return Err(other.is_not("has data to peek at")),
        }
        Ok(())
    })
}

/// Sets how long a single wait of a read or a write may last, in nanoseconds, or of a receive or a
/// send; of a listener, a wait of an accept. Then the call fails with `HSW_ERR_TIMEOUT`.
/// `HSW_NO_LIMIT`, the default: no limit. 0 is `HSW_ERR_ARGUMENT`. (`hsw_socket_set_option` sets
/// the two directions apart.)
#[no_mangle]
pub extern "C" fn hsw_socket_set_timeout(socket: hsw_socket, nanoseconds: u64) -> hsw_status {
    entry(|| {
        if nanoseconds == 0 {
            return Err(Failure::Argument(
                "a timeout of 0 would let nothing succeed".into(),
            ));
        }
        let time = time_limit(nanoseconds)?;
        let socket = get(socket)?;
        socket.set_read_timeout(time).map_err(failed)?;
        socket
            .set_write_timeout(time)
            .unwrap_or(Ok(()))
            .map_err(failed)
    })
}

/// Ends a direction of a connection.
fn end(socket: hsw_socket, direction: Shutdown) -> hsw_status {
    entry(|| {
        let done = with_stream!(&*get(socket)?, stream => stream.shutdown(direction))?;
        done.map_err(failed)
    })
}

/// Ends the sending direction: the peer reads to the end of the stream. Reading is still possible.
#[no_mangle]
pub extern "C" fn hsw_socket_end_writing(socket: hsw_socket) -> hsw_status {
    end(socket, Shutdown::Write)
}

/// Ends the receiving direction: what has come can still be read, then readers are at the end of
/// the stream, also those that wait. Writing is still possible.
#[no_mangle]
pub extern "C" fn hsw_socket_end_reading(socket: hsw_socket) -> hsw_status {
    end(socket, Shutdown::Read)
}

/// The port of this end of a TCP or UDP socket.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_port(socket: hsw_socket, port: *mut u16) -> hsw_status {
    entry(|| {
        let port = out(port, "port")?;
        let address = match &*get(socket)? {
            Any::TcpStream(stream) => stream.local_addr(),
            Any::TcpListener(listener) => listener.local_addr(),
            Any::Udp(socket) => socket.local_addr(),
            other => return Err(other.is_not("has a port")),
        };
        port.set(address.map_err(failed)?.port());
        Ok(())
    })
}

/// The descriptor of the socket, for the system's calls. It stays the socket's, which does not
/// block the thread (`O_NONBLOCK`): do not close it, and do not change that. `HSW_ERR_IO`: the
/// socket was closed.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_fd(socket: hsw_socket, fd: *mut i32) -> hsw_status {
    entry(|| {
        let fd = out(fd, "fd")?;
        match with_any!(&*get(socket)?, socket => socket.as_raw_fd()) {
            -1 => Err(failed(io::Error::new(
                ErrorKind::ConnectionAborted,
                "the socket was closed by this side",
            ))),
            number => {
                fd.set(number);
                Ok(())
            }
        }
    })
}

/// The pending error of the socket, in Linux' numbers, 0 if it has none. It is no longer pending
/// then; the loss of a connection is remembered all the same, and told to who reads or writes.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_take_error(
    socket: hsw_socket,
    errno_value: *mut i32,
) -> hsw_status {
    entry(|| {
        let errno_value = out(errno_value, "errno_value")?;
        let error = with_any!(&*get(socket)?, socket => socket.take_error()).map_err(failed)?;
        errno_value.set(error.and_then(|error| error.raw_os_error()).unwrap_or(0));
        Ok(())
    })
}

/// Makes another handle of the same socket, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_retain(
    socket: hsw_socket,
    other: *mut hsw_socket,
) -> hsw_status {
    object::retain(socket, other)
}

/// Closes the socket at once, for all its handles: tasklets that wait on it fail with `HSW_ERR_IO`.
/// The handles must still be released.
#[no_mangle]
pub extern "C" fn hsw_socket_close(socket: hsw_socket) -> hsw_status {
    object::tell(
        socket,
        |socket| with_any!(&**socket, socket => socket.close()),
    )
}

/// Gives a handle back; it is stale from now on. The socket is closed with its last handle, once no
/// tasklet is in a call of it.
#[no_mangle]
pub extern "C" fn hsw_socket_release(socket: hsw_socket) -> hsw_status {
    object::release(socket)
}
