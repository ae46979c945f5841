//! The golden language: programs for a scheduler with tasklets and channels, and the events they cause.
//!
//! A program is data: `nc` channels, the operations of the main tasklet and the operations of each other tasklet. A trace is
//! a list of JSON arrays. This file reads and writes both and knows nothing about who executes them; `tests/golden/README.md`
//! describes the language.

use serde_json::{json, Value};

/// Who an operation or an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Main,
    Task(usize),
}

impl Who {
    pub fn json(self) -> Value {
        match self {
            Who::Main => json!("main"),
            Who::Task(i) => json!(i),
        }
    }
}

/// One operation. Channels and tasklets are named by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Spawn(usize),
    Bind(usize),
    Unbind(Who),
    Send(usize, i64),
    Recv(usize),
    SendExc(usize, i64),
    /// Send 0, 1, .. up to, not including, the count.
    SendSeq(usize, usize),
    Next(usize),
    Schedule(Option<i64>),
    ScheduleRemove(Option<i64>),
    Run,
    Insert(Who),
    Remove(Who),
    TaskRun(Who),
    Switch(Who),
    /// The flag is `pending`.
    Kill(Who, bool),
    /// The flag is `pending`.
    Throw(Who, i64, bool),
    /// Always immediate.
    Raise(Who, i64),
    /// End the own tasklet with an error; the main tasklet ignores it.
    RaiseHere(i64),
    Pref(usize, i32),
    SchedAll(usize, bool),
    Close(usize),
    Open(usize),
    BlockTrap(Who, bool),
    Trap(i32),
    QueryChannel(usize),
    QueryTask(Who),
    QueryCount,
    QueryRing,
}

impl Op {
    /// The word an operation has in programs and traces.
    pub fn word(&self) -> &'static str {
        match self {
            Op::Spawn(_) => "spawn",
            Op::Bind(_) => "bind",
            Op::Unbind(_) => "unbind",
            Op::Send(..) => "send",
            Op::Recv(_) => "recv",
            Op::SendExc(..) => "send_exc",
            Op::SendSeq(..) => "send_seq",
            Op::Next(_) => "next",
            Op::Schedule(_) => "schedule",
            Op::ScheduleRemove(_) => "schedule_remove",
            Op::Run => "run",
            Op::Insert(_) => "t_insert",
            Op::Remove(_) => "t_remove",
            Op::TaskRun(_) => "t_run",
            Op::Switch(_) => "t_switch",
            Op::Kill(..) => "t_kill",
            Op::Throw(..) => "t_throw",
            Op::Raise(..) => "t_raise",
            Op::RaiseHere(_) => "raise",
            Op::Pref(..) => "pref",
            Op::SchedAll(..) => "sched_all",
            Op::Close(_) => "close",
            Op::Open(_) => "open",
            Op::BlockTrap(..) => "block_trap",
            Op::Trap(_) => "trap",
            Op::QueryChannel(_) => "q_chan",
            Op::QueryTask(_) => "q_task",
            Op::QueryCount => "q_count",
            Op::QueryRing => "q_ring",
        }
    }

    pub fn json(&self) -> Value {
        let w = self.word();
        match *self {
            Op::Spawn(t) | Op::Bind(t) => json!([w, t]),
            Op::Recv(c) | Op::Next(c) | Op::Close(c) | Op::Open(c) | Op::QueryChannel(c) => {
                json!([w, c])
            }
            Op::Unbind(t)
            | Op::Insert(t)
            | Op::Remove(t)
            | Op::TaskRun(t)
            | Op::Switch(t)
            | Op::QueryTask(t) => {
                json!([w, t.json()])
            }
            Op::Send(c, v) | Op::SendExc(c, v) => json!([w, c, v]),
            Op::SendSeq(c, n) => json!([w, c, n]),
            Op::Schedule(None)
            | Op::ScheduleRemove(None)
            | Op::Run
            | Op::QueryCount
            | Op::QueryRing => json!([w]),
            Op::Schedule(Some(v)) | Op::ScheduleRemove(Some(v)) | Op::RaiseHere(v) => json!([w, v]),
            Op::Kill(t, pending) => json!([w, t.json(), pending]),
            Op::Throw(t, code, pending) => json!([w, t.json(), code, pending]),
            Op::Raise(t, code) => json!([w, t.json(), code]),
            Op::Pref(c, p) => json!([w, c, p]),
            Op::SchedAll(c, b) => json!([w, c, b]),
            Op::BlockTrap(t, b) => json!([w, t.json(), b]),
            Op::Trap(d) => json!([w, d]),
        }
    }
}

/// A program, and the trace it is known to cause if there is one.
#[derive(Clone, Debug)]
pub struct Program {
    /// The number it was generated from: its name.
    pub seed: u64,
    /// Per channel: preference and `schedule_all`.
    pub channels: Vec<(i32, bool)>,
    pub main: Vec<Op>,
    pub tasks: Vec<Vec<Op>>,
    pub trace: Vec<Value>,
}

impl Program {
    /// Reads one line of a file of programs. The error says what is wrong in one sentence.
    pub fn parse(line: &str) -> Result<Program, String> {
        let v: Value = serde_json::from_str(line).map_err(|e| format!("not JSON: {e}"))?;
        if !v.is_object() {
            return Err("a program is a JSON object".into());
        }
        let array = |name: &str| {
            v[name]
                .as_array()
                .ok_or(format!("\"{name}\" is not an array"))
        };
        let channels: Vec<(i32, bool)> = array("chans")?
            .iter()
            .map(|c| match (c[0].as_i64(), c[1].as_bool()) {
                (Some(p @ -1..=1), Some(all)) => Ok((p as i32, all)),
                _ => Err(format!("channel {c} is not [preference, schedule_all]")),
            })
            .collect::<Result<_, _>>()?;
        if v["nc"].as_u64() != Some(channels.len() as u64) {
            return Err("\"nc\" is not the number of channels".into());
        }
        let tasks = array("tasks")?;
        let limits = Limits {
            channels: channels.len(),
            tasks: tasks.len(),
        };
        let ops = |list: &Value| -> Result<Vec<Op>, String> {
            let list = list
                .as_array()
                .ok_or("a tasklet's operations are not an array")?;
            list.iter()
                .map(|op| limits.op(op).ok_or(format!("bad operation {op}")))
                .collect()
        };
        Ok(Program {
            seed: v["seed"].as_u64().ok_or("\"seed\" is not a number")?,
            main: ops(&v["main"])?,
            tasks: tasks.iter().map(ops).collect::<Result<_, _>>()?,
            channels,
            trace: array("trace")?.clone(),
        })
    }

    /// The program as one line, without a trace.
    pub fn json(&self) -> Value {
        let ops = |list: &[Op]| list.iter().map(Op::json).collect::<Vec<_>>();
        json!({
            "seed": self.seed,
            "nc": self.channels.len(),
            "chans": self.channels.iter().map(|&(p, all)| json!([p, all])).collect::<Vec<_>>(),
            "main": ops(&self.main),
            "tasks": self.tasks.iter().map(|t| ops(t)).collect::<Vec<_>>(),
        })
    }
}

/// What the indices of a program may refer to.
struct Limits {
    channels: usize,
    tasks: usize,
}

impl Limits {
    fn op(&self, v: &Value) -> Option<Op> {
        let a = v.as_array()?;
        let word = a.first()?.as_str()?;
        let chan = || {
            (a.get(1)?.as_u64()? as usize)
                .lt(&self.channels)
                .then_some(a[1].as_u64()? as usize)
        };
        let task = || {
            (a.get(1)?.as_u64()? as usize)
                .lt(&self.tasks)
                .then_some(a[1].as_u64()? as usize)
        };
        let who = || {
            if a.get(1)?.as_str() == Some("main") {
                Some(Who::Main)
            } else {
                task().map(Who::Task)
            }
        };
        let int = |i: usize| a.get(i)?.as_i64();
        let flag = |i: usize| a.get(i)?.as_bool();
        let (op, len) = match word {
            "spawn" => (Op::Spawn(task()?), 2),
            "bind" => (Op::Bind(task()?), 2),
            "unbind" => (Op::Unbind(who()?), 2),
            "send" => (Op::Send(chan()?, int(2)?), 3),
            "recv" => (Op::Recv(chan()?), 2),
            "send_exc" => (Op::SendExc(chan()?, int(2)?), 3),
            "send_seq" => (Op::SendSeq(chan()?, usize::try_from(int(2)?).ok()?), 3),
            "next" => (Op::Next(chan()?), 2),
            "schedule" if a.len() == 1 => (Op::Schedule(None), 1),
            "schedule" => (Op::Schedule(Some(int(1)?)), 2),
            "schedule_remove" if a.len() == 1 => (Op::ScheduleRemove(None), 1),
            "schedule_remove" => (Op::ScheduleRemove(Some(int(1)?)), 2),
            "run" => (Op::Run, 1),
            "t_insert" => (Op::Insert(who()?), 2),
            "t_remove" => (Op::Remove(who()?), 2),
            "t_run" => (Op::TaskRun(who()?), 2),
            "t_switch" => (Op::Switch(who()?), 2),
            "t_kill" => (Op::Kill(who()?, flag(2)?), 3),
            "t_throw" => (Op::Throw(who()?, int(2)?, flag(3)?), 4),
            "t_raise" => (Op::Raise(who()?, int(2)?), 3),
            "raise" => (Op::RaiseHere(int(1)?), 2),
            "pref" => (Op::Pref(chan()?, i32::try_from(int(2)?).ok()?), 3),
            "sched_all" => (Op::SchedAll(chan()?, flag(2)?), 3),
            "close" => (Op::Close(chan()?), 2),
            "open" => (Op::Open(chan()?), 2),
            "block_trap" => (Op::BlockTrap(who()?, flag(2)?), 3),
            "trap" => (Op::Trap(i32::try_from(int(1)?).ok()?), 2),
            "q_chan" => (Op::QueryChannel(chan()?), 2),
            "q_task" => (Op::QueryTask(who()?), 2),
            "q_count" => (Op::QueryCount, 1),
            "q_ring" => (Op::QueryRing, 1),
            _ => return None,
        };
        (a.len() == len).then_some(op)
    }
}

/// The first place where two traces part, in words, with a few events before it; `None` when they are equal.
pub fn difference(expected: &[Value], got: &[Value]) -> Option<String> {
    use std::fmt::Write;
    let at = expected
        .iter()
        .zip(got)
        .position(|(e, g)| e != g)
        .unwrap_or(expected.len().min(got.len()));
    if at == expected.len() && at == got.len() {
        return None;
    }
    let mut out = String::new();
    for (i, e) in expected
        .iter()
        .enumerate()
        .take(at)
        .skip(at.saturating_sub(6))
    {
        let _ = writeln!(out, "    {i:4}           {e}");
    }
    let show = |list: &[Value]| {
        list.get(at)
            .map_or("(no more events)".into(), Value::to_string)
    };
    let _ = writeln!(out, "    {at:4} expected  {}", show(expected));
    let _ = write!(out, "    {at:4} got       {}", show(got));
    Some(out)
}
