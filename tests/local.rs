//! Tasklet-local values: one for each tasklet that asks, gone with it.

#![cfg(feature = "std")]

use hardswitch::{run, schedule, spawn, Error, Local, Tasklet};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Counts in its drop.
struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

hardswitch::local! {
    static NUMBER: Cell<u32> = Cell::new(7);
    static KEEPS: RefCell<Vec<Counted>> = RefCell::default();
}

#[test]
fn each_tasklet_has_a_value_of_its_own() {
    NUMBER.with(|n| n.set(1));
    for i in 0..10 {
        spawn(move || -> hardswitch::Result<()> {
            assert_eq!(NUMBER.with(Cell::get), 7);
            NUMBER.with(|n| n.set(i));
            schedule()?;
            assert_eq!(NUMBER.with(Cell::get), i);
            Ok(())
        })
        .unwrap();
    }
    run().unwrap();
    assert_eq!(NUMBER.with(Cell::get), 1);
}

#[test]
fn a_value_is_dropped_when_its_tasklet_ends_though_a_handle_is_kept() {
    let dropped = Rc::new(Cell::new(0));
    let d = dropped.clone();
    let handle = spawn(move || {
        KEEPS.with(|k| k.borrow_mut().push(Counted(d)));
    })
    .unwrap();
    run().unwrap();
    assert_eq!(dropped.get(), 1);
    // The next function begins anew.
    handle
        .bind(|| assert!(KEEPS.with_existing(|_| ()).is_none()))
        .unwrap();
    handle.setup().unwrap();
    run().unwrap();
}

#[test]
fn a_value_is_dropped_when_its_tasklet_is_killed_or_panics() {
    let dropped = Rc::new(Cell::new(0));
    for panics in [false, true] {
        let d = dropped.clone();
        let tasklet = spawn(move || -> hardswitch::Result<()> {
            KEEPS.with(|k| k.borrow_mut().push(Counted(d)));
            schedule()?;
            assert!(!panics, "the tasklet's panic");
            hardswitch::Channel::<()>::new().receive()
        })
        .unwrap();
        schedule().unwrap();
        if panics {
            assert!(matches!(run(), Err(Error::Panicked(_))));
        } else {
            tasklet.kill().unwrap();
        }
    }
    assert_eq!(dropped.get(), 2);
}

#[test]
fn a_destructor_may_switch_and_the_error_of_the_tasklet_stays() {
    struct Switches(Rc<Cell<u32>>);
    impl Drop for Switches {
        fn drop(&mut self) {
            schedule().unwrap();
            // Other keys still work, also this one.
            NUMBER.with(|n| self.0.set(self.0.get() + n.get()));
        }
    }
    hardswitch::local! {
        static HOLDS: RefCell<Option<Switches>> = RefCell::new(None);
    }
    let sum = Rc::new(Cell::new(0));
    let s = sum.clone();
    spawn(move || -> hardswitch::Result<()> {
        HOLDS.with(|h| *h.borrow_mut() = Some(Switches(s)));
        Err(Error::thrown(5))
    })
    .unwrap();
    spawn(|| {}).unwrap();
    let error = run().unwrap_err();
    assert!(
        matches!(&error, Error::Thrown(t) if t.downcast_ref() == Some(&5)),
        "{error}"
    );
    assert_eq!(sum.get(), 7);
}

#[test]
fn a_panic_in_a_destructor_ends_the_tasklet_like_one_of_its_own() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    static HOLDS: Local<RefCell<Option<Panics>>> = Local::new(RefCell::default);
    spawn(|| HOLDS.with(|h| *h.borrow_mut() = Some(Panics))).unwrap();
    assert!(matches!(run(), Err(Error::Panicked(_))));
}

#[test]
fn each_value_is_dropped_though_several_destructors_panic() {
    thread_local! {
        static DROPPED: Cell<u32> = const { Cell::new(0) };
    }
    struct Panics(&'static str);
    impl Drop for Panics {
        fn drop(&mut self) {
            DROPPED.set(DROPPED.get() + 1);
            std::panic::resume_unwind(Box::new(self.0));
        }
    }
    hardswitch::local! {
        static FIRST: Panics = Panics("the first");
        static SECOND: Panics = Panics("the second");
        static THIRD: Panics = Panics("the third");
    }
    spawn(|| {
        FIRST.with(|_| ());
        SECOND.with(|_| ());
        THIRD.with(|_| ());
    })
    .unwrap();
    let error = run().unwrap_err();
    assert_eq!(error.to_string(), "a tasklet panicked: the first");
    assert_eq!(DROPPED.get(), 3);
}

#[test]
fn what_destructors_make_before_a_panic_is_not_the_next_functions() {
    struct Makes;
    impl Drop for Makes {
        fn drop(&mut self) {
            NUMBER.with(|n| n.set(99));
            std::panic::resume_unwind(Box::new("a destructor's panic"));
        }
    }
    hardswitch::local! {
        static MAKES: Makes = Makes;
    }
    let handle = spawn(|| MAKES.with(|_| ())).unwrap();
    assert!(matches!(run(), Err(Error::Panicked(_))));
    handle
        .bind(|| assert_eq!(NUMBER.with(Cell::get), 7))
        .unwrap();
    handle.setup().unwrap();
    run().unwrap();
}

#[test]
fn with_may_switch_and_use_other_keys() {
    hardswitch::local! {
        static OTHER: Cell<u32> = Cell::new(NUMBER.with(Cell::get) + 1);
    }
    let tasklet = || -> hardswitch::Result<()> {
        NUMBER.with(|n| -> hardswitch::Result<()> {
            schedule()?;
            OTHER.with(|o| n.set(o.get()));
            schedule()
        })?;
        assert_eq!(NUMBER.with(Cell::get), 8);
        Ok(())
    };
    for _ in 0..3 {
        spawn(tasklet).unwrap();
        // SAFETY: nothing outside touches the stack.
        unsafe { Tasklet::builder().sliced() }
            .spawn(tasklet)
            .unwrap();
    }
    run().unwrap();
}

#[test]
fn reset_drops_the_value_and_the_next_use_makes_a_new_one() {
    let dropped = Rc::new(Cell::new(0));
    let d = dropped.clone();
    KEEPS.with(|k| k.borrow_mut().push(Counted(d)));
    assert!(KEEPS.reset() && !KEEPS.reset());
    assert_eq!(dropped.get(), 1);
    assert!(KEEPS.with(|k| k.borrow().is_empty()));
}

#[test]
fn a_key_may_be_made_at_run_time() {
    let keys: Vec<Local<Cell<usize>>> = (0..20).map(|_| Local::new(Cell::default)).collect();
    for (i, key) in keys.iter().enumerate() {
        key.with(|v| v.set(i));
    }
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(key.with(Cell::get), i);
    }
    drop(keys);
    let new = Local::new(|| Cell::new(99));
    assert_eq!(new.with(Cell::get), 99, "no old value comes back");
}

#[cfg(feature = "std")]
#[test]
fn the_values_of_main_go_with_its_thread() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    hardswitch::local! {
        static COUNTS: Counts = Counts;
    }
    std::thread::spawn(|| {
        COUNTS.with(|_| ());
        // One that is still blocked when the thread ends.
        spawn(|| {
            COUNTS.with(|_| ());
            hardswitch::Channel::<()>::new().receive()
        })
        .unwrap();
        run().unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(DROPPED.load(Ordering::Relaxed), 2);
}
