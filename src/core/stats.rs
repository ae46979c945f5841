//! Figures of a thread's runtime.

use crate::core::runtime::Runtime;
use crate::core::task::Window;

/// Figures of a thread's runtime. Bytes unless the name says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Switches so far.
    pub switches: u64,
    /// Tasklets that exist, main included.
    pub tasklets: usize,
    /// Tasklets that were ever made, main included.
    pub tasklets_made: u64,
    /// Tasklets that have run to their end.
    pub tasklets_completed: u64,
    /// Turns that tasklets had in the last run with a budget.
    pub last_run_switches: u64,
    /// Tasklets that ended in the last run with a budget.
    pub last_run_completed: u64,
    /// Timeouts that run.
    pub timeouts: usize,
    /// Channels that exist.
    pub channels: usize,
    /// Tasklets in the run queue, the running one included.
    pub run_count: usize,
    /// Tasklets that refused to end.
    pub zombies: usize,
    /// Bytes in the slices that tasklets hold.
    pub slice_bytes: usize,
    /// The most that `slice_bytes` has been.
    pub slice_peak: usize,
    /// Bytes in free slices that are kept.
    pub slice_cache_bytes: usize,
    /// How often a slice had to come from the allocator.
    pub slice_allocations: u64,
    /// Bytes copied out of and into windows so far.
    pub copied_bytes: u64,
    /// Bytes of all windows.
    pub window_bytes: usize,
    /// Stacks that tasklets own.
    pub stacks: usize,
    /// Stacks that wait in the pool.
    pub stacks_pooled: usize,
    /// Bytes of control blocks, free ones included.
    pub control_bytes: usize,
    /// All bytes that count against the ceiling.
    pub memory_bytes: usize,
}

/// Figures of the calling thread's runtime.
pub fn stats() -> Stats {
    Runtime::get().stats()
}

impl Runtime {
    pub fn stats(&self) -> Stats {
        Stats {
            switches: self.switches.get(),
            tasklets: self.slab.live(),
            tasklets_made: self.slab.taken(),
            tasklets_completed: self.runs.completed.get(),
            last_run_switches: self.runs.last.get().0,
            last_run_completed: self.runs.last.get().1,
            timeouts: self.deadlines.waiting(),
            channels: self.public_channels(),
            run_count: self.queue.len(),
            zombies: self.zombies.get(),
            slice_bytes: self.slices.in_use(),
            slice_peak: self.slices.peak(),
            slice_cache_bytes: self.slices.cached(),
            slice_allocations: self.slices.allocations(),
            copied_bytes: self.copied.get(),
            window_bytes: self.windows().iter().map(Window::size).sum(),
            stacks: self.stacks.in_use(),
            stacks_pooled: self.stacks.pooled(),
            control_bytes: self.slab.bytes(),
            memory_bytes: self.budget.used.get(),
        }
    }
}
