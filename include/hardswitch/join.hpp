// Tasklets with a result. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_JOIN_HPP
#define HARDSWITCH_JOIN_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "channel.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace hsw {

namespace detail {

/// How what a function returns travels.
template <class T>
struct result_carrier {
    using maybe = std::optional<T>;
    using several = std::vector<T>;
    template <class F>
    static void* call(F& function) {
        return carrier<T>::pack(function());
    }
    static T unpack(void* data) { return carrier<T>::unpack(data); }
    static constexpr hsw_destroy destroyer = carrier<T>::destroyer;
};
template <>
struct result_carrier<void> {
    using maybe = bool;
    using several = void;
    template <class F>
    static void* call(F& function) {
        function();
        return nullptr;
    }
    static void unpack(void*) noexcept {}
    static constexpr hsw_destroy destroyer = nullptr;
};

/// A function object on the heap, as an entry with a result.
template <class F>
struct joined_closure {
    using R = std::invoke_result_t<F&>;
    static_assert(!std::is_reference_v<R>, "what a tasklet returns must be a value");
    static hsw_status enter(void* data, void** result) noexcept {
        return guard([data, result] { *result = result_carrier<R>::call(*static_cast<F*>(data)); });
    }
    static void destroy(void* data) noexcept { delete static_cast<F*>(data); }
};

} // namespace detail

/// The result of a tasklet that spawn_joinable() made. Copies are handles of the same; who asks first has the result, all others get
/// hsw::closed. Letting go of it changes nothing for the tasklet. Belongs to the thread that made it. A select can wait for it.
template <class T>
class join_handle : public detail::handle<hsw_join, &hsw_join_retain, &hsw_join_release> {
    using carrier = detail::result_carrier<T>;

public:
    using result_type = T;

    /// The null handle: every call on it throws usage_error.
    join_handle() noexcept {}
    /// Takes over a handle of the C interface, of a tasklet whose result is a T as spawn_joinable() makes it.
    static join_handle adopt(hsw_join raw) noexcept {
        join_handle out;
        out.raw_ = raw;
        return out;
    }
    explicit operator bool() const noexcept { return raw_.handle != 0; }

    /// Waits until the tasklet has ended, and returns what its function returned, or throws what it threw. Throws state_error when it was
    /// killed: tasklet_exit always means the caller.
    T join() const {
        void* data = nullptr;
        detail::check(hsw_join_wait(raw_, HSW_NO_LIMIT, &data));
        return carrier::unpack(data);
    }
    /// As join(), but gives up when the time is over: nothing (of void: false). The tasklet goes on.
    template <class Rep, class Period>
    typename carrier::maybe join_for(std::chrono::duration<Rep, Period> limit) const {
        void* data = nullptr;
        if (!in_time(hsw_join_wait(raw_, detail::nanoseconds(limit), &data))) {
            return {};
        }
        if constexpr (std::is_void_v<T>) {
            return true;
        } else {
            return carrier::unpack(data);
        }
    }
    /// Has it ended, so that join() need not wait?
    bool done() const { return detail::ask(&hsw_join_is_done, raw_); }
    /// The tasklet: to name, kill or look at.
    hsw::tasklet tasklet() const { return hsw::tasklet::adopt(detail::ask(&hsw_join_tasklet, raw_)); }

private:
    static bool in_time(hsw_status status) {
        if (status == HSW_ERR_TIMEOUT) {
            return false;
        }
        detail::check(status);
        return true;
    }
};

/// As spawn(), for a function with a result that somebody waits for:
///
///     const auto size = hsw::spawn_joinable([url] { return fetch(url).size(); });
///     std::printf("%zu bytes\n", size.join());
///
/// What the function throws goes to who joins, and not to run() or an error_hook.
template <class F>
join_handle<std::invoke_result_t<F&>> spawn_joinable(F function, const options& how = {}, const char* file = __builtin_FILE(),
                                                     unsigned line = __builtin_LINE()) {
    using closure = detail::joined_closure<F>;
    using carrier = detail::result_carrier<std::invoke_result_t<F&>>;
    const hsw_tasklet_options raw = tasklet::lower(how, &closure::destroy, file, line);
    hsw_join out{};
    detail::check(hsw_join_spawn(&closure::enter, new F(std::move(function)), carrier::destroyer, &raw, &out));
    return join_handle<std::invoke_result_t<F&>>::adopt(out);
}

/// How one of several joined tasklets has ended.
template <class T>
class join_outcome {
public:
    /// What is moved from has nothing more to give: get() throws hsw::closed.
    join_outcome(join_outcome&& other) noexcept
        : value_(std::move(other.value_)), exception_(std::exchange(other.exception_, nullptr)), there_(std::exchange(other.there_, false)) {}
    join_outcome& operator=(join_outcome&& other) noexcept {
        join_outcome taken(std::move(other));
        std::swap(value_, taken.value_);
        std::swap(exception_, taken.exception_);
        std::swap(there_, taken.there_);
        return *this;
    }
    /// What join() would have returned, or throws what it would have thrown. Once.
    T get() {
        if (exception_) {
            std::rethrow_exception(exception_);
        }
        if (!std::exchange(there_, false)) {
            throw closed(HSW_ERR_CLOSED, "the result has been taken");
        }
        return detail::result_carrier<T>::unpack(value_.release());
    }
    /// Will get() throw?
    bool failed() const noexcept { return exception_ != nullptr; }

private:
    template <class Range, class F>
    friend void join_each(const Range& handles, F then);
    join_outcome() = default;
    struct free_result {
        void operator()(void* data) const noexcept {
            if constexpr (detail::result_carrier<T>::destroyer != nullptr) {
                detail::result_carrier<T>::destroyer(data);
            }
        }
    };
    std::unique_ptr<void, free_result> value_{};
    std::exception_ptr exception_{};
    bool there_ = false;
};

/// Waits for all; their results, in the order of the handles. Throws what the first of them, in this order, has thrown; the others go on.
template <class Range>
auto join_all(const Range& handles) {
    using T = typename std::decay_t<decltype(*std::begin(handles))>::result_type;
    if constexpr (std::is_void_v<T>) {
        for (const auto& one : handles) {
            one.join();
        }
    } else {
        std::vector<T> out;
        for (const auto& one : handles) {
            out.push_back(one.join());
        }
        return out;
    }
}

/// Waits for each, and calls `then(which, outcome)` as they end: with a number among the handles and a join_outcome. Those that have ended
/// already come first, in the order of the handles. Costs O(those left) for each. within() limits the time.
template <class Range, class F>
void join_each(const Range& handles, F then) {
    using handle = std::decay_t<decltype(*std::begin(handles))>;
    const std::vector<handle> kept(std::begin(handles), std::end(handles));
    std::vector<hsw_case> cases;
    std::vector<std::size_t> left;
    for (const handle& one : kept) {
        left.push_back(cases.size());
        cases.push_back(hsw_case{{}, {}, HSW_RECEIVE, nullptr, one.raw(), {}});
    }
    while (!cases.empty()) {
        std::size_t chosen = SIZE_MAX;
        const hsw_status status = hsw_select(cases.data(), cases.size(), HSW_NO_LIMIT, true, &chosen);
        join_outcome<typename handle::result_type> outcome;
        if (status == HSW_OK) {
            outcome.value_.reset(cases[chosen].value);
            outcome.there_ = true;
        } else if (chosen == SIZE_MAX) {
            detail::raise(status);
        } else {
            try {
                detail::raise(status);
            } catch (...) {
                outcome.exception_ = detail::caught();
            }
        }
        const std::size_t which = left[chosen];
        cases.erase(cases.begin() + static_cast<std::ptrdiff_t>(chosen));
        left.erase(left.begin() + static_cast<std::ptrdiff_t>(chosen));
        then(which, std::move(outcome));
    }
}

} // namespace hsw

#endif
#endif
