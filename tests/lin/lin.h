/* lin.h: was what the clients saw possible for one copy of the data, each operation taking effect at one moment between
 * its call and its answer? (Herlihy & Wing, "Linearizability", 1990; the search is Wing & Gong's with Lowe's memo of
 * "Testing for linearizability", 2017.)
 *
 * A history is filled by lin_invoke and, for each operation, one of lin_return, lin_return_list and lin_open. An
 * operation whose outcome nobody learned (time-out, killed client) is open: it may have taken effect at any moment
 * after its call, or never. An operation that is left alone is open too. Then lin_check says of each object whether it
 * is linearizable.
 *
 * Times only order events: nanoseconds of one clock, or in a simulator the count of events so far, which loses nothing.
 * Events at equal times count as overlapping. A client may have several operations under way.
 *
 * Linearizability is a property of each object alone, so objects are checked one by one. For LIN_NAMES an object is all
 * the names that a rename or link may touch together.
 *
 * Errors of operations are of two kinds. Those that the model predicts (NOENT, EXIST, VERSION, ...; listed per verb)
 * are answers like any other and checked as such: nothing changed, and the state was one that gives this error. Any
 * other error promises that the operation did not and will not take effect. If that isn't certain, call lin_open
 * instead.
 *
 * Not thread-safe; histories share nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

#define LIN_NAMES_MAX 8u /* names of one object */
/* Configurations of the search, per object: some seconds, and some hundred MiB at most. Good histories with a few open
 * operations take about one per operation, however long. Bad ones take far more; to be decided, an object should not
 * have more than some 3,000 operations or some 30 open ones when its history is bad. */
#define LIN_BUDGET_DEFAULT 4000000u
#define LIN_WHY_BYTES 4096u

enum lin_model {
    LIN_REGISTER, /* READ, WRITE, CAS; 0 at first */
    LIN_COUNTER,  /* ADD, READ; 0 at first */
    LIN_NAMES,    /* names of a directory and the inodes that they lead to; empty at first */
    LIN_LIST,     /* APPEND of tags that are used once, LIST; checked in n log n, so histories may be long */
    LIN_SET /* APPEND of tags that are used once, LIST: what was acknowledged or seen is seen ever after. The order
             * within a LIST means nothing, and two that overlap may differ either way: a readdir is not atomic. */
};

/* Inodes bear the tag that their maker chose: positive, and used by one call in the history. (In SurfFS the uid of the
 * caller serves: every lookup shows it, also when the maker never learned the number of its inode.) */
enum lin_verb {
    LIN_READ,            /* answer: the value */
    LIN_WRITE,           /* a: value */
    LIN_CAS,             /* a: expected, b: new value. VERSION: the value was another one */
    LIN_ADD,             /* a: what to add. answer: the sum, or LIN_UNSEEN */
    LIN_LOOKUP,          /* name. answer: tag, links. NOENT */
    LIN_CREATE,          /* name, a: tag. A file; EXIST */
    LIN_OPEN,            /* name, a: tag. Creates unless there is something. answer: the tag that is there now. ISDIR */
    LIN_MKDIR,           /* name, a: tag. EXIST */
    LIN_UNLINK,          /* name. NOENT, ISDIR */
    LIN_RMDIR,           /* name. NOENT, NOTDIR. Directories here are always empty. */
    LIN_RENAME,          /* name to new_name. NOENT, ISDIR, NOTDIR */
    LIN_RENAME_NEW,      /* RENAME_NOREPLACE. EXIST too */
    LIN_RENAME_EXCHANGE, /* RENAME_EXCHANGE. NOENT if either is absent */
    LIN_LINK, /* the inode with tag a gets new_name. EXIST, PERM (a directory), NOENT or STALE (it has no name left) */
    LIN_APPEND,   /* a: tag. answer: its position from 0, or LIN_UNSEEN */
    LIN_LIST_ALL, /* answer: tags, by lin_return_list */
    LIN_VERBS
};

/* An answer that the client was not told. */
#define LIN_UNSEEN INT64_MIN

struct lin_call {
    enum lin_verb verb;
    uint64_t object;
    unsigned name, new_name; /* < LIN_NAMES_MAX */
    int64_t a, b;
};

struct lin_answer {
    enum err error;
    int64_t value;  /* of READ, ADD, LOOKUP, OPEN, APPEND; LIN_UNSEEN is allowed for each */
    unsigned links; /* of LOOKUP: how many of the object's names lead to the inode; 0: not looked at */
};

enum lin_verdict { LIN_OK, LIN_BAD, LIN_UNKNOWN };

struct lin_report {
    enum lin_verdict verdict; /* BAD if any object is; else UNKNOWN if the search of any object met its budget */
    size_t operations, open;  /* open is part of operations */
    size_t objects, bad_objects, unknown_objects;
    uint64_t configurations; /* visited */
    /* Of the first bad object: the operation that can't be placed, and why in lines for people, with the shortest
     * beginning of the history that no order explains, as far as it overlaps. */
    size_t bad_operation;
    char why[LIN_WHY_BYTES];
};

struct lin_history;

struct lin_history *lin_history_new(void);
void lin_history_free(struct lin_history *h); /* NULL is allowed */
/* The number of the operation, from 0 on. */
size_t lin_invoke(struct lin_history *h, unsigned client, int64_t time, const struct lin_call *call);
/* time: not before that of the call. */
void lin_return(struct lin_history *h, size_t operation, int64_t time, const struct lin_answer *answer);
/* LIN_LIST_ALL succeeded; the tags are copied. */
void lin_return_list(struct lin_history *h, size_t operation, int64_t time, const int64_t *tags, size_t count);
void lin_open(struct lin_history *h, size_t operation);
size_t lin_size(const struct lin_history *h); /* operations */

/* Whether all calls of the history are the model's; else the first that isn't is named. */
bool lin_model_fits(const struct lin_history *h, enum lin_model model, struct err_text *why);
/* Only the calls of `model` may be in the history. budget: configurations per object; 0 means LIN_BUDGET_DEFAULT. The
 * same history gives the same verdict, whatever the machine. */
enum lin_verdict lin_check(const struct lin_history *h, enum lin_model model, uint64_t budget, struct lin_report *ret);

/* Histories as text, one event in a line, which several processes may write to a file each:
 *
 *   TIME CLIENT invoke VERB ARGS             1200 c1 invoke create d/a 17
 *   TIME CLIENT ok VERB [ARGS [ANSWER]]      1350 c1 ok create d/a
 *   TIME CLIENT fail VERB ARGS ERROR         1350 c1 fail create d/a EXIST
 *   TIME CLIENT info VERB ARGS               9000 c1 info create d/a          (nobody knows; the client goes on)
 *
 *   read X -> VALUE    write X VALUE    cas X EXPECTED NEW    add X DELTA -> [SUM]
 *   lookup D/N -> TAG [LINKS]    create D/N TAG    open D/N TAG -> TAG    mkdir D/N TAG    unlink D/N    rmdir D/N
 *   rename D/N D/N    rename-new D/N D/N    rename-exchange D/N D/N    link TAG D/N
 *   append X TAG -> [POSITION]    list X -> [TAG...]
 *
 * An answer follows the arguments of an ok line. X, D and N are words; D is the object. CLIENT is a word; it has one
 * operation under way. '#' begins a comment. A last line without its end is left out: its writer was killed. */
struct lin_text; /* events and the names behind the numbers */

struct lin_text *lin_text_new(void);
void lin_text_free(struct lin_text *t); /* NULL is allowed; after the history that was made of it */
/* Adds a file's events; the order of the files is free. INVAL with the line in `why`. */
enum err lin_text_add(struct lin_text *t, const char *file, struct slice text, struct err_text *why) MUST_USE;
/* All that was added, in order of time. It borrows the names. */
enum err lin_text_history(struct lin_text *t, struct lin_history **ret, struct err_text *why) MUST_USE;

/* One operation as "[1200, 1350] c1 create d/a 17: ok"; names are numbers unless the history came from text. */
void lin_describe(const struct lin_history *h, size_t operation, char *text, size_t size);
bool lin_model_parse(const char *word, enum lin_model *ret); /* "register", "counter", "names", "list", "set" */
const char *lin_model_name(enum lin_model model);
