// A process may end while its tasklets are deep in their frames, from wherever: at once, with its status, and without a crash.
#include "process.hpp"

#include <doctest/doctest.h>

#include <string>

namespace {

/// Runs `shutdown`, which must end with 42; what it said about its frames.
std::string last_words(const std::string& how, const std::string& where, const std::string& stack) {
    const test::result ran = test::run_command("HSW_SHUTDOWN", {how, where, stack}, std::chrono::seconds(60));
    CAPTURE(how);
    CAPTURE(where);
    CAPTURE(stack);
    CHECK(ran.status == 42);
    CHECK(ran.err == "");
    return ran.out;
}

const char* const stacks[] = {"sliced", "own", "spilled"};

} // namespace

TEST_CASE("when main returns, its deep tasklets unwind") {
    for (const char* stack : stacks) {
        CHECK(last_words("return", "main", stack) == "entered 4000, left 4000\n");
    }
}

TEST_CASE("a deep tasklet may exit the process: nobody unwinds") {
    for (const char* stack : stacks) {
        CHECK(last_words("exit", "main", stack) == "entered 4000, left 0\n");
        CHECK(last_words("exit", "thread", stack) == "entered 4000, left 0\n");
    }
}

TEST_CASE("the process ends while another thread's deep tasklets wait: those are left alone") {
    for (const char* stack : stacks) {
        CHECK(last_words("return", "other", stack) == "entered 4000, left 0\n");
        CHECK(last_words("exit", "other", stack) == "entered 8000, left 0\n");
    }
}
