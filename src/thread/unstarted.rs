//! A tasklet that has not started, between two threads: all of it that is `Send`.

use crate::core::body::Body;
use crate::core::extra::Site;
use crate::core::measure;
use crate::core::references::Tasklet;
use crate::core::release::release;
use crate::core::runtime::Runtime;
use crate::core::task::{flag, Task};
use crate::error::{Error, Result, StateError};

/// The parts of a tasklet that [`make`](Unstarted::make) turns into a tasklet of the calling
/// thread.
pub(super) struct Unstarted {
    /// Its function; `None`: it is not bound.
    body: Option<Body>,
    /// Whether it is paused; otherwise it is bound, or empty.
    alive: bool,
    /// Those flags that are in [`KEPT`].
    flags: u32,
    name: Option<Box<str>>,
    stack_size: usize,
    site: Option<Site>,
}

/// The flags that a tasklet keeps on another thread.
const KEPT: u32 =
    flag::SLICED | flag::FP_ENV | flag::BLOCK_TRAP | flag::ATOMIC | flag::IGNORE_NESTING;

impl Unstarted {
    /// Takes the parts out of a tasklet; its handles refer to an empty tasklet then.
    ///
    /// Errors: it is queued or blocked, has started, or its function cannot leave the thread.
    pub(super) fn take(tasklet: &Tasklet) -> Result<Unstarted> {
        let task = tasklet.as_ptr();
        // SAFETY: the handle keeps the task alive, and it is of this thread; a `SENDABLE` task is
        // bound to a `Body`.
        unsafe {
            if !(*task).floating() {
                return Err(StateError::BindRunnable.into());
            }
            if (*task).is(flag::STARTED) {
                return Err(StateError::StackInUse.into());
            }
            if (*task).is(flag::BOUND) && !(*task).is(flag::SENDABLE) {
                return Err(StateError::NotSend.into());
            }
            let extra = (*task).extra.as_ref();
            Ok(Unstarted {
                alive: (*task).is(flag::ALIVE),
                flags: (*task).flags & KEPT,
                name: extra.and_then(|extra| extra.name.clone()),
                stack_size: extra.map_or(0, |extra| extra.stack_size),
                site: tasklet.stats().spawned_at,
                body: (*task).is(flag::BOUND).then(|| Task::take_body(task)),
            })
        }
    }

    /// As [`take`](Self::take), for a thread that ends: takes it out of the run queue, too.
    pub(super) fn take_from_queue(tasklet: &Tasklet) -> Result<Unstarted> {
        let task = tasklet.as_ptr();
        // SAFETY: the handle keeps the task alive, and it is of this thread; so the reference of
        // the queue is not the last one.
        unsafe {
            if (*task).is(flag::QUEUED) && (*task).is(flag::SENDABLE) && !(*task).is(flag::STARTED)
            {
                Runtime::of(task).queue.remove(task);
                release(task);
            }
        }
        Unstarted::take(tasklet)
    }

    /// As [`take`](Self::take); a function that cannot leave the thread is dropped.
    pub(super) fn take_what_can_leave(tasklet: &Tasklet) -> Result<Unstarted> {
        match Unstarted::take(tasklet) {
            Err(Error::State(StateError::NotSend)) => {
                tasklet.unbind()?;
                Unstarted::take(tasklet)
            }
            other => other,
        }
    }

    /// A tasklet of the calling thread, in the state in which it was taken. With an error the parts
    /// come back.
    pub(super) fn make(mut self) -> Result<Tasklet, (Error, Unstarted)> {
        match self.try_make() {
            Ok(tasklet) => Ok(tasklet),
            Err(error) => Err((error, self)),
        }
    }

    fn try_make(&mut self) -> Result<Tasklet> {
        let runtime = Runtime::get();
        let sliced = self.flags & flag::SLICED != 0;
        if self.stack_size != 0 && !sliced {
            runtime.stacks.check_size(self.stack_size)?;
        }
        // SAFETY: `new_task` returns a fresh task whose only reference becomes the handle's.
        unsafe {
            let task = runtime.new_task(self.flags)?;
            let tasklet = Tasklet::from_owned(task);
            if self.name.is_some() || self.stack_size != 0 || self.flags & flag::FP_ENV != 0 {
                let extra = (*task).extra();
                extra.name = self.name.clone();
                extra.stack_size = self.stack_size;
            }
            Task::put_body(task, &mut self.body)?;
            if self.alive {
                (*task).set(flag::ALIVE);
            }
            if let Some(site) = self.site {
                measure::bound_at(task, site);
            }
            Ok(tasklet)
        }
    }

    /// Replaces its function; the caller drops the old one.
    pub(super) fn rebind(&mut self, body: Option<Body>) -> Option<Body> {
        self.alive = false;
        std::mem::replace(&mut self.body, body)
    }
}
