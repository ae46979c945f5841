//! Status codes, and the last error behind them.

use core::any::Any;
use core::ffi::{c_char, c_void};
use core::fmt::Write as _;
use core::sync::atomic::{AtomicU64, Ordering};

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString};

use super::handle::{Fault, Kind};
use super::value::{hsw_destroy, Common, Owned};
use super::{out, set_if_wanted, thread_state};
use crate::core::runtime::Runtime;
use crate::error::{Error, StateError, Thrown, WaitError};

/// The outcome of a call. `hsw_last_error_message` has words for it.
///
/// The codes from `HSW_ERR_EXIT` to below `HSW_ERR_NULL` are events of the runtime. Those from
/// `HSW_ERR_NULL` on are mistakes of the caller, found before anything was changed (except for
/// `HSW_ERR_INTERNAL`). What a function takes over *also when it fails*, it takes over with each of
/// these codes, unless its own description says that after a mistake it does not.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum hsw_status {
    /// All went well.
    HSW_OK = 0,

    /// The calling tasklet was killed (TaskletExit). Clean up and return; a tasklet that goes on
    /// blocking gets this again.
    HSW_ERR_EXIT = 1,
    /// Somebody threw something at the calling tasklet, or sent it an exception; or another tasklet
    /// has failed, and nobody handled that. `hsw_last_error_payload` has the payload of an
    /// exception, `hsw_last_error_cause` tells what the failure was. All calls that wait report it
    /// with this code, *whatever was thrown*: any other status, except for `HSW_ERR_EXIT` and
    /// `HSW_ERR_PANICKED`, is the outcome of the call itself. If the socket of another tasklet has
    /// timed out, that is no `HSW_ERR_TIMEOUT` of a call that waits meanwhile.
    HSW_ERR_THROWN = 2,
    /// A tasklet of the Rust side panicked, and nobody handled it.
    HSW_ERR_PANICKED = 3,
    /// The channel is closed.
    HSW_ERR_CLOSED = 4,
    /// The last runnable tasklet cannot be blocked.
    HSW_ERR_DEADLOCK = 5,
    /// The main tasklet is receiving without a sender available.
    HSW_ERR_MAIN_RECEIVING = 6,
    /// The main tasklet is sending without a receiver available.
    HSW_ERR_MAIN_SENDING = 7,
    /// The tasklet does not like to be blocked (its block trap is set).
    HSW_ERR_BLOCK_TRAP = 8,
    /// A switch where none is allowed: under `hsw_switch_trap`, in a callback, during unwinding.
    HSW_ERR_SWITCH_TRAP = 9,
    /// The time that the call was given is over. (A connection that the system has found dead is
    /// `HSW_ERR_IO`, also with `ETIMEDOUT`.)
    HSW_ERR_TIMEOUT = 10,
    /// The object is in a state in which this call makes no sense ("You cannot run a blocked
    /// tasklet"); or the calling thread is ending, so that nothing can be waited for or made there
    /// any more.
    HSW_ERR_STATE = 11,
    /// Iteration over a channel has come to its end.
    HSW_ERR_STOP_ITERATION = 12,
    /// A stack of this size cannot be had.
    HSW_ERR_STACK_SIZE = 13,
    /// There is no memory for it, or the ceiling of the settings has been reached.
    HSW_ERR_OUT_OF_MEMORY = 14,
    /// Input or output failed; `hsw_last_error_errno` has the system's number.
    HSW_ERR_IO = 15,
    /// A value of another type than expected.
    HSW_ERR_WRONG_TYPE = 16,
    /// The call would have to wait, and must not.
    HSW_ERR_WOULD_BLOCK = 17,
    /// Settings that contradict each other or come too late.
    HSW_ERR_SETTINGS = 18,
    /// The value of a waiting sender was lost, because another tasklet was in a deadlock.
    HSW_ERR_VALUE_LOST = 19,
    /// A tasklet gave up waiting at the barrier, or broke it.
    HSW_ERR_BROKEN = 20,
    /// Another error of the runtime.
    HSW_ERR_OTHER = 31,

    /// A pointer or handle is null that must not be.
    HSW_ERR_NULL = 32,
    /// The handle was released, or never was one.
    HSW_ERR_STALE = 33,
    /// The handle belongs to another thread.
    HSW_ERR_WRONG_THREAD = 34,
    /// The handle names an object of another kind.
    HSW_ERR_WRONG_KIND = 35,
    /// An argument is out of its range.
    HSW_ERR_ARGUMENT = 36,
    /// A limit of the interface has been reached.
    HSW_ERR_LIMIT = 37,
    /// The calling thread has ended its use of the library for good; its handles name nothing any
    /// more.
    HSW_ERR_THREAD_ENDING = 38,
    /// The library itself has failed (by a bug of it, or of a callback in Rust). The message is
    /// that of the panic. A value that the call was to hand over has been freed, or a receiver has
    /// it.
    HSW_ERR_INTERNAL = 39,
}

use hsw_status::*;

/// Every status with its name, which ends in a zero byte. (No `c"..."` literals in here: Debian's
/// cbindgen cannot read them.)
const ALL: &[(hsw_status, &str)] = &[
    (HSW_OK, "HSW_OK\0"),
    (HSW_ERR_EXIT, "HSW_ERR_EXIT\0"),
    (HSW_ERR_THROWN, "HSW_ERR_THROWN\0"),
    (HSW_ERR_PANICKED, "HSW_ERR_PANICKED\0"),
    (HSW_ERR_CLOSED, "HSW_ERR_CLOSED\0"),
    (HSW_ERR_DEADLOCK, "HSW_ERR_DEADLOCK\0"),
    (HSW_ERR_MAIN_RECEIVING, "HSW_ERR_MAIN_RECEIVING\0"),
    (HSW_ERR_MAIN_SENDING, "HSW_ERR_MAIN_SENDING\0"),
    (HSW_ERR_BLOCK_TRAP, "HSW_ERR_BLOCK_TRAP\0"),
    (HSW_ERR_SWITCH_TRAP, "HSW_ERR_SWITCH_TRAP\0"),
    (HSW_ERR_TIMEOUT, "HSW_ERR_TIMEOUT\0"),
    (HSW_ERR_STATE, "HSW_ERR_STATE\0"),
    (HSW_ERR_STOP_ITERATION, "HSW_ERR_STOP_ITERATION\0"),
    (HSW_ERR_STACK_SIZE, "HSW_ERR_STACK_SIZE\0"),
    (HSW_ERR_OUT_OF_MEMORY, "HSW_ERR_OUT_OF_MEMORY\0"),
    (HSW_ERR_IO, "HSW_ERR_IO\0"),
    (HSW_ERR_WRONG_TYPE, "HSW_ERR_WRONG_TYPE\0"),
    (HSW_ERR_WOULD_BLOCK, "HSW_ERR_WOULD_BLOCK\0"),
    (HSW_ERR_SETTINGS, "HSW_ERR_SETTINGS\0"),
    (HSW_ERR_VALUE_LOST, "HSW_ERR_VALUE_LOST\0"),
    (HSW_ERR_BROKEN, "HSW_ERR_BROKEN\0"),
    (HSW_ERR_OTHER, "HSW_ERR_OTHER\0"),
    (HSW_ERR_NULL, "HSW_ERR_NULL\0"),
    (HSW_ERR_STALE, "HSW_ERR_STALE\0"),
    (HSW_ERR_WRONG_THREAD, "HSW_ERR_WRONG_THREAD\0"),
    (HSW_ERR_WRONG_KIND, "HSW_ERR_WRONG_KIND\0"),
    (HSW_ERR_ARGUMENT, "HSW_ERR_ARGUMENT\0"),
    (HSW_ERR_LIMIT, "HSW_ERR_LIMIT\0"),
    (HSW_ERR_THREAD_ENDING, "HSW_ERR_THREAD_ENDING\0"),
    (HSW_ERR_INTERNAL, "HSW_ERR_INTERNAL\0"),
];

/// A status that C returns to us, which may be any number. The header calls it `hsw_status`.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct RawStatus(pub i32);

/// The reason why an entry failed.
pub(super) enum Failure {
    Null(&'static str),
    Handle(Kind, Fault),
    Argument(String),
    Limit(&'static str),
    ThreadEnding,
    StopIteration,
    /// A failure of this entry only, with its words.
    Told(hsw_status, String),
    Panic(String),
    /// An error of the runtime that is the call's own, and the object that the call was about.
    Core(Error, Subject),
    /// An error, of whatever kind, that somebody threw at the calling tasklet, or sent to it. It is
    /// not the call's own.
    Thrown(Error),
    /// The failure of a function of C's, which is passed on as it was.
    Passed(LastError),
}

/// The object that a failed call was about, for the message.
pub(super) enum Subject {
    None,
    Named(Kind, String),
}

/// This is not implemented for `Error`: of an `Error` nobody knows any more whether it was thrown.
impl From<WaitError> for Failure {
    fn from(ended: WaitError) -> Self {
        match ended {
            WaitError::Hindered(error) => Failure::own(error),
            WaitError::Thrown(error) => Failure::Thrown(error),
        }
    }
}

impl Failure {
    /// Did the call fail because its thread is ending?
    fn is_of_the_end(&self) -> bool {
        matches!(
            self,
            Failure::ThreadEnding | Failure::Core(Error::State(StateError::ThreadEnding), _)
        )
    }

    /// An error of a call that does not wait, or a wait's own error, which nobody threw.
    pub(super) fn own(error: impl Into<Error>) -> Self {
        Failure::Core(error.into(), Subject::None)
    }

    /// The same failure; if the error is the call's own, its message names that object.
    pub(super) fn about(self, subject: impl FnOnce() -> Subject) -> Self {
        match self {
            Failure::Core(error, Subject::None) => Failure::Core(error, subject()),
            other => other,
        }
    }

    pub(super) fn panic(payload: &(dyn Any + Send)) -> Self {
        let words = payload
            .downcast_ref::<&str>()
            .map(|words| words.to_string())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Failure::Panic(words.unwrap_or_else(|| "a panic without words".to_string()))
    }

    pub(super) fn status(&self) -> hsw_status {
        match self {
            Failure::Null(_) | Failure::Handle(_, Fault::Null) => HSW_ERR_NULL,
            Failure::Handle(_, Fault::Stale) => HSW_ERR_STALE,
            Failure::Handle(_, Fault::WrongThread) => HSW_ERR_WRONG_THREAD,
            Failure::Handle(_, Fault::WrongKind) => HSW_ERR_WRONG_KIND,
            Failure::Handle(_, Fault::Full) | Failure::Limit(_) => HSW_ERR_LIMIT,
            Failure::Argument(_) => HSW_ERR_ARGUMENT,
            Failure::ThreadEnding => HSW_ERR_THREAD_ENDING,
            Failure::StopIteration => HSW_ERR_STOP_ITERATION,
            Failure::Told(status, _) => *status,
            Failure::Panic(_) => HSW_ERR_INTERNAL,
            Failure::Core(error, _) => status_of(error),
            Failure::Passed(last) => last.status,
            Failure::Thrown(error) => match error {
                Error::Exit => HSW_ERR_EXIT,
                Error::Panicked(_) => HSW_ERR_PANICKED,
                _ => HSW_ERR_THROWN,
            },
        }
    }

    fn message(&self) -> String {
        match self {
            Failure::Null(name) => format!("{name} is null"),
            Failure::Handle(kind, fault) => {
                let kind = kind.name();
                match fault {
                    Fault::Null => format!("the {kind} handle is null"),
                    Fault::Stale => {
                        format!("the {kind} handle is stale: it was released, or never was one")
                    }
                    Fault::WrongThread => format!("the {kind} belongs to another thread"),
                    Fault::WrongKind => format!("the handle does not name a {kind}"),
                    Fault::Full => {
                        format!("too many {kind} handles: 16777216 are live")
                    }
                }
            }
            Failure::Argument(what) => what.clone(),
            Failure::Limit(what) => format!("limit reached: {what}"),
            Failure::ThreadEnding => "the thread is ending".to_string(),
            Failure::StopIteration => "the channel is closed and has no more senders".to_string(),
            Failure::Told(_, words) => words.clone(),
            Failure::Panic(words) => format!("internal error: {words}"),
            Failure::Passed(last) => last.message.to_string_lossy().into_owned(),
            Failure::Thrown(error) => error.to_string(),
            Failure::Core(error, subject) => {
                let mut out = error.to_string();
                if let Subject::Named(kind, name) = subject {
                    let _ = write!(out, " ({} '{name}')", kind.name());
                }
                out
            }
        }
    }
}

/// The last error of a tasklet.
#[derive(Clone)]
pub(super) struct LastError {
    status: hsw_status,
    message: CString,
    /// Kept so that a tasklet which returns the status ends with this very error, payload included.
    error: Option<Error>,
}

impl LastError {
    /// The error of the runtime that it stands for.
    fn error(&self) -> Error {
        let words_alone = || words(self.message.to_string_lossy().into_owned());
        self.error.clone().unwrap_or_else(words_alone)
    }
}

/// Stores the failure as the last error of the calling tasklet.
#[inline(never)] // its locals would lie in every parked tasklet
pub(super) fn record(failure: Failure) -> hsw_status {
    let status = failure.status();
    // Set for the case that there is no room for more: then static words must do.
    #[cfg(feature = "std")]
    UNTOLD.set((status, failure.is_of_the_end()));
    let last = match failure {
        Failure::Passed(last) => last,
        failure => LastError {
            status,
            message: {
                let mut words = failure.message();
                words.retain(|c| c != '\0');
                CString::new(words).unwrap_or_default()
            },
            error: match failure {
                Failure::Core(error, _) | Failure::Thrown(error) => Some(error),
                _ => None,
            },
        },
    };
    let old = exchange(Some(last));
    drop(old); // may run a destructor of C's, with no borrow held
    status
}

#[cfg(feature = "std")]
std::thread_local! {
    /// The status of the thread's last failure, and whether it failed because the thread is ending.
    /// It serves threads without a part of the interface: those that are ending, and those beyond
    /// the limit of threads.
    static UNTOLD: core::cell::Cell<(hsw_status, bool)> = const { core::cell::Cell::new((HSW_OK, false)) };
}

/// The status of the last failure of a thread that has no room for the words of it.
fn untold(why: &Failure) -> hsw_status {
    let _ = why;
    #[cfg(feature = "std")]
    return UNTOLD.get().0;
    #[cfg(not(feature = "std"))]
    why.status()
}

/// General words for a status. They end in a zero byte.
fn static_words(status: hsw_status) -> &'static str {
    #[cfg(feature = "std")]
    if UNTOLD.get().1 {
        return "the thread is ending\0";
    }
    match status {
        HSW_OK => "\0",
        HSW_ERR_LIMIT => "limit reached: 65535 threads that use the library at a time\0",
        HSW_ERR_THREAD_ENDING => "the thread is ending\0",
        other => {
            let known = ALL.iter().find(|(known, _)| *known == other);
            known.map_or("an error\0", |(_, name)| name)
        }
    }
}

/// Makes a kept error the last one of the calling tasklet; returns its status.
pub(super) fn set(last: LastError) -> hsw_status {
    let status = last.status;
    drop(exchange(Some(last))); // may run a destructor of C's, with no borrow held
    status
}

/// The last error of the calling tasklet.
pub(super) fn last() -> Result<Option<LastError>, Failure> {
    if !thread_state::is_made() {
        return Ok(None);
    }
    thread_state::with(|local| Ok(local.errors.borrow().get(&current_id()).cloned()))
}

/// The key of the calling tasklet's last error: the address of its control block. It is 0 for main,
/// also where there is no runtime yet: settings may still come after a mistake.
fn current_id() -> usize {
    match Runtime::existing() {
        Some(runtime) if runtime.current() != runtime.main() => runtime.current() as usize,
        _ => 0,
    }
}

/// Replaces the last error of the calling tasklet, and returns the old one.
fn exchange(last: Option<LastError>) -> Option<LastError> {
    if last.is_none() && !thread_state::is_made() {
        return None; // on a worker's thread, say, which is no part of the interface for that
    }
    let old = thread_state::with(|local| {
        let mut errors = local.errors.borrow_mut();
        Ok(match last {
            Some(last) => errors.insert(current_id(), last),
            None if errors.is_empty() => None,
            None => errors.remove(&current_id()),
        })
    });
    old.ok().flatten()
}

/// Forgets the last error of the calling tasklet, and that it was killed.
#[inline(never)] // its locals would lie in every parked tasklet
pub(super) fn forget() {
    drop(exchange(None));
    if thread_state::is_made() {
        let _ = thread_state::with(|local| {
            let mut exits = local.exits.borrow_mut();
            if !exits.is_empty() {
                exits.remove(&current_id());
            }
            Ok(())
        });
    }
}

/// The last kill that a tasklet was told of.
#[derive(Default)]
pub(super) struct Told {
    /// A number that no other kill in the process has.
    number: u64,
    /// How often this kill has been swallowed.
    swallowed: u32,
}

/// For languages with exceptions: tells that a call has failed with `HSW_ERR_EXIT` and that this
/// becomes an exception. Returns the number of that exception. If the exception is destroyed before
/// it has reached the end of the tasklet's function, `hsw_exit_swallowed` reports that.
/// `hardswitch.hpp` does this.
#[no_mangle]
pub extern "C" fn hsw_exit_told() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    super::quietly(0, || {
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let told = thread_state::with(|local| {
            local
                .exits
                .borrow_mut()
                .entry(current_id())
                .or_default()
                .number = number;
            Ok(number)
        });
        told.unwrap_or(0)
    })
}

/// Reports that the exception with this number is gone, and its tasklet runs on. If that is the
/// calling tasklet, and this was the last kill that it was told of, its next wait fails with
/// `HSW_ERR_EXIT` again; after ten times nothing more is done. In all other cases this does
/// nothing.
#[no_mangle]
pub extern "C" fn hsw_exit_swallowed(number: u64) {
    super::quietly((), || {
        if !thread_state::is_made() || Runtime::existing().is_none() {
            return;
        }
        let again = thread_state::with(|local| {
            let mut exits = local.exits.borrow_mut();
            let Some(told) = exits.get_mut(&current_id()).filter(|t| t.number == number) else {
                return Ok(false);
            };
            told.number = 0;
            told.swallowed += 1;
            Ok(told.swallowed <= crate::core::ends::KILLS)
        });
        if again.unwrap_or(false) {
            crate::core::throw::exit_again(Runtime::get());
        }
    });
}

/// Calls a function of C's that the calling tasklet has not called itself. Its failures do not
/// count: after it the tasklet's last error is the same as before.
pub(super) fn aside<R>(function: impl FnOnce() -> R) -> R {
    let kept = exchange(None);
    let result = function();
    drop(exchange(kept)); // with no borrow held, as above
    result
}

/// The error for a status that a function of C's returned: the last error of the calling tasklet,
/// if it has that status.
#[inline(never)] // its locals would lie in every parked tasklet
pub(super) fn returned(status: RawStatus) -> Result<(), Error> {
    if status.0 == HSW_OK as i32 {
        return Ok(());
    }
    if let Some(last) = exchange(None) {
        if last.status as i32 == status.0 {
            return Err(last.error());
        }
    }
    Err(made_up(status))
}

/// As [`returned`], for a caller that passes the failure on as its own. Beside the error it gets
/// the failure as it was recorded, which still says whether it was thrown.
pub(super) fn passed_on(status: RawStatus) -> Result<(), (Error, Failure)> {
    if status.0 == HSW_OK as i32 {
        return Ok(());
    }
    let last = exchange(None).filter(|last| last.status as i32 == status.0);
    let last = last.unwrap_or_else(|| {
        let error = made_up(status);
        let known = ALL.iter().find(|(known, _)| *known as i32 == status.0);
        LastError {
            status: known.map_or(HSW_ERR_THROWN, |(known, _)| *known),
            message: CString::new(error.to_string()).unwrap_or_default(),
            error: Some(error),
        }
    });
    Err((last.error(), Failure::Passed(last)))
}

/// An error for a status that C returned without a failed call.
fn made_up(status: RawStatus) -> Error {
    match ALL.iter().find(|(known, _)| *known as i32 == status.0) {
        Some((HSW_ERR_EXIT, _)) => Error::Exit,
        Some((HSW_ERR_CLOSED, _)) => Error::Closed,
        Some((HSW_ERR_DEADLOCK, _)) => Error::Deadlock,
        Some((HSW_ERR_BLOCK_TRAP, _)) => Error::BlockTrap,
        Some((HSW_ERR_SWITCH_TRAP, _)) => Error::SwitchTrap,
        Some((HSW_ERR_TIMEOUT, _)) => Error::Timeout,
        Some((_, name)) => words(format!("status {}", name.trim_end_matches('\0'))),
        None => words(format!("status {}", status.0)),
    }
}

/// The name of a status, such as "HSW_ERR_CLOSED"; "unknown status" for a number that is none.
/// Never null, never freed.
#[no_mangle]
pub extern "C" fn hsw_status_name(status: RawStatus) -> *const c_char {
    let known = ALL.iter().find(|(known, _)| *known as i32 == status.0);
    known
        .map_or("unknown status\0", |(_, name)| name)
        .as_ptr()
        .cast()
}

/// The message of the calling tasklet's last error; "" when it had none. Never null.
///
/// The last error belongs to the tasklet, not just to the thread: it does not change by what other
/// tasklets do meanwhile. Only calls that fail set it. Functions that the library calls on this
/// tasklet (callbacks, functions of timers, destructors) have a last error of their own while they
/// run. The text stays valid until the tasklet's next call that fails, or its end. A thread that is
/// ending, or is beyond the limit of threads, gets a general text for the status.
#[no_mangle]
pub extern "C" fn hsw_last_error_message() -> *const c_char {
    let empty: *const c_char = "\0".as_ptr().cast();
    super::quietly(empty, || {
        thread_state::with(|local| {
            let errors = local.errors.borrow();
            Ok(errors
                .get(&current_id())
                .map_or(empty, |last| last.message.as_ptr()))
        })
        .unwrap_or_else(|why| static_words(untold(&why)).as_ptr().cast())
    })
}

/// The status of the calling tasklet's last error; `HSW_OK` when it had none.
#[no_mangle]
pub extern "C" fn hsw_last_error_status() -> hsw_status {
    super::quietly(HSW_OK, || {
        thread_state::with(|local| {
            Ok(local
                .errors
                .borrow()
                .get(&current_id())
                .map_or(HSW_OK, |last| last.status))
        })
        .unwrap_or_else(|why| untold(&why))
    })
}

/// The status of the calling tasklet's last error as such. It differs from `hsw_last_error_status`
/// for an `HSW_ERR_THROWN`: then it is the status of the call that failed with the error first, in
/// whatever tasklet (`HSW_ERR_TIMEOUT`, `HSW_ERR_IO`, ...), and again `HSW_ERR_THROWN` if that was
/// an exception. It is for messages: only the status of the call tells whose a value is.
#[no_mangle]
pub extern "C" fn hsw_last_error_cause() -> hsw_status {
    super::quietly(HSW_OK, || {
        thread_state::with(|local| {
            let errors = local.errors.borrow();
            let last = errors.get(&current_id());
            Ok(last.map_or(HSW_OK, |last| match &last.error {
                Some(error) if last.status == HSW_ERR_THROWN => status_of(error),
                _ => last.status,
            }))
        })
        .unwrap_or_else(|why| untold(&why))
    })
}

/// The operating system's number (`errno`) of the calling tasklet's last error, also of one that
/// was thrown; 0 when it was not an error of input or output.
#[no_mangle]
pub extern "C" fn hsw_last_error_errno() -> i32 {
    super::quietly(0, || {
        thread_state::with(|local| {
            let errors = local.errors.borrow();
            Ok(errors
                .get(&current_id())
                .and_then(|last| last.error.as_ref())
                .map_or(0, errno_of))
        })
        .unwrap_or(0)
    })
}

/// Lends the payload of the exception that the last call reported with `HSW_ERR_THROWN`: the one
/// given to `hsw_fail`, `hsw_tasklet_throw` or `hsw_channel_send_throw`. It stays valid until the
/// calling tasklet's next call that fails, or its end. The copies of an exception share one
/// payload, and the last of them frees it. `destroy` may be null. The function can serve as a type:
/// a host that finds its own function there knows what `data` points to.
///
/// `HSW_ERR_STATE`: the last error is no exception of C's.
#[no_mangle]
pub unsafe extern "C" fn hsw_last_error_payload(
    data: *mut *mut c_void,
    destroy: *mut hsw_destroy,
) -> hsw_status {
    // Not `entry`: a failure must not overwrite the error that is asked about.
    super::quietly(HSW_ERR_INTERNAL, || {
        let found = out(data, "data").and_then(|data| {
            let payload = thread_state::with(|local| {
                let errors = local.errors.borrow();
                let error = errors
                    .get(&current_id())
                    .and_then(|last| last.error.as_ref());
                Ok(error.and_then(payload_of))
            })?;
            Ok(payload.map(|(pointer, function)| {
                data.set(pointer);
                set_if_wanted(destroy, function);
            }))
        });
        match found {
            Ok(Some(())) => HSW_OK,
            Ok(None) => HSW_ERR_STATE,
            Err(failure) => failure.status(),
        }
    })
}

/// Makes an exception the last error of the calling tasklet and returns `HSW_ERR_THROWN`: an entry
/// function that ends with `return hsw_fail(...)` ends its tasklet with that exception, which is
/// then treated as any uncaught one. `message` may be null. The payload is freed with `destroy`
/// when the last copy of the exception has gone.
#[no_mangle]
pub unsafe extern "C" fn hsw_fail(
    data: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
) -> hsw_status {
    super::entry(|| {
        // SAFETY: `message` is null or ends in a zero byte (contract of the interface).
        Err(Failure::Thrown(unsafe { thrown(data, destroy, message) }))
    })
}

/// An exception of C's as an error of the runtime.
///
/// SAFETY: `message` is null or a string that ends in a zero byte.
pub(super) unsafe fn thrown(
    data: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
) -> Error {
    let payload = Common(Owned::new(data, destroy));
    // SAFETY: `message` is null or ends in a zero byte, as the caller has promised.
    let message = unsafe { super::string(message, "message") }
        .unwrap_or_else(|_| "an exception of the host".to_string());
    Error::Thrown(Thrown::with_message(Box::new(payload), Cow::Owned(message)))
}

/// The payload of an exception of C's, lent.
pub(super) fn payload_of(error: &Error) -> Option<(*mut c_void, hsw_destroy)> {
    match error {
        Error::Thrown(thrown) => thrown
            .downcast_ref::<Common>()
            .map(|payload| payload.0.peek()),
        _ => None,
    }
}

/// An exception without a payload.
fn words(message: String) -> Error {
    Error::Thrown(Thrown::with_message(Box::new(()), Cow::Owned(message)))
}

pub(super) fn status_of(error: &Error) -> hsw_status {
    match error {
        Error::Exit => HSW_ERR_EXIT,
        Error::Thrown(_) => HSW_ERR_THROWN,
        Error::Panicked(_) => HSW_ERR_PANICKED,
        Error::Closed => HSW_ERR_CLOSED,
        Error::Deadlock => HSW_ERR_DEADLOCK,
        Error::MainReceiving => HSW_ERR_MAIN_RECEIVING,
        Error::MainSending => HSW_ERR_MAIN_SENDING,
        Error::BlockTrap => HSW_ERR_BLOCK_TRAP,
        Error::SwitchTrap => HSW_ERR_SWITCH_TRAP,
        Error::Timeout => HSW_ERR_TIMEOUT,
        Error::WouldBlock => HSW_ERR_WOULD_BLOCK,
        Error::State(StateError::BarrierBroken) => HSW_ERR_BROKEN,
        // This includes `ThreadEnding`: a wait that is refused is no mistake, and has taken over
        // the value that it was to take over.
        Error::State(_) => HSW_ERR_STATE,
        Error::ValueLost => HSW_ERR_VALUE_LOST,
        Error::WrongType => HSW_ERR_WRONG_TYPE,
        Error::StackSize(_) => HSW_ERR_STACK_SIZE,
        Error::MemoryCeiling(_) | Error::OutOfMemory => HSW_ERR_OUT_OF_MEMORY,
        Error::Mappings(_) => HSW_ERR_OUT_OF_MEMORY,
        Error::Settings(_) => HSW_ERR_SETTINGS,
        #[cfg(feature = "std")]
        Error::Io(_) => HSW_ERR_IO,
        // New kinds of `Error` may come without a new major version. C must not see a number that
        // it has no name for.
        #[allow(unreachable_patterns)]
        _ => HSW_ERR_OTHER,
    }
}

/// The system's number in an error, or in an error that this one stands for.
fn errno_of(error: &Error) -> i32 {
    #[cfg(feature = "std")]
    {
        let mut cause: Option<&(dyn core::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            let io = error.downcast_ref::<std::io::Error>();
            if let Some(number) = io.and_then(std::io::Error::raw_os_error) {
                return number;
            }
            cause = error.source();
        }
    }
    let _ = error;
    0
}
