#include "base/rocks.h"

#include <isa-l/crc.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#define LOG_MODULE "rocksdb"
#include "base/log.h"
#include "base/mem.h"

/* What kind of error it is stands at the beginning; behind it there may be paths, with any words in them. */
static bool begins_with(const char *message, const char *words)
{
    return strncmp(message, words, strlen(words)) == 0;
}

enum err rocks_result(char *message, const char *what, struct err_text *why)
{
    if (!message)
        return ERR_OK;
    enum err e = ERR_IO;
    if (begins_with(message, "Corruption"))
        e = ERR_CORRUPT;
    else if (begins_with(message, "IO error: While lock file") || begins_with(message, "IO error: lock hold"))
        e = ERR_LOCKED;
    else if (strstr(message, "No space left on device"))
        e = ERR_NOSPC;
    log_error("%s: %s", what, message);
    e = err_explain(why, e, "%s: %s", what, message);
    rocksdb_free(message);
    return e;
}

uint32_t rocks_crc32c_extend(uint32_t crc, const char *data, size_t size)
{
    crc = ~crc;
    while (size > 0) {
        int part = (int)MIN(size, (size_t)INT_MAX);
        crc = crc32_iscsi((unsigned char *)(uintptr_t)data, part, crc);
        data += part;
        size -= (size_t)part;
    }
    return ~crc;
}
