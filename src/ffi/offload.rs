//! Blocking functions of C's on worker threads.

use core::ffi::c_void;
use core::ptr;

use super::object::{self, ask, get, handle_of_process};
use super::status::status_of;
use super::value::{hsw_destroy, Owned, Sent};
use super::{entry, hsw_status, out, set_if_wanted, thread_state, time_limit, Done, Failure};
use crate::error::WaitError;
use crate::offload::{self, Call, Pool, Refusal, Settings};
use crate::Error;

/// A blocking function, called on a worker thread. It may use nothing that belongs to the tasklet's
/// thread: none of its handles, and no address of a sliced stack. It returns the result. It must
/// not unwind.
pub type hsw_job = Option<unsafe extern "C" fn(argument: *mut c_void) -> *mut c_void>;

/// Gets the outcome of a job that its tasklet did not wait for to the end. That is `HSW_OK` and the
/// result, which is the callback's from then on; or the reason why the job was not called
/// (`HSW_ERR_CLOSED`: its pool was shut down before), and null. It is called once, on the tasklet's
/// thread: in a pump of its main loop, or, if the outcome is there already, when the tasklet leaves
/// the wait. It must not block or unwind.
pub type hsw_abandoned =
    Option<unsafe extern "C" fn(outcome: hsw_status, result: *mut c_void, user: *mut c_void)>;

/// What a pool may use at most.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_pool_settings {
    /// Threads, at most. 1 or more.
    pub threads: usize,
    /// Bytes of stack of each thread; if the system's minimum is larger, that.
    pub stack_size: usize,
    /// Calls that may wait for a thread. 1 or more.
    pub queue: usize,
}

impl From<Settings> for hsw_pool_settings {
    fn from(settings: Settings) -> Self {
        hsw_pool_settings {
            threads: settings.threads,
            stack_size: settings.stack_size,
            queue: settings.queue,
        }
    }
}

/// Worker threads and their queue. Any thread may use it, and give it back.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_pool {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

handle_of_process!(hsw_pool, Pool, Pool);

/// The status of a refusal by the pool; none for other errors.
fn refusal(error: &Error) -> Option<hsw_status> {
    match Refusal::of(error)? {
        Refusal::Settings(_) | Refusal::InUse => Some(hsw_status::HSW_ERR_SETTINGS),
        Refusal::Full(_) => Some(hsw_status::HSW_ERR_WOULD_BLOCK),
        Refusal::Shut | Refusal::Cancelled | Refusal::Forked => Some(hsw_status::HSW_ERR_CLOSED),
        Refusal::NoThread(_) => None,
    }
}

fn of_pool(error: Error) -> Failure {
    match refusal(&error) {
        Some(status) => Failure::Told(status, error.to_string()),
        None => Failure::own(error),
    }
}

fn of_call(ended: WaitError) -> Failure {
    match ended {
        WaitError::Hindered(error) => of_pool(error),
        thrown => thrown.into(),
    }
}

/// Fills in the settings that the process's pool has by default: 4 threads of 256 KiB, and 1024
/// calls that may wait.
#[no_mangle]
pub unsafe extern "C" fn hsw_pool_settings_default(settings: *mut hsw_pool_settings) -> hsw_status {
    entry(|| {
        out(settings, "settings")?.set(Settings::default().into());
        Ok(())
    })
}

/// Fills in settings for a console: 2 threads of 64 KiB, and 64 calls that may wait.
#[no_mangle]
pub unsafe extern "C" fn hsw_pool_settings_console(settings: *mut hsw_pool_settings) -> hsw_status {
    entry(|| {
        out(settings, "settings")?.set(Settings::console().into());
        Ok(())
    })
}

/// The settings that C asks for.
///
/// SAFETY: `settings` is null or points to readable settings.
unsafe fn wanted(settings: *const hsw_pool_settings) -> Settings {
    // SAFETY: null, or readable, as the caller has promised.
    let Some(settings) = (unsafe { settings.as_ref() }) else {
        return Settings::default();
    };
    Settings {
        threads: settings.threads,
        stack_size: settings.stack_size,
        queue: settings.queue,
    }
}

/// Sets what the process's pool may use, before its first use; null: the default settings.
/// `HSW_ERR_SETTINGS`: it is in use already, or a value is out of range.
#[no_mangle]
pub unsafe extern "C" fn hsw_offload_configure(settings: *const hsw_pool_settings) -> hsw_status {
    entry(|| {
        // SAFETY: `settings` is null or points to readable settings (contract of the interface).
        offload::configure(unsafe { wanted(settings) }).map_err(of_pool)
    })
}

/// Makes a pool; no thread is started yet. Null: the default settings. `HSW_ERR_SETTINGS`: a value
/// is out of range.
#[no_mangle]
pub unsafe extern "C" fn hsw_pool_new(
    settings: *const hsw_pool_settings,
    pool: *mut hsw_pool,
) -> hsw_status {
    object::make(pool, "pool", || {
        // SAFETY: `settings` is null or points to readable settings (contract of the interface).
        Pool::new(unsafe { wanted(settings) }).map_err(of_pool)
    })
}

/// A handle of the process's pool, which `hsw_offload` uses. The caller owns it.
#[no_mangle]
pub unsafe extern "C" fn hsw_pool_of_process(pool: *mut hsw_pool) -> hsw_status {
    object::make(pool, "pool", || Ok(offload::pool().clone()))
}

/// Makes another handle of the same pool, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_pool_retain(pool: hsw_pool, other: *mut hsw_pool) -> hsw_status {
    object::retain(pool, other)
}

/// Gives a handle back; it is stale from now on, for all threads. The last one shuts the pool down
/// as `hsw_pool_shutdown` does, and blocks the thread as long as that does.
#[no_mangle]
pub extern "C" fn hsw_pool_release(pool: hsw_pool) -> hsw_status {
    object::release(pool)
}

/// Refuses new calls (`HSW_ERR_CLOSED`), finishes those it has, and ends the threads. Blocks the
/// *thread* until then. The outcomes arrive with the next pump of the threads that called. With
/// `cancel`, calls that no worker has begun are given back: they fail with `HSW_ERR_CLOSED`. To
/// call it twice is fine.
#[no_mangle]
pub extern "C" fn hsw_pool_shutdown(pool: hsw_pool, cancel: bool) -> hsw_status {
    object::tell(pool, |pool| {
        if cancel {
            pool.shutdown_now();
        } else {
            pool.shutdown();
        }
    })
}

/// The settings that the pool was made with.
#[no_mangle]
pub unsafe extern "C" fn hsw_pool_get_settings(
    pool: hsw_pool,
    settings: *mut hsw_pool_settings,
) -> hsw_status {
    ask(pool, settings, "settings", |pool| pool.settings().into())
}

/// How many threads were started so far, and how many calls wait for one. Either may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_pool_load(
    pool: hsw_pool,
    threads: *mut usize,
    waiting: *mut usize,
) -> hsw_status {
    object::tell(pool, |pool| {
        let load = pool.load();
        set_if_wanted(threads, load.0);
        set_if_wanted(waiting, load.1);
    })
}

/// A call of a blocking function. Zero is a good default for everything but `timeout_ns`.
#[repr(C)]
pub struct hsw_offload_call {
    /// The function.
    pub job: hsw_job,
    /// The argument of the job. Once the call is made it is the runtime's, whatever the status,
    /// mistakes included. If the job is never called, `destroy_argument` frees it. If the job is
    /// called, it must free it; that may be after the call has failed.
    pub argument: *mut c_void,
    /// Frees the argument of a job that is never called. May be null. Any thread may call it.
    pub destroy_argument: hsw_destroy,
    /// Frees a result that nobody takes. May be null. Any thread may call it.
    pub destroy_result: hsw_destroy,
    /// How long the tasklet waits, in nanoseconds; `HSW_NO_LIMIT`: as long as it takes. 0: until
    /// the next pump.
    pub timeout_ns: u64,
    /// The pool in which the job runs; the null handle: the process's pool.
    pub pool: hsw_pool,
    /// Gets the outcome if the tasklet does not wait to the end. May be null: then `destroy_result`
    /// frees the result.
    pub on_abandoned: hsw_abandoned,
    /// An argument for the callback. It is the runtime's, like `argument`.
    pub user: *mut c_void,
    /// Frees `user` when the callback has returned or will not be called, on the tasklet's thread.
    /// May be null.
    pub destroy_user: hsw_destroy,
}

/// Calls a job on a worker thread. The calling tasklet is blocked meanwhile, the others run. The
/// result is the caller's.
///
/// If the caller does not wait to the end (it was killed, or the time was over: `HSW_ERR_TIMEOUT`),
/// the job still runs on, and its outcome goes to `on_abandoned`. `HSW_ERR_WOULD_BLOCK`: the pool's
/// queue is full. `HSW_ERR_CLOSED`: the pool has been shut down. `HSW_ERR_IO`: the system makes no
/// more threads.
#[no_mangle]
pub unsafe extern "C" fn hsw_offload_with(
    call: *const hsw_offload_call,
    result: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        // SAFETY: `call` is null or points to a readable call (contract of the interface).
        run(
            unsafe { call.as_ref() }.ok_or(Failure::Null("call"))?,
            result,
        )
    })
}

/// As `hsw_offload_with`, in the process's pool and without a callback for an abandoned job.
#[no_mangle]
pub unsafe extern "C" fn hsw_offload(
    job: hsw_job,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
    destroy_result: hsw_destroy,
    timeout_ns: u64,
    result: *mut *mut c_void,
) -> hsw_status {
    let call = hsw_offload_call {
        job,
        argument,
        destroy_argument,
        destroy_result,
        timeout_ns,
        pool: hsw_pool { handle: 0 },
        on_abandoned: None,
        user: ptr::null_mut(),
        destroy_user: None,
    };
    entry(|| run(&call, result))
}

fn run(call: &hsw_offload_call, result: *mut *mut c_void) -> Done {
    // Both are ours from here on, and are freed if the call fails.
    let argument = Sent::from(Owned::new(call.argument, call.destroy_argument));
    let user = Owned::new(call.user, call.destroy_user);
    let result = out(result, "result")?;
    let job = call.job.ok_or(Failure::Null("job"))?;
    let pool = match call.pool.handle {
        0 => offload::pool().clone(),
        _ => Pool::clone(&*get(call.pool)?),
    };
    let destroy_result = call.destroy_result;
    let mut made = Call::new(move || {
        let (pointer, _) = Owned::from(argument).take();
        // SAFETY: `job` is an `hsw_job` that accepts this argument and does not unwind (contract of
        // the interface). This closure runs once.
        let result = thread_state::returning(|| unsafe { thread_state::unwindable(job)(pointer) });
        Sent::from(Owned::new(result, destroy_result))
    })
    .pool(&pool);
    if let Some(timeout) = time_limit(call.timeout_ns)? {
        made = made.timeout(timeout);
    }
    if let Some(callback) = call.on_abandoned {
        made = made.on_abandoned(move |outcome| {
            let (status, result) = match outcome {
                Ok(sent) => (hsw_status::HSW_OK, Owned::from(sent).take().0),
                Err(error) => {
                    let status = refusal(&error).unwrap_or_else(|| status_of(&error));
                    (status, ptr::null_mut())
                }
            };
            // SAFETY: `callback` has this type, does not unwind, and accepts `user` (contract of
            // the interface).
            thread_state::call_back(|| unsafe {
                thread_state::unwindable(callback)(status, result, user.peek().0)
            });
        });
    }
    let sent = made.wait_or().map_err(of_call)?;
    result.set(Owned::from(sent).take().0);
    Ok(())
}
