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

#define DEFAULT_SERVER "127.0.0.1:8080"
#define DEFAULT_TIMEOUT_S 10
#define MAX_TIMEOUT_S 3600

const char *argp_program_version = "surfctl " SURF_VERSION;

static const struct admin_command *const commands[] = {
    &command_status,  &command_state,       &command_crash,   &command_restore,   &command_leader, &command_heartbeat,
    &command_members, &command_unreachable, &command_isolate, &command_partition, &command_heal};

static const struct argp_option options_table[] = {
    {NULL, 'm', "ADDR[,ADDR...]", 0, "metastore nodes (or SURFFS_META in the environment; default " DEFAULT_SERVER ")",
     0},
    {"json", 'j', NULL, 0, "print JSON", 0},
    {"timeout", 't', "SECONDS", 0, "for one request (10)", 0},
    {0},
};

struct parsed {
    struct admin admin;
    const char *servers;
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
    char *all = mem_zalloc(4096);
    size_t used = (size_t)snprintf(all, 4096, "Commands:\n");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        used += (size_t)snprintf(all + used, 4096 - used, "  %-12s %-14s %s\n", commands[i]->name,
                                 commands[i]->arguments, commands[i]->help);
    snprintf(all + used, 4096 - used, "\nExit codes: 0 done, 1 failed, 2 not possible now, 64 usage.");
    return all;
}

static int run(struct parsed *p)
{
    const char *name = p->argv[0];
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct admin_command *c = commands[i];
        if (strcmp(c->name, name) != 0)
            continue;
        int count = p->argc - 1;
        if (count < c->min_arguments || count > c->max_arguments) {
            return count < c->min_arguments
                       ? admin_usage(&p->admin, "%s needs more: surfctl %s %s", name, c->name, c->arguments)
                       : admin_usage(&p->admin, "%s: %s is too much: the command is surfctl %s %s", name,
                                     p->argv[c->max_arguments + 1], c->name, c->arguments);
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
    int code = run(&p);
    arena_free(&p.admin.arena);
    return code;
}
