//! The iterators of a dict, all in the order of the inserts.

use super::entries::{self, Entries};
use super::Dict;
use core::mem;

macro_rules! iterator {
    ($(#[$doc:meta])* $name:ident<$($life:lifetime)?>, $inner:ty => $item:ty, $pattern:pat => $give:expr) => {
        $(#[$doc])*
        pub struct $name<$($life,)? K, V>($inner);

        impl<$($life,)? K, V> $name<$($life,)? K, V> {
            pub(super) fn new(inner: $inner) -> Self {
                $name(inner)
            }
        }

        impl<$($life,)? K, V> Iterator for $name<$($life,)? K, V> {
            type Item = $item;

            #[inline]
            fn next(&mut self) -> Option<$item> {
                self.0.next().map(|$pattern| $give)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<$($life,)? K, V> ExactSizeIterator for $name<$($life,)? K, V> {}
        impl<$($life,)? K, V> core::iter::FusedIterator for $name<$($life,)? K, V> {}
    };
}

iterator! {
    /// The entries. See [`Dict::iter`].
    Iter<'a>, entries::Iter<'a, (K, V)> => (&'a K, &'a V), (key, value) => (key, value)
}
iterator! {
    /// The entries, with values to be changed. See [`Dict::iter_mut`].
    IterMut<'a>, entries::IterMut<'a, (K, V)> => (&'a K, &'a mut V), (key, value) => (&*key, value)
}
iterator! {
    /// The keys. See [`Dict::keys`].
    Keys<'a>, Iter<'a, K, V> => &'a K, (key, _) => key
}
iterator! {
    /// The values. See [`Dict::values`].
    Values<'a>, Iter<'a, K, V> => &'a V, (_, value) => value
}
iterator! {
    /// The values, to be changed. See [`Dict::values_mut`].
    ValuesMut<'a>, IterMut<'a, K, V> => &'a mut V, (_, value) => value
}
iterator! {
    /// The entries of a dict that is given away.
    IntoIter<>, entries::IntoIter<(K, V)> => (K, V), entry => entry
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Iter(self.0.clone())
    }
}

/// The entries, taken out. See [`Dict::drain`].
// The dict is without its entries meanwhile, so that it is whole if this is forgotten.
pub struct Drain<'a, K, V> {
    taken: entries::IntoIter<(K, V)>,
    entries: &'a mut Entries<(K, V)>,
}

impl<'a, K, V> Drain<'a, K, V> {
    pub(super) fn new(entries: &'a mut Entries<(K, V)>) -> Self {
        let taken = mem::replace(entries, Entries::new());
        Drain {
            taken: entries::IntoIter::new(taken),
            entries,
        }
    }
}

impl<K, V> Iterator for Drain<'_, K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        self.taken.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.taken.size_hint()
    }
}

impl<K, V> ExactSizeIterator for Drain<'_, K, V> {}

impl<K, V> Drop for Drain<'_, K, V> {
    fn drop(&mut self) {
        // First the memory goes back: a destructor that panics does not cost it.
        self.taken.swap(self.entries);
        self.entries.clear();
    }
}

impl<'a, K, V, S> IntoIterator for &'a Dict<K, V, S> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<'a, K, V, S> IntoIterator for &'a mut Dict<K, V, S> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;

    fn into_iter(self) -> IterMut<'a, K, V> {
        self.iter_mut()
    }
}

impl<K, V, S> IntoIterator for Dict<K, V, S> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> IntoIter<K, V> {
        IntoIter::new(entries::IntoIter::new(self.entries))
    }
}
