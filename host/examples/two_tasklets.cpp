#include <hardswitch.hpp>

#include <cstdio>
#include <string>

int main() {
    hsw::channel<std::string> talk;
    hsw::spawn([talk] {
        for (int i = 0; i < 3; ++i) {
            talk.send("tick");
            talk.send("tock");
        }
        talk.close();
    });
    hsw::spawn([talk] {
        for (const std::string& word : talk) {
            std::puts(word.c_str());
        }
    });
    hsw::run();
}
