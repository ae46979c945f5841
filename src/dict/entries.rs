//! The entries of a dict in the order in which they came, without a gap between them but where one
//! was removed.
//!
//! A bit for each slot says whether it is live, so an entry needs no tag of its own.

use super::DictError;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::{self, MaybeUninit};
use core::slice;

const BITS: usize = usize::BITS as usize;

/// **Live bits**: a slot is initialised if and only if its bit in `live` is set; no bit beyond
/// `slots` is set; `len` is the number of bits set.
pub struct Entries<T> {
    slots: Vec<MaybeUninit<T>>,
    live: Vec<usize>,
    len: usize,
    room: usize,
}

impl<T> Entries<T> {
    pub const fn new() -> Self {
        Entries {
            slots: Vec::new(),
            live: Vec::new(),
            len: 0,
            room: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Slots that were taken, removed entries included.
    pub fn used(&self) -> usize {
        self.slots.len()
    }

    /// Slots that there is memory for.
    pub fn room(&self) -> usize {
        self.room
    }

    pub fn heap_bytes(&self) -> usize {
        let slots = if mem::size_of::<T>() == 0 {
            0
        } else {
            self.slots.capacity()
        };
        slots * mem::size_of::<T>() + self.live.capacity() * mem::size_of::<usize>()
    }

    #[inline]
    fn is_live(&self, at: usize) -> bool {
        self.live
            .get(at / BITS)
            .is_some_and(|word| word >> (at % BITS) & 1 != 0)
    }

    /// Memory for `room` slots in all, which `open` allows to use.
    pub fn reserve(&mut self, room: usize) -> Result<(), DictError> {
        if room <= self.room {
            return Ok(());
        }
        let words = room.div_ceil(BITS);
        let more = words.saturating_sub(self.live.len());
        self.live
            .try_reserve_exact(more)
            .map_err(|_| DictError::OutOfMemory)?;
        let more = room - self.slots.len();
        self.slots
            .try_reserve_exact(more)
            .map_err(|_| DictError::OutOfMemory)?;
        self.live.resize(words.max(self.live.len()), 0);
        Ok(())
    }

    /// Allows as many slots as memory was reserved for.
    pub fn open(&mut self, room: usize) {
        assert!(
            room <= self.live.len() * BITS,
            "memory for the slots was reserved"
        );
        self.room = self.room.max(room);
    }

    /// Appends an entry, for which there is room, and gives its number.
    pub fn push(&mut self, value: T) -> usize {
        let at = self.slots.len();
        assert!(at < self.room, "there is no room for the entry");
        self.slots.push(MaybeUninit::new(value));
        self.live[at / BITS] |= 1 << (at % BITS);
        self.len += 1;
        at
    }

    #[inline]
    pub fn get(&self, at: usize) -> Option<&T> {
        let live = self.is_live(at);
        // SAFETY: Live bits: the slot is initialised.
        self.slots
            .get(at)
            .filter(|_| live)
            .map(|slot| unsafe { slot.assume_init_ref() })
    }

    #[inline]
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        let live = self.is_live(at);
        // SAFETY: as in `get`.
        self.slots
            .get_mut(at)
            .filter(|_| live)
            .map(|slot| unsafe { slot.assume_init_mut() })
    }

    /// Takes an entry out; its slot stays empty until `compact`.
    pub fn take(&mut self, at: usize) -> Option<T> {
        if !self.is_live(at) {
            return None;
        }
        self.live[at / BITS] &= !(1 << (at % BITS));
        self.len -= 1;
        // SAFETY: Live bits: the slot was initialised. Its bit is off, so nobody reads it again.
        Some(unsafe { self.slots[at].assume_init_read() })
    }

    /// Closes the gaps. The entries keep their order, and the nth of them is number n.
    pub fn compact(&mut self) {
        if self.len == self.slots.len() {
            return;
        }
        let mut to = 0;
        for from in 0..self.slots.len() {
            if self.is_live(from) {
                self.slots.swap(from, to);
                to += 1;
            }
        }
        // No foreign code has run since the first swap, and none runs until the bits are right.
        self.slots.truncate(to);
        for (word, bits) in self.live.iter_mut().enumerate() {
            let first = word * BITS;
            *bits = match to.saturating_sub(first) {
                0 => 0,
                n if n >= BITS => usize::MAX,
                n => (1 << n) - 1,
            };
        }
    }

    /// Gives back the memory beyond the entries; there are no gaps.
    pub fn shrink(&mut self) {
        self.compact();
        self.live.truncate(self.len.div_ceil(BITS));
        self.live.shrink_to_fit();
        self.slots.shrink_to_fit();
        self.room = self.len;
    }

    /// Drops the entries in their order; the memory stays.
    pub fn clear(&mut self) {
        if mem::needs_drop::<T>() {
            for at in 0..self.slots.len() {
                drop(self.take(at));
            }
        }
        self.slots.clear();
        self.live.fill(0);
        self.len = 0;
    }

    pub fn iter(&self) -> Iter<'_, T> {
        Iter {
            dense: self.len == self.slots.len(),
            slots: self.slots.iter(),
            live: &self.live,
            at: 0,
            left: self.len,
        }
    }

    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut {
            slots: self.slots.iter_mut(),
            live: &self.live,
            at: 0,
            left: self.len,
        }
    }
}

impl<T> Drop for Entries<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<T: Clone> Entries<T> {
    /// A copy without gaps and with no more room than it needs.
    pub fn copied(&self) -> Self {
        let mut copy = Entries {
            slots: Vec::with_capacity(self.len),
            live: vec![0; self.len.div_ceil(BITS)],
            len: 0,
            room: self.len,
        };
        for value in self.iter() {
            copy.push(value.clone());
        }
        copy
    }
}

/// Entries in their order.
pub struct Iter<'a, T> {
    slots: slice::Iter<'a, MaybeUninit<T>>,
    live: &'a [usize],
    at: usize,
    left: usize,
    dense: bool,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        loop {
            let slot = self.slots.next()?;
            let at = self.at;
            self.at += 1;
            if self.dense || self.live[at / BITS] >> (at % BITS) & 1 != 0 {
                self.left -= 1;
                // SAFETY: Live bits: if there are as many bits as slots, each is set; else this is.
                return Some(unsafe { slot.assume_init_ref() });
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Iter {
            slots: self.slots.clone(),
            ..*self
        }
    }
}

/// Entries in their order, to be changed.
pub struct IterMut<'a, T> {
    slots: slice::IterMut<'a, MaybeUninit<T>>,
    live: &'a [usize],
    at: usize,
    left: usize,
}

impl<'a, T> Iterator for IterMut<'a, T> {
    type Item = &'a mut T;

    #[inline]
    fn next(&mut self) -> Option<&'a mut T> {
        loop {
            let slot = self.slots.next()?;
            let at = self.at;
            self.at += 1;
            if self.live[at / BITS] >> (at % BITS) & 1 != 0 {
                self.left -= 1;
                // SAFETY: Live bits: the slot is initialised.
                return Some(unsafe { slot.assume_init_mut() });
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Entries in their order, given away.
pub struct IntoIter<T> {
    entries: Entries<T>,
    at: usize,
}

impl<T> IntoIter<T> {
    pub fn new(entries: Entries<T>) -> Self {
        IntoIter { entries, at: 0 }
    }

    /// What is left is dropped; the memory is given back to who wants it.
    pub fn into_rest(self) -> Entries<T> {
        let mut entries = self.entries;
        entries.clear();
        entries
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        while self.at < self.entries.used() {
            self.at += 1;
            if let Some(value) = self.entries.take(self.at - 1) {
                return Some(value);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.entries.len(), Some(self.entries.len()))
    }
}
