//! hardswitch itself. Its settings belong to a thread, so each measurement has a thread
//! of its own, which sleeps while others have their turn.

use super::stage::stage;
use super::{hardswitch_net, wake};
use crate::batch::{beside, elsewhere};
use crate::cases::{Case, BURST, MANY};
use crate::herd::Herd;
use crate::offer::{Able, Timed};
use crate::operations::{self, give_up, one_window, round_trip, spawn, switch, Stack};
use hardswitch::{Channel, MainLoop, Result, Settings};
use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

pub fn timed(case: Case) -> Timed {
    if let Case::PollShim(_) = case {
        return super::poll::timed_shim(case);
    }
    if let Some(offer) = hardswitch_net::timed(case, Stack::Own) {
        return Some(offer);
    }
    Some(Ok(match case {
        Case::Switch => on_stage(Settings::desktop(), |operations| {
            switch(operations, Stack::Own, 0).took
        }),
        Case::SlicedSwitch(bytes) => return Some(sliced_switch(bytes)),
        Case::Yield => on_stage(Settings::desktop(), |operations| {
            give_up(operations, Stack::Own)
        }),
        Case::Rendezvous => on_stage(Settings::desktop(), |operations| {
            round_trip(operations, Stack::Own)
        }),
        Case::RendezvousSliced => on_stage(one_window(), |operations| {
            round_trip(operations, Stack::Sliced)
        }),
        Case::Spawn => on_stage(Settings::desktop(), |operations| {
            spawn(operations, 1, Stack::Own)
        }),
        Case::SpawnBurst => on_stage(Settings::desktop(), |operations| {
            spawn(operations, BURST, Stack::Own)
        }),
        Case::YieldMany => on_stage(Settings::desktop(), |operations| {
            give_up_many(operations, Stack::Own)
        }),
        Case::SpawnJoin => on_stage(Settings::desktop(), |operations| {
            spawn_joined(operations, Stack::Own)
        }),
        Case::Offload(busy) => on_stage(Settings::desktop(), move |operations| {
            beside(busy, || offload(operations))
        })
        .noting("a tasklet waits"),
        Case::ThreadRendezvous => {
            let spin = Settings::desktop().spin;
            Able::new(move |operations| thread_round_trip(operations, spin, of_tasklets))
                .noting("a tasklet on either side, which looks before it sleeps")
        }
        _ => return None,
    }))
}

/// With threads that sleep at once when they have to wait, as those do that must not burn a processor.
pub fn timed_asleep(case: Case) -> Timed {
    (case == Case::ThreadRendezvous).then(|| {
        Ok(
            Able::new(|operations| thread_round_trip(operations, Duration::ZERO, of_tasklets))
                .noting("Settings::spin is zero"),
        )
    })
}

/// The same with tasklets that live in windows, each in one of its own where two take
/// turns: both stay resident.
pub fn timed_sliced(case: Case) -> Timed {
    if let Case::Echo { .. } = case {
        return hardswitch_net::timed(case, Stack::Sliced);
    }
    Some(Ok(match case {
        Case::Switch => on_stage(Settings::desktop(), |operations| {
            switch(operations, Stack::Sliced, 0).took
        })
        .noting("two windows"),
        Case::Yield => on_stage(Settings::desktop(), |operations| {
            give_up(operations, Stack::Sliced)
        })
        .noting("two windows"),
        Case::YieldMany => on_stage(Settings::desktop(), |operations| {
            give_up_many(operations, Stack::Sliced)
        })
        .noting("nearly all copied at each turn"),
        Case::Rendezvous => on_stage(Settings::desktop(), |operations| {
            round_trip(operations, Stack::Sliced)
        })
        .noting("two windows"),
        Case::SpawnJoin => on_stage(Settings::desktop(), |operations| {
            spawn_joined(operations, Stack::Sliced)
        }),
        Case::Spawn => on_stage(Settings::desktop(), |operations| {
            spawn(operations, 1, Stack::Sliced)
        }),
        Case::SpawnBurst => on_stage(Settings::desktop(), |operations| {
            spawn(operations, BURST, Stack::Sliced)
        }),
        _ => return None,
    }))
}

/// With plain threads, whose main tasklets wait.
pub fn timed_thread(case: Case) -> Timed {
    match case {
        Case::ThreadRendezvous => Some(Ok(Able::new(|operations| {
            thread_round_trip(operations, Settings::desktop().spin, |side| side())
        })
        .noting("a plain thread on either side"))),
        _ => wake::timed_thread(case),
    }
}

/// Runs the batches in a thread with these settings.
fn on_stage(settings: Settings, batch: impl Fn(u64) -> Duration + Send + 'static) -> Able {
    stage(settings, || Box::new(batch))
}

fn sliced_switch(bytes: usize) -> core::result::Result<Able, String> {
    // How many small frames it takes until a parked tasklet has about so many live bytes.
    let probe = thread::spawn(move || {
        one_window()
            .apply()
            .expect("the thread is new and the settings are sound");
        let live = |depth| switch(2, Stack::Sliced, depth).live;
        let (least, more) = (live(0), live(16));
        let frame = (more - least) / 16;
        let depth = bytes.saturating_sub(least).div_ceil(frame.max(1));
        (depth, live(depth))
    });
    let (depth, live) = probe.join().map_err(|_| "the probe failed".to_string())?;
    Ok(on_stage(one_window(), move |operations| {
        switch(operations, Stack::Sliced, depth).took
    })
    .noting(format!("slices of {live} bytes")))
}

/// 1,000 tasklets of four functions, each with a loop, a frame and a place to switch of its own, as a game's are. The first takes the time of
/// its turns, in which all others have as many: so neither their beginnings nor their ends count.
fn give_up_many(operations: u64, stack: Stack) -> Duration {
    macro_rules! kind {
        ($words:literal) => {{
            #[inline(never)]
            fn turns(turns: u64) -> Result<()> {
                let mut state = [0_u64; $words];
                for turn in 0..turns {
                    let at = turn as usize % $words;
                    state[at] = state[at].wrapping_mul($words).wrapping_add(turn);
                    hardswitch::schedule()?;
                    std::hint::black_box(&mut state);
                }
                Ok(())
            }
            turns
        }};
    }
    let kinds: [fn(u64) -> Result<()>; 4] = [kind!(2), kind!(3), kind!(6), kind!(10)];
    let result = (|| -> Result<Duration> {
        // So many that they are most of the time also where they are few.
        let turns = operations.div_ceil(MANY).max(200);
        let took = Rc::new(Cell::new(Duration::ZERO));
        for number in 0..MANY as usize {
            let (measured, kind) = (took.clone(), kinds[number % 4]);
            operations::builder(stack).spawn(move || {
                kind(2)?;
                let start = Instant::now();
                kind(turns)?;
                if number == 0 {
                    // As if there were as many as asked for.
                    let all = (turns * MANY) as f64;
                    measured.set(start.elapsed().mul_f64(operations as f64 / all));
                }
                kind(2)
            })?;
        }
        hardswitch::run()?;
        Ok(took.get())
    })();
    result.expect("scheduling works")
}

/// The spawner is a tasklet, which waits as tasklets do.
fn spawn_joined(operations: u64, stack: Stack) -> Duration {
    let took = Rc::new(Cell::new(Duration::ZERO));
    let measured = took.clone();
    let spawner = hardswitch::spawn(move || {
        let mut finished = 0;
        let start = Instant::now();
        for _ in 0..operations {
            let task = hardswitch::join::spawn_with(operations::builder(stack), || Ok(1))?;
            finished += task.join()?;
        }
        measured.set(start.elapsed());
        assert_eq!(finished, operations);
        Ok(())
    });
    let done = spawner.and_then(|_| hardswitch::run());
    done.expect("joining works");
    took.get()
}

type Side = Box<dyn FnOnce() -> Result<()>>;

fn of_tasklets(side: Side) -> Result<()> {
    hardswitch::spawn(side)?;
    MainLoop::current()?.run_until_idle()
}

/// Two threads, and on each somebody whom `run` runs. Not in `operations`: `count` has one thread to count.
fn thread_round_trip(operations: u64, spin: Duration, run: fn(Side) -> Result<()>) -> Duration {
    const END: u64 = u64::MAX;
    let (ask, answer) = (
        hardswitch::thread::Channel::<u64>::new(),
        hardswitch::thread::Channel::new(),
    );
    let side = |side: Box<dyn FnOnce() -> Result<Duration> + Send>| {
        thread::spawn(move || {
            elsewhere(|| {
                let settings = Settings {
                    spin,
                    ..Settings::desktop()
                };
                settings.apply().expect("settings of a new thread");
                let took = Rc::new(Cell::new(Duration::ZERO));
                let measured = took.clone();
                let done = run(Box::new(move || {
                    measured.set(side()?);
                    Ok(())
                }));
                done.expect("nobody is killed");
                took.get()
            })
        })
    };
    let (asked, answered) = (ask.clone(), answer.clone());
    let server = side(Box::new(move || loop {
        match asked.receive()? {
            END => return Ok(Duration::ZERO),
            question => answer.send(question + 1)?,
        }
    }));
    let client = side(Box::new(move || {
        let start = Instant::now();
        for question in 0..operations {
            ask.send(question)?;
            assert_eq!(answered.receive()?, question + 1);
        }
        let took = start.elapsed();
        ask.send(END)?;
        Ok(took)
    }));
    server.join().expect("the server does not panic");
    client.join().expect("the client does not panic")
}

/// As above.
fn offload(operations: u64) -> Duration {
    let result = (|| -> Result<Duration> {
        let took = Rc::new(Cell::new(Duration::ZERO));
        let measured = took.clone();
        hardswitch::spawn(move || {
            let start = Instant::now();
            for number in 0..operations {
                assert_eq!(hardswitch::offload::call(move || number)?, number);
            }
            measured.set(start.elapsed());
            Ok(())
        })?;
        MainLoop::current()?.run_until_idle()?;
        Ok(took.get())
    })();
    result.expect("calling works")
}

struct Parked {
    channel: Channel<u64>,
    tasks: u64,
}

pub fn herd() -> Box<dyn Herd> {
    Box::new(Parked {
        channel: Channel::new(),
        tasks: 0,
    })
}

impl Herd for Parked {
    fn park(&mut self, tasks: u64) {
        self.tasks = tasks;
        operations::park(&self.channel, tasks);
    }

    fn wake(&mut self) {
        operations::wake(&self.channel, self.tasks);
    }
}
