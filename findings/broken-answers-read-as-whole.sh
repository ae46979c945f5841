#!/usr/bin/env bash
# ureq 3.5: eight ways of a broken HTTP answer are read as a whole one.
#
# Each row is an answer that breaks RFC 9112 or is cut off, by a server that closes or resets the connection
# after it. ureq reports success for all of them: a signed chunk size, a chunked body whose connection ends
# before the last empty line, transfer codings that it does not take off, a reset where only the end of the
# connection ends the body. A redirect is followed before its head has come whole.
#
# Guessed before it ran: a client of the third major version refuses what curl refuses.
#
# Why it matters: half a file that looks whole is kept. Who builds on ureq must check these itself, and can do so
# for few of them from outside: the chunks are not visible to a caller.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cargo_project agent 'ureq = { version = "=3.5.2", default-features = false }' 'libc = "0.2"' << 'END'
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\n";

fn main() {
    let chunked = format!("{OK}Transfer-Encoding: chunked\r\n\r\n");
    let rows = [
        ("size +5", format!("{chunked}+5\r\nhello\r\n0\r\n\r\n")),
        ("cut after 0", format!("{chunked}5\r\nhello\r\n0\r\n")),
        ("cut in the trailer", format!("{chunked}5\r\nhello\r\n0\r\nA: b\r\n")),
        ("gzip, chunked", format!("{OK}Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")),
        ("gzip", format!("{OK}Transfer-Encoding: gzip\r\n\r\nhello")),
        ("xchunked", format!("{OK}Transfer-Encoding: xchunked\r\n\r\nhello")),
        ("reset", format!("{OK}\r\nhello")),
        ("half a redirect", "HTTP/1.1 302 Found\r\nLocation: /again\r\n".to_owned()),
    ];
    for (name, answer) in rows {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let n = stream.read(&mut request).unwrap();
                if request[..n].starts_with(b"GET /again") {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
                    continue;
                }
                stream.write_all(answer.as_bytes()).unwrap();
                if name == "reset" {
                    std::thread::sleep(Duration::from_millis(200));
                    let reset = libc::linger { l_onoff: 1, l_linger: 0 };
                    let size = size_of::<libc::linger>() as libc::socklen_t;
                    let at = (&raw const reset).cast();
                    unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, at, size) };
                }
            }
        });
        let mut answer = ureq::get(&url).call().unwrap();
        let body = answer.body_mut().read_to_string();
        println!("{name}: {}", body.is_ok_and(|body| body == "hello"));
    }
}
END
(cd agent && cargo run --quiet) > rows
cat rows
expect 'broken answers that are whole ones, of 8' "$(grep -c ': true$' rows)" 8
