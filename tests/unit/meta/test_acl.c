/* Access control lists: what is one, and how lists and mode bits follow each other (acl(5)). */
#include "meta/acl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

#define U ACL_TAG_USER_OBJ
#define UN ACL_TAG_USER
#define G ACL_TAG_GROUP_OBJ
#define GN ACL_TAG_GROUP
#define M ACL_TAG_MASK
#define O ACL_TAG_OTHER

static struct acl list_of(const struct acl_entry *entries, unsigned count)
{
    struct acl a = {.count = count};
    memcpy(a.entries, entries, count * sizeof *entries);
    return a;
}
#define LIST(...)                                                                                                      \
    list_of((const struct acl_entry[]){__VA_ARGS__},                                                                   \
            sizeof((const struct acl_entry[]){__VA_ARGS__}) / sizeof(struct acl_entry))

static enum err round_trip(const struct acl *a)
{
    struct bytes b = {0}, again = {0};
    struct acl got;
    acl_encode(a, &b);
    enum err e = acl_decode(bytes_slice(&b), &got);
    if (e == ERR_OK) {
        assert_int_equal(got.count, a->count);
        acl_encode(&got, &again);
        assert_true(slice_equal(bytes_slice(&b), bytes_slice(&again)));
    }
    bytes_free(&b);
    bytes_free(&again);
    return e;
}

#define ACCEPTED(...)                                                                                                  \
    do {                                                                                                               \
        struct acl a_ = LIST(__VA_ARGS__);                                                                             \
        assert_int_equal(round_trip(&a_), ERR_OK);                                                                     \
    } while (0)
#define REFUSED(...)                                                                                                   \
    do {                                                                                                               \
        struct acl a_ = LIST(__VA_ARGS__);                                                                             \
        assert_int_equal(round_trip(&a_), ERR_INVAL);                                                                  \
    } while (0)

static void what_is_a_list(void **state)
{
    (void)state;
    ACCEPTED({U, 7, 0}, {G, 5, 0}, {O, 0, 0});
    ACCEPTED({U, 7, 0}, {G, 5, 0}, {M, 5, 0}, {O, 0, 0});
    ACCEPTED({U, 7, 0}, {UN, 7, 5}, {UN, 1, 6}, {G, 5, 0}, {GN, 5, 5}, {GN, 4, 9}, {M, 5, 0}, {O, 0, 0});
    REFUSED({U, 7, 0}, {G, 5, 0});
    REFUSED({U, 7, 0}, {O, 5, 0});
    REFUSED({G, 7, 0}, {O, 5, 0});
    REFUSED({U, 7, 0}, {UN, 7, 5}, {G, 5, 0}, {O, 0, 0});
    REFUSED({U, 7, 0}, {G, 5, 0}, {GN, 7, 5}, {O, 0, 0});
    REFUSED({U, 7, 0}, {U, 7, 0}, {G, 5, 0}, {O, 0, 0});
    REFUSED({U, 7, 0}, {G, 5, 0}, {M, 1, 0}, {M, 1, 0}, {O, 0, 0});
    REFUSED({U, 7, 0}, {G, 5, 0}, {O, 0, 0}, {O, 0, 0});
    REFUSED({G, 7, 0}, {U, 5, 0}, {O, 0, 0});
    REFUSED({U, 7, 0}, {G, 5, 0}, {UN, 5, 3}, {M, 7, 0}, {O, 0, 0});
    REFUSED({U, 7, 0}, {G, 5, 0}, {O, 0, 0}, {M, 7, 0});
    REFUSED({U, 8, 0}, {G, 5, 0}, {O, 0, 0});
    REFUSED({U, 7, 0}, {UN, 7, UINT32_MAX}, {G, 5, 0}, {M, 7, 0}, {O, 0, 0});
    REFUSED({U, 7, 0}, {3, 7, 1}, {G, 5, 0}, {M, 7, 0}, {O, 0, 0});
    REFUSED({U, 7, 0}, {G, 5, 0}, {O, 0, 0}, {0x40, 7, 0});
    REFUSED({0, 7, 0}, {U, 7, 0}, {G, 5, 0}, {O, 0, 0});
}

static void what_is_no_encoding(void **state)
{
    (void)state;
    static const uint8_t empty[] = {2, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9}, newer[] = {3, 0, 0, 0};
    struct acl a;
    assert_int_equal(acl_decode(SLICE(empty, 4), &a), ERR_OK);
    assert_int_equal(a.count, 0);
    for (size_t size = 0; size < sizeof empty; size++)
        if (size != 4)
            assert_int_equal(acl_decode(SLICE(empty, size), &a), ERR_INVAL);
    assert_int_equal(acl_decode(SLICE(newer, 4), &a), ERR_INVAL);
}

static void a_page_is_the_most(void **state)
{
    (void)state;
    struct acl a = LIST({U, 7, 0});
    while (a.count < ACL_ENTRIES_MAX - 3) {
        a.entries[a.count] = (struct acl_entry){UN, 5, a.count};
        a.count++;
    }
    a.entries[a.count++] = (struct acl_entry){G, 5, 0};
    a.entries[a.count++] = (struct acl_entry){M, 5, 0};
    a.entries[a.count++] = (struct acl_entry){O, 5, 0};
    assert_int_equal(round_trip(&a), ERR_OK);
    struct bytes b = {0};
    acl_encode(&a, &b);
    assert_int_equal(b.size, 4092);
    for (int i = 0; i < 8; i++)
        bytes_u8(&b, 0);
    struct acl got;
    assert_int_equal(acl_decode(bytes_slice(&b), &got), ERR_INVAL);
    bytes_free(&b);
}

static void a_mode_shows_the_mask(void **state)
{
    (void)state;
    struct acl plain = LIST({U, 6, 0}, {G, 4, 0}, {O, 1, 0});
    assert_true(acl_is_mode(&plain));
    assert_int_equal(acl_mode(&plain), 0641);
    struct acl masked = LIST({U, 6, 0}, {UN, 7, 5}, {G, 4, 0}, {M, 3, 0}, {O, 1, 0});
    assert_false(acl_is_mode(&masked));
    assert_int_equal(acl_mode(&masked), 0631);
    acl_set_mode(&masked, 0104752);
    assert_int_equal(acl_mode(&masked), 0752);
    assert_int_equal(masked.entries[1].permissions, 7); /* what named ones have is masked, not changed */
    assert_int_equal(masked.entries[2].permissions, 4);
    assert_int_equal(masked.entries[3].permissions, 5);
    acl_set_mode(&plain, 0752);
    assert_int_equal(plain.entries[1].permissions, 5);
}

static void inherited_is_what_both_grant(void **state)
{
    (void)state;
    for (uint32_t mode = 0; mode < 01000; mode++) {
        struct acl a = LIST({U, 6, 0}, {UN, 7, 5}, {G, 5, 0}, {M, 3, 0}, {O, 4, 0});
        uint32_t got = 0102000 | mode;
        acl_inherit(&a, &got);
        assert_int_equal(got, 0102000 | (mode & 0634));
        assert_int_equal(acl_mode(&a), mode & 0634);
        assert_int_equal(a.entries[2].permissions, 5);
        struct acl plain = LIST({U, 6, 0}, {G, 5, 0}, {O, 4, 0});
        got = mode;
        acl_inherit(&plain, &got);
        assert_int_equal(got, mode & 0654);
        assert_int_equal(plain.entries[1].permissions, (mode & 050) >> 3);
    }
}

static bool permits(const struct acl *a, uint32_t uid, uint32_t group, uint32_t other_group, unsigned wanted)
{
    const uint32_t groups[] = {group, other_group};
    struct acl_subject s = {.owner = 1, .group = 10, .uid = uid, .groups = groups, .group_count = ARRAY_SIZE(groups)};
    return acl_permits(a, &s, wanted);
}

static void a_mode_grants_to_one_class(void **state)
{
    (void)state;
    for (uint32_t mode = 0; mode < 01000; mode++) {
        struct acl a;
        acl_of_mode(&a, mode);
        assert_int_equal(acl_mode(&a), mode);
        for (unsigned wanted = 1; wanted <= 7; wanted++) {
            assert_int_equal(permits(&a, 1, 10, 11, wanted), (mode >> 6 & wanted) == wanted);
            assert_int_equal(permits(&a, 2, 11, 10, wanted), (mode >> 3 & wanted) == wanted);
            assert_int_equal(permits(&a, 2, 11, 12, wanted), (mode & wanted) == wanted);
        }
    }
}

static void a_list_grants_to_the_named(void **state)
{
    (void)state;
    const struct acl a =
        LIST({U, 4, 0}, {UN, 6, 5}, {UN, 0, 6}, {G, 4, 0}, {GN, 2, 20}, {GN, 7, 21}, {M, 6, 0}, {O, 5, 0});
    assert_true(permits(&a, 1, 21, 0, 4)); /* the owner's entry isn't masked, and nothing else is looked at */
    assert_false(permits(&a, 1, 21, 0, 2));
    assert_true(permits(&a, 5, 0, 0, 6));
    assert_false(permits(&a, 5, 0, 0, 1));
    assert_false(permits(&a, 6, 10, 21, 4)); /* named and refused, whatever the groups have */
    assert_true(permits(&a, 7, 10, 20, 4));
    assert_true(permits(&a, 7, 10, 20, 2));
    assert_false(permits(&a, 7, 10, 20, 6)); /* no single entry grants both */
    assert_true(permits(&a, 7, 10, 21, 6));
    assert_false(permits(&a, 7, 21, 0, 1)); /* masked */
    assert_true(permits(&a, 7, 22, 0, 5));
    assert_false(permits(&a, 7, 20, 0, 4)); /* what others may is not for members */
    assert_false(permits(&a, 7, 22, 0, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_a_list),
        cmocka_unit_test(what_is_no_encoding),
        cmocka_unit_test(a_page_is_the_most),
        cmocka_unit_test(a_mode_shows_the_mask),
        cmocka_unit_test(inherited_is_what_both_grant),
        cmocka_unit_test(a_mode_grants_to_one_class),
        cmocka_unit_test(a_list_grants_to_the_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
