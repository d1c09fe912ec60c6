/* op_release.c: the end of unlinked inodes that no mount has open any more. */
#include "meta/store.h"

OP(release)
{
    bool more = false;
    for (unsigned i = 0; i < c->release.count && !more; i++) {
        enum err e = orphan_release(m, c->release.inos[i]);
        more = e == ERR_SPLIT; /* this one and those behind it are orphans still */
        if (!more)
            TRY_OP(e);
    }
    *r = (struct meta_reply){.more = more};
    return ERR_OK;
}
