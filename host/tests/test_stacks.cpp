// What calls of the C and C++ libraries take of a stack is no more than docs/stacks.md says.
#include <doctest/doctest.h>

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/mman.h>

#include <cfloat>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {

constexpr std::size_t size = 1024 * 1024;
constexpr unsigned char paint = 0xA5;

struct job {
    void (*function)();
    const unsigned char* start;
};

void* run(void* argument) {
    job& wanted = *static_cast<job*>(argument);
    const unsigned char here = 0;
    wanted.start = &here;
    wanted.function();
    return nullptr;
}

/// Bytes of stack that the function uses, and what it calls: on a thread whose stack was painted before.
std::size_t used_by(void (*function)()) {
    void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    std::memset(memory, paint, size);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    REQUIRE(pthread_attr_setstack(&attributes, memory, size) == 0);
    job wanted{function, nullptr};
    pthread_t thread;
    REQUIRE(pthread_create(&thread, &attributes, &run, &wanted) == 0);
    pthread_attr_destroy(&attributes);
    REQUIRE(pthread_join(thread, nullptr) == 0);
    const unsigned char* lowest = static_cast<const unsigned char*>(memory);
    while (*lowest == paint) {
        ++lowest;
    }
    const std::size_t used = static_cast<std::size_t>(wanted.start - lowest);
    ::munmap(memory, size);
    return used;
}

/// The figure of the page, in bytes, for this processor: a row's cells are `what | x86_64 | PowerPC64 | ...`, in KiB.
std::size_t figure(const std::string& what) {
    std::ifstream page(HSW_STACKS_PAGE);
    for (std::string line; std::getline(page, line);) {
        const std::string start = "| " + what + " | ";
        if (line.compare(0, start.size(), start) != 0) {
            continue;
        }
        std::istringstream cells(line.substr(start.size()));
        std::string x86_64, powerpc64;
        REQUIRE(std::getline(cells, x86_64, '|'));
        REQUIRE(std::getline(cells, powerpc64, '|'));
#ifdef __x86_64__
        return std::stoul(x86_64) * 1024;
#else
        return std::stoul(powerpc64) * 1024;
#endif
    }
    FAIL("docs/stacks.md has no row for it: ", what);
    return 0;
}

struct row {
    const char* what;
    void (*function)();
};

char text[8192];

const row rows[] = {
    {"`snprintf` of a `%f`", [] { std::snprintf(text, sizeof text, "%f", DBL_MAX); }},
    {"`snprintf` of a `%Lf`", [] { std::snprintf(text, sizeof text, "%Lf", LDBL_MAX); }},
    {"`fprintf(stderr)`, which has no buffer", [] { std::fprintf(stderr, "%s", ""); std::fprintf(stderr, "a line of %d\n", 7); }},
    {"`getaddrinfo`, a name",
     [] {
         addrinfo* found = nullptr;
         if (::getaddrinfo("name-that-nobody-has.invalid", "80", nullptr, &found) == 0) {
             ::freeaddrinfo(found);
         }
     }},
    {"`dlopen`",
     [] {
         if (void* const library = ::dlopen("libutil.so.1", RTLD_NOW)) {
             ::dlclose(library);
         }
     }},
    {"`throw` and `catch`, C++",
     [] {
         try {
             throw std::runtime_error("caught in the same function");
         } catch (const std::exception& error) {
             std::snprintf(text, sizeof text, "%s", error.what());
         }
     }},
    {"`std::regex_match` of 200 characters",
     [] {
         const std::string subject(200, 'a');
         static_cast<void>(std::regex_match(subject, std::regex("(a|b)*c?")));
     }},
};

} // namespace

TEST_CASE("what library calls take of a stack is what the page of figures says") {
    for (const row& each : rows) {
        CAPTURE(each.what);
        const std::size_t said = figure(each.what);
        const std::size_t used = used_by(each.function);
        MESSAGE(each.what, ": ", used, " bytes, ", said, " said");
        CHECK(used <= said);
        // A figure that is far too high says nothing.
        CHECK(used * 4 > said);
    }
}
