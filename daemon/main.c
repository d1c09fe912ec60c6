/* surfd: the SurfFS daemon. Arguments in, one node until a signal or a fault ends it, exit code out. */
#include <argp.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>

#define LOG_MODULE "surfd"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/gateways.h"
#include "daemon/node.h"
#include "trace/trace.h"

#define WORKER_THREADS "8"
#define FLAGS_MAX 256
#define DESCRIPTORS 32768u

const char *argp_program_version = "surfd " SURF_VERSION;

enum {
    FLAG_ID = 256,
    FLAG_DATA,
    FLAG_PEERS,
    FLAG_ELECTION,
    FLAG_READS,
    FLAG_ADVERTISE,
    FLAG_INSECURE,
    FLAG_SESSION_TIMEOUT,
    FLAG_JOIN,
    FLAG_DURABILITY_LOG,
    FLAG_REBUILD,
    FLAG_LOG_SIZE,
    FLAG_LOG_ENTRIES,
    FLAG_DISK_RESERVE,
    FLAG_CONNECTIONS,
    FLAG_REPAIR_DELAY,
    FLAG_REPAIR_RATE,
    FLAG_REPAIR_INTERVAL,
    FLAG_STRAY_AGE,
    FLAG_COLLECT_INTERVAL,
    FLAG_SCRUB_RATE,
    FLAG_REBUILD_BLOCKS,
    FLAG_ZONE,
    FLAG_TRACE,
    FLAG_CONFIG,
    FLAG_HTTP_PORT,
    FLAG_HTTP_ADDRESS,
    FLAG_HTTP_ADMIN,
    FLAG_HTTP_FILES,
    FLAG_HTTP_NAMES,
    FLAG_TEXT_PORT,
    FLAG_TEXT_ADDRESS
};

static const struct argp_option options[] = {
    {"role", 's', "meta|block|both", 0, "what this node serves (both)", 0},
    {"port", 'p', "PORT", 0, "port to listen on (8080, or the one in this node's entry of --peers)", 0},
    {"localhost", 'l', NULL, 0, "serve this machine only", 0},
    {"debug", 'd', NULL, 0, "log more", 0},
    {"id", FLAG_ID, "N", 0, "this node's id, 1 to 65535, of no other node or block server (1)", 0},
    {"data", FLAG_DATA, "DIR", 0, "data directory, made when it is missing (surfd-data)", 0},
    {"peers", FLAG_PEERS, "1=HOST:PORT,...", 0, "all members of the metastore, this node too (only this node)", 0},
    {"election", FLAG_ELECTION, "auto|manual", 0, "manual: only `surfctl leader' makes leaders (auto)", 0},
    {"reads", FLAG_READS, "lease|readindex", 0, "how the leader makes sure that it is one before it answers (lease)",
     0},
    {"advertise", FLAG_ADVERTISE, "HOST:PORT", 0,
     "where others reach this node (its entry in --peers, else 127.0.0.1:PORT)", 0},
    {"session-timeout", FLAG_SESSION_TIMEOUT, "S", 0, "seconds after which a silent mount is given up (60)", 0},
    {"join", FLAG_JOIN, NULL, 0, "a new member, which waits until `surfctl members add' takes it in", 0},
    {"durability-log", FLAG_DURABILITY_LOG, NULL, 0,
     "puts of keys may be acknowledged ahead of their order, after one round trip; on all members or none", 0},
    {"rebuild", FLAG_REBUILD, NULL, 0,
     "drop what the metastore has in the data directory and take it anew from the other members", 0},
    {"log-size", FLAG_LOG_SIZE, "MIB", 0, "the log is cut when it is larger (64)", 0},
    {"log-entries", FLAG_LOG_ENTRIES, "N", 0, "the log is cut when it has more entries (100000)", 0},
    {"disk-reserve", FLAG_DISK_RESERVE, "MIB", 0,
     "with less free disk space this node steps aside until there is more (128)", 0},
    {"connections", FLAG_CONNECTIONS, "N", 0,
     "at most so many, of which a quarter is for new ones, other nodes and surfctl (4096, or what descriptors allow)",
     0},
    {"repair-delay", FLAG_REPAIR_DELAY, "S", 0,
     "a block server that is silent for so many seconds counts as away: others take its copies (300)", 0},
    {"repair-rate", FLAG_REPAIR_RATE, "BYTES", 0,
     "at most so many bytes a second are copied to other block servers, as 50M; 0: no limit (50M)", 0},
    {"repair-interval", FLAG_REPAIR_INTERVAL, "S", 0,
     "all blocks are compared with the other servers' at least so often (3600)", 0},
    {"stray-age", FLAG_STRAY_AGE, "S", 0,
     "a copy that all its owners have is kept for so many seconds where it doesn't belong (600)", 0},
    {"collect-interval", FLAG_COLLECT_INTERVAL, "S", 0,
     "blocks that no file names any more go after two to three times so many seconds (60)", 0},
    {"scrub-rate", FLAG_SCRUB_RATE, "BYTES", 0,
     "at most so many bytes a second are read to find bad copies; 0: none (10M)", 0},
    {"rebuild-blocks", FLAG_REBUILD_BLOCKS, NULL, 0,
     "put the block store aside (blocks.damaged) and fill a new one from the other block servers", 0},
    {"zone", FLAG_ZONE, "NAME", 0,
     "copies of a block are kept in different zones, as racks, as far as there are as many", 0},
    {"trace", FLAG_TRACE, "FILE", 0, "what happens is appended there, with vector clocks (surfctl trace merge)", 0},
    {"insecure-listen-everywhere-without-tls", FLAG_INSECURE, NULL, 0,
     "listen on all addresses although anyone could connect", 0},
    {"http-port", FLAG_HTTP_PORT, "PORT", 0, "serve HTTP: keys, files, metrics and a page of the cluster; 0: no (0)",
     0},
    {"http-address", FLAG_HTTP_ADDRESS, "IP", 0, "where (127.0.0.1)", 0},
    {"http-admin", FLAG_HTTP_ADMIN, NULL, 0, "also callers from other machines may crash nodes and the like", 0},
    {"http-files", FLAG_HTTP_FILES, "public|all|none", 0,
     "which files it shows: those that everybody may read (public)", 0},
    {"http-names", FLAG_HTTP_NAMES, "NAME,...", 0,
     "host names by which it may be asked, beside localhost and addresses", 0},
    {"text-port", FLAG_TEXT_PORT, "PORT", 0, "serve keys by a protocol of text lines; 0: no (0)", 0},
    {"text-address", FLAG_TEXT_ADDRESS, "IP", 0, "where (127.0.0.1)", 0},
    {"config", FLAG_CONFIG, "FILE", 0, "YAML file with the same names as keys, and block-servers; flags override it",
     0},
    {0},
};

/* Flags in their order; they are set after the file has been loaded. */
struct arguments {
    const char *config_file;
    struct flag {
        const char *key, *value, *shown;
    } flags[FLAGS_MAX];
    unsigned count;
};

static error_t parse_flag(int key, char *value, struct argp_state *state)
{
    struct arguments *a = state->input;
    if (key == FLAG_CONFIG) {
        a->config_file = value;
        return 0;
    }
    const struct argp_option *o = options;
    while (o->name && o->key != key)
        o++;
    if (!o->name && key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    if (a->count == FLAGS_MAX)
        argp_error(state, "too many arguments");
    a->flags[a->count++] = (struct flag){o->name, value ? value : "true", o->name};
    return 0;
}

static const struct argp argp = {options,
                                 parse_flag,
                                 "[BLOCK-SERVER-HOST:PORT...]",
                                 "SurfFS daemon: metastore, block server or both.\v"
                                 "Without arguments: node 1 with both roles on 127.0.0.1:8080, a whole cluster by "
                                 "itself. Addresses of block servers are for "
                                 "a metastore that is to use servers which do not name it in --peers.",
                                 NULL,
                                 NULL,
                                 NULL};

static enum err configure(const struct arguments *a, struct config *c, struct err_text *why)
{
    config_init(c);
    if (a->config_file)
        TRY(config_load_file(c, a->config_file, why));
    bool positional = false;
    for (unsigned i = 0; i < a->count; i++) {
        const struct flag *f = &a->flags[i];
        struct err_text reason;
        enum err e;
        if (f->key) {
            e = config_set(c, f->key, f->value, &reason);
        } else {
            /* Like any flag they override the file. */
            if (!positional)
                c->block_server_count = 0;
            positional = true;
            e = config_add_block_server(c, f->value, &reason);
        }
        if (e != ERR_OK)
            return err_explain(why, e, "%s%s: %s", f->key ? "--" : "", f->key ? f->key : f->value, reason.text);
    }
    return config_finish(c, why);
}

static int run(const struct config *config)
{
    uv_loop_t loop;
    CHECK(uv_loop_init(&loop) == 0);
    struct node *node = MEM_NEW(struct node);
    struct err_text why = {""};
    int exit_code = 0;
    struct gateways *gateways = NULL;
    if (node_open(node, &loop, config, &why) == ERR_OK && gateways_open(node, &gateways, &why) == ERR_OK) {
        uv_run(&loop, UV_RUN_DEFAULT);
        exit_code = node->exit_code;
    } else {
        fprintf(stderr, "surfd: %s\n", why.text);
        exit_code = EXIT_FAILURE;
    }
    gateways_close(gateways);
    node_close(node);
    CHECK(uv_loop_close(&loop) == 0);
    if (exit_code == 0)
        log_info("stopped");
    free(node);
    return exit_code;
}

/* Each connection takes one, and the node needs some as well. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= DESCRIPTORS)
        return;
    limit.rlim_cur = MIN(limit.rlim_max, DESCRIPTORS);
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    static struct arguments arguments;
    static struct config config;
    struct err_text why;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    if (configure(&arguments, &config, &why) != ERR_OK) {
        fprintf(stderr, "surfd: %s\n", why.text);
        return EX_USAGE;
    }
    char name[32];
    snprintf(name, sizeof name, "surfd[%u]", config.id);
    log_set_name(name);
    log_set_level(config.debug ? LOG_DEBUG : LOG_INFO);
    snprintf(name, sizeof name, "node%u", config.id);
    if (config.trace[0] && trace_open(config.trace, name, &why) != ERR_OK) {
        fprintf(stderr, "surfd: %s\n", why.text);
        return EXIT_FAILURE;
    }
    TRACE(0, "ServerStart", "{s:I}", "ServerId", (int64_t)config.id);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    /* Before anything starts a thread: RocksDB's and libuv's would each get an arena of their own. */
    mallopt(M_ARENA_MAX, 2);
    /* Buffers of blocks are used again, not mapped anew: node_memory.c gives back what a busy hour leaves. */
    mallopt(M_MMAP_THRESHOLD, 2 * LIMIT_BLOCK_BYTES);
    mallopt(M_TRIM_THRESHOLD, 16 * LIMIT_BLOCK_BYTES);
    setenv("UV_THREADPOOL_SIZE", WORKER_THREADS, 0);
    return run(&config);
}
