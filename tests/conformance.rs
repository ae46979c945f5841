//! The table of what is promised names tests: each of them is there.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// The functions of a test file; empty when there is no such file.
fn functions(path: &Path) -> HashSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let names = text.split("fn ").skip(1);
    names
        .filter_map(|rest| rest.split(['(', '<']).next())
        .map(str::to_owned)
        .collect()
}

/// Where a name of the table says that its test is: `module::test` of `tests/stackless`, `directory/module::test`, `file/test`.
fn place(name: &str) -> Option<(String, &str)> {
    let is_name = |s: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '*';
        !s.is_empty() && s.chars().all(plain)
    };
    let (file, test) = match name.split_once("::") {
        Some((module, test)) => match module.split_once('/') {
            Some((directory, module)) => (format!("{directory}/{module}"), test),
            None => (format!("stackless/{module}"), test),
        },
        None => {
            let (file, test) = name.split_once('/')?;
            (file.to_owned(), test)
        }
    };
    let good = file.split('/').all(is_name) && is_name(test) && file != "tests";
    good.then_some((file, test))
}

#[test]
fn every_test_that_the_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let (mut found, mut missing, mut module) = (0, vec![], String::new());
    let rows = table.lines().filter(|line| line.starts_with('|'));
    for name in rows.flat_map(|row| row.split('`').skip(1).step_by(2)) {
        // A name that begins with "::" is of the file named last.
        let (file, test) = match (name.strip_prefix("::"), place(name)) {
            (Some(test), _) => (module.clone(), test),
            (None, Some(place)) => place,
            (None, None) => continue,
        };
        let path = root.join("tests").join(&file).with_extension("rs");
        let functions = functions(&path);
        // "x*" is any that begins so.
        let there = match test.strip_suffix('*') {
            Some(start) => functions.iter().any(|f| f.starts_with(start)),
            None => functions.contains(test),
        };
        match there {
            true => found += 1,
            false => missing.push(format!("{file}: {test}")),
        }
        module = file;
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(found > 300, "{found}");
}
