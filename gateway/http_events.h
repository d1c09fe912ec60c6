/* http_events.h: /admin/events: a picture of the cluster each second as server-sent events, for as long as somebody
 * looks. One thread takes them for all who do; when nobody does, it waits. */
#pragma once

#include "gateway/http.h"

struct http_events;

struct http_events *http_events_new(struct http_server *server);
/* Ends the streams: none is suspended any more after this. */
void http_events_stop(struct http_events *e);
/* Stopped, and all streams have been closed. NULL is allowed. */
void http_events_free(struct http_events *e);
