//! Dicts: values by keys that are strings, in the order of their inserts.

use core::cell::RefCell;
use core::ffi::{c_char, c_void, CStr};
use core::ptr;

use alloc::ffi::CString;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::ToString;

use super::failure::Failure;
use super::object::{self, get, handle_of_kept};
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, out, set_if_wanted, thread_state, Done};
use crate::dict::{Dict, DictError, Tuning};

/// A handle of a dict; the rules for its owner and thread are those of `hsw_tasklet`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_dict {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// How a dict trades memory for time.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum hsw_dict_tuning {
    /// The fewest bytes: 2 entries at first, four fifths full, an eighth larger.
    HSW_DICT_COMPACT = 0,
    /// As Python on the PlayStation 3: 1 at first, three quarters full, half as large again.
    HSW_DICT_CONSOLE = 1,
    /// As CPython 2.7: 8 at first, two thirds full, four times as large.
    HSW_DICT_PYTHON27 = 2,
}

use hsw_dict_tuning::*;

/// Called for each entry of a dict. `key` ends in a zero byte; it and `value` are lent. Returns
/// whether to go on. It may use this library, but the dict cannot be changed meanwhile. It must not
/// unwind.
pub type hsw_dict_visit =
    Option<unsafe extern "C" fn(key: *const c_char, value: *mut c_void, user: *mut c_void) -> bool>;

pub(super) struct CDict {
    /// Nothing of C's is called while it is borrowed mutably.
    entries: RefCell<Dict<CString, *mut c_void>>,
    destroy: hsw_destroy,
}

handle_of_kept!(hsw_dict, CDict, Dict, dicts);

impl CDict {
    /// The value, with the duty to free it.
    fn owned(&self, value: *mut c_void) -> Owned {
        Owned::new(value, self.destroy)
    }

    /// Changes the entries, unless they are being visited.
    fn change<R>(
        &self,
        change: impl FnOnce(&mut Dict<CString, *mut c_void>) -> R,
    ) -> Result<R, Failure> {
        let busy = |_| {
            let words = "the dict is being visited, and cannot be changed".to_string();
            Failure::Told(hsw_status::HSW_ERR_STATE, words)
        };
        Ok(change(&mut *self.entries.try_borrow_mut().map_err(busy)?))
    }

    /// Frees all values, in the order of the entries.
    fn free(&self, entries: Dict<CString, *mut c_void>) {
        for (key, value) in entries {
            drop(key);
            drop(self.owned(value));
        }
    }
}

impl Drop for CDict {
    fn drop(&mut self) {
        let entries = core::mem::take(self.entries.get_mut());
        self.free(entries);
    }
}

impl From<DictError> for Failure {
    fn from(error: DictError) -> Self {
        let words = error.to_string();
        match error {
            DictError::OutOfMemory => Failure::Told(hsw_status::HSW_ERR_OUT_OF_MEMORY, words),
            _ => Failure::Argument(words),
        }
    }
}

/// A key of the caller's.
///
/// SAFETY: `key` is null or ends in a zero byte, for as long as the result is used.
unsafe fn key_of<'a>(key: *const c_char) -> Result<&'a CStr, Failure> {
    if key.is_null() {
        return Err(Failure::Null("key"));
    }
    // SAFETY: not null, so a string that ends in a zero byte, as the caller has promised.
    Ok(unsafe { CStr::from_ptr(key) })
}

/// Makes an empty dict: values by keys, which are strings, in the order of their inserts.
/// docs/dict.md tells its bytes and its times. `tuning` is one of `hsw_dict_tuning`. `destroy` (may
/// be null) frees values that are replaced, or are there when the dict goes.
#[no_mangle]
pub unsafe extern "C" fn hsw_dict_new(
    tuning: i32,
    destroy: hsw_destroy,
    dict: *mut hsw_dict,
) -> hsw_status {
    object::make(dict, "dict", || {
        let all = [
            (HSW_DICT_COMPACT, Tuning::COMPACT),
            (HSW_DICT_CONSOLE, Tuning::CONSOLE),
            (HSW_DICT_PYTHON27, Tuning::PYTHON27),
        ];
        let asked = all.iter().find(|(preset, _)| *preset as i32 == tuning);
        let no_tuning = || Failure::Argument(format!("{tuning} is no tuning of a dict"));
        let tuning = asked.ok_or_else(no_tuning)?.1;
        Ok(Rc::new(CDict {
            entries: RefCell::new(Dict::with_tuning(tuning)),
            destroy,
        }))
    })
}

/// Makes another handle of the same dict, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_dict_retain(dict: hsw_dict, other: *mut hsw_dict) -> hsw_status {
    object::retain(dict, other)
}

/// Gives a handle back. Values are freed with the last handle of a dict.
#[no_mangle]
pub extern "C" fn hsw_dict_release(dict: hsw_dict) -> hsw_status {
    object::release(dict)
}

/// Sets the value of a key, which is copied. The value is the dict's from now on; the one that the
/// key had is freed, and the key keeps its place. When this fails the value is still the caller's.
///
/// `HSW_ERR_STATE`: the dict is being visited. `HSW_ERR_OUT_OF_MEMORY`: there is no memory for the
/// entry. `HSW_ERR_ARGUMENT`: a dict cannot have more entries.
#[no_mangle]
pub unsafe extern "C" fn hsw_dict_set(
    dict: hsw_dict,
    key: *const c_char,
    value: *mut c_void,
) -> hsw_status {
    entry(|| -> Done {
        // SAFETY: a string (contract of the interface).
        let key = unsafe { key_of(key) }?;
        let found = get(dict)?;
        let old = found.change(|entries| match entries.get_mut(key) {
            Some(place) => Ok(Some(core::mem::replace(place, value))),
            None => entries.try_insert(CString::from(key), value),
        })?;
        let old = old.map_err(|(error, _, _)| error)?;
        drop(old.map(|old| found.owned(old))); // with nothing borrowed
        Ok(())
    })
}

/// The value of a key, lent: it is the dict's, and stays until the key is set or removed, the dict
/// is cleared, or its last handle is given back. `found` (may be null) tells whether there is such
/// a key; without one, the value is null.
#[no_mangle]
pub unsafe extern "C" fn hsw_dict_get(
    dict: hsw_dict,
    key: *const c_char,
    value: *mut *mut c_void,
    found: *mut bool,
) -> hsw_status {
    entry(|| {
        let value = out(value, "value")?;
        // SAFETY: a string (contract of the interface).
        let key = unsafe { key_of(key) }?;
        let its = get(dict)?.entries.borrow().get(key).copied();
        value.set(its.unwrap_or(ptr::null_mut()));
        set_if_wanted(found, its.is_some());
        Ok(())
    })
}

/// Takes the entry of a key out. Its value is the caller's; with a null `value` it is freed.
/// `found` as in `hsw_dict_get`. The other entries keep their order. `HSW_ERR_STATE`: the dict is
/// being visited.
#[no_mangle]
pub unsafe extern "C" fn hsw_dict_remove(
    dict: hsw_dict,
    key: *const c_char,
    value: *mut *mut c_void,
    found: *mut bool,
) -> hsw_status {
    entry(|| {
        // SAFETY: a string (contract of the interface).
        let key = unsafe { key_of(key) }?;
        let dict = get(dict)?;
        let its = dict.change(|entries| entries.remove(key))?;
        set_if_wanted(found, its.is_some());
        if value.is_null() {
            drop(its.map(|its| dict.owned(its)));
        } else {
            set_if_wanted(value, its.unwrap_or(ptr::null_mut()));
        }
        Ok(())
    })
}

/// Calls `visit` for each entry in the order of the inserts, until it returns false. The dict
/// cannot be changed meanwhile: that fails with `HSW_ERR_STATE`. `user` is passed on.
#[no_mangle]
pub unsafe extern "C" fn hsw_dict_each(
    dict: hsw_dict,
    visit: hsw_dict_visit,
    user: *mut c_void,
) -> hsw_status {
    entry(|| {
        let visit = visit.ok_or(Failure::Null("visit"))?;
        // The handle may be given back meanwhile; this keeps the dict.
        let dict = get(dict)?;
        let entries = dict.entries.borrow();
        // What fails in `visit` is not the caller's last error.
        thread_state::call_back(|| {
            entries.iter().all(|(key, &value)| {
                // SAFETY: `visit` is a function of this type that does not unwind, and `user` was
                // given for it (contract of the interface).
                unsafe { thread_state::unwindable(visit)(key.as_ptr(), value, user) }
            })
        });
        Ok(())
    })
}

/// How many entries there are.
#[no_mangle]
pub unsafe extern "C" fn hsw_dict_count(dict: hsw_dict, count: *mut usize) -> hsw_status {
    object::ask(dict, count, "count", |d| d.entries.borrow().len())
}

/// Bytes that the dict has on the heap, with its keys and without its values. O(n).
#[no_mangle]
pub unsafe extern "C" fn hsw_dict_bytes(dict: hsw_dict, bytes: *mut usize) -> hsw_status {
    object::ask(dict, bytes, "bytes", |d| {
        let entries = d.entries.borrow();
        let keys = entries.keys().map(|key| key.as_bytes_with_nul().len());
        entries.heap_bytes() + keys.sum::<usize>()
    })
}

/// Makes room for `more` further entries: while there are no more than that, sets and removals
/// allocate nothing but their keys.
///
/// `HSW_ERR_ARGUMENT`: more than a dict can have.
#[no_mangle]
pub extern "C" fn hsw_dict_reserve(dict: hsw_dict, more: usize) -> hsw_status {
    entry(|| {
        get(dict)?.change(|entries| entries.try_reserve(more))??;
        Ok(())
    })
}

/// Gives back the memory beyond the entries.
#[no_mangle]
pub extern "C" fn hsw_dict_shrink(dict: hsw_dict) -> hsw_status {
    entry(|| get(dict)?.change(Dict::shrink_to_fit))
}

/// Removes all entries, and frees their values and the memory.
#[no_mangle]
pub extern "C" fn hsw_dict_clear(dict: hsw_dict) -> hsw_status {
    entry(|| {
        let found = get(dict)?;
        let entries = found.change(|entries| {
            let empty = Dict::with_tuning(entries.tuning());
            core::mem::replace(entries, empty)
        })?;
        found.free(entries);
        Ok(())
    })
}
