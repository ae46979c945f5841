// hardswitch for C++17: tasklets and channels with RAII and exceptions, over the C interface of hardswitch.h.
//
// Header only; link libhardswitch.a. Everything is in namespace hsw:
//
//   spawn(f)              makes a tasklet that runs f(), and queues it
//   spawn_joinable(f)     the same, with a result: join(), join_for(), join_all(), join_each()
//   channel<T>            a rendezvous: send() waits for a receive(), receive() for a send(); thread::channel<T> between threads
//   run()                 lets all tasklets run until none can
//   schedule(), sleep()   let others run
//   lock, condition, semaphore, event, barrier, queue<T>    for tasklets of all threads, and for plain threads
//   local<T>              a value of its own for each tasklet
//   dict<T>, record       values by keys in few bytes; values with names, of types that are made at run time
//   clock, sim_clock      timers: call_later(), repeat(); sleep() on a clock that can be paused, scaled and put forward
//   tcp_stream, udp_socket, unix_stream, fd_wait()    wait for the network, or for any descriptor, without blocking the thread
//   http::client          requests of HTTP, with bodies, redirects, kept connections, resumed downloads
//   offload()             waits for a blocking function on a worker thread
//   tick()                the game's frame: runs what is due, within a budget
//
// What holds for all of it
//
// * Threads. Tasklets, channels, sockets, clocks and timers belong to the thread that made them. Handles used elsewhere throw
//   hsw::usage_error; nothing is touched. Locks and their kin, queue<T> and local<T> belong to no thread.
// * Stacks. A tasklet is *sliced* unless options::own_stack says otherwise: while it does not run, its frames may lie on the
//   heap and other tasklets' frames at its addresses. Therefore: NOTHING OUTSIDE OF A SLICED TASKLET MAY TOUCH ITS LOCALS WHILE
//   IT IS NOT RUNNING. No reference to a local in what another tasklet, thread, queue or system call gets. A lambda that
//   captures a local of main by reference is fine (main's stack is never sliced), one that captures a local of a sliced
//   tasklet is not. Share by value, by std::shared_ptr, or through a channel.
// * Errors. A call that fails throws one of the classes below and has changed nothing, unless it says otherwise. A failed call
//   never loses the exception behind it: an exception that leaves a tasklet's function arrives, as itself, from run().
// * Exceptions and switching. Each tasklet has its own exception state: it may switch within a catch block, and rethrow after
//   it. It may not switch in a destructor that runs because of an exception: that throws hsw::switch_trap (so, mind, the program
//   terminates if the destructor lets it out).
// * After an exception. What a call that throws leaves behind: the object is as it was before the call, and can be used on, unless its comment says
//   otherwise. A value that was to be sent, put or thrown is gone; one that was to be received is still there for others, unless T's own move
//   threw, or the caller was killed in the moment it came. An object that was moved from is a null handle: calls throw usage_error, it can be
//   assigned to and destroyed. What leaves a function that was handed in (of spawn, a timer, post, a select's `then`) changes nothing for the object
//   that called it.
// * tasklet_exit is how a tasklet ends that was killed. It is not a std::exception: `catch (std::exception&)` lets it pass. Code that says
//   `catch (...)` must rethrow; if it does not, the tasklet's next wait throws it again, ten times at most. The functions of std::ostream and
//   std::istream catch everything that their streambuf throws: where one waits (it sends on a channel or a socket), say
//   `stream.exceptions(std::ios::badbit)`, so that they rethrow; then a kill ends the tasklet where it is.
// * What is made at its first use (a `static` or `thread_local` of a function, std::call_once) is guarded by thread, and other tasklets are on the same
//   one: an initialiser that switches ends the process, or waits for ever. Hold a hsw::no_switch in it if it calls what might switch.
// * The end of a thread. pthread_exit and the cancellation of a thread unwind its stack by force. That works in main's own code; in a tasklet, or in any
//   function that the library has called, the process ends with words: such unwinding ends at the end of the thread's stack, and there is none.
// * The end of the process (main returns, std::exit from wherever) unwinds no tasklet, and nobody runs after it: destructors of statics may use and
//   release handles, but what would switch or wait throws. hsw::thread::attached in main() ends the tasklets before that, in order.
#ifndef HARDSWITCH_HPP
#define HARDSWITCH_HPP

// One line says what is wrong with the compiler's options; the rest of the header would say it in hundreds.
#if __cplusplus < 201703L
#error "hardswitch.hpp needs C++17: -std=c++17 or later"
#elif !defined(__cpp_exceptions)
#error "hardswitch.hpp reports errors by exceptions, and -fno-exceptions has none: use hardswitch.h"
#else

#include "hardswitch.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace hsw {

namespace thread {
template <class T>
class channel;
class remote;
} // namespace thread

// ------------------------------------------------------------------------------------------------------------- errors

namespace detail {
struct exits;
} // namespace detail

/// The calling tasklet was killed. Not a std::exception, so that handlers of errors let it pass. One that is caught and does not go on to the end of
/// the tasklet's function (a `catch (...)` of somebody else's code, like that of std::ostream) comes again: the tasklet's next wait throws it,
/// ten times at most.
class tasklet_exit {
public:
    tasklet_exit() noexcept = default;
    // A copy is not the kill itself.
    tasklet_exit(const tasklet_exit&) noexcept {}
    tasklet_exit& operator=(const tasklet_exit&) noexcept { return *this; }
    ~tasklet_exit() {
        if (number_ != 0) {
            hsw_exit_swallowed(number_);
        }
    }
    const char* what() const noexcept { return "TaskletExit"; }

private:
    friend struct detail::exits;
    explicit tasklet_exit(std::uint64_t number) noexcept : number_(number) {}
    mutable std::uint64_t number_ = 0; // 0: not of a kill, or it has arrived
};

/// Whatever a call of this library can fail with. what() has the words, with the name of the tasklet or limit in it.
class error : public std::runtime_error {
public:
    error(hsw_status status, const std::string& words) : std::runtime_error(words), status_(status) {}
    hsw_status status() const noexcept { return status_; }

private:
    hsw_status status_;
};

/// The last runnable tasklet cannot block: nobody could ever wake it. Also when main waits and nobody is left to answer.
struct deadlock : error {
    using error::error;
};
/// The channel is closed.
struct closed : error {
    using error::error;
};
/// The tasklet has its block trap set and would have to block.
struct block_trap : error {
    using error::error;
};
/// A switch where none is allowed.
struct switch_trap : error {
    using error::error;
};
/// The time was over first.
struct timeout : error {
    using error::error;
};
/// The object is in a state in which the call makes no sense.
struct state_error : error {
    using error::error;
};
/// Somebody gave up waiting at the barrier, or broke it.
struct broken : error {
    using error::error;
};
/// No memory, no stack of that size, or a ceiling of the settings.
struct limit_error : error {
    using error::error;
};
/// A mistake of the caller: a null or released handle, a foreign thread, an argument out of range.
struct usage_error : error {
    using error::error;
};
/// The operating system refused. code() is its errno, 0 if there was none.
class io_error : public error {
public:
    io_error(hsw_status status, const std::string& words, int code) : error(status, words), code_(code) {}
    int code() const noexcept { return code_; }

private:
    int code_;
};
namespace detail {

/// What the kills of this header do with their exceptions.
struct exits {
    [[noreturn]] static void raise() { throw tasklet_exit(hsw_exit_told()); }
    /// It has got to where a killed tasklet ends.
    static void arrived(const tasklet_exit& exit) noexcept { exit.number_ = 0; }
};

/// An error of the library, counted.
struct kept_error {
    kept_error() = default;
    ~kept_error() {
        if (raw.handle != 0) {
            hsw_error_release(raw);
        }
    }
    kept_error(const kept_error&) = delete;
    kept_error& operator=(const kept_error&) = delete;
    hsw_error raw{};
};

} // namespace detail

/// An exception of the Rust side, the time limit of an enclosing within(), or what C code threw that this header does not know. It keeps the very
/// error: when it leaves a function that the library has called, the error goes on as itself, whatever has failed meanwhile.
class foreign_exception : public error {
public:
    using error::error;
    /// The calling tasklet's last error.
    static foreign_exception last(hsw_status status, const std::string& words) {
        foreign_exception out(status, words);
        // Not make_shared: it leaves a unique symbol in the module, which then cannot be unloaded.
        std::shared_ptr<detail::kept_error> kept(new detail::kept_error);
        if (hsw_error_last(&kept->raw) == HSW_OK) {
            out.error_ = std::move(kept);
        }
        return out;
    }
    /// The handle of the error, for calls of the C interface; of nothing, if it was not made from one. It stays this object's.
    hsw_error raw() const noexcept { return error_ ? error_->raw : hsw_error{}; }

private:
    std::shared_ptr<const detail::kept_error> error_{};
};

namespace detail {

/// A function that the library has called is being left by force: by pthread_exit, or since its thread is cancelled. That cannot go on through the
/// library's frames, and would end at the end of a tasklet's stack, not of the thread's.
[[noreturn]] inline void left_by_force() noexcept {
    std::fputs("hardswitch: pthread_exit or a cancellation was to end a thread in a function that the library has called\n", stderr);
    std::abort();
}

// Stands before each `catch (...)` at which a function of the caller's ends.
#ifdef __GLIBCXX__
#define HSW_DETAIL_CATCH_FORCED                                                                                                               \
    catch (const abi::__forced_unwind&) {                                                                                                     \
        ::hsw::detail::left_by_force();                                                                                                       \
    }
#else
#define HSW_DETAIL_CATCH_FORCED
#endif

/// The exception that is being handled; never null: what is no exception of C++ has none.
inline std::exception_ptr caught() {
    const std::exception_ptr exception = std::current_exception();
    return exception ? exception
                     : std::make_exception_ptr(foreign_exception(HSW_ERR_THROWN, "an exception of another language, or of another C++ runtime"));
}

/// Frees the std::exception_ptr that this header throws as a payload. Its address tells such payloads from others.
inline void destroy_exception(void* data) noexcept { delete static_cast<std::exception_ptr*>(data); }

/// Frees a value that lies in a box of its own.
template <class T>
void destroy_boxed(void* data) noexcept {
    delete static_cast<T*>(data);
}

/// The words of an exception, for the message that goes with it. Never switches. Throws usage_error for none.
inline std::string words_of(const std::exception_ptr& exception) {
    if (!exception) {
        throw usage_error(HSW_ERR_NULL, "the exception is null");
    }
    try {
        std::rethrow_exception(exception);
    } catch (const std::exception& e) {
        return e.what();
    } catch (const tasklet_exit& e) {
        return e.what();
    } catch (...) {
        return "a C++ exception that is not a std::exception";
    }
}

/// Throws the last error of the calling tasklet, which has this status, as the exception it stands for.
[[noreturn]] inline void raise(hsw_status status) {
    // Copied first: destructors that run on the way may make other calls.
    const std::string words = hsw_last_error_message();
    switch (status) {
    case HSW_ERR_EXIT:
        exits::raise();
    case HSW_ERR_THROWN: {
        void* payload = nullptr;
        hsw_destroy destroy = nullptr;
        if (hsw_last_error_payload(&payload, &destroy) == HSW_OK && destroy == &destroy_exception) {
            std::rethrow_exception(*static_cast<const std::exception_ptr*>(payload));
        }
        throw foreign_exception::last(status, words);
    }
    case HSW_ERR_PANICKED:
        throw foreign_exception::last(status, words);
    case HSW_ERR_CLOSED:
        throw closed(status, words);
    case HSW_ERR_DEADLOCK:
    case HSW_ERR_MAIN_RECEIVING:
    case HSW_ERR_MAIN_SENDING:
        throw deadlock(status, words);
    case HSW_ERR_BLOCK_TRAP:
        throw block_trap(status, words);
    case HSW_ERR_SWITCH_TRAP:
        throw switch_trap(status, words);
    case HSW_ERR_TIMEOUT:
        throw timeout(status, words);
    case HSW_ERR_STATE:
        throw state_error(status, words);
    case HSW_ERR_BROKEN:
        throw broken(status, words);
    case HSW_ERR_STACK_SIZE:
    case HSW_ERR_OUT_OF_MEMORY:
    case HSW_ERR_LIMIT:
        throw limit_error(status, words);
    case HSW_ERR_NULL:
    case HSW_ERR_STALE:
    case HSW_ERR_WRONG_THREAD:
    case HSW_ERR_WRONG_KIND:
    case HSW_ERR_ARGUMENT:
        throw usage_error(status, words);
    case HSW_ERR_IO:
        throw io_error(status, words, hsw_last_error_errno());
    default:
        throw error(status, words);
    }
}

inline void check(hsw_status status) {
    if (status != HSW_OK) {
        raise(status);
    }
}

/// An exception as a payload for the C interface: pointer and message, to be passed together with destroy_exception.
struct payload {
    explicit payload(std::exception_ptr exception) : words(words_of(exception)), data(new std::exception_ptr(std::move(exception))) {}
    std::string words;
    void* data; // the callee's, once passed
};

/// Makes the exception that is handled the last error, and returns its status.
inline hsw_status fail_with_current() noexcept {
    try {
        payload thrown(caught());
        return hsw_fail(thrown.data, &destroy_exception, thrown.words.c_str());
    } catch (...) {
        return HSW_ERR_OUT_OF_MEMORY; // there is no room for its words
    }
}

/// Runs a function at the root of a tasklet: no exception gets out into the C interface; each becomes the status that ends the
/// tasklet with it.
template <class F>
hsw_status guard(F&& function) noexcept {
    try {
        function();
        return HSW_OK;
    } catch (const tasklet_exit& e) {
        exits::arrived(e);
        return HSW_ERR_EXIT;
    } catch (const foreign_exception& e) {
        return e.raw().handle != 0 ? hsw_error_fail(e.raw()) : fail_with_current();
    }
    HSW_DETAIL_CATCH_FORCED
    catch (...) {
        return fail_with_current();
    }
}

/// A handle of the C interface. Copies are handles of the same object; each is given back once.
template <class Raw, hsw_status (*Retain)(Raw, Raw*), hsw_status (*Release)(Raw)>
class handle {
public:
    handle(const handle& other) {
        if (other.raw_.handle != 0) {
            check(Retain(other.raw_, &raw_));
        }
    }
    handle(handle&& other) noexcept : raw_(std::exchange(other.raw_, Raw{})) {}
    handle& operator=(handle other) noexcept {
        std::swap(raw_, other.raw_);
        return *this;
    }
    /// Lets go of the handle. Never throws: one that this thread may not give back is lost (leaked), not misused.
    ~handle() {
        if (raw_.handle != 0) {
            Release(raw_);
        }
    }

    /// The handle for calls of the C interface. It stays this object's.
    Raw raw() const noexcept { return raw_; }

protected:
    handle() noexcept = default;
    explicit handle(Raw raw) noexcept : raw_(raw) {}

    Raw raw_{};
};

/// What a question of the C interface answers.
template <class Answer>
Answer ask(hsw_status (*question)(Answer*)) {
    Answer out{};
    check(question(&out));
    return out;
}
template <class Raw, class Answer>
Answer ask(hsw_status (*question)(Raw, Answer*), Raw about) {
    Answer out{};
    check(question(about, &out));
    return out;
}

/// Keeps a value with an object.
template <class Raw>
void keep(hsw_status (*set)(Raw, void*, hsw_destroy), Raw with, std::shared_ptr<void> data) {
    auto boxed = std::make_unique<std::shared_ptr<void>>(std::move(data));
    check(set(with, boxed.release(), &destroy_boxed<std::shared_ptr<void>>));
}

/// What keep() was given.
template <class T, class Raw>
std::shared_ptr<T> kept(hsw_status (*get)(Raw, void**), Raw with) {
    const void* const boxed = ask(get, with);
    return boxed != nullptr ? std::static_pointer_cast<T>(*static_cast<const std::shared_ptr<void>*>(boxed)) : nullptr;
}

/// A function object on the heap, as an entry and its argument.
template <class F>
struct closure {
    static hsw_status enter(void* data) noexcept {
        return guard([data] { (*static_cast<F*>(data))(); });
    }
    static void destroy(void* data) noexcept { delete static_cast<F*>(data); }
};

} // namespace detail

// ----------------------------------------------------------------------------------------------------------- tasklets

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

// ----------------------------------------------------------------------------------------------------------- channels

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

// ---------------------------------------------------------------------------------------------------------- scheduler

/// Runs all tasklets until none can. An exception that left a tasklet's function comes out of here, as it was thrown; the rest
/// stay queued, and another run() goes on with them.
inline void run() { detail::check(hsw_run()); }

/// How long a run may take: in turns of tasklets, in time, or both. hardswitch.h says what counts.
struct budget {
    std::uint64_t switches = HSW_NO_LIMIT;                              ///< HSW_NO_LIMIT: as many as it takes
    std::chrono::nanoseconds time = std::chrono::nanoseconds::max();    ///< the longest: no limit
};
/// What a run with a budget has done.
struct run_report {
    std::size_t runnable = 0;      ///< tasklets still queued, the caller not included
    std::uint64_t switches = 0;    ///< turns that tasklets had
    std::uint64_t completed = 0;   ///< tasklets that ended
    bool used_up = false;          ///< whether the budget was
    tasklet interrupted{};         ///< who was giving way then, if still queued
};
/// As run(), but comes back at once when the budget is used up; the others stay queued, and the next run goes on with them.
inline run_report run(const budget& limit) {
    hsw_budget raw{limit.switches, detail::nanoseconds(limit.time)};
    hsw_run_report done{};
    detail::check(hsw_run_with(&raw, &done));
    run_report out;
    out.runnable = done.runnable;
    out.switches = done.switches;
    out.completed = done.completed;
    out.used_up = done.used_up;
    out.interrupted = tasklet::adopt(done.interrupted);
    return out;
}
/// Lets the others run once.
inline void schedule() { detail::check(hsw_schedule()); }
/// Pauses the caller until somebody inserts it.
inline void schedule_remove() { detail::check(hsw_schedule_remove()); }
/// As schedule(), with a value in the caller's transfer slot, which comes back unless somebody has put another there, or taken it
/// (null). The caller must know its type.
template <class T>
std::unique_ptr<T> schedule_with(std::unique_ptr<T> value) {
    void* back = nullptr;
    detail::check(hsw_schedule_with(value.release(), &detail::destroy_boxed<T>, &back));
    return std::unique_ptr<T>(static_cast<T*>(back));
}
/// As schedule_remove(), with a value as in schedule_with().
template <class T>
std::unique_ptr<T> schedule_remove_with(std::unique_ptr<T> value) {
    void* back = nullptr;
    detail::check(hsw_schedule_remove_with(value.release(), &detail::destroy_boxed<T>, &back));
    return std::unique_ptr<T>(static_cast<T*>(back));
}
/// How many tasklets are queued, the running one included.
inline std::size_t run_count() noexcept { return hsw_run_count(); }

/// The tasklet that is running.
inline tasklet current() { return tasklet::adopt(detail::ask(&hsw_current)); }
/// The main tasklet of the thread.
inline tasklet main_tasklet() { return tasklet::adopt(detail::ask(&hsw_main)); }

/// Calls `function()` with a time limit for whatever it waits for, and returns what it returns, or throws what it throws: when the time is
/// over, the wait that it is in throws hsw::foreign_exception, and if that leaves the function, this call throws hsw::timeout. Calls nest.
template <class Rep, class Period, class F>
auto within(std::chrono::duration<Rep, Period> limit, F&& function) {
    using R = std::invoke_result_t<F&>;
    static_assert(!std::is_reference_v<R>, "what comes back must be a value");
    struct call {
        std::remove_reference_t<F>& function;
        std::optional<std::conditional_t<std::is_void_v<R>, bool, R>> result{};
        static hsw_status enter(void* data) noexcept {
            return detail::guard([self = static_cast<call*>(data)] {
                if constexpr (std::is_void_v<R>) {
                    self->function();
                } else {
                    self->result.emplace(self->function());
                }
            });
        }
    } job{function};
    detail::check(hsw_timeout(detail::nanoseconds(limit), &call::enter, &job));
    if constexpr (!std::is_void_v<R>) {
        return std::move(*job.result);
    }
}

/// The thread's clock: of budgets, timeouts and measurements. `source` says nanoseconds since any fixed moment; null: the system's.
inline void set_clock(hsw_clock source) { detail::check(hsw_set_clock(source)); }
/// What it says.
inline std::chrono::nanoseconds now() { return std::chrono::nanoseconds(detail::ask(&hsw_now_ns)); }
/// Ends the waits whose time has come; how many. For hosts that do not pump.
inline std::size_t fire_due() noexcept { return hsw_fire_due(); }
/// How long until the next one is due; nothing when none waits.
inline std::optional<std::chrono::nanoseconds> until_next() noexcept {
    const std::uint64_t next = hsw_until_next_ns();
    return next == HSW_NO_LIMIT ? std::nullopt : std::optional<std::chrono::nanoseconds>(next);
}
/// Whether tasklet::run() nests, as in Stackless (the default), or leaves the order of all others. Returns the old setting.
inline bool set_use_nested_tasklets(bool nested) noexcept { return hsw_set_use_nested_tasklets(nested); }
/// Whether run times and spawn sites are kept for the thread's tasklets. Returns the old setting.
inline bool set_statistics(bool on) noexcept { return hsw_set_statistics(on); }
/// One moment as the limit of several calls:
///
///     const hsw::deadline all(2s);
///     all.within([&] { ... });
///     all.within([&] { ... });     // for as long as is left
///
/// By the thread's clock, so it belongs to the thread.
class deadline {
public:
    /// The moment so long from now; a time that is too long to be told is never.
    template <class Rep, class Period>
    explicit deadline(std::chrono::duration<Rep, Period> limit) {
        const std::uint64_t time = detail::nanoseconds(limit);
        const auto start = static_cast<std::uint64_t>(now().count());
        at_ = time > INT64_MAX || start > INT64_MAX - time ? HSW_NO_LIMIT : start + time;
    }
    /// Until then: zero when it is past, nothing when it is never.
    std::optional<std::chrono::nanoseconds> left() const {
        if (at_ == HSW_NO_LIMIT) {
            return std::nullopt;
        }
        const auto so_far = static_cast<std::uint64_t>(now().count());
        return std::chrono::nanoseconds(static_cast<std::int64_t>(at_ > so_far ? at_ - so_far : 0));
    }
    /// As hsw::within(), until this moment.
    template <class F>
    auto within(F&& function) const {
        return hsw::within(left().value_or(std::chrono::nanoseconds::max()), std::forward<F>(function));
    }

private:
    std::uint64_t at_;
};

/// Bytes of its window or stack that the calling tasklet has in use.
inline std::size_t stack_used() { return detail::ask(&hsw_stack_used); }

/// Figures of the calling thread's runtime; hardswitch.h says what each is.
using statistics = hsw_stats;
inline statistics stats() { return detail::ask(&hsw_get_stats); }

/// Counters of the calling thread; hardswitch.h says what each is.
inline hsw_counters counters() { return detail::ask(&hsw_get_counters); }

/// A line for each tasklet of the thread, for people; with `backtraces`, each started one's backtrace follows (slow).
inline std::string dump_tasklets(bool backtraces = false) {
    struct text {
        std::string words{};
        std::exception_ptr exception{};
        static void write(const char* piece, std::size_t length, void* user) noexcept {
            auto* const self = static_cast<text*>(user);
            try {
                self->words.append(piece, length);
            } catch (...) {
                self->exception = detail::caught();
            }
        }
    } out;
    detail::check(hsw_dump_tasklets(&text::write, &out, backtraces));
    if (out.exception) {
        std::rethrow_exception(out.exception);
    }
    return out.words;
}

/// Sizes and limits of a thread's runtime; hardswitch.h says what each is.
using settings = hsw_settings;
/// For machines with virtual memory.
inline settings default_settings() { return detail::ask(&hsw_settings_default); }
/// The limits of a console.
inline settings console_settings() { return detail::ask(&hsw_settings_console); }
/// Gives the calling thread its runtime. Must come before its first tasklet or channel, or not at all.
inline void init(const settings& wanted) { detail::check(hsw_init(&wanted)); }
/// The same, with the windows in memory of the host's, which must stay the thread's alone until it has ended.
inline void init_in(const settings& wanted, void* memory, std::size_t bytes) { detail::check(hsw_init_in(&wanted, memory, bytes)); }

/// Forbids switches for the time of its life: those that are tried throw hsw::switch_trap, and change nothing. For code in which a switch would break what
/// is not this library's, above all the initialisers of what is made at its first use.
class no_switch {
public:
    no_switch() noexcept { hsw_switch_trap(1); }
    ~no_switch() { hsw_switch_trap(-1); }
    no_switch(const no_switch&) = delete;
    no_switch& operator=(const no_switch&) = delete;
};

/// Makes the running tasklet atomic for the time of its life: no budget interrupts it. Nests. Ends on the tasklet that runs then.
class atomic {
public:
    atomic() : old_(current().set_atomic(true)) {}
    ~atomic() {
        hsw_tasklet now{};
        if (hsw_current(&now) == HSW_OK) {
            hsw_tasklet_set_atomic(now, old_, nullptr);
            hsw_tasklet_release(now);
        }
    }
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;

private:
    bool old_;
};

/// Forbids the running tasklet to block for the time of its life: what would block throws hsw::block_trap. For callbacks.
class no_block {
public:
    no_block() : tasklet_(current()), old_(tasklet_.set_block_trap(true)) {}
    ~no_block() { hsw_tasklet_set_block_trap(tasklet_.raw(), old_, nullptr); }
    no_block(const no_block&) = delete;
    no_block& operator=(const no_block&) = delete;

private:
    tasklet tasklet_;
    bool old_;
};

// ---------------------------------------------------------------------------------------------------------- callbacks

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

// ------------------------------------------------------------------------------------------------------ deep recursion

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

// ------------------------------------------------------------------------------------- the main loop, time and workers

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

// ------------------------------------------------------------------------------------------------------------ threads
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

// -------------------------------------------------------------------------------------- locks, conditions and their kin
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

// ------------------------------------------------------------------------------------------------ tasklet-local values

/// A T of its own for each tasklet that asks, made when it first asks and destroyed when it ends, in the tasklet: so the destructor may
/// still switch, but must not throw. Mostly a global; may be used from all threads. References stay good until reset(), set() or the end of
/// their tasklet, and must not be handed to other tasklets.
template <class T>
class local {
    static_assert(std::is_object_v<T>, "a tasklet-local value is an object");

public:
    /// Values begin as T().
    local() : local([] { return T(); }) {}
    /// Values begin as `make()` makes them, on whatever thread asks.
    explicit local(std::function<T()> make) : make_(std::move(make)) { detail::check(hsw_local_new(&destroy, &raw_)); }
    /// The values stay with their tasklets until those end.
    ~local() { hsw_local_release(raw_); }
    local(const local&) = delete;
    local& operator=(const local&) = delete;

    /// The calling tasklet's value.
    T& get() const {
        if (T* const value = find()) {
            return *value;
        }
        auto made = std::make_unique<T>(make_());
        if (T* const value = find()) {
            return *value; // make_ has asked for it itself
        }
        detail::check(hsw_local_set(raw_, made.get()));
        return *made.release();
    }
    T& operator*() const { return get(); }
    T* operator->() const { return &get(); }
    /// The calling tasklet's value if it has one; else null.
    T* find() const {
        void* value = nullptr;
        detail::check(hsw_local_get(raw_, &value));
        return static_cast<T*>(value);
    }
    /// Gives the calling tasklet a value in place of what it has.
    void set(T value) const {
        auto made = std::make_unique<T>(std::move(value));
        detail::check(hsw_local_set(raw_, made.get()));
        static_cast<void>(made.release());
    }
    /// Destroys the calling tasklet's value; the next get() makes a new one.
    void reset() const { detail::check(hsw_local_set(raw_, nullptr)); }

private:
    static void destroy(void* data) noexcept { delete static_cast<T*>(data); }

    std::function<T()> make_;
    hsw_local raw_{};
};

// ------------------------------------------------------------------------------------------------------ dicts and records

namespace detail {

/// A string for the C interface, where strings end in a zero byte.
inline const char* without_zero(const std::string& text) {
    if (text.find('\0') != std::string::npos) {
        throw usage_error(HSW_ERR_ARGUMENT, "a zero byte in a key, a name or a text");
    }
    return text.c_str();
}

/// What a function of the C interface that copies text has to say.
template <class Copy>
std::string text_of(Copy&& copy) {
    std::size_t length = 0;
    check(copy(nullptr, 0, &length));
    std::string out(length, '\0');
    check(copy(&out[0], length + 1, &length));
    return out;
}

} // namespace detail

/// Values by keys, in the order of their inserts, in few bytes (docs/dict.md). Copies are handles of the same dict. Belongs to the thread that made
/// it. The destructor of a T must not throw. It may use the dict, but not when the dict itself goes: then no handle is good any more.
template <class T>
class dict : public detail::handle<hsw_dict, &hsw_dict_retain, &hsw_dict_release> {
    static_assert(std::is_object_v<T> && std::is_move_constructible_v<T>, "a dict has movable objects");

public:
    explicit dict(hsw_dict_tuning tuning = HSW_DICT_COMPACT) { detail::check(hsw_dict_new(tuning, &detail::destroy_boxed<T>, &raw_)); }

    /// Sets the value of a key. A key that is there keeps its place. The value is gone when this throws.
    void set(const std::string& key, T value) const {
        auto boxed = std::make_unique<T>(std::move(value));
        detail::check(hsw_dict_set(raw_, detail::without_zero(key), boxed.get()));
        static_cast<void>(boxed.release());
    }
    /// The value of a key; null where there is none. It stays until the key is set or removed, the dict is cleared, or its last handle goes.
    T* find(const std::string& key) const {
        void* value = nullptr;
        detail::check(hsw_dict_get(raw_, detail::without_zero(key), &value, nullptr));
        return static_cast<T*>(value);
    }
    /// Takes the value of a key out, if there is one. The others keep their order.
    std::optional<T> remove(const std::string& key) const {
        void* value = nullptr;
        detail::check(hsw_dict_remove(raw_, detail::without_zero(key), &value, nullptr));
        const std::unique_ptr<T> boxed(static_cast<T*>(value));
        return boxed ? std::optional<T>(std::move(*boxed)) : std::nullopt;
    }
    /// Calls `visit(key, value)` for each entry in their order, with a `const char*` and a `T&`; if it returns a bool, until that is false. The dict
    /// cannot be changed meanwhile (state_error). What `visit` throws is thrown here.
    template <class F>
    void each(F visit) const {
        struct visitor {
            F& function;
            std::exception_ptr thrown;
            static bool call(const char* key, void* value, void* user) noexcept {
                auto& self = *static_cast<visitor*>(user);
                try {
                    if constexpr (std::is_void_v<std::invoke_result_t<F&, const char*, T&>>) {
                        self.function(key, *static_cast<T*>(value));
                        return true;
                    } else {
                        return self.function(key, *static_cast<T*>(value));
                    }
                }
                HSW_DETAIL_CATCH_FORCED
                catch (...) {
                    self.thrown = detail::caught();
                    return false;
                }
            }
        } caller{visit, nullptr};
        detail::check(hsw_dict_each(raw_, &visitor::call, &caller));
        if (caller.thrown) {
            std::rethrow_exception(std::exchange(caller.thrown, nullptr));
        }
    }

    std::size_t size() const { return detail::ask(&hsw_dict_count, raw_); }
    bool empty() const { return size() == 0; }
    /// Bytes on the heap, with the keys and without the values.
    std::size_t bytes() const { return detail::ask(&hsw_dict_bytes, raw_); }
    /// Makes room for `more` further entries: until then only keys and values take memory.
    void reserve(std::size_t more) const { detail::check(hsw_dict_reserve(raw_, more)); }
    /// Gives back the memory beyond the entries.
    void shrink() const { detail::check(hsw_dict_shrink(raw_)); }
    /// Removes all entries, and gives back the memory.
    void clear() const { detail::check(hsw_dict_clear(raw_)); }
};

/// A value of a record: nothing, a number, a text, or whatever a shared pointer holds.
using value = std::variant<std::monostate, std::int64_t, double, std::string, std::shared_ptr<void>>;

namespace detail {

using boxed_pointer = std::shared_ptr<void>;

/// Values on their way into a record: pointers in boxes that are ours until the library has taken them.
class lowered {
public:
    /// Texts are not copied: the values must outlive this object.
    explicit lowered(std::vector<value>&&) = delete;
    explicit lowered(const std::vector<value>& values) {
        raw_.reserve(values.size());
        for (const value& from : values) {
            hsw_value to{};
            if (const auto* integer = std::get_if<std::int64_t>(&from)) {
                to.kind = HSW_VALUE_INTEGER;
                to.of.integer = *integer;
            } else if (const auto* real = std::get_if<double>(&from)) {
                to.kind = HSW_VALUE_REAL;
                to.of.real = *real;
            } else if (const auto* text = std::get_if<std::string>(&from)) {
                to.kind = HSW_VALUE_TEXT;
                to.of.text = without_zero(*text);
            } else if (const auto* pointer = std::get_if<boxed_pointer>(&from)) {
                boxes_.push_back(std::make_unique<boxed_pointer>(*pointer));
                to.kind = HSW_VALUE_POINTER;
                to.of.pointer = boxes_.back().get();
            }
            raw_.push_back(to);
        }
    }
    const hsw_value* data() const noexcept { return raw_.data(); }
    std::size_t size() const noexcept { return raw_.size(); }
    /// The outcome of the call that was to take them.
    void taken(hsw_status status) {
        if (status == HSW_OK) {
            for (auto& box : boxes_) {
                static_cast<void>(box.release());
            }
        }
        check(status);
    }

private:
    std::vector<hsw_value> raw_{};
    std::vector<std::unique_ptr<boxed_pointer>> boxes_{};
};

inline value lifted(const hsw_value& from) {
    switch (from.kind) {
    case HSW_VALUE_INTEGER:
        return from.of.integer;
    case HSW_VALUE_REAL:
        return from.of.real;
    case HSW_VALUE_TEXT:
        return std::string(from.of.text);
    case HSW_VALUE_POINTER:
        return *static_cast<const boxed_pointer*>(from.of.pointer);
    default:
        return {};
    }
}

} // namespace detail

class record;

/// A type of records: a name and names of fields, made at run time, as Python's namedtuple makes them (docs/record.md). Copies are handles of the same
/// type. Belongs to the thread that made it.
class record_type : public detail::handle<hsw_record_type, &hsw_record_type_retain, &hsw_record_type_release> {
public:
    /// Throws usage_error with namedtuple's words if a name is not allowed; with `rename`, such fields are called `_0`, `_1`, by their place.
    explicit record_type(const std::string& name, const std::vector<std::string>& fields, bool rename = false) {
        const auto raw = names(fields);
        detail::check(hsw_record_type_new(detail::without_zero(name), raw.data(), raw.size(), rename,
                                          &detail::destroy_boxed<detail::boxed_pointer>, &raw_));
    }
    /// The same with defaults for the last fields.
    record_type with_defaults(const std::vector<value>& defaults) const {
        detail::lowered values(defaults);
        record_type out;
        values.taken(hsw_record_type_with_defaults(raw_, values.data(), values.size(), &out.raw_));
        return out;
    }
    /// A type with these fields and more of them.
    record_type extend(const std::string& name, const std::vector<std::string>& fields) const {
        const auto raw = names(fields);
        record_type out;
        detail::check(hsw_record_type_extend(raw_, detail::without_zero(name), raw.data(), raw.size(), &out.raw_));
        return out;
    }
    /// A record of these values; the last fields may be left to their defaults. Throws usage_error for too few and too many.
    inline record make(const std::vector<value>& values) const;

    std::size_t size() const { return detail::ask(&hsw_record_type_count, raw_); }
    std::string name() const {
        return detail::text_of([this](char* buffer, std::size_t size, std::size_t* length) { return hsw_record_type_name(raw_, buffer, size, length); });
    }
    std::string field(std::size_t index) const {
        return detail::text_of([&](char* buffer, std::size_t size, std::size_t* length) { return hsw_record_type_field(raw_, index, buffer, size, length); });
    }
    /// Which field has this name, from 0 on.
    std::size_t index(const std::string& field) const {
        std::size_t out = 0;
        detail::check(hsw_record_type_index(raw_, detail::without_zero(field), &out));
        return out;
    }

private:
    friend class record;
    record_type() noexcept = default;

    static std::vector<const char*> names(const std::vector<std::string>& fields) {
        std::vector<const char*> out;
        out.reserve(fields.size());
        for (const std::string& field : fields) {
            out.push_back(detail::without_zero(field));
        }
        return out;
    }
};

/// Values with the names of their fields. Copies are handles of the same record; copy() makes another one. Belongs to the thread that made it.
class record : public detail::handle<hsw_record, &hsw_record_retain, &hsw_record_release> {
public:
    record_type type() const {
        record_type out;
        detail::check(hsw_record_type_of(raw_, &out.raw_));
        return out;
    }
    /// A value by index or by name. Throws usage_error where there is none.
    value operator[](std::size_t index) const {
        hsw_value out{};
        detail::check(hsw_record_get(raw_, index, &out));
        return detail::lifted(out);
    }
    value operator[](const std::string& field) const {
        hsw_value out{};
        detail::check(hsw_record_get_named(raw_, detail::without_zero(field), &out));
        return detail::lifted(out);
    }
    void set(std::size_t index, value to) const {
        const std::vector<value> one{std::move(to)};
        detail::lowered values(one);
        values.taken(hsw_record_set(raw_, index, values.data()));
    }
    void set(const std::string& field, value to) const {
        const std::vector<value> one{std::move(to)};
        detail::lowered values(one);
        values.taken(hsw_record_set_named(raw_, detail::without_zero(field), values.data()));
    }
    record copy() const {
        record out;
        detail::check(hsw_record_copy(raw_, &out.raw_));
        return out;
    }
    /// As namedtuple's repr: `Point(x=1, y=2)`.
    std::string text() const {
        return detail::text_of([this](char* buffer, std::size_t size, std::size_t* length) { return hsw_record_text(raw_, buffer, size, length); });
    }
    /// As tuples of the values.
    friend bool operator==(const record& one, const record& other) {
        bool out = false;
        detail::check(hsw_record_equal(one.raw_, other.raw_, &out));
        return out;
    }
    friend bool operator!=(const record& one, const record& other) { return !(one == other); }
    /// Throws hsw::error where the first values that differ have no order.
    friend bool operator<(const record& one, const record& other) {
        std::int32_t out = 0;
        detail::check(hsw_record_compare(one.raw_, other.raw_, &out));
        return out < 0;
    }

private:
    friend class record_type;
    record() noexcept = default;
};

inline record record_type::make(const std::vector<value>& values) const {
    detail::lowered raw(values);
    record out;
    raw.taken(hsw_record_new(raw_, raw.data(), raw.size(), &out.raw_));
    return out;
}

// ------------------------------------------------------------------------------------------------------ clocks and timers

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

// ------------------------------------------------------------------------------------------------------------ sockets

/// poll() with POSIX's contract: it fails (io_error) only with an error of the call, never with that of a socket. Fills in `revents`;
/// returns how many descriptors have any, 0 after `limit`. `backend`: the calls that are used; null: the system's. Blocks the thread.
template <class Rep = std::int64_t, class Period = std::nano>
std::size_t poll(hsw_pollfd* fds, std::size_t count, std::chrono::duration<Rep, Period> limit = forever, const hsw_net_backend* backend = nullptr) {
    std::size_t ready = 0;
    detail::check(hsw_poll(backend, fds, count, detail::nanoseconds(limit), &ready));
    return ready;
}

/// As poll, with a signal mask (a `const sigset_t*`) meanwhile. Null: the thread's.
template <class Rep = std::int64_t, class Period = std::nano>
std::size_t ppoll(hsw_pollfd* fds, std::size_t count, const void* mask, std::chrono::duration<Rep, Period> limit = forever, const hsw_net_backend* backend = nullptr) {
    std::size_t ready = 0;
    detail::check(hsw_ppoll(backend, fds, count, detail::nanoseconds(limit), mask, &ready));
    return ready;
}

/// select() with POSIX's contract, as poll, for descriptors below `nfds`. The sets are the system's `fd_set`s, or null. (`select` is a
/// wait for channels.) Leaves in them what is ready; returns how many that are.
template <class Rep = std::int64_t, class Period = std::nano>
std::size_t select_fds(int nfds, void* read_set, void* write_set, void* except_set, std::chrono::duration<Rep, Period> limit = forever, const hsw_net_backend* backend = nullptr) {
    std::size_t ready = 0;
    detail::check(hsw_select_fds(backend, nfds, read_set, write_set, except_set, detail::nanoseconds(limit), &ready));
    return ready;
}

/// As select_fds, with a signal mask as in ppoll.
template <class Rep = std::int64_t, class Period = std::nano>
std::size_t pselect_fds(int nfds, void* read_set, void* write_set, void* except_set, const void* mask, std::chrono::duration<Rep, Period> limit = forever, const hsw_net_backend* backend = nullptr) {
    std::size_t ready = 0;
    detail::check(hsw_pselect_fds(backend, nfds, read_set, write_set, except_set, detail::nanoseconds(limit), mask, &ready));
    return ready;
}

/// The pending error of a socket (its number on Linux), which is no longer pending then; 0: none.
inline int take_error(int fd, const hsw_net_backend* backend = nullptr) {
    std::int32_t out = 0;
    detail::check(hsw_take_error(backend, fd, &out));
    return out;
}

/// Has the calling thread's main loop poll through this backend, which is copied; null: through the system's calls.
inline void set_loop_backend(const hsw_net_backend* backend) { detail::check(hsw_loop_set_backend(backend)); }

/// Blocks the tasklet until one of the events of `interest` (the bits of <poll.h>) has come for a descriptor of any kind, or an error or
/// hang-up, which are always waited for. Returns what has come. The descriptor stays the caller's: close it only when no tasklet waits for it.
/// Throws hsw::timeout (a `limit` of zero: it does not wait); io_error with EBADF if it is no open descriptor.
template <class Rep = std::int64_t, class Period = std::nano>
short fd_wait(int fd, short interest, std::chrono::duration<Rep, Period> limit = forever) {
    std::int16_t ready = 0;
    detail::check(hsw_fd_wait(fd, interest, detail::nanoseconds(limit), &ready));
    return ready;
}

/// The address of a socket.
class address {
public:
    /// An IP address ("127.0.0.1", "::1", "fe80::1%2") and a port. Looks no names up. Throws usage_error for another text.
    address(const std::string& ip, std::uint16_t port) { detail::check(hsw_address_parse(ip.c_str(), port, &raw_)); }
    explicit address(const hsw_address& raw) noexcept : raw_(raw) {}
    /// Of a Unix socket: a path, or '@' and an abstract name ("./@x" is a path). Throws usage_error if it is empty or longer than 107 bytes.
    static address unix_name(const std::string& name) {
        hsw_address raw{};
        detail::check(hsw_address_unix(detail::without_zero(name), &raw));
        return address(raw);
    }

    std::uint16_t port() const noexcept { return raw_.port; }
    /// "127.0.0.1:80", "[::1]:80", a path, '@' and an abstract name, or nothing for a Unix socket without a name.
    std::string text() const {
        std::size_t length = 0;
        detail::check(hsw_address_text(&raw_, nullptr, 0, &length));
        std::string out(length + 1, '\0');
        detail::check(hsw_address_text(&raw_, &out[0], out.size(), nullptr));
        out.resize(length);
        return out;
    }
    const hsw_address& raw() const noexcept { return raw_; }

    friend bool operator==(const address& one, const address& other) noexcept {
        return one.raw_.family == other.raw_.family && one.raw_.port == other.raw_.port && one.raw_.scope == other.raw_.scope &&
               one.raw_.name_length == other.raw_.name_length && std::memcmp(one.raw_.ip, other.raw_.ip, sizeof one.raw_.ip) == 0 &&
               std::memcmp(one.raw_.name, other.raw_.name, sizeof one.raw_.name) == 0;
    }
    friend bool operator!=(const address& one, const address& other) noexcept { return !(one == other); }

private:
    hsw_address raw_{};
};

/// The addresses of a host, given by name or address, with this port, in the order in which they are to be tried. Only the tasklet waits
/// while a name is looked up. Throws io_error (the name is unknown, has no address, ...); hsw::timeout.
template <class Rep = std::int64_t, class Period = std::nano>
std::vector<address> lookup(const std::string& host, std::uint16_t port, std::chrono::duration<Rep, Period> limit = forever) {
    std::vector<hsw_address> found(8);
    for (;;) {
        std::size_t count = 0;
        detail::check(hsw_lookup(detail::without_zero(host), port, detail::nanoseconds(limit), found.data(), found.size(), &count));
        const bool all = count <= found.size();
        found.resize(count);
        if (all) {
            return std::vector<address>(found.begin(), found.end());
        }
    }
}

/// What the look-ups of the process may use; hardswitch.h says what each is.
inline hsw_lookup_settings default_lookup_settings() { return detail::ask(&hsw_lookup_settings_default); }
inline hsw_lookup_settings console_lookup_settings() { return detail::ask(&hsw_lookup_settings_console); }
/// Sets it, for all threads. Throws usage_error for 0 threads. Kept answers are forgotten.
inline void configure_lookups(const hsw_lookup_settings& wanted) { detail::check(hsw_lookup_configure(&wanted)); }
/// Forgets the kept answer for a name, or all answers.
inline void forget_lookup(const std::string& host) { detail::check(hsw_lookup_forget(detail::without_zero(host))); }
inline void forget_lookups() { detail::check(hsw_lookup_forget(nullptr)); }

/// A datagram that has come.
struct datagram {
    std::size_t size;   // how many of its bytes are in the buffer
    std::size_t length; // how many it has; if that is more, the rest is lost
    address from;       // who has sent it
};

/// How the system finds out whether a silent peer is still there. Times are rounded up to whole seconds.
struct keepalive {
    std::chrono::nanoseconds idle;     // the silence after which it asks first
    std::chrono::nanoseconds interval; // between questions
    std::uint32_t probes;              // how many may stay without an answer
};

namespace detail {

/// What all sockets share. Copies are handles of the same socket; it is closed with the last one.
class any_socket : public handle<hsw_socket, &hsw_socket_retain, &hsw_socket_release> {
public:
    /// How long a single wait may last, in either direction; of a listener, a wait for a connection. `forever`: no limit.
    template <class Rep, class Period>
    void set_timeout(std::chrono::duration<Rep, Period> limit) {
        check(hsw_socket_set_timeout(raw_, nanoseconds(limit)));
    }
    /// The same of reads, receives and accepts alone.
    template <class Rep, class Period>
    void set_read_timeout(std::chrono::duration<Rep, Period> limit) {
        set(HSW_SOCKET_READ_TIMEOUT, nanoseconds(limit));
    }
    std::chrono::nanoseconds read_timeout() const { return time_of(get(HSW_SOCKET_READ_TIMEOUT)); }
    /// The room for what has come, or for what has not left yet, in bytes. The system may round it, Linux doubles it.
    void set_receive_buffer_size(std::size_t bytes) { set(HSW_SOCKET_RECEIVE_BUFFER, bytes); }
    std::size_t receive_buffer_size() const { return static_cast<std::size_t>(get(HSW_SOCKET_RECEIVE_BUFFER)); }
    void set_send_buffer_size(std::size_t bytes) { set(HSW_SOCKET_SEND_BUFFER, bytes); }
    std::size_t send_buffer_size() const { return static_cast<std::size_t>(get(HSW_SOCKET_SEND_BUFFER)); }
    /// The descriptor, for the system's calls. It stays the socket's: do not close it.
    int fd() const { return ask(&hsw_socket_fd, raw_); }
    /// The pending error (its number on Linux), which is no longer pending then; 0: none.
    int take_error() { return ask(&hsw_socket_take_error, raw_); }
    /// The address of this end.
    address local_address() const { return address(ask(&hsw_socket_local_address, raw_)); }
    /// Closes it at once, for all handles: whoever waits on it fails.
    void close() { check(hsw_socket_close(raw_)); }

protected:
    any_socket() noexcept = default;
    void set(hsw_socket_option option, std::uint64_t value) { check(hsw_socket_set_option(raw_, option, value)); }
    std::uint64_t get(hsw_socket_option option) const {
        std::uint64_t value = 0;
        check(hsw_socket_get_option(raw_, option, &value));
        return value;
    }
};

/// Of sockets that are connections or datagram sockets.
class two_way_socket : public any_socket {
public:
    /// How long a single wait of a write or a send may last.
    template <class Rep, class Period>
    void set_write_timeout(std::chrono::duration<Rep, Period> limit) {
        set(HSW_SOCKET_WRITE_TIMEOUT, nanoseconds(limit));
    }
    std::chrono::nanoseconds write_timeout() const { return time_of(get(HSW_SOCKET_WRITE_TIMEOUT)); }
    /// The address of the other end. Throws io_error (ENOTCONN) if there is none, or if it has gone.
    address peer_address() const { return address(ask(&hsw_socket_peer_address, raw_)); }
};

/// A connection. Buffers may lie on the tasklet's stack, also a sliced one. Failures: io_error, hsw::timeout.
class stream_socket : public two_way_socket {
public:
    /// Receives up to `size` bytes; waits while there are none. 0: the peer has ended the stream.
    std::size_t read(void* buffer, std::size_t size) {
        std::size_t received = 0;
        check(hsw_socket_read(raw_, buffer, size, &received));
        return received;
    }
    /// As read, into several buffers, which do not overlap: each is filled before the next one gets anything.
    std::size_t read_vectored(const hsw_buffer* buffers, std::size_t count) {
        std::size_t received = 0;
        check(hsw_socket_read_vectored(raw_, buffers, count, &received));
        return received;
    }
    /// Sends all of it. `sent` (may be null) gets how much the system has taken, also when this throws: who finds the time over goes on
    /// with the rest.
    void write_all(const void* data, std::size_t size, std::size_t* sent = nullptr) { check(hsw_socket_write(raw_, data, size, sent)); }
    /// As write_all, of several pieces, one after the other. Nothing is written to them.
    void write_all_vectored(const hsw_buffer* pieces, std::size_t count, std::size_t* sent = nullptr) {
        check(hsw_socket_write_vectored(raw_, pieces, count, sent));
    }
    /// Ends the sending: the peer reads to the end of the stream.
    void end_writing() { check(hsw_socket_end_writing(raw_)); }
    /// Ends the receiving: after what has come, readers are at the end of the stream, also those that wait.
    void end_reading() { check(hsw_socket_end_reading(raw_)); }
};

/// A socket that sends and receives datagrams: each is sent whole, or not at all. Buffers may lie on the tasklet's stack, also a sliced
/// one. Failures: io_error, hsw::timeout.
class datagram_socket : public two_way_socket {
public:
    /// From now on sends to this address, and receives only from there. Does not wait.
    void connect(const address& peer) { check(hsw_socket_connect(raw_, &peer.raw())); }
    /// Sends a datagram to the peer that it is connected to; waits while there is no room for it.
    void send(const void* data, std::size_t size) { check(hsw_socket_send(raw_, data, size, nullptr)); }
    /// The same, to an address.
    void send_to(const void* data, std::size_t size, const address& to) { check(hsw_socket_send(raw_, data, size, &to.raw())); }
    /// Waits for a datagram. What does not fit into the buffer is lost; the result says how much that is. Several tasklets may wait: each
    /// gets the next one, in the order in which they began.
    datagram receive(void* buffer, std::size_t size) { return next(&hsw_socket_receive, buffer, size); }
    /// As receive, but the datagram stays to be received again, all of it.
    datagram peek_from(void* buffer, std::size_t size) { return next(&hsw_socket_peek_from, buffer, size); }

private:
    template <class Call>
    datagram next(Call call, void* buffer, std::size_t size) {
        std::size_t received = 0, length = 0;
        hsw_address from{};
        check(call(raw_, buffer, size, &received, &length, &from));
        return datagram{received, length, address(from)};
    }
};

} // namespace detail

/// A TCP connection whose calls block the tasklet, not the thread. Copies are handles of the same connection; it is closed with the
/// last one. Buffers may lie on the tasklet's stack, also a sliced one. Failures: io_error, hsw::timeout.
class tcp_stream : public detail::stream_socket {
public:
    /// Connects to a host given by name or address; names are looked up by a worker.
    template <class Rep = std::int64_t, class Period = std::nano>
    static tcp_stream connect(const std::string& host, std::uint16_t port, std::chrono::duration<Rep, Period> limit = forever) {
        tcp_stream out;
        detail::check(hsw_tcp_connect(host.c_str(), port, detail::nanoseconds(limit), &out.raw_));
        return out;
    }

    /// As read, but the data stays to be read again.
    std::size_t peek(void* buffer, std::size_t size) {
        std::size_t received = 0;
        detail::check(hsw_socket_peek(raw_, buffer, size, &received));
        return received;
    }
    /// The port of this end.
    std::uint16_t port() const { return detail::ask(&hsw_socket_port, raw_); }
    /// Are small writes sent at once, instead of collected (Nagle)?
    void set_nodelay(bool nodelay) { set(HSW_SOCKET_NODELAY, nodelay); }
    bool nodelay() const { return get(HSW_SOCKET_NODELAY) != 0; }
    /// How many routers a packet may pass, 1 to 255.
    void set_ttl(std::uint32_t ttl) { set(HSW_SOCKET_TTL, ttl); }
    std::uint32_t ttl() const { return static_cast<std::uint32_t>(get(HSW_SOCKET_TTL)); }
    /// How long the last close may take to send what was not sent yet, rounded up to whole seconds; the system may block the thread that
    /// long. Zero: that is lost, and the connection reset. `forever`, the default: it is sent in the background.
    template <class Rep, class Period>
    void set_linger(std::chrono::duration<Rep, Period> limit) {
        set(HSW_SOCKET_LINGER, detail::nanoseconds(limit));
    }
    std::chrono::nanoseconds linger() const { return detail::time_of(get(HSW_SOCKET_LINGER)); }
    /// Has the system ask a silent peer whether it is still there; nothing, the default: it does not. Of a peer that is not, users of the
    /// connection are told with io_error (ETIMEDOUT).
    void set_keepalive(const std::optional<hsw::keepalive>& asked) {
        if (!asked) {
            return detail::check(hsw_socket_set_keepalive(raw_, nullptr));
        }
        const hsw_keepalive raw{detail::nanoseconds(asked->idle), detail::nanoseconds(asked->interval), asked->probes};
        detail::check(hsw_socket_set_keepalive(raw_, &raw));
    }
    std::optional<hsw::keepalive> keepalive() const {
        bool on = false;
        hsw_keepalive raw{};
        detail::check(hsw_socket_keepalive(raw_, &on, &raw));
        if (!on) {
            return std::nullopt;
        }
        return hsw::keepalive{detail::time_of(raw.idle_ns), detail::time_of(raw.interval_ns), raw.probes};
    }

private:
    friend class tcp_listener;
    tcp_stream() noexcept {}
};

/// Waits for TCP connections; otherwise as tcp_stream. Its timeout is that of accept().
class tcp_listener : public detail::any_socket {
public:
    /// Listens at an IP address and a port, 0 for any that is free. (The port of a listener that has just been closed can be had at once:
    /// SO_REUSEADDR is set.)
    explicit tcp_listener(const std::string& ip, std::uint16_t port = 0) {
        detail::check(hsw_tcp_listen(ip.c_str(), port, &raw_));
    }
    /// Waits for a connection.
    tcp_stream accept() {
        tcp_stream out;
        detail::check(hsw_tcp_accept(raw_, &out.raw_));
        return out;
    }
    std::uint16_t port() const { return detail::ask(&hsw_socket_port, raw_); }
};

/// A UDP socket whose calls block the tasklet, not the thread.
class udp_socket : public detail::datagram_socket {
public:
    /// With an IP address and a port, 0 for any that is free.
    explicit udp_socket(const std::string& ip, std::uint16_t port = 0) { detail::check(hsw_udp_bind(ip.c_str(), port, &raw_)); }
    /// With an address that others may have as well if they ask for it in this way: each gets what is sent to a group, and one of them what
    /// is sent to the address alone.
    static udp_socket shared(const std::string& ip, std::uint16_t port) {
        udp_socket out;
        detail::check(hsw_udp_bind_shared(ip.c_str(), port, &out.raw_));
        return out;
    }

    std::uint16_t port() const { return detail::ask(&hsw_socket_port, raw_); }
    /// May it send to broadcast addresses? By default it may not.
    void set_broadcast(bool may) { set(HSW_SOCKET_BROADCAST, may); }
    bool broadcast() const { return get(HSW_SOCKET_BROADCAST) != 0; }
    /// How many routers a datagram may pass, 1 to 255.
    void set_ttl(std::uint32_t ttl) { set(HSW_SOCKET_TTL, ttl); }
    std::uint32_t ttl() const { return static_cast<std::uint32_t>(get(HSW_SOCKET_TTL)); }
    /// Does this machine get what it sends to a group, also of IPv6? By default it does.
    void set_multicast_loop_v4(bool gets) { set(HSW_SOCKET_MULTICAST_LOOP, gets); }
    bool multicast_loop_v4() const { return get(HSW_SOCKET_MULTICAST_LOOP) != 0; }
    /// How many routers a datagram to a group may pass, also of IPv6, 0 to 255; 1, the default: none.
    void set_multicast_ttl_v4(std::uint32_t ttl) { set(HSW_SOCKET_MULTICAST_TTL, ttl); }
    std::uint32_t multicast_ttl_v4() const { return static_cast<std::uint32_t>(get(HSW_SOCKET_MULTICAST_TTL)); }
    /// Receives what is sent to the group, by the interface with this address; empty: the system chooses.
    void join_multicast_v4(const std::string& group, const std::string& interface = {}) {
        detail::check(hsw_udp_join_multicast_v4(raw_, group.c_str(), interface.empty() ? nullptr : interface.c_str()));
    }
    void leave_multicast_v4(const std::string& group, const std::string& interface = {}) {
        detail::check(hsw_udp_leave_multicast_v4(raw_, group.c_str(), interface.empty() ? nullptr : interface.c_str()));
    }
    /// The same, by the interface of this number; 0: the system chooses.
    void join_multicast_v6(const std::string& group, std::uint32_t interface = 0) {
        detail::check(hsw_udp_join_multicast_v6(raw_, group.c_str(), interface));
    }
    void leave_multicast_v6(const std::string& group, std::uint32_t interface = 0) {
        detail::check(hsw_udp_leave_multicast_v6(raw_, group.c_str(), interface));
    }

private:
    udp_socket() noexcept {}
};

/// A connection between two processes of this machine. Its names are those of address::unix_name.
class unix_stream : public detail::stream_socket {
public:
    /// Connects to the listener with this name; waits while its queue is full.
    template <class Rep = std::int64_t, class Period = std::nano>
    static unix_stream connect(const std::string& name, std::chrono::duration<Rep, Period> limit = forever) {
        unix_stream out;
        detail::check(hsw_unix_connect(detail::without_zero(name), detail::nanoseconds(limit), &out.raw_));
        return out;
    }
    /// Two connected sockets, without names.
    static std::pair<unix_stream, unix_stream> pair() {
        std::pair<unix_stream, unix_stream> out{unix_stream(), unix_stream()};
        detail::check(hsw_unix_pair(&out.first.raw_, &out.second.raw_));
        return out;
    }

private:
    friend class unix_listener;
    unix_stream() noexcept {}
};

/// Waits for connections of this machine. The file of a path stays when it is closed.
class unix_listener : public detail::any_socket {
public:
    explicit unix_listener(const std::string& name) { detail::check(hsw_unix_listen(detail::without_zero(name), &raw_)); }
    /// Waits for a connection.
    unix_stream accept() {
        unix_stream out;
        detail::check(hsw_unix_accept(raw_, &out.raw_));
        return out;
    }
};

/// A socket for datagrams between processes of this machine. They arrive whole, in order, and none is lost: a sender waits while the
/// receiver's queue is full.
class unix_datagram : public detail::datagram_socket {
public:
    /// Without a name: it can send.
    unix_datagram() { detail::check(hsw_unix_datagram(nullptr, &raw_)); }
    explicit unix_datagram(const std::string& name) { detail::check(hsw_unix_datagram(detail::without_zero(name), &raw_)); }
    /// Two connected sockets, without names.
    static std::pair<unix_datagram, unix_datagram> pair() {
        std::pair<unix_datagram, unix_datagram> out{unix_datagram(nothing{}), unix_datagram(nothing{})};
        detail::check(hsw_unix_datagram_pair(&out.first.raw_, &out.second.raw_));
        return out;
    }

private:
    struct nothing {};
    explicit unix_datagram(nothing) noexcept {}
};

// --------------------------------------------------------------------------------------------------------------- HTTP

/// A client for HTTP/1.1. The library has it if it was built with the feature `http`, as ci/install builds it; otherwise the linker names the function
/// that it misses.
namespace http {

/// What went wrong with a request; hardswitch.h says what each is.
enum class problem : int {
    none = HSW_HTTP_PROBLEM_NONE,
    bad_url = HSW_HTTP_PROBLEM_BAD_URL,
    bad_header = HSW_HTTP_PROBLEM_BAD_HEADER,
    bad_request = HSW_HTTP_PROBLEM_BAD_REQUEST,
    connect = HSW_HTTP_PROBLEM_CONNECT,
    connection = HSW_HTTP_PROBLEM_CONNECTION,
    too_slow = HSW_HTTP_PROBLEM_TOO_SLOW,
    short_head = HSW_HTTP_PROBLEM_SHORT_HEAD,
    head_too_long = HSW_HTTP_PROBLEM_HEAD_TOO_LONG,
    too_many_interim = HSW_HTTP_PROBLEM_TOO_MANY_INTERIM,
    bad_answer = HSW_HTTP_PROBLEM_BAD_ANSWER,
    unsupported = HSW_HTTP_PROBLEM_UNSUPPORTED,
    bad_redirect = HSW_HTTP_PROBLEM_BAD_REDIRECT,
    too_many_redirects = HSW_HTTP_PROBLEM_TOO_MANY_REDIRECTS,
    request_body = HSW_HTTP_PROBLEM_REQUEST_BODY,
    changed = HSW_HTTP_PROBLEM_CHANGED,
    no_range = HSW_HTTP_PROBLEM_NO_RANGE,
    short_body = HSW_HTTP_PROBLEM_SHORT_BODY,
    body_too_long = HSW_HTTP_PROBLEM_BODY_TOO_LONG,
    status = HSW_HTTP_PROBLEM_STATUS,
    other = HSW_HTTP_PROBLEM_OTHER,
};

/// What a request was doing when it failed.
enum class phase : int {
    preparing = HSW_HTTP_PHASE_PREPARING,
    connecting = HSW_HTTP_PHASE_CONNECTING,
    sending = HSW_HTTP_PHASE_SENDING,
    reading_head = HSW_HTTP_PHASE_READING_HEAD,
    redirecting = HSW_HTTP_PHASE_REDIRECTING,
    reading_body = HSW_HTTP_PHASE_READING_BODY,
};

/// A request that failed by what the server has answered, or not. what() names the method, the URL and the phase. The other failures of requests are
/// hsw::timeout, hsw::io_error (no connection, or it has failed) and usage_error (a request that cannot be sent), with the same words.
class error : public hsw::error {
public:
    error(hsw_status status, const std::string& words, const hsw_http_error& raw) : hsw::error(status, words), raw_(raw) {}
    http::problem problem() const noexcept { return static_cast<http::problem>(raw_.problem); }
    http::phase phase() const noexcept { return static_cast<http::phase>(raw_.phase); }
    /// If the problem is the status of the answer: the status, such as 404. Otherwise 0.
    unsigned answered() const noexcept { return raw_.status; }

private:
    hsw_http_error raw_;
};

} // namespace http

namespace detail {

/// As check(), for calls about requests.
inline void check_request(hsw_status status) {
    if (status == HSW_ERR_HTTP) {
        const std::string words = hsw_last_error_message();
        hsw_http_error raw{};
        hsw_http_last_error(&raw);
        throw http::error(status, words, raw);
    }
    check(status);
}

inline std::optional<std::uint64_t> known_length(std::uint64_t length) noexcept {
    return length == HSW_HTTP_UNKNOWN ? std::nullopt : std::optional<std::uint64_t>(length);
}

} // namespace detail

namespace http {

/// How much of an answer is kept, and how long it may take. `hsw::forever` is no limit.
struct limits {
    /// Those that a client has by default.
    limits() : limits(defaults().limits) {}
    explicit limits(const hsw_http_limits& raw)
        : head(raw.head), interim(raw.interim), redirects(raw.redirects), total(hsw::detail::time_of(raw.total_ns)),
          connect(hsw::detail::time_of(raw.connect_ns)), io(hsw::detail::time_of(raw.io_ns)), least_bytes(raw.least_bytes),
          least_time(hsw::detail::time_of(raw.least_time_ns)) {}

    std::size_t head;                   ///< bytes of all heads together
    std::size_t interim;                ///< interim answers (1xx)
    std::uint32_t redirects;            ///< redirects that are followed; 0: an answer that is one is returned
    std::chrono::nanoseconds total;     ///< from the beginning of the request to the end of the body
    std::chrono::nanoseconds connect;   ///< to look the name up and to connect
    std::chrono::nanoseconds io;        ///< for each read and write
    std::uint64_t least_bytes;          ///< the least speed: so many bytes of the answer ...
    std::chrono::nanoseconds least_time; ///< ... may take this time of waiting

    hsw_http_limits raw() const noexcept {
        hsw_http_limits out{};
        out.head = head;
        out.interim = interim;
        out.redirects = redirects;
        out.total_ns = hsw::detail::nanoseconds(total);
        out.connect_ns = hsw::detail::nanoseconds(connect);
        out.io_ns = hsw::detail::nanoseconds(io);
        out.least_bytes = least_bytes;
        out.least_time_ns = hsw::detail::nanoseconds(least_time);
        return out;
    }
    static hsw_http_settings defaults() { return hsw::detail::ask(&hsw_http_settings_default); }
};

/// What a client is to be.
struct settings {
    settings() : settings(http::limits::defaults()) {}
    http::limits limits;                ///< of its requests, if they do not say otherwise
    std::size_t idle;                   ///< connections that are kept for later requests
    std::chrono::nanoseconds idle_time; ///< how long one is kept without a request
    std::string user_agent{};           ///< the User-Agent field; empty: the library and its version

private:
    explicit settings(const hsw_http_settings& raw) : limits(raw.limits), idle(raw.idle), idle_time(hsw::detail::time_of(raw.idle_time_ns)) {}
};

/// An answer: its head is there, its body is read by the caller. Copies are handles of the same answer. Belongs to the thread that sent the request,
/// which is the worker's in an offload(). While one tasklet reads the body, another one can ask about the head; that reads it throws state_error.
///
/// A read whose time was up, or at whose tasklet something was thrown, has lost nothing: the next one goes on where it was. Every other failure is
/// final, and each later read throws it again (but error of body_too_long, and what a sink has thrown: the bytes are still there).
class answer : public hsw::detail::handle<hsw_http_answer, &hsw_http_answer_retain, &hsw_http_answer_release> {
public:
    /// The status code, 200 for a success.
    unsigned status() const { return info().status; }
    /// The server's word for it; may be empty.
    std::string reason() const { return text(&hsw_http_answer_reason); }
    /// The URL that has answered: after a redirect, the last one.
    std::string url() const { return text(&hsw_http_answer_url); }
    /// The first header field of that name (upper and lower case are the same); nothing if there is none.
    std::optional<std::string> header(const std::string& name) const {
        const char* const raw = hsw::detail::without_zero(name);
        bool found = false;
        std::string value = hsw::detail::text_of([&](char* buffer, std::size_t capacity, std::size_t* length) {
            return hsw_http_answer_header(raw_, raw, buffer, capacity, length, &found);
        });
        return found ? std::optional<std::string>(std::move(value)) : std::nullopt;
    }
    /// All header fields, with names in lower case; those of one name in the order they came.
    std::vector<std::pair<std::string, std::string>> headers() const {
        std::vector<std::pair<std::string, std::string>> out;
        const std::size_t count = info().headers;
        for (std::size_t at = 0; at < count; ++at) {
            out.emplace_back(text(&hsw_http_answer_header_name, at), text(&hsw_http_answer_header_value, at));
        }
        return out;
    }
    /// The length of the body, if it was announced. After a HEAD, what a GET would have.
    std::optional<std::uint64_t> length() const { return hsw::detail::known_length(info().length); }
    /// Bytes of the body that were read so far.
    std::uint64_t received() const { return info().received; }
    /// Of a download: which byte of the file comes first, 0 or where the earlier one has ended.
    std::uint64_t start() const { return info().start; }
    /// Of a download: the length of the whole file, if the server says it.
    std::optional<std::uint64_t> file_length() const { return hsw::detail::known_length(info().file_length); }
    /// What tells this version of the file from another, for download::resume_from; empty if the server sends nothing that is good for that.
    std::string validator() const { return text(&hsw_http_answer_validator); }
    /// Throws http::error if the status is none of success (2xx). The body can be read all the same.
    void check_status() const { hsw::detail::check_request(hsw_http_answer_check_status(raw_)); }

    /// Reads up to `size` bytes of the body; waits while there are none. 0: its end.
    std::size_t read(void* buffer, std::size_t size) {
        std::size_t received = 0;
        hsw::detail::check_request(hsw_http_answer_read(raw_, buffer, size, &received));
        return received;
    }
    /// The rest of the body. Throws http::error (body_too_long) if that has more than `limit` bytes.
    std::string read_all(std::size_t limit) {
        void* data = nullptr;
        std::size_t size = 0;
        hsw::detail::check_request(hsw_http_answer_read_all(raw_, limit, &data, &size));
        struct memory {
            ~memory() { std::free(data); }
            void* data;
        } const kept{data};
        return std::string(static_cast<const char*>(data), size);
    }
    /// Calls `sink(data, size)` with each piece (a const char* and its size) of the rest of the body, and `progress(received, length)` after it: how many
    /// bytes have come, and how many there are in all (a std::optional), of a download those of the whole file. Both may wait. What they throw arrives
    /// here; then the connection is still there, and a piece that the sink has thrown at comes again. Returns how many bytes it has copied.
    template <class Sink, class Progress>
    std::uint64_t copy_to(Sink&& sink, Progress&& progress) {
        struct call {
            std::remove_reference_t<Sink>& sink;
            std::remove_reference_t<Progress>& progress;
            static hsw_status take(void* user, const void* data, std::size_t size, std::uint64_t received, std::uint64_t length) noexcept {
                return hsw::detail::guard([&] {
                    auto* const self = static_cast<call*>(user);
                    self->sink(static_cast<const char*>(data), size);
                    self->progress(received, hsw::detail::known_length(length));
                });
            }
        } both{sink, progress};
        std::uint64_t copied = 0;
        hsw::detail::check_request(hsw_http_answer_copy_to(raw_, &call::take, &both, &copied));
        return copied;
    }
    template <class Sink>
    std::uint64_t copy_to(Sink&& sink) {
        return copy_to(std::forward<Sink>(sink), [](std::uint64_t, std::optional<std::uint64_t>) {});
    }

private:
    friend class request;
    friend class download;
    answer() noexcept {}
    hsw_http_answer_info info() const { return hsw::detail::ask(&hsw_http_answer_get_info, raw_); }
    template <class Copy, class... At>
    std::string text(Copy copy, At... at) const {
        return hsw::detail::text_of([&](char* buffer, std::size_t capacity, std::size_t* length) { return copy(raw_, at..., buffer, capacity, length); });
    }
};

class client;
class download;

/// A request that is put together, from client::request() and its like. What is wrong with it is thrown by send().
class request {
public:
    /// Adds a header field. It replaces the client's own Accept, Host or User-Agent. Fields that frame messages, such as Content-Length, are refused.
    request& header(const std::string& name, const std::string& value) {
        hsw::detail::without_zero(name);
        hsw::detail::without_zero(value);
        headers_.emplace_back(name, value);
        return *this;
    }
    /// Sends these bytes as the body.
    request& body(std::string bytes) {
        body_ = std::move(bytes);
        return *this;
    }
    /// Sends what `source(buffer, size)` gives as the body: it writes up to `size` bytes to a char* and returns how many, 0 at the end. They are `length`
    /// bytes; without a length, they are sent in chunks. It may wait. What it throws arrives at who sends (or reads the answer, if the server answers
    /// before it has read everything); the server sees half a request then. It lives until it is not needed any more, with the answer at the latest.
    template <class Source>
    request& body_from(Source source, std::optional<std::uint64_t> length = std::nullopt) {
        source_ = std::make_unique<std::function<std::size_t(char*, std::size_t)>>(std::move(source));
        length_ = length;
        return *this;
    }
    /// The time for all of it, from send() to the end of the body.
    template <class Rep, class Period>
    request& timeout(std::chrono::duration<Rep, Period> total) {
        timeout_ns_ = std::max<std::uint64_t>(hsw::detail::nanoseconds(total), 1);
        return *this;
    }
    request& limits(const http::limits& wanted) {
        limits_ = wanted.raw();
        return *this;
    }
    /// Sends it, once, and returns when the head of its answer has come. The status is not judged: see answer::check_status().
    http::answer send() {
        http::answer out;
        with_raw([&](const hsw_http_request* raw) { hsw::detail::check_request(hsw_http_send(client_->raw(), raw, &out.raw_)); });
        return out;
    }

private:
    friend class client;
    friend class download;
    using client_handle = hsw::detail::handle<hsw_http_client, &hsw_http_client_retain, &hsw_http_client_release>;
    request(const client_handle& by, std::string method, std::string url)
        : client_(std::make_unique<client_handle>(by)), method_(std::move(method)), url_(std::move(url)) {
        hsw::detail::without_zero(method_);
        hsw::detail::without_zero(url_);
    }

    static hsw_status give(void* user, void* buffer, std::size_t size, std::size_t* given) noexcept {
        return hsw::detail::guard([&] {
            *given = (*static_cast<std::function<std::size_t(char*, std::size_t)>*>(user))(static_cast<char*>(buffer), size);
        });
    }

    template <class Send>
    void with_raw(Send&& send) {
        std::vector<hsw_http_header> headers;
        for (const auto& header : headers_) {
            headers.push_back({header.first.c_str(), header.second.c_str()});
        }
        hsw_http_request raw{};
        raw.url = url_.c_str();
        raw.method = method_.c_str();
        raw.headers = headers.data();
        raw.header_count = headers.size();
        if (body_) {
            raw.body = body_->data();
            raw.body_size = body_->size();
        }
        if (source_) {
            raw.source = &request::give;
            raw.source_has_length = length_.has_value();
            raw.source_length = length_.value_or(0);
            raw.user = source_.release();
            raw.destroy_user = &hsw::detail::destroy_boxed<std::function<std::size_t(char*, std::size_t)>>;
        }
        raw.limits = limits_ ? &*limits_ : nullptr;
        raw.timeout_ns = timeout_ns_;
        send(&raw);
    }

    std::unique_ptr<client_handle> client_;
    std::string method_;
    std::string url_;
    std::vector<std::pair<std::string, std::string>> headers_{};
    std::optional<std::string> body_{};
    std::unique_ptr<std::function<std::size_t(char*, std::size_t)>> source_{};
    std::optional<std::uint64_t> length_{};
    std::optional<hsw_http_limits> limits_{};
    std::uint64_t timeout_ns_ = 0;
};

/// A file that is loaded, and may go on where an earlier download has ended; from client::download().
class download {
public:
    /// The first `bytes` of the file are there already, and are of the version that answer::validator() has told. The server is asked for the rest if the
    /// file is still the same; whether `bytes` are all, only the length that a HEAD tells can say.
    download& resume_from(std::uint64_t bytes, const std::string& validator) {
        hsw::detail::without_zero(validator);
        from_ = bytes;
        validator_ = validator;
        return *this;
    }
    /// If the file is another one now, or shorter, or the server sends no parts: load the whole file, answer::start() is 0 then. Otherwise send() throws
    /// http::error (changed, no_range).
    download& start_anew_if_changed() {
        start_anew_ = true;
        return *this;
    }
    download& header(const std::string& name, const std::string& value) {
        request_.header(name, value);
        return *this;
    }
    template <class Rep, class Period>
    download& timeout(std::chrono::duration<Rep, Period> total) {
        request_.timeout(total);
        return *this;
    }
    download& limits(const http::limits& wanted) {
        request_.limits(wanted);
        return *this;
    }
    /// Sends the request, and returns when the head of its answer has come. An answer that is no file is an http::error (status).
    http::answer send() {
        const hsw_http_resume resume{from_, validator_.c_str(), start_anew_};
        http::answer out;
        request_.with_raw([&](const hsw_http_request* raw) {
            hsw::detail::check_request(hsw_http_download(request_.client_->raw(), raw, &resume, &out.raw_));
        });
        return out;
    }

private:
    friend class client;
    explicit download(request&& file) noexcept : request_(std::move(file)) {}

    request request_;
    std::uint64_t from_ = 0;
    std::string validator_{};
    bool start_anew_ = false;
};

/// Sends requests, and keeps connections for the next ones. Copies are handles of the same client. Any thread may use it: in a tasklet, or in main, only
/// that waits; in an offload() the worker does.
class client : public hsw::detail::handle<hsw_http_client, &hsw_http_client_retain, &hsw_http_client_release> {
public:
    client() { hsw::detail::check(hsw_http_client_new(nullptr, &raw_)); }
    explicit client(const settings& wanted) {
        hsw_http_settings raw{};
        raw.limits = wanted.limits.raw();
        raw.idle = wanted.idle;
        raw.idle_time_ns = hsw::detail::nanoseconds(wanted.idle_time);
        raw.user_agent = wanted.user_agent.empty() ? nullptr : hsw::detail::without_zero(wanted.user_agent);
        hsw::detail::check(hsw_http_client_new(&raw, &raw_));
    }

    /// A request with this method, an upper-case word as a rule.
    http::request request(const std::string& method, const std::string& url) const { return http::request(*this, method, url); }
    http::request get(const std::string& url) const { return request("GET", url); }
    http::request head(const std::string& url) const { return request("HEAD", url); }
    http::request post(const std::string& url) const { return request("POST", url); }
    http::request put(const std::string& url) const { return request("PUT", url); }
    http::request del(const std::string& url) const { return request("DELETE", url); }
    /// A file, which may go on where an earlier download has ended.
    http::download download(const std::string& url) const { return http::download(get(url)); }
    /// How many connections are kept for later requests.
    std::size_t idle() const { return hsw::detail::ask(&hsw_http_client_idle, raw_); }
};

} // namespace http

} // namespace hsw

#undef HSW_DETAIL_CATCH_FORCED

#endif
#endif
