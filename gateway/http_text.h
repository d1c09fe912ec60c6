/* http_text.h: the parts of a request that are text: bounded, pure. What is not well formed is INVAL. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

/* Percent encoding is undone ("+" stays what it is); the result is in the arena. Any byte may come out, NUL too. */
enum err http_text_decode(struct slice text, struct arena *arena, struct slice *ret) MUST_USE;
/* For a path that is shown or linked: everything that is not unreserved in RFC 3986 is encoded, "/" only if asked. */
void http_text_encode(struct bytes *to, struct slice text, bool slash);
/* & < > " ' as entities; control characters and bytes that are no UTF-8 as U+FFFD. */
void http_text_escape(struct bytes *to, struct slice text);
bool http_text_is_utf8(struct slice text);
/* RFC 9110, 14.2. NOT_FOUND: no range that is to be heeded (several, another unit, not well formed): the whole is sent;
 * RANGE: it has nothing of a file of this size. */
struct http_range {
    uint64_t from, size;
};
enum err http_text_range(const char *header, uint64_t file_size, struct http_range *ret) MUST_USE;
/* Whether a list of entity tags as in If-None-Match names this one (weak comparison), or is "*". */
bool http_text_has_tag(const char *header, const char *tag);
/* Of two media types, whether `preferred` is asked for at least as much as `other`: both with their "*" forms; without
 * a header anything goes. */
bool http_text_accepts(const char *header, const char *preferred, const char *other);

/* The name in Host: without a port, in lower case, brackets of IPv6 taken off. False: not well formed or too long. */
#define HTTP_HOST_BYTES 255u
bool http_text_host(const char *header, char name[HTTP_HOST_BYTES + 1]);
