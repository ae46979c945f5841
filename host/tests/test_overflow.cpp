// A tasklet that overflows its stack does not go on: the process ends, and one line says who it was.
#include "process.hpp"

#include <doctest/doctest.h>

namespace {

void ends_with_a_name(const std::vector<std::string>& how, const char* kind) {
    const test::result ran = test::run_command("HSW_OVERFLOW", how, std::chrono::seconds(60));
    std::string command;
    for (const std::string& word : how) {
        command += word + " ";
    }
    CAPTURE(command);
    CAPTURE(ran.status); // 20: it went on, and a neighbour's stack has changed
    CAPTURE(ran.err);
    CHECK(ran.status > 128); // by a signal
    CHECK(test::has(ran.err, "stack overflow in tasklet 'the deep one'"));
    CHECK(test::has(ran.err, kind));
}

} // namespace

TEST_CASE("an overflow ends the process with a line that names the tasklet") {
    ends_with_a_name({"sliced", "deep"}, "window");
    ends_with_a_name({"own", "deep"}, "own stack");
}

TEST_CASE("a frame without stack probes that steps over its stack's end meets the guard") {
    for (const char* place : {"0", "1", "2", "3"}) {
        for (const char* kib : {"160", "700"}) {
            ends_with_a_name({"sliced", "step", kib, "0", place}, "window");
            ends_with_a_name({"own", "step", kib, "0", place}, "own stack");
            ends_with_a_name({"segment", "step", kib, "0", place}, "segment");
        }
    }
}

TEST_CASE("a frame that steps over the guard as well is noticed when its tasklet switches, before any other runs") {
    for (const char* place : {"0", "1", "2", "3"}) {
        for (const char* kib : {"160", "330"}) {
            ends_with_a_name({"sliced", "step", kib, "4096", place}, "window");
            ends_with_a_name({"own", "step", kib, "4096", place}, "own stack");
            ends_with_a_name({"segment", "step", kib, "4096", place}, "segment");
        }
        ends_with_a_name({"own", "step", "3000", "0", place}, "own stack");
        ends_with_a_name({"lent", "step", "160", "0", place}, "window");
    }
}
