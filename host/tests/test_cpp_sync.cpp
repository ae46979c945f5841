// hardswitch.hpp: locks and their kin, timers and tasklet-local values, with the guards of std.
#include <hardswitch.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <ostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// Every test leaves as many handles as it found.
struct no_leaks {
    std::size_t before = hsw_live_handles();
    std::size_t shared_before = hsw_live_shared_handles();
    ~no_leaks() {
        CHECK(hsw_live_handles() == before);
        CHECK(hsw_live_shared_handles() == shared_before);
    }
};

/// A clock that moves only when it is told to.
hsw::sim_clock stopped_clock() {
    hsw::sim_clock out;
    out.pause();
    out.set(0ns);
    return out;
}

/// Long enough for any machine; a test that works does not wait for it.
constexpr auto LONG = 60s;

/// Counts how many there are.
struct counted {
    static inline std::atomic<int> alive{0};
    explicit counted(int n) : number(n) { ++alive; }
    counted(counted&& other) noexcept : number(other.number) { ++alive; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() { --alive; }
    int number;
};

hsw::local<std::vector<int>> notes;
hsw::local<std::string> greeting([] { return std::string("hello"); });

static_assert(!std::is_copy_constructible_v<hsw::timer> && std::is_nothrow_move_constructible_v<hsw::timer>);
static_assert(!std::is_copy_constructible_v<hsw::local<int>>);
static_assert(std::is_copy_constructible_v<hsw::lock> && std::is_copy_constructible_v<hsw::queue<std::unique_ptr<int>>>);

} // namespace

TEST_CASE("the guards of std take the locks") {
    const no_leaks check;
    const hsw::lock one;
    hsw::lock two;
    hsw::rlock three;
    {
        const std::lock_guard held(one);
        CHECK(one.is_mine());
        CHECK_FALSE(one.try_lock());
        CHECK_FALSE(one.try_lock_for(1ms));
        CHECK_FALSE(one.try_lock_until(std::chrono::steady_clock::now() + 1ms));
        CHECK_FALSE(one.try_lock_until(std::chrono::steady_clock::time_point::min()));
        CHECK_FALSE(one.try_lock_until(std::chrono::system_clock::now() - 1h));
        CHECK_FALSE(one.try_lock_for(-1h));
    }
    CHECK_FALSE(one.is_locked());
    {
        const std::scoped_lock held(one, two, three);
        CHECK((one.is_mine() && two.is_mine() && three.is_mine()));
        const std::lock_guard again(three);
    }
    CHECK_FALSE(three.is_locked());
    {
        std::unique_lock held(two, 5ms);
        CHECK(held.owns_lock());
        const std::unique_lock other(two, std::try_to_lock);
        CHECK_FALSE(other.owns_lock());
        held.unlock();
        CHECK(two.try_lock_for(std::chrono::hours::max()));
        two.unlock();
        held.lock();
        // Copies are handles of the same lock.
        const hsw::lock copy = two;
        CHECK(copy.is_mine());
    }
    CHECK_FALSE(two.is_locked());
}

TEST_CASE("what is not held cannot be unlocked, and a lock that was moved away is none") {
    const no_leaks check;
    hsw::lock lock;
    CHECK_THROWS_WITH_AS(lock.unlock(), "the lock is not held", hsw::state_error);
    const hsw::rlock mine;
    mine.lock();
    std::thread([mine] { CHECK_THROWS_AS(mine.unlock(), hsw::state_error); }).join();
    mine.unlock();
    CHECK_THROWS_AS(mine.unlock(), hsw::state_error);
    const hsw::lock taken = std::move(lock);
    CHECK_THROWS_AS(lock.lock(), hsw::usage_error);
    taken.lock();
    CHECK_THROWS_AS(hsw::bounded_semaphore(3).release(), hsw::state_error);
    CHECK_THROWS_AS(hsw::semaphore(SIZE_MAX), hsw::usage_error);
}

TEST_CASE("an exception gives the lock to who waits, and a killed tasklet lets go of it") {
    const no_leaks check;
    const hsw::lock lock;
    std::string order;
    hsw::spawn_detached([lock, &order] {
        const std::lock_guard held(lock);
        hsw::schedule();
        order += "a";
        throw std::runtime_error("with the lock in hand");
    });
    hsw::spawn_detached([lock, &order] {
        const std::lock_guard held(lock);
        order += "b";
    });
    CHECK_THROWS_WITH_AS(hsw::run(), "with the lock in hand", std::runtime_error);
    hsw::run();
    CHECK(order == "ab");
    hsw::tasklet killed = hsw::spawn([lock] {
        const std::lock_guard held(lock);
        hsw::schedule_remove();
    });
    hsw::run();
    CHECK(lock.is_locked());
    hsw::spawn_detached([lock, &order] {
        const std::lock_guard held(lock);
        order += "c";
    });
    hsw::run();
    CHECK(lock.waiting() == 1);
    killed.kill();
    hsw::run();
    CHECK(order == "abc");
    CHECK_FALSE(lock.is_locked());
}

TEST_CASE("a condition is waited for with a predicate, a time, or both") {
    const no_leaks check;
    const hsw::lock lock;
    const hsw::condition changed;
    int value = 0;
    std::vector<int> seen;
    for (int wanted = 1; wanted <= 3; ++wanted) {
        hsw::spawn_detached([=, &value, &seen] {
            std::unique_lock held(lock);
            changed.wait(held, [&] { return value >= wanted; });
            seen.push_back(wanted);
        });
    }
    hsw::run();
    CHECK(changed.waiting() == 3);
    for (int i = 0; i < 3; ++i) {
        {
            const std::lock_guard held(lock);
            ++value;
        }
        changed.notify_all();
        hsw::run();
        CHECK(seen.size() == static_cast<std::size_t>(value));
    }
    CHECK(seen == std::vector<int>{1, 2, 3});

    std::unique_lock held(lock);
    CHECK(changed.wait_for(held, 0ms) == std::cv_status::timeout);
    CHECK(changed.wait_for(held, -1s) == std::cv_status::timeout);
    CHECK(changed.wait_for(held, 2ms) == std::cv_status::timeout);
    CHECK(changed.wait_until(held, std::chrono::steady_clock::now() + 2ms) == std::cv_status::timeout);
    CHECK_FALSE(changed.wait_for(held, 2ms, [] { return false; }));
    CHECK(changed.wait_for(held, 2ms, [] { return true; }));
    CHECK_FALSE(changed.wait_until(held, std::chrono::steady_clock::now(), [] { return false; }));
    CHECK(held.owns_lock());
    CHECK(lock.is_mine());
    // Notified in time, with the longest of times.
    for (const auto limit : {std::chrono::nanoseconds(LONG), std::chrono::nanoseconds::max(), 290 * 365 * 24h + 0ns}) {
        bool done = false;
        hsw::spawn_detached([=, &done] {
            const std::lock_guard inner(lock);
            done = true;
            changed.notify_one();
        });
        CHECK(changed.wait_for(held, limit, [&] { return done; }));
    }
    CHECK(lock.is_mine());
}

TEST_CASE("a wait that throws leaves the lock, and the guard empty") {
    const no_leaks check;
    const hsw::lock lock;
    const hsw::condition never;
    bool owned = true;
    hsw::tasklet waiter = hsw::spawn([=, &owned] {
        std::unique_lock held(lock);
        try {
            never.wait(held);
        } catch (...) {
            owned = held.owns_lock();
            throw;
        }
    });
    hsw::run();
    lock.lock(); // somebody else's when the guard goes
    waiter.kill();
    CHECK_FALSE(owned);
    CHECK(lock.is_mine());
    lock.unlock();
    waiter = hsw::spawn([=] {
        std::unique_lock held(lock);
        CHECK_THROWS_AS(never.wait(held), std::out_of_range);
        held = std::unique_lock(lock); // it can be taken anew
        CHECK(lock.is_mine());
    });
    hsw::run();
    waiter.raise(std::out_of_range("too far"));
    hsw::run();
    CHECK_FALSE(lock.is_locked());

    // Without the lock, and without any.
    std::unique_lock<const hsw::lock> none(lock, std::defer_lock);
    CHECK_THROWS_AS(never.wait(none), hsw::state_error);
    std::unique_lock<hsw::lock> nothing;
    CHECK_THROWS_AS(never.wait(nothing), hsw::usage_error);
    // Somebody else's, claimed.
    lock.lock();
    std::thread([=] {
        std::unique_lock claimed(lock, std::adopt_lock);
        CHECK_THROWS_AS(never.wait(claimed), hsw::state_error);
        CHECK_FALSE(claimed.owns_lock());
    }).join();
    CHECK(lock.is_mine());
    lock.unlock();
    CHECK(never.waiting() == 0);
}

TEST_CASE("semaphores, events and barriers say whether it was in time") {
    const no_leaks check;
    const hsw::semaphore permits(1);
    permits.acquire();
    CHECK_FALSE(permits.try_acquire());
    CHECK_FALSE(permits.try_acquire_for(1ms));
    CHECK_FALSE(permits.try_acquire_until(std::chrono::steady_clock::now()));
    permits.release(3);
    CHECK(permits.available() == 3);
    CHECK(permits.waiting() == 0);

    const hsw::event ready;
    CHECK_FALSE(ready.wait_for(1ms));
    CHECK_FALSE(ready.wait_until(std::chrono::steady_clock::now()));
    std::thread([ready] { ready.set(); }).join();
    ready.wait();
    CHECK(ready.wait_for(0s));
    ready.clear();
    CHECK_FALSE(ready.is_set());

    const hsw::barrier two(2);
    CHECK_THROWS_AS(two.wait_for(1ms), hsw::timeout);
    CHECK_THROWS_WITH_AS(two.wait(), "the barrier is broken", hsw::broken);
    two.reset();
    int last = 0;
    hsw::spawn_detached([two, &last] { last += two.wait() ? 1 : 0; });
    last += two.wait_for(LONG) ? 1 : 0;
    hsw::run();
    CHECK(last == 1);
    CHECK_FALSE(two.is_broken());
    two.abort();
    CHECK(two.is_broken());
    CHECK(two.parties() == 2);
}

TEST_CASE("a queue moves its values, and destroys each once") {
    const no_leaks check;
    {
        const hsw::queue<counted> queue(2);
        queue.put(counted(1));
        CHECK(queue.try_put(counted(2)));
        CHECK_FALSE(queue.try_put(counted(3)));
        CHECK_FALSE(queue.put_for(counted(3), 1ms));
        CHECK(counted::alive == 2);
        CHECK(queue.get().number == 1);
        CHECK(queue.try_get()->number == 2);
        CHECK_FALSE(queue.try_get().has_value());
        CHECK_FALSE(queue.get_for(1ms).has_value());
        CHECK(counted::alive == 0);
        queue.put(counted(4));
        queue.put(counted(5));
        hsw::tasklet putter = hsw::spawn([queue] { queue.put(counted(6)); });
        hsw::run();
        CHECK(counted::alive > 2);
        putter.kill();
        CHECK(counted::alive == 2);
        queue.close();
        CHECK(queue.closed());
        CHECK_THROWS_AS(queue.put(counted(7)), hsw::closed);
        CHECK_THROWS_AS(queue.try_put(counted(7)), hsw::closed);
        CHECK(queue.next()->number == 4);
        CHECK(queue.size() == 1);
        CHECK(counted::alive == 1);
    }
    CHECK(counted::alive == 0);
    hsw::queue<counted> away(1);
    const hsw::queue<counted> here = std::move(away);
    CHECK_THROWS_AS(away.put(counted(1)), hsw::usage_error);
    CHECK(counted::alive == 0);
    here.close();
    CHECK_FALSE(here.next().has_value());
    CHECK_THROWS_AS(here.get(), hsw::closed);
    const hsw::queue<std::unique_ptr<std::string>> words;
    words.put(std::make_unique<std::string>("moved"));
    CHECK(*words.get() == "moved");
}

TEST_CASE("std::threads and tasklets work on the same things") {
    const no_leaks check;
    constexpr int rounds = 300;
    const hsw::lock lock;
    const hsw::condition changed;
    const hsw::queue<std::string> results(4);
    const hsw::barrier start(3);
    std::vector<std::string> todo; // under the lock
    bool over = false;
    int made = 0;
    const auto worker = [&, lock, changed, results](const std::string& who) {
        for (;;) {
            std::unique_lock held(lock);
            changed.wait(held, [&] { return over || !todo.empty(); });
            if (todo.empty()) {
                return;
            }
            const std::string job = std::move(todo.back());
            todo.pop_back();
            ++made;
            held.unlock();
            results.put(who + job);
        }
    };
    std::thread plain([&] {
        start.wait();
        worker("p");
    });
    std::thread with_tasklets([&] {
        start.wait();
        for (int i = 0; i < 5; ++i) {
            hsw::spawn_detached([&worker] { worker("t"); });
        }
        hsw::run_until_idle();
    });
    int got = 0;
    hsw::spawn_detached([results, &got] {
        while (results.next()) {
            ++got;
        }
    });
    start.wait();
    for (int i = 0; i < rounds; ++i) {
        const std::lock_guard held(lock);
        todo.push_back(std::to_string(i));
        changed.notify_one();
    }
    {
        std::unique_lock held(lock);
        over = true;
        changed.notify_all();
    }
    // Our tasklet must get values meanwhile, or the workers find the queue full.
    while (got < rounds) {
        hsw::tick(10ms);
        hsw::wait(10ms);
    }
    plain.join();
    with_tasklets.join();
    results.close();
    hsw::run_until_idle();
    CHECK(made == rounds);
    CHECK(got == rounds);
}

TEST_CASE("a thread that ends lets its waiting tasklets unwind") {
    const no_leaks check;
    const hsw::lock lock;
    const hsw::condition never;
    const hsw::queue<counted> full(1);
    full.put(counted(0));
    std::atomic<int> unwound{0};
    std::thread([=, &unwound] {
        struct on_exit {
            std::atomic<int>* count;
            ~on_exit() { ++*count; }
        };
        hsw::spawn_detached([=, &unwound] {
            const on_exit at_last{&unwound};
            std::unique_lock held(lock);
            never.wait(held);
        });
        hsw::spawn_detached([=, &unwound] {
            const on_exit at_last{&unwound};
            full.put(counted(1));
        });
        hsw::run();
    }).join();
    CHECK(unwound == 2);
    CHECK(never.waiting() == 0);
    CHECK_FALSE(lock.is_locked());
    CHECK(counted::alive == 1);
    CHECK(full.get().number == 0);
    CHECK_FALSE(full.try_get().has_value());
}

TEST_CASE("a timer is cancelled by its destructor, and comes when it is detached") {
    const no_leaks check;
    const hsw::sim_clock clock = stopped_clock();
    std::string order;
    {
        const hsw::timer gone = clock.call_later(1ms, [&order] { order += "never"; });
        CHECK(gone.pending());
        CHECK(gone.due() == 1ms);
    }
    CHECK(clock.pending() == 0);
    clock.call_later(2ms, [&order] { order += "b"; }).detach();
    hsw::timer kept = clock.call_at(1ms, [&order] { order += "a"; });
    hsw::timer other = clock.call_later(3ms, [&order] { order += "never"; });
    CHECK(clock.next_due() == 1ms);
    other = std::move(kept); // what it had is cancelled
    CHECK_FALSE(kept.pending());
    CHECK_FALSE(kept.cancel());
    clock.advance(5ms);
    CHECK(hsw::tick(1s));
    CHECK(order == "ab");
    CHECK_FALSE(other.pending());
    CHECK_FALSE(other.cancel());
    CHECK_FALSE(clock.next_due().has_value());

    // One that ends itself, by its own object.
    int beats = 0;
    hsw::timer beat = clock.repeat(1ms, [&beats, &beat, kept_alive = std::make_shared<int>(1)] {
        if (++beats == 3) {
            beat = hsw::timer();
            CHECK(*kept_alive == 1); // the function lives until it has returned
        }
    });
    for (int i = 0; i < 6; ++i) {
        clock.advance(1ms);
        hsw::tick(1s);
    }
    CHECK(beats == 3);
    CHECK_THROWS_AS(static_cast<void>(clock.repeat(0ms, [] {})), hsw::usage_error);
    CHECK_THROWS_AS(static_cast<void>(clock.repeat(-1ms, [] {})), hsw::usage_error);
}

TEST_CASE("an exception of a timer's function comes out of the tick") {
    const no_leaks check;
    const hsw::sim_clock clock = stopped_clock();
    int calls = 0;
    const hsw::timer beat = clock.repeat(1ms, [&calls] {
        ++calls;
        throw std::out_of_range("too far");
    });
    for (int i = 1; i <= 2; ++i) {
        clock.advance(1ms);
        CHECK_THROWS_WITH_AS(hsw::tick(1s), "too far", std::out_of_range);
        CHECK(calls == i);
    }
    hsw::tick(1s);
    CHECK(calls == 2);
}

TEST_CASE("simulated time is paused, scaled, put forward and set") {
    const no_leaks check;
    const hsw::sim_clock clock = stopped_clock();
    CHECK(clock.paused());
    CHECK(clock.now() == 0ns);
    bool awake = false;
    hsw::spawn_detached([clock, &awake] {
        clock.sleep(1h);
        awake = true;
    });
    hsw::run();
    clock.advance(59min);
    hsw::tick(1s);
    CHECK_FALSE(awake);
    clock.set(1h);
    hsw::tick(1s);
    CHECK(awake);
    clock.set_scale(1e6); // an hour in 3.6 ms
    CHECK(clock.scale() == 1e6);
    clock.resume();
    CHECK_FALSE(clock.paused());
    clock.sleep_until(2h);
    CHECK(clock.now() >= 2h);
    for (const double scale : {-1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        CHECK_THROWS_AS(clock.set_scale(scale), hsw::usage_error);
    }
    clock.pause();
    clock.set(std::chrono::nanoseconds::max());
    clock.advance(std::chrono::hours::max());
    CHECK(clock.now() == std::chrono::nanoseconds::max());

    const hsw::sim_clock one = hsw::sim_clock::current();
    one.pause();
    CHECK(hsw::sim_clock::current().paused());
    one.resume();
    std::thread([&one] { CHECK_THROWS_AS(one.pause(), hsw::usage_error); }).join();
}

TEST_CASE("timers of wall time come while the loop is driven") {
    const no_leaks check;
    std::string order;
    // Asked for in the order of their times, so that it does not matter how long that takes.
    const hsw::timer past = hsw::call_at(std::chrono::steady_clock::time_point::min(), [&order] { order += "."; });
    hsw::timer first = hsw::call_later(2ms, [&order] { order += "a"; });
    hsw::timer second = hsw::call_at(std::chrono::steady_clock::now() + 4ms, [&order] { order += "b"; });
    const hsw::timer never = hsw::call_later(std::chrono::hours::max(), [&order] { order += "never"; });
    const auto begun = std::chrono::steady_clock::now();
    while (second.pending()) {
        hsw::wait(LONG); // no longer than to the next timer, of which there is one here
        hsw::tick(1s);
    }
    CHECK(order == ".ab");
    CHECK(std::chrono::steady_clock::now() - begun < LONG);
    CHECK(never.pending());
    int beats = 0;
    const hsw::timer beat = hsw::repeat(1ms, [&beats] { ++beats; });
    const hsw::clock wall = hsw::clock::wall();
    const auto before = wall.now();
    wall.sleep(5ms);
    CHECK(wall.now() - before >= 5ms);
    CHECK(beats > 0);
}

TEST_CASE("a tasklet-local value is made when asked for, and goes with its tasklet") {
    const no_leaks check;
    notes->push_back(1);
    CHECK(*greeting == "hello");
    *greeting = "main's";
    std::vector<int> seen;
    for (int i = 10; i < 13; ++i) {
        hsw::spawn_detached([i, &seen] {
            CHECK((notes.find() == nullptr));
            CHECK(*greeting == "hello");
            notes->push_back(i);
            hsw::schedule();
            notes->push_back(i);
            seen.insert(seen.end(), notes->begin(), notes->end());
        });
    }
    hsw::run();
    CHECK(seen == std::vector<int>{10, 10, 11, 11, 12, 12});
    CHECK(*notes == std::vector<int>{1});
    std::thread([] { CHECK(*greeting == "hello"); }).join();
    greeting.set("set");
    CHECK(greeting.get() == "set");
    greeting.reset();
    CHECK((greeting.find() == nullptr));
    CHECK(*greeting == "hello");
    notes.reset();
    greeting.reset();

    {
        const hsw::local<std::shared_ptr<counted>> shared;
        hsw::tasklet t = hsw::spawn([&shared] {
            *shared = std::make_shared<counted>(1);
            hsw::schedule_remove();
        });
        hsw::run();
        CHECK(counted::alive == 1);
        t.kill();
        CHECK(counted::alive == 0);
    }
    const hsw::local<int> fails([]() -> int { throw std::domain_error("no value"); });
    CHECK_THROWS_AS(fails.get(), std::domain_error);
    CHECK((fails.find() == nullptr));
}

namespace {

/// Switches when it is destroyed, and uses the keys.
struct lingering {
    std::string* order = nullptr;
    lingering() = default;
    explicit lingering(std::string* to) : order(to) {}
    lingering(lingering&& other) noexcept : order(std::exchange(other.order, nullptr)) {}
    lingering(const lingering&) = delete;
    lingering& operator=(const lingering&) = delete;
    ~lingering() {
        if (order != nullptr) {
            hsw::schedule();
            *order += *greeting;
        }
    }
};

} // namespace

TEST_CASE("the destructor of a tasklet-local value may switch") {
    const no_leaks check;
    const hsw::local<lingering> key;
    std::string order;
    hsw::spawn_detached([&key, &order] { key.set(lingering(&order)); });
    hsw::spawn_detached([&order] { order += "."; });
    hsw::run();
    CHECK(order == ".hello");
}
