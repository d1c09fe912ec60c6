/* rocks.h: the little that every user of RocksDB's C API shares. */
#pragma once

#include <rocksdb/c.h>

#include "base/err.h"

/* Takes (frees) a message that the C API returned. NULL is ERR_OK. A message of corruption gives ERR_CORRUPT, of a held
 * lock ERR_LOCKED, of a full disk ERR_NOSPC, the rest ERR_IO; `what` and the message go to why and to the log. */
enum err rocks_result(char *message, const char *what, struct err_text *why) MUST_USE;
