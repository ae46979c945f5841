"""What stands in for the compiler on the console. Elsewhere it is tested beside the compiler: what
is made of closures there must be like what `collections` and `dataclasses` make of source."""

import builtins
import collections
import dataclasses
import importlib.util
import inspect
import os
import random
import subprocess
import sys
import tempfile
import typing
import unittest
import unittest.mock
import zipfile
from collections import namedtuple
from dataclasses import dataclass

from programs import Programs, on_console

MADE, RECORDED = "<made without a compiler>", "<recorded>"


class Point(typing.NamedTuple):
    """Its source, and the next one's, have been seen while the zip was made."""

    x: int
    y: "Point" = None


@dataclass(order=True)
class Pair:
    first: int
    second: typing.Optional["Pair"] = None


def prepared(name):
    """A copy of the module that makes functions without a compiler."""
    if on_console:
        return sys.modules[name]
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "console")
    spec = importlib.util.spec_from_file_location("_console", os.path.join(folder, "_console.py"))
    console = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(console)
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    before = sys.modules[name]
    sys.modules[name] = module  # a dataclass looks itself up there
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules[name] = before
    getattr(console, "prepare_" + name)(module.__dict__)
    return module


def new_names(count):
    """Names that nobody can have seen."""
    some = random.sample(range(10**8), count)
    return [f"name{number}" for number in some]


class NamedTuples(unittest.TestCase):
    def kinds(self):
        yield collections.namedtuple
        if not on_console:
            yield prepared("collections").namedtuple

    def test_a_namedtuple_of_names_that_are_new_is_like_any_other(self):
        for make in self.kinds():
            for count in (0, 1, 2, 31, 255, 256, 300):
                names = new_names(count)
                cls = make("Made", names)
                values = tuple(range(count))
                made = cls(*values)
                self.assertEqual((made, made._fields), (values, tuple(names)))
                self.assertEqual(cls(**dict(zip(names, values))), values)
                self.assertEqual(list(inspect.signature(cls).parameters), names)
                with self.assertRaisesRegex(TypeError, "positional arguments? but"):
                    cls(*values, 0)
                if names:
                    message = rf"Made.__new__\(\) missing 1 required positional .* {names[-1]!r}"
                    with self.assertRaisesRegex(TypeError, message):
                        cls(*values[:-1])
                    self.assertEqual(getattr(made, names[-1]), count - 1)
                    self.assertEqual(made._replace(**{names[0]: "new"})[0], "new")

    def test_defaults_belong_to_the_last_names(self):
        for make in self.kinds():
            a, b, c = names = new_names(3)
            cls = make("Made", names, defaults=(2, 3))
            self.assertEqual((cls(1), cls(1, **{c: 4})), ((1, 2, 3), (1, 2, 4)))
            self.assertEqual(cls._field_defaults, {b: 2, c: 3})
            self.assertEqual(repr(cls(1)), f"Made({a}=1, {b}=2, {c}=3)")
            with self.assertRaises(TypeError):
                cls()

    def test_classes_that_the_build_has_seen_have_the_compilers_code(self):
        self.assertEqual((Point(1), Point(1, y=2)), ((1, None), (1, 2)))
        self.assertEqual(typing.get_type_hints(Point)["y"], Point)
        self.assertEqual(Pair(1, Pair(2)).second, Pair(2))
        self.assertEqual(typing.get_type_hints(Pair)["second"], typing.Optional[Pair])
        if on_console:
            files = {f.__code__.co_filename for f in (Point.__new__, Pair.__init__, Pair.__lt__)}
            self.assertEqual(files, {RECORDED})

    def test_names_that_are_new_have_no_code_of_the_compilers(self):
        if not on_console:
            self.skipTest("there is a compiler")
        names = new_names(2)
        cls = dataclasses.make_dataclass("Made", names)
        functions = (namedtuple("Made", names).__new__, cls.__init__)
        self.assertEqual({f.__code__.co_filename for f in functions}, {MADE})


class DataClasses(unittest.TestCase):
    """Each of these makes its classes with both modules."""

    def kinds(self):
        yield dataclasses
        if not on_console:
            module = prepared("dataclasses")
            with unittest.mock.patch.dict(sys.modules, dataclasses=module):  # it looks itself up
                yield module

    def test_parameters_defaults_and_factories(self):
        for module in self.kinds():
            a, b, c, d, e = names = new_names(5)
            fields = [
                a,
                (b, int, 2),
                (c, list, module.field(default_factory=list)),
                (d, int, module.field(default=4, kw_only=True)),
                (e, list, module.field(default_factory=lambda: ["e"], init=False)),
            ]
            cls = module.make_dataclass("Made", fields)
            one, two = cls(1), cls(1)
            self.assertEqual([getattr(one, n) for n in names], [1, 2, [], 4, ["e"]])
            self.assertIsNot(getattr(one, c), getattr(two, c))
            self.assertEqual(one, two)
            self.assertEqual(repr(one), f"Made({a}=1, {b}=2, {c}=[], {d}=4, {e}=['e'])")
            self.assertEqual(getattr(cls(1, **{c: "given", d: 5}), d), 5)
            parameters = inspect.signature(cls).parameters.values()
            self.assertEqual([p.name for p in parameters], [a, b, c, d])
            self.assertEqual([int(p.kind) for p in parameters], [1, 1, 1, 3])
            self.assertEqual(cls.__init__.__annotations__[b], int)
            self.assertEqual(cls.__init__.__qualname__, "Made.__init__")
            wrong = (((), {}), ((1, 2, 3, 4), {}), ((1,), {a: 1}), ((1,), {"z": 1}))
            for arguments, words in wrong:
                with self.assertRaisesRegex(TypeError, r"Made.__init__\(\)"):
                    cls(*arguments, **words)
            with self.assertRaisesRegex(TypeError, "non-default argument"):
                module.make_dataclass("Made", [(a, int, 1), b])

    def test_order_equality_and_hashes(self):
        for module in self.kinds():
            names = new_names(2)
            cls = module.make_dataclass("Made", names, order=True, frozen=True)
            other = module.make_dataclass("Other", names, order=True)
            self.assertTrue(cls(1, 2) < cls(1, 3) <= cls(1, 3))
            self.assertTrue(cls(2, 0) > cls(1, 9) >= cls(1, 9))
            self.assertEqual(hash(cls(1, 2)), hash((1, 2)))
            self.assertNotEqual(cls(1, 2), other(1, 2))
            self.assertIsNone(other.__hash__)
            with self.assertRaises(TypeError):
                cls(1, 2) < other(1, 2)
            empty = module.make_dataclass("Empty", [], order=True, unsafe_hash=True)
            self.assertEqual((empty(), hash(empty())), (empty(), hash(())))
            self.assertFalse(empty() < empty())

    def test_what_is_frozen_stays(self):
        for module in self.kinds():
            a, b = new_names(2)
            for slots in (False, True):
                cls = module.make_dataclass("Made", [a, (b, int, 2)], frozen=True, slots=slots)
                made = cls(1)
                refused = module.FrozenInstanceError
                with self.assertRaisesRegex(refused, f"cannot assign to field {a!r}"):
                    setattr(made, a, 2)
                with self.assertRaisesRegex(refused, f"cannot delete field {b!r}"):
                    delattr(made, b)
                self.assertEqual((getattr(made, a), getattr(made, b)), (1, 2))
                self.assertEqual(hasattr(made, "__dict__"), not slots)

    def test_variables_of_init_go_to_post_init(self):
        for module in self.kinds():
            a, b, c = new_names(3)

            def post_init(self, given):
                seen.append((given, getattr(self, a)))

            fields = [a, (b, module.InitVar[int], 2), (c, int, module.field(init=False, default=3))]
            body = {"__post_init__": post_init}
            seen = []
            cls = module.make_dataclass("Made", fields, namespace=body)
            self.assertEqual(vars(cls(1)), {a: 1})
            self.assertEqual(getattr(cls(1, 5), c), 3)
            self.assertEqual(seen, [(2, 1), (5, 1)])
            cls = module.make_dataclass("Made", fields, namespace=body, slots=True)
            self.assertEqual(getattr(cls(1), c), 3)

    def test_one_inherits_and_is_replaced(self):
        for module in self.kinds():
            a, b = new_names(2)
            base = module.make_dataclass("Base", [a])
            cls = module.make_dataclass("Made", [(b, int, 2)], bases=(base,))
            one = cls(1)
            self.assertEqual(module.asdict(module.replace(one, **{a: 3})), {a: 3, b: 2})
            setattr(one, a, one)
            self.assertEqual(repr(one), f"Made({a}=..., {b}=2)")

    def test_many_fields(self):
        for module in self.kinds():
            names = new_names(300)
            cls = module.make_dataclass("Made", names)
            self.assertEqual(module.astuple(cls(*range(300))), tuple(range(300)))


class Annotations(unittest.TestCase):
    def test_annotations_that_are_names_are_looked_up(self):
        module = prepared("typing")
        name = new_names(1)[0]
        reference = module.ForwardRef(name)
        self.assertIs(reference._evaluate({name: int}, {}, frozenset()), int)
        dotted = module.ForwardRef(f"{name}.{name}")
        scope = {name: type("Scope", (), {name: str})}
        self.assertIs(dotted._evaluate(scope, {}, frozenset()), str)
        with self.assertRaisesRegex(NameError, name):
            module.ForwardRef(name)._evaluate({}, {}, frozenset())
        with self.assertRaises(NotImplementedError):
            module.ForwardRef(f"list[{name}]")._evaluate({name: int}, {}, frozenset())


@unittest.skipUnless(on_console, "of the console's host")
class Console(Programs):
    def test_compile_eval_and_exec_are_refused_and_imports_go_on(self):
        code = (lambda: 1).__code__
        for call in (
            lambda: compile("1", "name", "eval"),
            lambda: eval("1"),
            lambda: eval(code),
            lambda: exec("x = 1"),
            lambda: exec(code),
            lambda: exec(None),
            lambda: exec(),
            lambda: builtins.eval("1", {}, {}),
        ):
            self.assertRaises(NotImplementedError, call)
        sys.modules.pop("colorsys", None)
        import colorsys

        self.assertEqual(colorsys.rgb_to_hsv(0, 0, 0), (0.0, 0.0, 0))

    def test_the_compilers_modules_are_not_there(self):
        import ast

        for name in ("_symtable", "_tokenize"):
            self.assertIsNone(importlib.util.find_spec(name))
        self.assertRaises(NotImplementedError, ast.parse, "1")
        self.assertRaises(NotImplementedError, ast.literal_eval, "1")

    def run_with(self, library, module="stackless"):
        """What the host says that runs the module with another library."""
        environment = {**os.environ, "CONSOLE_LIBRARY": library}
        command = [sys.executable, module]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)

    def test_a_zip_that_is_no_whole_one_is_refused_with_words(self):
        with open(zipfile.__loader__.archive, "rb") as file:
            whole = file.read()
        with tempfile.TemporaryDirectory() as folder:
            library = os.path.join(folder, "library.zip")
            self.assertEqual(self.run_with(library).returncode, 1)
            for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
                with open(library, "wb") as file:
                    file.write(whole[:length])
                done = self.run_with(library)
                self.assertEqual(done.returncode, 1, (length, done.stderr))
                self.assertIn("encodings", done.stderr)

    def test_bytecode_that_is_cut_short_or_anothers_is_an_import_error(self):
        with zipfile.ZipFile(zipfile.__loader__.archive) as archive:
            whole = archive.read("colorsys.pyc")
            rest = {n: archive.read(n) for n in archive.namelist() if n != "colorsys.pyc"}
        with tempfile.TemporaryDirectory() as folder:
            library = os.path.join(folder, "library.zip")
            for bad, words in (
                (b"\xcb\x0d\x0d\x0a" + whole[4:], "ImportError: bad magic number in 'colorsys'"),
                (whole[:10], "EOFError"),
                (whole[:-10], "EOFError"),
            ):
                with zipfile.ZipFile(library, "w") as archive:
                    for name, data in {**rest, "colorsys.pyc": bad}.items():
                        archive.writestr(name, data)
                done = self.run_with(library, "colorsys")
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stderr)

    def test_a_module_that_is_not_there_is_named(self):
        command = [sys.executable, "absent"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 1)
        self.assertIn("No module named 'absent'", done.stderr)


if __name__ == "__main__":
    unittest.main()
