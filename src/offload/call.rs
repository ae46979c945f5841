//! A call: what the waiting tasklet and the worker share, and how the tasklet gets the outcome or
//! leaves it.

use super::abandoned::{deliver, keep, Expected, Expecting};
use super::job::{run, Go, Job, Work};
use super::pool::{pool, Pool};
use super::refusal::{lost_in_a_fork, Refusal};
use crate::core::contain::{contain, returned};
use crate::core::runtime::Runtime;
use crate::core::thrown;
use crate::error::WaitError;
use crate::event::Poster;
use crate::thread::{self as threads, Parking, Waker};
use crate::wait::reactor::Reactor;
use crate::{Error, Result, Thrown};
use std::any::Any;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

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
            parking: &parking,
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
        let waited = parking.wait_for_call(&job.waker, deadline, unanswered, lost_in_a_fork);
        let waited = match waited {
            Err(WaitError::Thrown(error)) if job.waker.is_over() => thrown::put_off(error),
            waited => waited.map(drop),
        };
        let late = match waited {
            Ok(()) => WaitError::own(Error::Timeout),
            Err(thrown @ WaitError::Thrown(_)) => {
                returned(waiting, ());
                return returned(job, Err(thrown));
            }
            // Nobody threw this error: it is the reason why the tasklet could not go on waiting,
            // and the outcome may be there.
            Err(hindered) => hindered,
        };
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

    /// As [`stage`](Self::stage), in a child process: `None` if a worker of the parent had it at
    /// the fork.
    fn stage_after_fork(&self) -> Option<MutexGuard<'_, Stage<F, R>>> {
        match self.stage.try_lock() {
            Ok(stage) => Some(stage),
            Err(TryLockError::Poisoned(stage)) => Some(stage.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn is_begun(&self) -> bool {
        self.stage().f.is_none()
    }
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
    parking: &'a Parking,
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
        let orphan = self.parking.is_orphan();
        let mut stage = match orphan {
            true => self.job.stage_after_fork()?,
            false => self.job.stage(),
        };
        match std::mem::replace(&mut stage.end, End::Over) {
            End::Done(outcome) => Some(outcome),
            // There will be none, so nothing is kept for it.
            _ if orphan => None,
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
        let number = keep(expecting);
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
