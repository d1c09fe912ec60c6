#include "gateway/http_counters.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/http_metrics.h"

#define ROUTES_MAX 16u

static const int64_t bounds_us[] = HTTP_COUNTER_BOUNDS_US;
_Static_assert(ARRAY_SIZE(bounds_us) + 1 == HTTP_COUNTER_BUCKETS, "one bucket has the rest");

struct counter {
    atomic_uint_fast64_t answers[HTTP_COUNTER_CLASSES], buckets[HTTP_COUNTER_BUCKETS], took_us;
};

/* The last one is of requests that no route was found for. */
struct http_counters {
    struct counter routes[ROUTES_MAX + 1];
};

struct http_counters *http_counters_new(void)
{
    return MEM_NEW(struct http_counters);
}

void http_counters_free(struct http_counters *c)
{
    free(c);
}

void http_counters_add(struct http_counters *c, const struct http_route *route, unsigned status, int64_t took_ns)
{
    size_t index = route ? MIN((size_t)(route - http_routes), ROUTES_MAX) : ROUTES_MAX;
    struct counter *n = &c->routes[index];
    unsigned class = status / 100 < HTTP_COUNTER_CLASSES ? status / 100 : 0, bucket = 0;
    int64_t took_us = took_ns / NS_PER_US;
    while (bucket < ARRAY_SIZE(bounds_us) && took_us > bounds_us[bucket])
        bucket++;
    atomic_fetch_add_explicit(&n->answers[class], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&n->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&n->took_us, (uint64_t)took_us, memory_order_relaxed);
}

/* Several routes may have one name, and count together. */
struct sums {
    uint64_t answers[HTTP_COUNTER_CLASSES], buckets[HTTP_COUNTER_BUCKETS], took_us, count;
};

static const char *name_of(unsigned index)
{
    return index < http_route_count ? http_routes[index].name : index == ROUTES_MAX ? "none" : NULL;
}

static bool is_first(unsigned index)
{
    for (unsigned i = 0; i < index; i++)
        if (name_of(i) && strcmp(name_of(i), name_of(index)) == 0)
            return false;
    return true;
}

static void sum(const struct http_counters *c, const char *name, struct sums *ret)
{
    *ret = (struct sums){0};
    for (unsigned i = 0; i <= ROUTES_MAX; i++) {
        if (!name_of(i) || strcmp(name_of(i), name) != 0)
            continue;
        const struct counter *n = &c->routes[i];
        for (unsigned k = 0; k < HTTP_COUNTER_CLASSES; k++)
            ret->answers[k] += atomic_load(&n->answers[k]);
        for (unsigned k = 0; k < HTTP_COUNTER_BUCKETS; k++)
            ret->buckets[k] += atomic_load(&n->buckets[k]), ret->count += atomic_load(&n->buckets[k]);
        ret->took_us += atomic_load(&n->took_us);
    }
}

static void print_answers(const struct http_counters *c, struct bytes *to)
{
    struct sums n;
    metric_begin(to, "surf_http_requests_total", "counter",
                 "Requests that have ended, by what was asked and answered.");
    for (unsigned i = 0; i <= ROUTES_MAX; i++) {
        const char *route = name_of(i);
        if (!route || !is_first(i))
            continue;
        sum(c, route, &n);
        for (unsigned k = 0; k < HTTP_COUNTER_CLASSES; k++)
            if (n.answers[k] > 0)
                metric_print(to, "surf_http_requests_total{route=\"%s\",status=\"%uxx\"} %" PRIu64 "\n", route, k,
                             n.answers[k]);
    }
}

void http_counters_print(const struct http_counters *c, struct bytes *to)
{
    static const char name[] = "surf_http_request_duration_seconds";
    struct sums n;
    print_answers(c, to);
    metric_begin(to, name, "histogram", "How long requests took, from their headers to the end of the answer.");
    for (unsigned i = 0; i <= ROUTES_MAX; i++) {
        const char *route = name_of(i);
        if (!route || !is_first(i))
            continue;
        sum(c, route, &n);
        uint64_t below = 0;
        for (unsigned k = 0; k < ARRAY_SIZE(bounds_us); k++) {
            below += n.buckets[k];
            metric_print(to, "%s_bucket{route=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, route, (double)bounds_us[k] / 1e6,
                         below);
        }
        metric_print(to, "%s_bucket{route=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, route, n.count);
        metric_print(to, "%s_sum{route=\"%s\"} %g\n", name, route, (double)n.took_us / 1e6);
        metric_print(to, "%s_count{route=\"%s\"} %" PRIu64 "\n", name, route, n.count);
    }
}
