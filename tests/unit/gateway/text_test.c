/* The parts of a request that are text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/http_text.h"

static void test_percent_encoding(void **state)
{
    (void)state;
    struct arena a = {0};
    struct slice got;
    static const struct {
        const char *text, *bytes;
        size_t size;
    } good[] = {{"", "", 0}, {"a+b", "a+b", 3}, {"%41%2f%2F", "A//", 3}, {"%00", "\0", 1}, {"%ffx", "\xffx", 2}};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(http_text_decode(slice_str(good[i].text), &a, &got), ERR_OK);
        assert_true(slice_equal(got, SLICE(good[i].bytes, good[i].size)));
    }
    static const char *const bad[] = {"%", "%1", "%g0", "%0g", "x%", "x%4", "%%41", "%-1"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(http_text_decode(slice_str(bad[i]), &a, &got), ERR_INVAL);

    uint8_t all[256];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    for (int slash = 0; slash < 2; slash++) {
        struct bytes text = {0};
        http_text_encode(&text, SLICE(all, 256), slash);
        assert_int_equal(http_text_decode(bytes_slice(&text), &a, &got), ERR_OK);
        assert_true(slice_equal(got, SLICE(all, 256)));
        assert_int_equal(memchr(text.data, '/', text.size) == NULL, slash);
        bytes_free(&text);
    }
    arena_free(&a);
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",         "\xc3",         "\xc0\x80",
                                      "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "\xff",         "a\xc3(",       "\xf0\x9f\x98"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(http_text_is_utf8(slice_str(good[i])));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(http_text_is_utf8(slice_str(bad[i])));
    struct bytes to = {0};
    http_text_escape(&to, SLICE("<\"'&>\n\xff\xc3\xa4", 9));
    bytes_u8(&to, 0);
    assert_string_equal((const char *)to.data, "&lt;&quot;&#39;&amp;&gt;\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4");
    bytes_free(&to);
}

static void test_ranges(void **state)
{
    (void)state;
    struct http_range r;
    static const struct {
        const char *header;
        uint64_t size, from, count;
        enum err e;
    } cases[] = {{NULL, 10, 0, 0, ERR_NOT_FOUND},
                 {"bytes=0-0", 10, 0, 1, ERR_OK},
                 {"bytes=3-", 10, 3, 7, ERR_OK},
                 {"bytes=-3", 10, 7, 3, ERR_OK},
                 {"bytes=-30", 10, 0, 10, ERR_OK},
                 {"BYTES=0-999999999999999999", 10, 0, 10, ERR_OK},
                 {"bytes=10-", 10, 0, 0, ERR_RANGE},
                 {"bytes=-0", 10, 0, 0, ERR_RANGE},
                 {"bytes=0-", 0, 0, 0, ERR_RANGE},
                 {"bytes=-1", 0, 0, 0, ERR_RANGE},
                 {"bytes=5-4", 10, 0, 0, ERR_NOT_FOUND},
                 {"bytes=-", 10, 0, 0, ERR_NOT_FOUND},
                 {"bytes=0-1,3-4", 10, 0, 0, ERR_NOT_FOUND},
                 {"bytes= 0-1", 10, 0, 0, ERR_NOT_FOUND},
                 {"bytes=0", 10, 0, 0, ERR_NOT_FOUND},
                 {"bytes=0-99999999999999999999", 10, 0, 0, ERR_NOT_FOUND},
                 {"items=0-1", 10, 0, 0, ERR_NOT_FOUND}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(http_text_range(cases[i].header, cases[i].size, &r), cases[i].e);
        if (cases[i].e == ERR_OK)
            assert_true(r.from == cases[i].from && r.size == cases[i].count);
    }
}

static void test_entity_tags(void **state)
{
    (void)state;
    assert_true(http_text_has_tag("\"a\"", "\"a\"") && http_text_has_tag("*", "\"a\""));
    assert_true(http_text_has_tag("\"b\", W/\"a\"", "\"a\""));
    assert_false(http_text_has_tag(NULL, "\"a\"") || http_text_has_tag("", "\"a\"") || http_text_has_tag("a", "\"a\""));
    assert_false(http_text_has_tag("\"ab\"", "\"a\"") || http_text_has_tag("\"a", "\"a\""));
}

static void test_accept(void **state)
{
    (void)state;
    static const char json[] = "application/json", html[] = "text/html";
    assert_true(http_text_accepts(NULL, json, html) && http_text_accepts("*/*", json, html));
    assert_true(http_text_accepts("application/*", json, html) &&
                http_text_accepts("text/html;q=0.5, */*", json, html));
    assert_false(http_text_accepts("text/html,application/xml;q=0.9,*/*;q=0.8", json, html));
    assert_false(http_text_accepts("text/*, application/json; q=0.1", json, html));
    assert_true(http_text_accepts("image/png", json, html)); /* neither: what programs read */
}

static void test_hosts(void **state)
{
    (void)state;
    char name[HTTP_HOST_BYTES + 1];
    assert_true(http_text_host("LocalHost:80", name));
    assert_string_equal(name, "localhost");
    assert_true(http_text_host("[::1]:8080", name));
    assert_string_equal(name, "::1");
    assert_true(http_text_host("192.0.2.1", name));
    char too_long[HTTP_HOST_BYTES + 2];
    memset(too_long, 'x', sizeof too_long);
    too_long[sizeof too_long - 1] = 0;
    assert_false(http_text_host(too_long, name));
    static const char *const bad[] = {"", ":80", "[::1", "[]", "[::1]x", "a:b", "a:80:90"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(http_text_host(bad[i], name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percent_encoding), cmocka_unit_test(test_utf8),   cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_entity_tags),      cmocka_unit_test(test_accept), cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
