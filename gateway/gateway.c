#include "gateway/gateway.h"

#include "base/mem.h"
#include "gateway/http.h"
#include "gateway/session.h"
#include "gateway/text.h"

#define LOG_MODULE "gateway"
#include "base/log.h"

struct gateway {
    struct gateway_session *session;
    struct http_server *http; /* NULL: off */
    struct text_server *text; /* the same */
};

enum err gateway_open(const struct gateway_options *options, struct gateway **ret, struct err_text *why)
{
    struct gateway *g = MEM_NEW(struct gateway);
    g->session = gateway_session_new(options);
    enum err e = options->http.port ? http_server_open(g->session, &g->http, why) : ERR_OK;
    if (e == ERR_OK && options->text.port)
        e = text_server_open(g->session, &g->text, why);
    if (e != ERR_OK) {
        gateway_close(g);
        return e;
    }
    if (options->http.port)
        log_info("HTTP on %s port %u", options->http.host, options->http.port);
    if (options->text.port)
        log_info("the text protocol on %s port %u", options->text.host, options->text.port);
    *ret = g;
    return ERR_OK;
}

void gateway_close(struct gateway *g)
{
    if (!g)
        return;
    gateway_session_stop(g->session);
    http_server_close(g->http);
    text_server_close(g->text);
    gateway_session_free(g->session);
    free(g);
}
