//! What the cases about sockets stand on: descriptors, and connections. The other ends of idle ones
//! are held by a process of their own, which does nothing until it is asked.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use crate::herd::expect;

/// First argument of a process that holds other ends.
pub const HOLDER: &str = "--holder-child";

/// Connections that are made at once: a listener's queue has room for them.
const LOT: usize = 100;

/// Descriptors that nobody counts: pipes, epoll instances, the files of `/proc`.
const SPARE: usize = 64;

/// Raises how many descriptors this process may have, so that `more` can be opened. The error says
/// how many are allowed.
pub fn descriptors(more: usize) -> Result<(), String> {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let needed = (open + more + SPARE) as libc::rlim_t;
    // SAFETY: both calls are given a live structure; all zeroes is a valid one.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        let allowed = limit.rlim_max;
        if limit.rlim_cur >= needed {
            return Ok(());
        }
        // Above the hard limit only root gets it.
        limit.rlim_cur = needed.max(allowed);
        limit.rlim_max = limit.rlim_cur;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
            return Err(format!(
                "it needs {needed} descriptors, and this process may have {allowed} (ulimit -Hn)"
            ));
        }
    }
    Ok(())
}

/// Both ends of so many connections. Small messages leave at once.
pub fn pairs(count: usize) -> Result<Vec<(TcpStream, TcpStream)>, String> {
    descriptors(2 * count)?;
    let pair = |listener: &TcpListener| -> io::Result<_> {
        let one = TcpStream::connect(listener.local_addr()?)?;
        let (other, _) = listener.accept()?;
        one.set_nodelay(true)?;
        other.set_nodelay(true)?;
        Ok((one, other))
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let pairs = (0..count).map(|_| pair(&listener));
    pairs.collect::<io::Result<_>>().map_err(failed)
}

fn failed(error: io::Error) -> String {
    format!("no connection: {error}")
}

/// The process at the other end of idle connections. It ends when this is dropped.
pub struct Holder {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Holder {
    /// So many connections to a new holder.
    pub fn connect(count: usize) -> Result<(Holder, Vec<TcpStream>), String> {
        descriptors(count)?;
        let connect = || -> io::Result<_> {
            let mut holder = Holder::start()?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = listener.local_addr()?.port();
            let mut streams = Vec::with_capacity(count);
            while streams.len() < count {
                let lot = LOT.min(count - streams.len());
                holder.tell(&format!("connect {port} {lot}"), "connected")?;
                for _ in 0..lot {
                    let (stream, _) = listener.accept()?;
                    stream.set_nodelay(true)?;
                    streams.push(stream);
                }
            }
            Ok((holder, streams))
        };
        connect().map_err(failed)
    }

    fn start() -> io::Result<Holder> {
        // This very program, even if it was built anew since it was started.
        let mut process = Command::new("/proc/self/exe")
            .arg(HOLDER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let output = output.ok_or_else(|| io::Error::other("no pipe"))?;
        Ok(Holder {
            process,
            input,
            output: BufReader::new(output),
        })
    }

    /// Has it send a byte over each connection, and read it back; returns how many answered.
    pub fn ask(&mut self) -> io::Result<usize> {
        let answered = self.tell("ask", "answered")?;
        answered.parse().map_err(io::Error::other)
    }

    fn tell(&mut self, line: &str, answer: &str) -> io::Result<String> {
        let input = self
            .input
            .as_mut()
            .ok_or_else(|| io::Error::other("no pipe"))?;
        writeln!(input, "{line}")?;
        expect(&mut self.output, answer)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// The other side: `bench --holder-child`.
pub fn child() -> ExitCode {
    match hold() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: the other ends of idle connections: {why}");
            ExitCode::FAILURE
        }
    }
}

fn hold() -> Result<(), String> {
    let mut streams: Vec<TcpStream> = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line.map_err(failed)?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["connect", port, count] => {
                let number = |text: &str| text.parse::<u16>().map_err(|e| e.to_string());
                let (port, count) = (number(port)?, number(count)?);
                descriptors(count.into())?;
                for _ in 0..count {
                    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
                    let stream = stream.map_err(failed)?;
                    stream.set_nodelay(true).map_err(failed)?;
                    streams.push(stream);
                }
                println!("connected");
            }
            ["ask"] => {
                let mut answered = 0;
                for (number, mut stream) in streams.iter().enumerate() {
                    let (question, mut answer) = ([number as u8], [0]);
                    stream.write_all(&question).map_err(failed)?;
                    stream.read_exact(&mut answer).map_err(failed)?;
                    answered += usize::from(answer == question);
                }
                println!("answered {answered}");
            }
            _ => return Err(format!("it was told {line:?}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_both_ends() {
        for (mut one, mut other) in pairs(2).unwrap() {
            one.write_all(b"x").unwrap();
            let mut byte = [0];
            other.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"x");
        }
    }

    #[test]
    fn more_descriptors_than_there_can_be_are_refused_in_one_line() {
        let why = descriptors(usize::MAX / 4).unwrap_err();
        assert!(why.contains("ulimit") && why.lines().count() == 1, "{why}");
    }
}
