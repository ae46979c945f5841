//! The memory for the control blocks of a thread: chunks of cells that never move, and a list of
//! the free cells.

use alloc::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::{mem, ptr};

use crate::core::task::{flag, Task};
use crate::error::{Error, Result};
use crate::machine::stack::Budget;

/// Cells of the first chunk; each further one is twice as large, up to `MAX_CHUNK`.
const FIRST_CHUNK: usize = 32;
const MAX_CHUNK: usize = 1024;

/// A chunk of control blocks. `repr(C)`: debugger scripts read it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Chunk {
    cells: *mut Task,
    count: usize,
}

/// The control blocks of a runtime.
pub struct Slab {
    chunks: RefCell<Vec<Chunk>>,
    free: Cell<*mut Task>,
    /// Cells in use.
    live: Cell<usize>,
    /// Cells that were given back.
    freed: Cell<u64>,
}

impl Slab {
    pub fn new() -> Slab {
        Slab {
            chunks: RefCell::new(Vec::new()),
            free: Cell::new(ptr::null_mut()),
            live: Cell::new(0),
            freed: Cell::new(0),
        }
    }

    /// Is no cell free?
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.free.get().is_null()
    }

    /// A blank cell with these flags and one reference, the caller's.
    ///
    /// # Safety
    /// The slab is not [full](Slab::is_full).
    #[inline(always)]
    pub unsafe fn take(&self, flags: u32) -> *mut Task {
        let task = self.free.get();
        // SAFETY: the slab is not full, so this is a free cell of a chunk. Its `next` links the
        // free list, all else is as `Task::new` made it or as `give` found it.
        unsafe {
            self.free.set((*task).next);
            (*task).next = ptr::null_mut();
            (*task).flags = flags;
            (*task).refs = 1;
            (*task).switches = 0;
        }
        self.live.set(self.live.get() + 1);
        task
    }

    /// Makes more cells, each as `blank` makes it.
    ///
    /// # Errors
    /// [`Error::MemoryCeiling`], [`Error::OutOfMemory`].
    #[cold]
    pub fn grow(&self, budget: &Budget, blank: impl Fn() -> Task) -> Result<()> {
        let mut chunks = self.chunks.borrow_mut();
        let count = chunks
            .last()
            .map_or(FIRST_CHUNK, |chunk| (2 * chunk.count).min(MAX_CHUNK));
        let Ok(layout) = Layout::array::<Task>(count) else {
            return Err(Error::OutOfMemory);
        };
        budget.take(layout.size())?;
        // SAFETY: the layout is not empty; each cell is written before it is linked.
        unsafe {
            let cells = alloc(layout).cast::<Task>();
            if cells.is_null() {
                budget.give(layout.size());
                return Err(Error::OutOfMemory);
            }
            for i in (0..count).rev() {
                let cell = cells.add(i);
                ptr::write(cell, blank());
                (*cell).flags = flag::FREE;
                (*cell).next = self.free.get();
                self.free.set(cell);
            }
            chunks.push(Chunk { cells, count });
        }
        Ok(())
    }

    /// Gives a cell back. What the tasklet owned has been moved out.
    ///
    /// # Safety
    /// `task` is a cell of this slab that was taken, and there is no reference to it any more.
    #[inline]
    pub unsafe fn give(&self, task: *mut Task) {
        // SAFETY: a cell of this slab that only the caller uses.
        unsafe {
            debug_assert!((*task).floating() && (*task).refs == 0 && (*task).is_blank());
            (*task).flags = flag::FREE;
            (*task).next = self.free.get();
        }
        self.free.set(task);
        self.live.set(self.live.get() - 1);
        self.freed.set(self.freed.get() + 1);
    }

    /// From now on no cell is taken again, unless the slab [grows](Slab::grow).
    pub fn forget_free(&self) {
        self.free.set(ptr::null_mut());
    }

    /// Cells in use.
    pub fn live(&self) -> usize {
        self.live.get()
    }

    /// How often a cell was taken.
    pub fn taken(&self) -> u64 {
        self.freed.get() + self.live.get() as u64
    }

    /// Bytes of all cells.
    pub fn bytes(&self) -> usize {
        let cells = self
            .chunks
            .borrow()
            .iter()
            .map(|chunk| chunk.count)
            .sum::<usize>();
        cells * mem::size_of::<Task>()
    }

    /// The chunks, for debuggers: the address of the first, and their number.
    pub fn chunks(&self) -> (*const Chunk, usize) {
        let chunks = self.chunks.borrow();
        (chunks.as_ptr(), chunks.len())
    }

    /// Calls `f` with each cell that is in use and referred to.
    pub fn each(&self, mut f: impl FnMut(*mut Task)) {
        for chunk in self.chunks.borrow().iter() {
            for i in 0..chunk.count {
                // SAFETY: cells of a chunk are always initialised.
                unsafe {
                    let task = chunk.cells.add(i);
                    if !(*task).is(flag::FREE) && (*task).refs > 0 {
                        f(task);
                    }
                }
            }
        }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        for chunk in self.chunks.get_mut().drain(..) {
            match Layout::array::<Task>(chunk.count) {
                // SAFETY: allocated in `grow` with this layout. A cell that is free owns nothing.
                Ok(layout) => unsafe { dealloc(chunk.cells.cast(), layout) },
                Err(_) => handle_alloc_error(Layout::new::<Task>()),
            }
        }
    }
}
