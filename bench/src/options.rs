//! The command line.

use crate::cases::Case;

pub const HELP: &str = "\
Measures hardswitch and its peers in one run, taking turns, and prints medians, ratios and goals.

    cargo run --release -p bench -- [CASE..] [OPTION..]

CASE is a name of --list; `sliced-switch` stands for all its sizes. Without a CASE: all.

    --list            the cases, what each measures, and its goals
    --impl A[,B..]    only these implementations
    --rounds N        batches per implementation (default: 41; of the cases that start processes: 3;
                      of the downloads: 5)
    --batch-ms N      length of a batch in milliseconds (default: 2)
    --mib N           length of the downloaded file in MiB (default: 1024)
    --json FILE       also write one JSON object a line: case, impl, unit, median, min, max, n
    --check           exit 1 if a goal was missed
    --help            this

A peer that is not installed is skipped, and a line says so.
Exit 0: measured. Exit 1: a goal was missed, with --check. Exit 2: a bad command line.
";

pub enum Command {
    Help,
    List,
    Measure(Options),
}

pub struct Options {
    pub cases: Vec<Case>,
    pub only: Option<Vec<String>>,
    pub rounds: Option<usize>,
    pub batch_ms: f64,
    pub mib: u64,
    pub json: Option<String>,
    pub check: bool,
}

impl Options {
    pub fn wants(&self, implementation: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.iter().any(|name| name == implementation))
    }
}

/// `known`: the implementations that may be named.
pub fn parse(args: &mut Vec<String>, known: &[&str]) -> Result<Command, String> {
    let mut options = Options {
        cases: Vec::new(),
        only: None,
        rounds: None,
        batch_ms: 2.0,
        mib: 1024,
        json: None,
        check: false,
    };
    let mut args = args.drain(..);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--list" => return Ok(Command::List),
            "--check" => options.check = true,
            "--json" => options.json = Some(value()?),
            "--rounds" => {
                let text = value()?;
                let rounds = text.parse().ok().filter(|&rounds| rounds > 0);
                options.rounds = Some(
                    rounds.ok_or_else(|| format!("--rounds {text}: a number above 0 is needed"))?,
                );
            }
            "--batch-ms" => {
                let text = value()?;
                let length = text
                    .parse()
                    .ok()
                    .filter(|length| (0.1..=10_000.0).contains(length));
                options.batch_ms =
                    length.ok_or_else(|| format!("--batch-ms {text}: 0.1 to 10000 is needed"))?;
            }
            "--mib" => {
                let text = value()?;
                let length = text.parse().ok().filter(|mib| (1..=65_536).contains(mib));
                options.mib =
                    length.ok_or_else(|| format!("--mib {text}: 1 to 65536 is needed"))?;
            }
            "--impl" => {
                let names: Vec<String> = value()?.split(',').map(str::to_string).collect();
                if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
                    return Err(format!(
                        "no implementation is called {unknown:?}; --list names them"
                    ));
                }
                options.only = Some(names);
            }
            flag if flag.starts_with('-') => {
                return Err(format!("unknown option {flag}; --help lists them"))
            }
            name => {
                let cases = Case::named(name);
                if cases.is_empty() {
                    return Err(format!("no case is called {name:?}; --list names them"));
                }
                options.cases.extend(cases);
            }
        }
    }
    if options.cases.is_empty() {
        options.cases = Case::all();
    }
    Ok(Command::Measure(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        let mut args = line.split_whitespace().map(str::to_string).collect();
        match parse(&mut args, &["hardswitch"])? {
            Command::Measure(options) => Ok(options),
            _ => panic!("{line:?} measures"),
        }
    }

    #[test]
    fn without_a_case_all_are_measured() {
        assert_eq!(parsed("").unwrap().cases, Case::all());
    }

    #[test]
    fn sliced_switch_stands_for_all_its_sizes() {
        let cases = parsed("sliced-switch").unwrap().cases;
        assert_eq!(cases.len(), crate::cases::SLICES.len());
        assert_eq!(parsed("sliced-switch/256").unwrap().cases.len(), 1);
    }

    #[test]
    fn what_is_unknown_is_refused_in_one_line() {
        for line in [
            "nosuch",
            "switch nosuch",
            "--nosuch",
            "--impl nosuch",
            "--rounds 0",
            "--rounds x",
            "--rounds",
            "--batch-ms nan",
            "--json",
            "--mib 0",
            "--mib x",
        ] {
            let complaint = parsed(line).err();
            assert!(
                complaint.is_some_and(|text| text.lines().count() == 1),
                "{line:?}"
            );
        }
    }
}
