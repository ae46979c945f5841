//! Threads, each with tasklets of its own, share a channel: `cargo run --example threads`.
//!
//! It prints:
//!
//! ```text
//! 1 + 4 + 9 + ... + 10000 = 338350
//! ```

use hardswitch::{join, thread, Result};

/// Ten tasklets of one thread. One that waits for a number leaves the thread to the others.
fn squares(numbers: thread::Channel<u64>) -> Result<u64> {
    let tasklets = (0..10).map(|_| {
        let numbers = numbers.clone();
        join::spawn(move || {
            let mut sum = 0;
            while let Some(n) = numbers.next() {
                sum += n?.pow(2);
            }
            Ok(sum)
        })
    });
    let tasklets = tasklets.collect::<Result<Vec<_>>>()?;
    Ok(join::all(tasklets)?.iter().sum())
}

fn main() -> Result<()> {
    let numbers = thread::Channel::new();
    let start = |_| {
        let numbers = numbers.clone();
        std::thread::spawn(move || squares(numbers))
    };
    let workers: Vec<_> = (0..3).map(start).collect();
    numbers.send_sequence(1..=100)?;
    numbers.close_and_wake(); // for whoever waits, `next` is None
    let mut sum = 0;
    for worker in workers {
        sum += worker.join().expect("a worker does not panic")?;
    }
    println!("1 + 4 + 9 + ... + 10000 = {sum}");
    Ok(())
}
