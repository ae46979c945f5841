//! `HSW_BUG=NAME` sets `--cfg NAME` for the models only, so that their dependencies are not
//! compiled anew.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HSW_BUG");
    if let Ok(bug) = std::env::var("HSW_BUG") {
        println!("cargo::rustc-cfg={bug}");
    }
}
