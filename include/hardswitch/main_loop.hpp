// The main loop, sleeping, and workers for what blocks. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_MAIN_LOOP_HPP
#define HARDSWITCH_MAIN_LOOP_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "tasklet.hpp"
#include "spill.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace hsw {

/// For times: no limit.
inline constexpr std::chrono::nanoseconds forever = std::chrono::nanoseconds::max();

/// One frame: wakes whoever slept long enough, whose socket is ready or whose worker has answered; then runs tasklets until none can
/// run (true) or the budget is over (false). It does not sleep; within its budget it may wait, 250 us at a time, for a peer that has
/// brought 1 MiB or more in this frame. The clock is looked at on every switch, after one turn at least. An exception
/// that left a tasklet comes out of here; the others stay queued for the next tick.
template <class Rep, class Period>
bool tick(std::chrono::duration<Rep, Period> budget) {
    bool complete = false;
    detail::check(hsw_tick(detail::nanoseconds(budget), &complete));
    return complete;
}

/// Wakes as tick() does, but runs nobody: waits until something has happened, or the time is over. Returns at once when tasklets can
/// run. Returns how much happened.
template <class Rep, class Period>
std::size_t wait(std::chrono::duration<Rep, Period> limit) {
    std::size_t done = 0;
    detail::check(hsw_pump(detail::nanoseconds(limit), &done));
    return done;
}

/// For programs without frames: runs until no tasklet can run, sleeps, or waits for a socket or a worker, and nobody has a hsw::work of the loop.
inline void run_until_idle() { detail::check(hsw_run_until_idle()); }

/// As run_until_idle(), but when idle it waits for what other threads send, until loop::stop(). For threads that serve others.
inline void run_until_stopped() { detail::check(hsw_run_until_stopped()); }

/// What the thread's loop waits for; hardswitch.h says what each is.
inline hsw_loop_info loop_info() { return detail::ask(&hsw_get_loop_info); }

/// How many bytes a socket of this thread may move before its next operation waits for the loop once; hsw_loop_set_burst() says more.
inline void set_loop_burst(std::size_t bytes) { detail::check(hsw_loop_set_burst(bytes)); }
inline std::size_t loop_burst() { return detail::ask(&hsw_loop_get_burst); }

/// Says that its holder, on any thread, will post to a loop: as long as it lives the loop is not idle, and who is the last to block on its thread
/// sleeps instead of getting hsw::deadlock (if the process has other threads). A copy is one more promise. From loop::work().
class work : public detail::handle<hsw_work, &hsw_work_retain, &hsw_work_release> {
    friend class loop;
    explicit work(hsw_work raw) noexcept : handle(raw) {}
};

/// A thread's main loop, for other threads. Copies refer to the same. Any thread may use it; the loop does not live longer for it.
class loop : public detail::handle<hsw_loop, &hsw_loop_retain, &hsw_loop_release> {
public:
    /// The calling thread's.
    static loop current() { return loop(detail::ask(&hsw_loop_current)); }

    /// Has the loop's thread call `function()` in its next pump, and ends its wait. Functions are called in the order they came, by whoever
    /// pumps; what blocks for long belongs into a tasklet that they spawn. An exception that leaves it comes out of that thread's next
    /// run() or tick(). Throws state_error when the thread is gone, limit_error when it has not pumped for long.
    template <class F>
    void post(F function) const {
        using closure = detail::closure<F>;
        detail::check(hsw_loop_post(raw_, &closure::enter, new F(std::move(function)), &closure::destroy));
    }
    /// Has the loop wait for what the holder of the guard will post.
    hsw::work work() const { return hsw::work(detail::ask(&hsw_loop_work, raw_)); }
    /// Ends the loop's wait, or its next one, with nothing to do.
    void interrupt() const { detail::check(hsw_loop_interrupt(raw_)); }
    /// Ends run_until_stopped() or run_until_idle() there, or the next one.
    void stop() const { detail::check(hsw_loop_stop(raw_)); }

private:
    explicit loop(hsw_loop raw) noexcept : handle(raw) {}
};

/// Blocks the calling tasklet, not the thread.
template <class Rep, class Period>
void sleep(std::chrono::duration<Rep, Period> time) {
    detail::check(hsw_sleep(detail::nanoseconds(time)));
}

/// As sleep(), until a moment; what is past lets the others run once. The distance is measured now: if the clock is put forward or back later,
/// the sleeper does not follow.
template <class Clock, class Duration>
void sleep_until(const std::chrono::time_point<Clock, Duration>& moment) {
    detail::check(hsw_sleep(detail::nanoseconds_until(moment)));
}

namespace detail {

/// One object on the heap carries the function to the worker and the result back.
template <class F>
struct offloaded : far_call<F> {
    static void* job(void* data) noexcept {
        far_call<F>::run(static_cast<far_call<F>*>(static_cast<offloaded*>(data)));
        return data;
    }
    static void destroy(void* data) noexcept { delete static_cast<offloaded*>(data); }
};

/// A function that nobody waits for has failed with this status, which is the last error: a tasklet fails with it.
inline void fail_later(hsw_status status) noexcept {
    // Where there is no room for a tasklet there is nobody to tell either.
    try {
        try {
            raise(status);
        } catch (...) {
            spawn_detached([exception = caught()] { std::rethrow_exception(exception); });
        }
    } catch (...) {
    }
}

} // namespace detail

/// Calls `function()` on a worker thread and returns what it returns, or throws what it throws. The calling tasklet is blocked
/// meanwhile, the others run. With a limit it throws hsw::timeout when that is over; the function runs on, and its result is dropped.
///
/// The function object is moved to the heap, and with its result may be destroyed on either thread. It must use nothing that belongs
/// to the tasklet's thread: no tasklet, channel or socket, and NO REFERENCE TO A LOCAL OF A SLICED TASKLET: capture by value.
template <class F, class Rep = std::int64_t, class Period = std::nano>
auto offload(F function, std::chrono::duration<Rep, Period> limit = forever) {
    using call = detail::offloaded<F>;
    void* back = nullptr;
    detail::check(hsw_offload(&call::job, new call{{std::move(function)}}, &call::destroy, &call::destroy,
                              detail::nanoseconds(limit), &back));
    const std::unique_ptr<call> done(static_cast<call*>(back));
    return done->take();
}

/// What a pool may use; hardswitch.h says what each is.
using pool_settings = hsw_pool_settings;
/// What the process's pool has unless told otherwise.
inline pool_settings default_pool_settings() { return detail::ask(&hsw_pool_settings_default); }
/// The limits of a console.
inline pool_settings console_pool_settings() { return detail::ask(&hsw_pool_settings_console); }
/// Settings of the process's pool, before its first use; then it throws hsw::error.
inline void configure_offload(const pool_settings& wanted) { detail::check(hsw_offload_configure(&wanted)); }

/// Worker threads and their queue. Copies are handles of the same; any thread may use it. The last one shuts it down, and blocks the
/// thread as long.
class pool : public detail::handle<hsw_pool, &hsw_pool_retain, &hsw_pool_release> {
public:
    explicit pool(const pool_settings& wanted = default_pool_settings()) { detail::check(hsw_pool_new(&wanted, &raw_)); }
    /// The one that offload() uses.
    static pool of_process() { return pool(detail::ask(&hsw_pool_of_process)); }

    /// Takes no more calls (hsw::closed), finishes those it has, and ends the threads. Blocks the *thread* until then. With `cancel`, calls
    /// that no thread has begun throw hsw::closed.
    void shutdown(bool cancel = false) const { detail::check(hsw_pool_shutdown(raw_, cancel)); }
    /// What it was made with.
    pool_settings settings() const { return detail::ask(&hsw_pool_get_settings, raw_); }
    /// Threads started so far.
    std::size_t threads() const {
        std::size_t out = 0;
        detail::check(hsw_pool_load(raw_, &out, nullptr));
        return out;
    }
    /// Calls that wait for a thread.
    std::size_t waiting() const {
        std::size_t out = 0;
        detail::check(hsw_pool_load(raw_, nullptr, &out));
        return out;
    }

private:
    explicit pool(hsw_pool raw) noexcept : handle(raw) {}
};

/// How an offloaded function ended that its tasklet did not wait for.
template <class F>
class offload_outcome {
public:
    /// What it returned, or throws what it threw; hsw::closed when its pool was shut down before it was called, and when it is asked once more.
    auto get() {
        if (!call_) {
            throw closed(HSW_ERR_CLOSED, "the result has been taken, or the worker pool was shut down before the call began");
        }
        const std::unique_ptr<detail::offloaded<F>> call = std::move(call_);
        return call->take();
    }

private:
    template <class>
    friend class offload_call;
    explicit offload_outcome(std::unique_ptr<detail::offloaded<F>> call) noexcept : call_(std::move(call)) {}
    std::unique_ptr<detail::offloaded<F>> call_;
};

/// An offload() with more to say:
///
///     hsw::offload_call(load).on(pool).timeout(2s).on_abandoned([](auto outcome) { ... }).wait();
template <class F>
class offload_call {
    using call = detail::offloaded<F>;

public:
    explicit offload_call(F function) : function_(std::make_unique<call>(call{{std::move(function)}})) {}

    /// In this pool instead of the process's.
    offload_call& on(const pool& where) {
        pool_.emplace(where);
        return *this;
    }
    /// Waits no longer than this; then hsw::timeout.
    template <class Rep, class Period>
    offload_call& timeout(std::chrono::duration<Rep, Period> limit) {
        timeout_ns_ = detail::nanoseconds(limit);
        return *this;
    }
    /// `callback(outcome)` gets an offload_outcome<F> if the tasklet does not wait to the end: once, on the tasklet's thread, by whoever
    /// pumps. What it throws comes out of the next run() or tick().
    template <class Callback>
    offload_call& on_abandoned(Callback callback) {
        abandoned_ = std::make_unique<std::function<void(offload_outcome<F>)>>(std::move(callback));
        return *this;
    }

    /// Makes the call, once, and waits for the result. Throws as offload(); hsw::error of HSW_ERR_WOULD_BLOCK when the pool's queue is full,
    /// hsw::closed when it has been shut down.
    auto wait() {
        hsw_offload_call raw{};
        raw.job = function_ ? &call::job : nullptr;
        raw.argument = function_.release();
        raw.destroy_argument = &call::destroy;
        raw.destroy_result = &call::destroy;
        raw.timeout_ns = timeout_ns_;
        raw.pool = pool_ ? pool_->raw() : hsw_pool{};
        if (abandoned_) {
            raw.on_abandoned = &abandoned;
            raw.user = abandoned_.release();
            raw.destroy_user = &detail::destroy_boxed<std::function<void(offload_outcome<F>)>>;
        }
        void* back = nullptr;
        detail::check(hsw_offload_with(&raw, &back));
        const std::unique_ptr<call> done(static_cast<call*>(back));
        return done->take();
    }

private:
    static void abandoned(hsw_status, void* result, void* user) noexcept {
        const hsw_status status = detail::guard([&] {
            offload_outcome<F> outcome(std::unique_ptr<call>(static_cast<call*>(result)));
            (*static_cast<std::function<void(offload_outcome<F>)>*>(user))(std::move(outcome));
        });
        if (status != HSW_OK) {
            detail::fail_later(status);
        }
    }

    std::unique_ptr<call> function_;
    std::optional<pool> pool_{};
    std::uint64_t timeout_ns_ = HSW_NO_LIMIT;
    std::unique_ptr<std::function<void(offload_outcome<F>)>> abandoned_{};
};

} // namespace hsw

#endif
#endif
