// Dicts and records of the C++ header.
#include <hardswitch.hpp>

#include "c_helpers.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

/// Counts those that are alive, and refuses to be moved where it is told to.
struct thing {
    explicit thing(int n) : number(n) { ++alive; }
    thing(thing&& other) : number(other.number) {
        if (stuck) {
            throw std::runtime_error("stuck");
        }
        ++alive;
    }
    thing& operator=(thing&&) = delete;
    ~thing() { --alive; }
    int number;
    static inline int alive = 0;
    static inline bool stuck = false;
};

template <class F>
std::string usage_words(F&& function) {
    try {
        function();
    } catch (const hsw::usage_error& error) {
        return error.what();
    }
    return "nothing was thrown";
}

} // namespace

TEST_CASE("hsw::dict keeps objects by their keys, in the order of the inserts") {
    const no_leaks check;
    {
        hsw::dict<std::string> dict(HSW_DICT_CONSOLE);
        CHECK(dict.empty());
        dict.reserve(10);
        for (const char* const key : {"one", "two", "three"}) {
            dict.set(key, std::string("value of ") + key);
        }
        dict.set("one", "another");
        const hsw::dict<std::string> same = dict;
        CHECK(*same.find("one") == "another");
        *same.find("two") += "!";
        CHECK(dict.find("four") == nullptr);
        CHECK(dict.remove("three") == std::string("value of three"));
        CHECK_FALSE(dict.remove("three").has_value());
        std::string all;
        dict.each([&](const char* key, std::string& value) { all += std::string(key) + ": " + value + ", "; });
        CHECK(all == "one: another, two: value of two!, ");
        all.clear();
        dict.each([&](const char* key, const std::string&) {
            all += key;
            return false;
        });
        CHECK(all == "one");
        const std::size_t before = dict.bytes();
        dict.shrink();
        CHECK(dict.bytes() < before);
        dict.clear();
        CHECK((same.size() == 0 && same.bytes() == 0));
    }
}

TEST_CASE("hsw::dict destroys each object once, whatever throws") {
    const no_leaks check;
    {
        hsw::dict<thing> dict;
        dict.set("a", thing(1));
        dict.set("b", thing(2));
        dict.set("a", thing(3));
        CHECK(thing::alive == 2);
        CHECK(dict.remove("b")->number == 2);
        CHECK(thing::alive == 1);
        thing::stuck = true;
        CHECK_THROWS_AS(dict.set("c", thing(4)), std::runtime_error);
        CHECK_THROWS_AS(static_cast<void>(dict.remove("a")), std::runtime_error);
        thing::stuck = false;
        CHECK(thing::alive == 0);
        dict.set("d", thing(5));
        CHECK(usage_words([&] { dict.set(std::string("e\0f", 3), thing(6)); }) == "a zero byte in a key, a name or a text");
        CHECK_THROWS_AS(dict.each([](const char*, thing&) { throw std::logic_error("visit"); }), std::logic_error);
        CHECK_THROWS_AS(dict.each([&](const char*, thing&) { dict.set("g", thing(7)); }), hsw::state_error);
        CHECK_THROWS_AS(dict.reserve(SIZE_MAX), hsw::usage_error);
        CHECK(thing::alive == 1);
        hsw::dict<thing> moved = std::move(dict);
        CHECK_THROWS_AS(dict.set("h", thing(8)), hsw::usage_error); // NOLINT: the null handle is what is tried
        CHECK(moved.size() == 1);
    }
    CHECK(thing::alive == 0);
}

TEST_CASE("a tasklet that is killed while it visits a dict ends there") {
    const no_leaks check;
    {
        hsw::dict<int> dict;
        dict.set("a", 1);
        bool went_on = false;
        hsw::tasklet visitor = hsw::spawn([&] {
            dict.each([](const char*, int&) { hsw::schedule(); });
            went_on = true;
        });
        hsw::schedule();
        CHECK_THROWS_AS(dict.set("b", 2), hsw::state_error);
        visitor.kill();
        CHECK_FALSE(visitor.alive());
        CHECK_FALSE(went_on);
        dict.set("b", 2);
        CHECK(dict.size() == 2);
    }
}

TEST_CASE("hsw::record has values by index and by name") {
    const no_leaks check;
    {
        const hsw::record_type point("Point", {"x", "y", "name"});
        CHECK((point.name() == "Point" && point.size() == 3 && point.field(2) == "name" && point.index("y") == 1));
        const hsw::record one = point.make({1, 2.5, "it"});
        CHECK(one.text() == "Point(x=1, y=2.5, name='it')");
        CHECK(std::get<std::int64_t>(one["x"]) == 1);
        CHECK(std::get<double>(one[1]) == 2.5);
        CHECK(std::get<std::string>(one["name"]) == "it");
        const hsw::record other = one.copy();
        other.set("x", 7);
        CHECK(std::get<std::int64_t>(one[0]) == 1);
        // Short texts lie within the string, long ones on the heap: both are copied in time.
        for (const std::string& words : {std::string("short"), std::string(1000, 'l')}) {
            other.set(2, words);
            CHECK(std::get<std::string>(other[2]) == words);
            other.set("name", words + "!");
            CHECK(std::get<std::string>(other["name"]) == words + "!");
        }
        other.set(2, hsw::value{});
        CHECK(other.text() == "Point(x=7, y=2.5, name=None)");
        CHECK(one < other);
        CHECK(one != other);
        CHECK(one == one.copy());
        CHECK(one.type().name() == "Point");
        const hsw::record_type solid = point.extend("Solid", {"z"}).with_defaults({0});
        CHECK(solid.make({1, 2, "it"}).text() == "Solid(x=1, y=2, name='it', z=0)");
        CHECK(hsw::record_type("T", {"class", "a", "a"}, true).field(2) == "_2");
    }
}

TEST_CASE("hsw::record shares what pointers hold, and a refused call keeps nothing") {
    const no_leaks check;
    const auto held = std::make_shared<int>(5);
    {
        const hsw::record_type type("Pair", {"a", "b"});
        const std::vector<hsw::value> values{held, held};
        const hsw::record record = type.make(values);
        const hsw::record copy = record.copy();
        CHECK(held.use_count() == 5);
        CHECK(*std::static_pointer_cast<int>(std::get<std::shared_ptr<void>>(copy["a"])) == 5);
        CHECK(usage_words([&] { static_cast<void>(type.make({held, held, held})); }) == "Expected 2 arguments, got more");
        CHECK(usage_words([&] { static_cast<void>(type.make({held})); }) == "Missing a value for the field 'b'");
        CHECK(usage_words([&] { static_cast<void>(type.make({held, std::string("\0", 1)})); }) == "a zero byte in a key, a name or a text");
        CHECK(usage_words([&] { static_cast<void>(type.with_defaults({held, held, held})); }) == "Got more default values than field names");
        CHECK(usage_words([&] { record.set("c", held); }) == "Got unexpected field names: ['c']");
        CHECK(usage_words([&] { static_cast<void>(record[2]); }) == "Pair has 2 fields, and none with index 2");
        CHECK(usage_words([] { static_cast<void>(hsw::record_type("T", {"a", "a"})); }) == "Encountered duplicate field name: 'a'");
        CHECK_THROWS_AS(static_cast<void>(record < type.make({1, 2})), hsw::error);
        record.set("a", 1);
        CHECK(held.use_count() == 5); // the copy shares what it had
        copy.set(0, 1);
        CHECK(held.use_count() == 4);
        const hsw::record_type with = type.with_defaults({held});
        CHECK(held.use_count() == 5);
    }
    CHECK(held.use_count() == 1);
}
