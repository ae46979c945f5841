//! Measures hardswitch and its peers in the same run, and prints what came out beside
//! what was promised.
//!
//! A case (`cases.rs`) is one thing to measure; a peer (`peers/`) is somebody who can do
//! it. The peers of a case take turns, a few milliseconds each, for many rounds
//! (`measure.rs`), so that whatever else the machine does hits all of them alike; the
//! median of each is compared (`report.rs`). Cases about memory run in fresh child
//! processes (`weigh.rs`, `idle.rs`), because a process that has measured something else before
//! has no honest size any more; downloads are processes too (`download.rs`), one of them curl.

mod batch;
mod cases;
mod connections;
mod download;
mod herd;
mod idle;
mod measure;
mod offer;
mod operations;
mod options;
mod peers;
mod report;
mod row;
mod weigh;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    // Processes that it starts itself.
    match args.first().map(String::as_str) {
        Some(herd::CHILD) => return weigh::child(&args[1..]),
        Some(connections::HOLDER) => return connections::child(),
        Some(idle::CHILD) => return idle::child(&args[1..]),
        Some(download::CHILD) => return download::child(&args[1..]),
        _ => {}
    }
    match options::parse(&mut args, &peers::names()) {
        Ok(options::Command::Help) => {
            print!("{}", options::HELP);
            ExitCode::SUCCESS
        }
        Ok(options::Command::List) => {
            print!("{}", report::list());
            ExitCode::SUCCESS
        }
        Ok(options::Command::Measure(options)) => run(&options),
        Err(complaint) => {
            eprintln!("bench: {complaint}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &options::Options) -> ExitCode {
    let mut report = match report::Report::start(options.json.as_deref()) {
        Ok(report) => report,
        Err(error) => {
            eprintln!(
                "bench: cannot write {}: {error}",
                options.json.as_deref().unwrap_or_default()
            );
            return ExitCode::from(2);
        }
    };
    print!("{}", report::heading());
    let mut herds = weigh::Herds::default();
    let mut downloads = download::Downloads::default();
    for &case in &options.cases {
        let measured = match case.kind() {
            cases::Kind::Timed => measure::timed(case, options),
            cases::Kind::Herd => herds.measure(case, options),
            cases::Kind::Idle => idle::measure(options),
            cases::Kind::Download => downloads.measure(case, options),
        };
        if let Err(error) = report.case(case, measured) {
            eprintln!("bench: cannot write the results: {error}");
            return ExitCode::FAILURE;
        }
    }
    report.finish();
    if options.check && report.missed() > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
