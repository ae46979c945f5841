// hardswitch.hpp: runs with a budget, waiting for several channels, and waits that end at a time.
#include <hardswitch.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <ostream>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// Every test leaves as many handles as it found.
struct no_leaks {
    std::size_t before = hsw_live_handles();
    ~no_leaks() { CHECK(hsw_live_handles() == before); }
};

hsw::budget turns(std::uint64_t count) {
    hsw::budget out;
    out.switches = count;
    return out;
}

std::uint64_t simulated_now = 0;
extern "C" std::uint64_t simulated_clock() { return simulated_now; }

} // namespace

TEST_CASE("a run with a budget comes back and the next one goes on") {
    const no_leaks check;
    std::vector<int> order;
    for (int i = 0; i < 3; ++i) {
        hsw::spawn_detached([i, &order] { order.push_back(i); });
    }
    const hsw::run_report first = hsw::run(turns(2));
    CHECK(first.used_up);
    CHECK(first.switches == 2);
    CHECK(first.completed == 2);
    CHECK(first.runnable == 1);
    const hsw::run_report second = hsw::run(turns(2));
    CHECK_FALSE(second.used_up);
    CHECK(second.runnable == 0);
    CHECK(order == std::vector<int>{0, 1, 2});
    hsw_counters counters{};
    CHECK(hsw_get_counters(&counters) == HSW_OK);
    CHECK(counters.last_run_switches == 1);
    CHECK(counters.last_run_completed == 1);
}

TEST_CASE("who was interrupted is named, and an atomic tasklet is not") {
    const no_leaks check;
    bool stop = false;
    const hsw::tasklet busy = hsw::spawn([&stop] {
        while (!stop) {
            hsw::schedule();
        }
    });
    CHECK((hsw::run(turns(3)).interrupted == busy));
    stop = true;
    hsw::run();
    bool done = false;
    const hsw::tasklet careful = hsw::spawn([&done] {
        const hsw::atomic whole;
        for (int i = 0; i < 5; ++i) {
            hsw::schedule();
        }
        done = true;
    });
    hsw::budget little;
    little.time = 0ns;
    hsw::run(little);
    CHECK(done);
    CHECK_FALSE(careful.alive());
}

TEST_CASE("an exception comes out of a run with a budget") {
    const no_leaks check;
    hsw::spawn_detached([] { throw std::runtime_error("no such level"); });
    CHECK_THROWS_WITH_AS(hsw::run(turns(5)), "no such level", std::runtime_error);
}

TEST_CASE("a select takes what comes first, and gives nothing away twice") {
    const no_leaks check;
    auto value = std::make_shared<int>(7);
    const hsw::channel<std::string> words;
    const hsw::channel<std::shared_ptr<int>> numbers;
    std::string heard;
    hsw::spawn_detached([words, numbers, value, &heard] {
        hsw::select wait;
        wait.receive(words, [&heard](const std::string& word) { heard = word; });
        wait.send(numbers, value, [&heard] { heard = "sent"; });
        wait.perform();
    });
    hsw::run();
    CHECK(words.balance() == -1);
    CHECK(numbers.balance() == 1);
    words.send("hello");
    hsw::run();
    CHECK(heard == "hello");
    CHECK(words.balance() == 0);
    CHECK(numbers.balance() == 0);
    CHECK(value.use_count() == 1);

    // And the other way round.
    hsw::spawn_detached([words, numbers, value, &heard] {
        hsw::select wait;
        wait.receive(words, [&heard](const std::string& word) { heard = word; });
        wait.send(numbers, value, [&heard] { heard = "sent"; });
        wait.perform();
    });
    CHECK((numbers.receive() == value));
    hsw::run();
    CHECK(heard == "sent");
    CHECK(value.use_count() == 1);
}

TEST_CASE("a select throws what its case meets") {
    const no_leaks check;
    const hsw::channel<int> one;
    const hsw::channel<int> other;
    const auto both = [&] {
        hsw::select wait;
        wait.receive(one, [](int) {});
        wait.receive(other, [](int) {});
        wait.perform();
    };
    CHECK_THROWS_AS(both(), hsw::deadlock);
    {
        const hsw::no_block trap;
        CHECK_THROWS_AS(both(), hsw::block_trap);
    }
    hsw::spawn_detached([other] { other.send_exception(std::out_of_range("too far")); });
    CHECK_THROWS_WITH_AS(both(), "too far", std::out_of_range);
    hsw::run();
    other.close();
    CHECK_THROWS_AS(both(), hsw::closed);
    hsw::select contradiction;
    contradiction.receive(one, [](int) {});
    contradiction.send(one, 1, [] {});
    CHECK_THROWS_AS(contradiction.perform(), hsw::state_error);
}

TEST_CASE("a select and a receive end in time") {
    const no_leaks check;
    const hsw::channel<std::shared_ptr<int>> nobody;
    const auto value = std::make_shared<int>(1);
    CHECK_FALSE(nobody.receive_for(5ms).has_value());
    CHECK_FALSE(nobody.send_for(value, 0ms));
    CHECK_FALSE(nobody.send_for(value, 5ms));
    {
        hsw::select wait;
        wait.send(nobody, value, [] { FAIL("sent to nobody"); });
        CHECK_FALSE(wait.perform_for(5ms));
    }
    CHECK(value.use_count() == 1);
    hsw::spawn_detached([nobody, value] {
        hsw::sleep(5ms);
        nobody.send(value);
    });
    CHECK((nobody.receive_for(20s) == value));
    hsw::run();
}

TEST_CASE("time is what the host's clock says") {
    const no_leaks check;
    CHECK(hsw_set_clock(&simulated_clock) == HSW_OK);
    const hsw::channel<int> nobody;
    bool late = false;
    hsw::spawn_detached([nobody, &late] { late = !nobody.receive_for(10s).has_value(); });
    hsw::run();
    CHECK(hsw_until_next_ns() == 10'000'000'000u);
    CHECK(hsw_fire_due() == 0);
    simulated_now += 10'000'000'000u;
    CHECK(hsw_fire_due() == 1);
    hsw::run();
    CHECK(late);
    CHECK(hsw_until_next_ns() == HSW_NO_LIMIT);

    CHECK_FALSE(hsw_set_statistics(true));
    const hsw::tasklet worker = hsw::spawn([] { simulated_now += 30; });
    hsw::run();
    const hsw_tasklet_times times = worker.times();
    CHECK(times.run_ns == 30);
    CHECK(times.ended_ns - times.started_ns == 30);
    CHECK(hsw_set_statistics(false));
    CHECK(hsw_set_clock(nullptr) == HSW_OK);
}

TEST_CASE("closing can wake") {
    const no_leaks check;
    const hsw::channel<int> talk;
    int told = 0;
    for (int i = 0; i < 3; ++i) {
        hsw::spawn_detached([talk, &told] {
            try {
                talk.receive();
            } catch (const hsw::closed&) {
                ++told;
            }
        });
    }
    hsw::run();
    CHECK(talk.close_and_wake() == 3);
    CHECK(told == 0);
    hsw::run();
    CHECK(told == 3);
    CHECK(talk.closed());
}

TEST_CASE("what the host keeps with a tasklet goes with its last handle") {
    const no_leaks check;
    const auto data = std::make_shared<int>(3);
    {
        hsw::tasklet t = hsw::spawn([] {});
        CHECK((t.user_data<int>() == nullptr));
        t.set_user_data(data);
        CHECK(*t.user_data<int>() == 3);
        hsw::run();
        CHECK(data.use_count() == 2);
    }
    CHECK(data.use_count() == 1);
}

TEST_CASE("order can be flat") {
    const no_leaks check;
    const auto order_of = [](bool nested) {
        const bool before = hsw_set_use_nested_tasklets(nested);
        std::string order;
        const auto says = [&order](const char* what) { return hsw::spawn([&order, what] { order += what; }); };
        const hsw::tasklet one = says("1");
        hsw::tasklet two = says("2");
        const hsw::tasklet three = says("3");
        two.run();
        hsw::run();
        hsw_set_use_nested_tasklets(before);
        return order;
    };
    CHECK(order_of(true) == "231");
    CHECK(order_of(false) == "213");
}

TEST_CASE("a queue keeps what nobody has received yet, up to its bound") {
    const no_leaks check;
    const auto value = std::make_shared<int>(1);
    {
        const hsw::queue_channel<std::shared_ptr<int>> queue(2);
        queue.send(value);
        queue.send(value);
        CHECK_FALSE(queue.send_for(value, 0ms));
        hsw::spawn_detached([queue, value] { queue.send(value); });
        hsw::run();
        CHECK(queue.size() == 2);
        CHECK(queue.balance() == 3);
        CHECK((queue.receive() == value));
        hsw::run();
        CHECK(queue.balance() == 2);
        queue.receive();
        queue.send_exception(std::make_exception_ptr(std::out_of_range("too far")));
        queue.close();
        CHECK_THROWS_AS(queue.send(value), hsw::closed);
        CHECK(queue.next().has_value());
        CHECK_THROWS_AS(queue.next(), std::out_of_range);
        CHECK_FALSE(queue.next().has_value());
        queue.open();
        CHECK_FALSE(queue.receive_for(1ms).has_value());
        queue.send(value);
    }
    CHECK(value.use_count() == 1);
    hsw_queue stale{};
    CHECK(hsw_queue_send(stale, nullptr, 0) == HSW_ERR_NULL);
    CHECK(hsw_queue_new(0, nullptr, &stale) == HSW_OK);
    CHECK(hsw_queue_release(stale) == HSW_OK);
    CHECK(hsw_queue_release(stale) == HSW_ERR_STALE);
}

TEST_CASE("a time limit ends whatever wait it finds") {
    const no_leaks check;
    const hsw::channel<int> nobody;
    CHECK(hsw::within(60s, [] { return 5; }) == 5);
    CHECK_THROWS_AS(hsw::within(5ms, [&] { return nobody.receive(); }), hsw::timeout);
    CHECK_THROWS_AS(hsw::within(60s, [] { throw std::out_of_range("mine"); }), std::out_of_range);
    // The inner limit is the inner call's, the outer one's passes through it.
    const auto inner = [&] {
        try {
            hsw::within(5ms, [&] { nobody.receive(); });
        } catch (const hsw::timeout&) {
            return 1;
        }
        return 2;
    };
    CHECK(hsw::within(60s, inner) == 1);
    bool passed = false;
    const auto outer = [&] {
        try {
            hsw::within(60s, [&] { nobody.receive(); });
        } catch (const hsw::foreign_exception&) {
            passed = true;
            throw;
        }
    };
    CHECK_THROWS_AS(hsw::within(5ms, outer), hsw::timeout);
    CHECK(passed);
    CHECK(nobody.balance() == 0);
    const auto ok = [](void*) { return hsw_status{HSW_OK}; };
    CHECK(hsw_timeout(1, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_timeout(static_cast<std::uint64_t>(-5), ok, nullptr) == HSW_ERR_ARGUMENT);
    CHECK(hsw_timeout(HSW_NO_LIMIT, ok, nullptr) == HSW_OK);
    CHECK(hsw_timeout(0, ok, nullptr) == HSW_OK);
}

TEST_CASE("a deadline limits several calls together") {
    const no_leaks check;
    const hsw::deadline all(1s); // the first of the calls ends before, however slow the machine
    CHECK(all.left() <= 1s);
    CHECK(all.within([] {
        hsw::sleep(1ms);
        return 5;
    }) == 5);
    const auto start = std::chrono::steady_clock::now();
    CHECK_THROWS_AS(all.within([] { hsw::sleep(60s); }), hsw::timeout);
    CHECK_THROWS_AS(all.within([] { hsw::sleep(60s); }), hsw::timeout);
    CHECK(std::chrono::steady_clock::now() - start < 30s);
    CHECK(all.left() == 0ns);
    CHECK_FALSE(hsw::deadline(24h * 365 * 1000).left().has_value());
    CHECK(hsw::deadline(-1ms).left() == 0ns);
    hsw::deadline(hsw::forever).within([] { hsw::sleep(1ms); });
}

TEST_CASE("a sleep until a moment ends then, and one until a past moment lets the others run once") {
    const no_leaks check;
    const auto moment = std::chrono::steady_clock::now() + 5ms;
    hsw::sleep_until(moment);
    CHECK(std::chrono::steady_clock::now() >= moment);
    bool ran = false;
    hsw::spawn_detached([&ran] { ran = true; });
    hsw::sleep_until(std::chrono::steady_clock::time_point::min());
    CHECK(ran);
}

TEST_CASE("a moment that nanoseconds cannot tell is never, or long past") {
    const no_leaks check;
    using moment = std::chrono::time_point<std::chrono::system_clock, std::chrono::seconds>;
    bool woke = false;
    hsw::tasklet sleeper = hsw::spawn([&woke] {
        hsw::sleep_until(moment::max());
        woke = true;
    });
    bool late = false;
    bool past = false;
    const hsw::timer never = hsw::call_at(moment::max(), [&late] { late = true; });
    const hsw::timer long_ago = hsw::call_at(moment::min(), [&past] { past = true; });
    hsw::tick(hsw::forever);
    hsw::tick(hsw::forever);
    CHECK_FALSE(woke);
    CHECK(sleeper.blocked());
    CHECK_FALSE(late);
    CHECK(never.pending());
    CHECK(past);
    sleeper.kill();
    hsw::sleep_until(moment::min());
    const hsw::semaphore none(0);
    CHECK_FALSE(none.try_acquire_until(moment::min()));
}

TEST_CASE("a hook for one tasklet's errors is asked first") {
    const no_leaks check;
    std::string log;
    const hsw::error_hook all([&](const std::exception_ptr&) {
        log += "all ";
        return true;
    });
    const hsw::tasklet mine = hsw::spawn([] { throw std::out_of_range("mine"); });
    const hsw::tasklet_error_hook of_mine(mine, [&](const std::exception_ptr&) {
        log += "mine ";
        return false;
    });
    hsw::spawn_detached([] { throw std::logic_error("other"); });
    hsw::run();
    CHECK(log == "mine all all ");
}

TEST_CASE("what the host keeps with a channel goes with it") {
    const no_leaks check;
    const auto kept = std::make_shared<int>(7);
    {
        const hsw::channel<int> channel;
        CHECK(channel.user_data<int>() == nullptr);
        channel.set_user_data(kept);
        const hsw::channel<int> same = channel;
        CHECK(*same.user_data<int>() == 7);
    }
    CHECK(kept.use_count() == 1);
}

TEST_CASE("a queue is iterated until it is closed and empty") {
    const no_leaks check;
    const hsw::queue_channel<int> queue(8);
    for (int i = 1; i <= 3; ++i) {
        queue.send(i);
    }
    queue.close();
    int sum = 0;
    for (const int value : queue) {
        sum = 10 * sum + value;
    }
    CHECK(sum == 123);
}

TEST_CASE("a channel's iterators do for algorithms, and an exception waits in a queue as a value does") {
    const no_leaks check;
    const hsw::queue_channel<std::string> queue(8);
    for (const char* word : {"one", "two", "three"}) {
        queue.send(word);
    }
    queue.send_exception(std::out_of_range("four"));
    auto it = queue.begin();
    CHECK(it->size() == 3);
    CHECK(*it++ == "one");
    CHECK(*it++ == "two");
    CHECK(*it == "three");
    CHECK_THROWS_WITH_AS(++it, "four", std::out_of_range);
    queue.send("five");
    queue.send("six");
    queue.close();
    CHECK(std::vector<std::string>(queue.begin(), queue.end()) == std::vector<std::string>{"five", "six"});
}

TEST_CASE("a select takes queues as well as channels") {
    const no_leaks check;
    const auto kept = std::make_shared<int>(1);
    const hsw::queue_channel<std::shared_ptr<int>> full(1);
    const hsw::queue_channel<int> empty(1);
    const hsw::channel<int> talk;
    full.send(kept);
    std::string log;
    const auto go = [&](std::chrono::milliseconds limit) {
        hsw::select wait;
        wait.send(full, kept, [&] { log += "s"; });
        wait.receive(empty, [&](int value) { log += "q" + std::to_string(value); });
        wait.receive(talk, [&](int value) { log += "c" + std::to_string(value); });
        return wait.perform_for(limit);
    };
    CHECK_FALSE(go(0ms));
    CHECK_FALSE(go(1ms));
    CHECK(kept.use_count() == 2); // what was not sent is destroyed, what is queued is not
    empty.send(4);
    CHECK(go(0ms));
    hsw::spawn_detached([&] { talk.send(5); });
    CHECK(go(60s));
    hsw::spawn_detached([&] { full.receive(); });
    CHECK(go(60s));
    CHECK(log == "q4c5s");
    CHECK(full.size() == 1);

    hsw_case both{talk.raw(), empty.raw(), HSW_RECEIVE, nullptr, {}, {}};
    std::size_t chosen = 0;
    CHECK(hsw_select(&both, 1, 0, false, &chosen) == HSW_ERR_ARGUMENT);
    hsw_case stale{hsw_channel{}, hsw_queue{talk.raw().handle}, HSW_RECEIVE, nullptr, {}, {}};
    CHECK(hsw_select(&stale, 1, 0, false, &chosen) == HSW_ERR_WRONG_KIND);
}

TEST_CASE("a select keeps what it waits for") {
    const no_leaks check;
    const hsw::channel<int> talk;
    const hsw::queue_channel<int> queue(1);
    const auto copy = [](const auto& original) { return std::make_unique<std::decay_t<decltype(original)>>(original); };
    int heard = 0;
    const auto hear = [&](int value) { heard = value; };
    const auto told = [&] { heard = -1; };
    // Each of the cases, by a handle that is given back before the wait.
    const auto once = [&](auto add) {
        hsw::select wait;
        add(wait);
        heard = 0;
        wait.perform();
        return heard;
    };
    hsw::spawn_detached([&] { talk.send(1); });
    CHECK(once([&](hsw::select& wait) { wait.receive(*copy(talk), hear); }) == 1);
    hsw::spawn_detached([&] { talk.receive(); });
    CHECK(once([&](hsw::select& wait) { wait.send(*copy(talk), 2, told); }) == -1);
    CHECK(once([&](hsw::select& wait) { wait.send(*copy(queue), 3, told); }) == -1);
    CHECK(once([&](hsw::select& wait) { wait.receive(*copy(queue), hear); }) == 3);
    const auto joined = hsw::spawn_joinable([] { return 4; });
    CHECK(once([&](hsw::select& wait) { wait.receive(*copy(joined), hear); }) == 4);
    const hsw::thread::channel<int> far;
    hsw::spawn_detached([&] { far.send(5); });
    CHECK(once([&](hsw::select& wait) { wait.receive(*copy(far), hear); }) == 5);
    // And by one that nobody else has.
    CHECK(once([&](hsw::select& wait) { wait.receive(hsw::spawn_joinable([] { return 6; }), hear); }) == 6);
}

TEST_CASE("bad arguments are told") {
    hsw_run_report report{};
    CHECK(hsw_run_with(nullptr, &report) == HSW_ERR_NULL);
    std::size_t chosen = 0;
    CHECK(hsw_select(nullptr, 1, 0, false, &chosen) == HSW_ERR_NULL);
    CHECK(hsw_select(nullptr, 0, 0, false, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_select(nullptr, 0, HSW_NO_LIMIT, false, &chosen) == HSW_ERR_STATE);
    const hsw::channel<int> talk;
    hsw_case stale{hsw_channel{}, hsw_queue{}, HSW_RECEIVE, nullptr, {}, {}};
    CHECK(hsw_select(&stale, 1, 0, false, &chosen) == HSW_ERR_NULL);
    hsw_case neither{talk.raw(), hsw_queue{}, 0, nullptr, {}, {}};
    CHECK(hsw_select(&neither, 1, 0, false, &chosen) == HSW_ERR_ARGUMENT);
    hsw_case good{talk.raw(), hsw_queue{}, HSW_RECEIVE, nullptr, {}, {}};
    CHECK(hsw_select(&good, 1, 0, false, &chosen) == HSW_ERR_TIMEOUT);
    CHECK(chosen == SIZE_MAX);
    CHECK(talk.balance() == 0);
    CHECK(hsw_now_ns(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_receive_timeout(talk.raw(), 0, nullptr) == HSW_ERR_NULL);
}
