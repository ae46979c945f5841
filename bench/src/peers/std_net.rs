//! A download by the standard library's socket, which blocks the thread: the least that a program
//! can do.

use crate::offer::Sink;
use std::io::{self, Read, Write};
use std::net::TcpStream;

pub fn download(url: String, sink: Sink) -> io::Result<()> {
    let rest = url.strip_prefix("http://").unwrap_or(&url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    // One byte after the other: nothing of the body is read with the head.
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 200 ") {
        let head = String::from_utf8_lossy(&head);
        return Err(io::Error::other(format!("the server says {head:?}")));
    }
    sink.drain(&mut stream)
}
