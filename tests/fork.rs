//! A process that forks: in the child the thread that forked goes on with all that is its own, and
//! is told of what is not there any more.
//!
//! One test, so that the harness starts no other while one forks. Tests of forks are for the native
//! target.
#![cfg(target_arch = "x86_64")]

mod common;

use common::child;
use hardswitch::offload::{self, Call};
use hardswitch::thread::host_lock::{HostLock, Settings};
use hardswitch::thread::Channel;
use hardswitch::{spawn, Error, MainLoop};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What the test says of the parent must hold in the child, which ends by itself if it hangs.
fn holds_in_a_child(f: impl FnOnce()) {
    let said = child(|| {
        // SAFETY: ends the process after that time.
        unsafe { libc::alarm(60) };
        f();
    });
    assert_eq!(said, (String::new(), 0));
}

#[test]
fn a_child_goes_on_with_what_is_its_own_and_is_told_of_what_is_not() {
    // On a thread of its own, so that the harness's waits are no part of it.
    thread::spawn(all).join().unwrap();
    thread::spawn(while_locks_are_held).join().unwrap();
    thread::spawn(the_owner_of_a_host_lock).join().unwrap();
}

extern "C" {
    fn hsw_exceptions_add(globals: unsafe extern "C" fn() -> *mut c_void) -> i32;
    fn hsw_exceptions_remove(globals: unsafe extern "C" fn() -> *mut c_void) -> i32;
    /// The table for debuggers. Its fourth word is not 0 while a thread changes the list of
    /// runtimes.
    static hsw_debug: [AtomicUsize; 4];
}

/// Is a thread inside of a lock now?
static INSIDE: AtomicBool = AtomicBool::new(false);

fn stay_inside() {
    INSIDE.store(true, SeqCst);
    thread::sleep(MS(200));
}

/// Asked by a thread that begins to use the library, under the lock of the list of C++ runtimes.
unsafe extern "C" fn globals() -> *mut c_void {
    if thread::current().name() == Some("inside") {
        stay_inside();
    }
    ptr::null_mut()
}

/// The process forks while another thread has one of the library's locks: the child can begin and
/// end threads all the same.
fn while_locks_are_held() {
    // This one uses the library, so forks are noticed.
    hardswitch::run().unwrap();
    let asks_for_globals = || {
        // SAFETY: it returns nothing that could be followed.
        assert_eq!(unsafe { hsw_exceptions_add(globals) }, 0);
        hardswitch::run().unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { hsw_exceptions_remove(globals) }, 0);
    };
    let changes_the_list = || {
        // SAFETY: the word is that of a lock, which threads take by a swap.
        let lock = unsafe { &hsw_debug[3] };
        while lock.swap(1, SeqCst) != 0 {}
        stay_inside();
        lock.store(0, SeqCst);
    };
    let holders: [fn(); 2] = [asks_for_globals, changes_the_list];
    for holder in holders {
        INSIDE.store(false, SeqCst);
        let (tx, rx) = mpsc::channel::<()>();
        let inside = thread::Builder::new().name("inside".into());
        let inside = inside.spawn(move || {
            holder();
            // It does not end meanwhile: the locks that the standard library takes at the end of a
            // thread are not held over a fork.
            let _ = rx.recv();
        });
        let inside = inside.unwrap();
        common::eventually("a thread has the lock", || INSIDE.load(SeqCst));
        holds_in_a_child(|| {
            let another = thread::spawn(|| {
                spawn(|| ()).unwrap();
                hardswitch::run().unwrap();
            });
            another.join().unwrap();
        });
        drop(tx);
        inside.join().unwrap();
    }
}

/// In the parent another thread waits for the lock; in the child nobody does.
fn the_owner_of_a_host_lock() {
    let lock = HostLock::new(Settings {
        switches: 1,
        time: Duration::MAX,
    });
    lock.join().unwrap();
    let theirs = lock.clone();
    let other = thread::spawn(move || theirs.join().unwrap());
    common::eventually("it waits", || lock.stats().waiting == 1);
    holds_in_a_child(|| {
        let before = lock.stats();
        spawn(|| ()).unwrap();
        hardswitch::schedule().unwrap();
        let now = lock.stats();
        assert_eq!((now.waiting, now.turns_up), (0, before.turns_up));
        assert_eq!(now.contended, before.contended);
        assert_eq!(now.owner, before.owner);
    });
    lock.leave();
    other.join().unwrap();
}

fn all() {
    let main_loop = MainLoop::current().unwrap();
    // Other threads: one with a loop, one that waits; and workers, one of which is busy.
    let (tx, rx) = mpsc::channel();
    let there = Channel::<u32>::new();
    // A handle that nobody has used would be hope.
    assert!(there.try_receive().is_err());
    let theirs = there.clone();
    let other = thread::spawn(move || {
        let main_loop = MainLoop::current().unwrap();
        tx.send((main_loop.remote(), hardswitch::thread_id()))
            .unwrap();
        spawn(move || theirs.receive().map(drop)).unwrap();
        main_loop.run().unwrap();
    });
    let (their_loop, their_id) = rx.recv().unwrap();
    // Until then its handle would be hope.
    common::eventually("it waits", || there.balance() == -1);
    assert_eq!(offload::call(|| 1).unwrap(), 1);
    let go = Arc::new(AtomicBool::new(false));
    let until = go.clone();
    let answer = Rc::new(RefCell::new(None));
    let told = answer.clone();
    let caller = spawn(move || {
        let busy = move || {
            while !until.load(SeqCst) {
                thread::sleep(MS(1));
            }
        };
        *told.borrow_mut() = Some(Call::new(busy).on_abandoned(|_| ()).wait());
    });
    let waits = Rc::new(Cell::new(0));
    let counted = waits.clone();
    let sleeper = spawn(move || {
        hardswitch::sleep(MS(50))?;
        counted.set(counted.get() + 1);
        Ok::<(), Error>(())
    });
    drop(sleeper);
    hardswitch::schedule().unwrap();

    holds_in_a_child(|| {
        assert_eq!(hardswitch::thread::threads(), [hardswitch::thread_id()]);
        assert!(hardswitch::thread::info(their_id).is_err());
        assert!(their_loop.post(|| ()).is_err());
        // Its sleeper wakes, who waits for a worker of the parent's is told, and then nothing is
        // left to wait for.
        main_loop.run_until_idle().unwrap();
        assert_eq!(waits.get(), 1);
        let told = answer.take();
        assert!(matches!(told, Some(Err(Error::Io(_)))), "{told:?}");
        // The pool has new workers, and the loop hears of what they bring.
        assert_eq!(offload::call(|| 2).unwrap(), 2);
        let remote = main_loop.remote();
        let heard = Arc::new(AtomicBool::new(false));
        let hears = heard.clone();
        let work = remote.work();
        let poster = thread::spawn(move || {
            thread::sleep(MS(20));
            work.remote()
                .post(move || hears.store(true, SeqCst))
                .unwrap();
        });
        main_loop.run_until_idle().unwrap();
        assert!(heard.load(SeqCst));
        poster.join().unwrap();
        // Nobody else is there who could run.
        assert!(matches!(
            Channel::<u32>::new().receive(),
            Err(Error::Deadlock)
        ));
        // A thread of the child's is one like any other.
        let (ours, theirs) = (Channel::<u32>::new(), Channel::<u32>::new());
        let (to, from) = (ours.clone(), theirs.clone());
        let thread = thread::spawn(move || to.send(from.receive().unwrap() + 1).unwrap());
        theirs.send(3).unwrap();
        assert_eq!(ours.receive().unwrap(), 4);
        thread.join().unwrap();
        // A child of the child.
        holds_in_a_child(|| assert_eq!(offload::call(|| 5).unwrap(), 5));
    });

    // Who leaves a call that has no outcome in the child leaves nothing behind that is waited for.
    holds_in_a_child(|| {
        caller.as_ref().unwrap().kill().unwrap();
        main_loop.run_until_idle().unwrap();
        assert!(!caller.as_ref().unwrap().is_alive());
    });

    // In the parent all is as before.
    drop(caller);
    assert!(answer.borrow().is_none());
    go.store(true, SeqCst);
    main_loop.run_until_idle().unwrap();
    assert_eq!(waits.get(), 1);
    assert!(matches!(answer.take(), Some(Ok(()))));
    there.send(7).unwrap();
    their_loop.stop();
    other.join().unwrap();
}
