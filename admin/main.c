/* main.c: surfctl. Arguments, the table of commands, exit codes (admin.h). */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/mem.h"

#define LOG_MODULE "surfctl"
#include "base/log.h"
#include "trace/trace.h"

#define DEFAULT_SERVER "127.0.0.1:8080"
#define DEFAULT_TIMEOUT_S 10
#define MAX_TIMEOUT_S 3600

const char *argp_program_version = "surfctl " SURF_VERSION;

static const struct admin_command *const commands[] = {
    &command_status,  &command_state,       &command_crash,   &command_restore,   &command_leader, &command_heartbeat,
    &command_members, &command_unreachable, &command_isolate, &command_partition, &command_heal,   &command_sessions,
    &command_watch,   &command_coord,       &command_chaos,   &command_trace,     &command_log,    &command_blocks,
    &command_fsck,    &command_export,      &command_gc,      &command_kv,        &command_sync};

enum { OPTION_TRACE = 256 };

static const struct argp_option options_table[] = {
    {NULL, 'm', "ADDR[,ADDR...]", 0, "metastore nodes (or SURFFS_META in the environment; default " DEFAULT_SERVER ")",
     0},
    {"json", 'j', NULL, 0, "print JSON", 0},
    {"timeout", 't', "SECONDS", 0, "for one request (10)", 0},
    {"trace", OPTION_TRACE, "FILE", 0, "what happens is appended there, with vector clocks (surfctl trace merge)", 0},
    {0},
};

struct parsed {
    struct admin admin;
    const char *servers, *trace;
    int argc;
    char **argv;
};

static error_t parse_argument(int key, char *text, struct argp_state *state)
{
    struct parsed *p = state->input;
    char *end;
    double seconds;
    switch (key) {
    case 'm':
        p->servers = text;
        return 0;
    case 'j':
        p->admin.json = true;
        return 0;
    case OPTION_TRACE:
        p->trace = text;
        return 0;
    case 't':
        seconds = strtod(text, &end);
        if (end == text || *end != 0 || !(seconds > 0 && seconds <= MAX_TIMEOUT_S))
            argp_error(state, "--timeout %s: not a number of seconds up to %d", text, MAX_TIMEOUT_S);
        p->admin.timeout_ns = (int64_t)(seconds * (double)NS_PER_S);
        return 0;
    case ARGP_KEY_ARG:
        /* A command's own options follow it: they are not ours. */
        p->argc = state->argc - state->next + 1;
        p->argv = state->argv + state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "a command is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static char *help_with_commands(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC)
        return (char *)(uintptr_t)text;
    struct bytes all = {0};
    bytes_append(&all, slice_str("Commands (surfctl COMMAND --help shows one of them):\n"));
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        help_append(&all, commands[i]->name, commands[i]->arguments, commands[i]->help);
    bytes_append(&all, slice_str("\nExit codes: 0 done, 1 failed, 2 not possible now, 64 usage;\n"
                                 "of kv also 3 absent, 4 refused. More in surfctl(8)."));
    bytes_u8(&all, 0);
    return (char *)all.data; /* argp frees it */
}

/* --json may also stand behind the command, as people expect. Not with kv, which looks for it itself: values of its
 * options may be anything. */
static int take_json(struct admin *a, int argc, char **argv)
{
    int kept = 0;
    bool only_words = false;
    for (int i = 0; i < argc; i++) {
        only_words = only_words || strcmp(argv[i], "--") == 0;
        if (!only_words && strcmp(argv[i], "--json") == 0)
            a->json = true;
        else
            argv[kept++] = argv[i];
    }
    return kept;
}

static int show_help(const struct admin_command *c)
{
    struct bytes lines = {0};
    help_append(&lines, c->name, c->arguments, c->help);
    return help_print("COMMAND [ARGUMENT...]", &lines);
}

static int run(struct parsed *p)
{
    const char *name = p->argv[0];
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct admin_command *c = commands[i];
        if (strcmp(c->name, name) != 0)
            continue;
        int count = p->argc - 1;
        if (c != &command_kv && count > 0 && strcmp(p->argv[1], "--help") == 0)
            return show_help(c);
        if (c != &command_kv)
            count = take_json(&p->admin, count, p->argv + 1);
        const char *space = c->arguments[0] ? " " : "";
        if (count < c->min_arguments || count > c->max_arguments) {
            return count < c->min_arguments
                       ? admin_usage(&p->admin, "%s needs more: surfctl %s%s%s", name, c->name, space, c->arguments)
                       : admin_usage(&p->admin, "%s: %s is too much: the command is surfctl %s%s%s", name,
                                     p->argv[c->max_arguments + 1], c->name, space, c->arguments);
        }
        return c->run(&p->admin, count, p->argv + 1);
    }
    return admin_usage(&p->admin, "%s: no such command; surfctl --help lists them", name);
}

int main(int argc, char **argv)
{
    static const struct argp parser = {options_table,
                                       parse_argument,
                                       "COMMAND [ARGUMENT...]",
                                       "Administer a SurfFS cluster.\v",
                                       NULL,
                                       help_with_commands,
                                       NULL};
    struct parsed p = {.admin = {.timeout_ns = DEFAULT_TIMEOUT_S * NS_PER_S}};
    argp_err_exit_status = EX_USAGE;
    log_set_name("surfctl");
    log_set_level(LOG_ERROR);
    argp_parse(&parser, argc, argv, ARGP_IN_ORDER, NULL, &p);
    const char *servers = p.servers, *environment = getenv("SURFFS_META");
    if (!servers)
        servers = environment && environment[0] ? environment : DEFAULT_SERVER;
    struct err_text why = {""};
    if (rpc_address_parse_list(servers, p.admin.servers, LIMIT_NODES, &p.admin.server_count, &why) != ERR_OK) {
        return admin_usage(&p.admin, "%s", why.text);
    }
    if (p.trace && trace_open_client(p.trace, "surfctl", &why) != ERR_OK) {
        fprintf(stderr, "surfctl: %s\n", why.text);
        return EXIT_FAILED;
    }
    int code = run(&p);
    arena_free(&p.admin.arena);
    return code;
}
