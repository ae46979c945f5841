//! The dict: what a map promises, in the order of the inserts, and how little memory it takes.
#![cfg(feature = "std")]

use hardswitch::dict::{Dict, DictError, Entry, Tuning};
use indexmap::IndexMap;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;

/// Counts the bytes and calls of each thread, and refuses where it is told to.
struct Counting;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static REFUSE_AFTER: Cell<Option<usize>> = const { Cell::new(None) };
}

fn count(bytes: isize) {
    BYTES.set(BYTES.get() + bytes);
    PEAK.set(PEAK.get().max(BYTES.get()));
    CALLS.set(CALLS.get() + 1);
}

fn refused() -> bool {
    match REFUSE_AFTER.get() {
        Some(0) => true,
        Some(n) => {
            REFUSE_AFTER.set(Some(n - 1));
            false
        }
        None => false,
    }
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refused() {
            return std::ptr::null_mut();
        }
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size() as isize);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if refused() {
            return std::ptr::null_mut();
        }
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `make` makes, and the bytes that this has on the heap.
fn weighed<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = BYTES.get();
    let made = make();
    (made, (BYTES.get() - before) as usize)
}

/// xorshift64*, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A hasher that knows few hashes, so that everything collides.
#[derive(Default)]
struct Poor(u64);

impl Hasher for Poor {
    fn finish(&self) -> u64 {
        self.0 % 4
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.iter().map(|&b| u64::from(b)).sum::<u64>();
    }
}

/// Plays random operations on a dict and on an `IndexMap`, which must tell the same.
fn play<K, S>(seed: u64, steps: u64, mut dict: Dict<K, u64, S>, key: impl Fn(u64) -> K)
where
    K: Clone + Eq + Hash + std::fmt::Debug,
    S: std::hash::BuildHasher + Clone,
{
    let mut random = Random(seed | 1);
    let mut model: IndexMap<K, u64> = IndexMap::new();
    let range = 1 + random.below(400);
    for step in 0..steps {
        let k = key(random.below(range).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        match random.below(100) {
            0..35 => assert_eq!(dict.insert(k.clone(), step), model.insert(k, step)),
            35..60 => assert_eq!(dict.remove(&k), model.shift_remove(&k)),
            60..80 => {
                assert_eq!(dict.get(&k), model.get(&k));
                assert_eq!(dict.contains_key(&k), model.contains_key(&k));
            }
            80..85 => {
                *dict
                    .entry(k.clone())
                    .and_modify(|v| *v += 1)
                    .or_insert(step) += 1;
                *model.entry(k).and_modify(|v| *v += 1).or_insert(step) += 1;
            }
            85..90 => {
                if let Entry::Occupied(entry) = dict.entry(k.clone()) {
                    assert_eq!(Some(entry.remove_entry()), model.shift_remove_entry(&k));
                }
            }
            90..92 => {
                let odd = random.below(5);
                dict.retain(|_, v| *v % 5 != odd);
                model.retain(|_, v| *v % 5 != odd);
            }
            92..94 => dict.shrink_to_fit(),
            94..96 => dict.reserve(random.below(50) as usize),
            96 => {
                let taken = random.below(5) as usize;
                let some: Vec<_> = dict.drain().take(taken).collect();
                assert!(some.into_iter().eq(model.drain(..).take(taken)));
            }
            97 => {
                dict.values_mut().for_each(|v| *v ^= 1);
                model.values_mut().for_each(|v| *v ^= 1);
            }
            98 => dict = dict.clone(),
            _ => {
                let hasher = dict.hasher().clone();
                let old = std::mem::replace(
                    &mut dict,
                    Dict::with_tuning_and_hasher(Tuning::PYTHON27, hasher),
                );
                dict.extend(old);
            }
        }
        assert_eq!(dict.len(), model.len());
        assert!(dict.capacity() >= dict.len());
        if step % 8 == 0 {
            assert!(
                dict.iter().eq(model.iter()),
                "{dict:?} {model:?}, seed {seed}"
            );
            assert_eq!(dict.iter().len(), model.len());
        }
    }
    assert!(dict.into_iter().eq(model), "seed {seed}");
}

const ROUNDS: u64 = if cfg!(miri) { 2 } else { 150 };
const STEPS: u64 = if cfg!(miri) { 300 } else { 1500 };

#[test]
fn random_operations_tell_what_an_index_map_tells() {
    for seed in 0..ROUNDS {
        play(seed, STEPS, Dict::new(), |k| k);
        play(seed, STEPS, Dict::with_tuning(Tuning::CONSOLE), |k| {
            format!("key {k}")
        });
    }
}

#[test]
fn so_they_do_with_a_hasher_that_makes_everything_collide() {
    for seed in 0..ROUNDS / 4 + 1 {
        let poor = BuildHasherDefault::<Poor>::default();
        play(seed, STEPS / 2, Dict::with_hasher(poor.clone()), |k| k);
        let full = Tuning::new(0, (1, 1), (255, 254)).unwrap();
        play(
            seed,
            STEPS / 2,
            Dict::with_tuning_and_hasher(full, poor),
            |k| k,
        );
    }
}

#[test]
fn a_large_dict_finds_each_key_in_cells_of_each_width() {
    let most: u64 = if cfg!(miri) { 300 } else { 70_000 };
    let mut random = Random(7);
    let keys: Vec<u64> = (0..most).map(|_| random.next()).collect();
    let mut dict = Dict::new();
    for (n, &key) in keys.iter().enumerate() {
        assert_eq!(dict.insert(key, n), None);
        if matches!(n, 253..257 | 65_533..65_537 | 1000) {
            assert!(keys[..=n]
                .iter()
                .enumerate()
                .all(|(n, key)| dict.get(key) == Some(&n)));
        }
    }
    assert!(keys
        .iter()
        .enumerate()
        .all(|(n, key)| dict.get(key) == Some(&n)));
    assert!((0..1000).all(|_| dict.get(&random.next()).is_none()));
    assert!(dict.keys().eq(&keys));
}

#[test]
fn the_seed_tables_come_out_of_the_model_byte_for_byte() {
    // sys.getsizeof(dict((j, j) for j in range(i))) for i in 0..20, as CCP's blog printed them.
    let mut python = [532; 20];
    python[..6].fill(148);
    let console = [
        64, 88, 112, 160, 160, 160, 256, 256, 256, 256, 256, 256, 448, 448, 448, 448, 448, 448,
        448, 448,
    ];
    let told = |tuning: Tuning| std::array::from_fn(|n| tuning.python27_bytes(n as u64));
    assert_eq!(told(Tuning::PYTHON27), python);
    assert_eq!(told(Tuning::CONSOLE), console);
    // The text says 4/5; with that, three entries would take 112 bytes.
    let text = Tuning::new(1, (4, 5), (3, 2)).unwrap();
    assert_eq!((text.python27_bytes(3), console[3]), (112, 160));
}

#[test]
fn a_tuning_that_makes_no_sense_is_refused() {
    for load in [(0, 1), (2, 1), (1, 0), (0, 0)] {
        assert_eq!(
            Tuning::new(8, load, (2, 1)),
            Err(DictError::MaxLoad),
            "{load:?}"
        );
    }
    for growth in [(0, 1), (1, 1), (1, 2), (2, 0)] {
        assert_eq!(
            Tuning::new(8, (2, 3), growth),
            Err(DictError::Growth),
            "{growth:?}"
        );
    }
    assert_eq!(Tuning::new(8, (2, 3), (4, 1)), Ok(Tuning::PYTHON27));
}

#[test]
fn a_capacity_that_overflows_is_an_error_and_nothing_is_lost() {
    let mut dict = Dict::from([(1, 2)]);
    for more in [usize::MAX, usize::MAX - 1, usize::MAX / 2, 1 << 33] {
        assert_eq!(
            dict.try_reserve(more),
            Err(DictError::CapacityOverflow),
            "{more}"
        );
    }
    assert_eq!(dict, Dict::from([(1, 2)]));
}

#[test]
fn a_reserved_dict_allocates_nothing_whatever_is_replaced() {
    for n in [1, 2, 3, 17, 100, 300, 448] {
        let mut dict = Dict::new();
        dict.reserve(n as usize);
        assert!(dict.capacity() >= n as usize);
        let (calls, bytes) = (CALLS.get(), dict.heap_bytes());
        for k in 0..n {
            dict.insert(k, k);
        }
        for k in n..n + 5000 {
            assert_eq!(dict.remove(&(k - n)), Some(k - n));
            assert_eq!(dict.insert(k, k), None);
        }
        dict.clear();
        dict.extend((0..n).map(|k| (k, k)));
        assert_eq!(
            (CALLS.get(), dict.heap_bytes()),
            (calls, bytes),
            "{n} entries"
        );
    }
}

#[test]
fn a_dict_without_room_grows_once_for_replacements_and_never_doubles() {
    for n in [10, 100, 1000] {
        let mut dict: Dict<u64, u64> = (0..n).map(|k| (k, k)).collect();
        dict.shrink_to_fit();
        let bytes = dict.heap_bytes();
        for k in n..10 * n {
            dict.remove(&(k - n));
            dict.insert(k, k);
        }
        assert!(
            dict.heap_bytes() < bytes * 3 / 2,
            "{n}: {bytes}, then {}",
            dict.heap_bytes()
        );
    }
}

#[test]
fn refused_memory_is_an_error_and_nothing_is_lost() {
    let mut dict = Dict::new();
    let mut model = Vec::new();
    let mut refusals = 0;
    for k in 0..400_u64 {
        for after in 0.. {
            REFUSE_AFTER.set(Some(after));
            let result = dict.try_insert(k, k);
            REFUSE_AFTER.set(None);
            let all_there = dict.iter().map(|(k, _)| *k).eq(model.iter().copied());
            match result {
                Ok(old) => {
                    assert_eq!(old, None);
                    break;
                }
                Err(error) => assert_eq!(error, DictError::OutOfMemory),
            }
            assert!(all_there && model.iter().all(|k| dict.get(k) == Some(k)));
            refusals += 1;
        }
        model.push(k);
    }
    assert!(
        refusals > 20,
        "only {refusals} refusals: memory was not asked for"
    );
    assert!(dict.keys().eq(&model));
}

#[test]
fn heap_bytes_are_what_the_allocator_gave() {
    for n in [0, 1, 5, 300, 1000_u64] {
        let (mut dict, bytes) = weighed(|| (0..n).map(|k| (k, k)).collect::<Dict<_, _>>());
        assert_eq!(dict.heap_bytes(), bytes, "{n} entries");
        dict.clear();
        assert_eq!(dict.heap_bytes(), bytes, "{n} entries, cleared");
        let before = BYTES.get();
        dict.shrink_to_fit();
        assert_eq!(dict.heap_bytes(), 0);
        assert_eq!(before - BYTES.get(), bytes as isize);
    }
}

const SIZES: [u64; 8] = [0, 1, 5, 10, 20, 100, 1000, 100_000];

/// The bytes of a map of so many entries: grown by inserts, made with capacity, after replacements,
/// and after clear.
macro_rules! columns {
    ($map:ty, $n:expr, $with_capacity:expr, $remove:ident) => {{
        let n: u64 = $n;
        let (_grown, grown) = weighed(|| {
            let mut map = <$map>::new();
            for k in 0..n {
                map.insert(k, k);
            }
            map
        });
        let (mut map, made) = weighed(|| -> $map { $with_capacity(n as usize) });
        let before = BYTES.get() - made as isize;
        for k in 0..n {
            map.insert(k, k);
        }
        for k in n..n + (3 * n).min(30_000) {
            map.$remove(&(k - n));
            map.insert(k, k);
        }
        let replaced = (BYTES.get() - before) as usize;
        map.clear();
        [grown, made, replaced, (BYTES.get() - before) as usize]
    }};
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn no_hash_map_takes_fewer_bytes() {
    for n in SIZES {
        let dict = columns!(Dict<u64, u64>, n, Dict::with_capacity, remove);
        let std = columns!(HashMap<u64, u64>, n, HashMap::with_capacity, remove);
        let index = columns!(IndexMap<u64, u64>, n, IndexMap::with_capacity, swap_remove);
        let tree = columns!(BTreeMap<u64, u64>, n, |_| BTreeMap::new(), remove);
        println!(
            "{n:6}: dict {dict:?}, std {std:?}, indexmap {index:?}, BTreeMap {}",
            tree[0]
        );
        for column in 0..4 {
            assert!(dict[column] <= std[column], "{n} entries, column {column}");
            assert!(
                dict[column] <= index[column],
                "{n} entries, column {column}"
            );
        }
        assert!(dict[0] <= tree[0], "{n} entries");
    }
}

#[test]
fn a_removal_keeps_the_order_and_moves_nothing() {
    let mut dict: Dict<u64, u64> = (0..100).map(|k| (k, k)).collect();
    let at: Vec<*const u64> = dict.values().map(|v| v as *const u64).collect();
    for k in (0..100).step_by(3) {
        dict.remove(&k);
    }
    let kept = || (0..100).filter(|k| k % 3 != 0);
    assert!(dict.keys().copied().eq(kept()));
    assert!(dict
        .values()
        .map(|v| v as *const u64)
        .eq(kept().map(|k| at[k as usize])));
}

#[test]
fn every_entry_is_dropped_once() {
    let alive = Rc::new(());
    let mut dict: Dict<u64, Rc<()>> = (0..50).map(|k| (k, alive.clone())).collect();
    (0..20).for_each(|k| drop(dict.remove(&k)));
    assert_eq!(Rc::strong_count(&alive), 31);
    assert_eq!(dict.drain().take(10).count(), 10);
    assert_eq!((Rc::strong_count(&alive), dict.len()), (1, 0));
    dict.extend((0..9).map(|k| (k, alive.clone())));
    let mut rest = dict.into_iter();
    assert_eq!(rest.next().unwrap().0, 0);
    drop(rest);
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn entries_without_size_are_counted() {
    let mut dict = Dict::new();
    assert_eq!((dict.insert((), ()), dict.insert((), ())), (None, Some(())));
    assert_eq!((dict.len(), dict.iter().count()), (1, 1));
    assert_eq!(dict.remove(&()), Some(()));
    assert!(dict.is_empty());
}

#[test]
#[cfg_attr(feature = "asan", ignore = "what a forgotten drain holds is a leak")]
fn a_forgotten_drain_leaves_an_empty_dict() {
    let mut dict = Dict::from([(1, 1), (2, 2)]);
    std::mem::forget(dict.drain());
    assert_eq!((dict.len(), dict.get(&1)), (0, None));
    assert_eq!(dict.insert(1, 3), None);
    assert_eq!(dict, Dict::from([(1, 3)]));
}

/// A key whose hash panics on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moody(u64);

thread_local!(static PANIC_AFTER: Cell<Option<u64>> = const { Cell::new(None) });

impl Hash for Moody {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Some(left) = PANIC_AFTER.get() {
            assert!(left > 0, "asked for");
            PANIC_AFTER.set(Some(left - 1));
        }
        self.0.hash(state);
    }
}

#[test]
fn a_hash_that_panics_loses_no_entry_of_a_dict_that_grows() {
    for after in 0..12 {
        let mut dict: Dict<Moody, u64> = (0..8).map(|k| (Moody(k), k)).collect();
        dict.shrink_to_fit();
        PANIC_AFTER.set(Some(after));
        let result = catch_unwind(AssertUnwindSafe(|| dict.insert(Moody(8), 8)));
        PANIC_AFTER.set(None);
        assert_eq!(result.is_err(), after < 9, "after {after} hashes");
        let len = dict.len() as u64;
        assert_eq!(len, if after < 9 { 8 } else { 9 });
        assert!((0..len).all(|k| dict.get(&Moody(k)) == Some(&k)));
        dict.extend((8..300).map(|k| (Moody(k), k)));
        assert!((0..300).all(|k| dict.get(&Moody(k)) == Some(&k)));
    }
}

/// A value whose destructor panics.
struct Bomb(bool, #[allow(dead_code)] Rc<()>);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "asked for");
    }
}

#[test]
fn a_destructor_that_panics_in_clear_leaves_an_empty_dict() {
    let alive = Rc::new(());
    let mut dict: Dict<u64, Bomb> = (0..9).map(|k| (k, Bomb(k == 4, alive.clone()))).collect();
    assert!(catch_unwind(AssertUnwindSafe(|| dict.clear())).is_err());
    assert_eq!(
        (dict.len(), dict.iter().count(), Rc::strong_count(&alive)),
        (0, 0, 1)
    );
    dict.insert(3, Bomb(false, alive.clone()));
    assert!(dict.contains_key(&3));
}
