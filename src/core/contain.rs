//! Running code of a user's where its panic is nobody's to catch.

use crate::core::value::Slot;
use crate::error::Error;
use crate::machine::os;

/// How often what comes of a panic is dropped again, when that panics too.
const ROUNDS: u32 = 10;

/// `result`, when `held` is gone: what an operation leaves behind goes before it returns. Left to the
/// end of the scope, its panic would take the result's place, and Rust leaks that: with it, what was
/// thrown at the caller.
pub fn returned<H, R>(held: H, result: R) -> R {
    contain("a destructor of what an operation left behind", || {
        drop(held);
    });
    result
}

/// Drops what was in a slot that an operation has used: its panic is not the business of who waited.
pub fn drop_used(slot: Slot) {
    if !slot.is_empty() {
        contain("a destructor of what was in a transfer slot", || drop(slot));
    }
}

/// Runs code of a user's where its panic is nobody's to catch: the panic goes to the log.
///
/// So are destructors of what one operation lost while it has something of somebody else's to return:
/// see [`returned`].
pub fn contain(what: &str, f: impl FnOnce()) {
    contain_as(format_args!("{what}"), f);
}

pub fn contain_as(what: core::fmt::Arguments<'_>, f: impl FnOnce()) {
    let called = os::catch(|| {
        f();
        Ok(())
    });
    if let Err(error) = called {
        report(what, error);
    }
}

#[cold]
#[inline(never)]
fn report(what: core::fmt::Arguments<'_>, error: Error) {
    let mut left = os::catch(|| {
        log::error!("error in {what}: {error}");
        drop(error);
        Ok(())
    });
    // A logger that panics has nowhere to say so, and the end of a payload can panic as well.
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
