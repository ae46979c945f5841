// Locks, conditions and their kin, for tasklets of all threads and for plain threads. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_SYNC_HPP
#define HARDSWITCH_SYNC_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "channel.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

namespace hsw {

//
// For tasklets of all threads and for plain threads. Who waits blocks its tasklet alone; a plain thread drives its main loop meanwhile. First
// come, first served, everywhere. Objects may be used from any thread, at once; copies are handles of the same object, so tasklets and threads
// can have theirs by value. Negative times are zero: one try, nobody else runs. What does not wait does not switch.

namespace detail {

/// For waits that say whether it was in time.
inline bool in_time(hsw_status status) {
    if (status == HSW_ERR_TIMEOUT) {
        return false;
    }
    check(status);
    return true;
}

/// The moment so long from now; the last there is, if that is too far.
inline std::chrono::steady_clock::time_point moment_after(std::chrono::nanoseconds time) {
    const auto now = std::chrono::steady_clock::now();
    const auto most = std::chrono::steady_clock::time_point::max() - now;
    return time < most ? now + time : std::chrono::steady_clock::time_point::max();
}

/// The C functions of the two kinds of locks.
template <bool Reentrant>
struct lock_calls {
    using raw = hsw_lock;
    static constexpr auto make = &hsw_lock_new;
    static constexpr auto retain = &hsw_lock_retain;
    static constexpr auto release = &hsw_lock_release;
    static constexpr auto lock = &hsw_lock_lock;
    static constexpr auto unlock = &hsw_lock_unlock;
    static constexpr auto state = &hsw_lock_state;
};
template <>
struct lock_calls<true> {
    using raw = hsw_rlock;
    static constexpr auto make = &hsw_rlock_new;
    static constexpr auto retain = &hsw_rlock_retain;
    static constexpr auto release = &hsw_rlock_release;
    static constexpr auto lock = &hsw_rlock_lock;
    static constexpr auto unlock = &hsw_rlock_unlock;
    static constexpr auto state = &hsw_rlock_state;
};

} // namespace detail

/// hsw::lock and hsw::rlock. What std calls TimedLockable: std::lock_guard, std::unique_lock and std::scoped_lock take it, const as
/// well (`std::lock_guard held(the_lock)`, also where a lambda has captured it by value).
template <bool Reentrant>
class basic_lock : public detail::handle<typename detail::lock_calls<Reentrant>::raw, detail::lock_calls<Reentrant>::retain,
                                                detail::lock_calls<Reentrant>::release> {
    using calls = detail::lock_calls<Reentrant>;

public:
    /// A lock that nobody holds.
    basic_lock() { detail::check(calls::make(&this->raw_)); }

    /// Takes it, when it is the caller's turn.
    void lock() const { detail::check(calls::lock(this->raw_, HSW_NO_LIMIT)); }
    /// Takes it if it is free.
    bool try_lock() const { return detail::in_time(calls::lock(this->raw_, 0)); }
    /// As lock(), but gives up when the time is over: false.
    template <class Rep, class Period>
    bool try_lock_for(std::chrono::duration<Rep, Period> limit) const {
        return detail::in_time(calls::lock(this->raw_, detail::nanoseconds(limit)));
    }
    template <class Clock, class Duration>
    bool try_lock_until(const std::chrono::time_point<Clock, Duration>& moment) const {
        return detail::in_time(calls::lock(this->raw_, detail::nanoseconds_until(moment)));
    }
    /// Gives it back, to who has waited longest. Throws state_error if it is not held (rlock: by the calling tasklet), and changes nothing.
    void unlock() const { detail::check(calls::unlock(this->raw_)); }

    bool is_locked() const {
        bool out = false;
        detail::check(calls::state(this->raw_, &out, nullptr, nullptr));
        return out;
    }
    /// Did the calling tasklet take it?
    bool is_mine() const {
        bool out = false;
        detail::check(calls::state(this->raw_, nullptr, &out, nullptr));
        return out;
    }
    /// How many wait for it.
    std::size_t waiting() const {
        std::size_t out = 0;
        detail::check(calls::state(this->raw_, nullptr, nullptr, &out));
        return out;
    }
};

/// Mutual exclusion. Not reentrant: who holds it waits for itself. Anybody may give it back.
using lock = basic_lock<false>;
/// A lock that its holder, a tasklet, may take again; it is given back with the last unlock().
using rlock = basic_lock<true>;

/// Where tasklets wait for what an hsw::lock protects to become true. Nobody comes back from a wait who was not notified, but for the
/// time limit and for exceptions; what was waited for may have been undone in between, so give a predicate.
///
/// When a wait throws, the lock is not held: the std::unique_lock is empty then, and unlocks nothing. (But after usage_error nothing
/// has changed.)
class condition : public detail::handle<hsw_condition, &hsw_condition_retain, &hsw_condition_release> {
public:
    condition() { detail::check(hsw_condition_new(&raw_)); }

    /// Gives the lock up, waits to be notified, and takes the lock again. Throws state_error if the calling tasklet did not take it.
    template <class Lock>
    void wait(std::unique_lock<Lock>& held) const {
        static_cast<void>(wait_ns(held, HSW_NO_LIMIT));
    }
    /// Waits until `ready()`, which is asked with the lock held.
    template <class Lock, class Predicate>
    void wait(std::unique_lock<Lock>& held, Predicate ready) const {
        while (!ready()) {
            wait(held);
        }
    }
    /// As wait(), but gives up when the time is over. Then too the lock is held, however long it takes to get it.
    template <class Lock, class Rep, class Period>
    std::cv_status wait_for(std::unique_lock<Lock>& held, std::chrono::duration<Rep, Period> limit) const {
        return wait_ns(held, detail::nanoseconds(limit));
    }
    template <class Lock, class Clock, class Duration>
    std::cv_status wait_until(std::unique_lock<Lock>& held, const std::chrono::time_point<Clock, Duration>& moment) const {
        return wait_ns(held, detail::nanoseconds_until(moment));
    }
    /// Waits until `ready()` or until the time is over; returns what `ready()` says then.
    template <class Lock, class Clock, class Duration, class Predicate>
    bool wait_until(std::unique_lock<Lock>& held, const std::chrono::time_point<Clock, Duration>& moment, Predicate ready) const {
        while (!ready()) {
            if (wait_until(held, moment) == std::cv_status::timeout) {
                return ready();
            }
        }
        return true;
    }
    template <class Lock, class Rep, class Period, class Predicate>
    bool wait_for(std::unique_lock<Lock>& held, std::chrono::duration<Rep, Period> limit, Predicate ready) const {
        if (detail::nanoseconds(limit) == HSW_NO_LIMIT) {
            wait(held, std::move(ready));
            return true;
        }
        const auto time = std::chrono::nanoseconds(static_cast<std::int64_t>(detail::nanoseconds(limit)));
        return wait_until(held, detail::moment_after(time), std::move(ready));
    }

    /// Notifies who has waited longest. With or without the lock held.
    void notify_one() const { notify(1); }
    /// Notifies the `count` who have waited longest.
    void notify(std::size_t count) const { detail::check(hsw_condition_notify(raw_, count)); }
    /// Notifies all. Each is woken when the lock is its own: there is no herd.
    void notify_all() const { notify(SIZE_MAX); }
    /// How many wait to be notified.
    std::size_t waiting() const {
        std::size_t out = 0;
        detail::check(hsw_condition_waiting(raw_, &out));
        return out;
    }

private:
    template <class Lock>
    std::cv_status wait_ns(std::unique_lock<Lock>& held, std::uint64_t limit) const {
        static_assert(std::is_same_v<std::remove_const_t<Lock>, hsw::lock>, "a condition goes with an hsw::lock");
        const hsw_status status = hsw_condition_wait(raw_, held.mutex() != nullptr ? held.mutex()->raw() : hsw_lock{}, limit);
        if (status == HSW_OK) {
            return std::cv_status::no_timeout;
        }
        if (status == HSW_ERR_TIMEOUT) {
            return std::cv_status::timeout;
        }
        if (!detail::was_mistake(status)) {
            held.release(); // not held any more, so not to be unlocked
        }
        detail::raise(status);
    }
};

/// Permits that tasklets take and give back. Whoever has a permit may give it back, on any thread; there may be more than it began with.
class semaphore : public detail::handle<hsw_semaphore, &hsw_semaphore_retain, &hsw_semaphore_release> {
public:
    explicit semaphore(std::size_t permits) : semaphore(permits, false) {}

    /// Takes a permit, when it is the caller's turn.
    void acquire() const { detail::check(hsw_semaphore_acquire(raw_, HSW_NO_LIMIT)); }
    /// Takes a permit if one is free.
    bool try_acquire() const { return detail::in_time(hsw_semaphore_acquire(raw_, 0)); }
    /// As acquire(), but gives up when the time is over: false.
    template <class Rep, class Period>
    bool try_acquire_for(std::chrono::duration<Rep, Period> limit) const {
        return detail::in_time(hsw_semaphore_acquire(raw_, detail::nanoseconds(limit)));
    }
    template <class Clock, class Duration>
    bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& moment) const {
        return detail::in_time(hsw_semaphore_acquire(raw_, detail::nanoseconds_until(moment)));
    }
    /// Gives permits back, all or none. Throws state_error if that would be more than there can be.
    void release(std::size_t count = 1) const { detail::check(hsw_semaphore_give_back(raw_, count)); }

    /// Permits that are free.
    std::size_t available() const {
        std::size_t out = 0;
        detail::check(hsw_semaphore_state(raw_, &out, nullptr));
        return out;
    }
    /// How many wait for one.
    std::size_t waiting() const {
        std::size_t out = 0;
        detail::check(hsw_semaphore_state(raw_, nullptr, &out));
        return out;
    }

protected:
    semaphore(std::size_t permits, bool bounded) { detail::check(hsw_semaphore_new(permits, bounded, &raw_)); }
};

/// A semaphore that never has more permits than it began with.
class bounded_semaphore : public semaphore {
public:
    explicit bounded_semaphore(std::size_t permits) : semaphore(permits, true) {}
};

/// A flag to wait for. All who wait go on when it is set, even if it is cleared again before their turn comes.
class event : public detail::handle<hsw_event, &hsw_event_retain, &hsw_event_release> {
public:
    event() { detail::check(hsw_event_new(&raw_)); }

    void set() const { detail::check(hsw_event_set(raw_)); }
    void clear() const { detail::check(hsw_event_clear(raw_)); }
    bool is_set() const {
        bool out = false;
        detail::check(hsw_event_state(raw_, &out, nullptr));
        return out;
    }
    void wait() const { detail::check(hsw_event_wait(raw_, HSW_NO_LIMIT)); }
    /// As wait(), but gives up when the time is over: false.
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> limit) const {
        return detail::in_time(hsw_event_wait(raw_, detail::nanoseconds(limit)));
    }
    template <class Clock, class Duration>
    bool wait_until(const std::chrono::time_point<Clock, Duration>& moment) const {
        return detail::in_time(hsw_event_wait(raw_, detail::nanoseconds_until(moment)));
    }
    /// How many wait.
    std::size_t waiting() const {
        std::size_t out = 0;
        detail::check(hsw_event_state(raw_, nullptr, &out));
        return out;
    }
};

/// Where so many wait for each other; then all go on, and it can be used again. Who gives up breaks it for all: they get hsw::broken.
class barrier : public detail::handle<hsw_barrier, &hsw_barrier_retain, &hsw_barrier_release> {
public:
    explicit barrier(std::size_t parties) { detail::check(hsw_barrier_new(parties, &raw_)); }

    /// Waits until all have come. True for the one that came last.
    bool wait() const { return wait_ns(HSW_NO_LIMIT); }
    /// As wait(), but gives up when the time is over: throws hsw::timeout, and the barrier is broken.
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> limit) const {
        return wait_ns(detail::nanoseconds(limit));
    }
    /// Breaks it.
    void abort() const { detail::check(hsw_barrier_abort(raw_)); }
    /// As new. Those who wait get hsw::broken.
    void reset() const { detail::check(hsw_barrier_reset(raw_)); }
    bool is_broken() const {
        bool out = false;
        detail::check(hsw_barrier_state(raw_, nullptr, nullptr, &out));
        return out;
    }
    /// How many it takes.
    std::size_t parties() const {
        std::size_t out = 0;
        detail::check(hsw_barrier_state(raw_, &out, nullptr, nullptr));
        return out;
    }
    /// How many wait.
    std::size_t waiting() const {
        std::size_t out = 0;
        detail::check(hsw_barrier_state(raw_, nullptr, &out, nullptr));
        return out;
    }

private:
    bool wait_ns(std::uint64_t limit) const {
        bool last = false;
        detail::check(hsw_barrier_wait(raw_, limit, &last));
        return last;
    }
};

/// Values on their way from any tasklets and threads to any others, first in, first out. A value is moved, and destroyed exactly once, on
/// the thread of whoever had it last. (Within a thread: channel, queue_channel.)
template <class T>
class queue : public detail::handle<hsw_sync_queue, &hsw_sync_queue_retain, &hsw_sync_queue_release> {
    static_assert(std::is_object_v<T> && std::is_move_constructible_v<T>, "a queue carries movable objects");
    using carrier = detail::carrier<T>;

public:
    /// For up to `capacity` values, at least one; without a number, as many as memory holds.
    explicit queue(std::size_t capacity = SIZE_MAX) { detail::check(hsw_sync_queue_new(capacity, carrier::destroyer, &raw_)); }

    /// Puts a value in at the end; waits while it is full. Throws hsw::closed. The value is gone also when this throws.
    void put(T value) const {
        detail::give(std::move(value), [this](void* data) { return hsw_sync_queue_put(raw_, data, HSW_NO_LIMIT); });
    }
    /// Puts a value in, if there is room; else false, and the value is gone.
    bool try_put(T value) const { return put_ns(std::move(value), 0); }
    /// As put(), but gives up when the time is over: false, and the value is gone.
    template <class Rep, class Period>
    bool put_for(T value, std::chrono::duration<Rep, Period> limit) const {
        return put_ns(std::move(value), detail::nanoseconds(limit));
    }
    /// Takes the first value; waits while there is none. Throws hsw::closed when the queue is closed and empty.
    T get() const {
        return detail::take<T>([this](void** data) { return hsw_sync_queue_get(raw_, HSW_NO_LIMIT, data); });
    }
    /// Takes the first value, if there is one.
    std::optional<T> try_get() const { return get_ns(0); }
    /// As get(), but gives up when the time is over: nothing.
    template <class Rep, class Period>
    std::optional<T> get_for(std::chrono::duration<Rep, Period> limit) const {
        return get_ns(detail::nanoseconds(limit));
    }
    /// The next value, for a loop: waits while there is none; nothing when the queue is closed and empty.
    std::optional<T> next() const {
        return detail::take_unless<T>(HSW_ERR_CLOSED, [this](void** data) { return hsw_sync_queue_get(raw_, HSW_NO_LIMIT, data); });
    }

    /// Nothing more comes in; what is in can be got. Ends the waits of those who put, and of those who get once it is empty.
    void close() const { detail::check(hsw_sync_queue_close(raw_)); }
    bool closed() const {
        bool out = false;
        detail::check(hsw_sync_queue_state(raw_, nullptr, &out));
        return out;
    }
    /// Values that are in it.
    std::size_t size() const {
        std::size_t out = 0;
        detail::check(hsw_sync_queue_state(raw_, &out, nullptr));
        return out;
    }

private:
    bool put_ns(T value, std::uint64_t limit) const {
        return detail::give_unless(HSW_ERR_TIMEOUT, std::move(value),
                                   [&](void* data) { return hsw_sync_queue_put(raw_, data, limit); });
    }
    std::optional<T> get_ns(std::uint64_t limit) const {
        return detail::take_unless<T>(HSW_ERR_TIMEOUT, [&](void** data) { return hsw_sync_queue_get(raw_, limit, data); });
    }
};

} // namespace hsw

#endif
#endif
