/* http_files_bytes.c: a file's bytes, whole or a range. They are all of the version that the entity tag names: when the
 * file changes under way, the answer ends early, and its reader sees that it is not whole. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "client/file/file.h"
#include "gateway/http_files.h"
#include "gateway/http_text.h"

#define CHUNK_BYTES (256 * KIB) /* what a worker reads at a time */
#define SEND_BYTES (32 * KIB)
#define STREAMS_MAX 256u /* files that are being sent, each with a chunk in memory */

/* Belongs to libmicrohttpd's thread, while it has no work. */
struct stream {
    struct work work;
    struct http_server *server;
    struct MHD_Connection *connection;
    struct http_connection *client;
    struct surf *surf;
    struct surf_caller caller;
    struct open_file *file;
    uint64_t version;
    uint64_t at, end; /* what is still to be read */
    uint8_t *chunk;
    size_t filled, sent; /* of the chunk */
    bool failed;
};

static bool version_is(struct surf *surf, const struct surf_caller *caller, uint64_t ino, uint64_t version)
{
    struct meta_attr now;
    return surf_getattr(surf, caller, ino, &now) == ERR_OK && now.version == version;
}

/* The next chunk; the version is looked at afterwards, so that what was read is of this version or an older one. */
static void fill(struct stream *s)
{
    size_t size = (size_t)MIN(s->end - s->at, CHUNK_BYTES), got = 0;
    enum err e = file_read(s->file, s->at, s->chunk, size, s->caller.cancel, &got);
    s->failed = e != ERR_OK || got != size || !version_is(s->surf, &s->caller, open_file_ino(s->file), s->version);
    s->filled = got, s->sent = 0;
    s->at += got;
}

static void fill_work(struct work *w)
{
    struct stream *s = container_of(w, struct stream, work);
    fill(s);
    http_resume(s->server, s->connection);
}

static ssize_t read_stream(void *context, uint64_t position, char *to, size_t room)
{
    (void)position;
    struct stream *s = context;
    if (s->failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (s->sent < s->filled) {
        if (s->sent == 0)
            http_connection_sends(s->server->connections, s->client);
        size_t size = MIN(room, s->filled - s->sent);
        memcpy(to, s->chunk + s->sent, size);
        s->sent += size;
        return (ssize_t)size;
    }
    if (s->at == s->end)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (!http_suspend(s->server, s->connection))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    http_connection_rests(s->server->connections, s->client);
    s->work.run = fill_work;
    if (!work_pool_put(s->server->workers[HTTP_DATA], &s->work)) {
        s->failed = true;
        http_resume(s->server, s->connection);
    }
    return 0;
}

static void free_stream(void *context)
{
    struct stream *s = context;
    atomic_fetch_sub(&s->server->files_sent, 1);
    file_close(s->file);
    free(s->chunk);
    free(s);
}

static const char *content_type(struct slice path)
{
    static const struct {
        const char *ending, *type;
    } types[] = {{".txt", "text/plain; charset=utf-8"},
                 {".log", "text/plain; charset=utf-8"},
                 {".md", "text/markdown; charset=utf-8"},
                 {".csv", "text/csv; charset=utf-8"},
                 {".html", "text/html; charset=utf-8"},
                 {".css", "text/css; charset=utf-8"},
                 {".js", "text/javascript; charset=utf-8"},
                 {".json", "application/json"},
                 {".xml", "application/xml"},
                 {".pdf", "application/pdf"},
                 {".zip", "application/zip"},
                 {".gz", "application/gzip"},
                 {".png", "image/png"},
                 {".jpg", "image/jpeg"},
                 {".jpeg", "image/jpeg"},
                 {".gif", "image/gif"},
                 {".svg", "image/svg+xml"},
                 {".webp", "image/webp"},
                 {".mp3", "audio/mpeg"},
                 {".mp4", "video/mp4"}};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        size_t size = strlen(types[i].ending);
        if (path.size >= size && strncasecmp((const char *)path.data + path.size - size, types[i].ending, size) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

/* What a range belongs to must be what the asker has the rest of. */
static bool range_counts(struct http_request *r, const struct http_file *f)
{
    const char *condition = http_header(r, "If-Range");
    return !condition || strcmp(condition, f->tag) == 0;
}

static void describe(struct http_request *r, const struct http_file *f, const char *type)
{
    char time_text[40];
    time_t seconds = (time_t)(f->attr.mtime_ns / NS_PER_S);
    struct tm tm;
    http_answer_header(r, MHD_HTTP_HEADER_ETAG, f->tag);
    http_answer_header(r, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    http_answer_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    if (gmtime_r(&seconds, &tm) && strftime(time_text, sizeof time_text, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0)
        http_answer_header(r, MHD_HTTP_HEADER_LAST_MODIFIED, time_text);
    if (type)
        http_answer_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
}

/* The first chunk is read here: an error then has its own status, and a small file needs no second turn. */
static enum err stream_open(struct http_request *r, struct http_file *f, const struct http_range *range,
                            struct stream **ret, struct err_text *why)
{
    struct open_file *file;
    bool keep_cache;
    TRY(surf_open(f->surf, &f->caller, f->attr.ino, O_RDONLY, &file, &keep_cache));
    if (atomic_fetch_add(&r->server->files_sent, 1) >= STREAMS_MAX) {
        atomic_fetch_sub(&r->server->files_sent, 1);
        file_close(file);
        return err_explain(why, ERR_BUSY_NOW, "too many files are being sent already");
    }
    struct stream *s = MEM_NEW(struct stream);
    *s = (struct stream){.server = r->server,
                         .connection = r->connection,
                         .client = r->client,
                         .surf = f->surf,
                         .caller = f->caller,
                         .file = file,
                         .version = f->attr.version,
                         .at = range->from,
                         .end = range->from + range->size};
    s->chunk = mem_alloc(MIN(range->size, CHUNK_BYTES) + 1);
    if (r->method != HTTP_HEAD && range->size > 0)
        fill(s);
    if (s->failed) {
        free_stream(s);
        return err_explain(why, ERR_AGAIN, "the file is being changed, or its blocks can't be read");
    }
    *ret = s;
    return ERR_OK;
}

static void send_range(struct http_request *r, struct http_file *f, const struct http_range *range, unsigned status)
{
    struct stream *s;
    struct err_text why = {""};
    enum err e = stream_open(r, f, range, &s, &why);
    if (e != ERR_OK) {
        http_answer_error(r, e, &why);
        return;
    }
    struct MHD_Response *response =
        MHD_create_response_from_callback(range->size, SEND_BYTES, read_stream, s, free_stream);
    if (!response)
        free_stream(s);
    http_answer_response(r, status, response);
}

void http_files_bytes(struct http_request *r, struct http_file *f, struct slice path)
{
    struct http_range range = {.from = 0, .size = f->attr.size};
    char text[80];
    if (http_text_has_tag(http_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH), f->tag)) {
        http_answer_empty(r, MHD_HTTP_NOT_MODIFIED);
        describe(r, f, NULL);
        return;
    }
    const char *asked = range_counts(r, f) ? http_header(r, MHD_HTTP_HEADER_RANGE) : NULL;
    enum err e = http_text_range(asked, f->attr.size, &range);
    if (e == ERR_RANGE) {
        http_answer_text(r, MHD_HTTP_RANGE_NOT_SATISFIABLE, "The file has %llu bytes",
                         (unsigned long long)f->attr.size);
        snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)f->attr.size);
        http_answer_header(r, MHD_HTTP_HEADER_CONTENT_RANGE, text);
        return;
    }
    send_range(r, f, &range, e == ERR_OK ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK);
    if (r->status != MHD_HTTP_PARTIAL_CONTENT && r->status != MHD_HTTP_OK)
        return;
    describe(r, f, content_type(path));
    if (r->status == MHD_HTTP_PARTIAL_CONTENT) {
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)range.from,
                 (unsigned long long)(range.from + range.size - 1), (unsigned long long)f->attr.size);
        http_answer_header(r, MHD_HTTP_HEADER_CONTENT_RANGE, text);
    }
}
