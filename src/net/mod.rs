//! The network, for tasklets: a call blocks the tasklet, never the thread.
//!
//! | module | what | needs |
//! |---|---|---|
//! | [`shim`] | `poll` and `select` that fail only when the call itself failed | core |
//! | [`errno`] | error numbers by name, Linux and PS3 | core |
//! | [`lv2`] | the PS3's network structures as values | core |
//! | [`TcpStream`], [`TcpListener`] | sockets like `std::net`'s that block the tasklet | std |
//! | [`SendStream`] | a TCP stream that other threads may hold, where a library asks for it | std |
//! | [`UdpSocket`] | UDP: datagrams, broadcast, multicast | std |
//! | [`UnixStream`], [`UnixListener`], [`UnixDatagram`] | between processes of a machine | std |
//! | [`lookup`] | names into addresses, on threads of their own | std |
//! | `http` | an HTTP client: bodies, redirects, resumed downloads | feature `http` |
//! | [`wait`] | waiting for any descriptor: pipes, eventfds, another library's | std |
//! | [`poll`], [`select`] | the operating system's calls, through the shim | std |

pub use crate::poll::{errno, lv2, shim};

cfg_if::cfg_if! {
    if #[cfg(feature = "std")] {
        mod calls;
        mod connect;
        mod datagram;
        mod descriptor;
        mod handle;
        mod hops;
        #[cfg(feature = "http")]
        pub mod http;
        pub mod lookup;
        mod resolve;
        mod send;
        mod source;
        mod tcp;
        mod udp;
        mod unix;

        pub use crate::poll::Os;
        pub use crate::wait::reactor::BURST;
        pub use calls::{poll, select};
        pub use connect::ConnectError;
        pub(crate) use datagram::{Received, Sender};
        pub use descriptor::wait;
        pub use resolve::resolve;
        pub(crate) use resolve::{hold, serve_again, waiting as lookup_until, Held};
        pub use send::{SendStream, SharedStream};
        pub use tcp::{Keepalive, TcpListener, TcpStream};
        pub use udp::UdpSocket;
        pub use unix::{UnixDatagram, UnixListener, UnixStream};
    }
}
