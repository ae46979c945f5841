// The C++ peers of bench, Boost.Context and Boost.Fiber, in a program of their own: the
// `context` crate brings functions of the same names as Boost's. It is asked on standard
// input and answers on standard output; bench/src/peers/outside.rs and bench/src/weigh.rs
// are the other side.
//
//   timed:        "CASE OPERATIONS" -> "took NANOSECONDS PREEMPTIONS"; any other line ends it
//   herd LIBRARY: "ready" <- "park" -> "parked" <- "wake" -> "woken" <- "end"
#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <boost/fiber/all.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ctx = boost::context;
namespace fib = boost::fibers;
using clock_type = std::chrono::steady_clock;

namespace {

constexpr std::uint64_t burst = 100;

std::uint64_t since(clock_type::time_point start) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(clock_type::now() - start).count();
}

// How often the kernel has taken the processor away against the program's will.
long preemptions() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

[[noreturn]] void fail(const char *what) {
    std::cerr << "bench-boost: " << what << '\n';
    std::exit(1);
}

// A resume there and the resume back are two switches.
std::uint64_t context_switch(std::uint64_t operations) {
    ctx::fiber there([operations](ctx::fiber &&back) {
        for (std::uint64_t pair = 0; pair < operations / 2; ++pair) {
            back = std::move(back).resume();
        }
        return std::move(back);
    });
    const auto start = clock_type::now();
    for (std::uint64_t pair = 0; pair < operations / 2; ++pair) {
        there = std::move(there).resume();
    }
    return since(start);
}

// Two fibers that give up the processor to each other.
std::uint64_t fiber_yield(std::uint64_t operations) {
    const auto turn = [operations] {
        for (std::uint64_t i = 0; i < operations / 2; ++i) {
            boost::this_fiber::yield();
        }
    };
    const auto start = clock_type::now();
    fib::fiber one(turn), other(turn);
    one.join();
    other.join();
    return since(start);
}

// Turns of one kind of fiber: a loop, a frame and a place to switch of its own.
template <std::size_t words> void turns(std::uint64_t count) {
    volatile std::uint64_t state[words] = {};
    for (std::uint64_t turn = 0; turn < count; ++turn) {
        state[turn % words] = state[turn % words] * words + turn;
        boost::this_fiber::yield();
    }
}

// 1,000 fibers of four functions. The first takes the time of its turns, in which all others have as many.
std::uint64_t fiber_yield_many(std::uint64_t operations) {
    constexpr std::uint64_t many = 1000;
    static fib::pooled_fixedsize_stack stacks(64 * 1024);
    const auto each = std::max<std::uint64_t>((operations + many - 1) / many, 200);
    void (*const kinds[])(std::uint64_t) = {turns<2>, turns<3>, turns<6>, turns<10>};
    std::uint64_t took = 0;
    std::vector<fib::fiber> tasks;
    tasks.reserve(many);
    for (std::uint64_t i = 0; i < many; ++i) {
        tasks.emplace_back(std::allocator_arg, stacks, [kind = kinds[i % 4], each, i, &took] {
            kind(2);
            const auto start = clock_type::now();
            kind(each);
            if (i == 0) {
                took = since(start);
            }
            kind(2);
        });
    }
    for (auto &task : tasks) {
        task.join();
    }
    // As if there were as many as asked for.
    return took * operations / (each * many);
}

// Round trips over two channels without a buffer.
std::uint64_t fiber_rendezvous(std::uint64_t operations) {
    fib::unbuffered_channel<std::uint64_t> ask, answer;
    std::uint64_t wrong = 0;
    fib::fiber server([&] {
        std::uint64_t question;
        while (ask.pop(question) == fib::channel_op_status::success) {
            answer.push(question + 1);
        }
    });
    const auto start = clock_type::now();
    fib::fiber client([&] {
        for (std::uint64_t question = 0; question < operations; ++question) {
            ask.push(question);
            std::uint64_t answered = 0;
            answer.pop(answered);
            wrong += answered != question + 1;
        }
        ask.close();
    });
    client.join();
    server.join();
    const auto took = since(start);
    if (wrong != 0) {
        fail("wrong answers");
    }
    return took;
}

// Bursts of fibers, each on a stack from a pool.
std::uint64_t fiber_spawn(std::uint64_t operations, std::uint64_t at_once) {
    static fib::pooled_fixedsize_stack stacks(64 * 1024);
    std::uint64_t finished = 0;
    std::vector<fib::fiber> tasks;
    tasks.reserve(at_once);
    const auto start = clock_type::now();
    for (std::uint64_t i = 0; i < operations / at_once; ++i) {
        for (std::uint64_t task = 0; task < at_once; ++task) {
            tasks.emplace_back(std::allocator_arg, stacks, [&finished] { ++finished; });
        }
        for (auto &task : tasks) {
            task.join();
        }
        tasks.clear();
    }
    const auto took = since(start);
    if (finished != operations / at_once * at_once) {
        fail("lost tasks");
    }
    return took;
}

void timed() {
    std::string name;
    std::uint64_t operations;
    while (std::cin >> name >> operations) {
        const auto before = preemptions();
        std::uint64_t took;
        if (name == "context-switch") {
            took = context_switch(operations);
        } else if (name == "fiber-yield") {
            took = fiber_yield(operations);
        } else if (name == "fiber-yield-many") {
            took = fiber_yield_many(operations);
        } else if (name == "fiber-rendezvous") {
            took = fiber_rendezvous(operations);
        } else if (name == "fiber-spawn") {
            took = fiber_spawn(operations, 1);
        } else if (name == "fiber-spawn-burst") {
            took = fiber_spawn(operations, burst);
        } else {
            return;
        }
        std::cout << "took " << took << ' ' << preemptions() - before << std::endl;
    }
}

// Fibers of Boost.Context that wait to be resumed, each on 4 KiB of the heap.
struct ContextHerd {
    std::vector<ctx::fiber> parked;

    void park(std::uint64_t tasks) {
        parked.reserve(tasks);
        for (std::uint64_t task = 0; task < tasks; ++task) {
            ctx::fiber fiber(std::allocator_arg, ctx::fixedsize_stack(4096), [](ctx::fiber &&back) {
                back = std::move(back).resume();
                return std::move(back);
            });
            parked.push_back(std::move(fiber).resume());
        }
    }

    void wake() {
        for (auto &fiber : parked) {
            fiber = std::move(fiber).resume();
            if (fiber) {
                fail("a fiber goes on after its end");
            }
        }
    }
};

// Fibers of Boost.Fiber that wait on one channel, each on 16 KiB of the heap: it overflows 8.
struct FiberHerd {
    fib::unbuffered_channel<std::uint64_t> channel;
    std::uint64_t blocked = 0, woken = 0, received = 0;

    void park(std::uint64_t tasks) {
        for (std::uint64_t task = 0; task < tasks; ++task) {
            fib::fiber(std::allocator_arg, fib::fixedsize_stack(16384), [this] {
                ++blocked;
                std::uint64_t message = 0;
                channel.pop(message);
                received += message;
                ++woken;
            }).detach();
        }
        while (blocked < tasks) {
            boost::this_fiber::yield();
        }
    }

    void wake() {
        for (std::uint64_t message = 0; message < blocked; ++message) {
            channel.push(message);
        }
        while (woken < blocked) {
            boost::this_fiber::yield();
        }
        if (received != blocked * (blocked - 1) / 2) {
            fail("a message was lost");
        }
    }
};

void await(const std::string &word) {
    std::string line;
    if (!std::getline(std::cin, line) || line != word) {
        std::exit(1);
    }
}

template <class Herd> [[noreturn]] void keep() {
    const char *tasks = std::getenv("BENCH_TASKS");
    if (tasks == nullptr) {
        fail("BENCH_TASKS says how many");
    }
    std::cout << "ready" << std::endl;
    await("park");
    Herd herd;
    herd.park(std::strtoull(tasks, nullptr, 10));
    std::cout << "parked" << std::endl;
    await("wake");
    herd.wake();
    std::cout << "woken" << std::endl;
    await("end");
    // The rest is the operating system's to clean up.
    std::_Exit(0);
}

} // namespace

int main(int argc, char **argv) {
    if (argc == 3 && std::string(argv[1]) == "herd") {
        if (std::string(argv[2]) == "context") {
            keep<ContextHerd>();
        }
        keep<FiberHerd>();
    }
    timed();
}
