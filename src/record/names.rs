//! Which names namedtuple takes, and in which order it finds faults.

use super::RecordError::{self, *};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Those of Python 3.7 and later. `match`, `case`, `type` and `_` are words of some statements
/// only, and good names.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    let first = |c| c == '_' || unicode_ident::is_xid_start(c);
    chars.next().is_some_and(first) && chars.all(unicode_ident::is_xid_continue)
}

fn is_keyword(name: &str) -> bool {
    KEYWORDS.binary_search(&name).is_ok()
}

fn check_word(name: &str) -> Result<(), RecordError> {
    if !is_identifier(name) {
        return Err(NotIdentifier(name.into()));
    }
    if is_keyword(name) {
        return Err(Keyword(name.into()));
    }
    Ok(())
}

/// The numbers of the fields in the order of their names; of equal names, the first is first.
fn sorted(fields: &[String]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..fields.len() as u32).collect();
    order.sort_by(|&a, &b| fields[a as usize].cmp(&fields[b as usize]));
    order
}

/// The fields whose names earlier fields have.
fn repeats<'a>(fields: &'a [String], order: &'a [u32]) -> impl Iterator<Item = usize> + 'a {
    let pairs = order.windows(2).map(|pair| [pair[0], pair[1]]);
    pairs
        .map(|pair| pair.map(|number| number as usize))
        .filter(|&[one, next]| fields[one] == fields[next])
        .map(|[_, next]| next)
}

/// Gives each field whose name is not allowed the name of its number, as `rename=True` does.
pub fn rename(fields: &mut [String]) {
    let order = sorted(fields);
    let mut bad: Vec<usize> = repeats(fields, &order).collect();
    let allowed = |name: &str| check_word(name).is_ok() && !name.starts_with('_');
    bad.extend((0..fields.len()).filter(|&number| !allowed(&fields[number])));
    for number in bad {
        fields[number] = format!("_{number}");
    }
}

/// Checks the names, and gives the numbers of the fields in the order of their names.
pub fn check(name: &str, fields: &[String], renamed: bool) -> Result<Vec<u32>, RecordError> {
    check_word(name)?;
    fields.iter().try_for_each(|field| check_word(field))?;
    let order = sorted(fields);
    let duplicate = repeats(fields, &order).min();
    // No name of Python's starts with an underscore but those that `rename` has made.
    let underscore = fields
        .iter()
        .position(|field| !renamed && field.starts_with('_'));
    let of = |number: usize| fields[number].as_str().into();
    match (underscore, duplicate) {
        (Some(one), other) if other.is_none_or(|other| one <= other) => Err(Underscore(of(one))),
        (_, Some(other)) => Err(Duplicate(of(other))),
        _ => Ok(order),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_sorted_since_they_are_searched_by_halves() {
        assert!(KEYWORDS.is_sorted());
    }
}
