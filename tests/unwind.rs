//! Unwinding in tasklets: it ends at the root, and nobody switches meanwhile.
#![cfg(feature = "std")]

use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::rc::Rc;

use hardswitch::{spill, Channel, Error, Result, Settings, Tasklet};

/// Runs `f` on a thread of its own, once for own stacks and once for sliced
/// ones in one window; `f` gets the builder's function.
fn both(f: fn(fn() -> hardswitch::Builder)) {
    let own = || Tasklet::builder();
    // SAFETY: no test lends a local of a tasklet to anybody.
    let sliced = || unsafe { Tasklet::builder().sliced() };
    for builder in [own as fn() -> hardswitch::Builder, sliced] {
        std::thread::spawn(move || {
            let settings = Settings {
                windows: 1,
                watermark: 4 * 1024,
                ..Settings::desktop()
            };
            settings.apply().unwrap();
            f(builder);
            assert!(!std::thread::panicking());
            assert_eq!(hardswitch::stats().tasklets, 1, "tasklets are left over");
        })
        .join()
        .unwrap();
    }
}

/// A panic without the hook's message.
fn quiet_panic(text: &'static str) -> ! {
    resume_unwind(Box::new(text))
}

fn message(result: Result<()>) -> String {
    match result {
        Err(Error::Panicked(panic)) => panic.message().to_owned(),
        other => panic!("a panic was promised, not {other:?}"),
    }
}

#[test]
fn a_panic_unwinds_to_the_root_from_any_depth() {
    struct Count(Rc<Cell<u32>>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    fn deep(n: u32, drops: &Rc<Cell<u32>>) -> Result<()> {
        let _count = Count(drops.clone());
        if n == 0 {
            hardswitch::schedule()?;
            quiet_panic("at the bottom");
        }
        deep(std::hint::black_box(n - 1), drops)
    }
    both(|builder| {
        let drops = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let drops = drops.clone();
            builder().spawn(move || deep(60, &drops)).unwrap();
        }
        for ended in 1..=3 {
            assert_eq!(message(hardswitch::run()), "at the bottom");
            assert_eq!(drops.get(), ended * 61);
        }
        hardswitch::run().unwrap();
    });
}

#[test]
fn panics_are_caught_inside_while_others_have_run() {
    both(|builder| {
        let right = Rc::new(Cell::new(0));
        for id in 0..20u64 {
            let right = right.clone();
            let body = move || {
                for round in 0..10 {
                    let caught = catch_unwind(AssertUnwindSafe(|| {
                        hardswitch::schedule().unwrap();
                        resume_unwind(Box::new(id * 100 + round));
                    }));
                    hardswitch::schedule()?;
                    let value = *caught.unwrap_err().downcast::<u64>().unwrap();
                    right.set(right.get() + u32::from(value == id * 100 + round));
                    assert!(!std::thread::panicking());
                }
                Ok(())
            };
            builder().spawn(body).unwrap();
        }
        hardswitch::run().unwrap();
        assert_eq!(right.get(), 200);
    });
}

#[test]
fn whoever_unwinds_may_not_switch() {
    struct Switches(Rc<RefCell<Vec<String>>>, Channel<()>);
    impl Drop for Switches {
        fn drop(&mut self) {
            let results = [
                hardswitch::schedule(),
                self.1.receive(),
                self.1.send(()),
                hardswitch::run(),
                hardswitch::schedule_remove(),
            ];
            for result in results {
                self.0.borrow_mut().push(format!("{result:?}"));
            }
        }
    }
    both(|builder| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let switches = Switches(log.clone(), Channel::new());
        let body = move || {
            let _there = switches;
            quiet_panic("while somebody could run");
        };
        builder().spawn::<_, ()>(body).unwrap();
        let ran = Rc::new(Cell::new(false));
        let flag = ran.clone();
        builder().spawn(move || flag.set(true)).unwrap();
        assert_eq!(message(hardswitch::run()), "while somebody could run");
        assert_eq!(*log.borrow(), ["Err(SwitchTrap)"; 5]);
        assert!(!ran.get(), "somebody ran in between");
        hardswitch::run().unwrap();
        assert!(ran.get());
    });
}

#[test]
fn a_panic_crosses_spills_and_segments() {
    fn deep(n: u32) -> Result<()> {
        let local = std::hint::black_box([n; 64]);
        if n == 0 {
            hardswitch::schedule()?;
            quiet_panic("through all of them");
        }
        let result = if n.is_multiple_of(3) {
            spill::grow(|| deep(n - 1))?
        } else {
            spill::call(move || deep(n - 1))?
        };
        assert_eq!(local, [n; 64]);
        result
    }
    both(|builder| {
        for _ in 0..2 {
            builder().spawn(|| deep(100)).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(message(hardswitch::run()), "through all of them");
        }
        hardswitch::run().unwrap();
    });
}
