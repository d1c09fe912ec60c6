/* kv_watch.c: surfctl kv watch. Goes on, from leader to leader, until it is ended by a signal. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "admin/kv.h"
#include "base/clock.h"

static void *wait_for_end(void *context)
{
    sigset_t ends;
    int number;
    admin_block_ends(&ends);
    (void)!sigwait(&ends, &number);
    rpc_cancel_fire(context);
    return NULL;
}

/* From now on a signal ends the next question, so that no line is printed in part and the session is given back. */
static bool catch_signals(struct rpc_cancel *end)
{
    sigset_t ends;
    pthread_t thread;
    admin_block_ends(&ends);
    return pthread_create(&thread, NULL, wait_for_end, end) == 0 && pthread_detach(thread) == 0;
}

static void print_event(struct admin *a, const struct meta_kv_event *e)
{
    static const char *const names[] = {
        [META_KV_CHANGED] = "changed", [META_KV_DELETED] = "deleted", [META_KV_EXPIRED] = "expired"};
    if (!a->json) {
        printf("%" PRIu64 " %s %s version %" PRIu64 "\n", e->index, names[e->kind], admin_text(a, e->key), e->version);
        return;
    }
    json_t *line = json_pack("{s:I, s:s, s:I, s:f}", "index", (json_int_t)e->index, "event", names[e->kind], "version",
                             (json_int_t)e->version, "time", (double)e->time_ns / 1e9);
    kv_json_set(line, "key", e->key);
    admin_print_json_line(line);
}

static void print_events(struct admin *a, const struct kv_events *events)
{
    if (events->missed_upto > 0 && a->json)
        admin_print_json_line(json_pack("{s:I}", "missed_upto", (json_int_t)events->missed_upto));
    else if (events->missed_upto > 0)
        fprintf(stderr, "surfctl: changes up to %" PRIu64 " were missed\n", events->missed_upto);
    for (unsigned i = 0; i < events->count; i++)
        print_event(a, &events->list[i]);
}

static int watch(struct admin *a, struct meta_client *c, struct kv_watch *w, struct rpc_cancel *end)
{
    struct arena arena = {0};
    bool begun = w->at != KV_WATCH_NOW;
    int code = -1;
    while (code < 0) {
        struct kv_events events;
        struct err_text why = {""};
        enum err e = kv_watch_next(c, w, end, &arena, &events);
        if (e == ERR_OK && !begun)
            fprintf(stderr, "surfctl: watching from %" PRIu64 "\n", w->at);
        begun = begun || e == ERR_OK;
        if (e == ERR_OK)
            print_events(a, &events);
        if (e == ERR_CANCELLED)
            code = EXIT_DONE;
        else if (e != ERR_OK && e != ERR_TIMEOUT)
            code = admin_fail(a, e, &why);
        else if (fflush(stdout) != 0)
            code = EXIT_FAILED; /* nobody reads it any more */
        arena_reset(&arena);
        arena_reset(&a->arena); /* what was printed; the words of the command line are elsewhere */
    }
    arena_free(&arena);
    return code;
}

static int run_watch(struct admin *a, struct meta_client *c, struct kv_arguments *args)
{
    static struct rpc_cancel *end; /* for as long as the process: a thread waits to fire it */
    struct kv_watch w = {.at = args->given & KV_OPTION_FROM ? args->from : KV_WATCH_NOW};
    if (args->count > 0)
        w.prefix = args->words[0];
    end = rpc_cancel_new();
    if (!catch_signals(end))
        return admin_fail(a, ERR_NOMEM, &(struct err_text){"no thread for signals"});
    return watch(a, c, &w, end);
}

const struct kv_command kv_command_watch = {"watch", "[PREFIX] [--from INDEX]", KV_OPTION_FROM, 0, 1, run_watch};
