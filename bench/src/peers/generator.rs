//! The `generator` crate (may stands on it). A resume and the yield that answers it are
//! two switches.

use crate::cases::Case;
use crate::herd::Herd;
use crate::offer::{Able, Timed};
use generator::{done, Generator, Gn};
use std::time::Instant;

pub fn timed(case: Case) -> Timed {
    if case != Case::Switch {
        return None;
    }
    let batch = |operations: u64| {
        let mut task = Gn::<()>::new_scoped(move |mut scope| {
            for _ in 0..operations / 2 {
                scope.yield_(());
            }
            done!()
        });
        let start = Instant::now();
        while task.resume().is_some() {}
        start.elapsed()
    };
    Some(Ok(Able::new(batch)))
}

struct Parked(Vec<Generator<'static, u64, ()>>);

pub fn herd() -> Box<dyn Herd> {
    Box::new(Parked(Vec::new()))
}

impl Herd for Parked {
    fn park(&mut self, tasks: u64) {
        self.0.reserve_exact(tasks as usize);
        for index in 0..tasks {
            let mut task = Gn::<u64>::new_scoped_opt(1024, move |mut scope| {
                let message = scope.yield_(());
                assert_eq!(message, Some(index));
                done!()
            });
            task.resume();
            self.0.push(task);
        }
    }

    fn wake(&mut self) {
        for (index, task) in self.0.iter_mut().enumerate() {
            task.raw_send(Some(index as u64));
        }
    }
}
