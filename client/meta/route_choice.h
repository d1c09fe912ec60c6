/* route_choice.h: which metastore member is asked next, how long it may take, and how long to wait between two tries.
 * Pure: no lock, no channel, no clock; time and randomness are handed in. Members are numbered from 0 in the order in
 * which they became known. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/prng.h"

#define ROUTE_NOBODY SIZE_MAX
/* Members come and go, and an address once known stays: this many in the life of a mount. */
#define ROUTE_MEMBERS (4 * LIMIT_NODES)

struct route_choice {
    enum err trouble[ROUTE_MEMBERS];       /* why the last try of each failed; ERR_OK: it didn't */
    int64_t avoid_until_ns[ROUTE_MEMBERS]; /* who did not answer is asked only if nobody else is left */
    int64_t served_ns[ROUTE_MEMBERS];      /* when each last served a request, of whichever caller */
    size_t count, current;                 /* current: who is to be asked */
};

void route_choice_init(struct route_choice *c, size_t count);
/* One more member. ROUTE_NOBODY: there are as many as there may be. */
size_t route_choice_add(struct route_choice *c);

/* The member has served a request. */
void route_choice_served(struct route_choice *c, size_t member, int64_t now_ns);

/* A try that failed. */
struct route_failure {
    size_t asked;
    int64_t begun_ns; /* of the try: a member that has served others since then is there, and only slow with this one */
    enum err error;
    bool answered; /* the member said so itself; else the connection to it is of no use */
    bool detailed; /* with more than the bare error */
    size_t leader; /* whom it named as the leader; ROUTE_NOBODY */
};
enum route_verdict {
    ROUTE_END,    /* the error is the caller's: no other member would answer otherwise */
    ROUTE_LATER,  /* go on, after a pause */
    ROUTE_AT_ONCE /* go on: somebody said who leads */
};
/* Judges by the class of the error, and chooses whom to ask next, unless another caller has chosen already. */
enum route_verdict route_choice_failed(struct route_choice *c, const struct route_failure *f, int64_t now_ns);

/* One request over all its tries. */
struct route_patience {
    int64_t try_ns; /* what the next member gets to answer */
    int64_t backoff_ns;
    unsigned failures, timeouts;
};
void route_patience_init(struct route_patience *p);
/* How long to wait before the next try; not drawn from the stream when it is 0. */
int64_t route_patience_pause_ns(struct route_patience *p, enum err error, enum route_verdict verdict,
                                struct prng *prng);

#define ROUTE_TRY_NS INT64_C(1000000000) /* doubled when members pass again, up to the maximum */
#define ROUTE_TRY_MAX_NS (4 * ROUTE_TRY_NS)
#define ROUTE_BACKOFF_MIN_NS INT64_C(5000000) /* doubled up to the maximum, with jitter */
#define ROUTE_BACKOFF_MAX_NS INT64_C(100000000)
