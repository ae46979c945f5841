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

    /// Memory of an index for entries up to number `room - 1`, which `open` lays out. Nothing is
    /// written to it: a system that gives memory as it is written gives none yet.
    pub fn reserved(cells: usize, room: usize) -> Result<Index, DictError> {
        if room > MOST || cells > u32::MAX as usize {
            return Err(DictError::CapacityOverflow);
        }
        let largest = room + FIRST as usize - 1;
        let number = usize::BITS - largest.leading_zeros();
        let cells = match number {
            0..=8 => Cells::Byte(reserved(cells)?),
            9..=16 => Cells::Short(reserved(cells)?),
            _ => Cells::Word(reserved(cells)?),
        };
        Ok(Index { cells, number })
    }

    /// Lays out the cells that memory was reserved for: they are empty, and more than `room`.
    pub fn open(&mut self, cells: usize) {
        each!(&mut self.cells, c => c.resize(cells, EMPTY as _));
    }

    /// An empty index, as `reserved` and `open` make it.
    pub fn with_cells(cells: usize, room: usize) -> Result<Index, DictError> {
        let mut index = Index::reserved(cells, room)?;
        index.open(cells);
        Ok(index)
    }

    pub fn cells(&self) -> usize {
        each!(&self.cells, c => c.len())
    }

    pub fn heap_bytes(&self) -> usize {
        each!(&self.cells, c => mem::size_of_val(&**c) / c.len().max(1) * c.capacity())
    }

    pub fn clear(&mut self) {
        each!(&mut self.cells, c => c.fill(EMPTY as _));
    }

    /// Forgets all entries, which are then noted again. Until `settle` no cell is empty, so that a
    /// search finds entries that are not noted, too: it ends only after it has asked for each.
    pub fn unsettle(&mut self) {
        each!(&mut self.cells, c => c.fill(DELETED as _));
    }

    /// All entries are noted again since `unsettle`.
    pub fn settle(&mut self) {
        each!(&mut self.cells, c => settle(c));
    }

    /// The cell and the entry's number, where `is` says that it is the right one. There is no such
    /// cell if the entry is not noted: see `unsettle`.
    #[inline]
    pub fn find(&self, hash: Mixed, is: impl FnMut(usize) -> bool) -> Option<(usize, usize)> {
        each!(&self.cells, c => find(c, self.number, hash, is))
    }

    /// Notes an entry. There is an empty cell for it.
    pub fn insert(&mut self, hash: Mixed, number: usize) {
        let word = hash.tag(self.number) | (number as u32 + FIRST);
        each!(&mut self.cells, c => insert(c, hash, word))
    }

    /// Forgets the entry of a cell, if it has one.
    pub fn remove(&mut self, cell: usize) {
        each!(&mut self.cells, c => if let Some(c) = c.get_mut(cell) { *c = DELETED as _ })
    }
}

fn reserved<C: Cell>(cells: usize) -> Result<Vec<C>, DictError> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(cells)
        .map_err(|_| DictError::OutOfMemory)?;
    Ok(vec)
}

fn settle<C: Cell>(cells: &mut [C]) {
    // Each cell is written to, so that there is no jump to predict.
    for cell in cells {
        let word = cell.get();
        *cell = C::of(if word == DELETED { EMPTY } else { word });
    }
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
    search_entries(cells.len(), is)
}

/// The search in an index that was left unsettled: of the entries themselves, whose numbers are all
/// below that of cells.
#[cold]
fn search_entries(cells: usize, mut is: impl FnMut(usize) -> bool) -> Option<(usize, usize)> {
    let number = (0..cells).find(|&number| is(number))?;
    Some((cells, number))
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
