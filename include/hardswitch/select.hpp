// Waiting for the first of several channel operations. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_SELECT_HPP
#define HARDSWITCH_SELECT_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "join.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace hsw {

/// Waits for the first of several channel operations that can be done, does it, and calls what was given with it:
///
///     hsw::select wait;
///     wait.receive(words, [&](std::string word) { ... });
///     wait.send(numbers, 5, [&] { ... });
///     if (!wait.perform_for(1s)) { ... }      // the time was over first
///
/// A queue can be sent to when it has room, and received from when it has a value; a join_handle is received from when its tasklet has ended.
/// Channels of one thread and channels between threads (hsw::thread::channel) may stand side by side.
/// If several can be done, the choice is fair; in_order() takes the one that was added first. While it waits, the tasklet is in the queue
/// of each channel and counts in its balance. A select cannot send and receive on the same channel.
///
/// Operations are for one wait. perform() takes all of them out of the object as it begins, so after it, however it ended (also by an exception, or in
/// a callback), the object is empty and can be given new ones; what was not sent is destroyed. An add that throws has added nothing.
class select {
public:
    select() = default;
    select(const select&) = delete;
    select& operator=(const select&) = delete;

    // A case names the handle that is kept for it: a copy has another one than what it was copied from.

    /// Adds: receive, and call `then(value)`.
    template <class T, class F>
    void receive(channel<T> from, F then) {
        const hsw_case what{from.raw(), {}, HSW_RECEIVE, nullptr, {}, {}};
        add_receive<T>(std::move(from), what, std::move(then));
    }
    template <class T, class F>
    void receive(queue_channel<T> from, F then) {
        const hsw_case what{{}, from.raw(), HSW_RECEIVE, nullptr, {}, {}};
        add_receive<T>(std::move(from), what, std::move(then));
    }
    /// A partner on another thread is made runnable there, and nobody switches because of it.
    template <class T, class F>
    void receive(thread::channel<T> from, F then) {
        const hsw_case what{{}, {}, HSW_RECEIVE, nullptr, {}, from.raw()};
        add_receive<T>(std::move(from), what, std::move(then));
    }
    /// Adds: join, and call `then(result)`, or `then()` where there is none.
    template <class T, class F>
    void receive(join_handle<T> from, F then) {
        const hsw_case what{{}, {}, HSW_RECEIVE, nullptr, from.raw(), {}};
        add(std::move(from), what, nullptr, [then = std::move(then)](void* data) mutable {
            if constexpr (std::is_void_v<T>) {
                static_cast<void>(data);
                then();
            } else {
                then(detail::result_carrier<T>::unpack(data));
            }
        });
    }
    /// Adds: send, and call `then()`. A value that is not sent is destroyed.
    template <class T, class F>
    void send(channel<T> to, T value, F then) {
        const hsw_case what{to.raw(), {}, HSW_SEND, nullptr, {}, {}};
        add_send<T>(std::move(to), what, std::move(value), std::move(then));
    }
    template <class T, class F>
    void send(queue_channel<T> to, T value, F then) {
        const hsw_case what{{}, to.raw(), HSW_SEND, nullptr, {}, {}};
        add_send<T>(std::move(to), what, std::move(value), std::move(then));
    }
    template <class T, class F>
    void send(thread::channel<T> to, T value, F then) {
        const hsw_case what{{}, {}, HSW_SEND, nullptr, {}, to.raw()};
        add_send<T>(std::move(to), what, std::move(value), std::move(then));
    }
    /// Of several operations that can be done, the first that was added.
    select& in_order() noexcept {
        in_order_ = true;
        return *this;
    }

    /// Waits as long as it takes. Throws hsw::closed if the operation found its channel closed, and what was sent with send_exception().
    void perform() { static_cast<void>(go(HSW_NO_LIMIT)); }
    /// As perform(), but gives up when the time is over: false.
    template <class Rep, class Period>
    bool perform_for(std::chrono::duration<Rep, Period> limit) {
        return go(detail::nanoseconds(limit));
    }

private:
    template <class T, class From, class F>
    void add_receive(From from, const hsw_case& what, F then) {
        add(std::move(from), what, nullptr, [then = std::move(then)](void* data) mutable { then(detail::carrier<T>::unpack(data)); });
    }
    template <class T, class To, class F>
    void add_send(To to, hsw_case what, T value, F then) {
        std::function<void(void*)> function = [then = std::move(then)](void*) mutable { then(); };
        what.value = detail::carrier<T>::pack(std::move(value));
        add(std::move(to), what, detail::carrier<T>::destroyer, std::move(function));
    }
    template <class Channel>
    void add(Channel channel, const hsw_case& what, hsw_destroy destroy, std::function<void(void*)> then) {
        struct freed {
            void* data;
            hsw_destroy destroy;
            ~freed() {
                if (destroy != nullptr) {
                    destroy(data);
                }
            }
        } unsent{what.value, destroy};
        rest more{std::move(then), destroy, std::shared_ptr<void>(std::shared_ptr<Channel>(new Channel(std::move(channel))))};
        waiting_.rest.reserve(waiting_.rest.size() + 1);
        waiting_.cases.push_back(what);
        waiting_.rest.push_back(std::move(more)); // there is room: it does not throw
        unsent.destroy = nullptr;
    }

    bool go(std::uint64_t limit) {
        operations now = std::exchange(waiting_, operations{});
        std::size_t chosen = SIZE_MAX;
        const hsw_status status = hsw_select(now.cases.data(), now.cases.size(), limit, in_order_, &chosen);
        if (status == HSW_OK) {
            void* const data = now.cases[chosen].value;
            const std::function<void(void*)> then = std::move(now.rest[chosen].function);
            now.rest[chosen].destroy = nullptr; // what was sent is gone, what came is for `then`
            now.clear();
            then(data);
            return true;
        }
        if (status == HSW_ERR_TIMEOUT && chosen == SIZE_MAX) {
            return false;
        }
        detail::raise(status); // what was not sent is destroyed after that has its words
    }

    struct rest {
        std::function<void(void*)> function;
        hsw_destroy destroy;
        std::shared_ptr<void> channel; // keeps the handle
    };
    /// The operations of one wait: what is still to be sent is destroyed with them.
    struct operations {
        operations() = default;
        operations(operations&& other) noexcept : cases(std::exchange(other.cases, {})), rest(std::exchange(other.rest, {})) {}
        operations& operator=(operations&& other) noexcept {
            std::swap(cases, other.cases);
            std::swap(rest, other.rest);
            return *this;
        }
        ~operations() { clear(); }
        void clear() noexcept {
            // Out of here first: a destructor may come back.
            const std::vector<hsw_case> old_cases = std::exchange(cases, {});
            const std::vector<select::rest> old_rest = std::exchange(rest, {});
            for (std::size_t i = 0; i < old_rest.size(); ++i) {
                if (old_cases[i].direction == HSW_SEND && old_cases[i].value != nullptr && old_rest[i].destroy != nullptr) {
                    old_rest[i].destroy(old_cases[i].value);
                }
            }
        }
        std::vector<hsw_case> cases{};
        std::vector<select::rest> rest{};
    };
    operations waiting_{};
    bool in_order_ = false;
};

} // namespace hsw

#endif
#endif
