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

cfg_if::cfg_if! {
    if #[cfg(feature = "std")] {
        mod calls;
        pub mod http;
        pub mod lookup;
        pub(crate) mod tcp;

        pub use crate::poll::Os;
        pub use calls::{poll, select};
        pub use lookup::resolve;
        pub use tcp::{TcpListener, TcpStream, BURST};
    }
}
