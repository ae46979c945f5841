//! Valgrind is told about stacks, and about the copying of slices.
//!
//! Memcheck follows the stack pointer: memory below it is out of bounds, and
//! a stack pointer that jumps is taken for another stack only if both are registered.
//! Slices go to addresses that have been popped, and come from addresses of
//! which the last few may never have been written. Both are in order here, so
//! Memcheck is told.
//!
//! All of this is behind the feature `valgrind`; without it the functions are empty.

#[cfg(all(feature = "valgrind", target_arch = "x86_64"))]
mod requests {
    use crate::machine::arch::Copying;

    /// Requests to the core: see Valgrind's manual, "The Client Request
    /// mechanism". The numbers are part of its stable interface.
    const STACK_REGISTER: usize = 0x1501;
    const STACK_DEREGISTER: usize = 0x1502;
    const CHANGE_ERR_DISABLEMENT: usize = 0x1801;
    /// Requests to Memcheck: its two letters, then a number.
    const MAKE_MEM_UNDEFINED: usize = (b'M' as usize) << 24 | (b'C' as usize) << 16 | 1;
    const MAKE_MEM_DEFINED: usize = MAKE_MEM_UNDEFINED + 1;

    /// A sequence of instructions without effect that Valgrind knows. When the program does not
    /// run under Valgrind the answer is 0.
    #[inline(always)]
    fn request(number: usize, a: usize, b: usize) -> usize {
        let words = [number, a, b, 0, 0, 0];
        let answer;
        // SAFETY: the rotations add up to 128 bits, a no-op; Valgrind reads the
        // words and sets rdx.
        unsafe {
            core::arch::asm!(
                "rol rdi, 3",
                "rol rdi, 13",
                "rol rdi, 61",
                "rol rdi, 51",
                "xchg rbx, rbx",
                in("rax") words.as_ptr(),
                inout("rdx") 0usize => answer,
            );
        }
        answer
    }

    /// A registered stack; dropping it takes it off the list.
    pub struct Stack(usize);

    impl Stack {
        pub fn register(bottom: usize, top: usize) -> Stack {
            Stack(request(STACK_REGISTER, bottom, top))
        }
    }

    impl Drop for Stack {
        fn drop(&mut self) {
            request(STACK_DEREGISTER, self.0, 0);
        }
    }

    /// `[at, at + len)` may be written, also where it was popped.
    pub fn writable(at: usize, len: usize) {
        request(MAKE_MEM_UNDEFINED, at, len);
    }

    /// `[at, at + len)` may be read and written, and counts as initialised.
    #[inline(always)]
    pub fn accessible(at: usize, len: usize) {
        request(MAKE_MEM_DEFINED, at, len);
    }

    /// The port's routines are going to copy these. Only the memory below the bytes that go
    /// out is made known: those bytes are still in place.
    pub fn slices(out: &Copying, into: &Copying) {
        let below = match out.len {
            0 => into.len,
            _ => out.from.saturating_sub(into.to),
        };
        accessible(into.to, below);
    }

    /// Runs `f`, which may read anything.
    pub fn quietly(f: impl FnOnce()) {
        request(CHANGE_ERR_DISABLEMENT, 1, 0);
        f();
        request(CHANGE_ERR_DISABLEMENT, usize::MAX, 0);
    }
}

#[cfg(not(all(feature = "valgrind", target_arch = "x86_64")))]
mod requests {
    use crate::machine::arch::Copying;

    pub struct Stack;

    impl Stack {
        #[inline(always)]
        pub fn register(_: usize, _: usize) -> Stack {
            Stack
        }
    }

    #[inline(always)]
    pub fn writable(_: usize, _: usize) {}

    #[inline(always)]
    pub fn accessible(_: usize, _: usize) {}

    #[inline(always)]
    pub fn slices(_: &Copying, _: &Copying) {}

    #[inline(always)]
    pub fn quietly(f: impl FnOnce()) {
        f();
    }
}

pub use requests::*;
