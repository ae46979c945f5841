//! A server of HTTP with short answers, good and bad ones, for programs that use the client.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

/// What it has.
pub const PATHS: [&str; 10] = [
    "/sized", "/chunked", "/end", "/part", "/short", "/reset", "/garbage", "/silent", "/away",
    "/missing",
];

/// Its port on 127.0.0.1. It runs as long as the process does.
pub fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Without a thread for it, the client sees an end.
                let _ = std::thread::Builder::new().spawn(move || serve(stream));
            }
        });
        port
    })
}

/// Answers one request after the other, until the client is gone or silent.
fn serve(mut stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let mut head = Vec::new();
    let mut piece = [0; 512];
    loop {
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut piece) {
                Ok(n) if n > 0 && head.len() < 4096 => head.extend(&piece[..n]),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        head.clear();
        let path = text.split(' ').nth(1).unwrap_or_default();
        let (answer, stays) = answer(path);
        // A HEAD has no body.
        let end = answer.find("\r\n\r\n").map_or(answer.len(), |end| end + 4);
        let answer = match text.starts_with("HEAD ") {
            true => &answer[..end],
            false => answer,
        };
        if stream.write_all(answer.as_bytes()).is_err() || !stays {
            return;
        }
    }
}

/// The answer, and whether the connection stays.
fn answer(path: &str) -> (&'static str, bool) {
    match path {
        "/sized" => (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"1\"\r\n\r\nhello",
            true,
        ),
        "/chunked" => (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            true,
        ),
        "/end" => ("HTTP/1.0 200 OK\r\n\r\nhello", false),
        "/part" => (
            "HTTP/1.1 206 Part\r\nContent-Range: bytes 2-4/5\r\nContent-Length: 3\r\nETag: \"1\"\r\n\r\nllo",
            true,
        ),
        "/short" => ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", false),
        "/reset" => ("HTTP/1.1 200 OK\r\nContent-Le", false),
        "/garbage" => ("\x01\x02 no HTTP\r\n\r\n", false),
        "/away" => (
            "HTTP/1.1 302 Found\r\nLocation: /sized\r\nContent-Length: 2\r\n\r\nno",
            true,
        ),
        "/missing" => (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
            true,
        ),
        _ => ("", false),
    }
}
