#include "cluster_nodes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

void cluster_nodes_init(struct cluster_nodes *c, const char *surfd, const char *dir, unsigned count)
{
    *c = (struct cluster_nodes){.count = count};
    snprintf(c->surfd, sizeof c->surfd, "%s", surfd);
    snprintf(c->dir, sizeof c->dir, "%s", dir);
    int sockets[LIMIT_NODES + 1];
    size_t at = 0;
    for (unsigned id = 1; id <= count; id++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof a;
        sockets[id] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(bind(sockets[id], (struct sockaddr *)&a, size) == 0);
        CHECK(getsockname(sockets[id], (struct sockaddr *)&a, &size) == 0);
        c->nodes[id].port = ntohs(a.sin_port);
        at += (size_t)snprintf(c->peers + at, sizeof c->peers - at, "%s%u=127.0.0.1:%u", id > 1 ? "," : "", id,
                               c->nodes[id].port);
    }
    for (unsigned id = 1; id <= count; id++)
        close(sockets[id]);
}

void cluster_node_start(struct cluster_nodes *c, unsigned id)
{
    const char *arguments[12] = {"--peers", c->peers};
    for (unsigned i = 0; c->extra[i]; i++)
        arguments[2 + i] = c->extra[i];
    cluster_node_start_as(c, id, arguments);
}

void cluster_node_start_as(struct cluster_nodes *c, unsigned id, const char *const *more)
{
    char data[600], log[600], id_text[16], port[16];
    snprintf(data, sizeof data, "%s/data%u", c->dir, id);
    snprintf(log, sizeof log, "%s/node%u.log", c->dir, id);
    snprintf(id_text, sizeof id_text, "%u", id);
    snprintf(port, sizeof port, "%u", c->nodes[id].port);
    const char *arguments[24] = {c->surfd, "-l", "-p", port, "--id", id_text, "--data", data};
    for (unsigned i = 0; more[i]; i++)
        arguments[8 + i] = more[i];
    CHECK(c->nodes[id].pid == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies leaves nothing running */
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
        dup2(fd, STDERR_FILENO);
        execv(c->surfd, (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    c->nodes[id].pid = pid;
}

int cluster_node_end(struct cluster_nodes *c, unsigned id, int signal)
{
    int status;
    CHECK(c->nodes[id].pid > 0 && kill(c->nodes[id].pid, signal) == 0);
    CHECK(waitpid(c->nodes[id].pid, &status, 0) == c->nodes[id].pid);
    c->nodes[id].pid = 0;
    return status;
}

void cluster_node_usage(const struct cluster_nodes *c, unsigned id, int64_t *ret_cpu_ns, uint64_t *ret_rss)
{
    char name[64];
    unsigned long user = 0, system = 0, pages = 0;
    snprintf(name, sizeof name, "/proc/%d/stat", (int)c->nodes[id].pid);
    FILE *f = fopen(name, "r");
    CHECK(f && fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2);
    fclose(f);
    snprintf(name, sizeof name, "/proc/%d/statm", (int)c->nodes[id].pid);
    f = fopen(name, "r");
    CHECK(f && fscanf(f, "%*u %lu", &pages) == 1);
    fclose(f);
    *ret_cpu_ns = (int64_t)(user + system) * (NS_PER_S / sysconf(_SC_CLK_TCK));
    *ret_rss = pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
