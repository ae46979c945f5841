//! AddressSanitizer and ThreadSanitizer: they keep a shadow of the stack, and
//! are told which one is in use.
//!
//! ```text
//!   commit, leave_for_good  the switch              the resumed tasklet
//!   leaving(): "I go     -> asm/*.S, no code     -> arrived(): "I am there"
//!   to that stack"          of a compiler           (ASan; TSan knows already)
//! ```
//!
//! ASan may see code run on the old stack after `leaving`. TSan may not: it keeps
//! a stack of its own of the functions entered, and a function that is entered on one stack
//! must be left on the same. So its switch is a call out of assembly, after the
//! operation has returned.
//!
//! Neither can follow a stack whose bytes come and go, so with these features
//! `Builder::sliced` gives an own stack. Without them, all functions here are empty.

pub use hooks::*;

/// Do all tasklets have stacks of their own?
pub const OWN_STACKS: bool = cfg!(any(feature = "asan", feature = "tsan"));

#[cfg(not(any(feature = "asan", feature = "tsan")))]
mod hooks {
    use crate::core::runtime::Runtime;
    use crate::core::task::Task;
    use crate::machine::arch::{self, TransferOp};

    /// Calls the port's `transfer`.
    ///
    /// # Safety
    /// As the port's `transfer`.
    #[inline(always)]
    pub unsafe fn transfer(op: TransferOp, arg: *mut ()) {
        // SAFETY: the caller keeps the conditions of the port's `transfer`.
        unsafe { arch::transfer(op, arg) };
    }

    #[inline(always)]
    pub unsafe fn leaving(_: &Runtime, _: *mut Task, _: *mut Task, _: bool) {}

    #[inline(always)]
    pub unsafe fn left_for_good(_: &Runtime, to: usize) -> usize {
        to
    }

    #[inline(always)]
    pub unsafe fn arrived(_: &Runtime) {}

    #[inline(always)]
    pub unsafe fn gone(_: *mut Task) {}

    /// A call on another stack, see `spill::grow`.
    pub struct Segment;

    impl Segment {
        #[inline(always)]
        pub unsafe fn enter(_: *mut Task, _: usize, _: usize) -> Segment {
            Segment
        }

        #[inline(always)]
        pub unsafe fn entered(&mut self) {}

        #[inline(always)]
        pub unsafe fn leave(&mut self) {}

        #[inline(always)]
        pub unsafe fn left(self, _: *mut Task) {}
    }
}

#[cfg(any(feature = "asan", feature = "tsan"))]
mod hooks {
    use core::ptr;

    use crate::machine::fiber::{Bounds, Fiber};

    use crate::core::runtime::Runtime;
    use crate::core::task::{flag, Task};
    use crate::machine::arch::{self, TransferOp};

    /// See LLVM's `sanitizer/common_interface_defs.h` and `tsan_interface.h`.
    mod tool {
        #[cfg(feature = "asan")]
        extern "C" {
            pub fn __sanitizer_start_switch_fiber(
                keep: *mut *mut (),
                bottom: *const (),
                size: usize,
            );
            pub fn __sanitizer_finish_switch_fiber(
                kept: *mut (),
                old_bottom: *mut *const (),
                old_size: *mut usize,
            );
        }
        #[cfg(not(feature = "asan"))]
        pub unsafe fn __sanitizer_start_switch_fiber(_: *mut *mut (), _: *const (), _: usize) {}
        #[cfg(not(feature = "asan"))]
        pub unsafe fn __sanitizer_finish_switch_fiber(
            _: *mut (),
            _: *mut *const (),
            _: *mut usize,
        ) {
        }
        #[cfg(feature = "tsan")]
        extern "C" {
            pub fn __tsan_get_current_fiber() -> *mut ();
            pub fn __tsan_create_fiber(flags: u32) -> *mut ();
            pub fn __tsan_destroy_fiber(fiber: *mut ());
            pub fn __tsan_switch_to_fiber(fiber: *mut (), flags: u32);
        }
    }

    unsafe fn bounds(task: *mut Task) -> Bounds {
        // SAFETY: `task` is live.
        unsafe {
            let known = (*task).extra().fiber.bounds;
            match &(*task).own {
                Some(own) if known.size == 0 => Bounds {
                    bottom: own.memory.bottom() as *const (),
                    size: own.memory.top() - own.memory.bottom(),
                },
                _ => known,
            }
        }
    }

    /// `prev` is about to leave, `for_good` if it has ended; the switch is sure to happen.
    ///
    /// Inlined: after TSan's switch no function that was entered before may be left.
    ///
    /// # Safety
    /// Both are live; `prev` is running.
    #[inline(always)]
    pub unsafe fn leaving(runtime: &Runtime, prev: *mut Task, next: *mut Task, for_good: bool) {
        // SAFETY: both are live tasks, whose `Extra` no one else borrows; `prev` is running.
        unsafe {
            #[cfg(feature = "tsan")]
            {
                if (*prev).extra().fiber.tsan.is_null() {
                    (*prev).extra().fiber.tsan = tool::__tsan_get_current_fiber();
                }
                if (*next).extra().fiber.tsan.is_null() {
                    (*next).extra().fiber.tsan = tool::__tsan_create_fiber(0);
                }
                runtime.fibers.next.set((*next).extra().fiber.tsan);
            }
            runtime.fibers.leaves.set(prev.cast());
            if !for_good {
                let Bounds { bottom, size } = bounds(next);
                let keep = &raw mut (*prev).extra().fiber.fake;
                tool::__sanitizer_start_switch_fiber(keep, bottom, size);
            }
        }
    }

    /// The last call in the first function of a tasklet that has ended, which returns the result.
    ///
    /// # Safety
    /// `to` is what an `op` might return; inlined into that function, of which
    /// nothing is needed any more.
    #[inline(always)]
    pub unsafe fn left_for_good(runtime: &Runtime, to: usize) -> usize {
        // SAFETY: `to` is what an `op` might return, and nothing of the calling function is needed
        // any more. It does not return: with the switch its fake frames are freed, and TSan's
        // switch comes after it.
        unsafe {
            let Bounds { bottom, size } = bounds(runtime.current());
            tool::__sanitizer_start_switch_fiber(ptr::null_mut(), bottom, size);
            #[cfg(feature = "tsan")]
            tool::__tsan_switch_to_fiber(runtime.fibers.next.replace(ptr::null_mut()), 0);
            crate::machine::arch::hsw_asm_leave(to)
        }
    }

    /// The running tasklet goes on, or begins.
    ///
    /// # Safety
    /// Called first on its stack.
    pub unsafe fn arrived(runtime: &Runtime) {
        let prev = runtime
            .fibers
            .leaves
            .replace(ptr::null_mut())
            .cast::<Task>();
        if prev.is_null() {
            return;
        }
        let mut old = Bounds::UNKNOWN;
        // SAFETY: the running tasklet is live, and so is the one that it has
        // replaced until its arrival is complete.
        unsafe {
            let me = runtime.current();
            tool::__sanitizer_finish_switch_fiber(
                (*me).extra().fiber.fake,
                &mut old.bottom,
                &mut old.size,
            );
            if (*prev).is(flag::MAIN) {
                (*prev).extra().fiber.bounds = old;
            }
        }
    }

    /// The tasklet has ended and is not on its stack.
    ///
    /// # Safety
    /// `task` is live and not running.
    pub unsafe fn gone(task: *mut Task) {
        // SAFETY: `task` is live and not running, so its fiber is not in use.
        unsafe {
            if let Some(extra) = (*task).extra.as_mut() {
                #[cfg(feature = "tsan")]
                if !extra.fiber.tsan.is_null() && !(*task).is(flag::MAIN) {
                    tool::__tsan_destroy_fiber(extra.fiber.tsan);
                }
                extra.fiber = Fiber::NEW;
            }
        }
    }

    /// Calls the port's `transfer`, and tells the tools when the tasklet is back.
    ///
    /// # Safety
    /// As the port's `transfer`.
    #[inline(always)]
    pub unsafe fn transfer(op: TransferOp, arg: *mut ()) {
        // SAFETY: the caller keeps the conditions of the port's `transfer`; `call` outlives it.
        unsafe {
            #[cfg(feature = "tsan")]
            {
                let next = Runtime::get().fibers.next.as_ptr();
                let mut call = announce::Call { op, arg, next };
                arch::transfer(announce::hsw_asm_announce, (&raw mut call).cast());
            }
            #[cfg(not(feature = "tsan"))]
            arch::transfer(op, arg);
            arrived(Runtime::get());
        }
    }

    /// An operation, and then, if it has named a tasklet to announce, TSan's switch.
    #[cfg(feature = "tsan")]
    mod announce {
        use crate::machine::arch::TransferOp;

        #[repr(C)]
        pub struct Call {
            pub op: TransferOp,
            pub arg: *mut (),
            pub next: *mut *mut (),
        }

        #[cfg(not(target_arch = "x86_64"))]
        compile_error!("feature `tsan`: for x86_64 only");

        core::arch::global_asm!(
            ".text",
            ".p2align 4",
            ".type hsw_asm_announce, @function",
            ".globl hsw_asm_announce",
            ".hidden hsw_asm_announce",
            "hsw_asm_announce:",
            ".cfi_startproc",
            "push rbx",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset rbx, 0",
            // `next`: this code does not use the frame of the caller, but has to keep its
            // registers.
            "mov rbx, [rdi + 16]",
            "mov rax, [rdi]",
            "mov rdi, [rdi + 8]",
            "call rax",
            "mov rdi, [rbx]",
            "mov qword ptr [rbx], 0",
            "mov rbx, rax",
            "test rdi, rdi",
            "jz 2f",
            "xor esi, esi",
            "call {switch}",
            "2:",
            "mov rax, rbx",
            "pop rbx",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_restore rbx",
            "ret",
            ".cfi_endproc",
            ".size hsw_asm_announce, . - hsw_asm_announce",
            switch = sym super::tool::__tsan_switch_to_fiber,
        );

        extern "C" {
            pub fn hsw_asm_announce(call: *mut (), sp: usize) -> usize;
        }
    }

    pub struct Segment {
        fake: *mut (),
        outer: Bounds,
        before: Bounds,
    }

    impl Segment {
        /// Before the call of `entered` on the segment.
        ///
        /// # Safety
        /// `me` is running.
        pub unsafe fn enter(me: *mut Task, bottom: usize, top: usize) -> Segment {
            // SAFETY: `me` is running, so it is live.
            let fiber = unsafe { &mut (*me).extra().fiber };
            let mut segment = Segment {
                fake: ptr::null_mut(),
                outer: Bounds::UNKNOWN,
                before: fiber.bounds,
            };
            fiber.bounds = Bounds {
                bottom: bottom as *const (),
                size: top - bottom,
            };
            // SAFETY: the call on the segment follows.
            unsafe {
                tool::__sanitizer_start_switch_fiber(
                    &mut segment.fake,
                    fiber.bounds.bottom,
                    fiber.bounds.size,
                );
            }
            segment
        }

        /// The first call on the segment.
        ///
        /// # Safety
        /// After `enter`.
        pub unsafe fn entered(&mut self) {
            // SAFETY: `enter` has announced it.
            unsafe {
                tool::__sanitizer_finish_switch_fiber(
                    ptr::null_mut(),
                    &mut self.outer.bottom,
                    &mut self.outer.size,
                );
            }
        }

        /// The last call on the segment.
        ///
        /// # Safety
        /// The return from the segment follows.
        pub unsafe fn leave(&mut self) {
            // SAFETY: null frees the segment's fake frames.
            unsafe {
                tool::__sanitizer_start_switch_fiber(
                    ptr::null_mut(),
                    self.outer.bottom,
                    self.outer.size,
                );
            }
        }

        /// The tasklet is back from the segment.
        ///
        /// # Safety
        /// After `leave`; `me` is running.
        pub unsafe fn left(self, me: *mut Task) {
            // SAFETY: `leave` has announced it.
            unsafe {
                let (mut bottom, mut size) = (ptr::null(), 0);
                tool::__sanitizer_finish_switch_fiber(self.fake, &mut bottom, &mut size);
                (*me).extra().fiber.bounds = self.before;
            }
        }
    }
}
