/* op_moved.c: inline blocks are on their block servers now. */
#include "meta/store.h"

OP(moved)
{
    for (unsigned i = 0; i < c->moved.count; i++)
        TRY_OP(inline_block_moved(m, &c->moved.blocks[i]));
    *r = (struct meta_reply){0};
    return ERR_OK;
}
