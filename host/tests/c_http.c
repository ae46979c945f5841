/* The client for HTTP, in C. */
#include <hardswitch.h>

#include <stdlib.h>
#include <string.h>

/* A body that comes from a callback. */
struct letters {
    char next;
};

static hsw_status give(void *user, void *buffer, size_t size, size_t *given) {
    struct letters *letters = user;
    *given = letters->next <= 'e' && size > 0 ? 1 : 0;
    if (*given == 1) {
        *(char *)buffer = letters->next++;
    }
    return HSW_OK;
}

/* What has come of a file. */
struct file {
    char bytes[64];
    size_t size;
    uint64_t length;
};

static hsw_status take(void *user, const void *data, size_t size, uint64_t received, uint64_t length) {
    struct file *file = user;
    if (file->size + size > sizeof file->bytes) {
        return hsw_fail(NULL, NULL, "the file is too long");
    }
    memcpy(file->bytes + file->size, data, size);
    file->size += size;
    file->length = length;
    return received == file->size ? HSW_OK : hsw_fail(NULL, NULL, "bytes are missing");
}

/* A POST to `posted`, and a download of `loaded`, whose file is "hello". The line in which something was wrong; 0: none. */
#define MUST(what) do { if (!(what)) { line = __LINE__; goto done; } } while (0)

int c_http_program(const char *posted, const char *loaded) {
    int line = 0;
    char text[64];
    bool found = false;
    void *data = NULL;
    size_t size = 0;
    uint64_t copied = 0;
    struct letters letters = {'a'};
    struct file file = {{0}, 0, 0};
    hsw_http_header header = {"Content-Type", "text/plain"};
    hsw_http_request request;
    hsw_http_answer_info info;
    hsw_http_client client = {0};
    hsw_http_answer answer = {0};

    MUST(hsw_http_client_new(NULL, &client) == HSW_OK);
    memset(&request, 0, sizeof request);
    request.url = posted;
    request.method = "POST";
    request.headers = &header;
    request.header_count = 1;
    request.source = &give;
    request.user = &letters;
    MUST(hsw_http_send(client, &request, &answer) == HSW_OK);
    MUST(hsw_http_answer_check_status(answer) == HSW_OK);
    MUST(hsw_http_answer_get_info(answer, &info) == HSW_OK && info.status == 200 && info.received == 0);
    MUST(hsw_http_answer_header(answer, "X-Method", text, sizeof text, NULL, &found) == HSW_OK && found);
    MUST(strcmp(text, "POST") == 0);
    MUST(hsw_http_answer_read_all(answer, 1000, &data, &size) == HSW_OK);
    MUST(size == 5 && strcmp(data, "abcde") == 0);
    hsw_http_answer_release(answer);
    answer.handle = 0;

    memset(&request, 0, sizeof request);
    request.url = loaded;
    MUST(hsw_http_download(client, &request, NULL, &answer) == HSW_OK);
    MUST(hsw_http_answer_copy_to(answer, &take, &file, &copied) == HSW_OK);
    MUST(copied == 5 && file.length == 5 && memcmp(file.bytes, "hello", 5) == 0);
done:
    free(data);
    if (answer.handle != 0) {
        hsw_http_answer_release(answer);
    }
    hsw_http_client_release(client);
    return line;
}
