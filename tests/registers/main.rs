//! Every non-volatile register is filled, a switch happens, other tasklets fill
//! them otherwise, and on return all hold what they held: with own stacks, with
//! sliced ones in 1, 2 and 8 windows, mixed, over thousands of random switches.
//!
//! Removing any one save or restore from `asm/` makes this fail: `ci/mutate`
//! tries each.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hardswitch::{Channel, Result, Settings, Tasklet};

#[cfg(target_arch = "x86_64")]
mod port {
    std::arch::global_asm!(include_str!("x86_64.S"));
    pub const WORDS: usize = 6;
    pub fn name(word: usize) -> String {
        ["rbx", "rbp", "r12", "r13", "r14", "r15"][word].to_string()
    }
    /// The bits of a word that the ABI preserves.
    pub fn mask(_: usize) -> u64 {
        u64::MAX
    }
}

#[cfg(target_arch = "powerpc64")]
mod port {
    std::arch::global_asm!(include_str!("ppc64_elfv1.S"));
    pub const WORDS: usize = 62;
    pub fn name(word: usize) -> String {
        match word {
            0..=17 => format!("r{}", word + 14),
            18..=35 => format!("f{}", word - 18 + 14),
            36..=59 => format!("v{} (half {})", (word - 36) / 2 + 20, (word - 36) % 2),
            60 => "CR2-CR4".to_string(),
            _ => "VRSAVE".to_string(),
        }
    }
    pub fn mask(word: usize) -> u64 {
        match word {
            60 => 0x00ff_f000,
            61 => 0xffff_ffff,
            _ => u64::MAX,
        }
    }
}

use port::WORDS;

#[allow(improper_ctypes)]
extern "C" {
    fn hsw_test_registers(
        call: extern "C" fn(*mut Turn<'_>),
        args: *const [*mut Turn<'_>; 2],
        pattern: *const Words,
        found: *mut Words,
    );
}

#[repr(align(16))]
struct Words([u64; WORDS]);

/// splitmix64: repeatable, and every bit of every register is exercised.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// What happens while the registers hold the pattern.
struct Turn<'a> {
    action: u64,
    value: u64,
    pipe: &'a Channel<u64>,
    result: Result<()>,
}

#[allow(improper_ctypes_definitions)]
extern "C" fn take_turn(turn: *mut Turn<'_>) {
    // SAFETY: the caller's local, alive during the call.
    let turn = unsafe { &mut *turn };
    turn.result = match turn.action % 4 {
        0 | 1 => hardswitch::schedule(),
        2 if turn.pipe.balance() < 0 => turn.pipe.send(turn.value),
        3 if !turn.pipe.is_closing() && turn.pipe.balance() >= 0 && hardswitch::run_count() > 2 => {
            turn.pipe.receive().map(drop)
        }
        _ => hardswitch::schedule(),
    };
}

/// One check; panics with the name of the register that was lost.
fn check(random: &mut Random, pipe: &Channel<u64>) -> Result<()> {
    let mut pattern = Words([0; WORDS]);
    for (word, value) in pattern.0.iter_mut().enumerate() {
        *value = random.next() & port::mask(word);
    }
    let mut found = Words([0; WORDS]);
    let mut turn = Turn {
        action: random.next(),
        value: random.next(),
        pipe,
        result: Ok(()),
    };
    let args = [&raw mut turn; 2];
    // SAFETY: the routine keeps to the ABI; the pointers are to live locals.
    unsafe { hsw_test_registers(take_turn, &args, &pattern, &mut found) };
    for word in 0..WORDS {
        let got = found.0[word] & port::mask(word);
        assert_eq!(
            got,
            pattern.0[word],
            "{} was {:#x} before the switch and {got:#x} after it",
            port::name(word),
            pattern.0[word],
        );
    }
    turn.result
}

#[derive(Clone, Copy, PartialEq)]
enum Stacks {
    Own,
    Sliced,
    Mixed,
}

fn spawn(stacks: Stacks, index: u64, f: impl FnOnce() -> Result<()> + 'static) -> Tasklet {
    let builder = Tasklet::builder().name(format!("register test {index}"));
    let sliced = stacks == Stacks::Sliced || (stacks == Stacks::Mixed && index.is_multiple_of(2));
    if sliced {
        // SAFETY: the locals of the tests are not lent to anybody.
        unsafe { builder.sliced() }.spawn(f).unwrap()
    } else {
        builder.spawn(f).unwrap()
    }
}

/// `recurse` deep, so that slices of many sizes come about.
#[inline(never)]
fn at_depth(depth: u64, f: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let local = std::hint::black_box([depth; 8]);
    let result = if depth == 0 {
        f()
    } else {
        at_depth(depth - 1, f)
    };
    assert_eq!(
        local, [depth; 8],
        "a local changed while the stack was away"
    );
    result
}

fn torture(stacks: Stacks, windows: usize, seed: u64) {
    // A thread of its own: fresh settings, and a main tasklet that takes part.
    let rounds: u64 = if cfg!(target_arch = "x86_64") {
        400
    } else {
        60
    };
    let tasklets = 12;
    let checks = std::thread::spawn(move || {
        Settings {
            windows,
            ..Settings::desktop()
        }
        .apply()
        .unwrap();
        let pipe = Channel::new();
        let done = Rc::new(Cell::new(0u64));
        let panics = Rc::new(RefCell::new(Vec::new()));
        for index in 0..tasklets {
            let (pipe, done) = (pipe.clone(), done.clone());
            spawn(stacks, index, move || {
                let mut random = Random(seed ^ (index << 32));
                for _ in 0..rounds {
                    let depth = random.next() % 12;
                    at_depth(depth, &mut || check(&mut random, &pipe))?;
                    done.set(done.get() + 1);
                }
                Ok(())
            });
        }
        let mut random = Random(seed);
        while hardswitch::run_count() > 1 || pipe.balance() != 0 {
            if pipe.balance() < 0 {
                // Those who wait for a value get one from main.
                pipe.send(1).unwrap();
            }
            let result = check_main(&mut random, &pipe);
            if let Err(error) = result {
                panics.borrow_mut().push(error.to_string());
                break;
            }
        }
        assert!(panics.borrow().is_empty(), "{:?}", panics.borrow());
        done.get()
    })
    .join()
    .unwrap();
    assert_eq!(checks, tasklets * rounds);
}

/// Main schedules only: it must not block here.
fn check_main(random: &mut Random, pipe: &Channel<u64>) -> Result<()> {
    let _ = random.next();
    let trap = hardswitch::current();
    let old = trap.set_block_trap(true);
    let mut even = Random(random.next() & !3);
    // An action that is 0 or 1 modulo 4 is `schedule`.
    let result = loop {
        let mut probe = Random(even.0);
        for _ in 0..WORDS {
            probe.next();
        }
        if probe.next() % 4 < 2 {
            break check(&mut even, pipe);
        }
        even.next();
    };
    trap.set_block_trap(old);
    result
}

#[test]
fn own_stacks_keep_every_register() {
    torture(Stacks::Own, 1, 1);
}

#[test]
fn slices_in_one_window_keep_every_register() {
    torture(Stacks::Sliced, 1, 2);
}

#[test]
fn slices_in_two_windows_keep_every_register() {
    torture(Stacks::Sliced, 2, 3);
}

#[test]
fn slices_in_eight_windows_keep_every_register() {
    torture(Stacks::Sliced, 8, 4);
}

#[test]
fn own_stacks_beside_slices_keep_every_register() {
    for seed in 5..8 {
        torture(Stacks::Mixed, 2, seed);
    }
}

#[test]
fn spilled_stacks_keep_every_register() {
    fn deep(n: u64, seed: u64, pipe: Channel<u64>) -> Result<u64> {
        let mut random = Random(seed ^ n);
        let mut checks = 2;
        check(&mut random, &pipe)?;
        if n > 0 {
            let inner = pipe.clone();
            checks += hardswitch::spill::call(move || deep(n - 1, seed, inner))??;
        }
        check(&mut random, &pipe)?;
        Ok(checks)
    }
    std::thread::spawn(|| {
        Settings {
            watermark: 1024,
            ..Settings::console()
        }
        .apply()
        .unwrap();
        let pipe = Channel::new();
        // Nobody waits on the pipe here: a turn that would receive schedules.
        pipe.close();
        let done = Rc::new(Cell::new(0));
        for index in 0..6 {
            let (pipe, done) = (pipe.clone(), done.clone());
            spawn(Stacks::Sliced, index, move || {
                for round in 0..4 {
                    let checks = deep(30, index * 100 + round, pipe.clone())?;
                    done.set(done.get() + checks);
                }
                Ok(())
            });
        }
        hardswitch::run().unwrap();
        assert_eq!(done.get(), 6 * 4 * 31 * 2);
    })
    .join()
    .unwrap();
}

/// glibc's `setcontext` and `swapcontext` restore v20-v31 only where VRSAVE is not 0. Linux sets
/// all of it at a thread's first vector instruction.
#[cfg(target_arch = "powerpc64")]
mod vrsave {
    use super::*;
    use std::mem::MaybeUninit;

    fn vrsave() -> u32 {
        let word: u64;
        // SAFETY: copies a register that programs may read.
        unsafe { std::arch::asm!("mfspr {}, 256", out(reg) word, options(nomem, nostack)) };
        word as u32
    }

    #[test]
    fn a_newborn_has_all_vector_registers_in_use() {
        for stacks in [Stacks::Own, Stacks::Sliced] {
            let seen = Rc::new(Cell::new(0));
            let see = seen.clone();
            spawn(stacks, 0, move || {
                see.set(vrsave());
                // On top of its window, where a spill begins anew, as well.
                hardswitch::spill::call(|| assert_eq!(vrsave(), u32::MAX))
            });
            hardswitch::run().unwrap();
            assert_eq!(seen.get(), u32::MAX);
        }
    }

    struct Both {
        here: MaybeUninit<libc::ucontext_t>,
        there: MaybeUninit<libc::ucontext_t>,
    }

    // The same routine, of whose first arguments it knows only that it calls the one with what the
    // other points to.
    #[allow(improper_ctypes, clashing_extern_declarations)]
    extern "C" {
        #[link_name = "hsw_test_registers"]
        fn swap_with(
            swap: unsafe extern "C" fn(*mut libc::ucontext_t, *const libc::ucontext_t) -> i32,
            args: *const [*mut libc::ucontext_t; 2],
            pattern: *const Words,
            found: *mut Words,
        );
    }

    fn pattern(random: &mut Random) -> Words {
        let mut words = Words(std::array::from_fn(|word| random.next() & port::mask(word)));
        // What a program has there that never heard of it.
        words.0[61] = u64::from(vrsave());
        words
    }

    thread_local! {
        static BOTH: Cell<*mut Both> = const { Cell::new(std::ptr::null_mut()) };
    }

    extern "C" fn other() {
        let mut random = Random(7);
        let both = BOTH.get();
        loop {
            let (pattern, mut found) = (pattern(&mut random), Words([0; WORDS]));
            // SAFETY: the contexts are alive as long as anybody swaps.
            unsafe {
                let args = [(*both).there.as_mut_ptr(), (*both).here.as_mut_ptr()];
                swap_with(libc::swapcontext, &args, &pattern, &mut found);
            }
        }
    }

    #[test]
    fn contexts_of_the_c_library_keep_the_vector_registers_in_a_tasklet() {
        for stacks in [Stacks::Own, Stacks::Sliced] {
            let done = Rc::new(Cell::new(false));
            let finished = done.clone();
            spawn(stacks, 0, move || {
                // In the heap: it does not move with a slice.
                let both = Box::into_raw(Box::new(Both {
                    here: MaybeUninit::zeroed(),
                    there: MaybeUninit::zeroed(),
                }));
                BOTH.set(both);
                let mut stack = vec![0u8; 128 * 1024];
                // SAFETY: a context with a stack of its own; both live until the end.
                unsafe {
                    let there = (*both).there.as_mut_ptr();
                    assert_eq!(libc::getcontext(there), 0);
                    (*there).uc_stack.ss_sp = stack.as_mut_ptr().cast();
                    (*there).uc_stack.ss_size = stack.len();
                    libc::makecontext(there, other, 0);
                }
                let mut random = Random(3);
                for _ in 0..20 {
                    let (pattern, mut found) = (pattern(&mut random), Words([0; WORDS]));
                    // SAFETY: as above.
                    unsafe {
                        let args = [(*both).here.as_mut_ptr(), (*both).there.as_mut_ptr()];
                        swap_with(libc::swapcontext, &args, &pattern, &mut found);
                    }
                    for word in 36..60 {
                        let name = port::name(word);
                        assert_eq!(found.0[word], pattern.0[word], "{name} was lost");
                    }
                    hardswitch::schedule()?;
                }
                // SAFETY: nobody swaps any more.
                drop(unsafe { Box::from_raw(both) });
                finished.set(true);
                Ok(())
            });
            hardswitch::run().unwrap();
            assert!(done.get());
        }
    }
}

/// The tester is tested: a call that changes a register is noticed.
#[test]
fn a_lost_register_is_noticed() {
    extern "C" fn harmless(_: *mut Turn<'_>) {}
    let pipe = Channel::new();
    let mut turn = Turn {
        action: 0,
        value: 0,
        pipe: &pipe,
        result: Ok(()),
    };
    let mut random = Random(99);
    let pattern = Words(std::array::from_fn(|word| random.next() & port::mask(word)));
    let mut found = Words([0; WORDS]);
    let args = [&raw mut turn; 2];
    // SAFETY: as in `check`.
    unsafe { hsw_test_registers(harmless, &args, &pattern, &mut found) };
    for word in 0..WORDS {
        assert_eq!(
            found.0[word] & port::mask(word),
            pattern.0[word],
            "{} is not read back as it was filled",
            port::name(word)
        );
        // Every register is really filled with something of its own.
        assert_ne!(pattern.0[word], 0);
    }
}
