//! The memory of a record: the handle of its type, and after it a value for each field.
//!
//! **Whole records.** The memory of a [`Thin`] or [`Values`] begins with a handle of its type,
//! whose number of fields never changes. There is room for as many values after it. In a `Thin` all
//! of them are initialised, in a `Values` those in `live`.

use super::{RecordError, RecordType};
use alloc::alloc::{alloc, dealloc, Layout};
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop};
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::slice;

#[repr(C)]
struct Head<V> {
    of: RecordType<V>,
    /// Where the values begin.
    values: [V; 0],
}

fn layout<V>(fields: usize) -> Option<Layout> {
    let values = Layout::array::<V>(fields).ok()?;
    let (layout, at) = Layout::new::<Head<V>>().extend(values).ok()?;
    debug_assert_eq!(at, mem::offset_of!(Head<V>, values));
    Some(layout)
}

/// The values of a record that was taken apart, in the order of the fields.
pub struct Values<V> {
    head: NonNull<Head<V>>,
    live: Range<usize>,
    owns: PhantomData<(RecordType<V>, V)>,
}

// SAFETY: it owns a handle of its type and values, and nothing else.
unsafe impl<V: Send> Send for Values<V> where RecordType<V>: Send {}
// SAFETY: as for `Send`; a shared one gives access to nothing.
unsafe impl<V: Sync> Sync for Values<V> where RecordType<V>: Sync {}

impl<V> Values<V> {
    /// Memory for the values of a record, and none of them.
    pub(super) fn reserve(of: &RecordType<V>) -> Result<Values<V>, RecordError> {
        let layout = layout::<V>(of.len()).ok_or(RecordError::OutOfMemory)?;
        // SAFETY: the layout has a size, that of a handle at least.
        let head: *mut Head<V> = unsafe { alloc(layout) }.cast();
        let head = NonNull::new(head).ok_or(RecordError::OutOfMemory)?;
        // SAFETY: the memory is fresh, and has room and alignment for a `Head`.
        unsafe { (&raw mut (*head.as_ptr()).of).write(of.clone()) };
        Ok(Values {
            head,
            live: 0..0,
            owns: PhantomData,
        })
    }

    fn of(&self) -> &RecordType<V> {
        // SAFETY: Whole records: the memory begins with a handle.
        unsafe { &(*self.head.as_ptr()).of }
    }

    /// Where a value is, or belongs: `number` is that of a field, or how many there are.
    fn at(&self, number: usize) -> *mut V {
        debug_assert!(number <= self.of().len());
        // SAFETY: the memory has room for as many values as there are fields. The pointer is made
        // of that to the whole memory, not of a reference to the head.
        unsafe {
            (&raw mut (*self.head.as_ptr()).values)
                .cast::<V>()
                .add(number)
        }
    }

    /// The next value. There is a field for it.
    pub(super) fn push(&mut self, value: V) {
        assert!(self.live.end < self.of().len(), "there is a field for it");
        // SAFETY: there is room, and nothing is there.
        unsafe { self.at(self.live.end).write(value) };
        self.live.end += 1;
    }

    /// The values as a record's, if there is one for each field.
    pub(super) fn finish(self) -> Result<Thin<V>, Values<V>> {
        if self.live != (0..self.of().len()) {
            return Err(self);
        }
        let whole = ManuallyDrop::new(self);
        Ok(Thin {
            head: whole.head,
            owns: PhantomData,
        })
    }
}

impl<V> Iterator for Values<V> {
    type Item = V;

    fn next(&mut self) -> Option<V> {
        let number = self.live.next()?;
        // SAFETY: Whole records: it is initialised. It is in `live` no more, so nobody reads it
        // again.
        Some(unsafe { self.at(number).read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.live.len(), Some(self.live.len()))
    }
}

impl<V> DoubleEndedIterator for Values<V> {
    fn next_back(&mut self) -> Option<V> {
        let number = self.live.next_back()?;
        // SAFETY: as in `next`.
        Some(unsafe { self.at(number).read() })
    }
}

impl<V> ExactSizeIterator for Values<V> {}

impl<V> Drop for Values<V> {
    fn drop(&mut self) {
        struct Memory(NonNull<u8>, Layout);
        impl Drop for Memory {
            fn drop(&mut self) {
                // SAFETY: `reserve` has it from the allocator in this layout, and all that was in
                // it has been moved out or dropped.
                unsafe { dealloc(self.0.as_ptr(), self.1) }
            }
        }
        let layout = layout::<V>(self.of().len()).expect("the memory has this layout");
        // Destructors of values may panic, or run any code of others. The memory goes after them,
        // and so does the type, whatever they do.
        let _memory = Memory(self.head.cast(), layout);
        // SAFETY: Whole records: the memory begins with a handle. Nobody reads it there again.
        let _of = unsafe { (&raw const (*self.head.as_ptr()).of).read() };
        // SAFETY: Whole records: these are initialised, and nobody uses them after this.
        unsafe {
            let first = (&raw mut (*self.head.as_ptr()).values).cast::<V>();
            let live = first.add(self.live.start);
            ptr::drop_in_place(ptr::slice_from_raw_parts_mut(live, self.live.len()));
        }
    }
}

/// A whole record: one pointer.
pub struct Thin<V> {
    head: NonNull<Head<V>>,
    owns: PhantomData<(RecordType<V>, V)>,
}

// SAFETY: it owns a handle of its type and values, and nothing else.
unsafe impl<V: Send> Send for Thin<V> where RecordType<V>: Send {}
// SAFETY: as for `Send`; a shared one gives shared access to them.
unsafe impl<V: Sync> Sync for Thin<V> where RecordType<V>: Sync {}

impl<V> Thin<V> {
    #[inline]
    pub fn of(&self) -> &RecordType<V> {
        // SAFETY: Whole records: the memory begins with a handle.
        unsafe { &(*self.head.as_ptr()).of }
    }

    #[inline]
    pub fn values(&self) -> &[V] {
        // SAFETY: Whole records: as many values as there are fields, all initialised. They are
        // lent as long as `self` is.
        unsafe {
            let first = (&raw const (*self.head.as_ptr()).values).cast::<V>();
            slice::from_raw_parts(first, self.of().len())
        }
    }

    #[inline]
    pub fn values_mut(&mut self) -> &mut [V] {
        // SAFETY: as in `values`, and `self` is borrowed mutably.
        unsafe {
            let first = (&raw mut (*self.head.as_ptr()).values).cast::<V>();
            slice::from_raw_parts_mut(first, self.of().len())
        }
    }

    /// The values, given away.
    pub fn into_values(self) -> Values<V> {
        let this = ManuallyDrop::new(self);
        Values {
            head: this.head,
            live: 0..this.of().len(),
            owns: PhantomData,
        }
    }
}

impl<V> Drop for Thin<V> {
    fn drop(&mut self) {
        drop(Values {
            head: self.head,
            live: 0..self.of().len(),
            owns: PhantomData,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bytes_than_there_are_addresses_have_no_layout() {
        assert!(layout::<[u8; 1 << 40]>(1 << 22).is_some());
        assert!(layout::<[u8; 1 << 40]>((1 << 23) - 1).is_some());
        for fields in [1 << 23, 1 << 24, usize::MAX] {
            assert_eq!(layout::<[u8; 1 << 40]>(fields), None, "{fields}");
        }
    }
}
