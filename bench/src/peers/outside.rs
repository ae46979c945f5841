//! Peers that are programs of their own, asked line by line so that their batches take
//! turns with everybody's: `CASE OPERATIONS` in, `took NANOSECONDS PREEMPTIONS` out.

use crate::batch::ELSEWHERE;
use crate::herd::expect;
use crate::offer::Able;
use std::io::{self, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A batch of the program that `command` starts.
pub fn batch(command: Result<Command, String>, case: &'static str) -> Result<Able, String> {
    let mut peer = Peer::start(command?).map_err(|error| format!("cannot start it: {error}"))?;
    Ok(Able::new(move |operations| {
        peer.ask(case, operations)
            .expect("a peer that has started answers")
    }))
}

struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(mut command: Command) -> io::Result<Peer> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipe"));
        };
        Ok(Peer {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    fn ask(&mut self, case: &str, operations: u64) -> io::Result<Duration> {
        writeln!(self.input, "{case} {operations}")?;
        let answer = expect(&mut self.output, "took")?;
        let mut numbers = answer.split(' ').map(str::parse);
        let (Some(Ok(nanoseconds)), Some(Ok(preemptions))) = (numbers.next(), numbers.next())
        else {
            return Err(io::Error::other(format!("it took {answer:?}")));
        };
        ELSEWHERE.fetch_add(preemptions as i64, Ordering::Relaxed);
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends at what is no case.
        let _ = self.input.write_all(b"end 0\n");
        let _ = self.child.wait();
    }
}
