"""What Python needs where there is no compiler. The host imports it before anything else.

`compile`, `eval` and `exec` raise NotImplementedError, for code objects too; imports go on, for
they have the real ones. Three modules of the library make functions from source, of classes:
`collections`, `dataclasses` and `typing`. Their sources are untouched but for a last line, which
gives them what stands here in the place of `eval`, `exec` and `compile`:

* A source that was seen while the zip was made has been compiled there. It is looked up.
* For any other namedtuple or dataclass the same functions are made of closures. Those that have
  parameters of the class's own get a code object of their own, so that they are called, refuse
  arguments and are described like the compiler's.
"""

import builtins
import sys
import types

import _frozen_importlib
import _frozen_importlib_external
import _operator
import zipimport

_eval, _exec = builtins.eval, builtins.exec


class _Unknown(NotImplementedError):
    """A source that nobody has compiled while the zip was made."""


def _refused(name):
    def refused(*args, **kwargs):
        raise NotImplementedError(f"{name}: there is no compiler here")

    refused.__name__ = refused.__qualname__ = name
    return refused


def is_there(name):
    """Whether there is such a module."""
    return _frozen_importlib._find_spec(name, None) is not None


def install():
    """`compile`, `eval` and `exec` are refused to all but the import system."""
    for module in (_frozen_importlib, _frozen_importlib_external, zipimport):
        module.exec = _exec
    for name in ("compile", "eval", "exec"):
        setattr(builtins, name, _refused(name))


def run(name):
    """Runs the module as the main one, or `__main__` of the package."""
    install()
    spec = _find(name)
    if spec.submodule_search_locations is not None:
        spec = _find(name + ".__main__")
    main = sys.modules["__main__"].__dict__
    main.update(__file__=spec.origin, __package__=spec.parent)
    main.update(__loader__=spec.loader, __spec__=spec)
    _exec(spec.loader.get_code(spec.name), main)


def _find(name):
    parent = name.rpartition(".")[0]
    path = None
    if parent:
        __import__(parent)
        path = sys.modules[parent].__path__
    spec = _frozen_importlib._find_spec(name, path)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return spec


def _recorded(mode, source):
    try:
        from _recorded import find
    except ImportError:
        find = {}.get
    code = find((mode, source))
    if code is None:
        raise _Unknown("this source was not seen while the zip was made, and here is no compiler")
    return code


# ------------------------------------------------------------- functions with parameters by name

# What is made looks like this one: all of its parameters, in a tuple, are given to `body`.
_PATTERN = (lambda body: lambda a, b: body((a, b)))(None).__code__
_EXTENDED_ARG = 144


def _instructions(count):
    """The pattern's instructions for so many parameters."""
    code = _PATTERN.co_code

    def instruction(at, argument):
        words = bytes((code[at], argument & 255))
        while argument := argument >> 8:
            words = bytes((_EXTENDED_ARG, argument & 255)) + words
        return words

    body, parameters = instruction(6, count), (instruction(8, i) for i in range(count))
    return b"".join((code[:6], body, *parameters, instruction(12, count), code[14:]))


def function(name, parameters, body, globals, keyword_only=0):
    """`def name(parameters): return body((parameters))`, the last ones by keyword only."""
    count = len(parameters)
    code = _PATTERN.replace(
        co_code=_instructions(count),
        co_stacksize=count + 4,
        co_argcount=count - keyword_only,
        co_kwonlyargcount=keyword_only,
        co_nlocals=count,
        co_varnames=tuple(parameters),
        co_name=name,
        co_qualname=name,
        co_filename="<made without a compiler>",
    )
    return types.FunctionType(code, globals, name, None, (types.CellType(body),))


# -------------------------------------------------------------------------------- the three modules


def prepare_collections(module):
    """`eval` for `namedtuple`: of `lambda _cls, a, b: _tuple_new(_cls, (a, b))`, for any names."""

    def eval(source, namespace):
        try:
            return _eval(_recorded("eval", source), namespace)
        except _Unknown:
            pass
        names = source.partition(":")[0].removeprefix("lambda").split(",")
        names = [name.strip() for name in names if name.strip()]
        new = namespace["_tuple_new"]
        return function("<lambda>", names, lambda values: new(values[0], values[1:]), namespace)

    module["eval"] = eval


def prepare_dataclasses(module):
    """`exec` for `dataclass`, and what makes its functions where the source is not known."""
    MISSING, BY_FACTORY = module["MISSING"], module["_HAS_DEFAULT_FACTORY"]
    frozen_error, recursive_repr = module["FrozenInstanceError"], module["_recursive_repr"]
    init_variable, post_init = module["_FIELD_INITVAR"], module["_POST_INIT_NAME"]

    def exec(source, globals, namespace):
        _exec(_recorded("exec", source), globals, namespace)

    def init(fields, positional, by_keyword, frozen, has_post_init, self_name, globals, slots):
        parameters = [*positional, *by_keyword]
        place = {field.name: i for i, field in enumerate(parameters, 1)}
        assign = object.__setattr__ if frozen else setattr
        # Of each attribute: its name, which parameter it is, its factory, its value without either.
        attributes = []
        for field in fields:
            given = place[field.name] if field.init else None
            factory = None if field.default_factory is MISSING else field.default_factory
            by_class = given is None and factory is None
            if by_class and not (slots and field.default is not MISSING):
                continue
            if field._field_type is not init_variable:
                attributes.append((field.name, given, factory, field.default))
        of_post_init = [place[f.name] for f in fields if f._field_type is init_variable]

        def body(values):
            self = values[0]
            for name, given, factory, value in attributes:
                if given is not None:
                    value = values[given]
                    if factory is not None and value is BY_FACTORY:
                        value = factory()
                elif factory is not None:
                    value = factory()
                assign(self, name, value)
            if has_post_init:
                getattr(self, post_init)(*[values[i] for i in of_post_init])

        names = [self_name, *(field.name for field in parameters)]
        made = function("__init__", names, body, globals, len(by_keyword))

        def defaults(fields):
            for field in fields:
                if field.default is not MISSING:
                    yield field.name, field.default
                elif field.default_factory is not MISSING:
                    yield field.name, BY_FACTORY

        made.__defaults__ = tuple(value for _, value in defaults(positional)) or None
        made.__kwdefaults__ = dict(defaults(by_keyword)) or None
        made.__annotations__ = {field.name: field.type for field in parameters}
        made.__annotations__["return"] = None
        return made

    def represent(fields, globals):
        names = [field.name for field in fields]

        def __repr__(self):
            values = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
            return f"{self.__class__.__qualname__}({values})"

        return recursive_repr(__repr__)

    def freeze(cls, fields, globals):
        names = frozenset(field.name for field in fields)

        def __setattr__(self, name, value):
            if type(self) is cls or name in names:
                raise frozen_error(f"cannot assign to field {name!r}")
            super(cls, self).__setattr__(name, value)

        def __delattr__(self, name):
            if type(self) is cls or name in names:
                raise frozen_error(f"cannot delete field {name!r}")
            super(cls, self).__delattr__(name)

        return __setattr__, __delattr__

    def values_of(names):
        return lambda self: tuple([getattr(self, name) for name in names])

    operations = {"==": "eq", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}

    def compare(name, operation, self_tuple, other_tuple, globals):
        # The tuple is "(self.a,self.b,)".
        words = self_tuple.strip("()").split(",")
        values = values_of([word.removeprefix("self.") for word in words if word])
        holds = getattr(_operator, operations[operation])

        def compare(self, other):
            if other.__class__ is self.__class__:
                return holds(values(self), values(other))
            return NotImplemented

        compare.__name__ = compare.__qualname__ = name
        return compare

    def digest(fields, globals):
        values = values_of([field.name for field in fields])

        def __hash__(self):
            return hash(values(self))

        return __hash__

    def either(from_source, made):
        def make(*args, **kwargs):
            try:
                return from_source(*args, **kwargs)
            except _Unknown:
                return made(*args, **kwargs)

        return make

    module["exec"] = exec
    for name, made in (
        ("_init_fn", init),
        ("_repr_fn", represent),
        ("_frozen_get_del_attr", freeze),
        ("_cmp_fn", compare),
        ("_hash_fn", digest),
    ):
        module[name] = either(module[name], made)


class _Words:
    """The code of an annotation that was not seen: looked up, if it is names and dots."""

    def __init__(self, source):
        self.source = source.strip()

    def value(self, globals, locals):
        first, *rest = self.source.split(".")
        if not all(word.isidentifier() for word in (first, *rest)):
            raise NotImplementedError(f"an annotation that is no name: {self.source!r}")
        for scope in (locals, globals, vars(builtins)):
            if first in scope:
                value = scope[first]
                break
        else:
            raise NameError(f"name {first!r} is not defined", name=first)
        for word in rest:
            value = getattr(value, word)
        return value


def prepare_typing(module):
    """`compile` and `eval` for annotations that are strings."""

    def compile(source, filename, mode):
        try:
            return _recorded(mode, source)
        except _Unknown:
            return _Words(source)

    def eval(code, globals, locals):
        if isinstance(code, _Words):
            return code.value(globals, locals)
        return _eval(code, globals, locals)

    module["compile"], module["eval"] = compile, eval
