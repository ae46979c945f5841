//! Tasklets that have not started can be given another thread, also when their own is gone.

use hardswitch::thread::{Channel, Remote};
use hardswitch::{spawn, Error, MainLoop, Settings, StateError, Tasklet};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread;

fn is(result: hardswitch::Result<impl Sized>, expected: StateError) -> bool {
    matches!(result, Err(Error::State(got)) if got == expected)
}

/// A thread with a main loop that runs until it is stopped.
struct Server {
    id: u64,
    stop: hardswitch::main_loop::Remote,
    thread: thread::JoinHandle<()>,
}

impl Server {
    fn start() -> Server {
        Server::with(|| ()).1
    }

    /// ... and what `f` makes there.
    fn with<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> (R, Server) {
        let (tx, rx) = mpsc::channel();
        let thread = thread::spawn(move || {
            let main_loop = MainLoop::current().unwrap();
            tx.send((hardswitch::thread_id(), main_loop.remote(), f()))
                .unwrap();
            main_loop.run().unwrap();
        });
        let (id, stop, made) = rx.recv().unwrap();
        (made, Server { id, stop, thread })
    }

    fn end(self) {
        self.stop.stop();
        self.thread.join().unwrap();
    }
}

/// What `f` makes on a thread that has ended.
fn on_a_dead_thread<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    thread::spawn(f).join().unwrap()
}

/// Tells on which thread it runs.
fn teller() -> (
    impl FnOnce() + Send + 'static,
    mpsc::Receiver<u64>,
    Arc<AtomicUsize>,
) {
    let (tx, rx) = mpsc::channel();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let tell = move || {
        count.fetch_add(1, SeqCst);
        tx.send(hardswitch::thread_id()).unwrap();
    };
    (tell, rx, runs)
}

#[test]
fn a_bound_tasklet_moves_and_runs_there() {
    let there = Server::start();
    let (tell, told, runs) = teller();
    let tasklet = Tasklet::builder().name("wanderer").build().unwrap();
    tasklet.bind_send(tell).unwrap();
    tasklet.set_block_trap(true);
    let remote = tasklet.bind_thread(there.id).unwrap();
    assert_eq!(remote.thread(), Some(there.id));
    // What is left here is empty.
    assert!(!tasklet.is_alive());
    assert!(is(tasklet.setup(), StateError::NotBound));
    assert!(remote.tasklet().is_none());
    let (id, name, trapped) = remote
        .with(|t| (t.thread_id(), t.name(), t.block_trap()))
        .unwrap();
    assert_eq!((id, name.as_deref()), (there.id, Some("wanderer")));
    assert!(trapped && !remote.is_alive().unwrap());
    remote.setup().unwrap();
    assert_eq!(told.recv().unwrap(), there.id);
    assert_eq!(runs.load(SeqCst), 1);
    there.end();
}

#[test]
fn a_paused_one_stays_paused() {
    let there = Server::start();
    let (tell, told, _) = teller();
    let remote = Tasklet::new().unwrap().remote().unwrap();
    remote.bind_paused(tell).unwrap();
    assert!(remote.is_alive().unwrap());
    remote.bind_thread(there.id).unwrap();
    assert!(remote.is_alive().unwrap());
    remote.insert().unwrap();
    assert_eq!(told.recv().unwrap(), there.id);
    there.end();
}

#[test]
fn all_references_follow_and_it_can_move_on() {
    let (a, b) = (Server::start(), Server::start());
    let (tell, told, _) = teller();
    let tasklet = Tasklet::new().unwrap();
    tasklet.bind_send(tell).unwrap();
    let (one, other) = (tasklet.remote().unwrap(), tasklet.remote().unwrap());
    assert_eq!(one, other);
    one.bind_thread(a.id).unwrap();
    assert_eq!(other.thread(), Some(a.id));
    // Asked by a third thread: neither the old nor the new one.
    other.bind_thread(b.id).unwrap();
    assert_eq!((one.thread(), one == other), (Some(b.id), true));
    one.bind_thread(hardswitch::thread_id()).unwrap();
    let home = one.tasklet().unwrap();
    assert_ne!(home, tasklet);
    home.setup().unwrap();
    hardswitch::run().unwrap();
    assert_eq!(told.recv().unwrap(), hardswitch::thread_id());
    // A reference that is made now is to the empty one.
    assert_ne!(tasklet.remote().unwrap(), one);
    a.end();
    b.end();
}

#[test]
fn to_its_own_thread_it_need_not_move() {
    let me = hardswitch::thread_id();
    // Whatever its state (Stackless: `bind_thread` to the current thread).
    let tasklet = spawn(|| ()).unwrap();
    let remote = tasklet.bind_thread(me).unwrap();
    assert_eq!(remote.tasklet(), Some(tasklet.clone()));
    hardswitch::current().bind_thread(me).unwrap();
    hardswitch::run().unwrap();
    tasklet.bind_thread(me).unwrap();
}

#[test]
fn a_thread_that_is_not_there_is_refused() {
    let dead = on_a_dead_thread(hardswitch::thread_id);
    let tasklet = Tasklet::new().unwrap();
    tasklet.bind_send(|| ()).unwrap();
    for thread in [0, dead, u64::MAX, u64::MAX - 1] {
        assert!(is(tasklet.bind_thread(thread), StateError::ThreadNotFound));
    }
    tasklet.setup().unwrap();
    hardswitch::run().unwrap();
}

#[test]
fn who_is_runnable_or_has_started_or_cannot_be_sent_stays() {
    let there = Server::start();
    let refused = |t: &Tasklet, expected| {
        let before = (t.is_alive(), t.is_scheduled(), t.is_blocked());
        assert!(is(t.bind_thread(there.id), expected), "{t:?}");
        assert_eq!((t.is_alive(), t.is_scheduled(), t.is_blocked()), before);
        assert_eq!(t.thread_id(), hardswitch::thread_id());
    };
    refused(&hardswitch::main_tasklet(), StateError::BindRunnable);
    let queued = Tasklet::new().unwrap();
    queued.bind_send(|| ()).unwrap();
    queued.setup().unwrap();
    refused(&queued, StateError::BindRunnable);
    // Also from elsewhere.
    let remote = queued.remote().unwrap();
    let (asked, id) = (remote.clone(), there.id);
    let asker = thread::spawn(move || is(asked.bind_thread(id), StateError::BindRunnable));
    while !asker.is_finished() {
        hardswitch::main_loop::MainLoop::current()
            .unwrap()
            .pump(Some(std::time::Duration::ZERO))
            .unwrap();
    }
    assert!(asker.join().unwrap());
    hardswitch::run().unwrap();

    let started = spawn(hardswitch::schedule_remove).unwrap();
    hardswitch::run().unwrap();
    assert!(started.is_paused());
    refused(&started, StateError::StackInUse);
    let channel = hardswitch::Channel::<u32>::new();
    let blocks = channel.clone();
    let blocked = spawn(move || blocks.receive().map(drop)).unwrap();
    hardswitch::run().unwrap();
    refused(&blocked, StateError::BindRunnable);

    let tied = Rc::new(Cell::new(0));
    let inside = tied.clone();
    let stays = Tasklet::new().unwrap();
    stays.bind(move || inside.set(1)).unwrap();
    refused(&stays, StateError::NotSend);
    stays.bind_send(|| ()).unwrap();
    let inside = tied.clone();
    stays.bind(move || inside.set(2)).unwrap();
    refused(&stays, StateError::NotSend);
    stays.setup().unwrap();
    hardswitch::run().unwrap();
    assert_eq!(tied.get(), 2);
    // It has ended, and nothing holds it here.
    stays.bind_thread(there.id).unwrap();
    started.kill().unwrap();
    blocked.kill().unwrap();
    there.end();
}

#[test]
fn one_without_a_function_moves_and_is_bound_there() {
    let there = Server::start();
    let (tell, told, _) = teller();
    let remote = Tasklet::new().unwrap().bind_thread(there.id).unwrap();
    remote.bind(tell).unwrap();
    assert!(is(
        remote.with(|t| t.insert()).unwrap(),
        StateError::RunDead
    ));
    remote.setup().unwrap();
    assert_eq!(told.recv().unwrap(), there.id);
    there.end();
}

#[test]
fn binding_from_elsewhere_is_refused_as_it_is_at_home() {
    let (remote, there) = Server::with(|| {
        let channel = hardswitch::Channel::<u32>::new();
        let tasklet = spawn(move || channel.receive().map(drop)).unwrap();
        hardswitch::run().unwrap();
        tasklet.remote().unwrap()
    });
    let token = Arc::new(());
    let held = token.clone();
    assert!(is(remote.bind(move || drop(held)), StateError::Scheduled));
    assert_eq!(Arc::strong_count(&token), 1);
    assert!(is(remote.bind_paused(|| ()), StateError::Scheduled));
    assert!(is(remote.unbind(), StateError::Scheduled));
    remote.kill().unwrap();
    while remote.is_alive().unwrap() {}
    // What was bound last is what runs, and what it replaced is dropped unrun.
    let held = token.clone();
    remote
        .bind::<_, ()>(move || panic!("must not run: {held:?}"))
        .unwrap();
    let (tell, told, _) = teller();
    remote.bind(tell).unwrap();
    assert_eq!(Arc::strong_count(&token), 1);
    remote.setup().unwrap();
    assert_eq!(told.recv().unwrap(), there.id);
    remote.bind(|| ()).unwrap();
    remote.unbind().unwrap();
    assert!(is(
        remote.with(|t| t.setup()).unwrap(),
        StateError::NotBound
    ));
    there.end();
}

#[test]
fn a_tasklet_made_by_one_thread_is_set_up_by_another() {
    let (tell, told, _) = teller();
    let (remote, there) = Server::with(move || {
        let tasklet = Tasklet::new().unwrap();
        tasklet.bind_send(tell).unwrap();
        tasklet.remote().unwrap()
    });
    let other = remote.clone();
    thread::spawn(move || other.setup().unwrap())
        .join()
        .unwrap();
    assert_eq!(told.recv().unwrap(), there.id);
    there.end();
}

#[test]
fn a_switch_to_another_thread_is_refused() {
    let (remote, there) = Server::with(|| {
        let tasklet = Tasklet::new().unwrap();
        tasklet.bind_paused(|| ()).unwrap();
        tasklet.remote().unwrap()
    });
    assert!(is(remote.switch(), StateError::OtherThread));
    assert_eq!(
        StateError::OtherThread.message(),
        "can't switch to a different thread."
    );
    assert!(remote.is_alive().unwrap());
    there.end();
    assert!(is(remote.switch(), StateError::NoThread));
    // At home it switches.
    let ran = Rc::new(Cell::new(false));
    let runs = ran.clone();
    let main = hardswitch::current();
    let tasklet = spawn(move || {
        runs.set(true);
        main.insert()
    })
    .unwrap();
    tasklet.remote().unwrap().switch().unwrap();
    assert!(ran.get());
}

#[test]
fn unstarted_tasklets_of_a_dead_thread_are_adopted_in_the_state_they_had() {
    for state in ["bound", "paused", "queued"] {
        let (tell, told, runs) = teller();
        let ours = state;
        let remote = on_a_dead_thread(move || {
            let tasklet = Tasklet::builder().name(ours).build().unwrap();
            tasklet.bind_send(tell).unwrap();
            let remote = tasklet.remote().unwrap();
            match ours {
                "bound" => {}
                "paused" => {
                    tasklet.setup().unwrap();
                    tasklet.remove().unwrap();
                }
                _ => tasklet.setup().unwrap(),
            }
            remote
        });
        // Without a thread it is not alive.
        assert_eq!((remote.thread(), remote.is_alive().unwrap()), (None, false));
        assert!(remote.tasklet().is_none());
        remote.bind_thread(hardswitch::thread_id()).unwrap();
        let tasklet = remote.tasklet().unwrap();
        assert_eq!(tasklet.name().as_deref(), Some(state));
        assert!(!tasklet.is_scheduled());
        if state == "bound" {
            assert!(!tasklet.is_alive());
            tasklet.setup().unwrap();
        } else {
            assert!(tasklet.is_paused());
            tasklet.insert().unwrap();
        }
        hardswitch::run().unwrap();
        assert_eq!(told.try_recv(), Ok(hardswitch::thread_id()), "{state}");
        assert_eq!(runs.load(SeqCst), 1);
    }
}

#[test]
fn the_methods_of_one_without_a_thread() {
    let token = Arc::new(());
    let held = token.clone();
    let dead = on_a_dead_thread(move || {
        let tasklet = Tasklet::new().unwrap();
        tasklet
            .bind_send::<_, ()>(move || panic!("must not run: {held:?}"))
            .unwrap();
        tasklet.remote().unwrap()
    });
    assert!(is(dead.insert(), StateError::ThreadNotInitialized));
    for refused in [
        dead.run(),
        dead.setup(),
        dead.switch(),
        dead.throw(Error::thrown(1)),
        dead.throw_pending(Error::thrown(1)),
        dead.bind_paused(|| ()),
        dead.with(|_| ()),
    ] {
        assert!(is(refused, StateError::NoThread));
    }
    // Nothing to do; it does not lose its function.
    dead.kill().unwrap();
    dead.remove().unwrap();
    assert_eq!(Arc::strong_count(&token), 2);
    let (tell, told, _) = teller();
    dead.bind(tell).unwrap();
    assert_eq!(Arc::strong_count(&token), 1);
    dead.bind_thread(hardswitch::thread_id()).unwrap();
    dead.tasklet().unwrap().setup().unwrap();
    hardswitch::run().unwrap();
    told.recv().unwrap();

    let dead = on_a_dead_thread(|| Tasklet::new().unwrap().remote().unwrap());
    dead.bind(|| ()).unwrap();
    dead.unbind().unwrap();
    dead.bind_thread(hardswitch::thread_id()).unwrap();
    assert!(is(dead.tasklet().unwrap().setup(), StateError::NotBound));
    dead.bind_thread(hardswitch::thread_id()).unwrap();
}

#[test]
fn what_started_ends_with_its_thread_and_can_be_bound_anew() {
    let (started, tied, main) = on_a_dead_thread(|| {
        let started = spawn(hardswitch::schedule_remove).unwrap();
        hardswitch::run().unwrap();
        let tied = Tasklet::new().unwrap();
        let rc = Rc::new(());
        tied.bind(move || drop(rc)).unwrap();
        (
            started.remote().unwrap(),
            tied.remote().unwrap(),
            hardswitch::current().remote().unwrap(),
        )
    });
    for remote in [started, tied] {
        remote.bind_thread(hardswitch::thread_id()).unwrap();
        let tasklet = remote.tasklet().unwrap();
        assert!(is(tasklet.setup(), StateError::NotBound));
        let (tell, told, _) = teller();
        tasklet.bind(tell).unwrap();
        tasklet.setup().unwrap();
        hardswitch::run().unwrap();
        told.recv().unwrap();
    }
    // A main has the stack of its thread, which is gone.
    assert!(is(
        main.bind_thread(hardswitch::thread_id()),
        StateError::StackInUse
    ));
    assert!(is(main.bind(|| ()), StateError::StackInUse));
    assert!(is(main.unbind(), StateError::StackInUse));
}

#[test]
fn one_that_refuses_to_end_has_its_stack_in_use() {
    let zombie = on_a_dead_thread(|| {
        let zombie = spawn::<_, ()>(|| loop {
            let _ = hardswitch::schedule_remove();
        })
        .unwrap();
        hardswitch::run().unwrap();
        zombie.remote().unwrap()
    });
    assert_eq!((zombie.thread(), zombie.is_alive().unwrap()), (None, false));
    let me = hardswitch::thread_id();
    assert!(is(zombie.bind_thread(me), StateError::StackInUse));
    assert!(is(zombie.unbind(), StateError::StackInUse));
    assert!(is(zombie.bind(|| ()), StateError::StackInUse));
}

#[test]
fn a_thread_without_room_leaves_it_whole() {
    let (tell, told, _) = teller();
    let (tx, rx) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let poor = thread::spawn(move || {
        let ceiling = Settings {
            memory_ceiling: 64 * 1024,
            ..Settings::console()
        };
        ceiling.apply().unwrap();
        tx.send(hardswitch::thread_id()).unwrap();
        while stopped.try_recv().is_err() {
            let main_loop = MainLoop::current().unwrap();
            main_loop
                .pump(Some(std::time::Duration::from_millis(1)))
                .unwrap();
        }
    });
    let tasklet = Tasklet::builder().stack_size(1 << 20).build().unwrap();
    tasklet.bind_send(tell).unwrap();
    let remote = tasklet.remote().unwrap();
    assert!(matches!(
        remote.bind_thread(rx.recv().unwrap()),
        Err(Error::MemoryCeiling(_))
    ));
    assert_eq!(remote.thread(), None);
    remote.bind_thread(hardswitch::thread_id()).unwrap();
    remote.setup().unwrap();
    hardswitch::run().unwrap();
    told.recv().unwrap();
    stop.send(()).unwrap();
    poor.join().unwrap();
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "valgrind"),
    ignore = "a forgotten handle is a leak"
)]
fn what_nobody_adopts_is_dropped_unrun_with_the_last_reference() {
    let token = Arc::new(());
    let held = token.clone();
    let make = move || -> Vec<Remote> {
        (0..10)
            .map(|i| {
                let held = held.clone();
                let tasklet = Tasklet::new().unwrap();
                tasklet
                    .bind_send::<_, ()>(move || panic!("must not run: {held:?}"))
                    .unwrap();
                if i % 2 == 0 {
                    tasklet.setup().unwrap();
                }
                tasklet.remote().unwrap()
            })
            .collect()
    };
    let orphans = on_a_dead_thread(make);
    assert_eq!(Arc::strong_count(&token), 11);
    let copies = orphans.clone();
    drop(orphans);
    assert_eq!(Arc::strong_count(&token), 11);
    drop(copies);
    assert_eq!(Arc::strong_count(&token), 1);
    // Without a reference from elsewhere, it goes with its thread.
    let held = token.clone();
    on_a_dead_thread(move || {
        let tasklet = Tasklet::new().unwrap();
        tasklet.bind_send(move || drop(held)).unwrap();
        drop(tasklet.remote().unwrap());
        std::mem::forget(tasklet);
    });
    assert_eq!(Arc::strong_count(&token), 2, "a forgotten handle keeps it");
}

/// Started, ended, moved and orphaned at the same time: each function runs once or is dropped once.
#[test]
fn tasklets_wander_while_threads_come_and_go() {
    const ROUNDS: usize = if cfg!(target_arch = "x86_64") {
        100
    } else {
        15
    };
    let moved = |result: hardswitch::Result<()>| match result {
        Ok(()) => true,
        Err(Error::State(
            StateError::NoThread | StateError::StackInUse | StateError::BindRunnable,
        )) => false,
        Err(error) => panic!("{error}"),
    };
    let ran = Arc::new(AtomicUsize::new(0));
    let token = Arc::new(());
    let host = Server::start();
    let mut rest: Vec<Remote> = vec![];
    for round in 0..ROUNDS {
        let (count, held, id) = (ran.clone(), token.clone(), host.id);
        // Who waits at this one answers what others ask it.
        let channel = Channel::new();
        let tx = channel.clone();
        let thread = thread::spawn(move || {
            for i in 0..4 {
                let (count, held) = (count.clone(), held.clone());
                let tasklet = Tasklet::new().unwrap();
                tasklet
                    .bind_send(move || {
                        drop(held);
                        count.fetch_add(1, SeqCst);
                    })
                    .unwrap();
                let remote = tasklet.remote().unwrap();
                tx.send(Some(remote.clone())).unwrap();
                // Asked by the receiver at the same time, so either may be too late.
                if i % 2 == 0 {
                    moved(remote.bind_thread(id));
                }
            }
            tx.send(None).unwrap();
        });
        while let Some(remote) = channel.receive().unwrap() {
            if moved(remote.bind_thread(hardswitch::thread_id())) {
                remote.setup().unwrap();
            }
            rest.push(remote);
        }
        thread.join().unwrap();
        hardswitch::run().unwrap();
        assert!(ran.load(SeqCst) <= 4 * (round + 1));
    }
    // Whoever has not run yet is bound somewhere, or nowhere; now it runs here.
    for remote in &rest {
        if remote.thread() != Some(hardswitch::thread_id()) {
            match remote.bind_thread(hardswitch::thread_id()) {
                Ok(()) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let _ = remote.tasklet().unwrap().setup();
    }
    hardswitch::run().unwrap();
    assert_eq!(ran.load(SeqCst), 4 * ROUNDS);
    drop(rest);
    host.end();
    assert_eq!(Arc::strong_count(&token), 1);
}
