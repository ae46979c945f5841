//! Record types: names of fields, and how records come of values.

use super::names;
use super::thin::Values;
use super::{Named, Record, RecordError, Refused};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// An iterator of names without an end is refused at this.
const MOST_FIELDS: usize = 1 << 20;
/// What `ends` can tell, less what `rename` may add.
const MOST_BYTES: usize = 1 << 31;

/// A type of records: a name and the names of its fields, which never change. A clone is another
/// handle of the same type.
///
/// Two record types are equal if they are the same one. Any thread may use them if `V` may be
/// shared.
pub struct RecordType<V>(Arc<Shape<V>>);

struct Shape<V> {
    /// The name of the type and those of the fields, one after another.
    names: Box<str>,
    /// Where the name of the type and that of each field end.
    ends: Box<[u32]>,
    /// The numbers of the fields in the order of their names.
    order: Box<[u32]>,
    /// Those of the last fields.
    defaults: Box<[V]>,
}

impl<V> RecordType<V> {
    /// A type with this name and these fields, checked as Python's `namedtuple` checks them: each
    /// name is an identifier and no keyword, and no two fields have the same name or one that
    /// starts with an underscore. O(n log n).
    ///
    /// Names that differ only before normalisation (NFKC) are different ones.
    ///
    /// # Errors
    ///
    /// `NotIdentifier`, `Keyword`, `Underscore`, `Duplicate`: the fault that `namedtuple` names.
    /// `TooLarge`: it has at most 1,048,576 fields, and 2 GiB of names.
    pub fn new<N: AsRef<str>>(
        name: &str,
        fields: impl IntoIterator<Item = N>,
    ) -> Result<Self, RecordError> {
        Self::make_type(name, strings(fields), false)
    }

    /// As [`new`](Self::new), with other names for fields whose names it would refuse: `_0` for
    /// the first field, and so on. The name of the type is checked.
    ///
    /// # Errors
    ///
    /// As `new`, of the type's name; `TooLarge`.
    pub fn renamed<N: AsRef<str>>(
        name: &str,
        fields: impl IntoIterator<Item = N>,
    ) -> Result<Self, RecordError> {
        Self::make_type(name, strings(fields), true)
    }

    fn make_type(
        name: &str,
        given: impl Iterator<Item = String>,
        rename: bool,
    ) -> Result<Self, RecordError> {
        let (mut fields, mut bytes) = (Vec::new(), name.len());
        if bytes > MOST_BYTES {
            return Err(RecordError::TooLarge);
        }
        for field in given {
            bytes = bytes.saturating_add(field.len());
            if fields.len() == MOST_FIELDS || bytes > MOST_BYTES {
                return Err(RecordError::TooLarge);
            }
            fields.push(field);
        }
        if rename {
            names::rename(&mut fields);
        }
        let order = names::check(name, &fields, rename)?;
        let mut names = String::from(name);
        let mut ends = Vec::with_capacity(1 + fields.len());
        ends.push(names.len() as u32);
        for field in &fields {
            names += field;
            ends.push(names.len() as u32);
        }
        Ok(RecordType(Arc::new(Shape {
            names: names.into_boxed_str(),
            ends: ends.into_boxed_slice(),
            order: order.into_boxed_slice(),
            defaults: Box::default(),
        })))
    }

    /// The same type with these defaults: they are those of the last fields, in their order. If
    /// there are other handles or records of the type, it is a new type, and the old one stays as
    /// it is.
    ///
    /// # Errors
    ///
    /// `TooManyDefaults`, with the defaults.
    pub fn with_defaults(mut self, defaults: Vec<V>) -> Result<Self, (RecordError, Vec<V>)> {
        if defaults.len() > self.len() {
            return Err((RecordError::TooManyDefaults, defaults));
        }
        let defaults = defaults.into_boxed_slice();
        if let Some(shape) = Arc::get_mut(&mut self.0) {
            shape.defaults = defaults;
            return Ok(self);
        }
        Ok(RecordType(Arc::new(Shape {
            names: self.0.names.clone(),
            ends: self.0.ends.clone(),
            order: self.0.order.clone(),
            defaults,
        })))
    }

    /// A type with the fields of this one and more of them, without defaults.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), also where [`renamed`](Self::renamed) has made the names of this one.
    pub fn extend<N: AsRef<str>>(
        &self,
        name: &str,
        more: impl IntoIterator<Item = N>,
    ) -> Result<Self, RecordError> {
        let fields = self.fields().map(String::from).chain(strings(more));
        Self::make_type(name, fields, false)
    }

    /// The name of the type.
    pub fn name(&self) -> &str {
        &self.0.names[..self.0.ends[0] as usize]
    }

    /// The number of fields.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.order.len()
    }

    /// True if there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of a field.
    pub fn field(&self, index: usize) -> Option<&str> {
        let end = *self.0.ends.get(index.checked_add(1)?)?;
        let start = *self.0.ends.get(index)?;
        Some(&self.0.names[start as usize..end as usize])
    }

    /// The names of the fields in their order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator {
        (0..self.len()).map(|index| self.field(index).expect("there is such a field"))
    }

    /// Which field has this name, from 0 on. O(log n).
    pub fn index(&self, field: &str) -> Option<usize> {
        let name_of = |&number: &u32| self.field(number as usize).unwrap_or_default();
        let order = &self.0.order;
        let found = order.binary_search_by(|number| name_of(number).cmp(field));
        found.ok().map(|at| order[at] as usize)
    }

    /// The default of a field, if it has one.
    pub fn default_of(&self, index: usize) -> Option<&V> {
        let first = self.len() - self.0.defaults.len();
        self.0.defaults.get(index.checked_sub(first)?)
    }

    /// A record of as many values as there are fields, taken from an iterator in their order. One
    /// value more is taken at most, to see that there is none. One allocation.
    ///
    /// # Errors
    ///
    /// `TooFew`, `TooMany`, with what was taken; `OutOfMemory` before anything is taken.
    pub fn make(&self, values: impl IntoIterator<Item = V>) -> Result<Record<V>, Refused<V>> {
        let taken = self.take(values.into_iter())?;
        let (expected, got) = (self.len(), taken.len());
        taken
            .finish()
            .map(Record)
            .map_err(|taken| Refused::new(RecordError::TooFew { expected, got }, Some(taken), None))
    }

    /// As [`make`](Self::make); fields for which there is no value get a clone of their default.
    ///
    /// # Errors
    ///
    /// `Missing` where a field has no default either, `TooMany`, with what was taken;
    /// `OutOfMemory` before anything is taken.
    pub fn make_with_defaults(
        &self,
        values: impl IntoIterator<Item = V>,
    ) -> Result<Record<V>, Refused<V>>
    where
        V: Clone,
    {
        let mut taken = self.take(values.into_iter())?;
        while let Some(name) = self.field(taken.len()) {
            // After the first field with a default each has one: no clone is given back.
            let Some(default) = self.default_of(taken.len()) else {
                let missing = RecordError::Missing(name.into());
                return Err(Refused::new(missing, Some(taken), None));
            };
            taken.push(default.clone());
        }
        Ok(whole(taken))
    }

    /// The first values of an iterator, no more than there are fields.
    fn take(&self, mut values: impl Iterator<Item = V>) -> Result<Values<V>, Refused<V>> {
        let mut taken = Values::reserve(self).map_err(|error| Refused::new(error, None, None))?;
        while taken.len() < self.len() {
            let Some(value) = values.next() else {
                return Ok(taken);
            };
            taken.push(value);
        }
        let expected = self.len();
        match values.next() {
            None => Ok(taken),
            beyond => Err(Refused::new(
                RecordError::TooMany { expected },
                Some(taken),
                beyond,
            )),
        }
    }

    /// A record of values by the names of their fields, in any order. The other fields get a clone
    /// of their default.
    ///
    /// # Errors
    ///
    /// `NoField`, `Repeated`, `Missing`, `OutOfMemory`, with all values.
    pub fn make_named<'n, const N: usize>(
        &self,
        named: Named<'n, V, N>,
    ) -> Result<Record<V>, (RecordError, Named<'n, V, N>)>
    where
        V: Clone,
    {
        self.merge(named, |field| self.default_of(field))
    }

    /// A record of some values by the names of their fields, and clones of `otherwise` for the
    /// rest. Nothing is taken of `named` before all is checked.
    pub(super) fn merge<'n, 'v, const N: usize>(
        &self,
        named: Named<'n, V, N>,
        otherwise: impl Fn(usize) -> Option<&'v V>,
    ) -> Result<Record<V>, (RecordError, Named<'n, V, N>)>
    where
        V: Clone + 'v,
    {
        let checked = self.places(&named).and_then(|places| {
            let mut next = places.iter().peekable();
            for (field, name) in self.fields().enumerate() {
                let given = next.next_if(|place| place.0 == field).is_some();
                if !given && otherwise(field).is_none() {
                    return Err(RecordError::Missing(name.into()));
                }
            }
            Ok((places, Values::reserve(self)?))
        });
        let (places, mut values) = match checked {
            Ok(checked) => checked,
            Err(error) => return Err((error, named)),
        };
        let mut given = named.map(|(_, value)| Some(value));
        let mut next = places.iter().peekable();
        for field in 0..self.len() {
            let value = match next.next_if(|place| place.0 == field) {
                Some(&(_, at)) => given[at].take(),
                None => otherwise(field).cloned(),
            };
            values.push(value.expect("it was looked at before"));
        }
        Ok(whole(values))
    }

    /// For each of the values its field and its place among them, in the order of the fields.
    fn places<const N: usize>(
        &self,
        named: &[(&str, V); N],
    ) -> Result<[(usize, usize); N], RecordError> {
        let mut places = [(0, 0); N];
        for (at, &(name, _)) in named.iter().enumerate() {
            let field = self.index(name);
            let no_field = || RecordError::NoField(name.into());
            places[at] = (field.ok_or_else(no_field)?, at);
        }
        places.sort_unstable();
        let twice = places.windows(2).find(|pair| pair[0].0 == pair[1].0);
        match twice {
            Some(pair) => Err(RecordError::Repeated(named[pair[0].1].0.into())),
            None => Ok(places),
        }
    }
}

/// The names as strings. Each is asked for once: it may be code of the caller's that answers.
fn strings<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> impl Iterator<Item = String> {
    names.into_iter().map(|name| String::from(name.as_ref()))
}

fn whole<V>(values: Values<V>) -> Record<V> {
    let whole = values.finish().ok();
    Record(whole.expect("there is a value for each field"))
}

impl<V> Clone for RecordType<V> {
    fn clone(&self) -> Self {
        RecordType(self.0.clone())
    }
}

impl<V> PartialEq for RecordType<V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<V> Eq for RecordType<V> {}

/// The name with those of the fields: `Point(x, y)`.
impl<V> fmt::Debug for RecordType<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name())?;
        for (number, field) in self.fields().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{field}")?;
        }
        f.write_str(")")
    }
}
