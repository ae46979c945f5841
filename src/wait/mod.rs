//! The parts of waiting: the clock's deadlines; and with std the parker that a thread sleeps on,
//! its events, and the reactor that ends the waits for sockets and times.

pub mod time;

cfg_if::cfg_if! {
    if #[cfg(feature = "std")] {
        pub(crate) mod company;
        pub mod event;
        pub(crate) mod fork;
        pub(crate) mod parker;
        pub(crate) mod prim;
        pub(crate) mod reactor;
        pub(crate) mod until;
    }
}
