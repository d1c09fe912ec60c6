/* names.c: operations on the names n0, n1, ... of the directories d0, d1, ... An inode's owner is its tag. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/tools/lin_client/lin_client.h"

struct target {
    unsigned object;
    uint64_t directory;
    char name[8], new_name[8];
    char path[32], new_path[32];
};

static struct target choose(struct client *c)
{
    struct target t = {.object = (unsigned)prng_below(&c->prng, c->objects)};
    unsigned name = (unsigned)prng_below(&c->prng, c->names), new_name = (unsigned)prng_below(&c->prng, c->names);
    t.directory = c->inos[t.object];
    snprintf(t.name, sizeof t.name, "n%u", name);
    snprintf(t.new_name, sizeof t.new_name, "n%u", new_name);
    snprintf(t.path, sizeof t.path, "d%u/%s", t.object, t.name);
    snprintf(t.new_path, sizeof t.new_path, "d%u/%s", t.object, t.new_name);
    return t;
}

static void remember(struct client *c, const struct target *t, const struct meta_attr *attr)
{
    unsigned at = c->seen_count++ % CLIENT_SEEN;
    c->seen[at].object = t->object;
    c->seen[at].ino = attr->ino;
    c->seen[at].tag = attr->uid;
}

static void lookup(struct client *c, const struct target *t)
{
    static const enum err known[] = {ERR_NOENT, ERR_OK};
    char what[64], more[64] = "";
    struct meta_attr attr;
    snprintf(what, sizeof what, "lookup %s", t->path);
    client_note_call(c, what);
    enum err e = surf_lookup(c->surf, &(struct surf_caller){0}, t->directory, slice_str(t->name), &attr);
    if (e == ERR_OK && S_ISDIR(attr.mode)) {
        snprintf(more, sizeof more, "%" PRIu32, attr.uid); /* a directory's links are of another kind */
    } else if (e == ERR_OK) {
        snprintf(more, sizeof more, "%" PRIu32 " %u", attr.uid, (unsigned)attr.nlink);
        remember(c, t, &attr);
    }
    client_note_answer(c, what, e, known, more);
}

static void make(struct client *c, const struct target *t, const char *verb, int flags)
{
    static const enum err of_create[] = {ERR_EXIST, ERR_OK}, of_open[] = {ERR_ISDIR, ERR_OK};
    char what[64], more[32] = "";
    struct meta_attr attr;
    bool directory = verb[0] == 'm', open = verb[0] == 'o';
    struct surf_caller caller = {.uid = client_tag(c)};
    snprintf(what, sizeof what, "%s %s %" PRIu32, verb, t->path, caller.uid);
    client_note_call(c, what);
    enum err e = directory
                     ? surf_mkdir(c->surf, &caller, t->directory, slice_str(t->name), 0755, &attr)
                     : surf_create(c->surf, &caller, t->directory, slice_str(t->name), 0644, flags, &attr, NULL, NULL);
    if (e == ERR_OK && open)
        snprintf(more, sizeof more, "%" PRIu32, attr.uid);
    if (e == ERR_OK && !directory)
        remember(c, t, &attr);
    client_note_answer(c, what, e, open ? of_open : of_create, more);
}

static void remove_name(struct client *c, const struct target *t, bool directory)
{
    static const enum err of_unlink[] = {ERR_NOENT, ERR_ISDIR, ERR_OK}, of_rmdir[] = {ERR_NOENT, ERR_NOTDIR, ERR_OK};
    static const struct surf_caller root;
    char what[64];
    snprintf(what, sizeof what, "%s %s", directory ? "rmdir" : "unlink", t->path);
    client_note_call(c, what);
    enum err e = directory ? surf_rmdir(c->surf, &root, t->directory, slice_str(t->name))
                           : surf_unlink(c->surf, &root, t->directory, slice_str(t->name));
    client_note_answer(c, what, e, directory ? of_rmdir : of_unlink, "");
}

static void rename_name(struct client *c, const struct target *t, const char *verb, uint32_t flags)
{
    static const enum err known[] = {ERR_NOENT, ERR_ISDIR, ERR_NOTDIR, ERR_OK},
                          of_new[] = {ERR_NOENT, ERR_EXIST, ERR_OK}, of_exchange[] = {ERR_NOENT, ERR_OK};
    char what[96];
    snprintf(what, sizeof what, "%s %s %s", verb, t->path, t->new_path);
    client_note_call(c, what);
    enum err e = surf_rename(c->surf, &(struct surf_caller){0}, t->directory, slice_str(t->name), t->directory,
                             slice_str(t->new_name), flags);
    client_note_answer(c, what, e,
                       flags & META_RENAME_NOREPLACE  ? of_new
                       : flags & META_RENAME_EXCHANGE ? of_exchange
                                                      : known,
                       "");
}

static void link_inode(struct client *c, const struct target *t)
{
    static const enum err known[] = {ERR_NOENT, ERR_EXIST, ERR_PERM, ERR_STALE, ERR_OK};
    char what[96];
    struct meta_attr attr;
    unsigned at = (unsigned)prng_below(&c->prng, CLIENT_SEEN);
    if (at >= c->seen_count || c->seen[at].object != t->object)
        return;
    snprintf(what, sizeof what, "link %" PRIu64 " %s", c->seen[at].tag, t->new_path);
    client_note_call(c, what);
    enum err e =
        surf_link(c->surf, &(struct surf_caller){0}, c->seen[at].ino, t->directory, slice_str(t->new_name), &attr);
    client_note_answer(c, what, e, known, "");
}

void client_operate_names(struct client *c)
{
    struct target t = choose(c);
    uint64_t pick = prng_below(&c->prng, 12);
    if (client_looks(c))
        lookup(c, &t);
    else if (pick < 3)
        make(c, &t, "create", O_EXCL);
    else if (pick == 3)
        make(c, &t, "open", 0);
    else if (pick == 4)
        make(c, &t, "mkdir", 0);
    else if (pick == 5)
        remove_name(c, &t, true);
    else if (pick < 8)
        remove_name(c, &t, false);
    else if (pick == 8)
        rename_name(c, &t, "rename", 0);
    else if (pick == 9)
        rename_name(c, &t, "rename-new", META_RENAME_NOREPLACE);
    else if (pick == 10)
        rename_name(c, &t, "rename-exchange", META_RENAME_EXCHANGE);
    else
        link_inode(c, &t);
}
