//! The README is always true: its examples are those that the tests run, and the
//! files it names exist. (Its Rust example is run as a documentation test.)

use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The first fenced block of a language.
fn block(text: &str, language: &str) -> String {
    let fence = format!("```{language}\n");
    let start = text.find(&fence).expect("the README has such a block") + fence.len();
    let end = text[start..].find("```").unwrap() + start;
    text[start..end].to_string()
}

#[test]
fn the_cpp_example_is_the_one_that_the_host_tests_build_and_run() {
    let example = fs::read_to_string(root().join("host/examples/two_tasklets.cpp")).unwrap();
    assert_eq!(block(&readme(), "cpp"), example);
}

#[test]
fn the_two_commands_exist() {
    let commands = block(&readme(), "sh");
    let named: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(named, ["ci/demo", "ci/test"]);
    for name in named {
        assert!(root().join(name).is_file(), "{name} is missing");
    }
}

#[test]
fn every_file_it_points_to_exists() {
    for text in [
        readme(),
        fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap(),
    ] {
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            // A place within a page is not looked for.
            let target = target.split('#').next().unwrap();
            if !target.contains("://") {
                assert!(root().join(target).exists(), "{target} is missing");
            }
        }
    }
}
