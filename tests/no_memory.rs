//! When the memory for a slice cannot be had, the operation that needed it fails
//! with an error, everything is as it was, and the same call works later.
//!
//! Everything is sliced in one window here, so that every switch must evict.
// With these features nothing is.
#![cfg(not(any(feature = "asan", feature = "tsan")))]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use hardswitch::testing::{close_ceiling, fail_slices_after};
use hardswitch::{Channel, Error, Preference, Result, Settings, SettingsError, Tasklet, Value};

fn sliced(f: impl FnOnce() -> Result<()> + 'static) -> Tasklet {
    // SAFETY: no test lends a local of a tasklet to anybody.
    unsafe { Tasklet::builder().sliced() }.spawn(f).unwrap()
}

/// All that can be seen of the scheduler and a channel.
fn observe(channel: &Channel<String>) -> String {
    let mut all: Vec<String> = hardswitch::tasklets()
        .iter()
        .map(|t| {
            format!(
                "{:x} {:?} next {:?} prev {:?}",
                t.id(),
                t,
                t.next().map(|t| t.id()),
                t.prev().map(|t| t.id())
            )
        })
        .collect();
    all.sort();
    format!(
        "{all:?} current {:x} count {} balance {} queue {:?}",
        hardswitch::current().id(),
        hardswitch::run_count(),
        channel.balance(),
        channel.queue().map(|t| t.id())
    )
}

/// Runs `operation` in a sliced tasklet, first without memory for a slice, then
/// with. The other sliced tasklets of `others` need the same window.
fn refused(
    others: impl FnOnce(&Channel<String>) + Send + 'static,
    operation: impl Fn(&Channel<String>) -> Result<()> + Send + 'static,
) {
    std::thread::spawn(move || {
        Settings {
            windows: 1,
            slice_cache: 0,
            ..Settings::desktop()
        }
        .apply()
        .unwrap();
        let channel: Channel<String> = Channel::new();
        let log = Rc::new(RefCell::new(Vec::new()));
        others(&channel);
        let (inner, seen) = (channel.clone(), log.clone());
        let tester = sliced(move || {
            // More stack than before, so that no old buffer fits.
            let big = std::hint::black_box([7u8; 3000]);
            let before = observe(&inner);
            fail_slices_after(Some(0));
            let first = operation(&inner);
            fail_slices_after(None);
            assert_eq!(
                observe(&inner),
                before,
                "the refused call changed something"
            );
            seen.borrow_mut().push(format!("{first:?}"));
            let second = operation(&inner);
            seen.borrow_mut().push(format!("{second:?}"));
            assert_eq!(big, [7u8; 3000]);
            Ok(())
        });
        hardswitch::run().unwrap();
        // Whoever still waits is woken.
        while tester.is_alive() || channel.balance() != 0 {
            channel.set_preference(Preference::Neither);
            match channel.balance() {
                0 => {
                    tester.run().unwrap();
                }
                n if n > 0 => drop(channel.receive()),
                _ => channel.send("late".into()).unwrap(),
            }
            hardswitch::run().unwrap();
        }
        assert_eq!(*log.borrow(), ["Err(OutOfMemory)", "Ok(())"]);
        assert_eq!(hardswitch::stats().tasklets, 1 + 1, "main and the handle's");
        drop(tester);
    })
    .join()
    .unwrap();
}

/// Two sliced tasklets that take turns for a while.
fn two_more(_: &Channel<String>) {
    for _ in 0..2 {
        sliced(|| {
            for _ in 0..5 {
                hardswitch::schedule()?;
            }
            Ok(())
        });
    }
}

/// One that waits to receive.
fn a_receiver(channel: &Channel<String>) {
    let channel = channel.clone();
    sliced(move || {
        for _ in 0..2 {
            let text = channel.receive()?;
            assert!(text == "text" || text == "late");
            if text == "text" {
                break;
            }
        }
        Ok(())
    });
}

#[test]
fn schedule_is_refused_whole() {
    refused(two_more, |_| hardswitch::schedule());
}

#[test]
fn schedule_with_a_value_is_refused_whole() {
    refused(two_more, |_| {
        let value = hardswitch::schedule_with(Value::new(String::from("mine")))?;
        assert_eq!(value.downcast::<String>().unwrap(), "mine");
        Ok(())
    });
}

#[test]
fn schedule_remove_is_refused_whole() {
    refused(two_more, |_| hardswitch::schedule_remove());
}

#[test]
fn a_send_that_switches_is_refused_whole() {
    refused(a_receiver, |channel| channel.send("text".into()));
}

#[test]
fn a_send_that_blocks_is_refused_whole() {
    refused(two_more, |channel| channel.send("text".into()));
}

#[test]
fn a_receive_that_blocks_is_refused_whole() {
    refused(two_more, |channel| {
        assert_eq!(channel.receive()?, "late");
        Ok(())
    });
}

#[test]
fn a_receive_that_switches_is_refused_whole() {
    refused(
        |channel| {
            channel.set_preference(Preference::Sender);
            let channel = channel.clone();
            sliced(move || channel.send("late".into()));
        },
        |channel| {
            assert_eq!(channel.receive()?, "late");
            Ok(())
        },
    );
}

#[test]
fn running_another_is_refused_whole() {
    refused(two_more, |_| {
        let next = hardswitch::current().next().unwrap();
        assert!(next.is_scheduled());
        next.run()
    });
}

#[test]
fn switching_to_another_is_refused_whole() {
    refused(two_more, |_| hardswitch::current().next().unwrap().switch());
}

#[test]
fn a_kill_is_refused_whole() {
    refused(a_receiver, |channel| match channel.queue() {
        Some(receiver) => receiver.kill(),
        None => Ok(()),
    });
}

#[test]
fn a_nested_run_is_refused_whole() {
    refused(two_more, |_| hardswitch::run());
}

#[test]
fn spawn_fails_without_memory_for_the_first_slice() {
    std::thread::spawn(|| {
        let before = hardswitch::stats();
        fail_slices_after(Some(0));
        // SAFETY: nothing is lent.
        let result = unsafe { Tasklet::builder().sliced() }.spawn(|| ());
        fail_slices_after(None);
        assert!(matches!(result, Err(Error::OutOfMemory)), "{result:?}");
        assert_eq!(hardswitch::stats().tasklets, before.tasklets);
        assert_eq!(hardswitch::run_count(), 1);
    })
    .join()
    .unwrap();
}

#[test]
fn the_end_of_a_tasklet_is_never_refused() {
    std::thread::spawn(|| {
        Settings {
            windows: 1,
            slice_cache: 0,
            ..Settings::desktop()
        }
        .apply()
        .unwrap();
        let channel: Channel<u64> = Channel::new();
        channel.set_preference(Preference::Neither);
        for _ in 0..2 {
            let receiver = channel.clone();
            sliced(move || receiver.receive().map(drop));
        }
        hardswitch::run().unwrap();
        // The second lies in the window and has no slice of its size yet; the
        // first is away. An own-stack tasklet ends, and the first is next.
        let ends = hardswitch::spawn(|| ()).unwrap();
        channel.send(1).unwrap();
        close_ceiling();
        hardswitch::run().unwrap();
        assert!(!ends.is_alive());
        assert_eq!(channel.balance(), -1, "the first has received and ended");
        channel.send(2).unwrap();
        hardswitch::run().unwrap();
        assert_eq!(hardswitch::stats().slice_bytes, 0);
    })
    .join()
    .unwrap();
}

/// A tasklet ends when the ceiling leaves nothing, and the next one needs the window of a resident
/// that parks less deep than before. `depth` bytes make the slice of before; all memory must be
/// counted as what it is.
fn ends_when_the_resident_has_become_smaller(depth: Depth, cache: usize) {
    std::thread::spawn(move || {
        Settings {
            windows: 1,
            slice_cache: cache,
            ..Settings::desktop()
        }
        .apply()
        .unwrap();
        let channel: Channel<u64> = Channel::new();
        channel.set_preference(Preference::Neither);
        let receiver = channel.clone();
        sliced(move || receiver.receive().map(drop));
        let receiver = channel.clone();
        sliced(move || {
            depth()?;
            receiver.receive().map(drop)
        });
        // Has the second one leave the window while it is deep.
        sliced(|| Ok(()));
        hardswitch::run().unwrap();
        let ends = hardswitch::spawn(|| ()).unwrap();
        channel.send(1).unwrap();
        let other_memory = || {
            let stats = hardswitch::stats();
            stats.memory_bytes - stats.slice_bytes - stats.slice_cache_bytes
        };
        let before = (other_memory(), hardswitch::stats().slice_allocations);
        close_ceiling();
        hardswitch::run().unwrap();
        assert!(!ends.is_alive());
        assert_eq!(channel.balance(), -1, "the first has received and ended");
        let after = (other_memory(), hardswitch::stats().slice_allocations);
        assert!(after.1 > before.1, "no memory was needed");
        assert_eq!(after.0, before.0);
        channel.send(2).unwrap();
        hardswitch::run().unwrap();
        assert_eq!(hardswitch::stats().slice_bytes, 0);
        assert_eq!(other_memory(), before.0);
    })
    .join()
    .unwrap();
}

type Depth = fn() -> Result<()>;

/// Gives way with so many bytes in its frame.
#[inline(never)]
fn deep<const BYTES: usize>() -> Result<()> {
    let local = std::hint::black_box([7u8; BYTES]);
    hardswitch::schedule()?;
    assert_eq!(std::hint::black_box(local)[0], 7);
    Ok(())
}

#[test]
fn the_end_of_a_tasklet_is_never_refused_for_a_slice_that_shrinks() {
    ends_when_the_resident_has_become_smaller(deep::<3000>, 0);
    // Too large for the cache.
    ends_when_the_resident_has_become_smaller(deep::<9000>, 64 * 1024);
}

#[test]
fn what_the_end_of_a_tasklet_gives_to_the_cache_counts_until_it_is_freed() {
    ends_when_the_resident_has_become_smaller(deep::<3000>, 64 * 1024);
}

#[test]
fn lent_memory_serves_as_windows() {
    let settings = Settings {
        windows: 2,
        ..Settings::console()
    };
    let bytes = 2 * settings.window_size + 32;
    let mut memory = vec![0u8; bytes];
    let start = memory.as_mut_ptr() as usize;
    std::thread::spawn(move || {
        let address = start as *mut u8;
        // SAFETY: too small on purpose: refused.
        let result = unsafe { settings.clone().apply_in(address, bytes - 1) };
        assert!(matches!(result, Err(Error::Settings(_))), "{result:?}");
        // SAFETY: the vector outlives this thread, and so its runtime; nobody else touches it.
        unsafe { settings.apply_in(address, bytes).unwrap() };
        for i in 0..10u8 {
            sliced(move || {
                for _ in 0..10 {
                    let local = std::hint::black_box([i; 100]);
                    hardswitch::schedule()?;
                    assert_eq!(local, [i; 100]);
                    let here = &raw const local as usize;
                    assert!(here >= start && here < start + bytes);
                }
                Ok(())
            });
        }
        hardswitch::run().unwrap();
        assert!(hardswitch::stats().copied_bytes > 1000);
    })
    .join()
    .unwrap();
    drop(memory);
}

#[test]
fn memory_that_would_end_beyond_the_address_space_is_refused() {
    std::thread::spawn(|| {
        let settings = Settings::console();
        for below_the_end in [0, 100, settings.window_size / 2, settings.window_size + 100] {
            let address = std::ptr::without_provenance_mut(usize::MAX - below_the_end);
            // SAFETY: no such memory is touched.
            let result = unsafe { settings.clone().apply_in(address, 1 << 20) };
            assert!(
                matches!(result, Err(Error::Settings(SettingsError::Memory))),
                "{result:?}"
            );
        }
        settings.apply().unwrap();
    })
    .join()
    .unwrap();
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan", feature = "valgrind"),
    ignore = "tens of thousands of stacks"
)]
fn stacks_leave_mappings_for_threads_and_pools() {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    if limit.trim().parse::<usize>().unwrap() > 100_000 {
        println!("this machine allows {} mappings: not tried", limit.trim());
        return;
    }
    let (text, end) = common::child(|| {
        let small = Settings {
            stack_size: 4096 * 2,
            guard_size: 4096,
            ..Settings::desktop()
        };
        small.apply().unwrap();
        let mut made = 0;
        let error = loop {
            match hardswitch::spawn(|| ()) {
                Ok(_) => made += 1,
                Err(error) => break error,
            }
        };
        assert!(made > 10_000, "{made} stacks, then {error}");
        let words = error.to_string();
        assert!(
            words.contains("vm.max_map_count") && words.contains(limit.trim()),
            "{words}"
        );
        // What a library is loaded with, a thread's stack made of.
        for _ in 0..1000 {
            // SAFETY: new memory.
            let memory = unsafe {
                let access = libc::PROT_READ | libc::PROT_WRITE;
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let memory = libc::mmap(std::ptr::null_mut(), 8192, access, flags, -1, 0);
                assert_eq!(libc::mprotect(memory, 4096, libc::PROT_NONE), 0);
                memory
            };
            assert_ne!(memory, libc::MAP_FAILED);
        }
        // A forked child can make no threads under qemu.
        if cfg!(target_arch = "x86_64") {
            let threads: Vec<_> = (0..50)
                .map(|_| {
                    std::thread::Builder::new()
                        .spawn(|| vec![1u8; 1 << 20].len())
                        .unwrap()
                })
                .collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), 1 << 20);
            }
            // It waits, and the others run meanwhile.
            assert_eq!(hardswitch::offload::call(|| 42).unwrap(), 42);
        }
        hardswitch::run().unwrap();
        hardswitch::spawn(|| ()).unwrap();
        hardswitch::run().unwrap();
        // Not a panic of the assertions above, which ends in another status.
        // SAFETY: ends the process.
        unsafe { libc::_exit(9) };
    });
    assert_eq!((text.as_str(), end), ("", -9));
}
