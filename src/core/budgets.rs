//! The runs of a thread that are under way: their budgets, and what they have counted.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use crate::core::references::Tasklet;
use crate::core::task::Task;

/// A budget that runs.
pub struct Entry {
    pub owner: *mut Task,
    /// Index of the owner's place among the watchdogs.
    pub level: usize,
    /// The count of turns at which it is used up.
    pub turns: Option<u64>,
    /// The time (of the thread's clock, nanoseconds) at which it is used up.
    pub deadline: Option<u64>,
    /// The runs inside this one come to their end first.
    pub patient: bool,
    pub used_up: bool,
    pub victim: Option<Tasklet>,
}

/// What belongs to the runs of a thread.
pub struct Runs {
    pub budgets: RefCell<Vec<Entry>>,
    /// Turns without a switch: a tasklet alone in the queue gave way.
    pub alone: Cell<u64>,
    /// Tasklets that have ended.
    pub completed: Cell<u64>,
    /// Turns and ends of the last run with a budget.
    pub last: Cell<(u64, u64)>,
}

impl Runs {
    pub fn new() -> Runs {
        Runs {
            budgets: RefCell::new(Vec::new()),
            alone: Cell::new(0),
            completed: Cell::new(0),
            last: Cell::new((0, 0)),
        }
    }
}
