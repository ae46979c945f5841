//! A process that forks while names are looked up: the child looks them up by itself.
//!
//! One test, so that the harness starts no other while one forks.
#![cfg(target_arch = "x86_64")]

mod common;

use common::{child, eventually};
use hardswitch::net::lookup::{self, Settings};
use hardswitch::net::resolve;
use hardswitch::{spawn, Error, MainLoop, Tasklet};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Names that begin with "slow" have no answer before this is set.
static OPEN: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// What the test says of the parent must hold in the child, which ends by itself if it hangs.
fn holds_in_a_child(f: impl FnOnce()) {
    let said = child(|| {
        // SAFETY: ends the process after that time.
        unsafe { libc::alarm(60) };
        f();
    });
    assert_eq!(said, (String::new(), 0));
}

fn run() {
    MainLoop::current().unwrap().run_until_idle().unwrap();
}

/// Looks a name up on a tasklet, which tells what came of it.
fn ask(name: &'static str, told: &Rc<Cell<usize>>) -> Tasklet {
    let told = told.clone();
    let asks = move || {
        assert_eq!(resolve(name, 7)?, [(HOME, 7).into()]);
        told.set(told.get() + 1);
        Ok::<(), Error>(())
    };
    let asks = spawn(asks).unwrap();
    hardswitch::schedule().unwrap();
    asks
}

#[test]
fn a_child_looks_up_what_was_being_looked_up_at_the_fork() {
    // On a thread of its own, so that the harness's waits are no part of it.
    thread::spawn(all).join().unwrap();
}

fn all() {
    let settings = Settings {
        threads: 2,
        ..Settings::default()
    };
    lookup::configure(settings).unwrap();
    lookup::set_resolver(Some(Arc::new(|name: &str| {
        CALLS.fetch_add(1, SeqCst);
        while name.starts_with("slow") && !OPEN.load(SeqCst) {
            thread::sleep(MS(1));
        }
        Ok(vec![HOME])
    })));
    // Both workers are busy: with a name of another thread's, and with one of this thread's. A
    // third name waits for a worker.
    let theirs = thread::spawn(|| resolve("slow-theirs", 7).map(drop));
    eventually("their look-up", || CALLS.load(SeqCst) == 1);
    let told = Rc::new(Cell::new(0));
    let ours = ask("slow-ours", &told);
    eventually("our look-up", || CALLS.load(SeqCst) == 2);
    ask("queued", &told);

    // Who waits in the child is answered there, without a further question.
    holds_in_a_child(|| {
        OPEN.store(true, SeqCst);
        run();
        assert_eq!((told.get(), CALLS.load(SeqCst)), (2, 4));
        assert_eq!(resolve("another", 7).unwrap(), [(HOME, 7).into()]);
    });
    // What only others waited for is begun anew by who asks for it.
    holds_in_a_child(|| {
        OPEN.store(true, SeqCst);
        assert_eq!(resolve("slow-theirs", 7).unwrap(), [(HOME, 7).into()]);
        run();
        assert_eq!((told.get(), CALLS.load(SeqCst)), (2, 5));
    });
    // Who leaves takes its look-up along, if that has not begun.
    holds_in_a_child(|| {
        ours.kill().unwrap();
        OPEN.store(true, SeqCst);
        run();
        assert_eq!(told.get(), 1);
        assert!((3..=4).contains(&CALLS.load(SeqCst)));
        assert_eq!(resolve("slow-ours", 7).unwrap(), [(HOME, 7).into()]);
        // A child of the child.
        holds_in_a_child(|| assert!(resolve("another", 7).is_ok()));
    });

    // In the parent all is as before.
    assert_eq!((told.get(), CALLS.load(SeqCst)), (0, 2));
    OPEN.store(true, SeqCst);
    run();
    assert_eq!((told.get(), CALLS.load(SeqCst)), (2, 3));
    theirs.join().unwrap().unwrap();

    // Another thread is in the middle of a change at many of these forks.
    static OVER: AtomicBool = AtomicBool::new(false);
    let busy = thread::spawn(move || {
        while !OVER.load(SeqCst) {
            lookup::configure(settings).unwrap();
        }
    });
    for _ in 0..50 {
        holds_in_a_child(|| assert!(resolve("quick", 7).is_ok()));
    }
    OVER.store(true, SeqCst);
    busy.join().unwrap();
}
