// Other programs, run by the tests.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

extern char** environ;

namespace test {

/// A folder of its own under the system's one for temporary files; removed at the end.
class temporary_folder {
public:
    temporary_folder() {
        const char* base = std::getenv("TMPDIR");
        std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/hsw-test-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) {
            throw std::runtime_error("cannot make " + pattern);
        }
        path_ = pattern;
    }
    ~temporary_folder() {
        const std::string command = "rm -rf '" + path_ + "'";
        if (std::system(command.c_str()) != 0) {
            // Left behind; no reason for a test to fail.
        }
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

inline std::string file_text(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

/// A running program; killed at the end, by its id, if it still runs.
class process {
public:
    process(const std::vector<std::string>& command, const std::string& out, const std::string& err) {
        std::vector<char*> arguments;
        for (const std::string& word : command) {
            arguments.push_back(const_cast<char*>(word.c_str()));
        }
        arguments.push_back(nullptr);
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        posix_spawn_file_actions_addopen(&files, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        const int failed = ::posix_spawnp(&id_, arguments[0], &files, nullptr, arguments.data(), environ);
        posix_spawn_file_actions_destroy(&files);
        if (failed != 0) {
            throw std::runtime_error("cannot start " + command[0]);
        }
    }
    ~process() {
        if (id_ > 0) {
            ::kill(id_, SIGKILL);
            ::waitpid(id_, nullptr, 0);
        }
    }
    process(const process&) = delete;
    process& operator=(const process&) = delete;

    pid_t id() const { return id_; }

    /// Waits for its end: the exit status, 128 + the signal's number, or -1 when it still runs after that time.
    int wait(std::chrono::seconds longest) {
        const auto end = std::chrono::steady_clock::now() + longest;
        for (;;) {
            int status = 0;
            if (::waitpid(id_, &status, WNOHANG) == id_) {
                id_ = -1;
                return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            }
            if (std::chrono::steady_clock::now() > end) {
                return -1;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }

    void ask_to_end() { ::kill(id_, SIGTERM); }

private:
    pid_t id_ = -1;
};

struct result {
    int status; // as process::wait
    std::string out;
    std::string err;
};

/// Runs the command that the environment's variable `name` has (ctest sets it: the program, under the target's emulator if there is
/// one) with more arguments.
inline result run_command(const char* name, const std::vector<std::string>& arguments, std::chrono::seconds longest) {
    const char* command = std::getenv(name);
    if (command == nullptr) {
        throw std::runtime_error(std::string(name) + " is not set: run the tests with ctest");
    }
    std::istringstream in(command);
    std::vector<std::string> words;
    for (std::string word; in >> word;) {
        words.push_back(word);
    }
    words.insert(words.end(), arguments.begin(), arguments.end());
    const temporary_folder folder;
    process child(words, folder / "out", folder / "err");
    result out;
    out.status = child.wait(longest);
    out.out = file_text(folder / "out");
    out.err = file_text(folder / "err");
    return out;
}

/// Runs hsw-host.
inline result run_host(const std::vector<std::string>& arguments, std::chrono::seconds longest = std::chrono::seconds(120)) {
    return run_command("HSW_HOST", arguments, longest);
}

inline std::size_t lines(const std::string& text) {
    std::size_t count = 0;
    for (const char c : text) {
        count += c == '\n' ? 1 : 0;
    }
    return count;
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

} // namespace test
