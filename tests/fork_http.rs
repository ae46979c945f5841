//! A process that forks while a client keeps connections: the child uses none of its parent's.
//!
//! One test, so that the harness starts no other while one forks.
#![cfg(all(target_arch = "x86_64", feature = "http"))]

mod common;

use common::{child, eventually};
use hardswitch::net::http::{Client, ClientSettings, Timeouts};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What the test says of the parent must hold in the child, which ends by itself if it hangs.
fn holds_in_a_child(f: impl FnOnce()) {
    let said = child(|| {
        // SAFETY: ends the process after that time.
        unsafe { libc::alarm(60) };
        f();
    });
    assert_eq!(said, (String::new(), 0));
}

/// Answers every request with the number of its connection, until the connection ends.
fn serve(stream: &mut TcpStream, number: usize) {
    let mut asked = Vec::new();
    loop {
        let mut piece = [0; 1024];
        match stream.read(&mut piece) {
            Ok(n) if n > 0 => asked.extend_from_slice(&piece[..n]),
            _ => return,
        }
        // One request at a time: GETs have no body.
        while let Some(end) = asked.windows(4).position(|end| end == b"\r\n\r\n") {
            asked.drain(..end + 4);
            let body = number.to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            if stream.write_all((head + &body).as_bytes()).is_err() {
                return;
            }
        }
    }
}

#[test]
fn a_child_uses_no_connection_that_its_parent_keeps() {
    // On a thread of its own, so that the harness's waits are no part of it.
    thread::spawn(all).join().unwrap();
}

fn all() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let open = Arc::new(AtomicUsize::new(0));
    let count = open.clone();
    thread::spawn(move || {
        for number in 0.. {
            let (mut stream, _) = listener.accept().unwrap();
            let open = count.clone();
            open.fetch_add(1, SeqCst);
            thread::spawn(move || {
                serve(&mut stream, number);
                open.fetch_sub(1, SeqCst);
            });
        }
    });
    let limit = Some(Duration::from_secs(10));
    let client = Client::with_settings(ClientSettings {
        timeouts: Timeouts {
            connect: limit,
            io: limit,
        },
        ..ClientSettings::default()
    });
    let ask = |client: &Client| {
        let mut answer = client.get(&url).send().unwrap();
        let body = answer.read_all(100).unwrap();
        String::from_utf8(body).unwrap().parse::<usize>().unwrap()
    };
    assert_eq!((ask(&client), ask(&client), client.idle()), (0, 0, 1));
    holds_in_a_child(|| {
        assert_eq!(client.idle(), 0, "it is the parent's");
        assert_eq!((ask(&client), ask(&client), client.idle()), (1, 1, 1));
    });
    // The child has closed what was its own, and ended nothing of the parent's.
    eventually("the child's connection has ended", || {
        open.load(SeqCst) == 1
    });
    assert_eq!((ask(&client), client.idle()), (0, 1));

    // An answer that both have, and that both read to its end: only the parent keeps its connection.
    let mut answer = client.get(&url).send().unwrap();
    let mut twin = [0];
    assert_eq!(client.idle(), 0);
    holds_in_a_child(|| {
        answer.read_exact(&mut twin).unwrap();
        assert_eq!((twin, client.idle()), (*b"0", 0));
    });
    answer.read_exact(&mut twin).unwrap();
    assert_eq!((twin, client.idle()), (*b"0", 1));

    // Other threads use the lists at every moment, also at that of a fork.
    let over = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = (0..2)
        .map(|_| {
            let (client, over) = (client.clone(), over.clone());
            thread::spawn(move || {
                while !over.load(SeqCst) {
                    assert!(client.idle() <= 2);
                }
            })
        })
        .collect();
    for _ in 0..50 {
        holds_in_a_child(|| {
            ask(&client);
            assert_eq!(client.idle(), 1);
        });
    }
    over.store(true, SeqCst);
    for other in others {
        other.join().unwrap();
    }
}
