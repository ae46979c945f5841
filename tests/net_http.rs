//! HTTP over real connections: on tasklets, and blocking in the worker pool. The origin is a thread
//! with the standard library's sockets.

mod common;

use common::reset_when_closed;
use hardswitch::net::http::{
    get, get_blocking, HttpError, Limits, Request, Response, Speed, Timeouts, Url,
};
use hardswitch::{offload, spawn, Error, MainLoop};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

fn main_loop() -> MainLoop {
    MainLoop::current().unwrap()
}

fn quick() -> Timeouts {
    Timeouts {
        connect: Some(Duration::from_secs(5)),
        io: Some(Duration::from_secs(5)),
    }
}

fn content(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 131 + i / 253) as u8).collect()
}

/// A server for `requests` connections. Answers by path.
fn origin(requests: usize) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let serving: Vec<_> = (0..requests)
            .map(|_| listener.accept().unwrap().0)
            .map(|s| thread::spawn(|| serve(s)))
            .collect();
        serving.into_iter().for_each(|s| s.join().unwrap());
    });
    (base, server)
}

/// Answers one request. Clients may give up early: errors of writing are theirs.
fn serve(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    // A client that is killed early enough has asked for nothing.
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let path = first.split(' ').nth(1).unwrap().to_owned();
    for line in lines {
        match line {
            Ok(line) if line.is_empty() => break,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    let mut send = |bytes: &[u8]| drop(stream.write_all(bytes));
    let (kind, size) = path[1..].split_once('/').unwrap_or((&path[1..], "0"));
    let body = content(size.parse().unwrap());
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}\r\n").into_bytes();
    match kind {
        "length" => {
            send(&head(&format!("Content-Length: {}\r\n", body.len())));
            send(&body);
        }
        "chunked" => {
            send(&head("Transfer-Encoding: chunked\r\n"));
            for (i, piece) in body.chunks(777).enumerate() {
                send(format!("{:x}\r\n", piece.len()).as_bytes());
                send(piece);
                send(b"\r\n");
                if i % 40 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            send(b"0\r\n\r\n");
        }
        "close" => {
            send(&head(""));
            send(&body);
        }
        "short" => {
            send(&head(&format!("Content-Length: {}\r\n", body.len() + 1)));
            send(&body);
        }
        "reset" => {
            send(&head("Content-Length: 1000000\r\n"));
            send(&body);
            reset_when_closed(&stream);
        }
        "ssh" => send(b"SSH-2.0-server\r\n"),
        "missing" => send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        "silent" => drop(stream.read(&mut [0])), // until the client gives up
        other => panic!("no such path: {other}"),
    }
}

/// The body by way of a tasklet's socket, and of the worker pool.
fn both_ways(url: String) -> [Result<Vec<u8>, HttpError>; 2] {
    let on_tasklet = get(&url, quick()).and_then(|r| r.success()?.read_all(1 << 24));
    let on_worker = offload::call(move || {
        get_blocking(&url, quick()).and_then(|r| r.success()?.read_all(1 << 24))
    });
    [on_tasklet, on_worker.expect("the job itself is fine")]
}

#[test]
fn every_framing_arrives_whole_both_ways() {
    let (base, server) = origin(18);
    for kind in ["length", "chunked", "close"] {
        for size in [0, 1, 100_000] {
            for got in both_ways(format!("{base}/{kind}/{size}")) {
                assert!(got.unwrap() == content(size), "{kind}/{size}");
            }
        }
    }
    server.join().unwrap();
}

#[test]
fn many_downloads_run_at_once_on_one_thread() {
    const N: usize = 12;
    let (base, server) = origin(N * 2);
    let done = Rc::new(RefCell::new(vec![]));
    for i in 0..N * 2 {
        let kind = ["length", "chunked"][i % 2];
        let (url, done) = (format!("{base}/{kind}/{}", 50_000 + i * 1000), done.clone());
        spawn(move || -> hardswitch::Result<()> {
            let body = if i < N {
                get(&url, quick())?.read_all(1 << 20)?
            } else {
                offload::call(move || get_blocking(&url, quick())?.read_all(1 << 20))??
            };
            assert!(body == content(50_000 + i * 1000));
            done.borrow_mut().push(i);
            Ok(())
        })
        .unwrap();
    }
    main_loop().run_until_idle().unwrap();
    let mut done = done.take();
    done.sort();
    assert_eq!(done, Vec::from_iter(0..N * 2));
    server.join().unwrap();
}

#[test]
fn each_failure_names_itself_both_ways_and_harms_no_other_download() {
    let (base, server) = origin(10);
    let messages =
        |path: &str| both_ways(format!("{base}/{path}")).map(|r| r.unwrap_err().to_string());
    for message in messages("short/500") {
        assert_eq!(
            message,
            "short body: the connection ended after 500 of 501 bytes"
        );
    }
    for message in messages("ssh") {
        assert_eq!(message, "the answer is not HTTP");
    }
    for message in messages("missing") {
        assert_eq!(message, "the server answered 404 Not Found");
    }
    for error in both_ways(format!("{base}/reset/10")) {
        assert!(matches!(error, Err(HttpError::Io(e)) if e.kind() == ErrorKind::ConnectionReset));
    }
    for body in both_ways(format!("{base}/length/10")) {
        assert_eq!(body.unwrap(), content(10));
    }
    server.join().unwrap();
}

#[test]
fn nobody_home_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = taken.local_addr().unwrap();
    drop(taken);
    for error in both_ways(format!("http://{to}/x")) {
        let error = error.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot connect to {to}: Connection refused")),
            "{error}"
        );
        let Error::Io(error) = Error::from(error) else {
            panic!()
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    for error in both_ways("gopher://x/".into()) {
        assert_eq!(
            error.unwrap_err().to_string(),
            "bad URL \"gopher://x/\": it does not start with http://"
        );
    }
    // Resolved by the machine itself, whatever it has for a network.
    for error in both_ways("http://no-such-host.invalid/".into()) {
        let message = error.unwrap_err().to_string();
        assert!(
            message.starts_with("cannot connect to no-such-host.invalid:80: "),
            "{message}"
        );
    }
}

#[test]
fn a_name_is_looked_up_off_the_thread() {
    let Ok(listener) = TcpListener::bind("localhost:0") else {
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || serve(listener.accept().unwrap().0));
    let body = get(&format!("http://localhost:{port}/length/3"), quick())
        .unwrap()
        .read_all(10)
        .unwrap();
    assert_eq!(body, content(3));
    server.join().unwrap();
}

#[test]
fn a_silent_server_is_given_up_in_time_both_ways() {
    let (base, server) = origin(2);
    let url = format!("{base}/silent");
    let impatient = Timeouts {
        io: Some(Duration::from_millis(60)),
        ..quick()
    };
    let start = Instant::now();
    let error = get(&url, impatient).unwrap_err();
    assert!(
        matches!(&error, HttpError::Io(e) if e.kind() == ErrorKind::TimedOut),
        "{error:?}"
    );
    let error = offload::call(move || get_blocking(&url, impatient).map(drop))
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(&error, HttpError::Io(e) if e.kind() == ErrorKind::TimedOut),
        "{error:?}"
    );
    assert!(start.elapsed() >= Duration::from_millis(120));
    server.join().unwrap();
}

#[test]
fn a_killed_download_ends_with_exit_and_closes_its_connection() {
    let (base, server) = origin(1);
    let outcome = Rc::new(RefCell::new(None));
    let slot = outcome.clone();
    let download = spawn(move || -> hardswitch::Result<()> {
        let result = get(&format!("{base}/silent"), quick()).map(drop);
        *slot.borrow_mut() = Some(Error::from(result.unwrap_err()));
        Ok(())
    })
    .unwrap();
    // It waits for the server, and mostly for the answer.
    let end = Instant::now() + Duration::from_millis(50);
    while main_loop().waiting().0 == 0 || Instant::now() < end {
        main_loop().tick().unwrap();
    }
    download.kill().unwrap();
    assert!(matches!(outcome.take(), Some(Error::Exit)));
    assert_eq!(main_loop().waiting(), (0, 0));
    server.join().unwrap(); // the server has seen the end of the connection
}

#[test]
fn the_tick_goes_on_during_a_large_download() {
    let (base, server) = origin(1);
    let size = 6 << 20;
    let got = Arc::new(AtomicUsize::new(0));
    let count = got.clone();
    spawn(move || -> hardswitch::Result<()> {
        let mut answer = get(&format!("{base}/length/{size}"), quick())?;
        let mut buffer = vec![0; 32 * 1024];
        let whole = content(size);
        loop {
            let at = count.load(Ordering::Relaxed);
            match answer.read(&mut buffer)? {
                0 => return Ok(()),
                n => {
                    assert!(buffer[..n] == whole[at..at + n]);
                    count.fetch_add(n, Ordering::Relaxed);
                }
            }
        }
    })
    .unwrap();
    let mut ticks = 0;
    while got.load(Ordering::Relaxed) < size {
        main_loop().tick().unwrap();
        ticks += 1;
        thread::sleep(Duration::from_millis(1));
    }
    assert!(ticks >= 6, "it took {ticks} ticks");
    main_loop().run_until_idle().unwrap();
    server.join().unwrap();
}

/// A server for one connection, which it answers as it likes, and keeps until the client has gone.
fn server(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> (Url, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        answer(&mut stream);
    });
    (url, server)
}

#[test]
fn an_answer_before_the_request_was_read_is_had_both_ways() {
    for blocking in [false, true] {
        let (url, server) = server(|stream| {
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream
                .write_all(b"HTTP/1.1 431 Too Large\r\nConnection: close\r\n\r\nwhy")
                .unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Closed with data unread: a reset, while the request is under way still.
            thread::sleep(Duration::from_millis(100));
        });
        let request = Request::get(&url)
            .header("X-Big", &"a".repeat(16 << 20))
            .unwrap();
        let (status, body) = if blocking {
            let mut answer = request.fetch_blocking(quick()).unwrap();
            (answer.status(), answer.read_all(10))
        } else {
            let mut answer = request.fetch(quick()).unwrap();
            (answer.status(), answer.read_all(10))
        };
        assert_eq!((status, &body.unwrap()[..]), (431, &b"why"[..]));
        server.join().unwrap();
    }
}

/// Sends `head`, then `bytes` every few milliseconds, until the client has gone.
fn trickle(
    head: &'static str,
    bytes: &'static str,
) -> impl FnOnce(&mut TcpStream) + Send + 'static {
    move |stream| {
        let mut sent = stream.write_all(head.as_bytes());
        if bytes.is_empty() {
            while stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
            return;
        }
        while sent.is_ok() {
            thread::sleep(Duration::from_millis(5));
            sent = stream.write_all(bytes.as_bytes());
        }
    }
}

/// How it ends to fetch what trickles, both ways.
fn slow(limits: Limits, head: &'static str, bytes: &'static str) -> [String; 2] {
    fn end<S: Read>(answer: Result<Response<S>, HttpError>) -> String {
        let body = answer.and_then(|mut answer| answer.read_all(1 << 30));
        body.unwrap_err().to_string()
    }
    [false, true].map(|blocking| {
        let (url, server) = server(trickle(head, bytes));
        let request = Request::get(&url).limits(limits);
        let error = match blocking {
            false => end(request.fetch(quick())),
            true => end(request.fetch_blocking(quick())),
        };
        server.join().unwrap();
        error
    })
}

#[test]
fn limits_hold_for_the_whole_of_an_answer_that_trickles() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    for error in slow(Limits::default(), interim, interim) {
        assert_eq!(error, "more than the 10 interim answers allowed");
    }
    let total = Limits {
        total: Some(Duration::from_millis(300)),
        interim: usize::MAX,
        head: usize::MAX,
        ..Limits::default()
    };
    let least = Limits {
        total: None,
        least: Some(Speed {
            bytes: 1 << 20,
            time: Duration::from_millis(300),
        }),
        ..total
    };
    // Nothing at all, after a while, is no more than little: the times reach into a wait.
    for bytes in ["x", ""] {
        for error in slow(total, head, bytes) {
            assert_eq!(
                error,
                "the answer is too slow: the time for the whole of it is up"
            );
        }
        for error in slow(least, head, bytes) {
            assert_eq!(error, "the answer is too slow: fewer bytes came than must");
        }
    }
    for error in slow(total, interim, interim) {
        assert_eq!(
            error,
            "the answer is too slow: the time for the whole of it is up"
        );
    }
}

#[test]
fn a_download_goes_on_after_a_read_that_waited_too_long() {
    let (url, server) = server(|stream| {
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        let mut send = |bytes: &[u8]| {
            stream.write_all(bytes).unwrap();
            thread::sleep(Duration::from_millis(150));
        };
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1");
        send(b"0\r\n01234567");
        send(b"89abcdef\r");
        send(b"\n0\r\nTra");
        send(b"iler: x\r\n\r");
        send(b"\n");
    });
    let mut answer = Request::get(&url).fetch(quick()).unwrap();
    let short = Some(Duration::from_millis(40));
    answer.stream().set_read_timeout(short).unwrap();
    let mut late = 0;
    let body = loop {
        match answer.read_all(100) {
            Ok(body) => break body,
            Err(HttpError::Io(error)) if error.kind() == ErrorKind::TimedOut => late += 1,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(body, b"hello0123456789abcdef");
    assert!(late > 0, "no read was ever late");
    server.join().unwrap();
}
