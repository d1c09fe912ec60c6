/* admin.h: what the commands of surfctl share. One thread; memory in one arena until the end of the process.
 *
 * Exit codes: 0 done, 1 failed, 2 not possible now (no leader, no majority), 64 usage. With --json a failure is
 * {"error": "...", "code": "NO_NODE"} on standard output, with the same exit codes. */
#pragma once

#include <jansson.h>

#include "proto/methods.h"
#include "proto/wire_admin.h"
#include "rpc/address.h"
#include "rpc/channel.h"

#define EXIT_DONE 0
#define EXIT_FAILED 1
#define EXIT_NOT_NOW 2

struct admin {
    struct rpc_address servers[LIMIT_NODES]; /* -m */
    size_t server_count;
    bool json;
    int64_t timeout_ns; /* for a command as a whole */
    struct arena arena;
};

struct admin_command {
    const char *name, *arguments, *help;
    int min_arguments, max_arguments;
    /* The exit code. */
    int (*run)(struct admin *a, int argc, char **argv);
};
extern const struct admin_command command_status, command_state, command_crash, command_restore, command_leader,
    command_heartbeat, command_members, command_unreachable, command_isolate, command_partition, command_heal;

/* ---- talking to nodes (ask.c) ---- */

/* One request to one address. On ERR_OK *ret_message is in the arena; a refusal's words are in why. */
enum err admin_ask(struct admin *a, const char *address, unsigned method, struct slice message, int64_t timeout_ns,
                   struct slice *ret_message, struct err_text *why) MUST_USE;
enum err admin_ask_state(struct admin *a, const char *address, unsigned log_entries, int64_t timeout_ns,
                         struct wire_admin_state *ret, struct err_text *why) MUST_USE;

/* ---- the cluster as its nodes tell it (survey.c) ---- */

#define SURVEY_NODES (LIMIT_NODES + LIMIT_BLOCK_SERVERS)

struct survey_node {
    uint32_t id;
    const char *address;
    bool reachable;
    struct err_text why; /* when not */
    struct wire_admin_state state;
};
struct survey {
    struct survey_node nodes[SURVEY_NODES]; /* by id */
    unsigned count;
    const struct survey_node *leader; /* the serving leader of the highest term, while there is a quorum; NULL: none */
    unsigned voters, voters_serving;  /* serving: reachable, not crashed, without a fault */
};
/* Asks the servers given with -m, learns the others from them and asks those, all with a short time-out. Fails only
 * when nobody answers at all; why names whom it asked. */
enum err survey_take(struct admin *a, struct survey *ret, struct err_text *why) MUST_USE;
/* The node, or NULL and why with the ids that there are. */
const struct survey_node *survey_find(const struct survey *s, uint32_t id, struct err_text *why);
/* LEADER, FOLLOWER, CANDIDATE, CRASHED, FAULT, SUSPENDED, REMOVED, BLOCK (no metastore role) or UNREACHABLE */
const char *survey_state_name(const struct survey_node *n);
bool survey_has_quorum(const struct survey *s);

/* ---- output (output.c) ---- */

/* Prints the failure in the form asked for and gives the exit code that goes with it. */
int admin_fail(struct admin *a, enum err e, const struct err_text *why);
/* The same for a command line that makes no sense: code "USAGE", exit code 64. */
int admin_usage(struct admin *a, const char *format, ...) PRINTF_LIKE(2, 3);
/* Prints a sentence, or with --json {"done": sentence}. */
int admin_done(struct admin *a, const char *format, ...) PRINTF_LIKE(2, 3);
int admin_print_json(json_t *value);                    /* takes the reference */
const char *admin_bytes(uint64_t bytes, char text[32]); /* "1.5 GiB" */
/* What came from a node, for a terminal: control characters are replaced. In the arena. */
const char *admin_text(struct admin *a, struct slice s);
json_t *json_slice(struct slice s); /* text that is not UTF-8 has its bytes replaced */
json_t *json_hex(struct slice s);
json_t *roles_json(uint32_t roles); /* ["meta", "block"] */

/* A node id: decimal, 1 to 4294967295. Anything else is a usage error: message, *ret untouched, false. */
bool admin_parse_node(struct admin *a, const char *text, uint32_t *ret);
