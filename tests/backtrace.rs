//! Backtraces of tasklets: parked ones of every kind, and the running one.
#![cfg(feature = "std")]

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use hardswitch::{spill, Channel, Result, Settings, Tasklet};

/// Runs `f` on a thread of its own, which has one window.
fn one_window(f: impl FnOnce() + Send + 'static) {
    std::thread::spawn(|| {
        Settings {
            windows: 1,
            watermark: 4 * 1024,
            ..Settings::desktop()
        }
        .apply()
        .unwrap();
        f();
    })
    .join()
    .unwrap();
}

fn sliced(f: impl FnOnce() -> Result<()> + 'static) -> Tasklet {
    // SAFETY: no test lends a local of a tasklet to anybody.
    unsafe { Tasklet::builder().sliced() }.spawn(f).unwrap()
}

#[inline(never)]
fn first_level(n: u32, wait: &Channel<()>) -> Result<u32> {
    let result = second_level(black_box(n + 1), wait)?;
    Ok(black_box(result) + 1)
}

#[inline(never)]
fn second_level(n: u32, wait: &Channel<()>) -> Result<u32> {
    wait.receive()?;
    Ok(black_box(n) + 1)
}

/// The names of the functions, innermost first, inlined ones included.
fn names(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let names = lines.filter(|line| !line.starts_with("at ") && !line.starts_with("(spilled"));
    let name = |line: &str| match line.split_once(": ") {
        Some((number, name)) if number.parse::<u32>().is_ok() => name.to_owned(),
        _ => line.to_owned(),
    };
    names.map(name).collect()
}

/// `wanted` appear in this order; the last frame is a tasklet's root.
fn check(backtrace: &hardswitch::Backtrace, wanted: &[&str]) {
    let text = backtrace.to_string();
    let all = names(&text);
    let mut rest = all.iter();
    for name in wanted {
        assert!(
            rest.any(|found| found.contains(name)),
            "{name} is missing, or in the wrong place, in:\n{text}"
        );
    }
    assert_eq!(
        all.last().map(String::as_str),
        Some("hsw_asm_start"),
        "the root is not the end of:\n{text}"
    );
    assert!(
        backtrace.frames().all(|frame| frame.function != 0),
        "{backtrace:?}"
    );
}

const LEVELS: [&str; 4] = ["second_level", "first_level", "run_body", "hsw_asm_start"];

#[test]
fn a_parked_tasklet_with_its_own_stack() {
    let wait = Channel::new();
    let w = wait.clone();
    let tasklet = hardswitch::spawn(move || first_level(1, &w).map(drop)).unwrap();
    hardswitch::run().unwrap();
    check(&tasklet.backtrace().unwrap(), &LEVELS);
    wait.send(()).unwrap();
    hardswitch::run().unwrap();
    assert!(!tasklet.is_alive());
}

#[test]
fn sliced_ones_in_the_window_and_out_of_it() {
    one_window(|| {
        let wait = Channel::new();
        let done = Rc::new(Cell::new(0));
        let all: Vec<_> = (0..3)
            .map(|_| {
                let (w, done) = (wait.clone(), done.clone());
                sliced(move || {
                    // A local that must be what it was after all of this.
                    let local = black_box([7u64; 16]);
                    assert_eq!(first_level(1, &w)?, 4);
                    assert_eq!(local, [7; 16]);
                    done.set(done.get() + 1);
                    Ok(())
                })
            })
            .collect();
        hardswitch::run().unwrap();
        for tasklet in &all {
            check(&tasklet.backtrace().unwrap(), &LEVELS);
            check(&tasklet.backtrace().unwrap(), &LEVELS);
        }
        for _ in 0..3 {
            wait.send(()).unwrap();
        }
        hardswitch::run().unwrap();
        assert_eq!(done.get(), 3);
    });
}

#[test]
fn one_whose_window_the_caller_occupies() {
    one_window(|| {
        let wait = Channel::new();
        let w = wait.clone();
        let parked = sliced(move || first_level(1, &w).map(drop));
        hardswitch::run().unwrap();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (out, of_it) = (seen.clone(), parked.clone());
        sliced(move || {
            let local = black_box([9u64; 64]);
            let backtrace = of_it.backtrace()?;
            assert_eq!(local, [9; 64]);
            out.borrow_mut().push(backtrace);
            Ok(())
        });
        hardswitch::run().unwrap();
        check(&seen.borrow()[0], &LEVELS);
        wait.send(()).unwrap();
        hardswitch::run().unwrap();
        assert!(!parked.is_alive());
    });
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "there are no slices"
)]
fn spilled_frames_are_part_of_it() {
    #[inline(never)]
    fn deep(n: u32, wait: Channel<()>) -> Result<u32> {
        let local = black_box([u64::from(n); 40]);
        if n == 0 {
            return first_level(1, &wait);
        }
        let result = spill::call(move || deep(n - 1, wait))??;
        assert_eq!(local, [u64::from(n); 40]);
        Ok(result + 1)
    }
    one_window(|| {
        let wait = Channel::new();
        let (w, v) = (wait.clone(), wait.clone());
        let tasklet = sliced(move || {
            assert_eq!(deep(50, w)?, 54);
            Ok(())
        });
        let other = sliced(move || first_level(1, &v).map(drop));
        hardswitch::run().unwrap();
        assert!(tasklet.stats().spilled_bytes > 0);
        let backtrace = tasklet.backtrace().unwrap();
        check(
            &backtrace,
            &[
                "second_level",
                "first_level",
                "spill_entry",
                "deep",
                "run_body",
            ],
        );
        let text = backtrace.to_string();
        let levels = names(&text)
            .iter()
            // Without full debug information names have no path.
            .filter(|n| *n == "deep" || n.ends_with("::deep"))
            .count();
        assert_eq!(levels, 51, "{text}");
        check(&other.backtrace().unwrap(), &LEVELS);
        for _ in 0..2 {
            wait.send(()).unwrap();
        }
        hardswitch::run().unwrap();
    });
}

#[test]
fn segments_are_crossed() {
    #[inline(never)]
    fn deep(n: u32, wait: &Channel<()>) -> Result<u32> {
        let local = black_box([u64::from(n); 100]);
        if n == 0 {
            return first_level(1, wait);
        }
        let result = spill::grow(|| deep(n - 1, wait))??;
        assert_eq!(local, [u64::from(n); 100]);
        Ok(result + 1)
    }
    one_window(|| {
        for kind in 0..2 {
            let wait = Channel::new();
            let (w, v) = (wait.clone(), wait.clone());
            let body = move || {
                assert_eq!(deep(200, &w)?, 204);
                Ok(())
            };
            let tasklet = if kind == 0 {
                sliced(body)
            } else {
                hardswitch::spawn(body).unwrap()
            };
            // Somebody else in the window.
            sliced(move || first_level(1, &v).map(drop));
            hardswitch::run().unwrap();
            let backtrace = tasklet.backtrace().unwrap();
            check(
                &backtrace,
                &["second_level", "first_level", "hsw_asm_call_on", "run_body"],
            );
            let text = backtrace.to_string();
            let levels = names(&text)
                .iter()
                // Without full debug information names have no path.
                .filter(|n| *n == "deep" || n.ends_with("::deep"))
                .count();
            assert_eq!(levels, 201, "{text}");
            for _ in 0..2 {
                wait.send(()).unwrap();
            }
            hardswitch::run().unwrap();
        }
    });
}

#[test]
fn the_running_tasklet_and_waiting_main() {
    #[inline(never)]
    fn ask(of: &Tasklet, out: &RefCell<Vec<hardswitch::Backtrace>>) -> Result<()> {
        out.borrow_mut().push(of.backtrace()?);
        Ok(())
    }
    #[inline(never)]
    fn main_waits() {
        hardswitch::run().unwrap();
        black_box(());
    }
    one_window(|| {
        let seen = Rc::new(RefCell::new(Vec::new()));
        for kind in 0..2 {
            let out = seen.clone();
            let body = move || {
                ask(&hardswitch::current(), &out)?;
                ask(&hardswitch::main_tasklet(), &out)
            };
            if kind == 0 {
                sliced(body);
            } else {
                hardswitch::spawn(body).unwrap();
            }
        }
        main_waits();
        let seen = seen.borrow();
        for pair in seen.chunks(2) {
            check(&pair[0], &["ask", "run_body"]);
            let text = pair[0].to_string();
            let first = names(&text).remove(0);
            assert!(first.contains("ask"), "the machinery shows in\n{text}");
            let main = pair[1].to_string();
            assert!(main.contains("main_waits"), "{main}");
            assert!(!main.contains("run_body"), "{main}");
        }
    });
}

#[test]
fn an_ordinary_backtrace_ends_at_the_root() {
    one_window(|| {
        let seen = Rc::new(RefCell::new(Vec::new()));
        for kind in 0..2 {
            let out = seen.clone();
            let body = move || {
                let text = format!("{:#}", std::backtrace::Backtrace::force_capture());
                out.borrow_mut().push(text);
                Ok(())
            };
            // What std needs to look up names fits no small stack.
            if kind == 0 {
                sliced(body);
            } else {
                Tasklet::builder().stack_size(1 << 20).spawn(body).unwrap();
            }
        }
        hardswitch::run().unwrap();
        for text in seen.borrow().iter() {
            // libgcc says that a stack ends by a frame without an address.
            let frames = text.lines().filter(|line| line.contains(" - "));
            let mut frames = frames.filter(|line| !line.contains(" 0x0 - ")).rev();
            let root = frames.next().unwrap();
            // ELFv1's symbol tables do not name assembly.
            assert!(
                root.contains("hsw_asm_start") || root.ends_with("<unknown>"),
                "{root} ends\n{text}"
            );
            assert!(frames.next().unwrap().contains("run_body"), "{text}");
        }
    });
}

#[test]
fn there_is_none_before_the_start_and_after_the_end() {
    let tasklet = hardswitch::spawn(|| ()).unwrap();
    assert_eq!(tasklet.backtrace().unwrap().frames().count(), 0);
    hardswitch::run().unwrap();
    assert_eq!(tasklet.backtrace().unwrap().frames().count(), 0);
}

#[test]
fn without_memory_there_is_an_error() {
    std::thread::spawn(|| {
        Settings {
            memory_ceiling: 64 * 1024,
            ..Settings::console()
        }
        .apply()
        .unwrap();
        let result = hardswitch::current().backtrace();
        assert!(
            matches!(result, Err(hardswitch::Error::MemoryCeiling(_))),
            "{result:?}"
        );
    })
    .join()
    .unwrap();
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "there are no slices"
)]
fn a_listing_says_where_everybody_is() {
    one_window(|| {
        let wait = Channel::<()>::new();
        let full = Channel::new();
        let (w, f) = (wait.clone(), full.clone());
        // SAFETY: as in `sliced`.
        let a = unsafe { Tasklet::builder().name("reader").sliced() };
        a.spawn(move || w.receive()).unwrap();
        // SAFETY: as above.
        let b = unsafe { Tasklet::builder().name("writer").sliced() };
        b.spawn(move || f.send(5)).unwrap();
        let c = Tasklet::builder().name("later").bind(|| ()).unwrap();
        let d = Tasklet::builder().name("paused");
        let d = d.spawn(hardswitch::schedule_remove).unwrap();
        hardswitch::run().unwrap();
        let mut text = String::new();
        hardswitch::dump_tasklets(&mut text, true).unwrap();
        let line = |name: &str| {
            let line = text.lines().find(|line| line.contains(name));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
                .to_owned()
        };
        assert!(text.starts_with("5 tasklets, 1 can run, "), "{text}");
        assert!(line("main").contains("running"), "{text}");
        let reads = format!("blocked: receives on channel {:#x}, ", wait.id());
        assert!(line("\"reader\"").contains(&reads), "{text}");
        assert!(line("\"reader\"").contains("bytes in its slice"), "{text}");
        let writes = format!("blocked: sends on channel {:#x}, ", full.id());
        assert!(line("\"writer\"").contains(&writes), "{text}");
        assert!(line("\"writer\"").contains("bytes in its window"), "{text}");
        assert!(
            line("\"later\"").contains("bound, has not started"),
            "{text}"
        );
        assert!(line("\"paused\"").contains("paused, "), "{text}");
        let roots = text.matches("hsw_asm_start").count();
        assert_eq!(roots, 3, "{text}");
        wait.send(()).unwrap();
        assert_eq!(full.receive().unwrap(), 5);
        d.insert().unwrap();
        hardswitch::run().unwrap();
        drop(c);
    });
}

/// The line of the tasklet with this name.
fn line_of<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.contains(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

#[test]
fn a_listing_says_who_is_in_a_select() {
    one_window(|| {
        let (one, two) = (Channel::<()>::new(), Channel::<()>::new());
        let (first, second) = (one.clone(), two.clone());
        let selects = Tasklet::builder().name("selects");
        let selects = selects.spawn(move || {
            let mut select = hardswitch::Select::new();
            let _cases = (select.receive(&first), select.receive(&second));
            select.wait().map(drop)
        });
        let first = one.clone();
        let limited = Tasklet::builder().name("limited");
        let limited = limited.spawn(move || first.receive_timeout(Duration::from_secs(1000)));
        hardswitch::run().unwrap();
        let mut text = String::new();
        hardswitch::dump_tasklets(&mut text, false).unwrap();
        for name in ["\"selects\"", "\"limited\""] {
            let line = line_of(&text, name);
            assert!(line.contains(" blocked: in a select, "), "{text}");
        }
        for tasklet in [selects.unwrap(), limited.unwrap()] {
            assert_eq!(tasklet.blocked_direction(), 0);
            tasklet.kill().unwrap();
        }
    });
}

/// Ends what it is told of, as soon as it is told.
struct Kills {
    text: String,
    all: Vec<Tasklet>,
}

impl std::fmt::Write for Kills {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.text.push_str(text);
        let named = |t: &Tasklet| t.name().is_some_and(|name| text.contains(&name));
        for tasklet in self.all.extract_if(.., |tasklet| named(tasklet)) {
            tasklet.kill().unwrap();
            assert!(!tasklet.is_alive());
        }
        Ok(())
    }
}

#[test]
fn each_line_of_a_listing_is_of_one_moment_whatever_the_writer_does() {
    one_window(|| {
        let never = Channel::<()>::new();
        let mut all = Vec::new();
        for name in ["first", "second"] {
            let never = never.clone();
            // SAFETY: as in `sliced`.
            let sliced = unsafe { Tasklet::builder().name(name).sliced() };
            all.push(sliced.spawn(move || never.receive()).unwrap());
        }
        hardswitch::run().unwrap();
        let never_runs = Tasklet::builder().name("newborn").spawn(|| ());
        all.push(never_runs.unwrap());
        let text = String::new();
        let mut out = Kills { text, all };
        hardswitch::dump_tasklets(&mut out, true).unwrap();
        assert!(out.all.is_empty());
        let text = out.text;
        for name in ["\"first\"", "\"second\""] {
            let line = line_of(&text, name);
            assert!(line.contains(" blocked: receives on channel "), "{text}");
            assert!(line.ends_with(", switched to 1 times"), "{text}");
        }
        let line = line_of(&text, "\"newborn\"");
        assert!(line.contains(" can run, has not started"), "{text}");
    });
}
