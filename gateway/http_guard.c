#include "gateway/http_guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "gateway/http_text.h"

static bool is_address(const char *host)
{
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static bool is_known_name(const struct http_server *s, const char *host)
{
    if (is_address(host) || strcmp(host, "localhost") == 0)
        return true;
    for (unsigned i = 0; i < sizeof s->own_names / sizeof s->own_names[0]; i++)
        if (strcasecmp(host, s->own_names[i]) == 0)
            return true;
    for (unsigned i = 0; i < s->options->http.name_count; i++)
        if (strcasecmp(host, s->options->http.names[i]) == 0)
            return true;
    return false;
}

/* HTTP/1.0 has no Host, and no browser speaks it. */
static bool check_host(struct http_request *r)
{
    const char *header = http_header(r, MHD_HTTP_HEADER_HOST);
    char host[HTTP_HOST_BYTES + 1];
    if (!header || (http_text_host(header, host) && is_known_name(r->server, host)))
        return true;
    http_answer_text(r, MHD_HTTP_MISDIRECTED_REQUEST,
                     "This node is not known by that name; surfd --http-names can tell it more names");
    return false;
}

/* What follows the scheme of an origin (RFC 6454 section 6.2); https where a proxy speaks TLS for us. Or NULL. */
static const char *origin_authority(const char *origin)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (unsigned i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strncasecmp(origin, schemes[i], strlen(schemes[i])) == 0)
            return origin + strlen(schemes[i]);
    return NULL;
}

/* An origin whose authority is what Host says too. */
static bool check_origin(struct http_request *r)
{
    const char *origin = http_header(r, MHD_HTTP_HEADER_ORIGIN), *host = http_header(r, MHD_HTTP_HEADER_HOST);
    const char *site = http_header(r, "Sec-Fetch-Site");
    const char *authority = origin ? origin_authority(origin) : NULL;
    bool same = !origin || (authority && host && strcasecmp(authority, host) == 0);
    if (same && (!site || strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0))
        return true;
    http_answer_text(r, MHD_HTTP_FORBIDDEN, "Pages of other sites may not do this");
    return false;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
    if (address->sa_family != AF_INET6)
        return false;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

bool http_guard_is_admin(struct http_request *r)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return r->server->options->http.admin || (info && info->client_addr && is_loopback(info->client_addr));
}

static bool check_admin(struct http_request *r)
{
    if (!http_guard_is_admin(r))
        http_answer_text(r, MHD_HTTP_FORBIDDEN,
                         "Nodes are changed from the machine of the node, unless surfd --http-admin allows others");
    else if (!http_header(r, HTTP_GUARD_HEADER))
        http_answer_text(r, MHD_HTTP_FORBIDDEN, "The header " HTTP_GUARD_HEADER " is missing: it may say anything");
    else
        return true;
    return false;
}

bool http_guard_allows(struct http_request *r)
{
    bool changes = r->method & (HTTP_POST | HTTP_DELETE);
    return check_host(r) && (!changes || check_origin(r)) && (!r->route->changes || check_admin(r));
}
