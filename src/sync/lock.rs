//! Locks that tasklets and threads can hold.

use super::permits::Permits;
use crate::core::runtime::Runtime;
use crate::error::{StateError, WaitError};
use crate::wait::until::Until;
use crate::Result;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The part of a lock that conditions and waiters refer to. It is made on first use, so that locks
/// can be statics.
pub(super) struct Raw(OnceLock<Arc<Permits>>);

impl Raw {
    const fn new() -> Raw {
        Raw(OnceLock::new())
    }

    #[inline]
    pub fn permits(&self) -> &Arc<Permits> {
        self.0.get_or_init(|| Arc::new(Permits::new(1, 1)))
    }

    fn is_locked(&self) -> bool {
        self.0.get().is_some_and(|permits| permits.free() == 0)
    }

    fn waiting(&self) -> usize {
        self.0.get().map_or(0, |permits| permits.waiting())
    }
}

/// The calling tasklet's number: unique in the process, never 0, never used again. An address would
/// be used again for another tasklet, and a lock that was never given back would seem to be that
/// tasklet's.
pub(crate) fn this_tasklet() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // SAFETY: the running tasklet is a live task of this thread. No code of the user runs while its
    // `extra` is borrowed, so nobody else borrows it.
    let number = unsafe { &mut (*Runtime::get().current()).extra().number };
    if *number == 0 {
        *number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    }
    *number
}

/// Mutual exclusion of tasklets, whatever thread they are on.
///
/// A tasklet that has to wait blocks only itself; the main tasklet drives the thread's main loop
/// meanwhile. Waiters get the lock in the order they came, and nobody overtakes them. It is not
/// reentrant, and not poisoned by panics.
///
/// Cost: one compare-and-swap to lock a free lock, and one to unlock it without waiters; one
/// allocation for the lock, on first use. A wait takes one allocation; with a time limit, three.
///
/// ```
/// use hardswitch::sync::Lock;
///
/// static SCORE: Lock<u32> = Lock::new(0);
/// *SCORE.lock()? += 1;
/// assert_eq!(*SCORE.lock()?, 1);
/// # Ok::<(), hardswitch::Error>(())
/// ```
///
/// A guard stays with its thread:
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(hardswitch::sync::Lock::new(0).lock());
/// ```
pub struct Lock<T: ?Sized> {
    raw: Raw,
    data: UnsafeCell<T>,
}

// SAFETY: the lock hands out the data to one holder at a time, on whatever thread, so sharing the
// lock does no more than send the data.
unsafe impl<T: ?Sized + Send> Send for Lock<T> {}
// SAFETY: the lock hands out the data to one holder at a time.
unsafe impl<T: ?Sized + Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A free lock.
    pub const fn new(data: T) -> Lock<T> {
        Lock {
            raw: Raw::new(),
            data: UnsafeCell::new(data),
        }
    }

    /// Consumes the lock and returns the data.
    pub fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Takes the lock when it is the tasklet's turn.
    ///
    /// # Errors
    /// An error that was thrown at the tasklet while it waited ([`Error::Exit`](crate::Error::Exit)
    /// when it was killed), [`Error::BlockTrap`](crate::Error::BlockTrap),
    /// [`Error::SwitchTrap`](crate::Error::SwitchTrap).
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_, T>> {
        self.raw.permits().acquire(Until::Ever)?;
        Ok(self.guard())
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        self.raw.permits().try_acquire().then(|| self.guard())
    }

    /// As [`lock`](Self::lock), for at most `time`. Zero tries once and lets nobody else run; a
    /// time beyond the range of the clock is no limit.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), and [`Error::Timeout`](crate::Error::Timeout).
    pub fn lock_timeout(&self, time: Duration) -> Result<LockGuard<'_, T>> {
        if let Some(guard) = self.try_lock() {
            return Ok(guard);
        }
        self.raw.permits().acquire(Until::within(time))?;
        Ok(self.guard())
    }

    /// Is it held now?
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// How many tasklets wait for it now.
    pub fn waiting(&self) -> usize {
        self.raw.waiting()
    }

    /// The data: the exclusive borrow shows that nobody else is using it.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }

    /// For a caller that has just got the permit.
    #[inline]
    pub(super) fn guard(&self) -> LockGuard<'_, T> {
        LockGuard {
            lock: self,
            stays_here: PhantomData,
        }
    }

    pub(super) fn raw(&self) -> &Raw {
        &self.raw
    }
}

/// Without data there is nothing to guard: lock and unlock by themselves, as C and scripts call
/// them.
impl Lock<()> {
    /// As [`lock`](Self::lock), without a guard.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn acquire(&self) -> Result<()> {
        Ok(self.acquire_or(None)?)
    }

    /// As [`acquire_timeout`](Self::acquire_timeout), or without a limit; the error says whether it
    /// was thrown.
    pub(crate) fn acquire_or(&self, time: Option<Duration>) -> Result<(), WaitError> {
        if self.raw.permits().try_acquire() {
            return Ok(());
        }
        self.raw
            .permits()
            .acquire(time.map_or(Until::Ever, Until::within))
    }

    /// As [`lock_timeout`](Self::lock_timeout), without a guard.
    ///
    /// # Errors
    /// As [`lock_timeout`](Self::lock_timeout).
    pub fn acquire_timeout(&self, time: Duration) -> Result<()> {
        self.lock_timeout(time).map(std::mem::forget)
    }

    /// Gives the lock back, whoever took it.
    ///
    /// # Errors
    /// [`StateError::NotHeld`]: nobody holds the lock.
    pub fn release(&self) -> Result<()> {
        self.raw
            .permits()
            .release()
            .map_err(|_| StateError::NotHeld.into())
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Lock<T> {
        Lock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Lock");
        match self.try_lock() {
            Some(guard) => out.field("data", &&*guard),
            None => out.field("data", &format_args!("<locked>")),
        };
        out.finish()
    }
}

/// The right to use the data of a [`Lock`]; the lock is given back when this is dropped. It stays
/// on its thread.
#[must_use = "the lock is given back at once"]
pub struct LockGuard<'a, T: ?Sized> {
    lock: &'a Lock<T>,
    stays_here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared access to the data, and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for LockGuard<'_, T> {}

impl<'a, T: ?Sized> LockGuard<'a, T> {
    /// The lock that this guard holds.
    pub fn lock(guard: &LockGuard<'a, T>) -> &'a Lock<T> {
        guard.lock
    }
}

impl<T: ?Sized> Deref for LockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the one permit, so nobody else has access to the data.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the one permit, and is borrowed mutably, so this is the only
        // reference.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.lock.raw.permits().release().is_err() {
            log::error!("a lock had been released behind the back of its guard");
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A lock that its holder may take again: the owner is a tasklet.
///
/// As [`Lock`], except that all of the holder's guards share the data, so data that changes must be
/// in a `Cell` or `RefCell`.
///
/// Cost: as for [`Lock`]; to take it again, no atomic read-modify-write. One allocation for each
/// tasklet, when it takes its first `RLock`.
///
/// ```
/// use hardswitch::sync::RLock;
/// use std::cell::Cell;
///
/// let depth = RLock::new(Cell::new(0));
/// let outer = depth.lock()?;
/// let inner = depth.lock()?;
/// inner.set(2);
/// drop(inner);
/// assert_eq!(outer.get(), 2);
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct RLock<T: ?Sized> {
    raw: Raw,
    /// The number of the tasklet that holds it; 0 if none does. Only the holder writes it.
    owner: AtomicU64,
    depth: AtomicUsize,
    data: UnsafeCell<T>,
}

// SAFETY: the data is handed out to one tasklet at a time, and so to one thread.
unsafe impl<T: ?Sized + Send> Send for RLock<T> {}
// SAFETY: the data is handed out to one tasklet at a time, and so to one thread.
unsafe impl<T: ?Sized + Send> Sync for RLock<T> {}

impl<T> RLock<T> {
    /// A free lock.
    pub const fn new(data: T) -> RLock<T> {
        RLock {
            raw: Raw::new(),
            owner: AtomicU64::new(0),
            depth: AtomicUsize::new(0),
            data: UnsafeCell::new(data),
        }
    }

    /// Consumes the lock and returns the data.
    pub fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

impl<T: ?Sized> RLock<T> {
    /// Takes the lock when it is the tasklet's turn; at once if the calling tasklet holds it.
    ///
    /// # Errors
    /// As [`Lock::lock`].
    pub fn lock(&self) -> Result<RLockGuard<'_, T>> {
        self.enter(|permits| permits.acquire(Until::Ever))?;
        Ok(self.guard())
    }

    /// Takes the lock if it is free, or if the calling tasklet holds it.
    pub fn try_lock(&self) -> Option<RLockGuard<'_, T>> {
        self.enter(|permits| permits.try_acquire().then_some(()).ok_or(()))
            .ok()?;
        Some(self.guard())
    }

    /// As [`Lock::lock_timeout`].
    ///
    /// # Errors
    /// As [`Lock::lock_timeout`].
    pub fn lock_timeout(&self, time: Duration) -> Result<RLockGuard<'_, T>> {
        self.enter(|permits| permits.acquire(Until::within(time)))?;
        Ok(self.guard())
    }

    /// Is it held now?
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// How many tasklets wait for it now.
    pub fn waiting(&self) -> usize {
        self.raw.waiting()
    }

    /// Does the calling tasklet hold it?
    pub fn is_mine(&self) -> bool {
        // Only the tasklet itself writes its number there.
        self.owner.load(Ordering::Relaxed) == this_tasklet()
    }

    fn enter<E>(&self, take: impl FnOnce(&Permits) -> Result<(), E>) -> Result<(), E> {
        if !self.is_mine() {
            take(self.raw.permits())?;
            self.owner.store(this_tasklet(), Ordering::Relaxed);
        }
        // Only the owner reads and writes the depth.
        let depth = self.depth.load(Ordering::Relaxed) + 1;
        self.depth.store(depth, Ordering::Relaxed);
        Ok(())
    }

    fn exit(&self) -> Result<(), StateError> {
        if !self.is_mine() {
            return Err(StateError::NotOwner);
        }
        let depth = self.depth.load(Ordering::Relaxed) - 1;
        self.depth.store(depth, Ordering::Relaxed);
        if depth == 0 {
            self.owner.store(0, Ordering::Relaxed);
            let _ = self.raw.permits().release(); // held, by us
        }
        Ok(())
    }

    fn guard(&self) -> RLockGuard<'_, T> {
        RLockGuard {
            lock: self,
            stays_here: PhantomData,
        }
    }
}

/// Without data there is nothing to guard: lock and unlock by themselves.
impl RLock<()> {
    /// As [`lock`](Self::lock), without a guard.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn acquire(&self) -> Result<()> {
        self.lock().map(std::mem::forget)
    }

    /// As [`lock_timeout`](Self::lock_timeout), without a guard.
    ///
    /// # Errors
    /// As [`lock_timeout`](Self::lock_timeout).
    pub fn acquire_timeout(&self, time: Duration) -> Result<()> {
        self.lock_timeout(time).map(std::mem::forget)
    }

    /// As [`acquire_timeout`](Self::acquire_timeout), or without a limit; the error says whether it
    /// was thrown.
    pub(crate) fn acquire_or(&self, time: Option<Duration>) -> Result<(), WaitError> {
        self.enter(|permits| permits.acquire(time.map_or(Until::Ever, Until::within)))
    }

    /// Undoes one `acquire`.
    ///
    /// # Errors
    /// [`StateError::NotOwner`] when the calling tasklet does not hold it.
    pub fn release(&self) -> Result<()> {
        Ok(self.exit()?)
    }
}

impl<T: Default> Default for RLock<T> {
    fn default() -> RLock<T> {
        RLock::new(T::default())
    }
}

impl<T: ?Sized> fmt::Debug for RLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock")
            .field("locked", &self.is_locked())
            .finish_non_exhaustive()
    }
}

/// One hold of an [`RLock`], which is given back when this is dropped. It stays with its tasklet.
#[must_use = "the lock is given back at once"]
pub struct RLockGuard<'a, T: ?Sized> {
    lock: &'a RLock<T>,
    stays_here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared access to the data, and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for RLockGuard<'_, T> {}

impl<T: ?Sized> Deref for RLockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the tasklet holds the lock, so no other tasklet has access. All guards of the
        // holder give out shared references only.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for RLockGuard<'_, T> {
    fn drop(&mut self) {
        if self.lock.exit().is_err() {
            log::error!("the guard of a reentrant lock was dropped by a tasklet that does not hold it: the lock stays taken");
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
