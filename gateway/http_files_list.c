/* http_files_list.c: a directory, a page at a time, and the blocks of a file. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/hash.h"
#include "base/mem.h"
#include "client/survey/survey_json.h"
#include "gateway/http_files.h"
#include "gateway/http_text.h"

#define PAGE_ENTRIES 500u

static const char *type_name(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "directory";
    case S_IFREG:
        return "file";
    case S_IFLNK:
        return "symlink";
    default:
        return "special";
    }
}

static void append_text(struct bytes *to, const char *text)
{
    bytes_append(to, slice_str(text));
}

static json_t *entry_json(const struct meta_dirent *e)
{
    struct bytes link = {0};
    http_text_encode(&link, e->name, true);
    if (S_ISDIR(e->type_mode))
        append_text(&link, "/");
    json_t *o =
        json_pack("{s:o, s:o, s:s, s:I, s:I, s:I, s:i, s:f}", "name", json_slice(e->name), "link",
                  json_slice(bytes_slice(&link)), "type", type_name(e->type_mode), "ino", (json_int_t)e->attr.ino,
                  "size", (json_int_t)e->attr.size, "version", (json_int_t)e->attr.version, "mode",
                  (int)(e->attr.mode & 07777), "mtime_s", (double)e->attr.mtime_ns / (double)NS_PER_S);
    bytes_free(&link);
    return o;
}

/* The cookie of the next page, as text; a cookie has 63 bits, which not every reader of JSON keeps. */
static void cookie_text(const struct meta_query_reply *page, char text[24])
{
    text[0] = 0;
    if (!page->end && page->entry_count > 0)
        snprintf(text, 24, "%" PRIu64, page->entries[page->entry_count - 1].cookie);
}

static void answer_json(struct http_request *r, const struct meta_query_reply *page, struct slice path)
{
    json_t *entries = json_array();
    for (unsigned i = 0; i < page->entry_count; i++)
        json_array_append_new(entries, entry_json(&page->entries[i]));
    char next[24];
    cookie_text(page, next);
    http_answer_json(r, MHD_HTTP_OK,
                     json_pack("{s:o, s:o, s:o}", "path", json_slice(path), "entries", entries, "next",
                               next[0] ? json_string(next) : json_null()));
}

static void append_row(struct bytes *to, const struct meta_dirent *e)
{
    char text[160], time_text[32] = "";
    time_t seconds = (time_t)(e->attr.mtime_ns / NS_PER_S);
    struct tm tm;
    if (gmtime_r(&seconds, &tm))
        strftime(time_text, sizeof time_text, "%Y-%m-%d %H:%M:%S", &tm);
    append_text(to, "<tr><td><a href=\"");
    http_text_encode(to, e->name, true);
    append_text(to, S_ISDIR(e->type_mode) ? "/\">" : "\">");
    http_text_escape(to, e->name);
    snprintf(text, sizeof text, "</a><td>%s<td>%" PRIu64 "<td>%" PRIu64 "<td>%s\n", type_name(e->type_mode),
             e->attr.size, e->attr.version, time_text);
    append_text(to, text);
}

static void answer_html(struct http_request *r, const struct meta_query_reply *page, struct slice path)
{
    struct bytes to = {0};
    append_text(&to, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
                     "content=\"width=device-width\"><title>/");
    http_text_escape(&to, path);
    append_text(&to,
                "</title><style>:root{color-scheme:light dark;font-family:sans-serif}td,th{text-align:left;padding:"
                ".1em 1em .1em 0}</style><h1>/");
    http_text_escape(&to, path);
    append_text(&to, "</h1><table><tr><th>Name<th>Type<th>Bytes<th>Version<th>Changed (UTC)\n");
    if (path.size > 0)
        append_text(&to, "<tr><td><a href=\"../\">..</a><td>directory<td><td><td>\n");
    for (unsigned i = 0; i < page->entry_count; i++)
        append_row(&to, &page->entries[i]);
    append_text(&to, "</table>");
    char next[24];
    cookie_text(page, next);
    if (next[0]) {
        append_text(&to, "<p><a href=\"?after=");
        append_text(&to, next);
        append_text(&to, "\">More</a>");
    }
    append_text(&to, "</html>\n");
    http_answer_bytes(r, MHD_HTTP_OK, "text/html; charset=utf-8", &to);
}

static bool parse_cookie(struct slice text, uint64_t *ret)
{
    uint64_t value = 0;
    if (text.size == 0 || text.size > 19)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    *ret = value;
    return true;
}

void http_files_list(struct http_request *r, struct http_file *f, struct slice path)
{
    struct slice after;
    uint64_t cookie = 0;
    enum err e = http_argument(r, "after", &after);
    if (e != ERR_NOT_FOUND && (e != ERR_OK || !parse_cookie(after, &cookie))) {
        http_answer_text(r, MHD_HTTP_BAD_REQUEST, "\"after\" is what \"next\" said");
        return;
    }
    struct meta_query_reply page;
    e = surf_readdir(f->surf, &f->caller, f->attr.ino, cookie, PAGE_ENTRIES, true, &r->arena, &page);
    if (e != ERR_OK)
        http_answer_error(r, e, NULL);
    else if (http_text_accepts(http_header(r, MHD_HTTP_HEADER_ACCEPT), "application/json", "text/html"))
        answer_json(r, &page, path);
    else
        answer_html(r, &page, path);
    http_answer_header(r, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT);
}

static json_t *extent_json(const struct meta_extent *e)
{
    return json_pack("{s:I, s:I, s:o, s:I}", "offset", (json_int_t)e->file_offset, "length", (json_int_t)e->length,
                     "block", json_hex(SLICE(e->block.bytes, SHA256_SIZE)), "block_offset",
                     (json_int_t)e->block_offset);
}

void http_files_blocks(struct http_request *r, struct http_file *f, struct slice path)
{
    struct slice after;
    uint64_t from = 0;
    enum err e = http_argument(r, "after", &after);
    if (e != ERR_NOT_FOUND && (e != ERR_OK || !parse_cookie(after, &from) || from > f->attr.size)) {
        http_answer_text(r, MHD_HTTP_BAD_REQUEST, "\"after\" is what \"next\" said");
        return;
    }
    struct meta_query query = {
        .op = META_QUERY_LAYOUT, .ino = f->attr.ino, .offset = from, .length = META_SIZE_MAX - from};
    struct meta_query_reply reply;
    e = meta_client_query(surf_meta(f->surf), &query, f->caller.cancel, &r->arena, &reply);
    if (e == ERR_OK)
        e = reply.status;
    if (e != ERR_OK) {
        http_answer_error(r, e, NULL);
        return;
    }
    json_t *extents = json_array();
    static const struct sha256 hole;
    for (unsigned i = 0; i < reply.extent_count; i++)
        if (memcmp(&reply.extents[i].block, &hole, sizeof hole) != 0)
            json_array_append_new(extents, extent_json(&reply.extents[i]));
    const struct meta_extent *last = reply.extent_count ? &reply.extents[reply.extent_count - 1] : NULL;
    char next[24] = "";
    if (!reply.end && last)
        snprintf(next, sizeof next, "%" PRIu64, last->file_offset + last->length);
    http_answer_json(r, MHD_HTTP_OK,
                     json_pack("{s:o, s:I, s:I, s:I, s:o, s:o}", "path", json_slice(path), "ino",
                               (json_int_t)f->attr.ino, "size", (json_int_t)f->attr.size, "version",
                               (json_int_t)(reply.has_attr ? reply.attr.version : f->attr.version), "blocks", extents,
                               "next", next[0] ? json_string(next) : json_null()));
}
