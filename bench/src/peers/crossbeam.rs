//! crossbeam's channel without buffer, between two threads of the operating system.

use crate::batch::elsewhere;
use crate::cases::Case;
use crate::offer::{Able, Timed};
use crossbeam_channel::bounded;
use std::thread;
use std::time::{Duration, Instant};

pub fn timed(case: Case) -> Timed {
    (case == Case::ThreadRendezvous).then(|| Ok(Able::new(round_trip).noting("bounded(0)")))
}

fn round_trip(operations: u64) -> Duration {
    let (ask, asked) = bounded::<u64>(0);
    let (answer, answered) = bounded::<u64>(0);
    let server = thread::spawn(move || {
        elsewhere(|| {
            for question in asked {
                answer.send(question + 1).expect("somebody asked");
            }
            Duration::ZERO
        })
    });
    let start = Instant::now();
    for question in 0..operations {
        ask.send(question).expect("the other side lives");
        assert_eq!(answered.recv(), Ok(question + 1));
    }
    let took = start.elapsed();
    drop(ask);
    server.join().expect("the server does not panic");
    took
}
