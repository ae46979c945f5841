//! hardswitch itself. Its settings belong to a thread, so each measurement has a thread of its own, which sleeps while others have their turn.

use super::{Able, Timed};
use crate::cases::{Case, BURST};
use crate::herd::Herd;
use hardswitch::{Builder, Channel, Result, Settings, Tasklet};
use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Where a tasklet of a measurement lives.
#[derive(Clone, Copy, PartialEq)]
enum Stack {
    Own,
    Sliced,
}

pub fn timed(case: Case) -> Timed {
    Some(Ok(match case {
        Case::Switch => on_stage(Settings::desktop(), |operations| switch(operations, Stack::Own, 0).took),
        Case::SlicedSwitch(bytes) => return Some(sliced_switch(bytes)),
        Case::Yield => on_stage(Settings::desktop(), |operations| give_up(operations, Stack::Own)),
        Case::Rendezvous => on_stage(Settings::desktop(), |operations| round_trip(operations, Stack::Own)),
        Case::RendezvousSliced => on_stage(one_window(), |operations| round_trip(operations, Stack::Sliced)),
        Case::Spawn => on_stage(Settings::desktop(), |operations| spawn(operations, 1, Stack::Own)),
        Case::SpawnBurst => on_stage(Settings::desktop(), |operations| spawn(operations, BURST, Stack::Own)),
        _ => return None,
    }))
}

/// The same with tasklets that live in windows, each in one of its own where two take turns: both stay resident.
pub fn timed_sliced(case: Case) -> Timed {
    Some(Ok(match case {
        Case::Switch => on_stage(Settings::desktop(), |operations| switch(operations, Stack::Sliced, 0).took).noting("two windows"),
        Case::Yield => on_stage(Settings::desktop(), |operations| give_up(operations, Stack::Sliced)).noting("two windows"),
        Case::Rendezvous => on_stage(Settings::desktop(), |operations| round_trip(operations, Stack::Sliced)).noting("two windows"),
        Case::Spawn => on_stage(Settings::desktop(), |operations| spawn(operations, 1, Stack::Sliced)),
        Case::SpawnBurst => on_stage(Settings::desktop(), |operations| spawn(operations, BURST, Stack::Sliced)),
        _ => return None,
    }))
}

fn one_window() -> Settings {
    Settings { windows: 1, ..Settings::desktop() }
}

/// Runs the batches in a thread with these settings.
fn on_stage(settings: Settings, batch: impl Fn(u64) -> Duration + Send + 'static) -> Able {
    let (ask, asked) = mpsc::channel();
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || {
        settings.apply().expect("the thread is new and the settings are sound");
        for operations in asked {
            if answer.send(batch(operations)).is_err() {
                return;
            }
        }
    });
    Able::new(move |operations| {
        ask.send(operations).expect("the stage waits for work");
        answered.recv().expect("the stage answers")
    })
}

fn builder(stack: Stack) -> Builder {
    match stack {
        Stack::Own => Tasklet::builder(),
        // SAFETY: the tasklets of this file lend nothing of their stacks to anybody.
        Stack::Sliced => unsafe { Tasklet::builder().sliced() },
    }
}

struct Switched {
    took: Duration,
    /// Live bytes of the stack of a tasklet that has switched away.
    live: usize,
}

/// Two tasklets that switch to each other, the named target at once. Each does so below so many small frames.
fn switch(operations: u64, stack: Stack, depth: usize) -> Switched {
    let pairs = operations / 2;
    let result = (|| -> Result<Switched> {
        let (one, other) = (builder(stack).build()?, builder(stack).build()?);
        let seen = Rc::new(Cell::new((Duration::ZERO, 0)));
        let (to_other, to_one, sees) = (other.clone(), one.clone(), seen.clone());
        one.bind(move || {
            let mut outcome = Ok(());
            below(depth, &mut || {
                outcome = (|| {
                    to_other.switch()?;
                    let live = to_other.stats().stack_bytes;
                    let start = Instant::now();
                    for _ in 0..pairs {
                        to_other.switch()?;
                    }
                    sees.set((start.elapsed(), live));
                    Ok(())
                })();
            });
            outcome
        })?;
        other.bind_paused(move || below(depth, &mut || while to_one.switch().is_ok() {}))?;
        one.setup()?;
        hardswitch::run()?;
        let (took, live) = seen.get();
        other.kill()?;
        Ok(Switched { took, live })
    })();
    result.expect("switching works")
}

/// Calls `body` below `depth` frames that stay alive meanwhile.
#[inline(never)]
fn below(depth: usize, body: &mut dyn FnMut()) {
    match depth {
        0 => body(),
        _ => below(depth - 1, body),
    }
    // Not a tail call: there is something left to do here.
    black_box(depth);
}

fn sliced_switch(bytes: usize) -> core::result::Result<Able, String> {
    // How many small frames it takes until a parked tasklet has about so many live bytes.
    let probe = thread::spawn(move || {
        one_window().apply().expect("the thread is new and the settings are sound");
        let live = |depth| switch(2, Stack::Sliced, depth).live;
        let (least, more) = (live(0), live(16));
        let frame = (more - least) / 16;
        let depth = bytes.saturating_sub(least).div_ceil(frame.max(1));
        (depth, live(depth))
    });
    let (depth, live) = probe.join().map_err(|_| "the probe failed".to_string())?;
    Ok(on_stage(one_window(), move |operations| switch(operations, Stack::Sliced, depth).took).noting(format!("slices of {live} bytes")))
}

fn give_up(operations: u64, stack: Stack) -> Duration {
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

fn round_trip(operations: u64, stack: Stack) -> Duration {
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

fn spawn(operations: u64, burst: u64, stack: Stack) -> Duration {
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

/// Sliced tasklets that wait on one channel; the settings are the default ones.
struct Parked {
    channel: Channel<u64>,
    tasks: u64,
}

thread_local! {
    /// How many have been woken: also the message that the next one must get.
    static WOKEN: Cell<u64> = const { Cell::new(0) };
}

pub fn herd() -> Box<dyn Herd> {
    Box::new(Parked { channel: Channel::new(), tasks: 0 })
}

impl Herd for Parked {
    fn park(&mut self, tasks: u64) {
        self.tasks = tasks;
        for _ in 0..tasks {
            let channel = self.channel.clone();
            let spawned = builder(Stack::Sliced).spawn(move || {
                let message = channel.receive()?;
                assert_eq!(message, WOKEN.get(), "woken in the order in which they blocked");
                WOKEN.set(message + 1);
                Ok(())
            });
            spawned.expect("there is memory");
        }
        hardswitch::run().expect("they all block");
        assert_eq!(self.channel.balance(), -(tasks as isize));
    }

    fn wake(&mut self) {
        for message in 0..self.tasks {
            self.channel.send(message).expect("they all wait");
        }
        assert_eq!(WOKEN.get(), self.tasks);
    }
}
