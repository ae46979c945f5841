//! Making tasklets: the builder, and `spawn`.

use alloc::string::String;
use core::panic::Location;

use crate::core::body::Outcome;
use crate::core::extra::Site;
use crate::core::hooks::HOOK_STATS;
use crate::core::measure;
use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::sanitizer;
use crate::core::task::{flag, Task};
use crate::error::Result;

/// The options with which a tasklet is made.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    name: Option<String>,
    stack_size: usize,
    sliced: bool,
    fp_env: bool,
    site: Option<Site>,
}

impl Builder {
    pub(crate) const fn new() -> Builder {
        Builder {
            name: None,
            stack_size: 0,
            sliced: false,
            fp_env: false,
            site: None,
        }
    }

    /// A name for messages, listings and debuggers.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// The spawn site for [statistics](crate::set_statistics), instead of the
    /// caller's: for hosts in other languages.
    pub fn site(mut self, site: Site) -> Builder {
        self.site = Some(site);
        self
    }

    /// Bytes of the tasklet's own stack, rounded up to pages; the guard
    /// comes on top. Without it, the size of the settings. Sliced tasklets
    /// ignore it: they live in a window.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        // Zero means "the default" inside; a zero from outside must fail.
        self.stack_size = bytes.max(1);
        self
    }

    /// Floating-point control words of its own (rounding mode, exception
    /// masks): it starts with the defaults, and what it sets stays with it.
    /// Without this they belong to the thread. Costs a few nanoseconds on
    /// each switch from or to this tasklet, nothing on others.
    pub fn fp_env(mut self) -> Builder {
        self.fp_env = true;
        self
    }

    /// Lets the tasklet live in a window that it shares with others: while it is parked it
    /// costs only the live bytes of its stack, not a whole stack.
    ///
    /// # Safety
    /// While the tasklet is not running, the addresses of its stack hold
    /// other bytes. So **nothing outside the tasklet may touch its
    /// stack while it is not running**: no reference to one of its locals may
    /// be lent to another tasklet, to another thread (`std::thread::scope`), to
    /// the kernel (asynchronous I/O), or be left in a list, a static or a
    /// thread-local across anything that may switch (sending, receiving,
    /// scheduling, dropping the last handle of a tasklet). Data that crosses such a call must
    /// be moved or live in the heap.
    pub unsafe fn sliced(mut self) -> Builder {
        self.sliced = true;
        self
    }

    /// A tasklet without a function: for [`Tasklet::bind`].
    ///
    /// # Errors
    /// [`Error::StackSize`](crate::Error::StackSize) for an impossible size,
    /// [`Error::MemoryCeiling`](crate::Error::MemoryCeiling),
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    #[inline]
    #[track_caller]
    pub fn build(self) -> Result<Tasklet> {
        let runtime = Runtime::get();
        let flags = if self.sliced && !sanitizer::OWN_STACKS {
            flag::SLICED
        } else {
            0
        };
        let special = self.name.is_some() || self.stack_size != 0 || self.fp_env;
        // SAFETY: the task was just made, and its only reference becomes the handle.
        let tasklet = unsafe { Tasklet::from_owned(runtime.new_task(flags)?) };
        if special || runtime.hooks() & HOOK_STATS != 0 {
            let site = match self.site {
                Some(site) => site,
                None => Location::caller().into(), // not in a closure: that has no caller
            };
            self.equip(&tasklet, site)?;
        }
        Ok(tasklet)
    }

    /// Sets the options that only few tasklets have.
    #[cold]
    #[inline(never)]
    fn equip(self, tasklet: &Tasklet, site: Site) -> Result<()> {
        let (task, runtime) = (tasklet.as_ptr(), tasklet.runtime());
        if self.stack_size != 0 && !self.sliced {
            runtime.stacks.check_size(self.stack_size)?;
        }
        // SAFETY: the task was just made, and only this code uses it.
        unsafe {
            if self.fp_env {
                (*task).set(flag::FP_ENV);
            }
            let extra = (*task).extra();
            extra.name = self.name.map(String::into_boxed_str);
            extra.stack_size = self.stack_size;
            if runtime.hooks() & HOOK_STATS != 0 {
                measure::bound_at(task, site);
            }
        }
        Ok(())
    }

    /// A bound tasklet: it runs after [`Tasklet::setup`].
    ///
    /// # Errors
    /// As [`Builder::build`].
    #[inline]
    #[track_caller]
    pub fn bind<F, R>(self, f: F) -> Result<Tasklet>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        let tasklet = self.build()?;
        // SAFETY: the tasklet was just made: it is neither bound nor alive.
        unsafe { Task::bind(tasklet.as_ptr(), f)? };
        Ok(tasklet)
    }

    /// A tasklet that is queued to run `f`.
    ///
    /// # Errors
    /// As [`Builder::build`].
    #[inline]
    #[track_caller]
    pub fn spawn<F, R>(self, f: F) -> Result<Tasklet>
    where
        F: FnOnce() -> R + 'static,
        R: Outcome,
    {
        let tasklet = self.bind(f)?;
        // SAFETY: the tasklet is bound and not queued; the queue gets a reference of its own.
        unsafe {
            let task = tasklet.as_ptr();
            (*task).set(flag::ALIVE);
            (*task).refs += 1;
            Runtime::of(task).queue.append(task);
        }
        Ok(tasklet)
    }
}

/// Queues a tasklet with a stack of its own to run `f` on this thread.
///
/// The closure may return `()` or a `Result<(), E>`; an error goes the way of
/// an uncaught exception, except [`Error::Exit`](crate::Error::Exit), which is silent.
///
/// ```
/// # fn main() -> hardswitch::Result<()> {
/// let channel = hardswitch::Channel::new();
/// let tx = channel.clone();
/// hardswitch::spawn(move || tx.send("hello"))?;
/// hardswitch::spawn(move || {
///     assert_eq!(channel.receive()?, "hello");
///     Ok(())
/// })?;
/// hardswitch::run()
/// # }
/// ```
///
/// # Errors
/// [`Error::MemoryCeiling`](crate::Error::MemoryCeiling),
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory),
/// [`Error::StackSize`](crate::Error::StackSize).
#[inline]
#[track_caller]
pub fn spawn<F, R>(f: F) -> Result<Tasklet>
where
    F: FnOnce() -> R + 'static,
    R: Outcome,
{
    Tasklet::builder().spawn(f)
}
