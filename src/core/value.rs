//! The transfer slot and the values that travel through it.
//!
//! A value in flight is *moved* into the receiver's slot, which lies in heap
//! memory (never on a stack that may be sliced away), and the receiver takes it
//! out before any destructor can run. A slot holds two words inline; larger
//! values are boxed.

use alloc::boxed::Box;
use alloc::rc::Weak;
use core::any::TypeId;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop, MaybeUninit};

use crate::error::{Error, WaitError};

type Words = [MaybeUninit<usize>; 2];

/// What a slot knows about the value it holds.
struct Kind {
    type_id: fn() -> TypeId,
    type_name: fn() -> &'static str,
    drop: unsafe fn(&mut Words),
    bomb: bool,
    /// Of a bomb: the error is an operation's own end, and was not thrown.
    own: bool,
}

trait Stored: Sized + 'static {
    const INLINE: bool = mem::size_of::<Self>() <= mem::size_of::<Words>()
        && mem::align_of::<Self>() <= mem::align_of::<usize>();
    const KIND: &'static Kind;
}

/// An error on its way: taking it raises it.
struct Bomb(Error);

unsafe fn drop_words<T: Stored>(words: &mut Words) {
    // SAFETY: called once, by the slot whose kind is `T`'s.
    drop(unsafe { take_words::<T>(words) });
}

unsafe fn take_words<T: Stored>(words: &mut Words) -> T {
    if T::INLINE {
        // SAFETY: `Slot::new` wrote a T here, size and alignment fit.
        unsafe { words.as_ptr().cast::<T>().read() }
    } else {
        // SAFETY: `Slot::new` wrote the pointer of a Box<T> here.
        unsafe { *Box::from_raw(words.as_ptr().cast::<*mut T>().read()) }
    }
}

impl<T: 'static> Stored for T {
    const KIND: &'static Kind = &Kind {
        type_id: TypeId::of::<T>,
        type_name: core::any::type_name::<T>,
        drop: drop_words::<T>,
        bomb: false,
        own: false,
    };
}

static BOMB: Kind = Kind {
    type_id: TypeId::of::<Bomb>,
    type_name: core::any::type_name::<Bomb>,
    drop: drop_words::<Bomb>,
    bomb: true,
    own: false,
};

static END: Kind = Kind { own: true, ..BOMB };

/// An owned value of any type, an error on its way, or nothing.
#[repr(C)]
pub struct Slot {
    kind: Option<&'static Kind>,
    words: Words,
    /// The value inside may be tied to its thread.
    _not_send: PhantomData<*mut ()>,
}

impl Slot {
    pub const EMPTY: Slot = Slot {
        kind: None,
        words: [MaybeUninit::uninit(); 2],
        _not_send: PhantomData,
    };

    #[inline]
    pub fn new<T: 'static>(value: T) -> Slot {
        Slot::with_kind(value, T::KIND)
    }

    #[inline]
    fn with_kind<T: 'static>(value: T, kind: &'static Kind) -> Slot {
        let mut words: Words = [MaybeUninit::uninit(); 2];
        if T::INLINE {
            // SAFETY: size and alignment fit (INLINE).
            unsafe { words.as_mut_ptr().cast::<T>().write(value) };
        } else {
            let boxed = Box::into_raw(Box::new(value));
            words[0] = MaybeUninit::new(boxed as usize);
        }
        Slot {
            kind: Some(kind),
            words,
            _not_send: PhantomData,
        }
    }

    /// An error that is thrown, or sent.
    pub fn bomb(error: Error) -> Slot {
        Slot::with_kind(Bomb(error), &BOMB)
    }

    /// The end of the operation that takes it: for example, its channel was closed.
    pub fn end(error: Error) -> Slot {
        Slot::with_kind(Bomb(error), &END)
    }

    /// A value, or an error on its way.
    pub fn of<T: 'static>(brought: Result<T, WaitError>) -> Slot {
        match brought {
            Ok(value) => Slot::new(value),
            Err(WaitError::Thrown(error)) => Slot::bomb(error),
            Err(WaitError::Hindered(error)) => Slot::end(error),
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.kind.is_none()
    }

    #[inline]
    pub fn is_bomb(&self) -> bool {
        matches!(self.kind, Some(kind) if kind.bomb)
    }

    /// The error of a bomb, copied: it stays in the slot.
    pub fn peek_bomb(&self) -> Option<Error> {
        if !self.is_bomb() {
            return None;
        }
        // SAFETY: the kind says that a Bomb lies here; it is INLINE or boxed
        // as `Stored` decides, and is only looked at.
        let bomb: &Bomb = unsafe {
            if <Bomb as Stored>::INLINE {
                &*self.words.as_ptr().cast::<Bomb>()
            } else {
                &**self.words.as_ptr().cast::<*const Bomb>()
            }
        };
        Some(bomb.0.clone())
    }

    /// Moves the content out; the slot is empty afterwards.
    #[inline]
    pub fn take(&mut self) -> Slot {
        mem::replace(self, Slot::EMPTY)
    }

    /// Moves a value into an empty slot.
    ///
    /// # Safety
    /// The slot is empty (what it holds is not dropped).
    #[inline(always)]
    pub unsafe fn put<T: 'static>(slot: *mut Slot, value: T) {
        // SAFETY: a live slot; its content may be overwritten.
        unsafe { slot.write(Slot::new(value)) };
    }

    /// Moves the value out if it is a `T`.
    ///
    /// Reads word by word: the words were stored one by one an instant ago, and
    /// a wider load would wait until the stores have left the store buffer.
    ///
    /// # Safety
    /// `slot` is live.
    #[inline(always)]
    pub unsafe fn take_as<T: 'static>(slot: *mut Slot) -> Option<T> {
        // SAFETY: the kind says what the words are; it is cleared first, so
        // the value is moved out once.
        unsafe {
            match (*slot).kind {
                Some(kind) if core::ptr::eq(kind, T::KIND) => {}
                _ => return None,
            }
            (*slot).kind = None;
            let mut words: Words = [MaybeUninit::uninit(); 2];
            let from = (&raw const (*slot).words).cast::<MaybeUninit<usize>>();
            if !T::INLINE || mem::size_of::<T>() > 0 {
                words[0] = from.read_volatile();
            }
            if T::INLINE && mem::size_of::<T>() > mem::size_of::<usize>() {
                words[1] = from.add(1).read_volatile();
            }
            Some(take_words::<T>(&mut words))
        }
    }

    /// Exchanges two slots, word by word as in [`Slot::take_as`].
    ///
    /// # Safety
    /// Both are live, and not the same.
    #[inline(always)]
    pub unsafe fn swap(a: *mut Slot, b: *mut Slot) {
        // SAFETY: a slot is three words, which are moved as they are.
        unsafe {
            let (a, b) = (
                a.cast::<MaybeUninit<usize>>(),
                b.cast::<MaybeUninit<usize>>(),
            );
            for i in 0..3 {
                let (x, y) = (a.add(i).read_volatile(), b.add(i).read_volatile());
                a.add(i).write(y);
                b.add(i).write(x);
            }
        }
    }

    /// The value as a `T`, the error it carries, or the slot itself.
    #[inline]
    pub fn into<T: 'static>(self) -> Result<Result<T, Error>, Slot> {
        self.open().map(|opened| opened.map_err(Error::from))
    }

    /// As [`into`](Slot::into), and says whether the error was thrown.
    #[inline]
    pub fn open<T: 'static>(self) -> Result<Result<T, WaitError>, Slot> {
        match self.kind {
            Some(kind) if core::ptr::eq(kind, T::KIND) => {
                let mut this = ManuallyDrop::new(self);
                // SAFETY: the kind says that a T lies here; `this` is not
                // dropped.
                Ok(Ok(unsafe { take_words::<T>(&mut this.words) }))
            }
            Some(_) => self.open_slow(),
            None => Err(self),
        }
    }

    #[cold]
    fn open_slow<T: 'static>(self) -> Result<Result<T, WaitError>, Slot> {
        match self.kind {
            Some(kind) if kind.bomb => {
                let mut this = ManuallyDrop::new(self);
                // SAFETY: the kind says that a Bomb lies here.
                let error = unsafe { take_words::<Bomb>(&mut this.words) }.0;
                Ok(Err(match kind.own {
                    true => WaitError::Hindered(error),
                    false => WaitError::Thrown(error),
                }))
            }
            Some(kind) if (kind.type_id)() == TypeId::of::<Parcel<T>>() => {
                let mut this = ManuallyDrop::new(self);
                // SAFETY: the kind says that a parcel lies here.
                let parcel = unsafe { take_words::<Parcel<T>>(&mut this.words) };
                Ok(parcel.open())
            }
            // The same type may have several `Kind`s, one per codegen unit.
            Some(kind) if (kind.type_id)() == TypeId::of::<T>() => {
                let mut this = ManuallyDrop::new(self);
                // SAFETY: the type id says that a T lies here; `this` is not dropped.
                Ok(Ok(unsafe { take_words::<T>(&mut this.words) }))
            }
            _ => Err(self),
        }
    }

    /// The value, if it is a `T`.
    pub fn value<T: 'static>(self) -> Option<T> {
        self.into().ok()?.ok()
    }

    /// Raises a bomb, drops anything else.
    #[inline]
    pub fn into_unit<E: From<WaitError>>(self) -> Result<(), E> {
        match self.kind {
            None => {
                mem::forget(self);
                Ok(())
            }
            Some(_) => self.into_unit_slow(),
        }
    }

    #[cold]
    fn into_unit_slow<E: From<WaitError>>(self) -> Result<(), E> {
        match self.open::<()>() {
            Ok(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn type_name(&self) -> &'static str {
        match self.kind {
            None => "nothing",
            Some(kind) => (kind.type_name)(),
        }
    }
}

/// The transfer slot of a tasklet. A value in it is never dropped where it lies: to drop a
/// value may run user code, which may use the tasklet. So code that puts something in gets what
/// was there, and drops it when its own work is done.
#[repr(transparent)]
pub struct TaskSlot(Slot);

impl TaskSlot {
    pub const EMPTY: TaskSlot = TaskSlot(Slot::EMPTY);

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline(always)]
    pub fn is_bomb(&self) -> bool {
        self.0.is_bomb()
    }

    pub fn peek_bomb(&self) -> Option<Error> {
        self.0.peek_bomb()
    }

    /// Moves the content out; the slot is empty afterwards.
    #[inline(always)]
    pub fn take(&mut self) -> Slot {
        self.0.take()
    }

    /// Puts `slot` in, and returns what was there.
    #[inline(always)]
    #[must_use = "dropped when all else is done"]
    pub fn put(&mut self, slot: Slot) -> Slot {
        mem::replace(&mut self.0, slot)
    }

    /// Puts `slot` in, which is known to be empty: nothing is dropped.
    #[inline(always)]
    pub fn fill(&mut self, slot: Slot) {
        debug_assert!(self.is_empty());
        mem::forget(self.put(slot));
    }

    /// For the functions that move word by word.
    #[inline(always)]
    pub fn raw(place: *mut TaskSlot) -> *mut Slot {
        place.cast()
    }
}

impl Drop for Slot {
    #[inline]
    fn drop(&mut self) {
        if let Some(kind) = self.kind.take() {
            // SAFETY: the kind belongs to the words, and is gone afterwards.
            unsafe { (kind.drop)(&mut self.words) };
        }
    }
}

/// A value, or an error that was sent, on its way to a tasklet that has been woken for it.
/// If the tasklet does not take it, for example because it is killed before its turn comes, it
/// goes back to its sender. To the receiver it is a `T` like any other.
pub struct Parcel<T: 'static> {
    /// Until it is opened.
    content: Option<Result<T, WaitError>>,
    from: Weak<dyn Sender<T>>,
}

/// The sender of a parcel. It is called in the middle of wake-ups and thrown errors: it does not
/// switch, and does not panic. The user code that it runs comes last, when all queues are in order,
/// and is contained: the destructors of what was in a slot that it has written.
pub trait Sender<T> {
    /// The receiver has the content.
    fn taken(&self);

    /// The content was not taken.
    fn take_back(&self, content: Result<T, WaitError>);
}

impl<T: 'static> Parcel<T> {
    pub fn new(content: Result<T, WaitError>, from: Weak<dyn Sender<T>>) -> Parcel<T> {
        Parcel {
            content: Some(content),
            from,
        }
    }

    fn open(mut self) -> Result<T, WaitError> {
        let content = self.content.take().expect("it is opened once");
        if let Some(from) = self.from.upgrade() {
            from.taken();
        }
        content
    }
}

impl<T: 'static> Drop for Parcel<T> {
    fn drop(&mut self) {
        if let (Some(content), Some(from)) = (self.content.take(), self.from.upgrade()) {
            from.take_back(content);
        }
    }
}

/// An owned value of any type: what `schedule_with` hands around and what a
/// tasklet's transfer slot ("tempval") may be read and written as.
///
/// Values of up to two words are stored inline, larger ones in a box. It stays on
/// its thread, since the value inside may have to:
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(hardswitch::Value::new(1));
/// ```
pub struct Value(pub(crate) Slot);

impl Value {
    /// Wraps a value.
    pub fn new<T: 'static>(value: T) -> Value {
        Value(Slot::new(value))
    }

    /// No value: what an empty slot reads as (Stackless' `None`).
    pub const fn none() -> Value {
        Value(Slot::EMPTY)
    }

    /// True for [`Value::none`].
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// True when the value is a `T`.
    pub fn is<T: 'static>(&self) -> bool {
        let inside = [TypeId::of::<T>(), TypeId::of::<Parcel<T>>()];
        matches!(self.0.kind, Some(kind) if inside.contains(&(kind.type_id)()))
    }

    /// The value as a `T`, or itself when it is something else.
    pub fn downcast<T: 'static>(self) -> Result<T, Value> {
        if !self.is::<T>() {
            return Err(self);
        }
        match self.0.into::<T>() {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Value(Slot::bomb(error))),
            Err(slot) => Err(Value(slot)),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.0.type_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use alloc::string::String;

    #[test]
    fn small_and_large_values_come_back_as_they_went_in() {
        assert_eq!(Value::new(7u64).downcast::<u64>().unwrap(), 7);
        let large = [1u64, 2, 3, 4, 5];
        assert_eq!(Value::new(large).downcast::<[u64; 5]>().unwrap(), large);
        let text = String::from("a string that is three words long");
        assert_eq!(Value::new(text.clone()).downcast::<String>().unwrap(), text);
    }

    #[test]
    fn overaligned_values_are_boxed() {
        #[repr(align(64))]
        #[derive(Debug, PartialEq)]
        struct Wide(u8);
        let wide = Value::new(Wide(9)).downcast::<Wide>().unwrap();
        assert_eq!(core::ptr::addr_of!(wide) as usize % 64, 0);
        assert_eq!(wide, Wide(9));
    }

    #[test]
    fn a_wrong_type_leaves_the_value_whole() {
        let value = Value::new(7u32);
        let value = value.downcast::<u64>().unwrap_err();
        assert_eq!(value.downcast::<u32>().unwrap(), 7);
    }

    #[test]
    fn a_value_is_dropped_exactly_once() {
        let counter = Rc::new(());
        drop(Value::new(counter.clone()));
        assert_eq!(Rc::strong_count(&counter), 1);
        let boxed = Value::new((counter.clone(), [0u64; 4]));
        assert_eq!(Rc::strong_count(&counter), 2);
        let inner = boxed.downcast::<(Rc<()>, [u64; 4])>().unwrap();
        assert_eq!(Rc::strong_count(&counter), 2);
        drop(inner);
        assert_eq!(Rc::strong_count(&counter), 1);
    }

    #[test]
    fn a_bomb_can_be_copied_and_raised() {
        let slot = Slot::bomb(Error::Closed);
        assert!(matches!(slot.peek_bomb(), Some(Error::Closed)));
        assert!(matches!(slot.into::<u8>(), Ok(Err(Error::Closed))));
        assert!(matches!(
            Slot::bomb(Error::Exit).into_unit(),
            Err(Error::Exit)
        ));
    }
}
