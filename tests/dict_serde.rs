//! A dict as a map of serde's: `cargo test --features serde --test dict_serde`.
#![cfg(feature = "serde")]

use hardswitch::dict::Dict;

#[test]
fn a_dict_is_written_and_read_in_the_order_of_its_entries() {
    let mut dict: Dict<String, Vec<u32>> = Dict::new();
    for key in ["z", "a", "m", "gone"] {
        dict.insert(key.to_string(), vec![key.len() as u32]);
    }
    dict.remove("gone");
    dict.insert("z".to_string(), vec![]);
    let text = serde_json::to_string(&dict).unwrap();
    assert_eq!(text, r#"{"z":[],"a":[1],"m":[1]}"#);
    let again: Dict<String, Vec<u32>> = serde_json::from_str(&text).unwrap();
    assert!(again.iter().eq(dict.iter()));
}

#[test]
fn of_a_key_that_comes_twice_the_last_value_counts_at_the_first_place() {
    let dict: Dict<String, u32> = serde_json::from_str(r#"{"a":1,"b":2,"a":3}"#).unwrap();
    assert!(dict
        .iter()
        .map(|(k, v)| (k.as_str(), *v))
        .eq([("a", 3), ("b", 2)]));
}

#[test]
fn what_is_no_map_is_refused() {
    for text in ["[1]", "{\"a\":\"b\"}", "{\"a\":1", "null"] {
        assert!(serde_json::from_str::<Dict<String, u32>>(text).is_err());
    }
}

#[test]
fn a_length_that_strangers_tell_takes_no_memory() {
    use serde::de::value::{Error, MapDeserializer};
    use serde::Deserialize;
    struct Boasts(std::ops::Range<u32>);
    impl Iterator for Boasts {
        type Item = (u32, u32);
        fn next(&mut self) -> Option<(u32, u32)> {
            self.0.next().map(|n| (n, n))
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (usize::MAX, Some(usize::MAX))
        }
    }
    let map = MapDeserializer::<_, Error>::new(Boasts(0..3));
    let dict: Dict<u32, u32> = match Deserialize::deserialize(map) {
        Ok(dict) => dict,
        Err(error) => panic!("{error}"),
    };
    assert!(dict.keys().eq(&[0, 1, 2]) && dict.heap_bytes() < 100_000);
}
