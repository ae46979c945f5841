//! How fast a download over loopback is when the loop runs freely, and when a host ticks 60 times a
//! second: `cargo run --release --example ticks [MEBIBYTES [ROUNDS]]`.
//!
//! Prints the median time of each way, and how much longer than the free run it takes. The ways take
//! turns, so that all of them see the same machine.

use hardswitch::net::{TcpListener, TcpStream};
use hardswitch::{spawn, MainLoop, Result};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// How the loop is driven.
#[derive(Clone, Copy)]
enum Way {
    Free,
    /// `tick`: one burst a socket and frame.
    Tick,
    /// `tick_for` so many milliseconds of a frame of 16.7.
    TickFor(u64),
}

fn download(way: Way, bytes: usize) -> Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    let addr = listener.local_addr()?;
    let sender = std::thread::spawn(move || -> std::io::Result<()> {
        let mut stream = std::net::TcpStream::connect(addr)?;
        let chunk = vec![7; 1 << 20];
        for _ in 0..bytes >> 20 {
            stream.write_all(&chunk)?;
        }
        Ok(())
    });
    let (stream, _) = listener.accept()?;
    let start = Instant::now();
    let reader = spawn(move || receive(stream, bytes))?;
    let main_loop = MainLoop::current()?;
    match way {
        Way::Free => main_loop.run_until_idle()?,
        Way::Tick | Way::TickFor(_) => {
            let mut next = Instant::now();
            while reader.is_alive() {
                match way {
                    Way::TickFor(millis) => {
                        main_loop.tick_for(Duration::from_millis(millis))?;
                    }
                    _ => main_loop.tick()?,
                }
                next += FRAME;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        }
    }
    let took = start.elapsed();
    sender.join().expect("the sender does not panic")?;
    Ok(took)
}

fn receive(mut stream: TcpStream, bytes: usize) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            n => received += n,
        }
    }
    assert_eq!(received, bytes);
    Ok(())
}

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map(|word| match word.parse() {
        Ok(number) if number > 0 => number,
        _ => {
            eprintln!("ticks: {word:?} is no number above 0; usage: ticks [MEBIBYTES [ROUNDS]]");
            std::process::exit(2);
        }
    });
    let (mebibytes, rounds) = (numbers.next().unwrap_or(1024), numbers.next().unwrap_or(5));
    let ways = [
        ("run freely", Way::Free),
        ("tick_for(14 ms) at 60 Hz", Way::TickFor(14)),
        ("tick_for(8 ms) at 60 Hz", Way::TickFor(8)),
        ("tick_for(4 ms) at 60 Hz", Way::TickFor(4)),
        ("tick at 60 Hz", Way::Tick),
    ];
    let mut times = vec![vec![]; ways.len()];
    for _ in 0..rounds {
        for ((_, way), times) in ways.iter().zip(&mut times) {
            times.push(download(*way, mebibytes << 20)?);
        }
    }
    println!("{mebibytes} MiB, median of {rounds}");
    let mut free = None;
    for ((name, _), times) in ways.iter().zip(&mut times) {
        times.sort();
        let median = times[times.len() / 2];
        let free = *free.get_or_insert(median);
        println!(
            "{name:26} {:7.2} s  {:6.0} MiB/s  {:5.2} x",
            median.as_secs_f64(),
            mebibytes as f64 / median.as_secs_f64(),
            median.as_secs_f64() / free.as_secs_f64(),
        );
    }
    Ok(())
}
