//! What is refused, in the words of namedtuple.

use super::repr::Quoted;
use super::thin::Values;
use alloc::boxed::Box;
use core::fmt;
use core::{iter, option};

/// Why a record type or a record cannot be made, or a field cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The name of a type or a field is no identifier of Python's.
    NotIdentifier(Box<str>),
    /// The name of a type or a field is a keyword of Python 3.
    Keyword(Box<str>),
    /// The name of a field starts with an underscore.
    Underscore(Box<str>),
    /// Two fields have this name.
    Duplicate(Box<str>),
    /// More than 1,048,576 fields, or names of more than 2 GiB.
    TooLarge,
    /// More defaults than fields.
    TooManyDefaults,
    /// Fewer values than fields.
    TooFew {
        /// The number of fields.
        expected: usize,
        /// The number of values.
        got: usize,
    },
    /// More values than fields.
    TooMany {
        /// The number of fields.
        expected: usize,
    },
    /// This field has no value and no default.
    Missing(Box<str>),
    /// There is no such field.
    NoField(Box<str>),
    /// This field was given two values.
    Repeated(Box<str>),
    /// More bytes than there are addresses, or the allocator refused.
    OutOfMemory,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use RecordError::*;
        match self {
            NotIdentifier(name) => write!(
                f,
                "Type names and field names must be valid identifiers: {}",
                Quoted(name)
            ),
            Keyword(name) => write!(
                f,
                "Type names and field names cannot be a keyword: {}",
                Quoted(name)
            ),
            Underscore(name) => write!(
                f,
                "Field names cannot start with an underscore: {}",
                Quoted(name)
            ),
            Duplicate(name) => write!(f, "Encountered duplicate field name: {}", Quoted(name)),
            TooLarge => f.write_str("More than 1048576 fields, or names of more than 2 GiB"),
            TooManyDefaults => f.write_str("Got more default values than field names"),
            TooFew { expected, got } => write!(f, "Expected {expected} arguments, got {got}"),
            TooMany { expected } => write!(f, "Expected {expected} arguments, got more"),
            Missing(name) => write!(f, "Missing a value for the field {}", Quoted(name)),
            NoField(name) => write!(f, "Got unexpected field names: [{}]", Quoted(name)),
            Repeated(name) => write!(f, "Got two values for the field {}", Quoted(name)),
            OutOfMemory => f.write_str("Out of memory for a record"),
        }
    }
}

impl core::error::Error for RecordError {}

/// A record that was not made, with the values that were taken for it: nothing is lost. Its
/// iterator gives them back in their order.
///
/// ```
/// use hardswitch::record::{RecordError, RecordType};
///
/// let point = RecordType::new("Point", ["x", "y"])?;
/// let refused = point.make([1, 2, 3]).unwrap_err();
/// assert_eq!(refused.to_string(), "Expected 2 arguments, got more");
/// assert!(refused.into_iter().eq([1, 2, 3]));
/// # Ok::<(), RecordError>(())
/// ```
pub struct Refused<V> {
    error: RecordError,
    taken: Option<Values<V>>,
    /// The value for which there was no field.
    beyond: Option<V>,
}

impl<V> Refused<V> {
    pub(super) fn new(error: RecordError, taken: Option<Values<V>>, beyond: Option<V>) -> Self {
        Refused {
            error,
            taken,
            beyond,
        }
    }

    /// Why.
    pub fn error(&self) -> &RecordError {
        &self.error
    }
}

impl<V> fmt::Debug for Refused<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refused").field(&self.error).finish()
    }
}

impl<V> fmt::Display for Refused<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<V> core::error::Error for Refused<V> {}

/// Drops the values that were taken.
impl<V> From<Refused<V>> for RecordError {
    fn from(refused: Refused<V>) -> RecordError {
        refused.error
    }
}

/// Drops what a refused call gives back.
impl<T> From<(RecordError, T)> for RecordError {
    fn from((error, _): (RecordError, T)) -> RecordError {
        error
    }
}

/// What was taken for a record that was not made.
pub struct Taken<V>(iter::Chain<iter::Flatten<option::IntoIter<Values<V>>>, option::IntoIter<V>>);

impl<V> Iterator for Taken<V> {
    type Item = V;

    fn next(&mut self) -> Option<V> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<V> IntoIterator for Refused<V> {
    type Item = V;
    type IntoIter = Taken<V>;

    fn into_iter(self) -> Taken<V> {
        Taken(self.taken.into_iter().flatten().chain(self.beyond))
    }
}
