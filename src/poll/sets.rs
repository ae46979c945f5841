//! What `select` is asked and answers: sets of descriptors.

use super::errno::Errno;
use super::events::Fd;
use core::fmt;

cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        /// A word of the system's `fd_set`: descriptor `fd` is bit `fd % BITS` of word `fd / BITS`.
        pub(crate) type Word = core::ffi::c_ulong;
    } else {
        /// A word of the system's `fd_set`.
        pub(crate) type Word = u32;
    }
}

/// How many of them there are.
const SYSTEM_WORDS: usize = FdSet::CAPACITY / Word::BITS as usize;

/// A set of descriptors 0 to 1023, laid out as the PS3's `fd_set`: bit `fd & 31` of word `fd >> 5`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct FdSet {
    words: [u32; FdSet::WORDS],
}

impl FdSet {
    /// Descriptors must be below this.
    pub const CAPACITY: usize = 1024;
    const WORDS: usize = Self::CAPACITY / 32;

    /// The empty set.
    pub const fn new() -> FdSet {
        FdSet {
            words: [0; Self::WORDS],
        }
    }
    /// A set from the PS3's words.
    pub const fn from_words(words: [u32; 32]) -> FdSet {
        FdSet { words }
    }
    /// The PS3's words.
    pub const fn words(&self) -> &[u32; 32] {
        &self.words
    }
    /// A set from the words of the system's `fd_set`.
    pub(crate) fn from_system(words: &[Word; SYSTEM_WORDS]) -> FdSet {
        let mut set = FdSet::new();
        for (word, part) in set.words.iter_mut().enumerate() {
            let at = word * 32;
            *part = (words[at / Word::BITS as usize] >> (at % Word::BITS as usize)) as u32;
        }
        set
    }
    /// The words of the system's `fd_set`.
    pub(crate) fn to_system(self) -> [Word; SYSTEM_WORDS] {
        let mut words = [0; SYSTEM_WORDS];
        for (word, part) in self.words.iter().enumerate() {
            let at = word * 32;
            words[at / Word::BITS as usize] |= Word::from(*part) << (at % Word::BITS as usize);
        }
        words
    }
    /// The members below `nfds` of a system's `fd_set`.
    ///
    /// SAFETY: `set` is null, for the empty set, or points to an `fd_set` with room for `nfds`
    /// descriptors. They are at most [`CAPACITY`](Self::CAPACITY).
    pub(crate) unsafe fn read_system(set: *const Word, nfds: usize) -> FdSet {
        let mut words = [0; SYSTEM_WORDS];
        let used = nfds.div_ceil(Word::BITS as usize);
        if let (false, Some(last)) = (set.is_null(), used.checked_sub(1)) {
            // SAFETY: it has `used` words, as the caller has promised, and `words` as many or more.
            unsafe { core::ptr::copy_nonoverlapping(set, words.as_mut_ptr(), used) };
            words[last] &= Word::MAX >> (used * Word::BITS as usize - nfds);
        }
        FdSet::from_system(&words)
    }
    /// Writes the members below `nfds` to a system's `fd_set`.
    ///
    /// SAFETY: as [`read_system`](Self::read_system), and it may be written to.
    pub(crate) unsafe fn write_system(&self, set: *mut Word, nfds: usize) {
        if !set.is_null() {
            let words = self.to_system();
            // SAFETY: as above.
            unsafe {
                core::ptr::copy_nonoverlapping(
                    words.as_ptr(),
                    set,
                    nfds.div_ceil(Word::BITS as usize),
                )
            };
        }
    }
    /// Adds `fd`. Error: [`Errno::EINVAL`] when it is negative or not below
    /// [`CAPACITY`](Self::CAPACITY); nothing is changed then.
    pub fn insert(&mut self, fd: Fd) -> Result<(), Errno> {
        let (word, bit) = Self::place(fd).ok_or(Errno::EINVAL)?;
        self.words[word] |= bit;
        Ok(())
    }
    /// Removes `fd`.
    pub fn remove(&mut self, fd: Fd) {
        if let Some((word, bit)) = Self::place(fd) {
            self.words[word] &= !bit;
        }
    }
    /// Is `fd` in the set?
    pub fn contains(&self, fd: Fd) -> bool {
        Self::place(fd).is_some_and(|(word, bit)| self.words[word] & bit != 0)
    }
    /// Number of descriptors in it.
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }
    /// Is the set empty?
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }
    /// One more than the highest descriptor, 0 when empty: what `select` wants as its first
    /// argument.
    pub fn nfds(&self) -> i32 {
        match self.words.iter().rposition(|w| *w != 0) {
            Some(word) => (word as i32 + 1) * 32 - self.words[word].leading_zeros() as i32,
            None => 0,
        }
    }
    /// The descriptors, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Fd> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut word = *word;
            core::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(i as i32 * 32 + bit as i32)
            })
        })
    }
    /// Keeps only the members that are in `other`, too.
    pub fn intersect(&mut self, other: &FdSet) {
        for (word, other) in self.words.iter_mut().zip(other.words) {
            *word &= other;
        }
    }
    /// Adds the members of `other`.
    pub fn unite(&mut self, other: &FdSet) {
        for (word, other) in self.words.iter_mut().zip(other.words) {
            *word |= other;
        }
    }

    /// Removes the members of `other`.
    pub fn subtract(&mut self, other: &FdSet) {
        for (word, other) in self.words.iter_mut().zip(other.words) {
            *word &= !other;
        }
    }

    fn place(fd: Fd) -> Option<(usize, u32)> {
        (0..Self::CAPACITY as i32)
            .contains(&fd)
            .then(|| ((fd >> 5) as usize, 1 << (fd & 31)))
    }
}

impl Default for FdSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The three sets of a `select`: the descriptors that are asked about, then those that are ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sets {
    /// Descriptors that can be read.
    pub read: FdSet,
    /// Descriptors that can be written.
    pub write: FdSet,
    /// Descriptors with an exceptional condition (urgent data).
    pub except: FdSet,
}

impl Sets {
    /// Three empty sets.
    pub const fn new() -> Sets {
        Sets {
            read: FdSet::new(),
            write: FdSet::new(),
            except: FdSet::new(),
        }
    }
    /// Members of all three together: `select`'s n.
    pub fn len(&self) -> usize {
        self.read.len() + self.write.len() + self.except.len()
    }
    /// Are all three empty?
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.write.is_empty() && self.except.is_empty()
    }
    /// The descriptors that are in one of them or more.
    pub fn members(&self) -> FdSet {
        let mut all = self.read;
        all.unite(&self.write);
        all.unite(&self.except);
        all
    }
    /// One more than the highest descriptor in any of them.
    pub fn nfds(&self) -> i32 {
        self.read
            .nfds()
            .max(self.write.nfds())
            .max(self.except.nfds())
    }

    pub(crate) fn intersect(&mut self, other: &Sets) {
        self.read.intersect(&other.read);
        self.write.intersect(&other.write);
        self.except.intersect(&other.except);
    }

    pub(super) fn unite(&mut self, other: &Sets) {
        self.read.unite(&other.read);
        self.write.unite(&other.write);
        self.except.unite(&other.except);
    }

    /// The part of these sets that is about `fd`.
    pub(super) fn only(&self, fd: Fd) -> Sets {
        let mut one = Sets::new();
        for (all, one) in [
            (&self.read, &mut one.read),
            (&self.write, &mut one.write),
            (&self.except, &mut one.except),
        ] {
            if all.contains(fd) {
                let _ = one.insert(fd); // cannot fail: it came out of such a set
            }
        }
        one
    }
}
