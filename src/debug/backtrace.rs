//! Backtraces of tasklets, parked ones too.
//!
//! An unwinder starts where it is called and believes what the CFI says of the caller. So
//! `hsw_asm_walk` calls it with CFI that names the parked tasklet's save area as the caller's
//! frame, and the unwinder walks straight into the tasklet. It reads stack memory, so the tasklet's
//! bytes must lie where they lie when it runs:
//!
//! ```text
//!   window          1. keep       2. overlay     3. walk     4. put back
//!   +----------+    +--------+    +----------+               +----------+
//!   | somebody |    | bytes  |    | slice    |   from `sp`   | somebody |
//!   | else's   | -> | in the | -> | of the   |   up to the   | else's   |
//!   | bytes    |    | heap   |    | tasklet  |   root        | bytes    |
//!   +----------+    +--------+    +----------+               +----------+
//! ```
//!
//! The bytes that are kept may be those of the caller, so all of this happens on a segment and
//! touches only that and the heap. Frames that a spill moved to the heap are walked in the same
//! way, one part after the other.
//!
//! Addresses come from the system's unwinder (`_Unwind_Backtrace`). Names come from std's
//! `Backtrace`, captured in the same place. That offers no stable access to its frames, so they are
//! matched by address in the text that it prints.

use std::backtrace::Backtrace as Symbols;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::fmt;
use std::format;
use std::string::String;
use std::vec::Vec;

use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::spill;
use crate::core::task::{flag, Task};
use crate::error::Result;
use crate::machine::arch;
use crate::machine::stack::slice;

/// How much stack the unwinder, and the look-up of names, may need, in bytes.
const WALK_STACK: usize = 256 * 1024;

/// Where a tasklet was: its frames, innermost first.
///
/// `Display` looks up names, files and lines, as far as the program has them, and prints a frame
/// per entry; `{:#}` prints addresses, too. The look-up is slow (milliseconds); to take a backtrace
/// is not.
pub struct Backtrace {
    parts: Vec<Part>,
}

/// Frames that lie on one stack at one time: those of the window, then those of each spill.
struct Part {
    frames: Vec<Frame>,
    symbols: Symbols,
}

/// One frame of a [`Backtrace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Frame {
    /// The return address, where the frame goes on.
    pub ip: usize,
    /// The first instruction of its function; 0 if that is not known.
    pub function: usize,
}

impl Tasklet {
    /// Where the tasklet is. For a parked tasklet that is the place where it switched, down to its
    /// root, whether its stack is its own, in a window or in a slice; frames that
    /// [`spill::call`] moved to the heap come last. Empty when the
    /// tasklet has not started or has ended.
    ///
    /// Takes a temporary stack, and memory for two copies of the tasklet's stack. It runs no code
    /// of the tasklet and switches to nobody.
    ///
    /// # Errors
    /// [`Error::MemoryCeiling`](crate::Error::MemoryCeiling),
    /// [`Error::StackSize`](crate::Error::StackSize): no memory.
    #[inline(never)]
    pub fn backtrace(&self) -> Result<Backtrace> {
        let task = self.as_ptr();
        // SAFETY: the handle keeps the task alive, and nothing else of this thread runs meanwhile.
        let plan = Box::new(unsafe { Plan::new(task) });
        if plan.walks.is_empty() {
            return Ok(Backtrace { parts: Vec::new() });
        }
        // The plan is moved in and the parts out by value: meanwhile this frame may be away.
        // SAFETY: we are on a segment there, and the plan describes `task` as it is now: nothing
        // has run since.
        let parts = spill::on_segment(move || unsafe { plan.follow() }, WALK_STACK)?;
        Ok(Backtrace { parts })
    }
}

/// Bytes to put into a window, at their place.
#[derive(Clone, Copy)]
struct Overlay {
    from: *const u8,
    low: usize,
}

struct Walk {
    /// The save area to start from; `None` for the running tasklet, whose walk starts here.
    sp: Option<usize>,
    overlay: Option<Overlay>,
}

struct Plan {
    walks: Vec<Walk>,
    /// The top of the window, if there are overlays.
    top: usize,
}

impl Plan {
    /// # Safety
    /// `task` is a live task of this thread.
    unsafe fn new(task: *mut Task) -> Plan {
        // SAFETY: `task` is live, as the caller has promised; windows and runtimes outlive tasks,
        // and the spilled frames belong to the task.
        unsafe {
            let running = core::ptr::eq(Runtime::of(task).current(), task);
            let task = &*task;
            let mut plan = Plan {
                walks: Vec::new(),
                top: task.stack_top(),
            };
            if !running && !task.is(flag::STARTED) {
                return plan;
            }
            plan.walks.push(Walk {
                sp: (!running).then_some(task.sp),
                overlay: task.is(flag::AWAY).then(|| Overlay {
                    from: task.buffer.ptr(),
                    low: task.low(task.sp),
                }),
            });
            for (sp, from) in task.spilled_parts() {
                plan.walks.push(Walk {
                    sp: Some(sp),
                    overlay: Some(Overlay { from, low: sp }),
                });
            }
            plan
        }
    }

    /// # Safety
    /// Called on a segment; the plan is that of a task that has not changed since.
    unsafe fn follow(&self) -> Vec<Part> {
        let mut parts = Vec::with_capacity(self.walks.len());
        let low = self.walks.iter().filter_map(|walk| walk.overlay);
        let low = low.map(|overlay| overlay.low).min().unwrap_or(self.top);
        let mut kept = Vec::<u8>::with_capacity(self.top - low);
        // SAFETY: [low, top) is part of a window in which nobody runs, since we are on a segment.
        // The bytes are put back below, and nothing can unwind or switch before: `walk` only reads.
        unsafe {
            slice::copy(low as *const u8, kept.as_mut_ptr(), self.top - low);
            for walk in &self.walks {
                if let Some(Overlay { from, low }) = walk.overlay {
                    slice::copy(from, low as *mut u8, self.top - low);
                }
                let part = (&raw mut parts).cast();
                match walk.sp {
                    Some(sp) => arch::hsw_asm_walk(sp, collect, part, core::ptr::null_mut()),
                    None => collect(part, part),
                }
            }
            slice::copy(kept.as_ptr(), low as *mut u8, self.top - low);
        }
        parts
    }
}

/// Appends to a `Vec<Part>` the backtrace of the frame that the CFI names as the caller. With a
/// second argument, the backtrace of the caller of `backtrace`.
unsafe extern "C" fn collect(parts: *mut (), from_here: *mut ()) {
    let mut frames = Vec::new();
    let caller = if from_here.is_null() {
        arch::hsw_asm_walk as *const ()
    } else {
        Tasklet::backtrace as *const ()
    };
    let caller = arch::code_address(caller);
    // SAFETY: `parts` is the vector that `follow` passes, and `trace` gets `frames`, as it expects.
    // Nothing here panics; a failing allocator aborts.
    unsafe {
        unwind::_Unwind_Backtrace(trace, (&raw mut frames).cast());
        if let Some(at) = frames.iter().position(|f: &Frame| f.function == caller) {
            frames.drain(..=at);
        }
        (*parts.cast::<Vec<Part>>()).push(Part {
            frames,
            symbols: Symbols::force_capture(),
        });
    }
}

unsafe extern "C" fn trace(context: *mut unwind::Context, frames: *mut ()) -> i32 {
    // SAFETY: the unwinder calls this with a valid context and with the pointer that `collect`
    // passes, to a live `Vec<Frame>`.
    unsafe {
        let ip = unwind::_Unwind_GetIP(context);
        // Unwinders end with a frame without an address.
        if ip != 0 {
            (*frames.cast::<Vec<Frame>>()).push(Frame {
                ip,
                function: unwind::_Unwind_GetRegionStart(context),
            });
        }
    }
    unwind::GO_ON
}

/// Is the function with this address among the callers, not far up?
pub(crate) fn is_called_by(function: usize) -> bool {
    const STOP: i32 = 4;
    const FAR: u32 = 32;
    struct Search {
        function: usize,
        frames: u32,
        found: bool,
    }
    unsafe extern "C" fn visit(context: *mut unwind::Context, search: *mut ()) -> i32 {
        // SAFETY: the unwinder calls this with a valid context and with the pointer below, to a
        // live `Search`.
        unsafe {
            let search = &mut *search.cast::<Search>();
            search.frames += 1;
            search.found = unwind::_Unwind_GetRegionStart(context) == search.function;
            if search.found || search.frames == FAR {
                STOP
            } else {
                unwind::GO_ON
            }
        }
    }
    let mut search = Search {
        function,
        frames: 0,
        found: false,
    };
    // SAFETY: `visit` expects a pointer to a `Search`, and this one lives longer than the call.
    unsafe { unwind::_Unwind_Backtrace(visit, (&raw mut search).cast()) };
    search.found
}

/// The system's unwinder (Itanium C++ ABI, 1.4 to 1.6, and GCC's extension). std links it.
mod unwind {
    #[repr(C)]
    pub(super) struct Context([u8; 0]);

    pub(super) const GO_ON: i32 = 0;

    extern "C" {
        pub(super) fn _Unwind_Backtrace(
            trace: unsafe extern "C" fn(*mut Context, *mut ()) -> i32,
            arg: *mut (),
        ) -> i32;
        pub(super) fn _Unwind_GetIP(context: *mut Context) -> usize;
        pub(super) fn _Unwind_GetRegionStart(context: *mut Context) -> usize;
    }
}

impl Backtrace {
    /// The frames, innermost first, spilled ones included.
    pub fn frames(&self) -> impl Iterator<Item = Frame> + '_ {
        self.parts
            .iter()
            .flat_map(|part| part.frames.iter().copied())
    }
}

/// A function, with its file and line. A frame has several names where the compiler has inlined.
struct Name {
    name: String,
    at: Option<String>,
}

/// Names by address, from std's alternate format: `N: 0xADDRESS - NAME`, and perhaps a line `at
/// FILE:LINE:COLUMN`. An address that occurs in several frames has its names as often.
fn names(text: &str) -> BTreeMap<usize, Vec<Name>> {
    let mut all = BTreeMap::<usize, Vec<Name>>::new();
    let mut last = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(at) = line.strip_prefix("at ") {
            if let Some(name) = last
                .and_then(|ip| all.get_mut(&ip))
                .and_then(|n| n.last_mut())
            {
                name.at = Some(at.into());
            }
        } else if let Some((ip, name)) = entry(line) {
            last = Some(ip);
            all.entry(ip).or_default().push(Name {
                name: without_hashes(name),
                at: None,
            });
        }
    }
    all
}

fn entry(line: &str) -> Option<(usize, &str)> {
    let (_, rest) = line.split_once(": ")?;
    let (ip, name) = rest.trim_start().strip_prefix("0x")?.split_once(" - ")?;
    Some((usize::from_str_radix(ip, 16).ok()?, name))
}

/// The name without the hashes that tell instances and crates apart: `NAME::h` or `[` and 16
/// digits.
fn without_hashes(name: &str) -> String {
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 => name,
        _ => name,
    };
    let mut parts = name.split('[');
    let mut clean = String::from(parts.next().unwrap_or_default());
    for part in parts {
        match part.split_once(']') {
            Some((hash, rest))
                if hash.len() == 16 && hash.bytes().all(|c| c.is_ascii_hexdigit()) =>
            {
                clean.push_str(rest);
            }
            _ => {
                clean.push('[');
                clean.push_str(part);
            }
        }
    }
    clean
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = 0;
        for (part, Part { frames, symbols }) in self.parts.iter().enumerate() {
            if part > 0 {
                f.write_str("      (spilled:)\n")?;
            }
            // If there is no memory for a stack there are no names.
            let text = spill::on_segment(|| format!("{symbols:#}"), WALK_STACK);
            let names = names(text.as_deref().unwrap_or_default());
            for frame in frames {
                write!(f, "{number:4}: ")?;
                number += 1;
                if f.alternate() {
                    write!(f, "{:#018x} - ", frame.ip)?;
                }
                match (arch::routine_name(frame.function), names.get(&frame.ip)) {
                    (Some(name), _) => writeln!(f, "{name}")?,
                    (None, None) => writeln!(f, "{:#x}", frame.ip)?,
                    (None, Some(inlined)) => {
                        let frames = frames.iter().filter(|other| other.ip == frame.ip);
                        let inlined = &inlined[..inlined.len() / frames.count()];
                        for (i, Name { name, at }) in inlined.iter().enumerate() {
                            let indent = if i == 0 { "" } else { "      " };
                            writeln!(f, "{indent}{name}")?;
                            if let Some(at) = at {
                                writeln!(f, "             at {at}")?;
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.frames()).finish()
    }
}

/// Writes the backtrace of a tasklet, or why there is none.
pub(super) fn write_backtrace(out: &mut impl fmt::Write, tasklet: &Tasklet) -> fmt::Result {
    match tasklet.backtrace() {
        Ok(backtrace) => writeln!(out, "{backtrace}"),
        Err(error) => writeln!(out, "      no backtrace: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_address() {
        let text = "   0:     0x55aa10 - outer::inlined::h0123456789abcdef\n\
                    \x20                      at ./src/lib.rs:10:5\n\
                    \x20  1:     0x55aa10 - outer\n\
                    \x20  2:     0x77 - <unknown>\n";
        let names = names(text);
        let at = &names[&0x55aa10];
        assert_eq!(at[0].name, "outer::inlined");
        assert_eq!(at[0].at.as_deref(), Some("./src/lib.rs:10:5"));
        assert_eq!((at[1].name.as_str(), &at[1].at), ("outer", &None));
        assert_eq!(names[&0x77][0].name, "<unknown>");
        assert_eq!(names.len(), 2);
        let name = without_hashes("<std[e28293b1aa0f68bd]::Vec<[u8]>>::new");
        assert_eq!(name, "<std::Vec<[u8]>>::new");
    }
}
