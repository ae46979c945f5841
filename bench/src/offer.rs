//! What a peer answers when it is asked for a case.

use crate::batch::Batch;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

/// Bytes that a downloader of this program reads at once.
const BUFFER: usize = 128 * 1024;

/// An implementation that can do a timed case.
pub struct Offer {
    pub implementation: &'static str,
    pub note: Option<String>,
    pub batch: Batch,
}

/// An implementation that could, if it were here.
pub struct Skipped {
    pub implementation: &'static str,
    pub why: String,
}

/// A peer's answer to a timed case: nothing to do with it, or able, or it would be if
/// something were not missing.
pub type Timed = Option<Result<Able, String>>;

pub struct Able {
    pub batch: Batch,
    pub note: Option<String>,
}

impl Able {
    pub fn new(batch: impl FnMut(u64) -> Duration + 'static) -> Able {
        Able {
            batch: Box::new(batch),
            note: None,
        }
    }

    /// Keeps something alive for as long as it is measured.
    pub fn keeping(self, kept: impl Sized + 'static) -> Able {
        let mut batch = self.batch;
        let keeping = move |operations| {
            let _kept = &kept;
            batch(operations)
        };
        Able {
            batch: Box::new(keeping),
            ..self
        }
    }

    /// What a reader of its row must know.
    pub fn noting(self, note: impl Into<String>) -> Able {
        Able {
            note: Some(note.into()),
            ..self
        }
    }
}

/// Runs the tasks while the function runs on another thread.
pub type Serve = Box<dyn FnOnce(Box<dyn FnOnce() + Send>)>;

/// How an implementation holds idle connections.
pub struct Idler {
    pub implementation: &'static str,
    pub note: &'static str,
    pub count: usize,
    /// Has a task wait on each of these, and returns when all do.
    pub hold: fn(&mut Vec<TcpStream>) -> Serve,
}

/// How an implementation downloads.
pub struct Downloader {
    pub implementation: &'static str,
    pub note: &'static str,
    pub place: DownloadPlace,
}

pub enum DownloadPlace {
    /// In a process of this program.
    Here(fn(String, Sink) -> io::Result<()>),
    /// By another program; or the reason why there is none.
    There(fn(&str) -> Result<Command, String>),
}

/// Where a body goes.
pub struct Sink {
    pub file: File,
    pub expected: u64,
}

impl Sink {
    /// Takes all of it. Errors: it has another length.
    pub fn drain(mut self, body: &mut impl Read) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        let mut bytes = 0;
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    self.file.write_all(&buffer[..n])?;
                    bytes += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match bytes == self.expected {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "{bytes} bytes came, not {}",
                self.expected
            ))),
        }
    }
}
