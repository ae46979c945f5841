//! What several tests need.
#![allow(dead_code)]

use hardswitch::{spill, Builder, Outcome, Result, Settings, Tasklet};
use std::cell::RefCell;
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How a test makes its tasklets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stacks {
    Own,
    Window,
}

impl Stacks {
    pub fn builder(self) -> Builder {
        match self {
            Stacks::Own => Tasklet::builder(),
            // SAFETY: tasklets of these tests own what they use or share it through Rc; none lends
            // its stack.
            Stacks::Window => unsafe { Tasklet::builder().sliced() },
        }
    }

    /// Queued.
    pub fn spawn<R: Outcome>(self, f: impl FnOnce() -> R + 'static) -> Tasklet {
        self.builder().spawn(f).expect("a queued tasklet")
    }
}

/// Runs a test on fresh schedulers: with own stacks, and with all tasklets in one window.
pub fn fresh(test: fn(Stacks)) {
    for stacks in [Stacks::Own, Stacks::Window] {
        let thread = std::thread::Builder::new().name(format!("{stacks:?}"));
        let thread = thread.spawn(move || {
            let settings = Settings {
                windows: 1,
                ..Settings::default()
            };
            settings.apply().expect("settings of a new thread");
            test(stacks);
        });
        if let Err(panic) = thread.expect("a thread").join() {
            eprintln!("with {stacks:?}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// The connection is reset instead of ended when it is closed: by the drop of this handle, if no
/// other has it.
pub fn reset_when_closed(socket: &impl AsRawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: `linger` is live, and `size` is its size.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        )
    };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
}

/// Do sliced tasklets share windows? Not where a sanitizer looks on: there all have stacks of their
/// own.
pub fn has_slices() -> bool {
    let ask = || {
        let tasklet = Stacks::Window.builder().bind(|| ());
        tasklet.expect("a tasklet").is_sliced()
    };
    let has = std::thread::spawn(ask).join().expect("an answer");
    assert_eq!(has, !cfg!(any(feature = "asan", feature = "tsan")));
    has
}

/// Runs `f` in a forked child and returns what it wrote to standard error, and
/// how it ended: the signal, or the negative exit status.
pub fn child(f: impl FnOnce()) -> (String, i32) {
    // A child of an emulator cannot open files if another thread of its parent was about to, so the
    // library has read what it reads, once, before that.
    hardswitch::testing::mappings();
    let mut ends = [0; 2];
    // SAFETY: plain system calls. The child of a test with several threads
    // has one; it uses what was made before the fork, allocates (glibc keeps
    // malloc usable in a forked child) and ends without returning.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        let pid = libc::fork();
        assert!(pid >= 0, "no process to be had");
        if pid == 0 {
            libc::dup2(ends[1], 2);
            libc::close(ends[0]);
            libc::close(ends[1]);
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            // A panic must not unwind into what the parent was doing.
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            libc::_exit(if ended.is_ok() { 0 } else { 101 });
        }
        libc::close(ends[1]);
        let mut text = String::new();
        File::from_raw_fd(ends[0])
            .read_to_string(&mut text)
            .unwrap();
        let mut status = 0;
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
        let end = if libc::WIFSIGNALED(status) {
            libc::WTERMSIG(status)
        } else {
            -libc::WEXITSTATUS(status)
        };
        (text, end)
    }
}

/// How deep tasklets lie: on which stacks, and whether they spill on the way.
pub const DEPTHS: [(Stacks, bool); 3] = [
    (Stacks::Own, false),
    (Stacks::Window, false),
    (Stacks::Window, true),
];

/// Frames that [`descend`] goes down, where a test has no reason for another number.
pub const LEVELS: usize = 200;

/// Settings with room for so many; with `spills` in the heap.
pub fn deep(spills: bool) -> Settings {
    Settings {
        windows: 1,
        stack_size: 256 * 1024,
        window_size: if spills { 16 } else { 256 } * 1024,
        watermark: 4 * 1024,
        ..Settings::default()
    }
}

/// Goes `levels` native frames deeper, each of which owns what `frame` makes, and calls `bottom`
/// there; with `spills`, all but the last few are in the heap then.
pub fn descend<F: 'static>(
    levels: usize,
    spills: bool,
    frame: impl Fn() -> F + 'static,
    bottom: Box<dyn FnOnce() -> Result<()>>,
) -> Result<()> {
    let owned = frame();
    if levels == 1 {
        return std::hint::black_box(bottom());
    }
    let deeper = move || descend(levels - 1, spills, frame, bottom);
    let result = match spills {
        true => spill::call(deeper).and_then(|result| result),
        false => deeper(),
    };
    drop(owned);
    std::hint::black_box(result)
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub fn add(&self, what: impl Display) {
        self.0.borrow_mut().push(what.to_string());
    }

    /// All of it, and forgets it.
    pub fn take(&self) -> String {
        self.0.take().join(" ")
    }
}

/// The message of the error that came.
pub fn told<T>(result: hardswitch::Result<T>) -> String {
    match result {
        Ok(_) => "no error".into(),
        Err(error) => error.to_string(),
    }
}

/// Waits until another thread has brought `condition` about. The calling thread sleeps in the
/// system meanwhile and does not give up a host lock that it holds.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Pseudorandom numbers (xorshift64). The same seed, which must not be 0, gives the same numbers.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
