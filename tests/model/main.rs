//! The runtime against a model of the scheduler that shares none of its code.
//!
//! The model (`reference.rs`) is first held against the recording; then random programs in the
//! golden language run on the runtime and on the model, and the traces must be equal. A failing
//! program is shrunk and printed as one line of JSON: put that line into `regressions.jsonl` beside
//! this file, and it is tried first from then on. `PROPTEST_CASES` sets how many programs are
//! tried.

#[path = "../../examples/golden/program.rs"]
mod program;
mod reference;
#[path = "../../examples/golden/runner.rs"]
mod runner;

use program::{difference, Op, Program, Who};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use runner::Setup;
use std::io::Read;

const SETUPS: [Setup; 3] = [Setup::Own, Setup::Sliced, Setup::Windows8];

#[test]
fn the_model_reproduces_every_recorded_trace() {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&include_bytes!("../golden/golden.jsonl.gz")[..])
        .read_to_string(&mut text)
        .expect("the recording unpacks");
    let mut wrong = Vec::new();
    for line in text.lines() {
        let program = Program::parse(line).expect("a recorded program is in the language");
        if let Some(found) = difference(&program.trace, &reference::trace(&program)) {
            wrong.push(format!(
                "seed {}\n{}\n{found}",
                program.seed,
                program.json()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} mismatches; the first:\n{}",
        wrong.len(),
        wrong[0]
    );
}

#[test]
fn programs_that_once_failed_behave_as_the_model_says() {
    for (i, line) in include_str!("regressions.jsonl").lines().enumerate() {
        let program = Program::parse(line).unwrap_or_else(|e| panic!("line {}: {e}", i + 1));
        for setup in SETUPS {
            if let Err(found) = compare(&program, setup) {
                panic!("line {}, {setup}: {found}", i + 1);
            }
        }
    }
}

#[test]
fn programs_like_the_recorded_ones_behave_as_the_model_says() {
    for setup in SETUPS {
        try_programs(setup, "recorded", program(Flavour::Recorded, 1..=5, 12));
    }
}

#[test]
fn nested_runs_behave_as_the_model_says() {
    for setup in SETUPS {
        try_programs(setup, "nested", program(Flavour::Nested, 3..=8, 10));
    }
}

#[test]
fn crowded_channels_behave_as_the_model_says() {
    for setup in SETUPS {
        try_programs(setup, "crowded", program(Flavour::Crowded, 4..=12, 16));
    }
}

#[test]
fn traps_undo_what_they_refuse_as_the_model_says() {
    for setup in SETUPS {
        try_programs(setup, "trapped", program(Flavour::Trapped, 1..=5, 12));
    }
}

/// The expected trace, or what differs.
fn compare(program: &Program, setup: Setup) -> Result<(), String> {
    let expected = reference::trace(program);
    let got = runner::trace(program, setup)?;
    match difference(&expected, &got) {
        None => Ok(()),
        Some(found) => Err(found),
    }
}

fn try_programs(setup: Setup, name: &str, strategy: impl Strategy<Value = Program>) {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok());
    let cases = cases.unwrap_or(if cfg!(target_arch = "x86_64") {
        400
    } else {
        40
    });
    let config = Config {
        cases,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..Config::default()
    };
    // Should a program take the process down, it is still found here.
    let last = format!(
        "{}/model-last-{name}-{setup:?}.json",
        env!("CARGO_TARGET_TMPDIR")
    );
    let result = TestRunner::new(config).run(&strategy, |program| {
        let _ = std::fs::write(&last, program.json().to_string());
        compare(&program, setup).map_err(TestCaseError::fail)
    });
    if let Err(proptest::test_runner::TestError::Fail(found, program)) = result {
        let mut line = program.json();
        line["trace"] = serde_json::json!([]);
        panic!(
            "{setup}: the runtime and the model disagree.\n{line}\n{}",
            found.message()
        );
    }
    result.expect("programs can be generated");
}

/// Which operations a program favours.
#[derive(Clone, Copy)]
enum Flavour {
    Recorded,
    Nested,
    Crowded,
    Trapped,
}

/// Operations on channels 0..3 and tasklets 0..12; [`fit`] brings the indices into a program's
/// range.
fn op(flavour: Flavour) -> impl Strategy<Value = Op> {
    let (nested, crowded, trapped) = match flavour {
        Flavour::Recorded => (1, 1, 1),
        Flavour::Nested => (6, 1, 1),
        Flavour::Crowded => (1, 6, 1),
        Flavour::Trapped => (1, 1, 8),
    };
    let c = 0..3usize;
    let i = 0..12usize;
    let value = 0..100i64;
    let t = prop_oneof![19 => (0..12usize).prop_map(Who::Task), 1 => Just(Who::Main)];
    let some_value = proptest::option::weighted(0.3, 0..100i64);
    prop_oneof![
        12 => i.clone().prop_map(Op::Spawn),
        1 => i.prop_map(Op::Bind),
        1 => t.clone().prop_map(Op::Unbind),
        20 * crowded => (c.clone(), value.clone()).prop_map(|(c, v)| Op::Send(c, v)),
        20 * crowded => c.clone().prop_map(Op::Recv),
        4 * crowded => (c.clone(), value.clone()).prop_map(|(c, v)| Op::SendExc(c, v)),
        3 * crowded => (c.clone(), 0..4usize).prop_map(|(c, n)| Op::SendSeq(c, n)),
        2 * crowded => c.clone().prop_map(Op::Next),
        12 => some_value.clone().prop_map(Op::Schedule),
        2 => some_value.prop_map(Op::ScheduleRemove),
        4 * nested => Just(Op::Run),
        2 * nested => t.clone().prop_map(Op::Insert),
        2 => t.clone().prop_map(Op::Remove),
        6 * nested => t.clone().prop_map(Op::TaskRun),
        2 * nested => t.clone().prop_map(Op::Switch),
        2 * nested => (t.clone(), any::<bool>()).prop_map(|(t, pending)| Op::Kill(t, pending)),
        2 * nested => (t.clone(), value.clone(), any::<bool>()).prop_map(|(t, code, pending)| Op::Throw(t, code, pending)),
        2 => (t.clone(), value.clone()).prop_map(|(t, code)| Op::Raise(t, code)),
        2 => value.prop_map(Op::RaiseHere),
        4 => (c.clone(), -1..=1i32).prop_map(|(c, p)| Op::Pref(c, p)),
        2 => (c.clone(), any::<bool>()).prop_map(|(c, b)| Op::SchedAll(c, b)),
        1 => c.clone().prop_map(Op::Close),
        1 => c.clone().prop_map(Op::Open),
        1 => (t.clone(), any::<bool>()).prop_map(|(t, b)| Op::BlockTrap(t, b)),
        trapped => prop_oneof![Just(Op::Trap(1)), Just(Op::Trap(-1))],
        3 => c.prop_map(Op::QueryChannel),
        3 => t.prop_map(Op::QueryTask),
        2 => Just(Op::QueryCount),
        3 => Just(Op::QueryRing),
    ]
}

fn program(
    flavour: Flavour,
    tasks: std::ops::RangeInclusive<usize>,
    ops: usize,
) -> impl Strategy<Value = Program> {
    let channel = (
        prop_oneof![3 => Just(-1), 1 => Just(0), 1 => Just(1)],
        proptest::bool::weighted(0.2),
    );
    // Most tasklets are set up first, or little would happen.
    let tasks = vec(
        (proptest::bool::weighted(0.8), vec(op(flavour), 0..=ops)),
        tasks,
    );
    (vec(channel, 1..=3), tasks, vec(op(flavour), 0..=ops)).prop_map(|(channels, tasks, main)| {
        let spawns = tasks
            .iter()
            .enumerate()
            .filter(|(_, (spawned, _))| *spawned)
            .map(|(i, _)| Op::Spawn(i));
        let fit = |op: &Op| fit(op, channels.len(), tasks.len());
        Program {
            seed: 0,
            main: spawns.chain(main.iter().map(fit)).collect(),
            tasks: tasks
                .iter()
                .map(|(_, ops)| ops.iter().map(fit).collect())
                .collect(),
            channels: channels.clone(),
            trace: Vec::new(),
        }
    })
}

/// The same operation on a channel and a tasklet that exist.
fn fit(op: &Op, channels: usize, tasks: usize) -> Op {
    let c = |c: usize| c % channels;
    let i = |i: usize| i % tasks;
    let t = |t: Who| match t {
        Who::Main => Who::Main,
        Who::Task(i) => Who::Task(i % tasks),
    };
    match *op {
        Op::Spawn(x) => Op::Spawn(i(x)),
        Op::Bind(x) => Op::Bind(i(x)),
        Op::Unbind(x) => Op::Unbind(t(x)),
        Op::Send(x, v) => Op::Send(c(x), v),
        Op::Recv(x) => Op::Recv(c(x)),
        Op::SendExc(x, v) => Op::SendExc(c(x), v),
        Op::SendSeq(x, n) => Op::SendSeq(c(x), n),
        Op::Next(x) => Op::Next(c(x)),
        Op::Insert(x) => Op::Insert(t(x)),
        Op::Remove(x) => Op::Remove(t(x)),
        Op::TaskRun(x) => Op::TaskRun(t(x)),
        Op::Switch(x) => Op::Switch(t(x)),
        Op::Kill(x, b) => Op::Kill(t(x), b),
        Op::Throw(x, v, b) => Op::Throw(t(x), v, b),
        Op::Raise(x, v) => Op::Raise(t(x), v),
        Op::Pref(x, p) => Op::Pref(c(x), p),
        Op::SchedAll(x, b) => Op::SchedAll(c(x), b),
        Op::Close(x) => Op::Close(c(x)),
        Op::Open(x) => Op::Open(c(x)),
        Op::BlockTrap(x, b) => Op::BlockTrap(t(x), b),
        Op::QueryChannel(x) => Op::QueryChannel(c(x)),
        Op::QueryTask(x) => Op::QueryTask(t(x)),
        Op::Schedule(_)
        | Op::ScheduleRemove(_)
        | Op::Run
        | Op::RaiseHere(_)
        | Op::Trap(_)
        | Op::QueryCount
        | Op::QueryRing => op.clone(),
    }
}
