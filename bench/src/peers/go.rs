//! Go: the program in bench/go, built when it is needed. GOMAXPROCS=1, and 2 where two threads
//! meet.

use super::outside;
use crate::cases::Case;
use crate::offer::Timed;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub fn timed(case: Case) -> Timed {
    let name = match case {
        Case::Yield => "yield",
        Case::YieldMany => "yield-many",
        Case::Rendezvous | Case::RendezvousSliced => "rendezvous",
        Case::Spawn => "spawn",
        Case::SpawnJoin => "spawn-join",
        Case::SpawnBurst => "spawn-burst",
        Case::ThreadRendezvous => "thread-rendezvous",
        _ => return None,
    };
    let batch = outside::batch(command(), name);
    Some(match case {
        Case::ThreadRendezvous => batch.map(|able| {
            able.noting("GOMAXPROCS=2; the goroutines may share a thread, and mostly do")
        }),
        _ => batch,
    })
}

/// With each goroutine tied to a thread of its own.
pub fn timed_locked(case: Case) -> Timed {
    (case == Case::ThreadRendezvous).then(|| {
        outside::batch(command(), "thread-rendezvous-locked")
            .map(|able| able.noting("GOMAXPROCS=2, LockOSThread on both sides"))
    })
}

pub fn herd() -> Result<Command, String> {
    let mut command = command()?;
    command.arg("herd");
    Ok(command)
}

fn command() -> Result<Command, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let program = BUILT.get_or_init(build).as_ref().map_err(String::clone)?;
    let mut command = Command::new(program);
    command.env("GOMAXPROCS", "1");
    Ok(command)
}

/// `go build` beside this program, from files alone: nothing is downloaded.
fn build() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = this.with_file_name("bench-go");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/go");
    let mut go = Command::new("go");
    go.args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source);
    go.env("GOPROXY", "off")
        .env("GOFLAGS", "-mod=mod")
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local");
    match go.output() {
        Err(_) if !Path::new(source).exists() => Err(format!("its source {source} is gone")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("not installed: no `go` in PATH (Debian: golang)".into())
        }
        Err(error) => Err(error.to_string()),
        Ok(output) if !output.status.success() => Err(format!(
            "go build: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Ok(_) => Ok(program),
    }
}
