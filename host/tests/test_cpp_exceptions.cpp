// C++ exceptions and tasklets: each tasklet has its own, and none gets lost.
#include <hardswitch.hpp>

#include <doctest/doctest.h>

#include <cxxabi.h>
#include <unwind.h>

#include <functional>
#include <future>
#include <ostream>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <thread>
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

namespace {

/// Counts those that are alive. Its move can be told to throw.
struct counted {
    static inline int alive = 0;
    static inline int moves_left = -1; // -1: any number
    explicit counted(int of) : value(of) { ++alive; }
    counted(counted&& other) : value(std::exchange(other.value, 0)) {
        if (moves_left == 0) {
            throw std::runtime_error("this one does not move");
        }
        moves_left -= moves_left > 0 ? 1 : 0;
        ++alive;
    }
    ~counted() { --alive; }
    int value;
};

} // namespace

TEST_CASE("a select that threw is empty, and can be used again") {
    const hsw::channel<std::string> a;
    const hsw::channel<std::string> b;
    std::vector<std::string> log;
    hsw::spawn_detached([&log, a, b] {
        hsw::select wait;
        wait.send(a, std::string("words that do not fit into a pointer"), [&log] { log.push_back("sent on a"); });
        try {
            wait.perform();
        } catch (const hsw::closed&) {
            log.push_back("closed");
        }
        a.open();
        wait.receive(b, [&log](std::string got) { log.push_back(got); });
        wait.perform();
        try {
            wait.perform();
        } catch (const hsw::state_error&) {
            log.push_back("nothing to wait for");
        }
        wait.receive(b, [&log](std::string got) { log.push_back(got); });
        CHECK_FALSE(wait.perform_for(std::chrono::milliseconds(1)));
        // A callback gives it new operations, and throws.
        wait.receive(b, [&log, &wait, b](std::string got) {
            log.push_back(got);
            wait.receive(b, [&log](std::string more) { log.push_back(more); });
            throw custom{1};
        });
        try {
            wait.perform();
        } catch (const custom&) {
            log.push_back("thrown");
        }
        wait.perform();
    });
    hsw::run();
    a.close_and_wake();
    hsw::run();
    CHECK(a.balance() == 0);
    b.send("first");
    hsw::tick(std::chrono::seconds(1));
    hsw::sleep(std::chrono::milliseconds(20));
    b.send("second");
    b.send("third");
    hsw::run();
    CHECK(log == std::vector<std::string>{"closed", "first", "nothing to wait for", "second", "thrown", "third"});
}

TEST_CASE("what a select was to send is destroyed once when it throws, also by a destructor that uses the select") {
    counted::alive = 0;
    const hsw::channel<counted> a;
    const hsw::channel<int> b;
    {
        hsw::select wait;
        wait.send(a, counted(1), [] {});
        wait.send(b, 1, [] {});
        wait.receive(b, [](int) {});
        CHECK(counted::alive == 1);
        CHECK_THROWS_AS(wait.perform(), hsw::error); // it sends and receives on the same channel
        CHECK(counted::alive == 0);
        counted::moves_left = 0;
        CHECK_THROWS_AS(wait.send(a, counted(2), [] {}), std::runtime_error);
        counted::moves_left = -1;
        CHECK(counted::alive == 0);
        CHECK_THROWS_AS(wait.perform(), hsw::state_error); // nothing was added
    }
    CHECK(counted::alive == 0);
}

TEST_CASE("a value that does not move is lost once, and its channel goes on") {
    counted::alive = 0;
    const hsw::channel<counted> channel;
    hsw::spawn_detached([channel] {
        channel.send(counted(1));
        channel.send(counted(2));
    });
    hsw::run();
    counted::moves_left = 0;
    CHECK_THROWS_AS(channel.receive(), std::runtime_error);
    counted::moves_left = -1;
    CHECK(channel.receive().value == 2);
    hsw::run();
    CHECK(counted::alive == 0);

    const hsw::queue<counted> queue;
    counted::moves_left = 0;
    CHECK_THROWS_AS(queue.put(counted(1)), std::runtime_error);
    counted::moves_left = -1;
    CHECK(queue.size() == 0);
    queue.put(counted(2));
    CHECK(queue.get().value == 2);
    CHECK(counted::alive == 0);
}

TEST_CASE("an iterator whose ++ throws stays where it was") {
    const hsw::queue_channel<std::string> queue(4);
    queue.send("first");
    queue.send_exception(custom{7});
    queue.send("second");
    queue.close();
    auto at = queue.begin();
    CHECK(*at == "first");
    CHECK_THROWS_AS(at++, custom);
    CHECK(*at == "first");
    CHECK(*++at == "second");
    CHECK(++at == queue.end());

    const hsw::queue_channel<std::string> other(4);
    other.send("first");
    other.send_exception(custom{7});
    auto again = other.begin();
    CHECK_THROWS_AS(++again, custom);
    CHECK(*again == "first");
}

TEST_CASE("outcomes that were moved from, or asked twice, have nothing more") {
    const std::vector<hsw::join_handle<std::string>> handles = {hsw::spawn_joinable([] { return std::string(40, 'x'); })};
    hsw::join_each(handles, [](std::size_t, auto outcome) {
        auto taken = std::move(outcome);
        CHECK_THROWS_AS(outcome.get(), hsw::closed);
        CHECK(taken.get() == std::string(40, 'x'));
        CHECK_THROWS_AS(taken.get(), hsw::closed);
        auto& itself = taken;
        taken = std::move(itself);
        CHECK_THROWS_AS(taken.get(), hsw::closed);
    });

    std::promise<void> go;
    const std::shared_future<void> started = go.get_future().share();
    int asked = 0;
    hsw::offload_call slow([started]() -> int {
        started.wait();
        throw custom{3};
    });
    slow.timeout(std::chrono::milliseconds(1)).on_abandoned([&asked](auto outcome) {
        CHECK_THROWS_AS(outcome.get(), custom);
        CHECK_THROWS_AS(outcome.get(), hsw::closed);
        ++asked;
    });
    CHECK_THROWS_AS(slow.wait(), hsw::timeout);
    CHECK_THROWS_AS(slow.wait(), hsw::usage_error); // once
    go.set_value();
    for (int i = 0; i < 5000 && asked == 0; ++i) {
        hsw::wait(std::chrono::milliseconds(10));
    }
    CHECK(asked == 1);
}

TEST_CASE("an exception that is null is refused, and changes nothing") {
    const std::exception_ptr none;
    const hsw::channel<int> channel;
    hsw::tasklet t = hsw::spawn([channel] { channel.receive(); });
    hsw::run();
    CHECK_THROWS_AS(t.raise(none), hsw::usage_error);
    CHECK_THROWS_AS(channel.send_exception(none), hsw::usage_error);
    CHECK(t.blocked());
    t.kill();
}

TEST_CASE("an error stays itself whatever fails on its way out") {
    using namespace std::chrono_literals;
    const hsw::channel<int> nobody;
    const hsw::channel<int> other;
    const auto fail = [&other] {
        CHECK_FALSE(other.try_receive());
        CHECK_THROWS_AS(hsw::tasklet().run(), hsw::usage_error);
    };
    const auto in_time = [](auto function) {
        try {
            hsw::within(5ms, function);
            return "returned";
        } catch (const hsw::timeout&) {
            return "timeout";
        } catch (const std::exception&) {
            return "another exception";
        }
    };
    const auto rethrows = [&] {
        try {
            nobody.receive();
        } catch (...) {
            fail();
            throw;
        }
    };
    CHECK(in_time(rethrows) == std::string("timeout"));
    struct tidies {
        const std::function<void()> fail;
        ~tidies() { fail(); }
    };
    const auto unwinds = [&] {
        const tidies here{fail};
        nobody.receive();
    };
    CHECK(in_time(unwinds) == std::string("timeout"));
    // Through another function of the library, a copy, an exception_ptr.
    const auto keeps = [&] {
        std::exception_ptr kept;
        try {
            hsw::grow([&] { nobody.receive(); });
        } catch (const hsw::foreign_exception& e) {
            kept = std::make_exception_ptr(e);
        }
        fail();
        std::rethrow_exception(kept);
    };
    CHECK(in_time(keeps) == std::string("timeout"));
    // The outer limit is none of the inner one's.
    const auto nests = [&] {
        try {
            hsw::within(1h, unwinds);
        } catch (const hsw::timeout&) {
            FAIL("that was not its time");
        }
    };
    CHECK(in_time(nests) == std::string("timeout"));
    // In C as well.
    hsw_channel raw = nobody.raw();
    const auto cleans_up = [](void* channel) -> hsw_status {
        void* value = nullptr;
        hsw_error error{};
        const hsw_status status = hsw_channel_receive(*static_cast<hsw_channel*>(channel), &value);
        CHECK(hsw_error_last(&error) == HSW_OK);
        CHECK(hsw_tasklet_run(hsw_tasklet{}) == HSW_ERR_NULL);
        CHECK(hsw_error_fail(error) == status);
        CHECK(hsw_error_release(error) == HSW_OK);
        return status;
    };
    CHECK(hsw_timeout(5'000'000, cleans_up, &raw) == HSW_ERR_TIMEOUT);
    CHECK(hsw_error_fail(hsw_error{}) == HSW_ERR_NULL);
    hsw_error none{};
    bool asked = false;
    std::thread([&] {
        asked = hsw_error_last(&none) == HSW_ERR_STATE;
    }).join();
    CHECK(asked);
}

TEST_CASE("a failed call tells its own failure, also when the value that it refused fails at something else") {
    struct fails {
        explicit fails(int) {}
        fails(fails&& other) noexcept : armed(std::exchange(other.armed, false)) {}
        ~fails() {
            if (armed) {
                CHECK(hsw_tasklet_run(hsw_tasklet{}) == HSW_ERR_NULL);
            }
        }
        bool armed = true;
    };
    hsw::channel<fails> channel;
    hsw::channel<fails> gone(std::move(channel));
    CHECK_THROWS_WITH_AS(channel.send(fails(1)), "the channel handle is null", hsw::usage_error);
}

namespace {

/// Sends what is written to it over a channel.
struct channel_buf : std::streambuf {
    hsw::channel<std::string> to;
    std::streamsize xsputn(const char* text, std::streamsize count) override {
        to.send(std::string(text, static_cast<std::size_t>(count)));
        return count;
    }
};

} // namespace

TEST_CASE("a kill that a stream has swallowed comes again at the next wait") {
    for (const bool own : {false, true}) {
        BOTH_STACKS(own);
        std::string log;
        const hsw::channel<std::string> talk;
        const auto writes = [&log, talk](bool rethrows, auto then) {
            return [&log, talk, rethrows, then] {
                channel_buf buffer;
                buffer.to = talk;
                std::ostream out(&buffer);
                if (rethrows) {
                    out.exceptions(std::ios::badbit);
                }
                out << "nobody reads this";
                log += "swallowed ";
                then();
                log += "ran on ";
            };
        };
        const auto killed = [&](bool rethrows, auto then) {
            log.clear();
            hsw::tasklet t = hsw::spawn(writes(rethrows, then), how);
            hsw::run();
            REQUIRE(t.blocked());
            t.kill();
            hsw::run();
            CHECK_FALSE(t.alive());
            CHECK(talk.balance() == 0);
            return log;
        };
        const hsw::channel<int> never;
        const hsw::event event;
        CHECK(killed(true, [] {}) == "");
        CHECK(killed(false, [] {}) == "swallowed ran on "); // there was no wait
        CHECK(killed(false, [] { hsw::schedule(); }) == "swallowed ");
        CHECK(killed(false, [] { hsw::schedule_remove(); }) == "swallowed ");
        CHECK(killed(false, [talk] { talk.send("more"); }) == "swallowed ");
        CHECK(killed(false, [never] { never.receive(); }) == "swallowed ");
        CHECK(killed(false, [] { hsw::sleep(std::chrono::hours(1)); }) == "swallowed ");
        CHECK(killed(false, [event] { event.wait(); }) == "swallowed ");
        CHECK(killed(false, [] { hsw::spawn_joinable([] { hsw::schedule(); }).join(); }) == "swallowed ");
        CHECK(killed(false, [never] {
                  hsw::select wait;
                  wait.receive(never, [](int) {});
                  wait.perform();
              }) == "swallowed ");
    }
}

TEST_CASE("a kill that is swallowed over and over comes ten times more") {
    int killed = 0;
    bool ended = false;
    hsw::tasklet t = hsw::spawn([&killed, &ended] {
        for (int i = 0; i < 20; ++i) {
            try {
                hsw::schedule();
            } catch (...) {
                ++killed;
            }
        }
        ended = true;
    });
    hsw::schedule();
    t.kill();
    hsw::run();
    CHECK(killed == 11);
    CHECK(ended);
}

TEST_CASE("a kill that is kept for a while, and goes on then, is none that was swallowed") {
    int waits = 0;
    const hsw::channel<int> never;
    hsw::tasklet t = hsw::spawn([&waits, never] {
        std::exception_ptr kept;
        try {
            never.receive();
        } catch (...) {
            kept = std::current_exception();
        }
        hsw::schedule(); // is left in peace
        ++waits;
        std::rethrow_exception(kept);
    });
    hsw::run();
    t.kill();
    hsw::run();
    CHECK(waits == 1);
    CHECK_FALSE(t.alive());
}
