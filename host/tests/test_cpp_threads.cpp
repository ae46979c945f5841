// The C++ header between threads, and what it has for workers, loops and transfer slots.
#include <hardswitch.hpp>

#include "c_helpers.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// A thread that serves its loop until it is told to end.
class server {
public:
    server() {
        std::atomic<bool> ready{false};
        thread_ = std::thread([&] {
            const hsw::thread::attached here;
            loop_.emplace(hsw::loop::current());
            main_ = hsw::main_tasklet().remote();
            id_ = hsw::thread::id();
            ready = true;
            hsw::run_until_stopped();
        });
        while (!ready) {
            std::this_thread::yield();
        }
    }
    ~server() { end(); }
    server(const server&) = delete;
    server& operator=(const server&) = delete;

    void end() {
        if (thread_.joinable()) {
            loop_->stop();
            thread_.join();
        }
    }
    const hsw::loop& loop() const { return *loop_; }
    /// Its main tasklet, for questions.
    const hsw::thread::remote& main() const { return main_; }
    std::uint64_t id() const { return id_; }

private:
    std::thread thread_;
    std::optional<hsw::loop> loop_;
    hsw::thread::remote main_;
    std::uint64_t id_ = 0;
};

} // namespace

TEST_CASE("strings go from thread to thread, whole and in order") {
    const no_leaks check;
    const hsw::thread::channel<std::string> words;
    const hsw::thread::channel<std::size_t> sizes;
    std::thread thread([words, sizes] { // copies: each thread its own
        hsw::spawn_detached([&] {
            for (std::string& word : words) {
                sizes.send(word.size());
                if (word.empty()) {
                    return;
                }
            }
        });
        hsw::run_until_idle();
    });
    for (std::size_t size = 1; size <= 500; ++size) {
        words.send(std::string(size, 'x'));
        REQUIRE(sizes.receive() == size);
    }
    words.send("");
    CHECK(sizes.receive() == 0);
    thread.join();
    words.close();
    CHECK(words.closed());
    CHECK_THROWS_AS(words.receive(), hsw::closed);
    CHECK_FALSE(words.next().has_value());
}

TEST_CASE("close_and_wake ends the loop of a worker on another thread") {
    const no_leaks check;
    const hsw::thread::channel<std::string> work;
    std::size_t done = 0;
    std::thread worker([work, &done] {
        try {
            for (;;) {
                done += work.receive().size();
            }
        } catch (const hsw::closed&) {
        }
    });
    work.send("one");
    work.send("three");
    while (work.balance() == 0) {
        std::this_thread::yield();
    }
    CHECK(work.close_and_wake() == 1);
    worker.join();
    CHECK(done == 8);
}

TEST_CASE("an exception goes from thread to thread as itself") {
    const no_leaks check;
    const hsw::thread::channel<int> numbers;
    std::thread thread([numbers] { numbers.send_exception(std::out_of_range("from another thread")); });
    try {
        numbers.receive();
        FAIL("nothing was thrown");
    } catch (const std::out_of_range& e) {
        CHECK(std::string(e.what()) == "from another thread");
    }
    thread.join();
    CHECK_FALSE(numbers.try_receive().has_value());
    CHECK_FALSE(numbers.try_send(1));
    CHECK_FALSE(numbers.receive_for(1ms).has_value());
    CHECK_FALSE(numbers.send_for(1, -5ms)); // negative times are 0
    numbers.set_preference(hsw::preference::sender);
    CHECK(numbers.preference() == hsw::preference::sender);
    CHECK(numbers.balance() == 0);
    const hsw::thread::channel<int> same = numbers;
    CHECK(same.id() == numbers.id());
}

TEST_CASE("a value that crosses threads is destroyed once, also when its handle was a mistake") {
    const auto value = std::make_shared<int>(1);
    {
        const no_leaks check;
        hsw::thread::channel<std::shared_ptr<int>> values;
        CHECK_FALSE(values.try_send(value));
        const hsw::thread::channel<std::shared_ptr<int>> moved = std::move(values);
        CHECK_THROWS_AS(values.send(value), hsw::usage_error); // NOLINT: of nothing
        CHECK_THROWS_AS(values.send_for(value, 1ms), hsw::usage_error);
        std::thread thread([moved, value] {
            hsw::spawn_detached([moved, value] { moved.send(value); });
            hsw::run();
        });
        thread.join();
        CHECK(moved.balance() == 0);
    }
    CHECK(value.use_count() == 1);
}

TEST_CASE("a thread is asked about its tasklets, and told what to do with them") {
    const no_leaks check;
    server other;
    std::atomic<int> ended{0};
    const hsw::thread::remote worker = other.main().with([&ended](hsw::tasklet&) {
        hsw::options how;
        how.name = "worker";
        hsw::tasklet tasklet = hsw::spawn(
            [&ended] {
                try {
                    for (;;) {
                        hsw::schedule_remove();
                    }
                } catch (const std::runtime_error&) {
                    ended = 1;
                } catch (const hsw::tasklet_exit&) {
                    ended = 2;
                    throw;
                }
            },
            how);
        return tasklet.remote();
    });
    CHECK(worker.alive());
    while (!worker.paused()) {
        std::this_thread::yield();
    }
    CHECK_FALSE(worker.blocked());
    CHECK(worker.with([](hsw::tasklet& it) { return it.name(); }) == "worker");
    CHECK(worker.thread_id() == other.id());
    CHECK_THROWS_AS(worker.with([](hsw::tasklet&) { throw std::logic_error("over there"); }), std::logic_error);
    CHECK_THROWS_AS(worker.tasklet(), hsw::usage_error);
    CHECK_THROWS_AS(worker.switch_to(), hsw::state_error);
    worker.insert();
    worker.run();
    SUBCASE("thrown at") {
        worker.raise(std::runtime_error("stop"));
        while (worker.alive()) {
            std::this_thread::yield();
        }
        CHECK(ended == 1);
    }
    SUBCASE("killed") {
        worker.kill();
        worker.kill(true);
        while (worker.alive()) {
            std::this_thread::yield();
        }
        CHECK(ended == 2);
    }
    SUBCASE("its thread ends") {
        other.end();
        CHECK(ended == 2);
        CHECK_FALSE(worker.alive());
        CHECK(worker.thread_id() == 0);
        CHECK_THROWS_AS(worker.insert(), hsw::state_error);
        CHECK_THROWS_AS(worker.with([](hsw::tasklet&) {}), hsw::state_error);
        worker.kill();
    }
}

TEST_CASE("a function moves to another thread with its tasklet") {
    const no_leaks check;
    server other;
    const auto where = std::make_shared<std::atomic<std::uint64_t>>(0);
    hsw::tasklet tasklet = hsw::tasklet::make();
    tasklet.bind([where] { *where = hsw::thread::id(); });
    CHECK_THROWS_AS(tasklet.bind_thread(other.id()), hsw::state_error);
    tasklet.bind_send([where] { *where = hsw::thread::id(); });
    const hsw::thread::remote moved = tasklet.bind_thread(other.id());
    CHECK(moved.thread_id() == other.id());
    moved.setup();
    while (*where == 0) {
        std::this_thread::yield();
    }
    CHECK(*where == other.id());
    while (moved.alive()) {
        std::this_thread::yield();
    }
    // It has ended, and can be bound again from here.
    moved.bind([where] { *where = 1; }, true);
    CHECK(moved.paused());
    moved.unbind();
    CHECK_FALSE(moved.alive());
    CHECK_THROWS_AS(moved.bind_thread(0), hsw::state_error);
    while (where.use_count() > 1) {
        std::this_thread::yield();
    }
}

TEST_CASE("threads are listed, with what is known of them") {
    const no_leaks check;
    server other;
    const auto listed = hsw::thread::list();
    CHECK(std::find(listed.begin(), listed.end(), hsw::thread::id()) != listed.end());
    CHECK(std::find(listed.begin(), listed.end(), other.id()) != listed.end());
    const hsw::thread::info known = hsw::thread::get_info(other.id());
    CHECK(known.tasklets == 1);
    CHECK(known.main_tasklet.tasklet_id() == other.main().tasklet_id());
    CHECK(known.current.thread_id() == other.id());
    CHECK_THROWS_AS(hsw::thread::get_info(0), hsw::state_error);
}

TEST_CASE("what another thread posts is called here, and what it throws comes out of the run") {
    const no_leaks check;
    const hsw::loop here = hsw::loop::current();
    std::vector<int> seen;
    std::thread thread([here, &seen] {
        for (int i = 0; i < 3; ++i) {
            here.post([&seen, i] { seen.push_back(i); });
        }
        here.post([] { throw std::out_of_range("posted"); });
    });
    thread.join();
    CHECK(hsw::wait(0ms) >= 4); // and what other threads gave back meanwhile
    CHECK(seen == std::vector<int>{0, 1, 2});
    CHECK_THROWS_AS(hsw::run(), std::out_of_range);

    std::thread interrupter([here] { here.interrupt(); });
    const auto begin = std::chrono::steady_clock::now();
    hsw::wait(60s);
    CHECK(std::chrono::steady_clock::now() - begin < 30s);
    interrupter.join();

    here.stop();
    hsw::run_until_stopped(); // ends at once
    {
        const hsw::work work = here.work();
        const hsw::work other = work;
        CHECK_FALSE(hsw::loop_info().idle);
    }
    CHECK(hsw::loop_info().idle);

    std::optional<hsw::loop> gone;
    std::thread([&gone] { gone.emplace(hsw::loop::current()); }).join();
    const auto value = std::make_shared<int>(1);
    CHECK_THROWS_AS(gone->post([value] {}), hsw::state_error);
    CHECK(value.use_count() == 1);
    gone->interrupt();
}

TEST_CASE("a pool of one's own, with a bound and an end") {
    const no_leaks check;
    hsw::pool_settings settings = hsw::console_pool_settings();
    settings.threads = 0;
    CHECK_THROWS_AS(hsw::pool{settings}, hsw::error);
    settings.threads = 1;
    const hsw::pool pool(settings);
    CHECK(pool.settings().threads == 1);
    CHECK(pool.threads() == 0);
    CHECK(hsw::offload_call([] { return std::string("done"); }).on(pool).wait() == "done");
    CHECK(pool.threads() == 1);
    CHECK(pool.waiting() == 0);
    CHECK_THROWS_AS(hsw::offload_call([]() -> int { throw std::out_of_range("there"); }).on(pool).wait(), std::out_of_range);
    auto twice = hsw::offload_call([] { return 1; });
    twice.on(pool);
    CHECK(twice.wait() == 1);
    CHECK_THROWS_AS(twice.wait(), hsw::usage_error);
    pool.shutdown();
    pool.shutdown(true);
    CHECK_THROWS_AS(hsw::offload_call([] { return 1; }).on(pool).wait(), hsw::closed);
    CHECK_THROWS_AS(hsw::configure_offload(hsw::pool::of_process().settings()), hsw::error);
}

TEST_CASE("the outcome of an abandoned call goes to its callback") {
    const no_leaks check;
    const hsw::pool pool(hsw::console_pool_settings());
    const auto go = std::make_shared<std::atomic<bool>>(false);
    const auto slow = [go](int answer) {
        while (!*go) {
            std::this_thread::yield();
        }
        if (answer == 0) {
            throw std::logic_error("too late");
        }
        return answer;
    };
    std::vector<int> got;
    CHECK_THROWS_AS(hsw::offload_call([slow] { return slow(7); })
                        .on(pool)
                        .timeout(1ms)
                        .on_abandoned([&](auto outcome) { got.push_back(outcome.get()); })
                        .wait(),
                    hsw::timeout);
    CHECK(got.empty());
    *go = true;
    hsw::run_until_idle();
    CHECK(got == std::vector<int>{7});
    // What it throws comes out of a run: here what the function threw.
    *go = false;
    CHECK_THROWS_AS(hsw::offload_call([slow] { return slow(0); })
                        .on(pool)
                        .timeout(1ms)
                        .on_abandoned([&](auto outcome) { got.push_back(outcome.get()); })
                        .wait(),
                    hsw::timeout);
    *go = true;
    CHECK_THROWS_AS(hsw::run_until_idle(), std::logic_error);
    CHECK(got.size() == 1);
}

TEST_CASE("a host lock lets one thread run at a time") {
    const no_leaks check;
    hsw::thread::host_lock_settings settings{};
    settings.switches = 2;
    settings.time_ns = HSW_NO_LIMIT;
    const hsw::thread::host_lock lock(settings);
    const auto events = std::make_shared<std::atomic<int>>(0);
    lock.set_hook([events](const hsw_host_lock_event&) { ++*events; });
    int shared = 0; // no atomic: the lock alone keeps it whole
    const auto work = [&shared, lock] {
        lock.join();
        for (int t = 0; t < 2; ++t) {
            hsw::spawn_detached([&shared] {
                for (int i = 0; i < 1000; ++i) {
                    const hsw::atomic whole;
                    const int seen = shared;
                    hsw::thread::allow_threads([] {}); // asked for: given up all the same
                    static_cast<void>(seen);
                    ++shared;
                }
            });
        }
        hsw::run();
        CHECK(hsw::thread::host_lock::current().has_value());
        lock.leave();
        CHECK_FALSE(hsw::thread::host_lock::current().has_value());
    };
    std::thread first(work);
    std::thread second(work);
    first.join();
    second.join();
    CHECK(shared == 4000);
    CHECK(lock.stats().acquired >= 4000);
    CHECK(*events >= 8000);
    lock.clear_hook();
    CHECK(events.use_count() == 1);
    CHECK(hsw::thread::allow_threads([] { return std::string("plain"); }) == "plain");
    CHECK_THROWS_AS(hsw::thread::allow_threads([] { throw std::out_of_range("inside"); }), std::out_of_range);
}

TEST_CASE("tasklets that end with their thread unwind, and their destructors may use the library") {
    struct says_goodbye {
        hsw::queue<std::string> to;
        hsw::channel<int> mine;
        ~says_goodbye() {
            // Neither waits: who is dying cannot.
            to.put(hsw::current().name() + (mine.try_send(1) ? " sent" : " leaves"));
        }
    };
    for (const bool attached : {true, false}) {
        CAPTURE(attached);
        const hsw::queue<std::string> farewells;
        std::thread there([attached, to = farewells] {
            std::optional<hsw::thread::attached> part;
            if (attached) {
                part.emplace();
            }
            for (const bool own : {false, true}) {
                hsw::options how;
                how.name = own ? "one" : "other";
                how.own_stack = own;
                hsw::spawn_detached(
                    [to] {
                        const says_goodbye frame{to, {}};
                        hsw::sleep(std::chrono::hours(1));
                    },
                    how);
            }
            hsw::run();
        });
        CHECK(farewells.get() == "other leaves");
        CHECK(farewells.get() == "one leaves");
        there.join();
    }
}

TEST_CASE("values wait in transfer slots") {
    const no_leaks check;
    auto counted = std::make_shared<int>(0);
    std::unique_ptr<std::shared_ptr<int>> got;
    hsw::tasklet tasklet = hsw::spawn([&got, counted] { got = hsw::schedule_remove_with(std::make_unique<std::shared_ptr<int>>(counted)); });
    hsw::run();
    CHECK(tasklet.paused());
    CHECK((*tasklet.take_tempval<std::shared_ptr<int>>() == counted));
    CHECK(tasklet.take_tempval<std::shared_ptr<int>>() == nullptr);
    tasklet.set_tempval(std::make_unique<std::shared_ptr<int>>(counted));
    tasklet.set_tempval(std::make_unique<std::shared_ptr<int>>(std::make_shared<int>(5))); // the other one is destroyed
    tasklet.run();
    REQUIRE(got);
    CHECK(**got == 5);
    CHECK(*hsw::schedule_with(std::make_unique<int>(3)) == 3);
    CHECK(counted.use_count() == 1);
    CHECK_THROWS_AS(hsw::tasklet().set_tempval(std::make_unique<int>(1)), hsw::usage_error);
}

TEST_CASE("spawn sites and listings are for people") {
    const no_leaks check;
    CHECK_FALSE(hsw_set_statistics(true));
    const unsigned here = __LINE__ + 1;
    const hsw::tasklet spawned = hsw::spawn([] { hsw::schedule_remove(); });
    const hsw::tasklet made = hsw::tasklet::make();
    CHECK(hsw_set_statistics(false));
    CHECK(spawned.site() == std::pair<std::string, unsigned>(__FILE__, here));
    CHECK(made.site() == std::pair<std::string, unsigned>(__FILE__, here + 1));
    hsw::run();
    CHECK(spawned.stats().switches == 1);
    CHECK(spawned.thread_id() == hsw::thread::id());
    const std::string text = hsw::dump_tasklets();
    CAPTURE(text);
    CHECK(has(text, "paused"));
    CHECK(std::count(text.begin(), text.end(), '\n') == 1 + static_cast<std::ptrdiff_t>(hsw::stats().tasklets));
    CHECK(has(hsw::dump_tasklets(true), "switched to 1 times"));
    CHECK(hsw::counters().tasklets_made >= 3);
}

TEST_CASE("a select has cases of channels between threads") {
    const no_leaks check;
    const hsw::thread::channel<std::string> words;
    const hsw::thread::channel<std::shared_ptr<int>> numbers;
    const hsw::channel<int> here;
    const auto kept = std::make_shared<int>(7);
    std::string log;
    const auto go = [&](std::chrono::nanoseconds limit) {
        hsw::select wait;
        wait.receive(words, [&](std::string word) { log += "w" + word; });
        wait.send(numbers, kept, [&] { log += "n"; });
        wait.receive(here, [&](int value) { log += "h" + std::to_string(value); });
        return wait.perform_for(limit);
    };
    CHECK_FALSE(go(0ms));
    CHECK_FALSE(go(1ms));
    CHECK(kept.use_count() == 1); // what was not sent is destroyed
    CHECK(words.balance() == 0);
    CHECK(numbers.balance() == 0);
    hsw::spawn_detached([&] { here.send(1); });
    CHECK(go(60s));
    std::thread other([words, numbers] {
        const hsw::thread::attached attached;
        while (words.balance() == 0) {
            std::this_thread::yield();
        }
        words.send("x");
        // And the other way round: a select here, an operation there.
        hsw::select wait;
        int got = 0;
        wait.receive(words, [](std::string) {});
        wait.receive(numbers, [&](std::shared_ptr<int> value) { got = *value; });
        wait.perform();
        CHECK(got == 7);
    });
    CHECK(go(60s));
    numbers.send(kept);
    other.join();
    CHECK(kept.use_count() == 1);
    CHECK(log == "h1wx");
    std::thread closer([words] {
        const hsw::thread::attached attached;
        while (words.balance() == 0) {
            std::this_thread::yield();
        }
        words.close_and_wake();
    });
    CHECK_THROWS_AS(go(60s), hsw::closed);
    closer.join();
    CHECK(kept.use_count() == 1);
    CHECK(numbers.balance() == 0);
}
