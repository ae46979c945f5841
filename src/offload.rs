//! Blocking calls on worker threads, waited for by tasklets: Stackless' `call_async`.
//!
//! ```text
//!   tasklet ─ call(f) ─►  job queue (bounded) ─►  worker thread: f()
//!      │ blocks on a channel                            │
//!      ▼                                                ▼
//!   other tasklets run          event queue of the tasklet's thread ◄─ result, or panic
//!      ▲                                                │
//!      └──────────── woken by the main loop's pump ◄────┘
//! ```
//!
//! The result, or the panic, of the closure comes home through the [event queue](crate::event) of the thread that asked, and is claimed there by
//! the tasklet that asked. A tasklet that does not wait any more (killed, timed out) abandons its call: the closure still runs to its end
//! on the worker, since nothing can stop a blocked thread, and its result goes to the [abandonment callback](Call::on_abandoned).
//!
//! Threads are started when there is work for them, up to the pool's number, and stay. No thread is started by a program that never calls.

use crate::net::reactor::{Reactor, Registered, Wake};
use crate::thread::{allow_threads, host_lock};
use crate::{Error, Result, Thrown};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a pool may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Threads, at most. At least 1.
    pub threads: usize,
    /// Stack of each thread in bytes; the system's minimum if that is more.
    pub stack_size: usize,
    /// Calls that may wait for a thread. At least 1.
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

/// Runs `f` on a worker of the process's pool, blocks the tasklet meanwhile, and answers what `f` returns.
///
/// From the main tasklet, the wait runs the [main loop](crate::main_loop). Errors:
///
/// | error | why |
/// |---|---|
/// | [`Error::Panicked`] | `f` panicked |
/// | `Exit`, `Thrown`, ... | the tasklet was killed, or something was thrown at it, while it waited; `f` runs on, its result is dropped |
/// | [`Error::BlockTrap`] | the tasklet must not block; `f` was not run |
/// | [`Error::Io`] | the pool's queue is full (`WouldBlock`), the pool was shut down (`NotConnected`), no thread can be had; `f` was not run |
///
/// ```
/// let length = hardswitch::offload::call(|| std::fs::read("/etc/hostname").map_or(0, |text| text.len()))?;
/// assert!(length < 1000);
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub fn call<F, R>(f: F) -> Result<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    Call::new(f).wait()
}

/// Settings of the process's pool, before its first use. Errors: [`Error::Io`], of kind `AlreadyExists` when it is in use already, of
/// kind `InvalidInput` for settings that [`Pool::new`] refuses.
pub fn configure(settings: Settings) -> Result<()> {
    let pool = Pool::new(settings)?;
    POOL.set(pool).map_err(|_| {
        refuse(
            ErrorKind::AlreadyExists,
            "the worker pool is in use already",
        )
    })
}

/// The process's pool; made, with default settings, by its first use.
pub fn pool() -> &'static Pool {
    POOL.get_or_init(|| Pool::new(Settings::default()).expect("the default settings are good"))
}

fn refuse(kind: ErrorKind, why: &'static str) -> Error {
    io::Error::new(kind, why).into()
}

static POOL: OnceLock<Pool> = OnceLock::new();

/// A call that is not made yet: with a timeout, a pool of its own, a callback for an abandoned result.
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

    /// On this pool instead of the process's.
    pub fn pool(mut self, pool: &Pool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// Waits no longer than this; then [`Error::Timeout`], and the call is abandoned. Zero: until the next pump.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// If the tasklet does not wait to the end, `callback` gets the outcome when there is one.
    ///
    /// It runs once, on the tasklet's thread, inside a pump of its main loop (or, when the outcome had arrived already, as the
    /// tasklet leaves the wait). Should the thread end before, it is dropped.
    pub fn on_abandoned(mut self, callback: impl FnOnce(Result<R>) + 'static) -> Self {
        self.on_abandoned = Some(Box::new(callback));
        self
    }

    /// Makes the call and blocks the tasklet until it is done. Errors: those of [`call`], and [`Error::Timeout`].
    pub fn wait(self) -> Result<R> {
        if crate::current().block_trap() {
            return Err(Error::BlockTrap);
        }
        let reactor = Reactor::current()?;
        // A time too far to be told is as good as for ever.
        let deadline = self.timeout.and_then(|t| Instant::now().checked_add(t));
        let waiting = Rc::new(Waiting {
            registered: reactor.register(None, deadline),
            outcome: RefCell::new(None),
            abandoned: Cell::new(false),
            on_abandoned: RefCell::new(self.on_abandoned),
            counted: Cell::new(false),
            reactor: reactor.clone(),
        });
        let id = calls()?.insert(waiting.clone());
        let (home, f) = (reactor.events().poster(), self.f);
        let job = move |go: Go| {
            let outcome: Outcome<R> = match go {
                Go::Run => catch_unwind(AssertUnwindSafe(f)).map_err(Failure::Panic),
                Go::Cancel => Err(Failure::Cancelled),
            };
            if home
                .post_always(move || come_home(id, Box::new(outcome)))
                .is_err()
            {
                log::warn!(
                    "the thread that made an offload call has ended; the call's outcome is dropped"
                );
            }
        };
        waiting.count(true);
        if let Err(error) = self
            .pool
            .as_ref()
            .unwrap_or_else(|| pool())
            .submit(Box::new(job))
        {
            calls()?.remove(id);
            waiting.count(false);
            return Err(error);
        }
        let abandon = Abandon(&waiting);
        let wake = reactor.block(waiting.registered.waiter())?;
        std::mem::forget(abandon);
        // An outcome that arrived together with the deadline counts as in time.
        match (waiting.outcome.take(), wake) {
            (Some(outcome), _) => outcome,
            (None, _) => {
                waiting.abandon();
                Err(Error::Timeout)
            }
        }
    }
}

impl<F, R> fmt::Debug for Call<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What a worker sends home.
type Outcome<R> = Result<R, Failure>;

enum Failure {
    Panic(Box<dyn Any + Send>),
    Cancelled,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Panic(payload) => Error::Panicked(Thrown::panic(payload)),
            Failure::Cancelled => refuse(
                ErrorKind::NotConnected,
                "the worker pool was shut down before the call began",
            ),
        }
    }
}

/// The home end of a call.
struct Waiting<R> {
    registered: Registered,
    outcome: RefCell<Option<Result<R>>>,
    abandoned: Cell<bool>,
    on_abandoned: RefCell<Option<OnAbandoned<R>>>,
    /// Does the reactor count this call among those that keep a loop from being idle?
    counted: Cell<bool>,
    reactor: Rc<Reactor>,
}

impl<R> Waiting<R> {
    fn count(&self, counted: bool) {
        if self.counted.replace(counted) != counted {
            self.reactor.count_outstanding(if counted { 1 } else { -1 });
        }
    }

    /// The tasklet waits no more.
    fn abandon(&self) {
        self.abandoned.set(true);
        self.registered.cancel();
        let outcome = self.outcome.take();
        match outcome {
            Some(outcome) => self.give_up(outcome),
            None if self.on_abandoned.borrow().is_none() => self.count(false),
            None => {}
        }
    }

    fn give_up(&self, outcome: Result<R>) {
        let callback = self.on_abandoned.take();
        match callback {
            Some(callback) => callback(outcome),
            None => log::debug!("the outcome of an abandoned offload call is dropped"),
        }
    }
}

/// Abandons the call when dropped: whatever way the tasklet leaves.
struct Abandon<'a, R>(&'a Rc<Waiting<R>>);

impl<R> Drop for Abandon<'_, R> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// A call whose outcome is on its way, whatever its type.
trait Expecting {
    fn arrived(&self, outcome: Box<dyn Any>);
}

impl<R: 'static> Expecting for Waiting<R> {
    fn arrived(&self, outcome: Box<dyn Any>) {
        self.count(false);
        let outcome = match outcome.downcast::<Outcome<R>>() {
            Ok(outcome) => (*outcome).map_err(Error::from),
            Err(_) => Err(Error::WrongType),
        };
        if self.abandoned.get() {
            return self.give_up(outcome);
        }
        *self.outcome.borrow_mut() = Some(outcome);
        self.reactor.wake(self.registered.waiter(), Wake::Ready);
    }
}

/// The calls this thread has under way. Workers know them by number: what waits here must not leave its thread.
#[derive(Default)]
struct Calls {
    next: Cell<u64>,
    by_id: RefCell<HashMap<u64, Rc<dyn Expecting>>>,
}

thread_local! {
    static CALLS: Rc<Calls> = Rc::default();
}

fn calls() -> Result<Rc<Calls>> {
    CALLS
        .try_with(Rc::clone)
        .map_err(|_| io::Error::other("the thread is ending").into())
}

impl Calls {
    fn insert(&self, call: Rc<dyn Expecting>) -> u64 {
        let id = self.next.get();
        self.next.set(id + 1);
        self.by_id.borrow_mut().insert(id, call);
        id
    }
    fn remove(&self, id: u64) -> Option<Rc<dyn Expecting>> {
        self.by_id.borrow_mut().remove(&id)
    }
}

/// Runs on the thread that made the call.
fn come_home(id: u64, outcome: Box<dyn Any>) {
    if let Some(call) = calls().ok().and_then(|calls| calls.remove(id)) {
        call.arrived(outcome);
    }
}

/// A job is told whether to run or to say that it will not.
enum Go {
    Run,
    Cancel,
}

type Job = Box<dyn FnOnce(Go) + Send>;

/// Worker threads and their queue. A handle: clones share the threads; any thread may use it.
///
/// The last handle's drop shuts the pool down as [`shutdown`](Self::shutdown) does, and waits as long.
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
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    workers: Vec<JoinHandle<()>>,
    /// Workers that wait for work.
    idle: usize,
    shut: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No closure of a user runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// A pool of its own; no thread is started yet. Errors: [`Error::Io`] of kind `InvalidInput` for 0 threads or a
    /// queue of 0.
    pub fn new(settings: Settings) -> Result<Pool> {
        if settings.threads == 0 {
            return Err(refuse(
                ErrorKind::InvalidInput,
                "a worker pool needs at least one thread",
            ));
        }
        if settings.queue == 0 {
            return Err(refuse(
                ErrorKind::InvalidInput,
                "a worker pool's queue needs room for at least one call",
            ));
        }
        let shared = Shared {
            settings,
            state: Mutex::default(),
            work: Condvar::new(),
        };
        Ok(Pool {
            owner: Arc::new(Owner {
                shared: Arc::new(shared),
            }),
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

    /// The settings it was made with.
    pub fn settings(&self) -> Settings {
        self.owner.shared.settings
    }

    /// Threads started so far, and calls that wait for one.
    pub fn load(&self) -> (usize, usize) {
        let state = self.owner.shared.lock();
        (state.workers.len(), state.jobs.len())
    }

    /// Takes no more calls, finishes those it has, and ends the threads. Blocks the *thread* until then. The outcomes are in the event queues
    /// of those who called; they come home with the next pump. Twice is fine.
    pub fn shutdown(&self) {
        self.owner.shared.end(false);
    }

    /// As [`shutdown`](Self::shutdown), but calls that no thread has begun are given back: their tasklets get an [`Error::Io`] of kind
    /// `NotConnected`.
    pub fn shutdown_now(&self) {
        self.owner.shared.end(true);
    }

    fn submit(&self, job: Job) -> Result<()> {
        let shared = &self.owner.shared;
        let mut state = shared.lock();
        if state.shut {
            return Err(io::Error::new(
                ErrorKind::NotConnected,
                "the worker pool has been shut down",
            )
            .into());
        }
        if state.jobs.len() >= shared.settings.queue {
            let full = format!(
                "the worker pool's queue of {} calls is full",
                shared.settings.queue
            );
            return Err(io::Error::new(ErrorKind::WouldBlock, full).into());
        }
        if state.idle <= state.jobs.len() && state.workers.len() < shared.settings.threads {
            let name = format!("hsw-worker-{}", state.workers.len());
            let (stack, work) = (shared.settings.stack_size, shared.clone());
            match thread::Builder::new()
                .name(name)
                .stack_size(stack)
                .spawn(move || work.work())
            {
                Ok(worker) => state.workers.push(worker),
                Err(e) if state.workers.is_empty() => return Err(e.into()),
                Err(e) => log::warn!(
                    "a worker thread cannot be started, {} go on: {e}",
                    state.workers.len()
                ),
            }
        }
        state.jobs.push_back(job);
        drop(state);
        shared.work.notify_one();
        Ok(())
    }
}

impl Shared {
    /// A worker's life.
    fn work(&self) {
        // A job blocks, so it has the host lock only if it asks for it.
        host_lock::stay_out();
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                run(job, Go::Run);
                host_lock::leave();
                state = self.lock();
            } else if state.shut {
                return;
            } else {
                state.idle += 1;
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
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
            (jobs, std::mem::take(&mut state.workers))
        };
        self.work.notify_all();
        for job in jobs {
            run(job, Go::Cancel);
        }
        for worker in workers {
            // A worker that shuts its own pool down cannot wait for itself; it ends after this job.
            if worker.thread().id() != thread::current().id() {
                let _ = allow_threads(|| worker.join()); // jobs' panics have gone home with their outcomes
            }
        }
    }
}

/// What is left to panic here are destructors.
fn run(job: Job, go: Go) {
    if catch_unwind(AssertUnwindSafe(move || job(go))).is_err() {
        log::error!("a destructor panicked on a worker thread");
    }
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
