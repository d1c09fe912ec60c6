#include "rpc/loopback.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

bool rpc_is_loopback(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t here_size = sizeof here, there_size = sizeof there;
    if (getsockname(fd, (struct sockaddr *)&here, &here_size) != 0 ||
        getpeername(fd, (struct sockaddr *)&there, &there_size) != 0 || here.ss_family != there.ss_family)
        return false;
    const struct sockaddr_in *a = (const struct sockaddr_in *)&here, *b = (const struct sockaddr_in *)&there;
    const struct sockaddr_in6 *c = (const struct sockaddr_in6 *)&here, *d = (const struct sockaddr_in6 *)&there;
    return here.ss_family == AF_INET    ? memcmp(&a->sin_addr, &b->sin_addr, sizeof a->sin_addr) == 0
           : here.ss_family == AF_INET6 ? memcmp(&c->sin6_addr, &d->sin6_addr, sizeof c->sin6_addr) == 0
                                        : false;
}

void rpc_loopback_tune(int fd)
{
    static const char control[] = "reno"; /* every kernel has it */
    if (rpc_is_loopback(fd))
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, sizeof control - 1);
}
