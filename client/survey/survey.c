#include "client/survey/survey.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

#define AGAIN_NS (100 * NS_PER_MS) /* between two tries, while an election or another change is under way */
#define NODE_TIMEOUT_NS (1500 * NS_PER_MS)

/* One node is asked on a thread of its own, with an arena of its own: a dead machine must not delay the others. The
 * answer is decoded by the thread that gathers them, into the arena that lives on. */
struct question {
    struct asker asker;
    struct arena arena;
    const char *address;
    struct slice answer;
    enum err result;
    struct err_text why;
    pthread_t thread;
    bool threaded; /* else asked in turn: there was no thread to be had */
};

static void *question_main(void *p)
{
    struct question *q = p;
    struct wire_admin_state_query query = {.log_entries = 0};
    q->result = asker_ask(&q->asker, q->address, METHOD_ADMIN_STATE, wire_admin_state_query_encode(&query, &q->arena),
                          MIN(q->asker.timeout_ns, NODE_TIMEOUT_NS), &q->answer, &q->why);
    return NULL;
}

static void ask_all(struct question *questions, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct question *q = &questions[i];
        q->asker.arena = &q->arena;
        q->threaded = pthread_create(&q->thread, NULL, question_main, q) == 0;
        if (!q->threaded)
            question_main(q);
    }
    for (unsigned i = 0; i < count; i++)
        if (questions[i].threaded)
            pthread_join(questions[i].thread, NULL);
}

static struct survey_node *find_node(struct survey *s, uint32_t id)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->nodes[i].id == id)
            return &s->nodes[i];
    return NULL;
}

static struct survey_node *add_node(struct survey *s, uint32_t id, const char *address)
{
    struct survey_node *n = find_node(s, id);
    if (n || id == 0 || s->count == SURVEY_NODES)
        return n;
    n = &s->nodes[s->count++];
    *n = (struct survey_node){.id = id, .address = address};
    snprintf(n->why.text, sizeof n->why.text, "not asked");
    return n;
}

static void take_answers(const struct asker *a, struct survey *s, struct question *questions, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct question *q = &questions[i];
        struct wire_admin_state state;
        if (q->result == ERR_OK)
            q->result = wire_admin_state_decode(arena_slice(a->arena, q->answer), a->arena, &state, &q->why);
        arena_free(&q->arena);
        if (q->result != ERR_OK) {
            for (unsigned n = 0; n < s->count; n++)
                if (strcmp(s->nodes[n].address, q->address) == 0)
                    s->nodes[n].why = q->why;
            continue;
        }
        struct survey_node *node = add_node(s, state.node_id, q->address);
        if (!node)
            continue;
        node->reachable = true;
        node->address = q->address;
        node->state = state;
        for (unsigned p = 0; p < state.peer_count; p++)
            add_node(s, state.peers[p].id, arena_str(a->arena, state.peers[p].address));
        for (unsigned b = 0; b < state.block_server_count; b++)
            add_node(s, state.block_servers[b].id, arena_str(a->arena, state.block_servers[b].address));
    }
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const struct survey_node *)a)->id, y = ((const struct survey_node *)b)->id;
    return (x > y) - (x < y);
}

static bool is_serving(const struct survey_node *n)
{
    return n->reachable && (n->state.roles & WIRE_NODE_META) && !n->state.crashed && n->state.fault.size == 0 &&
           n->state.suspended.size == 0;
}

/* The newest configuration that anybody knows. */
const struct wire_admin_state *survey_newest(const struct survey *s)
{
    const struct wire_admin_state *view = NULL;
    for (unsigned i = 0; i < s->count; i++)
        if (s->nodes[i].reachable && s->nodes[i].state.peer_count > 0 &&
            (!view || s->nodes[i].state.config_index > view->config_index))
            view = &s->nodes[i].state;
    return view;
}

static void judge(struct survey *s)
{
    qsort(s->nodes, s->count, sizeof s->nodes[0], by_id);
    s->leader = NULL;
    s->voters = s->voters_serving = 0;
    const struct wire_admin_state *view = survey_newest(s);
    for (unsigned p = 0; view && p < view->peer_count; p++) {
        const struct survey_node *n = find_node(s, view->peers[p].id);
        if (!view->peers[p].voter)
            continue;
        s->voters++;
        s->voters_serving += n && is_serving(n);
    }
    for (unsigned i = 0; i < s->count; i++) {
        const struct survey_node *n = &s->nodes[i];
        if (is_serving(n) && n->state.role == RAFT_LEADER && (!s->leader || n->state.term > s->leader->state.term))
            s->leader = n;
    }
    s->voters_following = 0;
    for (unsigned p = 0; s->leader && view && p < view->peer_count; p++) {
        const struct survey_node *n = find_node(s, view->peers[p].id);
        if (view->peers[p].voter && n && is_serving(n) && n->state.leader == s->leader->id &&
            n->state.term == s->leader->state.term)
            s->voters_following++;
    }
    if (!survey_has_quorum(s))
        s->leader = NULL;
}

/* Refusals that changed nothing and pass by themselves. */
static bool passes(enum err e)
{
    return e == ERR_NOT_LEADER || e == ERR_NO_LEADER || e == ERR_BUSY_NOW;
}

enum err survey_ask_leader(const struct asker *a, unsigned method, struct slice message, struct slice *ret_message,
                           struct err_text *why)
{
    int64_t until_ns = clock_boot_ns() + a->timeout_ns;
    for (;;) {
        struct survey s;
        TRY(survey_ask(a, &s, why));
        enum err e = ERR_NO_LEADER;
        if (s.leader)
            e = asker_ask(a, s.leader->address, method, message, a->timeout_ns, ret_message, why);
        else
            (void)err_explain(why, e, "the metastore has no leader now");
        bool elects = s.leader || survey_majority_serves(&s);
        if (!passes(e) || !elects || clock_boot_ns() + AGAIN_NS > until_ns)
            return e;
        nanosleep(&(struct timespec){.tv_nsec = AGAIN_NS}, NULL);
    }
}

enum err survey_ask(const struct asker *a, struct survey *ret, struct err_text *why)
{
    *ret = (struct survey){0};
    struct question questions[SURVEY_NODES];
    memset(questions, 0, sizeof questions);
    unsigned count = 0;
    for (size_t i = 0; i < a->server_count; i++)
        questions[count++] = (struct question){.asker = *a, .address = a->servers[i].text};
    ask_all(questions, count);
    take_answers(a, ret, questions, count);
    if (ret->count == 0)
        return err_explain(why, ERR_UNREACHABLE, "no node answers: %.220s", questions[0].why.text);

    /* Those that the first answers have named. */
    unsigned more = 0;
    for (unsigned i = 0; i < ret->count; i++) {
        bool asked = ret->nodes[i].reachable;
        for (unsigned q = 0; q < count && !asked; q++)
            if (strcmp(questions[q].address, ret->nodes[i].address) == 0) {
                ret->nodes[i].why = questions[q].why;
                asked = true;
            }
        if (!asked && count + more < SURVEY_NODES)
            questions[count + more++] = (struct question){.asker = *a, .address = ret->nodes[i].address};
    }
    ask_all(questions + count, more);
    take_answers(a, ret, questions + count, more);
    judge(ret);
    return ERR_OK;
}

const struct survey_node *survey_find(const struct survey *s, uint32_t id, struct err_text *why)
{
    char ids[128] = "";
    for (unsigned i = 0; i < s->count; i++) {
        if (s->nodes[i].id == id)
            return &s->nodes[i];
        size_t used = strlen(ids);
        snprintf(ids + used, sizeof ids - used, "%s%u", i ? ", " : "", s->nodes[i].id);
    }
    (void)err_explain(why, ERR_NO_NODE, "no node %u; there are: %s", id, ids);
    return NULL;
}

const char *survey_state_name(const struct survey_node *n)
{
    if (!n->reachable)
        return "UNREACHABLE";
    if (n->state.crashed)
        return "CRASHED";
    if (n->state.fault.size > 0)
        return "FAULT";
    if (n->state.suspended.size > 0)
        return "SUSPENDED";
    if (n->state.removed)
        return "REMOVED";
    if (!(n->state.roles & WIRE_NODE_META))
        return "BLOCK";
    switch (n->state.role) {
    case RAFT_LEADER:
        return "LEADER";
    case RAFT_PRE_CANDIDATE:
    case RAFT_CANDIDATE:
        return "CANDIDATE";
    case RAFT_FOLLOWER:
        break;
    }
    return "FOLLOWER";
}

static bool is_majority(const struct survey *s, unsigned voters)
{
    return s->voters > 0 && voters >= s->voters / 2 + 1;
}

bool survey_has_quorum(const struct survey *s)
{
    return is_majority(s, s->voters_following);
}

bool survey_majority_serves(const struct survey *s)
{
    return is_majority(s, s->voters_serving);
}

const struct wire_admin_state *survey_best(const struct survey *s)
{
    if (s->leader)
        return &s->leader->state;
    for (unsigned i = 0; i < s->count; i++)
        if (s->nodes[i].reachable && (s->nodes[i].state.roles & WIRE_NODE_META))
            return &s->nodes[i].state;
    return &s->nodes[0].state;
}
