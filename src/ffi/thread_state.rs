//! The part of the interface that belongs to a thread: its tables of handles and its tasklets' last
//! errors.

use core::cell::{Cell, RefCell};

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::handle::{Kind, Table};
use super::status::{Failure, LastError};
use crate::core::runtime::Runtime;

/// The tables of a thread: one line for each kind of object that belongs to one. They are emptied
/// in this order.
macro_rules! tables {
    ($($(#[$when:meta])* $field:ident: $kind:ident of $object:ty,)*) => {
        pub(super) struct Local {
            $($(#[$when])* pub(super) $field: RefCell<Table<$object>>,)*
            /// The last error of each tasklet that had one, under the key that `status` uses.
            /// Removed when the tasklet ends.
            pub(super) errors: RefCell<BTreeMap<usize, LastError>>,
            /// The kill that each tasklet was told of last. Removed when the tasklet ends.
            pub(super) exits: RefCell<BTreeMap<usize, super::status::Told>>,
            pub(super) hooks: super::scheduler::Hooks,
            /// How many functions of C's the library has called in the main tasklet that have not
            /// returned yet.
            inside: Cell<usize>,
            tag: u16,
        }

        impl Local {
            fn new(number: Number) -> Self {
                let Number { tag, generations } = number;
                let mut generations = generations.into_iter();
                Local {
                    $($(#[$when])* $field: RefCell::new(Table::new(Kind::$kind, tag, generations.next().unwrap_or_default())),)*
                    errors: RefCell::new(BTreeMap::new()),
                    exits: RefCell::new(BTreeMap::new()),
                    hooks: super::scheduler::Hooks::default(),
                    inside: Cell::new(0),
                    tag,
                }
            }

            /// The thread's number, to be given to another thread.
            fn number(&self) -> Number {
                let generations = alloc::vec![$($(#[$when])* self.$field.borrow().generations(),)*];
                Number { tag: self.tag, generations }
            }

            /// How many handles are live.
            pub(super) fn live(&self) -> usize {
                let mut sum = 0;
                $($(#[$when])* {
                    sum += self.$field.borrow().live();
                })*
                sum
            }

            /// Makes every handle stale and forgets errors and hooks. Destructors that this runs
            /// may come back here, so nothing is borrowed meanwhile. Returns whether there was
            /// anything.
            fn clear(&self) -> bool {
                let mut any = false;
                $($(#[$when])* {
                    let objects = self.$field.borrow_mut().drain();
                    any |= !objects.is_empty();
                    drop(objects);
                })*
                let errors = core::mem::take(&mut *self.errors.borrow_mut());
                any |= !errors.is_empty();
                drop(errors);
                self.hooks.clear();
                any
            }
        }
    };
}

tables! {
    #[cfg(feature = "std")]
    timers: Timer of crate::timer::Timer,
    #[cfg(feature = "std")]
    clocks: TimerClock of super::timer::CClock,
    #[cfg(feature = "std")]
    sockets: Socket of super::net::Socket,
    channels: Channel of super::channel::CChannel,
    queues: Queue of super::queue::CQueue,
    joins: Join of super::join::CJoin,
    tasklets: Tasklet of crate::Tasklet,
}

/// Calls a function of C's from within the library. While one runs in the main tasklet, there are
/// frames of the library between it and main's own code, so the thread's part must not end there:
/// see [`is_inside`].
pub(super) fn inside<R>(function: impl FnOnce() -> R) -> R {
    struct Inside(bool);
    impl Drop for Inside {
        fn drop(&mut self) {
            if self.0 {
                count(-1);
            }
        }
    }
    fn count(delta: isize) -> bool {
        let counted = with(|local| {
            local
                .inside
                .set(local.inside.get().wrapping_add_signed(delta));
            Ok(())
        });
        counted.is_ok()
    }
    let in_main = Runtime::existing().is_some_and(|runtime| runtime.current() == runtime.main());
    let _inside = Inside(in_main && count(1));
    returning(function)
}

/// Calls a function of C's that must come back by returning. An exception that it lets out,
/// `pthread_exit`, or the cancellation of its thread would unwind it. That would go on through
/// frames of the library, and reach the end of a tasklet's stack instead of the thread's. So the
/// process ends here, with a message.
pub(super) fn returning<R>(function: impl FnOnce() -> R) -> R {
    struct Returns;
    impl Drop for Returns {
        fn drop(&mut self) {
            let name = Runtime::existing().and_then(|_| crate::current().name());
            crate::machine::os::fatal(format_args!(
                "a function that the library has called did not return, in tasklet '{}': \
                 an exception left it, or pthread_exit or a cancellation was to end its thread there",
                name.as_deref().unwrap_or("(unnamed)")
            ));
        }
    }
    let returns = Returns;
    let result = function();
    core::mem::forget(returns);
    result
}

/// A function of C's that may be unwound.
#[cfg(panic = "unwind")]
type Unwindable<A, R> = unsafe extern "C-unwind" fn(A) -> R;
#[cfg(panic = "unwind")]
type UnwindableWithResult<A, B, R> = unsafe extern "C-unwind" fn(A, B) -> R;

/// A program that cannot unwind has no personality function, which a call that may be unwound
/// needs.
#[cfg(not(panic = "unwind"))]
type Unwindable<A, R> = unsafe extern "C" fn(A) -> R;
#[cfg(not(panic = "unwind"))]
type UnwindableWithResult<A, B, R> = unsafe extern "C" fn(A, B) -> R;

/// The same function, of a type that may be unwound, so that an unwinding is detected: see
/// [`returning`].
pub(super) fn unwindable<A, R>(function: unsafe extern "C" fn(A) -> R) -> Unwindable<A, R> {
    // SAFETY: the two calling conventions are the same, except for what happens if the call is
    // unwound.
    unsafe { core::mem::transmute(function) }
}

/// As [`inside`], for a function that the calling tasklet did not call itself: its failures do not
/// change the tasklet's last error.
pub(super) fn call_back<R>(function: impl FnOnce() -> R) -> R {
    super::status::aside(|| inside(function))
}

/// As [`unwindable`], of a function with one more argument.
pub(super) fn unwindable_with_result<A, B, R>(
    function: unsafe extern "C" fn(A, B) -> R,
) -> UnwindableWithResult<A, B, R> {
    // SAFETY: as in `unwindable`, the two calling conventions differ only in what happens if the
    // call is unwound.
    unsafe { core::mem::transmute(function) }
}

/// Is the main tasklet in a function that the library has called?
pub(super) fn is_inside() -> bool {
    with(|local| Ok(local.inside.get() > 0)).unwrap_or(false)
}

/// The part of a handle that tells the handles of a thread from those of other threads, and from
/// those of earlier threads with the same tag: see `handle`.
struct Number {
    tag: u16,
    /// The generations of each table, in the order of the tables.
    generations: Vec<Vec<u32>>,
}

#[cfg(feature = "std")]
mod storage {
    use super::*;
    use alloc::boxed::Box;
    use core::cell::Cell;
    use core::ptr;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    std::thread_local! {
        /// Made by the first call, ended by `AT_EXIT`. It has no destructor of its own, so that
        /// tasklets which end with the thread still find it.
        static LOCAL: Cell<*const Local> = const { Cell::new(ptr::null()) };
        static AT_EXIT: AtExit = const { AtExit };
    }

    struct AtExit;

    impl Drop for AtExit {
        fn drop(&mut self) {
            if crate::lifecycle::abandons() {
                // The handles stay as well: to give one back might run a tasklet.
                return crate::lifecycle::ends_now(clear);
            }
            let local = LOCAL.get();
            if local.is_null() {
                return;
            }
            crate::lifecycle::thread_exit(clear);
            LOCAL.set(ptr::null());
            // SAFETY: `begin` made it with `Box::into_raw`, and only this destructor frees it,
            // once. Nobody has a reference: those that `with` gives out end with its call.
            let local = unsafe { Box::from_raw(local.cast_mut()) };
            let number = local.number();
            drop(local);
            NUMBERS.give_back(number);
        }
    }

    /// The numbers of threads. When a thread has ended, its number is given to another one.
    struct Numbers {
        last: u16,
        given: Mutex<Given>,
    }

    struct Given {
        /// Tags up to this one have been given.
        most: u16,
        spare: Vec<Number>,
    }

    static NUMBERS: Numbers = Numbers::up_to(u16::MAX);

    impl Numbers {
        const fn up_to(last: u16) -> Numbers {
            let given = Given {
                most: 0,
                spare: Vec::new(),
            };
            Numbers {
                last,
                given: Mutex::new(given),
            }
        }

        fn lock(&self) -> MutexGuard<'_, Given> {
            self.given.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn take(&self) -> Option<Number> {
            let mut given = self.lock();
            if let Some(number) = given.spare.pop() {
                return Some(number);
            }
            if given.most == self.last {
                return None;
            }
            given.most += 1;
            Some(Number {
                tag: given.most,
                generations: Vec::new(),
            })
        }

        fn give_back(&self, number: Number) {
            self.lock().spare.push(number);
        }
    }

    /// Has the calling thread a part?
    pub(in super::super) fn is_made() -> bool {
        !LOCAL.get().is_null()
    }

    /// Empties the calling thread's part. Returns whether there was anything.
    pub(super) fn clear() -> bool {
        // SAFETY: null, or made by `begin`; it is freed by the destructor of `AT_EXIT` alone, after
        // this call.
        unsafe { LOCAL.get().as_ref() }.is_some_and(Local::clear)
    }

    #[cold]
    #[inline(never)]
    fn begin() -> Result<*const Local, Failure> {
        // Two destructors may come first at the thread's end, this one's or that of the runtime.
        // Whichever does ends both.
        if !crate::lifecycle::ends_with_thread(clear) || AT_EXIT.try_with(|_| ()).is_err() {
            return Err(Failure::ThreadEnding);
        }
        let number = NUMBERS.take();
        let number = number.ok_or(Failure::Limit(
            "65535 threads that use the library at a time",
        ))?;
        let local = Box::into_raw(Box::new(Local::new(number)));
        LOCAL.set(local);
        Ok(local)
    }

    /// Calls `f` with the calling thread's part.
    #[inline]
    pub(in super::super) fn with<R>(
        f: impl FnOnce(&Local) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let mut local = LOCAL.get();
        if local.is_null() {
            local = begin()?;
        }
        // SAFETY: made by `begin`, and freed by the destructor of `AT_EXIT` alone, which runs in no
        // call of this function.
        f(unsafe { &*local })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_number_of_a_thread_that_has_ended_is_given_again() {
            let numbers = Numbers::up_to(2);
            let (first, second) = (numbers.take().unwrap(), numbers.take().unwrap());
            assert_ne!(first.tag, second.tag);
            assert!(numbers.take().is_none(), "no two have the same");
            for round in 0..100 {
                numbers.give_back(Number {
                    tag: second.tag,
                    generations: alloc::vec![alloc::vec![round]],
                });
                let again = numbers.take().unwrap();
                assert_eq!((again.tag, again.generations[0][0]), (second.tag, round));
                assert!(numbers.take().is_none());
            }
        }
    }
}

/// Ends all that the library keeps for the calling thread.
#[cfg(feature = "std")]
pub(super) fn leave() {
    crate::lifecycle::thread_exit(storage::clear);
}

/// Without std there are no thread-locals: the first thread that calls has the interface to itself.
/// Other threads are detected by their runtime.
#[cfg(not(feature = "std"))]
mod storage {
    use super::*;
    use core::cell::UnsafeCell;
    use core::sync::atomic::{AtomicU64, Ordering};

    struct Storage {
        /// The number of the runtime that owns it; 0 if none does. Unlike an address, it is never
        /// given twice.
        owner: AtomicU64,
        local: UnsafeCell<Option<Local>>,
        /// The number of the last owner.
        number: UnsafeCell<Option<Number>>,
    }

    // SAFETY: only the owner touches `local` and `number`: `with` and `leave` compare `owner` with
    // the caller's runtime first.
    unsafe impl Sync for Storage {}

    static STORAGE: Storage = Storage {
        owner: AtomicU64::new(0),
        local: UnsafeCell::new(None),
        number: UnsafeCell::new(None),
    };

    /// As with std; the owner is recognised by its runtime.
    pub(in super::super) fn is_made() -> bool {
        Runtime::existing().is_some()
    }

    /// Calls `f` with the calling thread's part.
    pub(in super::super) fn with<R>(
        f: impl FnOnce(&Local) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let me = crate::thread_id();
        match STORAGE
            .owner
            .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
        {
            // SAFETY: the exchange has just made it ours, and nobody has a reference to the content
            // yet.
            Ok(_) => unsafe {
                let first = Number {
                    tag: 1,
                    generations: Vec::new(),
                };
                let number = (*STORAGE.number.get()).take().unwrap_or(first);
                *STORAGE.local.get() = Some(Local::new(number));
            },
            Err(owner) if owner == me => {}
            Err(_) => {
                return Err(Failure::Limit(
                    "one thread may use the C interface where there is no std",
                ))
            }
        }
        // SAFETY: it is ours, and from here on there are only shared references to it, until
        // `leave`.
        match unsafe { &*STORAGE.local.get() } {
            Some(local) => f(local),
            None => Err(Failure::ThreadEnding),
        }
    }

    /// Does the interface belong to the calling thread?
    fn is_ours() -> bool {
        Runtime::existing()
            .is_some_and(|runtime| runtime.thread_id == STORAGE.owner.load(Ordering::Relaxed))
    }

    fn clear() -> bool {
        // SAFETY: only `leave` calls this, for the owner, and a shared reference is all that is
        // made.
        unsafe { &*STORAGE.local.get() }
            .as_ref()
            .is_some_and(Local::clear)
    }

    /// As with std. Afterwards another thread may have the interface.
    pub(in super::super) fn leave() {
        if !is_ours() {
            return crate::lifecycle::thread_exit(|| false);
        }
        crate::lifecycle::thread_exit(clear);
        // SAFETY: it is still ours, since `owner` has the number of the runtime that has just
        // ended. No call of `with` is under way, so nobody has a reference.
        let local = unsafe { (*STORAGE.local.get()).take() };
        let number = local.as_ref().map(Local::number);
        drop(local);
        // SAFETY: still ours, until `owner` is set to 0 below.
        unsafe { *STORAGE.number.get() = number };
        STORAGE.owner.store(0, Ordering::Release);
    }
}

#[cfg(not(feature = "std"))]
pub(super) use storage::leave;
pub(super) use storage::{is_made, with};
