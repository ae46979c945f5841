"""Makes the console's library, a zip of bytecode: library.py LIB OUT.ZIP [FOLDER...]

LIB is the folder Lib of CPython's sources, and this interpreter is of their version. What lies in
each FOLDER goes into the zip under its own path there; `tests=FOLDER` puts it under tests/. Of each
program that a test starts, which is source in a string, the zip has a module.

A run of its own records (`library.py --record FOLDER...`): it imports all modules and prints the
sources that `eval`, `exec` and `compile` were given meanwhile, as namedtuple and dataclass do.
"""

import ast
import hashlib
import importlib._bootstrap_external as bootstrap
import marshal
import os
import re
import subprocess
import sys
import textwrap
import types
import warnings
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
# Needs what the console has not: a compiler, a display, libraries, sources.
LEFT_OUT = {
    "__pycache__", "antigravity.py", "config-3.11", "ctypes", "curses", "dbm", "distutils",
    "ensurepip", "idlelib", "lib2to3", "msilib", "multiprocessing", "pydoc.py", "pydoc_data",
    "site-packages", "sqlite3", "test", "tests", "this.py", "tkinter", "turtle.py", "turtledemo",
    "venv", "xmlrpc",
}  # fmt: skip
PREPARED = {
    "collections/__init__.py": "collections",
    "dataclasses.py": "dataclasses",
    "typing.py": "typing",
}


def sources(folder, left_out=frozenset(("__pycache__",))):
    """The path and the text of each module in the folder."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - left_out)
        for name in sorted(set(files) - left_out):
            if name.endswith(".py"):
                path = os.path.join(where, name)
                with open(path, encoding="utf-8") as file:
                    yield os.path.relpath(path, folder), file.read()


def compiled(source, path, optimize):
    # A name that no file has: a traceback must not show the lines of another one.
    return compile(source, "library.zip/" + path, "exec", dont_inherit=True, optimize=optimize)


def program_name(source):
    """The module of a program that a test has as a string. tests/programs.py does the same."""
    return "program_" + hashlib.sha1(textwrap.dedent(source).encode()).hexdigest()[:16]


def programs(source):
    """The programs in the strings of a test module."""
    constants = (n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant))
    for text in constants:
        if not (isinstance(text, str) and "import" in text):
            continue
        try:
            with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
                yield program_name(text), compile(textwrap.dedent(text), "program", "exec")
        except SyntaxError:
            pass


def module_ast():
    """`_ast` is part of the compiler. `inspect` and `unittest` import `ast`, and want its names."""
    import _ast

    lines = []
    bases_first = sorted(vars(_ast).items(), key=lambda item: len(getattr(item[1], "__mro__", ())))
    for name, cls in bases_first:
        if isinstance(cls, type):
            base = "" if cls.__base__ is object else f"({cls.__base__.__name__})"
            fields = tuple(cls._fields) if hasattr(cls, "_fields") else ()
            lines.append(f"class {name}{base}: _fields = __match_args__ = {fields!r}")
        elif isinstance(cls, int):
            lines.append(f"{name} = {cls}")
    return "\n".join(lines)


RECORDED = '''
import marshal
def find(key):
    code = CODES.get(key)
    return None if code is None else marshal.loads(code)
'''


def recorded(folders, modules):
    """The sources that the modules give to `eval`, `exec` and `compile`, and their codes."""
    options = ["-I", "-S", "-B", "-W", "ignore"]
    command = [sys.executable, *options, os.path.abspath(__file__), "--record", *folders]
    done = subprocess.run(
        command, input="\n".join(modules).encode(), stdout=subprocess.PIPE, check=True
    )
    return marshal.loads(done.stdout)


class Absent(types.ModuleType):
    """Stands for a module in C that this interpreter has not. Only imports are recorded."""

    def __getattr__(self, name):
        return type(name, (BaseException,), {})


def record(folders):
    import builtins

    names = sys.stdin.read().split()
    # Whatever has been imported is imported anew, now that somebody listens.
    kept = ("_frozen", "abc", "codecs", "encodings", "io", "zipimport", "__main__")
    for name in set(sys.modules) - set(sys.builtin_module_names):
        if not name.startswith(kept):
            del sys.modules[name]
    sys.modules["stackless._stackless"] = Absent("_stackless")
    seen = {}
    compile, eval, exec = builtins.compile, builtins.eval, builtins.exec

    def see(source, mode):
        if isinstance(source, str):
            code = compile(source, "<recorded>", mode, dont_inherit=True, optimize=1)
            seen[mode, source] = marshal.dumps(code)

    def compile_(source, name, mode, *args, **kwargs):
        see(source, mode)
        return compile(source, name, mode, *args, **kwargs)

    def eval_(source, *args):
        see(source, "eval")
        return eval(source, *args)

    def exec_(source, *args, **kwargs):
        see(source, "exec")
        return exec(source, *args, **kwargs)

    builtins.compile, builtins.eval, builtins.exec = compile_, eval_, exec_
    sys.path[:0] = folders
    answer, sys.stdout = sys.stdout, sys.stderr
    for name in names:
        try:
            __import__(name)
        except BaseException as error:
            print(f"not recorded: {name} ({error})")
    answer.buffer.write(marshal.dumps(seen))
    answer.flush()
    os._exit(0)  # whatever the modules have begun


def main(lib, out, *folders):
    count = 0
    places = [folder.rpartition("=")[2] for folder in folders]
    paths = [path for path, _ in sources(lib, LEFT_OUT)]
    paths += [path for folder in places for path, _ in sources(folder)]
    modules = [path[:-3].replace("/", ".").removesuffix(".__init__") for path in paths]
    seen = recorded([lib, *places], [m for m in modules if not re.search("__main__|^encodings", m)])
    with zipfile.ZipFile(out + ".new", "w", zipfile.ZIP_DEFLATED) as archive:

        def put(path, code):
            nonlocal count
            info = zipfile.ZipInfo(path + "c", (2020, 1, 1, 0, 0, 0))
            data = bytes(bootstrap._code_to_hash_pyc(code, bytes(8), False))
            archive.writestr(info, data, compress_type=zipfile.ZIP_DEFLATED)
            count += 1

        for path, source in sources(lib, LEFT_OUT):
            if path in PREPARED:
                source += f"\nimport _console\n_console.prepare_{PREPARED[path]}(globals())\n"
            put(path, compiled(source, path, 1))
        put("_ast.py", compiled(module_ast(), "_ast.py", 1))
        # The native part is built in, and no built-in module lies in a package.
        source = "import sys, _stackless\nsys.modules[__name__] = _stackless\n"
        put("stackless/_stackless.py", compiled(source, "stackless/_stackless.py", 1))
        put("_recorded.py", compiled(f"CODES = {seen!r}{RECORDED}", "_recorded.py", 1))
        with open(os.path.join(HERE, "_console.py")) as file:
            source = file.read()
        check(source)
        put("_console.py", compiled(source, "_console.py", 1))
        of_tests = {}
        for folder in folders:
            prefix, _, folder = folder.rpartition("=")
            if prefix:
                archive.writestr(prefix + "/", b"")  # so that it is a package
            for path, source in sources(folder):
                put(os.path.join(prefix, path), compiled(source, path, 0))
                if prefix == "tests":
                    of_tests.update(programs(source))
        for name, code in sorted(of_tests.items()):
            put(name + ".py", code)
    os.replace(out + ".new", out)
    print(f"{count} modules, {len(seen)} sources recorded, {os.path.getsize(out)} bytes")


def check(source):
    """What `_console` puts together is what this interpreter's compiler makes."""
    console = types.ModuleType("_console")
    exec(compiled(source, "_console.py", 1), console.__dict__)
    for count in range(1, 31):
        names = ", ".join(f"p{i}" for i in range(count))
        lambda_ = eval(f"(lambda body: lambda {names}: body(({names},)))(None)")
        assert console._instructions(count) == lambda_.__code__.co_code, count


if __name__ == "__main__":
    if sys.argv[1] == "--record":
        record(sys.argv[2:])
    else:
        main(*sys.argv[1:])
