/* cmd_coord.c: an outside failure detector for clusters without election timers (election=manual): heartbeats with
 * adaptive time-outs to every voter, a line for each change of the view, and when the leader is gone the live member
 * with the longest log in the latest term is made leader (S1.3 to S1.6). Elections stay what is right: a member that is
 * designated still needs the votes of a majority, so two of these programs, or a wrong view, do no harm.
 *
 * One thread per member waits for its answers; the main thread prints and designates. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/coord_view.h"
#include "base/check.h"
#include "base/mem.h"
#include "trace/trace.h"

#define INTERVAL_DEFAULT_MS 250u
#define INTERVAL_MIN_MS 10u
#define INTERVAL_MAX_MS 60000u
#define LOST_DEFAULT 3u /* S1's LostMsgsThresh */
#define LOST_MAX 100u
#define SETTLE_NS (30 * NS_PER_MS) /* between a leader's heartbeats and the question who answered them */
#define RETRY_NS (1 * NS_PER_S)    /* after nobody could be made leader */

struct coord;
struct monitor {
    struct coord *coord;
    struct admin admin; /* with an arena of its own */
    struct rpc_address address;
    uint32_t id;
    pthread_t thread;
};
struct coord {
    struct admin *a;
    int64_t interval_ns;
    unsigned lost_max;
    int wake; /* eventfd: the view changed */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool ending; /* the monitors shall */
    struct coord_view view;
    uint64_t config_index;        /* of the configuration that the view is of */
    uint64_t config_index_newest; /* that a member has told of */
    struct monitor monitors[LIMIT_NODES];
    unsigned shown_version, shown_alive;
    bool all_joined;
    int64_t retry_ns; /* not before that is a leader designated again */
};

/* ---- one member's heartbeats ---- */

static bool hears_majority(const struct wire_admin_state *s)
{
    unsigned voters = 0, heard = 0;
    for (unsigned i = 0; i < s->peer_count; i++) {
        voters += s->peers[i].voter;
        heard += s->peers[i].voter && (s->peers[i].active || s->peers[i].id == s->node_id);
    }
    return heard >= voters / 2 + 1;
}

static void take_answer(struct monitor *m, const struct wire_admin_state *s, int64_t took_ns)
{
    struct coord *c = m->coord;
    struct coord_answer answer = {.term = s->term,
                                  .last_term = s->last_term,
                                  .last = s->last,
                                  .leads = s->role == RAFT_LEADER,
                                  .in_service = !s->crashed && s->fault.size == 0 && s->suspended.size == 0,
                                  .hears_majority = hears_majority(s)};
    c->config_index_newest = MAX(c->config_index_newest, s->config_index);
    coord_view_heard(&c->view, m->id, took_ns, &answer);
}

/* Without timers only a heartbeat that is asked for tells followers what is committed, and who leads. */
static void spread(struct monitor *m, struct rpc_channel *channel, int64_t timeout_ns)
{
    struct err_text why;
    struct slice answer;
    if (admin_call(&m->admin, channel, METHOD_ADMIN_HEARTBEAT, SLICE(NULL, 0), timeout_ns, &answer, &why) == ERR_OK)
        nanosleep(&(struct timespec){.tv_nsec = SETTLE_NS}, NULL);
}

static void beat(struct monitor *m, struct rpc_channel *channel)
{
    struct coord *c = m->coord;
    pthread_mutex_lock(&c->lock);
    const struct coord_member *member = coord_view_find(&c->view, m->id);
    int64_t timeout_ns = member->timeout_ns;
    bool leads = member->state == COORD_ALIVE && member->answer.leads;
    pthread_mutex_unlock(&c->lock);

    if (leads)
        spread(m, channel, timeout_ns);
    struct wire_admin_state_query query = {.log_entries = 0};
    struct wire_admin_state state;
    struct err_text why;
    struct slice message;
    int64_t begun_ns = clock_boot_ns();
    enum err e = admin_call(&m->admin, channel, METHOD_ADMIN_STATE,
                            wire_admin_state_query_encode(&query, &m->admin.arena), timeout_ns, &message, &why);
    if (e == ERR_OK)
        e = wire_admin_state_decode(message, &m->admin.arena, &state, &why);
    if (e == ERR_OK && state.node_id != m->id)
        e = ERR_NO_NODE; /* another node at this address */

    pthread_mutex_lock(&c->lock);
    if (e == ERR_OK)
        take_answer(m, &state, clock_boot_ns() - begun_ns);
    else
        coord_view_lost(&c->view, m->id);
    pthread_mutex_unlock(&c->lock);
    arena_reset(&m->admin.arena);
}

static void *monitor_main(void *p)
{
    struct monitor *m = p;
    struct coord *c = m->coord;
    struct err_text why;
    struct rpc_channel *channel = admin_channel(&m->admin, m->address.text, COORD_TIMEOUT_FIRST_NS, &why);
    bool ending = !channel;
    while (!ending) {
        struct timespec next;
        clock_gettime(CLOCK_MONOTONIC, &next);
        int64_t next_ns = next.tv_nsec + c->interval_ns;
        next.tv_sec += next_ns / NS_PER_S;
        next.tv_nsec = next_ns % NS_PER_S;
        beat(m, channel);
        uint64_t one = 1;
        CHECK(write(c->wake, &one, sizeof one) == sizeof one);
        pthread_mutex_lock(&c->lock);
        while (!c->ending && pthread_cond_clockwait(&c->ended, &c->lock, CLOCK_MONOTONIC, &next) == 0)
            ;
        ending = c->ending;
        pthread_mutex_unlock(&c->lock);
    }
    if (channel)
        rpc_channel_free(channel);
    arena_free(&m->admin.arena);
    return NULL;
}

/* ---- who is a member ---- */

static void monitors_end(struct coord *c)
{
    pthread_mutex_lock(&c->lock);
    c->ending = true;
    pthread_cond_broadcast(&c->ended);
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < c->view.count; i++)
        pthread_join(c->monitors[i].thread, NULL);
    c->view.count = 0;
    c->ending = false;
}

static void monitors_begin(struct coord *c, const struct wire_admin_state *newest)
{
    uint32_t ids[LIMIT_NODES];
    unsigned count = 0;
    for (unsigned i = 0; i < newest->peer_count && count < LIMIT_NODES; i++) {
        const struct wire_admin_peer *p = &newest->peers[i];
        struct err_text why;
        struct monitor *m = &c->monitors[count];
        *m = (struct monitor){.coord = c, .id = p->id, .admin = {.timeout_ns = COORD_TIMEOUT_FIRST_NS}};
        if (p->voter && rpc_address_parse(arena_str(&c->a->arena, p->address), &m->address, &why) == ERR_OK)
            ids[count++] = p->id;
    }
    unsigned version = c->view.version;
    coord_view_init(&c->view, ids, count, c->lost_max);
    c->view.version += version;
    c->config_index = c->config_index_newest = newest->config_index;
    c->all_joined = false;
    for (unsigned i = 0; i < count; i++)
        CHECK(pthread_create(&c->monitors[i].thread, NULL, monitor_main, &c->monitors[i]) == 0);
}

/* EXIT_DONE, or the exit code when there is nobody whom it could watch. */
static int members_learn(struct coord *c)
{
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take(c->a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(c->a, e, &why);
    const struct wire_admin_state *newest = survey_newest(&s);
    if (!newest)
        return admin_fail(c->a, err_explain(&why, ERR_INVAL, "none of the nodes is a member of a metastore"), &why);
    if (!newest->election_manual)
        return admin_fail(
            c->a,
            err_explain(&why, ERR_INVAL, "this cluster elects by itself (election=auto); coord is for election=manual"),
            &why);
    monitors_begin(c, newest);
    return EXIT_DONE;
}

/* ---- what is printed ---- */

static const char *state_name(const struct coord_view *v, const struct coord_member *m)
{
    if (m->state == COORD_ALIVE)
        return m == coord_view_leader(v) ? "LEADER" : m->answer.leads ? "CUT_OFF" : "FOLLOWER";
    return m->state == COORD_FAILED ? "FAILED" : "UNKNOWN";
}

static uint64_t newest_term(const struct coord_view *v)
{
    uint64_t term = 0;
    for (unsigned i = 0; i < v->count; i++)
        term = MAX(term, v->members[i].answer.term);
    return term;
}

static void show_json(const struct coord_view *v)
{
    json_t *nodes = json_array();
    for (unsigned i = 0; i < v->count; i++) {
        const struct coord_member *m = &v->members[i];
        json_array_append_new(nodes, json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:f}", "id", (json_int_t)m->id, "state",
                                               state_name(v, m), "term", (json_int_t)m->answer.term, "last_term",
                                               (json_int_t)m->answer.last_term, "last", (json_int_t)m->answer.last,
                                               "lost", (json_int_t)m->lost, "timeout_ms", (double)m->timeout_ns / 1e6));
    }
    const struct coord_member *leader = coord_view_leader(v);
    admin_print_json_line(json_pack("{s:s, s:I, s:I, s:o, s:o}", "event", "view", "view", (json_int_t)v->version,
                                    "term", (json_int_t)newest_term(v), "leader",
                                    leader ? json_integer(leader->id) : json_null(), "nodes", nodes));
}

static void show_text(const struct coord_view *v)
{
    printf("view %u, term %" PRIu64 ":", v->version, newest_term(v));
    for (unsigned i = 0; i < v->count; i++)
        printf("%s %u %s", i ? "," : "", v->members[i].id, state_name(v, &v->members[i]));
    printf("\n");
}

static void say(struct coord *c, const char *event, uint32_t node, const char *text)
{
    if (c->a->json)
        admin_print_json_line(json_pack("{s:s, s:o, s:s}", "event", event, "node",
                                        node ? json_integer(node) : json_null(), "text", text));
    else
        printf("%s\n", text);
}

static void show(struct coord *c, const struct coord_view *v)
{
    if (v->version != c->shown_version) {
        if (c->a->json)
            show_json(v);
        else
            show_text(v);
        const struct coord_member *leader = coord_view_leader(v);
        TRACE(0, "NewClusterView", "{s:I, s:I, s:I, s:I}", "View", (int64_t)v->version, "Term", (int64_t)newest_term(v),
              "Alive", (int64_t)coord_view_alive(v), "Leader", leader ? (int64_t)leader->id : INT64_C(0));
    }
    c->shown_version = v->version;
    unsigned alive = coord_view_alive(v);
    if (alive == v->count && !c->all_joined) {
        say(c, "all_joined", 0, "all have joined");
        c->all_joined = true;
    }
    bool unknown = false;
    for (unsigned i = 0; i < v->count; i++)
        unknown |= v->members[i].state == COORD_UNKNOWN;
    if (!unknown && !coord_view_has_majority(v) && alive != c->shown_alive) {
        char text[128];
        snprintf(text, sizeof text, "no majority: %u of %u answer; nobody is designated", alive, v->count);
        say(c, "no_majority", 0, text);
    }
    c->shown_alive = unknown ? UINT32_MAX : alive;
}

/* ---- who shall lead ---- */

static bool designate(struct coord *c, const struct coord_view *v, const struct coord_member *m)
{
    char text[sizeof(struct err_text) + 128];
    snprintf(text, sizeof text, "node %u is designated: its last entry is (%" PRIu64 ", %" PRIu64 ")", m->id,
             m->answer.last_term, m->answer.last);
    say(c, "designated", m->id, text);
    (void)fflush(stdout);
    TRACE(0, "LeaderFailOver", "{s:I}", "ServerId", (int64_t)m->id);
    struct err_text why;
    struct slice answer;
    enum err e = ERR_NO_NODE;
    for (unsigned i = 0; i < v->count; i++)
        if (c->monitors[i].id == m->id)
            e = admin_ask(c->a, c->monitors[i].address.text, METHOD_ADMIN_LEADER, SLICE(NULL, 0), c->a->timeout_ns,
                          &answer, &why);
    if (e == ERR_OK) {
        snprintf(text, sizeof text, "node %u leads", m->id);
        say(c, "leads", m->id, text);
        TRACE(0, "LeaderReconfigDone", "{s:I}", "ServerId", (int64_t)m->id);
    } else {
        snprintf(text, sizeof text, "node %u does not lead: %s", m->id, why.text);
        say(c, "not_leading", m->id, text);
    }
    return e == ERR_OK;
}

static void designate_best(struct coord *c, const struct coord_view *v)
{
    const struct coord_member *candidates[LIMIT_NODES];
    unsigned count = coord_view_candidates(v, candidates);
    bool done = false;
    for (unsigned i = 0; i < count && !done; i++)
        done = designate(c, v, candidates[i]);
    /* Also a success is seen only with that node's next answer. */
    c->retry_ns = clock_boot_ns() + (done ? MAX(c->interval_ns * 2, COORD_TIMEOUT_MIN_NS) : RETRY_NS);
}

/* ---- the command ---- */

/* Until a monitor has news, or it is time to try again. Signals end the program only in here, between two lines. */
static void await_news(struct coord *c)
{
    struct pollfd p = {.fd = c->wake, .events = POLLIN};
    sigset_t none;
    sigemptyset(&none);
    struct timespec second = {.tv_sec = 1};
    uint64_t count;
    if (ppoll(&p, 1, &second, &none) == 1)
        CHECK(read(c->wake, &count, sizeof count) == sizeof count);
}

static int watch_over(struct coord *c)
{
    int code = members_learn(c);
    while (code == EXIT_DONE) {
        await_news(c);
        pthread_mutex_lock(&c->lock);
        struct coord_view view = c->view;
        bool other_members = c->config_index_newest > c->config_index;
        pthread_mutex_unlock(&c->lock);
        show(c, &view);
        if (coord_view_wants_leader(&view) && clock_boot_ns() >= c->retry_ns)
            designate_best(c, &view);
        if (fflush(stdout) != 0)
            return EXIT_FAILED; /* nobody reads it any more */
        arena_reset(&c->a->arena);
        if (other_members) {
            monitors_end(c);
            code = members_learn(c);
        }
    }
    return code;
}

static int run_coord(struct admin *a, int argc, char **argv)
{
    uint64_t interval_ms = INTERVAL_DEFAULT_MS, lost_max = LOST_DEFAULT;
    for (int i = 0; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--interval") == 0) {
            if (!admin_parse_option(a, argv[i], value, INTERVAL_MIN_MS, INTERVAL_MAX_MS, &interval_ms))
                return EX_USAGE;
        } else if (strcmp(argv[i], "--lost") == 0) {
            if (!admin_parse_option(a, argv[i], value, 1, LOST_MAX, &lost_max))
                return EX_USAGE;
        } else {
            return admin_usage(a, "coord: %s: the command is surfctl coord [--interval MS] [--lost N]", argv[i]);
        }
    }
    struct coord c = {.a = a,
                      .interval_ns = (int64_t)interval_ms * NS_PER_MS,
                      .lost_max = (unsigned)lost_max,
                      .wake = eventfd(0, EFD_CLOEXEC),
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .ended = PTHREAD_COND_INITIALIZER,
                      .shown_alive = UINT32_MAX};
    CHECK(c.wake >= 0);
    sigset_t ends;
    admin_end_when_unblocked(&ends);
    TRACE(0, "CoordStart", "{s:I}", "LostMsgsThresh", (int64_t)lost_max);
    int code = watch_over(&c);
    if (c.view.count > 0)
        monitors_end(&c);
    close(c.wake);
    return code;
}

const struct admin_command command_coord = {
    "coord",  "[--interval MS] [--lost N]", "failure detector for election=manual: who lives, and who shall lead", 0, 4,
    run_coord};
