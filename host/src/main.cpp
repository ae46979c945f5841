// hsw-host: see --help, and README.md in this folder.
#include "game.hpp"
#include "options.hpp"

#include <hardswitch.hpp>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace {

void apply_settings(const host::options& how) {
    hsw::settings settings = hsw::default_settings();
    if (how.windows) {
        settings.windows = *how.windows;
    }
    if (how.window_size) {
        settings.window_size = *how.window_size;
    }
    if (settings.watermark > settings.window_size) {
        settings.watermark = settings.window_size / 2;
    }
    hsw::init(settings);
}

} // namespace

int main(int argc, char** argv) {
    host::options how;
    try {
        how = host::parse_options(std::vector<std::string>(argv + 1, argv + argc));
    } catch (const host::usage_error& e) {
        host::complain(e.what());
        return 2;
    }
    if (how.help) {
        std::fputs(host::help_text(), stdout);
        return 0;
    }
    if (how.version) {
        std::printf("hsw-host with hardswitch %s\n", hsw_version());
        return 0;
    }
    if (hsw_abi_version() != HSW_ABI_VERSION) {
        host::complain("compiled for another hardswitch than it is linked with");
        return 1;
    }
    try {
        apply_settings(how);
        const bool good = how.park != 0 ? host::park(how) : host::play(how);
        return good ? 0 : 1;
    } catch (const std::exception& e) {
        host::complain(e.what());
        return 1;
    }
}
