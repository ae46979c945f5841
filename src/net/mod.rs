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
//! | [`UnixStream`], [`UnixListener`], [`UnixDatagram`] | sockets between processes of a machine | std |
//! | [`lookup`] | names into addresses, on threads of their own | std |
//! | `http` | an HTTP client: all methods, bodies, redirects, kept connections, resumed downloads | feature `http` |
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

#[cfg(feature = "std")]
pub mod lookup {
    //! Looks names up, on threads of its own.
    //!
    //! The system's call for it blocks for as long as it likes: a name server that does not answer
    //! costs half a minute. So workers make that call, and only the tasklet waits. They are not the
    //! workers of the [pool](crate::offload): there jobs would wait for dead names, and names for
    //! jobs.
    //!
    //! ```text
    //!   tasklet ─┐                  ┌─► worker: resolver(name)
    //!   tasklet ─┼─► one look-up ───┤        │
    //!   thread  ─┘   a name         └────────┴─► answers all that wait for that name
    //! ```
    //!
    //! * **Equal look-ups are one** until it has been answered.
    //! * **Answers may be kept** for a time ([`Settings::keep`]), by default not at all: how long
    //!   an answer stays valid is the resolver's business. An answer that led to no connection is
    //!   dropped.
    //! * **Addresses are not looked up**: `"127.0.0.1"` and `"::1"` need no worker.
    //! * **There is room for all.** A look-up waits while no worker is free. The queue is bounded
    //!   because each entry has somebody who waits for it, and is taken out when nobody does any
    //!   more.
    //! * **A caller that gives up delays nobody.** A system call cannot be stopped. But once nobody
    //!   waits for it, its worker does not count any more, and others get another one, up to
    //!   [`Settings::spare`].
    //!
    //! Workers are started when there is work for them, and end after some seconds without work.

    pub use super::resolve::{configure, forget, resolve, set_resolver, Resolver, Settings};
}
