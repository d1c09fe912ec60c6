/* http_counters.h: what was asked here and how long it took, for /metrics and the page. Any thread. */
#pragma once

#include "gateway/http.h"

/* Upper bounds of the buckets in microseconds; one more bucket has all that took longer. */
#define HTTP_COUNTER_BOUNDS_US                                                                                         \
    {                                                                                                                  \
        250, 1000, 2500, 10000, 25000, 100000, 250000, 1000000, 5000000                                                \
    }
#define HTTP_COUNTER_BUCKETS 10u
#define HTTP_COUNTER_CLASSES 6u /* of a status: its hundreds; 0: the connection was lost before there was one */

struct http_counters;

struct http_counters *http_counters_new(void);
void http_counters_free(struct http_counters *c);
/* route NULL: there was none. */
void http_counters_add(struct http_counters *c, const struct http_route *route, unsigned status, int64_t took_ns);
/* In the format of Prometheus. */
void http_counters_print(const struct http_counters *c, struct bytes *to);
