//! With std: each thread has a part of its own.

use super::*;
use alloc::boxed::Box;
use core::cell::Cell;
use core::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

std::thread_local! {
    /// Made by the first call, ended by `AT_EXIT`. It has no destructor of its own, so that
    /// tasklets which end with the thread still find it.
    static PART: Cell<*const Part> = const { Cell::new(ptr::null()) };
    static AT_EXIT: AtExit = const { AtExit };
}

struct AtExit;

impl Drop for AtExit {
    fn drop(&mut self) {
        if crate::lifecycle::abandons() {
            // The handles stay as well: to give one back might run a tasklet.
            return crate::lifecycle::ends_now(clear);
        }
        let part = PART.get();
        if part.is_null() {
            return;
        }
        crate::lifecycle::thread_exit(clear);
        PART.set(ptr::null());
        // SAFETY: `begin` made it with `Box::into_raw`, and only this destructor frees it,
        // once. Nobody has a reference: those that `with` gives out end with its call.
        let part = unsafe { Box::from_raw(part.cast_mut()) };
        let number = part.number();
        drop(part);
        NUMBERS.give_back(number);
    }
}

/// The numbers of threads. When a thread has ended, its number is given to another one.
struct Numbers {
    last: u16,
    given: Mutex<Given>,
}

struct Given {
    /// Tags up to this one have been given.
    most: u16,
    spare: Vec<Number>,
}

static NUMBERS: Numbers = Numbers::up_to(u16::MAX);

impl Numbers {
    const fn up_to(last: u16) -> Numbers {
        let given = Given {
            most: 0,
            spare: Vec::new(),
        };
        Numbers {
            last,
            given: Mutex::new(given),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Number> {
        let mut given = self.lock();
        if let Some(number) = given.spare.pop() {
            return Some(number);
        }
        if given.most == self.last {
            return None;
        }
        given.most += 1;
        Some(Number {
            tag: given.most,
            generations: Vec::new(),
        })
    }

    fn give_back(&self, number: Number) {
        self.lock().spare.push(number);
    }
}

/// Has the calling thread a part?
pub(in super::super) fn is_made() -> bool {
    !PART.get().is_null()
}

/// Empties the calling thread's part. Returns whether there was anything.
pub(super) fn clear() -> bool {
    // SAFETY: null, or made by `begin`; it is freed by the destructor of `AT_EXIT` alone, after
    // this call.
    unsafe { PART.get().as_ref() }.is_some_and(Part::clear)
}

#[cold]
#[inline(never)]
fn begin() -> Result<*const Part, Failure> {
    // Two destructors may come first at the thread's end, this one's or that of the runtime.
    // Whichever does ends both.
    if !crate::lifecycle::ends_with_thread(clear) || AT_EXIT.try_with(|_| ()).is_err() {
        return Err(Failure::ThreadEnding);
    }
    let number = NUMBERS.take();
    let number = number.ok_or(Failure::Limit(
        "65535 threads that use the library at a time",
    ))?;
    let part = Box::into_raw(Box::new(Part::new(number)));
    PART.set(part);
    Ok(part)
}

/// Calls `f` with the calling thread's part.
#[inline]
pub(in super::super) fn with<R>(f: impl FnOnce(&Part) -> Result<R, Failure>) -> Result<R, Failure> {
    let mut part = PART.get();
    if part.is_null() {
        part = begin()?;
    }
    // SAFETY: made by `begin`, and freed by the destructor of `AT_EXIT` alone, which runs in no
    // call of this function.
    f(unsafe { &*part })
}

/// Ends all that the library keeps for the calling thread.
pub(in super::super) fn leave() {
    crate::lifecycle::thread_exit(clear);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_thread_that_has_ended_is_given_again() {
        let numbers = Numbers::up_to(2);
        let (first, second) = (numbers.take().unwrap(), numbers.take().unwrap());
        assert_ne!(first.tag, second.tag);
        assert!(numbers.take().is_none(), "no two have the same");
        for round in 0..100 {
            numbers.give_back(Number {
                tag: second.tag,
                generations: alloc::vec![alloc::vec![round]],
            });
            let again = numbers.take().unwrap();
            assert_eq!((again.tag, again.generations[0][0]), (second.tag, round));
            assert!(numbers.take().is_none());
        }
    }
}
