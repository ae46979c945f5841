//! The table, the goals and the JSON lines.

use crate::cases::{Bound, Case};
use crate::peers;
use crate::row::{Measured, Row};
use std::fs::File;
use std::io::{self, BufWriter, Write};

pub struct Report {
    json: Option<BufWriter<File>>,
    met: usize,
    missed: usize,
    skipped: Vec<String>,
}

impl Report {
    pub fn start(json: Option<&str>) -> io::Result<Report> {
        let json = json.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Report {
            json,
            met: 0,
            missed: 0,
            skipped: Vec::new(),
        })
    }

    pub fn missed(&self) -> usize {
        self.missed
    }

    pub fn case(&mut self, case: Case, rows: Vec<Row>) -> io::Result<()> {
        let mut measured = Vec::new();
        for row in rows {
            match row {
                Ok(row) => measured.push(row),
                Err(skipped) => {
                    let line = format!("skipped {}: {}", skipped.implementation, skipped.why);
                    if !self.skipped.contains(&line) {
                        println!("{line}");
                        self.skipped.push(line);
                    }
                }
            }
        }
        println!("\n{}: {}", case.name(), case.what());
        table(case, &measured);
        for goal in case.goals() {
            self.goal(case, &goal, &measured);
        }
        if let Some(json) = &mut self.json {
            for row in &measured {
                let (name, implementation, unit) = (case.name(), row.implementation, case.unit());
                let (median, min, max, n) = (row.median(), row.min(), row.max(), row.samples.len());
                // No name has a character that JSON would want escaped.
                writeln!(
                    json,
                    r#"{{"case":"{name}","impl":"{implementation}","unit":"{unit}","median":{median:.3},"min":{min:.3},"max":{max:.3},"n":{n}}}"#
                )?;
            }
            json.flush()?;
        }
        io::stdout().flush()
    }

    fn goal(&mut self, case: Case, goal: &crate::cases::Goal, measured: &[Measured]) {
        let median = |name| {
            measured
                .iter()
                .find(|row| row.implementation == name)
                .map(Measured::median)
        };
        let Some(value) = median(goal.of) else { return };
        let (value, bound, text) = match goal.bound {
            Bound::Absolute(bound) => (value, bound, format!("{bound} {}", case.unit())),
            Bound::Times(factor, peer) => {
                let Some(peers) = median(peer) else { return };
                (value / peers, factor, format!("{factor} x {peer}"))
            }
        };
        let text = format!("{} {text}", sign(case));
        let met = match case.is_rate() {
            true => value >= bound,
            false => value <= bound,
        };
        *(if met { &mut self.met } else { &mut self.missed }) += 1;
        println!(
            "  goal  {:<17} {text:<22} {value:>9.3}  {}",
            goal.of,
            if met { "met" } else { "MISSED" }
        );
    }

    pub fn finish(&self) {
        println!("\n{} goals met, {} missed", self.met, self.missed);
    }
}

/// How a goal of the case compares.
fn sign(case: Case) -> &'static str {
    match case.is_rate() {
        true => ">=",
        false => "<=",
    }
}

fn table(case: Case, measured: &[Measured]) {
    let own = measured
        .iter()
        .find(|row| row.implementation == "hardswitch")
        .map(Measured::median);
    let unit = case.unit();
    println!(
        "  {:<23} {:>10} {:>10} {:>10} {:>5}  hardswitch is",
        "",
        format!("median {unit}"),
        "min",
        "max",
        "n"
    );
    for row in measured {
        let ratio = match own {
            Some(own) if row.implementation != "hardswitch" => {
                format!("{:.2} x", own / row.median())
            }
            _ => String::new(),
        };
        let note = row
            .note
            .as_ref()
            .map(|note| format!("  ({note})"))
            .unwrap_or_default();
        let line = format!(
            "  {:<23} {:>10.2} {:>10.2} {:>10.2} {:>5}  {ratio:>9}{note}",
            row.implementation,
            row.median(),
            row.min(),
            row.max(),
            row.samples.len()
        );
        println!("{}", line.trim_end());
    }
}

/// What was measured, and on what: the first lines of a record.
pub fn heading() -> String {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim());
        value.unwrap_or("unknown").to_string()
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let peers = ["corosensei", "context", "generator", "may", "tokio"];
    let versions = peers.map(|name| format!("{name} {}", locked(name).unwrap_or("?")));
    format!(
        "{}, {processors} processors, Linux {}, load {}\n{}\n",
        field("/proc/cpuinfo", "model name"),
        kernel.trim(),
        load.split(' ').next().unwrap_or("unknown"),
        versions.join(", ")
    )
}

/// The version of a crate in the lock file that this program was built with.
fn locked(name: &str) -> Option<&'static str> {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let (_, rest) = include_str!("../../Cargo.lock").split_once(&entry)?;
    Some(rest.split_once('"')?.0)
}

pub fn list() -> String {
    let mut text = String::new();
    for case in Case::all() {
        text += &format!("{:<20} {} [{}]\n", case.name(), case.what(), case.unit());
        for goal in case.goals() {
            let bound = match goal.bound {
                Bound::Absolute(bound) => format!("{bound} {}", case.unit()),
                Bound::Times(factor, peer) => format!("{factor} x {peer}"),
            };
            text += &format!("{:<20}   goal: {} {} {bound}\n", "", goal.of, sign(case));
        }
    }
    text += "\nimplementations: ";
    text += &peers::names().join(", ");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_heading_names_the_versions_that_were_built() {
        let heading = super::heading();
        assert!(heading.contains("tokio 1."), "{heading}");
        assert!(!heading.contains('?'), "{heading}");
    }
}
