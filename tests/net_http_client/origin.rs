//! A small origin server: requests are parsed, answers are what a test says, faults included.

use super::common::reset_when_closed;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as the server has read it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which request of its connection this is, from 0 on.
    pub nth: usize,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|field| field.0.eq_ignore_ascii_case(name));
        field.map(|field| field.1.as_str())
    }
}

/// What happens to the connection after an answer.
pub enum Then {
    Keep,
    Close,
    Reset,
}

/// A server that runs until it is dropped.
pub struct Origin {
    pub url: String,
    pub connections: Arc<AtomicUsize>,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    over: Arc<AtomicBool>,
    accepts: Option<thread::JoinHandle<()>>,
}

type Answer = dyn Fn(&Asked, &mut TcpStream) -> Then + Send + Sync;

impl Origin {
    pub fn new(answer: impl Fn(&Asked, &mut TcpStream) -> Then + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let answer: Arc<Answer> = Arc::new(answer);
        let (count, requests, end) = (connections.clone(), asked.clone(), over.clone());
        let accepts = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, requests) = (answer.clone(), requests.clone());
                thread::spawn(move || serve(stream, &*answer, &requests));
            }
        });
        Origin {
            url: format!("http://{at}"),
            connections,
            asked,
            over,
            accepts: Some(accepts),
        }
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.url["http://".len()..]);
        self.accepts.take().unwrap().join().unwrap();
    }
}

/// Clients may give up early: errors of the connection are theirs.
fn serve(stream: TcpStream, answer: &Answer, asked: &Mutex<Vec<Asked>>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    for nth in 0.. {
        let Some(request) = read(&mut reader, nth) else {
            return;
        };
        asked.lock().unwrap().push(request.clone());
        match answer(&request, &mut writer) {
            Then::Keep => {}
            Then::Close => return,
            Then::Reset => return reset_when_closed(&writer),
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>, nth: usize) -> Option<Asked> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.strip_suffix("\r\n")?.to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut fields = Vec::new();
    loop {
        let field = line()?;
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(": ")?;
        fields.push((name.to_owned(), value.to_owned()));
    }
    let mut asked = Asked {
        method,
        target,
        fields,
        body: Vec::new(),
        nth,
    };
    if asked.field("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            assert!(chunk.ends_with(b"\r\n"), "a chunk's end");
            asked.body.extend(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = asked.field("content-length") {
        asked.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut asked.body).ok()?;
    }
    Some(asked)
}

/// Writes an answer with a length.
pub fn answer(stream: &mut TcpStream, status: &str, fields: &str, body: &[u8]) -> Then {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
    Then::Keep
}
