//! The `context` crate: Boost.Context's assembly behind a Rust function, symmetric
//! switches on stacks that the caller brings.

use crate::cases::Case;
use crate::herd::Herd;
use crate::offer::{Able, Timed};
use context::stack::{ProtectedFixedSizeStack, Stack};
use context::{Context, Transfer};
use std::time::Instant;

pub fn timed(case: Case) -> Timed {
    if case != Case::Switch {
        return None;
    }
    let stack = match ProtectedFixedSizeStack::new(64 << 10) {
        Ok(stack) => stack,
        Err(error) => return Some(Err(error.to_string())),
    };
    let batch = move |operations: u64| {
        // SAFETY: the stack is the closure's, and the context on it is given up before
        // the batch ends.
        unsafe {
            let mut there = Context::new(&stack, bounce);
            let start = Instant::now();
            for _ in 0..operations / 2 {
                there = there.resume(0).context;
            }
            start.elapsed()
        }
    };
    Some(Ok(Able::new(batch)))
}

extern "C" fn bounce(mut transfer: Transfer) -> ! {
    loop {
        // SAFETY: the context that came with the transfer has not been resumed yet.
        transfer = unsafe { transfer.context.resume(0) };
    }
}

/// In 16-byte units, because a stack must be aligned so.
type HeapStack = Box<[u128; 256]>;

struct Parked(Vec<(Context, HeapStack)>);

pub fn herd() -> Box<dyn Herd> {
    Box::new(Parked(Vec::new()))
}

impl Herd for Parked {
    fn park(&mut self, tasks: u64) {
        self.0.reserve_exact(tasks as usize);
        for _ in 0..tasks {
            let mut memory: HeapStack = Box::new([0; 256]);
            let range = memory.as_mut_ptr_range();
            // SAFETY: the memory lives as long as the context, which never moves it; its
            // tasks only switch, which needs a few hundred bytes.
            let context = unsafe {
                Context::new(&Stack::new(range.end.cast(), range.start.cast()), bounce)
                    .resume(0)
                    .context
            };
            self.0.push((context, memory));
        }
    }

    fn wake(&mut self) {
        for (index, (context, memory)) in self.0.drain(..).enumerate() {
            // SAFETY: each context is resumed once more, on the memory that is still here.
            let answer = unsafe { context.resume(index) };
            assert_eq!(answer.data, 0);
            // A context has no end of its own: its owner just lets go of the stack.
            drop(memory);
        }
    }
}
