//! Timed cases: the implementations take turns with short batches, and the median of many
//! rounds counts.

use crate::cases::Case;
use crate::options::Options;
use crate::peers;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// Runs so many operations and says how long they took.
pub type Batch = Box<dyn FnMut(u64) -> Duration>;

const ROUNDS: usize = 41;

/// A batch during which the kernel took the processor away measured somebody else; it is
/// repeated, but not for ever.
const REPEATS: usize = 8;

/// What one implementation showed, in the unit of the case.
pub struct Measured {
    pub implementation: &'static str,
    pub samples: Vec<f64>,
    /// What a reader of the row must know.
    pub note: Option<String>,
}

impl Measured {
    pub fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        }
    }

    pub fn min(&self) -> f64 {
        self.samples.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.samples.iter().copied().fold(0.0, f64::max)
    }
}

/// A row of the table: measured, or the reason why not.
pub type Row = Result<Measured, peers::Skipped>;

struct Turn {
    implementation: &'static str,
    note: Option<String>,
    batch: Batch,
    operations: u64,
    samples: Vec<f64>,
    disturbed: usize,
}

pub fn timed(case: Case, options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut turns = Vec::new();
    for offer in peers::timed(case, options) {
        match offer {
            Ok(peers::Offer {
                implementation,
                note,
                mut batch,
            }) => {
                let operations = calibrate(&mut batch, options.batch_ms / 1e3);
                turns.push(Turn {
                    implementation,
                    note,
                    batch,
                    operations,
                    samples: Vec::new(),
                    disturbed: 0,
                });
            }
            Err(skipped) => rows.push(Err(skipped)),
        }
    }
    let count = turns.len();
    for round in 0..options.rounds.unwrap_or(ROUNDS) {
        // Every round begins with another one, so that nobody always runs right after the
        // same neighbour's mess.
        for place in 0..count {
            let turn = &mut turns[(round + place) % count];
            let took = undisturbed(turn);
            turn.samples
                .push(took.as_secs_f64() * 1e9 / turn.operations as f64);
        }
    }
    rows.extend(turns.into_iter().map(|turn| {
        let (count, disturbed) = (turn.samples.len(), turn.disturbed);
        let noise = (4 * disturbed > count).then(|| format!("{disturbed} of {count} disturbed"));
        let notes: Vec<String> = turn.note.into_iter().chain(noise).collect();
        Ok(Measured {
            implementation: turn.implementation,
            samples: turn.samples,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        })
    }));
    rows
}

/// How many operations make a batch of this length. Finding out warms up caches, pools
/// and branch predictors.
fn calibrate(batch: &mut Batch, seconds: f64) -> u64 {
    let mut operations = 128;
    loop {
        // Of three, so that one that was preempted does not pass for a slow one.
        let took = (0..3).map(|_| batch(operations)).min().unwrap_or_default();
        let took = took.as_secs_f64();
        if took >= seconds / 4.0 || operations >= 1 << 40 {
            let exact = operations as f64 * seconds / took.max(1e-9);
            return (exact as u64).max(1).next_multiple_of(crate::cases::BURST);
        }
        operations *= 2;
    }
}

fn undisturbed(turn: &mut Turn) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..REPEATS {
        let before = preemptions();
        let took = (turn.batch)(turn.operations);
        if preemptions() == before {
            return took;
        }
        best = best.min(took);
    }
    turn.disturbed += 1;
    best
}

/// Preemptions that batches on other threads and in other processes have reported.
pub static ELSEWHERE: AtomicI64 = AtomicI64::new(0);

/// Runs a batch on a thread that is not the bench's own.
pub fn elsewhere(batch: impl FnOnce() -> Duration) -> Duration {
    let before = preemptions_here();
    let took = batch();
    ELSEWHERE.fetch_add(preemptions_here() - before, Ordering::Relaxed);
    took
}

/// Runs a batch with so many threads beside it that do nothing but keep processors busy.
pub fn beside(busy: usize, batch: impl FnOnce() -> Duration) -> Duration {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::black_box((0..1000_u64).fold(0, u64::wrapping_add));
                }
            });
        }
        let took = batch();
        over.store(true, Ordering::Relaxed);
        took
    })
}

fn preemptions() -> i64 {
    preemptions_here() + ELSEWHERE.load(Ordering::Relaxed)
}

/// How often the kernel has taken the processor away from this thread against its will.
fn preemptions_here() -> i64 {
    // SAFETY: getrusage fills the structure it is given; all zeroes is a valid one to
    // begin with.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage.ru_nivcsw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(samples: &[f64]) -> Measured {
        Measured {
            implementation: "somebody",
            samples: samples.to_vec(),
            note: None,
        }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_middle_two() {
        assert_eq!(measured(&[9.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(measured(&[9.0, 1.0, 2.0, 4.0]).median(), 3.0);
        assert_eq!(measured(&[7.0]).median(), 7.0);
    }

    #[test]
    fn a_batch_is_as_long_as_asked() {
        // Ten nanoseconds each, so two milliseconds are two hundred thousand.
        let mut batch: Batch = Box::new(|operations| Duration::from_nanos(10 * operations));
        assert_eq!(calibrate(&mut batch, 2e-3), 200_000);
    }
}
