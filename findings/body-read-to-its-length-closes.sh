#!/usr/bin/env bash
# ureq 3.5: a body that is read to exactly its Content-Length costs the connection.
#
# Ten requests to one server that keeps connections alive. A client that reads each body with a buffer of
# its exact length, as one does whose answer states the length, makes ten connections. A client that reads
# once more, and gets 0, makes one. The connection goes back to the pool at the read that reports the end,
# and not when the last byte of a body of known length has been given out.
#
# Guessed before it ran: with a Content-Length the end is known at the last byte, and read_exact is enough.
#
# Why it matters: a downloader that allocates what Content-Length says and fills it is the natural one for a game
# host. It pays a handshake a file, and leaves a socket in TIME_WAIT each time.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cargo_project agent 'ureq = { version = "=3.5.2", default-features = false }' << 'END'
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

static CONNECTIONS: AtomicU32 = AtomicU32::new(0);

fn serve(stream: TcpStream) {
    let mut requests = BufReader::new(stream.try_clone().unwrap());
    let mut answers = stream;
    let mut line = String::new();
    while requests.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        if line == "\r\n" {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            if answers.write_all(answer).is_err() {
                return;
            }
        }
        line.clear();
    }
}

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            CONNECTIONS.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || serve(stream.unwrap()));
        }
    });
    for reads_once_more in [false, true] {
        CONNECTIONS.store(0, Ordering::SeqCst);
        let agent = ureq::Agent::new_with_defaults();
        for _ in 0..10 {
            let mut answer = agent.get(&url).call().unwrap();
            let mut body = answer.body_mut().as_reader();
            let mut bytes = [0; 5];
            body.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"hello");
            if reads_once_more {
                assert_eq!(body.read(&mut bytes).unwrap(), 0);
            }
        }
        println!("{}", CONNECTIONS.load(Ordering::SeqCst));
    }
}
END
connections=$(cd agent && cargo run --quiet | tr '\n' ' ')
expect 'connections for 10 requests: exact length read, and one read more' "$connections" '10 1 '
