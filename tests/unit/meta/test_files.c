/* The tree as a table: whatever the size of its pages they tell every name once, also while names come and go. */
#include "tests/unit/meta/commands.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

#define ROOT META_ROOT_INO
#define NAMES_MAX 2048u

struct listing {
    char *paths[NAMES_MAX];
    unsigned count, pages, left_out;
};

static enum err page(struct fixture *f, const char *path, struct slice after, unsigned max, struct meta_files *ret)
{
    struct meta_check check = {0};
    struct meta_files_query q = {.path = slice_str(path), .after = after, .max = max, .blocks_max = 2};
    return meta_files(f->meta, &check, &q, &f->arena, ret);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_page(struct fixture *f, struct listing *l, const struct meta_files *files)
{
    for (unsigned i = 0; i < files->count; i++) {
        assert_true(l->count < NAMES_MAX);
        l->paths[l->count++] = arena_str(&f->arena, files->files[i].path);
    }
    l->pages++;
    l->left_out += files->left_out;
}

/* All pages, sorted. */
static struct listing *list(struct fixture *f, const char *path, unsigned max)
{
    struct listing *l = arena_zalloc(&f->arena, sizeof *l);
    struct meta_files files = {.next = {0}};
    do {
        assert_int_equal(page(f, path, files.next, max, &files), ERR_OK);
        assert_true(files.count <= max && files.index == f->index);
        add_page(f, l, &files);
    } while (files.next.size > 0);
    qsort(l->paths, l->count, sizeof l->paths[0], by_text);
    return l;
}

static void assert_same_listing(const struct listing *a, const struct listing *b)
{
    assert_int_equal(a->count, b->count);
    for (unsigned i = 0; i < a->count; i++)
        assert_string_equal(a->paths[i], b->paths[i]);
}

static uint64_t directory(struct fixture *f, uint64_t parent, const char *name)
{
    return must_make(f, META_MKDIR, parent, name, S_IFDIR | 0755);
}

static void make_tree(struct fixture *f)
{
    for (unsigned d = 0; d < 5; d++) {
        char name[16];
        snprintf(name, sizeof name, "d%u", d);
        uint64_t above = directory(f, ROOT, name), below = directory(f, above, "below");
        (void)directory(f, below, "empty");
        for (unsigned i = 0; i < 20; i++) {
            snprintf(name, sizeof name, "f%u", i);
            make_file(f, i % 3 ? above : below, name);
        }
    }
    make_symlink(f, ROOT, "link", "d1");
}

static void pages_of_every_size_tell_the_same(void **state)
{
    struct fixture *f = *state;
    make_tree(f);
    struct listing *all = list(f, "/", META_FILES_MAX);
    assert_int_equal(all->count, 5 * 23 + 1);
    assert_int_equal(all->pages, 1);
    assert_string_equal(all->paths[0], "/d0");
    for (unsigned max = 1; max <= 120; max += max < 8 ? 1 : 37)
        assert_same_listing(list(f, "", max), all);
    struct listing *part = list(f, "//d1/below/", 3);
    assert_int_equal(part->count, 8);
    assert_string_equal(part->paths[0], "/d1/below/empty");
}

static void a_file_is_told_with_its_contents(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_file(f, directory(f, ROOT, "d"), "file").attr.ino;
    for (uint32_t i = 0; i < 3; i++)
        do_write(f, ino, (uint64_t)i * 8192, 4096, i + 1, 0);
    struct meta_files files;
    assert_int_equal(page(f, "/d/file", SLICE(NULL, 0), 9, &files), ERR_OK);
    assert_int_equal(files.count, 1);
    assert_int_equal(files.next.size, 0);
    const struct meta_file *file = &files.files[0];
    struct meta_attr attr = must_getattr(f, ino);
    assert_true(slice_equal(file->path, slice_str("/d/file")));
    assert_true(file->ino == ino && file->version == 3 && file->size == 5 * 4096 && file->mode == attr.mode);
    assert_true(file->extent_count == 3 && !file->extents_more && file->block_count == 2);
    for (uint32_t i = 0; i < 2; i++) {
        struct meta_extent expected = extent_of(0, 4096, i + 1, 0);
        assert_true(sha256_equal(&file->blocks[i], &expected.block));
    }
    assert_int_equal(page(f, "/d/file/x", SLICE(NULL, 0), 9, &files), ERR_NOENT);
    assert_int_equal(page(f, "/d/other", SLICE(NULL, 0), 9, &files), ERR_NOENT);
    assert_int_equal(page(f, "/d", slice_str("/e"), 9, &files), ERR_INVAL);
    assert_int_equal(page(f, "/d", slice_str("/dd"), 9, &files), ERR_INVAL);
}

/* Between any two pages the name that the page ended with goes, and the directory that it was in with it. */
static void what_stays_is_told_though_others_go(void **state)
{
    struct fixture *f = *state;
    uint64_t top = directory(f, ROOT, "top");
    for (unsigned i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "goes%u", i);
        uint64_t d = directory(f, top, name);
        make_file(f, d, "file");
        snprintf(name, sizeof name, "stays%u", i);
        make_file(f, top, name);
    }
    struct listing *l = arena_zalloc(&f->arena, sizeof *l);
    struct meta_files files = {.next = {0}};
    do {
        assert_int_equal(page(f, "/top", files.next, 3, &files), ERR_OK);
        add_page(f, l, &files);
        for (unsigned i = 0; i < files.count; i++) {
            char name[16];
            if (sscanf(arena_str(&f->arena, files.files[i].path), "/top/%15[^/]", name) == 1 && name[0] == 'g' &&
                ino_of(f, top, name) != 0) {
                (void)do_unlink(f, ino_of(f, top, name), "file");
                assert_status(do_rmdir(f, top, name), ERR_OK);
            }
        }
    } while (files.next.size > 0);
    qsort(l->paths, l->count, sizeof l->paths[0], by_text);
    unsigned stays = 0;
    for (unsigned i = 0; i < l->count; i++) {
        stays += strncmp(l->paths[i], "/top/stays", 10) == 0;
        assert_true(i == 0 || strcmp(l->paths[i], l->paths[i - 1]) != 0);
    }
    assert_int_equal(stays, 40);
}

static void paths_that_are_too_long_are_counted(void **state)
{
    struct fixture *f = *state;
    char name[LIMIT_NAME_BYTES + 1];
    memset(name, 'n', LIMIT_NAME_BYTES);
    name[LIMIT_NAME_BYTES] = 0;
    uint64_t at = ROOT;
    for (unsigned i = 0; i < 16; i++) /* of 256 bytes each, so the last one just fits */
        at = directory(f, at, name);
    for (unsigned i = 0; i < 5; i++) {
        name[0] = (char)('a' + i);
        uint64_t d = directory(f, at, name);
        make_file(f, d, "deeper");
    }
    for (unsigned max = 1; max <= 32; max *= 2) {
        struct listing *l = list(f, "/", max);
        assert_int_equal(l->count, 16);
        assert_int_equal(l->left_out, 5);
        assert_int_equal(strlen(l->paths[15]), META_FILE_PATH_BYTES);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(pages_of_every_size_tell_the_same),
        TEST(a_file_is_told_with_its_contents),
        TEST(what_stays_is_told_though_others_go),
        TEST(paths_that_are_too_long_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
