//! Tasklet-local storage: a value of its own for each tasklet that asks.
//!
//! The values of a tasklet lie in a list in its box for rare things, so tasklets that never ask
//! pay nothing. Thread-locals are no substitute: all tasklets of a thread share them.

use alloc::rc::Rc;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::core::locals::Values;
use crate::core::runtime::Runtime;

/// A key under which each tasklet has a value of its own, made when it first asks.
///
/// The value is dropped when the tasklet ends, in the tasklet, which may still switch then; the
/// value of the main tasklet at the end of the thread.
/// Keys are statics, or live anywhere: when one is dropped the values stay with their tasklets.
///
/// Cost: a search through the keys that the tasklet has used, a few nanoseconds for the first; an
/// allocation for each value, and one more for the first value of a tasklet.
///
/// ```
/// use std::cell::Cell;
///
/// hardswitch::local! {
///     static DEPTH: Cell<u32> = Cell::new(1);
/// }
///
/// DEPTH.with(|depth| depth.set(5));
/// hardswitch::spawn(|| DEPTH.with(|depth| assert_eq!(depth.get(), 1)))?;
/// hardswitch::run()?;
/// assert_eq!(DEPTH.with(Cell::get), 5);
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct Local<T: 'static> {
    /// 0 until the key is first used.
    key: AtomicUsize,
    init: fn() -> T,
}

impl<T: 'static> Local<T> {
    /// A key whose values begin as `init` makes them.
    pub const fn new(init: fn() -> T) -> Local<T> {
        Local {
            key: AtomicUsize::new(0),
            init,
        }
    }

    /// Calls `f` with the calling tasklet's value. `f` may switch, and use this and other keys.
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        // A reference of its own: changes of the list meanwhile do not matter.
        let value = self.find().unwrap_or_else(|| self.make());
        f(&value)
    }

    /// Calls `f` with the calling tasklet's value if it has one.
    pub fn with_existing<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        self.find().map(|value| f(&value))
    }

    /// Drops the calling tasklet's value; the next use makes a new one. True if there was one.
    pub fn reset(&self) -> bool {
        let key = self.key.load(Ordering::Relaxed);
        if key == 0 {
            return false;
        }
        let old = with_values(|values| {
            let at = values.iter().position(|(k, _)| *k == key)?;
            Some(values.swap_remove(at))
        });
        // It is dropped here, when nothing is borrowed: its destructor may use other keys.
        old.is_some()
    }

    fn find(&self) -> Option<Rc<T>> {
        let key = self.key.load(Ordering::Relaxed);
        if key == 0 {
            return None;
        }
        // SAFETY: the running tasklet is a live task; no user code runs while its list is borrowed.
        let extra = unsafe { (*Runtime::get().current()).extra.as_ref()? };
        let (_, value) = extra.locals.iter().find(|(k, _)| *k == key)?;
        value.clone().downcast().ok()
    }

    #[cold]
    fn make(&self) -> Rc<T> {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        // User code runs before anything is borrowed. It may have asked for the same key.
        let value = Rc::new((self.init)());
        if let Some(value) = self.find() {
            return value;
        }
        let mut key = self.key.load(Ordering::Relaxed);
        if key == 0 {
            let new = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            key = match self
                .key
                .compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => new,
                Err(first) => first,
            };
        }
        with_values(|values| values.push((key, value.clone())));
        value
    }
}

fn with_values<R>(f: impl FnOnce(&mut Values) -> R) -> R {
    // SAFETY: the running tasklet is a live task; `f` is ours and runs no code of the user.
    unsafe { f(&mut (*Runtime::get().current()).extra().locals) }
}

impl<T: 'static> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("key", &self.key.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// Declares statics of which each tasklet has a value of its own: see [`Local`].
///
/// ```
/// hardswitch::local! {
///     /// The user that asks.
///     pub static USER: std::cell::RefCell<String> = Default::default();
///     static COUNT: std::cell::Cell<usize> = std::cell::Cell::new(0);
/// }
/// # USER.with(|u| u.borrow_mut().push('x'));
/// # COUNT.with(|c| c.set(1));
/// ```
#[macro_export]
macro_rules! local {
    ($($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $init:expr);+ $(;)?) => {
        $($(#[$meta])* $vis static $name: $crate::Local<$type> = $crate::Local::new(|| $init);)+
    };
}
