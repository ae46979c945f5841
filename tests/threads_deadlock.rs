//! A deadlock is found when no thread can run, and not before. One test: it counts all threads of
//! the process.

mod common;

use hardswitch::thread::Channel;
use hardswitch::{spawn, Error, MainLoop, Select};
use std::thread;
use std::time::Duration;

#[test]
fn a_deadlock_is_found_when_no_thread_can_run_and_not_before() {
    // In a process that has no threads but those of the case. Tools have threads or words of their
    // own.
    if !cfg!(any(
        feature = "asan",
        feature = "tsan",
        feature = "valgrind"
    )) {
        let said = common::child(who_hopes_for_a_stranger_is_told_when_it_has_ended);
        assert_eq!(said, (String::new(), 0));
    }
    // On a thread of its own, which is gone afterwards.
    thread::spawn(the_last_thread_that_can_run_does_not_get_to_wait)
        .join()
        .unwrap();
    who_is_left_is_told_when_the_last_one_goes();
    thread::spawn(a_thread_that_has_left_is_no_hope)
        .join()
        .unwrap();
}

fn the_last_thread_that_can_run_does_not_get_to_wait() {
    // Alone.
    let channel = Channel::<u32>::new();
    assert!(matches!(channel.receive(), Err(Error::Deadlock)));
    assert!(matches!(channel.send(1), Err(Error::Deadlock)));
    assert_eq!(channel.balance(), 0);
    a_select_counts_as_who_waits(&channel);

    // A tasklet waits, and the main loop with it, as long as there is hope.
    let there = channel.clone();
    let waiting = spawn(move || there.receive().map(drop)).unwrap();
    MainLoop::current().unwrap().run_until_idle().unwrap();
    assert!(waiting.is_blocked());
    waiting.kill().unwrap();

    // Two threads wait for each other: one of them is told, goes on, and helps the other.
    let (a, b) = (channel.clone(), Channel::<u32>::new());
    let (a2, b2) = (a.clone(), b.clone());
    let other = thread::spawn(move || {
        a2.receive().unwrap();
        b2.send(0).unwrap();
        let second = a2.receive();
        match second {
            Err(Error::Deadlock) => {
                b2.send(2).unwrap();
                1
            }
            Ok(value) => value,
            Err(error) => panic!("{error}"),
        }
    });
    a.send(0).unwrap();
    b.receive().unwrap();
    let mine = match b.receive() {
        Err(Error::Deadlock) => {
            a.send(1).unwrap();
            2
        }
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    };
    assert_eq!((mine, other.join().unwrap()), (2, 1));

    // A thread that does not use the library yet, but will: no deadlock.
    let there = channel.clone();
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        there.send(3).unwrap();
    });
    assert_eq!(channel.receive().unwrap(), 3);
    other.join().unwrap();

    // ... and one that would have, but ended, or dropped its handle first.
    let there = channel.clone();
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        drop(there);
    });
    assert!(matches!(channel.receive(), Err(Error::Deadlock)));
    other.join().unwrap();
    let there = channel.clone();
    let other = thread::spawn(move || {
        there.send(4).unwrap();
        thread::sleep(Duration::from_millis(50));
    });
    assert_eq!(channel.receive().unwrap(), 4);
    assert!(matches!(channel.receive(), Err(Error::Deadlock)));
    other.join().unwrap();

    // A timer is hope.
    assert!(matches!(
        channel.receive_timeout(Duration::from_millis(20)),
        Err(Error::Timeout)
    ));
}

/// The same for one that waits on several channels, some of them of its thread.
fn a_select_counts_as_who_waits(channel: &Channel<u32>) {
    let (other, near) = (Channel::<u32>::new(), hardswitch::Channel::<u32>::new());
    let both = |channel: &Channel<u32>, other: &Channel<u32>, near: &hardswitch::Channel<u32>| {
        let mut select = Select::new();
        let case = select.receive(channel);
        select.send(other, 1);
        select.receive(near);
        select
            .wait()?
            .received(case)
            .expect("the one that is sent to")
    };
    assert!(matches!(both(channel, &other, &near), Err(Error::Deadlock)));
    assert_eq!(
        (channel.balance(), other.balance(), near.balance()),
        (0, 0, 0)
    );

    // A tasklet waits, and the main loop with it, as long as there is hope.
    let (a, b, c) = (channel.clone(), other.clone(), near.clone());
    let waiting = spawn(move || both(&a, &b, &c).map(drop)).unwrap();
    MainLoop::current().unwrap().run_until_idle().unwrap();
    assert!(waiting.is_blocked());
    waiting.kill().unwrap();
    assert_eq!(
        (channel.balance(), other.balance(), near.balance()),
        (0, 0, 0)
    );

    // Another thread is hope.
    let there = channel.clone();
    let sender = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        there.send(7).unwrap();
    });
    assert_eq!(both(channel, &other, &near).unwrap(), 7);
    sender.join().unwrap();
}

/// Each that is told ends, and then the next one is the last: all of them hear of it, though nobody
/// comes or goes any more.
fn who_is_left_is_told_when_the_last_one_goes() {
    let (tx, rx) = std::sync::mpsc::channel();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (channel, tx) = (Channel::<u32>::new(), tx.clone());
            thread::spawn(move || tx.send(channel.receive().unwrap_err()).unwrap())
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    drop(tx);
    let told: Vec<Error> = rx.iter().collect();
    assert_eq!(told.len(), 3);
    assert!(
        told.iter().all(|e| matches!(e, Error::Deadlock)),
        "{told:?}"
    );
}

/// A thread that never uses the library, and one that only sent, by its main flow of control.
fn who_hopes_for_a_stranger_is_told_when_it_has_ended() {
    // SAFETY: ends the process if it hangs.
    unsafe { libc::alarm(60) };
    for uses_it in [false, true] {
        let channel = Channel::<u32>::new();
        // A handle that nobody uses may be under way to it.
        let _unused = channel.clone();
        let there = channel.clone();
        let stranger = thread::spawn(move || {
            if uses_it {
                there.send(1).unwrap();
            }
            thread::sleep(Duration::from_millis(100));
            std::mem::forget(there);
        });
        if uses_it {
            assert_eq!(channel.receive().unwrap(), 1);
        }
        assert!(matches!(channel.receive(), Err(Error::Deadlock)));
        stranger.join().unwrap();
    }
}

extern "C" {
    fn hsw_thread_attach() -> i32;
    fn hsw_thread_exit() -> i32;
}

/// It has left by a call, and lives on.
fn a_thread_that_has_left_is_no_hope() {
    let channel = Channel::<u32>::new();
    let (tx, rx) = std::sync::mpsc::channel::<()>();
    let (left, has_left) = std::sync::mpsc::channel();
    let other = thread::spawn(move || {
        // SAFETY: calls without arguments, from main.
        unsafe { assert_eq!((hsw_thread_attach(), hsw_thread_exit()), (0, 0)) };
        left.send(()).unwrap();
        let _ = rx.recv();
    });
    has_left.recv().unwrap();
    // Main's flow of control waits in the system, for us.
    let here = hardswitch::thread_id();
    assert_eq!(
        hardswitch::thread::threads(),
        [here],
        "the one that has left is not listed"
    );
    assert!(matches!(channel.receive(), Err(Error::Deadlock)));
    drop(tx);
    other.join().unwrap();
}
