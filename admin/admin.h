/* admin.h: what the commands of surfctl share. One thread; memory in one arena until the end of the process.
 *
 * Exit codes: 0 done, 1 failed, 2 not possible now (no leader, no majority), 64 usage; more in kv.h and fsck.h. With
 * --json a failure is {"error": "...", "code": "NO_NODE"} on standard output, with the same exit codes. */
#pragma once

#include <signal.h>

#include "client/survey/survey.h"
#include "client/survey/survey_json.h"

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
    command_heartbeat, command_members, command_unreachable, command_isolate, command_partition, command_heal,
    command_sessions, command_watch, command_coord, command_chaos, command_trace, command_log, command_blocks,
    command_fsck, command_export, command_gc, command_kv, command_sync;

/* ---- help (help.c) ---- */

/* A command with its arguments, and what it is for, in lines of a terminal's width. */
void help_append(struct bytes *to, const char *name, const char *arguments, const char *text);
/* Prints them, frees them, and gives the exit code. */
int help_print(const char *command, struct bytes *lines);

/* ---- talking to nodes (ask.c) ---- */

/* A connection to one address, for several requests. NULL: it is no address. */
struct rpc_channel *admin_channel(struct admin *a, const char *address, int64_t timeout_ns, struct err_text *why);
/* One request. On ERR_OK *ret_message is in the arena; a refusal's words are in why. */
enum err admin_call(struct admin *a, struct rpc_channel *channel, unsigned method, struct slice message,
                    int64_t timeout_ns, struct slice *ret_message, struct err_text *why) MUST_USE;
/* One request to one address. On ERR_OK *ret_message is in the arena; a refusal's words are in why. */
enum err admin_ask(struct admin *a, const char *address, unsigned method, struct slice message, int64_t timeout_ns,
                   struct slice *ret_message, struct err_text *why) MUST_USE;
enum err admin_ask_state(struct admin *a, const char *address, unsigned log_entries, int64_t timeout_ns,
                         struct wire_admin_state *ret, struct err_text *why) MUST_USE;

/* ---- the cluster as its nodes tell it (client/survey/survey.h) ---- */

/* Asks the servers given with -m, as survey_ask. */
enum err survey_take(struct admin *a, struct survey *ret, struct err_text *why) MUST_USE;
/* Asks whoever leads; leaders come and go meanwhile. */
enum err admin_ask_leader(struct admin *a, unsigned method, struct slice message, struct err_text *why) MUST_USE;
/* The same, for an answer: on ERR_OK *ret_message is in the arena. */
enum err admin_ask_leader_for(struct admin *a, unsigned method, struct slice message, struct slice *ret_message,
                              struct err_text *why) MUST_USE;
/* NO_LEADER when there is none: for what only a leader knows. */
enum err survey_take_with_leader(struct admin *a, struct survey *ret, struct err_text *why) MUST_USE;

void space_print(const struct wire_admin_state *s);

/* ---- sessions (cmd_sessions.c) ---- */

void sessions_print(struct admin *a, const struct wire_admin_state *s); /* a line each */

/* ---- signals (signals.c) ---- */

/* SIGINT and SIGTERM are blocked from now on, here and in threads that begin later: for who waits for them. */
void admin_block_ends(sigset_t *ret_ends);
/* The same, and where the caller lets them through they end the program at once, as it should end. So no line is
 * printed in part. */
void admin_end_when_unblocked(sigset_t *ret_ends);

/* ---- output (output.c) ---- */

/* Prints the failure in the form asked for and gives the exit code that goes with it. */
int admin_fail(struct admin *a, enum err e, const struct err_text *why);
/* The same for a command line that makes no sense: code "USAGE", exit code 64. */
int admin_usage(struct admin *a, const char *format, ...) PRINTF_LIKE(2, 3);
/* Prints a sentence, or with --json {"done": sentence}. */
int admin_done(struct admin *a, const char *format, ...) PRINTF_LIKE(2, 3);
int admin_print_json(json_t *value);                    /* takes the reference */
void admin_print_json_line(json_t *line);               /* the same, without line feeds inside: for streams */
const char *admin_bytes(uint64_t bytes, char text[32]); /* "1.5 GiB" */
const char *admin_takes_none(bool full, bool failed);   /* of a block server, behind what it has; or "" */
/* What came from a node, for a terminal: control characters are replaced. In the arena. */
const char *admin_text(struct admin *a, struct slice s);
/* Decimal digits and nothing else. False: it is none of that range; *ret untouched. */
bool admin_parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *ret);
/* The number behind an option; NULL: there is none. False: a usage error, and it has been said. */
bool admin_parse_option(struct admin *a, const char *option, const char *text, uint64_t low, uint64_t high,
                        uint64_t *ret);
/* A node id: decimal, 1 to 4294967295. Anything else is a usage error: message, *ret untouched, false. */
bool admin_parse_node(struct admin *a, const char *text, uint32_t *ret);
