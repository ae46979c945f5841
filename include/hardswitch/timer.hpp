// Clocks and timers. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_TIMER_HPP
#define HARDSWITCH_TIMER_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "tasklet.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace hsw {

/// A call that was asked for of a clock. **Its destructor cancels it**: what the function captures by reference must only outlive this
/// object. detach() lets it come all the same. Belongs to its thread.
class [[nodiscard]] timer {
public:
    /// No timer: nothing is pending.
    timer() noexcept = default;
    /// Takes over a handle of the C interface.
    static timer adopt(hsw_timer raw) noexcept {
        timer out;
        out.raw_ = raw;
        return out;
    }
    timer(timer&& other) noexcept : raw_(std::exchange(other.raw_, hsw_timer{})) {}
    timer& operator=(timer&& other) noexcept {
        timer old(std::move(other));
        old.swap(*this);
        return *this;
    }
    /// Never throws: on a foreign thread the handle is lost and the timer comes, not misused.
    ~timer() {
        if (raw_.handle != 0) {
            hsw_timer_cancel(raw_, nullptr);
            hsw_timer_release(raw_);
        }
    }

    /// The function will not be called (again). True if it would have been; twice is fine.
    bool cancel() {
        bool out = false;
        if (raw_.handle != 0) {
            detail::check(hsw_timer_cancel(raw_, &out));
        }
        return out;
    }
    /// Lets the timer come, and lets go of it.
    void detach() {
        if (raw_.handle != 0) {
            detail::check(hsw_timer_release(raw_));
            raw_ = hsw_timer{};
        }
    }
    /// Will the function be called (again)?
    bool pending() const { return due().has_value(); }
    /// When, as its clock shows it.
    std::optional<std::chrono::nanoseconds> due() const {
        if (raw_.handle == 0) {
            return std::nullopt;
        }
        bool comes = false;
        std::uint64_t out = 0;
        detail::check(hsw_timer_state(raw_, &comes, &out));
        return comes ? std::optional(detail::time_of(out)) : std::nullopt;
    }
    /// The handle for calls of the C interface. It stays this object's.
    hsw_timer raw() const noexcept { return raw_; }
    void swap(timer& other) noexcept { std::swap(raw_, other.raw_); }

private:
    hsw_timer raw_{};
};

/// A clock of the calling thread, and its timers. Copies are handles of the same clock; they belong to the thread.
///
/// Functions are called in the pump (tick(), wait(), what drives the main loop), by the tasklet that pumps, in the order of their moments,
/// never early. What takes long or blocks belongs into a tasklet that the function spawns. An exception that leaves a function comes out of
/// the next run() or tick(), as that of a tasklet. Negative times are zero.
class clock : public detail::handle<hsw_timer_clock, &hsw_timer_clock_retain, &hsw_timer_clock_release> {
public:
    /// The thread's clock of wall time, which starts with its first use.
    static clock wall() {
        clock out;
        detail::check(hsw_timer_clock_wall(&out.raw_));
        return out;
    }

    /// What it shows: the time since its start.
    std::chrono::nanoseconds now() const {
        std::uint64_t out = 0;
        detail::check(hsw_timer_clock_now(raw_, &out));
        return detail::time_of(out);
    }
    /// Calls `function()` once, after the delay.
    template <class Rep, class Period, class F>
    timer call_later(std::chrono::duration<Rep, Period> delay, F function) const {
        return arm(&hsw_timer_call_later, detail::nanoseconds(delay), std::move(function));
    }
    /// Calls `function()` once, when the clock shows `at`; in the next pump if that is past.
    template <class Rep, class Period, class F>
    timer call_at(std::chrono::duration<Rep, Period> at, F function) const {
        return arm(&hsw_timer_call_at, detail::nanoseconds(at), std::move(function));
    }
    /// Calls `function()` each period, until it is cancelled. It keeps its beat: what was missed is called for once. Throws usage_error for
    /// a period of zero.
    template <class Rep, class Period, class F>
    timer repeat(std::chrono::duration<Rep, Period> period, F function) const {
        return arm(&hsw_timer_repeat, detail::nanoseconds(period), std::move(function));
    }
    /// Blocks the calling tasklet for at least so long; zero lets the others run once.
    template <class Rep, class Period>
    void sleep(std::chrono::duration<Rep, Period> time) const {
        detail::check(hsw_timer_clock_sleep(raw_, detail::nanoseconds(time)));
    }
    /// As sleep(), until the clock shows `at`.
    template <class Rep, class Period>
    void sleep_until(std::chrono::duration<Rep, Period> at) const {
        detail::check(hsw_timer_clock_sleep_until(raw_, detail::nanoseconds(at)));
    }
    /// Timers and sleepers that wait.
    std::size_t pending() const { return info().pending; }
    /// When the next of them is due.
    std::optional<std::chrono::nanoseconds> next_due() const {
        const hsw_timer_clock_info now = info();
        return now.pending != 0 ? std::optional(detail::time_of(now.next_due_ns)) : std::nullopt;
    }

protected:
    clock() noexcept = default;
    hsw_timer_clock_info info() const {
        hsw_timer_clock_info out{};
        detail::check(hsw_timer_clock_get_info(raw_, &out));
        return out;
    }

private:
    template <class F>
    timer arm(hsw_status (*how)(hsw_timer_clock, std::uint64_t, hsw_entry, void*, hsw_destroy, hsw_timer*), std::uint64_t time,
              F function) const {
        using closure = detail::closure<F>;
        hsw_timer out{};
        detail::check(how(raw_, time, &closure::enter, new F(std::move(function)), &closure::destroy, &out));
        return timer::adopt(out);
    }
};

/// A clock of simulated time: it can be paused, scaled, put forward and set. Timers keep their moments.
class sim_clock : public clock {
public:
    /// A clock of its own, at zero, that runs as wall time does.
    sim_clock() { detail::check(hsw_timer_clock_new(&raw_)); }
    /// The thread's: the same with each call.
    static sim_clock current() {
        sim_clock out{nothing{}};
        detail::check(hsw_timer_clock_simulated(&out.raw_));
        return out;
    }

    /// Both are fine twice.
    void pause() const { detail::check(hsw_timer_clock_pause(raw_)); }
    void resume() const { detail::check(hsw_timer_clock_resume(raw_)); }
    bool paused() const { return info().paused; }
    /// So many times as fast as wall time; at 0 it stands still. Throws usage_error for what is negative, infinite or no number.
    void set_scale(double scale) const { detail::check(hsw_timer_clock_set_scale(raw_, scale)); }
    double scale() const { return info().scale; }
    /// Puts it forward, paused or not. What becomes due is called in the next pump.
    template <class Rep, class Period>
    void advance(std::chrono::duration<Rep, Period> by) const {
        detail::check(hsw_timer_clock_advance(raw_, detail::nanoseconds(by)));
    }
    /// Sets what it shows, forward or back.
    template <class Rep, class Period>
    void set(std::chrono::duration<Rep, Period> now) const {
        detail::check(hsw_timer_clock_set(raw_, detail::nanoseconds(now)));
    }

private:
    struct nothing {};
    explicit sim_clock(nothing) noexcept {}
};

/// After a delay of wall time, calls `function()` once.
template <class Rep, class Period, class F>
timer call_later(std::chrono::duration<Rep, Period> delay, F function) {
    return clock::wall().call_later(delay, std::move(function));
}
/// At a moment, calls `function()` once. The distance is measured now: if the clock is put forward or back later, the timer does not follow.
template <class Clock, class Duration, class F>
timer call_at(const std::chrono::time_point<Clock, Duration>& moment, F function) {
    return call_later(detail::time_of(detail::nanoseconds_until(moment)), std::move(function));
}
/// Each period of wall time, calls `function()`.
template <class Rep, class Period, class F>
timer repeat(std::chrono::duration<Rep, Period> period, F function) {
    return clock::wall().repeat(period, std::move(function));
}

} // namespace hsw

#endif
#endif
