/* The main program of a fuzz target where libFuzzer is not linked: feeds it the files that are named, and every file of
 * the directories that are named, and each of them cut short at every length up to a limit. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/mem.h"
#include "fuzz.h"

#define CUT_BYTES 2048u

static unsigned files;

static void feed_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct bytes data = {0};
    uint8_t part[4096];
    size_t got;
    CHECK(file);
    while ((got = fread(part, 1, sizeof part, file)) > 0)
        bytes_append(&data, SLICE(part, got));
    fclose(file);
    LLVMFuzzerTestOneInput(data.data, data.size);
    for (size_t cut = 0; cut < MIN(data.size, CUT_BYTES); cut++) {
        uint8_t *copy = mem_dup(data.data, cut); /* of the exact size, so that a read past the end is seen */
        LLVMFuzzerTestOneInput(copy, cut);
        free(copy);
    }
    bytes_free(&data);
    files++;
}

static void feed(const char *path)
{
    struct stat s;
    CHECK(stat(path, &s) == 0);
    if (!S_ISDIR(s.st_mode)) {
        feed_file(path);
        return;
    }
    DIR *directory = opendir(path);
    CHECK(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        feed(name);
    }
    closedir(directory);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        feed(argv[i]);
    printf("%u files\n", files);
    return files > 0 ? 0 : 1;
}
