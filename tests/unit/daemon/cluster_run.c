/* A cluster of real surfd processes that is written to while its nodes are killed, then compared: every acknowledged
 * file is there once, all members have the same state. Also measures: --measure. */
#include <argp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cluster_client.h"
#include "cluster_nodes.h"
#include "proto/methods.h"

static struct {
    const char *surfd, *dir;
    unsigned nodes, files, kills, threads, idle_s;
    bool crash, all;
} o = {.nodes = 3, .files = 300, .threads = 1};

static struct cluster_nodes nodes;
static uint16_t ports[LIMIT_NODES + 1];

static const struct argp_option options[] = {
    {"surfd", 1, "FILE", 0, "the daemon", 0},
    {"dir", 2, "DIR", 0, "keep data and logs here", 0},
    {"nodes", 3, "N", 0, "members (3)", 0},
    {"files", 4, "N", 0, "files to make, per thread (300)", 0},
    {"kills", 5, "N", 0, "how many times a node is killed meanwhile (0)", 0},
    {"threads", 6, "N", 0, "clients (1)", 0},
    {"idle", 7, "S", 0, "afterwards measure CPU and memory at rest for so long", 0},
    {"crash", 8, NULL, 0, "by request instead of SIGKILL", 0},
    {"all", 9, NULL, 0, "kill all nodes at once each time", 0},
    {0},
};

static error_t parse(int key, char *value, struct argp_state *state)
{
    (void)state;
    switch (key) {
    case 1:
        o.surfd = value;
        return 0;
    case 2:
        o.dir = value;
        return 0;
    case 3:
        o.nodes = (unsigned)atoi(value);
        return 0;
    case 4:
        o.files = (unsigned)atoi(value);
        return 0;
    case 5:
        o.kills = (unsigned)atoi(value);
        return 0;
    case 6:
        o.threads = (unsigned)atoi(value);
        return 0;
    case 7:
        o.idle_s = (unsigned)atoi(value);
        return 0;
    case 8:
        o.crash = true;
        return 0;
    case 9:
        o.all = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct writer {
    pthread_t thread;
    unsigned number, made;
    int64_t *took_ns;
    uint64_t retries;
};
static _Atomic unsigned total_made, stop_asked, running;

/* Goes on beyond its number of files for as long as nodes are being killed. */
static void *write_files(void *arg)
{
    struct writer *w = arg;
    struct cluster_client c;
    cluster_client_open(&c, ports, o.nodes);
    unsigned capacity = o.files;
    for (; w->made < o.files || !stop_asked; w->made++) {
        char name[64];
        int size = snprintf(name, sizeof name, "w%u-%u", w->number, w->made);
        struct meta_command create = {.op = META_CREATE};
        struct meta_reply reply;
        create.make.parent = META_ROOT_INO;
        create.make.name = SLICE(name, (size_t)size);
        create.make.mode = S_IFREG | 0644;
        create.make.exclusive = true; /* a retry that is applied twice would be EXIST */
        int64_t begun = clock_boot_ns();
        cluster_client_call(&c, &create, &reply);
        if (reply.status != ERR_OK) {
            fprintf(stderr, "%s: %s\n", name, err_name(reply.status));
            CHECK(!"created");
        }
        if (w->made == capacity) {
            capacity *= 2;
            w->took_ns = mem_realloc(w->took_ns, capacity * sizeof *w->took_ns);
        }
        w->took_ns[w->made] = clock_boot_ns() - begun;
        total_made++;
    }
    w->retries = c.retries;
    running--;
    cluster_client_close(&c);
    return NULL;
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void wait_for_progress(unsigned more)
{
    unsigned before = total_made;
    int64_t begun = clock_boot_ns();
    while (total_made < before + more) {
        CHECK(clock_boot_ns() - begun < 60 * NS_PER_S);
        usleep(2000);
    }
}

/* All nodes that run have the same applied index and chain hash. */
static void wait_equal(struct cluster_client *c)
{
    int64_t begun = clock_boot_ns();
    for (;;) {
        struct wire_admin_state s;
        uint64_t applied = 0;
        uint8_t chain[32];
        unsigned equal = 0;
        for (unsigned id = 1; id <= o.nodes; id++) {
            if (cluster_client_state(c, id, 0, &s) != ERR_OK || s.crashed || s.fault.size > 0 ||
                s.chain_hash.size != 32)
                break;
            if (id == 1)
                applied = s.applied, memcpy(chain, s.chain_hash.data, 32);
            if (s.applied != applied)
                break;
            CHECK(memcmp(chain, s.chain_hash.data, 32) == 0);
            equal++;
        }
        if (equal == o.nodes) {
            printf("equal at entry %llu, chain hash %02x%02x%02x%02x...\n", (unsigned long long)applied, chain[0],
                   chain[1], chain[2], chain[3]);
            return;
        }
        CHECK(clock_boot_ns() - begun < 30 * NS_PER_S);
        usleep(10000);
    }
}

static void kill_and_start(struct cluster_client *c, unsigned id)
{
    struct arena arena = {0};
    struct wire_admin_crash crash = {.kill = false};
    if (o.crash) {
        CHECK(cluster_client_admin(c, id, METHOD_ADMIN_CRASH, wire_admin_crash_encode(&crash, &arena)) == ERR_OK);
        wait_for_progress(20);
        CHECK(cluster_client_admin(c, id, METHOD_ADMIN_RESTORE, SLICE(NULL, 0)) == ERR_OK);
    } else if (o.all) {
        for (unsigned i = 1; i <= o.nodes; i++)
            cluster_node_end(&nodes, i, SIGKILL);
        for (unsigned i = 1; i <= o.nodes; i++)
            cluster_node_start(&nodes, i);
    } else {
        cluster_node_end(&nodes, id, SIGKILL);
        if (o.nodes > 2)
            wait_for_progress(20);
        cluster_node_start(&nodes, id);
    }
    arena_free(&arena);
    wait_for_progress(20);
    cluster_client_keepalive(c);
}

static unsigned count_entries(struct cluster_client *c)
{
    struct meta_query query = {.op = META_QUERY_READDIR, .ino = META_ROOT_INO};
    unsigned count = 0;
    for (;;) {
        struct meta_query_reply reply;
        cluster_client_query(c, &query, &reply);
        CHECK(reply.status == ERR_OK);
        count += reply.entry_count;
        if (reply.end)
            return count;
        query.cookie = reply.entries[reply.entry_count - 1].cookie;
    }
}

static void report(struct writer *writers, int64_t took_ns)
{
    size_t count = 0;
    uint64_t retries = 0;
    int64_t *all = mem_alloc(total_made * sizeof *all);
    for (unsigned i = 0; i < o.threads; i++) {
        memcpy(all + count, writers[i].took_ns, writers[i].made * sizeof *all);
        count += writers[i].made;
        retries += writers[i].retries;
    }
    qsort(all, count, sizeof *all, compare_ns);
    printf("%zu creates, %.0f/s; us: p50 %.0f, p99 %.0f, max %.0f; %llu retries\n", count,
           (double)count * 1e9 / (double)took_ns, (double)all[count / 2] / 1e3, (double)all[count * 99 / 100] / 1e3,
           (double)all[count - 1] / 1e3, (unsigned long long)retries);
    free(all);
}

static void measure_idle(void)
{
    int64_t before[LIMIT_NODES + 1], after;
    uint64_t rss;
    for (unsigned id = 1; id <= o.nodes; id++)
        cluster_node_usage(&nodes, id, &before[id], &rss);
    sleep(o.idle_s);
    for (unsigned id = 1; id <= o.nodes; id++) {
        cluster_node_usage(&nodes, id, &after, &rss);
        printf("node %u at rest: %.2f %% CPU, %llu MiB resident\n", id, (double)(after - before[id]) / 1e7 / o.idle_s,
               (unsigned long long)(rss / MIB));
    }
}

int main(int argc, char **argv)
{
    const struct argp argp = {options, parse, NULL, "Runs a cluster of surfd processes and checks it.",
                              NULL,    NULL,  NULL};
    argp_parse(&argp, argc, argv, 0, NULL, NULL);
    char made[] = "/tmp/cluster_run_XXXXXX";
    const char *dir = o.dir ? o.dir : mkdtemp(made);
    CHECK(o.surfd && dir && o.nodes >= 1 && o.nodes <= LIMIT_NODES && o.files > 0 && o.threads > 0);
    mkdir(dir, 0755);
    cluster_nodes_init(&nodes, o.surfd, dir, o.nodes);
    for (unsigned id = 1; id <= o.nodes; id++) {
        ports[id] = nodes.nodes[id].port;
        cluster_node_start(&nodes, id);
    }
    int64_t begun = clock_boot_ns();
    struct cluster_client c;
    cluster_client_open(&c, ports, o.nodes);
    printf("serving after %.0f ms\n", (double)(clock_boot_ns() - begun) / 1e6);

    struct writer *writers = mem_zalloc(o.threads * sizeof *writers);
    begun = clock_boot_ns();
    stop_asked = o.kills == 0;
    running = o.threads;
    for (unsigned i = 0; i < o.threads; i++) {
        writers[i].number = i;
        writers[i].took_ns = mem_alloc(o.files * sizeof *writers[i].took_ns);
        CHECK(pthread_create(&writers[i].thread, NULL, write_files, &writers[i]) == 0);
    }
    for (unsigned k = 0; k < o.kills; k++)
        kill_and_start(&c, k % (o.nodes + 1) == o.nodes ? c.leader : k % (o.nodes + 1) + 1);
    stop_asked = true;
    for (unsigned i = 0; i < o.threads; i++)
        pthread_join(writers[i].thread, NULL);
    report(writers, clock_boot_ns() - begun);

    cluster_client_keepalive(&c);
    unsigned there = count_entries(&c);
    printf("%u acknowledged, %u there\n", (unsigned)total_made, there);
    CHECK(there == total_made);
    wait_equal(&c);
    if (o.idle_s > 0)
        measure_idle();
    cluster_client_close(&c);
    for (unsigned id = 1; id <= o.nodes; id++) {
        int status = cluster_node_end(&nodes, id, SIGTERM);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            printf("node %u ended with wait status %d\n", id, status);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    for (unsigned i = 0; i < o.threads; i++)
        free(writers[i].took_ns);
    free(writers);
    if (!o.dir) {
        char command[128];
        snprintf(command, sizeof command, "rm -rf '%s'", dir);
        CHECK(system(command) == 0);
    }
    return 0;
}
