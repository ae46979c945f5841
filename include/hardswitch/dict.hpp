// Dicts: values by keys in few bytes. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_DICT_HPP
#define HARDSWITCH_DICT_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "error.hpp"

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace hsw {

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

} // namespace hsw

#endif
#endif
