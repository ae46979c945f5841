// The C interface between threads: channels, references to tasklets, threads, loops, worker pools, the host lock. Used, and misused.
#include <hardswitch.h>

#include "c_helpers.hpp"
#include "slices.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t MS = 1'000'000;
/// Long enough for any machine; a test that works does not wait for it.
constexpr std::uint64_t LONG = 60'000 * MS;
/// What becomes of negative times.
constexpr std::uint64_t NEGATIVE[] = {static_cast<std::uint64_t>(-2), static_cast<std::uint64_t>(INT64_MIN)};

hsw_thread_channel new_thread_channel(hsw_destroy destroy = nullptr) {
    hsw_thread_channel out{};
    REQUIRE(hsw_thread_channel_new(destroy, &out) == HSW_OK);
    return out;
}
hsw_thread_channel another(hsw_thread_channel channel) {
    hsw_thread_channel out{};
    REQUIRE(hsw_thread_channel_retain(channel, &out) == HSW_OK);
    return out;
}
hsw_remote remote_of(hsw_tasklet tasklet) {
    hsw_remote out{};
    REQUIRE(hsw_tasklet_remote(tasklet, &out) == HSW_OK);
    return out;
}
hsw_loop current_loop() {
    hsw_loop out{};
    REQUIRE(hsw_loop_current(&out) == HSW_OK);
    return out;
}
std::ptrdiff_t balance(hsw_thread_channel channel) {
    std::ptrdiff_t out = 0;
    REQUIRE(hsw_thread_channel_balance(channel, &out) == HSW_OK);
    return out;
}
std::uint32_t remote_state(hsw_remote remote) {
    std::uint32_t out = 0;
    REQUIRE(hsw_remote_state(remote, &out) == HSW_OK);
    return out;
}

/// Sums up what is freed, by any thread.
struct atomic_counted {
    std::atomic<int>* freed;
};
void destroy_atomic(void* data) {
    auto* const it = static_cast<atomic_counted*>(data);
    ++*it->freed;
    delete it;
}
/// A std::function without a result, as what a thread is asked to do.
void call_void(void* argument) { (*static_cast<std::function<void()>*>(argument))(); }
void call_with(hsw_tasklet tasklet, void* argument) { (*static_cast<std::function<void(hsw_tasklet)>*>(argument))(tasklet); }
void destroy_with(void* argument) { delete static_cast<std::function<void(hsw_tasklet)>*>(argument); }

hsw_status post(hsw_loop loop, std::function<hsw_status()> function) {
    return hsw_loop_post(loop, &call_function, new std::function<hsw_status()>(std::move(function)), &destroy_function);
}
hsw_status with(hsw_remote remote, std::function<void(hsw_tasklet)> function) {
    return hsw_remote_with(remote, &call_with, new std::function<void(hsw_tasklet)>(std::move(function)), &destroy_with);
}

/// A thread that serves its loop until it is told to end.
class server {
public:
    server() {
        std::atomic<bool> ready{false};
        thread_ = std::thread([&] {
            loop_ = current_loop();
            id_ = hsw_thread_id();
            ready = true;
            CHECK(hsw_run_until_stopped() == HSW_OK);
            CHECK(hsw_thread_exit() == HSW_OK);
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
            CHECK(hsw_loop_stop(loop_) == HSW_OK);
            thread_.join();
            CHECK(hsw_loop_release(loop_) == HSW_OK);
        }
    }
    /// Runs `function` there, and waits until it has.
    void call(std::function<void()> function) {
        std::atomic<bool> done{false};
        REQUIRE(post(loop_, [&] {
                    function();
                    done = true;
                    return HSW_OK;
                }) == HSW_OK);
        while (!done) {
            std::this_thread::yield();
        }
    }
    hsw_loop loop() const { return loop_; }
    std::uint64_t id() const { return id_; }

private:
    std::thread thread_;
    hsw_loop loop_{};
    std::uint64_t id_ = 0;
};

} // namespace

TEST_CASE("null, stale and wrong handles are an error code in every function of this part") {
    const no_leaks check;
    const hsw_thread_channel channel{};
    const hsw_remote remote{};
    const hsw_loop loop{};
    const hsw_work work{};
    const hsw_pool pool{};
    const hsw_host_lock lock{};
    hsw_thread_channel channel_out{};
    hsw_remote remote_out{};
    hsw_loop loop_out{};
    hsw_work work_out{};
    hsw_pool pool_out{};
    hsw_host_lock lock_out{};
    hsw_tasklet tasklet_out{};
    hsw_pool_settings pool_settings{};
    hsw_host_lock_stats stats{};
    void* value = nullptr;
    bool flag = false;
    std::int32_t whole = 0;
    std::ptrdiff_t difference = 0;
    std::size_t size = 0;
    std::uint64_t id = 0;
    std::uint32_t bits = 0;
    const auto same = [&](hsw_status expected) {
        CHECK(hsw_thread_channel_retain(channel, &channel_out) == expected);
        CHECK(hsw_thread_channel_release(channel) == expected);
        CHECK(hsw_thread_channel_send(channel, nullptr) == expected);
        CHECK(hsw_thread_channel_send_timeout(channel, nullptr, 1) == expected);
        CHECK(hsw_thread_channel_try_send(channel, nullptr) == expected);
        CHECK(hsw_thread_channel_send_throw(channel, nullptr, nullptr, nullptr) == expected);
        CHECK(hsw_thread_channel_send_sequence(channel, nullptr, 0, &size) == expected);
        CHECK(hsw_thread_channel_receive(channel, &value) == expected);
        CHECK(hsw_thread_channel_receive_timeout(channel, 1, &value) == expected);
        CHECK(hsw_thread_channel_try_receive(channel, &value) == expected);
        CHECK(hsw_thread_channel_next(channel, &value) == expected);
        CHECK(hsw_thread_channel_preference(channel, &whole) == expected);
        CHECK(hsw_thread_channel_set_preference(channel, 0) == expected);
        CHECK(hsw_thread_channel_schedule_all(channel, &flag) == expected);
        CHECK(hsw_thread_channel_set_schedule_all(channel, true) == expected);
        CHECK(hsw_thread_channel_close(channel) == expected);
        CHECK(hsw_thread_channel_close_and_wake(channel, &size) == expected);
        CHECK(hsw_thread_channel_open(channel) == expected);
        CHECK(hsw_thread_channel_is_closing(channel, &flag) == expected);
        CHECK(hsw_thread_channel_is_closed(channel, &flag) == expected);
        CHECK(hsw_thread_channel_balance(channel, &difference) == expected);
        CHECK(hsw_thread_channel_id(channel, &size) == expected);
        CHECK(hsw_remote_retain(remote, &remote_out) == expected);
        CHECK(hsw_remote_release(remote) == expected);
        CHECK(hsw_remote_insert(remote) == expected);
        CHECK(hsw_remote_run(remote) == expected);
        CHECK(hsw_remote_setup(remote) == expected);
        CHECK(hsw_remote_remove(remote) == expected);
        CHECK(hsw_remote_kill(remote, false) == expected);
        CHECK(hsw_remote_throw(remote, nullptr, nullptr, nullptr, true) == expected);
        CHECK(hsw_remote_state(remote, &bits) == expected);
        CHECK(hsw_remote_tasklet_id(remote, &size) == expected);
        CHECK(hsw_remote_thread_id(remote, &id) == expected);
        CHECK(hsw_remote_with(remote, [](hsw_tasklet, void*) {}, nullptr, nullptr) == expected);
        CHECK(hsw_remote_bind(remote, &return_ok, nullptr, nullptr, false) == expected);
        CHECK(hsw_remote_unbind(remote) == expected);
        CHECK(hsw_remote_bind_thread(remote, 1) == expected);
        CHECK(hsw_remote_tasklet(remote, &tasklet_out) == expected);
        CHECK(hsw_remote_switch(remote) == expected);
        CHECK(hsw_loop_retain(loop, &loop_out) == expected);
        CHECK(hsw_loop_release(loop) == expected);
        CHECK(hsw_loop_post(loop, &return_ok, nullptr, nullptr) == expected);
        CHECK(hsw_loop_interrupt(loop) == expected);
        CHECK(hsw_loop_stop(loop) == expected);
        CHECK(hsw_loop_work(loop, &work_out) == expected);
        CHECK(hsw_work_retain(work, &work_out) == expected);
        CHECK(hsw_work_release(work) == expected);
        CHECK(hsw_pool_retain(pool, &pool_out) == expected);
        CHECK(hsw_pool_release(pool) == expected);
        CHECK(hsw_pool_shutdown(pool, true) == expected);
        CHECK(hsw_pool_get_settings(pool, &pool_settings) == expected);
        CHECK(hsw_pool_load(pool, &size, nullptr) == expected);
        CHECK(hsw_host_lock_retain(lock, &lock_out) == expected);
        CHECK(hsw_host_lock_release(lock) == expected);
        CHECK(hsw_host_lock_join(lock) == expected);
        CHECK(hsw_host_lock_leave(lock) == expected);
        CHECK(hsw_host_lock_install(lock) == expected);
        CHECK(hsw_host_lock_get_stats(lock, &stats) == expected);
        hsw_host_lock_settings settings{};
        CHECK(hsw_host_lock_get_settings(lock, &settings) == expected);
        CHECK(hsw_host_lock_set_hook(lock, nullptr, nullptr, nullptr) == expected);
    };
    SUBCASE("null") { same(HSW_ERR_NULL); }
    SUBCASE("out-parameters and functions") {
        const hsw_thread_channel good = new_thread_channel();
        const hsw_loop good_loop = current_loop();
        const hsw_tasklet tasklet = spawn([] { return HSW_OK; });
        const hsw_remote good_remote = remote_of(tasklet);
        CHECK(hsw_thread_channel_new(nullptr, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_thread_channel_retain(good, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_thread_channel_receive(good, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_thread_channel_receive_timeout(good, 1, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_thread_channel_next(good, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_thread_channel_send_sequence(good, nullptr, 1, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_thread_channel_balance(good, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_tasklet_remote(tasklet, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_remote_with(good_remote, nullptr, nullptr, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_remote_bind(good_remote, nullptr, nullptr, nullptr, false) == HSW_ERR_NULL);
        CHECK(hsw_remote_state(good_remote, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_tasklet_bind_thread(tasklet, 1, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_loop_post(good_loop, nullptr, nullptr, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_loop_current(nullptr) == HSW_ERR_NULL);
        CHECK(hsw_loop_work(good_loop, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_get_loop_info(nullptr) == HSW_ERR_NULL);
        CHECK(hsw_threads(nullptr, 1, &size) == HSW_ERR_NULL);
        CHECK(hsw_threads(nullptr, 0, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_thread_get_info(hsw_thread_id(), nullptr) == HSW_ERR_NULL);
        CHECK(hsw_offload_with(nullptr, &value) == HSW_ERR_NULL);
        CHECK(hsw_pool_new(nullptr, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_host_lock_new(nullptr, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_allow_threads(nullptr, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_dump_tasklets(nullptr, nullptr, false) == HSW_ERR_NULL);
        // What was given away with the failed calls is freed.
        int freed = 0;
        CHECK(hsw_loop_post(good_loop, nullptr, new counted{&freed}, &destroy_counted) == HSW_ERR_NULL);
        CHECK(hsw_remote_with(hsw_remote{}, [](hsw_tasklet, void*) {}, new counted{&freed}, &destroy_counted) == HSW_ERR_NULL);
        CHECK(freed == 2);
        CHECK(hsw_thread_channel_release(good) == HSW_OK);
        CHECK(hsw_loop_release(good_loop) == HSW_OK);
        CHECK(hsw_remote_release(good_remote) == HSW_OK);
        CHECK(hsw_run() == HSW_OK);
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
}

TEST_CASE("a handle of the process is stale for all threads once it was released, also when its slot is used again") {
    const no_leaks check;
    const hsw_thread_channel first = new_thread_channel();
    on_new_thread([&] {
        CHECK(hsw_thread_channel_release(first) == HSW_OK);
        CHECK(hsw_thread_channel_release(first) == HSW_ERR_STALE);
    });
    const hsw_thread_channel second = new_thread_channel();
    CHECK(first.handle != second.handle);
    CHECK(hsw_thread_channel_close(first) == HSW_ERR_STALE);
    CHECK(last_message() == "the channel between threads handle is stale: it was released, or never was one");
    // Of another kind, and never made.
    CHECK(hsw_loop_interrupt(hsw_loop{second.handle}) == HSW_ERR_WRONG_KIND);
    CHECK(hsw_channel_close(hsw_channel{second.handle}) == HSW_ERR_WRONG_KIND);
    CHECK(hsw_thread_channel_close(hsw_thread_channel{second.handle | (std::uint64_t{7} << 43)}) == HSW_ERR_STALE);
    CHECK(hsw_thread_channel_close(hsw_thread_channel{0xdeadbeef}) == HSW_ERR_STALE);
    CHECK(hsw_thread_channel_release(second) == HSW_OK);
}

namespace {

/// Values of the next test that exist.
std::atomic<int> alive{0};
void* make_value() {
    ++alive;
    return new int(1);
}
void destroy_value(void* value) {
    --alive;
    delete static_cast<int*>(value);
}

/// Makes, uses, retains and gives back queues whose handles all threads know, some of them stale, some of them wrong in one bit.
void use_known_handles(std::array<std::atomic<std::uint64_t>, 16>& known, unsigned seed, int rounds, std::atomic<int>& found) {
    std::minstd_rand random(seed);
    const auto known_as = [&](hsw_sync_queue fresh) {
        static_cast<void>(hsw_sync_queue_release({known[random() % known.size()].exchange(fresh.handle)}));
    };
    for (int i = 0; i < rounds; ++i) {
        hsw_sync_queue queue{known[random() % known.size()].load()};
        hsw_sync_queue fresh{};
        void* value = nullptr;
        switch (random() % 7) {
        case 0:
            REQUIRE(hsw_sync_queue_new(4, &destroy_value, &fresh) == HSW_OK);
            known_as(fresh);
            break;
        case 1:
            if (hsw_sync_queue_retain(queue, &fresh) == HSW_OK) {
                known_as(fresh);
            }
            break;
        case 2:
            static_cast<void>(hsw_sync_queue_release(queue));
            break;
        case 3:
            value = make_value();
            if (const hsw_status status = hsw_sync_queue_put(queue, value, 0); status == HSW_ERR_TIMEOUT || status >= HSW_ERR_NULL) {
                destroy_value(value); // still ours
            }
            break;
        case 4:
            queue.handle ^= std::uint64_t{1} << (random() % 64);
            [[fallthrough]];
        default:
            if (hsw_sync_queue_get(queue, 0, &value) == HSW_OK) {
                destroy_value(value);
                ++found;
            }
        }
    }
}

} // namespace

TEST_CASE("threads that make, use and give back the same handles find the object or none") {
    const no_leaks check;
    std::array<std::atomic<std::uint64_t>, 16> known{};
    std::atomic<int> found{0};
    std::vector<std::thread> threads;
    for (unsigned seed = 1; seed <= 4; ++seed) {
        threads.emplace_back([&, seed] { use_known_handles(known, seed, 10000, found); });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const auto& handle : known) {
        static_cast<void>(hsw_sync_queue_release({handle.load()}));
    }
    CHECK(found > 0);
    CHECK(alive == 0);
}

TEST_CASE("values cross threads, both ways, in order") {
    const no_leaks check;
    const hsw_thread_channel there = new_thread_channel();
    const hsw_thread_channel back = new_thread_channel();
    const hsw_thread_channel their_end = another(there);
    const hsw_thread_channel their_back = another(back);
    std::thread thread([&] {
        spawn([&] {
            void* value = nullptr;
            hsw_status status = HSW_OK;
            while ((status = hsw_thread_channel_receive(their_end, &value)) == HSW_OK && value != nullptr) {
                status = hsw_thread_channel_send(their_back, number(reinterpret_cast<std::uintptr_t>(value) * 2));
                if (status != HSW_OK) {
                    return status;
                }
            }
            return status;
        });
        CHECK(hsw_run_until_idle() == HSW_OK);
        CHECK(hsw_thread_channel_release(their_end) == HSW_OK);
        CHECK(hsw_thread_channel_release(their_back) == HSW_OK);
    });
    for (std::uintptr_t i = 1; i <= 1000; ++i) {
        REQUIRE(hsw_thread_channel_send(there, number(i)) == HSW_OK);
        void* value = nullptr;
        REQUIRE(hsw_thread_channel_receive(back, &value) == HSW_OK);
        REQUIRE(value == number(2 * i));
    }
    CHECK(hsw_thread_channel_send(there, nullptr) == HSW_OK);
    thread.join();
    CHECK(hsw_thread_channel_release(there) == HSW_OK);
    CHECK(hsw_thread_channel_release(back) == HSW_OK);
}

TEST_CASE("a channel between threads has the settings and the errors of a local one") {
    const no_leaks check;
    const hsw_thread_channel channel = new_thread_channel();
    std::int32_t preference = 0;
    bool flag = true;
    void* value = nullptr;
    CHECK(hsw_thread_channel_preference(channel, &preference) == HSW_OK);
    CHECK(preference == HSW_PREFER_RECEIVER);
    CHECK(hsw_thread_channel_set_preference(channel, 17) == HSW_OK);
    CHECK(hsw_thread_channel_preference(channel, &preference) == HSW_OK);
    CHECK(preference == HSW_PREFER_SENDER);
    CHECK(hsw_thread_channel_schedule_all(channel, &flag) == HSW_OK);
    CHECK_FALSE(flag);
    CHECK(hsw_thread_channel_set_schedule_all(channel, true) == HSW_OK);
    CHECK(hsw_thread_channel_schedule_all(channel, &flag) == HSW_OK);
    CHECK(flag);
    CHECK(hsw_thread_channel_try_receive(channel, &value) == HSW_ERR_WOULD_BLOCK);
    CHECK(hsw_thread_channel_try_send(channel, value) == HSW_ERR_WOULD_BLOCK);
    CHECK(hsw_thread_channel_close(channel) == HSW_OK);
    CHECK(hsw_thread_channel_receive(channel, &value) == HSW_ERR_CLOSED);
    CHECK(hsw_thread_channel_next(channel, &value) == HSW_ERR_STOP_ITERATION);
    CHECK(hsw_thread_channel_is_closing(channel, &flag) == HSW_OK);
    CHECK(flag);
    CHECK(hsw_thread_channel_open(channel) == HSW_OK);
    CHECK(hsw_thread_channel_is_closing(channel, &flag) == HSW_OK);
    CHECK_FALSE(flag);
    std::size_t id = 0;
    std::size_t other_id = 0;
    const hsw_thread_channel other = another(channel);
    CHECK(hsw_thread_channel_id(channel, &id) == HSW_OK);
    CHECK(hsw_thread_channel_id(other, &other_id) == HSW_OK);
    CHECK(id != 0);
    CHECK(id == other_id);
    CHECK(hsw_thread_channel_release(other) == HSW_OK);
    CHECK(hsw_thread_channel_release(channel) == HSW_OK);
}

namespace {

hsw_lock held_elsewhere{};
hsw_socket still_open{};

// Made before the thread's part of the library, so its destructor runs after the end of that.
struct after_the_end {
    ~after_the_end() {
        std::size_t n = 0;
        void* result = nullptr;
        char byte = 0;
        hsw_socket socket{};
        hsw_loop loop{};
        hsw_channel channel{};
        const hsw_job job = [](void*) -> void* { return nullptr; };
        const std::function<hsw_status()> calls[] = {
            [&] { return hsw_spawn(return_ok, nullptr, nullptr, nullptr); },
            [&] { return hsw_channel_new(nullptr, &channel); },
            [&] { return hsw_sleep(1'000'000); },
            [&] { return hsw_pump(0, &n); },
            [&] { return hsw_loop_current(&loop); },
            [&] { return hsw_lock_lock(held_elsewhere, 1'000'000); },
            [&] { return hsw_offload(job, nullptr, nullptr, nullptr, HSW_NO_LIMIT, &result); },
            [&] { return hsw_tcp_listen("127.0.0.1", 0, &socket); },
            [&] { return hsw_tcp_connect("127.0.0.1", 9, HSW_NO_LIMIT, &socket); },
            [&] { return hsw_tcp_connect("localhost", 9, HSW_NO_LIMIT, &socket); },
            [&] { return hsw_socket_read(still_open, &byte, 1, &n); },
        };
        for (const auto& call : calls) {
            CAPTURE(&call - calls);
            const hsw_status status = call();
            CHECK_MESSAGE((status == HSW_ERR_STATE || status == HSW_ERR_THREAD_ENDING), hsw_status_name(status));
            CHECK(last_message() == "the thread is ending");
        }
    }
};

} // namespace

TEST_CASE("after the end of a thread's part every call says that the thread is ending") {
    const no_leaks check;
    REQUIRE(hsw_lock_new(&held_elsewhere) == HSW_OK);
    REQUIRE(hsw_lock_lock(held_elsewhere, HSW_NO_LIMIT) == HSW_OK);
    std::thread([] {
        static thread_local after_the_end it;
        (void)&it;
        REQUIRE(hsw_tcp_listen("127.0.0.1", 0, &still_open) == HSW_OK);
    }).join();
    CHECK(hsw_lock_unlock(held_elsewhere) == HSW_OK);
    CHECK(hsw_lock_release(held_elsewhere) == HSW_OK);
}

TEST_CASE("close_and_wake ends the waits of other threads, and a sender's value is freed once") {
    const no_leaks check;
    const hsw_thread_channel channel = new_thread_channel(&destroy_atomic);
    const hsw_thread_channel there = another(channel);
    std::atomic<int> freed{0};
    hsw_status told[2] = {HSW_OK, HSW_OK};
    for (hsw_status& status : told) {
        const bool sends = &status == &told[0];
        std::thread thread([&] {
            void* value = nullptr;
            status = sends ? hsw_thread_channel_send(there, new atomic_counted{&freed}) : hsw_thread_channel_receive(there, &value);
            hsw_thread_exit();
        });
        std::ptrdiff_t balance = 0;
        while (balance == 0) {
            REQUIRE(hsw_thread_channel_balance(channel, &balance) == HSW_OK);
            std::this_thread::yield();
        }
        std::size_t woken = 0;
        CHECK(hsw_thread_channel_close_and_wake(channel, &woken) == HSW_OK);
        thread.join();
        CHECK(woken == 1);
        CHECK(status == HSW_ERR_CLOSED);
        CHECK(hsw_thread_channel_close_and_wake(channel, nullptr) == HSW_OK);
        CHECK(hsw_thread_channel_open(channel) == HSW_OK);
    }
    CHECK(freed == 1);
    CHECK(hsw_thread_channel_release(there) == HSW_OK);
    CHECK(hsw_thread_channel_release(channel) == HSW_OK);
}

TEST_CASE("waits end in time, whatever the number says") {
    const no_leaks check;
    const hsw_thread_channel channel = new_thread_channel(&destroy_counted);
    int freed = 0;
    void* value = nullptr;
    for (const std::uint64_t time : {std::uint64_t{0}, std::uint64_t{1}, 5 * MS}) {
        auto* const mine = new counted{&freed};
        CHECK(hsw_thread_channel_receive_timeout(channel, time, &value) == HSW_ERR_TIMEOUT);
        CHECK(hsw_thread_channel_send_timeout(channel, mine, time) == HSW_ERR_TIMEOUT);
        CHECK(freed == 0); // it has stayed the caller's
        delete mine;
    }
    for (const std::uint64_t time : NEGATIVE) {
        auto* const mine = new counted{&freed};
        CHECK(hsw_thread_channel_receive_timeout(channel, time, &value) == HSW_ERR_ARGUMENT);
        CHECK(hsw_thread_channel_send_timeout(channel, mine, time) == HSW_ERR_ARGUMENT);
        CHECK(hsw_pump(time, nullptr) == HSW_ERR_ARGUMENT);
        CHECK(hsw_sleep(time) == HSW_ERR_ARGUMENT);
        CHECK(hsw_tick(time, nullptr) == HSW_ERR_ARGUMENT);
        CHECK(freed == 0);
        delete mine;
    }
    CHECK(balance(channel) == 0);
    // A huge time is as good as for ever: somebody comes.
    const hsw_thread_channel theirs = another(channel);
    std::thread thread([&] {
        CHECK(hsw_thread_channel_send(theirs, new counted{&freed}) == HSW_OK);
        CHECK(hsw_thread_channel_release(theirs) == HSW_OK);
    });
    REQUIRE(hsw_thread_channel_receive_timeout(channel, INT64_MAX, &value) == HSW_OK);
    thread.join();
    delete static_cast<counted*>(value);
    CHECK(hsw_thread_channel_release(channel) == HSW_OK);
    CHECK(freed == 0);
}

TEST_CASE("a value that crosses threads is freed once, or received once") {
    const no_leaks check;
    std::atomic<int> freed{0};
    const hsw_thread_channel channel = new_thread_channel(&destroy_atomic);
    const hsw_thread_channel theirs = another(channel);
    SUBCASE("its sender is killed") {
        std::thread thread([&] {
            const hsw_tasklet sender = spawn([&] { return hsw_thread_channel_send(theirs, new atomic_counted{&freed}); });
            CHECK(hsw_run() == HSW_OK);
            CHECK(balance(theirs) == 1);
            CHECK(hsw_tasklet_kill(sender, false) == HSW_OK);
            CHECK(balance(theirs) == 0);
            CHECK(freed == 1);
            CHECK(hsw_tasklet_release(sender) == HSW_OK);
            CHECK(hsw_thread_channel_release(theirs) == HSW_OK);
        });
        thread.join();
    }
    SUBCASE("its sender's thread ends") {
        std::thread thread([&] {
            spawn([&] { return hsw_thread_channel_send(theirs, new atomic_counted{&freed}); });
            CHECK(hsw_run() == HSW_OK);
            CHECK(balance(theirs) == 1);
        });
        thread.join();
        CHECK(balance(channel) == 0);
        CHECK(freed == 1);
        CHECK(hsw_thread_channel_release(theirs) == HSW_OK);
    }
    SUBCASE("its receiver's thread ends, while its sender waits on") {
        std::thread thread([&] {
            spawn([&] {
                void* value = nullptr;
                return hsw_thread_channel_receive(theirs, &value);
            });
            CHECK(hsw_run() == HSW_OK);
        });
        thread.join();
        CHECK(balance(channel) == 0);
        CHECK(hsw_thread_channel_try_send(channel, number(1)) == HSW_ERR_WOULD_BLOCK);
        CHECK(hsw_thread_channel_release(theirs) == HSW_OK);
    }
    SUBCASE("a sequence is cut short") {
        std::thread thread([&] {
            spawn([&] {
                std::vector<void*> values;
                for (int i = 0; i < 5; ++i) {
                    values.push_back(new atomic_counted{&freed});
                }
                std::size_t sent = 77;
                const hsw_status status = hsw_thread_channel_send_sequence(theirs, values.data(), values.size(), &sent);
                CHECK(sent == 0); // it was killed while the first was taken
                return status;
            });
            CHECK(hsw_run() == HSW_OK);
            void* value = nullptr;
            CHECK(hsw_thread_channel_receive(channel, &value) == HSW_OK);
            delete static_cast<atomic_counted*>(value);
            CHECK(hsw_thread_exit() == HSW_OK);
        });
        thread.join();
        CHECK(freed == 4);
        CHECK(hsw_thread_channel_release(theirs) == HSW_OK);
    }
    CHECK(hsw_thread_channel_release(channel) == HSW_OK);
}

TEST_CASE("an exception crosses threads with its payload") {
    const no_leaks check;
    std::atomic<int> freed{0};
    const hsw_thread_channel channel = new_thread_channel();
    const hsw_thread_channel theirs = another(channel);
    std::thread thread([&] {
        CHECK(hsw_thread_channel_send_throw(theirs, new atomic_counted{&freed}, &destroy_atomic, "from afar") == HSW_OK);
        CHECK(hsw_thread_channel_release(theirs) == HSW_OK);
    });
    void* value = nullptr;
    CHECK(hsw_thread_channel_receive(channel, &value) == HSW_ERR_THROWN);
    CHECK(last_message() == "from afar");
    hsw_destroy destroy = nullptr;
    CHECK(hsw_last_error_payload(&value, &destroy) == HSW_OK);
    CHECK((destroy == &destroy_atomic));
    CHECK(static_cast<atomic_counted*>(value)->freed == &freed);
    thread.join();
    CHECK(freed == 0);
    CHECK(hsw_thread_channel_release(hsw_thread_channel{}) == HSW_ERR_NULL); // the next error lets the payload go
    CHECK(freed == 1);
    CHECK(hsw_thread_channel_release(channel) == HSW_OK);
}

TEST_CASE("threads are listed while they use the library, and tell about themselves") {
    const no_leaks check;
    server other;
    const auto ids = [] {
        std::size_t count = 0;
        REQUIRE(hsw_threads(nullptr, 0, &count) == HSW_OK);
        std::vector<std::uint64_t> out(count + 8);
        REQUIRE(hsw_threads(out.data(), out.size(), &count) == HSW_OK);
        out.resize(count);
        return out;
    };
    const auto listed = [&](std::uint64_t id) {
        const auto all = ids();
        return std::find(all.begin(), all.end(), id) != all.end();
    };
    CHECK(hsw_thread_attach() == HSW_OK);
    CHECK(hsw_thread_attach() == HSW_OK); // twice is fine
    CHECK(listed(hsw_thread_id()));
    CHECK(listed(other.id()));
    // At most as many are written as there is room for.
    std::uint64_t few[2] = {0, 0};
    std::size_t count = 0;
    CHECK(hsw_threads(few, 1, &count) == HSW_OK);
    CHECK(few[0] != 0);
    CHECK(few[1] == 0);
    CHECK(count >= 2);

    hsw_tasklet parked{};
    other.call([&] {
        parked = spawn([] { return hsw_schedule_remove(); });
    });
    hsw_thread_info info{};
    REQUIRE(hsw_thread_get_info(other.id(), &info) == HSW_OK);
    CHECK(info.name[0] == '\0');
    CHECK(info.tasklets == 2);
    CHECK(info.run_count >= 1);
    std::uint64_t thread = 0;
    CHECK(hsw_remote_thread_id(info.main_tasklet, &thread) == HSW_OK);
    CHECK(thread == other.id());
    CHECK((remote_state(info.main_tasklet) & HSW_TASKLET_MAIN) != 0);
    CHECK(hsw_remote_release(info.main_tasklet) == HSW_OK);
    CHECK(hsw_remote_release(info.current) == HSW_OK);
    // Of the own thread, at once.
    REQUIRE(hsw_thread_get_info(hsw_thread_id(), &info) == HSW_OK);
    std::size_t main_id = 0;
    std::size_t current_id = 0;
    CHECK(hsw_remote_tasklet_id(info.main_tasklet, &main_id) == HSW_OK);
    CHECK(hsw_remote_tasklet_id(info.current, &current_id) == HSW_OK);
    CHECK(main_id == current_id);
    CHECK(hsw_remote_release(info.main_tasklet) == HSW_OK);
    CHECK(hsw_remote_release(info.current) == HSW_OK);

    const std::uint64_t gone = other.id();
    other.call([&] { CHECK(hsw_tasklet_release(parked) == HSW_OK); });
    other.end();
    CHECK_FALSE(listed(gone));
    CHECK(hsw_thread_get_info(gone, &info) == HSW_ERR_STATE);
    CHECK(hsw_thread_get_info(0, &info) == HSW_ERR_STATE);
}

TEST_CASE("a thread can end its part and attach again") {
    on_new_thread([] {
        CHECK(hsw_thread_attach() == HSW_OK);
        const std::uint64_t first = hsw_thread_id();
        const hsw_tasklet tasklet = spawn([] { return HSW_OK; });
        CHECK(hsw_thread_exit() == HSW_OK);
        CHECK(hsw_tasklet_release(tasklet) == HSW_ERR_STALE);
        CHECK(hsw_thread_attach() == HSW_OK);
        CHECK(hsw_thread_id() == first); // its own for life
        int ran = 0;
        const hsw_tasklet another_one = spawn([&] {
            ++ran;
            return HSW_OK;
        });
        CHECK(hsw_run() == HSW_OK);
        CHECK(ran == 1);
        CHECK(hsw_tasklet_release(another_one) == HSW_OK);
    });
}

/// Whose a value is after a call that failed is read off the status: so what a thread refuses at its end is no mistake of the caller's.
TEST_CASE("a value that cannot be sent at a thread's end is freed, or its sender's, as the status says") {
    struct attempts {
        hsw_thread_channel channel{};
        hsw_sync_queue full{};
        std::atomic<int> freed{0};
        int refused = 0;
    };
    attempts made;
    made.channel = new_thread_channel(destroy_atomic);
    REQUIRE(hsw_sync_queue_new(1, destroy_atomic, &made.full) == HSW_OK);
    REQUIRE(hsw_sync_queue_put(made.full, new atomic_counted{&made.freed}, 0) == HSW_OK);
    const auto at_the_end = [](void* argument) {
        auto& all = *static_cast<attempts*>(argument);
        const auto attempt = [&](auto call) {
            const int before = all.freed;
            auto* const value = new atomic_counted{&all.freed};
            const hsw_status status = call(value);
            CHECK(status != HSW_OK);
            ++all.refused;
            if (status >= HSW_ERR_NULL || status == HSW_ERR_TIMEOUT) {
                CHECK_MESSAGE(all.freed == before, status);
                if (all.freed == before) {
                    delete value;
                }
            } else {
                CHECK_MESSAGE(all.freed == before + 1, status);
            }
        };
        attempt([&](void* value) { return hsw_thread_channel_send(all.channel, value); });
        attempt([&](void* value) { return hsw_thread_channel_send_timeout(all.channel, value, HSW_NO_LIMIT); });
        attempt([&](void* value) { return hsw_thread_channel_send_timeout(all.channel, value, LONG); });
        attempt([&](void* value) { return hsw_sync_queue_put(all.full, value, HSW_NO_LIMIT); });
        attempt([&](void* value) { return hsw_sync_queue_put(all.full, value, LONG); });
        attempt([&](void* value) {
            hsw_channel here{};
            CHECK(hsw_channel_new(destroy_atomic, &here) == HSW_OK);
            const hsw_status status = hsw_channel_send(here, value);
            CHECK(hsw_channel_release(here) == HSW_OK);
            return status;
        });
    };
    on_new_thread([&] {
        const hsw_loop loop = current_loop();
        CHECK(hsw_loop_post(loop, [](void*) { return HSW_OK; }, &made, at_the_end) == HSW_OK);
        CHECK(hsw_loop_release(loop) == HSW_OK);
        CHECK(hsw_thread_exit() == HSW_OK);
    });
    CHECK(made.refused == 6);
    CHECK(hsw_thread_channel_release(made.channel) == HSW_OK);
    CHECK(hsw_sync_queue_release(made.full) == HSW_OK);
}

/// Frames of the library lie below such a function, and they need the runtime when it returns.
TEST_CASE("a function that the library calls cannot end the thread's part") {
    on_new_thread([] {
        hsw_host_lock lock{};
        REQUIRE(hsw_host_lock_new(nullptr, &lock) == HSW_OK);
        CHECK(hsw_host_lock_join(lock) == HSW_OK);
        int refused = 0;
        const auto refuse = [](void* count) {
            CHECK(hsw_thread_exit() == HSW_ERR_STATE);
            CHECK(last_message() == "a function that the library has called cannot end the thread's runtime");
            ++*static_cast<int*>(count);
        };
        const auto refused_entry = [](void* count) {
            CHECK(hsw_thread_exit() == HSW_ERR_STATE);
            ++*static_cast<int*>(count);
            return HSW_OK;
        };
        // Main waits, and what ends its wait is not the end of the thread.
        hsw_timer_clock wall{};
        REQUIRE(hsw_timer_clock_wall(&wall) == HSW_OK);
        CHECK(hsw_timer_call_later(wall, 1000, refused_entry, &refused, refuse, nullptr) == HSW_OK);
        CHECK(hsw_sleep(5'000'000) == HSW_OK);
        CHECK(refused == 2);
        const hsw_loop loop = current_loop();
        CHECK(hsw_loop_post(loop, refused_entry, &refused, nullptr) == HSW_OK);
        CHECK(hsw_pump(0, nullptr) == HSW_OK);
        CHECK(refused == 3);
        CHECK(hsw_allow_threads(refuse, &refused) == HSW_OK);
        CHECK(hsw_grow(refuse, &refused) == HSW_OK);
        CHECK(refused == 5);
        // The last handle of a channel that has a value: its destructor runs in here.
        hsw_queue queue{};
        REQUIRE(hsw_queue_new(SIZE_MAX, refuse, &queue) == HSW_OK);
        CHECK(hsw_queue_send(queue, &refused, 0) == HSW_OK);
        CHECK(hsw_queue_release(queue) == HSW_OK);
        CHECK(refused == 6);
        CHECK(hsw_loop_release(loop) == HSW_OK);
        CHECK(hsw_host_lock_release(lock) == HSW_OK);
        CHECK(hsw_thread_exit() == HSW_OK);
    });
}

TEST_CASE("another thread starts, stops, throws at and kills a tasklet") {
    const no_leaks check;
    server other;
    std::atomic<int> steps{0};
    std::atomic<int> ended{-1};
    std::atomic<int> freed{0};
    hsw_tasklet tasklet{};
    hsw_remote remote{};
    other.call([&] {
        REQUIRE(hsw_tasklet_new(nullptr, &tasklet) == HSW_OK);
        remote = remote_of(tasklet);
    });
    CHECK(remote_state(remote) == (has_slices() ? HSW_TASKLET_SLICED : 0));
    const auto entry = new std::function<hsw_status()>([&] {
        hsw_status status = HSW_OK;
        while (status == HSW_OK) {
            ++steps;
            status = hsw_schedule_remove();
        }
        ended = status;
        return status == HSW_ERR_EXIT ? HSW_ERR_EXIT : HSW_OK;
    });
    CHECK(hsw_remote_bind(remote, &call_function, entry, &destroy_function, true) == HSW_OK);
    CHECK((remote_state(remote) & HSW_TASKLET_PAUSED) != 0);
    const auto wait_for = [&](int count) {
        while (steps < count) {
            std::this_thread::yield();
        }
        while ((remote_state(remote) & HSW_TASKLET_PAUSED) == 0) {
            std::this_thread::yield();
        }
    };
    CHECK(hsw_remote_insert(remote) == HSW_OK);
    wait_for(1);
    CHECK(hsw_remote_run(remote) == HSW_OK);
    wait_for(2);
    const hsw_remote again = [&] {
        hsw_remote out{};
        REQUIRE(hsw_remote_retain(remote, &out) == HSW_OK);
        return out;
    }();
    CHECK(hsw_remote_release(remote) == HSW_OK);
    CHECK(hsw_remote_insert(remote) == HSW_ERR_STALE);

    SUBCASE("killed") {
        CHECK(hsw_remote_kill(again, false) == HSW_OK);
        while ((remote_state(again) & HSW_TASKLET_ALIVE) != 0) {
            std::this_thread::yield();
        }
        CHECK(ended == HSW_ERR_EXIT);
    }
    SUBCASE("killed when its turn comes, twice") {
        CHECK(hsw_remote_kill(again, true) == HSW_OK);
        CHECK(hsw_remote_kill(again, true) == HSW_OK);
        while ((remote_state(again) & HSW_TASKLET_ALIVE) != 0) {
            std::this_thread::yield();
        }
        CHECK(ended == HSW_ERR_EXIT);
    }
    SUBCASE("thrown at") {
        CHECK(hsw_remote_throw(again, new atomic_counted{&freed}, &destroy_atomic, "enough", false) == HSW_OK);
        while ((remote_state(again) & HSW_TASKLET_ALIVE) != 0) {
            std::this_thread::yield();
        }
        CHECK(ended == HSW_ERR_THROWN);
        CHECK(freed == 1);
    }
    SUBCASE("its thread ends") {
        other.call([&] { CHECK(hsw_tasklet_release(tasklet) == HSW_OK); });
        tasklet = hsw_tasklet{};
        other.end();
        CHECK(ended == HSW_ERR_EXIT);
        std::uint64_t thread = 1;
        CHECK(hsw_remote_thread_id(again, &thread) == HSW_OK);
        CHECK(thread == 0);
        CHECK(remote_state(again) == 0);
        CHECK(hsw_remote_insert(again) == HSW_ERR_STATE);
        CHECK(hsw_remote_run(again) == HSW_ERR_STATE);
        CHECK(hsw_remote_setup(again) == HSW_ERR_STATE);
        CHECK(hsw_remote_remove(again) == HSW_OK);
        CHECK(hsw_remote_kill(again, false) == HSW_OK);
        CHECK(hsw_remote_kill(again, true) == HSW_OK);
        CHECK(hsw_remote_throw(again, new atomic_counted{&freed}, &destroy_atomic, nullptr, true) == HSW_ERR_STATE);
        hsw_loop_interrupt(hsw_loop{}); // the next error lets the payload go
        CHECK(freed == 1);
        CHECK(with(again, [](hsw_tasklet) {}) == HSW_ERR_STATE);
    }
    if (tasklet.handle != 0) {
        other.call([&] { CHECK(hsw_tasklet_release(tasklet) == HSW_OK); });
    }
    CHECK(hsw_remote_release(again) == HSW_OK);
}

TEST_CASE("a thread is asked something about its tasklet") {
    const no_leaks check;
    server other;
    hsw_tasklet tasklet{};
    hsw_remote remote{};
    other.call([&] {
        tasklet = spawn([] { return hsw_schedule_remove(); }, "asked");
        remote = remote_of(tasklet);
    });
    char name[16] = "";
    std::uint64_t where = 0;
    hsw_status foreign = HSW_OK;
    CHECK(with(remote, [&](hsw_tasklet lent) {
              where = hsw_thread_id();
              CHECK(hsw_tasklet_name(lent, name, sizeof name, nullptr) == HSW_OK);
          }) == HSW_OK);
    CHECK(std::string(name) == "asked");
    CHECK(where == other.id());
    // Its handle is that thread's own.
    CHECK(hsw_tasklet_insert(tasklet) == HSW_ERR_WRONG_THREAD);
    hsw_tasklet none{};
    CHECK(hsw_remote_tasklet(remote, &none) == HSW_ERR_WRONG_THREAD);
    CHECK(hsw_remote_switch(remote) == HSW_ERR_STATE);
    hsw_tasklet there{};
    other.call([&] {
        foreign = hsw_remote_tasklet(remote, &there);
        CHECK(hsw_tasklet_release(there) == HSW_OK);
    });
    CHECK(foreign == HSW_OK);
    // Who may not block does not get to wait, and what was given is freed.
    hsw_tasklet me{};
    REQUIRE(hsw_current(&me) == HSW_OK);
    CHECK(hsw_tasklet_set_block_trap(me, true, nullptr) == HSW_OK);
    int freed = 0;
    CHECK(hsw_remote_with(remote, [](hsw_tasklet, void*) {}, new counted{&freed}, &destroy_counted) == HSW_ERR_BLOCK_TRAP);
    CHECK(freed == 1);
    CHECK(hsw_tasklet_set_block_trap(me, false, nullptr) == HSW_OK);
    CHECK(hsw_tasklet_release(me) == HSW_OK);
    other.call([&] { CHECK(hsw_tasklet_release(tasklet) == HSW_OK); });
    CHECK(hsw_remote_release(remote) == HSW_OK);
}

TEST_CASE("a tasklet that has not started moves to another thread") {
    const no_leaks check;
    server other;
    std::atomic<std::uint64_t> ran_on{0};
    hsw_tasklet tasklet{};
    hsw_remote remote{};
    REQUIRE(hsw_tasklet_new(nullptr, &tasklet) == HSW_OK);
    const auto entry = [&] {
        return new std::function<hsw_status()>([&] {
            ran_on = hsw_thread_id();
            return HSW_OK;
        });
    };
    // One that may not change threads stays.
    CHECK(hsw_tasklet_bind(tasklet, &call_function, entry(), &destroy_function) == HSW_OK);
    CHECK(hsw_tasklet_bind_thread(tasklet, other.id(), &remote) == HSW_ERR_STATE);
    CHECK(hsw_tasklet_bind_send(tasklet, &call_function, entry(), &destroy_function) == HSW_OK);
    CHECK(hsw_tasklet_bind_thread(tasklet, 0, &remote) == HSW_ERR_STATE);
    CHECK(remote.handle == 0);
    REQUIRE(hsw_tasklet_bind_thread(tasklet, other.id(), &remote) == HSW_OK);
    std::uint64_t thread = 0;
    CHECK(hsw_remote_thread_id(remote, &thread) == HSW_OK);
    CHECK(thread == other.id());
    CHECK(hsw_remote_setup(remote) == HSW_OK);
    while (ran_on == 0) {
        std::this_thread::yield();
    }
    CHECK(ran_on == other.id());
    CHECK(hsw_tasklet_setup(tasklet) == HSW_ERR_STATE); // nothing is left in it
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);

    // One whose thread ends is adopted by another.
    ran_on = 0;
    std::thread([&] {
        hsw_tasklet left{};
        REQUIRE(hsw_tasklet_new(nullptr, &left) == HSW_OK);
        CHECK(hsw_tasklet_bind_send(left, &call_function, entry(), &destroy_function) == HSW_OK);
        CHECK(hsw_remote_release(remote) == HSW_OK);
        remote = remote_of(left);
        CHECK(hsw_tasklet_release(left) == HSW_OK);
    }).join();
    CHECK(hsw_remote_setup(remote) == HSW_ERR_STATE);
    CHECK(hsw_remote_bind_thread(remote, hsw_thread_id()) == HSW_OK);
    CHECK(hsw_remote_setup(remote) == HSW_OK);
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(ran_on == hsw_thread_id());
    CHECK(hsw_remote_release(remote) == HSW_OK);
}

TEST_CASE("a loop is woken from any thread, and calls what it is sent in order") {
    const no_leaks check;
    server other;
    std::vector<int> seen;
    std::atomic<int> freed{0};
    for (int i = 0; i < 100; ++i) {
        CHECK(post(other.loop(), [&seen, i] {
                  seen.push_back(i);
                  return HSW_OK;
              }) == HSW_OK);
    }
    other.call([&] {
        CHECK(seen.size() == 100);
        for (int i = 0; i < 100; ++i) {
            CHECK(seen[static_cast<std::size_t>(i)] == i);
        }
    });
    // The other way round: a wait of this thread ends.
    const hsw_loop mine = current_loop();
    for (const bool posted : {false, true}) {
        CAPTURE(posted);
        int called = 0;
        other.call([&] {
            CHECK((posted ? post(mine,
                                 [&called] {
                                     ++called;
                                     return HSW_OK;
                                 })
                          : hsw_loop_interrupt(mine)) == HSW_OK);
        });
        const auto begin = std::chrono::steady_clock::now();
        CHECK(hsw_pump(LONG, nullptr) == HSW_OK);
        CHECK(std::chrono::steady_clock::now() - begin < 30s);
        CHECK(called == (posted ? 1 : 0));
    }
    CHECK(hsw_loop_release(mine) == HSW_OK);

    hsw_loop kept{};
    REQUIRE(hsw_loop_retain(other.loop(), &kept) == HSW_OK);
    other.end();
    CHECK(hsw_loop_post(kept, &return_ok, new atomic_counted{&freed}, &destroy_atomic) == HSW_ERR_STATE);
    CHECK(last_message() == "the thread that owned the event queue is gone");
    CHECK(freed == 1);
    CHECK(hsw_loop_interrupt(kept) == HSW_OK);
    CHECK(hsw_loop_stop(kept) == HSW_OK);
    CHECK(hsw_loop_release(kept) == HSW_OK);
}

TEST_CASE("a loop waits for the post of who has a work guard") {
    const no_leaks check;
    const hsw_loop loop = current_loop();
    hsw_work work{};
    hsw_work second{};
    REQUIRE(hsw_loop_work(loop, &work) == HSW_OK);
    REQUIRE(hsw_work_retain(work, &second) == HSW_OK);
    CHECK(hsw_work_release(work) == HSW_OK);
    CHECK(hsw_work_release(work) == HSW_ERR_STALE);
    hsw_loop_info info{};
    CHECK(hsw_get_loop_info(&info) == HSW_OK);
    CHECK_FALSE(info.idle);
    int called = 0;
    std::thread thread([&] {
        std::this_thread::sleep_for(10ms);
        CHECK(post(loop, [&called] {
                  ++called;
                  return HSW_OK;
              }) == HSW_OK);
        CHECK(hsw_work_release(second) == HSW_OK);
    });
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(called == 1);
    thread.join();
    CHECK(hsw_get_loop_info(&info) == HSW_OK);
    CHECK(info.idle);
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(hsw_loop_release(loop) == HSW_OK);
}

TEST_CASE("a loop that does not pump takes so many events and no more") {
    const no_leaks check;
    on_new_thread([] {
        const hsw_loop loop = current_loop();
        int freed = 0;
        int posted = 0;
        hsw_status status = HSW_OK;
        while ((status = hsw_loop_post(loop, &return_ok, new counted{&freed}, &destroy_counted)) == HSW_OK) {
            ++posted;
        }
        CHECK(status == HSW_ERR_LIMIT);
        CHECK(posted == 16 * 1024);
        CHECK(freed == 1);
        std::size_t done = 0;
        CHECK(hsw_pump(0, &done) == HSW_OK);
        CHECK(freed == posted + 1);
        CHECK(hsw_loop_release(loop) == HSW_OK);
    });
}

TEST_CASE("what fails in a function that another thread sent comes out of the run") {
    const no_leaks check;
    const hsw_loop loop = current_loop();
    CHECK(post(loop, [] { return hsw_fail(nullptr, nullptr, "sent and failed"); }) == HSW_OK);
    CHECK(hsw_pump(0, nullptr) == HSW_OK);
    CHECK(hsw_run() == HSW_ERR_THROWN);
    CHECK(last_message() == "sent and failed");
    CHECK(hsw_loop_release(loop) == HSW_OK);
}

TEST_CASE("a loop says what it waits for") {
    on_new_thread([] {
        hsw_loop_info info{};
        REQUIRE(hsw_get_loop_info(&info) == HSW_OK);
        CHECK(info.idle);
        CHECK(info.sockets == 0);
        CHECK(info.timers == 0);
        CHECK(info.next_ns == HSW_NO_LIMIT);
        const hsw_tasklet sleeper = spawn([] { return hsw_sleep(LONG); });
        CHECK(hsw_run() == HSW_OK);
        REQUIRE(hsw_get_loop_info(&info) == HSW_OK);
        CHECK_FALSE(info.idle);
        CHECK(info.timers == 1);
        CHECK(info.next_ns <= LONG);
        CHECK(info.next_ns > 0);
        CHECK(hsw_tasklet_kill(sleeper, false) == HSW_OK);
        CHECK(hsw_tasklet_release(sleeper) == HSW_OK);
    });
}

TEST_CASE("a pool has its threads, its bound and its end") {
    const no_leaks check;
    hsw_pool_settings settings{};
    REQUIRE(hsw_pool_settings_console(&settings) == HSW_OK);
    CHECK(settings.threads == 2);
    REQUIRE(hsw_pool_settings_default(&settings) == HSW_OK);
    CHECK(settings.threads == 4);
    hsw_pool pool{};
    for (const bool threads : {false, true}) {
        hsw_pool_settings bad = settings;
        (threads ? bad.threads : bad.queue) = 0;
        CHECK(hsw_pool_new(&bad, &pool) == HSW_ERR_SETTINGS);
        CHECK(hsw_offload_configure(&bad) == HSW_ERR_SETTINGS);
    }
    CHECK(pool.handle == 0);
    settings.threads = 1;
    settings.queue = 1;
    REQUIRE(hsw_pool_new(&settings, &pool) == HSW_OK);
    hsw_pool_settings read{};
    CHECK(hsw_pool_get_settings(pool, &read) == HSW_OK);
    CHECK(read.threads == 1);
    CHECK(read.queue == 1);

    static std::atomic<bool> go;
    static std::atomic<int> began;
    static std::atomic<int> freed;
    go = false;
    began = 0;
    freed = 0;
    hsw_offload_call call{};
    call.job = [](void*) -> void* {
        ++began;
        while (!go) {
            std::this_thread::yield();
        }
        return number(5);
    };
    call.timeout_ns = HSW_NO_LIMIT;
    call.pool = pool;
    call.destroy_argument = [](void*) { ++freed; };
    std::vector<hsw_status> ends(3, HSW_ERR_OTHER);
    std::vector<void*> results(3, nullptr);
    std::vector<hsw_tasklet> callers;
    for (std::size_t i = 0; i < 3; ++i) {
        callers.push_back(spawn([&, i] {
            ends[i] = hsw_offload_with(&call, &results[i]);
            return HSW_OK;
        }));
        // The first is with the worker, the second in the queue, and there is no room for the third.
        CHECK(hsw_run() == HSW_OK);
        while (began < 1) {
            std::this_thread::yield();
        }
    }
    CHECK(ends[2] == HSW_ERR_WOULD_BLOCK);
    CHECK(freed == 1);
    std::size_t threads = 0;
    std::size_t waiting = 0;
    CHECK(hsw_pool_load(pool, &threads, &waiting) == HSW_OK);
    CHECK(threads == 1);
    CHECK(waiting == 1);
    SUBCASE("what waits is finished") {
        go = true;
        CHECK(hsw_pool_shutdown(pool, false) == HSW_OK);
        CHECK(hsw_run_until_idle() == HSW_OK);
        CHECK(ends[1] == HSW_OK);
        CHECK(results[1] == number(5));
    }
    SUBCASE("what waits is given back") {
        // The shutdown waits for the worker, which waits for us.
        std::thread ender([&] {
            std::this_thread::sleep_for(50ms);
            go = true;
        });
        CHECK(hsw_pool_shutdown(pool, true) == HSW_OK);
        ender.join();
        CHECK(hsw_run_until_idle() == HSW_OK);
        CHECK(ends[1] == HSW_ERR_CLOSED);
        CHECK(freed == 2);
    }
    CHECK(ends[0] == HSW_OK);
    CHECK(results[0] == number(5));
    CHECK(hsw_pool_shutdown(pool, true) == HSW_OK); // twice is fine
    void* result = nullptr;
    CHECK(hsw_offload_with(&call, &result) == HSW_ERR_CLOSED);
    CHECK(hsw_pool_release(pool) == HSW_OK);
    CHECK(hsw_offload_with(&call, &result) == HSW_ERR_STALE);
    for (const hsw_tasklet caller : callers) {
        CHECK(hsw_tasklet_release(caller) == HSW_OK);
    }
}

TEST_CASE("the outcome of an abandoned call goes to its callback, once") {
    const no_leaks check;
    hsw_pool pool{};
    hsw_pool_settings settings{1, 64 * 1024, 8};
    REQUIRE(hsw_pool_new(&settings, &pool) == HSW_OK);
    static std::atomic<bool> go;
    static std::atomic<int> freed_results;
    go = false;
    freed_results = 0;
    struct seen {
        int calls = 0;
        int freed = 0;
        hsw_status outcome = HSW_ERR_OTHER;
        void* result = nullptr;
    } seen;
    hsw_offload_call call{};
    call.job = [](void* argument) -> void* {
        while (!go) {
            std::this_thread::yield();
        }
        return argument;
    };
    call.argument = number(7);
    call.destroy_result = [](void*) { ++freed_results; };
    call.pool = pool;
    call.timeout_ns = 5 * MS;
    call.on_abandoned = [](hsw_status outcome, void* result, void* user) {
        auto* const it = static_cast<struct seen*>(user);
        ++it->calls;
        it->outcome = outcome;
        it->result = result;
    };
    call.user = &seen;
    call.destroy_user = [](void* user) { ++static_cast<struct seen*>(user)->freed; };
    void* result = nullptr;
    SUBCASE("it was too slow") {
        CHECK(hsw_offload_with(&call, &result) == HSW_ERR_TIMEOUT);
        CHECK(seen.calls == 0);
        go = true;
        CHECK(hsw_run_until_idle() == HSW_OK);
        CHECK(seen.calls == 1);
        CHECK(seen.outcome == HSW_OK);
        CHECK(seen.result == number(7));
        CHECK(freed_results == 0); // the callback has it
    }
    SUBCASE("its tasklet was killed") {
        call.timeout_ns = HSW_NO_LIMIT;
        hsw_status ended = HSW_OK;
        const hsw_tasklet tasklet = spawn([&] { return ended = hsw_offload_with(&call, &result); });
        CHECK(hsw_run() == HSW_OK);
        CHECK(hsw_tasklet_kill(tasklet, false) == HSW_OK);
        CHECK(ended == HSW_ERR_EXIT);
        go = true;
        CHECK(hsw_run_until_idle() == HSW_OK);
        CHECK(seen.calls == 1);
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
    SUBCASE("it was never begun") {
        hsw_offload_call first = call;
        first.on_abandoned = nullptr;
        first.destroy_user = nullptr;
        CHECK(hsw_offload_with(&first, &result) == HSW_ERR_TIMEOUT); // has the worker
        CHECK(hsw_offload_with(&call, &result) == HSW_ERR_TIMEOUT);
        std::thread ender([&] {
            std::this_thread::sleep_for(50ms);
            go = true;
        });
        CHECK(hsw_pool_shutdown(pool, true) == HSW_OK);
        ender.join();
        CHECK(hsw_run_until_idle() == HSW_OK);
        CHECK(seen.calls == 1);
        CHECK(seen.outcome == HSW_ERR_CLOSED);
        CHECK(seen.result == nullptr);
        CHECK(freed_results == 1); // the first one's
    }
    SUBCASE("it was not abandoned") {
        go = true;
        call.timeout_ns = LONG;
        CHECK(hsw_offload_with(&call, &result) == HSW_OK);
        CHECK(result == number(7));
        CHECK(seen.calls == 0);
    }
    SUBCASE("it had no time") {
        call.timeout_ns = 0;
        CHECK(hsw_offload_with(&call, &result) == HSW_ERR_TIMEOUT);
        CHECK(seen.calls == 0);
        go = true;
        CHECK(hsw_run_until_idle() == HSW_OK);
        CHECK(seen.calls == 1);
        CHECK(seen.outcome == HSW_OK);
    }
    SUBCASE("it was a mistake") {
        call.timeout_ns = NEGATIVE[0];
        CHECK(hsw_offload_with(&call, &result) == HSW_ERR_ARGUMENT);
        CHECK(seen.calls == 0);
    }
    CHECK(seen.freed == 1);
    CHECK(hsw_pool_release(pool) == HSW_OK);
}

TEST_CASE("the process's pool is one, and configured before its first use or not at all") {
    const no_leaks check;
    hsw_pool first{};
    hsw_pool second{};
    REQUIRE(hsw_pool_of_process(&first) == HSW_OK);
    REQUIRE(hsw_pool_of_process(&second) == HSW_OK);
    hsw_pool_settings settings{};
    CHECK(hsw_pool_get_settings(first, &settings) == HSW_OK);
    settings.threads += 1;
    CHECK(hsw_offload_configure(&settings) == HSW_ERR_SETTINGS);
    CHECK(has(last_message(), "in use already"));
    CHECK(hsw_pool_release(first) == HSW_OK);
    CHECK(hsw_pool_release(second) == HSW_OK);
}

TEST_CASE("an atomic tasklet is not interrupted by a budget, and the flag nests") {
    const no_leaks check;
    int turns = 0;
    const hsw_tasklet tasklet = spawn([&] {
        hsw_tasklet self{};
        CHECK(hsw_current(&self) == HSW_OK);
        bool before = true;
        bool inner = false;
        CHECK(hsw_tasklet_set_atomic(self, true, &before) == HSW_OK);
        CHECK_FALSE(before);
        CHECK(hsw_tasklet_set_atomic(self, true, &inner) == HSW_OK);
        CHECK(inner);
        CHECK(hsw_tasklet_set_atomic(self, inner, nullptr) == HSW_OK);
        for (; turns < 5; ++turns) {
            CHECK(hsw_schedule() == HSW_OK);
        }
        CHECK(hsw_tasklet_set_atomic(self, before, nullptr) == HSW_OK);
        return hsw_tasklet_release(self);
    });
    const hsw_budget budget{1, HSW_NO_LIMIT};
    CHECK(hsw_run_with(&budget, nullptr) == HSW_OK);
    CHECK(turns == 5);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
}

TEST_CASE("under a host lock one thread at a time runs") {
    const no_leaks check;
    hsw_host_lock_settings settings{};
    REQUIRE(hsw_host_lock_settings_default(&settings) == HSW_OK);
    CHECK(settings.switches == HSW_NO_LIMIT);
    CHECK(settings.time_ns == 5 * MS);
    settings.switches = 3;
    hsw_host_lock lock{};
    REQUIRE(hsw_host_lock_new(&settings, &lock) == HSW_OK);
    hsw_host_lock_settings got{};
    CHECK(hsw_host_lock_get_settings(lock, &got) == HSW_OK);
    CHECK(got.switches == 3);
    CHECK(got.time_ns == 5 * MS);
    hsw_host_lock mine{};
    CHECK(hsw_host_lock_current(&mine) == HSW_OK);
    CHECK(mine.handle == 0);

    struct told {
        std::atomic<int> contended{0};
        std::atomic<int> acquired{0};
        std::atomic<int> released{0};
    } told;
    static std::atomic<int> freed;
    freed = 0;
    const auto hook = [](const hsw_host_lock_event* event, void* user) {
        auto* const it = static_cast<struct told*>(user);
        switch (event->what) {
        case HSW_LOCK_CONTENDED:
            ++it->contended;
            break;
        case HSW_LOCK_ACQUIRED:
            ++it->acquired;
            break;
        case HSW_LOCK_RELEASED:
            ++it->released;
            break;
        default:
            break;
        }
    };
    CHECK(hsw_host_lock_set_hook(lock, hook, &told, [](void*) { ++freed; }) == HSW_OK);

    constexpr int EACH = 2000;
    int shared = 0; // no atomic: the lock alone keeps it whole
    const auto work = [&] {
        CHECK(hsw_host_lock_join(lock) == HSW_OK);
        CHECK(hsw_host_lock_join(lock) == HSW_OK); // twice is fine
        for (int t = 0; t < 2; ++t) {
            hsw_tasklet out = spawn([&] {
                for (int i = 0; i < EACH; ++i) {
                    const int seen = shared;
                    shared = seen + 1;
                    const hsw_status status = hsw_schedule();
                    if (status != HSW_OK) {
                        return status;
                    }
                }
                return HSW_OK;
            });
            CHECK(hsw_tasklet_release(out) == HSW_OK);
        }
        CHECK(hsw_run() == HSW_OK);
        hsw_host_lock here{};
        CHECK(hsw_host_lock_current(&here) == HSW_OK);
        CHECK(here.handle != 0);
        CHECK(hsw_host_lock_release(here) == HSW_OK);
        CHECK(hsw_host_lock_leave(lock) == HSW_OK);
        CHECK(hsw_host_lock_leave(lock) == HSW_OK);
    };
    std::thread first(work);
    std::thread second(work);
    first.join();
    second.join();
    CHECK(shared == 4 * EACH);
    hsw_host_lock_stats stats{};
    REQUIRE(hsw_host_lock_get_stats(lock, &stats) == HSW_OK);
    CHECK(stats.acquired >= 2);
    CHECK(stats.waiting == 0);
    CHECK(stats.owner.thread_id == 0);
    CHECK(stats.acquired == static_cast<std::uint64_t>(told.acquired));
    CHECK(stats.contended == static_cast<std::uint64_t>(told.contended));
    CHECK(told.released == told.acquired);
    CHECK(hsw_host_lock_set_hook(lock, nullptr, nullptr, nullptr) == HSW_OK);
    CHECK(freed == 1);
    for (const std::uint64_t time : NEGATIVE) {
        const hsw_host_lock_settings bad{1, time};
        CHECK(hsw_host_lock_new(&bad, &mine) == HSW_ERR_ARGUMENT);
    }
    CHECK(hsw_host_lock_release(lock) == HSW_OK);
}

TEST_CASE("who has given the host lock up may not run tasklets, and others may") {
    const no_leaks check;
    on_new_thread([] {
        hsw_host_lock lock{};
        REQUIRE(hsw_host_lock_new(nullptr, &lock) == HSW_OK);
        hsw_host_lock other{};
        REQUIRE(hsw_host_lock_new(nullptr, &other) == HSW_OK);
        CHECK(hsw_host_lock_join(lock) == HSW_OK);
        CHECK(hsw_host_lock_join(other) == HSW_ERR_STATE);
        const hsw_tasklet tasklet = spawn([] { return HSW_OK; });
        struct context {
            hsw_host_lock lock;
            bool theirs;
        } context{lock, false};
        CHECK(hsw_allow_threads(
                  [](void* data) {
                      auto* const it = static_cast<struct context*>(data);
                      CHECK(hsw_schedule() == HSW_ERR_SWITCH_TRAP);
                      CHECK(hsw_pump(0, nullptr) == HSW_ERR_SWITCH_TRAP);
                      std::thread([it] {
                          CHECK(hsw_host_lock_join(it->lock) == HSW_OK);
                          it->theirs = true;
                      }).join();
                  },
                  &context) == HSW_OK);
        CHECK(context.theirs);
        CHECK(hsw_run() == HSW_OK);
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
        CHECK(hsw_host_lock_leave(lock) == HSW_OK);
        CHECK(hsw_host_lock_release(lock) == HSW_OK);
        CHECK(hsw_host_lock_release(other) == HSW_OK);
    });
}

TEST_CASE("an installed host lock is joined by all threads") {
    const no_leaks check;
    on_new_thread([] {
        hsw_host_lock lock{};
        REQUIRE(hsw_host_lock_new(nullptr, &lock) == HSW_OK);
        CHECK(hsw_host_lock_install(lock) == HSW_OK);
        bool joined = false;
        std::function<void()> start = [&] {
            std::thread([&] {
                CHECK(hsw_thread_attach() == HSW_OK);
                hsw_host_lock theirs{};
                CHECK(hsw_host_lock_current(&theirs) == HSW_OK);
                joined = theirs.handle != 0;
                CHECK(hsw_host_lock_release(theirs) == HSW_OK);
            }).join();
        };
        CHECK(hsw_allow_threads(&call_void, &start) == HSW_OK);
        CHECK(joined);
        CHECK(hsw_host_lock_uninstall() == HSW_OK);
        CHECK(hsw_host_lock_leave(lock) == HSW_OK);
        CHECK(hsw_host_lock_release(lock) == HSW_OK);
    });
}

TEST_CASE("a listing of tasklets, piece by piece") {
    const no_leaks check;
    const hsw_tasklet tasklet = spawn([] { return hsw_schedule_remove(); }, "listed");
    CHECK(hsw_run() == HSW_OK);
    std::string text;
    CHECK(hsw_dump_tasklets([](const char* piece, std::size_t length, void* user) { static_cast<std::string*>(user)->append(piece, length); },
                            &text, false) == HSW_OK);
    CAPTURE(text);
    CHECK(has(text, "\"listed\" paused"));
    CHECK(has(text, "main running"));
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
}

TEST_CASE("where a tasklet was made is what C says") {
    const no_leaks check;
    const auto site = [](hsw_tasklet tasklet, std::uint32_t& line) {
        char file[8] = "unset";
        std::size_t length = 0;
        REQUIRE(hsw_tasklet_site(tasklet, file, sizeof file, &length, &line) == HSW_OK);
        CHECK(std::strlen(file) == std::min(length, sizeof file - 1));
        return std::string(file);
    };
    std::uint32_t line = 1;
    hsw_tasklet_options options{};
    options.file = "game.c";
    options.line = 42;
    hsw_tasklet tasklet{};
    // Not measured yet.
    REQUIRE(hsw_tasklet_new(&options, &tasklet) == HSW_OK);
    CHECK(site(tasklet, line) == "");
    CHECK(line == 0);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);

    CHECK_FALSE(hsw_set_statistics(true));
    REQUIRE(hsw_tasklet_new(&options, &tasklet) == HSW_OK);
    CHECK(site(tasklet, line) == "game.c");
    CHECK(line == 42);
    // Binding is no other place.
    CHECK(hsw_tasklet_bind(tasklet, &return_ok, nullptr, nullptr) == HSW_OK);
    CHECK(site(tasklet, line) == "game.c");
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    // What is not told is not a line of the library.
    REQUIRE(hsw_spawn(&return_ok, nullptr, nullptr, &tasklet) == HSW_OK);
    CHECK(site(tasklet, line) == "");
    CHECK(hsw_run() == HSW_OK);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    options.file = "\xff";
    CHECK(hsw_spawn(&return_ok, nullptr, &options, nullptr) == HSW_ERR_ARGUMENT);
    CHECK(hsw_set_statistics(false));
    CHECK(hsw_tasklet_site(hsw_tasklet{}, nullptr, 0, nullptr, nullptr) == HSW_ERR_NULL);
}

TEST_CASE("who waits for nobody is told, when no thread is left to come") {
    const no_leaks check;
    // In its own process's time: the other threads have ended, workers do not use the library, and the one handle is in use.
    const hsw_thread_channel channel = new_thread_channel(&destroy_counted);
    void* value = nullptr;
    int freed = 0;
    CHECK(hsw_thread_channel_receive(channel, &value) == HSW_ERR_DEADLOCK);
    CHECK(hsw_thread_channel_send(channel, new counted{&freed}) == HSW_ERR_DEADLOCK);
    CHECK(freed == 1);
    CHECK(balance(channel) == 0);
    CHECK(hsw_thread_channel_release(channel) == HSW_OK);
}

/// A tasklet that fails with a status of its own takes main out of whatever it waits in. That is not main's own time, nor a refusal of
/// what main has given away.
TEST_CASE("a failure of another tasklet is told apart from one's own") {
    const no_leaks check;
    hsw_lock lock{};
    hsw_condition condition{};
    REQUIRE(hsw_lock_new(&lock) == HSW_OK);
    REQUIRE(hsw_condition_new(&condition) == HSW_OK);
    CHECK(hsw_lock_lock(lock, 0) == HSW_OK);
    REQUIRE(hsw_tasklet_release(spawn([] { return HSW_ERR_TIMEOUT; })) == HSW_OK);
    CHECK(hsw_condition_wait(condition, lock, HSW_NO_LIMIT) == HSW_ERR_THROWN);
    bool locked = true;
    CHECK(hsw_lock_state(lock, &locked, nullptr, nullptr) == HSW_OK);
    CHECK_FALSE(locked);
    CHECK(hsw_condition_release(condition) == HSW_OK);
    CHECK(hsw_lock_release(lock) == HSW_OK);

    int freed = 0;
    hsw_channel channel{};
    REQUIRE(hsw_channel_new(&destroy_counted, &channel) == HSW_OK);
    // Takes a value, and fails in what it does next.
    const auto receiver = [channel](auto receive, hsw_status status) {
        REQUIRE(hsw_tasklet_release(spawn([=] {
                    void* value = nullptr;
                    CHECK(receive(&value) == HSW_OK);
                    destroy_counted(value);
                    const hsw_status failed =
                        status == HSW_ERR_TIMEOUT ? hsw_channel_receive_timeout(channel, 0, &value) : hsw_channel_try_receive(channel, &value);
                    CHECK(failed == status);
                    return failed;
                })) == HSW_OK);
        CHECK(hsw_run() == HSW_OK);
    };
    const auto here = [=](void** value) { return hsw_channel_receive(channel, value); };
    receiver(here, HSW_ERR_WOULD_BLOCK);
    CHECK(hsw_channel_try_send(channel, new counted{&freed}) == HSW_ERR_THROWN);
    CHECK(freed == 1);
    receiver(here, HSW_ERR_TIMEOUT);
    CHECK(hsw_channel_send_timeout(channel, new counted{&freed}, HSW_NO_LIMIT) == HSW_ERR_THROWN);
    CHECK(freed == 2);

    const hsw_thread_channel between = new_thread_channel(&destroy_counted);
    const auto there = [=](void** value) { return hsw_thread_channel_receive(between, value); };
    receiver(there, HSW_ERR_WOULD_BLOCK);
    // Between threads what has been handed over has been sent; the next call that may wait tells the failure.
    CHECK(hsw_thread_channel_try_send(between, new counted{&freed}) == HSW_OK);
    CHECK(hsw_run() == HSW_ERR_THROWN);
    receiver(there, HSW_ERR_TIMEOUT);
    CHECK(hsw_thread_channel_send_timeout(between, new counted{&freed}, 1000000000) == HSW_OK);
    CHECK(hsw_run() == HSW_ERR_THROWN);
    CHECK(freed == 4);
    CHECK(hsw_thread_channel_release(between) == HSW_OK);
    CHECK(hsw_channel_release(channel) == HSW_OK);

    hsw_sync_queue queue{};
    REQUIRE(hsw_sync_queue_new(1, &destroy_counted, &queue) == HSW_OK);
    REQUIRE(hsw_tasklet_release(spawn([] { return HSW_ERR_TIMEOUT; })) == HSW_OK);
    void* none = nullptr;
    CHECK(hsw_sync_queue_get(queue, HSW_NO_LIMIT, &none) == HSW_ERR_THROWN);
    CHECK(hsw_sync_queue_put(queue, new counted{&freed}, 0) == HSW_OK);
    REQUIRE(hsw_tasklet_release(spawn([] { return HSW_ERR_TIMEOUT; })) == HSW_OK);
    CHECK(hsw_sync_queue_put(queue, new counted{&freed}, HSW_NO_LIMIT) == HSW_ERR_THROWN);
    CHECK(freed == 5);
    CHECK(hsw_sync_queue_release(queue) == HSW_OK);
    CHECK(freed == 6);
}

TEST_CASE("the numbers of threads that have ended are given again, and their handles stay stale") {
    const no_leaks check;
    // Slow machines and tools say how many; by default more than a handle has numbers for.
    const char* const wanted = std::getenv("HSW_THREADS");
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    const int threads = wanted != nullptr ? std::atoi(wanted) : 65'600;
#else
    const int threads = wanted != nullptr ? std::atoi(wanted) : 300;
#endif
    int good = 0;
    for (int i = 0; i < threads; ++i) {
        std::thread([&] {
            const bool failed = hsw_channel_close(hsw_channel{}) == HSW_ERR_NULL;
            good += failed && hsw_last_error_status() == HSW_ERR_NULL && has(last_message(), "null") ? 1 : 0;
        }).join();
    }
    CHECK(good == threads);
    std::vector<hsw_timer_clock> gone;
    for (int i = 0; i < 50; ++i) {
        std::thread([&] {
            for (const hsw_timer_clock old : gone) {
                const hsw_status status = hsw_timer_clock_pause(old);
                CHECK((status == HSW_ERR_STALE || status == HSW_ERR_WRONG_THREAD));
            }
            hsw_timer_clock clock{};
            CHECK(hsw_timer_clock_new(&clock) == HSW_OK);
            CHECK(hsw_timer_clock_pause(clock) == HSW_OK);
            gone.push_back(clock);
        }).join();
    }
    CHECK(hsw_timer_clock_pause(gone[0]) == HSW_ERR_WRONG_THREAD);
}

TEST_CASE("a select waits for channels of one thread and of several together") {
    const no_leaks check;
    std::atomic<int> freed{0};
    const auto value = [&] { return new atomic_counted{&freed}; };
    const hsw_thread_channel in = new_thread_channel(&destroy_atomic);
    const hsw_thread_channel out = new_thread_channel(&destroy_atomic);
    hsw_channel here{};
    REQUIRE(hsw_channel_new(nullptr, &here) == HSW_OK);
    hsw_case cases[3] = {};
    const auto reset = [&] {
        cases[0] = hsw_case{};
        cases[0].thread_channel = in;
        cases[0].direction = HSW_RECEIVE;
        cases[1] = hsw_case{};
        cases[1].thread_channel = out;
        cases[1].direction = HSW_SEND;
        cases[1].value = value();
        cases[2] = hsw_case{};
        cases[2].channel = here;
        cases[2].direction = HSW_RECEIVE;
    };
    std::size_t chosen = 0;
    reset();
    for (const std::uint64_t time : {std::uint64_t{0}, MS}) {
        chosen = 0;
        CHECK(hsw_select(cases, 3, time, false, &chosen) == HSW_ERR_TIMEOUT);
        CHECK(chosen == SIZE_MAX);
        CHECK(cases[1].value != nullptr); // still ours
        CHECK(freed == 0);
        CHECK(balance(in) == 0);
        CHECK(balance(out) == 0);
    }
    void* const mine = cases[1].value;

    // A sender, a receiver, and one who closes, each on a thread of its own.
    std::thread sender([channel = another(in), &value] {
        while (balance(channel) == 0) {
            std::this_thread::yield();
        }
        CHECK(hsw_thread_channel_send(channel, value()) == HSW_OK);
        CHECK(hsw_thread_channel_release(channel) == HSW_OK);
        CHECK(hsw_thread_exit() == HSW_OK);
    });
    CHECK(hsw_select(cases, 3, LONG, false, &chosen) == HSW_OK);
    CHECK(chosen == 0);
    REQUIRE(cases[0].value != nullptr);
    destroy_atomic(cases[0].value);
    CHECK(cases[1].value == mine);
    sender.join();

    std::thread receiver([channel = another(out)] {
        void* got = nullptr;
        CHECK(hsw_thread_channel_receive(channel, &got) == HSW_OK);
        REQUIRE(got != nullptr);
        destroy_atomic(got);
        CHECK(hsw_thread_channel_release(channel) == HSW_OK);
        CHECK(hsw_thread_exit() == HSW_OK);
    });
    CHECK(hsw_select(cases, 3, HSW_NO_LIMIT, true, &chosen) == HSW_OK);
    CHECK(chosen == 1);
    receiver.join();
    CHECK(freed == 2);

    reset();
    std::thread closer([channel = another(out)] {
        while (balance(channel) == 0) {
            std::this_thread::yield();
        }
        std::size_t woken = 0;
        CHECK(hsw_thread_channel_close_and_wake(channel, &woken) == HSW_OK);
        CHECK(woken == 1);
        CHECK(hsw_thread_channel_release(channel) == HSW_OK);
        CHECK(hsw_thread_exit() == HSW_OK);
    });
    CHECK(hsw_select(cases, 3, LONG, false, &chosen) == HSW_ERR_CLOSED);
    CHECK(chosen == 1);
    closer.join();
    REQUIRE(cases[1].value != nullptr); // ours again
    destroy_atomic(cases[1].value);
    CHECK(freed == 3);

    // Bad ones.
    cases[0].channel = here;
    CHECK(hsw_select(cases, 1, 0, false, &chosen) == HSW_ERR_ARGUMENT);
    CHECK(has(last_message(), "cases[0]"));
    cases[0] = hsw_case{};
    cases[0].direction = HSW_RECEIVE;
    cases[0].thread_channel.handle = here.handle;
    CHECK(hsw_select(cases, 1, 0, false, &chosen) == HSW_ERR_WRONG_KIND);
    CHECK(hsw_channel_release(here) == HSW_OK);
    CHECK(hsw_thread_channel_release(in) == HSW_OK);
    cases[0].thread_channel = in;
    CHECK(hsw_select(cases, 1, 0, false, &chosen) == HSW_ERR_STALE);
    CHECK(hsw_thread_channel_release(out) == HSW_OK);
}
