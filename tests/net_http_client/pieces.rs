//! Answers that come in pieces of every size, each of which the client has read before the next one
//! is sent: the test's own thread is the server, and sends between the turns of the client's loop.

use crate::common::reset_when_closed;
use crate::{client, content, quick, spawn};
use hardswitch::net::http::{Answer, HttpError, Limits, RequestError, Speed};
use hardswitch::{Error, MainLoop};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What a server does, between the pieces and after them.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// Once its body is read, something is thrown at the client before each piece.
    throws: bool,
    /// The connection is reset at the end.
    resets: bool,
}

/// What the client of a tasklet makes of an answer that comes so.
fn served<R: 'static>(
    answer: &[u8],
    piece: usize,
    manner: Manner,
    ask: impl FnOnce(&str, &Cell<bool>) -> R + 'static,
) -> R {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let main_loop = MainLoop::current().unwrap();
    let (outcome, reads) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(false)));
    let (slot, reading) = (outcome.clone(), reads.clone());
    let asks = spawn(move || {
        let made = ask(&url, &reading);
        reading.set(false);
        *slot.borrow_mut() = Some(made);
    })
    .unwrap();
    main_loop.tick().unwrap();
    let mut stream = accept(&listener, &main_loop);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        main_loop.tick().unwrap();
        let mut bytes = [0; 1000];
        match stream.read(&mut bytes) {
            Ok(n) => request.extend(&bytes[..n]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    for piece in answer.chunks(piece) {
        if manner.throws && reads.get() && asks.is_alive() {
            asks.throw(Error::thrown("a wait that ends early")).unwrap();
        }
        // The client may have had enough.
        let _ = stream.write_all(piece);
        main_loop.tick().unwrap();
    }
    if manner.resets {
        reset_when_closed(&stream);
    }
    drop(stream);
    let end = Instant::now() + Duration::from_secs(60);
    while outcome.borrow().is_none() {
        assert!(Instant::now() < end, "the client hangs");
        main_loop.tick().unwrap();
    }
    outcome.take().unwrap()
}

fn accept(listener: &TcpListener, main_loop: &MainLoop) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let stream = loop {
        main_loop.tick().unwrap();
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    };
    stream.set_nonblocking(true).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn get(url: &str) -> Result<Answer, RequestError> {
    client().get(url).send()
}

/// Status and body, or the error without the URL.
fn fetched(url: &str, _: &Cell<bool>) -> Result<(u16, Vec<u8>), String> {
    let answer = get(url).and_then(|mut answer| Ok((answer.status(), answer.read_all(1 << 20)?)));
    answer.map_err(|error| error.into_error().to_string())
}

/// What comes of it, which has to be the same in pieces of each size.
fn exchange(answer: &[u8]) -> Result<(u16, Vec<u8>), String> {
    let whole = served(answer, usize::MAX, Manner::default(), fetched);
    for piece in 1..answer.len().min(60) {
        let pieces = served(answer, piece, Manner::default(), fetched);
        assert_eq!(pieces, whole, "pieces of {piece} bytes");
    }
    whole
}

fn body(answer: &str) -> Vec<u8> {
    exchange(answer.as_bytes()).expect("a good answer").1
}

fn error(answer: &str) -> String {
    exchange(answer.as_bytes()).expect_err("a bad answer")
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn answers_are_the_same_in_pieces_of_each_size() {
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellothis is not part of it";
    assert_eq!(body(sized), b"hello");
    assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\nx"), b"");
    let old = "HTTP/1.0 200 OK\r\nServer: x\r\n\r\nall of this";
    assert_eq!(body(old), b"all of this");
    let chunks = "4\r\nWiki\r\n7\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\n\r\n";
    let whole = b"Wikipedia in \r\nchunks.";
    assert_eq!(body(&format!("{CHUNKED}{chunks}")), whole);
    let more = "5;name=\"v\"\r\nhello\r\n000\r\nX-Sum: 1\r\nX-More: 2\r\n\r\nnext";
    assert_eq!(body(&format!("{CHUNKED}{more}")), b"hello");
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let last = "HTTP/1.1 404 No\r\nX: a,\r\n b\r\nContent-Length: 2\r\n\r\nok";
    let both = format!("{interim}{last}");
    assert_eq!(exchange(both.as_bytes()), Ok((404, b"ok".to_vec())));
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let short = "short body: the connection ended after 5 of 10 bytes";
    assert_eq!(error(answer), short);
    for (cut, got) in [
        ("4\r\nWik", 3),
        ("4\r\nWiki\r\n", 4),
        ("4\r\nWiki\r\n0\r\n", 4),
    ] {
        let short = format!("short body: the connection ended in a chunk, after {got} bytes");
        assert_eq!(error(&format!("{CHUNKED}{cut}")), short);
    }
    let ended = "the connection ended before the head of the answer did";
    for start in [
        "",
        "HTTP",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n",
    ] {
        assert_eq!(error(start), ended, "{start}");
    }
}

#[test]
fn a_folded_field_is_one() {
    let answer = "HTTP/1.1 200 OK\r\nX-Long: one,\r\n  two\r\n\tthree\r\nX-Empty:\r\n \r\nContent-Length: 2\r\n\r\nok!";
    for piece in 1..answer.len() {
        let got = served(answer.as_bytes(), piece, Manner::default(), |url, _| {
            let answer = get(url).unwrap();
            ["x-long", "x-empty"].map(|name| {
                let value = answer.header(name).unwrap();
                Vec::from_iter(value.split_ascii_whitespace().map(str::to_owned))
            })
        });
        assert_eq!(got[0], ["one,", "two", "three"]);
        assert_eq!(got[1], [""; 0]);
    }
}

/// Reads the body to its end, in spite of waits that end early: with `read`, into `room` bytes at a
/// time, or with `read_all`.
fn read_patiently(answer: &mut Answer, room: Option<usize>) -> (Vec<u8>, usize) {
    let (mut body, mut late) = (vec![], 0);
    loop {
        let read = match room {
            Some(room) => {
                let mut out = vec![0; room];
                let n = answer.read(&mut out).map_err(Error::from);
                n.map(|n| out[..n].to_vec())
            }
            None => answer.read_all(1 << 20).map_err(Error::from),
        };
        match read {
            Ok(bytes) if bytes.is_empty() => return (body, late),
            Ok(bytes) => body.extend(bytes),
            Err(Error::Thrown(_)) => late += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_read_at_which_something_was_thrown_has_lost_nothing() {
    let framings = [
        &format!("{CHUNKED}5;ext=x\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\nhello0123456789abcdef",
        "HTTP/1.0 200 OK\r\n\r\nhello0123456789abcdef",
    ];
    for answer in framings {
        let head = answer.find("\r\n\r\n").unwrap() + 4;
        let mut thrown = 0;
        for piece in 1..answer.len() - head {
            for room in [Some(1), Some(3), Some(10_000), None] {
                let manner = Manner {
                    throws: true,
                    ..Manner::default()
                };
                let (body, late) = served(answer.as_bytes(), piece, manner, move |url, reads| {
                    let mut answer = get(url).unwrap();
                    reads.set(true);
                    let got = read_patiently(&mut answer, room);
                    reads.set(false);
                    got
                });
                let what = format!("in pieces of {piece} bytes, into {room:?}");
                assert_eq!(body, b"hello0123456789abcdef", "{what}");
                thrown += late;
            }
        }
        assert!(thrown > 100, "only {thrown} reads were disturbed");
    }
}

#[test]
fn an_error_is_final() {
    let cases = [
        (
            format!("{CHUNKED}5\r\nhelloX\r\n3\r\nabc\r\n0\r\n\r\n"),
            "hello",
            "breaks the protocol",
        ),
        (
            format!("{CHUNKED}zz\r\n3\r\nabc\r\n0\r\n\r\n"),
            "",
            "breaks the protocol",
        ),
        (
            format!("{CHUNKED}5\r\nhello\r\n\r\n0\r\n\r\n"),
            "hello",
            "breaks the protocol",
        ),
        (
            format!("{CHUNKED}5\r\nhel"),
            "hel",
            "in a chunk, after 3 bytes",
        ),
        (
            format!("{CHUNKED}3\r\nabc\r\n0\r\nTrail"),
            "abc",
            "in a chunk, after 3 bytes",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".into(),
            "abc",
            "after 3 of 9 bytes",
        ),
    ];
    for (answer, there, words) in cases {
        for piece in [1, 7, 100_000] {
            served(
                answer.as_bytes(),
                piece,
                Manner::default(),
                move |url, _| {
                    let mut answer = get(url).unwrap();
                    let first = answer.read_all(1000).unwrap_err().to_string();
                    assert!(first.contains(words), "{first}");
                    let (mut body, mut out) = (vec![], [0; 100]);
                    while let Ok(n) = answer.read(&mut out) {
                        assert!(n > 0, "the end of a body that is none, after: {first}");
                        body.extend(&out[..n]);
                    }
                    // What had come before it is not lost.
                    assert!(there.as_bytes().starts_with(&body), "{body:?}");
                    for _ in 0..3 {
                        let again = answer.read(&mut out).unwrap_err();
                        assert_eq!(again.to_string(), first);
                        assert_eq!(answer.read_all(1000).unwrap_err().to_string(), first);
                    }
                },
            );
        }
    }
}

#[test]
fn a_short_body_is_an_error_that_counts() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    served(answer, 100, Manner::default(), |url, _| {
        let mut answer = get(url).unwrap();
        let mut got = vec![];
        let error = answer.read_to_end(&mut got).unwrap_err();
        let is = (error.kind(), &got[..]);
        assert_eq!(is, (ErrorKind::UnexpectedEof, &b"hello"[..]));
        let error = error.downcast::<RequestError>().unwrap().into_error();
        let (got, expected) = (5, Some(10));
        assert_eq!(
            error.to_string(),
            HttpError::ShortBody { got, expected }.to_string()
        );
    });
}

#[test]
fn a_connection_that_was_lost_has_no_end() {
    let manner = Manner {
        resets: true,
        ..Manner::default()
    };
    for head in [
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
    ] {
        let answer = format!("{head}half of it");
        served(answer.as_bytes(), 7, manner, |url, _| {
            let mut answer = get(url).unwrap();
            let lost = answer.read_all(1000).unwrap_err();
            assert_eq!(io::Error::from(lost).kind(), ErrorKind::ConnectionReset);
            // The first reader gets the error; to the next one the system shows the end.
            let mut out = [0; 100];
            assert_eq!(answer.read(&mut out).unwrap(), 10, "what came before");
            assert_eq!(answer.received(), 10);
            let again = answer.read(&mut out).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::ConnectionReset);
        });
    }
}

#[test]
fn a_loss_that_only_the_writer_hears_of_is_no_end_of_the_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let main_loop = MainLoop::current().unwrap();
    let outcome = Rc::new(RefCell::new(None));
    let slot = outcome.clone();
    spawn(move || {
        let answer = client().put(&url).body(content(32 << 20)).send();
        let body = answer.and_then(|mut answer| answer.read_all(1000));
        *slot.borrow_mut() = Some(body);
    })
    .unwrap();
    let mut stream = accept(&listener, &main_loop);
    let answer = b"HTTP/1.0 431 Too Large\r\n\r\nhalf";
    while stream.read(&mut [0; 1000]).is_err() {
        main_loop.tick().unwrap();
    }
    stream.write_all(answer).unwrap();
    reset_when_closed(&stream);
    drop(stream);
    main_loop.run_until_idle().unwrap();
    let error = outcome.take().unwrap().unwrap_err();
    assert_eq!(io::Error::from(error).kind(), ErrorKind::ConnectionReset);
}

#[test]
fn what_is_within_its_limits_is_let_pass() {
    // Ten bytes may take a minute.
    let limits = Limits {
        least: Some(Speed {
            bytes: 10,
            time: Duration::from_secs(60),
        }),
        total: Some(Duration::from_secs(600)),
        ..Limits::default()
    };
    // Many chunks have no more extensions than one.
    let chunks = format!("{CHUNKED}{}0\r\n\r\n", "1\r\na\r\n".repeat(20_000));
    let body = served(chunks.as_bytes(), 5000, Manner::default(), move |url, _| {
        let answer = client().get(url).limits(limits).send();
        answer
            .and_then(|mut answer| answer.read_all(20_000))
            .unwrap()
    });
    assert_eq!(body, b"a".repeat(20_000));
}

#[test]
fn a_body_longer_than_the_caller_wants_is_refused() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
    ] {
        let answer = format!("{head}123456789");
        for limit in [8, 9] {
            let got = served(answer.as_bytes(), 4, Manner::default(), move |url, _| {
                get(url).unwrap().read_all(limit)
            });
            match got.map_err(RequestError::into_error) {
                Err(HttpError::BodyTooLong(8)) => assert_eq!(limit, 8),
                got => assert_eq!(got.unwrap(), b"123456789"),
            }
        }
    }
}

#[test]
fn random_bodies_survive_every_framing() {
    let mut rng = crate::common::Random(1);
    let mut below = move |n: u64| rng.below(n) as usize;
    for round in 0..40 {
        let data: Vec<u8> = (0..below(40_000)).map(|_| below(256) as u8).collect();
        let mut chunked = CHUNKED.as_bytes().to_vec();
        let mut rest = &data[..];
        while !rest.is_empty() {
            let n = (1 + below(9000)).min(rest.len());
            chunked.extend_from_slice(format!("{n:x}\r\n").as_bytes());
            chunked.extend_from_slice(&rest[..n]);
            chunked.extend_from_slice(b"\r\n");
            rest = &rest[n..];
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        let sized = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", data.len());
        let sized = [sized.as_bytes(), &data].concat();
        let until_end = [b"HTTP/1.1 200 OK\r\n\r\n", &data[..]].concat();
        for answer in [chunked, sized, until_end] {
            let room = 1 + below(20_000);
            let got = served(
                &answer,
                1 + below(5000),
                Manner::default(),
                move |url, _| {
                    let mut answer = get(url).unwrap();
                    let (body, _) = read_patiently(&mut answer, Some(room));
                    assert_eq!(answer.received(), body.len() as u64);
                    body
                },
            );
            assert!(got == data, "round {round}");
        }
    }
}

#[test]
fn a_name_is_looked_up_off_the_thread() {
    let Ok(listener) = TcpListener::bind("localhost:0") else {
        return;
    };
    let url = format!(
        "http://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
        crate::origin::answer(&mut stream, "200 OK", "", b"found")
    });
    let answer = client().get(&url).timeouts(quick()).send();
    assert_eq!(answer.unwrap().read_all(10).unwrap(), b"found");
    server.join().unwrap();
}
