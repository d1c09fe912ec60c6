#include "tests/unit/snapshot/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"

void place_make(struct place *p)
{
    snprintf(p->path, sizeof p->path, "/tmp/surf-snapshot-XXXXXX");
    assert_non_null(mkdtemp(p->path));
}

void place_remove(struct place *p)
{
    remove_tree(p->path);
}

const char *place_of(const struct place *p, const char *name)
{
    static char paths[8][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % ARRAY_SIZE(paths)];
    snprintf(path, PATH_MAX, "%s/%s", p->path, name);
    return path;
}

void put_directory(const char *path)
{
    assert_int_equal(mkdir(path, 0700), 0);
}

void put_file(const char *path, struct slice content)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content.data, 1, content.size, f), content.size);
    assert_int_equal(fclose(f), 0);
}

void put_text(const char *path, const char *text)
{
    put_file(path, slice_str(text));
}

void get_file(const char *path, struct bytes *ret)
{
    struct stat s;
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is not there", path);
    assert_int_equal(fstat(fileno(f), &s), 0);
    bytes_clear(ret);
    uint8_t *to = bytes_extend(ret, (size_t)s.st_size);
    assert_int_equal(fread(to, 1, (size_t)s.st_size, f), s.st_size);
    fclose(f);
}

bool is_there(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

void put_random(const char *path, size_t size, uint64_t seed)
{
    struct bytes b = {0};
    struct prng p;
    prng_seed(&p, seed);
    uint8_t *to = bytes_extend(&b, size);
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)prng_next(&p);
    put_file(path, bytes_slice(&b));
    bytes_free(&b);
}

static void run(const char *command)
{
    assert_int_equal(system(command), 0);
}

void copy_tree(const char *from, const char *to)
{
    char command[3 * PATH_MAX];
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
    run(command);
}

void remove_tree(const char *path)
{
    char command[2 * PATH_MAX];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    run(command);
}

bool files_equal(const char *a, const char *b)
{
    _cleanup_(bytes_free) struct bytes x = {0}, y = {0};
    get_file(a, &x);
    get_file(b, &y);
    return slice_equal(bytes_slice(&x), bytes_slice(&y));
}
