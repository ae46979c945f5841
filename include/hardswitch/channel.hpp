// Channels and queue channels of one thread. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_CHANNEL_HPP
#define HARDSWITCH_CHANNEL_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "tasklet.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace hsw {

/// Who runs first when sender and receiver have met.
enum class preference : int { receiver = HSW_PREFER_RECEIVER, neither = HSW_PREFER_NEITHER, sender = HSW_PREFER_SENDER };

namespace detail {

/// How a T travels through a channel of pointers: in the pointer itself when that is enough, else in a box on the heap.
template <class T, bool InPlace = (sizeof(T) <= sizeof(void*) && std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>)>
struct carrier {
    static void* pack(T&& value) { return new T(std::move(value)); }
    static T unpack(void* data) {
        const std::unique_ptr<T> box(static_cast<T*>(data));
        return std::move(*box);
    }
    static void destroy(void* data) noexcept { delete static_cast<T*>(data); }
    static constexpr hsw_destroy destroyer = &destroy;
    /// For a value that is still ours.
    static void drop(void* data) noexcept { destroy(data); }
};

template <class T>
struct carrier<T, true> {
    static void* pack(T&& value) noexcept {
        void* out = nullptr;
        std::memcpy(&out, &value, sizeof value);
        return out;
    }
    static T unpack(void* data) noexcept {
        alignas(T) unsigned char bytes[sizeof(T)];
        std::memcpy(bytes, &data, sizeof bytes);
        return std::move(*std::launder(reinterpret_cast<T*>(bytes)));
    }
    /// For a value that is still ours.
    static void drop(void*) noexcept {}
    static constexpr hsw_destroy destroyer = nullptr;
};

/// Runs a call that gives out a value.
template <class T, class Call>
T take(Call&& call) {
    void* data = nullptr;
    check(call(&data));
    return carrier<T>::unpack(data);
}

/// As take(); nothing when the call answers `none`.
template <class T, class Call>
std::optional<T> take_unless(hsw_status none, Call&& call) {
    void* data = nullptr;
    const hsw_status status = call(&data);
    if (status == none) {
        return std::nullopt;
    }
    check(status);
    return carrier<T>::unpack(data);
}

/// After a mistake of the caller's nothing has changed: a value that was to be sent is still ours.
inline bool was_mistake(hsw_status status) noexcept { return status >= HSW_ERR_NULL && status != HSW_ERR_INTERNAL; }

/// A packed value that is still ours, if so.
template <class T>
struct unsent {
    ~unsent() {
        if (ours) {
            carrier<T>::drop(data);
        }
    }
    void* data;
    bool ours = false;
};

/// Runs a call that takes a value away. When it answers `refused` the value is still ours: it is destroyed, and the answer is false.
template <class T, class Call>
bool give_unless(hsw_status refused, T&& value, Call&& call) {
    unsent<T> packed{carrier<T>::pack(std::move(value))};
    const hsw_status status = call(packed.data);
    packed.ours = status == refused || was_mistake(status);
    if (status == refused) {
        return false;
    }
    check(status); // before the value goes: its destructor may make calls that fail
    return true;
}

/// Runs a call that takes a value away.
template <class T, class Call>
void give(T&& value, Call&& call) {
    unsent<T> packed{carrier<T>::pack(std::move(value))};
    const hsw_status status = call(packed.data);
    packed.ours = was_mistake(status);
    check(status);
}

/// for (T value : channel) receives until the channel's next() has nothing more. A ++ that throws has left the iterator where it was.
template <class T, class Channel>
class iterator {
public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;
    using iterator_category = std::input_iterator_tag;

    iterator() noexcept = default;
    explicit iterator(const Channel* from) : from_(from) { ++*this; }
    reference operator*() { return *value_; }
    iterator& operator++() {
        std::optional<T> next = from_->next();
        value_.reset();
        if (next) {
            value_.emplace(std::move(*next));
        }
        return *this;
    }
    pointer operator->() { return &*value_; }
    /// `*i++` is the value that it was at.
    auto operator++(int) {
        struct left {
            T value;
            T operator*() { return std::move(value); }
        } out{std::move(*value_)};
        try {
            ++*this;
        } catch (...) {
            value_.emplace(std::move(out.value));
            throw;
        }
        return out;
    }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.value_.has_value() == b.value_.has_value(); }
    friend bool operator!=(const iterator& a, const iterator& b) noexcept { return !(a == b); }

private:
    const Channel* from_ = nullptr;
    std::optional<T> value_;
};

/// The calls of the C interface for a kind of channel.
struct local_channel {
    using raw = hsw_channel;
    using handle = detail::handle<raw, &hsw_channel_retain, &hsw_channel_release>;
    static constexpr auto make = &hsw_channel_new;
    static constexpr auto send = &hsw_channel_send;
    static constexpr auto send_timeout = &hsw_channel_send_timeout;
    static constexpr auto try_send = &hsw_channel_try_send;
    static constexpr auto send_throw = &hsw_channel_send_throw;
    static constexpr auto receive = &hsw_channel_receive;
    static constexpr auto receive_timeout = &hsw_channel_receive_timeout;
    static constexpr auto try_receive = &hsw_channel_try_receive;
    static constexpr auto next = &hsw_channel_next;
    static constexpr auto close = &hsw_channel_close;
    static constexpr auto close_and_wake = &hsw_channel_close_and_wake;
    static constexpr auto open = &hsw_channel_open;
    static constexpr auto is_closing = &hsw_channel_is_closing;
    static constexpr auto is_closed = &hsw_channel_is_closed;
    static constexpr auto balance = &hsw_channel_balance;
    static constexpr auto preference = &hsw_channel_preference;
    static constexpr auto set_preference = &hsw_channel_set_preference;
    static constexpr auto schedule_all = &hsw_channel_schedule_all;
    static constexpr auto set_schedule_all = &hsw_channel_set_schedule_all;
    static constexpr auto id = &hsw_channel_id;
};

/// The same for channels between threads.
struct thread_channel {
    using raw = hsw_thread_channel;
    using handle = detail::handle<raw, &hsw_thread_channel_retain, &hsw_thread_channel_release>;
    static constexpr auto make = &hsw_thread_channel_new;
    static constexpr auto send = &hsw_thread_channel_send;
    static constexpr auto send_timeout = &hsw_thread_channel_send_timeout;
    static constexpr auto try_send = &hsw_thread_channel_try_send;
    static constexpr auto send_throw = &hsw_thread_channel_send_throw;
    static constexpr auto receive = &hsw_thread_channel_receive;
    static constexpr auto receive_timeout = &hsw_thread_channel_receive_timeout;
    static constexpr auto try_receive = &hsw_thread_channel_try_receive;
    static constexpr auto next = &hsw_thread_channel_next;
    static constexpr auto close = &hsw_thread_channel_close;
    static constexpr auto close_and_wake = &hsw_thread_channel_close_and_wake;
    static constexpr auto open = &hsw_thread_channel_open;
    static constexpr auto is_closing = &hsw_thread_channel_is_closing;
    static constexpr auto is_closed = &hsw_thread_channel_is_closed;
    static constexpr auto balance = &hsw_thread_channel_balance;
    static constexpr auto preference = &hsw_thread_channel_preference;
    static constexpr auto set_preference = &hsw_thread_channel_set_preference;
    static constexpr auto schedule_all = &hsw_thread_channel_schedule_all;
    static constexpr auto set_schedule_all = &hsw_thread_channel_set_schedule_all;
    static constexpr auto id = &hsw_thread_channel_id;
};

/// What channels of one thread and those between threads have in common.
template <class T, class Calls>
class rendezvous : public Calls::handle {
    static_assert(std::is_object_v<T> && std::is_move_constructible_v<T>, "a channel carries movable objects");

public:
    /// A new channel, open, with the receiver preferred.
    rendezvous() { check(Calls::make(carrier<T>::destroyer, &this->raw_)); }

    /// Hands a value to a receiver; waits while there is none. The value is gone also when this throws.
    void send(T value) const {
        give(std::move(value), [this](void* data) { return Calls::send(this->raw_, data); });
    }
    /// Takes a value from a sender; waits while there is none.
    T receive() const {
        return take<T>([this](void** data) { return Calls::receive(this->raw_, data); });
    }
    /// Hands a value to a receiver, if there is one; else false, and the value is gone.
    bool try_send(T value) const {
        return give_unless(HSW_ERR_WOULD_BLOCK, std::move(value), [this](void* data) { return Calls::try_send(this->raw_, data); });
    }
    /// Takes a value from a sender, if there is one.
    std::optional<T> try_receive() const {
        return take_unless<T>(HSW_ERR_WOULD_BLOCK, [this](void** data) { return Calls::try_receive(this->raw_, data); });
    }
    /// As send(), but gives up when the time is over: false, and the value is gone.
    template <class Rep, class Period>
    bool send_for(T value, std::chrono::duration<Rep, Period> limit) const {
        return give_unless(HSW_ERR_TIMEOUT, std::move(value),
                           [&](void* data) { return Calls::send_timeout(this->raw_, data, nanoseconds(limit)); });
    }
    /// As receive(), but gives up when the time is over: nothing.
    template <class Rep, class Period>
    std::optional<T> receive_for(std::chrono::duration<Rep, Period> limit) const {
        return take_unless<T>(HSW_ERR_TIMEOUT, [&](void** data) { return Calls::receive_timeout(this->raw_, nanoseconds(limit), data); });
    }
    /// Sends each value of the range, one after the other. Stops at the first that cannot be sent. `sent` (may be null) gets how many
    /// were, also when this throws.
    template <class Range>
    void send_sequence(Range&& values, std::size_t* sent = nullptr) const {
        std::size_t count = 0;
        for (auto&& value : values) {
            if (sent != nullptr) {
                *sent = count++;
            }
            send(T(std::forward<decltype(value)>(value)));
        }
        if (sent != nullptr) {
            *sent = count;
        }
    }
    /// The next value of an iteration: nothing when the channel is closed and nobody is sending.
    std::optional<T> next() const {
        return take_unless<T>(HSW_ERR_STOP_ITERATION, [this](void** data) { return Calls::next(this->raw_, data); });
    }
    /// Sends an exception: the receiver's receive() throws it.
    void send_exception(std::exception_ptr exception) const {
        payload thrown(std::move(exception));
        check(Calls::send_throw(this->raw_, thrown.data, &destroy_exception, thrown.words.c_str()));
    }
    template <class E, class = std::enable_if_t<!std::is_same_v<std::decay_t<E>, std::exception_ptr>>>
    void send_exception(E&& exception) const {
        send_exception(std::make_exception_ptr(std::forward<E>(exception)));
    }

    /// Makes operations that would block throw hsw::closed. Waiting tasklets are still served; none is woken.
    void close() const { check(Calls::close(this->raw_)); }
    /// Closes it, and makes the waits of all who wait throw hsw::closed. Returns how many; they are queued, none of this thread's has run yet.
    std::size_t close_and_wake() const { return ask(Calls::close_and_wake, this->raw_); }
    void open() const { check(Calls::open(this->raw_)); }
    bool closing() const { return ask(Calls::is_closing, this->raw_); }
    /// Closing, and nobody waits any more.
    bool closed() const { return ask(Calls::is_closed, this->raw_); }

    /// How many wait: senders count up, receivers down.
    std::ptrdiff_t balance() const { return ask(Calls::balance, this->raw_); }

    hsw::preference preference() const { return static_cast<hsw::preference>(ask(Calls::preference, this->raw_)); }
    void set_preference(hsw::preference who) const { check(Calls::set_preference(this->raw_, static_cast<std::int32_t>(who))); }
    /// Whether every rendezvous also lets all others run.
    bool schedule_all() const { return ask(Calls::schedule_all, this->raw_); }
    void set_schedule_all(bool on) const { check(Calls::set_schedule_all(this->raw_, on)); }

    /// A number that is its alone while it lives.
    std::size_t id() const { return ask(Calls::id, this->raw_); }

    iterator<T, rendezvous> begin() const { return iterator<T, rendezvous>(this); }
    iterator<T, rendezvous> end() const noexcept { return {}; }
};

} // namespace detail

/// A rendezvous for values of type T. Copies are handles of the same channel. A value is moved: into the channel by send(), out
/// of it by receive(); never copied, and destroyed exactly once also when its receiver is killed first. Values that are small and
/// trivial travel in a pointer, others in a box on the heap, so nothing of a sender's stack is needed after send() began.
template <class T>
class channel : public detail::rendezvous<T, detail::local_channel> {
public:
    channel() {}
    /// The first tasklet that waits; the null handle when none does.
    tasklet queue() const { return tasklet::adopt(detail::ask(&hsw_channel_queue, this->raw_)); }
    /// All who wait on it, in the order in which they came, also in a select or with a time limit; once for each wait.
    std::vector<tasklet> waiting() const {
        std::size_t count = 0;
        detail::check(hsw_channel_waiting(this->raw_, nullptr, 0, &count));
        std::vector<hsw_tasklet> raw(count);
        std::vector<tasklet> all;
        all.reserve(count);
        detail::check(hsw_channel_waiting(this->raw_, raw.data(), raw.size(), &count));
        for (const hsw_tasklet one : raw) {
            all.push_back(tasklet::adopt(one));
        }
        return all;
    }

    /// Keeps any value with the channel, destroyed with it (or replaced); null takes it away.
    void set_user_data(std::shared_ptr<void> data) const { detail::keep(&hsw_channel_set_user_data, this->raw_, std::move(data)); }
    /// What set_user_data() was given; the caller must know its type.
    template <class Kept>
    std::shared_ptr<Kept> user_data() const {
        return detail::kept<Kept>(&hsw_channel_user_data, this->raw_);
    }
};

/// A channel that keeps up to `bound` values which nobody has received yet: a sender waits only when it is full, and nobody is switched to.
/// Copies are handles of the same queue.
template <class T>
class queue_channel : public detail::handle<hsw_queue, &hsw_queue_retain, &hsw_queue_release> {
    static_assert(std::is_object_v<T> && std::is_move_constructible_v<T>, "a queue carries movable objects");
    using carrier = detail::carrier<T>;

public:
    explicit queue_channel(std::size_t bound) { detail::check(hsw_queue_new(bound, carrier::destroyer, &raw_)); }

    /// Hands a value to who receives, or queues it; waits while it is full. The value is gone also when this throws.
    void send(T value) const {
        detail::give(std::move(value), [this](void* data) { return hsw_queue_send(raw_, data, HSW_NO_LIMIT); });
    }
    /// As send(), but gives up when the time is over (zero: does not wait): false, and the value is gone.
    template <class Rep, class Period>
    bool send_for(T value, std::chrono::duration<Rep, Period> limit) const {
        return detail::give_unless(HSW_ERR_TIMEOUT, std::move(value),
                                   [&](void* data) { return hsw_queue_send(raw_, data, detail::nanoseconds(limit)); });
    }
    /// Takes the first value; waits while there is none.
    T receive() const {
        return detail::take<T>([this](void** data) { return hsw_queue_receive(raw_, HSW_NO_LIMIT, data); });
    }
    /// As receive(), but gives up when the time is over (zero: does not wait): nothing.
    template <class Rep, class Period>
    std::optional<T> receive_for(std::chrono::duration<Rep, Period> limit) const {
        return detail::take_unless<T>(HSW_ERR_TIMEOUT,
                                      [&](void** data) { return hsw_queue_receive(raw_, detail::nanoseconds(limit), data); });
    }
    /// The next value of an iteration: nothing when the queue is closed and empty.
    std::optional<T> next() const {
        return detail::take_unless<T>(HSW_ERR_STOP_ITERATION, [this](void** data) { return hsw_queue_next(raw_, data); });
    }
    /// Queues an exception: the receive() that gets it throws it.
    void send_exception(std::exception_ptr exception) const {
        detail::payload thrown(std::move(exception));
        detail::check(hsw_queue_send_throw(raw_, thrown.data, &detail::destroy_exception, thrown.words.c_str()));
    }
    template <class E, class = std::enable_if_t<!std::is_same_v<std::decay_t<E>, std::exception_ptr>>>
    void send_exception(E&& exception) const {
        send_exception(std::make_exception_ptr(std::forward<E>(exception)));
    }

    /// Nothing more is queued; what is queued can still be received.
    void close() const { detail::check(hsw_queue_close(raw_, false)); }
    /// Closes it, and makes the waits of all who wait throw hsw::closed.
    void close_and_wake() const { detail::check(hsw_queue_close(raw_, true)); }
    void open() const { detail::check(hsw_queue_open(raw_)); }
    /// Values in the queue.
    std::size_t size() const {
        std::size_t out = 0;
        detail::check(hsw_queue_length(raw_, &out, nullptr));
        return out;
    }
    /// Those, and senders that wait; or minus how many receivers wait.
    std::ptrdiff_t balance() const {
        std::ptrdiff_t out = 0;
        detail::check(hsw_queue_length(raw_, nullptr, &out));
        return out;
    }

    /// for (T value : queue) receives until the queue is closed and empty.
    detail::iterator<T, queue_channel> begin() const { return detail::iterator<T, queue_channel>(this); }
    detail::iterator<T, queue_channel> end() const noexcept { return {}; }
};

} // namespace hsw

#endif
#endif
