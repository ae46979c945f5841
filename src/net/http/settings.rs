//! The settings of a client, and what a caller allows an answer: bytes, interim answers, time, and
//! a least speed.

use std::time::Duration;

/// How long a request may wait for its peer. [`Limits`] has more: a time for all of it, and a least
/// speed.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The time to look the name up and to connect to one of its addresses, all together.
    pub connect: Option<Duration>,
    /// The time for each read and write.
    pub io: Option<Duration>,
}

impl Default for Timeouts {
    /// 10 s to connect, 30 s without a byte.
    fn default() -> Timeouts {
        Timeouts {
            connect: Some(Duration::from_secs(10)),
            io: Some(Duration::from_secs(30)),
        }
    }
}

/// How much of an answer is kept, and how long it may take in all.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of status lines and header fields, those of interim answers included. The same limit
    /// holds separately for the trailer of a chunked body; for the extensions of its chunks it is
    /// always 16 KiB.
    pub head: usize,
    /// How many interim answers (1xx) there may be.
    pub interim: usize,
    /// Time from the beginning of the request to the end of the body, whatever it is spent on.
    pub total: Option<Duration>,
    /// The least speed of the answer.
    pub least: Option<Speed>,
}

/// A least speed: `bytes` may take `time`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speed {
    /// Bytes of the answer, head included.
    pub bytes: u64,
    /// Time that may be spent waiting for these bytes. What the caller does between its reads does
    /// not count.
    pub time: Duration,
}

impl Default for Limits {
    /// 16 KiB of heads, 10 interim answers, no limit of time.
    fn default() -> Limits {
        Limits {
            head: 16 * 1024,
            interim: 10,
            total: None,
            least: None,
        }
    }
}

/// What the requests of a [`Client`](super::Client) may take, if they do not say otherwise.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// How much of an answer is kept, how long it may take in all, and its least speed.
    pub limits: Limits,
    /// How long it may wait at a time.
    pub timeouts: Timeouts,
    /// How many redirects are followed. 0: an answer that is one is returned.
    pub redirects: u32,
    /// How many connections are kept for later requests, and for how long.
    pub idle: usize,
    /// How long a connection is kept without a request.
    pub idle_time: Duration,
    /// The `User-Agent` field.
    pub user_agent: String,
}

impl Default for ClientSettings {
    /// The default [`Limits`] and [`Timeouts`], 10 redirects, 16 connections kept for 15 s.
    fn default() -> ClientSettings {
        ClientSettings {
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            redirects: 10,
            idle: 16,
            idle_time: Duration::from_secs(15),
            user_agent: concat!("hardswitch/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
