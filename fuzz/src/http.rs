//! The boundary of the HTTP parser: an answer of any bytes, in any pieces, with reads that end too late or are interrupted
//! between them, is understood as the same answer in one piece is. A body is told to be complete only if it is.

use crate::Rng;
use hardswitch::net::http::{HttpError, Request, Response, Url};
use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

/// How a connection behaves.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Manner {
    /// Pieces and late reads; none: in one piece.
    seed: Option<u64>,
    /// After the answer comes a reset, not the end. It is told once; then there is the end all the same.
    reset: bool,
    /// The request is taken up to here; then the writer is told so.
    takes: Option<(usize, ErrorKind)>,
}

struct Connection<'a> {
    answer: &'a [u8],
    manner: Manner,
    rng: Rng,
    written: usize,
    told: bool,
    /// Reads may end too late: the head has come.
    late: Rc<Cell<bool>>,
    reads: usize,
}

impl Read for Connection<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        assert!(self.reads < 1_000_000, "it reads and reads");
        let mut most = out.len().min(self.answer.len());
        if self.manner.seed.is_some() {
            if self.rng.one_in(4) {
                return Err(ErrorKind::Interrupted.into());
            }
            if self.late.get() && self.rng.one_in(3) {
                let kinds = [ErrorKind::TimedOut, ErrorKind::WouldBlock];
                return Err((*self.rng.pick(&kinds)).into());
            }
            let piece = *self.rng.pick(&[1, 1, 2, 3, 7, 100, 5000]);
            most = most.min(1 + self.rng.below(piece));
        }
        if self.answer.is_empty() && self.manner.reset && !out.is_empty() && !self.told {
            self.told = true;
            return Err(ErrorKind::ConnectionReset.into());
        }
        let (now, later) = self.answer.split_at(most);
        out[..most].copy_from_slice(now);
        self.answer = later;
        Ok(most)
    }
}

impl Write for Connection<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut n = bytes.len();
        if let Some((room, failure)) = self.manner.takes {
            n = n.min(room - self.written);
            if n == 0 {
                self.told |= failure == ErrorKind::ConnectionReset;
                return Err(failure.into());
            }
        }
        self.written += n;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What came of an answer.
#[derive(PartialEq, Debug)]
pub struct Outcome {
    /// Status and fields, or why there are none.
    head: Result<(u16, String), String>,
    /// Bytes of the body that were read.
    body: Vec<u8>,
    /// Was the body complete? If not, why.
    end: Result<(), String>,
}

fn is_late(error: &HttpError) -> bool {
    matches!(error, HttpError::Io(e) if e.kind() == ErrorKind::TimedOut)
}

fn understand(answer: &[u8], manner: Manner) -> Outcome {
    let url = Url::parse("http://origin.test/file").expect("a URL");
    let late = Rc::new(Cell::new(false));
    let connection = Connection {
        answer,
        manner,
        rng: Rng::new(manner.seed.unwrap_or(0)),
        written: 0,
        told: false,
        late: late.clone(),
        reads: 0,
    };
    let mut rng = Rng::new(manner.seed.unwrap_or(0) ^ 1);
    let mut response = match Request::get(&url).send(connection) {
        Ok(response) => response,
        Err(error) => {
            return Outcome {
                head: Err(error.to_string()),
                body: vec![],
                end: Ok(()),
            }
        }
    };
    late.set(true);
    let fields: Vec<String> = response
        .headers()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let head = Ok((response.status(), fields.join("\n")));
    let mut body = vec![];
    let end = loop {
        let whole = manner.seed.is_some() && rng.one_in(4);
        let answer = match whole {
            true => read_all(&mut response, &mut rng),
            false => read(
                &mut response,
                1 + rng.below(*rng.clone().pick(&[1, 10, 20_000])),
            ),
        };
        match answer {
            Ok(bytes) if bytes.is_empty() => break Ok(()),
            Ok(bytes) => body.extend(bytes),
            Err(error) if is_late(&error) => {}
            Err(HttpError::BodyTooLong(_)) => {}
            Err(error) => break Err(error),
        }
    };
    // What was read before an error is still to be had, and nothing else.
    while let (Err(_), Ok(bytes)) = (&end, read(&mut response, 1000)) {
        assert!(!bytes.is_empty(), "the end of a body after {end:?}");
        body.extend(bytes);
    }
    let end = end.map_err(|error| error.to_string());
    for _ in 0..3 {
        let again = loop {
            match read(&mut response, 10) {
                Err(error) if is_late(&error) => {}
                answer => break answer,
            }
        };
        let again = again.map(|bytes| assert_eq!(bytes, b"", "bytes after the end"));
        assert_eq!(again.map_err(|error| error.to_string()), end, "not final");
    }
    assert_eq!(response.received(), body.len() as u64);
    Outcome { head, body, end }
}

fn read(response: &mut Response<Connection>, room: usize) -> Result<Vec<u8>, HttpError> {
    let mut out = vec![0; room];
    let n = response.read(&mut out)?;
    out.truncate(n);
    Ok(out)
}

/// With a limit that may be too low.
fn read_all(response: &mut Response<Connection>, rng: &mut Rng) -> Result<Vec<u8>, HttpError> {
    response.read_all(*rng.pick(&[0, 1, 100, 1 << 30]))
}

/// Checks one input: the first bytes say how the connection behaves, the others are the answer.
///
/// Any bytes will do, so it is a target for libFuzzer as well:
/// `libfuzzer_sys::fuzz_target!(|data: &[u8]| { fuzz::http::check(data); });`
pub fn check(data: &[u8]) -> Outcome {
    let (start, answer) = data.split_at(data.len().min(8));
    let mut seed = [0; 8];
    seed[..start.len()].copy_from_slice(start);
    let mut rng = Rng::new(u64::from_le_bytes(seed));
    let failures = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    let whole = Manner {
        seed: None,
        reset: rng.one_in(3),
        takes: rng.one_in(4).then(|| (rng.below(40), *rng.pick(&failures))),
    };
    let once = understand(answer, whole);
    for _ in 0..3 {
        let manner = Manner {
            seed: Some(rng.number()),
            ..whole
        };
        let pieces = understand(answer, manner);
        assert_eq!(pieces, once, "{manner:?}: {}", answer.escape_ascii());
    }
    once
}

/// One random answer, checked.
pub fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let framing = *rng.pick(&[Framing::Length, Framing::Chunked, Framing::End]);
    let (mut answer, head, body) = answer(&mut rng, framing);
    let mut start = rng.number().to_le_bytes();
    match rng.below(3) {
        // Whole: it is understood.
        0 => {
            start = quiet(&mut rng);
            let got = check(&[&start[..], &answer].concat());
            assert!(got.head.is_ok(), "{got:?}: {}", answer.escape_ascii());
            assert!(got.end.is_ok(), "{got:?}: {}", answer.escape_ascii());
            assert!(got.body == body, "{}", answer.escape_ascii());
        }
        // Cut off: it is never taken for whole, if that can be told.
        1 => {
            answer.truncate(rng.below(answer.len()));
            let got = check(&[&start[..], &answer].concat());
            if framing != Framing::End || answer.len() < head {
                let whole = got.head.is_ok() && got.end.is_ok();
                assert!(!whole, "{got:?}: {}", answer.escape_ascii());
            }
        }
        // Anything.
        _ => {
            for _ in 0..1 + rng.below(4) {
                mutate(&mut answer, &mut rng);
            }
            check(&[&start[..], &answer].concat());
        }
    }
}

/// Numbers that make a connection which ends well.
fn quiet(rng: &mut Rng) -> [u8; 8] {
    loop {
        let start = rng.number().to_le_bytes();
        let mut drawn = Rng::new(u64::from_le_bytes(start));
        let (reset, fails) = (drawn.one_in(3), drawn.one_in(4));
        if !reset && !fails {
            return start;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Framing {
    Length,
    Chunked,
    End,
}

/// A good answer, the length of its heads, and its body, which is not empty.
fn answer(rng: &mut Rng, framing: Framing) -> (Vec<u8>, usize, Vec<u8>) {
    let size = *rng.pick(&[1, 2, 20, 300, 9000, 30_000]);
    let body: Vec<u8> = (0..1 + rng.below(size))
        .map(|_| rng.number() as u8)
        .collect();
    let mut text = String::new();
    for _ in 0..rng.below(3) {
        text += "HTTP/1.1 103 Early Hints\r\nLink: </style>\r\n\r\n";
    }
    text += *rng.pick(&[
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 404 \r\n",
        "HTTP/1.0 500 No\r\n",
    ]);
    for _ in 0..rng.below(5) {
        text += *rng.pick(&[
            "A: b\r\n",
            "X-Empty:\r\n",
            "Folded: a\r\n\tb\r\n",
            "Server: \t s  \r\n",
        ]);
    }
    match framing {
        Framing::Length => text += &format!("Content-Length: {}\r\n", body.len()),
        Framing::Chunked => text += "Transfer-Encoding: chunked\r\n",
        Framing::End => {}
    }
    text += "\r\n";
    let head = text.len();
    let mut answer = text.into_bytes();
    if framing != Framing::Chunked {
        answer.extend(&body);
        return (answer, head, body);
    }
    let mut rest = &body[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at((1 + rng.below(2000)).min(rest.len()));
        let extension = rng.pick(&["", "", ";x", ";name=\"value\"", "  "]);
        answer.extend(format!("{:x}{extension}\r\n", now.len()).bytes());
        answer.extend(now);
        answer.extend(b"\r\n");
        rest = later;
    }
    answer.extend(
        rng.pick(&["0\r\n\r\n", "000\r\nTrailer: x\r\n\r\n"])
            .bytes(),
    );
    (answer, head, body)
}

fn mutate(answer: &mut Vec<u8>, rng: &mut Rng) {
    const PIECES: [&[u8]; 16] = [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"0",
        b"0\r\n\r\n",
        b"\r\n\r\n",
        b"-1",
        b"+5",
        b"0x",
        b"ffffffffffffffff",
        b"HTTP/1.1 100 x\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\0",
    ];
    if answer.is_empty() {
        return;
    }
    let at = rng.below(answer.len());
    let end = (at + 1 + rng.below(20)).min(answer.len());
    match rng.below(5) {
        0 => answer[at] = rng.number() as u8,
        1 => drop(answer.drain(at..end)),
        2 => {
            let piece = rng.pick(&PIECES).to_vec();
            drop(answer.splice(at..at, piece));
        }
        3 => {
            let again = answer[at..end].to_vec();
            drop(answer.splice(at..at, again));
        }
        _ => answer.truncate(at),
    }
}
