/* http_connections.h: who is connected, and for how long something is awaited of them: a request that comes a byte at a
 * time, or an answer that is read so, would otherwise keep its connection, and the memory that it takes, for ever.
 * Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct http_connections;
struct http_connection; /* belongs to libmicrohttpd's thread between open and close */

/* Connections that bring no whole request, or don't read what they are sent, for so long are shut down. */
struct http_connections *http_connections_new(int64_t request_ns, int64_t answer_ns);
/* All have been closed. NULL is allowed. */
void http_connections_free(struct http_connections *t);
struct http_connection *http_connection_open(struct http_connections *t, int fd);
void http_connection_close(struct http_connections *t, struct http_connection *c);
/* What is awaited of it from now on: a request, that it reads what there is to be sent now, or nothing. */
void http_connection_await(struct http_connections *t, struct http_connection *c);
void http_connection_sends(struct http_connections *t, struct http_connection *c);
void http_connection_rests(struct http_connections *t, struct http_connection *c);
unsigned http_connections_count(struct http_connections *t);
/* That were shut down since the start. */
uint64_t http_connections_expired(struct http_connections *t);
