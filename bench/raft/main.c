/* surf-bench-raft: durable small writes and linearizable reads per second, and how long each takes.
 *
 *   surf-bench-raft surf|keys|etcd|text|http HOST:PORT,... put|get CLIENTS SECONDS VALUE_BYTES
 *   surf-bench-raft fdatasync FILE SECONDS     4 KiB at a time into a file that has its full size
 *
 * surf: a put makes a symbolic link whose target is the value, in a session per client; a get looks one up. etcd: Put
 * of new keys and Range of one key, over gRPC (HTTP/2), to one server: the leader's address should be given. text,
 * http: the gateways of a node, a connection for each client. Prints a line of JSON. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "bench/raft/driver.h"

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print(struct bytes *latencies, double seconds)
{
    int64_t *list = (int64_t *)(void *)latencies->data;
    size_t count = latencies->size / sizeof *list;
    if (count == 0) {
        printf("{\"count\": 0}\n");
        return;
    }
    qsort(list, count, sizeof *list, by_value);
    printf("{\"count\": %zu, \"per_second\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n", count,
           (double)count / seconds, (double)list[count / 2] / 1e3, (double)list[count * 99 / 100] / 1e3,
           (double)list[count - 1] / 1e3);
}

static int measure_fdatasync(const char *path, double seconds)
{
    enum { BLOCK = 4096, BLOCKS = 1024 };
    static char block[BLOCK];
    struct bytes latencies = {0};
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return perror(path), 1;
    for (unsigned i = 0; i < BLOCKS; i++)
        if (pwrite(fd, block, BLOCK, (off_t)i * BLOCK) != BLOCK)
            return perror(path), 1;
    fsync(fd);
    int64_t begun = clock_boot_ns(), end = begun + (int64_t)(seconds * 1e9);
    for (unsigned i = 0; clock_boot_ns() < end; i++) {
        int64_t from = clock_boot_ns();
        block[0] = (char)i;
        if (pwrite(fd, block, BLOCK, (off_t)(i % BLOCKS) * BLOCK) != BLOCK || fdatasync(fd) != 0)
            return perror(path), 1;
        int64_t took = clock_boot_ns() - from;
        bytes_append(&latencies, SLICE(&took, sizeof took));
    }
    print(&latencies, (double)(clock_boot_ns() - begun) / 1e9);
    close(fd);
    unlink(path);
    bytes_free(&latencies);
    return 0;
}

/* ---- many clients ---- */

static void begin(struct driver *d, unsigned client)
{
    d->started_ns[client] = clock_boot_ns();
    d->under_way++;
    d->target->begin(d->context, client);
}

void driver_ready(struct driver *d)
{
    d->ready = true;
    d->begun_ns = clock_boot_ns();
    d->end_ns = d->begun_ns + d->seconds * NS_PER_S;
    for (unsigned i = 0; i < d->clients; i++)
        begin(d, i);
}

void driver_done(struct driver *d, unsigned client)
{
    int64_t now = clock_boot_ns(), took = now - d->started_ns[client];
    bytes_append(&d->latencies, SLICE(&took, sizeof took));
    d->under_way--;
    if (now < d->end_ns)
        begin(d, client);
    else if (d->under_way == 0)
        uv_stop(&d->loop);
}

void driver_failed(struct driver *d, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(d->why, sizeof d->why, format, args);
    va_end(args);
    d->failed = true;
    uv_stop(&d->loop);
}

static int usage(void)
{
    fprintf(stderr,
            "usage: surf-bench-raft surf|keys|etcd|text|http HOST:PORT,... put|get CLIENTS SECONDS VALUE_BYTES\n"
            "       surf-bench-raft fdatasync FILE SECONDS\n");
    return 64;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "fdatasync") == 0)
        return measure_fdatasync(argv[2], strtod(argv[3], NULL));
    if (argc != 7)
        return usage();
    log_set_name("surf-bench-raft");
    log_set_level(LOG_WARN);
    struct driver d = {.target = strcmp(argv[1], "surf") == 0   ? &target_surf
                                 : strcmp(argv[1], "keys") == 0 ? &target_keys
                                 : strcmp(argv[1], "etcd") == 0 ? &target_etcd
                                 : strcmp(argv[1], "text") == 0 ? &target_text
                                 : strcmp(argv[1], "http") == 0 ? &target_http
                                                                : NULL,
                       .servers = argv[2],
                       .operation = strcmp(argv[3], "get") == 0 ? OPERATION_GET : OPERATION_PUT,
                       .clients = (unsigned)strtoul(argv[4], NULL, 10),
                       .seconds = strtol(argv[5], NULL, 10),
                       .value_bytes = strtoul(argv[6], NULL, 10)};
    if (!d.target || d.clients == 0 || d.seconds <= 0 || d.value_bytes == 0 || d.value_bytes > 4000)
        return usage();
    d.connections = MIN(d.clients, CONNECTIONS_MAX);
    d.started_ns = mem_zalloc(d.clients * sizeof *d.started_ns);
    uv_loop_init(&d.loop);
    d.context = d.target->open(&d);
    if (d.context && !d.failed)
        uv_run(&d.loop, UV_RUN_DEFAULT);
    if (d.failed)
        fprintf(stderr, "surf-bench-raft: %s\n", d.why);
    else
        print(&d.latencies, (double)(clock_boot_ns() - d.begun_ns) / 1e9);
    d.target->close(d.context);
    bytes_free(&d.latencies);
    free(d.started_ns);
    return d.failed ? 1 : 0;
}
