//! A client, which has settings and keeps connections.

use super::builder::RequestBuilder;
use super::download::Download;
use super::idle::Idle;
use super::settings::ClientSettings;
use super::url::Url;
use std::net::TcpStream;
use std::sync::Arc;

/// Sends requests, and keeps connections for the next ones. Clones share the connections.
///
/// The same call waits in both ways: in a tasklet, or in main, only that waits and the thread
/// serves others; in a job of the [worker pool](crate::offload) the thread waits. Any thread may
/// use a client, and a connection that one thread has left is used by the next.
///
/// Requests are made and answers read by [hyper](https://docs.rs/hyper), which never waits itself:
/// while a tasklet waits, only frames of this library are on its stack. What is this library's is
/// said by [`Limits`]: times, a least speed, and limits for the sum of all heads.
///
/// ```
/// use hardswitch::net::http::Client;
/// # use std::io::{Read, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("http://{}/scores", listener.local_addr()?);
/// # let server = std::thread::spawn(move || {
/// #     let mut stream = listener.accept().unwrap().0;
/// #     let mut request = Vec::new();
/// #     while !request.ends_with(b"7 points") {
/// #         let mut piece = [0; 100];
/// #         let n = stream.read(&mut piece).unwrap();
/// #         request.extend(&piece[..n]);
/// #     }
/// #     stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok").unwrap();
/// # });
///
/// let client = Client::new();
/// let mut answer = client
///     .post(&url)
///     .header("Content-Type", "text/plain")
///     .body("7 points")
///     .send()?
///     .success()?;
/// assert_eq!(answer.status(), 201);
/// assert_eq!(answer.read_all(1 << 20)?, b"ok");
/// # server.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it does by itself
///
/// * A GET or HEAD without a body whose kept connection ends before a byte of an answer has come is
///   sent once more over a new one. Nothing else is ever sent twice.
/// * Redirects are followed: 303 by a GET, a POST with 301 or 302 as well, all others by the same
///   method and body. To another server, `Authorization` and `Cookie` are not sent on.
/// * A connection is kept when its answer was read to the end. An answer that is dropped before
///   closes its connection. A forked child keeps connections of its own, and uses none of its
///   parent's.
/// * It refuses an answer that is framed in a way that it does not know, or in two: other transfer
///   codings than `chunked`, lengths that differ, a status of 101. An answer in chunks that has a
///   length as well is read by its chunks, and its connection is not kept.
///
/// With the feature `gzip` it asks for compressed bodies, unless the request is a HEAD or has an
/// `Accept-Encoding` or a `Range` of its own, and unpacks them: the answer has no
/// `Content-Encoding` and no length then. What is read, limits and progress are of unpacked bytes.
///
/// It knows no cookies, proxies or TLS.
#[derive(Clone, Default)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    settings: ClientSettings,
    idle: Idle,
}

impl Client {
    /// A client with the default settings.
    pub fn new() -> Client {
        Client::default()
    }

    /// A client with other settings: those of [`ClientSettings::default`], changed.
    pub fn with_settings(settings: ClientSettings) -> Client {
        let idle = Idle::default();
        Client {
            shared: Arc::new(Shared { settings, idle }),
        }
    }

    /// The settings.
    pub fn settings(&self) -> &ClientSettings {
        &self.shared.settings
    }

    /// A request with this method, an upper-case word as a rule. It is made and sent, and wrong
    /// ones refused, by [`send`](RequestBuilder::send).
    pub fn request(&self, method: &str, url: &str) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, url)
    }

    /// A GET.
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.request("GET", url)
    }

    /// A HEAD: the answer has no body.
    pub fn head(&self, url: &str) -> RequestBuilder {
        self.request("HEAD", url)
    }

    /// A POST.
    pub fn post(&self, url: &str) -> RequestBuilder {
        self.request("POST", url)
    }

    /// A PUT.
    pub fn put(&self, url: &str) -> RequestBuilder {
        self.request("PUT", url)
    }

    /// A DELETE.
    pub fn delete(&self, url: &str) -> RequestBuilder {
        self.request("DELETE", url)
    }

    /// A download that can go on where an earlier one has ended.
    pub fn download(&self, url: &str) -> Download {
        Download::new(self.get(url))
    }

    /// A kept connection to the server of `url`, if there is one that can be used.
    pub(super) fn take(&self, url: &Url) -> Option<TcpStream> {
        self.shared.idle.take(url, self.shared.settings.idle_time)
    }

    /// Keeps a connection for a later request to the server of `url`.
    pub(super) fn keep(&self, url: &Url, stream: TcpStream) {
        self.shared.idle.put(url, stream, self.settings());
    }

    /// How many connections are kept for later requests. Those that their servers have ended do
    /// not count.
    pub fn idle(&self) -> usize {
        self.shared.idle.len(self.shared.settings.idle_time)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("settings", self.settings())
            .field("idle", &self.idle())
            .finish()
    }
}
