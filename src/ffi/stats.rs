//! The figures of a thread's runtime.

use super::{entry, hsw_status, out};

/// Figures of a thread's runtime. Sizes are in bytes.
#[repr(C)]
pub struct hsw_stats {
    /// Switches so far.
    pub switches: u64,
    /// Bytes copied out of windows and back into them so far.
    pub copied_bytes: u64,
    /// How often a slice had to come from the allocator.
    pub slice_allocations: u64,
    /// Tasklets that exist, main included.
    pub tasklets: usize,
    /// Channels and queues of the host that exist.
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

/// The figures of the calling thread.
#[no_mangle]
pub unsafe extern "C" fn hsw_get_stats(stats: *mut hsw_stats) -> hsw_status {
    entry(|| {
        let wanted = out(stats, "stats")?;
        let stats = crate::stats();
        wanted.set(hsw_stats {
            switches: stats.switches,
            copied_bytes: stats.copied_bytes,
            slice_allocations: stats.slice_allocations,
            tasklets: stats.tasklets,
            channels: stats.channels,
            run_count: stats.run_count,
            zombies: stats.zombies,
            slice_bytes: stats.slice_bytes,
            slice_peak: stats.slice_peak,
            slice_cache_bytes: stats.slice_cache_bytes,
            window_bytes: stats.window_bytes,
            stacks: stats.stacks,
            stacks_pooled: stats.stacks_pooled,
            control_bytes: stats.control_bytes,
            memory_bytes: stats.memory_bytes,
        });
        Ok(())
    })
}
