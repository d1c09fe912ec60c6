#include "tests/unit/raftlog/sim_files.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static void file_unref(struct file_table_file *f)
{
    if (!f || --f->references > 0)
        return;
    for (size_t i = 0; i < f->write_count; i++)
        bytes_free(&f->writes[i].data);
    free(f->writes);
    bytes_free(&f->current);
    bytes_free(&f->durable);
    free(f);
}

static void names_clear(struct sim_names *n)
{
    for (unsigned i = 0; i < n->count; i++)
        file_unref(n->all[i].file);
    n->count = 0;
}

static void names_assign(struct sim_names *to, const struct sim_names *from)
{
    for (unsigned i = 0; i < from->count; i++)
        from->all[i].file->references++;
    struct sim_names old = *to;
    *to = *from;
    names_clear(&old);
}

static struct sim_name *names_find(struct sim_names *n, const char *name)
{
    for (unsigned i = 0; i < n->count; i++)
        if (strcmp(n->all[i].name, name) == 0)
            return &n->all[i];
    return NULL;
}

static void names_remove(struct sim_names *n, struct sim_name *at)
{
    file_unref(at->file);
    *at = n->all[--n->count];
}

static void step_push(struct sim_disk *d)
{
    if (d->step_count == d->step_room) {
        d->step_room = MAX(d->step_room * 2, (size_t)8);
        d->steps = mem_realloc(d->steps, d->step_room * sizeof *d->steps);
    }
    d->steps[d->step_count] = (struct sim_names){.count = 0};
    names_assign(&d->steps[d->step_count++], &d->current);
}

static void steps_reset(struct sim_disk *d)
{
    for (size_t i = 0; i < d->step_count; i++)
        names_clear(&d->steps[i]);
    d->step_count = 0;
    step_push(d);
}

static void content_resize(struct bytes *b, uint64_t size)
{
    if (size > b->size) {
        size_t old = b->size;
        memset(bytes_extend(b, (size_t)size - old), 0, (size_t)size - old);
    }
    b->size = (size_t)size;
}

static void content_write(struct bytes *b, uint64_t offset, const uint8_t *from, size_t size)
{
    if (b->size < offset + size)
        content_resize(b, offset + size);
    if (size > 0)
        memcpy(b->data + offset, from, size);
}

static struct sim_write *write_push(struct file_table_file *f)
{
    if (f->write_count == f->write_room) {
        f->write_room = MAX(f->write_room * 2, (size_t)8);
        f->writes = mem_realloc(f->writes, f->write_room * sizeof *f->writes);
    }
    f->writes[f->write_count] = (struct sim_write){0};
    return &f->writes[f->write_count++];
}

static void writes_clear(struct file_table_file *f)
{
    for (size_t i = 0; i < f->write_count; i++)
        bytes_free(&f->writes[i].data);
    f->write_count = 0;
}

/* Of what was not synced, each sector reaches the disk with a chance of `percent`. */
static void writes_arrive(struct sim_disk *d, struct file_table_file *f, unsigned percent)
{
    for (size_t i = 0; i < f->write_count; i++) {
        const struct sim_write *w = &f->writes[i];
        if (w->resize) {
            if (prng_below(&d->prng, 100) < percent)
                content_resize(&f->durable, w->offset);
            continue;
        }
        size_t at = 0;
        while (at < w->data.size) {
            size_t part = SIM_SECTOR_BYTES - (w->offset + at) % SIM_SECTOR_BYTES;
            part = MIN(part, w->data.size - at);
            if (prng_below(&d->prng, 100) < percent)
                content_write(&f->durable, w->offset + at, w->data.data + at, part);
            at += part;
        }
    }
    writes_clear(f);
}

/* Counts a call. ERR_OK when it is to be carried out. */
static enum err call(struct sim_disk *d)
{
    d->calls++;
    if (d->dead_after && d->calls > d->dead_after)
        return ERR_IO;
    return d->fail_at && d->calls == d->fail_at ? d->fail_with : ERR_OK;
}

static bool is_dead(const struct sim_disk *d)
{
    return d->dead_after && d->calls > d->dead_after;
}

/* The disk itself serves as its only directory. */
static enum err sim_open_dir(void *context, const char *path, struct file_table_dir **ret, struct err_text *why)
{
    (void)path;
    enum err e = call(context);
    if (e != ERR_OK)
        return err_explain(why, e, "simulated");
    *ret = context;
    return ERR_OK;
}

static void sim_close_dir(void *context, struct file_table_dir *dir)
{
    (void)context;
    (void)dir;
}

static enum err sim_list(void *context, struct file_table_dir *dir, void (*each)(void *arg, const char *name),
                         void *arg)
{
    (void)dir;
    struct sim_disk *d = context;
    TRY(call(d));
    for (unsigned i = 0; i < d->current.count; i++)
        each(arg, d->current.all[i].name);
    return ERR_OK;
}

static enum err sim_open(void *context, struct file_table_dir *dir, const char *name, bool create,
                         struct file_table_file **ret)
{
    (void)dir;
    struct sim_disk *d = context;
    TRY(call(d));
    struct sim_name *n = names_find(&d->current, name);
    if (!n) {
        if (!create)
            return ERR_NOT_FOUND;
        CHECK(d->current.count < SIM_FILES_MAX);
        n = &d->current.all[d->current.count++];
        snprintf(n->name, sizeof n->name, "%s", name);
        n->file = MEM_NEW(struct file_table_file);
        n->file->references = 1;
        step_push(d);
    }
    n->file->references++;
    d->handles++;
    *ret = n->file;
    return ERR_OK;
}

static void sim_close(void *context, struct file_table_file *file)
{
    struct sim_disk *d = context;
    d->handles--;
    file_unref(file);
}

static enum err sim_size(void *context, struct file_table_file *file, uint64_t *ret)
{
    TRY(call(context));
    *ret = file->current.size;
    return ERR_OK;
}

static enum err sim_read(void *context, struct file_table_file *file, uint64_t offset, void *to, size_t size)
{
    struct sim_disk *d = context;
    TRY(call(d));
    void (*before)(void *arg) = d->before_read;
    d->before_read = NULL;
    if (before)
        before(d->before_read_arg);
    if (offset > file->current.size || size > file->current.size - offset)
        return ERR_IO;
    memcpy(to, file->current.data + offset, size);
    return ERR_OK;
}

static enum err sim_write(void *context, struct file_table_file *file, uint64_t offset, const void *from, size_t size)
{
    struct sim_disk *d = context;
    enum err e = call(d);
    if (is_dead(d))
        return e;
    if (e != ERR_OK) /* a failed write may have done a part */
        size = (size_t)prng_below(&d->prng, size + 1);
    content_write(&file->current, offset, from, size);
    struct sim_write *w = write_push(file);
    w->offset = offset;
    bytes_append(&w->data, SLICE(from, size));
    return e;
}

static enum err sim_resize(struct sim_disk *d, struct file_table_file *file, uint64_t size)
{
    TRY(call(d));
    content_resize(&file->current, size);
    struct sim_write *w = write_push(file);
    w->resize = true;
    w->offset = size;
    return ERR_OK;
}

static enum err sim_allocate(void *context, struct file_table_file *file, uint64_t size)
{
    return sim_resize(context, file, MAX(size, (uint64_t)file->current.size));
}

static enum err sim_truncate(void *context, struct file_table_file *file, uint64_t size)
{
    return sim_resize(context, file, size);
}

/* After a failed sync what was to be synced may be lost, and still be seen until the power goes: as with ext4. */
static enum err sim_sync(void *context, struct file_table_file *file)
{
    struct sim_disk *d = context;
    enum err e = call(d);
    if (!is_dead(d))
        writes_arrive(d, file, e == ERR_OK ? 100 : 50);
    return e;
}

static enum err sim_rename(void *context, struct file_table_dir *dir, const char *from, const char *to)
{
    (void)dir;
    struct sim_disk *d = context;
    TRY(call(d));
    struct sim_name *old = names_find(&d->current, to);
    if (!names_find(&d->current, from))
        return ERR_IO;
    if (old)
        names_remove(&d->current, old);
    struct sim_name *n = names_find(&d->current, from);
    snprintf(n->name, sizeof n->name, "%s", to);
    step_push(d);
    return ERR_OK;
}

static enum err sim_remove(void *context, struct file_table_dir *dir, const char *name)
{
    (void)dir;
    struct sim_disk *d = context;
    TRY(call(d));
    struct sim_name *n = names_find(&d->current, name);
    if (!n)
        return ERR_NOT_FOUND;
    names_remove(&d->current, n);
    step_push(d);
    return ERR_OK;
}

static enum err sim_sync_dir(void *context, struct file_table_dir *dir)
{
    (void)dir;
    struct sim_disk *d = context;
    TRY(call(d));
    steps_reset(d);
    return ERR_OK;
}

void sim_disk_init(struct sim_disk *d, uint64_t seed)
{
    *d = (struct sim_disk){.fail_with = ERR_IO};
    prng_seed(&d->prng, seed);
    d->table = (struct file_table){
        .context = d,
        .open_dir = sim_open_dir,
        .close_dir = sim_close_dir,
        .list = sim_list,
        .open = sim_open,
        .close = sim_close,
        .size = sim_size,
        .read = sim_read,
        .write = sim_write,
        .allocate = sim_allocate,
        .truncate = sim_truncate,
        .sync = sim_sync,
        .rename = sim_rename,
        .remove = sim_remove,
        .sync_dir = sim_sync_dir,
    };
    steps_reset(d);
}

void sim_disk_free(struct sim_disk *d)
{
    CHECK(d->handles == 0);
    for (size_t i = 0; i < d->step_count; i++)
        names_clear(&d->steps[i]);
    free(d->steps);
    names_clear(&d->current);
    *d = (struct sim_disk){0};
}

void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from)
{
    sim_disk_init(to, from->prng.state);
    for (unsigned i = 0; i < from->current.count; i++) {
        struct sim_name *n = &to->current.all[to->current.count++];
        const struct sim_name *o = &from->current.all[i];
        snprintf(n->name, sizeof n->name, "%s", o->name);
        n->file = MEM_NEW(struct file_table_file);
        n->file->references = 1;
        bytes_append(&n->file->current, bytes_slice(&o->file->current));
        bytes_append(&n->file->durable, bytes_slice(&o->file->current));
    }
    steps_reset(to);
}

void sim_disk_crash(struct sim_disk *d, enum sim_crash how)
{
    CHECK(d->handles == 0);
    unsigned percent = how == SIM_CRASH_LOSE   ? 0
                       : how == SIM_CRASH_KEEP ? 100
                                               : (unsigned)prng_between(&d->prng, 5, 95);
    size_t step = how == SIM_CRASH_LOSE   ? 0
                  : how == SIM_CRASH_KEEP ? d->step_count - 1
                                          : (size_t)prng_below(&d->prng, d->step_count);
    names_assign(&d->current, &d->steps[step]);
    steps_reset(d);
    for (unsigned i = 0; i < d->current.count; i++) {
        struct file_table_file *f = d->current.all[i].file;
        writes_arrive(d, f, percent);
        bytes_clear(&f->current);
        bytes_append(&f->current, bytes_slice(&f->durable));
    }
    d->calls = d->dead_after = d->fail_at = 0;
}

struct bytes *sim_disk_content(struct sim_disk *d, const char *name)
{
    struct sim_name *n = names_find(&d->current, name);
    return n ? &n->file->current : NULL;
}
