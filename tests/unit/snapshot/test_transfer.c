/* A directory's files, sent in pieces and received: with interruptions, repetitions, damage and senders that lie. */
#include "tests/unit/snapshot/fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MODULE "test"
#include "base/log.h"
#include "base/mem.h"
#include "base/prng.h"
#include "snapshot/sink.h"

#define CHUNK SNAPSHOT_CHUNK_BYTES

/* A source of some files, among them an empty one, one of exactly a piece and one of several. */
struct sender {
    struct place place;
    struct snapshot_source *source;
    struct bytes manifest, piece;
};

static struct snapshot_source *must_open_source(const char *path)
{
    struct snapshot_source *s = NULL;
    struct err_text why = {""};
    if (snapshot_source_open(path, 40, 3, &s, &why) != ERR_OK)
        fail_msg("%s", why.text);
    return s;
}

static int setup(void **state)
{
    struct sender *s = MEM_NEW(struct sender);
    place_make(&s->place);
    put_directory(place_of(&s->place, "from"));
    put_random(place_of(&s->place, "from/000007.sst"), 2 * CHUNK + 12345, 1);
    put_random(place_of(&s->place, "from/000009.sst"), CHUNK, 2);
    put_random(place_of(&s->place, "from/CURRENT"), 16, 3);
    put_random(place_of(&s->place, "from/EMPTY"), 0, 4);
    put_random(place_of(&s->place, "from/MANIFEST-000004"), 300, 5);
    s->source = must_open_source(place_of(&s->place, "from"));
    snapshot_manifest_encode(snapshot_source_manifest(s->source), &s->manifest);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct sender *s = *state;
    snapshot_source_close(s->source);
    bytes_free(&s->manifest);
    bytes_free(&s->piece);
    place_remove(&s->place);
    free(s);
    return 0;
}

static struct snapshot_sink *must_open_sink(struct sender *s)
{
    struct snapshot_sink *k = NULL;
    struct err_text why = {""};
    if (snapshot_sink_open(place_of(&s->place, "to"), bytes_slice(&s->manifest), &k, &why) != ERR_OK)
        fail_msg("%s", why.text);
    return k;
}

/* Moves one piece; false when all is there. */
static bool move_piece(struct sender *s, struct snapshot_sink *k)
{
    unsigned file;
    uint64_t offset;
    if (!snapshot_sink_next(k, &file, &offset))
        return false;
    assert_int_equal(snapshot_source_read(s->source, file, offset, &s->piece), ERR_OK);
    assert_in_range(s->piece.size, 1, CHUNK);
    assert_int_equal(snapshot_sink_write(k, file, offset, bytes_slice(&s->piece)), ERR_OK);
    return true;
}

static unsigned move_all(struct sender *s, struct snapshot_sink *k)
{
    unsigned pieces = 0;
    while (move_piece(s, k))
        pieces++;
    return pieces;
}

static void must_finish(struct sender *s, struct snapshot_sink *k)
{
    const char *path = NULL;
    struct err_text why = {""};
    if (snapshot_sink_finish(k, &path, &why) != ERR_OK)
        fail_msg("%s", why.text);
    assert_string_equal(path, place_of(&s->place, "to/files"));
    const struct snapshot_manifest *m = snapshot_sink_manifest(k);
    for (unsigned i = 0; i < m->count; i++) {
        char a[128], b[128];
        snprintf(a, sizeof a, "from/%s", m->files[i].name);
        snprintf(b, sizeof b, "to/files/%s", m->files[i].name);
        assert_true(files_equal(place_of(&s->place, a), place_of(&s->place, b)));
    }
    unsigned found = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        found += e->d_name[0] != '.';
    closedir(d);
    assert_int_equal(found, m->count);
}

static void a_directory_arrives(void **state)
{
    struct sender *s = *state;
    struct snapshot_sink *k = must_open_sink(s);
    assert_int_equal(snapshot_sink_bytes(k), 0);
    assert_int_equal(snapshot_sink_manifest(k)->index, 40);
    assert_int_equal(snapshot_sink_manifest(k)->term, 3);
    assert_int_equal(move_all(s, k), 3 + 1 + 1 + 1);
    assert_int_equal(snapshot_sink_bytes(k), snapshot_manifest_bytes(snapshot_source_manifest(s->source)));
    must_finish(s, k);
    snapshot_sink_close(k);
    snapshot_sink_close(NULL);
}

static void it_goes_on_after_every_piece(void **state)
{
    struct sender *s = *state;
    struct snapshot_sink *k = must_open_sink(s);
    uint64_t have = 0;
    unsigned pieces = 0;
    while (move_piece(s, k)) {
        pieces++;
        assert_true(snapshot_sink_bytes(k) > have);
        have = snapshot_sink_bytes(k);
        snapshot_sink_close(k);
        k = must_open_sink(s);
        assert_int_equal(snapshot_sink_bytes(k), have);
    }
    assert_int_equal(pieces, 6);
    must_finish(s, k);
    snapshot_sink_close(k);
}

static void pieces_of_any_size_fit(void **state)
{
    struct sender *s = *state;
    struct prng p;
    prng_seed(&p, 1);
    struct snapshot_sink *k = must_open_sink(s);
    unsigned file, pieces = 0;
    for (uint64_t offset; snapshot_sink_next(k, &file, &offset); pieces++) {
        assert_int_equal(snapshot_source_read(s->source, file, offset, &s->piece), ERR_OK);
        size_t size = 1 + (size_t)prng_below(&p, MIN(s->piece.size, (size_t)100000));
        assert_int_equal(snapshot_sink_write(k, file, offset, SLICE(s->piece.data, MIN(size, s->piece.size))), ERR_OK);
    }
    assert_true(pieces > 20);
    must_finish(s, k);
    snapshot_sink_close(k);
}

static void late_and_doubled_pieces_change_nothing(void **state)
{
    struct sender *s = *state;
    struct snapshot_sink *k = must_open_sink(s);
    struct bytes wrong = {0};
    memset(bytes_extend(&wrong, 100), 0xee, 100);
    unsigned file, next_file;
    uint64_t offset, next_offset;
    while (snapshot_sink_next(k, &file, &offset)) {
        uint64_t have = snapshot_sink_bytes(k);
        for (unsigned f = 0; f < 7; f++) /* also files that there aren't */
            for (uint64_t at = 0; at < 3 * CHUNK; at += CHUNK / 2)
                if (f != file || at != offset)
                    assert_int_equal(snapshot_sink_write(k, f, at, bytes_slice(&wrong)), ERR_OK);
        assert_int_equal(snapshot_sink_write(k, UINT32_MAX, UINT64_MAX, bytes_slice(&wrong)), ERR_OK);
        assert_true(snapshot_sink_next(k, &next_file, &next_offset));
        assert_true(next_file == file && next_offset == offset && snapshot_sink_bytes(k) == have);
        move_piece(s, k);
    }
    assert_int_equal(snapshot_sink_write(k, 0, 0, bytes_slice(&wrong)), ERR_OK); /* all is there */
    must_finish(s, k);
    bytes_free(&wrong);
    snapshot_sink_close(k);
}

static void a_piece_longer_than_the_file_is_refused(void **state)
{
    struct sender *s = *state;
    struct snapshot_sink *k = must_open_sink(s);
    struct bytes wrong = {0};
    memset(bytes_extend(&wrong, 4 * CHUNK), 0xee, 4 * CHUNK);
    unsigned file;
    uint64_t offset;
    while (snapshot_sink_next(k, &file, &offset)) {
        uint64_t left = snapshot_sink_manifest(k)->files[file].size - offset;
        assert_int_equal(snapshot_sink_write(k, file, offset, SLICE(wrong.data, (size_t)left + 1)), ERR_INVAL);
        assert_int_equal(snapshot_sink_write(k, file, offset, SLICE(wrong.data, 0)), ERR_INVAL);
        move_piece(s, k);
    }
    must_finish(s, k);
    bytes_free(&wrong);
    snapshot_sink_close(k);
}

/* One byte of each file differs: found at the end, and only that file is asked for again. */
static void wrong_bytes_are_found_and_asked_for_again(void **state)
{
    struct sender *s = *state;
    struct snapshot_sink *k = must_open_sink(s);
    const struct snapshot_manifest *m = snapshot_sink_manifest(k);
    const char *path = NULL;
    struct err_text why = {""};
    move_all(s, k);
    for (unsigned i = 0; i < m->count; i++) {
        if (m->files[i].size == 0)
            continue;
        char name[128];
        struct bytes b = {0};
        snprintf(name, sizeof name, "to/files/%s", m->files[i].name);
        get_file(place_of(&s->place, name), &b);
        b.data[b.size * 2 / 3] ^= 0x40;
        put_file(place_of(&s->place, name), bytes_slice(&b));
        bytes_free(&b);
        assert_int_equal(snapshot_sink_finish(k, &path, &why), ERR_CORRUPT);
        assert_non_null(strstr(why.text, m->files[i].name));
        assert_null(path);
        assert_int_equal(move_all(s, k), (m->files[i].size + CHUNK - 1) / CHUNK);
    }
    must_finish(s, k);
    snapshot_sink_close(k);
}

/* What a power cut does to files that were not synced: shorter, longer, or zeros. */
static void what_the_disk_lost_is_fetched_again(void **state)
{
    struct sender *s = *state;
    for (unsigned kind = 0; kind < 5; kind++) {
        struct snapshot_sink *k = must_open_sink(s);
        const char *file = place_of(&s->place, "to/files/000007.sst"), *path = NULL;
        struct err_text why = {""};
        move_all(s, k);
        snapshot_sink_close(k);
        if (kind == 0)
            assert_int_equal(truncate(file, 100), 0);
        if (kind == 1)
            assert_int_equal(truncate(file, 4 * CHUNK), 0);
        if (kind == 2)
            assert_int_equal(unlink(file), 0);
        if (kind == 3)
            assert_int_equal(truncate(file, CHUNK) || truncate(file, 2 * CHUNK + 12345), 0);
        if (kind == 4)
            remove_tree(place_of(&s->place, "to/files"));
        k = must_open_sink(s);
        assert_int_equal(move_all(s, k), kind == 0 ? 3 : kind == 3 ? 0 : kind == 4 ? 6 : 3);
        if (kind == 3) { /* only the checksum shows it */
            assert_int_equal(snapshot_sink_finish(k, &path, &why), ERR_CORRUPT);
            assert_int_equal(move_all(s, k), 3);
        }
        must_finish(s, k);
        snapshot_sink_close(k);
    }
}

static void another_manifest_begins_anew(void **state)
{
    struct sender *s = *state;
    struct snapshot_sink *k = must_open_sink(s);
    move_all(s, k);
    snapshot_sink_close(k);
    /* The same but for a later index; and one without two of the files. */
    struct bytes first = s->manifest;
    s->manifest = (struct bytes){0};
    bytes_append(&s->manifest, bytes_slice(&first));
    s->manifest.data[11]++;
    k = must_open_sink(s);
    assert_int_equal(snapshot_sink_bytes(k), 0);
    move_all(s, k);
    snapshot_sink_close(k);

    assert_int_equal(unlink(place_of(&s->place, "from/000009.sst")), 0);
    assert_int_equal(unlink(place_of(&s->place, "from/EMPTY")), 0);
    snapshot_source_close(s->source);
    s->source = must_open_source(place_of(&s->place, "from"));
    bytes_clear(&s->manifest);
    snapshot_manifest_encode(snapshot_source_manifest(s->source), &s->manifest);
    k = must_open_sink(s);
    assert_int_equal(snapshot_sink_bytes(k), 0);
    move_all(s, k);
    must_finish(s, k); /* nothing of the older ones is left */
    snapshot_sink_close(k);
    bytes_free(&first);
}

static void a_damaged_or_missing_manifest_begins_anew(void **state)
{
    struct sender *s = *state;
    for (unsigned kind = 0; kind < 3; kind++) {
        struct snapshot_sink *k = must_open_sink(s);
        move_all(s, k);
        snapshot_sink_close(k);
        struct bytes b = {0};
        get_file(place_of(&s->place, "to/manifest"), &b);
        b.data[b.size / 2] ^= 1;
        b.size -= kind == 1 ? b.size / 2 : 0;
        put_file(place_of(&s->place, "to/manifest"), bytes_slice(&b));
        if (kind == 2)
            assert_int_equal(unlink(place_of(&s->place, "to/manifest")), 0);
        bytes_free(&b);
        k = must_open_sink(s);
        assert_int_equal(snapshot_sink_bytes(k), 0);
        move_all(s, k);
        must_finish(s, k);
        snapshot_sink_close(k);
    }
}

/* A sender's manifest that is nonsense leaves no trace. */
static void a_bad_manifest_is_refused(void **state)
{
    struct sender *s = *state;
    struct snapshot_sink *k = NULL;
    struct err_text why = {""};
    struct bytes b = {0};
    bytes_append(&b, bytes_slice(&s->manifest));
    b.data[24 + 1] = '/'; /* the first letter of the first name */
    assert_int_equal(snapshot_sink_open(place_of(&s->place, "to"), bytes_slice(&b), &k, &why), ERR_CORRUPT);
    assert_int_equal(snapshot_sink_open(place_of(&s->place, "to"), SLICE(b.data, 3), &k, &why), ERR_CORRUPT);
    assert_null(k);
    assert_true(strlen(why.text) > 10);
    assert_false(is_there(place_of(&s->place, "to")));
    bytes_free(&b);
}

static void a_sink_that_cannot_be_made_says_so(void **state)
{
    struct sender *s = *state;
    struct snapshot_sink *k = NULL;
    struct err_text why = {""};
    put_text(place_of(&s->place, "to"), "a file");
    assert_int_not_equal(snapshot_sink_open(place_of(&s->place, "to"), bytes_slice(&s->manifest), &k, &why), ERR_OK);
    assert_null(k);
    assert_true(strlen(why.text) > 10);
}

static void a_source_refuses_what_it_does_not_have(void **state)
{
    struct sender *s = *state;
    uint64_t size = snapshot_source_manifest(s->source)->files[0].size;
    assert_int_equal(snapshot_source_read(s->source, 5, 0, &s->piece), ERR_INVAL);
    assert_int_equal(snapshot_source_read(s->source, UINT32_MAX, 0, &s->piece), ERR_INVAL);
    assert_int_equal(snapshot_source_read(s->source, 0, size + 1, &s->piece), ERR_INVAL);
    assert_int_equal(snapshot_source_read(s->source, 0, UINT64_MAX, &s->piece), ERR_INVAL);
    assert_int_equal(snapshot_source_read(s->source, 0, size, &s->piece), ERR_OK);
    assert_int_equal(s->piece.size, 0);
    assert_int_equal(snapshot_source_read(s->source, 0, size - 1, &s->piece), ERR_OK);
    assert_int_equal(s->piece.size, 1);
    assert_int_equal(snapshot_source_read(s->source, 0, 0, &s->piece), ERR_OK);
    assert_int_equal(s->piece.size, CHUNK);
    /* A file that was cut behind its back. */
    assert_int_equal(truncate(place_of(&s->place, "from/000007.sst"), 10), 0);
    assert_int_equal(snapshot_source_read(s->source, 0, CHUNK, &s->piece), ERR_IO);
}

static void a_source_takes_only_plain_files(void **state)
{
    struct sender *s = *state;
    struct snapshot_source *other = NULL;
    struct err_text why = {""};
    assert_int_not_equal(snapshot_source_open(place_of(&s->place, "nowhere"), 1, 1, &other, &why), ERR_OK);
    assert_non_null(strstr(why.text, "nowhere"));
    put_text(place_of(&s->place, "from/a b"), "x");
    assert_int_equal(snapshot_source_open(place_of(&s->place, "from"), 1, 1, &other, &why), ERR_INVAL);
    assert_non_null(strstr(why.text, "a b"));
    assert_int_equal(unlink(place_of(&s->place, "from/a b")), 0);
    put_directory(place_of(&s->place, "from/inner"));
    assert_int_not_equal(snapshot_source_open(place_of(&s->place, "from"), 1, 1, &other, &why), ERR_OK);
    assert_non_null(strstr(why.text, "inner"));
    assert_null(other);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_directory_arrives),
        TEST(it_goes_on_after_every_piece),
        TEST(pieces_of_any_size_fit),
        TEST(late_and_doubled_pieces_change_nothing),
        TEST(a_piece_longer_than_the_file_is_refused),
        TEST(wrong_bytes_are_found_and_asked_for_again),
        TEST(what_the_disk_lost_is_fetched_again),
        TEST(another_manifest_begins_anew),
        TEST(a_damaged_or_missing_manifest_begins_anew),
        TEST(a_bad_manifest_is_refused),
        TEST(a_sink_that_cannot_be_made_says_so),
        TEST(a_source_refuses_what_it_does_not_have),
        TEST(a_source_takes_only_plain_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
