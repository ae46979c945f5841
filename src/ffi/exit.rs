//! Kills that became exceptions of a language: one that is swallowed comes again.

use core::sync::atomic::{AtomicU64, Ordering};

use super::last_error::current_id;
use super::thread_state;
use crate::core::runtime::Runtime;

/// The last kill that a tasklet was told of.
#[derive(Default)]
pub struct Kill {
    /// A number that no other kill in the process has.
    number: u64,
    /// How often this kill has been swallowed.
    swallowed: u32,
}

/// For languages with exceptions: tells that a call has failed with `HSW_ERR_EXIT` and that this
/// becomes an exception. Returns the number of that exception. If the exception is destroyed before
/// it has reached the end of the tasklet's function, `hsw_exit_swallowed` reports that.
/// `hardswitch.hpp` does this.
#[no_mangle]
pub extern "C" fn hsw_exit_told() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    super::quietly(0, || {
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let told = thread_state::with(|part| {
            part.exits
                .borrow_mut()
                .entry(current_id())
                .or_default()
                .number = number;
            Ok(number)
        });
        if told.is_ok() {
            super::last_error::forget_at_end();
        }
        told.unwrap_or(0)
    })
}

/// Reports that the exception with this number is gone, and its tasklet runs on. If that is the
/// calling tasklet, and this was the last kill that it was told of, its next wait fails with
/// `HSW_ERR_EXIT` again; after ten times nothing more is done. In all other cases this does
/// nothing.
#[no_mangle]
pub extern "C" fn hsw_exit_swallowed(number: u64) {
    super::quietly((), || {
        // Zero is nobody's number: a tasklet that was told of no kill has it as well.
        if number == 0 || !thread_state::is_made() || Runtime::existing().is_none() {
            return;
        }
        let again = thread_state::with(|part| {
            let mut exits = part.exits.borrow_mut();
            let Some(told) = exits.get_mut(&current_id()).filter(|t| t.number == number) else {
                return Ok(false);
            };
            told.number = 0;
            told.swallowed += 1;
            Ok(told.swallowed <= crate::core::release::KILLS)
        });
        if again.unwrap_or(false) {
            crate::core::throw::exit_again(Runtime::get());
        }
    });
}
