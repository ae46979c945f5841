//! tokio's sockets on its current-thread runtime: a task on each connection.

use crate::batch::processor_time;
use crate::cases::{Case, IDLE};
use crate::connections::{pairs, Holder};
use crate::offer::{Able, Timed};
use crate::offer::{Idler, Serve};
use std::future::Future;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

pub fn timed(case: Case) -> Timed {
    match case {
        Case::Echo { active, idle } => Some(echoing(active, idle)),
        Case::TickIdle(count) => Some(ticking(count)),
        _ => None,
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_io().build();
    runtime.expect("there are descriptors for it")
}

/// Within the runtime.
fn from_std(stream: std::net::TcpStream) -> TcpStream {
    let made = stream.set_nonblocking(true);
    let made = made.and_then(|()| TcpStream::from_std(stream));
    made.expect("a socket can be made non-blocking")
}

/// Answers what comes, until the peer ends. `ROOM`: the length of its buffer.
async fn answer<const ROOM: usize>(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; ROOM];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn ask(mut stream: TcpStream, rounds: u64) -> io::Result<TcpStream> {
    let (mut question, mut buffer) = ([0; 64], [0; 1024]);
    for round in 0..rounds {
        question[..8].copy_from_slice(&round.to_le_bytes());
        stream.write_all(&question).await?;
        let mut got = 0;
        while got < question.len() {
            match stream.read(&mut buffer[got..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => got += n,
            }
        }
        assert_eq!(buffer[..got], question);
    }
    Ok(stream)
}

/// Spawns the tasks, and lets them run until they wait.
fn serve<F>(runtime: &Runtime, tasks: impl Iterator<Item = F>)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    for task in tasks {
        drop(runtime.spawn(task));
    }
    runtime.block_on(turn());
}

/// All tasks that can run do, and the system is asked.
async fn turn() {
    yield_now().await;
    yield_now().await;
}

fn echoing(active: u64, idle: usize) -> Result<Able, String> {
    let pairs = pairs(active as usize)?;
    let (holder, idle) = Holder::connect(idle)?;
    let runtime = runtime();
    let entered = runtime.enter();
    let (clients, servers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let mut clients: Vec<_> = clients.into_iter().map(from_std).collect();
    let servers = servers.into_iter().chain(idle).map(from_std);
    let servers: Vec<_> = servers.map(answer::<1024>).collect();
    drop(entered);
    serve(&runtime, servers.into_iter());
    Ok(Able::new(move |operations| {
        runtime.block_on(async {
            let start = processor_time();
            let asking = clients
                .drain(..)
                .map(|client| tokio::spawn(ask(client, operations / active)));
            let asking: Vec<_> = asking.collect();
            for asked in asking {
                let client = asked.await.expect("the task does not panic");
                clients.push(client.expect("it is answered"));
            }
            processor_time() - start
        })
    })
    .keeping(holder))
}

fn ticking(count: usize) -> Result<Able, String> {
    let (holder, idle) = Holder::connect(count)?;
    let runtime = runtime();
    let entered = runtime.enter();
    let tasks: Vec<_> = idle
        .into_iter()
        .map(|stream| answer::<1024>(from_std(stream)))
        .collect();
    drop(entered);
    serve(&runtime, tasks.into_iter());
    Ok(Able::new(move |operations| {
        runtime.block_on(async {
            let start = processor_time();
            for _ in 0..operations {
                yield_now().await;
            }
            processor_time() - start
        })
    })
    .keeping(holder)
    .noting("yield_now in block_on, which asks the system each time"))
}

/// Tasks that wait to read, with 16 bytes of buffer each.
pub fn idler() -> Idler {
    Idler {
        implementation: "tokio",
        note: "",
        count: IDLE,
        hold,
    }
}

fn hold(streams: &mut Vec<std::net::TcpStream>) -> Serve {
    let runtime = runtime();
    for stream in streams.drain(..) {
        let entered = runtime.enter();
        let task = answer::<16>(from_std(stream));
        drop(entered);
        drop(runtime.spawn(task));
    }
    runtime.block_on(turn());
    Box::new(move |ask| {
        let asked = runtime.block_on(async { tokio::task::spawn_blocking(ask).await });
        asked.expect("the other thread does not panic");
    })
}
