// Records: values with names, of types that are made at run time. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_RECORD_HPP
#define HARDSWITCH_RECORD_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "error.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace hsw {

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

} // namespace hsw

#endif
#endif
