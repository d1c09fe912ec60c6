/* Clients: they put a block or ask whether it is there, and when a majority says so they commit it, whenever that is;
 * as client/file/commit.c does. */
#include <string.h>

#include "base/check.h"
#include "tests/gc_sim/world.h"

static bool is_acknowledged(const struct client *c)
{
    for (unsigned b = 0; b < BLOCKS; b++)
        if ((c->blocks & BIT(b)) && (unsigned)__builtin_popcount(c->acks[b]) < MAJORITY)
            return false;
    return true;
}

static void send(struct world *w, unsigned client, unsigned block, unsigned server, enum message_kind kind)
{
    const struct client *c = &w->clients[client];
    message_add(
        w,
        (struct message){
            .kind = kind, .server = server, .block = block, .client = client, .number = c->number, .epoch = c->epoch});
}

/* The epoch that the commit will name is taken first: later ones may be heard while blocks are on their way. */
static void put_all(struct world *w, unsigned client)
{
    struct client *c = &w->clients[client];
    c->stage = JOB_PUTTING;
    c->number++;
    c->job_epoch = c->epoch;
    memset(c->acks, 0, sizeof c->acks);
    for (unsigned b = 0; b < BLOCKS; b++) {
        if (!(c->blocks & BIT(b)))
            continue;
        unsigned down = chance(w, 40) ? (unsigned)prng_below(&w->prng, OWNERS) : SERVERS;
        for (unsigned s = 0; s < OWNERS; s++)
            send(w, client, b, s == down ? STRAY_SERVER : s, chance(w, 50) ? MESSAGE_HAS : MESSAGE_PUT);
    }
    seeds_trace("client %u puts %#x with epoch %llu", client, c->blocks, (unsigned long long)c->job_epoch);
}

static void begin(struct world *w, unsigned client)
{
    struct client *c = &w->clients[client];
    c->blocks = BIT(prng_below(&w->prng, BLOCKS)) | (chance(w, 40) ? BIT(prng_below(&w->prng, BLOCKS)) : 0);
    c->file = (unsigned)prng_below(&w->prng, FILES);
    c->slot = (unsigned)prng_below(&w->prng, SLOTS - 1);
    c->expected_count = chance(w, 25) ? state_extents(w, c->file, c->expected) : 0;
    if (c->expected_count > 0)
        c->blocks = BIT(prng_below(&w->prng, BLOCKS));
    put_all(w, client);
}

static void send_commit(struct world *w, unsigned client)
{
    struct client *c = &w->clients[client];
    struct message m = {.kind = MESSAGE_COMMIT,
                        .client = client,
                        .number = c->number,
                        .epoch = c->job_epoch,
                        .blocks = c->blocks,
                        .file = c->file,
                        .slot = c->slot};
    if (c->stage == JOB_PUTTING)
        c->seq++;
    m.seq = c->seq;
    memcpy(m.acks, c->acks, sizeof m.acks);
    memcpy(m.expected, c->expected, sizeof m.expected);
    m.expected_count = c->expected_count;
    c->stage = JOB_SENT;
    message_add(w, m);
}

void client_answered(struct world *w, const struct message *m, bool there)
{
    struct client *c = &w->clients[m->client];
    if (c->stage != JOB_PUTTING || c->number != m->number)
        return;
    if (there)
        c->acks[m->block] |= BIT(m->server);
    else
        send(w, m->client, m->block, m->server, MESSAGE_PUT);
}

/* As client/file/extent_upkeep.c does. */
static struct meta_reply apply_rewrite(struct world *w, const struct message *m)
{
    const struct client *c = &w->clients[m->client];
    struct meta_command command = {.op = META_REWRITE,
                                   .session = c->session,
                                   .seq = m->seq,
                                   .acked = c->acked,
                                   .rewrite = {.ino = w->files[m->file],
                                               .length = LIMIT_BLOCK_BYTES,
                                               .extents = m->expected,
                                               .extent_count = m->expected_count,
                                               .block = w->blocks[__builtin_ctz(m->blocks)],
                                               .epoch = m->epoch}};
    return state_apply(w, command);
}

static struct meta_reply apply_commit(struct world *w, const struct message *m)
{
    const struct client *c = &w->clients[m->client];
    struct meta_extent extents[2];
    unsigned count = 0;
    for (unsigned b = 0; b < BLOCKS; b++)
        if (m->blocks & BIT(b)) {
            extents[count] = (struct meta_extent){
                .file_offset = (m->slot + count) * (uint64_t)SLOT_BYTES, .length = SLOT_BYTES, .block = w->blocks[b]};
            count++;
        }
    struct meta_command command = {.op = META_COMMIT,
                                   .session = c->session,
                                   .seq = m->seq,
                                   .acked = c->acked,
                                   .commit = {.ino = w->files[m->file],
                                              .extents = extents,
                                              .extent_count = count,
                                              .size_at_least = LIMIT_BLOCK_BYTES,
                                              .epoch = m->epoch}};
    return state_apply(w, command);
}

void client_commit_arrives(struct world *w, const struct message *m)
{
    struct client *c = &w->clients[m->client];
    bool rewrites = m->expected_count > 0;
    struct meta_reply r = rewrites ? apply_rewrite(w, m) : apply_commit(w, m);
    seeds_trace("client %u %s %#x of epoch %llu: %s", m->client, rewrites ? "rewrites a file as" : "commits", m->blocks,
                (unsigned long long)m->epoch, err_name(r.status));
    bool repeated = c->executed[m->seq % SEQS]; /* the reply is of before */
    c->executed[m->seq % SEQS] = true;
    for (unsigned b = 0; r.status == ERR_OK && !repeated && b < BLOCKS; b++)
        if (m->blocks & BIT(b))
            w->counted[b] |= m->acks[b];
    w->commits += r.status == ERR_OK && !repeated && !rewrites;
    w->rewrites += r.status == ERR_OK && !repeated && rewrites;
    w->stale += r.status == ERR_STALE_EPOCH;
    state_check(w, "a commit");
    if (c->number != m->number || c->stage != JOB_SENT || chance(w, 20)) /* or the reply is lost */
        return;
    c->epoch = r.epoch > c->epoch ? r.epoch : c->epoch;
    if (r.status == ERR_STALE_EPOCH)
        put_all(w, m->client); /* under a new number */
    else
        c->stage = JOB_NONE;
}

void client_step(struct world *w, unsigned client)
{
    struct client *c = &w->clients[client];
    if (chance(w, 30)) {
        c->epoch = state_now(w).epoch; /* by some other answer */
    } else if (c->stage == JOB_NONE) {
        begin(w, client);
    } else if (chance(w, 3)) {
        c->stage = JOB_NONE; /* it ends; its commit may still be on its way */
        c->number++;
    } else if (c->stage == JOB_PUTTING && is_acknowledged(c)) {
        send_commit(w, client);
    } else if (c->stage == JOB_PUTTING) {
        for (unsigned b = 0; b < BLOCKS; b++)
            if ((c->blocks & BIT(b)) && chance(w, 30))
                send(w, client, b, (unsigned)prng_below(&w->prng, SERVERS), MESSAGE_PUT);
    } else {
        send_commit(w, client); /* once more: no reply has come */
    }
}
