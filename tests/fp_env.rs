//! Control words of the floating-point units: they belong to the thread, unless
//! a tasklet was built with its own.

use std::cell::Cell;
use std::rc::Rc;

use hardswitch::{Builder, Result, Settings, Tasklet};

/// The rounding of a division, as the unit does it now: 1/3 in single steps.
/// (The functions of the language assume rounding to nearest; assembly does not.)
#[cfg(target_arch = "x86_64")]
mod unit {
    use std::arch::asm;

    pub const NEAREST: u32 = 0;
    pub const UP: u32 = 0x4000;

    pub fn rounding() -> u32 {
        let mut mxcsr = 0u32;
        // SAFETY: stores the control word into a local.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut mxcsr, options(nostack)) };
        mxcsr & 0x6000
    }

    pub fn set_rounding(mode: u32) {
        let mut mxcsr = 0u32;
        // SAFETY: changes the rounding of SSE and x87; the test restores it.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &mut mxcsr, options(nostack));
            mxcsr = mxcsr & !0x6000 | mode;
            asm!("ldmxcsr [{}]", in(reg) &mxcsr, options(nostack));
            let x87 = 0x037fu16 | (mode >> 3) as u16;
            asm!("fldcw [{}]", in(reg) &x87, options(nostack));
        }
    }

    /// The x87 unit goes with it.
    pub fn second_rounding() -> u32 {
        let mut x87 = 0u16;
        // SAFETY: stores the control word into a local.
        unsafe { asm!("fnstcw [{}]", in(reg) &mut x87, options(nostack)) };
        u32::from(x87 & 0x0c00) << 3
    }
}

#[cfg(target_arch = "powerpc64")]
mod unit {
    use std::arch::asm;

    pub const NEAREST: u32 = 0;
    pub const UP: u32 = 2;

    pub fn rounding() -> u32 {
        let bits: f64;
        // SAFETY: copies the FPSCR.
        unsafe { asm!("mffs {}", out(freg) bits, options(nostack)) };
        bits.to_bits() as u32 & 3
    }

    pub fn set_rounding(mode: u32) {
        let bits = f64::from_bits(u64::from(mode));
        // SAFETY: changes the rounding field; the test restores it.
        unsafe { asm!("mtfsf 1, {}", in(freg) bits, options(nostack)) };
    }

    pub fn second_rounding() -> u32 {
        rounding()
    }
}

use unit::{rounding, second_rounding, set_rounding, NEAREST, UP};

fn builders() -> [Builder; 2] {
    // SAFETY: nothing is lent.
    [Tasklet::builder(), unsafe { Tasklet::builder().sliced() }]
}

fn on_a_thread(f: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        Settings {
            windows: 1,
            ..Settings::desktop()
        }
        .apply()
        .unwrap();
        f();
        assert_eq!(rounding(), NEAREST, "the thread's own rounding was changed");
    })
    .join()
    .unwrap();
}

#[test]
fn a_tasklet_with_its_own_words_starts_with_the_defaults_and_keeps_what_it_sets() {
    on_a_thread(|| {
        for builder in builders() {
            let turns = Rc::new(Cell::new(0));
            set_rounding(UP);
            for _ in 0..3 {
                let turns = turns.clone();
                let body = move || -> Result<()> {
                    assert_eq!(rounding(), NEAREST, "it does not start with the defaults");
                    assert_eq!(second_rounding(), NEAREST);
                    set_rounding(UP);
                    for _ in 0..10 {
                        hardswitch::schedule()?;
                        assert_eq!(rounding(), UP, "what it set is lost");
                        assert_eq!(second_rounding(), UP);
                        turns.set(turns.get() + 1);
                    }
                    Ok(())
                };
                builder.clone().fp_env().spawn(body).unwrap();
            }
            hardswitch::run().unwrap();
            assert_eq!(turns.get(), 30);
            assert_eq!(rounding(), UP, "the thread's words come back to it");
            set_rounding(NEAREST);
        }
    });
}

#[test]
fn without_it_the_words_belong_to_the_thread() {
    on_a_thread(|| {
        for builder in builders() {
            let setter = builder.clone().spawn(|| -> Result<()> {
                set_rounding(UP);
                hardswitch::schedule()
            });
            let seen = Rc::new(Cell::new(NEAREST));
            let see = seen.clone();
            builder
                .spawn(move || {
                    see.set(rounding());
                })
                .unwrap();
            hardswitch::run().unwrap();
            drop(setter);
            assert_eq!(seen.get(), UP);
            assert_eq!(rounding(), UP);
            set_rounding(NEAREST);
        }
    });
}

#[test]
fn both_kinds_take_turns_without_disturbing_each_other() {
    on_a_thread(|| {
        for i in 0..6 {
            for builder in builders() {
                let own = i % 2 == 0;
                let body = move || -> Result<()> {
                    if own {
                        set_rounding(UP);
                    }
                    for _ in 0..20 {
                        hardswitch::schedule()?;
                        assert_eq!(rounding(), if own { UP } else { NEAREST });
                    }
                    Ok(())
                };
                let builder = if own { builder.fp_env() } else { builder };
                builder.spawn(body).unwrap();
            }
        }
        hardswitch::run().unwrap();
    });
}
