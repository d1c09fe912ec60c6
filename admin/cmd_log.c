/* cmd_log.c: the end of a node's log, a line for each entry, as teaching systems print it (S1). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "admin/admin.h"

static int run_log(struct admin *a, int argc, char **argv)
{
    uint32_t id;
    uint64_t count = WIRE_ADMIN_LOG_ENTRIES;
    if (!admin_parse_node(a, argv[0], &id))
        return EX_USAGE;
    if (argc != 1 && (strcmp(argv[1], "--last") != 0 ||
                      !admin_parse_number(argc == 3 ? argv[2] : "", 1, WIRE_ADMIN_LOG_ENTRIES, &count)))
        return admin_usage(a, "log: %s is not understood: surfctl log N [--last K], K up to %u", argv[argc - 1],
                           WIRE_ADMIN_LOG_ENTRIES);
    struct survey s;
    struct wire_admin_state state;
    struct err_text why = {""};
    enum err e = survey_take(a, &s, &why);
    const struct survey_node *n = e == ERR_OK ? survey_find(&s, id, &why) : NULL;
    if (n && !n->reachable)
        e = err_explain(&why, ERR_UNREACHABLE, "node %u: %.300s", n->id, n->why.text);
    if (e == ERR_OK)
        e = n ? admin_ask_state(a, n->address, (unsigned)count, a->timeout_ns, &state, &why) : ERR_NO_NODE;
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    for (unsigned i = 0; i < state.log_count; i++) {
        const struct wire_admin_log_entry *entry = &state.log[i];
        const char *text = admin_text(a, entry->text);
        bool noop = strcmp(text, "noop") == 0;
        if (a->json)
            admin_print_json_line(json_pack("{s:I, s:I, s:o}", "index", (json_int_t)entry->index, "term",
                                            (json_int_t)entry->term, "entry", json_slice(entry->text)));
        else
            printf("%" PRIu64 ". Term=%" PRIu64 ", Index=%" PRIu64 ", Entry=%s\n", entry->index, entry->term,
                   entry->index, noop ? "No-Op" : text);
    }
    return EXIT_DONE;
}

const struct admin_command command_log = {"log", "N [--last K]", "node N's last log entries, a line each", 1,
                                          3,     run_log};
