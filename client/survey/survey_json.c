#include "client/survey/survey_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

json_t *json_slice(struct slice s)
{
    json_t *text = json_stringn((const char *)s.data, s.size);
    if (text)
        return text;
    char *clean = malloc(s.size + 1);
    for (size_t i = 0; clean && i < s.size; i++)
        clean[i] = s.data[i] >= 0x20 && s.data[i] < 0x7f ? (char)s.data[i] : '?';
    text = clean ? json_stringn(clean, s.size) : json_null();
    free(clean);
    return text;
}

json_t *roles_json(uint32_t roles)
{
    json_t *list = json_array();
    if (roles & WIRE_NODE_META)
        json_array_append_new(list, json_string("meta"));
    if (roles & WIRE_NODE_BLOCK)
        json_array_append_new(list, json_string("block"));
    return list;
}

json_t *json_hex(struct slice s)
{
    char text[129];
    size_t size = s.size < 64 ? s.size : 64;
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", s.data[i]);
    return json_stringn(text, 2 * size);
}

static json_t *session_json(const struct wire_admin_session *s)
{
    return json_pack("{s:I, s:o, s:o, s:I, s:I, s:I, s:f}", "id", (json_int_t)s->id, "client", json_slice(s->client),
                     "export", json_slice(s->export), "last_seq", (json_int_t)s->last_seq, "locks",
                     (json_int_t)s->locks, "waits", (json_int_t)s->waits, "silent_s",
                     s->silent_ns < 0 ? -1.0 : (double)s->silent_ns / (double)NS_PER_S);
}

json_t *sessions_json(const struct wire_admin_state *s)
{
    json_t *sessions = json_array();
    for (unsigned i = 0; i < s->session_count; i++)
        json_array_append_new(sessions, session_json(&s->sessions[i]));
    return sessions;
}

uint64_t survey_behind(const struct survey *s, const struct survey_node *n)
{
    uint64_t ahead = s->leader ? s->leader->state.commit : n->state.commit;
    return ahead > n->state.applied ? ahead - n->state.applied : 0;
}

json_t *survey_node_json(const struct survey *survey, const struct survey_node *n)
{
    json_t *o =
        json_pack("{s:I, s:s, s:s}", "id", (json_int_t)n->id, "address", n->address, "state", survey_state_name(n));
    const struct wire_admin_state *s = &n->state;
    if (!n->reachable) {
        json_object_set_new(o, "error", json_slice(slice_str(n->why.text)));
        return o;
    }
    json_object_set_new(o, "roles", roles_json(s->roles));
    json_object_set_new(o, "term", json_integer((json_int_t)s->term));
    json_object_set_new(o, "commit", json_integer((json_int_t)s->commit));
    json_object_set_new(o, "applied", json_integer((json_int_t)s->applied));
    json_object_set_new(o, "behind", json_integer((json_int_t)survey_behind(survey, n)));
    json_object_set_new(o, "last", json_integer((json_int_t)s->last));
    json_object_set_new(o, "level", json_integer((json_int_t)s->level));
    json_object_set_new(o, "level_max", json_integer((json_int_t)s->level_max));
    json_object_set_new(o, "version", json_slice(s->version));
    json_object_set_new(o, "pid", json_integer((json_int_t)s->pid));
    json_object_set_new(o, "fault", json_slice(s->fault));
    return o;
}

struct space space_of(const struct wire_admin_state *s)
{
    struct space r = {.logical = s->file_bytes, .known = true, .stored_share = 1};
    uint64_t given = 0, stored = 0;
    unsigned owners = 0;
    for (unsigned i = 0; i < s->block_server_count; i++) {
        const struct wire_admin_block_server *b = &s->block_servers[i];
        given += b->upkeep.unique_bytes;
        stored += b->upkeep.stored_bytes;
        r.physical += b->block_bytes;
        owners += !b->draining;
        r.known = r.known && (!b->reporting || b->upkeep.walks > 0);
    }
    r.copies = MAX(MIN(s->replicas, owners), 1u);
    r.unique = given / r.copies;
    if (given > 0)
        r.stored_share = (double)stored / (double)given;
    return r;
}

json_t *space_json(const struct wire_admin_state *s)
{
    struct space r = space_of(s);
    return json_pack("{s:I, s:o, s:I, s:i, s:f}", "logical", (json_int_t)r.logical, "unique",
                     r.known ? json_integer((json_int_t)r.unique) : json_null(), "physical", (json_int_t)r.physical,
                     "copies", (int)r.copies, "stored_share", r.stored_share);
}

/* Times are in seconds, whatever they are inside. */
static void set_number(json_t *o, const char *name, uint64_t value)
{
    char seconds[64];
    size_t size = strlen(name);
    if (size < 3 || strcmp(name + size - 3, "_ns") != 0) {
        json_object_set_new(o, name, json_integer((json_int_t)value));
        return;
    }
    snprintf(seconds, sizeof seconds, "%.*s_s", (int)(size - 3), name);
    json_object_set_new(o, seconds, json_real((double)value / (double)NS_PER_S));
}

json_t *block_server_json(const struct wire_admin_block_server *b)
{
    const struct wire_block_upkeep *u = &b->upkeep;
    json_t *o = json_pack("{s:I, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "id", (json_int_t)b->id, "address",
                          json_slice(b->address), "up", b->reporting, "weight", (json_int_t)b->weight, "blocks",
                          (json_int_t)b->blocks, "block_bytes", (json_int_t)b->block_bytes, "disk_total",
                          (json_int_t)b->disk_total, "disk_free", (json_int_t)b->disk_free, "walking", u->walking,
                          "walk_due", u->walk_due);
#define X(name) set_number(o, #name, u->name);
    WIRE_UPKEEP_NUMBERS(X)
#undef X
    json_object_set_new(o, "reporting", json_boolean(b->reporting));
    json_object_set_new(o, "full", json_boolean(b->full));
    json_object_set_new(o, "failed", json_boolean(b->failed));
    json_object_set_new(o, "disk_kept", json_integer((json_int_t)b->disk_kept));
    json_object_set_new(o, "zone", json_slice(b->zone));
    json_object_set_new(o, "draining", json_boolean(b->draining));
    json_object_set_new(o, "weight_fixed", json_boolean(b->weight_fixed));
    return o;
}

json_t *survey_json(const struct survey *s)
{
    const struct wire_admin_state *best = survey_best(s);
    json_t *nodes = json_array(), *servers = json_array();
    for (unsigned i = 0; i < s->count; i++)
        json_array_append_new(nodes, survey_node_json(s, &s->nodes[i]));
    for (unsigned i = 0; i < best->block_server_count; i++)
        json_array_append_new(servers, block_server_json(&best->block_servers[i]));
    json_t *leader = s->leader ? json_integer((json_int_t)s->leader->id) : json_null();
    json_t *cluster = best->has_cluster_id ? json_hex(SLICE(best->cluster_id, sizeof best->cluster_id)) : json_null();
    return json_pack("{s:o, s:I, s:o, s:b, s:o, s:o, s:o, s:I, s:I, s:o}", "cluster_id", cluster, "level",
                     (json_int_t)best->level, "leader", leader, "quorum", survey_has_quorum(s), "nodes", nodes,
                     "block_servers", servers, "sessions", sessions_json(best), "inodes", (json_int_t)best->inodes,
                     "file_bytes", (json_int_t)best->file_bytes, "space", space_json(best));
}
