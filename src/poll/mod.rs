//! Finding out which descriptors are ready: `poll` and `select` with POSIX's contract, over calls
//! with another contract. Nothing here knows of tasklets.

pub mod errno;
mod events;
pub mod lv2;
mod sets;
pub mod shim;

cfg_if::cfg_if! {
    if #[cfg(feature = "std")] {
        mod socket;
        mod sys;

        pub(crate) use socket::may_poll;
        pub(crate) use sys::Masked;
        pub use sys::Os;
    }
}
