//! The fields that only few tasklets need, in a box of its own.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::ops::Range;
use core::panic::Location;
use core::ptr;

use crate::core::contain::drop_each;
use crate::machine::stack::slice::Buffer;

use crate::error::{Error, Result};
use crate::machine::arch::FpEnv;
use crate::machine::exceptions::Exceptions;
use crate::machine::fiber::Fiber;

/// Called with the uncaught error of a tasklet, in that tasklet. `Ok` swallows
/// the error; an error goes on to main or the innermost [`run`](crate::run).
/// The tasklet's [own handler](crate::Tasklet::set_error_handler) is asked first.
pub type ErrorHandler = Rc<dyn Fn(&Error) -> Result<()>>;

/// The fields that only few tasklets need.
pub struct Extra {
    pub name: Option<Box<str>>,
    pub exceptions: Exceptions,
    pub fp: FpEnv,
    /// Size of the own stack in bytes; 0 is the default of the settings.
    pub stack_size: usize,
    /// Frames that spills moved to the heap, and how many bytes they are.
    pub spilled: *mut Spilled,
    pub spilled_bytes: usize,
    /// With `SEGMENT`: the lowest address of the window that is in use, and the
    /// bounds of the segment.
    pub low: usize,
    pub segment: Range<usize>,
    /// Its values of [`Local`](crate::Local) keys.
    pub locals: Vec<(usize, Rc<dyn Any>)>,
    /// Its number in `sync`; 0: it has none yet. It is not one of those values: their destructors
    /// need it, in any order.
    pub number: u64,
    #[cfg_attr(not(any(feature = "asan", feature = "tsan")), allow(dead_code))]
    pub fiber: Fiber,
    pub user_data: Option<Rc<dyn Any>>,
    pub on_error: Option<ErrorHandler>,
    pub measured: Option<Box<Measured>>,
    pub pending: Pending,
}

impl Extra {
    pub fn new() -> Extra {
        Extra {
            name: None,
            exceptions: Exceptions::NONE,
            fp: FpEnv::DEFAULT,
            stack_size: 0,
            spilled: ptr::null_mut(),
            spilled_bytes: 0,
            low: 0,
            segment: 0..0,
            locals: Vec::new(),
            number: 0,
            fiber: Fiber::NEW,
            user_data: None,
            on_error: None,
            measured: None,
            pending: Pending::NONE,
        }
    }
}

/// What of it has a destructor of a user's.
enum Part {
    Value(#[allow(dead_code)] Rc<dyn Any>),
    Handler(#[allow(dead_code)] ErrorHandler),
    Error(#[allow(dead_code)] Error),
}

impl Drop for Extra {
    fn drop(&mut self) {
        let values = core::mem::take(&mut self.locals);
        let values = values.into_iter().map(|(_, value)| Part::Value(value));
        let errors = core::mem::take(&mut self.pending.errors);
        let errors = errors.into_iter().map(|(_, error)| Part::Error(error));
        drop_each(
            values
                .chain(self.user_data.take().map(Part::Value))
                .chain(self.on_error.take().map(Part::Handler))
                .chain(errors),
        );
    }
}

/// The errors that were [thrown](crate::core::thrown) at a tasklet and that it was not told yet.
pub struct Pending {
    /// How many guests run on its stack, one inside the other.
    pub guests: u32,
    /// The errors, each with the level of guests that shall be told, in the order they came.
    pub errors: Vec<(u32, Error)>,
}

impl Pending {
    pub const NONE: Pending = Pending {
        guests: 0,
        errors: Vec::new(),
    };
}

/// A line of the host's source: of Rust source, or one that was set with
/// [`Builder::site`](crate::Builder::site).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    file: &'static str,
    line: u32,
}

impl Site {
    /// Line `line` of `file`.
    pub const fn new(file: &'static str, line: u32) -> Site {
        Site { file, line }
    }

    /// The file, as its compiler calls it.
    pub const fn file(&self) -> &'static str {
        self.file
    }

    /// The line, from 1 on.
    pub const fn line(&self) -> u32 {
        self.line
    }
}

impl From<&'static Location<'static>> for Site {
    fn from(location: &'static Location<'static>) -> Site {
        Site::new(location.file(), location.line())
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Part of a tasklet's `Extra`; nanoseconds of the thread's clock.
#[derive(Clone, Copy, Default)]
pub struct Measured {
    pub run_time: u64,
    pub started: Option<u64>,
    pub ended: Option<u64>,
    pub site: Option<Site>,
}

/// The frames of a tasklet that a spill moved to the heap; the latest first.
pub struct Spilled {
    pub before: *mut Spilled,
    pub buffer: Buffer,
    pub sp: usize,
}

impl Spilled {
    /// For debuggers: where the fields lie.
    pub const BEFORE: usize = core::mem::offset_of!(Spilled, before);
    pub const BUFFER: usize = core::mem::offset_of!(Spilled, buffer);
    pub const SP: usize = core::mem::offset_of!(Spilled, sp);
}
