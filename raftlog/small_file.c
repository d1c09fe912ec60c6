/* Small files that are replaced as a whole: checksum u64 over what follows, magic u32, size u32, content[size]. */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/plant.h"
#include "raftlog/raftlog.h"

#define SMALL_FILE_MAGIC UINT32_C(0x53667366) /* "Sfsf" */
#define SMALL_FILE_HEADER_BYTES 16u
#define TEMPORARY_SUFFIX ".tmp"

static enum err read_checked(const struct file_table *files, struct file_table_file *file, const char *name,
                             size_t max_size, struct bytes *ret, struct err_text *why)
{
    uint64_t size = 0;
    enum err e = files->size(files->context, file, &size);
    if (e != ERR_OK)
        return err_explain(why, e, "%s: can't get the size: %s", name, err_message(e));
    if (size < SMALL_FILE_HEADER_BYTES || size > SMALL_FILE_HEADER_BYTES + (uint64_t)max_size)
        return err_explain(why, ERR_CORRUPT, "%s: has %" PRIu64 " bytes, expected %u to %zu", name, size,
                           SMALL_FILE_HEADER_BYTES, SMALL_FILE_HEADER_BYTES + max_size);
    _cleanup_(bytes_free) struct bytes whole = {0};
    uint8_t *at = bytes_extend(&whole, (size_t)size);
    e = files->read(files->context, file, 0, at, whole.size);
    if (e != ERR_OK)
        return err_explain(why, e, "%s: can't be read: %s", name, err_message(e));
    if (get_u32be(at + 8) != SMALL_FILE_MAGIC || get_u32be(at + 12) != whole.size - SMALL_FILE_HEADER_BYTES)
        return err_explain(why, ERR_CORRUPT, "%s: offset 8: magic %08x and size %u in a file of %zu bytes", name,
                           get_u32be(at + 8), get_u32be(at + 12), whole.size);
    uint64_t sum = checksum64(SLICE(at + 8, whole.size - 8), 0);
    if (get_u64be(at) != sum)
        return err_explain(why, ERR_CORRUPT, "%s: offset 0: checksum is %016" PRIx64 ", of the content %016" PRIx64,
                           name, get_u64be(at), sum);
    bytes_clear(ret);
    bytes_append(ret, SLICE(at + SMALL_FILE_HEADER_BYTES, whole.size - SMALL_FILE_HEADER_BYTES));
    return ERR_OK;
}

enum err small_file_read(const struct file_table *files, struct file_table_dir *dir, const char *name, size_t max_size,
                         struct bytes *ret, struct err_text *why)
{
    struct file_table_file *file = NULL;
    enum err e = files->open(files->context, dir, name, false, &file);
    if (e != ERR_OK)
        return err_explain(why, e, "%s: can't be opened: %s", name, err_message(e));
    e = read_checked(files, file, name, max_size, ret, why);
    files->close(files->context, file);
    return e;
}

static enum err write_synced(const struct file_table *files, struct file_table_file *file, struct slice content)
{
    TRY(files->truncate(files->context, file, 0));
    TRY(files->write(files->context, file, 0, content.data, content.size));
    return PLANTED(RAFTLOG_HARD_NOT_SYNCED) ? ERR_OK : files->sync(files->context, file);
}

enum err small_file_write(const struct file_table *files, struct file_table_dir *dir, const char *name,
                          struct slice content)
{
    char temporary[FILE_TABLE_NAME_BYTES];
    int length = snprintf(temporary, sizeof temporary, "%s" TEMPORARY_SUFFIX, name);
    CHECK(length > 0 && (size_t)length < sizeof temporary && content.size <= UINT32_MAX);

    _cleanup_(bytes_free) struct bytes whole = {0};
    bytes_u64(&whole, 0);
    bytes_u32(&whole, SMALL_FILE_MAGIC);
    bytes_u32(&whole, (uint32_t)content.size);
    bytes_append(&whole, content);
    put_u64be(whole.data, checksum64(SLICE(whole.data + 8, whole.size - 8), 0));

    struct file_table_file *file = NULL;
    TRY(files->open(files->context, dir, temporary, true, &file));
    enum err e = write_synced(files, file, bytes_slice(&whole));
    files->close(files->context, file);
    TRY(e);
    TRY(files->rename(files->context, dir, temporary, name));
    return PLANTED(RAFTLOG_HARD_NOT_SYNCED) ? ERR_OK : files->sync_dir(files->context, dir);
}
