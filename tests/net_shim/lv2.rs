//! The backend for the PS3 over a kernel that pretends to be the console's: Linux' calls with the
//! console's structures and numbers, which fail for a socket.

use super::kinds::{Made, KINDS};
use super::QUIRKS;
use super::{reset, wait_for, Quirk};
use hardswitch::net::errno::Errno;
use hardswitch::net::lv2::{self, Entries, Lv2, Timeval};
use hardswitch::net::shim::{self, Backend, Events, FdSet, PollFd, Sets};
use hardswitch::net::Os;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::os::fd::AsRawFd;
use std::time::Duration;

thread_local! {
    static QUIRK: Cell<Quirk> = const { Cell::new(Quirk::Filled) };
    static ERRORS: RefCell<HashMap<i32, Errno>> = RefCell::default();
    static ERRNO: Cell<i32> = const { Cell::new(0) };
    static FAILURES: Cell<usize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Fails with an error, as the console numbers it.
fn fail(errno: Errno) -> i32 {
    ERRNO.set(errno.to_lv2().expect("the console knows it"));
    -1
}

/// Fails for the first socket with an error, if there is one; tells what is left of the answer.
fn outcome(fds: impl Iterator<Item = i32>, n: usize) -> (i32, bool) {
    CALLS.set(CALLS.get() + 1);
    let error = ERRORS.with_borrow(|errors| fds.filter_map(|fd| errors.get(&fd).copied()).next());
    match error {
        None => (n as i32, true),
        Some(error) => {
            FAILURES.set(FAILURES.get() + 1);
            (fail(error), QUIRK.get() == Quirk::Filled)
        }
    }
}

unsafe extern "C" fn poll(fds: *mut PollFd, count: u32, timeout_ms: i32) -> i32 {
    // SAFETY: the caller's array.
    let fds = unsafe { std::slice::from_raw_parts_mut(fds, count as usize) };
    for fd in fds.iter() {
        // IN, PRI and OUT can be asked for.
        assert_eq!(fd.events.bits() & !lv2::POLL_BITS, 0, "{fd:?}");
    }
    let mut answer = fds.to_vec();
    let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    let n = match Os.poll(&mut answer, timeout) {
        Ok(n) => n,
        Err(error) => return fail(error),
    };
    let (result, filled) = outcome(fds.iter().map(|fd| fd.fd), n);
    if filled {
        fds.copy_from_slice(&answer);
    }
    result
}

unsafe extern "C" fn select(
    nfds: i32,
    read: *mut FdSet,
    write: *mut FdSet,
    except: *mut FdSet,
    time: *mut Timeval,
) -> i32 {
    // SAFETY: the caller's sets and time.
    let (read, write, except, time) =
        unsafe { (&mut *read, &mut *write, &mut *except, time.as_ref()) };
    let mut sets = Sets {
        read: *read,
        write: *write,
        except: *except,
    };
    assert_eq!(nfds, sets.nfds());
    let all = sets.members();
    let time = time
        .map(|time| Duration::from_secs(time.sec as u64) + Duration::from_micros(time.usec as u64));
    let n = match Os.select(&mut sets, time) {
        Ok(n) => n,
        Err(error) => return fail(error),
    };
    let (result, filled) = outcome(all.iter(), n);
    if filled {
        (*read, *write, *except) = (sets.read, sets.write, sets.except);
    }
    result
}

unsafe extern "C" fn getsockopt(
    fd: i32,
    level: i32,
    option: i32,
    value: *mut c_void,
    size: *mut u32,
) -> i32 {
    assert_eq!(level, lv2::SOL_SOCKET);
    let option = match option {
        lv2::SO_ERROR => libc::SO_ERROR,
        lv2::SO_TYPE => libc::SO_TYPE,
        other => panic!("{other:#x}"),
    };
    // SAFETY: the caller's.
    let answer = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, value, size) };
    if answer != 0 {
        return fail(Errno::ENOTSOCK);
    }
    if option == libc::SO_ERROR {
        // SAFETY: it has just been written.
        let value = unsafe { &mut *value.cast::<i32>() };
        let error = Errno::from_linux(*value);
        *value = if *value == 0 {
            0
        } else {
            error.to_lv2().expect("known")
        };
    }
    0
}

unsafe extern "C" fn ioctl(fd: i32, request: u32, value: *mut i32) -> i32 {
    let answer = match request {
        lv2::FIONREAD => Os.unread(fd) as i32,
        lv2::SIOCATMARK => i32::from(Os.urgent(fd)),
        other => panic!("{other:#x}"),
    };
    // SAFETY: the caller's.
    unsafe { value.write(answer) };
    0
}

unsafe extern "C" fn errno() -> i32 {
    ERRNO.get()
}

unsafe extern "C" fn now_ns() -> u64 {
    Os.now().as_nanos() as u64
}

fn console() -> Lv2 {
    let entries = Entries {
        poll,
        select,
        getsockopt,
        ioctl: Some(ioctl),
        errno,
        now_ns,
    };
    // SAFETY: they are functions of these types.
    unsafe { Lv2::new(entries) }
}

/// The kinds that there are on a console, where files and the like are no descriptors of these
/// calls: TCP and UDP.
fn crowd() -> Vec<Made> {
    let there = |kind: &str| kind.starts_with("tcp") || kind.starts_with("udp");
    let there = KINDS.iter().filter(|(kind, _)| there(kind));
    let crowd: Vec<Made> = there.map(|kind| Made::new(*kind)).collect();
    let errors = crowd.iter().filter_map(|made| Some((made.fd, made.error?)));
    ERRORS.set(errors.collect());
    crowd
}

#[test]
fn over_the_consoles_calls_poll_answers_as_plain_linux() {
    let crowd = crowd();
    let known = [
        Events::NONE,
        Events::IN,
        Events::OUT | Events::PRI,
        Events::IN | Events::OUT | Events::PRI | Events::RDNORM | Events::WRNORM,
        Events::RDNORM,
        Events::WRNORM | Events::IN,
    ];
    let mut lv2 = console();
    for quirk in QUIRKS {
        QUIRK.set(quirk);
        for turn in 0..known.len() {
            let question = |k: usize| known[(k + turn) % known.len()];
            let mut plain: Vec<_> = (crowd.iter().enumerate())
                .map(|(k, made)| PollFd::new(made.fd, question(k)))
                .collect();
            plain.push(PollFd::new(-1, Events::IN));
            let mut got = plain.clone();
            let n = Os.poll(&mut plain, Some(Duration::ZERO));
            assert_eq!(
                shim::poll(&mut lv2, &mut got, Some(Duration::ZERO)),
                n,
                "{quirk:?}"
            );
            for (k, (plain, got)) in plain.iter().zip(&got).enumerate() {
                let kind = crowd.get(k).map_or("a negative number", |made| made.kind);
                assert_eq!(plain, got, "{quirk:?}, {kind}");
            }
        }
    }
    assert!(FAILURES.get() > 100);
    // Errors in the console's numbers come out in Linux'.
    for made in &crowd {
        if let Some(error) = made.error {
            assert_eq!(lv2.take_error(made.fd), Ok(Some(error)), "{}", made.kind);
            assert_eq!(lv2.take_error(made.fd), Ok(None), "{}", made.kind);
        }
    }
    assert_eq!(lv2.take_error(-1), Err(Errno::ENOTSOCK));
}

#[test]
fn over_the_consoles_calls_select_answers_as_plain_linux() {
    let crowd = crowd();
    let mut lv2 = console();
    for quirk in QUIRKS {
        QUIRK.set(quirk);
        for question in 1..8 {
            for every in 1..5 {
                let mut plain = Sets::new();
                for made in crowd.iter().skip(question).step_by(every) {
                    for (bit, set) in [
                        (1, &mut plain.read),
                        (2, &mut plain.write),
                        (4, &mut plain.except),
                    ] {
                        if question & bit != 0 {
                            set.insert(made.fd).unwrap();
                        }
                    }
                }
                let mut got = plain;
                let n = Os.select(&mut plain, Some(Duration::ZERO));
                let told = shim::select(&mut lv2, &mut got, Some(Duration::ZERO));
                assert_eq!((told, got), (n, plain), "{quirk:?}, {question}, {every}");
            }
        }
    }
    assert!(FAILURES.get() > 100);
}

#[test]
fn a_wait_over_the_consoles_calls_lasts_its_time_and_a_reset_ends_it() {
    let mut lv2 = console();
    for quirk in QUIRKS {
        QUIRK.set(quirk);
        let ((a, b), (c, _d)) = (super::pair(), super::pair());
        ERRORS.set(HashMap::new());
        let mut fds = [a.as_raw_fd(), c.as_raw_fd()].map(|fd| PollFd::new(fd, Events::IN));
        let began = std::time::Instant::now();
        let wait = Duration::from_micros(20_300);
        assert_eq!(shim::poll(&mut lv2, &mut fds, Some(wait)), Ok(0));
        let mut sets = Sets::new();
        sets.read.insert(a.as_raw_fd()).unwrap();
        assert_eq!(shim::select(&mut lv2, &mut sets, Some(wait)), Ok(0));
        assert!(began.elapsed() >= 2 * wait);
        reset(b);
        wait_for(a.as_raw_fd(), Events::ERR);
        ERRORS.set([(a.as_raw_fd(), Errno::ECONNRESET)].into());
        assert_eq!(shim::poll(&mut lv2, &mut fds, Some(Duration::MAX)), Ok(1));
        assert_eq!(fds[0].revents, Events::IN | Events::ERR | Events::HUP);
        assert_eq!(fds[1].revents, Events::NONE);
    }
}

#[test]
fn an_error_of_the_console_that_nobody_knows_is_no_sockets() {
    unsafe extern "C" fn odd(_: *mut PollFd, _: u32, _: i32) -> i32 {
        CALLS.set(CALLS.get() + 1);
        ERRNO.set(110); // on Linux that would be ETIMEDOUT
        -1
    }
    let entries = Entries {
        poll: odd,
        select,
        getsockopt,
        ioctl: None,
        errno,
        now_ns,
    };
    // SAFETY: they are functions of these types.
    let mut lv2 = unsafe { Lv2::new(entries) };
    let mut fds = [PollFd::new(0, Events::IN)];
    let error = shim::poll(&mut lv2, &mut fds, None).unwrap_err();
    assert_eq!(
        (error.name(), error.to_linux() & 0xffff, CALLS.get()),
        (None, 110, 1)
    );
}
