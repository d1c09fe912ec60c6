/* contents.c: registers and lists: the files f0, f1, ... A register is the file's owner; a list is what its lines say.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "tests/tools/lin_client/lin_client.h"

#define TAG_LINE 12u /* bytes: a tag in decimal, filled with blanks, and the end of line */
#define LIST_BYTES_MAX (1u << 20)

static const struct surf_caller root;
static const enum err no_error[] = {ERR_OK};

void client_operate_register(struct client *c)
{
    unsigned object = (unsigned)prng_below(&c->prng, c->objects);
    char what[64], more[32] = "";
    struct meta_attr attr;
    enum err e;
    if (client_looks(c)) {
        snprintf(what, sizeof what, "read f%u", object);
        client_note_call(c, what);
        e = surf_getattr(c->surf, &root, c->inos[object], &attr);
        if (e == ERR_OK)
            snprintf(more, sizeof more, "%" PRIu32, attr.uid);
    } else {
        struct surf_setattr set = {.mask = META_SET_UID, .uid = client_tag(c)};
        snprintf(what, sizeof what, "write f%u %" PRIu32, object, set.uid);
        client_note_call(c, what);
        e = surf_setattr(c->surf, &root, c->inos[object], &set, &attr);
    }
    client_note_answer(c, what, e, no_error, more);
}

static enum err append(struct client *c, uint64_t ino, uint32_t tag)
{
    char line[TAG_LINE + 1];
    struct open_file *file;
    bool keep;
    snprintf(line, sizeof line, "%-11" PRIu32 "\n", tag);
    TRY(surf_open(c->surf, &root, ino, O_WRONLY | O_APPEND, &file, &keep));
    enum err e = file_write(file, 0, line, TAG_LINE, NULL);
    if (e == ERR_OK)
        e = file_fsync(file, NULL);
    file_close(file);
    return e;
}

/* The whole file as tags with a blank between them. A line that is none is a finding, and becomes the tag -1. */
static enum err list(struct client *c, uint64_t ino, struct bytes *ret)
{
    _cleanup_free_ char *content = mem_alloc(LIST_BYTES_MAX);
    struct open_file *file;
    bool keep;
    size_t size = 0, piece = 1;
    enum err e = surf_open(c->surf, &root, ino, O_RDONLY, &file, &keep);
    if (e != ERR_OK)
        return e;
    for (; e == ERR_OK && piece > 0 && size < LIST_BYTES_MAX; size += piece)
        e = file_read(file, size, content + size, LIST_BYTES_MAX - size, NULL, &piece);
    file_close(file);
    if (e != ERR_OK)
        return e;
    for (size_t at = 0; at < size; at += TAG_LINE) {
        char word[TAG_LINE + 1] = "";
        uint32_t tag;
        memcpy(word, content + at, MIN(TAG_LINE, size - at));
        if (sscanf(word, "%" SCNu32, &tag) != 1 || word[TAG_LINE - 1] != '\n')
            snprintf(word, sizeof word, "-1");
        word[strcspn(word, " \n")] = '\0';
        bytes_append(ret, slice_str(word));
        bytes_append(ret, slice_str(" "));
    }
    return ERR_OK;
}

void client_operate_list(struct client *c)
{
    unsigned object = (unsigned)prng_below(&c->prng, c->objects);
    char what[64];
    if (!client_looks(c)) {
        uint32_t tag = client_tag(c);
        snprintf(what, sizeof what, "append f%u %" PRIu32, object, tag);
        client_note_call(c, what);
        client_note_answer(c, what, append(c, c->inos[object], tag), no_error, "");
    } else {
        _cleanup_(bytes_free) struct bytes tags = {0};
        snprintf(what, sizeof what, "list f%u", object);
        client_note_call(c, what);
        enum err e = list(c, c->inos[object], &tags);
        bytes_append(&tags, SLICE("", 1));
        client_note_answer(c, what, e, no_error, (const char *)tags.data);
    }
}
