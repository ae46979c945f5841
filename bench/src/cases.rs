//! What is measured, in which unit, and what the goals are (docs/performance.md has the
//! reasons).

/// Sizes of the slices of `sliced-switch`, in bytes.
pub const SLICES: [usize; 4] = [64, 256, 1024, 4096];

/// Tasks of one `spawn-burst`.
pub const BURST: u64 = 100;

/// Tasks of `yield-many`, of four kinds.
pub const MANY: u64 = 1_000;

/// Busy threads beside `offload`.
pub const BUSY: [usize; 4] = [0, 1, 2, 4];

/// Descriptors of `poll-shim`.
pub const POLLED: [usize; 3] = [10, 100, 1_000];

/// Active and idle connections of `echo` and `echo-idle`.
pub const ECHOES: [(u64, usize); 3] = [(100, 0), (10, 5_000), (1, 5_000)];

/// Connections of `tick-idle`.
pub const TICKED: usize = 5_000;

/// Connections of `idle-bytes`, and those of its row that asks `poll`.
pub const IDLE: usize = 10_000;
pub const IDLE_POLLED: usize = 1_000;

/// Tasks of `parked` and `wake-all`, where an implementation can have so many.
pub const HERD: u64 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Switch,
    SlicedSwitch(usize),
    Yield,
    YieldMany,
    Rendezvous,
    RendezvousSliced,
    Spawn,
    SpawnJoin,
    SpawnBurst,
    /// With so many busy threads beside it.
    Offload(usize),
    /// A round trip between two threads.
    ThreadRendezvous,
    /// A lock that is free, taken and given back.
    Lock,
    /// So many per cent of the wake-ups through a condition are not slower.
    Wake(u32),
    /// `poll` of so many descriptors.
    PollShim(usize),
    /// Round trips over so many connections in turn, beside so many that are idle.
    Echo {
        active: u64,
        idle: usize,
    },
    /// A turn of the loop that finds nothing, with so many idle connections.
    TickIdle(usize),
    /// Memory of an idle connection.
    IdleBytes,
    /// A file from a local server.
    Download,
    /// The processor time of it.
    DownloadCpu,
    Parked,
    WakeAll,
    Parked10M,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Batches of operations in this process (or in one that answers it).
    Timed,
    /// A million tasks in a process of their own.
    Herd,
    /// Connections in a process of their own, which says what they weigh.
    Idle,
    /// A process that downloads.
    Download,
}

/// What the median of `of` must not exceed; or must reach, if the case counts operations a second.
pub struct Goal {
    pub of: &'static str,
    pub bound: Bound,
}

pub enum Bound {
    /// In the unit of the case.
    Absolute(f64),
    /// So many times the median of this peer.
    Times(f64, &'static str),
}

impl Case {
    pub fn all() -> Vec<Case> {
        let sliced = SLICES.iter().map(|&bytes| Case::SlicedSwitch(bytes));
        let yields_and_spawns = [
            Case::Yield,
            Case::YieldMany,
            Case::Rendezvous,
            Case::RendezvousSliced,
            Case::Spawn,
            Case::SpawnJoin,
            Case::SpawnBurst,
        ];
        let offloads = BUSY.map(Case::Offload);
        let rest = [
            Case::ThreadRendezvous,
            Case::Lock,
            Case::Wake(50),
            Case::Wake(99),
            Case::PollShim(POLLED[0]),
            Case::PollShim(POLLED[1]),
            Case::PollShim(POLLED[2]),
            Case::TickIdle(TICKED),
            Case::IdleBytes,
            Case::Download,
            Case::DownloadCpu,
            Case::Parked,
            Case::WakeAll,
            Case::Parked10M,
        ];
        let echoes = ECHOES.map(|(active, idle)| Case::Echo { active, idle });
        std::iter::once(Case::Switch)
            .chain(sliced)
            .chain(yields_and_spawns)
            .chain(offloads)
            .chain(echoes)
            .chain(rest)
            .collect()
    }

    /// The cases that `name` stands for; none if it is unknown.
    pub fn named(name: &str) -> Vec<Case> {
        Case::all()
            .into_iter()
            .filter(|case| {
                case.name() == name
                    || (name == "sliced-switch" && matches!(case, Case::SlicedSwitch(_)))
                    || (name == "offload" && matches!(case, Case::Offload(_)))
                    || (name == "poll-shim" && matches!(case, Case::PollShim(_)))
                    || (name == "echo" && matches!(case, Case::Echo { .. }))
                    || (name == "download" && matches!(case, Case::DownloadCpu))
                    || (name == "wake" && matches!(case, Case::Wake(_)))
            })
            .collect()
    }

    pub fn name(self) -> String {
        match self {
            Case::Switch => "switch".into(),
            Case::SlicedSwitch(bytes) => format!("sliced-switch/{bytes}"),
            Case::Yield => "yield".into(),
            Case::YieldMany => "yield-many".into(),
            Case::Rendezvous => "rendezvous".into(),
            Case::RendezvousSliced => "rendezvous-sliced".into(),
            Case::Spawn => "spawn".into(),
            Case::SpawnJoin => "spawn-join".into(),
            Case::SpawnBurst => "spawn-burst".into(),
            Case::Offload(busy) => format!("offload/{busy}"),
            Case::ThreadRendezvous => "thread-rendezvous".into(),
            Case::Lock => "lock".into(),
            Case::Wake(percent) => format!("wake/p{percent}"),
            Case::PollShim(count) => format!("poll-shim/{count}"),
            Case::Echo { active, idle: 0 } => format!("echo/{active}"),
            Case::Echo { active, idle } => format!("echo-idle/{active}-{idle}"),
            Case::TickIdle(count) => format!("tick-idle/{count}"),
            Case::IdleBytes => "idle-bytes".into(),
            Case::Download => "download".into(),
            Case::DownloadCpu => "download-cpu".into(),
            Case::Parked => "parked".into(),
            Case::WakeAll => "wake-all".into(),
            Case::Parked10M => "parked-10m".into(),
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            Case::Parked | Case::WakeAll | Case::Parked10M => Kind::Herd,
            Case::IdleBytes => Kind::Idle,
            Case::Download | Case::DownloadCpu => Kind::Download,
            _ => Kind::Timed,
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Case::Parked | Case::IdleBytes => "B",
            Case::Echo { .. } => "/s",
            Case::Download | Case::DownloadCpu => "s",
            Case::Parked10M => "GiB",
            _ => "ns",
        }
    }

    /// Is more of it better? Then a sample is operations a second.
    pub fn is_rate(self) -> bool {
        matches!(self, Case::Echo { .. })
    }

    /// How much longer its batches are than those of other cases, with the processor's time for
    /// the clock's. A round trip over a socket is a thousand times a switch: in a batch of the
    /// usual length there are not enough of them, and a longer one is never left undisturbed.
    pub fn by_processor_time(self) -> Option<f64> {
        match self {
            Case::Echo { .. } => Some(5.0),
            Case::TickIdle(_) => Some(1.0),
            _ => None,
        }
    }

    pub fn what(self) -> String {
        match self {
            Case::Switch => "one switch between two stacks that both stay in place".into(),
            Case::SlicedSwitch(bytes) => format!("one switch between tasklets that share a window, about {bytes} live bytes each: one slice out, one in"),
            Case::Yield => "one pass through the scheduler: give up the processor, the other task goes on".into(),
            Case::YieldMany => format!("the same with {MANY} tasks of four different functions: neither caches nor branch predictors have it as easy"),
            Case::Rendezvous => "send, receive, answer, receive the answer: a round trip over two channels".into(),
            Case::RendezvousSliced => "the same, both tasklets sliced in one window".into(),
            Case::Spawn => "spawn one task, run it, see it finished".into(),
            Case::SpawnJoin => "spawn one task with a result, wait for it, take the result (peers that always join: as `spawn`)".into(),
            Case::SpawnBurst => format!("spawn {BURST} tasks, run them all to their end; per task"),
            Case::Offload(busy) => format!("a function that does nothing on a worker thread, waited for: there and back; {busy} busy threads beside it"),
            Case::ThreadRendezvous => "send, receive, answer, receive the answer, between two threads".into(),
            Case::Lock => "a lock that is free, taken and given back".into(),
            Case::Wake(percent) => format!("a thread notifies a condition, who waits on another thread goes on with the lock: {percent} % were not slower"),
            Case::PollShim(count) => format!("one poll of {count} sockets that does not wait; none is ready"),
            Case::Echo { active, idle } => format!("64 bytes there and back over TCP, client and server in one thread: {active} connections in turn, {idle} idle ones"),
            Case::TickIdle(count) => format!("a turn of the loop that finds nothing and does not wait, with {count} idle connections"),
            Case::IdleBytes => format!("memory of the process per connection on which a task waits to read, {IDLE} of them"),
            Case::Download => "a file from a local server, by a process that writes it to /dev/null".into(),
            Case::DownloadCpu => "the processor time of that process".into(),
            Case::Parked => "memory of the process per task that is blocked in receive, 1,000,000 of them".into(),
            Case::WakeAll => "send to each of them in order, all run to their end; per task".into(),
            Case::Parked10M => "memory of the process with 10,000,000 tasklets blocked in receive".into(),
        }
    }

    pub fn goals(self) -> Vec<Goal> {
        let absolute = |of, value| Goal {
            of,
            bound: Bound::Absolute(value),
        };
        let times = |of, factor, peer| Goal {
            of,
            bound: Bound::Times(factor, peer),
        };
        match self {
            Case::Switch => vec![
                times("hardswitch", 1.0, "corosensei"),
                times("hardswitch-sliced", 1.0, "corosensei"),
            ],
            Case::SlicedSwitch(64 | 256) => vec![times("hardswitch", 12.0, "corosensei")],
            Case::SlicedSwitch(_) | Case::Yield | Case::YieldMany | Case::SpawnJoin => vec![],
            Case::Rendezvous => vec![
                times("hardswitch", 0.2, "go"),
                times("hardswitch", 0.25, "tokio"),
            ],
            Case::RendezvousSliced => vec![times("hardswitch", 0.5, "go")],
            Case::Spawn | Case::SpawnBurst => vec![
                absolute("hardswitch", 150.0),
                times("hardswitch", 0.2, "go"),
            ],
            Case::Offload(_) => vec![times("hardswitch", 0.8, "tokio")],
            Case::ThreadRendezvous => ["go", "go-locked", "tokio", "tokio-apart", "crossbeam"]
                .map(|peer| times("hardswitch", 1.0, peer))
                .into(),
            Case::Lock => vec![],
            Case::Wake(_) => ["std", "parking_lot"]
                .map(|peer| times("hardswitch-sync", 1.0, peer))
                .into(),
            Case::PollShim(_) => vec![times("hardswitch", 1.02, "poll")],
            Case::Echo { idle: 0, .. } => vec![times("hardswitch", 1.15, "tokio")],
            Case::Echo { .. } => vec![times("hardswitch", 1.0, "tokio")],
            // A hundredth of what it was when each turn looked at every connection.
            Case::TickIdle(_) => vec![absolute("hardswitch", 9_810.0)],
            Case::IdleBytes => vec![times("hardswitch", 0.8, "tokio")],
            Case::Download => vec![
                times("hardswitch", 1.0, "curl"),
                times("hardswitch", 1.0, "std"),
                times("hardswitch-60hz", 1.3, "hardswitch"),
            ],
            Case::DownloadCpu => vec![times("hardswitch", 0.9, "curl")],
            Case::Parked => vec![absolute("hardswitch", 320.0)],
            Case::WakeAll => vec![absolute("hardswitch", 150.0)],
            Case::Parked10M => vec![absolute("hardswitch", 4.0)],
        }
    }
}
