#include "client/meta/known_xattr.h"

#include <string.h>

#include "base/mem.h"

struct known_xattr {
    struct list_node node;
    bool there;
    size_t name_size, value_size;
    uint8_t bytes[]; /* name, value */
};

void known_xattrs_init(struct known_xattrs *x)
{
    list_init(&x->entries);
    x->count = 0;
}

static void drop(struct known_xattrs *x, struct known_xattr *e)
{
    list_remove(&e->node);
    free(e);
    x->count--;
}

void known_xattrs_clear(struct known_xattrs *x)
{
    for (struct list_node *n; (n = list_first(&x->entries));)
        drop(x, container_of(n, struct known_xattr, node));
}

static struct known_xattr *find(const struct known_xattrs *x, struct slice name)
{
    list_for_each (n, &x->entries) {
        struct known_xattr *e = container_of(n, struct known_xattr, node);
        if (slice_equal(SLICE(e->bytes, e->name_size), name))
            return e;
    }
    return NULL;
}

bool known_xattrs_put(struct known_xattrs *x, struct slice name, const struct slice *value)
{
    size_t value_size = value ? value->size : 0;
    struct known_xattr *old = find(x, name);
    if (old)
        drop(x, old);
    if (x->count >= KNOWN_XATTRS_MAX || value_size > KNOWN_XATTR_VALUE_BYTES)
        return false;
    struct known_xattr *e = mem_alloc(sizeof *e + name.size + value_size);
    *e = (struct known_xattr){.there = value != NULL, .name_size = name.size, .value_size = value_size};
    memcpy(e->bytes, name.data, name.size);
    if (value_size > 0)
        memcpy(e->bytes + name.size, value->data, value_size);
    list_push_back(&x->entries, &e->node);
    x->count++;
    return true;
}

bool known_xattrs_get(const struct known_xattrs *x, struct slice name, struct arena *arena, struct slice *ret_value,
                      bool *ret_there)
{
    const struct known_xattr *e = find(x, name);
    if (!e)
        return false;
    *ret_there = e->there;
    *ret_value = arena_slice(arena, SLICE(e->bytes + e->name_size, e->value_size));
    return true;
}
