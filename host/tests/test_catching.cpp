// Code that catches in a C++ runtime which the file with the library cannot see: its tasklets switch in catch blocks all the same. (Before runtimes
// were made known, what was printed was "A still handles B", and the wrong exception was destroyed.)
#include "process.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace {

/// What a catching_host says.
std::string said(const char* host, const std::string& scene, const std::vector<const char*>& plugins) {
    std::vector<std::string> arguments = {scene};
    for (const char* plugin : plugins) {
        const char* const path = std::getenv(plugin);
        REQUIRE_MESSAGE(path != nullptr, plugin);
        arguments.push_back(path);
    }
    const test::result ran = test::run_command(host, arguments, std::chrono::seconds(120));
    CAPTURE(host);
    CAPTURE(scene);
    CAPTURE(arguments[1]);
    CHECK(ran.err == "");
    CHECK(ran.status == 0);
    return ran.out;
}

const char* const hosts[] = {"HSW_CATCHING_IN_C", "HSW_CATCHING_IN_CPP"};
const char* const plugins[] = {"HSW_CATCHING_FIRST", "HSW_CATCHING_SECOND", "HSW_CATCHING_C"};

const std::string each_its_own = "A still handles A\n"
                                 "B still handles B\n"
                                 "A is destroyed\n"
                                 "B is destroyed\n";

} // namespace

TEST_CASE("tasklets of a plugin with a C++ runtime of its own switch in their catch blocks") {
    for (const char* host : hosts) {
        for (const char* plugin : plugins) {
            CHECK(said(host, "one", {plugin}) == each_its_own + "done\n");
        }
    }
}

TEST_CASE("a C++ runtime may come when threads have begun to switch") {
    for (const char* host : hosts) {
        CHECK(said(host, "late", {"HSW_CATCHING_FIRST"}) == each_its_own + "done\n");
        CHECK(said(host, "thread", {"HSW_CATCHING_FIRST"}) == each_its_own + "done\n");
    }
}

TEST_CASE("a tasklet handles exceptions of two C++ runtimes at a time, and others those of one") {
    for (const char* host : hosts) {
        CHECK(said(host, "two", {"HSW_CATCHING_FIRST", "HSW_CATCHING_SECOND"}) == "A still handles A\n"
                                                                                   "D still handles D\n"
                                                                                   "A is destroyed\n"
                                                                                   "c still handles c\n"
                                                                                   "D is destroyed\n"
                                                                                   "c is destroyed\n"
                                                                                   "b still handles b\n"
                                                                                   "b is destroyed\n"
                                                                                   "done\n");
    }
}

TEST_CASE("exceptions of the host and of a plugin do not mix") {
    CHECK(said("HSW_CATCHING_IN_CPP", "host", {"HSW_CATCHING_FIRST"}) == "A still handles A\n"
                                                                          "H still handles H\n"
                                                                          "B still handles B\n"
                                                                          "I still handles I\n"
                                                                          "A is destroyed\n"
                                                                          "B is destroyed\n"
                                                                          "done\n");
}

TEST_CASE("a C++ runtime goes with its plugin, and leaves its place to the next") {
    std::string rounds;
    for (int i = 0; i < 40; ++i) {
        rounds += each_its_own;
    }
    CHECK(said("HSW_CATCHING_IN_C", "again", {"HSW_CATCHING_FIRST"}) == rounds + "done\n");
    CHECK(said("HSW_CATCHING_IN_CPP", "again", {"HSW_CATCHING_FIRST"}) == rounds + "H still handles H\nI still handles I\ndone\n");
}

TEST_CASE("while an exception of a plugin's C++ runtime is on its way nobody switches") {
    for (const char* host : hosts) {
        for (const char* plugin : plugins) {
            const std::string out = said(host, "unwind", {plugin});
            CHECK(out.substr(0, out.find('\n')) == "giving way: HSW_ERR_SWITCH_TRAP");
        }
    }
}
