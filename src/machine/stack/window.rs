//! Windows: small stacks that many members share, one after the other.
//!
//! A window remembers its *resident*, the member whose bytes lie in it. Switching to a resident
//! copies nothing; another member of the same window must evict it first. A member belongs to one
//! window for all of a run, since its bytes must come back to the addresses they left.

use core::cell::Cell;

use crate::machine::os::StackMemory;
use crate::machine::stack::limit;
use crate::machine::valgrind;

/// Written at the lower end of windows that have no guard page.
pub const CANARY: [usize; 2] = [0x5ca1_ab1e_0ddb_a11c_u64 as usize; 2];

enum Memory {
    Mapped(#[allow(dead_code)] StackMemory),
    /// Memory of the host, handed in with the settings.
    Lent(#[allow(dead_code)] valgrind::Stack),
}

/// A window of members `M`, which it never looks at.
pub struct Window<M> {
    /// The address just above the window, on a boundary of `STACK_ALIGN`.
    pub top: usize,
    pub bottom: usize,
    /// See [`limit`].
    pub limit: usize,
    /// The member whose bytes lie here; null when there is none.
    pub resident: Cell<*mut M>,
    /// A word that its maker keeps with it.
    pub tag: u32,
    /// The number of members that belong to the window.
    pub members: Cell<usize>,
    /// True when running off the end faults; otherwise a canary is there.
    pub guarded: bool,
    _memory: Memory,
}

impl<M> Window<M> {
    /// A window in memory of its own. `tag` returns the word that it keeps for its maker, given
    /// whether it is guarded.
    pub fn mapped(size: usize, guard: usize, tag: fn(bool) -> u32) -> crate::Result<Window<M>> {
        let memory = StackMemory::new(size, guard)?;
        let (bottom, top) = (memory.bottom(), memory.top());
        let (guarded, memory) = (StackMemory::GUARDED, Memory::Mapped(memory));
        Ok(Window::over(bottom, top, guarded, tag, memory))
    }

    /// A window in memory that the host lends.
    ///
    /// # Safety
    /// `[bottom, top)` is writable, and nothing else uses it, for as long as the
    /// runtime lives.
    pub unsafe fn lent(bottom: usize, top: usize, tag: fn(bool) -> u32) -> Window<M> {
        let stack = valgrind::Stack::register(bottom, top);
        Window::over(bottom, top, false, tag, Memory::Lent(stack))
    }

    fn over(
        bottom: usize,
        top: usize,
        guarded: bool,
        tag: fn(bool) -> u32,
        memory: Memory,
    ) -> Window<M> {
        let top = top & !(crate::machine::arch::STACK_ALIGN - 1);
        let bottom = bottom.next_multiple_of(crate::machine::arch::STACK_ALIGN);
        if !guarded {
            // SAFETY: the lower end of memory that the window has to itself.
            unsafe { (bottom as *mut [usize; 2]).write(CANARY) };
        }
        // The canary's bytes are not part of the stack.
        let lowest = bottom + if guarded { 0 } else { size_of_val(&CANARY) };
        Window {
            top,
            bottom,
            limit: limit(lowest),
            resident: Cell::new(core::ptr::null_mut()),
            tag: tag(guarded),
            members: Cell::new(0),
            guarded,
            _memory: memory,
        }
    }

    /// Without a guard page: is the canary whole?
    #[inline]
    pub fn intact(&self) -> bool {
        // SAFETY: written in `over`, in memory that the window has to itself.
        let canary = || unsafe { (self.bottom as *const [usize; 2]).read_volatile() };
        self.guarded || canary() == CANARY
    }

    pub fn size(&self) -> usize {
        self.top - self.bottom
    }
}
