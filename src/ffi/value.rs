//! Pointers that C gives us to keep: values, arguments and payloads, each with the function that
//! frees it.

use core::ffi::c_void;

use super::thread_state;

/// Frees a value that nobody will receive any more. May be null: then nothing is done. It must not
/// unwind. It may call this library, also in ways that switch.
pub type hsw_destroy = Option<unsafe extern "C" fn(data: *mut c_void)>;

/// A pointer of C's together with the duty to free it: the drop calls the function, unless `take`
/// gave the pointer away.
pub(super) struct Owned {
    data: *mut c_void,
    destroy: hsw_destroy,
}

impl Owned {
    pub(super) fn new(data: *mut c_void, destroy: hsw_destroy) -> Self {
        Owned { data, destroy }
    }

    /// Gives the pointer, and the duty, to the caller.
    pub(super) fn take(self) -> (*mut c_void, hsw_destroy) {
        let this = core::mem::ManuallyDrop::new(self);
        (this.data, this.destroy)
    }

    /// The pointer and its function, which remain ours.
    pub(super) fn peek(&self) -> (*mut c_void, hsw_destroy) {
        (self.data, self.destroy)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            // SAFETY: C gave the two together and asked for this call (contract of the interface).
            // It happens once, since `take` forgets `self`.
            thread_state::call_back(|| unsafe { thread_state::unwindable(destroy)(self.data) });
        }
    }
}

/// A pointer on its way to another thread.
pub(super) struct Sent(Owned);

// SAFETY: every function of the header that takes such a pointer says that it crosses threads, and
// that its functions may be called on any of them. The runtime itself only ever passes the pointer
// on.
unsafe impl Send for Sent {}

impl From<Owned> for Sent {
    fn from(owned: Owned) -> Sent {
        Sent(owned)
    }
}

impl From<Sent> for Owned {
    fn from(sent: Sent) -> Owned {
        sent.0
    }
}

/// A pointer that several threads may look at: the payload of an exception, what a hook is called
/// with.
pub(super) struct Common(pub(super) Owned);

// SAFETY: an exception may end on another thread than it began on, and its copies may be used on
// several; the same holds for the argument of a hook of many threads. The header says so: pointer
// and function must allow that. The runtime itself only ever passes the pointer on.
unsafe impl Send for Common {}
// SAFETY: as for `Send`: the header says that several threads may use the pointer at a time.
unsafe impl Sync for Common {}
