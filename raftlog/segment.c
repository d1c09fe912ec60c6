#include "raftlog/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void segment_name(uint64_t number, char name[FILE_TABLE_NAME_BYTES])
{
    snprintf(name, FILE_TABLE_NAME_BYTES, "segment-%016" PRIx64, number);
}

bool segment_number(const char *name, uint64_t *ret)
{
    static const char prefix[] = "segment-";
    size_t at = sizeof prefix - 1;
    if (strncmp(name, prefix, at) != 0 || strlen(name) != at + 16)
        return false;
    uint64_t number = 0;
    for (; name[at]; at++) {
        char c = name[at];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        number = number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret = number;
    return number > 0;
}

struct segment *segment_new(const struct file_table *files, struct file_table_file *file, uint64_t file_bytes,
                            uint64_t number, uint64_t first_index, uint64_t before_term)
{
    struct segment *s = MEM_NEW(struct segment);
    *s = (struct segment){.references = 1,
                          .files = files,
                          .file = file,
                          .number = number,
                          .first_index = first_index,
                          .before_term = before_term,
                          .file_bytes = file_bytes,
                          .end = SEGMENT_HEADER_BYTES};
    return s;
}

void segment_free(struct segment *s)
{
    if (!s)
        return;
    s->files->close(s->files->context, s->file);
    free(s->offsets);
    free(s);
}

void segment_push(struct segment *s, size_t bytes)
{
    if (s->count == s->room) {
        s->room = MAX(s->room * 2, 64u);
        s->offsets = mem_realloc(s->offsets, s->room * sizeof *s->offsets);
    }
    s->offsets[s->count++] = s->end;
    CHECK(bytes <= s->file_bytes - s->end);
    s->end += (uint32_t)bytes;
}

void segment_cut(struct segment *s, unsigned count)
{
    CHECK(count <= s->count);
    if (count < s->count)
        s->end = s->offsets[count];
    s->count = count;
}

uint64_t segment_last_index(const struct segment *s)
{
    return s->first_index + s->count - 1;
}
