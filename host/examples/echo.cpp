// A server and its clients in one thread, without a callback.
#include <hardswitch.hpp>

#include <cstdio>
#include <string>

namespace {

void serve(hsw::tcp_stream stream) {
    char bytes[256];
    while (const std::size_t count = stream.read(bytes, sizeof bytes)) {
        stream.write_all(bytes, count);
    }
}

std::string ask(std::uint16_t port, const std::string& word) {
    auto stream = hsw::tcp_stream::connect("127.0.0.1", port);
    stream.write_all(word.data(), word.size());
    stream.end_writing();
    std::string heard;
    char bytes[256];
    while (const std::size_t count = stream.read(bytes, sizeof bytes)) {
        heard.append(bytes, count);
    }
    return heard;
}

} // namespace

int main() {
    constexpr int clients = 100;
    hsw::tcp_listener listener("127.0.0.1");
    const std::uint16_t port = listener.port();
    hsw::spawn([listener]() mutable {
        for (int i = 0; i < clients; ++i) {
            hsw::spawn([stream = listener.accept()]() mutable { serve(std::move(stream)); });
        }
    });
    int heard = 0;
    for (int i = 0; i < clients; ++i) {
        hsw::spawn([port, i, &heard] { // main's locals may be referred to: main is never sliced
            const std::string word = "hello from " + std::to_string(i);
            heard += ask(port, word) == word;
        });
    }
    hsw::run_until_idle();
    std::printf("%d clients have heard what they said\n", heard);
}
