#include <hardswitch.hpp>

#include <cstdio>
#include <string>

int main() {
    hsw::channel<std::string> talk;
    hsw::spawn([talk] {
        for (const char* word : {"ready", "steady", "go"}) {
            talk.send(word);
        }
    });
    hsw::spawn([talk] {
        for (int i = 0; i < 3; ++i) {
            std::puts(talk.receive().c_str());
        }
    });
    hsw::run();
}
