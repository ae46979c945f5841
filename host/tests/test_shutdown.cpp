// A process may end while its tasklets are deep in their frames, from wherever: at once, with its status, and without a crash. A thread may not end
// in a tasklet.
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

TEST_CASE("when main returns nobody unwinds") {
    for (const char* stack : stacks) {
        CHECK(last_words("return", "main", stack) == "entered 4000, left 0\n");
    }
}

TEST_CASE("main may end its tasklets before it returns: then they unwind") {
    for (const char* stack : stacks) {
        CHECK(last_words("ended", "main", stack) == "entered 4000, left 4000\n");
    }
}

TEST_CASE("a program whose tasklets are in the middle of destructors ends with its own status, wherever it is ended") {
    for (const char* where : {"main", "exit", "tasklet", "thread", "quick"}) {
        const test::result ran = test::run_command("HSW_SHUTDOWN", {"busy", where}, std::chrono::seconds(60));
        CAPTURE(where);
        CHECK(ran.status == 42);
        CHECK(ran.err == "");
    }
}

TEST_CASE("a thread may end itself by pthread_exit in its own code: its tasklets unwind") {
    for (const char* stack : stacks) {
        CHECK(last_words("own", "thread", stack) == "entered 4000, left 4000\n");
    }
}

TEST_CASE("pthread_exit in a tasklet in C ends the process, with its name") {
    for (const char* stack : {"sliced", "own"}) {
        const test::result ran = test::run_command("HSW_SHUTDOWN", {"c", "main", stack}, std::chrono::seconds(60));
        CAPTURE(stack);
        CHECK(ran.status == 128 + SIGABRT);
        CHECK(test::has(ran.err, "hardswitch: a function that the library has called did not return, in tasklet 'in C'"));
    }
}

TEST_CASE("an exception out of a function that the library calls ends the process, with words") {
    for (const std::string what : {"schedule", "channel", "error", "clock", "write", "job", "abandoned", "with", "visit", "hook"}) {
        const test::result ran = test::run_command("HSW_SHUTDOWN", {"throws", what}, std::chrono::seconds(60));
        CAPTURE(what);
        CAPTURE(ran.err);
        CHECK(ran.status == 128 + SIGABRT);
        CHECK(test::has(ran.err, "hardswitch: a function that the library has called did not return, in tasklet '"));
    }
}

TEST_CASE("pthread_exit in a tasklet ends the process, with words") {
    for (const char* where : {"main", "thread"}) {
        for (const char* stack : stacks) {
            const test::result ran = test::run_command("HSW_SHUTDOWN", {"forced", where, stack}, std::chrono::seconds(60));
            CAPTURE(where);
            CAPTURE(stack);
            CHECK(ran.status == 128 + SIGABRT);
            CHECK(test::has(ran.err, "hardswitch: pthread_exit or a cancellation was to end a thread in a function that the library has called"));
        }
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
