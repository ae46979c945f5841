// A host with CPython and the module stackless inside:
//
//     console LIBRARY.ZIP MODULE [ARGUMENTS...]
//
// runs MODULE of the zip as the main module. Nothing is read from anywhere else.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>

extern "C" PyObject *PyInit__stackless();

namespace {

// The interpreter with the zip as its library; ends the process if there can be none.
void start(const char *program, const char *library, int count, char **arguments) {
    PyImport_AppendInittab("_stackless", PyInit__stackless);
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.write_bytecode = 0;
    config.pathconfig_warnings = 0;
    config.parse_argv = 0;
    config.faulthandler = 1;
    config.buffered_stdio = 1;
    config.module_search_paths_set = 1;
    PyStatus status = PyConfig_SetBytesString(&config, &config.executable, program);
    for (wchar_t **folder : {&config.home, &config.prefix, &config.exec_prefix, &config.base_prefix,
                             &config.base_exec_prefix})
        if (!PyStatus_Exception(status)) status = PyConfig_SetString(&config, folder, L"/");
    if (!PyStatus_Exception(status)) {
        wchar_t *path = Py_DecodeLocale(library, nullptr);
        status = path == nullptr ? PyStatus_NoMemory()
                                 : PyWideStringList_Append(&config.module_search_paths, path);
        PyMem_RawFree(path);
    }
    if (!PyStatus_Exception(status)) status = PyConfig_SetBytesArgv(&config, count, arguments);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) Py_ExitStatusException(status);
}

// Runs it as the main module, and prints its exception; false if there was one.
bool run(const char *module) {
    PyObject *console = PyImport_ImportModule("_console");
    PyObject *done = nullptr;
    if (console != nullptr) done = PyObject_CallMethod(console, "run", "s", module);
    Py_XDECREF(console);
    Py_XDECREF(done);
    if (done == nullptr) PyErr_Print(); // SystemExit ends the process here
    return done != nullptr;
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s LIBRARY.ZIP MODULE [ARGUMENTS...]\n", argv[0]);
        return 2;
    }
    // What starts this program again, if it is not its own name: an emulator does.
    const char *program = std::getenv("CONSOLE_PROGRAM");
    start(program != nullptr ? program : argv[0], argv[1], argc - 2, argv + 2);
    int code = run(argv[2]) ? 0 : 1;
    return Py_FinalizeEx() < 0 ? 120 : code;
}
