//! Limits and sizes of a thread's runtime, with the presets.

use core::time::Duration;

#[allow(unused_imports)] // for the documentation
use crate::error::Error;
use crate::error::SettingsError;

/// Limits and sizes of a thread's runtime. Apply them before the thread's
/// first use of the library.
///
/// ```
/// let settings = hardswitch::Settings { windows: 2, ..hardswitch::Settings::console() };
/// std::thread::spawn(move || settings.apply().unwrap()).join().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Windows that sliced tasklets share; at least 1. They are made when the
    /// first sliced tasklet is. A hot set of as many tasklets never copies.
    pub windows: usize,
    /// Bytes of a window. A sliced tasklet cannot use more stack, except by
    /// spilling.
    pub window_size: usize,
    /// Bytes of stack in use above which [`spill`](crate::spill) moves frames to the heap;
    /// 0: always.
    pub watermark: usize,
    /// Bytes of the stack of a tasklet that owns one, unless it asks for another size.
    pub stack_size: usize,
    /// Used stacks that are kept for new tasklets.
    pub stack_pool: usize,
    /// Bytes below each window and stack that fault when they are touched; a page at least. It
    /// is address space alone, no memory. A frame that is larger than this and was compiled
    /// without stack probes can step over them; then the next switch notices it, or nothing does.
    /// Means nothing without an operating system.
    pub guard_size: usize,
    /// Bytes of free slices that are kept.
    pub slice_cache: usize,
    /// Bytes that control blocks, slices and stacks may take together; beyond
    /// it `spawn` and switches that would need more fail with
    /// [`Error::MemoryCeiling`].
    pub memory_ceiling: usize,
    /// Report an overflow with the name of the tasklet. Installs a handler for SIGSEGV and
    /// SIGBUS; the one that was there is called as well, after the report and for all other faults.
    pub overflow_report: bool,
    /// How long the last tasklet of the thread that can run spins for its partner on another
    /// thread (a [`thread::Channel`](crate::thread::Channel), [`sync`](crate::sync), a call of
    /// [`offload`](crate::offload)) before
    /// the thread goes to sleep: a thread that is at work mostly answers sooner than
    /// a sleeping one can be woken. Spinning costs processor time, so it happens less often after
    /// it was in vain. Zero, or one processor: never.
    pub spin: Duration,
}

impl Settings {
    /// For machines with virtual memory.
    pub const fn desktop() -> Settings {
        Settings {
            windows: 4,
            window_size: 128 * 1024,
            watermark: 64 * 1024,
            stack_size: 64 * 1024,
            stack_pool: 256,
            guard_size: 1024 * 1024,
            slice_cache: 1024 * 1024,
            memory_ceiling: usize::MAX,
            overflow_report: true,
            spin: Duration::from_micros(20),
        }
    }

    /// The limits of a console: one window of 16 KiB and a low watermark. The rest of the window,
    /// 12 KiB, is what an exception needs to unwind on PowerPC.
    pub const fn console() -> Settings {
        Settings {
            windows: 1,
            window_size: 16 * 1024,
            watermark: 4 * 1024,
            stack_size: 16 * 1024,
            stack_pool: 4,
            guard_size: 64 * 1024,
            slice_cache: 64 * 1024,
            memory_ceiling: usize::MAX,
            overflow_report: true,
            spin: Duration::ZERO,
        }
    }

    /// Is each value within its limits?
    ///
    /// # Errors
    /// The first value that is not.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        const LEAST: usize = 4 * 1024;
        const MOST: usize = isize::MAX as usize / 4096;
        let sane = |size| (LEAST..=MOST).contains(&size);
        if !(1..=1024).contains(&self.windows) {
            return Err(SettingsError::Windows);
        }
        if !sane(self.window_size) {
            return Err(SettingsError::WindowSize);
        }
        if self.watermark > self.window_size {
            return Err(SettingsError::Watermark);
        }
        if !sane(self.stack_size) {
            return Err(SettingsError::StackSize);
        }
        if self.guard_size > MOST {
            return Err(SettingsError::GuardSize);
        }
        if self.memory_ceiling < 16 * 1024 {
            return Err(SettingsError::MemoryCeiling);
        }
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::desktop()
    }
}
