/* files.c: file workloads by plain system calls on any directory, so that file systems can be compared.
 *
 *   surf-bench-files WORKLOAD DIRECTORY COUNT [PROCESSES]
 *
 * Prints one number: operations (or bytes, for the sequential ones) per second. With PROCESSES each works in a
 * directory of its own and the rates are of all together. Ends with exit code 1 and the failing call when anything
 * fails. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/prng.h"

#define PAGE 4096u
#define STREAM_CHUNK (1024u * 1024u)
#define TREE_DIRECTORIES 50

static char buffer[STREAM_CHUNK];

static void must(int ok, const char *call, const char *path)
{
    if (!ok) {
        fprintf(stderr, "surf-bench-files: %s %s: %s\n", call, path, strerror(errno));
        exit(1);
    }
}

static void path_of(char *to, size_t size, const char *directory, const char *prefix, long number)
{
    snprintf(to, size, "%s/%s%ld", directory, prefix, number);
}

/* Each workload does operation number i in `directory`. */
static void do_mkdir(const char *directory, long i)
{
    char path[PATH_MAX];
    path_of(path, sizeof path, directory, "d", i);
    must(mkdir(path, 0755) == 0, "mkdir", path);
}

static void write_file(const char *path, size_t size, int sync)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    must(fd >= 0, "open", path);
    must(size == 0 || write(fd, buffer, size) == (ssize_t)size, "write", path);
    must(!sync || fsync(fd) == 0, "fsync", path);
    must(close(fd) == 0, "close", path);
}

static void do_create(const char *directory, long i)
{
    char path[PATH_MAX];
    path_of(path, sizeof path, directory, "f", i);
    write_file(path, 0, 0);
}

static void do_durable(const char *directory, long i)
{
    char path[PATH_MAX];
    path_of(path, sizeof path, directory, "s", i);
    memcpy(buffer, &i, sizeof i); /* contents differ, or deduplication would flatter */
    write_file(path, PAGE, 1);
}

static void do_stat(const char *directory, long i)
{
    char path[PATH_MAX];
    struct stat st;
    path_of(path, sizeof path, directory, "f", i);
    must(stat(path, &st) == 0, "stat", path);
}

static void do_absent(const char *directory, long i)
{
    char path[PATH_MAX];
    struct stat st;
    path_of(path, sizeof path, directory, "absent", i);
    must(stat(path, &st) != 0 && errno == ENOENT, "stat", path);
}

static void do_unlink(const char *directory, long i)
{
    char path[PATH_MAX];
    path_of(path, sizeof path, directory, "f", i);
    must(unlink(path) == 0, "unlink", path);
}

static void tree_path(char *to, size_t size, const char *directory, long i)
{
    snprintf(to, size, "%s/t%ld/f%ld", directory, i % TREE_DIRECTORIES, i);
}

static size_t tree_size(long i)
{
    return 1024 + (size_t)(i * 7919 % 15) * 1024; /* 1 to 15 KiB */
}

static void do_tree_write(const char *directory, long i)
{
    char path[PATH_MAX];
    if (i < TREE_DIRECTORIES) {
        path_of(path, sizeof path, directory, "t", i);
        must(mkdir(path, 0755) == 0, "mkdir", path);
    }
    tree_path(path, sizeof path, directory, i);
    memcpy(buffer, &i, sizeof i);
    write_file(path, tree_size(i), 0);
}

static void do_tree_read(const char *directory, long i)
{
    char path[PATH_MAX];
    tree_path(path, sizeof path, directory, i);
    int fd = open(path, O_RDONLY);
    must(fd >= 0, "open", path);
    must(read(fd, buffer, sizeof buffer) == (ssize_t)tree_size(i), "read", path);
    close(fd);
}

static int append_fd = -1;
static void do_append(const char *directory, long i)
{
    char path[PATH_MAX];
    path_of(path, sizeof path, directory, "log", 0);
    if (append_fd < 0)
        append_fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    must(append_fd >= 0, "open", path);
    memcpy(buffer, &i, sizeof i);
    must(write(append_fd, buffer, 200) == 200, "write", path);
    must(fsync(append_fd) == 0, "fsync", path);
}

/* ls -l: every entry and its attributes. COUNT is not used; one operation is one listing. */
static void do_list(const char *directory, long i)
{
    (void)i;
    DIR *d = opendir(directory);
    must(d != NULL, "opendir", directory);
    struct stat st;
    for (struct dirent *e; (e = readdir(d));)
        must(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0, "stat", e->d_name);
    closedir(d);
}

/* ls: names only. */
static void do_names(const char *directory, long i)
{
    (void)i;
    DIR *d = opendir(directory);
    must(d != NULL, "opendir", directory);
    while (readdir(d))
        continue;
    closedir(d);
}

static void do_stream_write(const char *directory, long count)
{
    char path[PATH_MAX];
    path_of(path, sizeof path, directory, "stream", 0);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    must(fd >= 0, "open", path);
    for (long i = 0; i < count; i++) {
        memcpy(buffer, &i, sizeof i);
        must(write(fd, buffer, STREAM_CHUNK) == STREAM_CHUNK, "write", path);
    }
    must(fsync(fd) == 0, "fsync", path);
    must(close(fd) == 0, "close", path);
}

static void do_stream_read(const char *directory, long count)
{
    char path[PATH_MAX];
    path_of(path, sizeof path, directory, "stream", 0);
    int fd = open(path, O_RDONLY);
    must(fd >= 0, "open", path);
    for (long i = 0; i < count; i++)
        must(read(fd, buffer, STREAM_CHUNK) == STREAM_CHUNK, "read", path);
    close(fd);
}

static const struct workload {
    const char *name;
    void (*one)(const char *directory, long i);     /* called COUNT times */
    void (*all)(const char *directory, long count); /* or called once */
    long unit;                                      /* operations or bytes for each of COUNT */
} workloads[] = {
    {"mkdir", do_mkdir, NULL, 1},
    {"create", do_create, NULL, 1},
    {"durable", do_durable, NULL, 1},
    {"stat", do_stat, NULL, 1},
    {"unlink", do_unlink, NULL, 1},
    {"tree-write", do_tree_write, NULL, 1},
    {"tree-read", do_tree_read, NULL, 1},
    {"append", do_append, NULL, 1},
    {"list", do_list, NULL, 1},
    {"absent", do_absent, NULL, 1},
    {"names", do_names, NULL, 1},
    {"stream-write", NULL, do_stream_write, STREAM_CHUNK},
    {"stream-read", NULL, do_stream_read, STREAM_CHUNK},
};

static void run(const struct workload *w, const char *directory, long count)
{
    if (w->all) {
        w->all(directory, count);
        return;
    }
    for (long i = 0; i < count; i++)
        w->one(directory, i);
}

static void run_processes(const struct workload *w, const char *directory, long count, long processes)
{
    for (long p = 0; p < processes; p++) {
        pid_t pid = fork();
        must(pid >= 0, "fork", "");
        if (pid == 0) {
            char own[PATH_MAX];
            path_of(own, sizeof own, directory, "p", p);
            must(mkdir(own, 0755) == 0 || errno == EEXIST, "mkdir", own);
            memset(buffer + 64, (int)p + 1, 64);
            run(w, own, count);
            exit(0);
        }
    }
    for (long p = 0; p < processes; p++) {
        int status;
        must(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0, "process", "");
    }
}

int main(int argc, char **argv)
{
    long count = argc >= 4 ? strtol(argv[3], NULL, 10) : 0, processes = argc >= 5 ? strtol(argv[4], NULL, 10) : 1;
    const struct workload *w = NULL;
    for (size_t i = 0; argc >= 4 && i < ARRAY_SIZE(workloads); i++)
        if (strcmp(workloads[i].name, argv[1]) == 0)
            w = &workloads[i];
    if (!w || count <= 0 || processes <= 0) {
        fprintf(stderr, "usage: surf-bench-files WORKLOAD DIRECTORY COUNT [PROCESSES]\n");
        return 64;
    }
    random_bytes(buffer, sizeof buffer);
    int64_t begun = clock_boot_ns();
    if (processes == 1)
        run(w, argv[2], count);
    else
        run_processes(w, argv[2], count, processes);
    double seconds = (double)(clock_boot_ns() - begun) / (double)NS_PER_S;
    printf("%.3f\n", (double)count * (double)processes * (double)w->unit / seconds);
    return 0;
}
