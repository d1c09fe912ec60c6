/* cmd_fsck.c: whether the cluster is sound: the metadata of every member, and every block. Online. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "admin/fsck.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rate.h"

#define WAIT_S 10        /* for copies that are on their way */
#define WAIT_REPAIR_S 60 /* for those that are made anew */
#define WAIT_MAX_S 86400
#define USES_POLL_NS (10 * NS_PER_MS)

static bool parse_wait(struct fsck *f, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != 0 || !(seconds >= 0 && seconds <= WAIT_MAX_S)) {
        (void)admin_usage(f->a, "--wait %.100s: not a number of seconds up to %d", text, WAIT_MAX_S);
        return false;
    }
    f->wait_ns = (int64_t)(seconds * (double)NS_PER_S);
    return true;
}

static bool parse_rate(struct fsck *f, const char *text)
{
    if (rate_parse(text, &f->rate))
        return true;
    (void)admin_usage(f->a, "--rate %.100s: not a number of bytes per second, as 50M or 0", text);
    return false;
}

static bool parse(struct fsck *f, int argc, char **argv)
{
    f->wait_ns = -1;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--repair") == 0) {
            f->repair = true;
        } else if (strcmp(argv[i], "--metadata-only") == 0) {
            f->metadata_only = true;
        } else if (strcmp(argv[i], "--rate") == 0 && i + 1 < argc) {
            if (!parse_rate(f, argv[++i]))
                return false;
        } else if (strncmp(argv[i], "--rate=", 7) == 0) {
            if (!parse_rate(f, argv[i] + 7))
                return false;
        } else if (strcmp(argv[i], "--wait") == 0 && i + 1 < argc) {
            if (!parse_wait(f, argv[++i]))
                return false;
        } else if (strncmp(argv[i], "--wait=", 7) == 0) {
            if (!parse_wait(f, argv[i] + 7))
                return false;
        } else {
            (void)admin_usage(f->a,
                              "fsck: %.200s is not understood: surfctl fsck [--repair] [--metadata-only] "
                              "[--wait SECONDS] [--rate BYTES] [--json]",
                              argv[i]);
            return false;
        }
    }
    if (f->wait_ns < 0)
        f->wait_ns = (f->repair ? WAIT_REPAIR_S : WAIT_S) * NS_PER_S;
    return true;
}

/* Which files have lost something: it helps to know, so it is left out when it can't be found. */
static void find_uses(struct fsck *f)
{
    struct wire_check_query query = {.kind = WIRE_CHECK_USES_OF, .blocks = f->lost};
    struct wire_check check = {.running = true};
    struct err_text why;
    for (unsigned i = 0; i < f->doubt_count && f->lost_count < FSCK_USES_ASKED; i++)
        if (f->doubts[i].good == 0)
            f->lost[f->lost_count++] = f->doubts[i].id;
    query.count = f->lost_count;
    if (f->lost_count == 0)
        return;
    while (check.running) {
        struct slice answer;
        if (fsck_ask_leader(f, METHOD_ADMIN_CHECK, wire_check_query_encode(&query, &f->arena), &answer, &why) !=
                ERR_OK ||
            wire_check_decode(answer, &f->arena, &check, &why) != ERR_OK)
            return;
        query.ticket = check.ticket, query.count = 0;
        if (check.running)
            fsck_pause(USES_POLL_NS);
    }
    f->uses = arena_alloc(&f->a->arena, (check.use_count + 1) * sizeof *f->uses);
    for (unsigned i = 0; i < check.use_count; i++) {
        f->uses[f->use_count] = check.uses[i];
        f->uses[f->use_count++].path = arena_slice(&f->a->arena, check.uses[i].path);
    }
}

static enum err check_all(struct fsck *f, struct err_text *why)
{
    TRY(fsck_state(f, why));
    if (f->metadata_only)
        return ERR_OK;
    TRY(fsck_blocks(f, why));
    TRY(fsck_doubts(f, why));
    find_uses(f);
    return ERR_OK;
}

static int run_fsck(struct admin *a, int argc, char **argv)
{
    struct fsck *f = MEM_NEW(struct fsck);
    struct err_text why = {""};
    int code = EX_USAGE;
    f->a = a;
    if (parse(f, argc, argv)) {
        f->progress = !a->json && isatty(STDERR_FILENO);
        enum err e = check_all(f, &why);
        if (e == ERR_OK) {
            code = fsck_print(f);
        } else {
            (void)admin_fail(a, e, &why);
            code = EXIT_NOT_NOW; /* nothing is said of the cluster, whatever the reason */
        }
    }
    fsck_leader_close(f);
    fsck_servers_close(f);
    arena_free(&f->arena);
    free(f->doubts);
    free(f);
    return code;
}

const struct admin_command command_fsck = {
    "fsck",  "[--repair] [--metadata-only] [--wait SECONDS] [--rate BYTES]", "check the metadata and every block", 0, 8,
    run_fsck};
