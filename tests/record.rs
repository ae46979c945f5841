//! Records: what namedtuple promises, in one allocation each.
#![cfg(feature = "std")]

use hardswitch::dict::Dict;
use hardswitch::record::{Record, RecordError, RecordType};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;

/// Counts the bytes and calls of each thread, and refuses one request where it is told to.
struct Counting;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static REFUSE: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: the system's allocator, or a refusal.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSE.replace(false) {
            return std::ptr::null_mut();
        }
        BYTES.set(BYTES.get() + layout.size() as isize);
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `make` makes, with the bytes that this has on the heap, and how many pieces it took.
fn weighed<T>(make: impl FnOnce() -> T) -> (T, isize, usize) {
    let (bytes, calls) = (BYTES.get(), CALLS.get());
    let made = make();
    (made, BYTES.get() - bytes, CALLS.get() - calls)
}

/// xorshift64*, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

fn point<V>() -> RecordType<V> {
    RecordType::new("Point", ["x", "y"]).unwrap()
}

/// What CPython 3.11 says; `tests/record/names.py` has made the table.
fn table() -> serde_json::Value {
    serde_json::from_str(include_str!("record/names.json")).unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "to read the table takes long")]
fn names_are_taken_refused_and_renamed_as_namedtuple_does() {
    let table = table();
    let cases = table["cases"].as_array().unwrap();
    let mut refused = 0;
    for case in cases {
        let name = case[0].as_str().unwrap();
        let fields = case[1].as_array().unwrap().iter();
        let fields = fields.map(|field| field.as_str().unwrap());
        let made = if case[2].as_bool().unwrap() {
            RecordType::<usize>::renamed(name, fields)
        } else {
            RecordType::<usize>::new(name, fields)
        };
        match (made, case[3].as_str()) {
            (Ok(made), None) => {
                let expected = case[4].as_array().unwrap().iter();
                assert!(
                    made.fields()
                        .eq(expected.map(|name| name.as_str().unwrap())),
                    "{case}"
                );
                for (index, field) in made.fields().enumerate() {
                    assert_eq!(made.index(field), Some(index), "{case}");
                }
                let record = made.make(0..made.len()).unwrap();
                assert_eq!(record.to_string(), case[5].as_str().unwrap());
            }
            (Err(error), Some(words)) => {
                assert_eq!(error.to_string(), words);
                refused += 1;
            }
            (made, _) => panic!("{case}: {made:?}"),
        }
    }
    assert!(
        refused > 200 && cases.len() > refused + 500,
        "{refused} of {}",
        cases.len()
    );
}

#[test]
#[cfg_attr(miri, ignore = "a million names")]
fn the_letters_of_names_are_those_of_python() {
    // Unicode has made these parts of names in version 15.1, which CPython 3.11 does not know.
    let later = ['\u{200c}', '\u{200d}', '\u{30fb}', '\u{ff65}'];
    let table = table();
    let (mut seen, mut differ) = (0, Vec::new());
    for run in table["runs"].as_array().unwrap() {
        let word = |at: usize| run[at].as_u64().unwrap() as u32;
        for c in (word(0)..=word(1)).filter_map(char::from_u32) {
            let first = RecordType::<()>::new(&c.to_string(), [""; 0]);
            let good = word(2) == 1 || c == '_';
            assert_eq!(first.is_ok(), good, "{c:?} first");
            let other = RecordType::<()>::new("T", [format!("x{c}")]);
            if other.is_ok() != (word(3) == 1) {
                differ.push(c);
            }
            seen += 1;
        }
    }
    assert_eq!(differ, later);
    assert!(seen > 280_000, "{seen}");
}

#[test]
fn a_record_takes_one_pointer_and_its_values_in_one_allocation() {
    fn weigh<V: Default>() {
        let head = size_of::<usize>().max(align_of::<V>()) as isize;
        for n in [0, 1, 2, 3, 7, 100] {
            let names = (0..n).map(|n| format!("f{n}"));
            let kind = RecordType::new("T", names).unwrap();
            let values = (0..n).map(|_| V::default());
            let (record, bytes, calls) = weighed(|| kind.make(values).unwrap());
            assert_eq!(bytes, head + n * size_of::<V>() as isize, "{n}");
            assert_eq!(calls, 1);
            let place = record.values().as_ptr();
            assert!(place.is_aligned());
            let ((), freed, _) = weighed(|| drop(record));
            assert_eq!(freed, -bytes);
            let (_other, _, calls) = weighed(|| kind.clone());
            assert_eq!(calls, 0);
        }
    }
    weigh::<()>();
    weigh::<u8>();
    weigh::<u64>();
    weigh::<String>();
    weigh::<u128>();
    #[derive(Default)]
    #[repr(align(64))]
    struct Wide(#[allow(dead_code)] u8);
    weigh::<Wide>();
    assert_eq!(size_of::<Record<u64>>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Record<u64>>>(), size_of::<usize>());
}

#[test]
fn the_wrong_number_of_values_is_an_error_and_nothing_is_lost() {
    let kind = point::<String>();
    let values = |n: usize| (0..n).map(|n| n.to_string());
    for n in [0, 1] {
        let refused = kind.make(values(n)).unwrap_err();
        let error = RecordError::TooFew {
            expected: 2,
            got: n,
        };
        assert_eq!(*refused.error(), error);
        assert_eq!(
            refused.to_string(),
            format!("Expected 2 arguments, got {n}")
        );
        assert!(refused.into_iter().eq(values(n)));
    }
    // An iterator without an end: one value more is taken, and the rest stays.
    let mut endless = (0..).map(|n: usize| n.to_string());
    let refused = kind.make(&mut endless).unwrap_err();
    assert_eq!(*refused.error(), RecordError::TooMany { expected: 2 });
    assert_eq!(refused.to_string(), "Expected 2 arguments, got more");
    assert!(refused.into_iter().eq(values(3)));
    assert_eq!(endless.next().unwrap(), "3");
    // The same where what was taken is not wanted back.
    let (bytes, refused) = (BYTES.get(), kind.make(values(3)));
    assert_eq!(
        RecordError::from(refused.unwrap_err()),
        RecordError::TooMany { expected: 2 }
    );
    assert_eq!(BYTES.get(), bytes);
}

#[test]
fn refused_memory_is_an_error_before_anything_is_taken() {
    let kind = point();
    let mut values = [String::from("a"), String::from("b")].into_iter();
    REFUSE.set(true);
    let refused = kind.make(&mut values).unwrap_err();
    assert_eq!(*refused.error(), RecordError::OutOfMemory);
    assert_eq!(refused.into_iter().count(), 0);
    let record = kind.make(values).unwrap();
    let named = [("x", "c".to_string())];
    REFUSE.set(true);
    let (error, named) = record.replace(named).unwrap_err();
    assert_eq!(error, RecordError::OutOfMemory);
    assert_eq!(named, [("x", "c".to_string())]);
    REFUSE.set(true);
    let words = catch_unwind(AssertUnwindSafe(|| drop(record.clone()))).unwrap_err();
    assert_eq!(
        *words.downcast::<String>().unwrap(),
        "Out of memory for a record"
    );
    assert_eq!(record.values(), ["a", "b"]);
}

#[test]
fn records_have_no_fields_or_ten_thousand() {
    let none = RecordType::<u8>::new("Empty", [""; 0]).unwrap();
    let record = none.make([]).unwrap();
    assert_eq!(record.to_string(), "Empty()");
    assert!(none.is_empty() && record.field("x").is_none() && record.as_dict().is_empty());
    assert_eq!(record, record.clone());
    let refused = none.make([1]).unwrap_err();
    assert!(refused.into_iter().eq([1]));

    let many = if cfg!(miri) { 500 } else { 10_000 };
    let names: Vec<String> = (0..many).map(|n| format!("field{n}")).collect();
    let kind = RecordType::new("Many", &names).unwrap();
    let record = kind.make(0..many).unwrap();
    for (n, name) in names.iter().enumerate() {
        assert_eq!((record[n], record[name.as_str()]), (n, n));
    }
    assert!(record.field("field").is_none() && record.values().get(many).is_none());
    assert!(record
        .as_dict()
        .into_iter()
        .eq(names.iter().map(String::as_str).zip(record.values())));
    let mut again = names.clone();
    again.push("field77".to_string());
    assert_eq!(
        RecordType::<u8>::new("Many", again),
        Err(RecordError::Duplicate("field77".into()))
    );
    if !cfg!(miri) {
        let endless = RecordType::<u8>::new("Endless", std::iter::repeat("x"));
        assert_eq!(endless, Err(RecordError::TooLarge));
        let endless = kind.extend("Endless", std::iter::repeat("x"));
        assert_eq!(endless, Err(RecordError::TooLarge));
    }
}

#[test]
fn defaults_are_those_of_the_last_fields() {
    let bare = RecordType::new("Account", ["type", "balance", "open"]).unwrap();
    let kind = bare.clone().with_defaults(vec![0, 1]).unwrap();
    assert_ne!(bare, kind, "others hold the type without defaults");
    assert_eq!(
        [0, 1, 2, 3].map(|n| kind.default_of(n)),
        [None, Some(&0), Some(&1), None]
    );
    assert!((0..3).all(|n| bare.default_of(n).is_none()));
    let premium = kind.make_with_defaults(vec![7]).unwrap();
    assert_eq!(premium.to_string(), "Account(type=7, balance=0, open=1)");
    let refused = kind.make_with_defaults([]).unwrap_err();
    assert_eq!(refused.to_string(), "Missing a value for the field 'type'");
    assert_eq!(refused.into_iter().count(), 0);
    let refused = kind.make_with_defaults(vec![1, 2, 3, 4]).unwrap_err();
    assert!(refused.into_iter().eq([1, 2, 3, 4]));
    assert!(kind.make([7]).is_err(), "as namedtuple's _make");

    let named = kind.make_named([("open", 5), ("type", 6)]).unwrap();
    assert_eq!(named.values(), [6, 0, 5]);
    let (error, values) = kind.make_named([("open", 5)]).unwrap_err();
    assert_eq!(error, RecordError::Missing("type".into()));
    assert_eq!(values, [("open", 5)]);

    let (error, given) = bare.clone().with_defaults(vec![1, 2, 3, 4]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Got more default values than field names"
    );
    assert_eq!(given, [1, 2, 3, 4]);
    // A type that nobody else holds takes them as they are.
    let (all, bytes, calls) = weighed(|| point().with_defaults(vec![1u64, 2]).unwrap());
    assert_eq!(all.make_with_defaults([]).unwrap().values(), [1, 2]);
    let (_other, other_bytes, other_calls) = weighed(point::<u64>);
    assert_eq!((bytes - 16, calls - 1), (other_bytes, other_calls));
}

#[test]
fn a_field_that_is_not_there_is_an_error_and_nothing_is_lost() {
    let mut p = point().make(["a".to_string(), "b".to_string()]).unwrap();
    let value = || "c".to_string();
    let (error, back) = p.set("z", value()).unwrap_err();
    assert_eq!(error.to_string(), "Got unexpected field names: ['z']");
    assert_eq!(back, "c");
    assert_eq!(p.set("y", value()), Ok("b".to_string()));
    let (error, back) = p.replace([("x", value()), ("z", value())]).unwrap_err();
    assert_eq!(error, RecordError::NoField("z".into()));
    assert_eq!(back, [("x", value()), ("z", value())]);
    let (error, _) = p.replace([("x", value()), ("x", value())]).unwrap_err();
    assert_eq!(error.to_string(), "Got two values for the field 'x'");
    let q = p.replace([("y", "d".to_string()), ("x", value())]).unwrap();
    assert_eq!(
        (q.to_string().as_str(), p.to_string().as_str()),
        ("Point(x=c, y=d)", "Point(x=a, y=c)")
    );
    assert_eq!(q.record_type(), p.record_type());
    assert!(p.field("X").is_none() && p.field_mut("").is_none());
    for wrong in [
        catch_unwind(AssertUnwindSafe(|| drop(p["z"].clone()))),
        catch_unwind(AssertUnwindSafe(|| drop(p[2].clone()))),
    ] {
        assert!(wrong.is_err());
    }
}

#[test]
fn a_type_is_extended_by_more_fields() {
    let solid = point::<i32>().extend("Point3D", ["z"]).unwrap();
    assert_eq!(format!("{solid:?}"), "Point3D(x, y, z)");
    let again = solid.extend("T", vec!["x".to_string()]);
    assert_eq!(again, Err(RecordError::Duplicate("x".into())));
    let renamed = RecordType::<i32>::renamed("T", ["class"]).unwrap();
    assert_eq!(
        renamed.extend("T", ["z"]),
        Err(RecordError::Underscore("_0".into()))
    );
}

#[test]
fn records_are_compared_hashed_and_given_away_as_tuples() {
    let hash = |value: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        value(&mut hasher);
        hasher.finish()
    };
    let mut random = Random(5);
    let kinds = [
        point::<usize>(),
        RecordType::new("Pair", ["a", "b"]).unwrap(),
        RecordType::new("One", ["a"]).unwrap(),
        RecordType::new("Three", ["a", "b", "c"]).unwrap(),
    ];
    let rounds = if cfg!(miri) { 50 } else { 2000 };
    for _ in 0..rounds {
        let mut some = || {
            let kind = &kinds[random.below(4)];
            let values: Vec<usize> = (0..kind.len()).map(|_| random.below(3)).collect();
            (kind.make(values.iter().copied()).unwrap(), values)
        };
        let ((a, one), (b, other)) = (some(), some());
        assert_eq!(a == b, one == other);
        assert_eq!(a.cmp(&b), one.cmp(&other));
        assert_eq!(a.partial_cmp(&b), one.partial_cmp(&other));
        assert_eq!(hash(&|h| a.hash(h)), hash(&|h| one.hash(h)));
        assert!((&a).into_iter().eq(&one));
        assert!(a.into_iter().rev().eq(one.into_iter().rev()));
    }
    let float = |x| point().make([1.0, x]).unwrap();
    assert_eq!(float(f64::NAN).partial_cmp(&float(f64::NAN)), None);
    assert_eq!(float(2.0).partial_cmp(&float(1.0)), Some(Ordering::Greater));
    assert_eq!(
        format!("{:.1} {:?}", float(2.0), float(2.0)),
        "Point(x=1.0, y=2.0) Point(x=1.0, y=2.0)"
    );
    assert_eq!(
        format!("{:?}", point().make(["a", "b"]).unwrap()),
        r#"Point(x="a", y="b")"#
    );
}

/// Plays random operations on records, and on plain names and values, which must tell the same.
#[test]
fn random_operations_tell_what_names_and_values_tell() {
    let rounds = if cfg!(miri) { 1 } else { 300 };
    let bytes = BYTES.get();
    for seed in 0..rounds {
        let mut random = Random(seed * 2 + 1);
        let count = random.below(12);
        let mut names: Vec<String> = Vec::new();
        while names.len() < count {
            let name = format!("f{}", random.below(40));
            if !names.contains(&name) {
                names.push(name.clone());
            }
        }
        let mut model: Vec<String> = names.iter().map(|name| format!("of {name}")).collect();
        let mut kind = RecordType::new("Model", &names).unwrap();
        let mut record = kind.make(model.clone()).unwrap();
        for step in 0..100 {
            let name = format!("f{}", random.below(40));
            let at = names.iter().position(|other| *other == name);
            let value = format!("step {step}");
            match random.below(9) {
                0 => match (record.set(&name, value.clone()), at) {
                    (Ok(old), Some(at)) => {
                        assert_eq!(old, std::mem::replace(&mut model[at], value))
                    }
                    (Err((error, back)), None) => {
                        assert_eq!(error, RecordError::NoField(name.as_str().into()));
                        assert_eq!(back, value);
                    }
                    (told, _) => panic!("{told:?}"),
                },
                1 => {
                    let told = record.replace([(&name, value.clone())]);
                    assert_eq!(told.is_ok(), at.is_some());
                    if let (Ok(other), Some(at)) = (told, at) {
                        let mut expected = model.clone();
                        expected[at] = value;
                        assert_eq!(other.values(), expected);
                        assert_eq!(record.values(), model, "the first stays");
                        (record, model) = (other, expected);
                    }
                }
                2 => record = record.clone(),
                3 => {
                    let values = record.into_iter();
                    record = kind.make(values).unwrap();
                }
                4 if model.len() < 30 && at.is_none() => {
                    kind = kind.extend("Model", [&name]).unwrap();
                    names.push(name.clone());
                    model.push(value.clone());
                    record = kind.make(record.into_iter().chain([value])).unwrap();
                }
                5 => {
                    let defaults = random.below(model.len() + 1);
                    let of: Vec<String> = model[model.len() - defaults..].to_vec();
                    kind = kind.with_defaults(of).unwrap();
                    let some = model[..model.len() - defaults].iter().cloned();
                    record = kind.make_with_defaults(some).unwrap();
                }
                6 => {
                    let taken = random.below(model.len() + 1);
                    let some: Vec<String> = record.into_iter().take(taken).collect();
                    assert_eq!(some, model[..taken]);
                    record = kind.make(model.clone()).unwrap();
                }
                7 => {
                    let wrong = model.iter().cloned().chain([value.clone()]);
                    let refused = kind.make(wrong.clone()).unwrap_err();
                    assert!(refused.into_iter().eq(wrong));
                }
                _ => {
                    record
                        .values_mut()
                        .iter_mut()
                        .for_each(|value| value.push('!'));
                    model.iter_mut().for_each(|value| value.push('!'));
                }
            }
            assert_eq!(record.values(), model, "seed {seed}");
            assert_eq!(
                record.record_type().index(&name),
                names.iter().position(|n| *n == name)
            );
            let dict: Dict<&str, &String> = names.iter().map(String::as_str).zip(&model).collect();
            let told = record.as_dict();
            assert!(told.iter().eq(dict.iter()));
        }
    }
    assert_eq!(BYTES.get(), bytes);
}

/// A value of which one use panics, when it has come to 0.
struct Fragile {
    fuse: Rc<Cell<isize>>,
    alive: Rc<()>,
}

impl Fragile {
    fn burn(&self) {
        self.fuse.set(self.fuse.get() - 1);
        if self.fuse.get() == 0 {
            panic!("burnt");
        }
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        self.burn();
        Fragile {
            fuse: self.fuse.clone(),
            alive: self.alive.clone(),
        }
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.burn();
    }
}

impl PartialEq for Fragile {
    fn eq(&self, _: &Self) -> bool {
        self.burn();
        true
    }
}

impl PartialOrd for Fragile {
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        self.burn();
        Some(Ordering::Equal)
    }
}

impl fmt::Display for Fragile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.burn();
        f.write_str("fragile")
    }
}

#[test]
fn whatever_of_a_value_panics_nothing_is_leaked() {
    type Use = fn(&RecordType<Fragile>, &Fragile);
    fn three(of: &Fragile) -> impl Iterator<Item = Fragile> + '_ {
        (0..3).map(|_| of.clone())
    }
    let uses: [(&str, Use); 8] = [
        ("an iterator, destructors", |kind, of| {
            drop(kind.make(three(of)).unwrap())
        }),
        ("clones", |kind, of| {
            drop(kind.make(three(of)).unwrap().clone())
        }),
        ("replaced values", |kind, of| {
            let record = kind.make(three(of)).unwrap();
            drop(
                record
                    .replace([("b", of.clone()), ("a", of.clone())])
                    .ok()
                    .unwrap(),
            );
        }),
        ("comparisons", |kind, of| {
            let record = kind.make(three(of)).unwrap();
            assert!(record == record && record <= record);
        }),
        ("words", |kind, of| {
            let mut text = String::new();
            let _ = fmt::write(&mut text, format_args!("{}", kind.make(three(of)).unwrap()));
        }),
        ("defaults", |kind, of| {
            let kind = kind
                .clone()
                .with_defaults(vec![of.clone(), of.clone()])
                .ok()
                .unwrap();
            drop(kind.make_with_defaults([of.clone()]).unwrap());
            drop(kind.make_named([("a", of.clone())]).ok().unwrap());
        }),
        ("what is refused", |kind, of| {
            drop(kind.make(three(of).take(2)).err().unwrap());
            drop(
                kind.make(three(of).chain([of.clone()]))
                    .err()
                    .unwrap()
                    .into_iter()
                    .next(),
            );
        }),
        ("what is taken apart", |kind, of| {
            let mut values = kind.make(three(of)).unwrap().into_iter();
            drop(values.next());
            drop(values.next_back());
        }),
    ];
    std::panic::set_hook(Box::new(|_| ()));
    let kind = RecordType::new("T", ["a", "b", "c"]).unwrap();
    for (what, play) in uses {
        let mut panics = 0;
        for burns in 1.. {
            let of = Fragile {
                fuse: Rc::new(Cell::new(burns)),
                alive: Rc::new(()),
            };
            let bytes = BYTES.get();
            let result = catch_unwind(AssertUnwindSafe(|| play(&kind, &of)));
            let left = of.fuse.replace(-1);
            let done = result.is_ok();
            assert_eq!(done, left > 0, "{what}");
            drop(result);
            assert_eq!(Rc::strong_count(&of.alive), 1, "{what}, {burns}");
            assert_eq!(BYTES.get(), bytes, "{what}, {burns}");
            if done {
                break;
            }
            panics += 1;
        }
        assert!(panics >= 6, "{what}: {panics}");
    }
    let _ = std::panic::take_hook();
}

#[test]
fn each_name_is_asked_for_once() {
    struct Fickle(Cell<usize>);
    impl AsRef<str> for Fickle {
        fn as_ref(&self) -> &str {
            self.0.set(self.0.get() + 1);
            ["x", "class", "_"][self.0.get() - 1]
        }
    }
    let kind = RecordType::<u8>::new("T", [Fickle(Cell::new(0))]).unwrap();
    assert!(kind.fields().eq(["x"]));
}

#[test]
fn records_go_to_other_threads_and_outlive_the_handles_of_their_type() {
    let record = point()
        .with_defaults(vec![7])
        .unwrap()
        .make_with_defaults([1])
        .unwrap();
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let record = record.clone();
            std::thread::spawn(move || record.replace([("y", n)]).unwrap())
        })
        .collect();
    for (n, thread) in threads.into_iter().enumerate() {
        let told = thread.join().unwrap();
        assert_eq!(told.values(), [1, n]);
        assert_eq!(told.record_type(), record.record_type());
    }
    drop(record);
}
