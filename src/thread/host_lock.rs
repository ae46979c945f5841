//! A lock that lets the tasklets of one thread run at a time, as an interpreter's global lock does.
//! It is for hosts whose tasklet code was written for such a lock.
//!
//! ```text
//!   thread A  ══ runs ══╗ waits: gives it up            ╔══ runs ══ ...      ══ owns the lock
//!   thread B  ┄┄ asks ┄┄╚══ runs ═══════╗ its turn is up ║                   ┄┄ waits for it
//!   thread C  ┄┄┄┄ asks ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄╚══ runs ═══════╝
//! ```
//!
//! It is optional: a thread that has not [joined](HostLock::join) one knows nothing of it, and its
//! switches do not cost more. The lock is *handed over*, first come first served: a thread that
//! gives it up and wants it back stands behind all that waited. Its owner gives it up
//!
//! * when the thread waits: in every wait of the library (a sleep, a socket, a lock, a channel
//!   between threads, an offload call) with no other tasklet to run;
//! * when the host says so: by [`allow_threads`], for blocking work of its own;
//! * when its turn is up: at the switch, pump or `run()` at which [`Settings`] say so, if another
//!   thread waits and the running tasklet is not [atomic](crate::atomic);
//! * when the thread ends.
//!
//! Code that neither switches nor waits keeps it, whatever the settings: native code is not
//! interrupted.
//!
//! **How the owner hears of others.** A thread that starts to wait sets a bit in the `hooks` of the
//! owner's runtime, which every switch tests anyway. So the count of switches, and the clock, are
//! looked at only while another thread waits.

use crate::core::contain::contain;
use crate::core::hooks::HOOK_LOCK;
use crate::core::runtime::Runtime;
use crate::core::task::flag;
use crate::error::{Error, Result, StateError};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::home::{self, Message};

/// When the owner's turn is up, if another thread waits. The limit that is reached first counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How many switches it may make while another thread waits; pumps and `run()`s count as well.
    /// 0 means 1.
    pub switches: u64,
    /// How long it may have the lock; its turn is up at the first switch after that.
    pub time: Duration,
}

impl Default for Settings {
    /// 5 ms, and no limit of switches.
    fn default() -> Settings {
        Settings {
            switches: u64::MAX,
            time: Duration::from_millis(5),
        }
    }
}

/// A thread that has the lock, with its tasklet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Owner {
    /// The [thread](crate::thread_id).
    pub thread: u64,
    /// The [tasklet](crate::Tasklet::id) that was running when the thread got it.
    pub tasklet: usize,
}

/// Figures of a lock since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Times that a thread got it.
    pub acquired: u64,
    /// Times that a thread had to wait for it.
    pub contended: u64,
    /// Times that its owner's turn was up.
    pub turns_up: u64,
    /// How long threads have waited for it, summed up; without waits that are still going on.
    pub waited: Duration,
    /// The longest of these waits.
    pub longest_wait: Duration,
    /// How long it was owned, without the present owner's turn.
    pub held: Duration,
    /// Threads that wait.
    pub waiting: usize,
    /// Its present owner.
    pub owner: Option<Owner>,
}

/// What happened to a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Happening {
    /// The thread starts to wait, since another has it.
    Contended {
        /// The thread that has it.
        owner: Owner,
    },
    /// The thread has got it.
    Acquired {
        /// How long the thread waited; zero if it did not have to.
        waited: Duration,
    },
    /// The thread is about to give it up.
    Released {
        /// How long the thread had it.
        held: Duration,
    },
}

/// The event that the [hook](HostLock::set_hook) is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The thread that it happened to, with the tasklet that was running there.
    pub who: Owner,
    /// What happened.
    pub what: Happening,
    /// The time of the event.
    pub at: Instant,
}

/// Called by the thread that the event happened to, which owns the lock unless it is contended. It
/// may ask questions, but what would switch or wait is refused, it cannot give the lock up, and a
/// panic is logged and ignored.
pub type Hook = Arc<dyn Fn(&Event) + Send + Sync>;

/// A lock under which one thread at a time runs its tasklets: see the [module](self).
///
/// It is a handle that any thread may use; clones are the same lock. Memory safety does not depend
/// on it: it serialises tasklets, while Rust's own rules hold all the same.
///
/// ```
/// use hardswitch::thread::{allow_threads, HostLock};
///
/// let lock = HostLock::new(Default::default());
/// lock.join()?; // from here on this thread runs only while it owns the lock
/// let theirs = lock.clone();
/// let other = std::thread::spawn(move || {
///     theirs.join()?;
///     hardswitch::spawn(|| println!("one at a time"))?;
///     hardswitch::run()
/// });
/// allow_threads(|| other.join()).unwrap()?;
/// lock.leave();
/// # Ok::<(), hardswitch::Error>(())
/// ```
#[derive(Clone)]
pub struct HostLock(Arc<Shared>);

struct Shared {
    settings: Settings,
    state: Mutex<State>,
    hook: Mutex<Option<Hook>>,
}

#[derive(Default)]
struct State {
    /// `None`: no thread has it, and none waits for it.
    owner: Option<Tenure>,
    /// The threads that wait, the longest wait first.
    queue: VecDeque<Claim>,
    /// `waiting` and `owner` are only filled in for an answer.
    stats: Stats,
}

/// A thread's turn with the lock.
struct Tenure {
    who: Owner,
    since: Instant,
    flag: Flag,
}

/// A thread's wait for the lock.
struct Claim {
    who: Owner,
    since: Instant,
    flag: Flag,
    granted: Arc<Condvar>,
}

/// A pointer to the hooks of a thread's runtime.
#[derive(Clone, Copy)]
struct Flag(*const AtomicU32);

// SAFETY: the pointer is followed only under the mutex of the lock's state, while its thread owns
// the lock or waits for it. `leave`, in the thread's own end, ends both before the runtime ends.
unsafe impl Send for Flag {}

impl Flag {
    fn set(self, contended: bool) {
        // SAFETY: the caller holds the mutex of the lock's state, and the thread owns the lock or
        // waits for it, so its runtime is alive.
        let hooks = unsafe { &*self.0 };
        if contended {
            hooks.fetch_or(HOOK_LOCK, Ordering::Relaxed);
        } else {
            hooks.fetch_and(!HOOK_LOCK, Ordering::Relaxed);
        }
    }
}

/// The state of a thread that has joined a lock. Only that thread touches it.
struct Member {
    lock: HostLock,
    granted: Arc<Condvar>,
    /// How often the lock is given up around a wait, or by `allow_threads`; 0: not at all.
    away: Cell<u32>,
    /// Since when it owns the lock.
    since: Cell<Instant>,
    /// How many switches it has made since then while another thread waited.
    turns: Cell<u64>,
}

thread_local! {
    // It has no destructor: `leave` frees it, called by the runtime's end.
    static MEMBER: Cell<*const Member> = const { Cell::new(ptr::null()) };
    static STAYS_OUT: Cell<bool> = const { Cell::new(false) };
    /// Is a hook running on this thread?
    static TELLS: Cell<bool> = const { Cell::new(false) };
}

/// The lock that threads join when they attach.
static INSTALLED: Mutex<Option<HostLock>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Under these mutexes only the growth of the queue can panic, which leaves the queue whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The calling thread's state, if it has joined a lock.
fn member<'a>() -> Option<&'a Member> {
    // SAFETY: null, or from `Box::into_raw` in `join`. Only `leave` frees it, on this thread, when
    // no function of this module is under way there (`leave` refuses while the lock is given up).
    unsafe { MEMBER.get().as_ref() }
}

impl HostLock {
    /// A lock that no thread has joined.
    pub fn new(settings: Settings) -> HostLock {
        HostLock(Arc::new(Shared {
            settings,
            state: Mutex::default(),
            hook: Mutex::new(None),
        }))
    }

    /// The calling thread takes the lock, and from now on runs only while it has it, until it
    /// [leaves](Self::leave) or ends. Blocks the *thread* until it is its turn. Nothing happens
    /// when it is a member already.
    ///
    /// # Errors
    /// [`StateError::OtherHostLock`]; [`StateError::NoThread`] when the thread is ending.
    pub fn join(&self) -> Result<()> {
        super::attachment::local()?;
        if let Some(member) = member() {
            return if member.lock == *self {
                Ok(())
            } else {
                Err(StateError::OtherHostLock.into())
            };
        }
        let member = Box::new(Member {
            lock: self.clone(),
            granted: Arc::default(),
            away: Cell::new(0),
            since: Cell::new(Instant::now()),
            turns: Cell::new(0),
        });
        MEMBER.set(Box::into_raw(member));
        acquire();
        Ok(())
    }

    /// The calling thread gives the lock up for good, if it has joined this one. Inside
    /// [`allow_threads`] and in a hook nothing happens.
    pub fn leave(&self) {
        if member().is_some_and(|member| member.lock == *self) {
            leave();
        }
    }

    /// Has all present and new threads join that use the library, except the workers of
    /// [`offload`](crate::offload) pools. New threads join with their first use of the library,
    /// present ones at their next switch or pump, and the caller at once. A thread that has joined
    /// another lock keeps that one.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn install(&self) -> Result<()> {
        self.join()?;
        // The old lock is dropped without the mutex: it may be the last handle, and its hook may
        // own anything.
        let before = lock(&INSTALLED).replace(self.clone());
        drop(before);
        let me = crate::thread_id();
        for home in home::all() {
            if home.id != me {
                // A thread that has ended meanwhile has nothing to join.
                let _ = home.post(Message::Do(Box::new(|_| attached())));
            }
        }
        Ok(())
    }

    /// Undoes [`install`](Self::install) for new threads; present members remain. Returns the lock
    /// that was installed.
    pub fn uninstall() -> Option<HostLock> {
        lock(&INSTALLED).take()
    }

    /// The lock that the calling thread has joined.
    pub fn current() -> Option<HostLock> {
        member().map(|member| member.lock.clone())
    }

    /// The settings that the lock was made with.
    pub fn settings(&self) -> Settings {
        self.0.settings
    }

    /// The figures of the lock. Cost: a mutex, which every hand-over takes as well.
    pub fn stats(&self) -> Stats {
        let state = self.state();
        Stats {
            waiting: state.queue.len(),
            owner: state.owner.as_ref().map(|tenure| tenure.who),
            ..state.stats
        }
    }

    /// The owner; `None` if no thread has the lock.
    pub fn owner(&self) -> Option<Owner> {
        self.state().owner.as_ref().map(|tenure| tenure.who)
    }

    /// Sets the hook that is called whenever the lock is contended, acquired or released; returns
    /// the old one.
    pub fn set_hook(&self, hook: Option<Hook>) -> Option<Hook> {
        std::mem::replace(&mut *lock(&self.0.hook), hook)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    fn tell(&self, who: Owner, what: impl FnOnce() -> Happening) {
        let Some(hook) = lock(&self.0.hook).clone() else {
            return;
        };
        // The hook runs in the middle of a switch, a wait or a hand-over: no other may begin there.
        let _switch = crate::switch_trapped();
        let _block = crate::block_trap();
        TELLS.set(true);
        let event = Event {
            who,
            what: what(),
            at: Instant::now(),
        };
        // The hook is moved into the closure and dropped there: it may have been replaced
        // meanwhile, and own anything.
        contain("the hook of a host lock", move || hook(&event));
        TELLS.set(false);
    }
}

impl State {
    /// The owner's turn is over: gives the lock to the next thread.
    fn hand_over(&mut self) {
        let Some(tenure) = self.owner.take() else {
            return;
        };
        tenure.flag.set(false);
        self.stats.held += tenure.since.elapsed();
        if let Some(claim) = self.queue.pop_front() {
            let waited = claim.since.elapsed();
            self.stats.waited += waited;
            self.stats.longest_wait = self.stats.longest_wait.max(waited);
            claim.flag.set(!self.queue.is_empty());
            self.begin(claim.who, claim.flag);
            claim.granted.notify_one();
        }
    }

    fn begin(&mut self, who: Owner, flag: Flag) {
        self.stats.acquired += 1;
        self.owner = Some(Tenure {
            who,
            since: Instant::now(),
            flag,
        });
    }

    fn is_owner(&self, thread: u64) -> bool {
        self.owner.as_ref().is_some_and(|t| t.who.thread == thread)
    }
}

/// The calling thread's identity, and the hooks by which others tell it something.
fn me() -> (Owner, Flag) {
    let runtime = Runtime::get();
    let who = Owner {
        thread: runtime.thread_id,
        tasklet: runtime.current() as usize,
    };
    (who, Flag(&runtime.hooks))
}

/// The calling thread is a member but not the owner: waits until it is.
fn acquire() {
    let Some(member) = member() else { return };
    let (who, flag) = me();
    let begun = Instant::now();
    let mut state = member.lock.state();
    let free = state.owner.is_none();
    if free {
        state.begin(who, flag);
        drop(state);
    } else {
        let owner = queue_up(&mut state, member, who, flag);
        drop(state);
        await_turn(member, who, owner);
    }
    begin(member, who, (!free).then_some(begun));
}

/// Another thread has the lock: joins the queue, and returns the owner.
fn queue_up(state: &mut State, member: &Member, who: Owner, flag: Flag) -> Owner {
    state.stats.contended += 1;
    state.queue.push_back(Claim {
        who,
        since: Instant::now(),
        flag,
        granted: member.granted.clone(),
    });
    let tenure = state
        .owner
        .as_ref()
        .expect("somebody has what is waited for");
    tenure.flag.set(true);
    tenure.who
}

fn await_turn(member: &Member, who: Owner, owner: Owner) {
    member.lock.tell(who, || Happening::Contended { owner });
    let mut state = member.lock.state();
    while !state.is_owner(who.thread) {
        state = member
            .granted
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

/// The calling thread, which owns the lock, gives it up.
fn release(member: &Member) {
    let (who, _) = me();
    member.lock.tell(who, || Happening::Released {
        held: member.since.get().elapsed(),
    });
    let mut state = member.lock.state();
    debug_assert!(state.is_owner(who.thread));
    state.hand_over();
}

/// Gives the lock up for good, if the thread has joined one. Called at the thread's end.
pub(crate) fn leave() {
    let Some(member) = member() else { return };
    if member.away.get() > 0 || TELLS.get() {
        return;
    }
    release(member);
    let member = MEMBER.replace(ptr::null()).cast_mut();
    // SAFETY: from `Box::into_raw` in `join`; it is taken out of `MEMBER` here, so this happens
    // once.
    drop(unsafe { Box::from_raw(member) });
}

/// The calling thread is for blocking work: it joins a lock only if it asks for it.
pub(crate) fn stay_out() {
    STAYS_OUT.set(true);
}

/// The calling thread uses the library: joins the lock that is installed, if there is one.
pub(crate) fn attached() {
    if STAYS_OUT.get() {
        return;
    }
    let installed = lock(&INSTALLED).clone();
    if let Some(installed) = installed {
        // An error says that it has joined another lock by itself.
        let _ = installed.join();
    }
}

/// Another thread waits for the calling thread's lock, and this one has come to a switch, a pump or
/// a `run()`: is its turn up?
pub(crate) fn turn_is_up() -> bool {
    let Some(member) = member() else { return false };
    member.turns.set(member.turns.get().saturating_add(1));
    let Settings { switches, time } = member.lock.0.settings;
    member.turns.get() >= switches || member.since.get().elapsed() >= time
}

/// The turn of the calling thread is up: gives the lock to a waiting thread, and waits for it
/// behind all others. Runs hooks. Does nothing while the running tasklet is atomic.
pub(crate) fn turn_over() {
    let Some(member) = member() else { return };
    // SAFETY: the running tasklet of this thread is live.
    let atomic = unsafe { (*Runtime::get().current()).is(flag::ATOMIC) };
    if atomic || member.away.get() > 0 || TELLS.get() {
        return;
    }
    // Code that ran since the switch may have given the lock up, and got it back.
    if Runtime::get().hooks() & HOOK_LOCK == 0 {
        return;
    }
    let (who, flag) = me();
    member.lock.tell(who, || Happening::Released {
        held: member.since.get().elapsed(),
    });
    let begun = Instant::now();
    let mut state = member.lock.state();
    debug_assert!(state.is_owner(who.thread) && !state.queue.is_empty());
    state.stats.turns_up += 1;
    queue_up(&mut state, member, who, flag);
    state.hand_over();
    let next = state.owner.as_ref().map(|tenure| tenure.who);
    drop(state);
    await_turn(member, who, next.unwrap_or(who));
    begin(member, who, Some(begun));
}

/// The calling thread has got the lock. `waited`: when it began to wait.
fn begin(member: &Member, who: Owner, waited: Option<Instant>) {
    let now = Instant::now();
    member.since.set(now);
    member.turns.set(0);
    member.lock.tell(who, || Happening::Acquired {
        waited: waited.map_or(Duration::ZERO, |since| now - since),
    });
}

/// Counts as a switch: for pumps and for `run()`, since a thread may do nothing else.
#[inline]
pub(crate) fn offer(runtime: &Runtime) {
    if runtime.hooks() & HOOK_LOCK != 0 && turn_is_up() {
        turn_over();
    }
}

/// Gives the lock up around a wait, if the thread has one; returns whether it has.
/// [`come_back`] must follow.
pub(crate) fn give_up() -> bool {
    let Some(member) = member().filter(|_| !TELLS.get()) else {
        return false;
    };
    let depth = member.away.get();
    if depth == 0 {
        release(member);
    }
    member.away.set(depth + 1);
    true
}

/// Takes the lock again, if it was given up.
pub(crate) fn come_back(gave_up: bool) {
    let Some(member) = member().filter(|_| gave_up) else {
        return;
    };
    let depth = member.away.get() - 1;
    member.away.set(depth);
    if depth == 0 {
        acquire();
    }
}

/// The lock is away while this exists.
struct Away(bool);

impl Drop for Away {
    fn drop(&mut self) {
        come_back(self.0);
    }
}

/// While this exists, nobody hands the calling thread's lock over, or installs one.
pub(crate) struct Held {
    _installed: MutexGuard<'static, Option<HostLock>>,
    /// Declared before `lock`, from which it borrows, so that it is dropped first.
    state: Option<MutexGuard<'static, State>>,
    lock: Option<HostLock>,
}

pub(crate) fn hold() -> Held {
    let installed = self::lock(&INSTALLED);
    let lock = HostLock::current();
    // SAFETY: `Held` keeps the lock and drops the guard first, and the state lies in the heap; so
    // the guard does not outlive what it borrows.
    let state = lock.as_ref().map(|lock| unsafe {
        std::mem::transmute::<MutexGuard<'_, State>, MutexGuard<'static, State>>(lock.state())
    });
    Held {
        _installed: installed,
        state,
        lock,
    }
}

impl Held {
    /// In a child process: no other thread has the lock, or waits for it.
    pub(crate) fn forked(&mut self) {
        if let (Some(state), true) = (&mut self.state, self.lock.is_some()) {
            state.queue.clear();
            let me = crate::thread_id();
            if !state.is_owner(me) {
                state.owner = None;
            }
            if let Some(tenure) = &state.owner {
                tenure.flag.set(false);
            }
        }
    }
}

/// Has the calling thread joined a lock?
pub(crate) fn is_member() -> bool {
    member().is_some()
}

/// Has the thread given its lock up, so that it must not run tasklets?
fn is_away() -> bool {
    member().is_some_and(|member| member.away.get() > 0)
}

/// Calls `f`, and lets other threads have the [host lock](HostLock) meanwhile: for blocking work of
/// the host's own. Calls nest. A thread that has joined no lock just calls `f`.
///
/// The lock is taken again when `f` returns or panics. Inside, tasklets must not run: a switch and
/// a pump fail with [`Error::SwitchTrap`], a wait with [`Error::BlockTrap`]. The lock is also given
/// up when the tasklet is [atomic](crate::atomic), since that is what the caller asks for.
pub fn allow_threads<R>(f: impl FnOnce() -> R) -> R {
    if member().is_none() {
        return f();
    }
    let _switch = crate::switch_trapped();
    let _block = crate::block_trap();
    let _away = Away(give_up());
    f()
}

/// Refuses a pump while the lock is given up, and in a hook.
pub(crate) fn may_pump() -> Result<()> {
    if is_away() || TELLS.get() {
        return Err(Error::SwitchTrap);
    }
    Ok(())
}

impl PartialEq for HostLock {
    fn eq(&self, other: &HostLock) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for HostLock {}

impl fmt::Debug for HostLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostLock").field(&self.stats()).finish()
    }
}
