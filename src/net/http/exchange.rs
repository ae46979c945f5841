//! One request and its answer over one connection: hyper is polled, and this waits.

use super::error::HttpError;
use super::settings::{Limits, Timeouts};
use super::upload::{Outgoing, Reader, Upload};
use super::wire::{is_late, Line, Socket, Wire};
use crate::poll::shim::Events;
use crate::wait::fork::forks;
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// The largest piece of a body that is read at once.
const PIECE: usize = 64 * 1024;
/// Fields that one head may have. Errors and docs/net.md name the number.
const FIELDS: usize = 1024;

/// Set when hyper has to be polled again, without a wait.
#[derive(Default)]
struct Again(AtomicBool);

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the parts of a request may take.
#[derive(Clone, Copy)]
pub struct Allowed {
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// The deadline of the whole request.
    pub until: Option<Instant>,
}

/// A connection in use.
pub struct Exchange {
    connection: Connection<Wire, Outgoing>,
    /// It must not be polled any more.
    over: bool,
    sender: SendRequest<Outgoing>,
    line: Rc<Line>,
    again: Arc<Again>,
    waker: Waker,
    /// Where the rest of the request's body comes from.
    reader: Option<Reader>,
    interim: Arc<AtomicUsize>,
    allowed: Allowed,
    /// Time spent waiting for the next bytes of a least speed, and the bytes that had come before.
    waited: Duration,
    counted: u64,
}

impl Exchange {
    pub fn new(socket: Socket, allowed: Allowed) -> Result<Exchange, HttpError> {
        let line = Rc::new(Line::new(socket, allowed.limits.head));
        let mut builder = Builder::new();
        builder
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_headers(FIELDS)
            .max_header_size(allowed.limits.head)
            .max_buf_size(PIECE.max(allowed.limits.head));
        let again = Arc::new(Again::default());
        let waker = Waker::from(again.clone());
        let begun = pin!(builder.handshake(Wire(line.clone())));
        // It does nothing that waits.
        let (sender, connection) = match begun.poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(begun)) => begun,
            Poll::Ready(Err(error)) => return Err(internal(words(&error))),
            Poll::Pending => return Err(internal("the connection does not begin".into())),
        };
        Ok(Exchange {
            connection,
            over: false,
            sender,
            line,
            again,
            waker,
            reader: None,
            interim: Arc::default(),
            allowed,
            waited: Duration::ZERO,
            counted: 0,
        })
    }

    /// Has a byte of an answer come?
    pub fn was_answered(&self) -> bool {
        self.line.came.get() > 0
    }

    /// Is the request, or part of it, still to be sent?
    pub fn is_sending(&self) -> bool {
        !self.was_answered()
            && (self.line.sent.get() == 0
                || self.line.wanted.get().contains(Events::OUT)
                || self.line.write_error.borrow().is_some()
                || self.reader.is_some())
    }

    /// Sends a request, and reads the head of its answer.
    pub fn send(
        &mut self,
        request: Request<()>,
        upload: Upload,
    ) -> Result<Response<Incoming>, HttpError> {
        let body = match upload {
            Upload::Nothing => Outgoing::Bytes(None),
            Upload::Bytes(bytes) => Outgoing::Bytes(Some(bytes)),
            Upload::Reader(reader) => {
                let (line, length) = (self.line.clone(), reader.length());
                self.reader = Some(reader);
                Outgoing::Pieces { line, length }
            }
        };
        let mut request = request.map(|()| body);
        let interim = self.interim.clone();
        hyper::ext::on_informational(&mut request, move |_| {
            interim.fetch_add(1, Ordering::Relaxed);
        });
        let mut answer = pin!(self.sender.send_request(request));
        let answer = self.drive(|cx| answer.as_mut().poll(cx))?;
        match answer {
            Ok(answer) => {
                self.check_interim()?;
                self.line.head_left.set(None);
                self.line.too_long.set(false);
                Ok(answer)
            }
            Err(error) => Err(self.failure(&error, HttpError::ShortHead)),
        }
    }

    /// The next piece of the body; `None` at its end. `short`: the error if the connection ends
    /// before.
    pub fn next(
        &mut self,
        body: &mut Incoming,
        short: HttpError,
    ) -> Result<Option<Bytes>, HttpError> {
        loop {
            let mut body = Pin::new(&mut *body);
            match self.drive(|cx| body.as_mut().poll_frame(cx))? {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) if piece.is_empty() => {}
                    Ok(piece) => return Ok(Some(piece)),
                    // The fields after a chunked body.
                    Err(_) => {}
                },
                Some(Err(error)) => return Err(self.failure(&error, short)),
                // The body is whole: hyper gives one that is not an error. A connection that was
                // lost since then is nothing to it.
                None => return Ok(None),
            }
        }
    }

    /// The deadline of the whole request.
    #[cfg(feature = "gzip")]
    pub fn until(&self) -> Option<Instant> {
        self.allowed.until
    }

    /// The connection, if the exchange is over and another one can follow.
    pub fn finish(mut self) -> Option<std::net::TcpStream> {
        // One that is older than a fork is the parent's as well, which may keep it.
        if self.line.forks != forks() {
            return None;
        }
        for _ in 0..4 {
            self.again.0.store(false, Ordering::Relaxed);
            let mut cx = Context::from_waker(&self.waker);
            if self.over || self.connection.poll_without_shutdown(&mut cx).is_ready() {
                return None;
            }
            match self.sender.poll_ready(&mut cx) {
                Poll::Ready(Ok(())) => break,
                Poll::Pending if self.again.0.load(Ordering::Relaxed) => {}
                _ => return None,
            }
        }
        if !self.sender.is_ready() || self.line.write_error.borrow().is_some() {
            return None;
        }
        let parts = self.connection.into_parts();
        drop(parts.io);
        // What came after the answer belongs to none.
        if !parts.read_buf.is_empty() {
            return None;
        }
        Rc::into_inner(self.line)?.socket.release()
    }

    /// Polls `step`, and the connection, until `step` is done, and waits in between.
    fn drive<R>(
        &mut self,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<R>,
    ) -> Result<R, HttpError> {
        let mut left = self.allowed.timeouts.io;
        self.line.socket.raise()?;
        loop {
            // Also if bytes are always there, so that it never has to wait.
            time_left(self.allowed.until)?;
            let moved = self.moved();
            self.again.0.store(false, Ordering::Relaxed);
            self.line.wanted.set(Events::NONE);
            let mut cx = Context::from_waker(&self.waker);
            if !self.over {
                // Its error, if it has one, is told to `step` as well.
                self.over = self.connection.poll_without_shutdown(&mut cx).is_ready();
            }
            if let Poll::Ready(done) = step(&mut cx) {
                return Ok(done);
            }
            if self.line.too_long.get() {
                return Err(HttpError::HeadTooLong(self.allowed.limits.head));
            }
            self.check_interim()?;
            if self.moved() != moved {
                left = self.allowed.timeouts.io;
            }
            if self.line.hungry.take() {
                self.feed()?;
                self.rest()?;
            } else if !self.again.0.load(Ordering::Relaxed) {
                self.wait(&mut left)?;
            }
        }
    }

    /// Bytes in both directions.
    fn moved(&self) -> u64 {
        self.line.came.get() + self.line.sent.get()
    }

    fn check_interim(&self) -> Result<(), HttpError> {
        let limit = self.allowed.limits.interim;
        if self.interim.load(Ordering::Relaxed) > limit {
            return Err(HttpError::TooManyInterim(limit));
        }
        Ok(())
    }

    /// Gets the next piece of the request's body.
    fn feed(&mut self) -> Result<(), HttpError> {
        let piece = match &mut self.reader {
            Some(reader) => reader.next()?,
            None => None,
        };
        // Of a body with a length nothing is asked for after its last piece.
        if piece.is_none() || self.reader.as_ref().is_some_and(Reader::is_over) {
            self.reader = None;
            self.line.body_ended.set(true);
        }
        self.line.piece.replace(piece);
        Ok(())
    }

    /// How long the next wait may take, by the limits for the whole answer. Error: `TooSlow`.
    fn rest(&mut self) -> Result<Option<Duration>, HttpError> {
        let left = time_left(self.allowed.until)?;
        let came = self.line.came.get();
        let least = self.allowed.limits.least;
        if least.is_some_and(|least| came - self.counted >= least.bytes) {
            (self.counted, self.waited) = (came, Duration::ZERO);
        }
        let pause = least.map(|least| least.time.saturating_sub(self.waited));
        if pause == Some(Duration::ZERO) {
            return Err(HttpError::TooSlow("fewer bytes came than must"));
        }
        Ok([left, pause].into_iter().flatten().min())
    }

    /// Waits for what hyper wants. `left`: how long it may wait without a byte.
    fn wait(&mut self, left: &mut Option<Duration>) -> Result<(), HttpError> {
        let wanted = self.line.wanted.get();
        if wanted == Events::NONE {
            return Err(internal("the connection waits for nothing".into()));
        }
        let rest = self.rest()?;
        let time = [rest, *left].into_iter().flatten().min();
        let began = time.map(|_| Instant::now());
        // A time beyond the range of the clock is no limit.
        let until = began
            .zip(time)
            .and_then(|(began, time)| began.checked_add(time));
        let waited = self.line.socket.wait(wanted, until);
        let took = began.map_or(Duration::ZERO, |began| began.elapsed());
        // While the request is sent, nothing of the answer is due.
        if wanted == Events::IN {
            self.waited += took;
        }
        *left = left.map(|left| left.saturating_sub(took));
        match waited {
            Err(failure) if is_late(&failure) => {
                self.rest()?;
                match *left {
                    Some(Duration::ZERO) => Err(HttpError::Io(ErrorKind::TimedOut.into())),
                    _ => Ok(()),
                }
            }
            waited => waited.map_err(|failure| HttpError::Io(io::Error::from(failure))),
        }
    }

    /// What hyper's error means. `short`: the error if the peer has ended its stream.
    fn failure(&self, error: &hyper::Error, short: HttpError) -> HttpError {
        if self.line.too_long.get() {
            return HttpError::HeadTooLong(self.allowed.limits.head);
        }
        if let Err(interim) = self.check_interim() {
            return interim;
        }
        if let Some(error) = self.line.error() {
            return error;
        }
        // hyper tells a client of this by words alone, and of too many fields by the same ones.
        if error.is_parse() && error.to_string().contains("too large") {
            return match self.line.head_left.get() {
                Some(0) => HttpError::HeadTooLong(self.allowed.limits.head),
                _ => HttpError::Unsupported("more than 1,024 header fields"),
            };
        }
        if error.is_user() || error.is_canceled() || error.is_closed() {
            return internal(words(error));
        }
        if error.is_parse() {
            return HttpError::Protocol(words(error));
        }
        if self.line.ended.get() {
            return short;
        }
        HttpError::Protocol(words(error))
    }
}

/// How long the whole request may still take. Error: `TooSlow`, once that time is up.
pub fn time_left(until: Option<Instant>) -> Result<Option<Duration>, HttpError> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    match left {
        Some(Duration::ZERO) => Err(HttpError::TooSlow("the time for the whole of it is up")),
        left => Ok(left),
    }
}

/// An error that is not the server's.
fn internal(why: String) -> HttpError {
    HttpError::Io(io::Error::other(why))
}

/// All that an error of hyper says.
fn words(error: &hyper::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = error.source();
    }
    words
}
