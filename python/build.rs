//! Compiles the one C file that belongs to the interpreter's minor version, against its headers.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=csrc");
    println!("cargo:rerun-if-env-changed=PYO3_PYTHON");
    let python = env::var("PYO3_PYTHON").unwrap_or_else(|_| "python3".into());
    let question = "import sys, sysconfig; p = sysconfig.get_paths(); \
        print('%d%02d' % sys.version_info[:2], p['include'], p['platinclude'], \
        bool(sysconfig.get_config_var('Py_GIL_DISABLED')), sep='\\n')";
    let output = Command::new(&python)
        .args(["-c", question])
        .output()
        .unwrap_or_else(|error| panic!("{python} could not be asked for its headers: {error}"));
    assert!(
        output.status.success(),
        "{python} did not say where its headers are"
    );
    let answer = String::from_utf8_lossy(&output.stdout);
    let mut lines = answer.lines();
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (version, include, platform, no_gil) = (next(), next(), next(), next());
    assert!(no_gil != "True", "a CPython without the GIL cannot be used");
    assert!(
        version == "311",
        "{python} is none of the versions whose thread state is known: 3.11"
    );
    cc::Build::new()
        .file(format!("csrc/state_{version}.c"))
        .include(&include)
        .include(&platform)
        .include("csrc")
        .warnings(true)
        .warnings_into_errors(true)
        .flag("-Wno-unused-parameter")
        .opt_level(2)
        .compile("stackless_state");
}
