//! Blocking functions of C's on worker threads.

use core::ffi::c_void;

use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, out, time_limit, Failure};
use crate::offload::Call;

/// A blocking function, called on a worker thread. It may use nothing that belongs to the tasklet's thread: no handle, and no
/// address of a sliced stack. What it returns is the result. It must not unwind.
pub type hsw_job = Option<unsafe extern "C" fn(argument: *mut c_void) -> *mut c_void>;

/// A pointer on its way to a worker and back.
struct Sent(Owned);

// SAFETY: `hsw_offload` says that argument and result cross threads, and that their functions may be called on either.
unsafe impl Send for Sent {}

/// Calls `job(argument)` on a thread of the process's worker pool. The calling tasklet is blocked meanwhile, the others run.
///
/// The argument is the runtime's from now on, also when this call fails: if the job is never called, `destroy_argument` frees it;
/// once called, the job must. The result is the caller's. If the caller does not wait to the end (it was killed, or
/// `timeout_ns` nanoseconds were over: `HSW_ERR_TIMEOUT`), the job still runs on, and its result is freed with `destroy_result`. Both
/// functions may be null, and may be called on any thread.
#[no_mangle]
pub unsafe extern "C" fn hsw_offload(
    job: hsw_job,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
    destroy_result: hsw_destroy,
    timeout_ns: u64,
    result: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let argument = Sent(Owned::new(argument, destroy_argument));
        let result = out(result, "result")?;
        let job = job.ok_or(Failure::Null("job"))?;
        let call = Call::new(move || {
            // The whole of it, not just the pointer, which cannot cross threads.
            let Sent(owned) = { argument };
            let (pointer, _) = owned.take();
            // SAFETY: the contract of the interface: a job, with the argument given for it, called once.
            Sent(Owned::new(unsafe { job(pointer) }, destroy_result))
        });
        let call = match time_limit(timeout_ns) {
            Some(timeout) => call.timeout(timeout),
            None => call,
        };
        result.set(call.wait()?.0.take().0);
        Ok(())
    })
}

/// Sizes of the worker pool, before its first use: threads at most, bytes of stack of each, calls that may wait for one.
/// `HSW_ERR_SETTINGS`: it is in use already, or a value cannot be.
#[no_mangle]
pub extern "C" fn hsw_offload_configure(
    threads: usize,
    stack_size: usize,
    queue: usize,
) -> hsw_status {
    entry(|| {
        let settings = crate::offload::Settings {
            threads,
            stack_size,
            queue,
        };
        Ok(crate::offload::configure(settings)?)
    })
}
