//! Connections that wait for the next request to the same server.

use super::settings::ClientSettings;
use super::url::Url;
use crate::wait::fork::forks;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Read by who uses a list of any client, and written by who forks: so no list is in use then.
static FORKING: RwLock<()> = RwLock::new(());

/// No thread uses a list of connections while this lives. Who does waits for no other lock.
pub struct Held {
    _forking: RwLockWriteGuard<'static, ()>,
}

/// To be called before a fork. In the child all lists are whole, and none is locked.
pub fn hold() -> Held {
    let _forking = FORKING.write().unwrap_or_else(PoisonError::into_inner);
    Held { _forking }
}

/// Connections without a request, of a [`Client`](super::Client). Any thread may take one: they
/// are registered nowhere.
#[derive(Default)]
pub struct Idle {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    /// The process that they belong to: that after so many forks.
    forks: u32,
    /// The youngest is the last one.
    kept: Vec<Kept>,
}

struct Kept {
    host: String,
    port: u16,
    since: Instant,
    stream: TcpStream,
}

impl Kept {
    /// May it be kept still?
    fn is_young(&self, time: Duration) -> bool {
        self.since.elapsed() < time
    }

    /// Its end, or bytes that nobody has asked for, would be there now.
    fn is_quiet(&self) -> bool {
        let there = self.stream.peek(&mut [0]);
        there.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

impl Idle {
    /// Does `f` with the connections, without those of the process that was forked: it may use its
    /// own at any time. Here they are closed, which ends none of them there.
    fn with<R>(&self, f: impl FnOnce(&mut Vec<Kept>) -> R) -> R {
        (crate::core::above::above().watch_forks)();
        let _no_fork = FORKING.read().unwrap_or_else(PoisonError::into_inner);
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.forks != forks() {
            list.kept.clear();
            list.forks = forks();
        }
        f(&mut list.kept)
    }

    /// Takes the youngest connection to the server of `url` that its peer has not ended.
    pub fn take(&self, url: &Url, time: Duration) -> Option<TcpStream> {
        self.with(|all| loop {
            all.retain(|kept| kept.is_young(time));
            let at = all
                .iter()
                .rposition(|kept| kept.host == url.host() && kept.port == url.port())?;
            let kept = all.remove(at);
            if kept.is_quiet() {
                return Some(kept.stream);
            }
        })
    }

    /// Keeps a connection. Those that have ended go, and beyond the limit the oldest.
    pub fn put(&self, url: &Url, stream: TcpStream, settings: &ClientSettings) {
        self.with(|all| {
            all.retain(|kept| kept.is_young(settings.idle_time) && kept.is_quiet());
            all.push(Kept {
                host: url.host().to_owned(),
                port: url.port(),
                since: Instant::now(),
                stream,
            });
            let surplus = all.len().saturating_sub(settings.idle);
            all.drain(..surplus);
        });
    }

    /// How many there are that can be used.
    pub fn len(&self, time: Duration) -> usize {
        self.with(|all| {
            all.retain(|kept| kept.is_young(time) && kept.is_quiet());
            all.len()
        })
    }
}
