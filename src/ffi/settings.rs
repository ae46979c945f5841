//! Settings of the calling thread.

use core::ffi::c_void;

use super::{entry, hsw_status, out, Failure};
use crate::Settings;

/// Sizes and limits of a thread's runtime. Fill it with `hsw_settings_default` or
/// `hsw_settings_console`, change what you like, and pass it to `hsw_init`. Sizes in bytes.
#[repr(C)]
pub struct hsw_settings {
    /// How many windows sliced tasklets share, 1 to 1024. As long as no more tasklets than that are
    /// switched between, nothing is copied.
    pub windows: usize,
    /// Size of a window: the stack of a sliced tasklet, which it can only exceed by spilling.
    pub window_size: usize,
    /// How much of its stack a tasklet must have in use before a spill moves frames to the heap; 0:
    /// it always does.
    pub watermark: usize,
    /// Size of an own stack, unless its tasklet asks for another.
    pub stack_size: usize,
    /// How many used own stacks are kept for new tasklets.
    pub stack_pool: usize,
    /// Size of the guard below each window and stack, which faults when it is touched; at least a
    /// page. It takes address space, but no memory. A frame that is larger and was compiled without
    /// stack probes (`-fstack-clash-protection`) can step over it.
    pub guard_size: usize,
    /// Bytes of free slices that are kept.
    pub slice_cache: usize,
    /// What control blocks, slices and stacks may take together. Beyond it `hsw_spawn`, and
    /// switches that need more memory, fail with `HSW_ERR_OUT_OF_MEMORY`. `SIZE_MAX`: no ceiling.
    pub memory_ceiling: usize,
    /// Whether a stack overflow is reported with the tasklet's name. Installs a handler for SIGSEGV
    /// and SIGBUS; the previous handler is called as well, after the report and for all other
    /// faults.
    pub overflow_report: bool,
    /// How long the last runnable tasklet of the thread spins for its partner on another thread
    /// before the thread goes to sleep, in nanoseconds of processor time. 0: never; a library
    /// without threads never does.
    pub spin_ns: u64,
}

impl From<Settings> for hsw_settings {
    fn from(settings: Settings) -> Self {
        hsw_settings {
            windows: settings.windows,
            window_size: settings.window_size,
            watermark: settings.watermark,
            stack_size: settings.stack_size,
            stack_pool: settings.stack_pool,
            guard_size: settings.guard_size,
            slice_cache: settings.slice_cache,
            memory_ceiling: settings.memory_ceiling,
            overflow_report: settings.overflow_report,
            spin_ns: super::run::nanoseconds(settings.spin),
        }
    }
}

/// Fills in the settings for machines with virtual memory.
#[no_mangle]
pub unsafe extern "C" fn hsw_settings_default(settings: *mut hsw_settings) -> hsw_status {
    entry(|| {
        out(settings, "settings")?.set(Settings::default().into());
        Ok(())
    })
}

/// Fills in the limits of a console: one window of 16 KiB, and little kept.
#[no_mangle]
pub unsafe extern "C" fn hsw_settings_console(settings: *mut hsw_settings) -> hsw_status {
    entry(|| {
        out(settings, "settings")?.set(Settings::console().into());
        Ok(())
    })
}

/// Gives the calling thread its runtime. It is optional: the first call that needs a runtime makes
/// it, with the default settings, which null stands for, too. `HSW_ERR_SETTINGS`: a value is out of
/// range, or the thread has a runtime already; nothing has changed then, so other settings can be
/// tried. (A failure does not make a runtime by itself, except without std.)
#[no_mangle]
pub unsafe extern "C" fn hsw_init(settings: *const hsw_settings) -> hsw_status {
    // SAFETY: `settings` is null or points to readable settings (contract of the interface).
    entry(|| unsafe { wanted(settings) }.apply().map_err(Failure::own))
}

/// As `hsw_init`, with the windows in memory of the host's: `windows * window_size` bytes, and 32
/// more for alignment. The memory must stay the thread's alone until the thread has ended. There
/// are no guard pages then: an overflow is found when the tasklet is switched away from, and ends
/// the process with a message that names the tasklet.
#[no_mangle]
pub unsafe extern "C" fn hsw_init_in(
    settings: *const hsw_settings,
    memory: *mut c_void,
    bytes: usize,
) -> hsw_status {
    entry(|| {
        if memory.is_null() {
            return Err(Failure::Null("memory"));
        }
        // SAFETY: `settings` is null or readable, and the `bytes` bytes at `memory` are the
        // thread's alone until it has ended (contract of the interface and of this function).
        let applied = unsafe { wanted(settings).apply_in(memory.cast(), bytes) };
        applied.map_err(Failure::own)
    })
}

/// The settings that C asks for.
///
/// SAFETY: `settings` is null or points to readable settings.
unsafe fn wanted(settings: *const hsw_settings) -> Settings {
    let mut wanted = Settings::default();
    // SAFETY: null, or readable, as the caller has promised.
    if let Some(settings) = unsafe { settings.as_ref() } {
        wanted.windows = settings.windows;
        wanted.window_size = settings.window_size;
        wanted.watermark = settings.watermark;
        wanted.stack_size = settings.stack_size;
        wanted.stack_pool = settings.stack_pool;
        wanted.guard_size = settings.guard_size;
        wanted.slice_cache = settings.slice_cache;
        wanted.memory_ceiling = settings.memory_ceiling;
        wanted.overflow_report = settings.overflow_report;
        wanted.spin = core::time::Duration::from_nanos(settings.spin_ns);
    }
    wanted
}
