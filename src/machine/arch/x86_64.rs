//! x86_64, System V ABI. The code is in `asm/x86_64_sysv.S`.
//!
//! A parked stack ends in a *save area*, 24 bytes, and `sp` is its address.
//! `transfer` declares r12 to r15 clobbered, so that the compiler saves the ones it
//! needs in the frames of the callers, and the port need not save them again:
//!
//! ```text
//!            higher addresses
//!   +------------------------------+
//!   | frames of the tasklet        |
//!   +------------------------------+ <- rsp after the pops and the return
//!   | return address               | sp + 16
//!   | rbp                          | sp + 8
//!   | rbx                          | sp + 0   <- sp
//!   +------------------------------+
//!   | (frames of `op`, not saved)  |
//!            lower addresses
//! ```
//!
//! A newborn has a save area that "returns" to `hsw_asm_start`:
//!
//! ```text
//!   +------------------------------+ <- top of the stack or window
//!   | body (the closure), 16-byte  |
//!   | aligned                      | <- rsp in hsw_asm_start
//!   +------------------------------+
//!   | hsw_asm_start + 1            |
//!   | rbp = where the entry is     |
//!   | rbx = task                   | <- sp
//!   +------------------------------+
//! ```
//!
//! Control words (MXCSR, x87 control word) belong to the thread, as the calling
//! convention of a function that changes them on purpose allows: no tasklet
//! switch saves them, unless a tasklet asks for its own (`Builder::fp_env`).
//! The red zone needs no care: a save area is written by a call, and a caller
//! has nothing live below its stack pointer at a call.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicUsize, Ordering};

global_asm!(include_str!("../../../asm/x86_64_sysv.S"));

extern "C" {
    /// Slices of so many bytes and more go out in pieces of 32 bytes.
    static hsw_asm_wide: AtomicUsize;
}

/// Shorter slices have no use for wider pieces than 16 bytes: most of their bytes were pushed one
/// word at a time.
const WIDE_FROM: usize = 256;

/// Lets the routines use what the processor has. Without std nobody is asked: what all processors
/// of the target have is known when the library is built.
pub fn use_processor() {
    #[cfg(feature = "std")]
    set_wide(std::arch::is_x86_feature_detected!("avx"));
    #[cfg(not(feature = "std"))]
    set_wide(cfg!(target_feature = "avx"));
}

/// Other threads may switch meanwhile: either way is right at any time.
pub(super) fn set_wide(wide: bool) {
    // SAFETY: the word lies in the port's assembly, and is only changed here.
    let from = unsafe { &hsw_asm_wide };
    from.store(if wide { WIDE_FROM } else { usize::MAX }, Ordering::Relaxed);
}

/// Bytes of a save area.
pub const SAVE_AREA: usize = 24;

/// Bytes that `write_newborn` fills below the body.
pub const NEWBORN: usize = SAVE_AREA;
/// The unit in which slices are copied: a word.
pub const COPY_ALIGN: usize = 8;
/// Slices are so many bytes longer than a multiple of 16: at a call rsp is on a 16-byte
/// boundary, and the save area lies 24 bytes below.
pub const SLICE_ODD: usize = 8;
/// Boundary that the top of a stack and a body need.
pub const STACK_ALIGN: usize = 16;

/// Enters `hsw_asm_transfer`.
///
/// # Safety
/// As `hsw_asm_transfer`, see `arch`.
#[inline(always)]
pub unsafe fn transfer(op: super::TransferOp, arg: *mut ()) {
    // SAFETY: the routine keeps rbx, rbp and rsp; all others are declared lost.
    // The stack is aligned for a call, since `nostack` is not given.
    unsafe {
        asm!(
            // Not a call: its entry in the return-address predictor would never be
            // popped, and all later returns would be mispredicted.
            "lea rcx, [rip + 2f]",
            "push rcx",
            "jmp {transfer}",
            "2:",
            transfer = sym super::hsw_asm_transfer,
            in("rdi") op,
            in("rsi") arg,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("C"),
        );
    }
}

/// Two registers are saved before the op in any case.
pub const SAVES_LATE: bool = false;
pub use transfer as transfer_late;

/// Enters `hsw_asm_swap`.
///
/// # Safety
/// As `hsw_asm_swap`, see `arch`.
#[inline(always)]
pub unsafe fn swap(save: *mut usize, to: usize) {
    // SAFETY: the routine keeps rbx, rbp and rsp; all others are declared lost. The stack is
    // aligned for a call, since `nostack` is not given.
    unsafe {
        asm!(
            "lea rcx, [rip + 2f]",
            "push rcx",
            "jmp {swap}",
            "2:",
            swap = sym super::hsw_asm_swap,
            in("rdi") save,
            in("rsi") to,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("C"),
        );
    }
}

/// The end of an `op` that has an exchange done: the content of an [`Exchange`](super::Exchange)
/// goes to the routine in registers. (Through memory it would be seven stores for which seven
/// loads wait.) `_memory` is for ports that pass it in memory.
///
/// # Safety
/// The arguments describe what an `op` may return. To be called only in an `op` that
/// `hsw_asm_transfer` called itself, whose save area is at `save`, with nothing left to drop in it.
#[inline(always)]
pub unsafe fn exchange(
    save: usize,
    out: super::Copying,
    into: super::Copying,
    sp: usize,
    _memory: *mut super::Exchange,
) -> usize {
    // SAFETY: the routine has called with 8 bytes of padding below the save area, so the
    // return address is 16 bytes below; it needs none of the registers that a callee
    // keeps. It is left by `ret`, as it was entered by `call`.
    unsafe {
        asm!(
            "lea rsp, [rdx - 16]",
            "ret",
            in("rdx") save,
            in("rsi") out.from,
            in("rdi") out.to,
            in("rcx") out.len,
            in("r8") into.from,
            in("r9") into.to,
            in("r10") into.len,
            in("rax") sp + 3,
            options(noreturn),
        )
    }
}

/// What an op returns to have an exchange done.
///
/// # Safety
/// As `exchange`, but for the place of the call; `memory` is writable, and stays as it is until the
/// routine has read it.
#[inline(always)]
pub unsafe fn exchange_in_memory(
    _save: usize,
    out: super::Copying,
    into: super::Copying,
    sp: usize,
    memory: *mut super::Exchange,
) -> usize {
    // SAFETY: `memory` is writable, and the routine reads it next.
    unsafe { memory.write(super::Exchange::new(out, into, sp)) };
    super::Exchange::tagged(memory)
}

/// Writes a newborn's save area below `body` and returns its stack pointer.
///
/// `body` is the address the body will have when the tasklet runs; `delta` is
/// what to add to such an address to get to the memory that is written now (the
/// image may be prepared in a heap buffer). At `entry` lies the [`First`](super::First).
///
/// # Safety
/// `entry` is readable until the newborn has started.
/// `body` is aligned to `STACK_ALIGN` and `SAVE_AREA` bytes below
/// `body + delta` are writable.
pub unsafe fn write_newborn(body: usize, delta: isize, entry: *const (), task: usize) -> usize {
    let sp = body - SAVE_AREA;
    let at = sp.wrapping_add_signed(delta) as *mut usize;
    // Newborns begin behind the nop.
    let start = super::hsw_asm_start as *const () as usize + 1;
    let words = [task, entry as usize, start];
    // SAFETY: SAVE_AREA bytes below `body + delta` are writable.
    unsafe { core::ptr::copy_nonoverlapping(words.as_ptr(), at, words.len()) };
    sp
}

/// The address in a save area to which the parked tasklet will return.
///
/// # Safety
/// `save` points to a readable save area.
#[allow(dead_code)]
pub unsafe fn return_address(save: *const u8) -> usize {
    // SAFETY: inside the save area, see the drawing.
    unsafe { save.add(16).cast::<usize>().read() }
}

/// The `entry` that `write_newborn` was given.
///
/// # Safety
/// `save` points to the save area of a newborn.
pub unsafe fn newborn_entry(save: *const u8) -> *const () {
    // SAFETY: inside the save area, see the drawing.
    unsafe { save.add(8).cast::<*const ()>().read() }
}

/// Is the stack pointer below the word that lies `OFFSET` bytes behind `at`?
///
/// # Safety
/// That word is readable.
#[inline(always)]
pub unsafe fn below<const OFFSET: usize>(at: *const u8) -> bool {
    // SAFETY: the word `OFFSET` bytes behind `at` is readable.
    unsafe {
        asm!(
            "cmp rsp, [{} + {}]",
            "jb {}",
            in(reg) at,
            const OFFSET,
            label { return true },
            options(readonly, nostack)
        );
    }
    false
}

/// The stack pointer, exactly: below it there is nothing of the caller's frame.
#[inline(always)]
pub fn exact_stack_pointer() -> usize {
    let sp;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// The address of a function's first instruction.
pub fn code_address(function: *const ()) -> usize {
    function as usize
}

/// Control words of the floating-point units: MXCSR and the x87 control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FpEnv {
    mxcsr: u32,
    x87cw: u16,
}

impl FpEnv {
    /// What the ABI says a program starts with.
    pub const DEFAULT: FpEnv = FpEnv {
        mxcsr: 0x1f80,
        x87cw: 0x037f,
    };

    pub fn read() -> FpEnv {
        let mut env = FpEnv::DEFAULT;
        // SAFETY: stores two control words into two locals.
        unsafe {
            asm!(
                "stmxcsr [{m}]", "fnstcw [{c}]",
                m = in(reg) &mut env.mxcsr, c = in(reg) &mut env.x87cw,
                options(nostack, preserves_flags)
            );
        }
        env
    }

    /// # Safety
    /// The caller restores the former environment before code that relies on
    /// it runs (Rust code assumes the default one).
    pub unsafe fn write(self) {
        // SAFETY: loads two control words; the status bits of MXCSR in `self`
        // came from `read` or `DEFAULT`, so no reserved bit is set.
        unsafe {
            asm!(
                "ldmxcsr [{m}]", "fldcw [{c}]",
                m = in(reg) &self.mxcsr, c = in(reg) &self.x87cw,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Has the processor fetch a cache line in order to write to it; does nothing on a processor
/// without the hint.
#[inline(always)]
pub fn fetch_line(at: *const u8) {
    use core::arch::x86_64::{_mm_prefetch, _MM_HINT_ET0};
    // SAFETY: a prefetch accesses nothing, and faults for no address.
    unsafe { _mm_prefetch::<_MM_HINT_ET0>(at.cast()) };
}
