// Threads, each with tasklets of its own, share a channel.
#include <hardswitch.hpp>

#include <cstdio>
#include <numeric>
#include <thread>
#include <vector>

namespace {

using numbers = hsw::thread::channel<int>;

// Ten tasklets of one thread. One that waits for a number leaves the thread to the others.
int squares(const numbers& all) {
    std::vector<hsw::join_handle<int>> tasklets;
    for (int i = 0; i < 10; ++i) {
        tasklets.push_back(hsw::spawn_joinable([all] {
            int sum = 0;
            for (const int n : all) { // until the channel is closed
                sum += n * n;
            }
            return sum;
        }));
    }
    const std::vector<int> sums = hsw::join_all(std::move(tasklets));
    return std::accumulate(sums.begin(), sums.end(), 0);
}

} // namespace

int main() {
    const numbers all;
    std::vector<int> sums(3);
    std::vector<std::thread> workers;
    for (int& sum : sums) {
        workers.emplace_back([all, &sum] { sum = squares(all); }); // a handle of its own for each thread
    }
    for (int n = 1; n <= 100; ++n) {
        all.send(n);
    }
    all.close_and_wake();
    for (std::thread& worker : workers) {
        worker.join();
    }
    std::printf("1 + 4 + 9 + ... + 10000 = %d\n", std::accumulate(sums.begin(), sums.end(), 0));
}
