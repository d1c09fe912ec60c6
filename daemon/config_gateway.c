/* config_gateway.c: what the gateways of this node were told. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/config.h"

static enum err set_http_port(struct config *c, const char *value, struct err_text *why)
{
    unsigned port;
    TRY(config_parse_number(value, 0, 65535, &port, "a port", why));
    c->http.port = (uint16_t)port;
    return ERR_OK;
}

static enum err parse_host(const char *value, char host[LIMIT_ADDRESS_BYTES + 1], struct err_text *why)
{
    struct in6_addr any;
    bool localhost = strcmp(value, "localhost") == 0;
    if (!localhost && inet_pton(AF_INET, value, &any) != 1 && inet_pton(AF_INET6, value, &any) != 1)
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is not an IP address", value);
    snprintf(host, LIMIT_ADDRESS_BYTES + 1, "%s", localhost ? "127.0.0.1" : value);
    return ERR_OK;
}

static enum err set_http_address(struct config *c, const char *value, struct err_text *why)
{
    return parse_host(value, c->http.host, why);
}

static enum err set_http_admin(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_switch(value, &c->http.admin, why);
}

static enum err set_http_files(struct config *c, const char *value, struct err_text *why)
{
    static const char *const words[] = {"public", "all", "none"};
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(words[i], value) == 0) {
            c->http.files = (enum gateway_files)i;
            return ERR_OK;
        }
    return err_explain(why, ERR_CONFIG, "\"%.100s\" is none of public, all, none", value);
}

static enum err set_http_names(struct config *c, const char *value, struct err_text *why)
{
    c->http.name_count = 0;
    for (const char *at = value;; at++) {
        size_t size = strcspn(at, ",");
        if (size == 0 || size > LIMIT_ADDRESS_BYTES || strcspn(at, ": /") < size)
            return err_explain(why, ERR_CONFIG, "\"%.100s\" is not a list of host names", value);
        if (c->http.name_count == GATEWAY_NAMES)
            return err_explain(why, ERR_CONFIG, "\"%.100s\" has more than %u names", value, GATEWAY_NAMES);
        char *name = c->http.names[c->http.name_count++];
        memcpy(name, at, size);
        name[size] = 0;
        at += size;
        if (!*at)
            return ERR_OK;
    }
}

static enum err set_text_port(struct config *c, const char *value, struct err_text *why)
{
    unsigned port;
    TRY(config_parse_number(value, 0, 65535, &port, "a port", why));
    c->text.port = (uint16_t)port;
    return ERR_OK;
}

static enum err set_text_address(struct config *c, const char *value, struct err_text *why)
{
    return parse_host(value, c->text.host, why);
}

static const struct {
    const char *name;
    enum err (*set)(struct config *c, const char *value, struct err_text *why);
} keys[] = {{"http-port", set_http_port},      {"http-address", set_http_address}, {"http-admin", set_http_admin},
            {"http-files", set_http_files},    {"http-names", set_http_names},     {"text-port", set_text_port},
            {"text-address", set_text_address}};

enum err config_gateway_set(struct config *c, const char *key, const char *value, struct err_text *why)
{
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (strcmp(keys[i].name, key) == 0)
            return keys[i].set(c, value, why);
    return ERR_NOT_FOUND;
}

/* What holds for each that listens. */
static enum err finish_one(const struct config *c, const char *name, unsigned port, char host[LIMIT_ADDRESS_BYTES + 1],
                           struct err_text *why)
{
    if (!host[0])
        snprintf(host, LIMIT_ADDRESS_BYTES + 1, "127.0.0.1");
    if (port && c->localhost && !config_host_is_loopback(host))
        return err_explain(why, ERR_CONFIG, "%s-address %.100s is not a loopback address, but localhost was asked for",
                           name, host);
    if (port && !c->insecure_listen && !config_host_is_loopback(host))
        return err_explain(why, ERR_CONFIG,
                           "%s-address %.80s is not a loopback address: without certificates surfd binds to loopback "
                           "only, unless --insecure-listen-everywhere-without-tls is given",
                           name, host);
    if (port && (c->roles & WIRE_NODE_BLOCK) && !(c->roles & WIRE_NODE_META) && c->peer_count == 0)
        return err_explain(why, ERR_CONFIG, "%s-port %u: a block server alone needs --peers, the metastore's members",
                           name, port);
    return ERR_OK;
}

enum err config_gateway_finish(struct config *c, struct err_text *why)
{
    TRY(finish_one(c, "http", c->http.port, c->http.host, why));
    return finish_one(c, "text", c->text.port, c->text.host, why);
}
