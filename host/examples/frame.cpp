// A game loop: sixty frames a second, each with eight milliseconds for tasklets; in the rest of a frame the thread waits for the network,
// for workers, or for the next frame.
#include <hardswitch.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;

int main() {
    const hsw::channel<std::string> news; // carries any movable type
    hsw::spawn([news] {
        hsw::sleep(50ms); // this tasklet waits, the thread goes on
        news.send("the bird has flown");
    });
    hsw::spawn([news] {
        // A blocking function on a worker thread; again only the tasklet waits.
        news.send(hsw::offload([] {
            std::this_thread::sleep_for(100ms);
            return std::string("the file is loaded");
        }));
    });
    hsw::spawn([] { throw std::runtime_error("a script has a mistake"); }, {"script"});
    int heard = 0;
    hsw::spawn([news, &heard] { // main's locals may be referred to: main is never sliced
        for (; heard < 2; ++heard) {
            std::puts(news.receive().c_str());
        }
    });

    const auto tick = [](std::chrono::nanoseconds budget) {
        try {
            hsw::tick(budget);
        } catch (const std::exception& e) { // what a tasklet did not catch; the others go on
            std::printf("caught: %s\n", e.what());
        }
    };
    auto next_frame = std::chrono::steady_clock::now();
    while (heard < 2) {
        tick(8ms);
        next_frame += 16667us;
        while (std::chrono::steady_clock::now() < next_frame) {
            hsw::wait(next_frame - std::chrono::steady_clock::now());
            tick(1ms);
        }
    }
}
