// The host downloads from a server that we did not write: Debian's nginx, with a configuration and files of the test's own.
#include "content.hpp"
#include "process.hpp"

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>
#include <vector>

namespace {

const char* const nginx = "/usr/sbin/nginx";

std::uint16_t free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    ::close(fd);
    return ntohs(address.sin_port);
}

bool can_connect(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    return connected;
}

void write_file(const std::string& path, std::size_t size) {
    std::string text(size, '\0');
    host::fill_content(size, 0, reinterpret_cast<std::uint8_t*>(text.data()), size);
    std::ofstream(path, std::ios::binary) << text;
    ::chmod(path.c_str(), 0644);
}

/// What coreutils say of a file.
std::string sha256sum(const std::string& path, const test::temporary_folder& folder) {
    test::process sum({"sha256sum", path}, folder / "sum", folder / "sum.err");
    REQUIRE(sum.wait(std::chrono::seconds(30)) == 0);
    return test::file_text(folder / "sum").substr(0, 64);
}

} // namespace

TEST_CASE("files of a real nginx arrive whole, and its refusals are told") {
    if (::access(nginx, X_OK) != 0) {
        MESSAGE("no nginx here (package nginx-light): not tested");
        return;
    }
    const test::temporary_folder folder;
    ::chmod(folder.path().c_str(), 0755);
    write_file(folder / "small", 1);
    write_file(folder / "middle", 300000);
    write_file(folder / "large", 5000000);
    const std::uint16_t port = free_port();
    std::ofstream(folder / "nginx.conf") << (::getuid() == 0 ? "user root;\n" : "")
                                         << "daemon off; master_process off; worker_processes 1; pid pid; error_log error.log;\n"
                                            "events { worker_connections 64; }\n"
                                            "http { access_log off; client_body_temp_path 1; proxy_temp_path 2; fastcgi_temp_path 3;\n"
                                            "uwsgi_temp_path 4; scgi_temp_path 5;\n"
                                            "server { listen 127.0.0.1:"
                                         << port
                                         << "; root " << folder.path()
                                         << "; location /slow/ { alias " << folder.path() << "/; limit_rate 200k; }\n"
                                            "location /chunked/ { alias "
                                         << folder.path() << "/; ssi on; ssi_types *; } location /gone { return 410; } } }\n";
    test::process server({nginx, "-p", folder.path(), "-e", folder / "early.log", "-c", folder / "nginx.conf"}, folder / "out", folder / "err");
    for (int i = 0; i < 100 && !can_connect(port); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    CAPTURE(test::file_text(folder / "err"));
    REQUIRE(can_connect(port));

    const std::string base = "http://127.0.0.1:" + std::to_string(port);
    std::vector<std::string> arguments = {"--npcs", "100", "--seconds", "0"};
    for (const char* name : {"small", "middle", "large"}) {
        const std::string hash = sha256sum(folder / name, folder);
        for (const char* how : {"/", "/chunked/"}) {
            arguments.insert(arguments.end(), {"--url", base + how + name, "--sha256", hash});
        }
    }
    arguments.insert(arguments.end(), {"--url", base + "/slow/middle", "--sha256", sha256sum(folder / "middle", folder)});
    const test::result good = test::run_host(arguments);
    CAPTURE(good.out);
    CHECK(good.err == "");
    CHECK(good.status == 0);
    CHECK(test::has(good.out, "ok   nonblocking " + base + "/large: 5000000 bytes"));
    CHECK(test::has(good.out, "ok   workers     " + base + "/chunked/large: 5000000 bytes"));

    const test::result bad = test::run_host({"--npcs", "100", "--seconds", "0", "--url", base + "/gone", "--url", base + "/middle", "--url",
                                             base + "/nowhere"});
    CHECK(bad.status == 1);
    CHECK(test::lines(bad.err) == 4);
    CHECK(test::has(bad.err, "the server answered 410 Gone"));
    CHECK(test::has(bad.err, "the server answered 404 Not Found"));
    CHECK(test::has(bad.out, "ok   nonblocking " + base + "/middle: 300000 bytes"));

    server.ask_to_end();
    CHECK(server.wait(std::chrono::seconds(20)) == 0);
}
