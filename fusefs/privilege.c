#include "fusefs/privilege.h"

#include <stdatomic.h>
#include <string.h>

#include <linux/fuse.h>

/* One mount per process. */
static atomic_bool kernel_tells;
static _Thread_local bool kills_set_id;

/* The body of a request, as much as there is of it; the rest is zero. */
static void take_body(const uint8_t *request, size_t size, void *to, size_t to_size)
{
    size_t there = size - sizeof(struct fuse_in_header);
    memset(to, 0, to_size);
    memcpy(to, request + sizeof(struct fuse_in_header), there < to_size ? there : to_size);
}

#define TAKE_BODY(type, name)                                                                                          \
    struct type name;                                                                                                  \
    take_body(request, size, &name, sizeof name)

static bool look(const struct fuse_in_header *header, const uint8_t *request, size_t size)
{
    bool untold = !atomic_load_explicit(&kernel_tells, memory_order_relaxed) && header->uid != 0;
    switch (header->opcode) {
    case FUSE_INIT: {
        TAKE_BODY(fuse_init_in, init);
        atomic_store(&kernel_tells, init.flags & FUSE_HANDLE_KILLPRIV_V2);
        return false;
    }
    case FUSE_WRITE: {
        TAKE_BODY(fuse_write_in, in);
        return untold || (in.write_flags & FUSE_WRITE_KILL_SUIDGID);
    }
    case FUSE_OPEN: {
        TAKE_BODY(fuse_open_in, in);
        return untold || (in.open_flags & FUSE_OPEN_KILL_SUIDGID);
    }
    case FUSE_CREATE: {
        TAKE_BODY(fuse_create_in, in);
        return untold || (in.open_flags & FUSE_OPEN_KILL_SUIDGID);
    }
    case FUSE_SETATTR: {
        TAKE_BODY(fuse_setattr_in, in);
        return untold || (in.valid & FATTR_KILL_SUIDGID);
    }
    case FUSE_FALLOCATE:
    case FUSE_COPY_FILE_RANGE:
        /* These say nothing, and the kernel does nothing about it either. */
        return header->uid != 0;
    default:
        return false;
    }
}

void privilege_look(const void *request, size_t size)
{
    struct fuse_in_header header;
    kills_set_id = false;
    if (size < sizeof header)
        return;
    memcpy(&header, request, sizeof header);
    kills_set_id = look(&header, request, size);
}

bool privilege_kills_set_id(void)
{
    return kills_set_id;
}
