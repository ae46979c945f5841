//! A herd: a million parked tasks of one implementation, in a process of its own.
//!
//! The process speaks lines: it says `ready`, is told `park`, says `parked`, is told `wake`,
//! says `woken`, is told `end`. The peers' programs speak the same. `weigh.rs` measures it.

use std::io::{self, BufRead};
use std::process::Command;

/// First argument of a process that holds a herd.
pub const CHILD: &str = "--herd-child";

/// Tasks of one implementation that wait for a message each.
pub trait Herd {
    /// Starts so many tasks and returns when all of them are blocked.
    fn park(&mut self, tasks: u64);
    /// Sends to all of them, in the order in which they blocked, and returns when all have ended.
    fn wake(&mut self);
}

/// How to start the process that holds a herd of an implementation.
pub struct Shepherd {
    pub implementation: &'static str,
    /// The most tasks that it can have on an ordinary machine.
    pub most: u64,
    pub note: Option<String>,
    pub command: Command,
}

/// Reads a line that begins with `word` and returns the rest of it.
pub fn expect(output: &mut impl BufRead, word: &str) -> io::Result<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    match line.trim_end().strip_prefix(word) {
        Some(rest) => Ok(rest.trim().to_string()),
        None => Err(io::Error::other(format!(
            "it said {line:?} where {word:?} was due"
        ))),
    }
}
