//! One lock that lets the tasklets of one thread run at a time.

use alloc::sync::Arc;
use core::ffi::c_void;
use core::ptr;

use super::object::{self, ask, get, hand_out_or_none, handle_of_process, tell};
use super::run::nanoseconds;
use super::spill::hsw_function;
use super::value::{hsw_destroy, Common, Owned};
use super::{entry, hsw_status, out, thread_state, time_limit, Failure};
use crate::thread::allow_threads;
use crate::thread::host_lock::{Event, Happening, Hook, HostLock, Owner, Settings};

/// A lock under which one thread at a time runs its tasklets, as with an interpreter's global lock.
/// Any thread may use the handle, and give it back. Only threads that have joined the lock obey it.
/// The owner hands it to the thread that has waited longest: in every wait of the library when no
/// other tasklet of the thread can run; in `hsw_allow_threads`; when its turn is up and another
/// thread waits (not while an atomic tasklet runs); and when its thread ends. Code that neither
/// switches nor waits keeps it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_host_lock {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

handle_of_process!(hsw_host_lock, HostLock, HostLock);

/// When the owner's turn is up, if another thread waits. The limit that is reached first counts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_host_lock_settings {
    /// Its turn is up when it has made this many switches while another thread waits; pumps and
    /// runs count as well. 0 means 1; `HSW_NO_LIMIT`: switches do not count.
    pub switches: u64,
    /// Its turn is up at the first switch after it has had the lock for this many nanoseconds;
    /// `HSW_NO_LIMIT`: time does not count.
    pub time_ns: u64,
}

/// Fills in the settings that a null pointer stands for: 5 ms, and no limit of switches.
#[no_mangle]
pub unsafe extern "C" fn hsw_host_lock_settings_default(
    settings: *mut hsw_host_lock_settings,
) -> hsw_status {
    entry(|| {
        out(settings, "settings")?.set(Settings::default().into());
        Ok(())
    })
}

impl From<Settings> for hsw_host_lock_settings {
    fn from(settings: Settings) -> Self {
        hsw_host_lock_settings {
            switches: settings.switches,
            time_ns: nanoseconds(settings.time),
        }
    }
}

/// Makes a lock that no thread has joined. Null: the default settings.
#[no_mangle]
pub unsafe extern "C" fn hsw_host_lock_new(
    settings: *const hsw_host_lock_settings,
    lock: *mut hsw_host_lock,
) -> hsw_status {
    object::make(lock, "lock", || {
        // SAFETY: null, or a pointer to readable settings (contract of the interface).
        let settings = match unsafe { settings.as_ref() } {
            None => Settings::default(),
            Some(settings) => Settings {
                switches: settings.switches,
                time: time_limit(settings.time_ns)?.unwrap_or(core::time::Duration::MAX),
            },
        };
        Ok(HostLock::new(settings))
    })
}

/// Makes another handle of the same lock, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_host_lock_retain(
    lock: hsw_host_lock,
    other: *mut hsw_host_lock,
) -> hsw_status {
    object::retain(lock, other)
}

/// Gives a handle (not the lock) back; it is stale from now on. Threads that have joined the lock
/// remain members.
#[no_mangle]
pub extern "C" fn hsw_host_lock_release(lock: hsw_host_lock) -> hsw_status {
    object::release(lock)
}

/// The calling thread takes the lock, which blocks the *thread* until it is its turn. From then on
/// it runs only while it has the lock, until it leaves or ends. No-op for a member.
/// `HSW_ERR_STATE`: it has joined another lock.
#[no_mangle]
pub extern "C" fn hsw_host_lock_join(lock: hsw_host_lock) -> hsw_status {
    entry(|| get(lock)?.join().map_err(Failure::own))
}

/// The calling thread gives the lock up for good. No-op for a thread that has not joined it, and
/// within `hsw_allow_threads`.
#[no_mangle]
pub extern "C" fn hsw_host_lock_leave(lock: hsw_host_lock) -> hsw_status {
    tell(lock, HostLock::leave)
}

/// The calling thread joins, and so does every thread that uses the library: new threads with their
/// first call, present ones at their next switch or pump. The workers of pools do not. Fails as
/// `hsw_host_lock_join` does.
#[no_mangle]
pub extern "C" fn hsw_host_lock_install(lock: hsw_host_lock) -> hsw_status {
    entry(|| get(lock)?.install().map_err(Failure::own))
}

/// New threads join no lock from now on. Present members remain.
#[no_mangle]
pub extern "C" fn hsw_host_lock_uninstall() -> hsw_status {
    entry(|| {
        drop(HostLock::uninstall());
        Ok(())
    })
}

/// The lock that the calling thread has joined; the null handle when there is none. The caller owns
/// the handle.
#[no_mangle]
pub unsafe extern "C" fn hsw_host_lock_current(lock: *mut hsw_host_lock) -> hsw_status {
    entry(|| {
        let lock = out(lock, "lock")?;
        lock.set(hand_out_or_none(HostLock::current())?);
        Ok(())
    })
}

/// Calls `function(argument)`, and lets other threads have the lock meanwhile: for blocking work of
/// the host's own. Calls nest. A thread that has joined no lock just calls the function. `argument`
/// may point to the caller's stack.
///
/// Inside, no tasklet runs: calls that would switch or pump fail with `HSW_ERR_SWITCH_TRAP`, calls
/// that would wait with `HSW_ERR_BLOCK_TRAP`.
#[no_mangle]
pub unsafe extern "C" fn hsw_allow_threads(
    function: hsw_function,
    argument: *mut c_void,
) -> hsw_status {
    entry(|| {
        let function = function.ok_or(Failure::Null("function"))?;
        // SAFETY: `function` has this type and accepts `argument` (contract of the interface); if
        // it is unwound, the process ends (`thread_state::returning`).
        allow_threads(|| {
            thread_state::inside(|| unsafe { thread_state::unwindable(function)(argument) })
        });
        Ok(())
    })
}

/// A thread, and the tasklet that ran there.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_host_lock_owner {
    /// As `hsw_thread_id`; 0: nobody.
    pub thread_id: u64,
    /// As `hsw_tasklet_id`.
    pub tasklet_id: usize,
}

impl hsw_host_lock_owner {
    fn of(owner: Option<Owner>) -> Self {
        owner.map_or(
            hsw_host_lock_owner {
                thread_id: 0,
                tasklet_id: 0,
            },
            |owner| hsw_host_lock_owner {
                thread_id: owner.thread,
                tasklet_id: owner.tasklet,
            },
        )
    }
}

/// Figures of a lock since it was made.
#[repr(C)]
pub struct hsw_host_lock_stats {
    /// Times that a thread got it.
    pub acquired: u64,
    /// Times that a thread had to wait for it.
    pub contended: u64,
    /// Times that its owner's turn was up.
    pub turns_up: u64,
    /// Nanoseconds that threads have waited for it, summed up; without waits that are still going
    /// on.
    pub waited_ns: u64,
    /// The longest of these waits.
    pub longest_wait_ns: u64,
    /// Nanoseconds that it was owned, without the present owner's turn.
    pub held_ns: u64,
    /// Threads that wait.
    pub waiting: usize,
    /// Its owner.
    pub owner: hsw_host_lock_owner,
}

/// The settings that the lock was made with.
#[no_mangle]
pub unsafe extern "C" fn hsw_host_lock_get_settings(
    lock: hsw_host_lock,
    settings: *mut hsw_host_lock_settings,
) -> hsw_status {
    object::ask(lock, settings, "settings", |lock| lock.settings().into())
}

/// The figures of a lock.
#[no_mangle]
pub unsafe extern "C" fn hsw_host_lock_get_stats(
    lock: hsw_host_lock,
    stats: *mut hsw_host_lock_stats,
) -> hsw_status {
    ask(lock, stats, "stats", |lock| {
        let stats = lock.stats();
        hsw_host_lock_stats {
            acquired: stats.acquired,
            contended: stats.contended,
            turns_up: stats.turns_up,
            waited_ns: nanoseconds(stats.waited),
            longest_wait_ns: nanoseconds(stats.longest_wait),
            held_ns: nanoseconds(stats.held),
            waiting: stats.waiting,
            owner: hsw_host_lock_owner::of(stats.owner),
        }
    })
}

/// What happened to a lock.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum hsw_host_lock_happening {
    /// The thread starts to wait, since another has it.
    HSW_LOCK_CONTENDED = 0,
    /// The thread has got it.
    HSW_LOCK_ACQUIRED = 1,
    /// The thread is about to give it up.
    HSW_LOCK_RELEASED = 2,
}

/// What the hook of a lock is told.
#[repr(C)]
pub struct hsw_host_lock_event {
    /// One of `hsw_host_lock_happening`.
    pub what: i32,
    /// The thread that it happened to.
    pub who: hsw_host_lock_owner,
    /// The owner of the lock, when it is contended.
    pub owner: hsw_host_lock_owner,
    /// How long the thread waited for it (acquired), or had it (released), in nanoseconds.
    pub time_ns: u64,
}

/// Called on the thread that the event happened to. It may ask questions, but calls that would
/// switch or wait are refused. It must not unwind.
pub type hsw_host_lock_hook =
    Option<unsafe extern "C" fn(event: *const hsw_host_lock_event, user: *mut c_void)>;

/// Sets the function that is told of the lock's events on all threads; null clears it. `user` is
/// passed on to it. `user` is freed with `destroy_user` (may be null), on any thread, when the hook
/// has been replaced and no call of it is under way any more, or when this call fails.
#[no_mangle]
pub unsafe extern "C" fn hsw_host_lock_set_hook(
    lock: hsw_host_lock,
    hook: hsw_host_lock_hook,
    user: *mut c_void,
    destroy_user: hsw_destroy,
) -> hsw_status {
    entry(|| {
        let user = Common(Owned::new(user, destroy_user));
        let lock = get(lock)?;
        let hook = hook.map(|hook| -> Hook {
            Arc::new(move |event: &Event| {
                use hsw_host_lock_happening::*;
                let (what, owner, time) = match event.what {
                    Happening::Contended { owner } => (HSW_LOCK_CONTENDED, Some(owner), None),
                    Happening::Acquired { waited } => (HSW_LOCK_ACQUIRED, None, Some(waited)),
                    Happening::Released { held } => (HSW_LOCK_RELEASED, None, Some(held)),
                };
                let event = hsw_host_lock_event {
                    what: what as i32,
                    who: hsw_host_lock_owner::of(Some(event.who)),
                    owner: hsw_host_lock_owner::of(owner),
                    time_ns: time.map_or(0, nanoseconds),
                };
                // The closure captures the whole of `user`, not its field.
                let user = &user;
                // SAFETY: `hook` has this type, does not unwind, and accepts `user` (contract of
                // the interface).
                thread_state::call_back(|| unsafe {
                    thread_state::unwindable(hook)(ptr::from_ref(&event), user.0.peek().0)
                });
            })
        });
        drop(lock.set_hook(hook));
        Ok(())
    })
}
