//! The values that a tasklet has of [`Local`](crate::Local) keys.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;

use crate::core::contain::drop_each;
use crate::core::task::Task;

/// The values of a tasklet, by key.
pub type Values = Vec<(usize, Rc<dyn Any>)>;

/// How often destructors of values may make new ones.
const ROUNDS: u32 = 10;

/// Drops the values of a tasklet that ends. A destructor may make new ones: they are dropped as
/// well, ten times in all; what is made then goes with the control block. All of a round are
/// dropped though destructors panic, see [`drop_each`]; the caller calls this again then. Returns
/// whether there were any.
///
/// # Safety
/// `task` is the running tasklet, with nothing borrowed from it.
#[cold]
pub unsafe fn drop_values(task: *mut Task) -> bool {
    for round in 0..ROUNDS {
        // SAFETY: `task` is running, so it is live. The values are taken out of it, so that
        // destructors find an empty list.
        let values = unsafe {
            match &mut (*task).extra {
                Some(extra) if !extra.locals.is_empty() => core::mem::take(&mut extra.locals),
                _ => return round > 0,
            }
        };
        drop_each(values);
    }
    true
}
