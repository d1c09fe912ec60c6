#include "sync/index.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define ROW_BYTES_MIN (sizeof "a,1,0 \n" - 1)

/* ---- paths ---- */

static enum err check_part(struct slice part, struct err_text *why)
{
    if (part.size == 0)
        return err_explain(why, ERR_INVAL, "a part of the path is empty");
    if (part.size > LIMIT_NAME_BYTES)
        return err_explain(why, ERR_INVAL, "a part of the path is longer than %u bytes", LIMIT_NAME_BYTES);
    if (slice_equal(part, slice_str(".")) || slice_equal(part, slice_str("..")))
        return err_explain(why, ERR_INVAL, "a part of the path is . or ..");
    return ERR_OK;
}

enum err sync_path_check(struct slice path, struct err_text *why)
{
    if (path.size > SYNC_PATH_BYTES)
        return err_explain(why, ERR_INVAL, "the path is longer than %u bytes", SYNC_PATH_BYTES);
    for (size_t i = 0; i < path.size; i++)
        if (path.data[i] == ',' || path.data[i] == '\n' || path.data[i] == '\r' || path.data[i] == 0)
            return err_explain(why, ERR_INVAL, "a name with a %s can't be in " SYNC_INDEX_NAME,
                               path.data[i] == ',' ? "comma"
                               : path.data[i] == 0 ? "NUL"
                                                   : "line break");
    if (slice_equal(path, slice_str(SYNC_INDEX_NAME)))
        return err_explain(why, ERR_INVAL, "this is the name of the index");
    size_t from = 0;
    for (size_t i = 0; i <= path.size; i++) {
        if (i < path.size && path.data[i] != '/')
            continue;
        TRY(check_part(slice_sub(path, from, i - from), why));
        from = i + 1;
    }
    return ERR_OK;
}

/* ---- reading ---- */

/* Cuts off what is before the next `end`. False: there is none. */
static bool cut(struct slice *rest, char end, struct slice *ret)
{
    const uint8_t *at = rest->size > 0 ? memchr(rest->data, end, rest->size) : NULL;
    if (!at)
        return false;
    size_t size = (size_t)(at - rest->data);
    *ret = slice_sub(*rest, 0, size);
    *rest = slice_sub(*rest, size + 1, rest->size - size - 1);
    return true;
}

static bool read_version(struct slice text, uint64_t *ret)
{
    uint64_t value = 0;
    if (text.size == 0 || text.size > 19 || text.data[0] == '0')
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = 10 * value + (text.data[i] - '0');
    }
    if (value > INT64_MAX)
        return false;
    *ret = value;
    return true;
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hash(struct slice text, struct sha256 *ret)
{
    if (text.size != 2 * SHA256_SIZE)
        return false;
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        int high = hex_digit(text.data[2 * i]), low = hex_digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret->bytes[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

static enum err read_hashes(struct slice text, struct arena *arena, struct sync_row *row, struct err_text *why)
{
    const size_t each = 2 * SHA256_SIZE + 1;
    struct slice hash;
    if (slice_equal(text, slice_str("-1 ")))
        return ERR_OK;
    row->deleted = slice_equal(text, slice_str("0 "));
    if (row->deleted)
        return ERR_OK;
    if (text.size == 0 || text.size % each != 0)
        return err_explain(why, ERR_CORRUPT, "it is not hashes with a space behind each, -1 or 0");
    if (text.size / each > SYNC_FILE_BLOCKS)
        return err_explain(why, ERR_CORRUPT, "there are more than %u hashes", SYNC_FILE_BLOCKS);
    row->hashes = arena_alloc(arena, text.size / each * sizeof *row->hashes);
    while (cut(&text, ' ', &hash))
        if (!read_hash(hash, &row->hashes[row->hash_count++]))
            return err_explain(why, ERR_CORRUPT, "hash %u is not 64 digits of hex", row->hash_count);
    return text.size == 0 ? ERR_OK : err_explain(why, ERR_CORRUPT, "something is behind the last hash");
}

static bool is_directory(struct slice path)
{
    return path.size > 1 && path.data[path.size - 1] == '/';
}

static enum err read_row(struct slice line, struct arena *arena, struct sync_row *ret, struct err_text *why)
{
    struct sync_row row = {0};
    struct slice path, version, checked;
    struct err_text reason;
    if (!cut(&line, ',', &path) || !cut(&line, ',', &version))
        return err_explain(why, ERR_CORRUPT, "it is not path,version,hashes");
    bool directory = is_directory(path);
    checked = slice_sub(path, 0, path.size - directory);
    if (sync_path_check(checked, &reason) != ERR_OK)
        return err_explain(why, ERR_CORRUPT, "%s", reason.text);
    if (!read_version(version, &row.version))
        return err_explain(why, ERR_CORRUPT, "the version is not a number from 1");
    TRY(read_hashes(line, arena, &row, why));
    if (directory && (row.version != 1 || row.deleted || row.hash_count > 0))
        return err_explain(why, ERR_CORRUPT, "a directory has version 1 and -1");
    row.path = arena_slice(arena, path);
    *ret = row;
    return ERR_OK;
}

static int by_path(const void *a, const void *b)
{
    return slice_compare(((const struct sync_row *)a)->path, ((const struct sync_row *)b)->path);
}

/* The rows of directories are taken out of the others. */
static void split_directories(struct sync_index *index, struct arena *arena)
{
    size_t files = 0;
    index->directories = arena_alloc(arena, (index->count + 1) * sizeof *index->directories);
    for (size_t i = 0; i < index->count; i++) {
        struct slice path = index->rows[i].path;
        if (is_directory(path))
            index->directories[index->directory_count++] = slice_sub(path, 0, path.size - 1);
        else
            index->rows[files++] = index->rows[i];
    }
    index->count = files;
}

enum err sync_index_parse(struct slice text, struct arena *arena, struct sync_index *ret, struct err_text *why)
{
    struct sync_index index = {0};
    struct slice rest = text, line;
    struct err_text reason;
    size_t lines = 0;
    for (size_t i = 0; i < text.size; i++)
        lines += text.data[i] == '\n';
    lines = MIN(lines, text.size / ROW_BYTES_MIN); /* more would fail before there were so many rows */
    index.rows = arena_alloc(arena, (lines + 1) * sizeof *index.rows);
    while (cut(&rest, '\n', &line)) {
        if (read_row(line, arena, &index.rows[index.count], &reason) != ERR_OK)
            return err_explain(why, ERR_CORRUPT, SYNC_INDEX_NAME ":%zu: %s", index.count + 1, reason.text);
        index.count++;
    }
    if (rest.size > 0)
        return err_explain(why, ERR_CORRUPT, SYNC_INDEX_NAME ":%zu: the line does not end", index.count + 1);
    if (index.count > 1)
        qsort(index.rows, index.count, sizeof *index.rows, by_path);
    for (size_t i = 1; i < index.count; i++)
        if (by_path(&index.rows[i - 1], &index.rows[i]) == 0)
            return err_explain(why, ERR_CORRUPT, SYNC_INDEX_NAME ": two lines are of %.*s",
                               (int)MIN(index.rows[i].path.size, (size_t)150), (const char *)index.rows[i].path.data);
    split_directories(&index, arena);
    *ret = index;
    return ERR_OK;
}

/* ---- writing and looking ---- */

void sync_index_format(const struct sync_row *rows, size_t count, struct bytes *to)
{
    for (const struct sync_row *row = rows; row < rows + count; row++) {
        char text[80];
        bytes_append(to, row->path);
        bytes_append(to, SLICE(text, (size_t)snprintf(text, sizeof text, ",%" PRIu64 ",", row->version)));
        if (row->deleted || row->hash_count == 0)
            bytes_append(to, slice_str(row->deleted ? "0 " : "-1 "));
        for (unsigned i = 0; !row->deleted && i < row->hash_count; i++) {
            sha256_hex(&row->hashes[i], text);
            text[2 * SHA256_SIZE] = ' ';
            bytes_append(to, SLICE(text, 2 * SHA256_SIZE + 1));
        }
        bytes_u8(to, '\n');
    }
}

const struct sync_row *sync_index_find(const struct sync_index *index, struct slice path)
{
    struct sync_row key = {.path = path};
    return index->count > 0 ? bsearch(&key, index->rows, index->count, sizeof *index->rows, by_path) : NULL;
}

bool sync_hashes_equal(const struct sha256 *a, unsigned a_count, const struct sha256 *b, unsigned b_count)
{
    return a_count == b_count && (a_count == 0 || memcmp(a, b, a_count * sizeof *a) == 0);
}
