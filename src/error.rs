//! Errors: everything that may block or may be called in a wrong state returns
//! one of these. Display gives Stackless' message where Stackless has one.

#[cfg(feature = "std")]
mod io;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;

/// The result of the operations of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// The reason why an operation failed, or an error that was thrown at the tasklet that ran it.
///
/// Two words. Copies share the payload of a thrown exception.
// A tag of a whole word: errors are then moved in registers, and temporaries of
// them take less room in frames, which are what slices are made of.
#[repr(usize)]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The tasklet was killed (Stackless' `TaskletExit`). Let it pass: a
    /// tasklet that goes on blocking gets it again.
    Exit,
    /// An exception that was thrown at the tasklet or sent on a channel.
    Thrown(Thrown),
    /// The uncaught panic of a tasklet.
    Panicked(Thrown),
    /// The channel is closed and no tasklet waits at its other end.
    Closed,
    /// Nothing is left that could end the wait: no tasklet can run, and none of the
    /// thread waits for a time, a socket, or another thread that can run.
    Deadlock,
    /// The last other tasklet ended while main (or the innermost `run`) received.
    MainReceiving,
    /// The last other tasklet ended while main (or the innermost `run`) sent.
    MainSending,
    /// The tasklet has `block_trap` set.
    BlockTrap,
    /// The thread's switch trap is set, or the stack is being unwound.
    SwitchTrap,
    /// The time is up.
    Timeout,
    /// A `try_` operation would have to wait.
    WouldBlock,
    /// The tasklet is in the wrong state for this.
    State(StateError),
    /// The value that a sender waited to hand over was lost to a deadlock: the failed wait of
    /// another tasklet empties the slot of the tasklet that should have been
    /// woken (as in Stackless).
    ValueLost,
    /// The value in the transfer slot is not of the type that the channel carries.
    WrongType,
    /// A stack or window of this many bytes cannot be had.
    StackSize(usize),
    /// The memory ceiling (bytes) forbids it.
    MemoryCeiling(usize),
    /// The process has so many stacks that more of them would leave too few memory mappings for
    /// its other needs. The number is the system's limit, `vm.max_map_count`; a stack takes two
    /// mappings.
    Mappings(usize),
    /// The allocator refused.
    OutOfMemory,
    /// Settings that contradict themselves or come too late.
    Settings(SettingsError),
    /// The operating system refused.
    #[cfg(feature = "std")]
    Io(Arc<std::io::Error>),
}

/// Calls in the wrong state; nothing has changed after one.
// A whole word, so that `Error` is a pair of words in the eyes of the compiler.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StateError {
    /// `setup` of a tasklet that is alive.
    Alive,
    /// `setup` of a tasklet without a function.
    NotBound,
    /// `bind` of the running tasklet.
    BindCurrent,
    /// `bind` of a tasklet that is queued or blocked.
    Scheduled,
    /// `bind` of a tasklet that has run.
    StackInUse,
    /// `insert`, `run` or `switch` of a blocked tasklet.
    RunBlocked,
    /// `insert`, `run` or `switch` of a tasklet that is not alive.
    RunDead,
    /// `remove` of a blocked tasklet.
    RemoveBlocked,
    /// `remove` of the running tasklet.
    RemoveCurrent,
    /// `throw` at a tasklet that is not alive.
    ThrowDead,
    /// The thread of the tasklet is gone.
    NoThread,
    /// The calling thread is ending: nothing is waited for or made there any more.
    ThreadEnding,
    /// The thread of the tasklet has no scheduler.
    ThreadNotInitialized,
    /// A switching call out of a schedule callback.
    RecursiveSchedule,
    /// A channel call out of a channel callback.
    RecursiveChannel,
    /// `switch` to a tasklet of another thread.
    OtherThread,
    /// `release` of a lock that is not held.
    NotHeld,
    /// `release` of a reentrant lock, or in C a wait on a condition, by a caller that does not hold
    /// the lock.
    NotOwner,
    /// A `release` of more than was taken, or than there can be.
    ReleasedTooOften,
    /// Somebody who was to come gave up, or it was broken on purpose: nobody waits there any more.
    Broken,
    /// No thread has this number.
    ThreadNotFound,
    /// `bind_thread` of a tasklet that is queued or runs.
    BindRunnable,
    /// `bind_thread` of a tasklet whose function was not bound to be sent.
    NotSend,
    /// `join` of a host lock by a thread that has joined another one.
    OtherHostLock,
    /// A time is asked for where there is no clock.
    NoClock,
    /// A select that sends and receives on the same channel.
    SelectBothWays,
    /// A select without cases that would wait for ever.
    SelectNothing,
    /// The result of a [joined](crate::join) tasklet that was killed.
    Killed,
}

impl StateError {
    /// The message; Stackless' own where it has one.
    pub const fn message(self) -> &'static str {
        match self {
            StateError::Alive => "tasklet is alive",
            StateError::NotBound => "the tasklet was not bound to a function",
            StateError::BindCurrent => "can't (re)bind the current tasklet",
            StateError::Scheduled => "tasklet is scheduled",
            StateError::StackInUse => "tasklet has C state on its stack",
            StateError::RunBlocked => "You cannot run a blocked tasklet",
            StateError::RunDead => "You cannot run an unbound(dead) tasklet",
            StateError::RemoveBlocked => "You cannot remove a blocked tasklet.",
            StateError::RemoveCurrent => "The current tasklet cannot be removed.",
            StateError::ThrowDead => "You cannot throw to a dead tasklet",
            StateError::NoThread => "tasklet has no thread",
            StateError::ThreadEnding => "the thread is ending",
            StateError::ThreadNotInitialized => "Target thread isn't initialized",
            StateError::RecursiveSchedule => "Recursive scheduler call due to callbacks!",
            StateError::RecursiveChannel => "Recursive channel call due to callbacks!",
            StateError::OtherThread => "can't switch to a different thread.",
            StateError::NotHeld => "the lock is not held",
            StateError::NotOwner => "the caller does not hold the lock",
            StateError::ReleasedTooOften => "semaphore released too many times",
            StateError::Broken => "the barrier is broken",
            StateError::ThreadNotFound => "Thread id not found",
            StateError::BindRunnable => "can't (re)bind a runnable tasklet",
            StateError::NotSend => "the tasklet's function cannot leave its thread",
            StateError::OtherHostLock => "the thread has joined another host lock",
            StateError::NoClock => "the thread has no clock",
            StateError::SelectBothWays => "a select cannot send and receive on the same channel",
            StateError::SelectNothing => "a select without cases waits for ever",
            StateError::Killed => "the tasklet was killed, and has no result",
        }
    }
}

/// What is wrong with [`Settings`](crate::Settings).
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SettingsError {
    /// The thread has a runtime already.
    TooLate,
    /// `windows` is not in 1..=1024.
    Windows,
    /// `window_size` is below 4 KiB or absurdly large.
    WindowSize,
    /// The watermark lies outside the window.
    Watermark,
    /// `stack_size` is below 4 KiB or absurdly large.
    StackSize,
    /// `guard_size` is absurdly large.
    GuardSize,
    /// `memory_ceiling` has no room for a first block of control blocks.
    MemoryCeiling,
    /// The memory handed in has no room for the windows.
    Memory,
}

impl SettingsError {
    /// The message.
    pub const fn message(self) -> &'static str {
        match self {
            SettingsError::TooLate => "the thread's runtime exists already",
            SettingsError::Windows => "the number of windows is not in 1..=1024",
            SettingsError::WindowSize => "window_size is below 4 KiB or absurdly large",
            SettingsError::Watermark => "the watermark lies outside the window",
            SettingsError::StackSize => "stack_size is below 4 KiB or absurdly large",
            SettingsError::GuardSize => "guard_size is absurdly large",
            SettingsError::MemoryCeiling => "memory_ceiling is below 16 KiB",
            SettingsError::Memory => "the memory handed in has no room for the windows",
        }
    }
}

impl From<SettingsError> for Error {
    fn from(why: SettingsError) -> Error {
        Error::Settings(why)
    }
}

const _: () = assert!(core::mem::size_of::<Error>() == 2 * core::mem::size_of::<usize>());

impl From<StateError> for Error {
    fn from(state: StateError) -> Error {
        Error::State(state)
    }
}

impl Error {
    /// An exception with any payload. A payload that is a `&str` or a `String` is its message. Any
    /// other has the name of its type as message: use [`Error::exception`] for errors that can
    /// describe themselves.
    pub fn thrown<T: Any + Send>(payload: T) -> Error {
        Error::Thrown(Thrown::new(payload))
    }

    /// An exception whose message is that of `error`.
    pub fn exception<E: core::error::Error + Send + Sync + 'static>(error: E) -> Error {
        Error::Thrown(Thrown::exception(error))
    }

    /// Can this error be thrown only, so that it is never an operation's own end?
    pub(crate) fn is_always_thrown(&self) -> bool {
        matches!(self, Error::Exit | Error::Thrown(_) | Error::Panicked(_))
    }

    /// True for [`Error::Exit`]: the tasklet was told to end.
    pub fn is_exit(&self) -> bool {
        matches!(self, Error::Exit)
    }
}

/// How a wait failed: by its own end, or by an error of somebody else. The
/// error alone does not tell: every error with which a wait can fail can be thrown as well. Code
/// that decides to whom a value belongs, or whose time was up, looks here.
#[derive(Debug)]
pub enum WaitError {
    /// Its own end: it could not go on (a trap, a deadlock, no memory for a slice, a pump
    /// that failed), the time is up, or the channel that it waited for is closed.
    Hindered(Error),
    /// Thrown at the tasklet, or sent to it; or the uncaught error of another tasklet, of which
    /// this one is told.
    Thrown(Error),
}

impl WaitError {
    /// The wait's own end; but as thrown, if the error can be thrown only.
    #[cold]
    pub(crate) fn own(error: impl Into<Error>) -> WaitError {
        match error.into() {
            error if error.is_always_thrown() => WaitError::Thrown(error),
            error => WaitError::Hindered(error),
        }
    }
}

impl From<WaitError> for Error {
    fn from(ended: WaitError) -> Error {
        match ended {
            WaitError::Hindered(error) | WaitError::Thrown(error) => error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Exit => f.write_str("TaskletExit"),
            Error::Thrown(thrown) => thrown.fmt(f),
            Error::Panicked(thrown) => write!(f, "a tasklet panicked: {thrown}"),
            Error::Closed => f.write_str("Send/receive operation on a closed channel"),
            Error::Deadlock => {
                f.write_str("Deadlock: the last runnable tasklet cannot be blocked.")
            }
            Error::MainReceiving => {
                f.write_str("the main tasklet is receiving without a sender available.")
            }
            Error::MainSending => {
                f.write_str("the main tasklet is sending without a receiver available.")
            }
            Error::BlockTrap => f.write_str("this tasklet does not like to be blocked."),
            Error::SwitchTrap => f.write_str("switch_trap"),
            Error::Timeout => f.write_str("timed out"),
            Error::WouldBlock => f.write_str("the operation would have to wait"),
            Error::State(state) => f.write_str(state.message()),
            Error::ValueLost => f.write_str("the sender's value was lost to a deadlock"),
            Error::WrongType => {
                f.write_str("the transfer slot holds a value of another type than the channel's")
            }
            Error::StackSize(bytes) => write!(f, "no stack of {bytes} bytes can be had"),
            Error::MemoryCeiling(bytes) => {
                write!(f, "the memory ceiling of {bytes} bytes is reached")
            }
            Error::Mappings(limit) => write!(
                f,
                "no more stacks: each takes two memory mappings, and vm.max_map_count is {limit}; \
                 raise it (sysctl), or make sliced tasklets"
            ),
            Error::OutOfMemory => f.write_str("out of memory"),
            Error::Settings(why) => write!(f, "settings: {}", why.message()),
            #[cfg(feature = "std")]
            Error::Io(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            #[cfg(feature = "std")]
            Error::Io(error) => Some(&**error),
            _ => None,
        }
    }
}

/// The payload of an exception, shared by the copies of the error.
#[derive(Clone)]
pub struct Thrown(Arc<Payload>);

struct Payload {
    value: Box<dyn Any + Send>,
    message: Cow<'static, str>,
}

// SAFETY: `value` is reached through `downcast_ref` alone, which asks for
// `Sync` of the payload's type.
unsafe impl Sync for Payload {}

impl Thrown {
    /// Any payload. The message is its text, if it is a `&str` or a `String`, or else the name of
    /// its type.
    pub fn new<T: Any + Send>(payload: T) -> Thrown {
        let message = text(&payload).unwrap_or(Cow::Borrowed(core::any::type_name::<T>()));
        Thrown::with_message(Box::new(payload), message)
    }

    /// An error value; the message is its own.
    pub fn exception<E: core::error::Error + Send + Sync + 'static>(error: E) -> Thrown {
        let message = Cow::Owned(error.to_string());
        Thrown::with_message(Box::new(error), message)
    }

    /// The payload of a panic; the message is that of the panic.
    pub(crate) fn panic(payload: Box<dyn Any + Send>) -> Thrown {
        let message = text(&*payload).unwrap_or(Cow::Borrowed("a payload that is no text"));
        Thrown::with_message(payload, message)
    }

    /// A payload with a message of its own.
    pub(crate) fn with_message(value: Box<dyn Any + Send>, message: Cow<'static, str>) -> Thrown {
        Thrown(Arc::new(Payload { value, message }))
    }

    /// The payload, when it is a `T`.
    pub fn downcast_ref<T: Any + Sync>(&self) -> Option<&T> {
        self.0.value.downcast_ref()
    }

    /// True when the payload is a `T`.
    pub fn is<T: Any>(&self) -> bool {
        self.0.value.is::<T>()
    }

    /// The message of the exception.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

/// What a payload says that is a text.
fn text(payload: &dyn Any) -> Option<Cow<'static, str>> {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        return Some(Cow::Borrowed(text));
    }
    let text = payload.downcast_ref::<String>()?;
    Some(Cow::Owned(text.clone()))
}

impl fmt::Display for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thrown({:?})", self.0.message)
    }
}
