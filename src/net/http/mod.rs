//! HTTP/1.1, for tasklets and for jobs of the worker pool.
//!
//! With the feature `http` there is a client for all that programs do: `Client`, with its
//! `RequestBuilder`, its `Answer` and its `Download`. It waits in both ways by the same calls.
//!
//! Without it there is one GET, one answer, over anything that is `Read + Write`. The parser knows
//! no sockets. On a tasklet give it [`net::TcpStream`](super::TcpStream) (or call [`get`]), in a
//! job of the worker pool `std::net::TcpStream` (or call [`get_blocking`]), in a test two byte
//! strings. This one supports no redirects, compression, connections for more than one request, nor
//! TLS.
//!
//! In both a body ends by `Content-Length`, by `chunked`, or with the connection. A body that ends
//! too soon is an error, never a short success. Every part of an answer that is kept is bounded,
//! and so is the time it takes ([`Limits`]); the body is not kept, but read by the caller.
//!
//! ```
//! use hardswitch::net::http::{Request, Url};
//! use std::io::{Read, Write};
//!
//! struct Canned(&'static [u8]);
//! impl Read for Canned {
//!     fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> { self.0.read(buf) }
//! }
//! impl Write for Canned {
//!     fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> { Ok(buf.len()) }
//!     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! }
//!
//! let url = Url::parse("http://example.com/motd.txt")?;
//! let peer = Canned(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
//! let mut answer = Request::get(&url).send(peer)?;
//! assert_eq!(answer.status(), 200);
//! assert_eq!(answer.read_all(1 << 20)?, b"hello");
//! # Ok::<(), hardswitch::net::http::HttpError>(())
//! ```

mod body;
#[cfg(feature = "http")]
mod client;
mod head;
mod http_error;
mod input;
mod limits;
mod pace;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod url;

#[cfg(feature = "http")]
pub(crate) use client::{hold, Held};
#[cfg(feature = "http")]
pub use client::{
    Answer, Changed, Client, ClientSettings, Download, Phase, RequestBuilder, RequestError,
    Resumed, Validator,
};
pub use http_error::HttpError;
pub use limits::{Limits, Speed, Timeouts};
pub use request::{get, get_blocking, Request};
pub use response::Response;
pub use url::Url;
