//! The switch itself, with nothing of the runtime around it: two stacks take
//! turns, each fills every register that the routine must keep and looks.
//!
//! `tests/registers` does the same through the public API; there the compiler's
//! code around the switch hides a register in which every tasklet happens to
//! hold the same value.

use super::*;
use crate::machine::os::StackMemory;
use core::arch::global_asm;

#[cfg(target_arch = "x86_64")]
global_asm!(include_str!("../../../tests/registers/x86_64.S"));
#[cfg(target_arch = "powerpc64")]
global_asm!(include_str!("../../../tests/registers/ppc64_elfv1.S"));

#[cfg(target_arch = "x86_64")]
const WORDS: usize = 6;
#[cfg(target_arch = "powerpc64")]
const WORDS: usize = 62;

/// The bits that the routine keeps: on x86_64 the compiler keeps r12 to r15.
fn mask(word: usize) -> u64 {
    if cfg!(target_arch = "x86_64") {
        return if word < 2 { u64::MAX } else { 0 };
    }
    match word {
        60 => 0x00ff_f000,
        61 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

#[repr(C, align(16))]
struct Words([u64; WORDS]);

extern "C" {
    /// Calls `call(args[0], args[1])`.
    fn hsw_test_registers(
        call: *const (),
        args: *const [usize; 2],
        pattern: *const Words,
        found: *mut Words,
    );
}

struct Shared {
    /// Where the other side is.
    parked: usize,
    turns: u64,
    way: Way,
}

/// The two ways to switch.
#[derive(Clone, Copy)]
enum Way {
    Transfer,
    Swap,
}

/// Swaps the running and the parked stack.
unsafe extern "C" fn swap(shared: *mut (), sp: usize) -> usize {
    // SAFETY: `shared` is what both sides pass, alive during the test.
    unsafe { core::mem::replace(&mut (*shared.cast::<Shared>()).parked, sp) }
}

fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn check(shared: *mut Shared, seed: &mut u64) {
    let mut pattern = Words([0; WORDS]);
    for (word, value) in pattern.0.iter_mut().enumerate() {
        *value = next(seed) & if word >= 60 { mask(word) } else { u64::MAX };
    }
    let mut found = Words([0; WORDS]);
    // SAFETY: `shared` is alive; the routine keeps to the ABI towards us, and what it
    // is to go on with is a save area.
    unsafe {
        (*shared).turns += 1;
        let parked = &raw mut (*shared).parked;
        let (switch, args) = match (*shared).way {
            Way::Transfer => (
                hsw_asm_transfer as *const (),
                [swap as *const () as usize, shared as usize],
            ),
            Way::Swap => (hsw_asm_swap as *const (), [parked as usize, *parked]),
        };
        hsw_test_registers(switch, &args, &pattern, &mut found);
    }
    for word in 0..WORDS {
        assert_eq!(
            found.0[word] & mask(word),
            pattern.0[word] & mask(word),
            "word {word} was lost"
        );
    }
}

unsafe extern "C" fn other(shared: *mut Shared, _: *mut u8) -> usize {
    let mut seed = 0x1234_5678_9abc_def1;
    loop {
        check(shared, &mut seed);
    }
}

fn keeps_what_it_must(way: Way) {
    let stack = StackMemory::new(64 * 1024, 4096).unwrap();
    let mut shared = Shared {
        parked: 0,
        turns: 0,
        way,
    };
    let body = stack.top() & !(STACK_ALIGN - 1);
    let shared_ptr = &raw mut shared;
    let entry: unsafe extern "C" fn(*mut Shared, *mut u8) -> usize = other;
    // SAFETY: the memory below `body` is free; `shared` outlives both stacks.
    unsafe {
        (*shared_ptr).parked =
            write_newborn(body, 0, (&raw const entry).cast(), shared_ptr as usize);
    }
    let mut seed = 0xfeed_beef_cafe_1357;
    for _ in 0..2000 {
        check(shared_ptr, &mut seed);
    }
    // SAFETY: nothing else uses it now.
    assert_eq!(unsafe { (*shared_ptr).turns }, 4000);
}

#[test]
fn transfer_keeps_what_it_must() {
    keeps_what_it_must(Way::Transfer);
}

#[test]
fn swap_keeps_what_it_must() {
    keeps_what_it_must(Way::Swap);
}
