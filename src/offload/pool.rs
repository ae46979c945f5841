//! Pools of worker threads: their settings, the queue of jobs, and what a worker does.

use super::call::Call;
use super::job::{run, Go, Job};
use super::refusal::Refusal;
use crate::core::contain::contain;
use crate::core::run::run_or;
use crate::core::runtime::Runtime;
use crate::error::WaitError;
use crate::thread::{allow_threads, host_lock, Pace};
use crate::wait::reactor::Reactor;
use crate::Result;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a pool may use at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Threads, at most. 1 or more.
    pub threads: usize,
    /// Stack of each thread, in bytes; if the system's minimum is larger, that.
    pub stack_size: usize,
    /// Calls that may wait for a thread. 1 or more.
    pub queue: usize,
}

impl Default for Settings {
    /// 4 threads of 256 KiB, 1024 waiting calls.
    fn default() -> Settings {
        Settings {
            threads: 4,
            stack_size: 256 * 1024,
            queue: 1024,
        }
    }
}

impl Settings {
    /// For a console: 2 threads of 64 KiB, 64 waiting calls.
    pub const fn console() -> Settings {
        Settings {
            threads: 2,
            stack_size: 64 * 1024,
            queue: 64,
        }
    }
}

static POOL: OnceLock<Pool> = OnceLock::new();

/// Sets what the process's pool may use, before its first use. Errors:
/// [`Error::Io`](crate::Error::Io), of kind `AlreadyExists` when it is in use already, of kind
/// `InvalidInput` for settings that [`Pool::new`] refuses.
pub fn configure(settings: Settings) -> Result<()> {
    let pool = Pool::new(settings)?;
    POOL.set(pool).map_err(|_| Refusal::InUse.into())
}

/// The process's pool. Its first use makes it, with default settings unless [`configure`] came
/// before.
pub fn pool() -> &'static Pool {
    POOL.get_or_init(|| Pool::new(Settings::default()).expect("the default settings are good"))
}

/// What the calling thread does for a pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Works {
    No,
    /// It makes a job.
    Makes,
    /// It has made a job, and counts as coming for the next one.
    Comes,
}

thread_local! {
    static WORKS: Cell<Works> = const { Cell::new(Works::No) };
}

/// Does the calling thread make a job of a pool? Then it may block, and nobody serves a loop on it.
#[cfg(feature = "http")]
pub(crate) fn makes_a_job() -> bool {
    WORKS.get() == Works::Makes
}

/// Worker threads and their queue. It is a handle: clones share the threads; any thread may use it.
///
/// The drop of the last handle shuts the pool down as [`shutdown`](Self::shutdown) does, and waits
/// as long as that.
#[derive(Clone)]
pub struct Pool {
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    state: Mutex<State>,
    work: Condvar,
    /// What a spinning worker looks at: it is set when there are jobs, or at the end. Written under
    /// the lock.
    wanted: AtomicBool,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    workers: Vec<JoinHandle<()>>,
    /// How many workers sleep.
    idle: usize,
    /// How many workers are about to look at the queue without a notification: each takes a job, or
    /// sleeps.
    coming: usize,
    shut: bool,
}

impl State {
    /// Are there more jobs than workers that come for them without a notification?
    fn lacks_workers(&self) -> bool {
        self.jobs.len() > self.coming
    }
}

/// All pools of the process.
static POOLS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

fn pools() -> MutexGuard<'static, Vec<Weak<Shared>>> {
    POOLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While this exists, nobody else uses any pool.
pub struct Held {
    /// Declared before `pools`, from which they borrow, so that they are dropped first.
    states: Vec<MutexGuard<'static, State>>,
    pools: Vec<Arc<Shared>>,
    _all: MutexGuard<'static, Vec<Weak<Shared>>>,
}

pub fn hold() -> Held {
    let all = pools();
    let pools: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
    // SAFETY: `Held` keeps a reference to each pool and drops the guards first, and the states lie
    // in the heap; so the guards do not outlive what they borrow.
    let state = |pool: &Arc<Shared>| unsafe {
        std::mem::transmute::<MutexGuard<'_, State>, MutexGuard<'static, State>>(pool.lock())
    };
    Held {
        states: pools.iter().map(state).collect(),
        pools,
        _all: all,
    }
}

impl Held {
    /// In a child process: the pools have no workers, and will start new ones. Calls that were made
    /// before remain the parent's.
    pub fn forked(&mut self) {
        for (state, pool) in self.states.iter_mut().zip(&self.pools) {
            // These are neither joined nor dropped: there are no such threads here, and the calls
            // may belong to threads that do not exist either.
            std::mem::forget(std::mem::take(&mut state.workers));
            std::mem::forget(std::mem::take(&mut state.jobs));
            (state.idle, state.coming) = (0, 0);
            pool.update_wanted(state);
        }
        WORKS.set(Works::No);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No closure of a user runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Makes another pool; no thread is started yet. Errors: [`Error::Io`](crate::Error::Io) of
    /// kind `InvalidInput` for 0 threads or a queue of 0.
    pub fn new(settings: Settings) -> Result<Pool> {
        if settings.threads == 0 {
            let why = "a worker pool needs at least one thread";
            return Err(Refusal::Settings(why).into());
        }
        if settings.queue == 0 {
            let why = "a worker pool's queue needs room for at least one call";
            return Err(Refusal::Settings(why).into());
        }
        let shared = Shared {
            settings,
            state: Mutex::default(),
            work: Condvar::new(),
            wanted: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        let mut pools = pools();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&shared));
        drop(pools);
        (crate::core::above::above().watch_forks)();
        Ok(Pool {
            owner: Arc::new(Owner { shared }),
        })
    }

    /// As [`offload::call`](super::call()), on this pool.
    pub fn call<F, R>(&self, f: F) -> Result<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        Call::new(f).pool(self).wait()
    }

    /// The settings that the pool was made with.
    pub fn settings(&self) -> Settings {
        self.owner.shared.settings
    }

    /// How many threads were started so far, and how many calls wait for one.
    pub fn load(&self) -> (usize, usize) {
        let state = self.owner.shared.lock();
        (state.workers.len(), state.jobs.len())
    }

    /// Refuses new calls, finishes those it has, and ends the threads. Blocks the *thread* until
    /// then. The outcomes have been sent by then; they arrive with the next pump of the threads
    /// that called. To call it twice is fine.
    pub fn shutdown(&self) {
        self.owner.shared.end(false);
    }

    /// As [`shutdown`](Self::shutdown), but calls that no worker has begun are given back: their
    /// tasklets get an [`Error::Io`](crate::Error::Io) of kind `NotConnected`.
    pub fn shutdown_now(&self) {
        self.owner.shared.end(true);
    }

    /// Queues a job. If a worker, of whatever pool, makes the call and no worker of this pool would
    /// come for the job at once, the job is returned: then the caller must make it. So no worker
    /// waits for a place, and workers that call each other's pools never wait in a circle.
    pub(super) fn submit(&self, job: Job) -> Result<Option<Job>> {
        let shared = &self.owner.shared;
        let works = WORKS.get();
        let nested = works != Works::No;
        let mut state = shared.lock();
        if state.shut {
            return Err(Refusal::Shut.into());
        }
        if state.jobs.len() >= shared.settings.queue && !nested {
            return Err(Refusal::Full(shared.settings.queue).into());
        }
        let mut lacks = None;
        if state.idle + state.coming <= state.jobs.len()
            && state.workers.len() < shared.settings.threads
        {
            lacks = shared.clone().start_worker(&mut state)?;
        }
        let comes_nobody = works == Works::Comes || state.idle + state.coming <= state.jobs.len();
        if nested && comes_nobody {
            return Ok(Some(job));
        }
        state.jobs.push_back(job);
        shared.update_wanted(&state);
        let wake = state.idle > 0 && state.lacks_workers();
        let workers = state.workers.len();
        drop(state);
        if wake {
            shared.work.notify_one();
        }
        // The lock is not held here: a logger may ask for the load.
        if let Some(error) = lacks {
            log::warn!("a worker thread cannot be started, {workers} go on: {error}");
        }
        Ok(None)
    }

    /// A job has not been begun though a worker came for it: if another worker sleeps, that one
    /// gets it.
    pub(super) fn wake_another(&self) {
        let shared = &self.owner.shared;
        let state = shared.lock();
        let wake = state.idle > 0 && !state.jobs.is_empty();
        drop(state);
        if wake {
            shared.work.notify_one();
        }
    }
}

impl Shared {
    /// Returns the reason why there is no new worker, if the present ones will do.
    fn start_worker(self: Arc<Self>, state: &mut State) -> Result<Option<io::Error>> {
        let started = thread::Builder::new()
            .name(format!("hsw-worker-{}", state.workers.len()))
            .stack_size(self.settings.stack_size)
            .spawn(move || self.work());
        match started {
            Ok(worker) => {
                // The new worker looks for a job before it sleeps.
                state.coming += 1;
                state.workers.push(worker);
                Ok(None)
            }
            Err(error) if state.workers.is_empty() => Err(Refusal::NoThread(error).into()),
            Err(error) => Ok(Some(error)),
        }
    }

    /// To be called after each change of the queue.
    fn update_wanted(&self, state: &State) {
        let wanted = state.shut || !state.jobs.is_empty();
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// The main function of a worker.
    fn work(&self) {
        // A job blocks, so it has the host lock only if it asks for it.
        host_lock::stay_out();
        let pace = Pace::new(Duration::ZERO);
        while let Some(job) = self.next_job(&pace) {
            pace.set_most(job.spin);
            self.make(job);
        }
    }

    /// Makes the call; the worker counts as coming afterwards.
    fn make(&self, job: Job) {
        WORKS.set(Works::Makes);
        let comes = Cell::new(false);
        let come = || {
            if !comes.replace(true) {
                contain("the end of a worker's part", end_part);
                WORKS.set(Works::Comes);
                self.lock().coming += 1;
            }
        };
        run(job, Go::Run, &come);
        host_lock::leave();
        come();
    }

    /// Takes a job for a worker that counts as coming; `None` when no more will come.
    fn next_job(&self, pace: &Pace) -> Option<Job> {
        let mut may_spin = true;
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.coming -= 1;
                self.update_wanted(&state);
                return Some(job);
            }
            if state.shut {
                state.coming -= 1;
                return None;
            }
            // Only one worker spins at a time: others would use processors for nothing.
            if may_spin && state.coming == 1 {
                may_spin = false;
                drop(state);
                if pace.should_spin() {
                    pace.spin(|| self.wanted.load(Ordering::Relaxed), || false);
                }
                state = self.lock();
            } else {
                state.coming -= 1;
                state.idle += 1;
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                state.coming += 1;
            }
        }
    }

    fn end(&self, cancel: bool) {
        let (jobs, workers) = {
            let mut state = self.lock();
            state.shut = true;
            let jobs = if cancel {
                std::mem::take(&mut state.jobs)
            } else {
                VecDeque::new()
            };
            self.update_wanted(&state);
            (jobs, std::mem::take(&mut state.workers))
        };
        self.work.notify_all();
        for job in jobs {
            run(job, Go::Cancel, &|| {});
        }
        for worker in workers {
            // A worker that shuts its own pool down cannot wait for itself; it ends after this job.
            if worker.thread().id() != thread::current().id() {
                // Panics of jobs have been returned with their outcomes.
                let _ = allow_threads(|| worker.join());
            }
        }
    }
}

/// A job has been made. Tasklets that it has left on its worker end with it, since nobody would run
/// them later: they run until they end or wait, and those that still wait are killed.
fn end_part() {
    let Some(runtime) = Runtime::existing() else {
        return;
    };
    let left = || runtime.stats().tasklets > 1;
    if !left() && Reactor::existing().is_none() {
        return;
    }
    while crate::run_count() > 1 {
        match run_or() {
            Ok(()) => {}
            Err(WaitError::Thrown(error)) => {
                // The logger, the error's words and its destructor are code of the user's.
                contain("the error of a tasklet that a job has left", || {
                    log::error!(
                        "a tasklet that a job of a worker pool had spawned failed: {error}"
                    );
                    drop(error);
                });
            }
            // The job has left a switch trap: they cannot run, and are killed.
            Err(WaitError::Hindered(_)) => break,
        }
    }
    if left() {
        contain("the logger", || {
            log::warn!("a job of a worker pool has ended before its tasklets: they are killed");
        });
    }
    crate::lifecycle::end_part();
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.end(false);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("settings", &self.settings())
            .field("load", &self.load())
            .finish()
    }
}
