//! What an idle connection weighs. Each sample is a fresh process that takes over connections, has
//! a task wait on each, is weighed from inside, and then answers on every one of them.

use crate::connections::Holder;
use crate::herd::expect;
use crate::offer::{Idler, Skipped};
use crate::options::Options;
use crate::peers;
use crate::row::{Measured, Row};
use std::io::{self, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;

/// First argument of a process that holds idle connections.
pub const CHILD: &str = "--idle-child";

const ROUNDS: usize = 3;

struct Sample {
    heap: f64,
    resident: f64,
}

pub fn measure(options: &Options) -> Vec<Row> {
    let wanted = peers::idlers().into_iter();
    let idlers: Vec<Idler> = wanted
        .filter(|idler| options.wants(idler.implementation))
        .collect();
    let mut samples: Vec<Vec<Sample>> = idlers.iter().map(|_| Vec::new()).collect();
    let mut failed: Vec<Option<io::Error>> = idlers.iter().map(|_| None).collect();
    for _ in 0..options.rounds.unwrap_or(ROUNDS) {
        for (at, idler) in idlers.iter().enumerate() {
            if failed[at].is_none() {
                match sample(idler) {
                    Ok(sample) => samples[at].push(sample),
                    Err(error) => failed[at] = Some(error),
                }
            }
        }
    }
    let rows = idlers.into_iter().zip(samples).zip(failed);
    rows.map(|((idler, samples), failed)| {
        let implementation = idler.implementation;
        if let Some(error) = failed {
            let why = format!("its process failed: {error}");
            return Err(Skipped {
                implementation,
                why,
            });
        }
        let heap = Measured {
            implementation,
            samples: samples.iter().map(|sample| sample.heap).collect(),
            note: None,
        };
        let count = idler.count;
        let more = format!(
            "{count} connections, all answered; allocated: {:.0} B",
            heap.median()
        );
        let notes = [idler.note.to_string(), more];
        let notes: Vec<_> = notes.into_iter().filter(|note| !note.is_empty()).collect();
        Ok(Measured {
            implementation,
            samples: samples.iter().map(|sample| sample.resident).collect(),
            note: Some(notes.join("; ")),
        })
    })
    .collect()
}

fn sample(idler: &Idler) -> io::Result<Sample> {
    // This very program, even if it was built anew since it was started.
    let mut child = Command::new("/proc/self/exe")
        .args([CHILD, idler.implementation])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take();
    let output = output.ok_or_else(|| io::Error::other("no pipe"))?;
    let answer = expect(&mut BufReader::new(output), "weighs");
    let status = child.wait()?;
    let answer = answer.map_err(|error| io::Error::other(format!("{error} ({status})")))?;
    let mut numbers = answer.split(' ').map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(heap)), Some(Ok(resident))) if status.success() => Ok(Sample { heap, resident }),
        _ => Err(io::Error::other(format!("it weighs {answer:?} ({status})"))),
    }
}

/// The other side: `bench --idle-child IMPLEMENTATION`.
pub fn child(args: &[String]) -> ExitCode {
    let mut idlers = peers::idlers().into_iter();
    let idler = idlers.find(|idler| args.first().is_some_and(|arg| arg == idler.implementation));
    let Some(idler) = idler else {
        eprintln!("bench: {CHILD} is for bench itself");
        return ExitCode::from(2);
    };
    match weigh(&idler) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {}: {why}", idler.implementation);
            ExitCode::FAILURE
        }
    }
}

fn weigh(idler: &Idler) -> Result<(), String> {
    let (mut holder, mut streams) = Holder::connect(idler.count)?;
    let before = (heap(), resident());
    let serve = (idler.hold)(&mut streams);
    let after = (heap(), resident());
    let (answer, answered) = mpsc::channel();
    serve(Box::new(move || {
        let _ = answer.send(holder.ask());
    }));
    let answered = answered.recv().map_err(|error| error.to_string())?;
    let answered = answered.map_err(|error| error.to_string())?;
    if answered != idler.count {
        return Err(format!("{answered} of {} answered", idler.count));
    }
    let each = |bytes: usize| bytes as f64 / idler.count as f64;
    let heap = after.0.saturating_sub(before.0);
    let resident = after.1.saturating_sub(before.1);
    println!("weighs {:.3} {:.3}", each(heap), each(resident));
    Ok(())
}

/// Bytes that the allocator has handed out, with its own headers and rounding, but without the gaps
/// that it leaves.
fn heap() -> usize {
    // SAFETY: it only reads the allocator's counters.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// Bytes of the pages that this process occupies.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|text| text.parse().ok());
    // SAFETY: it only reads.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.unwrap_or(0) * page as usize
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_heap_weighs_what_was_asked_for() {
        // Other tests run meanwhile.
        let before = super::heap();
        // Otherwise the compiler may leave it out.
        let some = std::hint::black_box(vec![1_u8; 1 << 20]);
        let more = super::heap().saturating_sub(before);
        assert!(more.abs_diff(1 << 20) < 64 << 10, "{more}");
        drop(some);
    }
}
