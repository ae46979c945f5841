//! Listings of tasklets for people to read.

use alloc::string::String;
use core::fmt::{self, Write};

use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::task::flag;

/// Writes a line for each tasklet of the calling thread, main first. It tells the name, the state,
/// for a blocked tasklet the channel's [id](crate::Channel::id) and the direction, and where the
/// stack is. With `backtraces`, the [backtrace](Tasklet::backtrace) of each started tasklet follows
/// (only with std).
///
/// ```
/// let channel = hardswitch::Channel::<u32>::new();
/// let of_it = channel.clone();
/// hardswitch::Tasklet::builder().name("reader").spawn(move || {
///     of_it.receive()?;
///     Ok(())
/// }).unwrap();
/// hardswitch::run().unwrap();
/// let mut text = String::new();
/// hardswitch::dump_tasklets(&mut text, false).unwrap();
/// let line = format!("receives on channel {:#x}", channel.id());
/// assert!(text.contains(&line), "{text}");
/// # channel.send(0).unwrap();
/// ```
///
/// # Errors
/// Those of `out`.
pub fn dump_tasklets(out: &mut impl Write, backtraces: bool) -> fmt::Result {
    let runtime = Runtime::get();
    let all = runtime.all_tasklets();
    writeln!(
        out,
        "{} tasklets, {} can run, {} bytes in slices",
        all.len(),
        runtime.queue.len(),
        runtime.slices.in_use()
    )?;
    for (number, tasklet) in all.iter().enumerate() {
        // The writer may be code of the caller's, which may run or end any tasklet: it gets a whole
        // line, of one moment.
        let text = line(runtime, tasklet)?;
        writeln!(out, "{number:4}: {text}")?;
        if backtraces {
            super::write_backtrace(out, tasklet)?;
        }
    }
    Ok(())
}

fn line(runtime: &Runtime, tasklet: &Tasklet) -> Result<String, fmt::Error> {
    let mut out = String::new();
    // It asks the clock, which may be the host's and run code of the host's.
    let stats = tasklet.stats();
    // SAFETY: the handle keeps the task alive, and no code of others runs while the line is made.
    let task = unsafe { &*tasklet.as_ptr() };
    match task.name() {
        Some(name) => write!(out, "{name:?} ")?,
        None if tasklet.is_main() => out.push_str("main "),
        None => write!(out, "{:#x} ", tasklet.id())?,
    }
    let waits_in_run = || runtime.watchdogs.borrow().contains(&tasklet.as_ptr());
    if tasklet.is_zombie() {
        out.push_str("zombie, ");
    }
    if tasklet.is_current() {
        out.push_str("running");
    } else if task.is(flag::SELECTING) {
        out.push_str("blocked: in a select");
    } else if tasklet.is_blocked() {
        let what = if task.is(flag::SENDING) {
            "sends"
        } else {
            "receives"
        };
        write!(
            out,
            "blocked: {what} on channel {:#x}",
            task.channel as usize
        )?;
    } else if tasklet.is_scheduled() {
        out.push_str("can run");
    } else if waits_in_run() {
        out.push_str("waits in run()");
    } else if tasklet.is_alive() {
        out.push_str("paused");
    } else if task.is(flag::BOUND) {
        out.push_str("bound");
    } else {
        out.push_str("not alive");
        return Ok(out);
    }
    if task.is(flag::BOUND) {
        out.push_str(", has not started");
    } else if !tasklet.is_main() && !tasklet.is_current() {
        let place = match (tasklet.is_sliced(), task.is(flag::AWAY)) {
            (false, _) => "of its own stack",
            (true, false) => "in its window",
            (true, true) => "in its slice",
        };
        write!(out, ", {} bytes {place}", stats.stack_bytes)?;
    }
    if stats.spilled_bytes != 0 {
        write!(out, ", {} bytes spilled", stats.spilled_bytes)?;
    }
    write!(out, ", switched to {} times", stats.switches)?;
    Ok(out)
}
