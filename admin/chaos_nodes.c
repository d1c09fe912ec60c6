/* chaos_nodes.c: a cluster of our own, that may be killed and stopped. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/chaos.h"
#include "base/check.h"
#include "base/mem.h"

/* surfd, where this program is. */
static enum err find_program(char program[256], struct err_text *why)
{
    ssize_t size = readlink("/proc/self/exe", program, 256 - sizeof "surfd");
    if (size <= 0)
        return err_explain(why, ERR_IO, "/proc/self/exe: %s", strerror(errno));
    program[size] = 0;
    char *slash = strrchr(program, '/');
    CHECK(slash);
    snprintf(slash + 1, 256 - (size_t)(slash + 1 - program), "surfd");
    if (access(program, X_OK) != 0)
        return err_explain(why, ERR_NOT_FOUND, "%s: %s", program, strerror(errno));
    return ERR_OK;
}

/* Free ports of the loopback; all are held until the last is found, so that they differ. */
static enum err find_ports(uint16_t *ports, unsigned count, struct err_text *why)
{
    int sockets[LIMIT_NODES];
    unsigned made = 0;
    enum err e = ERR_OK;
    for (; made < count && e == ERR_OK; made++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        sockets[made] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (sockets[made] < 0 || bind(sockets[made], (struct sockaddr *)&address, size) != 0 ||
            getsockname(sockets[made], (struct sockaddr *)&address, &size) != 0)
            e = err_explain(why, ERR_IO, "no free port: %s", strerror(errno));
        ports[made] = ntohs(address.sin_port);
    }
    for (unsigned i = 0; i < made; i++)
        if (sockets[i] >= 0)
            close(sockets[i]);
    return e;
}

enum err chaos_nodes_begin(struct chaos_nodes *n, unsigned count, const char *parent, struct err_text *why)
{
    uint16_t ports[LIMIT_NODES];
    CHECK(count <= LIMIT_NODES);
    *n = (struct chaos_nodes){.count = count};
    TRY(find_program(n->program, why));
    if (strlen(parent) > 200)
        return err_explain(why, ERR_TOO_BIG, "%s: too long", parent);
    snprintf(n->directory, sizeof n->directory, "%s/surf-chaos-XXXXXX", parent);
    if (!mkdtemp(n->directory)) {
        n->directory[0] = 0;
        return err_explain(why, ERR_IO, "%s: %s", parent, strerror(errno));
    }
    TRY(find_ports(ports, count, why));
    for (unsigned i = 0; i < count; i++) {
        char text[32];
        size_t used = strlen(n->peers);
        snprintf(text, sizeof text, "127.0.0.1:%u", ports[i]);
        n->list[i].id = i + 1;
        TRY(rpc_address_parse(text, &n->list[i].address, why));
        snprintf(n->peers + used, sizeof n->peers - used, "%s%u=%s", i ? "," : "", i + 1, text);
    }
    for (unsigned i = 0; i < count; i++)
        TRY(chaos_node_start(n, &n->list[i], why));
    return ERR_OK;
}

void chaos_nodes_add(struct chaos_nodes *n, uint32_t id, const char *address)
{
    struct err_text why;
    if (n->count < LIMIT_NODES && rpc_address_parse(address, &n->list[n->count].address, &why) == ERR_OK)
        n->list[n->count++].id = id;
}

enum err chaos_node_start(struct chaos_nodes *n, struct chaos_node *node, struct err_text *why)
{
    char id[16], data[300], log[300];
    const char *port = strrchr(node->address.text, ':') + 1;
    snprintf(id, sizeof id, "%u", node->id);
    snprintf(data, sizeof data, "%s/data%u", n->directory, node->id);
    snprintf(log, sizeof log, "%s/node%u.log", n->directory, node->id);
    const char *arguments[] = {n->program, "-l", "-p", port, "--id", id, "--data", data, "--peers", n->peers, NULL};
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    enum err e = out < 0 || in < 0 ? err_explain(why, ERR_IO, "%s: %s", log, strerror(errno)) : ERR_OK;
    pid_t parent = getpid();
    pid_t child = e == ERR_OK ? fork() : -1;
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid(); /* the terminal's Ctrl-C is for surfctl */
        dup2(in, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        if (getppid() == parent)
            execv(n->program, (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    if (e == ERR_OK && child < 0)
        e = err_explain(why, ERR_IO, "fork: %s", strerror(errno));
    if (out >= 0)
        close(out);
    if (in >= 0)
        close(in);
    node->pid = child > 0 ? child : 0;
    return e;
}

void chaos_node_signal(const struct chaos_node *node, int number)
{
    if (node->pid > 0)
        kill(node->pid, number);
}

void chaos_node_kill(struct chaos_node *node)
{
    if (node->pid == 0)
        return;
    kill(node->pid, SIGKILL);
    while (waitpid(node->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    node->pid = 0;
}

bool chaos_node_ended(struct chaos_node *node, struct err_text *how)
{
    int status;
    if (node->pid == 0 || waitpid(node->pid, &status, WNOHANG) != node->pid)
        return false;
    if (WIFSIGNALED(status))
        (void)!err_explain(how, ERR_IO, "node %u was ended by signal %d", node->id, WTERMSIG(status));
    else
        (void)!err_explain(how, ERR_IO, "node %u has ended with exit status %d", node->id, WEXITSTATUS(status));
    node->pid = 0;
    return true;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void chaos_nodes_end(struct chaos_nodes *n, bool keep)
{
    for (unsigned i = 0; i < n->count; i++)
        chaos_node_kill(&n->list[i]);
    if (n->directory[0] && !keep)
        nftw(n->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
