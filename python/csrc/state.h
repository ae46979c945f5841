/* What a tasklet owns of the interpreter's thread state, and how it is exchanged: the only
 * part of the module that differs from one minor version of CPython to the next.
 *
 * src/state.rs declares the same functions for Rust. */
#ifndef STACKLESS_STATE_H
#define STACKLESS_STATE_H

#include <Python.h>

typedef struct State State;

/* Room for a State, in words. src/state.rs has the same number. */
enum { STATE_WORDS = 15 };

/* Copies what the running tasklet owns of the thread state into `st`. `end` is one past the last
 * value of the caller's evaluation stack, if the call came from there; or anything else. */
void stackless_state_save(PyThreadState *ts, State *st, PyObject *const *end);
/* Puts it back. What `st` owned the thread state owns again. */
void stackless_state_load(PyThreadState *ts, State *st);
/* `st` was saved, and nobody else has run: the thread state is still as it was. */
void stackless_state_keep(State *st);
/* `st` was saved and kept, and Python code has run that is over: saves it again. */
void stackless_state_again(PyThreadState *ts, State *st);

/* A thread state as that of a thread that has just begun. `anchor` has room for
 * STATE_ANCHOR_WORDS words in the caller's frame, and is used until `stackless_state_end`. */
enum { STATE_ANCHOR_WORDS = 4 };
int stackless_state_begin(PyThreadState *ts, void *anchor, PyObject *context, size_t first_chunk);
/* Gives back what a state that was begun owns. No Python code may run until another is loaded. */
void stackless_state_end(PyThreadState *ts);

/* Visits what a parked state refers to: its exception, its context, the variables of its frames. */
int stackless_state_traverse(State *st, visitproc visit, void *arg);
/* The innermost frame of a parked state (`st`), or of the running one (null); a new reference. */
PyObject *stackless_state_frame(PyThreadState *ts, State *st);
/* Bytes of frames that a parked state owns, and how deep its calls are. */
size_t stackless_state_frame_bytes(State *st);
int stackless_state_depth(PyThreadState *ts, State *st);

/* The thread's number as Python's `threading` knows it. */
unsigned long stackless_thread_id(PyThreadState *ts);
/* A number that changes whenever a value of the thread's dictionary does; 0 without one. */
unsigned long long stackless_thread_dict_version(PyThreadState *ts);

/* Macros of CPython that Rust cannot use. */
void stackless_set_refcount(PyObject *o, Py_ssize_t n);

#endif
