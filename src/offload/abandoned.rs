//! The callbacks of abandoned calls: each thread keeps its own until the outcome comes, or until
//! the thread ends.

use crate::core::contain::contain_each;
use crate::wait::reactor::Reactor;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// The callbacks of this thread's abandoned calls. They must not leave their thread, so workers
/// know only their numbers.
struct Calls {
    next: Cell<u64>,
    by_number: RefCell<BTreeMap<u64, Expecting>>,
}

/// An outcome that somebody still wants; until this is dropped the loop is not idle.
pub struct Expected(pub Rc<Reactor>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.count_outstanding(-1);
    }
}

/// A callback that gets an outcome, whatever its type.
pub type Expecting = Box<dyn FnOnce(Box<dyn Any>)>;

thread_local! {
    // It has no destructor: `let_go` drops the content when the thread ends.
    static CALLS: ManuallyDrop<Calls> = const { ManuallyDrop::new(Calls::new()) };
}

/// The thread is ending: drops the callbacks of its abandoned calls. Returns whether there were
/// any.
pub fn let_go() -> bool {
    let calls = CALLS.with(|calls| calls.by_number.take());
    let any = !calls.is_empty();
    end(calls);
    any
}

fn end(calls: BTreeMap<u64, Expecting>) {
    contain_each(
        "the end of a callback that was not called",
        calls.into_values(),
    );
}

/// The number of the thread's next abandoned call.
pub fn next_call() -> u64 {
    CALLS.with(|calls| calls.next.get())
}

/// Drops the callbacks of abandoned calls with lower numbers, which will have no outcome.
pub fn forget_calls_before(number: u64) {
    let forgotten = CALLS.with(|calls| {
        let mut by_number = calls.by_number.borrow_mut();
        let kept = by_number.split_off(&number);
        std::mem::replace(&mut *by_number, kept)
    });
    end(forgotten);
}

impl Calls {
    const fn new() -> Calls {
        Calls {
            next: Cell::new(0),
            by_number: RefCell::new(BTreeMap::new()),
        }
    }

    fn insert(&self, call: Expecting) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        self.by_number.borrow_mut().insert(number, call);
        number
    }

    fn remove(&self, number: u64) -> Option<Expecting> {
        self.by_number.borrow_mut().remove(&number)
    }
}

/// Keeps a callback of this thread; returns its number.
pub fn keep(call: Expecting) -> u64 {
    CALLS.with(|calls| calls.insert(call))
}

/// Calls the callback of that number, on the thread that made the call.
pub fn deliver(number: u64, outcome: Box<dyn Any>) {
    if let Some(call) = CALLS.with(|calls| calls.remove(number)) {
        call(outcome);
    }
}
