//! The library of core and alloc alone, with a clock that the host brings: timeouts, limits and
//! budgets happen when that clock says.
//!
//! `cargo test --no-default-features --test no_std`: the library is built without std then; this
//! host has it.
#![cfg(not(feature = "std"))]

use hardswitch::time::{self, set_clock, timeout, Deadline};
use hardswitch::{
    join, main_tasklet, run, run_with, schedule, spawn, Budget, Channel, Error, QueueChannel,
    Result, Select, Settings, StateError, Tasklet,
};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

thread_local! {
    static CELL: Cell<*const c_void> = const { Cell::new(std::ptr::null()) };
    static NOW: Cell<u64> = const { Cell::new(0) };
    /// How often somebody looked at the clock.
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

#[no_mangle]
extern "C" fn hsw_host_thread_cell() -> *mut *const c_void {
    CELL.with(Cell::as_ptr)
}

/// # Safety
/// `text` is `length` bytes.
#[no_mangle]
unsafe extern "C" fn hsw_host_fatal(text: *const u8, length: usize) -> ! {
    // SAFETY: the caller's promise.
    let text = unsafe { std::slice::from_raw_parts(text, length) };
    eprintln!("{}", String::from_utf8_lossy(text));
    std::process::abort()
}

/// Nanoseconds; stands still until the host moves it.
fn host_clock() -> u64 {
    LOOKS.set(LOOKS.get() + 1);
    NOW.get()
}

/// Goes on by a microsecond each time somebody looks.
fn ticking_clock() -> u64 {
    NOW.set(NOW.get() + 1000);
    NOW.get()
}

fn pass(time: Duration) -> usize {
    NOW.set(NOW.get() + time.as_nanos() as u64);
    time::fire_due()
}

/// Runs a test on a scheduler of its own, with own stacks and with sliced ones, and ends that as
/// hosts do.
fn fresh(test: fn(fn() -> hardswitch::Builder)) {
    let own: fn() -> hardswitch::Builder = Tasklet::builder;
    // SAFETY: tasklets of these tests own what they use or share it through Rc; none lends its
    // stack.
    let sliced: fn() -> hardswitch::Builder = || unsafe { Tasklet::builder().sliced() };
    for builder in [own, sliced] {
        let thread = std::thread::spawn(move || {
            Settings::console().apply().unwrap();
            test(builder);
            // SAFETY: the test has dropped what it made.
            unsafe { hardswitch::end_thread() };
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A list of what happened.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn add(&self, what: impl std::fmt::Debug) {
        self.0.borrow_mut().push(format!("{what:?}"));
    }
    fn take(&self) -> String {
        self.0.take().join(" ")
    }
}

#[test]
fn without_a_clock_whatever_has_a_time_says_so() {
    fresh(|_| {
        let channel: Channel<i32> = Channel::new();
        assert_eq!((time::now(), time::until_next()), (None, None));
        let no_clock = |result: Result<()>| {
            assert!(
                matches!(result, Err(Error::State(StateError::NoClock))),
                "{result:?}"
            );
        };
        no_clock(channel.receive_timeout(MS).map(drop));
        no_clock(channel.send_timeout(1, MS).map_err(|(error, _)| error));
        let mut select = Select::new();
        select.receive(&channel);
        no_clock(select.wait_timeout(MS).map(drop));
        no_clock(timeout(MS, || panic!("not called")));
        no_clock(run_with(Budget::time(MS)).map(drop));
        // No time at all needs no clock.
        assert!(matches!(
            channel.receive_timeout(Duration::ZERO),
            Err(Error::Timeout)
        ));
        assert!(matches!(channel.receive(), Err(Error::Deadlock)));
        assert_eq!((channel.balance(), time::timeouts()), (0, 0));
    });
}

#[test]
fn timeouts_happen_when_the_hosts_clock_says() {
    fresh(|build| {
        set_clock(Some(host_clock));
        let (log, channel) = (Log::default(), Channel::<i32>::new());
        for wait in [30, 10, 20] {
            let (logs, c) = (log.clone(), channel.clone());
            build()
                .spawn(move || {
                    let waited = c.receive_timeout(wait * MS);
                    logs.add((wait, matches!(waited, Err(Error::Timeout))));
                    if let Ok(value) = waited {
                        logs.add(value);
                    }
                })
                .unwrap();
        }
        run().unwrap();
        assert_eq!((channel.balance(), time::timeouts()), (-3, 3));
        assert_eq!(time::until_next(), Some(10 * MS));
        assert_eq!(pass(10 * MS - Duration::from_nanos(1)), 0);
        assert_eq!(pass(Duration::from_nanos(1)), 1);
        run().unwrap();
        assert_eq!(log.take(), "(10, true)");
        channel.send(5).unwrap();
        run().unwrap();
        assert_eq!(log.take(), "(30, false) 5");
        assert_eq!(time::until_next(), Some(10 * MS));
        assert_eq!((pass(1000 * MS), channel.balance()), (1, 0));
        run().unwrap();
        assert_eq!(log.take(), "(20, true)");
        assert_eq!((time::until_next(), time::timeouts()), (None, 0));
        // Nobody looks at the clock of a thread without timeouts.
        LOOKS.set(0);
        assert_eq!((time::fire_due(), LOOKS.get()), (0, 0));
    });
}

#[test]
fn main_waits_for_its_own_time_and_lets_the_others_run() {
    fresh(|build| {
        set_clock(Some(ticking_clock));
        let (log, channel) = (Log::default(), Channel::<i32>::new());
        let (logs, c) = (log.clone(), channel.clone());
        build()
            .spawn(move || {
                for _ in 0..5 {
                    schedule()?;
                }
                logs.add("ran");
                logs.add(c.receive_timeout(MS).is_err());
                Ok(())
            })
            .unwrap();
        let start = time::now().unwrap();
        let never = Channel::<()>::new();
        assert!(matches!(never.receive_timeout(2 * MS), Err(Error::Timeout)));
        assert!(time::now().unwrap() - start >= 2 * MS);
        assert_eq!(log.take(), "\"ran\" true");
        assert_eq!((channel.balance(), never.balance()), (0, 0));
    });
}

#[test]
fn the_last_one_waits_for_the_times_of_the_others() {
    fresh(|build| {
        set_clock(Some(ticking_clock));
        let channel = Channel::new();
        let sender = channel.clone();
        build()
            .spawn(move || {
                let waited = Channel::<()>::new().receive_timeout(MS);
                assert!(matches!(waited, Err(Error::Timeout)));
                sender.send(1)
            })
            .unwrap();
        build().spawn(|| ()).unwrap();
        // The one waits, the other ends, and main is blocked without a timeout.
        assert_eq!(channel.receive().unwrap(), 1);
        run().unwrap();
        assert!(matches!(channel.receive(), Err(Error::Deadlock)));
        assert!(main_tasklet().is_current());
    });
}

#[test]
fn a_select_and_a_queue_keep_their_times() {
    fresh(|build| {
        set_clock(Some(host_clock));
        let (log, a, b) = (
            Log::default(),
            Channel::<i32>::new(),
            QueueChannel::bounded(1),
        );
        let (logs, from, to) = (log.clone(), a.clone(), b.clone());
        b.send(0).unwrap();
        build()
            .spawn(move || {
                let mut select = Select::new();
                select.receive(&from);
                let send = select.send(&to, 1);
                logs.add(
                    select
                        .wait_timeout(5 * MS)
                        .map(|done| done.index())
                        .is_err(),
                );
                let mut select = Select::new();
                select.receive(&from);
                select.send(&to, 2);
                let mut done = select.wait_timeout(5 * MS)?;
                logs.add((done.index(), done.sent(send)));
                Ok(())
            })
            .unwrap();
        run().unwrap();
        assert_eq!((a.balance(), b.balance()), (-1, 2));
        assert_eq!(pass(5 * MS), 1);
        run().unwrap();
        assert_eq!(b.receive().unwrap(), 0);
        run().unwrap();
        assert_eq!(log.take(), "true (1, Some(Ok(())))");
        assert_eq!(
            (b.receive().unwrap(), a.balance(), time::timeouts()),
            (2, 0, 0)
        );
    });
}

#[test]
fn budgets_in_time_are_kept() {
    fresh(|build| {
        set_clock(Some(host_clock));
        let turns = Rc::new(Cell::new(0));
        for _ in 0..2 {
            let turns = turns.clone();
            build()
                .spawn(move || -> Result<()> {
                    loop {
                        turns.set(turns.get() + 1);
                        NOW.set(NOW.get() + 1_000_000);
                        schedule()?;
                    }
                })
                .unwrap();
        }
        let report = run_with(Budget::time(10 * MS)).unwrap();
        assert_eq!((turns.get(), report.switches, report.runnable), (10, 10, 2));
        assert!(report.used_up && report.interrupted.is_some());
        let report = run_with(Budget::time(10 * MS).and_switches(3)).unwrap();
        assert_eq!((turns.get(), report.left.max_time()), (13, Some(7 * MS)));
    });
}

#[test]
fn limits_nest_and_results_are_joined() {
    fresh(|build| {
        set_clock(Some(host_clock));
        let handle = join::spawn_with(build(), || {
            let inner = timeout(5 * MS, || Channel::<()>::new().receive());
            assert!(matches!(inner, Err(Error::Timeout)));
            timeout(5 * MS, || {
                let inner = timeout(1000 * MS, || Channel::<()>::new().receive());
                assert!(matches!(inner, Err(Error::Thrown(_))), "not its own");
                inner
            })
        })
        .unwrap();
        for _ in 0..2 {
            run().unwrap();
            assert!(!handle.is_done());
            assert_eq!(pass(5 * MS), 1);
        }
        assert!(matches!(handle.join(), Err(Error::Timeout)));
        assert_eq!(time::timeouts(), 0);
        // Main's own, on a clock that goes on by itself.
        set_clock(Some(ticking_clock));
        let deadline = Deadline::after(MS).unwrap();
        assert!(matches!(
            deadline.limit(|| Channel::<()>::new().receive()),
            Err(Error::Timeout)
        ));
        assert_eq!(deadline.left(), Some(Duration::ZERO));
        let value = join::all([
            join::spawn_with(build(), || Ok(1)).unwrap(),
            join::spawn_with(build(), || Ok(2)).unwrap(),
        ]);
        assert_eq!(value.unwrap(), [1, 2]);
    });
}

#[test]
fn a_thread_that_ends_kills_who_waits_for_a_time() {
    fresh(|build| {
        set_clock(Some(host_clock));
        let t = build()
            .spawn(|| Channel::<()>::new().receive_timeout(MS).map(drop))
            .unwrap();
        spawn(|| timeout(MS, || Channel::<()>::new().receive())).unwrap();
        run().unwrap();
        assert_eq!(time::timeouts(), 2);
        assert!(t.is_blocked());
    });
}

mod poll {
    //! The C calls over a host's own, which fail for the reset of descriptor 3.

    use std::ffi::c_void;
    use std::ptr::{null, null_mut};

    #[repr(C)]
    #[derive(Debug, PartialEq)]
    pub struct PollFd(i32, i16, i16);

    type Poll = unsafe extern "C" fn(*mut c_void, *mut PollFd, usize, u64, *const c_void) -> i32;
    type Question = unsafe extern "C" fn(*mut c_void, i32) -> i32;

    #[repr(C)]
    struct Backend {
        context: *mut c_void,
        poll: Option<Poll>,
        select: Option<Poll>,
        now_ns: Option<Question>,
        questions: [Option<Question>; 4],
    }

    extern "C" {
        fn hsw_poll(
            backend: *const Backend,
            fds: *mut PollFd,
            count: usize,
            timeout_ns: u64,
            ready: *mut usize,
        ) -> i32;
        fn hsw_last_error_errno() -> i32;
    }

    unsafe extern "C" fn fails(
        calls: *mut c_void,
        fds: *mut PollFd,
        count: usize,
        _: u64,
        _: *const c_void,
    ) -> i32 {
        // SAFETY: the test's counter, and what the library passes.
        let (calls, fds) = unsafe {
            (
                &mut *calls.cast::<usize>(),
                std::slice::from_raw_parts_mut(fds, count),
            )
        };
        *calls += 1;
        if fds.iter().any(|fd| fd.0 == 3) {
            return -104;
        }
        if fds.iter().any(|fd| fd.0 == 99) {
            return -12;
        }
        fds.iter_mut().for_each(|fd| fd.2 = fd.1 & 4);
        count as i32
    }

    #[test]
    fn over_a_hosts_calls_it_needs_no_std() {
        let mut calls = 0_usize;
        let mut backend = Backend {
            context: (&raw mut calls).cast(),
            poll: Some(fails),
            select: None,
            now_ns: None,
            questions: [None; 4],
        };
        let mut ready = 77;
        let mut fds = [PollFd(3, 1, 9), PollFd(4, 5, 9)];
        // SAFETY: as the header has it; so below.
        let status = unsafe { hsw_poll(&backend, fds.as_mut_ptr(), 2, 0, &mut ready) };
        assert_eq!((status, ready, calls), (0, 2, 3));
        // IN, ERR and HUP: reset. The other one can be written.
        assert_eq!(fds, [PollFd(3, 1, 0x19), PollFd(4, 5, 4)]);
        // An error of the call, with its number.
        fds[0] = PollFd(99, 1, 0);
        // SAFETY: as above.
        let (status, errno) = unsafe {
            let status = hsw_poll(&backend, fds.as_mut_ptr(), 2, 0, &mut ready);
            (status, hsw_last_error_errno())
        };
        assert_eq!((status, errno), (15, 12));
        backend.poll = None;
        // SAFETY: as above.
        let statuses = unsafe {
            [
                hsw_poll(&backend, null_mut(), 0, 0, &mut ready),
                hsw_poll(null(), null_mut(), 0, 0, &mut ready),
            ]
        };
        // There is no system to ask.
        assert_eq!(statuses, [15, 32]);
    }
}
