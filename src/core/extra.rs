//! What few tasklets need, in a box of its own.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::any::Any;
use core::ops::Range;

use crate::core::exceptions::Exceptions;
use crate::core::measure::Measured;
use crate::core::scheduler::ErrorHandler;
use crate::core::spill::{self, Spilled};
use crate::core::thrown::Pending;
use crate::machine::arch::FpEnv;
use crate::machine::sanitizer;

/// What few tasklets need.
pub(crate) struct Extra {
    pub(crate) name: Option<Box<str>>,
    pub(crate) exceptions: Exceptions,
    pub(crate) fp: FpEnv,
    /// Size of the own stack in bytes; 0 is the default of the settings.
    pub(crate) stack_size: usize,
    /// Frames that spills moved to the heap, and how many bytes they are.
    pub(crate) spilled: *mut Spilled,
    pub(crate) spilled_bytes: usize,
    /// With `SEGMENT`: the lowest address that is needed of the window, and the
    /// bounds of the segment.
    pub(crate) low: usize,
    pub(crate) segment: Range<usize>,
    /// Its values of [`Local`](crate::Local) keys.
    pub(crate) locals: crate::tasklet_local::Values,
    /// Its number in `sync`; 0: it has none yet. Not a value like those: their destructors
    /// need it, in whatever order.
    #[cfg(feature = "std")]
    pub(crate) number: u64,
    #[cfg_attr(not(any(feature = "asan", feature = "tsan")), allow(dead_code))]
    pub(crate) fiber: sanitizer::Fiber,
    pub(crate) user_data: Option<Rc<dyn Any>>,
    pub(crate) on_error: Option<ErrorHandler>,
    pub(crate) measured: Option<Box<Measured>>,
    pub(crate) pending: Pending,
}

impl Extra {
    pub fn new() -> Extra {
        Extra {
            name: None,
            exceptions: Exceptions::NONE,
            fp: FpEnv::DEFAULT,
            stack_size: 0,
            spilled: spill::NOTHING,
            spilled_bytes: 0,
            low: 0,
            segment: 0..0,
            locals: crate::tasklet_local::Values::new(),
            #[cfg(feature = "std")]
            number: 0,
            fiber: sanitizer::Fiber::NEW,
            user_data: None,
            on_error: None,
            measured: None,
            pending: Pending::NONE,
        }
    }
}
