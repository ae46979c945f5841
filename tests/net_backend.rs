//! A backend is a host's code that runs while its thread counts as asleep: whatever it does, the
//! loop goes on, and threads are counted right.

use hardswitch::net::errno::Errno;
use hardswitch::net::shim::{Backend, PollFd, Sets};
use hardswitch::net::Os;
use hardswitch::thread::{self as hsw, HostLock};
use hardswitch::{spawn, sync, Channel, Error, MainLoop, Preference, Select};
use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::{mpsc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

/// One test at a time: deadlocks are a matter of all threads of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main_loop() -> MainLoop {
    MainLoop::current().unwrap()
}

/// However slow the machine is: a time that has passed is not polled for.
fn poll_once() {
    main_loop().pump(Some(MS(5))).unwrap();
}

/// Polls nothing, does something of its own instead, and answers what that does.
struct Ends<F>(F);

impl<F: FnMut() -> Result<usize, Errno>> Backend for Ends<F> {
    fn poll(&mut self, _: &mut [PollFd], _: Option<Duration>) -> Result<usize, Errno> {
        (self.0)()
    }
    fn select(&mut self, _: &mut Sets, _: Option<Duration>) -> Result<usize, Errno> {
        Err(Errno::ENOMEM)
    }
    fn now(&mut self) -> Duration {
        Os.now()
    }
}

/// Does something while it polls, and fails.
fn fails(mut what: impl FnMut() + 'static) -> Box<dyn Backend> {
    Box::new(Ends(move || {
        what();
        Err(Errno::ENOMEM)
    }))
}

/// The system's, which does something of its own before each poll.
struct Busy<F>(F);

impl<F: FnMut()> Backend for Busy<F> {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        (self.0)();
        Os.poll(fds, timeout)
    }
    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        Os.select(sets, timeout)
    }
    fn now(&mut self) -> Duration {
        Os.now()
    }
}

fn on_a_thread(test: impl FnOnce() + Send + 'static) {
    let _alone = alone();
    thread::spawn(test).join().unwrap();
}

/// Another thread, which is up, sends after a while: no deadlock must be found before.
fn receives_from_another_thread() {
    let channel = hsw::Channel::new();
    let (there, (ready, is_ready)) = (channel.clone(), mpsc::channel());
    let sender = thread::spawn(move || {
        hardswitch::thread_id();
        ready.send(()).unwrap();
        thread::sleep(MS(50));
        there.send(7).unwrap();
    });
    is_ready.recv().unwrap();
    // Used by both: nobody is under way.
    assert!(matches!(channel.try_receive(), Err(Error::WouldBlock)));
    let received = channel.receive();
    sender.join().unwrap();
    assert!(matches!(received, Ok(7)), "{received:?}");
}

#[test]
fn what_a_backend_cannot_do_is_refused() {
    on_a_thread(|| {
        let refused = Rc::new(RefCell::new(Vec::new()));
        let (told, here) = (refused.clone(), hsw::Channel::<u32>::new());
        let local = Channel::<u32>::new();
        let held = sync::Lock::new(());
        held.acquire().unwrap();
        main_loop().set_backend(Box::new(Busy(move || {
            let main_loop = main_loop();
            let results = [
                main_loop.pump(Some(Duration::ZERO)).map(drop),
                main_loop.pump(None).map(drop),
                main_loop.tick(),
                main_loop.run_until_idle(),
                hardswitch::sleep(MS(1)),
                local.receive().map(drop),
                local.receive_timeout(MS(1)).map(drop),
                here.receive().map(drop),
                held.acquire(),
                hardswitch::offload::call(|| ()),
            ];
            let kind = |result: &hardswitch::Result<()>| match result {
                Err(Error::SwitchTrap) => 's',
                Err(Error::BlockTrap) => 'b',
                other => panic!("{other:?}"),
            };
            let kinds: String = results.iter().map(kind).collect();
            told.borrow_mut().push(kinds);
        })));
        receives_from_another_thread();
        receives_from_another_thread();
        let refused = refused.take();
        assert!(refused.len() >= 2);
        for refused in refused {
            assert_eq!(refused, "ssssbbbbbb");
        }
        hardswitch::sleep(MS(1)).unwrap();
    });
}

#[test]
fn a_backend_may_spawn_and_post_and_nobody_runs_before_it_is_back() {
    on_a_thread(|| {
        let (inside, ran) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let (polls, runs) = (inside.clone(), ran.clone());
        main_loop().set_backend(Box::new(Busy(move || {
            polls.set(true);
            if runs.get() == 0 {
                let (polls, runs) = (polls.clone(), runs.clone());
                spawn(move || {
                    assert!(!polls.get());
                    runs.set(1);
                })
                .unwrap();
                main_loop().remote().post(|| {}).unwrap();
                assert!(matches!(hardswitch::schedule(), Err(Error::SwitchTrap)));
                assert!(matches!(hardswitch::run(), Err(Error::SwitchTrap)));
            }
            polls.set(false);
        })));
        poll_once();
        hardswitch::run().unwrap();
        assert_eq!(ran.get(), 1);
    });
}

#[test]
fn a_backend_that_panics_leaves_the_count_of_threads_right() {
    on_a_thread(|| {
        let mut fails = 5;
        main_loop().set_backend(Box::new(Busy(move || {
            if fails > 0 {
                fails -= 1;
                panic!("the backend's own");
            }
        })));
        for _ in 0..5 {
            let channel = hsw::Channel::<u32>::new();
            let there = channel.clone();
            let wait = || channel.receive();
            catch_unwind(AssertUnwindSafe(wait)).unwrap_err();
            drop(there);
        }
        receives_from_another_thread();
    });
}

#[test]
fn a_backend_that_panics_with_a_host_lock_has_it_again() {
    on_a_thread(|| {
        let lock = HostLock::new(Default::default());
        lock.join().unwrap();
        let mut fails = true;
        main_loop().set_backend(Box::new(Busy(move || {
            if std::mem::take(&mut fails) {
                panic!("the backend's own");
            }
        })));
        catch_unwind(poll_once).unwrap_err();
        let me = Some(hardswitch::thread_id());
        assert_eq!(lock.owner().map(|owner| owner.thread), me);
        hardswitch::sleep(MS(1)).unwrap();
        lock.leave();
        assert_eq!(lock.owner(), None);
    });
}

#[test]
fn a_backend_may_replace_itself() {
    struct Old(Rc<Cell<usize>>);
    impl Drop for Old {
        fn drop(&mut self) {
            // The poll is over.
            main_loop().pump(Some(Duration::ZERO)).unwrap();
            self.0.set(self.0.get() + 1);
        }
    }
    on_a_thread(|| {
        let (dropped, polls) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (old, counts) = (Old(dropped.clone()), polls.clone());
        main_loop().set_backend(Box::new(Busy(move || {
            let _ = &old;
            let counts = counts.clone();
            let before = main_loop().set_backend(Box::new(Busy(move || {
                counts.set(counts.get() + 1);
            })));
            drop(before);
        })));
        poll_once();
        assert_eq!(dropped.get(), 1);
        let before = polls.get();
        poll_once();
        assert_eq!((dropped.get(), polls.get()), (1, before + 1));
    });
}

#[test]
fn a_replaced_backend_whose_destructor_panics_leaves_a_loop_that_polls() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("the destructor's own");
        }
    }
    on_a_thread(|| {
        let bad = Bad;
        let polls = Rc::new(Cell::new(0));
        let counts = polls.clone();
        main_loop().set_backend(Box::new(Busy(move || {
            let _ = &bad;
            let counts = counts.clone();
            main_loop().set_backend(Box::new(Busy(move || counts.set(counts.get() + 1))));
        })));
        catch_unwind(poll_once).unwrap_err();
        poll_once();
        assert_eq!(polls.get(), 1);
        receives_from_another_thread();
    });
}

/// A wait that cannot go on is no reason to drop what has come.
#[test]
fn what_came_while_the_backend_failed_is_had() {
    on_a_thread(|| {
        let channel = hsw::Channel::new();
        let there = channel.clone();
        let before = main_loop().set_backend(fails(move || {
            let _ = there.try_send(1);
        }));
        assert_eq!(channel.receive().unwrap(), 1);
        assert!(matches!(channel.try_receive(), Err(Error::WouldBlock)));

        let (done, is_done) = mpsc::channel();
        main_loop().set_backend(fails(move || {
            is_done.recv().unwrap();
            // The worker has only to put the outcome down.
            thread::sleep(MS(500));
        }));
        let outcome = hardswitch::offload::call(move || {
            done.send(()).unwrap();
            7
        });
        assert_eq!(outcome.unwrap(), 7);
        main_loop().set_backend(before);
        hardswitch::sleep(MS(1)).unwrap();
    });
}

/// Who could not go on waiting has what came before that: the one who brought it was told so.
#[test]
fn what_came_before_the_failure_is_there() {
    on_a_thread(|| {
        let (near, far) = (Channel::<u32>::new(), hsw::Channel::<u32>::new());
        near.set_preference(Preference::Sender);
        let n = near.clone();
        main_loop().set_backend(fails(move || n.try_send(5).unwrap()));
        assert_eq!(near.receive_timeout(S(60)).unwrap(), 5);
        let mut select = Select::new();
        let (here, there) = (select.receive(&near), select.receive(&far));
        let mut done = select.wait_timeout(S(60)).unwrap();
        assert_eq!(done.received(here).unwrap().unwrap(), 5);
        assert!(done.received(there).is_none());

        let f = far.clone();
        let sends = move || {
            let f = f.clone();
            let sent = thread::spawn(move || f.send(6));
            sent.join().unwrap().unwrap();
        };
        main_loop().set_backend(fails(sends));
        let mut select = Select::new();
        let (here, there) = (select.receive(&near), select.receive(&far));
        let mut done = select.wait_timeout(S(60)).unwrap();
        assert!(done.received(here).is_none());
        assert_eq!(done.received(there).unwrap().unwrap(), 6);
        main_loop().set_backend(Box::new(Os));
    });
}

/// A tasklet waits for another thread, which sends while the backend polls.
fn woken_while_it_polls(answer: impl Fn() -> Result<usize, Errno> + 'static) -> Rc<Cell<u32>> {
    let (channel, got) = (hsw::Channel::new(), Rc::new(Cell::new(0)));
    let (here, tells) = (channel.clone(), got.clone());
    spawn(move || -> hardswitch::Result<()> {
        tells.set(here.receive()?);
        Ok(())
    })
    .unwrap();
    hardswitch::run().unwrap();
    main_loop().set_backend(Box::new(Ends(move || {
        let there = channel.clone();
        thread::spawn(move || there.send(7).unwrap())
            .join()
            .unwrap();
        answer()
    })));
    got
}

/// Whoever handles that and lets the others run runs who was woken.
#[test]
fn who_was_woken_while_the_backend_failed_runs_next() {
    on_a_thread(|| {
        let got = woken_while_it_polls(|| Err(Errno::ENOMEM));
        main_loop().pump(Some(MS(5))).unwrap_err();
        hardswitch::run().unwrap();
        assert_eq!(got.get(), 7);
    });
    on_a_thread(|| {
        let got = woken_while_it_polls(|| panic!("the backend's own"));
        catch_unwind(poll_once).unwrap_err();
        assert!(!main_loop().is_idle());
        hardswitch::run().unwrap();
        assert_eq!(got.get(), 7);
    });
    on_a_thread(|| {
        let got = woken_while_it_polls(|| panic!("the backend's own"));
        catch_unwind(poll_once).unwrap_err();
        hardswitch::schedule().unwrap();
        assert_eq!(hardswitch::run_count(), 2);
        hardswitch::schedule().unwrap();
        assert_eq!(got.get(), 7);
    });
}

#[test]
fn a_signal_ends_the_poll_and_nothing_fails() {
    on_a_thread(|| {
        let polls = Rc::new(Cell::new(0));
        let count = polls.clone();
        main_loop().set_backend(Box::new(Ends(move || {
            count.set(count.get() + 1);
            Err(Errno::EINTR)
        })));
        assert_eq!(main_loop().pump(Some(MS(5))).unwrap(), 0);
        assert!(polls.get() > 0);
        hardswitch::sleep(MS(5)).unwrap();
    });
}
