//! corosensei: asymmetric coroutines with a switch that is inlined into its caller. A
//! resume and the suspend that answers it are two switches.

use super::memcpy::Window;
use crate::cases::{Case, BURST};
use crate::herd::Herd;
use crate::offer::{Able, Timed};
use corosensei::stack::{DefaultStack, Stack, StackPointer, MIN_STACK_SIZE, STACK_ALIGNMENT};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub fn timed(case: Case) -> Timed {
    Some(Ok(match case {
        Case::Switch => Able::new(switch),
        Case::SlicedSwitch(_) => Able::new(switch).noting("own stacks, copies nothing"),
        Case::Spawn | Case::SpawnBurst => {
            let burst = if case == Case::Spawn { 1 } else { BURST };
            let mut spare = Vec::new();
            Able::new(move |operations| spawn(operations, burst, &mut spare))
                .noting("no scheduler; stacks reused")
        }
        _ => return None,
    }))
}

/// The best case of all: resume and suspend are inlined into one loop each, no call and
/// no return is near, and every jump is predicted.
fn switch(operations: u64) -> Duration {
    bounce(
        operations,
        |coroutine| {
            coroutine.resume(());
        },
        |yielder| yielder.suspend(()),
    )
}

/// The same through a function on either side, as a scheduler would call them: the
/// processor predicts their returns from a stack that a switch puts out of step.
pub fn timed_called(case: Case) -> Timed {
    #[inline(never)]
    fn resume(coroutine: &mut Coroutine<(), (), ()>) {
        coroutine.resume(());
        black_box(());
    }
    #[inline(never)]
    fn suspend(yielder: &Yielder<(), ()>) {
        yielder.suspend(());
        black_box(());
    }
    (case == Case::Switch).then(|| {
        Ok(Able::new(|operations| bounce(operations, resume, suspend))
            .noting("not inlined: through a function each"))
    })
}

#[inline(always)]
fn bounce(
    operations: u64,
    resume: impl Fn(&mut Coroutine<(), (), ()>),
    suspend: impl Fn(&Yielder<(), ()>) + 'static,
) -> Duration {
    let mut coroutine = Coroutine::new(move |yielder, ()| {
        for _ in 0..operations / 2 {
            suspend(yielder);
        }
    });
    let start = Instant::now();
    for _ in 0..operations / 2 {
        resume(&mut coroutine);
    }
    let took = start.elapsed();
    resume(&mut coroutine);
    took
}

/// A raw switch plus the two copies of every sliced one: what the plainest share-stack
/// scheme on top of corosensei's switch would cost.
pub fn timed_with_copies(case: Case) -> Timed {
    let Case::SlicedSwitch(bytes) = case else {
        return None;
    };
    let window = Rc::new(RefCell::new(Window::new(bytes)));
    let batch = move |operations: u64| {
        let (window, its_window) = (window.clone(), window.clone());
        let mut coroutine = Coroutine::<(), (), ()>::new(move |yielder, ()| {
            for _ in 0..operations / 2 {
                its_window.borrow_mut().exchange();
                yielder.suspend(());
            }
        });
        let start = Instant::now();
        for _ in 0..operations / 2 {
            window.borrow_mut().exchange();
            coroutine.resume(());
        }
        let took = start.elapsed();
        coroutine.resume(());
        took
    };
    Some(Ok(Able::new(batch)))
}

fn spawn(operations: u64, burst: u64, spare: &mut Vec<DefaultStack>) -> Duration {
    let mut finished = 0u64;
    let mut tasks = Vec::with_capacity(burst as usize);
    let start = Instant::now();
    for _ in 0..operations / burst {
        for _ in 0..burst {
            let stack = spare.pop().unwrap_or_default();
            tasks.push(Coroutine::<(), (), u64, _>::with_stack(stack, |_, ()| 1));
        }
        for mut task in tasks.drain(..) {
            if let CoroutineResult::Return(one) = task.resume(()) {
                finished += one;
            }
            spare.push(task.into_stack());
        }
    }
    let took = start.elapsed();
    assert_eq!(finished, operations / burst * burst);
    took
}

/// The smallest stack that corosensei takes, from the heap: a mapping each, with its
/// guard page, stops at 32,765 of them.
struct HeapStack(*mut u8);

const HEAP_STACK: Layout = match Layout::from_size_align(MIN_STACK_SIZE, STACK_ALIGNMENT) {
    Ok(layout) => layout,
    Err(_) => panic!("a stack's alignment is a power of two"),
};

impl HeapStack {
    fn new() -> HeapStack {
        // SAFETY: the layout's size is not zero.
        let bottom = unsafe { alloc(HEAP_STACK) };
        if bottom.is_null() {
            handle_alloc_error(HEAP_STACK)
        }
        HeapStack(bottom)
    }
}

impl Drop for HeapStack {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout.
        unsafe { dealloc(self.0, HEAP_STACK) }
    }
}

// SAFETY: MIN_STACK_SIZE aligned bytes. There is no guard page: the herd's tasks only
// suspend themselves, which needs a few hundred.
unsafe impl Stack for HeapStack {
    fn base(&self) -> StackPointer {
        StackPointer::new(self.0 as usize + MIN_STACK_SIZE).expect("not null")
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.0 as usize).expect("not null")
    }
}

struct Parked(Vec<Coroutine<u64, (), (), HeapStack>>);

pub fn herd() -> Box<dyn Herd> {
    Box::new(Parked(Vec::new()))
}

impl Herd for Parked {
    fn park(&mut self, tasks: u64) {
        self.0.reserve_exact(tasks as usize);
        for index in 0..tasks {
            let mut task = Coroutine::with_stack(HeapStack::new(), move |yielder, _| {
                let message = yielder.suspend(());
                assert_eq!(message, index);
            });
            task.resume(0);
            self.0.push(task);
        }
    }

    fn wake(&mut self) {
        for (index, task) in self.0.iter_mut().enumerate() {
            assert!(matches!(
                task.resume(index as u64),
                CoroutineResult::Return(())
            ));
        }
    }
}
