//! Soak: threads come and go, each with many tasklets, all of which send and receive on random
//! channels between them, and are killed at random, by their own thread and by others. No value is
//! lost or comes twice, nothing leaks, nothing hangs; and all of that to the last one.
//!
//! **The books.** Each value has an identity: who sends it, and its number there. What happens to
//! it is entered as bits ([`fate`]), each at most once; at the end of a round each value must have
//! one of these fates, and been dropped once:
//!
//! | the sender was told | the value was | because |
//! |---|---|---|
//! | sent | received | |
//! | an error | received | it was sent, then the sender was killed |
//! | an error | given back to the sender | it was not sent |
//! | sent, or an error | dropped in the receive | the receiver was killed before it could take it |
//! | sent | dropped in the send | a receiver on another thread was killed in that moment |
//!
//! The sums of these must equal what the operations themselves counted. In every second round
//! nobody is killed: there only the first and the third row may occur, so what is sent is what is
//! received.
//!
//! **Leaks.** After each round, when all its threads have ended, the process has as many
//! allocations, of as many bytes, as after the first; and a thread that has ended all its tasklets
//! has nothing in use by the library's own measure.
//!
//! **Hangs.** When nothing happens for a minute, all threads tell of their tasklets and the process
//! ends. The test begins with a small hang, to see that.
//!
//! A few seconds; `HSW_SOAK_SECONDS` makes it longer, `HSW_SOAK_THREADS` and `HSW_SOAK_TASKLETS`
//! larger.

mod common;

use common::Random;
use hardswitch::thread::Channel;
use hardswitch::{current, spawn, Error, MainLoop, Select, Settings, Tasklet};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::Write;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicU8, Ordering::Relaxed};
use std::sync::{mpsc, Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

const NATIVE: bool = cfg!(target_arch = "x86_64");

/// How long a round is, and how long nothing may happen.
const ROUND: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// Something is not as promised. Ends the process: what is broken may not run on.
fn wrong(what: fmt::Arguments) -> ! {
    // Not by `eprintln`, which the test harness would keep.
    let _ = writeln!(std::io::stderr(), "soak: {what}");
    std::process::abort();
}

// -------------------------------------------------------------------------------------------------
// allocations

/// The system's allocator, which counts what is alive.
struct Counting;

static OBJECTS: AtomicI64 = AtomicI64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            OBJECTS.fetch_add(1, Relaxed);
            BYTES.fetch_add(layout.size() as i64, Relaxed);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        OBJECTS.fetch_sub(1, Relaxed);
        BYTES.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
    }
}

fn allocated() -> (i64, i64) {
    (OBJECTS.load(Relaxed), BYTES.load(Relaxed))
}

// -------------------------------------------------------------------------------------------------
// the books

/// What has become of a value.
mod fate {
    /// The sender was told: sent.
    pub const SENT: u8 = 1;
    /// The sender was told an error, and has the value again (`send` drops it then).
    pub const BACK: u8 = 2;
    /// The sender was told an error, and a receiver has the value.
    pub const CUT: u8 = 4;
    /// A receive returned it.
    pub const RECEIVED: u8 = 8;
    /// The library dropped it, in the send of this value.
    pub const IN_SEND: u8 = 16;
    /// The library dropped it, in a receive.
    pub const IN_RECEIVE: u8 = 32;
    pub const DROPPED: u8 = 64;
    /// All that may be at the end, with whether somebody must have been killed for it.
    pub const GOOD: [(u8, bool, &str); 7] = [
        (SENT | RECEIVED, false, "sent and received"),
        (BACK, false, "not sent, came back"),
        (BACK | IN_SEND, true, "not sent, dropped by send"),
        (CUT | RECEIVED, true, "sender cut short, received"),
        (SENT | IN_RECEIVE, true, "sent, receiver cut short"),
        (CUT | IN_RECEIVE, true, "both cut short"),
        (SENT | IN_SEND, true, "sent to who was leaving"),
    ];
}

/// The most operations in a tasklet's life.
const OPERATIONS: usize = 70;

/// What has become of one sender's values.
struct Book {
    thread: u64,
    sender: u64,
    fates: [AtomicU8; OPERATIONS],
    made: AtomicU8,
}

impl Book {
    /// Enters that `what` has happened to a value: once.
    fn enter(&self, number: u8, what: u8) {
        let before = self.fates[usize::from(number)].fetch_or(what, Relaxed);
        if before & (what | fate::DROPPED) != 0 && what != fate::SENT && what != fate::CUT {
            self.wrong(number, before | what, "twice, or after it was dropped");
        }
    }

    fn wrong(&self, number: u8, fates: u8, what: &str) -> ! {
        wrong(format_args!(
            "value {number} of tasklet {} of thread {}: {what} (fates {fates:#b})",
            self.sender, self.thread
        ))
    }
}

/// What travels: a value that enters in its sender's book what happens to it.
struct Parcel {
    book: Arc<Book>,
    number: u8,
}

impl Drop for Parcel {
    fn drop(&mut self) {
        let before = self.book.fates[usize::from(self.number)].load(Relaxed);
        if before & (fate::RECEIVED | fate::BACK) == 0 {
            // Nobody has it: the library drops it. It may only in an operation whose business it
            // is.
            let doing = current().user_data_as::<Doing>();
            let doing = doing.as_deref().map(|doing| (doing, doing.now.get()));
            match doing {
                Some((doing, Now::Sends(book, number)))
                    if number == self.number && std::ptr::eq(book, &*self.book) =>
                {
                    self.book.enter(number, fate::IN_SEND);
                    doing.dropped.set(doing.dropped.get() + 1);
                }
                Some((doing, Now::Receives)) => {
                    self.book.enter(self.number, fate::IN_RECEIVE);
                    doing.dropped.set(doing.dropped.get() + 1);
                }
                _ => self
                    .book
                    .wrong(self.number, before, "dropped by somebody else"),
            }
        }
        self.book.enter(self.number, fate::DROPPED);
    }
}

/// What a tasklet is doing; its user data.
#[derive(Default)]
struct Doing {
    now: std::cell::Cell<Now>,
    /// Values that were dropped in it.
    dropped: std::cell::Cell<u32>,
}

#[derive(Clone, Copy, Default)]
enum Now {
    #[default]
    Nothing,
    Sends(*const Book, u8),
    Receives,
}

impl Doing {
    /// Runs an operation; answers how many values were dropped in it.
    fn during<R>(&self, now: Now, operation: impl FnOnce() -> R) -> (R, u32) {
        self.now.set(now);
        let result = operation();
        self.now.set(Now::Nothing);
        (result, self.dropped.take())
    }
}

/// How operations ended, as those who called them saw it.
#[derive(Default)]
struct Counts {
    made: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    /// Receives that were cut short after a value had been handed to them, and before.
    cut_with: AtomicU64,
    cut_without: AtomicU64,
}

/// Everything of one round.
struct Round {
    channels: Vec<Channel<Parcel>>,
    counts: Counts,
    books: Mutex<Vec<Arc<Book>>>,
    /// Is anybody killed?
    deadly: bool,
    tasklets: u64,
    ends: Instant,
    lives: AtomicU64,
    /// Tasklets of all threads, for the others to kill.
    victims: Mutex<Vec<hardswitch::thread::Remote>>,
    watched: Arc<Watched>,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

// -------------------------------------------------------------------------------------------------
// tasklets and threads

#[derive(Clone, Copy)]
enum Wait {
    Forever,
    AtMost(Duration),
    Not,
}

/// The error that tells a tasklet to end, where it is not `Exit`.
#[derive(Debug)]
struct Enough;

impl fmt::Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("enough")
    }
}

impl std::error::Error for Enough {}

/// Was the operation ended by somebody, or just in vain?
fn cut_short(error: &Error, wait: Wait) -> bool {
    match (error, wait) {
        (Error::Timeout, Wait::AtMost(_)) | (Error::WouldBlock, Wait::Not) => false,
        (Error::Exit | Error::Thrown(_), _) => true,
        // Its thread is ending, and it has not been told yet.
        (Error::Io(_), Wait::AtMost(_)) => true,
        _ => wrong(format_args!("an operation failed: {error}")),
    }
}

/// Sends one value. Errors: why the tasklet has to end.
fn send(
    round: &Round,
    doing: &Doing,
    parcel: Parcel,
    wait: Wait,
    to: &Channel<Parcel>,
) -> hardswitch::Result<()> {
    let (book, number) = (parcel.book.clone(), parcel.number);
    let (result, dropped) = doing.during(Now::Sends(&*book, number), || match wait {
        Wait::Forever => to.send(parcel).map_err(|error| (error, None)),
        Wait::AtMost(time) => to.send_timeout(parcel, time),
        Wait::Not => to.try_send(parcel),
    });
    match result {
        Ok(()) => {
            book.enter(number, fate::SENT);
            count(&round.counts.sent);
            Ok(())
        }
        Err((error, Some(parcel))) => {
            if dropped > 0 || (parcel.number, &*parcel.book as *const Book) != (number, &*book) {
                book.wrong(number, 0, "another value came back");
            }
            book.enter(number, fate::BACK);
            drop(parcel);
            if cut_short(&error, wait) {
                return Err(error);
            }
            Ok(())
        }
        Err((error, None)) => {
            if !cut_short(&error, wait) {
                book.wrong(number, 0, "did not come back");
            }
            // `send` has no way to give it back.
            let back = dropped == 1 && matches!(wait, Wait::Forever);
            let told = if back { fate::BACK } else { fate::CUT };
            book.fates[usize::from(number)].fetch_or(told, Relaxed);
            Err(error)
        }
    }
}

/// Receives from whichever of two channels has a value first.
fn receive_from_either(
    wait: Wait,
    first: &Channel<Parcel>,
    second: &Channel<Parcel>,
) -> hardswitch::Result<Parcel> {
    let mut select = Select::new();
    let cases = [select.receive(first), select.receive(second)];
    let mut done = match wait {
        Wait::Forever => select.wait(),
        Wait::AtMost(time) => select.wait_timeout(time),
        Wait::Not => select.try_wait(),
    }?;
    let case = cases[done.index()];
    done.received(case).expect("the case that was chosen")
}

/// Receives one value, perhaps from another channel if that has one first. Errors: why the tasklet
/// has to end.
fn receive(
    round: &Round,
    doing: &Doing,
    wait: Wait,
    from: &Channel<Parcel>,
    or: Option<&Channel<Parcel>>,
) -> hardswitch::Result<()> {
    let (result, dropped) = doing.during(Now::Receives, || match (or, wait) {
        (Some(other), wait) => receive_from_either(wait, from, other),
        (None, Wait::Forever) => from.receive(),
        (None, Wait::AtMost(time)) => from.receive_timeout(time),
        (None, Wait::Not) => from.try_receive(),
    });
    match (result, dropped) {
        (Ok(parcel), 0) => {
            parcel.book.enter(parcel.number, fate::RECEIVED);
            count(&round.counts.received);
            Ok(())
        }
        (Err(error), 0 | 1) if cut_short(&error, wait) => {
            count(match dropped {
                0 => &round.counts.cut_without,
                _ => &round.counts.cut_with,
            });
            Err(error)
        }
        (Err(_), 0) => Ok(()),
        (Ok(parcel), _) => parcel
            .book
            .wrong(parcel.number, 0, "received, and another one dropped"),
        (Err(error), _) => wrong(format_args!(
            "a receive dropped {dropped}, and said {error}"
        )),
    }
}

/// A tasklet's life: so many operations. Those of a thread that ends them itself may wait for ever.
fn live(round: &Round, thread: u64, seed: u64, forever: bool) -> hardswitch::Result<()> {
    let mut random = Random(seed | 1);
    let doing = Rc::new(Doing::default());
    current().set_user_data(Some(doing.clone()));
    let mut book: Option<Arc<Book>> = None;
    for _ in 0..20 + random.below(OPERATIONS as u64 - 20) {
        round.watched.operations.fetch_add(1, Relaxed);
        let channel = &round.channels[random.below(round.channels.len() as u64) as usize];
        let wait = match random.below(8) {
            0 => Wait::Not,
            1 | 2 if forever => Wait::Forever,
            _ => Wait::AtMost(Duration::from_millis(5 + random.below(20))),
        };
        if random.one_in(2) {
            let book = book.get_or_insert_with(|| {
                let book = Arc::new(Book {
                    thread,
                    sender: seed,
                    fates: [const { AtomicU8::new(0) }; OPERATIONS],
                    made: AtomicU8::new(0),
                });
                round.books.lock().unwrap().push(book.clone());
                book
            });
            let number = book.made.fetch_add(1, Relaxed);
            count(&round.counts.made);
            let parcel = Parcel {
                book: book.clone(),
                number,
            };
            send(round, &doing, parcel, wait, channel)?;
        } else {
            let other = &round.channels[random.below(round.channels.len() as u64) as usize];
            let other = random.one_in(3).then_some(other);
            receive(round, &doing, wait, channel, other)?;
        }
        if random.one_in(8) {
            hardswitch::schedule()?;
        }
    }
    Ok(())
}

/// How a thread ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// When all its tasklets have.
    Orderly,
    /// Before them.
    Early,
    /// The same, by a panic.
    Panic,
}

const ENDS: [End; 4] = [End::Orderly, End::Orderly, End::Early, End::Panic];

/// A thread's life: tasklets, some of which are killed; sometimes it ends before they do.
fn thread_life(round: &Arc<Round>, number: u64, seed: u64, together: Option<&Barrier>) {
    let mut random = Random(seed | 1);
    let settings = Settings {
        windows: 1 + random.below(3) as usize,
        stack_pool: random.below(32) as usize,
        slice_cache: 64 * 1024 * random.below(2) as usize,
        ..Settings::default()
    };
    let stack_size = settings.stack_size;
    settings.apply().unwrap();
    let main_loop = MainLoop::current().unwrap();
    let watch = Watch::begin(&round.watched, number, &main_loop);
    if let Some(together) = together {
        // So that there were as many threads at once as there ever will be.
        together.wait();
    }
    let end = if round.deadly {
        ENDS[random.below(ENDS.len() as u64) as usize]
    } else {
        End::Orderly
    };
    let forever = end != End::Orderly;
    let all: Vec<Tasklet> = (0..round.tasklets)
        .map(|i| {
            let (seed, theirs) = (random.below(u64::MAX), round.clone());
            let body = move || match live(&theirs, number, seed, forever) {
                Err(Error::Thrown(thrown)) if thrown.is::<Enough>() => Ok(()),
                other => other,
            };
            if i % 2 == 0 {
                return spawn(body).unwrap();
            }
            // SAFETY: what they use is theirs, or in the heap.
            unsafe { Tasklet::builder().sliced() }.spawn(body).unwrap()
        })
        .collect();
    let pick = |random: &mut Random| &all[random.below(all.len() as u64) as usize];
    if round.deadly {
        let mut victims = round.victims.lock().unwrap();
        victims.extend((0..8 + round.tasklets / 8).map(|_| pick(&mut random).remote().unwrap()));
    }
    watch.phase("ticks");
    for _ in 0..random.below(15) {
        main_loop.tick().unwrap();
        // A handful, more of many.
        let kills = if round.deadly {
            1 + round.tasklets / 32
        } else {
            0
        };
        for _ in 0..kills {
            match random.below(3) {
                0 => pick(&mut random).kill().unwrap(),
                1 => {
                    let victim = pick(&mut random);
                    if victim.is_alive() && victim.stats().switches > 0 {
                        victim.throw_pending(Error::exception(Enough)).unwrap();
                    }
                }
                _ => {
                    let victim = round.victims.lock().unwrap().pop();
                    if let Some(victim) = victim {
                        victim.kill().unwrap();
                    }
                }
            }
        }
        thread::yield_now();
    }
    if end != End::Orderly {
        watch.phase("ends early");
        drop(watch);
        if end == End::Panic {
            // Without the hook, which would print.
            resume_unwind(Box::new(Enough));
        }
        return;
    }
    watch.phase("runs until idle");
    main_loop.run_until_idle().unwrap();
    if let Some(alive) = all.iter().find(|t| t.is_alive()) {
        wrong(format_args!("left over when idle: {alive:?}"));
    }
    // Others may hold on to some of these: they leave first, then their references come home.
    drop(all);
    let mine = hardswitch::thread_id();
    let rest = {
        let mut victims = round.victims.lock().unwrap();
        let all = std::mem::take(&mut *victims);
        let (drop_them, keep) = all.into_iter().partition(|v| v.thread() == Some(mine));
        *victims = keep;
        let drop_them: Vec<_> = drop_them;
        drop_them
    };
    drop(rest);
    main_loop.tick().unwrap();
    let stats = hardswitch::stats();
    let in_use = (
        stats.slice_bytes,
        stats.stacks,
        stats.run_count,
        stats.zombies,
    );
    if in_use != (0, 0, 1, 0) {
        wrong(format_args!("thread {number}: still in use: {stats:?}"));
    }
    // What is kept for the next tasklets, and no byte more.
    let stacks = stats.window_bytes + stats.stacks_pooled * stack_size;
    if stats.memory_bytes != stacks + stats.control_bytes + stats.slice_cache_bytes {
        wrong(format_args!("thread {number}: bytes left over: {stats:?}"));
    }
}

// -------------------------------------------------------------------------------------------------
// the watchdog

/// What the watchdog sees.
#[derive(Default)]
struct Watched {
    operations: AtomicU64,
    over: AtomicBool,
    threads: Mutex<BTreeMap<u64, (&'static str, hardswitch::main_loop::Remote)>>,
}

/// A thread on its list.
struct Watch<'a> {
    watched: &'a Watched,
    number: u64,
}

impl Watch<'_> {
    fn begin<'a>(watched: &'a Watched, number: u64, main_loop: &MainLoop) -> Watch<'a> {
        let entry = ("begins", main_loop.remote());
        watched.threads.lock().unwrap().insert(number, entry);
        Watch { watched, number }
    }

    fn phase(&self, phase: &'static str) {
        let mut threads = self.watched.threads.lock().unwrap();
        threads.get_mut(&self.number).unwrap().0 = phase;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.watched.threads.lock().unwrap().remove(&self.number);
    }
}

impl Watched {
    /// Looks whether something happens, until it is over. If nothing does for so long: what there
    /// is to see.
    fn watch(&self, patience: Duration, balances: impl Fn() -> String) -> Option<String> {
        let (mut seen, mut when) = (0, Instant::now());
        while !self.over.load(Relaxed) {
            thread::park_timeout(patience.min(Duration::from_millis(500)));
            let now = self.operations.load(Relaxed);
            if now != seen {
                (seen, when) = (now, Instant::now());
            }
            if when.elapsed() >= patience {
                return Some(self.report(patience, balances()));
            }
        }
        None
    }

    fn report(&self, patience: Duration, balances: String) -> String {
        let mut out = format!("nothing happens; balances {balances}\n");
        let attached = hardswitch::thread::threads();
        let _ = writeln!(out, "attached: {attached:?}");
        let asked: Vec<_> = self
            .threads
            .lock()
            .unwrap()
            .iter()
            .map(|(number, (phase, remote))| (*number, *phase, asked(remote)))
            .collect();
        // A backtrace takes its time under Valgrind; when one has answered, the others have had it
        // as well.
        let mut time = Duration::from_secs(30);
        for (number, phase, answer) in asked {
            let _ = writeln!(out, "thread {number} {phase}");
            let answer = answer.recv_timeout(time);
            if answer.is_ok() {
                time = patience.min(Duration::from_secs(5));
            }
            out += &answer.unwrap_or_else(|_| "it does not answer\n".into());
        }
        for entry in std::fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .flatten()
        {
            let read = |name| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let (name, wchan, call) = (read("comm"), read("wchan"), read("syscall"));
            let _ = writeln!(out, "{} in {wchan} {}", name.trim(), call.trim());
        }
        out
    }
}

/// Asks a thread about its tasklets. Who sleeps in its main loop answers.
fn asked(remote: &hardswitch::main_loop::Remote) -> mpsc::Receiver<String> {
    let (tx, rx) = mpsc::channel();
    let _ = remote.post(move || {
        let mut text = format!("{:?}\n", hardswitch::stats());
        let _ = hardswitch::dump_tasklets(&mut text, true);
        let _ = tx.send(text);
    });
    rx
}

/// The watchdog says nothing while something happens, and when nothing does, who waits where.
fn the_watchdog_sees_a_hang() {
    const SHORT: Duration = Duration::from_secs(if NATIVE { 3 } else { 4 });

    #[inline(never)]
    fn waits_in_vain(from: &Channel<u32>) -> hardswitch::Result<()> {
        from.receive().map(drop)
    }

    let (watched, never) = (Watched::default(), Channel::<u32>::new());
    let (ready, seen_stuck) = (Barrier::new(3), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let main_loop = MainLoop::current().unwrap();
            let watch = Watch::begin(&watched, 0, &main_loop);
            let from = never.clone();
            let lost = Tasklet::builder().name("the lost one");
            let lost = lost.spawn(move || waits_in_vain(&from)).unwrap();
            watch.phase("runs until idle");
            ready.wait();
            main_loop.run_until_idle().unwrap();
            assert!(!lost.is_alive());
        });
        scope.spawn(|| {
            let main_loop = MainLoop::current().unwrap();
            let watch = Watch::begin(&watched, 1, &main_loop);
            watch.phase("is stuck");
            ready.wait();
            seen_stuck.wait();
        });
        ready.wait();
        while never.balance() == 0 {
            thread::yield_now();
        }
        let seen = || format!("[{}]", never.balance());
        // As long as there are operations, however few.
        let working = scope.spawn(|| {
            for _ in 0..30 {
                thread::sleep(SHORT / 20);
                watched.operations.fetch_add(1, Relaxed);
            }
            watched.over.store(true, Relaxed);
        });
        let said = watched.watch(SHORT, seen);
        working.join().unwrap();
        if let Some(said) = said {
            wrong(format_args!("the watchdog spoke too soon: {said}"));
        }
        watched.over.store(false, Relaxed);
        let said = watched.watch(SHORT, seen).unwrap();
        let lines = [
            "nothing happens; balances [-1]",
            "thread 0 runs until idle\nStats {",
            "the lost one",
            "waits_in_vain",
            "thread 1 is stuck\nit does not answer",
            " in ",
        ];
        // Not by an assertion: the others wait for us.
        if let Some(line) = lines.iter().find(|line| !said.contains(**line)) {
            wrong(format_args!(
                "no {line:?} in what the watchdog said: {said}"
            ));
        }
        never.send(1).unwrap();
        seen_stuck.wait();
    });
}

// -------------------------------------------------------------------------------------------------
// the test

/// Plays one round and balances its books.
fn play(seeds: &mut Random, time: Duration, threads: u64, tasklets: u64, deadly: bool) -> Sums {
    let round = Arc::new(Round {
        // Few enough that partners meet, whatever the number of tasklets.
        channels: (0..7 + threads * tasklets / 100)
            .map(|_| Channel::new())
            .collect(),
        counts: Counts::default(),
        books: Mutex::default(),
        deadly,
        tasklets,
        ends: Instant::now() + time,
        lives: AtomicU64::new(0),
        victims: Mutex::default(),
        watched: Arc::default(),
    });
    let watched = round.clone();
    let watchdog = thread::spawn(move || {
        let balances = || {
            watched
                .channels
                .iter()
                .map(Channel::balance)
                .collect::<Vec<_>>()
        };
        let hang = watched
            .watched
            .watch(PATIENCE, || format!("{:?}", balances()));
        if let Some(seen) = hang {
            wrong(format_args!("{seen}soak: hangs"));
        }
    });
    let together = Arc::new(Barrier::new(threads as usize));
    let places: Vec<_> = (0..threads)
        .map(|_| {
            let (mut seeds, round) = (Random(seeds.below(u64::MAX) | 1), round.clone());
            let mut together = Some(together.clone());
            thread::spawn(move || loop {
                let (seed, theirs) = (seeds.below(u64::MAX), round.clone());
                let number = round.lives.fetch_add(1, Relaxed);
                let together = together.take();
                let life = move || thread_life(&theirs, number, seed, together.as_deref());
                if let Err(panic) = thread::spawn(life).join() {
                    if !panic.is::<Enough>() {
                        resume_unwind(panic);
                    }
                }
                if Instant::now() >= round.ends {
                    return;
                }
            })
        })
        .collect();
    for place in places {
        if let Err(panic) = place.join() {
            resume_unwind(panic);
        }
    }
    round.watched.over.store(true, Relaxed);
    watchdog.thread().unpark();
    watchdog.join().unwrap();
    assert!(
        hardswitch::thread::threads().is_empty(),
        "threads are left over"
    );
    for channel in &round.channels {
        assert_eq!(channel.balance(), 0, "somebody is left in a channel");
    }
    settle(&round)
}

/// How many threads lived, and how many values had which of the good fates.
#[derive(Default)]
struct Sums {
    lives: u64,
    values: [u64; fate::GOOD.len()],
}

impl Sums {
    /// Of the values with any of these marks.
    fn with(&self, bits: u8) -> u64 {
        let good = fate::GOOD.iter().zip(self.values);
        good.filter(|((fates, ..), _)| fates & bits != 0)
            .map(|(_, sum)| sum)
            .sum()
    }
}

/// Every value has one good fate, and their sums are what was counted.
fn settle(round: &Round) -> Sums {
    let mut sums = Sums {
        lives: round.lives.load(Relaxed),
        ..Sums::default()
    };
    for book in &*round.books.lock().unwrap() {
        for number in 0..book.made.load(Relaxed) {
            let fates = book.fates[usize::from(number)].load(Relaxed);
            let good = |&(bits, by_death, _): &(u8, bool, &str)| {
                fates == bits | fate::DROPPED && (round.deadly || !by_death)
            };
            match fate::GOOD.iter().position(good) {
                Some(which) => sums.values[which] += 1,
                None if fates & fate::DROPPED == 0 => book.wrong(number, fates, "never dropped"),
                None => book.wrong(number, fates, "no good end"),
            }
        }
    }
    let counts = &round.counts;
    let counted = |counter: &AtomicU64| counter.load(Relaxed);
    assert_eq!(counted(&counts.made), sums.values.iter().sum(), "made");
    assert_eq!(counted(&counts.sent), sums.with(fate::SENT), "sent");
    assert_eq!(
        counted(&counts.received),
        sums.with(fate::RECEIVED),
        "received"
    );
    assert_eq!(
        counted(&counts.cut_with),
        sums.with(fate::IN_RECEIVE),
        "dropped by receivers"
    );
    let (raced, left) = (
        sums.values[fate::GOOD.len() - 1],
        counted(&counts.cut_without),
    );
    assert!(
        raced <= left,
        "{raced} sent to who was leaving, but only {left} left"
    );
    sums
}

#[test]
fn threads_and_tasklets_come_and_go_and_nothing_is_lost() {
    // Not a test of its own, which would run at the same time: allocations and threads of the
    // process are counted.
    thread::spawn(the_watchdog_sees_a_hang).join().unwrap();
    let time = Duration::from_secs(setting("HSW_SOAK_SECONDS", if NATIVE { 3 } else { 2 }));
    let threads = setting("HSW_SOAK_THREADS", if NATIVE { 8 } else { 3 });
    let tasklets = setting("HSW_SOAK_TASKLETS", if NATIVE { 100 } else { 15 });
    let mut seeds = Random(0x5eed_5eed);
    // What is made once for all stays: that is the start.
    play(&mut seeds, Duration::ZERO, threads, tasklets, true);
    let at_start = allocated();
    let start = Instant::now();
    let (mut rounds, mut total) = (0, Sums::default());
    while rounds % 2 == 1 || start.elapsed() < time {
        let sums = play(
            &mut seeds,
            ROUND.min(time / 2),
            threads,
            tasklets,
            rounds % 2 == 0,
        );
        // Nothing is printed up to here: the harness would keep it.
        assert_eq!(
            allocated(),
            at_start,
            "allocations and bytes that are alive"
        );
        rounds += 1;
        total.lives += sums.lives;
        for (total, sum) in total.values.iter_mut().zip(sums.values) {
            *total += sum;
        }
    }
    println!("{rounds} rounds, {} threads; values:", total.lives);
    for ((.., name), sum) in fate::GOOD.iter().zip(total.values) {
        println!("{sum:12} {name}");
    }
    assert!(total.with(fate::RECEIVED) > 100, "nothing happened");
}
