/* How fast open files are against three block servers and a metastore in the same process: what the client itself
 * costs. No raft and no disk, so the figures are upper bounds. Not a test; run by hand. */
#include "file_fixture.h"

#define STREAM (256 * (size_t)MIB)
#define REQUEST MIB
#define SMALL 3000

static double seconds_since(int64_t begun)
{
    return (double)(clock_boot_ns() - begun) / 1e9;
}

static void stream_write(struct mount *m, const uint8_t *data, uint64_t *ret_ino)
{
    struct open_file *h = create_it(m, "stream");
    int64_t begun = clock_boot_ns();
    for (size_t at = 0; at < STREAM; at += REQUEST)
        write_it(h, at, data + at, REQUEST);
    double written = seconds_since(begun);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    printf("write 1 MiB requests: %.0f MB/s, with fsync %.0f MB/s\n", STREAM / 1e6 / written,
           STREAM / 1e6 / seconds_since(begun));
    *ret_ino = open_file_ino(h);
    file_close(h);
}

static void stream_read(struct mount *m, uint64_t ino, size_t request, const char *what)
{
    struct open_file *h = open_it(m, ino, O_RDONLY);
    uint8_t *buffer = mem_alloc(request);
    int64_t begun = clock_boot_ns();
    for (size_t at = 0; at < STREAM; at += request)
        assert_int_equal(read_it(h, at, buffer, request), request);
    printf("%s read, %zu KiB requests: %.0f MB/s\n", what, request / KIB, STREAM / 1e6 / seconds_since(begun));
    free(buffer);
    file_close(h);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, int64_t *times, int count)
{
    qsort(times, (size_t)count, sizeof *times, compare);
    printf("%s: p50 %.0f us, p99 %.0f us\n", what, (double)times[count / 2] / 1e3,
           (double)times[count * 99 / 100] / 1e3);
}

static void small_files(struct mount *m)
{
    static int64_t times[SMALL];
    uint8_t data[4096];
    for (int i = 0; i < SMALL; i++) {
        char name[32];
        snprintf(name, sizeof name, "small%d", i);
        memset(data, i, sizeof data);
        memcpy(data, &i, sizeof i);
        struct open_file *h = create_it(m, name);
        int64_t begun = clock_boot_ns();
        write_it(h, 0, data, sizeof data);
        assert_int_equal(file_fsync(h, NULL), ERR_OK);
        assert_int_equal(file_flush(h, NULL), ERR_OK);
        file_close(h);
        times[i] = clock_boot_ns() - begun;
    }
    report("write 4 KiB + fsync + close of a new file", times, SMALL);
    struct open_file *h = create_it(m, "overwritten");
    struct prng prng;
    prng_seed(&prng, 1);
    for (int i = 0; i < SMALL; i++) {
        memcpy(data, &i, sizeof i);
        int64_t begun = clock_boot_ns();
        write_it(h, prng_below(&prng, 16384) * 4096, data, sizeof data);
        assert_int_equal(file_fsync(h, NULL), ERR_OK);
        times[i] = clock_boot_ns() - begun;
    }
    file_close(h);
    report("random 4 KiB write + fsync in one file", times, SMALL);
}

int main(void)
{
    struct cluster *c = MEM_NEW(struct cluster);
    struct mount writer, reader;
    cluster_start(c, 3);
    mount_open(&writer, c, 256 * MIB, 256 * MIB);
    mount_open(&reader, c, 320 * MIB, 256 * MIB);
    uint8_t *data = mem_alloc(STREAM);
    struct prng prng;
    uint64_t ino;
    prng_seed(&prng, 1);
    for (size_t at = 0; at < STREAM; at += 8) {
        uint64_t v = prng_next(&prng);
        memcpy(data + at, &v, 8);
    }
    stream_write(&writer, data, &ino);
    stream_read(&reader, ino, MIB, "cold");
    stream_read(&reader, ino, MIB, "cached");
    stream_read(&reader, ino, 128 * KIB, "cached");
    small_files(&writer);
    mount_close(&writer);
    mount_close(&reader);
    cluster_stop(c);
    free(data);
    free(c);
    return 0;
}
