/* sink.h: a snapshot being received, piece by piece in any order of requests; goes on where it stopped after a lost
 * connection, and after a restart. Nothing outside its directory is written, whatever the sender says. One thread
 * at a time; while one is in snapshot_sink_finish, others may ask for the manifest and for nothing else.
 *
 *   DIR/manifest    the manifest that it is of, as it came (a small file)
 *   DIR/files/NAME  as far as they are there; a piece is written at the end of its file only
 *
 * What the disk lost of it in a power cut, or a sender got wrong, is found by snapshot_sink_finish, which checks every
 * file against the manifest. */
#pragma once

#include "snapshot/source.h"

struct snapshot_sink;
/* Goes on with what DIR holds when it is of the very same manifest, else begins anew. */
enum err snapshot_sink_open(const char *path, struct slice manifest, struct snapshot_sink **ret,
                            struct err_text *why) MUST_USE;
void snapshot_sink_close(struct snapshot_sink *s); /* keeps the files */
const struct snapshot_manifest *snapshot_sink_manifest(const struct snapshot_sink *s);
/* What is to be asked for next; false: all is there. */
bool snapshot_sink_next(const struct snapshot_sink *s, unsigned *ret_file, uint64_t *ret_offset);
/* A piece. One that is not what snapshot_sink_next says (a late or repeated answer) is ignored: ERR_OK. ERR_INVAL:
 * longer than the file. */
enum err snapshot_sink_write(struct snapshot_sink *s, unsigned file, uint64_t offset, struct slice data) MUST_USE;
uint64_t snapshot_sink_bytes(const struct snapshot_sink *s); /* that are there */
/* All is there: compares checksums and syncs everything (slow: for a worker thread). ERR_CORRUPT: what did not match
 * has been removed and is asked for again. On ERR_OK the files are in *ret_path (DIR/files), complete and durable. */
enum err snapshot_sink_finish(struct snapshot_sink *s, const char **ret_path, struct err_text *why) MUST_USE;
