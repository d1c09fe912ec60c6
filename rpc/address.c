#include "rpc/address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static enum err bad_address(struct err_text *why, const char *text, size_t size, const char *what)
{
    int shown = size < 100 ? (int)size : 100;
    return err_explain(why, ERR_ADDRESS, "bad address \"%.*s\": %s", shown, text, what);
}

/* Decimal digits only, 1 to 65535; 0 for anything else. */
static unsigned parse_port(const char *text, size_t size)
{
    unsigned port = 0;
    if (size == 0 || size > 5)
        return 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port <= 65535 ? port : 0;
}

static bool is_host_char(unsigned char c)
{
    return c > 0x20 && c < 0x7f && !strchr(",/[]@\"'\\", c);
}

static enum err parse(const char *text, size_t size, struct rpc_address *ret, struct err_text *why)
{
    if (size == 0)
        return bad_address(why, text, size, "it is empty");
    if (size > LIMIT_ADDRESS_BYTES)
        return bad_address(why, text, size, "it is too long");
    const char *host = text;
    const char *colon = memrchr(text, ':', size);
    bool bracketed = text[0] == '[';
    if (!colon)
        return bad_address(why, text, size, "it has no port");
    size_t host_size = (size_t)(colon - text);
    if (bracketed) {
        if (host_size < 2 || text[host_size - 1] != ']')
            return bad_address(why, text, size, "[IPV6]:PORT is expected");
        host++;
        host_size -= 2;
    } else if (memchr(text, ':', host_size)) {
        return bad_address(why, text, size, "it has several colons; an IPv6 address is written [IPV6]:PORT");
    }
    if (host_size == 0)
        return bad_address(why, text, size, "no host");
    for (size_t i = 0; i < host_size; i++)
        if (!is_host_char((unsigned char)host[i]))
            return bad_address(why, text, size, "a character that no host name has");
    unsigned port = parse_port(colon + 1, size - (size_t)(colon + 1 - text));
    if (port == 0)
        return bad_address(why, text, size, "the port is not a number from 1 to 65535");

    struct rpc_address address = {.port = (uint16_t)port};
    memcpy(address.text, text, size);
    memcpy(address.host, host, host_size);
    *ret = address;
    return ERR_OK;
}

enum err rpc_address_parse(const char *text, struct rpc_address *ret, struct err_text *why)
{
    return parse(text, strlen(text), ret, why);
}

enum err rpc_address_parse_list(const char *text, struct rpc_address *ret, size_t capacity, size_t *ret_count,
                                struct err_text *why)
{
    size_t count = 0;
    for (const char *at = text;;) {
        size_t size = strcspn(at, ",");
        if (count == capacity)
            return err_explain(why, ERR_ADDRESS, "more than %zu addresses in \"%.100s\"", capacity, text);
        TRY(parse(at, size, &ret[count], why));
        count++;
        if (at[size] == 0)
            break;
        at += size + 1;
    }
    *ret_count = count;
    return ERR_OK;
}

/* What getaddrinfo says. */
static int first_address(const struct rpc_address *a, const struct addrinfo *hints, struct sockaddr_storage *ret,
                         socklen_t *ret_size)
{
    char port[8];
    snprintf(port, sizeof port, "%u", a->port);
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(a->host, port, hints, &found);
    if (failed)
        return failed;
    memcpy(ret, found->ai_addr, found->ai_addrlen);
    *ret_size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

bool rpc_address_numeric(const struct rpc_address *a, struct sockaddr_storage *ret, socklen_t *ret_size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST};
    return first_address(a, &hints, ret, ret_size) == 0;
}

enum err rpc_address_resolve(const struct rpc_address *a, struct sockaddr_storage *ret, socklen_t *ret_size,
                             struct err_text *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    /* "localhost" usually names ::1 too, and first, while a server of ours listens on 127.0.0.1 unless told otherwise.
     */
    if (strcmp(a->host, "localhost") == 0)
        hints.ai_family = AF_INET;
    int failed = first_address(a, &hints, ret, ret_size);
    if (failed)
        return err_explain(why, ERR_ADDRESS, "can't resolve \"%s\": %s", a->host, gai_strerror(failed));
    return ERR_OK;
}
