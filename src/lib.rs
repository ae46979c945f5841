//! Tasklets and channels on hard-switched, sliced stacks.
#![cfg_attr(not(feature = "std"), no_std)]
extern crate alloc;
