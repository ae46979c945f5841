//! The primitives of the protocols between threads. The modules of these protocols (`parker`,
//! `inbox`, `wait_state`, `meeting`) use nothing else, so that `models/` can run the same source
//! with primitives that try all orders.

pub use std::sync::atomic::{AtomicU32, AtomicU8, AtomicUsize, Ordering};
pub use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fork::forks;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

/// Lets another thread of the processor go on, in a spin.
pub fn pause() {
    std::thread::yield_now();
}

/// Room for a value that threads hand to each other. They agree elsewhere on whose it is.
pub struct Place<V>(UnsafeCell<MaybeUninit<V>>);

// SAFETY: Place: one thread at a time uses it, as `put` and `take` ask for. A value in it goes from
// thread to thread, so it must be `Send`.
unsafe impl<V: Send> Sync for Place<V> {}

impl<V> Place<V> {
    pub fn new() -> Place<V> {
        Place(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// # Safety
    /// The place is the caller's alone, and empty.
    #[inline]
    pub unsafe fn put(&self, value: V) {
        // SAFETY: Place: it is the caller's alone, as the caller has promised, so nobody else
        // accesses it.
        unsafe { (*self.0.get()).write(value) };
    }

    /// # Safety
    /// The place is the caller's alone, and full; it is empty afterwards.
    #[inline]
    pub unsafe fn take(&self) -> V {
        // SAFETY: Place: it is the caller's alone and full, as the caller has promised; the value
        // is not used here again.
        unsafe { (*self.0.get()).assume_init_read() }
    }
}

/// Sleeps while `word` is `value`, for at most `timeout`. May return early, for no reason.
pub fn sleep_on(word: &AtomicU32, value: u32, timeout: Option<Duration>) {
    let timeout = timeout.map(crate::machine::os::timespec);
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the word and the time live until the call is over. Each error (the word has another
    // value, the time is up, a signal) means that the caller looks again.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            value,
            timeout,
        )
    };
}

/// Wakes the thread that sleeps on `word`.
pub fn wake_on(word: &AtomicU32) {
    // SAFETY: the kernel uses the address only, and does not access the word.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        )
    };
}

/// A descriptor that ends a `poll`. Other threads may keep it longer than its owner, who closes it
/// at the end. In a child process it is another descriptor with the same number.
pub struct Signal(Mutex<Option<Descriptor>>);

struct Descriptor {
    fd: EventFd,
    forks: u32,
}

/// See [`Signal::hold`].
pub struct Held<'a>(#[allow(dead_code)] MutexGuard<'a, Option<Descriptor>>);

impl Signal {
    pub fn new() -> io::Result<Signal> {
        let fd = Signal::descriptor()?;
        let forks = forks();
        Ok(Signal(Mutex::new(Some(Descriptor { fd, forks }))))
    }

    fn descriptor() -> nix::Result<EventFd> {
        EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
    }

    fn open<R>(&self, f: impl FnOnce(&EventFd) -> R) -> Option<R> {
        let mut descriptor = self.lock();
        let Descriptor { fd, forks: of } = descriptor.as_mut()?;
        if *of != forks() {
            *of = forks();
            if let Ok(fresh) = Signal::descriptor() {
                // SAFETY: `fresh` and `old` are open descriptors of our own. If the call fails the
                // parent's descriptor stays, which wakes too often.
                unsafe {
                    let (fresh, old) = (fresh.as_fd().as_raw_fd(), fd.as_fd().as_raw_fd());
                    libc::dup3(fresh, old, libc::O_CLOEXEC);
                }
            }
        }
        Some(f(fd))
    }

    /// Makes the descriptor readable.
    pub fn raise(&self) {
        // The only error, EAGAIN, means that the counter is full: it is readable then.
        let _ = self.open(|fd| fd.write(1));
    }

    /// Makes it not readable.
    pub fn lower(&self) {
        // The only error, EAGAIN, means that it was not readable.
        let _ = self.open(EventFd::read);
    }

    /// -1 when it is closed.
    pub fn as_raw_fd(&self) -> RawFd {
        self.open(|fd| fd.as_fd().as_raw_fd()).unwrap_or(-1)
    }

    /// Closes the descriptor. Because of the lock nobody can write into another descriptor that
    /// gets its number.
    pub fn close(&self) {
        let descriptor = self.lock().take();
        drop(descriptor);
    }

    /// Nobody else uses the descriptor until the returned value is dropped.
    pub fn hold(&self) -> Held<'_> {
        Held(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Descriptor>> {
        // Under the lock there are system calls only, which leave it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
