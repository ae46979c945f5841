//! What hardswitch is measured with: `bench` takes the time of it, `count` its instructions.

use hardswitch::{Builder, Channel, Result, Settings, Tasklet};
use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Where a tasklet of a measurement lives.
#[derive(Clone, Copy, PartialEq)]
pub enum Stack {
    Own,
    Sliced,
}

/// A machine's usual settings, but all sliced tasklets share one window.
pub fn one_window() -> Settings {
    Settings {
        windows: 1,
        ..Settings::desktop()
    }
}

pub fn builder(stack: Stack) -> Builder {
    match stack {
        Stack::Own => Tasklet::builder(),
        // SAFETY: the tasklets of this program lend nothing of their stacks to anybody.
        Stack::Sliced => unsafe { Tasklet::builder().sliced() },
    }
}

pub struct Switched {
    pub took: Duration,
    /// Live bytes of the stack of a tasklet that has switched away.
    pub live: usize,
}

/// Two tasklets that switch to each other, the named target at once, and below so many
/// small frames. Both run the same code, as tasklets of one kind do: then the processor
/// predicts their returns, and what is measured is the switch.
pub fn switch(operations: u64, stack: Stack, depth: usize) -> Switched {
    let result = (|| -> Result<Switched> {
        let (one, other) = (builder(stack).build()?, builder(stack).build()?);
        let seen = Rc::new(Cell::new((Duration::ZERO, 0)));
        let (to_other, to_one, sees) = (other.clone(), one.clone(), seen.clone());
        one.bind(move || {
            below(depth, &mut || {
                bounce(&to_other, 1)?;
                let live = to_other.stats().stack_bytes;
                let start = Instant::now();
                bounce(&to_other, operations / 2)?;
                sees.set((start.elapsed(), live));
                Ok(())
            })
        })?;
        // It ends when it is killed: its switch returns an error.
        other.bind_paused(move || below(depth, &mut || bounce(&to_one, u64::MAX)))?;
        one.setup()?;
        hardswitch::run()?;
        let (took, live) = seen.get();
        other.kill()?;
        Ok(Switched { took, live })
    })();
    result.expect("switching works")
}

#[inline(never)]
fn bounce(partner: &Tasklet, times: u64) -> Result<()> {
    for _ in 0..times {
        partner.switch()?;
    }
    Ok(())
}

/// Calls `body` below `depth` frames that stay alive meanwhile.
#[inline(never)]
fn below(depth: usize, body: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let outcome = match depth {
        0 => body(),
        _ => below(depth - 1, body),
    };
    // Not a tail call: there is something left to do here.
    black_box(depth);
    outcome
}

pub fn give_up(operations: u64, stack: Stack) -> Duration {
    let turns = operations / 2;
    let result = (|| -> Result<Duration> {
        for _ in 0..2 {
            builder(stack).spawn(move || {
                for _ in 0..turns {
                    hardswitch::schedule()?;
                }
                Ok(())
            })?;
        }
        let start = Instant::now();
        hardswitch::run()?;
        Ok(start.elapsed())
    })();
    result.expect("scheduling works")
}

pub fn round_trip(operations: u64, stack: Stack) -> Duration {
    let result = (|| -> Result<Duration> {
        let (ask, answer) = (Channel::<u64>::new(), Channel::<u64>::new());
        let (asked, answered) = (ask.clone(), answer.clone());
        builder(stack).spawn(move || {
            for _ in 0..operations {
                answer.send(asked.receive()? + 1)?;
            }
            Ok(())
        })?;
        let took = Rc::new(Cell::new(Duration::ZERO));
        let measured = took.clone();
        builder(stack).spawn(move || {
            let start = Instant::now();
            for question in 0..operations {
                ask.send(question)?;
                assert_eq!(answered.receive()?, question + 1);
            }
            measured.set(start.elapsed());
            Ok(())
        })?;
        hardswitch::run()?;
        Ok(took.get())
    })();
    result.expect("sending works")
}

pub fn spawn(operations: u64, burst: u64, stack: Stack) -> Duration {
    let result = (|| -> Result<Duration> {
        let finished = Rc::new(Cell::new(0));
        let start = Instant::now();
        for _ in 0..operations / burst {
            for _ in 0..burst {
                let finished = finished.clone();
                builder(stack).spawn(move || finished.set(finished.get() + 1))?;
            }
            hardswitch::run()?;
        }
        let took = start.elapsed();
        assert_eq!(finished.get(), operations / burst * burst);
        Ok(took)
    })();
    result.expect("spawning works")
}

thread_local! {
    /// How many have been woken: also the message that the next one must get.
    static WOKEN: Cell<u64> = const { Cell::new(0) };
}

/// Starts sliced tasklets that wait on one channel, and returns when all do.
pub fn park(channel: &Channel<u64>, tasks: u64) {
    for _ in 0..tasks {
        let channel = channel.clone();
        let spawned = builder(Stack::Sliced).spawn(move || {
            let message = channel.receive()?;
            assert_eq!(
                message,
                WOKEN.get(),
                "woken in the order in which they blocked"
            );
            WOKEN.set(message + 1);
            Ok(())
        });
        spawned.expect("there is memory");
    }
    hardswitch::run().expect("they all block");
    assert_eq!(channel.balance(), -(tasks as isize));
}

/// Sends to all of them, in the order in which they blocked; they end.
pub fn wake(channel: &Channel<u64>, tasks: u64) {
    WOKEN.set(0);
    for message in 0..tasks {
        channel.send(message).expect("they all wait");
    }
    assert_eq!(WOKEN.get(), tasks);
}
