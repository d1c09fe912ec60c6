#include "blockstore/direct.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#define PROBE_BYTES 4096u

bool direct_is_possible(const char *path)
{
    _cleanup_free_ char *copy = mem_strdup(path);
    const char *directory = access(path, F_OK) == 0 ? path : dirname(copy);
    int fd = open(directory, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    void *page = NULL;
    bool possible = posix_memalign(&page, PROBE_BYTES, PROBE_BYTES) == 0;
    if (possible) {
        *(unsigned char *)page = 1;
        possible = pwrite(fd, page, PROBE_BYTES, 0) == (ssize_t)PROBE_BYTES;
    }
    free(page);
    close(fd);
    return possible;
}
