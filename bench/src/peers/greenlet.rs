//! greenlet: the program bench/python/peer.py, where a Python with that module is found. It
//! is the nearest relative, the same slices under an interpreter.

use super::outside;
use crate::cases::Case;
use crate::offer::Timed;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

pub fn timed(case: Case) -> Timed {
    // The size of its slices is the interpreter's business, a few hundred bytes.
    let able = matches!(case, Case::SlicedSwitch(256));
    able.then(|| {
        outside::batch(command(), "switch").map(|able| able.noting("with CPython's interpreter"))
    })
}

pub fn herd() -> Result<Command, String> {
    let mut command = command()?;
    command.arg("herd");
    Ok(command)
}

fn command() -> Result<Command, String> {
    static PYTHON: OnceLock<Option<&str>> = OnceLock::new();
    // A version manager may hide the system's own, which has the system's packages.
    let candidates = ["python3", "/usr/bin/python3"];
    let python = PYTHON.get_or_init(|| candidates.into_iter().find(|python| has_greenlet(python)));
    let Some(python) = python else {
        return Err(
            "not installed: no python3 can import greenlet (Debian: python3-greenlet)".into(),
        );
    };
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/peer.py"));
    Ok(command)
}

fn has_greenlet(python: &str) -> bool {
    let mut probe = Command::new(python);
    probe.args(["-c", "import greenlet"]).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}
