// hardswitch.h: tasklets with a result that somebody waits for.
#include "c_helpers.hpp"

#include <vector>

namespace {

/// What a test's tasklet does: returns a status, and may write a result.
using task = std::function<hsw_status(void**)>;
hsw_status call_task(void* argument, void** result) { return (*static_cast<task*>(argument))(result); }
void destroy_task(void* argument) { delete static_cast<task*>(argument); }

hsw_join start(task function, hsw_destroy destroy_result = nullptr, const char* name = nullptr, hsw_stack stack = HSW_STACK_SLICED) {
    hsw_tasklet_options options{};
    options.name = name;
    options.stack = stack;
    options.destroy_argument = &destroy_task;
    hsw_join out{};
    REQUIRE(hsw_join_spawn(&call_task, new task(std::move(function)), destroy_result, &options, &out) == HSW_OK);
    return out;
}

hsw_join answers(std::uintptr_t n) {
    return start([n](void** result) {
        *result = number(n);
        return HSW_OK;
    });
}

bool is_done(hsw_join join) {
    bool out = false;
    REQUIRE(hsw_join_is_done(join, &out) == HSW_OK);
    return out;
}

/// Waits as long as it takes; the result.
void* joined(hsw_join join) {
    void* result = nullptr;
    REQUIRE(hsw_join_wait(join, HSW_NO_LIMIT, &result) == HSW_OK);
    return result;
}

void kill(hsw_join join) {
    hsw_tasklet tasklet{};
    REQUIRE(hsw_join_tasklet(join, &tasklet) == HSW_OK);
    CHECK(hsw_tasklet_kill(tasklet, false) == HSW_OK);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
}

constexpr std::uint64_t ms = 1000000;

hsw_case of(hsw_join join) {
    hsw_case out{};
    out.direction = HSW_RECEIVE;
    out.join = join;
    return out;
}

} // namespace

TEST_CASE("the result of a tasklet comes to who joins it") {
    const no_leaks check;
    for (const hsw_stack stack : {HSW_STACK_SLICED, HSW_STACK_OWN}) {
        const auto sleeps = [](void** result) {
            const hsw_status slept = hsw_sleep(ms);
            *result = number(5);
            return slept;
        };
        const hsw_join join = start(sleeps, nullptr, "sleeper", stack);
        CHECK_FALSE(is_done(join));
        CHECK(joined(join) == number(5));
        CHECK(is_done(join));
        void* result = number(1);
        CHECK(hsw_join_wait(join, HSW_NO_LIMIT, &result) == HSW_ERR_CLOSED);
        CHECK(has(last_message(), "the result of tasklet 'sleeper' has been taken"));
        CHECK(result == number(1));
        CHECK(hsw_join_release(join) == HSW_OK);
    }
    // From a tasklet, one that has ended before.
    const hsw_join inner = answers(6);
    CHECK(hsw_run() == HSW_OK);
    CHECK(is_done(inner));
    const hsw_join outer = start([inner](void** result) { return hsw_join_wait(inner, HSW_NO_LIMIT, result); });
    CHECK(joined(outer) == number(6));
    CHECK(hsw_join_release(inner) == HSW_OK);
    CHECK(hsw_join_release(outer) == HSW_OK);
}

TEST_CASE("null handles, null pointers and wrong kinds are an error code in every function that joins") {
    const no_leaks check;
    void* result = number(1);
    bool done = true;
    hsw_tasklet tasklet{};
    hsw_join other{};
    CHECK(hsw_join_wait(hsw_join{}, 0, &result) == HSW_ERR_NULL);
    CHECK(hsw_join_is_done(hsw_join{}, &done) == HSW_ERR_NULL);
    CHECK(hsw_join_tasklet(hsw_join{}, &tasklet) == HSW_ERR_NULL);
    CHECK(hsw_join_retain(hsw_join{}, &other) == HSW_ERR_NULL);
    CHECK(hsw_join_release(hsw_join{}) == HSW_ERR_NULL);
    CHECK(other.handle == 0);
    // What cannot be given out is not made; the argument is freed all the same.
    int freed = 0;
    hsw_tasklet_options options{};
    options.destroy_argument = &destroy_counted;
    const hsw_join_entry entry = [](void*, void**) -> hsw_status { return HSW_OK; };
    CHECK(hsw_join_spawn(nullptr, new counted{&freed}, nullptr, &options, &other) == HSW_ERR_NULL);
    CHECK(hsw_join_spawn(entry, new counted{&freed}, nullptr, &options, nullptr) == HSW_ERR_NULL);
    options.stack = 17;
    CHECK(hsw_join_spawn(entry, new counted{&freed}, nullptr, &options, &other) == HSW_ERR_ARGUMENT);
    CHECK(freed == 3);
    CHECK(hsw_run_count() == 1);

    const hsw_join join = answers(2);
    CHECK(hsw_join_wait(join, HSW_NO_LIMIT, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_join_is_done(join, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_join_tasklet(join, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_join_retain(join, nullptr) == HSW_ERR_NULL);
    // Nothing has changed.
    REQUIRE(hsw_join_retain(join, &other) == HSW_OK);
    CHECK(hsw_join_release(join) == HSW_OK);
    CHECK(hsw_join_release(join) == HSW_ERR_STALE);
    CHECK(hsw_join_wait(join, 0, &result) == HSW_ERR_STALE);
    CHECK(result == number(1));
    REQUIRE(hsw_tasklet_new(nullptr, &tasklet) == HSW_OK);
    CHECK(hsw_join_wait(hsw_join{tasklet.handle}, 0, &result) == HSW_ERR_WRONG_KIND);
    CHECK(hsw_tasklet_kill(hsw_tasklet{other.handle}, false) == HSW_ERR_WRONG_KIND);
    std::thread([other] {
        void* here = nullptr;
        CHECK(hsw_join_wait(other, 0, &here) == HSW_ERR_WRONG_THREAD);
    }).join();
    CHECK(hsw_join_wait(other, HSW_NO_LIMIT, &result) == HSW_OK);
    CHECK(result == number(2));
    CHECK(hsw_join_release(other) == HSW_OK);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
}

TEST_CASE("a join waits no longer than it is told to, and leaves the tasklet alone") {
    const no_leaks check;
    hsw_channel go{};
    REQUIRE(hsw_channel_new(nullptr, &go) == HSW_OK);
    const hsw_join join = start([go](void** result) { return hsw_channel_receive(go, result); });
    void* result = number(1);
    CHECK(hsw_join_wait(join, 0, &result) == HSW_ERR_TIMEOUT);
    CHECK(hsw_join_wait(join, 2 * ms, &result) == HSW_ERR_TIMEOUT);
    CHECK_FALSE(is_done(join));
    // Negative, but for -1.
    CHECK(hsw_join_wait(join, static_cast<std::uint64_t>(-2), &result) == HSW_ERR_ARGUMENT);
    CHECK(result == number(1));
    const hsw_tasklet sender = spawn([go] { return hsw_channel_send(go, number(9)); });
    CHECK(hsw_join_wait(join, INT64_MAX, &result) == HSW_OK);
    CHECK(result == number(9));
    CHECK(hsw_tasklet_release(sender) == HSW_OK);
    CHECK(hsw_join_release(join) == HSW_OK);
    CHECK(hsw_channel_release(go) == HSW_OK);
}

TEST_CASE("what a tasklet fails with goes to who joins it, and to nobody else") {
    const no_leaks check;
    int freed = 0;
    int asked = 0;
    const hsw_error_handler count = [](const hsw_uncaught*, void* user) -> hsw_status {
        ++*static_cast<int*>(user);
        return HSW_OK;
    };
    REQUIRE(hsw_set_error_handler(count, &asked, nullptr, nullptr) == HSW_OK);
    auto* const payload = new counted{&freed};
    const hsw_join thrown = start([payload](void**) { return hsw_fail(payload, &destroy_counted, "out of ammunition"); });
    const hsw_join failed = start([](void**) {
        bool none = false;
        return hsw_tasklet_set_block_trap(hsw_tasklet{}, true, &none);
    });
    const hsw_join made_up = start([](void**) { return HSW_ERR_CLOSED; });
    CHECK(hsw_run() == HSW_OK);
    void* result = nullptr;
    CHECK(hsw_join_wait(thrown, HSW_NO_LIMIT, &result) == HSW_ERR_THROWN);
    CHECK(last_message() == "out of ammunition");
    void* data = nullptr;
    hsw_destroy destroy = nullptr;
    REQUIRE(hsw_last_error_payload(&data, &destroy) == HSW_OK);
    CHECK(data == payload);
    CHECK((destroy == &destroy_counted));
    CHECK(freed == 0);
    CHECK(hsw_join_wait(failed, HSW_NO_LIMIT, &result) == HSW_ERR_THROWN);
    CHECK(has(last_message(), "null"));
    CHECK(freed == 1);
    CHECK(hsw_join_wait(made_up, HSW_NO_LIMIT, &result) == HSW_ERR_THROWN);
    CHECK(hsw_last_error_cause() == HSW_ERR_CLOSED);
    CHECK(asked == 0);
    REQUIRE(hsw_set_error_handler(nullptr, nullptr, nullptr, nullptr) == HSW_OK);
    for (const hsw_join join : {thrown, failed, made_up}) {
        CHECK(hsw_join_release(join) == HSW_OK);
    }
}

TEST_CASE("a killed tasklet has no result, and who joins it is not taken for killed") {
    const no_leaks check;
    for (const bool before_it_ran : {true, false}) {
        const hsw_join join = start([](void**) { return hsw_sleep(HSW_NO_LIMIT / 4); }, nullptr, "victim");
        if (!before_it_ran) {
            CHECK(hsw_run() == HSW_OK);
        }
        kill(join);
        CHECK(is_done(join));
        void* result = number(1);
        CHECK(hsw_join_wait(join, HSW_NO_LIMIT, &result) == HSW_ERR_STATE);
        CHECK(has(last_message(), "the tasklet was killed, and has no result"));
        CHECK(has(last_message(), "victim"));
        CHECK(result == number(1));
        CHECK(hsw_join_release(join) == HSW_OK);
    }
    // The one who waits is killed: the result stays.
    const hsw_join join = start([](void** result) {
        *result = number(3);
        return hsw_sleep(500 * ms); // so long that the other one is killed before
    });
    hsw_status told = HSW_OK;
    const hsw_tasklet waits = spawn([join, &told] {
        void* result = nullptr;
        told = hsw_join_wait(join, HSW_NO_LIMIT, &result);
        return told;
    });
    CHECK(hsw_run() == HSW_OK);
    CHECK(hsw_tasklet_kill(waits, false) == HSW_OK);
    CHECK(told == HSW_ERR_EXIT);
    CHECK(joined(join) == number(3));
    CHECK(hsw_tasklet_release(waits) == HSW_OK);
    CHECK(hsw_join_release(join) == HSW_OK);
}

TEST_CASE("a result that nobody takes is freed once") {
    const no_leaks check;
    int freed = 0;
    const auto makes = [&freed](void** result) {
        *result = new counted{&freed};
        return HSW_OK;
    };
    // Let go of before it ends, and after.
    CHECK(hsw_join_release(start(makes, &destroy_counted)) == HSW_OK);
    CHECK(hsw_run() == HSW_OK);
    CHECK(freed == 1);
    const hsw_join join = start(makes, &destroy_counted);
    CHECK(hsw_run() == HSW_OK);
    CHECK(freed == 1);
    CHECK(hsw_join_release(join) == HSW_OK);
    CHECK(freed == 2);
    // Taken: the caller's.
    const hsw_join taken = start(makes, &destroy_counted);
    void* const result = joined(taken);
    CHECK(hsw_join_release(taken) == HSW_OK);
    CHECK(freed == 2);
    destroy_counted(result);
    // With its thread.
    on_new_thread([&] {
        start(makes, &destroy_counted);
        CHECK(hsw_run() == HSW_OK);
        CHECK(freed == 3);
        CHECK(hsw_thread_exit() == HSW_OK);
        CHECK(freed == 4);
    });
}

TEST_CASE("of several who join one has the result, and none waits for ever") {
    const no_leaks check;
    const hsw_join join = start([](void** result) {
        *result = number(4);
        return hsw_sleep(ms);
    });
    std::vector<hsw_status> told;
    for (int i = 0; i < 3; ++i) {
        CHECK(hsw_tasklet_release(spawn([join, &told] {
            void* result = nullptr;
            told.push_back(hsw_join_wait(join, HSW_NO_LIMIT, &result));
            return HSW_OK;
        })) == HSW_OK);
    }
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(told == std::vector<hsw_status>{HSW_OK, HSW_ERR_CLOSED, HSW_ERR_CLOSED});
    CHECK(hsw_join_release(join) == HSW_OK);
}

TEST_CASE("a joiner that is killed before it is back leaves the result to the next") {
    const no_leaks check;
    enum { nobody_waits, another_waits, a_select_waits };
    for (const int next : {nobody_waits, another_waits, a_select_waits}) {
        CAPTURE(next);
        hsw_channel go{};
        REQUIRE(hsw_channel_new(nullptr, &go) == HSW_OK);
        REQUIRE(hsw_channel_set_preference(go, HSW_PREFER_NEITHER) == HSW_OK);
        int freed = 0;
        const hsw_join join = start(
            [go, &freed](void** result) {
                *result = new counted{&freed};
                void* value = nullptr;
                return hsw_channel_receive(go, &value);
            },
            &destroy_counted);
        hsw_status told = HSW_OK;
        void* result = nullptr;
        const hsw_tasklet first = spawn([join, &told] {
            void* taken = nullptr;
            return told = hsw_join_wait(join, HSW_NO_LIMIT, &taken);
        });
        hsw_tasklet second{};
        hsw_status heard = HSW_ERR_OTHER;
        if (next != nobody_waits) {
            second = spawn([join, next, &heard, &result] {
                if (next == another_waits) {
                    return heard = hsw_join_wait(join, HSW_NO_LIMIT, &result);
                }
                hsw_case cases[1] = {of(join)};
                std::size_t chosen = 9;
                heard = hsw_select(cases, 1, HSW_NO_LIMIT, true, &chosen);
                result = cases[0].value;
                return heard;
            });
        }
        CHECK(hsw_run() == HSW_OK);
        CHECK(hsw_channel_send(go, nullptr) == HSW_OK);
        // The joined one ends; the joiner is queued, and has not had its turn.
        const hsw_budget turn{1, HSW_NO_LIMIT};
        CHECK(hsw_run_with(&turn, nullptr) == HSW_OK);
        CHECK(is_done(join));
        CHECK(hsw_tasklet_kill(first, false) == HSW_OK);
        CHECK(told == HSW_ERR_EXIT);
        CHECK(freed == 0);
        CHECK(hsw_run() == HSW_OK);
        if (next == nobody_waits) {
            result = joined(join);
        } else {
            CHECK(heard == HSW_OK);
            CHECK(hsw_tasklet_release(second) == HSW_OK);
        }
        REQUIRE(result != nullptr);
        CHECK(freed == 0);
        destroy_counted(result);
        void* again = nullptr;
        CHECK(hsw_join_wait(join, HSW_NO_LIMIT, &again) == HSW_ERR_CLOSED);
        CHECK(hsw_tasklet_release(first) == HSW_OK);
        CHECK(hsw_join_release(join) == HSW_OK);
        CHECK(hsw_channel_release(go) == HSW_OK);
    }
}

TEST_CASE("a select waits for results, beside channels") {
    const no_leaks check;
    hsw_channel channel{};
    REQUIRE(hsw_channel_new(nullptr, &channel) == HSW_OK);
    const hsw_join slow = start([channel](void** result) { return hsw_channel_receive(channel, result); });
    const hsw_join quick = answers(8);
    const hsw_join killed = start([](void**) { return hsw_schedule_remove(); });
    std::vector<hsw_case> cases{of(slow), of(quick), of(killed)};
    std::size_t chosen = 7;
    REQUIRE(hsw_select(cases.data(), cases.size(), HSW_NO_LIMIT, true, &chosen) == HSW_OK);
    CHECK(chosen == 1);
    CHECK(cases[1].value == number(8));
    // Its case is over: closed, if it is asked again.
    CHECK(hsw_select(&cases[1], 1, 0, true, &chosen) == HSW_ERR_CLOSED);
    CHECK(chosen == 0);
    cases.erase(cases.begin() + 1);
    CHECK(hsw_select(cases.data(), cases.size(), ms, true, &chosen) == HSW_ERR_TIMEOUT);
    CHECK(chosen == SIZE_MAX);
    kill(killed);
    CHECK(hsw_select(cases.data(), cases.size(), HSW_NO_LIMIT, true, &chosen) == HSW_ERR_STATE);
    CHECK(chosen == 1);
    // A channel that the select sends to, in the same wait.
    cases[1] = hsw_case{};
    cases[1].channel = channel;
    cases[1].direction = HSW_SEND;
    cases[1].value = number(12);
    REQUIRE(hsw_select(cases.data(), cases.size(), HSW_NO_LIMIT, true, &chosen) == HSW_OK);
    CHECK(chosen == 1);
    REQUIRE(hsw_select(cases.data(), 1, HSW_NO_LIMIT, true, &chosen) == HSW_OK);
    CHECK(cases[0].value == number(12));

    // Mistakes.
    hsw_case wrong = of(slow);
    wrong.direction = HSW_SEND;
    CHECK(hsw_select(&wrong, 1, 0, true, &chosen) == HSW_ERR_ARGUMENT);
    CHECK(has(last_message(), "a join has nothing to send to"));
    wrong = of(slow);
    wrong.channel = channel;
    CHECK(hsw_select(&wrong, 1, 0, true, &chosen) == HSW_ERR_ARGUMENT);
    for (const hsw_join join : {slow, quick, killed}) {
        CHECK(hsw_join_release(join) == HSW_OK);
    }
    wrong = of(slow);
    CHECK(hsw_select(&wrong, 1, 0, true, &chosen) == HSW_ERR_STALE);
    CHECK(hsw_channel_release(channel) == HSW_OK);
}
