//! The handle's public operations: bind, schedule, run, throw, look.

use alloc::rc::Rc;
use alloc::string::String;
use core::any::Any;
use core::fmt;
use core::mem;
use core::panic::Location;
use core::ptr;

use crate::builder::Builder;
use crate::channel::stand_in;
use crate::core::body::{Body, Outcome, Unbound};
use crate::core::contain::drop_both;
use crate::core::extra::ErrorHandler;
use crate::core::hooks::HOOK_STATS;
use crate::core::measure::{self, TaskletStats};
pub use crate::core::references::Tasklet;
use crate::core::release::release;
use crate::core::scheduler;
use crate::core::task::{flag, Task};
use crate::core::throw;
use crate::core::value::Value;
use crate::error::{Error, Result, StateError};

impl Tasklet {
    /// A tasklet with a stack of its own and without a function.
    ///
    /// # Errors
    /// [`Error::MemoryCeiling`], [`Error::OutOfMemory`].
    #[track_caller]
    pub fn new() -> Result<Tasklet> {
        Tasklet::builder().build()
    }

    /// Starts a builder: a name, a stack size, a sliced stack.
    #[inline]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Sets the function; the tasklet becomes *bound* (not alive, not queued).
    ///
    /// # Errors
    /// [`StateError::BindCurrent`], [`StateError::Scheduled`],
    /// [`StateError::StackInUse`] (it has started); no stack can be had.
    #[track_caller]
    pub fn bind<F, R>(&self, f: F) -> Result<()>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        self.rebind(f, 0).map(drop)
    }

    /// Binds `f` and sets `flags` as well. The caller has to drop what the tasklet held before:
    /// this runs user code, which may use the tasklet.
    #[track_caller]
    fn rebind<F, R>(&self, f: F, flags: u32) -> Result<(Value, Option<Unbound>)>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        self.may_bind()?;
        if self.runtime().hooks() & HOOK_STATS != 0 {
            // SAFETY: the handle keeps the task.
            unsafe { measure::bound_at(self.as_ptr(), Location::caller().into()) };
        }
        // A new function starts with an empty slot.
        let value = self.take_tempval();
        // SAFETY: it has not started, and is in no queue (`may_bind`); no user code runs.
        unsafe {
            let before = (value, Task::unbind(self.as_ptr()));
            (*self.as_ptr()).clear(flag::SENDABLE);
            Task::bind(self.as_ptr(), f)?;
            (*self.as_ptr()).set(flags);
            Ok(before)
        }
    }

    /// As [`bind`](Self::bind), with a function that another thread can be given
    /// too: until it has started, the tasklet can [move](Self::bind_thread), and be
    /// taken over when its thread ends. Costs an allocation.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    #[cfg(feature = "std")]
    #[track_caller]
    pub fn bind_send<F, R>(&self, f: F) -> Result<()>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Outcome,
    {
        self.bind_body(crate::core::body::body(f))
    }

    #[track_caller]
    pub(crate) fn bind_body(&self, body: Body) -> Result<()> {
        // A `Body` is below `INLINE_BODY`, so it is not boxed once more.
        self.rebind(body, flag::SENDABLE).map(drop)
    }

    /// As [`bind_body`](Self::bind_body), and makes the tasklet *paused*.
    #[track_caller]
    pub(crate) fn bind_body_paused(&self, body: Body) -> Result<()> {
        self.rebind(body, flag::SENDABLE | flag::ALIVE).map(drop)
    }

    /// Sets the function and makes the tasklet *paused*: alive, not queued.
    ///
    /// # Errors
    /// As [`Tasklet::bind`].
    #[track_caller]
    pub fn bind_paused<F, R>(&self, f: F) -> Result<()>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        self.rebind(f, flag::ALIVE).map(drop)
    }

    /// Takes the function away again; it is dropped without having run.
    ///
    /// # Errors
    /// As [`Tasklet::bind`].
    pub fn unbind(&self) -> Result<()> {
        self.may_bind()?;
        let value = self.take_tempval();
        // SAFETY: it has not started, and is in no queue.
        let before = unsafe { Task::unbind(self.as_ptr()) };
        // This runs user code, which may bind the tasklet again.
        drop_both(value, before);
        Ok(())
    }

    fn may_bind(&self) -> Result<()> {
        if self.is_current() {
            return Err(StateError::BindCurrent.into());
        }
        if !self.task().floating() {
            return Err(StateError::Scheduled.into());
        }
        if self.task().is(flag::STARTED) {
            return Err(StateError::StackInUse.into());
        }
        Ok(())
    }

    /// Makes a bound tasklet alive and appends it to the run queue.
    ///
    /// # Errors
    /// [`StateError::Alive`], [`StateError::NotBound`].
    pub fn setup(&self) -> Result<()> {
        if self.is_alive() {
            return Err(StateError::Alive.into());
        }
        if !self.task().is(flag::BOUND) {
            return Err(StateError::NotBound.into());
        }
        if self.has_no_thread() {
            return Err(StateError::NoThread.into());
        }
        // SAFETY: bound and not queued; the queue gets a reference of its own.
        unsafe {
            let task = self.as_ptr();
            (*task).set(flag::ALIVE);
            (*task).refs += 1;
            self.runtime().queue.append(task);
        }
        Ok(())
    }

    /// Appends the tasklet to the run queue, unless it is queued already.
    ///
    /// # Errors
    /// [`StateError::RunBlocked`], [`StateError::RunDead`].
    pub fn insert(&self) -> Result<()> {
        scheduler::may_insert(self.task())?;
        if self.has_no_thread() {
            return Err(StateError::ThreadNotInitialized.into());
        }
        if !self.task().is(flag::QUEUED) {
            // SAFETY: alive and floating; the queue gets a reference.
            unsafe {
                (*self.as_ptr()).refs += 1;
                self.runtime().queue.append(self.as_ptr());
            }
        }
        Ok(())
    }

    /// Takes the tasklet out of the run queue: it is *paused*. Nothing happens
    /// when it is not queued.
    ///
    /// # Errors
    /// [`StateError::RemoveBlocked`], [`StateError::RemoveCurrent`].
    pub fn remove(&self) -> Result<()> {
        if self.task().is(flag::BLOCKED) {
            return Err(StateError::RemoveBlocked.into());
        }
        if self.is_current() || self.runtime().is_next(self.as_ptr()) {
            return Err(StateError::RemoveCurrent.into());
        }
        if self.task().is(flag::QUEUED) {
            // SAFETY: queued; the queue's reference is given up, ours remains.
            unsafe {
                self.runtime().queue.remove(self.as_ptr());
                release(self.as_ptr());
            }
        }
        Ok(())
    }

    /// Switches to the tasklet at once; the caller stays in the run queue at
    /// its place, so tasklets that are queued between the two run before it comes back.
    ///
    /// # Errors
    /// [`StateError::RunBlocked`], [`StateError::RunDead`],
    /// [`Error::SwitchTrap`], no memory for a slice; or what was thrown into
    /// the caller meanwhile.
    pub fn run(&self) -> Result<()> {
        scheduler::run_tasklet::<false, _>(self)
    }

    /// As [`Tasklet::run`], but the caller leaves the run queue: it is paused
    /// until it is inserted or run. Switching to oneself does nothing.
    ///
    /// # Errors
    /// As [`Tasklet::run`].
    #[inline]
    pub fn switch(&self) -> Result<()> {
        scheduler::run_tasklet::<true, _>(self)
    }

    /// Throws `error` into the tasklet and switches to it at once. At oneself
    /// it is simply the error returned. A tasklet that has not started ends
    /// without running; [`Error::Exit`] at one that is not alive does nothing. A tasklet that runs
    /// an event, a timer or a message of another thread while it pumps, or waits inside of one,
    /// is told by its own next wait, and nothing switches.
    ///
    /// # Errors
    /// [`StateError::ThrowDead`], [`Error::SwitchTrap`]; or what was thrown
    /// into the caller meanwhile.
    pub fn throw(&self, error: impl Into<Error>) -> Result<()> {
        Ok(throw::throw(self, error.into(), false)?)
    }

    /// As [`Tasklet::throw`], but only makes the tasklet runnable: it gets the
    /// error when its turn comes. A value that was on its way is lost.
    ///
    /// # Errors
    /// [`StateError::ThrowDead`].
    pub fn throw_pending(&self, error: impl Into<Error>) -> Result<()> {
        Ok(throw::throw(self, error.into(), true)?)
    }

    /// As [`Tasklet::throw`], except that an error at a tasklet which is not
    /// alive comes back to the caller.
    ///
    /// # Errors
    /// As [`Tasklet::throw`]; `error` itself when the tasklet is not alive.
    pub fn raise(&self, error: impl Into<Error>) -> Result<()> {
        let error = error.into();
        if !self.is_alive() && !error.is_exit() {
            return Err(error);
        }
        Ok(throw::throw(self, error, false)?)
    }

    /// Throws [`Error::Exit`].
    ///
    /// # Errors
    /// As [`Tasklet::throw`].
    pub fn kill(&self) -> Result<()> {
        Ok(throw::throw(self, Error::Exit, false)?)
    }

    /// Throws [`Error::Exit`] when the tasklet's turn comes.
    ///
    /// # Errors
    /// None on the tasklet's own thread.
    pub fn kill_pending(&self) -> Result<()> {
        Ok(throw::throw(self, Error::Exit, true)?)
    }

    /// Can it run, or go on?
    pub fn is_alive(&self) -> bool {
        self.task().is(flag::ALIVE)
    }

    /// Alive, but neither queued nor blocked.
    pub fn is_paused(&self) -> bool {
        self.is_alive() && self.task().floating()
    }

    /// Waiting in a channel's queue?
    pub fn is_blocked(&self) -> bool {
        self.task().is(flag::BLOCKED)
    }

    /// +1 blocked sending, -1 blocked receiving, 0 not blocked or in a select
    /// (also in a send or receive with a timeout).
    pub fn blocked_direction(&self) -> i32 {
        let task = self.task();
        i32::from(task.is(flag::SENDING)) - i32::from(task.is(flag::RECEIVING))
    }

    /// In the run queue or in a channel's queue (as in Stackless: true while
    /// blocked).
    pub fn is_scheduled(&self) -> bool {
        !self.task().floating()
    }

    /// The tasklet that stands for the thread's original flow of control.
    pub fn is_main(&self) -> bool {
        self.task().is(flag::MAIN)
    }

    /// The one that runs now.
    pub fn is_current(&self) -> bool {
        ptr::eq(self.runtime().current(), self.as_ptr())
    }

    /// Does its stack share a window with others?
    pub fn is_sliced(&self) -> bool {
        self.task().is(flag::SLICED)
    }

    /// True once it refused to end [ten times](Error::Exit) and was given up.
    pub fn is_zombie(&self) -> bool {
        self.task().is(flag::ZOMBIE)
    }

    fn flag(&self, flag: u32) -> bool {
        self.task().is(flag)
    }

    fn set_flag(&self, flag: u32, on: bool) -> bool {
        let old = self.flag(flag);
        // SAFETY: a plain field of a live task of this thread.
        unsafe {
            let task = self.as_ptr();
            if on {
                (*task).set(flag);
            } else {
                (*task).clear(flag);
            }
        }
        old
    }

    /// Is blocking forbidden to it?
    pub fn block_trap(&self) -> bool {
        self.flag(flag::BLOCK_TRAP)
    }

    /// Forbids it to block ([`Error::BlockTrap`]); returns the old setting.
    pub fn set_block_trap(&self, on: bool) -> bool {
        self.set_flag(flag::BLOCK_TRAP, on)
    }

    /// Is it protected from interrupts? See [`Tasklet::set_atomic`].
    pub fn is_atomic(&self) -> bool {
        self.flag(flag::ATOMIC)
    }

    /// Protects the tasklet from involuntary scheduling; returns the old setting.
    /// Not inherited.
    ///
    /// There is one kind of involuntary scheduling: a [`run_with`](crate::run_with) whose
    /// budget is used up takes the turn when a tasklet gives way. When an atomic
    /// tasklet gives way it does not: it stays pending until the first switch by a
    /// tasklet that is not atomic (this one with the flag cleared, or another).
    /// See also [`atomic`](crate::atomic).
    pub fn set_atomic(&self, on: bool) -> bool {
        self.set_flag(flag::ATOMIC, on)
    }

    /// See [`Tasklet::set_ignore_nesting`].
    pub fn ignore_nesting(&self) -> bool {
        self.flag(flag::IGNORE_NESTING)
    }

    /// Stackless' flag that allows an interrupt in nested interpreter calls;
    /// returns the old setting. Native code knows no such nesting, and interrupts
    /// happen on switches only: the flag is kept for the host, and changes nothing.
    pub fn set_ignore_nesting(&self, on: bool) -> bool {
        self.set_flag(flag::IGNORE_NESTING, on)
    }

    /// Takes the content of the transfer slot: what a paused tasklet's pending
    /// `schedule_with` would return.
    pub fn take_tempval(&self) -> Value {
        // SAFETY: moved out of a live task; nothing runs meanwhile.
        Value(unsafe { (*self.as_ptr()).slot.take() })
    }

    /// Puts a value into the transfer slot; returns what was there.
    pub fn set_tempval(&self, value: Value) -> Value {
        // SAFETY: an exchange in a live task; nothing runs meanwhile.
        Value(unsafe { (*self.as_ptr()).slot.put(value.0) })
    }

    /// The next tasklet in the run queue; or, of one that is blocked on a channel alone, in
    /// that channel's queue. `None` in a select. (A tasklet that [pumps](crate::main_loop) while
    /// it waits is in the run queue.)
    pub fn next(&self) -> Option<Tasklet> {
        self.neighbour(self.task().next)
    }

    /// The tasklet before it in the run queue or in the channel's queue; `None` in
    /// a select.
    pub fn prev(&self) -> Option<Tasklet> {
        self.neighbour(self.task().prev)
    }

    fn neighbour(&self, task: *mut Task) -> Option<Tasklet> {
        if task.is_null() || self.task().floating() || self.task().is(flag::SELECTING) {
            return None;
        }
        // SAFETY: a neighbour in a queue is a live task of this thread, or the
        // stand-in of one.
        Some(unsafe { Tasklet::from_ref(stand_in::whose(task)) })
    }

    /// The name given to the builder.
    pub fn name(&self) -> Option<String> {
        self.task().name().map(Into::into)
    }

    /// A number that no other tasklet alive at the same time has.
    pub fn id(&self) -> usize {
        self.as_ptr() as usize
    }

    /// The measurements of the tasklet.
    pub fn stats(&self) -> TaskletStats {
        // SAFETY: the handle keeps the task alive, and no reference to it is held here.
        unsafe { measure::of(self.as_ptr(), self.runtime(), self.is_current()) }
    }

    /// The thread it belongs to, as [`thread_id`](crate::thread_id) says there.
    pub fn thread_id(&self) -> u64 {
        self.runtime().thread_id
    }

    /// The value that the host keeps with it; see [`Tasklet::set_user_data`].
    pub fn user_data(&self) -> Option<Rc<dyn Any>> {
        self.task().extra.as_ref()?.user_data.clone()
    }

    /// The user data, if it is a `D`.
    pub fn user_data_as<D: Any>(&self) -> Option<Rc<D>> {
        self.user_data()?.downcast().ok()
    }

    /// Keeps any value of the host's with the tasklet; returns the old one. It
    /// goes with the last handle, not with the end of the tasklet. Costs an
    /// allocation of some hundred bytes the first time.
    ///
    /// A value that holds a handle of the same tasklet keeps both alive for ever.
    pub fn set_user_data(&self, data: Option<Rc<dyn Any>>) -> Option<Rc<dyn Any>> {
        // SAFETY: a plain exchange in a live task of this thread; what was there
        // is dropped by the caller.
        unsafe {
            if data.is_none() && (*self.as_ptr()).extra.is_none() {
                return None;
            }
            mem::replace(&mut (*self.as_ptr()).extra().user_data, data)
        }
    }

    /// Sets the tasklet's own error handler; returns the old one. It is asked
    /// before the [thread's](crate::set_error_handler), in the tasklet, when the
    /// tasklet ends with an error: `Ok` swallows the error, an error goes on to the
    /// thread's handler. [`Error::Exit`] is silent: no handler is asked.
    pub fn set_error_handler(&self, handler: Option<ErrorHandler>) -> Option<ErrorHandler> {
        // SAFETY: a plain exchange in a live task of this thread; the caller drops what was there.
        unsafe {
            if handler.is_none() && (*self.as_ptr()).extra.is_none() {
                return None;
            }
            mem::replace(&mut (*self.as_ptr()).extra().on_error, handler)
        }
    }
}

impl fmt::Debug for Tasklet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_current() {
            "current"
        } else if self.is_blocked() {
            "blocked"
        } else if self.is_scheduled() {
            "scheduled"
        } else if self.is_alive() {
            "paused"
        } else if self.flag(flag::BOUND) {
            "bound"
        } else {
            "not alive"
        };
        match self.task().name() {
            Some(name) => write!(f, "Tasklet({name:?}, {state})"),
            None => write!(f, "Tasklet({:#x}, {state})", self.id()),
        }
    }
}
