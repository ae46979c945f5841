//! Holds the runtime against recorded traces.
//!
//! ```text
//! cargo run --release --example golden -- FILE.jsonl.gz [--setup own|sliced|windows8|all] [--seed N] [--every N] [--verbose]
//! ```
//!
//! The file holds one program a line with the trace it must cause, compressed or not. Each program runs on a fresh scheduler, in
//! every set-up asked for (all three unless told); it is a mismatch when its trace differs in any of them. The first difference
//! of each is printed, and a last line `N programs, M mismatches`. The exit code is 0 only if M is 0; 1 for mismatches; 2 if the
//! arguments or the file make no sense.

mod program;
mod runner;

use program::Program;
use runner::Setup;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

const SETUPS: [Setup; 3] = [Setup::Own, Setup::Sliced, Setup::Windows8];

const USAGE: &str = "usage: golden FILE.jsonl[.gz] [--setup own|sliced|windows8|all] [--seed N] [--every N] [--verbose]";

struct Options {
    file: String,
    setups: Vec<Setup>,
    seed: Option<u64>,
    every: usize,
    verbose: bool,
}

fn options() -> Result<Options, String> {
    let mut file = None;
    let mut options = Options {
        file: String::new(),
        setups: SETUPS.to_vec(),
        seed: None,
        every: 1,
        verbose: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--setup" => {
                options.setups = match value()?.as_str() {
                    "own" => vec![Setup::Own],
                    "sliced" => vec![Setup::Sliced],
                    "windows8" => vec![Setup::Windows8],
                    "all" => SETUPS.to_vec(),
                    other => return Err(format!("there is no set-up \"{other}\"; {USAGE}")),
                }
            }
            "--seed" => options.seed = Some(value()?.parse().map_err(|_| "--seed needs a number")?),
            "--every" => {
                options.every = value()?
                    .parse()
                    .ok()
                    .filter(|&n| n > 0)
                    .ok_or("--every needs a positive number")?
            }
            "--verbose" => options.verbose = true,
            flag if flag.starts_with('-') => return Err(format!("unknown option {flag}; {USAGE}")),
            _ if file.is_none() => file = Some(arg),
            _ => return Err(format!("more than one file; {USAGE}")),
        }
    }
    options.file = file.ok_or(USAGE)?;
    Ok(options)
}

/// The programs that were asked for.
fn load(options: &Options) -> Result<Vec<Program>, String> {
    let path = &options.file;
    let bytes = std::fs::read(path).map_err(|e| format!("{path}: {e}"))?;
    let mut text = String::new();
    let read = if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text)
    } else {
        (&bytes[..]).read_to_string(&mut text)
    };
    read.map_err(|e| format!("{path}: {e}"))?;
    let mut programs = Vec::new();
    for (i, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let program = Program::parse(line).map_err(|e| format!("{path}, line {}: {e}", i + 1))?;
        if options.seed.is_some_and(|seed| seed != program.seed) {
            continue;
        }
        programs.push(program);
    }
    match options.seed {
        Some(seed) if programs.is_empty() => Err(format!("{path}: no program has the seed {seed}")),
        _ if programs.is_empty() => Err(format!("{path}: no programs")),
        _ => Ok(programs.into_iter().step_by(options.every).collect()),
    }
}

fn check(options: &Options, programs: &[Program]) -> std::io::Result<usize> {
    let mut out = std::io::stdout().lock();
    let terminal = std::io::stderr().is_terminal();
    let mut mismatches = 0;
    for (done, program) in programs.iter().enumerate() {
        if terminal && done % 50 == 0 {
            eprint!("\r{done} of {} ", programs.len());
        }
        let seed = program.seed;
        let mut wrong = Vec::new();
        let mut first = String::new();
        for &setup in &options.setups {
            let difference = match runner::trace(program, setup) {
                Ok(trace) => {
                    if options.verbose {
                        writeln!(out, "seed {seed}, {setup}: {} events", trace.len())?;
                        for (i, event) in
                            trace.iter().enumerate().filter(|_| options.seed.is_some())
                        {
                            writeln!(out, "    {i:4} {event}")?;
                        }
                    }
                    program::difference(&program.trace, &trace)
                }
                Err(e) => Some(format!("    {e}")),
            };
            if let Some(difference) = difference {
                if wrong.is_empty() {
                    first = difference;
                }
                wrong.push(setup.to_string());
            }
        }
        if !wrong.is_empty() {
            mismatches += 1;
            writeln!(
                out,
                "seed {seed} differs with {}\n    {}\n{first}",
                wrong.join(", "),
                program.json()
            )?;
        }
    }
    if terminal {
        eprint!("\r                    \r");
    }
    writeln!(out, "{} programs, {mismatches} mismatches", programs.len())?;
    Ok(mismatches)
}

fn main() -> ExitCode {
    let fail = |e: String| {
        eprintln!("golden: {e}");
        ExitCode::from(2)
    };
    let options = match options() {
        Ok(options) => options,
        Err(e) => return fail(e),
    };
    match load(&options) {
        Err(e) => fail(e),
        Ok(programs) => match check(&options, &programs) {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            // Whoever reads the output has seen enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(2),
            Err(e) => fail(format!("standard output: {e}")),
        },
    }
}
