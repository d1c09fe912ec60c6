/* As test_limits.c: what the block servers, the administration and the change feed say. */
#include "by_hand.h"

/* ---- blocks ---- */

static enum err put(size_t id_bytes, unsigned count, uint64_t size, size_t payload_size)
{
    struct wire_block_put got;
    blob(2, filled(id_bytes, 'i'));
    for (unsigned i = 0; i < count; i++)
        number(3, size);
    return wire_block_put_decode(written(), payload_size, &a, &got, &why);
}
static enum err ids(size_t id_bytes, unsigned max_count)
{
    struct wire_block_ids got;
    blob(1, filled(id_bytes, 'i'));
    return wire_block_ids_decode(written(), max_count, &a, &got, &why);
}
static enum err sizes(unsigned count, uint64_t size, size_t payload_size)
{
    struct wire_block_sizes got;
    for (unsigned i = 0; i < count; i++)
        number(1, size);
    return wire_block_sizes_decode(written(), payload_size, &a, &got, &why);
}
static enum err present(size_t count, char value)
{
    struct wire_block_present got;
    blob(2, filled(count, value));
    return wire_block_present_decode(written(), &a, &got, &why);
}

/* With one number of the upkeep in it. */
static enum err info_at(unsigned field, uint64_t position)
{
    struct wire_block_info got;
    number(field, position);
    struct slice upkeep = written();
    number(1, 1), blob(2, slice_str("h:1")), blob(8, upkeep);
    return wire_block_info_decode(written(), &a, &got, &why);
}

static void test_blocks(void **state)
{
    (void)state;
    accepted(put(32 * LIMIT_BLOCKS_PER_FRAME, LIMIT_BLOCKS_PER_FRAME, 1, LIMIT_BLOCKS_PER_FRAME));
    accepted(put(32, 1, LIMIT_BLOCK_BYTES, LIMIT_BLOCK_BYTES));
    refused(put(32 * 257, 257, 1, 257), "ids", "257");
    refused(put(0, 0, 1, 0), "ids", "0");
    refused(put(33, 1, 1, 1), "ids", "33");
    refused(put(64, 1, 1, 1), "sizes", "1");
    refused(put(32, 1, 0, 0), "size", "0");
    refused(put(32, 1, LIMIT_BLOCK_BYTES + 1, LIMIT_BLOCK_BYTES + 1), "size", "1048577");
    refused(put(32, 1, 10, 11), "payload", "11");
    accepted(ids(32 * LIMIT_HASHES_PER_FRAME, LIMIT_HASHES_PER_FRAME));
    refused(ids(32 * 257, LIMIT_BLOCKS_PER_FRAME), "ids", "257");
    refused(ids(32 * (LIMIT_HASHES_PER_FRAME + 1), LIMIT_HASHES_PER_FRAME), "ids", "16385");
    number(2, 1);
    accepted(ids(32 * LIMIT_BLOCKS_PER_FRAME, LIMIT_HASHES_PER_FRAME));
    number(2, 1);
    refused(ids(32 * (LIMIT_BLOCKS_PER_FRAME + 1), LIMIT_HASHES_PER_FRAME), "ids", "257");
    refused(ids(0, 5), "ids", "0");
    refused(ids(31, 5), "ids", "31");
    accepted(sizes(LIMIT_BLOCKS_PER_FRAME, 0, 0));
    accepted(sizes(2, LIMIT_BLOCK_BYTES, 2 * LIMIT_BLOCK_BYTES));
    refused(sizes(LIMIT_BLOCKS_PER_FRAME + 1, 0, 0), "sizes", "257");
    refused(sizes(1, LIMIT_BLOCK_BYTES + 1, LIMIT_BLOCK_BYTES + 1), "size", "1048577");
    refused(sizes(2, 5, 9), "payload", "9");
    accepted(present(LIMIT_HASHES_PER_FRAME, 1));
    refused(present(LIMIT_HASHES_PER_FRAME + 1, 1), "present", "16385");
    refused(present(3, 2), "present", "2");
    struct wire_block_info info;
    number(1, 0), blob(2, slice_str("h:1"));
    refused(wire_block_info_decode(written(), &a, &info, &why), "node_id", "0");
    number(1, 1);
    refused(wire_block_info_decode(written(), &a, &info, &why), "address", "0");
    accepted(info_at(8, WIRE_UPKEEP_WHOLE));
    accepted(info_at(18, WIRE_UPKEEP_WHOLE));
    refused(info_at(8, WIRE_UPKEEP_WHOLE + 1), "walk_position", "10001");
    refused(info_at(18, WIRE_UPKEEP_WHOLE + 1), "scrub_position", "10001");
}

/* ---- administration ---- */

static enum err server_change(uint64_t change, uint64_t id, uint64_t weight)
{
    struct wire_admin_server_change got;
    number(1, change), number(2, id), number(3, weight);
    return wire_admin_server_change_decode(written(), &a, &got, &why);
}

static void test_server_change(void **state)
{
    (void)state;
    struct wire_admin_server_change from = {.change = META_SERVER_REMOVE, .id = 7, .lost = true}, got;
    accepted(wire_admin_server_change_decode(wire_admin_server_change_encode(&from, &a), &a, &got, &why));
    assert_true(got.change == META_SERVER_REMOVE && got.id == 7 && got.weight == 0 && got.lost);
    accepted(server_change(META_SERVER_WEIGHT, UINT32_MAX, META_WEIGHT_MAX));
    accepted(server_change(META_SERVER_DRAIN, 1, 0));
    refused(server_change(META_SERVER_WEIGHT, 1, 0), "weight", "0");
    refused(server_change(META_SERVER_WEIGHT, 1, META_WEIGHT_MAX + 1), "weight", "1125899906842625");
    refused(server_change(META_SERVER_DRAIN, 1, 1), "weight", "1");
    refused(server_change(META_SERVER_DRAIN, 0, 0), "id", "0");
    refused(server_change(META_SERVER_REGISTER, 1, 0), "change", "0");
    refused(server_change(META_SERVER_CHANGE_LAST + 1, 1, 0), "change", "5");
}

static enum err replicas_of(uint64_t count)
{
    struct wire_admin_replicas got;
    number(1, count);
    return wire_admin_replicas_decode(written(), &a, &got, &why);
}

static void test_replicas(void **state)
{
    (void)state;
    accepted(replicas_of(1));
    accepted(replicas_of(LIMIT_REPLICAS));
    refused(replicas_of(0), "count", "0");
    refused(replicas_of(LIMIT_REPLICAS + 1), "count", "8");
}

static enum err export_of(const char *name, uint64_t mask, uint64_t options)
{
    struct wire_admin_export got;
    blob(1, slice_str(name)), number(2, mask), number(3, options);
    return wire_admin_export_decode(written(), &a, &got, &why);
}

static void test_export(void **state)
{
    (void)state;
    struct wire_admin_export from = {.name = slice_str("default"), .mask = 1, .options = META_EXPORT_ROOT_SQUASH}, got;
    accepted(wire_admin_export_decode(wire_admin_export_encode(&from, &a), &a, &got, &why));
    assert_true(slice_equal(got.name, from.name) && got.mask == 1 && got.options == META_EXPORT_ROOT_SQUASH);
    accepted(export_of("x", 0, 0));
    accepted(export_of("x", META_EXPORT_OPTIONS_ALL, 0));
    refused(export_of("", 0, 0), "name", "0");
    refused(export_of("x", META_EXPORT_OPTIONS_ALL + 1, 0), "mask", "2");
    refused(export_of("x", 0, META_EXPORT_ROOT_SQUASH), "options", "1");
}

static enum err admin_state(unsigned field, unsigned count)
{
    struct slice sub = written();
    struct wire_admin_state got;
    number(1, 1);
    for (unsigned i = 0; i < count; i++)
        blob(field, sub);
    return wire_admin_state_decode(written(), &a, &got, &why);
}
static enum err admin_number(unsigned field, uint64_t value)
{
    struct wire_admin_state got;
    number(1, 1), number(field, value);
    return wire_admin_state_decode(written(), &a, &got, &why);
}

static void test_admin(void **state)
{
    (void)state;
    struct wire_admin_state_query q;
    number(1, 101);
    refused(wire_admin_state_query_decode(written(), &a, &q, &why), "log_entries", "101");
    struct wire_admin_nodes nodes;
    for (unsigned i = 0; i < LIMIT_NODES + 1; i++)
        number(1, i + 1);
    refused(wire_admin_nodes_decode(written(), &a, &nodes, &why), "id", "10");
    number(1, 0);
    refused(wire_admin_nodes_decode(written(), &a, &nodes, &why), "id", "0");

    number(1, 1), accepted(admin_state(26, LIMIT_NODES));
    number(1, 1), refused(admin_state(26, LIMIT_NODES + 1), "peers", "10");
    accepted(admin_state(28, 100));
    refused(admin_state(28, 101), "log", "101");
    number(1, 1), accepted(admin_state(29, LIMIT_BLOCK_SERVERS));
    number(1, 1), refused(admin_state(29, LIMIT_BLOCK_SERVERS + 1), "block_servers", "65");
    accepted(admin_state(30, WIRE_ADMIN_SESSIONS));
    refused(admin_state(30, WIRE_ADMIN_SESSIONS + 1), "sessions", "1025");
    blob(3, filled(WIRE_TEXT_BYTES + 1, 't')), refused(admin_state(28, 1), "log.text", "1024");
    blob(4, filled(256, 'c')), refused(admin_state(30, 1), "client", "256");
    refused(admin_number(1, 0), "node_id", "0");
    refused(admin_number(4, 4), "roles", "4");
    refused(admin_number(10, 4), "role", "4");
    bytes_append(&out, filled(31, 'h')), refused(admin_state(21, 1), "chain_hash", "31");
    bytes_append(&out, filled(17, 'c')), refused(admin_state(6, 1), "cluster_id", "17");
    bytes_append(&out, filled(256, 'a')), refused(admin_state(2, 1), "address", "256");
}

/* ---- changes ---- */

static struct slice path_of(size_t size)
{
    uint8_t *path = (uint8_t *)(uintptr_t)filled(size, 'p').data;
    path[0] = '/';
    return SLICE(path, size);
}

static enum err changes(unsigned count, uint64_t op, size_t path_size, size_t client_size)
{
    struct wire_changes c;
    number(3, op), blob(6, path_of(path_size)), blob(9, filled(client_size, 'c'));
    struct slice one = written();
    for (unsigned i = 0; i < count; i++)
        blob(3, one);
    return wire_changes_decode(written(), &a, &c, &why);
}

static enum err changes_query(struct slice path)
{
    struct wire_changes_query q;
    blob(3, path);
    return wire_changes_query_decode(written(), &a, &q, &why);
}

static void test_changes(void **state)
{
    (void)state;
    accepted(changes(WIRE_CHANGES, WIRE_CHANGE_CREATE, 10, 255));
    accepted(changes(3, WIRE_CHANGE_LAST, WIRE_CHANGE_PATH_BYTES, 0));
    refused(changes(WIRE_CHANGES + 1, WIRE_CHANGE_CREATE, 10, 0), "change", "257");
    refused(changes(1, 0, 10, 0), "op", "0");
    refused(changes(1, WIRE_CHANGE_LAST + 1, 10, 0), "op", "14");
    refused(changes(1, 1, WIRE_CHANGE_PATH_BYTES + 1, 0), "path", "16385");
    refused(changes(1, 1, 10, 256), "client", "256");
    accepted(changes_query(SLICE(NULL, 0)));
    accepted(changes_query(path_of(WIRE_CHANGE_PATH_BYTES)));
    refused(changes_query(path_of(WIRE_CHANGE_PATH_BYTES + 1)), "path", "16385");
    refused(changes_query(slice_str("relative")), "path", "slash");
}

/* ---- checks ---- */

static enum err check(unsigned problems, unsigned uses, uint64_t block, size_t path_size)
{
    struct wire_check c;
    number(1, block), blob(4, filled(path_size, 'p'));
    struct slice one = written();
    for (unsigned i = 0; i < problems; i++)
        blob(16, filled(10, 'w'));
    for (unsigned i = 0; i < uses; i++)
        blob(17, one);
    return wire_check_decode(written(), &a, &c, &why);
}

static enum err check_hashes(size_t chain_size, size_t state_size)
{
    struct wire_check c;
    blob(4, filled(chain_size, 'c')), blob(5, filled(state_size, 's'));
    return wire_check_decode(written(), &a, &c, &why);
}

static enum err check_query(uint64_t kind, size_t ids_size)
{
    struct wire_check_query q;
    number(2, kind), blob(3, filled(ids_size, 'i'));
    return wire_check_query_decode(written(), &a, &q, &why);
}

static enum err ids_query(uint64_t max, struct slice after, struct slice upto, size_t ids_size)
{
    struct wire_ids_query q;
    blob(1, after), blob(2, upto), number(3, max), blob(4, filled(ids_size, 'i'));
    return wire_ids_query_decode(written(), &a, &q, &why);
}

static enum err ids_page(size_t ids_size, size_t through_size)
{
    struct wire_ids page;
    blob(1, filled(ids_size, 'i')), blob(2, filled(through_size, 't'));
    return wire_ids_decode(written(), &a, &page, &why);
}

static void test_checks(void **state)
{
    (void)state;
    struct slice none = {0};
    accepted(check(WIRE_CHECK_PROBLEMS, WIRE_CHECK_USES, LIMIT_BLOCKS_PER_FRAME - 1, 100));
    accepted(check(0, 1, 0, WIRE_CHECK_PATH_BYTES));
    refused(check(WIRE_CHECK_PROBLEMS + 1, 0, 0, 0), "problem", "33");
    refused(check(0, WIRE_CHECK_USES + 1, 0, 0), "use", "257");
    refused(check(0, 1, LIMIT_BLOCKS_PER_FRAME, 0), "block", "256");
    refused(check(0, 1, 0, WIRE_CHECK_PATH_BYTES + 1), "path", "4097");
    accepted(check_hashes(32, 32));
    refused(check_hashes(32, 0), "state", "0");
    refused(check_hashes(31, 31), "chain", "31");
    accepted(check_query(WIRE_CHECK_LAST, LIMIT_BLOCKS_PER_FRAME * 32));
    refused(check_query(0, 0), "kind", "0");
    refused(check_query(WIRE_CHECK_LAST + 1, 0), "kind", "3");
    refused(check_query(1, LIMIT_BLOCKS_PER_FRAME * 32 + 32), "blocks", "257");
    refused(check_query(1, 33), "blocks", "33");
    accepted(ids_query(LIMIT_HASHES_PER_FRAME, none, none, LIMIT_HASHES_PER_FRAME * 32));
    refused(ids_query(0, none, none, 0), "max", "0");
    refused(ids_query(LIMIT_HASHES_PER_FRAME + 1, none, none, 0), "max", "16385");
    refused(ids_query(1, filled(31, 'a'), none, 0), "after", "31");
    refused(ids_query(1, filled(32, 'b'), filled(32, 'a'), 0), "upto", "after");
    refused(ids_query(1, none, none, LIMIT_HASHES_PER_FRAME * 32 + 32), "ids", "16385");
    accepted(ids_page(64, 32));
    refused(ids_page(64, 0), "through", "0");
    refused(ids_page(33, 32), "ids", "33");
}

static enum err files_query(size_t path_size, size_t after_size, uint64_t max, uint64_t blocks_max)
{
    struct meta_files_query q;
    blob(1, filled(path_size, 'p')), blob(2, filled(after_size, 'a')), number(3, max), number(4, blocks_max);
    return wire_files_query_decode(written(), &a, &q, &why);
}

static enum err files(unsigned count, size_t path_size, size_t blocks_size, size_t next_size)
{
    struct meta_files got;
    blob(1, filled(path_size, 'p')), blob(10, filled(blocks_size, 'b'));
    struct slice file = written();
    for (unsigned i = 0; i < count; i++)
        blob(1, file);
    blob(4, filled(next_size, 'n'));
    return wire_files_decode(written(), &a, &got, &why);
}

static void test_files(void **state)
{
    (void)state;
    accepted(files_query(META_FILE_PATH_BYTES, META_FILES_PLACE_BYTES, META_FILES_MAX, META_FILE_BLOCKS_MAX));
    accepted(files_query(0, 0, 1, 0));
    refused(files_query(META_FILE_PATH_BYTES + 1, 0, 1, 0), "path", "4097");
    refused(files_query(0, META_FILES_PLACE_BYTES + 1, 1, 0), "after", "4353");
    refused(files_query(0, 0, 0, 0), "max", "0");
    refused(files_query(0, 0, META_FILES_MAX + 1, 0), "max", "257");
    refused(files_query(0, 0, 1, META_FILE_BLOCKS_MAX + 1), "blocks_max", "257");
    accepted(files(META_FILES_MAX, 100, 32, META_FILES_PLACE_BYTES));
    accepted(files(1, META_FILE_PATH_BYTES, META_FILE_BLOCKS_MAX * 32, 0));
    refused(files(META_FILES_MAX + 1, 1, 0, 0), "file", "257");
    refused(files(1, 0, 0, 0), "path", "0");
    refused(files(1, META_FILE_PATH_BYTES + 1, 0, 0), "path", "4097");
    refused(files(1, 1, 33, 0), "blocks", "33");
    refused(files(1, 1, META_FILE_BLOCKS_MAX * 32 + 32, 0), "blocks", "257");
    refused(files(0, 1, 0, META_FILES_PLACE_BYTES + 1), "next", "4353");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_blocks), TEST(test_server_change), TEST(test_replicas), TEST(test_export),
        TEST(test_admin),  TEST(test_changes),       TEST(test_checks),   TEST(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
