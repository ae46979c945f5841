//! The end of a thread, whatever its tasklets are doing and whoever refers to them: each ends once,
//! nothing is left.

mod common;

use common::{deep, descend, Stacks, DEPTHS, LEVELS};
use hardswitch::net::errno::Errno;
use hardswitch::net::shim::{Backend, PollFd, Sets};
use hardswitch::net::Os;
use hardswitch::thread::{allow_threads, Channel, Remote};
use hardswitch::{spawn, sync, Error, MainLoop, StateError, Tasklet};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;
const ROUNDS: usize = if cfg!(target_arch = "x86_64") {
    200
} else {
    20
};

fn no_thread(result: hardswitch::Result<impl Sized>) -> bool {
    matches!(result, Err(Error::State(StateError::NoThread)))
}

/// What the tasklets of a test's threads did.
#[derive(Default)]
struct Ends {
    /// Functions that began to run.
    begun: AtomicUsize,
    /// Waits that ended with `Exit`.
    exits: AtomicUsize,
    /// Functions that were dropped, or left.
    dropped: AtomicUsize,
}

/// Lies in a tasklet's function.
struct Frame(Arc<Ends>);

impl Frame {
    /// The tasklet runs; `wait` is what it does, to be ended by `Exit`.
    fn run(self, wait: impl FnOnce() -> hardswitch::Result<()>) -> hardswitch::Result<()> {
        self.0.begun.fetch_add(1, SeqCst);
        let result = wait();
        if matches!(result, Err(Error::Exit)) {
            self.0.exits.fetch_add(1, SeqCst);
            // Its thread's main is there, though its own code has ended.
            let me = hardswitch::current();
            assert!(!me.is_main() && hardswitch::main_tasklet().is_alive());
            assert_eq!(
                hardswitch::main_tasklet().thread_id(),
                hardswitch::thread_id()
            );
        }
        result
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, SeqCst);
    }
}

/// What waits, and what it waits for between threads.
struct Shared {
    channel: Channel<Arc<()>>,
    full: Channel<Arc<()>>,
    event: sync::Event,
    semaphore: sync::Semaphore,
    /// Cases that are over: until its own is, a worker works.
    over: AtomicUsize,
    token: Arc<()>,
}

type Wait = fn(&Arc<Shared>) -> hardswitch::Result<()>;

/// Every way to be out of the queue, and to be in it.
const WAITS: &[(&str, Wait)] = &[
    ("paused", |_| hardswitch::schedule_remove()),
    ("queued", |_| hardswitch::schedule()),
    ("receiving", |_| {
        hardswitch::Channel::<u32>::new().receive().map(drop)
    }),
    ("sending", |shared| {
        hardswitch::Channel::new().send(shared.token.clone())
    }),
    ("receiving for a time", |_| {
        let channel = hardswitch::Channel::<u32>::new();
        channel.receive_timeout(Duration::from_secs(1000)).map(drop)
    }),
    ("receiving from another thread", |shared| {
        shared.channel.receive().map(drop)
    }),
    ("sending to another thread", |shared| {
        shared.full.send(shared.token.clone())
    }),
    ("receiving from another thread for a time", |shared| {
        let time = Duration::from_secs(1000);
        shared.channel.receive_timeout(time).map(drop)
    }),
    ("sleeping", |_| hardswitch::sleep(Duration::from_secs(1000))),
    ("waiting for an event", |shared| shared.event.wait()),
    ("waiting for a semaphore", |shared| {
        shared.semaphore.acquire()
    }),
    ("waiting for a worker", |shared| {
        let (shared, case) = (shared.clone(), shared.over.load(SeqCst));
        hardswitch::offload::call(move || {
            while shared.over.load(SeqCst) == case {
                thread::sleep(MS(1));
            }
        })
    }),
    ("running others", |_| {
        spawn(hardswitch::schedule_remove)?;
        hardswitch::run()?;
        hardswitch::schedule_remove()
    }),
];

/// How main ends: by a panic or not; and where the tasklets' frames are.
const ENDS: [(bool, Stacks); 4] = [
    (false, Stacks::Own),
    (true, Stacks::Own),
    (false, Stacks::Window),
    (true, Stacks::Window),
];

/// The matrix: what the tasklets do, whether they have started, whether others refer to them, how
/// main ends, and on what stacks.
#[test]
fn whatever_its_tasklets_do_each_ends_once_with_its_thread() {
    let shared = Arc::new(Shared {
        channel: Channel::new(),
        full: Channel::new(),
        event: sync::Event::new(),
        semaphore: sync::Semaphore::new(0),
        over: AtomicUsize::new(0),
        token: Arc::new(()),
    });
    const EACH: usize = 3;
    for &(what, wait) in WAITS {
        for started in [true, false] {
            for referred in [true, false] {
                for (panics, stacks) in ENDS {
                    let case = format!("{what}, {started} {referred} {panics} {stacks:?}");
                    let ends = Arc::new(Ends::default());
                    let (tx, rx) = mpsc::channel();
                    let (there, counted) = (shared.clone(), ends.clone());
                    let thread = thread::spawn(move || {
                        for _ in 0..EACH {
                            let (frame, there) = (Frame(counted.clone()), there.clone());
                            let tasklet = stacks.spawn(move || frame.run(|| wait(&there)));
                            if referred {
                                tx.send(tasklet.remote().unwrap()).unwrap();
                            }
                        }
                        if started {
                            // One turn each.
                            hardswitch::schedule().unwrap();
                            assert_eq!(counted.begun.load(SeqCst), EACH);
                        }
                        if panics {
                            std::panic::resume_unwind(Box::new("the end of main"));
                        }
                    });
                    assert_eq!(thread.join().is_err(), panics);
                    let count = |n: &AtomicUsize| n.load(SeqCst);
                    let begun = if started { EACH } else { 0 };
                    assert_eq!(
                        (count(&ends.begun), count(&ends.exits), count(&ends.dropped)),
                        (begun, begun, EACH),
                        "{case}"
                    );
                    for remote in rx.iter() {
                        assert_eq!(remote.thread(), None, "{case}");
                        assert!(!remote.is_alive().unwrap());
                        remote.kill().unwrap();
                        assert!(no_thread(remote.throw_pending(Error::Exit)));
                    }
                    let waiting = (
                        shared.channel.balance(),
                        shared.full.balance(),
                        shared.event.waiting(),
                        shared.semaphore.waiting(),
                    );
                    assert_eq!(waiting, (0, 0, 0, 0), "{case}");
                    assert_eq!(Arc::strong_count(&shared.token), 1, "{case}");
                    shared.over.fetch_add(1, SeqCst);
                }
            }
        }
    }
}

/// Twenty tasklets that are 200 frames deep when their thread ends: each frame is left once. Some
/// kill another one on their way, or begin a new one.
#[test]
fn deep_tasklets_unwind_with_their_thread() {
    const DEEP: usize = 20;
    for (stacks, spills) in DEPTHS {
        for panics in [false, true] {
            let ends = Arc::new(Ends::default());
            let counted = ends.clone();
            let thread = thread::spawn(move || {
                deep(spills).apply().unwrap();
                let all: Rc<RefCell<Vec<Tasklet>>> = Rc::default();
                for number in 0..DEEP {
                    let (ends, others) = (counted.clone(), all.clone());
                    let bottom = move || {
                        let result = match number % 3 {
                            0 => hardswitch::schedule_remove(),
                            1 => hardswitch::Channel::<u32>::new().receive().map(drop),
                            _ => hardswitch::sleep(Duration::from_secs(1000)),
                        };
                        assert!(matches!(result, Err(Error::Exit)), "{result:?}");
                        ends.exits.fetch_add(1, SeqCst);
                        if number % 4 == 1 {
                            let other = others.borrow()[(number + 7) % DEEP].clone();
                            other.kill().unwrap();
                            drop(stacks.spawn(|| Ok::<(), Error>(())));
                        }
                        result
                    };
                    let ends = counted.clone();
                    let frame = move || {
                        ends.begun.fetch_add(1, SeqCst);
                        Frame(ends.clone())
                    };
                    let tasklet =
                        stacks.spawn(move || descend(LEVELS, spills, frame, Box::new(bottom)));
                    all.borrow_mut().push(tasklet);
                }
                hardswitch::schedule().unwrap();
                assert_eq!(counted.begun.load(SeqCst), LEVELS * DEEP);
                assert_eq!(counted.dropped.load(SeqCst), 0);
                if panics {
                    std::panic::resume_unwind(Box::new("the end of main"));
                }
            });
            assert_eq!(thread.join().is_err(), panics);
            let case = format!("{stacks:?} {spills} {panics}");
            let count = |n: &AtomicUsize| n.load(SeqCst);
            assert_eq!(
                (count(&ends.exits), count(&ends.dropped)),
                (DEEP, LEVELS * DEEP),
                "{case}"
            );
        }
    }
}

/// Two threads whose tasklets wait for each other end in every order, and at the same time.
#[test]
fn the_order_in_which_threads_end_does_not_matter() {
    let token = Arc::new(());
    for round in 0..ROUNDS {
        let ends = Arc::new(Ends::default());
        let channels: [Channel<Arc<()>>; 2] = Default::default();
        let together = Arc::new(Barrier::new(2));
        let (first, second) = (mpsc::channel::<()>(), mpsc::channel::<()>());
        let start = |i: usize, end: mpsc::Receiver<()>| {
            let (ends, token, mine) = (ends.clone(), token.clone(), channels.clone());
            let together = together.clone();
            thread::spawn(move || {
                let mut remotes = vec![];
                for j in 0..6 {
                    let (frame, token, mine) = (Frame(ends.clone()), token.clone(), mine.clone());
                    let tasklet = spawn(move || {
                        frame.run(|| {
                            for _ in 0..j {
                                mine[i].send(token.clone())?;
                                mine[1 - i].receive()?;
                            }
                            mine[i].receive().map(drop)
                        })
                    });
                    remotes.push(tasklet.unwrap().remote().unwrap());
                }
                together.wait();
                // Some way into it.
                let main_loop = MainLoop::current().unwrap();
                for _ in 0..round % 7 {
                    main_loop.tick().unwrap();
                }
                if round % 3 != 2 {
                    end.recv().unwrap();
                }
                remotes
            })
        };
        let threads = [start(0, first.1), start(1, second.1)];
        let mut gone = vec![];
        let mut threads = threads.into_iter();
        let (one, other) = (threads.next().unwrap(), threads.next().unwrap());
        match round % 3 {
            0 => {
                first.0.send(()).unwrap();
                gone.extend(one.join().unwrap());
                second.0.send(()).unwrap();
                gone.extend(other.join().unwrap());
            }
            1 => {
                second.0.send(()).unwrap();
                gone.extend(other.join().unwrap());
                first.0.send(()).unwrap();
                gone.extend(one.join().unwrap());
            }
            _ => {
                gone.extend(one.join().unwrap());
                gone.extend(other.join().unwrap());
            }
        }
        assert_eq!(ends.dropped.load(SeqCst), 12, "round {round}");
        for channel in &channels {
            assert_eq!(channel.balance(), 0, "round {round}");
        }
        assert_eq!(Arc::strong_count(&token), 1, "round {round}");
        for remote in gone {
            assert!(!remote.is_alive().unwrap());
        }
    }
}

/// Others kill, insert, throw and ask while the thread ends.
#[test]
fn tasklets_can_be_killed_by_others_while_their_thread_ends() {
    for round in 0..ROUNDS {
        let ends = Arc::new(Ends::default());
        let channel = Channel::<u32>::new();
        let (tx, rx) = mpsc::channel::<Vec<Remote>>();
        let (counted, there) = (ends.clone(), channel.clone());
        let owner = thread::spawn(move || {
            let make = |i| {
                let (frame, there) = (Frame(counted.clone()), there.clone());
                let own = hardswitch::Channel::<u32>::new();
                let wait = move || {
                    if i % 2 == 0 {
                        there.receive().map(drop)
                    } else {
                        own.receive().map(drop)
                    }
                };
                spawn(move || frame.run(wait)).unwrap()
            };
            let tasklets: Vec<_> = (0..8).map(make).collect();
            hardswitch::schedule().unwrap();
            tx.send(tasklets.iter().map(|t| t.remote().unwrap()).collect())
                .unwrap();
            for _ in 0..round % 5 {
                hardswitch::schedule().unwrap();
            }
        });
        let remotes = rx.recv().unwrap();
        for (i, remote) in remotes.iter().enumerate() {
            match i % 4 {
                0 => remote.kill().unwrap(),
                1 => drop(remote.throw(Error::Exit)),
                2 => drop(remote.insert()),
                _ => drop(remote.with(|tasklet| tasklet.kill_pending())),
            }
        }
        owner.join().unwrap();
        let count = |n: &AtomicUsize| n.load(SeqCst);
        assert_eq!(
            (count(&ends.exits), count(&ends.dropped)),
            (8, 8),
            "round {round}"
        );
        assert_eq!(channel.balance(), 0);
        for remote in remotes {
            assert_eq!((remote.thread(), remote.is_alive().unwrap()), (None, false));
            remote.kill().unwrap();
        }
    }
}

/// Their destructors can still talk to other threads.
#[test]
fn what_a_dying_tasklet_sends_arrives() {
    struct Farewell(Channel<u64>);
    impl Drop for Farewell {
        fn drop(&mut self) {
            self.0.send(hardswitch::thread_id()).unwrap();
        }
    }
    let channel = Channel::new();
    let (got, there) = (Rc::new(RefCell::new(vec![])), channel.clone());
    // They wait already: who dies is not waited for.
    for _ in 0..5 {
        let (channel, got) = (channel.clone(), got.clone());
        spawn(move || {
            let last = channel.receive()?;
            got.borrow_mut().push(last);
            Ok(())
        })
        .unwrap();
    }
    hardswitch::run().unwrap();
    assert_eq!(channel.balance(), -5);
    let thread = thread::spawn(move || {
        for _ in 0..5 {
            let farewell = Farewell(there.clone());
            spawn(move || {
                let _farewell = farewell;
                hardswitch::schedule_remove()
            })
            .unwrap();
        }
        hardswitch::run().unwrap();
        hardswitch::thread_id()
    });
    MainLoop::current().unwrap().run_until_idle().unwrap();
    let id = thread.join().unwrap();
    assert_eq!(*got.borrow(), [id; 5]);
}

/// ... but not wait, whether or not the thread's loop was ever used.
#[test]
fn a_dying_tasklet_cannot_begin_to_sleep() {
    for uses_the_loop in 0..3 {
        let (tx, rx) = mpsc::channel();
        thread::spawn(move || {
            if uses_the_loop == 1 {
                MainLoop::current().unwrap().tick().unwrap();
            }
            spawn(move || {
                let ended = hardswitch::schedule_remove();
                tx.send(hardswitch::sleep(MS(1))).unwrap();
                ended
            })
            .unwrap();
            hardswitch::run().unwrap();
            if uses_the_loop == 2 {
                MainLoop::current().unwrap().tick().unwrap();
            }
        })
        .join()
        .unwrap();
        // The loop is gone, or the tasklet is killed once more.
        let slept = rx.recv().unwrap();
        let refused = matches!(slept, Err(Error::Io(_) | Error::Exit));
        assert!(refused, "{uses_the_loop}: {slept:?}");
    }
}

/// A thread-local's destructor runs after the tasklets have ended, or before; it may use the
/// library all the same.
#[test]
fn destructors_of_thread_locals_may_use_the_library() {
    thread_local! {
        static LOCALS: RefCell<Vec<Uses>> = const { RefCell::new(Vec::new()) };
    }
    struct Uses(Channel<u32>, Option<Remote>, Option<Tasklet>);
    impl Drop for Uses {
        fn drop(&mut self) {
            let _ = self.0.try_send(1);
            if let Some(remote) = &self.1 {
                remote.kill().unwrap();
                let _ = remote.insert();
                let _ = remote.bind_thread(hardswitch::thread_id());
            }
            if let Some(tasklet) = &self.2 {
                let _ = tasklet.kill();
                let _ = tasklet.remote();
            }
            let _ = spawn(|| ()).map(|tasklet| tasklet.run());
            hardswitch::thread::threads();
        }
    }
    let (channel, ends) = (Channel::new(), Arc::new(Ends::default()));
    for first in [true, false] {
        let (there, counted) = (channel.clone(), ends.clone());
        thread::spawn(move || {
            if first {
                // Registered before the library's own: destroyed after it.
                LOCALS.with(|locals| assert!(locals.borrow().is_empty()));
            }
            let (frame, waits) = (Frame(counted), there.clone());
            let tasklet = spawn(move || frame.run(|| waits.receive().map(drop))).unwrap();
            hardswitch::run().unwrap();
            let remote = tasklet.remote().unwrap();
            LOCALS.with(|locals| {
                let mut locals = locals.borrow_mut();
                locals.push(Uses(there.clone(), Some(remote), None));
                locals.push(Uses(there, None, Some(tasklet)));
            });
        })
        .join()
        .unwrap();
        assert_eq!(channel.balance(), 0);
    }
    let ended = (ends.exits.load(SeqCst), ends.dropped.load(SeqCst));
    assert_eq!(ended.1, 2);
    assert!(ended.0 <= 2);
}

/// A returned value passes through a destructor that meets another thread.
#[test]
fn a_value_in_flight_survives_a_destructor_that_waits_for_another_thread() {
    struct Meets(Channel<u32>, Channel<u32>);
    impl Drop for Meets {
        fn drop(&mut self) {
            self.0.send(1).unwrap();
            assert_eq!(self.1.receive().unwrap(), 2);
        }
    }
    fn through(meets: Meets) -> u32 {
        let value = 4711;
        drop(meets);
        value
    }
    let (ask, answer) = (Channel::new(), Channel::new());
    let (asked, answers) = (ask.clone(), answer.clone());
    const TIMES: u32 = 50;
    let other = thread::spawn(move || {
        for _ in 0..TIMES {
            spawn({
                let (asked, answers) = (asked.clone(), answers.clone());
                move || {
                    assert_eq!(asked.receive()?, 1);
                    answers.send(2)
                }
            })
            .unwrap();
        }
        MainLoop::current().unwrap().run_until_idle().unwrap();
    });
    let values = hardswitch::Channel::new();
    for i in 0..TIMES {
        let (values, meets) = (values.clone(), Meets(ask.clone(), answer.clone()));
        spawn(move || values.send((i, through(meets)))).unwrap();
    }
    let sum = Rc::new(RefCell::new(vec![]));
    let got = sum.clone();
    spawn(move || {
        for _ in 0..TIMES {
            let (i, value) = values.receive()?;
            assert_eq!(value, 4711);
            got.borrow_mut().push(i);
        }
        Ok(())
    })
    .unwrap();
    MainLoop::current().unwrap().run_until_idle().unwrap();
    other.join().unwrap();
    sum.borrow_mut().sort();
    assert_eq!(*sum.borrow(), (0..TIMES).collect::<Vec<_>>());
}

/// The count of a thread's queue is changed by others, ours is not.
#[test]
fn inserting_and_removing_from_elsewhere_counts_there() {
    let (tx, rx) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let tasklet = Tasklet::new().unwrap();
        tasklet.bind_paused(|| ()).unwrap();
        let counts = Arc::new(Mutex::new(vec![hardswitch::run_count()]));
        tx.send((tasklet.remote().unwrap(), counts.clone()))
            .unwrap();
        for _ in 0..4 {
            goes.recv().unwrap();
            // Reads its messages without running anybody.
            let main_loop = MainLoop::current().unwrap();
            main_loop.pump(Some(Duration::ZERO)).unwrap();
            counts.lock().unwrap().push(hardswitch::run_count());
        }
        tasklet.is_paused()
    });
    let (remote, counts) = rx.recv().unwrap();
    let ours = hardswitch::run_count();
    remote.insert().unwrap();
    go.send(()).unwrap();
    remote.insert().unwrap();
    go.send(()).unwrap();
    remote.remove().unwrap();
    go.send(()).unwrap();
    remote.remove().unwrap();
    go.send(()).unwrap();
    assert!(thread.join().unwrap());
    let counts = counts.lock().unwrap().clone();
    assert_eq!((counts[0], counts[4]), (1, 1));
    assert!(counts.iter().all(|count| (1..=2).contains(count)));
    assert_eq!(hardswitch::run_count(), ours);
}

/// Threads that use the library are listed while they do, in the order they came, and none is left
/// over.
#[test]
fn the_list_of_threads_is_that_of_the_living() {
    let me = hardswitch::thread_id();
    let mut threads = vec![];
    for _ in 0..5 {
        let (tx, rx) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            tx.send(hardswitch::thread_id()).unwrap();
            ended.recv().unwrap();
        });
        threads.push((rx.recv().unwrap(), end, thread));
    }
    let of_these = |ids: &[u64]| -> Vec<u64> {
        let all = hardswitch::thread::threads();
        all.into_iter().filter(|id| ids.contains(id)).collect()
    };
    let mut expected: Vec<u64> = threads.iter().map(|thread| thread.0).collect();
    expected.insert(0, me);
    assert_eq!(of_these(&expected), expected);
    let ids = expected.clone();
    for (id, end, thread) in threads {
        end.send(()).unwrap();
        allow_threads(|| thread.join()).unwrap();
        expected.retain(|other| *other != id);
        assert_eq!(of_these(&ids), expected);
        assert!(matches!(
            hardswitch::thread::info(id),
            Err(Error::State(StateError::ThreadNotFound))
        ));
    }
}

/// A value of the calling thread that is dropped after all of the library's: `last` gets it.
struct Last<T>(Option<T>, fn(T));

impl<T> Drop for Last<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            (self.1)(value);
        }
    }
}

/// Has a thread make something, and end; `last` is what the destructor of one of its thread-locals
/// does with it then.
fn at_the_very_end<T: 'static>(make: fn() -> T, last: fn(T)) {
    thread_local! {
        static LAST: RefCell<Option<Box<dyn std::any::Any>>> = const { RefCell::new(None) };
    }
    let thread = thread::spawn(move || {
        // Before the library's: so it goes after them.
        LAST.with(|_| ());
        let made = Last(Some(make()), last);
        LAST.with(|slot| *slot.borrow_mut() = Some(Box::new(made)));
    });
    thread.join().expect("a destructor failed");
}

/// A question that cannot be asked has no answer: the tasklet of the other thread is alive.
#[test]
fn who_has_ended_is_not_told_that_the_tasklets_of_others_are_dead() {
    static OTHER: Mutex<Option<Remote>> = Mutex::new(None);
    let (go, until) = mpsc::channel::<()>();
    let (tx, rx) = mpsc::channel();
    let other = thread::spawn(move || {
        tx.send(hardswitch::current().remote().unwrap()).unwrap();
        let _ = until.recv();
    });
    *OTHER.lock().unwrap() = Some(rx.recv().unwrap());
    at_the_very_end(
        || {
            drop(spawn(|| ()).unwrap());
            OTHER.lock().unwrap().take().unwrap()
        },
        |remote| assert!(no_thread(remote.is_alive())),
    );
    drop(go);
    other.join().unwrap();
}

#[test]
fn nobody_runs_a_tasklet_whose_thread_has_ended() {
    static RAN: AtomicUsize = AtomicUsize::new(0);
    fn counts() {
        RAN.fetch_add(1, SeqCst);
    }
    at_the_very_end(
        || {
            let bound = Tasklet::new().unwrap();
            bound.bind(counts).unwrap();
            bound
        },
        |bound| {
            assert!(no_thread(bound.setup()));
            bound.bind_paused(counts).unwrap();
            assert!(no_thread(bound.run()) && no_thread(bound.switch()));
            assert!(no_thread(bound.throw(Error::Timeout)));
            assert!(no_thread(bound.throw_pending(Error::Timeout)));
            assert!(no_thread(bound.raise(Error::Timeout)));
            assert!(matches!(
                bound.insert(),
                Err(Error::State(StateError::ThreadNotInitialized))
            ));
            for done in [bound.kill(), bound.kill_pending(), bound.remove()] {
                done.unwrap();
            }
            bound.unbind().unwrap();
            hardswitch::run().unwrap();
        },
    );
    assert_eq!(RAN.load(SeqCst), 0);
}

#[test]
fn one_that_refuses_to_end_is_given_up_with_its_thread() {
    static KILLED: AtomicUsize = AtomicUsize::new(0);
    /// Where its channel lies, which it keeps for ever: a leak detector does not look into its
    /// stack.
    static KEPT: AtomicUsize = AtomicUsize::new(0);
    at_the_very_end(
        || {
            let refuses = spawn(|| {
                let never = hardswitch::Channel::<u32>::new();
                KEPT.store(never.id(), SeqCst);
                while KILLED.load(SeqCst) < 15 {
                    never.receive().unwrap_err();
                    KILLED.fetch_add(1, SeqCst);
                }
            });
            hardswitch::run().unwrap();
            refuses.unwrap()
        },
        |refuses| {
            assert!(refuses.is_alive() && refuses.is_zombie() && !refuses.is_blocked());
            for _ in 0..10 {
                refuses.kill().unwrap();
            }
        },
    );
    assert_eq!(KILLED.load(SeqCst), 10);
}

#[test]
fn channels_of_a_thread_that_has_ended_refuse() {
    at_the_very_end(hardswitch::Channel::<u32>::new, |channel| {
        assert!(matches!(channel.send(1), Err(Error::Deadlock)));
        assert!(matches!(channel.receive(), Err(Error::Deadlock)));
        assert!(matches!(
            channel.try_send(1),
            Err((Error::WouldBlock, Some(1)))
        ));
        assert!(no_thread(channel.receive_timeout(MS(1))));
        assert_eq!(channel.balance(), 0);
    });
    at_the_very_end(hardswitch::QueueChannel::<u32>::unbounded, |queue| {
        queue.send(1).unwrap();
        assert_eq!(queue.receive().unwrap(), 1);
        assert!(matches!(queue.receive(), Err(Error::Deadlock)));
    });
}

#[test]
fn what_the_last_destructors_of_main_make_ends_too() {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    struct Makes;
    impl Drop for Makes {
        fn drop(&mut self) {
            for _ in 0..2 {
                spawn(|| {
                    let waited = hardswitch::Channel::<u32>::new().receive();
                    assert!(matches!(waited, Err(Error::Exit)));
                    ENDED.fetch_add(1, SeqCst);
                })
                .unwrap();
                hardswitch::run().unwrap();
            }
        }
    }
    hardswitch::local! {
        static OF_MAIN: Makes = Makes;
    }
    thread::spawn(|| OF_MAIN.with(|_| ())).join().unwrap();
    assert_eq!(ENDED.load(SeqCst), 2);
}

/// Ends `thread`, or fails.
fn join_in_time<T: Send + 'static>(what: &str, thread: thread::JoinHandle<T>) -> T {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || tx.send(thread.join()));
    let ended = rx.recv_timeout(Duration::from_secs(120));
    ended
        .unwrap_or_else(|_| panic!("{what}: the thread does not end"))
        .unwrap()
}

/// Waits that a thread's end must end, as tasklets that ignore their errors call them.
type Stubborn = fn(&Shared);
const STUBBORN: [(&str, Stubborn); 12] = [
    ("sleep", |_| drop(hardswitch::sleep(MS(1)))),
    ("sleep for ever", |_| drop(hardswitch::sleep(Duration::MAX))),
    ("sleep by a clock", |_| {
        drop(hardswitch::timer::Clock::wall().and_then(|clock| clock.sleep(MS(1))));
    }),
    ("accept", |_| {
        let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = hardswitch::net::TcpListener::bind(anywhere);
        drop(listener.and_then(|listener| listener.accept()));
    }),
    ("event", |shared| drop(shared.event.wait())),
    ("semaphore", |shared| {
        drop(shared.semaphore.acquire_timeout(MS(1)));
    }),
    ("worker", |_| {
        drop(hardswitch::offload::call(|| thread::sleep(MS(20))));
    }),
    ("channel between threads", |shared| {
        drop(shared.channel.receive_timeout(MS(1)));
    }),
    ("local channel", |_| {
        drop(hardswitch::Channel::<u32>::new().receive_timeout(MS(1)));
    }),
    ("pump", |_| {
        drop(MainLoop::current().and_then(|it| it.pump(None)));
    }),
    ("run of the loop", |_| {
        drop(MainLoop::current().and_then(|it| it.run_until_idle()));
    }),
    ("remote", |_| {
        drop(
            hardswitch::current()
                .remote()
                .and_then(|it| it.with(|_| ())),
        );
        drop(hardswitch::schedule());
    }),
];

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "valgrind"),
    ignore = "what a thread abandons is a leak"
)]
fn who_goes_on_waiting_is_given_up_after_ten_kills() {
    const MANY: usize = 1000;
    for (what, wait) in STUBBORN {
        for uses_the_loop in [false, true] {
            let shared = Arc::new(Shared {
                channel: Channel::new(),
                full: Channel::new(),
                event: sync::Event::new(),
                semaphore: sync::Semaphore::new(0),
                over: AtomicUsize::new(0),
                token: Arc::new(()),
            });
            let there = shared.clone();
            let thread = thread::spawn(move || {
                if uses_the_loop {
                    MainLoop::current().unwrap().tick().unwrap();
                }
                let stubborn = spawn(move || {
                    drop(hardswitch::schedule_remove());
                    while there.over.fetch_add(1, SeqCst) < MANY {
                        wait(&there);
                    }
                });
                std::mem::forget(stubborn.unwrap());
                hardswitch::schedule().unwrap();
            });
            join_in_time(what, thread);
            let times = shared.over.load(SeqCst);
            assert!(
                (1..=10).contains(&times),
                "{what}, {uses_the_loop}: {times} waits"
            );
        }
    }
}

/// What a refused wait of a sliced tasklet is known by lies in the heap: its stack is elsewhere
/// while others run in its window.
#[test]
#[cfg_attr(
    any(feature = "asan", feature = "valgrind"),
    ignore = "what a thread abandons is a leak"
)]
fn sliced_tasklets_that_wait_on_in_an_ending_thread_leave_their_window_whole() {
    const TASKLETS: usize = 5;
    /// Waits again and again, with the frame full of `mark`.
    #[inline(never)]
    fn waits_on(mark: u8, whole: &AtomicUsize, broken: &AtomicUsize) {
        let frame = std::hint::black_box([mark; 1500]);
        for _ in 0..20 {
            let _ = hardswitch::sleep(MS(1));
            let is_whole = std::hint::black_box(&frame)
                .iter()
                .all(|&byte| byte == mark);
            match is_whole {
                true => whole.fetch_add(1, SeqCst),
                false => broken.fetch_add(1, SeqCst),
            };
        }
    }
    /// Each at another depth, so that the frames of one do not lie where another's do.
    #[inline(never)]
    fn deeper(levels: u8, mark: u8, whole: &AtomicUsize, broken: &AtomicUsize) {
        let frame = std::hint::black_box([mark; 500]);
        match levels {
            0 => waits_on(mark, whole, broken),
            _ => deeper(levels - 1, mark, whole, broken),
        }
        std::hint::black_box(&frame);
    }
    let (whole, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (its, also) = (whole.clone(), broken.clone());
    let thread = thread::spawn(move || {
        let settings = hardswitch::Settings {
            windows: 1,
            ..hardswitch::Settings::desktop()
        };
        settings.apply().unwrap();
        for mark in 1..=TASKLETS as u8 {
            let (whole, broken) = (its.clone(), also.clone());
            let f = move || {
                drop(hardswitch::schedule_remove());
                deeper(mark, mark, &whole, &broken);
            };
            // SAFETY: Nobody else's stack: what these tasklets share lies in the heap.
            let tasklet = unsafe { Tasklet::builder().sliced() }.spawn(f);
            std::mem::forget(tasklet.unwrap());
        }
        hardswitch::schedule().unwrap();
    });
    join_in_time("one with sliced tasklets that wait on", thread);
    assert_eq!(broken.load(SeqCst), 0);
    assert!(whole.load(SeqCst) >= TASKLETS);
}

/// Descriptors that the process has.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What keeps a reference to the loop of its thread, or to a clock of it.
type Keeper = fn(Arc<()>);
const KEEPERS: [(&str, Keeper); 6] = [
    ("a timer that holds the loop", |token| {
        let main_loop = MainLoop::current().unwrap();
        let f = move || drop((main_loop, token));
        hardswitch::timer::call_later(Duration::from_secs(1000), f).unwrap();
    }),
    ("a timer that holds its clock", |token| {
        let clock = hardswitch::timer::SimClock::new();
        let (held, also) = (clock.clone(), token.clone());
        clock
            .call_later(MS(1000), move || drop((held, token)))
            .unwrap();
        let held = clock.clone();
        clock
            .repeat(MS(1000), move || drop((held.clone(), also.clone())))
            .unwrap();
    }),
    ("a timer that holds itself", |token| {
        let own: Rc<RefCell<Option<hardswitch::timer::Timer>>> = Rc::default();
        let held = own.clone();
        let f = move || drop((held.clone(), token.clone()));
        let timer = hardswitch::timer::repeat(Duration::from_secs(1000), f).unwrap();
        *own.borrow_mut() = Some(timer);
    }),
    ("a timer that makes another when it goes", |token| {
        struct Again(u32, Arc<()>);
        impl Drop for Again {
            fn drop(&mut self) {
                if self.0 > 0 {
                    let again = Again(self.0 - 1, self.1.clone());
                    let f = move || drop(again);
                    drop(hardswitch::timer::call_later(Duration::from_secs(1000), f));
                }
            }
        }
        let again = Again(100, token);
        hardswitch::timer::call_later(Duration::from_secs(1000), move || drop(again)).unwrap();
    }),
    ("an event that holds the loop", |token| {
        let remote = MainLoop::current().unwrap().remote();
        let held = remote.clone();
        remote.post(move || drop((held, token))).unwrap();
    }),
    ("a callback of an abandoned call", |token| {
        let main_loop = MainLoop::current().unwrap();
        let call = hardswitch::offload::Call::new(|| thread::sleep(MS(500)));
        let call = call
            .timeout(MS(1))
            .on_abandoned(move |_| drop((main_loop, token)));
        assert!(matches!(call.wait(), Err(Error::Timeout)));
    }),
];

#[test]
fn whatever_keeps_a_loop_its_end_refuses_posts_and_drops_what_waits() {
    for (what, keep) in KEEPERS {
        for leaves in [false, true] {
            let (token, given) = (Arc::new(()), Arc::new(()));
            let (kept, posted) = (token.clone(), given.clone());
            let (tx, rx) = mpsc::channel();
            let thread = thread::spawn(move || {
                keep(kept);
                let remote = MainLoop::current().unwrap().remote();
                remote.post(move || drop(posted)).unwrap();
                if leaves {
                    // SAFETY: a call without arguments, from main.
                    assert_eq!(unsafe { hsw_thread_exit() }, 0);
                }
                tx.send(remote.clone()).unwrap();
                if leaves {
                    assert!(remote.post(|| ()).is_err(), "its part is over");
                    // A new part has a loop of its own.
                    MainLoop::current().unwrap().tick().unwrap();
                    assert!(remote.post(|| ()).is_err());
                }
            });
            let remote = rx.recv().unwrap();
            join_in_time(what, thread);
            assert!(remote.post(|| ()).is_err(), "{what}");
            let left = || (Arc::strong_count(&token), Arc::strong_count(&given));
            common::eventually(&format!("{what}, {leaves}"), || left() == (1, 1));
        }
    }
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "valgrind"),
    ignore = "what a thread abandons is a leak"
)]
fn a_loop_that_somebody_keeps_gives_its_descriptor_back() {
    const THREADS: usize = 200;
    let before = descriptors();
    let mut remotes = vec![];
    for i in 0..THREADS {
        let thread = thread::spawn(move || {
            let main_loop = MainLoop::current().unwrap();
            if i % 2 == 0 {
                // A tasklet that will not end.
                let never = || -> Result<(), Error> {
                    loop {
                        drop(hardswitch::sleep(Duration::from_secs(1000)));
                    }
                };
                spawn(never).unwrap();
                hardswitch::schedule().unwrap();
            }
            main_loop.remote()
        });
        remotes.push(join_in_time("a zombie", thread));
    }
    let now = descriptors();
    assert!(now < before + THREADS / 4, "{before}, then {now}");
    for remote in remotes {
        assert!(remote.post(|| ()).is_err());
        remote.interrupt();
    }
}

extern "C" {
    fn hsw_thread_exit() -> i32;
    fn hsw_thread_id() -> u64;
}

#[test]
fn a_thread_that_leaves_is_gone_until_it_comes_again() {
    let lock = hardswitch::thread::HostLock::new(Default::default());
    let (mine, theirs) = (lock.clone(), lock);
    let (tx, rx) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        mine.join().unwrap();
        let id = hardswitch::thread_id();
        let loop_of_before = MainLoop::current().unwrap();
        hardswitch::timer::SimClock::current().unwrap().pause();
        // What goes with the part uses the library.
        struct Uses;
        impl Drop for Uses {
            fn drop(&mut self) {
                let _ = spawn(|| drop(hardswitch::sleep(MS(1))));
                let _ = hardswitch::run();
                let _ = MainLoop::current().map(|it| it.pump(None));
                let _ = hardswitch::sleep(MS(1));
                let _ = hardswitch::Channel::<u32>::new().receive();
                let _ = Channel::<u32>::new().receive();
            }
        }
        let uses = Uses;
        loop_of_before.remote().post(move || drop(uses)).unwrap();
        hardswitch::current().set_user_data(Some(Rc::new(Uses)));
        for _ in 0..2 {
            // SAFETY: a call without arguments, from main.
            assert_eq!(unsafe { hsw_thread_exit() }, 0);
        }
        assert!(mine.owner().is_none(), "the lock is given up");
        tx.send(id).unwrap();
        wait.recv().unwrap();
        // Its number stays its own.
        // SAFETY: a call without arguments.
        assert_eq!(unsafe { hsw_thread_id() }, id);
        // SAFETY: a call without arguments, from main.
        assert_eq!(unsafe { hsw_thread_exit() }, 0);
        // New settings can be had, and all is as on a new thread.
        hardswitch::Settings::default().apply().unwrap();
        assert!(!hardswitch::timer::SimClock::current().unwrap().is_paused());
        assert!(hardswitch::thread::threads().contains(&id));
        let done = Rc::new(std::cell::Cell::new(false));
        let told = done.clone();
        spawn(move || {
            hardswitch::sleep(MS(1))?;
            told.set(true);
            Ok::<(), Error>(())
        })
        .unwrap();
        MainLoop::current().unwrap().run_until_idle().unwrap();
        assert!(done.get());
        // A handle of the old loop serves nobody.
        assert!(loop_of_before.remote().post(|| ()).is_err());
    });
    let id = rx.recv().unwrap();
    assert!(!hardswitch::thread::threads().contains(&id));
    assert!(matches!(
        hardswitch::thread::info(id),
        Err(Error::State(StateError::ThreadNotFound))
    ));
    theirs.join().unwrap();
    theirs.leave();
    go.send(()).unwrap();
    join_in_time("one that came again", thread);
}

/// Counts that it is dropped, and panics then.
struct Bad(Arc<AtomicUsize>);

impl Drop for Bad {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        // Without a message on standard error.
        std::panic::resume_unwind(Box::new("a destructor's panic"));
    }
}

/// Leaves to the thread's end as much as there can be that panics when it is dropped. Returns how
/// many things that are.
fn leave_what_panics(dropped: &Arc<AtomicUsize>) -> usize {
    hardswitch::local! {
        static ONE: RefCell<Option<Bad>> = RefCell::new(None);
        static OTHER: RefCell<Option<Bad>> = RefCell::new(None);
    }
    const TASKLETS: usize = 15;
    let bad = || Bad(dropped.clone());
    for _ in 0..TASKLETS {
        // Its error is dropped by the code that kills it, and what is kept with it goes with its
        // last handle.
        let payload = bad();
        let dies = spawn(move || -> () {
            let _ = hardswitch::Channel::<u32>::new().receive();
            std::panic::resume_unwind(Box::new(payload))
        });
        dies.unwrap().set_user_data(Some(Rc::new(bad())));
    }
    hardswitch::run().unwrap();
    ONE.with(|one| one.replace(Some(bad())));
    OTHER.with(|other| other.replace(Some(bad())));
    let (schedule, channel, error) = (bad(), bad(), bad());
    hardswitch::set_schedule_callback(Some(Rc::new(move |_, _| {
        let _ = &schedule;
    })));
    hardswitch::set_channel_callback(Some(Rc::new(move |_, _, _, _| {
        let _ = &channel;
    })));
    hardswitch::set_error_handler(Some(Rc::new(move |told| {
        let _ = &error;
        Err(told.clone())
    })));
    let main = hardswitch::current();
    main.set_user_data(Some(Rc::new(bad())));
    main.set_tempval(hardswitch::Value::new(bad()));
    2 * TASKLETS + 7
}

/// What goes at the very end may leave something more, which panics as well.
#[test]
fn what_main_gets_from_the_last_destructors_may_panic_too() {
    struct Leaves(hardswitch::Tasklet, Arc<AtomicUsize>);
    impl Drop for Leaves {
        fn drop(&mut self) {
            let more = Bad(self.1.clone());
            self.0.set_user_data(Some(Rc::new(more)));
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = dropped.clone();
    let thread = thread::spawn(move || {
        let main = hardswitch::current();
        main.set_user_data(Some(Rc::new(Leaves(main.clone(), counted))));
        hardswitch::thread_id()
    });
    let id = join_in_time("one whose main gets more", thread);
    assert!(!hardswitch::thread::threads().contains(&id));
    assert_eq!(dropped.load(SeqCst), 1);
}

#[test]
fn destructors_that_panic_at_a_threads_end_keep_nothing_from_ending() {
    for by_hand in [false, true] {
        let dropped = Arc::new(AtomicUsize::new(0));
        let counted = dropped.clone();
        let thread = thread::spawn(move || {
            let (id, left) = (hardswitch::thread_id(), leave_what_panics(&counted));
            if by_hand {
                // SAFETY: a call without arguments, from main.
                assert_eq!(unsafe { hsw_thread_exit() }, 0);
                assert_eq!(counted.load(SeqCst), left);
                // All is over, so another part can begin.
                hardswitch::Settings::default().apply().unwrap();
            }
            (id, left)
        });
        let (id, left) = join_in_time("one full of what panics", thread);
        assert_eq!(dropped.load(SeqCst), left);
        assert!(!hardswitch::thread::threads().contains(&id));
    }
}

/// What main has in its slot goes when nobody runs any more: a tasklet that goes with it leaves no
/// room for a new one, which would never end.
#[test]
fn a_tasklet_that_goes_in_the_end_leaves_no_room_for_another() {
    struct Late(Option<Tasklet>, mpsc::Sender<(bool, usize)>);
    impl Drop for Late {
        fn drop(&mut self) {
            drop(self.0.take());
            let held = Arc::new(());
            let its = held.clone();
            let made = spawn(move || drop(its)).is_ok();
            let _ = self.1.send((made, Arc::strong_count(&held)));
        }
    }
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let other = Tasklet::new().unwrap();
        hardswitch::current().set_tempval(hardswitch::Value::new(Late(Some(other), tell)));
    });
    join_in_time("one with something in main's slot", thread);
    assert_eq!(told.recv(), Ok((false, 1)));
}

/// Nothing is made by what comes after the end, however often it tries.
#[test]
fn nothing_is_made_after_the_end() {
    let before = hardswitch::thread::threads().len() + 100;
    at_the_very_end(
        || drop(spawn(|| ()).unwrap()),
        |()| {
            assert!(matches!(
                spawn(|| ()).map(drop),
                Err(Error::State(StateError::ThreadEnding))
            ));
            assert!(Tasklet::new().is_err());
            assert!(hardswitch::Settings::default().apply().is_err());
            assert!(MainLoop::current().is_err());
            assert!(hardswitch::timer::Clock::wall().is_err());
            assert!(hardswitch::sleep(MS(1)).is_err());
            assert!(no_thread(Channel::<u32>::new().receive()));
            assert!(hardswitch::offload::call(|| ()).is_err());
            assert!(sync::Event::new().wait().is_err());
            assert!(!hardswitch::thread::threads().contains(&hardswitch::thread_id()));
        },
    );
    assert!(hardswitch::thread::threads().len() < before);
}

/// What is left when a part ends, and panics as it is dropped.
struct Fails(Arc<AtomicUsize>);

impl Drop for Fails {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        panic!("a destructor of what is left at the end");
    }
}

#[test]
fn whatever_panics_of_what_is_left_a_part_ends_and_another_begins() {
    const EACH: usize = 3;
    for leaves in [false, true] {
        let dropped = Arc::new(AtomicUsize::new(0));
        let fails = dropped.clone();
        let over = Arc::new(AtomicBool::new(false));
        let go = over.clone();
        let thread = thread::spawn(move || {
            let fails = || Fails(fails.clone());
            let clocks = [(); 2].map(|()| hardswitch::timer::SimClock::new());
            let remote = MainLoop::current().unwrap().remote();
            let backend = Failing(fails());
            drop(MainLoop::current().unwrap().set_backend(Box::new(backend)));
            // The calls are made first: who waits for one pumps.
            for _ in 0..EACH {
                let fail = fails();
                let until = go.clone();
                let call = hardswitch::offload::Call::new(move || {
                    while !until.load(SeqCst) {
                        thread::sleep(MS(1));
                    }
                });
                let call = call.timeout(Duration::ZERO);
                let call = call.on_abandoned(move |_| drop(fail));
                assert!(matches!(call.wait(), Err(Error::Timeout)));
            }
            for _ in 0..EACH {
                let fail = fails();
                remote.post(move || drop(fail)).unwrap();
                for clock in &clocks {
                    let fail = fails();
                    clock.call_later(MS(1000), move || drop(fail)).unwrap();
                }
            }
            if leaves {
                // SAFETY: a call without arguments, from main.
                assert_eq!(unsafe { hsw_thread_exit() }, 0);
                assert!(remote.post(|| ()).is_err(), "its part is over");
                // In the next part the clocks serve again.
                let rung = Rc::new(std::cell::Cell::new(0));
                for clock in &clocks {
                    let rings = rung.clone();
                    clock
                        .call_later(MS(1), move || rings.set(rings.get() + 1))
                        .unwrap();
                }
                MainLoop::current().unwrap().run_until_idle().unwrap();
                assert_eq!(rung.get(), 2);
            }
        });
        join_in_time("one that leaves what panics", thread);
        over.store(true, SeqCst);
        assert_eq!(dropped.load(SeqCst), 4 * EACH + 1);
    }
}

/// A backend of the system's that panics when it goes.
struct Failing(#[allow(dead_code)] Fails);

impl Backend for Failing {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        Os.poll(fds, timeout)
    }

    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        Os.select(sets, timeout)
    }

    fn now(&mut self) -> Duration {
        Os.now()
    }
}
