//! The tables of what is promised name tests: each of them is there, and each promise has one. The
//! files that `CONTRIBUTING.md` names are there, too.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What the file has: the functions of a Rust file, the test cases of a C++ one; nothing where
/// there is no such file.
fn tests_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let (before, after): (_, &[char]) = match path.extension() {
        Some(end) if end == "rs" => ("fn ", &['(', '<']),
        _ => ("TEST_CASE(\"", &['"']),
    };
    let names = text.split(before).skip(1);
    names
        .filter_map(|rest| rest.split(after).next())
        .map(str::to_owned)
        .collect()
}

/// Where a name of a table says that its test is. Of `docs/conformance.md`: `module::test` of
/// `tests/stackless`, `directory/module::test`, `file/test` of `tests`. Of `docs/promises.md` also
/// paths from the root: `tests/file.rs/test`, `src/module/test`, `models/test`,
/// `host/tests/file.cpp: a test case`; and a script that is a test as a whole, `tests/ci_gdb.sh`.
fn place(name: &str) -> Option<(PathBuf, &str)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if let Some(rest) = name.strip_prefix("host/tests/") {
        let (file, case) = rest.split_once([':', '/', ' '])?;
        let file = file.strip_suffix(".cpp").unwrap_or(file);
        let path = root.join("host/tests").join(file).with_extension("cpp");
        return Some((path, case.trim_matches([' ', '"'])));
    }
    if name.starts_with("tests/") && root.join(name).is_file() {
        return Some((root.join(name), ""));
    }
    let is_name = |s: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '*';
        !s.is_empty() && s.chars().all(plain)
    };
    let (file, test) = match name.split_once("::") {
        Some((module, test)) if module.contains('/') => (module.to_owned(), test),
        Some((module, test)) => (format!("stackless/{module}"), test),
        None => {
            let (file, test) = name.rsplit_once('/')?;
            (file.to_owned(), test)
        }
    };
    let file = file.strip_suffix(".rs").unwrap_or(&file);
    let file = file.strip_prefix("tests/").unwrap_or(file);
    if !file.split('/').all(is_name) || !is_name(test) || file == "tests" {
        return None;
    }
    let rust = match file {
        "models" => root.join("models/src/tests.rs"),
        _ if file.starts_with("src/") => root.join(file).with_extension("rs"),
        _ => root.join("tests").join(file).with_extension("rs"),
    };
    let main = root.join("tests").join(file).join("main.rs");
    Some((if rust.is_file() { rust } else { main }, test))
}

/// Finds out whether tests are there; reads each file once.
#[derive(Default)]
struct Looked {
    files: HashMap<PathBuf, Vec<String>>,
    found: usize,
    missing: Vec<String>,
}

impl Looked {
    fn look(&mut self, path: &Path, test: &str) {
        let tests = self.files.entry(path.to_owned());
        let tests = tests.or_insert_with(|| tests_of(path));
        // "x*" is any that begins so.
        let there = match test.strip_suffix('*') {
            Some(start) => tests.iter().any(|t| t.starts_with(start)),
            None => test.is_empty() || tests.iter().any(|t| t == test),
        };
        match there {
            true => self.found += 1,
            false => self.missing.push(format!("{}: {test}", path.display())),
        }
    }
}

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::read_to_string(path.join(name)).unwrap()
}

/// What stands between backquotes.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_the_table_names_exists() {
    let table = document("conformance.md");
    let (mut looked, mut file) = (Looked::default(), PathBuf::new());
    let rows = table.lines().filter(|line| line.starts_with('|'));
    for name in rows.flat_map(code) {
        // A name that begins with "::" is of the file named last.
        let (path, test) = match (name.strip_prefix("::"), place(name)) {
            (Some(test), _) => (file.clone(), test),
            (None, Some(place)) => place,
            (None, None) => continue,
        };
        looked.look(&path, test);
        file = path;
    }
    assert!(looked.missing.is_empty(), "{:#?}", looked.missing);
    assert!(looked.found > 300, "{}", looked.found);
}

/// The tables of `docs/promises.md` whose last column names tests: those that have such a head.
#[test]
fn every_promise_names_tests_and_they_exist() {
    let table = document("promises.md");
    let (mut looked, mut bare, mut names_tests) = (Looked::default(), vec![], false);
    let (mut heads, mut before) = (0, "");
    for line in table.lines() {
        let row = line.strip_prefix('|').and_then(|l| l.strip_suffix('|'));
        let cells: Vec<&str> = row.map_or(vec![], |row| row.split('|').map(str::trim).collect());
        let last = cells.last().copied().unwrap_or_default();
        if !cells.is_empty() && !before.starts_with('|') {
            names_tests = last == "test";
            heads += usize::from(names_tests);
        } else if names_tests && !last.starts_with("---") && !cells.is_empty() {
            let places: Vec<_> = code(last).map(|name| (name, place(name))).collect();
            if places.is_empty() || places.iter().any(|(_, place)| place.is_none()) {
                bare.push(line);
            }
            for (path, test) in places.into_iter().filter_map(|(_, place)| place) {
                looked.look(&path, test);
            }
        }
        before = line;
    }
    assert!(bare.is_empty(), "these name no test: {bare:#?}");
    assert!(looked.missing.is_empty(), "{:#?}", looked.missing);
    assert!(heads >= 4, "{heads} tables of promises");
}

/// Only what a table names is looked at: there a path stands for the file that a change touches,
/// and one with `NAME` in it for a new file.
#[test]
fn every_file_that_a_change_is_said_to_touch_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let paths = rows.flat_map(code).filter(|name| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        name.contains('/') && !name.contains("NAME") && name.chars().all(plain)
    });
    let (found, missing): (Vec<_>, Vec<_>) = paths.partition(|name| root.join(name).exists());
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(found.len() > 80, "{}", found.len());
}

#[test]
fn a_name_leads_to_its_file() {
    let ends = |name: &str, end: &str, test: &str| {
        let (path, found) = place(name).expect(name);
        assert!(path.ends_with(end), "{name}: {}", path.display());
        assert_eq!(found, test);
        let mut looked = Looked::default();
        looked.look(&path, test);
        assert_eq!(looked.found, 1, "{name}");
        looked.look(&path, "no_such_test");
        assert_eq!(looked.missing.len(), 1);
    };
    ends("drops::*", "tests/stackless/drops.rs", "*");
    ends("stacklesslib/wait::*", "tests/stacklesslib/wait.rs", "*");
    ends("budget/the*", "tests/budget.rs", "the*");
    ends("tests/budget.rs/the*", "tests/budget.rs", "the*");
    ends("registers/*", "tests/registers/main.rs", "*");
    ends("models/*", "models/src/tests.rs", "*");
    ends("src/sync/tests/*", "src/sync/tests.rs", "*");
    let case = "the examples of the standard";
    let name = format!("host/tests/test_sha256.cpp: {case}");
    ends(&name, "host/tests/test_sha256.cpp", case);
    assert_eq!(place("hsw_join_wait"), None);
    assert_eq!(place("Error::Closed"), None);
}
