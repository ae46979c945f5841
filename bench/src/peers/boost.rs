//! Boost.Context and Boost.Fiber: the C++ program in bench/cpp, built by build.rs where
//! Boost is installed.

use super::outside;
use crate::cases::Case;
use crate::offer::Timed;
use std::process::Command;

pub fn timed_context(case: Case) -> Timed {
    match case {
        Case::Switch => Some(outside::batch(command(), "context-switch")),
        _ => None,
    }
}

pub fn timed_fiber(case: Case) -> Timed {
    let name = match case {
        Case::Yield => "fiber-yield",
        Case::YieldMany => "fiber-yield-many",
        Case::Rendezvous | Case::RendezvousSliced => "fiber-rendezvous",
        Case::Spawn | Case::SpawnJoin => "fiber-spawn",
        Case::SpawnBurst => "fiber-spawn-burst",
        _ => return None,
    };
    Some(outside::batch(command(), name))
}

pub fn herd_context() -> Result<Command, String> {
    herd("context")
}

pub fn herd_fiber() -> Result<Command, String> {
    herd("fiber")
}

fn herd(library: &str) -> Result<Command, String> {
    let mut command = command()?;
    command.args(["herd", library]);
    Ok(command)
}

fn command() -> Result<Command, String> {
    match env!("BENCH_BOOST") {
        "" => Err("not installed when this was built: no compiler, headers or libraries (Debian: libboost-fiber-dev, libboost-context-dev)".into()),
        program => Ok(Command::new(program)),
    }
}
