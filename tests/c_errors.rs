//! Errors of Rust code that C functions meet: what their destructors and their words do harms no
//! call of the C interface.
#![cfg(feature = "std")]

use hardswitch::{current, run, spawn, Error, Tasklet, Thrown};
use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_void, CStr};
use std::fmt;
use std::io;
use std::panic::panic_any;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

const HSW_OK: i32 = 0;
const HSW_ERR_THROWN: i32 = 2;
const HSW_ERR_IO: i32 = 15;
const HSW_ERR_NULL: i32 = 32;
const HSW_ERR_INTERNAL: i32 = 39;

type Entry = extern "C" fn(*mut c_void) -> i32;

extern "C" {
    fn hsw_error_last(error: *mut u64) -> i32;
    fn hsw_error_release(error: u64) -> i32;
    fn hsw_last_error_cause() -> i32;
    fn hsw_last_error_errno() -> i32;
    fn hsw_last_error_message() -> *const c_char;
    fn hsw_last_error_status() -> i32;
    fn hsw_run() -> i32;
    fn hsw_schedule_remove() -> i32;
    fn hsw_spawn(
        function: Option<Entry>,
        argument: *mut c_void,
        options: *const c_void,
        tasklet: *mut u64,
    ) -> i32;
    fn hsw_tasklet_kill(tasklet: u64, pending: bool) -> i32;
    fn hsw_thread_exit() -> i32;
}

thread_local! {
    /// The tasklet in C that waits for what is thrown at it.
    static WAITS: RefCell<Option<Tasklet>> = const { RefCell::new(None) };
    /// What that tasklet saw.
    static SEEN: Cell<[i32; 4]> = const { Cell::new([-1; 4]) };
}

/// Waits until something is thrown at the calling tasklet.
fn wait() -> i32 {
    WAITS.set(Some(current()));
    // SAFETY: no arguments.
    unsafe { hsw_schedule_remove() }
}

/// A call that fails: the null handle names no tasklet.
fn fail() -> i32 {
    // SAFETY: any handle may be given.
    unsafe { hsw_tasklet_kill(0, true) }
}

fn status() -> i32 {
    // SAFETY: no arguments.
    unsafe { hsw_last_error_status() }
}

fn words() -> String {
    // SAFETY: never null; copied at once.
    let words = unsafe { CStr::from_ptr(hsw_last_error_message()) };
    words.to_string_lossy().into_owned()
}

/// Runs `function` as a tasklet in C, and throws at it where it waits; what it saw.
fn thrown_at(function: Entry, error: Error) -> [i32; 4] {
    SEEN.set([-1; 4]);
    // SAFETY: the function needs no argument; it gets a stack in a window, of which it lends
    // nothing.
    let spawned = unsafe { hsw_spawn(Some(function), null_mut(), std::ptr::null(), null_mut()) };
    assert_eq!(spawned, HSW_OK);
    run().expect("it waits");
    let waits = WAITS.take().expect("a tasklet that waits");
    let ended = waits.throw(error);
    drop(waits);
    ended.expect("it has ended without an error");
    SEEN.get()
}

static DROPPED: AtomicU32 = AtomicU32::new(0);

/// Panics when it is dropped, with something that does so too.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, SeqCst);
        if self.0 > 0 {
            panic_any(Bomb(self.0 - 1));
        }
    }
}

/// A tasklet of Rust's may have the control block of one that has ended, but not its last error.
#[test]
fn a_tasklet_begins_without_a_last_error_whoever_spawned_it() {
    let seen = Rc::new(Cell::new([-1; 2]));
    for before in 0..2 {
        let seen = seen.clone();
        spawn(move || {
            let mut now = seen.get();
            now[before] = status();
            seen.set(now);
            assert_eq!(fail(), HSW_ERR_NULL);
        })
        .unwrap();
        run().unwrap();
    }
    assert_eq!(seen.get(), [HSW_OK; 2]);
}

fn bomb() -> Error {
    Error::Thrown(Thrown::new(Bomb(2)))
}

/// Runs a test alone, since it counts what is dropped.
fn bombs(test: fn()) -> u32 {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|broken| broken.into_inner());
    let before = DROPPED.load(SeqCst);
    std::thread::spawn(test).join().expect("no panic gets out");
    DROPPED.load(SeqCst) - before
}

#[test]
fn an_error_that_the_next_failing_call_replaces_may_panic_in_its_destructor() {
    extern "C" fn entry(_: *mut c_void) -> i32 {
        SEEN.set([wait(), fail(), status(), -1]);
        HSW_OK
    }
    let dropped = bombs(|| {
        let seen = thrown_at(entry, bomb());
        assert_eq!(seen[..3], [HSW_ERR_THROWN, HSW_ERR_NULL, HSW_ERR_NULL]);
    });
    assert_eq!(dropped, 3);
}

#[test]
fn an_error_that_its_tasklet_leaves_behind_may_panic_in_its_destructor() {
    extern "C" fn entry(_: *mut c_void) -> i32 {
        SEEN.set([wait(), -1, -1, -1]);
        HSW_OK
    }
    assert_eq!(
        bombs(|| assert_eq!(thrown_at(entry, bomb())[0], HSW_ERR_THROWN)),
        3
    );
}

#[test]
fn an_error_that_is_not_the_one_that_a_function_returns_may_panic_in_its_destructor() {
    extern "C" fn entry(_: *mut c_void) -> i32 {
        SEEN.set([wait(), -1, -1, -1]);
        1 // HSW_ERR_EXIT, with which a tasklet ends silently
    }
    assert_eq!(
        bombs(|| assert_eq!(thrown_at(entry, bomb())[0], HSW_ERR_THROWN)),
        3
    );
}

#[test]
fn what_a_caught_panic_carries_may_panic_in_its_destructor() {
    extern "C" fn entry(_: *mut c_void) -> i32 {
        let thrown = wait();
        let mut kept = 0;
        // SAFETY: `kept` may be written to.
        let got = unsafe { hsw_error_last(&mut kept) };
        // The handle has the last copy now, whose destructor panics in the call itself.
        fail();
        // SAFETY: any handle may be given.
        let released = unsafe { hsw_error_release(kept) };
        SEEN.set([thrown, got, released, status()]);
        HSW_OK
    }
    let dropped = bombs(|| {
        assert_eq!(
            thrown_at(entry, bomb()),
            [HSW_ERR_THROWN, HSW_OK, HSW_ERR_INTERNAL, HSW_ERR_INTERNAL]
        );
    });
    assert_eq!(dropped, 3);
}

/// A tasklet of Rust fails, so that the calling thread's main has that error from C.
fn another_fails() {
    drop(spawn(|| Err::<(), _>(bomb())).expect("a tasklet"));
    // SAFETY: no arguments.
    assert_eq!(unsafe { hsw_run() }, HSW_ERR_THROWN);
}

#[test]
fn errors_that_a_thread_leaves_behind_may_panic_in_their_destructors() {
    assert_eq!(bombs(another_fails), 3);
    let dropped = bombs(|| {
        for _ in 0..2 {
            another_fails();
            // SAFETY: no arguments, in main.
            assert_eq!(unsafe { hsw_thread_exit() }, HSW_OK);
        }
    });
    assert_eq!(dropped, 6);
}

/// An error of Rust's that does something else than it should, where it is asked for its words or
/// its cause.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Awkward {
    WordsPanic,
    CauseFails,
    CausePanics,
}

impl fmt::Display for Awkward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert_ne!(*self, Awkward::WordsPanic);
        f.write_str("awkward")
    }
}

thread_local! {
    static ASKED: Cell<i32> = const { Cell::new(-1) };
}

impl std::error::Error for Awkward {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        ASKED.set(fail());
        assert_ne!(*self, Awkward::CausePanics);
        None
    }
}

fn awkward(how: Awkward) -> Error {
    io::Error::new(io::ErrorKind::InvalidData, how).into()
}

#[test]
fn an_error_whose_words_panic_is_told_without_them() {
    extern "C" fn entry(_: *mut c_void) -> i32 {
        let thrown = wait();
        assert_eq!(words(), "HSW_ERR_THROWN");
        // SAFETY: no arguments.
        SEEN.set([thrown, status(), unsafe { hsw_last_error_cause() }, -1]);
        HSW_OK
    }
    let seen = thrown_at(entry, awkward(Awkward::WordsPanic));
    assert_eq!(seen[..3], [HSW_ERR_THROWN, HSW_ERR_THROWN, HSW_ERR_IO]);
}

#[test]
fn an_error_that_is_asked_for_its_cause_may_fail_in_calls_and_panic() {
    extern "C" fn entry(_: *mut c_void) -> i32 {
        let thrown = wait();
        // SAFETY: no arguments.
        SEEN.set([thrown, unsafe { hsw_last_error_errno() }, status(), -1]);
        HSW_OK
    }
    for how in [Awkward::CauseFails, Awkward::CausePanics] {
        ASKED.set(-1);
        let seen = thrown_at(entry, awkward(how));
        assert_eq!(ASKED.get(), HSW_ERR_NULL, "{how:?}");
        assert_eq!(seen[..3], [HSW_ERR_THROWN, 0, HSW_ERR_THROWN], "{how:?}");
    }
}
