#include "client/meta/marks.h"

#include "base/mem.h"

#define MARKS_MAX 65536u /* inodes */

void marks_put(struct marks *m, uint64_t ino, uint64_t number)
{
    if (number == 0)
        return;
    m->newest = MAX(m->newest, number);
    if (m->map.count >= MARKS_MAX) {
        map_u64_free(&m->map);
        m->floor = m->newest;
    }
    if ((uintptr_t)map_u64_get(&m->map, ino) < number)
        map_u64_put(&m->map, ino, (void *)(uintptr_t)number);
}

bool marks_above(const struct marks *m, uint64_t ino, uint64_t number)
{
    return m->newest > number && (m->floor > number || (uintptr_t)map_u64_get(&m->map, ino) > number);
}

void marks_clear(struct marks *m)
{
    map_u64_free(&m->map);
    *m = (struct marks){.floor = 0};
}
