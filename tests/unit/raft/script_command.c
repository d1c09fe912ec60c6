#include "tests/unit/raft/script_command.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define WORDS_MAX 24u

/* What stands behind a command's name. */
struct words {
    char *text; /* all that follows the first word */
    char *word[WORDS_MAX];
    uint32_t number[WORDS_MAX]; /* 0 where there is none */
    unsigned count;
};

static bool is_word(const struct words *w, unsigned at, const char *text)
{
    return at < w->count && strcmp(w->word[at], text) == 0;
}

/* ---- life ---- */

static void run_cluster(struct script *s, const struct words *w)
{
    struct cluster *c = &s->cluster;
    bool manual = false, readindex = false;
    for (unsigned i = 1; i < w->count; i++) {
        manual = manual || is_word(w, i, "manual");
        readindex = readindex || is_word(w, i, "readindex");
    }
    script_close(s);
    cluster_open(c, w->number[0], w->number[1], manual ? RAFT_ELECTION_MANUAL : RAFT_ELECTION_AUTO,
                 readindex ? RAFT_READS_READINDEX : RAFT_READS_LEASE);
    c->out = s->out;
    cluster_start_all(c);
}

static void run_elect(struct script *s, const struct words *w)
{
    s->cluster.out = NULL;
    cluster_elect(&s->cluster, w->number[0]);
    s->cluster.out = s->out;
}

static void run_newcomer(struct script *s, const struct words *w)
{
    (void)w;
    cluster_start(&s->cluster, cluster_add(&s->cluster));
}

static void run_crash(struct script *s, const struct words *w)
{
    cluster_crash(&s->cluster, w->number[0]);
}

static void run_restart(struct script *s, const struct words *w)
{
    cluster_start(&s->cluster, w->number[0]);
}

static void run_wipe(struct script *s, const struct words *w)
{
    cluster_wipe(&s->cluster, w->number[0]);
    if (w->count > 1)
        cluster_node(&s->cluster, w->number[0])->identity[0] = (uint8_t)w->word[1][0];
}

static void run_log(struct script *s, const struct words *w)
{
    uint64_t terms[WORDS_MAX];
    for (unsigned i = 2; i < w->count; i++)
        terms[i - 2] = w->number[i];
    CHECK(w->count >= 2 && cluster_node(&s->cluster, w->number[0])->disk.last == 0);
    cluster_crash(&s->cluster, w->number[0]);
    cluster_fill(&s->cluster, w->number[0], (struct raft_hard_state){.term = w->number[1]}, terms, w->count - 2);
    cluster_start(&s->cluster, w->number[0]);
}

/* ---- events ---- */

static void run_wait(struct script *s, const struct words *w)
{
    cluster_advance(&s->cluster, w->number[0] * INT64_C(1000000));
}

static void run_tick(struct script *s, const struct words *w)
{
    cluster_tick(&s->cluster, w->number[0]);
}

static void run_timeout(struct script *s, const struct words *w)
{
    if (cluster_node(&s->cluster, w->number[0])->deadline_ns == INT64_MAX)
        fprintf(s->out, "%u: waits for no time\n", w->number[0]);
    else
        cluster_timeout(&s->cluster, w->number[0]);
}

static void run_propose(struct script *s, const struct words *w)
{
    cluster_propose(&s->cluster, w->number[0], w->text);
}

static void run_fill(struct script *s, const struct words *w)
{
    size_t size = w->number[2] * (size_t)1024;
    _cleanup_free_ char *text = mem_alloc(size + 1);
    memset(text, 'x', size);
    text[size] = 0;
    for (uint32_t i = 0; i < w->number[1]; i++)
        cluster_propose(&s->cluster, w->number[0], text);
}

static void run_read(struct script *s, const struct words *w)
{
    cluster_read(&s->cluster, w->number[0], w->number[1]);
}

static void run_ask(struct script *s, const struct words *w)
{
    cluster_read_forward(&s->cluster, w->number[0], w->number[1]);
}

static void run_campaign(struct script *s, const struct words *w)
{
    cluster_campaign(&s->cluster, w->number[0]);
}

static void run_heartbeat(struct script *s, const struct words *w)
{
    cluster_heartbeat(&s->cluster, w->number[0]);
}

static void run_step_down(struct script *s, const struct words *w)
{
    cluster_step_down(&s->cluster, w->number[0]);
}

static void run_transfer(struct script *s, const struct words *w)
{
    cluster_transfer(&s->cluster, w->number[0], w->number[1]);
}

static void run_change(struct script *s, const struct words *w)
{
    struct raft_config config = {.count = 0};
    bool voter = true;
    for (unsigned i = 1; i < w->count; i++) {
        if (is_word(w, i, "learner")) {
            voter = false;
            continue;
        }
        struct raft_member m = {.id = w->number[i], .voter = voter};
        m.identity[0] = (uint8_t)w->word[i][strspn(w->word[i], "0123456789")];
        unsigned at = config.count;
        for (; at > 0 && config.members[at - 1].id > m.id; at--)
            config.members[at] = config.members[at - 1];
        CHECK(config.count < LIMIT_NODES);
        config.members[at] = m;
        config.count++;
    }
    cluster_change(&s->cluster, w->number[0], &config);
}

/* ---- messages ---- */

static void run_deliver(struct script *s, const struct words *w)
{
    cluster_deliver(&s->cluster, w->number[0], w->number[1]);
}

static void run_settle(struct script *s, const struct words *w)
{
    (void)w;
    cluster_settle(&s->cluster);
}

static void run_drop(struct script *s, const struct words *w)
{
    cluster_drop(&s->cluster, w->number[0], w->number[1]);
}

static void run_shelve(struct script *s, const struct words *w)
{
    cluster_shelve(&s->cluster, w->number[0], w->number[1]);
}

static void run_copy(struct script *s, const struct words *w)
{
    cluster_shelve_copies(&s->cluster, w->number[0], w->number[1]);
}

static void run_unshelve(struct script *s, const struct words *w)
{
    (void)w;
    cluster_unshelve(&s->cluster);
}

static void run_cut(struct script *s, const struct words *w)
{
    CHECK(w->number[0] <= LIMIT_NODES && w->number[1] <= LIMIT_NODES);
    s->cluster.cut[w->number[0]][w->number[1]] = true;
}

static void run_mend(struct script *s, const struct words *w)
{
    CHECK(w->number[0] <= LIMIT_NODES && w->number[1] <= LIMIT_NODES);
    s->cluster.cut[w->number[0]][w->number[1]] = false;
}

static void run_alone(struct script *s, const struct words *w)
{
    cluster_node(&s->cluster, w->number[0])->alone = true;
}

static void run_joined(struct script *s, const struct words *w)
{
    cluster_node(&s->cluster, w->number[0])->alone = false;
}

/* ---- disks ---- */

static void run_disk(struct script *s, const struct words *w)
{
    struct cluster_node *n = cluster_node(&s->cluster, w->number[0]);
    n->held = is_word(w, 1, "held");
    if (!n->held)
        cluster_persist(&s->cluster, n->id, n->write_count);
}

static void run_persist(struct script *s, const struct words *w)
{
    cluster_persist(&s->cluster, w->number[0], 1);
}

static void run_compact(struct script *s, const struct words *w)
{
    cluster_compact(&s->cluster, w->number[0], w->number[1]);
}

static void run_snapshot(struct script *s, const struct words *w)
{
    CHECK(s->snapshot_count < SCRIPT_SNAPSHOTS_MAX);
    struct cluster_snapshot *shot = &s->snapshots[s->snapshot_count++];
    cluster_take_snapshot(&s->cluster, w->number[0], shot);
    if (!s->cluster.out)
        return;
    fprintf(s->out, "%u: snapshot as of %" PRIu64 "/%" PRIu64 ", members ", w->number[0], shot->index, shot->term);
    cluster_print_config(s->out, &shot->config);
    fputc('\n', s->out);
}

static void run_install(struct script *s, const struct words *w)
{
    unsigned i = s->snapshot_count;
    while (i > 0 && s->snapshots[i - 1].index != w->number[1])
        i--;
    if (i == 0)
        fprintf(s->out, "there is no such snapshot\n");
    else if (!cluster_install(&s->cluster, w->number[0], &s->snapshots[i - 1]) && s->cluster.out)
        fprintf(s->out, "%u: the snapshot isn't wanted\n", w->number[0]);
}

/* ---- looking ---- */

static void run_logs(struct script *s, const struct words *w)
{
    (void)w;
    for (uint32_t id = 1; id <= s->cluster.node_count; id++) {
        const struct cluster_node *n = cluster_node(&s->cluster, id);
        fprintf(s->out, "%u:", id);
        if (n->compacted > 0)
            fprintf(s->out, " after %" PRIu64 "/%" PRIu64 ":", n->compacted, n->disk.entries[n->compacted].term);
        cluster_print_entries(s->out, n->disk.entries + n->compacted + 1, (unsigned)(n->disk.last - n->compacted));
        fprintf(s->out, "%s; applied %" PRIu64 "%s\n", n->disk.last == n->compacted ? " empty" : "", n->applied,
                n->raft ? "" : ", down");
    }
}

static void run_deadline(struct script *s, const struct words *w)
{
    int64_t deadline = cluster_node(&s->cluster, w->number[0])->deadline_ns;
    if (deadline == INT64_MAX)
        fprintf(s->out, "%u: waits for no time\n", w->number[0]);
    else
        fprintf(s->out, "%u: wakes in %" PRId64 " ms\n", w->number[0], (deadline - s->cluster.now_ns) / 1000000);
}

static void run_status(struct script *s, const struct words *w)
{
    const struct raft_status status = cluster_status(&s->cluster, w->number[0]);
    fprintf(s->out, "%u: %s, term %" PRIu64 ", vote %u, last %" PRIu64 ", saved %" PRIu64 ", committed %" PRIu64,
            status.id, raft_role_name(status.role), status.term, status.vote, status.last, status.persisted,
            status.committed);
    if (status.lease_until_ns > s->cluster.now_ns)
        fprintf(s->out, ", lease for %" PRId64 " ms", (status.lease_until_ns - s->cluster.now_ns) / 1000000);
    fprintf(s->out, ", members ");
    cluster_print_config(s->out, raft_config(cluster_node(&s->cluster, status.id)->raft));
    fprintf(s->out, "%s\n", status.config_pending ? ", not committed" : "");
    for (unsigned i = 0; status.role == RAFT_LEADER && i < status.progress_count; i++) {
        const struct raft_progress *p = &status.progress[i];
        fprintf(s->out, "   %u has %" PRIu64 ", next %" PRIu64 "%s%s%s\n", p->id, p->match, p->next,
                p->learner ? ", learner" : "", p->active ? "" : ", silent",
                p->needs_snapshot ? ", needs a snapshot" : "");
    }
}

/* ---- all of them ---- */

static const struct {
    const char *name;
    void (*run)(struct script *s, const struct words *w);
} commands[] = {
    {"cluster", run_cluster},     {"elect", run_elect},         {"newcomer", run_newcomer}, {"crash", run_crash},
    {"restart", run_restart},     {"wipe", run_wipe},           {"log", run_log},           {"deadline", run_deadline},
    {"wait", run_wait},           {"tick", run_tick},           {"timeout", run_timeout},   {"propose", run_propose},
    {"fill", run_fill},           {"read", run_read},           {"ask", run_ask},           {"campaign", run_campaign},
    {"heartbeat", run_heartbeat}, {"step_down", run_step_down}, {"transfer", run_transfer}, {"change", run_change},
    {"deliver", run_deliver},     {"settle", run_settle},       {"drop", run_drop},         {"shelve", run_shelve},
    {"copy", run_copy},           {"unshelve", run_unshelve},   {"cut", run_cut},           {"mend", run_mend},
    {"alone", run_alone},         {"joined", run_joined},       {"disk", run_disk},         {"persist", run_persist},
    {"compact", run_compact},     {"snapshot", run_snapshot},   {"install", run_install},   {"logs", run_logs},
    {"status", run_status},
};

static void split(char *rest, struct words *ret)
{
    *ret = (struct words){.text = strchr(rest, ' ')};
    ret->text = ret->text ? mem_strdup(ret->text + 1) : mem_strdup("");
    for (char *save = NULL, *word = strtok_r(rest, " ", &save); word && ret->count < WORDS_MAX;
         word = strtok_r(NULL, " ", &save)) {
        ret->number[ret->count] = (uint32_t)strtoul(word, NULL, 10);
        ret->word[ret->count++] = word;
    }
}

void script_run_command(struct script *s, const char *line)
{
    if (strncmp(line, "quiet ", 6) == 0) {
        s->cluster.out = NULL;
        script_run_command(s, line + 6);
        s->cluster.out = s->out;
        return;
    }
    size_t length = strcspn(line, " ");
    _cleanup_free_ char *rest = mem_strdup(line + length + (line[length] == ' '));
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strlen(commands[i].name) != length || strncmp(commands[i].name, line, length) != 0)
            continue;
        struct words w;
        split(rest, &w);
        if (!s->cluster.nodes && commands[i].run != run_cluster)
            fprintf(s->out, "there is no cluster yet\n");
        else
            commands[i].run(s, &w);
        free(w.text);
        return;
    }
    fprintf(s->out, "unknown command %s\n", line);
}

void script_close(struct script *s)
{
    if (s->cluster.nodes)
        cluster_close(&s->cluster);
    s->cluster.nodes = NULL;
    s->snapshot_count = 0;
}
