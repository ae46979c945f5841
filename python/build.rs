//! Compiles the one C file that belongs to the interpreter's minor version, against its headers.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=csrc");
    println!("cargo:rerun-if-env-changed=PYO3_PYTHON");
    println!("cargo:rerun-if-env-changed=STACKLESS_PYTHON_INCLUDE");
    // The headers of an interpreter that does not run here, separated by colons, pyconfig.h's folder
    // among them; without them an interpreter is asked for its own.
    let (version, include) = match env::var("STACKLESS_PYTHON_INCLUDE") {
        Ok(folders) => described(&folders),
        Err(_) => asked(),
    };
    assert!(
        version == "311",
        "version {version} is none of those whose thread state is known: 311"
    );
    cc::Build::new()
        .file(format!("csrc/state_{version}.c"))
        .includes(&include)
        .include("csrc")
        .warnings(true)
        .warnings_into_errors(true)
        .flag("-Wno-unused-parameter")
        .opt_level(2)
        .compile("stackless_state");
}

/// The version that the headers in `folders` are of, and the folders.
fn described(folders: &str) -> (String, Vec<String>) {
    let include: Vec<String> = folders.split(':').map(str::to_owned).collect();
    let read = |name| {
        let found = include
            .iter()
            .map(|folder| Path::new(folder).join(name))
            .find(|p| p.exists());
        let path = found.unwrap_or_else(|| panic!("{name} is in none of {folders}"));
        println!("cargo:rerun-if-changed={}", path.display());
        fs::read_to_string(path).expect("a header that can be read")
    };
    let (level, config) = (read("patchlevel.h"), read("pyconfig.h"));
    let defined = |header: &str, name| {
        let mut lines = header.lines().map(str::split_whitespace);
        lines.find_map(|mut words| {
            let named = words.next() == Some("#define") && words.next() == Some(name);
            named.then(|| words.next().unwrap_or_default().to_owned())
        })
    };
    let number = |name| -> u32 {
        let value = defined(&level, name).and_then(|v| v.parse().ok());
        value.unwrap_or_else(|| panic!("patchlevel.h has no {name}"))
    };
    let version = format!(
        "{}{:02}",
        number("PY_MAJOR_VERSION"),
        number("PY_MINOR_VERSION")
    );
    refuse_without_gil(defined(&config, "Py_GIL_DISABLED").is_some());
    (version, include)
}

/// The version of the interpreter that PYO3_PYTHON names, and the folders of its headers.
fn asked() -> (String, Vec<String>) {
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
    refuse_without_gil(no_gil == "True");
    (version, vec![include, platform])
}

fn refuse_without_gil(no_gil: bool) {
    assert!(!no_gil, "a CPython without the GIL cannot be used");
}
