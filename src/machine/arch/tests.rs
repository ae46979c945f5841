//! The switch itself, with nothing of the runtime around it: two stacks take
//! turns, each fills every register that the routine must keep and looks.
//!
//! `tests/registers` does the same through the public API; there the compiler's
//! code around the switch hides a register in which every tasklet happens to
//! hold the same value.

use super::*;
use crate::machine::os::StackMemory;
use crate::machine::valgrind;
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
    /// What decides who goes on.
    op: *const (),
}

/// The ways to switch.
#[derive(Clone, Copy)]
enum Way {
    Transfer,
    #[cfg(target_arch = "powerpc64")]
    Late,
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
                [(*shared).op as usize, shared as usize],
            ),
            #[cfg(target_arch = "powerpc64")]
            Way::Late => (
                port::hsw_asm_transfer_late as *const (),
                [shared as usize, (*shared).op as usize],
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
    // Another one for each, so that no two have the same values in their registers.
    // SAFETY: `shared` is what both sides pass, alive during the test.
    let mut seed = 0x1234_5678_9abc_def1 + unsafe { (*shared).turns };
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
        op: swap as *const (),
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

#[cfg(target_arch = "powerpc64")]
#[test]
fn transfer_late_keeps_what_it_must() {
    keeps_what_it_must(Way::Late);
}

/// Two that share a window, whose slices change places at each turn, and the test beside them.
#[cfg(target_arch = "powerpc64")]
#[repr(C)]
struct InOneWindow {
    /// The first, since an op gets its address.
    shared: Shared,
    top: usize,
    slices: [usize; 2],
    lengths: [usize; 2],
    running: usize,
    exchange: Exchange,
}

#[cfg(target_arch = "powerpc64")]
const TURNS: u64 = 2000;

/// Lets the other of the window go on; or at last the test, which is somewhere else.
#[cfg(target_arch = "powerpc64")]
unsafe extern "C" fn trade(window: *mut (), sp: usize) -> usize {
    // SAFETY: as in `swap`; and the slices are as long as the stack.
    unsafe {
        if (*window.cast::<Shared>()).turns >= TURNS {
            return swap(window, sp);
        }
        let window = window.cast::<InOneWindow>();
        let top = (*window).top;
        let [mine, others] = [(*window).running, 1 - (*window).running];
        let (slices, lengths) = ((*window).slices, &mut (*window).lengths);
        lengths[mine] = top - sp;
        let low = top - lengths[others];
        let out = Copying::new(sp, slices[mine], lengths[mine]);
        let into = Copying::new(slices[others], low, lengths[others]);
        (*window).running = others;
        port::exchange_in_memory(sp, out, into, low, &raw mut (*window).exchange)
    }
}

/// Registers go straight into a slice, and come straight out of one.
#[cfg(target_arch = "powerpc64")]
#[test]
fn slices_that_change_places_late_keep_what_they_must() {
    const ROOM: usize = 16 * 1024;
    let stack = StackMemory::new(64 * 1024, 4096).unwrap();
    let top = stack.top() & !(STACK_ALIGN - 1);
    let memory = vec![0_u128; 2 * ROOM / 16];
    let first = memory.as_ptr() as usize;
    let mut window = InOneWindow {
        shared: Shared {
            parked: 0,
            turns: 0,
            way: Way::Late,
            op: trade as *const (),
        },
        top,
        slices: [first, first + ROOM],
        lengths: [0, NEWBORN],
        running: 0,
        exchange: Exchange::NOTHING,
    };
    let shared = (&raw mut window).cast::<Shared>();
    let entry: unsafe extern "C" fn(*mut Shared, *mut u8) -> usize = other;
    let entry = (&raw const entry).cast();
    // SAFETY: the memory below `top` and in the slices is free, and `window` outlives all that is
    // parked. The first is in place; of the second there is a slice alone.
    unsafe {
        let delta = (first + ROOM) as isize - (top - NEWBORN) as isize;
        write_newborn(top, delta, entry, shared as usize);
        (*shared).parked = write_newborn(top, 0, entry, shared as usize);
        // The test itself leaves in the plain way.
        hsw_test_registers(
            hsw_asm_transfer as *const (),
            &[swap as *const () as usize, shared as usize],
            &Words([0; WORDS]),
            &mut Words([0; WORDS]),
        );
        assert_eq!((*shared).turns, TURNS);
    }
    assert!(window.lengths.iter().all(|length| *length > NEWBORN));
    drop(memory);
}

#[test]
fn swap_keeps_what_it_must() {
    keeps_what_it_must(Way::Swap);
}

/// What the exchange that is to be made has of it, and where it goes on: where it came from.
struct Trial {
    exchange: Exchange,
    out: Copying,
    into: Copying,
}

unsafe extern "C" fn exchange_and_stay(trial: *mut (), sp: usize) -> usize {
    // SAFETY: `trial` is the caller's local.
    unsafe {
        let trial = trial.cast::<Trial>();
        valgrind::slices(&(*trial).out, &(*trial).into);
        (*trial).exchange = Exchange::new((*trial).out, (*trial).into, sp);
        Exchange::tagged(&raw const (*trial).exchange)
    }
}

/// Lengths of all ways through the loops, slices at each place in a cache line.
#[test]
fn an_exchange_copies_every_byte_and_no_other() {
    const ROOM: usize = 64;
    const LONGEST: usize = 1600;
    let window = StackMemory::new(64 * 1024, 4096).unwrap();
    let top = window.top() & !63;
    let mut slices = [(); 2].map(|()| vec![0_u8; LONGEST + 4 * ROOM]);
    let mut seed = 0x0dd_ba11;
    // Under an emulator there is one way to copy, and this takes long.
    let (ways, rounds): (&[bool], usize) = match cfg!(target_arch = "x86_64") {
        true => (&[false, true], 8),
        false => (&[false], 1),
    };
    for &wide in ways {
        #[cfg(target_arch = "x86_64")]
        port::set_wide(wide && std::arch::is_x86_feature_detected!("avx"));
        #[cfg(not(target_arch = "x86_64"))]
        let _ = wide;
        for round in 0..LONGEST / 16 * rounds {
            let any = next(&mut seed) as usize;
            let out_len = round / rounds * 16 + 16 + SLICE_ODD;
            let in_len = if any.is_multiple_of(4) {
                out_len
            } else {
                any / 4 % (LONGEST / 16) * 16 + 16 + SLICE_ODD
            };
            let places = [0, 1].map(|which: usize| ROOM + any / (512 << (2 * which)) % 4 * 16);
            let starts = [0, 1].map(|which: usize| {
                let base = slices[which].as_ptr() as usize;
                base.next_multiple_of(64) - base + places[which]
            });
            let mut byte = any as u8;
            for slice in &mut slices {
                slice.fill_with(|| {
                    byte = byte.wrapping_mul(5).wrapping_add(1);
                    byte
                });
            }
            let low = top - LONGEST - ROOM;
            let before: Vec<u8> = (0..LONGEST + ROOM).map(|at| (at * 7 + any) as u8).collect();
            let old = slices.clone();
            let mut after = before.clone();
            let mut trial = Trial {
                exchange: Exchange::NOTHING,
                out: Copying::new(
                    top - out_len,
                    slices[0].as_mut_ptr() as usize + starts[0],
                    out_len,
                ),
                into: Copying::new(
                    slices[1].as_ptr() as usize + starts[1],
                    top - in_len,
                    in_len,
                ),
            };
            // SAFETY: nobody uses the window; the op returns an exchange after which this goes on.
            unsafe {
                core::ptr::copy_nonoverlapping(before.as_ptr(), low as *mut u8, before.len());
                transfer(exchange_and_stay, (&raw mut trial).cast());
                core::ptr::copy_nonoverlapping(low as *const u8, after.as_mut_ptr(), after.len());
            }
            let what = format!("{out_len} bytes out, {in_len} in, at {starts:?}");
            let end = before.len();
            assert!(
                after[..end - in_len] == before[..end - in_len],
                "{what}: below"
            );
            assert!(
                after[end - in_len..] == old[1][starts[1]..][..in_len],
                "{what}: in"
            );
            assert!(slices[1] == old[1], "{what}: the slice that came in");
            let mut expected = old[0].clone();
            expected[starts[0]..][..out_len].copy_from_slice(&before[end - out_len..]);
            assert!(slices[0] == expected, "{what}: the slice that went out");
        }
    }
    use_processor();
}
