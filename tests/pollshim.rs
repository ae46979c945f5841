//! `libhardswitch_pollshim.so` under programs that know nothing of it, on a system whose `poll` and
//! `select` fail for one socket: a program of C's for both targets, python3 and curl.

#![cfg(target_arch = "x86_64")] // the programs of the other target run under qemu from here

mod common;

use common::reset_when_closed;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const NAMES: [&str; 7] = [
    "__fdelt_chk",
    "__poll_chk",
    "__ppoll_chk",
    "poll",
    "ppoll",
    "pselect",
    "select",
];

/// What a target's programs need.
struct Target {
    shim: PathBuf,
    quirky: PathBuf,
    program: PathBuf,
    emulator: &'static [&'static str],
}

/// The standard output of a command that must succeed.
fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (&output.stdout, &output.stderr);
    let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{out}{err}",
        output.status
    );
    out.into_owned()
}

fn make(target: &str, tools: &str, emulator: &'static [&'static str]) -> Target {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pollshim");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(ROOT).env_remove("RUSTFLAGS");
    cargo.args([
        "build",
        "--release",
        "-p",
        "hardswitch-pollshim",
        "--target",
        target,
    ]);
    output(cargo.arg("--target-dir").arg(&folder));
    let folder = folder.join(target).join("release");
    let made = Target {
        shim: folder.join("libhardswitch_pollshim.so"),
        quirky: folder.join("libquirky.so"),
        program: folder.join("program"),
        emulator,
    };
    // Fortified, as distributions compile.
    let gcc = || {
        let mut gcc = Command::new(format!("{tools}gcc"));
        // A thread that is cancelled in such a library unwinds it.
        gcc.args(["-O2", "-w", "-fexceptions", "-D_FORTIFY_SOURCE=2"]);
        gcc.current_dir(format!("{ROOT}/tests/pollshim"));
        gcc
    };
    output(
        gcc()
            .args(["-shared", "-fPIC", "-U_FORTIFY_SOURCE", "quirky.c", "-o"])
            .arg(&made.quirky),
    );
    output(gcc().args(["program.c", "-o"]).arg(&made.program));
    // It imports what it is to be tried with.
    let list = |options: &[&str], file: &Path| {
        output(Command::new(format!("{tools}nm")).args(options).arg(file))
    };
    let imports = list(&["-D", "--undefined-only"], &made.program);
    for name in NAMES {
        let plain = name == "poll" || name == "ppoll"; // it has the fortified ones
        assert!(
            plain || imports.contains(&format!("U {name}@")),
            "{name}: {imports}"
        );
    }
    // And the library has these names and no other.
    let exports = list(&["-D", "--defined-only", "--format=posix"], &made.shim);
    let mut exports: Vec<_> = exports
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    exports.sort_unstable();
    assert_eq!(exports, NAMES);
    made
}

fn native() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| make("x86_64-unknown-linux-gnu", "", &[]))
}

fn powerpc() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let emulator = &["qemu-ppc64", "-L", "/usr/powerpc64-linux-gnu"];
    TARGET.get_or_init(|| {
        make(
            "powerpc64-unknown-linux-gnu",
            "powerpc64-linux-gnu-",
            emulator,
        )
    })
}

/// What lies under a program.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Under {
    Linux,
    Quirky,
    Shim(&'static str),
}

const SHIMS: [Under; 2] = [Under::Shim("filled"), Under::Shim("untouched")];

impl Target {
    /// The output of a program, and how many calls of the system's failed for a socket.
    fn run(&self, program: &[&str], under: Under) -> (std::process::Output, usize) {
        static RUNS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = std::env::temp_dir().join(format!("hsw-quirky-{}-{run}", std::process::id()));
        let (shim, quirky) = (self.shim.display(), self.quirky.display());
        let mut variables = vec![format!("HSW_QUIRK_LOG={}", log.display())];
        variables.extend(match under {
            Under::Linux => None,
            Under::Quirky => Some(format!("LD_PRELOAD={quirky}")),
            Under::Shim(_) => Some(format!("LD_PRELOAD={shim}:{quirky}")),
        });
        if let Under::Shim(quirk) = under {
            variables.push(format!("HSW_QUIRK={quirk}"));
        }
        let mut command = match self.emulator {
            [] => {
                let mut env = Command::new("env");
                env.args(&variables);
                env
            }
            [emulator, options @ ..] => {
                let mut emulator = Command::new(emulator);
                emulator.args(options);
                variables.iter().for_each(|variable| {
                    emulator.args(["-E", variable]);
                });
                emulator
            }
        };
        let output = command.args(program).output().expect("the program runs");
        let failures = std::fs::read_to_string(&log).unwrap_or_default();
        let failures = failures
            .lines()
            .filter_map(|line| line.split(' ').next()?.parse::<usize>().ok());
        let failures = failures.sum();
        let _ = std::fs::remove_file(log);
        (output, failures)
    }

    /// Under the shim a program says what it says on Linux, and without it something else.
    fn is_unmoved(&self, program: &[&str]) {
        let text = |output: std::process::Output| {
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).expect("it is text")
        };
        let right = text(self.run(program, Under::Linux).0);
        assert!(right.lines().count() > 3, "{right}");
        let (got, failures) = self.run(program, Under::Quirky);
        assert!(
            text(got).contains("reset by peer") && failures > 0,
            "the system has no quirk"
        );
        for under in SHIMS {
            let (got, failures) = self.run(program, under);
            assert_eq!(text(got), right, "{under:?}");
            assert!(failures > 0, "{under:?}");
        }
    }
}

fn path_of(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

#[test]
fn a_program_of_c_gets_the_answers_of_linux() {
    native().is_unmoved(&[path_of(&native().program)]);
}

#[test]
fn a_program_for_powerpc64_gets_the_answers_of_linux() {
    powerpc().is_unmoved(&[path_of(&powerpc().program)]);
}

#[test]
fn python_gets_the_answers_of_linux() {
    native().is_unmoved(&["python3", &format!("{ROOT}/tests/pollshim/program.py")]);
}

/// Answers each caller: `/reset` gets half of its body and a reset, all others a body in pieces.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream: TcpStream = stream.expect("a connection");
        thread::spawn(move || {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    return;
                }
                head.push(byte[0]);
            }
            let reset = head.starts_with(b"GET /reset");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
            for piece in 0..10 {
                thread::sleep(Duration::from_millis(30));
                if reset && piece == 5 {
                    reset_when_closed(&stream);
                    return;
                }
                let _ = stream
                    .write_all(format!("piece {piece}, ").repeat(2).as_bytes()[..10].as_ref());
            }
        });
    }
}

#[test]
fn of_two_downloads_of_curl_only_the_one_fails_that_was_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || serve(&listener));
    let right: String = (0..10)
        .map(|piece| format!("piece {piece}, ").repeat(2)[..10].to_owned())
        .collect();
    let (lost, whole) = (format!("{origin}/reset"), format!("{origin}/whole"));
    let curl = [
        "curl",
        "-q",
        "--silent",
        "--noproxy",
        "*",
        "--max-time",
        "60",
        "--parallel",
        &lost,
        "-o",
        "/dev/null",
        &whole,
    ];
    // On a busy machine curl may be too late to wait for the connection that is lost.
    let run = |under| {
        let mut runs = (0..20).map(|_| native().run(&curl, under));
        runs.find(|(_, failures)| *failures > 0)
            .unwrap_or_else(|| panic!("{under:?}: no call has failed"))
            .0
    };
    let got = run(Under::Quirky);
    assert_ne!(
        String::from_utf8_lossy(&got.stdout),
        right,
        "the system has no quirk: {got:?}"
    );
    for under in SHIMS {
        let got = run(under);
        assert_eq!(
            String::from_utf8_lossy(&got.stdout),
            right,
            "{under:?}: {got:?}"
        );
        assert_eq!(got.status.code(), Some(56), "it lost the other: {got:?}");
    }
}
