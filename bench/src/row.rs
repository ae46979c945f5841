//! A row of the table.

use crate::offer::Skipped;

/// What one implementation showed, in the unit of the case.
pub struct Measured {
    pub implementation: &'static str,
    pub samples: Vec<f64>,
    /// What a reader of the row must know.
    pub note: Option<String>,
}

impl Measured {
    pub fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        }
    }

    pub fn min(&self) -> f64 {
        self.samples.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.samples.iter().copied().fold(0.0, f64::max)
    }
}

/// A row of the table: measured, or the reason why not.
pub type Row = Result<Measured, Skipped>;

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(samples: &[f64]) -> Measured {
        Measured {
            implementation: "somebody",
            samples: samples.to_vec(),
            note: None,
        }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_middle_two() {
        assert_eq!(measured(&[9.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(measured(&[9.0, 1.0, 2.0, 4.0]).median(), 3.0);
        assert_eq!(measured(&[7.0]).median(), 7.0);
    }
}
