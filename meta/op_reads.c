/* op_reads.c: times of access, many at a time: what a mount has read costs one entry of the log and not one per file.
 */
#include "meta/store.h"

bool inode_was_read(struct meta *m, struct row_inode *i, int64_t ns, int64_t ctime_ns)
{
    if (ctime_ns != i->attr.ctime_ns || !meta_atime_is_due(&i->attr, ns))
        return false;
    i->attr.atime_ns = ns;
    inode_put(m, i);
    return true;
}

OP(reads)
{
    *r = (struct meta_reply){0};
    for (unsigned n = 0; n < c->reads.count; n++) {
        const struct meta_read *x = &c->reads.list[n];
        struct row_inode i;
        enum err e = inode_get(m, x->ino, &i);
        if (e == ERR_STALE)
            continue;
        TRY(e);
        if (inode_was_read(m, &i, x->ns, x->ctime_ns))
            r->set |= UINT64_C(1) << n;
    }
    return ERR_OK;
}
