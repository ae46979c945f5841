//! What all kinds of channels have in common: they carry pointers of C's from senders to receivers.

use core::borrow::Borrow;
use core::ffi::{c_char, c_void};
use core::ops::Deref;
use core::time::Duration;

use alloc::vec::Vec;

use super::failure::Failure;
use super::object::{self, Handle};
use super::payload;
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, out, set_if_wanted, time_limit};
use crate::error::WaitError;
use crate::Error;

/// A channel of any kind. After a call that failed it depends on the reason whose the value is, so
/// all of these operations tell what was thrown.
pub trait Carrier {
    fn send(&self, value: Owned) -> Result<(), WaitError>;
    fn send_timeout(&self, value: Owned, time: Duration) -> Result<(), Refused>;
    fn try_send(&self, value: Owned) -> Result<(), Refused>;
    fn send_throw(&self, error: Error) -> Result<(), WaitError>;
    fn receive(&self) -> Result<Owned, WaitError>;
    fn receive_timeout(&self, time: Duration) -> Result<Owned, WaitError>;
    fn try_receive(&self) -> Result<Owned, WaitError>;
    fn next(&self) -> Option<Result<Owned, WaitError>>;
}

/// Why a value was not sent; and the value itself, if no receiver has got it.
pub type Refused = (WaitError, Option<Owned>);

/// Implements [`Carrier`] for `$channel`, which carries `Owned`s as `$value`s. All of it is
/// inlined: a frame of its own would lie in every parked tasklet.
macro_rules! carrier {
    ($channel:ty, $value:ty) => {
        impl $crate::ffi::carry::Carrier for $channel {
            #[inline(always)]
            fn send(&self, value: Owned) -> Result<(), $crate::error::WaitError> {
                self.send_or(<$value>::from(value))
            }
            #[inline(always)]
            fn send_timeout(
                &self,
                value: Owned,
                time: core::time::Duration,
            ) -> Result<(), $crate::ffi::carry::Refused> {
                self.send_timeout_or(<$value>::from(value), time)
                    .map_err(|(ended, back)| (ended, back.map(Owned::from)))
            }
            #[inline(always)]
            fn try_send(&self, value: Owned) -> Result<(), $crate::ffi::carry::Refused> {
                self.try_send_or(<$value>::from(value))
                    .map_err(|(ended, back)| (ended, back.map(Owned::from)))
            }
            #[inline(always)]
            fn send_throw(&self, error: $crate::Error) -> Result<(), $crate::error::WaitError> {
                self.send_throw_or(error)
            }
            #[inline(always)]
            fn receive(&self) -> Result<Owned, $crate::error::WaitError> {
                self.receive_or().map(Owned::from)
            }
            #[inline(always)]
            fn receive_timeout(
                &self,
                time: core::time::Duration,
            ) -> Result<Owned, $crate::error::WaitError> {
                self.receive_timeout_or(time).map(Owned::from)
            }
            #[inline(always)]
            fn try_receive(&self) -> Result<Owned, $crate::error::WaitError> {
                self.try_receive_or().map(Owned::from)
            }
            #[inline(always)]
            fn next(&self) -> Option<Result<Owned, $crate::error::WaitError>> {
                self.next_or().map(|received| received.map(Owned::from))
            }
        }
    };
}
pub(super) use carrier;

/// A channel, and how its values are freed.
#[derive(Clone)]
pub struct Carrying<C> {
    pub channel: C,
    pub destroy: hsw_destroy,
}

/// Sends with `send`. A value that `send` gives back because nobody took it in time stays the
/// caller's; in all other failures it is freed.
pub fn send<H, C>(
    handle: H,
    value: *mut c_void,
    send: impl FnOnce(&C, Owned) -> Result<(), Refused>,
) -> hsw_status
where
    H: Handle<Object: Deref<Target = Carrying<C>>>,
{
    entry(|| {
        let kept = object::get(handle)?;
        let to: &Carrying<C> = kept.borrow();
        send(&to.channel, Owned::new(value, to.destroy)).map_err(refused)?;
        Ok(())
    })
}

#[inline(never)] // its locals would lie in every parked tasklet
fn refused((ended, back): Refused) -> WaitError {
    let gives_back = |own: &Error| matches!(own, Error::Timeout | Error::WouldBlock);
    match (&ended, back) {
        (WaitError::Hindered(own), Some(value)) if gives_back(own) => {
            let _callers = value.take();
        }
        // The value is freed here, unless a receiver has got it.
        (_, other) => drop(other),
    }
    ended
}

/// Sends; waits for at most `timeout_ns` nanoseconds.
pub fn send_within<H, C>(handle: H, value: *mut c_void, timeout_ns: u64) -> hsw_status
where
    H: Handle<Object: Deref<Target = Carrying<C>>>,
    C: Carrier,
{
    match time_limit(timeout_ns) {
        Ok(Some(time)) => send(handle, value, |to: &C, value| to.send_timeout(value, time)),
        // A closure of its own, as in `receive_within`.
        Ok(None) => send(handle, value, |to: &C, value| send_patiently(to, value)),
        Err(failure) => entry(|| Err(failure)),
    }
}

/// Sends; waits for as long as it takes.
pub fn send_patiently<C: Carrier>(to: &C, value: Owned) -> Result<(), Refused> {
    to.send(value).map_err(|error| (error, None))
}

/// Receives with `receive`; the value is the caller's.
pub fn receive<H, C>(
    handle: H,
    value: *mut *mut c_void,
    receive: impl FnOnce(&C) -> Result<Owned, WaitError>,
) -> hsw_status
where
    H: Handle<Object: Deref<Target = Carrying<C>>>,
{
    entry(|| {
        let value = out(value, "value")?;
        let kept = object::get(handle)?;
        let from: &Carrying<C> = kept.borrow();
        value.set(receive(&from.channel)?.take().0);
        Ok(())
    })
}

/// Receives; waits for at most `timeout_ns` nanoseconds.
pub fn receive_within<H, C>(handle: H, value: *mut *mut c_void, timeout_ns: u64) -> hsw_status
where
    H: Handle<Object: Deref<Target = Carrying<C>>>,
    C: Carrier,
{
    match time_limit(timeout_ns) {
        Ok(Some(time)) => receive(handle, value, |from: &C| from.receive_timeout(time)),
        // A closure of its own: `receive` is inlined where it is used once, and its frame would lie
        // in every parked tasklet.
        Ok(None) => receive(handle, value, |from: &C| from.receive()),
        Err(failure) => entry(|| Err(failure)),
    }
}

/// Sends an exception.
///
/// SAFETY: `message` is null or a string that ends in a zero byte.
pub unsafe fn send_throw<H, C>(
    handle: H,
    payload: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
) -> hsw_status
where
    H: Handle<Object: Deref<Target = Carrying<C>>>,
    C: Carrier,
{
    entry(|| {
        // SAFETY: `message` is null or ends in a zero byte, as the caller has promised.
        let error = unsafe { payload::thrown(payload, destroy, message) };
        Ok(object::get(handle)?.borrow().channel.send_throw(error)?)
    })
}

/// Sends one value after the other.
///
/// SAFETY: `values` is null or has `count` readable elements.
pub unsafe fn send_sequence<H, C>(
    handle: H,
    values: *const *mut c_void,
    count: usize,
    sent: *mut usize,
) -> hsw_status
where
    H: Handle<Object: Deref<Target = Carrying<C>>>,
    C: Carrier,
{
    entry(|| {
        if values.is_null() && count != 0 {
            return Err(Failure::Null("values"));
        }
        let kept = object::get(handle)?;
        let to: &Carrying<C> = kept.borrow();
        // All values get their owners at once, so that a failure in the middle frees the rest.
        let owned: Vec<Owned> = (0..count)
            // SAFETY: `i` is less than `count`, and `values` has `count` elements, as the caller
            // has promised; null was refused above.
            .map(|i| Owned::new(unsafe { values.add(i).read() }, to.destroy))
            .collect();
        set_if_wanted(sent, 0);
        for (before, value) in owned.into_iter().enumerate() {
            to.channel.send(value)?;
            set_if_wanted(sent, before + 1);
        }
        Ok(())
    })
}

/// The next value of an iteration.
pub fn next<H, C>(handle: H, value: *mut *mut c_void) -> hsw_status
where
    H: Handle<Object: Deref<Target = Carrying<C>>>,
    C: Carrier,
{
    entry(|| {
        let value = out(value, "value")?;
        let received = object::get(handle)?
            .borrow()
            .channel
            .next()
            .ok_or(Failure::StopIteration)??;
        value.set(received.take().0);
        Ok(())
    })
}
