//! The place of a key in a dict, found once and then looked at or filled.

use super::index::Mixed;
use super::{refused, Dict, DictError};
use core::hash::{BuildHasher, Hash};
use core::mem;

/// The place of a key.
pub enum Entry<'a, K, V, S> {
    /// The key is there.
    Occupied(OccupiedEntry<'a, K, V, S>),
    /// It is not.
    Vacant(VacantEntry<'a, K, V, S>),
}

/// An entry that is there.
pub struct OccupiedEntry<'a, K, V, S> {
    pub(super) dict: &'a mut Dict<K, V, S>,
    pub(super) cell: usize,
    pub(super) number: usize,
}

/// A key that is not there.
pub struct VacantEntry<'a, K, V, S> {
    pub(super) dict: &'a mut Dict<K, V, S>,
    pub(super) hash: Mixed,
    pub(super) key: K,
}

const LIVE: &str = "an indexed entry is live";

impl<'a, K: Eq + Hash, V, S: BuildHasher> Entry<'a, K, V, S> {
    /// The key's value, which is `value` if it had none.
    ///
    /// # Panics
    ///
    /// If there is no memory; see [`VacantEntry::try_insert`].
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// The key's value, made by `make` if it had none.
    ///
    /// # Panics
    ///
    /// If there is no memory; see [`VacantEntry::try_insert`].
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        match self {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(make()),
        }
    }

    /// The key's value, which is the default one if it had none.
    ///
    /// # Panics
    ///
    /// If there is no memory; see [`VacantEntry::try_insert`].
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Changes the value if there is one.
    pub fn and_modify(mut self, change: impl FnOnce(&mut V)) -> Self {
        if let Entry::Occupied(entry) = &mut self {
            change(entry.get_mut());
        }
        self
    }

    /// The key.
    pub fn key(&self) -> &K {
        match self {
            Entry::Occupied(entry) => entry.key(),
            Entry::Vacant(entry) => entry.key(),
        }
    }
}

impl<'a, K, V, S> OccupiedEntry<'a, K, V, S> {
    /// The key in the dict.
    pub fn key(&self) -> &K {
        &self.dict.entries.get(self.number).expect(LIVE).0
    }

    /// The value.
    pub fn get(&self) -> &V {
        &self.dict.entries.get(self.number).expect(LIVE).1
    }

    /// The value, to be changed.
    pub fn get_mut(&mut self) -> &mut V {
        &mut self.dict.entries.get_mut(self.number).expect(LIVE).1
    }

    /// The value, to be changed for as long as the dict is borrowed.
    pub fn into_mut(self) -> &'a mut V {
        &mut self.dict.entries.get_mut(self.number).expect(LIVE).1
    }

    /// Sets the value and gives the one that was there.
    pub fn insert(&mut self, value: V) -> V {
        mem::replace(self.get_mut(), value)
    }

    /// Removes the entry and gives its value.
    pub fn remove(self) -> V {
        self.remove_entry().1
    }

    /// Removes the entry and gives it.
    pub fn remove_entry(self) -> (K, V) {
        self.dict.index.remove(self.cell);
        self.dict.entries.take(self.number).expect(LIVE)
    }
}

impl<'a, K: Eq + Hash, V, S: BuildHasher> VacantEntry<'a, K, V, S> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Gives the key back.
    pub fn into_key(self) -> K {
        self.key
    }

    /// Inserts the key with a value.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    pub fn insert(self, value: V) -> &'a mut V {
        self.try_insert(value).unwrap_or_else(refused)
    }

    /// As [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// `CapacityOverflow`, `OutOfMemory`, with the key and the value. The dict has not changed.
    pub fn try_insert(self, value: V) -> Result<&'a mut V, (DictError, K, V)> {
        let VacantEntry { dict, hash, key } = self;
        let number = dict.push(hash, key, value)?;
        Ok(&mut dict.entries.get_mut(number).expect(LIVE).1)
    }
}
