// main() of the tests. A program that has found no test case fails, and one with a test case that hangs ends before ctest ends it, and says which.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <hardswitch.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

namespace {

// Seconds. ctest waits for 300; under an emulator or Valgrind a case takes a few.
constexpr unsigned patience = 240;

// The test case that runs; doctest's own string, which stays.
const char* volatile running = "";

extern "C" void name_and_die(int) {
    const char start[] = "\nbroken promise: the test case hangs: ";
    bool said = write(STDERR_FILENO, start, sizeof start - 1) > 0;
    said = write(STDERR_FILENO, running, std::strlen(running)) > 0 && write(STDERR_FILENO, "\n", 1) > 0 && said;
    std::_Exit(said ? 1 : 2);
}

struct watchdog : doctest::IReporter {
    explicit watchdog(const doctest::ContextOptions&) { std::signal(SIGALRM, &name_and_die); }

    void test_case_start(const doctest::TestCaseData& data) override {
        running = data.m_name;
        alarm(patience);
    }
    void test_case_end(const doctest::CurrentTestCaseStats&) override { alarm(0); }

    void test_run_end(const doctest::TestRunStats& stats) override { none = stats.numTestCasesPassingFilters == 0; }

    void report_query(const doctest::QueryData&) override {}
    void test_run_start() override {}
    void test_case_reenter(const doctest::TestCaseData&) override {}
    void test_case_exception(const doctest::TestCaseException&) override {}
    void subcase_start(const doctest::SubcaseSignature&) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData&) override {}
    void log_message(const doctest::MessageData&) override {}
    void test_case_skipped(const doctest::TestCaseData&) override {}

    static bool none;
};
bool watchdog::none = false;

REGISTER_LISTENER("watchdog", 1, watchdog);

}  // namespace

int main(int argc, char** argv) {
    const int result = doctest::Context(argc, argv).run();
    // The end of a process unwinds no tasklet, so what those have that test cases left waiting would look lost to leak detectors.
    hsw_thread_exit();
    return watchdog::none ? 1 : result;
}
