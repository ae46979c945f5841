//! Every recorded trace is reproduced, event by event, whatever the stacks are made of.
//!
//! All programs of the recording on the host; every tenth on an emulated or slow target, or as many
//! as `HARDSWITCH_GOLDEN_EVERY` says.

#[path = "../../examples/golden/program.rs"]
mod program;
#[path = "../../examples/golden/runner.rs"]
mod runner;

use program::{difference, Program};
use runner::Setup;
use std::io::Read;

fn recording() -> Vec<Program> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&include_bytes!("golden.jsonl.gz")[..])
        .read_to_string(&mut text)
        .expect("the recording unpacks");
    text.lines()
        .map(|line| Program::parse(line).expect("a recorded program is in the language"))
        .collect()
}

fn every() -> usize {
    let default = if cfg!(target_arch = "x86_64") { 1 } else { 10 };
    std::env::var("HARDSWITCH_GOLDEN_EVERY")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

fn reproduce_all(setup: Setup) {
    let mut mismatches = Vec::new();
    let mut programs = 0;
    for program in recording().into_iter().step_by(every()) {
        programs += 1;
        let found = match runner::trace(&program, setup) {
            Ok(trace) => difference(&program.trace, &trace),
            Err(e) => Some(format!("    {e}")),
        };
        if let Some(found) = found {
            mismatches.push(format!(
                "seed {}\n    {}\n{found}",
                program.seed,
                program.json()
            ));
        }
    }
    let shown = mismatches
        .iter()
        .take(5)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        mismatches.is_empty(),
        "{setup}: {programs} programs, {} mismatches; the first:\n{shown}",
        mismatches.len()
    );
}

#[test]
fn tasklets_with_own_stacks_do_what_was_recorded() {
    reproduce_all(Setup::Own);
}

#[test]
fn tasklets_sharing_one_window_do_what_was_recorded() {
    reproduce_all(Setup::Sliced);
}

#[test]
fn tasklets_sharing_eight_windows_do_what_was_recorded() {
    reproduce_all(Setup::Windows8);
}

#[test]
fn the_recording_is_complete() {
    assert_eq!(recording().len(), 3000);
}
