//! Answers after RFC 9112, arriving in pieces of every size.

use super::*;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

/// A peer that has its answer ready and hands it out in pieces.
struct Peer {
    answer: Vec<u8>,
    at: usize,
    piece: usize,
    sent: Vec<u8>,
    /// From this byte of the answer on, each piece is preceded by a read whose wait ends too early.
    slow_from: usize,
    late: bool,
    /// How many bytes of the request it takes, and the error after that.
    takes: (usize, Option<ErrorKind>),
    /// The error after the answer, or the end of the stream.
    then: Option<ErrorKind>,
    interrupted: bool,
}

impl Read for Peer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        self.late = !self.late && self.at >= self.slow_from;
        if self.late && self.at < self.answer.len() {
            return Err(ErrorKind::TimedOut.into());
        }
        let n = out.len().min(self.piece).min(self.answer.len() - self.at);
        out[..n].copy_from_slice(&self.answer[self.at..self.at + n]);
        self.at += n;
        match self.then {
            Some(kind) if n == 0 && !out.is_empty() => Err(kind.into()),
            _ => Ok(n),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (room, failure) = self.takes;
        let n = bytes.len().min(7).min(room - self.sent.len());
        if let (0, Some(kind)) = (n, failure) {
            return Err(kind.into());
        }
        self.sent.extend_from_slice(&bytes[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn peer(answer: &[u8], piece: usize) -> Peer {
    Peer {
        answer: answer.to_vec(),
        at: 0,
        piece,
        sent: vec![],
        slow_from: usize::MAX,
        late: false,
        takes: (usize::MAX, None),
        then: None,
        interrupted: false,
    }
}

fn request() -> Request {
    Request::get(&Url::parse("http://origin.test/file").unwrap())
}

/// Status and body, which must be the same for pieces of every size.
fn exchange(answer: &[u8]) -> Result<(u16, Vec<u8>), HttpError> {
    let once = |piece| {
        let mut response = request().send(peer(answer, piece))?;
        Ok((response.status(), response.read_all(1 << 20)?))
    };
    let whole = once(usize::MAX);
    for piece in 1..answer.len().min(80) {
        let pieces: Result<_, HttpError> = once(piece);
        assert_eq!(
            format!("{pieces:?}"),
            format!("{whole:?}"),
            "pieces of {piece} bytes"
        );
    }
    whole
}

fn body(answer: &str) -> Vec<u8> {
    exchange(answer.as_bytes()).expect("a good answer").1
}

fn error(answer: &str) -> String {
    exchange(answer.as_bytes())
        .expect_err("a bad answer")
        .to_string()
}

#[test]
fn a_body_ends_where_its_length_says() {
    assert_eq!(
        body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellothis is not part of it"),
        b"hello"
    );
    assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\nx"), b"");
    assert_eq!(
        body("HTTP/1.1 200\r\nContent-Length: 3, 3\r\nContent-Length: 3\r\n\r\nabc"),
        b"abc"
    );
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    assert_eq!(
        body("HTTP/1.0 200 OK\r\nServer: x\r\n\r\nall of this"),
        b"all of this"
    );
    assert_eq!(body("HTTP/1.1 200 OK\n\nbare line ends"), b"bare line ends");
}

#[test]
fn chunks_are_put_together() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        body(&format!(
            "{chunked}4\r\nWiki\r\n7\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\n\r\n"
        )),
        b"Wikipedia in \r\nchunks."
    );
    assert_eq!(
        body(&format!(
            "{chunked}5;name=\"v\"\r\nhello\r\n000\r\nX-Sum: 1\r\nX-More: 2\r\n\r\nnext"
        )),
        b"hello"
    );
    // Chunks win over a length (RFC 9112, 6.3).
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"), b"ab");
    assert_eq!(
        error(&format!("{chunked}4\r\nWik")),
        "short body: the connection ended in a chunk, after 3 bytes"
    );
    assert_eq!(
        error(&format!("{chunked}4\r\nWiki\r\n")),
        "short body: the connection ended in a chunk, after 4 bytes"
    );
    assert_eq!(
        error(&format!("{chunked}4\r\nWiki\r\n0\r\n")),
        "short body: the connection ended in a chunk, after 4 bytes"
    );
    assert_eq!(
        error(&format!("{chunked}4\r\nWikipedia\r\n0\r\n\r\n")),
        "the answer breaks the protocol: a chunk is longer than its size"
    );
    for size in ["x", "", "-1", "10000000000000000", "4 4"] {
        assert_eq!(
            error(&format!("{chunked}{size}\r\nWiki\r\n0\r\n\r\n")),
            "the answer breaks the protocol: the size of a chunk",
            "{size}"
        );
    }
}

#[test]
fn a_short_body_is_an_error_that_counts() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    assert_eq!(
        error(answer),
        "short body: the connection ended after 5 of 10 bytes"
    );
    let mut response = request().send(peer(answer.as_bytes(), 100)).unwrap();
    let mut got = vec![];
    let error = response.read_to_end(&mut got).unwrap_err();
    assert_eq!(
        (error.kind(), &got[..]),
        (ErrorKind::UnexpectedEof, &b"hello"[..])
    );
    assert!(matches!(
        HttpError::from(error),
        HttpError::ShortBody {
            got: 5,
            expected: Some(10)
        }
    ));
}

#[test]
fn what_is_not_http_is_refused_at_once() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTX",
        "\0\0\0",
        "220 mail.test ESMTP\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
    ] {
        // The connection stays open: waiting for more would hang.
        let mut silent = peer(answer.as_bytes(), 100);
        silent.then = Some(ErrorKind::TimedOut);
        let error = request().send(silent).unwrap_err();
        assert_eq!(error.to_string(), "the answer is not HTTP", "{answer}");
    }
    assert_eq!(
        error("HTTP/1.1 2x0 OK\r\n\r\n"),
        "the answer breaks the protocol: its status line"
    );
    assert_eq!(
        error("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"),
        "the answer breaks the protocol: its header fields"
    );
}

#[test]
fn a_head_that_ends_too_soon_is_named() {
    for answer in [
        "",
        "HTTP",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    ] {
        assert_eq!(
            error(answer),
            "the connection ended before the head of the answer did",
            "{answer}"
        );
    }
}

#[test]
fn the_head_is_bounded() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(100_000));
    let too_long = "the head of the answer is longer than the 16384 bytes allowed";
    assert_eq!(error(&endless), too_long);
    let head = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    let limited = |head: usize| Limits {
        head,
        ..Limits::default()
    };
    let ask = |limits| {
        let request = request().limits(limits);
        request.send(peer(head.as_bytes(), 3)).map(|_| ())
    };
    assert!(ask(limited(head.len())).is_ok());
    assert!(matches!(
        ask(limited(head.len() - 1)),
        Err(HttpError::HeadTooLong(24))
    ));
    let trailer = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}",
        "A: b\r\n".repeat(10_000)
    );
    assert_eq!(error(&trailer), too_long);
}

#[test]
fn the_head_is_bounded_by_its_bytes_alone_and_not_by_the_number_of_its_fields() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(2000));
    let answer = request().send(peer(many.as_bytes(), 4096)).unwrap();
    assert_eq!(answer.headers().count(), 2000);
}

#[test]
fn extensions_of_chunks_are_bounded_together() {
    let chunk = format!("1;x={}\r\na\r\n", "y".repeat(1000));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let few = format!("{chunked}{}0\r\n\r\n", chunk.repeat(10));
    assert_eq!(body(&few), b"a".repeat(10));
    assert_eq!(
        error(&format!("{chunked}{}0\r\n\r\n", chunk.repeat(100))),
        "the head of the answer is longer than the 16384 bytes allowed"
    );
    let plain = "1\r\na\r\n".repeat(20_000);
    let mut answer = request()
        .send(peer(format!("{chunked}{plain}0\r\n\r\n").as_bytes(), 5000))
        .unwrap();
    assert_eq!(answer.read_all(1 << 20).unwrap().len(), 20_000);
}

#[test]
fn interim_answers_are_bounded_in_number_and_together_in_length() {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    assert_eq!(body(&(interim.repeat(10) + last)), b"ok");
    assert_eq!(
        error(&interim.repeat(10_000)),
        "more than the 10 interim answers allowed"
    );
    let long = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n",
        "x".repeat(4000)
    );
    assert_eq!(
        error(&(long.repeat(5) + last)),
        "the head of the answer is longer than the 16384 bytes allowed"
    );
}

#[test]
fn a_status_that_is_none_is_refused() {
    for status in ["000", "099", "99", "20", "2000", "abc", "-20"] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nok");
        assert!(
            error(&answer).starts_with("the answer breaks the protocol: its status"),
            "{status}: {}",
            error(&answer)
        );
    }
}

#[test]
fn a_folded_field_is_one_with_a_space() {
    let answer = "HTTP/1.1 200 OK\r\nX-Long: one,\r\n  two\r\n\tthree\r\nX-Empty:\r\n \r\nContent-Length:\r\n 2\r\n\r\nok!";
    for piece in 1..answer.len() {
        let mut answer = request().send(peer(answer.as_bytes(), piece)).unwrap();
        assert_eq!(answer.header("x-long"), Some("one, two three"));
        assert_eq!(answer.header("x-empty"), Some(""));
        assert_eq!(answer.read_all(100).unwrap(), b"ok");
    }
    // It is the first field, so there is nothing that it could continue.
    assert_eq!(
        error("HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 2\r\n\r\nok"),
        "the answer breaks the protocol: its header fields"
    );
    // Digits in two lines are not a number.
    assert_eq!(
        error("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 0\r\n\r\n0123456789"),
        "the answer breaks the protocol: its Content-Length"
    );
}

/// Reads the body to its end, in spite of waits that end too early: with `read`, into `room` bytes
/// at a time, or with `read_all`.
fn read_patiently(response: &mut Response<Peer>, room: Option<usize>) -> Vec<u8> {
    let mut body = vec![];
    loop {
        let answer = match room {
            Some(room) => {
                let mut out = vec![0; room];
                let n = response.read(&mut out).map_err(HttpError::from);
                n.map(|n| out[..n].to_vec())
            }
            None => response.read_all(1 << 20),
        };
        match answer {
            Ok(bytes) if bytes.is_empty() => return body,
            Ok(bytes) => body.extend(bytes),
            Err(HttpError::Io(e)) if e.kind() == ErrorKind::TimedOut => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_read_that_waited_too_long_has_lost_nothing() {
    let framings = [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=x\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\nhello0123456789abcdefmore",
        "HTTP/1.0 200 OK\r\n\r\nhello0123456789abcdef",
    ];
    for answer in framings {
        let head = answer.find("\r\n\r\n").unwrap() + 4;
        for piece in 1..answer.len() - head {
            for room in [Some(1), Some(3), Some(10_000), None] {
                let mut peer = peer(answer.as_bytes(), piece);
                // The head comes in time.
                peer.slow_from = head.next_multiple_of(piece);
                let mut response = request().send(peer).unwrap();
                let body = read_patiently(&mut response, room);
                assert_eq!(
                    String::from_utf8(body).unwrap().trim_end_matches("more"),
                    "hello0123456789abcdef",
                    "in pieces of {piece} bytes, into {room:?}"
                );
            }
        }
    }
}

#[test]
fn what_a_failed_read_all_had_read_comes_with_the_next_one() {
    let answer = b"HTTP/1.0 200 OK\r\n\r\n0123456789";
    let mut response = request().send(peer(answer, 4)).unwrap();
    let too_long = response.read_all(3).unwrap_err();
    assert!(matches!(too_long, HttpError::BodyTooLong(3)));
    assert!(matches!(
        response.read_all(2).unwrap_err(),
        HttpError::BodyTooLong(2)
    ));
    let mut two = [0; 2];
    response.read_exact(&mut two).unwrap();
    assert_eq!(&two, b"01");
    assert_eq!(response.read_all(8).unwrap(), b"23456789");
    assert_eq!(response.read_all(8).unwrap(), b"");
}

#[test]
fn an_error_is_final() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        (
            format!("{chunked}5\r\nhelloX\r\n3\r\nabc\r\n0\r\n\r\n"),
            "a chunk is longer than its size",
        ),
        (
            format!("{chunked}zz\r\n3\r\nabc\r\n0\r\n\r\n"),
            "the size of a chunk",
        ),
        (
            format!("{chunked}5\r\nhello\r\n\r\n0\r\n\r\n"),
            "the size of a chunk",
        ),
        (format!("{chunked}5\r\nhel"), "in a chunk, after 3 bytes"),
        (
            format!("{chunked}3\r\nabc\r\n0\r\nTrail"),
            "in a chunk, after 3 bytes",
        ),
        (
            format!("{chunked}3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(20_000)),
            "16384 bytes allowed",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".into(),
            "after 3 of 9 bytes",
        ),
    ];
    for (answer, words) in &cases {
        for piece in [1, 7, 100_000] {
            let mut response = request().send(peer(answer.as_bytes(), piece)).unwrap();
            let first = response.read_all(1000).unwrap_err().to_string();
            assert!(first.contains(words), "{first}");
            let mut out = [0; 100];
            while let Ok(n) = response.read(&mut out) {
                assert!(n > 0, "the end of a body that is none, after: {first}");
            }
            for _ in 0..3 {
                let again = response.read(&mut out).unwrap_err();
                assert_eq!(again.to_string(), first);
                assert_eq!(response.read_all(1000).unwrap_err().to_string(), first);
            }
        }
    }
}

#[test]
fn a_connection_that_was_lost_has_no_end() {
    // The first reader gets the error; to the next one the system shows the end of the stream.
    let mut reset = peer(b"HTTP/1.0 200 OK\r\n\r\nhalf of it", 100);
    reset.then = Some(ErrorKind::ConnectionReset);
    let mut response = request().send(reset).unwrap();
    let lost = response.read_all(1000).unwrap_err().to_string();
    response.input.stream.then = None;
    let mut out = [0; 100];
    assert_eq!(response.read(&mut out).unwrap(), 10, "what came before");
    assert_eq!(response.read(&mut out).unwrap_err().to_string(), lost);
}

#[test]
fn an_answer_that_came_before_the_request_was_sent_is_read() {
    let answer = b"HTTP/1.1 431 Too Large\r\nContent-Length: 2\r\n\r\nno";
    for kind in [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset] {
        let mut early = peer(answer, 100);
        early.takes = (20, Some(kind));
        let mut response = request().send(early).unwrap();
        assert_eq!(response.status(), 431);
        assert_eq!(response.read_all(10).unwrap(), b"no");
        // Without an answer the error is the writer's.
        let mut none = peer(b"", 100);
        none.takes = (20, Some(kind));
        let error = request().send(none).unwrap_err();
        assert!(matches!(error, HttpError::Io(e) if e.kind() == kind));
    }
    // The reset has been reported once, so the end of the stream that comes next may be false.
    let mut early = peer(b"HTTP/1.0 431 Too Large\r\n\r\nhalf", 100);
    early.takes = (20, Some(ErrorKind::ConnectionReset));
    let error = request().send(early).unwrap().read_all(10).unwrap_err();
    assert!(matches!(error, HttpError::Io(e) if e.kind() == ErrorKind::ConnectionReset));
}

/// A peer that takes some time for each byte.
struct Drip(Peer, Duration);

impl Read for Drip {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(self.1);
        self.0.read(out)
    }
}

impl Write for Drip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_answer_that_trickles_is_given_up() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    let whole = format!("{head}{}", "x".repeat(100_000));
    let drip = |limits: Limits, piece| {
        let peer = Drip(peer(whole.as_bytes(), piece), Duration::from_millis(1));
        let mut response = request().limits(limits).send(peer)?;
        response.read_all(1 << 20)
    };
    let total = Limits {
        total: Some(Duration::from_millis(200)),
        ..Limits::default()
    };
    let least = Limits {
        least: Some(Speed {
            bytes: 1_000_000,
            time: Duration::from_millis(200),
        }),
        ..Limits::default()
    };
    let late = drip(total, 1).unwrap_err();
    assert_eq!(
        late.to_string(),
        "the answer is too slow: the time for the whole of it is up"
    );
    assert_eq!(io::Error::from(late).kind(), ErrorKind::TimedOut);
    assert_eq!(
        drip(least, 1).unwrap_err().to_string(),
        "the answer is too slow: fewer bytes came than must"
    );
    // This is fast enough: ten bytes may take a minute.
    let slow = Limits {
        least: Some(Speed {
            bytes: 10,
            time: Duration::from_secs(60),
        }),
        total: Some(Duration::from_secs(600)),
        ..Limits::default()
    };
    assert_eq!(drip(slow, 5000).unwrap().len(), 100_000);
}

#[test]
fn lengths_that_contradict_are_refused() {
    let head = "HTTP/1.1 200 OK\r\n";
    assert_eq!(
        error(&format!(
            "{head}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
        )),
        "the answer breaks the protocol: it has two Content-Lengths"
    );
    for bad in ["-1", "+3", "3x", "", "99999999999999999999"] {
        assert_eq!(
            error(&format!("{head}Content-Length: {bad}\r\n\r\nabc")),
            "the answer breaks the protocol: its Content-Length",
            "{bad}"
        );
    }
    let gzip = format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(
        error(&gzip),
        "the answer uses a transfer coding other than chunked, which this client does not support"
    );
}

#[test]
fn interim_answers_are_passed_over_and_some_answers_have_no_body() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(exchange(answer.as_bytes()).unwrap(), (200, b"ok".to_vec()));
    for status in [204, 304] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(exchange(answer.as_bytes()).unwrap(), (status, vec![]));
    }
}

#[test]
fn an_error_of_the_connection_stays_itself() {
    let mut reset = peer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", 100);
    reset.then = Some(ErrorKind::ConnectionReset);
    let mut response = request().send(reset).unwrap();
    assert_eq!(response.content_length(), Some(10));
    let error = response.read_all(100).unwrap_err();
    assert!(
        matches!(&error, HttpError::Io(e) if e.kind() == ErrorKind::ConnectionReset),
        "{error:?}"
    );
    assert_eq!(response.received(), 5);
}

#[test]
fn a_body_longer_than_the_caller_wants_is_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789",
        "HTTP/1.0 200 OK\r\n\r\n123456789",
    ] {
        let read = |limit| {
            request()
                .send(peer(answer.as_bytes(), 4))
                .unwrap()
                .read_all(limit)
        };
        assert!(matches!(read(8), Err(HttpError::BodyTooLong(8))));
        assert_eq!(read(9).unwrap(), b"123456789");
    }
}

#[test]
fn the_request_is_what_the_rfc_wants() {
    let request = Request::get(&Url::parse("http://h.test:8080/a?b=c").unwrap())
        .header("X-Y", "z")
        .unwrap();
    let mut sent = request
        .send(peer(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n", 9))
        .unwrap();
    let text = String::from_utf8(std::mem::take(&mut sent.input.stream.sent)).unwrap();
    assert!(
        text.starts_with("GET /a?b=c HTTP/1.1\r\nHost: h.test:8080\r\n"),
        "{text}"
    );
    assert!(
        text.ends_with("Connection: close\r\nX-Y: z\r\n\r\n"),
        "{text}"
    );
    assert_eq!(
        (sent.status(), sent.reason(), sent.header("a")),
        (404, "Not Found", Some("b"))
    );
    assert_eq!(
        sent.success().unwrap_err().to_string(),
        "the server answered 404 Not Found"
    );
    for (name, value) in [("A b", "c"), ("", "c"), ("A", "b\r\nEvil: 1"), ("A:", "b")] {
        assert!(
            matches!(
                super::tests::request().header(name, value),
                Err(HttpError::BadHeader(_))
            ),
            "{name:?}"
        );
    }
}

#[test]
fn random_bodies_survive_every_framing() {
    let mut state = 1u64;
    let mut random = move |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for round in 0..60 {
        let data: Vec<u8> = (0..random(40_000)).map(|_| random(256) as u8).collect();
        let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let mut rest = &data[..];
        while !rest.is_empty() {
            let n = (1 + random(9000)).min(rest.len());
            chunked.extend_from_slice(format!("{n:x}\r\n").as_bytes());
            chunked.extend_from_slice(&rest[..n]);
            chunked.extend_from_slice(b"\r\n");
            rest = &rest[n..];
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        let mut plain =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", data.len()).into_bytes();
        plain.extend_from_slice(&data);
        for answer in [chunked, plain] {
            let mut response = request().send(peer(&answer, 1 + random(5000))).unwrap();
            let mut got = vec![];
            let mut out = vec![0; 1 + random(20_000)];
            loop {
                match response.read(&mut out).unwrap() {
                    0 => break,
                    n => got.extend_from_slice(&out[..n]),
                }
            }
            assert!(got == data, "round {round}");
            assert_eq!(
                (response.received(), response.read(&mut out).unwrap()),
                (data.len() as u64, 0)
            );
        }
    }
}

/// A stream whose waits are interrupted at their end, and which refuses a limit of no time, as the
/// system does.
#[derive(Default)]
struct Interrupted {
    told: std::cell::RefCell<Vec<Option<Duration>>>,
    reads: u32,
}

impl Read for Interrupted {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        assert!(self.reads < 1000, "it goes on for ever");
        let wait = self.told.borrow().last().copied().flatten();
        std::thread::sleep(wait.unwrap());
        Err(ErrorKind::Interrupted.into())
    }
}

#[test]
fn the_time_of_a_read_is_up_also_when_it_is_interrupted_and_no_limit_is_less_than_a_millisecond() {
    fn set_wait(stream: &Interrupted, wait: Option<Duration>) -> io::Result<()> {
        if wait == Some(Duration::ZERO) {
            return Err(ErrorKind::InvalidInput.into());
        }
        stream.told.borrow_mut().push(wait);
        Ok(())
    }
    for (total, io) in [(Some(60_000_000), 5000), (None, 5000), (None, 300)] {
        let limits = Limits {
            total: total.map(Duration::from_micros),
            ..Limits::default()
        };
        let until = super::pace::until([limits.total, None]);
        let io = Some(Duration::from_micros(io));
        let mut pace = super::pace::Pace::new(limits, until, io, Some(set_wait));
        let mut stream = Interrupted::default();
        let Err(HttpError::Io(late)) = pace.read(&mut stream, &mut [0]) else {
            panic!("another error");
        };
        assert_eq!(late.kind(), ErrorKind::TimedOut, "{total:?} {io:?}");
        let least = stream.told.take().into_iter().min();
        assert!(least >= Some(Some(Duration::from_millis(1))), "{least:?}");
    }
}
