// The C interface, used as a C program uses it, and misused as none should.
#include <hardswitch.h>

#include "c_helpers.hpp"
#include "slices.hpp"

#include <doctest/doctest.h>

#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

extern "C" int c_program(char* log, std::size_t size);
extern "C" int c_threads_program(char* log, std::size_t size);

namespace {

hsw_channel new_channel(hsw_destroy destroy = nullptr) {
    hsw_channel out{};
    REQUIRE(hsw_channel_new(destroy, &out) == HSW_OK);
    return out;
}

/// What a sliced tasklet's state says of its stack.
std::uint32_t sliced() { return has_slices() ? HSW_TASKLET_SLICED : 0; }

} // namespace

TEST_CASE("the header and the library are of one version") {
    CHECK(hsw_abi_version() == HSW_ABI_VERSION);
    CHECK(std::strlen(hsw_version()) >= 5);
}

TEST_CASE("the header is C99, and a C program works") {
    const no_leaks check;
    char log[64] = "";
    CHECK(c_program(log, sizeof log) == 0);
    CHECK(std::string(log) == "1 2 3 ");
    char listing[512] = "";
    CHECK(c_threads_program(listing, sizeof listing) == 0);
    CAPTURE(listing);
    CHECK(has(listing, "main running"));
}

TEST_CASE("the header declares nothing but hsw_ names") {
    std::ifstream header(HSW_HEADER);
    REQUIRE(header.good());
    int declarations = 0;
    for (std::string line; std::getline(header, line);) {
        CAPTURE(line);
        if (line.compare(0, 8, "#define ") == 0) {
            CHECK((line.compare(8, 4, "HSW_") == 0 || line == "#define HARDSWITCH_H"));
        } else if (!line.empty() && std::isalpha(static_cast<unsigned char>(line[0])) && line != "extern \"C\" {") {
            CHECK(has(line, "hsw_"));
            for (const char* inner : {"hsw_asm", "hsw_host_fatal", "hsw_host_now_ns", "hsw_host_thread_cell"}) {
                CHECK_FALSE(has(line, inner));
            }
            ++declarations;
        }
    }
    CHECK(declarations > 100);
}

TEST_CASE("every status has a name, also those that are none") {
    CHECK(std::string(hsw_status_name(HSW_OK)) == "HSW_OK");
    CHECK(std::string(hsw_status_name(HSW_ERR_STALE)) == "HSW_ERR_STALE");
    CHECK(std::string(hsw_status_name(static_cast<hsw_status>(12345))) == "unknown status");
}

TEST_CASE("null handles and null pointers are an error code in every function") {
    const no_leaks check;
    const hsw_tasklet no_tasklet{};
    const hsw_channel no_channel{};
    const hsw_socket no_socket{};
    std::uint32_t bits = 0;
    std::size_t size = 0;
    bool flag = false;
    void* value = nullptr;
    std::int32_t whole = 0;
    std::ptrdiff_t difference = 0;
    std::uint16_t port = 0;
    hsw_tasklet tasklet{};
    hsw_channel channel{};
    hsw_socket socket{};
    hsw_tasklet_stats tasklet_stats{};

    // Handles of nothing.
    CHECK(hsw_tasklet_retain(no_tasklet, &tasklet) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_release(no_tasklet) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_bind(no_tasklet, &return_ok, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_bind_paused(no_tasklet, &return_ok, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_unbind(no_tasklet) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_setup(no_tasklet) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_insert(no_tasklet) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_remove(no_tasklet) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_run(no_tasklet) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_switch(no_tasklet) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_throw(no_tasklet, nullptr, nullptr, nullptr, false) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_kill(no_tasklet, false) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_state(no_tasklet, &bits) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_set_block_trap(no_tasklet, true, &flag) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_set_atomic(no_tasklet, true, &flag) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_set_ignore_nesting(no_tasklet, true, &flag) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_next(no_tasklet, &tasklet) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_prev(no_tasklet, &tasklet) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_id(no_tasklet, &size) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_name(no_tasklet, nullptr, 0, &size) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_take_tempval(no_tasklet, &value) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_set_tempval(no_tasklet, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_get_stats(no_tasklet, &tasklet_stats) == HSW_ERR_NULL);
    CHECK(hsw_channel_retain(no_channel, &channel) == HSW_ERR_NULL);
    CHECK(hsw_channel_release(no_channel) == HSW_ERR_NULL);
    CHECK(hsw_channel_send(no_channel, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_try_send(no_channel, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_receive(no_channel, &value) == HSW_ERR_NULL);
    CHECK(hsw_channel_try_receive(no_channel, &value) == HSW_ERR_NULL);
    CHECK(hsw_channel_send_throw(no_channel, nullptr, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_send_sequence(no_channel, nullptr, 0, &size) == HSW_ERR_NULL);
    CHECK(hsw_channel_next(no_channel, &value) == HSW_ERR_NULL);
    CHECK(hsw_channel_preference(no_channel, &whole) == HSW_ERR_NULL);
    CHECK(hsw_channel_set_preference(no_channel, 0) == HSW_ERR_NULL);
    CHECK(hsw_channel_schedule_all(no_channel, &flag) == HSW_ERR_NULL);
    CHECK(hsw_channel_set_schedule_all(no_channel, true) == HSW_ERR_NULL);
    CHECK(hsw_channel_close(no_channel) == HSW_ERR_NULL);
    CHECK(hsw_channel_open(no_channel) == HSW_ERR_NULL);
    CHECK(hsw_channel_is_closing(no_channel, &flag) == HSW_ERR_NULL);
    CHECK(hsw_channel_is_closed(no_channel, &flag) == HSW_ERR_NULL);
    CHECK(hsw_channel_balance(no_channel, &difference) == HSW_ERR_NULL);
    CHECK(hsw_channel_queue(no_channel, &tasklet) == HSW_ERR_NULL);
    CHECK(hsw_channel_id(no_channel, &size) == HSW_ERR_NULL);
    CHECK(hsw_tcp_accept(no_socket, &socket) == HSW_ERR_NULL);
    CHECK(hsw_socket_read(no_socket, &bits, 4, &size) == HSW_ERR_NULL);
    CHECK(hsw_socket_write(no_socket, "x", 1, &size) == HSW_ERR_NULL);
    CHECK(hsw_socket_set_timeout(no_socket, 1) == HSW_ERR_NULL);
    CHECK(hsw_socket_end_writing(no_socket) == HSW_ERR_NULL);
    CHECK(hsw_socket_port(no_socket, &port) == HSW_ERR_NULL);
    CHECK(hsw_socket_retain(no_socket, &socket) == HSW_ERR_NULL);
    CHECK(hsw_socket_close(no_socket) == HSW_ERR_NULL);
    CHECK(hsw_socket_release(no_socket) == HSW_ERR_NULL);
    CHECK(last_message() == "the socket handle is null");

    // Null out-parameters and functions, with good handles: nothing may have been done.
    const hsw_channel good = new_channel();
    hsw_tasklet me{};
    REQUIRE(hsw_current(&me) == HSW_OK);
    const std::size_t handles = hsw_live_handles();
    CHECK(hsw_channel_new(nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(last_message() == "channel is null");
    CHECK(hsw_channel_retain(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_receive(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_try_receive(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_next(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_send_sequence(good, nullptr, 1, &size) == HSW_ERR_NULL);
    CHECK(hsw_channel_preference(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_schedule_all(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_is_closing(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_is_closed(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_balance(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_queue(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_channel_id(good, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_spawn(nullptr, nullptr, nullptr, &tasklet) == HSW_ERR_NULL);
    CHECK(last_message() == "function is null");
    CHECK(hsw_tasklet_new(nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_retain(me, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_bind(me, nullptr, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_state(me, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_next(me, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_prev(me, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_id(me, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_name(me, nullptr, 8, &size) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_take_tempval(me, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tasklet_get_stats(me, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_current(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_main(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_schedule_with(nullptr, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_schedule_remove_with(nullptr, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_settings_default(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_settings_console(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_get_stats(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_offload(nullptr, nullptr, nullptr, nullptr, HSW_NO_LIMIT, &value) == HSW_ERR_NULL);
    CHECK(hsw_tcp_connect(nullptr, 80, HSW_NO_LIMIT, &socket) == HSW_ERR_NULL);
    CHECK(hsw_tcp_connect("127.0.0.1", 80, HSW_NO_LIMIT, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_tcp_listen(nullptr, 0, &socket) == HSW_ERR_NULL);
    CHECK(hsw_last_error_payload(nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_live_handles() == handles);

    // Those that may be null.
    CHECK(hsw_tasklet_set_block_trap(me, false, nullptr) == HSW_OK);
    CHECK(hsw_tasklet_name(me, nullptr, 0, nullptr) == HSW_OK);
    CHECK(hsw_tick(0, nullptr) == HSW_OK);
    CHECK(hsw_pump(0, nullptr) == HSW_OK);
    CHECK(hsw_channel_send_sequence(good, nullptr, 0, nullptr) == HSW_OK);
    CHECK(hsw_set_schedule_callback(nullptr, nullptr, nullptr, nullptr) == HSW_OK);
    CHECK(hsw_tasklet_release(me) == HSW_OK);
    CHECK(hsw_channel_release(good) == HSW_OK);
}

TEST_CASE("a stale handle is an error code, also when its slot is used again") {
    const no_leaks check;
    const hsw_channel first = new_channel();
    CHECK(hsw_channel_release(first) == HSW_OK);
    CHECK(hsw_channel_release(first) == HSW_ERR_STALE);
    CHECK(last_message() == "the channel handle is stale: it was released, or never was one");
    const hsw_channel second = new_channel();
    CHECK(hsw_channel_close(first) == HSW_ERR_STALE);
    bool closing = true;
    CHECK(hsw_channel_is_closing(second, &closing) == HSW_OK);
    CHECK_FALSE(closing);
    CHECK(hsw_channel_release(second) == HSW_OK);

    const hsw_tasklet tasklet = spawn([] { return HSW_OK; });
    CHECK(hsw_run() == HSW_OK);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    CHECK(hsw_tasklet_run(tasklet) == HSW_ERR_STALE);
    CHECK(hsw_tasklet_kill(tasklet, true) == HSW_ERR_STALE);
}

TEST_CASE("a double release is found while others still have the object") {
    const no_leaks check;
    const hsw_channel mine = new_channel();
    hsw_channel theirs{};
    REQUIRE(hsw_channel_retain(mine, &theirs) == HSW_OK);
    CHECK(hsw_channel_release(mine) == HSW_OK);
    CHECK(hsw_channel_release(mine) == HSW_ERR_STALE);
    std::size_t id = 0;
    CHECK(hsw_channel_id(theirs, &id) == HSW_OK);
    CHECK(id != 0);
    CHECK(hsw_channel_release(theirs) == HSW_OK);
}

TEST_CASE("numbers that never were handles are error codes") {
    const no_leaks check;
    std::uint64_t random = 88172645463325252u;
    for (int i = 0; i < 20000; ++i) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        const hsw_status status = hsw_tasklet_insert(hsw_tasklet{random});
        REQUIRE(status >= HSW_ERR_STALE);
        REQUIRE(status <= HSW_ERR_WRONG_KIND);
    }
    CHECK(hsw_tasklet_insert(hsw_tasklet{1}) == HSW_ERR_STALE);
    CHECK(hsw_tasklet_insert(hsw_tasklet{~std::uint64_t{0}}) == HSW_ERR_STALE);
}

TEST_CASE("a handle of another kind is told apart, if its type was cast away") {
    const no_leaks check;
    const hsw_channel channel = new_channel();
    CHECK(hsw_tasklet_run(hsw_tasklet{channel.handle}) == HSW_ERR_WRONG_KIND);
    CHECK(last_message() == "the handle does not name a tasklet");
    CHECK(hsw_channel_release(channel) == HSW_OK);
}

TEST_CASE("a handle of another thread is told apart, also when that thread has ended") {
    const no_leaks check;
    const hsw_channel mine = new_channel();
    hsw_channel theirs{};
    on_new_thread([&] {
        CHECK(hsw_channel_send(mine, nullptr) == HSW_ERR_WRONG_THREAD);
        CHECK(last_message() == "the channel belongs to another thread");
        CHECK(hsw_channel_release(mine) == HSW_ERR_WRONG_THREAD);
        theirs = new_channel();
    });
    CHECK(hsw_channel_close(theirs) == HSW_ERR_WRONG_THREAD);
    CHECK(hsw_channel_release(mine) == HSW_OK);
}

TEST_CASE("an argument is freed once, however its tasklet ends") {
    const no_leaks check;
    int freed = 0;
    hsw_tasklet_options options{};
    options.destroy_argument = &destroy_counted;
    hsw_tasklet tasklet{};

    SUBCASE("by returning") {
        REQUIRE(hsw_spawn(&return_ok, new counted{&freed}, &options, &tasklet) == HSW_OK);
        CHECK(hsw_run() == HSW_OK);
    }
    SUBCASE("by being killed before it ran") {
        REQUIRE(hsw_spawn(&return_ok, new counted{&freed}, &options, &tasklet) == HSW_OK);
        CHECK(hsw_tasklet_kill(tasklet, false) == HSW_OK);
    }
    SUBCASE("by losing its function") {
        REQUIRE(hsw_tasklet_new(nullptr, &tasklet) == HSW_OK);
        REQUIRE(hsw_tasklet_bind(tasklet, &return_ok, new counted{&freed}, &destroy_counted) == HSW_OK);
        CHECK(freed == 0);
        CHECK(hsw_tasklet_unbind(tasklet) == HSW_OK);
    }
    SUBCASE("by being dropped before it was set up") {
        REQUIRE(hsw_tasklet_new(nullptr, &tasklet) == HSW_OK);
        REQUIRE(hsw_tasklet_bind(tasklet, &return_ok, new counted{&freed}, &destroy_counted) == HSW_OK);
    }
    SUBCASE("by never coming to be: no function") {
        CHECK(hsw_spawn(nullptr, new counted{&freed}, &options, nullptr) == HSW_ERR_NULL);
    }
    SUBCASE("by never coming to be: wrong options") {
        options.stack = 77;
        CHECK(hsw_spawn(&return_ok, new counted{&freed}, &options, nullptr) == HSW_ERR_ARGUMENT);
        CHECK(last_message() == "options.stack: there is no kind 77");
    }
    SUBCASE("by never coming to be: a stack that cannot be had") {
        options.name = "giant";
        options.stack = HSW_STACK_OWN;
        options.stack_size = SIZE_MAX / 2;
        CHECK(hsw_spawn(&return_ok, new counted{&freed}, &options, nullptr) == HSW_ERR_STACK_SIZE);
        CHECK(has(last_message(), "giant"));
    }
    SUBCASE("by a stale tasklet") {
        CHECK(hsw_tasklet_bind(hsw_tasklet{1}, &return_ok, new counted{&freed}, &destroy_counted) == HSW_ERR_STALE);
    }
    if (tasklet.handle != 0) {
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
    CHECK(freed == 1);
}

TEST_CASE("a sliced tasklet has no stack size of its own") {
    hsw_tasklet_options options{};
    options.stack_size = 4096;
    CHECK(hsw_spawn(&return_ok, nullptr, &options, nullptr) == HSW_ERR_ARGUMENT);
}

TEST_CASE("a value in a channel is freed once, or received once") {
    const no_leaks check;
    int freed = 0;
    const hsw_channel channel = new_channel(&destroy_counted);

    SUBCASE("received: it is the receiver's") {
        const hsw_tasklet receiver = spawn([&] {
            void* value = nullptr;
            CHECK(hsw_channel_receive(channel, &value) == HSW_OK);
            CHECK(freed == 0);
            destroy_counted(value);
            return HSW_OK;
        }, nullptr, HSW_STACK_OWN);
        CHECK(hsw_channel_send(channel, new counted{&freed}) == HSW_OK);
        CHECK(hsw_run() == HSW_OK);
        CHECK(hsw_tasklet_release(receiver) == HSW_OK);
    }
    SUBCASE("the sender is killed before anybody came") {
        const hsw_tasklet sender = spawn([&] {
            CHECK(hsw_channel_send(channel, new counted{&freed}) == HSW_ERR_EXIT);
            return HSW_ERR_EXIT;
        });
        CHECK(hsw_run() == HSW_OK);
        CHECK(freed == 0);
        CHECK(hsw_tasklet_kill(sender, false) == HSW_OK);
        CHECK(hsw_tasklet_release(sender) == HSW_OK);
    }
    SUBCASE("the receiver is killed when it has the value but has not run") {
        REQUIRE(hsw_channel_set_preference(channel, HSW_PREFER_SENDER) == HSW_OK);
        const hsw_tasklet receiver = spawn([&] {
            void* value = nullptr;
            CHECK(hsw_channel_receive(channel, &value) == HSW_ERR_EXIT);
            return HSW_ERR_EXIT;
        });
        CHECK(hsw_run() == HSW_OK);
        CHECK(hsw_channel_send(channel, new counted{&freed}) == HSW_OK);
        CHECK(hsw_tasklet_kill(receiver, true) == HSW_OK);
        CHECK(hsw_run() == HSW_OK);
        CHECK(hsw_tasklet_release(receiver) == HSW_OK);
    }
    SUBCASE("the channel is closed") {
        CHECK(hsw_channel_close(channel) == HSW_OK);
        CHECK(hsw_channel_send(channel, new counted{&freed}) == HSW_ERR_CLOSED);
        CHECK(has(last_message(), "closed channel"));
    }
    SUBCASE("main would deadlock") {
        const hsw_status status = hsw_channel_send(channel, new counted{&freed});
        CHECK((status == HSW_ERR_DEADLOCK || status == HSW_ERR_MAIN_SENDING));
    }
    SUBCASE("nobody is there to try_send to: it stays the sender's") {
        auto* const value = new counted{&freed};
        CHECK(hsw_channel_try_send(channel, value) == HSW_ERR_WOULD_BLOCK);
        CHECK(freed == 0);
        destroy_counted(value);
    }
    SUBCASE("in a sequence that fails in the middle, the rest is freed") {
        const hsw_tasklet receiver = spawn([&] {
            void* value = nullptr;
            CHECK(hsw_channel_receive(channel, &value) == HSW_OK);
            destroy_counted(value);
            return hsw_channel_close(channel);
        });
        void* values[3] = {new counted{&freed}, new counted{&freed}, new counted{&freed}};
        std::size_t sent = 99;
        CHECK(hsw_channel_send_sequence(channel, values, 3, &sent) == HSW_ERR_CLOSED);
        CHECK(sent == 1);
        CHECK(freed == 3);
        freed = 1;
        CHECK(hsw_tasklet_release(receiver) == HSW_OK);
    }
    CHECK(freed == 1);
    CHECK(hsw_channel_release(channel) == HSW_OK);
}

TEST_CASE("a status that an entry returns is how its tasklet ends") {
    const no_leaks check;
    SUBCASE("an exception, with its payload") {
        int freed = 0;
        const hsw_tasklet tasklet = spawn([&] { return hsw_fail(new counted{&freed}, &destroy_counted, "it broke"); });
        CHECK(hsw_run() == HSW_ERR_THROWN);
        CHECK(last_message() == "it broke");
        void* data = nullptr;
        hsw_destroy destroy = nullptr;
        REQUIRE(hsw_last_error_payload(&data, &destroy) == HSW_OK);
        CHECK(static_cast<counted*>(data)->freed == &freed);
        CHECK((destroy == &destroy_counted));
        CHECK(freed == 0);
        CHECK(hsw_channel_close(hsw_channel{}) == HSW_ERR_NULL); // the next error frees it
        CHECK(freed == 1);
        CHECK(hsw_last_error_payload(&data, &destroy) == HSW_ERR_STATE);
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
    SUBCASE("what a call in it failed with") {
        const hsw_channel closed = new_channel();
        REQUIRE(hsw_channel_close(closed) == HSW_OK);
        const hsw_tasklet tasklet = spawn([&] { return hsw_channel_send(closed, nullptr); });
        CHECK(hsw_run() == HSW_ERR_THROWN);
        CHECK(hsw_last_error_cause() == HSW_ERR_CLOSED);
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
        CHECK(hsw_channel_release(closed) == HSW_OK);
    }
    SUBCASE("HSW_ERR_EXIT is silent") {
        const hsw_tasklet tasklet = spawn([] { return HSW_ERR_EXIT; });
        CHECK(hsw_run() == HSW_OK);
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
    SUBCASE("a number that is no status is an exception that says so") {
        const hsw_tasklet tasklet = spawn([] { return static_cast<hsw_status>(4711); });
        CHECK(hsw_run() == HSW_ERR_THROWN);
        CHECK(last_message() == "status 4711");
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
}

TEST_CASE("the last error belongs to the tasklet") {
    const no_leaks check;
    std::string first;
    std::string second;
    const hsw_tasklet a = spawn([&] {
        CHECK(hsw_tasklet_run(hsw_tasklet{}) == HSW_ERR_NULL);
        const char* const words = hsw_last_error_message();
        CHECK(hsw_schedule() == HSW_OK);
        first = hsw_last_error_message();
        CHECK(hsw_last_error_message() == words);
        return HSW_OK;
    });
    const hsw_tasklet b = spawn([&] {
        CHECK(hsw_channel_close(hsw_channel{}) == HSW_ERR_NULL);
        CHECK(hsw_schedule() == HSW_OK);
        second = hsw_last_error_message();
        return HSW_OK;
    });
    const hsw_tasklet c = spawn([&] {
        CHECK(last_message().empty()); // a new tasklet has none
        CHECK(hsw_last_error_status() == HSW_OK);
        return HSW_OK;
    });
    CHECK(hsw_run() == HSW_OK);
    CHECK(first == "the tasklet handle is null");
    CHECK(second == "the channel handle is null");
    for (const hsw_tasklet tasklet : {a, b, c}) {
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
}

TEST_CASE("whoever asks for the last error, or makes a mistake, can still choose settings") {
    on_new_thread([] {
        CHECK(hsw_last_error_status() == HSW_OK);
        CHECK(hsw_last_error_errno() == 0);
        CHECK(last_message().empty());
        void* payload = nullptr;
        CHECK(hsw_last_error_payload(&payload, nullptr) == HSW_ERR_STATE);
        hsw_settings settings{};
        REQUIRE(hsw_settings_default(&settings) == HSW_OK);
        settings.windows = 0;
        CHECK(hsw_init(&settings) == HSW_ERR_SETTINGS);
        CHECK(has(last_message(), "the number of windows"));
        CHECK(hsw_channel_close(hsw_channel{}) == HSW_ERR_NULL);
        settings.windows = 2;
        CHECK(hsw_init(&settings) == HSW_OK);
        CHECK(last_message() == "the channel handle is null"); // main's, as before
    });
}

namespace {

/// Fails in its own ways, wherever the library calls it.
hsw_status fails(void*) {
    CHECK(hsw_channel_close(hsw_channel{}) == HSW_ERR_NULL);
    CHECK(last_message() == "the channel handle is null");
    return HSW_ERR_THROWN;
}
void fails_silently(void*) { static_cast<void>(fails(nullptr)); }
void fails_in_callback(hsw_tasklet, hsw_tasklet, void*) { static_cast<void>(fails(nullptr)); }

} // namespace

TEST_CASE("what the library calls meanwhile does not touch the last error of whom it interrupts") {
    const no_leaks check;
    int freed = 0;
    CHECK(hsw_fail(new counted{&freed}, &destroy_counted, "mine") == HSW_ERR_THROWN);
    const char* const words = hsw_last_error_message();
    const auto untouched = [&] {
        CHECK(hsw_last_error_status() == HSW_ERR_THROWN);
        CHECK(hsw_last_error_message() == words);
        CHECK(last_message() == "mine");
    };
    hsw_timer_clock clock{};
    REQUIRE(hsw_timer_clock_new(&clock) == HSW_OK);
    CHECK(hsw_timer_call_later(clock, 0, &fails, nullptr, &fails_silently, nullptr) == HSW_OK);
    CHECK(hsw_pump(0, nullptr) == HSW_OK);
    untouched();
    hsw_tasklet self{};
    hsw_remote remote{};
    REQUIRE(hsw_current(&self) == HSW_OK);
    REQUIRE(hsw_tasklet_remote(self, &remote) == HSW_OK);
    CHECK(hsw_remote_with(remote, [](hsw_tasklet, void*) { fails_silently(nullptr); }, nullptr, &fails_silently) == HSW_OK);
    untouched();
    REQUIRE(hsw_set_schedule_callback(&fails_in_callback, nullptr, nullptr, nullptr) == HSW_OK);
    const hsw_tasklet other = spawn([] { return HSW_OK; });
    CHECK(hsw_tasklet_run(other) == HSW_OK);
    REQUIRE(hsw_set_schedule_callback(nullptr, nullptr, nullptr, nullptr) == HSW_OK);
    untouched();
    CHECK(freed == 0);

    // What the timer's function failed with is not main's exception.
    CHECK(hsw_run() == HSW_ERR_THROWN);
    CHECK(last_message() == "status HSW_ERR_THROWN");
    CHECK(freed == 1);
    CHECK(hsw_tasklet_release(other) == HSW_OK);
    CHECK(hsw_tasklet_release(self) == HSW_OK);
    CHECK(hsw_remote_release(remote) == HSW_OK);
    CHECK(hsw_timer_clock_release(clock) == HSW_OK);
}

TEST_CASE("an error names its tasklet") {
    const no_leaks check;
    const hsw_channel channel = new_channel();
    const hsw_tasklet tasklet = spawn([&] {
        void* value = nullptr;
        return hsw_channel_receive(channel, &value);
    }, "the waiter");
    CHECK(hsw_run() == HSW_OK);
    CHECK(hsw_tasklet_insert(tasklet) == HSW_ERR_STATE);
    CHECK(last_message() == "You cannot run a blocked tasklet (tasklet 'the waiter')");
    CHECK(hsw_last_error_status() == HSW_ERR_STATE);
    CHECK(hsw_tasklet_kill(tasklet, false) == HSW_OK);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    CHECK(hsw_channel_release(channel) == HSW_OK);
}

TEST_CASE("states, as the specification's table has them") {
    const no_leaks check;
    hsw_tasklet tasklet{};
    REQUIRE(hsw_tasklet_new(nullptr, &tasklet) == HSW_OK);
    CHECK(state(tasklet) == sliced());
    const hsw_channel channel = new_channel();
    struct arguments {
        hsw_channel channel;
        hsw_tasklet self;
        std::uint32_t seen;
    } shared = {channel, tasklet, 0};
    const auto function = [](void* data) {
        auto* const with = static_cast<arguments*>(data);
        with->seen = state(with->self);
        void* value = nullptr;
        return hsw_channel_receive(with->channel, &value);
    };
    REQUIRE(hsw_tasklet_bind(tasklet, function, &shared, nullptr) == HSW_OK);
    CHECK(state(tasklet) == sliced());
    CHECK(hsw_tasklet_run(tasklet) == HSW_ERR_STATE);
    REQUIRE(hsw_tasklet_setup(tasklet) == HSW_OK);
    CHECK(state(tasklet) == (sliced() | HSW_TASKLET_ALIVE | HSW_TASKLET_SCHEDULED));
    CHECK(hsw_tasklet_setup(tasklet) == HSW_ERR_STATE);
    REQUIRE(hsw_tasklet_remove(tasklet) == HSW_OK);
    CHECK(state(tasklet) == (sliced() | HSW_TASKLET_ALIVE | HSW_TASKLET_PAUSED));
    REQUIRE(hsw_tasklet_run(tasklet) == HSW_OK);
    CHECK(shared.seen == (sliced() | HSW_TASKLET_ALIVE | HSW_TASKLET_SCHEDULED | HSW_TASKLET_CURRENT));
    CHECK(state(tasklet) == (sliced() | HSW_TASKLET_ALIVE | HSW_TASKLET_BLOCKED | HSW_TASKLET_SCHEDULED));
    std::ptrdiff_t balance = 0;
    CHECK(hsw_channel_balance(channel, &balance) == HSW_OK);
    CHECK(balance == -1);
    hsw_tasklet first{};
    REQUIRE(hsw_channel_queue(channel, &first) == HSW_OK);
    std::size_t id = 0;
    std::size_t first_id = 1;
    CHECK(hsw_tasklet_id(tasklet, &id) == HSW_OK);
    CHECK(hsw_tasklet_id(first, &first_id) == HSW_OK);
    CHECK(id == first_id);
    CHECK(first.handle != tasklet.handle);
    CHECK(hsw_channel_send(channel, nullptr) == HSW_OK);
    CHECK(state(tasklet) == sliced());
    hsw_tasklet main_tasklet{};
    REQUIRE(hsw_main(&main_tasklet) == HSW_OK);
    CHECK(state(main_tasklet) == (HSW_TASKLET_ALIVE | HSW_TASKLET_SCHEDULED | HSW_TASKLET_MAIN | HSW_TASKLET_CURRENT));
    CHECK(hsw_tasklet_release(main_tasklet) == HSW_OK);
    CHECK(hsw_tasklet_release(first) == HSW_OK);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    CHECK(hsw_channel_release(channel) == HSW_OK);
}

TEST_CASE("names come whole or cut, and always end") {
    const no_leaks check;
    const hsw_tasklet tasklet = spawn([] { return HSW_OK; }, "a long name");
    std::size_t length = 0;
    char small[5] = "xxxx";
    CHECK(hsw_tasklet_name(tasklet, small, sizeof small, &length) == HSW_OK);
    CHECK(std::string(small) == "a lo");
    CHECK(length == 11);
    char large[64];
    CHECK(hsw_tasklet_name(tasklet, large, sizeof large, nullptr) == HSW_OK);
    CHECK(std::string(large) == "a long name");
    CHECK(hsw_run() == HSW_OK);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
}

TEST_CASE("a killed tasklet's call says so, and a thrown payload arrives") {
    const no_leaks check;
    int freed = 0;
    hsw_status met = HSW_OK;
    std::string words;
    const hsw_channel channel = new_channel();
    const hsw_tasklet tasklet = spawn([&] {
        void* value = nullptr;
        met = hsw_channel_receive(channel, &value);
        words = last_message();
        return HSW_OK;
    });
    CHECK(hsw_run() == HSW_OK);
    SUBCASE("kill") {
        CHECK(hsw_tasklet_kill(tasklet, false) == HSW_OK);
        CHECK(met == HSW_ERR_EXIT);
        CHECK(words == "TaskletExit");
        freed = 1;
    }
    SUBCASE("throw") {
        CHECK(hsw_tasklet_throw(tasklet, new counted{&freed}, &destroy_counted, "catch!", false) == HSW_OK);
        CHECK(met == HSW_ERR_THROWN);
        CHECK(words == "catch!");
    }
    SUBCASE("throw, pending") {
        CHECK(hsw_tasklet_throw(tasklet, new counted{&freed}, &destroy_counted, nullptr, true) == HSW_OK);
        CHECK(met == HSW_OK);
        CHECK(hsw_run() == HSW_OK);
        CHECK(met == HSW_ERR_THROWN);
        CHECK(words == "an exception of the host");
    }
    SUBCASE("through the channel") {
        CHECK(hsw_channel_send_throw(channel, new counted{&freed}, &destroy_counted, "sent") == HSW_OK);
        CHECK(met == HSW_ERR_THROWN);
        CHECK(words == "sent");
    }
    CHECK(freed == 1);
    CHECK(state(tasklet) == sliced());
    CHECK(hsw_tasklet_kill(tasklet, false) == HSW_OK); // no-op on the dead
    int late = 0;
    CHECK(hsw_tasklet_throw(tasklet, new counted{&late}, &destroy_counted, "late", false) == HSW_ERR_STATE);
    CHECK(hsw_last_error_status() == HSW_ERR_STATE);
    CHECK(late == 1);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    CHECK(hsw_channel_release(channel) == HSW_OK);
}

TEST_CASE("main cannot wait for nobody") {
    const no_leaks check;
    const hsw_channel channel = new_channel();
    void* value = nullptr;
    const hsw_status status = hsw_channel_receive(channel, &value);
    CHECK((status == HSW_ERR_DEADLOCK || status == HSW_ERR_MAIN_RECEIVING));
    CHECK_FALSE(last_message().empty());
    CHECK(hsw_channel_release(channel) == HSW_OK);
}

TEST_CASE("block trap and switch trap refuse, and change nothing") {
    const no_leaks check;
    const hsw_channel channel = new_channel();
    hsw_tasklet me{};
    REQUIRE(hsw_current(&me) == HSW_OK);
    bool old = true;
    CHECK(hsw_tasklet_set_block_trap(me, true, &old) == HSW_OK);
    CHECK_FALSE(old);
    void* value = nullptr;
    CHECK(hsw_channel_receive(channel, &value) == HSW_ERR_BLOCK_TRAP);
    CHECK(hsw_tasklet_set_block_trap(me, false, &old) == HSW_OK);
    CHECK(old);
    const hsw_tasklet tasklet = spawn([] { return HSW_OK; });
    CHECK(hsw_switch_trap(1) == 0);
    CHECK(hsw_schedule() == HSW_ERR_SWITCH_TRAP);
    CHECK(hsw_switch_trap(-1) == 1);
    std::ptrdiff_t balance = 1;
    CHECK(hsw_channel_balance(channel, &balance) == HSW_OK);
    CHECK(balance == 0);
    CHECK(hsw_run() == HSW_OK);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    CHECK(hsw_tasklet_release(me) == HSW_OK);
    CHECK(hsw_channel_release(channel) == HSW_OK);
}

TEST_CASE("channel settings read as they were written") {
    const no_leaks check;
    const hsw_channel channel = new_channel();
    std::int32_t preference = 7;
    CHECK(hsw_channel_preference(channel, &preference) == HSW_OK);
    CHECK(preference == HSW_PREFER_RECEIVER);
    CHECK(hsw_channel_set_preference(channel, 1000) == HSW_OK); // only the sign counts
    CHECK(hsw_channel_preference(channel, &preference) == HSW_OK);
    CHECK(preference == HSW_PREFER_SENDER);
    bool flag = true;
    CHECK(hsw_channel_schedule_all(channel, &flag) == HSW_OK);
    CHECK_FALSE(flag);
    CHECK(hsw_channel_set_schedule_all(channel, true) == HSW_OK);
    CHECK(hsw_channel_schedule_all(channel, &flag) == HSW_OK);
    CHECK(flag);
    CHECK(hsw_channel_close(channel) == HSW_OK);
    CHECK(hsw_channel_is_closing(channel, &flag) == HSW_OK);
    CHECK(flag);
    CHECK(hsw_channel_is_closed(channel, &flag) == HSW_OK);
    CHECK(flag);
    void* value = nullptr;
    CHECK(hsw_channel_next(channel, &value) == HSW_ERR_STOP_ITERATION);
    CHECK(hsw_channel_open(channel) == HSW_OK);
    CHECK(hsw_channel_is_closing(channel, &flag) == HSW_OK);
    CHECK_FALSE(flag);
    CHECK(hsw_channel_try_receive(channel, &value) == HSW_ERR_WOULD_BLOCK);
    CHECK(hsw_channel_release(channel) == HSW_OK);
}

TEST_CASE("values wait in the transfer slot, and others may exchange them") {
    const no_leaks check;
    void* got = nullptr;
    const hsw_tasklet tasklet = spawn([&] { return hsw_schedule_remove_with(number(1), nullptr, &got); });
    CHECK(hsw_run() == HSW_OK);
    CHECK((state(tasklet) & HSW_TASKLET_PAUSED) != 0);
    void* waiting = nullptr;
    CHECK(hsw_tasklet_take_tempval(tasklet, &waiting) == HSW_OK);
    CHECK(waiting == number(1));
    CHECK(hsw_tasklet_take_tempval(tasklet, &waiting) == HSW_OK);
    CHECK(waiting == nullptr);
    CHECK(hsw_tasklet_set_tempval(tasklet, number(2), nullptr) == HSW_OK);
    CHECK(hsw_tasklet_run(tasklet) == HSW_OK);
    CHECK(got == number(2));
    void* mine = nullptr;
    CHECK(hsw_schedule_with(number(3), nullptr, &mine) == HSW_OK);
    CHECK(mine == number(3));
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
}

TEST_CASE("callbacks see what happens, with handles that are lent") {
    const no_leaks check;
    struct seen {
        int switches = 0;
        int sends = 0;
        int receives = 0;
        std::vector<std::string> errors;
    } seen;
    const auto on_schedule = [](hsw_tasklet previous, hsw_tasklet next, void* user) {
        std::size_t a = 0;
        std::size_t b = 0;
        if ((previous.handle == 0 || hsw_tasklet_id(previous, &a) == HSW_OK) && hsw_tasklet_id(next, &b) == HSW_OK && a != b) {
            ++static_cast<struct seen*>(user)->switches;
        }
    };
    const auto on_channel = [](std::size_t, hsw_tasklet, bool sending, bool, void* user) {
        ++(sending ? static_cast<struct seen*>(user)->sends : static_cast<struct seen*>(user)->receives);
    };
    const auto on_error = [](const hsw_uncaught* error, void* user) {
        static_cast<struct seen*>(user)->errors.push_back(error->message);
        return error->payload == nullptr ? HSW_OK : HSW_ERR_OTHER;
    };
    hsw_schedule_callback old = on_schedule;
    CHECK(hsw_set_schedule_callback(on_schedule, &seen, &old, nullptr) == HSW_OK);
    CHECK((old == nullptr));
    CHECK(hsw_set_channel_callback(on_channel, &seen, nullptr, nullptr) == HSW_OK);
    CHECK(hsw_set_error_handler(on_error, &seen, nullptr, nullptr) == HSW_OK);

    const hsw_channel channel = new_channel();
    const hsw_tasklet a = spawn([&] { return hsw_channel_send(channel, nullptr); });
    const hsw_tasklet b = spawn([&] {
        void* value = nullptr;
        return hsw_channel_receive(channel, &value);
    });
    const hsw_tasklet c = spawn([] { return hsw_fail(nullptr, nullptr, "handled"); });
    CHECK(hsw_run() == HSW_OK);
    CHECK(seen.switches >= 4);
    CHECK(seen.sends == 1);
    CHECK(seen.receives == 1);
    CHECK(seen.errors == std::vector<std::string>{"handled"});
    int freed = 0;
    const hsw_tasklet d = spawn([&] { return hsw_fail(new counted{&freed}, &destroy_counted, "passed on"); });
    CHECK(hsw_run() == HSW_ERR_THROWN);
    CHECK(seen.errors.size() == 2);
    // The last error keeps the payload, which points to our frame: the next error makes it go.
    CHECK(freed == 0);
    CHECK(hsw_tasklet_run(hsw_tasklet{}) == HSW_ERR_NULL);
    CHECK(freed == 1);

    void* user = nullptr;
    CHECK(hsw_set_schedule_callback(nullptr, nullptr, &old, &user) == HSW_OK);
    CHECK((old == +on_schedule));
    CHECK(user == &seen);
    CHECK(hsw_set_channel_callback(nullptr, nullptr, nullptr, nullptr) == HSW_OK);
    CHECK(hsw_set_error_handler(nullptr, nullptr, nullptr, nullptr) == HSW_OK);
    for (const hsw_tasklet tasklet : {a, b, c, d}) {
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
    CHECK(hsw_channel_release(channel) == HSW_OK);
}

TEST_CASE("settings come first or not at all, and limits are errors") {
    on_new_thread([] {
        hsw_settings settings{};
        REQUIRE(hsw_settings_console(&settings) == HSW_OK);
        CHECK(settings.windows == 1);
        CHECK(settings.spin_ns == 0);
        settings.windows = 0;
        CHECK(hsw_init(&settings) == HSW_ERR_SETTINGS);
    });
    on_new_thread([] {
        hsw_settings settings{};
        REQUIRE(hsw_settings_default(&settings) == HSW_OK);
        settings.memory_ceiling = 256 * 1024;
        CHECK(hsw_init(&settings) == HSW_OK);
        CHECK(hsw_init(&settings) == HSW_ERR_SETTINGS);
        hsw_status status = HSW_OK;
        int made = 0;
        hsw_tasklet_options options{};
        options.name = "one too many";
        while (status == HSW_OK && made < 100000) {
            status = hsw_spawn(&return_ok, nullptr, &options, nullptr);
            ++made;
        }
        CHECK(status == HSW_ERR_OUT_OF_MEMORY);
        CHECK(has(last_message(), "262144"));
        CHECK(has(last_message(), "one too many"));
        CHECK(hsw_run() == HSW_OK);
    });
}

TEST_CASE("windows may lie in memory of the host's") {
    on_new_thread([] {
        hsw_settings settings{};
        REQUIRE(hsw_settings_console(&settings) == HSW_OK);
        settings.window_size = 64 * 1024;
        std::vector<char> memory(settings.windows * settings.window_size + 32);
        CHECK(hsw_init_in(&settings, nullptr, memory.size()) == HSW_ERR_NULL);
    });
    std::vector<char> memory(1024 * 1024);
    on_new_thread([&] {
        hsw_settings settings{};
        REQUIRE(hsw_settings_console(&settings) == HSW_OK);
        settings.window_size = 64 * 1024;
        REQUIRE(hsw_init_in(&settings, memory.data(), memory.size()) == HSW_OK);
        const char* where = nullptr;
        const hsw_tasklet tasklet = spawn([&where] {
            const char local = 0;
            where = &local;
            return HSW_OK;
        });
        CHECK(hsw_run() == HSW_OK);
        CHECK((where >= memory.data() && where < memory.data() + memory.size()) == has_slices());
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
        CHECK(hsw_thread_exit() == HSW_OK);
    });
}

TEST_CASE("spill and grow call their function, and tell what they cannot") {
    const no_leaks check;
    std::size_t used = 7;
    CHECK(hsw_stack_used(&used) == HSW_OK);
    CHECK(used == 0); // main
    CHECK(hsw_stack_used(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_spill(nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_grow(nullptr, nullptr) == HSW_ERR_NULL);
    const auto count = [](void* data) { ++*static_cast<int*>(data); };
    int calls = 0;
    CHECK(hsw_spill(count, &calls) == HSW_OK);
    CHECK(hsw_grow(count, &calls) == HSW_OK);
    CHECK(calls == 2);
    const hsw_tasklet tasklet = spawn([&] { return hsw_stack_used(&used); });
    CHECK(hsw_run() == HSW_OK);
    CHECK(used > 0);
    CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
}

TEST_CASE("a thread's end kills its tasklets and makes its handles stale") {
    int ended = 0;
    int freed = 0;
    on_new_thread([&] {
        const hsw_channel channel = new_channel(&destroy_counted);
        const auto wait = [&ended, channel] {
            void* value = nullptr;
            const hsw_status status = hsw_channel_receive(channel, &value);
            ended += status == HSW_ERR_EXIT ? 1 : 0;
            return status;
        };
        const hsw_tasklet a = spawn(wait);
        const hsw_tasklet b = spawn(wait, nullptr, HSW_STACK_OWN);
        CHECK(hsw_run() == HSW_OK);
        const hsw_tasklet inside = spawn([] {
            CHECK(hsw_thread_exit() == HSW_ERR_STATE);
            return HSW_OK;
        });
        CHECK(hsw_run() == HSW_OK);
        CHECK(hsw_thread_exit() == HSW_OK);
        CHECK(ended == 2);
        CHECK(hsw_live_handles() == 0);
        CHECK(hsw_tasklet_kill(a, false) == HSW_ERR_STALE);
        CHECK(hsw_tasklet_release(b) == HSW_ERR_STALE);
        CHECK(hsw_tasklet_release(inside) == HSW_ERR_STALE);
        // A new runtime, for those who go on.
        const hsw_tasklet again = spawn([] { return HSW_OK; });
        CHECK(hsw_run() == HSW_OK);
        CHECK(hsw_tasklet_release(again) == HSW_OK);
    });
    CHECK(ended == 2);
    on_new_thread([&] { // the same, without asking
        const hsw_channel channel = new_channel(&destroy_counted);
        spawn([&ended, &freed, channel] {
            const hsw_status status = hsw_channel_send(channel, new counted{&freed});
            ended += status == HSW_ERR_EXIT ? 1 : 0;
            return status;
        });
        CHECK(hsw_run() == HSW_OK);
    });
    CHECK(ended == 3);
    CHECK(freed == 1);
}

namespace {

/// Goes with the thread's part, and makes new things as it goes: so many times.
struct remade {
    int* left;
};
void remake(void* data) {
    auto* const it = static_cast<remade*>(data);
    hsw_channel channel{};
    CHECK(hsw_channel_new(nullptr, &channel) == HSW_OK);
    CHECK(hsw_spawn(&return_ok, nullptr, nullptr, nullptr) == HSW_OK);
    if (--*it->left > 0) {
        CHECK(hsw_channel_set_user_data(channel, new remade{it->left}, &remake) == HSW_OK);
    }
    delete it;
}

} // namespace

TEST_CASE("nothing is left of a thread's part, whatever its destructors make") {
    for (const bool asks : {true, false}) {
        int left = 5;
        on_new_thread([&] {
            hsw_channel channel{};
            REQUIRE(hsw_channel_new(nullptr, &channel) == HSW_OK);
            CHECK(hsw_channel_set_user_data(channel, new remade{&left}, &remake) == HSW_OK);
            const auto callback = [](hsw_tasklet, hsw_tasklet, void*) {};
            CHECK(hsw_set_schedule_callback(callback, &left, nullptr, nullptr) == HSW_OK);
            if (asks) {
                CHECK(hsw_thread_exit() == HSW_OK);
                CHECK(hsw_live_handles() == 0);
                // What was set before the end is forgotten.
                hsw_schedule_callback old = callback;
                void* user = &left;
                CHECK(hsw_set_schedule_callback(nullptr, nullptr, &old, &user) == HSW_OK);
                const bool forgotten = old == nullptr;
                CHECK(forgotten);
                CHECK(user == nullptr);
            }
        });
        CHECK(left == 0);
    }
}

TEST_CASE("tasklets that end with their thread may use what they have, whether it asks for its end or not") {
    for (const bool asks : {true, false}) {
        CAPTURE(asks);
        std::vector<hsw_status> told;
        int freed = 0;
        on_new_thread([&] {
            const hsw_channel mine = new_channel(&destroy_counted);
            const hsw_channel other = new_channel(&destroy_counted);
            const hsw_tasklet helper = spawn([&, other] {
                void* value = nullptr;
                told.push_back(hsw_channel_receive(other, &value));
                return HSW_OK;
            });
            spawn([&, mine, other, helper] {
                void* value = nullptr;
                told.push_back(hsw_channel_receive(mine, &value));
                told.push_back(hsw_channel_try_send(mine, nullptr));
                std::size_t id = 0;
                told.push_back(hsw_tasklet_id(helper, &id));
                hsw_tasklet me{};
                told.push_back(hsw_current(&me));
                told.push_back(hsw_tasklet_release(me));
                told.push_back(hsw_channel_release(other));
                told.push_back(hsw_channel_send(mine, new counted{&freed}));
                CHECK(last_message() == "TaskletExit");
                return HSW_ERR_EXIT;
            });
            CHECK(hsw_run() == HSW_OK);
            if (asks) {
                CHECK(hsw_thread_exit() == HSW_OK);
                CHECK(hsw_live_handles() == 0);
            }
        });
        CHECK(told == std::vector<hsw_status>{HSW_ERR_EXIT, HSW_ERR_EXIT, HSW_ERR_WOULD_BLOCK, HSW_OK, HSW_OK, HSW_OK, HSW_OK,
                                              HSW_ERR_EXIT});
        CHECK(freed == 1);
    }
}

TEST_CASE("a blocking job runs on another thread while the others run here") {
    const no_leaks check;
    struct job {
        std::thread::id ran_on;
        bool others_ran = false;
    } job;
    const auto work = [](void* data) -> void* {
        static_cast<struct job*>(data)->ran_on = std::this_thread::get_id();
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        return data;
    };
    void* result = nullptr;
    const hsw_tasklet caller = spawn([&] { return hsw_offload(work, &job, nullptr, nullptr, HSW_NO_LIMIT, &result); });
    const hsw_tasklet other = spawn([&] {
        job.others_ran = result == nullptr;
        return HSW_OK;
    });
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(result == &job);
    CHECK((job.ran_on != std::this_thread::get_id()));
    CHECK(job.others_ran);
    CHECK(hsw_tasklet_release(caller) == HSW_OK);
    CHECK(hsw_tasklet_release(other) == HSW_OK);
}

TEST_CASE("a job that nobody waits for runs on, and its result is freed") {
    const no_leaks check;
    static std::atomic<int> freed{0};
    freed = 0;
    const auto work = [](void*) -> void* {
        std::this_thread::sleep_for(std::chrono::milliseconds(1000));
        return new int(7);
    };
    const auto destroy = [](void* data) {
        delete static_cast<int*>(data);
        ++freed;
    };
    hsw_status status = HSW_OK;
    const hsw_tasklet caller = spawn([&] {
        void* result = nullptr;
        status = hsw_offload(work, nullptr, nullptr, destroy, 10'000'000, &result);
        return HSW_OK;
    });
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(status == HSW_ERR_TIMEOUT);
    for (int i = 0; i < 3000 && freed == 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        CHECK(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    }
    CHECK(freed == 1);
    CHECK(hsw_tasklet_release(caller) == HSW_OK);
}

TEST_CASE("an argument of a job that is never called is freed") {
    int freed = 0;
    void* result = nullptr;
    CHECK(hsw_offload(nullptr, new counted{&freed}, &destroy_counted, nullptr, HSW_NO_LIMIT, &result) == HSW_ERR_NULL);
    CHECK(freed == 1);
}

TEST_CASE("sleepers wake in the order of their times") {
    const no_leaks check;
    std::string order;
    std::vector<hsw_tasklet> all;
    // Far enough apart for a machine on which each takes its time to fall asleep.
    for (const int delay : {1500, 500, 1000}) {
        all.push_back(spawn([&order, delay] {
            const hsw_status status = hsw_sleep(static_cast<std::uint64_t>(delay) * 1'000'000);
            order += std::to_string(delay) + " ";
            return status;
        }));
    }
    bool complete = false;
    CHECK(hsw_tick(HSW_NO_LIMIT, &complete) == HSW_OK);
    CHECK(complete);
    CHECK(order.empty());
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(order == "500 1000 1500 ");
    for (const hsw_tasklet tasklet : all) {
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
}

TEST_CASE("a tick keeps to its budget when tasklets never block") {
    const no_leaks check;
    bool stop = false;
    const hsw_tasklet busy = spawn([&] {
        while (!stop) {
            const hsw_status status = hsw_schedule();
            if (status != HSW_OK) {
                return status;
            }
        }
        return HSW_OK;
    });
    const auto begin = std::chrono::steady_clock::now();
    bool complete = true;
    CHECK(hsw_tick(5'000'000, &complete) == HSW_OK);
    CHECK_FALSE(complete);
    CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(5));
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
    stop = true;
    CHECK(hsw_run() == HSW_OK);
    CHECK(hsw_tasklet_release(busy) == HSW_OK);
}

TEST_CASE("tasklets talk over TCP") {
    const no_leaks check;
    hsw_socket listener{};
    REQUIRE(hsw_tcp_listen("127.0.0.1", 0, &listener) == HSW_OK);
    std::uint16_t port = 0;
    REQUIRE(hsw_socket_port(listener, &port) == HSW_OK);
    CHECK(port != 0);
    std::string heard;
    const hsw_tasklet server = spawn([&] {
        hsw_socket peer{};
        hsw_status status = hsw_tcp_accept(listener, &peer);
        for (std::size_t n = 1; status == HSW_OK && n != 0;) {
            char bytes[8]; // on the sliced stack
            status = hsw_socket_read(peer, bytes, sizeof bytes, &n);
            heard.append(bytes, n);
        }
        if (status == HSW_OK) {
            status = hsw_socket_write(peer, "goodbye", 7, nullptr);
        }
        CHECK(hsw_socket_release(peer) == HSW_OK);
        return status;
    });
    std::string answer;
    const hsw_tasklet client = spawn([&] {
        hsw_socket peer{};
        hsw_status status = hsw_tcp_connect("localhost", port, 10'000'000'000, &peer);
        if (status == HSW_ERR_IO) { // a machine whose localhost is not 127.0.0.1
            status = hsw_tcp_connect("127.0.0.1", port, 10'000'000'000, &peer);
        }
        if (status == HSW_OK) {
            status = hsw_socket_write(peer, "hello, world", 12, nullptr);
        }
        if (status == HSW_OK) {
            status = hsw_socket_end_writing(peer);
        }
        for (std::size_t n = 1; status == HSW_OK && n != 0;) {
            char bytes[100];
            status = hsw_socket_read(peer, bytes, sizeof bytes, &n);
            answer.append(bytes, n);
        }
        CHECK(hsw_socket_release(peer) == HSW_OK);
        return status;
    });
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(heard == "hello, world");
    CHECK(answer == "goodbye");

    // Misuse.
    std::size_t n = 0;
    char byte = 0;
    hsw_socket peer{};
    CHECK(hsw_socket_read(listener, &byte, 1, &n) == HSW_ERR_ARGUMENT);
    CHECK(hsw_tcp_listen("not an address", 0, &peer) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "'not an address' is no IP address");
    CHECK(hsw_tcp_listen("127.0.0.1", port, &peer) == HSW_ERR_IO);
    CHECK(has(last_message(), std::to_string(port)));
    CHECK(hsw_last_error_errno() != 0);
    CHECK(hsw_socket_set_timeout(listener, 0) == HSW_ERR_ARGUMENT);
    CHECK(hsw_socket_set_timeout(listener, 10'000'000) == HSW_OK);
    CHECK(hsw_tcp_accept(listener, &peer) == HSW_ERR_TIMEOUT);
    CHECK(hsw_socket_close(listener) == HSW_OK);
    CHECK(hsw_tcp_accept(listener, &peer) == HSW_ERR_IO);
    CHECK(hsw_socket_release(listener) == HSW_OK);
    CHECK(hsw_socket_release(listener) == HSW_ERR_STALE);
    // Nobody listens there any more.
    CHECK(hsw_tcp_connect("127.0.0.1", port, 10'000'000'000, &peer) == HSW_ERR_IO);
    CHECK(has(last_message(), "127.0.0.1:" + std::to_string(port)));
    CHECK(hsw_last_error_errno() != 0);
    CHECK(hsw_tasklet_release(server) == HSW_OK);
    CHECK(hsw_tasklet_release(client) == HSW_OK);
}

TEST_CASE("writing to a peer that has gone is an error, not a signal") {
    const no_leaks check;
    hsw_socket listener{};
    REQUIRE(hsw_tcp_listen("127.0.0.1", 0, &listener) == HSW_OK);
    std::uint16_t port = 0;
    REQUIRE(hsw_socket_port(listener, &port) == HSW_OK);
    const hsw_tasklet server = spawn([&] {
        hsw_socket peer{};
        const hsw_status status = hsw_tcp_accept(listener, &peer);
        CHECK(hsw_socket_release(peer) == HSW_OK);
        return status;
    });
    hsw_status last = HSW_OK;
    const hsw_tasklet client = spawn([&] {
        hsw_socket peer{};
        last = hsw_tcp_connect("127.0.0.1", port, 10'000'000'000, &peer);
        const std::vector<char> data(100000);
        for (int i = 0; i < 1000 && last == HSW_OK; ++i) {
            last = hsw_socket_write(peer, data.data(), data.size(), nullptr);
        }
        CHECK(hsw_socket_release(peer) == HSW_OK);
        return HSW_OK;
    });
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(last == HSW_ERR_IO);
    CHECK(hsw_socket_release(listener) == HSW_OK);
    CHECK(hsw_tasklet_release(server) == HSW_OK);
    CHECK(hsw_tasklet_release(client) == HSW_OK);
}

namespace {

/// As long as it is set, the system says that a connection is dead.
bool connections_are_dead = false;

} // namespace

extern "C" ssize_t recv(int socket, void* buffer, std::size_t size, int flags) {
    if (connections_are_dead) {
        errno = ETIMEDOUT;
        return -1;
    }
    return recvfrom(socket, buffer, size, flags, nullptr, nullptr);
}

namespace {

/// A wait of the C interface, whatever is needed for it, and whether the values that it had are freed.
struct a_wait {
    const char* name;
    std::function<hsw_status()> call;
};

/// Main waits in each of them, while another tasklet fails in various ways.
void everybody_is_told_what_was_thrown(const std::vector<a_wait>& waits, int& freed, int& made) {
    hsw_socket listener{};
    hsw_socket dead{};
    std::uint16_t port = 0;
    REQUIRE(hsw_tcp_listen("127.0.0.1", 0, &listener) == HSW_OK);
    REQUIRE(hsw_socket_port(listener, &port) == HSW_OK);
    for (const hsw_status cause : {HSW_ERR_TIMEOUT, HSW_ERR_CLOSED, HSW_ERR_DEADLOCK, HSW_ERR_BLOCK_TRAP, HSW_ERR_SWITCH_TRAP, HSW_ERR_IO}) {
        for (const a_wait& wait : waits) {
            CAPTURE(wait.name);
            CAPTURE(cause);
            if (cause == HSW_ERR_IO) {
                // A new one each time: who reads again after a failure may wait first.
                REQUIRE(hsw_tcp_connect("127.0.0.1", port, HSW_NO_LIMIT, &dead) == HSW_OK);
            }
            const hsw_tasklet fails = spawn([&]() -> hsw_status {
                hsw_schedule();
                if (cause != HSW_ERR_IO) {
                    return cause;
                }
                char byte = 0;
                std::size_t n = 0;
                connections_are_dead = true;
                const hsw_status status = hsw_socket_read(dead, &byte, 1, &n);
                connections_are_dead = false;
                CHECK(status == HSW_ERR_IO);
                return status;
            });
            CHECK(wait.call() == HSW_ERR_THROWN);
            CHECK(hsw_last_error_status() == HSW_ERR_THROWN);
            CHECK(hsw_last_error_cause() == cause);
            CHECK(hsw_last_error_errno() == (cause == HSW_ERR_IO ? ETIMEDOUT : 0));
            CHECK(freed == made);
            CHECK(hsw_run() == HSW_OK);
            CHECK(hsw_tasklet_release(fails) == HSW_OK);
            if (cause == HSW_ERR_IO) {
                CHECK(hsw_socket_release(dead) == HSW_OK);
            }
        }
    }
    CHECK(hsw_socket_release(listener) == HSW_OK);
}

} // namespace

TEST_CASE("what another tasklet failed with is no status of a call that waits meanwhile") {
    const no_leaks check;
    constexpr std::uint64_t limit = 60'000'000'000;
    int freed = 0;
    int made = 0;
    const auto value = [&] {
        ++made;
        return static_cast<void*>(new counted{&freed});
    };
    void* got = nullptr;
    const hsw_channel channel = new_channel(&destroy_counted);
    hsw_queue full{};
    hsw_queue empty{};
    hsw_thread_channel between{};
    hsw_sync_queue crowded{};
    hsw_sync_queue drained{};
    hsw_lock held{};
    hsw_lock mine{};
    hsw_rlock reentrant{};
    hsw_semaphore none{};
    hsw_condition condition{};
    hsw_event never{};
    hsw_timer_clock clock{};
    hsw_socket listener{};
    hsw_join join{};
    hsw_channel gate = new_channel();
    REQUIRE(hsw_queue_new(1, nullptr, &full) == HSW_OK);
    REQUIRE(hsw_queue_send(full, nullptr, 0) == HSW_OK);
    REQUIRE(hsw_queue_new(1, nullptr, &empty) == HSW_OK);
    REQUIRE(hsw_thread_channel_new(&destroy_counted, &between) == HSW_OK);
    REQUIRE(hsw_sync_queue_new(1, &destroy_counted, &crowded) == HSW_OK);
    int first_freed = 0;
    REQUIRE(hsw_sync_queue_put(crowded, new counted{&first_freed}, 0) == HSW_OK);
    REQUIRE(hsw_sync_queue_new(1, nullptr, &drained) == HSW_OK);
    REQUIRE(hsw_lock_new(&held) == HSW_OK);
    REQUIRE(hsw_lock_lock(held, 0) == HSW_OK);
    REQUIRE(hsw_lock_new(&mine) == HSW_OK);
    REQUIRE(hsw_rlock_new(&reentrant) == HSW_OK);
    CHECK(hsw_tasklet_release(spawn([&] { return hsw_rlock_lock(reentrant, 0); })) == HSW_OK);
    REQUIRE(hsw_semaphore_new(0, false, &none) == HSW_OK);
    REQUIRE(hsw_condition_new(&condition) == HSW_OK);
    REQUIRE(hsw_event_new(&never) == HSW_OK);
    REQUIRE(hsw_timer_clock_new(&clock) == HSW_OK);
    REQUIRE(hsw_tcp_listen("127.0.0.1", 0, &listener) == HSW_OK);
    REQUIRE(hsw_join_spawn(
                [](void* from, void** result) { return hsw_channel_receive(*static_cast<hsw_channel*>(from), result); }, &gate,
                nullptr, nullptr, &join) == HSW_OK);
    REQUIRE(hsw_run() == HSW_OK);
    const auto barrier = [&] {
        hsw_barrier two{};
        REQUIRE(hsw_barrier_new(2, &two) == HSW_OK);
        bool last = false;
        const hsw_status status = hsw_barrier_wait(two, limit, &last);
        CHECK(hsw_barrier_release(two) == HSW_OK);
        return status;
    };
    const auto condition_wait = [&] {
        bool locked = true;
        REQUIRE(hsw_lock_lock(mine, 0) == HSW_OK);
        const hsw_status status = hsw_condition_wait(condition, mine, limit);
        // As the header says of any other error than a timeout.
        CHECK(hsw_lock_state(mine, &locked, nullptr, nullptr) == HSW_OK);
        CHECK_FALSE(locked);
        return status;
    };
    const auto select = [&] {
        hsw_case cases[2] = {};
        cases[0].channel = channel;
        cases[0].direction = HSW_RECEIVE;
        cases[1].queue = full;
        cases[1].direction = HSW_SEND;
        cases[1].value = number(5);
        std::size_t chosen = 0;
        const hsw_status status = hsw_select(cases, 2, limit, true, &chosen);
        CHECK(chosen == SIZE_MAX);
        CHECK(cases[1].value == number(5));
        return status;
    };
    const auto with_budget = [] {
        const hsw_budget budget{HSW_NO_LIMIT, limit};
        return hsw_run_with(&budget, nullptr);
    };
    const auto within = [&] {
        const auto entry = [](void* from) {
            void* received = nullptr;
            return hsw_channel_receive(*static_cast<hsw_channel*>(from), &received);
        };
        hsw_channel on = channel;
        return hsw_timeout(limit, entry, &on);
    };
    const auto run_another = [&] {
        const hsw_tasklet other = spawn([&] { return hsw_channel_receive(channel, &got); });
        hsw_status status = hsw_tasklet_run(other);
        while (status == HSW_OK) {
            status = hsw_schedule();
        }
        CHECK(hsw_tasklet_kill(other, false) == HSW_OK);
        CHECK(hsw_tasklet_release(other) == HSW_OK);
        return status;
    };
    everybody_is_told_what_was_thrown(
        {
            {"channel_send", [&] { return hsw_channel_send(channel, value()); }},
            {"channel_send_timeout", [&] { return hsw_channel_send_timeout(channel, value(), limit); }},
            {"channel_receive", [&] { return hsw_channel_receive(channel, &got); }},
            {"channel_receive_timeout", [&] { return hsw_channel_receive_timeout(channel, limit, &got); }},
            {"channel_next", [&] { return hsw_channel_next(channel, &got); }},
            {"queue_send", [&] { return hsw_queue_send(full, nullptr, limit); }},
            {"queue_receive", [&] { return hsw_queue_receive(empty, HSW_NO_LIMIT, &got); }},
            {"queue_receive with a limit", [&] { return hsw_queue_receive(empty, limit, &got); }},
            {"queue_next", [&] { return hsw_queue_next(empty, &got); }},
            {"thread_channel_send", [&] { return hsw_thread_channel_send(between, value()); }},
            {"thread_channel_send_timeout", [&] { return hsw_thread_channel_send_timeout(between, value(), limit); }},
            {"thread_channel_receive", [&] { return hsw_thread_channel_receive(between, &got); }},
            {"thread_channel_receive_timeout", [&] { return hsw_thread_channel_receive_timeout(between, limit, &got); }},
            {"thread_channel_next", [&] { return hsw_thread_channel_next(between, &got); }},
            {"sync_queue_put", [&] { return hsw_sync_queue_put(crowded, value(), HSW_NO_LIMIT); }},
            {"sync_queue_put with a limit", [&] { return hsw_sync_queue_put(crowded, value(), limit); }},
            {"sync_queue_get", [&] { return hsw_sync_queue_get(drained, limit, &got); }},
            {"lock_lock", [&] { return hsw_lock_lock(held, limit); }},
            {"rlock_lock", [&] { return hsw_rlock_lock(reentrant, HSW_NO_LIMIT); }},
            {"semaphore_acquire", [&] { return hsw_semaphore_acquire(none, limit); }},
            {"condition_wait", condition_wait},
            {"event_wait", [&] { return hsw_event_wait(never, limit); }},
            {"barrier_wait", barrier},
            {"sleep", [] { return hsw_sleep(limit); }},
            {"timer_clock_sleep", [&] { return hsw_timer_clock_sleep(clock, limit); }},
            {"tcp_accept", [&] {
                 hsw_socket peer{};
                 return hsw_tcp_accept(listener, &peer);
             }},
            {"join_wait", [&] { return hsw_join_wait(join, limit, &got); }},
            {"join_wait without a limit", [&] { return hsw_join_wait(join, HSW_NO_LIMIT, &got); }},
            {"select", select},
            {"run", [] { return hsw_run(); }},
            {"run_with", with_budget},
            {"tick", [] { return hsw_tick(limit, nullptr); }},
            {"run_until_idle", [] { return hsw_run_until_idle(); }},
            {"timeout", within},
            {"tasklet_run", run_another},
        },
        freed, made);
    CHECK(first_freed == 0);
    REQUIRE(hsw_channel_send(gate, nullptr) == HSW_OK);
    REQUIRE(hsw_run() == HSW_OK);
    for (const hsw_channel it : {channel, gate}) {
        CHECK(hsw_channel_release(it) == HSW_OK);
    }
    CHECK(hsw_queue_release(full) == HSW_OK);
    CHECK(hsw_queue_release(empty) == HSW_OK);
    CHECK(hsw_thread_channel_release(between) == HSW_OK);
    CHECK(hsw_sync_queue_release(crowded) == HSW_OK);
    CHECK(first_freed == 1);
    CHECK(hsw_sync_queue_release(drained) == HSW_OK);
    CHECK(hsw_lock_release(held) == HSW_OK);
    CHECK(hsw_lock_release(mine) == HSW_OK);
    CHECK(hsw_rlock_release(reentrant) == HSW_OK);
    CHECK(hsw_semaphore_release(none) == HSW_OK);
    CHECK(hsw_condition_release(condition) == HSW_OK);
    CHECK(hsw_event_release(never) == HSW_OK);
    CHECK(hsw_timer_clock_release(clock) == HSW_OK);
    CHECK(hsw_socket_release(listener) == HSW_OK);
    CHECK(hsw_join_release(join) == HSW_OK);
}

TEST_CASE("a write whose time is over says how much was sent, and goes on with the rest") {
    const no_leaks check;
    constexpr std::size_t size = 16 << 20;
    hsw_socket listener{};
    std::uint16_t port = 0;
    REQUIRE(hsw_tcp_listen("127.0.0.1", 0, &listener) == HSW_OK);
    REQUIRE(hsw_socket_port(listener, &port) == HSW_OK);
    std::size_t heard = 0;
    std::size_t wrong = 0;
    const hsw_channel go = new_channel();
    const hsw_tasklet server = spawn([&] {
        hsw_socket peer{};
        hsw_status status = hsw_tcp_accept(listener, &peer);
        void* value = nullptr;
        CHECK(hsw_channel_receive(go, &value) == HSW_OK);
        std::vector<char> bytes(1 << 16);
        for (std::size_t n = 1; status == HSW_OK && n != 0;) {
            status = hsw_socket_read(peer, bytes.data(), bytes.size(), &n);
            for (std::size_t i = 0; i < n; ++i) {
                wrong += bytes[i] != static_cast<char>((heard + i) % 251) ? 1 : 0;
            }
            heard += n;
        }
        CHECK(hsw_socket_release(peer) == HSW_OK);
        return status;
    });
    int timeouts = 0;
    const hsw_tasklet client = spawn([&] {
        hsw_socket peer{};
        hsw_status status = hsw_tcp_connect("127.0.0.1", port, HSW_NO_LIMIT, &peer);
        std::vector<char> data(size);
        for (std::size_t i = 0; i < size; ++i) {
            data[i] = static_cast<char>(i % 251);
        }
        CHECK(hsw_socket_set_timeout(peer, 20'000'000) == HSW_OK);
        std::size_t done = 0;
        while (status == HSW_OK && done < size) {
            std::size_t sent = SIZE_MAX;
            const hsw_status wrote = hsw_socket_write(peer, data.data() + done, size - done, &sent);
            done += sent;
            if (wrote == HSW_ERR_TIMEOUT) {
                if (++timeouts == 1) {
                    status = hsw_channel_send(go, nullptr); // nobody has read until now
                }
            } else {
                status = wrote;
            }
        }
        CHECK(hsw_socket_release(peer) == HSW_OK);
        return status;
    });
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(timeouts >= 1);
    CHECK(heard == size);
    CHECK(wrong == 0);
    CHECK(hsw_socket_release(listener) == HSW_OK);
    CHECK(hsw_channel_release(go) == HSW_OK);
    CHECK(hsw_tasklet_release(server) == HSW_OK);
    CHECK(hsw_tasklet_release(client) == HSW_OK);
}

TEST_CASE("a select whose value has a receiver when it is killed says that the value is not its own any more") {
    const no_leaks check;
    const hsw_channel channel = new_channel();
    const hsw_channel other = new_channel();
    hsw_status status = HSW_OK;
    hsw_case cases[2] = {};
    std::size_t chosen = 0;
    const hsw_tasklet sender = spawn([&] {
        cases[0].channel = other;
        cases[0].direction = HSW_SEND;
        cases[0].value = number(1);
        cases[1].channel = channel;
        cases[1].direction = HSW_SEND;
        cases[1].value = number(2);
        return status = hsw_select(cases, 2, HSW_NO_LIMIT, true, &chosen);
    });
    CHECK(hsw_run() == HSW_OK);
    void* value = nullptr;
    CHECK(hsw_channel_receive(channel, &value) == HSW_OK);
    CHECK(value == number(2));
    CHECK(hsw_tasklet_kill(sender, false) == HSW_OK);
    CHECK(status == HSW_ERR_EXIT);
    CHECK(chosen == SIZE_MAX);
    CHECK(cases[0].value == number(1));
    CHECK(cases[1].value == nullptr);
    CHECK(hsw_tasklet_release(sender) == HSW_OK);
    CHECK(hsw_channel_release(channel) == HSW_OK);
    CHECK(hsw_channel_release(other) == HSW_OK);
}

TEST_CASE("a channel names all who wait on it, and figures count the host's channels alone") {
    const no_leaks check;
    hsw_stats before{};
    REQUIRE(hsw_get_stats(&before) == HSW_OK);
    const hsw_channel channel = new_channel();
    const hsw_channel other = new_channel();
    const auto receive = [&] {
        void* value = nullptr;
        return hsw_channel_receive(channel, &value);
    };
    const auto receive_in_time = [&] {
        void* value = nullptr;
        return hsw_channel_receive_timeout(channel, 60'000'000'000, &value);
    };
    const auto select = [&] {
        hsw_case cases[2] = {};
        cases[0].channel = channel;
        cases[0].direction = HSW_RECEIVE;
        cases[1].channel = other;
        cases[1].direction = HSW_RECEIVE;
        std::size_t chosen = 0;
        return hsw_select(cases, 2, HSW_NO_LIMIT, true, &chosen);
    };
    const std::vector<hsw_tasklet> waits{spawn(receive), spawn(select), spawn(receive_in_time), spawn(receive)};
    // Waits of other kinds, for which the library has channels of its own.
    const std::vector<hsw_tasklet> sleep{spawn([] { return hsw_sleep(60'000'000'000); }), spawn([] {
                                             hsw_thread_channel between{};
                                             REQUIRE(hsw_thread_channel_new(nullptr, &between) == HSW_OK);
                                             void* value = nullptr;
                                             const hsw_status status = hsw_thread_channel_receive(between, &value);
                                             CHECK(hsw_thread_channel_release(between) == HSW_OK);
                                             return status;
                                         })};
    CHECK(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    hsw_stats stats{};
    REQUIRE(hsw_get_stats(&stats) == HSW_OK);
    CHECK(stats.channels == before.channels + 2);
    hsw_tasklet named[8] = {};
    std::size_t count = 0;
    REQUIRE(hsw_channel_waiting(channel, named, 8, &count) == HSW_OK);
    CHECK(count == waits.size());
    for (std::size_t i = 0; i < waits.size(); ++i) {
        std::size_t expected = 0;
        std::size_t id = 1;
        CHECK(hsw_tasklet_id(waits[i], &expected) == HSW_OK);
        CHECK(hsw_tasklet_id(named[i], &id) == HSW_OK);
        CHECK(id == expected);
        CHECK(hsw_tasklet_release(named[i]) == HSW_OK);
    }
    CHECK(hsw_channel_waiting(channel, nullptr, 0, &count) == HSW_OK);
    CHECK(count == waits.size());
    CHECK(hsw_channel_waiting(channel, nullptr, 1, &count) == HSW_ERR_NULL);
    CHECK(hsw_channel_waiting(channel, named, 8, nullptr) == HSW_ERR_NULL);
    for (const std::vector<hsw_tasklet>& all : {waits, sleep}) {
        for (const hsw_tasklet it : all) {
            CHECK(hsw_tasklet_kill(it, false) == HSW_OK);
            CHECK(hsw_tasklet_release(it) == HSW_OK);
        }
    }
    CHECK(hsw_channel_release(channel) == HSW_OK);
    CHECK(hsw_channel_release(other) == HSW_OK);
}

TEST_CASE("ten thousand sliced tasklets keep their own locals") {
    const no_leaks check;
    constexpr std::uintptr_t count = 10000;
    const hsw_channel gate = new_channel();
    REQUIRE(hsw_channel_set_preference(gate, HSW_PREFER_SENDER) == HSW_OK);
    std::size_t right = 0;
    for (std::uintptr_t i = 0; i < count; ++i) {
        const hsw_tasklet tasklet = spawn([&right, gate, i] {
            volatile std::uintptr_t local[8];
            for (std::uintptr_t k = 0; k < 8; ++k) {
                local[k] = i * 8 + k;
            }
            void* value = nullptr;
            const hsw_status status = hsw_channel_receive(gate, &value);
            bool good = value == number(i + 1);
            for (std::uintptr_t k = 0; k < 8; ++k) {
                good = good && local[k] == i * 8 + k;
            }
            right += good ? 1 : 0;
            return status;
        });
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
    CHECK(hsw_run() == HSW_OK);
    hsw_stats stats{};
    CHECK(hsw_get_stats(&stats) == HSW_OK);
    CHECK(stats.tasklets >= count);
    CHECK((stats.slice_bytes > 0) == has_slices());
    for (std::uintptr_t i = 0; i < count; ++i) {
        REQUIRE(hsw_channel_send(gate, number(i + 1)) == HSW_OK);
    }
    CHECK(hsw_run() == HSW_OK);
    CHECK(right == count);
    CHECK(hsw_channel_release(gate) == HSW_OK);
}
