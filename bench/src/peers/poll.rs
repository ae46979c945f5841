//! `poll` over descriptors of which none is ready: through the shim, and the system's call itself.

use crate::cases::Case;
use crate::connections::descriptors;
use crate::offer::{Able, Timed};
use hardswitch::net::shim::{Events, PollFd};
use std::hint::black_box;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Sockets without anything to read.
fn sockets(count: usize) -> Result<Vec<UdpSocket>, String> {
    descriptors(count)?;
    let sockets = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0"));
    sockets.collect::<Result<_, _>>().map_err(|e| e.to_string())
}

/// Calls `poll` so many times for `count` sockets.
fn timed<F>(case: Case, poll: fn(&mut [F]) -> usize, entry: fn(i32) -> F) -> Timed
where
    F: 'static,
{
    let Case::PollShim(count) = case else {
        return None;
    };
    let sockets = match sockets(count) {
        Ok(sockets) => sockets,
        Err(why) => return Some(Err(why)),
    };
    let mut fds: Vec<F> = sockets.iter().map(|s| entry(s.as_raw_fd())).collect();
    Some(Ok(Able::new(move |operations| {
        assert_eq!(sockets.len(), fds.len()); // they are open until the end
        let start = Instant::now();
        for _ in 0..operations {
            assert_eq!(poll(black_box(&mut fds)), 0);
        }
        start.elapsed()
    })))
}

/// Through the shim, over the system's calls.
pub fn timed_shim(case: Case) -> Timed {
    let poll = |fds: &mut [PollFd]| hardswitch::net::poll(fds, Some(Duration::ZERO)).unwrap();
    timed(case, poll, |fd| PollFd::new(fd, Events::IN))
}

/// The system's call.
pub fn timed_raw(case: Case) -> Timed {
    let poll = |fds: &mut [libc::pollfd]| {
        // SAFETY: the array is live and has so many entries.
        let n = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 0) };
        usize::try_from(n).expect("it does not fail")
    };
    timed(case, poll, |fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    })
}
