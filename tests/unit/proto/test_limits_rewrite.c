/* Bounds of rewrites of extents and of lists of fragmented files, as in test_limits.c. */
#include "by_hand.h"

struct body {
    uint64_t ino, offset, length;
    unsigned extents;
    size_t id_bytes;
};

static enum err rewrite(struct body b)
{
    struct slice extents, body;
    struct meta_command c;
    for (unsigned i = 0; i < b.extents; i++)
        number(1, 0), number(2, 20), number(4, 0);
    blob(3, filled((size_t)b.extents * SHA256_SIZE, 'b'));
    extents = written();
    number(1, b.ino), number(2, b.offset), number(3, b.length);
    if (b.extents > 0)
        blob(4, extents);
    blob(5, filled(b.id_bytes, 'i'));
    body = written();
    number(1, META_REWRITE), blob(49, body);
    return wire_meta_command_decode(written(), &a, &c, &why);
}

static void test_rewrite(void **state)
{
    (void)state;
    accepted(rewrite((struct body){1, 0, 1, 1, 32}));
    accepted(rewrite((struct body){1, META_SIZE_MAX - 5, 5, 1, 32}));
    accepted(rewrite((struct body){1, 0, LIMIT_BLOCK_BYTES, LIMIT_REWRITE_EXTENTS, 32}));
    accepted(rewrite((struct body){1, 0, 0, 0, 0}));
    refused(rewrite((struct body){0, 0, 1, 1, 32}), "ino", "0");
    refused(rewrite((struct body){1, META_SIZE_MAX, 1, 1, 32}), "offset", "9223372036854775807");
    refused(rewrite((struct body){1, 0, LIMIT_BLOCK_BYTES + 1, 1, 32}), "length", "1048577");
    refused(rewrite((struct body){1, 0, 1, LIMIT_REWRITE_EXTENTS + 1, 32}), "extents", "513");
    refused(rewrite((struct body){1, 0, 1, 0, 32}), "extents", "0");
    refused(rewrite((struct body){1, 0, 0, 1, 0}), "extents", "1");
    refused(rewrite((struct body){1, 0, 1, 1, 31}), "block", "31");
    refused(rewrite((struct body){1, 0, 0, 0, 32}), "block", "32");
}

static enum err fragmented(unsigned inos, unsigned versions, bool ordered)
{
    struct meta_query_reply r;
    for (unsigned i = 0; i < inos; i++)
        number(33, ordered ? i + 1 : 7);
    for (unsigned i = 0; i < versions; i++)
        number(34, 3);
    return wire_meta_query_reply_decode(written(), &a, &r, &why);
}

static void test_fragmented(void **state)
{
    (void)state;
    struct meta_query q;
    accepted(fragmented(0, 0, true));
    accepted(fragmented(LIMIT_FRAGMENTED, LIMIT_FRAGMENTED, true));
    refused(fragmented(LIMIT_FRAGMENTED + 1, LIMIT_FRAGMENTED + 1, true), "fragmented", "257");
    refused(fragmented(2, 1, true), "fragmented_version", "1");
    refused(fragmented(2, 2, false), "fragmented", "7");
    number(1, META_QUERY_FRAGMENTED);
    accepted(wire_meta_query_decode(written(), &a, &q, &why));
    number(1, META_QUERY_EXTENTS);
    refused(wire_meta_query_decode(written(), &a, &q, &why), "ino", "0");
    number(1, META_QUERY_EXTENTS), number(3, 1), number(8, LIMIT_LAYOUT_EXTENTS + 1);
    refused(wire_meta_query_decode(written(), &a, &q, &why), "max_count", "1025");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rewrite, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fragmented, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
