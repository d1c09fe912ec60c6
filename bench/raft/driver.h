/* driver.h: many clients with one operation under way each, in one process with one thread, against a system that is
 * reached over the network; what it measures is theirs. */
#pragma once

#include <uv.h>

#include "base/bytes.h"
#include "base/err.h"

#define CONNECTIONS_MAX 8u /* the clients share them */

struct driver;

enum operation { OPERATION_PUT, OPERATION_GET };

struct target {
    /* Connects; then driver_ready, or driver_failed. */
    void *(*open)(struct driver *d);
    /* Begins the client's next operation; driver_done ends it. */
    void (*begin)(void *target, unsigned client);
    void (*close)(void *target);
};
extern const struct target target_surf, target_keys, target_etcd, target_text, target_http;

struct driver {
    uv_loop_t loop;
    const struct target *target;
    void *context;
    const char *servers; /* HOST:PORT,... */
    enum operation operation;
    unsigned clients, connections;
    size_t value_bytes;
    int64_t seconds, end_ns, begun_ns;
    int64_t *started_ns;    /* per client */
    struct bytes latencies; /* int64_t each */
    unsigned under_way;
    bool ready, failed;
    char why[256];
};

void driver_ready(struct driver *d);
void driver_done(struct driver *d, unsigned client);
void driver_failed(struct driver *d, const char *format, ...) PRINTF_LIKE(2, 3);
