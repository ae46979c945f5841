//! References to tasklets that any thread may hold.

use alloc::sync::Arc;
use core::ffi::{c_char, c_void};

use super::entry_function::{hsw_entry, Call, SentCall};
use super::failure::Failure;
use super::handle::{Fault, Kind};
use super::object::{self, ask, ask_or_fail, get, handle_of_process};
use super::payload;
use super::scheduler::Lent;
use super::tasklet::{hsw_tasklet, state_bits};
use super::value::{hsw_destroy, Owned, Sent};
use super::{entry, hsw_status, thread_state};
use crate::thread::Remote;

/// A reference to a tasklet. Any thread may use it, and give it back. Like a handle it keeps the
/// tasklet.
///
/// Requests are carried out on the tasklet's own thread, in the order in which they were made, at
/// that thread's next switch or pump at the latest. Only `hsw_remote_with` and the functions that
/// refer to it wait for that; none of them ever switches the calling thread to the tasklet. So an
/// operation that the other thread refuses (`hsw_remote_insert` of a tasklet that has ended
/// meanwhile) is no error here.
///
/// As with `hsw_thread_channel`, each thread should get a handle of its own.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_remote {
    /// Opaque; zero is nothing. Two handles of one tasklet differ: compare `hsw_remote_tasklet_id`.
    pub handle: u64,
}

handle_of_process!(hsw_remote, Arc<Remote>, Remote);

/// A reference to a tasklet of the calling thread, for other threads.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_remote(
    tasklet: hsw_tasklet,
    remote: *mut hsw_remote,
) -> hsw_status {
    object::make(remote, "remote", || {
        let remote = get(tasklet)?.remote().map_err(Failure::own)?;
        Ok(Arc::new(remote))
    })
}

/// Makes another handle of the same reference, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_remote_retain(
    remote: hsw_remote,
    other: *mut hsw_remote,
) -> hsw_status {
    object::retain_own(remote, other)
}

/// Gives a handle back. It is stale from now on, for all threads.
#[no_mangle]
pub extern "C" fn hsw_remote_release(remote: hsw_remote) -> hsw_status {
    object::release(remote)
}

/// Gives a tasklet to another thread, which uses the library already. The tasklet must not have
/// started and must not be queued, and must have been bound by `hsw_tasklet_bind_send` or not at
/// all. `remote` refers to it on its new thread; the previous handles of it refer to an empty
/// tasklet. Waits until both threads have switched or pumped; for the calling thread the wait is
/// enough.
///
/// `HSW_ERR_STATE`: there is no such thread, it has ended, or the tasklet may not move; then
/// nothing has changed. Otherwise it fails as `hsw_remote_with` does: after such a failure the
/// tasklet may be without a thread, but is whole, and can be given to another one.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_bind_thread(
    tasklet: hsw_tasklet,
    thread_id: u64,
    remote: *mut hsw_remote,
) -> hsw_status {
    object::make(remote, "remote", || {
        let remote = get(tasklet)?.remote().map_err(Failure::own)?;
        remote.bind_thread_or(thread_id)?;
        Ok(Arc::new(remote))
    })
}

/// As `hsw_tasklet_bind_thread`, for a tasklet that any thread refers to, also one whose thread has
/// ended. All references to it refer to it on the new thread then. No-op when it is there already.
#[no_mangle]
pub extern "C" fn hsw_remote_bind_thread(remote: hsw_remote, thread_id: u64) -> hsw_status {
    entry(|| Ok(get(remote)?.bind_thread_or(thread_id)?))
}

/// As `hsw_tasklet_bind_send`, on the tasklet's thread; with `paused`, it is alive and paused at
/// once. Waits and fails as `hsw_remote_with` does. A tasklet without a thread is bound at once,
/// but cannot be paused (`HSW_ERR_STATE`).
#[no_mangle]
pub unsafe extern "C" fn hsw_remote_bind(
    remote: hsw_remote,
    function: hsw_entry,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
    paused: bool,
) -> hsw_status {
    entry(|| {
        let call = SentCall(Call::new(function, argument, destroy_argument)?);
        let remote = get(remote)?;
        Ok(if paused {
            remote.bind_paused_or(move || call.run())
        } else {
            remote.bind_or(move || call.run())
        }?)
    })
}

/// Takes the function away again; its argument is freed. Waits and fails as `hsw_remote_with` does.
#[no_mangle]
pub extern "C" fn hsw_remote_unbind(remote: hsw_remote) -> hsw_status {
    entry(|| Ok(get(remote)?.unbind_or()?))
}

/// A handle of the tasklet, for its own thread (`HSW_ERR_WRONG_THREAD` elsewhere). The caller owns
/// it.
#[no_mangle]
pub unsafe extern "C" fn hsw_remote_tasklet(
    remote: hsw_remote,
    tasklet: *mut hsw_tasklet,
) -> hsw_status {
    object::make(tasklet, "tasklet", || {
        let here = get(remote)?.tasklet();
        here.ok_or(Failure::Handle(Kind::Tasklet, Fault::WrongThread))
    })
}

/// On the tasklet's own thread, as `hsw_tasklet_switch`; elsewhere `HSW_ERR_STATE`.
#[no_mangle]
pub extern "C" fn hsw_remote_switch(remote: hsw_remote) -> hsw_status {
    entry(|| Ok(get(remote)?.switch_or()?))
}

/// Appends the tasklet to the run queue of its thread. `HSW_ERR_STATE`: its thread is gone.
#[no_mangle]
pub extern "C" fn hsw_remote_insert(remote: hsw_remote) -> hsw_status {
    entry(|| get(remote)?.insert().map_err(Failure::own))
}

/// Makes it the next one to run on its thread. `HSW_ERR_STATE`: its thread is gone.
#[no_mangle]
pub extern "C" fn hsw_remote_run(remote: hsw_remote) -> hsw_status {
    entry(|| get(remote)?.run().map_err(Failure::own))
}

/// Makes a bound tasklet alive and appends it to the run queue of its thread. `HSW_ERR_STATE`: its
/// thread is gone.
#[no_mangle]
pub extern "C" fn hsw_remote_setup(remote: hsw_remote) -> hsw_status {
    entry(|| get(remote)?.setup().map_err(Failure::own))
}

/// Takes it out of the run queue of its thread. No-op when its thread is gone.
#[no_mangle]
pub extern "C" fn hsw_remote_remove(remote: hsw_remote) -> hsw_status {
    entry(|| get(remote)?.remove().map_err(Failure::own))
}

/// Throws an exception into the tasklet, and makes it the next one to run on its thread; with
/// `pending` it runs when its turn comes. The rules for the payload are those of
/// `hsw_tasklet_throw`. `HSW_ERR_STATE`: its thread is gone.
#[no_mangle]
pub unsafe extern "C" fn hsw_remote_throw(
    remote: hsw_remote,
    payload: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
    pending: bool,
) -> hsw_status {
    entry(|| {
        // SAFETY: `message` is null or ends in a zero byte (contract of the interface).
        let error = unsafe { payload::thrown(payload, destroy, message) };
        let remote = get(remote)?;
        let posted = if pending {
            remote.throw_pending(error)
        } else {
            remote.throw(error)
        };
        posted.map_err(Failure::own)
    })
}

/// Kills the tasklet: the call it waits in returns `HSW_ERR_EXIT`. It is the next one to run on its
/// thread; with `pending` it runs when its turn comes. No-op when its thread is gone, since the
/// tasklet is gone with it.
#[no_mangle]
pub extern "C" fn hsw_remote_kill(remote: hsw_remote, pending: bool) -> hsw_status {
    entry(|| {
        let remote = get(remote)?;
        let posted = if pending {
            remote.kill_pending()
        } else {
            remote.kill()
        };
        posted.map_err(Failure::own)
    })
}

/// The state of the tasklet on its thread: the sum of the bits `HSW_TASKLET_ALIVE` and so on that
/// hold. Waits and fails as `hsw_remote_with` does; 0 when its thread is gone.
#[no_mangle]
pub unsafe extern "C" fn hsw_remote_state(remote: hsw_remote, state: *mut u32) -> hsw_status {
    ask_or_fail(remote, state, "state", |remote| {
        Ok(remote.with_unless_gone(0, state_bits)?)
    })
}

/// The id of the tasklet, as `hsw_tasklet_id` says it. It changes when the tasklet moves to another
/// thread.
#[no_mangle]
pub unsafe extern "C" fn hsw_remote_tasklet_id(remote: hsw_remote, id: *mut usize) -> hsw_status {
    ask(remote, id, "id", |remote| remote.tasklet_id())
}

/// The tasklet's thread, as `hsw_thread_id` says it there; 0 when that thread is gone.
#[no_mangle]
pub unsafe extern "C" fn hsw_remote_thread_id(remote: hsw_remote, id: *mut u64) -> hsw_status {
    ask(remote, id, "id", |remote| remote.thread().unwrap_or(0))
}

/// A function that `hsw_remote_with` calls. It gets a handle of the tasklet that is lent for the
/// time of the call; `hsw_tasklet_retain` makes one to keep there. It runs on whatever tasklet is
/// running on that thread. It should not block, and must not unwind.
pub type hsw_remote_function =
    Option<unsafe extern "C" fn(tasklet: hsw_tasklet, argument: *mut c_void)>;

/// Has the tasklet's thread call `function(tasklet, argument)`, and waits for the end of that call:
/// that thread makes it when it switches or pumps next. On the tasklet's own thread the function is
/// called at once.
///
/// The argument is the runtime's from now on, also when this call fails: `destroy_argument` frees
/// it, on whatever thread, when the function has returned or will not be called. It must not point
/// to a sliced stack, the caller's own included.
///
/// `HSW_ERR_STATE`: the thread is gone, or ended before it made the call. It may also fail as any
/// call that waits (`HSW_ERR_EXIT`, `HSW_ERR_DEADLOCK`, `HSW_ERR_BLOCK_TRAP`, ...); the function
/// may be called all the same then.
#[no_mangle]
pub unsafe extern "C" fn hsw_remote_with(
    remote: hsw_remote,
    function: hsw_remote_function,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
) -> hsw_status {
    entry(|| {
        let argument = Sent::from(Owned::new(argument, destroy_argument));
        let function = function.ok_or(Failure::Null("function"))?;
        get(remote)?.with_or(move |tasklet| {
            let argument = Owned::from(argument);
            let lent = Lent::new(Some(tasklet));
            // SAFETY: `function` has this type, does not unwind, and accepts this argument
            // (contract of the interface).
            thread_state::call_back(|| unsafe {
                thread_state::unwindable(function)(lent.handle(), argument.peek().0)
            });
        })?;
        Ok(())
    })
}
