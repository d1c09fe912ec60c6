/* test_files.c: every history of bad/ is rejected and every one of good/ accepted. The word before the first '-' of a
 * file's name is its model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/lin/lin.h"

#define FILE_BYTES_MAX 65536u

static enum lin_model model_of(const char *path)
{
    char word[32];
    enum lin_model model;
    const char *name = strrchr(path, '/') + 1;
    snprintf(word, sizeof word, "%.*s", (int)strcspn(name, "-"), name);
    assert_true(lin_model_parse(word, &model));
    return model;
}

static void verdict_of(const char *path, struct lin_report *ret)
{
    static char content[FILE_BYTES_MAX];
    struct err_text why = {""};
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t size = fread(content, 1, sizeof content, f);
    fclose(f);
    assert_in_range(size, 1, sizeof content - 1);
    struct lin_text *t = lin_text_new();
    struct lin_history *h = NULL;
    if (lin_text_add(t, path, SLICE(content, size), &why) != ERR_OK || lin_text_history(t, &h, &why) != ERR_OK)
        fail_msg("%s: %s", path, why.text);
    enum lin_model model = model_of(path);
    assert_true(lin_model_fits(h, model, &why));
    lin_check(h, model, 0, ret);
    lin_history_free(h);
    lin_text_free(t);
}

static void check_folder(const char *folder, enum lin_verdict verdict, size_t at_least)
{
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/%s/*.txt", LIN_HISTORIES, folder);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= at_least);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        static struct lin_report r;
        verdict_of(found.gl_pathv[i], &r);
        if (r.verdict != verdict)
            fail_msg("%s: verdict %d\n%s", found.gl_pathv[i], (int)r.verdict, r.why);
        if (verdict == LIN_BAD) /* the explanation points at the operation */
            assert_non_null(strstr(r.why, "\n> "));
    }
    print_message("%zu histories of %s/\n", found.gl_pathc, folder);
    globfree(&found);
}

static void test_bad(void **state)
{
    (void)state;
    check_folder("bad", LIN_BAD, 37);
}

static void test_good(void **state)
{
    (void)state;
    check_folder("good", LIN_OK, 18);
}

static void refused(const char *text)
{
    struct err_text why = {""};
    struct lin_history *h = NULL;
    struct lin_text *t = lin_text_new();
    enum err e = lin_text_add(t, "file", slice_str(text), &why);
    if (e == ERR_OK)
        e = lin_text_history(t, &h, &why);
    assert_int_equal(e, ERR_INVAL);
    assert_true(why.text[0] != '\0');
    lin_text_free(t);
}

static void test_lines_that_make_no_sense(void **state)
{
    (void)state;
    refused("soon c1 invoke read x\n");
    refused("10 c1 invoke\n");
    refused("10 c1 invoke frobnicate x\n");
    refused("10 c1 invoke write x\n");
    refused("10 c1 invoke write x one\n");
    refused("10 c1 invoke write x 1 2\n");
    refused("10 c1 invoke rename d/a e/a\n");
    refused("10 c1 ok read x 1\n");
    refused("10 c1 invoke read x\n20 c1 ok read y 1\n");
    refused("10 c1 invoke read x\n20 c1 invoke read x\n");
    refused("10 c1 invoke create d/a 1\n20 c1 fail create d/a 1 NO_SUCH_ERROR\n");
    refused("10 c1 invoke read x\n20 c1 ok read x\n");
    refused("-5 c1 invoke read x\n");
    refused(
        "10 c1 invoke read xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n");
}

/* A search that meets its budget is neither good nor bad. */
static void test_budget(void **state)
{
    (void)state;
    struct lin_history *h = lin_history_new();
    for (unsigned i = 0; i < 24; i++)
        lin_return(h, lin_invoke(h, i, 10, &(struct lin_call){.verb = LIN_WRITE, .a = i + 1}), 20,
                   &(struct lin_answer){0});
    lin_return(h, lin_invoke(h, 99, 30, &(struct lin_call){.verb = LIN_READ}), 40, &(struct lin_answer){.value = 99});
    static struct lin_report r;
    assert_int_equal(lin_check(h, LIN_REGISTER, 1000, &r), LIN_UNKNOWN);
    assert_int_equal(r.unknown_objects, 1);
    assert_true(r.configurations <= 1000);
    lin_history_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_lines_that_make_no_sense),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests_name("lin files", tests, NULL, NULL);
}
