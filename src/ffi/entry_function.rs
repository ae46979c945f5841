//! Entry functions of C's: called at the root of a tasklet, or by the main loop.

use core::ffi::c_void;

use super::failure::Failure;
use super::last_error;
use super::status::RawStatus;
use super::thread_state;
use super::value::{hsw_destroy, Owned};
use crate::Error;

/// The function that a tasklet runs. It ends the tasklet by returning `HSW_OK`, or the failure it
/// met. To return the status of a failed call passes that error on, with its payload.
/// `HSW_ERR_EXIT` ends the tasklet silently; any other error goes to the error handler, or arrives
/// as the failure of the innermost `hsw_run`.
pub type hsw_entry = Option<unsafe extern "C" fn(argument: *mut c_void) -> RawStatus>;

/// An entry function with its argument.
pub struct Call {
    function: unsafe extern "C" fn(*mut c_void) -> RawStatus,
    argument: Owned,
}

impl Call {
    pub fn new(
        function: hsw_entry,
        argument: *mut c_void,
        destroy: hsw_destroy,
    ) -> Result<Call, Failure> {
        let argument = Owned::new(argument, destroy);
        let function = function.ok_or(Failure::Null("function"))?;
        Ok(Call { function, argument })
    }

    pub fn run(self) -> Result<(), Error> {
        let function = self.function;
        // SAFETY: `function` is an `hsw_entry` that accepts this argument (contract of the
        // interface); if it is unwound, the process ends (`thread_state::returning`).
        at_root(self.argument, |argument| unsafe {
            thread_state::unwindable(function)(argument)
        })
    }

    /// Calls the function on whatever tasklet drives the main loop.
    pub fn call_back(&self) {
        let failure = last_error::aside(|| {
            // SAFETY: as in `run`: an `hsw_entry` that accepts this argument.
            last_error::returned(thread_state::inside(|| unsafe {
                thread_state::unwindable(self.function)(self.argument.peek().0)
            }))
        });
        let Err(error) = failure else {
            return;
        };
        // The tasklet that pumps is not to blame: a new one fails with the error.
        if let Err(no_room) = crate::spawn(move || Err::<(), _>(error)) {
            log::error!("the failure of a function called by the main loop is lost: {no_room}");
        }
    }
}

/// Calls C at the root of a tasklet, with an argument that lives as long as the call.
#[inline(always)] // a frame of its own would lie in every parked tasklet
pub fn at_root(
    argument: Owned,
    function: impl FnOnce(*mut c_void) -> RawStatus,
) -> Result<(), Error> {
    let status = thread_state::returning(|| function(argument.peek().0));
    // This comes before the argument is freed: its destructor may make calls that fail.
    let ended = last_error::returned(status);
    drop(argument);
    ended
}

/// A call on its way to another thread.
pub struct SentCall(pub Call);

// SAFETY: every function of the header that takes such a call says that its argument crosses
// threads. The runtime itself only ever passes the pointer on.
unsafe impl Send for SentCall {}

impl SentCall {
    pub fn run(self) -> Result<(), Error> {
        self.0.run()
    }

    pub fn call_back(&self) {
        self.0.call_back();
    }
}
