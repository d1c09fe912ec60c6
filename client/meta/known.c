#include "client/meta/known_internal.h"

#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/plant.h"
#include "proto/wire_meta.h"

#define XATTR_INODES_PART 16u  /* of all inodes, so many may have attributes that are kept: 1 in 16 */
#define LATE_NS (1 * NS_PER_S) /* the kernel counts from when a program on a busy machine gets to its answer */
#define SHARED_NS                                                                                                      \
    (2 * NS_PER_S) /* so long after a notice the kernel keeps no names of a directory, no attributes of a file */

struct known *known_new(const struct known_options *options)
{
    struct known *k = MEM_NEW(struct known);
    k->options = *options;
    pthread_rwlock_init(&k->answers, NULL);
    pthread_mutex_init(&k->lock, NULL);
    list_init(&k->used);
    list_init(&k->all_names);
    return k;
}

/* ---- rows ---- */

void known_drop_name(struct known *k, struct name_entry *n)
{
    map_bytes_remove(&k->names, SLICE(n->key, n->size));
    list_remove(&n->of_directory);
    list_remove(&n->of_all);
    free(n);
}

static void drop_names(struct known *k, struct known_inode *i)
{
    for (struct list_node *n; (n = list_first(&i->names));)
        known_drop_name(k, container_of(n, struct name_entry, of_directory));
}

void known_drop_xattrs(struct known *k, struct known_inode *i)
{
    k->xattr_inodes -= i->xattrs.count > 0;
    known_xattrs_clear(&i->xattrs);
}

static void drop_inode(struct known *k, struct known_inode *i)
{
    drop_names(k, i);
    known_drop_xattrs(k, i);
    list_remove(&i->used);
    map_u64_remove(&k->inodes, i->ino);
    free(i);
}

static void drop_all(struct known *k)
{
    for (struct list_node *n; (n = list_first(&k->used));)
        drop_inode(k, container_of(n, struct known_inode, used));
}

void known_free(struct known *k)
{
    if (!k)
        return;
    drop_all(k);
    map_u64_free(&k->inodes);
    map_bytes_free(&k->names);
    marks_clear(&k->noticed);
    marks_clear(&k->changed);
    map_u64_free(&k->unsure);
    map_u64_free(&k->changing);
    map_bytes_free(&k->changing_names); /* no command is under way any more */
    pthread_mutex_destroy(&k->lock);
    pthread_rwlock_destroy(&k->answers);
    free(k);
}

static struct known_inode *find(struct known *k, uint64_t ino)
{
    struct known_inode *i = map_u64_get(&k->inodes, ino);
    if (i) {
        list_remove(&i->used);
        list_push_back(&k->used, &i->used);
    }
    return i;
}

/* What the kernel was told of the forgotten one is not known any more: an inode that is not known is taken for one that
 * the kernel may believe. */
static struct known_inode *find_or_add(struct known *k, uint64_t ino)
{
    struct known_inode *i = find(k, ino);
    if (i)
        return i;
    if (k->inodes.count >= k->options.inodes_max)
        drop_inode(k, container_of(list_first(&k->used), struct known_inode, used));
    i = MEM_NEW(struct known_inode);
    i->ino = ino;
    list_init(&i->names);
    known_xattrs_init(&i->xattrs);
    i->kernel_attr_until_ns = i->kernel_names_until_ns = k->until_ns;
    list_push_back(&k->used, &i->used);
    map_u64_put(&k->inodes, ino, i);
    return i;
}

void known_disbelieve(struct known *k, struct known_inode *i)
{
    drop_names(k, i);
    known_drop_xattrs(k, i);
    i->attachment = 0;
    i->has_attr = false;
}

static bool is_believed(const struct known *k, const struct known_inode *i, int64_t now_ns)
{
    return k->attachment != 0 && i->attachment == k->attachment && now_ns < k->until_ns &&
           !(k->unsure.count > 0 && map_u64_get(&k->unsure, i->ino));
}

/* ---- the lease ---- */

void known_attach(struct known *k, uint64_t attachment, int64_t until_ns)
{
    pthread_mutex_lock(&k->lock);
    k->attachment = attachment;
    k->until_ns = until_ns;
    k->heeded = 0;
    marks_clear(&k->noticed); /* numbers begin anew; those of own changes are the log's */
    pthread_mutex_unlock(&k->lock);
}

void known_renew(struct known *k, uint64_t attachment, int64_t until_ns)
{
    pthread_mutex_lock(&k->lock);
    if (k->attachment == attachment)
        k->until_ns = MAX(k->until_ns, until_ns);
    pthread_mutex_unlock(&k->lock);
}

void known_detach(struct known *k)
{
    uint64_t *told = NULL;
    size_t count = 0;
    pthread_rwlock_wrlock(&k->answers);
    pthread_mutex_lock(&k->lock);
    int64_t now_ns = clock_boot_ns();
    bool was_attached = k->attachment != 0;
    k->attachment = 0;
    k->drops += was_attached;
    told = mem_alloc((k->inodes.count + 1) * sizeof *told);
    list_for_each (n, &k->used) {
        const struct known_inode *i = container_of(n, struct known_inode, used);
        if (i->kernel_attr_until_ns > now_ns)
            told[count++] = i->ino;
    }
    drop_all(k);
    pthread_mutex_unlock(&k->lock);
    pthread_rwlock_unlock(&k->answers);
    if (was_attached)
        k->options.forget_names(k->options.context);
    for (size_t i = 0; i < count; i++)
        k->options.forget_attr(k->options.context, told[i], true);
    if (was_attached)
        k->options.detached(k->options.context);
    free(told);
}

void known_heed(struct known *k, const struct meta_notice *notices, unsigned count, uint64_t seq)
{
    bool names = false, believed[WIRE_NOTICES];
    CHECK(count <= WIRE_NOTICES);
    if (PLANTED(KNOWN_HEEDS_NOTHING))
        return;
    pthread_rwlock_wrlock(&k->answers);
    pthread_mutex_lock(&k->lock);
    int64_t now_ns = clock_boot_ns();
    uint64_t number = seq - count;
    for (unsigned n = 0; n < count; n++) {
        uint64_t ino = notices[n].ino;
        number++;
        bool changed = notices[n].kind == META_NOTICE_CHANGED;
        k->notices++;
        if (!changed)
            continue;
        marks_put(&k->noticed, ino, number);
        struct known_inode *i = map_u64_get(&k->inodes, ino);
        names = names || !i || i->kernel_names_until_ns > now_ns;
        believed[n] = !i || i->kernel_attr_until_ns + LATE_NS > now_ns;
        if (!i)
            continue;
        known_disbelieve(k, i);
        i->kernel_attr_until_ns = i->kernel_names_until_ns = 0;
        i->shared_until_ns = now_ns + SHARED_NS;
    }
    k->heeded = seq;
    pthread_mutex_unlock(&k->lock);
    pthread_rwlock_unlock(&k->answers);
    if (names)
        k->options.forget_names(k->options.context);
    for (unsigned n = 0; n < count; n++)
        if (notices[n].kind == META_NOTICE_CHANGED)
            k->options.forget_attr(k->options.context, notices[n].ino, believed[n]);
}

/* ---- learning ---- */

/* May something be learned of this inode from an answer of that index under that grant? */
static bool may_learn(const struct known *k, const struct meta_grant *grant, uint64_t index, uint64_t ino)
{
    if (k->attachment == 0 || grant->attachment != k->attachment)
        return false;
    return !marks_above(&k->noticed, ino, grant->seq) && !marks_above(&k->changed, ino, index);
}

static struct known_inode *learn_inode(struct known *k, const struct meta_grant *grant, uint64_t index, uint64_t ino)
{
    if (!may_learn(k, grant, index, ino))
        return NULL;
    struct known_inode *i = find_or_add(k, ino);
    if (i->attachment != k->attachment) {
        known_disbelieve(k, i);
        i->attachment = k->attachment;
        i->since = index;
    }
    i->since = MIN(i->since, index);
    return i;
}

void known_learn_attr(struct known *k, const struct meta_grant *grant, uint64_t index, const struct meta_attr *attr)
{
    struct known_inode *i = learn_inode(k, grant, index, attr->ino);
    if (!i || (i->has_attr && i->index > index))
        return;
    i->has_attr = true;
    i->attr = *attr;
    i->index = index;
}

void known_make_key(uint8_t to[8 + LIMIT_NAME_BYTES], uint64_t directory, struct slice name, struct slice *ret)
{
    put_u64be(to, directory);
    memcpy(to + 8, name.data, name.size);
    *ret = SLICE(to, 8 + name.size);
}

void known_set_name(struct known *k, struct known_inode *directory, struct slice name, uint64_t index, uint64_t ino)
{
    uint8_t bytes[8 + LIMIT_NAME_BYTES];
    struct slice key;
    known_make_key(bytes, directory->ino, name, &key);
    struct name_entry *n = map_bytes_get(&k->names, key);
    if (n && n->index > index)
        return;
    if (!n) {
        if (k->names.count >= k->options.inodes_max)
            known_drop_name(k, container_of(list_first(&k->all_names), struct name_entry, of_all));
        n = mem_alloc(sizeof *n + key.size);
        n->directory = directory;
        n->size = (uint16_t)key.size;
        memcpy(n->key, key.data, key.size);
        list_push_back(&directory->names, &n->of_directory);
        list_push_back(&k->all_names, &n->of_all);
        map_bytes_put(&k->names, SLICE(n->key, n->size), n);
    }
    n->ino = ino;
    n->index = index;
    n->ahead = false;
}

void known_learn_name(struct known *k, const struct meta_grant *grant, uint64_t index, uint64_t directory,
                      struct slice name, uint64_t ino)
{
    struct known_inode *i = learn_inode(k, grant, index, directory);
    if (i && name.size <= LIMIT_NAME_BYTES)
        known_set_name(k, i, name, index, ino);
}

static void learn_xattr(struct known *k, const struct meta_query *q, const struct meta_query_reply *r)
{
    struct known_inode *i = learn_inode(k, &r->grant, r->index, q->ino);
    if (!i || (i->xattrs.count == 0 && k->xattr_inodes >= k->options.inodes_max / XATTR_INODES_PART))
        return;
    k->xattr_inodes -= i->xattrs.count > 0;
    (void)known_xattrs_put(&i->xattrs, q->name, r->status == ERR_OK ? &r->xattr : NULL);
    k->xattr_inodes += i->xattrs.count > 0;
}

static bool attr_locked(struct known *k, uint64_t ino, int64_t now_ns, struct meta_attr *ret)
{
    struct known_inode *i = find(k, ino);
    if (!i || !i->has_attr || !is_believed(k, i, now_ns) || map_u64_get(&k->changing, ino))
        return false;
    *ret = i->attr;
    return true;
}

/* NOT: *ret_name is not set. */
static enum known_name lookup_locked(struct known *k, uint64_t parent, struct slice name, int64_t now_ns,
                                     struct meta_attr *ret, struct name_entry **ret_name)
{
    uint8_t bytes[8 + LIMIT_NAME_BYTES];
    struct slice key;
    known_make_key(bytes, parent, name, &key);
    const struct known_inode *i = find(k, parent);
    bool believed = i && is_believed(k, i, now_ns) && !map_bytes_get(&k->changing_names, key);
    struct name_entry *n = believed ? map_bytes_get(&k->names, key) : NULL;
    if (!n || (n->ino != 0 && !attr_locked(k, n->ino, now_ns, ret)))
        return KNOWN_NOT;
    *ret_name = n;
    return n->ino == 0 ? KNOWN_ABSENT : KNOWN_THERE;
}

/* ahead: nobody has asked for it yet. */
static void learn_entry(struct known *k, const struct meta_query *q, const struct meta_query_reply *r,
                        const struct meta_dirent *d, bool ahead, int64_t now_ns)
{
    struct meta_attr attr;
    struct name_entry *n;
    bool is_new = lookup_locked(k, q->ino, d->name, now_ns, &attr, &n) == KNOWN_NOT;
    ahead = ahead && (is_new || n->ahead);
    known_learn_name(k, &r->grant, r->index, q->ino, d->name, d->ino);
    if (d->attr.ino != 0)
        known_learn_attr(k, &r->grant, r->index, &d->attr);
    if (ahead && lookup_locked(k, q->ino, d->name, now_ns, &attr, &n) == KNOWN_THERE) {
        n->ahead = true;
        k->ahead_brought += is_new;
    }
}

static void learn_entries(struct known *k, const struct meta_query *q, const struct meta_query_reply *r, int64_t now_ns)
{
    bool ahead = q->op == META_QUERY_LOOKUP;
    /* How many were asked for is not the answer's to say. */
    unsigned count = ahead ? MIN(r->entry_count, q->max_count) : r->entry_count;
    for (unsigned n = 0; r->status == ERR_OK && n < count; n++)
        learn_entry(k, q, r, &r->entries[n], ahead, now_ns);
    if (!ahead || (r->status != ERR_OK && r->status != ERR_NOENT))
        return;
    const struct known_inode *i = map_u64_get(&k->inodes, q->ino);
    struct look_ahead_answer answer = {.asked = q->max_count,
                                       .brought = count,
                                       .cookie = r->ahead_cookie,
                                       .found = r->status == ERR_OK,
                                       .entries = i && i->has_attr ? i->attr.size : 0};
    look_ahead_answered(&k->ahead, q->ino, &answer, now_ns);
}

void known_learn_query(struct known *k, const struct meta_query *q, const struct meta_query_reply *r)
{
    if (r->grant.attachment == 0)
        return;
    pthread_mutex_lock(&k->lock);
    if (q->op == META_QUERY_LOOKUP && (r->status == ERR_OK || r->status == ERR_NOENT))
        known_learn_name(k, &r->grant, r->index, q->ino, q->name, r->status == ERR_OK ? r->attr.ino : 0);
    if (q->op == META_QUERY_GETXATTR && (r->status == ERR_OK || r->status == ERR_NODATA))
        learn_xattr(k, q, r);
    if (r->status == ERR_OK && r->has_attr)
        known_learn_attr(k, &r->grant, r->index, &r->attr);
    learn_entries(k, q, r, clock_boot_ns());
    pthread_mutex_unlock(&k->lock);
}

/* ---- what is believed ---- */

enum known_name known_lookup(struct known *k, uint64_t parent, struct slice name, struct meta_attr *ret,
                             unsigned *ret_ahead, uint64_t *ret_cookie)
{
    struct name_entry *n = NULL;
    if (name.size > LIMIT_NAME_BYTES)
        return KNOWN_NOT;
    pthread_mutex_lock(&k->lock);
    int64_t now_ns = clock_boot_ns();
    enum known_name result = lookup_locked(k, parent, name, now_ns, ret, &n);
    k->hits += result != KNOWN_NOT;
    k->misses += result == KNOWN_NOT;
    if (result == KNOWN_NOT) {
        *ret_cookie = 0;
        *ret_ahead = k->options.no_ahead ? 0 : look_ahead_ask(&k->ahead, parent, now_ns, ret_cookie);
    } else if (n->ahead) {
        n->ahead = false;
        k->ahead_used++;
        look_ahead_used(&k->ahead, parent, now_ns);
    }
    pthread_mutex_unlock(&k->lock);
    return result;
}

bool known_attr(struct known *k, uint64_t ino, struct meta_attr *ret)
{
    pthread_mutex_lock(&k->lock);
    bool there = attr_locked(k, ino, clock_boot_ns(), ret);
    k->hits += there;
    k->misses += !there;
    pthread_mutex_unlock(&k->lock);
    return there;
}

enum known_name known_xattr(struct known *k, uint64_t ino, struct slice name, struct arena *arena, struct slice *ret)
{
    bool there = false, found = false;
    pthread_mutex_lock(&k->lock);
    const struct known_inode *i = find(k, ino);
    if (i && is_believed(k, i, clock_boot_ns()) && !map_u64_get(&k->changing, ino))
        found = (i->has_attr && i->attr.xattrs == 0) || known_xattrs_get(&i->xattrs, name, arena, ret, &there);
    k->hits += found;
    k->misses += !found;
    pthread_mutex_unlock(&k->lock);
    return !found ? KNOWN_NOT : there ? KNOWN_THERE : KNOWN_ABSENT;
}

void known_answer_begin(struct known *k)
{
    pthread_rwlock_rdlock(&k->answers);
}

void known_answer_end(struct known *k)
{
    pthread_rwlock_unlock(&k->answers);
}

int64_t known_attr_ns(struct known *k, struct meta_attr *attr)
{
    int64_t left_ns = 0;
    pthread_mutex_lock(&k->lock);
    int64_t now_ns = clock_boot_ns();
    struct known_inode *i = find(k, attr->ino);
    bool shared = i && S_ISREG(i->attr.mode) && now_ns < i->shared_until_ns;
    if (i && i->has_attr && is_believed(k, i, now_ns) && !shared) {
        *attr = i->attr;
        left_ns = k->until_ns - now_ns;
        i->kernel_attr_until_ns = k->until_ns;
    }
    pthread_mutex_unlock(&k->lock);
    return left_ns;
}

int64_t known_name_ns(struct known *k, uint64_t directory, struct slice name, uint64_t ino)
{
    uint8_t bytes[8 + LIMIT_NAME_BYTES];
    struct slice key;
    int64_t left_ns = 0;
    if (name.size > LIMIT_NAME_BYTES)
        return 0;
    known_make_key(bytes, directory, name, &key);
    pthread_mutex_lock(&k->lock);
    int64_t now_ns = clock_boot_ns();
    struct known_inode *i = find(k, directory);
    if (i && k->kernel_names && is_believed(k, i, now_ns) && now_ns >= i->shared_until_ns) {
        const struct name_entry *n = map_bytes_get(&k->names, key);
        if (n && n->ino == ino) {
            left_ns = k->until_ns - now_ns;
            i->kernel_names_until_ns = k->until_ns;
        }
    }
    pthread_mutex_unlock(&k->lock);
    return left_ns;
}

void known_set_kernel_names(struct known *k, bool can)
{
    pthread_mutex_lock(&k->lock);
    k->kernel_names = can;
    pthread_mutex_unlock(&k->lock);
}

void known_stats(struct known *k, struct known_stats *ret)
{
    pthread_mutex_lock(&k->lock);
    *ret = (struct known_stats){.inodes = k->inodes.count,
                                .names = k->names.count,
                                .hits = k->hits,
                                .misses = k->misses,
                                .notices = k->notices,
                                .drops = k->drops,
                                .ahead = k->ahead_brought,
                                .ahead_used = k->ahead_used};
    pthread_mutex_unlock(&k->lock);
}
