/* Small files: replaced as a whole, or not at all. */
#include "tests/unit/raftlog/fixture.h"

#include <inttypes.h>
#include <string.h>

static void put(struct sim_disk *d, const char *text)
{
    assert_int_equal(small_file_write(&d->table, (void *)d, "id", slice_str(text)), ERR_OK);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct bytes got = {0};
    struct err_text why = {""};
    assert_int_equal(small_file_read(&d.table, (void *)&d, "id", 100, &got, &why), ERR_NOT_FOUND);
    put(&d, "one");
    put(&d, "two and more");
    sim_disk_crash(&d, SIM_CRASH_LOSE);
    assert_int_equal(small_file_read(&d.table, (void *)&d, "id", 100, &got, &why), ERR_OK);
    assert_true(slice_equal(bytes_slice(&got), slice_str("two and more")));
    assert_int_equal(small_file_read(&d.table, (void *)&d, "id", 11, &got, &why), ERR_CORRUPT);
    assert_non_null(strstr(why.text, "28 bytes"));
    bytes_free(&got);
    sim_disk_free(&d);
}

static void test_power_cut_at_every_call(void **state)
{
    (void)state;
    unsigned old = 0, new = 0;
    for (uint64_t n = 1; n <= 8; n++)
        for (uint64_t seed = 1; seed <= 50; seed++) {
            struct sim_disk d;
            sim_disk_init(&d, seed);
            put(&d, "old");
            d.calls = 0, d.dead_after = n;
            enum err e = small_file_write(&d.table, (void *)&d, "id", slice_str("new"));
            sim_disk_crash(&d, SIM_CRASH_RANDOM);
            struct bytes got = {0};
            assert_int_equal(small_file_read(&d.table, (void *)&d, "id", 100, &got, NULL), ERR_OK);
            bool is_new = slice_equal(bytes_slice(&got), slice_str("new"));
            assert_true(is_new || (e != ERR_OK && slice_equal(bytes_slice(&got), slice_str("old"))));
            new += is_new, old += !is_new;
            bytes_free(&got);
            sim_disk_free(&d);
        }
    assert_true(old > 0 && new > 0);
}

static void test_damage(void **state)
{
    (void)state;
    struct sim_disk whole;
    sim_disk_init(&whole, 1);
    put(&whole, "content");
    size_t size = sim_disk_content(&whole, "id")->size;
    for (size_t at = 0; at < size; at++)
        for (int cut = 0; cut < 2; cut++) {
            struct sim_disk d;
            sim_disk_copy(&d, &whole);
            if (cut)
                sim_disk_content(&d, "id")->size = at;
            else
                sim_disk_content(&d, "id")->data[at] ^= 4;
            struct bytes got = {0};
            struct err_text why = {""};
            assert_int_equal(small_file_read(&d.table, (void *)&d, "id", 100, &got, &why), ERR_CORRUPT);
            assert_non_null(strstr(why.text, "id: "));
            bytes_free(&got);
            sim_disk_free(&d);
        }
    sim_disk_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_power_cut_at_every_call),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
