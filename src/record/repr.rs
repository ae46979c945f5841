//! Texts and numbers as Python's `repr` writes them.

use alloc::format;
use core::fmt::{self, Write};

/// A name between quotes, as Python's `repr` writes strings. (What Unicode calls not printable
/// beyond the control characters is written as it is.)
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let double = self.0.contains('\'') && !self.0.contains('"');
        let quote = if double { '"' } else { '\'' };
        f.write_char(quote)?;
        for c in self.0.chars() {
            match c {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\\' => f.write_str("\\\\")?,
                c if c == quote => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char(quote)
    }
}

/// A number with as few digits as tell it from its neighbours: with an exponent where Python's
/// `repr` has one, which is not where Rust has.
pub struct Real(pub f64);

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let real = self.0;
        if real.is_nan() {
            return f.write_str("nan");
        }
        let plain = real == 0.0 || real.is_infinite() || (1e-4..1e16).contains(&real.abs());
        if plain {
            return write!(f, "{real:?}");
        }
        let words = format!("{real:e}");
        let (digits, exponent) = words.split_once('e').unwrap_or((&words, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        write!(f, "{digits}e{sign}{exponent:0>2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// What CPython 3.11 writes.
    #[test]
    fn numbers_are_written_as_python_writes_them() {
        let all = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (100.0, "100.0"),
            (1e15, "1000000000000000.0"),
            (123456789012345.6, "123456789012345.6"),
            (9007199254740993.0, "9007199254740992.0"),
            (9999999999999998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (12345678901234567.0, "1.2345678901234568e+16"),
            (1e22, "1e+22"),
            (1e23, "1e+23"),
            (-1.5e300, "-1.5e+300"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (0.1, "0.1"),
            (0.3, "0.3"),
            (0.0001, "0.0001"),
            (0.00012, "0.00012"),
            (0.00009999999999999999, "9.999999999999999e-05"),
            (0.00001, "1e-05"),
            (-0.000012, "-1.2e-05"),
            (1.5e-9, "1.5e-09"),
            (1e-100, "1e-100"),
            (2.2250738585072014e-308, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (-f64::INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (real, words) in all {
            assert_eq!(Real(real).to_string(), words);
        }
    }
}
