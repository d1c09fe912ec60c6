/* cmd_members.c: who is in the metastore, and changes of that. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/mem.h"

#define NEW_NS (2 * NS_PER_S)      /* longest wait for the word of a new member */
#define AGAIN_NS (100 * NS_PER_MS) /* between two tries to promote a learner that is behind */

static const struct survey_node *newest_view(const struct survey *s)
{
    const struct survey_node *view = s->leader;
    for (unsigned i = 0; i < s->count && !s->leader; i++)
        if (s->nodes[i].reachable && (s->nodes[i].state.roles & WIRE_NODE_META) &&
            (!view || s->nodes[i].state.config_index > view->state.config_index))
            view = &s->nodes[i];
    return view;
}

static const char *role_of(const struct wire_admin_peer *p)
{
    return p->voter && p->old_voter ? "voter" : p->voter ? "voter" : p->old_voter ? "leaving" : "learner";
}

/* Up to which level the member's program goes; 0: it doesn't answer. */
static uint32_t level_of(const struct survey *s, uint32_t id)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->nodes[i].id == id && s->nodes[i].reachable)
            return s->nodes[i].state.level_max;
    return 0;
}

static json_t *members_json(const struct survey *s, const struct wire_admin_state *state)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < state->peer_count; i++) {
        const struct wire_admin_peer *p = &state->peers[i];
        json_array_append_new(list, json_pack("{s:i, s:o, s:s, s:b, s:I, s:b, s:b, s:I}", "id", (int)p->id, "address",
                                              json_slice(p->address), "role", role_of(p), "active", (int)p->active,
                                              "match", (json_int_t)p->match, "needs_snapshot", (int)p->needs_snapshot,
                                              "foreign", (int)p->foreign, "level_max", (json_int_t)level_of(s, p->id)));
    }
    return json_pack("{s:o, s:b, s:I, s:I}", "members", list, "change_pending", (int)state->config_pending,
                     "config_index", (json_int_t)state->config_index, "level", (json_int_t)state->level);
}

static int list_members(struct admin *a)
{
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take(a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    const struct survey_node *view = newest_view(&s);
    if (!view)
        return admin_fail(a, err_explain(&why, ERR_NO_NODE, "no metastore member answers"), &why);
    const struct wire_admin_state *state = &view->state;
    if (a->json)
        return admin_print_json(members_json(&s, state));
    printf("as node %u%s knows them (entry %llu, level %u%s)\n", view->id, s.leader ? ", the leader," : "",
           (unsigned long long)state->config_index, state->level,
           state->config_pending ? ", a change is under way" : "");
    for (unsigned i = 0; i < state->peer_count; i++) {
        const struct wire_admin_peer *p = &state->peers[i];
        char level[32] = "";
        if (level_of(&s, p->id) > 0)
            snprintf(level, sizeof level, " level %u", level_of(&s, p->id));
        printf("%4u  %-22s %-8s %s%s%s%s\n", p->id, admin_text(a, p->address), role_of(p),
               p->active  ? "active"
               : s.leader ? "silent"
                          : "",
               level, p->needs_snapshot ? ", needs a snapshot" : "",
               p->foreign ? "; NOT THE DATA IT HAD: start it once with --rebuild" : "");
    }
    return EXIT_DONE;
}

/* Up to which level the program of a new member goes, if it answers: then it can be refused before it is one. */
static uint32_t level_of_new(struct admin *a, const char *address)
{
    struct wire_admin_state state;
    struct err_text why;
    enum err e = admin_ask_state(a, address, 0, MIN(a->timeout_ns, NEW_NS), &state, &why);
    return e == ERR_OK ? MAX(state.level_max, META_LEVEL_FIRST) : 0;
}

static int run_members(struct admin *a, int argc, char **argv)
{
    static const struct {
        const char *word, *done;
        enum wire_member_change_kind kind;
    } kinds[] = {{"add", "added as a learner", WIRE_MEMBER_ADD},
                 {"promote", "a voter now", WIRE_MEMBER_PROMOTE},
                 {"demote", "a learner now", WIRE_MEMBER_DEMOTE},
                 {"remove", "removed", WIRE_MEMBER_REMOVE},
                 {"move", "at its new address", WIRE_MEMBER_MOVE}};
    if (argc == 0)
        return list_members(a);
    struct wire_admin_member_change change = {0};
    size_t k = 0;
    while (k < ARRAY_SIZE(kinds) && strcmp(kinds[k].word, argv[0]) != 0)
        k++;
    if (k == ARRAY_SIZE(kinds))
        return admin_usage(a, "members %s: it is add, promote, demote, move or remove", argv[0]);
    change.kind = kinds[k].kind;
    bool placed = change.kind == WIRE_MEMBER_ADD || change.kind == WIRE_MEMBER_MOVE;
    int needed = placed ? 3 : 2;
    if (argc != needed)
        return admin_usage(a, "the command is surfctl members %s %s", argv[0], needed == 3 ? "ID HOST:PORT" : "ID");
    if (!admin_parse_node(a, argv[1], &change.id))
        return EX_USAGE;
    struct err_text why = {""};
    struct rpc_address address;
    if (placed) {
        if (rpc_address_parse(argv[2], &address, &why) != ERR_OK)
            return admin_usage(a, "%s", why.text);
        change.address = slice_str(address.text);
    }
    if (change.kind == WIRE_MEMBER_ADD)
        change.level_max = level_of_new(a, address.text);
    /* A learner may be just about to catch up. */
    int64_t until_ns = clock_boot_ns() + a->timeout_ns;
    enum err e = admin_ask_leader(a, METHOD_ADMIN_MEMBERS, wire_admin_member_change_encode(&change, &a->arena), &why);
    while (e == ERR_NOT_POSSIBLE && change.kind == WIRE_MEMBER_PROMOTE && clock_boot_ns() < until_ns) {
        nanosleep(&(struct timespec){.tv_nsec = AGAIN_NS}, NULL);
        e = admin_ask_leader(a, METHOD_ADMIN_MEMBERS, wire_admin_member_change_encode(&change, &a->arena), &why);
    }
    return e == ERR_OK ? admin_done(a, "node %u is %s", change.id, kinds[k].done) : admin_fail(a, e, &why);
}

const struct admin_command command_members = {
    "members",  "[add ID ADDR|promote ID|demote ID|move ID ADDR|remove ID]", "members of the metastore", 0, 3,
    run_members};
