// Callbacks of the scheduler. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_CALLBACKS_HPP
#define HARDSWITCH_CALLBACKS_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "tasklet.hpp"

#include <cstddef>
#include <exception>
#include <functional>
#include <utility>

namespace hsw {

namespace detail {

/// Asks a hook's function about an error.
inline hsw_status call_error_hook(const hsw_uncaught* uncaught, void* function) noexcept {
    try {
        const bool ours = uncaught->destroy == &destroy_exception;
        const std::exception_ptr exception =
            ours ? *static_cast<const std::exception_ptr*>(uncaught->payload)
                 : std::make_exception_ptr(foreign_exception::last(uncaught->status, uncaught->message));
        return (*static_cast<std::function<bool(const std::exception_ptr&)>*>(function))(exception) ? HSW_OK : HSW_ERR_OTHER;
    }
    HSW_DETAIL_CATCH_FORCED
    catch (...) {
        return HSW_ERR_OTHER;
    }
}

} // namespace detail

/// Sees the exceptions that leave tasklets, for the time of its life. The function is called with the exception, in the dying tasklet,
/// and returns whether it has dealt with it; if not, or if it throws itself, the exception goes on to run() or tick(). These three
/// kinds of hooks must end in the reverse order of their beginning, on the thread where they began.
class error_hook {
public:
    explicit error_hook(std::function<bool(const std::exception_ptr&)> function) : function_(std::move(function)) {
        detail::check(hsw_set_error_handler(&detail::call_error_hook, &function_, &old_, &old_user_));
    }
    ~error_hook() { hsw_set_error_handler(old_, old_user_, nullptr, nullptr); }
    error_hook(const error_hook&) = delete;
    error_hook& operator=(const error_hook&) = delete;

private:
    std::function<bool(const std::exception_ptr&)> function_;
    hsw_error_handler old_ = nullptr;
    void* old_user_ = nullptr;
};

/// The same for one tasklet, in place of what it had: asked before the thread's, which gets what this one has not dealt with.
class tasklet_error_hook {
public:
    tasklet_error_hook(const tasklet& of, std::function<bool(const std::exception_ptr&)> function)
        : tasklet_(of), function_(std::move(function)) {
        detail::check(hsw_tasklet_set_error_handler(tasklet_.raw(), &detail::call_error_hook, &function_));
    }
    ~tasklet_error_hook() { hsw_tasklet_set_error_handler(tasklet_.raw(), nullptr, nullptr); }
    tasklet_error_hook(const tasklet_error_hook&) = delete;
    tasklet_error_hook& operator=(const tasklet_error_hook&) = delete;

private:
    tasklet tasklet_;
    std::function<bool(const std::exception_ptr&)> function_;
};

/// Called before each switch, with the tasklet that leaves (none when main starts) and the one that comes. It must not switch. What it
/// throws is ignored.
class switch_hook {
public:
    explicit switch_hook(std::function<void(hsw_tasklet previous, hsw_tasklet next)> function) : function_(std::move(function)) {
        detail::check(hsw_set_schedule_callback(&call, this, &old_, &old_user_));
    }
    ~switch_hook() { hsw_set_schedule_callback(old_, old_user_, nullptr, nullptr); }
    switch_hook(const switch_hook&) = delete;
    switch_hook& operator=(const switch_hook&) = delete;

private:
    static void call(hsw_tasklet previous, hsw_tasklet next, void* user) noexcept {
        try {
            static_cast<switch_hook*>(user)->function_(previous, next);
        }
        HSW_DETAIL_CATCH_FORCED
        catch (...) {
            // Stackless prints and goes on; a library is quiet.
        }
    }

    std::function<void(hsw_tasklet, hsw_tasklet)> function_; // the handles are lent for the time of the call
    hsw_schedule_callback old_ = nullptr;
    void* old_user_ = nullptr;
};

/// Called at the begin of each channel operation, also of one that then fails. It must not use the channel. What it throws is ignored.
class channel_hook {
public:
    explicit channel_hook(std::function<void(std::size_t channel_id, hsw_tasklet tasklet, bool sending, bool will_block)> function)
        : function_(std::move(function)) {
        detail::check(hsw_set_channel_callback(&call, this, &old_, &old_user_));
    }
    ~channel_hook() { hsw_set_channel_callback(old_, old_user_, nullptr, nullptr); }
    channel_hook(const channel_hook&) = delete;
    channel_hook& operator=(const channel_hook&) = delete;

private:
    static void call(std::size_t channel_id, hsw_tasklet tasklet, bool sending, bool will_block, void* user) noexcept {
        try {
            static_cast<channel_hook*>(user)->function_(channel_id, tasklet, sending, will_block);
        }
        HSW_DETAIL_CATCH_FORCED
        catch (...) {
            // As above.
        }
    }

    std::function<void(std::size_t, hsw_tasklet, bool, bool)> function_;
    hsw_channel_callback old_ = nullptr;
    void* old_user_ = nullptr;
};

} // namespace hsw

#endif
#endif
