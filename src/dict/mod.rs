//! A map that keeps the order of its inserts and is made for consoles, where every byte is sacred.
//!
//! The entries lie one after another, and a table of cells of 1, 2 or 4 bytes says where the key of
//! a hash is. Neither has a size that must be a power of two, and no hash is stored: a dict of n
//! entries is little more than its entries. [`Tuning`] chooses between memory and time.
//!
//! | operation | cost |
//! |---|---|
//! | look up, insert, remove, entry | O(1), amortised; a growth hashes all keys again |
//! | iterate, retain, drain, clear | O(n), removed entries included |
//!
//! A removal keeps the order of the others and moves none of them. Its place is used again once the
//! dict is out of room.
//!
//! Keys are hashed by [`DefaultHashBuilder`] unless the dict is given another one. If a key's
//! `Hash` panics while a dict makes room in place, nothing is lost, but look-ups may be O(n) until
//! room is made again.

mod entries;
mod entry;
mod index;
mod iter;
#[cfg(feature = "serde")]
mod serialize;
mod tuning;

pub use entry::{Entry, OccupiedEntry, VacantEntry};
pub use iter::{Drain, IntoIter, Iter, IterMut, Keys, Values, ValuesMut};
pub use tuning::{DictError, Tuning};

use self::entries::Entries;
use self::index::{Index, Mixed};
use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::mem;
use core::ops;

/// The hasher of a dict that is given none: SipHash with a random seed, which strangers who choose
/// keys cannot make slow.
#[cfg(feature = "std")]
pub type DefaultHashBuilder = std::hash::RandomState;
/// The hasher of a dict that is given none. Without std there is no source of random numbers: its
/// seed is made of addresses, which are the same at each start on a machine that does not
/// randomise them. Give dicts whose keys strangers choose a hasher with a seed of yours.
#[cfg(not(feature = "std"))]
pub type DefaultHashBuilder = foldhash::quality::RandomState;

/// A map in the order of its inserts. See the [module](self).
///
/// ```
/// use hardswitch::dict::Dict;
///
/// let mut hits = Dict::new();
/// for word in ["b", "a", "b"] {
///     *hits.entry(word).or_insert(0) += 1;
/// }
/// assert_eq!(hits["b"], 2);
/// assert!(hits.keys().eq(&["b", "a"]));
/// ```
pub struct Dict<K, V, S = DefaultHashBuilder> {
    entries: Entries<(K, V)>,
    index: Index,
    tuning: Tuning,
    hasher: S,
}

impl<K, V> Dict<K, V> {
    /// An empty dict. Allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A dict with room for `capacity` entries.
    ///
    /// # Panics
    ///
    /// If there is no memory, or the capacity overflows; see [`try_reserve`](Self::try_reserve).
    pub fn with_capacity(capacity: usize) -> Self
    where
        K: Eq + Hash,
    {
        let mut dict = Self::default();
        dict.reserve(capacity);
        dict
    }

    /// An empty dict with a tuning. Allocates nothing.
    pub fn with_tuning(tuning: Tuning) -> Self {
        Self::with_tuning_and_hasher(tuning, DefaultHashBuilder::default())
    }
}

impl<K, V, S> Dict<K, V, S> {
    /// An empty dict with a hasher. Allocates nothing.
    pub const fn with_hasher(hasher: S) -> Self {
        Self::with_tuning_and_hasher(Tuning::COMPACT, hasher)
    }

    /// An empty dict with a tuning and a hasher. Allocates nothing.
    pub const fn with_tuning_and_hasher(tuning: Tuning, hasher: S) -> Self {
        Dict {
            entries: Entries::new(),
            index: Index::new(),
            tuning,
            hasher,
        }
    }

    /// The hasher.
    pub fn hasher(&self) -> &S {
        &self.hasher
    }

    /// The tuning.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries the dict can hold without an allocation, whatever is removed and inserted
    /// meanwhile. Where that is as many as there are, an insert may allocate even after a removal:
    /// `shrink_to_fit` leaves no room to replace entries.
    pub fn capacity(&self) -> usize {
        held(self.entries.room()).max(self.len())
    }

    /// Bytes that the dict has on the heap, without what keys and values own themselves.
    pub fn heap_bytes(&self) -> usize {
        self.entries.heap_bytes() + self.index.heap_bytes()
    }

    /// The entries in their order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter::new(self.entries.iter())
    }

    /// The entries in their order, with values that can be changed.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        IterMut::new(self.entries.iter_mut())
    }

    /// The keys in their order.
    pub fn keys(&self) -> Keys<'_, K, V> {
        Keys::new(self.iter())
    }

    /// The values in the order of the keys.
    pub fn values(&self) -> Values<'_, K, V> {
        Values::new(self.iter())
    }

    /// The values in the order of the keys, to be changed.
    pub fn values_mut(&mut self) -> ValuesMut<'_, K, V> {
        ValuesMut::new(self.iter_mut())
    }

    /// Drops all entries in their order; the memory stays.
    pub fn clear(&mut self) {
        drop(self.drain());
    }

    /// Takes all entries out in their order; the memory stays. What is not taken is dropped at the
    /// end of the iterator; one that is forgotten leaves an empty dict without memory for entries.
    pub fn drain(&mut self) -> Drain<'_, K, V> {
        self.index.clear();
        Drain::new(&mut self.entries)
    }
}

/// Room that lets `len` entries be replaced without an allocation: the gaps that removals leave
/// are closed once in a twentieth of the entries.
fn room_for(len: usize) -> Option<usize> {
    len.checked_add(len.div_ceil(20))
}

/// The entries that `room` is for: the most whose `room_for` it is.
fn held(room: usize) -> usize {
    let len = room / 21 * 20;
    len + (room % 21).saturating_sub(1)
}

impl<K: Eq + Hash, V, S: BuildHasher> Dict<K, V, S> {
    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> Mixed {
        Mixed::new(self.hasher.hash_one(key))
    }

    /// The cell and the number of the entry with this key.
    #[inline]
    fn find<Q>(&self, hash: Mixed, key: &Q) -> Option<(usize, usize)>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.index.find(hash, |number| {
            self.entries
                .get(number)
                .is_some_and(|(k, _)| k.borrow() == key)
        })
    }

    #[inline]
    fn number_of<Q>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.is_empty() {
            return None;
        }
        self.find(self.hash(key), key).map(|(_, number)| number)
    }

    /// Notes all entries in `index`, as if there were no gaps between them.
    fn note_all(entries: &Entries<(K, V)>, hasher: &S, index: &mut Index) {
        for (number, (key, _)) in entries.iter().enumerate() {
            index.insert(Mixed::new(hasher.hash_one(key)), number);
        }
    }

    /// Room for `room` entries, no fewer than there are, with no gaps between those that there are.
    fn grow(&mut self, room: usize) -> Result<(), DictError> {
        let cells = self.tuning.cells(room).ok_or(DictError::CapacityOverflow)?;
        room.checked_mul(mem::size_of::<(K, V)>())
            .filter(|&bytes| bytes <= isize::MAX as usize)
            .ok_or(DictError::CapacityOverflow)?;
        // Nothing is written to the memory of the index before there is that of the entries.
        let mut index = Index::reserved(cells, room)?;
        self.entries.reserve(room)?;
        index.open(cells);
        Self::note_all(&self.entries, &self.hasher, &mut index);
        // No key is hashed any more: the entries and the index change together.
        self.entries.compact();
        self.entries.open(room);
        self.index = index;
        Ok(())
    }

    /// Room for one more entry.
    fn make_room(&mut self) -> Result<(), DictError> {
        if self.entries.used() < self.entries.room() {
            return Ok(());
        }
        if self.len() < held(self.entries.room()) {
            self.entries.compact();
            // If a hash panics, the index stays unsettled, and finds the entries all the same.
            self.index.unsettle();
            Self::note_all(&self.entries, &self.hasher, &mut self.index);
            self.index.settle();
            return Ok(());
        }
        self.grow(self.tuning.grown(self.entries.room()))
    }

    /// Appends an entry whose key is not there, and gives its number.
    fn push(&mut self, hash: Mixed, key: K, value: V) -> Result<usize, (DictError, K, V)> {
        if let Err(error) = self.make_room() {
            return Err((error, key, value));
        }
        let number = self.entries.push((key, value));
        self.index.insert(hash, number);
        Ok(number)
    }

    /// Room for `additional` more entries, which are then inserted without an allocation; nor do
    /// removals and further inserts allocate while there are no more entries than that.
    ///
    /// # Errors
    ///
    /// `CapacityOverflow`, `OutOfMemory`. Nothing has changed then.
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), DictError> {
        let overflow = DictError::CapacityOverflow;
        let len = self.len().checked_add(additional).ok_or(overflow)?;
        let room = room_for(len).ok_or(overflow)?;
        if room <= self.entries.room() {
            return Ok(());
        }
        self.grow(room)
    }

    /// As [`try_reserve`](Self::try_reserve).
    ///
    /// # Panics
    ///
    /// Instead of an error.
    pub fn reserve(&mut self, additional: usize) {
        self.try_reserve(additional)
            .unwrap_or_else(|error| refused((error, (), ())));
    }

    /// Gives back all memory beyond the entries. Keeps it where the allocator refuses a smaller
    /// piece.
    pub fn shrink_to_fit(&mut self) {
        let len = self.len();
        let Some(cells) = self.tuning.cells(len) else {
            return;
        };
        if cells != self.index.cells() {
            let Ok(mut index) = Index::with_cells(cells, len) else {
                return;
            };
            Self::note_all(&self.entries, &self.hasher, &mut index);
            // No key is hashed any more: the entries and the index change together.
            self.entries.compact();
            self.index = index;
        }
        self.entries.shrink();
    }

    /// The value of a key.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// The entry of a key.
    #[inline]
    pub fn get_key_value<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.is_empty() {
            return None;
        }
        // What the search has looked at is not looked up again.
        let mut found = None;
        self.index.find(self.hash(key), |number| {
            found = self.entries.get(number).filter(|(k, _)| k.borrow() == key);
            found.is_some()
        })?;
        found.map(|(key, value)| (key, value))
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let number = self.number_of(key)?;
        self.entries.get_mut(number).map(|(_, value)| value)
    }

    /// Is there an entry with this key?
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.number_of(key).is_some()
    }

    /// Sets the value of a key, and gives the one that it had. A key that is there keeps its place.
    ///
    /// # Panics
    ///
    /// If there is no memory; see [`try_insert`](Self::try_insert).
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.try_insert(key, value).unwrap_or_else(refused)
    }

    /// As [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// `CapacityOverflow`, `OutOfMemory`, with the key and the value. The dict has not changed.
    pub fn try_insert(&mut self, key: K, value: V) -> Result<Option<V>, (DictError, K, V)> {
        match self.entry(key) {
            Entry::Occupied(mut entry) => Ok(Some(entry.insert(value))),
            Entry::Vacant(entry) => entry.try_insert(value).map(|_| None),
        }
    }

    /// The place of a key, to look at and to fill.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V, S> {
        let hash = self.hash(&key);
        match self.find(hash, &key) {
            Some((cell, number)) => Entry::Occupied(OccupiedEntry {
                dict: self,
                cell,
                number,
            }),
            None => Entry::Vacant(VacantEntry {
                dict: self,
                hash,
                key,
            }),
        }
    }

    /// Removes an entry and gives its value. The others keep their order, and none is moved.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Removes an entry and gives it.
    pub fn remove_entry<Q>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.is_empty() {
            return None;
        }
        let (cell, number) = self.find(self.hash(key), key)?;
        self.index.remove(cell);
        self.entries.take(number)
    }

    /// Keeps the entries of which `keep` says so, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for number in 0..self.entries.used() {
            let Some((key, value)) = self.entries.get_mut(number) else {
                continue;
            };
            if keep(key, value) {
                continue;
            }
            // The cell is sought by the number alone: a key that is equal to no other and not even
            // to itself goes too.
            let hash = Mixed::new(self.hasher.hash_one(&*key));
            if let Some((cell, _)) = self.index.find(hash, |n| n == number) {
                self.index.remove(cell);
            }
            drop(self.entries.take(number));
        }
    }
}

/// Panics without memory. The key and the value are dropped before, not while that unwinds.
#[cold]
fn refused<K, V, R>((error, key, value): (DictError, K, V)) -> R {
    drop((key, value));
    panic!("{error}")
}

impl<K, V, S: Default> Default for Dict<K, V, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K: Clone + Eq + Hash, V: Clone, S: BuildHasher + Clone> Clone for Dict<K, V, S> {
    /// A copy with no more room than it needs.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    fn clone(&self) -> Self {
        let len = self.len();
        let mut copy = Self::with_tuning_and_hasher(self.tuning, self.hasher.clone());
        let cells = self.tuning.cells(len).ok_or(DictError::CapacityOverflow);
        let made = cells.and_then(|cells| {
            let index = Index::reserved(cells, len)?;
            Ok((cells, index, self.entries.copied()?))
        });
        let (cells, mut index, entries) = made.unwrap_or_else(|error| refused((error, (), ())));
        index.open(cells);
        Self::note_all(&entries, &copy.hasher, &mut index);
        (copy.index, copy.entries) = (index, entries);
        copy
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Dict<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Two dicts are equal if they have the same entries, in whatever order.
impl<K: Eq + Hash, V: PartialEq, S: BuildHasher, T: BuildHasher> PartialEq<Dict<K, V, T>>
    for Dict<K, V, S>
{
    fn eq(&self, other: &Dict<K, V, T>) -> bool {
        self.len() == other.len() && self.iter().all(|(k, v)| other.get(k) == Some(v))
    }
}

impl<K: Eq + Hash, V: Eq, S: BuildHasher> Eq for Dict<K, V, S> {}

impl<K, V, S, Q> ops::Index<&Q> for Dict<K, V, S>
where
    K: Eq + Hash + Borrow<Q>,
    Q: Hash + Eq + ?Sized,
    S: BuildHasher,
{
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("no entry has this key")
    }
}

/// Inserts all entries; panics if there is no memory, as `insert` does. A dict that has no memory
/// yet makes room at once for as many as the iterator tells. One that has grows only if it must,
/// since the keys may be there already.
impl<K: Eq + Hash, V, S: BuildHasher> Extend<(K, V)> for Dict<K, V, S> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        let entries = entries.into_iter();
        let most = entries.size_hint().0;
        if self.entries.room() == 0 && most > 0 {
            // If there is no memory for all at once, the dict grows as they come.
            let _ = self.grow(most.max(self.tuning.grown(0)));
        }
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

/// As [`Extend`] on an empty dict.
impl<K: Eq + Hash, V, S: BuildHasher + Default> FromIterator<(K, V)> for Dict<K, V, S> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut dict = Self::default();
        dict.extend(entries);
        dict
    }
}

impl<K: Eq + Hash, V, const N: usize> From<[(K, V); N]> for Dict<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}
