//! Records: values with names, of types that are made at run time.

use core::cell::RefCell;
use core::cmp::Ordering;
use core::ffi::{c_char, c_void, CStr};
use core::fmt;

use alloc::ffi::CString;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::failure::Failure;
use super::object::{self, ask, ask_or_fail, get, handle_of_kept};
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, Done};
use crate::record::{Quoted, Real, Record, RecordError, RecordType};

/// A handle of a record type; the rules for its owner and thread are those of `hsw_tasklet`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_record_type {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// A handle of a record; the rules for its owner and thread are those of `hsw_tasklet`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_record {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// What a value of a record is.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum hsw_value_kind {
    /// Nothing.
    HSW_VALUE_NONE = 0,
    /// `of.integer`.
    HSW_VALUE_INTEGER = 1,
    /// `of.real`.
    HSW_VALUE_REAL = 2,
    /// `of.text`, which ends in a zero byte. A record copies it.
    HSW_VALUE_TEXT = 3,
    /// `of.pointer`, which is the record's from then on: see `hsw_record_type_new`.
    HSW_VALUE_POINTER = 4,
}

use hsw_value_kind::*;

/// A value of a record; its kind tells which of them it is.
#[repr(C)]
#[derive(Clone, Copy)]
pub union hsw_value_of {
    /// A whole number.
    pub integer: i64,
    /// A number.
    pub real: f64,
    /// Words, which end in a zero byte.
    pub text: *const c_char,
    /// Anything.
    pub pointer: *mut c_void,
}

/// A value of a record. All bytes zero is nothing.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_value {
    /// One of `hsw_value_kind`.
    pub kind: i32,
    /// The value.
    pub of: hsw_value_of,
}

/// A value in a record. Its clones share a text or a pointer, and the last of them frees it.
#[derive(Clone)]
enum Value {
    None,
    Integer(i64),
    Real(f64),
    Text(Rc<CString>),
    Pointer(Rc<Owned>),
}

impl Value {
    /// The value, lent to C.
    fn lent(&self) -> hsw_value {
        let (kind, of) = match self {
            Value::None => (HSW_VALUE_NONE, hsw_value_of { integer: 0 }),
            Value::Integer(integer) => (HSW_VALUE_INTEGER, hsw_value_of { integer: *integer }),
            Value::Real(real) => (HSW_VALUE_REAL, hsw_value_of { real: *real }),
            Value::Text(text) => (
                HSW_VALUE_TEXT,
                hsw_value_of {
                    text: text.as_ptr(),
                },
            ),
            Value::Pointer(owned) => (
                HSW_VALUE_POINTER,
                hsw_value_of {
                    pointer: owned.peek().0,
                },
            ),
        };
        hsw_value {
            kind: kind as i32,
            of,
        }
    }
}

/// The order of a whole number and another number, exactly.
fn compare_with_real(integer: i64, real: f64) -> Option<Ordering> {
    const LIMIT: f64 = -(i64::MIN as f64);
    if real >= LIMIT {
        return Some(Ordering::Less);
    }
    if real < -LIMIT {
        return Some(Ordering::Greater);
    }
    // The whole part of `real`; what is left of it is exact. (0 for what is no number.)
    let whole = real as i64;
    let rest = 0.0.partial_cmp(&(real - whole as f64))?;
    Some(integer.cmp(&whole).then(rest))
}

/// As in Python: numbers are compared as numbers, and what is of two kinds has no order.
impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Value::None, Value::None) => Some(Ordering::Equal),
            (Value::Integer(one), Value::Integer(other)) => Some(one.cmp(other)),
            (Value::Real(one), Value::Real(other)) => one.partial_cmp(other),
            (Value::Integer(one), Value::Real(other)) => compare_with_real(*one, *other),
            (Value::Real(one), Value::Integer(other)) => {
                compare_with_real(*other, *one).map(Ordering::reverse)
            }
            (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
            (Value::Pointer(one), Value::Pointer(other)) => {
                let same = one.peek().0 == other.peek().0;
                same.then_some(Ordering::Equal)
            }
            _ => None,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

/// As Python's `repr`.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::None => f.write_str("None"),
            Value::Integer(integer) => fmt::Display::fmt(integer, f),
            Value::Real(real) => fmt::Display::fmt(&Real(*real), f),
            Value::Text(text) => fmt::Display::fmt(&Quoted(&text.to_string_lossy()), f),
            Value::Pointer(owned) => write!(f, "{:#x}", owned.peek().0 as usize),
        }
    }
}

pub(super) struct CRecordType {
    of: RecordType<Value>,
    destroy: hsw_destroy,
}

pub(super) struct CRecord {
    of: Rc<CRecordType>,
    /// Nothing of C's is called while it is borrowed.
    record: RefCell<Record<Value>>,
}

handle_of_kept!(hsw_record_type, CRecordType, RecordType, record_types);
handle_of_kept!(hsw_record, CRecord, Record, records);

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let words = error.to_string();
        match error {
            RecordError::OutOfMemory => Failure::Told(hsw_status::HSW_ERR_OUT_OF_MEMORY, words),
            _ => Failure::Argument(words),
        }
    }
}

/// Values of C's that have been found to be good: of a kind that there is, and no text is null.
#[derive(Clone, Copy)]
struct Checked<'a>(&'a [hsw_value]);

impl Checked<'_> {
    /// SAFETY: `values` is null or points to `count` values, and each of their texts is null or
    /// ends in a zero byte.
    unsafe fn new<'a>(values: *const hsw_value, count: usize) -> Result<Checked<'a>, Failure> {
        if count == 0 {
            return Ok(Checked(&[]));
        }
        if values.is_null() {
            return Err(Failure::Null("values"));
        }
        // SAFETY: the caller's promise.
        let values = unsafe { core::slice::from_raw_parts(values, count) };
        for value in values {
            if !(HSW_VALUE_NONE as i32..=HSW_VALUE_POINTER as i32).contains(&value.kind) {
                let words = format!("{} is no kind of a value", value.kind);
                return Err(Failure::Argument(words));
            }
            // SAFETY: its kind says that it is a text.
            if value.kind == HSW_VALUE_TEXT as i32 && unsafe { value.of.text }.is_null() {
                return Err(Failure::Null("a text"));
            }
        }
        Ok(Checked(values))
    }

    /// The values as the library's: pointers come with the duty to free them.
    fn take(&self, destroy: hsw_destroy) -> impl Iterator<Item = Value> + '_ {
        self.0.iter().map(move |value| {
            // SAFETY: the kind says which of them was set, and C has promised that a text, which
            // has been found not to be null, ends in a zero byte.
            unsafe {
                match value.kind {
                    kind if kind == HSW_VALUE_INTEGER as i32 => Value::Integer(value.of.integer),
                    kind if kind == HSW_VALUE_REAL as i32 => Value::Real(value.of.real),
                    kind if kind == HSW_VALUE_TEXT as i32 => {
                        Value::Text(Rc::new(CString::from(CStr::from_ptr(value.of.text))))
                    }
                    kind if kind == HSW_VALUE_POINTER as i32 => {
                        Value::Pointer(Rc::new(Owned::new(value.of.pointer, destroy)))
                    }
                    _ => Value::None,
                }
            }
        })
    }
}

/// The names of fields.
///
/// SAFETY: `fields` is null or points to `count` strings, each null or ending in a zero byte.
unsafe fn names(fields: *const *const c_char, count: usize) -> Result<Vec<String>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if fields.is_null() {
        return Err(Failure::Null("fields"));
    }
    // SAFETY: the caller's promise.
    let fields = unsafe { core::slice::from_raw_parts(fields, count) };
    let name = |&field| {
        // SAFETY: the caller's promise.
        unsafe { super::string(field, "the name of a field") }
    };
    fields.iter().map(name).collect()
}

/// Makes a record type with `count` fields. Names are checked by the rules of Python's
/// `namedtuple`: identifiers and no keywords, those of fields without a leading underscore, no two
/// the same. With `rename`, fields whose names break them are called `_0`, `_1` and so on, by their
/// place. `destroy` (may be null) frees values of the kind `HSW_VALUE_POINTER` that are in records
/// of the type; the copies of a record share them, and the last one frees them.
///
/// `HSW_ERR_ARGUMENT`: a name is not allowed; the message is namedtuple's.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_type_new(
    name: *const c_char,
    fields: *const *const c_char,
    count: usize,
    rename: bool,
    destroy: hsw_destroy,
    record_type: *mut hsw_record_type,
) -> hsw_status {
    object::make(record_type, "record_type", || {
        // SAFETY: a string, and `count` strings (contract of the interface).
        let (name, fields) = unsafe { (super::string(name, "name")?, names(fields, count)?) };
        let of = if rename {
            RecordType::renamed(&name, fields)?
        } else {
            RecordType::new(&name, fields)?
        };
        Ok(Rc::new(CRecordType { of, destroy }))
    })
}

/// Makes a record type with the fields of another one and more of them. It has no defaults.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_type_extend(
    record_type: hsw_record_type,
    name: *const c_char,
    fields: *const *const c_char,
    count: usize,
    other: *mut hsw_record_type,
) -> hsw_status {
    object::make(other, "other", || {
        let old = get(record_type)?;
        // SAFETY: a string, and `count` strings (contract of the interface).
        let (name, fields) = unsafe { (super::string(name, "name")?, names(fields, count)?) };
        let of = old.of.extend(&name, fields)?;
        let destroy = old.destroy;
        Ok(Rc::new(CRecordType { of, destroy }))
    })
}

/// Makes a record type as another one, with defaults for the last `count` fields. When this fails
/// the values are still the caller's.
///
/// `HSW_ERR_ARGUMENT`: more values than fields, or a value is of no kind. `HSW_ERR_LIMIT`: too many
/// handles.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_type_with_defaults(
    record_type: hsw_record_type,
    values: *const hsw_value,
    count: usize,
    other: *mut hsw_record_type,
) -> hsw_status {
    object::make(other, "other", || {
        let old = get(record_type)?;
        if count > old.of.len() {
            return Err(RecordError::TooManyDefaults.into());
        }
        // SAFETY: `count` values (contract of the interface).
        let values = unsafe { Checked::new(values, count) }?;
        object::room::<hsw_record_type>()?;
        // From here on nothing fails, so what is taken is not lost.
        let destroy = old.destroy;
        let defaults = values.take(destroy).collect();
        let of = old.of.clone().with_defaults(defaults);
        let of = of.map_err(RecordError::from)?;
        Ok(Rc::new(CRecordType { of, destroy }))
    })
}

/// Makes another handle of the same record type, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_type_retain(
    record_type: hsw_record_type,
    other: *mut hsw_record_type,
) -> hsw_status {
    object::retain(record_type, other)
}

/// Gives a handle back. Its records stay.
#[no_mangle]
pub extern "C" fn hsw_record_type_release(record_type: hsw_record_type) -> hsw_status {
    object::release(record_type)
}

/// How many fields there are.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_type_count(
    record_type: hsw_record_type,
    count: *mut usize,
) -> hsw_status {
    ask(record_type, count, "count", |found| found.of.len())
}

/// Copies the name of the type to `buffer`: at most `capacity` bytes with the final zero. `length`
/// (may be null) gets its whole length.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_type_name(
    record_type: hsw_record_type,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> hsw_status {
    entry(|| {
        let found = get(record_type)?;
        // SAFETY: `capacity` writable bytes (contract of the interface).
        unsafe { super::write_text(found.of.name(), buffer, capacity, length) }
    })
}

/// Copies the name of a field, as `hsw_record_type_name`. `HSW_ERR_ARGUMENT`: there is none with
/// this index.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_type_field(
    record_type: hsw_record_type,
    index: usize,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> hsw_status {
    entry(|| {
        let found = get(record_type)?;
        let name = found
            .of
            .field(index)
            .ok_or_else(|| no_field(index, &found.of))?;
        // SAFETY: `capacity` writable bytes (contract of the interface).
        unsafe { super::write_text(name, buffer, capacity, length) }
    })
}

/// The index of a field, from 0 on. `HSW_ERR_ARGUMENT`: there is none with this name.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_type_index(
    record_type: hsw_record_type,
    field: *const c_char,
    index: *mut usize,
) -> hsw_status {
    ask_or_fail(record_type, index, "index", |found| {
        // SAFETY: a string (contract of the interface).
        unsafe { index_of(field, &found.of) }
    })
}

fn no_field(index: usize, of: &RecordType<Value>) -> Failure {
    let (name, count) = (of.name(), of.len());
    Failure::Argument(format!(
        "{name} has {count} fields, and none with index {index}"
    ))
}

/// The index of the field with this name.
///
/// SAFETY: `field` is null or ends in a zero byte.
unsafe fn index_of(field: *const c_char, of: &RecordType<Value>) -> Result<usize, Failure> {
    // SAFETY: the caller's promise.
    let field = unsafe { super::string(field, "field") }?;
    let index = of.index(&field);
    index.ok_or_else(|| RecordError::NoField(field.into()).into())
}

/// Makes a record of `count` values, those of the first fields. The other fields have their
/// defaults. Texts are copied; pointers are the record's. When this fails they are still the
/// caller's.
///
/// `HSW_ERR_ARGUMENT`: more values than fields, or a field has no value and no default, or a value
/// is of no kind. `HSW_ERR_OUT_OF_MEMORY`: there is no memory for the record. `HSW_ERR_LIMIT`: too
/// many handles.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_new(
    record_type: hsw_record_type,
    values: *const hsw_value,
    count: usize,
    record: *mut hsw_record,
) -> hsw_status {
    object::make(record, "record", || {
        let found = get(record_type)?;
        let expected = found.of.len();
        // All that can be wrong is found before a value is taken.
        if count > expected {
            return Err(RecordError::TooMany { expected }.into());
        }
        if let (None, Some(name)) = (found.of.default_of(count), found.of.field(count)) {
            return Err(RecordError::Missing(name.into()).into());
        }
        // SAFETY: `count` values (contract of the interface).
        let values = unsafe { Checked::new(values, count) }?;
        object::room::<hsw_record>()?;
        // From here on only memory can be short, which shows before a value is taken.
        let record = found.of.make_with_defaults(values.take(found.destroy));
        let record = RefCell::new(record.map_err(RecordError::from)?);
        Ok(Rc::new(CRecord { of: found, record }))
    })
}

/// Makes a copy of a record, whose fields can be set without changing the first one.
/// `HSW_ERR_OUT_OF_MEMORY`: there is no memory for it.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_copy(record: hsw_record, other: *mut hsw_record) -> hsw_status {
    object::make(other, "other", || {
        let found = get(record)?;
        let values = found.record.borrow();
        let copy = found.of.of.make(values.values().iter().cloned());
        Ok(Rc::new(CRecord {
            of: found.of.clone(),
            record: RefCell::new(copy.map_err(RecordError::from)?),
        }))
    })
}

/// Makes another handle of the same record, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_retain(
    record: hsw_record,
    other: *mut hsw_record,
) -> hsw_status {
    object::retain(record, other)
}

/// Gives a handle back. A record's values are freed with the last handle of it.
#[no_mangle]
pub extern "C" fn hsw_record_release(record: hsw_record) -> hsw_status {
    object::release(record)
}

/// A handle of the record's type, which is the caller's.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_type_of(
    record: hsw_record,
    record_type: *mut hsw_record_type,
) -> hsw_status {
    object::make(record_type, "record_type", || Ok(get(record)?.of.clone()))
}

/// The value of the field with this index. A text or a pointer is lent: it is the record's, and
/// stays until the field is set or the record goes.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_get(
    record: hsw_record,
    index: usize,
    value: *mut hsw_value,
) -> hsw_status {
    ask_or_fail(record, value, "value", |found| {
        let record = found.record.borrow();
        let value = record.values().get(index).map(Value::lent);
        value.ok_or_else(|| no_field(index, record.record_type()))
    })
}

/// The value of the field with this name, as `hsw_record_get`.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_get_named(
    record: hsw_record,
    field: *const c_char,
    value: *mut hsw_value,
) -> hsw_status {
    ask_or_fail(record, value, "value", |found| {
        let record = found.record.borrow();
        // SAFETY: a string (contract of the interface).
        let index = unsafe { index_of(field, record.record_type()) }?;
        Ok(record.values()[index].lent())
    })
}

/// Sets the value of the field with this index, and frees what it had. When this fails the value is
/// still the caller's.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_set(
    record: hsw_record,
    index: usize,
    value: *const hsw_value,
) -> hsw_status {
    set(record, value, |of| match of.field(index) {
        Some(_) => Ok(index),
        None => Err(no_field(index, of)),
    })
}

/// Sets the value of the field with this name, as `hsw_record_set`.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_set_named(
    record: hsw_record,
    field: *const c_char,
    value: *const hsw_value,
) -> hsw_status {
    // SAFETY: a string (contract of the interface).
    set(record, value, |of| unsafe { index_of(field, of) })
}

fn set(
    record: hsw_record,
    value: *const hsw_value,
    index: impl FnOnce(&RecordType<Value>) -> Result<usize, Failure>,
) -> hsw_status {
    entry(|| -> Done {
        if value.is_null() {
            return Err(Failure::Null("value"));
        }
        let found = get(record)?;
        let index = index(&found.of.of)?;
        // SAFETY: a value (contract of the interface).
        let value = unsafe { Checked::new(value, 1) }?;
        let value = value.take(found.of.destroy).next();
        let mut old = value.unwrap_or(Value::None);
        core::mem::swap(&mut found.record.borrow_mut().values_mut()[index], &mut old);
        drop(old); // with nothing borrowed: its function may come back here
        Ok(())
    })
}

/// Copies the record's words to `buffer`, as namedtuple's `repr` has them, such as
/// `Point(x=1, y=2.5, name='it')`; sizes as in `hsw_record_type_name`. A pointer is a number.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_text(
    record: hsw_record,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> hsw_status {
    entry(|| {
        let words = format!("{:?}", get(record)?.record.borrow());
        // SAFETY: `capacity` writable bytes (contract of the interface).
        unsafe { super::write_text(&words, buffer, capacity, length) }
    })
}

/// Whether two records are equal: as tuples of their values, whatever their types are. Numbers are
/// equal to equal numbers of the other kind, pointers only to themselves.
#[no_mangle]
pub unsafe extern "C" fn hsw_record_equal(
    record: hsw_record,
    other: hsw_record,
    equal: *mut bool,
) -> hsw_status {
    ask_or_fail(record, equal, "equal", |one| {
        let other = get(other)?;
        let (one, other) = (one.record.borrow(), other.record.borrow());
        Ok(*one == *other)
    })
}

/// The order of two records, as tuples of their values: -1, 0 or 1.
///
/// `HSW_ERR_WRONG_TYPE`: the first values that differ have no order: they are of two kinds,
/// pointers, or no number (NaN).
#[no_mangle]
pub unsafe extern "C" fn hsw_record_compare(
    record: hsw_record,
    other: hsw_record,
    order: *mut i32,
) -> hsw_status {
    ask_or_fail(record, order, "order", |one| {
        let other = get(other)?;
        let (one, other) = (one.record.borrow(), other.record.borrow());
        let order = one.partial_cmp(&other).ok_or_else(|| {
            Failure::Told(
                hsw_status::HSW_ERR_WRONG_TYPE,
                format!("{one:?} and {other:?} have no order"),
            )
        });
        order.map(|order| order as i32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::thread_state;
    use core::cell::Cell;
    use core::ptr;

    std::thread_local! {
        static FREED: Cell<usize> = const { Cell::new(0) };
    }

    unsafe extern "C" fn free(_: *mut c_void) {
        FREED.set(FREED.get() + 1);
    }

    #[test]
    fn what_a_full_table_refuses_is_still_the_callers() {
        let mut record_type = hsw_record_type { handle: 0 };
        let [name, field] = ["T", "a"].map(|name| CString::new(name).unwrap());
        let fields = [field.as_ptr()];
        let value = hsw_value {
            kind: HSW_VALUE_POINTER as i32,
            of: hsw_value_of {
                pointer: ptr::null_mut(),
            },
        };
        // SAFETY: a type with one field, and records of one value (contract of the interface).
        unsafe {
            let out = &raw mut record_type;
            let made =
                hsw_record_type_new(name.as_ptr(), fields.as_ptr(), 1, false, Some(free), out);
            assert!(made == hsw_status::HSW_OK);
            let full = |part: &thread_state::Part| {
                part.records.borrow_mut().fill();
                part.record_types.borrow_mut().fill();
                Ok(())
            };
            assert!(thread_state::with(full).is_ok());
            let mut record = hsw_record { handle: 0 };
            let refused = hsw_record_new(record_type, &value, 1, &mut record);
            assert_eq!((refused, record.handle), (hsw_status::HSW_ERR_LIMIT, 0));
            let mut other = hsw_record_type { handle: 0 };
            let refused = hsw_record_type_with_defaults(record_type, &value, 1, &mut other);
            assert_eq!((refused, other.handle), (hsw_status::HSW_ERR_LIMIT, 0));
            assert_eq!(FREED.get(), 0);
        }
    }
}
