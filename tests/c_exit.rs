//! The kills that C and C++ code was told of, and swallowed.
#![cfg(feature = "std")]

use hardswitch::{run, spawn, Channel, Error};
use std::cell::Cell;
use std::rc::Rc;

extern "C" {
    fn hsw_exit_told() -> u64;
    fn hsw_exit_swallowed(number: u64);
    fn hsw_init(settings: *const std::ffi::c_void) -> i32;
    fn hsw_thread_exit() -> i32;
}

fn told() -> u64 {
    // SAFETY: no arguments.
    unsafe { hsw_exit_told() }
}

fn swallowed(number: u64) {
    // SAFETY: any number may be given.
    unsafe { hsw_exit_swallowed(number) };
}

/// Does a wait fail with a kill, though there is a value for it?
fn is_killed() -> bool {
    let channel = Channel::new();
    let sender = channel.clone();
    spawn(move || sender.send(1).or(Ok(()))).unwrap();
    let killed = matches!(channel.receive(), Err(Error::Exit));
    if killed {
        // Nobody is left behind.
        channel.receive().unwrap();
    }
    killed
}

#[test]
fn zero_is_the_number_of_no_kill() {
    let seen = Rc::new(Cell::new([true; 4]));
    let tells = seen.clone();
    spawn(move || {
        let mut seen = [true; 4];
        swallowed(0);
        seen[0] = is_killed();
        swallowed(told());
        seen[1] = is_killed();
        swallowed(0);
        seen[2] = is_killed();
        swallowed(told());
        seen[3] = is_killed();
        tells.set(seen);
    })
    .unwrap();
    run().unwrap();
    assert_eq!(seen.get(), [false, true, false, true]);
}

/// After ten times nothing more is done; another part of the thread counts anew.
#[test]
fn another_part_of_a_thread_counts_its_kills_anew() {
    let part = || {
        // SAFETY: null stands for the default settings.
        assert_eq!(unsafe { hsw_init(std::ptr::null()) }, 0);
        let mut kills = 0;
        for _ in 0..12 {
            swallowed(told());
            kills += u32::from(is_killed());
        }
        // SAFETY: no arguments, from main.
        assert_eq!(unsafe { hsw_thread_exit() }, 0);
        kills
    };
    let thread = std::thread::spawn(move || [part(), part()]);
    assert_eq!(thread.join().unwrap(), [10, 10]);
}
