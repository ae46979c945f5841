//! A request: what is sent, and how it comes to its answer, over redirects and kept connections.

use super::answer::Answer;
use super::client::Client;
use super::error::{beginning, HttpError, Phase, RequestError};
use super::exchange::{Allowed, Exchange};
use super::settings::{Limits, Timeouts};
use super::upload::{Reader, Upload};
use super::url::Url;
use super::wire::Socket;
use crate::net::source::deadline;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use std::fmt;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

/// Fields that say where a message ends, or what its connection does: the client writes them.
const FRAMING: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A request that is put together, from [`Client::request`] and its like. What is wrong with it is
/// told by [`send`](Self::send).
pub struct RequestBuilder {
    client: Client,
    method: String,
    url: String,
    fields: HeaderMap,
    upload: Upload,
    /// The first thing that was wrong.
    refused: Option<HttpError>,
    limits: Limits,
    timeouts: Timeouts,
    redirects: u32,
    /// The deadline of all of it, if that has begun before.
    until: Option<Instant>,
}

impl RequestBuilder {
    pub(super) fn new(client: Client, method: &str, url: &str) -> RequestBuilder {
        let settings = client.settings();
        let (limits, timeouts) = (settings.limits, settings.timeouts);
        RequestBuilder {
            method: method.to_owned(),
            url: url.to_owned(),
            fields: HeaderMap::new(),
            upload: Upload::Nothing,
            refused: None,
            limits,
            timeouts,
            redirects: settings.redirects,
            until: None,
            client,
        }
    }

    /// The same request once more. Its body is not: it has none.
    pub(super) fn again(&self) -> RequestBuilder {
        let mut again = RequestBuilder::new(self.client.clone(), &self.method, &self.url);
        again.fields = self.fields.clone();
        again.limits = self.limits;
        again.timeouts = self.timeouts;
        again.redirects = self.redirects;
        again.until = self.until;
        again
    }

    /// Its time begins now, also that of the same request once more.
    pub(super) fn begin(&mut self) {
        self.until = deadline(self.limits.total);
    }

    pub(super) fn failed(&self, phase: Phase, error: HttpError) -> RequestError {
        RequestError::new(&self.method, &self.url, phase, error)
    }

    /// Adds a header field. It replaces the client's own `Accept`, `Host` or `User-Agent`.
    ///
    /// `send` refuses a name that is no token, a value with control characters
    /// ([`HttpError::BadHeader`]), and fields that frame the message, such as `Content-Length`
    /// ([`HttpError::BadRequest`]).
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let parts = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_bytes(value.as_bytes()).ok());
        let refused = match parts {
            None => HttpError::BadHeader(beginning(name)),
            Some((name, _)) if FRAMING.contains(&name) => {
                HttpError::BadRequest("a header field of it frames messages, as the client does")
            }
            Some((name, value)) => match self.fields.try_append(name, value) {
                Ok(_) => return self,
                Err(_) => HttpError::BadRequest("it has too many header fields"),
            },
        };
        self.refused.get_or_insert(refused);
        self
    }

    /// Sends these bytes as the body.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.upload = Upload::Bytes(bytes.into().into());
        self
    }

    /// Sends what the reader gives as the body: `length` bytes, or up to its end with the coding
    /// `chunked`, which not every server takes. 16 KiB are read at a time, as the server takes
    /// them.
    ///
    /// The reader may wait, for a socket say. Its errors, and an end before `length`, are
    /// [`HttpError::RequestBody`]; the connection is dropped then, and the server sees half a
    /// request. Such a request cannot be redirected with its body. With a length of 0 nothing is
    /// read, and the request is one without a body.
    pub fn body_reader(mut self, reader: impl Read + 'static, length: Option<u64>) -> Self {
        self.upload = match length {
            Some(0) => Upload::Nothing,
            length => Upload::Reader(Reader::new(Box::new(reader), length)),
        };
        self
    }

    /// The time for all of it, from `send` to the end of the body: [`Limits::total`].
    pub fn timeout(mut self, total: Duration) -> Self {
        self.limits.total = Some(total);
        self
    }

    /// How long it may wait at a time.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How much of an answer is kept, how long it may take in all, and its least speed.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How many redirects are followed. 0: an answer that is one is returned.
    pub fn redirects(mut self, most: u32) -> Self {
        self.redirects = most;
        self
    }

    /// Sends the request, and returns when the head of its answer has come. The status is not
    /// judged: see [`Answer::success`].
    ///
    /// Errors: see [`HttpError`]; all that has to do with a body can come later.
    pub fn send(mut self) -> Result<Answer, RequestError> {
        let fail = |me: &Self, error| Err(me.failed(Phase::Preparing, error));
        if let Some(refused) = self.refused.take() {
            return fail(&self, refused);
        }
        let mut url = match Url::parse(&self.url) {
            Ok(url) => url,
            Err(error) => return fail(&self, error),
        };
        let mut method = match self.check_method() {
            Ok(method) => method,
            Err(error) => return fail(&self, error),
        };
        let allowed = Allowed {
            limits: self.limits,
            timeouts: self.timeouts,
            until: self.until.or_else(|| deadline(self.limits.total)),
        };
        let mut upload = std::mem::replace(&mut self.upload, Upload::Nothing);
        // Who asks for a part, or for a coding, gets what is sent.
        let own = [header::ACCEPT_ENCODING, header::RANGE];
        let asks = own.iter().any(|name| self.fields.contains_key(name));
        // There is no body after a HEAD, which stays one: it tells the length of the file itself.
        let unpacks = cfg!(feature = "gzip") && !asks && method != Method::HEAD;
        if unpacks {
            let gzip = HeaderValue::from_static("gzip");
            self.fields.insert(header::ACCEPT_ENCODING, gzip);
        }
        for followed in 0.. {
            self.url = url.to_string();
            self.method = method.to_string();
            let now = match &upload {
                Upload::Bytes(bytes) => Upload::Bytes(bytes.clone()),
                _ => std::mem::replace(&mut upload, Upload::Nothing),
            };
            let has_body = !now.is_nothing();
            let preparing = match followed {
                0 => Phase::Preparing,
                _ => Phase::Redirecting,
            };
            let head = self
                .head(&method, &url, has_body)
                .map_err(|error| self.failed(preparing, error))?;
            let (exchange, response) = self
                .exchange(head, &url, now, allowed)
                .map_err(|(phase, error)| self.failed(phase, error))?;
            let mut answer = Answer::new(&self.client, &method, &url, exchange, response)?;
            if unpacks {
                answer.unpack();
            }
            let place = match self.redirects {
                0 => None,
                _ => place(&answer).map_err(|e| self.failed(Phase::Redirecting, e))?,
            };
            let Some(place) = place else {
                return Ok(answer);
            };
            if followed == self.redirects {
                let error = HttpError::TooManyRedirects(self.redirects);
                return Err(self.failed(Phase::Redirecting, error));
            }
            let status = answer.status();
            answer.drain()?;
            let next = next_of(&url, &place).map_err(|e| self.failed(Phase::Redirecting, e))?;
            if !next.is_same_server(&url) {
                for secret in [header::AUTHORIZATION, header::COOKIE, header::HOST] {
                    self.fields.remove(secret);
                }
            }
            let by_get = status == 303 || (matches!(status, 301 | 302) && method == Method::POST);
            if by_get && method != Method::HEAD {
                method = Method::GET;
                upload = Upload::Nothing;
                for name in [
                    header::CONTENT_TYPE,
                    header::CONTENT_ENCODING,
                    header::CONTENT_LANGUAGE,
                ] {
                    self.fields.remove(name);
                }
            } else if has_body && upload.is_nothing() {
                let to = beginning(&place);
                let why = "the body of the request cannot be read again";
                let error = HttpError::BadRedirect { to, why };
                return Err(self.failed(Phase::Redirecting, error));
            }
            url = next;
        }
        unreachable!("there are fewer redirects than numbers")
    }

    fn check_method(&self) -> Result<Method, HttpError> {
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| HttpError::BadRequest("its method is no token"))?;
        if method == Method::CONNECT {
            return Err(HttpError::BadRequest("CONNECT makes a tunnel"));
        }
        let bodyless = [Method::GET, Method::HEAD].contains(&method);
        match &self.upload {
            Upload::Reader(reader) if bodyless && reader.length().is_none() => Err(
                HttpError::BadRequest("a GET or HEAD has no body of unknown length"),
            ),
            _ => Ok(method),
        }
    }

    /// Sends a request to the server of `url`, without redirects, over a kept connection if there
    /// is one.
    fn exchange(
        &self,
        head: Request<()>,
        url: &Url,
        upload: Upload,
        allowed: Allowed,
    ) -> Result<(Exchange, Response<Incoming>), (Phase, HttpError)> {
        let bodyless = upload.is_nothing();
        let repeats = bodyless && [Method::GET, Method::HEAD].contains(head.method());
        let mut upload = Some(upload);
        let connecting = |error| (Phase::Connecting, error);
        if let Some(stream) = self.client.take(url) {
            let socket = Socket::adopt(stream).map_err(|e| connecting(HttpError::Io(e)))?;
            let now = upload.take().unwrap_or(Upload::Nothing);
            let mut exchange = Exchange::new(socket, allowed).map_err(connecting)?;
            match exchange.send(head.clone(), now) {
                Ok(response) => return Ok((exchange, response)),
                // The server has closed it in this very moment.
                Err(error) if repeats && !exchange.was_answered() && is_lost(&error) => {}
                Err(error) => return Err((phase(&exchange, &error), error)),
            }
        }
        let connected = deadline(allowed.timeouts.connect);
        let socket = Socket::connect(url, earlier(allowed.until, connected)).map_err(connecting)?;
        let mut exchange = Exchange::new(socket, allowed).map_err(connecting)?;
        let now = upload.take().unwrap_or(Upload::Nothing);
        match exchange.send(head, now) {
            Ok(response) => Ok((exchange, response)),
            Err(error) => Err((phase(&exchange, &error), error)),
        }
    }

    /// The head of a request to `url`.
    fn head(&self, method: &Method, url: &Url, has_body: bool) -> Result<Request<()>, HttpError> {
        let mut request = Request::new(());
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.target().parse().map_err(|_| {
            HttpError::BadRequest("its path has a character that paths do not have")
        })?;
        let fields = request.headers_mut();
        let own = [
            (header::HOST, url.authority()),
            (
                header::USER_AGENT,
                self.client.settings().user_agent.clone(),
            ),
            (header::ACCEPT, "*/*".to_owned()),
        ];
        for (name, value) in own {
            if !self.fields.contains_key(&name) {
                let value = Bytes::from(value);
                let value = HeaderValue::from_maybe_shared(value)
                    .map_err(|_| HttpError::BadHeader(name.to_string()))?;
                fields.insert(name, value);
            }
        }
        for (name, value) in &self.fields {
            fields.append(name, value.clone());
        }
        // Servers want to know that there is no body where there could be one.
        if !has_body && [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(request)
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", &self.method)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}

fn phase(exchange: &Exchange, error: &HttpError) -> Phase {
    match error {
        HttpError::RequestBody(_) => Phase::Sending,
        _ if exchange.is_sending() => Phase::Sending,
        _ => Phase::ReadingHead,
    }
}

/// Was the connection gone?
fn is_lost(error: &HttpError) -> bool {
    match error {
        HttpError::ShortHead => true,
        HttpError::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
        ),
        _ => false,
    }
}

/// Where the answer sends the client, if it does.
fn place(answer: &Answer) -> Result<Option<String>, HttpError> {
    if !matches!(answer.status(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let mut places = answer.headers().filter(|field| field.0 == "location");
    let Some((_, place)) = places.next() else {
        return Ok(None);
    };
    match places.all(|other| other.1 == place) {
        true => Ok(Some(place.to_owned())),
        false => Err(HttpError::BadAnswer("it has two Locations")),
    }
}

fn next_of(url: &Url, place: &str) -> Result<Url, HttpError> {
    url.join(place).map_err(|error| match error {
        HttpError::BadUrl { why, .. } => {
            let to = beginning(place);
            HttpError::BadRedirect { to, why }
        }
        error => error,
    })
}
