//! A reference model of the scheduler: what tasklets and channels promise, written as a simulation
//! over plain lists.
//!
//! Nothing here switches a stack. A tasklet of a golden program is a list of operations, so a
//! modelled tasklet is a program counter, a transfer slot and a note of the operation it is parked
//! in. The model was written from the behaviour and from recorded traces, not from the runtime, so
//! that the two can be held against each other.
//!
//! The rules, as far as they are not plain bookkeeping:
//!
//! * The *ring* is the run queue; its first member is the running tasklet. New members go to the
//!   end. Switching to a member rotates the ring until it is first, so whoever stood between runs
//!   before the one that left.
//! * A tasklet calling `run` leaves the ring and is pushed on the list of *watchdogs*. The *wake-up
//!   target* is the innermost watchdog, or main when there is none. It *floats* when it is in no
//!   list at all.
//! * When the ring becomes empty because somebody blocks or removes itself, a floating target is
//!   revived; a target that is itself blocked cannot be, and the call fails with "Deadlock" and is
//!   undone. When the ring becomes empty because a tasklet ended, a blocked target is woken with an
//!   error that says so.
//! * An error nobody caught goes to the target, which is taken out of whatever list it is in and
//!   runs next.
//! * Under a switch trap every switch to somebody else fails, and the call that wanted it is
//!   undone.

use crate::program::{Op, Program, Who};
use serde_json::{json, Value};
use std::collections::VecDeque;

/// Index of a tasklet; main is the last.
type Id = usize;

#[derive(Clone, Debug, PartialEq)]
enum Trouble {
    Exit,
    Exc(i64),
    Runtime(&'static str),
    Value(&'static str),
    Stop,
}

/// What lies in a transfer slot.
#[derive(Clone, Debug, PartialEq)]
enum Slot {
    Nothing,
    Int(i64),
    Tasklet(Id),
    Bomb(Trouble),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Unbound,
    Bound,
    /// Bound with arguments or set up, but it has not run yet.
    Fresh,
    Started,
}

/// The operation a tasklet is parked in; decides what its resumption means.
#[derive(Clone, Debug, PartialEq)]
enum Parked {
    /// The value in the slot is the result.
    Value,
    /// The slot only matters when it holds an error.
    Unit,
    /// `k` values of `n` are sent once this send completes.
    Sequence {
        chan: usize,
        sent: usize,
        count: usize,
    },
    /// In `run`.
    Watchdog,
}

struct Task {
    life: Life,
    pc: usize,
    slot: Slot,
    parked: Parked,
    /// Channel and direction (+1 sending, -1 receiving).
    blocked: Option<(usize, i32)>,
    block_trap: bool,
}

struct Chan {
    queue: VecDeque<Id>,
    balance: i32,
    preference: i32,
    schedule_all: bool,
    closing: bool,
}

/// What became of an operation for now.
enum Step {
    Done(Result<Value, Trouble>),
    /// The tasklet is parked, somebody else is current.
    Parked,
    Skip,
    /// Everything is recorded already.
    Quiet,
}

const NO_MORE_BLOCKING: &str = "Deadlock: the last runnable tasklet cannot be blocked.";
const CLOSED: &str = "Send/receive operation on a closed channel";

pub struct Model<'p> {
    program: &'p Program,
    tasks: Vec<Task>,
    chans: Vec<Chan>,
    ring: VecDeque<Id>,
    watchdogs: Vec<Id>,
    trap: i32,
    main: Id,
    trace: Vec<Value>,
    /// How far main is in what follows its operations.
    closing_step: usize,
    finished: bool,
}

/// Runs a program to its end and returns the trace.
pub fn trace(program: &Program) -> Vec<Value> {
    let mut model = Model::new(program);
    while !model.finished {
        model.step();
    }
    model.trace
}

impl<'p> Model<'p> {
    fn new(program: &'p Program) -> Self {
        let main = program.tasks.len();
        let task = |life| Task {
            life,
            pc: 0,
            slot: Slot::Nothing,
            parked: Parked::Unit,
            blocked: None,
            block_trap: false,
        };
        let mut tasks: Vec<Task> = (0..main).map(|_| task(Life::Bound)).collect();
        tasks.push(task(Life::Started));
        Model {
            program,
            tasks,
            chans: program
                .channels
                .iter()
                .map(|&(preference, schedule_all)| Chan {
                    queue: VecDeque::new(),
                    balance: 0,
                    preference,
                    schedule_all,
                    closing: false,
                })
                .collect(),
            ring: VecDeque::from([main]),
            watchdogs: Vec::new(),
            trap: 0,
            main,
            trace: Vec::new(),
            closing_step: 0,
            finished: false,
        }
    }

    // ---- names ----------------------------------------------------------------------------------

    fn name(&self, t: Id) -> Value {
        if t == self.main {
            json!("main")
        } else {
            json!(t)
        }
    }

    fn tasklet(&self, t: Id) -> Value {
        json!(["T", self.name(t)])
    }

    fn id(&self, who: Who) -> Id {
        match who {
            Who::Main => self.main,
            Who::Task(i) => i,
        }
    }

    fn current(&self) -> Id {
        self.ring[0]
    }

    // ---- predicates -----------------------------------------------------------------------------

    fn alive(&self, t: Id) -> bool {
        matches!(self.tasks[t].life, Life::Fresh | Life::Started)
    }

    fn queued(&self, t: Id) -> bool {
        self.ring.contains(&t)
    }

    /// In the ring or on a channel.
    fn scheduled(&self, t: Id) -> bool {
        self.tasks[t].blocked.is_some() || self.queued(t)
    }

    fn states(&self, t: Id) -> Value {
        let (alive, scheduled) = (self.alive(t), self.scheduled(t));
        let blocked = self.tasks[t].blocked.is_some();
        json!([
            alive as i32,
            (alive && !scheduled) as i32,
            blocked as i32,
            scheduled as i32
        ])
    }

    fn channel_states(&self, c: usize) -> Value {
        let ch = &self.chans[c];
        let head = ch.queue.front().map_or(Value::Null, |&t| self.name(t));
        json!([
            ch.balance,
            ch.closing as i32,
            (ch.closing && ch.balance == 0) as i32,
            head
        ])
    }

    // ---- the ring -------------------------------------------------------------------------------

    fn append(&mut self, t: Id) {
        self.ring.push_back(t);
    }

    fn take_out(&mut self, t: Id) {
        self.ring.retain(|&x| x != t);
    }

    fn target(&self) -> Id {
        self.watchdogs.last().copied().unwrap_or(self.main)
    }

    /// Takes a tasklet off its channel.
    fn unblock(&mut self, t: Id) {
        if let Some((c, dir)) = self.tasks[t].blocked.take() {
            self.chans[c].queue.retain(|&x| x != t);
            self.chans[c].balance -= dir;
        }
    }

    /// Leaves `from` for `to`, a member of the ring. `Ok(false)`: they are the same, nobody is
    /// left.
    fn switch(&mut self, from: Id, to: Id, parked: Parked) -> Result<bool, Trouble> {
        if from == to {
            self.tasks[from].parked = parked;
            return Ok(false);
        }
        if self.trap != 0 {
            return Err(Trouble::Runtime("switch_trap"));
        }
        let event = json!(["sw", self.name(from), self.name(to)]);
        self.trace.push(event);
        self.tasks[from].parked = parked;
        while self.ring[0] != to {
            self.ring.rotate_left(1);
        }
        Ok(true)
    }

    /// Whom to run when the caller, which has left the ring, goes away: the next of the ring, or
    /// the target if it floats. `None` is a deadlock.
    fn successor(&self) -> Option<Id> {
        if let Some(&next) = self.ring.front() {
            return Some(next);
        }
        let target = self.target();
        if self.scheduled(target) {
            return None;
        }
        Some(target)
    }

    /// The caller has left the ring: goes on with the successor. Afterwards, if it fails, the ring
    /// is as it was found.
    fn go_on(&mut self, me: Id, parked: Parked) -> Result<bool, Trouble> {
        let Some(next) = self.successor() else {
            let target = self.target();
            self.tasks[target].slot = Slot::Nothing;
            return Err(Trouble::Runtime(NO_MORE_BLOCKING));
        };
        let revived = self.ring.is_empty();
        if revived {
            self.append(next);
        }
        let switched = self.switch(me, next, parked);
        if revived && switched.is_err() {
            self.ring.clear();
        } else if revived && matches!(self.tasks[me].slot, Slot::Bomb(_)) {
            self.tasks[next].slot = self.tasks[me].slot.clone();
        }
        switched
    }

    // ---- running --------------------------------------------------------------------------------

    fn step(&mut self) {
        let me = self.current();
        if self.tasks[me].life == Life::Fresh {
            self.tasks[me].life = Life::Started;
            self.tasks[me].pc = 0;
            match std::mem::replace(&mut self.tasks[me].slot, Slot::Nothing) {
                Slot::Bomb(trouble) => return self.die(me, Some(trouble)),
                _ => self.tasks[me].parked = Parked::Unit,
            }
        }
        match self.operation(me) {
            Some(op) => {
                let step = self.execute(me, &op);
                self.settle(me, step);
            }
            None => {
                let event = json!([self.name(me), "end"]);
                self.trace.push(event);
                self.die(me, None);
            }
        }
    }

    /// The next operation of a tasklet; main's list goes on with the closing sequence every program
    /// has.
    fn operation(&mut self, me: Id) -> Option<Op> {
        if me != self.main {
            return self.program.tasks[me].get(self.tasks[me].pc).cloned();
        }
        if let Some(op) = self.program.main.get(self.tasks[me].pc) {
            return Some(op.clone());
        }
        loop {
            let step = self.closing_step;
            self.closing_step += 1;
            let runs = 3;
            let kills = runs + 1 + self.main;
            match step {
                0 => {
                    self.trace.push(json!(["main", "end"]));
                    self.trap = 0;
                    self.tasks[me].block_trap = false;
                }
                s if s <= runs => return Some(Op::Run),
                s if s == runs + 1 => {
                    let states: Vec<_> = (0..self.main).map(|t| self.states(t)).collect();
                    let chans: Vec<_> = (0..self.chans.len())
                        .map(|c| self.channel_states(c))
                        .collect();
                    self.trace
                        .push(json!(["final", states, chans, self.ring.len()]));
                }
                s if s <= kills => {
                    let t = s - runs - 2;
                    if self.alive(t) {
                        return Some(Op::Kill(Who::Task(t), false));
                    }
                }
                s if s <= kills + 2 => return Some(Op::Run),
                _ => {
                    let alive: Vec<_> = (0..self.main).map(|t| self.alive(t) as i32).collect();
                    let balances: Vec<_> = self.chans.iter().map(|c| c.balance).collect();
                    self.trace
                        .push(json!(["dead", alive, balances, self.ring.len()]));
                    self.finished = true;
                    return Some(Op::QueryCount);
                }
            }
        }
    }

    /// Records the outcome of an operation of `me` and moves on; a parked one is completed when its
    /// tasklet is current again.
    fn settle(&mut self, me: Id, step: Step) {
        if self.finished {
            return;
        }
        match step {
            Step::Parked => {
                let next = self.current();
                // A fresh tasklet has no operation to complete: the next step starts it.
                if self.tasks[next].life == Life::Started {
                    let step = self.resume(next);
                    self.settle(next, step);
                }
            }
            Step::Skip => self.note(me, json!("ok"), vec![json!("skip")]),
            Step::Quiet => {}
            Step::Done(Ok(value)) => self.note(me, json!("ok"), vec![value]),
            Step::Done(Err(trouble)) => match trouble {
                Trouble::Exit => {
                    self.note(me, json!("exit"), vec![]);
                    if me != self.main {
                        self.die(me, Some(Trouble::Exit));
                    }
                }
                Trouble::Exc(code) => self.note(me, json!("exc"), vec![json!(code)]),
                Trouble::Runtime(text) => {
                    self.note(me, json!("err"), vec![json!("RuntimeError"), json!(text)])
                }
                Trouble::Value(text) => {
                    self.note(me, json!("err"), vec![json!("ValueError"), json!(text)])
                }
                Trouble::Stop => {
                    self.note(me, json!("err"), vec![json!("StopIteration"), json!("")])
                }
            },
        }
    }

    fn note(&mut self, me: Id, kind: Value, rest: Vec<Value>) {
        let pc = self.tasks[me].pc;
        let (index, word) = match self.list(me).get(pc) {
            Some(op) => (pc, op.word()),
            // The closing sequence counts nothing: runs, then kills, then runs.
            None => {
                let kills = 5..5 + self.main;
                (
                    0,
                    if kills.contains(&(self.closing_step - 1)) {
                        "t_kill"
                    } else {
                        "run"
                    },
                )
            }
        };
        let mut event = vec![self.name(me), json!(index), json!(word), kind];
        event.extend(rest);
        self.trace.push(Value::Array(event));
        self.tasks[me].pc += 1;
    }

    fn list(&self, t: Id) -> &'p [Op] {
        if t == self.main {
            &self.program.main
        } else {
            &self.program.tasks[t]
        }
    }

    /// A parked tasklet is current again: what its operation comes to.
    fn resume(&mut self, me: Id) -> Step {
        let slot = std::mem::replace(&mut self.tasks[me].slot, Slot::Nothing);
        let parked = std::mem::replace(&mut self.tasks[me].parked, Parked::Unit);
        if parked == Parked::Watchdog && self.watchdogs.contains(&me) {
            // Whoever called `run` later loses its place and becomes runnable, the innermost first.
            // A tasklet that lost its place that way finds itself gone from the list and leaves the
            // others alone.
            while let Some(t) = self.watchdogs.pop() {
                if !self.scheduled(t) {
                    self.append(t);
                }
                if t == me {
                    break;
                }
            }
        }
        Step::Done(match slot {
            Slot::Bomb(trouble) => Err(trouble),
            Slot::Int(v) if matches!(parked, Parked::Value) => Ok(json!(v)),
            Slot::Tasklet(t) if matches!(parked, Parked::Value) => Ok(self.tasklet(t)),
            _ => match parked {
                Parked::Sequence { chan, sent, count } => {
                    return self.send_rest(me, chan, sent, count)
                }
                _ => Ok(Value::Null),
            },
        })
    }

    fn after(&mut self, me: Id, switched: Result<bool, Trouble>) -> Step {
        match switched {
            Ok(true) => Step::Parked,
            Ok(false) => self.resume(me),
            Err(trouble) => Step::Done(Err(trouble)),
        }
    }

    /// The end of a tasklet, with the error it did not catch if there is one.
    fn die(&mut self, me: Id, trouble: Option<Trouble>) {
        if self.trap != 0 {
            let event = json!([self.name(me), "trap_reset", self.trap]);
            self.trace.push(event);
            self.trap = 0;
        }
        self.tasks[me].life = Life::Unbound;
        self.tasks[me].slot = Slot::Nothing;
        self.ring.pop_front();
        let next = match trouble {
            Some(trouble) if trouble != Trouble::Exit => {
                let target = self.target();
                self.unblock(target);
                if !self.queued(target) {
                    self.append(target);
                }
                self.tasks[target].slot = Slot::Bomb(trouble);
                target
            }
            _ => match self.successor() {
                Some(next) => {
                    if self.ring.is_empty() {
                        self.append(next);
                    }
                    next
                }
                None => {
                    let target = self.target();
                    let text = match self.tasks[target].blocked {
                        Some((_, dir)) if dir < 0 => {
                            "the main tasklet is receiving without a sender available."
                        }
                        _ => "the main tasklet is sending without a receiver available.",
                    };
                    self.unblock(target);
                    self.append(target);
                    self.tasks[target].slot = Slot::Bomb(Trouble::Runtime(text));
                    target
                }
            },
        };
        let event = json!(["sw", self.name(me), self.name(next)]);
        self.trace.push(event);
        while self.ring[0] != next {
            self.ring.rotate_left(1);
        }
        self.settle(me, Step::Parked);
    }

    // ---- operations -----------------------------------------------------------------------------

    fn execute(&mut self, me: Id, op: &Op) -> Step {
        let done = |v: Value| Step::Done(Ok(v));
        let fail = |text: &'static str| Step::Done(Err(Trouble::Runtime(text)));
        match *op {
            Op::Spawn(t) => {
                if self.alive(t) {
                    return fail("tasklet is alive");
                }
                if self.tasks[t].life != Life::Bound {
                    return fail("the tasklet was not bound to a function");
                }
                self.tasks[t].life = Life::Fresh;
                self.append(t);
                done(self.tasklet(t))
            }
            Op::Bind(t) => match self.rebind(me, t, Life::Fresh) {
                Ok(()) => done(self.tasklet(t)),
                Err(text) => fail(text),
            },
            Op::Unbind(who) => {
                let t = self.id(who);
                match self.rebind(me, t, Life::Unbound) {
                    Ok(()) => done(self.tasklet(t)),
                    Err(text) => fail(text),
                }
            }
            Op::Send(c, v) => self.rendezvous(me, c, 1, Slot::Int(v), Parked::Unit),
            Op::SendExc(c, code) => {
                self.rendezvous(me, c, 1, Slot::Bomb(Trouble::Exc(code)), Parked::Unit)
            }
            Op::SendSeq(c, n) => self.send_rest(me, c, 0, n),
            Op::Recv(c) => self.rendezvous(me, c, -1, Slot::Nothing, Parked::Value),
            Op::Next(c) => {
                if self.chans[c].closing && self.chans[c].balance <= 0 {
                    return Step::Done(Err(Trouble::Stop));
                }
                self.rendezvous(me, c, -1, Slot::Nothing, Parked::Value)
            }
            Op::Schedule(v) => {
                let old = self.tasks[me].slot.clone();
                self.tasks[me].slot = v.map_or(Slot::Tasklet(me), Slot::Int);
                let next = *self.ring.get(1).unwrap_or(&me);
                let switched = self.switch(me, next, Parked::Value);
                if switched.is_err() {
                    self.tasks[me].slot = old;
                }
                self.after(me, switched)
            }
            Op::ScheduleRemove(v) => {
                self.tasks[me].slot = v.map_or(Slot::Tasklet(me), Slot::Int);
                self.ring.pop_front();
                let switched = self.go_on(me, Parked::Value);
                if switched.is_err() {
                    self.ring.push_front(me);
                    self.tasks[me].slot = Slot::Nothing;
                }
                self.after(me, switched)
            }
            Op::Run => {
                self.watchdogs.push(me);
                self.ring.pop_front();
                let switched = self.go_on(me, Parked::Watchdog);
                if switched.is_err() {
                    self.watchdogs.pop();
                    self.ring.push_front(me);
                }
                self.after(me, switched)
            }
            Op::Insert(who) => {
                let t = self.id(who);
                if let Err(text) = self.runnable(t) {
                    return fail(text);
                }
                if !self.queued(t) {
                    self.append(t);
                }
                done(self.tasklet(t))
            }
            Op::Remove(who) => {
                let t = self.id(who);
                if self.tasks[t].blocked.is_some() {
                    return fail("You cannot remove a blocked tasklet.");
                }
                if t == me {
                    return fail("The current tasklet cannot be removed.");
                }
                self.take_out(t);
                done(self.tasklet(t))
            }
            Op::TaskRun(who) => {
                let t = self.id(who);
                if let Err(text) = self.runnable(t) {
                    return fail(text);
                }
                let switched = self.switch_into(me, t);
                self.after(me, switched)
            }
            Op::Switch(who) => {
                let t = self.id(who);
                if t == me {
                    return Step::Skip;
                }
                if let Err(text) = self.runnable(t) {
                    return fail(text);
                }
                if self.trap != 0 {
                    return fail("switch_trap");
                }
                let switched = self.switch_into(me, t);
                self.take_out(me);
                self.after(me, switched)
            }
            Op::Kill(who, pending) => self.throw(me, who, Trouble::Exit, pending),
            Op::Throw(who, code, pending) => self.throw(me, who, Trouble::Exc(code), pending),
            Op::Raise(who, code) if !self.alive(self.id(who)) => {
                Step::Done(Err(Trouble::Exc(code)))
            }
            Op::Raise(who, code) => self.throw(me, who, Trouble::Exc(code), false),
            Op::RaiseHere(code) => {
                let event = json!([self.name(me), self.tasks[me].pc, "raise", "raise", code]);
                self.trace.push(event);
                if me == self.main {
                    self.tasks[me].pc += 1;
                } else {
                    self.die(me, Some(Trouble::Exc(code)));
                }
                // `die` has already gone on with somebody else.
                Step::Quiet
            }
            Op::Pref(c, p) => {
                self.chans[c].preference = p.signum();
                done(Value::Null)
            }
            Op::SchedAll(c, b) => {
                self.chans[c].schedule_all = b;
                done(Value::Null)
            }
            Op::Close(c) => {
                self.chans[c].closing = true;
                done(Value::Null)
            }
            Op::Open(c) => {
                self.chans[c].closing = false;
                done(Value::Null)
            }
            Op::BlockTrap(who, b) => {
                let t = self.id(who);
                self.tasks[t].block_trap = b;
                done(Value::Null)
            }
            Op::Trap(d) => {
                self.trap += d;
                done(json!("<type 'long'>"))
            }
            Op::QueryChannel(c) => done(self.channel_states(c)),
            Op::QueryTask(who) => done(self.states(self.id(who))),
            Op::QueryCount => done(json!(self.ring.len())),
            Op::QueryRing => done(self.ring.iter().map(|&t| self.name(t)).collect()),
        }
    }

    /// `bind` with arguments, or `bind(None)`.
    fn rebind(&mut self, me: Id, t: Id, life: Life) -> Result<(), &'static str> {
        if t == me {
            return Err("can't (re)bind the current tasklet");
        }
        if self.scheduled(t) {
            return Err("tasklet is scheduled");
        }
        if self.tasks[t].life == Life::Started {
            return Err("tasklet has C state on its stack");
        }
        self.tasks[t].life = life;
        self.tasks[t].slot = Slot::Nothing;
        Ok(())
    }

    fn runnable(&self, t: Id) -> Result<(), &'static str> {
        if self.tasks[t].blocked.is_some() {
            return Err("You cannot run a blocked tasklet");
        }
        if !self.alive(t) {
            return Err("You cannot run an unbound(dead) tasklet");
        }
        Ok(())
    }

    /// Queues `t` if it is not, and runs it at once.
    fn switch_into(&mut self, me: Id, t: Id) -> Result<bool, Trouble> {
        let queued = self.queued(t);
        if !queued {
            self.append(t);
        }
        let switched = self.switch(me, t, Parked::Unit);
        if switched.is_err() && !queued {
            self.take_out(t);
        }
        switched
    }

    fn send_rest(&mut self, me: Id, chan: usize, sent: usize, count: usize) -> Step {
        if sent == count {
            return Step::Done(Ok(json!(count)));
        }
        self.rendezvous(
            me,
            chan,
            1,
            Slot::Int(sent as i64),
            Parked::Sequence {
                chan,
                sent: sent + 1,
                count,
            },
        )
    }

    fn rendezvous(&mut self, me: Id, c: usize, dir: i32, value: Slot, parked: Parked) -> Step {
        let waiting = self.chans[c].balance * dir < 0;
        let event = json!(["ch", c, self.name(me), (dir > 0) as i32, !waiting as i32]);
        self.trace.push(event);
        if waiting {
            return self.meet(me, c, dir, value, parked);
        }
        if self.tasks[me].block_trap {
            return Step::Done(Err(Trouble::Runtime(
                "this tasklet does not like to be blocked.",
            )));
        }
        if self.chans[c].closing {
            return Step::Done(Err(Trouble::Value(CLOSED)));
        }
        self.ring.pop_front();
        self.chans[c].queue.push_back(me);
        self.chans[c].balance += dir;
        self.tasks[me].blocked = Some((c, dir));
        self.tasks[me].slot = value;
        let switched = self.go_on(me, parked);
        if switched.is_err() {
            self.unblock(me);
            self.tasks[me].slot = Slot::Nothing;
            self.ring.push_front(me);
        }
        self.after(me, switched)
    }

    /// A partner waits: the value passes at once, and the channel's preference says who goes on.
    fn meet(&mut self, me: Id, c: usize, dir: i32, value: Slot, parked: Parked) -> Step {
        let partner = self.chans[c].queue[0];
        let before = self.tasks[partner].slot.clone();
        let blocked = self.tasks[partner].blocked;
        self.unblock(partner);
        if dir > 0 {
            self.tasks[partner].slot = value;
            self.tasks[me].slot = Slot::Nothing;
        } else {
            self.tasks[me].slot = std::mem::replace(&mut self.tasks[partner].slot, Slot::Nothing);
        }
        let next = if self.chans[c].schedule_all {
            self.append(partner);
            self.ring[1]
        } else if self.chans[c].preference == -dir {
            self.ring.insert(1, partner);
            partner
        } else {
            self.append(partner);
            me
        };
        let switched = self.switch(me, next, parked);
        if switched.is_err() {
            self.take_out(partner);
            self.chans[c].queue.push_front(partner);
            self.chans[c].balance -= dir;
            self.tasks[partner].blocked = blocked;
            self.tasks[partner].slot = before;
            self.tasks[me].slot = Slot::Nothing;
        }
        self.after(me, switched)
    }

    fn throw(&mut self, me: Id, who: Who, trouble: Trouble, pending: bool) -> Step {
        let t = self.id(who);
        if t == me {
            return Step::Done(Err(trouble));
        }
        if !self.alive(t) {
            return Step::Done(match trouble {
                Trouble::Exit => Ok(Value::Null),
                _ => Err(Trouble::Runtime("You cannot throw to a dead tasklet")),
            });
        }
        let blocked = self.tasks[t].blocked;
        let place = blocked.map(|(c, _)| self.chans[c].queue.iter().position(|&x| x == t).unwrap());
        let before = self.tasks[t].slot.clone();
        self.unblock(t);
        self.tasks[t].slot = Slot::Bomb(trouble);
        if pending {
            if !self.queued(t) {
                self.append(t);
            }
            return Step::Done(Ok(Value::Null));
        }
        let switched = self.switch_into(me, t);
        if switched.is_err() {
            self.tasks[t].slot = before;
            if let (Some((c, dir)), Some(place)) = (blocked, place) {
                self.chans[c].queue.insert(place, t);
                self.chans[c].balance += dir;
                self.tasks[t].blocked = blocked;
            }
        }
        self.after(me, switched)
    }
}
