/* cmd_sessions.c: who uses the file system, and what locks they hold. */
#include <inttypes.h>
#include <stdio.h>

#include "admin/admin.h"
#include "base/clock.h"

void sessions_print(struct admin *a, const struct wire_admin_state *s)
{
    if (s->session_count == 0)
        printf("      none\n");
    for (unsigned i = 0; i < s->session_count; i++) {
        const struct wire_admin_session *t = &s->sessions[i];
        printf("%10" PRIu64 "  %s (export %s)", t->id, admin_text(a, t->client), admin_text(a, t->export));
        if (t->silent_ns >= 0)
            printf(", heard %.1f s ago", (double)t->silent_ns / (double)NS_PER_S);
        if (t->locks > 0)
            printf(", %" PRIu64 " %s", t->locks, t->locks == 1 ? "lock" : "locks");
        if (t->waits > 0)
            printf(", waits for %" PRIu64, t->waits);
        printf("\n");
    }
}

static int run_sessions(struct admin *a, int argc, char **argv)
{
    (void)argc, (void)argv;
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take_with_leader(a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    if (a->json)
        return admin_print_json(json_pack("{s:o}", "sessions", sessions_json(&s.leader->state)));
    sessions_print(a, &s.leader->state);
    return EXIT_DONE;
}

const struct admin_command command_sessions = {"sessions", "", "who has it mounted, and their locks",
                                               0,          0,  run_sessions};
