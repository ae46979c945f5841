#include "game.hpp"

#include "download.hpp"
#include "meter.hpp"
#include "npc.hpp"
#include "origin.hpp"
#include "tick_clock.hpp"

#include <hardswitch.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

namespace host {
namespace {

using clock = std::chrono::steady_clock;

double milliseconds(clock::duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

std::chrono::nanoseconds nanoseconds(double seconds) { return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9)); }

/// What is to be fetched, once per way.
std::vector<std::shared_ptr<download>> plan_downloads(const options& how, const origin& from) {
    std::vector<download_option> wanted = how.downloads;
    if (wanted.empty()) {
        wanted = {{"/file/1024", {}}, {"/chunked/1048576", {}}, {"/file/67108864", {}}};
    }
    std::vector<std::shared_ptr<download>> out;
    for (const way means : {way::nonblocking, way::workers}) {
        if (!(means == way::nonblocking ? how.nonblocking : how.workers)) {
            continue;
        }
        for (const download_option& one : wanted) {
            auto what = std::make_shared<download>();
            what->url = one.url[0] == '/' ? from.url(one.url) : one.url;
            what->how = means;
            what->expected_sha256 = one.sha256;
            std::uint64_t size = 0;
            if (one.url[0] == '/' && content_path(one.url, size)) {
                what->expected_content = size;
            }
            what->timeout_seconds = how.timeout_seconds;
            out.push_back(std::move(what));
        }
    }
    return out;
}

class game {
public:
    explicit game(const options& how)
        : how_(how), origin_(how.port), downloads_(plan_downloads(how, origin_)), town_(how.npcs, clock_) {
        for (const auto& what : downloads_) {
            hsw::spawn_detached([client = client_, what] { run_download(client, what); }, {std::string("download ") + what->url});
        }
    }

    bool play() {
        std::printf("hsw-host: hardswitch %s, %zu NPCs, %g Hz, budget %g ms, origin on port %u, %zu downloads\n", hsw_version(),
                    town_.population(), how_.hz, how_.budget_ms, static_cast<unsigned>(origin_.port()), downloads_.size());
        const clock::duration period = nanoseconds(1 / how_.hz);
        const clock::time_point begin = clock::now();
        const clock::time_point least_end = begin + nanoseconds(how_.seconds);
        clock::time_point next_line = begin + std::chrono::seconds(1);
        clock::time_point next_tick = begin;
        line_begin_ = begin;
        switches_at_line_ = hsw::stats().switches;
        while (clock::now() < least_end || !downloads_ended()) {
            tick();
            next_tick += period;
            wait_until(next_tick);
            if (clock::now() > next_tick + period) {
                next_tick = clock::now(); // late: do not try to catch up
            }
            if (clock::now() >= next_line) {
                print_line(begin);
                next_line += std::chrono::seconds(1);
            }
        }
        if (ticks_in_line_.count() != 0) {
            print_line(begin);
        }
        if (how_.stats) {
            print_stats();
        }
        return report();
    }

private:
    /// One frame: whoever's sleep is over and whatever the network has brought runs, within the budget.
    void tick() {
        const clock::time_point begin = clock::now();
        clock_.advance();
        run_tasklets(begin + nanoseconds(how_.budget_ms / 1000));
        const double time = milliseconds(clock::now() - begin);
        ticks_in_line_.add(time);
        all_ticks_.add(time);
    }

    /// The rest of the frame. The thread sleeps until the next tick, or until the network or a worker has something: what that
    /// makes runnable runs at once, up to the end of the frame.
    void wait_until(clock::time_point end) {
        while (clock::now() < end) {
            hsw::wait(end - clock::now());
            run_tasklets(end);
        }
    }

    void run_tasklets(clock::time_point end) {
        try {
            hsw::tick(std::max(clock::duration::zero(), end - clock::now()));
        } catch (const std::exception& e) {
            // The exception of a tasklet that nobody caught. The others go on.
            complain(std::string("a tasklet failed: ") + e.what());
            tasklet_failed_ = true;
        }
    }

    bool downloads_ended() const {
        return std::all_of(downloads_.begin(), downloads_.end(), [](const auto& what) { return what->finished; });
    }

    void print_line(clock::time_point begin) {
        const clock::time_point now = clock::now();
        const hsw::statistics stats = hsw::stats();
        const double seconds = std::chrono::duration<double>(now - line_begin_).count();
        std::uint64_t received = 0;
        std::uint64_t total = 0;
        std::size_t done = 0;
        for (const auto& what : downloads_) {
            received += what->received;
            total += what->size != download::unknown ? what->size.load() : what->expected_content.value_or(what->received);
            done += what->finished ? 1 : 0;
        }
        const double at = std::chrono::duration<double>(now - begin).count();
        const double switches = seconds > 0 ? static_cast<double>(stats.switches - switches_at_line_) / seconds : 0.0;
        const hsw::record row = second_.make({rounded(at), whole(ticks_in_line_.count()), rounded(ticks_in_line_.percentile(0.5)),
                                              rounded(ticks_in_line_.percentile(0.99)), rounded(ticks_in_line_.percentile(1)),
                                              whole(stats.tasklets), rounded(switches), whole(stats.slice_bytes), whole(done),
                                              whole(downloads_.size()), whole(received), whole(total)});
        if (how_.rows) {
            std::puts(row.text().c_str());
        } else {
            std::printf("[%6.1f s] tick p50 %.2f p99 %.2f max %.2f ms | %zu tasklets | %.0f switches/s | slices %s | downloads %zu/%zu, "
                        "%s of %s\n",
                        at, ticks_in_line_.percentile(0.5), ticks_in_line_.percentile(0.99), ticks_in_line_.percentile(1), stats.tasklets,
                        switches, human_bytes(static_cast<double>(stats.slice_bytes)).c_str(), done, downloads_.size(),
                        human_bytes(static_cast<double>(received)).c_str(), human_bytes(static_cast<double>(total)).c_str());
        }
        std::fflush(stdout);
        ticks_in_line_.clear();
        line_begin_ = now;
        switches_at_line_ = stats.switches;
    }

    void print_stats() const {
        const hsw::statistics stats = hsw::stats();
        if (how_.rows) {
            const hsw::record row = all_.make({whole(all_ticks_.count()), rounded(all_ticks_.percentile(0.5)), rounded(all_ticks_.percentile(0.99)),
                                               rounded(all_ticks_.percentile(1)), whole(stats.tasklets), whole(stats.switches),
                                               whole(stats.copied_bytes), whole(stats.slice_bytes), whole(stats.slice_peak)});
            std::puts(row.text().c_str());
            return;
        }
        std::printf("stats: ticks %zu, p50 %.2f p99 %.2f max %.2f ms\n", all_ticks_.count(), all_ticks_.percentile(0.5),
                    all_ticks_.percentile(0.99), all_ticks_.percentile(1));
        std::printf("stats: %llu switches, %s copied to and from slices, slices %s now, %s at most\n",
                    static_cast<unsigned long long>(stats.switches), human_bytes(static_cast<double>(stats.copied_bytes)).c_str(),
                    human_bytes(static_cast<double>(stats.slice_bytes)).c_str(),
                    human_bytes(static_cast<double>(stats.slice_peak)).c_str());
        if (stats.tasklets > 1) {
            std::printf("stats: %.0f bytes of slice a parked tasklet\n",
                        static_cast<double>(stats.slice_bytes) / static_cast<double>(stats.tasklets - 1));
        }
    }

    /// Tells how everything went; true when it went well.
    bool report() {
        bool good = !tasklet_failed_;
        for (const auto& what : downloads_) {
            if (what->good()) {
                std::printf("ok   %-11s %s: %llu bytes, sha256 %s%s\n", name(what->how), what->url.c_str(),
                            static_cast<unsigned long long>(what->received.load()), what->sha256_hex.c_str(),
                            what->expected_sha256 || what->expected_content ? "" : " (nothing to compare it with)");
            } else {
                complain(std::string(name(what->how)) + " " + what->url + ": " + what->failure);
                good = false;
            }
        }
        try {
            town_.close();
        } catch (const std::exception& e) {
            complain(std::string("an NPC failed: ") + e.what());
            good = false;
        }
        std::printf("NPCs: %llu questions, %llu answers, %llu wrong\n", static_cast<unsigned long long>(town_.questions()),
                    static_cast<unsigned long long>(town_.answers()), static_cast<unsigned long long>(town_.wrong_answers()));
        if (town_.wrong_answers() != 0) {
            complain("NPCs got wrong answers");
            good = false;
        }
        std::fflush(stdout);
        return good;
    }

    /// Figures as values of a record: those with a fraction to hundredths.
    static hsw::value rounded(double figure) { return std::round(figure * 100) / 100; }
    template <class N>
    static hsw::value whole(N figure) {
        return static_cast<std::int64_t>(figure);
    }

    const options& how_;
    const hsw::record_type second_{"Second",
                                   {"at_s", "ticks", "p50_ms", "p99_ms", "max_ms", "tasklets", "switches_per_s", "slice_bytes",
                                    "downloads_ended", "downloads", "received_bytes", "total_bytes"}};
    const hsw::record_type all_{"All",
                                {"ticks", "p50_ms", "p99_ms", "max_ms", "tasklets", "switches", "copied_bytes", "slice_bytes",
                                 "slice_peak_bytes"}};
    origin origin_;
    const hsw::http::client client_;
    std::vector<std::shared_ptr<download>> downloads_;
    tick_clock clock_;
    town town_;
    tick_times ticks_in_line_;
    tick_times all_ticks_;
    clock::time_point line_begin_;
    std::uint64_t switches_at_line_ = 0;
    bool tasklet_failed_ = false;
};

} // namespace

void complain(const std::string& line) {
    std::fflush(stdout);
    std::fprintf(stderr, "hsw-host: %s\n", line.c_str());
}

bool play(const options& how) { return game(how).play(); }

} // namespace host
