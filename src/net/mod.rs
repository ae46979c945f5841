//! The network, for tasklets: a call blocks the tasklet, never the thread.
//!
//! | module | what | needs |
//! |---|---|---|
//! | [`shim`] | `poll` and `select` that fail only when the call itself failed | core |
//! | [`errno`] | error numbers by name, Linux and PS3 | core |
//! | [`lv2`] | the PS3's network structures as values | core |
//! | [`TcpStream`], [`TcpListener`] | sockets like `std::net`'s that block the tasklet | std |
//! | [`lookup`] | names into addresses, on threads of their own | std |
//! | [`http`] | a small HTTP client over anything that is `Read + Write` | std |
//! | [`poll`], [`select`] | the operating system's calls, through the shim | std |

pub use crate::poll::{errno, lv2, shim};

#[cfg(feature = "std")]
mod calls;
#[cfg(feature = "std")]
pub mod http;
#[cfg(feature = "std")]
pub mod lookup;
#[cfg(feature = "std")]
pub(crate) mod tcp;

#[cfg(feature = "std")]
pub use crate::poll::Os;
#[cfg(feature = "std")]
pub use calls::{poll, select};
#[cfg(feature = "std")]
pub use lookup::resolve;
#[cfg(feature = "std")]
pub use tcp::{TcpListener, TcpStream, BURST};
