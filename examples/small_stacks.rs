//! Ten thousand tasklets in a window of 16 KiB, and a recursion that is deeper than any window:
//! `cargo run --example small_stacks`.
//!
//! It prints:
//!
//! ```text
//! 10000 tasklets share one window
//! 1 + 2 + ... + 100000 = 5000050000
//! ```

use hardswitch::{run, spill, stats, Channel, Result, Settings, Tasklet};

/// Each level that finds little of the window left has the frames above it moved to the heap.
fn sum(n: u64) -> Result<u64> {
    if n == 0 {
        return Ok(0);
    }
    Ok(n + spill::call(move || sum(n - 1))??)
}

fn main() -> Result<()> {
    Settings {
        windows: 1,
        ..Settings::console()
    }
    .apply()
    .expect("a thread that has no tasklets yet");

    let start = Channel::<()>::new();
    for _ in 0..10_000 {
        let start = start.clone();
        // SAFETY: while the tasklet is parked its stack is in the heap, and it has lent none of
        // it: what it waits with is a handle that it owns.
        let builder = unsafe { Tasklet::builder().sliced() };
        builder.spawn(move || start.receive())?;
    }
    run()?; // until all wait
    assert!(stats().tasklets > 10_000, "those, and main");
    println!("10000 tasklets share one window");
    while start.balance() < 0 {
        start.send(())?;
    }
    run()?;

    // SAFETY: nobody else has an address of this tasklet's stack.
    let builder = unsafe { Tasklet::builder().sliced() };
    builder.spawn(|| {
        println!("1 + 2 + ... + 100000 = {}", sum(100_000)?);
        Ok(())
    })?;
    run()
}
