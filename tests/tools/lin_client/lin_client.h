/* lin_client.h: a client that notes what it asks and what it is told. One thread. */
#pragma once

#include "base/limits.h"
#include "base/prng.h"
#include "client/surf.h"

#define CLIENT_NUMBERS 2048u
#define CLIENT_OBJECTS_MAX 16u
#define CLIENT_NAMES_MAX 8u
#define CLIENT_SEEN 8u /* inodes that were looked up last, for hard links */

struct client {
    const char *name;
    unsigned number, objects, names, looks_percent;
    struct prng prng;
    struct surf *surf;
    void (*operate)(struct client *c); /* one operation */
    int out;
    uint64_t inos[CLIENT_OBJECTS_MAX]; /* the directory, or file, that each object is */
    char last[CLIENT_OBJECTS_MAX][32]; /* keys: the value that was read last, or "" */
    uint32_t tags;                     /* that were used so far */
    struct {
        unsigned object;
        uint64_t ino, tag;
    } seen[CLIENT_SEEN];
    unsigned seen_count; /* ever */
};

/* Opens the file for the lines, and makes or finds the objects: d0, d1, ... or f0, f1, ... */
enum err client_set_up(struct client *c, const char *out, bool directories, struct err_text *why) MUST_USE;

void client_operate_names(struct client *c);    /* create, mkdir, lookup, link, unlink, rename, ... */
void client_operate_register(struct client *c); /* a file's owner is the value */
void client_operate_list(struct client *c);     /* O_APPEND of tags, and reading the whole file */

void client_operate_kv_register(struct client *c); /* the same two with keys */
void client_operate_kv_list(struct client *c);
enum err client_set_up_key(struct client *c, unsigned object) MUST_USE;

/* Whether the next operation is to change nothing. */
bool client_looks(struct client *c);
/* A tag of this client's that was not used before. Tags fit an owner's 32 bits, and are positive. */
uint32_t client_tag(struct client *c);
/* Write a line at once, so that a kill loses none that was finished. `what`: verb and arguments. */
void client_note_call(struct client *c, const char *what);
/* The answer: `more` (ok), e (an error that the model knows, so it counts as an answer), or that nobody knows. */
void client_note_answer(struct client *c, const char *what, enum err e, const enum err *known, const char *more);
