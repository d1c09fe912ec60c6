/* http_status.c: /admin/status, one node as "name: value" lines, and /healthz. Both are of this node alone, as its own
 * administration tells it, so that they answer also when the cluster doesn't. */
#include <inttypes.h>
#include <stdio.h>

#include "client/survey/survey.h"
#include "gateway/http.h"

#define STATUS_TIMEOUT_NS (2 * NS_PER_S)
/* Partners' states, in numbers that programs for this kind of page know. */
#define PARTNER_UP 2
#define PARTNER_DOWN 0

struct lines {
    struct bytes text;
    const struct wire_admin_state *state;
};

PRINTF_LIKE(2, 3) static void line(struct lines *l, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bytes_append(&l->text, slice_str(text));
    bytes_u8(&l->text, '\n');
}

static enum err own_state(struct http_request *r, struct wire_admin_state *ret, struct err_text *why)
{
    struct asker asker = gateway_session_asker(r->server->session, &r->arena);
    return asker_state(&asker, r->server->options->own.text, 0, STATUS_TIMEOUT_NS, ret, why);
}

static const struct wire_admin_peer *find_peer(const struct wire_admin_state *s, uint32_t id)
{
    for (unsigned i = 0; i < s->peer_count; i++)
        if (s->peers[i].id == id)
            return &s->peers[i];
    return NULL;
}

static bool ignores(const struct wire_admin_state *s, uint32_t id)
{
    for (unsigned i = 0; i < s->unreachable_count; i++)
        if (s->unreachable[i] == id)
            return true;
    return false;
}

/* As this node knows it: a leader hears a majority of the voters, others hear of a leader. */
static bool has_quorum(const struct wire_admin_state *s)
{
    unsigned voters = 0, active = 0;
    if (s->crashed || s->fault.size > 0 || s->suspended.size > 0 || s->leader == 0)
        return false;
    for (unsigned i = 0; i < s->peer_count; i++) {
        voters += s->peers[i].voter;
        active += s->peers[i].voter && s->peers[i].active;
    }
    return s->role != RAFT_LEADER || 2 * active > voters;
}

/* A leader knows who answers it. Others have to ask, and what they ignore counts as down. */
static void partner_lines(struct http_request *r, struct lines *l)
{
    const struct wire_admin_state *s = l->state;
    _cleanup_free_ struct survey *survey = MEM_NEW(struct survey);
    struct asker asker = gateway_session_asker(r->server->session, &r->arena);
    struct err_text why;
    unsigned partners = 0, learners = 0;
    asker.timeout_ns = STATUS_TIMEOUT_NS;
    bool asked = s->role != RAFT_LEADER && survey_ask(&asker, survey, &why) == ERR_OK;
    for (unsigned i = 0; i < s->peer_count; i++) {
        const struct wire_admin_peer *p = &s->peers[i];
        learners += !p->voter;
        if (p->id == s->node_id || !p->voter)
            continue;
        bool up = p->active;
        for (unsigned n = 0; asked && n < survey->count; n++)
            if (survey->nodes[n].id == p->id)
                up = survey->nodes[n].reachable && !survey->nodes[n].state.crashed && !ignores(s, p->id);
        partners++;
        line(l, "partner_node_status_server_%u: %d", p->id, up ? PARTNER_UP : PARTNER_DOWN);
    }
    line(l, "partner_nodes_count: %u", partners);
    line(l, "readonly_nodes_count: %u", learners);
}

/* What a leader sends next to whom, and what they have. */
static void progress_lines(struct lines *l)
{
    const struct wire_admin_state *s = l->state;
    unsigned count = 0;
    for (unsigned i = 0; s->role == RAFT_LEADER && i < s->peer_count; i++) {
        const struct wire_admin_peer *p = &s->peers[i];
        if (p->id == s->node_id)
            continue;
        count++;
        line(l, "next_node_idx_server_%u: %" PRIu64, p->id, p->next);
        line(l, "match_idx_server_%u: %" PRIu64, p->id, p->match);
    }
    line(l, "next_node_idx_count: %u", count);
    line(l, "match_idx_count: %u", count);
}

static int state_number(const struct wire_admin_state *s)
{
    switch (s->role) {
    case RAFT_LEADER:
        return 2;
    case RAFT_PRE_CANDIDATE:
    case RAFT_CANDIDATE:
        return 1;
    case RAFT_FOLLOWER:
        break;
    }
    return 0;
}

void http_status_run(struct http_request *r)
{
    struct wire_admin_state s;
    struct err_text why = {""};
    enum err e = own_state(r, &s, &why);
    if (e != ERR_OK) {
        http_answer_text(r, MHD_HTTP_INTERNAL_SERVER_ERROR, "The node doesn't say: %s", why.text);
        return;
    }
    struct lines l = {.state = &s};
    const struct wire_admin_peer *leader = find_peer(&s, s.leader);
    line(&l, "version: %.*s", (int)s.version.size, (const char *)s.version.data);
    line(&l, "revision: %s", SURF_VERSION);
    line(&l, "self: %.*s", (int)s.address.size, (const char *)s.address.data);
    line(&l, "state: %d", state_number(&s));
    line(&l, "leader: %.*s", leader ? (int)leader->address.size : 4,
         leader ? (const char *)leader->address.data : "None");
    line(&l, "has_quorum: %s", has_quorum(&s) ? "True" : "False");
    partner_lines(r, &l);
    line(&l, "log_len: %" PRIu64, s.last - s.compacted);
    line(&l, "last_applied: %" PRIu64, s.applied);
    line(&l, "commit_idx: %" PRIu64, s.commit);
    line(&l, "raft_term: %" PRIu64, s.term);
    progress_lines(&l);
    line(&l, "leader_commit_idx: %" PRIu64, s.commit);
    line(&l, "uptime: %" PRId64, s.uptime_ns / NS_PER_S);
    line(&l, "self_code_version: %" PRIu32, s.level_max);
    line(&l, "enabled_code_version: %" PRIu32, s.level);
    http_answer_bytes(r, MHD_HTTP_OK, "text/plain; charset=utf-8", &l.text);
}

void http_health_run(struct http_request *r)
{
    struct wire_admin_state s;
    struct err_text why = {""};
    if (own_state(r, &s, &why) != ERR_OK)
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "The node doesn't answer: %s", why.text);
    else if (s.crashed)
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "This node is crashed, as surfctl crash does it");
    else if (s.fault.size + s.suspended.size > 0)
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "Out of service: %.*s%.*s", (int)s.fault.size,
                         (const char *)s.fault.data, (int)s.suspended.size, (const char *)s.suspended.data);
    else if ((s.roles & WIRE_NODE_META) && !has_quorum(&s))
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "There is no leader, as far as this node knows");
    else
        http_answer_text(r, MHD_HTTP_OK, "ok");
}
