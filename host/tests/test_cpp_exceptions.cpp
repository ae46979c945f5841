// C++ exceptions and tasklets: each tasklet has its own, and none gets lost.
#include <hardswitch.hpp>

#include <doctest/doctest.h>

#include <cxxabi.h>
#include <unwind.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct custom {
    int code;
};

/// Runs each test twice: with sliced tasklets and with own stacks.
#define BOTH_STACKS(own)                                                                                                              \
    hsw::options how;                                                                                                                 \
    how.own_stack = own

void throw_and_catch_deep(int depth) {
    if (depth == 0) {
        throw std::runtime_error("deep");
    }
    volatile char frame[64];
    frame[0] = static_cast<char>(depth);
    throw_and_catch_deep(depth - 1);
    frame[1] = frame[0];
}

} // namespace

TEST_CASE("a tasklet throws and catches") {
    for (const bool own : {false, true}) {
        BOTH_STACKS(own);
        std::string caught;
        hsw::spawn_detached([&caught] {
            try {
                throw_and_catch_deep(20);
            } catch (const std::exception& e) {
                caught = e.what();
            }
        }, how);
        hsw::run();
        CHECK(caught == "deep");
    }
}

TEST_CASE("an exception that leaves a tasklet arrives at run as itself") {
    for (const bool own : {false, true}) {
        BOTH_STACKS(own);
        bool other_ran = false;
        hsw::spawn_detached([] { throw custom{42}; }, how);
        hsw::spawn_detached([&other_ran] { other_ran = true; }, how);
        try {
            hsw::run();
            FAIL("must throw");
        } catch (const custom& e) {
            CHECK(e.code == 42);
        }
        CHECK_FALSE(other_ran); // still queued
        hsw::run();
        CHECK(other_ran);
        hsw::spawn_detached([] { throw std::out_of_range("of a tasklet"); }, how);
        CHECK_THROWS_WITH_AS(hsw::run(), "of a tasklet", std::out_of_range);
    }
}

TEST_CASE("a tasklet may switch within a catch block and go on with its exception") {
    for (const bool own : {false, true}) {
        BOTH_STACKS(own);
        std::vector<std::string> log;
        for (int i = 0; i < 3; ++i) {
            hsw::spawn_detached([&log, i] {
                try {
                    try {
                        throw std::runtime_error("of tasklet " + std::to_string(i));
                    } catch (const std::exception&) {
                        hsw::schedule(); // the others throw, too, and are caught meanwhile
                        hsw::schedule();
                        CHECK(std::uncaught_exceptions() == 0);
                        throw; // which one is it?
                    }
                } catch (const std::exception& e) {
                    log.push_back(e.what());
                }
                CHECK(std::current_exception() == nullptr);
            }, how);
        }
        hsw::run();
        CHECK(log == std::vector<std::string>{"of tasklet 0", "of tasklet 1", "of tasklet 2"});
        CHECK(std::current_exception() == nullptr);
        CHECK(std::uncaught_exceptions() == 0);
    }
}

TEST_CASE("catch blocks of tasklets may end in any order") {
    for (const bool own : {false, true}) {
        BOTH_STACKS(own);
        int right = 0;
        const hsw::channel<int> gates[4];
        for (int i = 0; i < 4; ++i) {
            hsw::spawn_detached([&right, gate = gates[i], i] {
                try {
                    throw custom{i};
                } catch (const custom& e) {
                    try {
                        throw custom{i + 100};
                    } catch (const custom& inner) {
                        gate.receive();
                        right += inner.code == i + 100 ? 1 : 0;
                    }
                    gate.receive();
                    right += e.code == i ? 1 : 0;
                }
            }, how);
        }
        hsw::run();
        for (const int i : {2, 0, 3, 1}) {
            gates[i].send(0);
        }
        for (const int i : {1, 2, 0, 3}) {
            gates[i].send(0);
        }
        hsw::run();
        CHECK(right == 8);
    }
}

TEST_CASE("main may switch within a catch block") {
    bool ran = false;
    try {
        throw custom{1};
    } catch (const custom&) {
        hsw::spawn_detached([&ran] {
            CHECK(std::current_exception() == nullptr); // main's is not the tasklet's
            try {
                throw custom{2};
            } catch (const custom& e) {
                ran = e.code == 2;
            }
        });
        hsw::run();
        try {
            throw;
        } catch (const custom& e) {
            CHECK(e.code == 1);
        }
    }
    CHECK(ran);
}

TEST_CASE("a killed tasklet unwinds, past handlers of std::exception") {
    for (const bool own : {false, true}) {
        BOTH_STACKS(own);
        std::string log;
        const hsw::channel<int> channel;
        hsw::tasklet t = hsw::spawn([&log, channel] {
            struct guard {
                std::string& log;
                ~guard() { log += "destroyed "; }
            } const here{log};
            try {
                channel.receive();
            } catch (const std::exception&) {
                log += "swallowed ";
            } catch (const hsw::tasklet_exit& e) {
                log += e.what() + std::string(" ");
                throw;
            }
        }, how);
        hsw::run();
        t.kill();
        CHECK(log == "TaskletExit destroyed ");
        CHECK_FALSE(t.alive());
    }
}

TEST_CASE("an exception is thrown into a waiting tasklet, or sent to a receiver") {
    for (const bool own : {false, true}) {
        BOTH_STACKS(own);
        std::vector<int> codes;
        const hsw::channel<int> channel;
        const auto receive = [&codes, channel] {
            try {
                channel.receive();
            } catch (const custom& e) {
                codes.push_back(e.code);
            }
        };
        hsw::tasklet a = hsw::spawn(receive, how);
        hsw::run();
        a.raise(custom{1});
        hsw::tasklet b = hsw::spawn(receive, how);
        hsw::run();
        b.raise(std::make_exception_ptr(custom{2}), true);
        CHECK(codes.size() == 1);
        hsw::run();
        hsw::tasklet c = hsw::spawn(receive, how);
        hsw::run();
        channel.send_exception(custom{3});
        hsw::run();
        CHECK(codes == std::vector<int>{1, 2, 3});
    }
}

TEST_CASE("what a tasklet does not catch of it goes to run") {
    const hsw::channel<int> channel;
    hsw::tasklet t = hsw::spawn([channel] { channel.receive(); });
    hsw::run();
    t.raise(custom{9}, true);
    CHECK_THROWS_AS(hsw::run(), custom);
    CHECK_FALSE(t.alive());
}

TEST_CASE("a destructor that runs because of an exception may not switch") {
    std::string log;
    hsw::spawn_detached([&log] {
        struct switches {
            std::string& log;
            ~switches() {
                try {
                    hsw::schedule();
                    log += "switched ";
                } catch (const hsw::switch_trap&) {
                    log += "refused ";
                }
            }
        };
        try {
            const switches here{log};
            throw custom{1};
        } catch (const custom&) {
            log += "caught";
        }
    });
    hsw::spawn_detached([] {}); // somebody to switch to
    hsw::run();
    CHECK(log == "refused caught");
}

TEST_CASE("a thousand tasklets throw, catch, and switch in their catch blocks") {
    for (const bool own : {false, true}) {
        BOTH_STACKS(own);
        int caught = 0;
        for (int i = 0; i < 1000; ++i) {
            hsw::spawn_detached([&caught, i] {
                for (int round = 0; round < 3; ++round) {
                    try {
                        try {
                            throw custom{i};
                        } catch (const custom& e) {
                            hsw::schedule();
                            caught += e.code == i && std::uncaught_exceptions() == 0 ? 1 : 0;
                            try {
                                throw std::string(40, 'x') + std::to_string(i);
                            } catch (const std::string& inner) {
                                hsw::schedule();
                                caught += inner == std::string(40, 'x') + std::to_string(i) ? 1 : 0;
                            }
                            hsw::schedule();
                            throw;
                        }
                    } catch (const custom& e) {
                        hsw::schedule();
                        caught += e.code == i ? 1 : 0;
                    }
                    caught += std::current_exception() == nullptr ? 1 : 0;
                }
            }, how);
        }
        hsw::run();
        CHECK(caught == 12000);
        CHECK(std::current_exception() == nullptr);
    }
}

TEST_CASE("a tasklet that ends in the middle of a catch block leaves its exception to nobody") {
    for (const bool own : {false, true}) {
        BOTH_STACKS(own);
        hsw::tasklet t = hsw::spawn([] {}, how);
        hsw::run();
        custom* thrown = nullptr;
        t.bind([&thrown] {
            try {
                throw custom{1};
            } catch (custom& e) {
                // Caught once more, and not ended: as if a jump had left the block.
                abi::__cxa_begin_catch(reinterpret_cast<_Unwind_Exception*>(&e) - 1);
                thrown = &e;
            }
        });
        t.setup();
        hsw::run();
        CHECK(std::current_exception() == nullptr); // not main's
        bool clean = false;
        t.bind([&clean] {
            clean = std::current_exception() == nullptr; // not that of the next function
            hsw::schedule();
            try {
                throw custom{2};
            } catch (const custom& e) {
                hsw::schedule();
                clean = clean && e.code == 2;
            }
            clean = clean && std::current_exception() == nullptr && std::uncaught_exceptions() == 0;
        });
        t.setup();
        hsw::spawn_detached([] { hsw::schedule(); }, how);
        hsw::run();
        CHECK(clean);
        REQUIRE(thrown != nullptr);
        CHECK(thrown->code == 1); // still there: whoever left it so may free it
        abi::__cxa_free_exception(thrown);
    }
}

TEST_CASE("a thrown object lives as long as somebody has it") {
    static int alive;
    alive = 0;
    struct counted {
        counted() { ++alive; }
        counted(const counted&) { ++alive; }
        ~counted() { --alive; }
    };
    hsw::spawn_detached([] { throw counted(); });
    try {
        hsw::run();
        FAIL("must throw");
    } catch (const counted&) {
        CHECK(alive >= 1);
    }
    CHECK_THROWS_AS(hsw::tasklet().run(), hsw::usage_error); // the last error is another one now
    CHECK(alive == 0);
}
