#!/usr/bin/env python3
"""What CPython 3.11 says of names of records: prints names.json, which tests/record.rs compares with the library.

usage: python3.11 names.py > names.json

cases: [name of the type, names of fields, rename, the error or null, the fields that there are then, repr of a record of 0, 1, 2, ...]
runs:  the code points that Unicode 14 has assigned, as [first, last, is XID_Start, is XID_Continue]
"""
import collections
import json
import random
import sys
import unicodedata

assert sys.version_info[:2] == (3, 11), "the table is that of CPython 3.11"
random.seed(1)
GOOD = ["x", "y", "z", "value", "X", "match", "case", "type", "print", "self", "cls", "é", "Ω", "名前", "a1", "l·l", "naïve", "none", "true"]
BAD = ["", " ", "x y", "1x", "a-b", "a.b", "²", "a²", "x\n", "\x00", "\x7f", "\x85", "\\", "tab\t", "cr\r", "it's", 'say "x"', "'\"", "“x”", "a,b", "😀"]
KEYWORDS = ["class", "def", "None", "True", "async", "await", "nonlocal", "is", "yield", "with"]
UNDERSCORES = ["_", "_x", "__init__", "_1", "_0", "_2", "_class", "_é"]


def one():
    def word():
        kind = random.choices([GOOD, BAD, KEYWORDS, UNDERSCORES], [30, 1, 1, 1])[0]
        return random.choice(kind)

    name = random.choice(GOOD + ["_Type", "_"]) if random.random() < 0.95 else random.choice(BAD + KEYWORDS)
    fields = [word() for _ in range(random.choice([0, 1, 2, 2, 3, 4, 5, 6]))]
    rename = random.random() < 0.4
    try:
        record = collections.namedtuple(name, fields, rename=rename)
    except ValueError as error:
        return [name, fields, rename, str(error), None, None]
    return [name, fields, rename, None, list(record._fields), repr(record(*range(len(fields))))]


def single():
    """Each word by itself, as a type, as a field, and as a renamed field after one of the same name."""
    for word in GOOD + BAD + KEYWORDS + UNDERSCORES:
        for name, fields, rename in [(word, ["x"], False), ("T", [word], False), ("T", [word, word], True), ("T", [word, word], False)]:
            try:
                record = collections.namedtuple(name, fields, rename=rename)
                yield [name, fields, rename, None, list(record._fields), repr(record(*range(len(fields))))]
            except ValueError as error:
                yield [name, fields, rename, str(error), None, None]


def runs():
    found = []
    for point in range(sys.maxunicode + 1):
        c = chr(point)
        if 0xD800 <= point < 0xE000 or unicodedata.category(c) == "Cn":
            continue
        # An identifier may start with an underscore, which is no XID_Start.
        kind = [int(c.isidentifier() and c != "_"), int(("a" + c).isidentifier())]
        if found and found[-1][1] == point - 1 and found[-1][2:] == kind:
            found[-1][1] = point
        else:
            found.append([point, point, *kind])
    return found


print('{"cases": [')
cases = [*single(), *(one() for _ in range(600))]
print(",\n".join(json.dumps(case, ensure_ascii=True) for case in cases))
print('],\n"runs":', json.dumps(runs(), separators=(",", ":")))
print("}")
