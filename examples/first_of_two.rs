//! Waits for whichever comes first, and for no longer than a limit: `cargo run --example first_of_two`.
//!
//! It prints:
//!
//! ```text
//! cook: the soup is ready
//! nobody came within 20 ms
//! the door is closed
//! ```

use hardswitch::{sleep, spawn, time, Channel, Error, MainLoop, Result, Select};
use std::time::Duration;

fn main() -> Result<()> {
    let (cook, guest) = (Channel::new(), Channel::<&str>::new());
    let (kitchen, door) = (cook.clone(), guest.clone());
    spawn(move || {
        sleep(Duration::from_millis(5))?;
        kitchen.send("the soup is ready")
    })?;
    spawn(move || {
        let mut either = Select::new();
        let from_cook = either.receive(&cook);
        let from_guest = either.receive(&guest);
        let mut chosen = either.wait()?;
        if let Some(word) = chosen.received(from_cook) {
            println!("cook: {}", word?);
        } else if let Some(word) = chosen.received(from_guest) {
            println!("guest: {}", word?);
        }

        // The limit holds for all that waits in between, library calls included.
        match time::timeout(Duration::from_millis(20), || guest.receive()) {
            Ok(word) => println!("guest: {word}"),
            Err(Error::Timeout) => println!("nobody came within 20 ms"),
            Err(other) => return Err(other),
        }
        guest.close();
        Ok(())
    })?;
    // `run` would return while a tasklet sleeps: a program whose tasklets wait for time, for
    // sockets or for workers is driven by its loop.
    MainLoop::current()?.run_until_idle()?;
    match door.send("too late") {
        Err(Error::Closed) => println!("the door is closed"),
        other => return other,
    }
    Ok(())
}
