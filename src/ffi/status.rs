//! Status codes: their numbers, their names, and the status of each error of the runtime.

use core::ffi::c_char;

use crate::error::{Error, StateError};

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
    /// A request of HTTP has failed by what the server has answered, or not: `hsw_http_last_error`
    /// has the problem and the phase.
    HSW_ERR_HTTP = 21,
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
    (HSW_ERR_HTTP, "HSW_ERR_HTTP\0"),
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

impl RawStatus {
    /// The status with this number, if there is one, and its name.
    pub(super) fn known(self) -> Option<(hsw_status, &'static str)> {
        let known = ALL.iter().find(|(status, _)| *status as i32 == self.0);
        known.copied()
    }
}

impl hsw_status {
    /// Its name, which ends in a zero byte.
    pub(super) fn name(self) -> &'static str {
        let known = RawStatus(self as i32).known();
        known.map_or("an error\0", |(_, name)| name)
    }
}

/// The name of a status, such as "HSW_ERR_CLOSED"; "unknown status" for a number that is none.
/// Never null, never freed.
#[no_mangle]
pub extern "C" fn hsw_status_name(status: RawStatus) -> *const c_char {
    let name = status.known().map_or("unknown status\0", |(_, name)| name);
    name.as_ptr().cast()
}

/// The status of a call that fails with this error of its own.
pub fn status_of(error: &Error) -> hsw_status {
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
        Error::State(StateError::Broken) => HSW_ERR_BROKEN,
        // This includes `ThreadEnding`: a wait that is refused is no mistake, and has taken over
        // the value that it was to take over.
        Error::State(_) => HSW_ERR_STATE,
        Error::ValueLost => HSW_ERR_VALUE_LOST,
        Error::WrongType => HSW_ERR_WRONG_TYPE,
        Error::StackSize(_) => HSW_ERR_STACK_SIZE,
        Error::MemoryCeiling(_) | Error::OutOfMemory => HSW_ERR_OUT_OF_MEMORY,
        Error::Mappings(_) => HSW_ERR_OUT_OF_MEMORY,
        Error::Settings(_) => HSW_ERR_SETTINGS,
        #[cfg(feature = "http")]
        Error::Io(error) => super::http_problem::status_of(error).unwrap_or(HSW_ERR_IO),
        #[cfg(all(feature = "std", not(feature = "http")))]
        Error::Io(_) => HSW_ERR_IO,
        // New kinds of `Error` may come without a new major version. C must not see a number that
        // it has no name for.
        #[allow(unreachable_patterns)]
        _ => HSW_ERR_OTHER,
    }
}
