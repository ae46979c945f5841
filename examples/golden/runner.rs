//! Runs a golden program on the runtime and records its trace.
//!
//! Each program gets a fresh thread and with it a fresh scheduler. The body of every tasklet is the same function, [`World::body`],
//! over that tasklet's operations; it only calls the public interface and writes down what comes back.

use crate::program::{Op, Program, Who};
use hardswitch::{Channel, Error, Preference, Settings, Tasklet, Value as Carried};
use serde_json::{json, Value};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// Where the stacks of a program's tasklets lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Each tasklet has its own stack.
    Own,
    /// All tasklets share one window: every switch between two of them copies.
    Sliced,
    /// All tasklets share eight windows.
    Windows8,
}

impl Setup {
    fn windows(self) -> usize {
        match self {
            Setup::Windows8 => 8,
            Setup::Own | Setup::Sliced => 1,
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Setup::Own => "own stacks",
            Setup::Sliced => "one window",
            Setup::Windows8 => "eight windows",
        })
    }
}

/// The exception the programs send and throw; it carries a code.
#[derive(Debug)]
struct MyExc(i64);

/// Runs a program and returns its trace. The error is the message of a panic, which a correct runtime never causes.
pub fn trace(program: &Program, setup: Setup) -> Result<Vec<Value>, String> {
    let program = program.clone();
    let name = format!("golden {}", program.seed);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let settings = Settings {
            windows: setup.windows(),
            ..Settings::default()
        };
        settings
            .apply()
            .map_err(|e| format!("the settings are refused: {e}"))?;
        run(program, setup).map_err(|e| format!("the program cannot be set up: {e}"))
    });
    match thread.map_err(|e| format!("no thread: {e}"))?.join() {
        Ok(result) => result,
        Err(payload) => Err(match payload.downcast_ref::<String>() {
            Some(text) => format!("a panic: {text}"),
            None => format!(
                "a panic: {}",
                payload
                    .downcast_ref::<&str>()
                    .unwrap_or(&"without a message")
            ),
        }),
    }
}

fn run(program: Program, setup: Setup) -> Result<Vec<Value>, Error> {
    let world = Rc::new(World::new(program, setup)?);
    let seen = world.clone();
    hardswitch::set_schedule_callback(Some(Rc::new(
        move |prev: Option<&Tasklet>, next: &Tasklet| {
            let prev = prev.map_or(Value::Null, |t| seen.name(t));
            seen.event(json!(["sw", prev, seen.name(next)]));
        },
    )));
    let seen = world.clone();
    hardswitch::set_channel_callback(Some(Rc::new(
        move |chan: usize, task: &Tasklet, sending: bool, block: bool| {
            let index = seen.chans.iter().position(|c| c.id() == chan);
            seen.event(json!([
                "ch",
                index,
                seen.name(task),
                sending as i32,
                block as i32
            ]));
        },
    )));
    world.main();
    hardswitch::set_schedule_callback(None);
    hardswitch::set_channel_callback(None);
    // The bodies refer to the world and the world to its tasklets.
    world.tasks.borrow_mut().clear();
    Ok(world.events.take())
}

/// What the operations act on. It lives on the heap and is shared by all bodies: none of them lends its stack to another.
struct World {
    program: Program,
    main: Tasklet,
    tasks: RefCell<Vec<Tasklet>>,
    chans: Vec<Channel<i64>>,
    events: RefCell<Vec<Value>>,
}

/// How an operation ended that did not return a result to be recorded.
enum Trouble {
    Runtime(Error),
    Stop,
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        Trouble::Runtime(e)
    }
}

impl World {
    fn new(program: Program, setup: Setup) -> Result<World, Error> {
        let chans = program
            .channels
            .iter()
            .map(|&(preference, all)| {
                let chan = Channel::new();
                chan.set_preference(Preference::from_sign(preference));
                chan.set_schedule_all(all);
                chan
            })
            .collect();
        let tasks = (0..program.tasks.len())
            .map(|_| match setup {
                Setup::Own => Tasklet::builder().build(),
                // SAFETY: everything the bodies share (the world) is on the heap; no body gives away a reference into its stack.
                Setup::Sliced | Setup::Windows8 => unsafe { Tasklet::builder().sliced() }.build(),
            })
            .collect::<Result<_, _>>()?;
        Ok(World {
            program,
            main: hardswitch::main_tasklet(),
            tasks: RefCell::new(tasks),
            chans,
            events: RefCell::default(),
        })
    }

    fn event(&self, event: Value) {
        self.events.borrow_mut().push(event);
    }

    fn name(&self, t: &Tasklet) -> Value {
        if t.is_main() {
            return json!("main");
        }
        json!(self.tasks.borrow().iter().position(|x| x == t))
    }

    fn tasklet(&self, who: Who) -> Tasklet {
        match who {
            Who::Main => self.main.clone(),
            Who::Task(i) => self.tasks.borrow()[i].clone(),
        }
    }

    fn result(&self, who: Who) -> Value {
        json!(["T", who.json()])
    }

    fn states(&self, t: &Tasklet) -> Value {
        json!([
            t.is_alive() as i32,
            t.is_paused() as i32,
            t.is_blocked() as i32,
            t.is_scheduled() as i32
        ])
    }

    fn channel_states(&self, chan: &Channel<i64>) -> Value {
        let head = chan.queue().map_or(Value::Null, |t| self.name(&t));
        json!([
            chan.balance(),
            chan.is_closing() as i32,
            chan.is_closed() as i32,
            head
        ])
    }

    /// Everything main does: its operations, then the same closing sequence in every program.
    fn main(self: &Rc<World>) {
        for i in 0..self.tasks.borrow().len() {
            let body = self.body(i);
            self.tasks.borrow()[i]
                .bind(body)
                .expect("a new tasklet can be bound");
        }
        for (i, op) in self.program.main.iter().enumerate() {
            // Main outlives everything: an exit or a raise is only recorded.
            let _ = self.perform(Who::Main, i, op);
        }
        self.event(json!(["main", "end"]));
        hardswitch::switch_trap(-hardswitch::switch_trap(0));
        self.main.set_block_trap(false);
        for _ in 0..3 {
            let _ = self.perform(Who::Main, 0, &Op::Run);
        }
        let tasks = self.tasks.borrow().clone();
        let states: Vec<_> = tasks.iter().map(|t| self.states(t)).collect();
        let chans: Vec<_> = self.chans.iter().map(|c| self.channel_states(c)).collect();
        self.event(json!(["final", states, chans, hardswitch::run_count()]));
        for (i, t) in tasks.iter().enumerate() {
            if t.is_alive() {
                let _ = self.perform(Who::Main, 0, &Op::Kill(Who::Task(i), false));
            }
        }
        for _ in 0..2 {
            let _ = self.perform(Who::Main, 0, &Op::Run);
        }
        let alive: Vec<_> = tasks.iter().map(|t| t.is_alive() as i32).collect();
        let balances: Vec<_> = self.chans.iter().map(|c| c.balance()).collect();
        self.event(json!(["dead", alive, balances, hardswitch::run_count()]));
    }

    /// The function tasklet `i` runs.
    fn body(self: &Rc<World>, i: usize) -> impl FnOnce() -> hardswitch::Result<()> + 'static {
        let world = self.clone();
        move || {
            let mut result = Ok(());
            for (index, op) in world.program.tasks[i].iter().enumerate() {
                result = at_depth(index % 6, (i * 100 + index) as u64, &mut || {
                    world.perform(Who::Task(i), index, op)
                });
                if result.is_err() {
                    break;
                }
            }
            if result.is_ok() {
                world.event(json!([i, "end"]));
            }
            // A tasklet that ends under a trap takes the trap with it.
            let level = hardswitch::switch_trap(0);
            if level != 0 {
                world.event(json!([i, "trap_reset", level]));
                hardswitch::switch_trap(-level);
            }
            result
        }
    }

    /// Executes one operation and records its outcome. An error means: a tasklet ends with it.
    fn perform(self: &Rc<World>, me: Who, index: usize, op: &Op) -> hardswitch::Result<()> {
        let head = || vec![me.json(), json!(index), json!(op.word())];
        let record = |rest: &[Value]| {
            self.event(Value::Array(
                head().into_iter().chain(rest.iter().cloned()).collect(),
            ))
        };
        if let Op::RaiseHere(code) = *op {
            record(&[json!("raise"), json!(code)]);
            return Err(Error::thrown(MyExc(code)));
        }
        match self.call(me, op) {
            Ok(value) => record(&[json!("ok"), value]),
            Err(Trouble::Stop) => record(&[json!("err"), json!("StopIteration"), json!("")]),
            Err(Trouble::Runtime(Error::Exit)) => {
                record(&[json!("exit")]);
                return Err(Error::Exit);
            }
            Err(Trouble::Runtime(Error::Thrown(thrown)))
                if thrown.downcast_ref::<MyExc>().is_some() =>
            {
                record(&[
                    json!("exc"),
                    json!(thrown.downcast_ref::<MyExc>().map(|e| e.0)),
                ]);
            }
            Err(Trouble::Runtime(e @ Error::Closed)) => {
                record(&[json!("err"), json!("ValueError"), json!(e.to_string())])
            }
            Err(Trouble::Runtime(e)) => {
                record(&[json!("err"), json!("RuntimeError"), json!(e.to_string())])
            }
        }
        Ok(())
    }

    fn call(self: &Rc<World>, me: Who, op: &Op) -> Result<Value, Trouble> {
        let carried = |v: Carried| v.downcast::<i64>().map_or(Value::Null, |v| json!(v));
        // A sender's value can be lost while it waits; Stackless' receiver then gets None.
        let received = |r: hardswitch::Result<i64>| match r {
            Ok(v) => Ok(json!(v)),
            Err(Error::ValueLost) => Ok(Value::Null),
            Err(e) => Err(e),
        };
        let chan = |c: usize| &self.chans[c];
        let thrown = |code: i64| Error::thrown(MyExc(code));
        Ok(match *op {
            Op::Spawn(i) => {
                self.tasklet(Who::Task(i)).setup()?;
                self.result(Who::Task(i))
            }
            Op::Bind(i) => {
                self.tasklet(Who::Task(i)).bind_paused(self.body(i))?;
                self.result(Who::Task(i))
            }
            Op::Unbind(t) => {
                self.tasklet(t).unbind()?;
                self.result(t)
            }
            Op::Send(c, v) => {
                chan(c).send(v)?;
                Value::Null
            }
            Op::Recv(c) => received(chan(c).receive())?,
            Op::SendExc(c, code) => {
                chan(c).send_throw(thrown(code))?;
                Value::Null
            }
            Op::SendSeq(c, n) => json!(chan(c).send_sequence(0..n as i64)?),
            Op::Next(c) => received(chan(c).next().ok_or(Trouble::Stop)?)?,
            Op::Schedule(None) => {
                hardswitch::schedule()?;
                self.result(me)
            }
            Op::Schedule(Some(v)) => carried(hardswitch::schedule_with(Carried::new(v))?),
            Op::ScheduleRemove(None) => {
                hardswitch::schedule_remove()?;
                self.result(me)
            }
            Op::ScheduleRemove(Some(v)) => {
                carried(hardswitch::schedule_remove_with(Carried::new(v))?)
            }
            Op::Run => {
                hardswitch::run()?;
                Value::Null
            }
            Op::Insert(t) => {
                self.tasklet(t).insert()?;
                self.result(t)
            }
            Op::Remove(t) => {
                self.tasklet(t).remove()?;
                self.result(t)
            }
            Op::TaskRun(t) => {
                self.tasklet(t).run()?;
                Value::Null
            }
            Op::Switch(t) if t == me => json!("skip"),
            Op::Switch(t) => {
                self.tasklet(t).switch()?;
                Value::Null
            }
            Op::Kill(t, pending) => {
                let t = self.tasklet(t);
                if pending { t.kill_pending() } else { t.kill() }?;
                Value::Null
            }
            Op::Throw(t, code, pending) => {
                let t = self.tasklet(t);
                if pending {
                    t.throw_pending(thrown(code))
                } else {
                    t.throw(thrown(code))
                }?;
                Value::Null
            }
            Op::Raise(t, code) => {
                self.tasklet(t).raise(thrown(code))?;
                Value::Null
            }
            Op::RaiseHere(_) => unreachable!("recorded by the caller"),
            Op::Pref(c, p) => {
                chan(c).set_preference(Preference::from_sign(p));
                Value::Null
            }
            Op::SchedAll(c, b) => {
                chan(c).set_schedule_all(b);
                Value::Null
            }
            Op::Close(c) => {
                chan(c).close();
                Value::Null
            }
            Op::Open(c) => {
                chan(c).open();
                Value::Null
            }
            Op::BlockTrap(t, b) => {
                self.tasklet(t).set_block_trap(b);
                Value::Null
            }
            Op::Trap(d) => {
                hardswitch::switch_trap(d);
                // The recording has the type of the old level here, not its value.
                json!("<type 'long'>")
            }
            Op::QueryChannel(c) => self.channel_states(chan(c)),
            Op::QueryTask(t) => self.states(&self.tasklet(t)),
            Op::QueryCount => json!(hardswitch::run_count()),
            Op::QueryRing => {
                let first = hardswitch::current();
                let mut ring = vec![self.name(&first)];
                let mut at = first.next();
                while let Some(t) = at.filter(|t| *t != first) {
                    ring.push(self.name(&t));
                    at = t.next();
                }
                Value::Array(ring)
            }
        })
    }
}

/// Calls `f` below `depth` more frames, and sees to it that what the frames hold is unharmed afterwards. So the slices of a program differ
/// in size from switch to switch, and a byte that is not put back where it was is noticed.
#[inline(never)]
fn at_depth<R>(depth: usize, seed: u64, f: &mut dyn FnMut() -> R) -> R {
    let expected: [u64; 24] = std::array::from_fn(|i| {
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(i as u32)
    });
    let held = std::hint::black_box(expected);
    let result = if depth == 0 {
        f()
    } else {
        at_depth(depth - 1, seed + 1, f)
    };
    let found = std::hint::black_box(held);
    assert!(
        found
            == std::array::from_fn(|i| seed
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(i as u32)),
        "the stack was harmed"
    );
    result
}
