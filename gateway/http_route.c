/* http_route.c: what there is, and who does it. docs/openapi.yaml says the same to others, and a test compares them. */
#include <string.h>

#include "base/mem.h"
#include "gateway/http.h"

#define READS (HTTP_GET | HTTP_HEAD)

const struct http_route http_routes[] = {
    {.path = "", .methods = READS, .workers = HTTP_AT_ONCE, .run = http_page_run, .name = "page"},
    {.path = "/page", .below = true, .methods = READS, .workers = HTTP_AT_ONCE, .run = http_page_run, .name = "page"},
    {.path = "/openapi.yaml", .methods = READS, .workers = HTTP_AT_ONCE, .run = http_page_run, .name = "page"},
    {.path = "/keys",
     .below = true,
     .methods = READS | HTTP_POST | HTTP_DELETE,
     .workers = HTTP_DATA,
     .service = true,
     .run = http_keys_run,
     .name = "keys"},
    {.path = "/files",
     .below = true,
     .methods = READS,
     .workers = HTTP_DATA,
     .service = true,
     .run = http_files_run,
     .name = "files"},
    {.path = "/healthz", .methods = READS, .workers = HTTP_ADMIN, .run = http_health_run, .name = "healthz"},
    {.path = "/metrics", .methods = READS, .workers = HTTP_ADMIN, .run = http_metrics_run, .name = "metrics"},
    {.path = "/admin/status", .methods = READS, .workers = HTTP_ADMIN, .run = http_status_run, .name = "status"},
    {.path = "/admin/cluster", .methods = READS, .workers = HTTP_ADMIN, .run = http_cluster_run, .name = "cluster"},
    {.path = "/admin/events", .methods = HTTP_GET, .workers = HTTP_AT_ONCE, .run = http_events_run, .name = "events"},
    {.path = "/admin/nodes",
     .below = true,
     .methods = HTTP_POST,
     .workers = HTTP_ADMIN,
     .changes = true,
     .run = http_nodes_run,
     .name = "nodes"},
    {.path = "/admin/partition",
     .methods = HTTP_POST,
     .workers = HTTP_ADMIN,
     .changes = true,
     .run = http_partition_run,
     .name = "partition"},
    {.path = "/admin/heal",
     .methods = HTTP_POST,
     .workers = HTTP_ADMIN,
     .changes = true,
     .run = http_heal_run,
     .name = "heal"},
};
const unsigned http_route_count = ARRAY_SIZE(http_routes);

static const struct {
    const char *word;
    enum http_method method;
} methods[] = {{"GET", HTTP_GET}, {"HEAD", HTTP_HEAD}, {"POST", HTTP_POST}, {"DELETE", HTTP_DELETE}};

static void answer_not_allowed(struct http_request *r, const struct http_route *route)
{
    char allowed[64] = "";
    for (unsigned i = 0; i < ARRAY_SIZE(methods); i++)
        if (route->methods & methods[i].method)
            strcat(strcat(allowed, allowed[0] ? ", " : ""), methods[i].word);
    http_answer_text(r, MHD_HTTP_METHOD_NOT_ALLOWED, "This can be asked with %s only", allowed);
    http_answer_header(r, MHD_HTTP_HEADER_ALLOW, allowed);
}

void http_route_find(struct http_request *r, const char *url, const char *method)
{
    for (unsigned i = 0; i < ARRAY_SIZE(methods); i++)
        if (strcmp(methods[i].word, method) == 0)
            r->method = methods[i].method;
    for (unsigned i = 0; i < http_route_count; i++) {
        const struct http_route *route = &http_routes[i];
        size_t size = strlen(route->path);
        bool exact = strcmp(url, size ? route->path : "/") == 0;
        if (!exact && !(route->below && strncmp(url, route->path, size) == 0 && url[size] == '/'))
            continue;
        if (!(route->methods & r->method)) {
            answer_not_allowed(r, route);
            return;
        }
        r->route = route;
        r->path = exact ? NULL : url + size + 1;
        return;
    }
    http_answer_text(r, MHD_HTTP_NOT_FOUND, "There is nothing here");
}
