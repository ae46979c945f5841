//! What the handles of all sockets have in common, written once: [`socket!`] for every kind,
//! [`stream!`] for connections that are read and written, [`datagrams!`] for those that send and
//! receive.

/// The methods of every socket, for a struct `$name { source: Rc<Source<$inner>> }`.
/// `$is_connection`: can it be lost for good?
macro_rules! socket {
    ($name:ident, $inner:ty, $is_connection:literal) => {
        impl $name {
            /// Takes over a socket of the standard library, and makes it non-blocking.
            pub fn from_std(socket: $inner) -> io::Result<$name> {
                socket.set_nonblocking(true)?;
                Ok($name {
                    source: Rc::new(Source::new(socket, $is_connection)),
                })
            }

            /// Another handle of the same socket, timeouts included. It makes no system call and
            /// cannot fail; the name is that of `std`.
            pub fn try_clone(&self) -> io::Result<$name> {
                Ok($name {
                    source: self.source.clone(),
                })
            }

            /// Closes the socket for all its handles. Tasklets that wait on it, and all later
            /// calls, get `ConnectionAborted`. To close it twice is fine.
            pub fn close(&self) {
                self.source.close();
            }

            /// The pending error, if there is one, which is cleared by this. A loss of the
            /// connection is remembered all the same.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                let error = self.source.with(|io| io.take_error())?;
                Ok(error.map(|error| self.source.failed(error)))
            }

            /// Asks for room for so many bytes that have come and were not read yet. The system
            /// may round it, Linux doubles it.
            pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
                let set = |io: &$inner| Ok(setsockopt(io, sockopt::RcvBuf, &bytes)?);
                self.source.with(set)
            }

            /// The room for what has come, in bytes.
            pub fn recv_buffer_size(&self) -> io::Result<usize> {
                self.source.with(|io| Ok(getsockopt(io, sockopt::RcvBuf)?))
            }

            /// Asks for room for so many bytes that were written and have not left yet. The system
            /// may round it, Linux doubles it.
            pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
                let set = |io: &$inner| Ok(setsockopt(io, sockopt::SndBuf, &bytes)?);
                self.source.with(set)
            }

            /// The room for what has not left yet, in bytes.
            pub fn send_buffer_size(&self) -> io::Result<usize> {
                self.source.with(|io| Ok(getsockopt(io, sockopt::SndBuf)?))
            }
        }

        impl AsRawFd for $name {
            /// The descriptor; -1 once closed.
            fn as_raw_fd(&self) -> RawFd {
                self.source.raw_fd()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name))
                    .field(&self.source.raw_fd())
                    .finish()
            }
        }
    };
}
pub(super) use socket;

/// The time limits of a socket that reads and writes, or receives and sends.
macro_rules! timeouts {
    ($name:ident) => {
        impl $name {
            /// How long a read may wait; `None`, the default: no limit. Errors: `InvalidInput` for
            /// zero.
            pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.source.read_timeout.set(check_timeout(timeout)?);
                Ok(())
            }

            /// How long a write may wait; `None`, the default: no limit. Errors: `InvalidInput` for
            /// zero.
            pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.source.write_timeout.set(check_timeout(timeout)?);
                Ok(())
            }

            /// The read timeout.
            pub fn read_timeout(&self) -> Option<Duration> {
                self.source.read_timeout.get()
            }

            /// The write timeout.
            pub fn write_timeout(&self) -> Option<Duration> {
                self.source.write_timeout.get()
            }
        }
    };
}
pub(super) use timeouts;

/// The methods of a connection that is read and written.
macro_rules! stream {
    ($name:ident, $inner:ty) => {
        $crate::net::handle::socket!($name, $inner, true);
        $crate::net::handle::timeouts!($name);

        impl $name {
            /// As `write_all`, and counts in `sent`, from zero, the bytes that the system has
            /// taken, also when it fails. So a caller whose time is up can go on with the rest.
            ///
            /// Errors: as `write`.
            pub fn write_all_counted(&self, bytes: &[u8], sent: &mut usize) -> io::Result<()> {
                *sent = 0;
                while *sent < bytes.len() {
                    match (&*self).write(&bytes[*sent..]) {
                        Ok(0) => return Err(ErrorKind::WriteZero.into()),
                        Ok(n) => *sent += n,
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }

            /// Ends reading, writing or both. A peer sees the end of the stream, and so do readers
            /// here.
            pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                self.source.with(|io| io.shutdown(how))
            }
        }

        impl Read for &$name {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                Ok(self.source.read(buf)?)
            }

            fn read_vectored(&mut self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
                Ok(self.source.read_vectored(bufs)?)
            }
        }

        impl Write for &$name {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                Ok(self.source.write(buf)?)
            }

            fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
                Ok(self.source.write_vectored(bufs)?)
            }

            /// Nothing is buffered here.
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Read for $name {
            // Else it would have a frame on the stack of every tasklet that waits.
            #[inline]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buf)
            }
            fn read_vectored(&mut self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }

        impl Write for $name {
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
    };
}
pub(super) use stream;

/// The methods of a socket that sends and receives datagrams. Each call takes one: what does not
/// fit into the buffer of a receiver is lost.
macro_rules! datagrams {
    ($name:ident, $inner:ty, $from:ty) => {
        $crate::net::handle::socket!($name, $inner, false);
        $crate::net::handle::timeouts!($name);

        impl $name {
            /// Sends a datagram to the connected peer, and waits for room. Returns how many bytes
            /// have left: all. Errors: it is not connected; it is too large; the peer's system has
            /// refused an earlier one (`ConnectionRefused`).
            pub fn send(&self, datagram: &[u8]) -> io::Result<usize> {
                Ok(self.source.attempt_write(|io| io.send(datagram))?)
            }

            /// Waits for a datagram of the connected peer, or of anybody if there is none. Returns
            /// its length, which is at most that of the buffer: the rest of it is lost.
            pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
                let timeout = self.source.read_timeout.get();
                let receive = |io: &$inner| io.recv(buf);
                Ok(self.source.attempt(Events::IN, timeout, |n| *n, receive)?)
            }

            /// As [`recv_from`](Self::recv_from), and says how long the datagram is, of which the
            /// buffer has the beginning. `peek`: it stays to be received again.
            pub(crate) fn receive(
                &self,
                buf: &mut [u8],
                peek: bool,
            ) -> io::Result<$crate::net::Received> {
                let timeout = self.source.read_timeout.get();
                let receive = |io: &$inner| $crate::net::datagram::receive(io, buf, peek);
                let cost = |got: &$crate::net::Received| got.bytes;
                Ok(self.source.attempt(Events::IN, timeout, cost, receive)?)
            }

            /// As [`recv`](Self::recv), and says who has sent it.
            pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, $from)> {
                let timeout = self.source.read_timeout.get();
                let receive = |io: &$inner| io.recv_from(buf);
                Ok(self
                    .source
                    .attempt(Events::IN, timeout, |(n, _)| *n, receive)?)
            }
        }
    };
}
pub(super) use datagrams;
