//! The C++ runtimes of the process whose exceptions a switch exchanges.

use core::ffi::c_void;

use super::{entry, hsw_status, Failure};
use crate::core::exceptions;
use crate::machine::exceptions::{Globals, MOST};

/// `__cxa_get_globals` of a C++ runtime (Itanium C++ ABI, 2.2.2).
pub type hsw_cxa_get_globals = Option<unsafe extern "C" fn() -> *mut c_void>;

/// Makes a C++ runtime known. From now on each tasklet of the process has its own exceptions in
/// that runtime, and no tasklet switches while one of them is being thrown. Without that a tasklet
/// that switches in a `catch` block of that runtime destroys the exceptions of other tasklets. The
/// library finds one runtime by itself: the one that is seen by the file which the library is
/// linked into. A runtime that was added twice is known until it has been removed twice. Any thread
/// may call this, also while others switch.
///
/// C++ code that includes this header does not need to call it: each such module does so when it is
/// loaded, and takes it back when it is unloaded. It is for modules that catch exceptions, have a
/// C++ runtime of their own, and contain no file that includes this header.
///
/// `HSW_ERR_LIMIT`: 32 are known.
#[no_mangle]
pub extern "C" fn hsw_exceptions_add(get_globals: hsw_cxa_get_globals) -> hsw_status {
    entry(|| {
        if exceptions::add(globals(get_globals)?) {
            Ok(())
        } else {
            Err(Failure::Limit(TOO_MANY))
        }
    })
}

/// Takes back one `hsw_exceptions_add`. If the module is about to be unloaded, and no other module
/// uses this runtime, no tasklet may be in a function of the module.
///
/// `HSW_ERR_STATE`: it is not known.
#[no_mangle]
pub extern "C" fn hsw_exceptions_remove(get_globals: hsw_cxa_get_globals) -> hsw_status {
    entry(|| {
        if exceptions::remove(globals(get_globals)?) {
            Ok(())
        } else {
            let words = alloc::string::ToString::to_string("the C++ runtime is not known");
            Err(Failure::Told(hsw_status::HSW_ERR_STATE, words))
        }
    })
}

const TOO_MANY: &str = "32 C++ runtimes are known at a time";
const _: () = assert!(MOST == 32);

fn globals(function: hsw_cxa_get_globals) -> Result<Globals, Failure> {
    let function = function.ok_or(Failure::Null("get_globals"))?;
    // SAFETY: it is the same function; the two types differ only in what the returned address
    // points to. That it points to the two words of the ABI is in the contract of the interface.
    Ok(unsafe { core::mem::transmute::<unsafe extern "C" fn() -> *mut c_void, Globals>(function) })
}
