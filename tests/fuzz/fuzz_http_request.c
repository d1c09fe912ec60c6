/* Fuzzes requests of HTTP behind their parsing by libmicrohttpd: the route, who may, keys with their JSON, what is done
 * to nodes, paths of files. The input is 9 bytes that decide what the cluster answers, "METHOD URL", lines of headers,
 * an empty line and a body. Every request is answered once; nothing is changed for pages of others, nor for callers
 * elsewhere; no path leads to what not everybody may read. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"
#include "fuzz.h"
#include "gateway/http_guard.h"
#include "gateway/http_text.h"
#include "tests/fuzz/http_world.h"

#define HEADERS 16u
#define DECISION_BYTES 9u

static struct {
    char *names[HEADERS], *values[HEADERS];
    unsigned count;
    char *arguments; /* behind '?', or NULL */
} input;

const char *http_header(struct http_request *r, const char *name)
{
    (void)r;
    for (unsigned i = 0; i < input.count; i++)
        if (strcasecmp(input.names[i], name) == 0)
            return input.values[i];
    return NULL;
}

enum err http_argument(struct http_request *r, const char *name, struct slice *ret)
{
    for (const char *at = input.arguments; at && *at;) {
        size_t size = strcspn(at, "&"), name_size = strcspn(at, "=&");
        if (name_size == strlen(name) && memcmp(at, name, name_size) == 0) {
            size_t skipped = MIN(name_size + 1, size);
            return http_text_decode(SLICE(at + skipped, size - skipped), &r->arena, ret);
        }
        at += size + (at[size] != 0);
    }
    return ERR_NOT_FOUND;
}

bool http_hold(struct http_request *r, size_t bytes)
{
    r->held_bytes += bytes;
    return true;
}

/* Cuts off the next line; NULL: there is none. */
static char *next_line(char **at)
{
    char *line = *at, *end = line ? strchr(line, '\n') : NULL;
    if (!line)
        return NULL;
    if (end)
        *end = 0;
    *at = end ? end + 1 : NULL;
    return line;
}

static bool is_own_origin(void)
{
    const char *origin = http_header(NULL, "Origin"), *host = http_header(NULL, "Host");
    if (!origin)
        return true;
    const char *colon = strchr(origin, ':');
    return host && colon && strncmp(colon, "://", 3) == 0 && strcasecmp(colon + 3, host) == 0;
}

static void check(const struct http_request *r)
{
    bool is_change = r->method == HTTP_POST || r->method == HTTP_DELETE;
    CHECK(r->response && r->status >= 200 && r->status <= 599);
    if (http_world.keys_changed > 0)
        CHECK(is_change && is_own_origin() && http_world.keys_changed == 1);
    if (http_world.nodes_asked > 0)
        CHECK(r->method == HTTP_POST && is_own_origin() && http_world.loopback && http_header(NULL, HTTP_GUARD_HEADER));
    if (http_world.file_was_read)
        CHECK(r->method == HTTP_GET || r->method == HTTP_HEAD);
    const char *location = MHD_get_response_header(r->response, MHD_HTTP_HEADER_LOCATION);
    CHECK(!location || strncmp(location, "/files", strlen("/files")) == 0);
}

static void run(char *text, struct slice body)
{
    static const struct gateway_options options = {.node_id = 1, .own.text = "127.0.0.1:1"};
    static struct http_server server = {.options = &options, .own_names = {"node.example", "node"}};
    struct http_request r = {.server = &server};
    char *line = next_line(&text), *url = line ? strchr(line, ' ') : NULL;
    if (!url)
        return;
    *url++ = 0;
    char *question = strchr(url, '?');
    if (question)
        *question = 0;
    input.arguments = question ? question + 1 : NULL;
    for (char *header; input.count < HEADERS && (header = next_line(&text));) {
        char *colon = strstr(header, ": ");
        if (!colon)
            continue;
        *colon = 0;
        input.names[input.count] = header;
        input.values[input.count++] = colon + 2;
    }
    http_route_find(&r, url, line);
    if (!r.response && http_guard_allows(&r)) {
        bytes_append(&r.body, body);
        r.route->run(&r);
    }
    check(&r);
    MHD_destroy_response(r.response);
    bytes_free(&r.body);
    arena_free(&r.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < DECISION_BYTES || size > 64 * KIB)
        return 0;
    memset(&input, 0, sizeof input);
    http_world = (struct http_world){.coin = get_u64be(data), .loopback = data[8] & 1};
    struct slice rest = SLICE(data + DECISION_BYTES, size - DECISION_BYTES);
    size_t head = 0;
    while (head < rest.size && !(rest.data[head] == '\n' && (head + 1 == rest.size || rest.data[head + 1] == '\n')))
        head++;
    char *text = mem_alloc(head + 1);
    if (head > 0)
        memcpy(text, rest.data, head);
    text[head] = 0;
    size_t from = MIN(head + 2, rest.size);
    _cleanup_free_ uint8_t *body = mem_dup(rest.data + from, rest.size - from); /* of this size exactly */
    run(text, SLICE(body, rest.size - from));
    free(text);
    return 0;
}
