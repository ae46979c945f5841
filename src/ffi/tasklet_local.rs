//! Values of which each tasklet has its own.

use core::cell::RefCell;
use core::ffi::c_void;
use core::ptr;

use alloc::sync::Arc;

use super::object::{self, get, handle_of_process};
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, out};
use crate::Local;

/// A handle of a key under which each tasklet has a value of its own. Any thread may use it; it has
/// one owner, who gives it back with `hsw_local_release`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_local {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

pub(super) struct CLocal {
    key: Local<RefCell<Option<Owned>>>,
    destroy: hsw_destroy,
}

handle_of_process!(hsw_local, Arc<CLocal>, Local);

/// Makes a key under which no tasklet has a value yet. `destroy` (may be null) frees the values:
/// each in its tasklet when that ends (it may still switch then), those of a main tasklet with its
/// thread.
#[no_mangle]
pub unsafe extern "C" fn hsw_local_new(destroy: hsw_destroy, local: *mut hsw_local) -> hsw_status {
    object::make(local, "local", || {
        let key = Local::new(RefCell::default);
        Ok(Arc::new(CLocal { key, destroy }))
    })
}

/// Makes another handle of the same key, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_local_retain(local: hsw_local, other: *mut hsw_local) -> hsw_status {
    object::retain(local, other)
}

/// Gives a handle back. It is stale from now on. Values stay with their tasklets until those end.
#[no_mangle]
pub extern "C" fn hsw_local_release(local: hsw_local) -> hsw_status {
    object::release(local)
}

/// Gives the calling tasklet a value, which is the tasklet's from now on. The old one is freed;
/// null leaves the tasklet without a value. When this fails the new value is still the caller's.
#[no_mangle]
pub extern "C" fn hsw_local_set(local: hsw_local, value: *mut c_void) -> hsw_status {
    entry(|| {
        let found = get(local)?;
        if value.is_null() {
            found.key.reset();
            return Ok(());
        }
        let value = Owned::new(value, found.destroy);
        let old = found.key.with(|slot| slot.replace(Some(value)));
        drop(old); // with nothing borrowed: its function may come back here
        Ok(())
    })
}

/// The calling tasklet's value, null when it has none. It stays the tasklet's.
#[no_mangle]
pub unsafe extern "C" fn hsw_local_get(local: hsw_local, value: *mut *mut c_void) -> hsw_status {
    entry(|| {
        let value = out(value, "value")?;
        let found = get(local)?;
        let kept = found.key.with_existing(|slot| {
            let slot = slot.borrow();
            slot.as_ref().map(|owned| owned.peek().0)
        });
        value.set(kept.flatten().unwrap_or(ptr::null_mut()));
        Ok(())
    })
}
