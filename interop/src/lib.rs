//! What the tests of this package share. They run libraries of others, which are written for
//! blocking sockets, over [`SendStream`]s of two tasklets of one thread: each blocks its tasklet
//! alone, or the two would wait for each other for ever.
//!
//! The package is one of its own so that the library's tests need none of these libraries.

use hardswitch::net::{SendStream, TcpListener, TcpStream};
use std::io;
use std::time::Duration;

/// Two ends of a connection on this machine. A wait of a minute is an error, not a test that hangs.
pub fn pair() -> io::Result<(SendStream, SendStream)> {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    }
    Ok((SendStream::new(client)?, SendStream::new(server)?))
}

/// Bytes that differ from their neighbours, so that none is lost or moved unseen.
pub fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 + i / 251) as u8).collect()
}
