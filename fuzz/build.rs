//! Turns `include/hardswitch.h` into declarations for Rust, each function with a wrapper that counts its calls: so a function that is new in the
//! header and that no program calls is found. It reads what cbindgen writes, not C.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/hardswitch.h");
    println!("cargo::rerun-if-changed={}", header.display());
    println!("cargo::rerun-if-changed=build.rs");
    let text = std::fs::read_to_string(&header).expect("the header");
    let out = std::env::var("OUT_DIR").expect("OUT_DIR");
    std::fs::write(Path::new(&out).join("hsw.rs"), declarations(&text)).expect("a file");
}

/// The header's statements: without comments, preprocessor lines and line breaks.
fn statements(text: &str) -> Vec<String> {
    // What follows is of C++.
    let text = text.split("\n} // extern \"C\"").next().unwrap_or(text);
    let plain: String = text
        .split("/*")
        .map(|part| part.split_once("*/").map_or(part, |(_, code)| code))
        .flat_map(|code| code.lines())
        .map(|line| line.split("//").next().unwrap_or_default().trim())
        .filter(|line| !line.starts_with('#') && *line != "extern \"C\" {" && *line != "}")
        .flat_map(|line| [line, " "])
        .collect();
    let (mut all, mut depth, mut one) = (vec![], 0, String::new());
    for c in plain.chars() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if c == ';' && depth == 0 {
            all.push(one.split_whitespace().collect::<Vec<_>>().join(" "));
            one.clear();
        } else {
            one.push(c);
        }
    }
    all
}

fn declarations(text: &str) -> String {
    let (mut types, mut raw, mut wrappers, mut names) =
        (String::new(), String::new(), String::new(), vec![]);
    for statement in statements(text) {
        if let Some(rest) = statement.strip_prefix("enum ") {
            let (_, variants) = rest.split_once('{').expect("variants");
            for variant in variants.trim_end_matches(" }").split(',') {
                let variant = variant.trim();
                if let Some((name, value)) = variant.split_once(" = ") {
                    writeln!(types, "pub const {name}: i32 = {value};").unwrap();
                }
            }
        } else if let Some((kind, rest)) = ["struct", "union"]
            .iter()
            .find_map(|kind| Some((kind, statement.strip_prefix(&format!("typedef {kind} "))?)))
        {
            let (name, fields) = rest.split_once(" {").expect("fields");
            let fields = fields.rsplit_once('}').expect("fields").0;
            writeln!(
                types,
                "#[repr(C)]\n#[derive(Clone, Copy)]\npub {kind} {name} {{"
            )
            .unwrap();
            for field in fields.split(';').filter(|f| !f.trim().is_empty()) {
                let (name, kind) = declared(field);
                writeln!(types, "    pub {name}: {kind},").unwrap();
            }
            types.push_str("}\n");
        } else if let Some(rest) = statement.strip_prefix("typedef ") {
            match rest.split_once("(*") {
                Some((result, rest)) => {
                    let (name, parameters) = rest.split_once(")(").expect("parameters");
                    let parameters = parameters.trim_end_matches(')');
                    let (list, _) = parameters_of(parameters);
                    let result = returned(result);
                    writeln!(
                        types,
                        "pub type {name} = Option<unsafe extern \"C\" fn({list}){result}>;"
                    )
                    .unwrap();
                }
                None => {
                    let (name, kind) = declared(rest);
                    writeln!(types, "pub type {name} = {kind};").unwrap();
                }
            }
        } else if let Some((head, parameters)) = statement.split_once('(') {
            let (name, result) = declared(head);
            let result = match result.as_str() {
                "c_void" => String::new(),
                result => format!(" -> {result}"),
            };
            let (list, arguments) = parameters_of(parameters.trim_end_matches(')'));
            writeln!(raw, "        pub fn {name}({list}){result};").unwrap();
            writeln!(
                wrappers,
                "#[allow(clippy::missing_safety_doc, clippy::too_many_arguments)]\npub unsafe fn {name}({list}){result} {{\n    called({});\n    unsafe {{ raw::{name}({arguments}) }}\n}}",
                names.len()
            )
            .unwrap();
            names.push(name);
        }
    }
    assert!(names.len() > 250, "{} functions in the header", names.len());
    let count = names.len();
    format!(
        "{types}\nmod raw {{\n    use super::*;\n    extern \"C\" {{\n{raw}    }}\n}}\n{wrappers}\npub const NAMES: [&str; {count}] = {names:?};\n"
    )
}

/// What a function returns, behind its parameters.
fn returned(kind: &str) -> String {
    match rust_type(kind).as_str() {
        "c_void" => String::new(),
        kind => format!(" -> {kind}"),
    }
}

/// Parameters as Rust declares them, and as it passes them on.
fn parameters_of(list: &str) -> (String, String) {
    if list == "void" {
        return Default::default();
    }
    let all: Vec<_> = list.split(',').map(declared).collect();
    let declared: Vec<_> = all.iter().map(|(n, kind)| format!("{n}: {kind}")).collect();
    let passed: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    (declared.join(", "), passed.join(", "))
}

/// Name and type of `const char *name`, `char name[64]` and the like.
fn declared(text: &str) -> (String, String) {
    let text = text.trim();
    let (text, length) = match text.split_once('[') {
        Some((text, length)) => (text, Some(length.trim_end_matches(']'))),
        None => (text, None),
    };
    let at = text
        .rfind(|c: char| !c.is_alphanumeric() && c != '_')
        .map_or(0, |at| at + 1);
    let name = match &text[at..] {
        name @ ("in" | "type" | "loop" | "match") => format!("{name}_"),
        name => name.to_owned(),
    };
    let kind = rust_type(&text[..at]);
    match length {
        Some(length) => (name, format!("[{kind}; {length}]")),
        None => (name, kind),
    }
}

fn rust_type(text: &str) -> String {
    let text = text.replace('*', " * ");
    let mut words = text.split_whitespace().peekable();
    let mut constant = false;
    let mut kind = String::new();
    while let Some(word) = words.next() {
        match word {
            "const" => constant = true,
            "struct" | "union" => {}
            "*" => {
                kind = format!("*{} {kind}", if constant { "const" } else { "mut" });
                constant = words.next_if_eq(&"const").is_some();
            }
            "void" => kind = "c_void".into(),
            "char" => kind = "c_char".into(),
            "bool" => kind = "bool".into(),
            "double" => kind = "f64".into(),
            "size_t" => kind = "usize".into(),
            "ptrdiff_t" => kind = "isize".into(),
            "uint8_t" => kind = "u8".into(),
            "int16_t" => kind = "i16".into(),
            "int32_t" => kind = "i32".into(),
            "int64_t" => kind = "i64".into(),
            "uint16_t" => kind = "u16".into(),
            "uint32_t" => kind = "u32".into(),
            "uint64_t" => kind = "u64".into(),
            own if own.starts_with("hsw_") => kind = own.into(),
            other => panic!("a type that is not known: {other} in {text}"),
        }
    }
    kind
}
