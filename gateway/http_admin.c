/* http_admin.c: what an operator does to nodes, for those who may (http_guard.h), and the whole cluster as JSON. The
 * same requests as surfctl's, to whichever node it is about. */
#include <stdlib.h>
#include <string.h>

#include "gateway/http_guard.h"
#include "gateway/http_text.h"
#include "gateway/picture.h"

/* The cluster now; false: it has been answered. */
static bool look(struct http_request *r, struct asker *asker, struct survey **ret)
{
    struct err_text why = {""};
    *asker = gateway_session_asker(r->server->session, &r->arena);
    *ret = arena_zalloc(&r->arena, sizeof **ret);
    enum err e = survey_ask(asker, *ret, &why);
    if (e != ERR_OK)
        http_answer_error(r, e, &why);
    return e == ERR_OK;
}

void http_cluster_run(struct http_request *r)
{
    struct asker asker;
    struct survey *s;
    if (!look(r, &asker, &s))
        return;
    json_t *o = picture_json(s);
    json_object_set_new(o, "self", json_integer(r->server->options->node_id));
    json_object_set_new(o, "admin", json_boolean(http_guard_is_admin(r)));
    http_answer_json(r, MHD_HTTP_OK, o);
}

static bool parse_id(struct slice text, uint32_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i == 10)
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    if (value == 0 || value > UINT32_MAX)
        return false;
    *ret = (uint32_t)value;
    return true;
}

static enum err ignore(const struct asker *a, const struct survey_node *n, const uint32_t *ids, unsigned count,
                       struct err_text *why)
{
    struct wire_admin_nodes nodes = {.ids = ids, .count = count};
    struct slice answer;
    return asker_ask(a, n->address, METHOD_ADMIN_UNREACHABLE, wire_admin_nodes_encode(&nodes, a->arena), a->timeout_ns,
                     &answer, why);
}

static bool is_member(const struct survey_node *n)
{
    return n->reachable && (n->state.roles & WIRE_NODE_META);
}

/* Some others have been told already: it can't be said any more that nothing was done. */
static enum err after_some(enum err e)
{
    return e == ERR_OK ? e : ERR_TIMEOUT;
}

/* It and all others ignore each other. */
static enum err isolate(const struct asker *a, const struct survey *s, const struct survey_node *one,
                        struct err_text *why)
{
    uint32_t others[LIMIT_NODES];
    unsigned count = 0;
    for (unsigned i = 0; i < s->count && count < LIMIT_NODES; i++)
        if (&s->nodes[i] != one && is_member(&s->nodes[i]))
            others[count++] = s->nodes[i].id;
    if (count > 0)
        TRY(ignore(a, one, others, count, why));
    for (unsigned i = 0; i < s->count; i++)
        if (&s->nodes[i] != one && is_member(&s->nodes[i]))
            TRY(after_some(ignore(a, &s->nodes[i], &one->id, 1, why)));
    return ERR_OK;
}

static enum err change_node(const struct asker *a, const struct survey *s, const struct survey_node *n,
                            struct slice verb, struct err_text *why)
{
    struct wire_admin_crash crash = {.kill = false};
    struct slice answer, message = {NULL, 0};
    unsigned method;
    if (slice_equal(verb, slice_str("isolate")))
        return isolate(a, s, n, why);
    if (slice_equal(verb, slice_str("crash"))) {
        method = METHOD_ADMIN_CRASH;
        message = wire_admin_crash_encode(&crash, a->arena);
    } else if (slice_equal(verb, slice_str("restore"))) {
        method = METHOD_ADMIN_RESTORE;
    } else {
        method = METHOD_ADMIN_LEADER;
    }
    return asker_ask(a, n->address, method, message, a->timeout_ns, &answer, why);
}

/* POST /admin/nodes/ID/VERB */
void http_nodes_run(struct http_request *r)
{
    static const char *const verbs[] = {"crash", "restore", "leader", "isolate"};
    const char *slash = r->path ? strchr(r->path, '/') : NULL;
    struct slice verb = slice_str(slash ? slash + 1 : "");
    bool known = false;
    uint32_t id;
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        known = known || slice_equal(verb, slice_str(verbs[i]));
    if (!known || !parse_id(SLICE(r->path, (size_t)(slash - r->path)), &id)) {
        http_answer_text(r, MHD_HTTP_NOT_FOUND, "It is /admin/nodes/ID/ and crash, restore, leader or isolate");
        return;
    }
    struct asker asker;
    struct survey *s;
    if (!look(r, &asker, &s))
        return;
    struct err_text why = {""};
    const struct survey_node *n = survey_find(s, id, &why);
    enum err e = n ? change_node(&asker, s, n, verb, &why) : ERR_NO_NODE;
    if (e == ERR_OK)
        http_answer_empty(r, MHD_HTTP_NO_CONTENT);
    else
        http_answer_error(r, e, &why);
}

struct group {
    uint32_t ids[LIMIT_NODES];
    unsigned count;
};

static bool read_group(json_t *list, const struct survey *s, struct group *ret, struct err_text *why)
{
    size_t i;
    json_t *item;
    ret->count = 0;
    json_array_foreach(list, i, item)
    {
        json_int_t id = json_integer_value(item);
        if (id < 1 || id > UINT32_MAX || ret->count == LIMIT_NODES || !survey_find(s, (uint32_t)id, why))
            return false;
        ret->ids[ret->count++] = (uint32_t)id;
    }
    return ret->count > 0;
}

static bool groups_meet(const struct group *a, const struct group *b)
{
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned k = 0; k < b->count; k++)
            if (a->ids[i] == b->ids[k])
                return true;
    return false;
}

/* Before anything is changed: those who are to be told are there to be told. */
static enum err check_group(const struct survey *s, const struct group *told, struct err_text *why)
{
    for (unsigned i = 0; i < told->count; i++) {
        const struct survey_node *n = survey_find(s, told->ids[i], why);
        if (!n)
            return ERR_NO_NODE;
        if (!n->reachable)
            return err_explain(why, ERR_UNREACHABLE, "node %u: %.300s", n->id, n->why.text);
        if (!is_member(n))
            return err_explain(why, ERR_INVAL, "node %u has no metastore, and sends no raft messages", n->id);
    }
    return ERR_OK;
}

static enum err ignore_group(const struct asker *a, const struct survey *s, const struct group *who,
                             const struct group *whom, struct err_text *why)
{
    for (unsigned i = 0; i < who->count; i++) {
        enum err e = ignore(a, survey_find(s, who->ids[i], why), whom->ids, whom->count, why);
        TRY(i == 0 ? e : after_some(e));
    }
    return ERR_OK;
}

/* POST /admin/partition {"groups": [[1, 2], [3]], "one_way": false}: one way, the second does not hear the first. */
void http_partition_run(struct http_request *r)
{
    json_error_t error;
    json_auto_t *o = json_loadb((const char *)r->body.data, r->body.size, 0, &error);
    json_t *groups = json_object_get(o, "groups");
    struct asker asker;
    struct survey *s;
    struct group first, second;
    struct err_text why = {"an id that is none"};
    if (!json_is_object(o) || json_array_size(groups) != 2) {
        http_answer_text(r, MHD_HTTP_BAD_REQUEST, "It is {\"groups\": [[ID, ...], [ID, ...]], \"one_way\": false}");
        return;
    }
    if (!look(r, &asker, &s))
        return;
    if (!read_group(json_array_get(groups, 0), s, &first, &why) ||
        !read_group(json_array_get(groups, 1), s, &second, &why) || groups_meet(&first, &second)) {
        http_answer_text(r, MHD_HTTP_BAD_REQUEST, "Two groups of different nodes are needed: %s", why.text);
        return;
    }
    bool one_way = json_is_true(json_object_get(o, "one_way"));
    enum err e = check_group(s, &second, &why);
    if (e == ERR_OK && !one_way)
        e = check_group(s, &first, &why);
    if (e == ERR_OK)
        e = ignore_group(&asker, s, &second, &first, &why);
    if (e == ERR_OK && !one_way)
        e = after_some(ignore_group(&asker, s, &first, &second, &why));
    if (e == ERR_OK)
        http_answer_empty(r, MHD_HTTP_NO_CONTENT);
    else
        http_answer_error(r, e, &why);
}

/* POST /admin/heal: everybody hears everybody; who can't be reached is named. */
void http_heal_run(struct http_request *r)
{
    struct asker asker;
    struct survey *s;
    struct err_text why;
    if (!look(r, &asker, &s))
        return;
    json_t *missed = json_array();
    for (unsigned i = 0; i < s->count; i++) {
        const struct survey_node *n = &s->nodes[i];
        bool block_only = n->reachable && !(n->state.roles & WIRE_NODE_META);
        if (!block_only && (!n->reachable || ignore(&asker, n, NULL, 0, &why) != ERR_OK))
            json_array_append_new(missed, json_integer((json_int_t)n->id));
    }
    http_answer_json(r, MHD_HTTP_OK, json_pack("{s:o}", "not_reached", missed));
}
