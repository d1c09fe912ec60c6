/* damage_state.c: surf-damage-state DIRECTORY WHAT: changes a row of a metastore's state that nobody has open, as no
 * command would. For tests of what finds that. WHAT is one of
 *   links   an inode gets a link more than it has names
 *   count   a block is counted once too often
 *   name    a name is lost
 *   owner   an inode belongs to somebody else: the rows still agree with one another */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "meta/store.h"

typedef bool (*change_function)(struct meta *m, struct slice key, struct slice value, struct bytes *ret);

static bool change_inode(struct slice value, bool links, struct bytes *ret)
{
    struct row_inode row;
    if (row_inode_decode(value, &row) != ERR_OK || !S_ISREG(row.attr.mode))
        return false;
    if (links)
        row.attr.nlink++;
    else
        row.attr.uid++;
    row_inode_encode(&row, ret);
    return true;
}

static bool add_link(struct meta *m, struct slice key, struct slice value, struct bytes *ret)
{
    (void)m, (void)key;
    return change_inode(value, true, ret);
}

static bool change_owner(struct meta *m, struct slice key, struct slice value, struct bytes *ret)
{
    (void)m, (void)key;
    return change_inode(value, false, ret);
}

static bool add_reference(struct meta *m, struct slice key, struct slice value, struct bytes *ret)
{
    int64_t count;
    (void)m, (void)key;
    if (row_count_decode(value, &count) != ERR_OK || count == 0)
        return false;
    row_count_encode(count + 1, ret);
    return true;
}

static bool lose_name(struct meta *m, struct slice key, struct slice value, struct bytes *ret)
{
    (void)m, (void)key, (void)value, (void)ret;
    return true; /* nothing is put in its place */
}

static bool change_first(struct meta *m, char table, change_function function)
{
    struct schema_key from = {.bytes = {(uint8_t)table}, .size = 1};
    struct store_range range;
    struct slice key, value;
    struct bytes changed = {0};
    char *message = NULL;
    bool done = false;
    store_range_open_prefix(m, &range, &from, 1);
    for (; !done && store_range_get(&range, &key, &value); store_range_next(&range)) {
        done = function(m, key, value, &changed);
        if (done && changed.size > 0)
            rocksdb_put(m->db, m->write, (const char *)key.data, key.size, (const char *)changed.data, changed.size,
                        &message);
        else if (done)
            rocksdb_delete(m->db, m->write, (const char *)key.data, key.size, &message);
    }
    bytes_free(&changed);
    return store_range_close(&range) == ERR_OK && done && !message;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *word;
        char table;
        change_function function;
    } changes[] = {{"links", 'i', add_link},
                   {"count", 'r', add_reference},
                   {"name", 'd', lose_name},
                   {"owner", 'i', change_owner}};
    struct meta_options options = {.path = argc == 3 ? argv[1] : ""};
    struct meta *m = NULL;
    struct err_text why = {""};
    bool done = false;
    if (argc != 3) {
        fprintf(stderr, "usage: surf-damage-state DIRECTORY links|count|name|owner\n");
        return 64;
    }
    if (meta_open(&options, &m, &why) != ERR_OK) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        if (strcmp(changes[i].word, argv[2]) == 0)
            done = change_first(m, changes[i].table, changes[i].function) && meta_flush(m, true) == ERR_OK;
    meta_close(m);
    if (!done)
        fprintf(stderr, "there is no such row, or no such change\n");
    return done ? 0 : 1;
}
