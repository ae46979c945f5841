/* What the rest of libpython 3.11 asks of its parser and compiler, answered without them. Linked
 * before libpython3.11.a, so that the linker takes none of their object files out of it: ci/python
 * looks. A symbol that is missing here shows there too, as one of those files. */
#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
#define NEED_OPCODE_TABLES
#include <Python.h>
#include "internal/pycore_opcode.h" /* two tables of these 18 symbols, which are data */
#include "internal/pycore_ast.h"
#include "internal/pycore_compile.h"
#include "internal/pycore_parser.h"
#include "internal/pycore_symtable.h"

static void *refused(void) {
    PyErr_SetString(PyExc_NotImplementedError, "there is no compiler here");
    return NULL;
}

/* All ways from source to code begin with one of the first two: compile, eval, PyRun_... */
mod_ty _PyParser_ASTFromString(const char *text, PyObject *name, int mode, PyCompilerFlags *flags,
                               PyArena *arena) {
    return refused();
}

mod_ty _PyParser_ASTFromFile(FILE *file, PyObject *name, const char *encoding, int mode,
                             const char *prompt1, const char *prompt2, PyCompilerFlags *flags,
                             int *error, PyArena *arena) {
    return refused();
}

PyCodeObject *_PyAST_Compile(mod_ty tree, PyObject *name, PyCompilerFlags *flags, int level,
                             PyArena *arena) {
    return refused();
}

int _PyAST_Validate(mod_ty tree) { refused(); return 0; }
int _PyAST_Optimize(mod_ty tree, PyArena *arena, _PyASTOptimizeState *state) {
    refused();
    return 0;
}

PyObject *PyAST_mod2obj(mod_ty tree) { return refused(); }
mod_ty PyAST_obj2mod(PyObject *object, PyArena *arena, int mode) { return refused(); }
int PyAST_Check(PyObject *object) { return 0; }
void _PyAST_Fini(PyInterpreterState *interpreter) {}

int PyCompile_OpcodeStackEffect(int opcode, int argument) { return PY_INVALID_STACK_EFFECT; }

int PyCompile_OpcodeStackEffectWithJump(int opcode, int argument, int jump) {
    return PY_INVALID_STACK_EFFECT;
}

/* The encoding of a source file that a traceback shows: the default one. */
char *_PyTokenizer_FindEncodingFilename(int file, PyObject *name) { return NULL; }

/* Where in a line of UTF-8 a traceback's mark stands, in characters. */
Py_ssize_t _PyPegen_byte_offset_to_character_offset(PyObject *line, Py_ssize_t offset) {
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(line, &length);
    PyObject *before;
    if (text == NULL) return -1;
    before = PyUnicode_DecodeUTF8(text, offset < length ? offset : length, "replace");
    if (before == NULL) return -1;
    length = PyUnicode_GET_LENGTH(before);
    Py_DECREF(before);
    return length;
}

/* `__slots__` holds names that are known at run time only: __name in a class Cls is _Cls__name. */
PyObject *_Py_Mangle(PyObject *cls, PyObject *name) {
    PyObject *bare, *mangled = NULL;
    Py_ssize_t length = PyUnicode_GET_LENGTH(name), skip = 0;
    if (cls == NULL || !PyUnicode_Check(cls) || length < 2 || PyUnicode_READ_CHAR(name, 0) != '_' ||
        PyUnicode_READ_CHAR(name, 1) != '_' ||
        (PyUnicode_READ_CHAR(name, length - 1) == '_' &&
         PyUnicode_READ_CHAR(name, length - 2) == '_') ||
        PyUnicode_FindChar(name, '.', 0, length, 1) >= 0)
        return Py_NewRef(name);
    while (skip < PyUnicode_GET_LENGTH(cls) && PyUnicode_READ_CHAR(cls, skip) == '_') skip++;
    if (skip == PyUnicode_GET_LENGTH(cls)) return Py_NewRef(name);
    bare = PyUnicode_Substring(cls, skip, PyUnicode_GET_LENGTH(cls));
    if (bare != NULL) mangled = PyUnicode_FromFormat("_%U%U", bare, name);
    Py_XDECREF(bare);
    return mangled;
}

PyTypeObject PySTEntry_Type = {
    PyVarObject_HEAD_INIT(&PyType_Type, 0)
    .tp_name = "symtable entry",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};
