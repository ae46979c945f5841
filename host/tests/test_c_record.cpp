// Dicts and records of the C interface: what they promise, and what they say of bad input.
#include "c_helpers.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

namespace {

hsw_value none() { return {}; }
hsw_value integer(std::int64_t n) {
    hsw_value out{};
    out.kind = HSW_VALUE_INTEGER;
    out.of.integer = n;
    return out;
}
hsw_value real(double n) {
    hsw_value out{};
    out.kind = HSW_VALUE_REAL;
    out.of.real = n;
    return out;
}
hsw_value text(const char* words) {
    hsw_value out{};
    out.kind = HSW_VALUE_TEXT;
    out.of.text = words;
    return out;
}
hsw_value pointer(void* to) {
    hsw_value out{};
    out.kind = HSW_VALUE_POINTER;
    out.of.pointer = to;
    return out;
}
hsw_value counted_pointer(int& freed) { return pointer(new counted{&freed}); }

hsw_record_type new_type(const char* name, const std::vector<const char*>& fields, hsw_destroy destroy = nullptr) {
    hsw_record_type out{};
    REQUIRE(hsw_record_type_new(name, fields.data(), fields.size(), false, destroy, &out) == HSW_OK);
    return out;
}
hsw_record new_record(hsw_record_type type, const std::vector<hsw_value>& values) {
    hsw_record out{};
    REQUIRE(hsw_record_new(type, values.data(), values.size(), &out) == HSW_OK);
    return out;
}
std::string words_of(hsw_record record) {
    std::array<char, 256> buffer{};
    std::size_t length = 0;
    REQUIRE(hsw_record_text(record, buffer.data(), buffer.size(), &length) == HSW_OK);
    CHECK(length == std::strlen(buffer.data()));
    return buffer.data();
}
hsw_status try_type(const char* name, const std::vector<const char*>& fields, bool rename = false) {
    hsw_record_type out{};
    const hsw_status status = hsw_record_type_new(name, fields.data(), fields.size(), rename, nullptr, &out);
    if (status == HSW_OK) {
        CHECK(hsw_record_type_release(out) == HSW_OK);
    } else {
        CHECK(out.handle == 0);
    }
    return status;
}
int order(hsw_record one, hsw_record other) {
    std::int32_t out = 7;
    const hsw_status status = hsw_record_compare(one, other, &out);
    return status == HSW_OK ? out : status == HSW_ERR_WRONG_TYPE ? 9 : 99;
}

hsw_dict new_dict(hsw_destroy destroy = nullptr, int tuning = HSW_DICT_COMPACT) {
    hsw_dict out{};
    REQUIRE(hsw_dict_new(tuning, destroy, &out) == HSW_OK);
    return out;
}
bool append(const char* key, void* value, void* user) {
    auto& out = *static_cast<std::string*>(user);
    out += std::string(key) + "=" + std::to_string(reinterpret_cast<std::uintptr_t>(value)) + " ";
    return true;
}
std::string entries(hsw_dict dict) {
    std::string out;
    REQUIRE(hsw_dict_each(dict, &append, &out) == HSW_OK);
    return out;
}
std::size_t size(hsw_dict dict) {
    std::size_t out = 99;
    REQUIRE(hsw_dict_count(dict, &out) == HSW_OK);
    return out;
}
std::size_t bytes(hsw_dict dict) {
    std::size_t out = 99;
    REQUIRE(hsw_dict_bytes(dict, &out) == HSW_OK);
    return out;
}

} // namespace

TEST_CASE("a record has values of all kinds by index and by name, and the words of a namedtuple") {
    const no_leaks check;
    const hsw_record_type type = new_type("Npc", {"id", "speed", "name", "what", "nothing"});
    std::string name = "it's";
    const hsw_record record = new_record(type, {integer(-7), real(2.5), text(name.c_str()), pointer(number(0x10)), none()});
    name = "gone"; // the text was copied
    CHECK(words_of(record) == "Npc(id=-7, speed=2.5, name=\"it's\", what=0x10, nothing=None)");
    hsw_value value{};
    CHECK(hsw_record_get(record, 0, &value) == HSW_OK);
    CHECK((value.kind == HSW_VALUE_INTEGER && value.of.integer == -7));
    CHECK(hsw_record_get_named(record, "speed", &value) == HSW_OK);
    CHECK((value.kind == HSW_VALUE_REAL && value.of.real == 2.5));
    CHECK(hsw_record_get_named(record, "name", &value) == HSW_OK);
    CHECK((value.kind == HSW_VALUE_TEXT && std::string(value.of.text) == "it's"));
    CHECK(hsw_record_get(record, 3, &value) == HSW_OK);
    CHECK((value.kind == HSW_VALUE_POINTER && value.of.pointer == number(0x10)));
    CHECK(hsw_record_get(record, 4, &value) == HSW_OK);
    CHECK(value.kind == HSW_VALUE_NONE);

    const hsw_value other = integer(INT64_MIN);
    CHECK(hsw_record_set_named(record, "nothing", &other) == HSW_OK);
    CHECK(hsw_record_set(record, 3, &value) == HSW_OK);
    CHECK(words_of(record) == "Npc(id=-7, speed=2.5, name=\"it's\", what=None, nothing=-9223372036854775808)");

    std::size_t count = 0;
    CHECK(hsw_record_type_count(type, &count) == HSW_OK);
    CHECK(count == 5);
    std::array<char, 4> small{};
    std::size_t length = 0;
    CHECK(hsw_record_type_field(type, 1, small.data(), small.size(), &length) == HSW_OK);
    CHECK((std::string(small.data()) == "spe" && length == 5));
    CHECK(hsw_record_type_name(type, small.data(), small.size(), nullptr) == HSW_OK);
    CHECK(std::string(small.data()) == "Npc");
    std::size_t index = 0;
    CHECK(hsw_record_type_index(type, "what", &index) == HSW_OK);
    CHECK(index == 3);
    hsw_record_type its{};
    CHECK(hsw_record_type_release(type) == HSW_OK);
    CHECK(hsw_record_type_of(record, &its) == HSW_OK);
    CHECK(hsw_record_type_count(its, &count) == HSW_OK);
    CHECK(hsw_record_type_release(its) == HSW_OK);
    CHECK(hsw_record_release(record) == HSW_OK);
}

TEST_CASE("names of records are refused with the words of namedtuple, or renamed") {
    const no_leaks check;
    const std::vector<std::pair<std::vector<const char*>, const char*>> bad = {
        {{"x", "class"}, "Type names and field names cannot be a keyword: 'class'"},
        {{"1x"}, "Type names and field names must be valid identifiers: '1x'"},
        {{""}, "Type names and field names must be valid identifiers: ''"},
        {{"_x"}, "Field names cannot start with an underscore: '_x'"},
        {{"x", "y", "x"}, "Encountered duplicate field name: 'x'"},
        {{"\xff"}, "Type names and field names must be valid identifiers: '\xef\xbf\xbd'"},
    };
    for (const auto& [fields, words] : bad) {
        CHECK(try_type("T", fields) == HSW_ERR_ARGUMENT);
        CHECK(last_message() == words);
        CHECK(try_type("T", fields, true) == HSW_OK);
    }
    CHECK(try_type("not good", {}) == HSW_ERR_ARGUMENT);
    CHECK(try_type("not good", {}, true) == HSW_ERR_ARGUMENT);
    const std::array<const char*, 3> fields{"a", "class", "a"};
    hsw_record_type renamed{};
    CHECK(hsw_record_type_new("T", fields.data(), 3, true, nullptr, &renamed) == HSW_OK);
    const hsw_record record = new_record(renamed, {none(), none(), none()});
    CHECK(words_of(record) == "T(a=None, _1=None, _2=None)");
    CHECK(hsw_record_release(record) == HSW_OK);
    CHECK(hsw_record_type_release(renamed) == HSW_OK);
}

TEST_CASE("a record type may have no fields, or ten thousand; it has defaults, and is extended") {
    const no_leaks check;
    const hsw_record_type empty = new_type("Empty", {});
    const hsw_record nothing = new_record(empty, {});
    CHECK(words_of(nothing) == "Empty()");
    CHECK(hsw_record_release(nothing) == HSW_OK);

    std::vector<std::string> names;
    std::vector<const char*> fields;
    std::vector<hsw_value> values;
    for (int n = 0; n < 10'000; ++n) {
        names.push_back("field" + std::to_string(n));
        values.push_back(integer(n));
    }
    for (const std::string& name : names) {
        fields.push_back(name.c_str());
    }
    hsw_record_type many{};
    CHECK(hsw_record_type_extend(empty, "Many", fields.data(), fields.size(), &many) == HSW_OK);
    const hsw_record large = new_record(many, values);
    hsw_value value{};
    CHECK(hsw_record_get_named(large, "field9876", &value) == HSW_OK);
    CHECK(value.of.integer == 9876);
    CHECK(hsw_record_release(large) == HSW_OK);
    CHECK(hsw_record_type_release(many) == HSW_OK);
    CHECK(hsw_record_type_release(empty) == HSW_OK);

    int freed = 0;
    const hsw_record_type bare = new_type("Account", {"owner", "balance", "data"}, &destroy_counted);
    const std::array<hsw_value, 2> defaults{integer(5), counted_pointer(freed)};
    hsw_record_type with{};
    CHECK(hsw_record_type_with_defaults(bare, defaults.data(), 2, &with) == HSW_OK);
    hsw_record record{};
    CHECK(hsw_record_new(with, nullptr, 0, &record) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "Missing a value for the field 'owner'");
    const hsw_record one = new_record(with, {text("a")});
    CHECK(has(words_of(one), "Account(owner='a', balance=5, data=0x"));
    CHECK(hsw_record_new(bare, defaults.data(), 1, &record) == HSW_ERR_ARGUMENT);
    CHECK(hsw_record_type_release(with) == HSW_OK);
    CHECK(freed == 0); // the record shares it
    CHECK(hsw_record_release(one) == HSW_OK);
    CHECK(freed == 1);
    CHECK(hsw_record_type_release(bare) == HSW_OK);
}

TEST_CASE("pointers of records are freed with the last copy; what a refused call was given is still the caller's") {
    const no_leaks check;
    int freed = 0;
    const hsw_record_type type = new_type("Pair", {"one", "other"}, &destroy_counted);
    const hsw_value first = counted_pointer(freed);
    const hsw_value second = counted_pointer(freed);
    const hsw_value third = counted_pointer(freed);
    const std::array<hsw_value, 3> values{first, second, third};

    hsw_record record{};
    CHECK(hsw_record_new(type, values.data(), 3, &record) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "Expected 2 arguments, got more");
    CHECK(hsw_record_new(type, values.data(), 1, &record) == HSW_ERR_ARGUMENT);
    CHECK(hsw_record_new(type, nullptr, 2, &record) == HSW_ERR_NULL);
    CHECK(hsw_record_new(type, values.data(), 2, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_record_new({}, values.data(), 2, &record) == HSW_ERR_NULL);
    std::array<hsw_value, 2> wrong{first, second};
    wrong[1].kind = 5;
    CHECK(hsw_record_new(type, wrong.data(), 2, &record) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "5 is no kind of a value");
    wrong[1].kind = -1;
    CHECK(hsw_record_new(type, wrong.data(), 2, &record) == HSW_ERR_ARGUMENT);
    wrong[1] = text(nullptr);
    CHECK(hsw_record_new(type, wrong.data(), 2, &record) == HSW_ERR_NULL);
    hsw_record_type other_type{};
    CHECK(hsw_record_type_with_defaults(type, values.data(), 3, &other_type) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "Got more default values than field names");
    CHECK(freed == 0);
    CHECK(record.handle == 0);

    REQUIRE(hsw_record_new(type, values.data(), 2, &record) == HSW_OK);
    CHECK(hsw_record_set(record, 2, &third) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "Pair has 2 fields, and none with index 2");
    CHECK(hsw_record_set_named(record, "none", &third) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "Got unexpected field names: ['none']");
    CHECK(hsw_record_set_named(record, nullptr, &third) == HSW_ERR_NULL);
    CHECK(hsw_record_set(record, 0, nullptr) == HSW_ERR_NULL);
    CHECK(freed == 0);
    hsw_record copy{};
    CHECK(hsw_record_copy(record, &copy) == HSW_OK);
    CHECK(hsw_record_set(record, 0, &third) == HSW_OK);
    CHECK(freed == 0); // the copy shares it
    const hsw_value nothing = none();
    CHECK(hsw_record_set(copy, 0, &nothing) == HSW_OK);
    CHECK(freed == 1);
    CHECK(hsw_record_release(record) == HSW_OK);
    CHECK(freed == 2);
    CHECK(hsw_record_type_release(type) == HSW_OK);
    CHECK(hsw_record_release(copy) == HSW_OK);
    CHECK(freed == 3);
}

TEST_CASE("records are compared as tuples: numbers as numbers, and what has no order is told") {
    const no_leaks check;
    const hsw_record_type one = new_type("One", {"a", "b"});
    const hsw_record_type other = new_type("Other", {"b", "c"});
    const auto compared = [&](hsw_value a, hsw_value b) {
        const hsw_record left = new_record(one, {integer(1), a});
        const hsw_record right = new_record(other, {real(1.0), b});
        bool equal = false;
        CHECK(hsw_record_equal(left, right, &equal) == HSW_OK);
        const int out = order(left, right);
        CHECK(equal == (out == 0));
        CHECK((out > 1 ? out : -out) == order(right, left));
        CHECK(hsw_record_release(left) == HSW_OK);
        CHECK(hsw_record_release(right) == HSW_OK);
        return out;
    };
    CHECK(compared(integer(2), real(2.0)) == 0);
    CHECK(compared(integer(2), real(2.5)) == -1);
    CHECK(compared(integer(-2), real(-2.5)) == 1);
    CHECK(compared(integer(INT64_MAX), real(9223372036854775808.0)) == -1);
    CHECK(compared(integer(INT64_MIN), real(-9223372036854775808.0)) == 0);
    CHECK(compared(integer(INT64_MIN), real(-1e300)) == 1);
    CHECK(compared(integer((1LL << 53) + 1), real(9007199254740992.0)) == 1);
    CHECK(compared(integer(0), real(std::nan(""))) == 9);
    CHECK(compared(real(INFINITY), integer(INT64_MAX)) == 1);
    CHECK(compared(text("a"), text("b")) == -1);
    CHECK(compared(text("same"), text("same")) == 0);
    CHECK(compared(none(), none()) == 0);
    CHECK(compared(none(), integer(0)) == 9);
    CHECK(compared(text("1"), integer(1)) == 9);
    CHECK(compared(pointer(number(1)), pointer(number(1))) == 0);
    CHECK(compared(pointer(number(1)), pointer(number(2))) == 9);

    const hsw_record_type three = new_type("Three", {"a", "b", "c"});
    const hsw_record longer = new_record(three, {integer(1), integer(2), integer(3)});
    const hsw_record shorter = new_record(one, {integer(1), integer(2)});
    CHECK(order(shorter, longer) == -1);
    bool equal = true;
    CHECK(hsw_record_equal(shorter, longer, &equal) == HSW_OK);
    CHECK_FALSE(equal);
    CHECK(order(shorter, shorter) == 0);
    for (const hsw_record record : {longer, shorter}) {
        CHECK(hsw_record_release(record) == HSW_OK);
    }
    for (const hsw_record_type type : {one, other, three}) {
        CHECK(hsw_record_type_release(type) == HSW_OK);
    }
}

TEST_CASE("the words of numbers are those of Python's repr") {
    const no_leaks check;
    const hsw_record_type type = new_type("R", {"a", "b", "c", "d", "e"});
    const hsw_record record = new_record(type, {real(1e16), real(-1.5e-7), real(NAN), real(-INFINITY), real(1e15)});
    CHECK(words_of(record) == "R(a=1e+16, b=-1.5e-07, c=nan, d=-inf, e=1000000000000000.0)");
    CHECK(hsw_record_release(record) == HSW_OK);
    CHECK(hsw_record_type_release(type) == HSW_OK);
}

TEST_CASE("records with null, released and foreign handles are refused") {
    const no_leaks check;
    const hsw_record_type type = new_type("T", {"a"});
    const hsw_record record = new_record(type, {integer(1)});
    hsw_record_type other_type{};
    hsw_record other{};
    hsw_value value{};
    std::size_t n = 0;
    const hsw_record_type good_type = new_type("Good", {"a"});
    const std::array<const char*, 2> fields{"a", nullptr};
    CHECK(hsw_record_type_new(nullptr, fields.data(), 1, false, nullptr, &other_type) == HSW_ERR_NULL);
    CHECK(hsw_record_type_new("T", nullptr, 1, false, nullptr, &other_type) == HSW_ERR_NULL);
    CHECK(hsw_record_type_new("T", fields.data(), 2, false, nullptr, &other_type) == HSW_ERR_NULL);
    CHECK(last_message() == "the name of a field is null");
    CHECK(hsw_record_type_new("T", fields.data(), 1, false, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_record_type_extend(type, "T", fields.data(), 1, &other_type) == HSW_ERR_ARGUMENT);
    CHECK(hsw_record_type_field(type, 1, nullptr, 0, &n) == HSW_ERR_ARGUMENT);
    CHECK(hsw_record_type_field(type, SIZE_MAX, nullptr, 0, &n) == HSW_ERR_ARGUMENT);
    CHECK(hsw_record_type_index(type, "b", &n) == HSW_ERR_ARGUMENT);
    CHECK(hsw_record_type_index(type, nullptr, &n) == HSW_ERR_NULL);
    CHECK(hsw_record_get(record, 0, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_record_get(record, SIZE_MAX, &value) == HSW_ERR_ARGUMENT);
    CHECK(hsw_record_get_named(record, "b", &value) == HSW_ERR_ARGUMENT);
    CHECK(hsw_record_text(record, nullptr, 1, nullptr) == HSW_ERR_NULL);

    for (const hsw_status wanted : {HSW_ERR_NULL, HSW_ERR_WRONG_KIND, HSW_ERR_STALE}) {
        const hsw_record_type of = wanted == HSW_ERR_NULL ? hsw_record_type{} : wanted == HSW_ERR_STALE ? type : hsw_record_type{record.handle};
        hsw_record bad = wanted == HSW_ERR_WRONG_KIND ? hsw_record{type.handle} : hsw_record{};
        if (wanted == HSW_ERR_STALE) {
            bad = record;
            CHECK(hsw_record_release(record) == HSW_OK);
            CHECK(hsw_record_type_release(type) == HSW_OK);
        }
        CHECK(hsw_record_type_retain(of, &other_type) == wanted);
        CHECK(hsw_record_type_release(of) == wanted);
        CHECK(hsw_record_type_extend(of, "T", nullptr, 0, &other_type) == wanted);
        CHECK(hsw_record_type_with_defaults(of, nullptr, 0, &other_type) == wanted);
        CHECK(hsw_record_type_count(of, &n) == wanted);
        CHECK(hsw_record_type_name(of, nullptr, 0, &n) == wanted);
        CHECK(hsw_record_type_field(of, 0, nullptr, 0, &n) == wanted);
        CHECK(hsw_record_type_index(of, "a", &n) == wanted);
        CHECK(hsw_record_new(of, nullptr, 0, &other) == wanted);
        CHECK(hsw_record_retain(bad, &other) == wanted);
        CHECK(hsw_record_release(bad) == wanted);
        CHECK(hsw_record_copy(bad, &other) == wanted);
        CHECK(hsw_record_type_of(bad, &other_type) == wanted);
        CHECK(hsw_record_get(bad, 0, &value) == wanted);
        CHECK(hsw_record_get_named(bad, "a", &value) == wanted);
        CHECK(hsw_record_set(bad, 0, &value) == wanted);
        CHECK(hsw_record_set_named(bad, "a", &value) == wanted);
        CHECK(hsw_record_text(bad, nullptr, 0, &n) == wanted);
        const hsw_record good = new_record(good_type, {integer(1)});
        std::int32_t order = 7;
        bool equal = true;
        CHECK(hsw_record_compare(bad, good, &order) == wanted);
        CHECK(hsw_record_compare(good, bad, &order) == wanted);
        CHECK(hsw_record_equal(bad, good, &equal) == wanted);
        CHECK(hsw_record_equal(good, bad, &equal) == wanted);
        CHECK((order == 7 && equal)); // nothing was written
        CHECK(hsw_record_compare(good, good, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_record_equal(good, good, nullptr) == HSW_ERR_NULL);
        CHECK(hsw_record_release(good) == HSW_OK);
    }
    CHECK(hsw_record_type_release(good_type) == HSW_OK);
    const hsw_record_type mine = new_type("T", {});
    on_new_thread([&] {
        std::size_t count = 0;
        CHECK(hsw_record_type_count(mine, &count) == HSW_ERR_WRONG_THREAD);
        CHECK(hsw_record_type_release(mine) == HSW_ERR_WRONG_THREAD);
    });
    CHECK(hsw_record_type_release(mine) == HSW_OK);
}

TEST_CASE("a dict keeps values by their keys in the order of the inserts") {
    const no_leaks check;
    for (const int tuning : {HSW_DICT_COMPACT, HSW_DICT_CONSOLE, HSW_DICT_PYTHON27}) {
        const hsw_dict dict = new_dict(nullptr, tuning);
        CHECK(bytes(dict) == 0);
        for (std::uintptr_t n = 0; n < 1000; ++n) {
            CHECK(hsw_dict_set(dict, ("key" + std::to_string(n)).c_str(), number(n)) == HSW_OK);
        }
        CHECK(size(dict) == 1000);
        void* value = nullptr;
        bool found = false;
        for (std::uintptr_t n = 0; n < 1000; ++n) {
            CHECK(hsw_dict_get(dict, ("key" + std::to_string(n)).c_str(), &value, &found) == HSW_OK);
            CHECK((found && value == number(n)));
            if (n >= 3 && n != 500) {
                CHECK(hsw_dict_remove(dict, ("key" + std::to_string(n)).c_str(), &value, &found) == HSW_OK);
                CHECK((found && value == number(n)));
            }
        }
        CHECK(hsw_dict_get(dict, "key7", &value, &found) == HSW_OK);
        CHECK((!found && value == nullptr));
        CHECK(hsw_dict_remove(dict, "key7", &value, &found) == HSW_OK);
        CHECK((!found && value == nullptr));
        CHECK(hsw_dict_set(dict, "key1", number(11)) == HSW_OK);
        CHECK(hsw_dict_set(dict, "", number(12)) == HSW_OK);
        CHECK(hsw_dict_set(dict, "\xff\xfe", number(13)) == HSW_OK);
        CHECK(hsw_dict_set(dict, "\xfe\xff", number(14)) == HSW_OK);
        CHECK(entries(dict) == "key0=0 key1=11 key2=2 key500=500 =12 \xff\xfe=13 \xfe\xff=14 ");
        const std::size_t before = bytes(dict);
        CHECK(hsw_dict_shrink(dict) == HSW_OK);
        CHECK(bytes(dict) < before / 10);
        CHECK(hsw_dict_reserve(dict, 1000) == HSW_OK);
        CHECK(bytes(dict) > 1000 * 2 * sizeof(void*));
        CHECK(entries(dict) == "key0=0 key1=11 key2=2 key500=500 =12 \xff\xfe=13 \xfe\xff=14 ");
        CHECK(hsw_dict_clear(dict) == HSW_OK);
        CHECK((size(dict) == 0 && bytes(dict) == 0));
        CHECK(hsw_dict_release(dict) == HSW_OK);
    }
}

TEST_CASE("values of a dict are freed once: when they are replaced, removed without a place, cleared, or left") {
    const no_leaks check;
    int freed = 0;
    hsw_dict dict = new_dict(&destroy_counted);
    const auto set = [&](const char* key) { CHECK(hsw_dict_set(dict, key, new counted{&freed}) == HSW_OK); };
    set("a");
    set("a");
    CHECK(freed == 1);
    CHECK(hsw_dict_remove(dict, "a", nullptr, nullptr) == HSW_OK);
    CHECK(freed == 2);
    set("a");
    void* value = nullptr;
    CHECK(hsw_dict_remove(dict, "a", &value, nullptr) == HSW_OK);
    CHECK(freed == 2);
    destroy_counted(value);
    set("a");
    set("b");
    CHECK(hsw_dict_clear(dict) == HSW_OK);
    CHECK(freed == 5);
    set("a");
    set("b");
    hsw_dict other{};
    CHECK(hsw_dict_retain(dict, &other) == HSW_OK);
    CHECK(hsw_dict_release(dict) == HSW_OK);
    CHECK(freed == 5);
    CHECK(hsw_dict_release(other) == HSW_OK);
    CHECK(freed == 7);
    freed = 0;
    on_new_thread([&] {
        dict = new_dict(&destroy_counted);
        set("left");
        const hsw_record_type type = new_type("T", {"left"}, &destroy_counted);
        static_cast<void>(new_record(type, {counted_pointer(freed)}));
    });
    CHECK(freed == 2); // with the thread
}

namespace {

hsw_dict busy{};
int visits = 0;

bool change_it(const char*, void*, void*) {
    ++visits;
    void* value = nullptr;
    CHECK(hsw_dict_set(busy, "c", number(3)) == HSW_ERR_STATE);
    CHECK(last_message() == "the dict is being visited, and cannot be changed");
    CHECK(hsw_dict_remove(busy, "a", &value, nullptr) == HSW_ERR_STATE);
    CHECK(hsw_dict_clear(busy) == HSW_ERR_STATE);
    CHECK(hsw_dict_reserve(busy, 1000) == HSW_ERR_STATE);
    CHECK(hsw_dict_shrink(busy) == HSW_ERR_STATE);
    CHECK(entries(busy) == "a=1 b=2 ");
    CHECK(hsw_schedule() == HSW_OK);
    return visits == 1;
}

bool let_go(const char* key, void*, void*) {
    if (std::string(key) == "a") {
        CHECK(hsw_dict_release(busy) == HSW_OK);
    }
    CHECK(hsw_dict_set(busy, "c", number(3)) == HSW_ERR_STALE);
    ++visits;
    return true;
}

void uses_it(void* value) {
    if (value == number(1)) {
        CHECK(hsw_dict_set(busy, "from a destructor", number(5)) == HSW_OK);
        CHECK(hsw_schedule() == HSW_OK);
    }
}

} // namespace

TEST_CASE("a dict is not changed while it is visited, also by other tasklets; it outlives its handle there") {
    const no_leaks check;
    busy = new_dict();
    CHECK(hsw_dict_set(busy, "a", number(1)) == HSW_OK);
    CHECK(hsw_dict_set(busy, "b", number(2)) == HSW_OK);
    bool refused = false;
    const hsw_tasklet other = spawn([&] {
        refused = hsw_dict_set(busy, "d", number(4)) == HSW_ERR_STATE;
        return HSW_OK;
    });
    visits = 0;
    CHECK(hsw_dict_each(busy, &change_it, nullptr) == HSW_OK);
    CHECK(refused);
    CHECK(visits == 2);
    CHECK(hsw_tasklet_release(other) == HSW_OK);
    CHECK(hsw_dict_set(busy, "a", number(6)) == HSW_OK);
    visits = 0;
    CHECK(hsw_dict_each(busy, &let_go, nullptr) == HSW_OK);
    CHECK(visits == 2);
}

TEST_CASE("a destructor of a dict's value may use the dict, and switch") {
    const no_leaks check;
    busy = new_dict(&uses_it);
    for (const bool remove : {false, true}) {
        CHECK(hsw_dict_set(busy, "a", number(1)) == HSW_OK);
        CHECK((remove ? hsw_dict_remove(busy, "a", nullptr, nullptr) : hsw_dict_set(busy, "a", number(2))) == HSW_OK);
        CHECK(entries(busy) == (remove ? "from a destructor=5 " : "a=2 from a destructor=5 "));
        CHECK(hsw_dict_set(busy, "a", number(1)) == HSW_OK);
        CHECK(hsw_dict_clear(busy) == HSW_OK);
        CHECK(entries(busy) == "from a destructor=5 ");
    }
    CHECK(hsw_dict_release(busy) == HSW_OK);

    const hsw_record_type type = new_type("T", {"a"}, [](void*) { CHECK(hsw_schedule() == HSW_OK); });
    const hsw_record record = new_record(type, {pointer(number(1))});
    const hsw_value value = pointer(number(2));
    CHECK(hsw_record_set(record, 0, &value) == HSW_OK);
    CHECK(words_of(record) == "T(a=0x2)");
    CHECK(hsw_record_release(record) == HSW_OK);
    CHECK(hsw_record_type_release(type) == HSW_OK);
}

TEST_CASE("dicts with null, released and foreign handles, and what is out of range, are refused") {
    const no_leaks check;
    hsw_dict other{};
    CHECK(hsw_dict_new(3, nullptr, &other) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "3 is no tuning of a dict");
    CHECK(hsw_dict_new(-1, nullptr, &other) == HSW_ERR_ARGUMENT);
    CHECK(hsw_dict_new(0, nullptr, nullptr) == HSW_ERR_NULL);
    int freed = 0;
    const hsw_dict dict = new_dict(&destroy_counted);
    CHECK(hsw_dict_set(dict, "kept", new counted{&freed}) == HSW_OK);
    void* value = number(7);
    std::size_t n = 0;
    CHECK(hsw_dict_reserve(dict, SIZE_MAX) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "the dict's capacity overflows");
    CHECK(hsw_dict_reserve(dict, std::size_t{1} << 33) == HSW_ERR_ARGUMENT);
    CHECK(size(dict) == 1);
    CHECK(hsw_dict_set(dict, nullptr, number(1)) == HSW_ERR_NULL);
    CHECK(last_message() == "key is null");
    CHECK(hsw_dict_get(dict, nullptr, &value, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_dict_get(dict, "kept", nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_dict_remove(dict, nullptr, &value, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_dict_each(dict, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_dict_count(dict, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_dict_bytes(dict, nullptr) == HSW_ERR_NULL);
    CHECK(freed == 0);
    CHECK(value == number(7));
    const hsw_record_type type = new_type("T", {});
    for (const hsw_status wanted : {HSW_ERR_NULL, HSW_ERR_WRONG_KIND, HSW_ERR_STALE}) {
        hsw_dict bad{};
        if (wanted == HSW_ERR_WRONG_KIND) {
            bad.handle = type.handle;
        } else if (wanted == HSW_ERR_STALE) {
            bad = dict;
            CHECK(hsw_dict_release(dict) == HSW_OK);
            CHECK(freed == 1);
        }
        CHECK(hsw_dict_retain(bad, &other) == wanted);
        CHECK(hsw_dict_release(bad) == wanted);
        CHECK(hsw_dict_set(bad, "a", number(1)) == wanted);
        CHECK(hsw_dict_get(bad, "a", &value, nullptr) == wanted);
        CHECK(hsw_dict_remove(bad, "a", &value, nullptr) == wanted);
        CHECK(hsw_dict_each(bad, &append, nullptr) == wanted);
        CHECK(hsw_dict_count(bad, &n) == wanted);
        CHECK(hsw_dict_bytes(bad, &n) == wanted);
        CHECK(hsw_dict_reserve(bad, 1) == wanted);
        CHECK(hsw_dict_shrink(bad) == wanted);
        CHECK(hsw_dict_clear(bad) == wanted);
    }
    CHECK(hsw_record_type_release(type) == HSW_OK);
    const hsw_dict mine = new_dict();
    on_new_thread([&] {
        CHECK(hsw_dict_set(mine, "a", nullptr) == HSW_ERR_WRONG_THREAD);
        CHECK(hsw_dict_release(mine) == HSW_ERR_WRONG_THREAD);
    });
    CHECK(hsw_dict_release(mine) == HSW_OK);
}
