#!/usr/bin/env bash
# CPython 3.11: 26 objects that wait before they have all their attributes triple the size of all later ones.
#
# Objects of a class share one list of attribute names and keep only their values. Each object that is made
# takes one place from the room that this list has for further names. If 26 objects have been made before
# the first one got its second attribute, there is no room left, and from then on every object of the
# class, also those made and filled at once, gets a dict of its own: 336 bytes instead of 112. Deleting the
# early objects changes nothing.
#
# Guessed before it ran: the size of an object depends on its own attributes, or at worst on the order in
# which objects set them.
#
# Why it matters: where `__init__` may wait (for a channel, a file, another tasklet), many objects of a class
# are half-made at the same time. That is usual in a program of tasklets and unusual elsewhere. One
# complete object before the first waiting one avoids it, and a measurement of bytes per object is
# worth nothing without that.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

debian python3.11 3.11.2-6

cat > sizes.py << 'END'
import sys, tracemalloc

def bytes_of_a_later_object(waiting):
    class Npc:
        def __init__(self):
            self.name = None
        def arrive(self):
            self.x = self.y = self.z = self.mood = None

    early = [Npc() for _ in range(waiting)]
    for npc in early:
        npc.arrive()
    del early
    later = [None] * 1000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for i in range(1000):
        npc = Npc()
        npc.arrive()
        later[i] = npc
    return (tracemalloc.get_traced_memory()[0] - before) / 1000

print("large" if bytes_of_a_later_object(int(sys.argv[1])) > 250 else "small")
END
for waiting in 0 1 10 25; do
    expect "a later object, $waiting waiting at first" "$(/usr/bin/python3.11 sizes.py $waiting)" small
done
for waiting in 26 100; do
    expect "a later object, $waiting waiting at first" "$(/usr/bin/python3.11 sizes.py $waiting)" large
done
