// Waits for whichever comes first, and for no longer than a limit.
#include <hardswitch.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

int main() {
    const hsw::channel<std::string> cook, guest;
    hsw::spawn([cook] {
        hsw::sleep(5ms);
        cook.send("the soup is ready");
    });
    hsw::spawn([cook, guest] {
        hsw::select either;
        either.receive(cook, [](const std::string& word) { std::printf("cook: %s\n", word.c_str()); });
        either.receive(guest, [](const std::string& word) { std::printf("guest: %s\n", word.c_str()); });
        either.perform();

        try { // the limit holds for all that waits in between
            hsw::within(20ms, [&] { std::puts(guest.receive().c_str()); });
        } catch (const hsw::timeout&) {
            std::puts("nobody came within 20 ms");
        }
    });
    // run() would return while a tasklet sleeps: whose tasklets wait for time, for sockets or for workers lets the loop run.
    hsw::run_until_idle();
}
