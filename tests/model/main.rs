#[path = "../../examples/golden/program.rs"]
mod program;
mod reference;
use std::io::BufRead;

#[test]
fn the_model_agrees_with_every_recorded_trace() {
    let file = flate2::read::GzDecoder::new(&include_bytes!("../golden/golden.jsonl.gz")[..]);
    let mut bad = 0;
    let mut n = 0;
    for line in std::io::BufReader::new(file).lines() {
        let line = line.unwrap();
        let p = program::Program::parse(&line).unwrap();
        n += 1;
        let t = reference::trace(&p);
        if let Some(d) = program::difference(&p.trace, &t) {
            bad += 1;
            if bad < 6 { println!("seed {}\n{}\n{d}", p.seed, p.json()); }
        }
    }
    println!("{n} programs, {bad} mismatches");
    assert_eq!(bad, 0);
}
