//! A stack overflow ends the process and says whose it was: own stacks, windows and
//! segments have guard pages, lent memory has a canary.

mod common;

use common::child;
use hardswitch::{Settings, Tasklet};

/// Never returns: uses up the stack, frame by frame.
#[allow(unconditional_recursion)]
#[inline(never)]
fn overflow(n: usize) -> usize {
    let local = std::hint::black_box([n; 32]);
    overflow(n + 1) + local[n % 32]
}

fn run(builder: hardswitch::Builder) {
    builder
        .spawn(|| {
            std::hint::black_box(overflow(0));
        })
        .unwrap();
    let _ = hardswitch::run();
}

#[test]
fn an_own_stack_hits_its_guard_page() {
    let (text, end) = child(|| run(Tasklet::builder().name("greedy").stack_size(32 * 1024)));
    assert!(
        text.contains("stack overflow in tasklet 'greedy': it used up its own stack of 32 KiB"),
        "{text:?}"
    );
    assert_eq!(end, libc::SIGSEGV);
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "there are no windows"
)]
fn a_window_hits_its_guard_page() {
    let (text, end) = child(|| {
        Settings::console().apply().unwrap();
        // SAFETY: nothing is lent.
        run(unsafe { Tasklet::builder().name("sliced one").sliced() });
    });
    assert!(
        text.contains("stack overflow in tasklet 'sliced one': it used up its window of 16 KiB"),
        "{text:?}"
    );
    assert_eq!(end, libc::SIGSEGV);
}

/// Recurses in small steps, each through `spill::grow`, until one is on a segment: that
/// one goes on without.
fn overflow_on_segment(n: usize) -> usize {
    let local = std::hint::black_box([n; 64]);
    let caller = std::ptr::from_ref(&local) as usize;
    let deeper = hardswitch::spill::grow(|| {
        let here = std::hint::black_box(0u8);
        if caller.abs_diff(std::ptr::from_ref(&here) as usize) > 8 * 1024 {
            return overflow(0);
        }
        overflow_on_segment(n + 1)
    });
    deeper.unwrap() + local[n % 64]
}

#[test]
fn a_segment_hits_its_guard_page() {
    for sliced in [false, true] {
        let (text, end) = child(|| {
            Settings {
                stack_size: 48 * 1024,
                ..Settings::desktop()
            }
            .apply()
            .unwrap();
            let builder = Tasklet::builder().name("on a segment");
            // SAFETY: nothing is lent but to `grow`, which leaves the frames in place.
            let builder = if sliced {
                unsafe { builder.sliced() }
            } else {
                builder
            };
            builder
                .spawn(|| {
                    std::hint::black_box(overflow_on_segment(0));
                })
                .unwrap();
            let _ = hardswitch::run();
        });
        assert!(
            text.contains(
                "stack overflow in tasklet 'on a segment': it used up its segment of 48 KiB"
            ),
            "{text:?}"
        );
        assert_eq!(end, libc::SIGSEGV);
    }
}

#[test]
fn a_segment_of_main_is_reported_as_well() {
    let (text, end) = child(|| {
        // A thread of its own: its main tasklet's stack is small.
        let small = std::thread::Builder::new().stack_size(128 * 1024);
        let thread = small.spawn(|| std::hint::black_box(overflow_on_segment(0)));
        let _ = thread.unwrap().join();
    });
    assert!(
        text.contains("stack overflow in tasklet 'main': it used up its segment of 64 KiB"),
        "{text:?}"
    );
    assert_eq!(end, libc::SIGSEGV);
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "there are no windows"
)]
fn a_window_from_which_frames_were_spilled_is_still_the_tasklets() {
    let (text, end) = child(|| {
        Settings::console().apply().unwrap();
        fn deeper(n: usize) -> usize {
            let local = std::hint::black_box([n; 64]);
            if n == 100 {
                return overflow(0);
            }
            hardswitch::spill::call(move || deeper(n + 1)).unwrap() + local[n % 64]
        }
        // SAFETY: nothing is lent.
        let builder = unsafe { Tasklet::builder().name("spilled").sliced() };
        builder
            .spawn(|| {
                std::hint::black_box(deeper(0));
            })
            .unwrap();
        let _ = hardswitch::run();
    });
    assert!(
        text.contains("stack overflow in tasklet 'spilled': it used up its window of 16 KiB"),
        "{text:?}"
    );
    assert_eq!(end, libc::SIGSEGV);
}

#[test]
fn a_tasklet_without_a_name_is_reported_too() {
    let (text, end) = child(|| run(Tasklet::builder()));
    assert!(
        text.contains("stack overflow in tasklet '(unnamed)'"),
        "{text:?}"
    );
    assert_eq!(end, libc::SIGSEGV);
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "there are no windows"
)]
fn lent_memory_is_checked_at_every_eviction() {
    let (text, end) = child(|| {
        let settings = Settings {
            windows: 1,
            ..Settings::console()
        };
        let bytes = settings.window_size + 64;
        // Room below the window, so that the overflow damages nothing else.
        let memory = vec![0u8; bytes + 64 * 1024].leak();
        let start = memory[64 * 1024..].as_mut_ptr();
        // SAFETY: leaked, ours alone.
        unsafe { settings.apply_in(start, bytes).unwrap() };
        for name in ["writes too far", "another"] {
            // SAFETY: nothing is lent.
            let builder = unsafe { Tasklet::builder().name(name).sliced() };
            builder
                .spawn(move || {
                    if name != "another" {
                        fn deep(n: usize) -> usize {
                            let local = std::hint::black_box([0x55u8; 512]);
                            if n == 0 {
                                return local[3] as usize;
                            }
                            deep(n - 1) + local[n % 512] as usize
                        }
                        std::hint::black_box(deep(40));
                    }
                    hardswitch::schedule()
                })
                .unwrap();
        }
        let _ = hardswitch::run();
    });
    assert!(
        text.contains(
            "stack overflow in tasklet 'writes too far': it used up its window of 16 KiB"
        ),
        "{text:?}"
    );
    assert_eq!(end, libc::SIGABRT);
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "they are passed on to the tool"
)]
fn other_faults_are_passed_on() {
    let (text, end) = child(|| {
        hardswitch::spawn(|| {
            // SAFETY: none: a wild read is the point.
            unsafe { std::ptr::read_volatile(std::hint::black_box(16) as *const u8) };
        })
        .unwrap();
        let _ = hardswitch::run();
    });
    assert!(!text.contains("stack overflow in tasklet"), "{text:?}");
    assert_eq!(end, libc::SIGSEGV);
}
