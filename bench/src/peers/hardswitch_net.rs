//! hardswitch's sockets: a tasklet on each connection, all in one thread.

use super::stage::stage;
use crate::batch::{processor_time, Batch};
use crate::cases::{Case, IDLE, IDLE_POLLED};
use crate::connections::{pairs, Holder};
use crate::offer::{Able, Idler, Serve, Sink, Timed};
use crate::operations::{builder, Stack};
use hardswitch::main_loop::Poller;
use hardswitch::net::http::Client;
use hardswitch::net::TcpStream;
use hardswitch::{MainLoop, Result, Settings};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

/// How much of a frame the ticks of `hardswitch-60hz` may take.
const BUDGET: Duration = Duration::from_millis(8);

pub fn timed(case: Case, stack: Stack) -> Timed {
    match case {
        Case::Echo { active, idle } => Some(echoing(active, idle, stack)),
        Case::TickIdle(count) => Some(ticking(count, stack)),
        _ => None,
    }
}

/// Answers what comes, until the peer ends. `ROOM`: the length of its buffer.
fn answer<const ROOM: usize>(mut stream: TcpStream) -> Result<()> {
    let mut buffer = [0; ROOM];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

fn serve<const ROOM: usize>(streams: impl Iterator<Item = std::net::TcpStream>, stack: Stack) {
    for stream in streams {
        let stream = TcpStream::from_std(stream).expect("a socket can be made non-blocking");
        let spawned = builder(stack).spawn(move || answer::<ROOM>(stream));
        spawned.expect("there is memory");
    }
}

fn ask(mut stream: &TcpStream, rounds: u64) -> Result<()> {
    let (mut question, mut buffer) = ([0; 64], [0; 1024]);
    for round in 0..rounds {
        question[..8].copy_from_slice(&round.to_le_bytes());
        stream.write_all(&question)?;
        let mut got = 0;
        while got < question.len() {
            match stream.read(&mut buffer[got..])? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                n => got += n,
            }
        }
        assert_eq!(buffer[..got], question);
    }
    Ok(())
}

fn echoing(active: u64, idle: usize, stack: Stack) -> core::result::Result<Able, String> {
    let pairs = pairs(active as usize)?;
    let (holder, idle) = Holder::connect(idle)?;
    Ok(stage(Settings::desktop(), move || {
        let (clients, servers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        serve::<1024>(servers.into_iter().chain(idle), stack);
        let clients = clients.into_iter().map(TcpStream::from_std);
        let clients: Vec<_> = clients
            .map(|client| Rc::new(client.expect("a socket can be made non-blocking")))
            .collect();
        let main_loop = MainLoop::current().expect("there is a descriptor for it");
        let batch: Batch = Box::new(move |operations| {
            let left = Rc::new(Cell::new(active));
            let start = processor_time();
            for client in &clients {
                let (client, left, remote) = (client.clone(), left.clone(), main_loop.remote());
                let spawned = builder(stack).spawn(move || {
                    ask(&client, operations / active)?;
                    left.set(left.get() - 1);
                    if left.get() == 0 {
                        remote.stop();
                    }
                    Ok(())
                });
                spawned.expect("there is memory");
            }
            main_loop.run().expect("nobody fails");
            let took = processor_time() - start;
            assert_eq!(left.get(), 0);
            took
        });
        batch
    })
    .keeping(holder))
}

fn ticking(count: usize, stack: Stack) -> core::result::Result<Able, String> {
    let (holder, idle) = Holder::connect(count)?;
    Ok(stage(Settings::desktop(), move || {
        serve::<1024>(idle.into_iter(), stack);
        let main_loop = MainLoop::current().expect("there is a descriptor for it");
        let batch: Batch = Box::new(move |operations| {
            let start = processor_time();
            for _ in 0..operations {
                main_loop.tick().expect("nobody fails");
            }
            processor_time() - start
        });
        batch
    })
    .keeping(holder))
}

/// Sliced tasklets that wait to read, with 16 bytes of buffer each.
pub fn idlers() -> [Idler; 2] {
    let idler = |implementation, count, hold| Idler {
        implementation,
        note: "sliced",
        count,
        hold,
    };
    [
        idler("hardswitch", IDLE, |streams| hold(streams, Poller::Epoll)),
        idler("hardswitch-poll", IDLE_POLLED, |streams| {
            hold(streams, Poller::Poll)
        }),
    ]
}

fn hold(streams: &mut Vec<std::net::TcpStream>, poller: Poller) -> Serve {
    let main_loop = MainLoop::current().expect("there is a descriptor for it");
    main_loop.set_poller(poller);
    let count = streams.len();
    serve::<16>(streams.drain(..), Stack::Sliced);
    main_loop.tick().expect("nobody fails");
    // The poller gets to know them in the pump after that.
    main_loop.tick().expect("nobody fails");
    assert_eq!(main_loop.waiting().0, count, "they all wait");
    Box::new(move |ask| {
        let remote = main_loop.remote();
        let asking = thread::spawn(move || {
            ask();
            remote.stop();
        });
        main_loop.run().expect("nobody fails");
        assert_eq!(main_loop.poller(), poller);
        asking.join().expect("the other thread does not panic");
    })
}

/// A GET by the library's client in a tasklet.
fn get(url: String, sink: Sink, over: Rc<Cell<bool>>) -> Result<()> {
    let mut answer = Client::new().get(&url).send()?.success()?;
    sink.drain(&mut answer)?;
    over.set(true);
    Ok(())
}

/// The loop runs freely.
pub fn download(url: String, sink: Sink) -> io::Result<()> {
    let over = Rc::new(Cell::new(false));
    let done = over.clone();
    hardswitch::spawn(move || get(url, sink, done)).map_err(io::Error::other)?;
    let ran = MainLoop::current().and_then(|main_loop| main_loop.run_until_idle());
    ran.map_err(io::Error::other)?;
    assert!(over.get());
    Ok(())
}

/// As a game does: a tick in each of sixty frames a second, with a budget.
pub fn download_in_frames(url: String, sink: Sink) -> io::Result<()> {
    let over = Rc::new(Cell::new(false));
    let done = over.clone();
    hardswitch::spawn(move || get(url, sink, done)).map_err(io::Error::other)?;
    let main_loop = MainLoop::current().map_err(io::Error::other)?;
    let start = Instant::now();
    for frame in 1_u32.. {
        main_loop.tick_for(BUDGET).map_err(io::Error::other)?;
        if over.get() {
            break;
        }
        let next = start + Duration::from_secs(1) * frame / 60;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
