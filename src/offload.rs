//! Blocking calls on worker threads, waited for by tasklets: Stackless' `call_async`.
//!
//! ```text
//!   tasklet ─ call(f) ─►  job queue (bounded) ─►  worker thread: f()
//!      │ blocks                                         │ puts the result, or the panic,
//!      ▼                                                ▼ into the job
//!   other tasklets run                    if the tasklet still waits and has not seen the
//!      ▲                                     result yet: a message to its thread
//!      │                                  if it has abandoned the call: an event for its
//!      │                                     thread, which calls the callback
//!      └──────────── woken by the main loop's pump ◄────┘
//! ```
//!
//! The tasklet that made the call claims the result, or the panic, of the closure, on its thread. A
//! tasklet that does not wait any more (killed, timed out) abandons its call. The closure still
//! runs to its end on the worker, since nothing can stop a blocked thread; its result goes to the
//! [abandonment callback](Call::on_abandoned), through the [event queue](crate::event) of the
//! thread that made the call.
//!
//! Threads are started when there is work for them, up to the pool's number, and stay. A program
//! that never calls starts none.
//!
//! Most calls that are worth a thread take long; but those that do not should not cost two wake-ups
//! of threads. So a worker that has done its job spins for the next one before it sleeps, and a
//! tasklet spins for the result if no other tasklet of its thread can run. Both spin no longer than
//! the `spin` of the caller's [settings](crate::Settings), and both do it less when it was in vain.

use crate::core::contain::contain;
use crate::core::runtime::Runtime;
use crate::core::thrown;
use crate::error::WaitError;
use crate::event::Poster;
use crate::thread::{self as threads, allow_threads, host_lock, Pace, Waker};
use crate::wait::reactor::Reactor;
use crate::{Error, Result, Thrown};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind};
use std::mem::ManuallyDrop;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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

/// Runs `f` on a worker of the process's pool, blocks the tasklet meanwhile, and returns the result
/// of `f`.
///
/// A job may call a pool, also its own: if no worker of that pool is free, `f` runs at once on the
/// caller's thread, without a time limit. Tasklets that a job spawns run on the worker before the
/// call is over, until they end or wait. Those that wait then are killed, and the job's own timers
/// and events are dropped.
///
/// From the main tasklet, the wait runs the [main loop](crate::main_loop). Errors:
///
/// * [`Error::Panicked`]: `f` panicked.
/// * `Exit`, `Thrown`, ...: the tasklet was killed, or something was thrown at it, while it waited;
///   `f` runs on, and its result is dropped.
/// * [`Error::BlockTrap`]: the tasklet must not block; `f` was not run.
/// * [`Error::Io`]: the pool's queue is full (`WouldBlock`), the pool was shut down
///   (`NotConnected`), or the system makes no more threads (`Other`, with the system's error as its
///   source); `f` was not run.
///
/// ```
/// let read = || std::fs::read("/etc/hostname").map_or(0, |text| text.len());
/// assert!(hardswitch::offload::call(read)? < 1000);
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub fn call<F, R>(f: F) -> Result<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    Call::new(f).wait()
}

/// Sets what the process's pool may use, before its first use. Errors: [`Error::Io`], of kind
/// `AlreadyExists` when it is in use already, of kind `InvalidInput` for settings that
/// [`Pool::new`] refuses.
pub fn configure(settings: Settings) -> Result<()> {
    let pool = Pool::new(settings)?;
    POOL.set(pool).map_err(|_| Refusal::InUse.into())
}

/// The process's pool. Its first use makes it, with default settings unless [`configure`] came
/// before.
pub fn pool() -> &'static Pool {
    POOL.get_or_init(|| Pool::new(Settings::default()).expect("the default settings are good"))
}

/// A refusal by the pool itself. It is inside of the `io::Error`, since errors of the system may
/// have the same kind.
#[derive(Debug)]
pub(crate) enum Refusal {
    InUse,
    Settings(&'static str),
    Full(usize),
    Shut,
    Cancelled,
    /// The call's worker is one of the parent process.
    Forked,
    /// The system makes no thread.
    NoThread(io::Error),
}

impl Refusal {
    /// The refusal in an error of a call, if it is one.
    #[allow(dead_code)] // for the C interface
    pub(crate) fn of(error: &Error) -> Option<&Refusal> {
        match error {
            Error::Io(io) => io.get_ref()?.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::InUse => f.write_str("the worker pool is in use already"),
            Refusal::Settings(why) => f.write_str(why),
            Refusal::Full(queue) => write!(f, "the worker pool's queue of {queue} calls is full"),
            Refusal::Shut => f.write_str("the worker pool has been shut down"),
            Refusal::Cancelled => {
                f.write_str("the worker pool was shut down before the call began")
            }
            Refusal::Forked => {
                f.write_str("the process has been forked: the worker is the parent's")
            }
            Refusal::NoThread(error) => write!(f, "no worker thread can be made: {error}"),
        }
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Refusal::NoThread(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(why: Refusal) -> Error {
        let kind = match &why {
            Refusal::InUse => ErrorKind::AlreadyExists,
            Refusal::Settings(_) => ErrorKind::InvalidInput,
            Refusal::Full(_) => ErrorKind::WouldBlock,
            Refusal::Shut | Refusal::Cancelled | Refusal::Forked => ErrorKind::NotConnected,
            // This is not the system's kind: the kind of EAGAIN means a full queue here.
            Refusal::NoThread(_) => ErrorKind::Other,
        };
        io::Error::new(kind, why).into()
    }
}

static POOL: OnceLock<Pool> = OnceLock::new();

/// A call that has not been made yet: with a timeout, a pool of its own, a callback for an
/// abandoned result.
///
/// ```
/// use hardswitch::offload::{Call, Pool, Settings};
/// use std::time::Duration;
///
/// let pool = Pool::new(Settings::console())?;
/// let slow = || std::thread::sleep(Duration::from_millis(300));
/// let answer = Call::new(slow).pool(&pool).timeout(Duration::from_millis(10)).wait();
/// assert!(matches!(answer, Err(hardswitch::Error::Timeout)));
/// # Ok::<(), hardswitch::Error>(())
/// ```
#[must_use = "nothing is called before wait()"]
pub struct Call<F, R> {
    f: F,
    pool: Option<Pool>,
    timeout: Option<Duration>,
    on_abandoned: Option<OnAbandoned<R>>,
}

type OnAbandoned<R> = Box<dyn FnOnce(Result<R>)>;

impl<F, R> Call<F, R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    /// A call of `f`.
    pub fn new(f: F) -> Call<F, R> {
        Call {
            f,
            pool: None,
            timeout: None,
            on_abandoned: None,
        }
    }

    /// Makes the call on this pool instead of the process's.
    pub fn pool(mut self, pool: &Pool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// Waits no longer than this; then the call fails with [`Error::Timeout`] and is abandoned.
    /// Zero: until the next pump.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// If the tasklet does not wait to the end, `callback` gets the outcome when there is one.
    ///
    /// It runs once, on the tasklet's thread, inside a pump of its main loop (or, if the outcome
    /// has arrived already, when the tasklet leaves the wait). If the thread ends before that, the
    /// callback is dropped.
    pub fn on_abandoned(mut self, callback: impl FnOnce(Result<R>) + 'static) -> Self {
        self.on_abandoned = Some(Box::new(callback));
        self
    }

    /// Makes the call and blocks the tasklet until it is done. Errors: those of [`call`], and
    /// [`Error::Timeout`].
    pub fn wait(self) -> Result<R> {
        Ok(self.wait_or()?)
    }

    /// As [`wait`](Self::wait); the error says whether it was thrown.
    pub(crate) fn wait_or(self) -> Result<R, WaitError> {
        if crate::current().block_trap() {
            return Err(WaitError::own(Error::BlockTrap));
        }
        let reactor = Reactor::current().map_err(WaitError::own)?;
        // A time beyond the range of the clock is no limit.
        let deadline = self.timeout.and_then(|t| Instant::now().checked_add(t));
        let local = threads::local().map_err(WaitError::own)?;
        let parking = local.take_spot();
        let job = Arc::new(Asked {
            waker: parking.waker(),
            stage: Mutex::new(Stage {
                f: Some(self.f),
                end: End::Open,
            }),
        });
        let pool = self.pool.as_ref().unwrap_or_else(|| pool());
        let not_taken = pool.submit(Job {
            work: job.clone(),
            spin: Runtime::get().settings.spin,
        });
        let not_taken = not_taken.map_err(WaitError::Hindered)?;
        reactor.count_outstanding(1);
        let mut waiting = Waiting {
            job: &job,
            reactor,
            on_abandoned: self.on_abandoned,
            over: false,
        };
        if let Some(job) = not_taken {
            run(job, Go::Run, &|| ());
        }
        let unanswered = || {
            if !job.is_begun() {
                pool.wake_another();
            }
        };
        let late = match parking.wait_for_call(&job.waker, deadline, unanswered, lost_in_a_fork) {
            Ok(_) => WaitError::own(Error::Timeout),
            Err(WaitError::Thrown(error)) if job.waker.is_over() => {
                thrown::put_off(error)?;
                WaitError::own(Error::Timeout)
            }
            Err(thrown @ WaitError::Thrown(_)) => return Err(thrown),
            // Nobody threw this error: it is the reason why the tasklet could not go on waiting,
            // and the outcome may be there.
            Err(hindered) => hindered,
        };
        if parking.is_orphan() {
            // There will be no outcome.
            drop(waiting.on_abandoned.take());
        }
        waiting.claim().ok_or(late)?.map_err(WaitError::own)
    }
}

impl<F, R> fmt::Debug for Call<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What a worker returns for a call.
type Outcome<R> = Result<R, Failure>;

enum Failure {
    Panic(Box<dyn Any + Send>),
    Cancelled,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Panic(payload) => Error::Panicked(Thrown::panic(payload)),
            Failure::Cancelled => Refusal::Cancelled.into(),
        }
    }
}

/// A call under way: the state that the waiting tasklet and the worker share.
struct Asked<F, R> {
    waker: Waker,
    stage: Mutex<Stage<F, R>>,
}

struct Stage<F, R> {
    /// The closure, until a worker begins.
    f: Option<F>,
    end: End<R>,
}

enum End<R> {
    /// The tasklet waits for the outcome.
    Open,
    /// The outcome is there, and the tasklet has not claimed it yet.
    Done(Outcome<R>),
    /// The tasklet does not wait any more. If there is a callback: the thread that keeps it, and
    /// its number there.
    Abandoned(Option<(Poster, u64)>),
    Over,
}

impl<F, R> Asked<F, R> {
    fn stage(&self) -> MutexGuard<'_, Stage<F, R>> {
        // No code of a user runs under the lock.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_begun(&self) -> bool {
        self.stage().f.is_none()
    }
}

/// A call as workers see it.
trait Work: Send + Sync {
    /// Makes the call, or cancels it. `soon` is called when the only thing left is to tell the
    /// tasklet.
    fn run(&self, go: Go, soon: &dyn Fn());
}

impl<F, R> Work for Asked<F, R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    fn run(&self, go: Go, soon: &dyn Fn()) {
        let Some(f) = self.stage().f.take() else {
            return;
        };
        let outcome: Outcome<R> = match go {
            Go::Run => catch_unwind(AssertUnwindSafe(f)).map_err(Failure::Panic),
            Go::Cancel => {
                contain("the end of a job that does not run", || drop(f));
                Err(Failure::Cancelled)
            }
        };
        let mut stage = self.stage();
        match std::mem::replace(&mut stage.end, End::Over) {
            End::Abandoned(Some((home, id))) => {
                drop(stage);
                if home
                    .post_always(move || deliver(id, Box::new(outcome)))
                    .is_err()
                {
                    warn_of_loss();
                }
            }
            End::Abandoned(None) => {
                drop(stage);
                log::debug!("the outcome of an abandoned offload call is dropped");
            }
            _ => {
                stage.end = End::Done(outcome);
                drop(stage);
                soon();
                if !self.waker.tell(self.waker.end()) {
                    let lost = std::mem::replace(&mut self.stage().end, End::Over);
                    warn_of_loss();
                    drop(lost);
                }
            }
        }
    }
}

fn warn_of_loss() {
    log::warn!("the thread that made an offload call has ended; the call's outcome is dropped");
}

/// The tasklet's side of a call. However the tasklet leaves, it claims the outcome or abandons the
/// call.
struct Waiting<'a, F, R: 'static> {
    job: &'a Asked<F, R>,
    reactor: Rc<Reactor>,
    on_abandoned: Option<OnAbandoned<R>>,
    over: bool,
}

impl<F, R> Waiting<'_, F, R> {
    /// Takes the outcome at the end of the wait; `None`: it has not come in time. An outcome that
    /// came together with the deadline is in time.
    fn claim(&mut self) -> Option<Outcome<R>> {
        self.over = true;
        self.reactor.count_outstanding(-1);
        let mut stage = self.job.stage();
        match std::mem::replace(&mut stage.end, End::Over) {
            End::Done(outcome) => Some(outcome),
            _ => {
                stage.end = End::Abandoned(self.keep_callback());
                None
            }
        }
    }

    /// Keeps the callback until the outcome comes. Returns where the outcome is to be posted, and
    /// the callback's number there.
    fn keep_callback(&mut self) -> Option<(Poster, u64)> {
        if Runtime::get().is_ending() {
            return None;
        }
        let callback = self.on_abandoned.take()?;
        // Somebody still wants the outcome, so the loop is not idle.
        self.reactor.count_outstanding(1);
        let expected = Expected(self.reactor.clone());
        let expecting: Expecting = Box::new(move |outcome| {
            drop(expected);
            if let Ok(outcome) = outcome.downcast::<Outcome<R>>() {
                callback(outcome.map_err(Error::from));
            }
        });
        let number = CALLS.with(|calls| calls.insert(expecting));
        Some((self.reactor.events().poster(), number))
    }
}

impl<F, R> Drop for Waiting<'_, F, R> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let Some(outcome) = self.claim() else { return };
        match self.on_abandoned.take() {
            Some(callback) => callback(outcome.map_err(Error::from)),
            None => log::debug!("the outcome of an abandoned offload call is dropped"),
        }
    }
}

/// The callbacks of this thread's abandoned calls. They must not leave their thread, so workers
/// know only their numbers.
struct Calls {
    next: Cell<u64>,
    by_number: RefCell<BTreeMap<u64, Expecting>>,
}

/// An outcome that somebody still wants; until this is dropped the loop is not idle.
struct Expected(Rc<Reactor>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.count_outstanding(-1);
    }
}

/// A callback that gets an outcome, whatever its type.
type Expecting = Box<dyn FnOnce(Box<dyn Any>)>;

thread_local! {
    // It has no destructor: `let_go` drops the content when the thread ends.
    static CALLS: ManuallyDrop<Calls> = const { ManuallyDrop::new(Calls::new()) };
}

/// The thread is ending: drops the callbacks of its abandoned calls. Returns whether there were
/// any.
pub(crate) fn let_go() -> bool {
    let calls = CALLS.with(|calls| calls.by_number.take());
    !calls.is_empty()
}

/// The number of the thread's next abandoned call.
pub(crate) fn next_call() -> u64 {
    CALLS.with(|calls| calls.next.get())
}

/// Drops the callbacks of abandoned calls with lower numbers, which will have no outcome.
pub(crate) fn forget_calls_before(number: u64) {
    let forgotten = CALLS.with(|calls| {
        let mut by_number = calls.by_number.borrow_mut();
        let kept = by_number.split_off(&number);
        std::mem::replace(&mut *by_number, kept)
    });
    drop(forgotten);
}

impl Calls {
    const fn new() -> Calls {
        Calls {
            next: Cell::new(0),
            by_number: RefCell::new(BTreeMap::new()),
        }
    }

    fn insert(&self, call: Expecting) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        self.by_number.borrow_mut().insert(number, call);
        number
    }
    fn remove(&self, number: u64) -> Option<Expecting> {
        self.by_number.borrow_mut().remove(&number)
    }
}

/// Runs on the thread that made the call.
fn deliver(number: u64, outcome: Box<dyn Any>) {
    if let Some(call) = CALLS.with(|calls| calls.remove(number)) {
        call(outcome);
    }
}

/// Tells a job whether to run, or to report that it will not.
#[derive(Clone, Copy)]
enum Go {
    Run,
    Cancel,
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

/// A call that no worker has begun.
struct Job {
    work: Arc<dyn Work>,
    /// How long its caller would spin for the outcome; the worker spins as long for the next job.
    spin: Duration,
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
pub(crate) struct Held {
    /// Declared before `pools`, from which they borrow, so that they are dropped first.
    states: Vec<MutexGuard<'static, State>>,
    pools: Vec<Arc<Shared>>,
    _all: MutexGuard<'static, Vec<Weak<Shared>>>,
}

pub(crate) fn hold() -> Held {
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
    pub(crate) fn forked(&mut self) {
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

/// The error of a call that was made before a fork and so has no outcome in the child.
pub(crate) fn lost_in_a_fork() -> Error {
    Refusal::Forked.into()
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No closure of a user runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Makes another pool; no thread is started yet. Errors: [`Error::Io`] of kind `InvalidInput`
    /// for 0 threads or a queue of 0.
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

    /// As [`offload::call`](call), on this pool.
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
    /// tasklets get an [`Error::Io`] of kind `NotConnected`.
    pub fn shutdown_now(&self) {
        self.owner.shared.end(true);
    }

    /// Queues a job. If a worker, of whatever pool, makes the call and no worker of this pool would
    /// come for the job at once, the job is returned: then the caller must make it. So no worker
    /// waits for a place, and workers that call each other's pools never wait in a circle.
    fn submit(&self, job: Job) -> Result<Option<Job>> {
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
    fn wake_another(&self) {
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
        if let Err(error) = crate::run() {
            log::error!("a tasklet that a job of a worker pool had spawned failed: {error}");
        }
    }
    if left() {
        log::warn!("a job of a worker pool has ended before its tasklets: they are killed");
    }
    crate::lifecycle::end_part();
}

/// Runs a job. Only destructors can still panic here.
fn run(job: Job, go: Go, soon: &dyn Fn()) {
    contain("a job of a worker pool", move || {
        job.work.run(go, soon);
        drop(job);
    });
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
