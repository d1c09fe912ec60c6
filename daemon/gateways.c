#include "daemon/gateways.h"

#include <pthread.h>

#include "base/mem.h"
#include "gateway/gateway.h"

#define LOG_MODULE "gateway"
#include "base/log.h"

struct gateways {
    struct node *node;
    struct gateway *gateway;
    uv_async_t closed;
    pthread_t closer;
    bool closing;
};

static void *closer_main(void *context)
{
    struct gateways *g = context;
    gateway_close(g->gateway);
    uv_async_send(&g->closed);
    return NULL;
}

static void on_closed(uv_async_t *async)
{
    struct gateways *g = async->data;
    pthread_join(g->closer, NULL);
    g->gateway = NULL;
    node_stop(g->node);
}

/* Leaving the cluster takes answers of it, perhaps of this very node: it goes on until the gateways have left. Who asks
 * again, or can't have a thread, doesn't wait. */
static void on_stop_asked(void *context)
{
    struct gateways *g = context;
    if (!g->closing && pthread_create(&g->closer, NULL, closer_main, g) == 0)
        g->closing = true;
    else
        node_stop(g->node);
}

static void configure(const struct node *n, struct gateway_options *o)
{
    const struct config *c = &n->config;
    *o = (struct gateway_options){.node_id = c->id,
                                  .own = c->advertise,
                                  .crashed = &n->crashed,
                                  .http = c->http,
                                  .leader = &n->leader,
                                  .text = c->text};
    if (c->roles & WIRE_NODE_META)
        o->servers[o->server_count++] = c->advertise;
    for (unsigned i = 0; i < c->peer_count && o->server_count < LIMIT_NODES; i++)
        if (c->peers[i].id != c->id)
            o->servers[o->server_count++] = c->peers[i].address;
}

enum err gateways_open(struct node *n, struct gateways **ret, struct err_text *why)
{
    struct gateway_options options;
    *ret = NULL;
    if (!n->config.http.port && !n->config.text.port)
        return ERR_OK;
    struct gateways *g = MEM_NEW(struct gateways);
    configure(n, &options);
    enum err e = gateway_open(&options, &g->gateway, why);
    if (e != ERR_OK) {
        free(g);
        return e;
    }
    g->node = n;
    uv_async_init(n->loop, &g->closed, on_closed);
    g->closed.data = g;
    n->on_stop_asked = on_stop_asked;
    n->stop_context = g;
    *ret = g;
    return ERR_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void gateways_close(struct gateways *g)
{
    if (!g)
        return;
    g->node->on_stop_asked = NULL;
    if (g->closing && g->gateway)
        pthread_join(g->closer, NULL);
    else
        gateway_close(g->gateway);
    uv_close((uv_handle_t *)&g->closed, on_handle_closed);
}
