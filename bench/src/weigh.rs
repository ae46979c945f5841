//! Cases about a million parked tasks. Each sample is a fresh process that starts with
//! nothing, parks its herd, is weighed from outside, and wakes it.

use crate::cases::{Case, HERD};
use crate::herd::{expect, CHILD};
use crate::offer::Skipped;
use crate::options::Options;
use crate::peers;
use crate::row::{Measured, Row};
use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;

#[derive(Clone, Copy)]
struct Sample {
    bytes: u64,
    woken: Duration,
}

/// What was measured, so that `parked` and `wake-all` of one run share their processes.
#[derive(Default)]
pub struct Herds {
    samples: HashMap<(&'static str, u64), Vec<Sample>>,
}

impl Herds {
    pub fn measure(&mut self, case: Case, options: &Options) -> Vec<Row> {
        let wanted = if case == Case::Parked10M {
            10 * HERD
        } else {
            HERD
        };
        let mut rows = Vec::new();
        let mut shepherds = Vec::new();
        for offer in peers::herds(case, |name| options.wants(name)) {
            match offer {
                Ok(shepherd) => shepherds.push(shepherd),
                Err(skipped) => rows.push(Err(skipped)),
            }
        }
        let rounds = options
            .rounds
            .unwrap_or(ROUNDS)
            .min(if case == Case::Parked10M {
                1
            } else {
                usize::MAX
            });
        let mut failed = HashMap::new();
        for round in 0..rounds {
            for shepherd in &mut shepherds {
                let tasks = wanted.min(shepherd.most);
                let samples = self
                    .samples
                    .entry((shepherd.implementation, tasks))
                    .or_default();
                if samples.len() <= round && !failed.contains_key(shepherd.implementation) {
                    match sample(&mut shepherd.command, tasks) {
                        Ok(sample) => samples.push(sample),
                        Err(error) => drop(failed.insert(shepherd.implementation, error)),
                    }
                }
            }
        }
        for shepherd in shepherds {
            let implementation = shepherd.implementation;
            if let Some(error) = failed.remove(implementation) {
                rows.push(Err(Skipped {
                    implementation,
                    why: format!("its process failed: {error}"),
                }));
                continue;
            }
            let tasks = wanted.min(shepherd.most);
            let samples = self.samples[&(implementation, tasks)]
                .iter()
                .map(|sample| match case {
                    Case::Parked => sample.bytes as f64 / tasks as f64,
                    Case::Parked10M => sample.bytes as f64 / (1u64 << 30) as f64,
                    _ => sample.woken.as_secs_f64() * 1e9 / tasks as f64,
                });
            let fewer = (tasks < wanted).then(|| format!("{tasks} tasks"));
            let notes: Vec<String> = fewer.into_iter().chain(shepherd.note).collect();
            let note = (!notes.is_empty()).then(|| notes.join("; "));
            rows.push(Ok(Measured {
                implementation,
                samples: samples.collect(),
                note,
            }));
        }
        rows
    }
}

fn sample(command: &mut Command, tasks: u64) -> io::Result<Sample> {
    let mut child = command
        .env("BENCH_TASKS", tasks.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let sample = converse(&mut child);
    if sample.is_err() {
        // It may be stuck; it is ours, and nothing of it is needed any more.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let sample = sample.map_err(|error| io::Error::other(format!("{error} ({status})")))?;
    Ok(sample)
}

fn converse(child: &mut Child) -> io::Result<Sample> {
    let missing = || io::Error::other("no pipe");
    let id = child.id();
    let mut input = child.stdin.take().ok_or_else(missing)?;
    let mut output = BufReader::new(child.stdout.take().ok_or_else(missing)?);
    expect(&mut output, "ready")?;
    let before = weigh(id)?;
    input.write_all(b"park\n")?;
    expect(&mut output, "parked")?;
    let after = weigh(id)?;
    let (start, ran) = (Instant::now(), running_time(id));
    input.write_all(b"wake\n")?;
    expect(&mut output, "woken")?;
    // A tenth of a second is never left undisturbed: its own time counts, not the clock's.
    let woken = match (ran, running_time(id)) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => start.elapsed(),
    };
    input.write_all(b"end\n")?;
    Ok(Sample {
        bytes: after.saturating_sub(before),
        woken,
    })
}

/// All memory that a process occupies, in bytes: resident and swapped pages, and the page
/// tables that map them.
fn weigh(id: u32) -> io::Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    Ok(
        (kilobytes(&rollup, "Rss:") + kilobytes(&rollup, "Swap:") + kilobytes(&status, "VmPTE:"))
            * 1024,
    )
}

/// How long the threads of a process have run so far; `None` if the kernel does not say.
fn running_time(id: u32) -> Option<Duration> {
    let mut nanoseconds = 0u64;
    for thread in std::fs::read_dir(format!("/proc/{id}/task")).ok()? {
        let path = thread.ok()?.path().join("schedstat");
        let stat = std::fs::read_to_string(path).ok()?;
        nanoseconds += stat.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

fn kilobytes(text: &str, field: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// The other side: `bench --herd-child IMPLEMENTATION`.
pub fn child(args: &[String]) -> ExitCode {
    let tasks = std::env::var("BENCH_TASKS")
        .ok()
        .and_then(|tasks| tasks.parse().ok());
    let (Some(name), Some(tasks)) = (args.first(), tasks) else {
        eprintln!("bench: {CHILD} is for bench itself");
        return ExitCode::from(2);
    };
    let lines = &mut io::stdin().lock();
    println!("ready");
    if expect(lines, "park").is_err() {
        return ExitCode::FAILURE;
    }
    let Some(mut herd) = peers::herd(name) else {
        eprintln!("bench: {name} has no herd");
        return ExitCode::from(2);
    };
    herd.park(tasks);
    println!("parked");
    if expect(lines, "wake").is_err() {
        return ExitCode::FAILURE;
    }
    herd.wake();
    println!("woken");
    let _ = expect(lines, "end");
    // What is left is the operating system's to clean up: how long a destructor of a
    // million stacks takes is not the question.
    std::process::exit(0)
}
