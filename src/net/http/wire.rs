//! A connection as hyper sees it: reads and writes that never wait.
//!
//! hyper is polled, and tries; when nothing more can be done, [`Exchange`](super::exchange) waits
//! for what the tries wanted. So nothing of hyper is on the stack while a tasklet waits, and an
//! error of a wait, such as a time that is up, is none of hyper's.

use super::error::{is_time_up, HttpError};
use super::url::Url;
use crate::error::WaitError;
use crate::net::connect::{self, ConnectError};
use crate::net::resolve;
use crate::net::source::{same, send_pieces, Failure};
use crate::net::tcp::TcpStream;
use crate::poll::shim::{self, Events, PollFd};
use crate::poll::Os;
use crate::thread::allow_threads;
use crate::wait::fork::forks;
use crate::{offload, Error};
use bytes::Bytes;
use hyper::rt::ReadBufCursor;
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice, Read};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A connection, and who waits for it.
pub enum Socket {
    /// The tasklet waits, and the thread serves others.
    Tasklet(TcpStream),
    /// The thread waits: it makes a job of a worker pool.
    Worker(std::net::TcpStream),
}

impl Socket {
    /// Connects to the host of `url`.
    pub fn connect(url: &Url, until: Option<Instant>) -> Result<Socket, HttpError> {
        let (host, port) = (url.host(), url.port());
        let connected = if offload::makes_a_job() {
            connect_blocking(host, port, until).and_then(|stream| Ok(Socket::adopt(stream)?))
        } else {
            TcpStream::connect_host_until(host, port, until).map(Socket::Tasklet)
        };
        let socket = connected.map_err(|failure| no_connection(url, failure))?;
        socket.set_nodelay()?;
        Ok(socket)
    }

    /// Uses a connection that another thread may have made.
    pub fn adopt(stream: std::net::TcpStream) -> io::Result<Socket> {
        if offload::makes_a_job() {
            stream.set_nonblocking(true)?;
            return Ok(Socket::Worker(stream));
        }
        Ok(Socket::Tasklet(TcpStream::from_std(stream)?))
    }

    /// The connection, for whoever uses it next.
    pub fn release(self) -> Option<std::net::TcpStream> {
        match self {
            Socket::Tasklet(stream) => stream.into_source().ok()?.take(),
            Socket::Worker(stream) => Some(stream),
        }
    }

    /// Head and body of a request are small writes, and the peer is not to wait between them.
    fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Socket::Tasklet(stream) => stream.set_nodelay(true),
            Socket::Worker(stream) => stream.set_nodelay(true),
        }
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tasklet(stream) => stream.source().attempt_once(|mut io| io.read(buf)),
            Socket::Worker(stream) => uninterrupted(|| (&*stream).read(buf)),
        }
    }

    fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tasklet(stream) => stream.source().attempt_once(|io| send_pieces(io, pieces)),
            Socket::Worker(stream) => uninterrupted(|| send_pieces(stream, pieces)),
        }
    }

    /// Waits until the connection may be ready for one of these, or the time is over.
    pub fn wait(&self, interest: Events, until: Option<Instant>) -> Result<(), Failure> {
        let stream = match self {
            Socket::Tasklet(stream) => return stream.source().wait(interest, until),
            Socket::Worker(stream) => stream,
        };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // An hour is as good as no limit: it is tried again then.
        let left = left.unwrap_or(Duration::from_secs(3600));
        let mut fds = [PollFd::new(stream.as_raw_fd(), interest)];
        let found = allow_threads(|| shim::poll(&mut Os, &mut fds, Some(left)));
        match found.map_err(io::Error::from) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
            Ok(0) if until.is_some() => Err(WaitError::Hindered(Error::Timeout).into()),
            Ok(_) => Ok(()),
        }
    }

    /// Throws what was thrown at the tasklet: it must not wait until nothing more comes.
    pub fn raise(&self) -> Result<(), HttpError> {
        if let Socket::Tasklet(_) = self {
            let thrown = crate::thread::raise().map_err(WaitError::Thrown);
            thrown.map_err(|thrown| HttpError::Io(thrown.into()))?;
        }
        Ok(())
    }
}

fn uninterrupted(mut op: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match op() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// A connection, and what an [`Exchange`](super::exchange) has to know of hyper's use of it.
pub struct Line {
    pub socket: Socket,
    /// The process that began to use it: that after so many forks.
    pub forks: u32,
    /// What the tries since the last wait wanted, and did not get.
    pub wanted: Cell<Events>,
    /// How many bytes of heads may come still; `None` once the head of the answer has come.
    pub head_left: Cell<Option<usize>>,
    /// The heads were longer, if the head of the answer has not come.
    pub too_long: Cell<bool>,
    /// Bytes that have come, and that have been sent.
    pub came: Cell<u64>,
    pub sent: Cell<u64>,
    /// The peer has ended its stream.
    pub ended: Cell<bool>,
    /// Why nothing more can be read, and written.
    pub read_error: RefCell<Option<io::Error>>,
    pub write_error: RefCell<Option<io::Error>>,
    /// The next piece of the request's body, and whether hyper has asked for one.
    pub piece: RefCell<Option<Bytes>>,
    pub hungry: Cell<bool>,
    pub body_ended: Cell<bool>,
}

impl Line {
    pub fn new(socket: Socket, head: usize) -> Line {
        Line {
            socket,
            forks: forks(),
            wanted: Cell::new(Events::NONE),
            head_left: Cell::new(Some(head)),
            too_long: Cell::new(false),
            came: Cell::new(0),
            sent: Cell::new(0),
            ended: Cell::new(false),
            read_error: RefCell::new(None),
            write_error: RefCell::new(None),
            piece: RefCell::new(None),
            hungry: Cell::new(false),
            body_ended: Cell::new(false),
        }
    }

    fn want(&self, event: Events) {
        self.wanted.set(self.wanted.get() | event);
    }

    fn read(&self, cursor: &mut ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let room = match self.head_left.get() {
            // The head may be there, and what is read now belong to the body: whoever polls hyper
            // sees whether it is.
            Some(0) => {
                self.too_long.set(true);
                return Poll::Pending;
            }
            Some(left) => cursor.remaining().min(left),
            None => cursor.remaining(),
        };
        let buf = cursor.initialize_unfilled_to(room);
        let read = match self.socket.read(buf) {
            Ok(0) if room > 0 => self.end().map(|()| 0),
            read => read,
        };
        match read {
            Ok(n) => {
                // SAFETY: these bytes were initialized above, and `n` of them read into. No
                // invariant of the library is involved.
                unsafe { cursor.advance(n.min(room)) };
                self.came.set(self.came.get() + n as u64);
                self.head_left
                    .set(self.head_left.get().map(|left| left - n));
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.want(Events::IN);
                Poll::Pending
            }
            Err(error) => {
                self.read_error.replace(Some(same(&error)));
                Poll::Ready(Err(error))
            }
        }
    }

    /// The stream has ended; or its loss was told to the writer, and looks like an end now.
    fn end(&self) -> io::Result<()> {
        match &*self.write_error.borrow() {
            Some(lost) if lost.kind() != ErrorKind::BrokenPipe => Err(same(lost)),
            _ => {
                self.ended.set(true);
                Ok(())
            }
        }
    }

    fn write(&self, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let all = pieces.iter().map(|piece| piece.len()).sum();
        if self.write_error.borrow().is_some() {
            return Poll::Ready(Ok(all));
        }
        match self.socket.write(pieces) {
            Ok(n) => {
                self.sent.set(self.sent.get() + n as u64);
                Poll::Ready(Ok(n))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.want(Events::OUT);
                Poll::Pending
            }
            // The server may have answered before it had read everything, and closed: 413 and 431
            // come that way. So the rest is given up, and the answer is read.
            Err(error) if ends_writing(&error) => {
                self.write_error.replace(Some(error));
                Poll::Ready(Ok(all))
            }
            Err(error) => {
                self.write_error.replace(Some(same(&error)));
                Poll::Ready(Err(error))
            }
        }
    }

    /// The connection's own error, if it has one: hyper tells what it makes of it only.
    pub fn error(&self) -> Option<HttpError> {
        let read = self.read_error.borrow().as_ref().map(same);
        let error = read.or_else(|| self.write_error.borrow().as_ref().map(same));
        error.map(HttpError::Io)
    }
}

/// Connects while the thread waits.
fn connect_blocking(
    host: &str,
    port: u16,
    until: Option<Instant>,
) -> Result<std::net::TcpStream, Failure> {
    let addrs = resolve::blocking(host, port, until)?;
    let once = |addr| {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match left {
            None => Ok(std::net::TcpStream::connect(addr)?),
            Some(Duration::ZERO) => Err(WaitError::Hindered(crate::Error::Timeout).into()),
            Some(left) => Ok(std::net::TcpStream::connect_timeout(&addr, left)?),
        }
    };
    let connected = connect::blocking(addrs, once);
    if connected.is_err() {
        // As where a tasklet connects.
        resolve::forget(Some(host));
    }
    connected
}

fn no_connection(url: &Url, failure: Failure) -> HttpError {
    let error = match failure {
        // The tasklet was killed or thrown at while it connected: that must stay recognisable.
        Failure::Wait(WaitError::Thrown(_)) => return HttpError::Io(failure.into()),
        _ => io::Error::from(failure),
    };
    let to = format!("{}:{}", url.host(), url.port());
    // An address without a name is not said twice.
    let each = error.get_ref().and_then(|e| e.downcast_ref());
    let alone = match each.map(ConnectError::failures) {
        Some([(addr, error)]) if addr.to_string() == to => Some(same(error)),
        _ => None,
    };
    let error = alone.unwrap_or(error);
    HttpError::Connect { to, error }
}

/// Does this error mean that the peer takes no more data, though it may have answered?
fn ends_writing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

/// Has a wait ended because its time was up?
pub fn is_late(failure: &Failure) -> bool {
    match failure {
        Failure::Socket(error) => is_time_up(error),
        Failure::Wait(ended) => matches!(ended, WaitError::Hindered(Error::Timeout)),
    }
}

/// hyper's end of a [`Line`].
pub struct Wire(pub Rc<Line>);

impl hyper::rt::Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.read(&mut cursor)
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.write(&[IoSlice::new(bytes)])
    }

    /// So that hyper does not copy a body from memory.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.write(bufs)
    }

    /// Nothing is buffered here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The connection is dropped, or kept.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
