/* http_page.c: the page of the cluster, from files in page/ that the build puts into the program. */
#include <string.h>

#include "gateway/http.h"
#include "gateway/page_files.h"

/* Only what comes from here, no plug-ins, no frames, nothing inline. */
#define POLICY                                                                                                         \
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "   \
    "form-action 'none'; frame-ancestors 'none'"

static const struct {
    const char *path; /* behind the route's; NULL: the route itself */
    const char *route;
    const char *type;
    const struct page_file *file;
} pages[] = {
    {NULL, "", "text/html; charset=utf-8", &page_index_html},
    {"style.css", "/page", "text/css; charset=utf-8", &page_style_css},
    {"page.js", "/page", "text/javascript; charset=utf-8", &page_page_js},
    {"icon.svg", "/page", "image/svg+xml", &page_icon_svg},
    {NULL, "/openapi.yaml", "application/yaml", &page_openapi_yaml},
};

void http_page_run(struct http_request *r)
{
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        bool path = pages[i].path ? r->path && strcmp(r->path, pages[i].path) == 0 : !r->path;
        if (!path || strcmp(r->route->path, pages[i].route) != 0)
            continue;
        http_answer_static(r, pages[i].type, SLICE(pages[i].file->data, pages[i].file->size));
        http_answer_header(r, "Content-Security-Policy", POLICY);
        return;
    }
    http_answer_text(r, MHD_HTTP_NOT_FOUND, "There is nothing here");
}
