//! What waiting is made of: the clock's deadlines, and with std the parker that a thread sleeps on,
//! its events, and the reactor that ends the waits for sockets and times.

#[cfg(feature = "std")]
pub(crate) mod company;
#[cfg(feature = "std")]
pub mod event;
#[cfg(feature = "std")]
pub(crate) mod fork;
#[cfg(feature = "std")]
pub(crate) mod parker;
#[cfg(feature = "std")]
pub(crate) mod prim;
#[cfg(feature = "std")]
pub(crate) mod reactor;
pub mod time;
