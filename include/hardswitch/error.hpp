// The errors of the library, and what all parts of the header share. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_ERROR_HPP
#define HARDSWITCH_ERROR_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "../hardswitch.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cxxabi.h>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace hsw {

namespace thread {
template <class T>
class channel;
class remote;
} // namespace thread

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

} // namespace hsw

#endif
#endif
