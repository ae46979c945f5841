//! How C wants a tasklet to be made.

use core::ffi::{c_char, CStr};

use alloc::format;
use alloc::string::{String, ToString};

use super::failure::{Failure, Subject};
use super::handle::Kind;
use super::value::hsw_destroy;
use crate::{Error, Site, Tasklet};

/// Where a tasklet's frames live.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum hsw_stack {
    /// The default: in a stack window that it shares with others. While it does not run, its live
    /// bytes may be on the heap, and *its stack addresses hold somebody else's bytes*. So nothing
    /// outside of the tasklet may touch its stack while it is not running: there must be no pointer
    /// to one of its locals in another tasklet, another thread, a queue, a list or a pending system
    /// call. Data that others shall see goes to the heap.
    HSW_STACK_SLICED = 0,
    /// A stack of its own, with a guard page. Pointers into it stay good for as long as its frames
    /// live.
    HSW_STACK_OWN = 1,
}

/// How to make a tasklet. Set all to zero for the defaults.
#[repr(C)]
pub struct hsw_tasklet_options {
    /// A name for messages and tools; it is copied. May be null.
    pub name: *const c_char,
    /// One of `hsw_stack`.
    pub stack: i32,
    /// Bytes of an own stack; 0: the default of the settings. For a sliced tasklet it must be 0:
    /// its stack is its window.
    pub stack_size: usize,
    /// Whether it has floating-point control words (rounding mode, exception masks) of its own,
    /// instead of the thread's.
    pub fp_env: bool,
    /// The file of the host's source where the tasklet is made, for `hsw_tasklet_site`: a string in
    /// UTF-8 that lives for ever, such as `__FILE__`. Null: not known.
    pub file: *const c_char,
    /// The line in that file, such as `__LINE__`.
    pub line: u32,
    /// Frees the argument: called once, when the entry function has returned or will certainly
    /// never run. May be null.
    pub destroy_argument: hsw_destroy,
}

/// The options, checked.
pub struct Options {
    name: Option<String>,
    own: bool,
    stack_size: Option<usize>,
    fp_env: bool,
    site: Site,
}

/// The site of a tasklet of C's without one: no line of any file, since a line of this library
/// would be wrong.
pub(super) const NOWHERE: Site = Site::new("", 0);

impl Options {
    /// SAFETY: `options` is null or points to readable options, whose `name` and `file` are null or
    /// end in a zero byte; `file` lives for ever.
    pub unsafe fn read(options: *const hsw_tasklet_options) -> Result<Options, Failure> {
        // SAFETY: null, or readable, as the caller has promised.
        let Some(options) = (unsafe { options.as_ref() }) else {
            return Ok(Options {
                name: None,
                own: false,
                stack_size: None,
                fp_env: false,
                site: NOWHERE,
            });
        };
        let own = match options.stack {
            sliced if sliced == hsw_stack::HSW_STACK_SLICED as i32 => false,
            own if own == hsw_stack::HSW_STACK_OWN as i32 => true,
            other => {
                return Err(Failure::Argument(format!(
                    "options.stack: there is no kind {other}"
                )))
            }
        };
        if !own && options.stack_size != 0 {
            let what = "options.stack_size: a sliced tasklet has the size of its window, not one of its own";
            return Err(Failure::Argument(what.to_string()));
        }
        let name = if options.name.is_null() {
            None
        } else {
            // SAFETY: `name` is not null, so it ends in a zero byte, as the caller has promised.
            Some(unsafe { super::string(options.name, "options.name") }?)
        };
        let site = if options.file.is_null() {
            NOWHERE
        } else {
            // SAFETY: `file` is not null, so it ends in a zero byte and lives for ever, as the
            // caller has promised.
            let file: &'static CStr = unsafe { CStr::from_ptr(options.file) };
            let file = file
                .to_str()
                .map_err(|_| Failure::Argument("options.file is not UTF-8".to_string()))?;
            Site::new(file, options.line)
        };
        Ok(Options {
            site,
            name,
            own,
            stack_size: (options.stack_size != 0).then_some(options.stack_size),
            fp_env: options.fp_env,
        })
    }

    pub fn builder(&self) -> crate::Builder {
        let mut builder = Tasklet::builder().site(self.site);
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        if let Some(size) = self.stack_size {
            builder = builder.stack_size(size);
        }
        if self.fp_env {
            builder = builder.fp_env();
        }
        if !self.own {
            // SAFETY: the C caller that asks for `HSW_STACK_SLICED` has promised what the header
            // says there: nothing outside touches the stack while the tasklet is not running.
            builder = unsafe { builder.sliced() };
        }
        builder
    }

    pub fn failure(&self, error: Error) -> Failure {
        match &self.name {
            Some(name) => Failure::Core(error, Subject::Named(Kind::Tasklet, name.clone())),
            None => Failure::own(error),
        }
    }
}

/// The function of `options` that frees the argument, also when the options are wrong otherwise.
///
/// SAFETY: `options` is null or points to readable options.
pub unsafe fn destroyer(options: *const hsw_tasklet_options) -> hsw_destroy {
    // SAFETY: null, or readable, as the caller has promised.
    unsafe { options.as_ref() }.and_then(|options| options.destroy_argument)
}
