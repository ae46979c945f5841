/* CPython 3.11. A tasklet's state: the chain of frames with the chunks that they lie in, the
 * exceptions that are being handled, the context, the hooks of asynchronous generators, the depths
 * of recursion, tracing and the trashcan. */
#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
#include "state.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_pystate.h"
#include <stddef.h>

#if PY_VERSION_HEX < 0x030B0200 || PY_VERSION_HEX >= 0x030C0000
#error "This file is for CPython 3.11.2 and later 3.11: before, frames were visible while they were being cleared."
#endif

struct State {
    _PyCFrame *cframe;              /* on the tasklet's stack; null: nothing is parked here */
    struct _PyInterpreterFrame *frame; /* the innermost one, in the chunks */
    _PyErr_StackItem *exc_info;     /* null: the thread's own */
    _PyErr_StackItem exc_state;
    PyObject *context;
    PyObject *asyncgen_first, *asyncgen_finalizer;
    _PyStackChunk *chunk;
    PyObject **top, **limit;
    PyObject *const *end;           /* of the innermost frame's evaluation stack, where it is known */
    int depth, tracing;
    int trash_nesting;
};

_Static_assert(sizeof(State) <= STATE_WORDS * sizeof(void *), "src/state.rs has room for it");
_Static_assert(sizeof(_PyCFrame) <= STATE_ANCHOR_WORDS * sizeof(void *), "an anchor has room for it");

/* Tracing is switched on for the thread; while a trace function runs it is off for its tasklet. */
static inline uint8_t use_tracing(PyThreadState *ts) {
    return ts->tracing == 0 && (ts->c_tracefunc != NULL || ts->c_profilefunc != NULL) ? 255 : 0;
}

void stackless_state_save(PyThreadState *ts, State *st, PyObject *const *end) {
    st->cframe = ts->cframe;
    st->frame = ts->cframe->current_frame;
    st->exc_info = ts->exc_info == &ts->exc_state ? NULL : ts->exc_info;
    st->exc_state = ts->exc_state;
    st->context = ts->context;
    st->asyncgen_first = ts->async_gen_firstiter;
    st->asyncgen_finalizer = ts->async_gen_finalizer;
    st->chunk = ts->datastack_chunk;
    st->top = ts->datastack_top;
    st->limit = ts->datastack_limit;
    st->end = end;
    st->depth = ts->recursion_limit - ts->recursion_remaining;
    st->tracing = ts->tracing;
    st->trash_nesting = ts->trash_delete_nesting;
}

void stackless_state_load(PyThreadState *ts, State *st) {
    ts->cframe = st->cframe;
    ts->exc_state = st->exc_state;
    ts->exc_info = st->exc_info != NULL ? st->exc_info : &ts->exc_state;
    ts->context = st->context;
    ts->context_ver++;
    ts->async_gen_firstiter = st->asyncgen_first;
    ts->async_gen_finalizer = st->asyncgen_finalizer;
    ts->datastack_chunk = st->chunk;
    ts->datastack_top = st->top;
    ts->datastack_limit = st->limit;
    ts->recursion_remaining = ts->recursion_limit - st->depth;
    ts->tracing = st->tracing;
    ts->cframe->use_tracing = use_tracing(ts);
    ts->trash_delete_nesting = st->trash_nesting;
    stackless_state_keep(st);
}

void stackless_state_keep(State *st) { st->cframe = NULL; }

void stackless_state_again(PyThreadState *ts, State *st) { stackless_state_save(ts, st, st->end); }

int stackless_state_begin(PyThreadState *ts, void *anchor, PyObject *context, size_t first_chunk) {
    _PyCFrame *cframe = anchor;
    _PyStackChunk *chunk = NULL;
    if (first_chunk != 0) {
        chunk = PyMem_RawMalloc(first_chunk);
        if (chunk == NULL) return -1;
        chunk->previous = NULL;
        chunk->size = first_chunk;
        chunk->top = 0;
    }
    ts->tracing = 0;
    cframe->use_tracing = use_tracing(ts);
    cframe->current_frame = NULL;
    cframe->previous = &ts->root_cframe;
    ts->cframe = cframe;
    ts->exc_state.exc_value = NULL;
    ts->exc_state.previous_item = NULL;
    ts->exc_info = &ts->exc_state;
    ts->context = context;
    ts->context_ver++;
    ts->async_gen_firstiter = ts->async_gen_finalizer = NULL;
    ts->recursion_remaining = ts->recursion_limit;
    ts->trash_delete_nesting = 0;
    ts->datastack_chunk = chunk;
    /* The first word is left out, so that no frame is at the chunk's beginning: CPython frees a
     * chunk with the frame that is, by a way that is not ours. */
    ts->datastack_top = chunk != NULL ? &chunk->data[1] : NULL;
    ts->datastack_limit = chunk != NULL ? (PyObject **)((char *)chunk + first_chunk) : NULL;
    return 0;
}

void stackless_state_end(PyThreadState *ts) {
    PyObjectArenaAllocator arena;
    _PyStackChunk *chunk;
    /* Destructors may switch, and may make a new context. */
    while (ts->context != NULL || ts->exc_state.exc_value != NULL ||
           ts->async_gen_firstiter != NULL || ts->async_gen_finalizer != NULL) {
        Py_CLEAR(ts->exc_state.exc_value);
        Py_CLEAR(ts->async_gen_firstiter);
        Py_CLEAR(ts->async_gen_finalizer);
        Py_CLEAR(ts->context);
        ts->context_ver++;
    }
    chunk = ts->datastack_chunk;
    PyObject_GetArenaAllocator(&arena);
    while (chunk != NULL) {
        _PyStackChunk *previous = chunk->previous;
        /* The first one is ours; CPython has mapped the others. */
        if (previous == NULL && chunk->size < 16 * 1024) PyMem_RawFree(chunk);
        else arena.free(arena.ctx, chunk, chunk->size);
        chunk = previous;
    }
    ts->datastack_chunk = NULL;
    ts->datastack_top = ts->datastack_limit = NULL;
    ts->cframe = &ts->root_cframe;
}

/* The references of a frame that no generator owns: those are the generator's to visit. How far
 * the evaluation stack of a frame reaches is known if it has called a Python function, or if it is
 * the innermost one and has called the module without another C function in between; otherwise the
 * variables alone are visited, and what the stack refers to is not taken for garbage. */
static int visit_frame(_PyInterpreterFrame *frame, PyObject *const *end, visitproc visit, void *arg) {
    int i, count = frame->stacktop;
    if (frame->owner != FRAME_OWNED_BY_THREAD) return 0;
    if (count < 0) {
        PyObject *const *first = frame->localsplus + frame->f_code->co_nlocalsplus;
        int known = end >= first && end <= first + frame->f_code->co_stacksize;
        count = known ? (int)(end - frame->localsplus) : frame->f_code->co_nlocalsplus;
    }
    Py_VISIT(frame->frame_obj);
    Py_VISIT(frame->f_locals);
    Py_VISIT(frame->f_func);
    Py_VISIT(frame->f_code);
    for (i = 0; i < count; i++) Py_VISIT(frame->localsplus[i]);
    return 0;
}

int stackless_state_traverse(State *st, visitproc visit, void *arg) {
    _PyInterpreterFrame *frame;
    PyObject *const *end = st->end;
    if (st->cframe == NULL) return 0;
    Py_VISIT(st->exc_state.exc_value);
    Py_VISIT(st->context);
    Py_VISIT(st->asyncgen_first);
    Py_VISIT(st->asyncgen_finalizer);
    for (frame = st->frame; frame != NULL; frame = frame->previous) {
        int stop = visit_frame(frame, end, visit, arg);
        if (stop != 0) return stop;
        end = NULL;
    }
    return 0;
}

PyObject *stackless_state_frame(PyThreadState *ts, State *st) {
    _PyCFrame *real = ts->cframe, parked;
    PyFrameObject *frame;
    if (st != NULL) {
        if (st->cframe == NULL) return NULL;
        parked = *real;
        parked.current_frame = st->frame;
        ts->cframe = &parked;
    }
    frame = PyThreadState_GetFrame(ts);
    ts->cframe = real;
    return (PyObject *)frame;
}

size_t stackless_state_frame_bytes(State *st) {
    size_t bytes = 0;
    _PyStackChunk *chunk;
    if (st->cframe == NULL) return 0;
    for (chunk = st->chunk; chunk != NULL; chunk = chunk->previous) bytes += chunk->size;
    return bytes;
}

int stackless_state_depth(PyThreadState *ts, State *st) {
    if (st == NULL) return ts->recursion_limit - ts->recursion_remaining;
    return st->cframe == NULL ? 0 : st->depth;
}

unsigned long stackless_thread_id(PyThreadState *ts) { return ts->thread_id; }

unsigned long long stackless_thread_dict_version(PyThreadState *ts) {
    return ts->dict == NULL ? 0 : ((PyDictObject *)ts->dict)->ma_version_tag;
}

void stackless_set_refcount(PyObject *o, Py_ssize_t n) { Py_SET_REFCNT(o, n); }
