//! x86_64, System V ABI. The code is in `asm/x86_64_sysv.S`.
//!
//! A parked stack ends in a *save area*, 56 bytes, and `sp` is its address:
//!
//! ```text
//!            higher addresses
//!   +------------------------------+
//!   | frames of the tasklet        |
//!   +------------------------------+ <- rsp after the pops and the jump
//!   | return address               | sp + 48
//!   | rbp                          | sp + 40
//!   | rbx                          | sp + 32
//!   | r12                          | sp + 24
//!   | r13                          | sp + 16
//!   | r14                          | sp + 8
//!   | r15                          | sp + 0   <- sp
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
//!   | aligned                      | <- r13, and rsp in hsw_asm_start
//!   +------------------------------+
//!   | hsw_asm_start                |
//!   | rbp = 0 (end of frame chain) |
//!   | rbx = entry                  |
//!   | r12 = task                   |
//!   | r13 = body                   |
//!   | r14, r15 = 0                 | <- sp
//!   +------------------------------+
//! ```
//!
//! Control words (MXCSR, x87 control word) belong to the thread, as the calling
//! convention of a function that changes them on purpose allows: no tasklet
//! switch saves them, unless a tasklet asks for its own (`Builder::fp_env`).
//! The red zone needs no care: a save area is written by a call, and a caller
//! has nothing live below its stack pointer at a call.

use core::arch::global_asm;

global_asm!(include_str!("../../asm/x86_64_sysv.S"));

/// Bytes of a save area.
pub(crate) const SAVE_AREA: usize = 56;

/// Bytes that `write_newborn` fills below the body.
pub(crate) const NEWBORN: usize = SAVE_AREA;
/// Boundary that the top of a stack and a body need.
pub(crate) const STACK_ALIGN: usize = 16;

/// Writes a newborn's save area below `body` and returns its stack pointer.
///
/// `body` is the address the body will have when the tasklet runs; `delta` is
/// what to add to such an address to get to the memory that is written now (the
/// image may be prepared in a heap buffer).
///
/// # Safety
/// `body` is aligned to `STACK_ALIGN` and `SAVE_AREA` bytes below
/// `body + delta` are writable.
pub(crate) unsafe fn write_newborn(body: usize, delta: isize, entry: usize, task: usize) -> usize {
    let sp = body - SAVE_AREA;
    let at = sp.wrapping_add_signed(delta) as *mut usize;
    let words = [
        0, // r15
        0, // r14
        body,
        task,
        entry,
        0, // rbp
        super::hsw_asm_start as *const () as usize,
    ];
    // SAFETY: the caller vouches for SAVE_AREA writable bytes.
    unsafe { core::ptr::copy_nonoverlapping(words.as_ptr(), at, words.len()) };
    sp
}

/// The address in a save area to which the parked tasklet will return.
///
/// # Safety
/// `save` points to a readable save area.
#[allow(dead_code)]
pub(crate) unsafe fn return_address(save: *const u8) -> usize {
    // SAFETY: inside the save area, see the drawing.
    unsafe { save.add(48).cast::<usize>().read() }
}

/// Control words of the floating-point units: MXCSR and the x87 control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FpEnv {
    mxcsr: u32,
    x87cw: u16,
}

impl FpEnv {
    /// What the ABI says a program starts with.
    pub(crate) const DEFAULT: FpEnv = FpEnv {
        mxcsr: 0x1f80,
        x87cw: 0x037f,
    };

    pub(crate) fn read() -> FpEnv {
        let mut env = FpEnv::DEFAULT;
        // SAFETY: stores two control words into two locals.
        unsafe {
            core::arch::asm!(
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
    pub(crate) unsafe fn write(self) {
        // SAFETY: loads two control words; the status bits of MXCSR in `self`
        // came from `read` or `DEFAULT`, so no reserved bit is set.
        unsafe {
            core::arch::asm!(
                "ldmxcsr [{m}]", "fldcw [{c}]",
                m = in(reg) &self.mxcsr, c = in(reg) &self.x87cw,
                options(nostack, preserves_flags)
            );
        }
    }
}
