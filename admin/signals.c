/* signals.c: how commands that go on until they are ended are ended. */
#include <signal.h>
#include <unistd.h>

#include "admin/admin.h"

void admin_block_ends(sigset_t *ret_ends)
{
    sigemptyset(ret_ends);
    sigaddset(ret_ends, SIGINT);
    sigaddset(ret_ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, ret_ends, NULL);
}

static void on_end(int number)
{
    (void)number;
    _exit(EXIT_DONE);
}

void admin_end_when_unblocked(sigset_t *ret_ends)
{
    struct sigaction end = {.sa_handler = on_end};
    admin_block_ends(ret_ends);
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
}
