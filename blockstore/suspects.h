/* suspects.h: own copies of which somebody said that they are bad: a bounded list of what is to be read again and, if
 * it is so, healed. Pure; one thread at a time; time is given (clock_boot_ns).
 *
 * Who says so may have read the copy before it was healed and says it afterwards: the scrub reads on a worker, and a
 * client's word is on its way for a while. So a copy counts as found when the healer itself has read it and found it
 * bad, once until it is healed, and never by the word of others. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"

#define SUSPECTS_MAX 1024u

struct suspect {
    struct sha256 id;
    bool bad;   /* it was read here and found so, if perhaps not lately */
    bool found; /* it was counted */
    unsigned tries;
    int64_t next_ns;
};

struct suspects {
    struct suspect list[SUSPECTS_MAX];
    unsigned count, at; /* at: the one that is being healed */
    bool healing;
    uint64_t found, healed; /* so far: healed <= found */
};

/* False: there is no room now. bad: it was read here. */
bool suspects_add(struct suspects *s, const struct sha256 *id, bool bad);
/* The next whose time has come is being healed from now on, until one of those below that end it. NULL: there is none.
 * One at a time. */
const struct suspect *suspects_begin(struct suspects *s, int64_t now_ns);

/* The healer has read it and found it bad; or found it absent where it should be. True: that is news. */
bool suspects_is_bad(struct suspects *s);
/* It ends: good bytes were written. */
void suspects_healed(struct suspects *s);
/* It ends: it was read and is good, by whoever's doing. */
void suspects_is_good(struct suspects *s);
/* It ends: it need not be here. */
void suspects_drop(struct suspects *s);
/* It ends for now: nobody has good bytes. Less and less often it is begun again. True: this was the first time. */
bool suspects_later(struct suspects *s, int64_t now_ns);
/* It ends for now: it can be begun at once. */
void suspects_pause(struct suspects *s);

/* How many are known to be bad now. */
unsigned suspects_bad(const struct suspects *s);
