//! A process that forks while other threads post to the loop of the forking thread, and while
//! workers make its calls: whatever they were doing, the loop goes on in the child.
//!
//! One test, so that the harness starts no other while one forks.
#![cfg(target_arch = "x86_64")]

mod common;

use common::child;
use hardswitch::net::TcpListener;
use hardswitch::offload::{Pool, Settings};
use hardswitch::{spawn, Error, MainLoop};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// How often it forks: a fork at a bad moment is a matter of luck.
const FORKS: usize = 100;

#[test]
fn a_loop_goes_on_in_a_child_whatever_others_did_to_it_at_the_fork() {
    // On a thread of its own, so that the harness's waits are no part of it.
    thread::spawn(all).join().unwrap();
}

fn all() {
    let main_loop = MainLoop::current().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let posters: Vec<_> = [false, true]
        .into_iter()
        .map(|posts| {
            let (remote, over) = (main_loop.remote(), over.clone());
            thread::spawn(move || {
                while !over.load(SeqCst) {
                    match posts {
                        true => drop(remote.post(|| ())),
                        false => remote.interrupt(),
                    }
                }
            })
        })
        .collect();
    // One waits at a socket, so the loop polls, and is woken by its descriptor.
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let accepts = spawn(move || drop(listener.accept())).unwrap();
    let pool = Pool::new(Settings::default()).unwrap();
    for _ in 0..FORKS {
        let told = Rc::new(RefCell::new(None));
        let (answer, calls) = (told.clone(), pool.clone());
        let caller = spawn(move || *answer.borrow_mut() = Some(calls.call(|| ()))).unwrap();
        hardswitch::run().unwrap();
        main_loop.pump(None).unwrap();
        let said = child(|| {
            // SAFETY: ends the process after that time.
            unsafe { libc::alarm(60) };
            let work = main_loop.remote().work();
            let poster = thread::spawn(move || {
                let (heard, hears) = mpsc::channel();
                let tells = || {
                    let heard = heard.clone();
                    work.remote().post(move || heard.send(()).unwrap())
                };
                // The queue may be full of what the parent's threads have posted.
                while tells().is_err() {
                    thread::sleep(MS(1));
                }
                hears.recv().unwrap();
            });
            while caller.is_alive() || !poster.is_finished() {
                main_loop.pump(Some(MS(1))).unwrap();
                hardswitch::run().unwrap();
            }
            let told = told.take();
            assert!(matches!(told, Some(Ok(()) | Err(Error::Io(_)))), "{told:?}");
        });
        assert_eq!(said, (String::new(), 0));
        while caller.is_alive() {
            main_loop.tick().unwrap();
        }
    }
    over.store(true, SeqCst);
    posters.into_iter().for_each(|it| it.join().unwrap());
    accepts.kill().unwrap();
}
