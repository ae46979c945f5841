//! A stack overflow ends the process and says whose it was: own stacks, windows and
//! segments have guard pages, lent memory has a canary.

mod common;

use common::child;
use hardswitch::{Settings, Tasklet};

/// How a process ends after the report: by the signal's default action. AddressSanitizer has a
/// handler of its own, which came first and so hears of the fault after us; it exits.
const ENDED: i32 = if cfg!(feature = "asan") {
    -1
} else {
    libc::SIGSEGV
};

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
    assert_eq!(end, ENDED);
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
    assert_eq!(end, ENDED);
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
        assert_eq!(end, ENDED);
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
    assert_eq!(end, ENDED);
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
    assert_eq!(end, ENDED);
}

#[test]
fn a_tasklet_without_a_name_is_reported_too() {
    let (text, end) = child(|| run(Tasklet::builder()));
    assert!(
        text.contains("stack overflow in tasklet '(unnamed)'"),
        "{text:?}"
    );
    assert_eq!(end, ENDED);
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
    assert_eq!(end, ENDED);
}

/// What a host does about faults, installed before the library looks.
mod host {
    use std::sync::atomic::{AtomicUsize, Ordering};

    pub fn say(text: &str) {
        // SAFETY: a system call, on a text that is there.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }

    /// Installs `handler` for both signals of faults.
    pub fn install(handler: usize, flags: libc::c_int, mask: &[libc::c_int]) {
        // SAFETY: plain system calls; the handlers of these tests call such ones only.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            action.sa_flags = flags;
            for &signal in mask {
                libc::sigaddset(&mut action.sa_mask, signal);
            }
            for signal in [libc::SIGSEGV, libc::SIGBUS] {
                libc::sigaction(signal, &action, std::ptr::null_mut());
            }
        }
    }

    fn blocked(signal: libc::c_int) -> bool {
        // SAFETY: asks for the thread's mask.
        unsafe {
            let mut now: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut now);
            libc::sigismember(&now, signal) == 1
        }
    }

    /// Of three words: knows what it was told, and ends the process itself.
    pub extern "C" fn ends(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the kernel's, or whoever calls as it does.
        let told = unsafe { (*info).si_signo } == signal && !context.is_null();
        if told && blocked(libc::SIGUSR1) && blocked(signal) {
            say("the host's handler was told\n");
        }
        // SAFETY: ends the process.
        unsafe { libc::_exit(7) };
    }

    /// Of one word: comes back, as if that mended anything.
    pub extern "C" fn comes_back(_: libc::c_int) {
        say("the host's handler was called\n");
    }

    /// Gives up its own action and asks for the default one.
    pub extern "C" fn raises(signal: libc::c_int) {
        say("the host's handler was called\n");
        // SAFETY: system calls that handlers may make.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }

    pub static MENDED: AtomicUsize = AtomicUsize::new(0);

    /// Makes the page writable that faulted: a fault that is the host's own.
    pub extern "C" fn mends(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the page is the test's.
        unsafe {
            let page = (*info).si_addr() as usize & !0xfff;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mprotect(page as *mut libc::c_void, 4096, access);
        }
        MENDED.fetch_add(1, Ordering::Relaxed);
    }
}

fn greedy() {
    run(Tasklet::builder().name("greedy").stack_size(32 * 1024));
}

const REPORT: &str = "stack overflow in tasklet 'greedy': it used up its own stack of 32 KiB";

#[test]
fn a_hosts_handler_hears_of_an_overflow_after_the_report() {
    let (text, end) = child(|| {
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        host::install(host::ends as *const () as usize, flags, &[libc::SIGUSR1]);
        greedy();
    });
    let report = text.find(REPORT);
    let told = text.find("the host's handler was told");
    assert!(report.is_some() && told > report, "{text:?}");
    assert_eq!(end, -7);
}

#[test]
fn an_overflow_ends_the_process_also_when_the_hosts_handler_comes_back() {
    let handlers = [host::comes_back as *const (), host::raises as *const ()];
    for handler in handlers {
        for flags in [0, libc::SA_RESETHAND, libc::SA_NODEFER] {
            let (text, end) = child(|| {
                host::install(handler as usize, flags | libc::SA_ONSTACK, &[]);
                greedy();
            });
            assert_eq!(text.matches(REPORT).count(), 1, "{text:?}");
            assert_eq!(text.matches("handler was called").count(), 1, "{text:?}");
            assert_eq!(end, libc::SIGSEGV);
        }
    }
}

#[test]
fn an_overflow_ends_the_process_also_where_the_host_ignores_faults() {
    for action in [libc::SIG_IGN, libc::SIG_DFL] {
        let (text, end) = child(|| {
            host::install(action, 0, &[]);
            greedy();
        });
        assert_eq!(text.matches(REPORT).count(), 1, "{text:?}");
        assert_eq!(end, libc::SIGSEGV);
    }
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "they are passed on to the tool"
)]
fn a_fault_that_the_hosts_handler_mends_is_no_end() {
    let (text, end) = child(|| {
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        host::install(host::mends as *const () as usize, flags, &[]);
        hardswitch::spawn(|| {
            // SAFETY: pages of our own.
            let pages = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    3 * 4096,
                    libc::PROT_READ,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            for page in 0..3 {
                // SAFETY: as above; the handler makes it writable.
                unsafe { pages.byte_add(page * 4096).cast::<u8>().write_volatile(1) };
            }
            assert_eq!(host::MENDED.load(std::sync::atomic::Ordering::Relaxed), 3);
        })
        .unwrap();
        hardswitch::run().unwrap();
        // The report is still there.
        hardswitch::spawn::<_, ()>(|| {
            // SAFETY: ends the process.
            unsafe { libc::_exit(3) }
        })
        .unwrap();
        let _ = hardswitch::run();
    });
    assert_eq!((text.as_str(), end), ("", -3));
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "they are passed on to the tool"
)]
fn a_signal_that_somebody_sends_does_what_it_did_before_the_library_came() {
    for (action, end_expected) in [(libc::SIG_DFL, libc::SIGSEGV), (libc::SIG_IGN, -4)] {
        let (text, end) = child(|| {
            host::install(action, 0, &[]);
            hardswitch::spawn::<_, ()>(|| {
                // SAFETY: system calls.
                unsafe {
                    libc::raise(libc::SIGSEGV);
                    libc::_exit(4);
                }
            })
            .unwrap();
            let _ = hardswitch::run();
        });
        assert!(!text.contains("stack overflow in tasklet"), "{text:?}");
        assert_eq!(end, end_expected);
    }
}

/// The figure for `what` on this processor in the table of docs/stacks.md, in bytes.
fn figure(what: &str) -> usize {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stacks.md");
    let page = std::fs::read_to_string(page).expect("the page of figures");
    let start = format!("| {what} | ");
    let row = page.lines().find_map(|line| line.strip_prefix(&start));
    let mut cells = row.expect(what).split('|');
    let cell = if cfg!(target_arch = "x86_64") {
        cells.next()
    } else {
        cells.nth(1)
    };
    let kib = cell.unwrap().trim().trim_end_matches(" KiB");
    kib.parse::<usize>().unwrap() * 1024
}

/// Bytes of stack that a caught panic uses, with its message and, if so, its backtrace: in a
/// tasklet whose stack is painted before. No thread: a forked child can make none under qemu.
fn used_by_a_panic() -> usize {
    const SIZE: usize = 1024 * 1024;
    const PAINT: u8 = 0xa5;
    /// What is painted: below this frame and that of the routine that paints.
    const PAINTED: usize = SIZE - 64 * 1024;
    const OWN: usize = 1024;

    let used = std::rc::Rc::new(std::cell::Cell::new(0));
    let found = used.clone();
    let body = move || {
        let here = 0u8;
        let top = &raw const here as usize - OWN;
        let low = top - PAINTED;
        for at in low..top {
            // SAFETY: memory of the tasklet's stack, below all frames.
            unsafe { (at as *mut u8).write_volatile(PAINT) };
        }
        let caught = std::panic::catch_unwind(|| panic!("caught in the same function"));
        assert!(caught.is_err());
        // SAFETY: as above.
        let painted = |at: &usize| unsafe { (*at as *const u8).read_volatile() == PAINT };
        let lowest = (low..top).find(|at| !painted(at)).unwrap_or(top);
        found.set(top + OWN - lowest);
    };
    let builder = Tasklet::builder().stack_size(SIZE);
    builder.spawn(body).unwrap();
    hardswitch::run().unwrap();
    used.get()
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan", feature = "valgrind"),
    ignore = "what is instrumented takes more"
)]
fn a_panic_takes_no_more_stack_than_the_page_of_figures_says() {
    let message = figure("a Rust panic with its message, caught");
    for (what, backtrace) in [
        ("a Rust panic with its message, caught", "0"),
        ("the same with `RUST_BACKTRACE=1`", "1"),
    ] {
        let said = figure(what);
        let least = if backtrace == "0" { 0 } else { message };
        // In a process of its own: std asks the environment once.
        let (text, end) = child(|| {
            std::env::set_var("RUST_BACKTRACE", backtrace);
            let _ = std::panic::take_hook();
            let used = used_by_a_panic();
            host::say(&format!("used {used} bytes, {said} said\n"));
            // A figure that is far too high says nothing, and a backtrace is the larger part.
            let good = used <= said && used * 4 > said && used > least;
            // SAFETY: ends the process.
            unsafe { libc::_exit(if good { 5 } else { 6 }) };
        });
        let report = text.lines().last().unwrap_or_default();
        assert_eq!(end, -5, "{what}: {report}");
        println!("{what}: {report}");
    }
}
