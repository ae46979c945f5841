//! The backend polls: no code of a user switches or waits meanwhile, and entries that it does not
//! accept all at once are asked for in parts.

use super::Reactor;
use crate::poll::errno::Errno;
use crate::poll::shim::{self, Backend, Events, PollFd};
use std::time::{Duration, Instant};

/// Exists while the backend polls. The thread may count as asleep, so a user's backend must not
/// switch, wait or pump.
pub struct Polling<'a> {
    reactor: &'a Reactor,
    backend: Option<Box<dyn Backend>>,
    /// Takes the backend if it was replaced meanwhile. It is not dropped during the poll, since its
    /// destructor may switch or wait, or panic.
    replaced: &'a mut Option<Box<dyn Backend>>,
    _refuses: Option<(crate::guard::SwitchTrap, crate::guard::BlockTrap)>,
}

impl<'a> Polling<'a> {
    pub fn begin(reactor: &'a Reactor, replaced: &'a mut Option<Box<dyn Backend>>) -> Polling<'a> {
        let refuses = reactor.foreign.get();
        reactor.polling.set(true);
        Polling {
            reactor,
            backend: reactor.backend.take(),
            replaced,
            _refuses: refuses.then(|| (crate::switch_trapped(), crate::block_trap())),
        }
    }

    pub fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let backend = self.backend.as_mut().expect("it is not polling yet");
        let backend = &mut **backend;
        match shim::poll(backend, fds, timeout) {
            Err(error) if is_about_entries(error) => poll_in_parts(backend, fds, timeout),
            answer => answer,
        }
    }
}

/// Does this error of a `poll` mean that it does not accept these entries, either all of them
/// together or one of them?
fn is_about_entries(error: Errno) -> bool {
    matches!(error, Errno::EINVAL | Errno::EBADF)
}

/// How long it takes until a socket is noticed when `poll` does not accept all of them at once.
const PART_WAIT: Duration = Duration::from_millis(5);

/// Polls entries that the system does not accept in one call: there are more than a process may
/// have descriptors, or one of them is not open. The system is asked about parts, down to single
/// entries, and waits only for the first entry.
///
/// Error: it does not accept that first one, by which the thread is woken.
fn poll_in_parts(
    backend: &mut dyn Backend,
    fds: &mut [PollFd],
    timeout: Option<Duration>,
) -> Result<usize, Errno> {
    let began = Instant::now();
    loop {
        let ready = ask_parts(backend, fds)?;
        if fds[0].revents.contains(Events::NVAL) {
            return Err(Errno::EBADF);
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
        if ready > 0 || left == Some(Duration::ZERO) {
            return Ok(ready);
        }
        let wait = left.unwrap_or(PART_WAIT).min(PART_WAIT);
        if shim::poll(backend, &mut fds[..1], Some(wait))? > 0 {
            return Ok(1);
        }
    }
}

/// The present events of these entries. An entry that is not accepted by itself is not an open
/// descriptor.
fn ask_parts(backend: &mut dyn Backend, fds: &mut [PollFd]) -> Result<usize, Errno> {
    match shim::poll(backend, fds, Some(Duration::ZERO)) {
        Err(error) if is_about_entries(error) => match fds {
            [] => Err(error),
            [one] => {
                one.revents = Events::NVAL;
                Ok(1)
            }
            many => {
                let (some, others) = many.split_at_mut(many.len() / 2);
                Ok(ask_parts(backend, some)? + ask_parts(backend, others)?)
            }
        },
        answer => answer,
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        let (mine, newer) = (self.backend.take(), self.reactor.backend.take());
        if newer.is_some() {
            *self.replaced = mine;
            self.reactor.backend.set(newer);
        } else {
            self.reactor.backend.set(mine);
        }
        self.reactor.polling.set(false);
    }
}
