// Values that each tasklet has for itself. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_LOCAL_HPP
#define HARDSWITCH_LOCAL_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "error.hpp"

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace hsw {

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

} // namespace hsw

#endif
#endif
