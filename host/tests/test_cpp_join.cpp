// hardswitch.hpp: tasklets with a result that somebody waits for.
#include <hardswitch.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// Every test leaves as many handles as it found.
struct no_leaks {
    std::size_t before = hsw_live_handles();
    ~no_leaks() { CHECK(hsw_live_handles() == before); }
};

/// Sleeps, and returns the number.
hsw::join_handle<int> sleeper(int number, std::chrono::milliseconds time) {
    return hsw::spawn_joinable([number, time] {
        hsw::sleep(time);
        return number;
    });
}

} // namespace

TEST_CASE("results of every kind come back to who joins") {
    const no_leaks check;
    const auto word = hsw::spawn_joinable([] { return std::string(100, 'x'); });
    const auto nothing = hsw::spawn_joinable([] { hsw::schedule(); });
    const auto moved = hsw::spawn_joinable([] { return std::make_unique<int>(7); });
    const auto small = hsw::spawn_joinable([] { return false; });
    CHECK_FALSE(word.done());
    CHECK(word.join() == std::string(100, 'x'));
    nothing.join();
    CHECK(nothing.done());
    CHECK(*moved.join() == 7);
    CHECK_FALSE(small.join());
    CHECK_THROWS_AS(small.join(), hsw::closed);
    CHECK_THROWS_WITH_AS(hsw::join_handle<int>().join(), "the join handle is null", hsw::usage_error);

    hsw::options how;
    how.name = "named";
    const auto named = hsw::spawn_joinable([] { return 0; }, how);
    CHECK(named.tasklet().name() == "named");
    const auto copy = named;
    CHECK(copy.join() == 0);
    CHECK_THROWS_WITH_AS(named.join(), "the result of tasklet 'named' has been taken", hsw::closed);
}

TEST_CASE("an exception comes to who joins as itself, and to nobody else") {
    const no_leaks check;
    const hsw::error_hook hook([](const std::exception_ptr&) {
        FAIL("asked");
        return true;
    });
    const auto failing = hsw::spawn_joinable([]() -> int { throw std::out_of_range("no such level"); });
    const auto void_failing = hsw::spawn_joinable([] { throw std::out_of_range("nor this"); });
    hsw::run();
    CHECK_THROWS_WITH_AS(failing.join(), "no such level", std::out_of_range);
    CHECK_THROWS_WITH_AS(void_failing.join(), "nor this", std::out_of_range);
    // Killed: an error of the join, not the end of who joins.
    const auto killed = hsw::spawn_joinable([] { hsw::schedule_remove(); });
    hsw::run();
    killed.tasklet().kill();
    CHECK_THROWS_AS(killed.join(), hsw::state_error);
}

TEST_CASE("a join gives up when its time is over, and the tasklet goes on") {
    const no_leaks check;
    const auto slow = sleeper(3, 1s); // it ends after the joins that give up, however slow the machine
    CHECK_FALSE(slow.join_for(0ms).has_value());
    CHECK_FALSE(slow.join_for(-1ms).has_value());
    CHECK_FALSE(slow.join_for(1ms).has_value());
    CHECK(slow.join_for(24h * 365 * 1000) == 3);
    const hsw::channel<int> never;
    const auto waits = hsw::spawn_joinable([never] { static_cast<void>(never.receive()); });
    CHECK_FALSE(waits.join_for(1ms));
    CHECK_THROWS_AS(hsw::within(1ms, [&] { waits.join(); }), hsw::timeout);
    never.send(1);
    CHECK(waits.join_for(60s));
    // A timeout that the tasklet threw itself is an exception like any other.
    const auto timed_out = hsw::spawn_joinable([]() -> int { throw hsw::timeout(HSW_ERR_TIMEOUT, "its own"); });
    CHECK_THROWS_WITH_AS(timed_out.join_for(60s), "its own", hsw::timeout);
}

TEST_CASE("a result that nobody takes is destroyed once") {
    const no_leaks check;
    const auto value = std::make_shared<int>(1);
    {
        const auto ignored = hsw::spawn_joinable([value] { return value; });
        hsw::run();
        CHECK(value.use_count() == 2);
    }
    CHECK(value.use_count() == 1);
    static_cast<void>(hsw::spawn_joinable([value] { return value; }));
    hsw::run();
    CHECK(value.use_count() == 1);
}

TEST_CASE("several are joined, all or as they end") {
    const no_leaks check;
    const std::vector<hsw::join_handle<int>> three{sleeper(1, 3ms), sleeper(2, 1ms), sleeper(3, 2ms)};
    CHECK(hsw::join_all(three) == std::vector<int>{1, 2, 3});
    hsw::join_all(std::vector<hsw::join_handle<void>>{hsw::spawn_joinable([] { hsw::sleep(1ms); })});
    CHECK(hsw::join_all(std::vector<hsw::join_handle<int>>()).empty());
    const std::vector<hsw::join_handle<int>> failing{
        sleeper(1, 1ms), hsw::spawn_joinable([]() -> int { throw std::runtime_error("the second"); }), sleeper(3, 1ms)};
    CHECK_THROWS_WITH_AS(hsw::join_all(failing), "the second", std::runtime_error);

    // Each: those that have ended first, in order; then as they end. Some fail.
    const hsw::channel<int> go;
    std::vector<hsw::join_handle<int>> handles;
    for (int i = 0; i < 4; ++i) {
        handles.push_back(hsw::spawn_joinable([i, go] {
            if (i == 2) {
                throw std::runtime_error("two");
            }
            return i % 2 == 0 ? go.receive() : i;
        }));
    }
    hsw::run();
    std::vector<std::size_t> order;
    std::map<std::size_t, int> values;
    hsw::join_each(handles, [&](std::size_t which, hsw::join_outcome<int> outcome) {
        order.push_back(which);
        CHECK(outcome.failed() == (which == 2));
        if (which == 2) {
            CHECK_THROWS_WITH_AS(outcome.get(), "two", std::runtime_error);
        } else {
            values[which] = outcome.get();
            CHECK_THROWS_AS(outcome.get(), hsw::closed);
        }
        if (which == 3) {
            go.send(40);
        }
    });
    CHECK(order == std::vector<std::size_t>{1, 2, 3, 0});
    CHECK(values == std::map<std::size_t, int>{{0, 40}, {1, 1}, {3, 3}});

    // What is not asked for is destroyed; a wait that fails is thrown, and the others are still there.
    const auto value = std::make_shared<int>(1);
    const std::vector<hsw::join_handle<std::shared_ptr<int>>> unasked{hsw::spawn_joinable([value] { return value; })};
    hsw::join_each(unasked, [](std::size_t, const auto&) {});
    CHECK(value.use_count() == 1);
    const std::vector<hsw::join_handle<int>> slow{sleeper(5, 1s)};
    CHECK_THROWS_AS(hsw::within(1ms, [&] { hsw::join_each(slow, [](std::size_t, auto) { FAIL("ended"); }); }), hsw::timeout);
    CHECK(slow[0].join() == 5);
}

TEST_CASE("a select takes results as well as values") {
    const no_leaks check;
    const hsw::channel<std::string> words;
    const auto number = sleeper(6, 1ms);
    const auto nothing = hsw::spawn_joinable([words] { static_cast<void>(words.receive()); });
    std::string heard;
    const auto wait = [&] {
        hsw::select any;
        any.receive(number, [&](int n) { heard = std::to_string(n); });
        any.receive(nothing, [&] { heard = "ended"; });
        any.receive(words, [&](const std::string& word) { heard = word; });
        any.in_order().perform();
    };
    wait();
    CHECK(heard == "6");
    words.send("to the tasklet");
    hsw::run();
    hsw::select last;
    last.receive(nothing, [&] { heard = "ended"; });
    CHECK(last.perform_for(60s));
    CHECK(heard == "ended");
    // What the tasklet threw comes out of perform().
    const auto failing = hsw::spawn_joinable([]() -> int { throw std::runtime_error("its own"); });
    hsw::select any;
    any.receive(failing, [](int) {});
    CHECK_THROWS_WITH_AS(any.perform(), "its own", std::runtime_error);
}
