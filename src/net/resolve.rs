//! Names into addresses: [`net::lookup`](super::lookup), which says how it works.
//!
//! The first half is what a caller sees; then come the look-ups of the process, which are shared
//! ([`LOOKUPS`]), a caller's request ([`Asked`]), and the workers' side ([`work`]).

use super::source::{same, Failure};
use crate::error::WaitError;
#[cfg(feature = "http")]
use crate::thread::allow_threads;
use crate::thread::{self as threads, host_lock, Waker};
use crate::wait::reactor::Reactor;
use crate::{Error, Result};
use std::any::Any;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the look-ups of a process may use at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Look-ups that are made at a time, each on a thread. 1 or more.
    pub threads: usize,
    /// Further threads, for when look-ups that nobody waits for any more keep others busy.
    pub spare: usize,
    /// Stack of each thread, in bytes. The system's resolver needs 16 KiB.
    pub stack_size: usize,
    /// How long an answer is kept for later look-ups of the same name, by the monotonic clock;
    /// zero: not at all. Only addresses are kept, not failures. The system's resolver does not tell
    /// how long its answers stay valid.
    pub keep: Duration,
    /// Names whose answers are kept at a time. One more takes the place of the oldest answer.
    pub names: usize,
}

impl Default for Settings {
    /// 4 threads, 60 to spare, 256 KiB each; nothing is kept, since a desktop's system has a cache
    /// that knows the right time. 256 names once a time is set.
    fn default() -> Settings {
        Settings {
            threads: 4,
            spare: 60,
            stack_size: 256 * 1024,
            keep: Duration::ZERO,
            names: 256,
        }
    }
}

impl Settings {
    /// For a console: 1 thread, 6 to spare, 64 KiB each; the answers for 16 names are kept for 10
    /// seconds.
    pub const fn console() -> Settings {
        Settings {
            threads: 1,
            spare: 6,
            stack_size: 64 * 1024,
            keep: Duration::from_secs(10),
            names: 16,
        }
    }
}

/// Sets what the process's look-ups may use. It may be called at any time; running threads stay as
/// they are, and kept answers are dropped. Errors: [`Error::Io`] of kind `InvalidInput` for 0
/// threads.
pub fn configure(settings: Settings) -> Result<()> {
    if settings.threads == 0 {
        let why = "look-ups need at least one thread";
        return Err(io::Error::new(ErrorKind::InvalidInput, why).into());
    }
    let mut state = LOOKUPS.lock();
    state.settings = settings;
    state.kept = Kept::default();
    Ok(())
}

/// Drops the kept answer for a name, or (`None`) all of them. A look-up that is under way is not
/// affected.
pub fn forget(host: Option<&str>) {
    let mut state = LOOKUPS.lock();
    match host {
        Some(host) => state.kept.remove(host),
        None => state.kept = Kept::default(),
    }
}

/// Turns a name into addresses, in the order in which they are to be tried.
///
/// It runs on a worker thread, several at a time, and may block that thread. A panic is an error of
/// the look-up. It may not look names up through this library: that fails, since workers would wait
/// for workers.
pub type Resolver = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Gives the process another resolver (`None`: the system's); returns the old one. It serves
/// systems without a resolver, caches, and tests. Look-ups that run already finish with the old
/// one. None of its answers is kept for later look-ups.
///
/// ```
/// use hardswitch::net::{lookup, resolve};
/// use std::net::Ipv4Addr;
/// use std::sync::Arc;
///
/// lookup::set_resolver(Some(Arc::new(|_: &str| Ok(vec![Ipv4Addr::LOCALHOST.into()]))));
/// assert_eq!(resolve("origin.test", 80)?, ["127.0.0.1:80".parse().unwrap()]);
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub fn set_resolver(resolver: Option<Arc<Resolver>>) -> Option<Arc<Resolver>> {
    let mut state = LOOKUPS.lock();
    state.resolver_number += 1;
    state.kept = Kept::default();
    std::mem::replace(&mut state.resolver, resolver)
}

/// Returns the addresses of `host`, which is a name or an address. Only the tasklet waits while a
/// name is looked up. For a time limit see [`time::timeout`](crate::time::timeout) and
/// [`TcpStream::connect_host`](super::TcpStream::connect_host).
///
/// Errors:
///
/// * [`Error::Io`]: the name is unknown or has no address, the look-up failed, or there is no
///   thread for it.
/// * `Exit`, `Thrown`, ...: the tasklet was killed, or something was thrown at it, while it waited.
/// * [`Error::BlockTrap`]: the tasklet must not block.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    waiting(host, port, None).map_err(|failure| io::Error::from(failure).into())
}

/// The addresses of a name, or why there are none.
type Found = std::result::Result<Vec<SocketAddr>, Failure>;

/// As [`resolve`], with a deadline. Errors: also `Timeout`.
pub fn waiting(host: &str, port: u16, until: Option<Instant>) -> Found {
    if let Some(known) = known(host, port) {
        return Ok(known);
    }
    if crate::current().block_trap() {
        return Err(WaitError::Hindered(Error::BlockTrap).into());
    }
    let reactor = Reactor::current().map_err(WaitError::Hindered)?;
    let parking = threads::local().map_err(WaitError::Hindered)?.take_spot();
    let waker = Arc::new(parking.waker());
    let asked = Asked::new(host, Some(waker.clone()), Some(reactor))?;
    let late = match parking.wait(&waker, false, until, || None) {
        Err(WaitError::Thrown(error)) => return Err(WaitError::Thrown(error).into()),
        Err(hindered) => hindered,
        Ok(_) => WaitError::Hindered(Error::Timeout),
    };
    // An answer that came together with the deadline counts.
    match asked.answer() {
        Some(answer) => with_port(host, port, &answer),
        None => Err(late.into()),
    }
}

/// As [`resolve`], with a deadline, but the thread waits. Errors: also `TimedOut`.
#[cfg(feature = "http")]
pub fn blocking(host: &str, port: u16, until: Option<Instant>) -> Found {
    if let Some(known) = known(host, port) {
        return Ok(known);
    }
    let asked = Asked::new(host, None, None)?;
    match allow_threads(|| asked.wait(until)) {
        Some(answer) => with_port(host, port, &answer),
        None => Err(WaitError::Hindered(Error::Timeout).into()),
    }
}

/// The addresses that are known without a look-up: `host` is itself an address, or an answer for
/// it was kept.
fn known(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse() {
        return Some(vec![SocketAddr::new(ip, port)]);
    }
    // A resolver is refused whether there is an answer or not.
    if WORKS.get() {
        return None;
    }
    let kept = LOOKUPS.lock().kept.get(host)?;
    with_port(host, port, &kept).ok()
}

fn with_port(host: &str, port: u16, answer: &Answer) -> Found {
    let found = match &**answer {
        Ok(found) => found,
        Err(error) => return Err(same(error).into()),
    };
    if found.is_empty() {
        let why = format!("{host} has no address");
        return Err(io::Error::new(ErrorKind::NotFound, why).into());
    }
    let mut found = found.clone();
    found.iter_mut().for_each(|address| address.set_port(port));
    Ok(found)
}

/// The result of a look-up; the ports mean nothing.
type Answer = Arc<io::Result<Vec<SocketAddr>>>;

static LOOKUPS: Lookups = Lookups {
    state: Mutex::new(None),
    work: Condvar::new(),
    answered: Condvar::new(),
};

struct Lookups {
    /// Made by the first use.
    state: Mutex<Option<State>>,
    /// Tells workers that there is a look-up to make.
    work: Condvar,
    /// Tells waiting threads that there is an answer.
    answered: Condvar,
}

struct State {
    settings: Settings,
    resolver: Option<Arc<Resolver>>,
    /// How many resolvers there have been.
    resolver_number: u64,
    kept: Kept,
    /// Look-ups without an answer.
    open: HashMap<Arc<str>, Open>,
    /// Those look-ups that no worker has begun, by age.
    queue: BTreeMap<u64, Arc<str>>,
    next: u64,
    /// How many threads there are, how many of them have nothing to do, and how many make a look-up
    /// that nobody waits for.
    threads: usize,
    idle: usize,
    abandoned: usize,
}

/// Answers that are kept for later look-ups.
#[derive(Default)]
struct Kept {
    /// Each with its moment in `by_age`.
    answers: HashMap<Arc<str>, (Answer, Until)>,
    by_age: BTreeMap<Until, Arc<str>>,
}

/// When an answer is not valid any more, and a number that no other answer has.
type Until = (Instant, u64);

impl Kept {
    fn get(&mut self, name: &str) -> Option<Answer> {
        let (answer, (until, _)) = self.answers.get(name)?;
        if Instant::now() < *until {
            return Some(answer.clone());
        }
        self.remove(name);
        None
    }

    fn remove(&mut self, name: &str) {
        if let Some((_, until)) = self.answers.remove(name) {
            self.by_age.remove(&until);
        }
    }

    fn insert(&mut self, name: &Arc<str>, answer: Answer, until: Until, names: usize) {
        self.remove(name);
        while self.answers.len() >= names {
            let Some((_, oldest)) = self.by_age.pop_first() else {
                return;
            };
            self.answers.remove(&oldest);
        }
        self.by_age.insert(until, name.clone());
        self.answers.insert(name.clone(), (answer, until));
    }
}

/// A look-up without an answer.
struct Open {
    /// Its place in the queue; `None` when a worker makes it.
    queued: Option<u64>,
    waiting: BTreeMap<u64, Waiting>,
}

/// One who waits for an answer, and the place for the answer. A tasklet has a parking spot; a
/// thread has none.
struct Waiting {
    waker: Option<Arc<Waker>>,
    answer: Slot,
}

type Slot = Arc<Mutex<Option<Answer>>>;

/// The state, locked. No code of a user runs meanwhile.
struct Locked(MutexGuard<'static, Option<State>>);

impl std::ops::Deref for Locked {
    type Target = State;
    fn deref(&self) -> &State {
        self.0.as_ref().expect("made when it was locked")
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_mut().expect("made when it was locked")
    }
}

impl Lookups {
    fn lock(&'static self) -> Locked {
        (crate::core::above::above().watch_forks)();
        self.locked()
    }

    fn locked(&'static self) -> Locked {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.get_or_insert_with(|| State {
            settings: Settings::default(),
            resolver: None,
            resolver_number: 0,
            kept: Kept::default(),
            open: HashMap::new(),
            queue: BTreeMap::new(),
            next: 0,
            threads: 0,
            idle: 0,
            abandoned: 0,
        });
        Locked(state)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Keeps an answer for later look-ups, if it is to be kept.
    fn keep(&mut self, name: &Arc<str>, answer: &Answer) {
        let Settings { keep, names, .. } = self.settings;
        let has_addresses = answer
            .as_ref()
            .as_ref()
            .is_ok_and(|found| !found.is_empty());
        if has_addresses && !keep.is_zero() {
            // A time beyond the range of the clock is no limit, and nobody lives to see this one.
            let until = Instant::now() + keep.min(Duration::from_secs(1 << 32));
            let until = (until, self.number());
            self.kept.insert(name, answer.clone(), until, names);
        }
    }

    fn enqueue(&mut self, name: &Arc<str>) {
        let place = self.number();
        self.queue.insert(place, name.clone());
        if let Some(open) = self.open.get_mut(name) {
            open.queued = Some(place);
        }
    }

    /// Are there more workers than one may wait for?
    fn has_surplus(&self) -> bool {
        self.threads - self.abandoned > self.settings.threads
    }

    /// Sees that there is a worker for the queue, if there may be another one. Error: there is no
    /// worker at all.
    fn serve(&mut self) -> io::Result<()> {
        if self.queue.is_empty() {
            return Ok(());
        }
        LOOKUPS.work.notify_one();
        let settings = self.settings;
        let may = self.threads - self.abandoned < settings.threads
            && self.threads < settings.threads + settings.spare;
        if self.idle >= self.queue.len() || !may {
            return Ok(());
        }
        let started = std::thread::Builder::new()
            .name("hsw-lookup".into())
            .stack_size(settings.stack_size)
            .spawn(work);
        match started {
            Ok(_) => self.threads += 1,
            // No new thread can be had, but the present workers will do it.
            Err(_) if self.threads > 0 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

thread_local! {
    /// Is the calling thread a worker?
    static WORKS: Cell<bool> = const { Cell::new(false) };
}

/// A request for a look-up. It counts as waiting until it is dropped.
struct Asked {
    name: Arc<str>,
    number: u64,
    answer: Slot,
    /// The loop that counts this wait as outstanding.
    reactor: Option<Rc<Reactor>>,
}

impl Asked {
    fn new(
        host: &str,
        waker: Option<Arc<Waker>>,
        reactor: Option<Rc<Reactor>>,
    ) -> io::Result<Asked> {
        if WORKS.get() {
            return Err(io::Error::other(
                "a resolver is to look a name up by itself",
            ));
        }
        let mut state = LOOKUPS.lock();
        let name: Arc<str> = host.into();
        let number = state.number();
        let answer = Slot::default();
        let waiting = Waiting {
            waker,
            answer: answer.clone(),
        };
        if let Some(open) = state.open.get_mut(&name) {
            let abandoned = open.waiting.is_empty();
            open.waiting.insert(number, waiting);
            state.abandoned -= usize::from(abandoned);
        } else {
            let open = Open {
                queued: None,
                waiting: BTreeMap::from([(number, waiting)]),
            };
            state.open.insert(name.clone(), open);
            state.enqueue(&name);
            if let Err(error) = state.serve() {
                state.leave(&name, number);
                return Err(error);
            }
        }
        drop(state);
        if let Some(reactor) = &reactor {
            reactor.count_outstanding(1);
        }
        Ok(Asked {
            name,
            number,
            answer,
            reactor,
        })
    }

    fn answer(&self) -> Option<Answer> {
        let answer = self.answer.lock();
        answer.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Blocks the thread until there is an answer; `None` if there is none at the deadline.
    #[cfg(feature = "http")]
    fn wait(&self, until: Option<Instant>) -> Option<Answer> {
        let mut state = LOOKUPS.lock().0;
        loop {
            if let Some(answer) = self.answer() {
                return Some(answer);
            }
            let left = match until {
                Some(until) => until.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3600),
            };
            if left.is_zero() {
                return None;
            }
            let woken = LOOKUPS.answered.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let waited = LOOKUPS.lock().leave(&self.name, self.number);
        drop(waited);
        if let Some(reactor) = &self.reactor {
            reactor.count_outstanding(-1);
        }
    }
}

impl State {
    /// Takes one who waited off the look-up.
    fn leave(&mut self, name: &Arc<str>, number: u64) -> Option<Waiting> {
        let open = self.open.get_mut(name)?;
        // If there is none, the look-up was answered, and this is another one of the same name.
        let waited = open.waiting.remove(&number)?;
        if open.waiting.is_empty() {
            match open.queued {
                Some(place) => {
                    self.queue.remove(&place);
                    self.open.remove(name);
                }
                None => {
                    self.abandoned += 1;
                    // There was a worker already, so there is no error to tell.
                    let _ = self.serve();
                }
            }
        }
        Some(waited)
    }
}

/// How long a worker waits for the next look-up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The main function of a worker.
fn work() {
    WORKS.set(true);
    // A resolver may block, so it has the host lock only if it asks for it.
    host_lock::stay_out();
    while let Some((name, resolver, number)) = next() {
        let answer = catch_unwind(AssertUnwindSafe(|| look_up(&name, resolver)));
        host_lock::leave();
        told(
            &name,
            Arc::new(answer.unwrap_or_else(panicked)),
            Some(number),
        );
    }
}

fn look_up(name: &str, resolver: Option<Arc<Resolver>>) -> io::Result<Vec<SocketAddr>> {
    match resolver {
        // It is asked without a port: the answer is for all that want that name.
        None => Ok((name, 0).to_socket_addrs()?.collect()),
        Some(resolver) => {
            let found = resolver(name)?;
            Ok(found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect())
        }
    }
}

fn panicked(payload: Box<dyn Any + Send>) -> io::Result<Vec<SocketAddr>> {
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    // The payload's destructor is code of a user, too.
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
        log::error!("a destructor panicked in a look-up");
    }
    let text = text.unwrap_or_default();
    Err(io::Error::other(format!("the resolver panicked: {text}")))
}

/// Takes a look-up, with the resolver and that one's number; `None`: the worker is to end.
fn next() -> Option<(Arc<str>, Option<Arc<Resolver>>, u64)> {
    let mut state = LOOKUPS.lock();
    let patient = Instant::now() + PATIENCE;
    loop {
        if state.has_surplus() {
            state.threads -= 1;
            // This worker may have been notified of a look-up that another one took: pass the
            // notification on.
            LOOKUPS.work.notify_one();
            return None;
        }
        if let Some((_, name)) = state.queue.pop_first() {
            if let Some(open) = state.open.get_mut(&name) {
                open.queued = None;
            }
            return Some((name, state.resolver.clone(), state.resolver_number));
        }
        let left = patient.saturating_duration_since(Instant::now());
        if left.is_zero() {
            state.threads -= 1;
            return None;
        }
        state.idle += 1;
        let woken = LOOKUPS.work.wait_timeout(state.0, left);
        state = Locked(woken.unwrap_or_else(PoisonError::into_inner).0);
        state.idle -= 1;
    }
}

/// Answers all that wait for the name. `resolver`: the number of the one that found the answer.
fn told(name: &Arc<str>, answer: Answer, resolver: Option<u64>) {
    let mut state = LOOKUPS.lock();
    // Another resolver may have taken its place meanwhile.
    if resolver == Some(state.resolver_number) {
        state.keep(name, &answer);
    }
    let Some(open) = state.open.remove(name) else {
        return;
    };
    state.abandoned -= usize::from(open.waiting.is_empty());
    for waiting in open.waiting.values() {
        let mut slot = waiting
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = Some(answer.clone());
        drop(slot);
        // Under the lock, so that a fork finds each who waits either here or told. `false` would
        // mean that the thread is gone, and nobody waits.
        if let Some(waker) = &waiting.waker {
            let _ = waker.tell(waker.end());
        }
    }
    drop(state);
    LOOKUPS.answered.notify_all();
    drop(open);
}

/// While this exists, nobody else asks for a look-up, or answers one.
pub(crate) struct Held(Locked);

pub(crate) fn hold() -> Held {
    Held(LOOKUPS.locked())
}

impl Held {
    /// In a child process, whose only thread has this state: the workers are the parent's, and so
    /// are all that wait on other threads. What its own tasklets wait for is to be looked up anew:
    /// [`serve_again`] must follow, where user code may run.
    pub(crate) fn forked(&mut self, local: Option<&threads::Local>) {
        let state = &mut *self.0;
        let is_here = |_: &u64, waiting: &mut Waiting| {
            let waker = waiting.waker.as_ref();
            local.is_some_and(|local| waker.is_some_and(|waker| waker.is_of(local)))
        };
        state.open.retain(|_, open| {
            open.waiting.retain(is_here);
            !open.waiting.is_empty()
        });
        state.queue.retain(|_, name| state.open.contains_key(name));
        let begun = state.open.iter().filter(|(_, open)| open.queued.is_none());
        let begun: Vec<Arc<str>> = begun.map(|(name, _)| name.clone()).collect();
        begun.iter().for_each(|name| state.enqueue(name));
        // A resolver may have forked: then its worker goes on.
        state.threads = usize::from(WORKS.get());
        (state.idle, state.abandoned) = (0, 0);
    }
}

/// In a child process: starts workers for the look-ups that its tasklets wait for.
pub(crate) fn serve_again() {
    let queued = LOOKUPS.lock().queue.len();
    for _ in 0..queued {
        let served = LOOKUPS.lock().serve();
        let Err(error) = served else { continue };
        // There is no worker at all.
        let names = std::mem::take(&mut LOOKUPS.lock().queue);
        let answer = Arc::new(Err(error));
        names
            .values()
            .for_each(|name| told(name, answer.clone(), None));
        return;
    }
}
