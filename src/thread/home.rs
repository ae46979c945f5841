//! What other threads may know of a thread: its *home*. Letters arrive there, and it is where the thread sleeps.
//!
//! ```text
//!   another thread                         home (shared)                    the thread itself
//!   post(letter) ──► under the lock: append, raise HOOK_MAIL ──► at its next switch or pump: read_mail()
//!                    asleep? ring its bell ─────────────────────► wakes up in Reactor::pump, reads
//! ```
//!
//! A letter to a thread that is awake costs no system call. Who lies down does so under the lock, with no letter there; so none is missed.
//!
//! **Deadlock.** [`AWAKE`] counts the attached threads that can run. A thread that lies down *stuck* (it waits for other threads' letters and for
//! nothing else) leaves the count; who posts to it counts it in again, before it may itself lie down. Who would leave a count of nought behind
//! does not lie down: it has found the deadlock. A thread that does not use the library yet, but will, is known by the handle that is under way to it:
//! see [`Mark`].

use crate::error::StateError;
use crate::event::Poster;
use crate::runtime::HOOK_MAIL;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::local::Local;

/// Attached threads that are not stuck.
static AWAKE: AtomicUsize = AtomicUsize::new(0);
/// Handles that nobody has used yet.
static STRANGERS: AtomicUsize = AtomicUsize::new(0);
/// All attached threads, in the order they came.
static THREADS: Mutex<Vec<Arc<Home>>> = Mutex::new(Vec::new());

/// What a thread is sent.
pub(crate) enum Letter {
    /// What the tasklet at this place waited for is there.
    Wake(Place),
    /// To be run there, where user code may run.
    Do(Box<dyn FnOnce(&Local) + Send>),
}

/// Where a tasklet waits: a seat of its thread, and the how-manieth wait there it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) seat: u32,
    pub(crate) turn: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Awake,
    /// Asleep; a socket, a timer or an event may wake it as well.
    Asleep,
    /// Asleep, and only another attached thread can wake it.
    Stuck,
}

/// Why a thread does not lie down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StayUp {
    /// There is mail.
    Mail,
    /// Nobody would be left who can run.
    Deadlock,
}

pub(crate) struct Home {
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    mail: Mutex<Mail>,
    gone: AtomicBool,
}

struct Mail {
    letters: Vec<Letter>,
    rest: Rest,
    bell: Option<Poster>,
    flag: Flag,
}

/// The hooks of the thread's runtime; null when the thread has ended.
struct Flag(*const AtomicU32);

// SAFETY: it is followed under the lock of `Mail` only, and set to null there before the runtime goes.
unsafe impl Send for Flag {}

impl Flag {
    /// Is the thread still there? Tells it of its mail.
    fn raise(&self) -> bool {
        // SAFETY: not null: the runtime is there for as long as the lock is held.
        unsafe { self.0.as_ref() }
            .map(|hooks| hooks.fetch_or(HOOK_MAIL, Ordering::Relaxed))
            .is_some()
    }

    fn lower(&self) {
        // SAFETY: as in `raise`.
        if let Some(hooks) = unsafe { self.0.as_ref() } {
            hooks.fetch_and(!HOOK_MAIL, Ordering::Relaxed);
        }
    }
}

impl Home {
    /// Counts the calling thread among the attached ones, and awake.
    ///
    /// # Safety
    /// `hooks` stays until [`Home::close`].
    pub(crate) unsafe fn attach(id: u64, hooks: *const AtomicU32) -> Arc<Home> {
        let home = Arc::new(Home {
            id,
            name: std::thread::current().name().map(Into::into),
            mail: Mutex::new(Mail {
                letters: Vec::new(),
                rest: Rest::Awake,
                bell: None,
                flag: Flag(hooks),
            }),
            gone: AtomicBool::new(false),
        });
        AWAKE.fetch_add(1, Ordering::SeqCst);
        threads().push(home.clone());
        home
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        // Nothing under the lock panics but the growth of the vector, which leaves it whole.
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread ended?
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Sends a letter; gives it back when the thread has ended.
    pub(crate) fn post(&self, letter: Letter) -> Result<(), Letter> {
        let bell = {
            let mut mail = self.mail();
            if !mail.flag.raise() {
                return Err(letter);
            }
            mail.letters.push(letter);
            mail.rouse()
        };
        // Not under the lock: the owner wakes up and wants it.
        if let Some(bell) = bell {
            bell.interrupt();
        }
        Ok(())
    }

    /// Wakes the thread up with nothing to do, if it is stuck. Answers whether it was.
    fn nudge(&self) -> bool {
        let bell = {
            let mut mail = self.mail();
            if mail.rest != Rest::Stuck {
                return false;
            }
            mail.rouse()
        };
        if let Some(bell) = bell {
            bell.interrupt();
        }
        true
    }

    /// Moves the letters out.
    pub(crate) fn take_mail(&self, into: &mut impl Extend<Letter>) {
        let mut mail = self.mail();
        mail.flag.lower();
        into.extend(mail.letters.drain(..));
    }

    /// The thread is about to sleep until somebody rings `bell`. `stuck`: nobody but another attached thread will.
    pub(crate) fn lie_down(
        &self,
        stuck: bool,
        bell: impl FnOnce() -> Poster,
    ) -> Result<(), StayUp> {
        let mut mail = self.mail();
        if !mail.letters.is_empty() {
            return Err(StayUp::Mail);
        }
        while stuck && AWAKE.fetch_sub(1, Ordering::SeqCst) == 1 && !strangers_may_come() {
            if AWAKE.fetch_add(1, Ordering::SeqCst) == 0 {
                return Err(StayUp::Deadlock);
            }
            // A stranger has come while we looked for one: it was none any more, and can run.
        }
        mail.bell.get_or_insert_with(bell);
        mail.rest = if stuck { Rest::Stuck } else { Rest::Asleep };
        Ok(())
    }

    /// The thread has woken up, from whatever cause.
    pub(crate) fn get_up(&self) {
        let _ = self.mail().rouse();
    }

    /// The thread ends: takes it off the list, and the mail that nobody will read.
    pub(crate) fn close(&self) -> Vec<Letter> {
        let letters = {
            let mut mail = self.mail();
            self.gone.store(true, Ordering::Release);
            mail.flag = Flag(std::ptr::null());
            mail.bell = None;
            debug_assert!(mail.rest == Rest::Awake);
            std::mem::take(&mut mail.letters)
        };
        threads().retain(|home| home.id != self.id);
        if AWAKE.fetch_sub(1, Ordering::SeqCst) == 1 {
            look_again();
        }
        letters
    }
}

impl Mail {
    /// Counts the thread as awake; the bell to ring if it was not.
    fn rouse(&mut self) -> Option<Poster> {
        match std::mem::replace(&mut self.rest, Rest::Awake) {
            Rest::Awake => return None,
            Rest::Asleep => {}
            Rest::Stuck => {
                AWAKE.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.bell.clone()
    }
}

fn threads() -> MutexGuard<'static, Vec<Arc<Home>>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The attached thread with this number.
pub(crate) fn find(id: u64) -> Result<Arc<Home>, StateError> {
    let found = threads().iter().find(|home| home.id == id).cloned();
    found.ok_or(StateError::ThreadNotFound)
}

/// The attached threads, in the order they came.
pub(crate) fn all() -> Vec<Arc<Home>> {
    threads().clone()
}

/// May a handle be under way to a thread that we do not know?
fn strangers_may_come() -> bool {
    STRANGERS.load(Ordering::SeqCst) > 0 && other_threads()
}

/// Has the process threads that are not attached?
fn other_threads() -> bool {
    all_threads() > threads().len()
}

/// Has the process other threads than the calling one?
pub(crate) fn has_company() -> bool {
    threads().len() > 1 || all_threads() > 1
}

/// The process's threads; any number, where it cannot be told.
fn all_threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count)
}

/// Everybody may be stuck now: has the first who is find out.
fn look_again() {
    for home in all() {
        if home.nudge() {
            return;
        }
    }
}

/// Says of a handle that can change threads whether anybody has used it. One that nobody has may be under way to a thread that does not use
/// the library yet, and will wake others: while there is one, and a thread that it may be under way to, no deadlock is found.
pub(crate) struct Mark(AtomicBool);

impl Mark {
    pub(crate) fn new() -> Mark {
        STRANGERS.fetch_add(1, Ordering::SeqCst);
        Mark(AtomicBool::new(false))
    }

    /// The handle is used by the calling thread, which is attached.
    #[inline]
    pub(crate) fn used(&self) {
        if !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Relaxed) {
            STRANGERS.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if !*self.0.get_mut()
            && STRANGERS.fetch_sub(1, Ordering::SeqCst) == 1
            && AWAKE.load(Ordering::SeqCst) == 0
        {
            look_again();
        }
    }
}
