#include "base/rocks.h"

#include <string.h>

#define LOG_MODULE "rocksdb"
#include "base/log.h"

enum err rocks_result(char *message, const char *what, struct err_text *why)
{
    if (!message)
        return ERR_OK;
    enum err e = ERR_IO;
    if (strstr(message, "Corruption") || strstr(message, "corrupt") || strstr(message, "checksum"))
        e = ERR_CORRUPT;
    else if (strstr(message, "lock file") || strstr(message, "lock hold"))
        e = ERR_LOCKED;
    else if (strstr(message, "No space left") || strstr(message, "NoSpace"))
        e = ERR_NOSPC;
    log_error("%s: %s", what, message);
    e = err_explain(why, e, "%s: %s", what, message);
    rocksdb_free(message);
    return e;
}
