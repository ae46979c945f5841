#include <hardswitch.hpp>
#include <cstdio>

int main() {
    hsw::channel<int> squares;
    hsw::spawn([=] { for (int i = 1; i <= 3; ++i) squares.send(i * i); });
    hsw::spawn([=] { for (int i = 1; i <= 3; ++i) std::printf("%d\n", squares.receive()); });
    hsw::run(); // until both have ended
}
