//! `libhardswitch_pollshim.so`: preloaded or linked, it gives a program that was not written for
//! hardswitch the `poll` and `select` of its [shim](shim): they fail only if the call failed, never
//! for the pending error of one socket.
//!
//! ```text
//!   LD_PRELOAD=libhardswitch_pollshim.so:libthe_system.so program
//!
//!   program ── poll, __poll_chk, ppoll, ... ──►  this library ── ppoll, pselect ──►  the next one
//! ```
//!
//! The next one is whatever library has `ppoll` and `pselect` behind this one; usually that is the C
//! library. Nothing of the runtime is in here: no tasklets, no thread-locals, no other names.
//!
//! Programs import `poll` under several names, by how they were compiled: with `_FORTIFY_SOURCE`
//! there is `__poll_chk`, which knows the size of the array. All of them end here. A program that
//! makes system calls by itself, or waits by `epoll`, is not reached.

#![allow(clippy::missing_safety_doc)] // said once: each function has the contract of the C library's
#![deny(unsafe_op_in_unsafe_fn)]

#[allow(dead_code)] // a library for Rust has more of it
#[path = "../../src/poll/errno.rs"]
mod errno;
#[allow(dead_code)] // a library for Rust has more of it
#[path = "../../src/poll/events.rs"]
mod events;
#[allow(dead_code)] // a library for Rust has more of it
#[path = "../../src/poll/sets.rs"]
mod sets;
#[allow(dead_code)] // a library for Rust has more of it
#[path = "../../src/poll/shim.rs"]
mod shim;
#[allow(dead_code)] // a library for Rust has more of it
#[path = "../../src/poll/socket.rs"]
mod socket;

use errno::Errno;
use libc::{c_int, c_long, c_void, fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};
use sets::Word;
use shim::{Backend, Fd, FdSet, Kind, PollFd, Sets};
use socket::check;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::time::{Duration, Instant};

// A thread can be cancelled in these calls, which unwinds it through them and through the functions
// of this library. No frame of the latter has anything to drop.
type Ppoll =
    unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, *const timespec, *const sigset_t) -> c_int;
type Pselect = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *const timespec,
    *const sigset_t,
) -> c_int;

/// A function of the next library that has it, looked up once.
struct Next {
    name: &'static std::ffi::CStr,
    found: AtomicPtr<c_void>,
}

static PPOLL: Next = Next::new(c"ppoll");
static PSELECT: Next = Next::new(c"pselect");

impl Next {
    const fn new(name: &'static std::ffi::CStr) -> Next {
        let found = AtomicPtr::new(ptr::null_mut());
        Next { name, found }
    }

    fn get(&self) -> Result<*mut c_void, Errno> {
        let mut found = self.found.load(Relaxed);
        if found.is_null() {
            // SAFETY: the name ends in a zero byte.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            self.found.store(found, Relaxed);
        }
        if found.is_null() {
            return Err(Errno::from_linux(libc::ENOSYS));
        }
        Ok(found)
    }
}

/// Looks both up before the program runs: the first to poll may be a signal handler, which must not
/// call `dlsym`. A library that polls still earlier looks them up by itself.
#[used]
#[link_section = ".init_array"]
static LOOK_UP: extern "C" fn() = {
    extern "C" fn look_up() {
        let _ = (PPOLL.get(), PSELECT.get()); // who polls is told if there is none
    }
    look_up
};

/// The next library's calls.
struct System {
    /// Null, or the mask that the program has passed.
    mask: *const sigset_t,
    /// When the clock was first read in this call. Each has a clock of its own: one for all would
    /// have to be made once, and a signal handler that polls might interrupt just that.
    began: Option<Instant>,
}

impl System {
    const fn new(mask: *const sigset_t) -> System {
        System { mask, began: None }
    }
}

fn timespec_of(time: Duration) -> timespec {
    timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos() as c_long,
    }
}

impl Backend for System {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let timeout = timeout.map(timespec_of);
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let ppoll = PPOLL.get()?;
        // SAFETY: the C library's `ppoll`, or one that another library has in its place, has this
        // type.
        let ppoll: Ppoll = unsafe { std::mem::transmute(ppoll) };
        // SAFETY: `PollFd` has the layout of `pollfd` (asserted below); the slice is writable for
        // its whole length; the rest is null or lives as long as the call.
        check(unsafe {
            ppoll(
                fds.as_mut_ptr().cast(),
                fds.len() as nfds_t,
                timeout,
                self.mask,
            )
        })
    }

    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        let timeout = timeout.map(timespec_of);
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let pselect = PSELECT.get()?;
        // SAFETY: as above, `pselect`.
        let pselect: Pselect = unsafe { std::mem::transmute(pselect) };
        let mut read = sets.read.to_system();
        let mut write = sets.write.to_system();
        let mut except = sets.except.to_system();
        // SAFETY: the arrays are live, of the size of `fd_set`; the rest is null or lives as long
        // as the call.
        let n = unsafe {
            pselect(
                sets.nfds(),
                read.as_mut_ptr().cast(),
                write.as_mut_ptr().cast(),
                except.as_mut_ptr().cast(),
                timeout,
                self.mask,
            )
        };
        let n = check(n);
        let said = Sets {
            read: FdSet::from_system(&read),
            write: FdSet::from_system(&write),
            except: FdSet::from_system(&except),
        };
        sets.intersect(&said);
        n
    }

    fn now(&mut self) -> Duration {
        self.began.get_or_insert_with(Instant::now).elapsed()
    }
    fn kind(&mut self, fd: Fd) -> Kind {
        socket::kind(fd)
    }
    fn unread(&mut self, fd: Fd) -> usize {
        socket::unread(fd)
    }
    fn urgent(&mut self, fd: Fd) -> bool {
        socket::urgent(fd)
    }
}

const _: () = {
    assert!(size_of::<PollFd>() == size_of::<pollfd>());
    assert!(align_of::<PollFd>() == align_of::<pollfd>());
    assert!(size_of::<FdSet>() == size_of::<fd_set>());
    assert!(align_of::<fd_set>() == align_of::<Word>());
};

/// The result as the C library gives it: -1, and the error in `errno`.
fn told(result: Result<usize, Errno>) -> c_int {
    match result {
        Ok(n) => c_int::try_from(n).unwrap_or(c_int::MAX),
        Err(errno) => {
            // SAFETY: the calling thread's `errno`.
            unsafe { *libc::__errno_location() = errno.to_linux() };
            -1
        }
    }
}

/// A time of the caller's; an error if it is none.
///
/// SAFETY: null, or it points to a time.
unsafe fn time_of(time: *const timespec) -> Result<Option<Duration>, Errno> {
    // SAFETY: passed on.
    let Some(time) = (unsafe { time.as_ref() }) else {
        return Ok(None);
    };
    match (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
            Ok(Some(Duration::new(seconds, nanos)))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// SAFETY: as `ppoll` of the C library.
unsafe fn poll_for(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: Option<Duration>,
    mask: *const sigset_t,
) -> Result<usize, Errno> {
    // As Linux, without a look at the entries: there may be less memory than that.
    if count > c_int::MAX as nfds_t || !socket::may_poll(count as usize) {
        return Err(Errno::EINVAL);
    }
    if fds.is_null() && count > 0 {
        return Err(Errno::EFAULT);
    }
    let fds: &mut [PollFd] = match count {
        0 => &mut [],
        // SAFETY: so many entries that nobody else uses during the call (contract of `poll`), of
        // the same layout (asserted above).
        count => unsafe { std::slice::from_raw_parts_mut(fds.cast(), count as usize) },
    };
    shim::poll(&mut System::new(mask), fds, timeout)
}

/// `poll` of the C library.
#[no_mangle]
pub unsafe extern "C-unwind" fn poll(fds: *mut pollfd, count: nfds_t, timeout_ms: c_int) -> c_int {
    let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    // SAFETY: passed on.
    told(unsafe { poll_for(fds, count, timeout, ptr::null()) })
}

/// `ppoll` of the C library.
#[no_mangle]
pub unsafe extern "C-unwind" fn ppoll(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: passed on.
    told(unsafe { time_of(timeout).and_then(|timeout| poll_for(fds, count, timeout, mask)) })
}

/// Ends a program that has said, of an array, that it is larger than it is: as the C library does.
fn check_size(count: nfds_t, bytes: usize) {
    if bytes / size_of::<pollfd>() < count as usize {
        eprintln!("*** buffer overflow detected ***: {count} descriptors in {bytes} bytes");
        std::process::abort();
    }
}

/// `poll` as fortified programs call it: `bytes` is the size of the array.
#[no_mangle]
pub unsafe extern "C-unwind" fn __poll_chk(
    fds: *mut pollfd,
    count: nfds_t,
    timeout_ms: c_int,
    bytes: usize,
) -> c_int {
    check_size(count, bytes);
    // SAFETY: passed on.
    unsafe { poll(fds, count, timeout_ms) }
}

/// `ppoll` as fortified programs call it.
#[no_mangle]
pub unsafe extern "C-unwind" fn __ppoll_chk(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
    bytes: usize,
) -> c_int {
    check_size(count, bytes);
    // SAFETY: passed on.
    unsafe { ppoll(fds, count, timeout, mask) }
}

/// Where a descriptor is in an `fd_set`, as fortified programs ask: the word's number. A descriptor
/// that no set has room for ends the program, as in the C library: there is no way to refuse it.
#[no_mangle]
pub extern "C" fn __fdelt_chk(fd: c_long) -> c_long {
    if !(0..FdSet::CAPACITY as c_long).contains(&fd) {
        eprintln!("*** buffer overflow detected ***: descriptor {fd} in an fd_set");
        std::process::abort();
    }
    fd / Word::BITS as c_long
}

/// SAFETY: as `pselect` of the C library.
unsafe fn select_for(
    nfds: c_int,
    sets: [*mut fd_set; 3],
    timeout: Option<Duration>,
    mask: *const sigset_t,
) -> Result<usize, Errno> {
    let nfds = usize::try_from(nfds).map_err(|_| Errno::EINVAL)?;
    if nfds > FdSet::CAPACITY {
        // Larger sets than `fd_set` are the program's own invention, but Linux takes them.
        // SAFETY: passed on, to a function of that type.
        return unsafe {
            let pselect: Pselect = std::mem::transmute(PSELECT.get()?);
            let timeout = timeout.map(timespec_of);
            let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
            check(pselect(
                nfds as c_int,
                sets[0],
                sets[1],
                sets[2],
                timeout,
                mask,
            ))
        };
    }
    // SAFETY: passed on.
    let [read, write, except] = sets.map(|set| unsafe { FdSet::read_system(set.cast(), nfds) });
    let mut asked = Sets {
        read,
        write,
        except,
    };
    let n = shim::select(&mut System::new(mask), &mut asked, timeout)?;
    for (set, value) in sets.iter().zip([asked.read, asked.write, asked.except]) {
        // SAFETY: as above.
        unsafe { value.write_system(set.cast(), nfds) };
    }
    Ok(n)
}

/// `select` of the C library. As Linux does, it leaves in `timeout` the time that was left.
#[no_mangle]
pub unsafe extern "C-unwind" fn select(
    nfds: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: null, or it points to a time that may be written to.
    let Some(limit) = (unsafe { timeout.as_mut() }) else {
        // SAFETY: passed on.
        return told(unsafe { select_for(nfds, [read, write, except], None, ptr::null()) });
    };
    // Linux takes more microseconds than a second has.
    let (Ok(seconds), Ok(micros)) = (u64::try_from(limit.tv_sec), u64::try_from(limit.tv_usec))
    else {
        return told(Err(Errno::EINVAL));
    };
    let time = Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros));
    let began = Instant::now();
    // SAFETY: passed on.
    let n = told(unsafe { select_for(nfds, [read, write, except], Some(time), ptr::null()) });
    let left = time.saturating_sub(began.elapsed());
    limit.tv_sec = libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX);
    limit.tv_usec = c_long::from(left.subsec_micros());
    n
}

/// `pselect` of the C library.
#[no_mangle]
pub unsafe extern "C-unwind" fn pselect(
    nfds: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let sets = [read, write, except];
    // SAFETY: passed on.
    told(unsafe { time_of(timeout).and_then(|timeout| select_for(nfds, sets, timeout, mask)) })
}
