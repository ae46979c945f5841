#!/usr/bin/env bash
# ureq 3.5: an answer whose connection is lost before its end is read as a whole one, in four of five places.
#
# A server sends the beginning of a right answer; then the connection ends. Within a body of known length ureq
# says so. It reports success where the connection ends before the last empty line of a chunked body, or in the
# trailer, and where a reset ends a body that goes on to the end of the connection. A redirect is followed before
# its head has come whole.
#
# Guessed before it ran: a client of the third major version tells a lost connection from the end of a body.
#
# Why it matters: half a file that looks whole is kept. Who builds on ureq can find out for few of these from
# outside: neither the chunks nor how the connection ended are visible to a caller.
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
        ("cut in the body", format!("{OK}Content-Length: 9\r\n\r\nhello")),
        ("cut after 0", format!("{chunked}5\r\nhello\r\n0\r\n")),
        ("cut in the trailer", format!("{chunked}5\r\nhello\r\n0\r\nA: b\r\n")),
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
expect 'lost answers that are whole ones, of 5' "$(grep -c ': true$' rows)" 4
