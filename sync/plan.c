#include "sync/plan.h"

#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

const char *sync_action_name(enum sync_action action)
{
    static const char *const names[] = {[SYNC_KEEP] = "keep",
                                        [SYNC_UPLOAD] = "upload",
                                        [SYNC_DOWNLOAD] = "download",
                                        [SYNC_DELETE_LOCAL] = "delete here",
                                        [SYNC_DELETE_REMOTE] = "delete there",
                                        [SYNC_ADOPT] = "adopt attributes",
                                        [SYNC_GIVE] = "give attributes",
                                        [SYNC_MAKE_LOCAL] = "make here",
                                        [SYNC_MAKE_REMOTE] = "make there",
                                        [SYNC_REMOVE_LOCAL] = "remove here",
                                        [SYNC_REMOVE_REMOTE] = "remove there",
                                        [SYNC_BURY] = "note as deleted",
                                        [SYNC_BLOCKED] = "blocked"};
    return names[action];
}

/* ---- one path ---- */

static bool is_edited(const struct sync_step *s)
{
    return s->local && (!s->row || s->row->deleted ||
                        !sync_hashes_equal(s->local->hashes, s->local->hash_count, s->row->hashes, s->row->hash_count));
}

/* Some file systems keep times less exactly: what one could have made of the other's is no difference. */
static bool is_same_time(int64_t here_ns, int64_t there_ns)
{
    int64_t grain_ns = here_ns % NS_PER_S == 0 ? 2 * NS_PER_S
                       : here_ns % 1000 == 0   ? 1000
                       : here_ns % 100 == 0    ? 100
                                               : 1;
    return here_ns - there_ns < grain_ns && there_ns - here_ns < grain_ns;
}

static enum sync_action decide_attributes(const struct sync_trees *t, const struct sync_step *s)
{
    const struct sync_local *l = s->local;
    const struct sync_remote *r = s->remote;
    bool same = l->mode == sync_mode_here(r->mode) && is_same_time(l->identity.mtime_ns, r->mtime_ns);
    if (same || !l->is_ours || l->is_link || r->is_link)
        return SYNC_KEEP;
    bool here = l->identity.ctime_ns > t->written_ns && r->ctime_ns <= t->index->as_of_ns;
    return here && t->written_ns != 0 ? SYNC_GIVE : SYNC_ADOPT;
}

static void decide_there(const struct sync_trees *t, struct sync_step *s)
{
    const struct sync_remote *r = s->remote;
    bool has_base = s->row && !s->row->deleted;
    if (!has_base || r->version != s->row->version || r->replaced) {
        s->action = SYNC_DOWNLOAD;
        s->version = r->version;
        s->discards = is_edited(s);
    } else if (!s->local) {
        s->action = SYNC_DELETE_REMOTE;
        s->version = MAX(r->version, r->tombstone) + 1;
    } else {
        bool edited = is_edited(s);
        s->action = edited ? SYNC_UPLOAD : decide_attributes(t, s);
        s->version = r->version + edited;
    }
}

static void decide_gone(struct sync_step *s)
{
    uint64_t tombstone = s->remote ? s->remote->tombstone : 0;
    if (s->row && !s->row->deleted) {
        s->version = MAX(tombstone, s->row->version + 1);
        s->action = s->local ? SYNC_DELETE_LOCAL : tombstone < s->version ? SYNC_BURY : SYNC_KEEP;
        s->discards = is_edited(s);
        return;
    }
    uint64_t last = MAX(tombstone, s->row ? s->row->version : 0);
    s->action = s->local ? SYNC_UPLOAD : SYNC_KEEP;
    s->version = s->local ? last + 1 : last;
}

/* ---- all of them ---- */

static struct slice least(const struct sync_trees *t, size_t local, size_t remote, size_t row)
{
    struct slice path = {0};
    bool has = false;
    const struct slice *candidates[] = {local < t->local_count ? &t->locals[local].path : NULL,
                                        remote < t->remote_count ? &t->remotes[remote].path : NULL,
                                        row < t->index->count ? &t->index->rows[row].path : NULL};
    for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
        if (candidates[i] && (!has || slice_compare(*candidates[i], path) < 0))
            path = *candidates[i], has = true;
    return path;
}

/* A file of one side that is a directory of the other, where one of the two was made since the last time: neither can
 * be brought to the other side before somebody has decided which of them it is to be. */
static void block_clashes(struct sync_step *steps, size_t count)
{
    struct map_bytes arriving = {0};
    for (size_t i = 0; i < count; i++)
        if (steps[i].action == SYNC_UPLOAD || steps[i].action == SYNC_DOWNLOAD)
            map_bytes_put(&arriving, steps[i].path, &steps[i]);
    for (size_t i = 0; i < count; i++) {
        struct sync_step *below = &steps[i];
        if (below->action == SYNC_DELETE_LOCAL || below->action == SYNC_DELETE_REMOTE || below->action == SYNC_BURY ||
            (below->action == SYNC_KEEP && !below->local))
            continue;
        for (size_t size = 1; size < below->path.size; size++) {
            struct sync_step *above =
                below->path.data[size] == '/' ? map_bytes_get(&arriving, slice_sub(below->path, 0, size)) : NULL;
            if (!above)
                continue;
            above->action = SYNC_BLOCKED;
            if (below->action != SYNC_KEEP)
                below->action = SYNC_BLOCKED;
        }
    }
    map_bytes_free(&arriving);
}

static void block_left_out(struct sync_step *steps, size_t count, const struct map_bytes *left_out)
{
    for (size_t i = 0; i < count; i++) {
        struct slice path = steps[i].path;
        for (size_t size = 1; size <= path.size; size++)
            if ((size == path.size || path.data[size] == '/') && map_bytes_get(left_out, slice_sub(path, 0, size)))
                steps[i].action = SYNC_BLOCKED;
    }
}

void sync_plan(const struct sync_trees *t, struct arena *arena, struct sync_step **ret, size_t *ret_count)
{
    size_t local = 0, remote = 0, row = 0, count = 0;
    size_t most = t->local_count + t->remote_count + t->index->count;
    struct sync_step *steps = arena_alloc(arena, (most + 1) * sizeof *steps);
    while (local < t->local_count || remote < t->remote_count || row < t->index->count) {
        struct sync_step s = {.path = least(t, local, remote, row)};
        if (local < t->local_count && slice_equal(t->locals[local].path, s.path))
            s.local = &t->locals[local++];
        if (remote < t->remote_count && slice_equal(t->remotes[remote].path, s.path))
            s.remote = &t->remotes[remote++];
        if (row < t->index->count && slice_equal(t->index->rows[row].path, s.path))
            s.row = &t->index->rows[row++];
        if (s.remote && s.remote->there)
            decide_there(t, &s);
        else
            decide_gone(&s);
        steps[count++] = s;
    }
    if (t->left_out)
        block_left_out(steps, count, t->left_out);
    block_clashes(steps, count);
    *ret = steps;
    *ret_count = count;
}
