#!/usr/bin/env bash
# A hashbrown map that was made large enough allocates again, twice the size, while it never grows.
#
# A map is made with room for 448 entries. It is filled with 300, and from then on an entry is removed for
# each one that is inserted, so 300 is the most that it ever holds. After a few hundred replacements it
# moves to a table of twice the size: a removal leaves a mark in a group of slots that is full, marks use
# up the room for inserts, and cleaning up in place is chosen only when the map is at most half full.
#
# Guessed before it ran: `with_capacity(448)` promises no allocation while there are at most 448 entries.
# It promises that for inserts alone.
#
# Why it matters: on a console memory is budgeted at the start. A table of sessions or of entities with
# constant population costs twice its budget after some minutes, and, while it moves, three times.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cargo_project map 'hashbrown = "=0.17.2"' << 'END'
use hashbrown::HashMap;

fn main() {
    let mut map: HashMap<u64, u64> = HashMap::with_capacity(448);
    let mut number = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        number
    };
    let mut keys: Vec<u64> = (0..300).map(|_| next()).collect();
    for key in &keys {
        map.insert(*key, 0);
    }
    let reserved = map.allocation_size();
    let mut most = 0;
    for round in 0..100_000 {
        let slot = round % keys.len();
        map.remove(&keys[slot]);
        keys[slot] = next();
        map.insert(keys[slot], 0);
        most = most.max(map.len());
    }
    println!("{most} {reserved} {}", map.allocation_size());
}
END
read -r most reserved afterwards <<< "$(cd map && cargo run --quiet)"
expect 'most entries at any time' "$most" 300
expect 'bytes with room for 448 entries' "$reserved" 8720
expect 'bytes after 100,000 replacements' "$afterwards" 17424
