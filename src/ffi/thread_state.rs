//! The part of the interface that belongs to a thread: its tables of handles and its tasklets' last
//! errors.

use core::any::Any;
use core::cell::{Cell, RefCell};

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::failure::Failure;
use super::handle::{Kind, Table};
use super::last_error::{self, LastError};
use crate::core::contain::contain_each;
use crate::core::runtime::Runtime;

/// The tables of a thread: one line for each kind of object that belongs to one. They are emptied
/// in this order.
macro_rules! tables {
    ($($(#[$when:meta])* $field:ident: $kind:ident of $object:ty,)*) => {
        pub(super) struct Part {
            $($(#[$when])* pub(super) $field: RefCell<Table<$object>>,)*
            /// The last error of each tasklet that had one, under the key that `last_error` uses.
            /// Removed when the tasklet ends.
            pub(super) errors: RefCell<BTreeMap<usize, LastError>>,
            /// The kill that each tasklet was told of last. Removed when the tasklet ends.
            pub(super) exits: RefCell<BTreeMap<usize, super::exit::Kill>>,
            pub(super) hooks: super::scheduler::Hooks,
            /// How many functions of C's the library has called in the main tasklet that have not
            /// returned yet.
            inside: Cell<usize>,
            tag: u16,
        }

        impl Part {
            fn new(number: Number) -> Self {
                let Number { tag, generations } = number;
                let mut generations = generations.into_iter();
                Part {
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
                    contain_each("the end of an object of C's", objects);
                })*
                let errors = core::mem::take(&mut *self.errors.borrow_mut());
                any |= !errors.is_empty();
                for error in errors.into_values() {
                    last_error::forget_this(Some(error));
                }
                // Their counts are those of this part's tasklets, main's among them.
                self.exits.borrow_mut().clear();
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
    #[cfg(feature = "http")]
    http_answers: HttpAnswer of Rc<dyn Any>,
    channels: Channel of super::channel::CChannel,
    queues: Queue of super::queue::CQueue,
    records: Record of Rc<dyn Any>,
    record_types: RecordType of Rc<dyn Any>,
    dicts: Dict of Rc<dyn Any>,
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
        let counted = with(|part| {
            part.inside
                .set(part.inside.get().wrapping_add_signed(delta));
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

/// A function of C's.
pub(super) trait Function {
    /// Its type if it may be unwound. A program that cannot unwind has no personality function,
    /// which a call that may be unwound needs.
    type Unwindable;
    fn unwindable(self) -> Self::Unwindable;
}

/// Functions of C's with so many arguments.
macro_rules! functions {
    ($($($argument:ident)*,)*) => {$(
        impl<$($argument,)* R> Function for unsafe extern "C" fn($($argument),*) -> R {
            #[cfg(panic = "unwind")]
            type Unwindable = unsafe extern "C-unwind" fn($($argument),*) -> R;
            #[cfg(not(panic = "unwind"))]
            type Unwindable = unsafe extern "C" fn($($argument),*) -> R;

            fn unwindable(self) -> Self::Unwindable {
                // SAFETY: the two calling conventions are the same, except for what happens if the
                // call is unwound.
                unsafe { core::mem::transmute(self) }
            }
        }
    )*};
}

functions! {
    ,
    A,
    A B,
    A B C,
    A B C D,
    A B C D E,
    A B C D E F G,
}

/// The same function, of a type that may be unwound, so that an unwinding is detected: see
/// [`returning`].
pub(super) fn unwindable<F: Function>(function: F) -> F::Unwindable {
    function.unwindable()
}

/// As [`inside`], for a function that the calling tasklet did not call itself: its failures do not
/// change the tasklet's last error.
pub(super) fn call_back<R>(function: impl FnOnce() -> R) -> R {
    last_error::aside(|| inside(function))
}

/// Is the main tasklet in a function that the library has called?
pub(super) fn is_inside() -> bool {
    with(|part| Ok(part.inside.get() > 0)).unwrap_or(false)
}

/// The part of a handle that tells the handles of a thread from those of other threads, and from
/// those of earlier threads with the same tag: see `handle`.
struct Number {
    tag: u16,
    /// The generations of each table, in the order of the tables.
    generations: Vec<Vec<u32>>,
}

cfg_if::cfg_if! {
    if #[cfg(feature = "std")] {
        #[path = "thread_state/threads.rs"]
        mod storage;
    } else {
        #[path = "thread_state/bare.rs"]
        mod storage;
    }
}

pub(super) use storage::{is_made, leave, with};
