// A tasklet that overflows its stack does not go on: the process ends, and one line says who it was.
#include "process.hpp"

#include <doctest/doctest.h>

TEST_CASE("an overflow ends the process with a line that names the tasklet") {
    for (const char* stack : {"sliced", "own"}) {
        const test::result ran = test::run_command("HSW_OVERFLOW", {stack}, std::chrono::seconds(60));
        CAPTURE(stack);
        CAPTURE(ran.err);
        CHECK(ran.status > 128); // by a signal
        CHECK(test::has(ran.err, "the deep one"));
        CHECK(test::has(ran.err, std::string(stack) == "own" ? "own stack" : "window"));
    }
}
