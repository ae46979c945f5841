//! Connecting to the first of several addresses that answers, after RFC 8305 ("happy eyeballs").
//!
//! An address that does not answer costs [`HEAD_START`], not the time of the whole: then the next
//! one is tried beside it. One that fails costs nothing. The first connection that is made is the
//! result, and the other sockets are closed. All of it happens on the calling tasklet, which waits
//! for all sockets at once.

use super::source::{let_the_loop_run, Failure, Source};
use super::tcp::TcpStream;
use crate::error::WaitError;
use crate::poll::shim::Events;
use crate::wait::reactor::{Reactor, Wake};
use crate::Error;
use nix::sys::socket::{connect, socket, AddressFamily, SockFlag, SockType, SockaddrStorage};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// How long an address has to answer before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// How often one address is tried while the system connects sockets to themselves.
const TRIES: u32 = 4;

/// How many addresses are tried at a time. A name server decides how many there are.
const MOST: usize = 8;

/// None of the addresses of a name could be connected to. It is inside of the [`io::Error`] of
/// [`TcpStream::connect_host`], whose kind is that of the failure that came last.
///
/// ```
/// use hardswitch::net::{ConnectError, TcpListener, TcpStream};
///
/// // A port that nobody listens at any more.
/// let gone = TcpListener::bind("127.0.0.1:0".parse().unwrap())?.local_addr()?;
/// let error = TcpStream::connect_host("127.0.0.1", gone.port(), None).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
/// let each = error.get_ref().unwrap().downcast_ref::<ConnectError>().unwrap();
/// assert_eq!(each.failures()[0].0, gone);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ConnectError {
    /// At least one.
    failures: Vec<(SocketAddr, io::Error)>,
}

impl ConnectError {
    /// The addresses and why each of them could not be connected to, in the order in which they
    /// failed.
    pub fn failures(&self) -> &[(SocketAddr, io::Error)] {
        &self.failures
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (addr, error)) in self.failures.iter().enumerate() {
            let between = if at > 0 { "; " } else { "" };
            write!(f, "{between}{addr}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {
    /// The failure that came last.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let (_, error) = self.failures.last()?;
        Some(error)
    }
}

/// Why there is no connection.
pub enum Unconnected {
    /// Each address has failed, in this order.
    Each(Vec<(SocketAddr, io::Error)>),
    /// The tasklet could not wait any longer.
    Wait(Failure),
}

impl Unconnected {
    /// Is it the addresses that have failed, or have not answered in time?
    pub fn is_of_addresses(&self) -> bool {
        match self {
            Unconnected::Each(_) => true,
            Unconnected::Wait(failure) => {
                matches!(failure, Failure::Wait(WaitError::Hindered(Error::Timeout)))
            }
        }
    }
}

impl From<Unconnected> for Failure {
    fn from(unconnected: Unconnected) -> Failure {
        let failures = match unconnected {
            Unconnected::Wait(failure) => return failure,
            Unconnected::Each(failures) => failures,
        };
        match failures.last() {
            None => io::Error::new(ErrorKind::NotFound, "the name has no address").into(),
            Some((_, last)) => io::Error::new(last.kind(), ConnectError { failures }).into(),
        }
    }
}

/// Connects to `addr`. Errors: its own, as the system has it; those of waiting.
pub fn to(addr: SocketAddr, until: Option<Instant>) -> Result<TcpStream, Failure> {
    race(vec![addr], until, begin).map_err(|unconnected| match unconnected {
        Unconnected::Each(mut failures) if failures.len() == 1 => failures.remove(0).1.into(),
        other => other.into(),
    })
}

/// Connects to the first of `addrs` that answers.
pub fn to_any(addrs: Vec<SocketAddr>, until: Option<Instant>) -> Result<TcpStream, Unconnected> {
    race(addrs, until, begin)
}

/// The families take turns, beginning with that of the first address: if one of them leads nowhere,
/// that costs one head start. Within a family the order stays.
fn interleaved(addrs: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first = addrs.first().map(SocketAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) =
        addrs.into_iter().partition(|a| Some(a.is_ipv4()) == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut all = VecDeque::new();
    loop {
        let pair = (one.next(), other.next());
        if pair == (None, None) {
            return all;
        }
        all.extend(pair.0.into_iter().chain(pair.1));
    }
}

/// A socket that is connecting, and whether it is connected already.
type Begun = io::Result<(TcpStream, bool)>;

fn begin(addr: SocketAddr) -> Begun {
    let family = if addr.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let made = match connect(fd.as_raw_fd(), &SockaddrStorage::from(addr)) {
        Ok(()) => true,
        // If the call is interrupted, the connection is still made in the background (POSIX,
        // connect).
        Err(nix::Error::EINPROGRESS | nix::Error::EINTR) => false,
        Err(error) => return Err(error.into()),
    };
    Ok((unmade(fd.into()), made))
}

/// The handle of a socket that may still be connecting.
fn unmade(io: std::net::TcpStream) -> TcpStream {
    TcpStream::from_source(Source::new(io, true))
}

/// Means that a socket is missing here, which says nothing about the address.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error
        .raw_os_error()
        .is_some_and(|number| shortages.contains(&number))
}

/// Are these the ends of a socket that is connected to itself?
///
/// If nobody listens at a port of this machine, the system may give that very port to the
/// connecting socket. TCP lets such a socket connect to itself, and it reads what it writes; the
/// next try gets another port.
fn is_itself(local: io::Result<SocketAddr>, peer: io::Result<SocketAddr>) -> bool {
    // A peer that has gone already was there, so it was another socket.
    matches!((local, peer), (Ok(local), Ok(peer)) if local == peer)
}

/// The truth about a port that has led to itself each time.
fn nobody() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNREFUSED)
}

/// Connects while the thread waits: to one address after the other. `once` tries one. Errors: the
/// last of the addresses'; an error of the wait ends it, since whose time is up must not try
/// another address.
#[cfg(any(feature = "http", test))]
pub fn blocking(
    addrs: Vec<SocketAddr>,
    mut once: impl FnMut(SocketAddr) -> Result<std::net::TcpStream, Failure>,
) -> Result<std::net::TcpStream, Failure> {
    let mut error = io::Error::new(ErrorKind::NotFound, "the name has no address");
    'addrs: for addr in addrs {
        for _ in 0..TRIES {
            match once(addr) {
                Ok(stream) if is_itself(stream.local_addr(), stream.peer_addr()) => {}
                Err(Failure::Socket(e)) => {
                    error = e;
                    continue 'addrs;
                }
                answer => return answer,
            }
        }
        error = nobody();
    }
    Err(error.into())
}

/// One address that is being tried. The socket is closed with it.
struct Attempt {
    addr: SocketAddr,
    stream: TcpStream,
    made: bool,
    tries: u32,
}

impl Attempt {
    fn begin(addr: SocketAddr, begin: &impl Fn(SocketAddr) -> Begun) -> io::Result<Attempt> {
        let (stream, made) = begin(addr)?;
        Ok(Attempt {
            addr,
            stream,
            made,
            tries: 1,
        })
    }

    /// Is it connected? Tries again if it was [connected to itself](is_itself). Error: the address
    /// fails; for a port that has led to itself each time [`nobody`].
    fn is_made(&mut self, begin: &impl Fn(SocketAddr) -> Begun) -> io::Result<bool> {
        loop {
            if !self.made {
                if let Some(error) = self.stream.take_error()? {
                    return Err(error);
                }
                // The wake-up may have been too early, so test whether the connection is there.
                match self.stream.peer_addr() {
                    Err(e) if e.kind() == ErrorKind::NotConnected => return Ok(false),
                    Err(e) => return Err(e),
                    Ok(_) => self.made = true,
                }
            }
            if !is_itself(self.stream.local_addr(), self.stream.peer_addr()) {
                return Ok(true);
            }
            if self.tries == TRIES {
                return Err(nobody());
            }
            self.tries += 1;
            (self.stream, self.made) = begin(self.addr)?;
        }
    }
}

/// Connects to the first of `addrs` that answers; `begin` makes the sockets.
fn race(
    addrs: Vec<SocketAddr>,
    until: Option<Instant>,
    begin: impl Fn(SocketAddr) -> Begun,
) -> Result<TcpStream, Unconnected> {
    let thrown = |error| Unconnected::Wait(WaitError::Thrown(error).into());
    // Before anything else, as before every wait: who only ever connects at once would not be told.
    crate::thread::raise().map_err(thrown)?;
    let mut left = interleaved(addrs);
    let mut running: Vec<Attempt> = Vec::new();
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    // When the next address is tried at the latest; `None`: when one that runs has ended.
    let mut next = None;
    let mut waited = false;
    loop {
        while running.is_empty()
            || running.len() < MOST && next.is_some_and(|next| next <= Instant::now())
        {
            let Some(addr) = left.pop_front() else { break };
            if until.is_some_and(|until| until <= Instant::now()) {
                return Err(Unconnected::Wait(late()));
            }
            match Attempt::begin(addr, &begin) {
                Ok(attempt) => {
                    running.push(attempt);
                    next = Instant::now().checked_add(HEAD_START);
                }
                Err(error) if is_shortage(&error) && !running.is_empty() => {
                    left.push_front(addr);
                    next = None;
                }
                Err(error) => failures.push((addr, error)),
            }
        }
        if running.is_empty() {
            if !waited {
                // Who tries again and again what fails at once must let others run.
                match let_the_loop_run() {
                    Err(WaitError::Thrown(error)) => return Err(thrown(error)),
                    Ok(()) | Err(WaitError::Hindered(_)) => {}
                }
            }
            return Err(Unconnected::Each(failures));
        }
        if !running.iter().any(|attempt| attempt.made) {
            let start = next.filter(|_| !left.is_empty() && running.len() < MOST);
            wait(&running, until, start).map_err(Unconnected::Wait)?;
            waited = true;
        }
        let mut at = 0;
        while let Some(attempt) = running.get_mut(at) {
            match attempt.is_made(&begin) {
                Ok(true) => return Ok(running.swap_remove(at).stream),
                Ok(false) => at += 1,
                Err(error) => {
                    failures.push((running.remove(at).addr, error));
                    next = Some(Instant::now());
                }
            }
        }
    }
}

/// Waits until one of the sockets may be connected or have failed, or until it is `next`. Errors:
/// `Timeout` at `until`; those of waiting.
fn wait(running: &[Attempt], until: Option<Instant>, next: Option<Instant>) -> Result<(), Failure> {
    let is_over = || until.is_some_and(|until| until <= Instant::now());
    // A tasklet that was woken in vain, again and again, has no more time for that than for
    // waiting.
    if is_over() {
        return Err(late());
    }
    let reactor = Reactor::current().map_err(WaitError::Hindered)?;
    let fds = running.iter().map(|attempt| attempt.stream.as_raw_fd());
    let deadline = until.into_iter().chain(next).min();
    let registered = reactor.register_all(fds, Events::OUT, deadline);
    match reactor.block(registered.waiter())? {
        Wake::TimedOut if is_over() => Err(late()),
        // If somebody else has closed one of the sockets, its address has failed.
        Wake::Ready | Wake::TimedOut | Wake::Closed | Wake::Bad => Ok(()),
    }
}

fn late() -> Failure {
    WaitError::Hindered(Error::Timeout).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    /// An address at which nobody listens.
    fn nobody_listens() -> SocketAddr {
        listener().1
    }

    fn unconnected() -> OwnedFd {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap()
    }

    /// A socket that is connected to itself.
    fn narcissus() -> std::net::TcpStream {
        let fd = unconnected();
        let any = SockaddrStorage::from("127.0.0.1:0".parse::<SocketAddr>().unwrap());
        nix::sys::socket::bind(fd.as_raw_fd(), &any).unwrap();
        let stream = std::net::TcpStream::from(fd);
        let own = SockaddrStorage::from(stream.local_addr().unwrap());
        // It is connected at once, or in the background.
        let _ = connect(stream.as_raw_fd(), &own);
        let start = Instant::now();
        while stream.peer_addr().is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "no such socket");
        }
        stream
    }

    #[test]
    fn the_families_take_turns() {
        let order = |texts: &[&str]| -> Vec<String> {
            let all = interleaved(addrs(texts));
            all.iter().map(SocketAddr::to_string).collect()
        };
        let mixed = ["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"];
        assert_eq!(
            order(&mixed),
            ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]
        );
        let one = ["1.0.0.1:1", "1.0.0.3:1", "[::1]:1", "1.0.0.2:1"];
        assert_eq!(
            order(&one),
            ["1.0.0.1:1", "[::1]:1", "1.0.0.3:1", "1.0.0.2:1"]
        );
        assert!(interleaved(vec![]).is_empty());
    }

    #[test]
    fn a_connection_to_oneself_is_none() {
        let (_listener, addr) = listener();
        for made in [true, false] {
            let tries = Cell::new(0);
            let connected = race(vec![addr], None, |addr| {
                tries.set(tries.get() + 1);
                match tries.get() {
                    1 => Ok((unmade(narcissus()), made)),
                    _ => super::begin(addr),
                }
            });
            let stream = connected.ok().expect("the second try is a good one");
            assert_eq!((stream.peer_addr().unwrap(), tries.get()), (addr, 2));
            let Err(Unconnected::Each(failures)) =
                race(vec![addr], None, |_| Ok((unmade(narcissus()), made)))
            else {
                panic!("there is nobody else");
            };
            assert_eq!(failures[0].1.kind(), ErrorKind::ConnectionRefused);
        }
        // The same where the thread waits.
        let mut tries = 0;
        let connected = blocking(vec![addr], |addr| {
            tries += 1;
            match tries {
                1 => Ok(narcissus()),
                _ => Ok(std::net::TcpStream::connect(addr)?),
            }
        });
        let stream = connected.ok().expect("the second try is a good one");
        assert_eq!((stream.peer_addr().unwrap(), tries), (addr, 2));
        let Err(failure) = blocking(vec![addr], |_| Ok(narcissus())) else {
            panic!("there is nobody else");
        };
        assert_eq!(
            io::Error::from(failure).kind(),
            ErrorKind::ConnectionRefused
        );
    }

    #[test]
    fn no_more_than_a_few_addresses_are_tried_at_a_time() {
        let (_listener, good) = listener();
        let silent = addrs(&["127.0.0.1:1"; 20]);
        let all = silent.into_iter().chain([good]).collect();
        let (calls, copies) = (Cell::new(0), RefCell::new(vec![]));
        let until = Instant::now() + HEAD_START * 12;
        let connected = race(all, Some(until), |addr| {
            assert_ne!(addr, good);
            calls.set(calls.get() + 1);
            let fd = unconnected();
            copies.borrow_mut().push(fd.try_clone()?);
            Ok((unmade(fd.into()), false))
        });
        let Err(Unconnected::Wait(failure)) = connected else {
            panic!("none of them answers");
        };
        assert_eq!(io::Error::from(failure).kind(), ErrorKind::TimedOut);
        assert_eq!(calls.get(), MOST);
    }

    #[test]
    fn an_address_that_there_was_no_descriptor_for_is_tried_when_one_is_free() {
        let (_listener, good) = listener();
        let (silent, refuses) = (nobody_listens(), nobody_listens());
        let (copy, calls) = (RefCell::new(None), RefCell::new(vec![]));
        let start = Instant::now();
        let connected = race(vec![silent, good], None, |addr| {
            calls.borrow_mut().push(addr);
            if addr == silent {
                let fd = unconnected();
                *copy.borrow_mut() = Some(fd.try_clone()?);
                return Ok((unmade(fd.into()), false));
            }
            if calls.borrow().len() > 2 {
                return super::begin(addr);
            }
            // No descriptor is left until the first attempt has failed, which it begins to now.
            let first = copy.borrow();
            let number = first.as_ref().unwrap().as_raw_fd();
            let _ = connect(number, &SockaddrStorage::from(refuses));
            Err(io::Error::from_raw_os_error(libc::EMFILE))
        });
        assert_eq!(connected.ok().unwrap().peer_addr().unwrap(), good);
        assert_eq!(*calls.borrow(), [silent, good, good]);
        assert!(start.elapsed() >= HEAD_START);
        // If nothing else is under way, it is the address' failure.
        let none = |_| Err(io::Error::from_raw_os_error(libc::EMFILE));
        let Err(Unconnected::Each(failures)) = race(vec![good, silent], None, none) else {
            panic!("there is no descriptor");
        };
        let all: Vec<_> = failures.iter().map(|(addr, _)| *addr).collect();
        assert_eq!(all, [good, silent]);
    }
}
