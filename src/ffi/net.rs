//! TCP sockets that block the tasklet, not the thread.

use core::ffi::{c_char, c_void};
use std::io::Read;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Instant;

use alloc::format;

use super::failure::{Failure, Subject};
use super::handle::Kind;
use super::object::{self, get, hand_out, handle_of_thread};
use super::{entry, hsw_status, out, set_if_wanted, time_limit};
use crate::error::WaitError;
use crate::net::{TcpListener, TcpStream};

/// A handle of a socket; the rules for its owner and thread are those of `hsw_tasklet`. Several
/// tasklets may use one handle at a time: a reader and a writer do not disturb each other.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_socket {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// What a socket handle names.
pub(super) type Socket = Rc<Either>;

pub(super) enum Either {
    Stream(TcpStream),
    Listener(TcpListener),
}

handle_of_thread!(hsw_socket, Socket, Socket, sockets);

/// Runs an operation of a connected socket.
fn with_stream<R>(
    socket: hsw_socket,
    operation: impl FnOnce(&TcpStream) -> std::io::Result<R>,
) -> Result<R, Failure> {
    match &*get(socket)? {
        Either::Stream(stream) => Ok(operation(stream).map_err(WaitError::from)?),
        Either::Listener(_) => Err(Failure::Argument(
            "the socket listens, it is not connected".into(),
        )),
    }
}

/// Connects to a host, given by name or address, and a port. Blocks the tasklet meanwhile, also
/// while a worker looks up the name. Each address of the host is tried in turn. All of it together
/// takes at most `timeout_ns` nanoseconds (`HSW_NO_LIMIT`: as long as the system tries).
#[no_mangle]
pub unsafe extern "C" fn hsw_tcp_connect(
    host: *const c_char,
    port: u16,
    timeout_ns: u64,
    socket: *mut hsw_socket,
) -> hsw_status {
    entry(|| {
        let socket = out(socket, "socket")?;
        // SAFETY: `host` is null or ends in a zero byte (contract of the interface).
        let host = unsafe { super::string(host, "host") }?;
        let until = time_limit(timeout_ns)?.and_then(|time| Instant::now().checked_add(time));
        let stream = TcpStream::connect_host_until(&host, port, until).map_err(|failure| {
            let subject = || Subject::Named(Kind::Socket, format!("{host}:{port}"));
            Failure::from(WaitError::from(std::io::Error::from(failure))).about(subject)
        })?;
        socket.set(hand_out(Rc::new(Either::Stream(stream)))?);
        Ok(())
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
    entry(|| {
        let socket = out(socket, "socket")?;
        // SAFETY: `address` is null or ends in a zero byte (contract of the interface).
        let address = unsafe { super::string(address, "address") }?;
        let Ok(ip) = address.parse() else {
            return Err(Failure::Argument(format!("'{address}' is no IP address")));
        };
        let listener = TcpListener::bind(std::net::SocketAddr::new(ip, port)).map_err(|error| {
            Failure::Core(
                error.into(),
                Subject::Named(Kind::Socket, format!("{address}:{port}")),
            )
        })?;
        socket.set(hand_out(Rc::new(Either::Listener(listener)))?);
        Ok(())
    })
}

/// Waits for a connection.
#[no_mangle]
pub unsafe extern "C" fn hsw_tcp_accept(
    listener: hsw_socket,
    socket: *mut hsw_socket,
) -> hsw_status {
    entry(|| {
        let socket = out(socket, "socket")?;
        match &*get(listener)? {
            Either::Listener(listener) => {
                let (stream, _) = listener.accept().map_err(WaitError::from)?;
                socket.set(hand_out(Rc::new(Either::Stream(stream)))?);
                Ok(())
            }
            Either::Stream(_) => Err(Failure::Argument(
                "the socket is connected, it does not listen".into(),
            )),
        }
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
        if buffer.is_null() && size != 0 {
            return Err(Failure::Null("buffer"));
        }
        let bytes: &mut [u8] = if size == 0 {
            &mut []
        } else {
            // SAFETY: not null, and it has `size` writable bytes that nobody else uses during the
            // call (contract of the interface).
            unsafe { core::slice::from_raw_parts_mut(buffer.cast(), size) }
        };
        received.set(with_stream(socket, |mut stream| stream.read(bytes))?);
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
        if data.is_null() && size != 0 {
            return Err(Failure::Null("data"));
        }
        let bytes: &[u8] = if size == 0 {
            &[]
        } else {
            // SAFETY: not null, and it has `size` readable bytes (contract of the interface).
            unsafe { core::slice::from_raw_parts(data.cast(), size) }
        };
        let mut count = 0;
        let done = with_stream(socket, |stream| stream.write_all_counted(bytes, &mut count));
        set_if_wanted(sent, count);
        done
    })
}

/// Sets how long a single wait of a read or a write may last, in nanoseconds; of a listener, a wait
/// of an accept. Then the call fails with `HSW_ERR_TIMEOUT`. `HSW_NO_LIMIT`, the default: no limit.
/// 0 is `HSW_ERR_ARGUMENT`.
#[no_mangle]
pub extern "C" fn hsw_socket_set_timeout(socket: hsw_socket, nanoseconds: u64) -> hsw_status {
    entry(|| {
        if nanoseconds == 0 {
            return Err(Failure::Argument(
                "a timeout of 0 would let nothing succeed".into(),
            ));
        }
        let time = time_limit(nanoseconds)?;
        match &*get(socket)? {
            Either::Stream(stream) => {
                stream.set_read_timeout(time).map_err(Failure::own)?;
                stream.set_write_timeout(time).map_err(Failure::own)?;
            }
            Either::Listener(listener) => listener.set_timeout(time).map_err(Failure::own)?,
        }
        Ok(())
    })
}

/// Ends the sending direction: the peer reads to the end of the stream. Reading is still possible.
#[no_mangle]
pub extern "C" fn hsw_socket_end_writing(socket: hsw_socket) -> hsw_status {
    entry(|| with_stream(socket, |stream| stream.shutdown(Shutdown::Write)))
}

/// The port of this end of the connection.
#[no_mangle]
pub unsafe extern "C" fn hsw_socket_port(socket: hsw_socket, port: *mut u16) -> hsw_status {
    entry(|| {
        let port = out(port, "port")?;
        let address = match &*get(socket)? {
            Either::Stream(stream) => stream.local_addr(),
            Either::Listener(listener) => listener.local_addr(),
        };
        port.set(address.map_err(Failure::own)?.port());
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
    object::tell(socket, |socket| match &**socket {
        Either::Stream(stream) => stream.close(),
        Either::Listener(listener) => listener.close(),
    })
}

/// Gives a handle back; it is stale from now on. The socket is closed with its last handle, once no
/// tasklet is in a call of it.
#[no_mangle]
pub extern "C" fn hsw_socket_release(socket: hsw_socket) -> hsw_status {
    object::release(socket)
}
