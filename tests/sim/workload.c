#include "tests/sim/workload.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "tests/sim/checks.h"

#define NAMES 5u
#define TAGS_MAX 4096u
#define APPENDS_MAX 500u /* one query shows them all */
#define OPERATIONS_MAX 800u
#define BUSY_MAX 3u
#define RETRY_NS (100 * NS_PER_MS)
#define LIN_BUDGET 400000u
#define REWRITE_PERCENT 40u
#define KEY_TTL_NS (300 * NS_PER_MS)

/* Registers: the group of a file, what is in it, and keys. Its contents are CONTENTS_BYTES, each with an extent whose
 * block's id begins with the value, or all with one after a rewrite, whose id does so too. */
enum { GROUP, CONTENTS, KEY, KEYS = 3 };
#define CONTENTS_BYTES 3u

/* What has to be there before anything else: made by the first client, step by step; each may be repeated. */
enum setup { SETUP_DIRECTORY, SETUP_LOOKUP, SETUP_LIST, SETUP_REGISTER, SETUP_DONE };

enum history { HISTORY_NAMES, HISTORY_LIST, HISTORY_REGISTER, HISTORIES };
static const enum lin_model models[HISTORIES] = {LIN_NAMES, LIN_LIST, LIN_REGISTER};

struct workload {
    struct lin_history *histories[HISTORIES];
    enum setup setup;
    bool setup_busy, stopped;
    uint64_t directory, list, reg; /* inodes */
    int64_t last_tag, moment;
    unsigned appends, operations;
    uint64_t inos[TAGS_MAX]; /* by tag, as far as somebody has seen it; 0: not */
    unsigned weights[HISTORIES], read_percent, think_ms, busy_max;
};

struct job {
    struct operation operation;
    bool setup;
    enum history history;
    size_t number; /* in it */
    struct lin_call call;
    bool rewrites; /* the contents: no part of a history, since nobody is to see a difference */
};

static int64_t moment(struct world *w)
{
    return ++w->workload->moment;
}

/* ---- answers ---- */

static bool fits_model(enum lin_verb verb, enum err e)
{
    switch (e) {
    case ERR_NOENT:
    case ERR_EXIST:
    case ERR_ISDIR:
    case ERR_NOTDIR:
        return verb >= LIN_LOOKUP && verb <= LIN_LINK;
    case ERR_PERM:
    case ERR_STALE:
        return verb == LIN_LINK;
    default:
        return e == ERR_OK;
    }
}

static void see_inode(struct world *w, const struct meta_attr *attr)
{
    if (attr->uid > 0 && attr->uid < TAGS_MAX)
        w->workload->inos[attr->uid] = attr->ino;
}

static void setup_done(struct world *w, struct job *j, enum err status, const struct meta_attr *attr)
{
    struct workload *l = w->workload;
    l->setup_busy = false;
    free(j);
    if (l->setup == SETUP_DIRECTORY && status == ERR_EXIST)
        l->setup = SETUP_LOOKUP;
    if (status != ERR_OK)
        return;
    if (l->setup == SETUP_DIRECTORY || l->setup == SETUP_LOOKUP)
        l->directory = attr->ino, l->setup = SETUP_LIST;
    else if (l->setup == SETUP_LIST)
        l->list = attr->ino, l->setup = SETUP_REGISTER;
    else
        l->reg = attr->ino, l->setup = SETUP_DONE;
}

static void on_command(struct world *w, struct operation *o, enum err status, const struct meta_reply *reply)
{
    struct job *j = container_of(o, struct job, operation);
    struct lin_history *h = w->workload->histories[j->history];
    if (j->setup) {
        setup_done(w, j, status == ERR_OK ? reply->status : status, status == ERR_OK ? &reply->attr : NULL);
        return;
    }
    if (j->rewrites) {
        if (status == ERR_OK && reply->status != ERR_OK && reply->status != ERR_VERSION)
            world_fail(w, "client %u: a rewrite ends with %s", o->client->index + 1, err_name(reply->status));
        free(j);
        return;
    }
    if (status != ERR_OK) {
        w->counts.unknown++;
        lin_open(h, j->number);
        free(j);
        return;
    }
    struct lin_answer answer = {.error = reply->status, .value = LIN_UNSEEN};
    if (!fits_model(j->call.verb, reply->status))
        world_fail(w, "client %u: verb %d ends with %s", o->client->index + 1, (int)j->call.verb,
                   err_name(reply->status));
    if (reply->status == ERR_OK && reply->has_attr)
        see_inode(w, &reply->attr);
    if (j->call.verb == LIN_OPEN)
        answer.value = reply->attr.uid;
    else if (j->call.verb == LIN_APPEND)
        answer.value = (int64_t)reply->offset;
    char text[120];
    lin_return(h, j->number, moment(w), &answer);
    lin_describe(h, j->number, text, sizeof text);
    trace(w, WORLD_MEMBERS + o->client->index, "%s", text);
    free(j);
}

/* Commits and rewrites are of all of it, so it is of one of them. */
static int64_t contents_value(struct world *w, const struct meta_query_reply *reply)
{
    uint64_t end = 0, value = 0;
    for (unsigned i = 0; i < reply->extent_count; i++) {
        const struct meta_extent *e = &reply->extents[i];
        uint64_t here = get_u64be(e->block.bytes);
        if (e->file_offset != end || (i > 0 && here != value))
            world_fail(w, "the contents are of %" PRIu64 " up to %" PRIu64 ", and behind that of %" PRIu64, value, end,
                       here);
        value = here;
        end += e->length;
    }
    if (end != 0 && end != CONTENTS_BYTES)
        world_fail(w, "the contents have %" PRIu64 " bytes", end);
    return (int64_t)value;
}

static void list_answered(struct world *w, struct lin_history *h, const struct job *j,
                          const struct meta_query_reply *reply)
{
    int64_t *tags = mem_alloc(MAX(reply->extent_count, 1u) * sizeof *tags);
    for (unsigned i = 0; i < reply->extent_count; i++) {
        const struct meta_extent *e = &reply->extents[i];
        if (e->length != 1 || e->file_offset != i)
            world_fail(w, "the list's extent %u is %" PRIu64 " bytes at %" PRIu64, i, e->length, e->file_offset);
        tags[i] = (int64_t)get_u64be(e->block.bytes);
    }
    lin_return_list(h, j->number, moment(w), tags, reply->extent_count);
    free(tags);
}

static int64_t key_value(struct world *w, const struct meta_query_reply *reply)
{
    if (reply->kv_count != 1 || (reply->kv[0].found && reply->kv[0].value.size != 8))
        world_fail(w, "a key has a value that nobody gave it");
    return reply->kv[0].found ? (int64_t)get_u64be(reply->kv[0].value.data) : 0;
}

static void rewrite_what_is_there(struct world *w, struct client *c, const struct meta_query_reply *reply);

static void on_query(struct world *w, struct operation *o, const struct meta_query_reply *reply)
{
    struct job *j = container_of(o, struct job, operation);
    struct lin_history *h = w->workload->histories[j->history];
    if (j->setup) {
        setup_done(w, j, reply->status, &reply->attr);
        return;
    }
    if (j->rewrites) {
        rewrite_what_is_there(w, o->client, reply);
        free(j);
        return;
    }
    struct lin_answer answer = {.error = reply->status, .value = LIN_UNSEEN};
    if (!fits_model(j->call.verb, reply->status))
        world_fail(w, "client %u: query %d ends with %s", o->client->index + 1, (int)j->call.verb,
                   err_name(reply->status));
    if (reply->status == ERR_OK && j->call.verb == LIN_LOOKUP) {
        see_inode(w, &reply->attr);
        answer.value = reply->attr.uid;
        answer.links = S_ISDIR(reply->attr.mode) ? 0 : reply->attr.nlink;
    } else if (reply->status == ERR_OK && j->call.verb == LIN_READ) {
        answer.value = j->call.object >= KEY        ? key_value(w, reply)
                       : j->call.object == CONTENTS ? contents_value(w, reply)
                                                    : reply->attr.gid;
    }
    char text[120];
    if (j->call.verb == LIN_LIST_ALL)
        list_answered(w, h, j, reply);
    else
        lin_return(h, j->number, moment(w), &answer);
    lin_describe(h, j->number, text, sizeof text);
    trace(w, WORLD_MEMBERS + o->client->index, "%s", text);
    free(j);
}

void workload_abandon(struct world *w, struct operation *o)
{
    (void)w;
    free(container_of(o, struct job, operation));
}

/* ---- questions ---- */

static struct job *new_job(struct world *w, struct client *c, enum history history, const struct lin_call *call)
{
    struct job *j = MEM_NEW(struct job);
    j->operation.command_done = on_command;
    j->operation.query_done = on_query;
    j->history = history;
    if (!call) {
        j->setup = true;
        w->workload->setup_busy = true;
        return j;
    }
    j->call = *call;
    j->number = lin_invoke(w->workload->histories[history], c->index, moment(w), call);
    w->workload->operations++;
    return j;
}

static void set_up(struct world *w, struct client *c)
{
    struct workload *l = w->workload;
    struct meta_command command = {.op = l->setup == SETUP_DIRECTORY ? META_MKDIR : META_CREATE};
    command.make.parent = META_ROOT_INO;
    command.make.mode = 0777;
    command.make.name = slice_str(l->setup == SETUP_DIRECTORY ? "d" : l->setup == SETUP_LIST ? "l" : "r");
    struct meta_query lookup = {.op = META_QUERY_LOOKUP, .ino = META_ROOT_INO, .name = slice_str("d")};
    struct job *j = new_job(w, c, HISTORY_NAMES, NULL);
    if (l->setup == SETUP_LOOKUP)
        client_query(w, c, &lookup, false, &j->operation);
    else
        client_command(w, c, &command, &j->operation);
}

static struct slice name_slice(unsigned name)
{
    static const char *const names[NAMES] = {"a", "b", "c", "e", "f"};
    return slice_str(names[name]);
}

/* The tag of some inode that was seen; 0: none was. */
static int64_t any_tag(struct world *w)
{
    struct workload *l = w->workload;
    for (unsigned i = 0; i < 10 && l->last_tag > 0; i++) {
        int64_t tag = 1 + (int64_t)prng_below(&w->prng, (uint64_t)l->last_tag);
        if (l->inos[tag] != 0)
            return tag;
    }
    return 0;
}

static enum lin_verb any_names_verb(struct world *w)
{
    static const enum lin_verb verbs[] = {LIN_CREATE,     LIN_CREATE,          LIN_OPEN,  LIN_MKDIR,
                                          LIN_UNLINK,     LIN_UNLINK,          LIN_RMDIR, LIN_RENAME,
                                          LIN_RENAME_NEW, LIN_RENAME_EXCHANGE, LIN_LINK};
    return world_chance(w, w->workload->read_percent) ? LIN_LOOKUP : verbs[prng_below(&w->prng, ARRAY_SIZE(verbs))];
}

static void fill_names_command(const struct world *w, const struct lin_call *call, struct meta_command *command)
{
    static const enum meta_op ops[LIN_VERBS] = {
        [LIN_CREATE] = META_CREATE, [LIN_OPEN] = META_CREATE,       [LIN_MKDIR] = META_MKDIR,
        [LIN_UNLINK] = META_UNLINK, [LIN_RMDIR] = META_RMDIR,       [LIN_RENAME] = META_RENAME,
        [LIN_LINK] = META_LINK,     [LIN_RENAME_NEW] = META_RENAME, [LIN_RENAME_EXCHANGE] = META_RENAME};
    const struct workload *l = w->workload;
    struct slice name = name_slice(call->name), new_name = name_slice(call->new_name);
    command->op = ops[call->verb];
    switch (command->op) {
    case META_CREATE:
    case META_MKDIR:
        command->make.parent = l->directory;
        command->make.name = name;
        command->make.mode = 0777;
        command->make.uid = (uint32_t)call->a;
        command->make.exclusive = call->verb == LIN_CREATE;
        break;
    case META_UNLINK:
    case META_RMDIR:
        command->unlink.parent = l->directory;
        command->unlink.name = name;
        break;
    case META_RENAME:
        command->rename.parent = command->rename.new_parent = l->directory;
        command->rename.name = name;
        command->rename.new_name = new_name;
        command->rename.flags = call->verb == LIN_RENAME_NEW        ? META_RENAME_NOREPLACE
                                : call->verb == LIN_RENAME_EXCHANGE ? META_RENAME_EXCHANGE
                                                                    : 0;
        break;
    default:
        command->link.ino = l->inos[call->a];
        command->link.parent = l->directory;
        command->link.name = new_name;
        break;
    }
}

static void ask_names(struct world *w, struct client *c, bool any_member)
{
    struct workload *l = w->workload;
    struct lin_call call = {.verb = any_names_verb(w),
                            .name = (unsigned)prng_below(&w->prng, NAMES),
                            .new_name = (unsigned)prng_below(&w->prng, NAMES)};
    if (call.verb == LIN_LINK && (call.a = any_tag(w)) == 0)
        call.verb = LIN_LOOKUP;
    bool makes = call.verb == LIN_CREATE || call.verb == LIN_OPEN || call.verb == LIN_MKDIR;
    if (makes && l->last_tag == TAGS_MAX - 1)
        return;
    if (makes)
        call.a = ++l->last_tag;
    struct job *j = new_job(w, c, HISTORY_NAMES, &call);
    if (call.verb == LIN_LOOKUP) {
        struct meta_query query = {.op = META_QUERY_LOOKUP, .ino = l->directory, .name = name_slice(call.name)};
        client_query(w, c, &query, any_member, &j->operation);
        return;
    }
    struct meta_command command = {.op = META_CREATE};
    fill_names_command(w, &call, &command);
    client_command(w, c, &command, &j->operation);
}

static void ask_list(struct world *w, struct client *c, bool any_member)
{
    struct workload *l = w->workload;
    bool reads = world_chance(w, l->read_percent) || l->appends == APPENDS_MAX;
    struct lin_call call = {.verb = reads ? LIN_LIST_ALL : LIN_APPEND};
    if (!reads)
        call.a = ++l->appends;
    struct job *j = new_job(w, c, HISTORY_LIST, &call);
    if (reads) {
        struct meta_query query = {.op = META_QUERY_LAYOUT, .ino = l->list, .length = META_SIZE_MAX};
        client_query(w, c, &query, any_member, &j->operation);
        return;
    }
    struct meta_extent extent = {.length = 1};
    put_u64be(extent.block.bytes, (uint64_t)call.a);
    struct meta_command command = {.op = META_COMMIT,
                                   .commit = {.ino = l->list, .extents = &extent, .extent_count = 1, .append = true}};
    struct slice bytes = SLICE(extent.block.bytes, 8);
    if (call.a % 3 == 0) /* its own bytes, inline: other bytes of the state, of snapshots and of the chain hash */
        command.commit.inlined = &bytes, command.commit.inlined_count = 1;
    client_command(w, c, &command, &j->operation);
}

/* With each value comes a key that expires soon: entries of the leader's own, and rows that come and go. */
static void ask_key(struct world *w, struct client *c, bool any_member, const struct lin_call *call, struct job *j)
{
    struct slice key = slice_str(call->object == KEY ? "register" : call->object == KEY + 1 ? "second" : "third");
    uint8_t value[8];
    put_u64be(value, (uint64_t)call->a);
    if (call->verb == LIN_READ) {
        struct meta_query query = {.op = META_QUERY_KV_GET, .keys = &key, .key_count = 1};
        client_query(w, c, &query, any_member, &j->operation);
        return;
    }
    struct slice expiring = SLICE(value + 7, 1);
    const struct meta_kv_change changes[] = {
        {.kind = META_KV_PUT, .type = META_KV_BYTES, .key = key, .value = SLICE(value, 8)},
        {.kind = META_KV_PUT, .type = META_KV_BYTES, .key = expiring, .ttl_ns = KEY_TTL_NS},
        {.kind = META_KV_APPEND, .type = META_KV_BYTES, .key = slice_str("list"), .value = expiring}};
    struct meta_command command = {.op = META_KV, .kv = {.changes = changes, .count = ARRAY_SIZE(changes)}};
    if (w->plan.durability && world_chance(w, 75)) {
        command.kv.count = 1 + (call->a % 4 == 0); /* puts only */
        client_put_fast(w, c, &command, &j->operation);
        return;
    }
    client_command(w, c, &command, &j->operation);
}

/* ---- rewrites, as of client/file/extent_upkeep.c ---- */

static struct job *new_rewrite(void)
{
    struct job *j = MEM_NEW(struct job);
    j->operation.command_done = on_command;
    j->operation.query_done = on_query;
    j->rewrites = true;
    return j;
}

static void ask_what_to_rewrite(struct world *w, struct client *c, bool any_member)
{
    struct meta_query query = {.op = META_QUERY_EXTENTS, .ino = w->workload->reg, .length = CONTENTS_BYTES};
    client_query(w, c, &query, any_member, &new_rewrite()->operation);
}

static void rewrite_what_is_there(struct world *w, struct client *c, const struct meta_query_reply *reply)
{
    if (reply->status != ERR_OK || reply->extent_count == 0 || !client_has_room(c) || w->workload->stopped)
        return;
    struct meta_command command = {.op = META_REWRITE,
                                   .rewrite = {.ino = w->workload->reg,
                                               .length = CONTENTS_BYTES,
                                               .extents = reply->extents,
                                               .extent_count = reply->extent_count,
                                               .epoch = UINT64_MAX}};
    put_u64be(command.rewrite.block.bytes, get_u64be(reply->extents[0].block.bytes));
    put_u64be(command.rewrite.block.bytes + 8, prng_next(&w->prng) | 1); /* another than any that was written */
    client_command(w, c, &command, &new_rewrite()->operation);
}

static void write_contents(struct world *w, struct client *c, int64_t value, struct job *j)
{
    struct meta_extent extents[CONTENTS_BYTES];
    for (unsigned i = 0; i < CONTENTS_BYTES; i++) {
        extents[i] = (struct meta_extent){.file_offset = i, .length = 1};
        put_u64be(extents[i].block.bytes, (uint64_t)value);
        extents[i].block.bytes[SHA256_SIZE - 1] = (uint8_t)i;
    }
    struct meta_command command = {
        .op = META_COMMIT, .commit = {.ino = w->workload->reg, .extents = extents, .extent_count = CONTENTS_BYTES}};
    client_command(w, c, &command, &j->operation);
}

static void ask_register(struct world *w, struct client *c, bool any_member)
{
    struct workload *l = w->workload;
    bool reads = world_chance(w, l->read_percent);
    struct lin_call call = {.verb = reads ? LIN_READ : LIN_WRITE, .object = l->operations % (KEY + 1)};
    if (call.object == CONTENTS && world_chance(w, REWRITE_PERCENT)) {
        ask_what_to_rewrite(w, c, any_member);
        return;
    }
    if (!reads)
        call.a = (int64_t)prng_between(&w->prng, 1, 1000000);
    if (call.object == KEY && w->plan.durability)
        call.object = KEY + (unsigned)prng_below(&w->prng, KEYS);
    struct job *j = new_job(w, c, HISTORY_REGISTER, &call);
    if (call.object >= KEY) {
        ask_key(w, c, any_member, &call, j);
        return;
    }
    if (call.object == CONTENTS && !reads) {
        write_contents(w, c, call.a, j);
        return;
    }
    if (reads && call.object == CONTENTS) {
        struct meta_query query = {.op = META_QUERY_LAYOUT, .ino = l->reg, .length = META_SIZE_MAX};
        client_query(w, c, &query, any_member, &j->operation);
        return;
    }
    if (reads) {
        struct meta_query query = {.op = META_QUERY_GETATTR, .ino = l->reg};
        client_query(w, c, &query, any_member, &j->operation);
        return;
    }
    struct meta_command command = {.op = META_SETATTR,
                                   .setattr = {.ino = l->reg, .mask = META_SET_GID, .gid = (uint32_t)call.a}};
    client_command(w, c, &command, &j->operation);
}

static void ask_something(struct world *w, struct client *c)
{
    struct workload *l = w->workload;
    bool any_member = w->plan.follower_reads && world_chance(w, 50);
    uint64_t pick = prng_below(&w->prng, l->weights[0] + l->weights[1] + l->weights[2]);
    if (pick < l->weights[HISTORY_NAMES])
        ask_names(w, c, any_member);
    else if (pick < l->weights[HISTORY_NAMES] + l->weights[HISTORY_LIST])
        ask_list(w, c, any_member);
    else
        ask_register(w, c, any_member);
}

/* ---- pace ---- */

struct pace {
    struct event event;
    struct client *client;
};

static void next(struct world *w, struct event *event)
{
    struct client *c = container_of(event, struct pace, event)->client;
    struct workload *l = w->workload;
    int64_t delay_ns = world_between_ns(w, 0, l->think_ms * NS_PER_MS);
    bool may = client_has_room(c) && c->busy < l->busy_max && !l->stopped;
    if (l->setup != SETUP_DONE) {
        if (may && c->index == 0 && !l->setup_busy)
            set_up(w, c);
        delay_ns = RETRY_NS;
    } else if (may && (l->operations < OPERATIONS_MAX || w->healing)) {
        ask_something(w, c);
    }
    struct pace *again = MEM_NEW(struct pace);
    again->event = (struct event){.member = WORLD_NOBODY, .run = next};
    again->client = c;
    world_after(w, MAX(delay_ns, NS_PER_MS), &again->event);
}

void workload_begin(struct world *w, struct client *c)
{
    struct pace *p = MEM_NEW(struct pace);
    p->event = (struct event){.member = WORLD_NOBODY, .run = next};
    p->client = c;
    world_after(w, RETRY_NS, &p->event);
}

void workload_stop(struct world *w)
{
    w->workload->stopped = true;
}

void workload_init(struct world *w)
{
    struct workload *l = MEM_NEW(struct workload);
    for (unsigned i = 0; i < HISTORIES; i++) {
        l->histories[i] = lin_history_new();
        l->weights[i] = (unsigned)prng_between(&w->prng, 1, 4);
    }
    l->read_percent = (unsigned)prng_between(&w->prng, 20, 60);
    l->think_ms = (unsigned)prng_between(&w->prng, 5, 150);
    l->busy_max = (unsigned)prng_between(&w->prng, 1, BUSY_MAX);
    w->workload = l;
}

void workload_free(struct world *w)
{
    for (unsigned i = 0; i < HISTORIES; i++)
        lin_history_free(w->workload->histories[i]);
    free(w->workload);
    w->workload = NULL;
}

void workload_check(struct world *w)
{
    for (unsigned i = 0; i < HISTORIES; i++) {
        struct lin_report report;
        enum lin_verdict verdict = lin_check(w->workload->histories[i], models[i], LIN_BUDGET, &report);
        trace(w, WORLD_NOBODY, "history of the %s: %zu operations, %zu open", lin_model_name(models[i]),
              report.operations, report.open);
        if (verdict == LIN_BAD)
            world_fail(w, "the history of the %s is not linearizable\n%s", lin_model_name(models[i]), report.why);
        if (verdict == LIN_UNKNOWN)
            w->counts.undecided++;
    }
}
