//! What other threads may know of a thread: its *home*. It holds the thread's inbox, and its sleep.
//!
//! The inbox is in `inbox`, the sleep in `parker`. Here is the list of all threads, and their
//! number. A thread that does not use the library yet, but will, is known by the handle that is on
//! its way to it: see [`Mark`].

use crate::core::hooks::HOOK_INBOX;
use crate::error::StateError;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attachment::Local;
use super::inbox::{Census, Flag, Hold, Inbox, StayAwake};
use super::parker::Parker;

static CENSUS: Census = Census {
    awake: AtomicUsize::new(0),
};
/// How many handles there are that nobody has used yet.
static STRANGERS: AtomicUsize = AtomicUsize::new(0);
/// All attached threads, in the order they came.
static THREADS: Mutex<Vec<Arc<Home>>> = Mutex::new(Vec::new());

/// A message to a thread.
pub enum Message {
    /// The tasklet at this place has what it waited for.
    Wake(Place),
    /// A function to run there, where user code may run.
    Do(Box<dyn FnOnce(&Local) + Send>),
}

/// Where a tasklet waits: the number of a parking spot of its thread, and the number of the wait
/// there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub spot: u32,
    pub turn: u32,
}

pub struct Home {
    pub id: u64,
    pub name: Option<String>,
    inbox: Inbox<Message, Hooks>,
    gone: AtomicBool,
}

/// A pointer to the hooks of the thread's runtime.
struct Hooks(NonNull<AtomicU32>);

// SAFETY: the pointer is followed under the lock of the inbox only, and the inbox drops it
// (`close`) before the runtime ends.
unsafe impl Send for Hooks {}

impl Flag for Hooks {
    fn raise(&self) {
        self.word().fetch_or(HOOK_INBOX, Ordering::Relaxed);
    }

    fn lower(&self) {
        // The flag is raised under the same lock, so none is missed. Usually there is nothing to
        // lower.
        if self.word().load(Ordering::Relaxed) & HOOK_INBOX != 0 {
            self.word().fetch_and(!HOOK_INBOX, Ordering::Relaxed);
        }
    }
}

impl Hooks {
    fn word(&self) -> &AtomicU32 {
        // SAFETY: the caller of `attach` has promised that the hooks live until `close`, which
        // drops this value under the lock of the inbox.
        unsafe { self.0.as_ref() }
    }
}

impl Home {
    /// Counts the calling thread among the attached ones, and among those that can run.
    ///
    /// # Safety
    /// `hooks` stays until [`Home::close`].
    pub unsafe fn attach(id: u64, hooks: &AtomicU32) -> Arc<Home> {
        counted_threads();
        let home = Arc::new(Home {
            id,
            name: std::thread::current().name().map(Into::into),
            inbox: Inbox::new(Hooks(NonNull::from(hooks)), &CENSUS),
            gone: AtomicBool::new(false),
        });
        threads().push(home.clone());
        home
    }

    /// Has the thread ended?
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Posts a message; gives it back when the thread has ended.
    pub fn post(&self, message: Message) -> Result<(), Message> {
        // Without a look at the inbox, since a fork may have left it locked.
        if self.is_gone() {
            return Err(message);
        }
        self.inbox.post(message, &CENSUS)
    }

    /// Has the processor fetch the memory that a post writes to.
    pub fn fetch(&self) {
        crate::machine::arch::fetch(&self.inbox);
    }

    /// Moves the messages out.
    pub fn take_messages(&self, into: &mut impl Extend<Message>) {
        self.inbox.take(into);
    }

    /// The thread is about to sleep on `parker`. `stuck`: only another attached thread will wake
    /// it. Returns the same as [`Inbox::begin_sleep`].
    pub fn begin_sleep(&self, stuck: bool, parker: &Arc<Parker>) -> Result<bool, StayAwake> {
        self.inbox
            .begin_sleep(stuck, &CENSUS, parker, strangers_may_come)
    }

    /// The thread has woken up, for whatever reason. Moves the messages out.
    pub fn end_sleep(&self, into: &mut impl Extend<Message>) {
        self.inbox.end_sleep(&CENSUS, into);
    }

    /// The thread ends: takes it off the list, and returns the messages that nobody will read.
    pub fn close(&self) -> Vec<Message> {
        self.gone.store(true, Ordering::Release);
        let messages = self.inbox.close();
        threads().retain(|home| home.id != self.id);
        if CENSUS.leave() {
            look_again();
        }
        messages
    }
}

/// While this exists, nobody changes the list of threads, or posts to the calling one.
pub struct Held {
    threads: MutexGuard<'static, Vec<Arc<Home>>>,
    /// Declared before `mine`, from which it borrows, so that it is dropped first.
    _inbox: Option<Hold<'static, Message, Hooks>>,
    mine: Option<Arc<Home>>,
}

pub fn hold() -> Held {
    let threads = threads();
    let mine = super::existing().map(|local| local.home.clone());
    // SAFETY: `Held` keeps the home and drops the guard first, and the home lies in the heap; so
    // the guard does not outlive what it borrows.
    let inbox = mine.as_ref().map(|home| unsafe {
        std::mem::transmute::<Hold<'_, Message, Hooks>, Hold<'static, Message, Hooks>>(
            home.inbox.hold(),
        )
    });
    Held {
        threads,
        _inbox: inbox,
        mine,
    }
}

impl Held {
    /// In a child process: the calling thread is the only one.
    pub fn forked(&mut self) {
        let mine = &self.mine;
        self.threads.retain(|home| {
            let is_mine = mine.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, home));
            if !is_mine {
                home.gone.store(true, Ordering::Release);
            }
            is_mine
        });
        let awake = usize::from(self.mine.is_some());
        CENSUS.awake.store(awake, Ordering::SeqCst);
    }
}

fn threads() -> MutexGuard<'static, Vec<Arc<Home>>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The attached thread with this number.
pub fn find(id: u64) -> Result<Arc<Home>, StateError> {
    let found = threads().iter().find(|home| home.id == id).cloned();
    found.ok_or(StateError::ThreadNotFound)
}

/// The attached threads, in the order they came.
pub fn all() -> Vec<Arc<Home>> {
    threads().clone()
}

/// May a handle be on its way to a thread that is not attached yet?
fn strangers_may_come() -> bool {
    STRANGERS.load(Ordering::SeqCst) > 0 && other_threads()
}

/// Has the process threads that are not attached?
fn other_threads() -> bool {
    all_threads() > threads().len()
}

/// Has the process other threads than the calling one?
pub fn has_company() -> bool {
    threads().len() > 1 || all_threads() > 1
}

/// How many threads the process has; any number, if that cannot be found out.
///
/// The count is glibc's, which does not contain threads of an emulator that run none of the
/// program's code. Another C library has no such word; then the system's count is used.
fn all_threads() -> usize {
    match counted_threads() {
        Some(count) => count.load(Ordering::Relaxed) as usize,
        None => std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count),
    }
}

/// glibc's count of its threads.
///
/// It is looked up when the first thread attaches, with no lock held: the look-up takes the
/// loader's lock, under which constructors of libraries may use this library, so a lock of ours
/// around it could be taken in both orders. Threads that look it up at the same time find the same.
fn counted_threads() -> Option<&'static AtomicU32> {
    const NAME: &str = "__nptl_nthreads\0";
    static COUNT: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
    /// Its address stands for "there is no such word".
    static NONE: AtomicU32 = AtomicU32::new(0);
    let none: *const AtomicU32 = &NONE;
    let mut count = COUNT.load(Ordering::Relaxed).cast_const();
    if count.is_null() {
        // SAFETY: the name ends in a zero byte.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, NAME.as_ptr().cast()) };
        count = match found.is_null() {
            true => none,
            false => found.cast_const().cast(),
        };
        COUNT.store(count.cast_mut(), Ordering::Relaxed);
    }
    // SAFETY: it is glibc's `unsigned int`, which glibc changes by atomic operations, and which
    // stays as long as the process.
    (count != none).then(|| unsafe { &*count })
}

/// All threads may be stuck now: wakes the first stuck one, which finds out.
fn look_again() {
    for home in all() {
        if home.inbox.nudge(&CENSUS) {
            return;
        }
    }
}

/// Says of a handle that can change threads whether anybody has used it. An unused one may be on
/// its way to a thread that does not use the library yet, and that will wake others. While there
/// are such a handle and such a thread, no deadlock is reported.
pub struct Mark(AtomicBool);

impl Mark {
    pub fn new() -> Mark {
        STRANGERS.fetch_add(1, Ordering::SeqCst);
        Mark(AtomicBool::new(false))
    }

    /// The calling thread, which is attached, uses the handle.
    #[inline]
    pub fn used(&self) {
        if !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Relaxed) {
            STRANGERS.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if !*self.0.get_mut()
            && STRANGERS.fetch_sub(1, Ordering::SeqCst) == 1
            && CENSUS.awake.load(Ordering::SeqCst) == 0
        {
            look_again();
        }
    }
}
