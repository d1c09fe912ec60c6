#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "tests/tools/lin_client/lin_client.h"

#define TAG_BITS 20u /* of a client's own count */
#define LINE_BYTES 512u
#define SET_UP_NS (60 * NS_PER_S)

bool client_looks(struct client *c)
{
    return prng_below(&c->prng, 100) < c->looks_percent;
}

uint32_t client_tag(struct client *c)
{
    CHECK(c->tags + 1 < 1u << TAG_BITS);
    return c->number << TAG_BITS | ++c->tags;
}

static void put_line(struct client *c, const char *line, size_t size)
{
    CHECK(write(c->out, line, size) == (ssize_t)size);
}

void client_note_call(struct client *c, const char *what)
{
    char line[LINE_BYTES];
    int size = snprintf(line, sizeof line, "%" PRId64 " %s invoke %s\n", clock_boot_ns(), c->name, what);
    CHECK(size > 0 && (size_t)size < sizeof line);
    put_line(c, line, (size_t)size);
}

static bool is_known(enum err e, const enum err *known)
{
    for (; *known != ERR_OK; known++)
        if (*known == e)
            return true;
    return false;
}

void client_note_answer(struct client *c, const char *what, enum err e, const enum err *known, const char *more)
{
    int64_t now = clock_boot_ns();
    size_t room = LINE_BYTES + strlen(more);
    _cleanup_free_ char *line = mem_alloc(room);
    int size;
    if (e == ERR_OK)
        size = snprintf(line, room, "%" PRId64 " %s ok %s %s\n", now, c->name, what, more);
    else if (is_known(e, known))
        size = snprintf(line, room, "%" PRId64 " %s fail %s %s\n", now, c->name, what, err_name(e));
    else
        size = snprintf(line, room, "%" PRId64 " %s info %s # %s\n", now, c->name, what, err_name(e));
    CHECK(size > 0 && (size_t)size < room);
    put_line(c, line, (size_t)size);
}

/* Many clients begin at once; whoever comes first makes it. */
static enum err make_object(struct client *c, bool directory, unsigned number, struct slice name, struct meta_attr *ret)
{
    static const struct surf_caller root;
    ret->ino = 0;
    if (c->operate == client_operate_kv_register || c->operate == client_operate_kv_list)
        return client_set_up_key(c, number);
    if (!directory)
        return surf_create(c->surf, &root, META_ROOT_INO, name, 0644, 0, ret, NULL, NULL);
    enum err e = surf_mkdir(c->surf, &root, META_ROOT_INO, name, 0755, ret);
    return e == ERR_EXIST ? surf_lookup(c->surf, &root, META_ROOT_INO, name, ret) : e;
}

enum err client_set_up(struct client *c, const char *out, bool directories, struct err_text *why)
{
    c->out = open(out, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (c->out < 0)
        return err_explain(why, ERR_IO, "%s: %m", out);
    int64_t give_up_ns = clock_boot_ns() + SET_UP_NS;
    for (unsigned i = 0; i < c->objects; i++) {
        char name[16];
        struct meta_attr attr;
        snprintf(name, sizeof name, "%c%u", directories ? 'd' : 'f', i);
        enum err e;
        do /* it begins when the nemesis has begun already, and is not part of the history yet */
            e = make_object(c, directories, i, slice_str(name), &attr);
        while (e == ERR_TIMEOUT && clock_boot_ns() < give_up_ns);
        if (e != ERR_OK)
            return err_explain(why, e, "object %s", name);
        c->inos[i] = attr.ino;
    }
    return ERR_OK;
}
