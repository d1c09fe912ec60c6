#include "tests/model/inlined.h"

#include <string.h>

#include "base/check.h"

static size_t fill(unsigned which, uint8_t to[INLINED_BYTES])
{
    memset(to, 'i', INLINED_BYTES);
    to[0] = (uint8_t)which;
    return 1 + which * 3;
}

static struct sha256 id_of(unsigned which)
{
    uint8_t bytes[INLINED_BYTES];
    struct sha256 id;
    size_t size = fill(which, bytes);
    sha256_of(SLICE(bytes, size), &id);
    return id;
}

void inlined_choose(struct prng *p, struct inlined_choice *to, struct meta_command *commit)
{
    commit->commit.inlined_count = 1 + (unsigned)prng_below(p, INLINED_AT_ONCE);
    commit->commit.inlined = to->brought;
    for (unsigned i = 0; i < commit->commit.inlined_count; i++) {
        size_t size = fill((unsigned)prng_below(p, MODEL_INLINED), to->bytes[i]);
        to->brought[i] = SLICE(to->bytes[i], size);
    }
}

void inlined_own(struct inlined_choice *c, struct meta_command *commit)
{
    commit->commit.inlined = c->brought;
    for (unsigned i = 0; i < commit->commit.inlined_count; i++)
        c->brought[i].data = c->bytes[i];
}

void inlined_choose_moved(const struct model *m, struct prng *p, struct inlined_choice *to, struct meta_command *moved)
{
    moved->moved.blocks = to->moved;
    moved->moved.count = 1 + (unsigned)prng_below(p, INLINED_AT_ONCE);
    for (unsigned i = 0; i < moved->moved.count; i++) {
        unsigned which = (unsigned)prng_below(p, MODEL_INLINED);
        const struct model_inlined *is = &m->inlined[which];
        /* Now and then it is an earlier or a later commit that is meant, or one of another file. */
        to->moved[i] = (struct meta_inline_block){.id = id_of(which),
                                                  .ino = is->ino + (prng_below(p, 6) == 0),
                                                  .version = is->version - (prng_below(p, 6) == 0)};
    }
}

void model_moved(struct model *m, const struct meta_inline_block *b)
{
    for (unsigned which = 0; which < MODEL_INLINED; which++) {
        struct sha256 id = id_of(which);
        struct model_inlined *is = &m->inlined[which];
        if (sha256_equal(&id, &b->id) && is->ino == b->ino && is->version == b->version)
            is->there = false;
    }
}

bool inlined_compare(struct meta *meta, const struct model *model, struct err_text *why)
{
    struct arena a = {0};
    struct meta_query all = {.op = META_QUERY_INLINE, .next_block = true};
    struct meta_query_reply reply;
    CHECK(meta_query(meta, &all, &a, &reply) == ERR_OK && reply.status == ERR_OK && reply.end);
    unsigned there = 0;
    bool same = true;
    for (unsigned which = 0; which < MODEL_INLINED && same; which++) {
        const struct model_inlined *is = &model->inlined[which];
        struct meta_query one = {.op = META_QUERY_INLINE, .block = id_of(which)};
        struct meta_query_reply found;
        CHECK(meta_query(meta, &one, &a, &found) == ERR_OK && found.status == ERR_OK);
        there += is->there;
        same = found.inlined_count == is->there &&
               (!is->there || (found.inlined[0].ino == is->ino && found.inlined[0].version == is->version &&
                               found.inlined[0].data.data[0] == which));
        if (!same)
            (void)err_explain(why, ERR_CORRUPT, "inline block %u is%s there, must be%s", which,
                              found.inlined_count ? "" : " not", is->there ? "" : " not, or is of another commit");
    }
    if (same && reply.inlined_count != there) {
        (void)err_explain(why, ERR_CORRUPT, "%u inline blocks are listed, must be %u", reply.inlined_count, there);
        same = false;
    }
    arena_free(&a);
    return same;
}
