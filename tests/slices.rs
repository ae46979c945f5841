//! Slices of every size, from next to nothing to nearly the whole window, and
//! what may happen around them.
// With these features there are none.
#![cfg(not(any(feature = "asan", feature = "tsan")))]

use std::cell::Cell;
use std::rc::Rc;

use hardswitch::{spill, Channel, Result, Settings, Tasklet};

fn sliced(f: impl FnOnce() -> Result<()> + 'static) -> Tasklet {
    // SAFETY: no test lends a local of a tasklet to anybody.
    unsafe { Tasklet::builder().sliced() }.spawn(f).unwrap()
}

fn console(f: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        Settings::console().apply().unwrap();
        f();
        assert_eq!(hardswitch::stats().slice_bytes, 0, "slices are left over");
        assert_eq!(hardswitch::stats().tasklets, 1, "tasklets are left over");
    })
    .join()
    .unwrap();
}

/// Goes down until `bytes` of the stack are used, then calls `f`.
#[inline(never)]
fn at(bytes: usize, seed: u8, f: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let local = std::hint::black_box([seed; 40]);
    let result = if spill::used().unwrap() + 160 < bytes {
        at(bytes, seed.wrapping_add(1), f)
    } else {
        f()
    };
    assert_eq!(local, [seed; 40], "bytes changed while the slice was away");
    result
}

#[test]
fn slices_of_every_size_come_back_whole() {
    console(|| {
        // What is left of 16 KiB is for the frames of the test itself, which
        // are larger on PowerPC, and where nothing is optimised.
        let most = if cfg!(target_arch = "x86_64") && !cfg!(debug_assertions) {
            14 * 1024
        } else {
            11 * 1024
        };
        let sizes = Rc::new(Cell::new((usize::MAX, 0)));
        for round in 0..2 {
            for bytes in (0..=most).step_by(112) {
                let sizes = sizes.clone();
                sliced(move || {
                    at(bytes, (bytes % 251) as u8, &mut || {
                        for _ in 0..2 {
                            hardswitch::schedule()?;
                        }
                        let own = hardswitch::current().stats().slice_bytes;
                        let (least, largest) = sizes.get();
                        sizes.set((least.min(own), largest.max(own)));
                        Ok(())
                    })
                });
            }
            hardswitch::run().unwrap();
            let (least, largest) = sizes.get();
            assert!(least < 2048, "round {round}: no slice was small ({least})");
            assert!(
                largest > most - 512,
                "round {round}: none was large ({largest})"
            );
        }
    });
}

/// Calls `f` with `WORDS` words more on the stack.
#[inline(never)]
fn beside<const WORDS: usize>(seed: u64, f: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let local = std::hint::black_box(std::array::from_fn::<u64, WORDS, _>(|at| seed + at as u64));
    let result = f();
    let now = std::hint::black_box(&local);
    assert!(now.iter().zip(seed..).all(|(word, was)| *word == was));
    result
}

/// Two that take turns in one window, whose slices differ by any number of vectors up to 20: the
/// routines copy what they have in common, and the rest of the longer one.
#[test]
fn slices_of_any_two_sizes_change_places() {
    type Beside = fn(u64, &mut dyn FnMut() -> Result<()>) -> Result<()>;
    macro_rules! each {
        ($($words:literal)*) => { [$(beside::<$words> as Beside),*] };
    }
    const SIZES: [Beside; 21] = each!(0 2 4 6 8 10 12 14 16 18 20 22 24 26 28 30 32 34 36 38 40);
    console(|| {
        let turns = Rc::new(Cell::new(0));
        for (seed, own) in [(1, 1), (1000, SIZES.len())] {
            let turns = turns.clone();
            sliced(move || {
                for turn in 0..SIZES.len() * SIZES.len() {
                    let size = SIZES[turn / own % SIZES.len()];
                    let seen = turns.clone();
                    size(seed + turn as u64, &mut || {
                        seen.set(seen.get() + 1);
                        hardswitch::schedule()
                    })?;
                }
                Ok(())
            });
        }
        hardswitch::run().unwrap();
        assert_eq!(turns.get(), 2 * SIZES.len() * SIZES.len());
    });
}

#[test]
fn a_tasklet_that_shrinks_and_grows_has_the_slice_that_fits() {
    console(|| {
        sliced(|| {
            for bytes in [10_000, 1_000, 8_000, 500, 11_000, 2_000] {
                at(bytes, 7, &mut || {
                    hardswitch::schedule()?;
                    // Exact: the live bytes, rounded up to a class.
                    let stats = hardswitch::current().stats();
                    let used = spill::used().unwrap();
                    assert!(
                        stats.slice_bytes < used + 1500 && stats.slice_bytes + 1500 > used,
                        "a slice of {} bytes for {used} in use",
                        stats.slice_bytes
                    );
                    Ok(())
                })?;
            }
            Ok(())
        });
        sliced(|| {
            for _ in 0..20 {
                hardswitch::schedule()?;
            }
            Ok(())
        });
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_steady_state_does_not_go_to_the_allocator() {
    console(|| {
        for _ in 0..10 {
            sliced(|| {
                for round in 0..50 {
                    hardswitch::schedule()?;
                    if round == 10 {
                        // Everybody has its slice by now.
                        let before = hardswitch::stats().slice_allocations;
                        for _ in 0..20 {
                            hardswitch::schedule()?;
                        }
                        let after = hardswitch::stats().slice_allocations;
                        assert!(after - before <= 10, "{} allocations", after - before);
                    }
                }
                Ok(())
            });
        }
        hardswitch::run().unwrap();
    });
}

#[test]
fn the_end_of_one_leaves_the_others_whole() {
    console(|| {
        let channel: Channel<usize> = Channel::new();
        for i in 0..30usize {
            let channel = channel.clone();
            sliced(move || {
                at(400 * (i % 20), i as u8, &mut || {
                    assert!(channel.receive()? < 30);
                    Ok(())
                })
            });
        }
        hardswitch::run().unwrap();
        // Some are killed while the others wait, the rest get their value.
        for i in 0..30 {
            if i % 3 == 0 {
                channel.queue().unwrap().kill().unwrap();
            } else {
                channel.send(i).unwrap();
            }
        }
        hardswitch::run().unwrap();
        assert_eq!(channel.balance(), 0);
    });
}

#[test]
fn a_spill_inside_a_spill_inside_a_callback() {
    fn deep(n: u32) -> Result<u32> {
        let local = std::hint::black_box([n; 16]);
        if n == 0 {
            return Ok(0);
        }
        let rest = spill::call(move || deep(n - 1))??;
        assert_eq!(local, [n; 16]);
        Ok(rest + 1)
    }
    console(|| {
        let seen = Rc::new(Cell::new(0));
        let (on_channel, on_schedule) = (seen.clone(), seen.clone());
        hardswitch::set_channel_callback(Some(Rc::new(move |_, tasklet, _, _| {
            if !tasklet.is_main() {
                on_channel.set(on_channel.get() + deep(400).unwrap());
            }
        })));
        hardswitch::set_schedule_callback(Some(Rc::new(move |prev, _| {
            if prev.is_some_and(|prev| prev.is_alive() && !prev.is_main()) {
                on_schedule.set(on_schedule.get() + deep(300).unwrap());
            }
        })));
        let channel: Channel<String> = Channel::new();
        for _ in 0..3 {
            let (tx, rx) = (channel.clone(), channel.clone());
            sliced(move || {
                assert_eq!(rx.receive()?, "a value on its way through all this");
                Ok(())
            });
            sliced(move || tx.send("a value on its way through all this".into()));
        }
        hardswitch::run().unwrap();
        hardswitch::set_channel_callback(None);
        hardswitch::set_schedule_callback(None);
        assert!(seen.get() > 6 * 400, "{}", seen.get());
    });
}
