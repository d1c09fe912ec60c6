#include "admin/sync.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define BAR_PERIOD_NS (100 * NS_PER_MS)
#define BAR_CELLS 30u

void sync_output_begin(struct sync_command *c)
{
    c->bar = !c->a->json && !c->dry_run && isatty(STDERR_FILENO);
    if (c->a->json) {
        c->actions = json_array();
        c->problems = json_array();
    }
}

static void clear_bar(struct sync_command *c)
{
    if (c->bar_is_shown)
        fprintf(stderr, "\r\033[K");
    c->bar_is_shown = false;
}

static void add_problem(struct sync_command *c, struct slice path, enum err e, const char *why)
{
    if (c->a->json)
        json_array_append_new(
            c->problems, json_pack("{s:o, s:s, s:s}", "path", json_slice(path), "code", err_name(e), "error", why));
    else
        fprintf(stderr, "surfctl: %s: %s\n", admin_text(c->a, path), why);
}

void sync_output_step(void *context, const struct sync_step *step, enum err e, const char *why)
{
    struct sync_command *c = context;
    clear_bar(c);
    if (e != ERR_OK) {
        add_problem(c, step->path, e, why);
        return;
    }
    const char *name = sync_action_name(step->action);
    if (c->a->json)
        json_array_append_new(c->actions,
                              json_pack("{s:o, s:s, s:I, s:b}", "path", json_slice(step->path), "action", name,
                                        "version", (json_int_t)step->version, "discards_local_edit", step->discards));
    else
        printf("%s%s %s version %" PRIu64 "%s\n", c->dry_run ? "would " : "", name, admin_text(c->a, step->path),
               step->version, step->discards ? " (the server's is newer: what was changed here is lost)" : "");
}

void sync_output_left_out(void *context, struct slice path, enum err e, const char *why)
{
    struct sync_command *c = context;
    clear_bar(c);
    add_problem(c, path, e, why);
}

void sync_output_progress(void *context, const struct sync_progress *p)
{
    struct sync_command *c = context;
    int64_t now_ns = clock_boot_ns();
    char done[32], all[32], cells[BAR_CELLS + 1];
    if (!c->bar || p->steps == 0 || now_ns - c->bar_ns < BAR_PERIOD_NS)
        return;
    double share = p->bytes > 0 ? (double)p->bytes_done / (double)p->bytes : (double)p->steps_done / (double)p->steps;
    unsigned filled = (unsigned)(MIN(share, 1.0) * BAR_CELLS);
    memset(cells, '.', BAR_CELLS);
    memset(cells, '#', filled);
    cells[BAR_CELLS] = 0;
    fprintf(stderr, "\r\033[K[%s] %3.0f %%  %" PRIu64 "/%" PRIu64 " files  %s/%s", cells, MIN(share, 1.0) * 100,
            p->steps_done, p->steps, admin_bytes(p->bytes_done, done), admin_bytes(p->bytes, all));
    fflush(stderr);
    c->bar_is_shown = true;
    c->bar_ns = now_ns;
}

static json_t *counts_json(const struct sync_counts *n)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "uploaded", (json_int_t)n->uploaded,
                     "downloaded", (json_int_t)n->downloaded, "deleted_here", (json_int_t)n->deleted_here,
                     "deleted_there", (json_int_t)n->deleted_there, "attributes", (json_int_t)n->attributes,
                     "directories", (json_int_t)n->directories, "unchanged", (json_int_t)n->kept, "discarded",
                     (json_int_t)n->discarded, "failed", (json_int_t)n->failed, "left_out", (json_int_t)n->left_out);
}

/* A line per run, so that the runs of --watch can be read as they come. */
static void print_json(struct sync_command *c, const struct sync_counts *n, enum err e, const struct err_text *why)
{
    json_t *all = json_pack("{s:o, s:o, s:o, s:b}", "actions", c->actions, "problems", c->problems, "counts",
                            counts_json(n), "dry_run", c->dry_run);
    c->actions = c->problems = NULL;
    if (e != ERR_OK) {
        json_object_set_new(all, "error", json_slice(slice_str(why->text)));
        json_object_set_new(all, "code", json_string(err_name(e)));
    }
    json_dumpf(all, stdout, JSON_COMPACT);
    json_decref(all);
    putchar('\n');
}

int sync_output_end(struct sync_command *c, const struct sync_counts *n, enum err e, const struct err_text *why)
{
    clear_bar(c);
    if (c->a->json)
        print_json(c, n, e, why);
    else if (!c->dry_run && n->uploaded + n->downloaded + n->deleted_here + n->deleted_there + n->attributes > 0)
        printf("%" PRIu64 " uploaded, %" PRIu64 " downloaded, %" PRIu64 " deleted here, %" PRIu64
               " deleted on the server, %" PRIu64 " with other attributes, %" PRIu64 " unchanged\n",
               n->uploaded, n->downloaded, n->deleted_here, n->deleted_there, n->attributes, n->kept);
    if (e != ERR_OK)
        fprintf(stderr, "surfctl: %s\n", why->text);
    fflush(stdout);
    return e == ERR_OK && n->failed + n->left_out == 0 ? EXIT_DONE : EXIT_FAILED;
}
