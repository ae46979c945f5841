//! Where the entries of a dict are, by the hashes of their keys: a table of cells of 1, 2 or 4
//! bytes, searched one after another from the place that the hash names.
//!
//! A cell holds the number of an entry. The bits that the number leaves free hold bits of the hash,
//! so that most of the other entries that a search passes are not looked at.

use super::DictError;
use alloc::vec::Vec;
use core::mem;

const EMPTY: u32 = 0;
const DELETED: u32 = 1;
/// What is added to the number of an entry: the numbers below mean no entry.
const FIRST: u32 = 2;
/// Entries that cells can number.
pub const MOST: usize = (u32::MAX - FIRST) as usize;

trait Cell: Copy + Default {
    fn get(self) -> u32;
    fn of(word: u32) -> Self;
}

macro_rules! cell {
    ($($t:ty)*) => {$(
        impl Cell for $t {
            #[inline]
            fn get(self) -> u32 { self.into() }
            #[inline]
            fn of(word: u32) -> Self { word as $t }
        }
    )*};
}
cell!(u8 u16 u32);

enum Cells {
    Byte(Vec<u8>),
    Short(Vec<u16>),
    Word(Vec<u32>),
}

macro_rules! each {
    ($cells:expr, $c:ident => $do:expr) => {
        match $cells {
            Cells::Byte($c) => $do,
            Cells::Short($c) => $do,
            Cells::Word($c) => $do,
        }
    };
}

pub struct Index {
    cells: Cells,
    /// The bits of a cell that hold the number.
    number: u32,
}

/// A hash whose bits all depend on all bits of the hasher's, which may be a poor one.
#[derive(Clone, Copy)]
pub struct Mixed(u64);

impl Mixed {
    #[inline]
    pub fn new(hash: u64) -> Mixed {
        let product = u128::from(hash) * 0x9e37_79b9_7f4a_7c15;
        Mixed(product as u64 ^ (product >> 64) as u64)
    }

    #[inline]
    fn home(self, cells: usize) -> usize {
        (((self.0 >> 32) * cells as u64) >> 32) as usize
    }

    /// What a cell for this hash has above its number.
    #[inline]
    fn tag(self, number: u32) -> u32 {
        (self.0 as u32).checked_shl(number).unwrap_or(0)
    }
}

impl Index {
    pub const fn new() -> Index {
        Index {
            cells: Cells::Byte(Vec::new()),
            number: 8,
        }
    }

    /// An empty index for entries up to number `room - 1`. The cells are more than `room`.
    pub fn with_cells(cells: usize, room: usize) -> Result<Index, DictError> {
        if room > MOST || cells > u32::MAX as usize {
            return Err(DictError::CapacityOverflow);
        }
        let number = usize::BITS - (room + FIRST as usize).leading_zeros();
        let cells = match number {
            0..=8 => Cells::Byte(zeroed(cells)?),
            9..=16 => Cells::Short(zeroed(cells)?),
            _ => Cells::Word(zeroed(cells)?),
        };
        Ok(Index { cells, number })
    }

    pub fn heap_bytes(&self) -> usize {
        each!(&self.cells, c => mem::size_of_val(&**c) / c.len().max(1) * c.capacity())
    }

    pub fn clear(&mut self) {
        each!(&mut self.cells, c => c.fill(EMPTY as _));
    }

    /// The cell and the entry's number, where `is` says that it is the right one.
    #[inline]
    pub fn find(&self, hash: Mixed, is: impl FnMut(usize) -> bool) -> Option<(usize, usize)> {
        each!(&self.cells, c => find(c, self.number, hash, is))
    }

    /// Notes an entry. There is an empty cell for it.
    pub fn insert(&mut self, hash: Mixed, number: usize) {
        let word = hash.tag(self.number) | (number as u32 + FIRST);
        each!(&mut self.cells, c => insert(c, hash, word))
    }

    pub fn remove(&mut self, cell: usize) {
        each!(&mut self.cells, c => c[cell] = DELETED as _)
    }
}

fn zeroed<C: Cell>(cells: usize) -> Result<Vec<C>, DictError> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(cells)
        .map_err(|_| DictError::OutOfMemory)?;
    vec.resize(cells, C::default());
    Ok(vec)
}

#[inline]
fn find<C: Cell>(
    cells: &[C],
    number: u32,
    hash: Mixed,
    mut is: impl FnMut(usize) -> bool,
) -> Option<(usize, usize)> {
    let mask = u32::MAX >> (32 - number);
    // Cut to the cell as the word that was stored was.
    let tag = C::of(hash.tag(number)).get();
    let mut at = hash.home(cells.len());
    for _ in 0..cells.len() {
        let word = cells[at].get();
        if word == EMPTY {
            return None;
        }
        if word & !mask == tag && word & mask >= FIRST {
            let entry = ((word & mask) - FIRST) as usize;
            if is(entry) {
                return Some((at, entry));
            }
        }
        at += 1;
        if at == cells.len() {
            at = 0;
        }
    }
    None
}

fn insert<C: Cell>(cells: &mut [C], hash: Mixed, word: u32) {
    let mut at = hash.home(cells.len());
    for _ in 0..cells.len() {
        if cells[at].get() <= DELETED {
            cells[at] = C::of(word);
            return;
        }
        at += 1;
        if at == cells.len() {
            at = 0;
        }
    }
    unreachable!("the index has more cells than the dict has entries");
}
