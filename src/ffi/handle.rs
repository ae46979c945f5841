//! Handles: what a C caller holds instead of a pointer.
//!
//! A handle is a 64-bit number that names a slot of a table of the thread that made it:
//!
//! ```text
//!   63    59 58          43 42              24 23                  0
//!  +--------+--------------+------------------+---------------------+
//!  |  kind  |    thread    |    generation    |      slot index     |
//!  +--------+--------------+------------------+---------------------+
//! ```
//!
//! or, when any thread may use the object, a slot of a table of the process: then the thread is 0.
//!
//! * **Stale.** A slot's generation grows with every release, so that a released handle no longer
//!   matches. A slot whose generations are used up is retired and never reused: a stale handle is
//!   *always* detected, not just with high probability.
//! * **Double release.** Every handle has one owner: `hsw_..._retain` makes a new handle of the
//!   same object rather than counting up on the old one. So the second release of a handle is
//!   always an error, also while others hold handles of the same object. (With a count, the second
//!   release would take away somebody else's reference unnoticed.)
//! * **Wrong thread.** No two living threads have the same tag, so a foreign handle is detected
//!   without a look at the other thread's memory. When a thread has ended its tag is given out
//!   again, together with the generations that its tables had reached: for the next thread with
//!   that tag the old handles are stale, for all others they are foreign, and nowhere are they
//!   good.
//! * **Wrong kind.** A channel in a tasklet's place is detected, even if the types of the header
//!   were cast away.
//!
//! Pointers with a magic word cannot do that, because the allocator reuses the memory of a freed
//! object. The price is a bounds check, a comparison and a reference count per call. The limits,
//! each an error and not a wrap: 2^24 live handles of a kind per thread (per process, for objects
//! of the process), and 65,535 threads at a time. A slot is used up for good after 2^19 handles,
//! and so a table after 2^43.

use alloc::vec::Vec;

/// Which table a handle belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Tasklet = 1,
    Channel,
    Socket,
    Queue,
    Lock,
    RLock,
    Semaphore,
    Condition,
    Event,
    Barrier,
    SyncQueue,
    TimerClock,
    Timer,
    Local,
    ThreadChannel,
    Remote,
    Loop,
    Pool,
    HostLock,
    Join,
    Work,
    Error,
    Dict,
    RecordType,
    Record,
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    HttpClient,
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    HttpAnswer,
}

/// What the kinds are called in messages, from 1 on.
const NAMES: [&str; 27] = [
    "tasklet",
    "channel",
    "socket",
    "queue",
    "lock",
    "reentrant lock",
    "semaphore",
    "condition",
    "event",
    "barrier",
    "queue between threads",
    "clock",
    "timer",
    "tasklet-local key",
    "channel between threads",
    "remote tasklet",
    "main loop",
    "worker pool",
    "host lock",
    "join",
    "work guard",
    "error",
    "dict",
    "record type",
    "record",
    "HTTP client",
    "HTTP answer",
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        NAMES[self as usize - 1]
    }
}

/// Why a handle does not name an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The null handle: all bits zero.
    Null,
    /// Released, or never made by this library.
    Stale,
    /// It belongs to another thread.
    WrongThread,
    /// It names an object of another kind.
    WrongKind,
    /// There are no more handles.
    Full,
}

pub(super) const INDEX_BITS: u32 = 24;
const GENERATION_BITS: u32 = 19;
const THREAD_BITS: u32 = 16;
pub(super) const LAST_GENERATION: u32 = (1 << GENERATION_BITS) - 1;
const NO_SLOT: u32 = u32::MAX;

/// The tag of the tables that belong to no thread: see `shared`.
pub(super) const PROCESS: u16 = 0;

fn field(id: u64, shift: u32, bits: u32) -> u32 {
    ((id >> shift) & ((1 << bits) - 1)) as u32
}

/// The parts of a handle beside its kind and thread.
pub(super) struct Parts {
    pub(super) generation: u32,
    pub(super) index: u32,
}

impl Parts {
    /// Splits a handle of that kind and thread into its parts; an error if it is none.
    #[inline]
    pub(super) fn of(id: u64, kind: Kind, thread: u16) -> Result<Parts, Fault> {
        if id >> (GENERATION_BITS + INDEX_BITS) != Parts::above(kind, thread) {
            return Err(fault(id, kind, thread));
        }
        Ok(Parts {
            generation: field(id, INDEX_BITS, GENERATION_BITS),
            index: field(id, 0, INDEX_BITS),
        })
    }

    pub(super) fn handle(&self, kind: Kind, thread: u16) -> u64 {
        Parts::above(kind, thread) << (GENERATION_BITS + INDEX_BITS)
            | u64::from(self.generation) << INDEX_BITS
            | u64::from(self.index)
    }

    fn above(kind: Kind, thread: u16) -> u64 {
        (kind as u64) << THREAD_BITS | u64::from(thread)
    }
}

/// Why a handle is not one of that kind and thread.
#[cold]
fn fault(id: u64, kind: Kind, thread: u16) -> Fault {
    let its_kind = (id >> (THREAD_BITS + GENERATION_BITS + INDEX_BITS)) as usize;
    if id == 0 {
        Fault::Null
    } else if !(1..=NAMES.len()).contains(&its_kind) {
        Fault::Stale
    } else if its_kind != kind as usize {
        Fault::WrongKind
    } else if thread == PROCESS {
        // An object that belongs to no thread cannot belong to another one.
        Fault::Stale
    } else {
        Fault::WrongThread
    }
}

enum Slot<T> {
    Live {
        generation: u32,
        value: T,
    },
    /// `generation` is that of the slot's next object. Beyond the last one there is no next object.
    Free {
        generation: u32,
        next: u32,
    },
}

/// The objects of one kind that C holds handles of, in one thread.
pub(super) struct Table<T> {
    kind: Kind,
    thread: u16,
    slots: Vec<Slot<T>>,
    free: u32,
    /// How many slots it may have.
    most: usize,
}

impl<T> Table<T> {
    /// `thread` is the tag of the owning thread; `generations` is what the previous table with that
    /// tag has [left](Table::generations).
    pub(super) fn new(kind: Kind, thread: u16, generations: Vec<u32>) -> Self {
        let mut table = Table {
            kind,
            thread,
            slots: Vec::new(),
            free: NO_SLOT,
            most: 1 << INDEX_BITS,
        };
        for (index, generation) in generations.into_iter().enumerate() {
            let next = table.free;
            table.slots.push(Slot::Free { generation, next });
            if generation <= LAST_GENERATION {
                table.free = index as u32;
            }
        }
        table
    }

    /// For each slot the generation of its next object. The next table with this tag begins with
    /// these, so that it does not take the handles of this one for its own.
    pub(super) fn generations(&self) -> Vec<u32> {
        let next = |slot: &Slot<T>| match slot {
            Slot::Live { generation, .. } => generation + 1,
            Slot::Free { generation, .. } => *generation,
        };
        self.slots.iter().map(next).collect()
    }

    /// Is there room for one more object? As long as nothing is inserted, the next
    /// [`insert`](Table::insert) succeeds then.
    pub(super) fn room(&self) -> Result<(), Fault> {
        if self.free == NO_SLOT && self.slots.len() >= self.most {
            return Err(Fault::Full);
        }
        Ok(())
    }

    /// Makes a handle of `value`, or gives it back. The caller drops it after it has let go of the
    /// table: the drop may call back into the library.
    pub(super) fn insert(&mut self, value: T) -> Result<u64, (Fault, T)> {
        if let Err(fault) = self.room() {
            return Err((fault, value));
        }
        let (index, generation) = if self.free == NO_SLOT {
            let index = self.slots.len();
            self.slots.push(Slot::Live {
                generation: 0,
                value,
            });
            (index as u32, 0)
        } else {
            let index = self.free;
            let slot = &mut self.slots[index as usize];
            let Slot::Free { generation, next } = *slot else {
                unreachable!("a live slot in the free list")
            };
            self.free = next;
            *slot = Slot::Live { generation, value };
            (index, generation)
        };
        Ok(Parts { generation, index }.handle(self.kind, self.thread))
    }

    fn index(&self, id: u64) -> Result<usize, Fault> {
        let Parts {
            generation: wanted,
            index,
        } = Parts::of(id, self.kind, self.thread)?;
        let index = index as usize;
        match self.slots.get(index) {
            Some(Slot::Live { generation, .. }) if *generation == wanted => Ok(index),
            _ => Err(Fault::Stale),
        }
    }

    /// The object that `id` names.
    pub(super) fn get(&self, id: u64) -> Result<&T, Fault> {
        match &self.slots[self.index(id)?] {
            Slot::Live { value, .. } => Ok(value),
            Slot::Free { .. } => Err(Fault::Stale),
        }
    }

    /// Takes the object out; `id` is stale from now on. The caller drops the object after it has
    /// let go of the table: the drop may call back into the library.
    pub(super) fn remove(&mut self, id: u64) -> Result<T, Fault> {
        let index = self.index(id)?;
        let generation = field(id, INDEX_BITS, GENERATION_BITS);
        let freed = Slot::Free {
            generation: generation + 1,
            next: self.free,
        };
        match core::mem::replace(&mut self.slots[index], freed) {
            Slot::Live { value, .. } => {
                if generation < LAST_GENERATION {
                    self.free = index as u32;
                }
                Ok(value)
            }
            Slot::Free { .. } => Err(Fault::Stale),
        }
    }

    /// Takes all objects out; every handle of the table is stale from now on.
    pub(super) fn drain(&mut self) -> Vec<T> {
        let mut out = Vec::new();
        for index in 0..self.slots.len() {
            if let Slot::Live { generation, .. } = self.slots[index] {
                let index = index as u32;
                let id = Parts { generation, index }.handle(self.kind, self.thread);
                out.extend(self.remove(id));
            }
        }
        out
    }

    /// It may have no more slots than it has.
    #[cfg(test)]
    pub(super) fn fill(&mut self) {
        self.most = self.slots.len();
    }

    /// How many handles are live.
    pub(super) fn live(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| matches!(slot, Slot::Live { .. }))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_handle_is_stale_also_when_its_slot_is_used_again() {
        let mut table = Table::new(Kind::Tasklet, 1, Vec::new());
        let first = table.insert("first").unwrap();
        assert_eq!(table.remove(first), Ok("first"));
        let second = table.insert("second").unwrap();
        assert_ne!(first, second);
        assert_eq!(table.get(first), Err(Fault::Stale));
        assert_eq!(table.remove(first), Err(Fault::Stale));
        assert_eq!(table.get(second), Ok(&"second"));
    }

    #[test]
    fn handles_of_nothing_of_other_kinds_and_of_other_threads_are_told_apart() {
        let mut here = Table::new(Kind::Tasklet, 1, Vec::new());
        let mut there = Table::new(Kind::Tasklet, 2, Vec::new());
        let mut channels = Table::new(Kind::Channel, 1, Vec::new());
        here.insert(()).unwrap();
        assert_eq!(here.get(0), Err(Fault::Null));
        assert_eq!(here.get(there.insert(()).unwrap()), Err(Fault::WrongThread));
        assert_eq!(
            here.get(channels.insert(()).unwrap()),
            Err(Fault::WrongKind)
        );
        assert_eq!(here.get(u64::MAX), Err(Fault::Stale));
        assert_eq!(here.get(0xdead_beef), Err(Fault::Stale));
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_never_used_again() {
        let mut table = Table::new(Kind::Socket, 7, Vec::new());
        let first = table.insert(0).unwrap();
        let mut last = first;
        for n in 0..LAST_GENERATION {
            table.remove(last).unwrap();
            last = table.insert(n).unwrap();
            assert_eq!(field(last, 0, INDEX_BITS), 0);
        }
        table.remove(last).unwrap();
        let other = table.insert(0).unwrap();
        assert_eq!(field(other, 0, INDEX_BITS), 1);
        assert_eq!(table.get(first), Err(Fault::Stale));
        assert_eq!(table.get(last), Err(Fault::Stale));
    }

    #[test]
    fn the_next_table_of_a_tag_does_not_know_the_handles_of_the_last() {
        let mut first = Table::new(Kind::Queue, 9, Vec::new());
        let old: Vec<u64> = (0..3).map(|n| first.insert(n).unwrap()).collect();
        first.remove(old[1]).unwrap();
        let again = first.insert(7).unwrap();
        // Some handles are still live, as when a thread is left within a tasklet.
        let mut next = Table::new(Kind::Queue, 9, first.generations());
        assert_eq!(next.live(), 0);
        let new: Vec<u64> = (0..9).map(|n| next.insert(n).unwrap()).collect();
        for stale in old.into_iter().chain([again]) {
            assert_eq!(next.get(stale), Err(Fault::Stale));
        }
        assert!((0..9).all(|n| next.get(new[n as usize]) == Ok(&n)));
        // A used-up slot stays used up.
        let used_up = Table::<u8>::new(Kind::Queue, 9, alloc::vec![LAST_GENERATION + 1]);
        let mut heir = Table::new(Kind::Queue, 9, used_up.generations());
        assert_eq!(field(heir.insert(1).unwrap(), 0, INDEX_BITS), 1);
    }

    #[test]
    fn a_full_table_says_so_and_gives_the_object_back() {
        let mut table = Table::new(Kind::Record, 1, Vec::new());
        let first = table.insert(1).unwrap();
        assert_eq!(table.room(), Ok(()));
        table.fill();
        assert_eq!(table.room(), Err(Fault::Full));
        assert_eq!(table.insert(2), Err((Fault::Full, 2)));
        assert_eq!(table.remove(first), Ok(1));
        assert_eq!(table.room(), Ok(()));
        let second = table.insert(2).unwrap();
        assert_eq!(table.get(second), Ok(&2));
        assert_eq!(table.insert(3), Err((Fault::Full, 3)));
    }

    #[test]
    fn drain_makes_every_handle_stale() {
        let mut table = Table::new(Kind::Channel, 3, Vec::new());
        let ids: Vec<u64> = (0..10).map(|n| table.insert(n).unwrap()).collect();
        table.remove(ids[4]).unwrap();
        assert_eq!(table.live(), 9);
        assert_eq!(table.drain().len(), 9);
        assert_eq!(table.live(), 0);
        assert!(ids.iter().all(|&id| table.get(id) == Err(Fault::Stale)));
    }
}
