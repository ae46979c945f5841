/* A host that has the library, and plugins with C++ runtimes of their own: `catching_host SCENE PLUGIN...`. What its tasklets say is looked at by
 * test_catching.cpp. It is linked twice: as C alone, and with a C++ runtime that its own code uses (catching_host.cpp). */
#define _POSIX_C_SOURCE 200809L

#include <hardswitch.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the host itself catches; does nothing in a host without C++. */
void host_spawn(const char *name);

struct plugin {
    void *module;
    void (*spawn)(const char *name);
    void (*handle)(char name, void (*between)(void));
    void (*unwind)(void);
};

static void *function(void *module, const char *name) {
    void *const found = dlsym(module, name);
    if (found == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    return found;
}

static struct plugin load(const char *path) {
    struct plugin out;
    void *found;
    out.module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (out.module == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    found = function(out.module, "catching_spawn");
    memcpy(&out.spawn, &found, sizeof found);
    found = function(out.module, "catching_handle");
    memcpy(&out.handle, &found, sizeof found);
    found = function(out.module, "catching_unwind");
    memcpy(&out.unwind, &found, sizeof found);
    return out;
}

static struct plugin first, second;

/* A tasklet that handles exceptions of both plugins at a time. */
static void inner(void) { second.handle('c', NULL); }
static hsw_status both(void *unused) {
    (void)unused;
    first.handle('b', inner);
    return HSW_OK;
}

static hsw_status unwind(void *unused) {
    (void)unused;
    first.unwind();
    return HSW_OK;
}

static void run(void) {
    const hsw_status status = hsw_run();
    if (status != HSW_OK) {
        printf("run: %s\n", hsw_status_name(status));
    }
    fflush(stdout);
}

static pthread_barrier_t loaded;

/* A thread whose runtime is older than the plugin. */
static void *older(void *unused) {
    (void)unused;
    hsw_thread_attach();
    pthread_barrier_wait(&loaded); /* the runtime is made */
    pthread_barrier_wait(&loaded); /* the plugin is loaded */
    first.spawn("A");
    first.spawn("B");
    run();
    return NULL;
}

int main(int count, char **arguments) {
    const char *const scene = count > 2 ? arguments[1] : "";
    if (strcmp(scene, "one") == 0) {
        first = load(arguments[2]);
        first.spawn("A");
        first.spawn("B");
        run();
    } else if (strcmp(scene, "late") == 0) {
        hsw_schedule(); /* the thread's runtime is made */
        first = load(arguments[2]);
        first.spawn("A");
        first.spawn("B");
        run();
    } else if (strcmp(scene, "two") == 0 && count > 3) {
        first = load(arguments[2]);
        second = load(arguments[3]);
        first.spawn("A");
        hsw_spawn(both, NULL, NULL, NULL);
        second.spawn("D");
        run();
    } else if (strcmp(scene, "host") == 0) {
        first = load(arguments[2]);
        first.spawn("A");
        host_spawn("H");
        first.spawn("B");
        host_spawn("I");
        run();
    } else if (strcmp(scene, "again") == 0) {
        int i;
        for (i = 0; i < 40; ++i) { /* more often than there is room for runtimes at a time */
            first = load(arguments[2]);
            first.spawn("A");
            first.spawn("B");
            run();
            dlclose(first.module);
            if (dlopen(arguments[2], RTLD_NOW | RTLD_NOLOAD) != NULL) {
                puts("the plugin is still there");
            }
        }
        host_spawn("H");
        host_spawn("I");
        run();
    } else if (strcmp(scene, "thread") == 0) {
        pthread_t thread;
        pthread_barrier_init(&loaded, NULL, 2);
        pthread_create(&thread, NULL, older, NULL);
        pthread_barrier_wait(&loaded);
        first = load(arguments[2]);
        pthread_barrier_wait(&loaded);
        pthread_join(thread, NULL);
    } else if (strcmp(scene, "unwind") == 0) {
        first = load(arguments[2]);
        hsw_spawn(unwind, NULL, NULL, NULL);
        host_spawn("H"); /* somebody to give way to */
        run();
    } else {
        return 2;
    }
    puts("done");
    return 0;
}
