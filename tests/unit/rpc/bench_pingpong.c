/* Not a test: what a call costs. bench_pingpong [calls] prints microseconds per 200-byte call from one thread and from
 * several over one channel, and GB/s of 1 MiB payloads each way. Server and client are threads of this process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fixture.h"
#include "rpc/channel.h"

static struct rpc_channel *channel;
static int calls = 50000;

static int64_t one_call(uint16_t method, struct slice message, struct slice payload)
{
    struct rpc_call *call;
    struct slice reply, bulk;
    int64_t begun = clock_boot_ns();
    enum err e =
        rpc_channel_call(channel, method, message, &payload, 1, begun + 10 * NS_PER_S, NULL, &call, &reply, &bulk);
    if (e != ERR_OK)
        fprintf(stderr, "%s\n", err_message(e));
    CHECK(e == ERR_OK);
    rpc_call_free(call);
    return clock_boot_ns() - begun;
}

static int order(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void *ping_many(void *count)
{
    uint8_t message[200] = {0};
    for (int i = 0; i < *(int *)count; i++)
        one_call(FIXTURE_ECHO, SLICE(message, sizeof message), SLICE(NULL, 0));
    return NULL;
}

static void ping_latency(void)
{
    uint8_t message[200] = {0};
    int64_t *took = mem_alloc((size_t)calls * sizeof *took);
    int64_t begun = clock_boot_ns();
    for (int i = 0; i < calls; i++)
        took[i] = one_call(FIXTURE_ECHO, SLICE(message, sizeof message), SLICE(NULL, 0));
    int64_t all = clock_boot_ns() - begun;
    qsort(took, (size_t)calls, sizeof *took, order);
    printf("1 thread: %d calls of 200 bytes: p50 %.2f us, p99 %.2f us, mean %.2f us\n", calls,
           (double)took[calls / 2] / 1000, (double)took[calls * 99 / 100] / 1000, (double)all / 1000 / calls);
    free(took);
}

static void ping_threads(int count)
{
    pthread_t threads[64];
    int each = calls / count;
    int64_t begun = clock_boot_ns();
    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], NULL, ping_many, &each) == 0);
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    double s = (double)(clock_boot_ns() - begun) / 1e9;
    printf("%d threads: %.0f calls/s\n", count, each * count / s);
}

static void bulk(void)
{
    enum { SIZE = 1 << 20, COUNT = 2000 };
    uint8_t *data = mem_zalloc(SIZE), size[4];
    put_u32be(size, SIZE);
    int64_t begun = clock_boot_ns();
    for (int i = 0; i < COUNT; i++)
        one_call(FIXTURE_SINK, SLICE(NULL, 0), SLICE(data, SIZE));
    printf("1 MiB requests: %.2f GB/s\n", (double)SIZE * COUNT / (double)(clock_boot_ns() - begun));
    begun = clock_boot_ns();
    for (int i = 0; i < COUNT; i++)
        one_call(FIXTURE_SOURCE, SLICE(size, 4), SLICE(NULL, 0));
    printf("1 MiB replies: %.2f GB/s\n", (double)SIZE * COUNT / (double)(clock_boot_ns() - begun));
    free(data);
}

/* As replicated writes are made. */
static void two_of_three(void)
{
    static struct fixture servers[3];
    struct rpc_channel *channels[3];
    uint8_t message[200] = {0};
    for (int i = 0; i < 3; i++) {
        fixture_start(&servers[i], 0);
        struct rpc_channel_options options = {
            .address = servers[i].address, .hello = slice_str("bench"), .connect_timeout_ns = NS_PER_S};
        channels[i] = rpc_channel_new(&options);
    }
    int64_t begun = clock_boot_ns();
    for (int n = 0; n < calls / 4; n++) {
        struct rpc_call *started[3];
        size_t index;
        int64_t deadline_ns = clock_boot_ns() + 10 * NS_PER_S;
        for (int i = 0; i < 3; i++)
            started[i] =
                rpc_call_start(channels[i], FIXTURE_ECHO, SLICE(message, sizeof message), NULL, 0, deadline_ns, NULL);
        for (int done = 0; done < 2; done++) {
            CHECK(rpc_call_wait_any(started, 3, deadline_ns, NULL, &index) == ERR_OK);
            rpc_call_free(started[index]);
            started[index] = NULL;
        }
        for (int i = 0; i < 3; i++)
            rpc_call_free(started[i]);
    }
    printf("3 servers, 2 answers awaited, the third abandoned: %.2f us\n",
           (double)(clock_boot_ns() - begun) / 1000 / (calls / 4));
    for (int i = 0; i < 3; i++) {
        rpc_channel_free(channels[i]);
        fixture_stop(&servers[i]);
    }
}

int main(int argc, char **argv)
{
    static struct fixture f;
    if (argc > 1)
        calls = atoi(argv[1]);
    CHECK(calls > 0);
    fixture_start(&f, 0);
    struct rpc_channel_options options = {
        .address = f.address, .hello = slice_str("bench"), .connect_timeout_ns = NS_PER_S};
    channel = rpc_channel_new(&options);
    ping_latency();
    ping_threads(4);
    ping_threads(16);
    bulk();
    two_of_three();
    rpc_channel_free(channel);
    fixture_stop(&f);
    return 0;
}
