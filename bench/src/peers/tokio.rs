//! tokio on its current-thread runtime: stackless tasks, no preemption, everything on the
//! measuring thread.

use super::{Able, Timed};
use crate::cases::{Case, BURST};
use crate::herd::Herd;
use std::cell::Cell;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_blocking, yield_now, JoinHandle};

pub fn timed(case: Case) -> Timed {
    let runtime = runtime();
    Some(Ok(match case {
        Case::Yield => Able::new(move |operations| runtime.block_on(give_up(operations))),
        Case::Rendezvous | Case::RendezvousSliced => {
            Able::new(move |operations| runtime.block_on(round_trip(operations)))
                .noting("mpsc(1): a sender waits only if the place is taken")
        }
        Case::Spawn => Able::new(move |operations| runtime.block_on(spawn(operations, 1))),
        Case::Offload => Able::new(move |operations| runtime.block_on(offload(operations)))
            .noting("spawn_blocking; a task waits"),
        Case::SpawnBurst => Able::new(move |operations| runtime.block_on(spawn(operations, BURST))),
        _ => return None,
    }))
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .build()
        .expect("a runtime without I/O needs nothing")
}

async fn joined<T>(task: JoinHandle<T>) -> T {
    task.await.expect("the task does not panic")
}

// Both sides are spawned tasks: the future that block_on drives is polled by another, slower way.

async fn give_up(operations: u64) -> Duration {
    let turn = move || async move {
        for _ in 0..operations / 2 {
            yield_now().await;
        }
    };
    let start = Instant::now();
    let (one, other) = (tokio::spawn(turn()), tokio::spawn(turn()));
    joined(one).await;
    joined(other).await;
    start.elapsed()
}

async fn round_trip(operations: u64) -> Duration {
    let (ask, mut asked) = mpsc::channel::<u64>(1);
    let (answer, mut answered) = mpsc::channel::<u64>(1);
    tokio::spawn(async move {
        while let Some(question) = asked.recv().await {
            answer.send(question + 1).await.expect("somebody asked");
        }
    });
    let client = tokio::spawn(async move {
        let start = Instant::now();
        for question in 0..operations {
            ask.send(question).await.expect("the other side lives");
            assert_eq!(answered.recv().await, Some(question + 1));
        }
        start.elapsed()
    });
    joined(client).await
}

async fn spawn(operations: u64, burst: u64) -> Duration {
    let spawner = tokio::spawn(async move {
        let mut tasks = Vec::with_capacity(burst as usize);
        let mut finished = 0;
        let start = Instant::now();
        for _ in 0..operations / burst {
            for _ in 0..burst {
                tasks.push(tokio::spawn(async { 1 }));
            }
            for task in tasks.drain(..) {
                finished += joined(task).await;
            }
        }
        assert_eq!(finished, operations / burst * burst);
        start.elapsed()
    });
    joined(spawner).await
}

async fn offload(operations: u64) -> Duration {
    let caller = tokio::spawn(async move {
        let start = Instant::now();
        for number in 0..operations {
            assert_eq!(joined(spawn_blocking(move || number)).await, number);
        }
        start.elapsed()
    });
    joined(caller).await
}

/// Each task waits on a `oneshot` of its own, and holds nothing else. Of what tokio offers
/// for receiving a value this takes the least memory (docs/performance.md has the others).
struct Parked {
    runtime: Runtime,
    senders: Vec<oneshot::Sender<u64>>,
}

thread_local! {
    /// How many have begun to wait.
    static WAITING: Cell<u64> = const { Cell::new(0) };
    /// How many have been woken: also the message that the next one must get.
    static WOKEN: Cell<u64> = const { Cell::new(0) };
}

pub fn herd() -> Box<dyn Herd> {
    Box::new(Parked {
        runtime: runtime(),
        senders: Vec::new(),
    })
}

impl Parked {
    fn until(&self, reached: impl Fn() -> bool) {
        self.runtime.block_on(async {
            while !reached() {
                yield_now().await;
            }
        });
    }
}

impl Herd for Parked {
    fn park(&mut self, tasks: u64) {
        self.senders.reserve_exact(tasks as usize);
        for _ in 0..tasks {
            let (sender, receiver) = oneshot::channel();
            self.runtime.spawn(async {
                WAITING.set(WAITING.get() + 1);
                let message = receiver.await;
                assert_eq!(message, Ok(WOKEN.get()));
                WOKEN.set(WOKEN.get() + 1);
            });
            self.senders.push(sender);
        }
        self.until(|| WAITING.get() == tasks);
    }

    fn wake(&mut self) {
        let tasks = self.senders.len() as u64;
        for (message, sender) in self.senders.drain(..).enumerate() {
            sender.send(message as u64).expect("the receiver waits");
        }
        self.until(|| WOKEN.get() == tasks);
    }
}
