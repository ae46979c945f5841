// The part in C++ of a catching_host that has some.
#include <hardswitch.hpp>

#include <cstdio>

extern "C" void host_spawn(const char* name);

void host_spawn(const char* name) {
    hsw::spawn_detached([name = *name] {
        struct custom {
            char name;
        };
        try {
            throw custom{name};
        } catch (const custom& e) {
            hsw::schedule();
            hsw::schedule();
            std::printf("%c still handles %c\n", name, e.name);
        }
    });
}
