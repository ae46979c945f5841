// Tasklets. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_TASKLET_HPP
#define HARDSWITCH_TASKLET_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "error.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace hsw {

/// How to make a tasklet.
struct options {
    std::string name{};           ///< for messages and tools
    bool own_stack = false;       ///< a stack of its own with a guard page, instead of a slice
    std::size_t stack_size = 0;   ///< bytes of an own stack; 0: the default of the settings
    bool fp_env = false;          ///< floating-point control words of its own
};

namespace detail {

/// Nanoseconds for the C interface; negative times are 0, those too long for it are no limit.
template <class Rep, class Period>
std::uint64_t nanoseconds(std::chrono::duration<Rep, Period> time) noexcept {
    const auto seconds = std::chrono::duration<double>(time).count();
    if (!(seconds > 0)) {
        return 0;
    }
    if (seconds > 9e9) {
        return HSW_NO_LIMIT;
    }
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
}

/// Nanoseconds until a moment; as nanoseconds() for those that it cannot tell.
template <class Clock, class Duration>
std::uint64_t nanoseconds_until(const std::chrono::time_point<Clock, Duration>& moment) {
    // Before anything is counted in nanoseconds, which `now` may be: there is no room for these.
    const auto seconds = std::chrono::duration<double>(moment.time_since_epoch()).count();
    if (!(seconds > -9e9)) {
        return 0;
    }
    if (seconds > 9e9) {
        return HSW_NO_LIMIT;
    }
    const auto now = Clock::now();
    return moment <= now ? 0 : nanoseconds(moment - now); // the difference to a past one may be too large
}

/// A time of the C interface; the longest there is for longer ones.
inline std::chrono::nanoseconds time_of(std::uint64_t nanoseconds) noexcept {
    return std::chrono::nanoseconds(static_cast<std::int64_t>(std::min<std::uint64_t>(nanoseconds, INT64_MAX)));
}

} // namespace detail

/// A handle of a tasklet. Copies are handles of the same tasklet; the tasklet does not need one to live on while it is queued or
/// blocked, and dies with the last one when it is paused. Belongs to the thread that made it.
class tasklet : public detail::handle<hsw_tasklet, &hsw_tasklet_retain, &hsw_tasklet_release> {
public:
    /// The null handle: every call on it throws usage_error.
    tasklet() noexcept {}
    /// Takes over a handle of the C interface.
    static tasklet adopt(hsw_tasklet raw) noexcept {
        tasklet out;
        out.raw_ = raw;
        return out;
    }
    /// A tasklet with nothing to run yet; see bind(). `file` and `line`: where, for site().
    static tasklet make(const options& how = {}, const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
        const hsw_tasklet_options raw = lower(how, nullptr, file, line);
        tasklet out;
        detail::check(hsw_tasklet_new(&raw, &out.raw_));
        return out;
    }

    /// True for any handle but that of nothing.
    explicit operator bool() const noexcept { return raw_.handle != 0; }
    /// Gives the handle away: the caller must hsw_tasklet_release it.
    hsw_tasklet release() noexcept { return std::exchange(raw_, hsw_tasklet{}); }

    /// Gives a tasklet that is not alive a function. It is bound, not alive, until setup().
    template <class F>
    void bind(F function) {
        using closure = detail::closure<F>;
        detail::check(hsw_tasklet_bind(raw_, &closure::enter, new F(std::move(function)), &closure::destroy));
    }
    /// As bind(), but alive and paused at once.
    template <class F>
    void bind_paused(F function) {
        using closure = detail::closure<F>;
        detail::check(hsw_tasklet_bind_paused(raw_, &closure::enter, new F(std::move(function)), &closure::destroy));
    }
    /// As bind(), with a function that may be destroyed on any thread: so the tasklet may move to another one before it starts.
    template <class F>
    void bind_send(F function) {
        using closure = detail::closure<F>;
        detail::check(hsw_tasklet_bind_send(raw_, &closure::enter, new F(std::move(function)), &closure::destroy));
    }
    /// Gives it to another thread: see thread::remote::bind_thread(). This handle is one of an empty tasklet then.
    thread::remote bind_thread(std::uint64_t id);
    /// A reference to it for other threads.
    thread::remote remote() const;
    /// Takes the function away without running it.
    void unbind() { detail::check(hsw_tasklet_unbind(raw_)); }
    /// Makes a bound tasklet alive and queues it.
    void setup() { detail::check(hsw_tasklet_setup(raw_)); }
    /// Queues a paused tasklet.
    void insert() { detail::check(hsw_tasklet_insert(raw_)); }
    /// Takes it out of the queue: paused.
    void remove() { detail::check(hsw_tasklet_remove(raw_)); }
    /// Switches to it at once; the caller stays queued.
    void run() { detail::check(hsw_tasklet_run(raw_)); }
    /// Switches to it at once; the caller is paused.
    void switch_to() { detail::check(hsw_tasklet_switch(raw_)); }
    /// Kills it: the call it waits in throws tasklet_exit. Runs it at once, or, if pending, in its turn.
    void kill(bool pending = false) { detail::check(hsw_tasklet_kill(raw_, pending)); }
    /// Throws an exception into it: the call it waits in throws that.
    void raise(std::exception_ptr exception, bool pending = false) {
        detail::payload thrown(std::move(exception));
        detail::check(hsw_tasklet_throw(raw_, thrown.data, &detail::destroy_exception, thrown.words.c_str(), pending));
    }
    template <class E, class = std::enable_if_t<!std::is_same_v<std::decay_t<E>, std::exception_ptr>>>
    void raise(E&& exception, bool pending = false) {
        raise(std::make_exception_ptr(std::forward<E>(exception)), pending);
    }

    bool alive() const { return state() & HSW_TASKLET_ALIVE; }
    /// Alive, and neither queued nor blocked.
    bool paused() const { return state() & HSW_TASKLET_PAUSED; }
    /// Waiting on a channel.
    bool blocked() const { return state() & HSW_TASKLET_BLOCKED; }
    /// Queued or blocked.
    bool scheduled() const { return state() & HSW_TASKLET_SCHEDULED; }
    bool is_main() const { return state() & HSW_TASKLET_MAIN; }
    bool is_current() const { return state() & HSW_TASKLET_CURRENT; }
    bool block_trap() const { return state() & HSW_TASKLET_BLOCK_TRAP; }
    /// It shares a window.
    bool sliced() const { return state() & HSW_TASKLET_SLICED; }
    /// It was killed ten times and refused to end.
    bool zombie() const { return state() & HSW_TASKLET_ZOMBIE; }

    /// These three return the old value.
    bool set_block_trap(bool on) { return set(&hsw_tasklet_set_block_trap, on); }
    bool set_atomic(bool on) { return set(&hsw_tasklet_set_atomic, on); }
    bool set_ignore_nesting(bool on) { return set(&hsw_tasklet_set_ignore_nesting, on); }

    /// Neighbours in the run queue, or in the queue of the channel; the null handle at the end.
    tasklet next() const { return adopt(detail::ask(&hsw_tasklet_next, raw_)); }
    tasklet prev() const { return adopt(detail::ask(&hsw_tasklet_prev, raw_)); }

    /// A number that is its alone while it lives.
    std::size_t id() const {
        return detail::ask(&hsw_tasklet_id, raw_);
    }
    /// The name; empty when it has none.
    std::string name() const {
        std::size_t length = 0;
        detail::check(hsw_tasklet_name(raw_, nullptr, 0, &length));
        std::string out(length + 1, '\0');
        detail::check(hsw_tasklet_name(raw_, out.data(), out.size(), nullptr));
        out.resize(length);
        return out;
    }

    /// Keeps any value with the tasklet, destroyed with its last handle (or replaced); null takes it away.
    void set_user_data(std::shared_ptr<void> data) {
        detail::keep(&hsw_tasklet_set_user_data, raw_, std::move(data));
    }
    /// What set_user_data() was given; the caller must know its type.
    template <class T>
    std::shared_ptr<T> user_data() const {
        return detail::kept<T>(&hsw_tasklet_user_data, raw_);
    }
    /// Puts a value into the transfer slot: what the schedule_with() that it is in will return. What was there is destroyed.
    template <class T>
    void set_tempval(std::unique_ptr<T> value) {
        detail::check(hsw_tasklet_set_tempval(raw_, value.release(), &detail::destroy_boxed<T>));
    }
    /// Takes the value out of the transfer slot; null when it is empty. The caller must know its type.
    template <class T>
    std::unique_ptr<T> take_tempval() {
        return std::unique_ptr<T>(static_cast<T*>(detail::ask(&hsw_tasklet_take_tempval, raw_)));
    }
    /// Where it was made: file and line; "" and 0 when that is not known. Kept while hsw_set_statistics() is on.
    std::pair<std::string, unsigned> site() const {
        std::size_t length = 0;
        std::uint32_t line = 0;
        detail::check(hsw_tasklet_site(raw_, nullptr, 0, &length, &line));
        std::string file(length + 1, '\0');
        detail::check(hsw_tasklet_site(raw_, file.data(), file.size(), nullptr, nullptr));
        file.resize(length);
        return {file, line};
    }
    /// Figures; hardswitch.h says what each is.
    hsw_tasklet_stats stats() const { return detail::ask(&hsw_tasklet_get_stats, raw_); }
    /// Its thread, as thread::id() says there.
    std::uint64_t thread_id() const { return detail::ask(&hsw_tasklet_thread_id, raw_); }
    /// When it ran, by the thread's clock; measured while hsw_set_statistics() is on.
    hsw_tasklet_times times() const {
        return detail::ask(&hsw_tasklet_get_times, raw_);
    }

    /// Handles of the same tasklet are equal.
    friend bool operator==(const tasklet& a, const tasklet& b) { return a && b ? a.id() == b.id() : !a && !b; }
    friend bool operator!=(const tasklet& a, const tasklet& b) { return !(a == b); }

    /// For spawn().
    static hsw_tasklet_options lower(const options& how, hsw_destroy destroy, const char* file, unsigned line) noexcept {
        hsw_tasklet_options out{};
        out.name = how.name.empty() ? nullptr : how.name.c_str();
        out.stack = how.own_stack ? HSW_STACK_OWN : HSW_STACK_SLICED;
        out.stack_size = how.stack_size;
        out.fp_env = how.fp_env;
        out.file = file;
        out.line = line;
        out.destroy_argument = destroy;
        return out;
    }

private:
    std::uint32_t state() const { return detail::ask(&hsw_tasklet_state, raw_); }
    bool set(hsw_status (*function)(hsw_tasklet, bool, bool*), bool on) {
        bool old = false;
        detail::check(function(raw_, on, &old));
        return old;
    }
};

/// Makes a tasklet that calls `function()` and appends it to the run queue. The function object is moved to the heap, and
/// destroyed when it has returned, or when the tasklet ends without having run. For what it captures by reference, see the
/// sliced-stack rule at the top. `file` and `line`: where, for site().
template <class F>
tasklet spawn(F function, const options& how = {}, const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    using closure = detail::closure<F>;
    const hsw_tasklet_options raw = tasklet::lower(how, &closure::destroy, file, line);
    hsw_tasklet out{};
    detail::check(hsw_spawn(&closure::enter, new F(std::move(function)), &raw, &out));
    return tasklet::adopt(out);
}

/// The same, without a handle: cheaper, when nobody wants to hold the tasklet.
template <class F>
void spawn_detached(F function, const options& how = {}, const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    using closure = detail::closure<F>;
    const hsw_tasklet_options raw = tasklet::lower(how, &closure::destroy, file, line);
    detail::check(hsw_spawn(&closure::enter, new F(std::move(function)), &raw, nullptr));
}

} // namespace hsw

#endif
#endif
