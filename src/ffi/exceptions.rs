//! The C++ runtimes of the process: which of them a switch exchanges the exceptions of.

use core::ffi::c_void;

use super::{entry, hsw_status, Failure};
use crate::core::exceptions::{self, Globals, MOST};

/// `__cxa_get_globals` of a C++ runtime (Itanium C++ ABI, 2.2.2).
pub type hsw_cxa_get_globals = Option<unsafe extern "C" fn() -> *mut c_void>;

/// Makes a C++ runtime known: from now on each tasklet of the process has exceptions of its own in
/// it, and nobody switches while one of it is on its way. Without that a tasklet that switches in a
/// `catch` block of that runtime destroys the exceptions of others. The library finds one by
/// itself: the one that the file which the library is linked into sees. What is added twice is
/// known until it was removed twice. Any thread may call this, also while others switch.
///
/// Nobody needs to call it who includes this header in C++: each such module does so when it is
/// loaded, and takes it back when it is unloaded. It is for code that catches in a module with a
/// C++ runtime of its own and has no file that includes this header.
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

/// Takes back one `hsw_exceptions_add`. No tasklet may be in a function of a module that uses this
/// runtime alone, if it is unloaded now.
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
    // SAFETY: the same function; the two types differ in what the address that it returns points
    // to. That it points to the two words of the ABI is the contract of the interface.
    Ok(unsafe { core::mem::transmute::<unsafe extern "C" fn() -> *mut c_void, Globals>(function) })
}
