//! A server of files that fails as its plans say, and that goes away and comes back.

use super::common::reset_when_closed;
use super::{content, mixed, plan, Fate, Plan, Random};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

/// The version that an `ETag` names.
pub fn version(tag: Option<&str>) -> Option<u64> {
    let tag = tag?.trim_start_matches("W/").trim_matches('"');
    tag.strip_prefix('v')?.parse().ok()
}

/// A server, until it is dropped.
pub struct Origin {
    port: u16,
    over: Arc<AtomicBool>,
    accepts: Option<thread::JoinHandle<()>>,
}

impl Origin {
    pub fn new(seed: u64) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let end = over.clone();
        let accepts = thread::spawn(move || accept(listener, seed, &end));
        Origin {
            port,
            over,
            accepts: Some(accepts),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.accepts.take().unwrap().join().unwrap();
    }
}

/// How often a file was asked for, and the version that it has now.
type Files = Mutex<HashMap<u64, (u64, u64)>>;

fn accept(mut listener: TcpListener, seed: u64, over: &AtomicBool) {
    let at = listener.local_addr().unwrap();
    let files = Arc::new(Files::default());
    let mut rng = Random(mixed(seed, at.port().into(), 1) | 1);
    let mut serving: Vec<(Weak<TcpStream>, thread::JoinHandle<()>)> = Vec::new();
    let mut lives = 100;
    listener.set_nonblocking(true).unwrap();
    while !over.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                let (stream, files) = (Arc::new(stream), files.clone());
                let connection = Arc::downgrade(&stream);
                serving.retain(|(_, thread)| !thread.is_finished());
                let serves = thread::spawn(move || while serve(&stream, seed, &files) {});
                serving.push((connection, serves));
                lives -= 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                thread::sleep(Duration::from_millis(1));
            }
        }
        if lives == 0 {
            // It goes away, and all of its connections with it.
            lives = 50 + rng.below(200);
            drop(listener);
            end(&mut serving);
            thread::sleep(Duration::from_millis(rng.below(30)));
            // Who connects may have its port for a moment.
            listener = loop {
                match TcpListener::bind(at) {
                    Ok(listener) => break listener,
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            };
            listener.set_nonblocking(true).unwrap();
        }
    }
    end(&mut serving);
}

fn end(serving: &mut Vec<(Weak<TcpStream>, thread::JoinHandle<()>)>) {
    for (connection, _) in serving.iter() {
        if let Some(connection) = connection.upgrade() {
            reset_when_closed(&connection);
            // Wakes who reads or writes it.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
    for (_, serves) in serving.drain(..) {
        serves.join().unwrap();
    }
}

struct Asked {
    file: u64,
    /// The first byte that is asked for, if the file is of this version still.
    range: Option<(usize, u64)>,
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut asked = Asked {
        file: first.split(' ').nth(1)?[1..].parse().unwrap(),
        range: None,
    };
    let (mut from, mut tag) = (None, None);
    loop {
        let line = lines.next()?.ok()?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let range = value.strip_prefix("bytes=").unwrap();
                from = Some(range.strip_suffix('-').unwrap().parse().unwrap());
            }
            "if-range" => tag = version(Some(value)),
            _ => {}
        }
    }
    // A part is never asked for without the version.
    assert_eq!(from.is_some(), tag.is_some());
    asked.range = from.zip(tag);
    Some(asked)
}

/// Serves one request; false: it was the last one of its connection.
fn serve(stream: &TcpStream, seed: u64, files: &Files) -> bool {
    let Some(asked) = read(stream) else {
        return false;
    };
    let Plan { fate, size, .. } = plan(seed, asked.file);
    let (nth, version, mut rng) = {
        let mut files = files.lock().unwrap();
        let (times, version) = files.entry(asked.file).or_default();
        *times += 1;
        let mut rng = Random(mixed(seed, asked.file, *times) | 1);
        let is_faulty = matches!(fate, Fate::Whole(faults) if *times <= faults);
        if fate == Fate::Restless || (is_faulty && rng.one_in(4)) {
            *version += 1;
        }
        (*times, *version, rng)
    };
    let answer = Answer {
        stream,
        file: asked.file,
        version,
        size,
        range: asked.range,
    };
    let sent = match fate {
        Fate::Whole(faults) if nth <= faults => answer.faulty(&mut rng),
        Fate::Whole(_) => answer.good().send(stream),
        Fate::Missing => say(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
        ),
        Fate::Silent => answer.cut(&mut rng).and_then(|()| silence(stream)),
        Fate::Drips => answer.drip(usize::MAX),
        Fate::Cut => {
            say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ncut").and_then(|()| closes())
        }
        // The name leads nowhere.
        Fate::Unknown => unreachable!("nobody knows this server"),
        Fate::Circle => {
            let place = format!("Location: /{}\r\nContent-Length: 0\r\n\r\n", asked.file);
            say(stream, &format!("HTTP/1.1 302 Found\r\n{place}"))
        }
        Fate::Restless => answer.cut(&mut rng).and_then(|()| closes()),
        Fate::Endless => loop {
            if let Err(error) = say(stream, "HTTP/1.1 103 Early Hints\r\nLink: </") {
                break Err(error);
            }
            if let Err(error) = say(stream, &"x".repeat(20_000)) {
                break Err(error);
            }
        },
    };
    sent.is_ok()
}

fn say(mut stream: &TcpStream, words: &str) -> io::Result<()> {
    stream.write_all(words.as_bytes())
}

/// The connection is at its end.
fn closes() -> io::Result<()> {
    Err(ErrorKind::Other.into())
}

fn resets(stream: &TcpStream) -> io::Result<()> {
    reset_when_closed(stream);
    closes()
}

/// Waits until the client has gone.
fn silence(mut stream: &TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 100])? > 0 {}
    closes()
}

/// The bytes of an answer.
struct Bytes {
    head: String,
    body: Vec<u8>,
}

impl Bytes {
    fn send(self, mut stream: &TcpStream) -> io::Result<()> {
        stream.write_all(&self.all())
    }

    fn all(self) -> Vec<u8> {
        [self.head.into_bytes(), self.body].concat()
    }
}

/// What is to be answered.
struct Answer<'a> {
    stream: &'a TcpStream,
    file: u64,
    version: u64,
    size: usize,
    range: Option<(usize, u64)>,
}

impl Answer<'_> {
    fn body(&self) -> Vec<u8> {
        content(self.file, self.version, self.size)
    }

    /// Where the part begins that is to be sent; none: the whole is.
    fn from(&self) -> Option<usize> {
        let (from, version) = self.range?;
        (version == self.version).then_some(from)
    }

    fn good(&self) -> Bytes {
        let tag = format!("ETag: \"v{}\"\r\n", self.version);
        match self.from() {
            Some(from) if from >= self.size => Bytes {
                head: format!(
                    "HTTP/1.1 416 No\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n",
                    self.size
                ),
                body: vec![],
            },
            Some(from) => self.part(&tag, from, self.size - from, self.size),
            None => self.whole(&tag, self.size),
        }
    }

    fn whole(&self, fields: &str, length: usize) -> Bytes {
        Bytes {
            head: format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n"),
            body: self.body(),
        }
    }

    fn part(&self, fields: &str, from: usize, length: usize, of: usize) -> Bytes {
        let last = of - 1;
        Bytes {
            head: format!(
                "HTTP/1.1 206 Part\r\n{fields}Content-Range: bytes {from}-{last}/{of}\r\n\
                 Content-Length: {length}\r\n\r\n"
            ),
            body: self.body().split_off(from.min(self.size)),
        }
    }

    /// Sends up to a random byte, which is not the last one.
    fn cut(&self, rng: &mut Random) -> io::Result<()> {
        let bytes = self.good();
        // Mostly in the body.
        let head = bytes.head.len() as u64;
        let bytes = bytes.all();
        let least = match rng.one_in(4) {
            true => 0,
            false => head.min(bytes.len() as u64 - 1),
        };
        let most = bytes.len() as u64 - least;
        let mut stream = self.stream;
        stream.write_all(&bytes[..(least + rng.below(most)) as usize])
    }

    /// Sends so many bytes, one at a time, and goes.
    fn drip(&self, most: usize) -> io::Result<()> {
        let mut stream = self.stream;
        stream.set_nodelay(true)?;
        let mut bytes = self.good();
        if most == usize::MAX {
            // Longer than the time of any client.
            bytes.head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n".to_owned();
            bytes.body = vec![b'x'; 1_000_000];
        }
        for byte in bytes.all().iter().take(most) {
            stream.write_all(&[*byte])?;
            thread::sleep(Duration::from_millis(1));
        }
        closes()
    }

    fn faulty(&self, rng: &mut Random) -> io::Result<()> {
        let stream = self.stream;
        let tag = format!("ETag: \"v{}\"\r\n", self.version);
        match rng.below(16) {
            0..3 => self.cut(rng).and_then(|()| resets(stream)),
            3..6 => self.cut(rng).and_then(|()| closes()),
            6 => self.cut(rng).and_then(|()| silence(stream)),
            7 => self.drip(200),
            // More is told than comes.
            8 => {
                let more = 1 + rng.below(100) as usize;
                match self.from() {
                    Some(from) => {
                        let of = self.size + more;
                        self.part(&tag, from, of - from, of).send(stream)?;
                    }
                    None => self.whole(&tag, self.size + more).send(stream)?,
                }
                closes()
            }
            // A part that is not what it says, or not what was asked for.
            9 => match self.from().filter(|from| *from < self.size) {
                Some(from) => {
                    match rng.one_in(2) {
                        true => self.part(&tag, from, self.size - from + 1, self.size),
                        false => self.part(&tag, from / 2, self.size - from / 2, self.size),
                    }
                    .send(stream)?;
                    closes()
                }
                None => {
                    let weak = format!(
                        "ETag: W/\"v{}\"
",
                        self.version
                    );
                    self.whole(&weak, self.size).send(stream)
                }
            },
            10 => say(stream, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"),
            11 => say(stream, "SSH-2.0-OpenSSH_9.2\r\n\r\n").and_then(|()| closes()),
            // A part is asked for, and one of another version comes, or there is said to be none.
            12 => match self.range {
                Some((from, _)) if from < self.size && rng.one_in(2) => {
                    let rest = self.size - from;
                    self.part(&tag, from, rest, self.size).send(stream)
                }
                Some(_) => say(stream, "HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n"),
                None => self.good().send(stream),
            },
            // The whole, whatever was asked for.
            13 => self.whole(&tag, self.size).send(stream),
            // Chunks without a last one.
            14 => {
                let head = format!("HTTP/1.1 200 OK\r\n{tag}Transfer-Encoding: chunked\r\n\r\n");
                let body = self.body();
                say(stream, &format!("{head}{:x}\r\n", body.len()))?;
                let mut to = stream;
                to.write_all(&body)?;
                say(stream, "\r\n").and_then(|()| closes())
            }
            // No version by which it could be resumed.
            _ => {
                let bytes = self.whole("", self.size).all();
                let mut to = stream;
                to.write_all(&bytes[..bytes.len() - 1])?;
                closes()
            }
        }
    }
}
