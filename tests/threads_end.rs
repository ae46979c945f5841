//! The end of a thread, whatever its tasklets are doing and whoever refers to them: each ends once, nothing is left.

mod common;

use common::{deep, descend, Stacks, DEPTHS, LEVELS};
use hardswitch::thread::{allow_threads, Channel, Remote};
use hardswitch::{spawn, sync, Error, MainLoop, StateError, Tasklet};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
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

/// The matrix: what the tasklets do, whether they have started, whether others refer to them, how main ends, and on what stacks.
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

/// Twenty tasklets that are 200 frames deep when their thread ends: each frame is left once. Some kill another one on their way, or begin a new one.
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

/// A thread-local's destructor runs after the tasklets have ended, or before; it may use the library all the same.
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
            // Reads its mail without running anybody.
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

/// Threads that use the library are listed while they do, in the order they came, and none is left over.
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

/// Has a thread make something, and end; `last` is what the destructor of one of its thread-locals does with it then.
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
    /// Where its channel lies, which it keeps for ever: a leak detector does not look into its stack.
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
