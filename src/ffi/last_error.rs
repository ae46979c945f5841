//! The last error of each tasklet: what a failed call leaves behind for the functions that ask.

use core::ffi::{c_char, c_void};

use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString};

use super::failure::Failure;
use super::payload::{payload_of, words};
use super::status::hsw_status::{self, *};
use super::status::{status_of, RawStatus};
use super::value::hsw_destroy;
use super::{out, set_if_wanted, thread_state};
use crate::core::contain::contain;
use crate::core::runtime::Runtime;
use crate::error::Error;
use crate::Local;

/// The last error of a tasklet.
#[derive(Clone)]
pub struct LastError {
    pub status: hsw_status,
    pub message: CString,
    /// Kept so that a tasklet which returns the status ends with this very error, payload included.
    error: Option<Error>,
    /// The system's number, if a call of the system's has failed and `error` does not have it.
    errno: i32,
}

impl LastError {
    /// The error for a status that a function of C's returned without a failed call.
    fn made_up(status: RawStatus) -> LastError {
        let error = match status.known() {
            Some((HSW_ERR_EXIT, _)) => Error::Exit,
            Some((HSW_ERR_CLOSED, _)) => Error::Closed,
            Some((HSW_ERR_DEADLOCK, _)) => Error::Deadlock,
            Some((HSW_ERR_BLOCK_TRAP, _)) => Error::BlockTrap,
            Some((HSW_ERR_SWITCH_TRAP, _)) => Error::SwitchTrap,
            Some((HSW_ERR_TIMEOUT, _)) => Error::Timeout,
            Some((_, name)) => words(format!("status {}", name.trim_end_matches('\0'))),
            None => words(format!("status {}", status.0)),
        };
        LastError {
            status: status.known().map_or(HSW_ERR_THROWN, |(known, _)| known),
            message: c_words(error.to_string()),
            errno: 0,
            error: Some(error),
        }
    }

    /// The error of the runtime, if it is one.
    #[cfg(feature = "http")]
    pub fn cause(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// The error of the runtime that it stands for.
    fn error(&self) -> Error {
        let words_alone = || words(self.message.to_string_lossy().into_owned());
        self.error.clone().unwrap_or_else(words_alone)
    }
}

/// Words as a string of C's, without the zero bytes that are in them.
pub fn c_words(mut words: String) -> CString {
    words.retain(|c| c != '\0');
    CString::new(words).unwrap_or_default()
}

/// Stores the failure as the last error of the calling tasklet.
///
/// This is the last that a call does, and no panic may get out of it. An error may have words, and
/// a destructor, that are Rust code of the user's; so they run contained, here and in all that
/// forgets an error.
#[inline(never)] // its locals would lie in every parked tasklet
pub fn record(failure: Failure) -> hsw_status {
    let status = failure.status();
    // Set for the case that there is no room for more: then static words must do.
    #[cfg(feature = "std")]
    UNTOLD.set((status, failure.is_of_the_end()));
    let last = match failure {
        Failure::Passed(last) => last,
        failure => {
            let mut words = None;
            contain("the words of an error", || words = Some(failure.message()));
            let name = || status.name().trim_end_matches('\0').to_string();
            LastError {
                status,
                message: c_words(words.unwrap_or_else(name)),
                errno: match &failure {
                    Failure::System(errno, _) => errno.to_linux(),
                    _ => 0,
                },
                error: match failure {
                    Failure::Core(error, _) | Failure::Thrown(error) => Some(error),
                    _ => None,
                },
            }
        }
    };
    put(Some(last));
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
        other => other.name(),
    }
}

/// The last error of the calling tasklet.
pub fn last() -> Result<Option<LastError>, Failure> {
    if !thread_state::is_made() {
        return Ok(None);
    }
    thread_state::with(|part| Ok(part.errors.borrow().get(&current_id()).cloned()))
}

/// The key of the calling tasklet's last error: the address of its control block. It is 0 for main,
/// also where there is no runtime yet: settings may still come after a mistake.
pub fn current_id() -> usize {
    match Runtime::existing() {
        Some(runtime) if runtime.current() != runtime.main() => runtime.current() as usize,
        _ => 0,
    }
}

/// Exchanges the last error of the calling tasklet. Where there is no room for one, `last` stays
/// what it is.
fn exchange(last: &mut Option<LastError>) {
    if last.is_none() && !thread_state::is_made() {
        return; // on a worker's thread, say, which is no part of the interface for that
    }
    let mut is_first = false;
    // It fails where there is no room.
    let _ = thread_state::with(|part| {
        let mut errors = part.errors.borrow_mut();
        *last = match last.take() {
            Some(last) => {
                let before = errors.insert(current_id(), last);
                is_first = before.is_none();
                before
            }
            None if errors.is_empty() => None,
            None => errors.remove(&current_id()),
        };
        Ok(())
    });
    // Who has one already is known: what forgets it takes it out.
    if is_first {
        forget_at_end();
    }
}

/// Has what the calling tasklet has in the part's tables forgotten when it ends, whoever spawned
/// it: the next tasklet may have the same key.
pub fn forget_at_end() {
    static END: Local<End> = Local::new(|| End(current_id()));
    if current_id() != 0 {
        END.with(|_| ());
    }
}

/// A value of a tasklet's whose drop forgets the tasklet with this key.
struct End(usize);

impl Drop for End {
    fn drop(&mut self) {
        if !thread_state::is_made() {
            return;
        }
        let mut last = None;
        let _ = thread_state::with(|part| {
            last = part.errors.borrow_mut().remove(&self.0);
            part.exits.borrow_mut().remove(&self.0);
            Ok(())
        });
        forget_this(last);
    }
}

/// Takes the last error of the calling tasklet: it has none then.
fn take() -> Option<LastError> {
    let mut last = None;
    exchange(&mut last);
    last
}

/// Makes this the last error of the calling tasklet, or says that it has none.
fn put(mut last: Option<LastError>) {
    exchange(&mut last);
    forget_this(last);
}

/// Drops an error with nothing borrowed: that may run a destructor of C's, or one of Rust's that
/// panics.
pub fn forget_this(error: Option<LastError>) {
    if error.is_some() {
        contain("the destructor of an error", || drop(error));
    }
}

/// Calls a function that the calling tasklet has not called itself. Its failures do not count:
/// after it the tasklet's last error is the same as before.
pub fn aside<R>(function: impl FnOnce() -> R) -> R {
    struct Kept(Option<LastError>);
    impl Drop for Kept {
        fn drop(&mut self) {
            put(self.0.take());
        }
    }
    let _kept = Kept(take());
    function()
}

/// The error for a status that a function of C's returned: the last error of the calling tasklet,
/// if it has that status.
#[inline(never)] // its locals would lie in every parked tasklet
pub fn returned(status: RawStatus) -> Result<(), Error> {
    passed_on(status).map_err(|(error, failure)| {
        // The copy that was recorded is not the last one, so no destructor runs.
        drop(failure);
        error
    })
}

/// As [`returned`], for a caller that passes the failure on as its own. Beside the error it gets
/// the failure as it was recorded, which still says whether it was thrown.
pub fn passed_on(status: RawStatus) -> Result<(), (Error, Failure)> {
    if status.0 == HSW_OK as i32 {
        return Ok(());
    }
    let last = match take() {
        Some(last) if last.status as i32 == status.0 => last,
        other => {
            forget_this(other);
            LastError::made_up(status)
        }
    };
    Err((last.error(), Failure::Passed(last)))
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
        thread_state::with(|part| {
            let errors = part.errors.borrow();
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
        thread_state::with(|part| {
            Ok(part
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
        thread_state::with(|part| {
            let errors = part.errors.borrow();
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
        // A copy, with nothing borrowed: to look for the cause of an error of Rust's is to run its
        // code. So what fails in it does not count either.
        let Some(last) = last().ok().flatten() else {
            return 0;
        };
        let own = last.errno;
        last.error.map_or(own, |error| aside(|| errno_of(&error)))
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
            let payload = thread_state::with(|part| {
                let errors = part.errors.borrow();
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    #[test]
    fn who_gets_the_control_block_of_an_ended_tasklet_does_not_get_its_last_error() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..2 {
            let seen = seen.clone();
            let look = move || {
                let before = hsw_last_error_status();
                for _ in 0..2 {
                    record(Failure::Null("a pointer"));
                }
                assert_eq!(hsw_last_error_status(), HSW_ERR_NULL);
                seen.borrow_mut().push((current_id(), before));
            };
            drop(crate::spawn(look).unwrap());
            crate::run().unwrap();
        }
        let seen = seen.take();
        assert_eq!(seen[0], seen[1]);
        assert!(seen[0].0 != 0 && seen[0].1 == HSW_OK);
    }
}
