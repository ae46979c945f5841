//! A dict as a map of serde's, in the order of its entries.

use super::Dict;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::marker::PhantomData;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// Room that is made for as many entries as strangers tell; more come as they are read.
const BELIEVED: usize = 1024;

impl<K: Serialize, V: Serialize, S> Serialize for Dict<K, V, S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Of a key that comes twice the last value counts. Refused memory is an error.
impl<'de, K, V, S> Deserialize<'de> for Dict<K, V, S>
where
    K: Deserialize<'de> + Eq + Hash,
    V: Deserialize<'de>,
    S: BuildHasher + Default,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<K, V, S>(PhantomData<Dict<K, V, S>>);

impl<'de, K, V, S> Visitor<'de> for Entries<K, V, S>
where
    K: Deserialize<'de> + Eq + Hash,
    V: Deserialize<'de>,
    S: BuildHasher + Default,
{
    type Value = Dict<K, V, S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut dict = Dict::with_hasher(S::default());
        if let Some(told) = map.size_hint() {
            dict.try_reserve(told.min(BELIEVED))
                .map_err(A::Error::custom)?;
        }
        while let Some((key, value)) = map.next_entry()? {
            let inserted = dict.try_insert(key, value);
            inserted.map_err(|(error, _, _)| A::Error::custom(error))?;
        }
        Ok(dict)
    }
}
