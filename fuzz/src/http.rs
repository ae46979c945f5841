//! The boundary of the HTTP client: an answer of any bytes, in any pieces over a connection of the loopback, with something thrown
//! at the reading tasklet between them, is understood as the same answer in one piece is; by a tasklet and by a worker. A body is
//! told to be complete only if it is by a model of RFC 9112.

use crate::Rng;
use hardswitch::net::http::{Answer, Client, Limits, RequestError};
use hardswitch::{offload, spawn, Error, MainLoop};
use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// What the answers may have: so little that some have more.
fn limits() -> Limits {
    Limits {
        head: 1000,
        interim: 2,
        ..Limits::default()
    }
}

/// How a connection behaves, and who reads it.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Manner {
    /// Pieces, and errors that are thrown at the reader; none: in one piece.
    seed: Option<u64>,
    /// After the answer comes a reset, not the end.
    reset: bool,
    /// A large request, of which only so many bytes are read. That makes a reset as well.
    takes: Option<usize>,
    worker: bool,
}

impl Manner {
    /// Is what follows the answer told from a reset?
    fn ends(&self) -> bool {
        !self.reset && self.takes.is_none()
    }
}

/// What came of an answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// Status and fields, or why there are none.
    head: Result<(u16, String), String>,
    /// Bytes of the body that were read.
    body: Vec<u8>,
    /// Was the body complete? If not, why.
    end: Result<(), String>,
}

impl Outcome {
    fn is_whole(&self) -> bool {
        self.head.is_ok() && self.end.is_ok()
    }

    /// Without the words of an error of the head. The parser looks at a head that comes in pieces when its end has come, and may
    /// find nothing but that this is missing.
    fn shown(self) -> Outcome {
        let head = self.head.map_err(|_| "an error".to_owned());
        Outcome { head, ..self }
    }
}

/// Serves `answer` between the turns of the loop, in which a client reads it.
fn understand(answer: &[u8], manner: Manner) -> Outcome {
    let main_loop = MainLoop::current().expect("there is a descriptor for it");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let at = listener.local_addr().expect("it has an address");
    let reads = Arc::new(AtomicBool::new(false));
    let (url, reading) = (format!("http://{at}/file"), reads.clone());
    let outcome = Rc::new(RefCell::new(None));
    let slot = outcome.clone();
    let asks = spawn(move || {
        let asked = move || ask(&url, manner, &reading);
        let got = match manner.worker {
            true => offload::call(asked).expect("the job does not panic"),
            false => asked(),
        };
        *slot.borrow_mut() = Some(got);
    });
    let asks = asks.expect("there is memory");
    let turn = || main_loop.tick().expect("nobody fails");
    turn();
    let mut stream = listener.accept().expect("the client connects").0;
    stream.set_nonblocking(true).expect("sockets can");
    stream.set_nodelay(true).expect("sockets can");
    let mut room = manner.takes.unwrap_or(usize::MAX);
    let mut request = Vec::new();
    while room > 0 && !request.ends_with(b"\r\n\r\n") {
        turn();
        let mut bytes = [0; 200];
        let most = room.min(bytes.len());
        match stream.read(&mut bytes[..most]) {
            Ok(n) => {
                request.extend(&bytes[..n]);
                room -= n;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    let mut rng = Rng::new(manner.seed.unwrap_or(0));
    let mut left = answer;
    while !left.is_empty() {
        let mut most = left.len();
        if manner.seed.is_some() {
            let piece = *rng.pick(&[1, 1, 2, 3, 7, 100, 5000]);
            most = most.min(1 + rng.below(piece));
            if rng.one_in(3) && !manner.worker && reads.load(Ordering::SeqCst) && asks.is_alive() {
                let thrown = asks.throw(Error::thrown("a wait that ends early"));
                thrown.expect("it catches that");
            }
        }
        match stream.write(&left[..most]) {
            Ok(n) => left = &left[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The client has had enough.
            Err(_) => break,
        }
        turn();
    }
    if manner.reset {
        reset_when_closed(&stream);
    }
    drop(stream);
    loop {
        if let Some(outcome) = outcome.take() {
            return outcome;
        }
        // `for_each_seed` looks at the time.
        turn();
        std::thread::yield_now();
    }
}

fn reset_when_closed(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: `linger` is live, and its size is right.
    let set = unsafe {
        let size = size_of::<libc::linger>() as libc::socklen_t;
        let value = (&raw const linger).cast();
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            value,
            size,
        )
    };
    assert_eq!(set, 0);
}

/// The client's part. `reads`: something may be thrown, since the head has come.
fn ask(url: &str, manner: Manner, reads: &AtomicBool) -> Outcome {
    let client = Client::new();
    let request = match manner.takes {
        Some(_) => client.put(url).body(vec![b'x'; 400_000]),
        None => client.get(url),
    };
    let mut answer = match request.limits(limits()).redirects(0).send() {
        Ok(answer) => answer,
        Err(error) => {
            return Outcome {
                head: Err(error.into_error().to_string()),
                body: vec![],
                end: Ok(()),
            }
        }
    };
    let fields = answer
        .headers()
        .map(|(name, value)| format!("{name}: {value}"));
    let fields = Vec::from_iter(fields);
    let head = Ok((answer.status(), fields.join("\n")));
    let mut rng = Rng::new(manner.seed.unwrap_or(0) ^ 1);
    let mut body = vec![];
    reads.store(true, Ordering::SeqCst);
    let end = loop {
        let read = match manner.seed.is_some() && rng.one_in(4) {
            true => read_all(&mut answer, &mut rng),
            false => {
                let most = *rng.pick(&[1, 10, 20_000]);
                read(&mut answer, 1 + rng.below(most))
            }
        };
        match read {
            Ok(bytes) if bytes.is_empty() => break Ok(()),
            Ok(bytes) => body.extend(bytes),
            Err(Failed::Passes) => {}
            Err(Failed::Ends(error)) => break Err(error),
        }
    };
    // Nothing that is thrown from here on would be a wait's.
    reads.store(false, Ordering::SeqCst);
    // What was read before an error is still to be had, and nothing else.
    while let (Err(_), Ok(bytes)) = (&end, read(&mut answer, 1000)) {
        assert!(!bytes.is_empty(), "the end of a body after {end:?}");
        body.extend(bytes);
    }
    for _ in 0..3 {
        let again = match read(&mut answer, 10) {
            Ok(bytes) => {
                assert_eq!(bytes, b"", "bytes after the end");
                Ok(())
            }
            Err(Failed::Ends(error)) => Err(error),
            Err(Failed::Passes) => panic!("nothing was thrown"),
        };
        assert_eq!(again, end, "not final");
    }
    assert_eq!(answer.received(), body.len() as u64);
    Outcome { head, body, end }
}

enum Failed {
    /// Reading can go on.
    Passes,
    Ends(String),
}

fn failed(error: RequestError) -> Failed {
    use hardswitch::net::http::HttpError;
    let words = error.error().to_string();
    match error.error() {
        HttpError::BodyTooLong(_) => return Failed::Passes,
        // Every peer here ends its connection: nobody has to wait for long.
        HttpError::TooSlow(_) => panic!("{words}"),
        HttpError::Io(error) if error.kind() == ErrorKind::TimedOut => panic!("{words}"),
        _ => {}
    }
    match Error::from(error) {
        Error::Thrown(_) => Failed::Passes,
        _ => Failed::Ends(words),
    }
}

fn read(answer: &mut Answer, room: usize) -> Result<Vec<u8>, Failed> {
    let mut out = vec![0; room];
    match answer.read(&mut out) {
        Ok(n) => {
            out.truncate(n);
            Ok(out)
        }
        Err(error) => match error.downcast::<RequestError>() {
            Ok(error) => Err(failed(error)),
            Err(thrown) => match Error::from(thrown) {
                Error::Thrown(_) => Err(Failed::Passes),
                error => panic!("an error without its request: {error}"),
            },
        },
    }
}

/// With a limit that may be too low.
fn read_all(answer: &mut Answer, rng: &mut Rng) -> Result<Vec<u8>, Failed> {
    let limit = *rng.pick(&[0, 1, 100, 1 << 30]);
    let body = answer.read_all(limit).map_err(failed)?;
    assert!(body.len() <= limit, "more than was allowed");
    Ok(body)
}

/// Status and body of an answer by RFC 9112, if it is whole and within the limits. It is less strict than the client is where that
/// changes neither. `ends`: the end of the connection is told from its loss.
fn model(answer: &[u8], ends: bool) -> Option<(u16, Vec<u8>)> {
    let mut rest = answer;
    let mut interim = 0;
    loop {
        let head = Head::read(&mut rest)?;
        if answer.len() - rest.len() > limits().head {
            return None;
        }
        match head.status {
            101 => return None,
            100..=199 if interim == limits().interim => return None,
            100..=199 => interim += 1,
            status => return Some((status, head.body(rest, ends)?)),
        }
    }
}

struct Head {
    status: u16,
    codings: Vec<String>,
    lengths: Vec<String>,
}

/// The next line, without its end.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

impl Head {
    fn read(rest: &mut &[u8]) -> Option<Head> {
        let mut first = line(rest)?;
        // Empty lines before it are nothing.
        while first.is_empty() {
            first = line(rest)?;
        }
        let status = first.strip_prefix(b"HTTP/1.")?.get(2..5)?;
        let mut head = Head {
            status: std::str::from_utf8(status).ok()?.parse().ok()?,
            codings: vec![],
            lengths: vec![],
        };
        let mut fields: Vec<(String, String)> = vec![];
        loop {
            let line = String::from_utf8_lossy(line(rest)?).into_owned();
            match (fields.last_mut(), line.split_once(':')) {
                _ if line.is_empty() => break,
                (Some(field), _) if line.starts_with([' ', '\t']) => field.1 += &line,
                (_, Some((name, value))) => {
                    fields.push((name.to_ascii_lowercase(), value.to_owned()));
                }
                _ => return None,
            }
        }
        for (name, value) in &fields {
            let words = value.split(',').map(|word| word.trim().to_owned());
            match name.as_str() {
                "transfer-encoding" => head.codings.extend(words),
                "content-length" => head.lengths.extend(words),
                _ => {}
            }
        }
        Some(head)
    }

    fn body(&self, mut rest: &[u8], ends: bool) -> Option<Vec<u8>> {
        if matches!(self.status, 204 | 304) {
            return Some(vec![]);
        }
        if let Some(coding) = self.codings.iter().find(|coding| !coding.is_empty()) {
            return coding
                .eq_ignore_ascii_case("chunked")
                .then(|| chunks(rest))?;
        }
        let Some(length) = self.lengths.first() else {
            return ends.then(|| rest.to_vec());
        };
        if self.lengths.iter().any(|other| other != length) || length.starts_with('+') {
            return None;
        }
        let length = length.parse().ok()?;
        rest.split_off(..length).map(<[u8]>::to_vec)
    }
}

fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let (mut body, mut extra) = (vec![], 0);
    loop {
        let size = line(&mut rest)?;
        let digits = size
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        extra += size.len() - digits;
        let size = std::str::from_utf8(&size[..digits]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend(rest.split_off(..size)?);
        if !line(&mut rest)?.is_empty() {
            return None;
        }
    }
    loop {
        match line(&mut rest)? {
            [] => break,
            trailer => extra += trailer.len(),
        }
    }
    // The limits are told to a client by their order of magnitude only.
    (extra < 40_000).then_some(body)
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
    let whole = Manner {
        seed: None,
        reset: rng.one_in(3),
        takes: rng.one_in(4).then(|| 1 + rng.below(1000)),
        worker: false,
    };
    let once = checked(answer, whole);
    for worker in [false, false, true] {
        let manner = Manner {
            seed: Some(rng.number()),
            worker,
            ..whole
        };
        let pieces = checked(answer, manner);
        // When a loss comes to be known is the system's affair.
        if whole.ends() {
            let (pieces, once) = (pieces.shown(), once.clone().shown());
            assert_eq!(pieces, once, "{manner:?}: {}", answer.escape_ascii());
        }
    }
    once
}

/// What the client makes of an answer, which is whole only where the model says so.
fn checked(answer: &[u8], manner: Manner) -> Outcome {
    let got = understand(answer, manner);
    if let (true, Ok((status, _))) = (got.is_whole(), &got.head) {
        let expected = model(answer, manner.ends());
        let is_so = expected.is_some_and(|expected| expected == (*status, got.body.clone()));
        assert!(is_so, "{got:?}, {manner:?}: {}", answer.escape_ascii());
    }
    got
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
            assert!(got.is_whole(), "{got:?}: {}", answer.escape_ascii());
            assert!(got.body == body, "{}", answer.escape_ascii());
        }
        // Cut off: it is never taken for whole, if that can be told.
        1 => {
            answer.truncate(rng.below(answer.len()));
            let got = check(&[&start[..], &answer].concat());
            if framing != Framing::End || answer.len() < head {
                assert!(!got.is_whole(), "{got:?}: {}", answer.escape_ascii());
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
        // Older than chunks are.
        match framing {
            Framing::Chunked => "HTTP/1.1 500 No\r\n",
            _ => "HTTP/1.0 500 No\r\n",
        },
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
