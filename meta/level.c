#include "meta/level.h"

#include "base/check.h"

/* Commands that are not named here are of the first level. */
static const uint32_t levels[META_OP_LAST + 1] = {
    [META_NEXT] = META_LEVEL_MAX + 1,
};

uint32_t meta_level_of(const struct meta_command *c)
{
    CHECK(c->op > 0 && c->op <= META_OP_LAST);
    if (c->op == META_SET_LEVEL)
        return c->set_level.level;
    return levels[c->op] ? levels[c->op] : META_LEVEL_FIRST;
}
