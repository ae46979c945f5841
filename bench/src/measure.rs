//! Timed cases: the implementations take turns with short batches, and the median of many
//! rounds counts.

use crate::batch::{preemptions, Batch};
use crate::cases::Case;
use crate::offer::Offer;
use crate::options::Options;
use crate::peers;
use crate::row::{Measured, Row};
use std::time::Duration;

const ROUNDS: usize = 41;

/// A batch during which the kernel took the processor away measured somebody else; it is
/// repeated, but not for ever.
const REPEATS: usize = 8;

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
    for offer in peers::timed(case, |name| options.wants(name)) {
        match offer {
            Ok(Offer {
                implementation,
                note,
                mut batch,
            }) => {
                let factor = case.by_processor_time().unwrap_or(1.0);
                let operations = calibrate(&mut batch, factor * options.batch_ms / 1e3);
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
            let took = match case.by_processor_time() {
                Some(_) => (turn.batch)(turn.operations),
                None => undisturbed(turn),
            };
            let (seconds, operations) = (took.as_secs_f64(), turn.operations as f64);
            turn.samples.push(match case.is_rate() {
                true => operations / seconds,
                false => seconds * 1e9 / operations,
            });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_long_as_asked() {
        // Ten nanoseconds each, so two milliseconds are two hundred thousand.
        let mut batch: Batch = Box::new(|operations| Duration::from_nanos(10 * operations));
        assert_eq!(calibrate(&mut batch, 2e-3), 200_000);
    }
}
