#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/http.h"

#define TEXT "text/plain; charset=utf-8"

void http_answer_header(struct http_request *r, const char *name, const char *value)
{
    if (r->response)
        (void)MHD_add_response_header(r->response, name, value);
}

void http_answer_response(struct http_request *r, unsigned status, struct MHD_Response *response)
{
    static const char none[] = "out of memory\n";
    if (r->response)
        MHD_destroy_response(r->response);
    if (!response) {
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        response = MHD_create_response_from_buffer(sizeof none - 1, (void *)(uintptr_t)none, MHD_RESPMEM_PERSISTENT);
    }
    r->status = status, r->response = response;
    /* Nothing is to be guessed, kept or framed, and nobody is told from where one came. */
    http_answer_header(r, "X-Content-Type-Options", "nosniff");
    http_answer_header(r, "X-Frame-Options", "DENY");
    http_answer_header(r, "Cross-Origin-Resource-Policy", "same-origin");
    http_answer_header(r, "Referrer-Policy", "no-referrer");
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
        http_answer_header(r, MHD_HTTP_HEADER_RETRY_AFTER, HTTP_RETRY_S);
}

void http_answer_bytes(struct http_request *r, unsigned status, const char *type, struct bytes *body)
{
    if (!http_hold(r, body->size)) {
        bytes_free(body);
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "Too much is being sent already");
        return;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(body->size, body->data, MHD_RESPMEM_MUST_FREE);
    if (response)
        *body = (struct bytes){0};
    else
        bytes_free(body);
    http_answer_response(r, status, response);
    http_answer_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    http_answer_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

void http_answer_static(struct http_request *r, const char *type, struct slice body)
{
    http_answer_response(
        r, MHD_HTTP_OK,
        MHD_create_response_from_buffer(body.size, (void *)(uintptr_t)body.data, MHD_RESPMEM_PERSISTENT));
    http_answer_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    http_answer_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
}

void http_answer_empty(struct http_request *r, unsigned status)
{
    http_answer_response(r, status, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

void http_answer_text(struct http_request *r, unsigned status, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text - 1, format, args);
    va_end(args);
    size_t size = strlen(text);
    text[size++] = '\n';
    http_answer_response(r, status, MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_COPY));
    http_answer_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, TEXT);
    http_answer_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

void http_answer_json(struct http_request *r, unsigned status, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)) : NULL;
    size_t size = text ? strlen(text) : 0;
    struct bytes body = {.data = (uint8_t *)text, .size = size, .capacity = size + 1};
    json_decref(value);
    if (!text) {
        http_answer_response(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
        return;
    }
    http_answer_bytes(r, status, "application/json", &body);
}

static unsigned status_of(enum err e)
{
    switch (e) {
    case ERR_NOENT:
    case ERR_NOT_FOUND:
    case ERR_STALE:
    case ERR_NO_NODE:
    case ERR_NO_EXPORT:
        return MHD_HTTP_NOT_FOUND;
    case ERR_PERM:
    case ERR_ACCES:
    case ERR_LOOP:
        return MHD_HTTP_FORBIDDEN;
    case ERR_INVAL:
    case ERR_NAMETOOLONG:
        return MHD_HTTP_BAD_REQUEST;
    case ERR_EXIST:
    case ERR_VERSION:
    case ERR_NOT_POSSIBLE:
        return MHD_HTTP_CONFLICT;
    case ERR_TOO_BIG:
    case ERR_FBIG:
        return MHD_HTTP_CONTENT_TOO_LARGE;
    case ERR_NOSPC:
        return MHD_HTTP_INSUFFICIENT_STORAGE;
    case ERR_SESSION_EXPIRED: /* a new one is being opened */
    case ERR_CANCELLED:       /* we are stopping */
    case ERR_NOT_DONE:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    default:
        break;
    }
    enum err_class class = err_class(e);
    return class == ERR_CLASS_LEADER || class == ERR_CLASS_WAIT || class == ERR_CLASS_RETRY
               ? MHD_HTTP_SERVICE_UNAVAILABLE
               : MHD_HTTP_INTERNAL_SERVER_ERROR;
}

/* Of a change that could not be done now: whether it is sure that it never will be. */
static bool is_not_done(enum err e)
{
    switch (e) {
    case ERR_NOT_DONE:
    case ERR_UNREACHABLE:
    case ERR_NO_LEADER:
    case ERR_NOT_LEADER:
    case ERR_CRASHED:
        return true;
    default:
        return false;
    }
}

void http_answer_error(struct http_request *r, enum err e, const struct err_text *why)
{
    const char *text = why && why->text[0] ? why->text : err_message(e);
    unsigned status = status_of(e);
    bool changes = r->method & (HTTP_POST | HTTP_DELETE);
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE && changes && is_not_done(e))
        http_answer_text(r, status, "The cluster can't answer now (%s); it was not done, and won't be", text);
    else if (status == MHD_HTTP_SERVICE_UNAVAILABLE && changes)
        http_answer_text(r, MHD_HTTP_GATEWAY_TIMEOUT,
                         "The cluster can't answer now (%s); whether it was done is not known, and it may still be",
                         text);
    else if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
        http_answer_text(r, status, "The cluster can't answer now (%s)", text);
    else
        http_answer_text(r, status, "%s", text);
}
