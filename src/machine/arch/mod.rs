//! The ports: one hand-written assembly file and one Rust file per ABI.
//!
//! A port provides the routines and facts below. Everything else (which tasklet is next, what is
//! copied where, what is dropped when) is policy, which higher floors decide.
//!
//! * `hsw_asm_transfer(op, arg)`, entered through `transfer`: save the non-volatile registers on
//!   the current stack, call `op(arg, sp)`, go on with the save area that it names.
//!   If the bytes of that save area are not in place, `op` names an [`Exchange`] instead, and
//!   the routine copies: in registers, since it has no stack while it does.
//! * `transfer_late`: the same for an op that leaves the registers alone. A port that has many
//!   registers to save has a routine that does it when the op has decided; `SAVES_LATE` says so.
//! * `hsw_asm_swap(save, to)`, entered through `swap`: the same when it is known which
//!   tasklet is next, and that one is in place.
//! * `hsw_asm_start`: where newborns begin; never called. It calls the newborn's
//!   [`First`] and goes on as `hsw_asm_leave`.
//! * `hsw_asm_leave(to)`: the second half of `hsw_asm_transfer` alone.
//! * `hsw_asm_call_on(top, f, arg)`: an ordinary call on another stack.
//! * `hsw_asm_walk(sp, f, a, b)`: calls `f(a, b)` as if the tasklet parked at
//!   `sp` did, to unwinders; for backtraces.
//! * `hsw_asm_cxa_globals()`: the C++ runtime's per-thread exception globals.
//! * `SAVE_AREA`, `NEWBORN`, `STACK_ALIGN`, `COPY_ALIGN`, `SLICE_ODD`, `write_newborn`,
//!   `newborn_entry`: the layout, drawn in the file of the port.
//! * `exchange`: the end of an op that has two copies made first, where both are known;
//!   `exchange_in_memory`: the same in a function that an op has called.
//! * `below`, `exact_stack_pointer`: is the stack pointer too low?
//! * `use_processor`: to be called before the first switch; chooses among the ways to copy.
//! * `FpEnv`: the control words of the floating-point units.
//! * `code_address`, `fetch_line`: the address of a function's code; a prefetch.
//!
//! Ports are chosen by ABI, not by the name of the target: ELFv2 will stand
//! beside ELFv1.

#[cfg(all(target_arch = "x86_64", not(windows)))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", not(windows)))]
use x86_64 as port;

#[cfg(all(target_arch = "powerpc64", target_endian = "big"))]
mod ppc64_elfv1;
#[cfg(all(target_arch = "powerpc64", target_endian = "big"))]
use ppc64_elfv1 as port;

#[cfg(not(any(
    all(target_arch = "x86_64", not(windows)),
    all(target_arch = "powerpc64", target_endian = "big")
)))]
compile_error!(
    "hardswitch has no port for this ABI: see src/machine/arch/mod.rs for what one consists of"
);

pub use port::code_address;
pub use port::{
    below, exact_stack_pointer, exchange, exchange_in_memory, newborn_entry, swap, transfer,
    transfer_late, use_processor, write_newborn, FpEnv, COPY_ALIGN, NEWBORN, SAVES_LATE, SAVE_AREA,
    SLICE_ODD, STACK_ALIGN,
};

/// Runs between the save of the leaving tasklet and the restore of the next.
/// Gets the argument of the transfer and the address of the save area; returns
/// the address of the save area to go on with, or [`Exchange::tagged`].
pub type TransferOp = unsafe extern "C" fn(arg: *mut (), sp: usize) -> usize;

/// The first function of a newborn. Returns, as a [`TransferOp`] does, where to go on: the
/// tasklet is then left for good.
pub type First<T> = unsafe extern "C" fn(task: *mut T, body: *mut u8) -> usize;

extern "C" {
    /// See the module's comment; called through the port's `transfer`, which knows
    /// its calling convention.
    ///
    /// # Safety
    /// `op` returns the address of a save area in place and does not unwind.
    fn hsw_asm_transfer(op: TransferOp, arg: *mut ());
    /// # Safety
    /// `to` is what an `op` may return; nothing on the current stack is needed
    /// any more.
    #[cfg_attr(not(feature = "tsan"), allow(dead_code))]
    pub fn hsw_asm_leave(to: usize) -> !;
    /// Stores the address of the save area that it makes at `save` and goes on
    /// with the one at `to`. Called through the port's `swap`.
    ///
    /// # Safety
    /// `to` is the address of a save area in place.
    fn hsw_asm_swap(save: *mut usize, to: usize);
    fn hsw_asm_start();
    /// # Safety
    /// `top` is the aligned top of a free stack that is large enough for `f`.
    pub fn hsw_asm_call_on(top: usize, f: unsafe extern "C" fn(*mut ()), arg: *mut ());
    /// # Safety
    /// `sp` is the address of a save area in place, with its frames above it;
    /// they stay as they are until `f` returns. `f` does not unwind.
    pub fn hsw_asm_walk(
        sp: usize,
        f: unsafe extern "C" fn(*mut (), *mut ()),
        a: *mut (),
        b: *mut (),
    );
    fn hsw_asm_cxa_globals() -> *mut EhGlobals;
}

/// The highest address, not above `limit`, at which a slice may begin.
pub fn slice_below(limit: usize) -> usize {
    (limit & !15) - SLICE_ODD
}

/// In place of the save area of a tasklet that has none, since it does not come back.
pub const NO_SAVE_AREA: usize = 1;

/// Bytes to be copied: [`SLICE_ODD`] more than a multiple of 16, or none. Addresses are
/// multiples of [`COPY_ALIGN`].
#[derive(Clone, Copy)]
pub struct Copying {
    pub from: usize,
    pub to: usize,
    pub len: usize,
}

impl Copying {
    pub const NOTHING: Copying = Copying {
        from: 0,
        to: 0,
        len: 0,
    };

    pub fn new(from: usize, to: usize, len: usize) -> Copying {
        debug_assert!((from | to).is_multiple_of(COPY_ALIGN) && len % 16 == SLICE_ODD);
        Copying { from, to, len }
    }
}

/// The slices to be exchanged before a tasklet goes on. Read by the routines.
///
/// First the bytes of the window from `out_from` to `top` go to `out_to`, then those from
/// `into_from` on come to `into_to` and end at `top`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Exchange {
    pub into_from: usize,
    /// Where the first of the bytes that come in belongs.
    pub into_to: usize,
    pub out_to: usize,
    pub top: usize,
    /// `top`, when nothing goes out.
    pub out_from: usize,
    /// The save area to go on with.
    pub sp: usize,
}

impl Exchange {
    pub const NOTHING: Exchange = Exchange {
        into_from: 0,
        into_to: 0,
        out_to: 0,
        top: 0,
        out_from: 0,
        sp: 0,
    };

    // On PowerPC64 the words that are not in registers are written one by one.
    #[cfg(any(target_arch = "x86_64", test))]
    #[inline(always)]
    pub fn new(out: Copying, into: Copying, sp: usize) -> Exchange {
        let top = into.to + into.len;
        debug_assert!(out.len == 0 || out.from + out.len == top);
        Exchange {
            into_from: into.from,
            into_to: into.to,
            out_to: out.to,
            top,
            out_from: top - out.len,
            sp,
        }
    }

    /// What an `op` returns to have the exchange done. Save areas lie on even
    /// addresses.
    #[inline(always)]
    pub fn tagged(this: *const Exchange) -> usize {
        this as usize | 1
    }
}

/// The C++ runtime's exception state of a thread (Itanium C++ ABI, 2.2.2).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EhGlobals {
    pub caught: *mut (),
    pub uncaught: u32,
}

impl EhGlobals {
    pub const NONE: EhGlobals = EhGlobals {
        caught: core::ptr::null_mut(),
        uncaught: 0,
    };

    /// Stands for the globals of several C++ runtimes: both words make each switch look closer.
    /// See `exceptions`.
    pub const SEVERAL: EhGlobals = EhGlobals {
        caught: core::ptr::without_provenance_mut(1),
        uncaught: 1,
    };

    /// This thread's globals in the C++ runtime of the file that the library is in; `None` when
    /// that has none.
    pub fn of_this_thread() -> Option<core::ptr::NonNull<EhGlobals>> {
        // SAFETY: the routine takes no argument and returns an address or null.
        core::ptr::NonNull::new(unsafe { hsw_asm_cxa_globals() })
    }
}

/// Has the processor fetch the cache lines of `what`, which will be written to soon. It does not
/// wait for them: this is a hint, not an access.
#[inline]
pub fn fetch<T>(what: &T) {
    const LINE: usize = 64;
    let start = core::ptr::from_ref(what).cast::<u8>();
    let last = size_of::<T>().saturating_sub(1);
    for offset in (0..last).step_by(LINE) {
        port::fetch_line(start.wrapping_add(offset));
    }
    // `what` need not start at the start of a line.
    port::fetch_line(start.wrapping_add(last));
}

#[cfg(test)]
mod tests;

/// The name of the port's routine that unwinders know by the address `start`.
/// Symbol tables do not always have it: those of ELFv1 name descriptors.
pub fn routine_name(start: usize) -> Option<&'static str> {
    let routines = [
        (hsw_asm_transfer as *const (), "hsw_asm_transfer"),
        #[cfg(target_arch = "powerpc64")]
        (
            port::hsw_asm_transfer_late as *const (),
            "hsw_asm_transfer_late",
        ),
        (hsw_asm_swap as *const (), "hsw_asm_swap"),
        (hsw_asm_leave as *const (), "hsw_asm_leave"),
        (hsw_asm_start as *const (), "hsw_asm_start"),
        (hsw_asm_call_on as *const (), "hsw_asm_call_on"),
        (hsw_asm_walk as *const (), "hsw_asm_walk"),
    ];
    let found = routines.iter().find(|(f, _)| code_address(*f) == start)?;
    Some(found.1)
}

/// The stack pointer, roughly: the address of a local in the caller's frame.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let here = 0u8;
    core::hint::black_box(core::ptr::addr_of!(here)) as usize
}
