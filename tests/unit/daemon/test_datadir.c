/* The data directory: whose it is, and that a refusal changes nothing. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "daemon/datadir.h"

static char parent[64], path[128];
static struct err_text why;

static int setup(void **state)
{
    (void)state;
    snprintf(parent, sizeof parent, "/tmp/test_datadir_XXXXXX");
    assert_non_null(mkdtemp(parent));
    snprintf(path, sizeof path, "%s/a/data", parent);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", parent);
    return system(command);
}

static struct datadir_options options(void)
{
    return (struct datadir_options){
        .path = path, .node_id = 1, .roles = WIRE_NODE_META | WIRE_NODE_BLOCK, .members = {1, 2, 3}, .member_count = 3};
}

static struct datadir *opened(const struct datadir_options *o)
{
    struct datadir *d;
    if (datadir_open(o, &d, &why) != ERR_OK)
        fail_msg("%s", why.text);
    return d;
}

static size_t identity_read(uint8_t *to, size_t size)
{
    char name[160];
    snprintf(name, sizeof name, "%s/identity", path);
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    size_t got = fread(to, 1, size, f);
    fclose(f);
    return got;
}

static void identity_write(const uint8_t *from, size_t size)
{
    char name[160];
    snprintf(name, sizeof name, "%s/identity", path);
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(from, 1, size, f), size);
    fclose(f);
}

/* Refused with e and with both words, and the identity is as it was. */
static void refused(const struct datadir_options *o, enum err e, const char *word)
{
    uint8_t before[512], after[512];
    size_t before_size = identity_read(before, sizeof before);
    struct datadir *d;
    assert_int_equal(datadir_open(o, &d, &why), e);
    if (!strstr(why.text, path) || !strstr(why.text, word))
        fail_msg("\"%s\" or the path is not in: %s", word, why.text);
    assert_int_equal(identity_read(after, sizeof after), before_size);
    assert_memory_equal(before, after, before_size);
}

static void make_part(const char *name)
{
    char part[160];
    snprintf(part, sizeof part, "%s/%s", path, name);
    assert_int_equal(mkdir(part, 0700), 0);
}

/* A log with something in it. */
static void make_log(const char *name)
{
    char hard[32];
    snprintf(hard, sizeof hard, "%s/hard", name);
    make_part(name), make_part(hard);
}

static void remove_part(const char *name)
{
    char part[160];
    snprintf(part, sizeof part, "%s/%s", path, name);
    assert_int_equal(rmdir(part), 0);
}

static void test_made_and_opened_again(void **state)
{
    (void)state;
    struct datadir_options o = options();
    struct datadir *d = opened(&o);
    uint8_t uuid[16];
    static const uint8_t cluster[16] = "cluster-cluster", other[16] = "another-another";
    memcpy(uuid, datadir_uuid(d), 16);
    assert_false(datadir_is_complete(d));
    assert_null(datadir_cluster_id(d));
    datadir_close(d);

    d = opened(&o);
    assert_memory_equal(datadir_uuid(d), uuid, 16);
    assert_int_equal(datadir_set_cluster_id(d, cluster, &why), ERR_OK);
    make_log("log"), make_part("state"), make_part("blocks");
    assert_int_equal(datadir_complete(d, &why), ERR_OK);
    datadir_close(d);

    d = opened(&o);
    assert_true(datadir_is_complete(d));
    assert_memory_equal(datadir_cluster_id(d), cluster, 16);
    assert_int_equal(datadir_set_cluster_id(d, cluster, &why), ERR_OK);
    assert_int_equal(datadir_set_cluster_id(d, other, &why), ERR_WRONG_CLUSTER);
    assert_memory_equal(datadir_cluster_id(d), cluster, 16);
    char part[PATH_MAX];
    datadir_path(d, "log", part);
    assert_int_equal(access(part, F_OK), 0);
    datadir_close(d);
}

static void test_in_use(void **state)
{
    (void)state;
    struct datadir_options o = options();
    struct datadir *d = opened(&o);
    refused(&o, ERR_LOCKED, "in use");
    datadir_close(d);
    datadir_close(opened(&o));
}

static void test_of_another(void **state)
{
    (void)state;
    struct datadir_options o = options();
    datadir_close(opened(&o));
    o.node_id = 2;
    refused(&o, ERR_WRONG_NODE, "node 1");
    o = options();
    o.roles = WIRE_NODE_META;
    refused(&o, ERR_WRONG_NODE, "both");
    o = options();
    o.member_count = 1;
    refused(&o, ERR_WRONG_CLUSTER, "1,2,3");
    o = options();
    o.members[2] = 4;
    refused(&o, ERR_WRONG_CLUSTER, "1,2,4");
    o = options();
    datadir_close(opened(&o));
}

static void test_damaged_identity(void **state)
{
    (void)state;
    struct datadir_options o = options();
    datadir_close(opened(&o));
    uint8_t whole[512];
    size_t size = identity_read(whole, sizeof whole);
    assert_true(size > 40);
    for (size_t cut = 0; cut < size; cut++) {
        identity_write(whole, cut);
        refused(&o, ERR_CORRUPT, "identity");
    }
    for (size_t at = 0; at < size; at++) {
        uint8_t flipped[512];
        memcpy(flipped, whole, size);
        flipped[at] ^= 0x10;
        identity_write(flipped, size);
        refused(&o, ERR_CORRUPT, "identity");
    }
    identity_write(whole, size);
    datadir_close(opened(&o));
}

static void make_complete(const struct datadir_options *o)
{
    struct datadir *d = opened(o);
    make_log("log"), make_part("state"), make_part("blocks");
    assert_int_equal(datadir_complete(d, &why), ERR_OK);
    datadir_close(d);
}

static void test_missing_part(void **state)
{
    (void)state;
    struct datadir_options o = options();
    make_complete(&o);
    remove_part("log/hard");
    refused(&o, ERR_CORRUPT, "log is empty");
    remove_part("log");
    refused(&o, ERR_CORRUPT, "log is missing");
}

/* Acknowledged puts may have been in this one alone, so it is not made anew as if there had been none. */
static void test_missing_durability_log(void **state)
{
    (void)state;
    struct datadir_options o = options();
    make_complete(&o);
    datadir_close(opened(&o)); /* it never had one */
    struct datadir *d = opened(&o);
    make_log("durability");
    assert_int_equal(datadir_has_durability(d, &why), ERR_OK);
    assert_int_equal(datadir_has_durability(d, &why), ERR_OK);
    datadir_close(d);
    datadir_close(opened(&o));
    remove_part("durability/hard");
    refused(&o, ERR_CORRUPT, "durability is empty");
    remove_part("durability");
    refused(&o, ERR_CORRUPT, "durability is missing");
    assert_non_null(strstr(why.text, "--rebuild "));
    o.rebuild = true;
    d = opened(&o);
    assert_int_equal(datadir_rebuild(d, &why), ERR_OK);
    datadir_close(d);
    o.rebuild = false;
    datadir_close(opened(&o));
}

static void rename_part(const char *from, const char *to)
{
    char old[160], new[160];
    snprintf(old, sizeof old, "%s/%s", path, from);
    snprintf(new, sizeof new, "%s/%s", path, to);
    assert_int_equal(rename(old, new), 0);
}

/* Put aside once; not a second time over what is aside; and what is lost is made anew. */
static void test_blocks_aside(void **state)
{
    (void)state;
    struct datadir_options o = options();
    struct datadir *d = opened(&o);
    make_log("log"), make_part("state"), make_part("blocks"), make_part("blocks/old");
    assert_int_equal(datadir_complete(d, &why), ERR_OK);
    assert_int_equal(datadir_put_blocks_aside(d, &why), ERR_OK);
    rename_part("blocks.damaged/old", "old");
    /* As after a crash before the exchange: an empty directory is in the way. */
    rename_part("old", "blocks/old");
    assert_int_equal(datadir_put_blocks_aside(d, &why), ERR_OK);
    make_part("blocks/new");
    assert_int_equal(datadir_put_blocks_aside(d, &why), ERR_EXIST);
    assert_non_null(strstr(why.text, "blocks.damaged"));
    rename_part("blocks", "lost");
    datadir_close(d);
    refused(&o, ERR_CORRUPT, "blocks is missing");
    assert_non_null(strstr(why.text, "--rebuild-blocks"));
    o.rebuild_blocks = true;
    d = opened(&o);
    assert_int_equal(datadir_put_blocks_aside(d, &why), ERR_OK);
    datadir_close(d);
    o.rebuild_blocks = false;
    datadir_close(opened(&o));
}

static void test_somebody_elses_directory(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s", parent);
    char file[160];
    snprintf(file, sizeof file, "%s/letter.txt", path);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fclose(f);
    struct datadir_options o = options();
    struct datadir *d;
    assert_int_equal(datadir_open(&o, &d, &why), ERR_CORRUPT);
    assert_non_null(strstr(why.text, "letter.txt"));
    snprintf(file, sizeof file, "%s/identity", path);
    assert_int_not_equal(access(file, F_OK), 0);

    snprintf(path, sizeof path, "%s/letter.txt", parent);
    assert_int_not_equal(datadir_open(&o, &d, &why), ERR_OK);
    assert_non_null(strstr(why.text, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_and_opened_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(test_of_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_part, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_durability_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocks_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_somebody_elses_directory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
