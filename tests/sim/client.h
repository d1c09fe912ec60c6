/* client.h: a mount's conversation with the metastore without threads: one session, numbered commands, repeats under
 * the same number until the outcome is known. Decisions are made by client/route_choice and client/session_window; the
 * order of steps is that of client/meta/meta_client.c. */
#pragma once

#include "base/list.h"
#include "client/meta/route_choice.h"
#include "client/meta/session_window.h"
#include "meta/types.h"
#include "tests/sim/network.h"

struct client {
    struct world *world;
    uint32_t index;
    uint64_t session; /* 0: being opened */
    struct session_window window;
    struct route_choice route;
    struct list calls; /* struct call: under way */
    unsigned busy;     /* operations of the workload among them */
    unsigned behind;   /* those that the workload takes for done, and whose place in the log is still to come */
    uint64_t last_call;
    bool opening;
    unsigned finished; /* operations of the workload since faults_heal */
};

/* What the workload asked for. Embedded by it. */
struct operation {
    struct client *client;
    /* Exactly one of the two, once. SESSION_EXPIRED: nobody knows. */
    void (*command_done)(struct world *w, struct operation *o, enum err status, const struct meta_reply *reply);
    void (*query_done)(struct world *w, struct operation *o, const struct meta_query_reply *reply);
};

void client_new(struct world *w);
void client_free(struct world *w, struct client *c);
bool client_has_room(const struct client *c);
/* There is room. session, seq and acked are filled in. */
void client_command(struct world *w, struct client *c, struct meta_command *command, struct operation *o);
/* The same, which may be done as soon as enough members have it in their durability logs. */
void client_put_fast(struct world *w, struct client *c, struct meta_command *command, struct operation *o);
void client_query(struct world *w, struct client *c, const struct meta_query *query, bool any_member,
                  struct operation *o);
void client_answered(struct world *w, struct client *c, const struct packet *p);
