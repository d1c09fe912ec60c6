#include "fusefs/caller.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* /proc/PID/stat, proc(5): numbers of fields, and the kernel's PF_EXITING. */
#define FIELD_STATE 3u
#define FIELD_FLAGS 9u
#define FIELD_EXIT_CODE 52u
#define FLAG_EXITING 0x4ul

/* Empty: not known. */
static void read_proc(pid_t thread, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)thread, name);
    int fd = thread > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = fd >= 0 ? read(fd, text, size - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
}

bool caller_unmounts(pid_t thread)
{
    char text[64];
    read_proc(thread, "comm", text, sizeof text);
    return strcmp(text, "umount\n") == 0;
}

enum caller_state caller_state(pid_t thread)
{
    char text[1024];
    read_proc(thread, "stat", text, sizeof text);
    /* The name may hold anything, also blanks and parentheses. */
    char *rest = strrchr(text, ')');
    if (!rest)
        return CALLER_RUNS;
    unsigned long flags = 0, exit_code = 0;
    unsigned field = FIELD_STATE - 1;
    for (char *at = rest + 1, *item; (item = strtok_r(at, " \n", &rest)); at = NULL) {
        field++;
        if (field == FIELD_FLAGS)
            flags = strtoul(item, NULL, 10);
        else if (field == FIELD_EXIT_CODE)
            exit_code = strtoul(item, NULL, 10);
    }
    if (!(flags & FLAG_EXITING))
        return CALLER_RUNS;
    return (exit_code & 0x7f) != 0 ? CALLER_KILLED : CALLER_EXITS;
}
