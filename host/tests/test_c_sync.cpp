// The C interface of locks and their kin, timers and tasklet-local values: used by tasklets and by plain threads, and misused.
#include <hardswitch.h>

#include "c_helpers.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
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

hsw_lock new_lock() {
    hsw_lock out{};
    REQUIRE(hsw_lock_new(&out) == HSW_OK);
    return out;
}
hsw_rlock new_rlock() {
    hsw_rlock out{};
    REQUIRE(hsw_rlock_new(&out) == HSW_OK);
    return out;
}
hsw_semaphore new_semaphore(std::size_t permits, bool bounded) {
    hsw_semaphore out{};
    REQUIRE(hsw_semaphore_new(permits, bounded, &out) == HSW_OK);
    return out;
}
hsw_condition new_condition() {
    hsw_condition out{};
    REQUIRE(hsw_condition_new(&out) == HSW_OK);
    return out;
}
hsw_event new_event() {
    hsw_event out{};
    REQUIRE(hsw_event_new(&out) == HSW_OK);
    return out;
}
hsw_barrier new_barrier(std::size_t parties) {
    hsw_barrier out{};
    REQUIRE(hsw_barrier_new(parties, &out) == HSW_OK);
    return out;
}
hsw_sync_queue new_queue(std::size_t capacity, hsw_destroy destroy = nullptr) {
    hsw_sync_queue out{};
    REQUIRE(hsw_sync_queue_new(capacity, destroy, &out) == HSW_OK);
    return out;
}
/// At zero.
hsw_timer_clock stopped_clock() {
    hsw_timer_clock out{};
    REQUIRE(hsw_timer_clock_new(&out) == HSW_OK);
    REQUIRE(hsw_timer_clock_pause(out) == HSW_OK);
    REQUIRE(hsw_timer_clock_set(out, 0) == HSW_OK);
    return out;
}

std::size_t waiting_for(hsw_lock lock) {
    std::size_t out = 99;
    REQUIRE(hsw_lock_state(lock, nullptr, nullptr, &out) == HSW_OK);
    return out;
}
bool is_mine(hsw_lock lock) {
    bool out = false;
    REQUIRE(hsw_lock_state(lock, nullptr, &out, nullptr) == HSW_OK);
    return out;
}
bool is_locked(hsw_lock lock) {
    bool out = false;
    REQUIRE(hsw_lock_state(lock, &out, nullptr, nullptr) == HSW_OK);
    return out;
}
std::size_t waiting_for(hsw_condition condition) {
    std::size_t out = 99;
    REQUIRE(hsw_condition_waiting(condition, &out) == HSW_OK);
    return out;
}
std::size_t length(hsw_sync_queue queue) {
    std::size_t out = 99;
    REQUIRE(hsw_sync_queue_state(queue, &out, nullptr) == HSW_OK);
    return out;
}
bool is_broken(hsw_barrier barrier) {
    bool out = false;
    REQUIRE(hsw_barrier_state(barrier, nullptr, nullptr, &out) == HSW_OK);
    return out;
}
std::size_t pending(hsw_timer_clock clock) {
    hsw_timer_clock_info info{};
    REQUIRE(hsw_timer_clock_get_info(clock, &info) == HSW_OK);
    return info.pending;
}

/// Lets all run until they wait; nothing may fail.
void settle() { REQUIRE(hsw_run() == HSW_OK); }

/// Runs the thread's loop until `done`.
void drive(const std::function<bool()>& done) {
    const auto start = std::chrono::steady_clock::now();
    while (!done()) {
        REQUIRE(std::chrono::steady_clock::now() - start < 60s);
        REQUIRE(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
        REQUIRE(hsw_pump(MS, nullptr) == HSW_OK);
    }
}

/// A tasklet without a handle.
void start(std::function<hsw_status()> function) { REQUIRE(hsw_tasklet_release(spawn(std::move(function))) == HSW_OK); }

/// A tasklet that makes one call which is to wait, and writes down what it came to.
hsw_tasklet waits(hsw_status& result, std::function<hsw_status()> call) {
    result = HSW_ERR_OTHER;
    const hsw_tasklet out = spawn([&result, call = std::move(call)] {
        result = call();
        return HSW_OK;
    });
    settle();
    REQUIRE(result == HSW_ERR_OTHER);
    return out;
}

void kill(hsw_tasklet tasklet) {
    CHECK(hsw_tasklet_kill(tasklet, false) == HSW_OK);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
}

std::atomic<int> freed{0};
void count_freed(void*) { ++freed; }

hsw_status note(void* argument) {
    auto& order = *static_cast<std::vector<int>*>(argument);
    order.push_back(static_cast<int>(order.size()));
    return HSW_OK;
}

} // namespace

TEST_CASE("handles of nothing, and results that have nowhere to go, are errors in every function") {
    const no_leaks check;
    void* value = nullptr;
    std::uint64_t time = 0;
    hsw_timer_clock_info info{};

    hsw_lock lock{};
    CHECK(hsw_lock_new(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_lock_retain({}, &lock) == HSW_ERR_NULL);
    CHECK(hsw_lock_release({}) == HSW_ERR_NULL);
    CHECK(last_message() == "the lock handle is null");
    CHECK(hsw_lock_lock({}, 0) == HSW_ERR_NULL);
    CHECK(hsw_lock_unlock({}) == HSW_ERR_NULL);
    CHECK(hsw_lock_state({}, nullptr, nullptr, nullptr) == HSW_ERR_NULL);
    lock = new_lock();
    CHECK(hsw_lock_retain(lock, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_lock_state(lock, nullptr, nullptr, nullptr) == HSW_OK);

    hsw_rlock rlock{};
    CHECK(hsw_rlock_new(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_rlock_retain({}, &rlock) == HSW_ERR_NULL);
    CHECK(hsw_rlock_release({}) == HSW_ERR_NULL);
    CHECK(hsw_rlock_lock({}, 0) == HSW_ERR_NULL);
    CHECK(hsw_rlock_unlock({}) == HSW_ERR_NULL);
    CHECK(hsw_rlock_state({}, nullptr, nullptr, nullptr) == HSW_ERR_NULL);

    hsw_semaphore semaphore{};
    CHECK(hsw_semaphore_new(1, true, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_semaphore_retain({}, &semaphore) == HSW_ERR_NULL);
    CHECK(hsw_semaphore_release({}) == HSW_ERR_NULL);
    CHECK(hsw_semaphore_acquire({}, 0) == HSW_ERR_NULL);
    CHECK(hsw_semaphore_give_back({}, 1) == HSW_ERR_NULL);
    CHECK(hsw_semaphore_state({}, nullptr, nullptr) == HSW_ERR_NULL);

    hsw_condition condition{};
    std::size_t count = 0;
    CHECK(hsw_condition_new(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_condition_retain({}, &condition) == HSW_ERR_NULL);
    CHECK(hsw_condition_release({}) == HSW_ERR_NULL);
    CHECK(hsw_condition_wait({}, lock, 0) == HSW_ERR_NULL);
    CHECK(hsw_condition_notify({}, 1) == HSW_ERR_NULL);
    CHECK(hsw_condition_waiting({}, &count) == HSW_ERR_NULL);
    condition = new_condition();
    CHECK(hsw_condition_wait(condition, {}, 0) == HSW_ERR_NULL);
    CHECK(hsw_condition_waiting(condition, nullptr) == HSW_ERR_NULL);

    hsw_event event{};
    CHECK(hsw_event_new(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_event_retain({}, &event) == HSW_ERR_NULL);
    CHECK(hsw_event_release({}) == HSW_ERR_NULL);
    CHECK(hsw_event_set({}) == HSW_ERR_NULL);
    CHECK(hsw_event_clear({}) == HSW_ERR_NULL);
    CHECK(hsw_event_wait({}, 0) == HSW_ERR_NULL);
    CHECK(hsw_event_state({}, nullptr, nullptr) == HSW_ERR_NULL);

    hsw_barrier barrier{};
    CHECK(hsw_barrier_new(1, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_barrier_retain({}, &barrier) == HSW_ERR_NULL);
    CHECK(hsw_barrier_release({}) == HSW_ERR_NULL);
    CHECK(hsw_barrier_wait({}, 0, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_barrier_abort({}) == HSW_ERR_NULL);
    CHECK(hsw_barrier_reset({}) == HSW_ERR_NULL);
    CHECK(hsw_barrier_state({}, nullptr, nullptr, nullptr) == HSW_ERR_NULL);

    hsw_sync_queue queue{};
    CHECK(hsw_sync_queue_new(1, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_sync_queue_retain({}, &queue) == HSW_ERR_NULL);
    CHECK(hsw_sync_queue_release({}) == HSW_ERR_NULL);
    CHECK(hsw_sync_queue_put({}, nullptr, 0) == HSW_ERR_NULL);
    CHECK(hsw_sync_queue_get({}, 0, &value) == HSW_ERR_NULL);
    CHECK(hsw_sync_queue_close({}) == HSW_ERR_NULL);
    CHECK(hsw_sync_queue_state({}, nullptr, nullptr) == HSW_ERR_NULL);
    queue = new_queue(1);
    CHECK(hsw_sync_queue_get(queue, 0, nullptr) == HSW_ERR_NULL);

    hsw_local local{};
    CHECK(hsw_local_new(nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_local_retain({}, &local) == HSW_ERR_NULL);
    CHECK(hsw_local_release({}) == HSW_ERR_NULL);
    CHECK(hsw_local_set({}, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_local_get({}, &value) == HSW_ERR_NULL);
    REQUIRE(hsw_local_new(nullptr, &local) == HSW_OK);
    CHECK(hsw_local_get(local, nullptr) == HSW_ERR_NULL);

    hsw_timer_clock clock{};
    CHECK(hsw_timer_clock_wall(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_simulated(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_new(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_retain({}, &clock) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_release({}) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_now({}, &time) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_pause({}) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_resume({}) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_set_scale({}, 1) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_advance({}, 1) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_set({}, 1) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_get_info({}, &info) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_sleep({}, 0) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_sleep_until({}, 0) == HSW_ERR_NULL);
    clock = stopped_clock();
    CHECK(hsw_timer_clock_now(clock, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_timer_clock_get_info(clock, nullptr) == HSW_ERR_NULL);

    // The argument is gone with each of these.
    freed = 0;
    hsw_timer timer{};
    CHECK(hsw_timer_call_later({}, 0, &return_ok, nullptr, &count_freed, &timer) == HSW_ERR_NULL);
    CHECK(hsw_timer_call_at({}, 0, &return_ok, nullptr, &count_freed, &timer) == HSW_ERR_NULL);
    CHECK(hsw_timer_repeat({}, 1, &return_ok, nullptr, &count_freed, &timer) == HSW_ERR_NULL);
    CHECK(hsw_timer_call_later(clock, 0, nullptr, nullptr, &count_freed, &timer) == HSW_ERR_NULL);
    CHECK(hsw_timer_call_at(clock, 0, nullptr, nullptr, &count_freed, &timer) == HSW_ERR_NULL);
    CHECK(hsw_timer_repeat(clock, 1, nullptr, nullptr, &count_freed, &timer) == HSW_ERR_NULL);
    CHECK(freed == 6);
    CHECK(timer.handle == 0);
    CHECK(pending(clock) == 0);
    CHECK(hsw_timer_retain({}, &timer) == HSW_ERR_NULL);
    CHECK(hsw_timer_release({}) == HSW_ERR_NULL);
    CHECK(hsw_timer_cancel({}, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_timer_state({}, nullptr, &time) == HSW_ERR_NULL);

    CHECK(hsw_lock_release(lock) == HSW_OK);
    CHECK(hsw_condition_release(condition) == HSW_OK);
    CHECK(hsw_sync_queue_release(queue) == HSW_OK);
    CHECK(hsw_local_release(local) == HSW_OK);
    CHECK(hsw_timer_clock_release(clock) == HSW_OK);
}

TEST_CASE("a released handle is stale, also when its slot is used again; one of another kind is told apart") {
    const no_leaks check;
    const hsw_lock lock = new_lock();
    CHECK(hsw_lock_release(lock) == HSW_OK);
    const hsw_lock other = new_lock();
    CHECK(hsw_lock_lock(lock, 0) == HSW_ERR_STALE);
    CHECK(last_message() == "the lock handle is stale: it was released, or never was one");
    CHECK(hsw_lock_unlock(lock) == HSW_ERR_STALE);
    CHECK(hsw_lock_release(lock) == HSW_ERR_STALE);
    CHECK_FALSE(is_locked(other));

    const hsw_semaphore semaphore = new_semaphore(1, true);
    CHECK(hsw_lock_lock({semaphore.handle}, 0) == HSW_ERR_WRONG_KIND);
    CHECK(last_message() == "the handle does not name a lock");
    CHECK(hsw_rlock_lock({other.handle}, 0) == HSW_ERR_WRONG_KIND);
    CHECK(hsw_condition_wait({other.handle}, other, 0) == HSW_ERR_WRONG_KIND);
    CHECK(hsw_timer_cancel({other.handle}, nullptr) == HSW_ERR_WRONG_KIND);
    CHECK(hsw_lock_lock({0xdead'beef}, 0) == HSW_ERR_STALE);
    CHECK(hsw_lock_lock({UINT64_MAX}, 0) == HSW_ERR_STALE);
    CHECK(hsw_semaphore_release(semaphore) == HSW_OK);
    CHECK(hsw_semaphore_acquire(semaphore, 0) == HSW_ERR_STALE);

    const hsw_rlock rlock = new_rlock();
    CHECK(hsw_rlock_release(rlock) == HSW_OK);
    CHECK(hsw_rlock_release(rlock) == HSW_ERR_STALE);
    CHECK(hsw_rlock_lock(rlock, 0) == HSW_ERR_STALE);
    const hsw_condition condition = new_condition();
    CHECK(hsw_condition_release(condition) == HSW_OK);
    CHECK(hsw_condition_release(condition) == HSW_ERR_STALE);
    CHECK(hsw_lock_lock(other, 0) == HSW_OK);
    CHECK(hsw_condition_wait(condition, other, 0) == HSW_ERR_STALE);
    CHECK(is_mine(other));
    CHECK(hsw_lock_unlock(other) == HSW_OK);
    const hsw_event event = new_event();
    CHECK(hsw_event_release(event) == HSW_OK);
    CHECK(hsw_event_wait(event, HSW_NO_LIMIT) == HSW_ERR_STALE);
    const hsw_barrier barrier = new_barrier(2);
    CHECK(hsw_barrier_release(barrier) == HSW_OK);
    CHECK(hsw_barrier_wait(barrier, HSW_NO_LIMIT, nullptr) == HSW_ERR_STALE);
    const hsw_sync_queue queue = new_queue(1, &count_freed);
    CHECK(hsw_sync_queue_release(queue) == HSW_OK);
    freed = 0;
    CHECK(hsw_sync_queue_put(queue, number(1), HSW_NO_LIMIT) == HSW_ERR_STALE);
    CHECK(freed == 0);
    hsw_local local{};
    CHECK(hsw_local_new(nullptr, &local) == HSW_OK);
    CHECK(hsw_local_release(local) == HSW_OK);
    CHECK(hsw_local_set(local, number(1)) == HSW_ERR_STALE);

    // Each handle has one owner: the second release of one does not take the other's.
    hsw_lock second{};
    CHECK(hsw_lock_retain(other, &second) == HSW_OK);
    CHECK(hsw_lock_release(other) == HSW_OK);
    CHECK(hsw_lock_release(other) == HSW_ERR_STALE);
    CHECK(hsw_lock_lock(second, 0) == HSW_OK);
    CHECK(hsw_lock_release(second) == HSW_OK);
}

TEST_CASE("clocks and timers belong to their thread, the others to none") {
    const no_leaks check;
    const hsw_timer_clock clock = stopped_clock();
    hsw_timer timer{};
    REQUIRE(hsw_timer_call_later(clock, 1, &return_ok, nullptr, nullptr, &timer) == HSW_OK);
    const hsw_lock lock = new_lock();
    on_new_thread([=] {
        CHECK(hsw_timer_clock_advance(clock, 1) == HSW_ERR_WRONG_THREAD);
        CHECK(last_message() == "the clock belongs to another thread");
        CHECK(hsw_timer_clock_release(clock) == HSW_ERR_WRONG_THREAD);
        CHECK(hsw_timer_cancel(timer, nullptr) == HSW_ERR_WRONG_THREAD);
        CHECK(hsw_timer_release(timer) == HSW_ERR_WRONG_THREAD);
        CHECK(hsw_lock_lock(lock, 0) == HSW_OK);
        CHECK(hsw_lock_unlock(lock) == HSW_OK);
    });
    CHECK(pending(clock) == 1);
    bool was = false;
    CHECK(hsw_timer_cancel(timer, &was) == HSW_OK);
    CHECK(was);
    CHECK(hsw_timer_release(timer) == HSW_OK);
    CHECK(hsw_timer_clock_release(clock) == HSW_OK);
    CHECK(hsw_lock_release(lock) == HSW_OK);
}

TEST_CASE("a time of zero tries once and runs nobody") {
    const no_leaks check;
    const hsw_lock lock = new_lock();
    const hsw_rlock rlock = new_rlock();
    const hsw_semaphore semaphore = new_semaphore(0, false);
    const hsw_event event = new_event();
    const hsw_barrier barrier = new_barrier(2);
    const hsw_sync_queue queue = new_queue(1);
    bool ran = false;
    REQUIRE(hsw_lock_lock(lock, 0) == HSW_OK);
    const hsw_tasklet holder = spawn([rlock] {
        REQUIRE(hsw_rlock_lock(rlock, 0) == HSW_OK);
        REQUIRE(hsw_schedule_remove() == HSW_ERR_EXIT);
        return hsw_rlock_unlock(rlock);
    });
    settle();
    start([&ran] {
        ran = true;
        return HSW_OK;
    });
    CHECK(hsw_lock_lock(lock, 0) == HSW_ERR_TIMEOUT);
    CHECK(last_message() == "timed out");
    CHECK(hsw_rlock_lock(rlock, 0) == HSW_ERR_TIMEOUT);
    CHECK(hsw_semaphore_acquire(semaphore, 0) == HSW_ERR_TIMEOUT);
    CHECK(hsw_event_wait(event, 0) == HSW_ERR_TIMEOUT);
    void* value = number(7);
    CHECK(hsw_sync_queue_get(queue, 0, &value) == HSW_ERR_TIMEOUT);
    CHECK(value == number(7));
    CHECK(hsw_sync_queue_put(queue, number(1), 0) == HSW_OK);
    CHECK(hsw_sync_queue_put(queue, number(2), 0) == HSW_ERR_TIMEOUT);
    CHECK(hsw_barrier_wait(barrier, 0, nullptr) == HSW_ERR_TIMEOUT);
    CHECK_FALSE(ran);
    settle();
    CHECK(ran);
    kill(holder);
    CHECK(hsw_lock_release(lock) == HSW_OK);
    CHECK(hsw_rlock_release(rlock) == HSW_OK);
    CHECK(hsw_semaphore_release(semaphore) == HSW_OK);
    CHECK(hsw_event_release(event) == HSW_OK);
    CHECK(hsw_barrier_release(barrier) == HSW_OK);
    CHECK(hsw_sync_queue_release(queue) == HSW_OK);
}

TEST_CASE("a negative time is a mistake that changes nothing, and an absurdly long one is waited for") {
    const no_leaks check;
    const hsw_lock lock = new_lock();
    const hsw_rlock rlock = new_rlock();
    const hsw_semaphore semaphore = new_semaphore(1, true);
    const hsw_condition condition = new_condition();
    const hsw_event event = new_event();
    const hsw_barrier barrier = new_barrier(2);
    const hsw_sync_queue queue = new_queue(2, &count_freed);
    const hsw_timer_clock clock = stopped_clock();
    freed = 0;
    for (const std::uint64_t negative : NEGATIVE) {
        void* value = nullptr;
        CHECK(hsw_lock_lock(lock, negative) == HSW_ERR_ARGUMENT);
        CHECK(has(last_message(), "negative"));
        CHECK_FALSE(is_locked(lock));
        CHECK(hsw_rlock_lock(rlock, negative) == HSW_ERR_ARGUMENT);
        CHECK(hsw_semaphore_acquire(semaphore, negative) == HSW_ERR_ARGUMENT);
        CHECK(hsw_event_wait(event, negative) == HSW_ERR_ARGUMENT);
        CHECK(hsw_barrier_wait(barrier, negative, nullptr) == HSW_ERR_ARGUMENT);
        CHECK(hsw_sync_queue_put(queue, number(1), negative) == HSW_ERR_ARGUMENT);
        CHECK(hsw_sync_queue_get(queue, negative, &value) == HSW_ERR_ARGUMENT);
        CHECK(hsw_lock_lock(lock, 0) == HSW_OK);
        CHECK(hsw_condition_wait(condition, lock, negative) == HSW_ERR_ARGUMENT);
        CHECK(is_mine(lock));
        CHECK(hsw_lock_unlock(lock) == HSW_OK);
        CHECK(hsw_timer_clock_sleep(clock, negative) == HSW_ERR_ARGUMENT);
        CHECK(hsw_timer_clock_advance(clock, negative) == HSW_ERR_ARGUMENT);
        CHECK(hsw_timer_clock_sleep_until(clock, negative) == HSW_ERR_ARGUMENT);
        CHECK(hsw_timer_clock_set(clock, negative) == HSW_ERR_ARGUMENT);
        CHECK(freed == 0);
        CHECK(hsw_timer_call_later(clock, negative, &return_ok, nullptr, &count_freed, nullptr) == HSW_ERR_ARGUMENT);
        CHECK(hsw_timer_repeat(clock, negative, &return_ok, nullptr, &count_freed, nullptr) == HSW_ERR_ARGUMENT);
        CHECK(hsw_timer_call_at(clock, negative, &return_ok, nullptr, &count_freed, nullptr) == HSW_ERR_ARGUMENT);
        CHECK(freed == 3);
        freed = 0;
    }
    CHECK_FALSE(is_broken(barrier));
    CHECK(length(queue) == 0);
    std::size_t free_permits = 0;
    CHECK(hsw_semaphore_state(semaphore, &free_permits, nullptr) == HSW_OK);
    CHECK(free_permits == 1);

    for (const std::uint64_t absurd : {static_cast<std::uint64_t>(INT64_MAX), static_cast<std::uint64_t>(HSW_NO_LIMIT)}) {
        hsw_status got_lock{};
        hsw_status got_event{};
        hsw_status got_value{};
        void* value = nullptr;
        REQUIRE(hsw_lock_lock(lock, absurd) == HSW_OK);
        const hsw_tasklet a = waits(got_lock, [=] {
            const hsw_status status = hsw_lock_lock(lock, absurd);
            return status != HSW_OK ? status : hsw_lock_unlock(lock);
        });
        const hsw_tasklet b = waits(got_event, [=] { return hsw_event_wait(event, absurd); });
        const hsw_tasklet c = waits(got_value, [=, &value] { return hsw_sync_queue_get(queue, absurd, &value); });
        CHECK(hsw_lock_unlock(lock) == HSW_OK);
        CHECK(hsw_event_set(event) == HSW_OK);
        CHECK(hsw_sync_queue_put(queue, number(5), absurd) == HSW_OK);
        settle();
        CHECK(got_lock == HSW_OK);
        CHECK(got_event == HSW_OK);
        CHECK(got_value == HSW_OK);
        CHECK(value == number(5));
        CHECK(hsw_event_clear(event) == HSW_OK);
        for (const hsw_tasklet t : {a, b, c}) {
            CHECK(hsw_tasklet_release(t) == HSW_OK);
        }
    }
    CHECK(hsw_lock_release(lock) == HSW_OK);
    CHECK(hsw_rlock_release(rlock) == HSW_OK);
    CHECK(hsw_semaphore_release(semaphore) == HSW_OK);
    CHECK(hsw_condition_release(condition) == HSW_OK);
    CHECK(hsw_event_release(event) == HSW_OK);
    CHECK(hsw_barrier_release(barrier) == HSW_OK);
    CHECK(hsw_sync_queue_release(queue) == HSW_OK);
    CHECK(hsw_timer_clock_release(clock) == HSW_OK);
}

TEST_CASE("a wait ends at its time and not before, and who gave up is on no list") {
    const no_leaks check;
    const hsw_lock lock = new_lock();
    REQUIRE(hsw_lock_lock(lock, 0) == HSW_OK);
    const auto begun = std::chrono::steady_clock::now();
    CHECK(hsw_lock_lock(lock, 20 * MS) == HSW_ERR_TIMEOUT);
    CHECK(std::chrono::steady_clock::now() - begun >= 20ms);
    CHECK(waiting_for(lock) == 0);
    CHECK(is_mine(lock));
    CHECK(hsw_lock_unlock(lock) == HSW_OK);
    CHECK(hsw_lock_release(lock) == HSW_OK);
}

TEST_CASE("what nobody holds cannot be given back") {
    const no_leaks check;
    const hsw_lock lock = new_lock();
    CHECK(hsw_lock_unlock(lock) == HSW_ERR_STATE);
    CHECK(last_message() == "the lock is not held");
    CHECK(hsw_lock_lock(lock, 0) == HSW_OK);
    CHECK(hsw_lock_unlock(lock) == HSW_OK);
    CHECK(hsw_lock_unlock(lock) == HSW_ERR_STATE);
    CHECK_FALSE(is_locked(lock));

    const hsw_rlock rlock = new_rlock();
    CHECK(hsw_rlock_unlock(rlock) == HSW_ERR_STATE);
    CHECK(last_message() == "the caller does not hold the lock");
    CHECK(hsw_rlock_lock(rlock, 0) == HSW_OK);
    CHECK(hsw_rlock_lock(rlock, 0) == HSW_OK);
    hsw_status others{};
    start([&others, rlock] {
        others = hsw_rlock_unlock(rlock);
        return HSW_OK;
    });
    settle();
    CHECK(others == HSW_ERR_STATE);
    on_new_thread([rlock] { CHECK(hsw_rlock_unlock(rlock) == HSW_ERR_STATE); });
    CHECK(hsw_rlock_unlock(rlock) == HSW_OK);
    bool locked = false;
    bool mine = false;
    CHECK(hsw_rlock_state(rlock, &locked, &mine, nullptr) == HSW_OK);
    CHECK((locked && mine));
    CHECK(hsw_rlock_unlock(rlock) == HSW_OK);
    CHECK(hsw_rlock_unlock(rlock) == HSW_ERR_STATE);

    const hsw_semaphore bounded = new_semaphore(2, true);
    CHECK(hsw_semaphore_give_back(bounded, 1) == HSW_ERR_STATE);
    CHECK(last_message() == "semaphore released too many times");
    CHECK(hsw_semaphore_acquire(bounded, 0) == HSW_OK);
    CHECK(hsw_semaphore_give_back(bounded, 2) == HSW_ERR_STATE);
    CHECK(hsw_semaphore_acquire(bounded, 0) == HSW_OK);
    // With somebody waiting it is no different.
    hsw_status got{};
    const hsw_tasklet waiter = waits(got, [bounded] { return hsw_semaphore_acquire(bounded, LONG); });
    CHECK(hsw_semaphore_give_back(bounded, 3) == HSW_ERR_STATE);
    settle();
    CHECK(got == HSW_ERR_OTHER);
    CHECK(hsw_semaphore_give_back(bounded, 2) == HSW_OK);
    settle();
    CHECK(got == HSW_OK);
    std::size_t available = 0;
    CHECK(hsw_semaphore_state(bounded, &available, nullptr) == HSW_OK);
    CHECK(available == 1);
    CHECK(hsw_tasklet_release(waiter) == HSW_OK);
    const hsw_semaphore unbounded = new_semaphore(0, false);
    CHECK(hsw_semaphore_give_back(unbounded, 5) == HSW_OK);
    CHECK(hsw_semaphore_give_back(unbounded, SIZE_MAX) == HSW_ERR_STATE);
    CHECK(hsw_semaphore_state(unbounded, &available, nullptr) == HSW_OK);
    CHECK(available == 5);
    hsw_semaphore none{};
    CHECK(hsw_semaphore_new(SIZE_MAX, false, &none) == HSW_ERR_ARGUMENT);
    CHECK(none.handle == 0);

    CHECK(hsw_lock_release(lock) == HSW_OK);
    CHECK(hsw_rlock_release(rlock) == HSW_OK);
    CHECK(hsw_semaphore_release(bounded) == HSW_OK);
    CHECK(hsw_semaphore_release(unbounded) == HSW_OK);
}

TEST_CASE("a condition is waited for with the lock, or not at all") {
    const no_leaks check;
    const hsw_lock lock = new_lock();
    const hsw_condition condition = new_condition();
    // Nobody's.
    CHECK(hsw_condition_wait(condition, lock, LONG) == HSW_ERR_STATE);
    CHECK(last_message() == "the caller does not hold the lock");
    // Somebody else's: it stays theirs.
    hsw_status foreign{};
    REQUIRE(hsw_lock_lock(lock, 0) == HSW_OK);
    start([&foreign, condition, lock] {
        foreign = hsw_condition_wait(condition, lock, LONG);
        return HSW_OK;
    });
    settle();
    CHECK(foreign == HSW_ERR_STATE);
    on_new_thread([=] { CHECK(hsw_condition_wait(condition, lock, LONG) == HSW_ERR_STATE); });
    CHECK(is_mine(lock));
    CHECK(waiting_for(condition) == 0);

    // At its time the lock is held again, with zero as well.
    CHECK(hsw_condition_wait(condition, lock, 0) == HSW_ERR_TIMEOUT);
    CHECK(is_mine(lock));
    CHECK(hsw_condition_wait(condition, lock, 5 * MS) == HSW_ERR_TIMEOUT);
    CHECK(is_mine(lock));
    CHECK(hsw_lock_unlock(lock) == HSW_OK);

    // Notified: it comes back when the lock is its own.
    hsw_status woken{};
    const hsw_tasklet waiter = waits(woken, [=] {
        REQUIRE(hsw_lock_lock(lock, LONG) == HSW_OK);
        const hsw_status status = hsw_condition_wait(condition, lock, LONG);
        CHECK(is_mine(lock));
        CHECK(hsw_lock_unlock(lock) == HSW_OK);
        return status;
    });
    CHECK(waiting_for(condition) == 1);
    CHECK(hsw_lock_lock(lock, 0) == HSW_OK);
    CHECK(hsw_condition_notify(condition, SIZE_MAX) == HSW_OK);
    settle();
    CHECK(woken == HSW_ERR_OTHER);
    CHECK(waiting_for(lock) == 1);
    CHECK(hsw_lock_unlock(lock) == HSW_OK);
    settle();
    CHECK(woken == HSW_OK);
    CHECK(hsw_tasklet_release(waiter) == HSW_OK);

    // Killed: the lock is not its own any more.
    bool mine = true;
    hsw_status killed{};
    kill(waits(killed, [=, &mine] {
        REQUIRE(hsw_lock_lock(lock, LONG) == HSW_OK);
        const hsw_status status = hsw_condition_wait(condition, lock, LONG);
        mine = is_mine(lock);
        return status;
    }));
    CHECK(killed == HSW_ERR_EXIT);
    CHECK_FALSE(mine);
    CHECK_FALSE(is_locked(lock));
    CHECK(waiting_for(condition) == 0);

    // A trap: neither.
    hsw_tasklet me{};
    CHECK(hsw_current(&me) == HSW_OK);
    CHECK(hsw_lock_lock(lock, 0) == HSW_OK);
    CHECK(hsw_tasklet_set_block_trap(me, true, nullptr) == HSW_OK);
    CHECK(hsw_condition_wait(condition, lock, LONG) == HSW_ERR_BLOCK_TRAP);
    CHECK(hsw_tasklet_set_block_trap(me, false, nullptr) == HSW_OK);
    CHECK_FALSE(is_locked(lock));
    CHECK(hsw_tasklet_release(me) == HSW_OK);
    CHECK(hsw_condition_release(condition) == HSW_OK);
    CHECK(hsw_lock_release(lock) == HSW_OK);
}

TEST_CASE("who is killed while it waits leaves, and what it was given goes to the next") {
    const no_leaks check;
    const hsw_lock lock = new_lock();
    REQUIRE(hsw_lock_lock(lock, 0) == HSW_OK);
    hsw_status first{};
    hsw_status second{};
    const hsw_tasklet a = waits(first, [lock] { return hsw_lock_lock(lock, LONG); });
    const hsw_tasklet b = waits(second, [lock] { return hsw_lock_lock(lock, HSW_NO_LIMIT); });
    CHECK(waiting_for(lock) == 2);
    CHECK(hsw_lock_unlock(lock) == HSW_OK); // it is a's, who has not run yet
    kill(a);
    CHECK(first == HSW_ERR_EXIT);
    settle();
    CHECK(second == HSW_OK);
    CHECK(is_locked(lock));
    CHECK(hsw_tasklet_release(b) == HSW_OK);
    CHECK(hsw_lock_release(lock) == HSW_OK);
}

TEST_CASE("a barrier that somebody gives up at is broken for all until it is reset") {
    const no_leaks check;
    const hsw_barrier barrier = new_barrier(3);
    hsw_status first{};
    const hsw_tasklet a = waits(first, [barrier] { return hsw_barrier_wait(barrier, HSW_NO_LIMIT, nullptr); });
    CHECK(hsw_barrier_wait(barrier, 5 * MS, nullptr) == HSW_ERR_TIMEOUT);
    settle();
    CHECK(first == HSW_ERR_BROKEN);
    CHECK(hsw_barrier_wait(barrier, HSW_NO_LIMIT, nullptr) == HSW_ERR_BROKEN);
    CHECK(last_message() == "the barrier is broken");
    CHECK(hsw_barrier_wait(barrier, 0, nullptr) == HSW_ERR_BROKEN);
    CHECK(is_broken(barrier));
    CHECK(hsw_barrier_reset(barrier) == HSW_OK);
    CHECK_FALSE(is_broken(barrier));

    // Now it holds.
    int passed = 0;
    int last = 0;
    const auto comes = [&] {
        bool was_last = false;
        const hsw_status status = hsw_barrier_wait(barrier, LONG, &was_last);
        passed += status == HSW_OK ? 1 : 0;
        last += was_last ? 1 : 0;
        return HSW_OK;
    };
    start(comes);
    start(comes);
    settle();
    CHECK(passed == 0);
    CHECK(comes() == HSW_OK);
    settle();
    CHECK(passed == 3);
    CHECK(last == 1);

    // Broken on purpose, by a kill, and by the end of a thread.
    hsw_status told{};
    const hsw_tasklet b = waits(told, [barrier] { return hsw_barrier_wait(barrier, HSW_NO_LIMIT, nullptr); });
    CHECK(hsw_barrier_abort(barrier) == HSW_OK);
    settle();
    CHECK(told == HSW_ERR_BROKEN);
    CHECK(hsw_barrier_reset(barrier) == HSW_OK);
    kill(waits(told, [barrier] { return hsw_barrier_wait(barrier, HSW_NO_LIMIT, nullptr); }));
    CHECK(told == HSW_ERR_EXIT);
    CHECK(is_broken(barrier));
    CHECK(hsw_barrier_reset(barrier) == HSW_OK);
    std::atomic<int> there{HSW_OK};
    on_new_thread([barrier, &there] {
        start([barrier, &there] {
            there = hsw_barrier_wait(barrier, HSW_NO_LIMIT, nullptr);
            return HSW_OK;
        });
        settle();
    });
    CHECK(there == HSW_ERR_EXIT);
    CHECK(hsw_barrier_wait(barrier, LONG, nullptr) == HSW_ERR_BROKEN);
    CHECK(hsw_tasklet_release(a) == HSW_OK);
    CHECK(hsw_tasklet_release(b) == HSW_OK);
    CHECK(hsw_barrier_release(barrier) == HSW_OK);

    bool was_last = false;
    const hsw_barrier nobody = new_barrier(0);
    CHECK(hsw_barrier_wait(nobody, 0, &was_last) == HSW_OK);
    CHECK(was_last);
    CHECK(hsw_barrier_release(nobody) == HSW_OK);
}

TEST_CASE("an event lets all go, even if it is cleared at once") {
    const no_leaks check;
    const hsw_event event = new_event();
    int gone = 0;
    for (int i = 0; i < 3; ++i) {
        start([event, &gone] {
            const hsw_status status = hsw_event_wait(event, LONG);
            ++gone;
            return status;
        });
    }
    settle();
    std::size_t waiting = 0;
    bool set = true;
    CHECK(hsw_event_state(event, &set, &waiting) == HSW_OK);
    CHECK_FALSE(set);
    CHECK(waiting == 3);
    CHECK(hsw_event_set(event) == HSW_OK);
    CHECK(hsw_event_set(event) == HSW_OK);
    CHECK(hsw_event_clear(event) == HSW_OK);
    CHECK(hsw_event_clear(event) == HSW_OK);
    settle();
    CHECK(gone == 3);
    CHECK(hsw_event_wait(event, MS) == HSW_ERR_TIMEOUT);
    CHECK(hsw_event_release(event) == HSW_OK);
}

TEST_CASE("a queue's values are freed once, whatever becomes of the call") {
    const no_leaks check;
    freed = 0;
    const hsw_sync_queue queue = new_queue(1, &count_freed);
    CHECK(hsw_sync_queue_put(queue, number(1), 0) == HSW_OK);
    CHECK(hsw_sync_queue_put(queue, number(2), MS) == HSW_ERR_TIMEOUT);
    CHECK(freed == 0); // still ours
    hsw_status put{};
    kill(waits(put, [queue] { return hsw_sync_queue_put(queue, number(2), HSW_NO_LIMIT); }));
    CHECK(put == HSW_ERR_EXIT);
    CHECK(freed == 1);

    // Closed: what is in it comes out, what would come in is freed, waits end.
    hsw_status late{};
    const hsw_tasklet putter = waits(late, [queue] { return hsw_sync_queue_put(queue, number(3), HSW_NO_LIMIT); });
    CHECK(hsw_sync_queue_close(queue) == HSW_OK);
    CHECK(hsw_sync_queue_close(queue) == HSW_OK);
    settle();
    CHECK(late == HSW_ERR_CLOSED);
    CHECK(freed == 2);
    CHECK(hsw_sync_queue_put(queue, number(4), 0) == HSW_ERR_CLOSED);
    CHECK(freed == 3);
    bool closed = false;
    std::size_t count = 0;
    CHECK(hsw_sync_queue_state(queue, &count, &closed) == HSW_OK);
    CHECK(closed);
    CHECK(count == 1);
    void* value = nullptr;
    CHECK(hsw_sync_queue_get(queue, 0, &value) == HSW_OK);
    CHECK(value == number(1));
    CHECK(hsw_sync_queue_get(queue, HSW_NO_LIMIT, &value) == HSW_ERR_CLOSED);
    CHECK(freed == 3);
    CHECK(hsw_tasklet_release(putter) == HSW_OK);
    CHECK(hsw_sync_queue_release(queue) == HSW_OK);

    // A getter's wait ends with the close; values go with the last handle.
    const hsw_sync_queue other = new_queue(SIZE_MAX, &count_freed);
    hsw_status got{};
    const hsw_tasklet getter = waits(got, [other, &value] { return hsw_sync_queue_get(other, HSW_NO_LIMIT, &value); });
    CHECK(hsw_sync_queue_close(other) == HSW_OK);
    settle();
    CHECK(got == HSW_ERR_CLOSED);
    CHECK(hsw_tasklet_release(getter) == HSW_OK);
    CHECK(hsw_sync_queue_release(other) == HSW_OK);
    const hsw_sync_queue last = new_queue(SIZE_MAX, &count_freed);
    hsw_sync_queue twin{};
    CHECK(hsw_sync_queue_retain(last, &twin) == HSW_OK);
    CHECK(hsw_sync_queue_put(last, number(1), 0) == HSW_OK);
    CHECK(hsw_sync_queue_put(twin, number(2), 0) == HSW_OK);
    CHECK(hsw_sync_queue_release(last) == HSW_OK);
    CHECK(freed == 3);
    on_new_thread([twin] { CHECK(hsw_sync_queue_release(twin) == HSW_OK); });
    CHECK(freed == 5);
}

TEST_CASE("a handle may be released while somebody waits on its object") {
    const no_leaks check;
    const hsw_event event = new_event();
    hsw_event mine{};
    CHECK(hsw_event_retain(event, &mine) == HSW_OK);
    hsw_status got{};
    const hsw_tasklet waiter = waits(got, [event] { return hsw_event_wait(event, LONG); });
    CHECK(hsw_event_release(event) == HSW_OK);
    CHECK(hsw_event_set(mine) == HSW_OK);
    CHECK(hsw_event_release(mine) == HSW_OK);
    settle();
    CHECK(got == HSW_OK);
    CHECK(hsw_tasklet_release(waiter) == HSW_OK);
    // And the last one: nobody can set it any more.
    const hsw_event lost = new_event();
    const hsw_tasklet other = waits(got, [lost] { return hsw_event_wait(lost, LONG); });
    CHECK(hsw_event_release(lost) == HSW_OK);
    kill(other);
    CHECK(got == HSW_ERR_EXIT);
}

TEST_CASE("a thread that ends while it holds a lock leaves it taken") {
    const no_leaks check;
    const hsw_lock lock = new_lock();
    const hsw_rlock rlock = new_rlock();
    on_new_thread([=] {
        CHECK(hsw_lock_lock(lock, 0) == HSW_OK);
        CHECK(hsw_rlock_lock(rlock, 0) == HSW_OK);
    });
    CHECK(hsw_lock_lock(lock, 5 * MS) == HSW_ERR_TIMEOUT);
    CHECK(hsw_lock_unlock(lock) == HSW_OK); // anybody may
    CHECK(hsw_lock_lock(lock, 0) == HSW_OK);
    CHECK(hsw_rlock_lock(rlock, 5 * MS) == HSW_ERR_TIMEOUT);
    CHECK(hsw_rlock_unlock(rlock) == HSW_ERR_STATE);

    // As does a tasklet, also for the one that comes to be at its address.
    const hsw_rlock forgotten = new_rlock();
    start([forgotten] { return hsw_rlock_lock(forgotten, 0); });
    settle();
    int got_in = 0;
    for (int i = 0; i < 3; ++i) {
        start([forgotten, &got_in] {
            got_in += hsw_rlock_lock(forgotten, 0) == HSW_OK ? 1 : 0;
            return HSW_OK;
        });
        settle();
    }
    CHECK(got_in == 0);
    CHECK(hsw_lock_release(lock) == HSW_OK);
    CHECK(hsw_rlock_release(rlock) == HSW_OK);
    CHECK(hsw_rlock_release(forgotten) == HSW_OK);
}

TEST_CASE("a thread that ends takes its waiters off the lists, and what they were given goes on") {
    const no_leaks check;
    for (const bool explicitly : {false, true}) {
        CAPTURE(explicitly);
        const hsw_lock lock = new_lock();
        REQUIRE(hsw_lock_lock(lock, 0) == HSW_OK);
        std::atomic<int> there{HSW_OK};
        std::atomic<bool> waits_there{false};
        std::atomic<bool> may_end{false};
        std::thread other([&] {
            start([&] {
                there = hsw_lock_lock(lock, HSW_NO_LIMIT);
                return HSW_OK;
            });
            settle();
            waits_there = true;
            while (!may_end) {
                std::this_thread::sleep_for(1ms);
            }
            if (explicitly) {
                CHECK(hsw_thread_exit() == HSW_OK);
            }
        });
        drive([&] { return waits_there.load(); });
        hsw_status here{};
        const hsw_tasklet next = waits(here, [lock] { return hsw_lock_lock(lock, LONG); });
        CHECK(waiting_for(lock) == 2);
        // It is the other thread's now, which does not pump any more.
        CHECK(hsw_lock_unlock(lock) == HSW_OK);
        may_end = true;
        other.join();
        CHECK(there == HSW_ERR_EXIT);
        drive([&] { return here != HSW_ERR_OTHER; });
        CHECK(here == HSW_OK);
        CHECK(hsw_tasklet_release(next) == HSW_OK);
        CHECK(hsw_lock_release(lock) == HSW_OK);
    }
}

TEST_CASE("plain threads and tasklets of several threads keep each other out") {
    const no_leaks check;
    constexpr int threads = 4;
    constexpr int rounds = 200;
    const hsw_lock lock = new_lock();
    const hsw_rlock rlock = new_rlock();
    const hsw_semaphore one = new_semaphore(1, true);
    const hsw_barrier together = new_barrier(threads);
    // Not atomic on purpose: what is locked needs not be.
    int under_lock = 0;
    int under_rlock = 0;
    int under_one = 0;
    std::atomic<int> failures{0};
    const auto work = [&] {
        bool good = hsw_lock_lock(lock, LONG) == HSW_OK;
        const int before = under_lock;
        good = good && hsw_schedule() == HSW_OK; // the others of this thread run now, those of all threads try
        under_lock = before + 1;
        good = good && hsw_lock_unlock(lock) == HSW_OK;
        good = good && hsw_rlock_lock(rlock, LONG) == HSW_OK && hsw_rlock_lock(rlock, LONG) == HSW_OK;
        ++under_rlock;
        good = good && hsw_rlock_unlock(rlock) == HSW_OK && hsw_rlock_unlock(rlock) == HSW_OK;
        good = good && hsw_semaphore_acquire(one, LONG) == HSW_OK;
        ++under_one;
        good = good && hsw_semaphore_give_back(one, 1) == HSW_OK;
        failures += good ? 0 : 1;
        return HSW_OK;
    };
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t) {
        all.emplace_back([&, t] {
            failures += hsw_barrier_wait(together, LONG, nullptr) == HSW_OK ? 0 : 1;
            if (t % 2 == 0) { // a plain thread
                for (int i = 0; i < rounds; ++i) {
                    work();
                }
                return;
            }
            for (int i = 0; i < rounds; ++i) {
                start(work);
            }
            failures += hsw_run_until_idle() == HSW_OK ? 0 : 1;
        });
    }
    for (std::thread& thread : all) {
        thread.join();
    }
    CHECK(failures == 0);
    CHECK(under_lock == threads * rounds);
    CHECK(under_rlock == threads * rounds);
    CHECK(under_one == threads * rounds);
    CHECK(hsw_lock_release(lock) == HSW_OK);
    CHECK(hsw_rlock_release(rlock) == HSW_OK);
    CHECK(hsw_semaphore_release(one) == HSW_OK);
    CHECK(hsw_barrier_release(together) == HSW_OK);
}

TEST_CASE("every value of many threads and tasklets arrives once, and closing ends all") {
    const no_leaks check;
    constexpr std::uintptr_t each = 500;
    constexpr int putters = 3;
    freed = 0;
    const hsw_sync_queue queue = new_queue(7, &count_freed);
    std::atomic<std::uintptr_t> sum{0};
    std::atomic<int> got{0};
    const auto take_all = [&] {
        void* value = nullptr;
        while (hsw_sync_queue_get(queue, LONG, &value) == HSW_OK) {
            sum += reinterpret_cast<std::uintptr_t>(value);
            ++got;
        }
        return hsw_last_error_status() == HSW_ERR_CLOSED ? HSW_OK : HSW_ERR_OTHER;
    };
    std::vector<std::thread> getters;
    getters.emplace_back([&] { CHECK(take_all() == HSW_OK); });
    getters.emplace_back([&] {
        start(take_all);
        start(take_all);
        CHECK(hsw_run_until_idle() == HSW_OK);
    });
    std::vector<std::thread> all;
    for (int t = 0; t < putters; ++t) {
        all.emplace_back([&] {
            for (std::uintptr_t n = 1; n <= each; ++n) {
                if (hsw_sync_queue_put(queue, number(n), LONG) != HSW_OK) {
                    return;
                }
            }
        });
    }
    for (std::thread& thread : all) {
        thread.join();
    }
    CHECK(hsw_sync_queue_close(queue) == HSW_OK);
    for (std::thread& thread : getters) {
        thread.join();
    }
    CHECK(got == putters * static_cast<int>(each));
    CHECK(sum == putters * each * (each + 1) / 2);
    CHECK(freed == 0);
    CHECK(hsw_sync_queue_release(queue) == HSW_OK);
}

TEST_CASE("a notification reaches a tasklet from a plain thread and back") {
    const no_leaks check;
    const hsw_lock lock = new_lock();
    const hsw_condition changed = new_condition();
    int ball = 0; // even: the tasklet's turn
    const auto play = [&](int parity) {
        for (int i = 0; i < 300; ++i) {
            if (hsw_lock_lock(lock, LONG) != HSW_OK) {
                return HSW_ERR_OTHER;
            }
            while (ball % 2 != parity) {
                if (hsw_condition_wait(changed, lock, LONG) != HSW_OK) {
                    return HSW_ERR_OTHER;
                }
            }
            ++ball;
            if (hsw_condition_notify(changed, 1) != HSW_OK || hsw_lock_unlock(lock) != HSW_OK) {
                return HSW_ERR_OTHER;
            }
        }
        return HSW_OK;
    };
    hsw_status here = HSW_ERR_OTHER;
    std::atomic<int> there{HSW_ERR_OTHER};
    start([&] { return here = play(0); });
    std::thread other([&] { there = play(1); });
    CHECK(hsw_run_until_idle() == HSW_OK);
    other.join();
    CHECK(here == HSW_OK);
    CHECK(there == HSW_OK);
    CHECK(ball == 600);
    CHECK(hsw_lock_release(lock) == HSW_OK);
    CHECK(hsw_condition_release(changed) == HSW_OK);
}

// --- Timers

TEST_CASE("timers come in the order of their moments, and their arguments are freed once") {
    const no_leaks check;
    const hsw_timer_clock clock = stopped_clock();
    std::string order;
    freed = 0;
    struct call {
        std::string* order;
        char name;
    };
    const auto says = [](void* argument) {
        const auto* const it = static_cast<call*>(argument);
        *it->order += it->name;
        return HSW_OK;
    };
    const auto destroy = [](void* argument) {
        delete static_cast<call*>(argument);
        ++freed;
    };
    CHECK(hsw_timer_call_later(clock, 30, +says, new call{&order, 'c'}, +destroy, nullptr) == HSW_OK);
    CHECK(hsw_timer_call_at(clock, 10, +says, new call{&order, 'a'}, +destroy, nullptr) == HSW_OK);
    CHECK(hsw_timer_call_later(clock, 20, +says, new call{&order, 'b'}, +destroy, nullptr) == HSW_OK);
    hsw_timer beat{};
    CHECK(hsw_timer_repeat(clock, 15, +says, new call{&order, '.'}, +destroy, &beat) == HSW_OK);
    hsw_timer_clock_info info{};
    CHECK(hsw_timer_clock_get_info(clock, &info) == HSW_OK);
    CHECK(info.simulated);
    CHECK(info.paused);
    CHECK(info.pending == 4);
    CHECK(info.next_due_ns == 10);
    CHECK(hsw_timer_clock_advance(clock, 9) == HSW_OK);
    CHECK(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    CHECK(order == "");
    CHECK(hsw_timer_clock_advance(clock, 1) == HSW_OK);
    CHECK(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    CHECK(order == "a");
    CHECK(hsw_timer_clock_advance(clock, 20) == HSW_OK);
    CHECK(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    CHECK(order == "a.bc"); // the beat at 30 is one that was asked for in this pump
    CHECK(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    CHECK(freed == 3);
    std::uint64_t due = 0;
    bool comes = false;
    CHECK(hsw_timer_state(beat, &comes, &due) == HSW_OK);
    CHECK(comes);
    CHECK(due % 15 == 0);
    std::uint64_t now = 0;
    CHECK(hsw_timer_clock_now(clock, &now) == HSW_OK);
    CHECK(now == 30);
    CHECK(due > now);

    // Cancelled, twice, and with a handle of its own for each.
    hsw_timer twin{};
    CHECK(hsw_timer_retain(beat, &twin) == HSW_OK);
    bool was = false;
    CHECK(hsw_timer_cancel(beat, &was) == HSW_OK);
    CHECK(was);
    CHECK(freed == 4);
    CHECK(hsw_timer_cancel(twin, &was) == HSW_OK);
    CHECK_FALSE(was);
    CHECK(hsw_timer_state(twin, &comes, &due) == HSW_OK);
    CHECK_FALSE(comes);
    CHECK(hsw_timer_state(twin, nullptr, nullptr) == HSW_OK);
    CHECK(hsw_timer_release(beat) == HSW_OK);
    CHECK(hsw_timer_cancel(beat, &was) == HSW_ERR_STALE);
    CHECK(hsw_timer_release(twin) == HSW_OK);
    CHECK(freed == 4);
    CHECK(pending(clock) == 0);
    CHECK(hsw_timer_clock_release(clock) == HSW_OK);
}

TEST_CASE("what a timer's function fails with comes out of the tick, and the others come all the same") {
    const no_leaks check;
    const hsw_timer_clock clock = stopped_clock();
    std::vector<int> calls;
    freed = 0;
    const auto fails = [](void*) { return hsw_fail(number(42), &count_freed, "no such level"); };
    CHECK(hsw_timer_call_later(clock, 1, +fails, nullptr, nullptr, nullptr) == HSW_OK);
    CHECK(hsw_timer_call_later(clock, 2, &note, &calls, nullptr, nullptr) == HSW_OK);
    CHECK(hsw_timer_clock_advance(clock, 5) == HSW_OK);
    CHECK(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_ERR_THROWN);
    CHECK(last_message() == "no such level");
    void* payload = nullptr;
    CHECK(hsw_last_error_payload(&payload, nullptr) == HSW_OK);
    CHECK(payload == number(42));
    CHECK(calls.size() == 1);
    CHECK(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    CHECK(hsw_timer_clock_release(clock) == HSW_OK);
}

TEST_CASE("a clock refuses what makes no sense, and wall time cannot be changed") {
    const no_leaks check;
    hsw_timer_clock wall{};
    REQUIRE(hsw_timer_clock_wall(&wall) == HSW_OK);
    CHECK(hsw_timer_clock_pause(wall) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "the clock of wall time cannot be paused, scaled or set");
    CHECK(hsw_timer_clock_resume(wall) == HSW_ERR_ARGUMENT);
    CHECK(hsw_timer_clock_set_scale(wall, 2) == HSW_ERR_ARGUMENT);
    CHECK(hsw_timer_clock_advance(wall, 1) == HSW_ERR_ARGUMENT);
    CHECK(hsw_timer_clock_set(wall, 1) == HSW_ERR_ARGUMENT);
    hsw_timer_clock_info info{};
    CHECK(hsw_timer_clock_get_info(wall, &info) == HSW_OK);
    CHECK_FALSE(info.simulated);
    CHECK(info.scale == 1.0);
    CHECK(info.next_due_ns == HSW_NO_LIMIT);

    const hsw_timer_clock clock = stopped_clock();
    for (const double scale : {-1.0, -0.001, std::nan(""), std::numeric_limits<double>::infinity()}) {
        CHECK(hsw_timer_clock_set_scale(clock, scale) == HSW_ERR_ARGUMENT);
    }
    CHECK(hsw_timer_clock_get_info(clock, &info) == HSW_OK);
    CHECK(info.scale == 1.0);
    freed = 0;
    CHECK(hsw_timer_repeat(clock, 0, &return_ok, nullptr, &count_freed, nullptr) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "period_ns: a period of zero");
    CHECK(freed == 1);

    // Both are fine twice; at zero it stands still.
    CHECK(hsw_timer_clock_pause(clock) == HSW_OK);
    CHECK(hsw_timer_clock_resume(clock) == HSW_OK);
    CHECK(hsw_timer_clock_resume(clock) == HSW_OK);
    CHECK(hsw_timer_clock_set_scale(clock, 0) == HSW_OK);
    CHECK(hsw_timer_clock_set(clock, 77) == HSW_OK);
    std::uint64_t now = 0;
    CHECK(hsw_timer_clock_now(clock, &now) == HSW_OK);
    CHECK(now == 77);

    // The longest times are as good as for ever, and nothing overflows.
    CHECK(hsw_timer_clock_set(clock, UINT64_MAX) == HSW_OK);
    CHECK(hsw_timer_clock_advance(clock, HSW_NO_LIMIT) == HSW_OK);
    hsw_timer never{};
    CHECK(hsw_timer_call_later(clock, HSW_NO_LIMIT, &return_ok, nullptr, nullptr, &never) == HSW_OK);
    bool comes = false;
    CHECK(hsw_timer_state(never, &comes, &now) == HSW_OK);
    CHECK(comes);
    CHECK(now == UINT64_MAX);
    CHECK(hsw_timer_cancel(never, nullptr) == HSW_OK);
    CHECK(hsw_timer_release(never) == HSW_OK);
    CHECK(hsw_timer_call_later(wall, INT64_MAX, &return_ok, nullptr, nullptr, &never) == HSW_OK);
    CHECK(hsw_pump(0, nullptr) == HSW_OK);
    bool was = false;
    CHECK(hsw_timer_cancel(never, &was) == HSW_OK);
    CHECK(was);
    CHECK(hsw_timer_release(never) == HSW_OK);
    CHECK(hsw_timer_clock_release(wall) == HSW_OK);
    CHECK(hsw_timer_clock_release(clock) == HSW_OK);

    // The thread's simulated clock is one.
    hsw_timer_clock one{};
    hsw_timer_clock two{};
    CHECK(hsw_timer_clock_simulated(&one) == HSW_OK);
    CHECK(hsw_timer_clock_simulated(&two) == HSW_OK);
    CHECK(hsw_timer_clock_pause(one) == HSW_OK);
    CHECK(hsw_timer_clock_get_info(two, &info) == HSW_OK);
    CHECK(info.paused);
    CHECK(hsw_timer_clock_resume(two) == HSW_OK);
    CHECK(hsw_timer_clock_release(one) == HSW_OK);
    CHECK(hsw_timer_clock_release(two) == HSW_OK);
}

TEST_CASE("tasklets sleep by a clock") {
    const no_leaks check;
    const hsw_timer_clock clock = stopped_clock();
    hsw_status slept{};
    const hsw_tasklet sleeper = waits(slept, [clock] { return hsw_timer_clock_sleep(clock, 3600u * 1000u * MS); });
    hsw_status until{};
    const hsw_tasklet other = waits(until, [clock] { return hsw_timer_clock_sleep_until(clock, 10); });
    hsw_status for_ever{};
    const hsw_tasklet third = waits(for_ever, [clock] { return hsw_timer_clock_sleep(clock, HSW_NO_LIMIT); });
    CHECK(hsw_timer_clock_sleep(clock, 0) == HSW_OK);
    CHECK(hsw_timer_clock_sleep_until(clock, 0) == HSW_OK);
    CHECK(hsw_timer_clock_advance(clock, 10) == HSW_OK);
    CHECK(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    CHECK(until == HSW_OK);
    CHECK(slept == HSW_ERR_OTHER);
    CHECK(hsw_timer_clock_advance(clock, 3600u * 1000u * MS) == HSW_OK);
    CHECK(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    CHECK(slept == HSW_OK);
    kill(third);
    CHECK(for_ever == HSW_ERR_EXIT);
    CHECK(pending(clock) == 0);
    CHECK(hsw_tasklet_release(sleeper) == HSW_OK);
    CHECK(hsw_tasklet_release(other) == HSW_OK);
    CHECK(hsw_timer_clock_release(clock) == HSW_OK);
}

TEST_CASE("timers end with their thread, or with its part of the runtime") {
    freed = 0;
    std::vector<int> calls;
    on_new_thread([&calls] {
        hsw_timer_clock wall{};
        REQUIRE(hsw_timer_clock_wall(&wall) == HSW_OK);
        CHECK(hsw_timer_repeat(wall, MS, &note, &calls, &count_freed, nullptr) == HSW_OK);
        CHECK(hsw_timer_call_later(stopped_clock(), 1, &note, &calls, &count_freed, nullptr) == HSW_OK);
    });
    CHECK(freed == 2);
    on_new_thread([&calls] {
        hsw_timer_clock wall{};
        REQUIRE(hsw_timer_clock_wall(&wall) == HSW_OK);
        hsw_timer timer{};
        CHECK(hsw_timer_repeat(wall, MS, &note, &calls, &count_freed, &timer) == HSW_OK);
        const hsw_timer_clock other = stopped_clock();
        CHECK(hsw_timer_call_later(other, 0, &note, &calls, &count_freed, nullptr) == HSW_OK);
        CHECK(hsw_live_handles() == 3);
        CHECK(hsw_thread_exit() == HSW_OK);
        CHECK(freed == 4);
        CHECK(hsw_live_handles() == 0);
        CHECK(hsw_timer_cancel(timer, nullptr) == HSW_ERR_STALE);
        CHECK(hsw_timer_clock_release(other) == HSW_ERR_STALE);
        // And begins anew.
        REQUIRE(hsw_timer_clock_wall(&wall) == HSW_OK);
        CHECK(hsw_timer_call_later(wall, 0, &note, &calls, &count_freed, nullptr) == HSW_OK);
        std::this_thread::sleep_for(3ms);
        CHECK(hsw_pump(0, nullptr) == HSW_OK);
    });
    CHECK(calls.size() == 1);
    CHECK(freed == 5);
}

// --- Tasklet-local values

TEST_CASE("each tasklet has a value of its own, freed when it ends") {
    const no_leaks check;
    freed = 0;
    hsw_local key{};
    REQUIRE(hsw_local_new(&count_freed, &key) == HSW_OK);
    void* value = number(1);
    CHECK(hsw_local_get(key, &value) == HSW_OK);
    CHECK(value == nullptr);
    CHECK(hsw_local_set(key, number(10)) == HSW_OK);
    const hsw_event go_on = new_event();
    bool right = true;
    const auto uses = [&](std::uintptr_t mine) {
        void* seen = number(99);
        right = right && hsw_local_get(key, &seen) == HSW_OK && seen == nullptr;
        right = right && hsw_local_set(key, number(mine)) == HSW_OK;
        const hsw_status status = hsw_event_wait(go_on, HSW_NO_LIMIT);
        right = right && hsw_local_get(key, &seen) == HSW_OK && seen == number(mine);
        return status;
    };
    const hsw_tasklet a = spawn([&] { return uses(20); });
    const hsw_tasklet b = spawn([&] { return uses(30); });
    settle();
    kill(a);
    CHECK(freed == 1);
    CHECK(hsw_event_set(go_on) == HSW_OK);
    settle();
    CHECK(freed == 2);
    CHECK(right);
    CHECK(hsw_local_get(key, &value) == HSW_OK);
    CHECK(value == number(10));

    // A new one frees the old one; null takes it away.
    CHECK(hsw_local_set(key, number(11)) == HSW_OK);
    CHECK(freed == 3);
    CHECK(hsw_local_set(key, nullptr) == HSW_OK);
    CHECK(freed == 4);
    CHECK(hsw_local_set(key, nullptr) == HSW_OK);
    CHECK(freed == 4);
    CHECK(hsw_local_get(key, &value) == HSW_OK);
    CHECK(value == nullptr);

    // Of a main tasklet: with its thread. A released key leaves the values where they are.
    hsw_local twin{};
    CHECK(hsw_local_retain(key, &twin) == HSW_OK);
    on_new_thread([twin] {
        CHECK(hsw_local_set(twin, number(1)) == HSW_OK);
        CHECK(hsw_local_release(twin) == HSW_OK);
        CHECK(freed == 4);
    });
    CHECK(freed == 5);
    CHECK(hsw_tasklet_release(b) == HSW_OK);
    CHECK(hsw_event_release(go_on) == HSW_OK);
    CHECK(hsw_local_release(key) == HSW_OK);
}

TEST_CASE("a lock that was given back has no holder") {
    const no_leaks check;
    hsw_lock lock{};
    hsw_condition condition{};
    REQUIRE(hsw_lock_new(&lock) == HSW_OK);
    REQUIRE(hsw_condition_new(&condition) == HSW_OK);
    bool locked = true;
    bool mine = true;
    CHECK(hsw_lock_lock(lock, 0) == HSW_OK);
    CHECK(hsw_lock_unlock(lock) == HSW_OK);
    CHECK(hsw_lock_state(lock, &locked, &mine, nullptr) == HSW_OK);
    CHECK_FALSE(locked);
    CHECK_FALSE(mine);
    // Nor when another has it.
    const hsw_tasklet other = spawn([lock] { return hsw_lock_lock(lock, 0); });
    CHECK(hsw_run() == HSW_OK);
    CHECK(hsw_lock_state(lock, &locked, &mine, nullptr) == HSW_OK);
    CHECK(locked);
    CHECK_FALSE(mine);
    CHECK(hsw_condition_wait(condition, lock, 0) == HSW_ERR_STATE);
    CHECK(hsw_lock_unlock(lock) == HSW_OK);
    CHECK(hsw_tasklet_release(other) == HSW_OK);
    CHECK(hsw_condition_release(condition) == HSW_OK);
    CHECK(hsw_lock_release(lock) == HSW_OK);
}

TEST_CASE("the function that frees a value may switch and use the key") {
    const no_leaks check;
    static hsw_local key{};
    static std::string order;
    order.clear();
    const auto destroy = [](void* value) {
        order += static_cast<char>(reinterpret_cast<std::uintptr_t>(value));
        CHECK(hsw_schedule() == HSW_OK);
        if (value == number('a')) {
            CHECK(hsw_local_set(key, number('b')) == HSW_OK);
        }
    };
    REQUIRE(hsw_local_new(+destroy, &key) == HSW_OK);
    start([] { return hsw_local_set(key, number('a')); });
    start([] {
        order += '.';
        return HSW_OK;
    });
    settle();
    CHECK(order == "a.b");
    CHECK(hsw_local_release(key) == HSW_OK);
}
