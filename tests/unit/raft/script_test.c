/* script_test.c: runs scripts: commands, then "----", then what the members do, up to an empty line. A script fails
 * when that differs from what is written there; with SURF_REGENERATE=1 it is written there instead, to be read in
 * review.
 *
 *   cluster VOTERS [LEARNERS] [manual] [readindex]      crash ID, restart ID
 *   wait MS             the clock goes on                alone ID, joined ID     cut off, and back
 *   timeout ID          and the member's deadline comes  disk ID held|free       held: writes end with persist
 *   campaign ID, heartbeat ID, step_down ID              persist ID              the oldest write ends
 *   propose ID TEXT, read ID NUMBER, transfer ID TO      deliver [FROM TO]       what is on the way now; 0: any
 *   settle              until nothing is on the way      drop [FROM TO]
 *   quiet COMMAND       without a word                   logs                    all of them, and what is applied */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/unit/raft/cluster.h"

static void print_logs(struct cluster *c)
{
    for (uint32_t id = 1; id <= c->node_count; id++) {
        struct cluster_node *n = cluster_node(c, id);
        fprintf(c->out, "%u:", id);
        for (uint64_t i = n->compacted + 1; i <= n->disk.last; i++) {
            const struct raft_entry *e = &n->disk.entries[i];
            fprintf(c->out, " %" PRIu64 "/%" PRIu64 "=", i, e->term);
            if (e->type == RAFT_ENTRY_NOOP)
                fprintf(c->out, "noop");
            else
                fprintf(c->out, "%.*s", (int)e->data.size, (const char *)e->data.data);
        }
        fprintf(c->out, "; applied %" PRIu64 "%s\n", n->applied, n->raft ? "" : ", down");
    }
}

static void open_cluster(struct cluster *c, char *args)
{
    unsigned voters = 0, learners = 0;
    enum raft_election election = RAFT_ELECTION_AUTO;
    enum raft_reads reads = RAFT_READS_LEASE;
    for (char *save = NULL, *word = strtok_r(args, " ", &save); word; word = strtok_r(NULL, " ", &save))
        if (strcmp(word, "manual") == 0)
            election = RAFT_ELECTION_MANUAL;
        else if (strcmp(word, "readindex") == 0)
            reads = RAFT_READS_READINDEX;
        else if (voters == 0)
            voters = (unsigned)strtoul(word, NULL, 10);
        else
            learners = (unsigned)strtoul(word, NULL, 10);
    FILE *out = c->out;
    if (c->nodes)
        cluster_close(c);
    cluster_open(c, voters, learners, election, reads);
    c->out = out;
    cluster_start_all(c);
}

static bool run_member_command(struct cluster *c, const char *name, uint32_t id, const char *rest)
{
    uint32_t number = (uint32_t)strtoul(rest, NULL, 10);
    if (strcmp(name, "timeout") == 0)
        cluster_timeout(c, id);
    else if (strcmp(name, "campaign") == 0)
        cluster_campaign(c, id);
    else if (strcmp(name, "heartbeat") == 0)
        cluster_heartbeat(c, id);
    else if (strcmp(name, "step_down") == 0)
        cluster_step_down(c, id);
    else if (strcmp(name, "propose") == 0)
        cluster_propose(c, id, rest);
    else if (strcmp(name, "read") == 0)
        cluster_read(c, id, number);
    else if (strcmp(name, "transfer") == 0)
        cluster_transfer(c, id, number);
    else if (strcmp(name, "crash") == 0)
        cluster_crash(c, id);
    else if (strcmp(name, "restart") == 0)
        cluster_start(c, id);
    else if (strcmp(name, "alone") == 0 || strcmp(name, "joined") == 0)
        cluster_node(c, id)->alone = name[0] == 'a';
    else if (strcmp(name, "disk") == 0)
        cluster_node(c, id)->held = strcmp(rest, "held") == 0;
    else if (strcmp(name, "persist") == 0)
        cluster_persist(c, id, 1);
    else
        return false;
    return true;
}

static void run_command(struct cluster *c, char *line)
{
    char *rest = strchr(line, ' ');
    if (rest)
        *rest++ = 0;
    else
        rest = line + strlen(line);
    char *after;
    uint32_t first = (uint32_t)strtoul(rest, &after, 10);
    after += *after == ' ';
    uint32_t second = (uint32_t)strtoul(after, NULL, 10);
    if (strcmp(line, "quiet") == 0) {
        FILE *out = c->out;
        c->out = NULL;
        run_command(c, rest);
        c->out = out;
    } else if (strcmp(line, "cluster") == 0) {
        open_cluster(c, rest);
    } else if (strcmp(line, "wait") == 0) {
        cluster_advance(c, first * INT64_C(1000000));
    } else if (strcmp(line, "settle") == 0) {
        cluster_settle(c);
    } else if (strcmp(line, "deliver") == 0) {
        cluster_deliver(c, first, second);
    } else if (strcmp(line, "drop") == 0) {
        cluster_drop(c, first, second);
    } else if (strcmp(line, "logs") == 0) {
        print_logs(c);
    } else if (!run_member_command(c, line, first, after)) {
        fprintf(c->out, "unknown command %s\n", line);
    }
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;
    if (!f)
        return NULL;
    if (getdelim(&text, &size, 0, f) < 0) {
        free(text);
        text = NULL;
    }
    fclose(f);
    return text;
}

/* The script as it would be if it were right: its own commands and comments, and what happens. */
static char *play(char *script)
{
    char *made = NULL;
    size_t size = 0;
    struct cluster c = {.out = open_memstream(&made, &size)};
    bool in_output = false;
    CHECK(c.out);
    for (char *line = script, *next; *line; line = next) {
        next = strchrnul(line, '\n');
        if (*next)
            *next++ = 0;
        if (*line == 0) {
            in_output = false;
            fputc('\n', c.out);
        } else if (strcmp(line, "----") == 0) {
            in_output = true;
            fputs("----\n", c.out);
            fflush(c.out);
            /* The block's commands are in what was made: from the last empty line on. */
            char *block = mem_strdup(made), *at = block;
            for (char *gap = strstr(at, "\n\n"); gap; gap = strstr(at, "\n\n"))
                at = gap + 2;
            for (char *save = NULL, *l = strtok_r(at, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
                if (*l != '#' && strcmp(l, "----") != 0)
                    run_command(&c, l);
            free(block);
        } else if (!in_output) {
            fprintf(c.out, "%s\n", line);
        }
    }
    if (c.nodes)
        cluster_close(&c);
    fclose(c.out);
    return made;
}

static bool run_script(const char *path)
{
    _cleanup_free_ char *expected = read_file(path);
    if (!expected) {
        printf("%s: can't be read\n", path);
        return false;
    }
    _cleanup_free_ char *script = mem_strdup(expected);
    _cleanup_free_ char *made = play(script);
    if (strcmp(made, expected) == 0)
        return true;
    if (getenv("SURF_REGENERATE")) {
        FILE *f = fopen(path, "w");
        CHECK(f && fputs(made, f) >= 0 && fclose(f) == 0);
        printf("%s: written anew\n", path);
        return true;
    }
    unsigned line = 1;
    const char *a = expected, *b = made;
    for (; *a && *a == *b; a++, b++)
        line += *a == '\n';
    while (a > expected && a[-1] != '\n') {
        a--;
        b--;
    }
    printf("%s:%u:\n  expected %.*s\n  happened %.*s\n", path, line, (int)strcspn(a, "\n"), a, (int)strcspn(b, "\n"),
           b);
    return false;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed += !run_script(argv[i]);
    printf("%d scripts, %d failed\n", argc - 1, failed);
    return failed > 0 || argc < 2;
}
