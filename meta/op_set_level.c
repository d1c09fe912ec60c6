/* op_set_level.c: the level of the state (meta/level.h) rises. */
#include <inttypes.h>

#include "meta/level.h"
#include "meta/store.h"

OP(set_level)
{
    uint32_t level = c->set_level.level;
    if (level <= m->level)
        return outcome(r, ERR_EXIST); /* two leaders, one after the other, meant the same one */
    if (level != m->level + 1)
        return outcome(r, ERR_INVAL);
    struct schema_key key = schema_level();
    row_level_encode(level, &m->scratch);
    store_put_scratch(m, &key);
    m->next_level = level;
    return outcome(r, ERR_OK);
}

enum err level_load(struct meta *m, struct err_text *why)
{
    struct schema_key key = schema_level();
    struct arena a = {0};
    struct slice value;
    bool found;
    m->level = META_LEVEL_FIRST;
    enum err e = store_read(m, &key, &a, &value, &found);
    if (e == ERR_OK && found)
        e = row_level_decode(value, &m->level);
    arena_free(&a);
    if (e != ERR_OK)
        return err_explain(why, e, "metadata: the row of the level can't be read (%s)", err_message(e));
    if (m->level > m->level_max)
        return err_explain(why, ERR_LEVEL,
                           "the metadata is of level %" PRIu32 ", this program knows up to level %" PRIu32
                           ": a newer surfd is needed",
                           m->level, m->level_max);
    return ERR_OK;
}
