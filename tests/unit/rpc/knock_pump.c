#include "knock_pump.h"

#include <stdatomic.h>

#include "base/check.h"
#include "base/mem.h"

#define KNOCK 'K'

struct knock_pump {
    struct rpc_pump pump;
    atomic_int *alive;
    bool knocked, heard;
    uint8_t out_key, in_key; /* change with every byte: lost, doubled or swapped bytes are seen */
    struct bytes kept;       /* until the other side has knocked */
};

static struct knock_pump *of(struct rpc_pump *p)
{
    return container_of(p, struct knock_pump, pump);
}

static void put_out(struct knock_pump *k, struct slice plain, struct bytes *wire)
{
    uint8_t *to = bytes_extend(wire, plain.size);
    for (size_t i = 0; i < plain.size; i++)
        to[i] = plain.data[i] ^ k->out_key++;
}

static void knock(struct knock_pump *k, struct bytes *wire)
{
    if (!k->knocked)
        bytes_u8(wire, KNOCK);
    k->knocked = true;
}

static enum err knock_receive(struct rpc_pump *p, struct slice wire_in, struct bytes *plain, struct bytes *wire)
{
    struct knock_pump *k = of(p);
    if (wire_in.size > 0 && !k->heard) {
        if (wire_in.data[0] != KNOCK)
            return ERR_PROTOCOL;
        k->heard = true;
        wire_in = slice_sub(wire_in, 1, wire_in.size - 1);
        knock(k, wire);
        put_out(k, bytes_slice(&k->kept), wire);
        bytes_free(&k->kept);
    }
    uint8_t *to = bytes_extend(plain, wire_in.size);
    for (size_t i = 0; i < wire_in.size; i++)
        to[i] = wire_in.data[i] ^ k->in_key++;
    return ERR_OK;
}

static enum err knock_send(struct rpc_pump *p, struct slice plain, struct bytes *wire)
{
    struct knock_pump *k = of(p);
    knock(k, wire);
    if (k->heard)
        put_out(k, plain, wire);
    else
        bytes_append(&k->kept, plain);
    return ERR_OK;
}

static void knock_free(struct rpc_pump *p)
{
    struct knock_pump *k = of(p);
    atomic_fetch_sub(k->alive, 1);
    bytes_free(&k->kept);
    free(k);
}

struct rpc_pump *knock_pump_make(void *context, bool accepts)
{
    static const struct rpc_pump_ops ops = {knock_receive, knock_send, knock_free};
    struct knock_pump *k = MEM_NEW(struct knock_pump);
    k->pump.ops = &ops;
    k->alive = context;
    k->out_key = accepts ? 100 : 7;
    k->in_key = accepts ? 7 : 100;
    atomic_fetch_add(k->alive, 1);
    return &k->pump;
}
