// Running tasklets, limits of time, settings and guards. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_SCHEDULER_HPP
#define HARDSWITCH_SCHEDULER_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "tasklet.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace hsw {

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

} // namespace hsw

#endif
#endif
