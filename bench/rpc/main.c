/* surf-bench-rpc ADDRESS COUNT: the cheapest call that a node answers, made COUNT times in turn through the channel
 * that mounts use. Prints calls per second. What a file system operation costs beyond its calls can be seen by
 * comparing. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "proto/wire_common.h"
#include "rpc/channel.h"

#define NO_METHOD 0u /* refused at once, with one sentence: nothing is cheaper to answer */
#define CALL_NS (5 * NS_PER_S)

static enum err on_hello(void *context, struct slice hello, struct err_text *why)
{
    (void)context, (void)hello, (void)why;
    return ERR_OK;
}

static struct rpc_channel *connect_to(const char *text, struct arena *arena)
{
    struct err_text why;
    struct wire_hello hello = {.role = WIRE_ROLE_CLIENT,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .name = slice_str("surf-bench-rpc")};
    struct rpc_channel_options options = {
        .hello = wire_hello_encode(&hello, arena), .on_hello = on_hello, .connect_timeout_ns = CALL_NS};
    if (rpc_address_parse(text, &options.address, &why) != ERR_OK) {
        fprintf(stderr, "surf-bench-rpc: %s\n", why.text);
        exit(1);
    }
    return rpc_channel_new(&options);
}

static void call(struct rpc_channel *channel)
{
    struct rpc_call *ended;
    struct slice message, payload;
    enum err e = rpc_channel_call(channel, NO_METHOD, SLICE(NULL, 0), NULL, 0, clock_boot_ns() + CALL_NS, NULL, &ended,
                                  &message, &payload);
    if (e != ERR_NO_METHOD || !ended) {
        fprintf(stderr, "surf-bench-rpc: %s: %s\n", rpc_channel_address(channel), err_message(e));
        exit(1);
    }
    rpc_call_free(ended);
}

int main(int argc, char **argv)
{
    long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (count < 1) {
        fprintf(stderr, "usage: surf-bench-rpc ADDRESS COUNT\n");
        return 1;
    }
    struct arena arena = {0};
    struct rpc_channel *channel = connect_to(argv[1], &arena);
    call(channel); /* connects */
    int64_t begun_ns = clock_boot_ns();
    for (long i = 0; i < count; i++)
        call(channel);
    printf("%.3f\n", (double)count * 1e9 / (double)(clock_boot_ns() - begun_ns));
    rpc_channel_free(channel);
    arena_free(&arena);
    return 0;
}
