/* main.c: one client of a history: random operations on a few objects through libsurf, and a line for every call and
 * answer (the format is in tests/lin/lin.h). Times are CLOCK_BOOTTIME, which all processes of a machine share.
 *
 *   surf-lin-client -m ADDR,... --model names|register|list|kv-register|kv-list --client NAME --number N --seed N
 *                   --out FILE
 *                   [--seconds S] [--looks PERCENT] [--objects N] [--names N] [--timeout-ms T] [--pause-us U]
 *                   [--any-member 1]
 *
 * --number: 0 to 2047, a number that no other client of the history ever has; tags are made of it.
 * --looks: how many of the operations change nothing; one that changes nothing goes on reading from a node
 * whose writes would block it.
 * --any-member: metadata is read from any member of the metastore, not only from its leader.
 * --timeout-ms: after that an operation is given up, which may yet take effect; its outcome is noted as unknown.
 * Ends at SIGTERM or after the time; exit code 0 unless it could not begin. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/tools/lin_client/lin_client.h"

static volatile sig_atomic_t stopped;

static void on_terminate(int number)
{
    (void)number;
    stopped = 1;
}

static int usage(void)
{
    fprintf(stderr, "usage: surf-lin-client -m ADDR,... --model names|register|list|kv-register|kv-list --client NAME\n"
                    "       --number N --seed N --out FILE [--seconds S] [--looks PERCENT] [--objects N] [--names N] "
                    "[--timeout-ms T] "
                    "[--pause-us U] [--any-member 1]\n");
    return 64;
}

struct arguments {
    const char *servers, *model, *client, *out;
    uint64_t number, seed, seconds, looks, objects, names, timeout_ms, pause_us, any_member;
};

static bool parse(int argc, char **argv, struct arguments *a)
{
    const struct {
        const char *flag;
        const char **text;
        uint64_t *number;
    } flags[] = {{"-m", &a->servers, NULL},
                 {"--model", &a->model, NULL},
                 {"--client", &a->client, NULL},
                 {"--out", &a->out, NULL},
                 {"--number", NULL, &a->number},
                 {"--seed", NULL, &a->seed},
                 {"--seconds", NULL, &a->seconds},
                 {"--looks", NULL, &a->looks},
                 {"--objects", NULL, &a->objects},
                 {"--names", NULL, &a->names},
                 {"--timeout-ms", NULL, &a->timeout_ms},
                 {"--pause-us", NULL, &a->pause_us},
                 {"--any-member", NULL, &a->any_member}};
    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < ARRAY_SIZE(flags) && strcmp(flags[k].flag, argv[i]) != 0)
            k++;
        if (k == ARRAY_SIZE(flags) || i + 1 == argc)
            return false;
        if (flags[k].text)
            *flags[k].text = argv[i + 1];
        else
            *flags[k].number = strtoull(argv[i + 1], NULL, 10);
    }
    return a->servers && a->model && a->client && a->out && a->number < CLIENT_NUMBERS && a->objects > 0 &&
           a->objects <= CLIENT_OBJECTS_MAX && a->names > 1 && a->names <= CLIENT_NAMES_MAX;
}

static enum err open_export(const struct arguments *a, struct surf **ret, struct err_text *why)
{
    static struct rpc_address servers[LIMIT_NODES];
    size_t count;
    TRY(rpc_address_parse_list(a->servers, servers, LIMIT_NODES, &count, why));
    struct surf_options options = {.servers = servers,
                                   .server_count = count,
                                   .export_name = META_EXPORT_DEFAULT,
                                   .client_name = a->client,
                                   .mount_timeout_ns = 60 * NS_PER_S,
                                   .soft_timeout_ns = (int64_t)a->timeout_ms * NS_PER_MS,
                                   .read_from_any = a->any_member};
    return surf_open_export(&options, ret, why);
}

static void work(struct client *c, const struct arguments *a)
{
    int64_t end = clock_boot_ns() + (int64_t)a->seconds * NS_PER_S;
    while (!stopped && clock_boot_ns() < end) {
        c->operate(c);
        if (a->pause_us) {
            uint64_t pause_ns = prng_below(&c->prng, 2 * a->pause_us) * 1000;
            nanosleep(
                &(struct timespec){.tv_sec = (time_t)(pause_ns / NS_PER_S), .tv_nsec = (long)(pause_ns % NS_PER_S)},
                NULL);
        }
    }
}

int main(int argc, char **argv)
{
    struct arguments a = {.seconds = 10, .looks = 40, .objects = 1, .names = 4, .timeout_ms = 5000};
    struct err_text why = {""};
    if (!parse(argc, argv, &a))
        return usage();
    struct client c = {.name = a.client,
                       .number = (unsigned)a.number,
                       .objects = (unsigned)a.objects,
                       .names = (unsigned)a.names,
                       .looks_percent = (unsigned)a.looks};
    c.operate = strcmp(a.model, "names") == 0         ? client_operate_names
                : strcmp(a.model, "register") == 0    ? client_operate_register
                : strcmp(a.model, "list") == 0        ? client_operate_list
                : strcmp(a.model, "kv-register") == 0 ? client_operate_kv_register
                : strcmp(a.model, "kv-list") == 0     ? client_operate_kv_list
                                                      : NULL;
    if (!c.operate)
        return usage();
    signal(SIGTERM, on_terminate);
    prng_seed(&c.prng, a.seed * CLIENT_NUMBERS + a.number);
    enum err e = open_export(&a, &c.surf, &why);
    if (e == ERR_OK)
        e = client_set_up(&c, a.out, c.operate == client_operate_names, &why);
    if (e == ERR_OK)
        work(&c, &a);
    else
        fprintf(stderr, "surf-lin-client: %s: %s\n", err_message(e), why.text);
    if (c.surf)
        surf_close_export(c.surf, NS_PER_S);
    return e == ERR_OK ? 0 : 1;
}
