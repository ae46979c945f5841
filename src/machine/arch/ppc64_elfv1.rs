//! PowerPC64, ELFv1: big-endian Linux and the Cell PPU of the PS3. The code is
//! in `asm/ppc64_elfv1.S`. What differs from x86_64:
//!
//! * A function's address is that of its descriptor (entry, TOC, environment),
//!   so a code address must be read out of it.
//! * Every frame begins with a back chain and has room for its callee: 48 bytes
//!   of linkage, where the callee saves LR and CR, and 64 bytes in which it may
//!   home its register arguments. A switch that keeps data in the latter loses
//!   it as soon as an unoptimised callee runs.
//! * The set to preserve is large: r14-r31, f14-f31, v20-v31, CR2-CR4, VRSAVE,
//!   LR. r2 (TOC) is the same whenever `hsw_asm_transfer` is left, since there
//!   is one copy of it; r13 belongs to the thread.
//!
//! A parked stack ends in a save area of 496 bytes, a frame like any other; LR
//! and CR lie in the caller's linkage area, where the ABI wants them:
//!
//! ```text
//!   | frames of the tasklet        |
//!   | LR                           | sp + 512
//!   | CR                           | sp + 504
//!   +------------------------------+ <- r1 after the restore (sp + 496)
//!   | v20 ... v31                  | sp + 304   (16-byte aligned)
//!   | f14 ... f31                  | sp + 160
//!   | r14 ... r31                  | sp + 16
//!   | VRSAVE (4 bytes)             | sp + 8
//!   | back chain                   | sp + 0     <- sp
//!   +------------------------------+
//!   | frame of the call of `op`    | 112 bytes, not part of a slice
//!   +------------------------------+
//! ```
//!
//! A newborn:
//!
//! ```text
//!   +------------------------------+ <- top of the stack or window
//!   | body (the closure)           | <- r16
//!   +------------------------------+
//!   | root frame, 112 bytes:       |
//!   |   16(1) LR = hsw_asm_start+4 |
//!   |    0(1) back chain = 0       |
//!   +------------------------------+ <- r1 in hsw_asm_start
//!   | save area: r14 = where the   |
//!   | entry is, r15 = task,        |
//!   | r16 = body                   | <- sp
//!   +------------------------------+
//! ```
//!
//! FPSCR's control bits belong to the thread, unless a tasklet asks for its own
//! (`Builder::fp_env`). VSCR[NJ] is the thread's always.

use core::arch::{asm, global_asm};

global_asm!(include_str!("../../../asm/ppc64_elfv1.S"));

/// There is nothing to choose: every processor of the target has the registers that the routines
/// use.
pub fn use_processor() {}

/// Bytes of a save area.
pub const SAVE_AREA: usize = 496;
/// The unit in which slices are copied: a vector.
pub const COPY_ALIGN: usize = 16;
/// Slices are so many bytes longer than a multiple of 16.
pub const SLICE_ODD: usize = 0;
/// Boundary that the top of a stack and a body need.
pub const STACK_ALIGN: usize = 16;

/// The frame in which `hsw_asm_start` runs: linkage and parameter save area.
const ROOT_FRAME: usize = 112;

/// The VRSAVE of a newborn: all vector registers are in use. glibc's `setcontext` and
/// `swapcontext` restore none of v20-v31 where it is 0. Linux puts the same there at a
/// thread's first vector instruction, so code that never heard of VRSAVE finds what it would
/// find on a thread.
const VRSAVE_ALL: u32 = 0xffff_ffff;

/// Bytes that `write_newborn` fills below the body.
pub const NEWBORN: usize = SAVE_AREA + ROOT_FRAME;

/// Enters `hsw_asm_transfer`: an ordinary call. Declaring the non-volatile
/// registers clobbered, as on x86_64, would make every caller save all 48.
///
/// # Safety
/// As `hsw_asm_transfer`, see `arch`.
#[inline(always)]
pub unsafe fn transfer(op: super::TransferOp, arg: *mut ()) {
    // SAFETY: `op` returns a save area or an exchange and does not unwind.
    unsafe { super::hsw_asm_transfer(op, arg) };
}

/// There is a routine of its own behind [`transfer_late`].
pub const SAVES_LATE: bool = true;

extern "C" {
    pub(super) fn hsw_asm_transfer_late(arg: *mut (), op: super::TransferOp);
}

/// [`transfer`] for an op that does not look at the save area: the registers are saved when it has
/// decided, and straight into the slice where they are part of what goes out.
///
/// # Safety
/// As [`transfer`]. `op` neither reads nor copies the bytes from the address it is given to
/// `SAVE_AREA` above it, and nothing unwinds in it, not even to where it is caught in it: the
/// unwinder of Debian's libgcc restores no v20-v31.
#[inline(always)]
pub unsafe fn transfer_late(op: super::TransferOp, arg: *mut ()) {
    // SAFETY: `op` keeps the registers, as every function does, and the caller vouches for the
    // rest.
    unsafe { hsw_asm_transfer_late(arg, op) };
}

/// Enters `hsw_asm_swap`: an ordinary call as well.
///
/// # Safety
/// As `hsw_asm_swap`, see `arch`.
#[inline(always)]
pub unsafe fn swap(save: *mut usize, to: usize) {
    // SAFETY: `save` is writable, and `to` is the address of a save area in place.
    unsafe { super::hsw_asm_swap(save, to) };
}

/// What an op returns to have an exchange done: the routine finds it in memory.
///
/// If what goes out begins with the save area at `save`, and what comes in with the one to go on
/// with, the answer is 3 more than the address and not 1: a routine that saves late can then use
/// the slices themselves as save areas. Not all of the memory is written.
///
/// # Safety
/// The arguments describe what an `op` may return, whose save area is at `save`; `memory` is
/// writable, and stays as it is until the routine has read it.
#[inline(always)]
pub unsafe fn exchange_in_memory(
    save: usize,
    out: super::Copying,
    into: super::Copying,
    sp: usize,
    memory: *mut super::Exchange,
) -> usize {
    // SAFETY: `memory` is writable, and the routine reads it next.
    unsafe {
        (*memory).into_from = into.from;
        (*memory).into_to = into.to;
        (*memory).out_to = out.to;
        (*memory).top = into.to + into.len;
        if out.from == save && into.to == sp {
            return memory as usize + 3;
        }
        (*memory).out_from = (*memory).top - out.len;
        (*memory).sp = sp;
        super::Exchange::tagged(memory)
    }
}
pub use exchange_in_memory as exchange;

/// Writes a newborn's save area below `body` and returns its stack pointer.
///
/// `body` is the address the body will have when the tasklet runs; `delta` is
/// what to add to such an address to get to the memory that is written now (the
/// image may be prepared in a heap buffer). At `entry` lies the [`First`](super::First).
///
/// # Safety
/// `entry` is readable until the newborn has started.
/// `body` is aligned to `STACK_ALIGN` and `NEWBORN` bytes below
/// `body + delta` are writable.
#[inline(never)] // long, and without a frame: one for all that spawn
pub unsafe fn write_newborn(body: usize, delta: isize, entry: *const (), task: usize) -> usize {
    let root = body - ROOT_FRAME;
    let sp = root - SAVE_AREA;
    let at = sp.wrapping_add_signed(delta) as *mut usize;
    // SAFETY: NEWBORN bytes below `body + delta` are writable; the offsets are
    // those of the drawings. A descriptor's first word is the code address.
    unsafe {
        clear(at);
        at.write(root);
        at.cast::<u32>().add(8 / 4).write(VRSAVE_ALL);
        at.add(16 / 8).write(entry as usize);
        at.add(24 / 8).write(task);
        at.add(32 / 8).write(body);
        at.add(512 / 8)
            // Newborns begin behind the nop.
            .write(code_address(super::hsw_asm_start as *const ()) + 4);
    }
    sp
}

/// Clears the `NEWBORN` bytes at `at`. The C library's routine needs half as many instructions
/// again, and more where `at` lies worse.
///
/// # Safety
/// They are writable.
#[inline(always)]
unsafe fn clear(at: *mut usize) {
    // SAFETY: the `NEWBORN` bytes at `at` are writable.
    unsafe {
        asm!(
            ".set .Lnewborn, 0",
            ".rept {words}",
            "std {zero}, .Lnewborn({at})",
            ".set .Lnewborn, .Lnewborn + 8",
            ".endr",
            words = const NEWBORN / 8,
            zero = in(reg) 0_usize,
            at = in(reg_nonzero) at,
            options(nostack, preserves_flags)
        );
    }
}

/// The address in a save area to which the parked tasklet will return.
///
/// # Safety
/// `save` points to a readable save area and the linkage area above it.
#[allow(dead_code)]
pub unsafe fn return_address(save: *const u8) -> usize {
    // SAFETY: see the drawing.
    unsafe { save.add(512).cast::<usize>().read() }
}

/// The `entry` that `write_newborn` was given.
///
/// # Safety
/// `save` points to the save area of a newborn.
pub unsafe fn newborn_entry(save: *const u8) -> *const () {
    // SAFETY: inside the save area, see the drawing.
    unsafe { save.add(16).cast::<*const ()>().read() }
}

/// Is the stack pointer below the word that lies `OFFSET` bytes behind `at`?
///
/// # Safety
/// That word is readable.
#[inline(always)]
pub unsafe fn below<const OFFSET: usize>(at: *const u8) -> bool {
    // SAFETY: the word `OFFSET` bytes behind `at` is readable.
    unsafe {
        let limit = at.add(OFFSET).cast::<usize>().read();
        asm!(
            "cmpld 0, 1, {}",
            "blt- 0, {}",
            in(reg) limit,
            label { return true },
            out("cr0") _,
            options(nomem, nostack)
        );
    }
    false
}

/// The stack pointer, exactly: below it there is nothing of the caller's frame.
#[inline(always)]
pub fn exact_stack_pointer() -> usize {
    let sp;
    // SAFETY: copies a register.
    unsafe { asm!("mr {}, 1", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// The address of a function's first instruction: the first word of its
/// descriptor.
pub fn code_address(function: *const ()) -> usize {
    // SAFETY: a function's address is that of a descriptor.
    unsafe { function.cast::<usize>().read() }
}

/// The control bits of the FPSCR.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FpEnv(f64);

impl FpEnv {
    /// Round to nearest, no exception enabled.
    pub const DEFAULT: FpEnv = FpEnv(0.0);

    pub fn read() -> FpEnv {
        let bits: f64;
        // SAFETY: copies the FPSCR into a register.
        unsafe { asm!("mffs {}", out(freg) bits, options(nomem, nostack)) };
        FpEnv(bits)
    }

    /// # Safety
    /// The caller restores the former environment before code that relies on
    /// it runs (Rust code assumes the default one).
    pub unsafe fn write(self) {
        // SAFETY: every bit pattern that `read` returned is valid; 0xff selects
        // all fields.
        unsafe { asm!("mtfsf 0xff, {}", in(freg) self.0, options(nomem, nostack)) };
    }
}

/// Has the processor fetch a cache line in order to write to it.
#[inline(always)]
pub fn fetch_line(at: *const u8) {
    // SAFETY: `dcbtst` accesses nothing, and faults for no address.
    unsafe {
        core::arch::asm!("dcbtst 0, {}", in(reg_nonzero) at, options(nostack, preserves_flags))
    };
}
