//! Records: values with names, of types that are made at run time, as Python's `namedtuple` makes
//! them.
//!
//! A [`RecordType`] is a name and names of fields. A [`Record`] of it has one value for each field,
//! and takes one allocation: a pointer to its type, and the values. It is compared and hashed as a
//! tuple of its values, whatever its type is, and written as namedtuple's `repr` writes it.
//!
//! ```
//! use hardswitch::record::{RecordError, RecordType};
//!
//! let account = RecordType::new("Account", ["owner", "balance"])?.with_defaults(vec![0])?;
//! let mut a = account.make_with_defaults([7])?;
//! a["balance"] += 10;
//! let b = a.replace([("owner", 8)])?;
//! assert!(a < b);
//! assert_eq!(a.to_string(), "Account(owner=7, balance=10)");
//! assert_eq!(b.values(), [8, 10]);
//! # Ok::<(), RecordError>(())
//! ```
//!
//! | operation | cost |
//! |---|---|
//! | a value by index | O(1) |
//! | a value by name | O(log n): names are searched by halves |
//! | make, replace, clone, compare | O(n) |
//! | make a type | O(n log n) |

mod error;
mod names;
mod record_type;
mod repr;
mod thin;

pub use error::{RecordError, Refused, Taken};
pub use record_type::RecordType;
pub(crate) use repr::{Quoted, Real};
pub use thin::Values;

use self::thin::Thin;
use crate::dict::Dict;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Index, IndexMut};
use core::slice;

/// Values with the names of their fields.
pub type Named<'n, V, const N: usize> = [(&'n str, V); N];

/// Values with names. See the [module](self).
///
/// It is one pointer. Its memory is a pointer to its type, and the values, in one allocation.
pub struct Record<V>(Thin<V>);

impl<V> Record<V> {
    /// Its type.
    pub fn record_type(&self) -> &RecordType<V> {
        self.0.of()
    }

    /// Its values in the order of the fields.
    #[inline]
    pub fn values(&self) -> &[V] {
        self.0.values()
    }

    /// Its values in the order of the fields, to be changed.
    #[inline]
    pub fn values_mut(&mut self) -> &mut [V] {
        self.0.values_mut()
    }

    /// The value of a field. `record["x"]` is the same, and panics where there is none.
    pub fn field(&self, name: &str) -> Option<&V> {
        let index = self.record_type().index(name)?;
        self.values().get(index)
    }

    /// The value of a field, to be changed.
    pub fn field_mut(&mut self, name: &str) -> Option<&mut V> {
        let index = self.record_type().index(name)?;
        self.values_mut().get_mut(index)
    }

    /// Sets the value of a field, and gives the one that it had.
    ///
    /// # Errors
    ///
    /// `NoField`, with the value.
    pub fn set(&mut self, name: &str, value: V) -> Result<V, (RecordError, V)> {
        match self.field_mut(name) {
            Some(place) => Ok(core::mem::replace(place, value)),
            None => Err((RecordError::NoField(name.into()), value)),
        }
    }

    /// A copy with other values in some fields.
    ///
    /// # Errors
    ///
    /// `NoField`, `Repeated`, `OutOfMemory`, with all values.
    pub fn replace<'n, const N: usize>(
        &self,
        named: Named<'n, V, N>,
    ) -> Result<Record<V>, (RecordError, Named<'n, V, N>)>
    where
        V: Clone,
    {
        let values = self.values();
        self.record_type().merge(named, |field| values.get(field))
    }

    /// The names with their values, in the order of the fields.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    pub fn as_dict(&self) -> Dict<&str, &V> {
        self.fields().collect()
    }

    /// Each field's name and value.
    fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &V)> {
        self.record_type().fields().zip(self.values())
    }

    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        value: impl Fn(&V, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write!(f, "{}(", self.record_type().name())?;
        for (number, (name, its)) in self.fields().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{name}=")?;
            value(its, f)?;
        }
        f.write_str(")")
    }
}

impl<V: Clone> Clone for Record<V> {
    /// Another record of the same type, with clones of the values.
    ///
    /// # Panics
    ///
    /// If there is no memory; [`RecordType::make`] gives an error.
    fn clone(&self) -> Self {
        let made = self.record_type().make(self.values().iter().cloned());
        made.unwrap_or_else(|refused| panic!("{refused}"))
    }
}

/// As namedtuple's `repr`, with `Display` of the values: `Point(x=1, y=2)`. Flags of the formatter
/// (a precision, say) are those of each value.
impl<V: fmt::Display> fmt::Display for Record<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, V::fmt)
    }
}

/// As namedtuple's `repr`, with `Debug` of the values: `Point(x=1.0, y="two")`.
impl<V: fmt::Debug> fmt::Debug for Record<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, V::fmt)
    }
}

impl<V: PartialEq> PartialEq for Record<V> {
    fn eq(&self, other: &Self) -> bool {
        self.values() == other.values()
    }
}

impl<V: Eq> Eq for Record<V> {}

impl<V: PartialOrd> PartialOrd for Record<V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.values().partial_cmp(other.values())
    }
}

impl<V: Ord> Ord for Record<V> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.values().cmp(other.values())
    }
}

impl<V: Hash> Hash for Record<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values().hash(state);
    }
}

impl<V> Index<usize> for Record<V> {
    type Output = V;

    fn index(&self, index: usize) -> &V {
        &self.values()[index]
    }
}

impl<V> IndexMut<usize> for Record<V> {
    fn index_mut(&mut self, index: usize) -> &mut V {
        &mut self.values_mut()[index]
    }
}

impl<V> Index<&str> for Record<V> {
    type Output = V;

    fn index(&self, name: &str) -> &V {
        self.field(name)
            .unwrap_or_else(|| panic!("{}", RecordError::NoField(name.into())))
    }
}

impl<V> IndexMut<&str> for Record<V> {
    fn index_mut(&mut self, name: &str) -> &mut V {
        self.field_mut(name)
            .unwrap_or_else(|| panic!("{}", RecordError::NoField(name.into())))
    }
}

/// The values, given away in the order of the fields.
impl<V> IntoIterator for Record<V> {
    type Item = V;
    type IntoIter = Values<V>;

    fn into_iter(self) -> Values<V> {
        self.0.into_values()
    }
}

impl<'a, V> IntoIterator for &'a Record<V> {
    type Item = &'a V;
    type IntoIter = slice::Iter<'a, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.values().iter()
    }
}

impl<'a, V> IntoIterator for &'a mut Record<V> {
    type Item = &'a mut V;
    type IntoIter = slice::IterMut<'a, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.values_mut().iter_mut()
    }
}
