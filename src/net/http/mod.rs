//! HTTP/1.1, for tasklets and for jobs of the worker pool: a [`Client`], with its
//! [`RequestBuilder`], its [`Answer`] and its [`Download`]. The same call waits in both ways.
//!
//! A body ends by `Content-Length`, by `chunked`, or with the connection. A body that ends too soon
//! is an error, never a short success. Every part of an answer that is kept is bounded, and so is
//! the time it takes ([`Limits`]); the body is not kept, but read by the caller.

mod answer;
mod builder;
mod client;
mod download;
mod error;
mod exchange;
#[cfg(feature = "gzip")]
mod gzip;
mod idle;
mod location;
mod settings;
mod upload;
mod url;
mod wire;

pub use answer::Answer;
pub use builder::RequestBuilder;
pub use client::Client;
pub use download::{Changed, Download, Resumed, Validator};
pub use error::{HttpError, Phase, RequestError};
pub(crate) use idle::{hold, Held};
pub use settings::{ClientSettings, Limits, Speed, Timeouts};
pub use url::Url;
