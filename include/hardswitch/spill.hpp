// Deep recursion in a small window. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_SPILL_HPP
#define HARDSWITCH_SPILL_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "error.hpp"

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace hsw {

namespace detail {

/// A function on its way to other stack, with room for what it returns or throws.
template <class F>
struct far_call {
    using R = std::invoke_result_t<F&>;
    static_assert(!std::is_reference_v<R>, "what comes back must be a value");
    F function;
    std::optional<std::conditional_t<std::is_void_v<R>, bool, R>> result{};
    std::exception_ptr exception{};

    static void run(void* data) noexcept {
        auto* const self = static_cast<far_call*>(data);
        try {
            if constexpr (std::is_void_v<R>) {
                self->function();
            } else {
                self->result.emplace(self->function());
            }
        }
        HSW_DETAIL_CATCH_FORCED
        catch (...) {
            self->exception = caught();
        }
    }
    /// Once.
    R take() {
        if (exception) {
            std::rethrow_exception(std::exchange(exception, nullptr));
        }
        if constexpr (!std::is_void_v<R>) {
            return std::move(*result);
        }
    }
};

} // namespace detail

/// Calls `function()` and returns what it returns, or throws what it throws. If the calling tasklet has used more of its window than
/// the watermark, its frames are moved to the heap for the time of the call: a recursion through here is limited by the heap alone.
/// THE CALLER'S FRAMES MAY BE AWAY MEANWHILE: the function must not touch them, so capture by value. It is moved to the heap.
template <class F>
auto spill(F function) {
    using call = detail::far_call<F>;
    const auto job = std::make_unique<call>(call{std::move(function)});
    detail::check(hsw_spill(&call::run, job.get()));
    return job->take();
}

/// As spill(), but when little stack is left the function runs on a fresh segment, and the caller's frames stay in place: it may
/// capture by reference. Works on main, too.
template <class F>
auto grow(F&& function) {
    using call = detail::far_call<std::reference_wrapper<std::remove_reference_t<F>>>;
    call job{std::ref(function)};
    detail::check(hsw_grow(&call::run, &job));
    return job.take();
}

} // namespace hsw

#endif
#endif
