//! How a dict trades memory for time.

use core::fmt;

/// Why a dict cannot be made, or cannot grow. Nothing has changed after one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DictError {
    /// The load is 0, above 1, or no fraction.
    MaxLoad,
    /// The growth is 1 or less, or no fraction.
    Growth,
    /// More entries than a dict can number, or more bytes than there are addresses.
    CapacityOverflow,
    /// The allocator refused.
    OutOfMemory,
}

impl fmt::Display for DictError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DictError::MaxLoad => "the maximal load of a dict is above 0 and at most 1",
            DictError::Growth => "the growth of a dict is above 1",
            DictError::CapacityOverflow => "the dict's capacity overflows",
            DictError::OutOfMemory => "out of memory",
        })
    }
}

impl core::error::Error for DictError {}

/// How a dict trades memory for time: how many entries it has room for at first, how full its index
/// may be, and by how much it grows.
///
/// ```
/// use hardswitch::dict::{Dict, DictError, Tuning};
///
/// let mut dict = Dict::with_tuning(Tuning::CONSOLE);
/// dict.insert("npc", 7);
/// assert_eq!(Tuning::new(8, (0, 1), (2, 1)), Err(DictError::MaxLoad));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    min_size: u32,
    max_load: (u8, u8),
    growth: (u8, u8),
}

impl Tuning {
    /// What CPython 2.7 has: 8 at first, two thirds full, four times as large.
    pub const PYTHON27: Tuning = Tuning {
        min_size: 8,
        max_load: (2, 3),
        growth: (4, 1),
    };
    /// What Python on the PlayStation 3 had: 1 at first, three quarters full, half as large again.
    pub const CONSOLE: Tuning = Tuning {
        min_size: 1,
        max_load: (3, 4),
        growth: (3, 2),
    };
    /// The fewest bytes at a good speed, and the default: 2 at first, four fifths full, an eighth
    /// larger.
    pub const COMPACT: Tuning = Tuning {
        min_size: 2,
        max_load: (4, 5),
        growth: (9, 8),
    };

    /// A tuning of one's own. Fractions are (numerator, denominator).
    ///
    /// # Errors
    ///
    /// `MaxLoad` unless 0 < `max_load` <= 1; `Growth` unless `growth` > 1.
    pub const fn new(
        min_size: u32,
        max_load: (u8, u8),
        growth: (u8, u8),
    ) -> Result<Tuning, DictError> {
        if max_load.0 == 0 || max_load.0 > max_load.1 {
            return Err(DictError::MaxLoad);
        }
        if growth.1 == 0 || growth.0 <= growth.1 {
            return Err(DictError::Growth);
        }
        Ok(Tuning {
            min_size,
            max_load,
            growth,
        })
    }

    /// Bytes of a dict of CPython 2.7 with this tuning that `len` inserts have filled, as
    /// `sys.getsizeof` tells them on a 32-bit machine.
    ///
    /// There the table of entries is sparse, its size is a power of two, and one of `min_size`
    /// entries, which must be a power of two too, is part of the object. As there, a growth of 4 is
    /// one of 2 above 50,000 entries. More bytes than a `u64` can tell are `u64::MAX`.
    pub fn python27_bytes(&self, len: u64) -> u64 {
        const HEAD: u128 = 52; // the object and the collector's part of it
        const ENTRY: u128 = 12; // hash, key, value
        const MANY: u128 = 50_000;
        let wide = |(above, below): (u8, u8)| (u128::from(above), u128::from(below));
        let (load, growth) = (wide(self.max_load), wide(self.growth));
        let slower = growth.0 == 4 * growth.1;
        let small = u128::from(self.min_size.max(1)).next_power_of_two();
        let mut size = small;
        let mut used = 0;
        loop {
            // On to the next insert at which the table can get another size: one that finds it too
            // full, and after which it would be larger, or the first that grows by less.
            let full = (size * load.0).div_ceil(load.1);
            let growth_at = |used| {
                if slower && used > MANY {
                    (2, 1)
                } else {
                    growth
                }
            };
            let now = growth_at(used + 1);
            let mut other = (size * now.1).div_ceil(now.0);
            if slower && used <= MANY {
                other = other.min(MANY + 1);
            }
            used = full.max(other).max(used + 1);
            if used > u128::from(len) {
                break;
            }
            let now = growth_at(used);
            let wanted = used * now.0 / now.1;
            size = small;
            while size <= wanted {
                size *= 2;
            }
        }
        let table = if size == small { 0 } else { ENTRY * size };
        u64::try_from(HEAD + ENTRY * small + table).unwrap_or(u64::MAX)
    }

    /// Room for how many entries follows on `room`.
    pub(super) fn grown(&self, room: usize) -> usize {
        let scaled = room.saturating_mul(self.growth.0.into()) / usize::from(self.growth.1);
        // A few entries more at a time while there are few: each growth is an allocation.
        let few = (room * 2).min(room + 2);
        scaled.max(few).max(self.min_size as usize).max(room + 1)
    }

    /// Cells of the index for `room` entries: one stays empty, where searches end.
    pub(super) fn cells(&self, room: usize) -> Option<usize> {
        if room == 0 {
            return Some(0);
        }
        let scaled = room
            .checked_mul(self.max_load.1.into())?
            .div_ceil(self.max_load.0.into());
        Some(scaled.max(room + 1))
    }
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning::COMPACT
    }
}
