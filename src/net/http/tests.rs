//! Answers written after RFC 9112, arriving in pieces of every size.

use super::*;

/// A peer that has its answer ready and hands it out in pieces.
struct Peer {
    answer: Vec<u8>,
    at: usize,
    piece: usize,
    sent: Vec<u8>,
    /// What comes after the answer: the end, or this error.
    then: Option<ErrorKind>,
    interrupted: bool,
}

impl Read for Peer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
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
        let n = bytes.len().min(7);
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
        then: None,
        interrupted: false,
    }
}

fn request() -> Request {
    Request::get(&Url::parse("http://origin.test/file").unwrap())
}

/// Status and body, the same for pieces of every size.
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
    assert!(matches!(
        request().send(peer(endless.as_bytes(), 4096)),
        Err(HttpError::HeadTooLong)
    ));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(65));
    assert!(matches!(
        request().send(peer(many.as_bytes(), 4096)),
        Err(HttpError::HeadTooLong)
    ));
    let allowed = Limits {
        fields: 65,
        ..Limits::default()
    };
    assert_eq!(
        request()
            .limits(allowed)
            .send(peer(many.as_bytes(), 4096))
            .unwrap()
            .headers()
            .count(),
        65
    );
    let trailer = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}",
        "A: b\r\n".repeat(10_000)
    );
    assert_eq!(error(&trailer), "the head of the answer is too long");
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
fn urls_are_taken_apart() {
    let parts = |url: &str| {
        let url = Url::parse(url).unwrap();
        (
            url.host().to_owned(),
            url.port(),
            url.target().to_owned(),
            url.authority(),
        )
    };
    let of = |h: &str, p, t: &str, a: &str| (h.to_owned(), p, t.to_owned(), a.to_owned());
    assert_eq!(
        parts("http://example.com"),
        of("example.com", 80, "/", "example.com")
    );
    assert_eq!(
        parts("HTTP://127.0.0.1:8080/a/b?c=d#e"),
        of("127.0.0.1", 8080, "/a/b?c=d", "127.0.0.1:8080")
    );
    assert_eq!(parts("http://[::1]:81?q"), of("::1", 81, "/?q", "[::1]:81"));
    assert_eq!(parts("http://[::1]"), of("::1", 80, "/", "[::1]"));
    assert_eq!(
        Url::parse("http://h:80/x").unwrap().to_string(),
        "http://h/x"
    );
    let bad = [
        ("ftp://h/", "it does not start with http://"),
        ("h/x", "it does not start with http://"),
        ("https://h/", "https is not supported"),
        ("http:///x", "it has no host"),
        ("http://:80/", "it has no host"),
        ("http://h:x/", "its port is no number"),
        ("http://h:+8/", "its port is no number"),
        ("http://h:0/", "its port is not in 1 to 65535"),
        ("http://h:65536/", "its port is not in 1 to 65535"),
        ("http://u:p@h/", "user names in URLs are not supported"),
        ("http://[::1/", "the ] of its host is missing"),
        ("http://[h]/", "its host is no IPv6 address"),
        ("http://[::1]x/", "what follows the ] is no port"),
        (
            "http://h/a b",
            "it contains a character that has to be written as %..",
        ),
        (
            "http://h/\r\nEvil: 1",
            "it contains a character that has to be written as %..",
        ),
        (
            "http://h/\u{e9}",
            "it contains a character that has to be written as %..",
        ),
    ];
    for (url, why) in bad {
        match Url::parse(url) {
            Err(HttpError::BadUrl { why: found, .. }) => assert_eq!(found, why, "{url}"),
            other => panic!("{url}: {other:?}"),
        }
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
