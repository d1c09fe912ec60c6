/* http_keys.c: /keys/KEY: the key/value space as lists of strings, for programs that speak JSON. Every answer is as of
 * after the question, on whichever node (client/kv/kv.h). A key is what is behind /keys/ with percent encoding undone:
 * any bytes, slashes too. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/kv/kv.h"
#include "client/survey/survey_json.h"
#include "gateway/http.h"
#include "gateway/http_text.h"

#define ELEMENTS_MAX 65536u /* in one request: what is made of its text takes more memory than the text */
#define LIST_PAGE 500u
#define TAG_BYTES 32u

#define BAD_REQUEST "The request is not valid"
#define BAD_VALUE "The request value is not valid"
#define BAD_TYPE "The request type is not correct"
#define BAD_STORED "The stored value is not a list of strings"

struct keys {
    struct http_request *r;
    struct meta_client *meta;
    struct rpc_cancel *cancel;
    struct slice key; /* empty: the list of keys is meant */
};

static void answer_changed(struct http_request *r, uint64_t version)
{
    char tag[TAG_BYTES];
    snprintf(tag, sizeof tag, "\"%" PRIu64 "\"", version);
    http_answer_empty(r, MHD_HTTP_NO_CONTENT);
    http_answer_header(r, MHD_HTTP_HEADER_ETAG, tag);
}

static void answer_failed(struct http_request *r, enum err e)
{
    if (e == ERR_WRONG_TYPE)
        http_answer_text(r, MHD_HTTP_BAD_REQUEST, BAD_STORED);
    else if (e == ERR_NOT_FOUND)
        http_answer_text(r, MHD_HTTP_NOT_FOUND, "There is no such key");
    else if (e == ERR_TOO_BIG)
        http_answer_text(r, MHD_HTTP_CONTENT_TOO_LARGE, "The value would be over %u bytes", LIMIT_KV_VALUE_BYTES);
    else
        http_answer_error(r, e, NULL);
}

/* If-Match with the tag of one version: *ret is 0 without it. False: it has been answered. */
static bool expected_version(struct http_request *r, uint64_t *ret)
{
    const char *header = http_header(r, MHD_HTTP_HEADER_IF_MATCH);
    unsigned long long version = 0;
    int end = 0;
    *ret = 0;
    if (header && (sscanf(header, "\"%19llu\"%n", &version, &end) != 1 || end == 0 || header[end] || version == 0)) {
        http_answer_text(r, MHD_HTTP_PRECONDITION_FAILED, "If-Match takes the ETag of one version");
        return false;
    }
    *ret = version;
    return true;
}

/* ---- reading ---- */

static int append_json(const char *text, size_t size, void *to)
{
    bytes_append(to, SLICE(text, size));
    return 0;
}

/* Element by element: a list may have hundreds of thousands, of which a tree takes a hundred times as much as the text.
 * False: one is no text. */
static bool list_json(struct slice value, struct bytes *to)
{
    struct cursor c = cursor_of(value);
    struct slice element;
    bool written = true;
    for (const char *before = "["; written && kv_list_next(&c, &element); before = ",") {
        json_auto_t *text = json_stringn((const char *)element.data, element.size);
        bytes_append(to, slice_str(before));
        written = text && json_dump_callback(text, append_json, to, JSON_COMPACT | JSON_ENCODE_ANY) == 0;
    }
    bytes_append(to, slice_str(to->size > 0 ? "]" : "[]"));
    return written;
}

static void get(struct keys *k)
{
    struct meta_kv_entry entry;
    _cleanup_(bytes_free) struct bytes list = {0};
    enum err e = kv_get(k->meta, k->key, k->cancel, &k->r->arena, &entry);
    if (e != ERR_OK) {
        answer_failed(k->r, e);
        return;
    }
    if (entry.type != META_KV_LIST || !list_json(entry.value, &list)) {
        http_answer_text(k->r, MHD_HTTP_BAD_REQUEST, BAD_STORED);
        return;
    }
    char tag[TAG_BYTES];
    snprintf(tag, sizeof tag, "\"%" PRIu64 "\"", entry.version);
    http_answer_bytes(k->r, MHD_HTTP_OK, "application/json", &list);
    http_answer_header(k->r, MHD_HTTP_HEADER_ETAG, tag);
}

/* A key that is no UTF-8 has no text, but a link. */
static json_t *entry_json(const struct meta_kv_entry *e)
{
    struct bytes link = {0};
    bytes_append(&link, slice_str("/keys/"));
    http_text_encode(&link, e->key, true);
    json_t *key = http_text_is_utf8(e->key) ? json_stringn((const char *)e->key.data, e->key.size) : json_null();
    json_t *o = json_pack("{s:o, s:o, s:s, s:I, s:I}", "key", key, "link", json_slice(bytes_slice(&link)), "type",
                          e->type == META_KV_LIST ? "list" : "bytes", "size", (json_int_t)e->size, "version",
                          (json_int_t)e->version);
    bytes_free(&link);
    return o;
}

static void list(struct keys *k)
{
    struct http_request *r = k->r;
    struct slice prefix = {NULL, 0}, after = {NULL, 0};
    enum err of_prefix = http_argument(r, "prefix", &prefix), of_after = http_argument(r, "after", &after);
    if (of_prefix == ERR_INVAL || of_after == ERR_INVAL || prefix.size > LIMIT_KV_KEY_BYTES ||
        after.size > LIMIT_KV_KEY_BYTES) {
        http_answer_text(r, MHD_HTTP_BAD_REQUEST, BAD_REQUEST);
        return;
    }
    struct kv_page page;
    enum err e = kv_list(k->meta, prefix, after, LIST_PAGE, false, k->cancel, &r->arena, &page);
    if (e != ERR_OK) {
        answer_failed(r, e);
        return;
    }
    json_t *keys = json_array(), *next = json_null();
    for (unsigned i = 0; i < page.count; i++)
        json_array_append_new(keys, entry_json(&page.entries[i]));
    if (!page.end) {
        struct bytes link = {0};
        bytes_append(&link, slice_str("/keys?prefix="));
        http_text_encode(&link, prefix, true);
        bytes_append(&link, slice_str("&after="));
        http_text_encode(&link, page.last, true);
        next = json_slice(bytes_slice(&link));
        bytes_free(&link);
    }
    http_answer_json(r, MHD_HTTP_OK, json_pack("{s:o, s:o}", "keys", keys, "next", next));
}

/* ---- changing ---- */

/* Whether so many values would come of it that they are not to be made: commas outside of strings count them. */
static bool has_too_many(struct slice text)
{
    unsigned commas = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == ',' || c == '[' || c == '{'))
            commas++;
    }
    return commas > ELEMENTS_MAX;
}

/* False: it is no list of strings. */
static bool read_list(json_t *value, struct bytes *ret)
{
    size_t i;
    json_t *item;
    if (!json_is_array(value))
        return false;
    json_array_foreach(value, i, item)
    {
        if (!json_is_string(item))
            return false;
        kv_list_add(ret, SLICE(json_string_value(item), json_string_length(item)));
    }
    return true;
}

static enum err put_list(struct keys *k, struct slice value, uint64_t *ret_version)
{
    const char *none_match = http_header(k->r, MHD_HTTP_HEADER_IF_NONE_MATCH);
    struct kv_value v = {.type = META_KV_LIST, .bytes = value};
    uint64_t expected;
    if (!expected_version(k->r, &expected))
        return ERR_INVAL;
    if (expected)
        return kv_cas(k->meta, k->key, expected, &v, k->cancel, ret_version);
    if (none_match && strcmp(none_match, "*") == 0)
        return kv_set(k->meta, k->key, &v, k->cancel, ret_version);
    return kv_put(k->meta, k->key, &v, k->cancel, ret_version);
}

static void put(struct keys *k, json_t *value)
{
    _cleanup_(bytes_free) struct bytes bytes = {0};
    uint64_t version;
    if (!read_list(value, &bytes)) {
        http_answer_text(k->r, MHD_HTTP_BAD_REQUEST, BAD_VALUE);
        return;
    }
    enum err e = put_list(k, bytes_slice(&bytes), &version);
    bool conditional = http_header(k->r, MHD_HTTP_HEADER_IF_MATCH) || http_header(k->r, MHD_HTTP_HEADER_IF_NONE_MATCH);
    if (e == ERR_OK)
        answer_changed(k->r, version);
    else if (conditional && (e == ERR_VERSION || e == ERR_EXIST || e == ERR_NOT_FOUND))
        http_answer_text(k->r, MHD_HTTP_PRECONDITION_FAILED, "The key has another version");
    else if (!k->r->response)
        answer_failed(k->r, e);
}

static void append(struct keys *k, json_t *value)
{
    uint64_t version;
    if (!json_is_string(value)) {
        http_answer_text(k->r, MHD_HTTP_BAD_REQUEST, BAD_VALUE);
        return;
    }
    struct slice element = SLICE(json_string_value(value), json_string_length(value));
    enum err e = kv_append(k->meta, k->key, element, 0, k->cancel, &version);
    if (e == ERR_OK)
        answer_changed(k->r, version);
    else
        answer_failed(k->r, e);
}

/* The request as JSON, to be let go of; NULL: it has been answered. */
static json_t *read_request(struct http_request *r)
{
    const char *content_type = http_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    json_error_t error;
    json_t *o = NULL;
    if (has_too_many(bytes_slice(&r->body))) {
        http_answer_text(r, MHD_HTTP_CONTENT_TOO_LARGE, "A request may have %u strings", ELEMENTS_MAX);
        return NULL;
    }
    if (content_type && strcmp(content_type, "application/json") == 0)
        o = json_loadb((const char *)r->body.data, r->body.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json_is_object(o)) {
        http_answer_text(r, MHD_HTTP_BAD_REQUEST, BAD_REQUEST);
        json_decref(o);
        return NULL;
    }
    return o;
}

static void post(struct keys *k)
{
    json_auto_t *o = read_request(k->r);
    const char *type = json_string_value(json_object_get(o, "type"));
    if (!o)
        return;
    if (type && strcmp(type, "PUT") == 0)
        put(k, json_object_get(o, "value"));
    else if (type && strcmp(type, "APPEND") == 0)
        append(k, json_object_get(o, "value"));
    else
        http_answer_text(k->r, MHD_HTTP_BAD_REQUEST, BAD_TYPE);
}

static void delete (struct keys *k)
{
    uint64_t expected;
    if (!expected_version(k->r, &expected))
        return;
    enum err e = kv_delete(k->meta, k->key, expected, k->cancel);
    if (e == ERR_OK)
        http_answer_empty(k->r, MHD_HTTP_NO_CONTENT);
    else if (e == ERR_VERSION)
        http_answer_text(k->r, MHD_HTTP_PRECONDITION_FAILED, "The key has another version");
    else
        answer_failed(k->r, e);
}

void http_keys_run(struct http_request *r)
{
    struct keys k = {.r = r, .cancel = gateway_session_cancel(r->server->session)};
    struct err_text why = {""};
    struct surf *surf;
    bool changes = r->method & (HTTP_POST | HTTP_DELETE);
    enum err e = http_text_decode(slice_str(r->path ? r->path : ""), &r->arena, &k.key);
    if (e == ERR_OK && (k.key.size > LIMIT_KV_KEY_BYTES || (changes && k.key.size == 0)))
        e = err_explain(&why, ERR_INVAL, "A key has 1 to %u bytes", LIMIT_KV_KEY_BYTES);
    if (e == ERR_OK)
        e = gateway_session_get(r->server->session, &surf, &why);
    if (e != ERR_OK) {
        http_answer_error(r, changes && e == ERR_TIMEOUT ? ERR_NOT_DONE : e, &why); /* there is no session yet */
        return;
    }
    k.meta = surf_meta(surf);
    if (r->method == HTTP_POST)
        post(&k);
    else if (r->method == HTTP_DELETE)
        delete (&k);
    else if (k.key.size > 0)
        get(&k);
    else
        list(&k);
}
