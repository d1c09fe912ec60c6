/* rocks.h: the little that every user of RocksDB's C API shares. */
#pragma once

#include <rocksdb/c.h>

#include "base/err.h"

/* rocksdb::crc32c::Extend, for the whole program: RocksDB calls it through its table of symbols, and finds this one.
 * Debian builds RocksDB for processors without instructions for CRC32C, with a checksum that takes longer than SHA-256
 * of the same bytes. Where RocksDB has no such function any more, nobody calls this. */
uint32_t rocks_crc32c_extend(uint32_t crc, const char *data, size_t size) __asm__("_ZN7rocksdb6crc32c6ExtendEjPKcm");

/* Takes (frees) a message that the C API returned. NULL is ERR_OK. A message of corruption gives ERR_CORRUPT, of a held
 * lock ERR_LOCKED, of a full disk ERR_NOSPC, the rest ERR_IO; `what` and the message go to why and to the log. */
enum err rocks_result(char *message, const char *what, struct err_text *why) MUST_USE;
