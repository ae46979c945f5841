//! Recursion through `spill::call` and `spill::grow`: any depth in a small
//! window, with everything that may happen on the way.

use std::cell::Cell;
use std::rc::Rc;

use hardswitch::{spill, Channel, Error, Result, Settings, Tasklet};

/// Runs `f` on a thread of its own with the console's limits.
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

fn sliced(f: impl FnOnce() -> Result<()> + 'static) -> Tasklet {
    // SAFETY: no test lends a local of a tasklet to anybody.
    unsafe { Tasklet::builder().sliced() }.spawn(f).unwrap()
}

/// The sum of 1..=n, by recursion, with locals that must survive.
fn sum(n: u64) -> Result<u64> {
    let local = std::hint::black_box([n; 4]);
    if n == 0 {
        return Ok(0);
    }
    let rest = spill::call(move || sum(n - 1))??;
    assert_eq!(local, [n; 4], "a local changed while its frame was away");
    Ok(rest + n)
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "there are no slices"
)]
fn a_million_levels_fit_a_window_of_16_kib() {
    console(|| {
        let depth: u64 = 1_000_000;
        let peak = Rc::new(Cell::new(0));
        let seen = peak.clone();
        sliced(move || {
            assert_eq!(sum(depth)?, depth * (depth + 1) / 2);
            seen.set(hardswitch::stats().slice_peak);
            Ok(())
        });
        hardswitch::run().unwrap();
        println!("{} bytes of heap per level", peak.get() as u64 / depth);
        assert!(peak.get() as u64 > depth * 16, "nothing was spilled");
    });
}

#[test]
fn spilled_tasklets_switch_at_every_depth() {
    fn deep(n: u64, id: u64, pipe: Channel<u64>) -> Result<u64> {
        let local = std::hint::black_box([n ^ id; 6]);
        if n == 0 {
            return Ok(0);
        }
        hardswitch::schedule()?;
        let inner = pipe.clone();
        let rest = spill::call(move || deep(n - 1, id, inner))??;
        if n.is_multiple_of(7) {
            hardswitch::schedule()?;
        }
        assert_eq!(local, [n ^ id; 6]);
        Ok(rest + 1)
    }
    console(|| {
        let pipe = Channel::new();
        for id in 0..5 {
            let pipe = pipe.clone();
            sliced(move || {
                let depth = 200 + id * 10;
                let got = deep(depth, id, pipe.clone())?;
                pipe.send(got - depth)
            });
        }
        for _ in 0..5 {
            assert_eq!(pipe.receive().unwrap(), 0);
        }
        hardswitch::run().unwrap();
    });
}

#[test]
fn grow_borrows_and_switches() {
    fn deep(n: usize, seen: &mut Vec<usize>) -> Result<()> {
        let local = std::hint::black_box([n; 32]);
        if n > 0 {
            hardswitch::schedule()?;
            spill::grow(|| deep(n - 1, seen))??;
            hardswitch::schedule()?;
        }
        seen.push(n);
        assert_eq!(local, [n; 32]);
        Ok(())
    }
    console(|| {
        for kind in 0..6 {
            let body = move || {
                let mut seen = Vec::new();
                deep(300, &mut seen)?;
                assert!(seen.iter().copied().eq(0..=300));
                Ok(())
            };
            if kind % 2 == 0 {
                sliced(body);
            } else {
                hardswitch::spawn(body).unwrap();
            }
        }
        hardswitch::run().unwrap();
    });
}

#[test]
fn main_can_grow_too() {
    fn deep(n: u64) -> u64 {
        let local = std::hint::black_box([n; 64]);
        if n == 0 {
            return 0;
        }
        let rest = spill::grow(|| deep(n - 1)).unwrap() + 1;
        assert_eq!(local, [n; 64]);
        rest
    }
    // The stack of a test's thread is 2 MiB: this needs about 30.
    console(|| assert_eq!(deep(20_000), 20_000));
}

#[test]
fn a_call_spills_on_segments_and_own_stacks_by_growing() {
    console(|| {
        hardswitch::spawn(|| {
            assert_eq!(sum(5_000)?, 5_000 * 5_001 / 2);
            Ok(())
        })
        .unwrap();
        sliced(|| {
            // Use the window up, so that `grow` takes a segment.
            fn fill(n: usize) -> Result<()> {
                let local = std::hint::black_box([1u8; 1024]);
                if n > 0 {
                    fill(n - 1)?;
                } else {
                    let there = 3_000;
                    assert_eq!(spill::grow(|| sum(there))??, 3_000 * 3_001 / 2);
                }
                assert_eq!(local[0], 1);
                Ok(())
            }
            // Without optimisation a frame has more copies of the array.
            fill(if cfg!(debug_assertions) { 2 } else { 8 })
        });
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_panic_goes_on_in_the_caller() {
    fn deep(n: u32) -> Result<()> {
        let _local = std::hint::black_box([0u8; 256]);
        if n == 0 {
            // Without the hook: a backtrace does not fit a small window.
            std::panic::resume_unwind(Box::new("at the bottom"));
        }
        spill::call(move || deep(n - 1))?
    }
    console(|| {
        sliced(|| deep(200));
        match hardswitch::run() {
            Err(Error::Panicked(panic)) => assert_eq!(panic.message(), "at the bottom"),
            other => panic!("expected the panic, got {other:?}"),
        }
        // The window is as good as before.
        sliced(|| sum(3_000).map(drop));
        hardswitch::run().unwrap();
    });
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "there are no slices"
)]
fn a_tasklet_killed_in_the_depth_unwinds_through_its_spills() {
    struct Count(Rc<Cell<u32>>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    fn deep(n: u32, drops: Rc<Cell<u32>>, wait: Channel<()>) -> Result<()> {
        let _local = std::hint::black_box([0u8; 128]);
        let _count = Count(drops.clone());
        if n == 0 {
            return wait.receive();
        }
        spill::call(move || deep(n - 1, drops, wait))?
    }
    console(|| {
        let drops = Rc::new(Cell::new(0));
        let wait = Channel::new();
        let (d, w) = (drops.clone(), wait.clone());
        let tasklet = sliced(move || deep(500, d, w));
        hardswitch::run().unwrap();
        assert_eq!(wait.balance(), -1);
        assert!(tasklet.stats().spilled_bytes > 500 * 128);
        tasklet.kill().unwrap();
        assert_eq!(drops.get(), 501);
        assert_eq!(wait.balance(), 0);
        assert!(!tasklet.is_alive());
    });
}

#[test]
fn without_memory_a_spill_fails_and_nothing_is_lost() {
    std::thread::spawn(|| {
        Settings {
            memory_ceiling: 160 * 1024,
            ..Settings::console()
        }
        .apply()
        .unwrap();
        let depth = Rc::new(Cell::new(0u64));
        fn deep(n: u64, reached: Rc<Cell<u64>>) -> Result<()> {
            let local = std::hint::black_box([n; 4]);
            reached.set(n);
            let inner = reached.clone();
            let result = spill::call(move || deep(n + 1, inner)).and_then(|result| result);
            assert_eq!(local, [n; 4]);
            result
        }
        let seen = depth.clone();
        let ended = Rc::new(Cell::new(false));
        let flag = ended.clone();
        sliced(move || {
            match deep(0, seen) {
                Err(Error::MemoryCeiling(163_840)) => {}
                other => panic!("expected the ceiling, got {other:?}"),
            }
            flag.set(true);
            Ok(())
        });
        hardswitch::run().unwrap();
        assert!(ended.get());
        assert!(
            depth.get() > 100,
            "the ceiling came at level {}",
            depth.get()
        );
        assert_eq!(hardswitch::stats().slice_bytes, 0);
    })
    .join()
    .unwrap();
}

#[test]
fn what_grow_carries_is_part_of_the_slice() {
    // Large closures and results lie in the frame that calls the segment.
    fn body(id: u64) -> Result<()> {
        let carried = std::hint::black_box([id; 1000]);
        fn fill(n: u64, carried: [u64; 1000]) -> Result<[u64; 1000]> {
            let local = std::hint::black_box([n; 64]);
            if n > 0 {
                let inner = fill(n - 1, carried)?;
                assert_eq!(local, [n; 64]);
                return Ok(inner);
            }
            hardswitch::spill::grow(move || {
                hardswitch::schedule()?;
                let mut result = carried;
                result[0] += 1;
                hardswitch::schedule()?;
                Ok(result)
            })?
        }
        let mut expected = [id; 1000];
        expected[0] += 1;
        assert_eq!(fill(1, carried)?, expected);
        Ok(())
    }
    std::thread::spawn(|| {
        Settings {
            window_size: 512 * 1024,
            stack_size: 512 * 1024,
            ..Settings::console()
        }
        .apply()
        .unwrap();
        for id in 0..4 {
            sliced(move || body(id * 1000));
        }
        hardswitch::run().unwrap();
    })
    .join()
    .unwrap();
}
