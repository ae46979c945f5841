// hardswitch.hpp: handles that copy and move, channels of every kind of value, time, workers and sockets.
#include <hardswitch.hpp>

#include "slices.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

/// Every test leaves as many handles as it found.
struct no_leaks {
    std::size_t before = hsw_live_handles();
    ~no_leaks() { CHECK(hsw_live_handles() == before); }
};

/// Counts its living instances, those that were moved from not included.
struct tracked {
    static inline int alive = 0;
    explicit tracked(int n) : value(n) { ++alive; }
    tracked(tracked&& other) noexcept : value(std::exchange(other.value, 0)) {}
    tracked(const tracked&) = delete;
    tracked& operator=(tracked&&) = delete;
    ~tracked() { alive -= value != 0 ? 1 : 0; }
    int value;
};

/// Small and trivial, but not to be copied.
struct ticket {
    explicit ticket(int n) : number(n) {}
    ticket(ticket&&) = default;
    ticket& operator=(ticket&&) = default;
    int number;
};

/// Counts how often it is moved, and how many there are.
struct moved {
    static inline int moves = 0;
    static inline int alive = 0;
    moved() { ++alive; }
    moved(moved&&) {
        ++moves;
        ++alive;
    }
    moved& operator=(moved&&) = delete;
    ~moved() { --alive; }
};

} // namespace

TEST_CASE("two tasklets talk over a channel") {
    const no_leaks check;
    std::vector<std::string> heard;
    const hsw::channel<std::string> talk;
    hsw::spawn_detached([talk] {
        talk.send("hello");
        talk.send("a string that does not fit into a pointer");
    });
    hsw::spawn_detached([talk, &heard] {
        heard.push_back(talk.receive());
        heard.push_back(talk.receive());
    });
    hsw::run();
    CHECK(heard == std::vector<std::string>{"hello", "a string that does not fit into a pointer"});
}

TEST_CASE("iteration ends when the channel is closed and nobody is sending") {
    const no_leaks check;
    std::vector<int> heard;
    const hsw::channel<int> talk;
    for (int i = 0; i < 3; ++i) {
        hsw::spawn_detached([talk, i] { talk.send(i); });
    }
    hsw::run();
    talk.close(); // those who wait are still served
    hsw::spawn_detached([talk, &heard] {
        for (const int word : talk) {
            heard.push_back(word);
        }
    });
    hsw::run();
    CHECK(heard == std::vector<int>{0, 1, 2});
    CHECK(talk.closed());
    CHECK_FALSE(talk.next());
}

TEST_CASE("values of every kind go through whole") {
    const no_leaks check;
    const auto through = [](auto value) {
        using T = decltype(value);
        const hsw::channel<T> channel;
        hsw::spawn_detached([channel, held = std::move(value)]() mutable { channel.send(std::move(held)); });
        T out = channel.receive();
        hsw::run(); // the sender goes on to its end
        return out;
    };
    CHECK(through(true));
    CHECK(through('x') == 'x');
    CHECK(through(-7) == -7);
    CHECK(through(std::uint64_t{0x0123456789abcdef}) == 0x0123456789abcdef);
    CHECK(through(2.5) == 2.5);
    CHECK(through(std::array<char, 3>{'a', 'b', 'c'}) == std::array<char, 3>{'a', 'b', 'c'});
    CHECK(through(std::array<int, 100>{1, 2, 3})[2] == 3);
    CHECK(*through(std::make_unique<int>(5)) == 5);
    CHECK(through(std::vector<int>{1, 2}) == std::vector<int>{1, 2});
    int local = 0;
    CHECK(through(&local) == &local);
}

TEST_CASE("what can only be moved goes through, also when it is trivial") {
    const no_leaks check;
    int heard = 0;
    const hsw::channel<ticket> talk;
    hsw::spawn_detached([talk, &heard] { heard = talk.receive().number; });
    hsw::spawn_detached([talk] { talk.send(ticket(7)); });
    hsw::run();
    CHECK(heard == 7);
    const hsw::queue<ticket> shared(2);
    shared.put(ticket(8));
    CHECK(shared.get().number == 8);
    CHECK_FALSE(shared.try_get());
}

TEST_CASE("a value that a mistake keeps from being sent is destroyed where it is") {
    hsw::channel<moved> from;
    const hsw::channel<moved> to = std::move(from);
    moved::moves = 0;
    CHECK_THROWS_AS(from.send(moved()), hsw::usage_error);
    CHECK_THROWS_AS(from.try_send(moved()), hsw::usage_error);
    CHECK_FALSE(to.try_send(moved())); // nobody receives
    CHECK(moved::moves == 3);          // into their boxes
    CHECK(moved::alive == 0);
}

TEST_CASE("a value is destroyed once, also when nobody received it") {
    const no_leaks check;
    {
        const hsw::channel<tracked> channel;
        const hsw::tasklet killed = hsw::spawn([channel] { channel.send(tracked(1)); });
        const hsw::tasklet blocked = hsw::spawn([channel] { channel.send(tracked(2)); });
        hsw::run();
        CHECK(tracked::alive == 2);
        hsw::tasklet(killed).kill();
        CHECK(tracked::alive == 1);
        CHECK(channel.receive().value == 2);
        hsw::run();
        channel.close();
        CHECK_THROWS_AS(channel.send(tracked(3)), hsw::closed);
        channel.open();
        CHECK_FALSE(channel.try_send(tracked(4)));
    }
    CHECK(tracked::alive == 0);
}

TEST_CASE("a function object is destroyed when its tasklet has ended, however it ended") {
    const no_leaks check;
    auto token = std::make_shared<int>(0);
    hsw::tasklet returns = hsw::spawn([token] { ++*token; });
    hsw::tasklet never_runs = hsw::spawn([token] { ++*token; });
    never_runs.kill();
    CHECK(token.use_count() == 2);
    hsw::run();
    CHECK(*token == 1);
    CHECK(token.use_count() == 1);
    const hsw::tasklet unbound = hsw::tasklet::make();
    hsw::tasklet(unbound).bind([token] {});
    CHECK(token.use_count() == 2);
    hsw::tasklet(unbound).unbind();
    CHECK(token.use_count() == 1);
}

TEST_CASE("handles copy, move and compare") {
    const no_leaks check;
    hsw::tasklet a = hsw::spawn([] {}, {"a"});
    hsw::tasklet b = a;
    CHECK(a == b);
    CHECK(b.name() == "a");
    hsw::tasklet c = std::move(a);
    CHECK_FALSE(a);
    CHECK(c == b);
    CHECK(a != b);
    CHECK(a == hsw::tasklet());
    b = hsw::spawn([] {}, {"b"});
    CHECK(c != b);
    CHECK(c.next() == b);
    CHECK(b.prev() == c);
    CHECK(hsw::current() == hsw::main_tasklet());
    CHECK(hsw::run_count() == 3);
    hsw::run();
    CHECK_FALSE(b.alive());
    CHECK_FALSE(b.next());
    CHECK_THROWS_AS(a.run(), hsw::usage_error);
}

TEST_CASE("spawn's options are kept") {
    const no_leaks check;
    hsw::tasklet sliced = hsw::spawn([] {});
    CHECK(sliced.sliced() == has_slices());
    CHECK(sliced.name().empty());
    hsw::options how;
    how.name = "mine";
    how.own_stack = true;
    how.stack_size = 100 * 1024;
    hsw::tasklet own = hsw::spawn([] {}, how);
    CHECK_FALSE(own.sliced());
    CHECK(own.name() == "mine");
    CHECK(own.scheduled());
    hsw::run();
    how.stack_size = SIZE_MAX / 2;
    CHECK_THROWS_AS(hsw::spawn([] {}, how), hsw::limit_error);
}

TEST_CASE("bind, setup, insert, remove, run and switch do what their names say") {
    const no_leaks check;
    std::string log;
    hsw::tasklet t = hsw::tasklet::make();
    CHECK_THROWS_AS(t.setup(), hsw::state_error);
    t.bind([&log] { log += "bound "; });
    CHECK_FALSE(t.alive());
    t.setup();
    CHECK_THROWS_AS(t.setup(), hsw::state_error);
    t.remove();
    CHECK(t.paused());
    t.insert();
    t.run();
    CHECK(log == "bound ");
    t.bind_paused([&log] { log += "paused "; });
    CHECK(t.paused());
    const hsw::tasklet me = hsw::current();
    hsw::spawn_detached([&log, me] {
        log += "waker ";
        hsw::tasklet(me).insert();
    });
    t.switch_to(); // main is paused until the waker comes
    CHECK(log == "bound paused waker ");
}

TEST_CASE("a receive can be tried") {
    const no_leaks check;
    const hsw::channel<int> channel;
    CHECK_FALSE(channel.try_receive());
    hsw::spawn_detached([channel] { channel.send(1); });
    hsw::run();
    CHECK(channel.balance() == 1);
    CHECK(channel.try_receive() == 1);
    hsw::run();
    CHECK(channel.balance() == 0);
}

TEST_CASE("who runs first is the channel's choice") {
    const no_leaks check;
    const auto order = [](hsw::preference who) {
        std::string log;
        const hsw::channel<int> channel;
        channel.set_preference(who);
        hsw::spawn_detached([&log, channel] {
            channel.receive();
            log += "receiver ";
        });
        hsw::run();
        channel.send(1);
        log += "sender ";
        hsw::run();
        return log;
    };
    CHECK(order(hsw::preference::receiver) == "receiver sender ");
    CHECK(order(hsw::preference::sender) == "sender receiver ");
}

TEST_CASE("a switch can be forbidden for a time") {
    const no_leaks check;
    hsw::spawn_detached([] {});
    {
        const hsw::no_switch here;
        CHECK_THROWS_AS(hsw::schedule(), hsw::switch_trap);
    }
    hsw::run();
}

TEST_CASE("errors have a status and words") {
    const no_leaks check;
    const hsw::channel<int> channel;
    hsw::tasklet waiter = hsw::spawn([channel] { channel.receive(); }, {"waiter"});
    hsw::run();
    try {
        waiter.insert();
        FAIL("must throw");
    } catch (const hsw::error& e) {
        CHECK(e.status() == HSW_ERR_STATE);
        CHECK(std::string(e.what()) == "You cannot run a blocked tasklet (tasklet 'waiter')");
    }
    waiter.kill();
    CHECK_THROWS_AS(channel.receive(), hsw::deadlock);
    hsw::current().set_block_trap(true);
    CHECK_THROWS_AS(channel.receive(), hsw::block_trap);
    CHECK(hsw::current().set_block_trap(false));
}

TEST_CASE("handles of another thread throw, and are not misused") {
    const no_leaks check;
    const hsw::channel<int> mine;
    std::thread([&] { CHECK_THROWS_AS(mine.close(), hsw::usage_error); }).join();
    CHECK_FALSE(mine.closing());
}

TEST_CASE("settings are the thread's, and come first") {
    std::thread([] {
        hsw::settings console = hsw::console_settings();
        console.window_size = 64 * 1024;
        hsw::init(console);
        CHECK_THROWS_AS(hsw::init(console), hsw::error);
        int sum = 0;
        const hsw::channel<int> channel;
        for (int i = 0; i < 100; ++i) {
            hsw::spawn_detached([&sum, channel] { sum += channel.receive(); });
        }
        hsw::run();
        CHECK((hsw::stats().slice_bytes > 0) == has_slices());
        for (int i = 0; i < 100; ++i) {
            channel.send(i);
        }
        hsw::run();
        CHECK(sum == 4950);
    }).join();
}

TEST_CASE("a sequence is sent value by value") {
    const no_leaks check;
    const hsw::channel<std::string> channel;
    std::string heard;
    hsw::spawn_detached([&heard, channel] {
        for (int i = 0; i < 3; ++i) {
            heard += channel.receive() + " ";
        }
    });
    channel.send_sequence(std::vector<const char*>{"one", "two", "three"});
    hsw::run();
    CHECK(heard == "one two three ");
}

TEST_CASE("hooks see switches and channel operations while they live") {
    const no_leaks check;
    int switches = 0;
    int sends = 0;
    const hsw::channel<int> channel;
    const auto talk = [&channel] {
        hsw::spawn_detached([channel] { channel.send(1); });
        hsw::spawn_detached([channel] { channel.receive(); });
        hsw::run();
    };
    {
        const hsw::switch_hook on_switch([&](hsw_tasklet, hsw_tasklet) {
            ++switches;
            throw std::runtime_error("ignored");
        });
        const hsw::channel_hook on_channel([&](std::size_t id, hsw_tasklet, bool sending, bool) { sends += sending && id == channel.id() ? 1 : 0; });
        talk();
        CHECK(switches >= 3);
        CHECK(sends == 1);
        switches = 0;
    }
    talk();
    CHECK(switches == 0);
    CHECK(sends == 1);
}

TEST_CASE("an error hook deals with exceptions, or passes them on") {
    const no_leaks check;
    std::string seen;
    {
        const hsw::error_hook outer([&](const std::exception_ptr&) {
            seen += "outer ";
            return true;
        });
        {
            const hsw::error_hook inner([&](const std::exception_ptr& exception) {
                try {
                    std::rethrow_exception(exception);
                } catch (const std::out_of_range& e) {
                    seen += e.what();
                    return true;
                } // others leave this function: not dealt with
            });
            hsw::spawn_detached([] { throw std::out_of_range("dealt with "); });
            hsw::run();
            hsw::spawn_detached([] { throw std::length_error("passed on"); });
            CHECK_THROWS_AS(hsw::run(), std::length_error);
        }
        hsw::spawn_detached([] { throw std::length_error("swallowed"); });
        hsw::run();
    }
    CHECK(seen == "dealt with outer ");
    hsw::spawn_detached([] { throw std::length_error("nobody looks"); });
    CHECK_THROWS_AS(hsw::run(), std::length_error);
}

TEST_CASE("sleeping blocks the tasklet, not the thread") {
    const no_leaks check;
    std::string order;
    hsw::spawn_detached([&order] {
        hsw::sleep(std::chrono::milliseconds(20));
        order += "slept ";
    });
    hsw::spawn_detached([&order] { order += "ran "; });
    CHECK(hsw::tick(std::chrono::seconds(10)));
    CHECK(order == "ran ");
    hsw::run_until_idle();
    CHECK(order == "ran slept ");
}

TEST_CASE("wait ends when something happens") {
    const no_leaks check;
    bool done = false;
    hsw::spawn_detached([&done] {
        hsw::offload([] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
        done = true;
    });
    const auto begin = std::chrono::steady_clock::now();
    while (!done) {
        hsw::tick(hsw::forever);
        if (!done) {
            hsw::wait(std::chrono::seconds(30));
        }
    }
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

TEST_CASE("a worker's result and its exception come back") {
    const no_leaks check;
    CHECK(hsw::offload([] { return 6 * 7; }) == 42);
    CHECK(hsw::offload([text = std::string("kept")] { return text + " whole"; }) == "kept whole");
    CHECK(*hsw::offload([] { return std::make_unique<int>(3); }) == 3);
    CHECK_THROWS_WITH_AS(hsw::offload([]() -> int { throw std::out_of_range("from the worker"); }), "from the worker", std::out_of_range);
    bool timed_out = false;
    hsw::spawn_detached([&timed_out] {
        try {
            hsw::offload([] { std::this_thread::sleep_for(std::chrono::milliseconds(200)); }, std::chrono::milliseconds(5));
        } catch (const hsw::timeout&) {
            timed_out = true;
        }
    });
    hsw::run_until_idle();
    CHECK(timed_out);
}

TEST_CASE("streams and listeners") {
    const no_leaks check;
    std::string heard;
    hsw::tcp_listener listener("127.0.0.1");
    const std::uint16_t port = listener.port();
    hsw::spawn_detached([&listener, &heard] {
        hsw::tcp_stream peer = listener.accept();
        char bytes[16]; // on the sliced stack
        while (const std::size_t n = peer.read(bytes, sizeof bytes)) {
            heard.append(bytes, n);
        }
        peer.write_all("bye", 3);
    });
    hsw::spawn_detached([port] {
        hsw::tcp_stream stream = hsw::tcp_stream::connect("127.0.0.1", port, std::chrono::seconds(10));
        stream.set_timeout(std::chrono::seconds(10));
        hsw::tcp_stream other = stream;
        other.write_all("hello from a tasklet", 20);
        stream.end_writing();
        char bytes[16];
        CHECK(stream.read(bytes, sizeof bytes) == 3);
        CHECK(stream.read(bytes, sizeof bytes) == 0);
    });
    hsw::run_until_idle();
    CHECK(heard == "hello from a tasklet");
    listener.close();
    try {
        hsw::tcp_stream::connect("127.0.0.1", port, std::chrono::seconds(10));
        FAIL("must throw");
    } catch (const hsw::io_error& e) {
        CHECK(e.code() == ECONNREFUSED);
    }
}

namespace {

/// Sums 1 to n the deep way, with some stack at each level.
std::uint64_t deep_sum(std::uint64_t n) {
    volatile std::uint64_t frame[16];
    frame[n % 16] = n;
    if (n == 0) {
        return 0;
    }
    const std::uint64_t rest = hsw::spill([n] { return deep_sum(n - 1); });
    return rest + frame[n % 16];
}

void deep_throw(int n) {
    if (n == 0) {
        throw std::out_of_range("bottom");
    }
    hsw::spill([n] { deep_throw(n - 1); });
}

std::uint64_t deep_count(std::uint64_t n, std::uint64_t& counter) {
    volatile char frame[200];
    frame[0] = 0;
    counter += 1;
    return n == 0 ? 0 : hsw::grow([&] { return deep_count(n - 1, counter) + 1; }) + static_cast<std::uint64_t>(frame[0]);
}

} // namespace

TEST_CASE("a recursion is deeper than the window when it spills") {
    std::thread([] {
        hsw::init(hsw::console_settings()); // windows of 16 KiB
        std::uint64_t sum = 0;
        bool thrown = false;
        hsw::spawn_detached([&] {
            sum = deep_sum(5000);
            try {
                deep_throw(500);
            } catch (const std::out_of_range&) {
                thrown = true;
            }
        });
        hsw::spawn_detached([] { hsw::schedule(); });
        hsw::run();
        CHECK(sum == 5000u * 5001u / 2);
        CHECK(thrown);
    }).join();
}

TEST_CASE("a recursion that borrows grows onto segments") {
    std::thread([] {
        hsw::options how;
        how.own_stack = true;
        std::uint64_t counter = 0;
        std::uint64_t depth = 0;
        hsw::spawn_detached([&] { depth = deep_count(3000, counter); }, how);
        hsw::run();
        CHECK(depth == 3000);
        CHECK(counter == 3001);
    }).join();
}
