//! hardswitch itself. Its settings belong to a thread, so each measurement has a thread
//! of its own, which sleeps while others have their turn.

use super::{wake, Able, Timed};
use crate::cases::{Case, BURST};
use crate::herd::Herd;
use crate::measure::elsewhere;
use crate::operations::{self, give_up, one_window, round_trip, spawn, switch, Stack};
use hardswitch::{Channel, MainLoop, Result, Settings};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub fn timed(case: Case) -> Timed {
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
        Case::Offload => on_stage(Settings::desktop(), offload).noting("a tasklet waits"),
        Case::ThreadRendezvous => Able::new(|operations| {
            thread_round_trip(operations, |side| {
                hardswitch::spawn(side)?;
                MainLoop::current()?.run_until_idle()
            })
        })
        .noting("a tasklet on either side"),
        _ => return None,
    }))
}

/// The same with tasklets that live in windows, each in one of its own where two take
/// turns: both stay resident.
pub fn timed_sliced(case: Case) -> Timed {
    Some(Ok(match case {
        Case::Switch => on_stage(Settings::desktop(), |operations| {
            switch(operations, Stack::Sliced, 0).took
        })
        .noting("two windows"),
        Case::Yield => on_stage(Settings::desktop(), |operations| {
            give_up(operations, Stack::Sliced)
        })
        .noting("two windows"),
        Case::Rendezvous => on_stage(Settings::desktop(), |operations| {
            round_trip(operations, Stack::Sliced)
        })
        .noting("two windows"),
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
            thread_round_trip(operations, |side| side())
        })
        .noting("a plain thread on either side"))),
        _ => wake::timed_thread(case),
    }
}

/// Runs the batches in a thread with these settings.
fn on_stage(settings: Settings, batch: impl Fn(u64) -> Duration + Send + 'static) -> Able {
    let (ask, asked) = mpsc::channel();
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || {
        settings
            .apply()
            .expect("the thread is new and the settings are sound");
        for operations in asked {
            if answer.send(elsewhere(|| batch(operations))).is_err() {
                return;
            }
        }
    });
    Able::new(move |operations| {
        ask.send(operations).expect("the stage waits for work");
        answered.recv().expect("the stage answers")
    })
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

/// Two threads, and on each somebody whom `run` runs. Not in `operations`: `count` has one thread to count.
fn thread_round_trip(
    operations: u64,
    run: fn(Box<dyn FnOnce() -> Result<()>>) -> Result<()>,
) -> Duration {
    const END: u64 = u64::MAX;
    let (ask, answer) = (
        hardswitch::thread::Channel::<u64>::new(),
        hardswitch::thread::Channel::new(),
    );
    let side = |side: Box<dyn FnOnce() -> Result<Duration> + Send>| {
        thread::spawn(move || {
            elsewhere(|| {
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
