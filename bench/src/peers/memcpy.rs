//! The floor under a sliced switch: two plain copies, one slice out of a window and
//! another one in, without any switch.

use crate::cases::Case;
use crate::offer::{Able, Timed};
use std::hint::black_box;
use std::ptr;
use std::time::Instant;

pub fn timed(case: Case) -> Timed {
    let Case::SlicedSwitch(bytes) = case else {
        return None;
    };
    let mut window = Window::new(bytes);
    let batch = move |operations: u64| {
        let start = Instant::now();
        for _ in 0..operations {
            window.exchange();
        }
        start.elapsed()
    };
    Some(Ok(Able::new(batch)))
}

/// A piece of memory that two slices take turns to live in.
pub struct Window {
    place: Vec<u8>,
    slices: [Vec<u8>; 2],
    resident: usize,
}

impl Window {
    pub fn new(bytes: usize) -> Window {
        Window {
            place: vec![0; bytes],
            slices: [vec![1; bytes], vec![2; bytes]],
            resident: 0,
        }
    }

    #[inline]
    pub fn exchange(&mut self) {
        // The length is hidden from the compiler: a real slice's length is not known when
        // the runtime is built either.
        let bytes = black_box(self.place.len());
        let next = self.resident ^ 1;
        // SAFETY: the place and the slices are three allocations of `bytes` bytes.
        unsafe {
            ptr::copy_nonoverlapping(
                self.place.as_ptr(),
                self.slices[self.resident].as_mut_ptr(),
                bytes,
            );
            ptr::copy_nonoverlapping(self.slices[next].as_ptr(), self.place.as_mut_ptr(), bytes);
        }
        self.resident = next;
    }
}
