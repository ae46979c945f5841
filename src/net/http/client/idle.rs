//! Connections that wait for the next request to the same server.

use super::super::url::Url;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Connections without a request, of a [`Client`](super::Client). Any thread may take one: they
/// are registered nowhere.
#[derive(Default)]
pub struct Idle {
    /// The youngest is the last one.
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    host: String,
    port: u16,
    since: Instant,
    stream: TcpStream,
}

impl Idle {
    /// Takes the youngest connection to the server of `url` that its peer has not ended.
    pub fn take(&self, url: &Url, time: Duration) -> Option<TcpStream> {
        loop {
            let kept = {
                let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                all.retain(|kept| kept.since.elapsed() < time);
                let at = all
                    .iter()
                    .rposition(|kept| kept.host == url.host() && kept.port == url.port())?;
                all.remove(at)
            };
            // Its end, or bytes that nobody has asked for, would be there now.
            let idle = kept.stream.peek(&mut [0]);
            if idle.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                return Some(kept.stream);
            }
        }
    }

    /// Keeps a connection. Beyond `most`, the oldest is closed.
    pub fn put(&self, url: &Url, stream: TcpStream, most: usize) {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Kept {
            host: url.host().to_owned(),
            port: url.port(),
            since: Instant::now(),
            stream,
        });
        let surplus = all.len().saturating_sub(most);
        all.drain(..surplus);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}
