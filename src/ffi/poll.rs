//! `poll` and `select` with POSIX's contract, over the system's calls or over those of a host.

use core::ffi::c_void;
use core::time::Duration;

use alloc::format;
use alloc::string::String;

use super::failure::Failure;
use super::run::{nanoseconds, HSW_NO_LIMIT};
use super::{entry, hsw_status, out, thread_state, time_limit};
use crate::poll::errno::Errno;
use crate::poll::shim::{self, Backend, Fd, FdSet, Kind, PollFd, Sets};

/// One descriptor of a poll. It is laid out as `struct pollfd`, so a pointer to those may be cast;
/// the bits are those of `<poll.h>`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_pollfd {
    /// The descriptor; a negative one is skipped.
    pub fd: i32,
    /// The events that are asked for.
    pub events: i16,
    /// The events that hold. Overwritten by every call.
    pub revents: i16,
}

const _: () = assert!(
    size_of::<hsw_pollfd>() == size_of::<PollFd>()
        && align_of::<hsw_pollfd>() == align_of::<PollFd>()
        && core::mem::offset_of!(hsw_pollfd, revents) == core::mem::offset_of!(PollFd, revents)
);

/// What a pending error means for a socket.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum hsw_socket_kind {
    /// TCP. After an error it is over in both directions.
    HSW_KIND_STREAM = 0,
    /// A connection within the machine (Unix domain; stream or sequential packets).
    HSW_KIND_LOCAL = 1,
    /// Datagrams. An error is not the end.
    HSW_KIND_DATAGRAM = 2,
}

/// A system's `poll`: fills in `revents` and returns how many descriptors have any; 0 when
/// `timeout_ns` nanoseconds have passed (`HSW_NO_LIMIT`: no limit; round up), and -E when it has
/// failed with the error E, in Linux' numbers. `mask` is the signal mask that the caller has passed
/// (a `const sigset_t *`), or null. When it fails, `revents` may hold anything that could be true.
pub type hsw_poll_function = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        fds: *mut hsw_pollfd,
        count: usize,
        timeout_ns: u64,
        mask: *const c_void,
    ) -> i32,
>;

/// A system's `select`: leaves in the sets the descriptors that are ready and returns how many are
/// left, or fails, as `hsw_poll_function`. The sets are never null; each is an `fd_set`, or
/// elsewhere than on Linux 32 words of 32 bits. When it fails, they may hold what is ready, or be
/// as they were, or be empty.
pub type hsw_select_function = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        nfds: i32,
        read_set: *mut c_void,
        write_set: *mut c_void,
        except_set: *mut c_void,
        timeout_ns: u64,
        mask: *const c_void,
    ) -> i32,
>;

/// A clock: nanoseconds since any moment. It never goes back.
pub type hsw_clock_function = Option<unsafe extern "C" fn(context: *mut c_void) -> u64>;

/// A question about a socket: the answer, or -E if it failed with the error E.
pub type hsw_socket_question = Option<unsafe extern "C" fn(context: *mut c_void, fd: i32) -> i32>;

/// A system's own calls, which may fail for the pending error of one socket. The functions must not
/// unwind, and not one of them may read a pending error away but `take_error`. Those that are null
/// are not there; `poll` or `select` must be, for the call of the same name.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_net_backend {
    /// Passed to each function.
    pub context: *mut c_void,
    /// The system's `poll`.
    pub poll: hsw_poll_function,
    /// The system's `select`.
    pub select: hsw_select_function,
    /// The clock, read only in calls with a time limit. Null: the system's; without std the
    /// thread's.
    pub now_ns: hsw_clock_function,
    /// An `hsw_socket_kind`. Null: all are `HSW_KIND_STREAM`. This question and the two after it
    /// are asked only about a socket that has a pending error, if the system says no more of it.
    pub kind: hsw_socket_question,
    /// How many bytes a datagram socket has to read (`FIONREAD`). Null: none.
    pub unread: hsw_socket_question,
    /// Not 0 if there is urgent data to read (`SIOCATMARK`). Null: there is none.
    pub urgent: hsw_socket_question,
    /// The pending error of a socket, 0 if it has none (`SO_ERROR`). It is no longer pending then.
    /// Only `hsw_take_error` asks.
    pub take_error: hsw_socket_question,
}

/// The number of an error that a function has returned with its sign changed.
fn failed(answer: i32) -> Errno {
    Errno::from_linux(answer.checked_neg().unwrap_or(i32::MAX))
}

/// Whether a call has succeeded. How many descriptors it says are ready is counted anew.
fn succeeded(answer: i32) -> Result<(), Errno> {
    match answer {
        0.. => Ok(()),
        _ => Err(failed(answer)),
    }
}

/// A function that is not there.
const MISSING: Errno = Errno::from_linux(38); // ENOSYS

/// A host's backend, for one call or for a loop. Its functions are called back: while one of them
/// runs in the main tasklet, the thread's part cannot end.
struct Table {
    table: hsw_net_backend,
    mask: *const c_void,
}

impl Table {
    /// The answer to a question about a socket; 0 if it cannot be asked.
    fn ask(&self, question: hsw_socket_question, fd: Fd) -> i32 {
        question.map_or(0, |ask| {
            let ask = thread_state::unwindable(ask);
            // SAFETY: a function of this type that takes any descriptor and does not unwind, and
            // the context that belongs to it (contract of the interface).
            thread_state::call_back(|| unsafe { ask(self.table.context, fd) })
        })
    }
}

impl Backend for Table {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let poll = thread_state::unwindable(self.table.poll.ok_or(MISSING)?);
        let (pointer, length) = (fds.as_mut_ptr().cast(), fds.len());
        let timeout = timeout.map_or(HSW_NO_LIMIT, nanoseconds);
        // SAFETY: a function of this type that does not unwind, with its context (contract of the
        // interface). `pointer` has so many entries of the same layout (asserted above).
        let answer = thread_state::call_back(|| unsafe {
            poll(self.table.context, pointer, length, timeout, self.mask)
        });
        succeeded(answer).map(|()| fds.iter().filter(|fd| !fd.revents.is_empty()).count())
    }

    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        let select = thread_state::unwindable(self.table.select.ok_or(MISSING)?);
        let timeout = timeout.map_or(HSW_NO_LIMIT, nanoseconds);
        let mut read = sets.read.to_system();
        let mut write = sets.write.to_system();
        let mut except = sets.except.to_system();
        // SAFETY: as above; each set has the size of the system's.
        let answer = thread_state::call_back(|| unsafe {
            select(
                self.table.context,
                sets.nfds(),
                read.as_mut_ptr().cast(),
                write.as_mut_ptr().cast(),
                except.as_mut_ptr().cast(),
                timeout,
                self.mask,
            )
        });
        let ready = Sets {
            read: FdSet::from_system(&read),
            write: FdSet::from_system(&write),
            except: FdSet::from_system(&except),
        };
        // Nobody is ready who was not asked about.
        sets.intersect(&ready);
        succeeded(answer).map(|()| sets.len())
    }

    fn now(&mut self) -> Duration {
        let Some(now) = self.table.now_ns else {
            return system::clock();
        };
        let now = thread_state::unwindable(now);
        // SAFETY: a function of this type that does not unwind, with its context.
        Duration::from_nanos(thread_state::call_back(|| unsafe {
            now(self.table.context)
        }))
    }

    fn kind(&mut self, fd: Fd) -> Kind {
        let said = self.ask(self.table.kind, fd);
        let known = [
            (hsw_socket_kind::HSW_KIND_STREAM, Kind::Stream),
            (hsw_socket_kind::HSW_KIND_LOCAL, Kind::Local),
            (hsw_socket_kind::HSW_KIND_DATAGRAM, Kind::Datagram),
        ];
        let known = known.into_iter().find(|(kind, _)| *kind as i32 == said);
        known.map_or(Kind::Stream, |(_, kind)| kind)
    }

    fn unread(&mut self, fd: Fd) -> usize {
        usize::try_from(self.ask(self.table.unread, fd)).unwrap_or(0)
    }

    fn urgent(&mut self, fd: Fd) -> bool {
        self.ask(self.table.urgent, fd) > 0
    }

    fn take_error(&mut self, fd: Fd) -> Result<Option<Errno>, Errno> {
        if self.table.take_error.is_none() {
            return Err(Errno::ENOPROTOOPT);
        }
        match self.ask(self.table.take_error, fd) {
            0 => Ok(None),
            error if error > 0 => Ok(Some(Errno::from_linux(error))),
            error => Err(failed(error)),
        }
    }
}

cfg_if::cfg_if! {
    if #[cfg(feature = "std")] {
        #[path = "poll/system.rs"]
        mod system;
    } else {
        #[path = "poll/bare.rs"]
        mod system;
    }
}

/// Does it with the host's backend or, if that is null, with the system's. Without the library's
/// part for threads and sockets there is none. What may block for `timeout` is done without the
/// thread's host lock.
///
/// SAFETY: `backend` is null or points to a backend; `mask` is null or points to a signal mask.
unsafe fn with<R>(
    backend: *const hsw_net_backend,
    mask: *const c_void,
    timeout: Option<Duration>,
    what: impl FnOnce(&mut dyn Backend) -> Result<R, Errno>,
) -> Result<Result<R, Errno>, Failure> {
    if backend.is_null() {
        // SAFETY: null, or it points to a signal mask that outlives the call, as the caller has
        // promised.
        return unsafe { system::with(mask, timeout, what) };
    }
    // SAFETY: not null, so it points to a backend, as the caller has promised.
    let table = unsafe { *backend };
    Ok(system::waiting(timeout, || {
        what(&mut Table { table, mask })
    }))
}

/// An error of the call, in words that name the call.
fn of_call(call: &str, errno: Errno) -> Failure {
    Failure::System(errno, format!("{call}: {errno}"))
}

fn invalid(words: String) -> Failure {
    Failure::System(Errno::EINVAL, words)
}

/// SAFETY: as `hsw_ppoll`.
unsafe fn poll(
    name: &str,
    backend: *const hsw_net_backend,
    fds: *mut hsw_pollfd,
    count: usize,
    timeout_ns: u64,
    mask: *const c_void,
    ready: *mut usize,
) -> hsw_status {
    entry(|| {
        let ready = out(ready, "ready")?;
        let timeout = time_limit(timeout_ns)?;
        if fds.is_null() && count != 0 {
            return Err(Failure::Null("fds"));
        }
        // As Linux, without a look at the entries: there may be less memory than that.
        if count > i32::MAX as usize || (backend.is_null() && !system::may_poll(count)) {
            return Err(invalid(format!("{name}: {count} descriptors")));
        }
        let fds: &mut [PollFd] = if count == 0 {
            &mut []
        } else {
            // SAFETY: not null, and it has `count` entries that nobody else uses during the call
            // (contract of the interface), of the same layout (asserted above).
            unsafe { core::slice::from_raw_parts_mut(fds.cast(), count) }
        };
        // SAFETY: passed on.
        let answer = unsafe {
            with(backend, mask, timeout, |calls| {
                shim::poll(calls, fds, timeout)
            })
        }?;
        ready.set(answer.map_err(|errno| of_call(name, errno))?);
        Ok(())
    })
}

/// `poll` with POSIX's contract: it fails only with an error of the call, never with that of a
/// socket, which is marked with `POLLERR` among the others. Fills in `revents`; `*ready` gets how
/// many descriptors have any, 0 when `timeout_ns` nanoseconds have passed (0: does not wait;
/// `HSW_NO_LIMIT`: no limit).
///
/// `backend`: the calls that are used; null for the system's (a library without std has none:
/// `HSW_ERR_NULL`). Blocks the *thread*, without its host lock; to block the tasklet, use sockets.
///
/// `HSW_ERR_IO`: the call has failed, `hsw_last_error_errno` says how (`EINTR`: a signal came;
/// `ENOSYS`: the backend has no `poll`). All `revents` are 0 then. `EINVAL` for more descriptors
/// than the process may have, or than an `int` can count: the array is not touched.
/// `HSW_ERR_ARGUMENT`: the time is negative.
#[no_mangle]
pub unsafe extern "C" fn hsw_poll(
    backend: *const hsw_net_backend,
    fds: *mut hsw_pollfd,
    count: usize,
    timeout_ns: u64,
    ready: *mut usize,
) -> hsw_status {
    let mask = core::ptr::null();
    // SAFETY: the contract of the interface.
    unsafe { poll("poll", backend, fds, count, timeout_ns, mask, ready) }
}

/// As `hsw_poll`, with a signal mask (a `const sigset_t *`) that holds during each call of the
/// system's, instead of the thread's. Null: the thread's.
#[no_mangle]
pub unsafe extern "C" fn hsw_ppoll(
    backend: *const hsw_net_backend,
    fds: *mut hsw_pollfd,
    count: usize,
    timeout_ns: u64,
    mask: *const c_void,
    ready: *mut usize,
) -> hsw_status {
    // SAFETY: the contract of the interface.
    unsafe { poll("ppoll", backend, fds, count, timeout_ns, mask, ready) }
}

/// SAFETY: as `hsw_pselect_fds`.
unsafe fn select(
    name: &str,
    backend: *const hsw_net_backend,
    nfds: i32,
    sets: [*mut c_void; 3],
    timeout_ns: u64,
    mask: *const c_void,
    ready: *mut usize,
) -> hsw_status {
    entry(|| {
        let ready = out(ready, "ready")?;
        let timeout = time_limit(timeout_ns)?;
        let most = FdSet::CAPACITY;
        let Some(nfds) = usize::try_from(nfds).ok().filter(|nfds| *nfds <= most) else {
            let words = format!("{name}: nfds is {nfds}, and not between 0 and {most}");
            return Err(invalid(words));
        };
        let [read, write, except] = sets;
        // SAFETY: null, or sets with room for `nfds` descriptors (contract of the interface).
        let mut asked = unsafe {
            Sets {
                read: FdSet::read_system(read.cast(), nfds),
                write: FdSet::read_system(write.cast(), nfds),
                except: FdSet::read_system(except.cast(), nfds),
            }
        };
        // SAFETY: passed on.
        let answer = unsafe {
            with(backend, mask, timeout, |calls| {
                shim::select(calls, &mut asked, timeout)
            })
        }?;
        let count = answer.map_err(|errno| of_call(name, errno))?;
        // SAFETY: as above.
        unsafe {
            asked.read.write_system(read.cast(), nfds);
            asked.write.write_system(write.cast(), nfds);
            asked.except.write_system(except.cast(), nfds);
        }
        ready.set(count);
        Ok(())
    })
}

/// `select` with POSIX's contract: as `hsw_poll`, for sets of descriptors below `nfds`.
/// (`hsw_select` waits for channels.) Leaves in the sets the descriptors that are ready; `*ready`
/// gets how many they are in all sets together.
///
/// Each set is null or points to the system's `fd_set` (elsewhere than on Linux: words of 32 bits,
/// descriptor `fd` in bit `fd & 31` of word `fd >> 5`); only descriptors below `nfds` are looked
/// at.
///
/// `HSW_ERR_IO`: the call has failed, and the sets are as they were. `EINVAL`: `nfds` is negative,
/// or above 1,024 (`FD_SETSIZE`). `EBADF`: a descriptor in a set is not open. `ENOSYS`: the backend
/// has no `select`.
#[no_mangle]
pub unsafe extern "C" fn hsw_select_fds(
    backend: *const hsw_net_backend,
    nfds: i32,
    read_set: *mut c_void,
    write_set: *mut c_void,
    except_set: *mut c_void,
    timeout_ns: u64,
    ready: *mut usize,
) -> hsw_status {
    let (sets, mask) = ([read_set, write_set, except_set], core::ptr::null());
    // SAFETY: the contract of the interface.
    unsafe { select("select", backend, nfds, sets, timeout_ns, mask, ready) }
}

/// As `hsw_select_fds`, with a signal mask as in `hsw_ppoll`.
#[no_mangle]
pub unsafe extern "C" fn hsw_pselect_fds(
    backend: *const hsw_net_backend,
    nfds: i32,
    read_set: *mut c_void,
    write_set: *mut c_void,
    except_set: *mut c_void,
    timeout_ns: u64,
    mask: *const c_void,
    ready: *mut usize,
) -> hsw_status {
    let sets = [read_set, write_set, except_set];
    // SAFETY: the contract of the interface.
    unsafe { select("pselect", backend, nfds, sets, timeout_ns, mask, ready) }
}

/// The pending error of a socket, in Linux' numbers, 0 if it has none. It is no longer pending
/// then: a program asks this to learn whether a connection was made, or why it was lost.
///
/// `HSW_ERR_IO`: `fd` is no socket, or the backend cannot say.
#[no_mangle]
pub unsafe extern "C" fn hsw_take_error(
    backend: *const hsw_net_backend,
    fd: i32,
    errno_value: *mut i32,
) -> hsw_status {
    entry(|| {
        let errno_value = out(errno_value, "errno_value")?;
        let mask = core::ptr::null();
        // SAFETY: the contract of the interface.
        let answer = unsafe {
            with(backend, mask, Some(Duration::ZERO), |calls| {
                calls.take_error(fd)
            })
        }?;
        let error = answer.map_err(|errno| {
            Failure::System(errno, format!("the error of descriptor {fd}: {errno}"))
        })?;
        errno_value.set(error.map_or(0, Errno::to_linux));
        Ok(())
    })
}

/// From now on the calling thread's main loop polls through this backend (which is copied; its
/// context must last as long as it is in use), under the shim. Null: through the system's calls.
///
/// While it polls, the loop counts as asleep: what its functions do with the library must not
/// switch, wait or pump, and fails with `HSW_ERR_SWITCH_TRAP` or `HSW_ERR_BLOCK_TRAP` if it would.
///
/// `HSW_ERR_NULL`: the backend has no `poll`.
#[cfg(feature = "std")]
#[no_mangle]
pub unsafe extern "C" fn hsw_loop_set_backend(backend: *const hsw_net_backend) -> hsw_status {
    entry(|| {
        let main_loop = crate::MainLoop::current().map_err(Failure::own)?;
        if backend.is_null() {
            drop(main_loop.clear_backend());
            return Ok(());
        }
        // SAFETY: not null, so it points to a backend (contract of the interface).
        let table = unsafe { *backend };
        if table.poll.is_none() {
            return Err(Failure::Null("the backend's poll"));
        }
        let mask = core::ptr::null();
        drop(main_loop.set_backend(alloc::boxed::Box::new(Table { table, mask })));
        Ok(())
    })
}
