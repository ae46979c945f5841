//! The README is always true: its examples are those that the tests run, and what it and the other
//! documents link to is there. (Its Rust example is run as a documentation test.)

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

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
fn the_http_example_of_the_docs_is_in_the_host_tests() {
    let page = fs::read_to_string(root().join("docs/net.md")).unwrap();
    let test = fs::read_to_string(root().join("host/tests/test_cpp_http.cpp")).unwrap();
    assert!(test.contains(&block(&page, "cpp")));
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

/// The name of a heading in a link: small letters, a hyphen for each space, no other signs.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars();
    kept.filter(|&c| c.is_alphanumeric() || " -_".contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .flat_map(char::to_lowercase)
        .collect()
}

/// The documents, each with its path.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let others = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "host/README.md",
    ];
    let paths = others.map(|name| root().join(name)).into_iter().chain(docs);
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    paths.map(read).collect()
}

#[test]
fn every_link_of_a_document_leads_to_a_file_and_a_heading() {
    let (mut files, mut headings) = (0, 0);
    for (page, text) in pages() {
        // In code it is no link.
        let prose: String = text.split("```").step_by(2).collect();
        for link in prose.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            assert!(file.exists(), "{}: {target} is missing", page.display());
            files += 1;
            if !heading.is_empty() {
                let there = fs::read_to_string(&file).unwrap();
                let mut lines = there.lines().filter(|line| line.starts_with('#'));
                let found = lines.any(|line| anchor(line) == heading);
                assert!(found, "{}: no heading for {target}", page.display());
                headings += 1;
            }
        }
    }
    assert!(
        files > 100 && headings > 60,
        "{files} links, {headings} to headings"
    );
}

/// The text of all files of these endings in a folder.
fn text_of(folder: &str, endings: &[&str]) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        if path.is_dir() {
            all.push_str(&text_of(name, endings));
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    all
}

#[test]
fn the_page_for_those_who_come_from_another_library_names_what_there_is() {
    let public = text_of("src", &[".rs"]) + &text_of("include", &[".h", ".hpp"]);
    let public = public + &text_of("python/pysrc", &[".py", ".pyi"]);
    // A name is declared behind such a word; or, in C++ and C, behind its type, and variants and
    // fields stand alone, so any of these signs follows.
    let before = ["fn", "struct", "class", "enum", "mod", "def"];
    let ends = ["(", ";", ":", " =", ",", "{"];
    let (mut declared, mut last) = (HashSet::new(), "");
    for word in public.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_') {
        let name = word.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_');
        if name.is_empty() {
            continue;
        }
        let at = name.as_ptr() as usize - public.as_ptr() as usize;
        let after = &public[at + name.len()..];
        let alone = public[..at].ends_with(' ') && ends.iter().any(|end| after.starts_with(end));
        if alone || before.contains(&last) {
            declared.insert(name);
        }
        last = name;
    }
    // Names of values in the examples of calls, keywords, and what is Python's or the standard's.
    let values = "main locks monkeypatch util mut stackless stacklesslib bytes error move time true value budget exception channel tasklet handles";
    let values: Vec<_> = values
        .split(' ')
        .chain(["Rc", "Cell", "Read", "Write"])
        .collect();
    let page = fs::read_to_string(root().join("docs/coming-from.md")).unwrap();
    let mut names = 0;
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let row = row.replace("\\|", " ");
        for code in row
            .split(" | ")
            .skip(1)
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        {
            let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            for name in words.filter(|word| word.len() > 1 && !values.contains(word)) {
                assert!(declared.contains(name), "{name} of \"{row}\" is not there");
                names += 1;
            }
        }
    }
    assert!(names > 100, "{names} names");
}
