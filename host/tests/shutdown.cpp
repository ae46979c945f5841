// Ends the process, or a thread, while tasklets are deep in their frames: `shutdown HOW WHERE STACK`. Run by test_shutdown.cpp, which looks at what it says and
// at its status.
//
//   HOW    return   main returns
//          ended    main ends its tasklets first, by hsw::thread::attached
//          exit     std::exit, by a tasklet 200 levels deep
//          forced   pthread_exit, by one
//          own      pthread_exit, by a thread's own code; then main returns
//          c        pthread_exit, by a tasklet in C; WHERE does not matter
//   WHERE  main     the tasklets are the main thread's
//          thread   another thread's, and who exits is one of them
//          other    another thread's, which sleeps; main ends the process
//   STACK  sliced | own | spilled (its frames are in the heap, but for the last few)
//
// `shutdown busy WHERE`: the tasklets are in destructors, which wait and let out whatever comes of it; a static has a handle of one.
//
//   WHERE  main     main returns
//          exit     std::exit, by main
//          tasklet  std::exit, by a tasklet
//          thread   std::exit, by another thread, whose the tasklets are
//          quick    std::quick_exit, by a tasklet
//
// `shutdown throws WHAT`: a function that the library calls throws an exception; WHAT is one of `throws` below.
#include <hardswitch.hpp>

#include <pthread.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace {

constexpr int levels = 200;
constexpr int tasklets = 20;

std::atomic<int> entered{0};
std::atomic<int> left{0};

/// Says at the very end, after all thread-locals, what has become of the frames.
struct last_words {
    ~last_words() { std::printf("entered %d, left %d\n", entered.load(), left.load()); }
} says;

struct frame {
    frame() { ++entered; }
    ~frame() { ++left; }
};

/// `bottom()`, so many native frames deeper.
template <class F>
void descend(int n, bool spills, const F& bottom) {
    const frame here;
    if (n == 1) {
        bottom();
        return;
    }
    if (spills) {
        hsw::spill([n, &bottom] { descend(n - 1, true, bottom); });
    } else {
        descend(n - 1, false, bottom);
    }
    // So that the call is none in the last place.
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

/// Queues tasklets that go deep; the last one calls `last()` there, the others wait for ever, each in another way.
template <class F>
void spawn_deep(const std::string& stack, F last) {
    hsw::options how;
    how.own_stack = stack == "own";
    const bool spills = stack == "spilled";
    const hsw::channel<int> never;
    for (int i = 0; i < tasklets; ++i) {
        // On the heap: frames that are away may not be looked into.
        auto* const bottom = new std::function<void()>([i, never, last] {
            if (i == tasklets - 1) {
                last();
            } else if (i % 3 == 0) {
                hsw::schedule_remove();
            } else if (i % 3 == 1) {
                static_cast<void>(never.receive());
            } else {
                hsw::sleep(std::chrono::hours(1));
            }
        });
        const hsw::tasklet deep = hsw::spawn(
            [bottom, spills] {
                const std::unique_ptr<std::function<void()>> owner(bottom);
                descend(levels, spills, *bottom);
            },
            how);
        // Never given back: who is paused without a handle would end at once.
        hsw::tasklet(deep).release();
    }
}

/// The last handle of a tasklet that is paused: to give it back is to kill it.
hsw::tasklet in_a_static;

/// Waits in its destructor, which lets out what comes of that.
struct waits {
    explicit waits(hsw::channel<int> what) : never(std::move(what)) {}
    ~waits() { never.receive(); }
    hsw::channel<int> never;
};

/// As that, but when it unwinds.
struct joins {
    hsw::join_handle<int> child = hsw::spawn_joinable([] {
        hsw::sleep(std::chrono::hours(1));
        return 1;
    });
    ~joins() { child.join(); }
};

void spawn_busy() {
    const hsw::channel<int> never;
    for (const bool own : {false, true}) {
        hsw::options how;
        how.own_stack = own;
        hsw::spawn_detached([never] { const waits here(never); }, how);
        hsw::spawn_detached([] {
            const joins here;
            hsw::sleep(std::chrono::hours(1));
        }, how);
    }
    in_a_static = hsw::spawn([never] {
        const waits here(never);
        hsw::schedule_remove();
    });
    hsw::tick(std::chrono::seconds(10));
}

int busy(const std::string& where) {
    if (where == "thread") {
        std::thread([] {
            spawn_busy();
            std::exit(42);
        }).join();
    }
    spawn_busy();
    if (where == "exit") {
        std::exit(42);
    }
    if (where != "main") {
        hsw::spawn_detached([where] {
            where == "quick" ? std::quick_exit(42) : std::exit(42);
        });
        hsw::run();
    }
    return 42;
}

hsw_tasklet spawned(hsw_entry function) {
    hsw_tasklet tasklet{};
    hsw_spawn(function, nullptr, nullptr, &tasklet);
    return tasklet;
}

hsw_status returns(void*) {
    return HSW_OK;
}

/// Has the library call a function that throws; 1 if it comes back.
int throws(const std::string& what) {
    hsw_spawn(returns, nullptr, nullptr, nullptr);
    if (what == "schedule") {
        hsw_set_schedule_callback([](hsw_tasklet, hsw_tasklet, void*) { throw 1; }, nullptr, nullptr, nullptr);
        hsw_schedule();
    } else if (what == "channel") {
        hsw_set_channel_callback([](std::size_t, hsw_tasklet, bool, bool, void*) { throw 1; }, nullptr, nullptr, nullptr);
        hsw_channel channel{};
        hsw_channel_new(nullptr, &channel);
        void* value = nullptr;
        hsw_channel_receive(channel, &value);
    } else if (what == "error") {
        hsw_set_error_handler([](const hsw_uncaught*, void*) -> hsw_status { throw 1; }, nullptr, nullptr, nullptr);
        spawned([](void*) { return HSW_ERR_STATE; });
        hsw_run();
    } else if (what == "clock") {
        hsw_set_clock([]() -> std::uint64_t { throw 1; });
        std::uint64_t now = 0;
        hsw_now_ns(&now);
    } else if (what == "write") {
        hsw_dump_tasklets([](const char*, std::size_t, void*) { throw 1; }, nullptr, false);
    } else if (what == "job") {
        void* result = nullptr;
        hsw_offload([](void*) -> void* { throw 1; }, nullptr, nullptr, nullptr, HSW_NO_LIMIT, &result);
    } else if (what == "abandoned") {
        static std::atomic<bool> given_up{false};
        hsw_offload_call call{};
        call.job = [](void*) -> void* {
            while (!given_up) {
                std::this_thread::yield();
            }
            return nullptr;
        };
        call.on_abandoned = [](hsw_status, void*, void*) { throw 1; };
        void* result = nullptr;
        hsw_offload_with(&call, &result);
        given_up = true;
        hsw_sleep(std::uint64_t{10'000'000'000});
    } else if (what == "with") {
        hsw_remote remote{};
        hsw_tasklet_remote(spawned(returns), &remote);
        hsw_remote_with(remote, [](hsw_tasklet, void*) { throw 1; }, nullptr, nullptr);
    } else if (what == "visit") {
        hsw_dict dict{};
        hsw_dict_new(HSW_DICT_COMPACT, nullptr, &dict);
        hsw_dict_set(dict, "key", nullptr);
        hsw_dict_each(dict, [](const char*, void*, void*) -> bool { throw 1; }, nullptr);
    } else if (what == "hook") {
        hsw_host_lock lock{};
        hsw_host_lock_new(nullptr, &lock);
        hsw_host_lock_set_hook(lock, [](const hsw_host_lock_event*, void*) { throw 1; }, nullptr, nullptr);
        hsw_host_lock_join(lock);
        hsw_host_lock_leave(lock);
    }
    return 1;
}

} // namespace

int main(int count, char** argv) {
    const rlimit no_core = {0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    if (count == 3 && argv[1] == std::string("busy")) {
        return busy(argv[2]);
    }
    if (count == 3 && argv[1] == std::string("throws")) {
        return throws(argv[2]);
    }
    if (count != 4) {
        return 2;
    }
    const std::string how = argv[1];
    const std::string where = argv[2];
    const std::string stack = argv[3];
    const auto end = [how] {
        if (how == "exit") {
            std::exit(42);
        }
        if (how == "forced") {
            pthread_exit(nullptr);
        }
        hsw::schedule_remove();
    };
    if (how == "c") {
        hsw_tasklet_options in_c{};
        in_c.name = "in C";
        in_c.stack = stack == "own" ? HSW_STACK_OWN : HSW_STACK_SLICED;
        hsw_spawn([](void*) -> hsw_status { pthread_exit(nullptr); }, nullptr, &in_c, nullptr);
        hsw::run();
    }
    if (how == "own") {
        std::thread([stack] {
            spawn_deep(stack, [] { hsw::schedule_remove(); });
            hsw::tick(std::chrono::seconds(10));
            pthread_exit(nullptr);
        }).join();
        return 42;
    }
    std::optional<hsw::thread::attached> attached;
    if (how == "ended") {
        attached.emplace();
    }
    if (where == "main") {
        spawn_deep(stack, end);
        hsw::tick(std::chrono::seconds(10));
        return 42;
    }
    std::atomic<bool> ready{false};
    std::thread there([&ready, end, where, stack] {
        spawn_deep(stack, [&ready, end, where] {
            ready = true;
            if (where == "thread") {
                end();
            }
            hsw::schedule_remove();
        });
        hsw::run_until_stopped();
    });
    there.detach();
    while (!ready || where == "thread") {
        hsw::sleep(std::chrono::milliseconds(1));
    }
    if (how == "exit") {
        // By a tasklet of this thread, as deep.
        spawn_deep(stack, end);
        hsw::tick(std::chrono::seconds(10));
    }
    return 42;
}
