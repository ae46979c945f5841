//! Two tasklets talk over a channel: `cargo run --example hello`.
//!
//! A channel has no room: who sends waits until somebody receives.
//!
//! It prints:
//!
//! ```text
//! ready
//! steady
//! go
//! ```

use hardswitch::{run, spawn, Channel, Result};

fn main() -> Result<()> {
    let talk = Channel::new();
    let words = talk.clone();
    spawn(move || words.send_sequence(["ready", "steady", "go"]).map(drop))?;
    spawn(move || {
        for _ in 0..3 {
            println!("{}", talk.receive()?);
        }
        Ok(())
    })?;
    run() // until both have ended
}
