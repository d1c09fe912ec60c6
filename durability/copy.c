/* A log's live puts as they travel: u32 count, then for each term, session, seq (u64) and the command (u32, bytes). */
#include "durability/merge.h"

void durability_copy_encode(const struct durability_copy *c, struct bytes *to)
{
    bytes_u64(to, c->settled);
    bytes_u32(to, c->count);
    for (unsigned i = 0; i < c->count; i++) {
        const struct durability_put *p = &c->puts[i];
        bytes_u64(to, p->term);
        bytes_u64(to, p->session);
        bytes_u64(to, p->seq);
        bytes_blob(to, p->command);
    }
}

enum err durability_copy_decode(struct slice s, struct arena *a, struct durability_copy *ret)
{
    struct cursor c = cursor_of(s);
    struct durability_copy copy = {.settled = cursor_u64(&c), .count = cursor_u32(&c)};
    if (!cursor_ok(&c) || copy.count > DURABILITY_PUTS_MAX)
        return ERR_PROTOCOL;
    copy.puts = arena_alloc(a, (copy.count + (size_t)1) * sizeof *copy.puts);
    for (unsigned i = 0; i < copy.count; i++) {
        struct durability_put *p = &copy.puts[i];
        p->term = cursor_u64(&c);
        p->session = cursor_u64(&c);
        p->seq = cursor_u64(&c);
        p->command = cursor_blob(&c, DURABILITY_COMMAND_BYTES);
        if (!cursor_ok(&c) || p->session == 0 || p->seq == 0)
            return ERR_PROTOCOL;
    }
    if (!cursor_done(&c))
        return ERR_PROTOCOL;
    *ret = copy;
    return ERR_OK;
}
