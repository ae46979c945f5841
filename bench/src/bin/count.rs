//! Runs hardswitch's operations so that their instructions can be counted: under qemu
//! with the plugin in bench/plugin, on any target. bench/ppc64-count starts it and does
//! the sums; on its own it prints the names and nothing is counted.
//!
//! Each case runs N and then 2N operations. What the second run takes more is N
//! operations, exactly: starting and ending cancel out.

#[path = "../operations.rs"]
mod operations;

use hardswitch::{Channel, Settings};
use operations::{give_up, one_window, park, round_trip, spawn, switch, wake, Stack};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The system call that the plugin answers; every kernel refuses it.
const MARK: libc::c_long = 0x4853_5743;

/// Operations of the first run.
const OPERATIONS: u64 = 10_000;

/// Tasks of one burst, and tasklets of the herd.
const BURST: u64 = 100;
const HERD: u64 = 100_000;

struct Case {
    name: &'static str,
    settings: Settings,
    run: fn(u64),
}

fn cases() -> Vec<Case> {
    let two_windows = || Settings {
        windows: 2,
        ..Settings::desktop()
    };
    let case = |name, settings, run| Case {
        name,
        settings,
        run,
    };
    vec![
        case("switch", Settings::desktop(), |n| {
            took(switch(n, Stack::Own, 0).took)
        }),
        case("switch-sliced-resident", two_windows(), |n| {
            took(switch(n, Stack::Sliced, 0).took)
        }),
        case("sliced-switch", one_window(), |n| {
            took(switch(n, Stack::Sliced, 0).took)
        }),
        case("yield", Settings::desktop(), |n| {
            took(give_up(n, Stack::Own))
        }),
        case("rendezvous", Settings::desktop(), |n| {
            took(round_trip(n, Stack::Own))
        }),
        case("rendezvous-sliced", one_window(), |n| {
            took(round_trip(n, Stack::Sliced))
        }),
        case("spawn", Settings::desktop(), |n| {
            took(spawn(n, 1, Stack::Own))
        }),
        case("spawn-sliced", one_window(), |n| {
            took(spawn(n, 1, Stack::Sliced))
        }),
        case("spawn-burst-sliced", one_window(), |n| {
            took(spawn(n, BURST, Stack::Sliced))
        }),
    ]
}

/// How long it took is of no interest here.
fn took(_: Duration) {}

fn main() {
    for (index, case) in cases().into_iter().enumerate() {
        println!("case {index} {} {OPERATIONS}", case.name);
        let work = move || {
            case.settings
                .apply()
                .expect("the thread is new and the settings are sound");
            // Caches and pools fill, and the dynamic linker binds what it binds late.
            (case.run)(2 * OPERATIONS);
            for operations in [OPERATIONS, 2 * OPERATIONS] {
                mark(index as u64, 0);
                (case.run)(operations);
                mark(index as u64, operations);
            }
        };
        std::thread::spawn(work).join().expect("the case runs");
    }
    for (name, settings) in [
        ("parked-bytes", Settings::desktop()),
        ("parked-bytes-console", Settings::console()),
    ] {
        let work = move || {
            settings
                .apply()
                .expect("the thread is new and the settings are sound");
            let channel = Channel::new();
            let before = LIVE.load(Ordering::Relaxed);
            park(&channel, HERD);
            let parked = LIVE.load(Ordering::Relaxed) - before;
            wake(&channel, HERD);
            parked
        };
        let bytes = std::thread::spawn(work).join().expect("the herd is parked");
        println!("bytes {name} {bytes} {HERD}");
    }
    let live = {
        let work = move || {
            one_window()
                .apply()
                .expect("the thread is new and the settings are sound");
            switch(2, Stack::Sliced, 0).live
        };
        std::thread::spawn(work).join().expect("it switches")
    };
    println!("bytes sliced-switch-slice {live} 1");
}

fn mark(first: u64, second: u64) {
    // SAFETY: a system call that does not exist has no effect.
    unsafe { libc::syscall(MARK, first, second) };
}

/// Bytes that the heap has given out, as the allocator rounds them, with its header of one word.
static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counted;

#[global_allocator]
static HEAP: Counted = Counted;

// SAFETY: the system's allocator does the work; what is counted is its own statement of sizes.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            LIVE.fetch_add(size_of_block(memory), Ordering::Relaxed);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(size_of_block(memory), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let before = size_of_block(memory);
        // SAFETY: the caller's promise.
        let moved = unsafe { System.realloc(memory, layout, size) };
        if !moved.is_null() {
            LIVE.fetch_add(size_of_block(moved), Ordering::Relaxed);
            LIVE.fetch_sub(before, Ordering::Relaxed);
        }
        moved
    }
}

fn size_of_block(memory: *mut u8) -> usize {
    // SAFETY: only called with blocks of this allocator.
    unsafe { libc::malloc_usable_size(memory.cast()) + std::mem::size_of::<usize>() }
}
