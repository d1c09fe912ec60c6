/* http_files.c: /files/PATH: the export, to be looked at. Directories as JSON or, for browsers, as HTML. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/http_files.h"
#include "gateway/http_text.h"

void http_files_header(struct http_request *r)
{
    http_answer_header(r, "Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'");
}

/* A slash at the end is for directories, and must be there for links in them to lead into them. */
static bool ends_well(struct http_request *r, const struct http_file *f)
{
    const char *path = r->path;
    bool directory = S_ISDIR(f->attr.mode), slash = path && (!*path || path[strlen(path) - 1] == '/');
    if (directory == slash)
        return true;
    if (!directory) {
        http_answer_text(r, MHD_HTTP_NOT_FOUND, "That is not a directory");
        return false;
    }
    struct bytes target = {0};
    bytes_append(&target, slice_str("/files/"));
    bytes_append(&target, slice_str(path ? path : ""));
    bytes_append(&target, path ? SLICE("/", 2) : SLICE("", 1));
    http_answer_text(r, MHD_HTTP_MOVED_PERMANENTLY, "It is a directory: with a slash at its end");
    http_answer_header(r, MHD_HTTP_HEADER_LOCATION, (const char *)target.data);
    bytes_free(&target);
    return false;
}

static void serve(struct http_request *r, struct http_file *f, struct slice path)
{
    struct slice unused;
    bool directory = S_ISDIR(f->attr.mode);
    if (!directory && !S_ISREG(f->attr.mode)) {
        http_answer_text(r, MHD_HTTP_FORBIDDEN, "That is neither a file nor a directory");
        return;
    }
    if (!http_files_may(r, &f->attr, directory ? S_IROTH | S_IXOTH : S_IROTH)) {
        http_answer_text(r, MHD_HTTP_FORBIDDEN, "Not everybody may read that");
        return;
    }
    snprintf(f->tag, sizeof f->tag, "\"%llx-%llx\"", (unsigned long long)f->attr.ino,
             (unsigned long long)f->attr.version);
    if (!ends_well(r, f))
        return;
    if (directory)
        http_files_list(r, f, path);
    else if (http_argument(r, "blocks", &unused) != ERR_NOT_FOUND)
        http_files_blocks(r, f, path);
    else
        http_files_bytes(r, f, path);
}

void http_files_run(struct http_request *r)
{
    struct http_file f = {0};
    struct err_text why = {""};
    struct slice path = {NULL, 0};
    if (r->server->options->http.files == GATEWAY_FILES_NONE) {
        http_answer_text(r, MHD_HTTP_NOT_FOUND, "Files are not shown here");
        return;
    }
    enum err e = http_text_decode(slice_str(r->path ? r->path : ""), &r->arena, &path);
    if (e == ERR_OK)
        e = gateway_session_get(r->server->session, &f.surf, &why);
    if (e == ERR_OK)
        e = http_files_walk(r, path, &f, &why);
    if (e == ERR_OK)
        serve(r, &f, path);
    else
        http_answer_error(r, e, &why);
    http_files_header(r);
}
