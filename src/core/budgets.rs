//! The runs of a thread that are under way: their budgets, and what they have counted.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use crate::core::references::Tasklet;
use crate::core::task::Task;

/// A budget that runs.
pub(crate) struct Entry {
    pub(crate) owner: *mut Task,
    /// Index of the owner's place among the watchdogs.
    pub(crate) level: usize,
    /// The count of turns at which it is used up.
    pub(crate) turns: Option<u64>,
    /// The time (of the thread's clock, nanoseconds) at which it is.
    pub(crate) deadline: Option<u64>,
    /// The runs inside this one come to their end first.
    pub(crate) patient: bool,
    pub(crate) used_up: bool,
    pub(crate) victim: Option<Tasklet>,
}

/// What belongs to the runs of a thread.
pub(crate) struct Runs {
    pub(crate) budgets: RefCell<Vec<Entry>>,
    /// Turns that were none: a tasklet alone in the queue gave way.
    pub(crate) alone: Cell<u64>,
    /// Tasklets that have ended.
    pub(crate) completed: Cell<u64>,
    /// Turns and ends of the last run with a budget.
    pub(crate) last: Cell<(u64, u64)>,
}

impl Runs {
    pub(crate) fn new() -> Runs {
        Runs {
            budgets: RefCell::new(Vec::new()),
            alone: Cell::new(0),
            completed: Cell::new(0),
            last: Cell::new((0, 0)),
        }
    }
}
