// Threads: channels between them, references to tasklets of others, the host lock. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_THREAD_HPP
#define HARDSWITCH_THREAD_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "channel.hpp"
#include "scheduler.hpp"
#include "spill.hpp"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace hsw {

//
// Each thread that uses the library has tasklets of its own. What crosses is here, and any thread may use it: channels between threads,
// references to tasklets of other threads, who is there, and a lock for code that must not run on two threads at a time. Nothing of it ever
// switches the calling thread because of another one.

namespace thread {

/// A number of the calling thread that no other has had.
inline std::uint64_t id() noexcept { return hsw_thread_id(); }

/// The threads that use the library, in the order they came.
inline std::vector<std::uint64_t> list() {
    std::vector<std::uint64_t> out(16);
    for (;;) {
        std::size_t count = 0;
        detail::check(hsw_threads(out.data(), out.size(), &count));
        if (count <= out.size()) {
            out.resize(count);
            return out;
        }
        out.resize(count + 16); // some may come in between
    }
}

/// The calling thread uses the library for the time of this object's life: at its end the thread's tasklets are killed, and its handles
/// stale. For a thread's outermost function; the main tasklet must be the one that destroys it.
class attached {
public:
    attached() { detail::check(hsw_thread_attach()); }
    explicit attached(const settings& wanted) { init(wanted); }
    ~attached() { hsw_thread_exit(); }
    attached(const attached&) = delete;
    attached& operator=(const attached&) = delete;
};

/// A rendezvous between tasklets of any threads, with values of type T that cross threads. As hsw::channel, except: a partner on another
/// thread is made runnable there, and the caller goes on without a switch; nobody can see who waits; a deadlock counts all threads. *Give
/// each thread a copy of its own*: by a copy that nobody has used yet the library knows that a thread is still to come.
template <class T>
class channel : public detail::rendezvous<T, detail::thread_channel> {
public:
    channel() {}
};

/// A reference to a tasklet that any thread may hold. The tasklet lives on while there is one. What is asked of it is done on its own thread,
/// in the order of asking, at that thread's next switch or pump at the latest; what that thread refuses is no error here. As with
/// channel, give each thread a copy of its own.
class remote : public detail::handle<hsw_remote, &hsw_remote_retain, &hsw_remote_release> {
public:
    /// A reference to nothing: every call on it throws usage_error.
    remote() noexcept {}
    explicit remote(const hsw::tasklet& of) : handle(detail::ask(&hsw_tasklet_remote, of.raw())) {}
    /// Takes over a handle of the C interface.
    static remote adopt(hsw_remote raw) noexcept {
        remote out;
        out.raw_ = raw;
        return out;
    }
    explicit operator bool() const noexcept { return raw_.handle != 0; }

    /// Queues it.
    void insert() const { detail::check(hsw_remote_insert(raw_)); }
    /// Makes it the next one to run.
    void run() const { detail::check(hsw_remote_run(raw_)); }
    /// Makes a bound tasklet alive and queues it.
    void setup() const { detail::check(hsw_remote_setup(raw_)); }
    /// Takes it out of the queue: paused.
    void remove() const { detail::check(hsw_remote_remove(raw_)); }
    /// Kills it: it is the next one to run, or, if pending, runs in its turn. Nothing to do when its thread is gone.
    void kill(bool pending = false) const { detail::check(hsw_remote_kill(raw_, pending)); }
    /// Throws an exception into it; when it runs, as kill().
    void raise(std::exception_ptr exception, bool pending = false) const {
        detail::payload thrown(std::move(exception));
        detail::check(hsw_remote_throw(raw_, thrown.data, &detail::destroy_exception, thrown.words.c_str(), pending));
    }
    template <class E, class = std::enable_if_t<!std::is_same_v<std::decay_t<E>, std::exception_ptr>>>
    void raise(E&& exception, bool pending = false) const {
        raise(std::make_exception_ptr(std::forward<E>(exception)), pending);
    }

    /// These four ask its thread, and wait for the answer: as with(). Of one whose thread is gone none is true.
    bool alive() const { return state() & HSW_TASKLET_ALIVE; }
    bool paused() const { return state() & HSW_TASKLET_PAUSED; }
    bool blocked() const { return state() & HSW_TASKLET_BLOCKED; }
    bool scheduled() const { return state() & HSW_TASKLET_SCHEDULED; }

    /// Has its thread call `function(tasklet)`, waits until it has, and returns what it returns, or throws what it throws. It runs on
    /// whatever tasklet is running there, and should not block. Throws state_error when the thread is gone. The function is moved to the
    /// heap, and what the caller captured by reference may be gone when it runs, if the caller is killed meanwhile: capture by value.
    template <class F>
    auto with(F function) const {
        struct asked {
            explicit asked(F f) : call{bound{std::move(f)}} {}
            struct bound {
                explicit bound(F f) : function(std::move(f)) {}
                auto operator()() { return function(tasklet); }
                F function;
                hsw::tasklet tasklet{};
            };
            detail::far_call<bound> call;
            static void run(hsw_tasklet lent, void* data) noexcept {
                auto& self = **static_cast<std::shared_ptr<asked>*>(data);
                try {
                    self.call.function.tasklet = hsw::tasklet::adopt(detail::ask(&hsw_tasklet_retain, lent));
                    detail::far_call<bound>::run(&self.call);
                } catch (...) {
                    self.call.exception = detail::caught();
                }
                self.call.function.tasklet = hsw::tasklet(); // on its own thread
            }
        };
        const auto shared = std::make_shared<asked>(std::move(function));
        detail::check(hsw_remote_with(raw_, &asked::run, new std::shared_ptr<asked>(shared), &detail::destroy_boxed<std::shared_ptr<asked>>));
        return shared->call.take();
    }

    /// As tasklet::bind_send(), on its thread; waits as with(). `paused`: alive and paused at once.
    template <class F>
    void bind(F function, bool paused = false) const {
        using closure = detail::closure<F>;
        detail::check(hsw_remote_bind(raw_, &closure::enter, new F(std::move(function)), &closure::destroy, paused));
    }
    /// Takes the function away without running it; waits as with().
    void unbind() const { detail::check(hsw_remote_unbind(raw_)); }
    /// Gives it to another thread: one that has not started, is not queued, and was bound by tasklet::bind_send() or bind(), or not at all.
    /// So also one whose thread has ended. Throws state_error when it may not move or there is no such thread.
    void bind_thread(std::uint64_t id) const { detail::check(hsw_remote_bind_thread(raw_, id)); }

    /// A handle of it, on its own thread; elsewhere it throws usage_error.
    hsw::tasklet tasklet() const { return hsw::tasklet::adopt(detail::ask(&hsw_remote_tasklet, raw_)); }
    /// On its own thread, as tasklet::switch_to(); elsewhere it throws state_error.
    void switch_to() const { detail::check(hsw_remote_switch(raw_)); }
    /// As tasklet::id(). Another one when it has moved.
    std::size_t tasklet_id() const { return detail::ask(&hsw_remote_tasklet_id, raw_); }
    /// Its thread; 0 when that is gone.
    std::uint64_t thread_id() const { return detail::ask(&hsw_remote_thread_id, raw_); }

private:
    std::uint32_t state() const { return detail::ask(&hsw_remote_state, raw_); }
};

/// What is known of a thread.
struct info {
    std::string name;           ///< empty when it has none
    remote main_tasklet;
    remote current;             ///< the tasklet that ran when it answered
    std::size_t run_count = 0;  ///< tasklets in its run queue, the running one included
    std::size_t tasklets = 0;   ///< that exist there, main included
};
/// Asks a thread about itself; waits until it switches or pumps. Throws state_error when there is no such thread.
inline info get_info(std::uint64_t id) {
    const hsw_thread_info raw = detail::ask(&hsw_thread_get_info, id);
    info out{{}, remote::adopt(raw.main_tasklet), remote::adopt(raw.current), raw.run_count, raw.tasklets};
    out.name = raw.name; // there may be no room for it
    return out;
}

/// When a host lock's owner must give it up; hardswitch.h says what each is.
using host_lock_settings = hsw_host_lock_settings;

/// A lock under which one thread at a time runs its tasklets, as with an interpreter's global lock. Copies are handles of the same lock.
/// hardswitch.h says when its owner gives it up.
class host_lock : public detail::handle<hsw_host_lock, &hsw_host_lock_retain, &hsw_host_lock_release> {
public:
    explicit host_lock(const host_lock_settings& wanted = detail::ask(&hsw_host_lock_settings_default)) {
        detail::check(hsw_host_lock_new(&wanted, &raw_));
    }
    /// The one that the calling thread has joined, if it has.
    static std::optional<host_lock> current() {
        const hsw_host_lock raw = detail::ask(&hsw_host_lock_current);
        return raw.handle == 0 ? std::nullopt : std::optional<host_lock>(host_lock(raw));
    }

    /// The calling thread runs only while it has the lock, from now on. Throws state_error when it has joined another one.
    void join() const { detail::check(hsw_host_lock_join(raw_)); }
    /// The calling thread gives it up for good.
    void leave() const { detail::check(hsw_host_lock_leave(raw_)); }
    /// All threads that use the library join, also those to come.
    void install() const { detail::check(hsw_host_lock_install(raw_)); }
    /// Threads to come join none.
    static void uninstall() { detail::check(hsw_host_lock_uninstall()); }

    /// What it was made with.
    host_lock_settings settings() const { return detail::ask(&hsw_host_lock_get_settings, raw_); }
    /// Figures; hardswitch.h says what each is.
    hsw_host_lock_stats stats() const { return detail::ask(&hsw_host_lock_get_stats, raw_); }
    /// Tells `function` of each event from now on, on the thread that it happens to. It must not switch or wait; what it
    /// throws is ignored.
    void set_hook(std::function<void(const hsw_host_lock_event&)> function) const {
        using hook = std::function<void(const hsw_host_lock_event&)>;
        detail::check(hsw_host_lock_set_hook(raw_, &call, new hook(std::move(function)), &detail::destroy_boxed<hook>));
    }
    void clear_hook() const { detail::check(hsw_host_lock_set_hook(raw_, nullptr, nullptr, nullptr)); }

private:
    explicit host_lock(hsw_host_lock raw) noexcept : handle(raw) {}
    static void call(const hsw_host_lock_event* event, void* user) noexcept {
        try {
            (*static_cast<std::function<void(const hsw_host_lock_event&)>*>(user))(*event);
        }
        HSW_DETAIL_CATCH_FORCED
        catch (...) {
            // As with the other hooks.
        }
    }
};

/// Calls `function()`, and lets other threads have the host lock meanwhile: for blocking work of the host's own. Returns what it returns, or
/// throws what it throws. Inside, no tasklet runs: what would switch throws hsw::switch_trap, what would wait hsw::block_trap.
template <class F>
auto allow_threads(F&& function) {
    using call = detail::far_call<std::reference_wrapper<std::remove_reference_t<F>>>;
    call job{std::ref(function)};
    detail::check(hsw_allow_threads(&call::run, &job));
    return job.take();
}

} // namespace thread

inline thread::remote tasklet::remote() const { return thread::remote(*this); }
inline thread::remote tasklet::bind_thread(std::uint64_t id) {
    hsw_remote out{};
    detail::check(hsw_tasklet_bind_thread(raw_, id, &out));
    return thread::remote::adopt(out);
}

} // namespace hsw

#endif
#endif
