//! `hsw_poll` and a loop's backend in C: what a backend's functions may not do, and what a call
//! leaves alone.
#![cfg(feature = "std")]

use hardswitch::thread::{host_lock, HostLock};
use hardswitch::time::set_clock;
use std::cell::Cell;
use std::ffi::c_void;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const HSW_OK: i32 = 0;
const HSW_ERR_STATE: i32 = 11;
const HSW_ERR_IO: i32 = 15;
const HSW_NO_LIMIT: u64 = u64::MAX;

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

type Question = Option<extern "C" fn(*mut c_void, i32) -> i32>;

#[repr(C)]
struct Backend {
    context: *mut c_void,
    poll: Option<extern "C" fn(*mut c_void, *mut PollFd, usize, u64, *const c_void) -> i32>,
    select: *const c_void,
    now_ns: Option<extern "C" fn(*mut c_void) -> u64>,
    kind: Question,
    unread: Question,
    urgent: Question,
    take_error: Question,
}

impl Backend {
    fn new(
        poll: extern "C" fn(*mut c_void, *mut PollFd, usize, u64, *const c_void) -> i32,
    ) -> Backend {
        Backend {
            context: null_mut(),
            poll: Some(poll),
            select: null(),
            now_ns: None,
            kind: None,
            unread: None,
            urgent: None,
            take_error: None,
        }
    }
}

extern "C" {
    fn hsw_init(settings: *const c_void) -> i32;
    fn hsw_last_error_errno() -> i32;
    fn hsw_loop_set_backend(backend: *const Backend) -> i32;
    fn hsw_poll(
        backend: *const Backend,
        fds: *mut PollFd,
        count: usize,
        timeout_ns: u64,
        ready: *mut usize,
    ) -> i32;
    fn hsw_run_until_idle() -> i32;
    fn hsw_thread_exit() -> i32;
}

/// The system's `poll`.
extern "C" fn plain(
    _: *mut c_void,
    fds: *mut PollFd,
    count: usize,
    timeout_ns: u64,
    _: *const c_void,
) -> i32 {
    let millis = match timeout_ns {
        HSW_NO_LIMIT => -1,
        limit => i32::try_from(limit.div_ceil(1_000_000)).unwrap_or(i32::MAX),
    };
    // SAFETY: the array is live, has `count` entries and the layout of the system's.
    let n = unsafe { libc::poll(fds.cast(), count as libc::nfds_t, millis) };
    if n < 0 {
        return -std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    }
    n
}

thread_local! {
    /// What the backend's functions were told, and how many they were.
    static TOLD: Cell<(i32, usize)> = const { Cell::new((0, 0)) };
}

fn leave() {
    // SAFETY: no arguments.
    let told = unsafe { hsw_thread_exit() };
    TOLD.set((told, TOLD.get().1 + 1));
}

#[test]
fn a_thread_does_not_end_in_a_function_of_a_backend() {
    extern "C" fn poll(
        context: *mut c_void,
        fds: *mut PollFd,
        count: usize,
        timeout_ns: u64,
        mask: *const c_void,
    ) -> i32 {
        leave();
        plain(context, fds, count, timeout_ns, mask)
    }
    extern "C" fn fails(_: *mut c_void, _: *mut PollFd, _: usize, _: u64, _: *const c_void) -> i32 {
        leave();
        -libc::ECONNRESET
    }
    extern "C" fn now(_: *mut c_void) -> u64 {
        leave();
        0
    }
    extern "C" fn kind(_: *mut c_void, _: i32) -> i32 {
        leave();
        0
    }
    // SAFETY: null stands for the default settings.
    assert_eq!(unsafe { hsw_init(null()) }, HSW_OK);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut fd = PollFd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut ready = 99;
    let backend = Backend::new(poll);
    // SAFETY: all are live, and one descriptor is one.
    let status = unsafe { hsw_poll(&backend, &mut fd, 1, 0, &mut ready) };
    assert_eq!((status, ready, TOLD.get()), (HSW_OK, 0, (HSW_ERR_STATE, 1)));

    // The clock, the call, the probe, the question about the socket.
    TOLD.set((0, 0));
    let broken = Backend {
        now_ns: Some(now),
        kind: Some(kind),
        ..Backend::new(fails)
    };
    // SAFETY: as above.
    let status = unsafe { hsw_poll(&broken, &mut fd, 1, 1_000_000, &mut ready) };
    assert_eq!((status, ready), (HSW_OK, 1));
    assert_eq!(TOLD.get(), (HSW_ERR_STATE, 4));

    // In a pump of the loop.
    TOLD.set((0, 0));
    // SAFETY: the backend is live, and copied.
    assert_eq!(unsafe { hsw_loop_set_backend(&backend) }, HSW_OK);
    // Longer than a slow machine takes until the loop polls.
    hardswitch::spawn(|| hardswitch::sleep(Duration::from_millis(1000))).unwrap();
    // SAFETY: no arguments.
    assert_eq!(unsafe { hsw_run_until_idle() }, HSW_OK);
    let (told, times) = TOLD.get();
    assert_eq!(told, HSW_ERR_STATE);
    assert!(times > 0);
    // Outside it may.
    // SAFETY: no arguments.
    assert_eq!(unsafe { hsw_thread_exit() }, HSW_OK);
}

#[test]
fn what_is_ready_is_counted_whatever_a_backend_answers() {
    extern "C" fn poll(
        context: *mut c_void,
        fds: *mut PollFd,
        _: usize,
        _: u64,
        _: *const c_void,
    ) -> i32 {
        if !context.is_null() {
            // SAFETY: the test below passes three.
            unsafe { (*fds.add(1)).revents = libc::POLLIN };
        }
        5
    }
    let mut fds = [PollFd {
        fd: 0,
        events: libc::POLLIN,
        revents: 0,
    }; 3];
    for (context, right) in [(null_mut(), 0), (fds.as_mut_ptr().cast(), 1)] {
        let backend = Backend {
            context,
            ..Backend::new(poll)
        };
        let mut ready = 99;
        // SAFETY: all are live, and the array has three.
        let status = unsafe { hsw_poll(&backend, fds.as_mut_ptr(), 3, 0, &mut ready) };
        assert_eq!((status, ready), (HSW_OK, right));
    }
}

#[test]
fn a_poll_over_a_backend_waits_without_the_host_lock() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap();
    let lock = HostLock::new(host_lock::Settings::default());
    lock.join().unwrap();
    let other = lock.clone();
    let (done, is_done) = mpsc::channel();
    let sender = thread::spawn(move || {
        // Only the owner of the lock sends.
        other.join().unwrap();
        UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .send_to(b"!", to)
            .unwrap();
        other.leave();
        done.send(()).unwrap();
    });
    let mut fd = PollFd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut ready = 99;
    let backend = Backend::new(plain);
    // With the lock held this would be the whole time.
    // SAFETY: all are live, and one descriptor is one.
    let status = unsafe { hsw_poll(&backend, &mut fd, 1, 20_000_000_000, &mut ready) };
    assert_eq!((status, ready), (HSW_OK, 1));
    lock.leave();
    is_done.recv().unwrap();
    sender.join().unwrap();
}

#[test]
fn more_descriptors_than_the_process_may_have_are_an_error_that_touches_nothing() {
    let before = PollFd {
        fd: -1,
        events: 1,
        revents: 7,
    };
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is live and writable.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(asked, 0);
    let most = usize::try_from(limit.rlim_cur).unwrap();
    // If no process can have so many, more are more than an `int` counts.
    let too_many = most.saturating_add(1).min(i32::MAX as usize + 1);
    for count in [too_many, i32::MAX as usize + 1, usize::MAX] {
        let (mut fd, mut ready) = (before, 99);
        // SAFETY: so many are not looked at.
        let status = unsafe { hsw_poll(null(), &mut fd, count, 0, &mut ready) };
        assert_eq!((status, fd, ready), (HSW_ERR_IO, before, 99), "{count}");
        // SAFETY: no arguments.
        assert_eq!(unsafe { hsw_last_error_errno() }, libc::EINVAL);
    }
    // As many as there may be are no error.
    let most = most.min(1 << 16);
    let (mut fds, mut ready) = (vec![before; most], 99);
    // SAFETY: the array has so many.
    let status = unsafe { hsw_poll(null(), fds.as_mut_ptr(), most, 0, &mut ready) };
    assert_eq!((status, ready), (HSW_OK, 0));
    assert!(fds.iter().all(|fd| fd.revents == 0));
}

#[test]
fn a_backend_without_a_clock_waits_its_time_once_whatever_the_threads_clock_says() {
    thread_local! {
        static CALLS: Cell<usize> = const { Cell::new(0) };
    }
    // Waits all of its time, and fails then for an error that no socket has.
    extern "C" fn late(
        context: *mut c_void,
        fds: *mut PollFd,
        count: usize,
        timeout_ns: u64,
        mask: *const c_void,
    ) -> i32 {
        let n = plain(context, fds, count, timeout_ns, mask);
        if timeout_ns == 0 {
            return n;
        }
        CALLS.set(CALLS.get() + 1);
        -libc::ECONNRESET
    }
    // A game's clock, between two frames.
    let old = set_clock(Some(|| 7_000_000_000));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut fd = PollFd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let (mut ready, backend, began) = (99, Backend::new(late), Instant::now());
    // SAFETY: all are live, and one descriptor is one.
    let status = unsafe { hsw_poll(&backend, &mut fd, 1, 30_000_000, &mut ready) };
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert_eq!((status, ready, CALLS.get()), (HSW_OK, 0, 1));
    set_clock(old);
}
