//! The watch over a request's times: how long each wait may take, and whether the answer comes fast
//! enough.

use super::http_error::{is_time_up, HttpError};
use super::limits::{Limits, Speed};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// The deadline of something that begins now and may take the shorter of these times.
pub fn until(times: [Option<Duration>; 2]) -> Option<Instant> {
    let time = times.into_iter().flatten().min()?;
    // A time beyond the range of the clock is no limit.
    Instant::now().checked_add(time)
}

/// How long the whole request may still take. Error: `TooSlow`, once that time is up.
pub fn left(until: Option<Instant>) -> Result<Option<Duration>, HttpError> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    match left {
        Some(Duration::ZERO) => Err(HttpError::TooSlow("the time for the whole of it is up")),
        left => Ok(left),
    }
}

/// How fast the answer must come, and how fast it does come.
pub struct Pace<S> {
    /// The deadline of the whole request.
    until: Option<Instant>,
    least: Option<Speed>,
    /// Time spent waiting for the next `least.bytes`, and how many of them have come.
    waited: Duration,
    came: u64,
    /// How long a read or a write may wait, and how that is set for the stream.
    io: Option<Duration>,
    set_wait: Option<SetWait<S>>,
    /// The limit that was set last.
    told: Option<Option<Duration>>,
}

pub type SetWait<S> = fn(&S, Option<Duration>) -> io::Result<()>;

impl<S> Pace<S> {
    pub fn new(
        limits: Limits,
        until: Option<Instant>,
        io: Option<Duration>,
        set_wait: Option<SetWait<S>>,
    ) -> Pace<S> {
        Pace {
            until,
            least: limits.least,
            waited: Duration::ZERO,
            came: 0,
            io,
            set_wait,
            told: None,
        }
    }

    /// Sets how long the stream's next wait may take. Some systems take a time of less than a
    /// millisecond for no limit.
    fn tell(
        &mut self,
        stream: &S,
        rest: Option<Duration>,
        left: Option<Duration>,
    ) -> Result<(), HttpError> {
        let wait = [rest, left].into_iter().flatten().min();
        let wait = wait.map(|wait| wait.max(Duration::from_millis(1)));
        if let Some(set_wait) = self.set_wait.filter(|_| self.told != Some(wait)) {
            set_wait(stream, wait)?;
            self.told = Some(wait);
        }
        Ok(())
    }

    /// How long the next wait may take, by the limits for the whole answer. Error: `TooSlow`.
    fn rest(&self, reads: bool) -> Result<Option<Duration>, HttpError> {
        let left = left(self.until)?;
        let pause = self
            .least
            .filter(|_| reads)
            .map(|least| least.time.saturating_sub(self.waited));
        if pause == Some(Duration::ZERO) {
            return Err(HttpError::TooSlow("fewer bytes came than must"));
        }
        Ok([left, pause].into_iter().flatten().min())
    }

    /// Does `op` on the stream, which returns a number of bytes, and checks the time.
    fn attempt(
        &mut self,
        stream: &mut S,
        reads: bool,
        mut op: impl FnMut(&mut S) -> io::Result<usize>,
    ) -> Result<usize, HttpError> {
        let mut left = self.io;
        loop {
            let rest = self.rest(reads)?;
            self.tell(stream, rest, left)?;
            let began = rest.or(left).map(|_| Instant::now());
            let answer = op(stream);
            let took = began.map_or(Duration::ZERO, |began| began.elapsed());
            if reads {
                self.waited += took;
                self.came += *answer.as_ref().unwrap_or(&0) as u64;
                if self.least.is_some_and(|least| self.came >= least.bytes) {
                    (self.waited, self.came) = (Duration::ZERO, 0);
                }
            }
            left = left.map(|left| left.saturating_sub(took));
            match answer {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {
                    if left == Some(Duration::ZERO) {
                        self.rest(reads)?;
                        return Err(HttpError::Io(ErrorKind::TimedOut.into()));
                    }
                }
                Err(e) if is_time_up(&e) => {
                    self.rest(reads)?;
                    // Only this wait had less time; or it has used up all the time there is.
                    let cut = rest.is_some() && self.set_wait.is_some();
                    if !cut || left == Some(Duration::ZERO) {
                        return Err(HttpError::Io(in_time(e)));
                    }
                }
                Err(e) => return Err(HttpError::Io(e)),
            }
        }
    }
}

impl<S: Read> Pace<S> {
    pub fn read(&mut self, stream: &mut S, out: &mut [u8]) -> Result<usize, HttpError> {
        self.attempt(stream, true, |stream| stream.read(out))
    }
}

impl<S: Write> Pace<S> {
    pub fn write(&mut self, stream: &mut S, mut bytes: &[u8]) -> Result<(), HttpError> {
        while !bytes.is_empty() {
            match self.attempt(stream, false, |stream| stream.write(bytes))? {
                0 => return Err(HttpError::Io(ErrorKind::WriteZero.into())),
                n => bytes = &bytes[n..],
            }
        }
        self.attempt(stream, false, |stream| stream.flush().map(|()| 0))?;
        Ok(())
    }
}

/// The standard library's sockets call a timeout `WouldBlock`.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}
