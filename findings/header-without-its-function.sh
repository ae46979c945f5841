#!/usr/bin/env bash
# cbindgen 0.24.3 leaves an `extern "C-unwind"` function out of the header and reports success.
#
# The exit status is 0, and the header is well-formed, only without that function. A warning goes to
# standard error, where a build script's output is seldom looked at. `extern "C-unwind"` is what
# Rust asks for where a C++ exception may pass through a function.
#
# Guessed before it ran: the generator treats "C-unwind" as "C", or stops at an ABI that it does not know.
#
# Why it matters: a check that the committed header is what the generator writes stays green after an entry
# point has become "C-unwind". Hosts in C get an implicit declaration or a link that never names it. Count the
# exported symbols against the header instead.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

debian cbindgen 0.24.3

cat > library.rs << 'END'
#[no_mangle]
pub extern "C" fn returns(x: i32) -> i32 { x }
#[no_mangle]
pub extern "C-unwind" fn returns_or_throws(x: i32) -> i32 { x }
END
status=0
cbindgen --lang c -o library.h library.rs 2> warnings || status=$?
expect 'exit status' "$status" 0
expect 'functions in the header' "$(grep -oE '\w+\(' library.h)" 'returns('
expect 'lines on standard error that name the other one' "$(grep -c returns_or_throws warnings)" 1
