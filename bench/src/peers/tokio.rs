//! tokio on its current-thread runtime: stackless tasks, no preemption, everything on the
//! measuring thread. Where two threads meet: a runtime with two workers, or two such runtimes.

use crate::batch::{beside, elsewhere};
use crate::cases::{Case, BURST, MANY};
use crate::herd::Herd;
use crate::offer::{Able, Timed};
use std::cell::Cell;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_blocking, yield_now, JoinHandle};

pub fn timed(case: Case) -> Timed {
    if case == Case::ThreadRendezvous {
        return Some(Ok(two_workers()));
    }
    if let Some(offer) = super::tokio_net::timed(case) {
        return Some(offer);
    }
    let runtime = runtime();
    Some(Ok(match case {
        Case::Yield => Able::new(move |operations| runtime.block_on(give_up(operations))),
        Case::YieldMany => Able::new(move |operations| runtime.block_on(give_up_many(operations))),
        Case::Rendezvous | Case::RendezvousSliced => {
            Able::new(move |operations| runtime.block_on(round_trip(operations)))
                .noting("mpsc(1): a sender waits only if the place is taken")
        }
        Case::Spawn | Case::SpawnJoin => {
            Able::new(move |operations| runtime.block_on(spawn(operations, 1)))
        }
        Case::Offload(busy) => {
            Able::new(move |operations| beside(busy, || runtime.block_on(offload(operations))))
                .noting("spawn_blocking; a task waits")
        }
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

/// 1,000 tasks of four functions. The first takes the time of its turns, in which all others have as many.
async fn give_up_many(operations: u64) -> Duration {
    async fn some<const WORDS: usize>(turns: u64) {
        let mut state = [0_u64; WORDS];
        for turn in 0..turns {
            let at = turn as usize % WORDS;
            state[at] = state[at].wrapping_mul(WORDS as u64).wrapping_add(turn);
            yield_now().await;
            std::hint::black_box(&mut state);
        }
    }
    async fn turns<const WORDS: usize>(turns: u64) -> Duration {
        some::<WORDS>(2).await;
        let start = Instant::now();
        some::<WORDS>(turns).await;
        let took = start.elapsed();
        some::<WORDS>(2).await;
        took
    }
    let each = operations.div_ceil(MANY).max(200);
    let spawned = (0..MANY).map(|number| match number % 4 {
        0 => tokio::spawn(turns::<2>(each)),
        1 => tokio::spawn(turns::<3>(each)),
        2 => tokio::spawn(turns::<6>(each)),
        _ => tokio::spawn(turns::<10>(each)),
    });
    let tasks: Vec<_> = spawned.collect();
    let mut first = None;
    for task in tasks {
        let took = joined(task).await;
        first.get_or_insert(took);
    }
    let all = (each * MANY) as f64;
    first.unwrap_or_default().mul_f64(operations as f64 / all)
}

async fn round_trip(operations: u64) -> Duration {
    let (client, server) = both_sides(operations);
    tokio::spawn(server);
    joined(tokio::spawn(client)).await
}

/// Who asks, and who answers until nobody asks any more.
fn both_sides(
    operations: u64,
) -> (
    impl Future<Output = Duration> + Send,
    impl Future<Output = ()> + Send,
) {
    let (ask, mut asked) = mpsc::channel::<u64>(1);
    let (answer, mut answered) = mpsc::channel::<u64>(1);
    let client = async move {
        let start = Instant::now();
        for question in 0..operations {
            ask.send(question).await.expect("the other side lives");
            assert_eq!(answered.recv().await, Some(question + 1));
        }
        start.elapsed()
    };
    let server = async move {
        while let Some(question) = asked.recv().await {
            answer.send(question + 1).await.expect("somebody asked");
        }
    };
    (client, server)
}

/// Which thread answers is the runtime's choice; a probe counts how often it is another one.
fn two_workers() -> Able {
    const PROBE: u64 = 10_000;
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing");
    let crossed = runtime.block_on(crossings(PROBE)) * 100 / PROBE;
    Able::new(move |operations| runtime.block_on(round_trip(operations))).noting(format!(
        "2 workers, mpsc(1); {crossed} % of a probe's answers came from the other thread"
    ))
}

/// How many of so many answers came from another thread.
async fn crossings(operations: u64) -> u64 {
    let (ask, mut asked) = mpsc::channel::<()>(1);
    let (answer, mut answered) = mpsc::channel::<ThreadId>(1);
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            let me = thread::current().id();
            answer.send(me).await.expect("somebody asked");
        }
    });
    let client = tokio::spawn(async move {
        for _ in 0..operations {
            ask.send(()).await.expect("the other side lives");
            if answered.recv().await != Some(thread::current().id()) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    joined(client).await;
    count.load(Ordering::Relaxed)
}

/// Two threads with a runtime each, so that each answer does come from the other thread.
pub fn timed_apart(case: Case) -> Timed {
    (case == Case::ThreadRendezvous).then(|| {
        Ok(Able::new(|operations| {
            let (client, server) = both_sides(operations);
            let server = thread::spawn(|| {
                elsewhere(|| {
                    runtime().block_on(async { joined(tokio::spawn(server)).await });
                    Duration::ZERO
                })
            });
            let runtime = runtime();
            let took = runtime.block_on(async { joined(tokio::spawn(client)).await });
            server.join().expect("the server does not panic");
            took
        })
        .noting("two current-thread runtimes, mpsc(1)"))
    })
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
