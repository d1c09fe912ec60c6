#include "proto/wire_check.h"

#include "proto/check.pb-c.h"
#include "proto/pack.h"

#define IDS_BYTES (LIMIT_HASHES_PER_FRAME * SHA256_SIZE + KIB)
_Static_assert(IDS_BYTES <= LIMIT_FRAME_MESSAGE_BYTES, "ids fit in a frame");
_Static_assert(WIRE_CHECK_USES *(WIRE_CHECK_PATH_BYTES + 64) <= LIMIT_FRAME_MESSAGE_BYTES, "uses fit in a frame");
_Static_assert(WIRE_CHECK_USES <= LIMIT_BLOCKS_PER_FRAME, "as many blocks are asked for at most");

static enum err ids_read(const char *field, ProtobufCBinaryData ids, unsigned max_count, const struct sha256 **ret,
                         unsigned *ret_count, struct err_text *why)
{
    if (ids.len % SHA256_SIZE != 0)
        return wire_refuse(field, ids.len, "a multiple of 32 bytes", why);
    TRY(wire_check_count(field, ids.len / SHA256_SIZE, 0, max_count, why));
    *ret = (const struct sha256 *)(const void *)ids.data;
    *ret_count = (unsigned)(ids.len / SHA256_SIZE);
    return ERR_OK;
}

/* An id, or `none` where there is nothing. */
static enum err id_read(const char *field, ProtobufCBinaryData id, int none, struct sha256 *ret, struct err_text *why)
{
    if (id.len != 0)
        TRY(wire_check_size(field, wire_slice(id), SHA256_SIZE, SHA256_SIZE, why));
    memset(ret->bytes, none, SHA256_SIZE);
    if (id.len != 0)
        memcpy(ret->bytes, id.data, SHA256_SIZE);
    return ERR_OK;
}

struct slice wire_check_query_encode(const struct wire_check_query *q, struct arena *a)
{
    CHECK(q->count <= LIMIT_BLOCKS_PER_FRAME);
    Surf__CheckQuery m = SURF__CHECK_QUERY__INIT;
    m.ticket = q->ticket;
    m.kind = q->kind;
    m.blocks = wire_binary(q->blocks, (size_t)q->count * SHA256_SIZE);
    return wire_pack(&m.base, a);
}

enum err wire_check_query_decode(struct slice s, struct arena *a, struct wire_check_query *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__CheckQuery, surf__check_query, "check query", s, WIRE_SMALL_BYTES, a, m);
    struct wire_check_query q = {.ticket = m->ticket, .kind = (enum wire_check_kind)m->kind};
    TRY(wire_check_range("check query.kind", m->kind, WIRE_CHECK_STATE, WIRE_CHECK_LAST, why));
    TRY(ids_read("check query.blocks", m->blocks, LIMIT_BLOCKS_PER_FRAME, &q.blocks, &q.count, why));
    *ret = q;
    return ERR_OK;
}

struct slice wire_check_encode(const struct wire_check *c, struct arena *a)
{
    CHECK(c->problems_told <= WIRE_CHECK_PROBLEMS && c->use_count <= WIRE_CHECK_USES);
    Surf__CheckReply m = SURF__CHECK_REPLY__INIT;
    m.ticket = c->ticket, m.rows = c->rows, m.running = c->running;
    m.unread = c->unread;
#define X(name) m.name = c->name;
    WIRE_CHECK_NUMBERS(X)
#undef X
    if (c->has_hashes) {
        m.chain = wire_binary(c->chain.bytes, SHA256_SIZE);
        m.state = wire_binary(c->state.bytes, SHA256_SIZE);
    }
    m.problem_count = c->problem_count;
    m.n_problem = c->problems_told;
    m.problem = arena_alloc(a, (c->problems_told + 1) * sizeof *m.problem);
    for (unsigned i = 0; i < c->problems_told; i++)
        m.problem[i] = wire_binary_cut(c->problems[i], WIRE_TEXT_BYTES);
    Surf__CheckUse *uses = arena_alloc(a, (c->use_count + 1) * sizeof *uses);
    m.n_use = c->use_count;
    m.use = arena_alloc(a, (c->use_count + 1) * sizeof *m.use);
    for (unsigned i = 0; i < c->use_count; i++) {
        surf__check_use__init(&uses[i]);
        uses[i].block = c->uses[i].block;
        uses[i].ino = c->uses[i].ino, uses[i].offset = c->uses[i].offset;
        uses[i].path = wire_binary_of(c->uses[i].path);
        m.use[i] = &uses[i];
    }
    return wire_pack(&m.base, a);
}

static enum err lists_read(const Surf__CheckReply *m, struct arena *a, struct wire_check *c, struct err_text *why)
{
    TRY(wire_check_count("check.problem", m->n_problem, 0, WIRE_CHECK_PROBLEMS, why));
    TRY(wire_check_count("check.use", m->n_use, 0, WIRE_CHECK_USES, why));
    struct slice *problems = arena_alloc(a, (m->n_problem + 1) * sizeof *problems);
    struct wire_check_use *uses = arena_alloc(a, (m->n_use + 1) * sizeof *uses);
    for (size_t i = 0; i < m->n_problem; i++) {
        problems[i] = wire_slice(m->problem[i]);
        TRY(wire_check_size("check.problem", problems[i], 0, WIRE_TEXT_BYTES, why));
    }
    for (size_t i = 0; i < m->n_use; i++) {
        const Surf__CheckUse *use = m->use[i];
        uses[i] = (struct wire_check_use){use->block, use->ino, use->offset, wire_slice(use->path)};
        TRY(wire_check_range("check.use.block", use->block, 0, LIMIT_BLOCKS_PER_FRAME - 1, why));
        TRY(wire_check_size("check.use.path", uses[i].path, 0, WIRE_CHECK_PATH_BYTES, why));
    }
    c->problems = problems, c->problems_told = (unsigned)m->n_problem;
    c->uses = uses, c->use_count = (unsigned)m->n_use;
    return ERR_OK;
}

enum err wire_check_decode(struct slice s, struct arena *a, struct wire_check *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__CheckReply, surf__check_reply, "check", s, LIMIT_FRAME_MESSAGE_BYTES, a, m);
    struct wire_check c = {.ticket = m->ticket,
                           .rows = m->rows,
                           .running = m->running,
                           .has_hashes = m->chain.len > 0,
                           .unread = m->unread,
                           .problem_count = m->problem_count};
#define X(name) c.name = m->name;
    WIRE_CHECK_NUMBERS(X)
#undef X
    if (m->chain.len != m->state.len)
        return wire_refuse("check.state bytes", m->state.len, "as many as of the chain", why);
    TRY(id_read("check.chain", m->chain, 0, &c.chain, why));
    TRY(id_read("check.state", m->state, 0, &c.state, why));
    TRY(lists_read(m, a, &c, why));
    *ret = c;
    return ERR_OK;
}

struct slice wire_ids_query_encode(const struct wire_ids_query *q, struct arena *a)
{
    CHECK(q->max >= 1 && q->max <= LIMIT_HASHES_PER_FRAME && q->count <= LIMIT_HASHES_PER_FRAME);
    Surf__IdsQuery m = SURF__IDS_QUERY__INIT;
    m.after = wire_binary(q->after.bytes, SHA256_SIZE);
    m.upto = wire_binary(q->upto.bytes, SHA256_SIZE);
    m.max = q->max;
    m.ids = wire_binary(q->ids, (size_t)q->count * SHA256_SIZE);
    return wire_pack(&m.base, a);
}

enum err wire_ids_query_decode(struct slice s, struct arena *a, struct wire_ids_query *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__IdsQuery, surf__ids_query, "ids query", s, IDS_BYTES, a, m);
    struct wire_ids_query q = {.max = m->max};
    TRY(wire_check_range("ids query.max", m->max, 1, LIMIT_HASHES_PER_FRAME, why));
    TRY(id_read("ids query.after", m->after, 0, &q.after, why));
    TRY(id_read("ids query.upto", m->upto, 0xff, &q.upto, why));
    if (memcmp(q.after.bytes, q.upto.bytes, SHA256_SIZE) > 0)
        return wire_refuse("ids query.upto", get_u32be(q.upto.bytes), "not in front of `after`", why);
    TRY(ids_read("ids query.ids", m->ids, LIMIT_HASHES_PER_FRAME, &q.ids, &q.count, why));
    *ret = q;
    return ERR_OK;
}

struct slice wire_ids_encode(const struct wire_ids *p, struct arena *a)
{
    CHECK(p->count <= LIMIT_HASHES_PER_FRAME);
    Surf__IdsReply m = SURF__IDS_REPLY__INIT;
    m.ids = wire_binary(p->ids, (size_t)p->count * SHA256_SIZE);
    m.through = wire_binary(p->through.bytes, SHA256_SIZE);
    return wire_pack(&m.base, a);
}

enum err wire_ids_decode(struct slice s, struct arena *a, struct wire_ids *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__IdsReply, surf__ids_reply, "ids", s, IDS_BYTES, a, m);
    struct wire_ids p;
    TRY(ids_read("ids", m->ids, LIMIT_HASHES_PER_FRAME, &p.ids, &p.count, why));
    TRY(wire_check_size("ids.through", wire_slice(m->through), SHA256_SIZE, SHA256_SIZE, why));
    TRY(id_read("ids.through", m->through, 0, &p.through, why));
    *ret = p;
    return ERR_OK;
}
