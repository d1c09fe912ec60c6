/* address.h: HOST:PORT and [IPV6]:PORT. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/limits.h"

struct rpc_address {
    char text[LIMIT_ADDRESS_BYTES + 1]; /* as given */
    char host[LIMIT_ADDRESS_BYTES + 1];
    uint16_t port;
};

/* No name look-up. ERR_ADDRESS with the value in why: missing or bad port, empty host, too long. */
enum err rpc_address_parse(const char *text, struct rpc_address *ret, struct err_text *why) MUST_USE;
/* A comma-separated list, no empty items, at most `capacity`. */
enum err rpc_address_parse_list(const char *text, struct rpc_address *ret, size_t capacity, size_t *ret_count,
                                struct err_text *why) MUST_USE;
/* Of a host that is an IP address: it never waits. False: it is a name. */
bool rpc_address_numeric(const struct rpc_address *a, struct sockaddr_storage *ret, socklen_t *ret_size);
/* Blocking look-up, for as long as name servers take; the first result. */
enum err rpc_address_resolve(const struct rpc_address *a, struct sockaddr_storage *ret, socklen_t *ret_size,
                             struct err_text *why) MUST_USE;
