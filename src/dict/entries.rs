//! The entries of a dict in the order in which they came, without a gap between them but where one
//! was removed.
//!
//! A bit for each place says whether an entry is in it, which needs no tag of its own.

use super::DictError;
use alloc::alloc::{realloc, Layout};
use alloc::vec::Vec;
use core::mem::{self, MaybeUninit};
use core::slice;

const BITS: usize = usize::BITS as usize;

/// **Live bits**: a place is initialised if and only if its bit in `live` is set; no bit beyond
/// `places` is set; `len` is the number of bits set.
pub struct Entries<T> {
    places: Vec<MaybeUninit<T>>,
    live: Vec<usize>,
    len: usize,
    room: usize,
}

/// The first place from `at` on that is live.
#[inline]
fn next_live(live: &[usize], at: usize) -> Option<usize> {
    let mut word = at / BITS;
    let mut bits = live.get(word)? & (usize::MAX << (at % BITS));
    while bits == 0 {
        word += 1;
        bits = *live.get(word)?;
    }
    Some(word * BITS + bits.trailing_zeros() as usize)
}

impl<T> Entries<T> {
    pub const fn new() -> Self {
        Entries {
            places: Vec::new(),
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
        self.places.len()
    }

    /// Slots that there is memory for.
    pub fn room(&self) -> usize {
        self.room
    }

    pub fn heap_bytes(&self) -> usize {
        let places = if mem::size_of::<T>() == 0 {
            0
        } else {
            self.places.capacity()
        };
        places * mem::size_of::<T>() + self.live.capacity() * mem::size_of::<usize>()
    }

    #[inline]
    fn is_live(&self, at: usize) -> bool {
        self.live
            .get(at / BITS)
            .is_some_and(|word| word >> (at % BITS) & 1 != 0)
    }

    /// Memory for `room` places in all, which `open` allows to use.
    pub fn reserve(&mut self, room: usize) -> Result<(), DictError> {
        if room <= self.room {
            return Ok(());
        }
        let words = room.div_ceil(BITS);
        let more = words.saturating_sub(self.live.len());
        self.live
            .try_reserve_exact(more)
            .map_err(|_| DictError::OutOfMemory)?;
        let more = room - self.places.len();
        self.places
            .try_reserve_exact(more)
            .map_err(|_| DictError::OutOfMemory)?;
        self.live.resize(words.max(self.live.len()), 0);
        Ok(())
    }

    /// Allows as many places as memory was reserved for.
    pub fn open(&mut self, room: usize) {
        assert!(
            room <= self.live.len() * BITS,
            "memory for the places was reserved"
        );
        self.room = self.room.max(room);
    }

    /// Appends an entry, for which there is room, and gives its number.
    pub fn push(&mut self, value: T) -> usize {
        let at = self.places.len();
        assert!(at < self.room, "there is no room for the entry");
        self.places.push(MaybeUninit::new(value));
        self.live[at / BITS] |= 1 << (at % BITS);
        self.len += 1;
        at
    }

    #[inline]
    pub fn get(&self, at: usize) -> Option<&T> {
        let place = self.places.get(at)?;
        let live = self.len == self.places.len() || self.is_live(at);
        // SAFETY: Live bits: if there are as many bits as places, each is set; else this one is.
        live.then(|| unsafe { place.assume_init_ref() })
    }

    #[inline]
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        let live = self.is_live(at);
        // SAFETY: as in `get`.
        self.places
            .get_mut(at)
            .filter(|_| live)
            .map(|place| unsafe { place.assume_init_mut() })
    }

    /// Takes an entry out; its place stays empty until `compact`.
    pub fn take(&mut self, at: usize) -> Option<T> {
        if !self.is_live(at) {
            return None;
        }
        self.live[at / BITS] &= !(1 << (at % BITS));
        self.len -= 1;
        // SAFETY: Live bits: the place was initialised. Its bit is off, so nobody reads it again.
        Some(unsafe { self.places[at].assume_init_read() })
    }

    /// Closes the gaps. The entries keep their order, and the nth of them is number n.
    pub fn compact(&mut self) {
        if self.len == self.places.len() {
            return;
        }
        let mut to = 0;
        for (word, &bits) in self.live.iter().enumerate() {
            let mut bits = bits;
            while bits != 0 {
                let from = word * BITS + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if from != to {
                    self.places.swap(from, to);
                }
                to += 1;
            }
        }
        // No foreign code has run since the first swap, and none runs until the bits are right.
        self.places.truncate(to);
        for (word, bits) in self.live.iter_mut().enumerate() {
            let first = word * BITS;
            *bits = match to.saturating_sub(first) {
                0 => 0,
                n if n >= BITS => usize::MAX,
                n => (1 << n) - 1,
            };
        }
    }

    /// Closes the gaps, and gives back the memory beyond the entries.
    pub fn shrink(&mut self) {
        self.compact();
        self.room = self.len;
        self.live.truncate(self.len.div_ceil(BITS));
        give_back(&mut self.live);
        give_back(&mut self.places);
    }

    /// Drops the entries in their order; the memory stays. If a destructor panics, the others are
    /// dropped all the same.
    pub fn clear(&mut self) {
        struct Rest<'a, T>(&'a mut Entries<T>);
        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                self.0.drop_all();
            }
        }
        let rest = Rest(self);
        rest.0.drop_all();
        mem::forget(rest);
    }

    fn drop_all(&mut self) {
        if mem::needs_drop::<T>() {
            let mut next = 0;
            while let Some(at) = next_live(&self.live, next) {
                next = at + 1;
                drop(self.take(at));
            }
        }
        self.places.clear();
        self.live.fill(0);
        self.len = 0;
    }

    pub fn iter(&self) -> Iter<'_, T> {
        Iter {
            dense: self.len == self.places.len(),
            places: self.places.iter(),
            live: &self.live,
            at: 0,
            left: self.len,
        }
    }

    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut {
            places: self.places.iter_mut(),
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
    pub fn copied(&self) -> Result<Self, DictError> {
        let mut copy = Entries::new();
        copy.reserve(self.len)?;
        copy.open(self.len);
        for value in self.iter() {
            copy.push(value.clone());
        }
        Ok(copy)
    }
}

/// Gives back what the elements do not take. If the allocator refuses, the memory stays as it is:
/// `Vec::shrink_to_fit` would end the process.
fn give_back<T>(vec: &mut Vec<T>) {
    if vec.is_empty() {
        *vec = Vec::new();
    }
    if mem::size_of::<T>() == 0 || vec.len() == vec.capacity() {
        return;
    }
    let mut old = mem::ManuallyDrop::new(mem::take(vec));
    let (at, len, mut capacity) = (old.as_mut_ptr(), old.len(), old.capacity());
    let layout = Layout::array::<T>(capacity).expect("the vector has this layout");
    // SAFETY: a vector with capacity has its memory from the global allocator, in this layout. The
    // new size is not 0, and smaller. Nobody else uses the memory, since `old` is forgotten.
    let smaller = unsafe { realloc(at.cast(), layout, len * mem::size_of::<T>()) };
    if !smaller.is_null() {
        capacity = len;
    }
    let at = if smaller.is_null() {
        at
    } else {
        smaller.cast()
    };
    // SAFETY: the memory is that of `old`, or the smaller one that it has become, and `capacity` is
    // what it holds. The first `len` elements are those of `old`, which `realloc` keeps.
    *vec = unsafe { Vec::from_raw_parts(at, len, capacity) };
}

/// Entries in their order.
pub struct Iter<'a, T> {
    places: slice::Iter<'a, MaybeUninit<T>>,
    live: &'a [usize],
    at: usize,
    left: usize,
    dense: bool,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        let place = if self.dense {
            self.places.next()?
        } else {
            let at = next_live(self.live, self.at)?;
            let place = self.places.nth(at - self.at)?;
            self.at = at + 1;
            place
        };
        self.left -= 1;
        // SAFETY: Live bits: if there are as many bits as places, each is set; else this one is,
        // since `places` goes on from place `self.at`.
        Some(unsafe { place.assume_init_ref() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Iter {
            places: self.places.clone(),
            ..*self
        }
    }
}

/// Entries in their order, to be changed.
pub struct IterMut<'a, T> {
    places: slice::IterMut<'a, MaybeUninit<T>>,
    live: &'a [usize],
    at: usize,
    left: usize,
}

impl<'a, T> Iterator for IterMut<'a, T> {
    type Item = &'a mut T;

    #[inline]
    fn next(&mut self) -> Option<&'a mut T> {
        let at = next_live(self.live, self.at)?;
        let place = self.places.nth(at - self.at)?;
        self.at = at + 1;
        self.left -= 1;
        // SAFETY: Live bits: the place is initialised, since `places` goes on from place `self.at`.
        Some(unsafe { place.assume_init_mut() })
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

    /// Exchanges the entries that are left for others.
    pub fn swap(&mut self, entries: &mut Entries<T>) {
        mem::swap(&mut self.entries, entries);
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let at = next_live(&self.entries.live, self.at)?;
        self.at = at + 1;
        self.entries.take(at)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.entries.len(), Some(self.entries.len()))
    }
}
