//! Running user code where no caller is there to catch its panic.

use crate::core::value::Slot;
use crate::error::Error;
use crate::machine::os;

/// How often the payload of a panic is dropped again, when its destructor panics too.
const ROUNDS: u32 = 10;

/// Returns `result` after it has dropped `held`, which an operation leaves behind. If `held` were
/// dropped at the end of the scope, a panic of its destructor would take the place of the result,
/// and Rust would leak the result, and with it the error that was thrown at the caller.
pub fn returned<H, R>(held: H, result: R) -> R {
    contain("a destructor of what an operation left behind", || {
        drop(held);
    });
    result
}

/// Drops a value that was in a slot which an operation has used: a panic of its destructor is kept
/// from the tasklet that waited.
pub fn drop_used(slot: Slot) {
    if !slot.is_empty() {
        contain("a destructor of what was in a transfer slot", || drop(slot));
    }
}

/// Drops the parts one after the other, though their destructors panic: the first panic goes on to
/// the caller afterwards, the others go to the log. (Rust itself would end the process at the
/// second one.)
pub fn drop_each<T>(parts: impl IntoIterator<Item = T>) {
    struct Rest<I: Iterator>(I);
    impl<I: Iterator> Drop for Rest<I> {
        fn drop(&mut self) {
            contain_each(AFTER, self.0.by_ref());
        }
    }
    let mut rest = Rest(parts.into_iter());
    for part in rest.0.by_ref() {
        drop(part);
    }
}

const AFTER: &str = "a destructor after one that has panicked";

/// As [`drop_each`], for two things of different types.
pub fn drop_both<A, B>(first: A, second: B) {
    struct Rest<B>(Option<B>);
    impl<B> Drop for Rest<B> {
        fn drop(&mut self) {
            contain_each(AFTER, self.0.take());
        }
    }
    let mut rest = Rest(Some(second));
    drop(first);
    drop(rest.0.take());
}

/// Drops the parts one after the other; the panics of their destructors go to the log.
pub fn contain_each<T>(what: &str, parts: impl IntoIterator<Item = T>) {
    for part in parts {
        contain(what, || drop(part));
    }
}

/// Runs user code where no caller is there to catch its panic: the panic goes to the log.
///
/// Destructors of what an operation lost run so too, while the operation has a value to return
/// that belongs to somebody else: see [`returned`].
pub fn contain(what: &str, f: impl FnOnce()) {
    contain_as(format_args!("{what}"), f);
}

pub fn contain_as(what: core::fmt::Arguments<'_>, f: impl FnOnce()) {
    let called = os::catch(|| {
        f();
        Ok(())
    });
    if let Err(error) = called {
        log_contained(what, error);
    }
}

#[cold]
#[inline(never)]
fn log_contained(what: core::fmt::Arguments<'_>, error: Error) {
    let mut left = os::catch(|| {
        log::error!("error in {what}: {error}");
        drop(error);
        Ok(())
    });
    // A panic of the logger cannot be logged, and the destructor of a payload can panic as well.
    for _ in 0..ROUNDS {
        if left.is_ok() {
            return;
        }
        left = os::catch(|| {
            drop(left);
            Ok(())
        });
    }
    core::mem::forget(left);
}
