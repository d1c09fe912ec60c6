/* state_files.c: the tree as one node has it in its own applied state (surfctl state N --files), page by page. */
#include "admin/state_files.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proto/wire_files.h"

#define BUSY_WAIT_NS (50 * NS_PER_MS)
#define BLOCK_DIGITS 12 /* of the first block's id, in the table */

static const char *type_name(uint32_t mode)
{
    return S_ISREG(mode)    ? "file"
           : S_ISDIR(mode)  ? "directory"
           : S_ISLNK(mode)  ? "symlink"
           : S_ISFIFO(mode) ? "fifo"
           : S_ISSOCK(mode) ? "socket"
                            : "device";
}

static char type_letter(uint32_t mode)
{
    return S_ISREG(mode)    ? '-'
           : S_ISDIR(mode)  ? 'd'
           : S_ISLNK(mode)  ? 'l'
           : S_ISFIFO(mode) ? 'p'
           : S_ISSOCK(mode) ? 's'
                            : 'c';
}

static json_t *file_json(const struct meta_file *f)
{
    char mode[16];
    snprintf(mode, sizeof mode, "%04o", f->mode & 07777);
    json_t *o =
        json_pack("{s:o, s:s, s:I, s:s, s:I, s:I}", "path", json_slice(f->path), "type", type_name(f->mode), "inode",
                  (json_int_t)f->ino, "mode", mode, "size", (json_int_t)f->size, "version", (json_int_t)f->version);
    if (!S_ISREG(f->mode))
        return o;
    json_t *blocks = json_array();
    for (unsigned i = 0; i < f->block_count; i++)
        json_array_append_new(blocks, json_hex(SLICE(f->blocks[i].bytes, SHA256_SIZE)));
    json_object_set_new(o, "extents", json_integer((json_int_t)f->extent_count));
    json_object_set_new(o, "extents_more", json_boolean(f->extents_more));
    json_object_set_new(o, "blocks", blocks);
    return o;
}

static void print_file(struct admin *a, const struct meta_file *f)
{
    char block[65] = "", extents[24] = "";
    if (f->block_count > 0)
        sha256_hex(&f->blocks[0], block);
    if (S_ISREG(f->mode))
        snprintf(extents, sizeof extents, "%" PRIu64 "%s", f->extent_count, f->extents_more ? "+" : "");
    printf("%c%04o %10" PRIu64 " %12" PRIu64 " %8s  %-*.*s%s %s\n", type_letter(f->mode), f->mode & 07777, f->version,
           f->size, extents, BLOCK_DIGITS, BLOCK_DIGITS, block, f->extent_count > 1 ? "+" : " ",
           admin_text(a, f->path));
}

/* ---- where a page ends: any bytes, as text for a command line ---- */

static bool is_plain(uint8_t c)
{
    return c > 0x20 && c < 0x7f && c != '%' && c != '\'' && c != '"' && c != '\\';
}

static const char *place_text(struct admin *a, struct slice place)
{
    char *text = arena_alloc(&a->arena, place.size * 3 + 1), *to = text;
    for (size_t i = 0; i < place.size; i++)
        to += is_plain(place.data[i]) ? sprintf(to, "%c", place.data[i]) : sprintf(to, "%%%02X", place.data[i]);
    *to = 0;
    return text;
}

static bool place_parse(const char *text, struct bytes *ret)
{
    for (; *text; text++) {
        uint8_t c = (uint8_t)*text;
        if (c == '%') {
            char digits[3] = {text[1], text[1] ? text[2] : 0, 0}, *end;
            c = (uint8_t)strtoul(digits, &end, 16);
            if (end != digits + 2 || !isxdigit((unsigned char)digits[0]))
                return false;
            text += 2;
        }
        bytes_append(ret, SLICE(&c, 1));
    }
    return ret->size <= META_FILES_PLACE_BYTES;
}

/* ---- pages ---- */

struct pages {
    struct admin *admin;
    struct rpc_channel *channel;
    struct arena arena; /* of one page */
    struct bytes place; /* where the last one ended */
    uint64_t left;      /* how many are wanted yet */
    uint64_t index, last_index, left_out;
    json_t *list; /* NULL: a table */
    bool begun;   /* the table has its heading, which an error at first is to be without */
};

/* A node whose state is being looked at by many, or is about to be replaced, is asked again for a while. */
static enum err ask_page(struct pages *p, const struct meta_files_query *q, struct meta_files *ret,
                         struct err_text *why)
{
    int64_t deadline_ns = clock_boot_ns() + p->admin->timeout_ns;
    struct admin one = *p->admin;
    struct slice answer;
    enum err e;
    one.arena = (struct arena){0};
    while ((e = admin_call(&one, p->channel, METHOD_ADMIN_FILES, wire_files_query_encode(q, &one.arena),
                           p->admin->timeout_ns, &answer, why)) == ERR_BUSY_NOW &&
           clock_boot_ns() < deadline_ns)
        nanosleep(&(struct timespec){.tv_nsec = BUSY_WAIT_NS}, NULL);
    arena_reset(&p->arena);
    if (e == ERR_OK)
        e = wire_files_decode(arena_slice(&p->arena, answer), &p->arena, ret, why);
    arena_free(&one.arena);
    return e;
}

static void take_page(struct pages *p, const struct meta_files *page)
{
    if (!p->list && !p->begun)
        printf("mode     version         size  extents  first block    path\n");
    p->begun = true;
    for (unsigned i = 0; i < page->count; i++) {
        if (p->list)
            json_array_append_new(p->list, file_json(&page->files[i]));
        else
            print_file(p->admin, &page->files[i]);
    }
    p->left -= MIN(p->left, page->count);
    p->left_out += page->left_out;
    p->index = p->index ? p->index : page->index;
    p->last_index = page->index;
    p->place.size = 0;
    bytes_append(&p->place, page->next);
}

static enum err take_pages(struct pages *p, const char *path, struct err_text *why)
{
    do {
        struct meta_files_query query = {.path = slice_str(path),
                                         .after = bytes_slice(&p->place),
                                         .max = (unsigned)MIN(p->left, META_FILES_MAX),
                                         .blocks_max = p->list ? META_FILE_BLOCKS_MAX : 1};
        struct meta_files page;
        TRY(ask_page(p, &query, &page, why));
        take_page(p, &page);
    } while (p->place.size > 0 && p->left > 0);
    return ERR_OK;
}

static void tell_end(struct pages *p, json_t *to)
{
    const char *next = p->place.size > 0 ? place_text(p->admin, bytes_slice(&p->place)) : NULL;
    if (to) {
        json_object_set(to, "files", p->list);
        json_object_set_new(to, "files_index", json_integer((json_int_t)p->index));
        json_object_set_new(to, "files_last_index", json_integer((json_int_t)p->last_index));
        json_object_set_new(to, "files_left_out", json_integer((json_int_t)p->left_out));
        json_object_set_new(to, "files_next", next ? json_string(next) : json_null());
        return;
    }
    printf("as of entry %" PRIu64, p->index);
    if (p->last_index != p->index)
        printf(", which became %" PRIu64 " meanwhile", p->last_index);
    if (p->left_out > 0)
        printf("; %" PRIu64 " paths are too long to be told", p->left_out);
    printf(next ? "; more with --after '%s'\n" : "\n", next);
}

enum err state_files_tell(struct admin *a, const char *address, const struct state_files *wanted, json_t *to,
                          struct err_text *why)
{
    struct pages p = {.admin = a, .left = wanted->limit};
    enum err e = ERR_OK;
    if (strlen(wanted->path) > META_FILE_PATH_BYTES || !place_parse(wanted->after, &p.place))
        e = err_explain(why, ERR_INVAL, "%.80s: not where a page ended, or too long", wanted->after);
    if (e == ERR_OK && !(p.channel = admin_channel(a, address, a->timeout_ns, why)))
        e = ERR_INVAL;
    if (e == ERR_OK && to)
        p.list = json_array();
    if (e == ERR_OK)
        e = take_pages(&p, wanted->path, why);
    if (e == ERR_OK)
        tell_end(&p, to);
    json_decref(p.list);
    rpc_channel_free(p.channel);
    bytes_free(&p.place);
    arena_free(&p.arena);
    return e;
}
