//! A connection that other threads may hold: [`SendStream`].

use super::source::{check_timeout, Source};
use super::tcp::TcpStream;
use crate::core::runtime::new_thread_id;
use crate::machine::os;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// A [`TcpStream`] that is `Send` and `Sync`, for libraries that ask for that: TLS, WebSocket and
/// database clients keep their connection in a type that may go to any thread, even if it never
/// does.
///
/// It belongs to the thread that made it. There a read or a write blocks the tasklet, as with the
/// `TcpStream`. On any other thread nothing of it can be used: each call fails with an error of
/// kind `Other` that says so, and the connection is as before.
///
/// * **To share it** between tasklets, one of which reads while another writes, use an `Arc`:
///   `Read` and `Write` are implemented for `&SendStream`.
/// * **To hand it over** to another thread, send it there and take it over with
///   [`into_inner`](Self::into_inner).
/// * **To drop it** on another thread closes the connection. Nobody can be waiting for it, since
///   whoever waits holds it. The loop of its own thread notices as when somebody closes a
///   descriptor without a word, and neither waits for it nor takes a later one for it.
///
/// ```
/// use hardswitch::net::{SendStream, TcpListener, TcpStream};
/// use std::io::{Read, Write};
///
/// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
/// let mut stream = SendStream::new(TcpStream::connect(listener.local_addr()?)?)?;
/// let (mut peer, _) = listener.accept()?;
/// stream.write_all(b"hello")?;
/// let mut stream = std::thread::spawn(move || {
///     stream.write_all(b"world").unwrap_err(); // not here
///     stream
/// })
/// .join()
/// .unwrap();
/// stream.write_all(b"!")?;
/// drop(stream);
/// let mut text = String::new();
/// peer.read_to_string(&mut text)?;
/// assert_eq!(text, "hello!");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SendStream {
    /// Nobody else has it. What it holds is used on the thread `home`, or by who owns all of it.
    source: Source<std::net::TcpStream>,
    home: u64,
}

// SAFETY: "Home only". A reference gives access to `source`, whose cells are not `Sync`, only
// through `here`, which looks first whether the calling thread is `home`; there is one such thread,
// and `home` never changes. All else takes `&mut self` or `self`.
unsafe impl Sync for SendStream {}

const _: () = {
    const fn across_threads<T: Send + Sync>() {}
    across_threads::<SendStream>();
};

/// The stream of which no [`SendStream`] can be made, because it has other handles.
pub struct SharedStream(TcpStream);

impl SharedStream {
    /// The stream, as it was.
    pub fn into_inner(self) -> TcpStream {
        self.0
    }
}

impl fmt::Debug for SharedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedStream").field(&self.0).finish()
    }
}

impl fmt::Display for SharedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream has other handles, which cannot leave their thread")
    }
}

impl std::error::Error for SharedStream {}

impl From<SharedStream> for io::Error {
    /// Drops the stream.
    fn from(shared: SharedStream) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, shared.to_string())
    }
}

/// The number of the calling thread, which no other one has.
fn this_thread() -> u64 {
    os::thread_id(new_thread_id)
}

impl SendStream {
    /// Makes a stream that other threads may hold, of the calling thread. Errors: it has other
    /// handles ([`try_clone`](TcpStream::try_clone)), and comes back.
    pub fn new(stream: TcpStream) -> Result<SendStream, SharedStream> {
        match stream.into_source() {
            Ok(source) => Ok(SendStream {
                source,
                home: this_thread(),
            }),
            Err(stream) => Err(SharedStream(stream)),
        }
    }

    /// The stream, of the calling thread from now on, whichever that is. Its time limits stay.
    pub fn into_inner(mut self) -> TcpStream {
        TcpStream::from_source(self.source.moved())
    }

    /// Does it belong to the calling thread?
    pub fn is_here(&self) -> bool {
        self.home == this_thread()
    }

    /// What it is made of, for the thread that it belongs to.
    fn here(&self) -> io::Result<&Source<std::net::TcpStream>> {
        match self.is_here() {
            true => Ok(&self.source),
            false => Err(io::Error::other(
                "the stream belongs to another thread; SendStream::into_inner takes it over",
            )),
        }
    }

    /// As [`TcpStream::close`].
    pub fn close(&self) -> io::Result<()> {
        self.here()?.close();
        Ok(())
    }

    /// As [`TcpStream::shutdown`].
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.here()?.with(|io| io.shutdown(how))
    }

    /// As [`TcpStream::set_read_timeout`].
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.here()?.read_timeout.set(check_timeout(timeout)?);
        Ok(())
    }

    /// As [`TcpStream::set_write_timeout`].
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.here()?.write_timeout.set(check_timeout(timeout)?);
        Ok(())
    }

    /// The read timeout.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.here()?.read_timeout.get())
    }

    /// The write timeout.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.here()?.write_timeout.get())
    }

    /// As [`TcpStream::set_nodelay`].
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.here()?.with(|io| io.set_nodelay(nodelay))
    }

    /// The address at this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.here()?.with(|io| io.local_addr())
    }

    /// The address at the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.here()?.with(|io| io.peer_addr())
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.is_here() {
            // No loop is told: not this thread's, which knows nothing of it, and not its own
            // thread's, which runs.
            drop(self.source.take());
        }
    }
}

impl TryFrom<TcpStream> for SendStream {
    type Error = SharedStream;

    /// [`SendStream::new`].
    fn try_from(stream: TcpStream) -> Result<SendStream, SharedStream> {
        SendStream::new(stream)
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.here() {
            Ok(source) => f.debug_tuple("SendStream").field(&source.raw_fd()).finish(),
            Err(_) => f.write_str("SendStream(of another thread)"),
        }
    }
}

impl Read for &SendStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.here()?.read(buf)?)
    }

    fn read_vectored(&mut self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(self.here()?.read_vectored(bufs)?)
    }
}

impl Write for &SendStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(self.here()?.write(buf)?)
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.here()?.write_vectored(bufs)?)
    }

    /// Nothing is buffered here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for SendStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
    fn read_vectored(&mut self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for SendStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }
    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
