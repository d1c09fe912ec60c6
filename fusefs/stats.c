#include "fusefs/stats.h"

#include <inttypes.h>

#include "fusefs/mount.h"

#define LOG_MODULE "stats"
#include "base/log.h"

void stats_log(struct mount *m)
{
    struct surf_stats s;
    surf_stats(m->surf, &s);
    log_info("requests=%llu calls=%" PRIu64 " blocks=%" PRIu64 " hits=%" PRIu64 " misses=%" PRIu64 " notices=%" PRIu64
             " ahead=%" PRIu64 " ahead_used=%" PRIu64 " inodes=%zu names=%zu cache_bytes=%" PRIu64
             " dirty_bytes=%" PRIu64 " merged_parts=%" PRIu64 " merged_extents=%" PRIu64 " overtaken=%" PRIu64
             " disk_hits=%" PRIu64 " disk_misses=%" PRIu64 " disk_written=%" PRIu64 " disk_dropped=%" PRIu64
             " disk_bad=%" PRIu64 " disk_evicted=%" PRIu64 " disk_off=%d",
             (unsigned long long)atomic_load(&m->requests_read), s.calls, s.files.cache_misses - s.files.disk.hits,
             s.known.hits, s.known.misses, s.known.notices, s.known.ahead, s.known.ahead_used, s.known.inodes,
             s.known.names, s.files.cache_bytes, s.files.dirty_bytes, s.files.upkeep.parts, s.files.upkeep.extents,
             s.files.upkeep.overtaken, s.files.disk.hits, s.files.disk.misses, s.files.disk.written,
             s.files.disk.dropped, s.files.disk.bad, s.files.disk.evicted, s.files.disk.is_off);
}
