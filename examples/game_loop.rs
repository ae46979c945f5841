//! A game's frame: tasklets get a budget, and what a tasklet did not catch does not end the game.
//! `cargo run --example game_loop`.
//!
//! It prints:
//!
//! ```text
//! a script has failed: the bridge is gone
//! the map is loaded
//! the guard has walked 3 rounds
//! ```

use hardswitch::{offload, sleep, spawn, Error, MainLoop, Result, Tasklet};
use std::time::{Duration, Instant};

const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);

fn guard() -> Result<()> {
    for _ in 0..3 {
        sleep(FRAME * 6)?; // this tasklet waits; the thread goes on
    }
    println!("the guard has walked 3 rounds");
    Ok(())
}

fn load() -> Result<()> {
    // What blocks a thread runs on a worker, and again only this tasklet waits.
    let map = offload::call(|| {
        std::thread::sleep(Duration::from_millis(50));
        String::from("the map")
    })?;
    println!("{map} is loaded");
    Ok(())
}

fn main() -> Result<()> {
    let guard = spawn(guard)?;
    spawn(load)?;
    let script = || -> Result<()> { Err(Error::thrown("the bridge is gone")) };
    Tasklet::builder().name("script").spawn(script)?;

    let main_loop = MainLoop::current()?;
    let mut next_frame = Instant::now();
    while guard.is_alive() {
        // The game draws here; then tasklets have what is left of the frame, 8 ms at most.
        if let Err(error) = main_loop.tick_for(Duration::from_millis(8)) {
            println!("a script has failed: {error}");
        }
        next_frame += FRAME;
        std::thread::sleep(next_frame.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
