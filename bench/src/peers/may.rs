//! may: Go's model in Rust, on the `generator` crate; here with one worker thread, as Go
//! has one processor. It has no rendezvous channel: `mpsc` is a queue, so its sender
//! never waits, and a round trip is two hand-overs, not four.

use crate::batch::elsewhere;
use crate::cases::{Case, BURST};
use crate::herd::Herd;
use crate::offer::{Able, Timed};
use may::coroutine::yield_now;
use may::sync::{mpmc, mpsc};
use may::{config, go};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub fn timed(case: Case) -> Timed {
    let batch: fn(u64) -> Duration = match case {
        Case::Yield => give_up,
        Case::Rendezvous | Case::RendezvousSliced => round_trip,
        Case::Spawn | Case::SpawnJoin => |operations| spawn(operations, 1),
        Case::SpawnBurst => |operations| spawn(operations, BURST),
        _ => return None,
    };
    config()
        .set_workers(1)
        .set_pool_capacity(2 * BURST as usize);
    let able = Able::new(move |operations| {
        go!(move || elsewhere(|| batch(operations)))
            .join()
            .expect("the batch does not panic")
    });
    Some(Ok(match case {
        Case::Rendezvous | Case::RendezvousSliced => {
            able.noting("channels are queues: the sender never waits")
        }
        _ => able,
    }))
}

fn give_up(operations: u64) -> Duration {
    let start = Instant::now();
    let other = go!(move || (0..operations / 2).for_each(|_| yield_now()));
    (0..operations / 2).for_each(|_| yield_now());
    let took = start.elapsed();
    other.join().expect("it only yields");
    took
}

fn round_trip(operations: u64) -> Duration {
    let (ask, asked) = mpsc::channel::<u64>();
    let (answer, answered) = mpsc::channel::<u64>();
    go!(move || {
        for question in asked.iter() {
            answer.send(question + 1).expect("somebody asked");
        }
    });
    let start = Instant::now();
    for question in 0..operations {
        ask.send(question).expect("the other side lives");
        assert_eq!(answered.recv(), Ok(question + 1));
    }
    start.elapsed()
}

/// The spawner waits by joining: one that only yields keeps the single worker to itself,
/// and what it spawned never runs.
fn spawn(operations: u64, burst: u64) -> Duration {
    let mut tasks = Vec::with_capacity(burst as usize);
    let mut finished = 0;
    let start = Instant::now();
    for _ in 0..operations / burst {
        for _ in 0..burst {
            tasks.push(go!(|| 1));
        }
        for task in tasks.drain(..) {
            finished += task.join().unwrap_or(0);
        }
    }
    let took = start.elapsed();
    assert_eq!(finished, operations / burst * burst);
    took
}

struct Parked {
    sender: mpmc::Sender<u64>,
    receiver: mpmc::Receiver<u64>,
    passed: Arc<AtomicU64>,
    tasks: u64,
}

pub fn herd() -> Box<dyn Herd> {
    config().set_workers(1).set_stack_size(1024);
    let (sender, receiver) = mpmc::channel();
    Box::new(Parked {
        sender,
        receiver,
        passed: Arc::default(),
        tasks: 0,
    })
}

impl Parked {
    fn until(&self, passed: u64) {
        while self.passed.load(Ordering::Acquire) < passed {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Herd for Parked {
    fn park(&mut self, tasks: u64) {
        self.tasks = tasks;
        for _ in 0..tasks {
            let (receiver, passed) = (self.receiver.clone(), self.passed.clone());
            go!(move || {
                passed.fetch_add(1, Ordering::Release);
                let message = receiver.recv();
                assert!(message.is_ok());
                passed.fetch_add(1, Ordering::Release);
            });
        }
        self.until(tasks);
        // The last ones have said that they will receive; give them the time to do it.
        std::thread::sleep(Duration::from_millis(50));
    }

    fn wake(&mut self) {
        // From a coroutine: a sender outside would have to wake the worker thread again and again.
        let (sender, tasks) = (self.sender.clone(), self.tasks);
        go!(move || (0..tasks).for_each(|message| sender.send(message).expect("receivers wait")));
        self.until(2 * self.tasks);
    }
}
