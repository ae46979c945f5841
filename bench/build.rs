//! Builds the C++ peers where Boost is installed, and leaves them out where it is not.
//! They are a program of their own (cpp/boost.cpp says why).

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cpp");
    // Empty: there is none. The program asks for it with env!.
    let program = boost()
        .map(|program| program.display().to_string())
        .unwrap_or_default();
    println!("cargo::rustc-env=BENCH_BOOST={program}");
}

fn boost() -> Option<PathBuf> {
    if std::env::var("CARGO_CFG_TARGET_ARCH").ok()? != "x86_64" {
        return None;
    }
    let program = PathBuf::from(std::env::var("OUT_DIR").ok()?).join("bench-boost");
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .debug(false)
        .define("NDEBUG", None)
        .cargo_metadata(false);
    let mut compiler = build.try_get_compiler().ok()?.to_command();
    compiler.arg("cpp/boost.cpp").arg("-o").arg(&program).args([
        "-pthread",
        "-lboost_fiber",
        "-lboost_context",
    ]);
    // What the compiler has against a machine without Boost is of no interest; the bench
    // says that the peer is missing.
    compiler.output().ok()?.status.success().then_some(program)
}
