//! The interpreter's state of a tasklet. What it consists of only CPython's own headers know: the
//! C file of each minor version, `csrc/state_*.c`, exchanges it. `csrc/state.h` describes the
//! functions.

use pyo3_ffi::{visitproc, PyObject, PyThreadState};
use std::ffi::{c_int, c_ulong, c_ulonglong, c_void};

/// The saved state of a parked tasklet; all zero while nothing is saved.
#[repr(C)]
pub struct State([usize; 15]);

/// Room in the first frame of a tasklet for what the interpreter keeps on the stack.
#[repr(C)]
pub struct Anchor([usize; 4]);

impl Anchor {
    pub const fn new() -> Anchor {
        Anchor([0; 4])
    }
}

impl State {
    /// Is a parked tasklet's state here?
    pub fn is_saved(&self) -> bool {
        self.0[0] != 0
    }
}

unsafe extern "C" {
    pub fn stackless_state_save(ts: *mut PyThreadState, st: *mut State, end: *const *mut PyObject);
    pub fn stackless_state_load(ts: *mut PyThreadState, st: *mut State);
    pub fn stackless_state_keep(st: *mut State);
    pub fn stackless_state_again(ts: *mut PyThreadState, st: *mut State);
    pub fn stackless_state_begin(
        ts: *mut PyThreadState,
        anchor: *mut Anchor,
        context: *mut PyObject,
        first_chunk: usize,
    ) -> c_int;
    pub fn stackless_state_end(ts: *mut PyThreadState);
    pub fn stackless_state_traverse(st: *mut State, visit: visitproc, arg: *mut c_void) -> c_int;
    pub fn stackless_state_frame(ts: *mut PyThreadState, st: *mut State) -> *mut PyObject;
    pub fn stackless_state_frame_bytes(st: *mut State) -> usize;
    pub fn stackless_state_depth(ts: *mut PyThreadState, st: *mut State) -> c_int;
    pub fn stackless_thread_id(ts: *mut PyThreadState) -> c_ulong;
    pub fn stackless_thread_dict_version(ts: *mut PyThreadState) -> c_ulonglong;
    pub fn stackless_set_refcount(o: *mut PyObject, n: isize);
}
