/* names.c: a few names and the inodes that they lead to. An inode is its tag, so two names with one tag are hard links,
 * and an inode whose tag no name has is gone. The order in which errors are found is the metastore's (meta/op_*.c). */
#include "base/check.h"
#include "tests/lin/internal.h"

static unsigned links_of(const union lin_state *s, int64_t inode)
{
    unsigned links = 0;
    for (unsigned i = 0; i < LIN_NAMES_MAX; i++)
        links += s->names[i] == inode;
    return links;
}

static int64_t tag_of(int64_t inode)
{
    return inode < 0 ? -inode : inode;
}

static enum err make(union lin_state *s, const struct lin_call *c)
{
    if (s->names[c->name] && c->verb != LIN_OPEN)
        return ERR_EXIST;
    if (s->names[c->name] < 0)
        return ERR_ISDIR;
    if (!s->names[c->name])
        s->names[c->name] = c->verb == LIN_MKDIR ? -c->a : c->a;
    return ERR_OK;
}

static enum err unlink_name(union lin_state *s, const struct lin_call *c)
{
    int64_t inode = s->names[c->name];
    if (!inode)
        return ERR_NOENT;
    if ((inode < 0) != (c->verb == LIN_RMDIR))
        return inode < 0 ? ERR_ISDIR : ERR_NOTDIR;
    s->names[c->name] = 0;
    return ERR_OK;
}

static enum err rename_name(union lin_state *s, const struct lin_call *c)
{
    int64_t inode = s->names[c->name], target = s->names[c->new_name];
    if (!inode)
        return ERR_NOENT;
    if (c->verb == LIN_RENAME_NEW && target)
        return ERR_EXIST;
    if (c->verb == LIN_RENAME_EXCHANGE && !target)
        return ERR_NOENT;
    if (inode == target)
        return ERR_OK; /* two names of one inode: rename(2) does nothing, successfully */
    if (c->verb == LIN_RENAME && target < 0 && inode > 0)
        return ERR_ISDIR;
    if (c->verb == LIN_RENAME && target > 0 && inode < 0)
        return ERR_NOTDIR;
    s->names[c->name] = c->verb == LIN_RENAME_EXCHANGE ? target : 0;
    s->names[c->new_name] = inode;
    return ERR_OK;
}

static enum err link_inode(union lin_state *s, const struct lin_call *c)
{
    if (links_of(s, -c->a))
        return ERR_PERM;
    if (!links_of(s, c->a))
        return ERR_STALE;
    if (s->names[c->new_name])
        return ERR_EXIST;
    s->names[c->new_name] = c->a;
    return ERR_OK;
}

static enum err apply(union lin_state *s, const struct lin_call *c)
{
    switch (c->verb) {
    case LIN_LOOKUP:
        return s->names[c->name] ? ERR_OK : ERR_NOENT;
    case LIN_CREATE:
    case LIN_OPEN:
    case LIN_MKDIR:
        return make(s, c);
    case LIN_UNLINK:
    case LIN_RMDIR:
        return unlink_name(s, c);
    case LIN_RENAME:
    case LIN_RENAME_NEW:
    case LIN_RENAME_EXCHANGE:
        return rename_name(s, c);
    case LIN_LINK:
        return link_inode(s, c);
    default:
        CHECK(!"a call of names");
    }
    return ERR_IO;
}

bool lin_names_step(union lin_state *state, const struct lin_op *op)
{
    const struct lin_call *c = &op->call;
    const struct lin_answer *answer = &op->answer;
    enum err e = apply(state, c);
    if (lin_is_open(op))
        return true;
    /* Of an inode without a name, the metastore may still know the number or not: some mount may have it open. */
    if (c->verb == LIN_LINK && e == ERR_STALE && answer->error == ERR_NOENT)
        return true;
    if (e != answer->error)
        return false;
    if (e != ERR_OK || (c->verb != LIN_LOOKUP && c->verb != LIN_OPEN))
        return true;
    int64_t inode = state->names[c->name];
    return (answer->value == LIN_UNSEEN || answer->value == tag_of(inode)) &&
           (answer->links == 0 || answer->links == links_of(state, inode));
}
